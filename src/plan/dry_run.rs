//! The plan in words, byte for byte the same for the same scenario, seed and program version.

use super::{
    AddressChoice, Arrive, Before, Cohort, Deadlines, Embedded, Fault, Heartbeat, Patience, Pick, Plan, Readiness, Ready, Remote, Repeat,
    Select, Target,
};
use crate::event::ClientIndex;
use crate::fault::{Form, Value};
use crate::number::noun_of;
use crate::reconnect::{Decision, Loss, whole_ms};
use crate::secret::{Holder, mask, mask_address};
use crate::seed::Seed;
use crate::template::Template;
use crate::text::printable;
use crate::units::{Ratio, print_duration};
use std::fmt::Write;
use std::time::Duration;

/// Clients of each cohort whose waits are shown.
const CLIENTS_SHOWN: u32 = 3;
/// Waits shown for each.
const WAITS_SHOWN: usize = 5;
/// Firings shown of each fault.
const FIRINGS_SHOWN: usize = 10;
/// How long the shown clients were connected before: long enough for every rule that asks for a stable connection.
const CONNECTED: Duration = Duration::from_secs(600);

impl Plan {
    /// The plan in words: parameters, arrivals, firings with their offsets, and the waits of a few clients as their streams draw them;
    /// without secrets.
    pub fn dry_run(&self) -> String {
        let mut out = String::new();
        line(
            &mut out,
            0,
            &format!("scenario {}: {}, {}, seed {}", self.name, clients(self.clients()), print_duration(self.duration), self.seed.0),
        );
        for (word, text) in [("question", &self.question), ("hypothesis", &self.hypothesis)] {
            text.iter().for_each(|text| line(&mut out, 1, &format!("{word}: {text}")));
        }
        if let Some(answer) = &self.answer {
            line(&mut out, 1, &format!("answer if all expectations hold: {}", answer.pass));
            line(&mut out, 1, &format!("answer if one fails: {}", answer.fail));
        }
        target(&mut out, &self.target);
        self.cohorts.iter().for_each(|one| cohort(&mut out, one, self.seed));
        self.faults.iter().for_each(|fault| self::fault(&mut out, fault, self));
        self.expectations.iter().for_each(|expectation| line(&mut out, 0, &format!("expect {}", expectation.text)));
        self.notices.iter().for_each(|notice| line(&mut out, 0, &format!("note: {notice}")));
        self.secrets.hide(&out)
    }
}

/// So many clients, without separators: as a scenario has the number.
fn clients(count: u32) -> String {
    format!("{count} {}", noun_of(count.into(), "client"))
}

fn line(out: &mut String, depth: usize, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{:indent$}{}", "", printable(text), indent = depth * 2);
}

fn target(out: &mut String, target: &Target) {
    match target {
        Target::Embedded(embedded) => {
            line(out, 0, &format!("target embedded: {}", embedded_words(embedded)));
        }
        Target::Command(command) => {
            let ready = match &command.ready {
                Ready::Tcp => "a TCP connect".to_owned(),
                Ready::Http { path, status } => format!("status {status} from {path}"),
                Ready::Line { text } => format!("the line \"{text}\""),
            };
            line(out, 0, &format!("target command: {}", command.shown));
            line(
                out,
                1,
                &format!("at {}, ready by {ready} within {}", mask_address(&command.address), print_duration(command.ready_within)),
            );
            line(out, 1, &format!("stopped by {}", command.stop_signal));
            before(out, command.before);
        }
        Target::Url(remote) => {
            line(out, 0, &format!("target {}", remote.address));
            if !remote.source.is_empty() {
                let source: Vec<_> = remote.source.iter().map(ToString::to_string).collect();
                line(out, 1, &format!("from {}", source.join(", ")));
            }
            reached(out, remote);
            before(out, remote.before);
        }
    }
}

/// How a target that runs already is connected to, as far as a scenario says.
fn reached(out: &mut String, remote: &Remote) {
    for (name, address) in &remote.resolve {
        line(out, 1, &format!("{name} is {address}"));
    }
    match remote.addresses {
        AddressChoice::Library => {}
        AddressChoice::First => line(out, 1, "the first address of the host that answers"),
        AddressChoice::InTurn => line(out, 1, "addresses of the host in turn"),
        AddressChoice::Random => line(out, 1, "addresses of the host at random"),
    }
    remote.proxy.iter().for_each(|proxy| line(out, 1, &format!("through the proxy {}", proxy.address)));
    remote.certificate.iter().for_each(|(certificate, _)| line(out, 1, &format!("client certificate {}", certificate.display())));
    remote.sni.iter().for_each(|name| line(out, 1, &format!("TLS name {name}")));
    if !remote.alpn.is_empty() {
        line(out, 1, &format!("ALPN {}", remote.alpn.join(", ")));
    }
    if remote.redirects > 0 {
        line(out, 1, &format!("follows redirects, at most {} for each attempt", remote.redirects));
    }
}

fn before(out: &mut String, before: Before) {
    if before.probe {
        line(out, 1, "probe: one opening handshake before the run, with the values of the first client; not counted");
    }
}

