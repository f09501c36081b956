//! False alarms and power, on runs of the simulator: what the decision is worth.

use super::*;
use crate::plan::Plan;
use crate::results::Evidence;
use crate::scenario::{Overrides, Source, load};
use crate::seed::{Seed, Stream};

/// A herd that queues up at the server: how long its handshakes take is what the server makes of them.
const SCENARIO: &str = r#"
duration = "8s"
expect = ["opening_handshake p90 < 5s", "reconnect_time p90 < 10s", "attempts peak < 1000/s", "clients_lost count == 0"]
target.embedded = { handshake_cost = "10ms", backlog = 1024 }
clients.web = { count = 150, arrive = { over = "2s" }, reconnect = { exponential = { base = "300ms", factor = 2, cap = "5s", jitter = "full" } }, deadlines = { handshake = "0s" } }
faults = [{ at = "3s", inject = { drop_rst = {} }, side = "client" }]
"#;

fn plan(handshake: &str, seed: u64) -> Plan {
    let text = SCENARIO.replace("10ms", handshake);
    let source = Source::Text { name: "noise".to_owned(), text };
    load(&source, &Overrides { seed: Some(seed), ..Overrides::default() }).unwrap_or_else(|errors| panic!("{errors}"))
}

/// So many runs, each with its own seed.
fn runs(handshake: &str, seeds: std::ops::Range<u64>) -> Vec<ComparedRun> {
    let run = |seed: u64| {
        let plan = plan(handshake, seed);
        let results = crate::sim::run(&plan, &plan.simulated_as().unwrap()).unwrap().results;
        let summary = crate::results::summary::summarise(&results, None, &Default::default(), "");
        ComparedRun::of(&format!("{handshake}/{seed}"), &plan.resolved, summary, Evidence::of(&results))
    };
    seeds.map(run).collect()
}

/// So many of them, drawn without replacement from those that are left.
fn drawn(runs: &[ComparedRun], left: &mut Vec<usize>, n: usize, stream: &mut Stream) -> Vec<ComparedRun> {
    (0..n).map(|_| runs[left.swap_remove(stream.below(left.len() as u64) as usize)].clone()).collect()
}

fn exit_code(base: &[ComparedRun], new: &[ComparedRun]) -> u8 {
    let by = quantities(&plan("10ms", 1).expectations);
    compare(base, new, &by, Thresholds::default(), Vec::new()).exit_code
}

#[test]
fn the_same_server_is_seldom_called_worse_and_a_slower_one_is_found() {
    const DRAWS: u64 = 200;
    let all = runs("10ms", 1..41);
    let p90: Vec<f64> = all.iter().map(|run| run.summary.opening_handshake_us.p90.unwrap() as f64).collect();
    let mean = p90.iter().sum::<f64>() / p90.len() as f64;
    let spread = (p90.iter().map(|us| (us - mean).powi(2)).sum::<f64>() / (p90.len() - 1) as f64).sqrt() / mean;
    assert!(spread < 0.025, "the runs are noisier than they are to be: {spread}");
    let mut stream = Seed(15).stream("compare/false-alarms");
    let mut alarms = 0;
    for _ in 0..DRAWS {
        let mut left: Vec<usize> = (0..all.len()).collect();
        let (base, new) = (drawn(&all, &mut left, 6, &mut stream), drawn(&all, &mut left, 6, &mut stream));
        alarms += u64::from(exit_code(&base, &new) == 99);
    }
    assert!(alarms <= DRAWS / 20, "{alarms} of {DRAWS}");
    let slower = runs("11ms", 101..121);
    let mut stream = Seed(15).stream("compare/power");
    let found = (0..10).filter(|_| {
        let base = drawn(&all, &mut (0..all.len()).collect(), 6, &mut stream);
        let new = drawn(&slower, &mut (0..slower.len()).collect(), 6, &mut stream);
        exit_code(&base, &new) == 99
    });
    let found = found.count();
    println!("{alarms} of {DRAWS} false alarms, {found} of 10 found, spread {spread:.4}");
    assert!(found >= 8, "{found} of 10, with a spread of {spread}");
}

/// One value a run of 40 runs on sockets: `tests/compare/sockets.sh` made them.
#[derive(serde::Deserialize)]
struct KeptMetric {
    metric: String,
    values: Vec<f64>,
}

#[test]
fn runs_on_sockets_of_the_same_server_are_seldom_called_worse() {
    const DRAWS: u64 = 200;
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/compare/sockets.json")).expect("the committed file");
    let kept: Vec<KeptMetric> = serde_json::from_str(&text).expect("the committed values");
    let names = crate::expect::Names::default();
    let of = |one: &KeptMetric| crate::expect::Expectation::parse_measured(&one.metric, names).expect("a metric");
    let by = quantities(&kept.iter().map(of).collect::<Vec<_>>());
    assert!(by.len() >= 3 && kept.iter().all(|one| one.values.len() == 40));
    let mut stream = Seed(15).stream("compare/sockets");
    let mut alarms = 0;
    for _ in 0..DRAWS {
        let mut left: Vec<usize> = (0..40).collect();
        let mut side = || (0..6).map(|_| left.swap_remove(stream.below(left.len() as u64) as usize)).collect::<Vec<_>>();
        let (base, new) = (side(), side());
        let drawn = |at: &[usize], one: &KeptMetric| at.iter().map(|at| one.values[*at]).collect::<Vec<_>>();
        let values = kept.iter().map(|one| [drawn(&base, one), drawn(&new, one)]).collect();
        alarms += u64::from(judge::results_of(&by, values).contains(&MetricResult::Worse));
    }
    assert!(alarms <= DRAWS / 20, "{alarms} of {DRAWS}");
}
