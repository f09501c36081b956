//! Random plans, and what must hold of every run of one: the books balance, no measurement that began is lost, no planned firing is
//! silent. Used by the tests of the engine in memory and of the simulator (inside the library), and of the engine on sockets.

use closestorm::event::Event;
use closestorm::metrics::Results;
use closestorm::metrics::metric::TimeMetric;
use closestorm::plan::{Plan, Traffic};
use closestorm::results::Evidence;
use closestorm::results::record::EndingRow;
use closestorm::results::summary::summarise;
use closestorm::results::tables;
use closestorm::scenario::{Overrides, Source, load_with};
use closestorm::seed::{Seed, Stream};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What carries a plan out; each has kinds of faults of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "each of those who use it has one or two")]
pub(crate) enum World {
    /// The engine on memory wires, and the simulator beside it.
    Memory,
    /// The simulator alone.
    Simulator,
    /// The engine on sockets.
    Sockets,
}

/// Kinds with their parameters; `#` is a random time of up to a second.
const SIMULATED: &[(&str, &str)] = &[
    ("", "server_crash = { down = \"#\" }"),
    ("", "server_graceful = { spread = \"#\", down = \"#\" }"),
    ("", "server_restart_rolling = { interval = \"#\", down = \"#\" }"),
    ("", "close_code = { code = 1012, reason = \"restart\" }"),
    ("server", "drop_rst = {}"),
    ("client", "drop_rst = {}"),
    ("server", "drop_fin = {}"),
    ("client", "drop_fin = {}"),
    ("client", "client_crash = {}"),
    ("client", "client_network_switch = { gap = \"#\" }"),
    ("client", "blackhole = { on_revert = \"resume\" }"),
    ("server", "blackhole = { on_revert = \"resume\" }"),
    ("client", "blackhole = {}"),
    ("client", "freeze = {}"),
    ("server", "freeze = {}"),
    ("", "connect_refuse = {}"),
    ("", "backlog_full = { backlog = 3 }"),
    ("", "accept_stall = {}"),
    ("", "upgrade_status = { status = 503, retry_after = \"1s\" }"),
    ("", "upgrade_delay = { delay = \"#\" }"),
    ("", "server_overload = {}"),
];
/// Stops processes.
const PROCESSES: &[(&str, &str)] = &[("", "server_pause = {}")];
/// Acts on bytes or frames: on sockets only.
const BYTES: &[(&str, &str)] = &[
    ("client", "latency = { latency = \"#\" }"),
    ("server", "stop_reading = {}"),
    ("server", "truncate_frame = {}"),
    ("client", "half_close_write = {}"),
    ("client", "frame_bad_utf8 = {}"),
    ("server", "close_ack_drop = {}"),
    ("server", "close_ack_delay = { delay = \"#\" }"),
    ("server", "pong_drop = {}"),
];
/// Kinds that end at once take no `for`.
const AT_ONCE: &[&str] = &[
    "server_crash",
    "server_graceful",
    "server_restart_rolling",
    "close_code",
    "drop_",
    "client_crash",
    "client_network_switch",
    "truncate",
    "half_close",
    "frame_bad",
];
const STRATEGIES: &[&str] = &[
    "{ fixed = { delay = \"#\" } }",
    "{ exponential = { base = \"300ms\", factor = 2, cap = \"3s\", jitter = \"full\" } }",
    "{ exponential = { base = \"100ms\", factor = 2, cap = \"2s\", jitter = \"none\" } }",
    "{ preset = \"reconnecting-websocket\", max_retries = 1 }",
    "\"socket.io-client\"",
    "\"none\"",
];

