//! Faults of the opening handshake, byte by byte and by the clock: what the embedded server answers, and what simulated clients send.

use super::arms::{AT, Server, case, server};
use super::attempts::{hit, suffering};
use super::frame::{TEXT, encode, parse};
use super::wire::{Act, Conn, End, Script, head, ms, request};
use crate::common::{Finished, LONG, start};
use closestorm::plan::{Embedded, Pick};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};

/// A healthy server's answer to the observer's key (RFC 6455 §1.3).
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What came in answer to a request.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) bytes: Vec<u8>,
    /// When each read returned, and what it had read.
    reads: Vec<(Duration, usize)>,
    pub(super) end: Option<(Duration, End)>,
}

impl Seen {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    fn status(&self) -> String {
        self.text().get(9..12).unwrap_or_default().to_owned()
    }

    fn field(&self, name: &str) -> Option<String> {
        let text = self.text();
        let fields: Vec<_> =
            text.lines().filter_map(|line| line.split_once(": ")).filter(|(key, _)| key.eq_ignore_ascii_case(name)).collect();
        assert!(fields.len() < 2, "{text}");
        fields.first().map(|(_, value)| (*value).to_owned())
    }

    /// A healthy answer, and TCP stays.
    pub(super) fn is_open(&self) -> bool {
        self.status() == "101" && self.field("Sec-WebSocket-Accept").as_deref() == Some(ACCEPT) && self.end.is_none()
    }

    fn ended(&self, how: End, from: Duration, to: Duration) -> bool {
        self.end.is_some_and(|(at, end)| end == how && at >= from && at < to)
    }
}

/// Sends bytes on a connection of their own and reads until the end, or for `patience`.
async fn ask(port: u16, bytes: &[u8], patience: Duration) -> Seen {
    let stream = timeout(LONG, TcpStream::connect(("127.0.0.1", port))).await.expect("in time").expect("the server listens");
    listen_to(stream, bytes, patience).await
}

/// Sends bytes and reads until the end, or for `patience`.
pub(super) async fn listen_to(mut stream: TcpStream, bytes: &[u8], patience: Duration) -> Seen {
    let begun = Instant::now();
    // Fails where the server ended first; reading tells how.
    let _ = stream.write_all(bytes).await;
    let mut seen = Seen::default();
    while seen.end.is_none() {
        match timeout_at(begun + patience, stream.read_buf(&mut seen.bytes)).await {
            Err(_) => break,
            Ok(Ok(0)) => seen.end = Some((begun.elapsed(), End::Fin)),
            Ok(Ok(count)) => seen.reads.push((begun.elapsed(), count)),
            Ok(Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                seen.end = Some((begun.elapsed(), End::Rst));
            }
        }
    }
    seen
}

/// What client 0, selected by the fault, and its neighbour are answered. Without `inject` both are neighbours.
async fn observe(inject: Option<&'static str>, patience: Duration) -> Seen {
    let mut server = suffering(inject, 1, Pick::All, None).await;
    let (selected, neighbour) = (request(Some("0/1")), request(Some("1/1")));
    let (seen, neighbour) = tokio::join!(ask(server.port, selected.as_bytes(), patience), ask(server.port, neighbour.as_bytes(), patience));
    assert!(neighbour.is_open(), "{inject:?} leaked to a client that was not selected: {neighbour:?}");
    if inject.is_some() {
        assert_eq!(hit(&mut server, 1).await, BTreeSet::from([0]));
    } else {
        assert!(seen.is_open(), "{seen:?}");
    }
    seen
}

