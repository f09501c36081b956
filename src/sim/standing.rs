//! Faults that wait for whom they select, and firings as numbers.

use crate::fault::OnAttempt;
use crate::plan::{Firing, Standing};

/// A fault that waits for attempts or new connections.
#[derive(Clone, Debug)]
pub(super) struct StandingFault {
    pub(super) firing: Firing,
    /// What it does to an attempt; `None`: it waits for open connections.
    pub(super) on: Option<OnAttempt>,
    pub(super) standing: Standing,
}

/// A firing as a number for an entry of the queue. The fault is below 256, as `support` sees to, and a run has far fewer than 2²⁴ firings.
pub(super) fn packed(firing: Firing) -> u32 {
    firing.number << 8 | u32::from(firing.fault)
}

/// The firing of such a number.
pub(super) fn unpacked(number: u32) -> Firing {
    Firing { fault: (number & 0xff) as u16, number: number >> 8 }
}
