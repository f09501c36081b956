//! What happens in the proxy.

use crate::fault::Injection;
use crate::metrics::latency::micros;
use crate::number::counted;
use crate::proxy::account::{ConnectionAccount, ProxiedId};
use serde_json::{Map, Value, json};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Something that the proxy did or could not do.
#[derive(Clone, Debug, PartialEq)]
pub enum ProxyEvent {
    /// A connection was reset when it was accepted, because of a limit of this machine.
    Refused {
        /// The limit, in words.
        limit: &'static str,
    },
    /// The port that a fault had closed cannot be opened again, or what a fault did to it cannot be changed. It is tried on.
    NotListening {
        /// Where the proxy is to listen.
        listen: SocketAddr,
        /// Why.
        why: String,
    },
    /// The upstream could not be connected: the client's connection was reset.
    NotDialled {
        /// The upstream, as the user wrote it.
        upstream: String,
        /// Why.
        why: String,
    },
    /// TLS with a client failed: its connection was closed.
    ClientNotSecured {
        /// Why.
        why: String,
    },
    /// A client began with TLS, which passes through: no frame of it can be read.
    TlsPassedThrough {
        /// Where the proxy listens.
        listen: SocketAddr,
    },
    /// A client connected.
    Connected {
        /// Its connection.
        connection: ProxiedId,
        /// From where.
        from: SocketAddr,
    },
    /// The server answered an opening handshake.
    Answered {
        /// On which connection.
        connection: ProxiedId,
        /// Whose it is, where that can be told.
        client: Option<Arc<str>>,
        /// HTTP status; 101: the connection is open.
        status: u16,
        /// `Retry-After` in whole seconds, where given so.
        retry_after: Option<Duration>,
        /// Since the connection was accepted.
        took: Duration,
    },
    /// A connection is over.
    Ended(Box<ConnectionAccount>),
    /// More clients came than are told apart.
    TooManyClients {
        /// How many are.
        limit: usize,
    },
    /// A fault fired: whom it hit, or will.
    FaultFired {
        /// Name of the fault.
        fault: Arc<str>,
        /// What it does.
        inject: Arc<Injection>,
        /// It acts on connections that come, too.
        new: bool,
        /// Which of its firings, from 0.
        firing: u32,
        /// The first of the connections that it hit; none for one that waits for new ones, or is about listening sockets.
        hit: Vec<ProxiedId>,
        /// How many it hit.
        hits: usize,
        /// Connections among which it chose.
        eligible: usize,
    },
    /// A fault acts on a connection, or is about to.
    FaultActs {
        /// Name of the fault.
        fault: Arc<str>,
        /// Which of its firings.
        firing: u32,
        /// On which connection.
        connection: ProxiedId,
    },
    /// A firing of a fault is over: it holds nowhere any more.
    FaultReverted {
        /// Name of the fault.
        fault: Arc<str>,
        /// Which of its firings.
        firing: u32,
    },
    /// A fault was not carried out, and why.
    FaultNotCarriedOut {
        /// Name of the fault.
        fault: Arc<str>,
        /// Which of its firings.
        firing: u32,
        /// On which connection; `None`: on a listening socket.
        connection: Option<ProxiedId>,
        /// Why.
        why: String,
    },
}

