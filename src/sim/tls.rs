//! TLS as far as it is simulated: which handshakes resume an earlier session, and what the ends of streams say.
//!
//! A handshake takes one round trip, full or resumed (TLS 1.3); what it costs the processors of both sides is not simulated.

use super::World;
use crate::close::{Ending, TcpEnd, TlsEnd};
use crate::event::Event;

/// Tickets that a server gives with each answer, and that a client keeps.
const TICKETS: u8 = 2;

/// What one client keeps of its last TLS session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Session {
    /// With which instance, and which of its processes.
    of: (u16, u16),
    /// Handshakes that it is good for.
    tickets: u8,
    /// The handshake under way asks for it; one that ended took it up.
    pub(super) asked: bool,
    pub(super) resumed: bool,
}

impl World<'_> {
    /// A client begins TLS: it uses up a ticket.
    pub(super) fn begin_tls(&mut self, client: u32) {
        let server = self.rows[client as usize].server;
        let process = self.processes[usize::from(server)];
        let Some(session) = self.sessions.get_mut(client as usize) else { return };
        session.asked = session.tickets > 0;
        session.resumed = session.asked && session.of == (server, process);
        session.tickets = session.tickets.saturating_sub(1);
    }

    /// The server has said something over TLS: tickets came with it.
    pub(super) fn hear_tls(&mut self, client: u32) {
        let row = &self.rows[client as usize];
        let (server, resume) = (row.server, self.kind.model.resume && self.plan.cohorts[usize::from(row.cohort)].resume);
        let process = self.processes[usize::from(server)];
        if let Some(session) = self.sessions.get_mut(client as usize).filter(|_| resume) {
            (session.of, session.tickets) = ((server, process), TICKETS);
        }
    }

    /// How the session of a client stands.
    pub(super) fn session(&self, client: u32) -> Session {
        self.sessions.get(client as usize).copied().unwrap_or_default()
    }
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