fn embedded_words(embedded: &Embedded) -> String {
    let Embedded { instances, balance, handshake_cost, parallel, backlog, queue, tls, .. } = embedded;
    let mut words = format!("instances {instances}, balance {balance:?}, handshake_cost {}", print_duration(*handshake_cost));
    let _ = write!(words, ", parallel {parallel}, backlog {backlog}, queue {queue:?}");
    if let Some(max) = embedded.max_connections {
        let _ = write!(words, ", max_connections {max}");
    }
    if let Some(admit) = embedded.admit {
        let _ = write!(words, ", admit {} with burst {}, else {}", admit.rate, admit.burst, admit.reject);
        admit.retry_after.iter().for_each(|after| words += &format!(" with Retry-After {}", print_duration(*after)));
    }
    embedded.slow_start.iter().for_each(|time| words += &format!(", slow_start {}", print_duration(*time)));
    embedded.ping.iter().for_each(|ping| words += &format!(", ping {}", heartbeat(ping)));
    words + if *tls { ", wss" } else { ", ws" }
}

fn heartbeat(heartbeat: &Heartbeat) -> String {
    format!("every {} with timeout {}", print_duration(heartbeat.every), print_duration(heartbeat.timeout))
}

fn cohort(out: &mut String, cohort: &Cohort, seed: Seed) {
    let last = cohort.first + cohort.count.saturating_sub(1);
    line(out, 0, &format!("cohort {}: {}, {} to {last}", cohort.name, clients(cohort.count), cohort.first));
    let shape = match &cohort.arrive {
        Arrive::Over(span) => format!("over {}", print_duration(*span)),
        Arrive::Rate(rate) => format!("at {rate}"),
        Arrive::Poisson(rate) => format!("poisson {rate}"),
        Arrive::AtOnce => "at once".to_owned(),
        Arrive::Stages(stages) => format!("in stages ({stages})"),
        Arrive::PerSecond(counts) => format!("as in {} s of a list", counts.len()),
    };
    let after = if cohort.after.is_zero() { String::new() } else { format!(" after {}", print_duration(cohort.after)) };
    let due = cohort.due_times(seed);
    let edge = |due: Option<&Duration>| print_duration(due.copied().unwrap_or_default());
    line(out, 1, &format!("arrive {shape}{after}: first {}, last {}, schedule {:016x}", edge(due.first()), edge(due.last()), hash(&due)));
    let stages = cohort.rate_stages.as_ref().map(|stages| format!("; its rate in stages ({stages})")).unwrap_or_default();
    line(out, 1, &format!("traffic {}{stages}", cohort.traffic));
    line(out, 1, &format!("heartbeat {}", cohort.heartbeat.as_ref().map_or("none".to_owned(), heartbeat)));
    stay(out, cohort);
    line(out, 1, &format!("deadlines {}", deadlines(cohort)));
    line(out, 1, &format!("ready {}", readiness(&cohort.ready)));
    let masked = |holder, template: &Template| mask(holder, &template.to_string());
    cohort.headers.iter().for_each(|(name, value)| line(out, 1, &format!("header {name}: {}", masked(Holder::Field(name), value))));
    if !cohort.subprotocols.is_empty() {
        let all: Vec<_> = cohort.subprotocols.iter().map(ToString::to_string).collect();
        let before = |index: usize| index.checked_sub(1).map(|before| all[before].as_str());
        let shown: Vec<_> = all.iter().enumerate().map(|(index, one)| mask(Holder::Subprotocol(before(index)), one)).collect();
        line(out, 1, &format!("subprotocols {}", shown.join(", ")));
    }
    cohort.path.iter().for_each(|path| line(out, 1, &format!("path {}", masked(Holder::Address, path))));
    cohort.query.iter().for_each(|query| line(out, 1, &format!("query {}", masked(Holder::Query, query))));
    line(out, 1, &format!("reconnect {}", cohort.reconnect_label));
    for client in cohort.first..cohort.first + cohort.count.min(CLIENTS_SHOWN) {
        line(out, 2, &format!("client {client} would wait {}", waits(cohort, ClientIndex(client), seed)));
    }
}

/// What ends a stage of an attempt, and a closing handshake.
fn deadlines(cohort: &Cohort) -> String {
    let Deadlines { connect, handshake, close, fin } = cohort.deadlines;
    let wait = |duration: Duration, never: &str| if duration.is_zero() { never.to_owned() } else { print_duration(duration) };
    let strategy = cohort.reconnect.patience().filter(|_| [connect, handshake].contains(&Patience::Strategy));
    let stage = |patience, never: &str| match patience {
        Patience::Own(own) => wait(own, never),
        Patience::Strategy if strategy.is_some() => "the attempt's".to_owned(),
        Patience::Strategy => never.to_owned(),
    };
    let attempt = strategy.as_ref().map(|patience| format!("attempt {patience}, ")).unwrap_or_default();
    let (connect, handshake) = (stage(connect, "the kernel's"), stage(handshake, "none"));
    format!("{attempt}connect {connect}, handshake {handshake}, close {}, fin {}", wait(close, "none"), wait(fin, "none"))
}

