//! A run under way, on a thread of its own.

use crate::api::engine::{RunPart, Scratch, divide, measured};
use crate::api::error::Error;
use crate::api::outcome::Outcome;
use crate::api::scenario::Scenario;
use crate::api::stop::StopHandle;
use crate::fault::Effect;
use crate::load::fd_limit::SPARE_FILES;
use crate::number::counted;
use crate::plan::{Plan, Shard, Target};
use crate::run::faults::ByHand;
use crate::run::{self as engine, Places};
use crate::snapshots::{Publisher, Subscriber, Subscription};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// A run under way: a future of its [`Outcome`], in any runtime. Dropped, it ends the run.
///
/// # Errors
/// [`Error::Scenario`], [`Error::Refused`], [`Error::NeedsProgram`], [`Error::Stopped`] or [`Error::Failed`] if the run could not start. A run that
/// started has an outcome in most cases, also if it was stopped or the target died.
#[derive(Debug)]
#[must_use = "a run ends when this is dropped: await it"]
pub struct Running {
    outcome: oneshot::Receiver<Result<Outcome, Error>>,
    stop: StopHandle,
    subscriber: Subscriber,
    /// Gone with this: that ends the run.
    _alive: oneshot::Sender<Infallible>,
}

impl Scenario {
    /// Runs the scenario on real sockets, in real time, as `closestorm run` does: await what this returns. The run begins at once, on a thread of its
    /// own, and dropping what this returns ends it.
    ///
    /// A server that is not embedded is first asked for one opening handshake, which no figure counts. Unlike the command, this does not require a
    /// confirmation (`--yes`) before it puts load on another machine.
    pub fn run(&self) -> Running {
        Running::start(self.clone())
    }
}

impl Running {
    fn start(scenario: Scenario) -> Running {
        let (tell, outcome) = oneshot::channel();
        let (alive, gone) = oneshot::channel();
        let (publisher, stop) = (Publisher::default(), StopHandle::default());
        let (subscriber, stopped) = (publisher.subscriber(), stop.clone());
        // The load does not depend on what else a runtime has to do, nor on its kind. Where there is no thread left, the receiver has no sender any more.
        let thread = std::thread::Builder::new().name("closestorm".to_owned());
        let _ = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let done = runtime.map_err(Error::failed).and_then(|runtime| {
                let stop = async move {
                    tokio::select! {
                        () = stopped.stopped() => {}
                        _ = gone => {}
                    }
                };
                runtime.block_on(carried_out(&scenario, stop, publisher))
            });
            // Nobody may wait for it any more.
            let _ = tell.send(done);
        });
        Running { outcome, stop, subscriber, _alive: alive }
    }

    /// What ends the run early, from another task or thread.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Live figures: a [`Snapshot`](crate::api::Snapshot) several times a second, from now on. A slow reader misses some and learns how many.
    pub fn subscribe(&self) -> Subscription {
        self.subscriber.subscribe()
    }
}

impl Future for Running {
    type Output = Result<Outcome, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = |_| Err(Error::failed("the thread of the run ended: no thread was left for it, or this is a bug in closestorm"));
        Pin::new(&mut self.outcome).poll(cx).map(|outcome| outcome.unwrap_or_else(ended))
    }
}

async fn carried_out(scenario: &Scenario, stop: impl Future<Output = ()>, snapshots: Publisher) -> Result<Outcome, Error> {
    let plan = scenario.plan()?;
    let manifest = scenario.manifest("run", &plan);
    let (plan, division) = divide(plan, Shard::WHOLE, None, None)?;
    if scenario.program.is_none() {
        if division.workers > 1 || division.processes > 1 {
            let clients = counted(plan.clients().into(), "client");
            return Err(Error::NeedsProgram { what: format!("{clients} are more than one process can have: a run with workers") });
        }
        alone(&plan)?;
    }
    let (plan, scratch) = (Arc::new(plan), Scratch::new()?);
    let places = Places {
        program: scenario.program.clone(),
        output: scenario.output.clone().unwrap_or_else(|| engine::output_file(&scratch.0)),
        warm_up: Duration::ZERO,
        by_hand: ByHand::default(),
    };
    let (results, verdict) = measured(&plan, RunPart::whole(division), (&places, &scratch.0), stop, snapshots).await?;
    Outcome::of(plan, results, verdict, manifest)
}

/// Whether a plan can do with this process.
///
/// # Errors
/// What of it cannot.
fn alone(plan: &Plan) -> Result<(), Error> {
    let needs = |what: String| Err(Error::NeedsProgram { what });
    match &plan.target {
        Target::Url(_) => return Ok(()),
        Target::Command(_) => return needs("`[target.command]`, a program under test,".to_owned()),
        Target::Embedded(_) => {}
    }
    let suffered = plan.faults.iter().find(|fault| match fault.inject.effect(fault.side) {
        Effect::Process(on) => on.is_suffered(),
        effect => effect.needs_process(),
    });
    if let Some(fault) = suffered {
        return needs(format!("fault {}: {} acts on a server process, which", fault.name, fault.inject.row.kind));
    }
    // Both ends of each connection are here.
    let files = engine::raise_files().map_err(|error| Error::not_written("cannot read the limit of open files", error))?;
    if u64::from(plan.clients()) * 2 + SPARE_FILES > files {
        let clients = counted(plan.clients().into(), "client");
        return needs(format!("{clients} and their server in a process with at most {files} open files: an embedded server of its own"));
    }
    Ok(())
}
