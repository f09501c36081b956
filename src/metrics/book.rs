//! What a run amounts to: the closed books, ready to be added to others, written and judged.

use super::answers::Answers;
use super::bank::{Bank, Metric};
use super::carried::{Acts, on_nobody};
use super::ending::{Counted, Reasons};
use super::latency::Latency;
use super::lateness::{Feed, Parts, Work};
use super::ledger::{Ledger, LedgerError, same};
use super::liveness::Watched;
use super::outage::Outage;
use super::peak::{Peaks, Tracked};
use super::sample::Sample;
use super::survival::Survival;
use super::timeline::Timeline;
use super::watch::{Watch, watches};
use crate::close::Cause;
use crate::event::Event;
use crate::expect::Limit;
use crate::fault::liveness::Silence;
use crate::fault::told::Told;
use crate::fault::{Effect, Form, Side, Step};
use crate::plan::{Answer, Pick, Plan, Target, Traffic};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Lateness that is never held against the generator: timers and schedulers of a busy machine show it.
const TOLERANCE: Duration = Duration::from_millis(20);
/// Share of a time limit by which lateness may blur it.
const TOLERANCE_SHARE: f64 = 0.05;

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It reached its planned length.
    Completed,
    /// It was stopped before, or before all seeds asked for were done.
    Aborted,
}

impl Status {
    /// As in files.
    pub fn name(self) -> &'static str {
        match self {
            Status::Completed => "completed",
            Status::Aborted => "aborted",
        }
    }
}

/// What of the plan the results refer to.
#[derive(Clone, Debug, PartialEq)]
pub struct Meta {
    /// Name of the scenario.
    pub name: String,
    /// Its question.
    pub question: Option<String>,
    /// Its hypothesis.
    pub hypothesis: Option<String>,
    /// What a verdict says to the question.
    pub answer: Option<Answer>,
    /// Kind of target and address.
    pub target: String,
    /// Root seed.
    pub seed: u64,
    /// Planned length.
    pub duration: Duration,
    /// In the order of the plan.
    pub cohorts: Vec<CohortMeta>,
    /// In the order of the plan.
    pub faults: Vec<FaultMeta>,
    /// What the plan says a reader must know.
    pub notices: Vec<String>,
    /// Silent connections and the heartbeats over them.
    pub watched: Vec<Watched>,
    /// What a peak is expected of.
    pub peaks: Vec<Tracked>,
    /// Connects and sends begun more than this many µs after they were due are late.
    pub tolerance_us: u64,
    /// What the expectations look at.
    pub feeds: Vec<Feed>,
    /// What they ask of times beyond histograms.
    pub watches: Vec<Watch>,
}

/// What results say about a cohort.
#[derive(Clone, Debug, PartialEq)]
pub struct CohortMeta {
    /// As in the scenario.
    pub name: String,
    /// The strategy as the user wrote it.
    pub strategy: String,
    /// Clients.
    pub planned: u64,
    /// Each message that they send waits for its echo.
    pub echoes: bool,
    /// What its clients say, in words.
    pub traffic: String,
}

/// What results say about a fault.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultMeta {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: &'static str,
    /// `client`, `server` or `proxy`.
    pub side: &'static str,
    /// It holds until it is reverted.
    pub holds: bool,
    /// It acts on server processes.
    pub process: bool,
    /// It asks a program that is not ours to stop: each connection suffers of it from its own Close frame on.
    pub by_close: bool,
    /// When it acts on whom it selected.
    pub acts: Acts,
    /// Whom of those that pass its filters it selects.
    pub pick: Pick,
    /// A connection on which it acted is dead for its user, as long as it holds if it holds.
    pub kills: bool,
    /// What the users of both sides should be told of connections that it ended.
    pub told: Told,
}

impl Meta {
    /// Of a plan in the simulator, whose model may have more servers than the target.
    pub fn simulated(plan: &Plan) -> Meta {
        let own = match (&plan.target, &plan.model) {
            (Target::Embedded(_), Some(model)) => Some(embedded(model.instances)),
            _ => None,
        };
        let meta = Meta::of(plan);
        Meta { target: own.unwrap_or_else(|| meta.target.clone()), ..meta }
    }

