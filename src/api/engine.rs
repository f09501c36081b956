//! What the library and the commands share: a plan is divided, carried out and judged.

use crate::api::error::Error;
use crate::cluster::{self, Division, Room};
use crate::metrics::Results;
use crate::plan::{Model, Plan, Shard, Target};
use crate::results::evidence::Evidence;
use crate::results::record::Verdict;
use crate::results::usage::{self, Baseline};
use crate::run::{self as engine, Places, RunStart};
use crate::sim::{self, GoOn, Simulated};
use crate::snapshots::Publisher;
use crate::sut::command::output as target_output;
use crate::units::Bytes;
use crate::verdict::{UNCHECKED, judge};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder for the files of a run under way, gone with it.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Result<Scratch, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let name = format!("closestorm-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            // What a target prints is in it: for nobody else.
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Scratch(path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::not_written(format!("cannot make {}", path.display()), error)),
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Which part of a plan is carried out, by how many processes, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunPart {
    pub(crate) shard: Shard,
    pub(crate) division: Division,
    pub(crate) start: RunStart,
}

impl RunPart {
    /// All of it, as soon as the target is ready.
    pub(crate) fn whole(division: Division) -> RunPart {
        RunPart { shard: Shard::WHOLE, division, start: RunStart::Ready }
    }
}

/// A fault may name an instance that only the model has: that can be simulated, and not run.
pub(crate) fn check_instances(plan: &Plan) -> Result<(), Error> {
    let instances = plan.target.instances();
    let Some((fault, instance)) = plan.beyond(instances) else { return Ok(()) };
    let counted = "counted from 0; those of [model] are there for `closestorm simulate`";
    Err(Error::Refused(format!("fault {}: there is no instance {instance}: the target has {instances}, {counted}", fault.name)))
}

/// What this machine has for a run. Raises the limit of open files as far as it may.
///
/// # Errors
/// The limit cannot be read.
pub(crate) fn room() -> Result<Room, Error> {
    let files = engine::raise_files().map_err(|error| Error::not_written("cannot read the limit of open files", error))?;
    let ports = crate::sut::command::port::ephemeral_range().count() as u64;
    Ok(Room { files, memory: usage::available(), ports, backlog: usage::number("/proc/sys/net/core/somaxconn") })
}

/// Into how many processes the plan goes, and the plan with what that means for its reader. The messages of all of them take `memory`
/// together at most; without it half of what is available.
///
/// # Errors
/// It does not fit, or a fault is about an instance that the target does not have.
pub(crate) fn divide(mut plan: Plan, shard: Shard, workers: Option<u32>, memory: Option<Bytes>) -> Result<(Plan, Division), Error> {
    check_instances(&plan)?;
    let room = room()?;
    let division = Division::of(&plan, shard, workers, room).map_err(Error::failed)?;
    let notices = room.notices(&plan, shard).into_iter().chain(division.notices(&plan));
    let notices: Vec<_> = notices.collect();
    plan.notices.extend(notices);
    if let Target::Embedded(settings) = &mut plan.target {
        settings.processes = Some(division.processes);
    }
    if let Some(all) = memory.map(|bytes| bytes.0).or(room.memory.map(|bytes| bytes / 2)) {
        crate::ws::memory::set_limit(usize::try_from(all / division.holders(&plan)).unwrap_or(usize::MAX));
    }
    Ok((plan, division))
}

/// Runs and judges a part of a plan; files of its processes are in `folder`. Writes nothing else but the target's output.
///
/// # Errors
/// It could not begin.
pub(crate) async fn measured(
    plan: &Arc<Plan>,
    whom: RunPart,
    (places, folder): (&Places, &Path),
    stop: impl Future<Output = ()>,
    snapshots: Publisher,
) -> Result<(Results, Verdict), Error> {
    let usage = Baseline::now();
    let RunPart { shard, division, start } = whom;
    let plan = plan.clone();
    let expectations = plan.expectations.clone();
    let mut results = if division.workers == 1 {
        // On the heap: a run is larger than what a thread of a test has for its stack.
        Box::pin(engine::run(plan, shard, start, places, stop, snapshots)).await?
    } else {
        Box::pin(cluster::run(plan, (shard, division.workers), start, (places, folder), stop, snapshots)).await?
    };
    results.usage.add(usage.used());
    results.meta.notices.extend(target_output::lost(&places.output));
    let verdict = if shard.is_whole() { judge(&Evidence::of(&results), &expectations) } else { unjudged(&results, shard) };
    Ok((results, verdict))
}

/// A shard is not judged: what is expected is expected of the whole.
fn unjudged(results: &Results, shard: Shard) -> Verdict {
    let mut verdict = judge(&Evidence::of(results), &[]);
    verdict.reasons.retain(|reason| reason != UNCHECKED);
    verdict.reasons.push(format!("this is shard {shard}: `closestorm merge` judges all of them together"));
    verdict
}

/// The model of the server that a plan is simulated with.
///
/// # Errors
/// There is none.
pub(crate) fn model(plan: &Plan) -> Result<Model, Error> {
    plan.simulated_as().map_err(|error| Error::Refused(error.to_string()))
}

/// Simulates a plan; `go_on` is asked now and then.
///
/// # Errors
/// It has a fault that is not simulated.
pub(crate) fn simulated(plan: &Plan, model: &Model, go_on: &mut GoOn<'_>) -> Result<Simulated, Error> {
    sim::run_watched(plan, model, go_on).map_err(|error| Error::Refused(error.to_string()))
}
