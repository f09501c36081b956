//! A run whose clients are in worker processes: gets them and the target ready, begins at one moment, adds up the results.

use crate::cluster::message::ToWorker;
use crate::cluster::workers::{WorkerState, Workers};
use crate::load::hits::Question;
use crate::metrics::meta::RunMeta;
use crate::metrics::{Results, shard as books};
use crate::number::{noun_of, word_of};
use crate::plan::{Plan, Shard};
use crate::run as engine;
use crate::run::{Places, RunStart, StartedTarget, ToWorkers, unless};
use crate::snapshots::Publisher;
use crate::sut::command;
use crate::sut::command::guarded::guarded;
use crate::sut::command::handle::Guard;
use crate::sut::error::RunError;
use crate::sut::target_events::{Sent, TargetEvents};
use crate::transport::clock::Moment;
use crate::ws::memory;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// In which all workers must be there and understand their job.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Between the word to begin and offset 0: workers draw their arrivals and make their results meanwhile.
const LEAD: Duration = Duration::from_millis(500);
/// A worker that has said nothing for so many seconds of the run is lost: each tells its numbers several times a second.
const SILENCE: u32 = 10;
/// The same once the user has stopped the run, who waits for it.
const SILENCE_AFTER_STOP: u32 = 2;
/// In which the results of all workers must be told once the run is over.
const BOOKS_WITHIN: Duration = Duration::from_secs(60);

/// Why a run with workers could not begin, or has no results.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// As without workers.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The processes of the workers.
    #[error("cannot start workers: {0}")]
    Start(#[source] command::Error),
    /// One that ended, or did not understand its job.
    #[error("{worker} did not get ready: {why}")]
    Unready {
        /// Which, as `worker 2 of 4`.
        worker: String,
        /// Why.
        why: String,
    },
}

/// Runs a plan, or one shard of it, with `workers` worker processes; otherwise as [`run`](crate::run::run()). Their files are in `folder`.
///
/// A worker that is lost ends the run, and [`Results::lost`] names it.
///
/// # Errors
/// If it could not begin.
pub async fn run(
    plan: Arc<Plan>,
    (shard, workers): (Shard, u32),
    start: RunStart,
    (places, folder): (&Places, &Path),
    stop: impl Future<Output = ()>,
    snapshots: Publisher,
) -> Result<Results, ClusterError> {
    tokio::pin!(stop);
    let ((crew, orders), (asking, questions)) = (TargetEvents::new(), mpsc::unbounded_channel());
    let members = {
        let mut give_up = pin!(engine::stopped(stop.as_mut()));
        let program = places.program()?;
        let launching = async { Guard::launch_from(program).await.map_err(ClusterError::Start) };
        let guard = unless(give_up.as_mut(), launching).await?;
        let output = folder.join("workers.log");
        Box::pin(start_workers(&guard, &plan, (shard, workers), (program, &output), asking, give_up)).await?
    };
    let mut lost = None;
    let led = {
        let give_up = pin!(given_up(&members, stop.as_mut(), &mut lost));
        Box::pin(engine::lead(&plan, places, links_to(&members, workers), crew, give_up)).await
    };
    let led = with_target(&members, workers, led, lost).await?;
    conduct(plan, (shard, workers), start, (members, led), (orders, questions), folder, stop, snapshots).await
}

/// How server processes get their links to these workers.
pub(super) fn links_to(members: &Arc<Workers>, count: u32) -> ToWorkers {
    let handing = members.clone();
    ToWorkers { count, hand: Some(Arc::new(move |worker, server, link| handing.hand(worker, server, link))) }
}

/// Resolves when the start of the target is given up: because the user has stopped the run, or since a worker is lost, which is noted.
pub(super) async fn given_up(members: &Workers, stop: impl Future<Output = ()>, lost: &mut Option<(u32, String)>) -> RunError {
    tokio::select! {
        biased;
        () = stop => {}
        // A lost worker is known here before the target is.
        first = members.first_lost() => *lost = Some(first),
    }
    RunError::Stopped
}

/// The target of workers that are ready, or the end of them if there is none.
///
/// # Errors
/// Why there is none: a worker was lost, or those of its start.
pub(super) async fn with_target<T>(
    members: &Workers,
    workers: u32,
    started: Result<T, RunError>,
    lost: Option<(u32, String)>,
) -> Result<T, ClusterError> {
    if started.is_err() {
        members.shut_down().await;
    }
    started.map_err(|error| lost.map_or_else(|| error.into(), |lost| unready(lost, workers)))
}

/// A run whose workers and target are ready, to its end.
///
/// # Errors
/// It could not begin.
#[expect(clippy::too_many_arguments, reason = "a run has as many parts")]
pub(super) async fn conduct(
    plan: Arc<Plan>,
    (shard, workers): (Shard, u32),
    start: RunStart,
    (members, led): (Arc<Workers>, StartedTarget),
    (orders, questions): (mpsc::UnboundedReceiver<Sent>, mpsc::UnboundedReceiver<Question>),
    folder: &Path,
    stop: impl Future<Output = ()>,
    mut snapshots: Publisher,
) -> Result<Results, ClusterError> {
    tokio::pin!(stop);
    let clock = led.clock();
    let epoch_ns = start.not_before(clock.now_ns() + LEAD.as_nanos() as u64);
    members.tell_all(&ToWorker::Go { routes: led.routes(), epoch: Moment::at(epoch_ns) });
    let forwarding = tokio::spawn(members.clone().forward(orders));
    let stopped = AtomicBool::new(false);
    let ending = async {
        let until_epoch = Duration::from_nanos(epoch_ns.saturating_sub(clock.now_ns()));
        tokio::select! {
            // Each ends the run; a lost worker is found again in the state.
            biased;
            () = &mut stop => stopped.store(true, Ordering::Relaxed),
            () = one_is_lost(&members, until_epoch) => {}
        }
        members.tell_all(&ToWorker::Stop);
    };
    let (target, watched) = (led.handle(), members.clone());
    let led = led
        .run(plan.clone(), (shard, workers, questions), epoch_ns, ending, |at| snapshots.publish(at, || watched.state().snapshot()))
        .await;
    // The servers stay until all measurements have ended: their end is in none.
    all_written(&members, workers, &stopped).await;
    forwarding.abort();
    target.shut_down().await;
    members.shut_down().await;
    let sum = add_up(led?, &members, (shard, workers), &plan);
    let output = folder.join("workers.log");
    if output.metadata().is_ok_and(|file| file.len() == 0) {
        let _ = std::fs::remove_file(output);
    }
    Ok(sum)
}

