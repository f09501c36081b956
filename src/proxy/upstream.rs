//! Where the proxy connects to: read from text, resolved and dialled for each connection.

use crate::proxy::tls::UpstreamTrust;
use crate::transport::Transport;
use crate::transport::link::Link;
use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// A server behind the proxy: host and port, with the text that the user wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    text: String,
    host: String,
    port: u16,
    secure: bool,
}

impl FromStr for Upstream {
    type Err = String;

    /// Reads `ws://HOST[:PORT]`, `wss://HOST[:PORT]`, `tcp://HOST:PORT` or `HOST:PORT`. No host: this machine.
    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").map_or((None, text), |(scheme, rest)| (Some(scheme.to_ascii_lowercase()), rest));
        let default_port = match scheme.as_deref() {
            None | Some("tcp") => None,
            Some("ws") => Some(80),
            Some("wss") => Some(443),
            Some(other) => {
                return Err(format!("\"{other}://\" is not an upstream: it is `ws://HOST:PORT`, `wss://HOST:PORT` or `tcp://HOST:PORT`"));
            }
        };
        let authority = match rest.split_once(['/', '?', '#']) {
            Some((authority, "")) if scheme.is_some() => authority,
            Some(_) => return Err("an upstream has no path: requests pass with the path that the client asks for".to_owned()),
            None => rest,
        };
        let (host, port) = match authority.rsplit_once(':').filter(|_| !authority.ends_with(']')) {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.contains('@') || (bare == host && host.contains(':')) {
            return Err(format!("\"{authority}\" is not HOST:PORT; an IPv6 address stands in brackets"));
        }
        let port = match port.map(|port| port.parse().ok().filter(|port| *port > 0)) {
            Some(None) => return Err("the port of an upstream is a number from 1 to 65535".to_owned()),
            Some(Some(port)) => port,
            None => default_port.ok_or_else(|| format!("\"{text}\" has no port: it is HOST:PORT"))?,
        };
        let host = if bare.is_empty() { "localhost" } else { bare };
        let secure = scheme.as_deref() == Some("wss");
        if secure && rustls::pki_types::ServerName::try_from(host).is_err() {
            return Err(format!("\"{host}\" is no name that a certificate can be for"));
        }
        Ok(Upstream { text: text.to_owned(), host: host.to_owned(), port, secure })
    }
}

/// As the user wrote it.
impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Upstream {
    /// Host and port, an IPv6 address in brackets.
    pub fn authority(&self) -> String {
        let bracketed = |host: &str| if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        format!("{}:{}", bracketed(&self.host), self.port)
    }

    /// Whether it speaks TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Connects, and shakes hands where it speaks TLS: each within `limit`.
    ///
    /// # Errors
    /// As of both.
    pub(crate) async fn connect(&self, trust: &UpstreamTrust, limit: Duration) -> io::Result<Transport> {
        let stream = self.dial(limit).await?;
        if self.secure { trust.connect(stream, &self.host, limit).await } else { Ok(Transport::Plain(Link::new(stream))) }
    }

    /// Connects: all addresses of the host in turn, within `limit` together.
    ///
    /// # Errors
    /// The last address's, or that the time is over.
    async fn dial(&self, limit: Duration) -> io::Result<TcpStream> {
        let dialled = async {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
            for address in lookup_host((self.host.as_str(), self.port)).await? {
                match TcpStream::connect(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error,
                }
            }
            Err(last)
        };
        let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}"));
        timeout(limit, dialled).await.unwrap_or_else(|_| Err(late()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_host_and_a_port() {
        for (text, host, port, secure) in [
            ("127.0.0.1:8080", "127.0.0.1", 8080, false),
            ("ws://example.org", "example.org", 80, false),
            ("WS://example.org:81/", "example.org", 81, false),
            ("tcp://[::1]:6379", "::1", 6379, false),
            (":6379", "localhost", 6379, false),
            ("wss://example.org", "example.org", 443, true),
            ("Wss://[::1]:8443", "::1", 8443, true),
        ] {
            let upstream: Upstream = text.parse().unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(
                (upstream.host.as_str(), upstream.port, upstream.is_secure(), upstream.to_string().as_str()),
                (host, port, secure, text)
            );
            let again: Upstream = upstream.authority().parse().unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!((again.host, again.port), (upstream.host, upstream.port), "{text}");
        }
    }

    #[test]
    fn what_is_no_upstream_is_said() {
        for (text, why) in [
            ("wss://h h", "certificate"),
            ("http://h", "not an upstream"),
            ("ws://h/path", "no path"),
            ("h/", "no path"),
            ("h", "no port"),
            ("tcp://h", "no port"),
            ("h:0", "65535"),
            ("h:70000", "65535"),
            ("h:x", "65535"),
            ("::1:80", "brackets"),
            ("user@h:80", "HOST:PORT"),
        ] {
            let found = text.parse::<Upstream>().expect_err(text);
            assert!(found.contains(why), "{text}: {found}");
        }
    }
}
