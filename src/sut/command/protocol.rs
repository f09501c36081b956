//! What closestorm and its guard say to each other over the link (`ipc`) that is the guard's standard input.
//!
//! The guard is beside closestorm and sends signals to processes: what is said here is for this machine only. All times are nanoseconds of CLOCK_MONOTONIC (`transport::clock`), which both sides share.

use crate::ipc::Protocol;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Environment variable that marks every process of a slot, so that one that left its group and lost its parent is still found.
pub(crate) const MARK: &str = "CLOSESTORM_SLOT";

/// Name and version of what is said here.
pub(crate) const PROTOCOL: Protocol = Protocol { name: "guard", version: 1 };

/// To the guard. `id` comes back in the answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GuardOrder {
    /// Said once, first.
    Setup {
        /// Unique among the guards of this machine; the value of `MARK` is this, a slash and the slot.
        mark: String,
        /// Soft limit of open files of programs that are not our own; `None`: that of the guard.
        files: Option<u64>,
    },
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
        /// Its standard input is the end of a link that comes with this message, and not empty.
        linked: bool,
    },
    /// Send a signal to a slot; answered by `Signalled` or `Failed`.
    Signal { id: u64, slot: u16, signal: i32 },
}

/// From the guard.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Notice {
    /// The program runs: exec succeeded before `at`.
    Started { id: u64, slot: u16, pid: u32, at: u64 },
    /// An order could not be carried out.
    Failed { id: u64, slot: u16, step: FailedStep, errno: i32 },
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
pub(crate) enum FailedStep {
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
