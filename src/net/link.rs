//! The raw transport of a connection: carries out what faults ask of bytes, and knows how TCP ended.
//!
//! With no fault active it costs two comparisons a call: no task, timer, copy or buffer. It looks at no kind of fault and no frame.

use crate::close::TcpEnd;
use crate::fault::{Flow, Gate};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A TCP connection with gates.
#[derive(Debug)]
pub struct Link {
    wire: TcpStream,
    read: Flow,
    write: Flow,
    /// How TCP ended as the caller may know it; stays `None` behind a gate that discards.
    end: TcpEnd,
    discarded: u64,
}

impl Link {
    /// Wraps a connected socket, with Nagle's algorithm off.
    pub fn new(wire: TcpStream) -> Self {
        // A socket that was reset meanwhile refuses the option; the first read tells.
        let _ = wire.set_nodelay(true);
        Link { wire, read: Flow::Pass, write: Flow::Pass, end: TcpEnd::None, discarded: 0 }
    }

    /// Applies the flows of a gate. The caller polls reads and writes again afterwards: a stopped direction registers no wake-up.
    pub fn set_gate(&mut self, gate: &Gate) {
        (self.read, self.write) = (gate.read, gate.write);
        if let Some(bytes) = gate.receive_buffer {
            // The kernel doubles the value and has a minimum; a failure leaves a larger window, which is visible in the result.
            let _ = socket2::SockRef::from(&self.wire).set_recv_buffer_size(bytes as usize);
        }
    }

    /// How TCP ended, as far as reads and writes have told.
    pub fn end(&self) -> TcpEnd {
        self.end
    }

    /// Bytes thrown away by a discarding gate.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }

    /// Whether written bytes vanish.
    pub fn discards_writes(&self) -> bool {
        self.write == Flow::Discard
    }

    /// FIN for our direction; TLS above it is not asked, so a TLS peer sees a cut.
    ///
    /// # Errors
    /// If the connection is gone already.
    pub fn finish(&self) -> io::Result<()> {
        if self.discards_writes() {
            return Ok(());
        }
        socket2::SockRef::from(&self.wire).shutdown(std::net::Shutdown::Write)
    }

    /// Makes the coming drop an abort: zero linger, so that the kernel sends RST.
    pub fn reset(&self) {
        // Fails only on a connection that is gone.
        let _ = self.wire.set_zero_linger();
    }

    fn note(&mut self, error: &io::Error) {
        self.end = match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => TcpEnd::Timeout,
            _ => TcpEnd::Rst,
        };
    }

    /// Reads and throws away until the kernel has no more; an end of the connection is thrown away as well.
    fn discard(&mut self, cx: &mut Context<'_>) {
        let mut scratch = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.wire).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => self.discarded += buffer.filled().len() as u64,
                _ => return,
            }
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.read {
            Flow::Pass => {}
            Flow::Stop => return Poll::Pending,
            Flow::Discard => {
                self.discard(cx);
                return Poll::Pending;
            }
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.wire).poll_read(cx, buffer);
        match &polled {
            // A write may have been told of the reset already; the kernel tells it once, and reads end then as after a FIN.
            Poll::Ready(Ok(())) if buffer.filled().len() == before && buffer.remaining() > 0 && self.end == TcpEnd::None => {
                self.end = TcpEnd::Fin;
            }
            Poll::Ready(Err(error)) => self.note(error),
            _ => {}
        }
        polled
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.write {
            Flow::Pass => {}
            Flow::Stop => return Poll::Pending,
            Flow::Discard => {
                self.discarded += bytes.len() as u64;
                return Poll::Ready(Ok(bytes.len()));
            }
        }
        let polled = Pin::new(&mut self.wire).poll_write(cx, bytes);
        if let Poll::Ready(Err(error)) = &polled {
            // EPIPE follows our own FIN as well as the peer's RST; only reads tell those apart.
            if error.kind() != io::ErrorKind::BrokenPipe {
                self.note(error);
            }
        }
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.write {
            Flow::Pass => Pin::new(&mut self.wire).poll_shutdown(cx),
            Flow::Stop => Poll::Pending,
            Flow::Discard => Poll::Ready(Ok(())),
        }
    }
}
