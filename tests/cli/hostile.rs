//! Servers that send what nobody could hold: memory stays within its bound, the cause is named, and the results are there.

use super::Place;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::thread;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Header of a binary message of 16 MiB.
const ANNOUNCED: [u8; 10] = [0x82, 127, 0, 0, 0, 0, 1, 0, 0, 0];

/// A server that does this to every client as soon as it is open; its address. It ends with the test process.
fn server(what: fn(&mut TcpStream) -> std::io::Result<()>) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let talk = move || {
                open(&mut stream)?;
                what(&mut stream)?;
                // To the end of the connection.
                std::io::copy(&mut stream, &mut std::io::sink())
            };
            thread::Builder::new().stack_size(128 << 10).spawn(talk).expect("a thread");
        }
    });
    format!("ws://{address}/")
}

fn open(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let field = |line: &str| line.to_ascii_lowercase().starts_with("sec-websocket-key:").then(|| line[18..].trim().to_owned());
    let key = head.lines().find_map(field).unwrap_or_default();
    let accept = derive_accept_key(key.as_bytes());
    write!(stream, "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n")
}

/// A run of so many clients against it, with `limits` of the shell and more options: the summary, and the peak of memory in MiB. The run
/// folder has to be complete whatever happened.
fn run(url: &str, clients: u32, (keys, limits, options): (&str, &str, &str)) -> (Value, u64, String) {
    let place = Place::with(&format!(
        "duration = \"3s\"\n[target.url]\naddress = \"{url}\"\nprobe = false\n[clients.web]\ncount = {clients}\n\
         arrive = {{ over = \"500ms\" }}\nreconnect = \"none\"\ntraffic = \"none\"\n{keys}\n"
    ));
    let ended = place.shell(&format!("{limits} exec $C run test.toml --out run --quiet --yes {options}")).end();
    assert!(ended.code == Some(0) || ended.code == Some(3), "{ended:?}");
    let summary = place.json("run/summary.json");
    let peak = summary["generator"]["rss_peak_bytes"].as_u64().expect("it is measured") >> 20;
    let closes = std::fs::read_to_string(place.path("run/closes.csv")).expect("it is written");
    (summary, peak, closes)
}

#[test]
#[ignore = "long: scripts/test"]
fn a_length_in_a_header_takes_no_memory() {
    let url = server(|stream| stream.write_all(&ANNOUNCED));
    // 300 times 16 MiB are 4.8 GB.
    let (summary, peak, closes) = run(&url, 300, ("max_message = \"32MiB\"", "ulimit -v 1500000;", ""));
    assert!(peak < 120, "{peak} MiB");
    assert_eq!((summary["attempts"]["opened"].as_u64(), closes.lines().count()), (Some(300), 1), "{closes}");
}

#[test]
#[ignore = "long: scripts/test"]
fn beyond_the_budget_the_connections_that_hold_most_end_and_the_run_is_inconclusive() {
    let url = server(|stream| {
        stream.write_all(&ANNOUNCED)?;
        (0..255).try_for_each(|_| stream.write_all(&[b'x'; 1 << 16]))
    });
    let (summary, peak, closes) = run(&url, 16, ("max_message = \"32MiB\"", "ulimit -v 1500000;", "--memory 32MiB"));
    // Vectors that double hold more than they were asked to, and one grows while the old one is copied.
    assert!(peak < 170, "{peak} MiB");
    assert!(closes.contains("web,local:memory,,client,,"), "{closes}");
    assert_eq!(summary["verdict"]["result"], "inconclusive");
    let reasons = summary["verdict"]["reasons"].to_string();
    assert!(reasons.contains("the memory for messages was used up") && reasons.contains("--memory"), "{reasons}");
}

/// How often connections ended for want of memory, and what they told their peer, by the code.
fn ended_for_memory(closes: &str) -> Vec<(String, u64)> {
    let mut rows = csv::Reader::from_reader(closes.as_bytes());
    let rows = rows.deserialize().map(|row| row.expect("a row"));
    let of_memory = rows.filter(|row: &BTreeMap<String, String>| row["cause"] == "local:memory");
    of_memory.map(|row| (row["wire_sent"].clone(), row["count"].parse().expect("a count"))).collect()
}

