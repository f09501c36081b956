//! Who is told what happens in the proxy: its user, the summary, and readers of the stream of events.

use crate::lock::lock;
use crate::proxy::counts::{CLIENTS_MAX, ProxyCounts};
use crate::proxy::event::ProxyEvent;
use crate::proxy::feed::EventFeed;
use crate::proxy::identify::ClientLabels;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

/// Takes events, from any task, at once: nobody who takes them may block.
#[derive(Clone)]
pub struct ProxyEvents(Arc<EventSinks>);

struct EventSinks {
    labels: Option<ClientLabels>,
    counts: Mutex<ProxyCounts>,
    feed: Arc<EventFeed>,
    take: Box<dyn Fn(ProxyEvent) + Send + Sync>,
}

impl ProxyEvents {
    /// Hands each event to `take`. With `labels` clients are told apart.
    pub fn new(labels: Option<ClientLabels>, take: impl Fn(ProxyEvent) + Send + Sync + 'static) -> Self {
        let (counts, feed) = (Mutex::default(), Arc::new(EventFeed::new()));
        ProxyEvents(Arc::new(EventSinks { labels, counts, feed, take: Box::new(take) }))
    }

    pub(crate) fn tell(&self, event: ProxyEvent) {
        let is_full = lock(&self.0.counts).on(&event, Instant::now());
        self.0.feed.publish(&event);
        (self.0.take)(event);
        if is_full {
            self.tell(ProxyEvent::TooManyClients { limit: CLIENTS_MAX });
        }
    }

    /// What tells clients apart.
    pub(crate) fn labels(&self) -> Option<&ClientLabels> {
        self.0.labels.as_ref()
    }

    /// The stream of events.
    pub(crate) fn feed(&self) -> &Arc<EventFeed> {
        &self.0.feed
    }

    /// The summary so far.
    pub(crate) fn counts<T>(&self, of: impl FnOnce(&ProxyCounts) -> T) -> T {
        of(&lock(&self.0.counts))
    }
}

impl fmt::Debug for ProxyEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyEvents")
    }
}

/// Who tells of the connections of a listener; once for each that a client spoke TLS.
#[derive(Debug)]
pub(crate) struct ListenerNotices {
    listen: SocketAddr,
    pub(crate) events: ProxyEvents,
    told: AtomicBool,
}

impl ListenerNotices {
    /// Of the listener at `listen`.
    pub(crate) fn new(listen: SocketAddr, events: ProxyEvents) -> Self {
        ListenerNotices { listen, events, told: AtomicBool::new(false) }
    }

    /// A client spoke TLS.
    pub(crate) fn tls_seen(&self) {
        if !self.told.swap(true, Ordering::Relaxed) {
            self.events.tell(ProxyEvent::TlsPassedThrough { listen: self.listen });
        }
    }
}
