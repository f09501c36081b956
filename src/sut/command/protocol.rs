//! What closestorm and its guard say to each other: one JSON object a line, orders to its stdin, notices from its stdout.
//!
//! All times are nanoseconds of CLOCK_MONOTONIC (`transport::clock`), which both sides share.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Environment variable that marks every process of a slot, so that one that left its group and lost its parent is still found.
pub(crate) const MARK: &str = "CLOSESTORM_SLOT";

/// The argument of `closestorm __guard`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// Unique among the guards of this machine; the value of `MARK` is this, a slash and the slot.
    pub(crate) mark: String,
}

/// To the guard. `id` comes back in the answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Start a program as leader of a new process group; answered by `Started` or `Failed`.
    Start {
        id: u64,
        slot: u16,
        argv: Vec<String>,
        /// Added to the inherited environment.
        env: BTreeMap<String, String>,
        workdir: Option<PathBuf>,
        /// stdout and stderr are appended to this file.
        output: PathBuf,
    },
    /// Send a signal to a slot; answered by `Signalled` or `Failed`.
    Signal { id: u64, slot: u16, signal: i32 },
}

/// From the guard.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Notice {
    /// It is ready for orders.
    Hello,
    /// The program runs: exec succeeded before `at`.
    Started { id: u64, slot: u16, pid: u32, at: u64 },
    /// An order could not be carried out.
    Failed { id: u64, slot: u16, step: Step, errno: i32 },
    /// The signal was delivered to the process group just before `at`.
    Signalled { id: u64, slot: u16, at: u64 },
    /// The leader of the slot ended and was reaped.
    Exited { slot: u16, pid: u32, status: Option<i32>, signal: Option<i32>, at: u64 },
    /// No process of the slot is left, and nothing it held is held.
    Gone { slot: u16, at: u64 },
}

/// What an order failed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// The slot is taken (start) or empty (signal).
    Slot,
    /// The working directory.
    Workdir,
    /// The output file.
    Output,
    /// Starting the program.
    Program,
    /// Delivering the signal.
    Signal,
}
