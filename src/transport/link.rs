//! The raw transport of a connection: carries out what faults ask of bytes, and knows how TCP ended.
//!
//! With no fault active it costs three comparisons a call: no task, timer, copy or buffer. It looks at no kind of fault and no frame.

use crate::close::TcpEnd;
use crate::fault::{ConnectionEffects, End, Flow};
use crate::seed::Stream;
use crate::transport::delay_line::DelayLine;
use crate::transport::send_limit::{SendLimit, SendTurns};
use crate::transport::socket::ByteStream;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection with gates.
#[derive(Debug)]
pub struct Link {
    wire: ByteStream,
    read: Flow,
    write: Flow,
    /// How TCP ended as the caller may know it; stays `None` behind a gate that discards.
    end: TcpEnd,
    /// Our FIN or RST was asked for, and which.
    finished: Option<End>,
    /// Nagle's algorithm is off.
    prompt: bool,
    discarded: u64,
    /// Bytes that the kernel took or gave.
    passed: u64,
    /// No more than this pass.
    cap: u64,
    lanes: Option<Box<DelayLines>>,
    /// Where what is written has to wait for its turn.
    turns: Option<Box<SendTurns>>,
}

/// Both directions while a fault shapes one of them.
#[derive(Debug)]
struct DelayLines {
    incoming: DelayLine,
    outgoing: DelayLine,
    /// The peer's end or error was read and waits behind its bytes.
    drained: bool,
}

impl Link {
    /// Wraps a connected socket, or an end in memory, on which nothing, or an opening request, was written.
    pub fn new(wire: impl Into<ByteStream>) -> Self {
        Link {
            wire: wire.into(),
            read: Flow::Pass,
            write: Flow::Pass,
            end: TcpEnd::None,
            finished: None,
            prompt: false,
            discarded: 0,
            passed: 0,
            cap: u64::MAX,
            lanes: None,
            turns: None,
        }
    }

    /// What is written from now on is counted against a limit, and waits where it must.
    pub(crate) fn set_send_limit(&mut self, limit: &Arc<SendLimit>) {
        self.turns = Some(Box::new(SendTurns::new(limit.clone())));
    }

    /// The turns of what is written, where that is limited.
    pub(crate) fn send_turns(&mut self) -> Option<&mut SendTurns> {
        self.turns.as_deref_mut()
    }

    /// Applies the flows of a gate. The caller polls reads and writes again afterwards: a stopped direction registers no wake-up.
    /// `random` makes the stream of a shaped connection.
    pub fn set_gate(&mut self, gate: &ConnectionEffects, random: impl Fn(&str) -> Stream) {
        (self.read, self.write) = (gate.read, gate.write);
        match &mut self.lanes {
            Some(lanes) => {
                lanes.incoming.reshape(gate.read_shape.clone());
                lanes.outgoing.reshape(gate.write_shape.clone());
            }
            None if gate.read_shape.is_open() && gate.write_shape.is_open() => {}
            None => {
                let lane = |shape: &crate::fault::shape::PathShape, name| DelayLine::new(shape.clone(), random(name));
                let (incoming, outgoing) = (lane(&gate.read_shape, "in"), lane(&gate.write_shape, "out"));
                self.lanes = Some(Box::new(DelayLines { incoming, outgoing, drained: false }));
            }
        }
        if let Some(bytes) = gate.receive_buffer {
            // The kernel doubles the value and has a minimum; a failure leaves a larger window, which is visible in the result.
            let _ = self.wire.set_receive_buffer(bytes);
        }
    }

    /// How TCP ended, as far as reads and writes have told.
    pub fn end(&self) -> TcpEnd {
        self.end
    }

    /// Whether the peer's FIN or RST has come, whatever may be left to read before it.
    pub fn peer_has_ended(&self) -> bool {
        self.wire.peer_has_ended()
    }

    /// Whether this side has ended TCP, or nothing of it gets out any more.
    pub fn is_finished(&self) -> bool {
        self.finished.is_some() || self.discards_writes() || self.end == TcpEnd::Rst
    }

    /// How this side has ended TCP: FIN or RST. `None` where it did not, or where nothing of it gets out.
    pub fn own_end(&self) -> Option<End> {
        self.finished.filter(|_| !self.discards_writes())
    }

    /// Bytes thrown away by a discarding gate.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }

    /// Bytes in both directions that passed so far.
    pub fn passed(&self) -> u64 {
        self.passed
    }

