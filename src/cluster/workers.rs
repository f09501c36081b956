//! The leading side of the lines to the workers: starts them, speaks to all, and knows how each stands.

use crate::cluster::message::{Call, FromWorker, ToWorker};
use crate::load::hits::Question;
use crate::metrics::Snapshot;
use crate::sut::command;
use crate::sut::command::handle::{Guard, Spec};
use crate::sut::target_events::{Late, Sent};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};

/// How long the exit of a worker may trail behind the end of its line; only then is it known how it ended.
const EXIT_TRAILS: Duration = Duration::from_millis(500);
/// In which a worker carries out an order; nobody waits longer for one that stands still.
const ORDER_WITHIN: Duration = Duration::from_secs(1);

/// The workers of a run.
pub(super) struct Workers {
    guard: Guard,
    members: u32,
    lines: Mutex<BTreeMap<u32, mpsc::UnboundedSender<ToWorker>>>,
    /// Orders under way: workers that have not carried it out, and who waits for it.
    orders: Mutex<BTreeMap<u64, (Late, oneshot::Sender<Late>)>>,
    /// Seconds for which each has been silent.
    silent: Mutex<BTreeMap<u32, u32>>,
    state: watch::Sender<State>,
    questions: mpsc::UnboundedSender<Question>,
}

/// How the workers stand.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// Those that said hello.
    pub(super) here: BTreeSet<u32>,
    /// Those that understood their job.
    pub(super) ready: BTreeSet<u32>,
    /// Those whose books are written.
    pub(super) finished: BTreeSet<u32>,
    /// Those that will not finish, and why.
    pub(super) lost: BTreeMap<u32, String>,
    /// The first of them.
    first_lost: Option<u32>,
    /// Numbers of each.
    live: BTreeMap<u32, Snapshot>,
}

impl State {
    /// The first that was lost, and why.
    fn first_lost(&self) -> Option<(u32, String)> {
        self.first_lost.and_then(|worker| Some((worker, self.lost.get(&worker)?.clone())))
    }

    /// The numbers of all.
    pub(super) fn snapshot(&self) -> Snapshot {
        let mut sum = Snapshot::default();
        self.live.values().for_each(|part| sum.add(part));
        sum
    }
}

impl Workers {
    /// Starts `members` workers, which connect to the abstract socket `report_to` with `token`. What they print goes to `output`, and what they
    /// ask to `questions`.
    ///
    /// # Errors
    /// No socket or process for them.
    pub(super) async fn start(
        members: u32,
        program: &Path,
        output: &Path,
        report_to: &str,
        token: &str,
        questions: mpsc::UnboundedSender<Question>,
    ) -> Result<Arc<Workers>, command::Error> {
        let listener = listen(report_to).map_err(command::Error::Launch)?;
        let guard = Guard::launch_from(program).await?;
        let workers = Arc::new(Workers {
            guard,
            members,
            lines: Mutex::default(),
            orders: Mutex::default(),
            silent: Mutex::default(),
            state: watch::Sender::default(),
            questions,
        });
        tokio::spawn(workers.clone().accept(listener, token.to_owned()));
        tokio::spawn(workers.clone().watch_exits());
        for worker in 0..members {
            let call = Call { report_to: report_to.to_owned(), token: token.to_owned(), worker };
            let argument = serde_json::to_string(&call).map_err(|error| command::Error::Launch(error.into()))?;
            let argv = vec![program.display().to_string(), "__worker".to_owned(), argument];
            let spec = Spec { argv, env: BTreeMap::new(), workdir: None, output: output.to_path_buf() };
            workers.guard.start(u16::try_from(worker).unwrap_or(u16::MAX), spec).await?;
        }
        Ok(workers)
    }

    /// Tells one worker something.
    pub(super) fn tell(&self, worker: u32, message: ToWorker) {
        if let Some(line) = lock(&self.lines).get(&worker) {
            let _ = line.send(message);
        }
    }

    /// Tells all workers something.
    pub(super) fn tell_all(&self, message: &ToWorker) {
        (0..self.members).for_each(|worker| self.tell(worker, message.clone()));
    }

    /// How they stand now.
    pub(super) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits until a set has all workers, or one is lost. Whether none is.
    pub(super) async fn all(&self, in_set: impl Fn(&State) -> &BTreeSet<u32>) -> Result<(), (u32, String)> {
        let mut state = self.state.subscribe();
        let over = |state: &State| !state.lost.is_empty() || in_set(state).len() == self.members as usize;
        match state.wait_for(over).await {
            Ok(state) => state.first_lost().map_or(Ok(()), Err),
            Err(_) => Err((0, "nobody listens to the workers".to_owned())),
        }
    }

    /// Waits until each worker has finished or is gone.
    pub(super) async fn over(&self) {
        let over = |state: &State| (0..self.members).all(|worker| state.finished.contains(&worker) || state.lost.contains_key(&worker));
        // The sender is ours: it cannot be gone.
        let _ = self.state.subscribe().wait_for(over).await;
    }

    /// Resolves when one is lost.
    pub(super) async fn lost(&self) {
        // The sender is ours: it cannot be gone.
        let _ = self.state.subscribe().wait_for(|state| !state.lost.is_empty()).await;
    }

    /// Resolves when one is lost: which, and why.
    pub(super) async fn first_lost(&self) -> (u32, String) {
        let mut state = self.state.subscribe();
        match state.wait_for(|state| state.first_lost().is_some()).await.ok().and_then(|state| state.first_lost()) {
            Some(lost) => lost,
            // The sender is ours: it cannot be gone.
            None => std::future::pending().await,
        }
    }

