//! Results as runs leave them, made up from a seed, for the tests of charts and reports. Not part of the program.

use super::Loaded;
use crate::metrics::latency::{Latency, Times};
use crate::results::hlog::Distribution;
use crate::results::record::*;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// How a made-up cohort comes back: (attempt, a uniform number from 0 to 1) to a wait in µs.
type Wait = fn(u32, f64) -> u64;
const INTERVAL_MS: u64 = 100;
const CRASH_US: u64 = 3_000_000;

/// One cohort of 1,000 clients with echo traffic, a crash at 3 s, 2 s down, 10 s long.
pub(crate) fn crash_storm() -> Loaded {
    let full_jitter: Wait = |n, u| ((200e3 * 2f64.powi(n as i32)).min(1e6) * u) as u64;
    let mut loaded = crash(&[("web", "full jitter, 200 ms to 1 s", 1000, full_jitter)], 2_000_000, 10_000, true);
    let by_missed = [(0, 400), (1, 250), (3, 200), (20, 100), (1_230, 50)].into();
    loaded.summary.losses = vec![LossRow { outages: 1000, none_missed: 400, max: 1_230, by_missed, unknown: 20, ..LossRow::default() }];
    broadcasts(&mut loaded, 20_000);
    loaded
}

/// Each cohort gets so many messages that say when they were sent, the later ones later.
fn broadcasts(loaded: &mut Loaded, messages: u64) {
    let mut all = Latency::new();
    let cohorts = loaded.summary.cohorts.keys().enumerate();
    let of_cohort = |(place, cohort): (usize, &String)| {
        let mut latency = Latency::new();
        (0..messages).for_each(|n| latency.record((2_000 + n * n / (40 + n / 30)) * (place as u64 + 2) / 2));
        all.add(&latency);
        let (metric, cohort) = ("broadcast_latency".to_string(), cohort.clone());
        Distribution { metric, cohort, fault: None, window: None, latency, around: Vec::new() }
    };
    loaded.distributions = Some(cohorts.map(of_cohort).collect());
    loaded.summary.broadcast_latency_us = all.times();
    loaded.summary.broadcast_latency_negative_us = times((1..=30).map(|n| n * 100));
}

/// Three strategies under one crash of 2.5 s, 667 clients each, 30 s long.
pub(crate) fn strategies() -> Loaded {
    let fixed: Wait = |_, _| 3_000_000;
    let exponential: Wait = |n, _| 1_000_000 * 2u64.pow(n.min(5));
    let jitter: Wait = |n, u| ((1e6 * 2f64.powi(n.min(5) as i32)) * u) as u64;
    let cohorts = [
        ("fixed-3s", "fixed, 3 s", 667, fixed),
        ("exponential", "exponential, 1 s × 2 to 30 s, no jitter", 667, exponential),
        ("full-jitter", "exponential, 1 s × 2 to 30 s, full jitter", 667, jitter),
    ];
    let mut loaded = crash(&cohorts, 2_500_000, 30_000, false);
    broadcasts(&mut loaded, 3_000);
    loaded
}

