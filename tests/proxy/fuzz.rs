//! Requests to the control API that nobody would send on purpose, by the thousand, from a seed: each is answered, and the proxy goes on.

use super::toxiproxy::{ask, start};
use super::{Numbers, limited};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// How many, unless the environment says more: `scripts/long` sends 100,000.
const REQUESTS: &str = "CLOSESTORM_FUZZ_REQUESTS";

const METHODS: [&str; 8] = ["GET", "POST", "PATCH", "DELETE", "POST", "PUT", "OPTIONS", "get"];
const WORDS: [&str; 20] = [
    "proxies",
    "proxies",
    "toxics",
    "populate",
    "reset",
    "version",
    "metrics",
    "v1",
    "connections",
    "summary",
    "faults",
    "a",
    "b",
    "%C3%BC",
    "a%3Ab",
    "%00",
    "%zz",
    "..",
    "",
    "1",
];
const KEYS: [&str; 12] =
    ["name", "listen", "upstream", "enabled", "toxics", "type", "stream", "toxicity", "attributes", "latency", "rate", "NAME"];
const TEXTS: [&str; 14] = [
    "a",
    "b",
    "ü",
    "a:b",
    "127.0.0.1:0",
    "127.0.0.1:9",
    "wss://h:1",
    "latency",
    "bandwidth",
    "slicer",
    "upstream",
    "downstream",
    "\u{0}",
    "::1:80",
];

/// Draws from a seed.
struct Draws(Numbers);

impl Draws {
    fn below(&mut self, limit: usize) -> usize {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        u32::from_le_bytes(bytes) as usize % limit
    }

    fn one_of<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn path(&mut self) -> String {
        let parts: Vec<_> = (0..=self.below(5)).map(|_| self.one_of(&WORDS)).collect();
        let path = format!("/{}", parts.join("/"));
        match self.below(12) {
            0 => path + "?end=rst",
            1 => path + "?" + &"x".repeat(self.below(3000)),
            2 => format!("http://h{path}"),
            _ => path,
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth > 3 { 7 } else { 10 }) {
            0 => Value::Null,
            1 => json!(self.below(2) == 0),
            2 => json!(self.below(1000)),
            3 => json!(-(self.below(1000) as i64)),
            4 => json!([0.5, 1e308, -0.0][self.below(3)]),
            5 => json!(i64::MAX - self.below(3) as i64),
            6 => json!(self.one_of(&TEXTS)),
            7 => (0..self.below(4)).map(|_| self.value(depth + 1)).collect(),
            _ => {
                let fields = (0..self.below(6)).map(|_| (self.one_of(&KEYS).to_owned(), self.value(depth + 1)));
                Value::Object(fields.collect())
            }
        }
    }

