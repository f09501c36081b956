//! What all charts share: the sheet with title, subtitle and foot, panels with axes, and the chart that has nothing to show.

use super::Loaded;
use super::axis::Axis;
use super::scene::{Ink, LABEL, NAME, NOTE, Scene, TITLE, TextAnchor, Type};
use crate::number;
use crate::results::record::TimelineRow;

/// Width of a chart in px unless its contents need more.
pub const WIDTH: f64 = 960.0;
/// Left and right margin of titles and foot.
pub const MARGIN: f64 = 24.0;
/// Where the contents may begin below title and subtitle.
pub const TOP: f64 = 84.0;
/// Height of the foot.
pub const FOOT: f64 = 54.0;

/// A sheet with its title (the answer) and how it was made; contents belong between [`TOP`] and `height - FOOT`.
pub fn open(loaded: &Loaded, width: f64, height: f64, title: &str, sub: &str) -> Scene {
    let summary = &loaded.summary;
    let world = if summary.simulated { "simulated" } else { "measured on real sockets" };
    let made = format!("{sub} · scenario {} · {} · {world} · seed {}", summary.scenario, summary.target, summary.seed);
    titled(width, height, title, &made)
}

/// A sheet with its title and a line below it.
pub fn titled(width: f64, height: f64, title: &str, made: &str) -> Scene {
    let mut scene = Scene { width, height, title: title.to_string(), items: Vec::new() };
    let room = width - 2.0 * MARGIN;
    let (style, fitted) = fitted_title(title, room);
    scene.text(MARGIN, 34.0, TextAnchor::Start, style, fitted);
    scene.text(MARGIN, 56.0, TextAnchor::Start, NOTE, NOTE.fit(made, room));
    scene
}

/// Writes the foot: what was counted, and the command that makes the run again.
pub fn close(scene: Scene, loaded: &Loaded, counted: &str) -> Scene {
    footed(scene, counted, &loaded.summary.command)
}

/// As [`close`], with the command given.
pub fn footed(mut scene: Scene, counted: &str, command: &str) -> Scene {
    let room = scene.width - 2.0 * MARGIN;
    scene.text(MARGIN, scene.height - 28.0, TextAnchor::Start, NOTE, NOTE.fit(counted, room));
    let again = format!("Reproduce: {command}");
    scene.text(MARGIN, scene.height - 11.0, TextAnchor::Start, NOTE, NOTE.fit(&again, room));
    scene
}

/// A sheet that says why there is nothing on it.
pub fn empty(loaded: &Loaded, title: &str, axes: &str, why: &str) -> Scene {
    let height = 300.0;
    let mut scene = open(loaded, WIDTH, height, title, axes);
    scene.text(WIDTH / 2.0, height / 2.0 + 10.0, TextAnchor::Middle, LABEL.sized(15.0).in_ink(Ink::Muted), why);
    close(scene, loaded, "n = 0")
}

/// A title a little smaller where it would not fit, cut where even that is not enough.
fn fitted_title(title: &str, room: f64) -> (Type, String) {
    let style = [19.0, 17.0, 15.0].map(|size| TITLE.sized(size)).into_iter().find(|style| style.width(title) <= room);
    let style = style.unwrap_or(TITLE.sized(15.0));
    (style, style.fit(title, room))
}

/// A rectangle with axes around it, in px.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Panel {
    /// Left edge.
    pub left: f64,
    /// Right edge.
    pub right: f64,
    /// Top edge.
    pub top: f64,
    /// Bottom edge.
    pub bottom: f64,
}

impl Panel {
    /// Grid lines and labels of a vertical axis; the chart writes its name above, clear of marks.
    pub fn y_axis(&self, scene: &mut Scene, axis: &Axis, ticks: &[(f64, String)]) {
        for (value, label) in ticks {
            let y = axis.at(*value);
            scene.rule((self.left, y), (self.right, y), Ink::Grid, 1.0);
            scene.text(self.left - 8.0, y + 4.0, TextAnchor::End, NOTE, label.as_str());
        }
    }

    /// Ticks and labels of a horizontal axis; its name stands below them.
    pub fn x_axis(&self, scene: &mut Scene, axis: &Axis, ticks: &[(f64, String)], name: &str) {
        scene.rule((self.left, self.bottom), (self.right, self.bottom), Ink::Axis, 1.0);
        for (value, label) in ticks {
            let x = axis.at(*value);
            scene.rule((x, self.bottom), (x, self.bottom + 5.0), Ink::Axis, 1.0);
            scene.text(x, self.bottom + 19.0, TextAnchor::Middle, NOTE, label.as_str());
        }
        scene.text((self.left + self.right) / 2.0, self.bottom + 38.0, TextAnchor::Middle, NAME, name);
    }
}

/// Ticks of counts as [`Panel::y_axis`] takes them.
pub fn count_labels(ticks: &[f64]) -> Vec<(f64, String)> {
    ticks.iter().map(|tick| (*tick, number::count(tick.round() as u64))).collect()
}

/// A text for each of up to `max` names, with the rest counted: `a, b and 3 more`.
pub fn some_names(names: &[String], max: usize) -> String {
    if names.len() <= max {
        return names.join(", ");
    }
    format!("{} and {} more", names[..max].join(", "), names.len() - max)
}

/// Cohorts of a run in the order of the summary.
pub(super) fn cohorts(loaded: &Loaded) -> Vec<&str> {
    loaded.summary.cohorts.keys().map(String::as_str).collect()
}

/// The same, and those that only `rows` name.
pub(super) fn cohorts_and<'a>(loaded: &Loaded, rows: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = cohorts(loaded).into_iter().map(str::to_string).collect();
    for cohort in rows {
        if !names.iter().any(|name| name == cohort) {
            names.push(cohort.to_string());
        }
    }
    names
}

/// Says from `left` on what colours mean. Returns where more may stand.
pub(super) fn key(scene: &mut Scene, mut left: f64, baseline: f64, entries: &[(Ink, &str)]) -> f64 {
    for (ink, text) in entries {
        scene.rect(left, baseline - 9.0, 10.0, 10.0, *ink);
        scene.text(left + 15.0, baseline, TextAnchor::Start, NOTE, *text);
        left += 15.0 + NOTE.width(text) + 18.0;
    }
    left
}

/// The least distance of two offsets: the interval of the file.
pub(crate) fn interval_ms(rows: &[TimelineRow]) -> u64 {
    let mut offsets: Vec<u64> = rows.iter().map(|row| row.offset_ms).collect();
    offsets.sort_unstable();
    offsets.dedup();
    offsets.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or(1000).max(1)
}
