//! The machine that all clients run on: how late its timers are, what each attempt takes it, and when they notice that a server has died.
//!
//! Clients of one machine wait for each other: of a crowd whose waits end together, each attempt begins when those before it have been
//! made. The waits of the run are put through one place with this and that cost, and the one whose attempts lie closest to the observed
//! ones is it. What is left is the lateness of a client that nobody stands in the way of.

use super::observed::{Observed, Retry};
use super::parameter::{Parameter, quantile, quantiles, text};
use super::path::REPEATED;
use crate::results::Loaded;

/// Quantiles of measured times.
const QUANTILES: usize = 21;
/// Waits with no other that ends so close before are alone, µs: longer than timers and what one attempt takes.
const APART: u64 = 5_000;
/// Costs tried, µs: from the first to the last, each greater by the factor.
const COSTS: (f64, f64, f64) = (2.0, 5_000.0, 1.08);
/// From so many refusals on, lag and cost are theirs: what opens also waits for the server's share of the machine.
const REFUSALS: usize = 200;
/// A cost is believed where it comes this much closer than none; what lies farther away than `FAR`, µs, is the machine's doing.
const CLOSER: f64 = 0.995;
const FAR: f64 = 20_000.0;
/// Later than this share of them nobody is by a timer.
const TAIL: f64 = 0.95;
/// What timers of event loops count, µs.
const TICK: u64 = 1_000;
/// Offsets of a run are whole µs, of two clocks readings.
const TICK_SLACK: u64 = 20;
/// Shares of attempts that begin before their tick: at most, for the right place of the grid; at least, for the worst, or the grid cannot
/// be seen.
const TICK_EARLY: (f64, f64) = (0.005, 0.02);
/// Detections further apart than this, µs, are of two deaths.
const DEATHS_APART: u64 = 100_000;

/// What the machine adds to each attempt after a wait: `client_lag`, `client_tick` where timers end on a grid, and `client_cost` where
/// attempts were seen to wait for each other.
pub(super) fn machine(observed: &Observed, rtt: f64) -> Vec<Parameter> {
    let mut retries: Vec<Retry> = observed.retries.iter().copied().filter(|one| one.connect < REPEATED).collect();
    retries.sort_by_key(|one| one.due);
    if retries.len() < QUANTILES {
        return Vec::new();
    }
    let phase = phase(&retries);
    let machine = MachineTimes { rtt, phase, busy: busy(observed), lag: 0.0, cost: 0.0 };
    let machine = MachineTimes { lag: machine.lag_alone(&retries), ..machine };
    let found = if observed.weight > 1.0 { None } else { machine.find_cost(&retries) };
    let machine = MachineTimes { cost: found.map_or(0.0, |(cost, _)| cost), ..machine };
    let all = opened_too(&retries);
    let delays = machine.delays(&retries);
    let lags = |most: f64| -> Vec<u64> {
        let unhindered = retries.iter().zip(&delays).filter(|(one, delay)| (all || one.refused) && **delay <= most);
        let mut lags: Vec<u64> = unhindered.map(|(one, delay)| machine.lag_of(one).saturating_sub(*delay as u64)).collect();
        lags.sort_unstable();
        lags.truncate((lags.len() as f64 * TAIL).ceil() as usize);
        lags
    };
    let lags = Some(lags(machine.cost + 1.0)).filter(|lags| lags.len() >= QUANTILES).unwrap_or_else(|| lags(f64::INFINITY));
    let parameter = |key, value, from: String, samples: usize| Parameter { key, value, from, samples: samples as u64, error_percent: None };
    let from = "attempts after a wait that waited for no other: how late they began, and their connects and refusals beyond a round trip";
    let mut all = vec![parameter("client_lag", quantiles(&lags, QUANTILES), from.to_owned(), lags.len())];
    if phase.is_some() {
        let from = "waits end on a grid: no attempt began before the next multiple";
        all.push(parameter("client_tick", text(TICK as f64), from.to_owned(), retries.len()));
    }
    all.extend(found.map(|(cost, distance)| {
        let closer = (1.0 - distance) * 100.0;
        parameter("client_cost", text(cost), format!("attempts after a wait put through one place: {closer:.0} % closer"), retries.len())
    }));
    all
}

/// Whether attempts that opened are looked at as well as refusals.
fn opened_too(retries: &[Retry]) -> bool {
    retries.iter().filter(|one| one.refused).count() < REFUSALS
}

/// Where the grid of timers lies, if there is one: at the right place no attempt begins before its tick, elsewhere many do; µs.
fn phase(retries: &[Retry]) -> Option<u64> {
    let late = retries.iter().filter(|one| one.began > one.due + TICK_SLACK).count();
    if late * 2 < retries.len() {
        // Timers that are not late show nothing.
        return None;
    }
    let early = |phase: u64| retries.iter().filter(|one| one.began + TICK_SLACK < tick_after(one.due, phase)).count();
    let tried: Vec<(usize, u64)> = (0..TICK).step_by(20).map(|phase| (early(phase), phase)).collect();
    let (least, most) = (tried.iter().min()?, tried.iter().max()?);
    let share = |of: usize| of as f64 / retries.len() as f64;
    (share(least.0) <= TICK_EARLY.0 && share(most.0) >= TICK_EARLY.1).then_some(least.1)
}

/// The first tick at or after `due`.
fn tick_after(due: u64, phase: u64) -> u64 {
    (due + TICK - phase).div_ceil(TICK) * TICK + phase - TICK
}

