//! The observer: WebSocket by hand over a plain TCP socket, for either role, with a log of every byte and of how TCP ended.
//!
//! It shares nothing with the program: frames are built and read here, and the kernel says whether a FIN or an RST came.

use super::frame::{BINARY, CLOSE, Frame, PING, PONG, TEXT, encode, number, parse};
use base64::Engine;
use sha1::{Digest, Sha1};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

/// How TCP ended, by the kernel's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// A read returned nothing.
    Fin,
    /// A read or write returned ECONNRESET.
    Rst,
}

/// What the observer does at an age of the connection.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// A ping with the next number.
    Ping,
    /// A text message with the next number.
    Text,
    /// A Close frame.
    Close(u16),
    /// FIN.
    Fin,
    /// A binary message of this length.
    Bulk(usize),
    /// These bytes.
    Raw(Vec<u8>),
    /// Reads nothing until it reads again.
    Deaf(bool),
}

/// What the observer does over the life of a connection, and how it answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    /// Sorted by age.
    pub(super) acts: Vec<(Duration, Act)>,
    /// Does not answer a FIN with its own.
    pub(super) keeps_writing: bool,
    /// Does not answer a Close frame.
    pub(super) never_acks: bool,
    /// Size of its send buffer.
    pub(super) send_buffer: Option<usize>,
    /// Takes what came for a violation: after so many bytes a Close frame with this code, and as a server a FIN.
    pub(super) fails: Option<(usize, u16)>,
}

/// Milliseconds.
pub(super) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

impl Script {
    /// A ping every 20 ms from the start to `until`.
    pub(super) fn pings(until: Duration) -> Script {
        Script { acts: (1..until.as_millis() as u64 / 20).map(|turn| (ms(turn * 20), Act::Ping)).collect(), ..Script::default() }
    }

    /// Nothing before this age.
    pub(super) fn only_after(mut self, from: Duration) -> Script {
        self.acts.retain(|(at, _)| *at >= from);
        self
    }

    /// And this, at this age.
    pub(super) fn and(mut self, at: Duration, act: Act) -> Script {
        let index = self.acts.partition_point(|(other, _)| *other <= at);
        self.acts.insert(index, (at, act));
        self
    }

    /// And a text message every 20 ms to `until`.
    pub(super) fn texts(self, until: Duration) -> Script {
        (1..until.as_millis() as u64 / 20).fold(self, |script, turn| script.and(ms(turn * 20), Act::Text))
    }
}

/// One connection as the observer saw it.
pub(super) struct Conn {
    stream: TcpStream,
    /// The observer is the client, so that it masks and waits for FIN.
    client: bool,
    opened: Instant,
    /// Whole frames received.
    pub(super) frames: Vec<Frame>,
    /// Received bytes that are no whole frame.
    pub(super) rest: Vec<u8>,
    /// How and when TCP ended.
    pub(super) end: Option<(Duration, End)>,
    /// When a write failed.
    pub(super) broken: Option<Duration>,
    /// First byte, number and time of each frame sent.
    pub(super) sent: Vec<(Duration, u8)>,
    /// Bytes that each read brought, and when.
    pub(super) arrivals: Vec<(Duration, usize)>,
    /// Bytes that the kernel took, and when.
    pub(super) accepted: Vec<(Duration, u64)>,
    outbox: VecDeque<u8>,
    number: u32,
    /// Bytes that came.
    pub(super) received: usize,
    reading: bool,
    fin: Fin,
}

#[derive(PartialEq)]
enum Fin {
    No,
    Wanted,
    Sent,
}

impl Conn {
    fn new(stream: TcpStream, client: bool, rest: Vec<u8>) -> Conn {
        stream.set_nodelay(true).expect("a live socket");
        Conn {
            stream,
            client,
            opened: Instant::now(),
            frames: Vec::new(),
            end: None,
            broken: None,
            sent: Vec::new(),
            arrivals: Vec::new(),
            accepted: Vec::new(),
            outbox: VecDeque::new(),
            number: 0,
            received: rest.len(),
            rest,
            reading: true,
            fin: Fin::No,
        }
    }

    /// Answers an opening handshake; returns the client's `Closestorm-Id` as well.
    pub(super) async fn accept(mut stream: TcpStream) -> io::Result<(Conn, String)> {
        let (id, rest) = upgrade(&mut stream).await?;
        Ok((Conn::new(stream, false, rest), id))
    }