/// A scenario text; the same for the same number.
pub(crate) fn scenario(number: u64, world: World) -> String {
    let random = &mut Seed(number).stream("plan");
    let seconds = 4 + random.below(3);
    let mut text = format!("duration = \"{seconds}s\"\nseed = {number}\n[target.embedded]\n");
    let instances = if random.below(2) == 0 { 1 } else { 2 + random.below(2) };
    line(&mut text, &format!("instances = {instances}"));
    if random.below(2) == 0 {
        line(&mut text, &format!("handshake_cost = \"{}ms\"", 3 + random.below(60)));
    }
    if random.below(4) == 0 {
        line(&mut text, &format!("max_connections = {}", 5 + random.below(40)));
    }
    if random.below(5) == 0 {
        line(&mut text, "admit = { rate = \"20/s\", burst = 5, retry_after = \"1s\" }");
    }
    if world == World::Sockets && random.below(4) == 0 {
        line(&mut text, "tls = true");
    }
    if world == World::Sockets && random.below(3) == 0 {
        line(&mut text, &format!("ping = {{ every = \"{}ms\", timeout = \"{}ms\" }}", 200 + random.below(900), 100 + random.below(500)));
    }
    for cohort in 0..1 + random.below(3) {
        line(&mut text, &format!("[clients.c{cohort}]\ncount = {}", 3 + random.below(25)));
        line(&mut text, &format!("arrive = {{ over = \"{}ms\" }}", 1 + random.below(1_500)));
        let strategy = times(STRATEGIES[random.below(STRATEGIES.len() as u64) as usize], random);
        line(&mut text, &format!("reconnect = {strategy}"));
        match random.below(if world == World::Sockets { 4 } else { 3 }) {
            0 => line(&mut text, &format!("traffic = {{ echo = {{ rate = \"{}/s\", payload = \"40B\" }} }}", 1 + random.below(8))),
            1 => line(&mut text, &format!("traffic = {{ send = {{ rate = \"{}/s\", payload = \"40B\" }} }}", 1 + random.below(8))),
            3 => line(&mut text, "traffic = { echo = { in_flight = 1, payload = \"40B\" } }"),
            _ => {}
        }
        if random.below(3) == 0 {
            line(
                &mut text,
                &format!("heartbeat = {{ every = \"{}ms\", timeout = \"{}ms\" }}", 200 + random.below(900), 100 + random.below(500)),
            );
        }
        if random.below(3) == 0 {
            line(&mut text, &format!("stay = {{ for = \"{}ms\", return = \"{}ms\" }}", 300 + random.below(2_000), 50 + random.below(900)));
        }
        if random.below(2) == 0 {
            line(
                &mut text,
                &format!("deadlines = {{ connect = \"{}ms\", handshake = \"{}ms\" }}", 200 + random.below(900), 100 + random.below(900)),
            );
        }
    }
    let kinds: Vec<_> = match world {
        World::Memory | World::Simulator => [SIMULATED, PROCESSES].concat(),
        World::Sockets => [SIMULATED, PROCESSES, BYTES].concat(),
    };
    for fault in 0..random.below(5) {
        let (side, kind) = kinds[random.below(kinds.len() as u64) as usize];
        let kind = times(kind, random);
        line(&mut text, &format!("[[faults]]\nname = \"f{fault}\"\nat = \"{}ms\"", 300 + random.below(seconds * 700)));
        if !side.is_empty() {
            line(&mut text, &format!("side = \"{side}\""));
        }
        if random.below(3) == 0 {
            line(&mut text, &format!("every = \"{}ms\"", 150 + random.below(1_200)));
        }
        if !AT_ONCE.iter().any(|one| kind.starts_with(one)) && random.below(4) > 0 {
            line(&mut text, &format!("for = \"{}ms\"", 100 + random.below(1_500)));
        }
        let whole = ["server_", "connect_", "backlog_"].iter().any(|one| kind.starts_with(one)) && !kind.starts_with("server_overload");
        if !whole {
            match random.below(4) {
                0 => line(&mut text, &format!("select = {{ count = {} }}", 1 + random.below(9))),
                1 => line(&mut text, "select = { percent = \"40%\" }"),
                2 => line(&mut text, "select = { nth = 3 }"),
                _ => {}
            }
        }
        line(&mut text, &format!("inject = {{ {kind} }}"));
    }
    text
}

