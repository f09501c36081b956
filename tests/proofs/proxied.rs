//! Faults of the catalogue through `closestorm proxy`, seen by sockets that share no code with the program.
//!
//! Each row has a proxy of its own in one process, so that no fault can be taken for another, and a second connection through the same proxy
//! that the fault does not name: every byte of it must come back. The observer is that of `closestorm serve`.

use super::frame::{self, CLOSE, PING, PONG, TEXT};
use super::served::{ECHO, Serving, is_like, observe_from, request, serve};
use crate::common::{LONG, program};
use closestorm::fault::{proxied_rows, rows};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout, timeout_at};

/// The program with its control API; killed when dropped.
pub(super) struct Proxied {
    pub(super) child: Child,
    pub(super) api: u16,
}

impl Proxied {
    pub(super) async fn start() -> Proxied {
        let mut command = Command::new(program());
        command.args(["proxy", "--api", "127.0.0.1:0"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.kill_on_drop(true).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let first = timeout(LONG, lines.next_line()).await.expect("in time").expect("a pipe").expect("a line");
        let api = first.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{first}"));
        Proxied { child, api }
    }

    /// Asks the control API; status and body.
    pub(super) async fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(("127.0.0.1", self.api)).await.expect("it listens");
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).await.expect("it reads");
        let mut answer = Vec::new();
        timeout(LONG, stream.read_to_end(&mut answer)).await.expect("in time").expect("an answer");
        let text = String::from_utf8(answer).expect("text");
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{text}"));
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        (status, serde_json::from_str(body).unwrap_or_else(|_| body.into()))
    }

    /// A proxy of this name to a port of this machine; where it listens.
    pub(super) async fn proxy(&self, name: &str, upstream: u16) -> u16 {
        let body = json!({ "name": name, "listen": "127.0.0.1:0", "upstream": format!("127.0.0.1:{upstream}") });
        let (status, made) = self.ask("POST", "/proxies", &body).await;
        assert_eq!(status, 201, "{made}");
        made["listen"].as_str().and_then(|listen| listen.rsplit(':').next()?.parse().ok()).expect("an address")
    }

    pub(super) async fn fault(&self, fault: Value) -> Value {
        let (status, made) = self.ask("POST", "/v1/faults", &fault).await;
        assert_eq!(status, 201, "{fault}: {made}");
        made
    }
}

/// A kind with its parameters, how long it holds, and what is seen by a client whose connection was open before the fault came.
type Row = (&'static str, &'static [(&'static str, &'static str)], Option<&'static str>, &'static str);

const LATE: &str = "101, late 81 one, late 8a ping, late 81 two, late 88 1000, late FIN";

