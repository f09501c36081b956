//! How a session ends: the closing handshake, what the peer does instead, and the account of it.

use crate::close::{Cause, Ending, INVALID_PAYLOAD, Initiator, MemoryLimit, NO_STATUS, PROTOCOL_ERROR, TOO_BIG, TcpEnd, TlsEnd, reported};
use crate::event::Closing;
use crate::fault::{CloseAck, ConnectionEffects, End, InjectionStep, Side};
use crate::plan::{Firing, KEPT_AFTER_PEER, PEER_CHECK};
use crate::ws::connection::{Connection, Incoming};
use crate::ws::frame::CloseAnswer;
use crate::ws::session::{DEAD_PATH, LINGER, Session, SessionEvent, SessionState, after, other};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::time::{Instant, timeout};

impl Session {
    pub(crate) fn incoming(&mut self, incoming: Incoming) -> Option<SessionEvent> {
        match incoming {
            Incoming::Message(message) => {
                if matches!(self.state, SessionState::HalfClosed { .. }) {
                    self.bytes_after += message.len() as u64;
                }
                self.look_at_message().or(Some(SessionEvent::Message(message)))
            }
            Incoming::Ping(payload) => self.pinged(&payload),
            Incoming::Pong(payload) => self.pong(&payload),
            Incoming::Close => self.peer_closed(),
            Incoming::Violation(code) => Some(self.fail(code)),
            Incoming::TooMuch(limit) => {
                self.over = Some(limit);
                Some(self.fail(TOO_BIG))
            }
            Incoming::End => self.peer_ended(),
        }
    }

    pub(crate) fn peer_closed(&mut self) -> Option<SessionEvent> {
        self.initiator.get_or_insert(other(self.side));
        self.first_close.get_or_insert(Instant::now());
        match self.state {
            // The steps that wait end TCP.
            SessionState::CloseSent { .. } if self.step_deadline().is_some() => {
                self.second_close.get_or_insert(Instant::now());
                None
            }
            SessionState::CloseSent { .. } => self.handshake_complete(),
            SessionState::HalfClosed { .. } => None,
            SessionState::Open if self.will(|step| matches!(step, InjectionStep::Close { .. })) => {
                self.state = SessionState::Crossing;
                None
            }
            _ => match self.gate().map_or(CloseAck::Prompt, |gate| gate.close_ack) {
                CloseAck::Prompt => self.answer(),
                CloseAck::Code(code) => {
                    let fault = self.announce_first(|gate| gate.close_ack != CloseAck::Prompt);
                    self.connection().queue_close(Some(code), "");
                    self.handshake_complete().or(fault.map(told))
                }
                CloseAck::Delayed(delay) => {
                    self.state = SessionState::AnswerDue { at: Instant::now() + delay };
                    self.announce_first(|gate| gate.close_ack != CloseAck::Prompt).map(told)
                }
                CloseAck::Never(end) => {
                    self.state = SessionState::Withholding;
                    let fault = self.announce_first(|gate| gate.close_ack != CloseAck::Prompt);
                    if let (Some(fault), End::Fin | End::Rst) = (fault, end) {
                        self.faults().then(fault, InjectionStep::End(end));
                    }
                    fault.map(told)
                }
            },
        }
    }

    /// Answers the peer's Close frame.
    pub(crate) fn answer(&mut self) -> Option<SessionEvent> {
        let frame = self.connection().close_frame().cloned()?;
        match frame.answer {
            CloseAnswer::Echo if frame.code == NO_STATUS => self.connection().queue_close(None, ""),
            CloseAnswer::Echo => self.connection().queue_close(Some(frame.code), &frame.reason),
            CloseAnswer::Fail(code) => self.connection().queue_close(Some(code), ""),
        }
        self.handshake_complete()
    }

