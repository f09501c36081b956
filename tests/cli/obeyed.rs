//! What others wrote is shown and never obeyed: by a terminal, a CI service, a browser, a spreadsheet, or a page that calls people.

use super::{Place, exists, server};
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// What steers somebody: a title of a terminal, its colours by one character (C1), commands of CI services, a call of all, a link, an issue,
/// a formula, markup, a text that runs backwards. At most 123 bytes, to be the reason of a Close frame.
const EVIL: [&str; 12] = [
    "\u{1b}]0;pwned\u{7}",
    "\u{9b}31m\u{9d}0;pwned\u{9c}",
    "::error::pwned",
    "x ::set-output name=a::b and more words, so that a line of it may end before: ::error file=a::pwned",
    "##[error]pwned",
    "x ##vso[task.setvariable variable=a]b ##teamcity[buildStatus status='FAILURE']",
    "@everyone see https://evil.example/ and www.evil.example or #1",
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script><b>![x](javascript:a)",
    "| a | b |\r\n::error::pwned\r\n# pwned",
    "\u{202e}gpj.exe\u{2066}",
    "+1+cmd|' /C calc'!A0\t@SUM(1)",
];

/// The head of a request.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && std::io::Read::read(stream, &mut byte).is_ok_and(|length| length == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// A server that is as bad as it can be, each time in another way.
fn hostile() -> SocketAddr {
    let next = Arc::new(AtomicUsize::new(0));
    server(move |mut stream| {
        let head = head(&mut stream);
        let field = |line: &str| line.to_ascii_lowercase().starts_with("sec-websocket-key:").then(|| line[18..].trim().to_owned());
        let key = head.lines().find_map(field).unwrap_or_default();
        let turn = next.fetch_add(1, Ordering::Relaxed);
        let evil = EVIL[turn / 6 % EVIL.len()];
        // What would end a header field ends none here.
        let line = evil.replace(['\r', '\n'], " ");
        let accept = derive_accept_key(key.as_bytes());
        let open = format!("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n");
        let _ = match turn % 6 {
            0 => write!(stream, "HTTP/1.1 503 {line}\r\nLocation: {line}\r\nServer: {line}\r\nContent-Length: 0\r\n\r\n"),
            1 => write!(stream, "HTTP/1.1 302 Found\r\nLocation: http://x/{line}\r\nRetry-After: {line}\r\nContent-Length: 0\r\n\r\n"),
            2 => write!(stream, "{line}\r\n\r\n"),
            3 => write!(stream, "HTTP/1.1 101 {line}\r\n{open}Sec-WebSocket-Protocol: {line}\r\n\r\n"),
            _ => write!(stream, "HTTP/1.1 101 {line}\r\n{open}Server: {line}\r\n\r\n").and_then(|()| {
                let length = u8::try_from(evil.len()).expect("short");
                stream.write_all(&[&[0x81, length], evil.as_bytes(), &[0x88, length + 2, 0x0f, 0xa1], evil.as_bytes()].concat())
            }),
        };
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })
}

