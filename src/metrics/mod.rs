//! Metrics: a fold over events. [`Recorder`] is an [`Observer`] that takes each event once; [`Recorder::finish`] ends the measurement into
//! [`Results`].
//!
//! No clock, no socket, no task: the caller says when things happened. Message events allocate nothing. `results` writes the
//! results, `verdict` judges them.

pub mod answers;
pub mod attempts;
pub mod book;
pub mod bursts;
pub mod carried;
pub mod distributions;
pub mod ending;
mod fold;
pub(crate) mod greatest;
mod hdr;
pub mod intervals;
pub mod latency;
pub mod lateness;
pub mod ledger;
pub mod liveness;
mod losses;
pub mod meta;
pub mod metric;
pub mod milestones;
pub mod outage;
pub mod peak;
mod pending;
mod population;
pub mod sample;
pub mod shard;
mod snapshot;
pub mod survival;
pub mod timeline;
pub mod told_apart;
pub mod watch;

pub use book::{Results, Status};
pub use ledger::LedgerError;
pub use snapshot::{CohortSoFar, FaultSoFar, Rates, RoundedTimes, Snapshot};

use crate::close::{Cause, Deadline};
use crate::event::{CLIENTS_MAX, ClientIndex, Event, Outcome};
use crate::fault::Side;
use crate::observer::Observer;
use crate::plan::{LocalRow, Plan, Shard, Target};
use crate::seed::Seed;
use answers::Answers;
use attempts::AttemptStep;
use book::{CohortCounts, FaultBook, ProcessUsage};
use distributions::{DistributionKey, Distributions};
use ending::{Endings, Finished};
use latency::micros;
use lateness::Parts;
use losses::Losses;
use meta::{RealClients, RunMeta, SeenFrom};
use metric::TimeMetric;
use milestones::SampledEvent;
use outage::{Acted, ClientOutage, Outage, Outages};
use peak::{Attempt, Peaks};
use pending::Pending;
use population::Population;
use sample::Sample;
use std::collections::BTreeMap;
use std::time::Duration;
use timeline::{Timeline, interval};

/// Rows of `events.csv` and of `reconnects.csv`; more are sampled.
pub const ROWS: usize = 100_000;
/// Rows of `events.csv` where all are asked for; more are sampled, so that memory has a bound: about 3 GB.
pub const ALL_ROWS: usize = 20_000_000;
/// A notice at the end.
const UNNOTICED: &str = "connections had ended on the server, and their clients had not noticed it by the end of the run";
/// The same, of the work that a server does for nobody.
const TOO_LATE: &str = "opening handshakes were completed by the server after their clients had given up";
/// Distinct notices; further ones count together.
const NOTICES: usize = 200;

/// An attempt is under way.
const UNDER_WAY: u8 = 1;
/// A connection is open.
const OPEN: u8 = 2;
/// One was.
const EVER_OPENED: u8 = 4;
/// It gave up.
const LOST: u8 = 8;
/// It was ready once.
const EVER_READY: u8 = 16;
/// It is now.
const READY: u8 = 32;
/// A message with a number came.
const NUMBERED: u8 = 64;

/// The fold: takes events, keeps what the results need.
#[derive(Debug)]
pub struct Recorder {
    meta: RunMeta,
    simulated: bool,
    books: Vec<CohortCounts>,
    open: Vec<u64>,
    all_open: u64,
    peak_open: u64,
    faults: Vec<FaultBook>,
    bank: Distributions,
    /// Outages are booked later than they end, so they have a bank, and an interval, of their own.
    outage_bank: Distributions,
    timeline: Timeline,
    peaks: Peaks,
    answers: Answers,
    outages: Outages,
    pending: Pending,
    /// Connections that are open and not ready, and since when.
    opening: BTreeMap<LocalRow, u64>,
    /// What clients missed in their outages.
    losses: Losses,
    /// Firings that were not reverted, and when they were.
    standing: BTreeMap<(u16, u32), u64>,
    endings: Endings,
    outage_rows: Sample<Outage>,
    milestones: Sample<SampledEvent>,
    events: Sample<SampledEvent>,
    /// Messages and pongs are kept one by one, too.
    keeps_messages: bool,
    number: u64,
    notices: BTreeMap<String, u64>,
    /// Why the results are not those of the plan, with counts.
    unreliable: BTreeMap<String, u64>,
    /// Clients that are ready now.
    ready: u64,
}