#[test]
#[ignore = "long: scripts/test"]
fn beyond_the_budget_the_largest_connection_ends_with_1009_and_the_others_stay() {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // A message that does not end: of 12 MiB for the first client, of 1 MiB for each of the others, for which buffers have 16 and 2 MiB.
    let url = server(|stream| {
        let mib = if NEXT.fetch_add(1, Relaxed) == 0 { 12 } else { 1 };
        stream.write_all(&ANNOUNCED)?;
        (0..16 * mib).try_for_each(|_| stream.write_all(&[b'x'; 1 << 16]))
    });
    let (summary, _, closes) = run(&url, 9, ("max_message = \"32MiB\"", "", "--memory 20MiB"));
    assert_eq!(ended_for_memory(&closes), [("1009".to_owned(), 1)], "{closes}");
    assert_eq!((&summary["connections"]["opened"], &summary["connections"]["open_at_end"]), (&9.into(), &8.into()));
    assert_eq!(summary["verdict"]["result"], "inconclusive");
}

#[test]
#[ignore = "long: scripts/test"]
fn workers_divide_the_budget() {
    // 2 MiB for each of eight clients.
    let url = server(|stream| {
        stream.write_all(&ANNOUNCED)?;
        (0..16).try_for_each(|_| stream.write_all(&[b'x'; 1 << 16]))
    });
    for (memory, workers, ended) in [("16MiB", 2, 0), ("12MiB", 1, 2), ("12MiB", 2, 2), ("8MiB", 4, 4)] {
        let options = format!("--memory {memory} --workers {workers}");
        let (summary, _, closes) = run(&url, 8, ("max_message = \"32MiB\"", "", &options));
        let all: u64 = ended_for_memory(&closes).iter().map(|(_, count)| count).sum();
        assert_eq!((all, &summary["connections"]["open_at_end"]), (ended, &(8 - ended).into()), "{options}: {closes}");
        assert!(ended == 0 || summary["verdict"]["result"] == "inconclusive", "{options}");
    }
}

#[test]
#[ignore = "long: scripts/test"]
fn a_message_without_end_ends_with_1009() {
    let url = server(|stream| {
        stream.write_all(&[0x02, 0])?;
        let fragment = [&[0, 127, 0, 0, 0, 0, 0, 1, 0, 0][..], &[b'x'; 1 << 16]].concat();
        loop {
            stream.write_all(&fragment)?;
        }
    });
    let (summary, peak, closes) = run(&url, 10, ("", "", ""));
    assert!(peak < 120, "{peak} MiB");
    assert!(closes.contains("web,local:max_message,,client,,1009,"), "{closes}");
    assert_ne!(summary["verdict"]["result"], "fail");
}

#[test]
#[ignore = "long: scripts/test"]
fn pings_that_nobody_reads_the_answer_of_take_no_memory() {
    let url = server(|stream| {
        let ping = [&[0x89, 125][..], &[b'p'; 125]].concat().repeat(100);
        loop {
            stream.write_all(&ping)?;
        }
    });
    // A million of them would be 131 MB of pongs for each client.
    let (_, peak, _) = run(&url, 10, ("", "", ""));
    assert!(peak < 60, "{peak} MiB");
}

#[test]
#[ignore = "long: scripts/test"]
fn random_close_codes_and_reasons_are_all_counted_and_have_a_bound() {
    static CLOSED: AtomicU16 = AtomicU16::new(0);
    let url = server(|stream| {
        let number = CLOSED.fetch_add(1, Relaxed);
        let payload = [&(3000 + number % 1900).to_be_bytes()[..], format!("because of {number}").as_bytes()].concat();
        stream.write_all(&[&[0x88, payload.len() as u8], &payload[..]].concat())?;
        stream.shutdown(std::net::Shutdown::Write)
    });
    let place = Place::with(&format!(
        "duration = \"3s\"\nexpect = [\"closes{{reported=3333}} count == 0\"]\n[target.url]\naddress = \"{url}\"\nprobe = false\n[clients.web]\n\
         count = 100\nreconnect = {{ fixed = {{ delay = \"1ms\" }} }}\ntraffic = \"none\"\n"
    ));
    let ended = place.shell("ulimit -v 1500000; exec $C run test.toml --out run --quiet").end();
    let summary = place.json("run/summary.json");
    let sent = u64::from(CLOSED.load(Relaxed));
    assert!(sent > 1_000, "too slow to say anything: {sent}");
    // Nobody knows how many of those that are counted together were 3333.
    assert!(ended.code == Some(3) || ended.code == Some(99), "{ended:?}");
    let rows = std::fs::read_to_string(place.path("run/closes.csv")).expect("it is written");
    let mut rows = csv::Reader::from_reader(rows.as_bytes());
    let rows: Vec<BTreeMap<String, String>> = rows.deserialize().map(|row| row.expect("a row")).collect();
    let told: u64 = rows.iter().map(|row| row["count"].parse::<u64>().expect("a count")).sum();
    let codes: std::collections::BTreeSet<_> = rows.iter().map(|row| &row["client_code"]).collect();
    assert!((201..=220).contains(&codes.len()), "{} codes", codes.len());
    assert_eq!(Some(told), summary["connections"]["closed"].as_u64(), "{}", summary["connections"]);
    assert!(summary["notices"].to_string().contains("close code"), "{}", summary["notices"]);
}

