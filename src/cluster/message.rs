//! What the leading process and a worker say to each other. All of it is values: nothing is a path, or means something on one machine only.

use crate::ipc::Protocol;
use crate::load::hits::HitsQuestion;
use crate::metrics::Snapshot;
use crate::plan::{Firing, LoadLimits, Shard};
use crate::sut::Routes;
use crate::sut::target_events::TargetEvent;
use crate::transport::clock::Moment;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Name and version of what is said here.
pub(super) const PROTOCOL: Protocol = Protocol { name: "worker", version: 2 };

/// What a worker is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum ToWorker {
    /// Said once, first: what to get ready for.
    Job {
        /// Which worker it is, from 0.
        worker: u32,
        /// The resolved scenario, TOML.
        scenario: String,
        /// What its variables hold.
        variables: BTreeMap<String, String>,
        /// Whose clients.
        shard: Shard,
        /// The results keep every event.
        all_events: bool,
        /// How much load the user allows all of them together.
        limits: LoadLimits,
        /// For its messages, bytes.
        memory: usize,
    },
    /// With this message comes the end of the link to a server process that has just been started.
    Server {
        /// Which instance.
        instance: u16,
        /// Which of its processes.
        process: u16,
    },
    /// The target is ready: begin.
    Go {
        /// Where it is.
        routes: Routes,
        /// Offset 0.
        epoch: Moment,
    },
    /// Something happens to the target.
    Order {
        /// To be acknowledged with this number.
        number: u64,
        /// What.
        order: TargetEvent,
    },
    /// An answer to [`FromWorker::Ask`].
    Answer {
        /// Its number.
        ticket: u64,
        /// See [`HitsQuestion`].
        hits: u64,
    },
    /// End the measurement now.
    Stop,
}

/// What a worker says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum FromWorker {
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
        ask: HitsQuestion,
    },
    /// How it stands.
    Live {
        /// Its numbers.
        live: Snapshot,
    },
    /// The measurement has ended, and the results are about to be sent.
    Writing,
    /// A part of the results, base64; in order.
    Books {
        /// What follows.
        part: String,
    },
    /// The measurement has ended and the results are sent.
    Finished {
        /// CRC-32 of the results: part of them may not have come.
        sum: u32,
    },
}
