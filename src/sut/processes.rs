//! The processes of a target that is ours: starting, crashing, stopping, pausing; an instance may be several processes on one port.

use crate::ipc;
use crate::lock::lock;
use crate::plan::Firing;
use crate::server::protocol::{ServerSpec, ToServer};
use crate::sut::command;
use crate::sut::command::error::How;
use crate::sut::command::guarded;
use crate::sut::command::handle::Guard;
use crate::sut::command::output::OutputLimit;
use crate::sut::command::port;
use crate::sut::command::process::CommandTarget;
use crate::sut::control_links::{ControlLinks, ToWorkers};
use crate::sut::error::RunError;
use crate::transport::tickets::TicketKey;
use futures_util::future::join_all;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};

/// In which an embedded server must say hello and listen.
pub(crate) const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// In which an embedded server must exit once its grace is over.
pub(crate) const EXIT_WITHIN: Duration = Duration::from_secs(5);
/// In which one should say that it stands still; a busier one is stopped all the same.
const STILL_WITHIN: Duration = Duration::from_millis(250);

/// The processes of a target that is ours.
pub(crate) struct Instances {
    /// By instance, then process.
    pub(crate) members: Vec<Vec<AsyncMutex<CommandTarget>>>,
    /// What each is, where they are embedded servers.
    pub(crate) specs: Vec<Vec<ServerSpec>>,
    /// How those get their links to workers.
    pub(crate) workers: ToWorkers,
    /// `None`: the embedded server, which has links instead.
    pub(crate) stop_signal: Option<command::Signal>,
    pub(crate) guard: Guard,
    /// Faults that wait in the embedded servers for attempts and new connections; a process that starts again is told of them.
    pub(crate) standing: Mutex<Vec<(Firing, ToServer)>>,
    /// Hold the ports of embedded instances while their processes are down.
    pub(crate) reserved: Vec<port::Reserved>,
    /// Stops of instances so far.
    stops: AtomicU64,
    /// Keeps what the target prints within its bound.
    _output: OutputLimit,
}

/// When an instance was seen in two states, in ns of CLOCK_MONOTONIC.
pub(crate) struct SeenTimes {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// An instance has ended because it was told to.
pub(crate) struct Stopped {
    /// When its last process was gone, in ns of the clock of the run.
    pub(crate) gone_at: u64,
    /// How it ended.
    pub(crate) how: String,
    /// By itself, and without error: of an embedded server, all evidence was read.
    pub(crate) well: bool,
}

impl Instances {
    pub(crate) fn new(guard: Guard, output: OutputLimit) -> Instances {
        Instances {
            members: Vec::new(),
            specs: Vec::new(),
            workers: ToWorkers::default(),
            stop_signal: None,
            guard,
            standing: Mutex::default(),
            reserved: Vec::new(),
            stops: AtomicU64::new(0),
            _output: output,
        }
    }

    /// Faults that wait in the embedded servers.
    pub(crate) fn standing(&self) -> MutexGuard<'_, Vec<(Firing, ToServer)>> {
        lock(&self.standing)
    }

    /// The instance to which a slot of the guard belongs.
    pub(crate) fn instance_of(&self, slot: u16) -> u16 {
        let each = self.members.first().map_or(1, Vec::len);
        u16::try_from(usize::from(slot) / each.max(1)).unwrap_or(u16::MAX)
    }

    fn of(&self, instance: u16) -> &[AsyncMutex<CommandTarget>] {
        &self.members[usize::from(instance)]
    }

    /// Starts an instance: when its first process was started, and when the last one was ready. Where one fails, none of them is left.
    pub(crate) async fn launch(&self, instance: u16, lines: &Arc<ControlLinks>) -> Result<SeenTimes, RunError> {
        let mut members = join_all(self.of(instance).iter().map(AsyncMutex::lock)).await;
        let mut pids = Vec::new();
        let up = self.start_all(instance, &mut members, &mut pids, lines).await;
        if up.is_err() {
            // They would neither serve nor let a new start be. One that runs since before is none of them.
            join_all(members.iter_mut().take(pids.len()).map(async |target| drop(target.crash().await))).await;
        }
        up
    }

