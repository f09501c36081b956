//! What this process uses: processor time and memory, from the kernel's accounts.

use crate::metrics::book::ProcessUsage;
use nix::sys::resource::{UsageWho, getrusage};
use std::fs;

/// The accounts of this process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Baseline {
    cpu_s: f64,
    rss_bytes: u64,
}

impl Baseline {
    /// Now; taken before the first client starts.
    pub fn now() -> Baseline {
        Baseline { cpu_s: cpu_s(), rss_bytes: status_bytes("VmRSS:") }
    }

    /// What was used since; the peak of the resident size is that of the whole life of the process.
    pub fn used(&self) -> ProcessUsage {
        ProcessUsage {
            cpu_s: cpu_s() - self.cpu_s,
            rss_peak_bytes: status_bytes("VmHWM:"),
            rss_base_bytes: self.rss_bytes,
            uncounted_openings: 0,
        }
    }
}

/// User and system time of this process, s; 0 where the kernel does not tell.
fn cpu_s() -> f64 {
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// A size of `/proc/self/status`; 0 where there is none.
fn status_bytes(field: &str) -> u64 {
    size("/proc/self/status", field).unwrap_or(0)
}

/// A size in a file of the kernel that gives sizes in KiB, as `MemAvailable:` of `/proc/meminfo`, bytes.
pub fn size(file: &str, field: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(field))?;
    rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_memory_and_time() {
        let baseline = Baseline::now();
        let work: u64 = (0..3_000_000_u64).map(std::hint::black_box).sum();
        assert!(work > 0);
        let used = baseline.used();
        assert!(used.cpu_s >= 0.0 && used.rss_base_bytes > 100_000 && used.rss_peak_bytes >= used.rss_base_bytes, "{used:?}");
    }
}
