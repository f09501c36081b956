//! The guard process, `closestorm __guard`: starts the targets and kills all of them when closestorm is gone, whatever killed it.
//!
//! closestorm alone holds the other end of the link that is the guard's stdin, so the end of that is the end of closestorm, by SIGKILL too.
//! The guard has one thread, a process group of its own (no Ctrl-C reaches it, no fault
//! hits it), and is the subreaper of all that it starts: whoever loses its parent becomes its child, so it can kill and reap
//! everybody, even a process that made its own session. The other side of the conversation is `handle`.

use crate::ipc;
use crate::ipc::LinkEnd;
use crate::sut::command::family::Process;
use crate::sut::command::machine::{Machine, Program, Reaped, ThisMachine};
use crate::sut::command::protocol::{FailedStep, GuardOrder, Notice, PROTOCOL};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::time::Duration;
use tokio::signal::unix::{Signal as Arriving, SignalKind, signal};

/// First wait between two looks at the processes of an ending slot; doubled while nothing changes.
const LOOK_FIRST: Duration = Duration::from_millis(2);
/// Longest such wait, as while a daemon that outlived its leader is left alone.
const LOOK_LAST: Duration = Duration::from_millis(250);

/// Between two looks at a child that bears no mark.
const UNMARKED_LOOK: Duration = Duration::from_micros(500);
/// Looks at it before it is nobody's; about a quarter of a second.
const UNMARKED_LOOKS: u32 = 500;
/// The same while its program is still being set up, which takes long on a busy machine or a slow disk; about five seconds.
const LOADING_LOOKS: u32 = 10_000;

/// The guard from start to end; returns its exit code.
///
/// Returns when its link has ended and no descendant is left. To be called first thing in `main`, outside of any runtime: threads and
/// children of others would be taken for targets.
pub fn main() -> u8 {
    match run() {
        Ok(()) => 0,
        Err(error) => {
            // Nobody reads this but a terminal, and that may be gone.
            let _ = writeln!(io::stderr(), "closestorm guard: {error}");
            1
        }
    }
}

fn run() -> Result<(), ipc::LinkError> {
    let link = ipc::inherited()?;
    nix::sys::prctl::set_child_subreaper(true).map_err(io::Error::from)?;
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?.block_on(serve(link))
}

async fn serve(link: LinkEnd) -> Result<(), ipc::LinkError> {
    // Caught, not ignored or blocked: what is ignored or blocked here would be so in the targets as well, and SIGTERM would not
    // stop them, whereas handlers end with exec. Held to the end, so that none of these signals kills the guard.
    let _caught = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()]
        .into_iter()
        .chain([SignalKind::user_defined1(), SignalKind::user_defined2(), SignalKind::alarm()])
        .map(signal)
        .collect::<io::Result<Vec<Arriving>>>()?;
    let machine = ThisMachine(signal(SignalKind::child())?);
    // Whoever started closestorm may have blocked some, SIGCHLD among them.
    SigSet::empty().thread_set_mask().map_err(io::Error::from)?;
    keep(link, machine).await
}

/// Obeys what is said over the link until that ends; then nobody of those that were started on this machine is left.
///
/// # Errors
/// What was wrong with the link.
pub(crate) async fn keep(link: LinkEnd, machine: impl Machine) -> Result<(), ipc::LinkError> {
    let (notices, mut orders, _) = ipc::open(link, PROTOCOL)?;
    let (mark, files) = match orders.next().await? {
        Some(GuardOrder::Setup { mark, files }) => (mark, files),
        Some(other) => return Err(ipc::LinkError::out_of_place(&other)),
        None => return Ok(()),
    };
    let mut guard = RunningGuard {
        machine,
        mark,
        files,
        notices,
        slots: BTreeMap::new(),
        known: BTreeMap::new(),
        strangers: BTreeSet::new(),
        look_in: LOOK_FIRST,
    };
    let outcome = loop {
        tokio::select! {
            biased; // ends are noticed before new orders, so that a slot is free as soon as it can be
            () = guard.machine.child_ended() => guard.reap(),
            () = tokio::time::sleep(guard.look_in), if guard.slots.values().any(GuardSlot::ending) => guard.look(),
            order = orders.next() => {
                let obeyed = match order {
                    Ok(Some(order)) => guard.obey(order, &mut orders),
                    Ok(None) => break Ok(()),
                    Err(error) => Err(error),
                };
                // Whoever says what it should not is as good as gone.
                if obeyed.is_err() {
                    break obeyed;
                }
            },
        }
    };
    kill_everybody(&mut guard.machine).await;
    outcome
}

/// Kills and reaps until no child remains; whoever forks or loses its parent meanwhile is found in the next round.
async fn kill_everybody(machine: &mut impl Machine) {
    loop {
        for process in machine.branches().into_iter().flatten() {
            machine.hit(process, Signal::SIGKILL);
        }
        loop {
            match machine.reap() {
                Reaped::Ended { .. } => {}
                Reaped::Later => break,
                Reaped::Nobody => return,
            }
        }
        let _ = tokio::time::timeout(LOOK_FIRST, machine.child_ended()).await;
    }
}

