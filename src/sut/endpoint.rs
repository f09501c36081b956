//! Where clients connect to: URL, address and trust, resolved once before the run.

use crate::address::Address;
use crate::plan::Target;
use crate::plan::limits::is_here;
use crate::secret::mask_address;
use crate::sut::error::RunError;
use crate::transport::memory::network::Network;
use crate::transport::tls;
use crate::transport::tls::{Sessions, Trust};
use crate::transport::tls_words::Asked;
use crate::ws::handshake::own_headers::RunKey;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// In which one of several addresses of a host must take a TCP connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Where clients connect to.
pub(crate) struct Endpoint {
    /// As the scenario says, with the port of a command.
    pub(crate) url: Address,
    /// Resolved.
    pub(crate) address: SocketAddr,
    /// For wss.
    pub(crate) tls: Option<Tls>,
    /// Whether its server asked for a certificate of the client.
    pub(crate) asked: Arc<Asked>,
    /// The address is one of this network, not of the kernel.
    pub(crate) memory: Option<Network>,
    /// By which an embedded server knows the clients of its run; for nobody else.
    pub(crate) key: Option<RunKey>,
}

/// How clients begin TLS with a place.
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    /// Who the server must be.
    pub(crate) name: ServerName<'static>,
}

impl Tls {
    /// For a client with these sessions; without any each of its handshakes is a full one.
    pub(crate) fn connector(&self, sessions: Option<&Arc<Sessions>>) -> TlsConnector {
        match sessions {
            // Made anew for each attempt and kept by its connection only: a client that waits has nothing but its tickets.
            Some(sessions) => TlsConnector::from(Arc::new(tls::keeping(&self.config, sessions))),
            None => TlsConnector::from(self.config.clone()),
        }
    }
}

/// Whom clients of this target trust; `certificate` is the embedded server's own.
pub(crate) fn trust<'a>(target: &'a Target, certificate: Option<&'a str>) -> Trust<'a> {
    match target {
        Target::Embedded(_) => certificate.map_or(Trust::Roots(None), Trust::Only),
        Target::Command(command) => among(command.insecure, command.ca.as_deref()),
        Target::Url(remote) => among(remote.insecure, remote.ca.as_deref()),
    }
}

fn among(insecure: bool, ca: Option<&Path>) -> Trust<'_> {
    if insecure { Trust::Anything } else { Trust::Roots(ca) }
}

/// Resolves a URL.
pub(crate) async fn resolve(url: Address, trust: Trust<'_>) -> Result<Endpoint, RunError> {
    resolve_here(url, trust, false).await
}

/// As [`resolve`]; `must`: all addresses behind the name are of this machine. They decide, and not the name; nobody is connected before.
pub(crate) async fn resolve_here(url: Address, trust: Trust<'_>, must: bool) -> Result<Endpoint, RunError> {
    let wrong = |cause: String| RunError::Address { url: url.to_string(), cause };
    let found = lookup(&url).await.map_err(wrong)?;
    if let Some(strange) = found.iter().map(SocketAddr::ip).find(|ip| must && !is_here(*ip)) {
        let host = &url.host;
        let why =
            format!("{host} is {strange}, which is not on this machine, and the scenario is untrusted: allow it by --allow-host {host}");
        return Err(wrong(why));
    }
    let address = answering(&found).await.ok_or_else(|| wrong(format!("{} has no address", url.host)))?;
    at(url, address, trust)
}

/// The addresses behind a URL, at least one; an error says what is wrong with the name.
pub(crate) async fn lookup(url: &Address) -> Result<Vec<SocketAddr>, String> {
    let host = url.host.as_str();
    let found = tokio::net::lookup_host((host, url.port)).await;
    let found: Vec<_> = found.map_err(|error| format!("cannot resolve {host}: {error}; check the name of the host"))?.collect();
    if found.is_empty() { Err(format!("{host} has no IP address")) } else { Ok(found) }
}

/// Reads a URL.
pub(crate) fn read(url: &str) -> Result<Address, RunError> {
    Address::parse(url).map_err(|cause| RunError::Address { url: mask_address(url), cause: cause.to_owned() })
}

/// A URL whose address is known.
pub(crate) fn at(url: Address, address: SocketAddr, trust: Trust<'_>) -> Result<Endpoint, RunError> {
    let asked = Arc::new(Asked::default());
    let tls = if url.secure {
        let name = ServerName::try_from(url.host.clone());
        let name = name.map_err(|error| RunError::Address { url: url.to_string(), cause: error.to_string() })?;
        let mut config = tls::client(trust)?;
        Arc::make_mut(&mut config).client_auth_cert_resolver = asked.clone();
        Some(Tls { config, name })
    } else {
        None
    };
    Ok(Endpoint { url, address, tls, asked, memory: None, key: None })
}

/// The first address that takes a TCP connect, or the first where none does: `localhost` is often ::1 and 127.0.0.1, and only one of
/// them served.
async fn answering(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    if addresses.len() > 1 {
        for address in addresses {
            if matches!(timeout(CONNECT_WITHIN, TcpStream::connect(address)).await, Ok(Ok(_))) {
                return Some(*address);
            }
        }
    }
    addresses.first().copied()
}
