//! A real browser against `closestorm serve`: the given page, and the console of `GET /`. Headless Chromium, steered by `tests/node/browser.js`.

use super::{home, left_out, node};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// `closestorm serve` on a free port; ended when dropped.
pub(super) struct Served {
    child: Child,
    pub(super) port: u16,
}

impl Served {
    pub(super) fn start() -> Served {
        let mut command = Command::new(env!("CARGO_BIN_EXE_closestorm"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--quiet"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{line}"));
        Served { child, port }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether there is a Chromium for tests; without one they fail, unless they were left out on purpose.
pub(super) fn chromium(test: &str) -> bool {
    if left_out("CLOSESTORM_NO_CHROMIUM", test) || !node(test) {
        return false;
    }
    let name = std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
    let found = Command::new(&name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(
        found.is_ok_and(|status| status.success()),
        "{test} needs {name}, which scripts/test installs; without it set CLOSESTORM_NO_CHROMIUM=1"
    );
    true
}

/// Runs the browser to its end, and hands on what it says, as it says it.
pub(super) fn browse_with(what: &str, port: u16, folder: Option<&Path>, input: &str, mut said: impl FnMut(Value)) {
    let mut command = Command::new("node");
    command.arg(home("tests/node/browser.js")).args([what, &port.to_string()]).args(folder);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
        let line = line.expect("text");
        said(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}")));
    }
    let status = child.wait().expect("it ends");
    assert!(status.success(), "browser.js {what}: {status}");
}

/// Runs the browser to its end; what it says, line by line.
pub(super) fn browse(what: &str, port: u16, folder: Option<&Path>, input: &str) -> Vec<Value> {
    let mut lines = Vec::new();
    browse_with(what, port, folder, input, |line| lines.push(line));
    lines
}

fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap_or_default()
}

/// What `onclose` of the given page reports of each path: code, reason, `wasClean`.
const GIVEN: [(&str, u16, &str, bool); 12] = [
    ("/wait/100ms/close/1000?reason=Normal+closure", 1000, "Normal closure", true),
    ("/wait/100ms/close/1001?reason=Going+away", 1001, "Going away", true),
    ("/wait/100ms/close/1002?reason=Protocol+error", 1002, "Protocol error", true),
    ("/wait/100ms/close/1003?reason=Unsupported+data", 1003, "Unsupported data", true),
    ("/wait/100ms/close/1011?reason=Server+error", 1011, "Server error", true),
    ("/wait/100ms/close/4000?reason=mine", 4000, "mine", true),
    ("/wait/100ms/close/4999", 4999, "", true),
    ("/wait/100ms/drop_fin", 1006, "", false),
    ("/message/hello/wait/100ms/drop_rst", 1006, "", false),
    ("/wait/100ms/truncate_frame", 1006, "", false),
    // A Close frame with a code that may not be sent is none to its user.
    ("/wait/100ms/close/1006", 1006, "", false),
    // The page itself closes with 1000, as it was given.
    ("/echo", 1000, "Normal closure", true),
];

#[test]
fn the_given_page_is_told_each_code_in_a_browser_and_comes_back_after_three_seconds() {
    if !chromium("the given page in a browser") {
        return;
    }
    let served = Served::start();
    let asked: Vec<_> = GIVEN.iter().map(|(path, ..)| json!({ "path": path, "opens": 2, "closes": *path == "/echo" })).collect();
    let lines = browse("given", served.port, None, &json!(asked).to_string());
    assert_eq!(lines.len(), GIVEN.len() + 1, "{lines:?}");
    for (line, (path, code, reason, clean)) in lines[1..].iter().zip(GIVEN) {
        let told = line["told"].as_array().expect("a list");
        let events = |name: &str| told.iter().filter(|line| line["event"] == name).cloned().collect::<Vec<_>>();
        let close = events("close").first().cloned().expect("a close");
        assert_eq!((&close["code"], text(&close, "reason"), &close["clean"]), (&json!(code), reason, &json!(clean)), "{path}: {told:?}");
        // What the page writes for people.
        let has = |words: &str| told.iter().any(|line| text(line, "console") == words);
        let says = match code {
            1000 => "Connection closed normally".to_owned(),
            1006 => "Connection closed abnormally".to_owned(),
            other => format!("Unexpected closure with code: {other}"),
        };
        for words in ["Connection established!", &format!("Close code: {code}"), &says, "Reconnected to the WebSocket server"] {
            assert!(has(words), "{path}: {words}: {told:?}");
        }
        let opens = events("open");
        let at = |event: &Value| event["at_ms"].as_f64().expect("a time");
        let away = at(&opens[1]) - at(&close);
        assert!((2990.0..8000.0).contains(&away), "{path}: back after {away} ms");
        assert_eq!(path.starts_with("/message"), has("Message from server: hello"), "{path}");
    }
}

#[test]
fn the_console_shows_what_the_browser_reports_beside_the_wire() {
    if !chromium("the console in a browser") {
        return;
    }
    let (served, folder) = (Served::start(), tempfile::tempdir().expect("a temporary folder"));
    // To look at them.
    let kept = std::env::var_os("CLOSESTORM_SCREENSHOTS").map(std::path::PathBuf::from);
    let lines = browse("console", served.port, Some(kept.as_deref().unwrap_or(folder.path())), "");
    let of = |shown: &str, list: &str| -> Vec<String> {
        let line = lines.iter().find(|line| line["shown"] == shown).unwrap_or_else(|| panic!("{shown}: {lines:?}"));
        line[list].as_array().expect("lines").iter().map(|line| line.as_str().expect("text").to_owned()).collect()
    };
    for colours in ["light", "dark"] {
        assert_eq!(of(colours, "browser"), ["open", "message hello", "close code 1011, reason “oops”, wasClean true"]);
        assert_eq!(
            of(colours, "wire"),
            [
                "← request GET /message/hello/wait/200ms/close/1011?reason=oops HTTP/1.1",
                "→ answer HTTP/1.1 101 Switching Protocols",
                "step message",
                "→ text 5 B “hello”",
                "step wait 200ms",
                "step close_code",
                "→ close 1011 “oops”",
                "← close 1011 “oops”",
                "→ FIN",
                "← FIN",
                "end sent Close 1011, received Close 1011; clean",
            ]
        );
    }
    let has =
        |shown: &str, list: &str, words: &str| assert!(of(shown, list).iter().any(|line| line == words), "{words}: {:?}", of(shown, list));
    let cut = "/message/hello/wait/100ms/truncate_frame?end=rst";
    has(cut, "browser", "close code 1006, reason “”, wasClean false");
    has(cut, "wire", "→ RST, inside a text frame, 10 of 100 payload bytes");
    has("/upgrade_status", "browser", "error");
    has("/upgrade_status", "wire", "→ answer HTTP/1.1 503 Service Unavailable");
    has("/drop_fin", "browser", "close code 1006, reason “”, wasClean false");
    has("/drop_fin", "wire", "→ FIN");
    assert!(lines.contains(&json!({ "found": ["/drop_rst"] })), "{lines:?}");
    let stops = lines.iter().find(|line| line["stops"].is_array()).expect("stops of Tab");
    for stop in ["url", "open", "text", "browser", "wire", "filter", "try"] {
        assert!(stops["stops"].as_array().is_some_and(|stops| stops.contains(&json!(stop))), "Tab never reaches {stop}: {stops}");
    }
    // Nothing is wider than a narrow screen.
    assert_eq!(lines.iter().filter(|line| line["scrolls"] == 400).count(), 2, "{lines:?}");
    assert!(std::fs::read_dir(kept.as_deref().unwrap_or(folder.path())).expect("a folder").count() >= 10);
}
