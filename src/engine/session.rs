//! The life of one open connection, on either side: messages, heartbeat, faults, and the closing handshake to the end of TCP.
//!
//! Client and server run the same state machine; who closes TCP first is the only difference (RFC 6455 §7.1.1). It surfaces what its
//! owner must act on as a [`Happening`] and ends with exactly one [`Happening::Ended`].

use super::control::{Command, Control, Dose};
use crate::close::{Cause, Deadline, Ending, INVALID_PAYLOAD, Initiator, NO_STATUS, PROTOCOL_ERROR, TOO_BIG, TcpEnd, reported};
use crate::event::Closing;
use crate::fault::{CLOSE, CloseAck, End, Enough, Flow, Frame, Gate, HowEnough, Side, Since, Step};
use crate::net::frame::Answer;
use crate::plan::Heartbeat;
use crate::seed::Seed;
use crate::ws::{Connection, Incoming};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Bytes, Message};

/// How long a step may wait for the kernel to take bytes before TCP is ended over them.
const STEP_FLUSH: Duration = Duration::from_secs(1);
/// How long a socket that we ended is drained so that our FIN stays a FIN.
const LINGER: Duration = Duration::from_secs(2);
/// How long a socket behind a dead path is kept: longer than any run.
const DEAD_PATH: Duration = Duration::from_secs(86_400);

/// What the owner of a session must know.
#[derive(Debug)]
pub(super) enum Happening {
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
pub(super) struct Limits {
    /// For the peer's Close frame.
    pub close: Duration,
    /// For the peer's FIN.
    pub fin: Duration,
}

/// One open connection.
#[derive(Debug)]
pub(super) struct Session {
    connection: Option<Box<Connection>>,
    side: Side,
    limits: Limits,
    state: State,
    heartbeat: Option<Box<Beat>>,
    /// Where its random streams come from: the seed of the run and a number that no other connection of this side has.
    origin: (Seed, u64),
    opened: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    faults: Option<Box<Faults>>,
    cause: Option<Cause>,
    fault: Option<u16>,
    /// The fault that sent frames which a healthy peer answers by failing the connection.
    provoked: Option<u16>,
    initiator: Option<Side>,
    first_close: Option<Instant>,
    second_close: Option<Instant>,
    bytes_after: u64,
    /// The peer's FIN came while ours is held back: there is nothing to read any more.
    peer_done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Open,
    /// Our Close frame is out first; the peer's is awaited.
    CloseSent {
        until: Option<Instant>,
    },
    /// The peer's Close frame came; our answer is held back until then.
    AnswerDue {
        at: Instant,
    },
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

#[derive(Debug)]
struct Beat {
    every: Duration,
    timeout: Duration,
    next: Instant,
    count: u64,
    awaited: Option<Instant>,
}

/// What faults have left on this connection; boxed when the first one comes.
#[derive(Debug, Default)]
struct Faults {
    active: Vec<(u16, Gate)>,
    gate: Gate,
    steps: VecDeque<(u16, Step)>,
    watches: Vec<Watch>,
    announced: Vec<u16>,
    pongs_dropped: u32,
}

/// An [`Enough`] being watched.
#[derive(Debug)]
struct Watch {
    fault: u16,
    enough: Enough,
    /// When `time` is over.
    over: Option<Instant>,
    bytes: u64,
    frames: u64,
    /// Last count of what ends idleness, and when it was seen to change.
    seen: (u64, Instant),
}

impl Watch {
    fn new(fault: u16, enough: Enough, opened: Instant, connection: &mut Connection, jitter: f64) -> Self {
        let now = Instant::now();
        let since = if enough.since == Since::Open { opened } else { now };
        let over = enough.time.map(|time| since + time + enough.jitter.mul_f64(jitter));
        let (bytes, frames) = (connection.link().passed(), connection.tap().frames());
        let seen = (if enough.only_messages { connection.tap().messages() } else { bytes }, now);
        Watch { fault, enough, over, bytes, frames, seen }
    }

