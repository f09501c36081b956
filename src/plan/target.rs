//! `[target]`: the server under test.

use super::Heartbeat;
use crate::address::Address;
use crate::seed::Seed;
use crate::units::Rate;
use core::net::IpAddr;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The server under test.
#[derive(Clone, Debug)]
pub enum Target {
    /// Our own echo server, a child process for each instance.
    Embedded(Embedded),
    /// A server that we start, stop and kill.
    Command(Command),
    /// A server that is not embedded.
    Url(Box<Remote>),
}

impl Target {
    /// Instances that a fault can name, counted from 0; a server that is not embedded is one.
    pub fn instances(&self) -> u16 {
        if let Target::Embedded(embedded) = self { embedded.instances } else { 1 }
    }

    /// Whether clients follow a redirect that answers their opening handshake.
    pub fn follows_redirects(&self) -> bool {
        matches!(self, Target::Url(remote) if remote.redirects > 0)
    }

    /// Opening handshakes before offset 0: none where the server is ours.
    pub fn before(&self) -> Before {
        match self {
            Target::Embedded(_) => Before::default(),
            Target::Command(command) => command.before,
            Target::Url(remote) => remote.before,
        }
    }
}

/// `[target.embedded]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Embedded {
    /// Instances, each on its own port; at least 1.
    pub instances: u16,
    /// Processes of each instance, which share its port; `None`: as many as its connections need.
    pub processes: Option<u16>,
    /// Which instance a client connects to.
    pub balance: Balance,
    /// Time of the service queue that each opening handshake reserves.
    pub handshake_cost: Duration,
    /// Opening handshakes served at a time; at least 1.
    pub parallel: u32,
    /// Length of the listen queue.
    pub backlog: u32,
    /// More connections are rejected with 503.
    pub max_connections: Option<u32>,
    /// Token bucket before the service queue.
    pub admit: Option<Admit>,
    /// Order of the service queue.
    pub queue: QueueOrder,
    /// After a start, `handshake_cost` begins tenfold and falls linearly to its value in this time.
    pub slow_start: Option<Duration>,
    /// wss with a self-made certificate.
    pub tls: bool,
    /// It takes up earlier TLS sessions; a restart makes them worthless.
    pub resume: bool,
    /// Server-driven heartbeat.
    pub ping: Option<Heartbeat>,
}

impl Default for Embedded {
    /// One instance without limits of its own: no handshake cost, a listen queue of 1,024, no TLS, no pings.
    fn default() -> Embedded {
        Embedded {
            instances: 1,
            processes: None,
            balance: Balance::RoundRobin,
            handshake_cost: Duration::ZERO,
            parallel: 1,
            backlog: 1024,
            max_connections: None,
            admit: None,
            queue: QueueOrder::Fifo,
            slow_start: None,
            tls: false,
            resume: true,
            ping: None,
        }
    }
}

/// Which instance an attempt goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Attempts in turn.
    RoundRobin,
    /// Drawn for each attempt.
    Random,
    /// Fixed by client index.
    Sticky,
    /// Attempts in turn, over the instances that listen.
    Healthy,
}

/// Token bucket of opening handshakes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Admit {
    /// Tokens per second.
    pub rate: Rate,
    /// Size of the bucket.
    pub burst: u32,
    /// HTTP status of those without token.
    pub reject: u16,
    /// `Retry-After` of those without token, whole seconds.
    pub retry_after: Option<Duration>,
}

/// Order in which waiting handshakes are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueOrder {
    /// Oldest first.
    Fifo,
    /// Newest first.
    Lifo,
}

