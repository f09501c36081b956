//! Windows of starts that end after the measurement did: only the part that was measured can be judged.

use crate::expect::{Expectation, Labels};
use crate::units::print_duration;
use std::time::Duration;

/// How much was measured of what an expectation looks at.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Measured {
    /// All of it.
    All,
    /// The beginning, and which one in words.
    Part(String),
    /// Nothing, and why in words.
    Nothing(String),
}

/// How much of the windows of an expectation, its own and that of its whole, lies in `measured_s` seconds.
pub(super) fn measured(expectation: &Expectation, measured_s: f64) -> Measured {
    // Run folders know whole milliseconds.
    let end = Duration::from_millis((measured_s * 1e3).round() as u64);
    let windows: Vec<&Labels> = expectation.windows().collect();
    let from = |labels: &Labels| labels.from.unwrap_or_default();
    if let Some(labels) = windows.iter().find(|labels| labels.from.is_some_and(|from| from >= end)) {
        let (end, from) = (print_duration(end), print_duration(from(labels)));
        return Measured::Nothing(format!("no data: the measurement ended at {end}, before the window begins ({from})"));
    }
    match windows.iter().find(|labels| labels.to.is_some_and(|to| to > end)) {
        Some(labels) => {
            let (from, end) = (print_duration(from(labels)), print_duration(end));
            Measured::Part(format!("only {from} to {end} was measured"))
        }
        None => Measured::All,
    }
}
