//! From the runs of a search to its rows: what a run adds to the curve, and what the curve says.

use super::capacity::{LimitRow, StepRow, UslRow};
use super::record::{Summary, TimelineRow};
use crate::capacity::knee::{self, Bend};
use crate::capacity::usl::{self, Estimate};
use crate::capacity::{RunOutcome, SearchFound, Vary};
use crate::expect::{Expectation, Metric, Stat};
use crate::metrics::latency::Times;
use crate::number;
use crate::plan::Plan;
use crate::seed::Seed;
use std::collections::BTreeMap;

/// A pause of this length ends a burst of work, ms.
const PAUSE_MS: u64 = 1_000;
/// Intervals of a burst from which its ends can be spared.
const LONG: usize = 5;
/// Throughput that grows by more than this share beyond a knee has not stopped growing there.
const GROWS: f64 = 0.1;
/// Latency that does not grow to this multiple beyond a knee has not taken off there.
const TAKES_OFF: f64 = 2.0;

/// What a curve is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Throughput counts echoed messages; otherwise opened connections.
    pub echoes: bool,
    /// Whose percentiles are the latency.
    pub latency: Metric,
}

impl Measure {
    /// The first time that the plan has an expectation of; otherwise round trips where there are echoes, and opening handshakes where not.
    pub fn of(plan: &Plan) -> Measure {
        let expected = plan.expectations.iter().map(|expectation| expectation.metric).find(|metric| metric.is_time());
        let has_echo = plan.cohorts.iter().any(|cohort| matches!(cohort.traffic, crate::plan::Traffic::Echo { .. }));
        let latency = expected.unwrap_or(if has_echo { Metric::Rtt } else { Metric::OpeningHandshake });
        Measure { echoes: matches!(latency, Metric::Rtt | Metric::RttFromSent), latency }
    }

    /// What throughput counts, as in files.
    pub fn throughput_name(self) -> &'static str {
        if self.echoes { "echoed" } else { "opened" }
    }

    /// Throughput of a run, per second; `None` where nothing came through.
    pub fn throughput(self, timeline: &[TimelineRow]) -> Option<f64> {
        rate_of_largest_burst(timeline, |row| if self.echoes { row.echoed } else { row.opened })
    }

    /// The distribution of its latency.
    pub fn times(self, summary: &Summary) -> &Times {
        match self.latency {
            Metric::ReconnectTime => &summary.reconnect.time_us,
            Metric::Detect => &summary.reconnect.detect_us,
            Metric::Backoff => &summary.reconnect.backoff_us,
            Metric::Attempt => &summary.reconnect.attempt_us,
            Metric::TcpConnect => &summary.tcp_connect_us,
            Metric::Tls => &summary.tls_us,
            Metric::ClosingHandshake => &summary.closing_handshake_us,
            Metric::CloseAck => &summary.close_ack_us,
            Metric::FinWait => &summary.fin_wait_us,
            Metric::Rtt => &summary.messages.rtt_us,
            Metric::RttFromSent => &summary.messages.rtt_from_sent_us,
            _ => &summary.opening_handshake_us,
        }
    }
}

/// The tightest limit that an expectation puts on the time to reconnect, µs, and of whom: `max`, a percentile.
pub fn reconnect_within(expectations: &[Expectation]) -> Option<(u64, String)> {
    let of_reconnect = expectations.iter().filter(|one| one.metric == Metric::ReconnectTime && one.op.symbol().starts_with('<'));
    let whom = |stat: Stat| match stat {
        Stat::Percentile(percentile) => Some(percentile.to_string()),
        Stat::Min | Stat::Mean => None,
        _ => Some("max".to_owned()),
    };
    of_reconnect.filter_map(|one| Some((one.limit.value() as u64, whom(one.stat)?))).min()
}

