//! Runs, a comparison and errors as a list of cases, each with what became of it. No data is never a pass.

use super::super::phrase;
use super::record::{CiError, CiReport, CiRun};
use crate::compare::{ComparedMetric, MetricResult, RunComparison};
use crate::number;
use crate::plan::ScenarioPlace;
use crate::results::record::{ExpectationRow, Verdict};
use crate::results::runs::RunRow;
use crate::verdict::{OF_SEEDS, Outcome, UNCHECKED};
use std::collections::BTreeMap;

/// Cases that were judged together.
#[derive(Clone, Debug, PartialEq)]
pub struct CiSuite {
    /// `closestorm crash-storm`.
    pub name: String,
    /// What its cases are grouped by: words with dots between them.
    pub class: String,
    /// When it began, RFC 3339; empty where that is not known.
    pub started: String,
    /// How long it was measured, in seconds.
    pub time_s: f64,
    /// What else to know of it.
    pub properties: Vec<(&'static str, String)>,
    /// At least one.
    pub cases: Vec<CiCase>,
    /// A picture of it, for services that show one.
    pub picture: Option<String>,
}

/// Something that was to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct CiCase {
    /// Unique among all suites.
    pub name: String,
    /// What became of it.
    pub result: CaseResult,
    /// In a line: what was observed, and what was expected.
    pub message: String,
    /// Where it is expected.
    pub place: Option<ScenarioPlace>,
}

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaseResult {
    /// It held.
    Held,
    /// It was seen not to hold.
    Crossed,
    /// It cannot be told.
    Unknown,
    /// The run as a whole cannot be judged, or did not begin.
    Broken,
}

/// Cases of several runs that are about the same thing, as one.
pub(super) struct CaseInRuns<'a> {
    pub(super) place: Option<&'a ScenarioPlace>,
    /// Without the seed.
    pub(super) name: &'a str,
    /// In their order; at least one.
    pub(super) cases: Vec<&'a CiCase>,
}

impl CaseInRuns<'_> {
    /// How many held, of how many.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.cases.iter().filter(|case| case.result == CaseResult::Held).count(), self.cases.len())
    }

    /// What was observed, each thing once.
    pub(super) fn message(&self) -> String {
        let mut messages: Vec<&str> = Vec::new();
        for case in &self.cases {
            if !messages.contains(&case.message.as_str()) {
                messages.push(&case.message);
            }
        }
        messages.join(" | ")
    }
}

/// Cases about one thing at one line of one scenario together, in the order of the first of each.
pub(super) fn in_runs<'a>(cases: impl IntoIterator<Item = &'a CiCase>) -> Vec<CaseInRuns<'a>> {
    let mut found: Vec<CaseInRuns<'_>> = Vec::new();
    for case in cases {
        let (place, name) = (case.place.as_ref(), case.name.split(" [seed ").next().unwrap_or(&case.name));
        match found.iter_mut().find(|one| one.place == place && one.name == name) {
            Some(one) => one.cases.push(case),
            None => found.push(CaseInRuns { place, name, cases: vec![case] }),
        }
    }
    found
}

/// All suites: one for each run, for the comparison, and for what kept the command from its end.
pub fn suites(report: &CiReport) -> Vec<CiSuite> {
    let several = report.runs.len() > 1;
    let mut suites: Vec<CiSuite> = report.runs.iter().map(|run| of_run(&report.scenario, run, several)).collect();
    suites.extend(report.comparison.as_ref().map(|comparison| of_comparison(report, comparison)));
    if !report.errors.is_empty() || suites.is_empty() {
        suites.push(of_errors(report));
    }
    name_each_once(&mut suites);
    suites
}

/// Why a verdict as a whole is doubtful: its reasons, but for those of single expectations.
pub(super) fn doubts(verdict: &Verdict) -> Vec<&str> {
    let of_one = |reason: &str| verdict.expectations.iter().any(|row| is_of(reason, &row.text));
    let whole = |reason: &&str| !of_one(reason) && *reason != UNCHECKED && !reason.starts_with(OF_SEEDS);
    verdict.reasons.iter().map(String::as_str).filter(whole).collect()
}

/// Whether a reason is about the expectation or metric with this text.
fn is_of(reason: &str, text: &str) -> bool {
    reason.strip_prefix(text).is_some_and(|rest| rest.starts_with(": "))
}

