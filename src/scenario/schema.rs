//! The JSON Schema of scenarios (draft 2020-12), made of the same lists of keys as reading and `validate --keys`, for editors.
//!
//! What a key takes is said there in words; here those words become types. A schema is not all of it: which keys exclude each other, bounds with
//! units, names of cohorts and faults are the business of `closestorm validate`.

use super::dialogue_keys::{AT, BEAT, BEFORE, CAPTURED, DATA, DIALOGUE, MATCH, MEASURED, REPLY, REQUEST, SEQUENCE, STEP};
use super::keys::{
    ANSWER, ARRIVE, CLOSE, COHORT, DEADLINES, ECHO, FAULT, HEARTBEAT, RATE, READINESS, SECTIONS, SELECT, SEND, STAGE, STAY, TOP, TRAFFIC,
};
use super::model_keys::{LOGNORMAL, MODEL, TIMES};
use super::reconnect::{SCHEDULES, is_key};
use super::section::{Section, TableKey};
use super::target_keys::{ADMIT, COMMAND, EMBEDDED, HTTP, READY, TARGET, URL};
use crate::fault::{self, KindRow, ValueShape};
use crate::reconnect::{SETTINGS, SettingRow, SettingShape, names};
use serde_json::{Map, Value, json};

/// The tables that stand at a key, whatever else it takes: by the section that has it.
#[rustfmt::skip]
static TABLES: &[(&Section, &str, &Section)] = &[
    (&TOP, "answer", &ANSWER), (&TOP, "target", &TARGET), (&TOP, "model", &MODEL), (&TOP, "clients", &COHORT), (&TOP, "faults", &FAULT),
    (&TARGET, "embedded", &EMBEDDED), (&TARGET, "command", &COMMAND), (&TARGET, "url", &URL),
    (&EMBEDDED, "admit", &ADMIT), (&EMBEDDED, "ping", &HEARTBEAT), (&MODEL, "admit", &ADMIT), (&MODEL, "ping", &HEARTBEAT),
    (&COMMAND, "ready", &READY), (&READY, "http", &HTTP), (&TIMES, "lognormal", &LOGNORMAL),
    (&COHORT, "arrive", &ARRIVE), (&COHORT, "traffic", &TRAFFIC), (&COHORT, "dialogue", &DIALOGUE), (&COHORT, "data", &DATA),
    (&COHORT, "heartbeat", &HEARTBEAT), (&COHORT, "stay", &STAY), (&COHORT, "deadlines", &DEADLINES), (&COHORT, "ready", &READINESS),
    (&ARRIVE, "stages", &STAGE), (&RATE, "stages", &STAGE), (&TRAFFIC, "echo", &ECHO), (&TRAFFIC, "send", &SEND), (&TRAFFIC, "request", &REQUEST),
    (&ECHO, "rate", &RATE), (&SEND, "rate", &RATE), (&REQUEST, "rate", &RATE), (&DIALOGUE, "rate", &RATE),
    (&STAY, "close", &CLOSE), (&FAULT, "select", &SELECT), (&MATCH, "at", &AT),
    (&DIALOGUE, "before", &BEFORE), (&DIALOGUE, "open", &STEP), (&DIALOGUE, "reply", &REPLY), (&DIALOGUE, "beat", &BEAT),
    (&DIALOGUE, "request", &MEASURED), (&DIALOGUE, "sequence", &SEQUENCE), (&DIALOGUE, "timestamp", &CAPTURED),
    (&SEQUENCE, "number", &CAPTURED), (&SEQUENCE, "stream", &CAPTURED),
];

/// The table that stands at a key of a section, alone, in a list, or under names; none where there is only a value, or where names are all its keys.
pub(super) fn table_at(section: &Section, key: &str) -> Option<&'static Section> {
    TABLES.iter().find(|(having, name, _)| having.path == section.path && *name == key).map(|(.., of)| *of)
}