struct RunningGuard<M> {
    machine: M,
    mark: String,
    /// Soft limit of open files of programs that are not our own.
    files: Option<u64>,
    notices: ipc::Sender<Notice>,
    /// From the start of the leader until no process of the slot is left.
    slots: BTreeMap<u16, GuardSlot>,
    /// Slots of processes once seen, by identity. A process that is ending has no readable mark any more and may have no parent
    /// of the slot either, but still holds its sockets.
    known: BTreeMap<(i32, u64), u16>,
    /// Children that bear no mark, and did not get one within a while.
    strangers: BTreeSet<(i32, u64)>,
    look_in: Duration,
}

struct GuardSlot {
    /// The leader's process id, which is the id of the group.
    leader: i32,
    leader_runs: bool,
    killed: bool,
}

impl GuardSlot {
    /// Whether its last processes are awaited.
    fn ending(&self) -> bool {
        self.killed || !self.leader_runs
    }
}

impl<M: Machine> RunningGuard<M> {
    /// Carries out an order; an error is one of the link, not of the order.
    fn obey(&mut self, order: GuardOrder, orders: &mut ipc::Receiver<GuardOrder>) -> Result<(), ipc::LinkError> {
        let (id, slot, outcome) = match order {
            GuardOrder::Setup { .. } => return Err(ipc::LinkError::out_of_place(&order)),
            GuardOrder::Start { id, slot, argv, env, workdir, output, linked } => {
                let stdin = if linked { Some(orders.file()?) } else { None };
                // A server or worker of ours has its link as standard input.
                let files = self.files.filter(|_| stdin.is_none());
                let mark = format!("{}/{slot}", self.mark);
                let program = Program { argv: &argv, env: &env, mark, workdir: workdir.as_deref(), output: &output, stdin, files };
                (id, slot, self.start(id, slot, program))
            }
            GuardOrder::Signal { id, slot, signal } => (id, slot, self.signal(id, slot, signal)),
        };
        self.say(&outcome.unwrap_or_else(|(step, errno)| Notice::Failed { id, slot, step, errno: errno as i32 }));
        Ok(())
    }

    /// Says something. If nobody reads any more, the orders end too, and that is where it is handled.
    fn say(&self, notice: &Notice) {
        // A notice has nothing in it that could be too long.
        let _ = self.notices.send(notice);
    }

    fn start(&mut self, id: u64, slot: u16, program: Program<'_>) -> Result<Notice, (FailedStep, Errno)> {
        if self.slots.contains_key(&slot) {
            return Err((FailedStep::Slot, Errno::EBUSY));
        }
        let leader = self.machine.start(program)?;
        let at = self.machine.now_ns();
        self.slots.insert(slot, GuardSlot { leader, leader_runs: true, killed: false });
        Ok(Notice::Started { id, slot, pid: leader as u32, at })
    }

    fn signal(&mut self, id: u64, slot: u16, signal: i32) -> Result<Notice, (FailedStep, Errno)> {
        let signal = Signal::try_from(signal).map_err(|errno| (FailedStep::Signal, errno))?;
        let found = self.slots.get_mut(&slot).ok_or((FailedStep::Slot, Errno::ESRCH))?;
        found.killed |= signal == Signal::SIGKILL;
        // Without its leader a group may be empty and its number soon be another's: then only whoever is seen is signalled.
        let group = found.leader_runs.then_some(found.leader);
        // A pause or a kill means everybody. A graceful stop means the group, as from a terminal or an init system.
        let everybody = group.is_none() || matches!(signal, Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGCONT);
        // Looked up first, while their parents live.
        let members = if everybody { self.members().remove(&slot).unwrap_or_default() } else { Vec::new() };
        // Before the signal: the kernel delivers it inside the call, and whoever notices must not have done so before it was sent.
        let at = self.machine.now_ns();
        if let Some(group) = group {
            self.machine.hit_group(group, signal).map_err(|errno| (FailedStep::Signal, errno))?;
        }
        let missed = members.into_iter().filter(|process| Some(process.group) != group);
        missed.for_each(|process| self.machine.hit(process, signal));
        self.look_in = LOOK_FIRST;
        Ok(Notice::Signalled { id, slot, at })
    }

    /// Processes of each slot, until they are reaped: whoever descends from the leader, is in its group, bears its mark or was seen
    /// to do so before, and all that descend from these.
    fn members(&mut self) -> BTreeMap<u16, Vec<Process>> {
        let mut members: BTreeMap<u16, Vec<Process>> = BTreeMap::new();
        let mut known = BTreeMap::new();
        for (slot, branch) in self.branches() {
            if let Some(slot) = slot {
                known.extend(branch.iter().map(|process| (process.identity(), slot)));
                members.entry(slot).or_default().extend(branch);
            }
        }
        self.known = known;
        members
    }

