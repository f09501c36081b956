//! `closestorm __worker`: has the clients of one shard of a run. Started by closestorm itself.

use crate::cluster::worker;
use crate::results::usage::Baseline;

/// A worker, until its results are written or closestorm is gone.
///
/// # Errors
/// None: the worker prints what is wrong, and its exit code says that something was.
pub fn main() -> u8 {
    let usage = Baseline::now();
    worker::main(|| usage.used())
}