    /// Of a plan.
    pub fn of(plan: &Plan) -> Meta {
        let cohort = |cohort: &crate::plan::Cohort| CohortMeta {
            name: cohort.name.clone(),
            strategy: cohort.reconnect_label.clone(),
            planned: u64::from(cohort.count),
            echoes: matches!(cohort.traffic, Traffic::Echo { .. } | Traffic::EchoClosed { .. }),
            traffic: match cohort.traffic {
                Traffic::None => "none".to_owned(),
                Traffic::Echo { rate, payload } => format!("echo {rate} of {payload}"),
                Traffic::EchoClosed { in_flight, payload } => format!("echo, {in_flight} in flight, of {payload}"),
                Traffic::Send { rate, payload } => format!("send {rate} of {payload}"),
            },
        };
        let fault = |fault: &crate::plan::Fault| FaultMeta {
            id: fault.name.clone(),
            kind: fault.inject.row.kind,
            side: match fault.side {
                Side::Client => "client",
                Side::Server => "server",
                Side::Proxy => "proxy",
            },
            holds: matches!(fault.inject.row.form, Form::Holding | Form::Attempts | Form::Listener | Form::Process { holds: true }),
            process: matches!(fault.inject.row.form, Form::Process { .. }),
            acts: Acts::of(fault),
            pick: fault.select.pick,
            by_close: asks_to_stop(plan, fault),
            kills: kills(fault),
            told: told(plan, fault),
        };
        let limits = plan.expectations.iter().filter_map(|expectation| match expectation.limit {
            Limit::Micros(limit) => Some(limit * TOLERANCE_SHARE),
            _ => None,
        });
        let tightest = limits.fold(f64::INFINITY, f64::min);
        let tolerance = if tightest.is_finite() { Duration::from_micros(tightest as u64).max(TOLERANCE) } else { TOLERANCE };
        Meta {
            name: plan.name.clone(),
            question: plan.question.clone(),
            hypothesis: plan.hypothesis.clone(),
            answer: plan.answer.clone(),
            target: target(&plan.target),
            seed: plan.seed.0,
            duration: plan.duration,
            cohorts: plan.cohorts.iter().map(cohort).collect(),
            faults: plan.faults.iter().map(fault).collect(),
            notices: plan.notices.clone(),
            watched: super::liveness::watched(plan),
            peaks: Tracked::of(plan),
            tolerance_us: super::latency::micros(tolerance),
            feeds: Feed::of(&plan.expectations),
            watches: watches(&plan.expectations),
        }
    }

    /// A cause as in files: a fault's id, `remote`, `stay` or `deadline:<name>`.
    pub fn cause(&self, cause: Cause) -> String {
        match cause {
            Cause::Fault(fault) => self.fault(fault),
            Cause::Remote => "remote".to_owned(),
            Cause::Stay => "stay".to_owned(),
            Cause::Deadline(deadline) => format!("deadline:{deadline}"),
        }
    }

    /// The id of a fault.
    pub fn fault(&self, fault: u16) -> String {
        self.faults.get(usize::from(fault)).map_or_else(|| format!("fault {fault}"), |meta| meta.id.clone())
    }

    /// The name of a cohort.
    pub fn cohort(&self, cohort: u16) -> String {
        self.cohorts[usize::from(cohort)].name.clone()
    }
}

/// Whether a fault ends connections, or silences them.
fn kills(fault: &crate::plan::Fault) -> bool {
    let ends = |step: &Step| matches!(step, Step::Close { .. } | Step::HalfClose { .. } | Step::End(_) | Step::Switch { .. });
    match fault.inject.effect(fault.side) {
        Effect::Process(_) | Effect::BothEnds { .. } => true,
        Effect::Connection { steps, .. } if steps.iter().any(ends) => true,
        _ => Silence::of(&fault.inject, fault.side, fault.schedule.revert_after).is_some(),
    }
}

/// By the catalogue; but a server that is not ours closes with a code of its own when it gets its stop signal.
fn told(plan: &Plan, fault: &crate::plan::Fault) -> Told {
    let told = (fault.inject.row.told)(&fault.inject.values);
    if asks_to_stop(plan, fault) { Told { own: None, peer: None } } else { told }
}