    async fn start_all(
        &self,
        instance: u16,
        members: &mut [AsyncMutexGuard<'_, CommandTarget>],
        pids: &mut Vec<u32>,
        lines: &Arc<ControlLinks>,
    ) -> Result<SeenTimes, RunError> {
        let (mut first, mut last) = (u64::MAX, 0);
        if self.stop_signal.is_some() {
            for target in members {
                let up = target.start_again().await?;
                (first, last) = (first.min(up.started_at), last.max(up.ready_at));
            }
            return Ok(SeenTimes { first, last });
        }
        for (target, spec) in members.iter_mut().zip(&self.specs[usize::from(instance)]) {
            let (ours, theirs) = ipc::pair()?;
            let started = target.launch_with(Some(theirs)).await?;
            pids.push(started.pid);
            lines.begin(started.pid, spec, ours, &self.workers)?;
            first = first.min(started.at);
        }
        for (process, pid) in (0..).zip(&*pids) {
            if !lines.hello((instance, process), *pid, HELLO_WITHIN).await {
                let said = members.iter().map(|target| target.printed()).find(|text| !text.is_empty()).unwrap_or_default();
                return Err(RunError::NoHello { instance, said });
            }
        }
        self.standing().iter().for_each(|(_, command)| lines.tell(instance, command));
        lines.tell(instance, &ToServer::Listen { tickets: TicketKey::generate()? });
        for ((process, pid), target) in (0..).zip(&*pids).zip(members) {
            // Nobody could connect where a fault that stands keeps it from listening.
            last = last.max(target.wait_told(lines.listens((instance, process), *pid, HELLO_WITHIN)).await?);
        }
        Ok(SeenTimes { first, last })
    }

    /// SIGKILL to all processes of an instance: when the first was hit.
    pub(crate) async fn crash(&self, instance: u16) -> Result<u64, RunError> {
        let downs = join_all(self.of(instance).iter().map(async |target| target.lock().await.crash().await)).await;
        first(downs, |down| down.signalled_at)
    }

    /// Asks an instance to end by itself, and waits until it has.
    pub(crate) async fn stop(
        &self,
        instance: u16,
        graceful: &ToServer,
        grace: Duration,
        lines: &Arc<ControlLinks>,
    ) -> Result<Stopped, RunError> {
        let stops = (0..).zip(self.of(instance)).map(async |(process, target)| {
            let mut target = target.lock().await;
            match self.stop_signal {
                Some(signal) => target.stop(signal, grace).await,
                // The server keeps the grace itself; the margin is for its exit.
                None => {
                    let ask = || {
                        // It may be stopped, and is continued to obey.
                        lines.tell_one((instance, process), ToServer::GoOn);
                        lines.tell_one((instance, process), graceful.clone());
                    };
                    target.stop_by(ask, grace + EXIT_WITHIN).await
                }
            }
        });
        let mut gone = Vec::new();
        for down in join_all(stops).await {
            gone.push(down?);
        }
        let forced = gone.iter().any(|down| down.forced);
        let last = gone.iter().max_by_key(|down| down.gone_at).ok_or(RunError::Target(command::Error::NotRunning))?;
        // One that did not end well speaks for all.
        let how = gone.iter().map(|down| down.exit.how).find(|how| *how != How::Status(0)).unwrap_or(last.exit.how);
        let well = !forced && how == How::Status(0);
        let how = if forced { "grace was over: SIGKILL".to_owned() } else { how.to_string() };
        Ok(Stopped { gone_at: last.gone_at, how, well })
    }

    /// SIGSTOP to all processes of an instance: when the first was hit.
    pub(crate) async fn pause(&self, instance: u16, lines: Option<&ControlLinks>) -> Result<u64, RunError> {
        if let Some(lines) = lines.filter(|_| self.stop_signal.is_none()) {
            // Its clock goes on while it is stopped: before it is, it notes how far its service has come.
            let ticket = self.stops.fetch_add(1, Ordering::Relaxed);
            lines.stand_still(instance, ticket, STILL_WITHIN).await;
        }
        first(join_all(self.of(instance).iter().map(async |target| target.lock().await.pause().await)).await, |at| at)
    }

    /// SIGCONT to the processes of an instance: when the last was hit. One that goes on already is content with it.
    pub(crate) async fn resume(&self, instance: u16, lines: &ControlLinks) -> Result<u64, RunError> {
        // Read when it goes on.
        lines.tell(instance, &ToServer::GoOn);
        let mut last = Err(RunError::Target(command::Error::NotRunning));
        for resumed in join_all(self.of(instance).iter().map(async |target| target.lock().await.resume().await)).await {
            last = Ok(last.unwrap_or(0).max(resumed?));
        }
        last
    }

    /// Ends all processes and waits for them.
    pub(crate) async fn shut_down(&self) {
        guarded::end(&self.guard).await;
    }
}

/// The first moment of those that succeeded; the first error where none did.
fn first<T>(outcomes: Vec<Result<T, command::Error>>, at: impl Fn(T) -> u64) -> Result<u64, RunError> {
    let (mut moment, mut failed) = (None, command::Error::NotRunning);
    for outcome in outcomes {
        match outcome {
            Ok(done) => moment = Some(at(done)).into_iter().chain(moment).min(),
            Err(error) => failed = error,
        }
    }
    moment.ok_or(RunError::Target(failed))
}