impl Observer for Recorder {
    /// Events of clients or faults that the plan does not have are counted as a notice.
    // Where the kind of event is known, as at every place of the simulator, all that asks for it is done at compile time.
    #[inline(always)]
    fn on(&mut self, at: Duration, event: &Event) {
        let at = micros(at);
        if !self.is_known(event) {
            return self.of_unknown(event);
        }
        let own = self.outages.clients.shard();
        match event {
            // Messages are most of a run: they cost nothing more where they are not kept.
            Event::Sent { .. }
            | Event::NotStarted { .. }
            | Event::Echoed { .. }
            | Event::Received { .. }
            | Event::Greeted { .. }
            | Event::Said { .. }
            | Event::Heard { .. }
            | Event::Pong { .. } => {
                self.message(at, own, event);
                if !self.keeps_messages {
                    return;
                }
            }
            Event::Requested { client, took, status, late } => self.requested(at, own.row(*client), *took, (*status, *late)),
            // As the message itself, it is kept only where messages are.
            Event::Sequenced { client, found, replayed } => {
                self.sequenced(at, own.row(*client), *found, *replayed);
                if !self.keeps_messages {
                    return;
                }
            }
            Event::Broadcast { client, took, negative } => {
                self.broadcast(at, own.row(*client), *took, *negative);
                if !self.keeps_messages {
                    return;
                }
            }
            Event::ErrorHeard { client, error } => self.error(at, own.row(*client), *error),
            Event::Left { client } => self.outages.leave(at, own.row(*client)),
            Event::Arrived { .. } | Event::Waiting { .. } | Event::Target { .. } => {}
            Event::AttemptStarted { client, due } => self.attempt_started(at, own.row(*client), micros(*due)),
            Event::AttemptFailed { client, stage, outcome, times, fault } => {
                self.attempt_failed(at, own.row(*client), outcome, *fault);
                if matches!(outcome, Outcome::TimedOut | Outcome::Abandoned) {
                    self.cut_attempt(at, own.row(*client), *stage, times);
                }
            }
            Event::Cut { client, what } => self.cut(at, own.row(*client), what),
            Event::Opened { client, tcp, tls, resumed, upgrade, .. } => {
                self.opened(at, own.row(*client), *tcp, tls.map(|tls| (tls, *resumed)), *upgrade);
            }
            Event::Ready { client, .. } => self.ready(at, own.row(*client)),
            Event::Injected { fault, client, connection } => self.injected(at, *fault, own.row(*client), *connection),
            Event::Ended { client, connection, ending, closing } => self.ended(at, own.row(*client), *connection, ending, *closing),
            Event::ServerEnded { client, connection, ending } if self.meta.seen_from() == SeenFrom::Server => {
                self.seen_by_server(at, own.row(*client), *connection, Some(ending));
            }
            Event::ServerEnded { client, connection, ending } => self.server_ended(at, own.row(*client), *connection, ending),
            Event::Orphaned { client, connection } => self.seen_by_server(at, own.row(*client), *connection, None),
            Event::GaveUp { client, .. } => self.gave_up(at, own.row(*client)),
            Event::Fired { fault, firing, selected, .. } => {
                self.standing.insert((*fault, *firing), at);
                let book = &mut self.faults[usize::from(*fault)];
                book.first = Some(book.first.map_or(at, |first| first.min(at)));
                book.fired += 1;
                book.firings.insert(*firing);
                book.selected += u64::from(*selected);
            }
            Event::Reached { fault } => self.faults[usize::from(*fault)].injected += 1,
            Event::Reverted { fault, firing } => {
                self.standing.remove(&(*fault, *firing));
                let book = &mut self.faults[usize::from(*fault)];
                book.reverted = book.reverted.max(Some(at));
                book.reverts += 1;
            }
            Event::Spent { .. } => {}
            Event::NotCarriedOut { fault, why, .. } => {
                let what =
                    fault.map_or_else(|| why.clone(), |fault| format!("fault {} was not carried out: {why}", self.meta.fault(fault)));
                self.unreliable(&what);
            }
            Event::LocalLimit { what } => self.unreliable(&format!("the load generator reached a limit of this machine: {what}")),
            Event::LoadLimit { what } => self.unreliable(what),
            Event::Notice { text } => self.notice(text),
        }
        self.keep(at, event);
    }
}

