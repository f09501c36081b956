//! Real clients, whom no plan counts: numbered as they come, recorded by whoever has the other end of their connections, and made the results of a
//! run when all is over.
//!
//! `serve` and `proxy` tell it what happens on sockets; it knows none. Nothing that only a client sees is ever told: where nobody looked there is no
//! data, and that is no pass. The population is open and bounded: what comes beyond [`CONNECTIONS_MAX`] is missing, and the results say so.

use crate::event::{ClientIndex, ConnectionNo, Event, Outcome, Stage, Stages};
use crate::fault::{Injection, Side};
use crate::lock::lock;
use crate::metrics::meta::RealClients;
use crate::metrics::{Recorder, Results, Status};
use crate::observer::Observer;
use crate::plan::{Cohort, FAULTS_MAX, Fault, Pick, Plan, Repeat, Schedule, Select};
use crate::scenario::{self, DURATION_MAX, Errors, Overrides, Source};
use crate::seed::Seed;
use crate::ws::handshake::own_headers::Id;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;

/// Connections that are recorded; further ones are not, which is an event.
pub const CONNECTIONS_MAX: u32 = 100_000;
/// Events that are kept; further ones are not, which is an event. About 150 MB.
const EVENTS_MAX: usize = 1_000_000;
/// The cohort of all real clients.
const COHORT: &str = "real";

/// Whoever sees the connections of real clients and records them.
#[derive(Debug)]
pub struct Witness {
    started: Instant,
    real: RealClients,
    log: Mutex<WitnessLog>,
}

/// What was seen so far.
#[derive(Debug, Default)]
struct WitnessLog {
    events: Vec<(Duration, Event)>,
    /// Clients that can be known again, and the connections of each.
    known: HashMap<Box<str>, (ClientIndex, u32)>,
    clients: u32,
    connections: ConnectionCount,
    /// What was done to connections, each once.
    faults: Vec<WitnessedFault>,
    /// What is missing of the results, in words.
    missing: Vec<String>,
    /// What else is to be said of them.
    notes: Vec<String>,
    /// When it ended; `None`: it goes on.
    end: Option<Duration>,
}

/// Something that was done to connections.
#[derive(Clone, Debug, PartialEq)]
struct WitnessedFault {
    name: Box<str>,
    inject: Injection,
    /// Also to those that came later.
    new: bool,
}

/// What the results are called.
#[derive(Clone, Debug)]
pub struct WitnessedRun {
    /// As the name of a scenario: of the folder below `results/`, and in the report.
    pub name: String,
    /// Where clients connected: a ws:// or wss:// address.
    pub target: String,
    /// Root of the random streams of what was done to them.
    pub seed: u64,
}

/// Connections of real clients so far, up to [`CONNECTIONS_MAX`].
#[derive(Debug, Default)]
pub(crate) struct ConnectionCount(u32);

impl ConnectionCount {
    /// One more: its number, from 0.
    ///
    /// # Errors
    /// There are too many, and this is what the results say of it.
    pub(crate) fn one_more(&mut self) -> Result<u32, String> {
        if self.0 >= CONNECTIONS_MAX {
            return Err(format!("more than {CONNECTIONS_MAX} connections came: the others are missing from all results"));
        }
        self.0 += 1;
        Ok(self.0 - 1)
    }
}

impl WitnessLog {
    fn push(&mut self, at: Duration, event: Event) {
        if self.end.is_some() {
            // What our own end does to connections is no result.
        } else if self.events.len() < EVENTS_MAX {
            self.events.push((at, event));
        } else {
            self.misses(format!("more than {EVENTS_MAX} things happened: what came later is missing from all results"));
        }
    }

    fn misses(&mut self, what: String) {
        if !self.missing.contains(&what) {
            self.missing.push(what);
        }
    }
}

impl Witness {
    /// One that begins now.
    pub fn new(real: RealClients) -> Witness {
        Witness { started: Instant::now(), real, log: Mutex::default() }
    }

