//! TCP in memory: connections with FIN, half-close, RST and bounded buffers, and addresses that refuse while nobody listens.
//!
//! Nothing takes time: what one end writes the other can read at once, so that on a paused clock only plans make time pass. The rest is as
//! Linux does it: an end that is closed with unread bytes resets, a queue of `backlog + 1` that is full drops the SYN, and the SYN is repeated
//! on the grid of the kernel. There are no segments, no windows, no loss.

pub(crate) mod network;

pub use crate::transport::memory::network::{MemoryListener, Network};

use crate::lock::lock;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use tokio::io::ReadBuf;

/// Bytes that one direction holds before its writer waits (assumed; about what loopback sockets hold).
const BUFFER_MAX: usize = 256 << 10;
/// The end that connected.
const CLIENT: usize = 0;
/// The end that was accepted.
const SERVER: usize = 1;

/// One end of a connection. Dropping it closes it.
#[derive(Debug)]
pub struct MemoryEnd {
    pipe: Arc<Mutex<Pipe>>,
    side: usize,
}

/// A connection: the state of its two ends.
#[derive(Debug, Default)]
struct Pipe([EndState; 2]);

/// What the kernel would know of one end.
#[derive(Debug, Default)]
struct EndState {
    /// Came, and not read yet.
    inbox: VecDeque<u8>,
    /// The peer's FIN came, behind the bytes.
    fin: bool,
    /// Our FIN went out.
    finished: bool,
    /// RST goes out in place of FIN when it is closed.
    aborts: bool,
    closed: bool,
    /// A reset came: told once, at the next read or write.
    error: Option<io::ErrorKind>,
    /// A reset came.
    broken: bool,
    reader: Option<Waker>,
    /// Waits for room in the peer's inbox.
    writer: Option<Waker>,
}

impl EndState {
    fn wakers(&mut self) -> [Option<Waker>; 2] {
        [self.reader.take(), self.writer.take()]
    }

    /// A reset arrives.
    fn break_off(&mut self) {
        // Behind a FIN it is EPIPE (Linux: tcp_reset in CLOSE_WAIT).
        self.error = Some(if self.fin { io::ErrorKind::BrokenPipe } else { io::ErrorKind::ConnectionReset });
        self.broken = true;
    }
}

impl Pipe {
    /// Own state and that of the peer.
    fn split(&mut self, side: usize) -> (&mut EndState, &mut EndState) {
        let [client, server] = &mut self.0;
        if side == CLIENT { (client, server) } else { (server, client) }
    }

    /// Closes one end, as close(2) and the end of a process do; returns whom to wake.
    fn close(&mut self, side: usize) -> [Option<Waker>; 2] {
        let (own, peer) = self.split(side);
        if std::mem::replace(&mut own.closed, true) || own.broken || peer.closed {
            return [None, None];
        }
        // Linux answers with RST where bytes are left that nobody will read.
        if own.aborts || !own.inbox.is_empty() {
            peer.break_off();
        } else {
            peer.fin = true;
        }
        own.inbox = VecDeque::new();
        peer.wakers()
    }
}

fn wake(wakers: impl IntoIterator<Item = Option<Waker>>) {
    wakers.into_iter().flatten().for_each(Waker::wake);
}

impl MemoryEnd {
    /// A connection: the end that connected, and the one to be accepted.
    pub fn pair() -> (MemoryEnd, MemoryEnd) {
        let pipe = Arc::default();
        (MemoryEnd { pipe: Arc::clone(&pipe), side: CLIENT }, MemoryEnd { pipe, side: SERVER })
    }

    /// Whether the peer's FIN or RST has come.
    pub fn peer_has_ended(&self) -> bool {
        let mut pipe = lock(&self.pipe);
        let (own, _) = pipe.split(self.side);
        own.fin || own.broken
    }

    /// FIN: our direction ends.
    ///
    /// # Errors
    /// If the connection was reset.
    pub fn finish(&self) -> io::Result<()> {
        let mut pipe = lock(&self.pipe);
        let (own, peer) = pipe.split(self.side);
        if own.broken {
            return Err(io::ErrorKind::NotConnected.into());
        }
        own.finished = true;
        peer.fin = true;
        let waker = peer.reader.take();
        drop(pipe);
        wake([waker]);
        Ok(())
    }

    /// Makes the coming drop a reset.
    pub fn abort(&self) {
        lock(&self.pipe).split(self.side).0.aborts = true;
    }

