//! `data`: a file with values for each client of a cohort, CSV with a header or JSON lines. And files that a scenario refers to: each is
//! looked for beside the scenario first.

use super::diagnostic::{At, Sink};
use super::dialogue_keys as keys;
use super::reader::Reader;
use super::tree::{self, Node, TomlValue, Variables};
use crate::dialogue::{ClientData, DataOrder};
use crate::plan::Cohort;
use crate::template::{DataTable, Name};
use base64::Engine;
use std::path::Path;
use std::sync::Arc;

const ORDERS: &[(&str, DataOrder)] = &[("in_order", DataOrder::InOrder), ("cycled", DataOrder::Cycled), ("drawn", DataOrder::Drawn)];
/// Largest file that is sent as a message, or that holds a dialogue, bytes.
const FILE_MAX: u64 = 16 << 20;

/// The cohort's data file.
pub(super) fn read(cohort: &Reader<'_>) -> Option<ClientData> {
    let node = cohort.get("data")?;
    let (file, order) = match &node.value {
        TomlValue::Text(file) => (file.as_str(), DataOrder::InOrder),
        _ => {
            let data = cohort.table("data", &keys::DATA)?;
            (data.need("file", data.text("file"))?, data.choice("order", ORDERS).unwrap_or(DataOrder::InOrder))
        }
    };
    let complain = |why: String| {
        let help = "CSV with a header in its first line, or JSON lines in a file that ends in .jsonl or .ndjson";
        cohort.complain("data", format!("the data file {file} cannot be used"), why, help);
    };
    let table = std::fs::read_to_string(file).map_err(|error| error.to_string()).and_then(|text| {
        let lines = Path::new(file).extension().is_some_and(|end| end == "jsonl" || end == "ndjson");
        if lines { json_lines(&text) } else { csv(&text) }
    });
    match table {
        Ok(table) => Some(ClientData { table: Arc::new(table), order }),
        Err(why) => {
            complain(why);
            None
        }
    }
}

/// What is wrong with the data of a cohort, once its count is final.
pub(super) fn check(cohort: &Cohort) -> Option<String> {
    let data = cohort.data.as_ref()?;
    let rows = data.table.rows.len();
    match data.order {
        DataOrder::InOrder if rows < cohort.count as usize => Some(format!(
            "the data file of clients.{} has {} for {} clients: {} are missing; add them, or write order = \"cycled\"",
            cohort.name,
            if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") },
            cohort.count,
            cohort.count as usize - rows
        )),
        _ if rows == 0 => Some(format!("the data file of clients.{} has no rows", cohort.name)),
        _ => None,
    }
}

/// Names that nothing is known of although they are written well: columns that the data file does not have, and captures that no step makes.
///
/// Each as it is written, and why.
pub(super) fn unknown_names(cohort: &mut Cohort) -> Vec<(String, String)> {
    let (mut wrong, mut captured) = (Vec::new(), Vec::new());
    if let Some(script) = &cohort.script {
        let before = script.before.iter().flat_map(|request| &request.capture);
        let open = script.open.iter().filter_map(|step| step.expect.as_ref()).flat_map(|expect| &expect.capture);
        captured.extend(before.chain(open).chain(&script.capture).map(|(name, _)| name.clone()));
    }
    let columns = cohort.data.as_ref().map(|data| data.table.columns.clone());
    cohort.templates(&mut |template| {
        for name in template.names() {
            let why = match (name, &columns) {
                (Name::Data(_), None) => "there is no `data`".to_owned(),
                (Name::Data(column), Some(columns)) if !columns.iter().any(|known| **known == **column) => {
                    format!("the data file has the columns {}", columns.join(", "))
                }
                (Name::Captured(name), _) if !captured.contains(name) => "no step captures it".to_owned(),
                _ => continue,
            };
            wrong.push((format!("{{{name}}}"), why));
        }
    });
    wrong.dedup();
    wrong
}

/// Where in a part of a scenario a name in braces stands first.
pub(super) fn place_of(node: &Node, name: &str, sink: &Sink) -> Option<At> {
    match &node.value {
        TomlValue::Text(text) => text.contains(name).then(|| sink.inside(&node.at, name, &(0..name.len()))),
        TomlValue::Array(list) => list.iter().find_map(|node| place_of(node, name, sink)),
        TomlValue::Table(entries) => entries.iter().find_map(|entry| place_of(&entry.node, name, sink)),
        _ => None,
    }
}

fn csv(text: &str) -> Result<DataTable, String> {
    let mut reader = csv::ReaderBuilder::new().from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let columns = reader.headers().map_err(|error| error.to_string())?.iter().map(|name| name.trim().to_owned()).collect();
    let row = |record: Result<csv::StringRecord, csv::Error>| record.map(|record| record.iter().map(str::to_owned).collect());
    let rows = reader.records().map(row).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    Ok(DataTable { columns, rows })
}

