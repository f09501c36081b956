//! Raw CLOCK_MONOTONIC, which all processes of a benchmark share.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Nanoseconds since the machine's start.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