    /// As `AsyncRead`: bytes first, then the end or the reset, which is told once.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.pipe);
        let (own, peer) = pipe.split(self.side);
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if !own.inbox.is_empty() {
            while buffer.remaining() > 0 && !own.inbox.is_empty() {
                let piece = own.inbox.as_slices().0;
                let count = piece.len().min(buffer.remaining());
                buffer.put_slice(&piece[..count]);
                own.inbox.drain(..count);
            }
            let waker = peer.writer.take();
            drop(pipe);
            wake([waker]);
            return Poll::Ready(Ok(()));
        }
        if own.fin {
            return Poll::Ready(Ok(()));
        }
        match own.error.take() {
            Some(kind) => Poll::Ready(Err(kind.into())),
            None if own.broken || own.closed => Poll::Ready(Ok(())),
            None => {
                own.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// As `AsyncWrite`: pending while the peer has too much to read.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.pipe);
        let (own, peer) = pipe.split(self.side);
        if let Some(kind) = own.error.take() {
            return Poll::Ready(Err(kind.into()));
        }
        if own.finished || own.broken || own.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if peer.closed {
            // The kernel takes the bytes; what comes back is a reset.
            own.break_off();
            let wakers = own.wakers();
            drop(pipe);
            wake(wakers);
            return Poll::Ready(Ok(bytes.len()));
        }
        let count = bytes.len().min(BUFFER_MAX.saturating_sub(peer.inbox.len()));
        if count == 0 && !bytes.is_empty() {
            own.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        peer.inbox.extend(&bytes[..count]);
        let waker = peer.reader.take();
        drop(pipe);
        wake([waker]);
        Poll::Ready(Ok(count))
    }
}

impl Drop for MemoryEnd {
    fn drop(&mut self) {
        let wakers = lock(&self.pipe).close(self.side);
        wake(wakers);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn cx() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    pub(crate) fn read(end: &mut MemoryEnd) -> Poll<Result<Vec<u8>, io::ErrorKind>> {
        let mut space = [0; 16];
        let mut buffer = ReadBuf::new(&mut space);
        end.poll_read(&mut cx(), &mut buffer).map(|done| done.map(|()| buffer.filled().to_vec()).map_err(|error| error.kind()))
    }

    pub(crate) fn write(end: &mut MemoryEnd, bytes: &[u8]) -> Poll<Result<usize, io::ErrorKind>> {
        end.poll_write(&mut cx(), bytes).map_err(|error| error.kind())
    }

    pub(crate) const END: Poll<Result<Vec<u8>, io::ErrorKind>> = Poll::Ready(Ok(Vec::new()));

    fn bytes(bytes: &[u8]) -> Poll<Result<Vec<u8>, io::ErrorKind>> {
        Poll::Ready(Ok(bytes.to_vec()))
    }

    #[test]
    fn a_fin_comes_behind_the_bytes_and_closes_one_direction_only() {
        let (mut near, mut far) = MemoryEnd::pair();
        assert_eq!(write(&mut near, b"one"), Poll::Ready(Ok(3)));
        near.finish().expect("it is connected");
        assert_eq!((read(&mut far), read(&mut far), read(&mut far)), (bytes(b"one"), END, END));
        assert_eq!(write(&mut near, b"two"), Poll::Ready(Err(io::ErrorKind::BrokenPipe)));
        assert_eq!((write(&mut far, b"two"), read(&mut near)), (Poll::Ready(Ok(3)), bytes(b"two")));
        assert!(read(&mut near).is_pending());
    }

    #[test]
    fn a_reset_is_told_once_and_then_the_pipe_is_broken() {
        let (mut near, far) = MemoryEnd::pair();
        far.abort();
        drop(far);
        assert_eq!(read(&mut near), Poll::Ready(Err(io::ErrorKind::ConnectionReset)));
        assert_eq!((read(&mut near), write(&mut near, b"x")), (END, Poll::Ready(Err(io::ErrorKind::BrokenPipe))));
    }

    #[test]
    fn whoever_closes_with_unread_bytes_resets() {
        let (mut near, far) = MemoryEnd::pair();
        assert_eq!(write(&mut near, b"one"), Poll::Ready(Ok(3)));
        drop(far);
        assert_eq!(read(&mut near), Poll::Ready(Err(io::ErrorKind::ConnectionReset)));
    }

    #[test]
    fn the_first_write_to_a_closed_end_succeeds_and_the_second_does_not() {
        let (mut near, far) = MemoryEnd::pair();
        drop(far);
        assert_eq!((read(&mut near), write(&mut near, b"x")), (END, Poll::Ready(Ok(1))));
        assert_eq!(write(&mut near, b"x"), Poll::Ready(Err(io::ErrorKind::BrokenPipe)));
        assert_eq!(read(&mut near), END);
    }

    #[test]
    fn buffers_are_bounded() {
        let (mut near, mut far) = MemoryEnd::pair();
        assert_eq!(write(&mut near, &vec![0; BUFFER_MAX + 1]), Poll::Ready(Ok(BUFFER_MAX)));
        assert!(write(&mut near, b"x").is_pending());
        assert!(read(&mut far).is_ready());
        assert_eq!(write(&mut near, &[0; 20]), Poll::Ready(Ok(16)));
    }
}
