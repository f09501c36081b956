//! `closestorm simulate --vary`: the same scenario at many values of one or two parameters, in parallel, and what gets out of being stuck.

use super::super::artifacts;
use super::super::console;
use super::super::console::command_line;
use super::super::exit;
use super::super::exit::Usage;
use super::super::signals::Stop;
use super::super::vary::{overrides, varied};
use crate::capacity::Vary;
use crate::cli::{Format, Simulate};
use crate::metrics::meta::RunMeta;
use crate::metrics::metric::TimeMetric;
use crate::metrics::{Results, Status};
use crate::plan::{Model, Plan};
use crate::report;
use crate::results::capacity::VaryRow;
use crate::results::folder::Folder;
use crate::results::manifest;
use crate::results::map::{self, MAP_VERSION, Map, Mapped, PointOutcome, PointRow, WayRow, boundary, cheapest, counts};
use crate::sim::mitigation::{Remedy, ladder};
use crate::sim::seeds::{in_parallel, run_seeds_watched};
use crate::text::json;
use anyhow::Context;
use std::time::Duration;

/// Most points that do not recover at which changes are tried: the others are their neighbours.
const TRIED: usize = 8;

/// Makes the map.
///
/// # Errors
/// The scenario or the parameters are wrong or cannot be simulated, or the results could not be written.
pub(super) fn main(args: &Simulate) -> anyhow::Result<u8> {
    let varied = varied(&args.vary, &args.changes)?;
    let grid = grid(args, &varied)?;
    if args.dry_run {
        console::print(&grid[0].plan.dry_run())?;
        return Ok(exit::OK);
    }
    let manifest = manifest::of(command_line(), &grid[0].plan);
    let default = || {
        let run = manifest::default_folder(&grid[0].plan.name, &manifest);
        run.with_file_name(format!("map-{}", run.file_name().unwrap_or_default().to_string_lossy()))
    };
    // Known before hours of simulation.
    let folder = console::noted(Folder::open(args.output.out.as_deref(), args.output.force, default)?);
    let stop = Stop::listen().context("cannot listen for signals")?;
    let mapped = match mapped(args, &varied, &grid, manifest::command_line(&manifest), &|| stop.code().is_none()) {
        Ok(mapped) => mapped,
        Err(error) => {
            folder.discard();
            return Err(error);
        }
    };
    if let Some(code) = stop.code().filter(|_| mapped.points.is_empty()) {
        // Nothing to write down.
        folder.discard();
        return Ok(code);
    }
    map::write(&folder, &mapped, &grid[0].plan.resolved)?;
    artifacts::map(&mapped, folder.path())?;
    let dir = folder.finish()?;
    if args.output.format.is_told(args.output.quiet) {
        match args.output.format {
            Format::Json => console::print(&json(&mapped.map)?)?,
            Format::Text => {
                console::print(&report::map::terminal(&mapped))?;
                console::print(&format!("report       {}\n", dir.join("report.html").display()))?;
            }
        }
    }
    Ok(stop.code().unwrap_or(exit::OK))
}

/// A point before it is simulated.
struct Point {
    first: f64,
    second: Option<f64>,
    plan: Plan,
    model: Model,
}

/// All points, by second parameter, then by first.
fn grid(args: &Simulate, varied: &[Vary]) -> anyhow::Result<Vec<Point>> {
    let levels: Vec<Vec<f64>> = varied.iter().map(|vary| vary.levels(args.levels.into())).collect();
    let seconds: Vec<Option<f64>> = levels.get(1).map_or(vec![None], |levels| levels.iter().copied().map(Some).collect());
    let mut points = Vec::new();
    for second in seconds {
        for first in &levels[0] {
            let values: Vec<f64> = std::iter::once(*first).chain(second).collect();
            let overrides = overrides(&args.changes, varied, &values);
            let plan = console::load_changed(Some(&args.scenario), &overrides)?;
            let model = plan.simulated_as().map_err(|error| Usage(error.to_string()))?;
            points.push(Point { first: *first, second, plan, model });
        }
    }
    Ok(points)
}

/// What is kept of a run.
struct Seen {
    p50_us: Option<u64>,
    p99_us: Option<u64>,
    away_percent: f64,
    gave_up: u64,
    attempts: u64,
    peak: u64,
}

impl Seen {
    fn of(results: &Results) -> Seen {
        let total = results.total();
        let times = results.survival(TimeMetric::ReconnectTime);
        let away = total.started.saturating_sub(total.ledger.open_at_end);
        Seen {
            p50_us: times.quantile(0.5),
            p99_us: times.quantile(0.99),
            // Three digits: what is printed is what is compared.
            away_percent: (away as f64 * 100_000.0 / total.started.max(1) as f64).round() / 1000.0,
            gave_up: total.lost,
            attempts: total.ledger.attempts.total,
            peak: results.peaks.attempts(None),
        }
    }
}