    /// Whether the connection has had enough.
    fn is_enough(&mut self, connection: &mut Connection, now: Instant) -> bool {
        let (bytes, frames) = (connection.link().passed(), connection.tap().frames());
        let activity = if self.enough.only_messages { connection.tap().messages() } else { bytes };
        if activity != self.seen.0 {
            self.seen = (activity, now);
        }
        self.over.is_some_and(|over| over <= now)
            || self.enough.bytes.is_some_and(|limit| bytes - self.bytes >= limit)
            || self.enough.frames.is_some_and(|limit| frames - self.frames >= limit)
            || self.enough.idle.is_some_and(|idle| self.seen.1 + idle <= now)
    }

    /// When to look again, if nothing else happens.
    fn deadline(&self) -> Option<Instant> {
        [self.over, self.enough.idle.map(|idle| self.seen.1 + idle)].into_iter().flatten().min()
    }
}

impl Session {
    /// Starts in the open state.
    pub(super) fn new(connection: Box<Connection>, side: Side, limits: Limits, heartbeat: Option<Heartbeat>, origin: (Seed, u64)) -> Self {
        let heartbeat = heartbeat.filter(|beat| !beat.every.is_zero()).map(|beat| {
            // The first ping comes at a random phase, so that a herd's pings do not fall together.
            let phase = origin.0.stream(&format!("connection/{}/ping", origin.1)).unit();
            let next = Instant::now() + beat.every.mul_f64(phase);
            Box::new(Beat { every: beat.every, timeout: beat.timeout, next, count: 0, awaited: None })
        });
        Session {
            connection: Some(connection),
            side,
            limits,
            state: State::Open,
            heartbeat,
            origin,
            opened: Instant::now(),
            timer: None,
            faults: None,
            cause: None,
            fault: None,
            provoked: None,
            initiator: None,
            first_close: None,
            second_close: None,
            bytes_after: 0,
            peer_done: false,
        }
    }

    fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("a session has its connection until it ended")
    }

    /// Whether a message can be sent now: open, and the last one is with the kernel.
    pub(super) fn is_ready(&self) -> bool {
        self.state == State::Open && self.connection.as_ref().is_some_and(|connection| connection.is_flushed())
    }

    /// Whether neither side has begun to end it.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether the closing handshake has begun.
    pub(super) fn is_closing(&self) -> bool {
        !matches!(self.state, State::Open | State::Ended)
    }

    /// Sends a message; [`Session::next`] hands what is left of it to the kernel. Returns whether it is with the kernel already.
    pub(super) fn send(&mut self, message: Message) -> bool {
        if self.connection().queue(message).is_err() {
            return false;
        }
        self.flush_now();
        self.connection().is_flushed()
    }

    /// Most writes succeed at once; a blocked one is polled with a real waker by `next`.
    fn flush_now(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = self.connection().poll_flush(&mut cx);
    }

    /// Starts the closing handshake, once.
    pub(super) fn close(&mut self, cause: Cause, code: Option<u16>, reason: &str) {
        if self.state != State::Open {
            return;
        }
        self.cause.get_or_insert(cause);
        self.initiator.get_or_insert(self.side);
        let now = Instant::now();
        self.first_close.get_or_insert(now);
        self.connection().queue_close(code, reason);
        self.state = State::CloseSent { until: after(now, self.limits.close) };
    }

