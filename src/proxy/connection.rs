//! A connection through the proxy as the rest of the program sees it: live counters, and a way to say what is to become of it.

use crate::close::TcpEnd;
use crate::fault::{CLOSE, End};
use crate::lock::lock;
use crate::plan::{Firing, Phase};
use crate::proxy::account::{ConnectionAccount, EndedBy, PassedClose, ProxiedId, SideAccount};
use crate::proxy::effects::RelayEffects;
use crate::proxy::event::ProxyEvent;
use crate::proxy::faults::dose::ProxyDose;
use crate::proxy::witnesses::ListenerNotices;
use futures_util::task::AtomicWaker;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Why a fault does not act on a connection that it was to hit.
pub(crate) const TOO_LATE: &str = "it was over, or ending, already";

/// Number of bytes, and what was seen of them, in one direction.
#[derive(Debug, Default)]
pub(crate) struct DirectionCounters {
    /// Bytes that came in.
    pub(crate) bytes: AtomicU64,
    /// Bytes that were passed on: written, or taken by what delays them.
    pub(crate) passed_on: AtomicU64,
    /// Whole WebSocket frames that came in, by opcode.
    pub(crate) frames: [AtomicU64; 16],
    /// The first Close frame; 1005 if it had no code.
    close: OnceLock<PassedClose>,
    /// The code of the Close frame that the other side got in place of that one; `None`: it got none.
    in_place: OnceLock<Option<u16>>,
}

impl DirectionCounters {
    /// Counts, from the one task that carries the connection.
    pub(crate) fn add(counter: &AtomicU64, more: u64) {
        counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
    }

    /// Notes the first Close frame.
    pub(crate) fn closed(&self, close: PassedClose) {
        let _ = self.close.set(close);
    }

    /// Status code of the first Close frame: 1005 if it had none, `None` if none came.
    pub(crate) fn close_code(&self) -> Option<u16> {
        self.close.get().map(|close| close.code)
    }

    /// Notes what the other side got in place of the first Close frame, if nothing was before.
    pub(crate) fn replaced(&self, code: Option<u16>) {
        let _ = self.in_place.set(code);
    }

    /// Whole frames that came in, by opcode.
    pub(crate) fn frames(&self) -> [u64; 16] {
        std::array::from_fn(|opcode| self.frames[opcode].load(Ordering::Relaxed))
    }

    fn account(&self, end: SideEnd) -> SideAccount {
        let SideEnd { end, own_end, first, mid_frame, kept } = end;
        let (bytes, frames, close) = (self.bytes.load(Ordering::Relaxed), self.frames(), self.close.get().cloned());
        let passed_code = self.in_place.get().copied().unwrap_or(self.close_code().filter(|_| !kept));
        SideAccount { bytes, frames, close, passed_code, end, own_end, first, mid_frame }
    }
}

/// What speaks on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    /// Not known yet, or not WebSocket.
    Bytes = 0,
    /// The client asked for WebSocket.
    Asked = 1,
    /// The upstream agreed: frames follow.
    WebSocket = 2,
    /// TLS, which passes through.
    Tls = 3,
}

/// What is to become of a connection.
#[derive(Debug)]
pub(crate) enum Order {
    /// This holds from now on, and no longer what held before.
    Effects(Box<RelayEffects>),
    /// A fault acts on it.
    Inject(Arc<ProxyDose>),
    /// A firing of a fault is over.
    Revert(Firing),
    /// Both peers get a Close frame with this code and reason, and it ends.
    Close(u16, String),
    /// It ends.
    End(End),
}

/// Dropped when an order is carried out; `None`: nobody waits for that.
pub(crate) type OrderDone = Option<mpsc::Sender<Infallible>>;

/// How TCP between the proxy and one side ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SideEnd {
    /// By the side.
    pub(crate) end: TcpEnd,
    /// By the proxy.
    pub(crate) own_end: Option<End>,
    /// The side's end came before the proxy's.
    pub(crate) first: bool,
    /// What came from the side was cut inside a frame.
    pub(crate) mid_frame: bool,
    /// The last of what came from the side has not gone on to the other one.
    pub(crate) kept: bool,
}