/// Whether a program that is not ours gets its stop signal, and does with its connections what it likes.
fn asks_to_stop(plan: &Plan, fault: &crate::plan::Fault) -> bool {
    let graceful = match fault.inject.row.kind {
        "server_graceful" => true,
        "server_restart_rolling" => fault.inject.values.text("mode") != Some("crash"),
        _ => false,
    };
    graceful && matches!(plan.target, Target::Command(_))
}

fn embedded(instances: u16) -> String {
    if instances == 1 { "embedded, 1 instance".to_owned() } else { format!("embedded, {instances} instances") }
}

fn target(target: &Target) -> String {
    match target {
        Target::Embedded(settings) => embedded(settings.instances),
        Target::Command(command) => shlex::try_join(command.run.iter().map(String::as_str)).unwrap_or_else(|_| command.run.join(" ")),
        Target::Url(remote) => remote.address.to_string(),
    }
}

/// The books of one cohort.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Book {
    /// Attempts, connections and endings.
    pub ledger: Ledger,
    /// Clients that began an attempt.
    pub started: u64,
    /// Clients that were ready at least once.
    pub ready: u64,
    /// Clients that began and never opened.
    pub never_opened: u64,
    /// Most open at a time; after an addition, at the end of an interval.
    pub peak_open: u64,
    /// Clients that gave up by their policy.
    pub lost: u64,
    /// Outages.
    pub affected: u64,
    /// Outages that ended.
    pub recovered: u64,
    /// Outages cut by the end of the run.
    pub censored: u64,
    /// Attempts of outages that ended.
    pub recovery_attempts: u64,
    /// Messages due.
    pub due: u64,
    /// Messages due and not sent.
    pub not_started: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Greetings of the embedded server, which are not among `received`.
    #[serde(default)]
    pub greetings: u64,
    /// Messages sent whose echo came.
    pub answered: u64,
    /// Messages sent whose connection ended before their echo came.
    pub lost_messages: u64,
    /// Messages sent whose echo had not come when the measurement ended.
    pub unanswered: u64,
}

impl Book {
    /// Adds the counts of another; `peak_open` becomes the sum, which is an upper bound.
    pub fn add(&mut self, other: &Book) {
        self.ledger.add(&other.ledger);
        self.started += other.started;
        self.ready += other.ready;
        self.never_opened += other.never_opened;
        self.peak_open += other.peak_open;
        self.lost += other.lost;
        self.affected += other.affected;
        self.recovered += other.recovered;
        self.censored += other.censored;
        self.recovery_attempts += other.recovery_attempts;
        self.due += other.due;
        self.not_started += other.not_started;
        self.sent += other.sent;
        self.received += other.received;
        self.greetings += other.greetings;
        self.answered += other.answered;
        self.lost_messages += other.lost_messages;
        self.unanswered += other.unanswered;
    }
}

/// What is counted of one fault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultBook {
    /// First firing, µs.
    pub first: Option<u64>,
    /// Last revert, µs.
    pub reverted: Option<u64>,
    /// Firings; of one of processes, one for each instance.
    pub fired: u64,
    /// Their numbers.
    pub firings: BTreeSet<u32>,
    /// Reverts.
    pub reverts: u64,
    /// Selected over all firings.
    pub selected: u64,
    /// Connections and attempts on which it acted.
    pub injected: u64,
    /// Outages of this fault that ended.
    pub recovered: u64,
    /// `injected` by cohort.
    pub cohorts: BTreeMap<u16, u64>,
    /// Connections that the server's heartbeat found dead and whose clients had not noticed by the end, by cohort.
    pub found_alone: BTreeMap<u16, u64>,
}

impl FaultBook {
    pub(super) fn add(&mut self, other: &FaultBook) {
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.reverted = self.reverted.max(other.reverted);
        // Every shard sees the same firings, each with its own clients.
        self.fired = self.fired.max(other.fired);
        self.firings.extend(&other.firings);
        self.reverts = self.reverts.max(other.reverts);
        self.selected += other.selected;
        self.injected += other.injected;
        self.recovered += other.recovered;
        other.cohorts.iter().for_each(|(cohort, count)| *self.cohorts.entry(*cohort).or_default() += count);
        other.found_alone.iter().for_each(|(cohort, count)| *self.found_alone.entry(*cohort).or_default() += count);
    }
}

