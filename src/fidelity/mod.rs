//! A run on real sockets and the same run simulated, laid over one another: how far apart are they, for each cohort.
//!
//! [`compare`] takes two run folders of one scenario and one seed. It measures distances of distributions (Kolmogorov and Smirnov) and
//! errors of quantiles and counts, holds them against [`FidelityLimits`], and puts the worst cohort first; nothing is averaged over
//! cohorts. Running and simulating is the command's business, and the chart is `plot::fidelity`'s.

mod distance;
pub mod text;

use crate::calibrate::client_lag_ms;
use crate::plan::{Cohort, Plan};
use crate::reconnect::{Decision, Loss, Policy};
use crate::results::Loaded;
use crate::results::record::ReconnectRow;
use distance::{Shifted, WeightedTimes};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Version of `fidelity.json`; raised when a reader could misunderstand it.
pub const SCHEMA_VERSION: u32 = 1;
/// Quantiles compared.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
/// Processes that take so much longer or shorter to listen than fitted, ms, make the time down another one.
const START_UP_MS: f64 = 100.0;
/// A clients' machine that is slower than in the model by more than this factor, and so many ms, had something else to do.
const LAG_FACTOR: f64 = 1.5;
const LAG_MS: f64 = 5.0;
/// Outages in a cohort below which quantiles and distances say too little.
pub const OUTAGES_MIN: u64 = 50;

/// How far apart two runs may be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FidelityLimits {
    /// Of p50, p90 and p99 of the reconnect time, percent.
    pub quantile_percent: f64,
    /// Of the number of attempts, percent.
    pub attempts_percent: f64,
    /// Kolmogorov–Smirnov distance of reconnect times, 0 to 1.
    pub ks: f64,
    /// Shift allowed before that distance is taken, for strategies without jitter, ms.
    pub shift_ms: f64,
}

impl Default for FidelityLimits {
    fn default() -> Self {
        FidelityLimits { quantile_percent: 10.0, attempts_percent: 5.0, ks: 0.05, shift_ms: 20.0 }
    }
}

/// `fidelity.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// Target of the run on real sockets.
    pub target: String,
    /// Seed of both runs.
    pub seed: u64,
    /// What was held against.
    pub limits: FidelityLimits,
    /// `pass`, `fail`, or `inconclusive`.
    pub result: &'static str,
    /// Why it is not `pass`.
    pub reasons: Vec<String>,
    /// From the start of a process to the moment it listened, in each world, ms; null where none was started.
    pub start_up_ms: BothWorlds<Option<f64>>,
    /// What the clients' machine took for each attempt after a wait on average, ms: measured, and in the model.
    pub client_lag_ms: BothWorlds<Option<f64>>,
    /// The worst first.
    pub cohorts: Vec<Compared>,
}

/// A value in both worlds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct BothWorlds<T> {
    /// On real sockets.
    pub real: T,
    /// In the simulator.
    pub simulated: T,
}

/// A cohort in both worlds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Its name.
    pub cohort: String,
    /// Its strategy, as the user wrote it.
    pub strategy: String,
    /// Its waits are drawn.
    pub jitter: bool,
    /// `pass`, `fail`, or `inconclusive` below [`OUTAGES_MIN`] outages.
    pub result: &'static str,
    /// Each limit that was passed, in words.
    pub beyond: Vec<String>,
    /// The largest measured value as a multiple of its limit: at most 1 passes.
    pub worst: f64,
    /// Outages.
    pub outages: BothWorlds<u64>,
    /// Outages that ended.
    pub recovered: BothWorlds<u64>,
    /// Kolmogorov–Smirnov distance of reconnect times.
    pub ks: f64,
    /// The same after the shift.
    pub ks_shifted: f64,
    /// By how much the simulated times were shifted for it, ms; within the limit.
    pub shift_ms: f64,
    /// Reconnect times.
    pub quantiles: Vec<QuantilePair>,
    /// Attempts.
    pub attempts: BothWorlds<u64>,
    /// Simulated less real, as a share of real, percent.
    pub attempts_error_percent: f64,
    /// Largest distance between the shares of attempts begun by any interval of the timeline.
    pub attempts_ks: f64,
    /// Reported codes of the clients.
    pub close_codes: BothWorlds<BTreeMap<String, u64>>,
}

/// One quantile of the reconnect time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct QuantilePair {
    /// 0 to 1.
    pub quantile: f64,
    /// Null: not reached.
    pub time_us: BothWorlds<Option<u64>>,
    /// Simulated less real, as a share of real, percent; null where one was not reached.
    pub error_percent: Option<f64>,
}

