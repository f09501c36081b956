//! Outages: from the fault that took a client's open connection to the moment it is ready again, split into phases.
//!
//! ```text
//! t_fault ─ t_detect ─ wait ─ attempt ✗ ─ wait ─ attempt ─ t_open ─ t_ready
//! └─detect─┘└backoff┘└attempt┘└backoff┘└───attempt───────┘└first reply┘
//! ```
//! Each moment is cut to whole µs first, so the phases add up to the whole exactly. What the injector reports may come late,
//! because it crosses processes: an outage can be amended while it lasts, and afterwards as long as it is held back.

use super::population::Population;
use crate::close::{Cause, Ending};
use crate::event::ClientIndex;
use crate::plan::{LocalRow, Shard};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Ended outages held back for late evidence; the oldest are booked first. About 6 MB.
const HELD: usize = 65_536;
/// What other processes tell of a connection comes within this time, µs: a process that is silent for ten seconds is told by itself.
pub(super) const LATE_US: u64 = 60_000_000;
/// Two processes read one clock at different places in their code: an injector may seem so much later than its effect, µs.
pub(super) const SLACK_US: u64 = 1_000;
const NO_FAULT: u16 = u16::MAX;
/// Of a client: it is known when the fault of its outage acted.
const OBSERVED: u8 = 128;

/// A fault that acted on a connection, and when, µs.
///
/// The last one that did so before the connection ended is the one that its ending belongs to, whether or not it was reverted since, and so does
/// what follows from the ending: its row in `closes.csv`, the outage in `reconnects.csv`, what heartbeats found, unexpected codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acted {
    pub(super) at: u64,
    pub(super) fault: u16,
}

impl Acted {
    /// Whether it acted before an ending at `end`, as far as clocks tell.
    pub(super) fn counts_until(self, end: u64) -> bool {
        self.at <= end + SLACK_US
    }

    /// The fault that an ending at `end` belongs to, given what is known to have acted last; without any the one that an account names as cause.
    pub(super) fn fault_of(last: Option<Acted>, end: u64, cause: Cause) -> Option<u16> {
        let named = if let Cause::Fault(fault) = cause { Some(fault) } else { None };
        last.filter(|last| last.counts_until(end)).map(|last| last.fault).or(named)
    }
}

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
    /// It is known when the fault acted; otherwise `t_fault` stands at `t_detect`.
    pub observed: bool,
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
    /// The client left by plan before it ended.
    pub left: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OutagePhase {
    /// No outage.
    None,
    Waiting,
    Attempting,
    Replying,
}

impl Outage {
    /// `t_detect - t_fault`; 0 where it is not observed.
    pub fn detect(&self) -> u64 {
        self.detect_at - self.fault_at
    }

    /// Whether its moments follow one another, and its cohort is one of so many.
    pub(super) fn fits(&self, cohorts: usize) -> bool {
        usize::from(self.cohort) < cohorts && self.fault_at <= self.detect_at && self.ready_at.is_none_or(|ready| self.detect_at <= ready)
    }

    /// From `t_fault` to when the client gave up, of one that did.
    pub fn given_up(&self) -> Option<u64> {
        self.gave_up.then(|| self.detect() + self.backoff + self.attempt)
    }

    /// What of it is booked ends here: with the run, or as the client left by itself.
    pub(super) fn last(&self) -> u64 {
        self.detect_at + self.backoff + self.attempt
    }

    /// `t_ready - t_fault`, if it ended.
    pub fn time(&self) -> Option<u64> {
        self.ready_at.map(|ready| ready - self.fault_at)
    }
}

/// What late evidence may change of an outage, under way or held back.
struct Lost<'a> {
    detect_at: u64,
    fault_at: &'a mut u64,
    fault: &'a mut Option<u16>,
    observed: &'a mut bool,
}

