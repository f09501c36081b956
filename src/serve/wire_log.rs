//! What was on the wire of one connection, told as it happens: heads, frames, discarded bytes, FIN and RST; and where the lines are kept for
//! whoever watches.

use crate::close::{Ending, NO_STATUS, TcpEnd};
use crate::fault::{CLOSE, End};
use crate::lock::lock;
use crate::serve::account::WireAccount;
use crate::serve::steps::PathStep;
use crate::transport::watched::{WireBytes, WireFollower};
use crate::ws::frame::{CloseFrame, PONG, Scanner, payload};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::time::Instant;

/// Most lines that are kept, of all connections together: the oldest go first.
const LINES_MAX: usize = 4096;
/// Most bytes of a frame that are looked at: all of a control frame.
const FRAME_SHOWN: usize = 160;
/// Most characters of a message that are told.
const TEXT_SHOWN: usize = 80;
/// Longest first line of an answer that is told.
const LINE_MAX: usize = 200;

/// A line of one connection.
#[derive(Clone, Debug)]
struct WireLine {
    /// By which a page recognises its connection; empty: none does.
    watch: Arc<str>,
    json: Arc<str>,
}

/// Lines of all connections, the newest last.
#[derive(Debug)]
pub(crate) struct WireHub {
    /// The number of the first line kept, and the lines.
    lines: Mutex<(u64, VecDeque<WireLine>)>,
    /// How many there were.
    count: watch::Sender<u64>,
    started: Instant,
}

impl WireHub {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(WireHub { lines: Mutex::default(), count: watch::Sender::new(0), started: Instant::now() })
    }

    /// How many lines there were so far.
    pub(crate) fn count(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    fn push(&self, line: WireLine) {
        let mut lines = lock(&self.lines);
        if lines.1.len() == LINES_MAX {
            lines.1.pop_front();
            lines.0 += 1;
        }
        lines.1.push_back(line);
        let count = lines.0 + lines.1.len() as u64;
        drop(lines);
        self.count.send_replace(count);
    }

    /// The lines from the number `from` on, with this `watch` or, where it is empty, all; how many were lost before them; and the number to
    /// ask for next.
    pub(crate) fn read(&self, from: u64, watch: &str) -> (Vec<Arc<str>>, u64, u64) {
        let lines = lock(&self.lines);
        let lost = lines.0.saturating_sub(from);
        let skip = usize::try_from(from.saturating_sub(lines.0)).unwrap_or(usize::MAX);
        let wanted = lines.1.iter().skip(skip).filter(|line| watch.is_empty() || *line.watch == *watch);
        (wanted.map(|line| line.json.clone()).collect(), lost, lines.0 + lines.1.len() as u64)
    }
}

/// How a connection ended, as the server saw it.
pub(crate) fn account(ending: &Ending) -> Value {
    json!({
        "received": ending.wire_received, "sent": ending.wire_sent, "clean": ending.clean, "tcp_end": ending.tcp_end,
        "initiator": ending.initiator, "mid_frame": ending.mid_frame, "reason": ending.reason, "bytes_after": ending.bytes_after,
    })
}

/// Tells of one connection.
#[derive(Clone, Debug)]
pub(crate) struct WireLog {
    hub: Arc<WireHub>,
    connection: u64,
    watch: Arc<str>,
    begun: Instant,
    /// Whoever wants to know of this connection alone.
    account: Option<Arc<watch::Sender<WireAccount>>>,
}

impl WireLog {
    /// Of the connection with this number.
    pub(crate) fn new(hub: Arc<WireHub>, connection: u64, watch: &str) -> Self {
        WireLog { hub, connection, watch: watch.into(), begun: Instant::now(), account: None }
    }

    /// The same, which also keeps this account.
    pub(crate) fn with_account(self, account: Option<Arc<watch::Sender<WireAccount>>>) -> Self {
        WireLog { account, ..self }
    }

    fn note(&self, what: impl FnOnce(&mut WireAccount)) {
        if let Some(account) = &self.account {
            account.send_modify(what);
        }
    }

    /// Adds a line: `what` with its fields.
    fn tell(&self, what: &str, mut fields: Value) {
        let ms = |from: Instant| (from.elapsed().as_secs_f64() * 1e6).round() / 1e3;
        let mut line = json!({ "connection": self.connection, "at_ms": ms(self.begun), "server_ms": ms(self.hub.started), "what": what });
        if let (Some(line), Some(fields)) = (line.as_object_mut(), fields.as_object_mut()) {
            line.append(fields);
        }
        self.hub.push(WireLine { watch: self.watch.clone(), json: line.to_string().into() });
    }

    /// The request, its first line.
    pub(crate) fn request(&self, target: &str, from: &str) {
        self.tell("request", json!({ "dir": "received", "line": format!("GET {target} HTTP/1.1"), "from": from }));
    }

