//! `closestorm run`: a scenario on real sockets, from the plan to the verdict.

use super::progress::Progress;
use super::signals::Stop;
use crate::address::Address;
use crate::cli::{Events, Format, Run};
use crate::cluster::{self, ClusterError, Division, Room};
use crate::engine::{self, Places, RunError, Start};
use crate::metrics::{Results, Status};
use crate::net::clock::monotonic_ns;
use crate::plan::{Plan, Shard, Target};
use crate::report;
use crate::results::evidence::Evidence;
use crate::results::folder::Folder;
use crate::results::record::{Manifest, Summary, Verdict};
use crate::results::shard::Header;
use crate::results::summary::summarise;
use crate::results::usage::{self, Baseline};
use crate::results::{self, manifest, read};
use crate::scenario::PROGRAMS;
use crate::template::fill_one;
use crate::verdict::{UNCHECKED, exit_code, judge};
use anyhow::Context;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// More clients than this against somebody else's machine need `--yes`.
const CLIENTS_ALLOWED: u32 = 100;
/// More attempts in a second than this against somebody else's machine need `--yes`.
const ATTEMPTS_ALLOWED: usize = 50;

/// Runs a scenario, or prints its plan with `--dry-run`.
///
/// # Errors
/// The scenario is wrong, the run could not begin, or its results could not be written.
pub fn main(args: &Run) -> anyhow::Result<u8> {
    let plan = super::load(args.scenario.as_deref(), &args.changes)?;
    if args.dry_run {
        check_instances(&plan)?;
        super::print(&plan.dry_run())?;
        return Ok(super::OK);
    }
    permit(&plan, args.yes)?;
    check_programs(&plan)?;
    let (shard, start) = part(&plan, args)?;
    let (mut plan, division) = divide(plan, shard, args.workers)?;
    plan.all_events = args.events == Events::Full;
    let stop = Stop::listen().context("cannot listen for signals")?;
    let manifest = manifest::collect(super::command_line(), plan.seed);
    let dir = args.output.out.clone().unwrap_or_else(|| manifest::default_folder(&plan.name, &manifest));
    let folder = Folder::create(&dir)?;
    let plan = Arc::new(plan);
    let whom = Whom { shard, division, start };
    let (results, verdict) = match once(&plan, whom, folder.path(), Duration::ZERO, args.output.quiet, stop.clone()) {
        Ok(measured) => measured,
        Err(error) => {
            // Nothing was measured; what the target printed is in the message.
            folder.discard();
            return match stop.code().filter(|_| was_stopped(&error)) {
                Some(code) => {
                    super::report_error(&error);
                    Ok(code)
                }
                None => Err(error),
            };
        }
    };
    let signalled = stop.code().filter(|_| results.status == Status::Aborted && results.lost.is_empty());
    let summary = match save(&folder, &results, &plan, &verdict, &manifest) {
        Ok(summary) => summary,
        Err(error) => {
            // The figures must not be lost with the disk, not even where nobody asked for them.
            let summary = summarise(&results, &verdict, &manifest::command_line(&manifest));
            return Err(match print_summary(&summary, args.output.format) {
                Ok(()) => error,
                Err(unprinted) => error.context(format!("{unprinted:#}")),
            });
        }
    };
    if !shard.is_whole() {
        keep_books(&folder, whom, results.clone(), &plan, &manifest, args)?;
    }
    let dir = folder.finish()?;
    if !args.output.quiet {
        tell(&summary, args.output.format, &dir)?;
    }
    results.check_ledger().context("the books do not balance: this is a bug in closestorm, please report it with the run folder")?;
    Ok(signalled.unwrap_or_else(|| super::allowed(exit_code(&verdict), args.output.allow_inconclusive)))
}

/// Prints the summary, and where the rest is.
///
/// # Errors
/// Stdout cannot be written.
pub(super) fn tell(summary: &Summary, format: Format, dir: &Path) -> anyhow::Result<()> {
    print_summary(summary, format)?;
    if format == Format::Text {
        super::print(&report::where_next(summary, dir))?;
    }
    Ok(())
}

