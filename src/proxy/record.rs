//! What passes, as the events of a run: the account of a third witness, from which the same tables and reports come.
//!
//! Opening handshakes for WebSocket are attempts; other streams of bytes are none of a run's. A connection that was ended before its client had
//! said anything is an attempt where it is known whose, or where nobody tells clients apart.
//!
//! The results know of each client one connection at a time. One that has several at a time, as two tabs of a browser, is several there, and none of
//! these is away while another is connected.

use crate::close::{Cause, Ending, Initiator, TcpEnd, reported};
use crate::event::{Event, Outcome, Stage};
use crate::fault::{Effect, End, Side};
use crate::lock::lock;
use crate::number::counted;
use crate::proxy::account::{ConnectionAccount, EndedBy, ProxiedId, SideAccount};
use crate::proxy::event::ProxyEvent;
use crate::witness::Witness;
use crate::ws::handshake::own_headers::Id;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Faults that are remembered of a connection that is not answered yet.
const FAULTS_KEPT: usize = 64;
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
    /// Faults by their names, as they fired last.
    faults: HashMap<Arc<str>, NamedFault>,
    /// Attempts of which nobody knows whose they were.
    unknown: u64,
    /// Connections whose TLS handshake with the client failed.
    unsecured: u64,
    /// Connections that clients opened which had another one: these are not away when one of them ends.
    beside: u64,
}

/// A fault that fired.
#[derive(Clone, Copy, Debug)]
struct NamedFault {
    number: u16,
    /// Whom it hit may hear nothing more, and the proxy does not see what he does about it.
    silences: bool,
    /// Nor does he when it is over.
    for_good: bool,
    /// How often it acted.
    acted: u64,
    /// How often it could not.
    failed: u64,
}

/// A fault has silenced a connection.
#[derive(Debug)]
struct FaultSilence {
    connection: ProxiedId,
    since: Duration,
    /// Name and firing of the fault with which it ends.
    until: Option<(Arc<str>, u32)>,
}

/// A connection that is not over.
#[derive(Debug)]
struct PassingConnection {
    begun: Duration,
    /// Faults that acted on it before it was answered.
    faults: Vec<u16>,
    answered: bool,
    open: Option<Open>,
    /// It was open, and its client has another one in its place.
    given_up: Option<Id>,
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
    silenced: Option<FaultSilence>,
    /// It was the last of its client's that was open, and no other has been since.
    away: bool,
    /// When it last began or ended to be so, or an attempt of it failed.
    changed: Duration,
}

