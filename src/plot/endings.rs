//! Chart: the endings matrix, causes against reported codes, for the client's side and for the server's.
//!
//! Shade is the share of the cause's connections, the number is their count.

use super::Loaded;
use super::scene::{Ink, LABEL, NAME, NOTE, Scene, TextAnchor, on_heat};
use super::sheet::{self, FOOT, MARGIN, TOP, WIDTH};
use crate::close;
use crate::fault::Side;
use crate::metrics::told_apart::{OTHER_CODE, code_word};
use crate::number;
use std::collections::{BTreeMap, BTreeSet};

const LABELS: f64 = 250.0;
const ROW: f64 = 24.0;
const CELL_MIN: f64 = 46.0;
const CELL_MAX: f64 = 74.0;
const BETWEEN: f64 = 34.0;
/// Room for a block's name.
const BLOCK_MIN: f64 = 150.0;
const HEAD: f64 = 44.0;
/// Codes of a side beyond this share a column: the least frequent.
const COLUMNS_MAX: usize = 12;
/// Heads the endings of which the server has no account.
pub(crate) const NO_RECORD: &str = "no record";
/// Causes beyond this share the last row.
const ROWS_MAX: usize = 40;

/// Whether a connection ended.
pub(super) fn applies(loaded: &Loaded) -> bool {
    loaded.summary.connections.closed > 0 || !loaded.closes.is_empty()
}

/// Draws it.
pub(super) fn scene(loaded: &Loaded) -> Scene {
    let sub = "How connections ended: cause × reported status code";
    let matrix = matrix(loaded);
    if matrix.rows.is_empty() {
        return sheet::empty(loaded, "No connection ended", sub, "There are no endings to show");
    }
    let (at_client, at_server) = (matrix.client.len() as f64, matrix.server.len() as f64);
    let beside = LABELS + BETWEEN + 2.0 * MARGIN;
    let width = (beside + at_client * CELL_MIN + (at_server * CELL_MIN).max(BLOCK_MIN)).max(WIDTH);
    let room = width - beside;
    let cell = (room / (at_client + at_server)).min((room - BLOCK_MIN) / at_client).min(CELL_MAX);
    let meanings = NOTE.wrap(&meanings(&matrix), width - 2.0 * MARGIN, 4);
    let top = TOP + HEAD;
    let bottom = top + matrix.rows.len() as f64 * ROW;
    let height = bottom + 22.0 + meanings.len() as f64 * 16.0 + FOOT;

    let mut scene = sheet::open(loaded, width, height, &matrix.title(), sub);
    scene.text(MARGIN, top - 8.0, TextAnchor::Start, NAME, "Cause (connections)");
    for (n, (cause, row)) in matrix.rows.iter().enumerate() {
        let y = top + n as f64 * ROW + 16.5;
        let count = number::count(row.total);
        scene.text(MARGIN, y, TextAnchor::Start, LABEL, LABEL.fit(cause, LABELS - 20.0 - LABEL.width(&count)));
        scene.text(MARGIN + LABELS - 10.0, y, TextAnchor::End, LABEL.in_ink(Ink::Muted), count);
    }
    let server_left = MARGIN + LABELS + (matrix.client.len() as f64 * cell).max(BLOCK_MIN) + BETWEEN;
    let name = |code: &Option<u16>| code.map_or_else(|| NO_RECORD.to_string(), code_word);
    let client = matrix.client.iter().map(|code| (name(code), pick(&matrix, |row| row.client.get(code))));
    block(&mut scene, (MARGIN + LABELS, top, cell), "Client app sees", client.collect(), &matrix);
    let server = matrix.server.iter().map(|code| (name(code), pick(&matrix, |row| row.server.get(code))));
    block(&mut scene, (server_left, top, cell), "Server app sees", server.collect(), &matrix);
    for (n, line) in meanings.iter().enumerate() {
        scene.text(MARGIN, bottom + 24.0 + n as f64 * 16.0, TextAnchor::Start, NOTE, line.as_str());
    }
    let total = matrix.rows.iter().map(|(_, row)| row.total).sum();
    let counted = format!("n = {} · darker: a larger share of its cause", number::counted(total, "ending"));
    sheet::close(scene, loaded, &counted)
}

#[derive(Default)]
pub(crate) struct EndingLine {
    pub(crate) total: u64,
    pub(crate) client: BTreeMap<Option<u16>, u64>,
    pub(crate) server: BTreeMap<Option<u16>, u64>,
}

