//! Numbers that a peer chooses, as close codes: the most frequent are told apart, the others are counted together. So it cannot fill memory
//! with ever new ones.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// Numbers that are told apart.
const KEPT: usize = 200;
/// What stands for all others. A peer that sends this very number is counted among them; a 0, as a peer with a mistake may send, is not.
pub const OTHER_CODE: u16 = u16::MAX;
/// As files and charts name it where they have words.
pub const OTHER_WORD: &str = "other";
/// Codes that have a meaning of their own.
pub const ALWAYS_KEPT: RangeInclusive<u16> = 1000..=1015;

/// How a list of what was counted names a close code that is told apart however many others came.
pub fn kept(code: u16) -> String {
    format!("closes{{code={code}}}")
}

/// A code in words: a number, or [`OTHER_WORD`].
pub fn code_word(code: u16) -> String {
    if code == OTHER_CODE { OTHER_WORD.to_owned() } else { code.to_string() }
}

/// A notice at the end, where a peer has chosen very many close codes.
pub const MANY_CODES: &str = "more different close codes came than are told apart: the 200 most frequent and those of the scenario are, the others are counted as code 65535";

/// The same as older versions said it: 0 was what stood for the others.
pub const MANY_CODES_AS_ZERO: &str = "more different close codes came than are told apart: the 200 most frequent and those of the scenario are, the others are counted as code 0";

/// Which numbers are told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldApart {
    /// Those that are whatever happens.
    always: BTreeSet<u16>,
    /// Further ones that are, with how often they came.
    counts: BTreeMap<u16, u64>,
    /// Those that are not: once counted together, never told apart again.
    others: BTreeSet<u16>,
}

impl ToldApart {
    /// None yet but those of `always`.
    pub fn new(always: impl IntoIterator<Item = u16>) -> ToldApart {
        ToldApart { always: always.into_iter().collect(), ..ToldApart::default() }
    }

    /// `n` of one came. Whether some that were told apart are counted together from now on, which is so only where twice as many as are to be
    /// kept came: which are the most frequent shows only with time.
    pub fn meet(&mut self, code: u16, n: u64) -> bool {
        if self.always.contains(&code) || self.others.contains(&code) {
            return false;
        }
        let count = self.counts.entry(code).or_default();
        *count = count.saturating_add(n);
        self.counts.len() > 2 * KEPT && self.cut()
    }

    /// Keeps the most frequent; of equal ones the lowest. Whether there were more.
    pub fn cut(&mut self) -> bool {
        if self.counts.len() <= KEPT {
            return false;
        }
        let mut by_count: Vec<_> = self.counts.iter().map(|(code, count)| (std::cmp::Reverse(*count), *code)).collect();
        by_count.sort_unstable();
        for (_, code) in by_count.split_off(KEPT) {
            self.counts.remove(&code);
            self.others.insert(code);
        }
        true
    }

    /// What it is counted as.
    pub fn name(&self, code: u16) -> u16 {
        if self.others.contains(&code) { OTHER_CODE } else { code }
    }

    /// Whether any are counted together.
    pub fn has_others(&self) -> bool {
        !self.others.is_empty()
    }

    /// Adds those of another part: what either has counted together cannot be told apart.
    pub fn add(&mut self, other: &ToldApart) {
        self.always.extend(&other.always);
        self.others.extend(&other.others);
        for (code, n) in &other.counts {
            let count = self.counts.entry(*code).or_default();
            *count = count.saturating_add(*n);
        }
        self.counts.retain(|code, _| !self.others.contains(code));
        self.cut();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_are_kept_and_those_that_are_not_never_come_back() {
        let mut told = ToldApart::new([1000, 4999]);
        told.meet(1000, 1);
        let met = (3000..4999).filter(|code| told.meet(*code, if code % 10 == 0 { 5 } else { 1 })).count();
        assert!((1..=10).contains(&met), "{met}");
        told.cut();
        assert_eq!(told.counts.len(), KEPT);
        assert!(told.has_others() && (3000..3300).step_by(10).all(|code| told.name(code) == code), "frequent ones are kept");
        let other = (3000..4999).find(|code| told.name(*code) == OTHER_CODE).unwrap();
        told.meet(other, 1_000_000);
        assert_eq!((told.name(other), told.name(1000), told.name(4999)), (OTHER_CODE, 1000, 4999));
    }

    #[test]
    fn a_zero_on_the_wire_is_none_of_the_others() {
        let mut told = ToldApart::default();
        told.meet(0, 1_000);
        (3000..4000).for_each(|code| _ = told.meet(code, 1));
        told.cut();
        assert!(told.has_others());
        assert_eq!((told.name(0), code_word(0), code_word(OTHER_CODE)), (0, "0".to_owned(), "other".to_owned()));
    }

    #[test]
    fn what_one_part_counted_together_is_not_told_apart_in_the_whole() {
        let (mut one, mut two) = (ToldApart::default(), ToldApart::default());
        (0..=2 * KEPT as u16).for_each(|n| _ = one.meet(3000 + n, 1));
        two.meet(3000 + 2 * KEPT as u16, 9);
        two.add(&one);
        assert_eq!(two.name(3000 + 2 * KEPT as u16), OTHER_CODE);
        assert!(two.counts.len() <= KEPT);
    }
}
