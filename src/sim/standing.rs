//! Faults that wait for whom they select, and firings as numbers.

use crate::fault::OnAttempt;
use crate::plan::{Firing, Pick};
use std::ops::Range;

/// A fault that waits for attempts or new connections.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) firing: Firing,
    /// What it does to an attempt; `None`: it waits for open connections.
    pub(super) on: Option<OnAttempt>,
    pub(super) clients: Range<u32>,
    pub(super) pick: Pick,
    /// Name of its random stream.
    pub(super) stream: String,
}

/// A firing as a number for an entry of the queue. The fault is below 256, as `support` sees to, and a run has far fewer than 2²⁴ firings.
pub(super) fn packed(firing: Firing) -> u32 {
    firing.number << 8 | u32::from(firing.fault)
}

/// The firing of such a number.
pub(super) fn unpacked(number: u32) -> Firing {
    Firing { fault: (number & 0xff) as u16, number: number >> 8 }
}
