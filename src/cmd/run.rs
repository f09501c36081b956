//! `closestorm run`: a scenario on real sockets, from the plan to the verdict.

mod once;
mod series;
mod source;

use super::ci::{CiOutput, check_folders};
use super::console;
use super::execute::needs_yes;
use super::exit;
use super::signals::Stop;
use crate::api::check_instances;
use crate::cli::Run;
use anyhow::Context;
use once::run_once;
use source::RunSource;

/// Runs a scenario, once or several times, or prints its plan with `--dry-run`.
///
/// # Errors
/// The scenario is wrong, the run could not begin, or its results could not be written.
pub fn main(args: &Run) -> anyhow::Result<u8> {
    check_folders(args.output.out.as_deref(), &args.ci.verdict)?;
    let mut ci = CiOutput::begin(&args.ci.verdict, args.ci.history.as_deref(), args.scenario.as_deref().unwrap_or("default"));
    let done = run(args, &mut ci);
    if args.dry_run { ci.finish_dry(done) } else { ci.finish(done) }
}

fn run(args: &Run, ci: &mut CiOutput<'_>) -> anyhow::Result<u8> {
    let source = RunSource::of(args)?;
    let mut plan = source.load(&args.changes.overrides())?;
    source.tell(args)?;
    plan.limits = args.load.limits();
    if args.dry_run {
        check_instances(&plan)?;
        let note = needs_yes(&plan).filter(|_| plan.limits.elsewhere).map(|note| format!("note: {note}\n")).unwrap_or_default();
        console::print(&format!("{}{note}", plan.dry_run()))?;
        return Ok(exit::OK);
    }
    ci.plan(&plan)?;
    let listen = || Stop::listen().context("cannot listen for signals");
    if args.is_series() {
        series::run_series(args, &source, &plan, &listen()?, ci)
    } else {
        let end = run_once(args, plan, args.output.out.as_deref(), &listen()?)?;
        ci.runs(end.told);
        Ok(end.code)
    }
}
