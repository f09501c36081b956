//! A worker of the simulated world: its clients are played, its results are real, and how it hears of servers is the program's own.

use super::World;
use super::server::{Arrival, ending};
use crate::cluster::message::{FromWorker, PROTOCOL, ToWorker};
use crate::event::{ClientIndex, ConnectionNo, Event, Outcome, Stage, Stages};
use crate::ipc;
use crate::ipc::{LinkEnd, LinkError};
use crate::load::hits::HitsQuestion;
use crate::metrics::book::Status;
use crate::metrics::{Recorder, Snapshot, shard as books};
use crate::plan::Firing;
use crate::recorder::SharedRecorder;
use crate::run;
use crate::seed::{Seed, Stream};
use crate::sut::control_links::ControlLinks;
use crate::ws::handshake::own_headers::Id;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, interval, sleep, sleep_until};

/// Small, so that the results of a worker have several.
const PART: usize = 2_000;

/// A worker process, from its start to its exit code.
pub(super) async fn work(world: Arc<World>, pid: i32, link: LinkEnd) -> u8 {
    u8::from(run(&world, pid, link).await.is_err())
}

async fn run(world: &Arc<World>, pid: i32, link: LinkEnd) -> Result<(), LinkError> {
    let (say, mut told, speaking) = ipc::open::<FromWorker, ToWorker>(link, PROTOCOL)?;
    let gone = || io::Error::other("the connection to the coordinator closed");
    let ToWorker::Job { worker, shard, .. } = told.next().await?.ok_or_else(gone)? else { return Err(gone().into()) };
    world.truth().workers.insert(worker, pid);
    say.send(&FromWorker::Ready)?;
    let (lines, mut reports) = ControlLinks::new();
    let epoch_ns = loop {
        match told.next().await?.ok_or_else(gone)? {
            ToWorker::Server { instance, process } => lines.join((instance, process), told.file()?)?,
            ToWorker::Go { epoch, .. } => break epoch.here(),
            _ => return Err(gone().into()),
        }
    };
    let journal = Arc::new(SharedRecorder::open(Recorder::new(&world.plan, shard), world.plan.duration, world.clock, epoch_ns));
    let hearing = journal.clone();
    let following = tokio::spawn(async move {
        while let Some(report) = reports.next().await {
            run::record(&hearing, report);
        }
    });
    let clients = join_all(shard.clients(world.plan.clients()).map(|client| live(world, &journal, ClientIndex(client))));
    tokio::pin!(clients);
    let over = sleep_until(journal.instant(world.plan.duration));
    tokio::pin!(over);
    let (mut tick, mut ticket, mut playing) = (interval(Duration::from_millis(500)), 0, true);
    let status = loop {
        tokio::select! {
            biased;
            message = told.next() => match message?.ok_or_else(gone)? {
                ToWorker::Order { number, .. } => say.send(&FromWorker::Done { number })?,
                ToWorker::Server { instance, process } => lines.join((instance, process), told.file()?)?,
                ToWorker::Stop => break Status::Aborted,
                _ => {}
            },
            () = &mut over => break Status::Completed,
            _ = &mut clients, if playing => playing = false,
            _ = tick.tick() => {
                say.send(&FromWorker::Live { live: Snapshot::default() })?;
                if !world.plan.faults.is_empty() {
                    ticket += 1;
                    say.send(&FromWorker::Ask { ticket, firing: Firing { fault: 0, number: 0 }, ask: HitsQuestion::One })?;
                }
            }
        }
    };
    let (end, ended_ns) = (journal.end(), epoch_ns + journal.end().as_nanos() as u64);
    run::settle(&lines, &journal, status).await;
    let results = journal.close(status, end, Vec::new()).ok_or_else(gone)?;
    following.abort();
    {
        let mut truth = world.truth();
        truth.traces.insert(worker, (ended_ns, journal.take_trace()));
        truth.parts.insert(worker, results.clone());
    }
    let books = books::encode(results);
    say.send(&FromWorker::Writing)?;
    for part in books.chunks(PART) {
        say.send(&FromWorker::Books { part: STANDARD.encode(part) })?;
    }
    say.send(&FromWorker::Finished { sum: crc32fast::hash(&books) })?;
    drop(say);
    // As the process does: what stays unsaid is for the other side to notice.
    let _ = speaking.await;
    Ok(())
}

/// A client, to the end of its run.
async fn live(world: &World, journal: &SharedRecorder, client: ClientIndex) {
    let mut random = Seed(world.seed).numbered("world/client/", client.0, "");
    sleep_until(journal.instant(Duration::from_millis(random.below(3_000)))).await;
    for number in (1..).map(ConnectionNo) {
        if journal.now() >= world.plan.duration {
            return;
        }
        journal.record(&Event::AttemptStarted { client, due: journal.now() });
        sleep(Duration::from_micros(1_000 + random.below(20_000))).await;
        let begun = Instant::now();
        match connect(world, &mut random, Id { client, connection: number }) {
            Some(ended) => {
                let (tcp, upgrade) = (Duration::from_micros(200), Duration::from_micros(300));
                journal.record(&Event::Opened { client, connection: number, instance: 0, tcp, tls: None, resumed: false, upgrade });
                journal.record(&Event::Ready { client, connection: number });
                // However it ends: its server may have died.
                let _ = ended.await;
                journal.record(&Event::Ended { client, connection: number, ending: ending(String::new()), closing: None });
            }
            None => {
                let times = Stages { elapsed: begun.elapsed(), ..Stages::default() };
                journal.record(&Event::AttemptFailed { client, stage: Stage::Tcp, outcome: Outcome::Refused, times, fault: None });
            }
        }
        sleep(Duration::from_millis(200 + random.below(4_000))).await;
    }
}

/// Opens a connection to one of the server processes, if it is there.
fn connect(world: &World, random: &mut Stream, id: Id) -> Option<oneshot::Receiver<()>> {
    let (ended, end) = oneshot::channel();
    let stays = Duration::from_millis(100 + random.below(6_000));
    let servers: BTreeMap<_, _> = world.servers().clone();
    let chosen = servers.values().nth(random.below(servers.len() as u64) as usize)?;
    chosen.send(Arrival { id, stays, ended }).ok()?;
    Some(end)
}
