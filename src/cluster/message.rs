//! What the leading process and a worker say to each other: JSON lines over an abstract Unix socket.

use crate::load::hits::Ask;
use crate::metrics::Snapshot;
use crate::plan::{Firing, Shard};
use crate::sut::Routes;
use crate::sut::target_events::Order;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The argument of a worker process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Call {
    /// Abstract name of the socket to connect to.
    pub report_to: String,
    /// Proof that it is the worker we started.
    pub token: String,
    /// Which, from 0.
    pub worker: u32,
}

/// What a worker is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum ToWorker {
    /// What to get ready for.
    Job {
        /// The resolved scenario.
        scenario: PathBuf,
        /// Whose clients.
        shard: Shard,
        /// Abstract name of the socket at which server processes report to it.
        listen: String,
        /// File for its books.
        books: PathBuf,
        /// The books keep every event.
        all_events: bool,
    },
    /// The target is ready: begin.
    Go {
        /// Where it is.
        routes: Routes,
        /// Offset 0, in ns of CLOCK_MONOTONIC.
        epoch_ns: u64,
    },
    /// Something happens to the target.
    Order {
        /// To be acknowledged with this number.
        number: u64,
        /// What.
        order: Order,
    },
    /// An answer to [`FromWorker::Ask`].
    Answer {
        /// Its number.
        ticket: u64,
        /// See [`Ask`].
        hits: u64,
    },
    /// Close the books now.
    Stop,
}

/// What a worker says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum FromWorker {
    /// First line.
    Hello {
        /// From its [`Call`].
        worker: u32,
        /// From its [`Call`].
        token: String,
    },
    /// The job is understood.
    Ready,
    /// It cannot be done.
    Failed {
        /// Why.
        why: String,
    },
    /// An order was carried out.
    Done {
        /// Which.
        number: u64,
    },
    /// Something that only the leading process knows: whom a fault may still hit.
    Ask {
        /// For the answer.
        ticket: u64,
        /// Which firing.
        firing: Firing,
        /// What.
        ask: Ask,
    },
    /// How it stands.
    Live {
        /// Its numbers.
        live: Snapshot,
    },
    /// The books are closed, and on their way to their file.
    Writing,
    /// The books are closed and in their file.
    Finished,
}