/// The schema.
pub fn json_schema() -> Value {
    let defs: Map<String, Value> = SECTIONS.iter().filter(|section| section.path != TOP.path).map(|one| (slug(one), table(one))).collect();
    let mut schema = table(&TOP);
    let more = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "closestorm scenario",
        "anyOf": [{ "required": ["clients"] }, { "required": ["extends"] }],
        "$defs": defs,
    });
    merge(&mut schema, more);
    schema
}

/// The name of a section in `$defs`; of two with the same path, the second has a number.
fn slug(section: &Section) -> String {
    let plain = section.path.trim_matches(['[', ']']).replace(".NAME", "");
    let words = plain.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !matches!(*word, "" | "a" | "in"));
    let words: Vec<_> = words.collect();
    let before = SECTIONS.iter().take_while(|one| !std::ptr::eq(**one, section)).filter(|one| one.path == section.path).count();
    if before > 0 { format!("{}_{}", words.join("_"), before + 1) } else { words.join("_") }
}

fn reference(section: &Section) -> Value {
    json!({ "$ref": format!("#/$defs/{}", slug(section)) })
}

/// A table with these keys and no others.
fn table(section: &Section) -> Value {
    let properties: Map<String, Value> =
        section.keys.iter().map(|key| (key.name.to_owned(), described(value(section, key), key))).collect();
    json!({ "type": "object", "description": section.doc, "properties": properties, "additionalProperties": false })
}