/// What became of an expectation: where the run as a whole is doubtful, nothing held, and nothing failed unless the verdict says so.
pub(super) fn result_of(row: &ExpectationRow, verdict: &Verdict) -> CaseResult {
    let doubtful = !doubts(verdict).is_empty();
    match Outcome::parse(&row.result) {
        Outcome::Pass if !doubtful => CaseResult::Held,
        Outcome::Fail if !doubtful || Outcome::parse(&verdict.result) == Outcome::Fail => CaseResult::Crossed,
        _ => CaseResult::Unknown,
    }
}

/// What was observed of an expectation, in the unit of its row; nothing of a run that cannot be judged.
pub(super) fn known(run: &CiRun, row: &ExpectationRow) -> Option<f64> {
    row.observed.filter(|value| value.is_finite() && doubts(&run.summary.verdict).is_empty())
}

fn of_run(scenario: &str, run: &CiRun, several: bool) -> CiSuite {
    let (summary, verdict) = (&run.summary, &run.summary.verdict);
    let seed = |seed: u64| format!(" [seed {seed}]");
    let end = if several || !run.seeds.is_empty() { seed(summary.seed) } else { String::new() };
    let mut cases: Vec<CiCase> = verdict.expectations.iter().enumerate().map(|(at, row)| of_expectation(run, at, row, &end)).collect();
    // The first seed is the run itself.
    cases.extend(run.seeds.iter().filter(|row| row.seed != summary.seed).map(|row| of_seed(row, &seed(row.seed))));
    let doubts = doubts(verdict);
    let result = Outcome::parse(&verdict.result);
    if result == Outcome::Inconclusive && !doubts.is_empty() {
        cases.insert(0, whole(&format!("the run can be judged{end}"), CaseResult::Broken, doubts.join("; ")));
    } else if verdict.expectations.is_empty() {
        let why = if doubts.is_empty() { UNCHECKED.to_owned() } else { doubts.join("; ") };
        cases.insert(0, whole(&format!("the run is judged{end}"), CaseResult::Unknown, why));
    }
    CiSuite {
        name: format!("closestorm {scenario}{end}"),
        class: class(scenario),
        started: run.started.clone(),
        time_s: summary.measured_ms as f64 / 1e3,
        properties: vec![
            ("command", summary.command.clone()),
            ("folder", run.folder.clone()),
            ("seed", summary.seed.to_string()),
            ("simulated", summary.simulated.to_string()),
            ("verdict", verdict.result.clone()),
        ],
        cases,
        picture: run.picture.clone(),
    }
}

fn of_expectation(run: &CiRun, at: usize, row: &ExpectationRow, end: &str) -> CiCase {
    let verdict = &run.summary.verdict;
    let result = result_of(row, verdict);
    let reason = verdict.reasons.iter().find_map(|reason| reason.strip_prefix(row.text.as_str())?.strip_prefix(": "));
    let observed = format!("observed {}; expected {}", phrase::observed(row), row.text);
    let message = match (result, row.observed, reason) {
        (CaseResult::Held | CaseResult::Crossed, Some(_), _) => observed,
        (CaseResult::Held | CaseResult::Crossed, None, reason) => {
            format!("{}; expected {}", reason.or(row.note.as_deref()).unwrap_or("not reached"), row.text)
        }
        (_, _, Some(reason)) if Outcome::parse(&row.result) == Outcome::Inconclusive => format!("{reason}; expected {}", row.text),
        _ => format!("not judged: {}", doubts(verdict).join("; ")),
    };
    CiCase { name: format!("{}{end}", row.text), result, message, place: run.places.get(at).cloned().flatten() }
}

/// A seed of a simulation of several, of which no more is kept than its verdict.
fn of_seed(row: &RunRow, end: &str) -> CiCase {
    let result = match Outcome::parse(&row.verdict) {
        Outcome::Pass => CaseResult::Held,
        Outcome::Fail => CaseResult::Crossed,
        Outcome::Inconclusive | Outcome::Unchecked => CaseResult::Unknown,
    };
    whole(&format!("all expectations{end}"), result, format!("verdict {}", row.verdict))
}

fn of_comparison(report: &CiReport, comparison: &RunComparison) -> CiSuite {
    let doubts = comparison_doubts(comparison);
    let mut cases: Vec<CiCase> = comparison.metrics.iter().map(|row| of_metric(report, comparison, row)).collect();
    if !doubts.is_empty() || cases.is_empty() {
        let why = if doubts.is_empty() { comparison.answer.clone() } else { doubts.join("; ") };
        cases.insert(0, whole("the runs can be compared", CaseResult::Broken, why));
    }
    let sides = [("base", &comparison.base), ("new", &comparison.new)];
    CiSuite {
        name: format!("closestorm compare {}", report.scenario).trim_end().to_owned(),
        class: class(&format!("compare {}", report.scenario)),
        started: String::new(),
        time_s: 0.0,
        properties: std::iter::once(("result", comparison.result.clone()))
            .chain(sides.map(|(name, side)| (name, side.folders.join(" "))))
            .collect(),
        cases,
        picture: None,
    }
}

