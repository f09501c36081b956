//! What happens to server processes, as told to whoever has the clients: this process, or workers beside it.
//!
//! How workers hear of it is `cluster`'s business; here are the words, and the handle of the process that leads.

use crate::plan::Firing;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// News of the target for those that have clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum TargetEvent {
    /// A fault is about to act on a server: its connections are marked, so that their ends have their cause.
    Mark {
        /// Which firing of which fault.
        firing: Firing,
        /// Which server.
        instance: u16,
        /// It ends connections by itself.
        ends: bool,
    },
    /// It acted on the marked ones.
    Struck {
        /// Which firing of which fault.
        firing: Firing,
        /// Which server.
        instance: u16,
        /// When.
        at: Duration,
    },
    /// The process of a server is gone: what its clients still think open is none of its successor's.
    Gone {
        /// Which server.
        instance: u16,
    },
    /// It did not act after all: what ends these connections has another cause.
    Spared {
        /// Which firing of which fault.
        firing: Firing,
        /// Which server.
        instance: u16,
    },
    /// It was reverted: what ends these connections later has another reason.
    Unmark {
        /// Which firing of which fault.
        firing: Firing,
    },
    /// A server takes connections again, or does not any more.
    Up {
        /// Which server.
        instance: u16,
        /// Whether it does.
        up: bool,
    },
}

/// Workers, by their number from 0, that did not carry an order out in time.
pub(crate) type Late = BTreeSet<u32>;

/// An order under way, and where its acknowledgement goes.
pub(crate) type Sent = (TargetEvent, oneshot::Sender<Late>);

/// The way to the workers; to nobody where this process has all clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct TargetEvents(Option<mpsc::UnboundedSender<Sent>>);

impl TargetEvents {
    /// One whose orders come out of the receiver.
    pub(crate) fn new() -> (TargetEvents, mpsc::UnboundedReceiver<Sent>) {
        let (sender, orders) = mpsc::unbounded_channel();
        (TargetEvents(Some(sender)), orders)
    }

    /// Sends an order; when the future resolves, all workers have carried it out, but those that are late. They get orders in the order of
    /// these calls.
    pub(crate) fn tell(&self, order: TargetEvent) -> impl Future<Output = Late> + use<> {
        let done = self.0.as_ref().map(|sender| {
            let (done, receiver) = oneshot::channel();
            // Nobody takes orders any more when the run is over.
            let _ = sender.send((order, done));
            receiver
        });
        async {
            match done {
                Some(done) => done.await.unwrap_or_default(),
                None => Late::new(),
            }
        }
    }
}