/// Twenty causes, one after the other, many codes on both sides, and a few clients that never come back.
pub(crate) fn many_causes() -> Loaded {
    let mut loaded = crash_storm();
    let kinds = [
        "drop_fin",
        "drop_rst",
        "truncate_frame",
        "half_close_write",
        "freeze",
        "stop_reading",
        "blackhole",
        "close_code",
        "close_empty",
        "close_ack_delay",
        "close_ack_drop",
        "close_hold_tcp",
        "pong_drop",
        "accept_stall",
        "upgrade_status",
        "server_crash",
        "server_graceful",
    ];
    let codes = [1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 1014, 4999];
    let mut random = Xoshiro256PlusPlus::seed_from_u64(20);
    loaded.closes.clear();
    loaded.summary.faults.clear();
    for (n, kind) in kinds.iter().chain(&["remote", "stay", "deadline:pong"]).enumerate() {
        let id = if n < kinds.len() { format!("{}-{n}", kind.replace('_', "-")) } else { kind.to_string() };
        if n < kinds.len() {
            let at_ms = 600 + 500 * n as u64;
            let until_ms = (n % 3 == 0).then_some(at_ms + 400);
            loaded.summary.faults.push(FaultRow { at_ms: Some(at_ms), until_ms, ..fault(&id, kind, 40) });
        }
        for k in 0..=(n % 3) {
            let client_code = codes[(n * 5 + k * 3) % codes.len()];
            let server_code = (*kind != "server_crash").then(|| codes[(n * 7 + k) % codes.len()]);
            loaded.closes.push(ending(&id, client_code, server_code, random.random_range(1..2_000)));
        }
    }
    for row in loaded.reconnects.iter_mut().filter(|row| row.client % 9 == 0) {
        (row.reconnect_us, row.first_reply_us, row.result) = (None, None, "gave_up".to_string());
    }
    // All that can become of an attempt.
    for (n, row) in loaded.timeline.iter_mut().enumerate().filter(|(_, row)| row.refused > 4) {
        let some = row.refused / 4;
        (row.refused, row.timed_out, row.rejected, row.failed) = (row.refused - 3 * some, some, some, some.saturating_sub(n as u64 % 3));
    }
    close_books(&mut loaded);
    loaded.summary.clients.lost = Some(loaded.summary.reconnect.gave_up);
    loaded
}

/// A run in which nothing happened and nothing was recorded.
pub(crate) fn nothing() -> Loaded {
    let mut loaded = crash(&[("web", "none", 0, |_, _| 0)], 0, 10_000, false);
    loaded.summary.faults.clear();
    loaded.timeline.clear();
    loaded.counts = None;
    loaded.events.clear();
    loaded.summary.status = "aborted".to_string();
    loaded.summary.verdict =
        Verdict { result: "inconclusive".to_string(), reasons: vec!["the run was aborted".to_string()], ..Verdict::default() };
    loaded
}

/// Twenty-four cohorts with long names, and a fault that fires often under a name with markup.
pub(crate) fn many_cohorts() -> Loaded {
    let names: Vec<String> = (0..24).map(|n| format!("cohort-{n}-of-a-rather-long-name-that-goes-on")).collect();
    let wait: Wait = |n, u| (300_000.0 * f64::from(n + 1) * u) as u64;
    let cohorts: Vec<_> =
        names.iter().map(|name| (name.as_str(), "full jitter with a long description of what it does", 40, wait)).collect();
    let mut loaded = crash(&cohorts, 2_000_000, 10_000, true);
    broadcasts(&mut loaded, 500);
    let id = "<flaky & \"slow\"> network of the west coast data centre, second floor";
    loaded.summary.faults.push(FaultRow { at_ms: Some(9_000), until_ms: Some(9_800), fired: 5, ..fault(id, "drop_rst", 5) });
    for offset_us in (0..5).map(|n| 9_000_000 + n * 200_000) {
        loaded.events.push(EventRow {
            event: "fired".to_string(),
            fault: Some(id.to_string()),
            detail: String::new(),
            ..target(offset_us, "")
        });
    }
    loaded
}

/// Cohorts that differ in size and in how they come back, with so many faults one after the other. Of every fourth nobody comes back.
pub(crate) fn strangers(cohorts: u32, faults: u64) -> Loaded {
    let names: Vec<String> = (0..cohorts).map(|n| format!("region-{n}")).collect();
    let waits: [Wait; 3] =
        [|_, _| 3_000_000, |n, u| (300_000.0 * f64::from(n + 1) * u) as u64, |n, u| (1e6 * 2f64.powi(n.min(4) as i32) * u) as u64];
    let size = |n: usize| 20 + 10 * (n as u32 % 7);
    let each: Vec<_> = names.iter().enumerate().map(|(n, name)| (name.as_str(), "a strategy", size(n), waits[n % 3])).collect();
    let mut loaded = crash(&each, 2_000_000, 30_000, true);
    for row in &mut loaded.reconnects {
        if row.cohort.strip_prefix("region-").and_then(|n| n.parse::<u32>().ok()).is_some_and(|n| n % 4 == 3) {
            (row.reconnect_us, row.first_reply_us, row.result) = (None, None, "gave_up".to_string());
        }
    }
    loaded.summary.faults.clear();
    for n in 0..faults {
        let (id, at_ms) = (format!("drop-of-a-third-{n}"), 2_000 + n * 27_000 / faults);
        loaded.summary.faults.push(FaultRow { at_ms: Some(at_ms), ..fault(&id, "drop_rst", 40) });
    }
    let expectation = |text: &str, result: &str| ExpectationRow {
        text: text.to_string(),
        unit: "us".to_string(),
        result: result.to_string(),
        observed: None,
        samples: None,
        needed: None,
        note: None,
    };
    loaded.summary.verdict.expectations =
        vec![expectation("reconnect_time p90 < 4s", "fail"), expectation("reconnect_time{cohort=region-1} p50 < 3s", "pass")];
    close_books(&mut loaded);
    loaded
}

