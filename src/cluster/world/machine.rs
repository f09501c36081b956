//! A machine whose processes are tasks: they fork, leave their group and their parent, stop, die and are reaped as processes do.

use crate::ipc::LinkEnd;
use crate::ipc::memory::{LinkOwner, PROCESS};
use crate::lock::lock;
use crate::sut::command::family::{Process, branches_below};
use crate::sut::command::handle::GuardProcess;
use crate::sut::command::machine::{Machine, Program, Reaped};
use crate::sut::command::protocol::FailedStep;
use crate::transport::clock::Clock;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// Whose children nobody else reaps.
const INIT: i32 = 1;

/// What a process does, and its exit code.
pub(super) type Doing = Pin<Box<dyn Future<Output = u8> + Send>>;

/// What a program that a guard starts does: its words, its standard input, its process id.
pub(super) type Programs = Box<dyn Fn(&[String], Option<LinkEnd>, i32) -> Result<Doing, (FailedStep, Errno)> + Send + Sync>;

/// The machine.
#[derive(Clone)]
pub(super) struct SimulatedMachine {
    processes: Arc<Mutex<Table>>,
    pub(super) clock: Clock,
}

#[derive(Default)]
struct Table {
    entries: BTreeMap<i32, Entry>,
    /// All so far.
    started: i32,
    programs: Option<Arc<Programs>>,
    /// Those that a signal has ended.
    killed: BTreeSet<i32>,
}

struct Entry {
    name: String,
    parent: i32,
    group: i32,
    /// The value of its mark.
    mark: Option<String>,
    /// Looks for its mark that find none, while execve(2) sets it up.
    unmarked: u32,
    /// Who loses its parent below it becomes its child.
    subreaper: bool,
    /// Ignores what asks it to end.
    stubborn: bool,
    ends: LinkOwner,
    task: Option<AbortHandle>,
    /// Status or signal, until it is reaped.
    ended: Option<(Option<i32>, Option<i32>)>,
    stopped: bool,
    /// Came while it was stopped.
    pending: Option<Signal>,
    wakers: Vec<Waker>,
    child_ended: Arc<Notify>,
}

/// How a process begins.
pub(super) struct Birth {
    pub(super) name: String,
    pub(super) parent: i32,
    /// `None`: one of its own.
    pub(super) group: Option<i32>,
    pub(super) mark: Option<String>,
    pub(super) unmarked: u32,
    pub(super) subreaper: bool,
    pub(super) stubborn: bool,
}

impl Birth {
    pub(super) fn of(name: &str, parent: i32) -> Birth {
        Birth { name: name.to_owned(), parent, group: None, mark: None, unmarked: 0, subreaper: false, stubborn: false }
    }
}

