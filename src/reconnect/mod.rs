//! Reconnect policies of real client libraries as one parameter model: a pure function that engine and simulator both call.

use crate::event::GiveUp;
use std::time::Duration;

/// A policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {}

/// What one client's policy remembers.
#[derive(Clone, Debug)]
pub struct History {}

/// What happened, as far as a policy cares.
#[derive(Clone, Debug, PartialEq)]
pub enum Loss {
    /// An open connection ended with this reported code.
    Closed {
        /// As reported to the client's user.
        code: u16,
    },
    /// ECONNREFUSED, reset, garbage, TLS: the attempt failed.
    Failed,
    /// A deadline of the attempt passed.
    TimedOut,
    /// An HTTP answer other than 101.
    Rejected {
        /// HTTP status.
        status: u16,
    },
}

/// What the client does now.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Wait, then attempt. Exact; callers round up to whole milliseconds.
    Wait(Duration),
    /// Do not come back.
    GiveUp(GiveUp),
}