/// From the first to the last detection of each death: meanwhile the machine does nothing else.
fn busy(observed: &Observed) -> Vec<(u64, u64)> {
    let mut times: Vec<u64> = observed.cut.iter().map(|(_, at)| *at).collect();
    times.sort_unstable();
    let deaths = times.chunk_by(|before, after| after - before <= DEATHS_APART);
    deaths.map(|death| (death[0], death[death.len() - 1])).collect()
}

/// The machine, as far as it is known; times in µs.
struct MachineTimes {
    rtt: f64,
    phase: Option<u64>,
    busy: Vec<(u64, u64)>,
    /// How late the timer of a client is that waits for no other.
    lag: f64,
    cost: f64,
}

impl MachineTimes {
    /// When a timer ends: on the grid.
    fn ends(&self, one: &Retry) -> u64 {
        self.phase.map_or(one.due, |phase| tick_after(one.due, phase))
    }

    /// From the end of the timer to the connect or refusal, less a round trip.
    fn lag_of(&self, one: &Retry) -> u64 {
        (one.began + one.connect).saturating_sub(self.ends(one)).saturating_sub(self.rtt as u64)
    }

    fn lag_alone(&self, retries: &[Retry]) -> f64 {
        let alone = retries.windows(2).filter(|pair| pair[0].due + APART < pair[1].due).map(|pair| self.lag_of(&pair[1]));
        let mut lags: Vec<u64> = alone.collect();
        let enough = lags.len() >= QUANTILES;
        if !enough {
            lags = retries.iter().map(|one| self.lag_of(one)).collect();
        }
        lags.sort_unstable();
        // In a crowd those are the ones that came first.
        quantile(&lags, if enough { 0.5 } else { 0.25 }) as f64
    }

    /// From the end of each timer, as late as it is by itself, to its connect or refusal being seen, in the order given: attempts are made
    /// one after the other, and answers are seen when those have been made whose timers have ended.
    fn delays(&self, retries: &[Retry]) -> Vec<f64> {
        let mut free_at = 0.0_f64;
        let mut busy = self.busy.iter().peekable();
        let mut turn = |one: &Retry| {
            let at = self.ends(one) as f64 + (self.lag - self.cost).max(0.0);
            while let Some((_, to)) = busy.next_if(|(from, _)| *from as f64 <= at) {
                free_at = free_at.max(*to as f64);
            }
            let begin = free_at.max(at);
            free_at = begin + self.cost;
            (at, begin)
        };
        let turns: Vec<(f64, f64)> = retries.iter().map(&mut turn).collect();
        let seen = |(at, begin): &(f64, f64)| {
            let made = turns.partition_point(|(other, _)| other <= begin);
            turns[made.saturating_sub(1)].1.max(*begin) + self.cost - at
        };
        turns.iter().map(seen).collect()
    }

    /// The cost of an attempt, and how far what it predicts lies from what was observed, as a share of what no cost predicts.
    fn find_cost(&self, retries: &[Retry]) -> Option<(f64, f64)> {
        let all = opened_too(retries);
        let distance = |cost: f64| -> f64 {
            let machine = MachineTimes { cost, busy: self.busy.clone(), ..*self };
            let lag = (self.lag - cost).max(0.0);
            let looked_at = retries.iter().zip(machine.delays(retries)).filter(|(one, _)| all || one.refused);
            looked_at.map(|(one, delay)| (self.lag_of(one) as f64 - lag - delay).abs().min(FAR)).sum()
        };
        let none = distance(0.0).max(1.0);
        let (first, last, factor) = COSTS;
        let tried = std::iter::successors(Some(first), |cost| Some(cost * factor)).take_while(|cost| *cost <= last);
        let best = tried.map(|cost| (cost, distance(cost) / none)).min_by(|a, b| a.1.total_cmp(&b.1))?;
        (best.1 < CLOSER).then_some(best)
    }
}

/// From the death of a server to its clients noticing: the first one, and each further one.
pub(super) fn notice(loaded: &Loaded, observed: &Observed, notes: &mut Vec<String>) -> Vec<Parameter> {
    let of_a_death = |client: u32, detected: u64| observed.cut.contains(&(client, detected));
    let rows = loaded
        .reconnects
        .iter()
        .filter(|row| row.fault.is_some() && of_a_death(row.client, row.fault_offset_us + row.detect_us.unwrap_or(0)));
    let mut found: Vec<(u64, u64)> = rows.filter_map(|row| Some((row.fault_offset_us, row.detect_us?))).collect();
    found.sort_unstable();
    let mut deaths: Vec<Vec<u64>> = Vec::new();
    let mut last = None;
    for (at, detect) in found {
        match deaths.last_mut().filter(|_| last.is_some_and(|last: u64| at - last <= DEATHS_APART)) {
            Some(death) => death.push(detect),
            None => deaths.push(vec![detect]),
        }
        last = Some(at);
    }
    let Some(mut times) = deaths.into_iter().max_by_key(Vec::len).filter(|times| times.len() >= QUANTILES) else {
        notes.push("too few connections were cut by a server's death: when clients notice one is not fitted".to_owned());
        return Vec::new();
    };
    times.sort_unstable();
    // A line through the 10th and the 90th percentile; one event stands for `weight` of them.
    let (tenth, ninetieth) = (quantile(&times, 0.1) as f64, quantile(&times, 0.9) as f64);
    let each = (ninetieth - tenth) / (0.8 * times.len() as f64 * observed.weight);
    let first = tenth - (ninetieth - tenth) / 8.0;
    let parameter = |key, value: String| Parameter {
        key,
        value,
        from: "detection of connections that a server's death cut, a line through its 10th and 90th percentile".to_owned(),
        samples: times.len() as u64,
        error_percent: None,
    };
    vec![parameter("notice", text(first)), parameter("notice_each", text(each))]
}