/// An event that is kept: offset in µs, number of the event in the run, event.
pub type Kept = (u64, u64, Event);

/// The closed books of a run.
#[derive(Clone, Debug)]
pub struct Results {
    /// What they refer to.
    pub meta: Meta,
    /// From the simulator.
    pub simulated: bool,
    /// How the run ended.
    pub status: Status,
    /// Length when the books were closed.
    pub measured: Duration,
    /// By cohort, in the order of the plan.
    pub books: Vec<Book>,
    /// Most clients open at a time, over all cohorts.
    pub peak_open: u64,
    /// By fault, in the order of the plan.
    pub faults: Vec<FaultBook>,
    /// Distributions.
    pub bank: Bank,
    /// Numbers over time.
    pub timeline: Timeline,
    /// What was counted for peaks.
    pub peaks: Peaks,
    /// How servers turned attempts away.
    pub answers: Answers,
    /// Endings by second and key.
    pub endings: BTreeMap<Counted, u64>,
    /// Reasons with which connections ended.
    pub reasons: Reasons,
    /// Outages.
    pub outages: Sample<Outage>,
    /// Events of the run: faults, target, notices.
    pub milestones: Sample<Kept>,
    /// Events of clients.
    pub events: Sample<Kept>,
    /// Notices with their counts.
    pub notices: BTreeMap<String, u64>,
    /// What the measuring processes used.
    pub usage: Usage,
    /// Processes that had the clients.
    pub workers: u32,
    /// How late the load generators of its parts were, where it was added up from some.
    pub parts: Parts,
    /// Parts that were lost, in words: the results are not those of the plan.
    pub lost: Vec<String>,
    /// What was planned and not carried out, and limits of this machine that were hit, in words and each once: no property of the server.
    pub unreliable: Vec<String>,
}

/// What the measuring process used; all zero where nobody looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time, s.
    pub cpu_s: f64,
    /// Largest resident size.
    pub rss_peak_bytes: u64,
    /// Resident size before the first client.
    pub rss_base_bytes: u64,
    /// Opening handshakes that the target was asked for before offset 0; they are in no count.
    pub uncounted_openings: u64,
}

impl Usage {
    /// Adds what another process used.
    pub fn add(&mut self, other: Usage) {
        self.cpu_s += other.cpu_s;
        self.rss_peak_bytes += other.rss_peak_bytes;
        self.rss_base_bytes += other.rss_base_bytes;
        self.uncounted_openings += other.uncounted_openings;
    }
}

impl Results {
    /// Whether the ledger balances: of each cohort, then of the run.
    pub fn check_ledger(&self) -> Result<(), LedgerError> {
        let mut total = Ledger::default();
        for (book, meta) in self.books.iter().zip(&self.meta.cohorts) {
            let scope = format!("cohort {}", meta.name);
            book.ledger.check(&scope)?;
            same("outages", &scope, book.affected, book.recovered + book.censored, "affected = recovered + censored")?;
            same("messages", &scope, book.due, book.not_started + book.sent, "due = not_started + sent")?;
            if meta.echoes {
                let became = book.answered + book.lost_messages + book.unanswered;
                same("messages", &scope, book.sent, became, "sent = answered + lost + unanswered")?;
            }
            total.add(&book.ledger);
        }
        total.check("the run")?;
        same("endings", "the run", total.closed, self.endings.values().sum(), "closed = sum of endings")
    }

    /// The books of all cohorts together.
    pub fn total(&self) -> Book {
        let mut total = Book::default();
        self.books.iter().for_each(|book| total.add(book));
        total.peak_open = self.peak_open;
        total
    }

    /// The distribution of a metric over all cohorts and faults.
    pub fn latency(&self, metric: Metric) -> Latency {
        self.bank.sum(metric, |_| true)
    }

