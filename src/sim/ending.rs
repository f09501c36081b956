//! How an open connection ends: by its client, its server, a fault or its heartbeat; and the account of it that each side gives.

use super::row::State;
use super::{Answered, Farewell, What, World, nanos};
use crate::close::{Cause, Deadline, Ending, Initiator, TcpEnd, may_be_sent, reported};
use crate::event::{Closing, Event};
use crate::reconnect::Loss;
use std::time::Duration;

/// Bounds of the wait after 1012 and 1013, as the registry of 1012 asks, s.
const RESTART_WAIT: (f64, f64) = (5.0, 30.0);
/// Codes that ask to come back later.
const RESTART_CODES: [u16; 2] = [1012, 1013];

impl World<'_> {
    /// An open connection ends, as its client sees it.
    pub(super) fn ends(&mut self, client: u32, farewell: u8) {
        let Farewell { client: ending, server, closing } = self.farewells[usize::from(farewell)].clone();
        let (id, connection) = self.id(client);
        if let Some(account) = server {
            // Before the client's, so that both are joined at once.
            self.record(self.now, &Event::ServerEnded { client: id, connection, ending: Box::new(account) });
        }
        let closing = match closing {
            None => None,
            Some(Answered::ByClient) => Some(Closing { ack: Some(Duration::ZERO), total: self.kind.model.rtt.mean() }),
            Some(Answered::ByServer) => Some(Closing { ack: Some(self.kind.model.rtt.mean()), total: self.kind.model.rtt.mean() }),
            Some(Answered::Never(total)) => Some(Closing { ack: None, total }),
        };
        self.ended(client, Box::new(ending), closing);
    }

    /// An open connection is over.
    fn finish(&mut self, client: u32, ending: Box<Ending>, closing: Option<Closing>) -> u16 {
        let place = self.rows[client as usize].server;
        // The books of a process that is gone are closed.
        if let Some(server) = self.servers.get_mut(usize::from(place)) {
            server.open -= 1;
            server.seats = server.seats.saturating_sub(1);
        }
        self.turn_to(client, State::Away);
        self.forget_silences(client);
        let (id, connection) = self.id(client);
        self.record(self.now, &Event::Ended { client: id, connection, ending, closing });
        place
    }

    fn ended(&mut self, client: u32, ending: Box<Ending>, closing: Option<Closing>) {
        let (cause, code) = (ending.cause, ending.code);
        let place = self.finish(client, ending, closing);
        if cause == Cause::Stay {
            self.left(client);
        } else {
            self.leaving.remove(&client);
            let hint = (self.kind.model.hints.restart_codes && RESTART_CODES.contains(&code)).then(|| {
                let (least, most) = RESTART_WAIT;
                Duration::from_secs_f64(least + (most - least) * self.hints.unit())
            });
            self.come_back(client, self.now, &Loss::Closed { code }, hint);
        }
        self.check_exit(place);
    }

    /// An open connection is left behind for another path: no loss that the policy is asked about.
    pub(super) fn switched(&mut self, client: u32, farewell: u8, gap: Duration) {
        let ending = self.farewells[usize::from(farewell)].client.clone();
        self.finish(client, Box::new(ending), None);
        self.push_for(self.now.saturating_add(nanos(gap)), client, What::Wake, 0);
    }

    /// The client's own stay is over: it starts the closing handshake.
    pub(super) fn leave(&mut self, client: u32) {
        let Some(stay) = &self.plan.cohorts[usize::from(self.rows[client as usize].cohort)].stay else { return };
        let (code, reason) = (stay.code, stay.reason.clone());
        self.leaving.insert(client);
        self.client_closes(client, Cause::Stay, code, &reason);
    }

    /// A client sends a Close frame.
    pub(super) fn client_closes(&mut self, client: u32, cause: Cause, code: Option<u16>, reason: &str) {
        let row = &self.rows[client as usize];
        let (state, close) = (row.state, self.plan.cohorts[usize::from(row.cohort)].deadlines.close);
        let sent = Some(code.unwrap_or(crate::close::NO_STATUS));
        if state != State::Open {
            // Nobody answers; without a deadline it waits for ever.
            let mut client_side = account(cause, Initiator::Client, TcpEnd::Timeout, (None, sent));
            client_side.reason = String::new();
            let farewell = self.farewell(Farewell { client: client_side, server: None, closing: Some(Answered::Never(close)) });
            self.turn_to(client, State::Closing);
            let at = if close.is_zero() { u64::MAX } else { self.now.saturating_add(nanos(close)) };
            self.closes_until(client, (self.now, None), at);
            return self.push_for(at, client, What::End, farewell);
        }
        let valid = code.is_none_or(may_be_sent);
        // A healthy server answers an invalid code with 1002 (RFC 6455 §7.4.2).
        let answer = if valid { sent } else { Some(crate::close::PROTOCOL_ERROR) };
        let mut client_side = account(cause, Initiator::Client, TcpEnd::Fin, (answer, sent));
        let mut server_side = account(Cause::Remote, Initiator::Client, TcpEnd::Fin, (sent, answer));
        if valid {
            client_side.reason = reason.to_owned();
            server_side.reason = reason.to_owned();
        }
        let farewell = self.farewell(Farewell { client: client_side, server: Some(server_side), closing: Some(Answered::ByServer) });
        self.turn_to(client, State::Closing);
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
    pub(super) fn server_closes(&mut self, client: u32, farewell: u8) {
        if self.rows[client as usize].state != State::Open {
            return;
        }
        self.turn_to(client, State::Closing);
        let (there, back) = (self.leg(), self.rtt());
        // Its client answers at once.
        let (arrives, at) = (self.now.saturating_add(there), self.now.saturating_add(back).saturating_add(there));
        self.closes_until(client, (arrives, Some(Duration::ZERO)), at);
        self.ends_at(client, at, farewell);
    }

    /// The end reaches the client then.
    pub(super) fn ends_at(&mut self, client: u32, at: u64, farewell: u8) {
        if at <= self.now { self.ends(client, farewell) } else { self.push_for(at, client, What::End, farewell) }
    }

    /// No pong came within the heartbeat's timeout.
    pub(super) fn no_pong(&mut self, client: u32) {
        let row = &self.rows[client as usize];
        let since = self.silent_since.get(&client).copied().unwrap_or(u64::MAX);
        if !matches!(row.state, State::Dead | State::Stalled) || self.no_pong_at(client, since) != Some(self.now) {
            // It has heard something since this was put down.
            return;
        }
        let ending = account(Cause::Deadline(Deadline::Pong), Initiator::Client, TcpEnd::Local, (None, None));
        let farewell = self.farewell(Farewell { client: ending, server: None, closing: None });
        self.ends(client, farewell);
    }
}

/// One side's account of an ending; `frames`: the codes received and sent.
pub(super) fn account(cause: Cause, initiator: Initiator, tcp_end: TcpEnd, frames: (Option<u16>, Option<u16>)) -> Ending {
    let (wire_received, wire_sent) = frames;
    let code = reported(wire_received);
    let valid = wire_received.is_some_and(|received| received == crate::close::NO_STATUS || may_be_sent(received));
    Ending {
        cause,
        initiator,
        wire_received,
        wire_sent,
        tcp_end,
        tls_end: None,
        mid_frame: false,
        clean: valid && wire_sent.is_some() && tcp_end == TcpEnd::Fin,
        code,
        reason: String::new(),
        bytes_after: 0,
    }
}
