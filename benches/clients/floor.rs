//! The floor: what one thread with one epoll needs and nothing else. A client library cannot be faster, it can only come close.
//!
//! Five system calls for each connection (socket, connect, write, `epoll_ctl`, read) and an `epoll_wait` that many share; two for
//! each round trip. The opening handshake is not checked beyond its status, replies not at all: this is a ruler, not a client.

use crate::clock::now_ns;
use crate::echo::interrupted;
use crate::job::{Job, Load};
use crate::latency::Latency;
use crate::wire::{self, Frame, KEY};
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::sys::timer::TimerSetTimeFlags;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags};
use socket2::SockRef;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

const TIMER: Token = Token(usize::MAX);
/// Between the last opening handshake and the first message.
const SETTLE_NS: u64 = 200_000_000;

/// A longer message does not fit into the send buffer that a new socket has.
const LONG: usize = 8 << 10;

/// Does the job; one with messages at a rate ends by itself, the others run until they are stopped.
pub(crate) fn run(job: &Job) -> io::Result<()> {
    let poll = Poll::new()?;
    // mio waits in whole milliseconds; the timer wakes exactly.
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
    poll.registry().register(&mut SourceFd(&timer.as_fd().as_raw_fd()), TIMER, Interest::READABLE)?;
    let mut message = Vec::new();
    wire::write_masked(&mut message, 0x82, KEY, &vec![b'.'; job.payload]);
    let clients = usize::try_from(job.clients).unwrap_or(usize::MAX);
    let mut floor = Floor {
        job,
        poll,
        timer,
        message,
        clients: (0..clients).map(|_| Client { stream: None, open: false, unread: 0, due: VecDeque::new() }).collect(),
        wanting: (0..clients).collect(),
        waiting: VecDeque::new(),
        in_flight: 0,
        open: 0,
        schedule: None,
        armed_ns: 0,
        latency: Latency::new(),
        // Events tell of what comes, not of what is left: a read must take all that can be there.
        scratch: vec![0; (64 << 10).max(2 * (job.payload + 14))],
    };
    floor.live()
}

struct Client {
    stream: Option<TcpStream>,
    open: bool,
    /// Bytes that have come of a reply whose rest has not.
    unread: usize,
    /// Due times of what is not answered, in order.
    due: VecDeque<u64>,
}

/// Messages at a rate: number j goes to client j mod n at `start + j · step`.
struct Schedule {
    start_ns: u64,
    step_ns: f64,
    next: u64,
    messages: u64,
}

impl Schedule {
    #[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "far below 2⁵³")]
    fn due(&self) -> u64 {
        self.start_ns + (self.next as f64 * self.step_ns) as u64
    }
}

struct Floor<'a> {
    job: &'a Job,
    poll: Poll,
    timer: TimerFd,
    message: Vec<u8>,
    clients: Vec<Client>,
    /// Whose next attempt may begin, if there is room for it.
    wanting: VecDeque<usize>,
    /// Whose next attempt is due later, in order.
    waiting: VecDeque<(u64, usize)>,
    in_flight: u32,
    open: usize,
    schedule: Option<Schedule>,
    armed_ns: u64,
    latency: Latency,
    scratch: Vec<u8>,
}

