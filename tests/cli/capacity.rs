//! `closestorm capacity` as a user meets it: what it refuses, what it finds, and what is left when it is stopped.

use super::{LISTENING, Place, SHORT, at_once, exists, until};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Runs of half a second that always hold, and cost the machine nothing.
const QUICK: &str = "duration = \"400ms\"\nexpect = [\"clients_lost count == 0\"]\n[target.embedded]\n[clients.web]\ncount = 4\narrive = { at_once = true }\n";

#[test]
fn a_wrong_search_is_a_usage_error_that_says_what_is_right() {
    let place = Place::with(SHORT);
    place.write("silent.toml", LISTENING);
    let table: [(&[&str], &[&str]); 9] = [
        (&["silent.toml", "--vary", "clients=1..2"], &["has no expectations", "all expectations hold", "--set 'expect="]),
        (&["test.toml", "--vary", "clients"], &["no `=`", "clients=100..20000"]),
        (&["test.toml", "--vary", "clients=5..2"], &["not below"]),
        (&["test.toml", "--vary", "clients=1..2", "--vary", "clients=1..2"], &["given twice"]),
        (&["test.toml", "--vary", "a=1..2", "--vary", "b=1..2", "--vary", "c=1..2"], &["once or twice"]),
        (&["test.toml", "--vary", "clients=1..2", "--clients", "5"], &["leave one out"]),
        (&["test.toml", "--vary", "nope=1..2"], &["unknown key `nope`"]),
        (&["test.toml", "--vary", "clients=1..2", "--precision", "80%"], &["\"0.1%\" to \"50%\""]),
        (&["test.toml"], &["--vary"]),
    ];
    for (args, parts) in table {
        place.assert_refuses(&[&["capacity"], args].concat(), 2, parts);
    }
}

#[test]
#[ignore = "long: scripts/test"]
fn the_whole_range_may_hold_and_the_report_is_made_again_from_files() {
    let place = Place::with(QUICK);
    let ended = place.run(&["capacity", "test.toml", "--vary", "clients=2..8", "--out", "found"]);
    ended.assert_code(0);
    assert!(ended.out.contains("at least 8 clients") && ended.out.contains("✓ PASS"), "{ended:?}");
    let capacity = place.json("found/capacity.json");
    assert_eq!((&capacity["limits"][0]["limit"], &capacity["limits"][0]["ended"]), (&8.0.into(), &"top".into()));
    let step = place.json("found/steps/1.json");
    assert_eq!((&step["clients"]["planned"], &step["command"]), (&2.into(), &"closestorm run test.toml --clients 2".into()));
    for name in ["report.html", "report.md", "capacity.svg"] {
        let before = std::fs::read(place.path("found").join(name)).unwrap();
        std::fs::remove_file(place.path("found").join(name)).unwrap();
        place.run(&["report", "found"]).assert_code(0);
        assert!(before == std::fs::read(place.path("found").join(name)).unwrap(), "{name}");
    }
}

#[test]
#[ignore = "long: scripts/test"]
fn two_parameters_give_a_limit_for_each_value_of_the_first() {
    // 99 % of nothing arrives in time where the server rejects what is above its limit of connections.
    let place = Place::with(&QUICK.replace("clients_lost count == 0", "attempts{outcome=rejected} count == 0"));
    let args = [
        "capacity",
        "test.toml",
        "--vary",
        "target.embedded.max_connections=2..4",
        "--vary",
        "clients=1..6",
        "--levels",
        "2",
        "--repeats",
        "1",
        "--format",
        "json",
        "--out",
        "map",
    ];
    let ended = place.run(&args);
    ended.assert_code(0);
    let limits: Vec<_> =
        ended.json()["limits"].as_array().unwrap().iter().map(|limit| [limit["level"].as_f64(), limit["limit"].as_f64()]).collect();
    assert_eq!(limits, [[Some(2.0), Some(2.0)], [Some(4.0), Some(4.0)]]);
    assert!(exists(&place.path("map/capacity.png")));
}

