//! What passes, as the events of a run: the account of a third witness, from which the same tables and reports come.
//!
//! Opening handshakes for WebSocket are attempts; other streams of bytes are none of a run's. A connection that was ended before its client had
//! said anything is an attempt where it is known whose, or where nobody tells clients apart.
//!
//! The results know of each client one connection at a time. One that has several at a time, as two tabs of a browser, is several there, and none of
//! these is away while another is connected.

use crate::close::{Cause, Ending, Initiator, TcpEnd, reported};
use crate::event::{Event, Outcome, Stage};
use crate::fault::End;
use crate::lock::lock;
use crate::number::counted;
use crate::proxy::account::{ConnectionAccount, EndedBy, ProxiedId, SideAccount};
use crate::proxy::event::ProxyEvent;
use crate::witness::Witness;
use crate::ws::handshake::own_headers::Id;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Status codes with which a client that leaves of its own accord closes: done, and going away (RFC 6455 §7.4.1).
const LEAVING: [u16; 2] = [1000, 1001];
/// What became of an attempt that got no answer.
const NO_ANSWER: &str = "the connection ended before the answer";
const NO_REQUEST: &str = "the connection was ended before the request";
/// What the results lack where clients speak TLS that passes through.
const UNREAD: &str = "TLS passed through: what it carried is in no figure";

/// Tells a witness of the connections that pass.
#[derive(Debug)]
pub struct ProxyRecord {
    witness: Arc<Witness>,
    /// Something tells clients apart.
    identified: bool,
    passing: Mutex<Passing>,
}

#[derive(Debug, Default)]
struct Passing {
    connections: HashMap<ProxiedId, PassingConnection>,
    clients: HashMap<Arc<str>, Vec<Line>>,
    /// Numbers of faults by their names, as they fired last.
    faults: HashMap<Arc<str>, u16>,
    /// Attempts of which nobody knows whose they were.
    unknown: u64,
}

/// A connection that is not over.
#[derive(Debug)]
struct PassingConnection {
    begun: Duration,
    /// Faults that acted on it before it was open.
    faults: Vec<u16>,
    open: Option<Open>,
}

/// An open one.
#[derive(Debug)]
struct Open {
    id: Id,
    client: Option<(Arc<str>, usize)>,
}

/// One of the connections that a client has at a time.
#[derive(Debug, Default)]
struct Line {
    open: bool,
    /// When it last began or ended to be so, or an attempt of it failed.
    changed: Duration,
}

impl Passing {
    /// The connection that a client makes next: one that it has not, those before first; and since when it has not.
    fn next_line(&self, client: &Arc<str>) -> (usize, Duration) {
        let lines = self.clients.get(client).map_or(&[][..], Vec::as_slice);
        let number = lines.iter().position(|line| !line.open).unwrap_or(lines.len());
        (number, lines.get(number).map(|line| line.changed).unwrap_or_default())
    }
}

impl ProxyRecord {
    /// Nothing has passed yet. `identified`: something tells clients apart.
    pub fn new(witness: Arc<Witness>, identified: bool) -> Self {
        ProxyRecord { witness, identified, passing: Mutex::default() }
    }

    /// Something happened in the proxy, now.
    pub fn on(&self, event: &ProxyEvent) {
        let now = self.witness.now();
        let passing = &mut *lock(&self.passing);
        match event {
            ProxyEvent::Connected { connection, .. } => {
                passing.connections.insert(connection.clone(), PassingConnection { begun: now, faults: Vec::new(), open: None });
            }
            ProxyEvent::Answered { connection, client, status, retry_after, .. } => {
                let Some(mut of) = passing.connections.remove(connection) else { return };
                let outcome = (*status != 101).then_some(Outcome::Rejected { status: *status, retry_after: *retry_after, location: None });
                of.open = self.attempt(passing, (of.begun, now), client.as_ref(), outcome, &of.faults);
                passing.connections.insert(connection.clone(), of);
            }
            ProxyEvent::Ended(account) => self.ended(passing, account, now),
            ProxyEvent::FaultFired { fault, inject, firing, hits, eligible, .. } => {
                let Some((number, _)) = self.witness.named_fault(fault, inject) else { return };
                passing.faults.insert(fault.clone(), number);
                let count = |connections: usize| u32::try_from(connections).unwrap_or(u32::MAX);
                let (selected, eligible) = (count(*hits), Some(count(*eligible)));
                self.witness.tell(Event::Fired { fault: number, firing: *firing, selected, eligible });
            }
            ProxyEvent::FaultActs { fault, connection, .. } => {
                let (Some(fault), Some(of)) = (passing.faults.get(fault), passing.connections.get_mut(connection)) else { return };
                match &of.open {
                    Some(Open { id: Id { client, connection }, .. }) => {
                        self.witness.tell(Event::Injected { fault: *fault, client: *client, connection: *connection });
                    }
                    None => of.faults.push(*fault),
                }
            }
            ProxyEvent::FaultReverted { fault, firing } => {
                let fault = passing.faults.get(fault).copied();
                fault.into_iter().for_each(|fault| self.witness.tell(Event::Reverted { fault, firing: *firing }));
            }
            ProxyEvent::FaultNotCarriedOut { fault, firing, why, .. } => {
                let (fault, firing, why) = (passing.faults.get(fault).copied(), *firing, why.clone());
                self.witness.tell(Event::NotCarriedOut { fault, firing, why });
            }
            ProxyEvent::TlsPassedThrough { .. } => self.witness.misses(UNREAD),
            _ => {}
        }
    }

