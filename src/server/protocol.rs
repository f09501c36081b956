//! The line between closestorm and an embedded server process: what it is told to do, and the evidence it streams back.
//!
//! Over a link (`ipc`) whose buffer outlives a killed server. The server never waits for it: what does not fit is counted and reported. Its
//! moments are readings of the clock of the machine: a link is handed from process to process, so both ends are on one.

use crate::close::Ending;
use crate::event::{Outcome, Stage};
use crate::fault::{OnAttempt, OnListener};
use crate::ipc::Protocol;
use crate::plan::{Embedded, Firing, Standing};
use crate::transport::tickets::TicketKey;
use crate::transport::tls::Identity;
use crate::ws::handshake::own_headers::{Id, RunKey};
use crate::ws::session::mailbox::FiredInjection;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// Name and version of what is said here.
pub(crate) const PROTOCOL: Protocol = Protocol { name: "server", version: 3 };

/// What an embedded server process is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ServerSpec {
    /// Which instance.
    pub instance: u16,
    /// Which of its processes, from 0.
    pub process: u16,
    /// Processes of the instance.
    pub processes: u16,
    /// Where it listens, with `SO_REUSEPORT`.
    pub address: SocketAddr,
    /// Root seed.
    pub seed: u64,
    /// As planned, or the part of it for one of several processes.
    pub settings: Embedded,
    /// Certificate, where `settings.tls`.
    pub identity: Option<Identity>,
    /// For its messages, bytes.
    pub memory: usize,
    /// What clients of this run have behind their ids; `None`: nothing.
    #[serde(default)]
    pub key: Option<RunKey>,
    /// Clients of other programs are those of the run: they get numbers as they come, and the server tells of their attempts.
    #[serde(default)]
    pub real: bool,
}

/// What an embedded server is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum ToServer {
    /// Said once, first: what to be.
    Serve {
        /// See there.
        spec: Box<ServerSpec>,
        /// Worker processes that have the clients; none where the parent has them itself. So many [`Worker`](ToServer::Worker) follow.
        workers: u32,
    },
    /// With this message comes the end of the link to the next worker, by shard.
    Worker,
    /// Listen: what stands already has been told, and all processes of the instance are there. One that began alone would get all that
    /// comes meanwhile.
    Listen {
        /// What the processes of an instance seal their TLS sessions with, until the instance restarts.
        tickets: TicketKey,
    },
    /// A fault acts on these connections.
    Inject {
        /// What to do.
        dose: FiredInjection,
        /// On whom.
        ids: Vec<Id>,
    },
    /// A fault acts on connections that open from now on.
    InjectNew {
        /// What to do.
        dose: FiredInjection,
        /// On whom.
        standing: Standing,
    },
    /// A fault acts on attempts from now on.
    Attempts {
        /// Which firing of which fault.
        firing: Firing,
        /// What to do.
        effect: OnAttempt,
        /// On whom.
        standing: Standing,
    },
    /// A fault acts on the listening socket from now on; carried out, it is reported as reached.
    Listener {
        /// Which firing of which fault.
        firing: Firing,
        /// What to do.
        on: OnListener,
        /// Only this instance; `None`: all.
        instance: Option<u16>,
    },
    /// A firing of a fault is over.
    Revert {
        /// Which.
        firing: Firing,
    },
    /// An answer to [`FromServer::Ask`].
    Answer {
        /// Its number.
        ticket: u64,
        /// The firing may hit one more.
        granted: bool,
    },
    /// An answer to [`FromServer::Came`].
    Numbered {
        /// Of the question.
        ticket: u64,
        /// Which connection it is; `None`: one too many, and nothing of it is recorded.
        id: Option<Id>,
    },
    /// SIGSTOP is near: handshakes are not served any more; answered by [`FromServer::Still`].
    StandStill {
        /// For the answer.
        ticket: u64,
    },
    /// SIGCONT has come: they are served again, so much later.
    GoOn,
    /// Say [`FromServer::Told`] behind all evidence so far of this link.
    Tell {
        /// For the answer.
        ticket: u64,
    },
    /// [`FromServer::Over`] has come.
    Heard,
    /// Stop listening, close every connection, exit.
    Graceful {
        /// Fault, by index in the plan.
        fault: u16,
        /// Status code.
        code: u16,
        /// Reason.
        reason: String,
        /// Longest wait for the closing handshakes.
        grace: Duration,
        /// Time over which the Close frames go out.
        spread: Duration,
    },
}

/// What an embedded server reports; `at_ns` is raw CLOCK_MONOTONIC.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum FromServer {
    /// It listens, or would but for a fault that stands.
    Listening {
        /// When.
        at_ns: u64,
    },
    /// A fault has begun to act on the listening socket of an instance.
    Reached {
        /// Which firing of which fault.
        firing: Firing,
        /// Which server.
        instance: u16,
        /// When.
        at_ns: u64,
    },
    /// A fault acts on a connection or attempt. Sent before it does.
    Injected {
        /// Fault, by index in the plan.
        fault: u16,
        /// On whom; none where the request bore no id.
        id: Option<Id>,
        /// When.
        at_ns: u64,
        /// Firings by which nothing that the server sends reaches the client any more.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        dead_by: Vec<Firing>,
    },
    /// May this firing hit one more? One place has the budget of hits of all servers, processes and their successors.
    Ask {
        /// Which server.
        instance: u16,
        /// Which of its processes.
        process: u16,
        /// Which firing.
        firing: Firing,
        /// For the answer.
        ticket: u64,
    },
    /// A real client asks for a WebSocket, or has failed before: answered by [`ToServer::Numbered`].
    Came {
        /// Which server.
        instance: u16,
        /// Which of its processes.
        process: u16,
        /// For the answer.
        ticket: u64,
        /// When.
        at_ns: u64,
    },
    /// The connection of a real client is open.
    Opened {
        /// Which.
        id: Id,
        /// When.
        at_ns: u64,
    },
    /// The attempt of a real client ended without a connection.
    NotOpened {
        /// Which.
        id: Id,
        /// How far it had come.
        stage: Stage,
        /// How.
        outcome: Outcome,
        /// The fault that acted on it, by index in the plan.
        fault: Option<u16>,
        /// When.
        at_ns: u64,
    },
    /// It serves no handshakes.
    Still {
        /// Of [`ToServer::StandStill`].
        ticket: u64,
    },
    /// All evidence of this link up to [`ToServer::Tell`] has been said.
    Told {
        /// Of that.
        ticket: u64,
    },
    /// Nothing more will be said on this link; who answers with [`ToServer::Heard`] has all of it.
    Over,
    /// Evidence is missing. Said by who has the other end of the link.
    Incomplete {
        /// As shown.
        why: String,
    },
    /// Something in the server's own process panicked: a bug of ours.
    Panicked,
    /// The server's own process met a limit of this machine.
    LocalLimit {
        /// As shown.
        what: String,
    },
    /// A connection ended.
    Ended {
        /// Which; none where the request bore no id.
        id: Option<Id>,
        /// The server's account.
        ending: Box<Ending>,
        /// When.
        at_ns: u64,
    },
    /// Something that a reader of the results must know.
    Notice {
        /// As shown.
        text: String,
    },
}