impl Recorder {
    /// An empty one for the clients of a shard of a plan. It keeps what its results need to be added to the others exactly.
    pub fn new(plan: &Plan, shard: Shard) -> Recorder {
        let server_tells = matches!(plan.target, Target::Embedded(_));
        let joins = server_tells || plan.faults.iter().any(|fault| fault.side != Side::Client);
        let recorder = Recorder::of(RunMeta::of(plan), shard, joins, plan.all_events);
        Recorder { endings: recorder.endings.of_server(server_tells), ..recorder }
    }

    /// An empty one for real clients, up to `limit` of them, in place of those of the plan. What only a client sees, as how long its
    /// handshakes take, is not recorded.
    pub fn of_real(plan: &Plan, real: RealClients, limit: u32) -> Recorder {
        let mut meta = RunMeta { real: Some(real), ..RunMeta::of(plan) };
        // Whoever comes, comes unplanned.
        meta.cohorts.iter_mut().for_each(|cohort| cohort.planned = 0);
        Recorder::of(meta, Shard::WHOLE, real.seen_from != SeenFrom::Server, plan.all_events).open_to(limit)
    }

    /// An empty one. `joins`: a server or its injector will report about connections. `all_events`: every event is kept.
    fn of(meta: RunMeta, shard: Shard, joins: bool, all_events: bool) -> Recorder {
        let (cohorts, faults) = (meta.cohorts.len(), meta.faults.len());
        let population = Population::new(shard, meta.cohorts.iter().map(|cohort| cohort.planned), ClientOutage::new);
        let pending = meta.cohorts.iter().scan(0, |first, cohort| {
            let row = shard.count(*first);
            *first += cohort.planned as u32;
            Some((row, cohort.echoes))
        });
        let mut timeline = Timeline::new(cohorts, meta.duration, meta.intervals.clone());
        if !shard.is_whole() {
            timeline.keep_round_trips();
        }
        // Histograms of less than a second say little and cost a line each.
        let log_interval = interval(meta.duration).max(Duration::from_secs(1));
        let seed = Seed(meta.seed);
        let peaks = Peaks::new(cohorts, &meta.peaks, meta.duration);
        // Endings are counted when both sides have told of them.
        let closes = peaks.asks(crate::expect::Metric::Closes).then(|| peaks.clone());
        Recorder {
            simulated: false,
            outages: Outages::new(population),
            pending: Pending::new(pending),
            opening: BTreeMap::new(),
            losses: Losses::default(),
            standing: BTreeMap::new(),
            books: vec![CohortCounts::default(); cohorts],
            open: vec![0; cohorts],
            all_open: 0,
            peak_open: 0,
            faults: vec![FaultBook::default(); faults],
            bank: Distributions::new(cohorts, faults, log_interval, &meta.watches),
            outage_bank: Distributions::new(cohorts, faults, log_interval, &meta.watches),
            timeline,
            peaks,
            answers: Answers::default(),
            endings: Endings::new(joins).counting(closes).telling_apart(meta.own_codes()),
            outage_rows: Sample::new(ROWS, seed.stream("metrics/outages")),
            milestones: Sample::new(ROWS, seed.stream("metrics/milestones")),
            events: Sample::new(if all_events { ALL_ROWS } else { ROWS }, seed.stream("metrics/events")),
            keeps_messages: all_events,
            number: 0,
            notices: BTreeMap::new(),
            unreliable: BTreeMap::new(),
            ready: 0,
            meta,
        }
    }

    /// An empty one for a plan in the simulator, where a server's account comes just before its client's, or never, unless
    /// [`Recorder::await_server`] says otherwise.
    pub fn simulated(plan: &Plan) -> Recorder {
        let mut recorder = Recorder { simulated: true, ..Recorder::of(RunMeta::simulated(plan), Shard::WHOLE, false, plan.all_events) };
        recorder.outages.hold = 0;
        recorder
    }

    /// Whether the server's account of what ends from now on may come after the client's.
    pub fn await_server(&mut self, may_come: bool) {
        self.endings.await_server(may_come);
    }

    /// Has what there is of a client fetched from memory, so that it is at hand when its event comes.
    #[inline]
    pub fn fetch(&self, client: u32) {
        self.outages.clients.fetch(ClientIndex(client));
    }