impl SideEnd {
    /// Of a link on which nothing passed: the proxy ended it so.
    pub(crate) fn unused(own_end: Option<End>) -> SideEnd {
        SideEnd { end: TcpEnd::None, own_end, first: false, mid_frame: false, kept: false }
    }
}

/// What was seen of the opening handshake.
#[derive(Clone, Debug, Default)]
struct SeenHandshake {
    /// It asked for WebSocket.
    asked: bool,
    /// Who asks, where that can be told.
    client: Option<Arc<str>>,
    /// Of the answer.
    status: Option<u16>,
    /// Since the accept.
    opened_after: Option<Duration>,
}

/// A connection through the proxy, shared by the task that carries it and by who looks at it.
#[derive(Debug)]
pub(crate) struct ProxiedConnection {
    /// Name of the proxy.
    pub(crate) proxy: Arc<str>,
    /// Number of the connection among those of its proxy, from 1.
    pub(crate) id: u64,
    /// The client.
    pub(crate) peer: SocketAddr,
    /// When it was accepted.
    pub(crate) opened: Instant,
    /// From the client.
    pub(crate) up: DirectionCounters,
    /// From the upstream.
    pub(crate) down: DirectionCounters,
    speech: AtomicU8,
    notices: Arc<ListenerNotices>,
    handshake: Mutex<SeenHandshake>,
    /// Who began to end it: see [`EndedBy`].
    ended_by: AtomicU8,
    orders: Mutex<Vec<(Order, OrderDone)>>,
    ordered: AtomicBool,
    /// It is carried: orders are carried out at once.
    carried: AtomicBool,
    /// It is ending, or one of its paths is dead: no fault can act on it any more.
    over: AtomicBool,
    /// Firings that hold on it, or have something left to do.
    held: Mutex<Vec<Firing>>,
    /// Wakes the task that carries it.
    pub(crate) waker: AtomicWaker,
}

impl ProxiedConnection {
    /// A connection that was accepted now.
    pub(crate) fn new(proxy: Arc<str>, id: u64, peer: SocketAddr, notices: Arc<ListenerNotices>) -> Self {
        let client = notices.events.labels().and_then(|labels| labels.of_address(peer.ip())).map(Into::into);
        ProxiedConnection {
            proxy,
            id,
            peer,
            opened: Instant::now(),
            up: DirectionCounters::default(),
            down: DirectionCounters::default(),
            speech: AtomicU8::new(Speech::Bytes as u8),
            notices,
            handshake: Mutex::new(SeenHandshake { client, ..SeenHandshake::default() }),
            ended_by: AtomicU8::new(EndedBy::Nobody as u8),
            orders: Mutex::default(),
            ordered: AtomicBool::new(false),
            carried: AtomicBool::new(false),
            over: AtomicBool::new(false),
            held: Mutex::default(),
            waker: AtomicWaker::new(),
        }
    }

    /// Its name in events.
    pub(crate) fn named(&self) -> ProxiedId {
        ProxiedId { proxy: self.proxy.clone(), connection: self.id }
    }

    /// Firings that hold on it, or have something left to do.
    pub(crate) fn held(&self) -> Vec<Firing> {
        lock(&self.held).clone()
    }

    /// Notes them.
    pub(crate) fn set_held(&self, held: Vec<Firing>) {
        *lock(&self.held) = held;
    }

    /// What it is doing. Bytes that are no WebSocket are open from their first byte on.
    pub(crate) fn phase(&self) -> Phase {
        let closing = [&self.up, &self.down].iter().any(|side| side.frames[usize::from(CLOSE)].load(Ordering::Relaxed) > 0);
        match self.speech() {
            Speech::Asked => Phase::Upgrade,
            _ if !self.carried.load(Ordering::Relaxed) => Phase::Tcp,
            Speech::WebSocket if closing => Phase::Closing,
            Speech::Bytes | Speech::WebSocket | Speech::Tls => Phase::Open,
        }
    }

