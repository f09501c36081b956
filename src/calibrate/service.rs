//! The service queue: how long an opening handshake takes it, and how many it serves at a time.
//!
//! While somebody waits, completions follow each other at the rate of the server, whatever the clients do: their mean gap is cost /
//! parallel. How many are served at a time shows where the queue is short: the arrivals of the run are put through queues with the
//! same rate and more and more places, and the one whose completions lie closest to the observed ones is it.

use super::observed::{Handshake, Observed};
use super::parameter::{Parameter, quantile, quantiles, text};
use crate::plan::{QueueOrder, ServiceQueue};
use std::collections::BTreeMap;
use std::time::Duration;

/// A shorter row of handshakes without a pause tells little of the rate.
const STRETCH_MIN: usize = 20;
/// Handshakes whose mean counts as one value, at least: what one takes too long by chance of the scheduler, the next ones make good, and
/// those that are served at a time are done at a time.
const BATCH: usize = 20;
/// What a batch takes beyond so many times the median one is the machine's doing.
const STALL: f64 = 1.15;
/// Handshakes whose mean is one point of a cold start, and how many points it takes.
const POINT: usize = 5;
const POINTS_MIN: usize = 16;
/// Spread of single handshakes, as a share of the mean, from which it is more than noise of the machine.
const SPREAD: f64 = 0.3;
/// Share of single handshakes that are looked at for the spread.
const TAIL: f64 = 0.995;
/// The server counts as busy while a share of one by so many of the most at once is under way, but no more than `CROWD_MAX`.
const CROWD: usize = 4;
const CROWD_MAX: usize = 64;
/// Completions closer than this, µs, are no queue.
const GAP_MIN: f64 = 1.0;
/// More places are believed where they come this much closer.
const CLOSER: f64 = 0.8;
const PLACES: [u32; 12] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];
/// Rounds of a line of least absolute deviations, and the least deviation that counts, µs.
const ROUNDS: usize = 30;
const DEVIATION_MIN: f64 = 1.0;
/// So many half-lives must have been seen.
const HALF_LIVES_SEEN: f64 = 1.25;
/// Half-lives tried for a cold start, µs.
const HALF_LIVES: [f64; 8] = [30e3, 60e3, 120e3, 250e3, 500e3, 1e6, 2e6, 5e6];

/// What was found.
#[derive(Debug)]
pub(super) struct MeasuredService {
    /// Whether the server was seen busy for long enough to show its rate.
    pub(super) busy: bool,
    pub(super) parameters: Vec<Parameter>,
    /// 50th and 90th percentile of how far completions lie from those of the fitted queue, µs.
    pub(super) residuals: (u64, u64),
    pub(super) notes: Vec<String>,
}

/// Handshakes of one process in the order of completion.
type ProcessLife<'a> = Vec<&'a Handshake>;

/// Fits the queue; `rtt` in µs.
pub(super) fn fit(observed: &Observed, rtt: f64) -> MeasuredService {
    let lives = lives(observed);
    // A server that serves fewer at a time than this is busy while so many are under way.
    let crowd = (most_at_once(&lives) / CROWD).clamp(1, CROWD_MAX);
    let stretches: Vec<_> = lives.iter().flat_map(|life| stretches(life, crowd)).collect();
    if stretches.is_empty() {
        return never_busy(observed, &lives, rtt);
    }
    let cold = cold(observed, &lives);
    let mut gaps: Vec<Gap> = stretches.iter().flat_map(|stretch| gaps(stretch, observed)).collect();
    if let Some(cold) = &cold {
        // What is left is the steady cost.
        gaps.iter_mut().for_each(|gap| gap.length = (gap.length - gap.age.map_or(0.0, |age| cold.at(age as f64))).max(0.0));
    }
    let rate = CompletionRate::of(&gaps, crowd.max(BATCH), observed.weight);
    if rate.gap < GAP_MIN {
        return never_busy(observed, &lives, rtt);
    }
    let places = if observed.weight > 1.0 { 1 } else { places(&lives, rate.gap, crowd as u32) };
    let mut notes = Vec::new();
    if places == 1 {
        notes.push("parallel = 1: more places did not come closer to what was observed".to_owned());
    }
    let mut parameters = vec![cost(&rate, places, &gaps, observed.weight)];
    parameters.push(Parameter {
        key: "parallel",
        value: places.to_string(),
        from: "the arrivals of the run put through queues of the same rate and more places".to_owned(),
        samples: observed.handshakes.len() as u64,
        error_percent: None,
    });
    if let Some(cold) = cold {
        parameters.extend(cold.parameters(rate.gap));
    }
    let mut residuals = residuals(&lives, rate.gap * f64::from(places), places, cold.as_ref().map(|cold| (cold, rate.gap)));
    residuals.sort_unstable();
    MeasuredService { busy: true, parameters, residuals: (quantile(&residuals, 0.5), quantile(&residuals, 0.9)), notes }
}

