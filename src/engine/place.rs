//! Where clients connect to: URL, address and trust, resolved once before the run.

use super::RunError;
use crate::net::memory::Network;
use crate::net::tls::{self, Trust};
use crate::plan::Target;
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::http::Uri;

/// In which one of several addresses of a host must take a TCP connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Where clients connect to.
pub(super) struct Place {
    /// ws:// or wss:// URL with path.
    pub(super) url: String,
    /// Resolved.
    pub(super) address: SocketAddr,
    /// For wss.
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
    /// The address is one of this network, not of the kernel.
    pub(super) memory: Option<Network>,
}

/// Whom clients of this target trust; `certificate` is the embedded server's own.
pub(super) fn trust<'a>(target: &'a Target, certificate: Option<&'a str>) -> Trust<'a> {
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
pub(super) async fn resolve(url: &str, trust: Trust<'_>) -> Result<Place, RunError> {
    let wrong = |cause: String| RunError::Address { url: url.to_owned(), cause };
    let (host, port, _) = parts(url)?;
    let found = tokio::net::lookup_host((host.as_str(), port)).await;
    let found = found.map_err(|error| wrong(format!("cannot resolve {host}: {error}; check the name of the host")))?;
    let address = answering(&found.collect::<Vec<_>>()).await.ok_or_else(|| wrong(format!("{host} has no address")))?;
    at(url, address, trust)
}

/// A URL whose address is known.
pub(super) fn at(url: &str, address: SocketAddr, trust: Trust<'_>) -> Result<Place, RunError> {
    let (host, _, secure) = parts(url)?;
    let tls = if secure {
        let name = ServerName::try_from(host).map_err(|error| RunError::Address { url: url.to_owned(), cause: error.to_string() })?;
        Some((TlsConnector::from(tls::client(trust)?), name))
    } else {
        None
    };
    Ok(Place { url: url.to_owned(), address, tls, memory: None })
}

/// Host, port, and whether it is wss.
fn parts(url: &str) -> Result<(String, u16, bool), RunError> {
    let wrong = |cause: String| RunError::Address { url: url.to_owned(), cause };
    let uri: Uri = url.parse().map_err(|error| wrong(format!("{error}")))?;
    let host = uri.host().ok_or_else(|| wrong("no host".into()))?.trim_matches(['[', ']']).to_owned();
    let secure = match uri.scheme_str() {
        Some("ws") => false,
        Some("wss") => true,
        _ => return Err(wrong("the scheme must be ws:// or wss://".into())),
    };
    Ok((host, uri.port_u16().unwrap_or(if secure { 443 } else { 80 }), secure))
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
