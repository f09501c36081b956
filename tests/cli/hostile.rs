//! Servers that send what nobody could hold: memory stays within its bound, the cause is named, and the results are there.

use super::Place;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
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
fn a_length_in_a_header_takes_no_memory() {
    let url = server(|stream| stream.write_all(&ANNOUNCED));
    // 300 times 16 MiB are 4.8 GB.
    let (summary, peak, closes) = run(&url, 300, ("max_message = \"32MiB\"", "ulimit -v 1500000;", ""));
    assert!(peak < 120, "{peak} MiB");
    assert_eq!((summary["attempts"]["opened"].as_u64(), closes.lines().count()), (Some(300), 1), "{closes}");
}

#[test]
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

#[test]
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
