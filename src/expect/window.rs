//! Windows of starts, and runs that end before they do.

use super::{Expectation, Labels};
use crate::units::print_duration;
use std::time::Duration;

impl Expectation {
    /// Where the last of its windows begins, its own or that of its whole; `None` without one that says so.
    pub fn begins(&self) -> Option<Duration> {
        self.windows().filter_map(|labels| labels.from).max()
    }

    /// Where a window ends after a run of this length: which part can be judged, in words.
    pub fn beyond(&self, run: Duration) -> Option<String> {
        let labels = self.windows().find(|labels| labels.to.is_some_and(|to| to > run))?;
        let [from, to, run] = [labels.from.unwrap_or_default(), labels.to?, run].map(print_duration);
        Some(format!("{}: its window ends at {to}, after the run: only {from} to {run} can be judged", self.text))
    }

    /// The labels of what is judged, and of the whole that it is a share of.
    pub(crate) fn windows(&self) -> impl Iterator<Item = &Labels> {
        [&self.labels].into_iter().chain(&self.whole)
    }
}
