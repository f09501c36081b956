//! The engine in memory beside the simulator: runs both, and looks for the first difference between what they recorded.

use crate::event::{ClientIndex, Event, Outcome, Stage};
use crate::metrics::{Results, subject};
use crate::plan::{Model, Plan, Shard};
use crate::run::in_memory::run_with_books;
use crate::sim;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What was recorded, in that order.
pub(crate) type Trace = Vec<(Duration, Event)>;

/// The engine, paused.
pub(crate) fn engine(plan: &Plan) -> (Results, Trace) {
    let (results, trace) = engine_unchecked(plan);
    results.check_ledger().expect("balanced");
    (results, trace)
}

/// As [`engine`], whatever the results say.
pub(crate) fn engine_unchecked(plan: &Plan) -> (Results, Trace) {
    engine_of(plan, Shard::WHOLE)
}

/// As [`engine_unchecked`], one shard of the plan.
pub(crate) fn engine_of(plan: &Plan, shard: Shard) -> (Results, Trace) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let (results, journal) = runtime.block_on(run_with_books(Arc::new(plan.clone()), shard)).expect("it began");
    (results, journal.take_trace())
}

pub(crate) fn simulator(plan: &Plan, model: &Model) -> Trace {
    let (simulated, trace) = sim::run_traced(plan, model).expect("simulated");
    simulated.results.check_ledger().expect("balanced");
    trace
}

/// Whose events are compared in one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    /// What a client did and met.
    Client(ClientIndex),
    /// What servers and injectors tell of its connections, which may be told later.
    Evidence(ClientIndex),
    /// Firings of a fault, and their ends.
    Fault(u16),
    /// What became of a server.
    Instance(u16),
}

/// The first difference between two worlds.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    at: Duration,
    who: Subject,
    /// How many events before it agree.
    place: usize,
    engine: Option<(Duration, Event)>,
    simulator: Option<(Duration, Event)>,
    /// Whether clients that opened in one instant only took each other's turn at the balancer.
    pub(crate) turns: bool,
}

impl Difference {
    /// Of which kind: the names of the two events, and whether only their times differ.
    pub(crate) fn kind(&self) -> String {
        let name = |side: &Option<(Duration, Event)>| side.as_ref().map_or_else(|| "nothing".to_owned(), |(_, event)| name(event));
        let (engine, simulator) = (name(&self.engine), name(&self.simulator));
        let times = self.engine.as_ref().zip(self.simulator.as_ref()).is_some_and(|((_, left), (_, right))| left == right);
        format!("{engine} / {simulator}{}", if times { " at another time" } else { "" })
    }
}

/// The name of a variant, with what tells apart those that are of many sorts.
fn name(event: &Event) -> String {
    let text = format!("{event:?}");
    let name = text.split([' ', '(']).next().unwrap_or_default();
    match event {
        Event::Target { what, .. } => format!("{name} {what}"),
        Event::AttemptFailed { outcome, .. } => format!("{name} {}", format!("{outcome:?}").split(' ').next().unwrap_or_default()),
        Event::Ended { ending, .. } | Event::ServerEnded { ending, .. } => format!("{name} {:?} {}", ending.cause, ending.code),
        _ => name.to_owned(),
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Difference { who, place, engine, simulator, .. } = self;
        write!(f, "{who:?}, event {place}:\n engine    {engine:?}\n simulator {simulator:?}")
    }
}

/// Without what the kernel and a library say of a connection for an HTTP request, which the simulator has no words for.
fn without_words(event: &Event) -> Event {
    match event {
        Event::AttemptFailed { client, stage: Stage::Before, outcome: Outcome::Failed { .. }, times, fault } => {
            let outcome = Outcome::Failed { why: String::new() };
            Event::AttemptFailed { client: *client, stage: Stage::Before, outcome, times: *times, fault: *fault }
        }
        event => event.clone(),
    }
}