const EXISTING: &[Row] = &[
    ("drop_fin", &[], None, "101, FIN"),
    ("drop_rst", &[], None, "101, RST"),
    ("truncate_frame", &[], None, "101, 81 cut after 10 B, FIN"),
    ("truncate_frame", &[("end", "rst")], None, "101, *RST"),
    ("half_close_write", &[], None, "101, FIN"),
    ("freeze", &[], Some("1200ms"), LATE),
    ("stop_reading", &[], Some("1200ms"), LATE),
    ("blackhole", &[], Some("1200ms"), "101, late RST"),
    ("latency", &[("latency", "1200ms"), ("dir", "down")], None, LATE),
    ("bandwidth", &[("bytes_per_s", "10B"), ("dir", "down")], None, "101, *81 one, late 8a ping, late 81 two, late 88 1000, *late FIN"),
    (
        "slice",
        &[("avg", "1B"), ("variation", "0B"), ("delay", "15ms"), ("dir", "down")],
        None,
        "101, 81 one, 8a ping, 81 two, 88 1000, in pieces FIN",
    ),
    ("coalesce", &[("window", "1200ms"), ("dir", "down")], None, "101, *FIN"),
    ("bursty_stall", &[("p_bad", "100%"), ("p_good", "0%"), ("stall", "1200ms"), ("dir", "down")], None, LATE),
    ("hold_release", &[], Some("1200ms"), LATE),
    ("corrupt_byte", &[("per_mb", "1000000"), ("dir", "down")], None, "101, *"),
    ("limit_bytes", &[("bytes", "10B"), ("end", "rst")], None, "101, RST"),
    ("limit_frames", &[("frames", "2"), ("end", "rst")], None, "101, *RST"),
    ("limit_time", &[("time", "200ms"), ("end", "rst")], None, "101, *RST"),
    ("idle_timeout", &[("idle", "150ms")], None, "101, *FIN"),
    ("max_lifetime", &[("life", "100ms"), ("end", "close"), ("code", "4000")], None, "101, *88 4000, *FIN"),
    ("drain", &[("grace", "200ms"), ("end", "rst")], None, "101, *RST"),
    ("load_balancer", &[("preset", "google-alb"), ("time_scale", "300")], None, "101, *FIN"),
    ("frame_mask_violation", &[], None, "101, 81 masked mask, *"),
    ("frame_rsv", &[], None, "101, c1 rsv, *"),
    ("frame_opcode", &[], None, "101, 83 opcode, *"),
    ("frame_control_fragmented", &[], None, "101, 09 part, *"),
    ("frame_control_oversize", &[], None, "101, 89 126 B, *"),
    ("frame_bad_utf8", &[], None, "101, 81 ab\\u{fffd}\\u{fffd}cd, *"),
    ("frame_orphan_continuation", &[], None, "101, 80 orphan, *"),
    ("frame_interleave", &[], None, "101, 01 one , 81 two, *"),
    ("frame_length_lie", &[], None, "101, 82 cut after *FIN"),
    ("frame_nonminimal_length", &[], None, "101, 81 long header short, *"),
    ("frame_oversize", &[("size", "300KiB")], None, "101, 82 307200 B, *"),
    ("pong_drop", &[], None, "101, 81 one, 81 two, 88 1000, FIN"),
    // A Close frame pushes out before it what waits.
    ("pong_delay", &[], None, "101, 81 one, 81 two, 8a ping, 88 1000, FIN"),
    ("pong_wrong_payload", &[], None, "101, 81 one, 8a \\u{fffd}*"),
    ("ping_flood", &[("per_s", "500")], None, "101, a flood of 89 xxxx, *FIN"),
    ("pong_unsolicited", &[], None, "101, 8a unsolicited, *"),
    ("frame_drop", &[("probability", "100%"), ("dir", "down")], None, "101, 8a ping, 88 1000, FIN"),
    ("frame_duplicate", &[("probability", "100%"), ("dir", "down")], None, "101, 81 one, 81 one, 8a ping, 81 two, 81 two, 88 1000, FIN"),
    ("frame_reorder", &[("probability", "100%"), ("dir", "down")], None, "101, 8a ping, 81 one, *"),
    ("frame_delay", &[("probability", "100%"), ("delay", "1200ms"), ("dir", "down")], None, "101, 8a ping, 81 one, *"),
    ("frame_corrupt", &[("probability", "100%"), ("dir", "down")], None, "101, 81 *8a ping, *"),
    ("close_code", &[("code", "4001"), ("reason", "bye")], None, "101, 88 4001 3 B, FIN"),
    ("close_empty", &[], None, "101, 88 empty, FIN"),
    ("close_ack_delay", &[("delay", "1200ms")], None, "101, 81 one, 8a ping, 81 two, late 88 1000, late FIN"),
    ("close_ack_drop", &[("then", "rst")], None, "101, 81 one, 8a ping, 81 two, RST"),
    ("close_ack_drop", &[("then", "fin")], None, "101, 81 one, 8a ping, 81 two, FIN"),
    ("close_ack_drop", &[], None, "101, 81 one, 8a ping, 81 two, nothing more"),
    ("close_hold_tcp", &[("hold", "1200ms")], None, "101, 81 one, 8a ping, 81 two, 88 1000, late FIN"),
    ("close_body_1", &[], None, "101, 88 \\u{3}, FIN"),
    ("close_reason_bad_utf8", &[], None, "101, 88 1000 12 B, FIN"),
    ("close_reason_long", &[], None, "101, 88 1000 124 B, FIN"),
    ("close_then_fin", &[], None, "101, 88 1001, FIN"),
    ("close_then_rst", &[], None, "101, *RST"),
    ("close_twice", &[], None, "101, 88 1000, 88 1001, FIN"),
    ("close_then_data", &[], None, "101, 88 1000, 81 late, FIN"),
    ("close_in_fragment", &[], None, "101, 01 unfinished , 88 1000, FIN"),
    ("close_ack_wrong_code", &[], None, "101, 81 one, 8a ping, 81 two, 88 4000, FIN"),
    ("close_while_sending", &[("queued", "100KiB")], None, "101, 82 102400 B, 88 1001, FIN"),
    ("close_simultaneous", &[], None, "101, *88 1001, *FIN"),
    ("server_panic_handler", &[("probability", "100%")], None, "101, 88 1011, FIN"),
];

