//! `closestorm simulate`: a scenario in virtual time, from the plan to the verdict; with several seeds also what varies between them; with
//! varied parameters a map.

pub mod map;

use super::ci::{self, CiOutput, check_folders};
use super::console;
use super::console::command_line;
use super::execute::print_summary;
use super::exit;
use super::progress::{Progress, ShowProgress};
use super::signals::Stop;
use crate::api::{self, save};
use crate::cli::{Events, Format, Simulate};
use crate::metrics::{Results, Status};
use crate::panics;
use crate::plan::{Model, Plan};
use crate::report;
use crate::report::ci::CiRun;
use crate::results::bands::{Bands, Curves, seeds_kept};
use crate::results::evidence::Evidence;
use crate::results::folder::Folder;
use crate::results::manifest;
use crate::results::runs::{RunRow, Seeds};
use crate::results::spread::Runs;
use crate::results::usage::Baseline;
use crate::scenario::Source;
use crate::seed::Seed;
use crate::sim::Simulated;
use crate::sim::seeds::run_seeds_watched;
use crate::snapshots::Publisher;
use crate::verdict::{exit_code, judge};
use anyhow::Context;
use std::io::{self, Write};

/// Of a URL.
const NO_MODEL: &str = "a URL cannot be simulated: it says nothing of how the server behaves; run it with `closestorm run URL`, or keep its \
    scenario with `closestorm run URL --save mine.toml --dry-run`, describe the server in [model], and simulate that file";

/// Simulates a scenario.
///
/// # Errors
/// The scenario is wrong or cannot be simulated, or its results could not be written.
pub fn main(args: &Simulate) -> anyhow::Result<u8> {
    if matches!(Source::of(Some(&args.scenario)), Source::Url(_)) {
        return Err(exit::Usage(NO_MODEL.to_owned()).into());
    }
    if !args.vary.is_empty() {
        return map::main(args);
    }
    check_folders(args.output.out.as_deref(), &args.ci.verdict)?;
    let mut ci = CiOutput::begin(&args.ci.verdict, args.ci.history.as_deref(), &args.scenario);
    let done = simulate_scenario(args, &mut ci);
    if args.dry_run { ci.finish_dry(done) } else { ci.finish(done) }
}

fn simulate_scenario(args: &Simulate, ci: &mut CiOutput<'_>) -> anyhow::Result<u8> {
    panics::asked(format_args!("simulate"));
    let mut plan = console::load(Some(&args.scenario), &args.changes)?;
    plan.all_events = args.events == Events::Full;
    let model = api::model(&plan)?;
    plan.notices.extend(plan.not_simulated());
    if args.dry_run {
        console::print(&plan.dry_run())?;
        return Ok(exit::OK);
    }
    ci.plan(&plan)?;
    let stop = Stop::listen().context("cannot listen for signals")?;
    let manifest = manifest::of(command_line(), &plan);
    let default = || manifest::default_folder(&plan.name, &manifest);
    let folder = console::noted(Folder::open(args.output.out.as_deref(), args.output.force, default)?);
    let simulated = match simulate(&plan, &model, args.output.quiet, &stop) {
        Ok(simulated) => simulated,
        Err(error) => {
            folder.discard();
            return Err(error.into());
        }
    };
    let mut results = simulated.results;
    let mut all = None;
    if args.runs > 1 {
        all = Some(seeds(&plan, &model, (args.runs, args.threads()), &results, &stop)?);
    }
    if all.as_ref().is_some_and(Seeds::cut) {
        // What was asked for was not done, however complete the first seed is.
        results.status = Status::Aborted;
    }
    let done = all.as_ref().map(Runs::of);
    let verdict = judge(&Evidence { seeds: done, ..Evidence::of(&results) }, &plan.expectations);
    let signalled = stop.code().filter(|_| results.status == Status::Aborted);
    let summary = save(&folder, &results, all.as_ref(), &plan, &verdict, &manifest)?;
    let dir = folder.finish()?;
    if args.output.format.is_told(args.output.quiet) {
        print_summary(&summary, args.output.format)?;
        if args.output.format == Format::Text {
            summary.runs.iter().try_for_each(|runs| console::print(&report::spread(runs, summary.seed, !plan.expectations.is_empty())))?;
            console::print(&report::where_next(&summary, &dir))?;
        }
    }
    let seeds = all.map_or_else(Vec::new, |seeds| seeds.rows);
    ci.runs(Some(CiRun { seeds, ..ci::told(&plan, summary, &manifest, &dir) }));
    results.check_ledger().context("the counts are inconsistent: this is a bug in closestorm, please report it with the run folder")?;
    Ok(signalled.unwrap_or_else(|| exit::allowed(exit_code(&verdict), args.output.allow_inconclusive)))
}

/// The seeds after the first, in parallel, and the first, which is not simulated again; as many as are done before a signal comes, which
/// are none where it came during the first.
fn seeds(plan: &Plan, model: &Model, (runs, threads): (u32, usize), first: &Results, stop: &Stop) -> anyhow::Result<Seeds> {
    // The run folder is that of the first seed: the others need no more than their numbers.
    let others = Plan { seed: Seed(plan.seed.0.wrapping_add(1)), all_events: false, ..plan.clone() };
    let kept = seeds_kept(plan.cohorts.len());
    // All that is kept of a seed, by its number.
    let digest = |number: u32, results: &Results| {
        let row = RunRow::of(results, &judge(&Evidence::of(results), &plan.expectations));
        (row, (number < kept).then(|| Curves::of(results)))
    };
    let mut done = Vec::new();
    if first.status == Status::Completed {
        let other = |index: u32, simulated: Simulated| digest(index + 1, &simulated.results);
        done = run_seeds_watched(&others, model, runs - 1, threads, other, &|| stop.code().is_none())?;
        done.insert(0, digest(0, first));
    }
    let (rows, curves): (Vec<RunRow>, Vec<Option<Curves>>) = done.into_iter().unzip();
    let names: Vec<String> = plan.cohorts.iter().map(|cohort| cohort.name.clone()).collect();
    let curves: Vec<Curves> = curves.into_iter().flatten().collect();
    Ok(Seeds { planned: runs, rows, bands: Bands::of(&names, &curves) })
}

/// The run itself; says what it cost.
fn simulate(plan: &Plan, model: &Model, quiet: bool, stop: &Stop) -> Result<Simulated, api::Error> {
    let before = Baseline::now();
    let mut snapshots = Publisher::default();
    let progress = Progress::follow(plan, ShowProgress::line(quiet), &snapshots, None);
    let simulated = api::simulated(plan, model, &mut |at, recorder| {
        snapshots.publish(at, || recorder.snapshot());
        stop.code().is_none()
    });
    drop(snapshots);
    progress.finish();
    if let Ok(simulated) = &simulated
        && !quiet
    {
        let used = before.used();
        // Nobody to tell where stderr is closed.
        let _ = writeln!(
            io::stderr(),
            "simulated {} events ({} queue entries) in {:.2} s of CPU time, {:.0} MiB peak memory",
            simulated.events,
            simulated.entries,
            used.cpu_s,
            used.rss_peak_bytes as f64 / f64::from(1 << 20)
        );
    }
    simulated
}
