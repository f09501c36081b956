//! Faults that wait for connections that open later (`new`).

use crate::load::context::RunContext;
use crate::load::registry::ConnectionPlace;
use crate::load::registry::WaitingFault;
use crate::server::protocol::ToServer;
use crate::ws::handshake::own_headers::Id;
use crate::ws::session::mailbox::{FiredInjection, SessionCommand};
use futures_util::FutureExt;
use std::sync::Arc;

/// Connections that a server hears of in one message.
const AT_ONCE: usize = 10_000;

/// Gives a dose to the embedded servers that hold these connections.
pub(crate) fn tell_servers(shared: &RunContext, dose: &FiredInjection, chosen: &[(Id, ConnectionPlace)]) {
    for instance in shared.fleet.named(None) {
        let ids: Vec<_> = chosen.iter().filter(|(_, place)| place.instance == instance).map(|(id, _)| *id).collect();
        for ids in ids.chunks(AT_ONCE) {
            shared.fleet.tell(instance, &ToServer::Inject { dose: dose.clone(), ids: ids.to_vec() });
        }
    }
}

/// A connection opened: the faults that wait for it reach it, as far as they have hits left. It does not wait for the answer.
pub(crate) fn opened(shared: &Arc<RunContext>, id: Id) {
    for WaitingFault { client, server } in shared.registry.opened(id.client) {
        let shared = shared.clone();
        let mut reach = Box::pin(async move {
            if !shared.hits.take_one(client.firing).await {
                return;
            }
            let slot = shared.registry.slot(id.client);
            let place = slot.place();
            // It is over already, or the fault is.
            if place.connection != id.connection.0 || !shared.registry.awaits(client.firing) {
                return shared.hits.give_back(client.firing, 1).await;
            }
            if let Some(dose) = server {
                tell_servers(&shared, &dose, &[(id, place)]);
            }
            slot.control.send(SessionCommand::Inject(client));
        });
        // At once where nobody need be asked.
        if reach.as_mut().now_or_never().is_none() {
            tokio::spawn(reach);
        }
    }
}