    /// Admits clients that the plan does not have, too: with the numbers that follow, up to `limit` clients in all processes together.
    pub fn open_to(mut self, limit: u32) -> Recorder {
        self.outages.clients.open_to(limit.min(CLIENTS_MAX));
        self
    }

    /// Rows of clients so far: of those that have arrived, and of those between them.
    pub fn rows(&self) -> usize {
        self.outages.clients.len()
    }

    /// What no event may tell.
    pub(crate) fn secrets(&self) -> &crate::secret::Secrets {
        &self.meta.secrets
    }

    /// How the run stands. Costs a look at each cohort, at each distinct reason of a close so far, and at outages that are held back.
    pub fn snapshot(&self) -> Snapshot {
        let mut reconnect = RoundedTimes::default();
        let booked = self.outage_bank.sum(TimeMetric::ReconnectTime, |_| true);
        booked.steps().for_each(|(us, count)| reconnect.add(us, count));
        self.outages.held_times().for_each(|us| reconnect.add(us, 1));
        let mut all = CohortCounts::default();
        self.books.iter().for_each(|book| all.add(book));
        let cohort = |(open, book): (&u64, &CohortCounts)| CohortSoFar { open: *open, attempts: book.ledger.attempts.total };
        Snapshot {
            open: self.all_open,
            cohorts: self.open.iter().zip(&self.books).map(cohort).collect(),
            ready: self.ready,
            disconnected: self.outages.under_way as u64,
            recovered: self.outages.ended() - self.outages.left,
            lost: all.lost,
            ledger: all.ledger,
            sent: all.sent,
            received: all.received,
            closes: self.endings.codes(),
            reconnect,
            faults: self.faults.iter().map(|book| FaultSoFar { fired: book.fired, injected: book.injected }).collect(),
        }
    }

    /// Whether the plan has the fault, and this process the client: one that arrives has a row from now on.
    #[inline(always)]
    fn is_known(&mut self, event: &Event) -> bool {
        let (client, fault) = subject(event);
        fault.is_none_or(|fault| usize::from(fault) < self.faults.len()) && client.is_none_or(|client| self.outages.clients.admits(client))
    }

    #[cold]
    fn of_unknown(&mut self, event: &Event) {
        let (limit, planned) = (self.outages.clients.limit(), self.meta.cohorts.iter().map(|cohort| cohort.planned).sum::<u64>());
        match subject(event).0 {
            Some(client) if client.0 >= limit && u64::from(limit) > planned => {
                self.unreliable(&format!("more than {limit} clients came: the others are missing from all results"));
            }
            _ => self.notice("an event of a client or fault that is not in the plan"),
        }
    }

    #[inline(always)]
    fn message(&mut self, at: u64, own: Shard, event: &Event) {
        match event {
            Event::Sent { client, due, bytes } => self.sent(at, own.row(*client), micros(*due), *bytes),
            Event::NotStarted { client, due } => self.not_started(own.row(*client), micros(*due)),
            Event::Echoed { client, bytes, due, sent, error } => {
                self.echoed(at, (own.row(*client), *bytes), (micros(*due), micros(*sent)), *error);
            }
            Event::Received { client, bytes } => self.received(at, own.row(*client), *bytes),
            Event::Greeted { client, .. } => {
                let cohort = self.cohort(own.row(*client));
                self.books[usize::from(cohort)].greetings += 1;
            }
            Event::Said { client, bytes } => self.said(at, own.row(*client), *bytes),
            Event::Heard { client, bytes } => self.heard(at, own.row(*client), *bytes),
            _ => {}
        }
    }

    #[inline(always)]
    fn keep(&mut self, at: u64, event: &Event) {
        self.number += 1;
        let number = self.number;
        let of_run = matches!(
            event,
            Event::Fired { .. }
                | Event::Spent { .. }
                | Event::NotCarriedOut { .. }
                | Event::Reached { .. }
                | Event::Reverted { .. }
                | Event::Target { .. }
                | Event::Notice { .. }
        );
        let sample = if of_run { &mut self.milestones } else { &mut self.events };
        sample.offer(|| (at, number, event.clone()));
    }

