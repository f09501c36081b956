//! Steers a guard: orders with answers, exits as they happen. The guard itself is `guard`.
//!
//! Cheap to clone. When the last clone is dropped (or the process ends in whatever way) the link to the guard ends, and it kills all.

use crate::ipc;
use crate::ipc::LinkEnd;
use crate::lock::lock;
use crate::sut::command::error::{Error, How};
use crate::sut::command::family;
use crate::sut::command::open_files::inherited_files;
use crate::sut::command::protocol::{FailedStep, GuardOrder, Notice, PROTOCOL};
use crate::transport::clock::monotonic_ns;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, broadcast, oneshot, watch};
use tokio::time::{sleep, timeout};

/// In which a new guard says hello, and an ended one kills and reaps everybody.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// In which a guard carries out an order; one that does not, as one that somebody has stopped, is killed.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The same for a start: a program from a slow disk or over a network may take long until it runs.
const START_WITHIN: Duration = Duration::from_secs(120);
/// Exits that a slow receiver may leave unread.
const EXITS: usize = 1024;

/// What to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Program and arguments; at least the program.
    pub argv: Vec<String>,
    /// Added to the environment of closestorm.
    pub env: BTreeMap<String, String>,
    /// Working directory; `None`: that of closestorm.
    pub workdir: Option<PathBuf>,
    /// File to which stdout and stderr are appended.
    pub output: PathBuf,
}

/// A program was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// Process id of the leader, and id of its process group.
    pub pid: u32,
    /// When exec had succeeded, in ns of CLOCK_MONOTONIC.
    pub at: u64,
}

/// The leader of a slot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Which.
    pub slot: u16,
    /// Its process id.
    pub pid: u32,
    /// How.
    pub how: How,
    /// Whether we had asked for it, by SIGKILL or by `Guard::expect_exit`; if not, the target died by itself.
    pub asked: bool,
    /// When it was reaped, in ns of CLOCK_MONOTONIC.
    pub at: u64,
}

/// A guard process and all that it started.
#[derive(Clone, Debug)]
pub struct Guard {
    /// `None` after `shutdown`. Holding a sender keeps the guard's link open.
    orders: Arc<Mutex<Orders>>,
    next: Arc<AtomicU64>,
    shared: Arc<GuardShared>,
    pid: u32,
}

/// The way to the guard, while it is one.
type Orders = Option<ipc::Sender<GuardOrder>>;

/// What the reading task writes. It holds no sender, so that dropping the last `Guard` ends the link.
#[derive(Debug)]
struct GuardShared {
    waiting: Mutex<HashMap<u64, oneshot::Sender<GuardAnswer>>>,
    state: watch::Sender<GuardState>,
    exits: broadcast::Sender<Exit>,
    /// It is to end, and must not stand still for that.
    closing: Notify,
    /// It is of no use any more, and is to be killed.
    useless: Notify,
}

type GuardAnswer = Result<Started, (FailedStep, i32)>;

#[derive(Debug, Default)]
struct GuardState {
    guard_gone: bool,
    slots: BTreeMap<u16, SlotState>,
}

/// The latest process of a slot.
#[derive(Clone, Copy, Debug)]
struct SlotState {
    pid: u32,
    asked: bool,
    exit: Option<Exit>,
    gone_at: Option<u64>,
}

impl Guard {
    /// Starts a guard from the binary that runs (not from its file, which may have been rebuilt).
    ///
    /// Within a tokio runtime, which must outlive the guard's use. Errors: `Launch`.
    pub async fn launch() -> Result<Self, Error> {
        Self::launch_from(Path::new("/proc/self/exe")).await
    }

    /// Starts a guard from another closestorm binary; for programs that are not closestorm themselves, as tests are.
    pub async fn launch_from(program: &Path) -> Result<Self, Error> {
        let (ours, theirs) = ipc::pair().map_err(Error::Launch)?;
        let child = Command::new(program)
            // Not our own name, so that a `pkill -f closestorm` leaves somebody to clean up.
            .arg0("storm-guard")
            .arg("__guard")
            .process_group(0)
            .stdin(theirs.into_file().map_err(Error::Launch)?)
            .stdout(Stdio::null())
            .spawn()
            .map_err(Error::Launch)?;
        Self::over(ours, child).await
    }

