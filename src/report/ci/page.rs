//! `report.md` for a pull request, and the summary of a step: answer and expectations first, then what happened.

use super::super::document::{Block, Table};
use super::super::{compared, markdown, phrase};
use super::cases::{CaseInRuns, CaseResult, CiSuite, in_runs, suites};
use super::record::{CiReport, CiRun};
use crate::number;
use crate::results::record::Summary;
use crate::verdict::Outcome;

/// Rows of a table of codes.
const MOST_CODES: usize = 20;
/// Runs of which the figures are shown; all have their cases.
const MOST_RUNS: usize = 3;

/// The page as GitHub-flavoured Markdown, whatever names and close reasons say in it.
pub fn page(report: &CiReport) -> String {
    let suites = suites(report);
    let result = overall(&suites);
    let mut blocks = vec![Block::Verdict { result: result.to_owned(), text: counted(&suites) }];
    let compared_at = report.comparison.is_some().then_some(report.runs.len());
    if let Some(comparison) = &report.comparison {
        blocks.push(Block::Heading("Comparison".to_owned()));
        blocks.extend(compared::blocks(comparison));
    }
    let others = suites.iter().enumerate().filter(|(at, _)| Some(*at) != compared_at).flat_map(|(_, suite)| &suite.cases);
    let others = in_runs(others);
    if compared_at.is_some() && !others.is_empty() {
        blocks.push(Block::Heading("Expectations".to_owned()));
    }
    blocks.extend(checks(&others));
    for run in report.runs.iter().take(MOST_RUNS) {
        blocks.extend(of_run(run, report.runs.len() > 1));
    }
    if report.runs.len() > MOST_RUNS {
        let more = number::counted((report.runs.len() - MOST_RUNS) as u64, "run");
        blocks.push(Block::Paragraph(format!("The figures of {more} more are in their folders.")));
    }
    markdown::page(format!("closestorm {}", report.scenario).trim_end(), &blocks, &|_| String::new())
}

/// The worst of all cases, in the words of a verdict.
fn overall(suites: &[CiSuite]) -> &'static str {
    let any = |result: CaseResult| suites.iter().flat_map(|suite| &suite.cases).any(|case| case.result == result);
    match () {
        () if any(CaseResult::Crossed) => "fail",
        () if any(CaseResult::Broken) || any(CaseResult::Unknown) => "inconclusive",
        () => "pass",
    }
}

/// `2 of 5 failed, 1 cannot be told`.
fn counted(suites: &[CiSuite]) -> String {
    let cases = || suites.iter().flat_map(|suite| &suite.cases);
    let count = |results: &[CaseResult]| cases().filter(|case| results.contains(&case.result)).count() as u64;
    let (failed, unknown) = (count(&[CaseResult::Crossed]), count(&[CaseResult::Unknown, CaseResult::Broken]));
    let all = number::counted(cases().count() as u64, "check");
    match (failed, unknown) {
        (0, 0) => format!("{all} passed"),
        (0, unknown) => format!("{} of {all} cannot be judged", number::count(unknown)),
        (failed, 0) => format!("{} of {all} failed", number::count(failed)),
        (failed, unknown) => format!("{} of {all} failed, {} cannot be judged", number::count(failed), number::count(unknown)),
    }
}

/// What was expected and what was observed, in a row for all runs.
fn checks(checks: &[CaseInRuns<'_>]) -> Option<Block> {
    let several = checks.iter().any(|check| check.cases.len() > 1);
    let mut table = if several {
        Table::new(4, &["", "Check", "Held in", "What was observed"])
    } else {
        Table::new(3, &["", "Check", "What was observed"])
    };
    table.rows.extend(checks.iter().map(|check| row(check, several)));
    (!table.rows.is_empty()).then_some(Block::Table(table))
}

fn row(check: &CaseInRuns<'_>, several: bool) -> Vec<String> {
    let any = |result: CaseResult| check.cases.iter().any(|case| case.result == result);
    let mark = match () {
        () if any(CaseResult::Crossed) => "fail",
        () if any(CaseResult::Unknown) || any(CaseResult::Broken) => "inconclusive",
        () => "pass",
    };
    let mut row = vec![phrase::mark(mark).to_owned(), check.name.to_owned()];
    if several {
        let (held, all) = check.held();
        row.push(format!("{} of {}", number::count(held as u64), number::count(all as u64)));
    }
    row.push(check.message());
    row
}

fn of_run(run: &CiRun, several: bool) -> Vec<Block> {
    let summary = &run.summary;
    let heading = if several { format!("Run with seed {}", summary.seed) } else { "What happened".to_owned() };
    let mut blocks = vec![Block::Heading(heading)];
    let said = summary.question.iter().map(|question| format!("Question: {question}")).chain(summary.verdict.answer.clone());
    blocks.extend(said.map(Block::Paragraph));
    let [p50, _, p99, _] = phrase::reconnect_quantiles(&summary.reconnect, summary.measured_ms);
    let mut figures = vec![
        ("verdict".to_owned(), Outcome::parse(&summary.verdict.result).name().to_owned()),
        ("clients".to_owned(), number::count(summary.population())),
        ("connection attempts".to_owned(), number::count(summary.attempts.counts.total)),
        ("most attempts in one second".to_owned(), number::count(summary.attempts.peak_per_s)),
        ("connections that ended".to_owned(), number::count(summary.connections.closed)),
    ];
    if summary.reconnect.affected > 0 {
        figures.push(("time to reconnect".to_owned(), format!("p50 {p50}, p99 {p99}")));
    }
    figures.extend((!run.folder.is_empty()).then(|| ("run folder".to_owned(), run.folder.clone())));
    blocks.push(Block::Figures(figures));
    blocks.extend(closes(summary));
    blocks.extend([Block::Paragraph("Run it again:".to_owned()), Block::Command(summary.command.clone())]);
    blocks
}

/// What clients were told when connections ended, with the reasons of the server.
fn closes(summary: &Summary) -> Option<Block> {
    let mut rows: Vec<_> = summary.close_reasons.iter().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.count));
    let mut table = Table::new(2, &["Close code", "Reason", "Connections"]);
    let row = |code: u16, reason: &str, count: u64| vec![phrase::code(code), reason.to_owned(), number::count(count)];
    table.rows.extend(rows.iter().take(MOST_CODES).map(|one| row(one.code, &one.reason, one.count)));
    (!table.rows.is_empty()).then_some(Block::Table(table))
}
