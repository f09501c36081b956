//! A plan on real sockets: starts the target, lets the clients arrive, fires the faults, ends the measurement in time.
//!
//! One thread does all of it; servers are processes of their own. It knows nothing of files, charts and verdicts.

pub(crate) mod echo_client;
pub mod faults;
pub(crate) mod in_memory;
pub mod open;
pub(crate) mod real;

use crate::dialogue::ClientMemory;
use crate::event::{ClientIndex, Event};
use crate::load::attempt;
use crate::load::before;
use crate::load::client;
use crate::load::context::RunContext;
use crate::load::fd_limit;
use crate::load::hits::Hits;
pub(crate) use crate::load::hits::Question;
use crate::load::rate_cap::RateCap;
use crate::load::source_address::Sources;
use crate::load::who_is_hit;
use crate::metrics::{Recorder, Results, Status};
use crate::panics;
use crate::plan::{Before, Cohort, Plan, Shard};
use crate::reconnect::NextAddress;
use crate::recorder::SharedRecorder;
pub use crate::run::echo_client::{Echoed, echo};
use crate::run::faults::ByHand;
pub use crate::run::in_memory::run_in_memory;
use crate::secret::Secrets;
use crate::server::protocol::{FromServer, ToServer};
use crate::snapshots::Publisher;
pub(crate) use crate::sut::Routes;
pub(crate) use crate::sut::command::guarded::unless;
pub use crate::sut::command::open_files::raise_files;
use crate::sut::control_links;
pub(crate) use crate::sut::control_links::ToWorkers;
use crate::sut::control_links::{Reports, TOLD_WITHIN, Untold};
use crate::sut::endpoint::Endpoint;
pub use crate::sut::error::RunError;
use crate::sut::target_events;
pub(crate) use crate::sut::target_events::TargetEvents;
pub use crate::sut::this_program;
use crate::sut::{Fleet, TargetSetting};
use crate::transport::clock::{Clock, monotonic_ns};
use crate::ws::session::mailbox::SessionCommand;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep_until};

/// In which a target that is not embedded must answer one opening handshake before the run.
const PROBE_WITHIN: Duration = Duration::from_secs(10);
/// Between two snapshots.
const SNAPSHOT_EVERY: Duration = Duration::from_millis(200);
/// How long servers may need to see the end of what ended with the run; it is dated, so what happened later does not count.
const SETTLE: Duration = Duration::from_millis(50);

/// Where a run finds its program and leaves its target's output.
#[derive(Clone, Debug)]
pub struct Places {
    /// This program; see [`this_program`]. `None`: there is none, and all of the run is in this process.
    pub program: Option<PathBuf>,
    /// File for what the target prints.
    pub output: PathBuf,
    /// For this long a target that is not embedded answers opening handshakes, one after another, before offset 0: a program that compiles
    /// itself as it runs is then no longer cold. Nothing of it is measured.
    pub warm_up: Duration,
    /// What fires faults beside their schedule.
    pub by_hand: ByHand,
}

impl Places {
    /// The program, of a run that needs it.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn program(&self) -> Result<&Path, RunError> {
        self.program.as_deref().ok_or_else(|| RunError::NeedsProcesses { what: "more than one worker".to_owned() })
    }
}

/// A target that has been started, with the clients elsewhere.
pub(crate) struct StartedTarget {
    fleet: Arc<Fleet>,
    reports: Reports,
    crew: TargetEvents,
    /// Opening handshakes that it was asked for.
    uncounted: u64,
    /// Dates what its processes report.
    clock: Clock,
}

/// When a run begins.
#[derive(Clone, Copy, Debug)]
pub enum RunStart {
    /// As soon as the target is ready.
    Ready,
    /// At this reading of raw CLOCK_MONOTONIC, in ns, or as soon as the target is ready, if that is later.
    At(u64),
}

