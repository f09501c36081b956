//! Why a run could not begin: each with its cause and the way out.

use crate::ipc;
use crate::number::{counted, noun_of, word_of};
use crate::sut::command;
use crate::transport::tls_error::TlsError;
use std::io;

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The process of the target.
    #[error(transparent)]
    Target(#[from] command::Error),
    /// TLS settings.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A URL that leads nowhere.
    #[error("cannot use target {url}: {cause}")]
    Address {
        /// As written.
        url: String,
        /// Why.
        cause: String,
    },
    /// The target does not speak WebSocket, or not to us.
    #[error("target {url} is not ready for a run: {cause}")]
    Unready {
        /// Where.
        url: String,
        /// Why.
        cause: String,
    },
    /// More than a target on another machine gets without being asked for.
    #[error("{url} is on another machine: add --yes to allow {}", too_much.join(", "))]
    TooMuch {
        /// Where.
        url: String,
        /// What of the plan.
        too_much: Vec<String>,
    },
    /// More clients than files.
    #[error(
        "{clients} {}{} {} {needed} open files, and the limit of this process is {limit}: raise the limit (`ulimit -n \
         {needed}`), use more processes (`--workers N`){}",
        noun_of((*clients).into(), "client"), beside(*left), word_of(u64::from(*clients) + left, "needs", "need"), fewer(*fits)
    )]
    Files {
        /// Planned.
        clients: u32,
        /// Sockets that faults may leave open.
        left: u64,
        /// With what else is open.
        needed: u64,
        /// Hard limit.
        limit: u64,
        /// Clients that fit.
        fits: u64,
    },
    /// A local address that cannot be used.
    #[error("cannot connect from {source_address}: {cause}; name addresses of this machine, of the target's family (`ip addr` lists them)")]
    Source {
        /// As given.
        source_address: std::net::IpAddr,
        /// Why.
        cause: String,
    },
    /// An embedded server process started and did not report.
    #[error("embedded server {instance} started but did not report its port{}", if said.is_empty() { String::new() } else { format!("; \
        it printed: {said}") })]
    NoHello {
        /// Which.
        instance: u16,
        /// The last lines that it printed.
        said: String,
    },
    /// A server that should be there again.
    #[error("it did not restart: {0}")]
    NotBack(String),
    /// A run in this process alone has none.
    #[error("{what} needs processes, which do not exist when all of a run is in one")]
    NeedsProcesses {
        /// What does.
        what: String,
    },
    /// It was told to stop before it began.
    #[error("stopped before the run began")]
    Stopped,
    /// The machine.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<ipc::LinkError> for RunError {
    fn from(error: ipc::LinkError) -> Self {
        RunError::Io(io::Error::other(error))
    }
}

fn beside(left: u64) -> String {
    if left > 0 { format!(" and up to {} that faults leave open behind dead paths", counted(left, "socket")) } else { String::new() }
}

fn fewer(fits: u64) -> String {
    if fits > 0 { format!(" or run fewer clients (`--clients {fits}`)") } else { String::new() }
}
