//! A comparison of runs for a terminal, as benchstat prints one, and as Markdown. Decides nothing.

use super::document::{Block, Table};
use super::lines::{Page, wrapped};
use super::{markdown as text, phrase};
use crate::compare::{ComparedMetric, ComparedSide, MetricResult, RunComparison};
use crate::number;
use std::path::Path;

/// What stands where nothing is said of a change, as in benchstat.
const NOTHING: &str = "~";
/// Names of metrics take so many columns at least; longer ones stand on a line of their own where the others would not fit beside them.
const SHORTEST_NAME: usize = 18;

/// The comparison for a terminal of `width` columns: the answer first. `colour` adds ANSI colours and nothing else.
pub fn terminal(comparison: &RunComparison, width: usize, colour: bool) -> String {
    let mut page = Page::new(width, colour);
    for line in wrapped(&format!("{} {}", phrase::mark(verdict(comparison)), comparison.answer), width.max(60)) {
        page.line(&page.verdict(verdict(comparison), &line));
    }
    page.line("");
    page.entry("base", &side(&comparison.base));
    page.entry("new", &side(&comparison.new));
    page.line("");
    for line in table(&comparison.metrics, width.max(60)) {
        page.line(&line);
    }
    page.line("");
    let notes = [details(comparison), notes(comparison)].concat();
    for note in notes {
        for (at, line) in wrapped(&note, width.max(60) - 2).into_iter().enumerate() {
            page.line(&format!("{}{line}", if at == 0 { "- " } else { "  " }));
        }
    }
    page.into_text()
}

/// The comparison as Markdown, for a pull request. `chart`: name of a picture beside it, and its title.
pub fn markdown(comparison: &RunComparison, chart: Option<(&'static str, &str)>) -> String {
    let mut blocks = blocks(comparison);
    blocks.extend(chart.map(|(name, _)| Block::Chart(name)));
    text::page("Comparison of runs", &blocks, &|_| chart.map_or_else(String::new, |(_, title)| title.to_owned()))
}

/// What a report says of a comparison.
pub(super) fn blocks(comparison: &RunComparison) -> Vec<Block> {
    let mut table = Table::new(2, &["", "Metric", "Base", "New", "Change", "95 % interval", "p (Holm)"]);
    for row in &comparison.metrics {
        let cells = [mark(row.result).to_owned(), row.metric.clone(), middle(row, row.base_median), middle(row, row.new_median)];
        let change = [change(row), interval(row).unwrap_or_default(), p(row)];
        table.rows.push(cells.into_iter().chain(change).collect());
    }
    let sides = [("Base", side(&comparison.base)), ("New", side(&comparison.new))].map(|(what, value)| (what.to_owned(), value));
    vec![
        Block::Verdict { result: verdict(comparison).to_owned(), text: comparison.answer.clone() },
        Block::Figures(sides.into()),
        Block::Table(table),
        Block::List([details(comparison), notes(comparison)].concat()),
    ]
}

/// In the words of a verdict, for its mark and colour.
fn verdict(comparison: &RunComparison) -> &'static str {
    match comparison.exit_code {
        0 => "pass",
        99 => "fail",
        _ => "inconclusive",
    }
}

/// `6 runs in results/before`.
fn side(side: &ComparedSide) -> String {
    let runs = number::counted(side.runs, "run");
    let parents: Vec<Option<&Path>> = side.folders.iter().map(|folder| Path::new(folder).parent()).collect();
    match (&side.folders[..], parents.first()) {
        ([only], _) => format!("{runs}: {only}"),
        (_, Some(Some(parent))) if parents.iter().all(|other| *other == Some(*parent)) && !parent.as_os_str().is_empty() => {
            format!("{runs} in {}", parent.display())
        }
        (folders, _) => format!("{runs}: {}", folders.join(", ")),
    }
}

fn table(rows: &[ComparedMetric], width: usize) -> Vec<String> {
    let head = ["", "base", "new", "change", "p"].map(str::to_owned);
    let cells = |row: &ComparedMetric| {
        let change = match interval(row) {
            Some(interval) if change(row) != NOTHING => format!("{} {interval}", change(row)),
            _ => change(row),
        };
        [row.metric.clone(), middle(row, row.base_median), middle(row, row.new_median), change, p(row)]
    };
    let all: Vec<[String; 5]> = std::iter::once(head).chain(rows.iter().map(cells)).collect();
    let widest = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let numbers: usize = (1..5).map(|column| widest(column) + 2).sum();
    // Two columns are for the mark.
    let name = widest(0).min(width.saturating_sub(numbers + 2)).max(SHORTEST_NAME);
    let mut lines = Vec::new();
    let marks = std::iter::once(" ").chain(rows.iter().map(|row| mark(row.result)));
    for (row, mark) in all.iter().zip(marks) {
        let (mut first, mut mark) = (row[0].as_str(), mark);
        if first.chars().count() > name {
            lines.push(format!("{mark} {first}"));
            (first, mark) = ("", " ");
        }
        let numbers: String = (1..5).map(|column| format!("  {:>1$}", row[column], widest(column))).collect();
        lines.push(format!("{mark} {first:name$}{numbers}").trim_end().to_owned());
    }
    lines
}

