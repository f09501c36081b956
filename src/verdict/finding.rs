//! What an expectation came to, and the four outcomes.

use crate::expect::Limit;
use crate::units::print_duration;
use std::time::Duration;

/// One of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All that was expected was seen.
    Pass,
    /// Something expected was seen not to hold.
    Fail,
    /// It cannot be told.
    Inconclusive,
    /// Nothing was expected.
    Unchecked,
}

impl Outcome {
    /// As in files.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Inconclusive => "inconclusive",
            Outcome::Unchecked => "unchecked",
        }
    }

    /// The outcome that a file names; anything unknown is inconclusive.
    pub fn parse(name: &str) -> Outcome {
        match name {
            "pass" => Outcome::Pass,
            "fail" => Outcome::Fail,
            "unchecked" => Outcome::Unchecked,
            _ => Outcome::Inconclusive,
        }
    }

    /// Exit code of the program: 0 (also unchecked), 99 (the number k6 uses) or 3.
    pub fn exit_code(self) -> u8 {
        match self {
            Outcome::Pass | Outcome::Unchecked => 0,
            Outcome::Fail => 99,
            Outcome::Inconclusive => 3,
        }
    }
}

/// What an expectation came to.
pub(super) struct Finding {
    pub(super) outcome: Outcome,
    pub(super) observed: Option<f64>,
    /// What was observed or why nothing was, in words.
    pub(super) reason: String,
    /// What else to know beside a number that was observed.
    pub(super) note: Option<String>,
    /// Samples, and how many it takes, where there are too few.
    pub(super) few: Option<(u64, u64)>,
}

impl Finding {
    pub(super) fn of(outcome: Outcome, observed: Option<f64>, reason: String) -> Finding {
        Finding { outcome, observed, reason, note: None, few: None }
    }
}

/// What is known of a number of things.
pub(super) enum Known {
    /// It.
    Exactly(f64),
    /// Nothing, and why.
    Nothing(String),
}

pub(super) fn shown(value: f64, limit: Limit) -> String {
    match limit {
        Limit::Micros(_) => print_duration(Duration::from_micros(value.round() as u64)),
        Limit::Count(_) => format!("{value:.0}"),
        Limit::Number(_) => format!("{}", (value * 100.0).round() / 100.0),
        Limit::Share(_) => format!("{:.2} %", value * 100.0),
        Limit::PerSecond(_) => format!("{}/s", (value * 100.0).round() / 100.0),
    }
}

/// Whether a value is what a label asks for; a label that is not given asks for nothing.
pub(crate) fn fits<T: PartialEq>(wanted: &Option<T>, found: Option<&T>) -> bool {
    wanted.as_ref().is_none_or(|wanted| Some(wanted) == found)
}