impl Lost<'_> {
    /// A fault acted on the lost connection. `moment`: when is `t_fault`, too.
    fn amend(self, acted: Acted, moment: bool) {
        if !acted.counts_until(self.detect_at) || *self.observed && acted.at < *self.fault_at {
            return;
        }
        *self.fault = Some(acted.fault);
        if moment {
            (*self.fault_at, *self.observed) = (acted.at.min(self.detect_at), true);
        }
    }
}

/// Whole µs up to nine years, in six bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Micros([u16; 3]);

impl Micros {
    fn of(us: u64) -> Micros {
        let us = us.min((1 << 48) - 1);
        Micros([us as u16, (us >> 16) as u16, (us >> 32) as u16])
    }

    fn us(self) -> u64 {
        let [low, middle, high] = self.0.map(u64::from);
        low | middle << 16 | high << 32
    }
}

/// A client with its outage under way: one cache line, because there may be millions.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct ClientOutage {
    injected_connection: u32,
    /// Number of the last ended outage plus 1, modulo 2³²; 0 for none.
    ended: u32,
    /// Attempts begun: the number of the attempt under way, and of its connection.
    pub(super) attempts: u32,
    /// The connection that was lost.
    lost: u32,
    /// Attempts begun in the outage.
    tries: u32,
    injected_at: Micros,
    fault_at: Micros,
    detect_at: Micros,
    backoff: Micros,
    /// Until when time is booked: what of it is not backoff was attempts.
    mark: Micros,
    injected_fault: u16,
    /// The fault of the outage, or `NO_FAULT`.
    fault: u16,
    code: u16,
    pub(super) cohort: u16,
    /// What is so, as a sum of the constants of the recorder.
    is: u8,
    phase: OutagePhase,
    gave_up: bool,
    /// Second in which the attempt under way began, up to 194 days.
    begun: [u8; 3],
}

impl ClientOutage {
    /// One of this cohort that has not arrived.
    pub(super) fn new(cohort: u16) -> ClientOutage {
        let never = Micros::default();
        ClientOutage {
            injected_connection: 0,
            ended: 0,
            attempts: 0,
            lost: 0,
            tries: 0,
            injected_at: never,
            fault_at: never,
            detect_at: never,
            backoff: never,
            mark: never,
            injected_fault: 0,
            fault: NO_FAULT,
            code: 0,
            cohort,
            is: 0,
            phase: OutagePhase::None,
            gave_up: false,
            begun: [0; 3],
        }
    }

    pub(super) fn is(&self, what: u8) -> bool {
        self.is & what != 0
    }

    pub(super) fn set(&mut self, what: u8, so: bool) {
        self.is = if so { self.is | what } else { self.is & !what };
    }

    /// The attempt under way began at `at` µs.
    pub(super) fn begin(&mut self, at: u64) {
        let second = (at / 1_000_000).min((1 << 24) - 1);
        self.begun = [second as u8, (second >> 8) as u8, (second >> 16) as u8];
    }

    /// The second in which the attempt under way began, as its first µs.
    pub(super) fn begun(&self) -> u64 {
        let [low, middle, high] = self.begun.map(u64::from);
        (low | middle << 8 | high << 16) * 1_000_000
    }

    fn is_away(&self) -> bool {
        self.phase != OutagePhase::None
    }

    fn fault(&self) -> Option<u16> {
        (self.fault != NO_FAULT).then_some(self.fault)
    }

