//! Carries one connection: what one side sends goes out on the other, until both have ended or one was reset.
//!
//! With no fault active it has no timer and no buffer: bytes are read into the stack of the poll and written at once, and only what the
//! kernel does not take is kept. FIN passes as FIN in its direction alone, RST as RST. In TLS `close_notify` with FIN passes so; where the other
//! side has no TLS it is a FIN, and a FIN there is both. A FIN without `close_notify` passes as one, and an alert as RST.

use crate::fault::{End, Side};
use crate::proxy::account::EndedBy;
use crate::proxy::connection::{Order, ProxiedConnection, SideEnd, TOO_LATE};
use crate::proxy::effects::RelayEffects;
use crate::proxy::frames::StreamSide;
use crate::proxy::half::{HalfContext, HalfPoll, RelayHalf};
use crate::proxy::parts::{RelayParts, RelayVerdict};
use crate::proxy::relay_faults::RelayFaults;
use crate::seed::Seed;
use crate::transport::Transport;
use crate::transport::link::Link;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// After its FIN the proxy waits this long for the peer's.
const FIN_WAIT: Duration = Duration::from_secs(2);

/// One connection through the proxy; a future that is ready when it is over, with how it ended towards the client and the upstream.
pub(crate) struct Relay {
    pub(crate) parts: RelayParts,
    /// When it ends by an effect, and how.
    end: Option<(Pin<Box<Sleep>>, End)>,
    /// The proxy ended it: what still comes is thrown away, until both peers have ended, or this time.
    closing: Option<Pin<Box<Sleep>>>,
    /// What faults have left on it.
    faults: Option<Box<RelayFaults>>,
}

impl Relay {
    /// Between two connections that are ready to talk. `seed` makes the random streams of shaped directions.
    pub(crate) fn new(near: Transport, far: Transport, connection: Arc<ProxiedConnection>, seed: Seed) -> Self {
        let (up, down) = (RelayHalf::new(StreamSide::Up), RelayHalf::new(StreamSide::Down));
        let parts = RelayParts { near, far, up, down, connection, seed, toxics: None, dead: false, gone: [None; 2] };
        Relay { parts, end: None, closing: None, faults: None }
    }

    /// From now on this holds, and no longer what held before.
    fn apply(&mut self, effects: RelayEffects) {
        let parts = &mut self.parts;
        parts.up.apply(&effects.up);
        parts.down.apply(&effects.down);
        self.end = effects.end.map(|(at, how)| (Box::pin(sleep_until(at)), how));
        parts.toxics = (effects != RelayEffects::default()).then(|| Box::new(effects));
        parts.apply_gates(self.faults.as_ref().map(|faults| &faults.held));
    }

    /// Ends it: both sides get a FIN behind what is on its way to them, or an RST. Ready if there is nothing left to wait for.
    fn finish(&mut self, how: End, by: EndedBy) -> Poll<()> {
        (self.end, self.faults) = (None, None);
        let parts = &mut self.parts;
        parts.connection.set_held(Vec::new());
        parts.connection.set_over();
        parts.connection.ends_by(by);
        parts.up.note_first(&parts.far);
        parts.down.note_first(&parts.near);
        if how == End::Rst {
            parts.near.link_mut().reset();
            parts.far.link_mut().reset();
            return Poll::Ready(());
        }
        // What discards bytes would discard the FIN, too.
        self.parts.dead = false;
        self.apply(RelayEffects::default());
        for link in [self.parts.near.link_mut(), self.parts.far.link_mut()] {
            // Fails where the connection is gone, which the next read tells.
            let _ = link.finish();
        }
        self.closing = Some(Box::pin(sleep_until(Instant::now() + FIN_WAIT)));
        Poll::Pending
    }

