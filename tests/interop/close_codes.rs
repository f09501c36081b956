//! What both sides of a connection are told when it ends: our own two sides, and real libraries against ours.
//!
//! `tests/close-codes.json` holds what was measured; every run is compared with it (`table`). Our own two sides are compared with the
//! rule, too: both report the code and the reason that was sent, and 1006 where no Close frame was. `ways` lists what is done to
//! libraries; `scripts/measure-close-codes` writes the file and its page, `docs/close-codes.md`, anew.

mod chromium;
mod clients;
mod library;
mod page;
mod servers;
mod table;
mod ways;

use super::{Run, alone, detail, events, home, left_out, node};
use closestorm::results::Loaded;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The codes of the page that may be sent, with the page's words.
const CODES: [(u16, &str); 5] =
    [(1000, "Normal closure"), (1001, "Going away"), (1002, "Protocol error"), (1003, "Unsupported data"), (1011, "Server error")];
const SIDES: [&str; 2] = ["client", "server"];
const ENDS: [&str; 2] = ["fin", "rst"];
/// Clients of each cohort: all must agree.
const COUNT: u32 = 3;

/// How a connection was ended, and what came of it. An account is the code and, if there is one, the reason.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
struct Row {
    /// Who did it.
    by: String,
    /// A code and reason, or `fin`, `rst` without a Close frame.
    sent: String,
    client: String,
    /// `None`: this server keeps no account of this client.
    server: Option<String>,
    /// The closing handshake was complete, in the client's eyes.
    clean: bool,
    /// How TCP ended in the eyes of our own client, and of our own server.
    tcp_end: Option<String>,
    server_tcp_end: Option<String>,
}

impl Row {
    /// What RFC 6455 and the page say both sides must report.
    fn check(&self, setup: &str) {
        let abnormal = ENDS.contains(&self.sent.as_str());
        let told = if abnormal { "1006" } else { &self.sent };
        assert_eq!((self.client.as_str(), self.clean), (told, !abnormal), "{setup}: {self:?}");
        assert!(self.server.as_deref().is_none_or(|server| server == told), "{setup}: {self:?}");
        if let Some(tcp_end) = &self.tcp_end {
            let expected = match (abnormal, self.by.as_str()) {
                (true, "client") => "local",
                (true, _) => &self.sent,
                (false, _) => "fin",
            };
            assert_eq!(tcp_end, expected, "{setup}: {self:?}");
        }
        if let Some(tcp_end) = self.server_tcp_end.as_deref().filter(|_| abnormal) {
            assert_eq!(tcp_end, if self.by == "server" { "local" } else { &self.sent }, "{setup}: {self:?}");
        }
    }
}

/// Compares with the committed table, or writes it.
fn hold(setup: &str, rows: Vec<Row>) {
    rows.iter().for_each(|row| row.check(setup));
    let differences = |old: &Vec<Row>, new: &Vec<Row>| {
        let changed = old.iter().zip(new).filter(|(old, new)| old != new).map(|(old, new)| format!("expected {old:?}\nfound    {new:?}"));
        changed.chain((old.len() != new.len()).then(|| "not as many rows".to_owned())).collect()
    };
    table::hold(setup, rows, |table| table.ours.entry(setup.to_owned()).or_default(), differences);
}

/// All cohorts, one after another: who, and what is sent.
fn cohorts() -> Vec<(&'static str, String)> {
    let codes = CODES.iter().map(|(code, reason)| format!("{code} {reason}"));
    let sent: Vec<_> = codes.chain(ENDS.iter().map(ToString::to_string)).collect();
    SIDES.iter().flat_map(|side| sent.iter().map(|sent| (*side, sent.clone()))).collect()
}

fn code_of(sent: &str) -> Option<(&str, &str)> {
    sent.split_once(' ')
}

/// A scenario in which each cohort is ended in its way: by `stay` or by faults.
fn scenario(target: &str) -> String {
    let mut text = format!("duration = \"4s\"\n{target}\n");
    for (side, sent) in cohorts() {
        let name = format!("{side}-{}", sent.split(' ').next().unwrap());
        let how = match (code_of(&sent), side) {
            (Some((code, reason)), "client") => format!("stay = {{ for = \"1s\", close = {{ code = {code}, reason = \"{reason}\" }} }}"),
            _ => String::new(),
        };
        text += &format!("[clients.{name}]\ncount = {COUNT}\narrive = {{ at_once = true }}\nreconnect = \"none\"\n{how}\n");
        let inject = match code_of(&sent) {
            Some((code, reason)) => format!("close_code = {{ code = {code}, reason = \"{reason}\" }}"),
            None => format!("drop_{sent} = {{}}"),
        };
        if how.is_empty() {
            text += &format!("[[faults]]\nat = \"1s\"\nside = \"{side}\"\nselect = {{ cohort = \"{name}\" }}\ninject = {{ {inject} }}\n");
        }
    }
    text
}