    /// Runs the connection until something happens that the owner must know. `wake` is the owner's own time. Not cancel-safe.
    pub(super) async fn next(&mut self, control: &Control, wake: Option<Instant>) -> Happening {
        loop {
            if let Some(happening) = self.carry_out().await {
                return happening;
            }
            if let Some(happening) = self.look() {
                return happening;
            }
            let watched = self.faults.as_ref().and_then(|faults| faults.watches.iter().filter_map(Watch::deadline).min());
            let deadline = [self.state_deadline(), self.beat_deadline(), wake, watched.filter(|_| self.is_open())];
            let deadline = deadline.into_iter().flatten().min();
            self.arm(deadline);
            let Session { connection, timer, peer_done, .. } = self;
            let connection = connection.as_mut().expect("a session has its connection until it ended");
            let what = tokio::select! {
                // Commands first: a fault must not wait behind a flood of messages.
                biased;
                command = control.next() => What::Command(command),
                incoming = poll_fn(|cx| connection.poll_io(cx)), if !*peer_done => What::Incoming(incoming),
                () = async { timer.as_mut().expect("armed").await }, if deadline.is_some() => What::Timer,
            };
            let happening = match what {
                What::Command(command) => self.command(command),
                What::Incoming(incoming) => self.incoming(incoming),
                What::Timer => self.timer(wake),
            };
            if let Some(happening) = happening {
                return happening;
            }
        }
    }

    fn arm(&mut self, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return };
        match &mut self.timer {
            Some(timer) if timer.deadline() == deadline && !timer.is_elapsed() => {}
            Some(timer) => timer.as_mut().reset(deadline),
            None => self.timer = Some(Box::pin(sleep_until(deadline))),
        }
    }

