//! The same plan in virtual time: discrete events in whole nanoseconds, in the order (time, sequence), from one seed.
//!
//! [`run`] is a pure function of plan and model: no clock, no socket, no thread, no file. Clients are rows in an array, not tasks. It
//! calls the policies of `reconnect`, the schedules of `arrival` and the server's `plan::admission`, and records the events that the
//! engine records, so that metrics, results, charts and verdict are the same. `seeds` draws several seeds.
//!
//! What is not modelled: bytes. Frames, TLS records and partial writes do not exist here, so only those faults are carried out that act
//! on whole connections, attempts, listening sockets and processes: see [`supported`].

mod before;
#[cfg(test)]
mod behaviour;
mod client;
mod ending;
mod entry;
mod faults;
mod gone;
mod leavers;
#[cfg(test)]
mod libraries;
pub mod lost_node;
pub mod mitigation;
mod opening;
mod pair;
mod pairs;
mod process;
pub mod queue;
#[cfg(test)]
mod reference;
mod row;
pub mod seeds;
mod server;
mod slab;
mod standing;
mod steps;
mod support;
mod talk;
mod talks;
#[cfg(test)]
mod tests;
mod tls;
mod trouble;

pub use support::{Unsupported, supported};

use crate::event::{ClientIndex, ConnectionNo, Event, Outcome, Stage};
use crate::metrics::{Recorder, Results, Status};
use crate::observer::Observer;
use crate::plan::{Budget, Firing, Model, Plan, Shard, Target};
use crate::seed::Stream;
use entry::{Answered, Due, Failing, Farewell, What, nanos};
use indexmap::IndexSet;
use pairs::Pairs;
use prefetch_index::prefetch_index;
use queue::Calendar;
use row::{Asking, ClientRow, rows};
use server::{Server, ServerKind, Who};
use slab::Slab;
use standing::{StandingFault, unpacked};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::slice;
use std::time::Duration;
use talks::{OpenStep, Talks};

/// Entries between two looks at whether to go on.
const WATCH_EVERY: u64 = 1 << 16;

/// A simulated run.
#[derive(Debug)]
pub struct Simulated {
    /// As of a run on real sockets, marked as simulated.
    pub results: Results,
    /// Events recorded.
    pub events: u64,
    /// Entries taken from the queue.
    pub entries: u64,
}

/// Runs a plan in virtual time. The same plan and model give the same results, byte for byte, on every machine.
///
/// # Errors
/// If the plan has a fault that is not simulated.
pub fn run(plan: &Plan, model: &Model) -> Result<Simulated, Unsupported> {
    run_watched(plan, model, &mut |_, _| true)
}

/// Asked now and then, with the offset and what was recorded so far: whether the simulation goes on.
pub type GoOn<'a> = dyn FnMut(Duration, &Recorder) -> bool + 'a;

/// As [`run`]; `go_on` is asked now and then, and ends the run by `false`: the results so far are marked aborted.
///
/// # Errors
/// As [`run`].
pub fn run_watched(plan: &Plan, model: &Model, go_on: &mut GoOn<'_>) -> Result<Simulated, Unsupported> {
    support::check(plan, model)?;
    let mut world = World::new(plan, model);
    world.begin();
    let (measured, status) = world.go(go_on);
    Ok(world.close(measured, status))
}

/// As [`run`], with every draw of the policies pinned to `u`: what test vectors of libraries were recorded with.
#[cfg(test)]
fn run_drawing(plan: &Plan, model: &Model, u: f64) -> Result<Simulated, Unsupported> {
    support::check(plan, model)?;
    let mut world = World::new(plan, model);
    world.pinned = Some(u);
    for (row, cohort) in world.rows.iter_mut().zip(plan.cohorts.iter().flat_map(|of| (0..of.count).map(move |_| of))) {
        row.history = cohort.reconnect.start(&mut || u);
    }
    world.begin();
    let (measured, status) = world.go(&mut |_, _| true);
    Ok(world.close(measured, status))
}