/// The mean rate of the burst with the most work: intervals that follow each other with no pause of a second between. A whole run where
/// work never pauses; the herd alone where it does. Unlike the busiest second it does not grow with chance. The first and the last
/// interval of a long burst are left out, because work begins and ends somewhere in them; a burst of one interval has no rate.
fn rate_of_largest_burst(timeline: &[TimelineRow], work: impl Fn(&TimelineRow) -> u64) -> Option<f64> {
    let mut intervals: BTreeMap<u64, u64> = BTreeMap::new();
    for row in timeline {
        *intervals.entry(row.offset_ms).or_default() += work(row);
    }
    let offsets: Vec<u64> = intervals.keys().copied().collect();
    let length = offsets.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or(PAUSE_MS).max(1);
    let busy: Vec<(u64, u64)> = intervals.into_iter().filter(|(_, done)| *done > 0).collect();
    let bursts = busy.chunk_by(|a, b| b.0 - a.0 <= PAUSE_MS.max(length));
    let work = |burst: &[(u64, u64)]| burst.iter().map(|(_, done)| done).sum::<u64>();
    let mut burst = bursts.max_by_key(|burst| work(burst))?;
    let ms = |burst: &[(u64, u64)]| burst[burst.len() - 1].0 + length - burst[0].0;
    let without_pause = ms(burst) == length * burst.len() as u64;
    if without_pause && burst.len() >= LONG {
        burst = &burst[1..burst.len() - 1];
    }
    (burst.len() > 1).then(|| work(burst) as f64 * 1_000.0 / ms(burst) as f64)
}

/// A limit with its curve: `steps` are its runs, `round_trips` whether they measured round trips.
pub fn limit_row(found: &SearchFound, steps: &[StepRow], vary: &Vary, echoes: bool, seed: Seed) -> LimitRow {
    let at = |value: Option<f64>| steps.iter().filter(move |step| Some(step.value) == value);
    // A generator at its limit measures itself.
    let trusted: Vec<StepRow> = steps.iter().filter(|step| step.outcome != RunOutcome::Saturated.name()).cloned().collect();
    let throughput = curve(&trusted, |step| step.throughput_per_s);
    let latency = curve(&trusted, |step| step.p99_us.map(|us| us as f64));
    // A bend is a knee only if the curve is another one beyond it: a few noisy runs bend anywhere.
    let most_beyond = |curve: &[(f64, f64)], at: f64| curve.iter().filter(|point| point.0 > at).map(|point| point.1).fold(0.0, f64::max);
    let there = |curve: &[(f64, f64)], at: f64| curve.iter().find(|point| point.0 == at).map_or(0.0, |point| point.1);
    let levels_off = |at: &f64| most_beyond(&throughput, *at) <= there(&throughput, *at) * (1.0 + GROWS);
    let takes_off = |at: &f64| most_beyond(&latency, *at) >= there(&latency, *at) * TAKES_OFF;
    let knee = knee::knee(&throughput, Bend::Concave).filter(levels_off);
    let knee_p99 = knee::knee(&latency, Bend::Convex).filter(takes_off);
    let (usl, usl_note) = scalability(&trusted, vary, echoes, seed);
    let beside = [
        found.limit.zip(found.surely_holds).map(|(limit, low)| limit - low),
        found.surely_fails.zip(found.limit).map(|(high, limit)| high - limit),
    ];
    LimitRow {
        level: steps.first().and_then(|step| step.level),
        limit: found.limit,
        plus_minus: found.limit.and(beside.into_iter().flatten().reduce(f64::max)),
        surely_holds: found.surely_holds,
        surely_fails: found.surely_fails,
        ended: found.ended.name().to_owned(),
        complete: found.complete,
        held_above: found.held_above.clone(),
        broke: broke(at(found.surely_fails).chain(at(found.ceiling))),
        throughput_per_s: median(at(found.limit).filter_map(|step| step.throughput_per_s).collect()),
        p99_us: median(at(found.limit).filter_map(|step| step.p99_us).map(|us| us as f64).collect()).map(|us| us.round() as u64),
        throughput_max_per_s: steps.iter().filter_map(|step| step.throughput_per_s).reduce(f64::max),
        knee,
        knee_p99,
        knee_note: knee_note(knee, knee_p99, [throughput.len(), latency.len()]),
        usl,
        usl_note,
        runs: steps.len() as u64,
    }
}

/// What did not hold: of a run that failed, rather than of one that only was too late.
fn broke<'a>(steps: impl Iterator<Item = &'a StepRow>) -> Option<String> {
    let reasons: Vec<(bool, &String)> =
        steps.filter_map(|step| Some((step.outcome != RunOutcome::Failed.name(), step.reason.as_ref()?))).collect();
    reasons.into_iter().min_by_key(|(other, _)| *other).map(|(_, reason)| reason.clone())
}