    /// What is known of an outage may change.
    fn amend(&mut self, change: impl FnOnce(Lost<'_>)) {
        let (mut fault_at, mut fault, mut observed) = (self.fault_at.us(), self.fault(), self.is(OBSERVED));
        change(Lost { detect_at: self.detect_at.us(), fault_at: &mut fault_at, fault: &mut fault, observed: &mut observed });
        (self.fault_at, self.fault) = (Micros::of(fault_at), fault.unwrap_or(NO_FAULT));
        self.set(OBSERVED, observed);
    }

    /// Records the time since the last change into the phase that ends now.
    fn turn(&mut self, at: u64, next: OutagePhase) {
        let mark = self.mark.us();
        if self.phase == OutagePhase::Waiting {
            if self.gave_up && next == OutagePhase::Waiting {
                // Who gave up does not wait for anything.
                return;
            }
            self.backoff = Micros::of(self.backoff.us() + at.saturating_sub(mark));
        }
        self.mark = Micros::of(mark.max(at));
        self.phase = next;
    }

    /// The outage as it is booked; it ended at `ready`, if it did.
    fn outage(&self, client: ClientIndex, ready: Option<u64>) -> Outage {
        let (detect_at, backoff, mark) = (self.detect_at.us(), self.backoff.us(), self.mark.us());
        Outage {
            client: client.0,
            cohort: self.cohort,
            connection: self.lost,
            code: self.code,
            fault: self.fault(),
            fault_at: self.fault_at.us(),
            detect_at,
            observed: self.is(OBSERVED),
            backoff,
            attempt: mark - detect_at - backoff,
            reply: ready.map(|ready| ready - mark),
            attempts: self.tries,
            ready_at: ready,
            gave_up: self.gave_up,
            left: false,
        }
    }
}

impl Default for Population<ClientOutage> {
    /// Of nobody.
    fn default() -> Population<ClientOutage> {
        Population::new(Shard::WHOLE, std::iter::empty(), ClientOutage::new)
    }
}

/// The clients and their outages: 64 bytes a client that has arrived, and one [`Outage`] for each held back.
#[derive(Debug, Default)]
pub(super) struct Outages {
    pub(super) clients: Population<ClientOutage>,
    /// Outages under way.
    pub(super) under_way: usize,
    held: VecDeque<Outage>,
    /// How many ended outages are held back: none where no evidence comes late.
    pub(super) hold: usize,
    /// Number of the first in `held`.
    first: u64,
    /// How many of those that ended did so because their client left by itself.
    pub(super) left: u64,
}

impl Outages {
    /// For these clients.
    pub(super) fn new(clients: Population<ClientOutage>) -> Outages {
        Outages { clients, hold: HELD, ..Outages::default() }
    }

    /// Times in µs of outages that ended and are held back.
    pub(super) fn held_times(&self) -> impl Iterator<Item = u64> {
        self.held.iter().filter(|outage| !outage.left).filter_map(Outage::time)
    }

    /// The fault of the client's outage under way: `None` without outage, `Some(None)` for one without fault.
    pub(super) fn fault_of(&self, row: LocalRow) -> Option<Option<u16>> {
        let state = &self.clients[row];
        state.is_away().then(|| state.fault())
    }

    /// The fault of the client's last outage, whether it is over or not.
    pub(super) fn last_fault(&self, row: LocalRow) -> Option<u16> {
        let state = &self.clients[row];
        (state.lost != 0).then(|| state.fault()).flatten()
    }

    /// The fault that last acted on a connection of this client, with the offset, as far as is known.
    pub(super) fn injected(&self, row: LocalRow, connection: u32) -> Option<Acted> {
        let state = &self.clients[row];
        (state.injected_connection == connection).then(|| Acted { at: state.injected_at.us(), fault: state.injected_fault })
    }

    /// A fault acted on a connection; `by_close`: what the connection suffers of it comes later, with a Close frame of its own.
    pub(super) fn inject(&mut self, row: LocalRow, connection: u32, acted: Acted, by_close: bool) {
        let state = &mut self.clients[row];
        if (connection, acted.at) >= (state.injected_connection, state.injected_at.us()) {
            (state.injected_connection, state.injected_at, state.injected_fault) = (connection, Micros::of(acted.at), acted.fault);
        }
        self.with_lost(row, connection, |lost| lost.amend(acted, !by_close));
    }

    /// Evidence names the fault that ended a connection, without saying when it acted.
    pub(super) fn attribute(&mut self, row: LocalRow, connection: u32, fault: u16) {
        self.with_lost(row, connection, |lost| {
            lost.fault.get_or_insert(fault);
        });
    }