#[tokio::test]
async fn accept_fin_and_accept_rst_end_without_a_byte() {
    let (fin, late_fin, rst, late_rst, _) = tokio::join!(
        observe(Some("accept_fin = {}"), ms(700)),
        observe(Some("accept_fin = { delay = \"300ms\" }"), ms(700)),
        observe(Some("accept_rst = {}"), ms(700)),
        observe(Some("accept_rst = { delay = \"300ms\" }"), ms(700)),
        observe(None, ms(700))
    );
    for (seen, how, from) in [(&fin, End::Fin, 0), (&late_fin, End::Fin, 300), (&rst, End::Rst, 0), (&late_rst, End::Rst, 300)] {
        assert!(seen.bytes.is_empty() && seen.ended(how, ms(from), ms(from + 250)), "{how:?} after {from} ms: {seen:?}");
    }
}

#[tokio::test]
async fn a_redirect_names_its_place() {
    let (plain, moved, _) = tokio::join!(
        observe(Some("upgrade_redirect = {}"), ms(500)),
        observe(Some("upgrade_redirect = { status = \"308\", location = \"/elsewhere\" }"), ms(500)),
        observe(None, ms(500))
    );
    for (seen, status, location) in [(&plain, "302", "ws://127.0.0.1:9/"), (&moved, "308", "/elsewhere")] {
        assert_eq!((seen.status().as_str(), seen.field("Location").as_deref()), (status, Some(location)), "{seen:?}");
        assert!(seen.ended(End::Fin, ms(0), ms(400)), "{seen:?}");
    }
}