    fn log(&self) -> MutexGuard<'_, WitnessLog> {
        lock(&self.log)
    }

    /// A client has begun an attempt to connect: which of its connections this will be. `who` tells clients apart, if anything does; otherwise
    /// each connection is a client of its own. `None`: there were too many, and nothing of it is recorded.
    pub(crate) fn came(&self, who: Option<&str>) -> Option<Id> {
        self.came_at(self.now(), who)
    }

    /// The same, of an attempt that began then.
    pub(crate) fn came_at(&self, at: Duration, who: Option<&str>) -> Option<Id> {
        let mut log = self.log();
        if log.end.is_some() {
            return None;
        }
        if let Err(what) = log.connections.one_more() {
            log.misses(what);
            return None;
        }
        let next = ClientIndex(log.clients);
        let (client, number) = match who.filter(|_| self.real.identified) {
            Some(who) => {
                let known = log.known.entry(who.into()).or_insert((next, 0));
                known.1 += 1;
                *known
            }
            None => (next, 1),
        };
        if client == next {
            log.clients += 1;
            log.push(at, Event::Arrived { client, due: at });
        }
        log.push(at, Event::AttemptStarted { client, due: at });
        Some(Id { client, connection: ConnectionNo(number) })
    }

    /// The attempt ended without a connection; `fault`: what was done to it, from [`Witness::fault`].
    pub(crate) fn failed(&self, id: Id, stage: Stage, outcome: Outcome, fault: Option<u16>) {
        self.tell(Event::AttemptFailed { client: id.client, stage, outcome, times: Stages::default(), fault });
    }

    /// The opening handshake is complete; `instance`: which server has it, 0 where there is one.
    pub(crate) fn opened(&self, Id { client, connection }: Id, instance: u16) {
        let (tcp, upgrade) = (Duration::ZERO, Duration::ZERO);
        self.tell(Event::Opened { client, connection, instance, tcp, tls: None, resumed: false, upgrade });
        self.tell(Event::Ready { client, connection });
    }

    /// The time since the beginning.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The results lack something; what, in words.
    pub(crate) fn misses(&self, what: &str) {
        self.log().misses(what.to_owned());
    }

    /// This is to be said of the results.
    pub(crate) fn note(&self, what: String) {
        self.log().notes.push(what);
    }

    /// Something happened now.
    pub(crate) fn tell(&self, event: Event) {
        self.tell_at(self.now(), event);
    }

    /// Something happened then.
    pub(crate) fn tell_at(&self, at: Duration, event: Event) {
        self.log().push(at, event);
    }

    /// The number of something that is done to connections, the same for the same. `None`: there are too many of them, and it goes unnamed.
    pub(crate) fn fault(&self, injection: &Injection) -> Option<u16> {
        let (fault, is_new) = self.named_fault(injection.row.kind, injection, true)?;
        if is_new {
            // From now on it is carried out on whom asks for it: those that it acts on count one by one.
            self.tell(Event::Fired { fault, firing: 0, selected: 0, eligible: None });
        }
        Some(fault)
    }

    /// The same for a fault with a name of its own, which fires when it is told; and whether it is new.
    /// `new`: it acts on connections that come, too.
    pub(crate) fn named_fault(&self, name: &str, injection: &Injection, new: bool) -> Option<(u16, bool)> {
        let mut log = self.log();
        let fault = WitnessedFault { name: name.into(), inject: injection.clone(), new };
        if let Some(index) = log.faults.iter().position(|known| *known == fault) {
            return Some((u16::try_from(index).ok()?, false));
        }
        if log.faults.len() >= FAULTS_MAX {
            log.misses(format!("more than {FAULTS_MAX} different faults were carried out: the others have no names in the results"));
            return None;
        }
        let number = u16::try_from(log.faults.len()).ok()?;
        log.faults.push(fault);
        Some((number, true))
    }

    /// It is over: what comes later is in no result.
    pub(crate) fn end(&self) {
        let at = self.started.elapsed();
        self.log().end.get_or_insert(at);
    }

    /// All that was seen until now, which is its end, and the plan that it is held against: no clients, and the faults that were carried out.
    ///
    /// # Errors
    /// The target is no address.
    pub fn results(&self, run: &WitnessedRun) -> Result<(Plan, Results), Errors> {
        self.end();
        let mut log = self.log();
        let length = log.end.unwrap_or_default();
        let mut plan = self.plan(run, length, &log.faults)?;
        plan.notices.append(&mut log.notes);
        // An attempt may be told of when it is over.
        log.events.sort_by_key(|(at, _)| *at);
        let mut recorder = Recorder::of_real(&plan, self.real, log.clients);
        for (at, event) in &log.events {
            recorder.on(*at, event);
        }
        for what in log.missing.drain(..) {
            recorder.on(length, &Event::LoadLimit { what });
        }
        Ok((plan, recorder.finish(length, Status::Completed)))
    }

    fn plan(&self, run: &WitnessedRun, length: Duration, faults: &[WitnessedFault]) -> Result<Plan, Errors> {
        let WitnessedRun { name, target, seed } = run;
        // No scenario may be as long as this may have been, nor have every seed: what it was is set below.
        let (ms, most) = (length.min(DURATION_MAX).as_millis().max(1), (*seed).min(i64::MAX as u64));
        let text = format!(
            "duration = \"{ms}ms\"\nseed = {most}\ntarget.url = {{ address = {target:?}, probe = false }}\n\n[clients.{COHORT}]\ncount = 1\nreconnect = \"none\"\ntraffic = {{ listen = true }}\n"
        );
        let source = Source::Text { name: name.clone(), text };
        let plan = open_plan(scenario::load(&source, &Overrides::default())?, self.real);
        let at_once = Schedule { at: Duration::ZERO, repeat: Repeat::Once, until: None, revert_after: None, first_n: None };
        let select = Select { cohort: None, phase: None, min_age: Duration::ZERO, pick: Pick::All };
        let fault = |(fault, name): (&WitnessedFault, String)| Fault {
            name,
            inject: fault.inject.clone(),
            side: Side::Server,
            schedule: at_once,
            select: select.clone(),
            new: fault.new,
        };
        Ok(Plan { duration: length, seed: Seed(*seed), faults: faults.iter().zip(fault_names(faults)).map(fault).collect(), ..plan })
    }
}

/// The name alone where it is free, else with the first number that makes it so.
fn fault_names(faults: &[WitnessedFault]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for WitnessedFault { name, .. } in faults {
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        names.extend(std::iter::once(name.to_string()).chain(numbered).find(|name| !names.contains(name)));
    }
    names
}

/// A plan for real clients in place of its own, who are in one cohort. Its reader learns how far they are known.
pub(crate) fn open_plan(mut plan: Plan, real: RealClients) -> Plan {
    plan.cohorts.truncate(1);
    for cohort in &mut plan.cohorts {
        let (name, label) = (COHORT.to_owned(), "their own".to_owned());
        *cohort = Cohort { name, first: 0, count: 0, reconnect_label: label, heartbeat: None, script: None, data: None, ..cohort.clone() };
    }
    if !real.identified {
        plan.notices.push(
            "clients cannot be told apart: each connection counts as a client of its own, and times to reconnect are not known".to_owned(),
        );
    }
    plan
}

#[cfg(test)]
pub(crate) mod tests;