    /// One notice for each cohort, with how many messages it is about: there may be millions.
    fn tell_of_clocks(&mut self) {
        for (cohort, meta) in (0_u16..).zip(&self.meta.cohorts) {
            let count = self.bank.sum(TimeMetric::BroadcastLatencyNegative, |key| key.cohort == cohort).count();
            if count > 0 {
                let text = format!(
                    "cohort {}: messages came before the time that `timestamp` says: server and clients do not have one clock. These count in \
                     broadcast_latency_negative, not in broadcast_latency",
                    meta.name
                );
                *self.notices.entry(text).or_default() += count;
            }
        }
    }

    fn notice(&mut self, text: &str) {
        tally(&mut self.notices, text, "more notices (not listed)");
    }

    /// Something that makes the verdict inconclusive.
    fn unreliable(&mut self, text: &str) {
        self.notice(text);
        tally(&mut self.unreliable, text, "more reasons (not listed)");
    }

    fn cohort(&self, row: LocalRow) -> u16 {
        self.outages.clients[row].cohort
    }

    /// Records an outage that nothing can change any more. `end` is the end of the run, if that is over.
    fn book_outage(&mut self, outage: Outage, end: Option<u64>) {
        // Who gave up stays away to the end; else it lasted until its client was back, or left, or the run was over.
        let last = if outage.gave_up { end.unwrap_or(outage.detect_at) } else { outage.last() };
        let at = outage.ready_at.unwrap_or(last);
        let start = outage.fault_at;
        let of = |metric| key(metric, outage.cohort, outage.fault);
        let book = &mut self.books[usize::from(outage.cohort)];
        if outage.observed {
            self.outage_bank.record_from(at, start, of(TimeMetric::Detect), outage.detect());
        }
        if let Some(time) = outage.time() {
            book.recovered += 1;
            book.recovery_attempts += u64::from(outage.attempts);
            self.outage_bank.record_from(at, start, of(TimeMetric::ReconnectTime), time);
            self.outage_bank.record_from(at, start, of(TimeMetric::Backoff), outage.backoff);
            self.outage_bank.record_from(at, start, of(TimeMetric::Attempt), outage.attempt + outage.reply.unwrap_or(0));
            if let Some(fault) = outage.fault.and_then(|fault| self.faults.get_mut(usize::from(fault))) {
                fault.recovered += 1;
            }
        } else {
            book.censored += 1;
            if outage.left {
                book.left += 1;
                self.timeline.leave(start, outage.cohort, outage.fault);
            }
            let (metric, time) = match outage.given_up() {
                Some(time) => (TimeMetric::ReconnectTimeNever, time),
                None => (TimeMetric::ReconnectTimeCensored, at.saturating_sub(outage.fault_at)),
            };
            self.outage_bank.record_from(at, start, of(metric), time);
        }
        self.outage_rows.offer(|| outage);
    }

