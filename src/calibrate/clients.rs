//! The machine that all clients run on: how late its timers are, what each attempt takes it, and when they notice that a server has died.
//!
//! Clients of one machine wait for each other: of a crowd whose waits end together, each attempt begins when those before it have been
//! made. The waits of the run are put through one place with this and that cost, and the one whose attempts lie closest to the observed
//! ones is it. What is left is the lateness of a client that nobody stands in the way of.

use super::observed::{Observed, Retry};
use super::path::REPEATED;
use super::{Parameter, quantile, quantiles, text};
use crate::results::Loaded;

/// Quantiles of measured times.
const QUANTILES: usize = 21;
/// Waits with no other that ends so close before are alone, µs: longer than timers and what one attempt takes.
const APART: u64 = 5_000;
/// Costs tried, µs: from the first to the last, each greater by the factor.
const COSTS: (f64, f64, f64) = (2.0, 5_000.0, 1.08);
/// A cost is believed where it comes this much closer than none.
const CLOSER: f64 = 0.9;
/// Detections further apart than this, µs, are of two deaths.
const DEATHS_APART: u64 = 100_000;

/// What the machine adds to each attempt after a wait: `client_lag`, and `client_cost` where attempts were seen to wait for each other.
pub(super) fn machine(observed: &Observed, rtt: f64) -> Vec<Parameter> {
    let mut retries: Vec<Retry> = observed.retries.iter().copied().filter(|one| one.connect < REPEATED).collect();
    retries.sort_by_key(|one| one.due);
    if retries.len() < QUANTILES {
        return Vec::new();
    }
    let lag = lag_alone(&retries, rtt);
    let cost = if observed.weight > 1.0 { None } else { cost(&retries, lag, rtt) };
    let waits = waits(&retries, lag, cost.map_or(0.0, |(cost, _)| cost));
    let mut free: Vec<u64> = retries.iter().zip(&waits).filter(|(_, wait)| **wait <= 0.0).map(|(one, _)| one.late(rtt)).collect();
    if cost.is_none() || free.len() < QUANTILES {
        free = retries.iter().zip(&waits).map(|(one, wait)| one.late(rtt).saturating_sub(*wait as u64)).collect();
    }
    free.sort_unstable();
    let mut all = vec![Parameter {
        key: "client_lag",
        value: quantiles(&free, QUANTILES),
        from: "attempts after a wait that waited for no other: how late they began, and their connects and refusals beyond a round trip"
            .to_owned(),
        samples: free.len() as u64,
        error_percent: None,
    }];
    all.extend(cost.map(|(cost, closer)| Parameter {
        key: "client_cost",
        value: text(cost),
        from: format!("attempts after a wait put through one place, {:.0} % closer to when they were made", (1.0 - closer) * 100.0),
        samples: retries.len() as u64,
        error_percent: None,
    }));
    all
}

/// How late an attempt is that waits for no other, µs.
fn lag_alone(retries: &[Retry], rtt: f64) -> f64 {
    let alone = retries.windows(2).filter(|pair| pair[0].due + APART < pair[1].due).map(|pair| pair[1].late(rtt));
    let mut alone: Vec<u64> = alone.collect();
    if alone.len() < QUANTILES {
        let mut all: Vec<u64> = retries.iter().map(|one| one.late(rtt)).collect();
        all.sort_unstable();
        return quantile(&all, 0.25) as f64;
    }
    alone.sort_unstable();
    quantile(&alone, 0.5) as f64
}

/// How long each waits for those before it, in the order given; µs.
fn waits(retries: &[Retry], lag: f64, cost: f64) -> Vec<f64> {
    let mut free_at = 0.0_f64;
    let wait = |one: &Retry| {
        let at = one.due as f64 + lag;
        let begin = free_at.max(at);
        free_at = begin + cost;
        begin - at
    };
    retries.iter().map(wait).collect()
}

/// The cost of an attempt, µs, and how far what it predicts lies from what was observed, as a share of what no cost predicts.
fn cost(retries: &[Retry], lag: f64, rtt: f64) -> Option<(f64, f64)> {
    let distance = |cost: f64| -> f64 {
        let waits = waits(retries, lag, cost);
        retries.iter().zip(waits).map(|(one, wait)| (one.late(rtt) as f64 - lag - wait).abs()).sum()
    };
    let none = distance(0.0).max(1.0);
    let (first, last, factor) = COSTS;
    let tried = std::iter::successors(Some(first), |cost| Some(cost * factor)).take_while(|cost| *cost <= last);
    let best = tried.map(|cost| (cost, distance(cost) / none)).min_by(|a, b| a.1.total_cmp(&b.1))?;
    (best.1 < CLOSER).then_some(best)
}

/// From the death of a server to its clients noticing: the first one, and each further one.
pub(super) fn notice(loaded: &Loaded, observed: &Observed, notes: &mut Vec<String>) -> Vec<Parameter> {
    let of_a_death = |client: u32, detected: u64| observed.cut.contains(&(client, detected));
    let rows = loaded.reconnects.iter().filter(|row| row.fault.is_some() && of_a_death(row.client, row.fault_offset_us + row.detect_us));
    let mut found: Vec<(u64, u64)> = rows.map(|row| (row.fault_offset_us, row.detect_us)).collect();
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
