//! `[[faults]]`: when a fault fires, and whom it hits.

use super::Plan;
use crate::event::ClientIndex;
use crate::fault::Injection;
use crate::number::{noun_of, word_of};
use crate::seed::Seed;
use crate::units::Rate;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Faults of a plan; more are a slip.
pub const FAULTS_MAX: usize = 1000;
/// Firings of a fault, as expected of random ones; more are a slip, as `every = "1us"`.
pub const FIRINGS_MAX: f64 = 100_000.0;

/// `[[faults]]`.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The id in all results.
    pub name: String,
    /// Kind and parameters.
    pub inject: Injection,
    /// Who carries it out.
    pub side: crate::fault::Side,
    /// When.
    pub schedule: Schedule,
    /// Whom.
    pub select: Select,
    /// Applies to connections that open later, too.
    pub new: bool,
}

impl Fault {
    /// Offsets at which it fires in a run of this length, sorted: the first at `at`, all before `until` and the end of the run.
    ///
    /// A fault that ends by `first_n` does so by its hits, which are not known here.
    pub fn firings(&self, seed: Seed, duration: Duration) -> Vec<Duration> {
        self.offsets(seed).take_while(|offset| *offset < duration).collect()
    }

    /// Offsets at which it fires, sorted, as long as anybody asks: the first at `at`, all before `until`. Random gaps draw from the stream
    /// `fault/<name>/schedule`.
    pub fn offsets(&self, seed: Seed) -> Box<dyn Iterator<Item = Duration> + Send> {
        let Schedule { at, repeat, until, .. } = self.schedule;
        let before_end = move |offset: &Duration| until.is_none_or(|until| *offset < until);
        match repeat {
            Repeat::Once => Box::new(std::iter::once(at).filter(before_end)),
            Repeat::Every(gap) => {
                let gap = gap.max(Duration::from_nanos(1));
                Box::new(std::iter::successors(Some(at), move |offset| offset.checked_add(gap)).take_while(before_end))
            }
            Repeat::Poisson(rate) => {
                let stream = seed.stream(&format!("fault/{}/schedule", self.name));
                Box::new(crate::arrival::poisson(rate, stream).map(move |offset| at.saturating_add(offset)).take_while(before_end))
            }
        }
    }
}

impl Plan {
    /// The faults that have no firing in the run, by index.
    pub fn never_due(&self) -> impl Iterator<Item = u16> {
        (0..).zip(&self.faults).filter(|(_, fault)| fault.firings(self.seed, self.duration).is_empty()).map(|(index, _)| index)
    }

    /// Faults that are asked for more connections than there are clients, in words.
    pub fn short_of_clients(&self) -> Vec<String> {
        let told = self.faults.iter().filter_map(|fault| {
            let Pick::Count(count) = fault.select.pick else { return None };
            let (there, (whose, has)) = match fault.select.cohort {
                Some(cohort) => (self.cohorts[cohort].count, (format!("cohort {}", self.cohorts[cohort].name), "has")),
                None => (self.clients(), ("there".to_owned(), word_of(self.clients().into(), "is", "are"))),
            };
            let name = &fault.name;
            let clients = format!("{there} {}", noun_of(there.into(), "client"));
            (there < count).then(|| format!("fault {name}: select.count is {count}, but {whose} {has} {clients}: a firing cannot hit more"))
        });
        told.collect()
    }
}

/// One firing of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Firing {
    /// The fault, by index in the plan.
    pub fault: u16,
    /// Which of its firings, from 0 in the order of their due times.
    pub number: u32,
}

/// When a fault fires.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// First firing, offset in the run.
    pub at: Duration,
    /// Further firings.
    pub repeat: Repeat,
    /// No firing at or after this offset.
    pub until: Option<Duration>,
    /// Reverted this long after each firing; `None`: stays to the end of the run.
    pub revert_after: Option<Duration>,
    /// Ends after this many hits.
    pub first_n: Option<u64>,
}

/// Further firings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Repeat {
    /// None.
    Once,
    /// At fixed gaps.
    Every(Duration),
    /// A Poisson process.
    Poisson(Rate),
}

