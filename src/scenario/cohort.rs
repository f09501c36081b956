//! `[clients.NAME]`: the cohorts.

use super::diagnostic::{Diagnostic, Sink};
use super::keys;
use super::reader::{Reader, entries, template};
use super::times::times;
use super::tree::{Entry, TomlValue};
use super::{readiness, reconnect, stages};
use crate::address::encoded;
use crate::close;
use crate::dialogue::STAMP;
use crate::plan::{Arrive, Cohort, Deadlines, Heartbeat, Patience, Stay, Target, Traffic};
use crate::reconnect::Driver;
use crate::template::Template;
use crate::units::{Bytes, Rate};
use std::time::Duration;

/// Longest reason of a Close frame: 125 bytes of a control frame less the status code (RFC 6455 §5.5).
const REASON_MAX: usize = 123;
/// Messages of one client that may be under way in a closed loop.
const IN_FLIGHT_MAX: u16 = 1000;
/// An echo says whose it is.
const ECHO_MIN: Bytes = Bytes(STAMP as u64);
const PAYLOAD_MAX: Bytes = Bytes(16 << 20);
/// What a client accepts without the key `max_message`; its own payload, if that is longer, as echoes have its length.
const MAX_MESSAGE: Bytes = Bytes(1 << 20);
const MAX_MESSAGE_LEAST: Bytes = Bytes(1 << 10);
const MAX_MESSAGE_MOST: Bytes = Bytes(1 << 30);
/// Headers that the opening handshake sets itself.
const OWN_HEADERS: &[&str] = &[
    "upgrade",
    "connection",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "content-length",
    "transfer-encoding",
];

/// Cohorts of a scenario; more are a slip.
const COHORTS_MAX: usize = 1000;

/// Reads all cohorts. `duration` is the length of the run; notices are added for what a user should know.
pub(super) fn read(top: &Reader<'_>, target: Option<&Target>, run: Duration, notices: &mut Vec<String>) -> Vec<Cohort> {
    let Some(node) = top.get("clients") else {
        let help = "as `[clients.web]` with `count = 100`";
        top.complain("clients", "there are no clients", "the scenario has no `[clients.NAME]`", help);
        return Vec::new();
    };
    let Some(list) = entries(node, "clients", top.sink) else { return Vec::new() };
    if list.is_empty() {
        top.complain("clients", "there are no clients", "no cohort here", "as `[clients.web]` with `count = 100`");
    }
    if list.len() > COHORTS_MAX {
        top.complain("clients", "too many cohorts", format!("found {}", list.len()), "at most 1000");
        return Vec::new();
    }
    let mut first = 0;
    list.iter()
        .filter_map(|entry| {
            check_name(&entry.key, "cohort", entry, top.sink);
            let cohort = cohort(entry, target, first, run, top.sink, notices)?;
            first += cohort.count;
            Some(cohort)
        })
        .collect()
}

/// Complains of a name that could not stand in an expectation.
pub(super) fn check_name(name: &str, what: &str, entry: &Entry, sink: &Sink) {
    let fine = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || !name.chars().all(fine) {
        let title = format!("\"{name}\" cannot be the name of a {what}");
        sink.push(Diagnostic::new(&entry.at, title, "found here").help("a name has letters, digits, `_`, `-` and `.`"));
    }
}

fn cohort(entry: &Entry, target: Option<&Target>, first: u32, run: Duration, sink: &Sink, notices: &mut Vec<String>) -> Option<Cohort> {
    let reader = Reader::open(&entry.node, &keys::COHORT, sink)?;
    let strategy = reconnect::read(&reader);
    let deadlines = reader.table("deadlines", &keys::DEADLINES);
    let wait = |key| deadlines.as_ref().and_then(|reader| reader.duration(key));
    let usual = Deadlines::default();
    let own = |key, usual| wait(key).map_or(if strategy.has_patience { Patience::Strategy } else { usual }, Patience::Own);
    let script = super::dialogue::read(&reader);
    let mut traffic = traffic(&reader);
    // The messages of `echo` and of `send` without a text of their own are said as ever.
    if let (Traffic::None, Some(script)) = (traffic, &script) {
        traffic = Traffic::of(script);
    }
    let data = super::data::read(&reader);
    let after = reader.duration("after").unwrap_or_default();
    let arrive = arrive(&reader);
    let count = stages::count(&reader, arrive.as_ref());
    let ready = readiness::read(&reader, (traffic, script.as_ref(), &strategy.policy), target, &entry.key, run, notices);
    Some(Cohort {
        name: entry.key.clone(),
        first,
        count,
        arrive: arrive.unwrap_or(Arrive::Over(run / 10)),
        after,
        traffic,
        rate_stages: stages::of_cohort(&reader, after),
        script: script.map(Box::new),
        data,
        heartbeat: client_heartbeat(&reader, &strategy.policy, target, &entry.key, notices),
        stay: reader.table("stay", &keys::STAY).and_then(|stay| self::stay(&stay)),
        deadlines: Deadlines {
            connect: own("connect", usual.connect),
            handshake: own("handshake", usual.handshake),
            close: wait("close").unwrap_or(usual.close),
            fin: wait("fin").unwrap_or(usual.fin),
        },
        ready,
        max_message: max_message(&reader, traffic),
        greeted: matches!(target, Some(Target::Embedded(_))),
        cookies: reader.flag("cookies").unwrap_or(true),
        headers: headers(&reader),
        subprotocols: subprotocols(&reader),
        path: path(&reader),
        query: query(&reader),
        resume: reader.flag("resume").unwrap_or(strategy.policy.resume),
        reconnect: strategy.policy,
        reconnect_label: strategy.label,
    })
}

