//! Several seeds of one plan, in parallel: what varies from run to run.

use super::{Simulated, Unsupported, run_watched};
use crate::lock::lock;
use crate::metrics::Status;
use crate::plan::{Model, Plan};
use crate::seed::Seed;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Runs seeds `plan.seed`, `plan.seed + 1` and so on, `runs` of them, on `threads` threads; `digest` keeps of each what is needed. The
/// result is in the order of the seeds, and the same for any number of threads.
///
/// # Errors
/// If the plan has a fault that is not simulated.
pub fn run_seeds<T: Send>(
    plan: &Plan,
    model: &Model,
    runs: u32,
    threads: usize,
    digest: impl Fn(u32, Simulated) -> T + Sync,
) -> Result<Vec<T>, Unsupported> {
    run_seeds_watched(plan, model, runs, threads, digest, &|| true)
}

/// As [`run_seeds`]; `go_on` is asked now and then by all threads, and ends everything by `false`: what was under way is left out.
///
/// # Errors
/// As [`run_seeds`].
pub fn run_seeds_watched<T: Send>(
    plan: &Plan,
    model: &Model,
    runs: u32,
    threads: usize,
    digest: impl Fn(u32, Simulated) -> T + Sync,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<T>, Unsupported> {
    let done = in_parallel(runs, threads, |index| {
        let plan = Plan { seed: Seed(plan.seed.0.wrapping_add(u64::from(index))), ..plan.clone() };
        let simulated = if go_on() { Some(run_watched(&plan, model, &mut |_, _| go_on())?) } else { None };
        Ok(simulated.filter(|simulated| simulated.results.status == Status::Completed).map(|simulated| digest(index, simulated)))
    })?;
    Ok(done.into_iter().flatten().collect())
}

/// Does `jobs` pieces of work on `threads` threads; the result is in the order of their numbers, whoever did them.
///
/// # Errors
/// That of a piece that failed; no further ones are begun then.
pub fn in_parallel<T: Send, E: Send>(jobs: u32, threads: usize, work: impl Fn(u32) -> Result<T, E> + Sync) -> Result<Vec<T>, E> {
    let next = AtomicU32::new(0);
    let done = Mutex::new(Vec::with_capacity(jobs as usize));
    let turn = || -> Result<(), E> {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= jobs {
                return Ok(());
            }
            let result = work(index).inspect_err(|_| next.store(jobs, Ordering::Relaxed))?;
            lock(&done).push((index, result));
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.clamp(1, jobs.max(1) as usize)).map(|_| scope.spawn(turn)).collect();
        // A panic in a thread goes on in the caller.
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}
