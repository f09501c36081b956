//! Chart: how many messages clients missed in an outage, as a bar for each range, over all cohorts and faults.

use super::Loaded;
use super::axis::{self, Axis};
use super::scene::{Ink, LABEL, NAME, Scene, TextAnchor};
use super::sheet::{self, FOOT, MARGIN, Panel, TOP, WIDTH};
use crate::number;

const LEFT: f64 = 150.0;
const RIGHT: f64 = WIDTH - 150.0;
const ROW: f64 = 28.0;
const BAR: f64 = 16.0;

/// Whether it is known of an outage.
pub(super) fn applies(loaded: &Loaded) -> bool {
    loaded.summary.losses.iter().any(|row| row.outages > 0)
}

/// Draws it.
pub(super) fn scene(loaded: &Loaded) -> Scene {
    let sub = "Outages by the number of messages that their client missed";
    let rows = rows(loaded);
    if rows.is_empty() {
        let help = "No received message had a number: say where by `sequence` of a dialogue";
        return sheet::empty(loaded, "What clients missed is not known", sub, help);
    }
    let (top, outages) = (TOP + 30.0, rows.iter().map(|row| row.1).sum());
    let bottom = top + rows.len() as f64 * ROW;
    let mut scene = sheet::open(loaded, WIDTH, bottom + 50.0 + FOOT, &title(loaded), sub);
    let panel = Panel { left: LEFT, right: RIGHT, top, bottom };
    let most = rows.iter().map(|row| row.1).max().unwrap_or(0);
    let ticks = axis::count_ticks(most as f64, 5);
    let x = Axis::linear(0.0, ticks[ticks.len() - 1], LEFT, RIGHT);
    for tick in &ticks {
        scene.rule((x.at(*tick), top), (x.at(*tick), bottom), Ink::Grid, 1.0);
    }
    panel.x_axis(&mut scene, &x, &sheet::count_labels(&ticks), "Outages (count)");
    scene.text(MARGIN, top - 14.0, TextAnchor::Start, NAME, "Messages missed in an outage");
    for (n, (name, count)) in rows.iter().enumerate() {
        let bar = top + n as f64 * ROW + 6.0;
        let end = x.at(*count as f64);
        scene.text(LEFT - 10.0, bar + 12.0, TextAnchor::End, NAME, name.as_str());
        scene.rect(LEFT, bar, if *count > 0 { (end - LEFT).max(1.5) } else { 0.0 }, BAR, Ink::Series(0));
        scene.text(
            end + 6.0,
            bar + 12.0,
            TextAnchor::Start,
            LABEL,
            format!("{} · {}", number::count(*count), number::share(*count, outages)),
        );
    }
    scene.rule((LEFT, top), (LEFT, bottom), Ink::Axis, 1.0);
    sheet::close(scene, loaded, &format!("n = {}", number::counted(outages, "outage")))
}

/// Ranges, each twice as wide as the one before, up to the largest number; none where nothing is known.
fn rows(loaded: &Loaded) -> Vec<(String, u64)> {
    let all = || loaded.summary.losses.iter().flat_map(|row| &row.by_missed);
    let Some(most) = all().map(|(missed, _)| *missed).max() else { return Vec::new() };
    let count = |from: u64, to: u64| all().filter(|(missed, _)| (from..=to).contains(*missed)).map(|(_, n)| n).sum();
    let mut rows = vec![("none".to_owned(), count(0, 0))];
    let mut from = 1_u64;
    while from <= most {
        let to = from.saturating_mul(2) - 1;
        let name = if from == to { number::count(from) } else { format!("{} to {}", number::count(from), number::count(to)) };
        rows.push((name, count(from, to)));
        from = to + 1;
    }
    let unknown = loaded.summary.losses.iter().map(|row| row.unknown).sum();
    rows.extend((unknown > 0).then(|| ("not known".to_owned(), unknown)));
    rows
}

fn title(loaded: &Loaded) -> String {
    let losses = &loaded.summary.losses;
    let (outages, none): (u64, u64) = (losses.iter().map(|row| row.outages).sum(), losses.iter().map(|row| row.none_missed).sum());
    let most = losses.iter().map(|row| row.max).max().unwrap_or(0);
    match outages.saturating_sub(none) {
        0 => format!("No message was missed in {}", number::counted(outages, "outage")),
        some => format!("Messages were missed in {} of outages, up to {} in one", number::share(some, outages), number::count(most)),
    }
}
