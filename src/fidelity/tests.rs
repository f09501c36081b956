//! Two worlds that agree, and two that do not.

use super::*;
use crate::plan::ServiceTimes;
use crate::results::folder;
use crate::results::read::read;
use crate::results::record::Verdict;
use crate::scenario::{Overrides, Source, load};

const SCENARIO: &str = r#"
duration = "12s"
[target.embedded]
handshake_cost = "2ms"
[clients.fixed]
count     = 200
arrive    = { over = "2s" }
reconnect = { fixed = { delay = "2s" } }
[clients.jitter]
count     = 200
arrive    = { over = "2s" }
reconnect = { exponential = { base = "1s", factor = 2, cap = "4s", jitter = "full" } }
[[faults]]
at     = "3s"
inject = { server_crash = { down = "1s" } }
"#;

fn plan() -> Plan {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("worlds.toml");
    std::fs::write(&file, SCENARIO).unwrap();
    load(&Source::File(file), &Overrides::default()).unwrap()
}

fn world(plan: &Plan, cost_ms: f64) -> Loaded {
    let mut model = plan.simulated_as().unwrap();
    model.handshake_cost = ServiceTimes::Constant(Duration::from_secs_f64(cost_ms / 1e3));
    let results = crate::sim::run(plan, &model).unwrap().results;
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let manifest = crate::results::manifest::collect(Vec::new(), plan.seed);
    folder::write(&run, &results, &plan.resolved, &Verdict::default(), &manifest).unwrap();
    read(&run).unwrap()
}

#[test]
fn a_world_agrees_with_itself() {
    let plan = plan();
    let world = world(&plan, 2.0);
    let comparison = compare(&plan, &world, &world, FidelityLimits::default());
    assert_eq!((comparison.result, comparison.reasons.len()), ("pass", 0), "{comparison:#?}");
    assert!(comparison.cohorts.iter().all(|cohort| cohort.worst == 0.0 && cohort.attempts_ks == 0.0), "{comparison:#?}");
    let jitter: Vec<_> = comparison.cohorts.iter().map(|cohort| (cohort.cohort.as_str(), cohort.jitter)).collect();
    assert!(jitter.contains(&("fixed", false)) && jitter.contains(&("jitter", true)), "{jitter:?}");
}

#[test]
fn a_server_twice_as_fast_is_noticed_and_the_worst_cohort_comes_first() {
    let plan = plan();
    let (real, simulated) = (world(&plan, 2.0), world(&plan, 1.0));
    let comparison = compare(&plan, &real, &simulated, FidelityLimits::default());
    assert_eq!(comparison.result, "fail", "{comparison:#?}");
    assert!(comparison.cohorts.is_sorted_by(|a, b| a.worst >= b.worst), "{comparison:#?}");
    let fixed = comparison.cohorts.iter().find(|cohort| cohort.cohort == "fixed").unwrap();
    // 200 of them one after another: the last one back after 2 s and 0.4 s, not 0.2 s.
    assert!(fixed.ks_shifted > 0.3 && fixed.beyond.iter().any(|what| what.starts_with("KS")), "{fixed:#?}");
    let text = text::text(&comparison);
    assert!(text.contains("FAIL") && text.contains("✗ fixed"), "{text}");
}

#[test]
fn a_saturated_generator_makes_it_inconclusive() {
    let plan = plan();
    let mut real = world(&plan, 2.0);
    real.summary.generator.saturated = true;
    let simulated = world(&plan, 2.0);
    assert_eq!(compare(&plan, &real, &simulated, FidelityLimits::default()).result, "inconclusive");
}