/// Code and reason by client, from events of this name.
fn accounts(loaded: &Loaded, name: &str) -> BTreeMap<u32, BTreeMap<String, String>> {
    let all = events(loaded, name).map(|row| (row.client.unwrap(), detail(row)));
    all.collect()
}

fn account(pairs: &BTreeMap<String, String>) -> String {
    with_reason(&pairs["code"], pairs.get("reason").map_or("", String::as_str))
}

fn with_reason(code: &str, reason: &str) -> String {
    format!("{code} {reason}").trim_end().to_owned()
}

/// One row for each cohort, whose clients must agree. `server` says what the server reported of a client.
fn rows(loaded: &Loaded, server: impl Fn(u32) -> Option<(String, Option<String>)>) -> Vec<Row> {
    let clients = accounts(loaded, "ended");
    let row = |cohort: u32, by: &str, sent: &str| {
        let one = |client| {
            let pairs = clients.get(&client).unwrap_or_else(|| panic!("client {client} ({by} {sent}) never ended"));
            let (server, server_tcp_end) = server(client).expect("the server's account");
            let (client, server) = (account(pairs), Some(server));
            let tcp_end = Some(pairs["tcp_end"].clone());
            Row { by: by.to_owned(), sent: sent.to_owned(), client, server, clean: pairs["clean"] == "true", tcp_end, server_tcp_end }
        };
        let all: BTreeSet<_> = (cohort * COUNT..(cohort + 1) * COUNT).map(one).collect();
        assert_eq!(all.len(), 1, "clients of one cohort differ: {all:#?}");
        all.into_iter().next().unwrap()
    };
    (0..).zip(cohorts()).map(|(cohort, (by, sent))| row(cohort, by, &sent)).collect()
}

#[test]
fn our_client_and_the_embedded_server_agree_on_every_ending() {
    for (setup, tls) in [("closestorm to embedded server, ws", false), ("closestorm to embedded server, wss", true)] {
        let run = Run::new();
        let file = run.file(&scenario(&format!("[target.embedded]\ntls = {tls}")));
        let loaded = run.load(&file, &[]);
        let servers = accounts(&loaded, "server_ended");
        hold(setup, rows(&loaded, |client| servers.get(&client).map(|pairs| (account(pairs), pairs.get("tcp_end").cloned()))));
    }
}

/// Whether the libraries are there; all are of Node or Python. Those of Python are installed by `scripts/test`.
fn libraries(test: &str) -> bool {
    if left_out("CLOSESTORM_NO_PYTHON", test) || !node(test) {
        return false;
    }
    assert!(library::python().exists(), "{test} needs packages that scripts/test installs; without Python set CLOSESTORM_NO_PYTHON=1");
    true
}

#[test]
fn client_libraries_are_told_what_the_table_says() {
    if !libraries("client libraries on the embedded server") {
        return;
    }
    let _alone = alone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = runtime.block_on(clients::measure(false));
    table::hold("client libraries", found, |table| &mut table.clients, table::differences);
    let found = runtime.block_on(clients::measure(true));
    table::hold("client libraries over wss", found, |table| &mut table.clients_tls, table::differences);
}

#[test]
fn a_browser_is_told_what_the_table_says() {
    if !super::browser::chromium("Chromium on each way to end a connection") {
        return;
    }
    let _alone = alone();
    // Debian brings a new version every few weeks: what it tells counts, not its number.
    let differences = |expected: &table::Side, found: &table::Side| {
        let expected = table::Side { versions: found.versions.clone(), ..expected.clone() };
        table::differences(&expected, found)
    };
    table::hold("Chromium", chromium::measure(), |table| &mut table.chromium, differences);
}

#[test]
fn server_libraries_are_told_what_the_table_says() {
    if !libraries("server libraries with our clients") {
        return;
    }
    let _alone = alone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = runtime.block_on(servers::measure());
    table::hold("server libraries", found, |table| &mut table.servers, table::differences);
}

#[test]
fn the_page_of_close_codes_is_made_from_the_table() {
    let file = home("docs/close-codes.md");
    let page = page::page(&table::committed());
    if std::env::var_os("CLOSESTORM_MEASURE").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    assert!(std::fs::read_to_string(&file).unwrap_or_default() == page, "docs/close-codes.md is old: scripts/measure-close-codes");
}