    /// An attempt of a client is over, well where there is no `outcome`; `faults` acted on it. What is open now.
    fn attempt(
        &self,
        passing: &mut Passing,
        (begun, now): (Duration, Duration),
        client: Option<&Arc<str>>,
        outcome: Option<Outcome>,
        faults: &[u16],
    ) -> Option<Open> {
        let client = client.map(|client| (client.clone(), passing.next_line(client)));
        let label = client.as_ref().map(|(name, (number, _))| if *number == 0 { name.to_string() } else { format!("{name}\n{number}") });
        // It may have begun before the connection that it replaces was seen to end.
        let begun = client.as_ref().map_or(begun, |(_, (_, changed))| begun.max(*changed));
        // There were too many: the witness says so.
        let id = self.witness.came_at(begun, label.as_deref())?;
        let client = client.map(|(name, (number, _))| {
            let lines = passing.clients.entry(name.clone()).or_default();
            lines.resize_with(lines.len().max(number + 1), Line::default);
            lines[number] = Line { open: outcome.is_none(), changed: now };
            (name, number)
        });
        match outcome {
            Some(outcome) => {
                faults.iter().for_each(|fault| self.witness.tell(Event::Reached { fault: *fault }));
                self.witness.failed(id, Stage::Upgrade, outcome, faults.last().copied());
            }
            None => {
                self.witness.opened(id, 0);
                let injected = |fault| Event::Injected { fault, client: id.client, connection: id.connection };
                faults.iter().for_each(|fault| self.witness.tell(injected(*fault)));
                return Some(Open { id, client });
            }
        }
        None
    }

    fn ended(&self, passing: &mut Passing, account: &ConnectionAccount, now: Duration) {
        let Some(of) = passing.connections.remove(&account.connection) else { return };
        if let Some(Open { id: Id { client, connection }, client: known }) = of.open {
            let (mut ending, closing) = (seen_by_client(account), None);
            let elsewhere = match known {
                Some((name, number)) => {
                    let lines = passing.clients.entry(name).or_default();
                    lines.get_mut(number).into_iter().for_each(|line| *line = Line { open: false, changed: now });
                    lines.iter().any(|line| line.open)
                }
                // Nobody will know it again.
                None => true,
            };
            if elsewhere || leaves(account) {
                ending.cause = Cause::Stay;
            }
            self.witness.tell(Event::Ended { client, connection, ending: Box::new(ending), closing });
            self.witness.tell(Event::ServerEnded { client, connection, ending: Box::new(seen_by_server(account)) });
            return;
        }
        // A look at the port, which said nothing and left, is no attempt; nor is what speaks something else.
        let is_cut = account.near.bytes == 0 && account.by != EndedBy::Client;
        if account.status.is_some() || !(account.asked || is_cut) {
            return;
        }
        if self.identified && account.client.is_none() && !account.asked {
            passing.unknown += 1;
            return;
        }
        let why = if account.asked { NO_ANSWER } else { NO_REQUEST };
        let outcome = Outcome::Failed { why: why.to_owned() };
        self.attempt(passing, (of.begun, now), account.client.as_ref(), Some(outcome), &of.faults);
    }

    /// All is over: what comes later is in no result.
    pub fn end(&self) {
        self.witness.end();
        let unknown = std::mem::take(&mut lock(&self.passing).unknown);
        if unknown > 0 {
            let attempts = counted(unknown, "attempt");
            self.witness.note(format!("{attempts} ended before the request was read: whose is not known, and no figure has them"));
        }
    }
}

/// Whether the client closed it first, and as one that leaves.
fn leaves(account: &ConnectionAccount) -> bool {
    let code = account.near.close.as_ref().map(|close| close.code);
    account.by == EndedBy::Client && code.is_some_and(|code| LEAVING.contains(&code))
}

/// How the connection ended for the client: as a library that keeps to RFC 6455 tells it, of what passed.
fn seen_by_client(account: &ConnectionAccount) -> Ending {
    seen(account, &account.near, &account.far)
}

/// And for the server.
fn seen_by_server(account: &ConnectionAccount) -> Ending {
    seen(account, &account.far, &account.near)
}

/// For the side `own` towards the `other`.
fn seen(account: &ConnectionAccount, own: &SideAccount, other: &SideAccount) -> Ending {
    let tcp_end = match own.own_end {
        // It has ended TCP before it heard anything.
        _ if own.first => TcpEnd::Local,
        Some(End::Rst) => TcpEnd::Rst,
        Some(End::Fin) => TcpEnd::Fin,
        Some(End::Hold | End::Silent) | None => TcpEnd::None,
    };
    let close = |side: &SideAccount| side.close.as_ref().map(|close| close.code);
    let reset = own.end == TcpEnd::Rst || own.own_end == Some(End::Rst);
    Ending {
        cause: Cause::Remote,
        initiator: match account.by {
            EndedBy::Client => Initiator::Client,
            EndedBy::Server => Initiator::Server,
            EndedBy::Proxy | EndedBy::Nobody => Initiator::None,
        },
        wire_received: close(other),
        wire_sent: close(own),
        tcp_end,
        tls_end: None,
        mid_frame: other.mid_frame,
        clean: own.close.is_some() && other.close.is_some() && !reset,
        code: reported(close(other)),
        reason: other.close.as_ref().map(|close| close.reason.to_string()).unwrap_or_default(),
        bytes_after: 0,
    }
}

#[cfg(test)]
mod tests;
