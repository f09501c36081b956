//! A worker process, `closestorm __worker`: has the clients of one shard, and writes its books to a file.
//!
//! It ends when the line to the leading process ends, whatever happened to that.

use super::message::{Call, FromWorker, ToWorker};
use crate::load::hits::Question;
use crate::metrics::book::Usage;
use crate::metrics::{Results, shard};
use crate::plan::Plan;
use crate::run::Follower;
use crate::scenario::{self, Overrides, Source};
use crate::snapshots::{Publisher, Subscription};
use crate::sut::target_events::Sent;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};

/// Questions that wait for their answers.
type Tickets = Mutex<BTreeMap<u64, oneshot::Sender<u64>>>;

/// A worker from start to end; returns its exit code. `argument` is JSON; `usage` says what this process has used when it is asked.
pub fn main(argument: &str, usage: impl FnOnce() -> Usage) -> u8 {
    let call: Call = match serde_json::from_str(argument) {
        Ok(call) => call,
        Err(error) => {
            // Into workers.log, which may be on a full disk: no reason to panic.
            let _ = writeln!(io::stderr(), "worker: bad argument: {error}");
            return 2;
        }
    };
    let number = call.worker + 1;
    let worked = tokio::runtime::Builder::new_current_thread().enable_all().build().and_then(|runtime| {
        let worked = runtime.block_on(work(call, usage));
        // Clients that are still at it need not be unwound one by one.
        runtime.shutdown_background();
        worked
    });
    match worked {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(io::stderr(), "worker {number}: {error}");
            1
        }
    }
}

async fn work(call: Call, usage: impl FnOnce() -> Usage) -> io::Result<()> {
    let stream = StdStream::connect_addr(&SocketAddr::from_abstract_name(&call.report_to)?)?;
    stream.set_nonblocking(true)?;
    let (read, write) = UnixStream::from_std(stream)?.into_split();
    let (say, sayings) = mpsc::unbounded_channel();
    let speaking = tokio::spawn(speak(write, sayings));
    let mut lines = BufReader::new(read).lines();
    let _ = say.send(FromWorker::Hello { worker: call.worker, token: call.token.clone() });
    let Some(ToWorker::Job { scenario, shard, listen, books, all_events }) = next(&mut lines).await else { return Err(gone()) };
    let follower = plan(scenario, all_events)
        .and_then(|plan| Follower::listen(plan, (call.worker, shard), &listen, call.token).map_err(|error| error.to_string()));
    let follower = match follower {
        Ok(follower) => follower,
        Err(why) => {
            let _ = say.send(FromWorker::Failed { why });
            drop(say);
            let _ = speaking.await;
            return Ok(());
        }
    };
    let _ = say.send(FromWorker::Ready);
    let Some(ToWorker::Go { routes, epoch_ns }) = next(&mut lines).await else { return Err(gone()) };
    let (orders, obeyed) = mpsc::unbounded_channel();
    let (stop, mut stopped) = watch::channel(false);
    let (questions, asked) = mpsc::unbounded_channel();
    let tickets = Arc::new(Mutex::default());
    let asking = tokio::spawn(ask(asked, say.clone(), tickets.clone()));
    let listening = tokio::spawn(follow(lines, (orders, tickets), say.clone(), stop));
    let stopping = async move {
        // The sender is dropped with the line, and then the process ends by itself.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let snapshots = Publisher::default();
    let telling = tokio::spawn(tell(snapshots.subscribe(), say.clone()));
    let outcome = follower.run(&routes, epoch_ns, (obeyed, questions), stopping, snapshots).await;
    let saying = match outcome {
        Ok(results) => {
            let results = Results { usage: usage(), ..results };
            match saved(results, books.clone(), &say).await {
                Ok(()) => FromWorker::Finished,
                Err(error) => FromWorker::Failed { why: format!("its books cannot be written to {}: {error}", books.display()) },
            }
        }
        Err(error) => FromWorker::Failed { why: error.to_string() },
    };
    let _ = say.send(saying);
    listening.abort();
    asking.abort();
    drop(say);
    let _ = telling.await;
    let _ = listening.await;
    let _ = asking.await;
    let _ = speaking.await;
    Ok(())
}

fn plan(scenario: PathBuf, all_events: bool) -> Result<Arc<Plan>, String> {
    // What the leading process resolved already: no change, and no variable that is set anew.
    let plan = scenario::load(&Source::File(scenario), &Overrides::default()).map_err(|errors| errors.to_string())?;
    Ok(Arc::new(Plan { all_events, ..plan }))
}

/// Writes books, and says now and then that it does: who says nothing is lost.
async fn saved(results: Results, books: PathBuf, say: &mpsc::UnboundedSender<FromWorker>) -> io::Result<()> {
    let saving = tokio::task::spawn_blocking(move || save(results, &books));
    tokio::pin!(saving);
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            // Done is done.
            biased;
            done = &mut saving => return done.unwrap_or_else(|error| Err(io::Error::other(error))),
            _ = second.tick() => drop(say.send(FromWorker::Writing)),
        }
    }
}

