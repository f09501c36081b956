//! The echo server: one thread, one epoll, no buffer kept by an idle connection, so that it is not what limits a client.
//!
//! It listens on all addresses, counts itself, and answers questions on its standard input (`counts.rs`); when that ends, so does it.
//! No TLS, no compression, no deadlines.

use crate::clock::now_ns;
use crate::counts::{Counts, Until};
use crate::wire::{self, Frame};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use sha1::{Digest, Sha1};
use socket2::{Domain, Socket, Type};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd};

const LISTENER: Token = Token(usize::MAX);
const QUESTIONS: Token = Token(usize::MAX - 1);
/// RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// As much as the kernel hands over at once; all connections share the buffer.
const READ: usize = 64 * 1024;

/// Serves until its standard input ends.
pub(crate) fn serve(port: u16, backlog: i32) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
    let mut poll = Poll::new()?;
    // Readiness can be read only from a clone of the handle that owns no buffer.
    let questions = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    poll.registry().register(&mut SourceFd(&questions.as_raw_fd()), QUESTIONS, Interest::READABLE)?;
    socket.listen(backlog)?;
    let mut listener = TcpListener::from_std(socket.into());
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let counts = Counts { listening_ns: now_ns(), ..Counts::default() };
    let mut server = Server { counts, peers: Vec::new(), free: Vec::new(), scratch: vec![0; READ], out: Vec::new() };
    let mut asked = None;
    let mut events = Events::with_capacity(1024);
    loop {
        poll.poll(&mut events, None).or_else(interrupted)?;
        for event in &events {
            match event.token() {
                LISTENER => server.accept(&listener, poll.registry())?,
                QUESTIONS => match question(&questions)? {
                    None => return Ok(()),
                    next => asked = next,
                },
                Token(index) => {
                    if event.is_writable() {
                        server.flush(index);
                    }
                    if event.is_readable() || event.is_read_closed() || event.is_error() {
                        server.readable(index, event.is_read_closed(), poll.registry());
                    }
                }
            }
        }
        asked = answer(asked, &mut server.counts)?;
    }
}

pub(crate) fn interrupted(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}

/// `None`: nobody is there to ask any more.
fn question(mut questions: &File) -> io::Result<Option<Until>> {
    let mut line = [0; 256];
    match questions.read(&mut line)? {
        0 => Ok(None),
        read => String::from_utf8_lossy(&line[..read]).parse().map(Some).map_err(io::Error::other),
    }
}

fn answer(asked: Option<Until>, counts: &mut Counts) -> io::Result<Option<Until>> {
    match asked {
        Some(until) if until.is_reached(counts) => {
            counts.now_ns = now_ns();
            let mut out = io::stdout().lock();
            writeln!(out, "{counts}")?;
            out.flush()?;
            Ok(None)
        }
        other => Ok(other),
    }
}

struct Peer {
    stream: TcpStream,
    open: bool,
    /// The start of a head or frame whose rest has not come yet.
    unread: Vec<u8>,
    /// What the kernel would not take yet.
    unsent: Vec<u8>,
}

struct Server {
    counts: Counts,
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    scratch: Vec<u8>,
    out: Vec<u8>,
}

