//! Secrets that a scenario sends to its target, looked for wherever they must not be: in every byte of every file, on stdout and stderr, and
//! in the command line of every process. The server proves that it got them.

use super::{LONG, Place, command_target, until};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// Variables of the environment, and what they hold: the user's secrets, one for each place that a scenario can send one from.
const HELD: [(&str, &str); 7] = [
    ("C_WORD", "canary1-userinfo"),
    ("C_QUERY", "canary2-address-query"),
    ("C_TOKEN", "canary3-authorization"),
    ("C_COOKIE", "canary4-cookie"),
    ("C_JWT", "canary5-query"),
    ("C_PROTOCOL", "canary6-subprotocol"),
    ("C_ENV", "canary7-environment"),
];
/// The same, written out in the scenario; the last one on the command line.
const LITERAL: [&str; 7] =
    ["canaryA-header", "canaryB-cookie", "canaryC-query", "canaryD-subprotocol", "canaryE-address", "canaryF-environment", "canaryG-set"];

/// What the server was asked, request line and fields.
type Heads = Arc<Mutex<Vec<String>>>;

/// A server that gives back what it gets, where a careless one would: in redirects, and in reasons of Close frames.
fn chatty() -> (SocketAddr, Heads) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let (address, heads) = (listener.local_addr().expect("it is bound"), Heads::default());
    let all = heads.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let all = all.clone();
            thread::spawn(move || {
                let mut told = String::new();
                #[allow(clippy::result_large_err, reason = "the library gives the answer its type")]
                let answer = |request: &Request, mut response: Response| {
                    let fields = request.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("-")));
                    let head = [request.uri().to_string()].into_iter().chain(fields).collect::<Vec<_>>().join("\n");
                    let mut all = all.lock().expect("nobody panics with it");
                    all.push(head);
                    if all.len() % 3 == 0 {
                        let mut refusal = ErrorResponse::new(None);
                        *refusal.status_mut() = StatusCode::FOUND;
                        refusal.headers_mut().insert("Location", HeaderValue::from_str(&request.uri().to_string()).expect("a field"));
                        return Err(refusal);
                    }
                    let field = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
                    told = format!("no {} {}", field("authorization"), field("cookie"));
                    if let Some(first) = field("sec-websocket-protocol").split(',').next().filter(|first| !first.is_empty()) {
                        response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_str(first).expect("a field"));
                    }
                    Ok(response)
                };
                let Ok(mut socket) = tokio_tungstenite::tungstenite::accept_hdr(stream, answer) else { return };
                for _ in 0..3 {
                    let Ok(message) = socket.read() else { return };
                    if matches!(message, Message::Text(_) | Message::Binary(_)) {
                        let _ = socket.send(message);
                    }
                }
                told.truncate(120);
                let _ = socket.close(Some(CloseFrame { code: 4001.into(), reason: Utf8Bytes::from(told) }));
                while socket.read().is_ok() {}
            });
        }
    });
    (address, heads)
}

fn secrets() -> Vec<&'static str> {
    HELD.into_iter().map(|(_, value)| value).chain(LITERAL).collect()
}

/// How a secret may stand in a file: as it is, and within base64, wherever it begins there.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    for before in 0..3 {
        let text = [vec![b'x'; before], secret.as_bytes().to_vec()].concat();
        let encoded = BASE64_STANDARD.encode(&text);
        // Without what also depends on the neighbours.
        let from = if before == 0 { 0 } else { before + 1 };
        forms.push(encoded[from..text.len() / 3 * 4].to_owned());
    }
    forms
}

