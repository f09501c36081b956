//! `dialogue`, `first_message`, and the messages of `traffic`: what a scenario says becomes a [`Dialogue`].

use super::diagnostic::{Diagnostic, Sink};
use super::dialogue_keys as keys;
use super::reader::{Reader, entries, template, text, wrong};
use super::section::Section;
use super::tree::{Node, TomlValue};
use crate::dialogue::mqtt;
use crate::dialogue::{
    CaptureFrom, Content, Dialogue, DialogueBeat, DialogueProtocol, DialogueRequest, DialogueStep, ExpectedMessage, FollowedSequence,
    HttpRequest, Matcher, Pattern, RequestPace, StandingReply,
};
use crate::template::{Template, TemplateValues};
use crate::units::Rate;
use base64::Engine;
use regex_lite::Regex;
use std::time::Duration;

/// How long a step waits without `within`.
const WITHIN: Duration = Duration::from_secs(10);
/// Requests of one client that may be under way in a closed loop.
const IN_FLIGHT_MAX: u16 = 1000;
/// Furthest offset of a match.
const OFFSET_MAX: u32 = 1 << 20;

/// The dialogue of a cohort, whatever keys say it; `None`: it has none.
pub(super) fn read(cohort: &Reader<'_>) -> Option<Dialogue> {
    let traffic = cohort.get("traffic").filter(|node| matches!(node.value, TomlValue::Table(_)));
    if let (Some(_), Some(_)) = (cohort.get("dialogue"), traffic) {
        let help = "a dialogue has its own `request` and `rate`: leave `traffic` out";
        cohort.complain("traffic", "`traffic` beside `dialogue`", "what do the clients say?", help);
    }
    let mut dialogue = match cohort.get("dialogue") {
        Some(_) => Some(dialogue(&cohort.table("dialogue", &keys::DIALOGUE)?)),
        None => traffic.and_then(|node| of_traffic(node, cohort.sink)),
    };
    if cohort.get("first_message").is_some() {
        if cohort.get("dialogue").is_some() {
            let help = "write it as the first step: `open = [ { send = \"…\" } ]`";
            cohort.complain("first_message", "`first_message` beside `dialogue`", "found here", help);
        }
        let step = DialogueStep { name: "first_message".into(), send: content(cohort, "first_message"), resume: None, expect: None };
        dialogue.get_or_insert_default().open.push(step);
    }
    dialogue
}

/// `traffic = { send = { message } }` and `traffic = { request = {…} }`.
fn of_traffic(node: &Node, sink: &Sink) -> Option<Dialogue> {
    let traffic = Reader::open(node, &super::keys::TRAFFIC, sink)?;
    if let Some(node) = traffic.get("request") {
        let request = Reader::open(node, &keys::REQUEST, sink)?;
        let send = request.need("message", content(&request, "message"))?;
        let reply = reply(&request).unwrap_or_default();
        let error = matcher(&request, "error");
        let pace = pace(&request);
        let request = DialogueRequest { name: "request".into(), send, reply: Some(reply), error, weight: 1.0 };
        return Some(Dialogue { request: vec![request], pace, ..Dialogue::default() });
    }
    let send = traffic.get("send").filter(|node| node.get("message").is_some())?;
    let send = Reader::open(send, &super::keys::SEND, sink)?;
    if send.get("payload").is_some() {
        send.complain("payload", "`payload` beside `message`", "found here", "a message has its own size: leave one of them out");
    }
    let pace = RequestPace::Rate(super::stages::rate(&send).unwrap_or(Rate(1.0)));
    let send = content(&send, "message")?;
    let request = DialogueRequest { name: "send".into(), send, reply: None, error: None, weight: 1.0 };
    Some(Dialogue { request: vec![request], pace, ..Dialogue::default() })
}

