//! What faults showed: which silent connections a heartbeat finds, and endings that the catalogue does not expect.

use super::document::{Block, Table};
use super::phrase;
use crate::number;
use crate::results::record::{LivenessRow, Summary, SurpriseRow};

/// The sections on silent connections and on surprises; nothing where there were no faults.
pub(super) fn blocks(summary: &Summary) -> Vec<Block> {
    let mut blocks = Vec::new();
    if !summary.liveness.is_empty() {
        blocks.push(Block::Heading("Heartbeats: detection of silent connections".to_string()));
        blocks.push(Block::Paragraph(LIVENESS.to_string()));
        blocks.push(Block::Table(liveness(&summary.liveness)));
    }
    if !summary.faults.is_empty() {
        blocks.push(Block::Heading("Unexpected close codes".to_string()));
        if summary.surprises.is_empty() {
            blocks.push(Block::Paragraph("None: each connection that a fault ended was reported with an expected code.".to_string()));
        } else {
            blocks.push(Block::Paragraph(SURPRISES.to_string()));
            blocks.push(Block::Table(surprises(&summary.surprises)));
        }
    }
    blocks
}

const LIVENESS: &str = "These faults silence connections without ending them, so only a heartbeat can detect them. The expected \
    detection time follows from the interval and the timeout of the heartbeat: the next ping is due at most one interval after the \
    silence begins, and its pong is missing one timeout later. The measured time is from the injection to the pong deadline. The other \
    connections ended in another way, or did not end while the fault was active.";
const SURPRISES: &str = "Reported codes that are not expected for the fault; `closestorm faults KIND` describes what it does and which \
    codes are expected. Either the peer, a second fault or closestorm behaved differently from the documentation.";

fn liveness(rows: &[LivenessRow]) -> Table {
    let head = ["Fault", "Cohort", "Heartbeat", "Expected detection", "Found", "min", "p50", "max", "Otherwise", "Unnoticed"];
    let mut table = Table::new(4, &head);
    for row in rows {
        let times = &row.detect_us;
        let mut cells = vec![row.fault.clone(), row.cohort.clone(), heartbeat(row), should_find(row)];
        cells.push(format!("{} of {}", number::count(times.count), number::count(row.silenced)));
        cells.extend([times.min, times.p50, times.max].map(phrase::dash));
        cells.extend([row.ended_otherwise, row.unnoticed].map(number::count));
        table.rows.push(cells);
    }
    table
}

/// `client, 5 s + 2 s`: interval and timeout.
pub(super) fn heartbeat(row: &LivenessRow) -> String {
    match (row.every_ms, row.timeout_ms) {
        (Some(every), Some(timeout)) => format!("{}, {} + {}", row.heartbeat, ms(every), ms(timeout)),
        _ => "none".to_string(),
    }
}

/// `all, 2 s to 7 s`; `none: over before the timeout`; with the RST that tells the others.
fn should_find(row: &LivenessRow) -> String {
    let mut text = match (&row.why_none, row.earliest_ms, row.latest_ms) {
        (Some(why), ..) => format!("none: {why}"),
        (None, Some(earliest), Some(latest)) if row.finds_share >= 1.0 => format!("all, {} to {}", ms(earliest), ms(latest)),
        (None, Some(earliest), Some(latest)) => {
            format!("{} %, {} to {}", number::quantity(row.finds_share * 100.0), ms(earliest), ms(latest))
        }
        _ => "none".to_string(),
    };
    if let Some(reset) = row.reset_ms.filter(|_| row.finds_share < 1.0) {
        text += &format!("; RST after {}", ms(reset));
    }
    text
}

fn surprises(rows: &[SurpriseRow]) -> Table {
    let mut table = Table::new(5, &["Fault", "Kind", "Side", "Expected", "Reported", "Connections"]);
    for row in rows {
        let observed = phrase::code(row.observed);
        table.rows.push(vec![row.fault.clone(), row.kind.clone(), row.side.clone(), expected(row), observed, number::count(row.count)]);
    }
    table
}

/// `1001 or 1006`; `no ending`.
fn expected(row: &SurpriseRow) -> String {
    let codes: Vec<String> = row.expected.iter().map(u16::to_string).collect();
    if codes.is_empty() { "no ending".to_string() } else { codes.join(" or ") }
}

/// A surprise in a line.
pub(super) fn surprise(row: &SurpriseRow) -> String {
    let (count, observed) = (number::count(row.count), phrase::code(row.observed));
    format!("{count} × {}: the {} app sees {observed}, expected {}", row.fault, row.side, expected(row))
}

fn ms(ms: u64) -> String {
    number::time(ms * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_are_put_into_words() {
        let found = LivenessRow {
            heartbeat: "client".into(),
            every_ms: Some(5_000),
            timeout_ms: Some(2_000),
            finds_share: 1.0,
            earliest_ms: Some(2_000),
            latest_ms: Some(7_000),
            reset_ms: Some(30_000),
            ..LivenessRow::default()
        };
        let some = LivenessRow { finds_share: 0.4, latest_ms: Some(4_000), reset_ms: None, ..found.clone() };
        let why_none = Some("no heartbeat".to_string());
        let none = LivenessRow { why_none, finds_share: 0.0, every_ms: None, heartbeat: "none".into(), ..found.clone() };
        for (row, beat, should) in [
            (&found, "client, 5 s + 2 s", "all, 2 s to 7 s"),
            (&some, "client, 5 s + 2 s", "40 %, 2 s to 4 s"),
            (&none, "none", "none: no heartbeat; RST after 30 s"),
        ] {
            assert_eq!((heartbeat(row).as_str(), should_find(row).as_str()), (beat, should));
        }
    }

    #[test]
    fn a_surprise_says_what_was_expected() {
        let row = SurpriseRow { fault: "slow".into(), side: "client".into(), observed: 1002, count: 3, ..SurpriseRow::default() };
        assert_eq!(surprise(&row), "3 × slow: the client app sees 1002 protocol error, expected no ending");
        let row = SurpriseRow { expected: vec![1001, 1006], ..row };
        assert!(surprise(&row).ends_with("expected 1001 or 1006"));
    }
}