/// One client that came back once.
pub(crate) fn one_client() -> Loaded {
    crash(&[("web", "fixed, 3 s", 1, |_, _| 3_000_000)], 2_000_000, 10_000, true)
}

/// All of them with a name.
pub(crate) fn all() -> [(&'static str, Loaded); 11] {
    [
        ("cohorts", many_cohorts()),
        ("six", strangers(6, 2)),
        ("thirty", strangers(30, 40)),
        ("forty", strangers(40, 100)),
        ("one-client", one_client()),
        ("crash", crash_storm()),
        ("strategies", strategies()),
        ("causes", many_causes()),
        ("nothing", nothing()),
        ("two-seeds", super::bands::fixture::two_seeds()),
        ("fifty-seeds", super::bands::fixture::fifty_seeds()),
    ]
}

fn crash(cohorts: &[(&str, &str, u32, Wait)], down_us: u64, duration_ms: u64, echo: bool) -> Loaded {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
    let mut loaded = Loaded {
        dir: PathBuf::new(),
        summary: summary(duration_ms),
        manifest: None,
        scenario: String::new(),
        timeline: vec![],
        reconnects: vec![],
        closes: vec![],
        events: vec![],
        peaks: None,
        counts: None,
        distributions: None,
        limits: None,
        bands: crate::results::bands::Bands::default(),
    };
    let mut first = 0;
    for (name, strategy, clients, wait) in cohorts {
        let mut rows: Vec<TimelineRow> = (0..duration_ms / INTERVAL_MS)
            .map(|i| TimelineRow { offset_ms: i * INTERVAL_MS, cohort: name.to_string(), ..TimelineRow::default() })
            .collect();
        for k in 0..*clients {
            let arrival = u64::from(k) * 2_000_000 / u64::from(*clients);
            life(&mut rows, &mut loaded.reconnects, &mut random, (first + k, name, *wait), (arrival, CRASH_US + down_us), duration_ms);
        }
        rows.iter_mut().filter(|_| echo).for_each(|row| echoes(row, &mut random));
        loaded.timeline.extend(rows);
        let planned = u64::from(*clients);
        let clients = Clients { planned, started: planned, peak_open: planned, open_at_end: planned, ..Clients::default() };
        loaded.summary.cohorts.insert(name.to_string(), CohortRow { strategy: strategy.to_string(), clients, ..CohortRow::default() });
        first += planned as u32;
    }
    loaded.summary.clients =
        Clients { planned: first.into(), started: first.into(), peak_open: first.into(), open_at_end: first.into(), ..Clients::default() };
    if first > 0 {
        let n = u64::from(first);
        loaded.closes = vec![ending("crash", 1006, None, n)];
        let row = FaultRow { at_ms: Some(3000), until_ms: None, ..fault("crash", "server_crash", n) };
        loaded.summary.faults.push(row);
        loaded.events.push(target(CRASH_US, "down"));
        loaded.events.push(target(CRASH_US + down_us, "listening"));
    }
    close_books(&mut loaded);
    loaded
}

/// Arrival, crash, and the way back of one client.
fn life(
    rows: &mut [TimelineRow],
    outages: &mut Vec<ReconnectRow>,
    random: &mut Xoshiro256PlusPlus,
    (client, cohort, wait): (u32, &str, Wait),
    (arrival, up_again): (u64, u64),
    duration_ms: u64,
) {
    let last = rows.len() - 1;
    let at = |us: u64| ((us / 1000 / INTERVAL_MS) as usize).min(last);
    rows[at(arrival)].attempts += 1;
    rows[at(arrival)].opened += 1;
    let detect = random.random_range(200..4_000);
    let (mut now, mut backoff, mut attempt, mut reply, mut n) = (CRASH_US + detect, 0, 0, 0, 0);
    let back = loop {
        let delay = wait(n, random.random_range(0.0..1.0));
        (now, backoff, n) = (now + delay, backoff + delay, n + 1);
        if now > duration_ms * 1000 {
            break None;
        }
        rows[at(now)].attempts += 1;
        if now < up_again {
            rows[at(now)].refused += 1;
            (now, attempt) = (now + 300, attempt + 300);
            continue;
        }
        let took = random.random_range(2_000..90_000);
        rows[at(now)].opened += 1;
        (now, attempt, reply) = (now + took, attempt + took - took / 4, took / 4);
        break Some(now - CRASH_US);
    };
    for (i, row) in rows.iter_mut().enumerate() {
        let end = (i as u64 + 1) * INTERVAL_MS * 1000;
        let open = end > arrival && (end <= CRASH_US || back.is_some_and(|back| end > CRASH_US + back));
        row.open += u64::from(open);
    }
    outages.push(ReconnectRow {
        client,
        cohort: cohort.to_string(),
        fault: Some("crash".to_string()),
        client_code: 1006,
        fault_offset_us: CRASH_US,
        detect_us: Some(detect),
        backoff_us: backoff,
        attempt_us: attempt,
        first_reply_us: back.map(|_| reply),
        reconnect_us: back,
        attempts: n,
        result: if back.is_some() { "recovered" } else { "censored" }.to_string(),
        weight: 1.0,
    });
}

fn echoes(row: &mut TimelineRow, random: &mut Xoshiro256PlusPlus) {
    row.due = row.open / 5;
    (row.sent, row.echoed) = (row.due, row.due);
    if row.echoed > 0 {
        let p50 = random.random_range(350..700);
        row.rtt_p50_us = Some(p50);
        row.rtt_p99_us = Some(p50 * random.random_range(3..9));
        row.rtt_max_us = row.rtt_p99_us.map(|p99| p99 * random.random_range(2..14));
    }
}

fn close_books(loaded: &mut Loaded) {
    loaded.counts = Some(loaded.timeline.iter().flat_map(counts).collect());
    let summary = &mut loaded.summary;
    let names: Vec<String> = summary.cohorts.keys().cloned().collect();
    summary.endings = loaded.closes.clone();
    summary.close_codes = CloseCodes::default();
    for ending in &loaded.closes {
        let code = ending.client_code.map_or_else(String::new, |code| code.to_string());
        *summary.close_codes.client.entry(code).or_default() += ending.count;
        if let Some(code) = ending.server_code {
            *summary.close_codes.server.entry(code.to_string()).or_default() += ending.count;
        }
    }
    for name in names {
        let rows: Vec<&TimelineRow> = loaded.timeline.iter().filter(|row| row.cohort == name).collect();
        let Some(cohort) = summary.cohorts.get_mut(&name) else { continue };
        cohort.attempts = attempts(&rows);
        cohort.reconnect = reconnect(loaded.reconnects.iter().filter(|row| row.cohort == name));
        cohort.close_codes = BTreeMap::from([("1006".to_string(), cohort.reconnect.affected)]);
    }
    summary.attempts = attempts(&loaded.timeline.iter().collect::<Vec<_>>());
    summary.reconnect = reconnect(loaded.reconnects.iter());
    let closed = loaded.closes.iter().map(|ending| ending.count).sum();
    summary.connections = Connections { opened: closed + summary.clients.open_at_end, closed, open_at_end: summary.clients.open_at_end };
    let sent = loaded.timeline.iter().map(|row| row.sent).sum();
    summary.messages =
        Messages { due: sent, sent, received: sent, rtt_us: times((1..=sent).map(|n| 300 + n * 7 % 9_000)), ..Messages::default() };
    for fault in &mut summary.faults {
        fault.reconnect_us = summary.reconnect.time_us.clone();
        fault.recovered = summary.reconnect.recovered;
    }
}

/// Attempts by outcome; one that has none is abandoned.
fn counts(row: &TimelineRow) -> Vec<CountRow> {
    let ended = [
        ("opened", row.opened),
        ("refused", row.refused),
        ("timed_out", row.timed_out),
        ("rejected", row.rejected),
        ("failed", row.failed),
    ];
    let abandoned = row.attempts - ended.iter().map(|(_, count)| count).sum::<u64>();
    let all = [("begun", row.attempts), ("abandoned", abandoned)].into_iter().chain(ended).filter(|(_, count)| *count > 0);
    let (second, cohort) = ((row.offset_ms / 1000) as u32, &row.cohort);
    let count = |(outcome, count): (&str, u64)| CountRow {
        second,
        metric: "attempts".to_string(),
        cohort: cohort.clone(),
        outcome: Some(outcome.to_string()),
        count,
        ..CountRow::default()
    };
    all.map(count).collect()
}

fn attempts(rows: &[&TimelineRow]) -> Attempts {
    let mut sums = Attempts::default();
    let mut seconds: BTreeMap<u64, u64> = BTreeMap::new();
    for row in rows {
        sums.counts.total += row.attempts;
        sums.counts.opened += row.opened;
        sums.counts.refused += row.refused;
        sums.counts.timed_out += row.timed_out;
        sums.counts.rejected += row.rejected;
        sums.counts.failed += row.failed;
        *seconds.entry(row.offset_ms / 1000).or_default() += row.attempts;
    }
    sums.peak_per_s = seconds.into_values().max().unwrap_or(0);
    sums
}

fn reconnect<'a>(rows: impl Iterator<Item = &'a ReconnectRow>) -> Reconnect {
    let rows: Vec<&ReconnectRow> = rows.collect();
    let count = |result: &str| rows.iter().filter(|row| row.result == result).count() as u64;
    let recovered = count("recovered");
    Reconnect {
        unseen: false,
        left: 0,
        affected: rows.len() as u64,
        recovered,
        censored: rows.len() as u64 - recovered,
        gave_up: count("gave_up"),
        attempts_mean: (recovered > 0).then(|| rows.iter().map(|row| f64::from(row.attempts)).sum::<f64>() / rows.len() as f64),
        time_us: times(rows.iter().map(|row| row.reconnect_us.unwrap_or(u64::MAX))),
        observed_us: None,
        detect_us: times(rows.iter().filter_map(|row| row.detect_us)),
        backoff_us: times(rows.iter().map(|row| row.backoff_us)),
        attempt_us: times(rows.iter().map(|row| row.attempt_us)),
    }
}

