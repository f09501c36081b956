//! `closestorm simulate`: a scenario in virtual time, from the plan to the verdict; with several seeds also what varies between them; with varied
//! parameters a map.

pub mod map;

use super::command_line;
use super::progress::Progress;
use super::run::{print_summary, save};
use super::signals::Stop;
use crate::cli::{Format, Simulate};
use crate::metrics::bank::Metric;
use crate::metrics::{Status, survival};
use crate::plan::{Model, Plan};
use crate::plot::number;
use crate::report;
use crate::results::evidence::Evidence;
use crate::results::folder::Folder;
use crate::results::manifest;
use crate::results::usage::Baseline;
use crate::seed::Seed;
use crate::sim::many::run_seeds_watched;
use crate::sim::{self, Simulated};
use crate::verdict::{exit_code, judge};
use anyhow::Context;
use std::io::{self, Write};

/// Simulates a scenario.
///
/// # Errors
/// The scenario is wrong or cannot be simulated, or its results could not be written.
pub fn main(args: &Simulate) -> anyhow::Result<u8> {
    if !args.vary.is_empty() {
        return map::main(args);
    }
    let plan = super::load(Some(&args.scenario), &args.changes)?;
    let model = plan.simulated_as().map_err(|error| super::Usage(error.to_string()))?;
    if args.dry_run {
        super::print(&plan.dry_run())?;
        return Ok(super::OK);
    }
    let stop = Stop::listen().context("cannot listen for signals")?;
    let manifest = manifest::collect(command_line(), plan.seed);
    let dir = args.output.out.clone().unwrap_or_else(|| manifest::default_folder(&plan.name, &manifest));
    let folder = Folder::create(&dir)?;
    let simulated = match simulate(&plan, &model, args.output.quiet, &stop) {
        Ok(simulated) => simulated,
        Err(error) => {
            folder.discard();
            return Err(super::Usage(error.to_string()).into());
        }
    };
    let first = Figures::of(&plan, &simulated);
    let results = simulated.results;
    let signalled = stop.code().filter(|_| results.status == Status::Aborted);
    let verdict = judge(&Evidence::of(&results), &plan.expectations);
    let summary = save(&folder, &results, &plan, &verdict, &manifest)?;
    let dir = folder.finish()?;
    let spread = if args.runs > 1 && signalled.is_none() { spread(&plan, &model, (args.runs, threads(args)), first, &stop)? } else { None };
    let signalled = signalled.or_else(|| stop.code().filter(|_| args.runs > 1));
    if !args.output.quiet {
        print_summary(&summary, args.output.format)?;
        if args.output.format == Format::Text {
            spread.iter().try_for_each(|spread| super::print(spread))?;
            super::print(&report::where_next(&summary, &dir))?;
        }
    }
    results.check_ledger().context("the books do not balance: this is a bug in closestorm, please report it with the run folder")?;
    Ok(signalled.unwrap_or_else(|| super::allowed(exit_code(&verdict), args.output.allow_inconclusive)))
}

/// What one seed of several gave.
struct Figures {
    p50: Option<u64>,
    p90: Option<u64>,
    p99: Option<u64>,
    attempts: u64,
    peak: u64,
    away: u64,
    lost: u64,
    passed: bool,
}

impl Figures {
    fn of(plan: &Plan, simulated: &Simulated) -> Figures {
        let results = &simulated.results;
        let (back, cut) = (results.latency(Metric::ReconnectTime), results.latency(Metric::ReconnectCensored));
        let times = survival::times(&back, &cut);
        let total = results.total();
        Figures {
            p50: times.p50,
            p90: times.p90,
            p99: times.p99,
            attempts: total.ledger.attempts,
            peak: results.timeline.attempts_peak(None),
            away: total.censored,
            lost: total.lost,
            passed: exit_code(&judge(&Evidence::of(results), &plan.expectations)) == super::OK,
        }
    }
}

/// What varies between seeds: least, median and greatest of each figure. The run folder is that of the first, which is not simulated
/// again. `None` if a signal came before all were done.
fn spread(plan: &Plan, model: &Model, (runs, threads): (u32, usize), first: Figures, stop: &Stop) -> anyhow::Result<Option<String>> {
    let others = Plan { seed: Seed(plan.seed.0.wrapping_add(1)), ..plan.clone() };
    let figures = |_, simulated: Simulated| Figures::of(plan, &simulated);
    let mut all = run_seeds_watched(&others, model, runs - 1, threads, figures, &|| stop.code().is_none())?;
    all.insert(0, first);
    if all.len() < runs as usize {
        return Ok(None);
    }
    let last = plan.seed.0.wrapping_add(u64::from(runs) - 1);
    let mut out = format!(
        "{:<13}{:<24}{:>12}{:>12}{:>12}\n",
        format!("{runs} runs"),
        format!("seeds {} to {last}", plan.seed.0),
        "least",
        "median",
        "most"
    );
    // A quantile that was not reached is longer than any that was.
    let mut times = |name: &str, of: &dyn Fn(&Figures) -> Option<u64>| {
        let mut values: Vec<_> = all.iter().map(|figures| of(figures).unwrap_or(u64::MAX)).collect();
        values.sort_unstable();
        let show = |us: u64| if us == u64::MAX { "not reached".to_owned() } else { number::time(us) };
        out += &row(name, [values[0], values[values.len() / 2], values[values.len() - 1]].map(show));
    };
    times("reconnect p50", &|figures| figures.p50);
    times("reconnect p90", &|figures| figures.p90);
    times("reconnect p99", &|figures| figures.p99);
    let mut counts = |name: &str, of: &dyn Fn(&Figures) -> u64| {
        let mut values: Vec<_> = all.iter().map(of).collect();
        values.sort_unstable();
        out += &row(name, [values[0], values[values.len() / 2], values[values.len() - 1]].map(number::count));
    };
    counts("attempts", &|figures| figures.attempts);
    counts("herd peak in one second", &|figures| figures.peak);
    counts("still away at the end", &|figures| figures.away);
    counts("gave up", &|figures| figures.lost);
    if !plan.expectations.is_empty() {
        out += &format!("             all expectations held in {} of {runs}\n", all.iter().filter(|figures| figures.passed).count());
    }
    Ok(Some(out))
}

/// As many as asked for, or one for each processor.
fn threads(args: &Simulate) -> usize {
    args.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from)
}

fn row(name: &str, [least, median, most]: [String; 3]) -> String {
    format!("             {name:<24}{least:>12}{median:>12}{most:>12}\n")
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