impl RunStart {
    /// Offset 0 of a run that is ready at `ready_ns`.
    pub(crate) fn not_before(self, ready_ns: u64) -> u64 {
        match self {
            RunStart::Ready => ready_ns,
            RunStart::At(at) => at.max(ready_ns),
        }
    }
}

/// Runs a plan, or one shard of it, to its end, or until `stop` resolves: then the results so far are marked aborted. Readers of
/// `snapshots` get its state several times a second.
///
/// # Errors
/// If it could not begin; what begins is always measured to some end.
pub async fn run(
    plan: Arc<Plan>,
    shard: Shard,
    start: RunStart,
    places: &Places,
    stop: impl Future<Output = ()>,
    mut snapshots: Publisher,
) -> Result<Results, RunError> {
    fd_limit::check(&plan, shard)?;
    tokio::pin!(stop);
    let crew = TargetEvents::default();
    let led = {
        let give_up = pin!(stopped(stop.as_mut()));
        Box::pin(lead(&plan, places, ToWorkers::default(), crew.clone(), give_up)).await?
    };
    let arrivals = arrivals(&plan, shard);
    let recorder = Recorder::new(&plan, shard);
    let journal = led.journal(&plan, recorder, start.not_before(monotonic_ns()));
    let results = match RunContext::new(plan.clone(), Some(shard), Hits::new(&plan, shard), journal, led.fleet.clone(), crew) {
        Ok(shared) => measure(&shared, arrivals, led.reports, stop, (&mut publish(&shared, &mut snapshots), &places.by_hand)).await,
        Err(error) => Err(error),
    };
    led.fleet.shut_down().await;
    results.map(|results| with_uncounted(results, led.uncounted))
}

/// Resolves when a start is given up because the user has stopped the run.
pub(crate) async fn stopped(stop: impl Future<Output = ()>) -> RunError {
    stop.await;
    RunError::Stopped
}

/// What the tool did to the target besides, for the reader to know.
fn with_uncounted(mut results: Results, openings: u64) -> Results {
    results.usage.uncounted_openings += openings;
    results
}

/// One opening handshake, with what stands before it.
///
/// # Errors
/// What is wrong, in words.
async fn first_handshake(place: &Endpoint, plan: &Plan, cohort: &Cohort, mut memory: Option<&mut ClientMemory>) -> Result<(), String> {
    let before = match memory.as_deref_mut() {
        Some(memory) => before::probe(plan, cohort, place, memory).await,
        None => Ok(()),
    };
    let asked = match before {
        Ok(()) => attempt::probe((place, plan.target.follows_redirects()), cohort, memory.as_deref(), PROBE_WITHIN).await,
        wrong => wrong,
    };
    asked.map_err(|why| {
        let mut secrets = Secrets::default();
        memory.iter().for_each(|memory| memory.add_secrets(cohort.named_data().1, &mut secrets));
        secrets.hide_cut(&why)
    })
}

/// Starts the target of a plan whose clients are with workers: those get their links to its servers by `workers`, and hear of it through
/// `crew`.
///
/// # Errors
/// If it cannot be started, cannot be reached from the addresses that the plan gives, or, where it is not embedded, does not answer an
/// opening handshake; or what `give_up` resolves with, which may be at any moment. None of its processes is left then.
pub(crate) async fn lead(
    plan: &Plan,
    places: &Places,
    workers: ToWorkers,
    crew: TargetEvents,
    mut give_up: Pin<&mut impl Future<Output = RunError>>,
) -> Result<StartedTarget, RunError> {
    let (program, output) = (places.program.clone(), places.output.clone());
    let setting = TargetSetting { plan, program, output, workers, crew: crew.clone(), real: None };
    let (fleet, reports) = Fleet::start(setting, give_up.as_mut()).await?;
    match unless(give_up, get_ready(plan, places, &fleet)).await {
        Ok(uncounted) => Ok(StartedTarget { fleet: Arc::new(fleet), reports, crew, uncounted, clock: Clock::Machine }),
        Err(error) => {
            fleet.shut_down().await;
            Err(error)
        }
    }
}

