//! Outages: from the fault that took a client's open connection to the moment it is ready again, split into phases.
//!
//! ```text
//! t_fault ─ t_detect ─ wait ─ attempt ✗ ─ wait ─ attempt ─ t_open ─ t_ready
//! └─detect─┘└backoff┘└attempt┘└backoff┘└───attempt───────┘└first reply┘
//! ```
//! Each moment is cut to whole µs first, so the phases add up to the whole exactly. What the injector reports may come late,
//! because it crosses processes: an outage can be amended while it lasts, and afterwards as long as it is held back.

use crate::close::{Cause, Ending};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Ended outages held back for late evidence; the oldest are booked first. About 6 MB.
const HELD: usize = 65_536;
/// Two processes read one clock at different places in their code: an injector may seem so much later than its effect, µs.
const SLACK_US: u64 = 1_000;
const NONE: u32 = u32::MAX;

/// One outage of one client. Offsets and lengths in µs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// Who.
    pub client: u32,
    /// Cohort, by index.
    pub cohort: u16,
    /// The connection that was lost.
    pub connection: u32,
    /// Its code as reported to the client's user.
    pub code: u16,
    /// The fault it belongs to, by index.
    pub fault: Option<u16>,
    /// `t_fault`: when the injector acted, or `t_detect` where nobody injected.
    pub fault_at: u64,
    /// `t_detect`.
    pub detect_at: u64,
    /// Sum of waits so far.
    pub backoff: u64,
    /// Sum of attempts so far, time open but not ready included.
    pub attempt: u64,
    /// `t_ready - t_open`.
    pub reply: Option<u64>,
    /// Attempts begun.
    pub attempts: u32,
    /// `t_ready`.
    pub ready_at: Option<u64>,
    /// The policy gave up.
    pub gave_up: bool,
}

/// An outage under way: 48 bytes, because all clients of a simulation may have one. Client and cohort are elsewhere.
#[derive(Clone, Debug)]
#[repr(C)]
struct Under {
    fault_at: u64,
    detect_at: u64,
    backoff: u64,
    /// Until when time is booked: what of it is not backoff was attempts.
    mark: u64,
    connection: u32,
    attempts: u32,
    fault: Option<u16>,
    code: u16,
    phase: Phase,
    gave_up: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    Waiting,
    Attempting,
    Replying,
}

impl Outage {
    /// `t_detect - t_fault`.
    pub fn detect(&self) -> u64 {
        self.detect_at - self.fault_at
    }

    /// `t_ready - t_fault`, if it ended.
    pub fn time(&self) -> Option<u64> {
        self.ready_at.map(|ready| ready - self.fault_at)
    }
}

impl Under {
    fn lost(&mut self) -> Lost<'_> {
        Lost { connection: self.connection, detect_at: self.detect_at, fault_at: &mut self.fault_at, fault: &mut self.fault }
    }

    /// Books the time since the last change into the phase that ends now.
    fn turn(&mut self, at: u64, next: Phase) {
        if self.phase == Phase::Waiting {
            if self.gave_up && next == Phase::Waiting {
                // Who gave up does not wait for anything.
                return;
            }
            self.backoff += at.saturating_sub(self.mark);
        }
        self.mark = self.mark.max(at);
        self.phase = next;
    }

    /// As it is booked; it ended at `ready`, if it did.
    fn outage(&self, client: u32, cohort: u16, ready: Option<u64>) -> Outage {
        Outage {
            client,
            cohort,
            connection: self.connection,
            code: self.code,
            fault: self.fault,
            fault_at: self.fault_at,
            detect_at: self.detect_at,
            backoff: self.backoff,
            attempt: self.mark - self.detect_at - self.backoff,
            reply: ready.map(|ready| ready - self.mark),
            attempts: self.attempts,
            ready_at: ready,
            gave_up: self.gave_up,
        }
    }
}

/// What late evidence may change of an outage, under way or held back.
struct Lost<'a> {
    connection: u32,
    detect_at: u64,
    fault_at: &'a mut u64,
    fault: &'a mut Option<u16>,
}

