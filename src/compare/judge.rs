//! The decision: each metric by itself, and all of them together.
//!
//! A regression is called only where chance does not explain it (Holm's p at most [`LEVEL`]) *and* the whole interval of the shift is worse by
//! more than the least change. A shift whose interval reaches across that is inconclusive. No data is never a pass.

use super::bootstrap::bootstrap;
use super::log_rank::log_rank;
use super::rank::{holm, least_p, mann_whitney};
use super::record::{ComparedMetric, ComparedSide, MetricResult, RunComparison, UnknownCode};
use super::shift::{Shift, median};
use super::side::ComparedRun;
use super::worse::{ComparedQuantity, Worse};
use crate::expect::{Expectation, Stat};
use crate::metrics::survival::Survival;
use crate::number;
use crate::verdict::{Outcome, RunNumber};
use std::collections::BTreeMap;

/// Adjusted p values up to this are beyond chance.
pub const LEVEL: f64 = 0.05;
/// Runs a side from which on a regression can be called: three against three cannot give less than p = 0.1.
pub const FEWEST_RUNS: usize = 4;
/// Version of the format that `--format json` prints.
const FORMAT_VERSION: u32 = 1;

/// From where on a change matters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Share of the median of base; the least change of each metric holds beside it.
    pub relative: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds { relative: 0.05 }
    }
}

/// Compares runs by these quantities.
pub fn compare(
    base: &[ComparedRun],
    new: &[ComparedRun],
    by: &[ComparedQuantity],
    thresholds: Thresholds,
    differences: Vec<String>,
) -> RunComparison {
    let weak = is_weak(base, new);
    let mut rows: Vec<ComparedRow> = by.iter().map(|quantity| ComparedRow::of(base, new, quantity, thresholds)).collect();
    settle(&mut rows, weak);
    let expectations: Vec<Expectation> = by.iter().map(|quantity| quantity.of.clone()).collect();
    let mut reasons = Vec::new();
    for run in base.iter().chain(new) {
        reasons.extend(run.distrust(&expectations).into_iter().map(|why| format!("{}: {why}", run.name)));
    }
    let distrusted = !reasons.is_empty();
    let few = (!weak).then(|| too_few(base.len(), new.len(), by.len())).flatten();
    let out_of_reach = few.is_some();
    reasons.extend(few);
    let all: Vec<MetricResult> = rows.iter().map(|row| row.result).collect();
    let any = |result: MetricResult| all.contains(&result);
    let outcome = match () {
        () if distrusted => Outcome::Inconclusive,
        () if any(MetricResult::Worse) => Outcome::Fail,
        () if out_of_reach || any(MetricResult::NoData) || any(MetricResult::PerhapsWorse) || by.is_empty() => Outcome::Inconclusive,
        () => Outcome::Pass,
    };
    let metrics: Vec<ComparedMetric> = rows.into_iter().map(ComparedRow::record).collect();
    reasons.extend(metrics.iter().filter_map(|row| reason(row, weak)));
    let side = |runs: &[ComparedRun]| ComparedSide { runs: runs.len() as u64, folders: runs.iter().map(|run| run.name.clone()).collect() };
    RunComparison {
        schema_version: FORMAT_VERSION,
        result: match outcome {
            Outcome::Fail => "regression",
            Outcome::Pass | Outcome::Unchecked => "no_regression",
            Outcome::Inconclusive => "inconclusive",
        }
        .to_owned(),
        exit_code: outcome.exit_code(),
        answer: answer(outcome, &metrics, weak),
        reasons,
        weak,
        base: side(base),
        new: side(new),
        differences,
        metrics,
        log_rank_reconnect: log_rank(&pooled(base), &pooled(new)),
        new_close_codes: unknown_codes(base, new),
    }
}

