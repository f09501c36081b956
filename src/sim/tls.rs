//! TLS as far as it is simulated: which handshakes resume an earlier session, and what the ends of streams say.
//!
//! A handshake takes one round trip, full or resumed (TLS 1.3); what it costs the processors of both sides is not simulated.

use crate::close::{Ending, TcpEnd, TlsEnd};
use crate::event::Event;

/// Tickets that a server gives with each answer, and that a client keeps.
pub(super) const TICKETS: u8 = 2;

/// What one client keeps of its last TLS session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TlsSession {
    /// With which instance, and which of its processes.
    pub(super) of: (u16, u16),
    /// Handshakes that it is good for.
    pub(super) tickets: u8,
    /// The handshake under way asks for it; one that ended took it up.
    pub(super) asked: bool,
    pub(super) resumed: bool,
}

/// An ending with what TLS says of it; `None` for other events.
pub(super) fn complete(event: &Event) -> Option<Event> {
    let mut event = matches!(event, Event::Ended { .. } | Event::ServerEnded { .. }).then(|| event.clone())?;
    if let Event::Ended { ending, .. } | Event::ServerEnded { ending, .. } = &mut event {
        ending.tls_end = Some(tls_end(ending));
    }
    Some(event)
}

/// Whoever ends TCP with a Close frame says `close_notify` too, and a cut says nothing.
fn tls_end(ending: &Ending) -> TlsEnd {
    if ending.tcp_end == TcpEnd::Fin && ending.wire_received.is_some() { TlsEnd::CloseNotify } else { TlsEnd::None }
}
