//! Chart: reported close codes, a bar for what the clients' users were told and one for the server's; below, the HTTP statuses of attempts
//! that did not open.

use super::Loaded;
use super::axis::{self, Axis};
use super::endings;
use super::scene::{Ink, LABEL, NAME, NOTE, Scene, TextAnchor};
use super::sheet::{self, FOOT, MARGIN, Panel, TOP, WIDTH};
use crate::close;
use crate::metrics::meta::SeenFrom;
use crate::metrics::told_apart::{OTHER_CODE, OTHER_WORD, code_word};
use crate::number;
use std::collections::BTreeMap;

const LEFT: f64 = 250.0;
const RIGHT: f64 = WIDTH - 150.0;
const ROW: f64 = 46.0;
const BAR: f64 = 15.0;
/// Of an HTTP status, which has one bar.
const STATUS_ROW: f64 = 26.0;
/// Above them, with their heading.
const GAP: f64 = 34.0;
/// HTTP statuses beyond this are summed up in a last row.
const STATUSES_MAX: usize = 8;
/// Codes beyond this are summed up in a last row.
const ROWS_MAX: usize = 20;

/// Whether a connection ended, or a server answered an attempt with an HTTP status.
pub(super) fn applies(loaded: &Loaded) -> bool {
    endings::applies(loaded) || !loaded.summary.attempts.by_status.is_empty()
}

/// Draws it.
pub(super) fn scene(loaded: &Loaded) -> Scene {
    let sub = "Reported status codes by side";
    let (rows, statuses) = (rows(loaded), statuses(loaded));
    if rows.is_empty() && statuses.is_empty() {
        return sheet::empty(loaded, "No connection ended", sub, "There are no close codes to show");
    }
    let below = if statuses.is_empty() { 0.0 } else { GAP + statuses.len() as f64 * STATUS_ROW };
    let bottom = TOP + 30.0 + rows.len() as f64 * ROW + below;
    let mut scene = sheet::open(loaded, WIDTH, bottom + 50.0 + FOOT, &title(loaded), sub);
    let panel = Panel { left: LEFT, right: RIGHT, top: TOP + 30.0, bottom };
    let most = rows.iter().map(|row| row.client.max(row.server)).chain(statuses.iter().map(|row| row.1)).max().unwrap_or(0);
    let ticks = axis::count_ticks(most as f64, 5);
    let x = Axis::linear(0.0, ticks[ticks.len() - 1], LEFT, RIGHT);
    for tick in &ticks {
        scene.rule((x.at(*tick), panel.top), (x.at(*tick), bottom), Ink::Grid, 1.0);
    }
    panel.x_axis(
        &mut scene,
        &x,
        &sheet::count_labels(&ticks),
        if statuses.is_empty() { "Connections (count)" } else { "Connections, attempts (count)" },
    );
    scene.text(MARGIN, panel.top - 14.0, TextAnchor::Start, NAME, "Reported status code");
    let sides = [(Ink::Series(0), "seen by the client app"), (Ink::Series(1), "seen by the server app")];
    let sides = if loaded.summary.seen_from == SeenFrom::Server { &sides[1..] } else { &sides[..] };
    sheet::key(&mut scene, LEFT, panel.top - 14.0, sides);
    let sums = (rows.iter().map(|r| r.client).sum(), rows.iter().map(|r| r.server).sum());
    for (n, row) in rows.iter().enumerate() {
        draw_row(&mut scene, &x, row, panel.top + n as f64 * ROW, (sums, loaded.summary.seen_from));
    }
    draw_statuses(&mut scene, &x, &statuses, panel.top + rows.len() as f64 * ROW);
    scene.rule((LEFT, panel.top), (LEFT, bottom), Ink::Axis, 1.0);
    let silent = loaded.summary.connections.closed.saturating_sub(sums.1);
    let mut counted = match loaded.summary.seen_from {
        SeenFrom::Server => format!("n = {} at the server; clients are real ones and were not seen", number::counted(sums.1, "ending")),
        _ => format!("n = {} at clients, {} at the server", number::counted(sums.0, "ending"), number::count(sums.1)),
    };
    if silent > 0 {
        counted += &format!(" · {} not recorded by the server: it was killed, is not embedded, or did not notice", number::count(silent));
    }
    if !statuses.is_empty() {
        counted += &format!(" · {}", number::counted(loaded.summary.attempts.counts.rejected, "rejected attempt"));
    }
    sheet::close(scene, loaded, &counted)
}

