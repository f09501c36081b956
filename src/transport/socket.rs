//! The bytes below everything: a TCP socket of the kernel, or a connection in memory that behaves like one.
//!
//! What differs between the two is here; `link` and all above it do not know which they have.

use crate::transport::memory;
use futures_util::FutureExt;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Bytes that can half-close and reset.
#[derive(Debug)]
pub enum ByteStream {
    /// A socket; also one of this machine (`AF_UNIX`), which takes the same calls: a kind of its own would make every connection larger.
    Tcp(TcpStream),
    /// One end of a connection in memory.
    Memory(memory::MemoryEnd),
}

impl From<TcpStream> for ByteStream {
    fn from(stream: TcpStream) -> ByteStream {
        ByteStream::Tcp(stream)
    }
}

impl From<memory::MemoryEnd> for ByteStream {
    fn from(end: memory::MemoryEnd) -> ByteStream {
        ByteStream::Memory(end)
    }
}

impl ByteStream {
    /// Whether the peer's FIN or RST has come, whatever may be left to read before it.
    pub fn peer_has_ended(&self) -> bool {
        match self {
            ByteStream::Tcp(stream) => {
                stream.ready(Interest::READABLE).now_or_never().is_some_and(|ready| ready.is_ok_and(|ready| ready.is_read_closed()))
            }
            ByteStream::Memory(end) => end.peer_has_ended(),
        }
    }

    /// Switches Nagle's algorithm off. In memory there is none, and a Unix socket says so.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn set_nodelay(&self) -> io::Result<()> {
        match self {
            ByteStream::Tcp(stream) => stream.set_nodelay(true),
            ByteStream::Memory(_) => Ok(()),
        }
    }

    /// Limits what the kernel takes in before it is read, in bytes. In memory the bound is fixed.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_receive_buffer(&self, bytes: u32) -> io::Result<()> {
        match self {
            ByteStream::Tcp(stream) => socket2::SockRef::from(stream).set_recv_buffer_size(bytes as usize),
            ByteStream::Memory(_) => Ok(()),
        }
    }

    /// FIN: our direction ends.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn finish(&self) -> io::Result<()> {
        match self {
            ByteStream::Tcp(stream) => socket2::SockRef::from(stream).shutdown(Shutdown::Write),
            ByteStream::Memory(end) => end.finish(),
        }
    }

    /// Makes the coming drop an abort: zero linger, so that RST goes out in place of FIN. A Unix socket has no RST: it closes.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn abort(&self) -> io::Result<()> {
        match self {
            ByteStream::Tcp(stream) => stream.set_zero_linger(),
            ByteStream::Memory(end) => {
                end.abort();
                Ok(())
            }
        }
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ByteStream::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            ByteStream::Memory(end) => end.poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            ByteStream::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            ByteStream::Memory(end) => end.poll_write(cx, bytes),
        }
    }

    /// A socket has nothing of its own that could wait.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ByteStream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            ByteStream::Memory(end) => Poll::Ready(end.finish()),
        }
    }
}

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// Of the kernel.
    Tcp(TcpListener),
    /// In memory.
    Memory(memory::MemoryListener),
}

impl Listener {
    /// The next connection that waits.
    ///
    /// # Errors
    /// What the kernel says, EMFILE above all.
    pub async fn accept(&self) -> io::Result<ByteStream> {
        match self {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| ByteStream::Tcp(stream)),
            Listener::Memory(listener) => Ok(ByteStream::Memory(listener.accept().await)),
        }
    }

    /// Changes the length of the queue of those that wait.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_backlog(&self, backlog: u32) -> io::Result<()> {
        match self {
            // listen(2) on a socket that listens changes the length of its queue.
            Listener::Tcp(listener) => socket2::SockRef::from(listener).listen(i32::try_from(backlog).unwrap_or(i32::MAX)),
            Listener::Memory(listener) => {
                listener.set_backlog(backlog);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_no_larger_for_the_choice() {
        assert_eq!(size_of::<ByteStream>(), size_of::<TcpStream>());
    }
}
