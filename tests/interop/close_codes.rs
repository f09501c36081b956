//! What both sides report for each status code of the page, sent by either side, and for TCP ended by FIN and by RST.
//!
//! `tests/close-codes.json` holds what was measured; every run is compared with it, and with the rule: both sides report the code and
//! the reason that was sent, and 1006 where no Close frame was. `CLOSESTORM_MEASURE=1` writes the table anew.

use super::{Run, detail, events, home, node};
use closestorm::results::Loaded;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// The codes of the page that may be sent, with the page's words.
const CODES: [(u16, &str); 5] =
    [(1000, "Normal closure"), (1001, "Going away"), (1002, "Protocol error"), (1003, "Unsupported data"), (1011, "Server error")];
const SIDES: [&str; 2] = ["client", "server"];
const ENDS: [&str; 2] = ["fin", "rst"];
/// Clients of each cohort: all must agree.
const COUNT: u32 = 3;
/// A client and connection that no client of ours has: a foreign client claims it, so that the server's account can be found.
const CLAIMED: &str = "0/9";

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
    static TABLE: Mutex<()> = Mutex::new(());
    rows.iter().for_each(|row| row.check(setup));
    let _one = TABLE.lock().unwrap();
    let file = home("tests/close-codes.json");
    let mut table: BTreeMap<String, Vec<Row>> =
        std::fs::read_to_string(&file).map(|text| serde_json::from_str(&text).unwrap()).unwrap_or_default();
    if std::env::var_os("CLOSESTORM_MEASURE").is_some() {
        table.insert(setup.to_owned(), rows);
        std::fs::write(&file, serde_json::to_string_pretty(&table).unwrap() + "\n").unwrap();
        return;
    }
    assert_eq!(Some(&rows), table.get(setup), "{setup}: not what tests/close-codes.json says");
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

/// A scenario in which each cohort is ended in its way: clients by `stay` and faults, a server of ours by faults, a foreign one by its URL.
fn scenario(target: &str, foreign: bool) -> String {
    let mut text = format!("duration = \"4s\"\n{target}\n");
    for (side, sent) in cohorts() {
        let name = format!("{side}-{}", sent.split(' ').next().unwrap());
        let how = match (code_of(&sent), side, foreign) {
            (Some((code, reason)), "client", _) => format!("stay = {{ for = \"1s\", close = {{ code = {code}, reason = \"{reason}\" }} }}"),
            (Some((code, reason)), _, true) => format!("query = \"code={code}&reason={}\"", reason.replace(' ', "%20")),
            (None, "server", true) => format!("query = \"end={sent}\""),
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
        let file = run.file(&scenario(&format!("[target.embedded]\ntls = {tls}"), false));
        let loaded = run.load(&file, &[]);
        let servers = accounts(&loaded, "server_ended");
        hold(setup, rows(&loaded, |client| servers.get(&client).map(|pairs| (account(pairs), pairs.get("tcp_end").cloned()))));
    }
}

/// What a close event of Node said.
#[derive(Debug, Deserialize)]
struct Told {
    id: Option<String>,
    opened: Option<bool>,
    code: u16,
    reason: String,
    clean: Option<bool>,
}

#[test]
fn our_client_and_a_node_server_agree_on_every_ending() {
    if !node("our client against a server on Node's ws") {
        return;
    }
    let target = "[target.command]\nrun = \"node tests/node/server.js {port}\"\naddress = \"ws://127.0.0.1:{port}/\"";
    let run = Run::new();
    let file = run.file(&scenario(target, true));
    let loaded = run.load(&file, &[]);
    let log = run.log();
    let told: Vec<Told> = log.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect();
    let server = |client: u32| {
        let one = told.iter().find(|told| told.id.as_deref() == Some(&format!("{client}/1")))?;
        Some((with_reason(&one.code.to_string(), &one.reason), None))
    };
    hold("closestorm to ws on Node", rows(&loaded, server));
}

/// Runs foreign clients against an embedded server that ends each connection as `sent` says; empty: it waits for them.
fn strangers(sent: &str, jobs: &[serde_json::Value]) -> (Vec<Told>, Loaded) {
    let inject = match code_of(sent) {
        Some((code, reason)) => format!("close_code = {{ code = {code}, reason = \"{reason}\" }}"),
        None => format!("drop_{sent} = {{}}"),
    };
    let fault = format!("[[faults]]\nat = \"0s\"\nside = \"server\"\nnew = true\ninject = {{ {inject} }}\n");
    let text = format!(
        "duration = \"8s\"\n[target.embedded]\n[clients.ours]\ncount = 1\nreconnect = \"none\"\n{}",
        if sent.is_empty() { "" } else { &fault }
    );
    let run = Run::new();
    let file = run.file(&text);
    let child = run.command(&file, &[]).spawn().unwrap();
    let address = run.address();
    let jobs: Vec<_> = jobs
        .iter()
        .map(|job| {
            let mut job = job.clone();
            job["url"] = address.as_str().into();
            job
        })
        .collect();
    let script = home("tests/node/client.js");
    let mut command = Command::new("node");
    command.args(["--experimental-websocket", "--no-warnings"]).arg(script).arg(serde_json::to_string(&jobs).unwrap());
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    let told: Vec<Told> = String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.len(), jobs.len(), "each client ended");
    assert!(told.iter().all(|told| told.opened == Some(true)), "each client had a connection: {told:?}");
    assert!(child.wait_with_output().unwrap().status.success());
    (told, run.read())
}

