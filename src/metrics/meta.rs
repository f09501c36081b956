//! What of the plan the results refer to: names, numbers and words that files repeat.

use super::intervals::CountIntervals;
use super::lateness::Feed;
use super::liveness::Watched;
use super::peak::Tracked;
use super::told_apart::ALWAYS_KEPT;
use super::watch::{MetricWatch, watches};
use crate::close::{Cause, Deadline};
use crate::expect::{Expectation, Labels, Limit};
use crate::fault::expected_codes::Told;
use crate::fault::liveness::Silence;
use crate::fault::{Acts, Form};
use crate::plan::{AuthorAnswer, Pick, Plan, Target};
use crate::secret::Secrets;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Lateness that is never held against the generator: timers and schedulers of a busy machine show it.
const TOLERANCE: Duration = Duration::from_millis(20);
/// Share of a time limit by which lateness may blur it.
const TOLERANCE_SHARE: f64 = 0.05;

/// Where clients were seen from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SeenFrom {
    /// They are our own, and tell everything.
    #[default]
    Client,
    /// They are real ones, and the server that they came to tells what it saw.
    Server,
    /// They are real ones, and a proxy between them and their server tells what passed.
    Proxy,
}

/// How the clients of an open population are known: real ones, whom no plan counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealClients {
    /// Who saw their connections; not the clients.
    pub seen_from: SeenFrom,
    /// One that comes back is known again; otherwise each connection is a client of its own, and nobody was ever away.
    pub identified: bool,
}

/// What of the plan the results refer to.
#[derive(Clone, Debug, PartialEq)]
pub struct RunMeta {
    /// Name of the scenario.
    pub name: String,
    /// Its question.
    pub question: Option<String>,
    /// Its hypothesis.
    pub hypothesis: Option<String>,
    /// What a verdict says to the question.
    pub answer: Option<AuthorAnswer>,
    /// Kind of target and address.
    pub target: String,
    /// Root seed.
    pub seed: u64,
    /// Planned length.
    pub duration: Duration,
    /// How its seconds are counted together.
    pub intervals: CountIntervals,
    /// In the order of the plan.
    pub cohorts: Vec<CohortMeta>,
    /// In the order of the plan.
    pub faults: Vec<FaultMeta>,
    /// Names of the steps of all dialogues, in the order of the plan.
    pub steps: Vec<String>,
    /// Names of the errors of all dialogues, in the order of the plan.
    pub errors: Vec<String>,
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
    pub watches: Vec<MetricWatch>,
    /// Close codes that the expectations name.
    pub codes: Vec<u16>,
    /// What must not be in any file.
    pub secrets: Secrets,
    /// Of real clients; `None`: the clients are simulated.
    pub real: Option<RealClients>,
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
    /// Its clients are ready by more than being open.
    pub awaits_ready: bool,
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
    /// `client` or `server`.
    pub side: &'static str,
    /// It holds until it is reverted.
    pub holds: bool,
    /// It acts on server processes.
    pub process: bool,
    /// It kills them: they tell nothing any more.
    pub crashes: bool,
    /// It asks a program that is not embedded to stop: each connection suffers of it from its own Close frame on.
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

impl RunMeta {
    /// Close codes that have a meaning of their own, are what a fault of the scenario leads to, or are expected.
    pub fn own_codes(&self) -> impl Iterator<Item = u16> {
        let told = self.faults.iter().flat_map(|fault| [&fault.told.own, &fault.told.peer]).flatten().flatten().copied();
        ALWAYS_KEPT.chain(told).chain(self.codes.iter().copied())
    }

    /// Of a plan in the simulator, whose model may have more servers than the target.
    pub fn simulated(plan: &Plan) -> RunMeta {
        let own = match (&plan.target, &plan.model) {
            (Target::Embedded(_), Some(model)) => Some(embedded(model.instances)),
            _ => None,
        };
        let meta = RunMeta::of(plan);
        RunMeta { target: own.unwrap_or_else(|| meta.target.clone()), ..meta }
    }

