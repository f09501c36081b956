//! A real browser on `closestorm serve`: what its WebSocket tells a page for each way that is a step of a URL.
//!
//! Each way has a server of its own: a browser opens one connection at a time to an address, and one that waits for its answer would stop
//! the others. Those that fail come last: after many failures Chromium makes new connections wait.

use super::super::browser::{Served, browse_with};
use super::library::{Heard, OBSERVED, Told};
use super::table::{Line, Side, wire};
use super::ways::{Act, Peer, WAYS, Way};
use closestorm::serve::steps::PathSteps;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use tokio::time::Instant;
use url::form_urlencoded::Serializer;

/// Name of the column.
pub(super) const CHROMIUM: &str = "chromium";
/// How long the connection is open before something happens to it.
const FIRST: Duration = Duration::from_millis(300);

/// The URL path that does a fault to a connection, if it is a step.
fn path(way: &Way) -> Option<String> {
    let Act::Inject(inject) = way.act else { return None };
    // A browser has no keepalive of its own that an app could switch on.
    if way.peer == Peer::Pings || !way.to_clients {
        return None;
    }
    let table: toml::Table = inject.parse().expect("a fault as in a scenario");
    let (kind, values) = table.iter().next()?;
    let mut query = Serializer::new(String::new());
    for (name, value) in values.as_table()? {
        query.append_pair(name, &value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    let (path, query) = (format!("/{kind}"), query.finish());
    let steps: PathSteps = path.parse().ok()?;
    // What the browser's own Close frame meets stands before it comes.
    let wait = if steps.before.is_empty() && way.peer == Peer::Waits { format!("/wait/{}ms", FIRST.as_millis()) } else { String::new() };
    Some(format!("{wait}{path}?{query}&watch=measured").replace("?&", "?"))
}

/// Measures all ways that are steps, nearly at the same time.
pub(super) fn measure() -> Side {
    let ways: Vec<_> = WAYS.iter().filter_map(|way| Some((way, path(way)?, Served::start()))).collect();
    let opens = |path: &str| path.parse::<PathSteps>().is_ok_and(|steps| steps.before.is_empty());
    let ms = (FIRST + OBSERVED).as_millis() as u64;
    let asked = ways.iter().enumerate().map(|(number, (way, path, served))| {
        let url = format!("ws://127.0.0.1:{}{path}", served.port);
        json!({ "id": number.to_string(), "url": url, "opens": opens(path), "close": way.peer == Peer::Closes, "ms": ms })
    });
    let (first, last): (Vec<_>, Vec<_>) = asked.partition(|line| line["opens"] == true);
    let input: String = first.iter().chain(&last).map(|line| format!("{line}\n")).collect();
    let page = Served::start();
    // The server's account is asked for before the browser leaves.
    let mut side = Side::default();
    let mut asking = Vec::new();
    let mut heard = Heard::default();
    browse_with("ways", page.port, None, &input, |line: Value| {
        if let Some(version) = line["version"].as_str() {
            side.versions.insert(CHROMIUM.to_owned(), version.to_owned());
        }
        let Some(number) = line["id"].as_str().and_then(|id| id.parse::<usize>().ok()) else { return };
        let port = ways[number].2.port;
        asking.push((number, std::thread::spawn(move || account(port))));
        for told in line["told"].as_array().into_iter().flatten() {
            let mut told = told.clone();
            told["id"] = line["id"].clone();
            heard.push(serde_json::from_value::<Told>(told).expect("a thing told"));
        }
    });
    let mut accounts = vec![None; ways.len()];
    for (number, asked) in asking {
        accounts[number] = asked.join().expect("an account");
    }
    for (number, (way, path, _)) in ways.iter().enumerate() {
        let opens = opens(path);
        let seen = match &accounts[number] {
            Some(Some((code, end))) => Some(wire(*code, end)).filter(|_| !way.holds_tcp()),
            Some(None) => None,
            None => opens.then(|| "nothing".to_owned()),
        };
        let mut cell = heard.cell(&number.to_string(), None, seen);
        if opens {
            // It is the same in all cells.
            cell.told.retain(|told| told != "open");
        }
        let mut line = Line::new(way);
        line.cells.insert(CHROMIUM.to_owned(), cell);
        side.lines.push(line);
    }
    side
}

/// The server's account of its only connection, if that has ended: the code that came, and how TCP ended; inside `None` where it never opened.
fn account(port: u16) -> Option<Option<(Option<u16>, String)>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.write_all(b"GET /events?watch=measured HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
    stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a socket");
    let (mut text, mut chunk, until) = (Vec::new(), [0; 65536], Instant::now() + Duration::from_millis(500));
    // What is kept comes at once, and then nothing more, or a line for each ping.
    while let Ok(count) = stream.read(&mut chunk)
        && count > 0
        && Instant::now() < until
    {
        text.extend_from_slice(&chunk[..count]);
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    let ended = lines.rev().find(|line| line["what"] == "ended")?;
    let account = &ended["account"];
    let code = account["received"].as_u64().and_then(|code| u16::try_from(code).ok());
    Some(account["tcp_end"].as_str().map(|end| (code, end.to_owned())))
}
