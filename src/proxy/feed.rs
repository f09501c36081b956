//! Events of the proxy as a stream, to whoever reads it.
//!
//! Nobody who reads can slow the traffic down. The stream keeps the last events (`KEPT`); a reader that has fallen further behind loses those
//! in between, and is told how many. Without a reader nothing is written.

use crate::http::body::EventSource;
use crate::http::event as message;
use crate::proxy::event::ProxyEvent;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::Instant;

/// Events that a reader may be behind without losing one.
const KEPT: usize = 4096;
/// Readers at the same time.
const READERS_MAX: usize = 32;

/// Where events are handed to readers.
#[derive(Debug)]
pub(crate) struct EventFeed {
    events: broadcast::Sender<Arc<str>>,
    begun: Instant,
    number: AtomicU64,
    readers: AtomicUsize,
}

/// One reader.
#[derive(Debug)]
pub(crate) struct FeedReader {
    events: broadcast::Receiver<Arc<str>>,
    feed: Arc<EventFeed>,
}

impl EventFeed {
    /// From now on.
    pub(crate) fn new() -> Self {
        EventFeed { events: broadcast::Sender::new(KEPT), begun: Instant::now(), number: AtomicU64::new(0), readers: AtomicUsize::new(0) }
    }

    /// An event happened. Numbers count those that nobody read, too.
    pub(crate) fn publish(&self, event: &ProxyEvent) {
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        if self.events.receiver_count() > 0 {
            let (name, mut data) = event.json();
            let at_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            data["at_ms"] = at_ms.into();
            // A reader that has gone in this moment misses nothing.
            let _ = self.events.send(message(Some(number), name, &data.to_string()));
        }
    }

    /// A reader of what comes from now on; `None`: there are as many as may be.
    pub(crate) fn read(self: &Arc<Self>) -> Option<FeedReader> {
        let taken =
            self.readers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |readers| (readers < READERS_MAX).then_some(readers + 1));
        taken.ok().map(|_| FeedReader { events: self.events.subscribe(), feed: self.clone() })
    }
}

impl EventSource for FeedReader {
    /// How many were lost is an event, too.
    async fn next(&mut self) -> Option<Arc<str>> {
        match self.events.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(missed)) => Some(message(None, "missed", &json!({ "missed": missed }).to_string())),
            Err(RecvError::Closed) => None,
        }
    }
}

impl Drop for FeedReader {
    fn drop(&mut self) {
        self.feed.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> ProxyEvent {
        ProxyEvent::Refused { limit: "none\nleft" }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_gets_what_comes_after_it_and_learns_what_it_lost() {
        let feed = Arc::new(EventFeed::new());
        feed.publish(&event());
        let mut reader = feed.read().expect("room");
        feed.publish(&event());
        let first = reader.next().await.expect("an event");
        assert_eq!(&*first, "id: 2\nevent: refused\ndata: {\"limit\":\"none\\nleft\",\"at_ms\":0}\n\n");
        (0..KEPT + 7).for_each(|_| feed.publish(&event()));
        assert_eq!(reader.next().await.as_deref(), Some("event: missed\ndata: {\"missed\":7}\n\n"));
        let rest: Vec<_> = std::iter::from_fn(|| reader.events.try_recv().ok()).collect();
        assert_eq!(rest.len(), KEPT);
        assert!(rest[0].starts_with("id: 10\n"), "{}", rest[0]);
    }

    #[tokio::test]
    async fn there_are_so_many_readers_at_most() {
        let feed = Arc::new(EventFeed::new());
        let mut readers: Vec<_> = std::iter::from_fn(|| feed.read()).take(READERS_MAX + 1).collect();
        assert_eq!(readers.len(), READERS_MAX);
        readers.pop();
        assert!(feed.read().is_some());
    }
}