/// Writes books under a temporary name first: a file that is there is complete. Leaves nothing where it fails.
fn save(results: Results, books: &Path) -> io::Result<()> {
    let partial = books.with_extension("partial");
    let written = std::fs::write(&partial, shard::encode(results)).and_then(|()| std::fs::rename(&partial, books));
    if written.is_err() {
        let _ = std::fs::remove_file(partial);
    }
    written
}

fn gone() -> io::Error {
    io::Error::other("closestorm is gone")
}

async fn next(lines: &mut Lines<BufReader<OwnedReadHalf>>) -> Option<ToWorker> {
    let line = lines.next_line().await.ok().flatten()?;
    serde_json::from_str(&line).ok()
}

async fn speak(mut write: OwnedWriteHalf, mut sayings: mpsc::UnboundedReceiver<FromWorker>) {
    while let Some(saying) = sayings.recv().await {
        let Ok(mut line) = serde_json::to_vec(&saying) else { continue };
        line.push(b'\n');
        if write.write_all(&line).await.is_err() {
            return;
        }
    }
}

/// Tells the leading process how its clients stand, until the run is over.
async fn tell(mut snapshots: Subscription, say: mpsc::UnboundedSender<FromWorker>) {
    while let Some(update) = snapshots.next().await {
        let _ = say.send(FromWorker::Live { live: update.state });
    }
}

/// Hands questions on to the leading process.
async fn ask(mut questions: mpsc::UnboundedReceiver<Question>, say: mpsc::UnboundedSender<FromWorker>, tickets: Arc<Tickets>) {
    let mut ticket = 0;
    while let Some(Question { firing, ask, answer, .. }) = questions.recv().await {
        ticket += 1;
        lock(&tickets).insert(ticket, answer);
        let _ = say.send(FromWorker::Ask { ticket, firing, ask });
    }
}

fn lock(tickets: &Tickets) -> MutexGuard<'_, BTreeMap<u64, oneshot::Sender<u64>>> {
    tickets.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes what the leading process says during the run; ends the process when it is gone.
async fn follow(
    mut lines: Lines<BufReader<OwnedReadHalf>>,
    (orders, tickets): (mpsc::UnboundedSender<Sent>, Arc<Tickets>),
    say: mpsc::UnboundedSender<FromWorker>,
    stop: watch::Sender<bool>,
) {
    loop {
        match next(&mut lines).await {
            Some(ToWorker::Order { number, order }) => {
                let (done, carried_out) = oneshot::channel();
                if orders.send((order, done)).is_ok() {
                    // One after the other: they are to be carried out in their order anyway.
                    let _ = carried_out.await;
                }
                let _ = say.send(FromWorker::Done { number });
            }
            Some(ToWorker::Answer { ticket, hits }) => {
                let asking = lock(&tickets).remove(&ticket);
                asking.into_iter().for_each(|asking| _ = asking.send(hits));
            }
            Some(ToWorker::Stop) => _ = stop.send_replace(true),
            Some(ToWorker::Job { .. } | ToWorker::Go { .. }) => {}
            None => std::process::exit(1),
        }
    }
}