    /// No byte passes beyond this many, counted as [`Link::passed`] is. The owner that set it asks [`Link::byte_limit_reached`] after each poll.
    pub fn set_byte_limit(&mut self, cap: u64) {
        self.cap = cap;
    }

    /// Whether as many bytes passed as may.
    pub fn byte_limit_reached(&self) -> bool {
        self.passed >= self.cap
    }

    /// Bytes that a shaped path damaged, as long as it is shaped.
    pub fn damaged(&self) -> u64 {
        self.lanes.as_ref().map_or(0, |lanes| lanes.incoming.damaged() + lanes.outgoing.damaged())
    }

    /// Whether what is written, or FIN, would be late.
    pub fn is_late(&self) -> bool {
        self.lanes.as_ref().is_some_and(|lanes| !lanes.outgoing.is_idle())
    }

    /// How long what waits in the outgoing direction will take to be handed to the kernel.
    pub fn queued_delay(&self) -> Duration {
        self.lanes.as_ref().map_or(Duration::ZERO, |lanes| lanes.outgoing.queued_delay())
    }

    /// Ready when nothing waits in the outgoing direction.
    pub fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_shaped(cx);
        if self.lanes.as_ref().is_none_or(|lanes| lanes.outgoing.is_empty()) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether written bytes vanish.
    pub fn discards_writes(&self) -> bool {
        self.write == Flow::Discard
    }

    /// FIN for our direction; TLS above it is not asked, so a TLS peer sees a cut.
    ///
    /// # Errors
    /// If the connection is gone already.
    pub fn finish(&mut self) -> io::Result<()> {
        self.finished = Some(End::Fin);
        if self.discards_writes() {
            return Ok(());
        }
        if let Some(lanes) = self.lanes.as_mut().filter(|lanes| !lanes.outgoing.is_idle()) {
            // The FIN does not overtake the bytes before it, and is as late as they are.
            lanes.outgoing.end();
            return Ok(());
        }
        self.wire.finish()
    }

    /// The path dies: what waits in it is lost, and nothing passes any more in either direction.
    pub fn blackhole(&mut self) {
        (self.read, self.write, self.lanes) = (Flow::Discard, Flow::Discard, None);
    }

    /// Makes the coming drop an abort: zero linger, so that the kernel sends RST.
    pub fn reset(&mut self) {
        self.finished = Some(End::Rst);
        // Fails only on a connection that is gone.
        let _ = self.wire.abort();
    }

    /// Hands to the kernel what has waited long enough in a shaped direction. Call it whenever the connection is polled.
    pub fn poll_shaped(&mut self, cx: &mut Context<'_>) {
        let Some(lanes) = &mut self.lanes else { return };
        if self.write == Flow::Stop {
            return;
        }
        while let Poll::Ready(due) = lanes.outgoing.poll_due(cx) {
            let discards = self.write == Flow::Discard;
            let Some(bytes) = due else {
                if !discards {
                    let _ = self.wire.finish();
                }
                lanes.outgoing.ended();
                break;
            };
            let all = bytes.len();
            if discards {
                self.discarded += all as u64;
                lanes.outgoing.advance(all);
                continue;
            }
            match poll_wire(&mut self.wire, (&mut self.prompt, &mut self.turns), cx, bytes) {
                Poll::Ready(Ok(count)) => lanes.outgoing.advance(count),
                Poll::Ready(Err(error)) => {
                    // The connection is gone. The kernel tells of a reset once; EPIPE follows our own FIN too.
                    if error.kind() != io::ErrorKind::BrokenPipe {
                        self.end = end_of(&error);
                    }
                    lanes.outgoing.advance(all);
                }
                Poll::Pending => break,
            }
        }
        if lanes.outgoing.is_idle() && lanes.incoming.is_idle() && !lanes.drained {
            self.lanes = None;
        }
    }