fn lives(observed: &Observed) -> Vec<ProcessLife<'_>> {
    let mut lives: BTreeMap<(u16, u32), ProcessLife<'_>> = BTreeMap::new();
    for one in &observed.handshakes {
        lives.entry((one.instance, one.life)).or_default().push(one);
    }
    lives.into_values().collect()
}

/// Rows of handshakes during which so many others were always under way that the server was busy, whatever number it serves at a time.
fn stretches<'a>(life: &[&'a Handshake], crowd: usize) -> Vec<Vec<&'a Handshake>> {
    let mut asked: Vec<u64> = life.iter().map(|one| one.asked).collect();
    asked.sort_unstable();
    let mut all: Vec<Vec<&Handshake>> = vec![Vec::new()];
    for (served, one) in life.iter().enumerate() {
        // Those who had asked by now, without those who have been served.
        let left = asked.partition_point(|at| *at < one.opened).saturating_sub(served + 1);
        match all.last_mut() {
            Some(row) => row.push(one),
            None => all.push(vec![one]),
        }
        if left < crowd {
            all.push(Vec::new());
        }
    }
    all.retain(|row| row.len() > STRETCH_MIN);
    all
}

/// Most that were under way at once at one process.
fn most_at_once(lives: &[ProcessLife<'_>]) -> usize {
    let of = |life: &ProcessLife<'_>| {
        let mut changes: Vec<(u64, i64)> = life.iter().flat_map(|one| [(one.asked, 1), (one.opened, -1)]).collect();
        changes.sort_unstable();
        changes
            .into_iter()
            .scan(0, |now, (_, change)| {
                *now += change;
                Some(*now)
            })
            .max()
    };
    lives.iter().filter_map(of).max().unwrap_or(0).max(1) as usize
}

/// From one completion to the next while somebody waited.
#[derive(Clone, Copy, Debug)]
struct Gap {
    length: f64,
    /// Since the process listened; `None` for one that was there before the run.
    age: Option<u64>,
}

fn gaps(stretch: &[&Handshake], observed: &Observed) -> Vec<Gap> {
    let pairs = stretch.windows(2);
    pairs.map(|pair| Gap { length: (pair[1].opened - pair[0].opened) as f64, age: age(observed, pair[1], pair[0].opened) }).collect()
}

fn age(observed: &Observed, one: &Handshake, at: u64) -> Option<u64> {
    let starts = observed.starts.iter().filter(|start| start.instance == one.instance && start.started <= one.started);
    starts.map(|start| start.listening).max().map(|listening| at.saturating_sub(listening))
}

/// The rate of completions while somebody waits, by the mean of the batches. What a server does now and then, as collecting garbage or
/// accepting hundreds at once, counts; while the machine did something else for longer, the server did not show its rate.
struct CompletionRate {
    /// Mean gap, µs.
    gap: f64,
    /// Standard error of the mean, as a share of it.
    error: f64,
    /// Spread of the gaps as a share of the mean, as far as it lasts: what a batch makes good does not count.
    spread: f64,
}

impl CompletionRate {
    fn of(gaps: &[Gap], batch: usize, weight: f64) -> CompletionRate {
        let mean = |gaps: &[Gap]| gaps.iter().map(|gap| gap.length).sum::<f64>() / gaps.len() as f64;
        let mut batches: Vec<f64> = gaps.chunks_exact(batch.min(gaps.len())).map(mean).collect();
        batches.sort_by(f64::total_cmp);
        let (from, to) = (batches.len() / 4, batches.len() - batches.len() / 4);
        let most = batches[batches.len() / 2] * STALL;
        let gap = batches.iter().map(|batch| batch.min(most)).sum::<f64>() / batches.len() as f64;
        // Of a normal distribution the middle half is 1.349 standard deviations wide.
        let deviation = (batches[to - 1] - batches[from]) / 1.349;
        CompletionRate {
            gap: gap / weight,
            error: deviation / (batches.len() as f64).sqrt() / gap,
            spread: deviation * (batch as f64).sqrt() / gap,
        }
    }
}