/// Writes data, charts and reports.
///
/// # Errors
/// A file cannot be written.
pub(super) fn save(folder: &Folder, results: &Results, plan: &Plan, verdict: &Verdict, manifest: &Manifest) -> anyhow::Result<Summary> {
    let place = folder.path();
    let summary = folder
        .write(results, &plan.resolved, verdict, manifest)
        .with_context(|| format!("the run was measured, as the summary says, but its data is incomplete in {}", place.display()))?;
    read::read(place).map_err(anyhow::Error::from).and_then(|loaded| super::report::write(&loaded, place)).with_context(|| {
        let place = place.display();
        format!("the data of the run is complete in {place}, its charts are not; draw them with `closestorm report {place} --out DIR`")
    })?;
    Ok(summary)
}

/// The run itself.
fn on_sockets(plan: &Arc<Plan>, whom: Whom, folder: &Path, warm_up: Duration, quiet: bool, stop: Stop) -> anyhow::Result<Results> {
    let Whom { shard, division, start } = whom;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let places = Places { program: engine::this_program(), output: engine::output_file(folder), warm_up };
    let mut progress = Progress::new(plan, quiet);
    let show = |at, live| progress.show(at, live);
    let outcome: Result<Results, anyhow::Error> = runtime.block_on(async {
        let plan = plan.clone();
        Ok(if division.workers == 1 {
            engine::run(plan, shard, start, &places, stop.stopped(), show).await?
        } else {
            cluster::run(plan, (shard, division.workers), start, (&places, folder), stop.stopped(), show).await?
        })
    });
    progress.finish();
    // Clients that are still at it need not be unwound one by one.
    runtime.shutdown_background();
    outcome
}

/// Which part of the plan this run is, and when it begins.
fn part(plan: &Plan, args: &Run) -> anyhow::Result<(Shard, Start)> {
    let shard = args.shard.unwrap_or(Shard::WHOLE);
    if args.shard.is_some() && !matches!(plan.target, Target::Url(_)) {
        let why = "shards of a run share one server: name it in [target.url]; on one machine --workers divides the clients";
        return Err(super::Usage(why.to_owned()).into());
    }
    let Some(text) = &args.start_at else { return Ok((shard, Start::Ready)) };
    let left = manifest::until(text).map_err(super::Usage)?;
    Ok((shard, Start::At(monotonic_ns().saturating_add(left.as_nanos() as u64))))
}

/// A shard is not judged: what is expected is expected of the whole.
fn unjudged(results: &Results, shard: Shard) -> Verdict {
    let mut verdict = judge(&Evidence::of(results), &[]);
    verdict.reasons.retain(|reason| reason != UNCHECKED);
    verdict.reasons.push(format!("this is shard {shard}: `closestorm merge` judges all of them together"));
    verdict
}

/// Leaves in the folder what `merge` adds up.
fn keep_books(folder: &Folder, whom: Whom, results: Results, plan: &Plan, manifest: &Manifest, args: &Run) -> anyhow::Result<()> {
    let Whom { shard, division, .. } = whom;
    let header = Header {
        version: manifest.version.clone(),
        commit: manifest.commit.clone(),
        shard,
        name: plan.name.clone(),
        scenario: plan.resolved.clone(),
        start_at: args.start_at.clone(),
        started: manifest.started.clone(),
        // How many processes the whole is, only `merge` knows.
        notices: plan.notices.iter().filter(|notice| !division.notices(plan).contains(notice)).cloned().collect(),
    };
    let place = folder.path();
    results::shard::write(place, &header, results).with_context(|| format!("cannot write {}", place.join(results::shard::FILE).display()))
}

/// A fault may name an instance that only the model has: that can be simulated, and not run.
fn check_instances(plan: &Plan) -> anyhow::Result<()> {
    let instances = plan.target.instances();
    let Some((fault, instance)) = plan.beyond(instances) else { return Ok(()) };
    let counted = "counted from 0; those of [model] are there for `closestorm simulate`";
    Err(super::Usage(format!("fault {}: there is no instance {instance}: the target has {instances}, {counted}", fault.name)).into())
}

