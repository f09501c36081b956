//! How many clients of one node are all back in time after it is lost: simulated, with the server's model and the clients' own strategies.
//!
//! A rate does not say it: who retries in lockstep, or waits longer and longer, leaves the server idle in between. So the clients of the
//! plan lose a server of the model, all at once, and the number is searched at which the slowest is back in time. Pure, like the simulator.

use super::{Unsupported, run_watched};
use crate::arrival::Arrive;
use crate::metrics::Status;
use crate::metrics::metric::TimeMetric;
use crate::plan::{Cohort, Fault, Model, Plan, Traffic};
use crate::reconnect::ScheduleKind;
use crate::scenario::{self, Overrides, Source};
use crate::secret::Secrets;
use crate::seed::Seed;
use std::time::Duration;

/// Seeds of each number of clients; the slowest client of all of them counts.
const SEEDS: u64 = 3;
/// More clients than this on one node are not looked at.
const CLIENTS_MAX: u32 = 200_000;
/// From the last arrival to the loss.
const CALM: Duration = Duration::from_secs(2);
/// The search is done where both sides are this close, as a share.
const PRECISION: f64 = 0.02;
/// A run goes on for this many times the time asked for, so that it can be told how late more clients are.
const LOOK: u32 = 3;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLoss {
    /// In which all are to be back, from the loss on.
    pub within: Duration,
    /// From the loss to the moment at which a server takes them again: nothing where another node does so at once.
    pub down: Duration,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostNode {
    /// The most clients, to two digits, that are all back in time; 0 for none.
    pub clients: u32,
    /// When the slowest of them is.
    pub back: Option<Duration>,
    /// About as many more, which are not.
    pub more: Option<u32>,
    /// When the slowest of those is; `None` where some are not within three times the time asked for.
    pub more_back: Option<Duration>,
}

/// The names of the strategies that come back, each once; empty where nobody does.
pub fn strategies(plan: &Plan) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for cohort in returning(plan) {
        if !names.contains(&cohort.reconnect_label) {
            names.push(cohort.reconnect_label.clone());
        }
    }
    names
}

/// Whether the model bounds how fast it opens connections. Without a cost any number is back at once, which says nothing of a real server.
pub fn bounds(model: &Model) -> bool {
    !model.handshake_cost.is_zero() || model.admit.is_some()
}

/// Searches the most clients of `plan`, in the proportion of its cohorts, that a lost node of `model` may have had. `go_on` is asked now and
/// then; `None` where it said no, nobody comes back, or the model bounds nothing.
///
/// # Errors
/// The plan cannot be simulated.
pub fn search(plan: &Plan, model: &Model, loss: NodeLoss, go_on: &dyn Fn() -> bool) -> Result<Option<LostNode>, Unsupported> {
    if strategies(plan).is_empty() || !bounds(model) {
        return Ok(None);
    }
    let least = returning(plan).count() as u32;
    let mut low: Option<(u32, Duration)> = None;
    let mut high: Option<(u32, Option<Duration>)> = None;
    let mut next = least.max(10);
    loop {
        let Some(back) = slowest(plan, model, loss, next, go_on)? else { return Ok(None) };
        match back.filter(|back| *back <= loss.within) {
            Some(back) => low = Some((next, back)),
            None => high = Some((next, back)),
        }
        let (floor, ceiling) = (low.map_or(least - 1, |(clients, _)| clients), high.map(|(clients, _)| clients));
        next = match ceiling {
            None if floor >= CLIENTS_MAX => break,
            None => floor.saturating_mul(2).min(CLIENTS_MAX),
            Some(ceiling) if f64::from(ceiling - floor) <= (PRECISION * f64::from(ceiling)).max(1.0) => break,
            Some(ceiling) => u32::midpoint(floor, ceiling),
        };
    }
    let (more, more_back) = high.map_or((None, None), |(clients, back)| (Some(clients), back));
    let Some((floor, back)) = low else { return Ok(Some(LostNode { clients: 0, back: None, more, more_back })) };
    // Advice is not to promise more than is known, and the smaller number has its own slowest client.
    let clients = two_digits_down(floor).max(least);
    let back = match slowest(plan, model, loss, clients, go_on)? {
        Some(Some(rounded)) if rounded <= loss.within => rounded,
        Some(_) => return Ok(Some(LostNode { clients: floor, back: Some(back), more, more_back })),
        None => return Ok(None),
    };
    Ok(Some(LostNode { clients, back: Some(back), more, more_back }))
}

fn returning(plan: &Plan) -> impl Iterator<Item = &Cohort> {
    plan.cohorts.iter().filter(|cohort| cohort.reconnect.kind != ScheduleKind::None)
}

/// When the slowest of so many clients is back, over all seeds; the inner `None` where one is not, the outer where it was stopped.
fn slowest(
    plan: &Plan,
    model: &Model,
    loss: NodeLoss,
    clients: u32,
    go_on: &dyn Fn() -> bool,
) -> Result<Option<Option<Duration>>, Unsupported> {
    let Some((mut plan, model)) = crashed(plan, model, loss, clients) else { return Ok(None) };
    let mut slowest = Duration::ZERO;
    let first = plan.seed.0;
    for seed in 0..SEEDS {
        plan.seed = Seed(first.wrapping_add(seed));
        let results = run_watched(&plan, &model, &mut |_, _| go_on())?.results;
        if results.status != Status::Completed || !go_on() {
            return Ok(None);
        }
        let total = results.total();
        // Who had no connection to lose could not come back either.
        let all = total.affected == u64::from(clients) && total.recovered == total.affected;
        let Some(us) = results.latency(TimeMetric::ReconnectTime).max().filter(|_| all) else { return Ok(Some(None)) };
        slowest = slowest.max(Duration::from_micros(us));
    }
    Ok(Some(Some(slowest)))
}

