//! A worker process, `closestorm __worker`: has the clients of one shard, and tells its results to the leading process.
//!
//! It ends when the link to that ends, whatever happened to it.

use super::message::{FromWorker, PROTOCOL, ToWorker};
use crate::ipc;
use crate::ipc::LinkEnd;
use crate::load::hits::Question;
use crate::lock::lock;
use crate::metrics::book::ProcessUsage;
use crate::metrics::{Results, shard};
use crate::plan::{LoadLimits, Plan};
use crate::run::WorkerRun;
use crate::scenario::{self, Overrides, Source};
use crate::secret;
use crate::snapshots::{Publisher, Subscription};
use crate::sut::control_links::ControlLinks;
use crate::sut::target_events::Sent;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Bytes of results in a message.
const PART: usize = 512 << 10;

/// Questions that wait for their answers.
type OpenQuestions = Mutex<BTreeMap<u64, oneshot::Sender<u64>>>;

/// A worker from start to end; returns its exit code. Its job is said over the link that is its standard input; `usage` says what this
/// process has used when it is asked.
pub fn main(usage: impl FnOnce() -> ProcessUsage) -> u8 {
    let worked = ipc::inherited().and_then(|link| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let worked = runtime.block_on(work(link, usage));
        // Clients that are still at it need not be unwound one by one.
        runtime.shutdown_background();
        worked
    });
    worked.map_or_else(complain, |()| 0)
}

/// Into workers.log, which may be on a full disk: no reason to panic.
fn complain(error: ipc::LinkError) -> u8 {
    let _ = writeln!(io::stderr(), "worker, process {}: {error}", std::process::id());
    1
}