fn cost(rate: &CompletionRate, places: u32, gaps: &[Gap], weight: f64) -> Parameter {
    let cost = rate.gap * f64::from(places);
    let mut sorted: Vec<u64> = gaps.iter().map(|gap| gap.length as u64).collect();
    sorted.sort_unstable();
    // A single stall would be the last of few quantiles, and count for all that lie between it and the one before.
    sorted.truncate((sorted.len() as f64 * TAIL).ceil() as usize);
    let mean = sorted.iter().sum::<u64>() as f64 / sorted.len() as f64;
    sorted.iter_mut().for_each(|gap| *gap = (*gap as f64 * rate.gap / mean.max(1.0)) as u64);
    let varies = rate.spread >= SPREAD && places == 1 && weight <= 1.0;
    Parameter {
        key: "handshake_cost",
        value: if varies { quantiles(&sorted, 41) } else { text(cost) },
        from: format!(
            "gaps between completions while somebody waited: {:.0}/s{}",
            1e6 / rate.gap,
            if varies { format!(", spread {:.0} %, so as quantiles", rate.spread * 100.0) } else { String::new() }
        ),
        samples: gaps.len() as u64,
        error_percent: Some(rate.error * 100.0),
    }
}

/// Shares of what an opening handshake took that are tried as the part which others wait for.
const SHARES: [f64; 7] = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4];