    /// An open connection ended. `closed`: when its first Close frame came, where that and not the injector is the fault, or that there was
    /// none. Whether an outage began with it.
    pub(super) fn end(&mut self, at: u64, row: LocalRow, connection: u32, ending: &Ending, closed: Option<Option<u64>>) -> bool {
        let state = &mut self.clients[row];
        if state.is_away() {
            state.turn(at, OutagePhase::Waiting);
            return false;
        }
        if ending.cause == Cause::Stay {
            return false;
        }
        let now = Micros::of(at);
        let acted = (state.injected_connection == connection).then(|| Acted { at: state.injected_at.us(), fault: state.injected_fault });
        let fault = Acted::fault_of(acted, at, ending.cause);
        (state.lost, state.code, state.fault) = (connection, ending.code, fault.unwrap_or(NO_FAULT));
        (state.fault_at, state.detect_at, state.mark, state.backoff) = (now, now, now, Micros::default());
        (state.tries, state.gave_up, state.phase) = (0, false, OutagePhase::Waiting);
        state.set(OBSERVED, false);
        if let Some(acted) = acted {
            let moment = closed != Some(None);
            let at = closed.flatten().unwrap_or(acted.at);
            state.amend(|lost| lost.amend(Acted { at, ..acted }, moment));
        }
        self.under_way += 1;
        true
    }

    /// An attempt began.
    pub(super) fn attempt(&mut self, at: u64, row: LocalRow) {
        if let Some(state) = self.away(row) {
            state.turn(at, OutagePhase::Attempting);
            state.tries += 1;
        }
    }

    /// An attempt ended without a connection.
    pub(super) fn fail(&mut self, at: u64, row: LocalRow) {
        if let Some(state) = self.away(row) {
            state.turn(at, OutagePhase::Waiting);
        }
    }

    /// A connection opened.
    pub(super) fn opened(&mut self, at: u64, row: LocalRow) {
        if let Some(state) = self.away(row) {
            state.turn(at, OutagePhase::Replying);
        }
    }

    /// The policy gave up.
    pub(super) fn give_up(&mut self, at: u64, row: LocalRow) {
        if let Some(state) = self.away(row) {
            state.turn(at, OutagePhase::Waiting);
            state.gave_up = true;
        }
    }

    /// The client is ready: its outage, if it had one, is over. Whether it had.
    pub(super) fn ready(&mut self, at: u64, row: LocalRow) -> bool {
        let number = (self.ended() + 1) as u32;
        let client = self.clients.shard().client(row);
        let Some(state) = self.away(row) else { return false };
        let outage = state.outage(client, Some(at.max(state.mark.us())));
        (state.phase, state.ended) = (OutagePhase::None, number);
        self.held.push_back(outage);
        self.under_way -= 1;
        true
    }

    /// The client left by itself: of its outage, if it had one, nobody will see the end. Who gave up has left already.
    pub(super) fn leave(&mut self, at: u64, row: LocalRow) {
        let number = (self.ended() + 1) as u32;
        let client = self.clients.shard().client(row);
        let Some(state) = self.away(row).filter(|state| !state.gave_up) else { return };
        state.turn(at, OutagePhase::None);
        state.ended = number;
        let outage = Outage { left: true, ..state.outage(client, None) };
        self.held.push_back(outage);
        self.under_way -= 1;
        self.left += 1;
    }

    /// How many have ended.
    pub(super) fn ended(&self) -> u64 {
        self.first + self.held.len() as u64
    }

    /// The oldest ended outage that need not be held back longer than to `at`.
    pub(super) fn settled(&mut self, at: u64) -> Option<Outage> {
        let oldest = self.held.front()?;
        let ended = oldest.ready_at.unwrap_or(oldest.last());
        if self.held.len() <= self.hold && at < ended + LATE_US {
            return None;
        }
        self.first += 1;
        self.held.pop_front()
    }

    /// The end of the run at `at`: all that ended, in the order of their ends, then those it cuts, by client.
    pub(super) fn finish(self, at: u64) -> impl Iterator<Item = Outage> {
        let cut = self.clients.into_each().filter(|(_, state)| state.is_away()).map(move |(client, mut state)| {
            state.turn(at, state.phase);
            state.outage(client, None)
        });
        self.held.into_iter().chain(cut)
    }