/// Asks a target that has been started whether it can be used, and warms it up: how many opening handshakes that took.
async fn get_ready(plan: &Plan, places: &Places, fleet: &Fleet) -> Result<u64, RunError> {
    let Before { probe, warm_up } = plan.target.before();
    let place = fleet.place(0);
    let too_much = if plan.limits.elsewhere && !fleet.is_here() { plan.too_much_elsewhere() } else { Vec::new() };
    if !too_much.is_empty() {
        return Err(RunError::TooMuch { url: place.url.to_string(), too_much });
    }
    let cap = RateCap::of(&plan.limits.caps(fleet.is_here()), Shard::WHOLE, |_| ());
    let cohort = &plan.cohorts[0];
    let mut memory = cohort.memory(plan.seed, ClientIndex(cohort.first));
    if probe && let Err(cause) = first_handshake(place, plan, cohort, memory.as_deref_mut()).await {
        return Err(RunError::Unready { url: place.url.to_string(), cause });
    }
    let warmed = if warm_up && cohort.script.as_ref().is_none_or(|script| script.before.is_empty()) {
        // What a login gave out may be good for one connection only.
        attempt::warm_up((place, plan.target.follows_redirects()), cohort, memory.as_deref(), places.warm_up, &cap).await
    } else {
        0
    };
    Sources::of(plan, place.address)?;
    // What follows counts from nothing.
    tokio::time::sleep(cap.rest().await).await;
    Ok(u64::from(probe) + warmed)
}

impl StartedTarget {
    /// One whose processes tests play.
    #[cfg(test)]
    pub(crate) fn played(fleet: Fleet, reports: Reports, crew: TargetEvents, clock: Clock) -> StartedTarget {
        StartedTarget { fleet: Arc::new(fleet), reports, crew, uncounted: 0, clock }
    }

    /// What dates what its processes report.
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// What workers must know to use it.
    pub(crate) fn routes(&self) -> Routes {
        self.fleet.routes()
    }

    /// Opens the recorder of a run whose offset 0 is `epoch_ns`, which is told what is to be known of the target.
    fn journal(&self, plan: &Plan, recorder: Recorder, epoch_ns: u64) -> Arc<SharedRecorder> {
        let journal = SharedRecorder::open(recorder, plan.duration, self.clock, epoch_ns);
        let libraries = plan.cohorts.iter().any(|cohort| cohort.reconnect.next_address != NextAddress::Never);
        if let Some(text) = self.fleet.place(0).notice(libraries) {
            journal.record(&Event::Notice { text });
        }
        Arc::new(journal)
    }

    /// Carries out what happens to the target from `epoch_ns` on, while workers have the clients of `shard`, and answers their `questions`;
    /// `progress` is called several times a second with the offset. As [`run`] otherwise.
    ///
    /// # Errors
    /// If it could not begin.
    pub(crate) async fn run(
        self,
        plan: Arc<Plan>,
        (shard, workers, questions): (Shard, u32, mpsc::UnboundedReceiver<Question>),
        epoch_ns: u64,
        stop: impl Future<Output = ()>,
        mut progress: impl FnMut(Duration),
    ) -> Result<Results, RunError> {
        let journal = self.journal(&plan, Recorder::new(&plan, Shard::WHOLE), epoch_ns);
        let shared = RunContext::new(plan.clone(), None, Hits::new(&plan, shard), journal, self.fleet.clone(), self.crew)?;
        let answering = tokio::spawn(who_is_hit::answer(shared.clone(), workers, questions));
        let results = measure(&shared, Vec::new(), self.reports, stop, (&mut progress, &ByHand::default())).await;
        answering.abort();
        results.map(|results| with_uncounted(results, self.uncounted))
    }

