//! `reconnect`: a preset's name, "none", or a schedule, with further parameters by the names of the preset file.

use super::diagnostic::{At, Diagnostic, Sink};
use super::reader::{Reader, duration, entries, text, whole, wrong};
use super::tree::{Node, TomlValue};
use crate::reconnect::{Jitter, Policy, SETTINGS, Setting, SettingError, SettingRow, SettingShape, TableEnd, names};
use std::time::Duration;

/// A cohort's way back.
pub(super) struct Strategy {
    pub(super) policy: Policy,
    /// As the user wrote it, for tables and charts.
    pub(super) label: String,
    /// It says itself how long an attempt is waited for, or that it is not: a preset does, and `connect_timeout`.
    pub(super) has_patience: bool,
}

/// The schedules that need no preset, and their parameters: as written, and the setting that each stands for. The first is required.
pub(super) const SCHEDULES: &[(&str, &[(&str, &str)])] = &[
    ("fixed", &[("delay", "base")]),
    ("linear", &[("base", "base"), ("step", "step"), ("cap", "cap")]),
    ("exponential", &[("base", "base"), ("factor", "factor"), ("cap", "cap"), ("jitter", "jitter")]),
    ("table", &[("delays", "table"), ("end", "table_end")]),
];
/// Settings that a schedule's own table or its name stands for, and one that is a key of the cohort.
const NOT_BESIDE: &[&str] = &["kind", "table", "table_end", "ready"];

/// Whether a setting is a key beside a schedule or a preset.
pub(super) fn is_key(setting: &str) -> bool {
    !NOT_BESIDE.contains(&setting)
}

/// Reads the `reconnect` of a cohort; full jitter from 1 s to 30 s without it.
pub(super) fn read(cohort: &Reader<'_>) -> Strategy {
    let sink = cohort.sink;
    match cohort.get("reconnect") {
        None => Strategy { policy: Policy::default(), label: "full jitter 1s to 30s".to_owned(), has_patience: false },
        Some(node) => match &node.value {
            TomlValue::Text(name) => Strategy { policy: preset(name, &node.at, sink), label: name.clone(), has_patience: name != "none" },
            TomlValue::Table(_) => {
                let (policy, has_patience) = table(node, sink);
                Strategy { policy, label: label(node), has_patience }
            }
            _ => {
                wrong::<()>("reconnect", "the name of a preset, \"none\", or a table", node, sink);
                Strategy { policy: Policy::default(), label: String::new(), has_patience: false }
            }
        },
    }
}

fn preset(name: &str, at: &At, sink: &Sink) -> Policy {
    if name == "none" {
        return Policy::none();
    }
    Policy::preset(name).unwrap_or_else(|unknown| {
        let near = unknown.suggestion.map(|near| format!("did you mean \"{near}\"?"));
        let known = names().collect::<Vec<_>>().join(", ");
        let diagnostic = Diagnostic::new(at, format!("unknown reconnect preset \"{name}\""), "not a preset, and not \"none\"");
        sink.push(near.into_iter().fold(diagnostic, Diagnostic::help).help(format!("allowed: none, {known}")));
        Policy::default()
    })
}

/// The policy, and whether it says itself how long an attempt is waited for.
fn table(node: &Node, sink: &Sink) -> (Policy, bool) {
    let list = entries(node, "reconnect", sink).unwrap_or_default();
    let tags: Vec<_> = list.iter().filter(|entry| entry.key == "preset" || schedule(&entry.key).is_some()).collect();
    if let [_, second, ..] = tags[..] {
        let diagnostic = Diagnostic::new(&second.at, "`reconnect` has two conflicting keys", format!("beside `{}`", tags[0].key));
        sink.push(diagnostic.help("write one of: preset, fixed, linear, exponential, table"));
    }
    let mut policy = match tags.first() {
        None => Policy::default(),
        Some(tag) if tag.key == "preset" => {
            text("preset", &tag.node, sink).map_or_else(Policy::default, |name| preset(name, &tag.node.at, sink))
        }
        Some(tag) => own(&tag.key, &tag.node, sink),
    };
    let mut rest: Vec<_> = list.iter().filter(|entry| !tags.iter().any(|tag| tag.key == entry.key)).collect();
    // In the order of the list, because some parameters belong to others that come before them.
    rest.sort_by_key(|entry| SETTINGS.iter().position(|row| row.name == entry.key));
    for entry in rest {
        match SettingRow::find(&entry.key) {
            Ok(row) if is_key(row.name) => set(&mut policy, row, &entry.key, &entry.node, sink),
            _ => {
                let allowed = ["preset", "file", "fixed", "linear", "exponential", "table"].into_iter();
                let allowed = allowed.chain(SETTINGS.iter().map(|row| row.name).filter(|name| !NOT_BESIDE.contains(name)));
                let title = format!("unknown key `{}`", entry.key);
                sink.push(Diagnostic::new(&entry.at, title, "not a reconnect parameter").allowed(&entry.key, allowed));
            }
        }
    }
    (policy, list.iter().any(|entry| matches!(entry.key.as_str(), "preset" | "connect_timeout")))
}

fn schedule(name: &str) -> Option<&'static [(&'static str, &'static str)]> {
    SCHEDULES.iter().find(|(schedule, _)| *schedule == name).map(|(_, parameters)| *parameters)
}