fn json_lines(text: &str) -> Result<DataTable, String> {
    let mut table = DataTable::default();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let row: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(line).map_err(|error| format!("line {}: {error}", number + 1))?;
        if table.columns.is_empty() {
            table.columns = row.keys().cloned().collect();
        }
        let value = |column: &String| match row.get(column) {
            Some(serde_json::Value::String(text)) => Ok(text.clone()),
            Some(other) => Ok(other.to_string()),
            None => Err(format!("line {}: there is no `{column}`", number + 1)),
        };
        table.rows.push(table.columns.iter().map(value).collect::<Result<_, _>>()?);
    }
    Ok(table)
}

/// Puts what stands elsewhere into the tree: what is known of libraries, dialogues in files of their own, and messages written as `file:PATH`. Paths of data files become those found.
pub(super) fn inline(tree: &mut Node, folder: &Path, variables: Variables<'_>, sink: &Sink) {
    let Some(clients) = tree.get_mut("clients") else { return };
    let TomlValue::Table(cohorts) = &mut clients.value else { return };
    for cohort in cohorts {
        like(&mut cohort.node, sink);
        super::stages::inline(&mut cohort.node, folder, sink);
        if let Some(node) = cohort.node.get_mut("dialogue")
            && let TomlValue::Text(file) = &node.value
        {
            match text_of(folder, file) {
                Ok(text) => {
                    let origin = sink.origin(file.clone(), text.clone());
                    node.value = tree::parse(origin, &text, variables, sink).value;
                }
                Err(why) => super::reader::wrong("dialogue", &format!("a table or the path of a file ({file}: {why})"), node, sink)
                    .unwrap_or_default(),
            }
        }
        if let Some(node) = cohort.node.get_mut("data") {
            let file = if matches!(node.value, TomlValue::Table(_)) { node.get_mut("file") } else { Some(node) };
            if let Some(Node { value: TomlValue::Text(file), .. }) = file
                && folder.join(&*file).exists()
            {
                *file = folder.join(&*file).display().to_string();
            }
        }
        for key in ["first_message", "traffic", "dialogue"] {
            cohort.node.get_mut(key).into_iter().for_each(|node| inline_messages(node, folder, sink));
        }
    }
}

/// What the clients of a library say and do, by its name; what the cohort says itself holds.
const LIKES: [(&str, &str); 3] = [
    ("graphql-ws", include_str!("like/graphql-ws.toml")),
    ("mqtt.js", include_str!("like/mqtt.js.toml")),
    ("socket.io-client", include_str!("like/socket.io-client.toml")),
];

/// `like = "…"`: the cohort is laid over what is known of a library.
fn like(cohort: &mut Node, sink: &Sink) {
    let Some(Node { value: TomlValue::Text(name), at, .. }) = cohort.get("like") else { return };
    let Some((name, text)) = LIKES.iter().find(|(known, _)| known == name) else {
        let title = format!("`like` cannot be \"{name}\"");
        sink.push(super::diagnostic::Diagnostic::new(at, title, "unknown word").allowed(name, LIKES.iter().map(|(known, _)| *known)));
        return;
    };
    let mut base = tree::parse(sink.origin(format!("like {name}"), *text), text, &|_| None, sink);
    base.at = cohort.at.clone();
    base.merge(cohort.clone(), sink);
    *cohort = base;
}

fn inline_messages(node: &mut Node, folder: &Path, sink: &Sink) {
    let at = node.at.clone();
    match &mut node.value {
        TomlValue::Text(text) => {
            let Some(file) = text.strip_prefix("file:") else { return };
            let path = if folder.join(file).exists() { folder.join(file) } else { file.into() };
            let bytes = std::fs::metadata(&path).and_then(|meta| match meta.len() {
                0..=FILE_MAX => std::fs::read(&path),
                _ => Err(std::io::Error::other("it is larger than 16 MiB")),
            });
            match bytes {
                Ok(bytes) => *text = format!("base64:{}", base64::engine::general_purpose::STANDARD.encode(bytes)),
                Err(error) => sink.push(super::diagnostic::Diagnostic::new(&at, format!("cannot read {file}"), error.to_string())),
            }
        }
        TomlValue::Array(list) => list.iter_mut().for_each(|node| inline_messages(node, folder, sink)),
        TomlValue::Table(entries) => entries.iter_mut().for_each(|entry| inline_messages(&mut entry.node, folder, sink)),
        _ => {}
    }
}

fn text_of(folder: &Path, file: &str) -> Result<String, String> {
    let path = if folder.join(file).exists() { folder.join(file) } else { file.into() };
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}
