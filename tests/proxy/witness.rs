//! The proxy as a witness: its stream of events, its summary and its metrics against what plain sockets did on both sides.

use super::toxiproxy::{ask, ask_with, raw};
use super::{Proxy, is_reset, limited, reset, to_end, upstream};
use crate::common::LONG;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

pub(super) const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
/// "hi" of a client with a mask of zeros, and of a server.
const HI: [&[u8]; 2] = [&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i'], &[0x81, 2, b'h', b'i']];

/// A Close frame of a client with a mask of zeros, or of a server.
pub(super) fn close(code: u16, reason: &str, masked: bool) -> Vec<u8> {
    let (length, mask) = ((2 + reason.len()) as u8, if masked { &[0; 4][..] } else { &[] });
    [&[0x88, if masked { 0x80 | length } else { length }][..], mask, &code.to_be_bytes(), reason.as_bytes()].concat()
}

/// A proxy with an API before an upstream.
pub(super) struct Witness {
    pub(super) proxy: Proxy,
    pub(super) api: SocketAddr,
    pub(super) upstream: TcpListener,
}

impl Witness {
    pub(super) fn start(more: &[&str]) -> Witness {
        let upstream = upstream();
        let mut proxy = Proxy::to(&upstream, &[&["--api", "127.0.0.1:0"], more].concat());
        let api = proxy.next_address();
        Witness { proxy, api, upstream }
    }

    /// A client's request, and the upstream's answer to it.
    pub(super) fn asked(&self, target: &str, header: &str, answer: &str) -> (TcpStream, TcpStream) {
        let (mut near, mut far) = self.proxy.pair(&self.upstream);
        let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n{header}\r\n");
        near.write_all(request.as_bytes()).expect("open");
        far.read_exact(&mut vec![0; request.len()]).expect("the request");
        far.write_all(answer.as_bytes()).expect("open");
        near.read_exact(&mut vec![0; answer.len()]).expect("the answer");
        (near, far)
    }

    pub(super) fn events(&self) -> Events {
        // The kernel keeps little for it.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a live socket");
        socket.connect(&self.api.into()).expect("the API listens");
        let mut stream = limited(socket.into());
        write!(stream, "GET /v1/events HTTP/1.1\r\nHost: {}\r\n\r\n", self.api).expect("open");
        let mut events = Events(BufReader::new(stream));
        let mut line = String::new();
        // The head, and the comment which says that it has begun.
        while !line.starts_with(':') {
            line.clear();
            assert!(events.0.read_line(&mut line).expect("an answer") > 0);
        }
        events
    }
}

/// A reader of the stream of events.
pub(super) struct Events(BufReader<TcpStream>);

impl Events {
    /// The next event: its name and its data.
    pub(super) fn next(&mut self) -> (String, Value) {
        let mut name = String::new();
        // Comments come without end.
        let deadline = Instant::now() + LONG;
        while Instant::now() < deadline {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).expect("an event in time") > 0, "the stream has ended");
            if let Some(of) = line.strip_prefix("event: ") {
                name = of.trim().to_owned();
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return (name, serde_json::from_str(data).expect("JSON"));
            }
        }
        panic!("no event in time");
    }

    /// The next one, which has this name.
    pub(super) fn expect(&mut self, name: &str) -> Value {
        let (found, data) = self.next();
        assert_eq!(found, name, "{data}");
        data
    }
}

pub(super) fn exchange(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).expect("open");
    to.read_exact(&mut vec![0; bytes.len()]).expect("open");
}

#[test]
fn a_client_that_leaves_is_not_away() {
    let witness = Witness::start(&["--identify", "query:user"]);
    let mut events = witness.events();
    for (user, code) in [("anna", 1000), ("bert", 1001), ("carl", 4000)] {
        let (mut near, mut far) = witness.asked(&format!("/?user={user}"), "", AGREED);
        exchange(&mut near, &mut far, &close(code, "", true));
        exchange(&mut far, &mut near, &close(code, "", false));
        drop((near, far));
        ["connected", "opened", "closed"].iter().for_each(|event| drop(events.expect(event)));
    }
    let clients = &ask(witness.api, "GET /v1/summary", &Value::Null).json()["clients"];
    assert_eq!((&clients["known"], &clients["open"], &clients["away"]), (&json!(3), &json!(0), &json!(1)), "{clients}");
    assert_eq!(clients["reconnect_us"]["count"], json!(0), "{clients}");
    // It comes back all the same, as one does that closes with 1000 because it heard nothing.
    let _back = witness.asked("/?user=anna", "", AGREED);
    ["connected", "opened"].iter().for_each(|event| drop(events.expect(event)));
    let clients = &ask(witness.api, "GET /v1/summary", &Value::Null).json()["clients"];
    assert_eq!((&clients["open"], &clients["away"], &clients["reconnect_us"]["count"]), (&json!(1), &json!(1), &json!(1)), "{clients}");
}