fn dialogue(reader: &Reader<'_>) -> Dialogue {
    let request: Vec<_> =
        tables(reader, "request", &keys::MEASURED).iter().enumerate().filter_map(|(place, one)| measured(one, place)).collect();
    if request.iter().any(|one| one.reply.is_some()) && request.iter().any(|one| one.reply.is_none()) {
        let help = "give each a `reply`, or none: what is sent is answered, lost or unanswered, or nobody answers at all";
        reader.complain("request", "some requests have a reply and others have none", "found here", help);
    }
    let paced = reader.get("rate").is_some() || reader.get("in_flight").is_some();
    if paced && request.is_empty() {
        let key = if reader.get("rate").is_some() { "rate" } else { "in_flight" };
        reader.complain(
            key,
            format!("`{key}` without `request`"),
            "nothing is sent at it",
            "write what is sent, as `request = [ { send = \"…\" } ]`",
        );
    }
    let error = reader.get("error").map_or(&[][..], |node| entries(node, "error", reader.sink).unwrap_or_default());
    let dialogue = Dialogue {
        protocol: reader.choice("protocol", &DialogueProtocol::WORDS),
        before: tables(reader, "before", &keys::BEFORE).iter().enumerate().filter_map(|(place, one)| before(one, place)).collect(),
        open: tables(reader, "open", &keys::STEP).iter().enumerate().map(|(place, one)| step(one, place)).collect(),
        reply: tables(reader, "reply", &keys::REPLY)
            .iter()
            .filter_map(|one| {
                let (to, send) = (one.need("to", matcher(one, "to")), one.need("send", content(one, "send")));
                Some(StandingReply { to: to?, send: send? })
            })
            .collect(),
        beat: reader.table("beat", &keys::BEAT).and_then(|beat| self::beat(&beat)),
        silence: reader.positive("silence"),
        pace: if request.is_empty() { RequestPace::None } else { pace(reader) },
        request,
        receive: matcher(reader, "receive"),
        sequence: sequence(reader),
        timestamp: reader.get("timestamp").and_then(|node| capture(node, reader.sink)),
        capture: captures(reader),
        error: error
            .iter()
            .filter_map(|entry| Some((entry.key.as_str().into(), matcher_of(&entry.key, &entry.node, reader.sink)?)))
            .collect(),
        leave: content(reader, "leave"),
        first_step: 0,
        first_error: 0,
    };
    if let Some(five) = dialogue.protocol.and_then(|protocol| protocol.mqtt()) {
        packets(reader, &dialogue, five);
    }
    dialogue
}

/// Complains of messages that are no MQTT packets, as far as that can be known before names are filled in.
fn packets(reader: &Reader<'_>, dialogue: &Dialogue, five: bool) {
    let open = dialogue.open.iter().flat_map(|step| step.send.iter().chain(&step.resume)).map(|send| ("open", send));
    let request = dialogue.request.iter().map(|request| ("request", &request.send));
    let reply = dialogue.reply.iter().map(|reply| ("reply", &reply.send));
    let beat = dialogue.beat.iter().map(|beat| ("beat", &beat.send));
    let leave = dialogue.leave.iter().map(|leave| ("leave", leave));
    // Whatever a name stands for, it can be a number.
    let values = TemplateValues { client: "1".into(), attempt: "1".into(), own: None };
    for (key, content) in open.chain(request).chain(reply).chain(beat).chain(leave) {
        let Content::Text(template) = content else { continue };
        let mut known = template.clone();
        known.know(&mut |_| Some("1".to_owned()));
        if let Err(why) = mqtt::packet(&known.fill(&values), five) {
            reader.complain(key, "this is no MQTT packet", why, "as '{\"type\":\"publish\",\"topic\":\"a/b\",\"payload\":\"x\"}'");
        }
    }
}

/// The tables of a list; one table is a list of one.
fn tables<'a>(reader: &Reader<'a>, key: &str, section: &'static Section) -> Vec<Reader<'a>> {
    let Some(node) = reader.get(key) else { return Vec::new() };
    let nodes = match &node.value {
        TomlValue::Array(list) => list.as_slice(),
        TomlValue::Table(_) => std::slice::from_ref(node),
        _ => return wrong(key, "a list of tables", node, reader.sink).unwrap_or_default(),
    };
    nodes.iter().filter_map(|node| Reader::open(node, section, reader.sink)).collect()
}

fn name(reader: &Reader<'_>, place: usize) -> Box<str> {
    reader.text("name").map_or_else(|| (place + 1).to_string().into(), Into::into)
}

fn step(reader: &Reader<'_>, place: usize) -> DialogueStep {
    let meant = matcher(reader, "expect");
    if meant.is_none() {
        for key in ["check", "capture", "within"] {
            if reader.get(key).is_some() && reader.get("expect").is_none() {
                reader.complain(key, format!("`{key}` without `expect`"), "of which message?", "write which message is awaited");
            }
        }
    }
    if reader.get("expect").is_none() {
        reader.need("send", reader.get("send"));
    }
    let expect = meant.map(|meant| ExpectedMessage {
        meant,
        check: matcher(reader, "check").unwrap_or_default(),
        capture: captures(reader),
        within: reader.positive("within").unwrap_or(WITHIN),
    });
    let resume = content(reader, "resume");
    if resume.as_ref().is_some_and(|resume| resume.captured().next().is_none()) {
        let help = "it is sent once all that it names has been captured, as '40{\"pid\":\"{captured.pid}\"}'; until then `send` is";
        reader.complain("resume", "`resume` names nothing that is captured", "found here", help);
    }
    DialogueStep { name: name(reader, place), send: content(reader, "send"), resume, expect }
}

fn beat(reader: &Reader<'_>) -> Option<DialogueBeat> {
    let every = reader.need("every", reader.positive("every"));
    let send = reader.need("send", content(reader, "send"));
    let expect = matcher(reader, "expect").map(|matcher| (matcher, reader.positive("within").unwrap_or(WITHIN)));
    Some(DialogueBeat { every: every?, send: send?, expect })
}