/// The bytes of a file, and what is packed in it.
fn layers(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut layers = vec![bytes.to_vec()];
    let inflate = |packed: &[u8]| {
        let mut plain = Vec::new();
        // The beginning of what is damaged counts as well.
        let _ = flate2::read::ZlibDecoder::new(packed).read_to_end(&mut plain);
        plain
    };
    // Histograms in a log: base64 of deflated bytes behind eight bytes of head.
    for word in bytes.split(|byte| b",\n\"".contains(byte)).filter(|word| word.len() > 20) {
        if let Ok(plain) = BASE64_STANDARD.decode(word) {
            layers.push(inflate(plain.get(8..).unwrap_or_default()));
            layers.push(plain);
        }
    }
    // What may be the beginning of something deflated, as the pixels of a picture.
    let begins = |at: &usize| bytes[*at] == 0x78 && [0x01, 0x5e, 0x9c, 0xda].contains(&bytes[*at + 1]);
    layers.extend((0..bytes.len().saturating_sub(2)).filter(begins).take(8).map(|at| inflate(&bytes[at..])));
    layers
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Every file but the scenarios that the test wrote: what the program printed, too.
pub(super) fn assert_silent(place: &Place, secrets: &[&str], least: usize) {
    let all_forms: Vec<(&str, Vec<String>)> = secrets.iter().map(|secret| (*secret, forms(secret))).collect();
    let all = files(&place.path(""));
    assert!(all.len() > least, "{} files", all.len());
    for file in all {
        let written = [Some("toml"), Some("csv"), Some("bin")].contains(&file.extension().and_then(|end| end.to_str()));
        if file.parent() == Some(&place.path("")) && written {
            continue;
        }
        let bytes = fs::read(&file).expect("a file");
        for layer in layers(&bytes) {
            let text = String::from_utf8_lossy(&layer);
            for (secret, forms) in &all_forms {
                let found = forms.iter().find_map(|form| text.find(form.as_str()));
                let near = found.map(|at| text.chars().skip(text[..at].chars().count().saturating_sub(200)).take(500).collect::<String>());
                assert!(near.is_none(), "{} has {secret}: {near:?}", file.display());
            }
        }
    }
}

/// Does some work, and looks meanwhile at the command line of every process of this machine; what it saw of secrets.
pub(super) fn watched(secrets: &[&str], work: impl FnOnce()) -> Vec<String> {
    /// Tells that the work is over, also where it failed.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut seen = Vec::new();
            while !done.load(Ordering::Relaxed) {
                for entry in fs::read_dir("/proc").expect("this is Linux").flatten() {
                    let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                    if secrets.iter().any(|secret| contains(&line, secret.as_bytes())) {
                        seen.push(String::from_utf8_lossy(&line).replace('\0', " "));
                    }
                }
                thread::sleep(Duration::from_millis(5));
            }
            seen.sort();
            seen.dedup();
            seen
        });
        let over = Over(&done);
        work();
        drop(over);
        watching.join().expect("it watches")
    })
}

fn run(place: &Place, args: &[&str], codes: &[i32]) -> super::Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_closestorm"));
    command.args(args).envs(HELD);
    let ended = place.spawn(command).end();
    assert!(ended.code.is_some_and(|code| codes.contains(&code)), "{args:?}: {ended:?}");
    ended
}

fn scenario(address: SocketAddr) -> String {
    format!(
        "duration = \"1500ms\"\nexpect = [\"clients_lost count <= 100\"]\n[target.url]\nprobe = false\n\
         address = \"ws://joe:${{C_WORD}}@{address}/echo?access_token=${{C_QUERY}}&api_key=canaryE-address\"\n\
         [model]\nhandshake_cost = \"1ms\"\n\
         [clients.web]\ncount = 6\narrive = {{ over = \"200ms\" }}\nreconnect = {{ fixed = {{ delay = \"100ms\" }} }}\n\
         headers = {{ Authorization = \"Bearer ${{C_TOKEN}}\", Cookie = \"sid=${{C_COOKIE}}; lit=canaryB-cookie\", X-Auth = \"canaryA-header\" }}\n\
         query = \"jwt=${{C_JWT}}&password=canaryC-query\"\n\
         subprotocols = [\"auth-${{C_PROTOCOL}}\", \"token-canaryD-subprotocol\"]\n\
         traffic = {{ echo = {{ rate = \"10/s\" }} }}\n"
    )
}

