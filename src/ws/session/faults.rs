//! What faults do to a session: gates, steps, and what a connection may have enough of.

use crate::close::{Cause, TcpEnd};
use crate::fault::{CLOSE, ConnectionEffects, End, Flow, Frame, HowEnough, InjectionStep};
use crate::plan::Firing;
use crate::ws::session::injected::{Faults, Flooding, Pause, Script, Watch, WatchCounts};
use crate::ws::session::mailbox::{FiredInjection, SessionCommand};
use crate::ws::session::{STEP_FLUSH, STEP_RATE, Session, SessionEvent, SessionState, after};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

impl Session {
    pub(crate) fn command(&mut self, command: SessionCommand) -> Option<SessionEvent> {
        match command {
            SessionCommand::Due(due) => Some(SessionEvent::Due(due)),
            SessionCommand::Inject(dose) => self.inject(&dose),
            SessionCommand::Revert(firing) => self.revert(firing),
            SessionCommand::Close { fault, code, reason } => {
                if self.state != SessionState::Open {
                    return None;
                }
                // A process ends but once at a time: which of its firings it is makes no difference here.
                self.faults().then(Firing { fault, number: 0 }, InjectionStep::Close { code: Some(code), reason: reason.to_string() });
                Some(SessionEvent::Injected(fault))
            }
        }
    }

    pub(crate) fn faults(&mut self) -> &mut Faults {
        self.faults.get_or_insert_default()
    }

    pub(crate) fn gate(&self) -> Option<&ConnectionEffects> {
        self.faults.as_ref().map(|faults| &faults.gate)
    }

    pub(crate) fn inject(&mut self, dose: &Arc<FiredInjection>) -> Option<SessionEvent> {
        let faults = self.faults();
        // Only those with something left are asked about.
        faults.announced.retain(|firing| faults.active.iter().any(|(of, _)| of == firing));
        if !dose.gate.is_open() {
            faults.active.push((dose.firing, dose.gate.clone()));
        }
        faults.floods.extend(dose.gate.ping_flood.iter().map(|flood| Flooding::new(dose.firing, flood.clone())));
        // A fault whose first step is a wait acts after it.
        let steps_now = InjectionStep::act_at_once(&dose.steps);
        if !dose.steps.is_empty() {
            let (steps, told) = (dose.steps.iter().cloned().collect(), steps_now || dose.quiet);
            faults.scripts.push(Script { firing: dose.firing, steps, told, pause: None });
        }
        self.watch(dose);
        self.apply_gates();
        if (steps_now || dose.gate.acts_at_once()) && !dose.quiet { self.announce(dose.firing) } else { None }
    }

    /// Begins to watch what the connection may have enough of.
    pub(crate) fn watch(&mut self, dose: &FiredInjection) {
        let ((seed, number), opened) = (self.origin, self.opened);
        for enough in &dose.gate.enough {
            let random = seed.stream(&format!("connection/{number}/enough/{}", dose.firing.fault));
            let watch = Watch::new(dose.firing, enough.clone(), opened, WatchCounts::of(self.connection()), random);
            self.faults().watches.push(watch);
        }
    }

    /// Ends the connection if it has had enough.
    pub(crate) fn look(&mut self) -> Option<SessionEvent> {
        let Session { faults: Some(faults), connection: Some(connection), state: SessionState::Open, .. } = self else { return None };
        let (now, counts) = (Instant::now(), WatchCounts::of(connection));
        let index = faults.watches.iter_mut().position(|watch| watch.is_enough(counts, now))?;
        self.enough(index)
    }

    /// Ends the connection if the message that came is one too many.
    pub(crate) fn look_at_message(&mut self) -> Option<SessionEvent> {
        let Session { faults: Some(faults), state: SessionState::Open, .. } = self else { return None };
        let mut watches = faults.watches.iter_mut();
        let index = watches.position(|watch| watch.enough.chance > 0.0 && watch.random.unit() < watch.enough.chance)?;
        self.enough(index)
    }

    fn enough(&mut self, index: usize) -> Option<SessionEvent> {
        let faults = self.faults();
        let watch = faults.watches.swap_remove(index);
        let firing = watch.firing;
        match watch.enough.how {
            HowEnough::End(end) => faults.then(firing, InjectionStep::End(end)),
            HowEnough::Close(code) => faults.then(firing, InjectionStep::Close { code: Some(code), reason: String::new() }),
            HowEnough::Silence => {
                faults
                    .active
                    .push((firing, ConnectionEffects { read: Flow::Discard, write: Flow::Discard, ..ConnectionEffects::default() }));
                self.apply_gates();
            }
        }
        self.cap_bytes();
        self.announce(firing)
    }

    /// Lets no byte pass beyond what a fault allows, so that its cut comes exactly there.
    fn cap_bytes(&mut self) {
        let limits = self.faults.iter().flat_map(|faults| &faults.watches);
        let cap = limits.filter_map(|watch| Some(watch.bytes.saturating_add(watch.enough.bytes?))).min();
        self.connection().link_mut().set_byte_limit(cap.unwrap_or(u64::MAX));
    }