impl Passing {
    /// The connection that a client makes next: the one that is missing, or else one that it has not, those before first; and since when.
    fn next_line(&self, client: &Arc<str>) -> (usize, Duration) {
        let lines = self.clients.get(client).map_or(&[][..], Vec::as_slice);
        let missing = lines.iter().position(|line| line.away);
        let number = missing.or_else(|| lines.iter().position(|line| !line.open)).unwrap_or(lines.len());
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
                let of = PassingConnection { begun: now, faults: Vec::new(), answered: false, open: None, given_up: None };
                passing.connections.insert(connection.clone(), of);
            }
            ProxyEvent::Answered { connection, client, status, retry_after, .. } => {
                let Some(mut of) = passing.connections.remove(connection) else { return };
                of.answered = true;
                let outcome = (*status != 101).then_some(Outcome::Rejected { status: *status, retry_after: *retry_after, location: None });
                of.open = self.attempt(passing, (of.begun, now), client.as_ref(), outcome, &std::mem::take(&mut of.faults));
                passing.connections.insert(connection.clone(), of);
            }
            ProxyEvent::Ended(account) => self.ended(passing, account, now),
            ProxyEvent::FaultFired { fault, inject, new, firing, hits, eligible, .. } => {
                let Some((number, _)) = self.witness.named_fault(fault, inject, *new) else {
                    // Not what it was called before it was changed.
                    passing.faults.remove(fault);
                    return;
                };
                let leaves = inject.effect(Side::Server).leaves();
                let silences = leaves.gone || leaves.dead || leaves.stopped;
                let (acted, failed) = passing.faults.get(fault).map_or((0, 0), |before| (before.acted, before.failed));
                passing.faults.insert(fault.clone(), NamedFault { number, silences, for_good: leaves.gone, acted, failed });
                let count = |connections: usize| u32::try_from(connections).unwrap_or(u32::MAX);
                let (selected, eligible) = (count(*hits), Some(count(*eligible)));
                self.witness.tell(Event::Fired { fault: number, firing: *firing, selected, eligible });
                if matches!(inject.effect(Side::Server), Effect::Listener { .. }) {
                    // Where it cannot be done, that is an event of its own.
                    self.witness.tell(Event::Reached { fault: number });
                }
            }
            ProxyEvent::FaultActs { fault: name, firing, connection } => {
                let Passing { connections, clients, faults, .. } = passing;
                let (Some(fault), Some(of)) = (faults.get_mut(name), connections.get_mut(connection)) else { return };
                fault.acted += 1;
                match &of.open {
                    Some(Open { id, client: known }) => {
                        let line = known.as_ref().and_then(|(name, number)| clients.get_mut(name)?.get_mut(*number));
                        let until = (!fault.for_good).then(|| (name.clone(), *firing));
                        if let Some(line) = line.filter(|_| fault.silences) {
                            line.silenced.get_or_insert(FaultSilence { connection: connection.clone(), since: now, until });
                        }
                        self.witness.tell(Event::Injected { fault: fault.number, client: id.client, connection: id.connection });
                    }
                    None if of.answered || of.faults.len() >= FAULTS_KEPT => self.witness.tell(Event::Reached { fault: fault.number }),
                    None => of.faults.push(fault.number),
                }
            }
            ProxyEvent::FaultReverted { fault, firing } => {
                let ended = Some((fault.clone(), *firing));
                let silenced =
                    passing.clients.values_mut().flatten().filter(|line| line.silenced.as_ref().is_some_and(|of| of.until == ended));
                silenced.for_each(|line| line.silenced = None);
                let fault = passing.faults.get(fault);
                fault.into_iter().for_each(|fault| self.witness.tell(Event::Reverted { fault: fault.number, firing: *firing }));
            }
            // It may be none of those that are looked at, as a look at the health of the server.
            ProxyEvent::FaultNotCarriedOut { fault, connection: Some(connection), why, .. } => {
                if let Some(of) = passing.faults.get_mut(fault) {
                    of.failed += 1;
                    // It was about to.
                    let list = passing.connections.get_mut(connection).map(|connection| &mut connection.faults);
                    let at = list.as_ref().and_then(|list| list.iter().rposition(|number| *number == of.number));
                    if let (Some(list), Some(at)) = (list, at) {
                        list.remove(at);
                        of.acted = of.acted.saturating_sub(1);
                    }
                }
                self.witness.tell(Event::Notice { text: format!("fault {fault} was not carried out on a connection: {why}") });
            }
            ProxyEvent::FaultNotCarriedOut { fault, firing, why, connection: None } => {
                let (fault, firing, why) = (passing.faults.get(fault).map(|fault| fault.number), *firing, why.clone());
                self.witness.tell(Event::NotCarriedOut { fault, firing, why });
            }
            ProxyEvent::NotListening { .. } => self.witness.misses(&event.to_string()),
            ProxyEvent::Refused { limit } => self.witness.tell(Event::LocalLimit { what: (*limit).to_owned() }),
            ProxyEvent::ClientNotSecured { .. } => passing.unsecured += 1,
            ProxyEvent::TlsPassedThrough { .. } => self.witness.misses(UNREAD),
            ProxyEvent::NotDialled { .. } | ProxyEvent::TooManyClients { .. } => {}
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
        client.into_iter().for_each(|client| self.give_up(passing, client, begun));
        let client = client.map(|client| (client.clone(), passing.next_line(client)));
        let label = client.as_ref().map(|(name, (number, _))| if *number == 0 { name.to_string() } else { format!("{name}\n{number}") });
        // It may have begun before the connection that it replaces was seen to end.
        let begun = client.as_ref().map_or(begun, |(_, (_, changed))| begun.max(*changed));
        // There were too many: the witness says so.
        let id = self.witness.came_at(begun, label.as_deref())?;
        let client = client.map(|(name, (number, _))| {
            let lines = passing.clients.entry(name.clone()).or_default();
            lines.resize_with(lines.len().max(number + 1), Line::default);
            passing.beside += u64::from(outcome.is_none() && lines.iter().any(|line| line.open && line.silenced.is_none()));
            let line = &mut lines[number];
            *line = Line { open: outcome.is_none(), silenced: None, away: line.away && outcome.is_some(), changed: now };
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

    /// A client that began to make another connection then has given up one that a fault had silenced: it is the only one of which it misses
    /// anything.
    fn give_up(&self, passing: &mut Passing, client: &Arc<str>, begun: Duration) {
        let lines = passing.clients.get_mut(client).map_or(&mut [][..], Vec::as_mut_slice);
        if lines.iter().any(|line| line.away) {
            return;
        }
        let is_given_up = |line: &Line| line.silenced.as_ref().is_some_and(|silence| silence.since < begun);
        let Some(number) = lines.iter().position(is_given_up) else { return };
        let away = !lines.iter().enumerate().any(|(other, line)| line.open && line.silenced.is_none() && other != number);
        let silence = std::mem::replace(&mut lines[number], Line { away, changed: begun, ..Line::default() }).silenced;
        let Some(of) = silence.and_then(|silence| passing.connections.get_mut(&silence.connection)) else { return };
        of.given_up = of.open.take().map(|open| open.id);
        if let Some(Id { client, connection }) = of.given_up {
            let cause = if away { Cause::Remote } else { Cause::Stay };
            let ending = Box::new(given_up(cause));
            self.witness.tell_at(begun, Event::Ended { client, connection, ending, closing: None });
        }
    }

    fn ended(&self, passing: &mut Passing, account: &ConnectionAccount, now: Duration) {
        // Nothing of the client's next connection may stand before its end.
        let tell = |event| self.witness.tell_at(now, event);
        let Some(of) = passing.connections.remove(&account.connection) else { return };
        if let Some(Id { client, connection }) = of.given_up {
            tell(Event::ServerEnded { client, connection, ending: Box::new(seen_by_server(account)) });
            return;
        }
        if let Some(Open { id: Id { client, connection }, client: known }) = of.open {
            let (mut ending, closing) = (seen_by_client(account), None);
            let mut leaves = account.client_leaves();
            let elsewhere = match known {
                Some((name, number)) => {
                    let lines = passing.clients.entry(name).or_default();
                    // Who hears nothing gives up, with whatever code: Phoenix's client takes 1000.
                    leaves &= lines.get(number).is_none_or(|line| line.silenced.is_none());
                    let elsewhere = lines.iter().enumerate().any(|(other, line)| line.open && other != number);
                    lines.get_mut(number).into_iter().for_each(|line| {
                        *line = Line { away: !elsewhere && !leaves, changed: now, ..Line::default() };
                    });
                    elsewhere
                }
                // Nobody will know it again; where nobody is ever known, nobody is away.
                None => self.identified,
            };
            if elsewhere || leaves {
                ending.cause = Cause::Stay;
            }
            tell(Event::Ended { client, connection, ending: Box::new(ending), closing });
            tell(Event::ServerEnded { client, connection, ending: Box::new(seen_by_server(account)) });
            return;
        }
        // A look at the port, which said nothing and left, is no attempt; nor is what speaks something else.
        let is_cut = account.near.bytes == 0 && account.by != EndedBy::Client;
        let is_attempt = account.status.is_none() && (account.asked || is_cut);
        let is_unknown = self.identified && account.client.is_none() && !account.asked;
        if is_attempt && !is_unknown {
            let why = if account.asked { NO_ANSWER } else { NO_REQUEST };
            let outcome = Outcome::Failed { why: why.to_owned() };
            self.attempt(passing, (of.begun, now), account.client.as_ref(), Some(outcome), &of.faults);
            return;
        }
        passing.unknown += u64::from(is_attempt);
        of.faults.iter().for_each(|fault| self.witness.tell(Event::Reached { fault: *fault }));
    }

    /// All is over: what comes later is in no result. These faults were not due until now.
    pub fn end(&self, not_due: &[Arc<str>]) {
        self.witness.end();
        let passing = &mut *lock(&self.passing);
        let waiting = passing.connections.values().filter(|connection| !connection.answered).count() as u64;
        for (count, what, said) in [
            (passing.unknown, "attempt", "ended before the request was read: whose is not known, and no figure has them"),
            (passing.unsecured, "connection", "failed in TLS with the client: no figure has them"),
            (waiting, "connection", "had not become a WebSocket when the proxy was stopped: no figure has them"),
            (passing.beside, "connection", "came while its client had another one open: such a client is not away when one of them ends"),
        ] {
            if count > 0 {
                self.witness.note(format!("{} {said}", counted(count, what)));
            }
        }
        for (name, fault) in &passing.faults {
            if fault.acted == 0 && fault.failed > 0 {
                self.witness.misses(&format!("fault {name} was carried out on none of the connections that it was to hit"));
            }
        }
        not_due.iter().for_each(|fault| self.witness.misses(&format!("fault {fault} was not due before the end")));
    }
}

/// How the connection ended for the client: as a library that keeps to RFC 6455 tells it, of what passed.
fn seen_by_client(account: &ConnectionAccount) -> Ending {
    seen(account, &account.near, &account.far)
}

/// And for the server.
fn seen_by_server(account: &ConnectionAccount) -> Ending {
    seen(account, &account.far, &account.near)
}

/// Of a connection of which its client has heard nothing more, and which it has ended by itself, whenever that was.
fn given_up(cause: Cause) -> Ending {
    Ending {
        cause,
        initiator: Initiator::Client,
        wire_received: None,
        wire_sent: None,
        tcp_end: TcpEnd::Local,
        tls_end: None,
        mid_frame: false,
        clean: false,
        code: reported(None),
        reason: String::new(),
        bytes_after: 0,
    }
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
    let reason = other.close.as_ref().filter(|close| Some(close.code) == other.passed_code);
    let reset = own.end == TcpEnd::Rst || own.own_end == Some(End::Rst);
    Ending {
        cause: Cause::Remote,
        initiator: match account.by {
            EndedBy::Client => Initiator::Client,
            EndedBy::Server => Initiator::Server,
            EndedBy::Proxy | EndedBy::Nobody => Initiator::None,
        },
        wire_received: other.passed_code,
        wire_sent: own.close.as_ref().map(|close| close.code),
        tcp_end,
        tls_end: None,
        mid_frame: other.mid_frame,
        clean: own.close.is_some() && other.passed_code.is_some() && !reset,
        code: reported(other.passed_code),
        reason: reason.map(|close| close.reason.to_string()).unwrap_or_default(),
        bytes_after: 0,
    }
}

#[cfg(test)]
mod tests;
