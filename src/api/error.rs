//! Why there is no outcome.

use crate::cluster::ClusterError;
use crate::scenario::Errors;
use crate::sut::error::RunError;
use std::fmt;

/// An error of a lower layer.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no outcome, or why it could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The scenario is wrong: every error, each with file, line, column and what is allowed.
    #[error(transparent)]
    Scenario(#[from] Errors),
    /// The scenario is valid but not possible in this way, for example a fault that the simulator does not support.
    #[error("{0}")]
    Refused(String),
    /// It needs processes besides this one, and so the `closestorm` program: give its path by `Scenario::program`.
    #[error("{what} needs the closestorm program: give its path by `Scenario::program`")]
    NeedsProgram {
        /// What of the scenario does.
        what: String,
    },
    /// `StopHandle::stop` was called before the run began.
    #[error("{}", RunError::Stopped)]
    Stopped,
    /// The run could not start or continue: target unreachable, limit of open files too low, a process ended.
    #[error(transparent)]
    Failed(Cause),
    /// The outcome was not written, or not all of it.
    #[error("{what}")]
    NotWritten {
        /// What is missing, and what was written nevertheless.
        what: String,
        /// The cause, such as a full disk.
        source: Cause,
    },
}

impl Error {
    pub(crate) fn failed(cause: impl Into<Cause>) -> Error {
        Error::Failed(cause.into())
    }

    pub(crate) fn not_written(what: impl fmt::Display, source: impl Into<Cause>) -> Error {
        Error::NotWritten { what: what.to_string(), source: source.into() }
    }
}

impl From<RunError> for Error {
    fn from(error: RunError) -> Error {
        if matches!(error, RunError::Stopped) { Error::Stopped } else { Error::failed(error) }
    }
}

impl From<ClusterError> for Error {
    fn from(error: ClusterError) -> Error {
        if matches!(error, ClusterError::Run(RunError::Stopped)) { Error::Stopped } else { Error::failed(error) }
    }
}