#[test]
#[ignore = "long: scripts/test"]
fn where_a_run_cannot_begin_the_result_is_a_lower_bound() {
    let place = Place::with(QUICK);
    // So few files that dividing the clients does not help: the server's process alone cannot take more.
    let line = "ulimit -n 72; exec $C capacity test.toml --vary clients=2..1000 --repeats 1 --precision 25% --out bound";
    let ended = place.shell(line).end();
    ended.assert_code(3);
    let limit = &place.json("bound/capacity.json")["limits"][0];
    let found = limit["limit"].as_f64().unwrap();
    assert!((6.0..=8.0).contains(&found) && limit["ended"] == "impossible", "{limit}");
    assert!(limit["broke"].as_str().unwrap().contains("may open 72 files"), "{limit}");
}

#[test]
fn a_signal_keeps_what_was_found() {
    let place = Place::with(QUICK);
    let search = place.start(&["capacity", "test.toml", "--vary", "clients=1..4000", "--steps", "200", "--out", "found"]);
    until("no step is over", || exists(&place.path("found.partial/steps/2.json")));
    search.signal("INT");
    search.end().assert_code(130);
    let capacity = place.json("found/capacity.json");
    assert_eq!((&capacity["status"], &capacity["verdict"]["result"]), (&"aborted".into(), &"inconclusive".into()));
    assert!(capacity["limits"][0]["limit"].as_f64() >= Some(2.0), "{capacity}");
    assert!(exists(&place.path("found/report.html")) && exists(&place.path("found/steps.csv")));
}

/// A server that opens so many connections at a time; it accepts whoever comes beyond, and never answers. It ends with the test's process.
fn silent_beyond(limit: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let open = Arc::new(AtomicUsize::new(0));
    let serve = move |mut stream: TcpStream, open: &AtomicUsize| {
        let (mut head, mut bytes) = (Vec::new(), [0; 1024]);
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut bytes) {
                Ok(read @ 1..) => head.extend_from_slice(&bytes[..read]),
                _ => return,
            }
        }
        let head = String::from_utf8_lossy(&head);
        let key = head.lines().filter_map(|line| line.split_once(": ")).find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
        let accept = derive_accept_key(key.expect("a key").1.as_bytes());
        let is_served = open.fetch_update(SeqCst, SeqCst, |open| (open < limit).then_some(open + 1)).is_ok();
        if is_served {
            let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
            let _ = stream.write_all(format!("{answer}{accept}\r\n\r\n").as_bytes());
        }
        while stream.read(&mut bytes).is_ok_and(|read| read > 0) {}
        if is_served {
            open.fetch_sub(1, SeqCst);
        }
    };
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let open = open.clone();
            thread::spawn(move || serve(stream, &open));
        }
    });
    address
}

#[test]
#[ignore = "long: scripts/test"]
fn who_is_left_without_an_answer_counts_against_the_load() {
    // Told otherwise, by the option or by the scenario, it is not asked.
    let cases = [("", &[][..], true), ("", &["--opened", "0%"], false), (", \"attempts{outcome=opened} share > 1%\"", &[], false)];
    at_once(cases, |(more, options, is_asked)| {
        let place = Place::new();
        let address = silent_beyond(60);
        // The few that are served are served fast, and nobody gives up.
        let scenario = format!(
            "duration = \"1s\"\nexpect = [\"opening_handshake p50 < 20s\", \"clients_lost count == 0\"{more}]\n\
             [target.url]\naddress = \"ws://{address}/\"\n[clients.web]\ncount = 20\narrive = {{ over = \"300ms\" }}\n"
        );
        place.write("silent.toml", &scenario);
        let vary = ["--vary", "clients=20..320", "--repeats", "1", "--warm-up", "0s", "--out", "found"];
        let ended = place.run(&[&["capacity", "silent.toml"], &vary[..], options].concat());
        let found = place.json("found/capacity.json");
        let limit = &found["limits"][0];
        if is_asked {
            ended.assert_code(0);
            assert!((57.0..=60.0).contains(&limit["limit"].as_f64().unwrap()) && limit["ended"] == "edge", "{limit}");
            assert!(limit["broke"].as_str().unwrap().starts_with("attempts opened >= 99 % (--opened): observed "), "{limit}");
            assert_eq!(found["expect"][2], "attempts opened >= 99 % (--opened)");
        } else {
            // Where more than half wait to the end, their median cannot be told either.
            assert!(limit["limit"].as_f64() >= Some(80.0), "{found}");
        }
    });
}