    /// Reads through the incoming lane.
    fn poll_read_shaped(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(lanes) = &mut self.lanes else { return Poll::Pending };
        let mut scratch = [0; 4096];
        let mut broken = None;
        while !lanes.drained && lanes.incoming.has_room() {
            let mut chunk = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.wire).poll_read(cx, &mut chunk) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if chunk.filled().is_empty() => {
                    lanes.drained = true;
                    lanes.incoming.end();
                }
                Poll::Ready(Ok(())) => {
                    lanes.incoming.push(chunk.filled());
                }
                Poll::Ready(Err(error)) => {
                    broken = Some(error);
                    break;
                }
            }
        }
        if let Some(error) = broken {
            // A reset overtakes what is on its way.
            self.note(&error);
            return Poll::Ready(Err(error));
        }
        match lanes.incoming.poll_due(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                if self.end == TcpEnd::None {
                    self.end = TcpEnd::Fin;
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Some(bytes)) => {
                let count = bytes.len().min(buffer.remaining());
                buffer.put_slice(&bytes[..count]);
                lanes.incoming.advance(count);
                self.passed += count as u64;
                Poll::Ready(Ok(()))
            }
        }
    }

    fn note(&mut self, error: &io::Error) {
        self.end = end_of(error);
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

/// Writes as much as has its turn.
fn poll_wire(
    wire: &mut ByteStream,
    (prompt, turns): (&mut bool, &mut Option<Box<SendTurns>>),
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    disable_nagle(wire, prompt);
    let Some(turns) = turns else { return Pin::new(wire).poll_write(cx, bytes) };
    let may = ready!(turns.poll_write(cx, bytes.len()));
    let written = ready!(Pin::new(wire).poll_write(cx, &bytes[..may]))?;
    turns.written(written);
    Poll::Ready(Ok(written))
}

/// Switches Nagle's algorithm off, once: it holds bytes back as long as earlier ones are not acknowledged (RFC 1122 §4.2.3.4). Not before
/// something is written here: an opening request that left with the connect is acknowledged by its answer, and a client that says no more
/// is spared the system call.
fn disable_nagle(wire: &ByteStream, prompt: &mut bool) {
    if !std::mem::replace(prompt, true) {
        // A socket that was reset meanwhile refuses the option; the next read tells.
        let _ = wire.set_nodelay();
    }
}

fn end_of(error: &io::Error) -> TcpEnd {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => TcpEnd::Timeout,
        _ => TcpEnd::Rst,
    }
}

impl AsyncRead for Link {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = usize::try_from(self.cap.saturating_sub(self.passed)).unwrap_or(usize::MAX);
        if left >= buffer.remaining() || self.read != Flow::Pass {
            return self.poll_read_all(cx, buffer);
        }
        if left == 0 {
            return Poll::Pending;
        }
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(left));
        let polled = self.poll_read_all(cx, &mut part);
        let count = part.filled().len();
        buffer.advance(count);
        polled
    }
}

impl Link {
    fn poll_read_all(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.read {
            Flow::Pass => {}
            Flow::Stop => return Poll::Pending,
            Flow::Discard => {
                self.discard(cx);
                return Poll::Pending;
            }
        }
        if self.lanes.is_some() {
            self.poll_shaped(cx);
            if self.lanes.is_some() {
                return self.poll_read_shaped(cx, buffer);
            }
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.wire).poll_read(cx, buffer);
        self.passed += (buffer.filled().len() - before) as u64;
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
        let left = usize::try_from(self.cap.saturating_sub(self.passed)).unwrap_or(usize::MAX);
        if left == 0 {
            return Poll::Pending;
        }
        let bytes = &bytes[..bytes.len().min(left)];
        if self.lanes.is_some() {
            self.poll_shaped(cx);
            if let Some(lanes) = &mut self.lanes {
                if !lanes.outgoing.has_room() {
                    return Poll::Pending;
                }
                let count = lanes.outgoing.push(bytes);
                self.passed += count as u64;
                self.poll_shaped(cx);
                return Poll::Ready(Ok(count));
            }
        }
        let Link { wire, prompt, turns, .. } = &mut *self;
        let polled = poll_wire(wire, (prompt, turns), cx, bytes);
        if let Poll::Ready(Ok(count)) = &polled {
            self.passed += *count as u64;
        }
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
            Flow::Pass if self.lanes.is_some() => Poll::Ready(self.finish()),
            Flow::Pass => {
                self.finished = Some(End::Fin);
                Pin::new(&mut self.wire).poll_shutdown(cx)
            }
            Flow::Stop => Poll::Pending,
            Flow::Discard => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn what_is_written_here_is_not_held_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let near = TcpStream::connect(listener.local_addr().expect("it is bound")).await.expect("it listens");
        let (mut far, _) = listener.accept().await.expect("it is there");
        let mut link = Link::new(near);
        let prompt = |link: &Link| matches!(&link.wire, ByteStream::Tcp(socket) if socket.nodelay().expect("a live socket"));
        assert!(!prompt(&link), "nothing was written");
        link.write_all(b"a").await.expect("open");
        assert!(prompt(&link));
        assert_eq!(far.read_u8().await.expect("a byte"), b'a');
    }
}
