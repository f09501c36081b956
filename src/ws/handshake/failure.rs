//! Why an attempt did not open.

use crate::event::{Outcome, Stage};

/// An attempt that did not.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) stage: Stage,
    pub(crate) outcome: Outcome,
    pub(crate) fault: Option<u16>,
    /// The limit of this machine that was reached.
    pub(crate) local: Option<&'static str>,
}

pub(crate) fn fail(stage: Stage, why: &str) -> Failure {
    Failure { stage, outcome: Outcome::Failed { why: why.to_owned() }, fault: None, local: None }
}