#[test]
fn events_tell_who_ended_a_connection_and_how() {
    let witness = Witness::start(&["--identify", "query:user"]);
    let mut events = witness.events();
    // Each in turn: who does what, and what the proxy must say of it.
    for (what, by, how, codes, ends) in [
        ("client closes", "client", "close", [json!(4001), json!(4001)], ["fin", "fin"]),
        ("server closes", "server", "close", [Value::Null, json!(1011)], ["fin", "fin"]),
        ("client ends", "client", "fin", [Value::Null, Value::Null], ["fin", "fin"]),
        ("server resets", "server", "rst", [Value::Null, Value::Null], ["none", "rst"]),
        ("proxy resets", "proxy", "rst", [Value::Null, Value::Null], ["none", "none"]),
    ] {
        let (mut near, mut far) = witness.asked("/?user=anna", "", AGREED);
        exchange(&mut near, &mut far, HI[0]);
        exchange(&mut far, &mut near, HI[1]);
        let connected = events.expect("connected");
        assert_eq!(connected["client"], json!(near.local_addr().expect("bound").to_string()), "{what}");
        let opened = events.expect("opened");
        assert_eq!((&opened["identity"], &opened["status"]), (&json!("anna"), &json!(101)), "{what}");
        match what {
            "client closes" => {
                exchange(&mut near, &mut far, &close(4001, "bye", true));
                exchange(&mut far, &mut near, &close(4001, "bye", false));
                far.shutdown(Shutdown::Write).expect("open");
                assert_eq!(to_end(&mut near).expect("a FIN"), b"");
                drop((near, far));
            }
            "server closes" => {
                exchange(&mut far, &mut near, &close(1011, "", false));
                far.shutdown(Shutdown::Write).expect("open");
                assert_eq!(to_end(&mut near).expect("a FIN"), b"");
                drop((near, far));
            }
            "client ends" => {
                drop(near);
                assert_eq!(to_end(&mut far).expect("a FIN"), b"");
                drop(far);
            }
            "server resets" => {
                reset(far);
                assert!(is_reset(&to_end(&mut near)));
            }
            _ => {
                let end = format!("DELETE /v1/connections/proxy/{}?end=rst", connected["connection"]);
                assert_eq!(ask(witness.api, &end, &Value::Null).status, 204);
                assert!(is_reset(&to_end(&mut near)) && is_reset(&to_end(&mut far)));
            }
        }
        let closed = events.expect("closed");
        assert_eq!((&closed["by"], &closed["how"], &closed["identity"]), (&json!(by), &json!(how), &json!("anna")), "{what}: {closed}");
        for ((side, code), end) in ["client_side", "server_side"].iter().zip(&codes).zip(ends) {
            assert_eq!(&closed[side]["close_code"], code, "{what}: {closed}");
            assert_eq!(closed[side].get("end").map_or("none", |end| end.as_str().expect("a word")), end, "{what}: {closed}");
            assert_eq!(closed[side]["sent_frames"]["text"], json!(1), "{what}: {closed}");
        }
    }
    // One that is not let in: no client is told apart without what tells it.
    let (near, far) = witness.asked("/", "", "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n");
    events.expect("connected");
    let rejected = events.expect("rejected");
    assert_eq!((&rejected["status"], &rejected["retry_after_s"], rejected.get("identity")), (&json!(503), &json!(7), None));
    drop((near, far));
    assert_eq!(events.expect("closed")["status"], json!(503));
    let summary = ask(witness.api, "GET /v1/summary", &Value::Null).json();
    let connections = &summary["connections"];
    assert_eq!((&connections["accepted"], &connections["open"], &connections["ended"]), (&json!(6), &json!(0), &json!(6)), "{summary}");
    assert_eq!(summary["handshakes"], json!({"101": 5, "503": 1}));
    assert_eq!(summary["closes"]["from_client"]["4001"]["count"], json!(1));
    assert_eq!(summary["closes"]["from_server"]["1011"], json!({"count": 1, "name": "internal error"}));
    assert_eq!((&summary["up"]["frames"]["text"], &summary["down"]["frames"]["text"]), (&json!(5), &json!(5)));
    let clients = &summary["clients"];
    assert_eq!(
        (&clients["identified_by"], &clients["known"], &clients["connections_without"]),
        (&json!("query:user"), &json!(1), &json!(1))
    );
    assert_eq!((&clients["reconnect_us"]["count"], &clients["wait_us"]["count"], &clients["away"]), (&json!(4), &json!(4), &json!(1)));
    let metrics = ask(witness.api, "GET /metrics", &Value::Null).body;
    for line in [
        "closestorm_proxy_connections_total 6",
        "closestorm_proxy_connections_open 0",
        "closestorm_proxy_handshakes_total{status=\"503\"} 1",
        "closestorm_proxy_endings_total{by=\"proxy\",how=\"rst\"} 1",
        "closestorm_proxy_closes_total{from=\"client\",code=\"4001\"} 1",
        "closestorm_proxy_closes_total{from=\"server\",code=\"1011\"} 1",
        "closestorm_proxy_frames_total{direction=\"upstream\",opcode=\"text\",proxy=\"proxy\"} 5",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
}

#[test]
fn a_client_that_is_known_by_a_cookie_is_known_by_no_word_of_it() {
    let witness = Witness::start(&["--identify", "cookie:sid"]);
    let mut events = witness.events();
    let mut labels = Vec::new();
    for secret in ["s3cr3t-one", "s3cr3t-two", "s3cr3t-one"] {
        let (near, far) = witness.asked("/", &format!("Cookie: a=b; sid={secret}\r\n"), AGREED);
        labels.push(events.next().1);
        let opened = events.expect("opened");
        let shown = ask(witness.api, "GET /v1/connections", &Value::Null).body + &opened.to_string();
        assert!(!shown.contains("s3cr3t") && shown.contains("\"identity\":\"#"), "{shown}");
        labels.pop();
        labels.push(opened["identity"].clone());
        drop((near, far));
        assert_eq!(events.expect("closed")["identity"], opened["identity"]);
    }
    assert!(labels[0] == labels[2] && labels[0] != labels[1], "{labels:?}");
    let summary = ask(witness.api, "GET /v1/summary", &Value::Null).body;
    assert!(!summary.contains("s3cr3t"), "{summary}");
}

#[test]
#[ignore = "long: scripts/test"]
fn a_reader_that_is_slow_loses_events_learns_how_many_and_is_in_nobodys_way() {
    /// Two events each: more than the stream keeps and the sockets of a reader hold.
    const CONNECTIONS: u64 = 4000;
    let witness = Witness::start(&[]);
    let (mut slow, mut fast) = (witness.events(), witness.events());
    for number in 1..=CONNECTIONS {
        let (near, far) = witness.proxy.pair(&witness.upstream);
        reset(near);
        drop(far);
        for name in ["connected", "closed"] {
            assert_eq!(fast.expect(name)["connection"], json!(number));
        }
    }
    let mut seen = 0;
    let missed = loop {
        let (name, data) = slow.next();
        if name == "missed" {
            break data["missed"].as_u64().expect("a number");
        }
        seen += 1;
    };
    // What is left is what was kept; the last one is there.
    let mut left = 0;
    while seen + missed + left < 2 * CONNECTIONS {
        assert_eq!(slow.next().0, if (seen + missed + left).is_multiple_of(2) { "connected" } else { "closed" });
        left += 1;
    }
    assert!(missed > 0 && left > 1000, "{seen} seen, {missed} missed, {left} left");
    assert_eq!(ask(witness.api, "GET /v1/summary", &Value::Null).json()["connections"]["ended"], json!(CONNECTIONS));
}

#[test]
fn pages_and_foreign_names_get_no_events_and_readers_are_bounded() {
    let witness = Witness::start(&[]);
    for headers in ["Origin: http://h\r\n", "Host: example.org\r\n"] {
        for path in ["/v1/events", "/v1/summary"] {
            assert_eq!(ask_with(witness.api, &format!("GET {path}"), headers, "").status, 403, "{headers}");
        }
    }
    assert_eq!(ask(witness.api, "POST /v1/events", &Value::Null).status, 405);
    let readers: Vec<_> = (0..32).map(|_| witness.events()).collect();
    let request = format!("GET /v1/events HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", witness.api);
    assert_eq!(raw(witness.api, request.as_bytes()).status, 429);
    drop(readers);
}