    /// Steers a guard that has just been started, over the link to it.
    ///
    /// # Errors
    /// `Launch`: it is none.
    pub(crate) async fn over(ours: LinkEnd, process: impl GuardProcess) -> Result<Self, Error> {
        let new = NewGuard(Some(process));
        let (orders, mut notices, _) = ipc::open(ours, PROTOCOL).map_err(Error::Launch)?;
        let strange = |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("the started program is not a guard process: {why}"));
        let why = match timeout(PATIENCE, notices.hello()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("it sent nothing within {PATIENCE:?}")),
        };
        if let Some(why) = why {
            return Err(Error::Launch(strange(&why)));
        }
        let mark = format!("{}-{}", std::process::id(), monotonic_ns());
        let said = orders.send(&GuardOrder::Setup { mark: mark.clone(), files: inherited_files() });
        said.map_err(|error| Error::Launch(io::Error::other(error)))?;
        let shared = Arc::new(GuardShared {
            waiting: Mutex::default(),
            state: watch::Sender::new(GuardState::default()),
            exits: broadcast::Sender::new(EXITS),
            closing: Notify::new(),
            useless: Notify::new(),
        });
        let process = new.greeted();
        let pid = process.pid();
        let orders = Arc::new(Mutex::new(Some(orders)));
        tokio::spawn(listen((notices, Arc::downgrade(&orders)), process, shared.clone(), mark));
        Ok(Self { orders, next: Arc::default(), shared, pid })
    }

    /// Process id of the guard.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Starts a program in a slot: own process group, stdin empty, output appended to the file.
    ///
    /// Errors: `ProgramNotFound`, `Program`, `Workdir`, `Output`, `StillRunning` while a process of the slot is left, `GuardLost`.
    pub async fn start(&self, slot: u16, spec: Spec) -> Result<Started, Error> {
        self.start_with(slot, spec, None).await
    }

    /// As [`start`](Self::start), with the end of a link as stdin.
    pub(crate) async fn start_with(&self, slot: u16, spec: Spec, stdin: Option<LinkEnd>) -> Result<Started, Error> {
        let program = spec.argv.first().cloned().unwrap_or_default();
        let (Spec { argv, env, workdir, output }, linked) = (spec, stdin.is_some());
        let order = |id| GuardOrder::Start { id, slot, argv, env, workdir: workdir.clone(), output: output.clone(), linked };
        self.ask(order, stdin, START_WITHIN).await?.map_err(|(step, errno)| {
            let source = io::Error::from_raw_os_error(errno);
            match step {
                FailedStep::Slot | FailedStep::Signal => Error::StillRunning,
                FailedStep::Workdir => Error::Workdir { path: workdir.clone().unwrap_or_default(), source },
                FailedStep::Output => Error::Output { path: output.clone(), source },
                FailedStep::Program if source.kind() == io::ErrorKind::NotFound => Error::ProgramNotFound { program },
                FailedStep::Program => Error::Program { program, source },
            }
        })
    }

    /// Sends a signal to the process group of a slot; returns when it was delivered, in ns of CLOCK_MONOTONIC.
    ///
    /// SIGKILL, SIGSTOP and SIGCONT also reach descendants that left the group. Errors: `NotRunning`, `Signal`, `GuardLost`.
    pub async fn signal(&self, slot: u16, signal: Signal) -> Result<u64, Error> {
        if signal == Signal::SIGKILL {
            self.expect_exit(slot);
        }
        match self.ask(|id| GuardOrder::Signal { id, slot, signal: signal as i32 }, None, ANSWER_WITHIN).await? {
            Ok(delivered) => Ok(delivered.at),
            Err((FailedStep::Slot, _)) => Err(Error::NotRunning),
            Err((_, errno)) => Err(Error::Signal(io::Error::from_raw_os_error(errno))),
        }
    }

    /// Says that the process of this slot will end because we want it, so that its `Exit` is `asked`.
    pub fn expect_exit(&self, slot: u16) {
        self.shared.state.send_if_modified(|state| {
            if let Some(found) = state.slots.get_mut(&slot) {
                found.asked = true;
            }
            false // nobody waits for this
        });
    }

    /// Whether the latest leader of a slot has ended; `None` if nothing was ever started there.
    pub fn exited(&self, slot: u16) -> Option<bool> {
        self.shared.state.borrow().slots.get(&slot).map(|found| found.exit.is_some())
    }

    /// Waits until the leader of a slot has ended; returns at once if it has, also long ago.
    ///
    /// Errors: `NotRunning` if nothing was ever started there, `GuardLost`.
    pub async fn wait_exit(&self, slot: u16) -> Result<Exit, Error> {
        self.wait(slot, |found| found.exit).await
    }

    /// Waits until no process of a slot is left, leader and descendants; returns when that was seen, in ns of CLOCK_MONOTONIC.
    ///
    /// Only then are its ports free. Errors as `wait_exit`.
    pub async fn wait_gone(&self, slot: u16) -> Result<u64, Error> {
        self.wait(slot, |found| found.gone_at).await
    }

    /// All exits from now on, in order. A receiver that falls more than 1,024 behind is told that it lagged.
    pub fn exits(&self) -> broadcast::Receiver<Exit> {
        self.shared.exits.subscribe()
    }

    /// Waits until the guard has ended, by `shutdown` or by somebody else; all that it started is killed then.
    pub async fn gone(&self) {
        // The sender is ours: it cannot be gone.
        let _ = self.shared.state.subscribe().wait_for(|state| state.guard_gone).await;
    }

    /// Ends the guard, which kills and reaps all that it started, and waits for its end; one that takes more than ten seconds is killed, and what
    /// it started, too.
    ///
    /// Errors: `Stuck` if that takes ten seconds more.
    pub async fn shutdown(&self) -> Result<(), Error> {
        drop(lock(&self.orders).take());
        self.shared.closing.notify_one();
        if timeout(PATIENCE, self.gone()).await.is_err() {
            self.shared.useless.notify_one();
        }
        timeout(PATIENCE, self.gone()).await.map_err(|_| Error::Stuck { within: PATIENCE })
    }

    async fn ask(&self, order: impl FnOnce(u64) -> GuardOrder, file: Option<LinkEnd>, within: Duration) -> Result<GuardAnswer, Error> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        lock(&self.shared.waiting).insert(id, sender);
        // The sender is cloned only for as long as this order takes.
        let orders = lock(&self.orders).clone().ok_or(Error::GuardLost)?;
        let said = match file {
            Some(file) => orders.send_with(&order(id), file),
            None => orders.send(&order(id)),
        };
        said.map_err(|error| Error::Launch(io::Error::other(error)))?;
        drop(orders);
        if self.shared.state.borrow().guard_gone {
            return Err(Error::GuardLost); // its answers were dropped before ours was awaited
        }
        match timeout(within, answer).await {
            Ok(answer) => answer.map_err(|_| Error::GuardLost),
            Err(_) => {
                self.shared.useless.notify_one();
                Err(Error::GuardLost)
            }
        }
    }

    async fn wait<T>(&self, slot: u16, done: impl Fn(&SlotState) -> Option<T>) -> Result<T, Error> {
        let mut state = self.shared.state.subscribe();
        let ready = |state: &GuardState| state.guard_gone || state.slots.get(&slot).is_none_or(|found| done(found).is_some());
        let state = state.wait_for(ready).await.map_err(|_| Error::GuardLost)?;
        match state.slots.get(&slot) {
            Some(found) => done(found).ok_or(Error::GuardLost),
            None => Err(Error::NotRunning),
        }
    }
}

