//! What users lose, against a chat server that keeps a log of its own: messages missed while clients were disconnected, and those that it sent again.

use super::{Run, alone, home, node};
use std::collections::BTreeMap;

/// What a client said when it joined, and what the server did then.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Joined {
    last: String,
    published: u64,
    again: u64,
    /// On socket.io: whether its state was recovered, and its session id.
    #[serde(default)]
    recovered: bool,
    #[serde(default)]
    id: String,
}

/// Each client's rows in the server's log.
pub(super) fn joined(log: &str) -> BTreeMap<u64, Vec<Joined>> {
    let mut clients: BTreeMap<u64, Vec<Joined>> = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains("joins")) {
        let row: serde_json::Value = serde_json::from_str(line).expect("a row");
        let client = row["joins"].as_u64().expect("a number");
        clients.entry(client).or_default().push(serde_json::from_value(row).expect("a row"));
    }
    clients
}

/// What the server's log says: messages that were not sent to clients that came back, and those that were sent again to them.
pub(super) fn logged(clients: &BTreeMap<u64, Vec<Joined>>) -> (u64, u64) {
    let (mut missed, mut again) = (0, 0);
    for joined in clients.values() {
        for (place, one) in joined.iter().enumerate() {
            // Whoever comes again with the same number got nothing in between: it counts with the next.
            let heard = joined.get(place + 1).is_none_or(|next| next.last != one.last);
            if let (Ok(last), true) = (one.last.parse::<u64>(), heard) {
                missed += one.published - last - one.again;
                again += one.again;
            }
        }
    }
    (missed, again)
}

/// 40 clients in four rooms whose messages have numbers.
pub(super) fn scenario(target: &str, fault: &str) -> String {
    format!(
        r#"
duration = "11s"
expect = ["messages{{outcome=missed}} share < 100%", "messages{{outcome=duplicated}} count == 0", "messages{{outcome=out_of_order}} count == 0"]
{target}
[clients.web]
count = 40
arrive = {{ over = "1s" }}
reconnect = {{ fixed = {{ delay = "700ms" }} }}
deadlines = {{ close = "200ms", fin = "200ms" }}
query = "client={{client}}"
data = "rooms.csv"
[clients.web.dialogue]
open = [{{ name = "joined", send = '{{"client":{{client}},"room":"{{data.room}}","last":"{{captured.last}}"}}', expect = {{ json = {{ "/type" = "joined" }} }} }}]
receive = {{ json = {{ "/type" = "message" }} }}
sequence = {{ number = "/seq", stream = "/room", replayed = {{ json = {{ "/replay" = true }} }} }}
capture = {{ last = "/seq" }}
silence = "1s"
{fault}
"#
    )
}

/// The data of that scenario, which stands in this file.
pub(super) fn write_rooms(scenario: &str) {
    let rooms: String = (0..40).map(|client| format!("{}\n", client % 4)).collect();
    std::fs::write(scenario.replace("test.toml", "rooms.csv"), format!("room\n{rooms}")).expect("a file");
}

fn check(fault: &str, buffer: u32) {
    if !node(fault) {
        return;
    }
    let _alone = alone();
    let run = Run::new();
    let log = run.file("").replace("test.toml", "log.jsonl");
    let server = home("tests/node/chat.js");
    let target = format!("[target.command]\nrun = \"node {} {{port}} {log} {buffer}\"", server.display());
    let file = run.file(&scenario(&target, fault));
    write_rooms(&file);
    let summary = run.load(&file, &[]).summary;
    let (missed, again) = logged(&joined(&std::fs::read_to_string(&log).expect("the server's log")));
    let messages = &summary.messages;
    assert_eq!((messages.missed, messages.recovered), (missed, again), "{fault}: {messages:?}");
    assert!(missed > 0 && messages.expected > 2_000, "{fault}: {messages:?}");
    assert_eq!(buffer > 0, again > 0, "{fault}: {messages:?}");
    let losses = &summary.losses;
    assert_eq!(losses.iter().map(|row| row.missed).sum::<u64>(), missed, "{losses:?}");
    assert_eq!(losses.iter().map(|row| row.outages).sum::<u64>(), summary.reconnect.recovered, "{losses:?}");
    assert!(losses.iter().all(|row| row.fault.is_some()), "{losses:?}");
    assert!(run.out().join("missed.svg").exists());
}

#[test]
fn what_a_crash_costs_is_what_the_server_logged() {
    check("[[faults]]\nat = \"4s\"\ninject = { server_crash = { down = \"500ms\" } }\n", 0);
}

#[test]
fn what_is_sent_again_after_dropped_connections_is_recovered() {
    check(
        "[[faults]]\nat = \"3s\"\nevery = \"2s\"\nuntil = \"6s\"\nside = \"client\"\nselect = { percent = \"50%\" }\ninject = { drop_rst = {} }\n",
        10,
    );
}

#[test]
fn what_half_open_connections_swallow_is_missed() {
    check("[[faults]]\nat = \"4s\"\nside = \"client\"\nselect = { percent = \"50%\" }\ninject = { blackhole = {} }\n", 0);
}

/// Half of the connections of a socket.io server are dropped three times; what was told meanwhile is `sent_again` by connection state recovery, or missed.
fn socket_io(recovery: &str, sent_again: bool) {
    if !node("socket.io") {
        return;
    }
    let _alone = alone();
    let run = Run::new();
    let log = run.file("").replace("test.toml", "log.jsonl");
    let scenario = format!(
        r#"
duration = "9s"
[target.command]
run = "node {server} {{port}} {log} {recovery}"
[clients.web]
count = 40
arrive = {{ over = "500ms" }}
like = "socket.io-client"
reconnect = {{ fixed = {{ delay = "500ms" }} }}
query = "EIO=4&transport=websocket&client={{client}}&last={{captured.last}}"
dialogue = {{ sequence = "/1/seq", capture = {{ last = "/1/seq" }}, silence = "4s" }}
"#,
        server = home("tests/node/recovery.js").display()
    );
    let summary = run.load(&run.file(&scenario), &[]).summary;
    let clients = joined(&std::fs::read_to_string(&log).expect("the server's log"));
    let (missed, again) = logged(&clients);
    let messages = &summary.messages;
    assert_eq!((messages.missed, messages.recovered, messages.duplicated, messages.out_of_order), (missed, again, 0, 0), "{messages:?}");
    assert_eq!((again > 500, missed > 500), (sent_again, !sent_again), "{again} {missed}");
    let losses = &summary.losses;
    assert_eq!((losses.iter().map(|row| row.missed).sum::<u64>(), clients.len()), (missed, 40), "{losses:?}");
    assert!(summary.reconnect.recovered >= 40 && summary.clients.open_at_end == 40, "{:?}", summary.reconnect);
    for rows in clients.values() {
        assert!(!rows[0].recovered, "{rows:?}");
        assert!(rows[1..].iter().all(|row| row.recovered == sent_again && (row.id == rows[0].id) == sent_again), "{rows:?}");
    }
    let backs: usize = clients.values().map(|rows| rows.len() - 1).sum();
    assert_eq!(backs as u64, summary.reconnect.recovered, "each reconnect is one in the log");
}

#[test]
fn what_socket_io_sends_again_after_a_reconnect_is_recovered() {
    socket_io("on", true);
}

#[test]
fn what_socket_io_tells_meanwhile_is_missed_where_recovery_is_off() {
    socket_io("off", false);
}
