//! Words of an expectation: where one ends, and which one was meant.

use crate::expect::{Metric, Problem, Stat};
use crate::units::nearest;
use std::ops::Range;

/// A row of [`METRICS`](crate::expect::METRICS): name, metric, its stats, its labels beside those of all.
pub(super) type MetricRow = (&'static str, Metric, &'static [Stat], &'static [&'static str]);

/// The end of what `keep` keeps, from a byte on.
pub(super) fn scan(text: &str, from: usize, keep: impl Fn(char) -> bool) -> usize {
    text[from..].find(|c| !keep(c)).map_or(text.len(), |length| from + length)
}

/// The next byte that is no space.
pub(super) fn skip(text: &str, from: usize) -> usize {
    scan(text, from, char::is_whitespace)
}

/// The value that belongs to the word at `at`, or a problem with a suggestion.
pub(super) fn word<'a, T>(
    text: &str,
    at: &Range<usize>,
    what: &str,
    allowed: impl Iterator<Item = (&'a str, T)> + Clone,
) -> Result<T, Problem> {
    let found = text[at.clone()].trim();
    allowed.clone().find(|(name, _)| *name == found).map(|(_, value)| value).ok_or_else(|| {
        let names: Vec<_> = allowed.map(|(name, _)| name).collect();
        let list = if names.is_empty() { "there is none".to_owned() } else { format!("one of: {}", names.join(", ")) };
        let help = nearest(found, names.iter().copied()).map_or(list.clone(), |name| format!("did you mean `{name}`? {list}"));
        Problem { at: at.clone(), found: format!("unknown {what} `{found}`"), help }
    })
}
