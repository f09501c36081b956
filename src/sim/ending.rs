//! How an open connection ends: by its client, its server, a fault or its heartbeat; and the account of it that each side gives.

use super::pair::{CLIENT, account};
use super::row::ClientState;
use super::{Answered, Farewell, What, World};
use crate::close::{Cause, Ending, Initiator, TcpEnd, may_be_sent};
use crate::event::{Closing, Event};
use crate::reconnect::Loss;
use std::time::Duration;

/// Bounds of the wait after 1012 and 1013, as the registry of 1012 asks, s.
const RESTART_WAIT: (f64, f64) = (5.0, 30.0);
/// Codes that ask to come back later.
const RESTART_CODES: [u16; 2] = [1012, 1013];

impl World<'_> {
    /// An open connection ends, as its client sees it.
    pub(super) fn ends(&mut self, client: u32, farewell: u32) {
        let Farewell { client: ending, server, closing } = self.farewells[farewell as usize].clone();
        let (id, connection) = self.id(client);
        if let Some(account) = server {
            // Before the client's, so that both are joined at once.
            self.record(self.now, &Event::ServerEnded { client: id, connection, ending: Box::new(account) });
        }
        let closing = match closing {
            None => None,
            Some(Answered::ByClient) => Some(Closing { ack: Some(Duration::ZERO), total: self.kind.model.rtt.mean() }),
            Some(Answered::ByServer) => Some(Closing { ack: Some(self.kind.model.rtt.mean()), total: self.kind.model.rtt.mean() }),
        };
        self.ended(client, Box::new(ending), closing);
    }

    /// An open connection is over, on both sides.
    fn ended(&mut self, client: u32, ending: Box<Ending>, closing: Option<Closing>) {
        let (cause, code) = (ending.cause, ending.code);
        let place = self.rows[client as usize].server;
        // Nothing is counted for a process that is gone.
        if let Some(server) = self.servers.get_mut(usize::from(place)) {
            server.open -= 1;
            server.seats = server.seats.saturating_sub(1);
        }
        self.turn_to(client, ClientState::Away);
        let (id, connection) = self.id(client);
        self.record(self.now, &Event::Ended { client: id, connection, ending, closing });
        if cause == Cause::Stay {
            self.left(client);
        } else {
            self.lost(client, code);
        }
        self.check_exit(place);
    }

    /// A client has lost its connection, and was told this code.
    pub(super) fn lost(&mut self, client: u32, code: u16) {
        self.leaving.remove(&client);
        let hint = (self.kind.model.hints.restart_codes && RESTART_CODES.contains(&code)).then(|| {
            let (least, most) = RESTART_WAIT;
            Duration::from_secs_f64(least + (most - least) * self.hints.unit())
        });
        self.come_back(client, self.now, &Loss::Closed { code }, hint);
    }

    /// The client's own stay is over: it starts the closing handshake.
    pub(super) fn leave(&mut self, client: u32) {
        let plan = self.plan;
        let (code, reason) = plan.cohorts[usize::from(self.rows[client as usize].cohort)].farewell();
        self.leaving.insert(client);
        self.last_word(client);
        self.client_closes(client, Cause::Stay, code, reason);
    }

    /// A client sends a Close frame.
    pub(super) fn client_closes(&mut self, client: u32, cause: Cause, code: Option<u16>, reason: &str) {
        if let Some(slot) = self.pairs.of(client) {
            return self.tend(slot, |pair, scene| pair.begin_close(scene, CLIENT, cause, code, reason));
        }
        if self.rows[client as usize].state != ClientState::Open {
            return;
        }
        let valid = code.is_none_or(may_be_sent);
        // A healthy server answers an invalid code with 1002 (RFC 6455 §7.4.2).
        let answer = if valid { code } else { Some(crate::close::PROTOCOL_ERROR) };
        let wire = |code: Option<u16>| Some(code.unwrap_or(crate::close::NO_STATUS));
        let mut client_side = account(cause, Initiator::Client, TcpEnd::Fin, (Some(answer), wire(code)));
        let mut server_side = account(Cause::Remote, Initiator::Client, TcpEnd::Fin, (Some(code), wire(answer)));
        if valid {
            client_side.reason = reason.to_owned();
            server_side.reason = reason.to_owned();
        }
        let farewell = self.ending_id(Farewell { client: client_side, server: Some(server_side), closing: Some(Answered::ByServer) });
        self.turn_to(client, ClientState::Closing);
        let at = self.now.saturating_add(self.rtt());
        self.closes_until(client, (self.now, None), at);
        self.ends_at(client, at, farewell);
    }

    /// A closing handshake ends at `at`: one that the end of the run cuts is remembered.
    fn closes_until(&mut self, client: u32, since: (u64, Option<Duration>), at: u64) {
        if at >= self.end && since.0 < self.end {
            self.closing_since.insert(client, since);
        }
    }

    /// A server sends a Close frame: the client answers, the server ends TCP.
    pub(super) fn server_closes(&mut self, client: u32, farewell: u32) {
        if self.rows[client as usize].state != ClientState::Open {
            return;
        }
        self.turn_to(client, ClientState::Closing);
        let (there, back) = (self.leg(), self.rtt());
        // Its client answers at once.
        let (arrives, at) = (self.now.saturating_add(there), self.now.saturating_add(back).saturating_add(there));
        self.closes_until(client, (arrives, Some(Duration::ZERO)), at);
        self.ends_at(client, at, farewell);
    }

    /// The end reaches the client then.
    pub(super) fn ends_at(&mut self, client: u32, at: u64, farewell: u32) {
        if at <= self.now { self.ends(client, farewell) } else { self.push_for(at, client, What::End, farewell) }
    }
}