/// Causes against codes.
pub(crate) struct Matrix {
    pub(crate) rows: Vec<(String, EndingLine)>,
    /// The side whose codes the title is about.
    of: Side,
    /// Its codes, before some are put together; whether there were others, of which the number is not known.
    codes: (usize, bool),
    pub(crate) client: Vec<Option<u16>>,
    pub(crate) server: Vec<Option<u16>>,
}

impl Matrix {
    pub(crate) fn title(&self) -> String {
        let side = self.of.word();
        let codes = |row: &EndingLine| if self.of == Side::Client { row.client.clone() } else { row.server.clone() };
        let cells = self.rows.iter().flat_map(|(cause, row)| codes(row).into_iter().filter_map(move |(code, n)| Some((cause, code?, n))));
        let all_other = if self.of == Side::Client { &self.client } else { &self.server } == &[Some(OTHER_CODE)];
        let cells = cells.filter(|(_, code, _)| *code != OTHER_CODE || all_other);
        let Some((cause, code, n)) = cells.max_by_key(|(_, code, n)| (*n, std::cmp::Reverse(*code))) else { return String::new() };
        let causes = number::counted(self.rows.len() as u64, "cause");
        format!(
            "{causes}, {}; most often {cause} → {} ({})",
            match self.codes {
                (0, true) => format!("other {side} codes"),
                (codes, others) => number::counted(codes as u64, &format!("{side} code")) + if others { " and others" } else { "" },
            },
            code_word(code),
            number::count(n)
        )
    }
}

/// The matrix of a run; causes and codes beyond what can be drawn are put together.
pub(crate) fn matrix(loaded: &Loaded) -> Matrix {
    let endings = if loaded.closes.is_empty() { &loaded.summary.endings } else { &loaded.closes };
    let mut causes: BTreeMap<&str, EndingLine> = BTreeMap::new();
    let ended = || endings.iter().filter(|ending| ending.count > 0);
    let own_client = most_frequent(ended().filter_map(|ending| Some((ending.client_code?, ending.count))));
    let own_server = most_frequent(ended().filter_map(|ending| Some((ending.server_code?, ending.count))));
    let own = |codes: &BTreeSet<u16>, code: u16| if codes.contains(&code) { code } else { OTHER_CODE };
    for ending in ended() {
        let row = causes.entry(&ending.cause).or_default();
        row.total += ending.count;
        *row.client.entry(ending.client_code.map(|code| own(&own_client, code))).or_default() += ending.count;
        *row.server.entry(ending.server_code.map(|code| own(&own_server, code))).or_default() += ending.count;
    }
    let columns = |codes: fn(&EndingLine) -> &BTreeMap<Option<u16>, u64>| {
        let mut columns: Vec<Option<u16>> = causes.values().flat_map(|row| codes(row).keys().copied()).collect();
        columns.sort_by_key(|code| code.map_or(u32::MAX, u32::from)); // no account: last
        columns.dedup();
        columns
    };
    let (client, server) = (columns(|row| &row.client), columns(|row| &row.server));
    // Of real clients nobody may have seen what they were told.
    let of = if client.iter().all(Option::is_none) { Side::Server } else { Side::Client };
    let mut rows: Vec<(String, EndingLine)> = causes.into_iter().map(|(cause, row)| (cause.to_string(), row)).collect();
    let order = |cause: &str| loaded.summary.faults.iter().position(|fault| fault.id == cause).unwrap_or(usize::MAX);
    rows.sort_by_key(|(cause, _)| order(cause)); // faults as in the scenario, then the others by name
    if rows.len() > ROWS_MAX {
        let mut rest = EndingLine::default();
        let others = rows.split_off(ROWS_MAX - 1);
        let name = format!("{} other causes", others.len());
        for (_, row) in others {
            rest.total += row.total;
            row.client.into_iter().for_each(|(code, n)| *rest.client.entry(code).or_default() += n);
            row.server.into_iter().for_each(|(code, n)| *rest.server.entry(code).or_default() += n);
        }
        rows.push((name, rest));
    }
    let told = ended().filter_map(|ending| if of == Side::Client { ending.client_code } else { ending.server_code });
    let mut codes: BTreeSet<u16> = told.collect();
    // What stands for several is none of them.
    let others = codes.remove(&OTHER_CODE);
    Matrix { rows, of, codes: (codes.len(), others), client, server }
}