/// Medians over the seeds of a point; of an even number the upper one, so that one of two that does not recover counts.
fn point_row(first: f64, second: Option<f64>, seen: &[Seen], within_us: u64) -> PointRow {
    let middle = |of: &dyn Fn(&Seen) -> u64| {
        let mut values: Vec<u64> = seen.iter().map(of).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    // A quantile that was not reached is longer than any that was.
    let time = |of: fn(&Seen) -> Option<u64>| Some(middle(&|seen| of(seen).unwrap_or(u64::MAX))).filter(|us| *us < u64::MAX);
    let away_percent = middle(&|seen| (seen.away_percent * 1000.0).round() as u64) as f64 / 1000.0;
    let p99_us = time(|seen| seen.p99_us);
    PointRow {
        first,
        second,
        outcome: PointOutcome::of(p99_us, away_percent, within_us),
        p50_us: time(|seen| seen.p50_us),
        p99_us,
        away_percent,
        gave_up: middle(&|seen| seen.gave_up),
        attempts: middle(&|seen| seen.attempts),
        attempts_peak_per_s: middle(&|seen| seen.peak),
    }
}

/// All points that are done as long as `go_on` says so, and the ways out.
fn mapped(args: &Simulate, varied: &[Vary], grid: &[Point], command: String, go_on: &(dyn Fn() -> bool + Sync)) -> anyhow::Result<Mapped> {
    let threads = args.threads();
    let (plan, planned) = (&grid[0].plan, grid.len());
    let cause = FaultTimes::of(plan);
    let within = args.within.unwrap_or_else(|| cause.within(plan.duration));
    let within_us = micros(within);
    let one = |plan: &Plan, model: &Model, first: f64, second: Option<f64>| {
        let seen = run_seeds_watched(plan, model, args.runs, 1, |_, simulated| Seen::of(&simulated.results), go_on)?;
        let done = seen.len() == args.runs as usize;
        Ok::<_, crate::sim::Unsupported>(done.then(|| point_row(first, second, &seen, within_us)))
    };
    let usage = |error: crate::sim::Unsupported| Usage(error.to_string());
    let at = |index: u32| {
        let Point { first, second, plan, model } = &grid[index as usize];
        one(plan, model, *first, *second)
    };
    let points = in_parallel(grid.len() as u32, threads, at).map_err(usage)?;
    // A map that is stopped has what was done.
    let (grid, points): (Vec<&Point>, Vec<PointRow>) = grid.iter().zip(points).filter_map(|(point, row)| Some((point, row?))).unzip();
    let stuck: Vec<&Point> =
        grid.iter().copied().zip(&points).filter(|(_, row)| row.outcome == PointOutcome::Never).map(|(point, _)| point).collect();
    let ways_out = ways_out(&some(&stuck, TRIED), threads, &one).map_err(usage)?;
    let map = Map {
        schema_version: MAP_VERSION,
        simulated: true,
        scenario: plan.name.clone(),
        question: plan.question.clone(),
        command,
        status: if go_on() { Status::Completed } else { Status::Aborted }.name().to_owned(),
        points_planned: planned as u64,
        target: target(&grid),
        seed: plan.seed.0,
        runs: args.runs,
        duration_ms: plan.duration.as_millis() as u64,
        cause_us: cause.begins.map(micros),
        over_us: cause.over.map(micros),
        faults: plan.faults.iter().map(|fault| fault.name.clone()).collect(),
        within_us,
        vary: varied.iter().map(vary_row).collect(),
        points: counts(&points),
        boundary: boundary(&points),
        cheapest: cheapest(&ways_out).map(|way| way.change.clone()),
        ways_out,
    };
    Ok(Mapped { map, points })
}

/// The target of the points: one, or where it varies the first and the last.
fn target(grid: &[&Point]) -> String {
    let of = |point: &&Point| RunMeta::of(&point.plan).target;
    let (first, last) = (grid.first().map(of).unwrap_or_default(), grid.last().map(of).unwrap_or_default());
    match first.split_once(", ").zip(last.split_once(", ")) {
        _ if first == last => first,
        Some(((kind, _), (same, rest))) if kind == same => format!("{first} to {rest}"),
        _ => format!("{first} to {last}"),
    }
}

fn vary_row(vary: &Vary) -> VaryRow {
    VaryRow { key: vary.key.clone(), unit: vary.unit.name().to_owned(), low: vary.range.low, high: vary.range.high }
}

/// Up to `most` of a list, evenly, with the first and the last.
fn some<'a, T>(list: &[&'a T], most: usize) -> Vec<&'a T> {
    if list.len() <= most {
        return list.to_vec();
    }
    (0..most).map(|i| list[i * (list.len() - 1) / (most - 1)]).collect()
}

