//! The leading side of the links to the workers: starts them, speaks to all, and knows how each stands.

use crate::cluster::message::{FromWorker, PROTOCOL, ToWorker};
use crate::ipc;
use crate::ipc::LinkEnd;
use crate::load::hits::Question;
use crate::lock::lock;
use crate::metrics::Snapshot;
use crate::sut::command;
use crate::sut::command::handle::{Guard, Spec};
use crate::sut::control_links::Member;
use crate::sut::target_events::{Late, Sent};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// How long the exit of a worker may trail behind the end of its line; only then is it known how it ended.
const EXIT_TRAILS: Duration = Duration::from_millis(500);
/// How long the end of its line may trail behind the exit of a worker: what it has said is still to be read.
const LINE_TRAILS: Duration = Duration::from_secs(10);
/// In which a worker carries out an order; nobody waits longer for one that stands still.
const ORDER_WITHIN: Duration = Duration::from_secs(1);

/// The workers of a run.
pub(super) struct Workers {
    /// Has their processes; there are none where tests play them.
    guard: Option<Guard>,
    members: u32,
    links: Mutex<BTreeMap<u32, ipc::Sender<ToWorker>>>,
    /// What has come of the results of each.
    books: Mutex<BTreeMap<u32, Vec<u8>>>,
    /// Orders under way: workers that have not carried it out, and who waits for it.
    orders: Mutex<BTreeMap<u64, (Late, oneshot::Sender<Late>)>>,
    /// Seconds for which each has been silent.
    silent: Mutex<BTreeMap<u32, u32>>,
    state: watch::Sender<WorkerState>,
    questions: mpsc::UnboundedSender<Question>,
}

/// How the workers stand.
#[derive(Clone, Debug, Default)]
pub(super) struct WorkerState {
    /// Those that said hello.
    pub(super) here: BTreeSet<u32>,
    /// Those that understood their job.
    pub(super) ready: BTreeSet<u32>,
    /// Those whose results are written.
    pub(super) finished: BTreeSet<u32>,
    /// Those that will not finish, and why.
    pub(super) lost: BTreeMap<u32, String>,
    /// Those whose line has ended.
    silenced: BTreeSet<u32>,
    /// The first of those that are lost.
    first_lost: Option<u32>,
    /// Numbers of each.
    live: BTreeMap<u32, Snapshot>,
}

impl WorkerState {
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
    /// Starts one by a guard, that of all of them, with a link. What it prints goes to `output`.
    ///
    /// # Errors
    /// No link or process for it.
    pub(super) async fn start_one(
        self: &Arc<Self>,
        guard: &Guard,
        worker: u32,
        program: &Path,
        output: &Path,
    ) -> Result<(), command::Error> {
        let argv = vec![program.display().to_string(), "__worker".to_owned()];
        let spec = Spec { argv, env: BTreeMap::new(), workdir: None, output: output.to_path_buf() };
        let (ours, theirs) = ipc::pair().map_err(command::Error::Launch)?;
        guard.start_with(u16::try_from(worker).unwrap_or(u16::MAX), spec, Some(theirs)).await?;
        tokio::spawn(self.clone().follow(worker, ours));
        Ok(())
    }

    /// None of which anything is known yet, and what they ask goes to `questions`. Their processes end with `guard`.
    pub(super) fn of(members: u32, guard: Option<Guard>, questions: mpsc::UnboundedSender<Question>) -> Arc<Workers> {
        Arc::new(Workers {
            guard,
            members,
            links: Mutex::default(),
            books: Mutex::default(),
            orders: Mutex::default(),
            silent: Mutex::default(),
            state: watch::Sender::default(),
            questions,
        })
    }

    /// Tells one worker something; one that cannot be told is lost.
    pub(super) fn tell(&self, worker: u32, message: &ToWorker) {
        let said = lock(&self.links).get(&worker).map(|link| link.send(message));
        self.lose_by(worker, said);
    }

    /// Tells one worker of a server process, and hands it the end of the link to that.
    pub(super) fn hand(&self, worker: u32, (instance, process): Member, link: LinkEnd) {
        let said = lock(&self.links).get(&worker).map(|to| to.send_with(&ToWorker::Server { instance, process }, link));
        self.lose_by(worker, said);
    }

    fn lose_by(&self, worker: u32, said: Option<Result<(), ipc::LinkError>>) {
        if let Some(Err(error)) = said {
            self.lose(worker, error.to_string());
        }
    }

    /// Takes the results that one has told.
    pub(super) fn take_books(&self, worker: u32) -> Vec<u8> {
        lock(&self.books).remove(&worker).unwrap_or_default()
    }

    /// Tells all workers something.
    pub(super) fn tell_all(&self, message: &ToWorker) {
        (0..self.members).for_each(|worker| self.tell(worker, message));
    }

    /// How they stand now.
    pub(super) fn state(&self) -> WorkerState {
        self.state.borrow().clone()
    }

