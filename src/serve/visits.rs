//! Connections that get their steps from the host of the server, in the order in which they ask, and not from their URLs; and what is told of
//! each.

use crate::close::Ending;
use crate::serve::steps::PathSteps;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

/// What becomes of one connection, in order.
#[derive(Clone, Debug)]
pub enum VisitEvent {
    /// It was accepted.
    Came,
    /// Its opening handshake is complete.
    Opened,
    /// It ended; with the server's account if it was open.
    Ended(Option<Box<Ending>>),
}

/// Something happened to a connection.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Of the connection, from 1, in the order of accepting.
    pub number: u64,
    /// When.
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
    number: u64,
    /// The server's account.
    pub(super) ending: Option<Box<Ending>>,
}

impl Visitors {
    /// Connections get what comes out of `steps`, and wait for it.
    pub fn new(steps: mpsc::UnboundedReceiver<PathSteps>, told: mpsc::UnboundedSender<Visit>) -> Visitors {
        Visitors { steps: Mutex::new(steps), told, came: AtomicU64::new(0) }
    }

    /// A connection was accepted.
    pub(super) fn came(&self) -> Visitor<'_> {
        let visitor = Visitor { of: self, number: self.came.fetch_add(1, Ordering::Relaxed) + 1, ending: None };
        visitor.tell(VisitEvent::Came);
        visitor
    }

    /// The next steps; `None`: there are no more.
    pub(super) async fn steps(&self) -> Option<PathSteps> {
        self.steps.lock().await.recv().await
    }
}

impl Visitor<'_> {
    /// It is open.
    pub(super) fn opened(&self) {
        self.tell(VisitEvent::Opened);
    }

    fn tell(&self, event: VisitEvent) {
        // Nobody listens any more at the end.
        let _ = self.of.told.send(Visit { number: self.number, at: Instant::now(), event });
    }
}

impl Drop for Visitor<'_> {
    fn drop(&mut self) {
        let ending = self.ending.take();
        self.tell(VisitEvent::Ended(ending));
    }
}