    /// The fault acts: told once for each firing, even if its gate has something to do later.
    pub(crate) fn announce(&mut self, firing: Firing) -> Option<SessionEvent> {
        self.faults().announced.push(firing);
        Some(SessionEvent::Injected(firing.fault))
    }

    /// A gate without flow acts when it first changes something.
    pub(crate) fn announce_first(&mut self, which: impl Fn(&ConnectionEffects) -> bool) -> Option<Firing> {
        let faults = self.faults.as_mut()?;
        let firing = faults.active.iter().find(|(firing, gate)| which(gate) && !faults.announced.contains(firing))?.0;
        faults.announced.push(firing);
        Some(firing)
    }

    pub(crate) fn apply_gates(&mut self) {
        let gate = {
            let faults = self.faults();
            faults.gate = faults.active.iter().fold(ConnectionEffects::default(), |all, (_, gate)| all.and(gate));
            faults.gate.clone()
        };
        let (seed, number) = self.origin;
        let connection = self.connection();
        connection.link_mut().set_gate(&gate, |direction| seed.stream(&format!("connection/{number}/{direction}")));
        connection.tap().set_frames(&gate, |direction| seed.stream(&format!("connection/{number}/{direction}")));
        connection.tap().set_drop_pongs(gate.drop_pongs || gate.alters_pongs());
        let now = Instant::now();
        match (gate.asleep, self.faults().asleep) {
            (true, None) => self.faults().asleep = Some(now),
            (false, Some(since)) => {
                self.faults().asleep = None;
                self.wake_after(now - since);
            }
            _ => {}
        }
        self.cap_bytes();
    }

    /// A firing is over: what others have left on this connection stays.
    pub(crate) fn revert(&mut self, firing: Firing) -> Option<SessionEvent> {
        let faults = self.faults.as_mut()?;
        let own = |of: &Firing| *of == firing;
        let hit = faults.active.iter().any(|(of, _)| own(of));
        let reset = faults.active.iter().any(|(of, gate)| own(of) && gate.reset_on_revert);
        let discarded = faults.active.iter().any(|(of, gate)| own(of) && gate.discards());
        faults.active.retain(|(of, _)| !own(of));
        faults.watches.retain(|watch| !own(&watch.firing));
        faults.floods.retain(|flooding| !own(&flooding.firing));
        faults.announced.retain(|of| !own(of));
        if discarded && self.connection().link().discarded() > 0 {
            self.holed = Some(firing.fault);
        }
        self.apply_gates();
        let passes = self.gate().is_none_or(|gate| gate.read == Flow::Pass && gate.write == Flow::Pass);
        if let Some(beat) = self.heartbeat.as_mut().filter(|_| hit && passes) {
            // What came while it hung is read before its timers count against the peer.
            beat.awaited = beat.awaited.map(|_| Instant::now());
        }
        if reset {
            self.faults().then(firing, InjectionStep::End(End::Rst));
        }
        None
    }

    /// Firings by which nothing that this side sends arrives, or will when their present step is carried out.
    pub(crate) fn dead_by(&self) -> Vec<Firing> {
        let Some(faults) = &self.faults else { return Vec::new() };
        let gates = faults.active.iter().filter(|(_, gate)| gate.write == Flow::Discard).map(|(firing, _)| *firing);
        let silent = |script: &&Script| matches!(script.steps.front(), Some(InjectionStep::End(End::Silent)));
        gates.chain(faults.scripts.iter().filter(silent).map(|script| script.firing)).collect()
    }

    /// Whether a step of this sort is still to be carried out.
    pub(crate) fn will(&self, which: impl Fn(&InjectionStep) -> bool) -> bool {
        self.faults.as_ref().is_some_and(|faults| faults.scripts.iter().flat_map(|script| &script.steps).any(which))
    }

    /// When a step goes on that waits.
    pub(crate) fn step_deadline(&self) -> Option<Instant> {
        self.faults.as_ref()?.scripts.iter().filter_map(|script| Some(script.pause.as_ref()?.until)).min()
    }

    /// Carries out the steps of injections that are due; those of one do not wait for those of another.
    pub(crate) fn carry_out(&mut self) -> Option<SessionEvent> {
        if self.asleep() {
            return None;
        }
        let mut index = 0;
        while index < self.faults.as_ref()?.scripts.len() {
            if let Some(happening) = self.go_on(index) {
                return Some(happening);
            }
            let script = &self.faults().scripts[index];
            if script.pause.is_some() {
                index += 1;
            } else if script.steps.is_empty() {
                self.faults().scripts.remove(index);
            }
        }
        None
    }

