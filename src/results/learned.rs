//! What was learnt of a client, as charts and reports show it. `learn.json` has all of it for programs.

use crate::reconnect::LawPiece;

/// A client, its rules and its waits.
#[derive(Clone, Debug, Default)]
pub struct LearnedClient {
    /// The command that learns it again.
    pub command: String,
    /// The client: its command, or where one was awaited.
    pub client: String,
    /// How it was asked, in a line.
    pub made: String,
    /// Why something is missing, or may be wrong, in sentences.
    pub doubts: Vec<String>,
    /// All rules, those that are broken first.
    pub rules: Vec<LearnedRule>,
    /// Waits of all outages by attempt, in milliseconds.
    pub waits_ms: Vec<Vec<f64>>,
    /// What the schedule that explains them allows for each attempt; empty: nothing explains them, or nobody can say it beforehand.
    pub laws: Vec<Vec<LawPiece>>,
    /// Number of outages.
    pub outages: usize,
    /// The schedule.
    pub schedule: Option<LearnedSchedule>,
    /// What it did after what: after status codes, HTTP statuses and other ends.
    pub answers: Vec<[String; 3]>,
    /// Questions that took long, and how long.
    pub slow: Vec<(String, String)>,
    /// Questions that were not asked, or have no answer.
    pub not_asked: Vec<String>,
}

/// A rule, and what the client makes of it.
#[derive(Clone, Debug)]
pub struct LearnedRule {
    /// `pass`, `fail` or `not tested`.
    pub result: &'static str,
    /// Name.
    pub name: &'static str,
    /// What was seen.
    pub seen: String,
    /// The rule in a sentence.
    pub text: &'static str,
    /// Its reason and source.
    pub why: &'static str,
}

/// The schedule that explains the waits best.
#[derive(Clone, Debug, Default)]
pub struct LearnedSchedule {
    /// In a sentence.
    pub words: String,
    /// Whether there is no reason to doubt it.
    pub fits: bool,
    /// Numbers: name, value, lower and upper end of the interval of 95 %.
    pub numbers: Vec<[String; 4]>,
    /// How well it fits, in sentences.
    pub goodness: Vec<String>,
    /// For each wait the share of waits that the schedule makes shorter, 0 to 1 and in order; empty: there is no jitter.
    pub places: Vec<f64>,
    /// To paste into a scenario.
    pub table: String,
}

impl LearnedClient {
    /// Rules with this result.
    pub fn count(&self, result: &str) -> usize {
        self.rules.iter().filter(|rule| rule.result == result).count()
    }
}