    /// Close frames are out both ways: the server ends TCP, the client waits for it to.
    pub(crate) fn handshake_complete(&mut self) -> Option<SessionEvent> {
        let now = Instant::now();
        self.second_close.get_or_insert(now);
        if self.will(|step| matches!(step, InjectionStep::End(_))) {
            // A step that waits ends TCP.
            self.state = SessionState::HoldingTcp { until: now + DEAD_PATH };
            return None;
        }
        let hold = self.gate().map_or(Duration::ZERO, |gate| gate.hold_tcp);
        let announced = if hold.is_zero() { None } else { self.announce_first(|gate| !gate.hold_tcp.is_zero()) };
        if self.side == Side::Server && hold.is_zero() {
            return self.end_own_direction().or(announced.map(told));
        }
        self.state = if hold.is_zero() {
            SessionState::FinAwaited { until: after(now, self.limits.fin) }
        } else {
            SessionState::HoldingTcp { until: now + hold }
        };
        announced.map(told)
    }

    /// Our FIN goes out, behind our Close frame; then the peer's is awaited.
    pub(crate) fn end_own_direction(&mut self) -> Option<SessionEvent> {
        self.say_goodbye();
        self.state = SessionState::FinAwaited { until: after(Instant::now(), self.limits.fin) };
        None
    }

    /// What is queued, `close_notify` where there is TLS (RFC 8446 §6.1), and our FIN.
    fn say_goodbye(&mut self) {
        self.flush_now();
        goodbye(self.connection());
    }

    /// The peer broke the protocol: Close with the RFC's code, FIN, drained (RFC 6455 §7.1.7).
    pub(crate) fn fail(&mut self, code: u16) -> SessionEvent {
        self.initiator.get_or_insert(self.side);
        self.connection().queue_close(Some(code), "");
        self.flush_now();
        self.end_locally(End::Fin, TcpEnd::Local)
    }

    /// TCP ended on the peer's part.
    pub(crate) fn peer_ended(&mut self) -> Option<SessionEvent> {
        let held = matches!(self.state, SessionState::HoldingTcp { .. }) || self.step_deadline().is_some();
        let end = self.connection().link().end();
        if held && end != TcpEnd::Rst {
            // After an end of TLS alone that of TCP is still to come.
            self.peer_done = end != TcpEnd::None;
            return None;
        }
        let connection = self.connection();
        let (end, mid_frame) = (connection.link().end(), connection.is_cut());
        if end == TcpEnd::None {
            return self.tls_ended();
        }
        self.initiator.get_or_insert(if end == TcpEnd::Timeout { self.side } else { other(self.side) });
        let by_path = end == TcpEnd::Timeout;
        let happening = self.ended(end, mid_frame, by_path);
        self.bury();
        if let Some(mut connection) = self.connection.take_if(|connection| end == TcpEnd::Fin && connection.link().is_late()) {
            // What is on its way still arrives, and our FIN behind it.
            goodbye(&mut connection);
            tokio::spawn(linger(connection));
        }
        Some(happening)
    }

    /// TLS ended, and TCP has not: nothing can be read any more. This side ends its direction too, and sees what TCP does.
    fn tls_ended(&mut self) -> Option<SessionEvent> {
        if matches!(self.connection().tls_end(), None | Some(TlsEnd::None | TlsEnd::Sent(_))) {
            // This side could not read what came: it fails the connection, its alert is out.
            return Some(self.end_locally(End::Fin, TcpEnd::Local));
        }
        self.initiator.get_or_insert(other(self.side));
        self.say_goodbye();
        if !matches!(self.state, SessionState::FinAwaited { .. }) {
            self.state = SessionState::FinAwaited { until: after(Instant::now(), self.limits.fin) };
        }
        None
    }

    /// Behind a dead path even the kernel's FIN must not come out: the socket is kept.
    pub(crate) fn bury(&mut self) {
        if let Some(connection) = self.connection.take_if(|connection| connection.link().discards_writes()) {
            tokio::spawn(keep_dead_path(connection, false));
        }
    }

