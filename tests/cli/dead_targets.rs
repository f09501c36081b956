//! Targets that are not there, are no WebSocket servers, or die; and the quick mode against one that is well.

use super::{LONG, Place, at_once, command_target, read_head, server, websocket_server};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::thread::sleep;
use std::time::Duration;

const CLIENTS: &str = "\n[clients.web]\ncount = 10\narrive = { over = \"200ms\" }\nreconnect = { fixed = { delay = \"300ms\" } }\n";

fn answers(text: &'static str) -> String {
    let address = server(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(text.as_bytes());
        sleep(Duration::from_millis(200));
    });
    format!("ws://{address}/path")
}

#[test]
#[ignore = "long: scripts/test"]
fn a_url_that_is_no_websocket_server_is_one_message_with_a_hint() {
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port").local_addr().expect("it was bound");
    let silent = server(|_stream| sleep(LONG));
    let greeting = format!("ws://{}", server(|mut stream| _ = stream.write_all(b"220 mail.example ESMTP\r\n\r\n")));
    let plain = answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let table = [
        (format!("ws://{closed}/"), ["connection refused", "start the server, or check host and port"]),
        ("ws://nothere.invalid/".to_owned(), ["cannot resolve nothere.invalid", "check the name of the host"]),
        (plain, ["HTTP 200 instead of 101", "check the path"]),
        (greeting.replace("ws:", "wss:"), ["tls: ", "without TLS the address begins with ws://"]),
        (answers("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), ["HTTP 404 instead of 101", "check the path"]),
        (answers("SSH-2.0-OpenSSH_9.9\r\n\r\n"), ["the answer was not HTTP", "check that this is a WebSocket server"]),
        (format!("ws://{silent}/"), ["no answer to the opening handshake within 10s", "whether it uses TLS"]),
        (answers(""), ["connection ended before the 101 response", "whether it uses TLS"]),
        (
            answers("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"),
            ["Sec-WebSocket-Accept", "check that this is a WebSocket server"],
        ),
    ];
    at_once(table, |(url, parts)| Place::new().assert_refuses(&["run", &url, "--clients", "5"], 1, &parts));
}

#[test]
fn a_command_that_does_not_become_a_server_is_one_message() {
    let taken = server(|_stream| ());
    let table: [(String, &[&str]); 5] = [
        ("run = \"closestorm-nosuchprogram {port}\"".into(), &["`closestorm-nosuchprogram` not found", "check `run`"]),
        ("run = \"sh -c 'echo no module; exit 3' {port}\"".into(), &["ended before it was ready: exit status 3", "\n  | no module"]),
        (
            "run = \"sleep 100{port}\"\nready = { within = \"300ms\" }".into(),
            &["not ready within 300ms", "waited for a TCP connect", "check `address` and `ready`"],
        ),
        ("run = \"sleep 100{port}\"\nworkdir = \"nothere\"".into(), &["nothere", "check `workdir`"]),
        (format!("run = \"sleep 100\"\naddress = \"ws://{taken}/\""), &["is in use by another process", "write `{port}`"]),
    ];
    at_once(table, |(target, parts)| {
        let place = Place::with(&format!("duration = \"2s\"\n[target.command]\n{target}\n{CLIENTS}"));
        place.assert_refuses(&["run", "test.toml"], 1, parts);
    });
}

#[test]
#[ignore = "long: scripts/test"]
fn a_target_that_dies_by_itself_is_a_notice_and_the_run_goes_on() {
    let target = command_target("{serve}", Duration::from_millis(1200));
    let place = Place::with(&format!(
        "duration = \"3s\"\nexpect = [\"attempts{{outcome=refused}} count == 0\", \"opening_handshake p50 < 20s\"]\n{target}{CLIENTS}"
    ));
    let ended = place.run(&["run", "test.toml", "--out", "run", "--format", "json"]);
    ended.assert_code(99);
    let summary = ended.json();
    assert_eq!((&summary["status"], &summary["measured_ms"]), (&"completed".into(), &3000.into()));
    assert!(summary["notices"].to_string().contains("the target ended by itself: exit status 7"), "{}", summary["notices"]);
    assert_eq!((&summary["connections"]["closed"], &summary["close_codes"]["client"]["1006"]), (&10.into(), &10.into()));
    assert_eq!((&summary["reconnect"]["recovered"], &summary["reconnect"]["censored"]), (&0.into(), &10.into()));
    assert!(summary["attempts"]["refused"].as_u64() > Some(20), "{}", summary["attempts"]);
}

#[test]
#[ignore = "long: scripts/test"]
fn a_url_alone_is_a_run_of_ten_clients_that_connect_and_stay() {
    let address = websocket_server();
    let place = Place::new();
    let ended = place.run(&["run", &format!("ws://{address}/path"), "--duration", "2s", "--out", "run"]);
    ended.assert_code(0);
    for part in [
        "10 planned · 10 opened",
        "closes       none",
        "✓ PASS · Yes: all 10 clients connected",
        "✓ closes count == 0",
        "run/report.html",
        "next  ",
    ] {
        assert!(ended.out.contains(part), "{part} is not in {}", ended.out);
    }
    // The suggested command works as it stands, for it does not name the same folder.
    let next = ended.out.lines().last().and_then(|line| line.split_once("next")).expect("a next command").1.trim();
    assert_eq!(next, format!("closestorm run ws://{address}/path --duration 2s --clients 20"));
    let echo = "clients.default.traffic={echo={rate=\"10/s\",payload=\"50B\"}}";
    let ended = place.run(&["run", &format!("ws://localhost:{}/", address.port()), "--duration", "1s", "--set", echo, "--format", "json"]);
    ended.assert_code(0);
    assert!(ended.json()["messages"]["rtt_us"]["count"].as_u64() > Some(50), "{}", ended.out);
}