/// The process of a guard, and what is done in its place when it was killed.
pub(crate) trait GuardProcess: Send + Sync + 'static {
    /// Its process id.
    fn pid(&self) -> u32;
    /// Waits for its end: whether it ended by itself, with nobody left.
    fn ended(&mut self) -> impl Future<Output = bool> + Send;
    /// SIGCONT: somebody may have stopped it, as a target that signals its parent.
    fn resume(&self);
    /// SIGKILL.
    fn kill(&mut self);
    /// SIGKILL to a process group that it has started.
    fn kill_group(&self, leader: i32);
    /// See [`family::kill_marked`].
    fn kill_marked(&self, mark: &str);
}

/// A guard that has not said hello and so has started nothing. Unless it does, it is killed when nobody waits for it any more: one that stands still does not
/// end with its link.
struct NewGuard<P: GuardProcess>(Option<P>);

impl<P: GuardProcess> NewGuard<P> {
    fn greeted(mut self) -> P {
        self.0.take().unwrap_or_else(|| unreachable!("it is taken once"))
    }
}

impl<P: GuardProcess> Drop for NewGuard<P> {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(GuardProcess::kill);
    }
}

impl GuardProcess for Child {
    fn pid(&self) -> u32 {
        self.id().unwrap_or(0)
    }