/// What the embedded server reported of a claimed connection.
fn server_account(loaded: &Loaded, id: &str) -> Option<String> {
    let of = |row: &&closestorm::results::record::EventRow| {
        Some(id.to_owned()) == row.client.zip(row.connection).map(|(a, b)| format!("{a}/{b}"))
    };
    events(loaded, "server_ended").find(of).map(|row| account(&detail(row)))
}

fn row(by: &str, sent: &str, told: &Told, server: Option<String>) -> Row {
    let client = with_reason(&told.code.to_string(), &told.reason);
    Row { by: by.to_owned(), sent: sent.to_owned(), client, server, clean: told.clean.unwrap(), tcp_end: None, server_tcp_end: None }
}

#[test]
fn foreign_clients_and_the_embedded_server_agree_on_every_ending() {
    if !node("Node's ws and built-in WebSocket against the embedded server") {
        return;
    }
    let (mut of_ws, mut of_browser) = (Vec::new(), Vec::new());
    // The clients close. Scripts of browsers may send 1000 and 3000 to 4999 only.
    let mut jobs: Vec<_> = (10..)
        .zip(CODES)
        .map(|(connection, (code, reason))| serde_json::json!({ "library": "ws", "id": format!("0/{connection}"), "code": code, "reason": reason }))
        .collect();
    jobs.push(serde_json::json!({ "library": "browser", "code": 1000, "reason": "Normal closure" }));
    let (told, loaded) = strangers("", &jobs);
    for ((connection, (code, reason)), told) in (10..).zip(CODES).zip(&told) {
        let server = server_account(&loaded, &format!("0/{connection}"));
        assert!(server.is_some(), "the server ended {code}");
        of_ws.push(row("client", &format!("{code} {reason}"), told, server));
    }
    of_browser.push(row("client", "1000 Normal closure", told.last().unwrap(), None));
    // The server ends it. All at once: these runs mostly wait.
    let jobs = [serde_json::json!({ "library": "ws", "id": CLAIMED }), serde_json::json!({ "library": "browser" })];
    let ends: Vec<_> = cohorts().into_iter().filter(|(side, _)| *side == "server").map(|(_, sent)| sent).collect();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = ends.iter().map(|sent| scope.spawn(|| strangers(sent, &jobs))).collect();
        running.into_iter().map(|running| running.join().unwrap()).collect()
    });
    for (sent, (told, loaded)) in ends.iter().zip(&outcomes) {
        let server = server_account(loaded, CLAIMED);
        assert!(server.is_some(), "the server ended {sent}");
        of_ws.push(row("server", sent, &told[0], server));
        of_browser.push(row("server", sent, &told[1], None));
    }
    hold("ws on Node to embedded server", of_ws);
    hold("built-in WebSocket of Node to embedded server", of_browser);
}
