//! Tests of the decision, on runs with made-up figures.

use super::*;
use crate::expect::{Expectation, Names};
use crate::metrics::latency::Latency;
use crate::metrics::meta::SeenFrom;
use crate::results::Evidence;
use crate::results::hlog::Distribution;
use crate::results::record::{CountRow, Summary};
use MetricResult::{Better, Changed, NoData, PerhapsBetter, PerhapsWorse, Same, Worse as Regressed};

const SCENARIO: &str = "seed = 1\nduration = \"40s\"\n[target.embedded]\nbacklog = 1024\n[clients.web]\ncount = 400\n";

/// What a made-up run had.
#[derive(Clone, Copy, Default)]
struct Had {
    /// Each of 400 outages took so long, ms; those above 30 s were cut there.
    reconnect_ms: u64,
    lost: u64,
    messages: u64,
}

fn times(metric: &str, us: u64) -> Distribution {
    let mut latency = Latency::new();
    latency.record_n(us, 400);
    Distribution { metric: metric.to_owned(), cohort: "web".to_owned(), fault: None, window: None, latency, around: Vec::new() }
}

fn counted(metric: &str, outcome: Option<&str>, count: u64) -> CountRow {
    let (metric, cohort, outcome) = (metric.to_owned(), "web".to_owned(), outcome.map(str::to_owned));
    CountRow { metric, cohort, outcome, count, width_s: 1, ..CountRow::default() }
}

fn summary(seed: u64) -> Summary {
    Summary { seed, ..crate::results::summary::summarise(&crate::metrics::tests::finished(), None, &Default::default(), "") }
}

fn evidence(had: Had) -> Evidence {
    let ended = had.reconnect_ms <= 30_000;
    let (metric, us) = if ended { ("reconnect_time", had.reconnect_ms * 1000) } else { ("reconnect_time_censored", 30_000_000) };
    Evidence {
        measured_s: 40.0,
        aborted: false,
        seeds: None,
        lost: Vec::new(),
        unreliable: Vec::new(),
        ready: Some(400),
        simulated: false,
        seen_from: SeenFrom::Client,
        first_version: false,
        planned: [("web".to_owned(), 400)].into(),
        counts: vec![
            counted("attempts", Some("begun"), 800),
            counted("attempts", Some("opened"), 800),
            counted("clients_lost", None, had.lost),
            counted("messages", Some("due"), had.messages),
        ],
        counted: crate::expect::Metric::all_counted().into_iter().collect(),
        peaks: Default::default(),
        losses: Vec::new(),
        distributions: vec![times(metric, us)],
        windows: Vec::new(),
    }
}

fn side(name: &str, runs: &[Had]) -> Vec<ComparedRun> {
    let run = |(at, had): (usize, &Had)| ComparedRun::of(&format!("{name}/{at}"), SCENARIO, summary(at as u64), evidence(*had));
    runs.iter().enumerate().map(run).collect()
}

fn reconnects(name: &str, ms: &[u64]) -> Vec<ComparedRun> {
    let of = |ms: &u64| Had { reconnect_ms: *ms, messages: 1000, ..Had::default() };
    side(name, &ms.iter().map(of).collect::<Vec<_>>())
}

fn by(texts: &[&str]) -> Vec<ComparedQuantity> {
    let names = ["web".to_owned()];
    let names = Names { cohorts: &names, ..Names::default() };
    quantities(&texts.iter().map(|text| Expectation::parse_measured(text, names).unwrap()).collect::<Vec<_>>())
}

fn compared(base: &[ComparedRun], new: &[ComparedRun], texts: &[&str]) -> RunComparison {
    compare(base, new, &by(texts), Thresholds::default(), Vec::new())
}

#[track_caller]
fn check(base: &[u64], new: &[u64], texts: &[&str], (exit, result): (u8, MetricResult)) -> RunComparison {
    let compared = compared(&reconnects("base", base), &reconnects("new", new), texts);
    assert_eq!((compared.exit_code, compared.metrics[0].result), (exit, result), "{compared:#?}");
    compared
}

const P99: &[&str] = &["reconnect_time p99 < 10s"];
const BEFORE: [u64; 6] = [2000, 2010, 2020, 2030, 2040, 2050];

#[test]
fn a_regression_is_beyond_chance_and_beyond_what_matters() {
    for (new, expected) in [
        // Each is slower by more than 5 %.
        ([2200, 2210, 2220, 2230, 2240, 2250], (99, Regressed)),
        // Slower beyond chance, by less than 5 %.
        ([2060, 2070, 2080, 2090, 2095, 2099], (0, Same)),
        // By more than 5 % at best, and the interval reaches across.
        ([2090, 2110, 2130, 2150, 2160, 2170], (3, PerhapsWorse)),
        // Far apart and among the others: chance.
        ([1900, 2000, 2010, 2400, 2500, 2600], (3, PerhapsWorse)),
        ([1700, 1710, 1720, 1730, 1740, 1750], (0, Better)),
        ([1700, 1710, 1720, 1730, 2045, 2300], (0, PerhapsBetter)),
        (BEFORE, (0, Same)),
    ] {
        check(&BEFORE, &new, P99, expected);
    }
    // Where less is worse, it is the other way.
    check(&BEFORE, &[1700, 1710, 1720, 1730, 1740, 1750], &["reconnect_time p99 > 1s"], (99, Regressed));
    let p = check(&BEFORE, &[2200, 2210, 2220, 2230, 2240, 2250], P99, (99, Regressed)).metrics[0].p.unwrap();
    assert!((p - 2.0 / 924.0).abs() < 1e-12, "{p}");
}