    /// All that descends from us, once it is known whose our children are: while execve(2) sets up a new program, a process bears no mark,
    /// and a daemon overlooked in that moment would be left out of a pause, and its slot be given to another.
    fn branches(&mut self) -> Vec<(Option<u16>, Vec<Process>)> {
        for look in 0..LOADING_LOOKS {
            let branches = self.branches_now();
            let is_unmarked =
                |(slot, branch): &&(Option<u16>, Vec<Process>)| slot.is_none() && !self.strangers.contains(&branch[0].identity());
            let unmarked: Vec<_> = branches.iter().filter(is_unmarked).map(|(_, branch)| &branch[0]).collect();
            if unmarked.is_empty() {
                return branches;
            }
            if look >= UNMARKED_LOOKS && !unmarked.iter().any(|child| self.machine.is_loading(child.pid)) {
                break;
            }
            // Not for long, and whoever gives us orders waits for their effect.
            self.machine.rest(UNMARKED_LOOK);
        }
        let branches = self.branches_now();
        self.strangers = branches.iter().filter(|(slot, _)| slot.is_none()).map(|(_, branch)| branch[0].identity()).collect();
        branches
    }

    /// One look. Whose each is is asked once: another answer may come a moment later, when its program is being set up.
    fn branches_now(&self) -> Vec<(Option<u16>, Vec<Process>)> {
        self.machine.branches().into_iter().map(|branch| (self.slot_of(&branch[0]), branch)).collect()
    }

    /// The slot of one of our children.
    fn slot_of(&self, child: &Process) -> Option<u16> {
        let leads = |slot: &GuardSlot| child.pid == slot.leader || child.group == slot.leader;
        let by_leader = self.slots.iter().find(|(_, slot)| leads(slot)).map(|(&number, _)| number);
        by_leader.or_else(|| self.known.get(&child.identity()).copied()).or_else(|| self.machine.marked_slot(child.pid, &self.mark))
    }

    /// Reaps whoever ended and reports leaders.
    fn reap(&mut self) {
        while let Reaped::Ended { pid, status, signal } = self.machine.reap() {
            let at = self.machine.now_ns();
            if let Some((&slot, found)) = self.slots.iter_mut().find(|(_, slot)| slot.leader_runs && slot.leader == pid) {
                found.leader_runs = false;
                self.say(&Notice::Exited { slot, pid: pid as u32, status, signal, at });
            }
        }
        self.look();
        self.look_in = LOOK_FIRST;
    }

    /// Looks after the slots that are ending: kills who should be dead, frees the empty ones.
    fn look(&mut self) {
        self.look_in = (self.look_in * 2).min(LOOK_LAST);
        if !self.slots.values().any(GuardSlot::ending) {
            return;
        }
        let members = self.members();
        let (notices, machine) = (&self.notices, &mut self.machine);
        self.slots.retain(|number, slot| {
            let left = members.get(number).map_or(&[][..], Vec::as_slice);
            if slot.killed {
                left.iter().for_each(|process| machine.hit(*process, Signal::SIGKILL));
            }
            let gone = !slot.leader_runs && left.is_empty();
            if gone {
                let _ = notices.send(&Notice::Gone { slot: *number, at: machine.now_ns() });
            }
            !gone
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// A machine with a daemon that bears the mark at the first look, and is in execve(2) at the next three.
    #[derive(Default)]
    struct BeginsAnother(Cell<u32>);

    impl Machine for BeginsAnother {
        fn start(&mut self, _: Program<'_>) -> Result<i32, (FailedStep, Errno)> {
            Err((FailedStep::Program, Errno::ENOENT))
        }

        fn branches(&self) -> Vec<Vec<Process>> {
            vec![vec![Process { pid: 7, parent: 1, group: 7, start: 1 }]]
        }

        fn marked_slot(&self, _: i32, _: &str) -> Option<u16> {
            self.0.set(self.0.get() + 1);
            (!self.is_loading(7)).then_some(0)
        }

        fn is_loading(&self, _: i32) -> bool {
            (2..5).contains(&self.0.get())
        }

        fn hit(&mut self, _: Process, _: Signal) {}

        fn hit_group(&mut self, _: i32, _: Signal) -> Result<(), Errno> {
            Err(Errno::ESRCH)
        }

        fn reap(&mut self) -> Reaped {
            Reaped::Later
        }

        fn child_ended(&mut self) -> impl Future<Output = ()> {
            std::future::pending()
        }

        fn rest(&mut self, _: Duration) {}

        fn now_ns(&self) -> u64 {
            0
        }
    }

    #[tokio::test]
    async fn a_daemon_that_begins_another_program_between_two_looks_is_not_overlooked() {
        let (ours, _theirs) = ipc::pair().unwrap();
        let (notices, _orders, _) = ipc::open::<Notice, GuardOrder>(ours, PROTOCOL).unwrap();
        let ended = GuardSlot { leader: 5, leader_runs: false, killed: false };
        let mut guard = RunningGuard {
            machine: BeginsAnother::default(),
            mark: "m".to_owned(),
            files: None,
            notices,
            slots: BTreeMap::from([(0, ended)]),
            known: BTreeMap::new(),
            strangers: BTreeSet::new(),
            look_in: LOOK_FIRST,
        };
        guard.look();
        assert!(guard.slots.contains_key(&0), "it lives");
        assert_eq!(guard.members()[&0].len(), 1);
    }
}
