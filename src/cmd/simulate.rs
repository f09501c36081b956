//! `closestorm simulate`: a scenario in virtual time, from the plan to the verdict; with several seeds also what varies between them.

use super::progress::Progress;
use super::run::{command_line, print_summary, save};
use super::signals::Stop;
use crate::cli::{Format, Simulate};
use crate::metrics::Status;
use crate::plan::{Model, Plan};
use crate::report;
use crate::results::evidence::Evidence;
use crate::results::folder::Folder;
use crate::results::manifest;
use crate::results::usage::Baseline;
use crate::sim::{self, Simulated};
use crate::verdict::{exit_code, judge};
use anyhow::Context;
use std::io::{self, Write};

/// Simulates a scenario.
///
/// # Errors
/// The scenario is wrong or cannot be simulated, or its results could not be written.
pub fn main(args: &Simulate) -> anyhow::Result<u8> {
    let plan = super::load(Some(&args.scenario), &args.changes)?;
    let model = plan.simulated_as().map_err(|error| super::Usage(error.to_string()))?;
    if args.dry_run {
        super::print(&plan.dry_run())?;
        return Ok(super::OK);
    }
    let stop = Stop::listen().context("cannot listen for signals")?;
    let manifest = manifest::collect(command_line(), plan.seed);
    let dir = args.out.clone().unwrap_or_else(|| manifest::default_folder(&plan.name, &manifest));
    let folder = Folder::create(&dir)?;
    let simulated = match simulate(&plan, &model, args.quiet, &stop) {
        Ok(simulated) => simulated,
        Err(error) => {
            folder.discard();
            return Err(super::Usage(error.to_string()).into());
        }
    };
    let results = simulated.results;
    let signalled = stop.code().filter(|_| results.status == Status::Aborted);
    let verdict = judge(&Evidence::of(&results), &plan.expectations);
    let summary = save(&folder, &results, &plan, &verdict, &manifest)?;
    let dir = folder.finish()?;
    if !args.quiet {
        print_summary(&summary, args.format)?;
        if args.format == Format::Text {
            super::print(&report::where_next(&summary, &dir))?;
        }
    }
    results.check_ledger().context("the books do not balance: this is a bug in closestorm, please report it with the run folder")?;
    Ok(signalled.unwrap_or_else(|| super::allowed(exit_code(&verdict), args.allow_inconclusive)))
}

/// The run itself; says what it cost.
fn simulate(plan: &Plan, model: &Model, quiet: bool, stop: &Stop) -> Result<Simulated, sim::Unsupported> {
    let before = Baseline::now();
    let mut progress = Progress::new(plan, quiet);
    let simulated = sim::run_watched(plan, model, &mut |at, live| {
        progress.show(at, live);
        stop.code().is_none()
    });
    progress.finish();
    if let Ok(simulated) = &simulated
        && !quiet
    {
        let used = before.used();
        // Nobody to tell where stderr is closed.
        let _ = writeln!(
            io::stderr(),
            "simulated {} events ({} entries of the queue) in {:.2} s of processor time, {:.0} MiB at the peak",
            simulated.events,
            simulated.entries,
            used.cpu_s,
            used.rss_peak_bytes as f64 / f64::from(1 << 20)
        );
    }
    simulated
}
