//! What commands that run or simulate share: the checks before, the run itself with its verdict, saving and printing.

use super::artifacts;
use super::progress::Progress;
use super::signals::Stop;
use crate::address::Address;
use crate::cli::Format;
use crate::cluster::{self, ClusterError, Division, Room};
use crate::metrics::Results;
use crate::plan::{Plan, Shard, Target};
use crate::report;
use crate::results::evidence::Evidence;
use crate::results::folder::Folder;
use crate::results::read;
use crate::results::record::{Manifest, Summary, Verdict};
use crate::results::runs::Seeds;
use crate::results::usage::{self, Baseline};
use crate::run as engine;
use crate::run::{Places, Start};
use crate::scenario::PROGRAMS;
use crate::sut::error::RunError;
use crate::template::fill_one;
use crate::verdict::{UNCHECKED, judge};
use anyhow::Context;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// More clients than this against somebody else's machine need `--yes`.
const CLIENTS_ALLOWED: u32 = 100;
/// More attempts in a second than this against somebody else's machine need `--yes`.
const ATTEMPTS_ALLOWED: usize = 50;

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

/// A shard is not judged: what is expected is expected of the whole.
pub(super) fn unjudged(results: &Results, shard: Shard) -> Verdict {
    let mut verdict = judge(&Evidence::of(results), &[]);
    verdict.reasons.retain(|reason| reason != UNCHECKED);
    verdict.reasons.push(format!("this is shard {shard}: `closestorm merge` judges all of them together"));
    verdict
}

/// A fault may name an instance that only the model has: that can be simulated, and not run.
pub(super) fn check_instances(plan: &Plan) -> anyhow::Result<()> {
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
pub(super) fn was_stopped(error: &anyhow::Error) -> bool {
    let stopped = |error: &RunError| matches!(error, RunError::Stopped);
    error.downcast_ref().is_some_and(stopped) || matches!(error.downcast_ref(), Some(ClusterError::Run(RunError::Stopped)))
}

/// Which part of a plan is carried out, by how many processes, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whom {
    pub(super) shard: Shard,
    pub(super) division: Division,
    pub(super) start: Start,
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
pub(super) fn save(
    folder: &Folder,
    results: &Results,
    seeds: Option<&Seeds>,
    plan: &Plan,
    verdict: &Verdict,
    manifest: &Manifest,
) -> anyhow::Result<Summary> {
    let place = folder.path();
    let summary = folder
        .write(results, seeds, &plan.resolved, verdict, manifest)
        .with_context(|| format!("the run was measured, as the summary says, but its data is incomplete in {}", place.display()))?;
    read::read(place).map_err(anyhow::Error::from).and_then(|loaded| artifacts::run(&loaded, place)).with_context(|| {
        let place = place.display();
        format!("the data of the run is complete in {place}, its charts are not; draw them with `closestorm report {place} --out DIR`")
    })?;
    Ok(summary)
}
