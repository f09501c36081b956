//! Paths that faults of the servers' side have made dead: nothing of them reaches the client, not even what a kernel sends for a server
//! that is gone.
//!
//! The embedded server throws away what it would send. Its kernel does not: when the process ends it closes the sockets, by FIN or RST.
//! So, when a server is about to end, the clients behind a dead path are made deaf, until the fault is reverted.

use crate::fault::{ConnectionEffects, Flow};
use crate::load::context::RunContext;
use crate::load::registry::ConnectionPlace;
use crate::plan::{Firing, Phase};
use crate::ws::handshake::own_headers::Id;
use crate::ws::session::mailbox::{FiredInjection, SessionCommand};
use std::sync::Arc;

/// Whether a client has this connection, at an instance that the condition holds for.
fn has(place: &ConnectionPlace, id: Id, instance: impl FnOnce(u16) -> bool) -> bool {
    matches!(place.phase, Some(Phase::Open | Phase::Closing)) && place.connection == id.connection.0 && instance(place.instance)
}

impl RunContext {
    /// The server's end of a path is dead by these firings. Where the server is about to end, so is the client's.
    pub(crate) fn path_died(&self, id: Id, by: Vec<Firing>) {
        let place = self.registry.slot(id.client).place();
        // Told late: its client has gone on, and will not hear of this connection again.
        if place.connection > id.connection.0 || place.connection == id.connection.0 && place.phase.is_none() {
            return;
        }
        if has(&place, id, |instance| !self.fleet.is_up(instance)) {
            self.deafen(id, &by);
        }
        self.dead_paths.all().entry(id).or_default().extend(by);
    }

    /// The client's end of a connection is over: nothing can reach it any more.
    pub(crate) fn path_over(&self, id: Id) {
        self.dead_paths.all().remove(&id);
    }

    /// A server is about to end, or to stand still: nothing of it reaches clients behind dead paths any more.
    pub(crate) fn deafen_clients_of(&self, instance: u16) {
        for (id, by) in self.dead_paths.all().iter() {
            if has(&self.registry.slot(id.client).place(), *id, |of| of == instance) {
                self.deafen(*id, by);
            }
        }
    }

    fn deafen<'a>(&self, id: Id, by: impl IntoIterator<Item = &'a Firing>) {
        for firing in by {
            let gate = ConnectionEffects { read: Flow::Discard, ..ConnectionEffects::default() };
            let dose = FiredInjection { firing: *firing, gate, steps: Vec::new(), quiet: true };
            self.registry.slot(id.client).control.send(SessionCommand::Inject(Arc::new(dose)));
        }
    }

    /// A firing is over: whoever it had made deaf hears again.
    pub(crate) fn paths_revive(&self, firing: Firing) {
        self.dead_paths.all().retain(|id, by| {
            if by.remove(&firing) {
                let slot = self.registry.slot(id.client);
                if has(&slot.place(), *id, |_| true) {
                    slot.control.send(SessionCommand::Revert(firing));
                }
            }
            !by.is_empty()
        });
    }
}
