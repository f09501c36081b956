//! Carries out what faults ask of one connection through the proxy: steps, limits, floods, and what becomes of a dead path.

use crate::fault::{CLOSE, End, Frame, HowEnough, InjectionStep, PING, Payload, Side};
use crate::plan::{KEPT_AFTER_PEER, PEER_CHECK};
use crate::proxy::account::EndedBy;
use crate::proxy::connection::{DirectionCounters, Order, ProxiedConnection, Speech, TOO_LATE};
use crate::proxy::faults::dose::ProxyDose;
use crate::proxy::faults::held::HeldFaults;
use crate::proxy::frames::{StreamSide, StreamWatch};
use crate::proxy::half::{HalfState, both};
use crate::proxy::parts::{RelayParts, RelayVerdict};
use crate::ws::session::injected::WatchCounts;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// After a Close frame of the proxy both peers have this long to end the connection.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// How long a step waits for a link that takes no bytes before the next step comes.
const STEP_FLUSH: Duration = Duration::from_secs(1);
/// Bytes each second that a step waits for beyond that.
const STEP_RATE: f64 = (1 << 20) as f64;
/// Bytes of a flood that are put in at once.
const BATCH: u64 = 64 << 10;

/// Faults on one connection.
pub(crate) struct RelayFaults {
    pub(crate) held: HeldFaults,
    /// Messages that were one too many.
    spent: Vec<(HowEnough, Arc<ProxyDose>)>,
    /// The proxy sent a Close frame: the connection ends at the latest then.
    closes_by: Option<Instant>,
    /// To both peers.
    closes_both: bool,
    /// The path to one side died with the other side: nothing brings it back.
    half_open: bool,
    /// FIN went to one side, as what the proxy acts, and the rest ends then; `None`: when that side ends.
    cut: Option<(Side, Option<Instant>)>,
    /// What is left of a dead path is kept so long.
    kept: Option<Instant>,
    /// Bytes and states after the last look.
    seen: (u64, bool, bool, HalfState, HalfState),
    again: bool,
    changed: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

/// What directions must know of faults.
pub(crate) struct FaultContext {
    pub(crate) cap: u64,
    pub(crate) awaited: bool,
    pub(crate) faulty: bool,
    /// By direction.
    pub(crate) hold: [Duration; 2],
}

impl Default for FaultContext {
    fn default() -> Self {
        FaultContext { cap: u64::MAX, awaited: false, faulty: false, hold: [Duration::ZERO; 2] }
    }
}

impl RelayFaults {
    fn new(parts: &RelayParts) -> Self {
        let connection = &parts.connection;
        RelayFaults {
            held: HeldFaults::new(parts.seed, &connection.proxy, connection.id),
            spent: Vec::new(),
            closes_by: None,
            closes_both: false,
            half_open: false,
            cut: None,
            kept: None,
            seen: (0, true, true, HalfState::Open, HalfState::Open),
            again: false,
            changed: true,
            timer: None,
        }
    }

    /// Carries an order out that is about faults.
    pub(crate) fn order(faults: &mut Option<Box<RelayFaults>>, parts: &mut RelayParts, order: Order) -> RelayVerdict {
        if let Order::Revert(_) = order
            && faults.is_none()
        {
            return RelayVerdict::GoesOn;
        }
        let faults = faults.get_or_insert_with(|| Box::new(RelayFaults::new(parts)));
        faults.changed = true;
        match order {
            // Nothing passes there any more.
            Order::Inject(dose) if parts.dead => {
                dose.stamp.not_carried_out(&parts.connection.named(), TOO_LATE);
                RelayVerdict::GoesOn
            }
            Order::Close(..) if parts.dead => RelayVerdict::GoesOn,
            Order::Inject(dose) => {
                let plain = || [&parts.up.watch, &parts.down.watch].iter().any(|watch| matches!(watch, StreamWatch::Plain));
                match parts.connection.speech() {
                    _ if !dose.needs_frames() => faults.inject(parts, &dose),
                    Speech::WebSocket => faults.inject(parts, &dose),
                    speech if speech == Speech::Tls || plain() => without_frames(parts, &dose),
                    _ => faults.held.later.push(dose),
                }
                RelayVerdict::GoesOn
            }
            Order::Revert(firing) => {
                let was_silent = faults.is_silent();
                let (hit, resets) = faults.held.revert(firing);
                if hit {
                    parts.apply_gates(Some(&faults.held));
                }
                // A path that comes back tells what became of the other end meanwhile.
                let comes_back = parts.dead && was_silent && !faults.is_silent();
                if !faults.half_open && (resets || comes_back) {
                    RelayVerdict::Ends(End::Rst, EndedBy::Proxy)
                } else {
                    RelayVerdict::GoesOn
                }
            }
            Order::Close(code, reason) => {
                for side in [Side::Server, Side::Client] {
                    faults.send(parts, side, &[Frame::close(Some(code), reason.as_bytes())]);
                }
                faults.closes_both = true;
                RelayVerdict::GoesOn
            }
            Order::Effects(_) | Order::End(_) => RelayVerdict::GoesOn,
        }
    }