/// A point for each value, by value: the median of its runs.
pub fn curve(steps: &[StepRow], of: impl Fn(&StepRow) -> Option<f64>) -> Vec<(f64, f64)> {
    let mut values: Vec<f64> = steps.iter().map(|step| step.value).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let point = |value: f64| Some((value, median(steps.iter().filter(|step| step.value == value).filter_map(&of).collect())?));
    values.into_iter().filter_map(point).collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[values.len() / 2 - 1], upper) })
}

fn knee_note(throughput: Option<f64>, latency: Option<f64>, points: [usize; 2]) -> Option<String> {
    let why = |name: &str, knee: Option<f64>, points: usize| match knee {
        Some(_) => None,
        None if points < knee::POINTS_NEEDED => {
            Some(format!("{name} was measured at {points} loads, and finding a knee needs {}", knee::POINTS_NEEDED))
        }
        None => Some(format!("{name} has no knee in this range")),
    };
    let notes: Vec<String> =
        [why("throughput", throughput, points[0]), why("the 99th percentile", latency, points[1])].into_iter().flatten().collect();
    (!notes.is_empty()).then(|| notes.join("; "))
}

/// Least R² of a fit that is given without a warning.
const GOOD_R_SQUARED: f64 = 0.9;

/// The Universal Scalability Law where it applies, and what to say of it.
fn scalability(steps: &[StepRow], vary: &Vary, echoes: bool, seed: Seed) -> (Option<UslRow>, Option<String>) {
    if let Err(why) = vary.concurrency(echoes) {
        return (None, Some(format!("left out: {why}")));
    }
    let points: Vec<(f64, f64)> = steps.iter().filter_map(|step| Some((step.value, step.throughput_per_s?))).collect();
    let Some(fit) = usl::fit(&points, seed) else {
        return (None, Some(format!("left out: the fit needs throughput at {} different loads", usl::POINTS_NEEDED)));
    };
    if fit.r_squared < usl::LEAST_R_SQUARED {
        let (found, least) = (number::trimmed(fit.r_squared, 2), usl::LEAST_R_SQUARED);
        return (None, Some(format!("no fit: the law does not explain these throughputs (R² {found}, at least {least} is needed)")));
    }
    let parts = |one: Estimate| [one.value, one.low, one.high];
    let peak = fit.peak();
    let note = (fit.r_squared < GOOD_R_SQUARED)
        .then(|| format!("it explains only {:.0} % of the variance: do not rely on it", fit.r_squared.max(0.0) * 100.0));
    let row = UslRow {
        lambda: parts(fit.lambda),
        sigma: parts(fit.sigma),
        kappa: parts(fit.kappa),
        r_squared: fit.r_squared,
        peak,
        peak_throughput_per_s: peak.map(|n| fit.throughput(n)),
    };
    (Some(row), note)
}

