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
pub mod watched;

use crate::close::TlsEnd;
use crate::transport::link::Link;
use crate::transport::secure::Secure;
use crate::transport::watched::{WireBytes, WireWatch};
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
    /// Either, and somebody follows its bytes.
    Watched(Box<WatchedTransport>),
}

impl Transport {
    /// The raw link.
    pub fn link(&self) -> &Link {
        match self {
            Transport::Plain(link) => link,
            Transport::Secure(tls) => tls.link(),
            Transport::Watched(watched) => watched.inner.link(),
        }
    }

    /// The raw link.
    pub fn link_mut(&mut self) -> &mut Link {
        match self {
            Transport::Plain(link) => link,
            Transport::Secure(tls) => tls.link_mut(),
            Transport::Watched(watched) => watched.inner.link_mut(),
        }
    }

    /// How TLS ended so far; `None` on ws.
    pub fn tls_end(&self) -> Option<TlsEnd> {
        match self {
            Transport::Plain(_) => None,
            Transport::Secure(tls) => Some(tls.end()),
            Transport::Watched(watched) => watched.inner.tls_end(),
        }
    }

    /// Whether TCP was cut inside a TLS record.
    pub fn mid_record(&self) -> bool {
        match self {
            Transport::Plain(_) => false,
            Transport::Secure(tls) => tls.mid_record(),
            Transport::Watched(watched) => watched.inner.mid_record(),
        }
    }
}

/// A connection below its frames, whose bytes somebody follows.
#[derive(Debug)]
pub struct WatchedTransport {
    inner: Transport,
    /// Who follows them.
    pub watch: WireWatch,
}

impl WatchedTransport {
    /// Nobody is told yet.
    pub fn new(inner: Transport) -> Self {
        WatchedTransport { inner, watch: WireWatch::default() }
    }
}

impl Drop for WatchedTransport {
    fn drop(&mut self) {
        self.watch.look_at_ends(self.inner.link());
    }
}

impl AsyncRead for WatchedTransport {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let WatchedTransport { inner, watch } = &mut *self;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut *inner).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            watch.tell(WireBytes::Received(&buffer.filled()[before..]));
        }
        watch.look_at_ends(inner.link());
        polled
    }
}

impl AsyncWrite for WatchedTransport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let WatchedTransport { inner, watch } = &mut *self;
        let discards = inner.link().discards_writes();
        let polled = Pin::new(&mut *inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = &polled {
            watch.tell(if discards { WireBytes::Discarded(*count) } else { WireBytes::Sent(&bytes[..*count]) });
        }
        watch.look_at_ends(inner.link());
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let WatchedTransport { inner, watch } = &mut *self;
        let polled = Pin::new(&mut *inner).poll_shutdown(cx);
        watch.look_at_ends(inner.link());
        polled
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(link) => Pin::new(link).poll_read(cx, buffer),
            Transport::Secure(tls) => Pin::new(tls).poll_read(cx, buffer),
            Transport::Watched(watched) => Pin::new(watched).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(link) => Pin::new(link).poll_write(cx, bytes),
            Transport::Secure(tls) => Pin::new(tls).poll_write(cx, bytes),
            Transport::Watched(watched) => Pin::new(watched).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(link) => Pin::new(link).poll_flush(cx),
            Transport::Secure(tls) => Pin::new(tls).poll_flush(cx),
            Transport::Watched(watched) => Pin::new(watched).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(link) => Pin::new(link).poll_shutdown(cx),
            Transport::Secure(tls) => Pin::new(tls).poll_shutdown(cx),
            Transport::Watched(watched) => Pin::new(watched).poll_shutdown(cx),
        }
    }
}