    fn inject(&mut self, parts: &mut RelayParts, dose: &Arc<ProxyDose>) {
        if self.held.inject(dose, parts.connection.opened, counts(&parts.connection)) {
            dose.stamp.acts(&parts.connection.named());
        }
        for (half, counters) in [(&mut parts.up, &parts.connection.up), (&mut parts.down, &parts.connection.down)] {
            if counters.close_code().is_some() {
                half.closed.get_or_insert_with(Instant::now);
            }
        }
        parts.apply_gates(Some(&self.held));
    }

    /// What directions must know.
    pub(crate) fn context(&self) -> FaultContext {
        let hold = [Side::Client, Side::Server].map(|side| self.held.gate(side).hold_tcp);
        FaultContext { cap: self.held.byte_cap(), awaited: !self.held.later.is_empty(), faulty: true, hold }
    }

    /// Whether a message that comes in this direction is one too many.
    pub(crate) fn ask(&mut self, direction: StreamSide) -> bool {
        let spent = self.held.one_too_many(direction);
        let is_spent = spent.is_some();
        self.spent.extend(spent);
        is_spent
    }

    /// A link broke. A dead path carries no word of it.
    pub(crate) fn broken(&mut self, parts: &mut RelayParts) -> RelayVerdict {
        if !parts.near.link().discards_writes() && !parts.far.link().discards_writes() {
            return RelayVerdict::Ends(End::Rst, parts.broken_by());
        }
        parts.connection.ends_by(parts.broken_by());
        let hears = [parts.near.link(), parts.far.link()].map(|link| !link.discards_writes());
        [Side::Client, Side::Server].into_iter().filter(|side| hears[*side as usize]).for_each(|side| parts.let_go(side));
        parts.connection.set_over();
        (parts.dead, self.again) = (true, true);
        RelayVerdict::GoesOn
    }

    /// Frames begin: what waited for them acts before the first.
    pub(crate) fn opened(&mut self, parts: &mut RelayParts) -> RelayVerdict {
        for dose in std::mem::take(&mut self.held.later) {
            self.inject(parts, &dose);
        }
        let first = std::mem::take(&mut parts.down.unstaged);
        match &mut parts.down.stage {
            Some(stage) => stage.push(&first),
            None => parts.down.waiting.extend(first),
        }
        (self.again, self.changed) = (true, true);
        RelayVerdict::GoesOn
    }

    /// Ends the connection if it has had enough; `None`: it has not.
    pub(crate) fn look(&mut self, parts: &mut RelayParts) -> Option<RelayVerdict> {
        let (how, dose) = self.held.enough(counts(&parts.connection), Instant::now())?;
        Some(self.had_enough(parts, how, &dose))
    }

    fn had_enough(&mut self, parts: &mut RelayParts, how: HowEnough, dose: &Arc<ProxyDose>) -> RelayVerdict {
        (self.again, self.changed) = (true, true);
        if self.held.is_news(dose) {
            dose.stamp.acts(&parts.connection.named());
        }
        match how {
            HowEnough::End(end) => self.end(parts, dose.side, end),
            HowEnough::Close(code) => {
                self.send(parts, dose.side, &[Frame::close(Some(code), b"")]);
                RelayVerdict::GoesOn
            }
            HowEnough::Silence => {
                self.held.silence(dose);
                parts.apply_gates(Some(&self.held));
                RelayVerdict::GoesOn
            }
        }
    }

    /// Does what is due. Call it before directions are polled, and again when they have moved.
    pub(crate) fn act(&mut self, parts: &mut RelayParts, cx: &mut Context<'_>) -> RelayVerdict {
        let now = Instant::now();
        let verdict = if parts.dead { self.keep(parts, now) } else { self.act_now(parts, now) };
        if std::mem::take(&mut self.changed) {
            parts.connection.set_held(self.held.held());
        }
        if matches!(verdict, RelayVerdict::GoesOn | RelayVerdict::Dead) {
            self.arm(parts, now, cx);
        }
        verdict
    }