/// Whom a firing hits: filters, then a pick.
#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    /// Only this cohort, by index.
    pub cohort: Option<usize>,
    /// Only connections in this phase; `None` means open.
    pub phase: Option<Phase>,
    /// Only connections open for at least this long.
    pub min_age: Duration,
    /// Which of those.
    pub pick: Pick,
}

/// Phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// TCP connect under way.
    Tcp,
    /// TLS handshake under way.
    Tls,
    /// Opening handshake under way.
    Upgrade,
    /// Open.
    Open,
    /// Closing handshake under way.
    Closing,
}

/// Which of the connections that passed the filters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Pick {
    /// Each.
    All,
    /// This many, drawn without replacement.
    Count(u32),
    /// This share in 0..=1, rounded to the nearest count, drawn without replacement.
    Share(f64),
    /// Every n-th client index: those with index mod n = n - 1.
    Nth(u32),
}

impl Pick {
    /// Whether it can be this client's turn, whatever else is drawn.
    pub fn may_take(self, client: ClientIndex) -> bool {
        match self {
            Pick::Nth(n) => client.0 % n.max(1) == n.max(1) - 1,
            Pick::All | Pick::Count(_) | Pick::Share(_) => true,
        }
    }
}

impl Fault {
    /// Whether the number of its hits is bounded, so that whoever may hit must ask the [`Budget`](super::Budget) of the whole run.
    pub fn is_bounded(&self) -> bool {
        self.schedule.first_n.is_some() || matches!(self.select.pick, Pick::Count(_) | Pick::Share(_))
    }
}

/// Draws `hits` of the candidates without replacement; keeps the order.
pub fn draw_exactly<T>(mut candidates: Vec<T>, hits: u64, random: &mut crate::seed::Stream) -> Vec<T> {
    let mut left = candidates.len() as u64;
    let mut wanted = hits.min(left);
    if wanted == left {
        return candidates;
    }
    // Selection sampling (Knuth, TAOCP vol. 2, algorithm S): exact, one pass, sorted.
    candidates.retain(|_| {
        let taken = random.below(left) < wanted;
        left -= 1;
        wanted -= u64::from(taken);
        taken
    });
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Side, Values, row};

    fn firings(at: u64, repeat: Repeat, until: Option<u64>, name: &str) -> Vec<u64> {
        let seconds = Duration::from_secs;
        let schedule = Schedule { at: seconds(at), repeat, until: until.map(seconds), revert_after: None, first_n: None };
        let inject = Injection { row: row("drop_rst").expect("in the catalogue"), values: Values::default() };
        let select = Select { cohort: None, phase: None, min_age: Duration::ZERO, pick: Pick::All };
        let fault = Fault { name: name.to_owned(), inject, side: Side::Client, schedule, select, new: false };
        fault.firings(Seed(7), seconds(10)).iter().map(|offset| offset.as_millis() as u64).collect()
    }

    #[test]
    fn a_fault_fires_from_at_to_before_until_and_the_end() {
        let every = Repeat::Every(Duration::from_secs(2));
        for (at, repeat, until, expected) in [
            (3, Repeat::Once, None, vec![3000]),
            (10, Repeat::Once, None, vec![]), // at the end of the run
            (3, every, None, vec![3000, 5000, 7000, 9000]),
            (3, every, Some(7), vec![3000, 5000]),
            (4, every, Some(99), vec![4000, 6000, 8000]),
        ] {
            assert_eq!(firings(at, repeat, until, "x"), expected, "{at} {repeat:?} {until:?}");
        }
    }

    #[test]
    fn random_firings_depend_on_the_name_only_and_have_the_rate() {
        let poisson = |rate, name| firings(1, Repeat::Poisson(Rate(rate)), Some(9), name);
        let times = poisson(100.0, "x");
        assert!(times.is_sorted() && times[0] == 1000 && times.last().is_some_and(|last| *last < 9000));
        // 800 expected, standard deviation 28.
        assert!((690..910).contains(&times.len()), "{}", times.len());
        assert_eq!(times, poisson(100.0, "x"));
        assert_ne!(times, poisson(100.0, "y"));
    }
}