impl Lost<'_> {
    /// The injector acted on the lost connection at `at`.
    fn amend(self, at: u64, fault: u16) {
        if at <= self.detect_at + SLACK_US {
            *self.fault_at = at.min(self.detect_at);
            *self.fault = Some(fault);
        }
    }
}

/// A client: 32 bytes and never two cache lines, because there may be millions.
#[derive(Clone, Debug)]
#[repr(align(32))]
pub(super) struct Client {
    injected_at: u64,
    injected_connection: u32,
    /// Place of the outage under way in `open`, or `NONE`.
    outage: u32,
    /// Number of the last ended outage plus 1, modulo 2³²; 0 for none.
    ended: u32,
    /// Attempts begun: the number of the attempt under way, and of its connection.
    pub(super) attempts: u32,
    injected_fault: u16,
    pub(super) cohort: u16,
    /// What is so, as a sum of the constants of the recorder.
    is: u8,
}

impl Client {
    /// One of this cohort that has not arrived.
    pub(super) fn new(cohort: u16) -> Client {
        Client { injected_at: 0, injected_connection: 0, outage: NONE, ended: 0, attempts: 0, injected_fault: 0, cohort, is: 0 }
    }

    pub(super) fn is(&self, what: u8) -> bool {
        self.is & what != 0
    }

    pub(super) fn set(&mut self, what: u8, so: bool) {
        self.is = if so { self.is | what } else { self.is & !what };
    }
}

/// The clients and their outages: 32 bytes a client, 48 for each under way, and one [`Outage`] for each held back.
#[derive(Debug, Default)]
pub(super) struct Outages {
    pub(super) clients: Vec<Client>,
    open: Vec<Under>,
    /// Places of `open` that are not in use.
    free: Vec<u32>,
    held: VecDeque<Outage>,
    /// Number of the first in `held`.
    first: u64,
}

impl Outages {
    /// For these clients.
    pub(super) fn new(clients: Vec<Client>) -> Outages {
        Outages { clients, ..Outages::default() }
    }

    /// Reads what there is of a client, so that it is at hand soon.
    pub(super) fn touch(&self, client: usize) -> u64 {
        self.clients.get(client).map_or(0, |client| u64::from(client.outage))
    }

    /// Reads from both cache lines of its outage: best when clients have been touched before.
    pub(super) fn touch_outage(&self, client: usize) -> u64 {
        let place = self.clients.get(client).map_or(NONE, |client| client.outage);
        self.open.get(place as usize).map_or(0, |outage| outage.fault_at + u64::from(outage.code))
    }

    /// Outages under way.
    pub(super) fn under_way(&self) -> usize {
        self.open.len() - self.free.len()
    }

    /// The fault of the client's outage under way: `None` without outage, `Some(None)` for one without fault.
    pub(super) fn fault_of(&self, client: u32) -> Option<Option<u16>> {
        self.current(client).map(|outage| outage.fault)
    }

    /// The fault that last acted on a connection of this client, with the offset, as far as is known.
    pub(super) fn injected(&self, client: u32, connection: u32) -> Option<(u16, u64)> {
        let state = &self.clients[client as usize];
        (state.injected_connection == connection).then_some((state.injected_fault, state.injected_at))
    }

    /// A fault acted on a connection.
    pub(super) fn inject(&mut self, at: u64, client: u32, connection: u32, fault: u16) {
        let state = &mut self.clients[client as usize];
        if (connection, at) >= (state.injected_connection, state.injected_at) {
            (state.injected_connection, state.injected_at, state.injected_fault) = (connection, at, fault);
        }
        let latest = |lost: &Lost<'_>| lost.fault.is_none() || *lost.fault_at == lost.detect_at || at >= *lost.fault_at;
        if let Some(lost) = self.lost_with(client, connection).filter(latest) {
            lost.amend(at, fault);
        }
    }

    /// Evidence names the fault that ended a connection, without saying when it acted.
    pub(super) fn attribute(&mut self, client: u32, connection: u32, fault: u16) {
        if let Some(lost) = self.lost_with(client, connection) {
            lost.fault.get_or_insert(fault);
        }
    }

