//! Memory and processor time of a process and all below it, from /proc.

use std::collections::BTreeMap;
use std::fs;

/// What a process tree uses.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Usage {
    /// Resident memory, KiB.
    pub(crate) rss_kib: f64,
    /// Processor time since the start, µs.
    pub(crate) cpu_us: f64,
    /// How often it has waited for something, threads that have ended left out.
    pub(crate) sleeps: f64,
}

/// Of `pid` and its descendants; what has ended counts as nothing.
pub(crate) fn of_tree(pid: u32) -> Usage {
    let mut below: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (child, parent) in parents() {
        below.entry(parent).or_default().push(child);
    }
    let mut sum = Usage::default();
    let mut left = vec![pid];
    while let Some(pid) = left.pop() {
        let one = of_process(pid);
        sum.rss_kib += one.rss_kib;
        sum.cpu_us += one.cpu_us;
        sum.sleeps += one.sleeps;
        left.extend(below.remove(&pid).into_iter().flatten());
    }
    sum
}

/// Proportional share of memory of a process, without those below it, KiB.
pub(crate) fn pss_kib(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    text.lines().find_map(|line| first_number(line.strip_prefix("Pss:")?))
}

fn parents() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| Some((pid, stat(pid)?.get(1)?.parse().ok()?))).collect()
}

/// Fields of /proc/PID/stat behind the name, which may hold anything: state, parent, …
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn of_process(pid: u32) -> Usage {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    // Threads that run, to the nanosecond; and all, those that ended too, in ticks of 10 ms.
    let (mut exact, mut sleeps) = (0.0, 0.0);
    for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let text = |name: &str| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        exact += first_number(&text("schedstat")).unwrap_or(0.0);
        sleeps += text("status").lines().find_map(|line| first_number(line.strip_prefix("voluntary_ctxt_switches:")?)).unwrap_or(0.0);
    }
    let ticks: f64 = stat(pid).iter().flat_map(|fields| fields.iter().skip(11).take(2)).filter_map(|field| first_number(field)).sum();
    Usage { rss_kib: rss.unwrap_or(0.0), cpu_us: (exact / 1e3).max(ticks * 1e4), sleeps }
}

fn first_number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}