fn is_hidden(c: char) -> bool {
    c.is_control() && c != '\n' || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// No terminal and no CI service obeys it.
fn assert_tame(name: &str, text: &str) {
    for line in text.split('\n') {
        assert!(!line.chars().any(is_hidden), "{name}: {line:?}");
        let command = line.trim_start().strip_prefix("::").is_some_and(|rest| rest.contains("::"));
        assert!(!command && !["##[", "##vso[", "##teamcity["].iter().any(|command| line.contains(command)), "{name}: {line:?}");
    }
}

/// Nobody is called by Markdown, no issue is named, and nothing is a link; code is shown as it is.
fn assert_calls_nobody(name: &str, markdown: &str) {
    for line in markdown.lines().filter(|line| !line.starts_with("    ")) {
        let live = |mark: &str| line.match_indices(mark).any(|(at, mark)| line[at + mark.len()..].starts_with(char::is_alphanumeric));
        let markup = line.replace("\\<", "");
        let heading = line.trim_start_matches('#').len() < line.len();
        assert!(!live("@") && !live("www.") && (heading || !live("#")), "{name}: {line}");
        assert!(!["https://", "http://", "<b>", "<script"].iter().any(|mark| markup.contains(mark)), "{name}: {line}");
    }
}

/// No cell is a formula of a spreadsheet.
fn assert_has_no_formula(name: &str, table: &str) {
    for record in csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(table.as_bytes()).records() {
        for cell in &record.expect("a table") {
            let formula = cell.starts_with(['=', '+', '@']) || cell.starts_with('-') && cell.parse::<f64>().is_err();
            assert!(!formula, "{name}: {cell}");
        }
    }
}

/// Every file of a folder that people read.
fn assert_folder_is_tame(folder: &Path) {
    let mut seen = 0;
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        let name = entry.file_name().expect("a name").to_string_lossy().into_owned();
        // Pixels; and a target's output and the scenario, which are as their authors wrote them.
        if name.ends_with(".png") || name.starts_with("target.log") || name == "scenario.toml" {
            continue;
        }
        if entry.is_dir() {
            assert_folder_is_tame(&entry);
            continue;
        }
        let text = fs::read_to_string(&entry).expect("text");
        assert_tame(&name, &text);
        match name.rsplit('.').next() {
            Some("md") => assert_calls_nobody(&name, &text),
            Some("csv") => assert_has_no_formula(&name, &text),
            Some("html" | "svg") => {
                // The page of a run has its data and one script of its own, which its policy names by its hash.
                let data = "<script type=\"application/json\" id=\"data\">";
                let own = if text.contains(data) { [text.matches(data).count(), text.matches("<script>").count()] } else { [0, 0] };
                assert!(own == [0, 0] || own == [1, 1] && text.contains("default-src 'none'; script-src 'sha256-"), "{name}: {own:?}");
                assert_eq!(text.matches("<script").count(), own.iter().sum::<usize>(), "{name}");
                assert!(!text.contains("<script>alert") && !text.contains("javascript:a\"") && !text.contains("<b>!"), "{name}")
            }
            _ => {}
        }
        seen += 1;
    }
    assert!(seen > 0, "{}", folder.display());
}

/// Texts of a scenario, as TOML has them.
fn toml(text: &str) -> String {
    let escaped = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        // C1 and marks of direction may stand in TOML as they are.
        c if c.is_ascii_control() => format!("\\u{:04x}", c as u32),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escaped).collect::<String>())
}

#[test]
#[ignore = "long: scripts/test"]
fn what_servers_and_scenarios_say_steers_nobody_who_reads_the_results() {
    let place = Place::new();
    let address = hostile();
    let all = EVIL.join(" ");
    let scenario = |target: &str| {
        format!(
            "question = {all}\nhypothesis = {all}\nduration = \"3s\"\nexpect = [\"clients_lost count == 0\", \"reconnect_time p50 < 1ms\"]\n\
             answer = {{ pass = {all}, fail = {all} }}\n{target}\n[clients.web]\ncount = 20\narrive = {{ over = \"200ms\" }}\n\
             reconnect = {{ fixed = {{ delay = \"20ms\" }} }}\nheaders = {{ X-Evil = {header} }}\n\
             [[faults]]\nat = \"1s\"\nside = \"client\"\ninject = {{ close_code = {{ code = 4001, reason = {evil} }} }}\n",
            all = toml(&all),
            header = toml(EVIL[2]),
            evil = toml(EVIL[4]),
        )
    };
    place.write("url.toml", &scenario(&format!("[target.url]\naddress = \"ws://{address}/\"\nprobe = false\n")));
    place.write("embedded.toml", &scenario("[target.embedded]\n"));
    for (which, command) in [("url", "run"), ("embedded", "simulate")] {
        let file = format!("{which}.toml");
        for args in [
            &["validate", &file][..],
            &[command, &file, "--dry-run"],
            &[command, &file, "--out", which],
            &["check", which],
            &["report", which],
            &["check", which, "--format", "json"],
            &[command, &file, "--out", "as-json", "--format", "json"],
        ] {
            let ended = place.run(args);
            assert!(matches!(ended.code, Some(0 | 3 | 99)), "{args:?}: {ended:?}");
            assert_tame(&format!("{args:?}: stdout"), &ended.out);
            assert_tame(&format!("{args:?}: stderr"), &ended.err);
        }
        assert_folder_is_tame(&place.path(which));
        fs::remove_dir_all(place.path("as-json")).expect("it is there");
    }
    // It was all there.
    let text = fs::read_to_string(place.path("url/events.csv")).expect("events");
    ["reason=", "location=", "outcome=failed", "pwned"].iter().for_each(|part| assert!(text.contains(part), "{part}: {text}"));
    let report = fs::read_to_string(place.path("url/report.md")).expect("a report");
    ["pwned", "everyone", "evil.example", "calc"].iter().for_each(|part| assert!(report.contains(part), "{part}: {report}"));
}

