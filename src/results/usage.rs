//! What this process uses: processor time and memory, from the kernel's accounts.

use crate::metrics::book::ProcessUsage;
use nix::sys::resource::{RLIM_INFINITY, Resource, UsageWho, getrlimit, getrusage};
use std::fs;
use std::path::Path;

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

/// Memory that this process may still take, bytes: what the machine has, what its cgroup leaves, and what its own limit of address space does.
/// `None` where the kernel tells nothing.
pub fn available() -> Option<u64> {
    let address_space = getrlimit(Resource::RLIMIT_AS).ok().map(|(soft, _)| soft).filter(|soft| *soft != RLIM_INFINITY);
    let own = address_space.map(|soft| soft.saturating_sub(status_bytes("VmSize:")));
    [size("/proc/meminfo", "MemAvailable:"), cgroup(), own].into_iter().flatten().min()
}

/// A number that is all of a file of the kernel.
pub fn number(file: impl AsRef<Path>) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Processors that the cgroups above this process grant it; `None`: they set no bound.
pub fn cpu_quota() -> Option<f64> {
    let share = |quota: &str, period: &str| {
        let (quota, period): (f64, f64) = (quota.trim().parse().ok()?, period.trim().parse().ok()?);
        (quota > 0.0 && period > 0.0).then(|| quota / period)
    };
    let granted = |folder: &Path, is_second: bool| {
        let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
        if is_second {
            let text = read("cpu.max")?;
            let (quota, period) = text.trim().split_once(' ')?;
            return share(quota, period);
        }
        share(&read("cpu.cfs_quota_us")?, &read("cpu.cfs_period_us")?)
    };
    let list = fs::read_to_string("/proc/self/cgroup").ok()?;
    let grants = list.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (root, is_second) = match controllers {
            "" => ("/sys/fs/cgroup", true),
            _ if controllers.split(',').any(|name| name == "cpu") => ("/sys/fs/cgroup/cpu", false),
            _ => return None,
        };
        let own = Path::new(root).join(path.trim_start_matches('/'));
        let found = own.ancestors().take_while(|folder| folder.starts_with(root)).filter_map(|folder| granted(folder, is_second));
        found.min_by(f64::total_cmp)
    });
    grants.min_by(f64::total_cmp)
}

/// What the limits of the cgroups above this process leave, bytes. Without its page cache, which gives way. `None`: they set no bound.
pub fn cgroup() -> Option<u64> {
    let list = fs::read_to_string("/proc/self/cgroup").ok()?;
    let left = |folder: &Path, limit: &str, used: &str| {
        let limit = number(folder.join(limit))?;
        let cache = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let cache = cache.lines().find_map(|line| line.strip_prefix("inactive_file ")?.parse::<u64>().ok()).unwrap_or(0);
        Some(limit.saturating_sub(number(folder.join(used))?.saturating_sub(cache)))
    };
    let leaves = list.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (root, limit, used) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max", "memory.current"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes")
            }
            _ => return None,
        };
        let own = Path::new(root).join(path.trim_start_matches('/'));
        // In a container the path may be that outside of it: then the root is the own cgroup.
        own.ancestors().take_while(|folder| folder.starts_with(root)).filter_map(|folder| left(folder, limit, used)).min()
    });
    leaves.min()
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
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
        let used = baseline.used();
        assert!(used.cpu_s >= 0.0 && used.rss_base_bytes > 100_000 && used.rss_peak_bytes >= used.rss_base_bytes, "{used:?}");
    }
}
