//! What happens in the proxy that its user should know of and that no client tells.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Something that the proxy did or could not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyEvent {
    /// A connection was reset when it was accepted, because of a limit of this machine.
    Refused {
        /// The limit, in words.
        limit: &'static str,
    },
    /// The upstream could not be connected: the client's connection was reset.
    NotDialled {
        /// The upstream, as the user wrote it.
        upstream: String,
        /// Why.
        why: String,
    },
    /// TLS with a client failed: its connection was closed.
    ClientNotSecured {
        /// Why.
        why: String,
    },
    /// A client began with TLS, which passes through: no frame of it can be read.
    TlsPassedThrough {
        /// Where the proxy listens.
        listen: SocketAddr,
    },
}

impl fmt::Display for ProxyEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyEvent::Refused { limit } => write!(f, "connection refused (reset): {limit}"),
            ProxyEvent::NotDialled { upstream, why } => write!(f, "cannot connect to {upstream}: {why}; the client's connection was reset"),
            ProxyEvent::ClientNotSecured { why } => write!(f, "TLS with a client failed: {why}; its connection was closed"),
            ProxyEvent::TlsPassedThrough { listen } => {
                write!(f, "{listen} gets TLS, which passes through: bytes are counted, WebSocket frames cannot be read")
            }
        }
    }
}

/// Takes events, from any task, at once: it must not block.
#[derive(Clone)]
pub struct ProxyEvents(Arc<dyn Fn(ProxyEvent) + Send + Sync>);

impl ProxyEvents {
    /// Hands each event to `take`.
    pub fn new(take: impl Fn(ProxyEvent) + Send + Sync + 'static) -> Self {
        ProxyEvents(Arc::new(take))
    }

    pub(crate) fn tell(&self, event: ProxyEvent) {
        (self.0)(event);
    }
}

impl fmt::Debug for ProxyEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyEvents")
    }
}

/// Tells once for each listener that a client spoke TLS.
#[derive(Debug)]
pub(crate) struct TlsNotice {
    listen: SocketAddr,
    events: ProxyEvents,
    told: AtomicBool,
}

impl TlsNotice {
    /// Of the listener at `listen`.
    pub(crate) fn new(listen: SocketAddr, events: ProxyEvents) -> Self {
        TlsNotice { listen, events, told: AtomicBool::new(false) }
    }

    /// A client spoke TLS.
    pub(crate) fn seen(&self) {
        if !self.told.swap(true, Ordering::Relaxed) {
            self.events.tell(ProxyEvent::TlsPassedThrough { listen: self.listen });
        }
    }
}