    /// A step begins, or was left out by chance.
    pub(crate) fn step(&self, step: &PathStep, drawn: bool) {
        self.tell("step", json!({ "step": step.does.to_string(), "left_out": !drawn }));
    }

    /// The server's account of the whole, or that there was no open connection.
    pub(crate) fn ended(&self, ending: Option<&Ending>) {
        self.tell("ended", json!({ "account": ending.map(account) }));
    }

    /// Follows the bytes from behind the request head on.
    pub(crate) fn follower(&self) -> WireFollower {
        let log = self.clone();
        let mut received = WireDirection::new("received", WirePhase::Frames);
        let mut sent = WireDirection::new("sent", WirePhase::Head { line: Vec::new(), matched: 0 });
        Box::new(move |what| match what {
            WireBytes::Received(bytes) => received.follow(bytes, &log),
            WireBytes::Sent(bytes) => sent.follow(bytes, &log),
            WireBytes::Discarded(count) => log.tell("discarded", json!({ "dir": "sent", "bytes": count })),
            WireBytes::ReceivedEnd(end) => {
                let what = match end {
                    TcpEnd::Fin => "fin",
                    TcpEnd::Rst => "rst",
                    TcpEnd::Timeout | TcpEnd::Local | TcpEnd::None => "timeout",
                };
                log.note(|account| account.ended(end, Instant::now()));
                log.tell(what, json!({ "dir": "received", "inside": received.inside() }));
            }
            WireBytes::SentEnd(end) => {
                let what = if end == End::Rst { "rst" } else { "fin" };
                log.tell(what, json!({ "dir": "sent", "inside": sent.inside() }));
            }
        })
    }
}

/// Where the bytes of a direction belong.
#[derive(Debug)]
enum WirePhase {
    /// To the head of an HTTP answer: its first line as far as it came, and how much of the head's end.
    Head { line: Vec<u8>, matched: usize },
    /// To frames.
    Frames,
    /// To the body of an HTTP answer other than 101.
    Body,
}

/// What ends the head of an HTTP message.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// One direction of a connection.
#[derive(Debug)]
struct WireDirection {
    dir: &'static str,
    phase: WirePhase,
    scanner: Scanner,
    /// The beginning of the frame in which the stream stands.
    frame: Vec<u8>,
    /// How much of it came, header included.
    came: u64,
}

impl WireDirection {
    fn new(dir: &'static str, phase: WirePhase) -> Self {
        WireDirection { dir, phase, scanner: Scanner::default(), frame: Vec::new(), came: 0 }
    }

    fn follow(&mut self, bytes: &[u8], log: &WireLog) {
        let mut rest = self.follow_head(bytes, log);
        while !rest.is_empty() {
            let piece = self.scanner.piece(rest);
            if piece.begins {
                self.came = 0;
                self.frame.clear();
            }
            let shown = FRAME_SHOWN.saturating_sub(self.frame.len()).min(piece.len);
            self.frame.extend_from_slice(&rest[..shown]);
            self.came += piece.len as u64;
            if piece.ends {
                log.note(|account| match self.dir {
                    "sent" => account.sent(&self.frame, Instant::now()),
                    _ => account.received(&self.frame, Instant::now()),
                });
                log.tell("frame", self.frame(piece.illegal_control));
            }
            rest = &rest[piece.len..];
        }
    }

    /// What is of an HTTP answer; returns the bytes behind it that are of frames.
    fn follow_head<'a>(&mut self, bytes: &'a [u8], log: &WireLog) -> &'a [u8] {
        let (line, matched) = match &mut self.phase {
            WirePhase::Head { line, matched } => (line, matched),
            WirePhase::Frames => return bytes,
            WirePhase::Body => return &[],
        };
        for (index, byte) in bytes.iter().enumerate() {
            if line.len() < LINE_MAX && !line.ends_with(b"\r\n") {
                line.push(*byte);
            }
            *matched = match (*byte == HEAD_END[*matched], *byte) {
                (true, _) => *matched + 1,
                (false, b'\r') => 1,
                _ => 0,
            };
            if *matched == HEAD_END.len() {
                let first = String::from_utf8_lossy(line).trim_end().to_owned();
                let opens = first.starts_with("HTTP/1.1 101 ");
                log.tell("answer", json!({ "dir": self.dir, "line": first }));
                self.phase = if opens { WirePhase::Frames } else { WirePhase::Body };
                return if opens { &bytes[index + 1..] } else { &[] };
            }
        }
        &[]
    }

    /// A whole frame, in words for programs.
    fn frame(&self, illegal: bool) -> Value {
        let first = self.frame.first().copied().unwrap_or_default();
        let (opcode, masked) = (first & 0x0f, self.frame.get(1).is_some_and(|second| second & 0x80 != 0));
        let mut line = json!({
            "dir": self.dir, "opcode": name(opcode), "bytes": self.scanner.payload_length(), "fin": first & 0x80 != 0, "masked": masked,
        });
        let rsv = first >> 4 & 0x7;
        if rsv != 0 {
            line["rsv"] = rsv.into();
        }
        if opcode == CLOSE {
            let close = CloseFrame::parse(&self.frame, illegal, self.dir == "received");
            line["code"] = if close.code == NO_STATUS { Value::Null } else { close.code.into() };
            line["reason"] = close.reason.into();
        } else if matches!(opcode, 0 | 1 | 9 | PONG) {
            line["text"] = String::from_utf8_lossy(&payload(&self.frame)).chars().take(TEXT_SHOWN).collect::<String>().into();
        }
        line
    }

    /// Where the stream stands if it stands inside a frame.
    fn inside(&self) -> Option<String> {
        if matches!(&self.phase, WirePhase::Head { line, .. } if !line.is_empty()) {
            return Some("the answer to the opening handshake".to_owned());
        }
        if !self.scanner.mid_frame() {
            return None;
        }
        let opcode = self.frame.first().map_or(0, |first| first & 0x0f);
        if self.scanner.mid_header() {
            return Some(format!("the header of a {} frame", name(opcode)));
        }
        let (length, header) = (self.scanner.payload_length(), u64::from(self.scanner.header_length()));
        Some(format!("a {} frame, {} of {length} payload bytes", name(opcode), self.came.saturating_sub(header)))
    }
}