    /// What can end the target when the run is over.
    pub(crate) fn handle(&self) -> TargetHandle {
        TargetHandle(self.fleet.clone())
    }
}

/// What can end a target.
pub(crate) struct TargetHandle(Arc<Fleet>);

impl TargetHandle {
    /// Ends all its processes and waits for them.
    pub(crate) async fn shut_down(&self) {
        self.0.shut_down().await;
    }
}

/// The clients of one shard, against a target that another process leads.
pub(crate) struct WorkerRun {
    plan: Arc<Plan>,
    /// Which of the workers, from 0.
    worker: u32,
    shard: Shard,
    lines: Arc<control_links::ControlLinks>,
    reports: Reports,
}

impl WorkerRun {
    /// Gets ready.
    ///
    /// # Errors
    /// Too many clients for this process.
    pub(crate) fn new(plan: Arc<Plan>, (worker, shard): (u32, Shard)) -> Result<WorkerRun, RunError> {
        fd_limit::check(&plan, shard)?;
        let (lines, reports) = control_links::ControlLinks::new();
        Ok(WorkerRun { plan, worker, shard, lines, reports })
    }

    /// Where links to server processes are taken up.
    pub(crate) fn lines(&self) -> Arc<control_links::ControlLinks> {
        self.lines.clone()
    }

    /// Runs the clients from `epoch_ns` on, while `orders` say what happens to the target, and whoever takes `questions` has the budget of
    /// hits. As [`run`] otherwise.
    ///
    /// # Errors
    /// If the routes are of no use.
    pub(crate) async fn run(
        self,
        routes: &Routes,
        epoch_ns: u64,
        (mut orders, questions): (mpsc::UnboundedReceiver<target_events::Sent>, mpsc::UnboundedSender<Question>),
        stop: impl Future<Output = ()>,
        mut snapshots: Publisher,
    ) -> Result<Results, RunError> {
        let fleet = Arc::new(Fleet::attach(&self.plan, self.shard, routes, self.lines)?);
        let arrivals = arrivals(&self.plan, self.shard);
        let recorder = Recorder::new(&self.plan, self.shard);
        let journal = Arc::new(SharedRecorder::open(recorder, self.plan.duration, Clock::Machine, epoch_ns));
        let hits = Hits::of_another(&self.plan, self.worker, questions);
        let mut shared = RunContext::new(self.plan, Some(self.shard), hits, journal, fleet, TargetEvents::default())?;
        if let Some(shared) = Arc::get_mut(&mut shared) {
            shared.follows = true;
        }
        let obeying = shared.clone();
        let obey = tokio::spawn(async move {
            while let Some((order, done)) = orders.recv().await {
                faults::obey(&obeying, &order);
                let _ = done.send(target_events::Late::new());
            }
        });
        let nobody = ByHand::default();
        let results = measure(&shared, arrivals, self.reports, stop, (&mut publish(&shared, &mut snapshots), &nobody)).await;
        obey.abort();
        results
    }
}

/// Publishes how the clients of this process stand, whenever it is called.
fn publish(shared: &RunContext, snapshots: &mut Publisher) -> impl FnMut(Duration) {
    |at| snapshots.publish(at, || shared.journal.snapshot())
}