/// Why an inconclusive comparison as a whole is doubtful: its reasons, but for those of single metrics.
pub(super) fn comparison_doubts(comparison: &RunComparison) -> Vec<&str> {
    let of_one = |reason: &str| comparison.metrics.iter().any(|row| is_of(reason, &row.metric));
    let reasons = comparison.reasons.iter().map(String::as_str).filter(|reason| !of_one(reason));
    if comparison.result == "inconclusive" { reasons.collect() } else { Vec::new() }
}

fn of_metric(report: &CiReport, comparison: &RunComparison, row: &ComparedMetric) -> CiCase {
    let doubts = comparison_doubts(comparison);
    let result = metric_result(row, comparison);
    let place = report.runs.iter().find_map(|run| {
        let at = run.measured.iter().position(|measured| *measured == row.metric)?;
        run.places.get(at).cloned().flatten()
    });
    let of = |value: Option<f64>| value.map_or_else(|| "not reached".to_owned(), |value| number::observed(value, &row.unit));
    let p = row.p_holm.map_or_else(String::new, |p| format!(", p {p:.3}"));
    let values = format!("base {}, new {}{p}", of(row.base_median), of(row.new_median));
    let message = match row.result {
        _ if !doubts.is_empty() => format!("not judged: {}", doubts.join("; ")),
        MetricResult::NoData => row.note.clone().unwrap_or_else(|| "no data".to_owned()),
        MetricResult::Worse => format!("worse: {values}"),
        MetricResult::PerhapsWorse => format!("may be worse: {values}"),
        _ if comparison.weak => format!("one to three runs on a side cannot show a regression: {values}"),
        MetricResult::Better | MetricResult::PerhapsBetter => format!("better, or no change: {values}"),
        MetricResult::Same | MetricResult::Changed => format!("not worse: {values}"),
    };
    CiCase { name: format!("{} is not worse", row.metric), result, message, place }
}

/// What became of a metric. Where a comparison as a whole is doubtful, or has too few runs ever to show a regression, nothing held.
pub(super) fn metric_result(row: &ComparedMetric, comparison: &RunComparison) -> CaseResult {
    match row.result {
        _ if !comparison_doubts(comparison).is_empty() => CaseResult::Unknown,
        MetricResult::Worse => CaseResult::Crossed,
        MetricResult::PerhapsWorse | MetricResult::NoData => CaseResult::Unknown,
        _ if comparison.weak => CaseResult::Unknown,
        MetricResult::Same | MetricResult::PerhapsBetter | MetricResult::Better | MetricResult::Changed => CaseResult::Held,
    }
}

fn of_errors(report: &CiReport) -> CiSuite {
    let case =
        |error: &CiError| CiCase { place: error.place.clone(), ..whole("closestorm can run", CaseResult::Broken, error.text.clone()) };
    let mut cases: Vec<CiCase> = report.errors.iter().map(case).collect();
    if cases.is_empty() {
        cases.push(whole("closestorm can run", CaseResult::Broken, "nothing was measured".to_owned()));
    }
    CiSuite {
        name: format!("closestorm {}", report.scenario).trim_end().to_owned(),
        class: class(&report.scenario),
        started: String::new(),
        time_s: 0.0,
        properties: Vec::new(),
        cases,
        picture: None,
    }
}

/// A case that is about no expectation.
fn whole(name: &str, result: CaseResult, message: String) -> CiCase {
    CiCase { name: name.to_owned(), result, message, place: None }
}

/// Services take dots for packages: the only ones are those between our words.
fn class(scenario: &str) -> String {
    let words = scenario.split_whitespace().map(|word| word.replace('.', "_"));
    std::iter::once("closestorm".to_owned()).chain(words).collect::<Vec<_>>().join(".")
}

/// GitLab counts only the first of two cases with one name.
fn name_each_once(suites: &mut [CiSuite]) {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for case in suites.iter_mut().flat_map(|suite| &mut suite.cases) {
        let times = seen.entry(case.name.clone()).or_default();
        *times += 1;
        if *times > 1 {
            case.name = format!("{} ({times})", case.name);
        }
    }
}