/// A short queue of those that met by chance, where the server was never busy for long: cost in µs, and places.
///
/// `None` where those that were under way at once did not wait for each other, or not enough to be told from noise.
fn short_queue(lives: &[ProcessLife<'_>], cost: f64, most: usize) -> Option<(f64, u32)> {
    let distance = |cost: f64, places: u32| {
        let residuals = residuals(lives, cost, places, None);
        (residuals.iter().sum::<u64>() as f64 / residuals.len().max(1) as f64).max(1.0)
    };
    let without = distance(cost, u32::try_from(most).unwrap_or(u32::MAX));
    let fewer = PLACES.into_iter().filter(|places| (*places as usize) < most);
    let tried = fewer.flat_map(|places| SHARES.map(|share| (cost * share, places)));
    let found = tried.map(|(cost, places)| (distance(cost, places), cost, places)).min_by(|a, b| a.0.total_cmp(&b.0));
    found.filter(|found| cost >= GAP_MIN && found.0 < without * CLOSER).map(|(_, cost, places)| (cost, places))
}

/// No queue was seen that lasted: an opening handshake takes what it took, and the capacity is at least what was served.
fn never_busy(observed: &Observed, lives: &[ProcessLife<'_>], rtt: f64) -> MeasuredService {
    let mut upgrades: Vec<u64> = observed.handshakes.iter().map(|one| one.opened - one.asked).collect();
    upgrades.sort_unstable();
    // Most are alone: what is longer than the median has waited.
    let cost = (quantile(&upgrades, 0.5) as f64 - rtt).max(0.0);
    let most = most_at_once(lives);
    let samples = upgrades.len() as u64;
    if let Some((cost, places)) = short_queue(lives, cost, most) {
        let mut residuals = residuals(lives, cost, places, None);
        residuals.sort_unstable();
        let from = "arrivals put through short queues of other costs and places".to_owned();
        let parameter = |key, value| Parameter { key, value, from: from.clone(), samples, error_percent: None };
        return MeasuredService {
            busy: false,
            parameters: vec![parameter("handshake_cost", text(cost)), parameter("parallel", places.to_string())],
            residuals: (quantile(&residuals, 0.5), quantile(&residuals, 0.9)),
            notes: vec![
                "the server was never busy for long in this run: its capacity is a guess from few overlapping handshakes; calibrate a \
                 run with a reconnect storm"
                    .to_owned(),
            ],
        };
    }
    let from = "opening handshakes without a queue, less a round trip".to_owned();
    let mut residuals: Vec<u64> = upgrades.iter().map(|upgrade| upgrade.abs_diff((cost + rtt) as u64)).collect();
    residuals.sort_unstable();
    MeasuredService {
        busy: false,
        parameters: vec![
            Parameter { key: "handshake_cost", value: text(cost), from, samples, error_percent: None },
            Parameter {
                key: "parallel",
                value: most.to_string(),
                from: "most opening handshakes under way at once".to_owned(),
                samples,
                error_percent: None,
            },
        ],
        residuals: (quantile(&residuals, 0.5), quantile(&residuals, 0.9)),
        notes: vec![
            "the server was never busy in this run: its capacity is unknown and `parallel` is a guess; calibrate a run with a reconnect \
             storm"
                .to_owned(),
        ],
    }
}

/// How many are served at a time, with the rate given by the mean gap.
fn places(lives: &[ProcessLife<'_>], gap: f64, most: u32) -> u32 {
    let distance = |places: u32| {
        let residuals = residuals(lives, gap * f64::from(places), places, None);
        (residuals.iter().sum::<u64>() as f64 / residuals.len() as f64).max(1.0)
    };
    let mut best = (1, distance(1));
    for places in PLACES.into_iter().skip(1).filter(|places| *places <= most) {
        let found = distance(places);
        if found < best.1 * CLOSER {
            best = (places, found);
        }
    }
    best.0
}

/// How far each completion lies from that of a queue with these places, fed with the arrivals of the run; µs, in any order.
///
/// What all of them have in common (the way of the answer) is taken off first.
fn residuals(lives: &[ProcessLife<'_>], cost: f64, places: u32, cold: Option<(&Cold, f64)>) -> Vec<u64> {
    let mut lags: Vec<i64> = Vec::new();
    for life in lives {
        let mut arrivals: Vec<&&Handshake> = life.iter().collect();
        arrivals.sort_by_key(|one| one.asked);
        let mut line: ServiceQueue<()> = ServiceQueue::new(QueueOrder::Fifo, places, None, Duration::ZERO);
        let mut served: Vec<u64> = Vec::with_capacity(life.len());
        for one in arrivals {
            let arrived = Duration::from_micros(one.asked);
            let more = match cold {
                Some((cold, gap)) if one.life > 0 => cold.at(line.free_at().max(arrived).as_micros() as f64 - cold.since) / gap,
                _ => 0.0,
            };
            let (_, end) = line.serve(arrived, Duration::from_secs_f64(cost * (1.0 + more.max(0.0)) / 1e6));
            served.push(end.as_micros() as u64);
        }
        // A server that takes them in another order is as fast: the n-th completion is compared with the n-th.
        served.sort_unstable();
        lags.extend(life.iter().zip(&served).map(|(one, served)| one.opened as i64 - *served as i64));
    }
    lags.sort_unstable();
    let common = lags.get(lags.len() / 2).copied().unwrap_or(0);
    lags.into_iter().map(|lag| (lag - common).unsigned_abs()).collect()
}

/// A cold start: the gap is greater by `excess` at first, and the excess halves every `half_life`; µs.
#[derive(Clone, Copy, Debug)]
struct Cold {
    excess: f64,
    half_life: f64,
    /// When the process listened.
    since: f64,
    samples: usize,
    error: f64,
}

impl Cold {
    fn at(&self, age: f64) -> f64 {
        if age < 0.0 { self.excess } else { self.excess * 0.5_f64.powf(age / self.half_life) }
    }

    fn parameters(&self, gap: f64) -> [Parameter; 2] {
        let from = "gaps between completions by the age of a process that started in the run".to_owned();
        let parameter =
            |key, value, error_percent| Parameter { key, value, from: from.clone(), samples: self.samples as u64, error_percent };
        let times = (self.excess / gap).min(1000.0);
        [
            parameter("cold", format!("{times:.2}"), Some(self.error * 100.0)),
            parameter("cold_half_life", format!("\"{:.0}ms\"", self.half_life / 1e3), None),
        ]
    }
}

/// Looks for a cold start: gap = a + b · 0.5^(age / half-life), over several half-lives, by least absolute deviations, because a machine
/// that does something else for a while is no cold start.
fn cold(observed: &Observed, lives: &[ProcessLife<'_>]) -> Option<Cold> {
    let young: Vec<&ProcessLife<'_>> = lives.iter().filter(|life| life.first().is_some_and(|one| one.life > 0)).collect();
    let since = observed.starts.first()?.listening as f64;
    let gaps: Vec<(f64, f64)> = young
        .iter()
        .flat_map(|life| life.windows(2).filter(|pair| pair[1].asked < pair[0].opened))
        .filter_map(|pair| Some((age(observed, pair[1], pair[0].opened)? as f64, (pair[1].opened - pair[0].opened) as f64)))
        .collect();
    if gaps.len() < POINT * POINTS_MIN || observed.weight > 1.0 {
        return None;
    }
    let mean = |of: &mut dyn Iterator<Item = f64>| of.sum::<f64>() / POINT as f64;
    // Of a decay that has hardly begun the end is a guess, and the steady cost with it.
    let oldest = gaps.iter().map(|gap| gap.0).fold(0.0, f64::max);
    let fits = HALF_LIVES.into_iter().filter(|half_life| half_life * HALF_LIVES_SEEN <= oldest).filter_map(|half_life| {
        let left_of = |age: f64| 0.5_f64.powf(age / half_life);
        let points = gaps.chunks_exact(POINT);
        let points = points.map(|row| (mean(&mut row.iter().map(|one| left_of(one.0))), mean(&mut row.iter().map(|one| one.1))));
        let mut points: Vec<(f64, f64)> = points.collect();
        points.sort_by(|a, b| b.0.total_cmp(&a.0));
        let line = line(&points)?;
        // A single one of them, where it stands for the whole cold start, may be the machine's doing.
        let without_first = self::line(&points[1..])?;
        // More than noise, and enough of it to delay anybody by a few handshakes.
        let sum: f64 = gaps.iter().map(|gap| line.slope * left_of(gap.0)).sum();
        let real = line.slope > 4.0 * line.error && without_first.slope > line.slope / 2.0 && line.base > 0.0 && sum > 3.0 * line.base;
        let error = line.error / line.slope;
        real.then_some((line.left, Cold { excess: line.slope, half_life, since, samples: gaps.len(), error }))
    });
    fits.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, cold)| cold)
}

/// A line through points.
struct Straight {
    slope: f64,
    /// Its standard error.
    error: f64,
    base: f64,
    /// Sum of absolute deviations.
    left: f64,
}

/// Least absolute deviations, by least squares with weights that are taken from the deviations before. `None` where x does not vary.
fn line(points: &[(f64, f64)]) -> Option<Straight> {
    let mut weights = vec![1.0; points.len()];
    let (mut slope, mut base) = (0.0, 0.0);
    let mut spread = 0.0_f64;
    for _ in 0..ROUNDS {
        let weighted = || points.iter().zip(&weights);
        let sum = |of: &dyn Fn(&(f64, f64)) -> f64| weighted().map(|(point, weight)| of(point) * weight).sum::<f64>();
        let n = sum(&|_| 1.0);
        let (mean_x, mean_y) = (sum(&|point| point.0) / n, sum(&|point| point.1) / n);
        let xx = sum(&|point| (point.0 - mean_x).powi(2));
        if xx / n <= f64::EPSILON {
            return None;
        }
        slope = sum(&|point| (point.0 - mean_x) * (point.1 - mean_y)) / xx;
        base = mean_y - slope * mean_x;
        spread = xx / n;
        for (weight, point) in weights.iter_mut().zip(points) {
            *weight = 1.0 / (point.1 - base - slope * point.0).abs().max(DEVIATION_MIN);
        }
    }
    let mut deviations: Vec<f64> = points.iter().map(|point| (point.1 - base - slope * point.0).abs()).collect();
    deviations.sort_by(f64::total_cmp);
    // Of a normal distribution half lies within 0.6745 standard deviations; a median line has errors greater by 1.253.
    let sigma = deviations[deviations.len() / 2] / 0.6745;
    let error = 1.253 * sigma / (points.len() as f64 * spread).sqrt();
    Some(Straight { slope, error, base, left: deviations.iter().sum() })
}