#[tokio::test]
async fn answers_come_late_in_pieces_or_cut() {
    let (late, drip, fin, rst, hold, control) = tokio::join!(
        observe(Some("upgrade_delay = { delay = \"400ms\", jitter = \"200ms\" }"), ms(1500)),
        observe(Some("upgrade_drip = { bytes_per_chunk = \"10B\", interval = \"50ms\" }"), ms(1500)),
        observe(Some("upgrade_truncate = { bytes = \"30B\" }"), ms(1500)),
        observe(Some("upgrade_truncate = { bytes = \"20B\", end = \"rst\" }"), ms(1500)),
        observe(Some("upgrade_truncate = { bytes = \"10B\", end = \"hold\" }"), ms(1500)),
        observe(None, ms(1500))
    );
    assert!(late.is_open() && late.reads[0].0 >= ms(400) && late.reads[0].0 < ms(750), "{late:?}");
    let pieces = control.bytes.len().div_ceil(10);
    assert!(
        drip.is_open() && drip.bytes == control.bytes && drip.reads.iter().all(|(_, count)| count % 10 == 0 || *count < 10),
        "{drip:?}"
    );
    let last = drip.reads.last().expect("reads").0;
    assert!(last >= ms(50) * (pieces as u32 - 1) && drip.reads.len() > pieces / 2, "{pieces} pieces: {drip:?}");
    // The kernel throws away what was not read when an RST comes, so the bytes before it may be fewer.
    assert!(fin.bytes == control.bytes[..30] && fin.ended(End::Fin, ms(0), ms(300)), "{fin:?}");
    assert!(control.bytes[..20].starts_with(&rst.bytes) && rst.ended(End::Rst, ms(0), ms(300)), "{rst:?}");
    assert!(hold.bytes == control.bytes[..10] && hold.end.is_none(), "{hold:?}");
    assert!(control.reads[0].0 < ms(300), "{control:?}");
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn each_rule_of_the_answer_can_be_broken() {
    type Broken = fn(&Seen) -> bool;
    let cases: [(&'static str, Broken); 6] = [
        ("upgrade_bad_accept = {}", |seen| {
            seen.status() == "101" && seen.field("Sec-WebSocket-Accept").is_some_and(|accept| accept != ACCEPT)
        }),
        ("upgrade_no_upgrade_hdr = {}", |seen| seen.is_open() && seen.field("Upgrade").is_none()),
        ("upgrade_no_connection_hdr = {}", |seen| seen.is_open() && seen.field("Connection").is_none()),
        ("upgrade_bad_subprotocol = {}", |seen| seen.is_open() && seen.field("Sec-WebSocket-Protocol").is_some()),
        ("upgrade_bad_extension = {}", |seen| seen.is_open() && seen.field("Sec-WebSocket-Extensions").is_some()),
        ("upgrade_garbage = {}", |seen| !seen.bytes.is_empty() && !seen.bytes.starts_with(b"HTTP") && seen.ended(End::Fin, ms(0), ms(300))),
    ];
    let control = observe(None, ms(400)).await;
    for (inject, broken) in cases {
        let seen = observe(Some(inject), ms(400)).await;
        assert!(broken(&seen), "{inject}: {seen:?}");
        assert!(!broken(&control), "{inject} showed without being injected: {control:?}");
    }
}

#[tokio::test]
async fn an_overloaded_server_is_late_and_sheds() {
    let (shed, closed, served, _) = tokio::join!(
        observe(Some("server_overload = { accept_delay = \"200ms\", shed = \"100%\" }"), ms(900)),
        observe(Some("server_overload = { accept_delay = \"200ms\", shed = \"100%\", with = \"1013\" }"), ms(900)),
        observe(Some("server_overload = { accept_delay = \"200ms\", shed = \"0%\" }"), ms(900)),
        observe(None, ms(900))
    );
    assert!(shed.status() == "503" && shed.ended(End::Fin, ms(200), ms(600)), "{shed:?}");
    assert!(served.is_open() && served.reads[0].0 >= ms(200), "{served:?}");
    let end = closed.bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    let (frame, _) = parse(&closed.bytes[end..], closed.reads[0].0).expect("a frame behind the head");
    assert!(closed.is_open() && (frame.first, frame.payload.as_slice()) == (0x88, &1013_u16.to_be_bytes()[..]), "{closed:?}");
    // Half of the attempts, drawn for each: 50 of 100, five standard deviations are 25.
    let server = suffering(Some("server_overload = { accept_delay = \"1ms\" }"), 100, Pick::All, None).await;
    let mut rejected = 0;
    for client in 0..100 {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).await.expect("the server listens");
        stream.write_all(request(Some(&format!("{client}/1"))).as_bytes()).await.expect("a live socket");
        rejected += u32::from(head(&mut stream).await.expect("an answer").0.starts_with("HTTP/1.1 503"));
    }
    assert!((25..=75).contains(&rejected), "{rejected} of 100");
}

#[tokio::test]
async fn a_failing_handler_ends_the_connection_over_a_message() {
    let script = || Script::default().and(AT + ms(200), Act::Text);
    let late = |at: Duration| at >= AT + ms(200) && at < AT + ms(500);
    let echoed = |conn: &Conn| !conn.of(TEXT).is_empty();
    let code = 1011_u16.to_be_bytes();
    let cases = [
        case("server_panic_handler = { probability = \"100%\" }", move |conn| {
            !echoed(conn) && conn.close().is_some_and(|close| close.payload == code && late(close.at))
        })
        .script(script()),
        case("server_panic_handler = { probability = \"100%\", end = \"drop\" }", move |conn| {
            !echoed(conn) && conn.close().is_none() && conn.end.is_some_and(|(at, end)| end == End::Fin && late(at))
        })
        .script(script()),
    ];
    let proof = server(&Embedded::default(), ms(1100), &cases).await;
    let endings: Vec<_> = proof.endings.values().map(String::as_str).collect();
    assert_eq!(endings, ["f1 by server 1011>1011 fin clean told 1011", "f2 by server ->- local told 1006"]);
}

/// The request that a rule is broken in, and the answer of the embedded server.
fn broken_requests() -> Vec<(&'static str, String, &'static str)> {
    let good = request(None);
    let big = format!("X-Padding: {}\r\n\r\n", "x".repeat(64 * 1024));
    vec![
        ("no_key", good.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), "400"),
        ("bad_key", good.replace("dGhlIHNhbXBsZSBub25jZQ==", "short"), "400"),
        ("version", good.replace("Version: 13", "Version: 12"), "426"),
        ("method", good.replace("GET / ", "POST / "), "405"),
        ("http10", good.replace("HTTP/1.1", "HTTP/1.0"), "505"),
        ("oversize_header", format!("{}{big}", good.trim_end_matches("\r\n").to_owned() + "\r\n"), "431"),
    ]
}

