//! What the run folder learns of one connection: its attempt, what was done to it, its end.

use crate::close::{Cause, Ending};
use crate::event::{Event, Outcome, Stage};
use crate::fault::Injection;
use crate::witness::Witness;
use crate::ws::handshake::own_headers::Id;
use std::sync::Arc;

/// A connection on its way into a run folder; nothing where none is written.
#[derive(Debug, Default)]
pub(super) struct SeenConnection {
    /// `None`: nobody records it.
    witness: Option<(Arc<Witness>, Id)>,
    /// What was done to it: the number that its session knows, and the fault in the results.
    faults: Vec<(u16, u16)>,
}

impl SeenConnection {
    /// A client has asked for a WebSocket, or failed on its way there.
    pub(super) fn came(witness: Option<&Arc<Witness>>) -> SeenConnection {
        let witness = witness.and_then(|witness| Some((witness.clone(), witness.came(None)?)));
        SeenConnection { witness, faults: Vec::new() }
    }

    /// This is done to it under a number, now or when the session says so.
    pub(super) fn does(&mut self, number: u16, injection: &Injection) {
        self.faults.retain(|(known, _)| *known != number);
        if let Some(fault) = self.witness.as_ref().and_then(|(witness, _)| witness.fault(injection)) {
            self.faults.push((number, fault));
        }
    }

    /// What has this number acts on it.
    pub(super) fn acts(&self, number: u16) {
        if let (Some((witness, id)), Some(fault)) = (&self.witness, self.fault(number)) {
            witness.tell(Event::Injected { fault, client: id.client, connection: id.connection });
        }
    }

    fn fault(&self, number: u16) -> Option<u16> {
        self.faults.iter().find(|(known, _)| *known == number).map(|(_, fault)| *fault)
    }

    /// It did not open; `number`: what was done to it.
    pub(super) fn failed(&self, stage: Stage, outcome: Outcome, number: Option<u16>) {
        if let Some((witness, id)) = &self.witness {
            witness.failed(*id, stage, outcome, number.and_then(|number| self.fault(number)));
        }
    }

    /// It is open.
    pub(super) fn opened(&self) {
        if let Some((witness, id)) = &self.witness {
            witness.opened(*id, 0);
        }
    }

    /// It was open and has ended.
    pub(super) fn ended(&self, ending: &Ending) {
        let Some((witness, id)) = &self.witness else { return };
        let cause = match ending.cause {
            // What has no name in the results is told by its effect alone.
            Cause::Fault(number) => self.fault(number).map_or(Cause::Remote, Cause::Fault),
            other => other,
        };
        let ending = Box::new(Ending { cause, ..ending.clone() });
        witness.tell(Event::ServerEnded { client: id.client, connection: id.connection, ending });
    }
}
