//! TLS over a link: plaintext for the tap, and how TLS ended apart from how TCP did.
//!
//! `close_notify` is the end of the plaintext and not of TCP: what TCP does behind it is read from the link. A stream that is dropped while
//! it is whole says goodbye as RFC 8446 §6.1 asks; one that a fault has cut has ended its TCP before.

use crate::close::{TcpEnd, TlsEnd};
use crate::transport::link::Link;
use crate::transport::record::Records;
use crate::transport::tls_words;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, Error, HandshakeKind, PeerMisbehaved};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsConnector, TlsStream};

/// A TLS stream after its handshake.
#[derive(Debug)]
pub struct Secure {
    stream: TlsStream<Records>,
    end: TlsEnd,
}

impl Secure {
    /// Takes over after the handshake.
    pub fn new(stream: impl Into<TlsStream<Records>>) -> Secure {
        let mut stream = stream.into();
        stream.get_mut().0.shaken();
        Secure { stream, end: TlsEnd::None }
    }

    /// The handshake of a client.
    ///
    /// # Errors
    /// What TLS says of it, else what went wrong with the first write, else with reading.
    pub async fn connect(connector: TlsConnector, name: ServerName<'static>, link: Link) -> io::Result<Box<Secure>> {
        match connector.connect(name, Records::new(link)).into_fallible().await {
            Ok(stream) => Ok(Box::new(Secure::new(stream))),
            // A server that refuses closes at once, and its alert may cross with our next flight: reading has had the last word.
            Err((error, records)) if tls_words::of(&error, false).is_none() => Err(records.unsent().map_or(error, io::Error::from)),
            Err((error, _)) => Err(error),
        }
    }

    /// The raw link.
    pub fn link(&self) -> &Link {
        self.stream.get_ref().0.link()
    }

    /// The raw link.
    pub fn link_mut(&mut self) -> &mut Link {
        self.stream.get_mut().0.link_mut()
    }

    /// How TLS ended so far.
    pub fn end(&self) -> TlsEnd {
        self.end
    }

    /// Whether the handshake took up an earlier session.
    pub fn is_resumed(&self) -> bool {
        self.stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Whether TCP was cut inside a record. After another end of TLS the stream of records means nothing.
    pub fn mid_record(&self) -> bool {
        self.end == TlsEnd::None && self.link().end() != TcpEnd::None && self.stream.get_ref().0.mid_record()
    }

    /// TLS has ended: what else comes is thrown away until TCP ends.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 1024];
        loop {
            let mut chunk = ReadBuf::new(&mut scratch);
            ready!(Pin::new(self.link_mut()).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncRead for Secure {
    /// Ends with `close_notify` once, and then as TCP does.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.end != TlsEnd::None {
            return this.poll_rest(cx);
        }
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut this.stream).poll_read(cx, buffer));
        this.end = match &read {
            Ok(()) if buffer.filled().len() > before || buffer.remaining() == 0 => return Poll::Ready(read),
            Ok(()) => TlsEnd::CloseNotify,
            Err(error) => match alert(error) {
                Some(end) => end,
                None => return Poll::Ready(read),
            },
        };
        // Mostly TCP's end has come with it.
        let _ = this.poll_rest(cx);
        Poll::Ready(read)
    }
}

impl AsyncWrite for Secure {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    /// `close_notify`, unless an alert has ended TLS: then nothing more is said (RFC 8446 §6.2).
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.end.is_fatal() { Pin::new(this.link_mut()).poll_shutdown(cx) } else { Pin::new(&mut this.stream).poll_shutdown(cx) }
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        if !self.link().is_finished() {
            // As much as the kernel takes at once: nobody waits for it.
            let _ = Pin::new(&mut *self).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// The alert that an error of reading stands for; `None`: it is none of TLS.
fn alert(error: &io::Error) -> Option<TlsEnd> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    // Which alert rustls sends over what cannot be asked; this is what its record layer does.
    Some(TlsEnd::Sent(u8::from(match error {
        Error::AlertReceived(alert) => return Some(TlsEnd::Alert(u8::from(*alert))),
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::InvalidMessage(wrong) => AlertDescription::from(*wrong),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => AlertDescription::UnexpectedMessage,
        Error::PeerMisbehaved(PeerMisbehaved::IllegalMiddleboxChangeCipherSpec) => AlertDescription::UnexpectedMessage,
        Error::PeerMisbehaved(_) => AlertDescription::IllegalParameter,
        _ => AlertDescription::InternalError,
    })))
}