/// The plan of a calm day with so many clients on one node, and its loss.
fn crashed(plan: &Plan, model: &Model, loss: NodeLoss, clients: u32) -> Option<(Plan, Model)> {
    let model = Model { instances: 1, ..model.clone() };
    // Twice the time that the server needs, so that nobody waits for long.
    let arrival = (model.handshake_cost.mean() * clients / model.parallel.max(1) * 2).max(Duration::from_secs(1));
    let arrival = model.admit.map_or(arrival, |admit| arrival.max(Duration::from_secs_f64(2.0 * f64::from(clients) / admit.rate.0)));
    let at = arrival + CALM + model.slow_start.unwrap_or_default();
    let mut cohorts: Vec<Cohort> = returning(plan).cloned().collect();
    let total: u64 = cohorts.iter().map(|cohort| u64::from(cohort.count)).sum();
    let (mut first, mut before) = (0, 0_u64);
    for cohort in &mut cohorts {
        // The ends of the cohorts are shared out, so that the counts add up.
        before += u64::from(cohort.count);
        let end = u32::try_from(u64::from(clients) * before / total.max(1)).ok()?;
        (cohort.first, cohort.count) = (first, end - first);
        first = end;
        // Messages are not what is asked; to leave by oneself is no loss.
        (cohort.arrive, cohort.traffic, cohort.stay) = (Arrive::Over(arrival), Traffic::None, None);
        (cohort.after, cohort.rate_stages) = (Duration::ZERO, None);
    }
    cohorts.retain(|cohort| cohort.count > 0);
    let duration = at + loss.down + loss.within * LOOK;
    let plan = Plan {
        duration,
        cohorts,
        faults: vec![crash(at, loss.down)?],
        expectations: Vec::new(),
        model: Some(model.clone()),
        resolved: String::new(),
        whole: String::new(),
        secrets: Secrets::default(),
        notices: Vec::new(),
        ..plan.clone()
    };
    Some((plan, model))
}

fn crash(at: Duration, down: Duration) -> Option<Fault> {
    let text = format!(
        "duration = \"168h\"\n[clients.all]\ncount = 1\n[[faults]]\nat = \"{}ms\"\ninject = {{ server_crash = {{ down = \"{}ms\" }} }}\n",
        at.as_millis(),
        down.as_millis()
    );
    let source = Source::Text { name: "lost-node".to_owned(), text };
    scenario::load(&source, &Overrides::default()).ok()?.faults.pop()
}

/// Rounded down to two digits.
fn two_digits_down(value: u32) -> u32 {
    let power = 10_u32.pow(value.max(1).ilog10().saturating_sub(1));
    value / power * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(reconnect: &str) -> (Plan, Model) {
        let text = format!(
            "[target.embedded]\nhandshake_cost = \"4348us\"\nbacklog = 4096\n[clients.web]\ncount = 100\nreconnect = {reconnect}\n"
        );
        let plan = scenario::load(&Source::Text { name: "test".to_owned(), text }, &Overrides::default()).unwrap();
        let model = plan.simulated_as().unwrap();
        (plan, model)
    }

    const TEN: NodeLoss = NodeLoss { within: Duration::from_secs(10), down: Duration::ZERO };

    fn found(reconnect: &str, loss: NodeLoss) -> Option<LostNode> {
        let (plan, model) = plan(reconnect);
        search(&plan, &model, loss, &|| true).unwrap()
    }

    /// 230 opening handshakes a second make 2,300 in 10 s, if the server is never idle and nobody comes too late.
    #[test]
    fn a_strategy_decides_how_many_clients_are_back_in_time() {
        let (at_once, library) =
            (found("{ fixed = { delay = \"1ms\" } }", TEN).unwrap(), found("\"reconnecting-websocket\"", TEN).unwrap());
        assert!((2_100..=2_300).contains(&at_once.clients), "{at_once:?}");
        assert!(library.clients < 2_000 && library.back <= Some(TEN.within), "{library:?}");
        let (plan, model) = plan("\"reconnecting-websocket\"");
        // The number that the rate promises.
        let promised = slowest(&plan, &model, TEN, 2_300, &|| true).unwrap().unwrap();
        assert!(promised.is_none_or(|back| back > Duration::from_secs(13)), "{promised:?}");
        // One that is not back in time stands beside it.
        assert!(library.more > Some(library.clients) && library.more_back.is_none_or(|back| back > TEN.within), "{library:?}");
    }

    #[test]
    fn who_does_not_come_back_and_a_server_without_a_cost_say_nothing() {
        assert_eq!(found("\"none\"", TEN), None);
        let (plan, mut model) = plan("\"phoenix\"");
        assert_eq!(search(&plan, &model, TEN, &|| false).unwrap(), None, "it was stopped");
        model.handshake_cost = crate::plan::ServiceTimes::ZERO;
        assert_eq!(search(&plan, &model, TEN, &|| true).unwrap(), None);
        assert_eq!(strategies(&plan), ["phoenix"]);
    }

    #[test]
    fn a_wait_longer_than_the_time_asked_for_leaves_nobody() {
        let none = found("{ fixed = { delay = \"15s\" } }", TEN).unwrap();
        assert_eq!((none.clients, none.back), (0, None));
        let down = NodeLoss { down: Duration::from_secs(9), ..TEN };
        let less = found("{ fixed = { delay = \"500ms\" } }", down).unwrap();
        assert!(less.clients < 240, "one second is left: {less:?}");
    }

    #[test]
    fn advice_has_two_digits() {
        assert_eq!([1, 9, 10, 99, 101, 2_345, 199_999].map(two_digits_down), [1, 9, 10, 99, 100, 2_300, 190_000]);
    }
}
