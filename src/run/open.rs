//! Faults by schedule for real clients: the embedded servers of a plan, with nobody of ours to come to them.

use crate::expect::Expectation;
use crate::fault::{Effect, Side};
use crate::load::context::RunContext;
use crate::load::hits::Hits;
use crate::metrics::meta::{RealClients, SeenFrom};
use crate::metrics::{Recorder, Results};
use crate::plan::{Fault, Phase, Plan, Shard, Target};
use crate::recorder::SharedRecorder;
use crate::run::faults::ByHand;
use crate::run::{Places, measure, stopped};
use crate::sut::control_links::ToWorkers;
use crate::sut::error::RunError;
use crate::sut::target_events::TargetEvents;
use crate::sut::{Fleet, RealPlace, TargetSetting};
use crate::transport::clock::{Clock, monotonic_ns};
use crate::witness::{CONNECTIONS_MAX, open_plan};
use std::pin::pin;
use std::sync::Arc;

/// How servers know the clients that come to them.
const REAL: RealClients = RealClients { seen_from: SeenFrom::Server, identified: false };

/// What a plan says that does not go with real clients: faults at their end, by index, with the reason.
pub fn impossible(plan: &Plan) -> Vec<String> {
    let mut all = Vec::new();
    if !matches!(plan.target, Target::Embedded(_)) {
        all.push("its target is not the embedded server, and `serve` is the server itself".to_owned());
    }
    let why = |fault: &Fault| match () {
        () if fault.side != Side::Server => Some("it acts at the client's end, and the clients are real ones"),
        () if matches!(fault.inject.effect(fault.side), Effect::BothEnds { .. }) => {
            Some("it needs both ends, and the clients are real ones")
        }
        () if fault.select.cohort.is_some() => Some("select.cohort names simulated clients, and the clients are real ones"),
        () if matches!(fault.select.phase, Some(Phase::Tcp | Phase::Tls | Phase::Closing)) => {
            Some("select.phase can only be \"open\" or \"upgrade\": the server sees no other phase of a real client")
        }
        () => None,
    };
    let of_cohort = |expectation: &&Expectation| expectation.windows().any(|labels| labels.cohort.is_some());
    let named = plan.expectations.iter().filter(of_cohort);
    all.extend(named.map(|expectation| format!("{}: it names a cohort, and the clients are real ones", expectation.text)));
    all.extend(plan.faults.iter().filter_map(|fault| Some(format!("fault {}: {}", fault.name, why(fault)?))));
    all
}

/// The plan with real clients in place of its own: what is asked of those is gone. Its reader learns what was ignored.
pub fn for_real(plan: Plan) -> Plan {
    let what = crate::number::counted(plan.clients().into(), "simulated client");
    let mut plan = open_plan(plan, REAL);
    plan.notices.push(format!("{what} of the scenario: they do not come, and what it says of them is ignored"));
    // So many may come.
    plan.cohorts.iter_mut().for_each(|cohort| cohort.count = CONNECTIONS_MAX);
    plan
}

/// Starts the servers of a plan of [`for_real`], tells by `listening` where they are, and fires its faults for whoever comes, to its end or until
/// `stop` resolves.
///
/// # Errors
/// If it could not begin; what begins is always measured to some end.
pub async fn run_real(
    plan: Arc<Plan>,
    place: RealPlace,
    places: &Places,
    stop: impl Future<Output = ()>,
    listening: impl FnOnce(&[String]) -> std::io::Result<()>,
) -> Result<Results, RunError> {
    tokio::pin!(stop);
    let (crew, clock) = (TargetEvents::default(), Clock::Machine);
    let (program, output) = (places.program.clone(), places.output.clone());
    let setting = TargetSetting { plan: &plan, program, output, workers: ToWorkers::default(), crew: crew.clone(), real: Some(place) };
    let (fleet, reports) = {
        let give_up = pin!(stopped(stop.as_mut()));
        Box::pin(Fleet::start(setting, give_up)).await?
    };
    let fleet = Arc::new(fleet);
    let urls: Vec<String> = fleet.named(None).into_iter().map(|instance| fleet.place(instance).url.to_string()).collect();
    let recorder = Recorder::of_real(&plan, REAL, plan.clients());
    let journal = Arc::new(SharedRecorder::open(recorder, plan.duration, clock, monotonic_ns()));
    let shared = RunContext::new(plan.clone(), Some(Shard::WHOLE), Hits::new(&plan, Shard::WHOLE), journal, fleet.clone(), crew);
    let results = match shared.and_then(|shared| {
        listening(&urls).map_err(RunError::Io)?;
        Ok(shared)
    }) {
        Ok(shared) => measure(&shared, Vec::new(), reports, stop, (&mut |_| (), &ByHand::default())).await,
        Err(error) => Err(error),
    };
    fleet.shut_down().await;
    results
}
