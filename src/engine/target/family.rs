//! Who descends from whom, as /proc says: finds the processes of a slot, also those that left its group or session.
//!
//! A snapshot: processes that fork meanwhile are found by the next one, so callers repeat until nobody is left.

use super::protocol::MARK;
use nix::unistd::Pid;
use std::collections::{BTreeMap, HashMap};
use std::fs;

/// One process of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    /// Process id.
    pub(super) pid: i32,
    parent: i32,
    /// Process group.
    pub(super) group: i32,
}

/// All processes below the caller, by their topmost ancestor that is a child of the caller.
///
/// Zombies are among them until they are reaped: one whose main thread ended shows as zombie while its other threads still hold
/// its sockets. Reads `stat` of every process of the machine.
pub(super) fn branches() -> BTreeMap<i32, Vec<Process>> {
    let all: HashMap<i32, Process> = pids().filter_map(read).map(|process| (process.pid, process)).collect();
    branches_below(Pid::this().as_raw(), &all)
}

/// The slot of a child of the caller, by the mark in its environment.
///
/// `None` where there is no mark or its environment cannot be read (ended, or runs as another user).
pub(super) fn marked_slot(pid: i32, mark: &str) -> Option<u16> {
    slot_in(&fs::read(format!("/proc/{pid}/environ")).ok()?, mark)
}

fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn read(pid: i32) -> Option<Process> {
    parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads `pid (comm) state ppid pgrp …` of proc_pid_stat(5); comm may hold any byte, parentheses too.
fn parse(stat: &[u8]) -> Option<Process> {
    let open = stat.iter().position(|&byte| byte == b'(')?;
    let close = stat.iter().rposition(|&byte| byte == b')')?;
    let pid = std::str::from_utf8(&stat[..open]).ok()?.trim().parse().ok()?;
    let mut fields = std::str::from_utf8(&stat[close + 1..]).ok()?.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some(Process { pid, parent, group })
}

fn branches_below(root: i32, all: &HashMap<i32, Process>) -> BTreeMap<i32, Vec<Process>> {
    let mut branches: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
    for process in all.values() {
        if let Some(top) = top_below(root, *process, all) {
            branches.entry(top).or_default().push(*process);
        }
    }
    branches
}

fn top_below(root: i32, process: Process, all: &HashMap<i32, Process>) -> Option<i32> {
    let mut at = process;
    // A snapshot is not atomic, so a reused pid could make a ring of parents; no real chain is longer than the table.
    for _ in 0..=all.len() {
        if at.parent == root {
            return Some(at.pid);
        }
        at = *all.get(&at.parent)?;
    }
    None
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
        Process { pid, parent, group }
    }

    #[test]
    fn stat_is_read_whatever_the_name_of_the_program() {
        let table: [(&[u8], Option<Process>); 4] = [
            (b"7 (node) S 3 7 7 0 -1", Some(process(7, 3, 7))),
            (b"7 (a) Z 9 (b) R 3 5 5 0", Some(process(7, 3, 5))), // parentheses and a false state in the name
            (b"7 (\xff\xfe) T 3 7 7", Some(process(7, 3, 7))),    // a name that is not UTF-8
            (b"", None),
        ];
        for (stat, expected) in table {
            assert_eq!(parse(stat), expected, "{}", String::from_utf8_lossy(stat));
        }
    }

    #[test]
    fn descendants_are_found_by_their_topmost_ancestor() {
        // 1 ─ 10 (root) ─ 20 ─ 21 ─ 22, and 10 ─ 30; 40 belongs to somebody else; 50 and 51 are a ring.
        let list = [(10, 1), (20, 10), (21, 20), (22, 21), (30, 10), (40, 1), (50, 51), (51, 50)];
        let all = list.into_iter().map(|(pid, parent)| (pid, process(pid, parent, pid))).collect();
        let branches = branches_below(10, &all);
        let mut pids: Vec<(i32, Vec<i32>)> =
            branches.into_iter().map(|(top, members)| (top, members.iter().map(|member| member.pid).collect())).collect();
        pids.iter_mut().for_each(|(_, members)| members.sort_unstable());
        assert_eq!(pids, [(20, vec![20, 21, 22]), (30, vec![30])]);
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
        let found = branches().contains_key(&(child.id() as i32));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found);
    }
}