/// The run itself, between the start of the target and its end.
async fn measure(
    shared: &Arc<RunContext>,
    arrivals: Vec<(Duration, ClientIndex)>,
    reports: Reports,
    stop: impl Future<Output = ()>,
    (progress, by_hand): (&mut impl FnMut(Duration), &ByHand),
) -> Result<Results, RunError> {
    let journal = shared.journal.clone();
    shared.fleet.watch(journal.clone());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(follow_reports(shared.clone(), reports));
    if !shared.leads {
        tasks.spawn(pace(shared.clone()));
    }
    tasks.spawn(arrive(shared.clone(), arrivals));
    for index in 0..u16::try_from(shared.plan.faults.len()).unwrap_or(u16::MAX) {
        tasks.spawn(faults::run(shared.clone(), index, by_hand.orders()));
    }
    let status = watch(&journal, shared.plan.duration, stop, progress).await;
    let (end, under_way) = (journal.end(), shared.registry.under_way(&journal));
    settle(shared.fleet.lines(), &journal, status).await;
    shared.tell_what_is_left(status);
    let mut results = journal.close(status, end, under_way);
    while let Some(ended) = tasks.try_join_next() {
        note_panic(&ended);
    }
    if panics::happened() {
        results.iter_mut().for_each(|results| results.cannot_rely(panics::BUG));
    }
    tasks.abort_all();
    results.ok_or_else(|| RunError::Io(io::Error::other("the measurement was ended twice; this is a bug in closestorm, please report it")))
}

/// Waits, after a run, for what servers have told of it and is still under way.
pub(crate) async fn settle(lines: &control_links::ControlLinks, journal: &SharedRecorder, status: Status) {
    // Of a run that was stopped nobody takes the figures for whole, and what happens from now on is not of it.
    if status != Status::Completed {
        return;
    }
    tokio::time::sleep(SETTLE).await;
    let Untold { processes, is_waiting } = lines.all_told(TOLD_WITHIN).await;
    let within = TOLD_WITHIN.as_secs();
    let silent = processes.into_iter().map(|(instance, process)| {
        format!(
            "process {process} of server {instance} did not say within {within} s that it had told all endings: some may not be recorded"
        )
    });
    let waiting = is_waiting.then(|| format!("what servers had told was not taken within {within} s: some endings may not be recorded"));
    for text in silent.chain(waiting) {
        journal.record_at(journal.end().saturating_sub(Duration::from_nanos(1)), &Event::Notice { text });
    }
}

/// Reports progress until the end of the run or `stop`.
async fn watch(
    journal: &SharedRecorder,
    duration: Duration,
    stop: impl Future<Output = ()>,
    progress: &mut impl FnMut(Duration),
) -> Status {
    let mut tick = interval(SNAPSHOT_EVERY);
    let end = sleep_until(journal.instant(duration));
    tokio::pin!(end, stop);
    loop {
        tokio::select! {
            // A stop that comes with the end is still a stop.
            biased;
            () = &mut stop => return Status::Aborted,
            () = &mut end => return Status::Completed,
            _ = tick.tick() => progress(journal.now()),
        }
    }
}

/// Due offset of the arrival of each client of a shard that comes before the end, sorted. All are drawn, so that each has its own whatever the
/// shard.
fn arrivals(plan: &Plan, shard: Shard) -> Vec<(Duration, ClientIndex)> {
    let mut all = Vec::with_capacity(shard.count(plan.clients()) as usize);
    for cohort in &plan.cohorts {
        let due = cohort.dues(plan.seed).zip((cohort.first..).map(ClientIndex));
        all.extend(due.filter(|(due, client)| *due < plan.duration && shard.owns(client.0)));
    }
    all.sort_unstable();
    all
}

fn note_panic(ended: &Result<(), tokio::task::JoinError>) {
    if ended.as_ref().is_err_and(tokio::task::JoinError::is_panic) {
        panics::note();
    }
}

/// Lets the clients arrive.
async fn arrive(shared: Arc<RunContext>, arrivals: Vec<(Duration, ClientIndex)>) {
    let mut clients = tokio::task::JoinSet::new();
    let epoch = shared.journal.instant(Duration::ZERO);
    if epoch > Instant::now() {
        sleep_until(epoch).await;
    }
    for (place, (due, client)) in arrivals.into_iter().enumerate() {
        if due > shared.journal.now() {
            sleep_until(shared.journal.instant(due)).await;
        }
        clients.spawn(client::live(shared.clone(), client, due));
        // Many may be due at once: let those who came first begin.
        if place.is_multiple_of(64) {
            tokio::task::yield_now().await;
        }
    }
    while let Some(ended) = clients.join_next().await {
        note_panic(&ended);
    }
}

