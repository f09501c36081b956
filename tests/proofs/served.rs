//! `closestorm serve`: every kind as a step of a path, seen by a socket that shares no code with the program.
//!
//! On each connection the observer says the same: a text, a ping, 250 ms later another text and a Close frame. What comes back is one line
//! of words; a table has the line of each kind, and none is that of an endpoint without faults.

use super::frame::{self, CLOSE, PING, TEXT};
use crate::common::{LONG, program};
use closestorm::serve::catalogue::kinds;
use futures_util::future::join_all;
use std::io::ErrorKind;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout, timeout_at};

/// The program, serving; killed when dropped.
pub(super) struct Serving {
    child: Child,
    pub(super) port: u16,
}

impl Serving {
    /// The process.
    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

/// Starts `closestorm serve` on a free port.
pub(super) async fn serve(args: &[&str]) -> Serving {
    let mut command = Command::new(program());
    command.args(["serve", "--listen", "127.0.0.1:0", "--quiet"]).args(args);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let first = timeout(LONG, lines.next_line()).await.expect("in time").expect("a pipe").expect("a line");
    let port = first.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{first}"));
    Serving { child, port }
}

/// What a plain GET gets: head and body.
pub(super) async fn get(port: u16, target: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    timeout(LONG, stream.read_to_end(&mut answer)).await.expect("in time").expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

/// How long the observer waits for an end.
const PATIENCE: Duration = Duration::from_millis(3500);
/// When it says the second text and closes.
const CLOSES: Duration = Duration::from_millis(250);
/// What comes so much after it could have is late. Delays in the table are 1.2 s.
const LATE: Duration = Duration::from_millis(600);

/// What a client sees of an endpoint, in words.
async fn observe(port: u16, target: &str) -> String {
    observe_from(port, target, async {}).await
}

/// The same; what is to happen as soon as the connection is open, happens before anything is said on it.
pub(super) async fn observe_from(port: u16, target: &str, open: impl Future<Output = ()>) -> String {
    let mut open = Some(open);
    let asked = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(request(target).as_bytes()).await.map(|()| stream)
    };
    let mut stream = match asked.await {
        Ok(stream) => stream,
        // It may come as soon as the kernel has accepted.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return "RST".to_owned(),
        Err(error) => panic!("it listens and reads: {error}"),
    };
    let mut seen = Seen { begun: Instant::now(), opened: None, bytes: Vec::new(), words: Vec::new(), reads: 0, frames: 0 };
    let (mut chunk, mut said) = ([0; 65536], 0);
    let end = loop {
        let next = match (seen.opened, said) {
            (Some(opened), 0) => opened,
            (Some(opened), 1) => opened + CLOSES,
            _ => seen.begun + PATIENCE,
        };
        match timeout_at(next, stream.read(&mut chunk)).await {
            Err(_) if seen.opened.is_some() && said < 2 => {
                let (text, control) = if said == 0 { ("one", (PING, &b"ping"[..])) } else { ("two", (CLOSE, &b"\x03\xe8"[..])) };
                let frames = [frame::encode(TEXT, text.as_bytes(), true), frame::encode(control.0, control.1, true)].concat();
                // Fails where the other side is gone; reading tells.
                let _ = stream.write_all(&frames).await;
                said += 1;
            }
            Err(_) => break "nothing more",
            Ok(Ok(0)) => break "FIN",
            Ok(Err(_)) => break "RST",
            Ok(Ok(count)) => seen.read(&chunk[..count]),
        }
        if let Some(open) = open.take_if(|_| seen.opened.is_some()) {
            let before = Instant::now();
            open.await;
            // On a busy machine that takes a while: what follows is not late for it.
            (seen.opened, seen.begun) = (Some(Instant::now()), seen.begun + before.elapsed());
        }
    };
    seen.ended(end)
}

/// An opening handshake with the key of RFC 6455 §1.3.
pub(super) fn request(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// What has come.
struct Seen {
    begun: Instant,
    opened: Option<Instant>,
    /// Not told yet.
    bytes: Vec<u8>,
    words: Vec<String>,
    reads: usize,
    frames: usize,
}

impl Seen {
    fn read(&mut self, bytes: &[u8]) {
        self.reads += 1;
        self.bytes.extend_from_slice(bytes);
        if self.words.is_empty()
            && let Some(end) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(&self.bytes[..end]).into_owned();
            self.bytes.drain(..end + 4);
            self.answer(&head);
        }
        let Some(opened) = self.opened else { return };
        while let Some((frame, length)) = frame::parse(&self.bytes, opened.elapsed()) {
            self.bytes.drain(..length);
            self.frames += 1;
            // Of a flood a few are enough.
            if self.frames <= 20 {
                self.words.push(told(&frame));
            }
        }
    }

    fn answer(&mut self, head: &str) {
        let late = if self.begun.elapsed() > LATE { "late " } else { "" };
        let pieces = if self.reads > 3 { "in pieces " } else { "" };
        let status = head.strip_prefix("HTTP/1.1 ").map_or("no HTTP", |rest| &rest[..3]);
        let field = |name: &str| head.lines().any(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
        let mut words = format!("{late}{pieces}{status}");
        if status == "101" {
            for name in ["upgrade", "connection"] {
                words += &if field(name) { String::new() } else { format!(" without {name}") };
            }
            // The answer of RFC 6455 §1.3.
            words += if head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") { "" } else { " wrong accept" };
            self.opened = Some(Instant::now());
        }
        for name in ["sec-websocket-protocol", "sec-websocket-extensions", "retry-after", "location"] {
            words += &if field(name) { format!(" with {name}") } else { String::new() };
        }
        self.words.push(words);
    }

    fn ended(mut self, end: &str) -> String {
        if self.frames > 20 {
            // Answers to what was said may be among them, at any place.
            let frames = self.words.split_off(1);
            let most = frames.iter().max_by_key(|word| frames.iter().filter(|other| other == word).count());
            self.words.push(format!("a flood of {}", most.expect("more than one")));
        } else if self.opened.is_none() && self.words.is_empty() && !self.bytes.is_empty() {
            self.words.push("the beginning of an answer".to_owned());
        } else if self.opened.is_some()
            && let Some((head, payload)) = frame::unfinished(&self.bytes)
        {
            self.words.push(format!("{:02x} cut after {} B", head[0], payload.len()));
        }
        let pieces = if self.reads > 12 && self.frames <= 20 { "in pieces " } else { "" };
        let late = if self.begun.elapsed() > LATE + CLOSES && end != "nothing more" { "late " } else { "" };
        self.words.push(format!("{pieces}{late}{end}"));
        self.words.join(", ")
    }
}

/// A frame: its first byte in hexadecimal, what it says, and what is wrong with it.
fn told(frame: &frame::Frame) -> String {
    // What answers the first two frames could have come at once.
    let due = if [&b"one"[..], b"ping"].contains(&&frame.payload[..]) { Duration::ZERO } else { CLOSES };
    let late = if frame.at > due + LATE { "late " } else { "" };
    let masked = if frame.masked { " masked" } else { "" };
    let long = if frame.head.len() > 2 && frame.payload.len() < 126 { " long header" } else { "" };
    let code = frame.payload.first_chunk().filter(|_| frame.first == CLOSE).map(|code| u16::from_be_bytes(*code));
    let what = match (code, frame.payload.len()) {
        (_, 0) => "empty".to_owned(),
        (Some(code), 2) => code.to_string(),
        (Some(code), length) => format!("{code} {} B", length - 2),
        (None, 1..=20) => String::from_utf8_lossy(&frame.payload).escape_default().to_string(),
        (None, length) => format!("{length} B"),
    };
    format!("{late}{:02x}{masked}{long} {what}", frame.first)
}

/// Whether `seen` is `expected`, in which `*` stands for any text.
pub(super) fn is_like(seen: &str, expected: &str) -> bool {
    let mut parts = expected.split('*');
    let Some(mut rest) = seen.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    last.is_some_and(str::is_empty) || rest.is_empty()
}

/// What is seen of an endpoint without faults.
pub(super) const ECHO: &str = "101, 81 one, 8a ping, 81 two, 88 1000, FIN";

/// A path for every kind, and what is seen of it.
const SEEN: &[(&str, &str)] = &[
    ("/accept_stall", "nothing more"),
    ("/accept_stall?hold=1200ms", "late FIN"),
    ("/upgrade_status?status=429&retry_after=5", "429 with retry-after, FIN"),
    ("/accept_fin", "FIN"),
    ("/accept_rst", "RST"),
    ("/upgrade_redirect", "302 with location, FIN"),
    ("/upgrade_delay?delay=1200ms", "late 101, *FIN"),
    ("/upgrade_drip?bytes_per_chunk=16B&interval=20ms", "in pieces 101, *FIN"),
    ("/upgrade_truncate", "the beginning of an answer, FIN"),
    ("/upgrade_bad_accept", "101 wrong accept, *"),
    ("/upgrade_no_upgrade_hdr", "101 without upgrade, *"),
    ("/upgrade_no_connection_hdr", "101 without connection, *"),
    ("/upgrade_bad_subprotocol", "101 with sec-websocket-protocol, *"),
    ("/upgrade_bad_extension", "101 with sec-websocket-extensions, *"),
    ("/upgrade_garbage", "no HTTP, FIN"),
    ("/drop_fin", "101, FIN"),
    ("/drop_rst", "101, RST"),
    ("/truncate_frame", "101, 81 cut after 10 B, FIN"),
    ("/half_close_write", "101, FIN"),
    ("/freeze/message/hi?for=1200ms", "101, late 81 hi, late 81 one, late 8a ping, late 81 two, late 88 1000, late FIN"),
    ("/stop_reading/message/hi?for=1200ms", "101, 81 hi, late 81 one, late 8a ping, late 81 two, late 88 1000, late FIN"),
    ("/blackhole/message/hi?for=1200ms", "101, late RST"),
    ("/latency?latency=1200ms&dir=down", "101, late 81 one, late 8a ping, late 81 two, late 88 1000, late FIN"),
    ("/bandwidth?bytes_per_s=10B&dir=down", "101, *81 one, late 8a ping, late 81 two, late 88 1000, *late FIN"),
    ("/slice?avg=1B&variation=0B&delay=15ms&dir=down", "101, 81 one, 8a ping, 81 two, 88 1000, in pieces FIN"),
    ("/coalesce?window=1200ms&dir=down", "101, late 81 one, late 8a ping, late 81 two, late 88 1000, late FIN"),
    ("/bursty_stall?p_bad=100%25&p_good=0%25&stall=1200ms&dir=down", "101, late 81 one, late 8a ping, late 81 two, late 88 1000, late FIN"),
    ("/hold_release/message/hi?for=1200ms", "101, late 81 hi, late 81 one, late 8a ping, late 81 two, late 88 1000, late FIN"),
    ("/corrupt_byte?per_mb=1000000&dir=down", "101, *"),
    ("/limit_bytes?bytes=10B&end=rst", "101, RST"),
    ("/limit_frames?frames=2&end=rst", "101, *RST"),
    ("/limit_time?time=100ms&end=rst", "101, 81 one, 8a ping, RST"),
    ("/idle_timeout?idle=100ms", "101, 81 one, 8a ping, FIN"),
    ("/max_lifetime?life=100ms&end=close&code=4000", "101, 81 one, 8a ping, 88 4000, FIN"),
    ("/drain?grace=100ms&end=rst", "101, 81 one, 8a ping, RST"),
    ("/load_balancer?preset=google-alb&time_scale=300", "101, 81 one, 8a ping, FIN"),
    ("/frame_mask_violation", "101, 81 masked mask, *"),
    ("/frame_rsv", "101, c1 rsv, *"),
    ("/frame_opcode", "101, 83 opcode, *"),
    ("/frame_control_fragmented", "101, 09 part, *"),
    ("/frame_control_oversize", "101, 89 126 B, *"),
    ("/frame_bad_utf8", "101, 81 ab\\u{fffd}\\u{fffd}cd, *"),
    ("/frame_orphan_continuation", "101, 80 orphan, *"),
    ("/frame_interleave", "101, 01 one , 81 two, *"),
    ("/frame_length_lie", "101, 82 cut after *FIN"),
    ("/frame_nonminimal_length", "101, 81 long header short, *"),
    ("/frame_oversize?size=300KiB", "101, 82 307200 B, *"),
    ("/pong_drop", "101, 81 one, 81 two, 88 1000, FIN"),
    ("/pong_delay", "101, 81 one, 81 two, 88 1000, FIN"),
    ("/pong_wrong_payload", "101, 81 one, 8a \\u{fffd}*"),
    ("/ping_flood?per_s=500", "101, a flood of 89 xxxx, FIN"),
    ("/pong_unsolicited", "101, 8a unsolicited, *"),
    ("/frame_drop?probability=100%25&dir=down", "101, 8a ping, 88 1000, FIN"),
    ("/frame_duplicate?probability=100%25&dir=down", "101, 81 one, 81 one, 8a ping, 81 two, 81 two, 88 1000, FIN"),
    ("/frame_reorder?probability=100%25&dir=down", "101, 8a ping, 81 one, *"),
    ("/frame_delay?probability=100%25&delay=1200ms&dir=down", "101, 8a ping, 81 one, *"),
    ("/frame_corrupt?probability=100%25&dir=down", "101, 81 *8a ping, *"),
    ("/close_code?code=4001&reason=bye", "101, 88 4001 3 B, 8a ping, FIN"),
    ("/close_empty", "101, 88 empty, 8a ping, FIN"),
    ("/close_ack_delay?delay=1200ms", "101, 81 one, 8a ping, 81 two, late 88 1000, late FIN"),
    ("/close_ack_drop?then=rst", "101, 81 one, 8a ping, 81 two, RST"),
    ("/close_ack_drop", "101, 81 one, 8a ping, 81 two, nothing more"),
    ("/close_hold_tcp?hold=1200ms", "101, 81 one, 8a ping, 81 two, 88 1000, late FIN"),
    ("/close_body_1", "101, 88 \\u{3}, 8a ping, FIN"),
    ("/close_reason_bad_utf8", "101, 88 1000 12 B, 8a ping, FIN"),
    ("/close_reason_long", "101, 88 1000 124 B, 8a ping, FIN"),
    ("/close_then_fin", "101, 88 1001, FIN"),
    ("/close_then_rst", "101, 88 1001, RST"),
    ("/close_twice", "101, 88 1000, 88 1001, *FIN"),
    ("/close_then_data", "101, 88 1000, 81 late, *FIN"),
    ("/close_in_fragment", "101, 01 unfinished , 88 1000, *FIN"),
    ("/close_ack_wrong_code", "101, 81 one, 8a ping, 81 two, 88 4000, FIN"),
    ("/close_while_sending?queued=100KiB", "101, 82 102400 B, 88 1001, *FIN"),
    ("/server_overload?shed=100%25&accept_delay=1200ms", "late 503, late FIN"),
    ("/server_overload?shed=100%25&accept_delay=0s&with=1013", "101, 88 1013, *FIN"),
    ("/server_panic_handler?probability=100%25", "101, 88 1011, *FIN"),
];

/// Steps one after another, and those that are no kinds.
const ORDER: &[(&str, &str)] = &[
    ("/", ECHO),
    ("/echo", ECHO),
    ("/message/hello/close/1011?reason=oops", "101, 81 hello, 88 1011 4 B, 8a ping, FIN"),
    ("/message/a/message/b/wait/1200ms/drop_rst?watch=x", "101, 81 a, 81 b, 81 one, 8a ping, 81 two, 88 1000, FIN"),
    ("/close_ack_drop/wait/1200ms/drop_rst", "101, 81 one, 8a ping, 81 two, late RST"),
    ("/wait/1200ms/upgrade_status", "late 503, late FIN"),
    ("/flaky/100/drop_rst", "101, RST"),
    ("/flaky/0/drop_rst", ECHO),
    ("/flaky/0/accept_rst/message/hi", "101, 81 hi, *"),
    ("/repeat/tick/10ms", "101, *flood of 81 tick, *"),
    ("/page", "101, 81 32 B, 8a ping, 88 1000, FIN"),
    ("/subprotocol/chat", "101 with sec-websocket-protocol, *"),
    ("/upgrade_delay/upgrade_bad_accept?delay=1200ms", "late 101 wrong accept, *"),
    ("/pong_drop/message/hi/frame_rsv", "101, 81 hi, c1 rsv, 81 one, 81 two, 88 1000, FIN"),
    ("/drop_rts", "400, FIN"),
];

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn every_kind_is_a_step_and_its_effect_is_seen() {
    let serving = serve(&["--seed", "7"]).await;
    for kind in kinds() {
        let path = format!("/{}", kind.kind);
        let named = |target: &str| target.split(['/', '?']).any(|part| part == kind.kind);
        assert!(SEEN.iter().any(|(target, _)| named(target)), "{path} has no row");
    }
    let rows: Vec<_> = SEEN.iter().chain(ORDER).collect();
    let seen = join_all(rows.iter().map(|(target, _)| observe(serving.port, target))).await;
    let mut wrong = Vec::new();
    for ((target, expected), seen) in rows.iter().zip(&seen) {
        let differs = !SEEN.iter().any(|(of, _)| of == target) || seen != ECHO;
        if !is_like(seen, expected) || !differs {
            wrong.push(format!("{target}\n  expected {expected}\n  seen     {seen}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn an_unknown_step_is_a_400_that_names_the_nearest_and_lists_all() {
    let serving = serve(&[]).await;
    let answer = get(serving.port, "/wait/1s/drop_rts").await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.contains("unknown step `drop_rts`; did you mean `drop_rst`?"), "{answer}");
    kinds().for_each(|row| assert!(answer.contains(row.kind), "{}", row.kind));
    assert!(get(serving.port, "/echo").await.starts_with("HTTP/1.1 426 "));
    let page = get(serving.port, "/").await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html") && page.contains("What was on the wire"));
}

/// The wire's account, streamed by connection, beside what a socket saw.
#[tokio::test]
async fn the_wire_is_told_by_connection_as_it_happens() {
    let serving = serve(&[]).await;
    let mut events = TcpStream::connect(("127.0.0.1", serving.port)).await.expect("it listens");
    events.write_all(b"GET /events?watch=mine HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("it reads");
    let other = observe(serving.port, "/echo?watch=other").await;
    let mine = observe(serving.port, "/truncate_frame?watch=mine&end=rst").await;
    assert_eq!((other.as_str(), mine.as_str()), (ECHO, "101, 81 cut after 10 B, RST"));
    let mut lines = BufReader::new(events).lines();
    let mut told = Vec::new();
    while told.last().is_none_or(|last: &serde_json::Value| last["what"] != "ended") {
        let line = timeout(LONG, lines.next_line()).await.expect("in time").expect("a stream").expect("a line");
        told.extend(line.strip_prefix("data: ").map(|json| serde_json::from_str(json).expect("JSON")));
    }
    let brief: Vec<_> = told.iter().map(|line| format!("{} {}", line["what"], line["inside"])).collect();
    let expected = ["request", "answer", "step", "rst", "ended"].map(|what| {
        let inside = if what == "rst" { "\"a text frame, 10 of 100 payload bytes\"" } else { "null" };
        format!("\"{what}\" {inside}")
    });
    assert_eq!(brief, expected);
    assert!(told.iter().all(|line| line["connection"] == told[0]["connection"]), "{told:?}");
}

/// The same seed decides alike for the same connections in order, and about the right share of them.
#[tokio::test]
async fn chance_comes_from_the_seed() {
    let mut runs = Vec::new();
    for seed in ["7", "7", "8"] {
        let serving = serve(&["--seed", seed]).await;
        let mut all = Vec::new();
        for _ in 0..100 {
            let mut stream = TcpStream::connect(("127.0.0.1", serving.port)).await.expect("it listens");
            stream.write_all(request("/flaky/20/upgrade_status").as_bytes()).await.expect("it reads");
            let mut start = [0; 12];
            timeout(LONG, stream.read_exact(&mut start)).await.expect("in time").expect("an answer");
            all.push(start.ends_with(b"503"));
        }
        runs.push(all);
    }
    assert!(runs[0] == runs[1] && runs[0] != runs[2]);
    for run in runs {
        let hit = run.iter().filter(|hit| **hit).count();
        assert!((8..=34).contains(&hit), "{hit} of 100 at 20 %");
    }
}

/// Ctrl-C closes what is open with 1001, and the exit code says which signal it was.
#[tokio::test]
async fn ctrl_c_closes_open_connections_and_ends() {
    let mut serving = serve(&[]).await;
    let mut stream = TcpStream::connect(("127.0.0.1", serving.port)).await.expect("it listens");
    stream.write_all(request("/message/hi").as_bytes()).await.expect("it reads");
    let mut seen = Vec::new();
    while !seen.ends_with(b"\x81\x02hi") {
        let mut chunk = [0; 1024];
        let count = timeout(LONG, stream.read(&mut chunk)).await.expect("in time").expect("open");
        seen.extend_from_slice(&chunk[..count]);
    }
    let pid = nix::unistd::Pid::from_raw(serving.child.id().expect("it runs").try_into().expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it can be signalled");
    let mut frame = [0; 4];
    timeout(LONG, stream.read_exact(&mut frame)).await.expect("in time").expect("a Close frame");
    assert_eq!((frame[0], &frame[2..]), (CLOSE, &1001_u16.to_be_bytes()[..]));
    let status = timeout(LONG, serving.child.wait()).await.expect("in time").expect("it ends");
    assert_eq!(status.code(), Some(130));
}

#[tokio::test]
async fn only_bind_leaves_loopback_and_a_taken_port_is_an_error() {
    let run = |args: &'static [&'static str]| async move {
        let output = Command::new(program()).arg("serve").args(args).stdin(Stdio::null()).output().await.expect("it starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = run(&["--listen", "0.0.0.0:0"]).await;
    assert!(code == Some(2) && text.contains("use --bind"), "{text}");
    let serving = serve(&[]).await;
    let taken: &'static str = format!("127.0.0.1:{}", serving.port).leak();
    let args: &'static [&'static str] = vec!["--listen", taken].leak();
    let (code, text) = run(args).await;
    assert!(code == Some(1) && text.contains("cannot listen at"), "{text}");
}