    fn act_now(&mut self, parts: &mut RelayParts, now: Instant) -> RelayVerdict {
        loop {
            let flushed = [Side::Client, Side::Server].map(|side| parts.half(side).is_flushed());
            let Some((dose, step, news)) = self.held.step(now, |side| flushed[side as usize]) else { break };
            if news {
                dose.stamp.acts(&parts.connection.named());
            }
            self.changed = true;
            let verdict = self.step(parts, &dose, step, now);
            if verdict != RelayVerdict::GoesOn {
                return verdict;
            }
        }
        for (how, dose) in std::mem::take(&mut self.spent) {
            let verdict = self.had_enough(parts, how, &dose);
            if verdict != RelayVerdict::GoesOn {
                return verdict;
            }
        }
        if let Some(verdict) = self.look(parts).filter(|verdict| *verdict != RelayVerdict::GoesOn) {
            return verdict;
        }
        if !self.held.later.is_empty() && [&parts.up.watch, &parts.down.watch].iter().any(|watch| matches!(watch, StreamWatch::Plain)) {
            std::mem::take(&mut self.held.later).iter().for_each(|dose| without_frames(parts, dose));
            self.changed = true;
        }
        self.flood(parts, now);
        self.tell_acted(parts);
        self.ends_now(parts, now)
    }

    fn step(&mut self, parts: &mut RelayParts, dose: &Arc<ProxyDose>, step: InjectionStep, now: Instant) -> RelayVerdict {
        match step {
            InjectionStep::Close { code, reason } => self.send(parts, dose.side, &[Frame::close(code, reason.as_bytes())]),
            InjectionStep::Frames(frames) => {
                self.send(parts, dose.side, &frames);
                let left = parts.half(dose.side).waiting.len() as f64 + bytes_of(&frames);
                self.held.pause(dose, now + STEP_FLUSH + Duration::from_secs_f64(left / STEP_RATE));
            }
            InjectionStep::HalfClose { keep_reading } => {
                parts.connection.ends_by(EndedBy::Proxy);
                // Fails only where the peer's RST is on its way; reading tells.
                let _ = parts.link(dose.side).link_mut().finish();
                let half = parts.half(dose.side);
                (half.state, half.waiting, half.stage) = (HalfState::Muted, Vec::new(), None);
                self.cut = Some((dose.side, (!keep_reading.is_zero()).then(|| now + keep_reading)));
            }
            InjectionStep::End(end) => return self.end(parts, dose.side, end),
            InjectionStep::Switch { .. } => return self.end(parts, dose.side, End::Silent),
            // The script waits.
            InjectionStep::Wait(_) => {}
        }
        self.again = true;
        RelayVerdict::GoesOn
    }

    fn end(&mut self, parts: &mut RelayParts, side: Side, end: End) -> RelayVerdict {
        match end {
            End::Hold => RelayVerdict::GoesOn,
            End::Silent => {
                parts.connection.ends_by(EndedBy::Proxy);
                parts.link(side).link_mut().blackhole();
                parts.let_go(side);
                parts.connection.set_over();
                (parts.dead, self.half_open) = (true, true);
                RelayVerdict::Dead
            }
            End::Fin | End::Rst => RelayVerdict::Ends(end, EndedBy::Proxy),
        }
    }

    /// Puts frames in towards whoever suffers from what `side` does. A Close frame among them starts the closing handshake.
    fn send(&mut self, parts: &mut RelayParts, side: Side, frames: &[Frame]) {
        let HeldFaults { masks, .. } = &mut self.held;
        let mut mask = || u32::try_from(masks.below(1 << 32)).unwrap_or_default().to_be_bytes();
        let Some(stage) = parts.frames(side) else { return };
        stage.insert(frames, &mut mask);
        if frames.iter().any(|frame| frame.opcode == CLOSE) {
            parts.connection.ends_by(EndedBy::Proxy);
            self.closes_by.get_or_insert_with(|| Instant::now() + CLOSE_WAIT);
        }
        self.again = true;
    }

    /// Puts in the pings that are due; not while the link takes none.
    fn flood(&mut self, parts: &mut RelayParts, now: Instant) {
        if self.closes_by.is_some() {
            return;
        }
        for index in 0..self.held.floods.len() {
            let (flooding, side) = &mut self.held.floods[index];
            let (bytes, side) = (flooding.flood.bytes, *side);
            if !parts.half(side).is_flushed() {
                continue;
            }
            let count = flooding.due(now).min((BATCH / (bytes + 14)).max(1));
            flooding.sent += count;
            let ping = Frame { payload: Payload::Filled(bytes), ..Frame::new(PING, "") };
            let pings = vec![ping; usize::try_from(count).unwrap_or_default()];
            if !pings.is_empty() {
                self.send(parts, side, &pings);
            }
        }
    }

    /// Tells of gates that act only when something happens.
    fn tell_acted(&mut self, parts: &mut RelayParts) {
        for half in [&mut parts.up, &mut parts.down] {
            let acted = half.stage.as_mut().is_some_and(|stage| stage.take_acted());
            if acted | std::mem::take(&mut half.holds_fin) {
                self.held.acted(half.side).iter().for_each(|dose| dose.stamp.acts(&parts.connection.named()));
            }
        }
    }

