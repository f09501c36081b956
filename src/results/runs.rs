//! Several seeds of one plan: `runs.csv` has a row for each, `summary.json` how far they lie apart, and `bands` their curves. The rest of a
//! folder is the first.

use super::bands::Bands;
use super::record::Verdict;
use crate::metrics::Results;
use crate::metrics::bank::Metric;
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
        let (times, total) = (results.survival(Metric::ReconnectTime).times(), results.total());
        RunRow {
            seed: results.meta.seed,
            verdict: verdict.result.clone(),
            affected: total.affected,
            recovered: total.recovered,
            away_at_end: total.censored,
            gave_up: total.lost,
            attempts: total.ledger.attempts,
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

/// A figure over the seeds. A time that a seed did not reach is longer than any other; null stands for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// The least.
    pub least: Option<u64>,
    /// A tenth of the seeds have no more.
    pub p10: Option<u64>,
    /// The middle one; of an even number the upper one.
    pub median: Option<u64>,
    /// Nine tenths of the seeds have no more.
    pub p90: Option<u64>,
    /// The greatest.
    pub most: Option<u64>,
}

impl Spread {
    /// Of some values; nothing of none.
    pub fn of(values: impl Iterator<Item = Option<u64>>) -> Spread {
        let mut sorted: Vec<u64> = values.map(|value| value.unwrap_or(u64::MAX)).collect();
        sorted.sort_unstable();
        let at = |place: usize| sorted.get(place).copied().filter(|value| *value < u64::MAX);
        // The nearest rank: the least value that so many have no more than.
        let rank = |tenths: usize| at((sorted.len() * tenths).div_ceil(10).saturating_sub(1));
        Spread { least: at(0), p10: rank(1), median: at(sorted.len() / 2), p90: rank(9), most: at(sorted.len().saturating_sub(1)) }
    }
}

/// `runs` of `summary.json`: how far the seeds lie apart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Runs {
    /// Seeds asked for.
    pub planned: u64,
    /// Seeds done: fewer after a signal.
    pub done: u64,
    /// Of them those whose verdict is `pass`.
    pub passed: u64,
    /// Time until half of the outages were over.
    pub reconnect_p50_us: Spread,
    /// Until 90 % were.
    pub reconnect_p90_us: Spread,
    /// Until 99 % were.
    pub reconnect_p99_us: Spread,
    /// Attempts.
    pub attempts: Spread,
    /// Most attempts within any second.
    pub attempts_peak_per_s: Spread,
    /// Outages that the end of the run cut.
    pub away_at_end: Spread,
    /// Clients that gave up.
    pub gave_up: Spread,
}

impl Runs {
    /// Of these seeds.
    pub fn of(seeds: &Seeds) -> Runs {
        let times = |of: fn(&RunRow) -> Option<u64>| Spread::of(seeds.rows.iter().map(of));
        let counts = |of: fn(&RunRow) -> u64| Spread::of(seeds.rows.iter().map(|row| Some(of(row))));
        Runs {
            planned: seeds.planned.into(),
            done: seeds.rows.len() as u64,
            passed: seeds.rows.iter().filter(|row| row.verdict == "pass").count() as u64,
            reconnect_p50_us: times(|row| row.reconnect_p50_us),
            reconnect_p90_us: times(|row| row.reconnect_p90_us),
            reconnect_p99_us: times(|row| row.reconnect_p99_us),
            attempts: counts(|row| row.attempts),
            attempts_peak_per_s: counts(|row| row.attempts_peak_per_s),
            away_at_end: counts(|row| row.away_at_end),
            gave_up: counts(|row| row.gave_up),
        }
    }

    /// Each figure with its name, and whether it is a time in µs.
    pub fn figures(&self) -> [(&'static str, bool, Spread); 7] {
        [
            ("reconnect p50", true, self.reconnect_p50_us),
            ("reconnect p90", true, self.reconnect_p90_us),
            ("reconnect p99", true, self.reconnect_p99_us),
            ("attempts", false, self.attempts),
            ("herd peak in one second", false, self.attempts_peak_per_s),
            ("still away at the end", false, self.away_at_end),
            ("gave up", false, self.gave_up),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_was_not_reached_is_longer_than_any_other() {
        let spread = Spread::of([Some(30), None, Some(10), Some(20)].into_iter());
        assert_eq!(spread, Spread { least: Some(10), p10: Some(10), median: Some(30), p90: None, most: None });
        let spread = Spread::of((1..=20).map(Some));
        assert_eq!(spread, Spread { least: Some(1), p10: Some(2), median: Some(11), p90: Some(18), most: Some(20) });
        assert_eq!(Spread::of(std::iter::empty()), Spread::default());
    }
}