/// Decides each metric, by p values that are adjusted for all of them.
fn settle(rows: &mut [ComparedRow<'_>], weak: bool) {
    // Those without data count, too: they are metrics that the scenario names.
    let adjusted = holm(&rows.iter().map(|row| row.p.unwrap_or(1.0)).collect::<Vec<_>>());
    rows.iter_mut().zip(adjusted).for_each(|(row, p)| row.decide(p, weak));
}

/// What becomes of metrics of which only the values are kept.
#[cfg(test)]
pub(super) fn results_of(by: &[ComparedQuantity], values: Vec<[Vec<f64>; 2]>) -> Vec<MetricResult> {
    let row = |(quantity, values)| ComparedRow::with(quantity, Ok(values), Thresholds::default());
    let mut rows: Vec<ComparedRow<'_>> = by.iter().zip(values).map(row).collect();
    settle(&mut rows, false);
    rows.iter().map(|row| row.result).collect()
}

/// Whether a side has so few runs that nothing can be called a regression.
fn is_weak(base: &[ComparedRun], new: &[ComparedRun]) -> bool {
    base.len().min(new.len()) < FEWEST_RUNS
}

/// Outages of all runs of a side.
pub fn pooled(runs: &[ComparedRun]) -> Survival {
    let mut all = Survival::default();
    for of in runs.iter().map(ComparedRun::reconnects) {
        all.ended.add(&of.ended);
        all.censored.add(&of.censored);
        all.never.add(&of.never);
    }
    all
}

/// In one sentence.
fn answer(outcome: Outcome, metrics: &[ComparedMetric], weak: bool) -> String {
    let count = |result| metrics.iter().filter(|row| row.result == result).count() as u64;
    let all = number::counted(metrics.len() as u64, "metric");
    let better = match count(MetricResult::Better) {
        0 => String::new(),
        better => format!("; {better} better"),
    };
    match outcome {
        Outcome::Fail => format!("Regression: {} of {all} worse{better}.", count(MetricResult::Worse)),
        Outcome::Inconclusive => match count(MetricResult::PerhapsWorse) {
            0 => format!("Inconclusive: {all} compared{better}."),
            perhaps => format!("Inconclusive: {perhaps} of {all} may be worse{better}."),
        },
        _ if weak => format!("No regression seen in {all}{better}; so few runs cannot show one."),
        _ => format!("No regression found in {all}{better}."),
    }
}

/// Why a metric is not decided.
fn reason(row: &ComparedMetric, weak: bool) -> Option<String> {
    match row.result {
        MetricResult::NoData => Some(format!("{}: {}", row.metric, row.note.as_deref().unwrap_or("no data"))),
        MetricResult::PerhapsWorse if weak => Some(format!("{}: may be worse; one to three runs on a side cannot tell", row.metric)),
        MetricResult::PerhapsWorse => Some(format!("{}: may be worse, and this may be chance: more runs can tell", row.metric)),
        _ => None,
    }
}

/// So few runs that even both sides apart would not be beyond chance, in words.
fn too_few(base: usize, new: usize, metrics: usize) -> Option<String> {
    let reached = |base, new| least_p(base, new) * metrics as f64 <= LEVEL;
    if reached(base, new) {
        return None;
    }
    let enough = (FEWEST_RUNS..).find(|runs| reached(*runs, *runs)).unwrap_or(FEWEST_RUNS);
    Some(format!(
        "{base} against {new} runs cannot show a regression in {metrics} metrics: {enough} a side can, or fewer metrics (--metric)"
    ))
}

fn unknown_codes(base: &[ComparedRun], new: &[ComparedRun]) -> Vec<UnknownCode> {
    let mut codes: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    for (side, found) in new.iter().flat_map(ComparedRun::codes) {
        for (code, count) in found.iter().filter(|(_, count)| **count > 0) {
            let known = base
                .iter()
                .flat_map(ComparedRun::codes)
                .any(|(other, codes)| other == side && codes.get(code).is_some_and(|count| *count > 0));
            if !known {
                let sum = codes.entry((side, code.as_str())).or_default();
                *sum = (sum.0 + count, sum.1 + 1);
            }
        }
    }
    let record =
        |((side, code), (count, runs)): ((&str, &str), _)| UnknownCode { side: side.to_owned(), code: code.to_owned(), count, runs };
    codes.into_iter().map(record).collect()
}

/// One metric on its way to a decision.
struct ComparedRow<'a> {
    quantity: &'a ComparedQuantity,
    /// One value a run, or why there are none.
    values: Result<[Vec<f64>; 2], String>,
    least_change: f64,
    /// `None` without values.
    p: Option<f64>,
    shift: Option<Shift>,
    p_holm: f64,
    result: MetricResult,
    /// What was compared in its place.
    note: Option<String>,
    /// By block bootstrap, where a side has few runs.
    weak: Option<(f64, f64)>,
}

