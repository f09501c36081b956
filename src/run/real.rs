//! Real clients of a run: they come to the embedded servers by themselves, get numbers in the order in which they come, and the servers tell what
//! they see of them.

use crate::event::{ClientIndex, ConnectionNo, Event, Outcome, Stage, Stages};
use crate::load::context::RunContext;
use crate::plan::Phase;
use crate::server::protocol::{FromServer, ToServer};
use crate::witness::ConnectionCount;
use crate::ws::handshake::own_headers::Id;
use std::time::Duration;

/// Real clients so far.
#[derive(Debug, Default)]
pub(super) struct RealCount {
    came: ConnectionCount,
    told: bool,
}

impl RealCount {
    /// A real client asks for a WebSocket, or has failed before.
    pub(super) fn came(&mut self, shared: &RunContext, came: FromServer) {
        let FromServer::Came { instance, process, ticket, at_ns } = came else { return };
        let (journal, number) = (&shared.journal, self.came.one_more().map(ClientIndex));
        let id = number.as_ref().ok().map(|client| Id { client: *client, connection: ConnectionNo(1) });
        shared.fleet.answer((instance, process), ToServer::Numbered { ticket, id });
        let client = match number {
            Ok(client) => client,
            Err(what) => {
                if !std::mem::replace(&mut self.told, true) {
                    journal.record(&Event::LoadLimit { what });
                }
                return;
            }
        };
        let at = journal.offset(at_ns);
        shared.registry.slot(client).set(|place| {
            place.begin(at);
            place.enter(Phase::Upgrade, at);
            (place.instance, place.connection) = (instance, 1);
        });
        journal.record_at(at, &Event::Arrived { client, due: at });
        journal.record_at(at, &Event::AttemptStarted { client, due: at });
    }
}

/// A server tells of the connection of a real client.
pub(super) fn told(shared: &RunContext, report: FromServer) {
    let journal = &shared.journal;
    match report {
        FromServer::Opened { id: Id { client, connection }, at_ns } => {
            let at = journal.offset(at_ns);
            let slot = shared.registry.slot(client);
            if !is_in(shared, client, Phase::Upgrade) {
                return;
            }
            slot.set(|place| place.enter(Phase::Open, at));
            let (instance, none) = (slot.place().instance, Duration::ZERO);
            journal.record_at(at, &Event::Opened { client, connection, instance, tcp: none, tls: None, resumed: false, upgrade: none });
            journal.record_at(at, &Event::Ready { client, connection });
        }
        FromServer::NotOpened { id, stage, outcome, fault, at_ns } if is_in(shared, id.client, Phase::Upgrade) => {
            failed(shared, id.client, (stage, outcome), fault, journal.offset(at_ns))
        }
        FromServer::Ended { id: Some(Id { client, connection }), ending, at_ns } if is_in(shared, client, Phase::Open) => {
            shared.registry.slot(client).set(|place| place.phase = None);
            journal.record_at(journal.offset(at_ns), &Event::ServerEnded { client, connection, ending });
        }
        _ => {}
    }
}

/// Where a real client stands. What a server that is gone told before comes when it has been counted as gone.
fn is_in(shared: &RunContext, client: ClientIndex, phase: Phase) -> bool {
    shared.registry.slot(client).place().phase == Some(phase)
}

fn failed(shared: &RunContext, client: ClientIndex, (stage, outcome): (Stage, Outcome), fault: Option<u16>, at: Duration) {
    shared.registry.slot(client).set(|place| place.phase = None);
    let times = Stages::default();
    shared.journal.record_at(at, &Event::AttemptFailed { client, stage, outcome, times, fault });
}

/// The process of an instance is gone, and with it all that it had open or was about to open.
pub(super) fn gone(shared: &RunContext, instance: u16) {
    let at = shared.journal.now();
    for (client, slot) in shared.registry.each() {
        let place = slot.place();
        if place.instance != instance {
            continue;
        }
        match place.phase {
            Some(Phase::Open) => {
                slot.set(|place| place.phase = None);
                shared.journal.record_at(at, &Event::Orphaned { client, connection: ConnectionNo(place.connection) });
            }
            Some(Phase::Upgrade) => {
                let outcome = Outcome::Failed { why: "the server was gone before the answer".to_owned() };
                failed(shared, client, (Stage::Upgrade, outcome), None, at);
            }
            _ => {}
        }
    }
}
