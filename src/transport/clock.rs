//! The one place that reads raw CLOCK_MONOTONIC: the epoch that closestorm, its guard and its servers share.
//!
//! Offsets in the run come from `tokio::time`; this clock only dates evidence that crosses processes. Where a run has no other process,
//! [`Clock::Runtime`] dates it too, so that the whole of it stands still with tokio's clock.

use nix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// What dates the evidence of a run.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// Raw CLOCK_MONOTONIC.
    Machine,
    /// tokio's clock, counted from this instant. It can be paused, and means nothing to another process.
    Runtime(Instant),
}

impl Clock {
    /// The reading, ns.
    pub fn now_ns(self) -> u64 {
        match self {
            Clock::Machine => monotonic_ns(),
            Clock::Runtime(start) => u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

/// Nanoseconds of CLOCK_MONOTONIC: the same clock in all processes of a machine, never set back, stands still in suspend.
pub fn monotonic_ns() -> u64 {
    // clock_gettime(2) fails only for clocks that the kernel does not have (EINVAL), and every Linux has this one.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC exists");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

#[cfg(test)]
mod tests {
    use crate::transport::clock::monotonic_ns;

    #[test]
    fn the_clock_does_not_go_back() {
        let readings: Vec<u64> = (0..1000).map(|_| monotonic_ns()).collect();
        assert!(readings.is_sorted());
        assert!(readings[0] > 0);
    }

    #[test]
    fn the_clock_counts_nanoseconds() {
        let before = monotonic_ns();
        std::thread::park_timeout(std::time::Duration::from_millis(20));
        let passed = monotonic_ns() - before;
        assert!((1_000_000..10_000_000_000).contains(&passed), "{passed} ns for 20 ms");
    }
}
