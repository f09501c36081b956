//! TLS at both sides of the proxy: whom it trusts upstream, and as whom it answers clients.

use crate::transport::Transport;
use crate::transport::link::Link;
use crate::transport::record::Records;
use crate::transport::secure::Secure;
use crate::transport::tls::{self, Trust};
use crate::transport::tls_error::TlsError;
use crate::transport::tls_words;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Whom the proxy trusts as an upstream. The machine's roots are read when the first upstream needs them.
#[derive(Debug, Default)]
pub struct UpstreamTrust {
    /// Any certificate is accepted.
    pub insecure: bool,
    /// PEM file with further roots.
    pub ca: Option<PathBuf>,
    settings: OnceLock<Arc<ClientConfig>>,
}

impl UpstreamTrust {
    /// Trusts the roots of this machine and those of the file, or everybody.
    pub fn new(insecure: bool, ca: Option<PathBuf>) -> Self {
        UpstreamTrust { insecure, ca, settings: OnceLock::new() }
    }

    /// Settings of connections to upstreams.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn settings(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(settings) = self.settings.get() {
            return Ok(settings.clone());
        }
        let trust = if self.insecure { Trust::Anything } else { Trust::Roots(self.ca.as_deref()) };
        let settings = tls::client(trust)?;
        Ok(self.settings.get_or_init(|| settings).clone())
    }

    /// The handshake with the upstream of this name, within `limit`.
    ///
    /// # Errors
    /// Why it failed, in words.
    pub(crate) async fn connect(&self, stream: TcpStream, name: &str, limit: Duration) -> io::Result<Transport> {
        let connector = TlsConnector::from(self.settings().map_err(io::Error::other)?);
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let handshake = timeout(limit, Secure::connect(connector, name, Link::new(stream)));
        let shaken = handshake.await.unwrap_or_else(|_| Err(late(limit)));
        shaken.map(Transport::Secure).map_err(|error| {
            let remedy = if tls_words::is_distrust(&error) { "; trust it with --ca FILE, or any certificate with --insecure" } else { "" };
            let words = tls_words::of(&error, false).unwrap_or_else(|| closed_or(&error, "the server"));
            io::Error::new(error.kind(), format!("TLS: {words}{remedy}"))
        })
    }
}

/// The handshake with a client, within `limit`.
///
/// # Errors
/// Why it failed, in words.
pub(crate) async fn accept(settings: &Arc<ServerConfig>, stream: TcpStream, limit: Duration) -> Result<Transport, String> {
    let accepting = TlsAcceptor::from(settings.clone()).accept(Records::new(Link::new(stream)));
    let shaken = timeout(limit, accepting).await.unwrap_or_else(|_| Err(late(limit)));
    let secure = shaken.map_err(|error| tls_words::of_client(&error).unwrap_or_else(|| closed_or(&error, "the client")))?;
    Ok(Transport::Secure(Box::new(Secure::new(secure))))
}

fn late(limit: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("not complete within {limit:?}"))
}

fn closed_or(error: &io::Error, who: &str) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("{who} closed the connection during the handshake"),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => format!("{who} reset the connection during the handshake"),
        _ => error.to_string(),
    }
}