impl Server {
    fn accept(&mut self, listener: &TcpListener, registry: &Registry) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            if self.counts.first_ns == 0 {
                self.counts.first_ns = now_ns();
            }
            let index = self.free.pop().unwrap_or_else(|| {
                self.peers.push(None);
                self.peers.len() - 1
            });
            registry.register(&mut stream, Token(index), Interest::READABLE)?;
            self.peers[index] = Some(Peer { stream, open: false, unread: Vec::new(), unsent: Vec::new() });
        }
    }

    fn readable(&mut self, index: usize, closed: bool, registry: &Registry) {
        let Some(peer) = self.peers.get_mut(index).and_then(Option::as_mut) else { return };
        loop {
            let read = match peer.stream.read(&mut self.scratch) {
                Ok(0) => return self.gone(index),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.gone(index),
            };
            self.out.clear();
            let stays = take(peer, &self.scratch[..read], &mut self.out, &mut self.counts);
            if !peer.unsent.is_empty() {
                peer.unsent.extend_from_slice(&self.out);
            } else if !send(peer, &self.out) {
                let both = Interest::READABLE | Interest::WRITABLE;
                if peer.unsent.is_empty() || registry.reregister(&mut peer.stream, Token(index), both).is_err() {
                    return self.gone(index);
                }
            }
            if !stays {
                return self.gone(index);
            }
            // A short read emptied the socket; only an end may be left in it.
            if read < READ && !closed {
                return;
            }
        }
    }

    fn flush(&mut self, index: usize) {
        let Some(peer) = self.peers.get_mut(index).and_then(Option::as_mut) else { return };
        let waiting = std::mem::take(&mut peer.unsent);
        if !send(peer, &waiting) && peer.unsent.is_empty() {
            self.gone(index);
        }
    }

    fn gone(&mut self, index: usize) {
        if let Some(peer) = self.peers[index].take() {
            self.counts.open -= u64::from(peer.open);
            self.free.push(index);
        }
    }
}

/// Sends, and keeps what the kernel does not take. Whether all was taken; if not and nothing is kept, the connection is dead.
fn send(peer: &mut Peer, bytes: &[u8]) -> bool {
    let mut sent = 0;
    while sent < bytes.len() {
        match peer.stream.write(&bytes[sent..]) {
            Ok(more) => sent += more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                peer.unsent.extend_from_slice(&bytes[sent..]);
                return false;
            }
            Err(_) => return false,
        }
    }
    true
}

/// Takes what was read, appends the answers. Whether the connection goes on.
fn take(peer: &mut Peer, read: &[u8], out: &mut Vec<u8>, counts: &mut Counts) -> bool {
    let mut joined = std::mem::take(&mut peer.unread);
    let bytes = if joined.is_empty() {
        read
    } else {
        joined.extend_from_slice(read);
        joined.as_slice()
    };
    let mut at = 0;
    if !peer.open {
        let Some(end) = wire::head_end(bytes) else {
            peer.unread = bytes.to_vec();
            return bytes.len() < READ;
        };
        let Some(accept) = accept_key(&bytes[..end]) else { return false };
        out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
        out.extend_from_slice(accept.as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
        peer.open = true;
        counts.opened += 1;
        counts.open += 1;
        counts.last_ns = now_ns();
        at = end;
    }
    while let Some(frame) = Frame::read(&bytes[at..]) {
        let payload = &bytes[at + frame.start..at + frame.end];
        at += frame.end;
        if !echo(&frame, payload, out, counts) {
            return false;
        }
    }
    peer.unread = bytes[at..].to_vec();
    true
}

/// Answers one frame. Whether the connection goes on.
fn echo(frame: &Frame, payload: &[u8], out: &mut Vec<u8>, counts: &mut Counts) -> bool {
    let first = match frame.opcode() {
        wire::PONG => return true,
        wire::PING => 0x80 | wire::PONG,
        _ => frame.first,
    };
    let Some(key) = frame.key else { return false };
    // Only the header: the payload follows while its mask is taken off.
    wire::write_header(out, first, payload.len());
    wire::append_masked(out, key, payload);
    counts.echoed += u64::from(frame.opcode() < wire::CLOSE && frame.is_last());
    frame.opcode() != wire::CLOSE
}

/// RFC 6455 §4.2.2, 5.4.
fn accept_key(head: &[u8]) -> Option<String> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(head).ok()?;
    let key = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("sec-websocket-key"))?;
    let mut hash = Sha1::new();
    hash.update(key.value);
    hash.update(GUID);
    Some(BASE64_STANDARD.encode(hash.finalize()))
}