async fn work(link: LinkEnd, usage: impl FnOnce() -> ProcessUsage) -> Result<(), ipc::LinkError> {
    let (say, mut told, speaking) = ipc::open::<FromWorker, ToWorker>(link, PROTOCOL)?;
    let (worker, shard, plan) = match told.next().await?.ok_or_else(gone)? {
        ToWorker::Job { worker, scenario, variables, shard, all_events, limits, memory } => {
            crate::ws::memory::set_limit(memory);
            (worker, shard, plan((scenario, variables), all_events, limits))
        }
        other => return Err(ipc::LinkError::out_of_place(&other)),
    };
    let follower = plan.and_then(|plan| WorkerRun::new(plan, (worker, shard)).map_err(|error| secret::hide(&error.to_string())));
    let follower = match follower {
        Ok(follower) => follower,
        Err(why) => {
            say.send(&FromWorker::Failed { why })?;
            drop(say);
            let _ = speaking.await;
            return Ok(());
        }
    };
    say.send(&FromWorker::Ready)?;
    let lines = follower.lines();
    let (routes, epoch_ns) = loop {
        match told.next().await?.ok_or_else(gone)? {
            ToWorker::Server { instance, process } => lines.join((instance, process), told.file()?)?,
            ToWorker::Go { routes, epoch } => break (routes, epoch.here()),
            other => return Err(ipc::LinkError::out_of_place(&other)),
        }
    };
    let (orders, obeyed) = mpsc::unbounded_channel();
    let (stop, mut stopped) = watch::channel(false);
    let (questions, asked) = mpsc::unbounded_channel();
    let tickets = Arc::new(Mutex::default());
    let asking = tokio::spawn(ask(asked, say.clone(), tickets.clone()));
    let listening = tokio::spawn(follow((told, lines), (orders, tickets), say.clone(), stop));
    let stopping = async move {
        // The sender is dropped with the link, and then the process ends by itself.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let snapshots = Publisher::default();
    let telling = tokio::spawn(tell(snapshots.subscribe(), say.clone()));
    let outcome = follower.run(&routes, epoch_ns, (obeyed, questions), stopping, snapshots).await;
    match outcome {
        Ok(results) => {
            let sum = tell_books(Results { usage: usage(), ..results }, &say).await?;
            say.send(&FromWorker::Finished { sum })?;
        }
        Err(error) => say.send(&FromWorker::Failed { why: secret::hide(&error.to_string()) })?,
    }
    listening.abort();
    asking.abort();
    drop(say);
    let _ = telling.await;
    let _ = listening.await;
    let _ = asking.await;
    let _ = speaking.await;
    Ok(())
}

fn plan((scenario, variables): (String, BTreeMap<String, String>), all_events: bool, limits: LoadLimits) -> Result<Arc<Plan>, String> {
    // What the leading process resolved already: no change, and variables as they were there. What is relative in it was resolved against the
    // place of the original, or means the folder in which both processes are.
    let source = Source::Text { name: "scenario".to_owned(), text: scenario };
    let plan = scenario::load_with(&source, &Overrides::default(), &|name| variables.get(name).cloned());
    let plan = plan.map_err(|errors| errors.to_string())?;
    plan.secrets.keep();
    Ok(Arc::new(Plan { all_events, limits, ..plan }))
}

/// Tells results, and now and then that they will be told: who says nothing is lost. Their CRC-32.
async fn tell_books(results: Results, say: &ipc::Sender<FromWorker>) -> Result<u32, ipc::LinkError> {
    let encoding = tokio::task::spawn_blocking(move || shard::encode(results));
    tokio::pin!(encoding);
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let books = loop {
        tokio::select! {
            // Done is done.
            biased;
            books = &mut encoding => break books.map_err(io::Error::other)?,
            _ = second.tick() => say.send(&FromWorker::Writing)?,
        }
    };
    books.chunks(PART).try_for_each(|part| say.send(&FromWorker::Books { part: STANDARD.encode(part) }))?;
    Ok(crc32fast::hash(&books))
}

fn gone() -> ipc::LinkError {
    io::Error::other("the connection to the coordinator closed").into()
}

/// Tells the leading process how its clients stand, until the run is over.
async fn tell(mut snapshots: Subscription, say: ipc::Sender<FromWorker>) {
    while let Some(update) = snapshots.next().await {
        let _ = say.send(&FromWorker::Live { live: update.state });
    }
}

/// Hands questions on to the leading process.
async fn ask(mut questions: mpsc::UnboundedReceiver<Question>, say: ipc::Sender<FromWorker>, tickets: Arc<OpenQuestions>) {
    let mut ticket = 0;
    while let Some(Question { firing, ask, answer, .. }) = questions.recv().await {
        ticket += 1;
        lock(&tickets).insert(ticket, answer);
        // A question is never too long.
        let _ = say.send(&FromWorker::Ask { ticket, firing, ask });
    }
}

/// Takes what the leading process says during the run; ends the process when it is gone, or says what it should not.
async fn follow(
    (told, lines): (ipc::Receiver<ToWorker>, Arc<ControlLinks>),
    answers: (mpsc::UnboundedSender<Sent>, Arc<OpenQuestions>),
    say: ipc::Sender<FromWorker>,
    stop: watch::Sender<bool>,
) {
    let Err(error) = obey((told, lines), answers, say, stop).await;
    std::process::exit(complain(error).into())
}

async fn obey(
    (mut told, lines): (ipc::Receiver<ToWorker>, Arc<ControlLinks>),
    (orders, tickets): (mpsc::UnboundedSender<Sent>, Arc<OpenQuestions>),
    say: ipc::Sender<FromWorker>,
    stop: watch::Sender<bool>,
) -> Result<Infallible, ipc::LinkError> {
    loop {
        match told.next().await?.ok_or_else(gone)? {
            ToWorker::Order { number, order } => {
                let (done, carried_out) = oneshot::channel();
                if orders.send((order, done)).is_ok() {
                    // One after the other: they are to be carried out in their order anyway.
                    let _ = carried_out.await;
                }
                say.send(&FromWorker::Done { number })?;
            }
            ToWorker::Answer { ticket, hits } => {
                let asking = lock(&tickets).remove(&ticket);
                asking.into_iter().for_each(|asking| _ = asking.send(hits));
            }
            ToWorker::Server { instance, process } => lines.join((instance, process), told.file()?)?,
            ToWorker::Stop => _ = stop.send_replace(true),
            other @ (ToWorker::Job { .. } | ToWorker::Go { .. }) => return Err(ipc::LinkError::out_of_place(&other)),
        }
    }
}