    /// Whose it is, where that can be told.
    pub(crate) fn client(&self) -> Option<Arc<str>> {
        lock(&self.handshake).client.clone()
    }

    /// The client asked for WebSocket.
    pub(crate) fn asked(&self, target: &str, headers: &[httparse::Header<'_>]) {
        let client = self.notices.events.labels().and_then(|labels| labels.of(target, headers, self.peer.ip()));
        let mut seen = lock(&self.handshake);
        (seen.asked, seen.client) = (true, client.map(Into::into));
    }

    /// That was the answer, of the server or of a fault in its place.
    pub(crate) fn answered(&self, status: u16, retry_after: Option<Duration>) {
        let took = self.opened.elapsed();
        let client = {
            let mut seen = lock(&self.handshake);
            (seen.status, seen.opened_after) = (Some(status), (status == 101).then_some(took));
            seen.client.clone()
        };
        self.notices.events.tell(ProxyEvent::Answered { connection: self.named(), client, status, retry_after, took });
    }

    /// Somebody began to end it, if nobody had.
    pub(crate) fn ends_by(&self, by: EndedBy) {
        let _ = self.ended_by.compare_exchange(EndedBy::Nobody as u8, by as u8, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// All that was seen of it, when it is over.
    pub(crate) fn account(&self, near: SideEnd, far: SideEnd) -> ConnectionAccount {
        let SeenHandshake { asked, client, status, opened_after } = lock(&self.handshake).clone();
        let by = EndedBy::from_number(self.ended_by.load(Ordering::Relaxed));
        let (near, far) = (self.up.account(near), self.down.account(far));
        ConnectionAccount {
            connection: self.named(),
            from: self.peer,
            asked,
            client,
            status,
            opened_after,
            lasted: self.opened.elapsed(),
            by,
            near,
            far,
        }
    }

    /// Says what is to become of it. `done` is dropped when that holds; at once before a byte passes.
    pub(crate) fn order(&self, order: Order, done: &OrderDone) {
        let done = if self.carried.load(Ordering::Relaxed) { done.clone() } else { None };
        lock(&self.orders).push((order, done));
        self.ordered.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// What was ordered since the last call. From now on it is carried.
    pub(crate) fn take_orders(&self) -> Vec<(Order, OrderDone)> {
        self.carried.store(true, Ordering::Relaxed);
        if !self.ordered.load(Ordering::Relaxed) || !self.ordered.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *lock(&self.orders))
    }

    /// No fault can act on it any more.
    pub(crate) fn set_over(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether no fault can act on it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// It is gone: faults that were to act on it, and came too late, are told of.
    pub(crate) fn gone(&self) {
        self.set_over();
        for (order, _done) in self.take_orders() {
            if let Order::Inject(dose) = order {
                dose.stamp.not_carried_out(&self.named(), TOO_LATE);
            }
        }
    }

    /// Waits until its end is ordered, before it is carried; which.
    pub(crate) async fn ended_early(&self) -> End {
        self.ordered_early(|order| if let Order::End(how) = order { Some(*how) } else { None }).await
    }

    /// Waits until this firing is taken back, before it is carried.
    pub(crate) async fn reverted_early(&self, firing: Firing) {
        self.ordered_early(|order| matches!(order, Order::Revert(of) if *of == firing).then_some(())).await;
    }

    /// Both may be waited for in the task that will carry it.
    async fn ordered_early<T>(&self, find: impl Fn(&Order) -> Option<T>) -> T {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            let found = lock(&self.orders).iter().find_map(|(order, _)| find(order));
            found.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// What speaks on it.
    pub(crate) fn speech(&self) -> Speech {
        match self.speech.load(Ordering::Relaxed) {
            1 => Speech::Asked,
            2 => Speech::WebSocket,
            3 => Speech::Tls,
            _ => Speech::Bytes,
        }
    }

    /// Notes it.
    pub(crate) fn set_speech(&self, speech: Speech) {
        if speech == Speech::Tls {
            self.notices.tls_seen();
        }
        self.speech.store(speech as u8, Ordering::Relaxed);
    }
}