#[test]
fn errors_about_scenarios_files_and_targets_steer_nobody() {
    let place = Place::new();
    for (number, evil) in EVIL.iter().enumerate() {
        let text = toml(evil);
        let clients = "[clients.web]\ncount = 1\n";
        for (what, scenario) in [
            ("duration", format!("duration = {text}\n{clients}")),
            ("key", format!("{text} = 1\n{clients}")),
            ("cohort", format!("duration = \"1s\"\n[clients.{text}]\ncount = 1\n")),
            ("fault", format!("duration = \"1s\"\n{clients}[[faults]]\nname = {text}\nat = \"1s\"\ninject = {{ drop_rst = {{}} }}\n")),
            ("kind", format!("duration = \"1s\"\n{clients}[[faults]]\nat = \"1s\"\ninject = {{ {text} = {{}} }}\n")),
            ("expect", format!("duration = \"1s\"\nexpect = [{text}]\n{clients}")),
            ("preset", format!("duration = \"1s\"\n{clients}reconnect = {text}\n")),
            ("host", format!("duration = \"1s\"\n[target.url]\naddress = {}\n{clients}", toml(&format!("ws://{evil}:1/")))),
            ("ca", format!("duration = \"1s\"\n[target.url]\naddress = \"wss://127.0.0.1:9/\"\nca = {text}\n{clients}")),
            ("extends", format!("extends = {text}\n{clients}")),
            ("program", format!("duration = \"1s\"\n[target.command]\nrun = [{text}, \"{{port}}\"]\n{clients}")),
            ("data", format!("duration = \"1s\"\n{clients}data = {text}\n")),
        ] {
            place.write("test.toml", &scenario);
            let mut all = vec![place.run(&["validate", "test.toml"])];
            // One of all is enough where a run only goes on to look at the machine.
            if number < 3 && matches!(what, "ca" | "program" | "host") {
                all.push(place.run(&["run", "test.toml", "--out", "run"]));
                assert!(!exists(&place.path("run")), "{what}");
            }
            for ended in all {
                assert_tame(&format!("{what} {evil:?}: stdout"), &ended.out);
                assert_tame(&format!("{what} {evil:?}: stderr"), &ended.err);
            }
        }
        // A file of this name.
        if !evil.contains('/') {
            place.write(&format!("{evil}.toml"), "duration = 1\n[clients.web]\ncount = 1\n");
            let ended = place.run(&["validate", "--", &format!("{evil}.toml")]);
            ended.assert_code(2);
            assert_tame(evil, &(ended.out + &ended.err));
            let ended = place.run(&["check", "--", &format!("{evil}.toml")]);
            assert_tame(evil, &(ended.out + &ended.err));
        }
    }
}

#[test]
fn what_a_target_prints_steers_nobody() {
    let place = Place::new();
    let printed: String = EVIL.iter().map(|evil| format!("{evil}\n")).collect();
    place.write("printed", &printed);
    let clients = "[clients.web]\ncount = 1\n";
    place.write("test.toml", &format!("duration = \"1s\"\n[target.command]\nrun = \"sh -c 'cat printed; exit 1' {{port}}\"\n{clients}"));
    let ended = place.run(&["run", "test.toml"]);
    ended.assert_code(1);
    assert!(ended.err.contains("  | ") && ended.err.contains("pwned"), "{}", ended.err);
    assert_tame("stderr", &ended.err);
}
