//! Secrets that no scenario has: those of a data file, of a payload's file, and what only the server knows: tokens of logins, cookies,
//! sessions, addresses of redirects. It says all of them again wherever it can; they are looked for as in `canary`.

use super::canary::{assert_silent, watched};
use super::{Ended, Place, read_head, server};
use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// Written out in the scenario: in HTTP requests before the connection, and in the proxy's address.
const LITERAL: [&str; 6] = [
    "canary1-login-header",
    "canary2-login-body",
    "canary3-login-query",
    "canary4-login-cookie",
    "canary5-login-userinfo",
    "canary6-proxy",
];
/// In files beside it.
const FILED: [&str; 4] = ["canary7-data-header", "canary8-data-query", "canary9-data-message", "canaryA-payload-of-a-file"];
/// The server's own.
const SERVED: [&str; 6] = [
    "canaryB-token-of-a-login",
    "canaryC-cookie",
    "canaryD-session",
    "canaryE-word-of-a-redirect",
    "canaryF-token-of-a-redirect",
    "canaryG-token-in-a-wrong-message",
];
/// In the environment.
const HELD: [(&str, &str); 7] = [
    ("C_MESSAGE", "canaryH-first-message"),
    ("C_ENV", "canaryI-env-of-a-message"),
    ("C_HOST", "canaryj-host.test"),
    ("C_SNI", "canaryk-sni.test"),
    ("C_ALPN", "canaryL-alpn"),
    ("C_LOGIN", "canaryM-login"),
    ("C_MATCH", "canaryN-match"),
];

fn all() -> Vec<&'static str> {
    LITERAL.into_iter().chain(FILED).chain(SERVED).chain(HELD.map(|(_, value)| value)).collect()
}

/// What a server was told, all in one.
type Told = Arc<Mutex<String>>;

/// Part of what a server says again, another one each time; of its own secrets the first few, which the client was told.
fn again(times: &AtomicUsize, served: usize) -> String {
    let held = if served > 0 { 2 } else { 1 };
    let said = [FILED.as_slice(), &SERVED[..served], &HELD.map(|(_, value)| value)[..held]].concat();
    said[times.fetch_add(1, Ordering::Relaxed) % said.len()].to_owned()
}

fn login(mut stream: TcpStream, told: &Told) {
    let mut bytes = [0; 4096];
    let length = io::Read::read(&mut stream, &mut bytes).unwrap_or_default();
    told.lock().expect("nobody panics with it").push_str(&String::from_utf8_lossy(&bytes[..length]));
    let body = format!("{{\"a\":\"{}\"}}", SERVED[0]);
    _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
}

fn talk(stream: TcpStream, told: &Told, times: &AtomicUsize, number: usize) {
    // Who did not log in was told nothing.
    let mut known = 0;
    #[allow(clippy::result_large_err, reason = "the library gives the answer its type")]
    let answer = |request: &Request, mut response: Response| {
        known = usize::from(request.uri().query().is_some_and(|query| query.contains("l=")));
        let fields = request.headers().iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap_or("-")));
        let head = format!("{}\n{}", request.uri(), fields.collect::<String>());
        told.lock().expect("nobody panics with it").push_str(&head);
        if number % 5 == 4 {
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = StatusCode::FOUND;
            let to = format!("http://joe:{}@127.0.0.1:1/{}?token={}", SERVED[3], again(times, known), SERVED[4]);
            refusal.headers_mut().insert("Location", HeaderValue::from_str(&to).expect("a field"));
            return Err(refusal);
        }
        let cookie = format!("node={}; Path=/", SERVED[1]);
        response.headers_mut().insert("Set-Cookie", HeaderValue::from_str(&cookie).expect("a field"));
        Ok(response)
    };
    let Ok(mut socket) = tungstenite::accept_hdr(stream, answer) else { return };
    let said = match number % 5 {
        // A step's check, and its time, with something else in the answer.
        1 => format!("{{\"type\":\"welcome\",\"s\":\"x\",\"right\":\"{}\"}}", again(times, known)),
        2 => format!("{{\"type\":\"no\",\"token\":\"{}\",\"why\":\"{}\"}}", SERVED[5], again(times, known)),
        _ => format!("{{\"type\":\"welcome\",\"s\":\"{}\",\"right\":\"yes\"}}", SERVED[2]),
    };
    let mut first = true;
    while let Ok(message) = socket.read() {
        if let Message::Text(_) | Message::Binary(_) = &message {
            told.lock().expect("nobody panics with it").push_str(&String::from_utf8_lossy(&message.clone().into_data()));
            if first {
                _ = socket.send(Message::text(said.clone()));
                first = false;
            } else if message.is_binary() {
                let reason = format!("no {} {}", again(times, 3 * known), again(times, 3 * known));
                _ = socket.close(Some(CloseFrame { code: 4001.into(), reason: Utf8Bytes::from(reason) }));
            }
        }
    }
}