/// The name of an opcode (RFC 6455 §11.8).
fn name(opcode: u8) -> String {
    match opcode {
        0 => "continuation".to_owned(),
        1 => "text".to_owned(),
        2 => "binary".to_owned(),
        8 => "close".to_owned(),
        9 => "ping".to_owned(),
        10 => "pong".to_owned(),
        other => format!("opcode-{other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Frame, PING, TEXT};
    use crate::ws::frame::encode;

    fn lines(watch: &str, hub: &WireHub) -> Vec<Value> {
        hub.read(0, watch).0.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// However the stream is cut, the same lines come.
    #[tokio::test(start_paused = true)]
    async fn frames_are_told_wherever_the_stream_is_cut() {
        let mut sent = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".to_vec();
        for frame in
            [Frame::new(TEXT, "hello"), Frame::new(PING, "p"), Frame::new(TEXT, vec![b'x'; 70_000]), Frame::close(Some(1011), b"oops")]
        {
            sent.extend(encode(&frame, None));
        }
        sent.extend(&encode(&Frame::new(TEXT, vec![b'y'; 100]), None)[..12]);
        for cut in [1, 2, 3, 7, 64, 100_000] {
            let hub = WireHub::new();
            let log = WireLog::new(hub.clone(), 7, "me");
            let mut follow = log.follower();
            follow(WireBytes::Received(&encode(&Frame::close(Some(1000), b"bye"), Some([1, 2, 3, 4]))));
            sent.chunks(cut).for_each(|chunk| follow(WireBytes::Sent(chunk)));
            follow(WireBytes::SentEnd(End::Rst));
            follow(WireBytes::ReceivedEnd(TcpEnd::Fin));
            let all = lines("me", &hub);
            let brief: Vec<_> = all
                .iter()
                .map(|line| {
                    let field = |name: &str| {
                        line.get(name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).unwrap_or_default()
                    };
                    format!(
                        "{} {} {} {} {}{}{}{}",
                        field("dir"),
                        field("what"),
                        field("opcode"),
                        field("bytes"),
                        field("code"),
                        field("reason"),
                        field("line"),
                        field("inside")
                    )
                })
                .collect();
            assert_eq!(
                brief,
                [
                    "received frame close 5 1000bye",
                    "sent answer   HTTP/1.1 101 Switching Protocols",
                    "sent frame text 5 ",
                    "sent frame ping 1 ",
                    "sent frame text 70000 ",
                    "sent frame close 6 1011oops",
                    "sent rst   a text frame, 10 of 100 payload bytes",
                    "received fin   null",
                ],
                "cut at {cut}"
            );
            assert_eq!(all[2]["text"], "hello");
            assert!(lines("other", &hub).is_empty() && lines("", &hub).len() == brief.len());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_follows_another_status_is_no_frame_and_lines_are_bounded() {
        let hub = WireHub::new();
        let log = WireLog::new(hub.clone(), 1, "a");
        let mut follow = log.follower();
        b"HTTP/1.1 503 Service Unavailable\r\n\r\n\x81\x05hello".chunks(5).for_each(|chunk| follow(WireBytes::Sent(chunk)));
        assert_eq!(lines("a", &hub).len(), 1);
        (0..LINES_MAX).for_each(|_| log.ended(None));
        let (kept, lost, next) = hub.read(0, "a");
        assert_eq!((kept.len(), lost, next), (LINES_MAX, 1, LINES_MAX as u64 + 1));
        assert_eq!(hub.read(next, "a").0.len(), 0);
    }
}