#[test]
#[ignore = "long: scripts/test"]
fn no_secret_is_in_a_file_an_output_or_a_command_line() {
    let (address, heads) = chatty();
    let place = Place::with(&scenario(address));
    // Another one that cannot be read, and one whose target is not there.
    place.write("broken.toml", &scenario(address).replace("count = 6", "count = \"six\"").replace("[model]", "[modell]"));
    place.write("cut.toml", &scenario(address).replace("canaryA-header\"", "canaryA-header"));
    place.write("away.toml", &scenario(SocketAddr::from(([127, 0, 0, 1], 1))).replace("probe = false\n", ""));
    place.write(
        "own.toml",
        &format!(
            "duration = \"500ms\"\n{}[clients.web]\ncount = 2\n",
            command_target("sh -c 'echo $C_ENV $PASSWORD >got.toml; echo said $C_ENV; exec {serve}'", LONG)
                .replace("env = { ", "env = { C_ENV = \"${C_ENV}\", PASSWORD = \"canaryF-environment\", ")
        ),
    );
    let secrets = secrets();
    let lines = watched(&secrets, || {
        let set = ["--set", "clients.web.headers.X-Api-Key=canaryG-set"];
        run(&place, &[&["run", "test.toml", "--out", "one", "--events", "full"][..], &set].concat(), &[0, 3]);
        run(&place, &["run", "test.toml", "--out", "two", "--workers", "2"], &[0, 3]);
        for (shard, out) in [("1/2", "s1"), ("2/2", "s2")] {
            run(&place, &["run", "test.toml", "--shard", shard, "--out", out], &[0, 3]);
        }
        let merged = run(&place, &["merge", "s1", "s2", "--out", "sum"], &[0, 3]);
        assert!(merged.out.contains(&format!("${{C_WORD}}@{address}")), "{merged:?}");
        run(&place, &["check", "one"], &[0, 3]);
        run(&place, &["report", "one"], &[0]);
        run(&place, &["simulate", "test.toml", "--out", "simulated"], &[0, 3]);
        run(&place, &["run", "test.toml", "--dry-run"], &[0]);
        run(&place, &["validate", "test.toml"], &[0]);
        ["broken.toml", "cut.toml"].iter().for_each(|file| _ = run(&place, &["validate", file], &[2]));
        let search = ["capacity", "test.toml", "--vary", "clients=3..4", "--steps", "1", "--repeats", "1", "--duration", "500ms"];
        run(&place, &[&search[..], &["--out", "capacity"]].concat(), &[0, 3, 99]);
        run(&place, &["run", "away.toml", "--out", "away"], &[1]);
        run(&place, &["run", "own.toml", "--out", "own"], &[0, 3]);
    });
    // What the user typed stands in the command line of what the user started, and nowhere else.
    lines.iter().for_each(|line| assert!(line.contains("--set clients.web"), "{line}"));
    let heads = heads.lock().expect("nobody panics with it").join("\n");
    let basic = BASE64_STANDARD.encode("joe:canary1-userinfo");
    let came = HELD[1..6].iter().map(|(_, value)| *value).chain(LITERAL[..5].iter().copied()).chain([LITERAL[6]]);
    came.for_each(|secret| assert!(heads.contains(secret), "the server did not get {secret}: {heads}"));
    // Of two credentials in one header the one that is written out holds; without it those of the address are sent.
    assert!(!heads.contains(&basic), "{heads}");
    let got = fs::read_to_string(place.path("got.toml")).expect("the server wrote it");
    assert_eq!(got, "canary7-environment canaryF-environment\n");
    // What it printed is its owner's: the secret may stand there, and others cannot read it.
    let log = place.path("own/target.log");
    assert_eq!(log.metadata().expect("a log").permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&log).expect("a log").contains("canary7-environment"));
    fs::remove_file(log).expect("it can be removed");
    assert_silent(&place, &secrets, 100);
    // What makes the run again, and what must be set for it.
    let command = place.json("one/summary.json")["command"].as_str().expect("a text").to_owned();
    assert!(command.contains("C_TOKEN=… ") && command.contains("X-Api-Key=***"), "{command}");
    assert!(fs::read_to_string(place.path("one/report.md")).expect("a report").contains("C_TOKEN=… "));
    let stored = fs::read_to_string(place.path("one/scenario.toml")).expect("a scenario");
    for part in
        ["Bearer ${C_TOKEN}", "sid=${C_COOKIE}; lit=***", "jwt=${C_JWT}&password=***", "api_key=***", "X-Api-Key = \"***\"", "count = 6"]
    {
        assert!(stored.contains(part), "{part}: {stored}");
    }
}

#[test]
fn credentials_of_an_address_come_from_a_variable() {
    let (address, heads) = chatty();
    let place = Place::with(&scenario(address).replace("Authorization = \"Bearer ${C_TOKEN}\", ", ""));
    run(&place, &["run", "test.toml", "--out", "one", "--workers", "2"], &[0, 3]);
    until("nobody came", || {
        heads.lock().expect("nobody panics with it").join("\n").contains(&BASE64_STANDARD.encode("joe:canary1-userinfo"))
    });
    for file in files(&place.path("one")) {
        let bytes = fs::read(&file).expect("a file");
        for secret in ["canary1-userinfo".to_owned(), BASE64_STANDARD.encode("joe:canary1-userinfo")] {
            assert!(!contains(&bytes, secret.as_bytes()), "{}", file.display());
        }
    }
}