fn mark(result: MetricResult) -> &'static str {
    match result {
        MetricResult::Worse => "✗",
        MetricResult::Better => "✓",
        MetricResult::PerhapsWorse | MetricResult::NoData => "?",
        MetricResult::Changed => "!",
        MetricResult::Same | MetricResult::PerhapsBetter => " ",
    }
}

/// A median: `2.31 s`, `not reached`.
fn middle(row: &ComparedMetric, median: Option<f64>) -> String {
    match median {
        None => "no data".to_owned(),
        Some(value) if value.is_infinite() => "not reached".to_owned(),
        Some(value) => number::observed(value, &row.unit),
    }
}

/// `~` where nothing is to be said.
fn change(row: &ComparedMetric) -> String {
    match (row.result, row.shift) {
        (MetricResult::Same | MetricResult::NoData, _) | (_, None) => NOTHING.to_owned(),
        (_, Some(shift)) => signed(row, shift),
    }
}

/// `[+7.1 %, +12.5 %]`, or `≈[…]` where it is by bootstrap; nothing where so few runs have no interval.
fn interval(row: &ComparedMetric) -> Option<String> {
    if let Some((low, high)) = row.bootstrap_low.zip(row.bootstrap_high) {
        return Some(format!("≈[{}, {}]", signed(row, low), signed(row, high)));
    }
    let (low, high) = row.shift_low.zip(row.shift_high)?;
    let unknown = low == f64::NEG_INFINITY && high == f64::INFINITY;
    (!unknown).then(|| format!("[{}, {}]", signed(row, low), signed(row, high)))
}

/// A change: in percent of the base, or where that says nothing in its own unit.
fn signed(row: &ComparedMetric, change: f64) -> String {
    let sign = if change < 0.0 { "−" } else { "+" };
    let size = change.abs();
    let base = row.base_median.filter(|base| base.is_finite() && *base != 0.0);
    match (base, row.unit.as_str()) {
        _ if size.is_infinite() => format!("{sign}∞"),
        (_, "percent") => format!("{sign}{} pts", number::trimmed(size, 1)),
        (Some(base), _) => format!("{sign}{:.1} %", size / base.abs() * 100.0),
        (None, unit) => format!("{sign}{}", number::observed(size, unit)),
    }
}

fn p(row: &ComparedMetric) -> String {
    row.p_holm.map_or_else(String::new, |p| if p < 0.0005 { "<0.001".to_owned() } else { format!("{p:.3}") })
}

/// What decided, in words.
fn details(comparison: &RunComparison) -> Vec<String> {
    let mut told = Vec::new();
    for row in &comparison.metrics {
        let (what, towards) = match (row.result, row.worse.as_str()) {
            (MetricResult::Worse, "higher") | (MetricResult::Better, "lower") => (row.result, row.shift_low),
            (MetricResult::Worse | MetricResult::Better, _) => (row.result, row.shift_high),
            _ => continue,
        };
        let word = if what == MetricResult::Worse { "worse" } else { "better" };
        let matters = row.least_change.map_or_else(String::new, |least| format!("; changes up to {} do not matter", unsigned(row, least)));
        let least = towards.map_or_else(String::new, |end| format!(", at least {} with 95 % confidence", signed(row, end)));
        told.push(format!("{}: {word} by {}{least}{matters}", row.metric, change(row)));
    }
    told.extend(comparison.reasons.iter().cloned());
    told
}

fn unsigned(row: &ComparedMetric, change: f64) -> String {
    signed(row, change).trim_start_matches('+').to_owned()
}

