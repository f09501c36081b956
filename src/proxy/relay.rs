//! Carries one connection: what one side sends goes out on the other, until both have ended or one was reset.
//!
//! With no fault active it has no timer and no buffer: bytes are read into the stack of the poll and written at once, and only what the
//! kernel does not take is kept. FIN passes as FIN in its direction alone, RST as RST. In TLS `close_notify` with FIN passes so; where the other
//! side has no TLS it is a FIN, and a FIN there is both. A FIN without `close_notify` passes as one, and an alert as RST.

use crate::close::TcpEnd;
use crate::fault::End;
use crate::proxy::account::EndedBy;
use crate::proxy::connection::{DirectionCounters, Order, ProxiedConnection, SideEnd};
use crate::proxy::effects::{DirectionEffects, RelayEffects};
use crate::proxy::frames::{StreamSide, StreamWatch};
use crate::seed::Seed;
use crate::transport::Transport;
use crate::transport::link::Link;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Read at once at most, in bytes: a message of this size costs one call each way.
const CHUNK: usize = 64 << 10;
/// After its FIN the proxy waits this long for the peer's.
const FIN_WAIT: Duration = Duration::from_secs(2);

/// One connection through the proxy; a future that is ready when it is over, with how it ended towards the client and the upstream.
pub(crate) struct Relay {
    /// To the client.
    near: Transport,
    /// To the upstream.
    far: Transport,
    up: RelayHalf,
    down: RelayHalf,
    connection: Arc<ProxiedConnection>,
    seed: Seed,
    /// When it ends by an effect, and how.
    end: Option<(Pin<Box<Sleep>>, End)>,
    /// The proxy ended it: what still comes is thrown away, until both peers have ended, or this time.
    closing: Option<Pin<Box<Sleep>>>,
}

/// One direction.
#[derive(Debug)]
struct RelayHalf {
    side: StreamSide,
    state: HalfState,
    /// Read, and not yet taken by the other side.
    waiting: Vec<u8>,
    watch: StreamWatch,
    limit: u64,
    end_delay: Duration,
    fin: Option<Pin<Box<Sleep>>>,
    /// Whoever this direction goes to had ended before the proxy ended it.
    target_first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HalfState {
    Open,
    /// FIN was read and is not yet passed on.
    Ended,
    /// And TLS was not ended before it.
    Cut,
    /// FIN was passed on.
    Finished,
}

/// What became of a direction that no longer waits for bytes, room or a timer.
enum HalfPoll {
    /// It is over.
    Finished,
    /// As many bytes passed as may.
    Enough,
}

impl Relay {
    /// Between two connections that are ready to talk. `seed` makes the random streams of shaped directions.
    pub(crate) fn new(near: Transport, far: Transport, connection: Arc<ProxiedConnection>, seed: Seed) -> Self {
        let (up, down) = (RelayHalf::new(StreamSide::Up), RelayHalf::new(StreamSide::Down));
        Relay { near, far, up, down, connection, seed, end: None, closing: None }
    }

    /// From now on this holds, and no longer what held before.
    fn apply(&mut self, effects: &RelayEffects) {
        let (seed, id) = (self.seed, self.connection.id);
        let random = |direction: &'static str| move |_: &str| seed.stream(&format!("proxy/{id}/{direction}"));
        self.far.link_mut().set_gate(&effects.up.gate(), random("up"));
        self.near.link_mut().set_gate(&effects.down.gate(), random("down"));
        self.up.apply(&effects.up);
        self.down.apply(&effects.down);
        self.end = effects.end.map(|(at, how)| (Box::pin(sleep_until(at)), how));
    }

