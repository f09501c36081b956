//! How far several seeds of one plan lie apart: `runs` of `summary.json`.

use serde::{Deserialize, Serialize};

/// A figure over the seeds. A time that a seed did not reach is longer than any other; null stands for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Runs {
    /// Seeds asked for.
    pub planned: u64,
    /// Seeds done: fewer after a signal.
    pub done: u64,
    /// Of them those whose verdict is `pass`.
    pub passed: u64,
    /// Of them those whose verdict is `fail`.
    #[serde(default)] // absent in older folders
    pub failed: u64,
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
    /// Each figure with its name, and whether it is a time in µs.
    pub fn figures(&self) -> [(&'static str, bool, Spread); 7] {
        [
            ("reconnect p50", true, self.reconnect_p50_us),
            ("reconnect p90", true, self.reconnect_p90_us),
            ("reconnect p99", true, self.reconnect_p99_us),
            ("attempts", false, self.attempts),
            ("herd peak in one second", false, self.attempts_peak_per_s),
            ("still disconnected at the end", false, self.away_at_end),
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