#[tokio::test]
async fn the_server_answers_each_bad_request_in_http() {
    let server = Server::start(&Embedded::default()).await;
    for (what, bytes, status) in broken_requests() {
        let seen = ask(server.port, bytes.as_bytes(), ms(1000)).await;
        assert!(seen.status() == status && seen.ended(End::Fin, ms(0), ms(900)), "{what}: {seen:?}");
        match status {
            "405" => assert_eq!(seen.field("Allow").as_deref(), Some("GET")),
            "426" => assert_eq!(seen.field("Sec-WebSocket-Version").as_deref(), Some("13")),
            _ => {}
        }
    }
    assert!(ask(server.port, request(None).as_bytes(), ms(300)).await.is_open());
}

#[tokio::test]
async fn the_server_takes_early_data_once_the_handshake_is_complete() {
    let server = Server::start(&Embedded::default()).await;
    let bytes = [request(Some("0/1")).into_bytes(), encode(TEXT, b"one", true), encode(TEXT, b"two", true)].concat();
    let seen = ask(server.port, &bytes, ms(400)).await;
    let echoes = [encode(TEXT, b"one", false), encode(TEXT, b"two", false)].concat();
    assert!(seen.is_open() && seen.bytes.ends_with(&echoes), "{seen:?}");
}

/// First connections of a run as a server sees them that answers 101 a moment after all that the client sends by itself.
async fn requests(scenario: &str) -> (Vec<(String, Vec<u8>)>, Finished) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let finish = start(&format!("duration = \"1500ms\"\n[target.url]\naddress = \"ws://{address}/\"\n{scenario}")).finish();
    tokio::pin!(finish);
    let mut reading = tokio::task::JoinSet::new();
    let run = loop {
        tokio::select! {
            run = &mut finish => break run,
            accepted = listener.accept() => drop(reading.spawn(read_request(accepted.expect("connections").0))),
        }
    };
    let seen = timeout(LONG, reading.join_all()).await.expect("observers end with the run");
    // The probe before the run has no id: it is no client's.
    (seen.into_iter().filter(|(head, _)| head.to_lowercase().contains("closestorm-id: ")).collect(), run)
}

/// The head of a request, and the bytes behind it that came without an answer.
async fn read_request(mut stream: TcpStream) -> (String, Vec<u8>) {
    let (head, mut rest) = head(&mut stream).await.expect("a request");
    let _ = timeout(ms(200), async { while stream.read_buf(&mut rest).await.is_ok_and(|count| count > 0) {} }).await;
    let field = |name: &str| head.lines().filter_map(|line| line.split_once(": ")).find(|(key, _)| key.eq_ignore_ascii_case(name));
    let answer = match field("Sec-WebSocket-Key") {
        Some((_, key)) => {
            let digest = <sha1::Sha1 as sha1::Digest>::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
            let accept = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest);
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            )
        }
        None => "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_owned(),
    };
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = timeout(LONG, async { while stream.read(&mut [0; 1024]).await.is_ok_and(|count| count > 0) {} }).await;
    (head, rest)
}

/// Two clients each: one arrives at once, and one at 400 ms.
fn cohorts(names: &[&str]) -> String {
    let cohort = |name: &&str| format!("[clients.{name}]\ncount = 2\narrive = {{ over = \"800ms\" }}\nreconnect = \"none\"\n");
    names.iter().map(cohort).collect()
}