    /// Ends it: both sides get a FIN behind what is on its way to them, or an RST. Ready if there is nothing left to wait for.
    fn finish(&mut self, how: End, by: EndedBy) -> Poll<()> {
        self.end = None;
        self.connection.ends_by(by);
        self.up.note_first(&self.far);
        self.down.note_first(&self.near);
        if how == End::Rst {
            self.near.link_mut().reset();
            self.far.link_mut().reset();
            return Poll::Ready(());
        }
        // What discards bytes would discard the FIN, too.
        self.apply(&RelayEffects::default());
        for link in [self.near.link_mut(), self.far.link_mut()] {
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
        for link in [self.near.link_mut(), self.far.link_mut()] {
            ended &= drain(link, cx).is_ready() & link.poll_drained(cx).is_ready();
        }
        if over || ended { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_halves(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Relay { near, far, up, down, connection, .. } = self;
        let there = up.poll(cx, near, far, connection);
        let back = down.poll(cx, far, near, connection);
        match (there, back) {
            // One was reset, or is gone: so is the other.
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => {
                let by = if self.far.link().end() == TcpEnd::None { EndedBy::Client } else { EndedBy::Server };
                self.finish(End::Rst, by)
            }
            (Poll::Ready(Ok(HalfPoll::Enough)), _) | (_, Poll::Ready(Ok(HalfPoll::Enough))) => self.finish(End::Fin, EndedBy::Proxy),
            (Poll::Ready(Ok(HalfPoll::Finished)), Poll::Ready(Ok(HalfPoll::Finished))) => {
                ready!(self.near.link_mut().poll_drained(cx));
                self.far.link_mut().poll_drained(cx)
            }
            _ => Poll::Pending,
        }
    }
}

impl Future for Relay {
    type Output = (SideEnd, SideEnd);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(SideEnd, SideEnd)> {
        let relay = &mut *self;
        ready!(relay.poll_over(cx));
        let end = |of: &Transport, from: &RelayHalf, to: &RelayHalf| SideEnd {
            end: of.link().end(),
            own_end: of.link().own_end(),
            first: to.target_first,
            mid_frame: from.watch.mid_frame(),
        };
        Poll::Ready((end(&relay.near, &relay.up, &relay.down), end(&relay.far, &relay.down, &relay.up)))
    }
}

impl Relay {
    /// Carries it on; ready when it is over.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let relay = self;
        relay.connection.waker.register(cx.waker());
        for (order, _done) in relay.connection.take_orders() {
            match order {
                // It is on its way out.
                Order::Effects(_) | Order::End(End::Fin) if relay.closing.is_some() => {}
                Order::Effects(effects) => relay.apply(&effects),
                Order::End(how) if relay.finish(how, EndedBy::Proxy).is_ready() => return Poll::Ready(()),
                Order::End(_) => {}
            }
        }
        relay.near.link_mut().poll_shaped(cx);
        relay.far.link_mut().poll_shaped(cx);
        if relay.closing.is_none() {
            // A timer that is over when it is set takes a millisecond, in which bytes would pass.
            let is_due = |at: &mut Pin<Box<Sleep>>, cx: &mut _| at.deadline() <= Instant::now() || at.as_mut().poll(cx).is_ready();
            let due = relay.end.as_mut().and_then(|(at, how)| is_due(at, cx).then_some(*how));
            let over = match due {
                Some(how) => relay.finish(how, EndedBy::Proxy),
                None => relay.poll_halves(cx),
            };
            if over.is_ready() {
                return Poll::Ready(());
            }
        }
        relay.poll_closing(cx)
    }
}

impl RelayHalf {
    fn new(side: StreamSide) -> Self {
        let (waiting, watch) = (Vec::new(), StreamWatch::new());
        RelayHalf {
            side,
            state: HalfState::Open,
            waiting,
            watch,
            limit: u64::MAX,
            end_delay: Duration::ZERO,
            fin: None,
            target_first: false,
        }
    }

    fn apply(&mut self, effects: &DirectionEffects) {
        self.limit = effects.limit.unwrap_or(u64::MAX);
        self.end_delay = effects.end_delay;
        // A FIN that waits begins to wait again, by what holds now.
        self.fin = None;
    }

    /// Moves bytes as long as there are any and there is room. `Err`: one of both sides is gone.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Transport,
        to: &mut Transport,
        connection: &ProxiedConnection,
    ) -> Poll<io::Result<HalfPoll>> {
        let counters = match self.side {
            StreamSide::Up => &connection.up,
            StreamSide::Down => &connection.down,
        };
        loop {
            while !self.waiting.is_empty() {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.waiting))?;
                passed_on(counters, to.link(), written);
                if written == self.waiting.len() {
                    // An idle connection keeps no buffer.
                    self.waiting = Vec::new();
                } else {
                    self.waiting.drain(..written);
                }
            }
            let passed = counters.bytes.load(Ordering::Relaxed);
            if self.limit <= passed {
                return Poll::Ready(Ok(HalfPoll::Enough));
            }
            match self.state {
                HalfState::Finished => return Poll::Ready(Ok(HalfPoll::Finished)),
                HalfState::Ended => {
                    ready!(self.poll_end_delay(cx));
                    self.note_first(to);
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.state = HalfState::Finished;
                    continue;
                }
                HalfState::Cut => {
                    ready!(self.poll_end_delay(cx));
                    self.note_first(to);
                    ready!(Pin::new(&mut *to).poll_flush(cx))?;
                    ready!(Pin::new(to.link_mut()).poll_shutdown(cx))?;
                    self.state = HalfState::Finished;
                    continue;
                }
                // TLS keeps what the kernel does not take.
                HalfState::Open => ready!(Pin::new(&mut *to).poll_flush(cx))?,
            }
            let mut chunk = [const { MaybeUninit::uninit() }; CHUNK];
            let mut buffer = ReadBuf::uninit(&mut chunk);
            match ready!(Pin::new(&mut *from).poll_read(cx, &mut buffer)) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && from.link().end() == TcpEnd::Fin => {
                    self.ended(HalfState::Cut, connection);
                    continue;
                }
                read => read?,
            }
            let room = usize::try_from(self.limit.saturating_sub(passed)).unwrap_or(usize::MAX);
            let bytes = &buffer.filled()[..buffer.filled().len().min(room)];
            if buffer.filled().is_empty() {
                self.ended(HalfState::Ended, connection);
                continue;
            }
            self.watch.follow(self.side, connection, bytes);
            let mut rest = bytes;
            while !rest.is_empty() {
                match Pin::new(&mut *to).poll_write(cx, rest) {
                    Poll::Ready(Ok(count)) => {
                        passed_on(counters, to.link(), count);
                        rest = &rest[count..];
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        self.waiting = rest.to_vec();
                        break;
                    }
                }
            }
        }
    }

    /// Nothing more comes.
    fn ended(&mut self, state: HalfState, connection: &ProxiedConnection) {
        self.state = state;
        connection.ends_by(if self.side == StreamSide::Up { EndedBy::Client } else { EndedBy::Server });
    }

    /// The proxy is about to end the link on which this direction is written.
    fn note_first(&mut self, to: &Transport) {
        self.target_first |= to.link().own_end().is_none() && to.link().end() != TcpEnd::None;
    }

    fn poll_end_delay(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.end_delay.is_zero() {
            return Poll::Ready(());
        }
        let due = Instant::now() + self.end_delay;
        self.fin.get_or_insert_with(|| Box::pin(sleep_until(due))).as_mut().poll(cx)
    }
}

fn passed_on(counters: &DirectionCounters, to: &Link, bytes: usize) {
    if !to.discards_writes() {
        DirectionCounters::add(&counters.passed_on, bytes as u64);
    }
}

/// Reads and throws away; ready when the peer has ended.
fn drain(link: &mut Link, cx: &mut Context<'_>) -> Poll<()> {
    let mut scratch = [const { MaybeUninit::uninit() }; 4096];
    loop {
        let mut buffer = ReadBuf::uninit(&mut scratch);
        match ready!(Pin::new(&mut *link).poll_read(cx, &mut buffer)) {
            Ok(()) if !buffer.filled().is_empty() => {}
            _ => return Poll::Ready(()),
        }
    }
}