impl SimulatedMachine {
    pub(super) fn new(clock: Clock) -> SimulatedMachine {
        SimulatedMachine { processes: Arc::new(Mutex::new(Table { started: 99, ..Table::default() })), clock }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.processes)
    }

    /// Says what guards start.
    pub(super) fn install(&self, programs: Programs) {
        self.table().programs = Some(Arc::new(programs));
    }

    /// Ends the world: programs hold the machine.
    pub(super) fn uninstall(&self) {
        self.table().programs = None;
    }

    /// Starts a process.
    pub(super) fn spawn(&self, birth: Birth, doing: impl FnOnce(i32) -> Doing) -> i32 {
        let (pid, ends) = {
            let mut table = self.table();
            table.started += 1;
            let pid = table.started;
            let ends = LinkOwner::new(pid as u32);
            let Birth { name, parent, group, mark, unmarked, subreaper, stubborn } = birth;
            let entry = Entry {
                name,
                parent,
                group: group.unwrap_or(pid),
                mark,
                unmarked,
                subreaper,
                stubborn,
                ends: ends.clone(),
                task: None,
                ended: None,
                stopped: false,
                pending: None,
                wakers: Vec::new(),
                child_ended: Arc::default(),
            };
            table.entries.insert(pid, entry);
            (pid, ends)
        };
        let (machine, doing) = (self.clone(), doing(pid));
        let task = tokio::spawn(PROCESS.scope(ends, async move {
            let status = machine.stoppable(pid, doing).await;
            machine.end(pid, (Some(i32::from(status)), None));
        }));
        if let Some(entry) = self.table().entries.get_mut(&pid) {
            entry.task = Some(task.abort_handle());
        }
        pid
    }

    /// Who may have ends of links.
    pub(super) fn owner(&self, pid: i32) -> Option<LinkOwner> {
        self.table().entries.get(&pid).map(|entry| entry.ends.clone())
    }

    fn stoppable(&self, pid: i32, mut doing: Doing) -> impl Future<Output = u8> + Send + use<> {
        let machine = self.clone();
        poll_fn(move |cx| {
            if let Some(entry) = machine.table().entries.get_mut(&pid).filter(|entry| entry.stopped) {
                entry.wakers.push(cx.waker().clone());
                return Poll::Pending;
            }
            doing.as_mut().poll(cx)
        })
    }

    /// A process has ended.
    fn end(&self, pid: i32, how: (Option<i32>, Option<i32>)) {
        let (ends, task) = {
            let mut table = self.table();
            let Some(entry) = table.entries.get_mut(&pid).filter(|entry| entry.ended.is_none()) else { return };
            entry.ended = Some(how);
            let parts = (entry.ends.clone(), entry.task.take());
            if how.1.is_some() {
                table.killed.insert(pid);
            }
            table.adopt_children_of(pid);
            table.tell_parent_of(pid);
            parts
        };
        ends.sever();
        task.inspect(AbortHandle::abort);
    }

    pub(super) fn lives(&self, pid: i32) -> bool {
        self.table().entries.get(&pid).is_some_and(|entry| entry.ended.is_none())
    }

    /// Whether a signal has ended it.
    pub(super) fn was_killed(&self, pid: i32) -> bool {
        self.table().killed.contains(&pid)
    }

    /// Live processes whose name begins with this, in the order of their starts.
    pub(super) fn named(&self, name: &str) -> Vec<i32> {
        let table = self.table();
        table.entries.iter().filter(|(_, entry)| entry.ended.is_none() && entry.name.starts_with(name)).map(|(pid, _)| *pid).collect()
    }

    /// Live processes, with their names.
    pub(super) fn left(&self) -> Vec<(i32, String)> {
        let table = self.table();
        table.entries.iter().filter(|(_, entry)| entry.ended.is_none()).map(|(pid, entry)| (*pid, entry.name.clone())).collect()
    }

    /// Live processes of programs that have taken off their mark.
    pub(super) fn hidden(&self) -> Vec<i32> {
        let table = self.table();
        let hides = |entry: &Entry| entry.ended.is_none() && entry.mark.is_none() && entry.name.starts_with("program");
        table.entries.iter().filter(|(_, entry)| hides(entry)).map(|(pid, _)| *pid).collect()
    }

    /// A new process that a process forks: in its group or one of its own, with its mark or without.
    pub(super) fn fork(&self, pid: i32, (leaves_group, hides, stubborn): (bool, bool, bool), doing: impl FnOnce(i32) -> Doing) {
        let birth = {
            let table = self.table();
            let Some(entry) = table.entries.get(&pid) else { return };
            Birth {
                group: (!leaves_group).then_some(entry.group),
                mark: entry.mark.clone().filter(|_| !hides),
                stubborn,
                ..Birth::of(&entry.name, pid)
            }
        };
        self.spawn(birth, doing);
    }

    pub(super) fn signal(&self, pid: i32, signal: Signal) {
        let woken = {
            let mut table = self.table();
            let Some(entry) = table.entries.get_mut(&pid).filter(|entry| entry.ended.is_none()) else { return };
            match signal {
                Signal::SIGKILL => None,
                Signal::SIGSTOP => {
                    entry.stopped = true;
                    return;
                }
                Signal::SIGCONT => {
                    entry.stopped = false;
                    Some((std::mem::take(&mut entry.wakers), entry.pending.take()))
                }
                _ if entry.stubborn => return,
                _ if entry.stopped => {
                    entry.pending = Some(signal);
                    return;
                }
                _ => None,
            }
        };
        match woken {
            None => self.end(pid, (None, Some(signal as i32))),
            Some((wakers, pending)) => {
                wakers.into_iter().for_each(Waker::wake);
                pending.into_iter().for_each(|signal| self.signal(pid, signal));
            }
        }
    }

    fn signal_all(&self, which: impl Fn(&Entry) -> bool, signal: Signal) {
        let pids: Vec<i32> = self.table().entries.iter().filter(|(_, entry)| which(entry)).map(|(pid, _)| *pid).collect();
        pids.into_iter().for_each(|pid| self.signal(pid, signal));
    }

    fn reap(&self, parent: i32) -> Reaped {
        let mut table = self.table();
        let mut children = table.entries.iter().filter(|(_, entry)| entry.parent == parent).peekable();
        if children.peek().is_none() {
            return Reaped::Nobody;
        }
        let ended = children.find_map(|(pid, entry)| Some((*pid, entry.ended?)));
        match ended {
            Some((pid, (status, signal))) => {
                table.entries.remove(&pid);
                Reaped::Ended { pid, status, signal }
            }
            None => Reaped::Later,
        }
    }
}

impl Table {
    /// Gives the children of one that has ended to the next that takes them.
    fn adopt_children_of(&mut self, pid: i32) {
        let mut heir = self.entries.get(&pid).map_or(INIT, |entry| entry.parent);
        while let Some(entry) = self.entries.get(&heir)
            && !(entry.subreaper && entry.ended.is_none())
        {
            heir = entry.parent;
        }
        let heir = if self.entries.contains_key(&heir) { heir } else { INIT };
        self.entries.values_mut().filter(|entry| entry.parent == pid).for_each(|entry| entry.parent = heir);
        if heir == INIT {
            self.entries.retain(|_, entry| !(entry.parent == INIT && entry.ended.is_some()));
        } else {
            self.entries[&heir].child_ended.notify_one();
        }
    }