impl<'a> ComparedRow<'a> {
    fn of(base: &[ComparedRun], new: &[ComparedRun], quantity: &'a ComparedQuantity, thresholds: Thresholds) -> ComparedRow<'a> {
        let read = |side: &[ComparedRun]| side.iter().map(|run| (run.name.clone(), run.number(&quantity.of))).collect::<Vec<_>>();
        let (values, note) = match values(&quantity.of, &read(base), &read(new)) {
            Ok((values, note)) => (Ok(values), note),
            Err(why) => (Err(why), None),
        };
        let weak = match quantity.of.stat {
            Stat::Percentile(percentile) if values.is_ok() && note.is_none() && is_weak(base, new) => {
                let times = |side: &[ComparedRun]| side.iter().map(|run| run.interval_times(&quantity.of)).collect::<Vec<_>>();
                bootstrap(&times(base), &times(new), percentile.quantile())
            }
            _ => None,
        };
        ComparedRow { note, weak, ..ComparedRow::with(quantity, values, thresholds) }
    }

    /// Of one value a run.
    fn with(quantity: &'a ComparedQuantity, values: Result<[Vec<f64>; 2], String>, thresholds: Thresholds) -> ComparedRow<'a> {
        let before = values.as_ref().map_or(0.0, |[base, _]| median(&sorted(base)));
        let relative = if quantity.is_relative() && before.is_finite() { thresholds.relative * before.abs() } else { 0.0 };
        let least_change = quantity.least_change().max(relative);
        let p = values.as_ref().ok().map(|[base, new]| mann_whitney(base, new));
        let shift = values.as_ref().ok().and_then(|[base, new]| Shift::of(base, new));
        ComparedRow { quantity, values, least_change, p, shift, p_holm: 1.0, result: MetricResult::NoData, note: None, weak: None }
    }

    fn decide(&mut self, p_holm: f64, weak: bool) {
        self.p_holm = p_holm;
        let Some(shift) = self.shift else { return };
        let beyond_chance = !weak && p_holm <= LEVEL;
        let up = (beyond_chance && shift.low > self.least_change, shift.estimate > self.least_change);
        let down = (beyond_chance && shift.high < -self.least_change, shift.estimate < -self.least_change);
        let (worse, better) = match self.quantity.worse {
            Worse::Higher => (up, down),
            Worse::Lower => (down, up),
            Worse::Neither => {
                self.result = if up.0 || down.0 { MetricResult::Changed } else { MetricResult::Same };
                return;
            }
        };
        self.result = match (worse, better) {
            ((true, _), _) => MetricResult::Worse,
            (_, (true, _)) => MetricResult::Better,
            ((_, true), _) => MetricResult::PerhapsWorse,
            (_, (_, true)) => MetricResult::PerhapsBetter,
            _ => MetricResult::Same,
        };
    }

    fn record(self) -> ComparedMetric {
        let (unit, factor) = self.quantity.unit();
        let (shift, p) = (self.shift, self.p);
        let note = self.note.clone().or_else(|| self.values.as_ref().err().cloned());
        let [base, new] = self.values.unwrap_or_default().map(|side| side.into_iter().map(|value| value * factor).collect::<Vec<_>>());
        let middle = |side: &Vec<f64>| (!side.is_empty()).then(|| median(&sorted(side)));
        let of = |part: fn(&Shift) -> f64| shift.as_ref().map(|shift| part(shift) * factor);
        ComparedMetric {
            metric: self.quantity.of.measured(),
            unit: unit.to_owned(),
            worse: self.quantity.worse.name().to_owned(),
            result: self.result,
            base_median: middle(&base),
            new_median: middle(&new),
            base,
            new,
            shift: of(|shift| shift.estimate),
            shift_low: of(|shift| shift.low),
            shift_high: of(|shift| shift.high),
            bootstrap_low: self.weak.map(|(low, _)| low * factor),
            bootstrap_high: self.weak.map(|(_, high)| high * factor),
            least_change: p.map(|_| self.least_change * factor),
            p,
            p_holm: p.map(|_| self.p_holm),
            note,
        }
    }
}

/// What a run gave, with its name.
type RunValue = (String, (RunNumber, Option<Survival>));

/// One value a run of both sides, and what they are in place of what was asked for.
fn values(of: &Expectation, base: &[RunValue], new: &[RunValue]) -> Result<([Vec<f64>; 2], Option<String>), String> {
    let number = |(name, (number, _)): &RunValue| match number {
        RunNumber::Known(value) => Ok(*value),
        RunNumber::NotReached => Ok(f64::INFINITY),
        RunNumber::Unknown(why) => Err(format!("{name}: {why}")),
    };
    let side = |side: &[RunValue]| side.iter().map(number).collect::<Result<Vec<f64>, String>>();
    let both = [side(base)?, side(new)?];
    let all: Vec<&RunValue> = base.iter().chain(new).collect();
    let unknown = both.iter().flatten().filter(|value| value.is_infinite()).count();
    // Of both sides together: a choice by side would be a choice by what is tested.
    let mostly = unknown * 2 > all.len() || of.stat == Stat::Mean && unknown > 0;
    let times: Option<Vec<&Survival>> = all.iter().map(|(_, (_, times))| times.as_ref()).collect();
    let Some((times, horizon)) = times.filter(|_| mostly).and_then(|times| {
        let horizon = times.iter().filter_map(|times| times.horizon()).min()?;
        Some((times, horizon))
    }) else {
        return Ok((both, None));
    };
    let means: Option<Vec<f64>> = times.iter().map(|times| times.restricted_mean(horizon)).collect();
    let Some(mut means) = means else { return Ok((both, None)) };
    let new = means.split_off(base.len());
    let note = format!(
        "not reached in {unknown} of {}: compared by the mean up to {}",
        number::counted(all.len() as u64, "run"),
        number::time(horizon)
    );
    Ok(([means, new], Some(note)))
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}
