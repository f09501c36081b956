//! The control API as clients of Toxiproxy use it, and what each toxic does, seen by plain sockets on both sides.

use super::{Proxy, is_reset, limited, reset, to_end, upstream};
use crate::common::program;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// An answer of the API.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }
}

/// Sends a request as it is; the head is told apart by hand.
pub(super) fn raw(api: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = limited(TcpStream::connect(api).expect("the API listens"));
    // A request that is too long may be answered before it was sent.
    let _ = stream.write_all(request);
    let _ = stream.shutdown(Shutdown::Write);
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    let all = String::from_utf8(all).expect("text");
    let (head, body) = all.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {all:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

pub(super) fn ask_with(api: SocketAddr, request: &str, headers: &str, body: &str) -> Answer {
    let host = if headers.contains("Host:") { String::new() } else { format!("Host: {api}\r\n") };
    let length = body.len();
    raw(api, format!("{request} HTTP/1.1\r\n{host}{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes())
}

/// `ask(api, "POST /proxies", json)`.
pub(super) fn ask(api: SocketAddr, request: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    ask_with(api, request, "", &body)
}

/// The program with an API and nothing else.
pub(super) fn start(more: &[&str]) -> Proxy {
    let mut command = Command::new(program());
    command.args(["proxy", "--api", "127.0.0.1:0"]).args(more);
    Proxy::start(command)
}

/// A proxy `p` to an upstream, made over the API.
struct Case {
    program: Proxy,
    upstream: TcpListener,
    listen: SocketAddr,
}

impl Case {
    fn new() -> Case {
        let (program, upstream) = (start(&[]), upstream());
        let to = upstream.local_addr().expect("it is bound").to_string();
        let made = ask(program.address, "POST /proxies", &json!({"name": "p", "listen": "127.0.0.1:0", "upstream": to}));
        assert_eq!(made.status, 201, "{made:?}");
        let listen = made.json()["listen"].as_str().and_then(|listen| listen.parse().ok()).expect("the bound address");
        Case { program, upstream, listen }
    }

    fn pair(&self) -> (TcpStream, TcpStream) {
        let near = limited(TcpStream::connect(self.listen).expect("it listens"));
        (near, limited(self.upstream.accept().expect("the proxy connects").0))
    }

    /// A toxic named `t`.
    fn add(&self, of: &str, stream: &str, attributes: &Value) {
        let made = ask(
            self.program.address,
            "POST /proxies/p/toxics",
            &json!({"name": "t", "type": of, "stream": stream, "attributes": attributes}),
        );
        assert_eq!(made.status, 200, "{made:?}");
    }

    fn remove(&self) {
        assert_eq!(ask(self.program.address, "DELETE /proxies/p/toxics/t", &Value::Null).status, 204);
    }
}

/// How long a byte takes from one to the other.
fn trip(from: &mut TcpStream, to: &mut TcpStream) -> Duration {
    let begun = Instant::now();
    from.write_all(b"x").expect("open");
    to.read_exact(&mut [0]).expect("open");
    begun.elapsed()
}

/// Whether nothing comes for a while.
fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(MS(150))).expect("a live socket");
    let silent = stream.read(&mut [0]).is_err_and(|why| why.kind() == std::io::ErrorKind::WouldBlock);
    stream.set_read_timeout(Some(crate::common::LONG)).expect("a live socket");
    silent
}

#[test]
fn latency_delays_one_direction_of_open_and_new_connections() {
    let case = Case::new();
    let (mut near, mut far) = case.pair();
    trip(&mut near, &mut far);
    case.add("latency", "downstream", &json!({"latency": 200}));
    let (mut new_near, mut new_far) = case.pair();
    assert!(trip(&mut far, &mut near) >= MS(199) && trip(&mut new_far, &mut new_near) >= MS(199));
    assert!(trip(&mut near, &mut far) < MS(199) && trip(&mut new_near, &mut new_far) < MS(199));
    let changed = ask(case.program.address, "PATCH /proxies/p/toxics/t", &json!({"attributes": {"latency": 400}}));
    assert_eq!(changed.json()["attributes"], json!({"latency": 400, "jitter": 0}));
    assert!(trip(&mut far, &mut near) >= MS(399));
    case.remove();
    assert!(trip(&mut far, &mut near) < MS(199));
}

#[test]
fn bandwidth_holds_a_rate_and_zero_stalls_until_it_is_removed() {
    let case = Case::new();
    let (mut near, mut far) = case.pair();
    case.add("bandwidth", "upstream", &json!({"rate": 100}));
    let begun = Instant::now();
    near.write_all(&[7; 60_000]).expect("open");
    far.read_exact(&mut [0; 60_000]).expect("open");
    assert!((MS(550)..MS(1500)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    ask(case.program.address, "POST /proxies/p/toxics/t", &json!({"attributes": {"rate": 0}}));
    near.write_all(b"late").expect("open");
    assert!(is_silent(&mut far));
    case.remove();
    let mut late = [0; 4];
    far.read_exact(&mut late).expect("it goes on");
    assert_eq!(&late, b"late");
}

#[test]
fn slow_close_delays_the_fin_and_nothing_else() {
    let case = Case::new();
    let (mut near, mut far) = case.pair();
    case.add("slow_close", "downstream", &json!({"delay": 300}));
    let begun = Instant::now();
    far.write_all(b"last").expect("open");
    far.shutdown(Shutdown::Write).expect("open");
    near.read_exact(&mut [0; 4]).expect("bytes");
    assert!(begun.elapsed() < MS(299), "bytes are not late");
    assert_eq!(to_end(&mut near).expect("a FIN"), b"");
    assert!(begun.elapsed() >= MS(299));
    near.shutdown(Shutdown::Write).expect("open");
    assert_eq!(to_end(&mut far).expect("a FIN"), b"");
}

#[test]
fn timeout_drops_data_and_closes_though_data_flows_and_when_it_is_removed() {
    let case = Case::new();
    let (mut near, mut far) = case.pair();
    case.add("timeout", "upstream", &json!({"timeout": 300}));
    let begun = Instant::now();
    // The other direction goes on.
    trip(&mut far, &mut near);
    while begun.elapsed() < MS(250) {
        near.write_all(b"data").expect("open");
        sleep(MS(20));
    }
    assert_eq!(to_end(&mut far).expect("a FIN"), b"");
    assert!((MS(299)..MS(2000)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(to_end(&mut near).expect("a FIN"), b"");
    case.remove();

    case.add("timeout", "downstream", &json!({"timeout": 0}));
    let (mut near, mut far) = case.pair();
    far.write_all(b"lost").expect("open");
    assert!(is_silent(&mut near));
    case.remove();
    assert_eq!(to_end(&mut near).expect("a FIN"), b"");
}

#[test]
fn reset_peer_resets_idle_connections_at_both_ends() {
    let case = Case::new();
    let (mut near, mut far) = case.pair();
    trip(&mut near, &mut far);
    case.add("reset_peer", "downstream", &json!({"timeout": 200}));
    let begun = Instant::now();
    let ended = [to_end(&mut near), to_end(&mut far)];
    assert!(ended.iter().all(is_reset), "{ended:?}");
    assert!(begun.elapsed() >= MS(190) && begun.elapsed() < MS(2000), "{:?}", begun.elapsed());
}

#[test]
fn slicer_cuts_into_pieces_with_gaps_between_them() {
    let case = Case::new();
    let (mut near, mut far) = case.pair();
    case.add("slicer", "downstream", &json!({"average_size": 10, "size_variation": 2, "delay": 20_000}));
    let begun = Instant::now();
    far.write_all(&[1; 100]).expect("open");
    let (mut all, mut reads) = (0, 0);
    while all < 100 {
        let count = near.read(&mut [0; 100]).expect("open");
        assert!(count > 0);
        (all, reads) = (all + count, reads + 1);
    }
    // Nine pieces of twelve bytes at least, with 20 ms between them; a busy machine may read two at once.
    assert!(begun.elapsed() >= MS(8 * 20) && reads >= 4, "{reads} reads in {:?}", begun.elapsed());
}

#[test]
fn limit_data_closes_behind_the_last_byte_that_may_pass() {
    let case = Case::new();
    let (mut near, mut far) = case.pair();
    far.write_all(b"before").expect("open");
    near.read_exact(&mut [0; 6]).expect("open");
    case.add("limit_data", "downstream", &json!({"bytes": 100}));
    far.write_all(&[b'x'; 60]).expect("open");
    near.read_exact(&mut [0; 60]).expect("open");
    far.write_all(&[b'y'; 60]).expect("open");
    assert_eq!(to_end(&mut near).expect("a FIN"), [b'y'; 40]);
    assert_eq!(to_end(&mut far).expect("a FIN"), b"");
}

#[test]
fn toxicity_is_drawn_once_for_each_connection_from_the_seed() {
    let drawn = |seed: &str| -> Vec<bool> {
        let (program, upstream) = (start(&["--seed", seed]), upstream());
        let to = upstream.local_addr().expect("it is bound").to_string();
        let made = ask(program.address, "POST /proxies", &json!({"name": "p", "listen": "127.0.0.1:0", "upstream": to})).json();
        let listen: SocketAddr = made["listen"].as_str().and_then(|listen| listen.parse().ok()).expect("an address");
        let toxic = json!({"name": "t", "type": "timeout", "stream": "upstream", "toxicity": 0.5});
        ask(program.address, "POST /proxies/p/toxics", &toxic);
        let mut pairs: Vec<_> = (0..16)
            .map(|_| (limited(TcpStream::connect(listen).expect("it listens")), limited(upstream.accept().expect("a connection").0)))
            .collect();
        // A change of another attribute draws nothing again.
        ask(program.address, "PATCH /proxies/p/toxics/t", &json!({"attributes": {"timeout": 0}}));
        pairs.iter_mut().for_each(|(near, _)| near.write_all(b"x").expect("open"));
        // What passes is there when what came after it is.
        let hit: Vec<bool> =
            pairs.iter_mut().map(|(_, far)| far.set_read_timeout(Some(MS(60))).is_ok() && far.read_exact(&mut [0]).is_err()).collect();
        hit
    };
    let first = drawn("7");
    let hits = first.iter().filter(|hit| **hit).count();
    assert!((3..14).contains(&hits), "{first:?}");
    assert_eq!(first, drawn("7"));
    assert_ne!(first, drawn("8"));
}

#[test]
fn a_proxy_is_disabled_enabled_moved_and_deleted() {
    let case = Case::new();
    let (api, address) = (case.program.address, case.listen.to_string());
    let (mut near, mut far) = case.pair();
    let off = ask(api, "POST /proxies/p", &json!({"enabled": false})).json();
    assert_eq!((&off["enabled"], &off["listen"]), (&json!(false), &json!(address)));
    assert_eq!((to_end(&mut near).expect("a FIN"), to_end(&mut far).expect("a FIN")), (vec![], vec![]));
    assert!(TcpStream::connect(case.listen).is_err(), "refused");
    let on = ask(api, "PATCH /proxies/p", &json!({"enabled": true, "listen": address, "upstream": null, "name": "other"})).json();
    assert_eq!((&on["enabled"], &on["listen"], &on["name"]), (&json!(true), &json!(address), &json!("p")));
    let (mut near, mut far) = case.pair();
    // The same place, spelt otherwise, keeps its connections; another upstream does not, and keeps the toxics.
    let spelt = format!("localhost:{}", case.listen.port());
    assert_eq!(ask(api, "POST /proxies/p", &json!({"listen": spelt, "enabled": true})).json()["listen"], json!(address));
    trip(&mut near, &mut far);
    case.add("noop", "upstream", &json!({}));
    let other = upstream();
    let to = other.local_addr().expect("it is bound").to_string();
    let moved = ask(api, "POST /proxies/p", &json!({"upstream": to})).json();
    assert_eq!((&moved["upstream"], &moved["listen"], moved["toxics"].as_array().map(Vec::len)), (&json!(to), &json!(address), Some(1)));
    assert_eq!(to_end(&mut near).expect("a FIN"), b"");
    let near = TcpStream::connect(case.listen).expect("it listens");
    let far = other.accept().expect("the new upstream").0;
    trip(&mut limited(near), &mut limited(far));
    assert_eq!(ask(api, "DELETE /proxies/p", &Value::Null).status, 204);
    assert_eq!(ask(api, "GET /proxies", &Value::Null).body, "{}");
    assert!(TcpStream::connect(case.listen).is_err(), "refused");
}

#[test]
fn populate_takes_toxics_and_keeps_what_is_there_and_reset_takes_them_away() {
    let (program, upstream) = (start(&[]), upstream());
    let (api, to) = (program.address, upstream.local_addr().expect("it is bound").to_string());
    let list = json!([
        {"name": "a", "listen": "127.0.0.1:0", "upstream": to, "toxics": [{"type": "latency", "attributes": {"latency": 5}}]},
        {"name": "b", "upstream": to, "enabled": false, "toxics": null},
    ]);
    let made = ask(api, "POST /populate", &list);
    assert_eq!(made.status, 201);
    let made = made.json();
    assert_eq!(made["proxies"][0]["toxics"][0]["name"], "latency_downstream");
    let listen = made["proxies"][0]["listen"].clone();
    let again = ask(api, "POST /populate", &json!([{"name": "a", "listen": listen, "upstream": to}])).json();
    assert_eq!(again["proxies"], json!([made["proxies"][0]]), "untouched");
    assert_eq!(ask(api, "POST /reset", &json!("ignored")).status, 204);
    let all = ask(api, "GET /proxies", &Value::Null).json();
    assert_eq!((&all["a"]["toxics"], &all["b"]["enabled"]), (&json!([]), &json!(true)));
    let none = ask(api, "POST /populate", &json!([{"name": "c", "upstream": to}, {"upstream": to}]));
    assert_eq!(
        (none.status, none.body.as_str()),
        (400, r#"{"error":"missing required field: name at proxy 2","status":400,"proxies":null}"#)
    );
    let half = ask(api, "POST /populate", &json!([{"name": "d", "upstream": to}, {"name": "e", "listen": listen, "upstream": to}]));
    assert_eq!(
        (half.status, half.json()["proxies"][0]["name"].as_str(), half.json()["status"].as_u64()),
        (500, Some("d"), Some(500)),
        "{half:?}"
    );
    assert!(half.json()["error"].as_str().is_some_and(|why| why.ends_with("bind: address already in use")), "{half:?}");
}

#[test]
fn errors_have_the_status_and_the_words_that_clients_look_for() {
    let case = Case::new();
    case.add("noop", "upstream", &json!({}));
    for (request, body, status, error) in [
        ("POST /proxies", "{}", 400, "missing required field: name"),
        ("POST /proxies", r#"{"name":"x"}"#, 400, "missing required field: upstream"),
        ("POST /proxies", r#"{"name":"p","upstream":"h:1"}"#, 409, "proxy already exists"),
        ("POST /proxies", "{", 400, "bad request body: "),
        ("POST /proxies", r#"{"name":"x","upstream":"h:1","enabled":"yes"}"#, 400, "bad request body: "),
        ("GET /proxies/no", "", 404, "proxy not found"),
        ("POST /proxies/no", "{", 404, "proxy not found"),
        ("DELETE /proxies/no", "", 404, "proxy not found"),
        ("POST /proxies/p", "[]", 400, "bad request body: "),
        ("GET /proxies/no/toxics", "", 404, "proxy not found"),
        ("POST /proxies/no/toxics", "{}", 404, "proxy not found"),
        ("POST /proxies/p/toxics", r#"{"type":"no"}"#, 400, "invalid toxic type"),
        ("POST /proxies/p/toxics", r#"{"type":"latency","stream":"x"}"#, 400, "stream was invalid, can be either upstream or downstream"),
        ("POST /proxies/p/toxics", r#"{"type":"noop","name":"t"}"#, 409, "toxic already exists"),
        ("GET /proxies/p/toxics/no", "", 404, "toxic not found"),
        ("PATCH /proxies/p/toxics/no", "{}", 404, "toxic not found"),
        ("PATCH /proxies/p/toxics/t", r#"{"toxicity":"x"}"#, 400, "bad request body: "),
        ("DELETE /proxies/p/toxics/no", "", 404, "toxic not found"),
    ] {
        let answer = ask_with(case.program.address, request, "", body);
        assert_eq!(answer.status, status, "{request} {body}: {answer:?}");
        let told = answer.json();
        assert!(told["error"].as_str().is_some_and(|told| told.starts_with(error)), "{request} {body}: {answer:?}");
        assert!(told["status"] == status && answer.body.ends_with("}\n") && answer.head.contains("x-toxiproxy-request-id: "), "{answer:?}");
    }
    for (request, status) in [
        ("PUT /proxies", 405),
        ("GET /populate", 405),
        ("DELETE /version", 405),
        ("GET /nothing", 404),
        ("GET /", 404),
        ("GET /proxies/p/x", 404),
    ] {
        assert_eq!(ask(case.program.address, request, &Value::Null).status, status, "{request}");
    }
}

#[test]
fn pages_of_browsers_foreign_hosts_and_bodies_without_end_are_refused() {
    let program = start(&[]);
    let api = program.address;
    for (headers, status) in [
        ("Origin: http://localhost\r\n", 403),
        ("User-Agent: Mozilla/5.0\r\n", 403),
        ("Host: rebound.example.org:8474\r\n", 403),
        ("Host: localhost:8474\r\n", 200),
    ] {
        assert_eq!(ask_with(api, "GET /proxies", headers, "").status, status, "{headers}");
    }
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(2 << 20));
    assert_eq!(ask_with(api, "POST /proxies", "", &long).status, 413);
    let headers = format!("X: {}\r\n", "y".repeat(64 << 10));
    assert!((400..500).contains(&ask_with(api, "GET /proxies", &headers, "").status));
    for body in ["[".repeat(100_000), "\"\\ud800".to_owned(), "nul".to_owned(), "{\"name\":".repeat(5000), "1e999".to_owned()] {
        assert_eq!(ask_with(api, "POST /proxies", "", &body).status, 400);
    }
    let mut numbers = super::Numbers(3);
    for _ in 0..200 {
        let mut body = vec![0; 64];
        numbers.fill(&mut body);
        let head = format!("POST /proxies/p/toxics HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        assert!((400..500).contains(&raw(api, &[head.as_bytes(), &body].concat()).status));
    }
    // A slow one holds up nobody.
    let mut slow = TcpStream::connect(api).expect("it listens");
    slow.write_all(format!("POST /proxies HTTP/1.1\r\nHost: {api}\r\nContent-Length: 100\r\n\r\n{{").as_bytes()).expect("open");
    assert_eq!(ask(api, "GET /proxies", &Value::Null).status, 200);
    assert_eq!(program.stop(Signal::SIGTERM).0, Some(0));
}

#[test]
fn counters_are_live() {
    let case = Case::new();
    let (mut near, mut far) = case.pair();
    near.write_all(&[0; 1234]).expect("open");
    far.read_exact(&mut [0; 1234]).expect("open");
    let text = ask(case.program.address, "GET /metrics", &Value::Null);
    let line = |metric: &str, direction: &str| {
        let start = format!("toxiproxy_proxy_{metric}_bytes_total{{direction=\"{direction}\",listener=\"{}\",proxy=\"p\",", case.listen);
        let line = text.body.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{text:?}"));
        line.rsplit(' ').next().expect("a value").to_owned()
    };
    assert_eq!([line("received", "upstream"), line("sent", "upstream"), line("sent", "downstream")], ["1234", "1234", "0"]);
    assert!(text.head.contains("content-type: text/plain") && text.body.contains("process_open_fds "), "{text:?}");
}

#[test]
fn connections_are_listed_with_frames_and_codes_and_each_can_be_ended() {
    let case = Case::new();
    let api = case.program.address;
    let [(mut near, mut far), (mut other, mut other_far)] = [case.pair(), case.pair()];
    case.add("noop", "upstream", &json!({}));
    let request = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    near.write_all(request).expect("open");
    far.read_exact(&mut vec![0; request.len()]).expect("open");
    far.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02hi\x89\x00").expect("open");
    near.read_exact(&mut [0; 36 + 6]).expect("open");
    // A text frame in two pieces, and Close 4001, both masked with zeros.
    near.write_all(b"\x81\x82\0\0").expect("open");
    near.write_all(b"\0\0ok\x88\x82\0\0\0\0\x0f\xa1").expect("open");
    far.read_exact(&mut [0; 16]).expect("open");
    trip(&mut other, &mut other_far);
    let all = ask(api, "GET /v1/connections", &Value::Null).json();
    let (first, second) = (&all[0], &all[1]);
    assert_eq!(
        (&first["proxy"], &first["id"], &first["speaks"], &first["toxics"]),
        (&json!("p"), &json!(1), &json!("websocket"), &json!(["t"]))
    );
    assert_eq!(first["client"], near.local_addr().expect("bound").to_string());
    assert_eq!((&first["up"]["frames"], &first["up"]["close_code"]), (&json!({"text": 1, "close": 1}), &json!(4001)));
    assert_eq!((&first["down"]["frames"], &first["down"]["close_code"]), (&json!({"text": 1, "ping": 1}), &Value::Null));
    assert_eq!((&second["speaks"], &second["up"]["received_bytes"], &second["up"]["sent_bytes"]), (&json!("bytes"), &json!(1), &json!(1)));
    assert_eq!(ask(api, "DELETE /v1/connections/p/1?end=rst", &Value::Null).status, 204);
    assert!(is_reset(&to_end(&mut near)) && is_reset(&to_end(&mut far)));
    assert_eq!(ask(api, "DELETE /v1/connections/p/2", &Value::Null).status, 204);
    assert_eq!((to_end(&mut other).expect("a FIN"), to_end(&mut other_far).expect("a FIN")), (vec![], vec![]));
    for (request, status) in [
        ("DELETE /v1/connections/p/99", 404),
        ("DELETE /v1/connections/p/x", 404),
        ("DELETE /v1/connections/no/1", 404),
        ("DELETE /v1/connections/p/1?end=x", 400),
    ] {
        assert_eq!(ask(api, request, &Value::Null).status, status, "{request}");
    }
}

/// What the clients of Java and Ruby send, and what they need in the answers.
#[test]
fn habits_of_the_java_and_ruby_clients_are_understood() {
    let (program, upstream) = (start(&[]), upstream());
    let (api, to) = (program.address, upstream.local_addr().expect("it is bound").to_string());
    // Ruby: `enabled` is null where nobody gave it, and the listen address of the answer is used.
    let ruby = ask_with(
        api,
        "POST /proxies",
        "Accept: */*\r\nUser-Agent: Ruby\r\nContent-Type: application/json\r\n",
        &json!({"upstream": to, "name": "ruby", "listen": "localhost:0", "enabled": null}).to_string(),
    );
    assert_eq!((ruby.status, &ruby.json()["enabled"]), (201, &json!(true)));
    assert!(ruby.json()["listen"].as_str().is_some_and(|listen| listen.parse::<SocketAddr>().is_ok_and(|listen| listen.port() > 0)));
    // Ruby: asks for the version once; it has to be one of a gem, and from 2.6.0 on PATCH is used.
    let version = ask(api, "GET /version", &Value::Null);
    assert!(version.head.contains("content-type: application/json;charset=utf-8") && version.json()["version"] == "2.12.0", "{version:?}");
    assert_eq!(ask(api, "PATCH /proxies/ruby", &json!({"enabled": false})).status, 200);
    // Java, by way of Testcontainers: the type of a body is not given as JSON, a name has a colon, and there is no PATCH.
    let form = "Content-Type: application/x-www-form-urlencoded\r\nUser-Agent: Java/17.0.1\r\n";
    let java = json!({"name": "host:6379", "listen": "0.0.0.0:0", "upstream": to}).to_string();
    let java = ask_with(api, "POST /proxies", form, &java);
    let java = (java.status, java.json());
    assert!(java.0 == 201 && java.1["listen"].as_str().is_some_and(|listen| listen.starts_with("0.0.0.0:")), "{java:?}");
    let port: u16 = java.1["listen"].as_str().and_then(|listen| listen.rsplit(':').next()?.parse().ok()).expect("a port");
    // Java: cut off and on again, by two toxics of rate 0.
    let near = limited(TcpStream::connect(("127.0.0.1", port)).expect("it listens"));
    let (mut near, mut far) = (near, limited(upstream.accept().expect("a connection").0));
    for (name, stream) in [("CUT_CONNECTION_DOWNSTREAM", "DOWNSTREAM"), ("CUT_CONNECTION_UPSTREAM", "UPSTREAM")] {
        let cut = json!({"name": name, "stream": stream, "type": "bandwidth", "toxicity": 1.0, "attributes": {"rate": 0}});
        assert_eq!(ask_with(api, "POST /proxies/host:6379/toxics", form, &cut.to_string()).status, 200);
    }
    near.write_all(b"x").expect("open");
    assert!(is_silent(&mut far));
    // Java: `getAll` knows seven types and reads every attribute by its name.
    let all = ask_with(api, "GET /proxies/host%3A6379/toxics", form, "").json();
    assert_eq!(
        all[0],
        json!({"attributes": {"rate": 0}, "name": "CUT_CONNECTION_UPSTREAM", "type": "bandwidth", "stream": "upstream", "toxicity": 1})
    );
    for name in ["CUT_CONNECTION_DOWNSTREAM", "CUT_CONNECTION_UPSTREAM"] {
        assert_eq!(ask_with(api, &format!("DELETE /proxies/host:6379/toxics/{name}"), form, "").status, 204);
    }
    far.read_exact(&mut [0]).expect("it goes on");
    // Java: `reset` posts, then gets every proxy that it knows.
    assert_eq!(ask_with(api, "POST /reset", form, "").status, 204);
    assert_eq!(ask_with(api, "GET /proxies/host:6379", form, "").json()["enabled"], json!(true));
    drop(near);
    reset(far);
}

#[test]
fn flags_of_toxiproxy_server_are_understood_under_its_name_and_behind_a_flag() {
    let upstream = upstream();
    let to = upstream.local_addr().expect("it is bound").to_string();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("proxies.json");
    std::fs::write(&config, json!([{"name": "a", "listen": "127.0.0.1:0", "upstream": to}]).to_string()).expect("a file");
    let config = format!("-config={}", config.display());
    for named in [true, false] {
        let mut command = Command::new(program());
        if named {
            command.arg0("/usr/bin/toxiproxy-server");
        } else {
            command.args(["proxy", "--toxiproxy"]);
        }
        command.args(["-host=127.0.0.1", "-port", "0", &config, "-seed=5", "-proxy-metrics"]);
        let program = Proxy::start(command);
        assert!(ask(program.address, "GET /proxies", &Value::Null).json()["a"]["enabled"] == true);
        let metrics = ask(program.address, "GET /metrics", &Value::Null);
        assert!(metrics.status == 200 && !metrics.body.contains("process_open_fds"), "{metrics:?}");
    }
    let run = |words: &[&str]| {
        let output = Command::new(program()).arg0("toxiproxy-server").args(words).output().expect("the program starts");
        (output.status.code(), String::from_utf8(output.stdout).expect("text"), String::from_utf8(output.stderr).expect("text"))
    };
    assert!(run(&["-version"]).1.starts_with("toxiproxy-server version 2.12.0 (closestorm "));
    assert_eq!(run(&["-nothing"]).0, Some(2));
    assert_eq!(run(&["-port=0", "-config=missing.json"]).0, Some(1));
    let mut command = Command::new(program());
    command.args(["proxy", "--toxiproxy", "-host=127.0.0.1", "-port=0"]);
    let program = Proxy::start(command);
    assert_eq!(ask(program.address, "GET /metrics", &Value::Null).status, 404);
}
