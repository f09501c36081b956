//! Searches as tests need them: found, with the scalability law, without a limit, with two parameters.

use super::capacity::{CAPACITY_VERSION, Capacity, Conclusion, LimitRow, LostNodeRow, Search, SearchRow, StepRow, UslRow, VaryRow};
use super::learned::{LearnedClient, LearnedRule, LearnedSchedule};
use crate::capacity::{Ended, RunOutcome};
use crate::reconnect::LawPiece;

/// A search as it comes from a server of 4,000 a second.
pub(crate) fn found() -> Search {
    let loads = [250.0, 500.0, 1_000.0, 2_000.0, 4_000.0, 8_000.0, 6_000.0, 4_200.0, 4_100.0, 4_100.0, 4_000.0, 3_600.0, 3_000.0];
    let step = |(n, load): (usize, f64)| {
        let outcome = if load <= 4_000.0 { RunOutcome::Held } else { RunOutcome::Failed };
        let over = (load - 4_000.0).max(0.0);
        StepRow {
            step: n as u32 + 1,
            value: load,
            setting: format!("{load}/s"),
            why: "climb".to_owned(),
            outcome: if load > 7_000.0 { RunOutcome::Saturated } else { outcome }.name().to_owned(),
            throughput_per_s: Some(load.min(4_050.0)),
            p50_us: Some(300 + (over * 100.0) as u64),
            p99_us: Some(2_000 + (over * 400.0) as u64 + load as u64),
            max_us: Some(9_000),
            reason: (outcome == RunOutcome::Failed).then(|| "opening_handshake p99 < 250ms: observed 712 ms".to_owned()),
            ..StepRow::default()
        }
    };
    let steps: Vec<StepRow> = loads.into_iter().enumerate().map(step).collect();
    let limit = LimitRow {
        limit: Some(4_000.0),
        plus_minus: Some(100.0),
        surely_holds: Some(4_000.0),
        surely_fails: Some(4_100.0),
        ended: Ended::Edge.name().to_owned(),
        complete: true,
        broke: Some("opening_handshake p99 < 250ms: observed 712 ms".to_owned()),
        throughput_per_s: Some(3_990.0),
        p99_us: Some(6_000),
        throughput_max_per_s: Some(4_050.0),
        knee: Some(4_000.0),
        knee_p99: Some(4_100.0),
        usl_note: Some("left out: a rate is not a number of things that work at the same time".to_owned()),
        runs: 13,
        ..LimitRow::default()
    };
    let capacity = Capacity {
        schema_version: CAPACITY_VERSION,
        scenario: "node-capacity".to_owned(),
        question: Some("How many connections a second?".to_owned()),
        command: "closestorm capacity node-capacity --vary clients.page.arrive.rate=250/s..8000/s".to_owned(),
        target: "node server.js".to_owned(),
        seed: 1,
        duration_ms: 2_500,
        status: "completed".to_owned(),
        verdict: Conclusion { result: "pass".to_owned(), reasons: Vec::new() },
        vary: vec![VaryRow { key: "clients.page.arrive.rate".to_owned(), unit: "per_s".to_owned(), low: 250.0, high: 8_000.0 }],
        search: SearchRow { steps_max: 30, repeats: 3, precision_percent: 5.0, warm_up_ms: 500, at_least: None },
        throughput: "opened".to_owned(),
        latency: "opening_handshake".to_owned(),
        expect: vec!["opening_handshake p99 < 250ms".to_owned()],
        reconnect_within_us: None,
        reconnect_stat: None,
        down_us: None,
        crashes: false,
        instances: None,
        lost_node: None,
        limits: vec![limit],
        notices: Vec::new(),
    };
    Search { capacity, steps }
}

/// As [`found`], by clients that echo.
pub(crate) fn with_law() -> Search {
    let mut search = found();
    search.capacity.vary[0] = VaryRow { key: "clients".to_owned(), unit: "count".to_owned(), low: 250.0, high: 8_000.0 };
    "echoed".clone_into(&mut search.capacity.throughput);
    let (lambda, sigma, kappa) = ([1.1, 1.0, 1.2], [2e-5, 1e-5, 3e-5], [2e-8, 1e-8, 3e-8]);
    search.capacity.lost_node = Some(LostNodeRow {
        within_us: 10_000_000,
        clients: 1_400,
        back_us: Some(9_700_000),
        more: Some(1_430),
        more_back_us: Some(10_200_000),
        model: "[target.embedded]".to_owned(),
        strategies: vec!["reconnecting-websocket".to_owned()],
        ..LostNodeRow::default()
    });
    let usl = UslRow { lambda, sigma, kappa, r_squared: 0.98, peak: Some(7_000.0), peak_throughput_per_s: Some(4_100.0) };
    (search.capacity.limits[0].usl, search.capacity.limits[0].usl_note) = (Some(usl), None);
    search
}

/// Not even the lowest value held.
pub(crate) fn nothing() -> Search {
    let mut search = found();
    search.steps.truncate(2);
    for step in &mut search.steps {
        *step = StepRow { outcome: RunOutcome::Failed.name().to_owned(), value: 250.0, ..StepRow::default() };
    }
    let runs = search.steps.len() as u64;
    search.capacity.limits[0] =
        LimitRow { ended: Ended::Never.name().to_owned(), broke: Some("no data".to_owned()), complete: true, runs, ..LimitRow::default() };
    search
}