    /// This side ends TCP now. What is left of the socket lingers in a task of its own, bounded.
    pub(crate) fn end_locally(&mut self, end: End, tcp_end: TcpEnd) -> SessionEvent {
        self.initiator.get_or_insert(self.side);
        // Of a stream that is not over nobody knows where it would have ended.
        let tls_over = !matches!(self.connection().tls_end(), None | Some(TlsEnd::None));
        let mid_frame = tls_over && self.connection().is_cut();
        let happening = self.ended(tcp_end, mid_frame, false);
        // A fault cuts, and a cut has no `close_notify`.
        let cut = matches!(self.cause, Some(Cause::Fault(_)));
        if let Some(mut connection) = self.connection.take() {
            match end {
                End::Rst if !connection.link().discards_writes() => connection.link_mut().reset(),
                // A dead path, of another fault, carries no RST either.
                End::Rst | End::Silent => {
                    connection.link_mut().blackhole();
                    tokio::spawn(keep_dead_path(connection, true));
                }
                End::Fin | End::Hold => {
                    // Behind a dead path even the kernel's FIN must not come out: the socket is kept.
                    let limit = if connection.link().discards_writes() { DEAD_PATH } else { LINGER };
                    // The Close frame that fails the connection is not overtaken by the FIN; a fault or deadline cuts what is queued.
                    let cuts = connection.is_flushed() || self.cause.is_some();
                    match () {
                        () if cut => drop(connection.link_mut().finish()),
                        () if cuts => goodbye(&mut connection),
                        () => {}
                    }
                    tokio::spawn(async move {
                        if !cuts {
                            let flushed = poll_fn(|cx| {
                                // The peer may read only while we do.
                                let _ = connection.poll_drain(cx);
                                connection.poll_flush(cx)
                            });
                            let _ = timeout(limit, flushed).await;
                            goodbye(&mut connection);
                        }
                        linger(connection).await;
                    });
                }
            }
        }
        happening
    }

    pub(crate) fn ended(&mut self, tcp_end: TcpEnd, mid_frame: bool, by_path: bool) -> SessionEvent {
        self.state = SessionState::Ended;
        let connection = self.connection();
        let frame = connection.close_frame().cloned();
        let after_close = frame.as_ref().map_or(0, |_| connection.tap().after_close());
        let wire_sent = connection.wire_sent();
        let wire_received = frame.as_ref().map(|frame| frame.code);
        let valid = frame.as_ref().is_some_and(|frame| frame.answer == CloseAnswer::Echo);
        let code = if valid { reported(wire_received) } else { reported(None) };
        // One side failed the connection over what it was sent (RFC 6455 §7.1.7), or there is no word at all.
        let violation = |code: Option<u16>| matches!(code, Some(PROTOCOL_ERROR | INVALID_PAYLOAD | TOO_BIG));
        let failed = wire_received.is_none() || violation(wire_received);
        // Damage may look like a Close frame, an illegal one.
        let damager = || self.damager(failed || !valid, violation(wire_received) || violation(wire_sent));
        let memory = self.over.filter(|limit| *limit == MemoryLimit::Memory).map(Cause::Limit);
        let answered = self.provoked.filter(|_| failed).or_else(damager);
        let tls_end = self.connection().tls_end();
        // A TLS stream does not survive a hole: the first record behind it is a bad one.
        let answered = answered.or(self.holed.filter(|_| tls_end.is_some() && wire_received.is_none()));
        let initiator = match self.initiator {
            _ if by_path => Initiator::None,
            Some(Side::Client) => Initiator::Client,
            Some(Side::Server) => Initiator::Server,
            _ => Initiator::None,
        };
        let ending = Ending {
            cause: memory.or(self.cause).or(answered.map(Cause::Fault)).or(self.over.map(Cause::Limit)).unwrap_or(Cause::Remote),
            initiator,
            wire_received,
            wire_sent,
            tcp_end,
            tls_end,
            mid_frame,
            clean: valid && wire_sent.is_some() && tcp_end == TcpEnd::Fin,
            code,
            reason: frame.filter(|_| valid).map(|frame| frame.reason).unwrap_or_default(),
            bytes_after: self.bytes_after + after_close,
        };
        let ack = |first: Instant| self.second_close.map(|second| second - first);
        let closing = self.first_close.map(|first| Closing { ack: ack(first), total: first.elapsed() });
        SessionEvent::Ended { ending: Box::new(ending), closing }
    }