    /// An open connection ended. Whether an outage began with it.
    pub(super) fn end(&mut self, at: u64, client: u32, connection: u32, ending: &Ending) -> bool {
        if let Some(outage) = self.current_mut(client) {
            outage.turn(at, Phase::Waiting);
            return false;
        }
        if ending.cause == Cause::Stay {
            return false;
        }
        let named = match ending.cause {
            Cause::Fault(fault) => Some(fault),
            _ => ending.fault,
        };
        let mut outage = Under {
            connection,
            code: ending.code,
            fault: named,
            fault_at: at,
            detect_at: at,
            backoff: 0,
            attempts: 0,
            gave_up: false,
            phase: Phase::Waiting,
            mark: at,
        };
        if let Some((fault, acted)) = self.injected(client, connection) {
            outage.lost().amend(acted, fault);
        }
        self.clients[client as usize].outage = self.place(outage);
        true
    }

    /// Keeps an outage under way: where.
    fn place(&mut self, outage: Under) -> u32 {
        if let Some(place) = self.free.pop() {
            self.open[place as usize] = outage;
            return place;
        }
        if self.open.capacity() == 0 {
            // There are never more; what is not used is not resident, and nothing is ever copied.
            self.open.reserve_exact(self.clients.len());
        }
        self.open.push(outage);
        (self.open.len() - 1) as u32
    }

    /// An attempt began.
    pub(super) fn attempt(&mut self, at: u64, client: u32) {
        if let Some(outage) = self.current_mut(client) {
            outage.turn(at, Phase::Attempting);
            outage.attempts += 1;
        }
    }

    /// An attempt ended without a connection.
    pub(super) fn fail(&mut self, at: u64, client: u32) {
        if let Some(outage) = self.current_mut(client) {
            outage.turn(at, Phase::Waiting);
        }
    }

    /// A connection opened.
    pub(super) fn opened(&mut self, at: u64, client: u32) {
        if let Some(outage) = self.current_mut(client) {
            outage.turn(at, Phase::Replying);
        }
    }

    /// The policy gave up.
    pub(super) fn give_up(&mut self, at: u64, client: u32) {
        if let Some(outage) = self.current_mut(client) {
            outage.turn(at, Phase::Waiting);
            outage.gave_up = true;
        }
    }

    /// The client is ready: its outage, if it had one, is over. Whether it had.
    pub(super) fn ready(&mut self, at: u64, client: u32) -> bool {
        let Some(outage) = self.current_mut(client) else { return false };
        let at = at.max(outage.mark);
        let booked = self.clients[client as usize].outage;
        let outage = &self.open[booked as usize];
        let state = &mut self.clients[client as usize];
        self.held.push_back(outage.outage(client, state.cohort, Some(at)));
        self.free.push(booked);
        (state.outage, state.ended) = (NONE, (self.first + self.held.len() as u64) as u32);
        true
    }

    /// The oldest ended outage that need not be held back longer.
    pub(super) fn settled(&mut self) -> Option<Outage> {
        if self.held.len() <= HELD {
            return None;
        }
        self.first += 1;
        self.held.pop_front()
    }

    /// The end of the run at `at`: all that ended, in the order of their ends, then those it cuts, by client.
    pub(super) fn finish(self, at: u64) -> impl Iterator<Item = Outage> {
        let mut open = self.open;
        let cut = (0..).zip(self.clients).filter(|(_, state)| state.outage != NONE).map(move |(client, state)| {
            let under = &mut open[state.outage as usize];
            under.turn(at, under.phase);
            under.outage(client, state.cohort, None)
        });
        self.held.into_iter().chain(cut)
    }

    fn current(&self, client: u32) -> Option<&Under> {
        self.open.get(self.clients[client as usize].outage as usize)
    }

    fn current_mut(&mut self, client: u32) -> Option<&mut Under> {
        self.open.get_mut(self.clients[client as usize].outage as usize)
    }

