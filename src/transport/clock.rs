//! The one place that reads raw CLOCK_MONOTONIC and CLOCK_REALTIME: the epoch that closestorm, its guard and its servers share.
//!
//! Offsets in the run come from `tokio::time`; this clock only dates evidence that crosses processes. Where a run has no other process,
//! [`Clock::Runtime`] dates it too, so that the whole of it stands still with tokio's clock.

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
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

/// µs since 1970 by this machine's clock for people, which can be set, back, too. For what is compared with times that servers tell, and nothing else.
pub fn wall_us() -> i64 {
    // As above: every Linux has this clock.
    let now = clock_gettime(ClockId::CLOCK_REALTIME).expect("CLOCK_REALTIME exists");
    now.tv_sec() * 1_000_000 + now.tv_nsec() / 1_000
}

/// A moment as another process is told it, which may be on another machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Which clock it is a reading of.
    clock: String,
    /// The reading, ns.
    at_ns: u64,
    /// Time until then when it was told, ns.
    in_ns: u64,
}

impl Moment {
    /// When CLOCK_MONOTONIC of this process reads `at_ns`, which is not over.
    pub fn at(at_ns: u64) -> Moment {
        Moment { clock: this_clock(), at_ns, in_ns: at_ns.saturating_sub(monotonic_ns()) }
    }

    /// Its reading by CLOCK_MONOTONIC of this process, ns, if it was told just now. Where that is another clock, it is late by the time that
    /// the message took.
    pub fn here(&self) -> u64 {
        self.by(&this_clock(), monotonic_ns())
    }

    fn by(&self, clock: &str, now_ns: u64) -> u64 {
        if !clock.is_empty() && clock == self.clock { self.at_ns } else { now_ns.saturating_add(self.in_ns) }
    }
}

/// What tells CLOCK_MONOTONIC of this process from those of other machines, boots and time namespaces; empty where nothing does.
fn this_clock() -> String {
    let Ok(boot) = std::fs::read_to_string("/proc/sys/kernel/random/boot_id") else { return String::new() };
    let namespace = std::fs::read_link("/proc/self/ns/time").unwrap_or_default();
    format!("{} {}", boot.trim(), namespace.display())
}

#[cfg(test)]
mod tests {
    use crate::transport::clock::{Moment, monotonic_ns};

    #[test]
    fn a_moment_is_exact_on_its_own_clock_and_relative_on_another() {
        let moment = Moment { clock: "one".to_owned(), at_ns: 700, in_ns: 500 };
        for (clock, now, expected) in [("one", 250, 700), ("one", 900, 700), ("two", 10_000, 10_500), ("", 10_000, 10_500)] {
            assert_eq!(moment.by(clock, now), expected, "{clock} at {now}");
        }
        let unknown = Moment { clock: String::new(), ..moment };
        assert_eq!(unknown.by("", 1_000), 1_500, "no clock is the same as none");
        let at = monotonic_ns() + 1_000_000_000;
        assert_eq!(Moment::at(at).here(), at, "this machine has one clock");
    }

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