    /// Resolves when one has said nothing for so many seconds, which is then lost with all others that have not. To be waited for while the run
    /// goes on and books are written.
    pub(super) async fn fallen_silent(&self, patience: u32) {
        let mut second = interval(Duration::from_secs(1));
        // Seconds that this process saw: one that stood still itself does not blame the workers for it.
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            second.tick().await;
            let State { finished, lost, .. } = self.state();
            let under_way = (0..self.members).filter(|worker| !finished.contains(worker) && !lost.contains_key(worker));
            let silent = under_way.filter(|worker| {
                let mut silent = lock(&self.silent);
                let seconds = silent.entry(*worker).or_default();
                *seconds += 1;
                *seconds > patience
            });
            let silent: Vec<_> = silent.collect();
            silent.iter().for_each(|worker| self.lose(*worker, format!("it said nothing for {patience} s")));
            if !silent.is_empty() {
                return;
            }
        }
    }

    /// Says that a worker will not finish, unless it has.
    pub(super) fn lose(&self, worker: u32, why: String) {
        self.state.send_if_modified(|state| {
            let news = !state.finished.contains(&worker) && !state.lost.contains_key(&worker);
            if news {
                state.lost.insert(worker, why);
                state.first_lost.get_or_insert(worker);
            }
            news
        });
        // Nobody may wait for it any more.
        let orders = std::mem::take(&mut *lock(&self.orders));
        orders.into_values().for_each(|(late, done)| drop(done.send(late)));
    }

    /// Hands orders to all workers, as they come.
    pub(super) async fn forward(self: Arc<Self>, mut orders: mpsc::UnboundedReceiver<Sent>) {
        let mut number = 0;
        while let Some((order, done)) = orders.recv().await {
            number += 1;
            if self.state.borrow().lost.is_empty() {
                lock(&self.orders).insert(number, ((0..self.members).collect(), done));
                self.tell_all(&ToWorker::Order { number, order });
                let workers = self.clone();
                tokio::spawn(async move {
                    sleep(ORDER_WITHIN).await;
                    let late = lock(&workers.orders).remove(&number);
                    late.into_iter().for_each(|(late, done)| drop(done.send(late)));
                });
            }
        }
    }

    /// Ends all workers and waits for them.
    pub(super) async fn shut_down(&self) {
        // One that cannot be ended is the guard's business, which goes on trying.
        let _ = self.guard.shutdown().await;
    }

    async fn accept(self: Arc<Self>, listener: UnixListener, token: String) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(self.clone().follow(stream, token.clone()));
        }
    }

    async fn follow(self: Arc<Self>, stream: UnixStream, token: String) {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        let hello = lines.next_line().await.ok().flatten().and_then(|line| serde_json::from_str(&line).ok());
        let Some(FromWorker::Hello { worker, token: shown }) = hello else { return };
        if shown != token {
            return;
        }
        let (sender, mut messages) = mpsc::unbounded_channel();
        lock(&self.lines).insert(worker, sender);
        let writing = tokio::spawn(async move {
            while let Some(message) = messages.recv().await {
                let Ok(mut line) = serde_json::to_vec(&message) else { continue };
                line.push(b'\n');
                if write.write_all(&line).await.is_err() {
                    return;
                }
            }
        });
        self.state.send_modify(|state| _ = state.here.insert(worker));
        while let Ok(Some(line)) = lines.next_line().await {
            if let Ok(message) = serde_json::from_str(&line) {
                self.hear(worker, message);
            }
        }
        writing.abort();
        sleep(EXIT_TRAILS).await;
        self.lose(worker, "it ended, or its connection to this process did".to_owned());
    }

    fn hear(self: &Arc<Self>, worker: u32, message: FromWorker) {
        lock(&self.silent).remove(&worker);
        match message {
            FromWorker::Hello { .. } | FromWorker::Writing => {}
            FromWorker::Ready => self.state.send_modify(|state| _ = state.ready.insert(worker)),
            FromWorker::Failed { why } => self.lose(worker, why),
            FromWorker::Live { live } => self.state.send_modify(|state| _ = state.live.insert(worker, live)),
            FromWorker::Finished => self.state.send_modify(|state| _ = state.finished.insert(worker)),
            FromWorker::Ask { ticket, firing, ask } => {
                let (answer, answered) = oneshot::channel();
                let _ = self.questions.send(Question { worker, firing, ask, answer });
                let asked = self.clone();
                // Not all are answered in the order in which they were asked.
                tokio::spawn(async move {
                    if let Ok(hits) = answered.await {
                        asked.tell(worker, ToWorker::Answer { ticket, hits });
                    }
                });
            }
            FromWorker::Done { number } => {
                let mut orders = lock(&self.orders);
                let Some((late, _)) = orders.get_mut(&number) else { return };
                late.remove(&worker);
                if late.is_empty()
                    && let Some((late, done)) = orders.remove(&number)
                {
                    let _ = done.send(late);
                }
            }
        }
    }

    async fn watch_exits(self: Arc<Self>) {
        let (mut exits, guarded) = (self.guard.exits(), self.clone());
        tokio::spawn(async move {
            guarded.guard.gone().await;
            // After a run nobody is left to be lost.
            (0..guarded.members)
                .for_each(|worker| guarded.lose(worker, "the process that starts and stops the workers was ended".to_owned()));
        });
        while let Ok(exit) = exits.recv().await {
            self.lose(u32::from(exit.slot), format!("process {}: {}", exit.pid, exit.how));
        }
    }
}

fn listen(name: &str) -> io::Result<UnixListener> {
    let listener = StdListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