/// Hands out messages as they fall due, as fast as the user allows.
async fn pace(shared: Arc<RunContext>) {
    let journal = shared.journal.clone();
    let end = shared.plan.duration;
    let hand = |client, due| {
        shared.may_send(client)?;
        shared.registry.slot(client).control.send(SessionCommand::Due(due));
        Ok(())
    };
    if shared.fleet.is_in_memory() {
        return shared.pacer.clone().run_by_timers(hand, move || journal.now(), end).await;
    }
    if let Err(error) = shared.pacer.clone().run(hand, move || journal.now(), end).await {
        shared.journal.notice(format!("cannot send messages: {error}"));
    }
}

/// Makes events of what the embedded servers report.
async fn follow_reports(shared: Arc<RunContext>, mut reports: Reports) {
    let journal = shared.journal.clone();
    let mut real = real::RealCount::default();
    let mut reached = BTreeSet::new();
    while let Some(line) = reports.next().await {
        match line {
            came @ FromServer::Came { .. } => real.came(&shared, came),
            FromServer::Opened { .. } | FromServer::NotOpened { .. } => real::told(&shared, line),
            FromServer::Ended { .. } if shared.real => real::told(&shared, line),
            FromServer::Injected { fault, id: Some(id), at_ns, dead_by } => {
                // No path of a real client is in our hands.
                if !dead_by.is_empty() && !shared.real {
                    shared.path_died(id, dead_by);
                }
                journal.record_at(journal.offset(at_ns), &Event::Injected { fault, client: id.client, connection: id.connection });
            }
            // Once: an instance that starts again while the fault stands is still the same.
            FromServer::Reached { firing, instance, at_ns } if reached.insert((firing, instance)) => {
                journal.record_at(journal.offset(at_ns), &Event::Reached { fault: firing.fault });
            }
            FromServer::Ask { instance, process, firing, ticket } => {
                let granted = shared.hits.take_one(firing).await;
                shared.fleet.answer((instance, process), ToServer::Answer { ticket, granted });
            }
            other => record(&journal, other),
        }
    }
}

/// Makes an event of what an embedded server reports, where that takes nothing but the report.
pub(crate) fn record(journal: &SharedRecorder, report: FromServer) {
    match report {
        FromServer::Ended { id: Some(id), ending, at_ns } => {
            journal.record_at(journal.offset(at_ns), &Event::ServerEnded { client: id.client, connection: id.connection, ending });
        }
        FromServer::LocalLimit { what } => journal.record(&Event::LocalLimit { what }),
        FromServer::Panicked => journal.record(&Event::LoadLimit { what: panics::BUG.to_owned() }),
        FromServer::Incomplete { why } => journal.record(&Event::NotCarriedOut { fault: None, firing: 0, why }),
        FromServer::Notice { text } => journal.notice(text),
        _ => {}
    }
}

/// The file of the target's output in a run folder.
pub fn output_file(folder: &Path) -> PathBuf {
    folder.join("target.log")
}
#[cfg(test)]
mod tests {
    use super::*;

    /// Size of the future that `make` would make; it is not made.
    fn size<F>(_: impl FnOnce(Arc<RunContext>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_client_costs_a_task_and_little_else() {
        // An open connection has its own state beside it, and no buffers while nothing is under way.
        let task = size(|shared| client::live(shared, ClientIndex(0), Duration::ZERO));
        assert!(task <= 832, "{task}");
        // Timers of the runtime with several threads, which only tests have, take 8 bytes more.
        assert!(size_of::<crate::ws::connection::Connection>() <= 304, "{}", size_of::<crate::ws::connection::Connection>());
        assert!(size_of::<crate::load::registry::ClientSlot>() <= 136);
    }
}