    /// The fault that damaged bytes of this connection, where that may have `ended` it, or that meddled with frames of its messages, where
    /// they were `judged` a violation.
    fn damager(&self, ended: bool, judged: bool) -> Option<u16> {
        let (connection, faults) = (self.connection.as_ref()?, self.faults.as_ref()?);
        let (bytes, frames) = (ended && connection.link().damaged() > 0, judged && connection.tap_ref().meddled() > 0);
        let did = |gate: &ConnectionEffects| bytes && gate.damages_bytes() || frames && gate.meddles();
        faults.active.iter().find(|(_, gate)| did(gate)).map(|(firing, _)| firing.fault)
    }
}

/// `close_notify` where there is TLS, and our FIN, which does not wait for the peer's.
fn goodbye(connection: &mut Connection) {
    let _ = Pin::new(connection.tap()).poll_shutdown(&mut Context::from_waker(Waker::noop()));
    let _ = connection.link_mut().finish();
}

/// The fault acts.
fn told(firing: Firing) -> SessionEvent {
    SessionEvent::Injected(firing.fault)
}

/// Hands out what still waits on a shaped path, and then drains what comes, for a while, or as long as a dead path is kept.
async fn linger(mut connection: Box<Connection>) {
    let owed = connection.link().queued_delay().min(DEAD_PATH) + LINGER;
    let _ = timeout(owed, poll_fn(|cx| connection.link_mut().poll_drained(cx))).await;
    if connection.link().discards_writes() {
        return keep_dead_path(connection, true).await;
    }
    let _ = timeout(LINGER, poll_fn(|cx| connection.poll_drain(cx))).await;
}

/// Keeps the socket behind a dead path, out of which not even a FIN of the kernel may come, as long as somebody could see it go: until the
/// peer is gone and has had time to forget. `drains`: what the peer sends is taken from the kernel.
async fn keep_dead_path(mut connection: Box<Connection>, drains: bool) {
    loop {
        // What is drained ends with the peer's FIN where only writes are dead.
        let drained = timeout(PEER_CHECK, poll_fn(|cx| if drains { connection.poll_drain(cx) } else { Poll::Pending })).await.is_ok();
        if drained || connection.link().peer_has_ended() {
            break;
        }
    }
    tokio::time::sleep(KEPT_AFTER_PEER).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Transport;
    use crate::transport::link::Link;
    use crate::transport::memory::MemoryEnd;
    use crate::ws::frame_tap::Tap;
    use tokio_tungstenite::tungstenite::protocol::Role;

    #[tokio::test(start_paused = true)]
    async fn a_dead_path_is_kept_until_a_minute_after_the_peer_is_gone() {
        for drains in [true, false] {
            let (near, far) = MemoryEnd::pair();
            let mut link = Link::new(near);
            link.blackhole();
            let connection = Connection::new(Tap::new(Transport::Plain(link), Side::Client), Role::Client, 1);
            let kept = tokio::spawn(keep_dead_path(Box::new(connection), drains));
            tokio::time::sleep(Duration::from_secs(3600)).await;
            assert!(!kept.is_finished() && !far.peer_has_ended());
            far.finish().unwrap();
            tokio::time::sleep(KEPT_AFTER_PEER).await;
            assert!(!kept.is_finished() && !far.peer_has_ended());
            tokio::time::sleep(PEER_CHECK + Duration::from_secs(1)).await;
            assert!(kept.is_finished() && far.peer_has_ended());
        }
    }
}
