//! `tests/close-codes.json`: what was measured, with the versions of the libraries. Every run is compared with it, cell by cell;
//! `CLOSESTORM_MEASURE=1` writes it anew. `docs/close-codes.md` is made from it (`page`).

use super::super::home;
use super::Row;
use super::library::OBSERVED;
use super::ways::{Act, Peer, Way};
use closestorm::close::TOO_BIG;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

const FILE: &str = "tests/close-codes.json";

/// The whole file.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Table {
    /// How long a library was watched after something happened to its connection.
    pub(super) observed_ms: u64,
    /// Client libraries on our embedded server.
    pub(super) clients: Side,
    /// The same over wss.
    #[serde(default)]
    pub(super) clients_tls: Side,
    /// A browser on `closestorm serve`: the ways that are steps of a URL.
    #[serde(default)]
    pub(super) chromium: Side,
    /// Server libraries with our clients.
    pub(super) servers: Side,
    /// Our own client on our own server, by transport.
    pub(super) ours: BTreeMap<String, Vec<Row>>,
}

/// One direction.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Side {
    /// Version by package.
    pub(super) versions: BTreeMap<String, String>,
    /// In the order of the page.
    pub(super) lines: Vec<Line>,
}

/// One way.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Line {
    pub(super) group: String,
    pub(super) way: String,
    /// What brought it about: a fault as in a scenario, or a signal.
    pub(super) by: String,
    /// By library.
    pub(super) cells: BTreeMap<String, Cell>,
}

/// What one library made of one way.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Cell {
    /// What its user was told, in order; empty: nothing while it was watched.
    pub(super) told: Vec<String>,
    /// What our side saw of it: the Close frame and the end of TCP that came, or what became of the attempt. `None`: our side is gone, or there was no connection.
    pub(super) wire: Option<String>,
}

impl Line {
    /// Without cells.
    pub(super) fn new(way: &Way) -> Line {
        let by = match way.act {
            Act::Inject(inject) => inject.to_owned(),
            Act::Kill { unread: false } => "SIGKILL".to_owned(),
            Act::Kill { unread: true } => "SIGSTOP, a message from the client, SIGKILL".to_owned(),
            Act::Stop => "SIGSTOP".to_owned(),
            Act::Graceful(code) => format!("server_graceful = {{ code = {code}, reason = \"restart\" }}"),
        };
        let with = if way.peer == Peer::Pings { " (the library pings)" } else { "" };
        Line { group: way.group.to_owned(), way: way.title.to_owned(), by: by + with, cells: BTreeMap::new() }
    }
}

/// What our side saw of a library: the code of the first Close frame (1005: empty) and the end of TCP, in the word of the results.
pub(super) fn wire(code: Option<u16>, tcp_end: &str) -> String {
    let close = match code {
        Some(1005) => "an empty Close".to_owned(),
        Some(code) => format!("Close {code}"),
        None => "no Close".to_owned(),
    };
    if code == Some(TOO_BIG) {
        // It reads no further, and we are still sending: what becomes of TCP depends on how much is under way.
        return close;
    }
    match tcp_end {
        // FIN or RST is a race of its kernel: RST if something of ours was unread when it closed its socket.
        "fin" | "rst" => format!("{close}, ends TCP"),
        "timeout" => format!("{close}, keeps TCP open"),
        // Our side ended TCP first.
        _ => close,
    }
}

/// The file as it is; nothing else reads or writes it meanwhile.
fn read() -> (MutexGuard<'static, ()>, Table) {
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let table = std::fs::read_to_string(home(FILE)).map(|text| serde_json::from_str(&text).unwrap()).unwrap_or_default();
    (one, table)
}

/// The committed table.
pub(super) fn committed() -> Table {
    read().1
}

/// Compares what was measured with the committed table, or writes it.
pub(super) fn hold<T: Clone>(what: &str, found: T, part: impl Fn(&mut Table) -> &mut T, differences: impl Fn(&T, &T) -> Vec<String>) {
    let (_one, mut table) = read();
    if std::env::var_os("CLOSESTORM_MEASURE").is_some() {
        *part(&mut table) = found;
        table.observed_ms = OBSERVED.as_millis() as u64;
        std::fs::write(home(FILE), serde_json::to_string_pretty(&table).unwrap() + "\n").unwrap();
        return;
    }
    let differences = differences(part(&mut table), &found);
    assert!(
        differences.is_empty(),
        "{what}: {} differences from {FILE}; if a library changed, scripts/measure-close-codes writes it anew\n{}",
        differences.len(),
        differences.join("\n")
    );
}

/// Cell by cell.
pub(super) fn differences(expected: &Side, found: &Side) -> Vec<String> {
    let mut all = Vec::new();
    if expected.versions != found.versions {
        all.push(format!("versions\n  expected {:?}\n  found    {:?}", expected.versions, found.versions));
    }
    let names = |side: &Side| -> Vec<_> { side.lines.iter().map(|line| [&line.group, &line.way, &line.by].map(Clone::clone)).collect() };
    let (old, new) = (names(expected), names(found));
    all.extend(old.iter().filter(|line| !new.contains(line)).map(|line| format!("{line:?} is not measured any more")));
    for (line, name) in found.lines.iter().zip(&new) {
        let Some(index) = old.iter().position(|old| old == name) else {
            all.push(format!("{name:?} is not in the table"));
            continue;
        };
        let expected = &expected.lines[index];
        for library in expected.cells.keys().chain(line.cells.keys().filter(|name| !expected.cells.contains_key(*name))) {
            let (before, after) = (expected.cells.get(library), line.cells.get(library));
            if before != after {
                all.push(format!("{} / {} / {library}\n  expected {}\n  found    {}", line.group, line.way, shown(before), shown(after)));
            }
        }
    }
    all
}

fn shown(cell: Option<&Cell>) -> String {
    cell.map_or("no such cell".to_owned(), |cell| format!("{:?}, wire: {:?}", cell.told, cell.wire))
}