    /// Throws away what comes, so that the FIN is not an RST, until both peers have ended.
    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limit) = &mut self.closing else { return Poll::Pending };
        let over = limit.as_mut().poll(cx).is_ready();
        let mut ended = true;
        for link in [self.parts.near.link_mut(), self.parts.far.link_mut()] {
            ended &= drain(link, cx).is_ready() & link.poll_drained(cx).is_ready();
        }
        if over || ended { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Carries orders out. Ready if that was the end.
    fn obey(&mut self) -> Poll<()> {
        for (order, _done) in self.parts.connection.take_orders() {
            let verdict = match order {
                Order::End(how) if how == End::Rst || self.closing.is_none() => RelayVerdict::Ends(how, EndedBy::Proxy),
                // It is on its way out.
                Order::Inject(dose) if self.closing.is_some() => {
                    dose.stamp.not_carried_out(&self.parts.connection.named(), TOO_LATE);
                    RelayVerdict::GoesOn
                }
                _ if self.closing.is_some() => RelayVerdict::GoesOn,
                Order::Effects(effects) => {
                    self.apply(*effects);
                    RelayVerdict::GoesOn
                }
                order => RelayFaults::order(&mut self.faults, &mut self.parts, order),
            };
            if self.carry_out(verdict).is_ready() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// `Pending`: it goes on, or is on its way out.
    fn carry_out(&mut self, verdict: RelayVerdict) -> Poll<()> {
        match verdict {
            RelayVerdict::GoesOn | RelayVerdict::Dead => Poll::Pending,
            RelayVerdict::Ends(how, by) => self.finish(how, by),
            RelayVerdict::Over => Poll::Ready(()),
        }
    }

    /// Bytes pass, and faults act, until both wait for something.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> RelayVerdict {
        // A timer that is over when it is set takes a millisecond, in which bytes would pass.
        let is_due = |at: &mut Pin<Box<Sleep>>, cx: &mut _| at.deadline() <= Instant::now() || at.as_mut().poll(cx).is_ready();
        if let Some(how) = self.end.as_mut().and_then(|(at, how)| is_due(at, cx).then_some(*how)) {
            return RelayVerdict::Ends(how, EndedBy::Proxy);
        }
        let Relay { parts, faults, .. } = self;
        let Some(faults) = faults else { return poll_halves(parts, cx, None) };
        loop {
            let verdict = faults.act(parts, cx);
            if verdict != RelayVerdict::GoesOn {
                return verdict;
            }
            let verdict = poll_halves(parts, cx, Some(&mut **faults));
            if verdict != RelayVerdict::GoesOn {
                return verdict;
            }
            if !faults.again(parts) {
                break;
            }
        }
        if faults.is_over(parts) {
            self.faults = None;
        }
        RelayVerdict::GoesOn
    }
}

/// Bytes pass in both directions until both wait for something.
fn poll_halves(parts: &mut RelayParts, cx: &mut Context<'_>, mut faults: Option<&mut RelayFaults>) -> RelayVerdict {
    let context = faults.as_deref().map_or_else(Default::default, RelayFaults::context);
    let RelayParts { near, far, up, down, connection, .. } = parts;
    let mut poll = |half: &mut RelayHalf, from: &mut Transport, to: &mut Transport, closed| {
        let direction = half.side;
        let mut ask = || faults.as_mut().is_some_and(|faults| faults.ask(direction));
        let of = HalfContext {
            connection,
            cap: context.cap,
            awaited: context.awaited,
            faulty: context.faulty,
            closed,
            hold: context.hold[direction as usize],
            ask: &mut ask,
        };
        half.poll(cx, from, to, of)
    };
    let there = poll(&mut *up, &mut *near, &mut *far, down.closed);
    let back = poll(down, far, near, up.closed);
    match (there, back) {
        // One was reset, or is gone: so is the other.
        (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => match faults {
            Some(faults) => faults.broken(parts),
            None => RelayVerdict::Ends(End::Rst, parts.broken_by()),
        },
        (Poll::Ready(Ok(HalfPoll::Opened)), _) | (_, Poll::Ready(Ok(HalfPoll::Opened))) => match faults {
            Some(faults) => faults.opened(parts),
            None => RelayVerdict::GoesOn,
        },
        (Poll::Ready(Ok(HalfPoll::Enough)), _) | (_, Poll::Ready(Ok(HalfPoll::Enough))) => match faults {
            Some(faults) => faults.look(parts).unwrap_or(RelayVerdict::Ends(End::Fin, EndedBy::Proxy)),
            None => RelayVerdict::Ends(End::Fin, EndedBy::Proxy),
        },
        (Poll::Ready(Ok(HalfPoll::Finished)), Poll::Ready(Ok(HalfPoll::Finished))) => {
            let drained = parts.near.link_mut().poll_drained(cx).is_ready() && parts.far.link_mut().poll_drained(cx).is_ready();
            if drained { RelayVerdict::Over } else { RelayVerdict::GoesOn }
        }
        _ => RelayVerdict::GoesOn,
    }
}

impl Future for Relay {
    type Output = (SideEnd, SideEnd);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(SideEnd, SideEnd)> {
        ready!(self.poll_over(cx));
        let RelayParts { up, down, .. } = &self.parts;
        let end = |of: Side, from: &RelayHalf, to: &RelayHalf| {
            let (end, own_end) = self.parts.ends_of(of);
            SideEnd { end, own_end, first: to.target_first, mid_frame: from.watch.mid_frame(), kept: from.keeps() }
        };
        Poll::Ready((end(Side::Client, up, down), end(Side::Server, down, up)))
    }
}

impl Relay {
    /// Carries it on; ready when it is over.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let relay = self;
        relay.parts.connection.waker.register(cx.waker());
        if relay.obey().is_ready() {
            return Poll::Ready(());
        }
        relay.parts.near.link_mut().poll_shaped(cx);
        relay.parts.far.link_mut().poll_shaped(cx);
        if relay.closing.is_none() {
            let verdict = relay.poll_open(cx);
            if relay.carry_out(verdict).is_ready() {
                return Poll::Ready(());
            }
        }
        relay.poll_closing(cx)
    }
}

/// Reads and throws away; ready when the peer has ended.
pub(crate) fn drain(link: &mut Link, cx: &mut Context<'_>) -> Poll<()> {
    let mut scratch = [const { MaybeUninit::uninit() }; 4096];
    loop {
        let mut buffer = ReadBuf::uninit(&mut scratch);
        match ready!(Pin::new(&mut *link).poll_read(cx, &mut buffer)) {
            Ok(()) if !buffer.filled().is_empty() => {}
            _ => return Poll::Ready(()),
        }
    }
}

#[cfg(test)]
mod tests;