/// HTTP statuses of attempts that did not open, the most frequent first; the rest in the last row.
fn statuses(loaded: &Loaded) -> Vec<(String, u64)> {
    let mut all: Vec<_> = loaded.summary.attempts.by_status.iter().map(|(status, n)| (status.clone(), *n)).collect();
    all.sort_by_key(|(_, n)| std::cmp::Reverse(*n)); // stable: equal counts by status
    if all.len() > STATUSES_MAX {
        let rest = all.split_off(STATUSES_MAX - 1);
        all.push(("others".to_string(), rest.iter().map(|(_, n)| n).sum()));
    }
    all
}

fn draw_statuses(scene: &mut Scene, x: &Axis, statuses: &[(String, u64)], top: f64) {
    if !statuses.is_empty() {
        scene.text(MARGIN, top + GAP - 8.0, TextAnchor::Start, NAME, "HTTP status of rejections");
    }
    let all: u64 = statuses.iter().map(|(_, n)| n).sum();
    for (n, (status, count)) in statuses.iter().enumerate() {
        let bar = top + GAP + n as f64 * STATUS_ROW + 5.0;
        scene.text(MARGIN + 46.0, bar + 12.0, TextAnchor::End, NAME, status.as_str());
        let end = x.at(*count as f64).max(LEFT + 1.5);
        scene.rect(LEFT, bar, end - LEFT, BAR, Ink::Series(0));
        scene.text(end + 6.0, bar + 12.0, TextAnchor::Start, LABEL, format!("{} · {}", number::count(*count), number::share(*count, all)));
    }
}

struct CodeRow {
    label: String,
    name: String,
    client: u64,
    server: u64,
}

fn rows(loaded: &Loaded) -> Vec<CodeRow> {
    let codes = &loaded.summary.close_codes;
    let mut all: BTreeMap<u16, (u64, u64)> = BTreeMap::new();
    for (code, n) in &codes.client {
        all.entry(code.parse().unwrap_or(OTHER_CODE)).or_default().0 += n;
    }
    for (code, n) in &codes.server {
        all.entry(code.parse().unwrap_or(OTHER_CODE)).or_default().1 += n;
    }
    let mut kept: Vec<(u16, (u64, u64))> = all.into_iter().collect();
    let mut rest = (0, 0, 0);
    if kept.len() > ROWS_MAX {
        kept.sort_by_key(|(code, (client, server))| (std::cmp::Reverse(client + server), *code));
        for (_, (client, server)) in kept.split_off(ROWS_MAX - 1) {
            rest = (rest.0 + 1, rest.1 + client, rest.2 + server);
        }
        kept.sort_by_key(|(code, _)| *code);
    }
    let row = |(code, (client, server)): (u16, (u64, u64))| CodeRow {
        label: code_word(code),
        name: if code == OTHER_CODE { "less frequent codes" } else { close::name(code) }.to_string(),
        client,
        server,
    };
    let mut rows: Vec<CodeRow> = kept.into_iter().map(row).collect();
    if rest.0 > 0 {
        rows.push(CodeRow { label: "others".to_string(), name: format!("{} codes", rest.0), client: rest.1, server: rest.2 });
    }
    rows
}