    fn state_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Open | State::Withholding | State::Ended => None,
            State::CloseSent { until } | State::FinAwaited { until } | State::HalfClosed { until } => until,
            State::AnswerDue { at: until } | State::HoldingTcp { until } => Some(until),
        }
    }

    fn beat_deadline(&self) -> Option<Instant> {
        // A process that hangs has no heartbeat either.
        let hangs = self.gate().is_some_and(|gate| gate.read == Flow::Stop && gate.write == Flow::Stop);
        let beat = self.heartbeat.as_ref().filter(|_| self.state == State::Open && !hangs)?;
        Some(match beat.awaited {
            Some(sent) => sent + beat.timeout,
            None => beat.next,
        })
    }

    // Commands and faults

    fn command(&mut self, command: Command) -> Option<Happening> {
        match command {
            Command::Due(due) => Some(Happening::Due(due)),
            Command::Inject(dose) => self.inject(&dose),
            Command::Revert(fault) => self.revert(fault),
            Command::Close { fault, code, reason } => {
                if self.state != State::Open {
                    return None;
                }
                self.fault = Some(fault);
                self.faults().steps.push_back((fault, Step::Close { code: Some(code), reason: reason.to_string() }));
                Some(Happening::Injected(fault))
            }
        }
    }

    fn faults(&mut self) -> &mut Faults {
        self.faults.get_or_insert_default()
    }

    fn gate(&self) -> Option<&Gate> {
        self.faults.as_ref().map(|faults| &faults.gate)
    }

    fn inject(&mut self, dose: &Arc<Dose>) -> Option<Happening> {
        let faults = self.faults();
        faults.announced.retain(|announced| *announced != dose.fault);
        if !dose.gate.is_open() {
            faults.active.push((dose.fault, dose.gate.clone()));
        }
        faults.steps.extend(dose.steps.iter().map(|step| (dose.fault, step.clone())));
        self.watch(dose);
        self.apply_gates();
        let gate = &dose.gate;
        let shapes = !gate.read_shape.is_open() || !gate.write_shape.is_open();
        let acts_now = !dose.steps.is_empty() || gate.read != Flow::Pass || gate.write != Flow::Pass || shapes;
        if acts_now { self.announce(dose.fault) } else { None }
    }

    /// Begins to watch what the connection may have enough of.
    fn watch(&mut self, dose: &Dose) {
        let ((seed, number), opened) = (self.origin, self.opened);
        for enough in &dose.gate.enough {
            let jitter = seed.stream(&format!("connection/{number}/enough/{}", dose.fault)).unit();
            let watch = Watch::new(dose.fault, enough.clone(), opened, self.connection(), jitter);
            self.faults().watches.push(watch);
        }
    }

    /// Ends the connection if it has had enough.
    fn look(&mut self) -> Option<Happening> {
        let Session { faults: Some(faults), connection: Some(connection), state: State::Open, .. } = self else { return None };
        let now = Instant::now();
        let index = faults.watches.iter_mut().position(|watch| watch.is_enough(connection, now))?;
        let watch = faults.watches.swap_remove(index);
        let (fault, steps) = (watch.fault, &mut faults.steps);
        match watch.enough.how {
            HowEnough::End(end) => steps.push_back((fault, Step::End(end))),
            HowEnough::Close(code) => steps.push_back((fault, Step::Close { code: Some(code), reason: String::new() })),
            HowEnough::Silence => {
                faults.active.push((fault, Gate { read: Flow::Discard, write: Flow::Discard, ..Gate::default() }));
                self.apply_gates();
            }
        }
        self.announce(fault)
    }

    /// The fault acts: told once for each firing, even if its gate has something to do later.
    fn announce(&mut self, fault: u16) -> Option<Happening> {
        self.fault = Some(fault);
        self.faults().announced.push(fault);
        Some(Happening::Injected(fault))
    }

    /// A gate without flow acts when it first changes something.
    fn announce_first(&mut self, which: impl Fn(&Gate) -> bool) -> Option<u16> {
        let faults = self.faults.as_mut()?;
        let fault = faults.active.iter().find(|(fault, gate)| which(gate) && !faults.announced.contains(fault))?.0;
        faults.announced.push(fault);
        self.fault = Some(fault);
        Some(fault)
    }

    fn apply_gates(&mut self) {
        let gate = {
            let faults = self.faults();
            faults.gate = faults.active.iter().fold(Gate::default(), |all, (_, gate)| all.and(gate));
            faults.gate.clone()
        };
        let (seed, number) = self.origin;
        let connection = self.connection();
        connection.link_mut().set_gate(&gate, |direction| seed.stream(&format!("connection/{number}/{direction}")));
        connection.tap().set_drop_pongs(gate.drop_pongs);
    }

    fn revert(&mut self, fault: u16) -> Option<Happening> {
        let faults = self.faults.as_mut()?;
        let reset = faults.active.iter().any(|(active, gate)| *active == fault && gate.reset_on_revert);
        faults.active.retain(|(active, _)| *active != fault);
        faults.watches.retain(|watch| watch.fault != fault);
        faults.announced.retain(|announced| *announced != fault);
        if self.state == State::Open && self.fault == Some(fault) && !reset {
            // What ends this connection later has another reason.
            self.fault = None;
        }
        self.apply_gates();
        if let Some(beat) = &mut self.heartbeat {
            // What came while it hung is read before its timers count against the peer.
            beat.awaited = beat.awaited.map(|_| Instant::now());
        }
        if reset {
            self.faults().steps.push_back((fault, Step::End(End::Rst)));
        }
        None
    }

    /// Carries out the steps of injections.
    async fn carry_out(&mut self) -> Option<Happening> {
        while let Some((fault, step)) = self.faults.as_mut().and_then(|faults| faults.steps.pop_front()) {
            match step {
                Step::Close { code, reason } => self.close(Cause::Fault(fault), code, &reason),
                Step::Frames(frames) => self.send_frames(fault, &frames).await,
                Step::Wait(time) => tokio::time::sleep(time).await,
                Step::HalfClose { keep_reading } => {
                    self.flush_for(STEP_FLUSH).await;
                    self.cause.get_or_insert(Cause::Fault(fault));
                    self.initiator.get_or_insert(self.side);
                    // Fails only where the peer's RST is on its way; reading tells.
                    let _ = self.connection().link_mut().finish();
                    self.state = State::HalfClosed { until: after(Instant::now(), keep_reading) };
                }
                Step::End(end) => {
                    self.cause.get_or_insert(Cause::Fault(fault));
                    return Some(self.end_locally(end, TcpEnd::Local));
                }
            }
        }
        None
    }

    /// Puts frames on the wire as they are. A Close frame among them starts the closing handshake.
    async fn send_frames(&mut self, fault: u16, frames: &[Frame]) {
        for frame in frames {
            self.connection().queue_frame(frame);
        }
        self.flush_for(STEP_FLUSH).await;
        self.provoked = Some(fault);
        if self.state == State::Open && frames.iter().any(|frame| frame.opcode == CLOSE) {
            let now = Instant::now();
            self.cause.get_or_insert(Cause::Fault(fault));
            self.initiator.get_or_insert(self.side);
            self.first_close.get_or_insert(now);
            self.state = State::CloseSent { until: after(now, self.limits.close) };
        }
    }

    async fn flush_for(&mut self, limit: Duration) {
        let connection = self.connection();
        let _ = timeout(limit, poll_fn(|cx| connection.poll_flush(cx))).await;
    }

    // What comes from the peer

    fn incoming(&mut self, incoming: Incoming) -> Option<Happening> {
        match incoming {
            Incoming::Message(message) => {
                if matches!(self.state, State::HalfClosed { .. }) {
                    self.bytes_after += message.len() as u64;
                }
                Some(Happening::Message(message))
            }
            Incoming::Ping => {
                self.flush_now();
                self.pong_swallowed().map(Happening::Injected)
            }
            Incoming::Pong(payload) => self.pong(&payload),
            Incoming::Close => self.peer_closed(),
            Incoming::Violation(code) => Some(self.fail(code)),
            Incoming::End => self.peer_ended(),
        }
    }

    fn pong(&mut self, payload: &Bytes) -> Option<Happening> {
        let beat = self.heartbeat.as_mut()?;
        let sent = beat.awaited.filter(|_| payload.as_ref() == beat.count.to_be_bytes())?;
        beat.awaited = None;
        beat.next = (sent + beat.every).max(Instant::now());
        Some(Happening::Pong(sent.elapsed()))
    }

    fn peer_closed(&mut self) -> Option<Happening> {
        self.initiator.get_or_insert(other(self.side));
        self.first_close.get_or_insert(Instant::now());
        match self.state {
            State::CloseSent { .. } => self.handshake_complete(),
            State::HalfClosed { .. } => None,
            _ => match self.gate().map_or(CloseAck::Prompt, |gate| gate.close_ack) {
                CloseAck::Prompt => self.answer(),
                CloseAck::Code(code) => {
                    let fault = self.announce_first(|gate| gate.close_ack != CloseAck::Prompt);
                    self.connection().queue_close(Some(code), "");
                    self.handshake_complete().or(fault.map(Happening::Injected))
                }
                CloseAck::Delayed(delay) => {
                    self.state = State::AnswerDue { at: Instant::now() + delay };
                    self.announce_first(|gate| gate.close_ack != CloseAck::Prompt).map(Happening::Injected)
                }
                CloseAck::Never(end) => {
                    self.state = State::Withholding;
                    let fault = self.announce_first(|gate| gate.close_ack != CloseAck::Prompt);
                    if let (Some(fault), End::Fin | End::Rst) = (fault, end) {
                        self.faults().steps.push_back((fault, Step::End(end)));
                    }
                    fault.map(Happening::Injected)
                }
            },
        }
    }

    /// Answers the peer's Close frame.
    fn answer(&mut self) -> Option<Happening> {
        let frame = self.connection().close_frame().cloned()?;
        match frame.answer {
            Answer::Echo if frame.code == NO_STATUS => self.connection().queue_close(None, ""),
            Answer::Echo => self.connection().queue_close(Some(frame.code), &frame.reason),
            Answer::Fail(code) => self.connection().queue_close(Some(code), ""),
        }
        self.handshake_complete()
    }

    /// Close frames are out both ways: the server ends TCP, the client waits for it to.
    fn handshake_complete(&mut self) -> Option<Happening> {
        let now = Instant::now();
        self.second_close.get_or_insert(now);
        let hold = self.gate().map_or(Duration::ZERO, |gate| gate.hold_tcp);
        let announced = if hold.is_zero() { None } else { self.announce_first(|gate| !gate.hold_tcp.is_zero()) };
        if self.side == Side::Server && hold.is_zero() {
            return self.end_own_direction().or(announced.map(Happening::Injected));
        }
        self.state =
            if hold.is_zero() { State::FinAwaited { until: after(now, self.limits.fin) } } else { State::HoldingTcp { until: now + hold } };
        announced.map(Happening::Injected)
    }

    /// Our FIN goes out, behind our Close frame; then the peer's is awaited.
    fn end_own_direction(&mut self) -> Option<Happening> {
        self.flush_now();
        let mut cx = Context::from_waker(Waker::noop());
        let _ = Pin::new(self.connection().tap()).poll_shutdown(&mut cx);
        // TLS above the link sends close_notify in shutdown; the FIN itself must not wait for the peer's.
        let _ = self.connection().link_mut().finish();
        self.state = State::FinAwaited { until: after(Instant::now(), self.limits.fin) };
        None
    }

    /// The peer broke the protocol: Close with the RFC's code, FIN, drained (RFC 6455 §7.1.7).
    fn fail(&mut self, code: u16) -> Happening {
        self.initiator.get_or_insert(self.side);
        self.connection().queue_close(Some(code), "");
        self.flush_now();
        self.end_locally(End::Fin, TcpEnd::Local)
    }

    /// TCP ended on the peer's part.
    fn peer_ended(&mut self) -> Option<Happening> {
        if matches!(self.state, State::HoldingTcp { .. }) && self.connection().link().end() != TcpEnd::Rst {
            self.peer_done = true;
            return None;
        }
        let connection = self.connection();
        let mid_frame = connection.tap().mid_frame();
        let end = match connection.link().end() {
            // TLS said goodbye before TCP did.
            TcpEnd::None => TcpEnd::Fin,
            end => end,
        };
        self.initiator.get_or_insert(if end == TcpEnd::Timeout { self.side } else { other(self.side) });
        let by_path = end == TcpEnd::Timeout;
        let happening = self.ended(end, mid_frame, by_path);
        self.bury();
        Some(happening)
    }

    /// Behind a dead path even the kernel's FIN must not come out: the socket stays open to the end of the run.
    fn bury(&mut self) {
        if let Some(connection) = self.connection.take_if(|connection| connection.link().discards_writes()) {
            tokio::spawn(async move {
                tokio::time::sleep(DEAD_PATH).await;
                drop(connection);
            });
        }
    }

    // Time

    fn timer(&mut self, wake: Option<Instant>) -> Option<Happening> {
        let now = Instant::now();
        if self.state_deadline().is_some_and(|at| at <= now) {
            return self.state_over();
        }
        if self.beat_deadline().is_some_and(|at| at <= now) {
            return self.beat(now);
        }
        wake.filter(|at| *at <= now).map(|_| Happening::Woken)
    }

    fn state_over(&mut self) -> Option<Happening> {
        match self.state {
            State::AnswerDue { .. } => self.answer(),
            State::HoldingTcp { .. } if self.peer_done => Some(self.ended(TcpEnd::Fin, false, false)),
            State::HoldingTcp { .. } => self.end_own_direction(),
            State::HalfClosed { .. } => Some(self.end_locally(End::Fin, TcpEnd::Local)),
            _ => Some(self.end_locally(End::Fin, TcpEnd::Timeout)),
        }
    }

    fn beat(&mut self, now: Instant) -> Option<Happening> {
        let beat = self.heartbeat.as_mut()?;
        if beat.awaited.is_some() {
            self.cause.get_or_insert(Cause::Deadline(Deadline::Pong));
            return Some(self.end_locally(End::Fin, TcpEnd::Local));
        }
        beat.count += 1;
        beat.awaited = Some(now);
        let payload = Bytes::copy_from_slice(&beat.count.to_be_bytes());
        self.send(Message::Ping(payload));
        None
    }

    // The end

    /// This side ends TCP now. What is left of the socket lingers in a task of its own, bounded.
    fn end_locally(&mut self, end: End, tcp_end: TcpEnd) -> Happening {
        self.initiator.get_or_insert(self.side);
        let happening = self.ended(tcp_end, false, false);
        if let Some(mut connection) = self.connection.take() {
            match end {
                End::Rst => connection.link().reset(),
                End::Fin | End::Hold => {
                    // Behind a dead path even the kernel's FIN must not come out: the socket stays open to the end of the run.
                    let limit = if connection.link().discards_writes() { DEAD_PATH } else { LINGER };
                    let _ = connection.link_mut().finish();
                    tokio::spawn(async move {
                        let _ = timeout(limit, poll_fn(|cx| connection.poll_drain(cx))).await;
                    });
                }
            }
        }
        happening
    }

    fn ended(&mut self, tcp_end: TcpEnd, mid_frame: bool, by_path: bool) -> Happening {
        self.state = State::Ended;
        let after_close = self.connection().tap().after_close();
        let connection = self.connection();
        let frame = connection.close_frame().cloned();
        let wire_sent = connection.wire_sent();
        let wire_received = frame.as_ref().map(|frame| frame.code);
        let valid = frame.as_ref().is_some_and(|frame| frame.answer == Answer::Echo);
        let code = if valid { reported(wire_received) } else { reported(None) };
        // The peer failed the connection over what it was sent: 1002, 1007 or 1009 (RFC 6455 §7.1.7), or no word at all.
        let failed = matches!(wire_received, None | Some(PROTOCOL_ERROR | INVALID_PAYLOAD | TOO_BIG));
        let answered = self.provoked.filter(|_| failed);
        let initiator = match self.initiator {
            _ if by_path => Initiator::None,
            Some(Side::Client) => Initiator::Client,
            Some(Side::Server) => Initiator::Server,
            _ => Initiator::None,
        };
        let ending = Ending {
            cause: self.cause.or(answered.map(Cause::Fault)).unwrap_or(Cause::Remote),
            fault: self.fault,
            initiator,
            wire_received,
            wire_sent,
            tcp_end,
            mid_frame,
            clean: valid && wire_sent.is_some() && tcp_end == TcpEnd::Fin,
            code,
            reason: frame.filter(|_| valid).map(|frame| frame.reason).unwrap_or_default(),
            bytes_after: self.bytes_after + after_close,
        };
        let ack = |first: Instant| self.second_close.map(|second| second - first);
        let closing = self.first_close.map(|first| Closing { ack: ack(first), total: first.elapsed() });
        Happening::Ended { ending: Box::new(ending), closing }
    }

    /// The fault whose gate swallowed the pong just answered: told once each.
    fn pong_swallowed(&mut self) -> Option<u16> {
        let dropped = self.connection.as_mut()?.tap().pongs_dropped();
        let faults = self.faults.as_mut()?;
        if dropped == faults.pongs_dropped {
            return None;
        }
        faults.pongs_dropped = dropped;
        self.announce_first(|gate| gate.drop_pongs)
    }
}

enum What {
    Command(Command),
    Incoming(Incoming),
    Timer,
}

fn after(now: Instant, limit: Duration) -> Option<Instant> {
    (!limit.is_zero()).then(|| now + limit)
}

fn other(side: Side) -> Side {
    if side == Side::Server { Side::Client } else { Side::Server }
}
