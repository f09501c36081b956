//! Faults that wait for whom they select, and firings as numbers.

use crate::fault::OnAttempt;
use crate::plan::{FAULTS_MAX, FIRINGS_MAX, Firing, Standing};

/// A fault that waits for attempts or new connections.
#[derive(Clone, Debug)]
pub(super) struct StandingFault {
    pub(super) firing: Firing,
    /// What it does to an attempt; `None`: it waits for open connections.
    pub(super) on: Option<OnAttempt>,
    pub(super) standing: Standing,
}

/// Bits of a fault's index; the rest is for the number of its firing.
const FAULT_BITS: u32 = 10;
// A scenario has at most so many of both; the number of random firings may be a little above what is expected of them.
const _: () = assert!(FAULTS_MAX <= 1 << FAULT_BITS && FIRINGS_MAX * 2.0 < (1 << (u32::BITS - FAULT_BITS)) as f64);

/// A firing as a number for an entry of the queue.
pub(super) fn packed(firing: Firing) -> u32 {
    firing.number << FAULT_BITS | u32::from(firing.fault)
}

/// The firing of such a number.
pub(super) fn unpacked(number: u32) -> Firing {
    Firing { fault: (number & ((1 << FAULT_BITS) - 1)) as u16, number: number >> FAULT_BITS }
}
