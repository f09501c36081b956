//! What happens to server processes: data, which `run` carries out.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What happens to server processes. `instance`: only this one; `None`: all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OnProcess {
    /// SIGKILL; the new process starts `down` later.
    Crash {
        /// From SIGKILL to the new process being started.
        down: Duration,
        /// Which.
        instance: Option<u16>,
    },
    /// The embedded server closes each connection with `code` over `spread`, waits up to `grace`, exits; a command gets its stop
    /// signal and, after `grace`, SIGKILL.
    Graceful {
        /// Status code of the Close frames.
        code: u16,
        /// Reason of the Close frames.
        reason: String,
        /// Longest wait for acknowledgements.
        grace: Duration,
        /// Time over which the Close frames are sent.
        spread: Duration,
        /// From the exit to the new process being started.
        down: Duration,
        /// Which.
        instance: Option<u16>,
    },
    /// Each instance in turn, `interval` apart.
    Rolling {
        /// Between the starts of two restarts.
        interval: Duration,
        /// What happens to each.
        each: Box<OnProcess>,
    },
    /// SIGSTOP, and SIGCONT when reverted.
    Pause {
        /// Which.
        instance: Option<u16>,
    },
}

impl OnProcess {
    /// The instance that it names; `None`: all.
    pub fn instance(&self) -> Option<u16> {
        match self {
            OnProcess::Crash { instance, .. } | OnProcess::Graceful { instance, .. } | OnProcess::Pause { instance } => *instance,
            OnProcess::Rolling { .. } => None,
        }
    }

    /// Whether a process suffers it and does nothing itself: killed, or stopped.
    pub fn is_suffered(&self) -> bool {
        match self {
            OnProcess::Crash { .. } | OnProcess::Pause { .. } => true,
            OnProcess::Graceful { .. } => false,
            OnProcess::Rolling { each, .. } => each.is_suffered(),
        }
    }

    /// Whether the process hangs and goes on later, with its connections.
    pub fn hangs(&self) -> bool {
        matches!(self, OnProcess::Pause { .. })
    }

    /// Whether it asks the process to stop by itself.
    pub fn asks_to_stop(&self) -> bool {
        match self {
            OnProcess::Graceful { .. } => true,
            OnProcess::Rolling { each, .. } => each.asks_to_stop(),
            OnProcess::Crash { .. } | OnProcess::Pause { .. } => false,
        }
    }

    /// Whether it kills the process, without a word of its own.
    pub fn crashes(&self) -> bool {
        match self {
            OnProcess::Crash { .. } => true,
            OnProcess::Rolling { each, .. } => each.crashes(),
            OnProcess::Graceful { .. } | OnProcess::Pause { .. } => false,
        }
    }
}
