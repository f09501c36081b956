//! Below TLS: a link whose incoming records are followed, so that a cut inside one shows, and which reads on when a write fails.

use crate::transport::link::Link;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a record's head: type, version, length (RFC 8446 §5.1).
const HEAD: u8 = 5;

/// A link that carries TLS records.
#[derive(Debug)]
pub struct Records {
    link: Link,
    /// Bytes of the head that came.
    head: u8,
    /// Bytes of the record that are to come, as far as its head is known.
    left: u16,
    /// While the handshake lasts: what went wrong with a write. The peer's alert may be waiting to be read, and it says why.
    unsent: Option<io::ErrorKind>,
    handshaking: bool,
}

impl Records {
    /// Before the first record.
    pub fn new(link: Link) -> Records {
        Records { link, head: 0, left: 0, unsent: None, handshaking: true }
    }

    /// The link below.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// The link below.
    pub fn link_mut(&mut self) -> &mut Link {
        &mut self.link
    }

    /// The handshake is over: from here on a write that fails is told at once.
    pub fn shaken(&mut self) {
        self.handshaking = false;
    }

    /// What went wrong with a write of the handshake.
    pub fn unsent(&self) -> Option<io::ErrorKind> {
        self.unsent
    }

    /// Whether what came ends inside a record.
    pub fn mid_record(&self) -> bool {
        self.head > 0
    }

    fn follow(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.head < HEAD {
                self.head += 1;
                if self.head >= HEAD - 1 {
                    self.left = self.left << 8 | u16::from(*first);
                }
                bytes = rest;
            } else {
                let count = bytes.len().min(self.left.into());
                // No more than `left`, which is 16 bits.
                self.left -= count as u16;
                bytes = &bytes[count..];
            }
            if self.head == HEAD && self.left == 0 {
                self.head = 0;
            }
        }
    }
}

impl AsyncRead for Records {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let start = buffer.filled().len();
        let polled = Pin::new(&mut self.link).poll_read(cx, buffer);
        self.follow(&buffer.filled()[start..]);
        polled
    }
}

impl AsyncWrite for Records {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.link).poll_write(cx, bytes) {
            Poll::Ready(Err(error)) if self.handshaking => {
                // The connection is gone, so reading ends in any case: with the alert first, where there is one.
                self.unsent = Some(error.kind());
                Poll::Ready(Ok(bytes.len()))
            }
            polled => polled,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::memory::MemoryEnd;

    #[test]
    fn a_cut_inside_a_record_shows_wherever_it_is() {
        let record = [23, 3, 3, 0, 4, b'a', b'b', b'c', b'd'];
        let stream = [record, record].concat();
        for (count, mid) in [(0, false), (1, true), (4, true), (5, true), (8, true), (9, false), (10, true), (18, false)] {
            for piece in [1, 3, 18] {
                let mut records = Records::new(Link::new(MemoryEnd::pair().0));
                stream[..count].chunks(piece).for_each(|part| records.follow(part));
                assert_eq!(records.mid_record(), mid, "{count} bytes in pieces of {piece}");
            }
        }
        let mut records = Records::new(Link::new(MemoryEnd::pair().0));
        records.follow(&[21, 3, 3, 0, 0]);
        assert!(!records.mid_record(), "an empty record");
    }

    #[tokio::test]
    async fn what_the_peer_said_counts_more_than_a_write_that_fails() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        for handshaking in [true, false] {
            let (near, far) = MemoryEnd::pair();
            let (mut near, mut far) = (Records::new(Link::new(near)), Link::new(far));
            if !handshaking {
                near.shaken();
            }
            far.write_all(&[21, 3, 3, 0, 2, 2, 40]).await.unwrap();
            near.write_all(b"hello").await.unwrap();
            // Unread bytes: the alert, and a reset behind it.
            drop(far);
            assert_eq!(near.write_all(b"more").await.is_ok(), handshaking);
            assert_eq!(near.unsent().is_some(), handshaking);
            assert_eq!(near.read_u8().await.unwrap(), 21, "the alert can still be read");
        }
    }
}
