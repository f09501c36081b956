//! A plan on real sockets: starts the target, lets the clients arrive, fires the faults, closes the books in time.
//!
//! One thread does all of it; servers are processes of their own. It knows nothing of files, charts and verdicts.

mod ask;
mod attempt;
mod channel;
mod client;
mod control;
mod echo;
mod faults;
mod fleet;
mod journal;
mod pacer;
mod registry;
pub mod server;
mod session;
pub mod target;

use crate::event::{ClientIndex, Event};
use crate::fault::Form;
use crate::metrics::{Live, Recorder, Results, Status};
use crate::net::tls::TlsError;
use crate::plan::{Plan, Target};
use channel::FromServer;
pub use echo::{Echoed, echo};
use fleet::Fleet;
pub use fleet::this_program;
use journal::Journal;
use pacer::Pacer;
use registry::Registry;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{interval, sleep_until};

/// Descriptors that are not connections: runtime, guard, control, output, results.
const SPARE_FILES: u64 = 64;
/// In which a target that is not ours must answer one opening handshake before the run.
const PROBE_WITHIN: Duration = Duration::from_secs(10);
/// Between two progress lines.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// How long the servers' evidence may trail behind the end of the run; it is dated, so what happened later does not count.
const SETTLE: Duration = Duration::from_millis(50);

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The process of the target.
    #[error(transparent)]
    Target(#[from] target::Error),
    /// TLS settings.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A URL that leads nowhere.
    #[error("cannot use target {url}: {cause}")]
    Address {
        /// As written.
        url: String,
        /// Why.
        cause: String,
    },
    /// The target does not speak WebSocket, or not to us.
    #[error("target {url} is not ready for a run: {cause}")]
    Unready {
        /// Where.
        url: String,
        /// Why.
        cause: String,
    },
    /// More clients than files.
    #[error(
        "{clients} clients need {needed} open files and this process may have {limit}: raise the limit (`ulimit -n {needed}`){}", fewer(*fits)
    )]
    Files {
        /// Planned.
        clients: u32,
        /// With what else is open.
        needed: u64,
        /// Hard limit.
        limit: u64,
        /// Clients that fit.
        fits: u64,
    },
    /// An embedded server process started and did not report.
    #[error("embedded server {instance} started but did not report; its output is in the run folder")]
    NoHello {
        /// Which.
        instance: u16,
    },
    /// It was told to stop before it began.
    #[error("stopped before the run began")]
    Stopped,
    /// The machine.
    #[error("{0}")]
    Io(#[from] io::Error),
}

fn fewer(fits: u64) -> String {
    if fits > 0 { format!(" or run fewer clients (`--clients {fits}`)") } else { String::new() }
}

/// Where a run finds its program and leaves its target's output.
#[derive(Clone, Debug)]
pub struct Places {
    /// This program; see [`this_program`].
    pub program: PathBuf,
    /// File for what the target prints.
    pub output: PathBuf,
}

/// What the parts of a run share.
struct Shared {
    plan: Arc<Plan>,
    journal: Arc<Journal>,
    registry: Arc<Registry>,
    fleet: Arc<Fleet>,
    pacer: Arc<Pacer>,
}

/// Runs a plan to its end, or until `stop` resolves: then the results so far are marked aborted. `progress` is called several times a
/// second with the offset.
///
/// # Errors
/// If it could not begin; what begins is always measured to some end.
pub async fn run(
    plan: Arc<Plan>,
    places: &Places,
    stop: impl Future<Output = ()>,
    mut progress: impl FnMut(Duration, Live),
) -> Result<Results, RunError> {
    check_files(&plan)?;
    tokio::pin!(stop);
    let (fleet, reports) = tokio::select! {
        // Starting may take long: a stop wins.
        biased;
        () = &mut stop => return Err(RunError::Stopped),
        started = start(&plan, places) => started?,
    };
    let registry = Arc::new(Registry::new(plan.clients(), plan.seed));
    let arrivals = arrivals(&plan);
    let journal = Arc::new(Journal::open(Recorder::new(&plan), plan.duration));
    let shared = Arc::new(Shared { plan: plan.clone(), journal: journal.clone(), registry, fleet: fleet.clone(), pacer: Arc::default() });
    fleet.watch(journal.clone());
    let mut tasks = tokio::task::JoinSet::new();
    let listener = |(_, fault): &(u16, &crate::plan::Fault)| fault.inject.row.form == Form::Listener;
    let listeners = (0..).zip(&plan.faults).filter(listener).map(|(index, _)| index).collect();
    tasks.spawn(follow_reports(journal.clone(), listeners, reports));
    tasks.spawn(pace(shared.clone()));
    tasks.spawn(arrive(shared.clone(), arrivals));
    for index in 0..u16::try_from(plan.faults.len()).unwrap_or(u16::MAX) {
        tasks.spawn(faults::run(shared.clone(), index));
    }
    let status = watch(&journal, plan.duration, stop, &mut progress).await;
    if status == Status::Completed {
        tokio::time::sleep(SETTLE).await;
    }
    let results = journal.close(status);
    tasks.abort_all();
    fleet.shut_down().await;
    results.ok_or_else(|| RunError::Io(io::Error::other("the books were closed twice")))
}