    /// The outage that began with this connection: under way, or the last one of this client and still held back.
    fn lost_with(&mut self, client: u32, connection: u32) -> Option<Lost<'_>> {
        let state = &self.clients[client as usize];
        let lost = if state.outage != NONE {
            self.open.get_mut(state.outage as usize)?.lost()
        } else if state.ended == 0 {
            return None;
        } else {
            let place = state.ended.wrapping_sub(self.first as u32).wrapping_sub(1);
            let Outage { connection, detect_at, fault_at, fault, .. } =
                self.held.get_mut(place as usize).filter(|held| held.client == client)?;
            Lost { connection: *connection, detect_at: *detect_at, fault_at, fault }
        };
        (lost.connection == connection).then_some(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::close::{Initiator, TcpEnd};

    fn outages(clients: usize) -> Outages {
        Outages::new(vec![Client::new(0); clients])
    }

    fn ending(cause: Cause) -> Ending {
        Ending {
            cause,
            fault: None,
            initiator: Initiator::Server,
            wire_received: None,
            wire_sent: None,
            tcp_end: TcpEnd::Fin,
            mid_frame: false,
            clean: false,
            code: 1006,
            reason: String::new(),
            bytes_after: 0,
        }
    }

    #[test]
    fn phases_add_up_and_later_losses_belong_to_the_outage() {
        let mut outages = outages(1);
        outages.inject(1_000, 0, 1, 3);
        outages.end(1_250, 0, 1, &ending(Cause::Remote));
        outages.attempt(2_000, 0);
        outages.fail(2_100, 0);
        outages.attempt(4_000, 0);
        outages.opened(4_500, 0);
        outages.inject(4_600, 0, 3, 5); // a second fault before it was ready
        outages.end(4_700, 0, 3, &ending(Cause::Remote));
        outages.attempt(6_000, 0);
        outages.opened(6_200, 0);
        assert!(outages.ready(6_230, 0));
        let outage = outages.finish(9_000).next().unwrap();
        assert_eq!((outage.fault, outage.detect(), outage.attempts), (Some(3), 250, 3));
        assert_eq!((outage.backoff, outage.attempt, outage.reply), (750 + 1_900 + 1_300, 100 + 500 + 200 + 200, Some(30)));
        assert_eq!(outage.time(), Some(outage.detect() + outage.backoff + outage.attempt + 30));
    }

    #[test]
    fn late_evidence_amends_an_outage_while_it_lasts_and_afterwards() {
        for after in [false, true] {
            let mut outages = outages(2);
            outages.end(10_000, 1, 1, &ending(Cause::Remote));
            if after {
                outages.attempt(11_000, 1);
                outages.opened(11_500, 1);
                outages.ready(11_500, 1);
            }
            outages.inject(9_400, 1, 1, 2);
            outages.inject(20_000, 1, 1, 4); // long after the end: not its cause
            let outage = outages.finish(30_000).next().unwrap();
            assert_eq!((outage.fault, outage.detect()), (Some(2), 600), "{after}");
            assert_eq!(outage.time(), after.then_some(2_100));
        }
    }

    #[test]
    fn an_own_stay_starts_none_and_a_give_up_stays_to_the_end() {
        let mut outages = outages(2);
        assert!(!outages.end(10, 0, 1, &ending(Cause::Stay)));
        assert!(outages.end(10, 1, 1, &ending(Cause::Deadline(crate::close::Deadline::Pong))));
        outages.give_up(40, 1);
        let all: Vec<_> = outages.finish(1_000).collect();
        assert_eq!(all.len(), 1);
        assert!(all[0].gave_up && all[0].time().is_none());
        assert_eq!((all[0].detect(), all[0].backoff), (0, 30));
    }

    #[test]
    fn a_client_is_tens_of_bytes() {
        assert_eq!((size_of::<Client>(), size_of::<Under>()), (32, 48));
    }

    #[test]
    fn the_slab_stays_consistent_when_outages_end_in_any_order() {
        let mut outages = outages(5);
        (0..5).for_each(|client| assert!(outages.end(u64::from(client), client, 1, &ending(Cause::Remote))));
        for client in [1, 4, 0, 3, 2] {
            outages.attempt(100, client);
            outages.opened(110, client);
            assert!(outages.ready(120 + u64::from(client), client));
            assert!(!outages.ready(130, client));
        }
        let all: Vec<_> = outages.finish(200).map(|outage| (outage.client, outage.time())).collect();
        assert_eq!(all, [(1, Some(120)), (4, Some(120)), (0, Some(120)), (3, Some(120)), (2, Some(120))]);
    }
}
