//! Attempts that are due in one instant, as those of clients that arrive at once. No program begins them all in it: one core begins them
//! one after the other, and how soon is judged by that.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What one core may take for each of them, µs: 20,000 a second. `docs/benchmarks.md` has this program complete some 50,000 a second on an
/// idle machine, opening handshakes included; a generator that is slower than this is late.
const EACH_US: u64 = 50;
/// Instants that are remembered; of more the smallest are forgotten.
const KEPT: usize = 8;
/// A burst that took no longer to begin is not told, µs.
const TOLD_US: u64 = 20_000;
/// Nor is one of fewer: two may be due in one microsecond by chance.
const TOLD_FROM: u64 = 10;

/// How many attempts were due in one instant, and how long they took to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burst {
    /// Attempts.
    pub attempts: u64,
    /// From the instant until the last of them was begun, µs.
    pub took: u64,
}

/// The bursts of a process, or of several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bursts {
    by_due: BTreeMap<u64, Burst>,
    /// Due time of the attempt before, µs.
    #[serde(skip)]
    before: Option<u64>,
}

impl Bursts {
    /// Takes an attempt that was due at `due` and begun at `at`, µs. How much later than `due` it may begin, because others were due in the
    /// same instant and went before it.
    pub fn attempt(&mut self, at: u64, due: u64) -> u64 {
        // Most attempts are due alone, and cost no more than this.
        let follows = self.before.replace(due) == Some(due);
        if !follows && !self.by_due.contains_key(&due) {
            return 0;
        }
        let burst = self.by_due.entry(due).or_insert(Burst { attempts: 1, took: 0 });
        let allowed = burst.attempts * EACH_US;
        *burst = Burst { attempts: burst.attempts + 1, took: at.saturating_sub(due) };
        self.forget();
        allowed
    }

    /// Adds those of another process of the same run: what was due in one instant is one burst.
    pub fn add(&mut self, other: &Bursts) {
        for (due, other) in &other.by_due {
            let burst = self.by_due.entry(*due).or_default();
            *burst = Burst { attempts: burst.attempts + other.attempts, took: burst.took.max(other.took) };
        }
        self.forget();
    }

    fn forget(&mut self) {
        while self.by_due.len() > KEPT
            && let Some(due) = self.by_due.iter().min_by_key(|(_, burst)| burst.attempts).map(|(due, _)| *due)
        {
            self.by_due.remove(&due);
        }
    }

    /// Those that took long enough to be told, by their instant.
    pub fn told(&self) -> impl Iterator<Item = &Burst> {
        self.by_due.values().filter(|burst| burst.took >= TOLD_US && burst.attempts >= TOLD_FROM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_due_in_one_instant_follow_each_other() {
        let mut bursts = Bursts::default();
        assert_eq!(bursts.attempt(5_000, 4_000), 0, "one alone");
        let allowed: Vec<u64> = (0..1_000).map(|k| bursts.attempt(10_000 + k * 31, 10_000)).collect();
        assert_eq!((allowed[0], allowed[1], allowed[999]), (0, 50, 49_950));
        assert_eq!(bursts.told().collect::<Vec<_>>(), [&Burst { attempts: 1_000, took: 999 * 31 }]);
        // Others in between, each due alone, change nothing.
        assert_eq!((bursts.attempt(50_000, 45_000), bursts.attempt(60_000, 10_000)), (0, 50_000));
        let mut other = Bursts::default();
        (0..500).for_each(|_| _ = other.attempt(90_000, 10_000));
        bursts.add(&other);
        assert_eq!(bursts.told().collect::<Vec<_>>(), [&Burst { attempts: 1_501, took: 80_000 }]);
        // Chance pairs do not push it out, and are bounded.
        (0..100).for_each(|pair| (0..2).for_each(|_| _ = bursts.attempt(200_000 + pair, 100_000 + pair)));
        assert!(bursts.by_due.len() <= KEPT && bursts.by_due.contains_key(&10_000));
    }

    #[test]
    fn a_short_burst_is_not_told() {
        let mut bursts = Bursts::default();
        (0..100).for_each(|k| _ = bursts.attempt(k * 31, 0));
        (0..2).for_each(|_| _ = bursts.attempt(900_000, 800_000));
        assert_eq!(bursts.told().count(), 0);
    }
}
