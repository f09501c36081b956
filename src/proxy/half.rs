//! One direction of a connection through the proxy: what is read on one link is written on the other.

use crate::close::TcpEnd;
use crate::proxy::account::EndedBy;
use crate::proxy::connection::{DirectionCounters, ProxiedConnection, Speech};
use crate::proxy::effects::DirectionEffects;
use crate::proxy::frame_stage::{FrameStage, StageEnd};
use crate::proxy::frames::{StreamSide, StreamWatch};
use crate::transport::Transport;
use crate::transport::link::Link;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Read at once at most, in bytes: a message of this size costs one call each way.
const CHUNK: usize = 64 << 10;

/// One direction.
#[derive(Debug)]
pub(crate) struct RelayHalf {
    pub(crate) side: StreamSide,
    pub(crate) state: HalfState,
    /// Read, and not yet taken by the other side.
    pub(crate) waiting: Vec<u8>,
    pub(crate) watch: StreamWatch,
    limit: u64,
    end_delay: Duration,
    fin: Option<Pin<Box<Sleep>>>,
    /// While a fault acts on frames.
    pub(crate) stage: Option<Box<FrameStage>>,
    /// The first frames, read with the end of the head while faults wait for them.
    pub(crate) unstaged: Vec<u8>,
    /// When its Close frame was seen, as far as faults ask for that.
    pub(crate) closed: Option<Instant>,
    /// FIN is held back by a fault.
    pub(crate) holds_fin: bool,
    /// Whoever this direction goes to had ended before the proxy ended it.
    pub(crate) target_first: bool,
    /// FIN was read without an end of TLS before it.
    cut: bool,
}

/// How far a direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HalfState {
    /// Bytes pass.
    Open,
    /// FIN was read, and what is before it waits for its time.
    Draining,
    /// FIN was read and is not yet passed on.
    Ended,
    /// FIN was passed on.
    Finished,
    /// The proxy's own FIN went out: what still comes is thrown away.
    Muted,
}

/// What became of a direction that no longer waits for bytes, room or a timer.
pub(crate) enum HalfPoll {
    /// It is over.
    Finished,
    /// As many bytes passed as may.
    Enough,
    /// Frames begin, and faults wait for them.
    Opened,
}

/// What a direction must know of the rest of the connection.
pub(crate) struct HalfContext<'a> {
    pub(crate) connection: &'a ProxiedConnection,
    /// No more than this may pass in both directions together.
    pub(crate) cap: u64,
    /// Faults wait for the first frame.
    pub(crate) awaited: bool,
    /// There are faults that ask when Close frames came.
    pub(crate) faulty: bool,
    /// When the Close frame of the other direction was seen.
    pub(crate) closed: Option<Instant>,
    /// FIN waits so long behind the second Close frame.
    pub(crate) hold: Duration,
    /// Draws whether a message is to vanish.
    pub(crate) ask: &'a mut dyn FnMut() -> bool,
}

impl RelayHalf {
    pub(crate) fn new(side: StreamSide) -> Self {
        RelayHalf {
            side,
            state: HalfState::Open,
            waiting: Vec::new(),
            watch: StreamWatch::new(),
            limit: u64::MAX,
            end_delay: Duration::ZERO,
            fin: None,
            stage: None,
            unstaged: Vec::new(),
            closed: None,
            holds_fin: false,
            target_first: false,
            cut: false,
        }
    }

    pub(crate) fn apply(&mut self, effects: &DirectionEffects) {
        self.limit = effects.limit.unwrap_or(u64::MAX);
        self.end_delay = effects.end_delay;
        // A FIN that waits begins to wait again, by what holds now.
        self.fin = None;
    }

    /// A FIN that waits begins to wait again.
    pub(crate) fn fin_again(&mut self) {
        self.fin = None;
    }

    /// Whether all that faults have put in is with the other link.
    pub(crate) fn is_flushed(&self) -> bool {
        self.waiting.is_empty() && self.stage.as_ref().is_none_or(|stage| stage.is_flushed())
    }

    /// Whether something that was read is still here.
    pub(crate) fn keeps(&self) -> bool {
        !self.waiting.is_empty() || self.stage.as_ref().is_some_and(|stage| stage.keeps())
    }

