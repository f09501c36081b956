//! Who descends from whom, as /proc says: finds the processes of a slot, also those that left its group or session.
//!
//! A snapshot: processes that fork meanwhile are found by the next one, so callers repeat until nobody is left.

use crate::sut::command::protocol::MARK;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, HashMap};
use std::fs;

/// One process of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Process id.
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    /// Process group.
    pub(crate) group: i32,
    /// When it was started, in clock ticks since boot: tells it from a later process with the same id.
    pub(crate) start: u64,
}

impl Process {
    /// Identifies it for as long as the machine runs.
    pub(crate) fn identity(&self) -> (i32, u64) {
        (self.pid, self.start)
    }
}

/// All processes below the caller: a list for each of its children, the child first and then all that descend from it.
///
/// Zombies are among them until they are reaped: one whose main thread ended shows as zombie while its other threads still hold
/// its sockets. Reads `stat` of every process of the machine.
pub(crate) fn branches() -> Vec<Vec<Process>> {
    let all: HashMap<i32, Process> = pids().filter_map(read).map(|process| (process.pid, process)).collect();
    branches_below(Pid::this().as_raw(), &all)
}

/// The slot of a child of the caller, by the mark in its environment.
///
/// `None` where there is no mark or its environment cannot be read: it runs as another user, or is about to end.
pub(crate) fn marked_slot(pid: i32, mark: &str) -> Option<u16> {
    slot_in(&fs::read(format!("/proc/{pid}/environ")).ok()?, mark)
}

/// Whether execve(2) is setting up its program: until that is done it has no environment, not even an empty one (`env_end` of proc_pid_stat(5)).
pub(crate) fn is_loading(pid: i32) -> bool {
    // Of a process that may not be looked into `stat` says the same.
    let is_empty = |path: &str| fs::read(path).is_ok_and(|environ| environ.is_empty());
    is_empty(&format!("/proc/{pid}/environ")) && fs::read(format!("/proc/{pid}/stat")).is_ok_and(|stat| has_no_environment_yet(&stat))
}

fn has_no_environment_yet(stat: &[u8]) -> bool {
    let Some(fields) = fields(stat) else { return false };
    let mut fields = fields.split_ascii_whitespace();
    let ended = fields.next().is_none_or(|state| matches!(state, "Z" | "X" | "x"));
    !ended && fields.nth(47) == Some("0") // field 51 of the whole line
}