/// Resolves when a worker is lost, or says nothing during the run, which begins so much later.
pub(super) async fn one_is_lost(members: &Workers, begins_in: Duration) {
    let silence = async {
        sleep(begins_in).await;
        members.fallen_silent(SILENCE).await;
    };
    tokio::select! {
        () = members.lost() => {}
        () = silence => {}
    }
}

/// Waits until each worker has told its results or is lost, as is one that does neither in time. `stopped`: by the user.
pub(super) async fn all_written(members: &Workers, workers: u32, stopped: &AtomicBool) {
    let silence = async {
        loop {
            let patience = if stopped.load(Ordering::Relaxed) { SILENCE_AFTER_STOP } else { SILENCE };
            members.fallen_silent(patience).await;
        }
    };
    let written = async {
        tokio::select! {
            () = members.over() => {}
            () = silence => {}
        }
    };
    if timeout(BOOKS_WITHIN, written).await.is_err() {
        // Those that have finished are not lost.
        (0..workers)
            .for_each(|worker| members.lose(worker, format!("it sent no results within {} s after the end", BOOKS_WITHIN.as_secs())));
    }
}

/// Starts the workers by a guard, and gives each its job; they are ready when this returns, or all are ended.
///
/// # Errors
/// They cannot be started, or one does not get ready; or what `give_up` resolves with.
pub(super) async fn start_workers(
    guard: &Guard,
    plan: &Plan,
    (shard, count): (Shard, u32),
    (program, output): (&Path, &Path),
    questions: mpsc::UnboundedSender<Question>,
    give_up: Pin<&mut impl Future<Output = RunError>>,
) -> Result<Arc<Workers>, ClusterError> {
    let members = Workers::of(count, Some(guard.clone()), questions);
    tokio::spawn(members.clone().watch_exits(guard.clone()));
    let starting = async {
        for worker in 0..count {
            members.start_one(guard, worker, program, output).await.map_err(ClusterError::Start)?;
        }
        get_ready(&members, plan, (shard, count), output).await
    };
    guarded(guard, unless(give_up, starting)).await?;
    Ok(members)
}

/// Gives each worker its job, and waits until all understand it; otherwise all are ended.
async fn get_ready(members: &Workers, plan: &Plan, (shard, count): (Shard, u32), output: &Path) -> Result<(), ClusterError> {
    let prepare = async {
        members.all(|state| &state.here).await?;
        for worker in 0..count {
            let (scenario, variables, shard) = (plan.whole.clone(), plan.secrets.variables().clone(), shard.part(worker, count));
            let (all_events, limits, memory) = (plan.all_events, plan.limits, memory::limit());
            members.tell(worker, &ToWorker::Job { worker, scenario, variables, shard, all_events, limits, memory });
        }
        members.all(|state| &state.ready).await
    };
    let late = || (0, format!("no answer within {} s", READY_WITHIN.as_secs()));
    match timeout(READY_WITHIN, prepare).await.unwrap_or_else(|_| Err(late())) {
        Ok(()) => Ok(()),
        Err((worker, why)) => {
            members.shut_down().await;
            let printed = std::fs::read_to_string(output).unwrap_or_default();
            let why = if printed.is_empty() { why } else { format!("{why}; it printed: {}", printed.trim_end()) };
            Err(unready((worker, why), count))
        }
    }
}

fn unready((worker, why): (u32, String), of: u32) -> ClusterError {
    ClusterError::Unready { worker: name(worker, of), why }
}

/// The results of all that finished, on top of those of the leading process.
pub(super) fn add_up(mut sum: Results, members: &Workers, (shard, workers): (Shard, u32), plan: &Plan) -> Results {
    let WorkerState { finished, mut lost, .. } = members.state();
    for worker in finished {
        let part = match books::decode(RunMeta::of(plan), &members.take_books(worker)) {
            Ok(part) => part,
            Err(unreadable) => {
                // What the others measured is worth keeping.
                lost.insert(worker, unreadable.to_string());
                continue;
            }
        };
        if workers > 1 {
            sum.note_lateness(&name(worker, workers), &part);
        }
        sum.add(&part);
    }
    sum.workers = workers;
    for (worker, why) in lost {
        let clients = shard.part(worker, workers).count(plan.clients());
        let are = format!("{clients} {} {}", noun_of(clients.into(), "client"), word_of(clients.into(), "is", "are"));
        sum.lost.push(format!("{} was lost: {why}; its {are} missing from all results", name(worker, workers)));
    }
    sum
}

fn name(worker: u32, of: u32) -> String {
    format!("worker {} of {of}", worker + 1)
}