/// What a client sees whose connection comes while the fault stands.
const NEW: &[Row] = &[
    ("accept_stall", &[], None, "nothing more"),
    ("accept_stall", &[("hold", "1200ms")], None, "late FIN"),
    ("upgrade_status", &[("status", "429"), ("retry_after", "5s")], None, "429 with retry-after, FIN"),
    ("accept_fin", &[], None, "FIN"),
    ("accept_rst", &[], None, "RST"),
    ("upgrade_redirect", &[], None, "302 with location, FIN"),
    ("upgrade_delay", &[("delay", "1200ms")], None, "late 101, *FIN"),
    ("upgrade_drip", &[("bytes_per_chunk", "16B"), ("interval", "20ms")], None, "in pieces 101, *FIN"),
    ("upgrade_truncate", &[], None, "the beginning of an answer, FIN"),
    ("upgrade_bad_accept", &[], None, "101 wrong accept, *"),
    ("upgrade_no_upgrade_hdr", &[], None, "101 without upgrade, *"),
    ("upgrade_no_connection_hdr", &[], None, "101 without connection, *"),
    ("upgrade_bad_subprotocol", &[], None, "101 with sec-websocket-protocol, *"),
    ("upgrade_bad_extension", &[], None, "101 with sec-websocket-extensions, *"),
    ("upgrade_garbage", &[], None, "no HTTP, FIN"),
    ("server_overload", &[("shed", "100%"), ("accept_delay", "1200ms")], None, "late 503, late FIN"),
    ("server_overload", &[("shed", "100%"), ("accept_delay", "0s"), ("with", "1013")], None, "101, 88 1013, *FIN"),
    ("drop_rst", &[], None, "RST"),
    ("latency", &[("latency", "1200ms"), ("dir", "down")], None, "late 101, late 81 one, *"),
    ("truncate_frame", &[], None, "101, 81 cut after 10 B, FIN"),
    ("frame_drop", &[("probability", "100%"), ("dir", "down")], None, "101, 8a ping, 88 1000, FIN"),
    ("close_code", &[("code", "4001"), ("reason", "bye")], None, "101, 88 4001 3 B, FIN"),
    ("connect_refuse", &[], Some("1200ms"), ""),
];

/// A fault in the words of the API.
fn words(row: &Row, more: Value) -> Value {
    let whole = ["code", "per_mb", "time_scale", "frames", "per_s", "status"];
    let value = |name: &str, text: &str| match text.parse::<u64>() {
        Ok(number) if whole.contains(&name) && row.0 != "upgrade_redirect" => number.into(),
        _ => Value::from(text),
    };
    let params: serde_json::Map<String, Value> = row.1.iter().map(|(name, text)| ((*name).to_owned(), value(name, text))).collect();
    let mut fault = json!({ "inject": { row.0: params } });
    if let Some(holds) = row.2 {
        fault["for"] = holds.into();
    }
    if let (Value::Object(fault), Value::Object(more)) = (&mut fault, more) {
        fault.extend(more);
    }
    fault
}