    /// The same with what was cut and what never ends.
    pub fn survival(&self, metric: Metric) -> Survival {
        self.bank.survival(metric, |_| true)
    }

    /// Whether the generator was too late for its measurements to be trusted.
    pub fn saturated(&self) -> bool {
        !self.saturated_seconds().is_empty()
    }

    /// Seconds in which it was, or that of one of the parts.
    pub fn saturated_seconds(&self) -> Vec<u32> {
        let parts = self.parts.saturated.iter().flat_map(|(_, seconds)| seconds.keys().copied());
        let all: BTreeSet<u32> = self.saturated_together().into_keys().chain(parts).collect();
        all.into_iter().collect()
    }

    /// The same of all parts added up.
    fn saturated_together(&self) -> BTreeMap<u32, Work> {
        let names: Vec<&str> = self.meta.cohorts.iter().map(|cohort| cohort.name.as_str()).collect();
        self.timeline.saturated(&names, &self.meta.feeds)
    }

    /// Largest share of late work in a second, of the whole or of a part, 0 to 1.
    pub fn late_share_max(&self) -> f64 {
        self.timeline.late_share_max().max(self.parts.share_max)
    }

    /// Notes how late the load generator of a part was, which may have parts itself.
    pub fn note_lateness(&mut self, name: &str, part: &Results) {
        self.parts.share_max = self.parts.share_max.max(part.late_share_max());
        let inner = part.parts.saturated.iter().map(|(of, seconds)| (format!("{name}, {of}"), seconds.clone()));
        let mut late: Vec<_> = inner.collect();
        let own = part.saturated_together();
        if late.is_empty() && !own.is_empty() {
            late.push((name.to_owned(), own));
        }
        self.parts.saturated.extend(late);
    }

    /// Adds a reason for which the results do not tell of the server; each once.
    pub fn cannot_rely(&mut self, reason: &str) {
        if !self.unreliable.iter().any(|known| known == reason) {
            self.unreliable.push(reason.to_owned());
        }
    }

    /// Why the results do not tell of the server, in words: what was met on the way, and what the closed books of the whole run show.
    pub fn why_unreliable(&self) -> Vec<String> {
        self.unreliable.iter().cloned().chain(self.parts.reasons()).chain(on_nobody(self)).collect()
    }

    /// Adds the results of another part of the same plan: counters and histograms are added, never averaged.
    pub fn add(&mut self, other: &Results) {
        self.simulated |= other.simulated;
        self.measured = self.measured.max(other.measured);
        if other.status == Status::Aborted {
            self.status = Status::Aborted;
        }
        self.books.iter_mut().zip(&other.books).for_each(|(book, other)| book.add(other));
        self.faults.iter_mut().zip(&other.faults).for_each(|(book, other)| book.add(other));
        self.bank.add(&other.bank);
        self.timeline.add(&other.timeline);
        self.peaks.add(&other.peaks);
        self.answers.add(&other.answers);
        other.endings.iter().for_each(|(key, count)| *self.endings.entry(key.clone()).or_default() += count);
        self.reasons.add(&other.reasons);
        self.outages.add(&other.outages);
        super::milestones::add(&mut self.milestones, &other.milestones);
        self.events.add(&other.events);
        other.notices.iter().for_each(|(text, count)| *self.notices.entry(text.clone()).or_default() += count);
        self.usage.add(other.usage);
        self.workers += other.workers;
        self.lost.extend_from_slice(&other.lost);
        other.unreliable.iter().for_each(|reason| self.cannot_rely(reason));
        self.peaks();
    }

    /// Peaks do not add: after an addition they are those at the ends of intervals.
    fn peaks(&mut self) {
        let mut open: BTreeMap<u64, u64> = BTreeMap::new();
        self.books.iter_mut().for_each(|book| book.peak_open = 0);
        for (offset, cohort, count, _) in self.timeline.rows(super::latency::micros(self.measured)) {
            *open.entry(offset).or_default() += count;
            let book = &mut self.books[usize::from(cohort)];
            book.peak_open = book.peak_open.max(count);
        }
        self.peak_open = open.into_values().max().unwrap_or(0);
    }
}