    /// The next step of a script, unless it pauses.
    fn go_on(&mut self, index: usize) -> Option<SessionEvent> {
        let (now, flushed) = (Instant::now(), self.connection().is_flushed());
        let script = &mut self.faults().scripts[index];
        if script.pause.as_ref().is_some_and(|pause| !pause.is_over(now, flushed)) {
            return None;
        }
        let waited = script.pause.take().is_some();
        let (firing, fault) = (script.firing, script.firing.fault);
        if !script.told && !matches!(script.steps.front(), None | Some(InjectionStep::Wait(_))) {
            script.told = true;
            return self.announce(firing);
        }
        match script.steps.pop_front()? {
            InjectionStep::Wait(time) => script.pause = Some(Pause { until: now + time, unless_flushed: false }),
            InjectionStep::Close { code, reason } if self.state == SessionState::Crossing => {
                self.cause.get_or_insert(Cause::Fault(fault));
                self.connection().queue_close(code, &reason);
                return self.handshake_complete();
            }
            InjectionStep::Close { code, reason } => self.close(Cause::Fault(fault), code, &reason),
            InjectionStep::Frames(frames) => {
                self.send_frames(fault, &frames);
                self.pause_for_flush(index);
            }
            step @ InjectionStep::HalfClose { .. } if !flushed && !waited => {
                self.faults().scripts[index].steps.push_front(step);
                self.pause_for_flush(index);
            }
            InjectionStep::HalfClose { keep_reading } => {
                self.cause.get_or_insert(Cause::Fault(fault));
                self.initiator.get_or_insert(self.side);
                // Fails only where the peer's RST is on its way; reading tells.
                let _ = self.connection().link_mut().finish();
                self.state = SessionState::HalfClosed { until: after(now, keep_reading) };
            }
            InjectionStep::End(End::Fin) if self.second_close.is_some() && self.peer_done => {
                return Some(self.ended(TcpEnd::Fin, false, false));
            }
            // The peer answered meanwhile: this is the usual end of a closing handshake.
            InjectionStep::End(End::Fin) if self.second_close.is_some() => drop(self.end_own_direction()),
            InjectionStep::End(end) => {
                self.cause.get_or_insert(Cause::Fault(fault));
                let tcp_end = match end {
                    End::Silent => TcpEnd::None,
                    End::Fin | End::Hold if self.peer_done => TcpEnd::Fin,
                    _ => TcpEnd::Local,
                };
                return Some(self.end_locally(end, tcp_end));
            }
            InjectionStep::Switch { gap } => {
                self.cause.get_or_insert(Cause::Fault(fault));
                self.back = Some(gap);
                return Some(self.end_locally(End::Silent, TcpEnd::None));
            }
        }
        None
    }

    /// What follows waits for the kernel to take what is queued, bounded.
    fn pause_for_flush(&mut self, index: usize) {
        self.flush_now();
        if !self.connection().is_flushed() {
            let left = self.connection().raw_left() as f64;
            let until = Instant::now() + STEP_FLUSH + Duration::from_secs_f64(left / STEP_RATE);
            let pause = Pause { until, unless_flushed: true };
            self.faults().scripts[index].pause = Some(pause);
        }
    }

    /// Puts frames on the wire as they are. A Close frame among them starts the closing handshake.
    fn send_frames(&mut self, fault: u16, frames: &[Frame]) {
        for frame in frames {
            self.connection().queue_frame(frame);
        }
        self.provoked = Some(fault);
        if self.state == SessionState::Open && frames.iter().any(|frame| frame.opcode == CLOSE) {
            let now = Instant::now();
            self.cause.get_or_insert(Cause::Fault(fault));
            self.initiator.get_or_insert(self.side);
            self.first_close.get_or_insert(now);
            self.state = SessionState::CloseSent { until: after(now, self.limits.close) };
        }
    }

    /// Whether the machine is suspended.
    pub(crate) fn asleep(&self) -> bool {
        self.gate().is_some_and(|gate| gate.asleep)
    }

    /// The machine wakes up: its timers go on where they stood.
    fn wake_after(&mut self, slept: Duration) {
        self.slept += slept;
        match &mut self.state {
            SessionState::CloseSent { until } | SessionState::FinAwaited { until } | SessionState::HalfClosed { until } => {
                *until = until.map(|until| until + slept);
            }
            SessionState::AnswerDue { at: until } | SessionState::HoldingTcp { until } => *until += slept,
            SessionState::Open | SessionState::Crossing | SessionState::Withholding | SessionState::Ended => {}
        }
        if let Some(beat) = &mut self.heartbeat {
            beat.next += slept;
        }
        let faults = self.faults();
        faults.scripts.iter_mut().filter_map(|script| script.pause.as_mut()).for_each(|pause| pause.until += slept);
        faults.late_pongs.iter_mut().for_each(|(at, _)| *at += slept);
        faults.floods.iter_mut().for_each(|flooding| flooding.begun += slept);
        for watch in &mut faults.watches {
            watch.over = watch.over.map(|over| over + slept);
            watch.seen.1 += slept;
        }
    }
}