fn measured(reader: &Reader<'_>, place: usize) -> Option<DialogueRequest> {
    let weight = reader.decimal("weight", 0.001..=1e6).unwrap_or(1.0);
    let send = reader.need("send", content(reader, "send"));
    let error = matcher(reader, "error");
    if error.is_some() && reader.get("reply").is_none() {
        reader.complain("error", "`error` without `reply`", "found here", "write which message is the reply");
    }
    Some(DialogueRequest { name: name(reader, place), send: send?, reply: reply(reader), error, weight })
}

fn before(reader: &Reader<'_>, place: usize) -> Option<HttpRequest> {
    let url = reader.need("url", reader.template("url"))?;
    let address = reader.text("url").unwrap_or_default();
    if !["http://", "https://", "/"].iter().any(|begin| address.starts_with(begin)) {
        reader.complain(
            "url",
            "this is not an http:// or https:// URL",
            format!("found \"{}\"", crate::secret::mask_address(address)),
            "as \"http://127.0.0.1:8080/login\", or \"/login\" on the target itself",
        );
    }
    let method = reader.text("method").unwrap_or(if reader.get("body").is_some() { "POST" } else { "GET" });
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        reader.complain("method", "this is no HTTP method", "found here", "as \"POST\"");
    }
    let headers = reader.pairs("headers");
    let header =
        |(entry, value): (&super::tree::Entry, &str)| Some((entry.key.clone(), template(value, &entry.node.at, &[], reader.sink)?));
    Some(HttpRequest {
        name: name(reader, place),
        method: method.to_ascii_uppercase().into(),
        url,
        headers: headers.into_iter().filter_map(header).collect(),
        body: reader.template("body").unwrap_or_default(),
        status: reader.short("status", 100..=599),
        capture: captures(reader),
        within: reader.positive("within").unwrap_or(WITHIN),
    })
}

fn pace(reader: &Reader<'_>) -> RequestPace {
    if reader.get("rate").is_some() && reader.get("in_flight").is_some() {
        let help = "`rate` sends by the clock, `in_flight` when a reply came: leave one of them out";
        reader.complain("in_flight", "a loop is open or closed, not both", "beside `rate`", help);
    }
    match reader.short("in_flight", 1..=IN_FLIGHT_MAX) {
        Some(most) => RequestPace::InFlight(most),
        None => RequestPace::Rate(super::stages::rate(reader).unwrap_or(Rate(1.0))),
    }
}

/// `reply`: the word "any", or a match.
fn reply(reader: &Reader<'_>) -> Option<Matcher> {
    match &reader.get("reply")?.value {
        TomlValue::Text(word) if word == "any" => Some(Matcher::default()),
        _ => matcher(reader, "reply"),
    }
}

fn matcher(reader: &Reader<'_>, key: &str) -> Option<Matcher> {
    matcher_of(key, reader.get(key)?, reader.sink)
}

fn matcher_of(key: &str, node: &Node, sink: &Sink) -> Option<Matcher> {
    if matches!(node.value, TomlValue::Text(_)) {
        return Some(Matcher { prefix: Some(content_of(key, node, sink)?), ..Matcher::default() });
    }
    let reader = Reader::open(node, &keys::MATCH, sink)?;
    let any = reader.only_true("any");
    if !any && reader.node.entries().is_empty() {
        sink.push(Diagnostic::new(&node.at, "this match says nothing", "an empty table").help("write `{ any = true }` for any message"));
    }
    let at = reader.table("at", &keys::AT).and_then(|at| {
        let bytes = at.need("hex", at.text("hex")).and_then(|text| hex(text, &at, "hex"))?;
        Some((at.number("offset", 0..=OFFSET_MAX).unwrap_or(0) as usize, bytes))
    });
    Some(Matcher {
        prefix: content(&reader, "prefix"),
        equals: content(&reader, "equals"),
        contains: content(&reader, "contains"),
        json: json(&reader),
        regex: reader.text("regex").and_then(|text| pattern(&reader, "regex", text)),
        at,
    })
}

/// JSON pointers and values.
fn json(reader: &Reader<'_>) -> Vec<(String, Option<Template>)> {
    let Some(node) = reader.get("json") else { return Vec::new() };
    let mut all = Vec::new();
    for entry in entries(node, "json", reader.sink).unwrap_or_default() {
        check_pointer(&entry.key, &entry.at, reader.sink);
        let value = match &entry.node.value {
            TomlValue::Text(value) => template(value, &entry.node.at, &[], reader.sink),
            TomlValue::Integer(number) => Some(Template::plain(&number.to_string())),
            TomlValue::Float(number) => Some(Template::plain(&number.to_string())),
            TomlValue::Bool(true) => None,
            TomlValue::Bool(false) => Some(Template::plain("false")),
            _ => wrong(&entry.key, "a text, a number or true", &entry.node, reader.sink),
        };
        all.push((entry.key.clone(), value));
    }
    all
}

