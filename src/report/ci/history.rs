//! `history.csv`: a row for each run, appended, as Otava reads it: a time, attributes, and a number for each metric.

use super::cases::known;
use super::record::CiRun;
use crate::text::printable;

/// Columns before those of the metrics.
pub const HISTORY_COLUMNS: [&str; 5] = ["time", "commit", "scenario", "seed", "verdict"];

/// Why a row does not belong into a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// Of another scenario, or of this one with other expectations.
    #[error("it has other columns: {found}; this run has {wanted}: name another file, or move this one away")]
    Columns {
        /// The first line of the file.
        found: String,
        /// What it should be.
        wanted: String,
    },
    /// A process was killed, or the disk was full.
    #[error("its last line is not complete: remove that line")]
    Torn,
}

/// The header, with its line break, for runs with these expectations: what each is about, and its unit.
pub fn history_header(expected: &[(String, String)]) -> String {
    line(HISTORY_COLUMNS.iter().map(|&name| name.to_owned()).chain(columns(expected).map(|(_, name)| name)))
}

/// The row of a run, with its line break.
///
/// # Errors
/// The metrics that it does not know, in words: Otava takes no row with a gap.
pub fn history_row(run: &CiRun, scenario: &str, commit: &str) -> Result<String, String> {
    let rows = &run.summary.verdict.expectations;
    let expected: Vec<(String, String)> = run.measured.iter().cloned().zip(rows.iter().map(|row| row.unit.clone())).collect();
    let mut cells =
        vec![run.started.clone(), commit.to_owned(), scenario.to_owned(), run.summary.seed.to_string(), run.summary.verdict.result.clone()];
    let mut unknown = Vec::new();
    for (at, name) in columns(&expected) {
        match known(run, &rows[at]) {
            Some(value) => cells.push(value.to_string()),
            None => unknown.push(name),
        }
    }
    if unknown.is_empty() { Ok(line(cells.into_iter())) } else { Err(unknown.join(", ")) }
}

/// Whether rows under this header may be appended to a file that has this text.
///
/// # Errors
/// As [`HistoryError`].
pub fn check_history(text: &str, header: &str) -> Result<(), HistoryError> {
    if text.is_empty() {
        return Ok(());
    }
    let first = text.lines().next().unwrap_or_default().trim_start_matches('\u{feff}');
    if first != header.trim_end() {
        // Of a file that is something else, a line may have any length.
        let found: String = first.chars().take(2 * header.len() + 80).collect();
        return Err(HistoryError::Columns { found: printable(&found), wanted: header.trim_end().to_owned() });
    }
    if text.ends_with('\n') { Ok(()) } else { Err(HistoryError::Torn) }
}

/// Index and name of each metric that has a column: two expectations on one metric share it.
fn columns(expected: &[(String, String)]) -> impl Iterator<Item = (usize, String)> {
    let first = |at: usize| !expected[..at].contains(&expected[at]);
    let name = |(measured, unit): &(String, String)| match unit.as_str() {
        "us" | "percent" => format!("{measured} {unit}"),
        _ => measured.clone(),
    };
    (0..expected.len()).filter(move |at| first(*at)).map(move |at| (at, name(&expected[at])))
}

/// A line of CSV (RFC 4180). Spreadsheets take what begins with these signs for a formula, and branch names come from strangers.
fn line(cells: impl Iterator<Item = String>) -> String {
    let cell = |cell: String| {
        let cell = printable(&cell);
        let cell = if cell.starts_with(['=', '+', '-', '@']) { format!("'{cell}") } else { cell };
        if cell.contains(['"', ',']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
    };
    cells.map(cell).collect::<Vec<_>>().join(",") + "\n"
}
