//! The epoch that processes share: raw CLOCK_MONOTONIC, nanoseconds.

/// Nanoseconds of CLOCK_MONOTONIC: the same clock in every process of this machine, never set back.
pub fn monotonic_ns() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("every Linux has CLOCK_MONOTONIC");
    u64::try_from(now.tv_sec()).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec()).unwrap_or(0)
}