fn described(mut value: Value, key: &TableKey) -> Value {
    let default = match key.default {
        "-" | "none" => String::new(),
        "required" => " Required.".to_owned(),
        default => format!(" Default: {default}."),
    };
    merge(&mut value, json!({ "description": format!("{}{default}", key.doc) }));
    value
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

fn any_of(list: impl IntoIterator<Item = Value>) -> Value {
    json!({ "anyOf": list.into_iter().collect::<Vec<_>>() })
}

fn list_of(one: Value) -> Value {
    json!({ "type": "array", "items": one })
}

fn map_of(one: Value) -> Value {
    json!({ "type": "object", "additionalProperties": one })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn whole(min: u64, max: Option<u64>) -> Value {
    let mut value = json!({ "type": "integer", "minimum": min });
    // TOML has no larger ones.
    if let Some(max) = max.filter(|max| *max <= i64::MAX as u64) {
        merge(&mut value, json!({ "maximum": max }));
    }
    value
}

/// One of some words, or a text with a variable in it.
fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Value {
    let words: Vec<_> = words.into_iter().collect();
    any_of([json!({ "enum": words }), json!({ "type": "string", "pattern": "\\$\\{" })])
}

/// Which message is meant.
fn matched() -> Value {
    any_of([text(), reference(&MATCH)])
}

/// Where a value is found.
fn captured() -> Value {
    any_of([text(), reference(&CAPTURED)])
}

/// What a key takes.
fn value(section: &Section, key: &TableKey) -> Value {
    let found = table_at(section, key.name);
    // A test goes through all keys.
    let of = || found.map(reference).unwrap_or_else(|| panic!("{} `{}`: which table?", section.path, key.name));
    match (key.takes, key.name) {
        ("tables", _) => map_of(of()),
        ("list of tables", _) if section.path == DIALOGUE.path => any_of([of(), list_of(of())]),
        ("list of tables", _) => list_of(of()),
        // JSON pointers and the values there.
        ("table", "json") => json!({ "type": "object" }),
        ("table", _) => of(),
        ("table or \"none\"", _) => any_of([json!({ "const": "none" }), of()]),
        ("table or path" | "path or table" | "JSON pointer or table", _) => any_of([text(), of()]),
        ("\"open\", \"message\" or table", _) => any_of([words(["open", "message"]), of()]),
        ("table of texts", _) => map_of(text()),
        ("table of matches", _) => map_of(matched()),
        ("table of JSON pointers or tables", _) => map_of(captured()),
        ("match" | "\"any\" or match", _) => matched(),
        ("{ kind = { parameters } }", _) => kinds(),
        ("preset name, \"none\" or table", _) => reconnect(),
        ("duration or times", _) => any_of([text(), reference(&TIMES)]),
        ("list of texts" | "list of expectations", _) => list_of(text()),
        ("list of whole numbers", _) => list_of(whole(0, None)),
        ("text or list of texts" | "IP address or list of them", _) => any_of([text(), list_of(text())]),
        ("500, or \"10/s\" of a rate", _) => any_of([whole(0, None), text()]),
        ("true or false", _) => json!({ "type": "boolean" }),
        ("true", _) => json!({ "const": true }),
        ("number", _) => json!({ "type": "number" }),
        ("whole number", _) => whole(0, None),
        ("HTTP status", _) => whole(100, Some(599)),
        ("status code" | "status code that may be sent", _) => whole(0, Some(65535)),
        ("up, down or both" | "client or server" | "fifo or lifo", _) => choice(key.takes),
        (takes, _) if takes.starts_with("[\"") => list_of(text()),
        (takes, "rate") if takes.starts_with('"') && found.is_some() => any_of([example(takes), of()]),
        (takes, _) if takes.starts_with('"') => example(takes),
        (takes, _) => bounds(takes).or_else(|| plain(takes)).unwrap_or_else(|| choice(takes)),
    }
}

/// A text, of which an example stands in quotes.
fn example(takes: &str) -> Value {
    let example = takes.split('"').nth(1).unwrap_or_default();
    json!({ "type": "string", "examples": [example] })
}

/// `1 to 64`.
fn bounds(takes: &str) -> Option<Value> {
    let (min, max) = takes.split_once(" to ")?;
    // How much a machine has of anything may make `count` larger than what is planned here; the reader has the last word.
    Some(whole(min.parse().ok()?, Some(max.parse().ok()?)))
}

/// Texts whose form is the reader's business.
fn plain(takes: &str) -> Option<Value> {
    const TEXTS: [&str; 11] = [
        "text",
        "path",
        "name",
        "URL",
        "host name",
        "command line",
        "path and query",
        "JSON pointer",
        "ws:// or wss:// URL",
        "http:// URL or \"none\"",
        "text of at most 123 bytes",
    ];
    (TEXTS.contains(&takes) || takes.starts_with("text of at most ")).then(text)
}

/// `fifo or lifo`; `a, b or c`.
fn choice(takes: &str) -> Value {
    let list = takes.replace(" or ", ", ");
    let list: Vec<&str> = list.split(", ").collect();
    assert!(list.len() > 1 && list.iter().all(|word| !word.contains([' ', '"', '{'])), "what is \"{takes}\"?");
    words(list)
}

/// `inject`: one kind with its parameters. Those that only a proxy has are among them.
fn kinds() -> Value {
    let kind = |row: &KindRow| {
        let params: Map<String, Value> = row
            .params
            .iter()
            .map(|param| {
                let default = param.default.map(|default| format!(" Default: {default}.")).unwrap_or_default();
                let mut value = parameter(param.shape);
                merge(&mut value, json!({ "description": format!("{}{default}", param.doc) }));
                (param.name.to_owned(), value)
            })
            .collect();
        (row.kind.to_owned(), json!({ "type": "object", "description": row.summary, "properties": params, "additionalProperties": false }))
    };
    let rows: Map<String, Value> = fault::rows().chain(fault::proxied_rows()).map(kind).collect();
    json!({ "type": "object", "properties": rows, "additionalProperties": false, "minProperties": 1, "maxProperties": 1 })
}

fn parameter(shape: ValueShape) -> Value {
    match shape {
        ValueShape::Duration => json!({ "type": "string", "examples": ["250ms"] }),
        ValueShape::Bytes { .. } => json!({ "type": "string", "examples": ["4KiB"] }),
        ValueShape::Share { .. } => json!({ "type": "string", "examples": ["5%"] }),
        ValueShape::Whole { min, max } => whole(min, Some(max)),
        ValueShape::Text { .. } => text(),
        ValueShape::Choice(list) => words(list.iter().copied()),
    }
}

/// A preset, or a table of a preset, a file or a schedule, with further parameters.
fn reconnect() -> Value {
    let setting = |row: &SettingRow| {
        let mut value = self::setting(row.shape);
        merge(&mut value, json!({ "description": row.doc }));
        value
    };
    let mut keys = Map::new();
    keys.insert("preset".to_owned(), words(std::iter::once("none").chain(names())));
    keys.insert("file".to_owned(), text());
    for (name, parameters) in SCHEDULES {
        let row = |setting: &str| SETTINGS.iter().find(|row| row.name == setting);
        let own: Map<String, Value> =
            parameters.iter().filter_map(|(word, name)| Some(((*word).to_owned(), setting(row(name)?)))).collect();
        keys.insert((*name).to_owned(), json!({ "type": "object", "properties": own, "additionalProperties": false }));
    }
    for row in SETTINGS.iter().filter(|row| is_key(row.name)) {
        keys.entry(row.name).or_insert_with(|| setting(row));
    }
    let table = json!({ "type": "object", "properties": keys, "additionalProperties": false });
    any_of([words(std::iter::once("none").chain(names())), table])
}

fn setting(shape: SettingShape) -> Value {
    let duration = || json!({ "type": "string", "examples": ["250ms"] });
    let number = || json!({ "type": "number" });
    match shape {
        SettingShape::Duration => duration(),
        SettingShape::Number => number(),
        SettingShape::NumberOrDuration => any_of([number(), duration()]),
        SettingShape::Whole => json!({ "type": "integer" }),
        SettingShape::Flag => json!({ "type": "boolean" }),
        SettingShape::Word(list) => words(list.iter().copied()),
        SettingShape::Durations => list_of(duration()),
        SettingShape::Ranges => list_of(list_of(duration())),
        SettingShape::Codes => list_of(any_of([whole(0, Some(65535)), text()])),
        SettingShape::Wholes => list_of(whole(0, Some(999))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::BUNDLED;
    use std::collections::BTreeSet;

    /// A new sort of value, or a new table, must be known here, too.
    #[test]
    fn every_key_has_a_type() {
        let slugs: BTreeSet<_> = SECTIONS.iter().map(|section| slug(section)).collect();
        assert_eq!(slugs.len(), SECTIONS.len(), "{slugs:?}");
        for section in SECTIONS {
            for key in section.keys {
                let value = value(section, key);
                let typed = ["type", "anyOf", "$ref", "const"].iter().any(|word| value.get(word).is_some());
                assert!(typed, "{} {}: {value}", section.path, key.name);
            }
        }
        for (having, key, _) in TABLES {
            assert!(having.names().any(|name| name == *key), "{} has no {key}", having.path);
        }
    }

    #[test]
    fn bundled_scenarios_fit_and_none_with_an_unknown_key_does() {
        let validator = jsonschema::draft202012::new(&json_schema()).expect("a schema");
        let mut tables = 0;
        for bundled in BUNDLED {
            let value: Value = toml::from_str(bundled.text).expect(bundled.name);
            let wrong: Vec<_> = validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
            assert!(wrong.is_empty(), "{}: {wrong:#?}", bundled.name);
            for path in tables_of(&value, "") {
                // Cohorts, headers, variables, captured values and JSON pointers have the names that their author gives.
                let named = ["/clients", "/env", "/headers", "/capture", "/error", "/json"];
                if named.iter().any(|end| path.ends_with(end)) {
                    continue;
                }
                let mut mutated = value.clone();
                mutated.pointer_mut(&path).and_then(Value::as_object_mut).expect("a table").insert("no_such_key".to_owned(), json!(1));
                assert!(!validator.is_valid(&mutated), "{}: {path}/no_such_key", bundled.name);
                tables += 1;
            }
        }
        assert!(tables > 300, "{tables}");
    }

    /// JSON pointers of all tables.
    fn tables_of(value: &Value, path: &str) -> Vec<String> {
        let below: Vec<(String, &Value)> = match value {
            Value::Object(map) => map.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect(),
            Value::Array(list) => list.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
            _ => Vec::new(),
        };
        let own = value.is_object().then(|| path.to_owned());
        own.into_iter().chain(below.into_iter().flat_map(|(key, value)| tables_of(value, &format!("{path}/{key}")))).collect()
    }
}