fn notes(comparison: &RunComparison) -> Vec<String> {
    let replaced = comparison.metrics.iter().filter(|row| row.result != MetricResult::NoData);
    let mut notes: Vec<String> = replaced.filter_map(|row| Some(format!("{}: {}", row.metric, row.note.as_ref()?))).collect();
    for code in &comparison.new_close_codes {
        let (count, runs) = (number::counted(code.count, "connection"), number::counted(code.runs, "run"));
        notes.push(format!("new close code {} on the {} side: {count} in {runs}; no run of base had it", code.code, code.side));
    }
    notes.extend(comparison.differences.iter().cloned());
    if comparison.weak {
        notes.push("one to three runs on a side are weak evidence and never a regression: compare at least four, better six".to_owned());
    }
    if comparison.metrics.iter().any(|row| row.bootstrap_low.is_some()) {
        notes.push(
            "≈ is a block bootstrap over the intervals of the runs: it does not know how much runs differ from each other".to_owned(),
        );
    }
    if comparison.metrics.iter().any(|row| change(row) == NOTHING && row.result != MetricResult::NoData) {
        notes.push(format!("{NOTHING} is no change beyond chance, or none that matters; p is adjusted for the number of metrics"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::UnknownCode;

    fn row(metric: &str, unit: &str, result: MetricResult, medians: [f64; 2], [shift, low, high]: [f64; 3], p: f64) -> ComparedMetric {
        ComparedMetric {
            metric: metric.to_owned(),
            unit: unit.to_owned(),
            worse: "higher".to_owned(),
            result,
            base: vec![medians[0]; 6],
            new: vec![medians[1]; 6],
            base_median: Some(medians[0]),
            new_median: Some(medians[1]),
            shift: Some(shift),
            shift_low: Some(low),
            shift_high: Some(high),
            bootstrap_low: None,
            bootstrap_high: None,
            least_change: Some(50_000.0),
            p: Some(p),
            p_holm: Some(p),
            note: None,
        }
    }

    fn comparison() -> RunComparison {
        let side = |name: &str| ComparedSide { runs: 6, folders: (1..=6).map(|run| format!("results/{name}/{run}")).collect() };
        let never = f64::INFINITY;
        let none = [-never, never];
        RunComparison {
            schema_version: 1,
            result: "regression".to_owned(),
            exit_code: 99,
            answer: "Regression: 1 of 6 metrics worse.".to_owned(),
            reasons: vec!["rtt p50: results/new/1: no data: nothing of this kind was measured".to_owned()],
            weak: false,
            base: side("base"),
            new: side("new"),
            differences: vec!["what is tested differs: target.embedded.backlog: 1024 → 64".to_owned()],
            metrics: vec![
                row("reconnect_time p99", "us", MetricResult::Worse, [1e6, 1.1e6], [1e5, 7e4, 1.25e5], 0.013),
                row("clients_lost count", "count", MetricResult::Same, [0.0, 0.0], [0.0, 0.0, 0.0], 1.0),
                row("closes{reported=1006} share", "percent", MetricResult::PerhapsWorse, [98.0, 99.5], [1.5, -0.25, 2.0], 0.1),
                row(
                    "closes{cohort=web,reported=1006,side=server} share_of{side=server}",
                    "percent",
                    MetricResult::Same,
                    [98.0, 98.1],
                    [0.1, 0.0, 0.2],
                    0.4,
                ),
                row("detect p99", "us", MetricResult::Worse, [2e6, never], [never, never, never], 0.0004),
                ComparedMetric {
                    base_median: None,
                    new_median: None,
                    shift: None,
                    p: None,
                    p_holm: None,
                    ..row("rtt p50", "us", MetricResult::NoData, [0.0, 0.0], [0.0, none[0], none[1]], 1.0)
                },
            ],
            log_rank_reconnect: Some(12.5),
            new_close_codes: vec![UnknownCode { side: "client".to_owned(), code: "1011".to_owned(), count: 14, runs: 2 }],
        }
    }

    #[test]
    fn the_answer_comes_first_and_lines_fit_80_columns() {
        let text = terminal(&comparison(), 80, false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "✗ Regression: 1 of 6 metrics worse.");
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
        for part in [
            "base         6 runs in results/base",
            "✗ reconnect_time p99",
            "1 s        1.1 s    +10.0 % [+7.0 %, +12.5 %]   0.013",
            "  clients_lost count",
            "~   1.000",
            "+1.5 pts [−0.2 pts, +2 pts]   0.100",
            "\n  closes{cohort=web,reported=1006,side=server} share_of{side=server}\n",
            "not reached",
            "+∞ [+∞, +∞]  <0.001",
            "no data",
            "- reconnect_time p99: worse by +10.0 %, at least +7.0 % with 95 % confidence;\n  changes up to 5.0 % do not matter",
            "- new close code 1011 on the client side: 14 connections in 2 runs",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert_eq!(text, terminal(&comparison(), 80, false));
        let plain =
            |text: &str| ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[1;31m"].iter().fold(text.to_owned(), |text, code| text.replace(code, ""));
        assert_eq!(plain(&terminal(&comparison(), 80, true)), text);
    }

    #[test]
    fn markdown_has_a_row_for_each_metric() {
        let text = markdown(&comparison(), Some(("compare-reconnect", "Half are back")));
        assert!(text.contains("**✗ Regression: 1 of 6 metrics worse.**"), "{text}");
        assert!(text.contains("![Half are back](compare-reconnect.svg)"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("| ")).count(), 2 + 6, "{text}");
    }
}