    /// Whether something that has happened, or a time that is over, ends the connection.
    fn ends_now(&mut self, parts: &mut RelayParts, now: Instant) -> RelayVerdict {
        let withheld = [&parts.up, &parts.down].into_iter().filter_map(|half| half.stage.as_ref()?.withheld());
        if let Some(end) = withheld.filter(|end| *end != End::Hold).min_by_key(|end| u8::from(*end == End::Fin)) {
            return RelayVerdict::Ends(end, EndedBy::Proxy);
        }
        let connection = &parts.connection;
        let answered = [&connection.up, &connection.down].iter().all(|side| side.close_code().is_some());
        if self.closes_by.is_some_and(|by| by <= now) || self.closes_both && answered && parts.up.is_flushed() && parts.down.is_flushed() {
            return RelayVerdict::Ends(End::Fin, EndedBy::Proxy);
        }
        if let Some((side, until)) = self.cut {
            let other = if side == Side::Client { parts.down.state } else { parts.up.state };
            if until.is_some_and(|until| until <= now) || matches!(other, HalfState::Finished) {
                return RelayVerdict::Ends(End::Fin, EndedBy::Proxy);
            }
        }
        if self.is_silent() && parts.near.link().peer_has_ended() && parts.far.link().peer_has_ended() {
            return RelayVerdict::Ends(End::Rst, EndedBy::Proxy);
        }
        RelayVerdict::GoesOn
    }

    /// Whether an end of a peer may go unseen.
    fn is_silent(&self) -> bool {
        [Side::Client, Side::Server].iter().map(|side| self.held.gate(*side)).any(|gate| gate.discards() || gate.stops())
    }

    /// Keeps what is left of a dead path until its peer is gone and has had time to forget.
    fn keep(&mut self, parts: &mut RelayParts, now: Instant) -> RelayVerdict {
        if parts.near.link().peer_has_ended() && parts.far.link().peer_has_ended() {
            let kept = *self.kept.get_or_insert(now + KEPT_AFTER_PEER);
            if kept <= now {
                return RelayVerdict::Over;
            }
        }
        RelayVerdict::Dead
    }

    /// Wakes the task when something is due.
    fn arm(&mut self, parts: &mut RelayParts, now: Instant, cx: &mut Context<'_>) {
        let cut = self.cut.and_then(|(_, until)| until);
        let check = (parts.dead || self.is_silent()).then(|| now + PEER_CHECK);
        let floods = self.held.floods.iter().filter(|(_, side)| self.closes_by.is_none() && parts.half(*side).is_flushed());
        let floods = floods.map(|(flooding, _)| flooding.next()).min();
        let steps = self.held.deadline().filter(|_| !parts.dead);
        let all = [self.closes_by, cut, check, floods, steps, self.kept];
        let Some(due) = all.into_iter().flatten().min() else { return };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() != due || timer.is_elapsed() {
            timer.as_mut().reset(due);
        }
        self.again |= timer.as_mut().poll(cx).is_ready() && !parts.dead;
    }

    /// Whether directions have moved since the last call, so that there may be more to do.
    pub(crate) fn again(&mut self, parts: &RelayParts) -> bool {
        let seen = (both(&parts.connection), parts.up.is_flushed(), parts.down.is_flushed(), parts.up.state, parts.down.state);
        let moved = std::mem::replace(&mut self.seen, seen) != seen;
        std::mem::take(&mut self.again) | moved
    }

    /// Whether nothing is left of faults.
    pub(crate) fn is_over(&self, parts: &RelayParts) -> bool {
        self.held.is_empty() && !parts.dead && self.closes_by.is_none() && self.cut.is_none() && !self.changed
    }
}

/// What passed so far, in both directions together.
fn counts(connection: &ProxiedConnection) -> WatchCounts {
    let frames = |which: std::ops::Range<usize>| {
        let of = |side: &DirectionCounters| side.frames[which.clone()].iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>();
        of(&connection.up) + of(&connection.down)
    };
    WatchCounts { bytes: both(connection), frames: frames(0..16), messages: frames(0..usize::from(CLOSE)) }
}

fn bytes_of(frames: &[Frame]) -> f64 {
    let length = |frame: &Frame| match &frame.payload {
        Payload::Bytes(bytes) => bytes.len() as u64,
        Payload::Filled(count) => *count,
    };
    frames.iter().map(length).sum::<u64>() as f64
}

fn without_frames(parts: &RelayParts, dose: &ProxyDose) {
    let why = match parts.connection.speech() {
        Speech::Tls => "it is TLS, which passes through: only faults of the TCP connection can act on it",
        _ => "it is no WebSocket: only faults of the TCP connection can act on it",
    };
    dose.stamp.not_carried_out(&parts.connection.named(), why);
}