/// A schedule without preset: what its table does not say is factor 2, no cap, no jitter, the last entry repeated.
fn own(name: &str, node: &Node, sink: &Sink) -> Policy {
    let zero = Duration::ZERO;
    let mut policy = match name {
        "fixed" => Policy::fixed(zero),
        "linear" => Policy::linear(zero, zero, None),
        "table" => Policy::table(Vec::new(), TableEnd::Repeat),
        _ => Policy::exponential(zero, 2.0, None, Jitter::None),
    };
    let parameters = schedule(name).unwrap_or_default();
    let list = entries(node, name, sink).unwrap_or_default();
    for entry in list {
        match parameters.iter().find(|(word, _)| *word == entry.key).and_then(|(_, setting)| SettingRow::find(setting).ok()) {
            Some(row) => set(&mut policy, row, &entry.key, &entry.node, sink),
            None => {
                let title = format!("unknown key `{}`", entry.key);
                let diagnostic = Diagnostic::new(&entry.at, title, format!("not a parameter of `{name}`"));
                sink.push(diagnostic.allowed(&entry.key, parameters.iter().map(|(word, _)| *word)));
            }
        }
    }
    let first = parameters.first().map_or("", |(word, _)| word);
    let empty = matches!(node.get(first), Some(Node { value: TomlValue::Array(delays), .. }) if delays.is_empty());
    if matches!(node.value, TomlValue::Table(_)) && (node.get(first).is_none() || empty) {
        sink.push(Diagnostic::new(&node.at, format!("`{name}` needs `{first}`"), "missing or empty here"));
    }
    policy
}

fn set(policy: &mut Policy, row: &SettingRow, key: &str, node: &Node, sink: &Sink) {
    let Some(value) = setting(row.shape, key, node, sink) else { return };
    if let Err(SettingError::Value(why)) = policy.set(row.name, value) {
        sink.push(Diagnostic::new(&node.at, format!("`{key}` does not fit: {why}"), node.describe()).help(format!("{key}: {}", row.doc)));
    }
}

/// A value of the shape; complains of units and types, the policy of all else.
fn setting(shape: SettingShape, key: &str, node: &Node, sink: &Sink) -> Option<Setting> {
    match (shape, &node.value) {
        (SettingShape::Duration, _) => duration(key, node, sink).map(Setting::Duration),
        (SettingShape::NumberOrDuration, TomlValue::Text(_)) => duration(key, node, sink).map(Setting::Duration),
        (SettingShape::Number | SettingShape::NumberOrDuration, TomlValue::Float(number)) => Some(Setting::Number(*number)),
        (SettingShape::Number | SettingShape::NumberOrDuration | SettingShape::Whole, TomlValue::Integer(number)) => {
            Some(Setting::Whole(*number))
        }
        (SettingShape::Number | SettingShape::NumberOrDuration, _) => wrong(key, "a number", node, sink),
        (SettingShape::Whole, _) => wrong(key, "a whole number", node, sink),
        (SettingShape::Flag, TomlValue::Bool(flag)) => Some(Setting::Flag(*flag)),
        (SettingShape::Flag, _) => wrong(key, "true or false", node, sink),
        (SettingShape::Word(words), _) => {
            let found = text(key, node, sink)?;
            if !words.contains(&found) {
                let title = format!("`{key}` cannot be \"{found}\"");
                sink.push(Diagnostic::new(&node.at, title, "unknown word").allowed(found, words.iter().copied()));
                return None;
            }
            Some(Setting::Word(found.to_owned()))
        }
        (SettingShape::Durations, TomlValue::Array(list)) => each(list, |one| setting(SettingShape::Duration, key, one, sink)),
        (SettingShape::Ranges, TomlValue::Array(list)) => each(list, |one| setting(SettingShape::Durations, key, one, sink)),
        (SettingShape::Codes, TomlValue::Array(list)) => each(list, |one| code(key, one, sink)),
        (SettingShape::Wholes, TomlValue::Array(list)) => {
            each(list, |one| whole(key, one, 0..=999, sink).map(|n| Setting::Whole(n as i64)))
        }
        _ => wrong(key, "a list", node, sink),
    }
}

/// A status code, or a range of them as text.
fn code(key: &str, node: &Node, sink: &Sink) -> Option<Setting> {
    match &node.value {
        TomlValue::Integer(code) => Some(Setting::Word(code.to_string())),
        TomlValue::Text(range) => Some(Setting::Word(range.clone())),
        _ => wrong(key, "status codes, as [1000, \"4400-4499\"]", node, sink),
    }
}

fn each(list: &[Node], one: impl Fn(&Node) -> Option<Setting>) -> Option<Setting> {
    list.iter().map(one).collect::<Option<_>>().map(Setting::List)
}

/// `exponential base=1s cap=30s jitter=full`: the table without its punctuation.
fn label(node: &Node) -> String {
    let TomlValue::Table(list) = &node.value else { return plain(node) };
    let words = list.iter().map(|entry| match &entry.node.value {
        TomlValue::Table(_) => format!("{} {}", entry.key, label(&entry.node)),
        _ if entry.key == "preset" => plain(&entry.node),
        _ => format!("{}={}", entry.key, plain(&entry.node)),
    });
    words.collect::<Vec<_>>().join(" ").trim().to_owned()
}

fn plain(node: &Node) -> String {
    match &node.value {
        TomlValue::Text(text) => text.clone(),
        TomlValue::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(","),
        _ => node.to_toml().to_string(),
    }
}
