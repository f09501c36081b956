//! What faults do to a session: gates, steps, and what a connection may have enough of.

use super::super::control::{Command, Dose};
use super::{Happening, STEP_FLUSH, STEP_RATE, Session, State, after};
use crate::close::{Cause, TcpEnd};
use crate::fault::{CLOSE, End, Enough, Flow, Frame, Gate, HowEnough, Since, Step};
use crate::ws::Connection;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// What faults have left on this connection; boxed when the first one comes.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) active: Vec<(u16, Gate)>,
    pub(super) gate: Gate,
    pub(super) steps: VecDeque<(u16, Step)>,
    /// The steps left wait until then; reading goes on.
    pub(super) waits: Option<Instant>,
    pub(super) watches: Vec<Watch>,
    pub(super) announced: Vec<u16>,
    pub(super) pongs_dropped: u32,
}

impl Faults {
    /// The next step, unless it has to wait.
    fn next_step(&mut self, now: Instant) -> Option<(u16, Step)> {
        self.waits.take_if(|until| *until <= now);
        if self.waits.is_some() { None } else { self.steps.pop_front() }
    }
}

/// An [`Enough`] being watched.
#[derive(Debug)]
pub(super) struct Watch {
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
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.over, self.enough.idle.map(|idle| self.seen.1 + idle)].into_iter().flatten().min()
    }
}

impl Session {
    pub(super) fn command(&mut self, command: Command) -> Option<Happening> {
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

    pub(super) fn faults(&mut self) -> &mut Faults {
        self.faults.get_or_insert_default()
    }

    pub(super) fn gate(&self) -> Option<&Gate> {
        self.faults.as_ref().map(|faults| &faults.gate)
    }

    pub(super) fn inject(&mut self, dose: &Arc<Dose>) -> Option<Happening> {
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
    pub(super) fn watch(&mut self, dose: &Dose) {
        let ((seed, number), opened) = (self.origin, self.opened);
        for enough in &dose.gate.enough {
            let jitter = seed.stream(&format!("connection/{number}/enough/{}", dose.fault)).unit();
            let watch = Watch::new(dose.fault, enough.clone(), opened, self.connection(), jitter);
            self.faults().watches.push(watch);
        }
    }

    /// Ends the connection if it has had enough.
    pub(super) fn look(&mut self) -> Option<Happening> {
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
    pub(super) fn announce(&mut self, fault: u16) -> Option<Happening> {
        self.fault = Some(fault);
        self.faults().announced.push(fault);
        Some(Happening::Injected(fault))
    }

    /// A gate without flow acts when it first changes something.
    pub(super) fn announce_first(&mut self, which: impl Fn(&Gate) -> bool) -> Option<u16> {
        let faults = self.faults.as_mut()?;
        let fault = faults.active.iter().find(|(fault, gate)| which(gate) && !faults.announced.contains(fault))?.0;
        faults.announced.push(fault);
        self.fault = Some(fault);
        Some(fault)
    }

    pub(super) fn apply_gates(&mut self) {
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

    pub(super) fn revert(&mut self, fault: u16) -> Option<Happening> {
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
    pub(super) async fn carry_out(&mut self) -> Option<Happening> {
        while let Some((fault, step)) = self.faults.as_mut().and_then(|faults| faults.next_step(Instant::now())) {
            match step {
                Step::Close { code, reason } => self.close(Cause::Fault(fault), code, &reason),
                Step::Frames(frames) => self.send_frames(fault, &frames).await,
                Step::Wait(time) => self.faults().waits = Some(Instant::now() + time),
                Step::HalfClose { keep_reading } => {
                    self.flush_step().await;
                    self.cause.get_or_insert(Cause::Fault(fault));
                    self.initiator.get_or_insert(self.side);
                    // Fails only where the peer's RST is on its way; reading tells.
                    let _ = self.connection().link_mut().finish();
                    self.state = State::HalfClosed { until: after(Instant::now(), keep_reading) };
                }
                Step::End(End::Fin) if self.second_close.is_some() && self.peer_done => {
                    return Some(self.ended(TcpEnd::Fin, false, false));
                }
                // The peer answered meanwhile: this is the usual end of a closing handshake.
                Step::End(End::Fin) if self.second_close.is_some() => drop(self.end_own_direction()),
                Step::End(end) => {
                    self.cause.get_or_insert(Cause::Fault(fault));
                    return Some(self.end_locally(end, TcpEnd::Local));
                }
            }
        }
        None
    }

    /// Puts frames on the wire as they are. A Close frame among them starts the closing handshake.
    pub(super) async fn send_frames(&mut self, fault: u16, frames: &[Frame]) {
        for frame in frames {
            self.connection().queue_frame(frame);
        }
        if self.faults().steps.is_empty() {
            // Reading goes on, and so do commands: the revert of a freeze must not wait behind its own jam.
            self.flush_now();
        } else {
            self.flush_step().await;
        }
        self.provoked = Some(fault);
        if self.state == State::Open && frames.iter().any(|frame| frame.opcode == CLOSE) {
            let now = Instant::now();
            self.cause.get_or_insert(Cause::Fault(fault));
            self.initiator.get_or_insert(self.side);
            self.first_close.get_or_insert(now);
            self.state = State::CloseSent { until: after(now, self.limits.close) };
        }
    }

    /// Waits until the kernel has taken what is queued: as long as it takes some of it each [`STEP_FLUSH`], and no longer than
    /// [`STEP_RATE`] allows for the size.
    async fn flush_step(&mut self) {
        let connection = self.connection();
        let mut left = connection.raw_left();
        let longest = Instant::now() + STEP_FLUSH + Duration::from_secs_f64(left as f64 / STEP_RATE);
        while timeout(STEP_FLUSH, poll_fn(|cx| connection.poll_flush(cx))).await.is_err() {
            let before = std::mem::replace(&mut left, connection.raw_left());
            if left == before || Instant::now() >= longest {
                return;
            }
        }
    }
}