/// Lays two runs over one another; `plan` is the one that was simulated, with its model.
pub fn compare(plan: &Plan, real: &Loaded, simulated: &Loaded, limits: FidelityLimits) -> Comparison {
    let mut cohorts: Vec<_> = plan.cohorts.iter().map(|cohort| compared(cohort, real, simulated, limits)).collect();
    cohorts.sort_by(|a, b| b.worst.total_cmp(&a.worst));
    let mut reasons: Vec<String> = Vec::new();
    let generator = &real.summary.generator;
    if generator.saturated {
        reasons.push(format!(
            "the load generator was saturated: in one second, {:.1} % of the due connection attempts and messages started late",
            generator.late_share_max * 100.0
        ));
    }
    if real.summary.status != "completed" {
        reasons.push("the run was stopped".to_owned());
    }
    if cohorts.iter().all(|cohort| cohort.result == "inconclusive") {
        reasons.push(format!("no cohort has {OUTAGES_MIN} outages"));
    }
    let start_up_ms = BothWorlds { real: start_up(real), simulated: start_up(simulated) };
    if let (Some(real), Some(simulated)) = (start_up_ms.real, start_up_ms.simulated)
        && (real - simulated).abs() > START_UP_MS
    {
        reasons.push(format!(
            "the server listened {real:.0} ms after its start on real sockets, {simulated:.0} ms in the model: the machine was busier \
             in one of the two runs"
        ));
    }
    // Without it in the model there is nothing to compare.
    let fitted = plan.model.as_ref().is_some_and(|model| !model.client_lag.is_zero());
    let client_lag_ms = BothWorlds { real: client_lag_ms(real), simulated: client_lag_ms(simulated).filter(|_| fitted) };
    if let (Some(real), Some(simulated)) = (client_lag_ms.real, client_lag_ms.simulated)
        && real > simulated * LAG_FACTOR + LAG_MS
    {
        reasons.push(format!(
            "attempts needed {real:.1} ms of machine time on real sockets, {simulated:.1} ms in the model: the machine was busier than \
             in the run that the model was fitted to"
        ));
    }
    let inconclusive = !reasons.is_empty();
    let failed = cohorts.iter().filter(|cohort| cohort.result == "fail");
    reasons.extend(failed.map(|cohort| format!("{}: {}", cohort.cohort, cohort.beyond.join(", "))));
    let result = match (inconclusive, reasons.is_empty()) {
        (true, _) => "inconclusive",
        (false, true) => "pass",
        (false, false) => "fail",
    };
    Comparison {
        schema_version: SCHEMA_VERSION,
        scenario: plan.name.clone(),
        target: real.summary.target.clone(),
        seed: plan.seed.0,
        limits,
        result,
        reasons,
        start_up_ms,
        client_lag_ms,
        cohorts,
    }
}

fn compared(cohort: &Cohort, real: &Loaded, simulated: &Loaded, limits: FidelityLimits) -> Compared {
    let jitter = draws(&cohort.reconnect);
    let samples = BothWorlds { real: sample(real, &cohort.name), simulated: sample(simulated, &cohort.name) };
    let row = |loaded: &Loaded| loaded.summary.cohorts.get(&cohort.name).cloned().unwrap_or_default();
    let rows = BothWorlds { real: row(real), simulated: row(simulated) };
    let quantiles: Vec<_> = QUANTILES.iter().map(|share| quantile(*share, &samples)).collect();
    let attempts = BothWorlds { real: rows.real.attempts.counts.total, simulated: rows.simulated.attempts.counts.total };
    let ks = samples.real.distance(&samples.simulated, 0);
    let Shifted { shift_us, distance } = samples.real.distance_shifted(&samples.simulated, limits.shift_ms);
    let mut compared = Compared {
        cohort: cohort.name.clone(),
        strategy: cohort.reconnect_label.clone(),
        jitter,
        result: "pass",
        beyond: Vec::new(),
        worst: 0.0,
        outages: BothWorlds { real: rows.real.reconnect.affected, simulated: rows.simulated.reconnect.affected },
        recovered: BothWorlds { real: rows.real.reconnect.recovered, simulated: rows.simulated.reconnect.recovered },
        ks,
        ks_shifted: distance,
        shift_ms: shift_us as f64 / 1e3,
        quantiles,
        attempts,
        attempts_error_percent: error_percent(attempts.real as f64, attempts.simulated as f64),
        attempts_ks: distance::over_time(&attempts_over_time(real, &cohort.name), &attempts_over_time(simulated, &cohort.name)),
        close_codes: BothWorlds { real: rows.real.close_codes, simulated: rows.simulated.close_codes },
    };
    compared.judge(limits);
    compared
}