impl UslRow {
    /// Throughput that the law gives for `n`, per second.
    pub fn throughput(&self, n: f64) -> f64 {
        usl::law([self.lambda[0], self.sigma[0], self.kappa[0]], n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::Ended;

    fn row(offset_ms: u64, opened: u64) -> TimelineRow {
        TimelineRow { offset_ms, opened, ..TimelineRow::default() }
    }

    #[test]
    fn throughput_is_the_rate_of_the_largest_burst() {
        let opened = |rows: &[TimelineRow]| rate_of_largest_burst(rows, |row| row.opened);
        // 1.2 s at 200/s in intervals of 100 ms, a rest, and two cohorts of which one is silent.
        let steady: Vec<_> = (0..30).flat_map(|i| [row(i * 100, if i < 12 { 20 } else { 0 }), row(i * 100, 0)]).collect();
        assert_eq!(opened(&steady), Some(200.0));
        // One a second is one burst.
        let slow: Vec<_> = (0..50).map(|i| row(i * 100, u64::from(i % 10 == 0))).collect();
        assert!((opened(&slow).unwrap() - 5.0 / 4.1).abs() < 1e-9);
        // Arrivals of 100 over 5 s; after a rest the herd of 100 in 200 ms, of which two come late.
        let mut herd: Vec<_> = (0..100).map(|i| row(i * 100, if i < 50 { 2 } else { 0 })).collect();
        (herd[70].opened, herd[71].opened, herd[72].opened) = (60, 60, 2);
        assert!((opened(&herd).unwrap() - 122.0 / 0.3).abs() < 1e-9);
        assert_eq!(opened(&[row(0, 0)]), None);
    }

    fn step(value: f64, outcome: RunOutcome, throughput: f64, p99: u64) -> StepRow {
        let reason = (outcome == RunOutcome::Failed).then(|| "it was too slow".to_owned());
        StepRow {
            value,
            outcome: outcome.name().to_owned(),
            throughput_per_s: Some(throughput),
            p99_us: Some(p99),
            reason,
            ..StepRow::default()
        }
    }

    fn found() -> SearchFound {
        let (limit, surely_fails) = (Some(400.0), Some(420.0));
        SearchFound {
            limit,
            surely_holds: Some(380.0),
            surely_fails,
            ceiling: surely_fails,
            held_above: Vec::new(),
            ended: Ended::Edge,
            complete: true,
        }
    }

    #[test]
    fn a_limit_has_its_spread_its_curve_and_its_knee() {
        let loads = [50.0, 100.0, 200.0, 300.0, 400.0, 400.0, 420.0, 600.0, 800.0];
        let of = |load: f64| if load <= 400.0 { RunOutcome::Held } else { RunOutcome::Failed };
        let steps: Vec<_> =
            loads.iter().map(|n| step(*n, of(*n), n.min(410.0), if *n <= 400.0 { 900 } else { (*n as u64 - 400) * 5_000 })).collect();
        let vary = Vary::parse("clients.web.arrive.rate=50/s..800/s").unwrap();
        let limit = limit_row(&found(), &steps, &vary, false, Seed(1));
        assert_eq!(
            (limit.limit, limit.plus_minus, limit.throughput_per_s, limit.p99_us),
            (Some(400.0), Some(20.0), Some(400.0), Some(900))
        );
        assert_eq!((limit.knee, limit.knee_p99, limit.knee_note), (Some(420.0), Some(400.0), None));
        assert_eq!(limit.broke.as_deref(), Some("it was too slow"));
        assert!(limit.usl.is_none() && limit.usl_note.unwrap().contains("a rate is not"), "rates are no concurrency");
    }

    #[test]
    fn the_scalability_law_is_fitted_to_clients_that_work_all_the_time() {
        let law = |n: f64| 100.0 * n / (1.0 + 0.02 * (n - 1.0) + 1e-4 * n * (n - 1.0));
        let mut steps: Vec<_> = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0].map(|n| step(n, RunOutcome::Held, law(n), 100)).to_vec();
        steps.push(step(256.0, RunOutcome::Saturated, 1.0, 100));
        let vary = Vary::parse("clients=1..256").unwrap();
        let usl = limit_row(&found(), &steps, &vary, true, Seed(1)).usl.unwrap();
        assert!((usl.sigma[0] - 0.02).abs() < 1e-6 && (usl.kappa[0] - 1e-4).abs() < 1e-8, "{usl:?}");
        assert!((usl.peak.unwrap() - 99.0).abs() < 0.1 && (usl.throughput(8.0) - law(8.0)).abs() < 1e-3);
        let note = limit_row(&found(), &steps[..3], &vary, true, Seed(1)).usl_note.unwrap();
        assert!(note.contains("5 different loads"), "{note}");
        // Throughputs that do not depend on the load are explained by their mean, and by no law.
        let noise: Vec<_> = (1..=12).map(|n| step(f64::from(n), RunOutcome::Held, [900.0, 1_100.0, 500.0][n as usize % 3], 100)).collect();
        let limit = limit_row(&found(), &noise, &vary, true, Seed(1));
        assert!(limit.usl.is_none() && limit.usl_note.as_ref().unwrap().starts_with("no fit: "), "{limit:?}");
    }

    #[test]
    fn medians_and_notes() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
        let note = knee_note(None, None, [9, 2]).unwrap();
        assert!(note.contains("throughput has no knee") && note.contains("measured at 2 loads"), "{note}");
    }
}
