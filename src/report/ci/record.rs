//! What one command did, as far as CI services are told.

use crate::compare::RunComparison;
use crate::plan::ScenarioPlace;
use crate::results::record::Summary;
use crate::results::runs::RunRow;

/// All that one command did.
#[derive(Clone, Debug, Default)]
pub struct CiReport {
    /// Name of the scenario.
    pub scenario: String,
    /// In their order; those that something was compared with are not among them.
    pub runs: Vec<CiRun>,
    /// Of these runs with others.
    pub comparison: Option<RunComparison>,
    /// Why it came to no end: what is wrong with the scenario, a target that cannot be reached.
    pub errors: Vec<CiError>,
}

/// A run, or a simulation.
#[derive(Clone, Debug)]
pub struct CiRun {
    /// Its figures and its verdict.
    pub summary: Summary,
    /// What each expectation of the verdict is about, without its limit: `reconnect_time p99`.
    pub measured: Vec<String>,
    /// Where each of them stands.
    pub places: Vec<Option<ScenarioPlace>>,
    /// When it began, RFC 3339; empty where that is not known.
    pub started: String,
    /// The run folder.
    pub folder: String,
    /// A picture of it, for services that show one.
    pub picture: Option<String>,
    /// The seeds of a simulation of several; empty of one.
    pub seeds: Vec<RunRow>,
}

/// Something that kept a command from its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CiError {
    /// In words.
    pub text: String,
    /// Where in a scenario.
    pub place: Option<ScenarioPlace>,
}