/// How many plans a test tries: so many, or as many as `CLOSESTORM_PLANS` says.
pub(crate) fn count(usual: u64) -> u64 {
    std::env::var("CLOSESTORM_PLANS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn line(text: &mut String, words: &str) {
    let _ = writeln!(text, "{words}"); // writing to a String cannot fail
}

/// With a random time for each `#`.
fn times(text: &str, random: &mut Stream) -> String {
    text.split('#')
        .fold(String::new(), |out, part| if out.is_empty() { part.to_owned() } else { format!("{out}{}ms{part}", 20 + random.below(980)) })
}

/// The plan of a scenario text, which keeps every event. `None`: a combination that a scenario may not have.
pub(crate) fn plan(text: &str) -> Option<Plan> {
    let place = tempfile::tempdir().expect("a folder");
    let file = place.path().join("random.toml");
    std::fs::write(&file, text).expect("written");
    let plan = load_with(&Source::File(file), &Overrides::default(), &|_| None).ok()?;
    Some(Plan { all_events: true, ..plan })
}

/// What does not hold of a run, in words.
pub(crate) fn broken(plan: &Plan, results: &Results) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Err(error) = results.check_ledger() {
        wrong.push(error.to_string());
    }
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let events: Vec<&Event> = results.events.kept().iter().chain(results.milestones.kept()).map(|(_, _, event)| event).collect();
    for event in &events {
        *counts.entry(name(event)).or_default() += 1;
    }
    let seen = |name: &str| counts.get(name).copied().unwrap_or(0);
    let total = results.total();
    let ledger = &total.ledger;
    let mut same = |what: &str, left: u64, right: u64| {
        if left != right {
            wrong.push(format!("{what}: {left} and {right}"));
        }
    };
    same("attempts that began, in events and ledger", seen("attempt_started"), ledger.attempts.total);
    same("attempts that opened, in events and ledger", seen("opened"), ledger.attempts.opened);
    same("connections that ended, in events and ledger", seen("ended"), ledger.closed);
    same("messages sent, in events and books", seen("sent"), total.sent);
    same("messages not started, in events and books", seen("not_started"), total.not_started);
    let measured = |metrics: [TimeMetric; 2]| metrics.into_iter().map(|metric| results.latency(metric).count()).sum::<u64>();
    // Attempts that were answered otherwise or failed are counts, and say nothing of how long a stage takes.
    let timed = ledger.attempts.opened + ledger.attempts.timed_out + ledger.attempts.abandoned;
    same(
        "TCP connects: every one that was not refused, rejected or failed has a time or is censored",
        measured([TimeMetric::TcpConnect, TimeMetric::TcpConnectCensored]),
        timed,
    );
    let upgrades = measured([TimeMetric::OpeningHandshake, TimeMetric::OpeningHandshakeCensored]);
    same("opening handshakes: every one that opened has a time", u64::from(upgrades >= ledger.attempts.opened), 1);
    let echoes: u64 = plan
        .cohorts
        .iter()
        .zip(&results.books)
        .filter(|(cohort, _)| matches!(cohort.traffic, Traffic::Echo { .. } | Traffic::EchoClosed { .. }))
        .map(|(_, book)| book.sent)
        .sum();
    same("round trips: every message ends in a time or is censored", measured([TimeMetric::Rtt, TimeMetric::RttCensored]), echoes);
    same("round trips from sent", measured([TimeMetric::RttFromSent, TimeMetric::RttFromSentCensored]), echoes);
    let reconnects =
        measured([TimeMetric::ReconnectTime, TimeMetric::ReconnectTimeCensored]) + results.latency(TimeMetric::ReconnectTimeNever).count();
    same("outages: every one is back, cut by the end, or never back", reconnects, total.affected);
    for (index, fault) in (0_u16..).zip(&plan.faults) {
        let planned = fault.firings(plan.seed, results.measured).len();
        let told = events.iter().filter(|event| matches!(event, Event::Fired { fault, .. } if *fault == index)).count();
        let not = events.iter().filter(|event| matches!(event, Event::NotCarriedOut { fault: Some(fault), .. } if *fault == index)).count();
        if told + not < planned {
            wrong.push(format!("fault {}: {planned} firings planned, {told} told, {not} told to be not carried out", fault.name));
        }
    }
    wrong.extend(attributed(results));
    wrong
}