impl Compared {
    /// The distance that counts: shifted where no wait is drawn.
    pub fn ks_judged(&self) -> f64 {
        if self.jitter { self.ks } else { self.ks_shifted }
    }

    fn judge(&mut self, limits: FidelityLimits) {
        let ks = self.ks_judged();
        let mut measured = vec![(ks, limits.ks, format!("KS distance {ks:.3}"))];
        let error = self.attempts_error_percent;
        measured.push((error.abs(), limits.attempts_percent, format!("attempts {error:+.1} %")));
        for quantile in &self.quantiles {
            let name = format!("p{}", quantile.quantile * 100.0);
            match (quantile.error_percent, quantile.time_us) {
                (Some(error), _) => measured.push((error.abs(), limits.quantile_percent, format!("{name} {error:+.1} %"))),
                (None, BothWorlds { real: None, simulated: None }) => {}
                (None, _) => measured.push((f64::INFINITY, 1.0, format!("{name} reached only on one side (real or simulated)"))),
            }
        }
        self.worst = measured.iter().map(|(value, limit, _)| value / limit).fold(0.0, f64::max);
        self.beyond = measured.into_iter().filter(|(value, limit, _)| value > limit).map(|(_, _, words)| words).collect();
        self.result = match () {
            () if self.outages.real.min(self.outages.simulated) < OUTAGES_MIN => "inconclusive",
            () if self.beyond.is_empty() => "pass",
            () => "fail",
        };
    }
}

/// Reconnect times of a cohort in µs, with those that did not come back.
fn sample(loaded: &Loaded, cohort: &str) -> WeightedTimes {
    let rows = loaded.reconnects.iter().filter(|row| row.cohort == cohort);
    WeightedTimes::of(rows.map(|row: &ReconnectRow| (row.reconnect_us, row.weight)))
}

fn quantile(share: f64, samples: &BothWorlds<WeightedTimes>) -> QuantilePair {
    let time_us = BothWorlds { real: samples.real.quantile(share), simulated: samples.simulated.quantile(share) };
    let error = |(real, simulated): (u64, u64)| error_percent(real as f64, simulated as f64);
    QuantilePair { quantile: share, time_us, error_percent: time_us.real.zip(time_us.simulated).map(error) }
}

fn error_percent(real: f64, simulated: f64) -> f64 {
    if real == simulated { 0.0 } else { (simulated - real) / real.max(f64::MIN_POSITIVE) * 100.0 }
}

/// Attempts begun in each interval of the timeline; the two worlds have the same intervals.
pub fn attempts_over_time(loaded: &Loaded, cohort: &str) -> Vec<(u64, u64)> {
    loaded.timeline.iter().filter(|row| row.cohort == cohort).map(|row| (row.offset_ms, row.attempts)).collect()
}

/// Reconnect times of a cohort, sorted, µs: for a chart. Those that did not come back are left out, and counted.
pub fn times(loaded: &Loaded, cohort: &str) -> (Vec<u64>, usize) {
    let rows = || loaded.reconnects.iter().filter(|row| row.cohort == cohort);
    let mut times: Vec<u64> = rows().filter_map(|row| row.reconnect_us).collect();
    times.sort_unstable();
    let all = rows().count();
    (times, all)
}

/// Median time from `started` to `listening`, ms.
fn start_up(loaded: &Loaded) -> Option<f64> {
    let mut started: BTreeMap<&str, u64> = BTreeMap::new();
    let mut times = Vec::new();
    for row in loaded.events.iter().filter(|row| row.event == "target") {
        let instance = row.detail.split(' ').next().unwrap_or_default();
        if row.detail.contains("what=started") {
            started.insert(instance, row.offset_us);
        } else if row.detail.contains("what=listening")
            && let Some(from) = started.remove(instance)
        {
            times.push(row.offset_us.saturating_sub(from));
        }
    }
    times.sort_unstable();
    times.get(times.len() / 2).map(|us| *us as f64 / 1e3)
}

/// Whether a policy's waits depend on its random stream.
fn draws(policy: &Policy) -> bool {
    let play = |drawn: f64| {
        let mut random = || drawn;
        let mut history = policy.start(&mut random);
        let waits = (1..=10).map(|n| match policy.decide(&mut history, &Loss::Failed, Duration::from_secs(60 * n), &mut random) {
            Decision::Wait(wait) => Some(wait),
            Decision::GiveUp(_) => None,
        });
        waits.collect::<Vec<_>>()
    };
    play(0.15) != play(0.85)
}

#[cfg(test)]
mod tests;
