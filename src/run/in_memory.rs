//! A run on memory wires: the clients, servers, faults and results of [`run`](crate::run::run), all in this process, without a socket and with no
//! clock but tokio's.
//!
//! It is for tests. On one thread whose clock is paused it repeats itself event by event, and is compared with the simulator: nothing takes
//! time there but what the plan says. Tokio's timers count milliseconds, so what a plan has in finer units comes up to one late.

use crate::load::context::RunContext;
use crate::load::hits::Hits;
use crate::metrics::{Recorder, Results};
use crate::plan::{Plan, Shard, Target};
use crate::recorder::SharedRecorder;
use crate::run::faults::ByHand;
use crate::run::{arrivals, measure};
use crate::sut::Fleet;
use crate::sut::error::RunError;
use crate::sut::in_memory;
use crate::sut::target_events::TargetEvents;
use crate::transport::clock::Clock;
use std::sync::Arc;
use tokio::time::Instant;

#[cfg(test)]
pub(crate) mod compare;
#[cfg(test)]
pub(crate) mod differential;
#[cfg(test)]
pub(crate) mod overlaps;
#[cfg(test)]
mod shards;
#[cfg(test)]
mod tests;

/// Runs a plan for the embedded server in memory, to its end. On a runtime of one thread with a paused clock (`tokio::time::pause`) that
/// takes no time, and the same plan gives the same events to the nanosecond.
///
/// # Errors
/// If the plan needs processes: another target than the embedded server, or a fault that tasks cannot suffer, as a stop by SIGSTOP.
pub async fn run_in_memory(plan: Arc<Plan>) -> Result<Results, RunError> {
    run_with_books(plan, Shard::WHOLE).await.map(|(results, _)| results)
}

/// As [`run_in_memory`], one shard of the plan, which has servers of its own; with the results.
async fn run_with_books(plan: Arc<Plan>, shard: Shard) -> Result<(Results, Arc<SharedRecorder>), RunError> {
    let settings = match (&plan.target, in_memory::obstacle(&plan)) {
        (Target::Embedded(settings), None) => settings,
        (_, obstacle) => return Err(RunError::NeedsProcesses { what: obstacle.unwrap_or("the target").to_owned() }),
    };
    let clock = Clock::Runtime(Instant::now());
    let (fleet, reports) = Fleet::in_memory(&plan, settings, clock).await?;
    let fleet = Arc::new(fleet);
    let arrivals = arrivals(&plan, shard);
    let journal = Arc::new(SharedRecorder::open(Recorder::new(&plan, shard), plan.duration, clock, clock.now_ns()));
    let hits = Hits::new(&plan, shard);
    let shared = RunContext::new(plan.clone(), Some(shard), hits, journal.clone(), fleet.clone(), TargetEvents::default())?;
    let results = measure(&shared, arrivals, reports, std::future::pending(), (&mut |_| (), &ByHand::default())).await;
    fleet.shut_down().await;
    results.map(|results| (results, journal))
}