impl fmt::Display for ProxyEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyEvent::Refused { limit } => write!(f, "connection refused (reset): {limit}"),
            ProxyEvent::NotListening { listen, why } => write!(f, "cannot listen on {listen} as before: {why}; it is tried on"),
            ProxyEvent::NotDialled { upstream, why } => write!(f, "cannot connect to {upstream}: {why}; the client's connection was reset"),
            ProxyEvent::ClientNotSecured { why } => write!(f, "TLS with a client failed: {why}; its connection was closed"),
            ProxyEvent::TlsPassedThrough { listen } => {
                write!(f, "{listen} gets TLS, which passes through: bytes are counted, WebSocket frames cannot be read")
            }
            ProxyEvent::Connected { connection, from } => write!(f, "connection {connection} from {from}"),
            ProxyEvent::Answered { connection, status, .. } => write!(f, "connection {connection}: the server answered with {status}"),
            ProxyEvent::Ended(account) => write!(f, "connection {} ended by {} ({})", account.connection, account.by, account.how()),
            ProxyEvent::TooManyClients { limit } => write!(f, "{limit} clients are told apart; further ones are not"),
            ProxyEvent::FaultFired { fault, firing, hits, eligible, .. } => {
                write!(f, "fault {fault} fired ({firing}): it hits {hits} of {}", counted(*eligible as u64, "connection"))
            }
            ProxyEvent::FaultActs { fault, connection, .. } => write!(f, "fault {fault} acts on connection {connection}"),
            ProxyEvent::FaultReverted { fault, firing } => write!(f, "fault {fault} is over ({firing})"),
            ProxyEvent::FaultNotCarriedOut { fault, connection: Some(connection), why, .. } => {
                write!(f, "fault {fault} was not carried out on connection {connection}: {why}")
            }
            ProxyEvent::FaultNotCarriedOut { fault, why, .. } => write!(f, "fault {fault} was not carried out: {why}"),
        }
    }
}

impl ProxyEvent {
    /// Whether it is of interest to a person at a terminal; others are of the traffic.
    pub fn is_notice(&self) -> bool {
        !matches!(self, ProxyEvent::Connected { .. } | ProxyEvent::Answered { .. } | ProxyEvent::Ended(_) | ProxyEvent::FaultActs { .. })
    }

    /// Its name, and what readers of the stream of events get. What is not known is absent.
    pub(crate) fn json(&self) -> (&'static str, Value) {
        let of = |connection: &ProxiedId| json!({ "proxy": *connection.proxy, "connection": connection.connection });
        match self {
            ProxyEvent::Refused { limit } => ("refused", json!({ "limit": limit })),
            ProxyEvent::NotListening { listen, why } => ("not_listening", json!({ "listen": listen.to_string(), "why": why })),
            ProxyEvent::NotDialled { upstream, why } => ("not_dialled", json!({ "upstream": upstream, "why": why })),
            ProxyEvent::ClientNotSecured { why } => ("tls_failed", json!({ "why": why })),
            ProxyEvent::TlsPassedThrough { listen } => ("tls_passed_through", json!({ "listen": listen.to_string() })),
            ProxyEvent::Connected { connection, from } => ("connected", with(of(connection), json!({ "client": from.to_string() }))),
            ProxyEvent::Answered { connection, client, status, retry_after, took } => {
                let name = if *status == 101 { "opened" } else { "rejected" };
                let more = json!({
                    "identity": client.as_deref(),
                    "status": status,
                    "retry_after_s": retry_after.map(|time| time.as_secs()),
                    "took_us": micros(*took),
                });
                (name, with(of(connection), more))
            }
            ProxyEvent::Ended(account) => ("closed", with(of(&account.connection), account.json())),
            ProxyEvent::TooManyClients { limit } => ("too_many_clients", json!({ "limit": limit })),
            ProxyEvent::FaultFired { fault, firing, hit, hits, eligible, .. } => {
                let hit: Vec<Value> = hit.iter().map(of).collect();
                ("fault_fired", json!({ "fault": **fault, "firing": firing, "hit": hit, "hits": hits, "eligible": eligible }))
            }
            ProxyEvent::FaultActs { fault, firing, connection } => {
                ("fault_acts", with(of(connection), json!({ "fault": **fault, "firing": firing })))
            }
            ProxyEvent::FaultReverted { fault, firing } => ("fault_reverted", json!({ "fault": **fault, "firing": firing })),
            ProxyEvent::FaultNotCarriedOut { fault, firing, connection, why } => {
                let connection = connection.as_ref().map_or_else(|| json!({}), of);
                ("fault_not_carried_out", with(connection, json!({ "fault": **fault, "firing": firing, "why": why })))
            }
        }
    }
}

/// Both together, without what is null.
fn with(first: Value, second: Value) -> Value {
    let fields = |value| if let Value::Object(fields) = value { fields } else { Map::new() };
    fields(first).into_iter().chain(fields(second)).filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>().into()
}
