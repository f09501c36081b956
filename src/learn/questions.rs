//! What a client is asked, where it comes from, and why nothing could be learnt of it.

use super::client::ClientCommand;
use crate::close::{ABNORMAL, NO_STATUS};
use crate::seed::Seed;
use crate::sut::command::Error;
use crate::text::barred_lines;
use crate::units::print_duration;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// How long a silence is kept up, and an answer kept back.
pub(super) const SILENCE: Duration = Duration::from_secs(75);
/// Pings that are sent at once: as many as fit into the buffers of a client that does not read for a while.
pub(super) const PINGS: u32 = 3000;
/// How long a fresh client has to connect.
pub(super) const START_WITHIN: Duration = Duration::from_secs(60);

/// How attempts of an outage are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RefuseBy {
    /// By a reset right after the request.
    #[default]
    Reset,
    /// By status 503.
    Unavailable,
    /// By the kernel: nobody listens. Attempts are seen only by who may read raw packets (CAP_NET_RAW).
    ClosedPort,
}

/// Where the client comes from.
#[derive(Clone, Debug)]
pub enum ClientSource {
    /// It is started by us.
    Command(ClientCommand),
    /// Its user starts it, and it connects to this address.
    Visitor(SocketAddr),
}

/// What is asked, and how often.
#[derive(Clone, Debug)]
pub struct Questions {
    /// Outages in all.
    pub outages: u32,
    /// Attempts that are refused in each.
    pub attempts: u32,
    /// How.
    pub refuse: RefuseBy,
    /// How long a connection is open before it is cut.
    pub held: Duration,
    /// Leaves out what takes a minute or more.
    pub quick: bool,
    /// Processes side by side; 1 of a client that its user starts.
    pub instances: u16,
    /// `HOST:PORT` of the server that speaks on open connections; `None`: messages are sent back.
    pub upstream: Option<String>,
    /// Of all that is random.
    pub seed: Seed,
}

/// Why nothing could be learnt.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// There is no such program.
    #[error("program `{0}` not found: check the command behind `--`; a name is looked up in PATH, one with a slash from this folder")]
    NotFound(String),
    /// The client's process.
    #[error(transparent)]
    Process(Error),
    /// A socket of ours.
    #[error("cannot serve: {0}")]
    Serve(#[from] io::Error),
    /// Attempts at a closed port cannot be seen.
    #[error("attempts at a closed port cannot be seen: {0}; run as root or with CAP_NET_RAW, or use --refuse reset")]
    Capture(io::Error),
    /// It runs and does not connect.
    #[error("the client did not connect to {url} within {}; {}", print_duration(START_WITHIN), last_output(printed))]
    NeverCame {
        /// Where it was to connect.
        url: String,
        /// The end of its output.
        printed: String,
    },
    /// It ended and has not connected.
    #[error("the client ended ({how}) and did not connect to {url}; {}", last_output(printed))]
    Ended {
        /// How.
        how: String,
        /// Where it was to connect.
        url: String,
        /// The end of its output.
        printed: String,
    },
    /// Nobody has started a client.
    #[error("no client came to {url} within {}", print_duration(*within))]
    NobodyCame {
        /// Where one was awaited.
        url: String,
        /// How long.
        within: Duration,
    },
}

impl From<Error> for LearnError {
    fn from(error: Error) -> Self {
        match error {
            Error::ProgramNotFound { program } => LearnError::NotFound(program),
            error => LearnError::Process(error),
        }
    }
}

fn last_output(printed: &str) -> String {
    if printed.is_empty() { "it printed nothing".to_owned() } else { format!("its last output:\n{}", barred_lines(printed)) }
}

/// A question beside the waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrialQuestion {
    ShortLived,
    Code(u16),
    Status(u16),
    ClosedPort,
    /// TCP that the server keeps open behind a closing handshake.
    HeldClose,
    /// Many pings at once.
    Pings,
    RetryAfter,
    Silence,
    Unanswered,
}

impl TrialQuestion {
    pub(super) fn words(self) -> String {
        match self {
            TrialQuestion::ShortLived => "connections that are cut right after they opened".to_owned(),
            TrialQuestion::Code(NO_STATUS) => "an empty Close frame".to_owned(),
            TrialQuestion::Code(ABNORMAL) => "FIN without a Close frame".to_owned(),
            TrialQuestion::Code(code) => format!("status code {code}"),
            TrialQuestion::Status(status) => format!("HTTP status {status}"),
            TrialQuestion::ClosedPort => "a closed port".to_owned(),
            TrialQuestion::HeldClose => "TCP that stays open after the closing handshake".to_owned(),
            TrialQuestion::Pings => format!("{PINGS} pings at once"),
            TrialQuestion::RetryAfter => "Retry-After".to_owned(),
            TrialQuestion::Silence => format!("a server that is silent (up to {})", print_duration(SILENCE)),
            TrialQuestion::Unanswered => format!("a request that is not answered (up to {})", print_duration(SILENCE)),
        }
    }
}

impl RefuseBy {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            RefuseBy::Reset => "a reset right after the request",
            RefuseBy::Unavailable => "status 503",
            RefuseBy::ClosedPort => "a closed port",
        }
    }
}