fn max_message(reader: &Reader<'_>, traffic: Traffic) -> Bytes {
    let bytes = reader.bytes("max_message").unwrap_or(MAX_MESSAGE.max(Bytes(traffic.message_bytes().into())));
    if bytes < MAX_MESSAGE_LEAST || bytes > MAX_MESSAGE_MOST {
        let help = format!("a client accepts messages of {MAX_MESSAGE_LEAST} to {MAX_MESSAGE_MOST} at most");
        reader.complain("max_message", "`max_message` is out of bounds", format!("found {bytes}"), help);
    }
    bytes
}

fn path(reader: &Reader<'_>) -> Option<Template> {
    let path = reader.template("path")?;
    let text = reader.text("path").unwrap_or_default();
    if !text.starts_with('/') || text.contains('?') {
        let help = "as \"/room/{client}\"; what follows a `?` is the key `query`";
        reader.complain("path", "this is not the path of a URL", format!("found \"{text}\""), help);
    }
    Some(in_url(reader, "path", path))
}

fn query(reader: &Reader<'_>) -> Option<Template> {
    let text = reader.text("query")?.trim_start_matches('?');
    let query = template(text, reader.at("query"), &[], reader.sink)?;
    Some(in_url(reader, "query", query))
}

/// Percent-encoded, but for what the user must say.
fn in_url(reader: &Reader<'_>, key: &str, template: Template) -> Template {
    if template.texts().any(|text| text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#')) {
        reader.complain(key, "this cannot stand in a URL", "has spaces, `#` or control characters", "write them percent-encoded, as %20");
    }
    encoded(template)
}

fn arrive(reader: &Reader<'_>) -> Option<Arrive> {
    let arrive = reader.table("arrive", &keys::ARRIVE)?;
    match arrive.only_one()? {
        "over" => arrive.duration("over").map(Arrive::Over),
        "rate" => arrive.rate("rate").map(Arrive::Rate),
        "poisson" => arrive.rate("poisson").map(Arrive::Poisson),
        "stages" => stages::clients(&arrive),
        "per_second" => stages::per_second(&arrive),
        _ => arrive.only_true("at_once").then_some(Arrive::AtOnce),
    }
}

fn traffic(reader: &Reader<'_>) -> Traffic {
    let Some(node) = reader.get("traffic") else { return Traffic::None };
    if is_none(node, "traffic", "a table", reader.sink) {
        return Traffic::None;
    }
    let Some(traffic) = reader.table("traffic", &keys::TRAFFIC) else { return Traffic::None };
    match traffic.only_one() {
        Some("request") => Traffic::None,
        Some("send") if traffic.get("send").is_some_and(|send| send.get("message").is_some()) => Traffic::None,
        Some("echo") => traffic.table("echo", &keys::ECHO).map_or(Traffic::None, |echo| {
            let payload = payload(&echo, "echo", ECHO_MIN);
            if echo.get("rate").is_some() && echo.get("in_flight").is_some() {
                let help = "`rate` sends by the clock, `in_flight` when a reply came: leave one of them out";
                echo.complain("in_flight", "`rate` and `in_flight` conflict", "beside `rate`", help);
            }
            match echo.short("in_flight", 1..=IN_FLIGHT_MAX) {
                Some(in_flight) => Traffic::EchoClosed { in_flight, payload },
                None => Traffic::Echo { rate: rate(&echo), payload },
            }
        }),
        Some("send") => traffic
            .table("send", &keys::SEND)
            .map_or(Traffic::None, |send| Traffic::Send { payload: payload(&send, "send", Bytes(0)), rate: rate(&send) }),
        Some(_) => {
            traffic.only_true("listen");
            Traffic::None
        }
        None => Traffic::None,
    }
}

fn rate(reader: &Reader<'_>) -> Rate {
    stages::rate(reader).unwrap_or(Rate(1.0))
}

fn payload(reader: &Reader<'_>, key: &str, least: Bytes) -> Bytes {
    let payload = reader.bytes("payload").unwrap_or(Bytes(100));
    if payload < least || payload > PAYLOAD_MAX {
        let help = format!("with {key} a payload has {least} to {PAYLOAD_MAX}");
        reader.complain("payload", "`payload` is out of bounds", format!("found {payload}"), help);
    }
    payload
}