/// Tries every change at every point.
fn ways_out<E: Send>(
    stuck: &[&Point],
    threads: usize,
    one: &(impl Fn(&Plan, &Model, f64, Option<f64>) -> Result<Option<PointRow>, E> + Sync),
) -> Result<Vec<WayRow>, E> {
    let ladder = ladder();
    let jobs: Vec<(Remedy, &Point)> = ladder.iter().flat_map(|remedy| stuck.iter().map(move |point| (*remedy, *point))).collect();
    let rows = in_parallel(jobs.len() as u32, threads, |job| {
        let (remedy, point) = jobs[job as usize];
        let (mut plan, mut model) = (point.plan.clone(), point.model.clone());
        let Some(setting) = remedy.apply(&mut plan, &mut model) else { return Ok(None) };
        one(&plan, &model, point.first, point.second).map(|row| row.map(|row| (setting, row)))
    })?;
    let ways = ladder.iter().zip(rows.chunks(stuck.len().max(1)));
    Ok(ways.filter_map(|(remedy, rows)| way_row(*remedy, &rows.iter().flatten().collect::<Vec<_>>())).collect())
}

fn way_row(remedy: Remedy, rows: &[&(String, PointRow)]) -> Option<WayRow> {
    let count = |outcome: PointOutcome| rows.iter().filter(|(_, row)| row.outcome == outcome).count() as u64;
    let out = rows.iter().filter(|(_, row)| row.outcome != PointOutcome::Never);
    Some(WayRow {
        change: remedy.words(),
        setting: rows.last()?.0.clone(),
        points: rows.len() as u64,
        recover: count(PointOutcome::Recovers),
        late: count(PointOutcome::Late),
        p99_worst_us: out.filter_map(|(_, row)| row.p99_us).max(),
    })
}

/// When faults act.
struct FaultTimes {
    /// First firing.
    begins: Option<Duration>,
    /// From then on no fault acts; `None`: one acts to the end.
    over: Option<Duration>,
}

impl FaultTimes {
    fn of(plan: &Plan) -> FaultTimes {
        let mut cause = FaultTimes { begins: None, over: Some(Duration::ZERO) };
        for fault in &plan.faults {
            let firings = fault.firings(plan.seed, plan.duration);
            let (Some(first), Some(last)) = (firings.first(), firings.last()) else { continue };
            cause.begins = Some(cause.begins.map_or(*first, |begins| begins.min(*first)));
            let holds = matches!(fault.inject.row.form, crate::fault::Form::Instant | crate::fault::Form::Process { holds: false });
            let length = fault.schedule.revert_after.or_else(|| fault.inject.values.duration("down")).or(holds.then_some(Duration::ZERO));
            let end = length.map(|length| *last + length).filter(|end| *end < plan.duration);
            cause.over = cause.over.zip(end).map(|(over, end)| over.max(end));
        }
        cause
    }

    /// What still counts as soon, from the first firing: the cause, and a quarter of what is left of the run after it.
    fn within(&self, duration: Duration) -> Duration {
        let begins = self.begins.unwrap_or_default();
        let over = self.over.unwrap_or(begins).max(begins);
        over - begins + duration.saturating_sub(over) / 4
    }
}

fn micros(time: Duration) -> u64 {
    crate::metrics::latency::micros(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn a_map_that_is_stopped_has_the_points_that_were_done() {
        let words = "closestorm simulate stuck --levels 4 --vary clients=60..120 --vary target.embedded.instances=1..4 --threads 1";
        let Command::Simulate(args) = Cli::parse_from(words.split(' ')).command else { panic!("simulate") };
        let varied = varied(&args.vary, &args.changes).unwrap();
        let grid = grid(&args, &varied).unwrap();
        let asked = AtomicU32::new(0);
        // Asked before each point, as such short ones ask no more: the sixth is the second of its row.
        let go_on = || asked.fetch_add(1, Ordering::Relaxed) < 6;
        let mapped = mapped(&args, &varied, &grid, words.to_owned(), &go_on).unwrap();
        assert_eq!((mapped.map.status.as_str(), mapped.points.len(), mapped.map.points_planned), ("aborted", 6, 16));
        assert_eq!(mapped.stopped(), "Stopped after 6 of 16 points. ");
        assert_eq!(mapped.rows().iter().map(|row| row.iter().flatten().count()).collect::<Vec<_>>(), [4, 2]);
        assert_eq!(mapped.map.target, "embedded, 1 instance to 2 instances");
        let folder = tempfile::tempdir().unwrap();
        artifacts::map(&mapped, folder.path()).unwrap();
        assert!(std::fs::read_to_string(folder.path().join("report.md")).unwrap().contains("Stopped after 6 of 16 points."));
    }
}