/// Two parameters.
pub(crate) fn mapped() -> Search {
    let mut search = found();
    search
        .capacity
        .vary
        .insert(0, VaryRow { key: "faults.crash.inject.server_crash.down".to_owned(), unit: "s".to_owned(), low: 1.0, high: 8.0 });
    let one = search.steps.clone();
    search.steps.clear();
    let limit = search.capacity.limits[0].clone();
    search.capacity.limits.clear();
    for (level, share) in [(1.0, 1.0), (2.0, 0.7), (4.0, 0.3), (8.0, 0.0)] {
        search.steps.extend(one.iter().map(|step| StepRow {
            level: Some(level),
            value: step.value * f64::max(share, 0.1),
            ..step.clone()
        }));
        let times = |value: Option<f64>| value.map(|value| value * share).filter(|value| *value > 0.0);
        let ended = if share > 0.0 { Ended::Edge } else { Ended::Never };
        search.capacity.limits.push(LimitRow {
            level: Some(level),
            limit: times(limit.limit),
            plus_minus: times(limit.plus_minus),
            surely_holds: times(limit.surely_holds),
            surely_fails: times(limit.surely_fails),
            ended: ended.name().to_owned(),
            ..limit.clone()
        });
    }
    search
}

pub(crate) fn all() -> [(&'static str, Search); 4] {
    [("found", found()), ("with-law", with_law()), ("nothing", nothing()), ("mapped", mapped())]
}

/// Made-up clients: with jitter, a list of delays over three decades, one that nothing explains, and one that hardly came back.
pub(crate) fn learned() -> Vec<(&'static str, LearnedClient)> {
    let piece = |lo_ms, hi_ms| LawPiece { share: 1.0, lo_ms, hi_ms };
    let rule = |result, name| LearnedRule {
        result,
        name,
        seen: "seen in 20 outages".to_owned(),
        text: "It is kept.",
        why: "It matters (RFC 6455 §7.2.3).",
    };
    let spread = |raw: f64| (0..20).map(|n| raw * (f64::from(n * 7 % 20) + 0.5) / 20.0).collect::<Vec<f64>>();
    let raws = [130.0, 221.0, 376.0, 639.0, 1086.0, 1700.0];
    let places: Vec<f64> = (0..120).map(|n| (f64::from(n) + 0.5) / 120.0).map(|place: f64| place.powf(1.1)).collect();
    let schedule = LearnedSchedule {
        words: "exponential: base 130ms, factor 1.700, cap 1.7s; jitter full".to_owned(),
        fits: true,
        numbers: vec![["base", "130ms", "127ms", "133ms"].map(str::to_owned), ["factor", "1.700", "1.690", "1.711"].map(str::to_owned)],
        goodness: vec!["120 waits fit, 1 is outside".to_owned(), "chance of a larger distance: 0.40 (Kolmogorov and Smirnov)".to_owned()],
        places,
        table: "reconnect = { exponential = { base = \"130ms\", factor = 1.7, cap = \"1.7s\", jitter = \"full\" } }".to_owned(),
    };
    let jitter = LearnedClient {
        command: "closestorm learn --quick -- node app.js {url}".to_owned(),
        client: "node app.js {url}".to_owned(),
        made: "20 outages after connections of 6s, attempts refused by a reset right after the request, 4 processes".to_owned(),
        doubts: Vec::new(),
        rules: vec![rule("fail", "jitter"), rule("pass", "growth"), rule("not tested", "silence")],
        waits_ms: raws.map(spread).to_vec(),
        laws: raws.map(|raw| vec![piece(0.0, raw)]).to_vec(),
        outages: 20,
        schedule: Some(schedule.clone()),
        answers: vec![["status code 1000", "came back after 130ms", "1000"].map(str::to_owned)],
        slow: vec![("Retry-After".to_owned(), "12s".to_owned())],
        not_asked: vec!["a server that is silent (up to 75s)".to_owned()],
    };
    let delays: Vec<f64> = (0..30).map(|n| if n < 4 { [3.0, 50.0, 1_000.0, 5_000.0][n] } else { 10_000.0 }).collect();
    let steady = LearnedClient {
        waits_ms: delays.iter().map(|delay| vec![delay + 2.0, delay + 1.0, delay + 4.0]).collect(),
        laws: delays.iter().map(|delay| vec![piece(*delay, *delay)]).collect(),
        outages: 3,
        schedule: Some(LearnedSchedule { words: "table: 3ms, 50ms, 1s, 5s, 10s".to_owned(), places: Vec::new(), ..schedule.clone() }),
        ..jitter.clone()
    };
    let strange = LearnedClient { laws: Vec::new(), schedule: Some(LearnedSchedule { fits: false, ..schedule }), ..jitter.clone() };
    let few = LearnedClient { waits_ms: vec![vec![900.0, 1_000.0]], laws: Vec::new(), outages: 2, schedule: None, ..jitter.clone() };
    vec![("jitter", jitter), ("steady", steady), ("strange", strange), ("few", few)]
}
