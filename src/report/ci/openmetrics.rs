//! `metrics.prom`: the numbers of runs as OpenMetrics text, for GitLab's metrics report and Prometheus.
//!
//! GitLab keeps values as text and shows what changed, so there are few of them, with three digits. What is not known is NaN: no data is not
//! a pass, and a series that vanishes would be taken for one.

use super::cases::{CaseResult, doubts, known, metric_result, result_of};
use super::record::{CiReport, CiRun};
use crate::results::record::ExpectationRow;
use crate::text::printable;
use crate::verdict::Outcome;

/// A family of gauges.
struct MetricFamily {
    name: &'static str,
    /// The name ends with it.
    unit: &'static str,
    help: &'static str,
    /// Labels and value.
    samples: Vec<(String, f64)>,
}

/// The file; it ends with `# EOF`.
pub fn openmetrics(report: &CiReport) -> String {
    let mut out = String::new();
    for family in families(report).iter().filter(|family| !family.samples.is_empty()) {
        out += &format!("# TYPE {} gauge\n", family.name);
        if !family.unit.is_empty() {
            out += &format!("# UNIT {} {}\n", family.name, family.unit);
        }
        out += &format!("# HELP {} {}\n", family.name, family.help);
        for (labels, value) in &family.samples {
            out += &format!("{}{{{labels}}} {}\n", family.name, written(*value));
        }
    }
    out + "# EOF\n"
}

fn families(report: &CiReport) -> Vec<MetricFamily> {
    let observed = |unit: &str, factor: f64| {
        let row = |run: &CiRun, row: &ExpectationRow| (row.unit == unit).then(|| known(run, row).map_or(f64::NAN, |value| value * factor));
        each(report, row)
    };
    let counts = [observed("count", 1.0), observed("messages", 1.0)].concat();
    let run = |value: fn(&CiRun) -> f64| report.runs.iter().map(|run| (labels(report, run, &[]), value(run))).collect::<Vec<_>>();
    let family = |name, unit, help, samples| MetricFamily { name, unit, help, samples };
    vec![
        family(
            "closestorm_expectation",
            "",
            "Whether an expectation held: 1 yes, 0 no, NaN it cannot be told.",
            each(report, |run, row| Some(held(result_of(row, &run.summary.verdict)))),
        ),
        family(
            "closestorm_observed_seconds",
            "seconds",
            "What was observed of an expectation on a time; NaN: not reached or no data.",
            observed("us", 1e-6),
        ),
        family(
            "closestorm_observed_ratio",
            "ratio",
            "What was observed of an expectation on a share; NaN: no data.",
            observed("percent", 0.01),
        ),
        family(
            "closestorm_observed_per_second",
            "per_second",
            "What was observed of an expectation on a rate or a peak; NaN: no data.",
            observed("per_s", 1.0),
        ),
        family("closestorm_observed", "", "What was observed of an expectation on a number; NaN: no data.", counts),
        family("closestorm_run", "", "Whether a run passed: 1 yes, 0 no, NaN it cannot be told or nothing was expected.", run(passed)),
        family(
            "closestorm_reconnect_seconds",
            "seconds",
            "Time to reconnect by quantile; NaN: not reached or too few samples.",
            reconnects(report),
        ),
        family(
            "closestorm_clients_lost",
            "",
            "Clients that gave up; NaN: not known.",
            run(|run| trusted(run, run.summary.clients.lost.map(|lost| lost as f64))),
        ),
        family(
            "closestorm_attempts_peak_per_second",
            "per_second",
            "Most connection attempts within any second.",
            run(|run| trusted(run, Some(run.summary.attempts.peak_per_s as f64))),
        ),
        family(
            "closestorm_not_worse",
            "",
            "Whether a metric is not worse than before: 1 yes, 0 no, NaN it cannot be told.",
            compared(report),
        ),
        family(
            "closestorm_errors",
            "",
            "Errors that kept the command from its end.",
            vec![(label("scenario", &report.scenario), report.errors.len() as f64)],
        ),
    ]
}

/// A sample for each expectation of each run for which there is one.
fn each(report: &CiReport, value: impl Fn(&CiRun, &ExpectationRow) -> Option<f64>) -> Vec<(String, f64)> {
    let mut samples: Vec<(String, f64)> = Vec::new();
    for run in &report.runs {
        for row in &run.summary.verdict.expectations {
            let Some(value) = value(run, row) else { continue };
            let labels = labels(report, run, &[("expectation", &row.text)]);
            // The same expectation twice is one series.
            if samples.iter().all(|(known, _)| *known != labels) {
                samples.push((labels, value));
            }
        }
    }
    samples
}

fn reconnects(report: &CiReport) -> Vec<(String, f64)> {
    let of = |run: &CiRun| {
        let times = &run.summary.reconnect.time_us;
        let quantiles = [("0.5", times.p50), ("0.9", times.p90), ("0.99", times.p99)];
        let value = |us: Option<u64>| trusted(run, us.map(|us| us as f64 / 1e6));
        let affected = run.summary.reconnect.affected > 0;
        let samples = quantiles.map(|(quantile, us)| (labels(report, run, &[("quantile", quantile)]), value(us)));
        samples.into_iter().filter(|_| affected).collect::<Vec<_>>()
    };
    report.runs.iter().flat_map(of).collect()
}

fn compared(report: &CiReport) -> Vec<(String, f64)> {
    let Some(comparison) = &report.comparison else { return Vec::new() };
    let labels = |metric: &str| format!("{},{}", label("scenario", &report.scenario), label("metric", metric));
    comparison.metrics.iter().map(|row| (labels(&row.metric), held(metric_result(row, comparison)))).collect()
}

fn held(result: CaseResult) -> f64 {
    match result {
        CaseResult::Held => 1.0,
        CaseResult::Crossed => 0.0,
        CaseResult::Unknown | CaseResult::Broken => f64::NAN,
    }
}

fn passed(run: &CiRun) -> f64 {
    match Outcome::parse(&run.summary.verdict.result) {
        Outcome::Pass => 1.0,
        Outcome::Fail => 0.0,
        Outcome::Inconclusive | Outcome::Unchecked => f64::NAN,
    }
}

/// A number of a run; of one that cannot be judged none is known.
fn trusted(run: &CiRun, value: Option<f64>) -> f64 {
    value.filter(|_| doubts(&run.summary.verdict).is_empty()).unwrap_or(f64::NAN)
}

/// Scenario and, where there are several runs, the seed: a run has one of its own.
fn labels(report: &CiReport, run: &CiRun, more: &[(&str, &str)]) -> String {
    let mut all = vec![label("scenario", &report.scenario)];
    if report.runs.len() > 1 {
        all.push(label("seed", &run.summary.seed.to_string()));
    }
    all.extend(more.iter().map(|(name, value)| label(name, value)));
    all.join(",")
}

fn label(name: &str, value: &str) -> String {
    // Printable text has no line breaks.
    format!("{name}=\"{}\"", printable(value).replace('\\', "\\\\").replace('"', "\\\""))
}

/// To three digits, so that runs that are the same to a reader are the same to a machine.
fn written(value: f64) -> String {
    if !value.is_finite() {
        return "NaN".to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let decimals = (2 - value.abs().log10().floor() as i32).clamp(0, 12) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