fn times(values: impl Iterator<Item = u64>) -> Times {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    let n = values.len();
    let at = |q: f64| values.get(((q * n as f64).ceil() as usize).saturating_sub(1)).copied().filter(|us| *us < u64::MAX);
    let stated = |q: f64| at(q).filter(|_| n as u64 >= crate::metrics::latency::needed(q));
    Times {
        count: n as u64,
        censored: values.iter().filter(|us| **us == u64::MAX).count() as u64,
        never: 0,
        observed: None,
        min: at(0.0),
        p50: stated(0.5),
        p90: stated(0.9),
        p99: stated(0.99),
        p999: stated(0.999),
        max: at(1.0),
        mean: None,
    }
}

fn ending(cause: &str, client_code: u16, server_code: Option<u16>, count: u64) -> EndingRow {
    EndingRow {
        cohort: "web".to_string(),
        cause: cause.to_string(),
        fault: Some(cause.to_string()),
        initiator: "server".to_string(),
        wire_received: (client_code != 1006).then_some(client_code),
        wire_sent: (client_code != 1006).then_some(client_code),
        tcp_end: Some("fin".to_string()),
        tls_end: None,
        mid_frame: Some(false),
        clean: client_code != 1006,
        client_code: Some(client_code),
        server_code,
        server_tcp_end: server_code.map(|_| "fin".to_string()),
        server_tls_end: None,
        count,
    }
}