/// Hits the second client of a cohort.
fn fault(cohort: &str, inject: &str) -> String {
    format!(
        "[[faults]]\nname = \"f-{cohort}\"\nat = \"200ms\"\nside = \"client\"\nselect = {{ cohort = \"{cohort}\" }}\ninject = {{ {inject} }}\n"
    )
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn clients_break_the_rule_they_are_told_to() {
    type Broken = fn(&str) -> bool;
    let cases: [(&str, Broken); 6] = [
        ("no_key", |head| !head.contains("sec-websocket-key:")),
        ("bad_key", |head| head.contains("sec-websocket-key: short\r\n")),
        ("version", |head| head.contains("sec-websocket-version: 12\r\n")),
        ("method", |head| head.starts_with("post / http/1.1\r\n")),
        ("http10", |head| head.starts_with("get / http/1.0\r\n")),
        ("oversize_header", |head| head.len() > 64 * 1024),
    ];
    let names: Vec<_> = cases.iter().map(|(name, _)| *name).chain(["calm"]).collect();
    let clients = cohorts(&names);
    let faults: String = cases.iter().map(|(name, _)| fault(name, &format!("client_bad_request = {{ what = \"{name}\" }}"))).collect();
    let with_faults = format!("{clients}{faults}");
    let embedded = format!("duration = \"1500ms\"\n[target.embedded]\n{with_faults}");
    let ((seen, _), (calm, _), run) = tokio::join!(requests(&with_faults), requests(&clients), start(&embedded).finish());
    let heads: Vec<_> = seen.iter().map(|(head, _)| head.to_lowercase()).collect();
    assert_eq!((heads.len(), calm.len()), (14, 14));
    for (name, broken) in cases {
        assert_eq!(heads.iter().filter(|head| broken(head)).count(), 1, "{name}: {heads:?}");
        assert!(!calm.iter().any(|(head, _)| broken(&head.to_lowercase())), "{name} without being injected");
        // The embedded server turns each away with an HTTP answer.
        let attempts = &run.summary.cohorts[name].attempts.counts;
        assert_eq!((attempts.total, attempts.rejected, run.fault(&format!("f-{name}")).injected), (2, 1, 1), "{name}");
    }
    assert_eq!(run.summary.cohorts["calm"].attempts.counts.opened, 2);
}

/// A fault that comes between the connect of an attempt and its request: what is injected is what was sent, and nothing before it.
#[tokio::test]
#[ignore = "long: scripts/test"]
async fn a_herd_that_is_under_way_sends_the_broken_request_and_no_other() {
    let scenario = r#"
duration = "3s"
[target.embedded]
[clients.web]
count     = 3000
arrive    = { at_once = true }
reconnect = "none"
[[faults]]
name   = "broken"
at     = "2ms"
every  = "4ms"
for    = "2ms"
until  = "1s"
inject = { client_bad_request = {} }
"#;
    let run = start(scenario).finish().await;
    let (attempts, injected) = (&run.summary.cohorts["web"].attempts.counts, run.fault("broken").injected);
    // No connection of one with two requests, which a server opens and then ends with 1002.
    assert_eq!((attempts.rejected, run.summary.connections.closed), (injected, 0), "{:?}", run.summary.close_codes);
    assert!(injected > 100 && attempts.opened > 100, "{injected} broken, {} opened", attempts.opened);
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn clients_send_frames_before_the_answer() {
    let clients = cohorts(&["early", "calm"]);
    let faults = fault("early", "client_early_data = { frames = 2 }");
    let with_faults = format!("{clients}{faults}");
    let embedded = format!("duration = \"1500ms\"\n[target.embedded]\n{with_faults}");
    let ((seen, with), (calm, _), run) = tokio::join!(requests(&with_faults), requests(&clients), start(&embedded).finish());
    let early: Vec<_> = seen.iter().filter(|(_, rest)| !rest.is_empty()).collect();
    let [(_, rest)] = early.as_slice() else { panic!("one client sends early data: {seen:?}") };
    let (first, length) = parse(rest, ms(0)).expect("a frame");
    let (second, more) = parse(&rest[length..], ms(0)).expect("a second frame");
    for (frame, payload) in [(&first, "early 0"), (&second, "early 1")] {
        assert_eq!((frame.first, frame.masked, frame.payload.as_slice()), (TEXT, true, payload.as_bytes()));
    }
    assert_eq!(length + more, rest.len());
    assert!(calm.len() == 4 && calm.iter().all(|(_, rest)| rest.is_empty()), "{calm:?}");
    for run in [&with, &run] {
        assert_eq!((run.summary.attempts.counts.opened, run.fault("f-early").injected), (4, 1));
    }
    assert_eq!(run.summary.messages.received, 2, "the embedded server echoes them after the handshake");
}

#[tokio::test]
async fn a_run_counts_what_its_clients_make_of_broken_answers() {
    let kinds = [
        ("fin", "accept_fin = {}"),
        ("rst", "accept_rst = {}"),
        ("accept", "upgrade_bad_accept = {}"),
        ("upgrade", "upgrade_no_upgrade_hdr = {}"),
        ("connection", "upgrade_no_connection_hdr = {}"),
        ("subprotocol", "upgrade_bad_subprotocol = {}"),
        ("extension", "upgrade_bad_extension = {}"),
        ("garbage", "upgrade_garbage = {}"),
    ];
    let names: Vec<_> = kinds.iter().map(|(name, _)| *name).chain(["calm"]).collect();
    let faults: String = kinds.iter().map(|(name, inject)| fault(name, inject).replace("\"client\"", "\"server\"")).collect();
    let run = start(&format!("duration = \"1500ms\"\n[target.embedded]\n{}{faults}", cohorts(&names))).finish().await;
    for (name, _) in kinds {
        let attempts = &run.summary.cohorts[name].attempts.counts;
        assert_eq!((attempts.failed, attempts.opened, run.fault(&format!("f-{name}")).injected), (1, 1, 1), "{name}");
    }
    assert_eq!(run.summary.cohorts["calm"].attempts.counts.opened, 2);
}

#[tokio::test]
async fn attempts_are_selected_while_a_fault_is_active_and_not_after() {
    let cohort = |name: &str| format!("[clients.{name}]\ncount = 6\narrive = {{ over = \"1200ms\" }}\nreconnect = \"none\"\n");
    let fault = |name: &str, keys: &str, inject: &str| {
        format!("[[faults]]\nname = \"f-{name}\"\nat = \"300ms\"\n{keys}\ninject = {{ {inject} }}\n")
    };
    // Clients 0 to 5 of each cohort arrive 200 ms apart: 2, 3 and 4 while the faults are active.
    let (window, bad, cut) = ("for = \"600ms\"", "client_bad_request = {}", "accept_rst = {}");
    let scenario = [
        "duration = \"1700ms\"\n[target.embedded]\n".to_owned(),
        ["a", "b", "c", "d"].map(cohort).concat(),
        fault("a", &format!("{window}\nside = \"client\"\nselect = {{ cohort = \"a\" }}"), bad),
        fault("b", &format!("{window}\nselect = {{ cohort = \"b\" }}"), cut),
        fault("c", &format!("{window}\nside = \"client\"\nselect = {{ cohort = \"c\", nth = 4 }}"), bad),
        fault("d", "first_n = 2\nside = \"client\"\nselect = { cohort = \"d\" }", bad),
    ];
    let run = start(&scenario.concat()).finish().await;
    let outcome = |name: &str| {
        let attempts = &run.summary.cohorts[name].attempts.counts;
        (attempts.opened, attempts.rejected + attempts.failed, run.fault(&format!("f-{name}")).injected)
    };
    assert_eq!((outcome("a"), outcome("b")), ((3, 3, 3), (3, 3, 3)));
    // Of the clients 12 to 17 every fourth is 15, the fourth of its cohort.
    assert_eq!((outcome("c"), outcome("d")), ((5, 1, 1), (4, 2, 2)));
}