fn title(loaded: &Loaded) -> String {
    let by_server = loaded.summary.seen_from == SeenFrom::Server;
    let (client, who) = match by_server {
        true => (&loaded.summary.close_codes.server, "The server reports"),
        false => (&loaded.summary.close_codes.client, "Clients report"),
    };
    let total: u64 = client.values().sum();
    let Some((code, n)) = client.iter().filter(|(code, _)| *code != OTHER_WORD).max_by_key(|(code, n)| (**n, std::cmp::Reverse(*code)))
    else {
        return match statuses(loaded).first() {
            Some((status, n)) => {
                let rejected = loaded.summary.attempts.counts.rejected;
                format!("Servers answer {status} to {} of {}", number::share(*n, rejected), number::counted(rejected, "rejected attempt"))
            }
            None if by_server => "The server reported no close code".to_string(),
            None => "No client reported a close code".to_string(),
        };
    };
    if !by_server && client.len() > 2 && *n * 2 < total {
        return agreement(loaded, client.len());
    }
    let name = code.parse().map_or("", close::name);
    format!("{who} {code} ({name}) for {} of {}", number::share(*n, total), number::counted(total, "ending"))
}

/// Where no code stands out: how many there are, and whether both sides were told the same.
fn agreement(loaded: &Loaded, codes: usize) -> String {
    let told = || loaded.summary.endings.iter().filter_map(|row| Some((row.server_code?, row)));
    let all: u64 = told().map(|(_, row)| row.count).sum();
    let same: u64 = told().filter(|(code, row)| Some(*code) == row.client_code).map(|(_, row)| row.count).sum();
    match all {
        0 => format!("Clients report {}", number::counted(codes as u64, "different code")),
        _ => {
            let codes = number::counted(codes as u64, "code");
            format!("{codes}; both sides see the same code in {} of {}", number::count(same), number::counted(all, "ending"))
        }
    }
}

fn draw_row(scene: &mut Scene, x: &Axis, row: &CodeRow, top: f64, (sums, seen_from): ((u64, u64), SeenFrom)) {
    let middle = top + ROW / 2.0 + 4.0;
    scene.text(MARGIN + 46.0, middle, TextAnchor::End, NAME, row.label.as_str());
    scene.text(MARGIN + 54.0, middle, TextAnchor::Start, LABEL, LABEL.fit(&row.name, LEFT - MARGIN - 62.0));
    let unseen = usize::from(seen_from == SeenFrom::Server);
    for (n, (count, sum)) in [(row.client, sums.0), (row.server, sums.1)].into_iter().enumerate().skip(unseen) {
        let bar = top + 7.0 + n as f64 * (BAR + 2.0);
        let end = x.at(count as f64);
        scene.rect(LEFT, bar, if count > 0 { (end - LEFT).max(1.5) } else { 0.0 }, BAR, Ink::Series(n));
        let text = if count == 0 { "0".to_string() } else { format!("{} · {}", number::count(count), number::share(count, sum)) };
        let style = if count == 0 { NOTE } else { LABEL };
        scene.text(end + 6.0, bar + 12.0, TextAnchor::Start, style, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::fixture;
    use crate::results::record::EndingRow;

    #[test]
    fn the_title_names_the_code_that_stands_out_or_says_whether_the_sides_agree() {
        let mut loaded = fixture::crash_storm();
        assert!(title(&loaded).starts_with("Clients report 1006"), "{}", title(&loaded));
        let ending = loaded.summary.endings[0].clone();
        let row = |client_code, server_code| EndingRow { client_code: Some(client_code), server_code, count: 50, ..ending.clone() };
        loaded.summary.endings = vec![row(1000, Some(1000)), row(1001, Some(1001)), row(1006, Some(1002)), row(1006, None)];
        loaded.summary.close_codes.client = ["1000", "1001", "1002"].map(|code| (code.to_string(), 50)).into();
        let drawn = |loaded: &Loaded| format!("{:?}", scene(loaded));
        assert!(!drawn(&loaded).contains("HTTP status"));
        loaded.summary.attempts.counts.rejected = 500;
        loaded.summary.attempts.by_status = (400..410).map(|status| (status.to_string(), 50)).collect();
        let text = drawn(&loaded);
        assert!(
            ["HTTP status of rejections", "406", "others", "150 · 30 %", "500 rejected attempts"].iter().all(|part| text.contains(part)),
            "{text}"
        );
        assert_eq!(title(&loaded), "3 codes; both sides see the same code in 100 of 150 endings");
    }
}
