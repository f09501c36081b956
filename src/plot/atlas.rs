//! Charts of the reconnect presets: a panel of attempts for each, and a row of who has given up for each that can.
//!
//! Given figures, not results: whoever makes the page has simulated them.

use super::axis::Axis;
use super::scene::{Ink, NAME, NOTE, Scene, TextAnchor};
use super::sheet::{self, FOOT, MARGIN, Panel, TOP, WIDTH};

const COLUMNS: usize = 5;
const PANEL: f64 = 66.0;
const GAP_X: f64 = 14.0;
const GAP_Y: f64 = 34.0;
/// Bounds of the share of clients in a bin, percent.
const LOW: f64 = 0.1;
const HIGH: f64 = 100.0;
/// Bins that share a bar, which shows the greatest of them: they would be thinner than a pixel.
const MERGED: usize = 3;
/// Room for the labels of the shares.
const LABELS: f64 = 40.0;
const ROW: f64 = 36.0;

/// Attempts of a preset while the server is down.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptTimes {
    /// The preset.
    pub name: String,
    /// Attempts begun in each bin since the loss, in percent of the clients.
    pub bins: Vec<f64>,
}

/// Who of a preset has given up.
#[derive(Clone, Debug, PartialEq)]
pub struct GaveUp {
    /// The preset.
    pub name: String,
    /// By each length of the outage, in s and ascending: percent of the clients.
    pub share: Vec<(f64, f64)>,
}

/// Small multiples: the attempts of each preset, on shared axes.
pub fn attempts(all: &[AttemptTimes], bin_s: f64, made: &str, counted: &str) -> Scene {
    let rows = all.len().div_ceil(COLUMNS);
    let top = TOP + 4.0;
    let height = top + rows as f64 * (PANEL + GAP_Y) + 30.0 + FOOT;
    let title = "Some libraries reconnect in lockstep again and again; others spread out";
    let mut scene = sheet::titled(WIDTH, height, title, made);
    let wide = (WIDTH - 2.0 * MARGIN - LABELS - GAP_X * (COLUMNS - 1) as f64) / COLUMNS as f64;
    for (i, one) in all.iter().enumerate() {
        let (row, column) = (i / COLUMNS, i % COLUMNS);
        let left = MARGIN + LABELS + (wide + GAP_X) * column as f64;
        let above = top + (PANEL + GAP_Y) * row as f64 + 16.0;
        let panel = Panel { left, right: left + wide, top: above, bottom: above + PANEL };
        let last_row = i + COLUMNS >= all.len();
        small(&mut scene, one, bin_s, &panel, (column == 0, last_row));
    }
    sheet::footed(scene, counted, "UPDATE=1 cargo test --test all readme")
}

/// One panel; labels of the axes only at the left and at the foot of the sheet.
fn small(scene: &mut Scene, one: &AttemptTimes, bin_s: f64, panel: &Panel, (labels, foot): (bool, bool)) {
    let y = Axis::log(LOW, HIGH, panel.bottom, panel.top);
    let length = one.bins.len() as f64 * bin_s;
    let x = Axis::linear(0.0, length, panel.left, panel.right);
    for (value, label) in [(0.1, "0.1 %"), (1.0, "1 %"), (10.0, "10 %"), (100.0, "100 %")] {
        scene.rule((panel.left, y.at(value)), (panel.right, y.at(value)), Ink::Grid, 1.0);
        if labels {
            scene.text(panel.left - 5.0, y.at(value) + 4.0, TextAnchor::End, NOTE.sized(10.0), label);
        }
    }
    let most: Vec<f64> = one.bins.chunks(MERGED).map(|bins| bins.iter().copied().fold(0.0, f64::max)).collect();
    let heights: Vec<f64> = most.iter().map(|share| (panel.bottom - y.at(share.min(HIGH))).round()).collect();
    let mut from = 0;
    // Neighbours of the same height are one rectangle: the page is read over a network.
    for bars in heights.chunk_by(|a, b| a == b) {
        let (left, right) = (x.at((from * MERGED) as f64 * bin_s), x.at(((from + bars.len()) * MERGED) as f64 * bin_s));
        scene.rect(left, panel.bottom - bars[0], right - left, bars[0], Ink::Series(0));
        from += bars.len();
    }
    scene.rule((panel.left, panel.bottom), (panel.right, panel.bottom), Ink::Axis, 1.0);
    for second in [0.0, 20.0, 40.0] {
        scene.rule((x.at(second), panel.bottom), (x.at(second), panel.bottom + 3.0), Ink::Axis, 1.0);
        if foot {
            scene.text(x.at(second), panel.bottom + 14.0, TextAnchor::Middle, NOTE.sized(10.0), format!("{second:.0} s"));
        }
    }
    let room = panel.right - panel.left;
    let style = [11.0, 10.0, 9.0].map(|size| NAME.sized(size)).into_iter().find(|style| style.width(&one.name) <= room);
    let style = style.unwrap_or(NAME.sized(9.0));
    scene.text(panel.left, panel.top - 5.0, TextAnchor::Start, style, style.fit(&one.name, room));
}

/// A row for each preset that can give up: the share that has, over the length of the outage. `longest` was watched.
pub fn attrition(all: &[GaveUp], longest: &str, made: &str, counted: &str) -> Scene {
    let names = all.iter().map(|one| NAME.width(&one.name)).fold(0.0, f64::max);
    let top = TOP + 6.0;
    let panel = Panel { left: MARGIN + names + 12.0, right: WIDTH - MARGIN - 20.0, top, bottom: top + ROW * all.len() as f64 };
    let last = all.iter().filter_map(|one| one.share.last()).map(|(length, _)| *length).fold(60.0, f64::max);
    let x = Axis::log(1e6, last * 1e6, panel.left, panel.right);
    let title = "Clients whose library gives up during an outage do not come back";
    let mut scene = sheet::titled(WIDTH, panel.bottom + 46.0 + FOOT, title, made);
    for (at, _) in x.time_ticks() {
        scene.rule((x.at(at), panel.top), (x.at(at), panel.bottom), Ink::Grid, 1.0);
    }
    for (i, one) in all.iter().enumerate() {
        let bottom = panel.top + ROW * (i + 1) as f64;
        let room = ROW - 12.0;
        let edges = one.share.iter().map(|(length, _)| x.at(length * 1e6)).skip(1).chain([panel.right]);
        for ((length, share), end) in one.share.iter().zip(edges) {
            let (from, height) = (x.at(length * 1e6), room * share / 100.0);
            scene.rect(from, bottom - height, end - from, height, Ink::Series(0));
        }
        if one.share.iter().all(|(_, share)| *share == 0.0) {
            scene.text((panel.left + panel.right) / 2.0, bottom - 8.0, TextAnchor::Middle, NOTE, format!("nobody within {longest}"));
        }
        scene.rule((panel.left, bottom), (panel.right, bottom), Ink::Axis, 1.0);
        scene.text(panel.left - 10.0, bottom - 8.0, TextAnchor::End, NAME, one.name.as_str());
    }
    panel.x_axis(&mut scene, &x, &x.time_ticks(), "Length of the outage (logarithmic); full height: all clients have given up");
    sheet::footed(scene, counted, "UPDATE=1 cargo test --test all readme")
}