/// Codes that have a column of their own: all, or the most frequent, of equal ones the lowest.
fn most_frequent(endings: impl Iterator<Item = (u16, u64)>) -> BTreeSet<u16> {
    let mut counts: BTreeMap<u16, u64> = BTreeMap::new();
    endings.for_each(|(code, n)| *counts.entry(code).or_default() += n);
    let mut codes: Vec<(u16, u64)> = counts.into_iter().collect();
    if codes.len() > COLUMNS_MAX {
        codes.sort_by_key(|(code, n)| (std::cmp::Reverse(*n), *code));
        codes.truncate(COLUMNS_MAX - 1);
    }
    codes.into_iter().map(|(code, _)| code).collect()
}

fn pick<'a>(matrix: &'a Matrix, count: impl Fn(&'a EndingLine) -> Option<&'a u64>) -> Vec<u64> {
    matrix.rows.iter().map(|(_, row)| count(row).copied().unwrap_or(0)).collect()
}

/// One side: a column for each code with its counts by row.
fn block(scene: &mut Scene, (left, top, cell): (f64, f64, f64), name: &str, columns: Vec<(String, Vec<u64>)>, matrix: &Matrix) {
    let width = columns.len() as f64 * cell;
    scene.text(left, top - 30.0, TextAnchor::Start, NAME, NAME.fit(name, width.max(BLOCK_MIN)));
    for n in 0..=matrix.rows.len() {
        let y = top + n as f64 * ROW;
        scene.rule((left, y), (left + width, y), Ink::Grid, 1.0);
    }
    for (column, (code, counts)) in columns.iter().enumerate() {
        let x = left + column as f64 * cell;
        scene.text(x + cell / 2.0, top - 8.0, TextAnchor::Middle, LABEL, code.as_str());
        for (n, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let share = *count as f64 / matrix.rows[n].1.total.max(1) as f64;
            let heat = ((share * 5.0) as usize).min(4);
            let y = top + n as f64 * ROW;
            scene.rect(x + 1.0, y + 1.0, cell - 2.0, ROW - 2.0, Ink::Heat(heat));
            let text = LABEL.fit(&short(*count), cell - 2.0);
            scene.text(x + cell / 2.0, y + 16.5, TextAnchor::Middle, LABEL.in_ink(on_heat(heat)), text);
        }
    }
}

/// A count that fits a cell.
fn short(count: u64) -> String {
    match count {
        0..100_000 => number::count(count),
        100_000..10_000_000 => format!("{}k", number::count(count / 1000)),
        _ => format!("{}M", number::count(count / 1_000_000)),
    }
}

pub(crate) fn meanings(matrix: &Matrix) -> String {
    let codes: BTreeSet<u16> = matrix.client.iter().chain(&matrix.server).copied().flatten().collect();
    let named = |code| if code == OTHER_CODE { "other: less frequent codes".to_string() } else { format!("{code} {}", close::name(code)) };
    let mut parts: Vec<String> = codes.into_iter().map(named).collect();
    if matrix.server.contains(&None) {
        parts.push("no record: the server was killed, is not embedded, or did not notice".to_string());
    }
    if matrix.client.contains(&None) {
        parts.push("no record at the client: nobody sees what a real client is told".to_string());
    }
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::fixture;
    use crate::results::record::EndingRow;

    #[test]
    fn the_most_frequent_codes_have_a_column_and_the_others_share_one() {
        let mut loaded = fixture::crash_storm();
        let ending = EndingRow { cause: "remote".to_owned(), server_code: None, count: 1, ..loaded.closes[0].clone() };
        let row = |code: u16, count| EndingRow { client_code: Some(code), count, ..ending.clone() };
        loaded.closes = (3000..3200).map(|code| row(code, 1 + u64::from(code % 20 == 0))).chain([row(0, 9), row(OTHER_CODE, 50)]).collect();
        let drawn = format!("{:?}", scene(&loaded));
        assert!(drawn.contains("Server app sees"), "there is room for the name of a side with one column");
        assert!(matrix(&loaded).client.len() <= COLUMNS_MAX);
        for part in [
            "\"0\"",
            "\"other\"",
            "other: less frequent codes",
            "\"3020\"",
            "\"no record\"",
            "no record: the server",
            "201 client codes and others",
        ] {
            assert!(drawn.contains(part), "{part}: {drawn}");
        }
        assert!(!drawn.contains("\"3001\"") && !drawn.contains("65535") && drawn.contains("remote → 0 (9)"), "{drawn}");
    }
}