/// What files say differently of which fault an ending belongs to: the last one that acted on the connection.
pub(crate) fn attributed(results: &Results) -> Vec<String> {
    /// Two processes read one clock, µs.
    const SLACK: u64 = 1_000;
    let mut all: Vec<_> = results.events.kept().iter().chain(results.milestones.kept()).collect();
    all.sort_by_key(|(at, number, _)| (*at, *number));
    let mut acted: BTreeMap<(u32, u32), Vec<(u64, u16)>> = BTreeMap::new();
    for (at, _, event) in &all {
        if let Event::Injected { fault, client, connection } = event {
            acted.entry((client.0, connection.0)).or_default().push((*at, *fault));
        }
    }
    let cohort_of = |client: u32| {
        let ends = results.meta.cohorts.iter().scan(0, |sum, cohort| {
            *sum += cohort.planned;
            Some(*sum)
        });
        results.meta.cohorts[ends.take_while(|end| *end <= u64::from(client)).count()].name.clone()
    };
    let last = |who: &(u32, u32), end: u64| {
        let acted = acted.get(who)?.iter().rfind(|(at, _)| *at <= end + SLACK)?;
        Some(results.meta.fault(acted.1))
    };
    let mut wrong = Vec::new();
    let mut faults = BTreeMap::new();
    let mut endings: BTreeMap<(String, Option<String>, u16), u64> = BTreeMap::new();
    for (at, _, event) in &all {
        if let Event::Ended { client, connection, ending, .. } = event {
            let fault = last(&(client.0, connection.0), *at);
            *endings.entry((cohort_of(client.0), fault.clone(), ending.code)).or_default() += 1;
            faults.insert((client.0, connection.0), fault);
        }
    }
    let mut rows: BTreeMap<(String, Option<String>, u16), u64> = BTreeMap::new();
    for row in tables::ending_rows(results) {
        *rows.entry((row.cohort, row.fault, row.client_code.unwrap_or_default())).or_default() += row.count;
    }
    if rows != endings {
        wrong.push(format!("closes.csv has {rows:?}, by the events it is {endings:?}"));
    }
    for outage in results.outages.kept() {
        let (found, expected) = (outage.fault.map(|fault| results.meta.fault(fault)), faults.get(&(outage.client, outage.connection)));
        if Some(&found) != expected {
            let (client, connection) = (outage.client, outage.connection);
            wrong.push(format!(
                "reconnects.csv has {found:?} for connection {connection} of client {client}, by the events it is {expected:?}"
            ));
        }
    }
    let verdict = closestorm::verdict::judge(&Evidence::of(results), &[]);
    let summary = summarise(results, None, &verdict, "");
    let closes = |which: &dyn Fn(&EndingRow) -> bool| summary.endings.iter().filter(|row| which(row)).map(|row| row.count).sum::<u64>();
    for row in summary.surprises.iter().filter(|row| row.side == "client") {
        let own = |of: &EndingRow| {
            of.fault.as_deref() == Some(&row.fault)
                && of.client_code == Some(row.observed)
                && of.cause != "stay"
                && !of.cause.starts_with("deadline")
        };
        if closes(&own) != row.count {
            wrong.push(format!("unexpected codes {row:?}, in closes.csv {}", closes(&own)));
        }
    }
    for row in &summary.liveness {
        let own = |of: &EndingRow| of.fault.as_deref() == Some(&row.fault) && of.cohort == row.cohort;
        let found = |of: &EndingRow| own(of) && of.cause == "deadline:pong" && of.initiator == row.heartbeat;
        // Of what the server found its client may have ended for another reason, or not have heard.
        let times = row.detect_us.count;
        let agrees = match row.heartbeat.as_str() {
            "client" => closes(&found) == times,
            "server" => closes(&found) <= times,
            _ => times == 0,
        };
        if !agrees || times + row.ended_otherwise < closes(&own) {
            wrong.push(format!("liveness {row:?}, in closes.csv {} and {}", closes(&own), closes(&found)));
        }
    }
    wrong
}

fn name(event: &Event) -> &'static str {
    match event {
        Event::AttemptStarted { .. } => "attempt_started",
        Event::Opened { .. } => "opened",
        Event::Ended { .. } => "ended",
        Event::Sent { .. } => "sent",
        Event::NotStarted { .. } => "not_started",
        _ => "",
    }
}