    /// Of a plan.
    pub fn of(plan: &Plan) -> RunMeta {
        let cohort = |cohort: &crate::plan::Cohort| CohortMeta {
            name: cohort.name.clone(),
            strategy: cohort.reconnect_label.clone(),
            planned: u64::from(cohort.count),
            echoes: cohort.traffic.awaits_replies(),
            awaits_ready: cohort.ready != crate::plan::Readiness::Open,
            traffic: cohort.traffic.to_string(),
        };
        let fault = |fault: &crate::plan::Fault| FaultMeta {
            id: fault.name.clone(),
            kind: fault.inject.row.kind,
            side: fault.side.word(),
            holds: matches!(fault.inject.row.form, Form::Holding | Form::Attempts | Form::Listener | Form::Process { holds: true }),
            process: matches!(fault.inject.row.form, Form::Process { .. }),
            crashes: fault.inject.effect(fault.side).crashes(),
            acts: acts(fault),
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
        RunMeta {
            name: plan.name.clone(),
            question: plan.question.clone(),
            hypothesis: plan.hypothesis.clone(),
            answer: plan.answer.clone(),
            target: plan.secrets.hide(&target(&plan.target)),
            seed: plan.seed.0,
            duration: plan.duration,
            intervals: CountIntervals::new(plan.duration, &plan.expectations),
            cohorts: plan.cohorts.iter().map(cohort).collect(),
            faults: plan.faults.iter().map(fault).collect(),
            steps: plan.scripts().flat_map(|script| script.steps()).map(str::to_owned).collect(),
            errors: plan.scripts().flat_map(|script| script.errors()).map(str::to_owned).collect(),
            notices: plan.notices.iter().map(|notice| plan.secrets.hide(notice)).collect(),
            watched: super::liveness::watched(plan),
            peaks: Tracked::of(plan),
            tolerance_us: super::latency::micros(tolerance),
            feeds: Feed::of(&plan.expectations),
            watches: watches(&plan.expectations),
            codes: plan.expectations.iter().flat_map(Expectation::windows).flat_map(Labels::codes).collect(),
            secrets: plan.secrets.clone(),
            real: None,
        }
    }

    /// Where its clients were seen from.
    pub fn seen_from(&self) -> SeenFrom {
        self.real.map_or(SeenFrom::Client, |real| real.seen_from)
    }

    /// The name of an error of a dialogue.
    pub fn error(&self, error: u16) -> &str {
        self.errors.get(usize::from(error)).map_or("?", String::as_str)
    }

    /// A cause as in files: a fault's id, `remote`, `stay`, `deadline:<name>`, `dialogue:<step>` or `local:<limit>`.
    pub fn cause(&self, cause: Cause) -> String {
        match cause {
            Cause::Fault(fault) => self.fault(fault),
            Cause::Remote => "remote".to_owned(),
            Cause::Stay => "stay".to_owned(),
            Cause::Deadline(Deadline::Dialogue(step)) => format!("deadline:dialogue:{}", self.step(step)),
            Cause::Deadline(deadline) => format!("deadline:{deadline}"),
            Cause::Limit(limit) => format!("local:{limit}"),
            Cause::Dialogue(step) => format!("dialogue:{}", self.step(step)),
        }
    }

    /// The name of a step of a dialogue.
    fn step(&self, step: u16) -> &str {
        self.steps.get(usize::from(step)).map_or("?", String::as_str)
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

/// When a fault of a plan acts on what it has selected.
pub(super) fn acts(fault: &crate::plan::Fault) -> Acts {
    match fault.inject.effect(fault.side).acts() {
        Acts::AtOnce | Acts::Perhaps if fault.new => Acts::Later,
        acts => acts,
    }
}

/// Whether a fault ends connections, or silences them.
fn kills(fault: &crate::plan::Fault) -> bool {
    let silences = || Silence::of(&fault.inject, fault.side, fault.schedule.revert_after).is_some();
    fault.inject.effect(fault.side).ends() || silences()
}

/// By the catalogue; but a server that is not embedded closes with a code of its own when it gets its stop signal.
fn told(plan: &Plan, fault: &crate::plan::Fault) -> Told {
    let told = (fault.inject.row.told)(&fault.inject.values);
    if asks_to_stop(plan, fault) { Told { own: None, peer: None } } else { told }
}

/// Whether a program that is not embedded gets its stop signal, and does with its connections what it likes.
fn asks_to_stop(plan: &Plan, fault: &crate::plan::Fault) -> bool {
    matches!(plan.target, Target::Command(_)) && fault.inject.effect(fault.side).asks_to_stop()
}

fn embedded(instances: u16) -> String {
    if instances == 1 { "embedded, 1 instance".to_owned() } else { format!("embedded, {instances} instances") }
}

fn target(target: &Target) -> String {
    match target {
        Target::Embedded(settings) => embedded(settings.instances),
        Target::Command(command) => command.shown.clone(),
        Target::Url(remote) => remote.address.to_string(),
    }
}
