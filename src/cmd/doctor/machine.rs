//! What the kernel tells of this machine and of the limits of this process.

use crate::results::usage;
use crate::sut::command::port::ephemeral_range;
use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit};
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Timers that are measured.
pub(super) const TIMERS: usize = 50;
/// How long each of them waits.
const WAIT: Duration = Duration::from_millis(4);

/// What was found; `None` where the kernel does not tell.
pub(super) struct MachineLimits {
    /// Soft and hard limit of open files.
    pub(super) files: (u64, u64),
    /// Files that all processes may still open.
    pub(super) files_left: Option<u64>,
    /// First and last port that the kernel gives to clients.
    pub(super) ports: (u16, u16),
    pub(super) somaxconn: Option<u64>,
    /// Bytes.
    pub(super) memory: Option<u64>,
    /// Bytes that this process may take.
    pub(super) memory_free: Option<u64>,
    /// Bytes that the limits of its cgroups leave.
    pub(super) memory_cgroup: Option<u64>,
    /// That this process may run on.
    pub(super) processors: u64,
    /// Processors' time per time that its cgroups grant.
    pub(super) quota: Option<f64>,
    pub(super) clock: Option<String>,
    /// By how much timers were late: median and most, µs.
    pub(super) late_us: (u64, u64),
    /// Whether a network namespace could be made.
    pub(super) namespaces: bool,
}

impl MachineLimits {
    /// Number of ports.
    pub(super) fn ports(&self) -> u64 {
        u64::from(self.ports.1.saturating_sub(self.ports.0)) + 1
    }
}

/// Looks; measuring the timers takes a fifth of a second.
///
/// # Errors
/// The limit of open files cannot be read, or no timer started.
pub(super) fn look() -> anyhow::Result<MachineLimits> {
    let range = ephemeral_range();
    Ok(MachineLimits {
        files: getrlimit(Resource::RLIMIT_NOFILE).context("cannot read the limit of open files")?,
        files_left: files_left(),
        ports: (*range.start(), *range.end()),
        somaxconn: usage::number("/proc/sys/net/core/somaxconn"),
        memory: usage::size("/proc/meminfo", "MemTotal:"),
        memory_free: usage::available(),
        memory_cgroup: usage::cgroup(),
        processors: processors(),
        quota: usage::cpu_quota(),
        clock: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        late_us: lateness()?,
        namespaces: namespaces(),
    })
}

fn line(file: &str) -> Option<String> {
    fs::read_to_string(file).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Those that this process may run on, as `0-3,8`; at least one.
fn processors() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    let of = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        Some(last.saturating_sub(first) + 1)
    };
    list.split(',').filter_map(of).sum::<u64>().max(1)
}

/// Allocated, unused and at most, as `/proc/sys/fs/file-nr` has it.
pub(super) fn files_left() -> Option<u64> {
    let text = line("/proc/sys/fs/file-nr")?;
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [allocated, unused, most] = numbers[..] else { return None };
    Some(most.saturating_sub(allocated.saturating_sub(unused)))
}

/// How late timers are, as clients wait for them.
fn lateness() -> anyhow::Result<(u64, u64)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().context("cannot start the async runtime")?;
    let mut late = runtime.block_on(async {
        let mut late = Vec::new();
        for _ in 0..TIMERS {
            let due = tokio::time::Instant::now() + WAIT;
            tokio::time::sleep_until(due).await;
            late.push(u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
        late
    });
    late.sort_unstable();
    Ok((late[TIMERS / 2], late[TIMERS - 1]))
}

/// Whether this user can make a network namespace, by making one that ends at once.
fn namespaces() -> bool {
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--net", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    unshare.status().is_ok_and(|status| status.success())
}