#[test]
#[ignore = "long: scripts/test"]
fn single_bytes_and_a_million_messages_a_second_have_a_bound() {
    for (clients, traffic, fault) in [
        (
            10,
            "rate = \"2/s\", payload = \"512KiB\"",
            "[[faults]]\nat = \"1s\"\ninject = { slice = { avg = \"1B\", variation = \"0B\", delay = \"0s\" } }",
        ),
        (1_000, "rate = \"1000/s\", payload = \"20B\"", ""),
    ] {
        let place = Place::with(&format!(
            "duration = \"3s\"\n[target.embedded]\n[clients.web]\ncount = {clients}\narrive = {{ over = \"500ms\" }}\ntraffic = {{ echo = {{ {traffic} }} }}\n{fault}\n"
        ));
        let ended = place.shell("ulimit -v 3000000; exec $C run test.toml --out run --quiet").end();
        assert!(ended.code == Some(0) || ended.code == Some(3), "{ended:?}");
        let summary = place.json("run/summary.json");
        let messages = |key: &str| summary["messages"][key].as_u64().unwrap_or_else(|| panic!("{key}: {}", summary["messages"]));
        assert!(messages("sent") > 0);
        assert_eq!(messages("due"), messages("not_started") + messages("sent"));
        let peak = summary["generator"]["rss_peak_bytes"].as_u64().expect("it is measured") >> 20;
        assert!(peak < 400, "{peak} MiB: {clients} clients");
    }
}

#[test]
#[ignore = "long: scripts/test"]
fn a_thousand_cohorts_cost_little_until_they_have_clients() {
    let cohorts = |count: u32| -> String {
        // Two have a client at once, the others later than the end.
        (0..count).map(|n| format!("[clients.c{n}]\ncount = 1\nafter = \"{}s\"\n", if n < 2 { 0 } else { 2 })).collect()
    };
    for (count, workers) in [(2, "1"), (1_000, "1"), (1_000, "2")] {
        let place = Place::with(&format!("duration = \"1500ms\"\n[target.embedded]\n{}", cohorts(count)));
        // Two cohorts take less than half of it; at 64 KiB each a thousand take 62 MiB more.
        let ended = place.shell(&format!("ulimit -v 131072; exec $C run test.toml --out run --quiet --workers {workers}")).end();
        assert_eq!(ended.code, Some(0), "{count} cohorts, {workers} workers: {}", ended.err);
        let summary = place.json("run/summary.json");
        assert_eq!(summary["connections"]["opened"], 2);
        assert!(place.path("run/report.html").exists());
    }
}

#[test]
#[ignore = "long: scripts/test"]
fn a_week_is_counted_in_few_intervals_and_its_windows_exactly() {
    // Every other second has messages; by second they took a gigabyte.
    let place = Place::with(
        "duration = \"168h\"\nexpect = [\"messages{outcome=answered,from=1001s,to=3000s} count == 999\", \"messages{outcome=answered} count == 302401\"]\n\
         [target.embedded]\n[clients.web]\ncount = 1\nreconnect = \"none\"\ntraffic = { echo = { rate = \"0.5/s\" } }\n[model]\nrtt = \"1ms\"\n",
    );
    let ended = place.shell("ulimit -v 262144; exec $C simulate test.toml --out run --quiet").end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let counts = std::fs::read_to_string(place.path("run/counts.csv")).expect("it is written");
    assert!(counts.len() < 2 << 20, "{} bytes", counts.len());
    assert!(counts.contains("\n768,233,messages,web,,due,") && counts.contains("\n1001,23,messages,web,,due,"), "cut at the window");
    assert_eq!(place.shell("exec $C check run --quiet").end().code, Some(0));
    // What nobody asked for then is not known now.
    let scenario = std::fs::read_to_string(place.path("run/scenario.toml")).expect("it is written");
    std::fs::write(place.path("run/scenario.toml"), scenario.replace("from=1001s", "from=1300s")).expect("it is ours");
    let ended = place.shell("exec $C check run").end();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.out.contains("counted seconds 1280 to 1535 together"), "{ended:?}");
}