/// Kills every process of this user with the mark in its environment, whoever its parent is. For when the guard is gone, whose children are
/// nobody's any more.
pub(super) fn kill_marked(mark: &str) {
    for pid in pids().filter(|pid| marked_slot(*pid, mark).is_some()) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn read(pid: i32) -> Option<Process> {
    parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads `pid (comm) state ppid pgrp … starttime` of proc_pid_stat(5); comm may hold any byte, parentheses too.
fn parse(stat: &[u8]) -> Option<Process> {
    let open = stat.iter().position(|&byte| byte == b'(')?;
    let pid = std::str::from_utf8(&stat[..open]).ok()?.trim().parse().ok()?;
    let mut fields = fields(stat)?.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let start = fields.nth(16)?.parse().ok()?; // field 22 of the whole line
    Some(Process { pid, parent, group, start })
}

/// The fields after comm.
fn fields(stat: &[u8]) -> Option<&str> {
    let close = stat.iter().rposition(|&byte| byte == b')')?;
    std::str::from_utf8(&stat[close + 1..]).ok()
}

/// All processes below one, as [`branches`] has them.
pub(crate) fn branches_below(root: i32, all: &HashMap<i32, Process>) -> Vec<Vec<Process>> {
    let mut children: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
    for process in all.values() {
        children.entry(process.parent).or_default().push(*process);
    }
    // Taking each list out as it is used ends a ring of parents, which a snapshot that is not atomic may show.
    let tops = children.remove(&root).unwrap_or_default();
    tops.into_iter().map(|top| branch_of(top, &mut children)).collect()
}

fn branch_of(top: Process, children: &mut BTreeMap<i32, Vec<Process>>) -> Vec<Process> {
    let mut branch = vec![top];
    let mut next = 0;
    while let Some(process) = branch.get(next) {
        branch.extend(children.remove(&process.pid).unwrap_or_default());
        next += 1;
    }
    branch
}

fn slot_in(environ: &[u8], mark: &str) -> Option<u16> {
    let wanted = format!("{MARK}={mark}/");
    let value = environ.split(|&byte| byte == 0).find_map(|entry| entry.strip_prefix(wanted.as_bytes()))?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, group: i32) -> Process {
        Process { pid, parent, group, start: 999 }
    }

    #[test]
    fn stat_is_read_whatever_the_name_of_the_program() {
        let table: [(&[u8], Option<Process>); 4] = [
            (b"7 (node) S 3 7 7 0 -1 4194304 1 0 0 0 5 1 0 0 20 0 7 0 999 8 9", Some(process(7, 3, 7))),
            // parentheses and a false state in the name, which is not even UTF-8
            (b"7 (a) Z 9 (\xff) R 3 5 5 0 -1 4194304 1 0 0 0 5 1 0 0 20 0 7 0 999 8 9", Some(process(7, 3, 5))),
            (b"7 (node) S 3 7 7", None),
            (b"", None),
        ];
        for (stat, expected) in table {
            assert_eq!(parse(stat), expected, "{}", String::from_utf8_lossy(stat));
        }
    }

    #[test]
    fn a_process_that_is_loading_is_told_from_one_with_an_empty_environment_and_from_one_that_has_ended() {
        let stat = |state: &str, env_end: &str| format!("7 (a) b) {state} {} {env_end} 0", vec!["5"; 47].join(" ")).into_bytes();
        let table = [("R", "0", true), ("R", "140720553545707", false), ("Z", "0", false), ("X", "0", false)];
        for (state, env_end, expected) in table {
            assert_eq!(has_no_environment_yet(&stat(state, env_end)), expected, "{state} {env_end}");
        }
        let mut bare = std::process::Command::new("sleep").arg("1000").env_clear().spawn().expect("sleep");
        let path = format!("/proc/{}/cmdline", bare.id());
        while fs::read(&path).expect("it runs") != b"sleep\x001000\0" {
            std::thread::yield_now();
        }
        assert!(!is_loading(bare.id().cast_signed()), "its environment is empty");
        bare.kill().expect("it runs");
        // Not reaped yet.
        while !read(bare.id().cast_signed()).is_some_and(|_| fs::read(&path).is_ok_and(|line| line.is_empty())) {
            std::thread::yield_now();
        }
        assert_eq!(marked_slot(bare.id().cast_signed(), "m"), None);
        bare.wait().expect("a child");
    }

    #[test]
    fn descendants_are_listed_after_their_topmost_ancestor() {
        // 1 ─ 10 (root) ─ 20 ─ 21 ─ 22, and 10 ─ 30; 40 belongs to somebody else; 50 and 51 are a ring.
        let list = [(10, 1), (20, 10), (21, 20), (22, 21), (30, 10), (40, 1), (50, 51), (51, 50)];
        let all = list.into_iter().map(|(pid, parent)| (pid, process(pid, parent, pid))).collect();
        let mut branches: Vec<Vec<i32>> =
            branches_below(10, &all).into_iter().map(|branch| branch.iter().map(|process| process.pid).collect()).collect();
        branches.sort_unstable();
        assert_eq!(branches, [vec![20, 21, 22], vec![30]]);
    }

    #[test]
    fn a_mark_counts_only_for_its_own_guard() {
        let environ = b"PATH=/bin\0CLOSESTORM_SLOT=12-34/5\0HOME=/\0";
        assert_eq!(slot_in(environ, "12-34"), Some(5));
        assert_eq!(slot_in(environ, "12-3"), None);
        assert_eq!(slot_in(b"PATH=/bin\0", "12-34"), None);
    }

    #[test]
    fn a_child_of_this_process_is_a_branch() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = branches().iter().any(|branch| branch[0].pid == child.id() as i32);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found);
    }
}
