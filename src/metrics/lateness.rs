//! Whether the load generator was too late to be trusted: judged by the seconds and the cohorts that an expectation looks at.
//!
//! Work is a connect or a send that was due. A few late ones are the machine's noise, and what nobody looks at does no harm.

use crate::expect::Expectation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Late work in a second below which nothing is held against the generator.
const LATE_MIN: u64 = 10;
/// Share of late work in a second, 0 to 1, up to which nothing is.
pub const LATE_SHARE: f64 = 0.01;

/// How late the load generators of the parts of a run were, each by itself: what is late in one is not made good by the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Parts {
    /// Largest share of late work in a second of any part, 0 to 1.
    pub share_max: f64,
    /// Those that were saturated: name, as `shard 2/3`, and seconds.
    pub saturated: Vec<(String, BTreeMap<u32, Work>)>,
}

impl Parts {
    /// In words, a reason for each part.
    pub fn reasons(&self) -> impl Iterator<Item = String> {
        self.saturated.iter().filter_map(|(name, seconds)| Some(format!("{name}: {}", in_words(seconds)?)))
    }
}

/// Too much late work in these seconds, in words; `None` if there is none.
pub fn in_words(seconds: &BTreeMap<u32, Work>) -> Option<String> {
    let (second, worst) = seconds.iter().max_by(|a, b| a.1.share().total_cmp(&b.1.share()))?;
    Some(format!(
        "the load generator was saturated: in second {second}, {} of {} due connection attempts and messages ({:.1} %) started late{}",
        worst.late,
        worst.all,
        worst.share() * 100.0,
        match seconds.len() {
            1 => String::new(),
            _ => format!("; too many were late in seconds {}", ranges(&seconds.keys().copied().collect::<Vec<_>>())),
        }
    ))
}

/// Ascending numbers with neighbours together: `3-5, 9`.
fn ranges(numbers: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let shown = |(first, last): &(u32, u32)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    runs.iter().map(shown).collect::<Vec<_>>().join(", ")
}

/// What an expectation looks at; the default is all of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feed {
    /// Only this cohort.
    pub cohort: Option<String>,
    /// Only seconds from this on.
    pub from: Option<u32>,
    /// Only seconds before this.
    pub to: Option<u32>,
}

/// Work of a second, and what of it was begun too late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Connects and sends that were due in it and were begun.
    pub all: u64,
    /// Those begun too late.
    pub late: u64,
}

impl Feed {
    /// Of each expectation; all of the run where there are none.
    pub fn of(expectations: &[Expectation]) -> Vec<Feed> {
        let seconds = |time: Duration| time.as_secs().min(u32::MAX.into()) as u32;
        let feed = |expectation: &Expectation| {
            let labels = &expectation.labels;
            Feed { cohort: labels.cohort.clone(), from: labels.from.map(seconds), to: labels.to.map(seconds) }
        };
        if expectations.is_empty() { vec![Feed::default()] } else { expectations.iter().map(feed).collect() }
    }

    fn holds(&self, second: u32, cohort: &str) -> bool {
        self.cohort.as_ref().is_none_or(|own| own == cohort)
            && self.from.is_none_or(|from| from <= second)
            && self.to.is_none_or(|to| second < to)
    }
}

/// Seconds in which too much of what one of the feeds looks at was late, with that work; of several feeds the one with the greatest share.
pub fn saturated<'a>(work: impl Iterator<Item = (u32, &'a str, Work)> + Clone, feeds: &[Feed]) -> BTreeMap<u32, Work> {
    let mut seconds: BTreeMap<u32, Work> = BTreeMap::new();
    for feed in feeds {
        let mut own: BTreeMap<u32, Work> = BTreeMap::new();
        for (second, _, work) in work.clone().filter(|(second, cohort, _)| feed.holds(*second, cohort)) {
            let sum = own.entry(second).or_default();
            (sum.all, sum.late) = (sum.all + work.all, sum.late + work.late);
        }
        for (second, work) in own.into_iter().filter(|(_, work)| work.is_too_late()) {
            let kept = seconds.entry(second).or_default();
            if work.share() > kept.share() {
                *kept = work;
            }
        }
    }
    seconds
}

impl Work {
    fn is_too_late(self) -> bool {
        self.late >= LATE_MIN && self.share() > LATE_SHARE
    }

    /// Of it late, 0 to 1.
    pub fn share(self) -> f64 {
        if self.all == 0 { 0.0 } else { self.late as f64 / self.all as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_and_more_than_one_percent_of_what_feeds_an_expectation_saturate() {
        let window = |cohort: Option<&str>, from, to| Feed { cohort: cohort.map(str::to_owned), from, to };
        let feed = |cohort| window(cohort, None, None);
        let all = vec![feed(None)];
        let rows = |web: (u64, u64), ios: (u64, u64)| {
            [(3, "web", Work { all: web.0, late: web.1 }), (3, "ios", Work { all: ios.0, late: ios.1 })].into_iter()
        };
        for (web, ios, feeds, expected) in [
            ((100, 9), (0, 0), all.clone(), false),    // 9 % late, and only nine
            ((100, 10), (0, 0), all.clone(), true),    // ten of a hundred
            ((1_000, 10), (0, 0), all.clone(), false), // ten, and exactly 1 %
            ((999, 10), (0, 0), all.clone(), true),    // a little more
            ((100, 10), (901, 0), all.clone(), false), // of both cohorts together less than 1 %
            ((100, 10), (901, 0), vec![feed(Some("web"))], true),
            ((100, 10), (901, 0), vec![feed(Some("ios"))], false), // nobody looks at the late cohort
            ((100, 10), (901, 0), vec![feed(Some("ios")), feed(Some("web"))], true),
            ((100, 5), (100, 5), all, true), // together they are ten
            ((100, 5), (100, 5), vec![feed(Some("web")), feed(Some("ios"))], false),
            ((100, 50), (0, 0), vec![window(None, Some(3), Some(4))], true),
            ((100, 50), (0, 0), vec![window(None, Some(4), None)], false), // before the window
            ((100, 50), (0, 0), vec![window(None, None, Some(3))], false), // after it
            ((0, 0), (0, 0), vec![], false),
        ] {
            let seconds = saturated(rows(web, ios), &feeds);
            assert_eq!(seconds.contains_key(&3), expected, "{web:?} {ios:?} {feeds:?}");
        }
    }

    #[test]
    fn seconds_in_a_row_stand_together() {
        for (numbers, shown) in [(&[][..], ""), (&[3], "3"), (&[3, 4, 5, 9, 11, 12], "3-5, 9, 11-12")] {
            assert_eq!(ranges(numbers), shown);
        }
    }
}