/// `sequence`: where the number stands, or a table.
fn sequence(reader: &Reader<'_>) -> Option<FollowedSequence> {
    let node = reader.get("sequence")?;
    if matches!(node.value, TomlValue::Text(_)) {
        return Some(FollowedSequence { number: capture(node, reader.sink)?, stream: None, replayed: None });
    }
    let table = Reader::open(node, &keys::SEQUENCE, reader.sink)?;
    let of = |key: &str| table.get(key).and_then(|node| capture(node, table.sink));
    let number = table.need("number", of("number"))?;
    Some(FollowedSequence { number, stream: of("stream"), replayed: matcher(&table, "replayed") })
}

fn check_pointer(pointer: &str, at: &super::diagnostic::At, sink: &Sink) {
    if !pointer.is_empty() && !pointer.starts_with('/') {
        let diagnostic = Diagnostic::new(at, format!("\"{pointer}\" is no JSON pointer"), "found here");
        sink.push(diagnostic.help(format!("write \"/{}\"", pointer.replace('.', "/"))));
    }
}

fn captures(reader: &Reader<'_>) -> Vec<(Box<str>, CaptureFrom)> {
    let Some(node) = reader.get("capture") else { return Vec::new() };
    let list = entries(node, "capture", reader.sink).unwrap_or_default();
    list.iter().filter_map(|entry| Some((entry.key.as_str().into(), capture(&entry.node, reader.sink)?))).collect()
}

fn capture(node: &Node, sink: &Sink) -> Option<CaptureFrom> {
    if let TomlValue::Text(pointer) = &node.value {
        check_pointer(pointer, &node.at, sink);
        return Some(CaptureFrom::Json(pointer.clone()));
    }
    let reader = Reader::open(node, &keys::CAPTURED, sink)?;
    let from = match reader.one_of(&["json", "regex", "header", "whole"])? {
        "json" => {
            let pointer = reader.text("json")?;
            check_pointer(pointer, reader.at("json"), sink);
            CaptureFrom::Json(pointer.to_owned())
        }
        "regex" => CaptureFrom::Regex(pattern(&reader, "regex", reader.text("regex")?)?),
        "header" => CaptureFrom::Header(reader.text("header")?.to_owned()),
        _ => {
            reader.only_true("whole");
            CaptureFrom::Whole
        }
    };
    Some(if reader.only_true("optional") { CaptureFrom::OrNothing(Box::new(from)) } else { from })
}

fn pattern(reader: &Reader<'_>, key: &str, text: &str) -> Option<Pattern> {
    match Regex::new(text) {
        Ok(regex) => Some(Pattern(regex)),
        Err(error) => {
            reader.complain(key, "this is no regular expression", error.to_string(), "as \"^ok [0-9]+$\"");
            None
        }
    }
}

fn content(reader: &Reader<'_>, key: &str) -> Option<Content> {
    content_of(key, reader.get(key)?, reader.sink)
}

/// Text with names in braces, or bytes: `hex:…`, `base64:…`. `text:` stands before text that begins with one of these.
fn content_of(key: &str, node: &Node, sink: &Sink) -> Option<Content> {
    let found = text(key, node, sink)?;
    let wrong = |what: &str| {
        let diagnostic = Diagnostic::new(&node.at, format!("`{key}`: this is not {what}"), "found here");
        sink.push(diagnostic.help("write `text:` before a text that begins like this"));
        None
    };
    if let Some(digits) = found.strip_prefix("hex:") {
        return unhex(digits).map_or_else(|| wrong("hexadecimal"), |bytes| Some(Content::Bytes(bytes)));
    }
    if let Some(base64) = found.strip_prefix("base64:") {
        let decoded = base64::engine::general_purpose::STANDARD.decode(base64).ok();
        return decoded.map_or_else(|| wrong("base64"), |bytes| Some(Content::Bytes(bytes.into())));
    }
    template(found.strip_prefix("text:").unwrap_or(found), &node.at, &[], sink).map(Content::Text)
}

fn hex(digits: &str, reader: &Reader<'_>, key: &str) -> Option<Box<[u8]>> {
    let bytes = unhex(digits);
    if bytes.is_none() {
        reader.complain(key, "these are no bytes", "found here", "two hexadecimal digits for each, as \"2002\"");
    }
    bytes
}

fn unhex(digits: &str) -> Option<Box<[u8]>> {
    let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2 && !pair.contains('+'))?;
        u8::from_str_radix(pair, 16).ok()
    };
    digits.chunks(2).map(byte).collect()
}
