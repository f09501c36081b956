//! What GitHub reads of a job: annotations from its output, and a page of Markdown that must not be too long.

use super::cases::{CaseInRuns, CaseResult, CiCase, in_runs, suites};
use super::record::CiReport;
use crate::number;
use crate::plan::ScenarioPlace;
use crate::text::printable;

/// Longer summaries of a step are refused as a whole.
pub const MOST_SUMMARY_BYTES: usize = 1 << 20;
/// GitHub shows so many annotations of a kind for each step.
const MOST_SHOWN: usize = 10;
/// Characters of a message; longer ones are shortened.
const MOST_CHARACTERS: usize = 2000;

/// A line for each annotation: `::error file=…,line=…,title=…::…`. One expectation of several runs is one annotation; what cannot be told
/// is a warning. Of more than GitHub shows the number is said.
pub fn annotations(report: &CiReport) -> String {
    let suites = suites(report);
    let cases: Vec<&CiCase> = suites.iter().flat_map(|suite| &suite.cases).collect();
    let of = |results: &[CaseResult]| cases.iter().copied().filter(|case| results.contains(&case.result)).collect::<Vec<_>>();
    let mut out = String::new();
    for (level, cases) in [("error", of(&[CaseResult::Broken, CaseResult::Crossed])), ("warning", of(&[CaseResult::Unknown]))] {
        let told = in_runs(cases);
        let shown = if told.len() > MOST_SHOWN { MOST_SHOWN - 1 } else { told.len() };
        for told in &told[..shown] {
            out += &command(level, told.place, told.name, &message(told));
        }
        if let more @ 1.. = told.len() - shown {
            out += &command(
                level,
                None,
                "closestorm",
                &format!("{} more; all are in junit.xml and in the summary", number::count(more as u64)),
            );
        }
    }
    out
}

/// What was observed, and in how many runs.
fn message(told: &CaseInRuns<'_>) -> String {
    match told.cases.len() as u64 {
        1 => told.message(),
        runs => format!("in {}: {}", number::counted(runs, "run"), told.message()),
    }
}

fn command(level: &str, place: Option<&ScenarioPlace>, title: &str, message: &str) -> String {
    let place = place.map_or_else(String::new, |place| format!("file={},line={},", property(&place.file), place.line));
    format!("::{level} {place}title={}::{}\n", property(title), data(message))
}

/// The text of a command: no line of it is another command.
fn data(text: &str) -> String {
    let text = printable(text);
    let mut short: String = text.chars().take(MOST_CHARACTERS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a command: it ends where we end it.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// The page where `left` bytes are left for it: whole, or its first lines and what was cut; `None` where not even that fits.
pub fn cut(page: &str, left: usize) -> Option<String> {
    if page.len() <= left {
        return Some(page.to_owned());
    }
    let said = |lines: usize| {
        let lines = number::counted(lines as u64, "line");
        format!(
            "\n\n**Cut: {lines} of this summary did not fit into the 1 MiB that GitHub shows.** The report in the run folder has all of it.\n"
        )
    };
    let lines: Vec<&str> = page.split_inclusive('\n').collect();
    let room = left.checked_sub(said(lines.len()).len())?;
    let (mut kept, mut length) = (0, 0);
    while let Some(line) = lines.get(kept).filter(|line| length + line.len() <= room) {
        (kept, length) = (kept + 1, length + line.len());
    }
    (kept > 0).then(|| lines[..kept].concat() + &said(lines.len() - kept))
}