    /// Moves bytes as long as there are any and there is room. `Err`: one of both sides is gone.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Transport,
        to: &mut Transport,
        of: HalfContext<'_>,
    ) -> Poll<io::Result<HalfPoll>> {
        let HalfContext { connection, cap, awaited, faulty, closed, hold, ask } = of;
        let counters = match self.side {
            StreamSide::Up => &connection.up,
            StreamSide::Down => &connection.down,
        };
        loop {
            while !self.waiting.is_empty() && self.state != HalfState::Muted {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.waiting))?;
                passed_on(counters, to.link(), written);
                if written == self.waiting.len() {
                    // An idle connection keeps no buffer.
                    self.waiting = Vec::new();
                } else {
                    self.waiting.drain(..written);
                }
            }
            if let Some(stage) = self.stage.as_mut().filter(|_| matches!(self.state, HalfState::Open | HalfState::Draining)) {
                let end = stage.take(cx, closed, ask, &mut self.waiting);
                stage.take_in_place().into_iter().for_each(|code| counters.replaced(code));
                match end {
                    StageEnd::Ended => self.state = HalfState::Ended,
                    StageEnd::Open if !self.waiting.is_empty() => {}
                    StageEnd::Open if self.state == HalfState::Open && stage.is_idle() => self.stage = None,
                    StageEnd::Open => {}
                }
                if !self.waiting.is_empty() {
                    continue;
                }
            }
            let passed = counters.bytes.load(Ordering::Relaxed);
            let all = if cap == u64::MAX { 0 } else { both(connection) };
            if self.limit <= passed || cap <= all {
                return Poll::Ready(Ok(HalfPoll::Enough));
            }
            match self.state {
                HalfState::Finished => return Poll::Ready(Ok(HalfPoll::Finished)),
                HalfState::Draining => return Poll::Pending,
                HalfState::Ended => {
                    ready!(self.poll_end_delay(cx, closed, hold));
                    self.note_first(to);
                    if self.cut {
                        ready!(Pin::new(&mut *to).poll_flush(cx))?;
                        ready!(Pin::new(to.link_mut()).poll_shutdown(cx))?;
                    } else {
                        ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    }
                    self.state = HalfState::Finished;
                    continue;
                }
                // TLS keeps what the kernel does not take.
                HalfState::Open => ready!(Pin::new(&mut *to).poll_flush(cx))?,
                HalfState::Muted => {}
            }
            if self.stage.as_ref().is_some_and(|stage| !stage.has_room()) {
                return Poll::Pending;
            }
            // What is beyond a limit is not read: it may pass behind a Close frame, or when the limit is gone.
            let room = usize::try_from(self.limit.saturating_sub(passed).min(cap - all)).unwrap_or(usize::MAX);
            let mut chunk = [const { MaybeUninit::uninit() }; CHUNK];
            let mut buffer = ReadBuf::uninit(&mut chunk[..room.min(CHUNK)]);
            match ready!(Pin::new(&mut *from).poll_read(cx, &mut buffer)) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && from.link().end() == TcpEnd::Fin => {
                    self.cut = true;
                    self.ended(connection);
                    continue;
                }
                read => read?,
            }
            let bytes = buffer.filled();
            if bytes.is_empty() {
                self.ended(connection);
                continue;
            }
            let was_closed = counters.close_code().is_some();
            let frames = self.watch.follow(self.side, connection, bytes);
            let vanishes = to.link().discards_writes() || self.state == HalfState::Muted;
            if vanishes && !was_closed && counters.close_code().is_some() {
                counters.replaced(None);
            }
            if faulty && self.closed.is_none() && counters.close_code().is_some() {
                self.closed = Some(Instant::now());
            }
            if self.state == HalfState::Muted {
                continue;
            }
            if let Some(at) = frames.filter(|_| awaited && connection.speech() == Speech::WebSocket) {
                self.waiting = bytes[..at].to_vec();
                self.unstaged = bytes[at..].to_vec();
                return Poll::Ready(Ok(HalfPoll::Opened));
            }
            if let Some(stage) = &mut self.stage {
                stage.push(bytes);
                continue;
            }
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
    fn ended(&mut self, connection: &ProxiedConnection) {
        connection.ends_by(if self.side == StreamSide::Up { EndedBy::Client } else { EndedBy::Server });
        self.state = match &mut self.stage {
            _ if self.state == HalfState::Muted => HalfState::Finished,
            Some(stage) => {
                stage.end();
                HalfState::Draining
            }
            None => HalfState::Ended,
        };
    }

    /// The proxy is about to end the link on which this direction is written.
    pub(crate) fn note_first(&mut self, to: &Transport) {
        self.target_first |= to.link().own_end().is_none() && to.link().end() != TcpEnd::None;
    }

    fn poll_end_delay(&mut self, cx: &mut Context<'_>, closed: Option<Instant>, hold: Duration) -> Poll<()> {
        // What becomes of TCP in place of an answer is the relay's business.
        if self.stage.as_ref().is_some_and(|stage| stage.withheld().is_some()) {
            return Poll::Pending;
        }
        let second = self.closed.zip(closed).map(|(own, other)| own.max(other)).filter(|_| !hold.is_zero());
        self.holds_fin = second.is_some();
        let now = Instant::now();
        let due = second.and_then(|second| second.checked_add(hold)).unwrap_or(now).max(now) + self.end_delay;
        if due <= now {
            return Poll::Ready(());
        }
        self.fin.get_or_insert_with(|| Box::pin(sleep_until(due))).as_mut().poll(cx)
    }
}

/// Bytes that came in, in both directions together.
pub(crate) fn both(connection: &ProxiedConnection) -> u64 {
    connection.up.bytes.load(Ordering::Relaxed) + connection.down.bytes.load(Ordering::Relaxed)
}

fn passed_on(counters: &DirectionCounters, to: &Link, bytes: usize) {
    if !to.discards_writes() {
        DirectionCounters::add(&counters.passed_on, bytes as u64);
    }
}