/// A server for logins and connections; what it was told.
fn chatty() -> (SocketAddr, Told) {
    let told = Told::default();
    let (all, times, number) = (told.clone(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let address = server(move |stream| {
        let mut begin = [0; 4];
        match stream.peek(&mut begin) {
            Ok(4) if &begin == b"POST" => login(stream, &all),
            _ => talk(stream, &all, &times, number.fetch_add(1, Ordering::Relaxed)),
        }
    });
    (address, told)
}

/// A proxy that leads to a target, whatever it is asked for.
fn proxy(target: SocketAddr) -> SocketAddr {
    server(move |mut stream| {
        read_head(&mut stream);
        let mut onward = TcpStream::connect(target).expect("the target listens");
        _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
        let (mut back, mut answers) = (stream.try_clone().expect("a socket"), onward.try_clone().expect("a socket"));
        thread::spawn(move || _ = io::copy(&mut answers, &mut back).and_then(|_| back.shutdown(std::net::Shutdown::Write)));
        _ = io::copy(&mut stream, &mut onward).and_then(|_| onward.shutdown(std::net::Shutdown::Write));
    })
}

fn scenario(address: SocketAddr, target: &str) -> String {
    format!(
        "duration = \"2s\"\nexpect = [\"clients_lost count <= 100\"]\n[target.url]\nprobe = false\naddress = \"ws://{target}/a\"\n\
         [clients.web]\ncount = 6\narrive = {{ over = \"200ms\" }}\nreconnect = {{ fixed = {{ delay = \"50ms\" }} }}\n\
         data = \"rows.csv\"\nheaders = {{ X-Word = \"{{data.word}}\", X-Login = \"{{captured.a}}\" }}\nquery = \"q={{data.q}}&l={{captured.a}}\"\n\
         [clients.web.dialogue]\nbefore = [{{ url = \"http://joe:canary5-login-userinfo@{address}/login?api_key=canary3-login-query\", \
         headers = {{ Authorization = \"Bearer canary1-login-header\", Cookie = \"a=canary4-login-cookie\" }}, \
         body = '{{\"password\":\"canary2-login-body\",\"user\":\"{{data.word}}\"}}', capture = {{ a = \"/a\" }} }}]\n\
         open = [\n{{ send = '{{\"hello\":\"{{data.m}}\",\"env\":\"{{env.C_ENV}}\",\"var\":\"${{C_MESSAGE}}\"}}', \
         expect = {{ json = {{ \"/type\" = \"welcome\" }} }}, check = {{ json = {{ \"/right\" = \"yes\" }} }}, capture = {{ s = \"/s\" }}, within = \"300ms\" }},\n\
         {{ send = \"{{captured.s}} {{captured.a}}\" }},\n{{ send = \"file:payload.bin\" }},\n]\n"
    )
}

/// Three rows for six clients would be too few.
fn rows() -> String {
    let row = format!("{},{},{}\n", FILED[0], FILED[1], FILED[2]);
    format!("word,q,m\n{}", row.repeat(6))
}

/// No secrets: an address, a place, and a file.
const PLAIN: [(&str, &str); 3] = [("C_FROM", "127.0.0.1"), ("C_POINTER", "/a"), ("C_FILE", "file:payload.bin")];

fn run(place: &Place, args: &[&str], codes: &[i32]) -> Ended {
    run_with(&[HELD.as_slice(), &PLAIN].concat(), place, args, codes)
}

fn run_with(variables: &[(&str, &str)], place: &Place, args: &[&str], codes: &[i32]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_closestorm"));
    command.args(args).envs(variables.iter().copied());
    let ended = place.spawn(command).end();
    assert!(ended.code.is_some_and(|code| codes.contains(&code)), "{args:?}: {ended:?}");
    ended
}

#[test]
fn what_only_a_server_or_a_file_knows_is_in_no_file_output_or_command_line() {
    let (address, told) = chatty();
    let place = Place::with(&scenario(address, &address.to_string()));
    place.write("rows.csv", &rows());
    place.write("payload.bin", FILED[3]);
    let far = scenario(address, "only.proxy.test")
        .replace("probe = false\n", &format!("probe = false\nproxy = \"http://u:canary6-proxy@{}\"\n", proxy(address)));
    place.write("far.toml", &far);
    place.write("wrong.toml", &scenario(address, &address.to_string()).replace("\"/a\"", "\"a\"").replace("count = 6", "count = 7"));
    let simple = scenario(address, &address.to_string());
    let simple = simple
        .split("[clients.web.dialogue]")
        .next()
        .expect("a beginning")
        .replace(", X-Login = \"{captured.a}\"", "")
        .replace("&l={captured.a}", "");
    let traffic = "first_message = \"file:payload.bin\"\ntraffic = { request = { message = '{\"token\":\"${C_MESSAGE}\",\"d\":\"{data.m}\"}', rate = \"10/s\" } }\n";
    place.write("simple.toml", &format!("{simple}{traffic}"));
    // Each way to a target, each part of a request before it, and each part of a dialogue that a variable can stand for.
    let named = scenario(address, &format!("${{C_HOST}}:{}", address.port()))
        .replace("probe = false\n", "probe = false\nresolve = [\"${C_HOST}=127.0.0.1\", \"${C_SNI}=${C_FROM}\"]\nsource = \"${C_FROM}\"\n")
        .replace(&format!("{address}/login?"), &format!("${{C_HOST}}:{}/login?n=${{C_LOGIN}}&", address.port()))
        .replace("before = [{ ", "error = { odd = \"${C_MATCH}\" }\nbefore = [{ name = \"in\", ")
        .replace("capture = { a = \"/a\" }", "capture = { a = \"${C_POINTER}\" }")
        .replace("\"Bearer canary1", "\"${C_LOGIN} canary1")
        .replace("\"password\":\"", "\"word\":\"${C_LOGIN}\",\"password\":\"")
        .replace("{ send = \"file:payload.bin\" }", "{ send = \"${C_FILE}\" }");
    place.write("named.toml", &named);
    let secure = named.replace("\"ws://", "\"wss://").replace("source =", "sni = \"${C_SNI}\"\nalpn = [\"${C_ALPN}\"]\nsource =");
    place.write("secure.toml", &secure);
    let secrets = all();
    let lines = watched(&secrets, || {
        run(&place, &["run", "test.toml", "--out", "one", "--events", "full"], &[0, 3]);
        run(&place, &["run", "test.toml", "--out", "two", "--workers", "2", "--events", "full"], &[0, 3]);
        for (shard, out) in [("1/2", "s1"), ("2/2", "s2")] {
            run(&place, &["run", "test.toml", "--shard", shard, "--out", out], &[0, 3]);
        }
        run(&place, &["merge", "s1", "s2", "--out", "sum"], &[0, 3]);
        run(&place, &["run", "far.toml", "--yes", "--out", "far"], &[0, 3]);
        run(&place, &["run", "simple.toml", "--out", "simple"], &[0, 3]);
        run(&place, &["simulate", "simple.toml", "--out", "simulated"], &[0, 2, 3]);
        run(&place, &["simulate", "test.toml", "--out", "refused"], &[2]);
        run(&place, &["run", "test.toml", "--dry-run"], &[0]);
        ["test.toml", "far.toml"].iter().for_each(|file| _ = run(&place, &["validate", file], &[0]));
        run(&place, &["validate", "wrong.toml"], &[2]);
        run(&place, &["run", "named.toml", "--out", "named", "--events", "full"], &[0, 3]);
        run(&place, &["run", "named.toml", "--out", "named2", "--workers", "2", "--duration", "1s"], &[0, 3]);
        run(&place, &["run", "secure.toml", "--out", "secure", "--duration", "1s"], &[0, 3]);
        // With what the probe says, too.
        run(&place, &["run", "test.toml", "--set", "target.url.probe=true", "--out", "probed"], &[0, 1, 3]);
        // What they were made of is not there any more.
        ["rows.csv", "payload.bin"].iter().for_each(|file| fs::remove_file(place.path(file)).expect("it is there"));
        for folder in ["one", "sum", "simple", "named", "named2", "secure"] {
            run_with(&[], &place, &["check", folder], &[0, 3]);
            run_with(&[], &place, &["report", folder], &[0]);
        }
    });
    assert_eq!(lines, Vec::<String>::new());
    let told = told.lock().expect("nobody panics with it");
    // `sni`, `alpn` and what is matched are not told in words.
    let held = HELD.iter().filter(|(name, _)| !["C_SNI", "C_ALPN", "C_MATCH"].contains(name)).map(|(_, value)| *value);
    let came = LITERAL[..4].iter().chain(&FILED).chain(&SERVED[..3]).copied().chain(held);
    came.for_each(|secret| assert!(told.contains(secret), "the server was not told {secret}"));
    // What it said is stored, with names for what it must not tell.
    let events = fs::read_to_string(place.path("one/events.csv")).expect("events");
    for part in
        ["{data.word}", "{captured.a}", "{captured.s}", "http://***@127.0.0.1:1/", "?token=***", "came instead", "what came is wrong"]
    {
        assert!(events.contains(part), "{part} is not in the events");
    }
    assert_silent(&place, &secrets, 50);
}