/// As [`run`], with all that was recorded, in that order and to the nanosecond.
#[cfg(test)]
pub(crate) fn run_traced(plan: &Plan, model: &Model) -> Result<(Simulated, Vec<(Duration, Event)>), Unsupported> {
    support::check(plan, model)?;
    let mut world = World::new(plan, model);
    world.trace = Some(Vec::new());
    world.begin();
    let (measured, status) = world.go(&mut |_, _| true);
    world.cut(measured);
    let trace = world.trace.take().unwrap_or_default();
    Ok((world.closed(measured, status), trace))
}

/// Everything there is.
struct World<'a> {
    plan: &'a Plan,
    kind: ServerKind,
    /// Length of the run, ns.
    end: u64,
    now: u64,
    queue: Calendar<Due>,
    rows: Vec<ClientRow>,
    servers: Vec<Server>,
    /// Number of the process of each server.
    processes: Vec<u16>,
    recorder: Recorder,
    /// By cohort: when the rest of its clients arrive.
    arrivals: Vec<Box<dyn Iterator<Item = Duration>>>,
    /// The next of those that are not in the queue, by time and cohort.
    arriving: BinaryHeap<Reverse<(Duration, usize)>>,
    arrived: Vec<u32>,
    talks: Talks,
    farewells: IndexSet<Farewell>,
    failings: IndexSet<Failing>,
    /// Entries whose mark does not fit a byte, with their marks.
    marked: Slab<(Due, u32)>,
    /// How servers close connections at once that they turn away, by client.
    turned_away: BTreeMap<u32, u32>,
    standing: Vec<StandingFault>,
    selections: Vec<Stream>,
    budget: Budget,
    /// Firings so far, by fault.
    fired: Vec<u32>,
    path: Stream,
    hints: Stream,
    turn: u32,
    /// When the machine that all clients run on is done with what it has to do so far.
    machine_free_at: u64,
    /// The last tick at which timers of clients ended, and when their machine saw it.
    ticked_at: u64,
    tick_seen_at: u64,
    events: u64,
    entries: u64,
    /// What every policy draws, in tests.
    pinned: Option<f64>,
    /// What was recorded, in tests that ask for it.
    #[cfg(test)]
    trace: Option<Vec<(Duration, Event)>>,
    /// Connections to which something lasting has happened.
    pairs: Pairs,
    /// When a graceful stop comes to connections, by client and connection.
    turns: BTreeMap<(u32, u32), u64>,
    /// Firings that act on attempts of clients when they are open, by client.
    later: BTreeMap<u32, Vec<Firing>>,
    /// Attempts that their clients have given up while a server with a limit of connections works for them, or that a fault holds back: server
    /// and attempt.
    leavers: leavers::Leavers,
    /// TLS sessions by client; empty on ws.
    sessions: Vec<tls::TlsSession>,
    /// Clients that leave, or have left by themselves, and have not come back.
    leaving: BTreeSet<u32>,
    /// Since when a client waits in a closing handshake that will not end in this run, and how long its answer took, if it came.
    closing_since: BTreeMap<u32, (u64, Option<Duration>)>,
    /// Streams of the lengths of stays, of cohorts where they are drawn.
    stays: BTreeMap<u32, Stream>,
    /// When stages send clients away, ns; of cohorts that have them.
    untils: BTreeMap<u32, u64>,
    /// HTTP requests before the attempt under way, of clients that have some.
    asking: BTreeMap<u32, Asking>,
    /// Steps of a dialogue at which clients wait.
    steps: BTreeMap<u32, OpenStep>,
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan, model: &Model) -> World<'a> {
        let kind = ServerKind::new(model, talks::rate(plan));
        let seed = plan.seed;
        World {
            sessions: if model.tls { vec![tls::TlsSession::default(); rows(plan).len()] } else { Vec::new() },
            rows: rows(plan),
            servers: (0..model.instances).map(|index| Server::new(&kind, index, seed, !matches!(plan.target, Target::Url(_)))).collect(),
            processes: vec![0; usize::from(model.instances)],
            kind,
            end: nanos(plan.duration),
            now: 0,
            queue: Calendar::new(),
            recorder: Recorder::simulated(plan),
            arrivals: plan.cohorts.iter().map(|cohort| cohort.dues(seed)).collect(),
            arriving: BinaryHeap::new(),
            arrived: vec![0; plan.cohorts.len()],
            talks: Talks::new(plan),
            farewells: IndexSet::new(),
            failings: Failing::usual(),
            marked: Slab::default(),
            turned_away: BTreeMap::new(),
            standing: Vec::new(),
            selections: plan.faults.iter().map(|fault| seed.stream(&format!("fault/{}/select", fault.name))).collect(),
            fired: vec![0; plan.faults.len()],
            budget: Budget::new(&plan.faults, seed, Shard::WHOLE),
            path: seed.stream("model/path"),
            hints: seed.stream("model/hints"),
            turn: 0,
            machine_free_at: 0,
            ticked_at: u64::MAX,
            tick_seen_at: 0,
            events: 0,
            entries: 0,
            pinned: None,
            #[cfg(test)]
            trace: None,
            pairs: Pairs::default(),
            later: BTreeMap::new(),
            turns: BTreeMap::new(),
            leavers: leavers::Leavers::default(),
            closing_since: BTreeMap::new(),
            leaving: BTreeSet::new(),
            stays: BTreeMap::new(),
            untils: BTreeMap::new(),
            asking: BTreeMap::new(),
            steps: BTreeMap::new(),
            plan,
        }
    }

    /// Puts what is known in advance into the queue: firings, and the first client.
    fn begin(&mut self) {
        for (index, fault) in (0..).zip(&self.plan.faults) {
            for at in fault.firings(self.plan.seed, self.plan.duration) {
                self.push(nanos(at), Due { client: index, what: What::Fire, ..Due::default() });
            }
        }
        (0..self.arrivals.len()).for_each(|cohort| self.await_next(cohort));
        self.next_arrival();
    }

    /// Of cohorts whose clients are due at the same time the first comes first, as in the engine.
    fn next_arrival(&mut self) {
        if let Some(Reverse((due, cohort))) = self.arriving.pop() {
            self.await_next(cohort);
            self.push(nanos(due), Due { client: cohort as u32, what: What::Arrive, ..Due::default() });
        }
    }

    fn await_next(&mut self, cohort: usize) {
        self.arriving.extend(self.arrivals[cohort].next().map(|due| Reverse((due, cohort))));
    }

    /// Takes entry after entry up to the end of the run.
    fn go(&mut self, go_on: &mut GoOn<'_>) -> (Duration, Status) {
        while let Some((at, due)) = self.queue.pop() {
            if at >= self.end {
                break;
            }
            self.now = self.now.max(at);
            self.entries += 1;
            self.fetch();
            let (due, mark) = if due.what == What::Marked { self.marked.take(due.client) } else { (due, due.mark.into()) };
            self.carry_out(due, mark);
            if self.entries.is_multiple_of(WATCH_EVERY) && !go_on(Duration::from_nanos(self.now), &self.recorder) {
                return (Duration::from_nanos(self.now), Status::Aborted);
            }
        }
        (self.plan.duration, Status::Completed)
    }

    /// Has what comes soon fetched from memory, while the processor goes on.
    fn fetch(&mut self) {
        for (_, due) in self.queue.ahead() {
            // An entry that is about something else is harmless.
            let Some(row) = self.rows.get(due.client as usize) else { continue };
            prefetch_index(slice::from_ref(&row.attempts), 0);
            // Most repeats of a SYN are dropped too.
            if due.what != What::Syn {
                prefetch_index(slice::from_ref(&row.random), 0);
                self.recorder.fetch(due.client);
            }
        }
    }

    fn carry_out(&mut self, due: Due, mark: u32) {
        let Due { client, turn, what, .. } = due;
        let place = client as usize;
        match what {
            What::Arrive => self.arrive(place),
            // Taken apart before.
            What::Marked => {}
            What::Message => self.message(client),
            What::Echo => self.echo(client),
            What::Fire => self.fire(client as u16),
            What::Revert => self.revert(unpacked(client)),
            What::Roll => self.roll(unpacked(client), turn),
            What::Vacate => self.vacate(client, turn),
            What::Pair => self.look(client, turn),
            What::Late => self.late(client, turn),
            What::Resume => self.resume(unpacked(client), turn),
            What::Start | What::Listen | What::Served | What::Grace if self.processes[place] != turn => {}
            What::Start => self.start(client as u16),
            What::Listen => self.listen(client as u16),
            What::Served => self.served(client as u16, mark),
            What::Grace => self.exit(client as u16),
            _ if self.rows[place].turn != turn => {}
            What::Wake => self.wake(client),
            What::Attempt => self.attempt(client),
            What::Syn => self.on_syn(client),
            What::Request => self.request(client),
            What::Answer => self.answer(client, mark),
            What::Refusal => self.refused(client, mark),
            What::Deadline => self.deadline(client),
            What::End => self.ends(client, mark),
            What::Leave => self.leave(client),
            What::Away => self.away(client),
            What::Stable => self.stable(client),
            What::Asked => self.asked(client, mark),
            What::StepLate => self.step_late(client, mark),
            What::Close => self.close_gracefully(client, mark),
        }
    }

    fn close(mut self, measured: Duration, status: Status) -> Simulated {
        self.cut(measured);
        self.closed(measured, status)
    }

    fn closed(self, measured: Duration, status: Status) -> Simulated {
        Simulated { results: self.recorder.finish(measured, status), events: self.events, entries: self.entries }
    }

    /// The end of the measurement cuts what is under way.
    fn cut(&mut self, end: Duration) {
        self.not_stopped(nanos(end));
        let plan = self.plan;
        plan.never_due().for_each(|fault| self.record(nanos(end), &Event::not_due(fault)));
        for client in 0..self.rows.len() as u32 {
            if let Some(what) = self.under_way(client, nanos(end)) {
                self.record(nanos(end), &Event::Cut { client: ClientIndex(client), what });
            }
        }
    }

    fn push(&mut self, at: u64, due: Due) {
        // Beyond the end of the run nothing happens.
        if at < self.end {
            self.queue.push(at, due);
        }
    }

    /// Something for a client, as long as it stays in its present state.
    fn push_for(&mut self, at: u64, client: u32, what: What, mark: u32) {
        let turn = self.rows[client as usize].turn;
        self.push_marked(at, Due { client, turn, what, mark: 0 }, mark);
    }

    /// An entry with a mark of any size.
    fn push_marked(&mut self, at: u64, due: Due, mark: u32) {
        match u8::try_from(mark) {
            Ok(mark) => self.push(at, Due { mark, ..due }),
            Err(_) if at < self.end => {
                let client = self.marked.keep((due, mark));
                self.push(at, Due { client, what: What::Marked, ..Due::default() });
            }
            Err(_) => {}
        }
    }

    #[inline(always)]
    fn record(&mut self, at: u64, event: &Event) {
        let over_tls = self.kind.model.tls.then(|| tls::complete(event)).flatten();
        let event = over_tls.as_ref().unwrap_or(event);
        self.events += 1;
        self.recorder.on(Duration::from_nanos(at), event);
        #[cfg(test)]
        self.trace.on(Duration::from_nanos(at), event);
    }

    fn who(&self, client: u32) -> Who {
        let row = &self.rows[client as usize];
        Who { client, attempt: row.attempts, turn: row.turn }
    }

    fn id(&self, client: u32) -> (ClientIndex, ConnectionNo) {
        (ClientIndex(client), ConnectionNo(self.rows[client as usize].attempts))
    }

    /// A round trip of the path.
    fn rtt(&mut self) -> u64 {
        match self.kind.rtt {
            Some(rtt) => rtt,
            None => nanos(self.kind.model.rtt.draw(&mut self.path)),
        }
    }

    /// One way of the path.
    fn leg(&mut self) -> u64 {
        self.rtt() / 2
    }

    /// The number of an ending, the same for the same.
    fn ending_id(&mut self, farewell: Farewell) -> u32 {
        self.farewells.insert_full(farewell).0 as u32
    }

    /// The number of a failure, the same for the same.
    fn failing(&mut self, stage: Stage, outcome: Outcome, fault: Option<u16>) -> u32 {
        self.failings.insert_full(Failing { stage, outcome, fault }).0 as u32
    }
}