    fn tell_parent_of(&mut self, pid: i32) {
        let Some(entry) = self.entries.get(&pid) else { return };
        match self.entries.get(&entry.parent) {
            Some(parent) if parent.ended.is_none() => parent.child_ended.notify_one(),
            _ => drop(self.entries.remove(&pid)),
        }
    }
}

/// The machine as a guard has it.
pub(super) struct GuardMachine {
    pub(super) machine: SimulatedMachine,
    pub(super) pid: i32,
    pub(super) child_ended: Arc<Notify>,
}

impl GuardMachine {
    pub(super) fn of(machine: SimulatedMachine, pid: i32) -> GuardMachine {
        let child_ended = machine.table().entries.get(&pid).map(|entry| entry.child_ended.clone()).unwrap_or_default();
        GuardMachine { machine, pid, child_ended }
    }
}

impl Machine for GuardMachine {
    fn start(&mut self, program: Program<'_>) -> Result<i32, (FailedStep, Errno)> {
        let programs = self.machine.table().programs.clone().ok_or((FailedStep::Program, Errno::ENOENT))?;
        let next = self.machine.table().started + 1;
        let doing = programs(program.argv, program.stdin, next)?;
        let name = program.argv.join(" ");
        // Each third is still in execve(2) for some looks.
        let unmarked = if next % 3 == 0 { (next % 40) as u32 } else { 0 };
        Ok(self.machine.spawn(Birth { mark: Some(program.mark), unmarked, ..Birth::of(&name, self.pid) }, |_| doing))
    }

    fn branches(&self) -> Vec<Vec<Process>> {
        let process = |(&pid, entry): (&i32, &Entry)| (pid, Process { pid, parent: entry.parent, group: entry.group, start: pid as u64 });
        let all = self.machine.table().entries.iter().map(process).collect();
        let mut branches = branches_below(self.pid, &all);
        branches.sort_by_key(|branch| branch[0].pid);
        branches
    }

    fn marked_slot(&self, pid: i32, mark: &str) -> Option<u16> {
        let mut table = self.machine.table();
        let entry = table.entries.get_mut(&pid).filter(|entry| entry.ended.is_none())?;
        if entry.unmarked > 0 {
            entry.unmarked -= 1;
            return None;
        }
        entry.mark.as_ref()?.strip_prefix(mark)?.strip_prefix('/')?.parse().ok()
    }

    fn is_loading(&self, pid: i32) -> bool {
        self.machine.table().entries.get(&pid).is_some_and(|entry| entry.ended.is_none() && entry.unmarked > 0)
    }

    fn hit(&mut self, process: Process, signal: Signal) {
        self.machine.signal(process.pid, signal);
    }

    fn hit_group(&mut self, leader: i32, signal: Signal) -> Result<(), Errno> {
        if !self.machine.table().entries.values().any(|entry| entry.group == leader) {
            return Err(Errno::ESRCH);
        }
        self.machine.signal_all(|entry| entry.group == leader, signal);
        Ok(())
    }

    fn reap(&mut self) -> Reaped {
        self.machine.reap(self.pid)
    }

    async fn child_ended(&mut self) {
        self.child_ended.notified().await;
    }

    fn rest(&mut self, _: Duration) {}

    fn now_ns(&self) -> u64 {
        self.machine.clock.now_ns()
    }
}

/// A guard as who started it has it; who is dead does nothing more.
pub(super) struct PlayedGuard {
    pub(super) machine: SimulatedMachine,
    pub(super) parent: i32,
    pub(super) pid: i32,
}

impl PlayedGuard {
    fn parent_lives(&self) -> bool {
        self.machine.lives(self.parent)
    }
}

impl GuardProcess for PlayedGuard {
    fn pid(&self) -> u32 {
        self.pid as u32
    }

    /// One that stands still does so for good: that is the harder case.
    fn resume(&self) {}

    async fn ended(&mut self) -> bool {
        loop {
            if self.parent_lives() {
                let mut table = self.machine.table();
                match table.entries.get(&self.pid).map(|entry| entry.ended) {
                    Some(Some((status, _))) => {
                        table.entries.remove(&self.pid);
                        return status == Some(0);
                    }
                    Some(None) => {}
                    None => return false,
                }
            }
            sleep(Duration::from_millis(7)).await;
        }
    }

    fn kill(&mut self) {
        if self.parent_lives() {
            self.machine.signal(self.pid, Signal::SIGKILL);
        }
    }

    fn kill_group(&self, leader: i32) {
        if self.parent_lives() {
            self.machine.signal_all(|entry| entry.group == leader, Signal::SIGKILL);
        }
    }

    fn kill_marked(&self, mark: &str) {
        if self.parent_lives() {
            let marked = |entry: &Entry| entry.mark.as_ref().is_some_and(|found| found.starts_with(&format!("{mark}/")));
            self.machine.signal_all(marked, Signal::SIGKILL);
        }
    }
}
