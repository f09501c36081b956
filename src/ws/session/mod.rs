//! The life of one open connection, on either side: messages, heartbeat, faults, and the closing handshake to the end of TCP.
//!
//! Client and server run the same state machine; who closes TCP first is the only difference (RFC 6455 §7.1.1). It surfaces what its
//! owner must act on as a [`SessionEvent`] and ends with exactly one [`SessionEvent::Ended`].

pub(crate) mod closing;
pub(crate) mod faults;
pub(crate) mod heartbeat;
pub(crate) mod injected;
pub(crate) mod mailbox;

use crate::close::{Cause, Ending, MemoryLimit, TcpEnd};
use crate::event::Closing;
use crate::fault::{End, Side};
use crate::plan::Heartbeat;
use crate::seed::Seed;
use crate::ws::connection::{Connection, Incoming};
use crate::ws::session::injected::{Faults, Watch};
use crate::ws::session::mailbox::{Control, SessionCommand};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_tungstenite::tungstenite::Message;

/// How long a step waits for a kernel that takes no bytes before the next step comes, which may end TCP over them.
const STEP_FLUSH: Duration = Duration::from_secs(1);
/// Bytes each second that a step waits for beyond that: a frame of many megabytes goes out whole.
const STEP_RATE: f64 = (1 << 20) as f64;
/// How long a socket that we ended is drained so that our FIN stays a FIN.
const LINGER: Duration = Duration::from_secs(2);
/// How long a socket behind a dead path is kept: longer than any run.
const DEAD_PATH: Duration = Duration::from_secs(86_400);

/// What the owner of a session must know.
#[derive(Debug)]
pub(crate) enum SessionEvent {
    /// A message came.
    Message(Message),
    /// A pong answered the heartbeat's ping.
    Pong(Duration),
    /// A message is due.
    Due(Duration),
    /// A fault is about to act on this connection.
    Injected(u16),
    /// The owner's own time has come.
    Woken,
    /// The connection ended; comes last.
    Ended {
        /// This side's account.
        ending: Box<Ending>,
        /// Times of the closing handshake, where there was one.
        closing: Option<Closing>,
    },
}

/// How long this side waits for what; zero: for ever.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionDeadlines {
    /// For the peer's Close frame.
    pub close: Duration,
    /// For the peer's FIN.
    pub fin: Duration,
}

/// The heartbeat of this side.
#[derive(Debug)]
pub(crate) struct Beat {
    pub(crate) every: Duration,
    pub(crate) timeout: Duration,
    pub(crate) next: Instant,
    pub(crate) count: u64,
    pub(crate) awaited: Option<Instant>,
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Option<Box<Connection>>,
    side: Side,
    limits: SessionDeadlines,
    state: SessionState,
    heartbeat: Option<Box<Beat>>,
    /// Where its random streams come from: the seed of the run and a number that no other connection of this side has.
    origin: (Seed, u64),
    opened: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    faults: Option<Box<Faults>>,
    cause: Option<Cause>,
    /// The fault that sent frames which a healthy peer answers by failing the connection.
    provoked: Option<u16>,
    /// The fault, over now, behind which bytes of this connection are missing.
    holed: Option<u16>,
    /// The limit of memory over which this side fails the connection.
    over: Option<MemoryLimit>,
    initiator: Option<Side>,
    first_close: Option<Instant>,
    second_close: Option<Instant>,
    bytes_after: u64,
    /// The peer's FIN came while ours is held back, or while steps wait: there is nothing to read any more.
    peer_done: bool,
    /// How long the machine was suspended.
    slept: Duration,
    back: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum SessionState {
    Open,
    /// Our Close frame is out first; the peer's is awaited.
    CloseSent {
        until: Option<Instant>,
    },
    /// The peer's Close frame came; our answer is held back until then.
    AnswerDue {
        at: Instant,
    },
    /// The peer's Close frame came while our own was on its way; that one answers it.
    Crossing,
    /// The peer's Close frame came; no answer will go out.
    Withholding,
    /// The closing handshake is complete; our FIN is held back until then.
    HoldingTcp {
        until: Instant,
    },
    /// The closing handshake is complete and our side is done; the peer's FIN is awaited.
    FinAwaited {
        until: Option<Instant>,
    },
    /// We sent FIN without closing handshake and read on.
    HalfClosed {
        until: Option<Instant>,
    },
    Ended,
}

impl Session {
    /// Starts in the open state.
    pub(crate) fn new(
        connection: Box<Connection>,
        side: Side,
        limits: SessionDeadlines,
        heartbeat: Option<Heartbeat>,
        origin: (Seed, u64),
    ) -> Self {
        let heartbeat = heartbeat.filter(|beat| !beat.every.is_zero()).map(|beat| {
            let next = Instant::now() + beat.first(origin.0, origin.1);
            Box::new(Beat { every: beat.every, timeout: beat.timeout, next, count: 0, awaited: None })
        });
        Session {
            connection: Some(connection),
            side,
            limits,
            state: SessionState::Open,
            heartbeat,
            origin,
            opened: Instant::now(),
            timer: None,
            faults: None,
            cause: None,
            provoked: None,
            holed: None,
            over: None,
            initiator: None,
            first_close: None,
            second_close: None,
            bytes_after: 0,
            peer_done: false,
            slept: Duration::ZERO,
            back: None,
        }
    }

    fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("a session has its connection until it ended")
    }

    /// Whether a message can be sent now: open, and the last one is with the kernel.
    pub(crate) fn is_ready(&self) -> bool {
        self.state == SessionState::Open && !self.asleep() && self.connection.as_ref().is_some_and(|connection| connection.is_flushed())
    }

    /// Where a fault took this client to another path: how long after the end it opens a new connection.
    pub(crate) fn comes_back(&self) -> Option<Duration> {
        self.back
    }

    /// Whether neither side has begun to end it.
    pub(crate) fn is_open(&self) -> bool {
        self.state == SessionState::Open
    }

    /// Whether the closing handshake has begun.
    pub(crate) fn is_closing(&self) -> bool {
        !matches!(self.state, SessionState::Open | SessionState::Ended)
    }

    /// Whether this side is leaving because its own stay is over.
    pub(crate) fn is_leaving(&self) -> bool {
        self.cause == Some(Cause::Stay)
    }

    /// Sends a message; [`Session::next`] hands what is left of it to the kernel. Returns whether the kernel took or will take it: if not,
    /// the connection is broken, and its end is to come.
    pub(crate) fn send(&mut self, message: Message) -> bool {
        self.connection().queue(message).is_ok() && self.flush_now()
    }

    /// Most writes succeed at once; a blocked one is polled with a real waker by `next`. Whether it has not failed.
    fn flush_now(&mut self) -> bool {
        let connection = self.connection();
        // A task that has read much has used up what the runtime lets it do in one go. The kernel is not full for that, and whoever asks
        // whether a Close frame is on the wire means the kernel.
        let flush = std::pin::pin!(tokio::task::unconstrained(poll_fn(|cx| connection.poll_flush(cx))));
        !matches!(flush.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)))
    }

    /// Starts the closing handshake, once.
    pub(crate) fn close(&mut self, cause: Cause, code: Option<u16>, reason: &str) {
        if self.state != SessionState::Open {
            return;
        }
        self.cause.get_or_insert(cause);
        self.initiator.get_or_insert(self.side);
        let now = Instant::now();
        self.first_close.get_or_insert(now);
        self.connection().queue_close(code, reason);
        self.state = SessionState::CloseSent { until: after(now, self.limits.close) };
    }

    /// Runs the connection until something happens that the owner must know. `wake` is the owner's own time. Not cancel-safe.
    pub(crate) async fn next(&mut self, control: &Control, wake: Option<Instant>) -> SessionEvent {
        loop {
            if let Some(happening) = self.carry_out().or_else(|| self.look()) {
                return happening;
            }
            if let Some(first) = self.first_close {
                control.note_closing(Some((first, self.second_close)));
            }
            self.ping_what_is_due();
            let armed = self.arm(self.deadline(wake.map(|wake| wake + self.slept)));
            let Session { connection, timer, peer_done, .. } = self;
            let connection = connection.as_mut().expect("a session has its connection until it ended");
            let blocked = !connection.is_flushed();
            // By hand and not by `select!`: an open connection waits here, and keeps nothing but what it needs.
            let what = poll_fn(|cx| {
                // Commands first: a fault must not wait behind a flood of messages.
                if let Poll::Ready(command) = control.poll_next(cx) {
                    return Poll::Ready(SessionStep::Command(command));
                }
                if let Poll::Ready(what) = poll(connection, *peer_done, blocked, cx) {
                    return Poll::Ready(what);
                }
                match timer.as_mut().filter(|_| armed) {
                    Some(timer) => timer.as_mut().poll(cx).map(|()| SessionStep::Timer),
                    None => Poll::Pending,
                }
            })
            .await;
            let happening = match what {
                SessionStep::Command(command) => self.command(command),
                SessionStep::Incoming(incoming) => self.incoming(incoming),
                SessionStep::Flushed => None,
                SessionStep::Enough => {
                    if !self.is_open() {
                        // It is ending already: nothing more is counted.
                        self.connection().link_mut().set_byte_limit(u64::MAX);
                    }
                    None
                }
                SessionStep::Timer => self.timer(wake.map(|wake| wake + self.slept)),
            };
            if let Some(happening) = happening {
                return happening;
            }
        }
    }

    /// When something is to be done, if nothing happens before; a machine that sleeps does nothing.
    fn deadline(&self, wake: Option<Instant>) -> Option<Instant> {
        if self.asleep() {
            return None;
        }
        let watched = self.faults.as_ref().and_then(|faults| faults.watches.iter().filter_map(Watch::deadline).min());
        let watched = watched.filter(|_| self.is_open());
        let all = [self.state_deadline(), self.beat_deadline(), self.step_deadline(), self.ping_deadline(), wake, watched];
        all.into_iter().flatten().min()
    }

    /// Sets the timer; whether there is anything to wait for.
    fn arm(&mut self, deadline: Option<Instant>) -> bool {
        let Some(deadline) = deadline else { return false };
        match &mut self.timer {
            Some(timer) if timer.deadline() == deadline && !timer.is_elapsed() => {}
            Some(timer) => timer.as_mut().reset(deadline),
            None => self.timer = Some(Box::pin(sleep_until(deadline))),
        }
        true
    }

    fn state_deadline(&self) -> Option<Instant> {
        match self.state {
            SessionState::Open | SessionState::Crossing | SessionState::Withholding | SessionState::Ended => None,
            SessionState::CloseSent { until } | SessionState::FinAwaited { until } | SessionState::HalfClosed { until } => until,
            SessionState::AnswerDue { at: until } | SessionState::HoldingTcp { until } => Some(until),
        }
    }

    fn timer(&mut self, wake: Option<Instant>) -> Option<SessionEvent> {
        let now = Instant::now();
        if self.state_deadline().is_some_and(|at| at <= now) {
            return self.state_over();
        }
        if self.beat_deadline().is_some_and(|at| at <= now) {
            return self.beat(now);
        }
        wake.filter(|at| *at <= now).map(|_| SessionEvent::Woken)
    }

    fn state_over(&mut self) -> Option<SessionEvent> {
        match self.state {
            SessionState::AnswerDue { .. } => self.answer(),
            SessionState::HoldingTcp { .. } if self.peer_done => Some(self.ended(TcpEnd::Fin, false, false)),
            SessionState::HoldingTcp { .. } => self.end_own_direction(),
            SessionState::HalfClosed { .. } => Some(self.end_locally(End::Fin, TcpEnd::Local)),
            _ => Some(self.end_locally(End::Fin, TcpEnd::Timeout)),
        }
    }
}

enum SessionStep {
    Command(SessionCommand),
    Incoming(Incoming),
    Flushed,
    /// No more bytes may pass; what ends the connection over it is looked up.
    Enough,
    Timer,
}

/// What comes from a connection; `blocked`: something waited for the kernel to take bytes.
fn poll(connection: &mut Connection, peer_done: bool, blocked: bool, cx: &mut Context<'_>) -> Poll<SessionStep> {
    if peer_done {
        // There is nothing to read, but what waits on a shaped path must go on.
        connection.link_mut().poll_shaped(cx);
        return Poll::Pending;
    }
    match connection.poll_io(cx) {
        Poll::Pending if connection.link().byte_limit_reached() => Poll::Ready(SessionStep::Enough),
        Poll::Pending if blocked && connection.is_flushed() => Poll::Ready(SessionStep::Flushed),
        polled => polled.map(SessionStep::Incoming),
    }
}

fn after(now: Instant, limit: Duration) -> Option<Instant> {
    (!limit.is_zero()).then(|| now + limit)
}

fn other(side: Side) -> Side {
    if side == Side::Server { Side::Client } else { Side::Server }
}