    /// Ends the measurement at offset `at`: attempts under way are abandoned, outages under way are censored.
    pub fn finish(mut self, at: Duration, status: Status) -> Results {
        let end = micros(at);
        (0..self.outages.clients.len() as u32).for_each(|row| self.unanswered(end, LocalRow(row)));
        self.unnoticed(end);
        let opening: Vec<_> = self.opening.keys().copied().collect();
        opening.into_iter().for_each(|row| self.readied(end, row, true));
        self.losses.finish().for_each(|(row, loss)| match loss {
            Some(loss) => self.settle_missed(row, loss),
            None => self.miss_unknown((self.cohort(row), self.outages.last_fault(row))),
        });
        for (row, client) in self.outages.clients.each() {
            let book = &mut self.books[usize::from(client.cohort)];
            book.ledger.open_at_end += u64::from(client.is(OPEN));
            book.ready += u64::from(client.is(EVER_READY));
            book.never_opened += u64::from(client.attempts > 0 && !client.is(EVER_OPENED));
            if client.is(UNDER_WAY) {
                book.ledger.attempts.count(AttemptStep::Abandoned);
                let fault = self.outages.fault_of(row).flatten();
                let begun = client.begun();
                self.timeline.attempt(end, begun, (client.cohort, fault), AttemptStep::Abandoned, None);
                let (cohort, step) = (client.cohort, AttemptStep::Abandoned);
                self.peaks.attempt(end, Attempt { begun, cohort, fault, step, status: None });
            }
        }
        let Finished { counts: endings, told, reasons, alone, peaks } = std::mem::replace(&mut self.endings, Endings::new(false)).finish();
        peaks.iter().for_each(|peaks| self.peaks.add(peaks));
        for ((_, key), count) in &endings {
            self.books[usize::from(key.cohort)].ledger.endings += count;
        }
        for ((row, connection), cause) in alone {
            let acted = self.outages.injected(row, connection).filter(|_| cause == Cause::Deadline(Deadline::Pong));
            let client = &self.outages.clients[row];
            if let Some(Acted { fault, .. }) = acted {
                *self.faults[usize::from(fault)].found_alone.entry(client.cohort).or_default() += 1;
            }
            let noticing = client.attempts == connection && (client.is(OPEN) || client.is(UNDER_WAY));
            self.notice(if noticing { UNNOTICED } else { TOO_LATE });
        }
        if told.has_others() {
            self.notice(told_apart::MANY_CODES);
        }
        let outages = std::mem::take(&mut self.outages);
        outages.finish(end).for_each(|outage| self.book_outage(outage, Some(end)));
        self.timeline.finish();
        self.outage_rows.settle();
        self.milestones.settle();
        self.events.settle();
        self.bank.close_interval();
        self.outage_bank.close_interval();
        self.bank.add(&self.outage_bank);
        self.tell_of_clocks();
        Results {
            meta: self.meta,
            simulated: self.simulated,
            status,
            measured: at,
            books: self.books,
            peak_open: self.peak_open,
            faults: self.faults,
            bank: self.bank,
            timeline: self.timeline,
            peaks: self.peaks,
            answers: self.answers,
            endings,
            told,
            reasons,
            outages: self.outage_rows,
            milestones: self.milestones,
            events: self.events,
            notices: self.notices,
            usage: ProcessUsage::default(),
            workers: 1,
            parts: Parts::default(),
            lost: Vec::new(),
            unreliable: self.unreliable.into_keys().collect(),
        }
    }
}

/// Counts a text; beyond a bound all are one.
fn tally(counts: &mut BTreeMap<String, u64>, text: &str, further: &str) {
    if let Some(count) = counts.get_mut(text) {
        *count += 1;
        return;
    }
    let text = if counts.len() < NOTICES { text } else { further };
    *counts.entry(text.to_owned()).or_default() += 1;
}

fn key(metric: TimeMetric, cohort: u16, fault: Option<u16>) -> DistributionKey {
    DistributionKey { metric, cohort, fault, window: None }
}

/// The client and the fault that an event is about.
#[inline(always)]
pub fn subject(event: &Event) -> (Option<ClientIndex>, Option<u16>) {
    match event {
        Event::Injected { fault, client, .. } => (Some(*client), Some(*fault)),
        Event::AttemptFailed { client, fault, .. } => (Some(*client), *fault),
        Event::Ended { client, ending, .. } | Event::ServerEnded { client, ending, .. } => match ending.cause {
            Cause::Fault(fault) => (Some(*client), Some(fault)),
            _ => (Some(*client), None),
        },
        Event::Arrived { client, .. }
        | Event::AttemptStarted { client, .. }
        | Event::Opened { client, .. }
        | Event::Ready { client, .. }
        | Event::Orphaned { client, .. }
        | Event::Cut { client, .. }
        | Event::Waiting { client, .. }
        | Event::GaveUp { client, .. }
        | Event::Left { client }
        | Event::Sent { client, .. }
        | Event::NotStarted { client, .. }
        | Event::Echoed { client, .. }
        | Event::Received { client, .. }
        | Event::Greeted { client, .. }
        | Event::Said { client, .. }
        | Event::Requested { client, .. }
        | Event::ErrorHeard { client, .. }
        | Event::Sequenced { client, .. }
        | Event::Broadcast { client, .. }
        | Event::Heard { client, .. }
        | Event::Pong { client, .. } => (Some(*client), None),
        Event::Fired { fault, .. } | Event::Spent { fault, .. } | Event::Reached { fault } | Event::Reverted { fault, .. } => {
            (None, Some(*fault))
        }
        Event::NotCarriedOut { fault, .. } => (None, *fault),
        Event::Target { .. } | Event::LocalLimit { .. } | Event::LoadLimit { .. } | Event::Notice { .. } => (None, None),
    }
}

#[cfg(test)]
pub(crate) mod tests;