#[test]
fn what_matters_can_be_said() {
    let (base, new) = (reconnects("base", &BEFORE), reconnects("new", &[2200, 2210, 2220, 2230, 2240, 2250]));
    for (relative, exit) in [(0.0, 99), (0.05, 99), (0.09, 3), (0.2, 0)] {
        assert_eq!(compare(&base, &new, &by(P99), Thresholds { relative }, Vec::new()).exit_code, exit, "{relative}");
    }
}

#[test]
fn not_reached_takes_part() {
    let never = 60_000;
    let lost = check(&BEFORE, &[never; 6], P99, (99, Regressed));
    assert_eq!(lost.metrics[0].new_median, Some(f64::INFINITY));
    let json = serde_json::to_value(&lost).unwrap();
    assert!(json["metrics"][0]["new_median"].is_null() && json["metrics"][0]["new"][0].is_null(), "{json}");
    check(&[never; 6], &BEFORE, P99, (0, Better));
    // One of six is noise, and with it nothing is shown to be the same.
    check(&BEFORE, &[2000, 2010, 2020, 2030, 2040, never], P99, (0, Same));
    // Mostly not reached on both sides: by the mean up to the horizon, which all runs have in common.
    let mostly = check(&[never; 6], &[never, never, never, never, never, 2000], P99, (0, Same));
    let note = mostly.metrics[0].note.as_deref().unwrap();
    assert!(note.starts_with("not reached in 11 of 12 runs: compared by the mean up to 2"), "{note}");
}

#[test]
fn few_runs_never_find_a_regression() {
    for runs in 1..=3 {
        let slow = check(&BEFORE[..runs], &[4000, 4010, 4020, 4030, 4040, 4050], P99, (3, PerhapsWorse));
        assert!(slow.weak && slow.reasons[0].contains("one to three runs"), "{slow:#?}");
        check(&[4000, 4010, 4020, 4030, 4040, 4050], &BEFORE[..runs], P99, (0, PerhapsBetter));
        assert!(check(&BEFORE, &BEFORE[..runs], P99, (0, Same)).answer.contains("so few runs cannot show one"));
    }
}

#[test]
fn too_few_runs_for_so_many_metrics_are_told_how_many_would_do() {
    let slow = [2200, 2210, 2220, 2230];
    check(&BEFORE[..4], &slow, P99, (99, Regressed));
    let two = &["reconnect_time p99 < 10s", "clients_lost count == 0"];
    let few = check(&BEFORE[..4], &slow, two, (3, PerhapsWorse));
    assert!(few.reasons[0].starts_with("4 against 4 runs cannot show a regression in 2 metrics: 5 a side can"), "{:?}", few.reasons);
    assert_eq!(check(&BEFORE[..4], &BEFORE[..4], two, (3, Same)).result, "inconclusive");
    check(&BEFORE[..5], &[2200, 2210, 2220, 2230, 2240], two, (99, Regressed));
}

#[test]
fn no_data_is_no_pass() {
    let silent = check(&BEFORE, &BEFORE, &["rtt p50 < 5ms"], (3, NoData));
    assert!(silent.reasons[0].contains("rtt p50: base/0: no data"), "{:?}", silent.reasons);
    // A percentile that needs more samples, where the largest would decide alone.
    let few = check(&BEFORE, &BEFORE, &["reconnect_time p99.9 < 5s"], (3, NoData));
    assert!(few.reasons[0].contains("400 samples; p99.9 needs 2995"), "{:?}", few.reasons);
    // What was found is worse all the same.
    let slow = [2200, 2210, 2220, 2230, 2240, 2250];
    check(&BEFORE, &slow, &["reconnect_time p99 < 10s", "rtt p50 < 5ms"], (99, Regressed));
}

#[test]
fn a_run_that_cannot_be_trusted_makes_it_inconclusive() {
    let (base, mut new) = (reconnects("base", &BEFORE), reconnects("new", &[2200, 2210, 2220, 2230, 2240]));
    let cut = Evidence { aborted: true, ..evidence(Had { reconnect_ms: 2250, messages: 1000, ..Had::default() }) };
    new.push(ComparedRun::of("new/5", SCENARIO, summary(5), cut));
    let compared = compared(&base, &new, P99);
    assert_eq!((compared.exit_code, compared.metrics[0].result), (3, Regressed));
    assert_eq!(compared.reasons[0], "new/5: the run was stopped before its planned length");
}