/// `[target.command]`.
#[derive(Clone, Debug)]
pub struct Command {
    /// Program and arguments; `{port}` stands for the port.
    pub run: Vec<String>,
    /// The same as it may be shown: as written, without secrets.
    pub shown: String,
    /// URL with `{port}`, as `ws://127.0.0.1:{port}/`.
    pub address: String,
    /// When it counts as started.
    pub ready: Ready,
    /// Longest time until then.
    pub ready_within: Duration,
    /// Signal of a graceful stop, as `SIGTERM`.
    pub stop_signal: String,
    /// Added to the environment.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub workdir: Option<PathBuf>,
    /// Accept any certificate.
    pub insecure: bool,
    /// PEM file of extra roots.
    pub ca: Option<PathBuf>,
    /// What it is asked for before offset 0.
    pub before: Before,
}

/// Opening handshakes that a target is asked for before offset 0, which count nowhere. They have the values of the first client's first
/// attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// One, to see whether the target is what the scenario takes it for.
    pub probe: bool,
    /// Those of a search for capacity, for as long as its command line says.
    pub warm_up: bool,
}

/// When a command target counts as started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// A TCP connect to the address succeeds.
    Tcp,
    /// A GET on the path answers with the status.
    Http {
        /// Path and query.
        path: String,
        /// Expected status.
        status: u16,
    },
    /// A line of its standard output contains the text.
    Line {
        /// What to look for.
        text: String,
    },
}

/// `[target.url]`.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Where it listens.
    pub address: Address,
    /// Accept any certificate.
    pub insecure: bool,
    /// PEM file of extra roots.
    pub ca: Option<PathBuf>,
    /// What it is asked for before offset 0.
    pub before: Before,
    /// Local addresses that clients connect from, in turn; empty: the kernel chooses.
    pub source: Vec<IpAddr>,
    /// Whatever the name of the target, or of its proxy, leads to must be an address of this machine: an untrusted scenario may contact nobody else.
    pub must_be_here: bool,
    /// Addresses of names, in place of what the name server says of them.
    pub resolve: Vec<(String, IpAddr)>,
    /// Which of several addresses an attempt begins with.
    pub addresses: AddressChoice,
    /// PEM files of a certificate that clients show, and of its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Protocols of ALPN to offer, in order.
    pub alpn: Vec<String>,
    /// Who the server must be in TLS, in place of the host.
    pub sni: Option<String>,
    /// The HTTP proxy that all connections go through, by CONNECT.
    pub proxy: Option<ProxyAddress>,
    /// Redirects that an attempt follows.
    pub redirects: u16,
}

/// An HTTP proxy.
#[derive(Clone, Debug)]
pub struct ProxyAddress {
    /// Host and port, and credentials, as those of the URL `ws://…` with the same parts.
    pub address: Address,
}

/// Which of the addresses of a host an attempt begins with; where one does not take it, the next is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressChoice {
    /// As the library of a cohort's preset does: in the order of the name server, and on to the next. A strategy without a library has the first
    /// that answered before the run.
    Library,
    /// The first that answered before the run: all attempts, and none tries another.
    First,
    /// In turn, by client and attempt.
    InTurn,
    /// Drawn for each attempt, from `client/<k>/address/<attempt>`.
    Random,
}

impl AddressChoice {
    /// With which of `count` addresses an attempt of a client begins, from 0.
    pub fn begin(self, count: usize, (client, attempt): (u32, u32), seed: Seed) -> usize {
        let count = count.max(1) as u64;
        let place = match self {
            AddressChoice::Library | AddressChoice::First => 0,
            AddressChoice::InTurn => (u64::from(client) + u64::from(attempt.saturating_sub(1))) % count,
            AddressChoice::Random => seed.stream(&format!("client/{client}/address/{attempt}")).below(count),
        };
        place as usize
    }
}

impl Remote {
    /// What clients connect to: the target, or the proxy on the way to it.
    pub fn connected(&self) -> &Address {
        self.proxy.as_ref().map_or(&self.address, |proxy| &proxy.address)
    }

    /// The addresses that the scenario gives for a host; empty where it gives none.
    pub fn given(&self, host: &str) -> Vec<IpAddr> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        self.resolve.iter().filter(|(name, _)| name.eq_ignore_ascii_case(host)).map(|(_, address)| *address).collect()
    }
}