fn fault(id: &str, kind: &str, selected: u64) -> FaultRow {
    FaultRow {
        id: id.to_string(),
        kind: kind.to_string(),
        side: "server".to_string(),
        fired: 1,
        selected,
        injected: selected,
        ..FaultRow::default()
    }
}

fn target(offset_us: u64, what: &str) -> EventRow {
    let detail = format!("instance=0 what={what}");
    EventRow { offset_us, event: "target".to_string(), client: None, connection: None, fault: None, detail }
}

fn summary(duration_ms: u64) -> Summary {
    let expectation = |text: &str, observed, unit: &str, result: &str| ExpectationRow {
        text: text.to_string(),
        observed,
        samples: None,
        needed: None,
        note: if observed.is_none() { Some("too few samples: 1000 of the 2995 it takes".to_string()) } else { None },
        unit: unit.to_string(),
        result: result.to_string(),
    };
    let expectations = vec![
        expectation("reconnect_time p99 < 10s", Some(4_312_000.0), "us", "pass"),
        expectation("clients_lost count == 0", Some(0.0), "count", "pass"),
        expectation("closes{reported=1006} share > 99%", Some(98.2), "percent", "fail"),
        expectation("reconnect_time{cohort=web} p999 < 20s", None, "us", "inconclusive"),
    ];
    Summary {
        counted: Vec::new(),
        liveness: Vec::new(),
        surprises: Vec::new(),
        runs: None,
        schema_version: SCHEMA_VERSION,
        scenario: "crash-storm".to_string(),
        question: Some("Does a crash with 1,000 clients recover within five seconds?".to_string()),
        hypothesis: Some("A thousand attempts fall into about one second, and everybody is back within five.".to_string()),
        command: "closestorm run scenarios/crash-storm.toml --seed 7".to_string(),
        target: "embedded, 1 instance".to_string(),
        seed: 7,
        duration_ms,
        measured_ms: duration_ms,
        simulated: false,
        seen_from: crate::metrics::meta::SeenFrom::Client,
        status: "completed".to_string(),
        verdict: Verdict {
            result: "fail".to_string(),
            reasons: vec!["1 of 4 expectations failed".to_string()],
            answer: Some("No: 2 of 1,000 never came back, p99 4.31 s".to_string()),
            expectations,
        },
        clients: Clients::default(),
        attempts: Attempts::default(),
        answers: Vec::new(),
        failures: Vec::new(),
        connections: Connections::default(),
        close_codes: CloseCodes::default(),
        close_reasons: vec![CloseReason { code: 1001, reason: "going <b>down</b> & \"out\" | pipe".to_string(), count: 3 }],
        endings: Vec::new(),
        reconnect: Reconnect::default(),
        opening_handshake_us: times((1..=2000).map(|n| 400 + n * 13 % 30_000)),
        http_request_us: Times::default(),
        http_requests: Default::default(),
        time_to_ready_us: Times::default(),
        broadcast_latency_us: Times::default(),
        broadcast_latency_negative_us: Times::default(),
        errors: Default::default(),
        tcp_connect_us: times((1..=2000).map(|n| 60 + n % 400)),
        tls_us: Times::default(),
        tls_full_us: Times::default(),
        tls_resumed_us: Times::default(),
        closing_handshake_us: Times::default(),
        close_ack_us: Times::default(),
        fin_wait_us: Times::default(),
        messages: Messages::default(),
        losses: Vec::new(),
        cohorts: indexmap::IndexMap::new(),
        faults: Vec::new(),
        generator: Generator {
            lag_p99_us: Some(1_830),
            late_share_max: 0.002,
            late_after_us: Some(20_000),
            cpu_s: 4.2,
            rss_peak_bytes: 103 << 20,
            bytes_per_client: Some(18_400),
            saturated: false,
            saturated_seconds: Vec::new(),
            workers: 1,
            lost: Vec::new(),
            unreliable: Vec::new(),
            uncounted_openings: 0,
        },
        notices: vec!["p99.9 needs 2,995 samples".to_string()],
    }
}
