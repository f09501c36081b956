//! Several seeds of one plan: `runs.csv` has a row for each, `summary.json` how far they lie apart, and `bands` their curves. The rest of a
//! folder is the first.

use super::bands::Bands;
use super::record::Verdict;
use super::spread::{Runs, Spread};
use crate::metrics::Results;
use crate::metrics::metric::TimeMetric;
use serde::{Deserialize, Serialize};

/// A row of `runs.csv`: one seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRow {
    /// Root seed.
    pub seed: u64,
    /// `pass`, `fail`, `inconclusive` or `unchecked`.
    pub verdict: String,
    /// Outages.
    pub affected: u64,
    /// Outages that ended.
    pub recovered: u64,
    /// Outages that the end of the run cut.
    pub away_at_end: u64,
    /// Clients that gave up by their policy.
    pub gave_up: u64,
    /// Attempts.
    pub attempts: u64,
    /// Most attempts within any second.
    pub attempts_peak_per_s: u64,
    /// Time until half of the outages were over; empty where that was not reached.
    pub reconnect_p50_us: Option<u64>,
    /// Until 90 % were.
    pub reconnect_p90_us: Option<u64>,
    /// Until 99 % were.
    pub reconnect_p99_us: Option<u64>,
}

/// Columns of `runs.csv`.
pub const RUNS: &[&str] = &[
    "seed",
    "verdict",
    "affected",
    "recovered",
    "away_at_end",
    "gave_up",
    "attempts",
    "attempts_peak_per_s",
    "reconnect_p50_us",
    "reconnect_p90_us",
    "reconnect_p99_us",
];

impl RunRow {
    /// What one seed gave.
    pub fn of(results: &Results, verdict: &Verdict) -> RunRow {
        let (times, total) = (results.survival(TimeMetric::ReconnectTime).times(), results.total());
        RunRow {
            seed: results.meta.seed,
            verdict: verdict.result.clone(),
            affected: total.affected,
            recovered: total.recovered,
            away_at_end: total.censored.saturating_sub(total.left),
            gave_up: total.lost,
            attempts: total.ledger.attempts.total,
            attempts_peak_per_s: results.peaks.attempts(None),
            reconnect_p50_us: times.p50,
            reconnect_p90_us: times.p90,
            reconnect_p99_us: times.p99,
        }
    }
}

/// The seeds of a run that has several: as many as were done, the first included.
#[derive(Clone, Debug, PartialEq)]
pub struct Seeds {
    /// Asked for.
    pub planned: u32,
    /// By seed.
    pub rows: Vec<RunRow>,
    /// Their curves.
    pub bands: Bands,
}

impl Seeds {
    /// A signal came before all were done.
    pub fn cut(&self) -> bool {
        self.rows.len() < self.planned as usize
    }
}

impl Runs {
    /// Of these seeds.
    pub fn of(seeds: &Seeds) -> Runs {
        let times = |of: fn(&RunRow) -> Option<u64>| Spread::of(seeds.rows.iter().map(of));
        let counts = |of: fn(&RunRow) -> u64| Spread::of(seeds.rows.iter().map(|row| Some(of(row))));
        let with = |verdict: &str| seeds.rows.iter().filter(|row| row.verdict == verdict).count() as u64;
        Runs {
            planned: seeds.planned.into(),
            done: seeds.rows.len() as u64,
            passed: with("pass"),
            failed: with("fail"),
            reconnect_p50_us: times(|row| row.reconnect_p50_us),
            reconnect_p90_us: times(|row| row.reconnect_p90_us),
            reconnect_p99_us: times(|row| row.reconnect_p99_us),
            attempts: counts(|row| row.attempts),
            attempts_peak_per_s: counts(|row| row.attempts_peak_per_s),
            away_at_end: counts(|row| row.away_at_end),
            gave_up: counts(|row| row.gave_up),
        }
    }
}