#[test]
fn where_no_client_became_ready_nothing_is_better_or_the_same() {
    let base = reconnects("base", &BEFORE);
    let mut new = reconnects("new", &BEFORE[..5]);
    let nobody = Evidence { ready: Some(0), ..evidence(Had { messages: 1000, ..Had::default() }) };
    new.push(ComparedRun::of("new/5", SCENARIO, summary(5), nobody));
    for (base, new) in [(&base, &new), (&new, &base)] {
        let compared = compared(base, new, &["clients_lost count == 0"]);
        assert_eq!((compared.exit_code, compared.reasons[0].as_str()), (3, "new/5: no client became ready"));
    }
}

#[test]
fn counts_take_part_by_whole_things() {
    let lost = |name: &str, each: [u64; 6]| side(name, &each.map(|lost| Had { reconnect_ms: 2000, lost, messages: 1000 }));
    let text = &["clients_lost count == 0"];
    for (new, exit) in [([0; 6], 0), ([1; 6], 99), ([0, 0, 0, 0, 0, 7], 0), ([0, 0, 1, 2, 3, 1], 3)] {
        assert_eq!(compared(&lost("base", [0; 6]), &lost("new", new), text).exit_code, exit, "{new:?}");
    }
    // Neither more nor less is worse.
    let due = |name: &str, messages: u64| {
        side(name, &[0, 1, 2, 3, 4, 5].map(|more| Had { reconnect_ms: 2000, lost: 0, messages: messages + more }))
    };
    let more = compared(&due("base", 1000), &due("new", 2000), &["messages count"]);
    assert_eq!((more.exit_code, more.metrics[0].result), (0, Changed));
}

#[test]
fn close_codes_that_were_not_there_before_are_told() {
    let base = reconnects("base", &BEFORE);
    let mut new = reconnects("new", &BEFORE);
    let known = base[0].summary.close_codes.client.keys().next().cloned().unwrap();
    for run in &mut new[..2] {
        run.summary.close_codes.client.insert("1011".to_owned(), 7);
        *run.summary.close_codes.client.get_mut(&known).unwrap() += 5;
    }
    let compared = compared(&base, &new, P99);
    assert_eq!(compared.exit_code, 0);
    assert_eq!(compared.new_close_codes, [UnknownCode { side: "client".to_owned(), code: "1011".to_owned(), count: 14, runs: 2 }]);
}

#[test]
fn only_runs_of_the_same_scenario_are_compared() {
    let with = |scenario: &str| vec![ComparedRun::of("new/0", scenario, summary(9), evidence(Had::default()))];
    let base = reconnects("base", &BEFORE[..1]);
    for (scenario, told) in [
        (SCENARIO.to_owned(), vec![]),
        (SCENARIO.replace("seed = 1", "seed = 2\nexpect = [\"clients_lost count == 0\"]"), vec![]),
        (SCENARIO.replace("1024", "64"), vec!["what is tested differs: target.embedded.backlog: 1024 → 64".to_owned()]),
    ] {
        assert_eq!(check_same(&base, &with(&scenario), false).unwrap(), told, "{scenario}");
    }
    let more = SCENARIO.replace("400", "500");
    let why = check_same(&base, &with(&more), false).unwrap_err().to_string();
    assert!(why.contains("clients.web.count: 400 → 500; --allow-different"), "{why}");
    let told = check_same(&base, &with(&more), true).unwrap();
    assert_eq!(told, ["base/0 and new/0 did not run the same scenario: clients.web.count: 400 → 500"]);
    // Within a side the target is the same, too.
    let mixed = [base.clone(), with(&SCENARIO.replace("1024", "64"))].concat();
    assert!(check_same(&mixed, &base, false).unwrap_err().to_string().contains("backlog"));
    let mut simulated = with(SCENARIO);
    simulated[0].summary.simulated = true;
    assert!(check_same(&base, &simulated, true).unwrap_err().to_string().contains("one is simulated"));
    assert!(check_same(&base, &with(""), true).is_err());
}

#[test]
fn a_run_counts_once() {
    let mut runs = reconnects("base", &BEFORE[..3]);
    assert!(duplicates(&runs).is_none());
    runs[2].summary.seed = runs[0].summary.seed;
    assert!(duplicates(&runs).is_some());
    // A run on sockets with the same seed is another one: its figures differ.
    runs[2].summary.measured_ms += 1;
    assert!(duplicates(&runs).is_none());
}

#[test]
fn a_mean_up_to_a_horizon_is_that_of_lifelines() {
    for case in super::oracle::values().survival {
        let of = |times: &[u64]| {
            let mut latency = Latency::new();
            times.iter().for_each(|us| latency.record(*us));
            latency
        };
        let times = crate::metrics::survival::Survival { ended: of(&case.ended), censored: of(&case.cut), ..Default::default() };
        let mean = times.restricted_mean(case.horizon).unwrap();
        assert!((mean - case.restricted_mean).abs() < 1e-6, "{mean}, lifelines says {}", case.restricted_mean);
    }
}