    /// The client, if it has an outage.
    fn away(&mut self, row: LocalRow) -> Option<&mut ClientOutage> {
        Some(&mut self.clients[row]).filter(|state| state.is_away())
    }

    /// Changes the outage that began with this connection: under way, or the last one of this client and still held back.
    fn with_lost(&mut self, row: LocalRow, connection: u32, change: impl FnOnce(Lost<'_>)) {
        let client = self.clients.shard().client(row).0;
        let state = &mut self.clients[row];
        if state.is_away() {
            if state.lost == connection {
                state.amend(change);
            }
        } else if state.ended != 0 {
            let place = state.ended.wrapping_sub(self.first as u32).wrapping_sub(1);
            let held = self.held.get_mut(place as usize).filter(|held| held.client == client && held.connection == connection);
            if let Some(Outage { detect_at, fault_at, fault, observed, .. }) = held {
                change(Lost { detect_at: *detect_at, fault_at, fault, observed });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::close::{Initiator, TcpEnd};

    fn outages(clients: usize) -> Outages {
        let mut population = Population::new(Shard::WHOLE, [clients as u64].into_iter(), ClientOutage::new);
        (0..clients as u32).for_each(|client| assert!(population.admits(ClientIndex(client))));
        Outages::new(population)
    }

    fn ending(cause: Cause) -> Ending {
        Ending {
            cause,
            initiator: Initiator::Server,
            wire_received: None,
            wire_sent: None,
            tcp_end: TcpEnd::Fin,
            tls_end: None,
            mid_frame: false,
            clean: false,
            code: 1006,
            reason: String::new(),
            bytes_after: 0,
        }
    }

    #[test]
    fn who_leaves_takes_the_outage_along() {
        let mut outages = outages(2);
        for row in 0..2 {
            outages.end(1_000, LocalRow(row), 1, &ending(Cause::Remote), None);
            outages.attempt(2_000, LocalRow(row));
            outages.fail(2_500, LocalRow(row));
        }
        outages.give_up(2_500, LocalRow(1));
        outages.leave(4_000, LocalRow(0));
        outages.leave(4_000, LocalRow(1));
        assert_eq!((outages.under_way, outages.ended(), outages.left), (1, 1, 1), "who gave up is still missed");
        outages.end(9_000, LocalRow(0), 3, &ending(Cause::Remote), None);
        let all: Vec<_> = outages.finish(10_000).collect();
        assert_eq!((all[0].last(), all[0].backoff, all[0].attempt, all[0].time()), (4_000, 2_500, 500, None));
        assert_eq!((all[1].client, all[1].last(), all[2].gave_up), (0, 10_000, true));
    }

    #[test]
    fn phases_add_up_and_later_losses_belong_to_the_outage() {
        let mut outages = outages(1);
        outages.inject(LocalRow(0), 1, Acted { at: 1_000, fault: 3 }, false);
        outages.end(1_250, LocalRow(0), 1, &ending(Cause::Remote), None);
        outages.attempt(2_000, LocalRow(0));
        outages.fail(2_100, LocalRow(0));
        outages.attempt(4_000, LocalRow(0));
        outages.opened(4_500, LocalRow(0));
        outages.inject(LocalRow(0), 3, Acted { at: 4_600, fault: 5 }, false); // a second fault before it was ready
        outages.end(4_700, LocalRow(0), 3, &ending(Cause::Remote), None);
        outages.attempt(6_000, LocalRow(0));
        outages.opened(6_200, LocalRow(0));
        assert!(outages.ready(6_230, LocalRow(0)));
        let outage = outages.finish(9_000).next().unwrap();
        assert_eq!((outage.fault, outage.detect(), outage.attempts), (Some(3), 250, 3));
        assert_eq!((outage.backoff, outage.attempt, outage.reply), (750 + 1_900 + 1_300, 100 + 500 + 200 + 200, Some(30)));
        assert_eq!(outage.time(), Some(outage.detect() + outage.backoff + outage.attempt + 30));
    }

    #[test]
    fn late_evidence_amends_an_outage_while_it_lasts_and_afterwards() {
        for after in [false, true] {
            let mut outages = outages(2);
            outages.end(10_000, LocalRow(1), 1, &ending(Cause::Remote), None);
            if after {
                outages.attempt(11_000, LocalRow(1));
                outages.opened(11_500, LocalRow(1));
                outages.ready(11_500, LocalRow(1));
            }
            outages.inject(LocalRow(1), 1, Acted { at: 9_400, fault: 2 }, false);
            outages.inject(LocalRow(1), 1, Acted { at: 20_000, fault: 4 }, false); // long after the end: not its cause
            let outage = outages.finish(30_000).next().unwrap();
            assert_eq!((outage.fault, outage.detect()), (Some(2), 600), "{after}");
            assert_eq!(outage.time(), after.then_some(2_100));
        }
    }

    #[test]
    fn an_outage_is_held_back_for_a_minute_and_no_longer() {
        let mut outages = outages(2);
        for (row, at) in [(0, 1_000), (1, 2_000)] {
            outages.end(at, LocalRow(row), 1, &ending(Cause::Remote), None);
            outages.attempt(at, LocalRow(row));
            outages.opened(at, LocalRow(row));
            outages.ready(at, LocalRow(row));
        }
        assert_eq!(outages.settled(1_000 + LATE_US - 1), None);
        outages.inject(LocalRow(0), 1, Acted { at: 900, fault: 2 }, false);
        let first = outages.settled(1_000 + LATE_US).expect("a minute is over");
        assert_eq!((first.client, first.fault, outages.settled(1_000 + LATE_US)), (0, Some(2), None));
        // The other one can still be amended, in its new place.
        outages.inject(LocalRow(1), 1, Acted { at: 1_900, fault: 3 }, false);
        assert_eq!((outages.ended(), outages.settled(9 * LATE_US).unwrap().fault), (2, Some(3)));
    }

    #[test]
    fn an_own_stay_starts_none_and_a_give_up_stays_to_the_end() {
        let mut outages = outages(2);
        assert!(!outages.end(10, LocalRow(0), 1, &ending(Cause::Stay), None));
        assert!(outages.end(10, LocalRow(1), 1, &ending(Cause::Deadline(crate::close::Deadline::Pong)), None));
        outages.give_up(40, LocalRow(1));
        let all: Vec<_> = outages.finish(1_000).collect();
        assert_eq!(all.len(), 1);
        assert!(all[0].gave_up && all[0].time().is_none());
        assert_eq!((all[0].detect(), all[0].backoff), (0, 30));
    }

    #[test]
    fn a_client_is_one_cache_line() {
        assert_eq!(size_of::<ClientOutage>(), 64);
        // What scripts/soak counts for a row of a worker.
        assert_eq!(size_of::<Outage>(), 88);
    }

    #[test]
    fn six_bytes_hold_nine_years() {
        for us in [0, 1, 65_535, 65_536, 4_294_967_296, (1 << 48) - 1] {
            assert_eq!(Micros::of(us).us(), us);
        }
        assert_eq!(Micros::of(u64::MAX).us(), (1 << 48) - 1);
    }

    #[test]
    fn outages_may_end_in_any_order() {
        let mut outages = outages(5);
        (0..5).for_each(|client| assert!(outages.end(u64::from(client), LocalRow(client), 1, &ending(Cause::Remote), None)));
        for client in [1, 4, 0, 3, 2] {
            outages.attempt(100, LocalRow(client));
            outages.opened(110, LocalRow(client));
            assert!(outages.ready(120 + u64::from(client), LocalRow(client)));
            assert!(!outages.ready(130, LocalRow(client)));
        }
        let all: Vec<_> = outages.finish(200).map(|outage| (outage.client, outage.time())).collect();
        assert_eq!(all, [(1, Some(120)), (4, Some(120)), (0, Some(120)), (3, Some(120)), (2, Some(120))]);
    }
}
