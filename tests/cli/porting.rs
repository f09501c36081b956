//! The examples of the page about tests of other tools, run against a server that answers as they expect: each comes to a verdict.

use super::{Place, server};
use crate::documents::documents;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message, accept_hdr};

/// Between two messages that the server sends by itself.
const TICK: Duration = Duration::from_millis(20);

/// What the servers of the examples do, by path: chat, feed for who has a token, echo with a first word, socket.io, and one that knows `auth`.
fn play(mut stream: TcpStream) {
    let mut begin = [0; 4];
    if stream.peek(&mut begin).is_ok_and(|length| length == 4) && &begin == b"POST" {
        _ = stream.read(&mut [0; 4096]);
        let body = r#"{"token":"good"}"#;
        _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        return;
    }
    let mut path = String::new();
    #[allow(clippy::result_large_err, reason = "the library gives the answer its type")]
    let answer = |request: &Request, mut response: Response| {
        path = request.uri().to_string();
        if request.headers().get("sec-websocket-protocol").is_some_and(|offered| offered == "v1") {
            response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("v1"));
        }
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr(stream, answer) else { return };
    _ = socket.get_ref().set_read_timeout(Some(TICK));
    let first = match path.split('?').next().unwrap_or_default() {
        "/socket.io/" => Some(r#"0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#),
        "/echo" => Some(r#"{"type":"welcome","session":"s1"}"#),
        _ => None,
    };
    first.into_iter().for_each(|text| _ = socket.send(Message::text(text)));
    loop {
        let reply = match socket.read() {
            Ok(Message::Text(text)) => answered(&path, text.as_str()),
            Ok(Message::Close(_)) => None,
            Ok(_) => continue,
            Err(Error::Io(error)) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                match &*path {
                    "/feed?token=good" => Some("news".to_owned()),
                    "/" => Some("ping".to_owned()),
                    _ => None,
                }
            }
            Err(_) => return,
        };
        if let Some(text) = reply
            && socket.send(Message::text(text)).is_err()
        {
            return;
        }
    }
}

fn answered(path: &str, text: &str) -> Option<String> {
    if path.starts_with("/socket.io/") {
        let call = text.strip_prefix("42").and_then(|rest| rest.strip_suffix(r#"["join","lobby"]"#));
        return call.map(|number| format!(r#"43{number}["ok"]"#)).or_else(|| text.starts_with("40").then(|| r#"40{"sid":"b"}"#.to_owned()));
    }
    let said: Value = serde_json::from_str(text).unwrap_or_default();
    match (path, said["event"].as_str(), said["type"].as_str()) {
        ("/chat", Some("SAY"), _) => Some(json!({ "event": "SAID", "id": said["id"] }).to_string()),
        ("/", _, Some("auth")) => Some(json!({ "type": "authenticated" }).to_string()),
        ("/", _, Some("ping")) => Some(json!({ "type": "pong" }).to_string()),
        ("/" | "/echo", None, None) if text != "pong" && said["resume"].is_null() => Some(text.to_owned()),
        _ => None,
    }
}

/// As the page has it, but in four seconds, at this address.
fn shortened(text: &str, address: SocketAddr) -> String {
    let mut text = text.to_owned();
    for (long, short) in [
        ("127.0.0.1:9000", &*address.to_string()),
        ("127.0.0.1:3000", &*address.to_string()),
        ("duration = \"30s\"", "duration = \"4s\""),
        ("{ rate = \"20/s\" }", "{ rate = \"100/s\" }"),
        ("{ rate = \"5/s\" }", "{ rate = \"100/s\" }"),
        ("duration = \"2m\"", "duration = \"4s\""),
        ("over = \"60s\"", "over = \"1s\""),
        ("rate = \"0.05/s\"", "rate = \"2/s\""),
        ("every = \"5s\"", "every = \"500ms\""),
    ] {
        text = text.replace(long, short);
    }
    text
}

#[test]
fn tests_of_other_tools_come_to_a_verdict() {
    let page = documents().into_iter().find(|document| document.name == "docs/porting.md").expect("the page");
    let address = server(play);
    let examples: Vec<_> = page.blocks().into_iter().filter(|block| block.language == "toml").collect();
    assert_eq!(examples.len(), 6, "two for each tool");
    let texts: Vec<_> = examples.iter().map(|block| (block.line, shortened(&block.text(), address))).collect();
    super::at_once(texts, |(line, text)| {
        let place = Place::with(&text);
        let ended = place.in_time(|| place.run(&["run", "test.toml", "--clients", "100", "--out", "run", "--force"]));
        // A busy machine may be too slow for a time limit.
        assert!(matches!(ended.code, Some(0 | 3 | 99)), "line {line}: {ended:?}");
        let verdict = &place.json("run/summary.json")["verdict"];
        let expectations = verdict["expectations"].as_array().expect("a list");
        assert!(!expectations.is_empty(), "line {line}: it expects nothing");
        for one in expectations {
            let (note, is_time) = (one["note"].as_str().unwrap_or_default(), one["unit"] == "us");
            let decided = !note.contains("no data") && one["needed"].is_null();
            assert!(decided && (is_time || one["result"] == "pass"), "line {line}: {one}: {ended:?}");
        }
        let summary = place.json("run/summary.json");
        assert_eq!((&summary["clients"]["planned"], &summary["clients"]["lost"]), (&json!(100), &json!(0)), "line {line}");
    });
}
