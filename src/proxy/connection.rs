//! A connection through the proxy as the rest of the program sees it: live counters, and a way to say what is to become of it.

use crate::fault::End;
use crate::lock::lock;
use crate::proxy::effects::RelayEffects;
use crate::proxy::event::TlsNotice;
use futures_util::task::AtomicWaker;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Number of bytes, and what was seen of them, in one direction.
#[derive(Debug, Default)]
pub(crate) struct DirectionCounters {
    /// Bytes that came in.
    pub(crate) bytes: AtomicU64,
    /// Bytes that were passed on: written, or taken by what delays them.
    pub(crate) passed_on: AtomicU64,
    /// Whole WebSocket frames that came in, by opcode.
    pub(crate) frames: [AtomicU64; 16],
    /// Code of the first Close frame, 1005 if it had none, and 1 more than that; 0: there was none.
    close: AtomicU64,
}

impl DirectionCounters {
    /// Counts, from the one task that carries the connection.
    pub(crate) fn add(counter: &AtomicU64, more: u64) {
        counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
    }

    /// Notes the first Close frame.
    pub(crate) fn closed(&self, code: u16) {
        let _ = self.close.compare_exchange(0, u64::from(code) + 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Status code of the first Close frame: 1005 if it had none, `None` if none came.
    pub(crate) fn close_code(&self) -> Option<u16> {
        self.close.load(Ordering::Relaxed).checked_sub(1).and_then(|code| u16::try_from(code).ok())
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
    /// It ends.
    End(End),
}

/// Dropped when an order is carried out; `None`: nobody waits for that.
pub(crate) type OrderDone = Option<mpsc::Sender<Infallible>>;

/// A connection through the proxy, shared by the task that carries it and by who looks at it.
#[derive(Debug)]
pub(crate) struct ProxiedConnection {
    /// Number of the connection among those of its listener, from 1.
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
    tls: Arc<TlsNotice>,
    orders: Mutex<Vec<(Order, OrderDone)>>,
    ordered: AtomicBool,
    /// It is carried: orders are carried out at once.
    carried: AtomicBool,
    /// Wakes the task that carries it.
    pub(crate) waker: AtomicWaker,
}

impl ProxiedConnection {
    /// A connection that was accepted now.
    pub(crate) fn new(id: u64, peer: SocketAddr, tls: Arc<TlsNotice>) -> Self {
        ProxiedConnection {
            id,
            peer,
            opened: Instant::now(),
            up: DirectionCounters::default(),
            down: DirectionCounters::default(),
            speech: AtomicU8::new(Speech::Bytes as u8),
            tls,
            orders: Mutex::default(),
            ordered: AtomicBool::new(false),
            carried: AtomicBool::new(false),
            waker: AtomicWaker::new(),
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

    /// Waits until its end is ordered, before it is carried.
    pub(crate) async fn ended_early(&self) {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            let ends = lock(&self.orders).iter().any(|(order, _)| matches!(order, Order::End(_)));
            if ends { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
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
            self.tls.seen();
        }
        self.speech.store(speech as u8, Ordering::Relaxed);
    }
}