/// What happened and when, by whom it happened to, in its own order.
///
/// Without messages and pings, whose due times are no whole milliseconds, and without connections that a server opened for a client that had
/// given up: the simulator knows only what clients have.
fn by_subject(trace: &Trace) -> BTreeMap<Subject, Trace> {
    let opened = |event: &Event| if let Event::Opened { client, connection, .. } = event { Some((*client, *connection)) } else { None };
    let opened: BTreeSet<_> = trace.iter().filter_map(|(_, event)| opened(event)).collect();
    let mut all: BTreeMap<_, Trace> = BTreeMap::new();
    for (at, event) in trace {
        let who = match event {
            Event::Sent { .. } | Event::NotStarted { .. } | Event::Echoed { .. } | Event::Received { .. } | Event::Pong { .. } => continue,
            // Nobody knows the bytes of what a server would say.
            Event::Said { .. } | Event::Heard { .. } => continue,
            Event::ServerEnded { client, connection, .. } if !opened.contains(&(*client, *connection)) => continue,
            Event::ServerEnded { client, .. } | Event::Injected { client, .. } => Subject::Evidence(*client),
            Event::Target { instance, .. } => Subject::Instance(*instance),
            event => match subject(event) {
                (Some(client), _) => Subject::Client(client),
                (None, Some(fault)) => Subject::Fault(fault),
                (None, None) => continue,
            },
        };
        all.entry(who).or_default().push((*at, without_words(event)));
    }
    for (_, trace) in all.iter_mut().filter(|(who, _)| matches!(who, Subject::Evidence(_))) {
        trace.sort_by_cached_key(|(at, event)| (*at, format!("{event:?}")));
    }
    all
}

/// Whether the two differ in who opened where, of those that opened in one instant, and not in how many opened where.
fn only_turns(at: Duration, engine: &Trace, simulator: &Trace) -> bool {
    let opened = |trace: &Trace| {
        let here = trace.iter().filter(|(when, _)| *when == at);
        let mut opened: Vec<_> = here
            .filter_map(|(_, event)| if let Event::Opened { client, instance, .. } = event { Some((*client, *instance)) } else { None })
            .collect();
        opened.sort_unstable();
        opened
    };
    let (engine, simulator) = (opened(engine), opened(simulator));
    let sorted = |opened: &[(ClientIndex, u16)]| {
        let mut instances: Vec<u16> = opened.iter().map(|(_, instance)| *instance).collect();
        instances.sort_unstable();
        instances
    };
    let who = |opened: &[(ClientIndex, u16)]| opened.iter().map(|(client, _)| *client).collect::<Vec<_>>();
    engine != simulator && who(&engine) == who(&simulator) && sorted(&engine) == sorted(&simulator)
}

/// The first difference between what the two saw happen to clients, servers and faults.
pub(crate) fn compare(left: &Trace, right: &Trace) -> Result<(), Box<Difference>> {
    let traces = (left, right);
    let (engine, simulator) = (by_subject(left), by_subject(right));
    let all: BTreeSet<_> = engine.keys().chain(simulator.keys()).copied().collect();
    let mut first: Option<Box<Difference>> = None;
    for who in all {
        let (left, right) = (engine.get(&who).map_or(&[][..], Vec::as_slice), simulator.get(&who).map_or(&[][..], Vec::as_slice));
        let Some(place) = (0..left.len().max(right.len())).find(|place| left.get(*place) != right.get(*place)) else { continue };
        let (engine, simulator) = (left.get(place).cloned(), right.get(place).cloned());
        // The earlier of the two: what one of them does not have is the difference.
        let Some(at) = [&engine, &simulator].into_iter().flatten().map(|(at, _)| *at).min() else { continue };
        if first.as_ref().is_none_or(|first| at < first.at) {
            first = Some(Box::new(Difference { at, who, place, engine, simulator, turns: only_turns(at, traces.0, traces.1) }));
        }
    }
    first.map_or(Ok(()), Err)
}