impl Floor<'_> {
    fn live(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            self.attempt()?;
            if self.talk()? {
                println!("{}", self.latency);
                return Ok(());
            }
            self.arm()?;
            self.poll.poll(&mut events, None).or_else(interrupted)?;
            for event in &events {
                match event.token() {
                    TIMER => self.rung(),
                    Token(client) => self.ready(client, event.is_readable() || event.is_read_closed() || event.is_error())?,
                }
            }
        }
    }

    /// Begins as many attempts as there is room for.
    fn attempt(&mut self) -> io::Result<()> {
        while self.in_flight < self.job.in_flight
            && let Some(client) = self.wanting.pop_front()
        {
            self.in_flight += 1;
            let Ok(mut stream) = TcpStream::connect(self.job.address(client).into()) else {
                self.lost(client)?;
                continue;
            };
            if self.message.len() > LONG {
                // A whole message goes out in one write.
                SockRef::from(&stream).set_send_buffer_size(4 * self.message.len())?;
            }
            // On loopback the kernel has connected by now, and the request leaves at once; elsewhere it waits for the event.
            let asked = ask(&mut stream);
            let interest = if asked.is_ok() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
            self.poll.registry().register(&mut stream, Token(client), interest)?;
            self.clients[client].stream = Some(stream);
            if let Err(error) = asked
                && !is_pending(&error)
            {
                self.lost(client)?;
            }
        }
        Ok(())
    }

    fn ready(&mut self, client: usize, readable: bool) -> io::Result<()> {
        let Client { stream: Some(stream), open, .. } = &mut self.clients[client] else { return Ok(()) };
        if !readable {
            // Connected only now. Writable events of an open connection mean nothing here.
            let asked = if *open { Ok(()) } else { ask(stream) };
            return if asked.is_err_and(|error| !is_pending(&error)) { self.lost(client) } else { Ok(()) };
        }
        let read = match stream.read(&mut self.scratch) {
            Ok(0) => return self.lost(client),
            Ok(read) => read,
            Err(error) if is_pending(&error) => return Ok(()),
            Err(_) => return self.lost(client),
        };
        if self.clients[client].open {
            return self.hear(client, read);
        }
        if !self.scratch[..read].starts_with(b"HTTP/1.1 101 ") || wire::head_end(&self.scratch[..read]).is_none() {
            return Err(io::Error::other(format!("no opening handshake: {}", String::from_utf8_lossy(&self.scratch[..read]))));
        }
        self.in_flight -= 1;
        self.open += 1;
        self.clients[client].open = true;
        match self.job.load {
            Load::Closed => self.say(client)?,
            Load::Rate(rate) if self.open == self.clients.len() && self.schedule.is_none() => {
                #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "a positive number of messages")]
                let messages = (rate * self.job.seconds) as u64;
                self.schedule = Some(Schedule { start_ns: now_ns() + SETTLE_NS, step_ns: 1e9 / rate, next: 0, messages });
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes replies, all of the length that was sent but for their mask.
    fn hear(&mut self, client: usize, read: usize) -> io::Result<()> {
        let reply = self.message.len() - KEY.len();
        let bytes = self.clients[client].unread + read;
        self.clients[client].unread = bytes % reply;
        for _ in 0..bytes / reply {
            match self.job.load {
                Load::Closed => self.say(client)?,
                _ => {
                    if let Some(due) = self.clients[client].due.pop_front() {
                        self.latency.answered(due, now_ns());
                    }
                }
            }
        }
        debug_assert!(bytes < reply || Frame::read(&self.scratch[..read]).is_some());
        Ok(())
    }

    fn say(&mut self, client: usize) -> io::Result<()> {
        let Some(stream) = self.clients[client].stream.as_mut() else { return Ok(()) };
        match stream.write(&self.message) {
            Ok(sent) if sent == self.message.len() => Ok(()),
            // A socket that holds one short message has room for it, or the ruler is broken.
            other => Err(io::Error::other(format!("a message was not taken: {other:?}"))),
        }
    }

    /// Sends all that is due. Whether all was sent and answered, or too long ago.
    fn talk(&mut self) -> io::Result<bool> {
        let now = now_ns();
        while let Some(schedule) = self.schedule.as_mut() {
            let due = schedule.due();
            if schedule.next == schedule.messages {
                return Ok(self.clients.iter().all(|client| client.due.is_empty()) || now > due + 1_000_000_000);
            }
            if due > now {
                break;
            }
            let client = usize::try_from(schedule.next).unwrap_or(usize::MAX) % self.clients.len();
            schedule.next += 1;
            self.say(client)?;
            self.latency.sent(due, now);
            self.clients[client].due.push_back(due);
        }
        Ok(false)
    }

    fn lost(&mut self, client: usize) -> io::Result<()> {
        let Load::Return(delay) = self.job.load else { return Err(io::Error::other(format!("client {client} lost the server"))) };
        let state = &mut self.clients[client];
        if state.open {
            self.open -= 1;
        } else {
            self.in_flight -= 1;
        }
        *state = Client { stream: None, open: false, unread: 0, due: VecDeque::new() };
        let delay = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        self.waiting.push_back((now_ns() + delay, client));
        Ok(())
    }

    fn rung(&mut self) {
        // A non-blocking wait reads the count, so that the timer can ring again.
        let _ = self.timer.wait();
        self.armed_ns = 0;
        let now = now_ns();
        while self.waiting.front().is_some_and(|(due, _)| *due <= now) {
            self.wanting.extend(self.waiting.pop_front().map(|(_, client)| client));
        }
    }

    /// Sets the timer to what is due next.
    fn arm(&mut self) -> io::Result<()> {
        let message = self.schedule.as_ref().map(Schedule::due);
        let attempt = self.waiting.front().map(|(due, _)| *due);
        let Some(next) = message.into_iter().chain(attempt).min() else { return Ok(()) };
        if next == self.armed_ns {
            return Ok(());
        }
        self.armed_ns = next;
        // At the end of the schedule there is no due time ahead: look again in a millisecond.
        let at = Duration::from_nanos(next.max(now_ns() + if self.is_over() { 1_000_000 } else { 1 }));
        let at = TimeSpec::nanoseconds(i64::try_from(at.as_nanos()).unwrap_or(i64::MAX));
        Ok(self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?)
    }

    fn is_over(&self) -> bool {
        self.schedule.as_ref().is_some_and(|schedule| schedule.next == schedule.messages)
    }
}

fn ask(stream: &mut TcpStream) -> io::Result<()> {
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write(REQUEST).map(|_| ())
}

fn is_pending(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}