    fn body(&mut self) -> Vec<u8> {
        let mut body = match self.below(12) {
            0 => Vec::new(),
            1 => vec![b'['; self.below(5000)],
            2 => (r#"{"a":"#.repeat(self.below(2000))).into_bytes(),
            3 => {
                let mut bytes = vec![0; self.below(300)];
                self.0.fill(&mut bytes);
                bytes
            }
            4 => vec![b'9'; self.below(3000)],
            5 => json!([{"name": self.one_of(&TEXTS), "upstream": self.one_of(&TEXTS), "toxics": self.value(0)}]).to_string().into_bytes(),
            6 => json!({"type": self.one_of(&TEXTS), "attributes": self.value(0), "toxicity": self.value(3)}).to_string().into_bytes(),
            _ => self.value(0).to_string().into_bytes(),
        };
        for _ in 0..[0, 0, 1, 4][self.below(4)] {
            if !body.is_empty() {
                let at = self.below(body.len());
                match self.below(3) {
                    0 => body[at] = self.below(256) as u8,
                    1 => body.truncate(at),
                    _ => body.insert(at, b"{}[]\",:\\"[self.below(8)]),
                }
            }
        }
        body
    }

    /// A request as bytes; and how many of them are sent, if not all are.
    fn request(&mut self, api: SocketAddr) -> (Vec<u8>, Option<usize>) {
        let (method, path, mut body) = (self.one_of(&METHODS), self.path(), self.body());
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {api}\r\n");
        match self.below(40) {
            0 => head += &format!("X: {}\r\n", "y".repeat(self.below(20_000))),
            1 => head += "Broken header\r\n",
            2 => head += "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
            3 => body = vec![b' '; (1 << 20) + 1],
            4 => head = head.replace("HTTP/1.1", "HTTP/9.9"),
            5 => head = format!("{}\r\n", String::from_utf8_lossy(&body)),
            _ => {}
        }
        let mut bytes = match self.below(8) {
            0 => {
                let chunks: Vec<u8> =
                    body.chunks(1000).flat_map(|part| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat()).collect();
                [head.as_bytes(), b"Transfer-Encoding: chunked\r\n\r\n", &chunks, b"0\r\n\r\n"].concat()
            }
            _ => [head.as_bytes(), format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat(),
        };
        if self.below(50) == 0 {
            bytes.extend_from_slice(b"\0\0\0 behind it\r\n\r\n");
        }
        // A body that stops half way: its sender goes away.
        let cut = (self.below(25) == 0).then(|| self.below(bytes.len()));
        (bytes, cut)
    }
}

/// Reads an answer: its status and body; `None`: the connection ended without one. And whether it goes on.
fn answer(reader: &mut BufReader<TcpStream>) -> (Option<(u16, Vec<u8>)>, bool) {
    let mut line = String::new();
    let Ok(1..) = reader.read_line(&mut line) else { return (None, false) };
    let status: u16 = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{line:?}"));
    let (mut length, mut goes_on) = (0, true);
    loop {
        line.clear();
        let Ok(1..) = reader.read_line(&mut line) else { return (Some((status, Vec::new())), false) };
        let lower = line.trim().to_ascii_lowercase();
        if lower.is_empty() {
            break;
        }
        if let Some(count) = lower.strip_prefix("content-length: ") {
            length = count.parse().expect("a number");
        }
        goes_on &= lower != "connection: close";
    }
    let mut body = vec![0; length];
    let whole = reader.read_exact(&mut body).is_ok();
    (Some((status, body)), goes_on && whole)
}

#[test]
#[ignore = "long: scripts/test"]
fn whatever_is_sent_is_answered_and_the_proxy_goes_on() {
    let count: usize = std::env::var(REQUESTS).map_or(10_000, |count| count.parse().expect("a number"));
    let program = start(&[]);
    let (api, mut draws) = (program.address, Draws(Numbers(14)));
    let (mut connection, mut answered) = (None, [0_usize; 6]);
    for number in 0..count {
        let (bytes, cut) = draws.request(api);
        let fresh = || BufReader::new(limited(TcpStream::connect(api).expect("the API listens")));
        // It may be cut off while it sends more than may be.
        let send = |reader: &mut BufReader<TcpStream>| reader.get_mut().write_all(&bytes[..cut.unwrap_or(bytes.len())]).is_ok();
        let mut reader = connection.take().unwrap_or_else(fresh);
        let mut sent = send(&mut reader);
        if cut.is_some() {
            continue;
        }
        let (mut found, mut goes_on) = answer(&mut reader);
        if found.is_none() {
            // What stood behind the request before may have ended the connection.
            reader = fresh();
            sent = send(&mut reader);
            (found, goes_on) = answer(&mut reader);
        }
        if let Some((status, body)) = found {
            let text = String::from_utf8_lossy(&body);
            // A proxy that cannot listen is a 500 in Toxiproxy, too.
            let fine = (200..500).contains(&status) || status == 500 && text.contains("listen tcp ");
            assert!(fine, "request {number}: {status} {text}: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]));
            answered[usize::from(status / 100)] += 1;
        } else {
            assert!(!sent, "request {number}: no answer: {}", String::from_utf8_lossy(&bytes));
        }
        if goes_on && sent {
            connection = Some(reader);
        }
    }
    drop(connection);
    assert!(answered[4] > count / 3 && answered[2] > count / 400, "{answered:?}");
    assert_eq!(ask(api, "GET /version", &Value::Null).status, 200);
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.child.id())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    assert!(peak.is_some_and(|kib| kib < 200 << 10), "{peak:?} KiB");
    let (code, _, err) = program.stop(Signal::SIGTERM);
    assert!(code == Some(0) && !err.contains("panicked"), "{code:?} {err}");
}