    /// Opens a connection as the client `id`, and asserts a 101.
    pub(super) async fn open(port: u16, id: Option<&str>) -> Conn {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the server listens");
        stream.write_all(request(id).as_bytes()).await.expect("the server reads");
        let (head, rest) = head(&mut stream).await.expect("an answer");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        Conn::new(stream, true, rest)
    }

    /// When the opening handshake was complete.
    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    /// Age of the connection.
    pub(super) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// How TCP ended, if it did before this age.
    pub(super) fn end_before(&self, age: Duration) -> Option<End> {
        self.end.filter(|(at, _)| *at < age).map(|(_, end)| end)
    }

    /// The Close frame received.
    pub(super) fn close(&self) -> Option<&Frame> {
        self.frames.iter().find(|frame| frame.first == CLOSE)
    }

    /// When the observer's own Close frame was sent.
    pub(super) fn closed_at(&self) -> Duration {
        self.sent.iter().find(|(_, first)| *first == CLOSE).expect("a Close frame was sent").0
    }

    /// Frames whose first byte is this.
    pub(super) fn of(&self, first: u8) -> Vec<&Frame> {
        self.frames.iter().filter(|frame| frame.first == first).collect()
    }

    /// Longest silence between two frames with this first byte, or from the last of them to `until`.
    pub(super) fn silence(&self, first: u8, until: Duration) -> Duration {
        let mut times: Vec<_> = self.of(first).iter().map(|frame| frame.at).filter(|at| *at < until).collect();
        times.push(until);
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(until)
    }

    /// Numbers of pings that were never answered although a later one was.
    pub(super) fn lost(&self) -> u32 {
        let numbers: Vec<_> = self.of(PONG).iter().map(|frame| number(&frame.payload)).collect();
        numbers.last().map_or(0, |last| last + 1 - numbers.len() as u32)
    }

    /// Acts as the script says, answers as a healthy peer does, and logs, until both directions have ended or the connection is that old.
    pub(super) async fn play(&mut self, script: &Script, until: Duration) {
        if let Some(bytes) = script.send_buffer {
            socket2::SockRef::from(&self.stream).set_send_buffer_size(bytes).expect("a live socket");
        }
        // What came in one read with the head of the opening handshake.
        self.absorb(script);
        let mut acts: VecDeque<_> = script.acts.iter().cloned().collect();
        while !self.is_over() {
            let next = acts.front().map_or(until, |(at, _)| *at).min(until);
            tokio::select! {
                // Time first: a flood must not delay what the script says.
                biased;
                () = sleep_until(self.opened + next) => match acts.pop_front().filter(|(at, _)| *at <= until) {
                    Some((_, act)) => self.act(&act),
                    None => return,
                },
                _ = self.stream.readable(), if self.reading => self.read(script),
                _ = self.stream.writable(), if self.wants_write() => self.write(),
            }
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.end, Some((_, End::Rst))) || self.broken.is_some() || (self.end.is_some() && self.fin == Fin::Sent)
    }