    /// Waits until a set has all workers, or one is lost. Whether none is.
    pub(super) async fn all(&self, in_set: impl Fn(&WorkerState) -> &BTreeSet<u32>) -> Result<(), (u32, String)> {
        let mut state = self.state.subscribe();
        let over = |state: &WorkerState| !state.lost.is_empty() || in_set(state).len() == self.members as usize;
        match state.wait_for(over).await {
            Ok(state) => state.first_lost().map_or(Ok(()), Err),
            Err(_) => Err((0, "the coordinator no longer reads from the workers".to_owned())),
        }
    }

    /// Waits until each worker has finished or is gone.
    pub(super) async fn over(&self) {
        let over =
            |state: &WorkerState| (0..self.members).all(|worker| state.finished.contains(&worker) || state.lost.contains_key(&worker));
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

    /// Resolves when one has said nothing for so many seconds, which is then lost with all others that have not. To be waited for while the
    /// run goes on and results are written.
    pub(super) async fn fallen_silent(&self, patience: u32) {
        let mut second = interval(Duration::from_secs(1));
        // Seconds that this process saw: one that stood still itself does not blame the workers for it.
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            second.tick().await;
            let WorkerState { finished, lost, .. } = self.state();
            let under_way = (0..self.members).filter(|worker| !finished.contains(worker) && !lost.contains_key(worker));
            let silent = under_way.filter(|worker| {
                let mut silent = lock(&self.silent);
                let seconds = silent.entry(*worker).or_default();
                *seconds += 1;
                *seconds > patience
            });
            let silent: Vec<_> = silent.collect();
            silent.iter().for_each(|worker| self.lose(*worker, format!("it sent nothing for {patience} s")));
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
        if let Some(guard) = &self.guard {
            let _ = guard.shutdown().await;
        }
    }

    async fn follow(self: Arc<Self>, worker: u32, link: LinkEnd) {
        let why = match self.listen(worker, link).await {
            Ok(()) => "the process or its connection to closestorm ended".to_owned(),
            Err(error) => error.to_string(),
        };
        self.ended(worker, why).await;
    }

    /// The link to a worker has ended.
    pub(super) async fn ended(&self, worker: u32, why: String) {
        lock(&self.links).remove(&worker);
        self.state.send_modify(|state| _ = state.silenced.insert(worker));
        sleep(EXIT_TRAILS).await;
        self.lose(worker, why);
    }

    /// A worker has said hello.
    pub(super) fn greet(&self, worker: u32, say: ipc::Sender<ToWorker>) {
        lock(&self.links).insert(worker, say);
        self.state.send_modify(|state| _ = state.here.insert(worker));
    }

    /// Hears a worker to its end.
    async fn listen(self: &Arc<Self>, worker: u32, link: LinkEnd) -> Result<(), ipc::LinkError> {
        let (say, mut told, _) = ipc::open(link, PROTOCOL)?;
        told.hello().await?;
        self.greet(worker, say);
        while let Some(message) = told.next().await? {
            self.hear(worker, message);
        }
        Ok(())
    }

    /// Takes what a worker says.
    pub(super) fn hear(self: &Arc<Self>, worker: u32, message: FromWorker) {
        lock(&self.silent).remove(&worker);
        match message {
            FromWorker::Writing => {}
            FromWorker::Books { part } => match STANDARD.decode(part) {
                Ok(part) => lock(&self.books).entry(worker).or_default().extend(part),
                Err(error) => self.lose(worker, format!("its results cannot be read: {error}")),
            },
            FromWorker::Ready => self.state.send_modify(|state| _ = state.ready.insert(worker)),
            FromWorker::Failed { why } => self.lose(worker, why),
            FromWorker::Live { live } => self.state.send_modify(|state| _ = state.live.insert(worker, live)),
            FromWorker::Finished { sum } => {
                let told = lock(&self.books).get(&worker).map_or(0, |books| crc32fast::hash(books));
                if told == sum {
                    // What was lost stays lost, whatever it says later.
                    self.state.send_if_modified(|state| !state.lost.contains_key(&worker) && state.finished.insert(worker));
                } else {
                    self.lose(worker, "its books did not come whole".to_owned());
                }
            }
            FromWorker::Ask { ticket, firing, ask } => {
                let (answer, answered) = oneshot::channel();
                let _ = self.questions.send(Question { worker, firing, ask, answer });
                let asked = self.clone();
                // Not all are answered in the order in which they were asked.
                tokio::spawn(async move {
                    if let Ok(hits) = answered.await {
                        asked.tell(worker, &ToWorker::Answer { ticket, hits });
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

    /// Takes the exits of all workers, and that of their guard, until that is gone.
    pub(super) async fn watch_exits(self: Arc<Self>, guard: Guard) {
        let (mut exits, guarded) = (guard.exits(), self.clone());
        tokio::spawn(async move {
            guard.gone().await;
            // After a run nobody is left to be lost.
            (0..guarded.members)
                .for_each(|worker| guarded.lose(worker, "the process that starts and stops the workers was killed".to_owned()));
        });
        while let Ok(exit) = exits.recv().await {
            let (worker, workers) = (u32::from(exit.slot), self.clone());
            tokio::spawn(async move {
                let mut state = workers.state.subscribe();
                let _ = timeout(LINE_TRAILS, state.wait_for(|state| state.silenced.contains(&worker))).await;
                workers.lose(worker, format!("process {}: {}", exit.pid, exit.how));
            });
        }
    }
}
