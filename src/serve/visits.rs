//! Connections that get their steps from the host of the server, in the order in which they ask, and not from their URLs; and what is told of
//! each.
//!
//! Only a request for a WebSocket takes steps: a client that looks with a plain GET first, tests the port, or gives up while it waits leaves
//! the prepared steps to the next one.

use crate::close::Ending;
use crate::serve::steps::PathSteps;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

/// What becomes of one connection, in order.
#[derive(Clone, Debug)]
pub enum VisitEvent {
    /// It asked for a WebSocket and took its steps.
    Came,
    /// Its opening handshake is complete.
    Opened,
    /// It ended; with the server's account if it was open.
    Ended(Option<Box<Ending>>),
    /// It ended without having taken steps, and is all that is told of it.
    Passed,
}

/// Something happened to a connection.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Of the connection, from 1, in the order of taking steps; 0 of one that [passed](VisitEvent::Passed).
    pub number: u64,
    /// When; of [`Came`](VisitEvent::Came) when it was accepted.
    pub at: Instant,
    /// What.
    pub event: VisitEvent,
}

/// Hands out steps, and tells.
#[derive(Debug)]
pub struct Visitors {
    steps: Mutex<mpsc::UnboundedReceiver<PathSteps>>,
    told: mpsc::UnboundedSender<Visit>,
    came: AtomicU64,
}

/// A connection, to its end.
pub(super) struct Visitor<'a> {
    of: &'a Visitors,
    accepted: Instant,
    /// `None`: it has no steps.
    number: Option<u64>,
    /// The server's account.
    pub(super) ending: Option<Box<Ending>>,
}

impl Visitors {
    /// Connections get what comes out of `steps`, and wait for it.
    pub fn new(steps: mpsc::UnboundedReceiver<PathSteps>, told: mpsc::UnboundedSender<Visit>) -> Visitors {
        Visitors { steps: Mutex::new(steps), told, came: AtomicU64::new(0) }
    }

    /// A connection was accepted.
    pub(super) fn accepted(&self) -> Visitor<'_> {
        Visitor { of: self, accepted: Instant::now(), number: None, ending: None }
    }
}

impl Visitor<'_> {
    /// It asks for a WebSocket and takes the next steps, unless it is `gone` before there are any; `None`: it has none.
    pub(super) async fn take_steps(&mut self, gone: impl Future<Output = ()>) -> Option<PathSteps> {
        let next = async { self.of.steps.lock().await.recv().await };
        let steps = tokio::select! {
            // Who is there no more when its steps come takes none.
            biased;
            () = gone => None,
            steps = next => steps,
        }?;
        self.number = Some(self.of.came.fetch_add(1, Ordering::Relaxed) + 1);
        self.tell(self.accepted, VisitEvent::Came);
        Some(steps)
    }

    /// It is open.
    pub(super) fn opened(&self) {
        self.tell(Instant::now(), VisitEvent::Opened);
    }

    fn tell(&self, at: Instant, event: VisitEvent) {
        // Nobody listens any more at the end.
        let _ = self.of.told.send(Visit { number: self.number.unwrap_or(0), at, event });
    }
}

impl Drop for Visitor<'_> {
    fn drop(&mut self) {
        let ending = self.ending.take();
        self.tell(Instant::now(), if self.number.is_some() { VisitEvent::Ended(ending) } else { VisitEvent::Passed });
    }
}

#[cfg(test)]
mod tests;