/// A bundled scenario may start a program of this repository, which is not here elsewhere.
pub(super) fn check_programs(plan: &Plan) -> anyhow::Result<()> {
    let Target::Command(command) = &plan.target else { return Ok(()) };
    let folder = command.workdir.as_deref().unwrap_or(Path::new(""));
    let ours = |word: &&String| word.strip_prefix("scenarios/").is_some_and(|name| PROGRAMS.iter().any(|(program, _)| *program == name));
    match command.run.iter().filter(ours).find(|word| !folder.join(word).exists()) {
        None => Ok(()),
        Some(word) => Err(super::Usage(format!(
            "there is no {word} here, the server that this scenario starts: `closestorm scenarios --files .` writes it, and \
             `npm ci --prefix scenarios/node` installs what it needs"
        ))
        .into()),
    }
}

/// Into how many processes the plan goes, and the plan with what that means for its reader.
///
/// # Errors
/// It does not fit, or a fault is about an instance that the target does not have.
pub(super) fn divide(mut plan: Plan, shard: Shard, workers: Option<u32>) -> anyhow::Result<(Plan, Division)> {
    check_instances(&plan)?;
    let files = engine::raise_files().context("cannot read the limit of open files")?;
    let room = Room { files, memory: usage::size("/proc/meminfo", "MemAvailable:") };
    let division = Division::of(&plan, shard, workers, room)?;
    let notices = division.notices(&plan);
    plan.notices.extend(notices);
    if let Target::Embedded(settings) = &mut plan.target {
        settings.processes = Some(division.processes);
    }
    Ok((plan, division))
}

/// Whether a signal came before the run began.
fn was_stopped(error: &anyhow::Error) -> bool {
    let stopped = |error: &RunError| matches!(error, RunError::Stopped);
    error.downcast_ref().is_some_and(stopped) || matches!(error.downcast_ref(), Some(ClusterError::Run(RunError::Stopped)))
}

/// Which part of a plan is carried out, by how many processes, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whom {
    shard: Shard,
    division: Division,
    start: Start,
}

impl Whom {
    /// All of it, as soon as the target is ready.
    pub(super) fn whole(division: Division) -> Whom {
        Whom { shard: Shard::WHOLE, division, start: Start::Ready }
    }
}

/// Runs and judges a plan, after a warm-up of its target. Writes nothing but the target's output.
///
/// # Errors
/// It could not begin.
pub(super) fn once(
    plan: &Arc<Plan>,
    whom: Whom,
    folder: &Path,
    warm_up: Duration,
    quiet: bool,
    stop: Stop,
) -> anyhow::Result<(Results, Verdict)> {
    let usage = Baseline::now();
    let mut results = on_sockets(plan, whom, folder, warm_up, quiet, stop)?;
    results.usage.add(usage.used());
    let shard = whom.shard;
    let verdict = if shard.is_whole() { judge(&Evidence::of(&results), &plan.expectations) } else { unjudged(&results, shard) };
    Ok((results, verdict))
}

/// This tool can hurt: off this machine it shows its plan, and asks.
pub(super) fn permit(plan: &Plan, yes: bool) -> anyhow::Result<()> {
    let address = match &plan.target {
        Target::Embedded(_) => return Ok(()),
        Target::Command(command) => Address::parse(&fill_one(&command.address, "port", "80")).map_err(anyhow::Error::msg)?,
        Target::Url(remote) => remote.address.clone(),
    };
    if address.is_loopback() {
        return Ok(());
    }
    // A closed stderr is no permission: the limits hold all the same.
    let _ = writeln!(io::stderr(), "{}", plan.dry_run());
    let peak = engine::arrivals_peak(plan);
    if !yes && (plan.clients() > CLIENTS_ALLOWED || peak > ATTEMPTS_ALLOWED) {
        return Err(super::Usage(format!(
            "{address} is not on this machine: {} clients and up to {peak} first attempts a second need --yes (without it at most {CLIENTS_ALLOWED} and {ATTEMPTS_ALLOWED})",
            plan.clients()
        ))
        .into());
    }
    Ok(())
}

pub(super) fn print_summary(summary: &Summary, format: Format) -> anyhow::Result<()> {
    let text = match format {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(summary)?),
        Format::Text => {
            let terminal = io::stdout().is_terminal();
            let width = terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0));
            report::terminal(summary, width, terminal && super::colours_allowed())
        }
    };
    super::print(&text)
}
