//! `closestorm serve` seen by clients that share no code with it: Node's `ws`, Python's `ssl`, and plain sockets; and its run folder held against
//! what they saw.

#![expect(clippy::disallowed_methods, reason = "real processes in real time, on threads that carry nobody")]

use super::{LONG, home, left_out, node};
use closestorm::results::{Loaded, read};
use closestorm::transport::tls::Identity;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The program, serving; killed when dropped.
struct Serving {
    child: Child,
    lines: Receiver<String>,
    port: u16,
}

impl Drop for Serving {
    fn drop(&mut self) {
        // One that has ended cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines of a stream as they come.
fn lines(of: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || BufReader::new(of).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

impl Serving {
    fn start(args: &[&str]) -> Serving {
        let mut command = Command::new(env!("CARGO_BIN_EXE_closestorm"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--quiet"]).args(args);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = lines(child.stdout.take().unwrap());
        let first = lines.recv_timeout(LONG).unwrap();
        let port = first.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{first}"));
        Serving { child, lines, port }
    }

    /// The line that begins so.
    fn line(&self, start: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(LONG).unwrap();
            if let Some(rest) = line.strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }

    /// Its exit code, within a time.
    fn code(&mut self) -> Option<i32> {
        let until = Instant::now() + LONG;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "it goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn stop(&mut self, signal: Signal) -> Option<i32> {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
        self.code()
    }
}

/// `ws` of Node.
struct Node {
    child: Child,
    told: Receiver<String>,
    asks: ChildStdin,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Node {
    fn start(url: &str, more: &[&str]) -> Node {
        let mut command = Command::new("node");
        command.arg(home("tests/node/served.js")).arg(url).args(more);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (told, asks) = (lines(child.stdout.take().unwrap()), child.stdin.take().unwrap());
        Node { child, told, asks }
    }

    fn ask(&mut self, what: &Value) {
        writeln!(self.asks, "{what}").unwrap();
    }

    /// What is told next, of whatever connection.
    fn next(&self) -> Value {
        serde_json::from_str(&self.told.recv_timeout(LONG).unwrap()).unwrap()
    }

    /// Opens so many connections.
    fn open(&mut self, count: usize) {
        (0..count).for_each(|n| self.ask(&json!({ "open": format!("c{n}") })));
        (0..count).for_each(|_| assert_eq!(self.next()["told"], "open"));
    }

    /// So many connections end: how many with each code and reason.
    fn closes(&self, count: usize) -> BTreeMap<(u64, String), usize> {
        let mut codes = BTreeMap::new();
        for _ in 0..count {
            let told = self.next();
            assert_eq!(told["told"], "close", "{told}");
            *codes.entry((told["code"].as_u64().unwrap(), told["text"].as_str().unwrap().to_owned())).or_default() += 1;
        }
        codes
    }
}

/// A plain socket that has opened a WebSocket.
fn raw(port: u16) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: \
                   dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    socket.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    socket
}

/// All bytes that come to the end, and whether that was a FIN.
fn rest(mut socket: TcpStream) -> (Vec<u8>, bool) {
    let (mut all, mut chunk) = (Vec::new(), [0; 1024]);
    loop {
        match socket.read(&mut chunk) {
            Ok(0) => return (all, true),
            Ok(count) => all.extend_from_slice(&chunk[..count]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                return (all, false);
            }
        }
    }
}

/// Waits until a connect is refused, or no longer is.
fn until_refused(port: u16, refused: bool) -> Instant {
    let until = Instant::now() + LONG;
    loop {
        let connected = TcpStream::connect(("127.0.0.1", port));
        if connected.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) == refused {
            return Instant::now();
        }
        assert!(Instant::now() < until, "{connected:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn closestorm(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_closestorm")).args(args).stdin(Stdio::null()).output().unwrap()
}

/// The folder as it was read, with a report that can be made again.
fn results(dir: &Path) -> Loaded {
    let made = closestorm(&["report", dir.to_str().unwrap(), "--quiet"]);
    assert!(made.status.success() && dir.join("report.html").exists(), "{}", String::from_utf8_lossy(&made.stderr));
    read::read(dir).unwrap()
}

/// The SHA-256 of the certificate that Python's `ssl` sees.
const PYTHON: &str = "import hashlib, socket, ssl, sys\n\
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\ncontext.check_hostname = False\ncontext.verify_mode = ssl.CERT_NONE\n\
    with socket.create_connection(('127.0.0.1', int(sys.argv[1]))) as plain, context.wrap_socket(plain) as tls:\n    \
    print(hashlib.sha256(tls.getpeercert(True)).hexdigest().upper())\n";

#[test]
fn the_printed_fingerprint_is_that_of_the_certificate_which_clients_see() {
    let (with_node, with_python) = (node("serve --tls"), !left_out("CLOSESTORM_NO_PYTHON", "serve --tls"));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let identity = Identity::generate().unwrap();
    std::fs::write(path("certificate.pem"), &identity.certificate).unwrap();
    std::fs::write(path("key.pem"), &identity.key).unwrap();
    let (certificate, key) = (path("certificate.pem"), path("key.pem"));
    std::fs::write(path("s.toml"), "duration = \"60s\"\nclients.a = { count = 1 }\n").unwrap();
    let mut prints = Vec::new();
    for args in [&["--tls"][..], &["--tls", "--cert", &certificate, "--key", &key], &["--tls", "--scenario", &path("s.toml")]] {
        let mut serving = Serving::start(args);
        let fingerprint = serving.line("certificate SHA-256 ");
        if with_node && args.contains(&"--cert") {
            let mut node = Node::start(&format!("wss://localhost:{}/echo", serving.port), &[&certificate]);
            node.ask(&json!({ "open": "a" }));
            assert_eq!(node.next(), json!({ "id": "a", "told": "certificate", "text": fingerprint }));
            assert_eq!(node.next()["told"], "open");
            node.ask(&json!({ "send": "a", "text": "über TLS" }));
            assert_eq!(node.next(), json!({ "id": "a", "told": "message", "text": "über TLS" }));
        }
        if with_python {
            let seen = Command::new("python3").args(["-c", PYTHON, &serving.port.to_string()]).output().unwrap();
            let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
            assert_eq!(seen.trim(), fingerprint.replace(':', ""));
        }
        prints.push(fingerprint);
        assert_eq!(serving.stop(Signal::SIGTERM), Some(143));
    }
    assert_ne!(prints[0], prints[1], "each has its own");
    // A key of another certificate is an error, and nothing is served.
    std::fs::write(path("other.pem"), Identity::generate().unwrap().key).unwrap();
    let wrong = closestorm(&["serve", "--listen", "127.0.0.1:0", "--tls", "--cert", &certificate, "--key", &path("other.pem")]);
    assert_eq!(wrong.status.code(), Some(1), "{}", String::from_utf8_lossy(&wrong.stderr));
    assert!(wrong.stdout.is_empty() && !wrong.stderr.is_empty());
}

#[test]
fn bind_beyond_loopback_warns() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_closestorm"));
    let mut child = command.args(["serve", "--bind", "0.0.0.0:0"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (warned, served) = (lines(child.stderr.take().unwrap()), lines(child.stdout.take().unwrap()));
    assert!(warned.recv_timeout(LONG).unwrap().starts_with("warning: 0.0.0.0:0 can be reached from other machines"));
    assert!(served.recv_timeout(LONG).unwrap().starts_with("listening on ws://0.0.0.0:"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_tls_handshake_that_failed_is_an_attempt_with_and_without_a_scenario() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("s.toml"), "duration = \"4s\"\nclients.a = { count = 1 }\n").unwrap();
    for (out, more) in [("paths", &[][..]), ("faults", &["--scenario", &path("s.toml")])] {
        let mut serving = Serving::start(&[&["--tls", "--out", &path(out)], more].concat());
        let mut socket = TcpStream::connect(("127.0.0.1", serving.port)).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        socket.write_all(b"no TLS at all\r\n\r\n").unwrap();
        rest(socket);
        // With a scenario its number is on the way when the connection is over.
        let code = if more.is_empty() { serving.stop(Signal::SIGTERM) } else { serving.code() };
        assert_eq!(code, Some(if more.is_empty() { 143 } else { 0 }));
        let summary = results(Path::new(&path(out))).summary;
        let counts = summary.attempts.counts;
        assert_eq!((counts.total, counts.failed, summary.connections.opened), (1, 1, 0), "{out}");
        assert_eq!(summary.failures[0].why, "the TLS handshake failed");
    }
}

#[test]
fn the_verdict_is_printed_also_where_no_folder_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.toml");
    std::fs::write(&file, "duration = \"1s\"\nexpect = [\"attempts count < 9\"]\nclients.a = { count = 1 }\n").unwrap();
    for (quiet, told) in [(None, true), (Some("--quiet"), false)] {
        let args = ["serve", "--listen", "127.0.0.1:0", "--scenario", file.to_str().unwrap()];
        let output = closestorm(&args.into_iter().chain(quiet).collect::<Vec<_>>());
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(3), "{stdout}");
        assert_eq!(stdout.contains("no client became ready: the clients cannot be judged"), told, "{stdout}");
    }
}

/// The paths of one server, and what its run folder says of them.
#[test]
fn the_run_folder_has_what_was_done_to_real_clients() {
    if !node("the run folder of serve") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("seen");
    let mut serving = Serving::start(&["--out", out.to_str().unwrap()]);
    let url = |path: &str| format!("ws://127.0.0.1:{}{path}", serving.port);
    let mut closed = Node::start(&url("/message/hello/close/1012?reason=restart"), &[]);
    closed.ask(&json!({ "open": "a" }));
    let told: Vec<Value> = (0..3).map(|_| closed.next()).collect();
    assert_eq!((&told[1]["text"], &told[2]["code"], &told[2]["text"]), (&json!("hello"), &json!(1012), &json!("restart")));
    let mut cut = Node::start(&url("/drop_rst"), &[]);
    cut.ask(&json!({ "open": "a" }));
    while cut.next()["told"] != "close" {}
    let mut refused = Node::start(&url("/upgrade_status?status=503&retry_after=5"), &[]);
    refused.ask(&json!({ "open": "a" }));
    assert_eq!(refused.next()["code"], 1006);
    let mut stays = Node::start(&url("/echo"), &[]);
    stays.open(1);
    assert_eq!(serving.stop(Signal::SIGINT), Some(130));
    let summary = results(&out).summary;
    let counts = summary.attempts.counts;
    assert_eq!((counts.total, counts.opened, counts.rejected, counts.refused), (4, 3, 1, 0));
    assert_eq!((summary.connections.closed, summary.connections.open_at_end), (2, 1), "its own end is no result");
    let endings: Vec<_> = summary.endings.iter().map(|row| (row.cause.as_str(), row.wire_received, row.server_code)).collect();
    assert!(endings.contains(&("close_code", Some(1012), Some(1012))) && endings.contains(&("drop_rst", None, Some(1006))), "{endings:?}");
    assert_eq!(summary.answers.iter().map(|row| (row.status, row.retry_after_s)).collect::<Vec<_>>(), [(503, Some(5))]);
    assert!(summary.close_codes.client.is_empty() && summary.endings.iter().all(|row| row.client_code.is_none()));
    assert_eq!(summary.faults.iter().map(|row| row.injected).collect::<Vec<_>>(), [1, 1, 1], "{:#?}", summary.faults);
    let written: Value = serde_json::from_slice(&std::fs::read(out.join("summary.json")).unwrap()).unwrap();
    assert!(written.get("messages").is_none() && written.get("reconnect").is_none());
    let checked = closestorm(&["check", out.to_str().unwrap()]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

const SCENARIO: &str = r#"
duration = "16s"
seed = 3
expect = [
  "attempts{outcome=opened} count == 22",
  "closes{side=server, cause=restart} count == 10",
  "closes{reported=1006} count == 0",
]
[target.embedded]
[clients.web]
count = 100
[[faults]]
name   = "restart"
at     = "4s"
inject = { close_code = { code = 1012, reason = "restart" } }
[[faults]]
name   = "half"
at     = "7s"
select = { percent = "50%" }
inject = { drop_rst = {} }
[[faults]]
name   = "refuse"
at     = "8s"
for    = "1s"
inject = { connect_refuse = {} }
[[faults]]
name   = "crash"
at     = "12s"
inject = { server_crash = { down = "500ms" } }
"#;

#[test]
fn faults_come_by_schedule_to_real_clients_and_the_folder_has_what_they_saw() {
    if !node("serve --scenario") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (out, file) = (folder.path().join("seen"), folder.path().join("s.toml"));
    std::fs::write(&file, SCENARIO).unwrap();
    let mut serving = Serving::start(&["--scenario", file.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    let mut node = Node::start(&format!("ws://127.0.0.1:{}/", serving.port), &[]);
    node.open(10);
    assert_eq!(node.closes(10), [((1012, "restart".to_owned()), 10)].into());
    node.open(10);
    // Half of those that are there, exactly.
    assert_eq!(node.closes(5), [((1006, String::new()), 5)].into());
    let (refused, served) = (until_refused(serving.port, true), until_refused(serving.port, false));
    assert!(served - refused > Duration::from_millis(700), "{:?}", served - refused);
    let observer = raw(serving.port);
    assert_eq!(node.closes(5), [((1006, String::new()), 5)].into(), "a crash ends those that outlived the refusal");
    assert_eq!(rest(observer).0, b"", "no Close frame from a server that was killed");
    until_refused(serving.port, false);
    let last = raw(serving.port);
    assert_eq!(serving.code(), Some(3), "what clients are told was not seen: that expectation has no data");
    drop(last);
    let summary = results(&out).summary;
    assert_eq!((summary.clients.planned, summary.clients.started, summary.connections.open_at_end), (0, 22, 1));
    let mut causes: BTreeMap<(&str, Option<u16>, Option<u16>), u64> = BTreeMap::new();
    for row in &summary.endings {
        *causes.entry((row.cause.as_str(), row.wire_received, row.server_code)).or_default() += row.count;
    }
    // Five and the plain socket died with the process: nobody tells how.
    let expected = [(("crash", None, None), 6), (("half", None, Some(1006)), 5), (("restart", Some(1012), Some(1012)), 10)];
    assert_eq!(causes, expected.into());
    let fired: Vec<_> = summary.faults.iter().map(|row| (row.id.as_str(), row.fired, row.injected)).collect();
    assert_eq!(fired, [("restart", 1, 10), ("half", 1, 5), ("refuse", 1, 1), ("crash", 1, 6)]);
    let results: Vec<_> = summary.verdict.expectations.iter().map(|row| row.result.as_str()).collect();
    assert_eq!(results, ["pass", "pass", "inconclusive"], "{:#?}", summary.verdict);
    let checked = closestorm(&["check", out.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(3), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn a_scenario_that_cannot_be_served_is_refused_with_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.toml");
    let table = [
        ("duration = \"1s\"\n[[faults]]\nat = \"x\"\ninject = { drop_rst = {} }\n", 2, "s.toml:3:"),
        (
            "clients.a = { count = 1 }\n[[faults]]\nat = \"1s\"\nside = \"client\"\nname = \"mine\"\ninject = { drop_rst = {} }\n",
            2,
            "fault mine: it acts at the client's end",
        ),
        ("[target.url]\naddress = \"ws://127.0.0.1:1\"\n[clients.a]\ncount = 1\n", 2, "its target is not the embedded server"),
        (
            "clients.a = { count = 1 }\n[[faults]]\nat = \"1s\"\nselect = { cohort = \"a\" }\ninject = { drop_rst = {} }\n",
            2,
            "select.cohort names simulated clients",
        ),
    ];
    for (text, code, expected) in table {
        std::fs::write(&file, text).unwrap();
        let output = closestorm(&["serve", "--listen", "127.0.0.1:0", "--scenario", file.to_str().unwrap()]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && stderr.contains(expected), "{text}: {:?} {stderr}", output.status.code());
    }
}