fn readiness(ready: &Readiness) -> String {
    match ready {
        Readiness::Open => "when open".to_owned(),
        Readiness::Dialogue => "when the opening steps of the dialogue are done".to_owned(),
        Readiness::Reply => "with the first reply".to_owned(),
        Readiness::Message => "with the first message of the server".to_owned(),
        Readiness::Matches(text) => format!("with the first message of the server that contains \"{text}\""),
        Readiness::OpenFor(time) => format!("when open for {}", print_duration(*time)),
    }
}

fn stay(out: &mut String, cohort: &Cohort) {
    let Some(stay) = &cohort.stay else { return };
    let frame = stay.code.map_or("an empty Close frame".to_owned(), |code| format!("code {code} \"{}\"", stay.reason));
    let back = stay.back.map_or("for good".to_owned(), |back| format!("back after {}", print_duration(back)));
    line(out, 1, &format!("stay {}, then {frame}, {back}", stay.time));
}

/// The waits of a client whose connection ends with 1006 and whose attempts all fail at once.
fn waits(cohort: &Cohort, client: ClientIndex, seed: Seed) -> String {
    let mut stream = seed.stream(&format!("client/{}/reconnect", client.0));
    let random = &mut || stream.unit();
    let mut history = cohort.reconnect.start(random);
    history.attempt_started(Duration::ZERO);
    history.opened(Duration::ZERO);
    history.ready();
    let (mut now, mut loss) = (CONNECTED, Loss::Closed { code: crate::close::ABNORMAL });
    let mut words = Vec::new();
    for _ in 0..WAITS_SHOWN {
        match cohort.reconnect.decide(&mut history, &loss, now, random) {
            Decision::Wait(exact) => {
                let wait = whole_ms(exact);
                words.push(print_duration(wait));
                now += wait;
                history.attempt_started(now);
            }
            Decision::GiveUp(_) => {
                words.push("and give up".to_owned());
                return words.join(", ");
            }
        }
        loss = Loss::Failed;
    }
    words.join(", ") + ", …"
}

fn fault(out: &mut String, fault: &Fault, plan: &Plan) {
    let side = fault.side.word();
    let values = fault.inject.values.0.iter().map(|(name, value)| format!("{name} {}", value_words(value)));
    let values = values.collect::<Vec<_>>().join(", ");
    let values = if values.is_empty() { "{}".to_owned() } else { format!("{{ {values} }}") };
    line(out, 0, &format!("fault {}: {} {values} by the {side}", fault.name, fault.inject.row.kind));
    let firings = fault.firings(plan.seed, plan.duration);
    let shown: Vec<_> = firings.iter().take(FIRINGS_SHOWN).map(|offset| print_duration(*offset)).collect();
    let more = if firings.len() > shown.len() { ", …" } else { "" };
    let how = match fault.schedule.repeat {
        Repeat::Once => String::new(),
        Repeat::Every(gap) => format!(", every {}", print_duration(gap)),
        Repeat::Poisson(rate) => format!(", poisson {rate}"),
    };
    line(out, 1, &format!("firings {}{how}, schedule {:016x}: {}{more}", firings.len(), hash(&firings), shown.join(", ")));
    fault.schedule.revert_after.iter().for_each(|after| line(out, 1, &format!("reverted after {}", print_duration(*after))));
    fault.schedule.first_n.iter().for_each(|n| line(out, 1, &format!("ends after {n} hits")));
    if !matches!(fault.inject.row.form, Form::Listener | Form::Process { .. }) {
        let later = if fault.new { ", and connections that open later" } else { "" };
        line(out, 1, &format!("selects {}{later}", select_words(&fault.select, plan)));
    }
}

fn value_words(value: &Value) -> String {
    match value {
        Value::Duration(duration) => print_duration(*duration),
        Value::Bytes(bytes) => bytes.to_string(),
        Value::Whole(number) => number.to_string(),
        Value::Share(share) => Ratio(*share).to_string(),
        Value::Text(text) => format!("\"{text}\""),
    }
}

fn select_words(select: &Select, plan: &Plan) -> String {
    let pick = match select.pick {
        Pick::All => "all".to_owned(),
        Pick::Count(count) => count.to_string(),
        Pick::Share(share) => Ratio(share).to_string(),
        Pick::Nth(n) => format!("every {n}th client"),
    };
    let mut words = pick;
    if let Some(cohort) = select.cohort.and_then(|index| plan.cohorts.get(index)) {
        words += &format!(" of cohort {}", cohort.name);
    }
    select.phase.iter().for_each(|phase| words += &format!(" in phase {}", format!("{phase:?}").to_lowercase()));
    if !select.min_age.is_zero() {
        words += &format!(" open for {}", print_duration(select.min_age));
    }
    words
}

/// FNV-1a over the nanoseconds: two schedules with the same hash are the same for all practical purposes.
fn hash(offsets: &[Duration]) -> u64 {
    let bytes = offsets.iter().flat_map(|offset| offset.as_nanos().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
