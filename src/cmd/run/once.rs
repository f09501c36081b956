//! One run, from its plan to its folder.

use super::super::ci;
use super::super::console;
use super::super::execute::{check_programs, check_remote_limits, print_result, print_summary, run_and_judge_watched, was_stopped};
use super::super::exit;
use super::super::progress::ShowProgress;
use super::super::signals::Stop;
use super::super::watch;
use crate::api::{Error, RunPart, divide, save};
use crate::cli::{Events, Run};
use crate::metrics::{Results, Status};
use crate::panics;
use crate::plan::{Plan, Shard, Target};
use crate::report::ci::CiRun;
use crate::results::folder::{Folder, FolderError};
use crate::results::record::{Manifest, Verdict};
use crate::results::shard::Header;
use crate::results::summary::summarise;
use crate::results::{self, manifest};
use crate::run::RunStart;
use crate::snapshots::Publisher;
use crate::transport::clock::monotonic_ns;
use crate::verdict::{Outcome, exit_code};
use anyhow::Context;
use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How a run ended.
pub(super) struct RunEnd {
    /// Exit code.
    pub(super) code: u8,
    /// What was written; `None` if nothing was measured.
    pub(super) folder: Option<PathBuf>,
    /// What CI services are told; `None` as above.
    pub(super) told: Option<CiRun>,
}

fn show(args: &Run) -> ShowProgress {
    match (args.output.quiet, args.plain) {
        (true, _) => ShowProgress::Nothing,
        (_, true) => ShowProgress::Plain,
        _ => ShowProgress::Dashboard,
    }
}

/// Runs a plan, into `out` or a new folder below `results/`.
///
/// # Errors
/// The run could not begin, or its results could not be written.
pub(super) fn run_once(args: &Run, mut plan: Plan, out: Option<&Path>, stop: &Stop) -> anyhow::Result<RunEnd> {
    plan.limits = args.load.limits();
    check_remote_limits(&plan)?;
    check_programs(&plan)?;
    let (shard, start) = part(&plan, args)?;
    let (mut plan, division) = divide(plan, shard, args.workers, args.memory)?;
    plan.all_events = args.events == Events::Full;
    // Before a folder is made: a port that is taken ends it here.
    let web = watch::bind(&args.watch, args.output.quiet)?;
    let manifest = manifest::of(console::command_line(), &plan);
    let default = || manifest::default_folder(&plan.name, &manifest);
    let folder = console::noted(Folder::open(out, args.output.force, default)?);
    let plan = Arc::new(plan);
    let whom = RunPart { shard, division, start };
    let snapshots = Publisher::default();
    let served = web.map(|web| web.serve(&plan, snapshots.subscribe()));
    let place = (folder.path(), Duration::ZERO);
    let (results, verdict) = match run_and_judge_watched(&plan, whom, place, (show(args), snapshots), stop.clone()) {
        Ok(measured) => measured,
        Err(error) => {
            // Nothing was measured; what the target printed is in the message.
            folder.discard();
            return match stop.code().filter(|_| was_stopped(&error)) {
                Some(code) => {
                    exit::report_error(&error);
                    Ok(RunEnd { code, folder: None, told: None })
                }
                None => Err(error),
            };
        }
    };
    let signalled = stop.code().filter(|_| results.status == Status::Aborted);
    let summary = match save(&folder, &results, None, &plan, &verdict, &manifest) {
        Ok(summary) => summary,
        Err(error) => {
            // The figures must not be lost with the disk, not even where nobody asked for them.
            let summary = summarise(&results, None, &unwritten(verdict, &error), &manifest::command_line(&manifest));
            let error = anyhow::Error::from(error);
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
    if let Some(served) = served {
        served.finish(watch::report(&dir));
    }
    if args.output.format.is_told(args.output.quiet) {
        print_result(&summary, args.output.format, &dir)?;
    }
    anyhow::ensure!(!results.unreliable.iter().any(|why| why == panics::BUG), "{}", panics::BUG);
    results.check_ledger().context("the counts are inconsistent: this is a bug in closestorm, please report it with the run folder")?;
    let code = signalled.unwrap_or_else(|| exit::allowed(exit_code(&verdict), args.output.allow_inconclusive));
    Ok(RunEnd { code, told: Some(ci::told(&plan, summary, &manifest, &dir)), folder: Some(dir) })
}

/// The verdict of a run that was not saved: where nobody can read its data again it is no pass.
fn unwritten(mut verdict: Verdict, error: &Error) -> Verdict {
    if let Error::NotWritten { source, .. } = error
        && let Some(error) = source.downcast_ref::<FolderError>()
    {
        if verdict.result != Outcome::Fail.name() {
            verdict.result = Outcome::Inconclusive.name().to_owned();
        }
        let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        verdict.reasons.insert(0, format!("its results could not be written: {why}"));
    }
    verdict
}

/// Which part of the plan this run is, and when it begins.
fn part(plan: &Plan, args: &Run) -> anyhow::Result<(Shard, RunStart)> {
    let shard = args.shard.unwrap_or(Shard::WHOLE);
    if args.shard.is_some() && !matches!(plan.target, Target::Url(_)) {
        let why = "all shards of a run connect to the same server: name it in [target.url]; to divide the clients on one machine, use \
            --workers";
        return Err(exit::Usage(why.to_owned()).into());
    }
    let Some(text) = &args.start_at else { return Ok((shard, RunStart::Ready)) };
    let left = manifest::until(text).map_err(exit::Usage)?;
    Ok((shard, RunStart::At(monotonic_ns().saturating_add(left.as_nanos() as u64))))
}

/// Leaves in the folder what `merge` adds up.
fn keep_books(folder: &Folder, whom: RunPart, results: Results, plan: &Plan, manifest: &Manifest, args: &Run) -> anyhow::Result<()> {
    let RunPart { shard, division, .. } = whom;
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
