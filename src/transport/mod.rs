//! Bytes: [`ByteStream`](socket::ByteStream) (a socket, or a connection in memory), [`Transport`] (with or without TLS), the gates of faults on it, and the
//! frames that pass.
//!
//! Two wrappers, both inline: `link` on raw TCP and `tap` on plaintext. On ws the one wraps the other directly, on wss `secure` is between.

pub mod clock;
pub mod delay_line;
pub mod link;
pub(crate) mod local_limit;
pub mod memory;
pub mod record;
pub mod secure;
pub(crate) mod send_limit;
pub mod socket;
pub mod tickets;
pub mod tls;
pub(crate) mod tls_error;
pub mod tls_words;

use crate::close::TlsEnd;
use crate::transport::link::Link;
use crate::transport::secure::Secure;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection below its frames.
#[derive(Debug)]
pub enum Transport {
    /// ws.
    Plain(Link),
    /// wss.
    Secure(Box<Secure>),
}

impl Transport {
    /// The raw link.
    pub fn link(&self) -> &Link {
        match self {
            Transport::Plain(link) => link,
            Transport::Secure(tls) => tls.link(),
        }
    }

    /// The raw link.
    pub fn link_mut(&mut self) -> &mut Link {
        match self {
            Transport::Plain(link) => link,
            Transport::Secure(tls) => tls.link_mut(),
        }
    }

    /// How TLS ended so far; `None` on ws.
    pub fn tls_end(&self) -> Option<TlsEnd> {
        match self {
            Transport::Plain(_) => None,
            Transport::Secure(tls) => Some(tls.end()),
        }
    }

    /// Whether TCP was cut inside a TLS record.
    pub fn mid_record(&self) -> bool {
        match self {
            Transport::Plain(_) => false,
            Transport::Secure(tls) => tls.mid_record(),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(link) => Pin::new(link).poll_read(cx, buffer),
            Transport::Secure(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(link) => Pin::new(link).poll_write(cx, bytes),
            Transport::Secure(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(link) => Pin::new(link).poll_flush(cx),
            Transport::Secure(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(link) => Pin::new(link).poll_shutdown(cx),
            Transport::Secure(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