    fn wants_write(&self) -> bool {
        !self.outbox.is_empty() || self.fin == Fin::Wanted
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Ping => {
                let number = self.next();
                self.queue(PING, &number);
            }
            Act::Text => self.queue(TEXT, b"a message"),
            Act::Close(code) => self.queue(CLOSE, &code.to_be_bytes()),
            Act::Raw(bytes) => {
                // A Close frame however it is spoiled is a Close frame.
                let first = if bytes[0] & 0x0f == CLOSE & 0x0f { CLOSE } else { bytes[0] };
                self.sent.push((self.age(), first));
                self.outbox.extend(bytes);
            }
            Act::Deaf(deaf) => self.reading = !deaf,
            Act::Bulk(length) => self.queue(BINARY, &vec![b'.'; *length]),
            Act::Fin => self.fin = if self.fin == Fin::Sent { Fin::Sent } else { Fin::Wanted },
        }
        self.write();
    }

    fn next(&mut self) -> [u8; 4] {
        self.number += 1;
        (self.number - 1).to_be_bytes()
    }

    fn queue(&mut self, first: u8, payload: &[u8]) {
        self.sent.push((self.age(), first));
        self.outbox.extend(encode(first, payload, self.client));
    }

    fn write(&mut self) {
        while !self.outbox.is_empty() {
            match self.stream.try_write(self.outbox.as_slices().0) {
                Ok(written) => {
                    self.outbox.drain(..written);
                    let total = self.accepted.last().map_or(0, |(_, total)| *total) + written as u64;
                    self.accepted.push((self.age(), total));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    // The kernel tells of an RST once, to whichever call comes first; EPIPE follows it.
                    if error.kind() == io::ErrorKind::ConnectionReset && self.end.is_none() {
                        (self.end, self.reading) = (Some((self.age(), End::Rst)), false);
                    }
                    self.broken = Some(self.age());
                    return self.outbox.clear();
                }
            }
        }
        if self.fin == Fin::Wanted {
            // Fails only on a connection that was reset; the next read tells.
            let _ = socket2::SockRef::from(&self.stream).shutdown(Shutdown::Write);
            self.fin = Fin::Sent;
        }
    }

    fn read(&mut self, script: &Script) {
        let mut chunk = vec![0; 64 * 1024];
        match self.stream.try_read(&mut chunk) {
            Ok(0) => {
                self.end = Some((self.age(), End::Fin));
                self.reading = false;
                if !script.keeps_writing {
                    self.act(&Act::Fin);
                }
            }
            Ok(count) => {
                self.arrivals.push((self.age(), count));
                self.rest.extend_from_slice(&chunk[..count]);
                self.received += count;
                self.absorb(script);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
                (self.end, self.reading) = (Some((self.age(), End::Rst)), false);
            }
        }
    }

    fn has_closed(&self) -> bool {
        self.sent.iter().any(|(_, first)| *first == CLOSE)
    }

    fn answer(&mut self, frame: &Frame, script: &Script) {
        match frame.first {
            PING if !self.has_closed() => self.queue(PONG, &frame.payload),
            CLOSE if !self.has_closed() && !script.never_acks => {
                // RFC 6455 §7.4.2: codes below 1000 are not used; the protocol error answers them.
                let code = frame.payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code));
                let answer = code.map(|code| if code < 1000 { 1002 } else { code }.to_be_bytes());
                self.queue(CLOSE, answer.as_ref().map_or(&[][..], |answer| &answer[..]));
            }
            _ => {}
        }
        if frame.first == CLOSE && !self.client && !script.never_acks {
            self.act(&Act::Fin);
        }
        self.write();
    }

    /// Whole frames leave `rest`, and are answered.
    fn absorb(&mut self, script: &Script) {
        if let Some((_, code)) = script.fails.filter(|(after, _)| self.received >= *after && !self.has_closed()) {
            self.act(&Act::Close(code));
            if !self.client {
                self.act(&Act::Fin);
            }
        }
        while let Some((frame, length)) = parse(&self.rest, self.opened.elapsed()) {
            self.rest.drain(..length);
            self.answer(&frame, script);
            self.frames.push(frame);
        }
    }
}

/// A failed proof shows this.
impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "end {:?}, broken {:?}, rest {:02x?}", self.end, self.broken, self.rest)?;
        for frame in &self.frames {
            let payload = &frame.payload[..frame.payload.len().min(16)];
            writeln!(f, "  {:?} {:02x} masked={} {}B {payload:02x?}", frame.at, frame.first, frame.masked, frame.payload.len())?;
        }
        write!(f, "  sent {} frames, the kernel took {:?}", self.sent.len(), self.accepted.last())
    }
}

/// Answers an opening handshake with 101; returns the client's `Closestorm-Id`, and what came behind the request.
pub(super) async fn upgrade(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let (head, rest) = head(stream).await?;
    let field = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.clone().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    let key = field("Sec-WebSocket-Key").ok_or_else(|| io::Error::other("no key"))?;
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let accept = base64::engine::general_purpose::STANDARD.encode(digest);
    let answer =
        format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n");
    stream.write_all(answer.as_bytes()).await?;
    Ok((field("Closestorm-Id").unwrap_or_default(), rest))
}

/// An opening handshake as a client sends it.
pub(super) fn request(id: Option<&str>) -> String {
    let id = id.map_or(String::new(), |id| format!("Closestorm-Id: {id}\r\n"));
    format!(
        "GET / HTTP/1.1\r\nHost: proof\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{id}\r\n"
    )
}

/// Reads an HTTP head; what came behind it is returned as well.
pub(super) async fn head(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 1024];
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&chunk[..count]);
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
    }
}
