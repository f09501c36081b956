//! How servers turned attempts away: HTTP status, `Retry-After`, `Location`; and why others failed; counted with a bound.

use super::ending::OTHER;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Distinct answers that are told apart; of further ones only the status is.
const DISTINCT: usize = 1_000;

/// An answer other than 101.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RefusalAnswer {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After`, s, where it is given in seconds.
    pub retry_after_s: Option<u64>,
    /// `Location`; [`OTHER`] beyond the bound.
    pub location: Option<String>,
}

/// Answers by cohort and what they said, and reasons of failures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    counts: BTreeMap<(u16, RefusalAnswer), u64>,
    failures: BTreeMap<String, u64>,
}

impl Answers {
    /// Counts `n` attempts of a cohort that were answered like this.
    pub fn count(&mut self, cohort: u16, answer: RefusalAnswer, n: u64) {
        let key = (cohort, answer);
        let (cohort, answer) = match self.counts.contains_key(&key) || self.counts.len() < DISTINCT {
            true => key,
            false => (cohort, RefusalAnswer { retry_after_s: None, location: Some(OTHER.to_owned()), ..key.1 }),
        };
        *self.counts.entry((cohort, answer)).or_default() += n;
    }

    /// Counts `n` attempts that failed for this reason.
    pub fn failed(&mut self, why: &str, n: u64) {
        let why = if self.failures.contains_key(why) || self.failures.len() < DISTINCT { why } else { OTHER };
        *self.failures.entry(why.to_owned()).or_default() += n;
    }

    /// The `n` most frequent reasons of failed attempts; equal counts by reason.
    pub fn top_failures(&self, n: usize) -> Vec<(&str, u64)> {
        let mut all: Vec<_> = self.failures.iter().map(|(why, n)| (why.as_str(), *n)).collect();
        all.sort_by_key(|row| std::cmp::Reverse(row.1)); // stable, so ties keep the order of the map
        all.truncate(n);
        all
    }

    /// Adds the counts of another.
    pub fn add(&mut self, other: &Answers) {
        other.counts.iter().for_each(|((cohort, answer), n)| self.count(*cohort, answer.clone(), *n));
        other.failures.iter().for_each(|(why, n)| self.failed(why, *n));
    }

    /// Whether all are of so many cohorts.
    pub(super) fn fits(&self, cohorts: usize) -> bool {
        self.counts.keys().all(|(cohort, _)| usize::from(*cohort) < cohorts)
    }

    /// Attempts by status, of one cohort or of all.
    pub fn by_status(&self, cohort: Option<u16>) -> BTreeMap<u16, u64> {
        let mut by_status = BTreeMap::new();
        for ((_, answer), n) in self.counts.iter().filter(|((of, _), _)| cohort.is_none_or(|cohort| cohort == *of)) {
            *by_status.entry(answer.status).or_default() += n;
        }
        by_status
    }

    /// The `n` most frequent answers over all cohorts; equal counts by status, then by what they said.
    pub fn top(&self, n: usize) -> Vec<(RefusalAnswer, u64)> {
        let mut sums: BTreeMap<&RefusalAnswer, u64> = BTreeMap::new();
        self.counts.iter().for_each(|((_, answer), n)| *sums.entry(answer).or_default() += n);
        let mut all: Vec<_> = sums.into_iter().map(|(answer, n)| (answer.clone(), n)).collect();
        all.sort_by_key(|row| std::cmp::Reverse(row.1)); // stable, so ties keep the order of the map
        all.truncate(n);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_bounded_and_none_is_lost() {
        let mut answers = Answers::default();
        let redirect = |place: usize| RefusalAnswer { status: 302, retry_after_s: None, location: Some(format!("/{place}")) };
        let busy = RefusalAnswer { status: 429, retry_after_s: Some(3), location: None };
        answers.count(1, busy.clone(), 5_000);
        (0..2_500).for_each(|place| answers.count(0, redirect(place), 1));
        assert_eq!(answers.by_status(None), [(302, 2_500), (429, 5_000)].into());
        assert_eq!(answers.by_status(Some(0)), [(302, 2_500)].into());
        assert_eq!(answers.top(1), [(busy, 5_000)]);
        (0..2_500).for_each(|n| answers.failed(&n.to_string(), 1));
        assert_eq!(answers.top_failures(1), [(OTHER, 1_500)]);
        let mut twice = answers.clone();
        twice.add(&answers);
        assert_eq!(twice.by_status(None), [(302, 5_000), (429, 10_000)].into());
        assert!(twice.counts.len() <= DISTINCT + 2);
    }
}