    async fn ended(&mut self) -> bool {
        self.wait().await.is_ok_and(|status| status.success())
    }

    fn resume(&self) {
        // Not one that was reaped: its number may be another's.
        self.id().iter().for_each(|id| _ = kill(Pid::from_raw(*id as i32), Signal::SIGCONT));
    }

    fn kill(&mut self) {
        let _ = self.start_kill();
    }

    fn kill_group(&self, leader: i32) {
        let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
    }

    fn kill_marked(&self, mark: &str) {
        family::kill_marked(mark);
    }
}

/// Between two looks for processes of a guard that was killed.
const MARKED_AGAIN: Duration = Duration::from_millis(50);

/// Takes notices until the guard is gone. If it did not end by itself, kills what can still be reached: the groups it led, and who bears its mark.
async fn listen(
    (mut notices, orders): (ipc::Receiver<Notice>, Weak<Mutex<Orders>>),
    mut guard: impl GuardProcess,
    shared: Arc<GuardShared>,
    mark: String,
) {
    loop {
        let notice = tokio::select! {
            // What it has said counts.
            biased;
            notice = notices.next() => notice,
            () = shared.closing.notified() => {
                guard.resume();
                continue;
            }
            () = shared.useless.notified() => {
                guard.kill();
                break;
            }
        };
        match notice {
            Ok(Some(notice)) => shared.take(notice),
            Ok(None) => break,
            Err(error) => {
                // Nobody to tell where stderr is closed.
                let _ = writeln!(io::stderr(), "closestorm: the guard process: {error}");
                // It ends when its orders do, and knows better than we whom it has started: it is not killed before it had its time.
                orders.upgrade().iter().for_each(|orders| _ = lock(orders).take());
                lock(&shared.waiting).clear();
                break;
            }
        }
    }
    // One that stands still does not end when its link does.
    let ended = tokio::select! {
        ended = guard.ended() => Some(ended),
        () = shared.useless.notified() => None,
        () = sleep(PATIENCE) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            guard.kill();
            guard.ended().await
        }
    };
    if !ended {
        for slot in shared.state.borrow().slots.values().filter(|slot| slot.exit.is_none()) {
            guard.kill_group(slot.pid as i32);
        }
        // And who has left its group, twice: one that was just being started has the mark the second time.
        for _ in 0..2 {
            guard.kill_marked(&mark);
            sleep(MARKED_AGAIN).await;
        }
    }
    shared.state.send_modify(|state| state.guard_gone = true);
    lock(&shared.waiting).clear();
}

impl GuardShared {
    fn take(&self, notice: Notice) {
        match notice {
            Notice::Started { id, slot, pid, at } => {
                let started = SlotState { pid, asked: false, exit: None, gone_at: None };
                self.state.send_modify(|state| {
                    state.slots.insert(slot, started);
                });
                self.answer(id, Ok(Started { pid, at }));
            }
            Notice::Failed { id, step, errno, .. } => self.answer(id, Err((step, errno))),
            Notice::Signalled { id, slot, at } => {
                let pid = self.state.borrow().slots.get(&slot).map_or(0, |found| found.pid);
                self.answer(id, Ok(Started { pid, at }));
            }
            Notice::Exited { slot, pid, status, signal, at } => self.exited(slot, pid, status, signal, at),
            Notice::Gone { slot, at } => self.state.send_modify(|state| {
                if let Some(found) = state.slots.get_mut(&slot) {
                    found.gone_at = Some(at);
                }
            }),
        }
    }

    fn exited(&self, slot: u16, pid: u32, status: Option<i32>, signal: Option<i32>, at: u64) {
        let how = signal.map_or(How::Status(status.unwrap_or_default()), How::Signal);
        let mut exit = Exit { slot, pid, how, asked: false, at };
        self.state.send_modify(|state| {
            if let Some(found) = state.slots.get_mut(&slot) {
                exit.asked = found.asked;
                found.exit = Some(exit);
            }
        });
        let _ = self.exits.send(exit); // nobody may be listening
    }

    fn answer(&self, id: u64, answer: GuardAnswer) {
        if let Some(waiting) = lock(&self.waiting).remove(&id) {
            let _ = waiting.send(answer); // who asked may have stopped waiting
        }
    }
}