/// Says so many numbered texts, and reads them back: nothing is missing, nothing is added.
async fn untouched(port: u16, count: usize, goes_on: &tokio::sync::Semaphore) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
    stream.write_all(request("/echo").as_bytes()).await.expect("it reads");
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(timeout(LONG, stream.read_u8()).await.expect("in time").expect("an answer"));
    }
    goes_on.add_permits(1);
    for number in 0..count {
        let text = format!("text {number}");
        stream.write_all(&frame::encode(TEXT, text.as_bytes(), true)).await.expect("open");
        let expected = frame::encode(TEXT, text.as_bytes(), false);
        let mut got = vec![0; expected.len()];
        timeout(LONG, stream.read_exact(&mut got)).await.expect("in time").expect("open");
        assert_eq!(got, expected);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn existing(proxied: &Proxied, upstream: &Serving, index: usize, row: &Row) -> Option<String> {
    let name = format!("row-{index}");
    let port = proxied.proxy(&name, upstream.port).await;
    let opened = tokio::sync::Semaphore::new(0);
    let seen = async {
        // The first connection of the proxy is the one that nothing is to happen to.
        let _ = opened.acquire().await;
        observe_from(port, "/echo", async {
            let made = proxied.fault(words(row, json!({ "proxy": name, "connection": 2 }))).await;
            assert_eq!(made["hits"], 1, "{made}");
        })
        .await
    };
    let (seen, ()) = tokio::join!(seen, untouched(port, 150, &opened));
    let is_right = is_like(&seen, row.3) && seen != ECHO;
    (!is_right).then(|| format!("{} {:?}\n  expected {}\n  seen     {seen}", row.0, row.1, row.3))
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn every_kind_acts_on_a_connection_that_is_open_and_on_no_other() {
    let (proxied, upstream) = (Proxied::start().await, serve(&[]).await);
    let wrong = join_all(EXISTING.iter().enumerate().map(|(index, row)| existing(&proxied, &upstream, index, row))).await;
    let wrong: Vec<_> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn kinds_act_on_connections_that_come_while_old_ones_live() {
    let (proxied, upstream) = (Proxied::start().await, serve(&[]).await);
    let one = async |index: usize, row: &Row| {
        let name = format!("new-{index}");
        let port = proxied.proxy(&name, upstream.port).await;
        let opened = tokio::sync::Semaphore::new(0);
        let seen = async {
            let _ = opened.acquire().await;
            let mut fault = words(row, json!({ "proxy": name }));
            if !row.0.starts_with("accept_") && !row.0.starts_with("upgrade_") && !["server_overload", "connect_refuse"].contains(&row.0) {
                fault["new"] = true.into();
                // Nobody who is there is in this phase.
                fault["select"] = json!({ "phase": "tcp" });
            }
            proxied.fault(fault).await;
            if row.0 == "connect_refuse" {
                let refused = TcpStream::connect(("127.0.0.1", port)).await.is_err();
                assert!(refused, "it refuses");
                return String::new();
            }
            observe_from(port, "/echo", async {}).await
        };
        let (seen, ()) = tokio::join!(seen, untouched(port, 150, &opened));
        let is_right = is_like(&seen, row.3) && seen != ECHO;
        (!is_right).then(|| format!("{} {:?}\n  expected {}\n  seen     {seen}", row.0, row.1, row.3))
    };
    let wrong = join_all(NEW.iter().enumerate().map(|(index, row)| one(index, row))).await;
    let wrong: Vec<_> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each kind has a row here, or is told from the other end, or is refused with its reason.
#[tokio::test]
async fn every_kind_has_a_proof_or_a_reason() {
    let proxied = Proxied::start().await;
    let elsewhere = UPSTREAM.iter().map(|row| row.0).chain(["backlog_full", "connect_blackhole", "partition"]);
    let proved: Vec<_> = EXISTING.iter().chain(NEW).map(|row| row.0).chain(elsewhere).collect();
    for row in rows().chain(proxied_rows()).filter(|row| !proved.contains(&row.kind)) {
        let (status, answer) = proxied.ask("POST", "/v1/faults", &json!({ "inject": { row.kind: {} } })).await;
        let why = answer["error"].as_str().unwrap_or_default();
        assert!(status == 400 && why.contains("cannot be carried out by a proxy: it "), "{}: {status} {answer}", row.kind);
    }
}

/// What an upstream sees of a fault that acts as its client. It says what the observer says to a server: a text, a ping, 250 ms later another
/// text and a Close frame; the real client answers all of it.
const UPSTREAM: &[Row] = &[
    ("drop_rst", &[], None, "RST"),
    ("drop_fin", &[], None, "FIN"),
    ("client_crash", &[("end", "silent")], None, "nothing more"),
    ("client_network_switch", &[], None, "nothing more"),
    ("client_sleep", &[], None, "nothing more"),
    ("truncate_frame", &[], None, "81 masked cut after 10 B, FIN"),
    ("pong_drop", &[], None, "81 masked one, 81 masked two, 88 masked 1000, FIN"),
    ("close_code", &[("code", "4001")], None, "88 masked 4001, FIN"),
    ("close_ack_wrong_code", &[], None, "81 masked one, 8a masked ping, 81 masked two, 88 masked 4000, FIN"),
    ("frame_mask_violation", &[], None, "81 mask, *"),
    ("frame_duplicate", &[("probability", "100%"), ("dir", "up")], None, "81 masked one, 81 masked one, 8a masked ping, *"),
    ("client_bad_request", &[("what", "method")], None, "POST"),
    ("client_early_data", &[("frames", "2")], None, "81 masked early 0, 81 masked early 1, *"),
];

/// A client that answers: echoes texts, pongs, and the Close frame.
async fn answering(port: u16) {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let _ = stream.write_all(request("/").as_bytes()).await;
    let (mut bytes, mut chunk, mut head) = (Vec::new(), [0; 65536], true);
    while let Ok(Ok(count @ 1..)) = timeout(LONG, stream.read(&mut chunk)).await {
        bytes.extend_from_slice(&chunk[..count]);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n").filter(|_| head) {
            bytes.drain(..end + 4);
            head = false;
        }
        while let Some((frame, length)) = frame::parse(&bytes, Duration::ZERO).filter(|_| !head) {
            bytes.drain(..length);
            let first = if frame.first == PING { PONG } else { frame.first };
            let _ = stream.write_all(&frame::encode(first, &frame.payload, true)).await;
        }
    }
}

/// What the upstream sees, in words.
async fn seen_upstream(proxied: &Proxied, index: usize, row: &Row) -> Option<String> {
    let name = format!("up-{index}");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = proxied.proxy(&name, listener.local_addr().expect("it is bound").port()).await;
    let mut fault = words(row, json!({ "proxy": name }));
    if !row.1.iter().any(|(name, _)| *name == "dir") && !row.0.starts_with("client_") {
        fault["dir"] = "up".into();
    }
    let attempt = row.0.starts_with("client_bad") || row.0.starts_with("client_early");
    if attempt {
        proxied.fault(fault.clone()).await;
    }
    let client = tokio::spawn(answering(port));
    let (mut stream, _) = timeout(LONG, listener.accept()).await.expect("in time").expect("a connection");
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut chunk = [0; 4096];
        let count = timeout(LONG, stream.read(&mut chunk)).await.expect("in time").expect("a request");
        bytes.extend_from_slice(&chunk[..count]);
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let mut words = Vec::new();
    if bytes.starts_with(b"POST ") {
        words.push("POST".to_owned());
    } else {
        bytes.drain(..end);
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.expect("open");
        if !attempt {
            // The answer has passed when the connection is counted as a WebSocket.
            let path = format!("/v1/connections/{name}/1");
            while proxied.ask("GET", &path, &Value::Null).await.1["speaks"] != "websocket" {
                tokio::task::yield_now().await;
            }
            assert_eq!(proxied.fault(fault).await["hits"], 1, "{}", row.0);
        }
        let end = upstream_says(&mut stream, &mut bytes, &mut words).await;
        words.push(end.to_owned());
    }
    client.abort();
    let seen = words.join(", ");
    (!is_like(&seen, row.3)).then(|| format!("{} {:?}\n  expected {}\n  seen     {seen}", row.0, row.1, row.3))
}

async fn upstream_says(stream: &mut TcpStream, bytes: &mut Vec<u8>, words: &mut Vec<String>) -> &'static str {
    let (begun, mut said, mut chunk) = (Instant::now(), 0, [0; 65536]);
    let end = loop {
        while let Some((frame, length)) = frame::parse(bytes, Duration::ZERO) {
            bytes.drain(..length);
            let masked = if frame.masked { " masked" } else { "" };
            let code = frame.payload.first_chunk().filter(|_| frame.first == CLOSE).map(|code| u16::from_be_bytes(*code));
            let what = code.map_or_else(|| String::from_utf8_lossy(&frame.payload).into_owned(), |code| code.to_string());
            words.push(format!("{:02x}{masked} {what}", frame.first));
            if frame.first == CLOSE {
                // As a server does: its own Close frame, if that is not out, and FIN.
                if said < 2 {
                    let _ = stream.write_all(&frame::encode(CLOSE, &frame.payload, false)).await;
                }
                let _ = stream.shutdown().await;
                said = 2;
            }
        }
        let next = [begun, begun + Duration::from_millis(250), begun + Duration::from_millis(1500)][said];
        match timeout_at(next, stream.read(&mut chunk)).await {
            Err(_) if said < 2 => {
                let (text, control) = if said == 0 { ("one", (PING, &b"ping"[..])) } else { ("two", (CLOSE, &b"\x03\xe8"[..])) };
                let frames = [frame::encode(TEXT, text.as_bytes(), false), frame::encode(control.0, control.1, false)].concat();
                let _ = stream.write_all(&frames).await;
                said += 1;
            }
            Err(_) => break "nothing more",
            Ok(Ok(0)) => break "FIN",
            Ok(Err(_)) => break "RST",
            Ok(Ok(count)) => bytes.extend_from_slice(&chunk[..count]),
        }
    };
    if let Some((first, masked, _, payload)) = frame::cut(bytes) {
        words.push(format!("{first:02x}{} cut after {} B", if masked { " masked" } else { "" }, payload.len()));
    }
    end
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn faults_act_towards_the_upstream_as_a_client_would() {
    let proxied = Proxied::start().await;
    let wrong = join_all(UPSTREAM.iter().enumerate().map(|(index, row)| seen_upstream(&proxied, index, row))).await;
    let wrong: Vec<_> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Opens a WebSocket; what follows the answer is left to read.
pub(super) async fn opened(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
    stream.write_all(request("/echo").as_bytes()).await.expect("it reads");
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(timeout(LONG, stream.read_u8()).await.expect("in time").expect("an answer"));
    }
    stream
}

/// Everything that still comes; the frames of it as hexadecimal first bytes, and whether the end was a FIN.
async fn rest(mut stream: TcpStream) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let end = timeout(LONG, stream.read_to_end(&mut bytes)).await.expect("in time");
    (bytes, end.is_ok())
}

/// The lines of the page, as they stand there but for the ports.
#[tokio::test]
async fn the_walk_through_of_the_page_does_what_it_says() {
    let page = crate::documents::read("docs/commands/proxy.md");
    let lines: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("$ curl ")).collect();
    assert_eq!(lines.len(), 6, "{lines:?}");
    let (proxied, upstream) = (Proxied::start().await, serve(&[]).await);
    let port = proxied.proxy("proxy", upstream.port).await;
    let (first, second) = (opened(port).await, opened(port).await);
    for line in lines {
        let line = format!("curl -sS {}", line.replace("127.0.0.1:8474", &format!("127.0.0.1:{}", proxied.api)));
        let output = Command::new("sh").args(["-c", &line]).stdin(Stdio::null()).output().await.expect("a shell");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && !text.contains("error"), "{line}: {text} {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(proxied.ask("GET", "/v1/faults/slow", &Value::Null).await.0, 404);
    let (cut, _) = rest(first).await;
    assert_eq!(frame::cut(&cut).map(|(first, _, declared, payload)| (first, declared, payload.len())), Some((TEXT, 100, 10)));
    let (closed, fin) = rest_after_answer(second).await;
    assert!(fin && closed == [&[CLOSE, 9][..], &1012_u16.to_be_bytes(), b"restart"].concat(), "{closed:?}");
}

/// Answers the Close frame, as a client does.
async fn rest_after_answer(mut stream: TcpStream) -> (Vec<u8>, bool) {
    let mut head = [0; 2];
    timeout(LONG, stream.read_exact(&mut head)).await.expect("in time").expect("a frame");
    let mut payload = vec![0; head[1].into()];
    timeout(LONG, stream.read_exact(&mut payload)).await.expect("in time").expect("a frame");
    stream.write_all(&frame::encode(CLOSE, &payload, true)).await.expect("open");
    let (more, fin) = rest(stream).await;
    ([&head[..], &payload, &more].concat(), fin)
}

/// New connections get no answer from the port while open ones live, or fall silent with it; afterwards all is as before.
#[tokio::test]
async fn a_port_that_does_not_answer_and_a_partition() {
    let (proxied, upstream) = (Proxied::start().await, serve(&[]).await);
    let echoes = async |stream: &mut TcpStream| {
        stream.write_all(&frame::encode(TEXT, b"x", true)).await.expect("open");
        let mut got = [0; 3];
        timeout(Duration::from_millis(700), stream.read_exact(&mut got)).await.is_ok_and(|read| read.is_ok() && got == [TEXT, 1, b'x'])
    };
    for (kind, silent) in [("connect_blackhole", false), ("backlog_full", false), ("partition", true)] {
        let port = proxied.proxy(kind, upstream.port).await;
        let mut old = opened(port).await;
        assert!(echoes(&mut old).await);
        let params = if silent { json!({ "on_revert": "resume" }) } else { json!({}) };
        proxied.fault(json!({ "name": kind, "proxy": kind, "inject": { kind: params } })).await;
        // A full queue takes one more than its length, and the kernel completes their handshakes.
        let mut queued = Vec::new();
        let unanswered = loop {
            match timeout(Duration::from_millis(300), TcpStream::connect(("127.0.0.1", port))).await {
                Ok(stream) => queued.push(stream.expect("no refusal")),
                Err(_) => break true,
            }
            if queued.len() > 3 {
                break false;
            }
        };
        assert!(unanswered && (queued.is_empty() || kind == "backlog_full"), "{kind}: {} connects were answered", queued.len());
        assert_eq!(echoes(&mut old).await, !silent, "{kind}");
        assert_eq!(proxied.ask("DELETE", &format!("/v1/faults/{kind}"), &Value::Null).await.0, 204);
        let mut new = opened(port).await;
        assert!(echoes(&mut new).await && echoes(&mut old).await, "{kind}");
    }
}

/// The faults of a scenario, by their schedule from the start of the proxy.
#[tokio::test]
async fn a_scenario_acts_on_connections_numbered_by_arrival() {
    let upstream = serve(&[]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("faults.toml");
    let text = "[[faults]]\nat = \"0s\"\nnew = true\nselect = { nth = 2 }\ninject = { close_code = { code = 4000 } }\n";
    std::fs::write(&file, text).expect("a file");
    let mut command = Command::new(program());
    let to = format!("127.0.0.1:{}", upstream.port);
    command.args(["proxy", "--listen", "127.0.0.1:0", "--upstream", &to, "--scenario"]).arg(&file);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let first = timeout(LONG, lines.next_line()).await.expect("in time").expect("a pipe").expect("a line");
    let port = first.split(',').next().and_then(|line| line.rsplit(':').next()?.parse().ok()).unwrap_or_else(|| panic!("{first}"));
    for number in 1..=4 {
        let mut stream = opened(port).await;
        stream.write_all(&frame::encode(PING, b"p", true)).await.expect("open");
        let mut head = [0; 2];
        timeout(LONG, stream.read_exact(&mut head)).await.expect("in time").expect("a frame");
        let expected = if number % 2 == 0 { [CLOSE, 2] } else { [PONG, 1] };
        assert_eq!(head, expected, "connection {number}");
    }
    std::fs::write(
        &file,
        text.replace("close_code = { code = 4000 }", "server_crash = {}").replace("new = true\nselect = { nth = 2 }\n", ""),
    )
    .expect("a file");
    let mut command = Command::new(program());
    let output =
        command.args(["proxy", "--api", "127.0.0.1:0", "--scenario"]).arg(&file).stdin(Stdio::null()).output().await.expect("it runs");
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && why.contains("cannot be carried out by a proxy"), "{why}");
}

/// Nothing hangs when one of the three is killed, not even behind a fault.
#[tokio::test]
async fn a_killed_proxy_or_upstream_leaves_nobody_hanging() {
    for kills_proxy in [true, false] {
        let (mut proxied, mut upstream) = (Proxied::start().await, serve(&[]).await);
        let port = proxied.proxy("p", upstream.port).await;
        let clients = [opened(port).await, opened(port).await, opened(port).await];
        for kind in ["pong_drop", "latency", "frame_delay"] {
            proxied.fault(json!({ "inject": { kind: {} } })).await;
        }
        let child = if kills_proxy { &mut proxied.child } else { upstream.child() };
        child.kill().await.expect("it runs");
        for client in clients {
            rest(client).await;
        }
        if !kills_proxy {
            let listed = async || proxied.ask("GET", "/v1/connections", &Value::Null).await.1;
            let deadline = Instant::now() + LONG;
            while listed().await != json!([]) {
                assert!(Instant::now() < deadline, "connections are left");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}