/// Whether a node is the word "none"; complains of other texts.
fn is_none(node: &super::tree::Node, key: &str, else_takes: &str, sink: &Sink) -> bool {
    let TomlValue::Text(text) = &node.value else { return false };
    if text != "none" {
        let title = format!("`{key}` takes \"none\" or {else_takes}");
        sink.push(Diagnostic::new(&node.at, title, format!("found \"{text}\"")).allowed(text, ["none"].into_iter()));
    }
    true
}

/// `{ every, timeout }`.
pub(super) fn heartbeat(reader: &Reader<'_>) -> Option<Heartbeat> {
    let timeout = reader.positive("timeout");
    let every = reader.need("every", reader.positive("every"))?;
    Some(Heartbeat { every, timeout: timeout.unwrap_or(every) })
}

/// The cohort's own heartbeat, else the preset's where the client drives it.
fn client_heartbeat(
    reader: &Reader<'_>,
    policy: &crate::reconnect::Policy,
    target: Option<&Target>,
    name: &str,
    notices: &mut Vec<String>,
) -> Option<Heartbeat> {
    if let Some(node) = reader.get("heartbeat") {
        let off = is_none(node, "heartbeat", "a table", reader.sink);
        return if off { None } else { reader.table("heartbeat", &keys::HEARTBEAT).and_then(|reader| heartbeat(&reader)) };
    }
    match policy.heartbeat()? {
        (Driver::Client, every, timeout) if !every.is_zero() => Some(Heartbeat { every, timeout }),
        (Driver::Client, ..) => None,
        (Driver::Server, ..) => {
            if !matches!(target, Some(Target::Embedded(embedded)) if embedded.ping.is_some()) {
                notices.push(format!(
                    "cohort {name}: its library expects pings from the server, and this target is not known to send any: the heartbeat \
                     is off"
                ));
            }
            None
        }
    }
}

fn stay(reader: &Reader<'_>) -> Option<Stay> {
    let time = reader.need("for", times(reader, "for"))?;
    let frame = reader.table("close", &keys::CLOSE);
    let (code, reason) = frame.map_or((Some(close::NORMAL), String::new()), |frame| close_frame(&frame));
    Some(Stay { time, code, reason, back: reader.duration("return") })
}

fn close_frame(reader: &Reader<'_>) -> (Option<u16>, String) {
    let code = reader.short("code", 0..=65535);
    if let Some(code) = code.filter(|code| !close::may_be_sent(*code)) {
        let help = "allowed: 1000-1003, 1007-1014, 3000-4999; for any other code use the fault `close_code`";
        reader.complain("code", format!("{code} may not stand in a Close frame"), close::name(code), help);
    }
    let reason = reader.text("reason").unwrap_or_default().to_owned();
    if reason.len() > REASON_MAX {
        let label = format!("found {} bytes", reason.len());
        reader.complain("reason", "this reason is too long", label, format!("a Close frame holds {REASON_MAX} bytes of it"));
    }
    if !reason.is_empty() && reader.get("code").is_none() {
        reader.complain("reason", "a reason needs a code", "there is no `code`", "an empty Close frame has no room for a reason");
    }
    (code, reason)
}

fn headers(reader: &Reader<'_>) -> Vec<(String, Template)> {
    let pairs = reader.pairs("headers");
    for (entry, value) in &pairs {
        let (title, help) = if !is_token(&entry.key) {
            ("this is not the name of a header", "letters, digits and some of !#$%&'*+-.^_`|~, without spaces")
        } else if OWN_HEADERS.contains(&entry.key.to_ascii_lowercase().as_str()) {
            ("this header belongs to the opening handshake", "for Sec-WebSocket-Protocol there is the key `subprotocols`")
        } else if value.contains(|c: char| c.is_control() && c != '\t') {
            ("the value of a header has no control characters", "write it in one line; each header has a key of its own")
        } else {
            continue;
        };
        reader.sink.push(Diagnostic::new(&entry.at, title, "found here").help(help));
    }
    let filled = |(entry, value): (&Entry, &str)| Some((entry.key.clone(), template(value, &entry.node.at, &[], reader.sink)?));
    pairs.into_iter().filter_map(filled).collect()
}

fn subprotocols(reader: &Reader<'_>) -> Vec<Template> {
    let mut list = Vec::new();
    for (name, at) in reader.texts("subprotocols") {
        let Some(template) = template(name, at, &[], reader.sink) else { continue };
        if name.is_empty() || !template.texts().all(is_token) {
            let help = "letters, digits and some of !#$%&'*+-.^_`|~, without spaces or commas";
            reader.sink.push(Diagnostic::new(at, "this is not the name of a subprotocol", "found here").help(help));
        }
        list.push(template);
    }
    list
}

/// A token of RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
