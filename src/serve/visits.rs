//! Connections that get their steps from the host of the server, in the order in which they ask, and not from their URLs; and what is told of
//! each.
//!
//! Only a request for a WebSocket takes steps: a client that looks with a plain GET first, tests the port, or gives up while it waits leaves
//! the prepared steps to the next one. So does a connection beside an open one that has its steps and is well: it gets an echo, for as long as
//! it likes.

use crate::close::Ending;
use crate::lock::lock;
use crate::serve::account::WireAccount;
use crate::serve::steps::PathSteps;
use crate::ws::session::mailbox::Control;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// What becomes of one connection, in order.
#[derive(Clone, Debug)]
pub enum VisitEvent {
    /// It asked for a WebSocket and took its steps. What is on its wire from then on.
    Came(watch::Receiver<WireAccount>),
    /// It asked for a WebSocket while another one that had its steps was well, and took none.
    Beside,
    /// Its opening handshake is complete, and with it so many are open and well.
    Opened(u32),
    /// It ended; with the server's account if it was open.
    Ended(Option<Box<Ending>>),
    /// It ended without having taken steps, and is all that is told of it.
    Passed,
}

/// Something happened to a connection.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Of the connection, from 1, in the order of asking for a WebSocket; 0 of one that [passed](VisitEvent::Passed).
    pub number: u64,
    /// When; of [`Came`](VisitEvent::Came) and [`Beside`](VisitEvent::Beside) when it was accepted.
    pub at: Instant,
    /// What.
    pub event: VisitEvent,
}

/// Hands out steps, and tells.
#[derive(Debug)]
pub struct Visitors {
    steps: tokio::sync::Mutex<mpsc::UnboundedReceiver<PathSteps>>,
    told: mpsc::UnboundedSender<Visit>,
    here: Mutex<Here>,
}

/// Connections that asked for a WebSocket.
#[derive(Debug, Default)]
struct Here {
    came: u64,
    /// Those that have not ended, and nobody has given up.
    well: BTreeMap<u64, WellVisitor>,
}

/// One that is to stay open for now.
#[derive(Debug, Default)]
struct WellVisitor {
    /// It has steps that were prepared.
    scripted: bool,
    /// `None`: its opening handshake is not complete.
    control: Option<Arc<Control>>,
}

impl WellVisitor {
    /// Whether nobody has begun to close it.
    fn is_well(&self) -> bool {
        self.control.as_ref().is_none_or(|control| control.closing().is_none())
    }
}

impl Here {
    fn add(&mut self, visitor: WellVisitor) -> u64 {
        self.came += 1;
        self.well.insert(self.came, visitor);
        self.came
    }

    /// Whether one is well that has steps.
    fn is_taken(&self) -> bool {
        self.well.values().any(|visitor| visitor.scripted && visitor.is_well())
    }
}

/// A connection, to its end.
pub(super) struct Visitor<'a> {
    of: &'a Visitors,
    accepted: Instant,
    /// `None`: it has no steps.
    number: Option<u64>,
    account: Arc<watch::Sender<WireAccount>>,
    /// The server's account.
    pub(super) ending: Option<Box<Ending>>,
}

impl Visitors {
    /// Connections get what comes out of `steps`, and wait for it.
    pub fn new(steps: mpsc::UnboundedReceiver<PathSteps>, told: mpsc::UnboundedSender<Visit>) -> Visitors {
        Visitors { steps: tokio::sync::Mutex::new(steps), told, here: Mutex::default() }
    }

    /// The connections that are here are no longer well, as those of a server that has fallen silent: the next one takes steps.
    pub fn unwell(&self) {
        lock(&self.here).well.clear();
    }

    /// A connection was accepted.
    pub(super) fn accepted(&self) -> Visitor<'_> {
        Visitor { of: self, accepted: Instant::now(), number: None, account: Arc::default(), ending: None }
    }

    /// The next steps, and the number of the connection that takes them; `None`: it comes beside one that has its own.
    async fn next_steps(&self) -> Option<(u64, Option<PathSteps>)> {
        // One after the other: who waited while another took its steps comes beside that one.
        let mut steps = self.steps.lock().await;
        let beside = {
            let mut here = lock(&self.here);
            here.is_taken().then(|| here.add(WellVisitor::default()))
        };
        if let Some(number) = beside {
            return Some((number, None));
        }
        let steps = steps.recv().await?;
        // What acts before the opening handshake is answered mostly refuses it, and whoever is refused may be back before the end is told.
        let visitor = WellVisitor { scripted: steps.before.is_empty(), control: None };
        Some((lock(&self.here).add(visitor), Some(steps)))
    }
}

impl Visitor<'_> {
    /// It asks for a WebSocket and takes the next steps, unless it is `gone` before there are any; `None`: it has none.
    pub(super) async fn take_steps(&mut self, gone: impl Future<Output = ()>) -> Option<PathSteps> {
        let (number, steps) = tokio::select! {
            // Who is there no more when its steps come takes none.
            biased;
            () = gone => None,
            next = self.of.next_steps() => next,
        }?;
        self.number = Some(number);
        let event = if steps.is_some() { VisitEvent::Came(self.account.subscribe()) } else { VisitEvent::Beside };
        self.tell(self.accepted, event);
        Some(steps.unwrap_or_default())
    }

    /// Keeps the account of its wire.
    pub(super) fn account(&self) -> Arc<watch::Sender<WireAccount>> {
        self.account.clone()
    }

    /// It is open.
    pub(super) fn opened(&self, control: &Arc<Control>) {
        let open = {
            let mut here = lock(&self.of.here);
            if let Some(visitor) = self.number.and_then(|number| here.well.get_mut(&number)) {
                visitor.control = Some(control.clone());
            }
            here.well.values().filter(|visitor| visitor.control.is_some() && visitor.is_well()).count()
        };
        self.tell(Instant::now(), VisitEvent::Opened(open as u32));
    }

    fn tell(&self, at: Instant, event: VisitEvent) {
        // Nobody listens any more at the end.
        let _ = self.of.told.send(Visit { number: self.number.unwrap_or(0), at, event });
    }
}

impl Drop for Visitor<'_> {
    fn drop(&mut self) {
        let ending = self.ending.take();
        if let Some(number) = self.number {
            lock(&self.of.here).well.remove(&number);
        }
        self.tell(Instant::now(), if self.number.is_some() { VisitEvent::Ended(ending) } else { VisitEvent::Passed });
    }
}

#[cfg(test)]
mod tests;
