//! A hundred random plans on sockets: the books balance, every measurement that began ends in a time or is censored, and every planned
//! firing is told of. The same of the engine in memory and of the simulator is among the unit tests.

#[allow(dead_code, reason = "the unit tests have other worlds")]
#[path = "../random_plans.rs"]
pub(super) mod random_plans;

use closestorm::metrics::Results;
use closestorm::plan::{Plan, Shard};
use closestorm::run::faults::ByHand;
use closestorm::run::{Places, RunStart, run};
use closestorm::snapshots::Publisher;
use random_plans::World;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Runs at one time: they wait more than they work.
pub(super) const AT_ONCE: usize = 8;

pub(super) fn on_sockets(plan: Plan, folder: &Path) -> Results {
    let places = Places {
        program: Some(env!("CARGO_BIN_EXE_closestorm").into()),
        output: folder.join("target.log"),
        warm_up: Duration::ZERO,
        by_hand: ByHand::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let results =
        runtime.block_on(run(Arc::new(plan), Shard::WHOLE, RunStart::Ready, &places, std::future::pending(), Publisher::default()));
    runtime.shutdown_background();
    results.unwrap()
}

#[test]
fn of_a_hundred_random_plans_the_books_balance_and_nothing_that_began_is_lost() {
    let _alone = super::alone();
    let next = AtomicU64::new(0);
    let (ran, last) = (AtomicU64::new(0), random_plans::count(100));
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let work = || {
            let (place, mut wrong) = (tempfile::tempdir().unwrap(), Vec::new());
            while let Some(number) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < last) {
                let Some(plan) = random_plans::plan(&random_plans::scenario(number, World::Sockets)) else { continue };
                ran.fetch_add(1, Ordering::Relaxed);
                let broken = random_plans::broken(&plan, &on_sockets(plan.clone(), place.path()));
                wrong.extend(broken.into_iter().map(|words| format!("plan {number}: {words}")));
            }
            wrong
        };
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let ran = ran.into_inner();
    assert!(ran * 10 >= last * 8, "{ran} of {last} plans may run");
    assert!(wrong.is_empty(), "{} of {ran} plans: {wrong:#?}", wrong.len());
}