/// Starts the target, and asks one that is not ours for an opening handshake.
async fn start(plan: &Plan, places: &Places) -> Result<(Arc<Fleet>, mpsc::UnboundedReceiver<FromServer>), RunError> {
    let (fleet, reports) = Fleet::start(plan, &places.program, &places.output).await?;
    if !matches!(plan.target, Target::Embedded(_)) {
        let place = fleet.place(0);
        if let Err(cause) = attempt::probe(&place, &plan.cohorts[0], PROBE_WITHIN).await {
            fleet.shut_down().await;
            return Err(RunError::Unready { url: place.url, cause });
        }
    }
    Ok((Arc::new(fleet), reports))
}

/// Reports progress until the end of the run or `stop`.
async fn watch(journal: &Journal, duration: Duration, stop: impl Future<Output = ()>, progress: &mut impl FnMut(Duration, Live)) -> Status {
    let mut tick = interval(PROGRESS_EVERY);
    let end = sleep_until(journal.instant(duration));
    tokio::pin!(end, stop);
    loop {
        tokio::select! {
            // A stop that comes with the end is still a stop.
            biased;
            () = &mut stop => return Status::Aborted,
            () = &mut end => return Status::Completed,
            _ = tick.tick() => progress(journal.now(), journal.live()),
        }
    }
}

/// Due offset of each client's arrival, sorted.
fn arrivals(plan: &Plan) -> Vec<(Duration, ClientIndex)> {
    let mut all = Vec::with_capacity(plan.clients() as usize);
    for cohort in &plan.cohorts {
        all.extend(cohort.dues(plan.seed).zip((cohort.first..).map(ClientIndex)));
    }
    all.sort_unstable();
    all
}

/// Most first attempts that are due in any second from the first on.
pub fn arrivals_peak(plan: &Plan) -> usize {
    let due: Vec<_> = arrivals(plan).into_iter().map(|(due, _)| due).collect();
    due.iter().enumerate().map(|(index, from)| due.partition_point(|at| *at < *from + Duration::from_secs(1)) - index).max().unwrap_or(0)
}

/// Lets the clients arrive.
async fn arrive(shared: Arc<Shared>, arrivals: Vec<(Duration, ClientIndex)>) {
    let mut clients = tokio::task::JoinSet::new();
    for (due, client) in arrivals {
        if due > shared.journal.now() {
            sleep_until(shared.journal.instant(due)).await;
        }
        clients.spawn(client::live(shared.clone(), client, due));
        // Many may be due at once: let those who came first begin.
        if client.0.is_multiple_of(64) {
            tokio::task::yield_now().await;
        }
    }
    while let Some(ended) = clients.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            shared.journal.notice("a client panicked: please report this bug");
        }
    }
}

async fn pace(shared: Arc<Shared>) {
    let journal = shared.journal.clone();
    let end = shared.plan.duration;
    if let Err(error) = shared.pacer.clone().run(shared.registry.clone(), move || journal.now(), end).await {
        shared.journal.notice(format!("messages are not sent: {error}"));
    }
}

/// Makes events of what the embedded servers report.
async fn follow_reports(journal: Arc<Journal>, listeners: BTreeSet<u16>, mut reports: mpsc::UnboundedReceiver<FromServer>) {
    while let Some(line) = reports.recv().await {
        match line {
            FromServer::Injected { fault, id: Some(id), at_ns } => {
                journal.record_at(journal.offset(at_ns), &Event::Injected { fault, client: id.client, connection: id.connection });
            }
            // Without an id: a listening socket, or a connection that is none of ours.
            FromServer::Injected { fault, id: None, at_ns } if listeners.contains(&fault) => {
                journal.record_at(journal.offset(at_ns), &Event::Reached { fault });
            }
            FromServer::Ended { id: Some(id), ending, at_ns } => {
                journal.record_at(journal.offset(at_ns), &Event::ServerEnded { client: id.client, connection: id.connection, ending });
            }
            FromServer::Notice { text } => journal.notice(text),
            _ => {}
        }
    }
}

/// Raises the soft limit of open files to the hard one, and refuses a plan that cannot fit.
fn check_files(plan: &Plan) -> Result<(), RunError> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(io::Error::from)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(io::Error::from)?;
    }
    let needed = u64::from(plan.clients()) + SPARE_FILES;
    if needed > hard {
        return Err(RunError::Files { clients: plan.clients(), needed, limit: hard, fits: hard.saturating_sub(SPARE_FILES) });
    }
    Ok(())
}

/// The file of the target's output in a run folder.
pub fn output_file(folder: &Path) -> PathBuf {
    folder.join("target.log")
}
#[cfg(test)]
mod tests {
    use super::*;

    /// Size of the future that `make` would make; it is not made.
    fn size<F>(_: impl FnOnce(Arc<Shared>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_client_costs_a_task_and_little_else() {
        // An open connection has half a KiB beside it, and tungstenite's read buffer.
        assert!(size(|shared| client::live(shared, ClientIndex(0), Duration::ZERO)) <= 1536);
        assert!(size_of::<crate::ws::Connection>() <= 640);
        assert!(size_of::<registry::Slot>() <= 128);
    }
}
