//! `data`: a file with values for each client of a cohort, CSV with a header or JSON lines. And files that a scenario refers to: each is
//! looked for beside the scenario first.

use super::diagnostic::{At, Diagnostic, Sink};
use super::dialogue_keys as keys;
use super::reader::Reader;
use super::tree::{self, Entry, Node, TomlValue, Variables};
use crate::dialogue::{ClientData, DataOrder};
use crate::files::{LARGEST, read_regular_of};
use crate::plan::Cohort;
use crate::template::{DataTable, Name};
use crate::units::Bytes;
use base64::Engine;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const ORDERS: &[(&str, DataOrder)] = &[("in_order", DataOrder::InOrder), ("cycled", DataOrder::Cycled), ("drawn", DataOrder::Drawn)];
/// Largest data file.
const DATA_MAX: Bytes = Bytes(2 << 30);
/// Longest name of a column that errors show: what is longer, or has other signs than a name, may be no column but somebody's secret.
const COLUMN_SHOWN: usize = 40;

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
    let text = read_regular_of(Path::new(file), DATA_MAX).map_err(|error| error.to_string());
    let text = text.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned()));
    let table = text.and_then(|text| {
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
            "the data file of clients.{} has {} for {} clients: {} {} missing; add them, or write order = \"cycled\"",
            cohort.name,
            if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") },
            cohort.count,
            cohort.count as usize - rows,
            if cohort.count as usize - rows == 1 { "is" } else { "are" }
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
                (Name::Data(column), Some(columns)) if !columns.iter().any(|known| **known == **column) => columns_words(columns),
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

/// What columns there are, where they look like names: it may be the first line of any file.
fn columns_words(columns: &[String]) -> String {
    let is_name = |column: &String| column.len() <= COLUMN_SHOWN && column.chars().all(|c| c.is_alphanumeric() || "_-. ".contains(c));
    if columns.iter().all(is_name) {
        format!("the data file has the columns {}", columns.join(", "))
    } else {
        "the data file has no such column, and its first line does not look like names of columns".to_owned()
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
            // Its own words would quote what stands there, and any file may have been named.
            serde_json::from_str(line).map_err(|_| format!("line {}: this is not a JSON object", number + 1))?;
        if table.columns.is_empty() {
            table.columns = row.keys().cloned().collect();
        }
        let value = |column: &String| match row.get(column) {
            Some(serde_json::Value::String(text)) => Ok(text.clone()),
            Some(other) => Ok(other.to_string()),
            None => Err(format!("line {}: a name of the first line is missing", number + 1)),
        };
        table.rows.push(table.columns.iter().map(value).collect::<Result<_, _>>()?);
    }
    Ok(table)
}

/// The files that a scenario may name.
pub(super) struct NamedFiles<'a> {
    /// Where the scenario is.
    pub(super) folder: &'a Path,
    /// Why a file may not be read.
    pub(super) check: &'a dyn Fn(&Path) -> Result<(), String>,
}

impl NamedFiles<'_> {
    /// Where a file is: beside the scenario, else as it is named.
    fn path(&self, file: &str) -> Result<PathBuf, String> {
        let (beside, named) = (self.folder.join(file), PathBuf::from(file));
        if !beside.exists() && (self.check)(&named).is_ok() {
            return Ok(named);
        }
        (self.check)(&beside).map(|()| beside)
    }

    fn read(&self, file: &str, largest: Bytes) -> Result<Vec<u8>, String> {
        read_regular_of(&self.path(file)?, largest).map_err(|error| error.to_string())
    }

    fn text(&self, file: &str, largest: Bytes) -> Result<String, String> {
        String::from_utf8(self.read(file, largest)?).map_err(|_| "it is not UTF-8".to_owned())
    }
}

/// Puts what stands elsewhere into the tree: what is known of libraries, dialogues in files of their own, and messages written as `file:PATH`. Paths of data files become those found.
pub(super) fn inline(tree: &mut Node, files: &NamedFiles<'_>, variables: Variables<'_>, sink: &Sink) {
    let Some(clients) = tree.get_mut("clients") else { return };
    let TomlValue::Table(cohorts) = &mut clients.value else { return };
    for cohort in cohorts {
        like(&mut cohort.node, sink);
        super::stages::inline(&mut cohort.node, &|file, largest| files.text(file, largest), sink);
        if let Some(node) = cohort.node.get_mut("dialogue")
            && let TomlValue::Text(file) = &node.value
        {
            match files.text(file, Bytes(LARGEST)) {
                Ok(text) => {
                    let origin = sink.foreign_origin(file.clone(), text.clone());
                    node.value = tree::parse(origin, &text, variables, sink).value;
                }
                Err(why) => super::reader::wrong("dialogue", &format!("a table or the path of a file ({file}: {why})"), node, sink)
                    .unwrap_or_default(),
            }
        }
        if let Some(node) = cohort.node.get_mut("reconnect") {
            reconnect(node, files, variables, sink);
        }
        if let Some(node) = cohort.node.get_mut("data") {
            let file = if matches!(node.value, TomlValue::Table(_)) { node.get_mut("file") } else { Some(node) };
            if let Some(Node { value: TomlValue::Text(file), at, .. }) = file {
                match files.path(file) {
                    Ok(path) => *file = path.display().to_string(),
                    Err(why) => sink.push(Diagnostic::new(at, format!("the data file {file} cannot be used"), why)),
                }
            }
        }
        for key in ["first_message", "traffic", "dialogue"] {
            cohort.node.get_mut(key).into_iter().for_each(|node| inline_messages(node, files, sink));
        }
    }
}

/// `reconnect = { file = "learned.toml" }`: the `reconnect` of that file; what stands beside `file` holds.
fn reconnect(node: &mut Node, files: &NamedFiles<'_>, variables: Variables<'_>, sink: &Sink) {
    let TomlValue::Table(entries) = &mut node.value else { return };
    let Some(index) = entries.iter().position(|entry| entry.key == "file") else { return };
    let Node { value: TomlValue::Text(file), at, .. } = entries.remove(index).node else {
        return super::reader::wrong("file", "the path of a file with a `reconnect`", node, sink).unwrap_or_default();
    };
    match files.text(&file, Bytes(LARGEST)) {
        Ok(text) => {
            let learned = tree::parse(sink.foreign_origin(file.clone(), text.clone()), &text, variables, sink);
            match learned.get("reconnect") {
                Some(learned) if matches!(learned.value, TomlValue::Table(_)) => {
                    let mut learned = learned.clone();
                    learned.at = node.at.clone();
                    learned.merge(node.clone(), sink);
                    *node = learned;
                }
                // The name of a preset, which others may stand beside.
                Some(learned) if matches!(&node.value, TomlValue::Table(beside) if !beside.is_empty()) => {
                    let preset = Entry { key: "preset".to_owned(), at: at.clone(), node: learned.clone() };
                    let mut named = Node { value: TomlValue::Table(vec![preset]), ..node.clone() };
                    named.merge(node.clone(), sink);
                    *node = named;
                }
                Some(learned) => *node = learned.clone(),
                None => sink.push(Diagnostic::new(&at, format!("{file} has no `reconnect`"), "`closestorm learn` writes such a file")),
            }
        }
        Err(why) => sink.push(Diagnostic::new(&at, format!("cannot read {file}"), why)),
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
        sink.push(Diagnostic::new(at, title, "unknown word").allowed(name, LIKES.iter().map(|(known, _)| *known)));
        return;
    };
    let mut base = tree::parse(sink.origin(format!("like {name}"), *text), text, &|_| None, sink);
    base.at = cohort.at.clone();
    base.merge(cohort.clone(), sink);
    *cohort = base;
}

fn inline_messages(node: &mut Node, files: &NamedFiles<'_>, sink: &Sink) {
    let at = node.at.clone();
    match &mut node.value {
        TomlValue::Text(text) => {
            let Some(file) = text.strip_prefix("file:") else { return };
            match files.read(file, Bytes(LARGEST)) {
                Ok(bytes) => {
                    node.written.get_or_insert_with(|| text.clone());
                    *text = format!("base64:{}", base64::engine::general_purpose::STANDARD.encode(bytes));
                }
                Err(why) => sink.push(Diagnostic::new(&at, format!("cannot read {file}"), why)),
            }
        }
        TomlValue::Array(list) => list.iter_mut().for_each(|node| inline_messages(node, files, sink)),
        TomlValue::Table(entries) => entries.iter_mut().for_each(|entry| inline_messages(&mut entry.node, files, sink)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key names all libraries, and all that they set.
    #[test]
    fn the_key_like_says_what_there_is() {
        let like = super::super::keys::COHORT.keys.iter().find(|key| key.name == "like").expect("a key");
        for (name, text) in LIKES {
            assert!(like.takes.split([' ', ',']).any(|word| word == name), "{name}");
            let set: toml::Table = text.parse().expect("TOML");
            let missing: Vec<_> = set.keys().filter(|key| !like.doc.contains(&format!("`{key}`"))).collect();
            assert!(missing.is_empty(), "{name}: {missing:?}");
        }
    }
}
