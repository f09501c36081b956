//! Marks on a time axis: a line or a band with a name for each fault, and bands while the target was down.
//!
//! Labels stand in lanes above the panel so that no label covers another and no mark's line crosses a label. Where there is no room for all
//! names, marks have numbers, and a list below the chart says what they are.

use super::Loaded;
use super::axis::Axis;
use super::scene::{Ink, NAME, NOTE, Scene, TextAnchor};
use super::sheet::{MARGIN, WIDTH};
use crate::number;
use crate::results::record::EventRow;
use std::collections::BTreeMap;

const LANE: f64 = 17.0;
const LANES_MAX: usize = 8;
/// With more faults than this, labels leave out the time: the axis has it.
const TIMES_MAX: usize = 6;
/// Entries of the list of numbered marks; further ones are counted.
const LISTED_MAX: usize = 60;
const LIST_COLUMNS: usize = 3;
const LIST_ROW: f64 = 16.0;

/// Something that happened at a time or during a time, in µs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mark {
    pub(crate) from_us: u64,
    pub(crate) until_us: Option<u64>,
    pub(crate) label: String,
    /// The same without its time.
    pub(crate) name: String,
    /// The target was down, rather than a fault active.
    pub(crate) down: bool,
    /// Further firings.
    pub(crate) again_us: Vec<u64>,
}

/// The marks of a run, by time.
pub(crate) fn of(loaded: &Loaded) -> Vec<Mark> {
    let mut marks = faults(loaded);
    marks.extend(down_times(&loaded.events, loaded.summary.measured_ms * 1000));
    marks.sort_by_key(|mark| (mark.from_us, mark.down));
    marks
}

fn faults(loaded: &Loaded) -> Vec<Mark> {
    let fired = |id: &str| -> Vec<u64> {
        let firings = loaded.events.iter().filter(|event| event.event == "fired" && event.fault.as_deref() == Some(id));
        firings.map(|event| event.offset_us).skip(1).collect()
    };
    let marks = loaded.summary.faults.iter().filter_map(|fault| {
        let from_us = fault.at_ms? * 1000;
        let until_us = fault.until_ms.map(|until| until * 1000).filter(|until| *until > from_us);
        Some(Mark::of_fault((&fault.id, fault.fired), (from_us, until_us), fired(&fault.id), loaded.summary.faults.len()))
    });
    marks.collect()
}

impl Mark {
    /// Of a fault, one of `of`, with how often it fired.
    pub(crate) fn of_fault((id, fired): (&str, u64), (from_us, until_us): (u64, Option<u64>), again_us: Vec<u64>, of: usize) -> Mark {
        let times = if fired > 1 { format!(" × {}", number::count(fired)) } else { String::new() };
        let at = if of > TIMES_MAX { String::new() } else { format!(" at {}", number::time(from_us)) };
        Mark { from_us, until_us, label: format!("{id}{times}{at}"), name: format!("{id}{times}"), down: false, again_us }
    }
}

/// From `down` (or `exited`) to `listening` of each instance; overlapping times of several instances are one band each.
fn down_times(events: &[EventRow], end_us: u64) -> Vec<Mark> {
    let mut since: BTreeMap<&str, u64> = BTreeMap::new();
    let mut marks = Vec::new();
    for event in events.iter().filter(|event| event.event == "target") {
        // Written as `instance=0 what=down`.
        let value = |key: &str| event.detail.split(' ').find_map(|pair| pair.strip_prefix(key)).unwrap_or("");
        let instance = value("instance=");
        match value("what=") {
            "down" | "exited" => {
                since.entry(instance).or_insert(event.offset_us);
            }
            "listening" => marks.extend(since.remove(instance).map(|from| down(instance, from, event.offset_us, false))),
            _ => {}
        }
    }
    marks.extend(since.into_iter().map(|(instance, from)| down(instance, from, end_us.max(from), true)));
    marks
}

fn down(instance: &str, from_us: u64, until_us: u64, to_the_end: bool) -> Mark {
    let which = if instance.is_empty() || instance == "0" { String::new() } else { format!(" {instance}") };
    let long = if to_the_end { "to the end".to_string() } else { number::time(until_us - from_us) };
    let name = format!("target{which} down {long}");
    Mark { from_us, until_us: Some(until_us), label: name.clone(), name, down: true, again_us: Vec::new() }
}

/// Marks with a lane each, from the top.
pub(super) struct MarkLanes {
    placed: Vec<(Mark, Option<usize>, f64)>,
    lanes: usize,
    /// What numbers stand for; empty where marks have names.
    list: Vec<String>,
}

/// Gives every mark a lane: below all labels that stand over its line, so that its line crosses none. Where not all names find one, all marks
/// have numbers; those beyond the last lane are in the list only.
pub(super) fn place(mut marks: Vec<Mark>, left: f64, right: f64, edge: f64, at: impl Fn(f64) -> f64) -> MarkLanes {
    let named = in_lanes(marks.clone(), left, right, edge, &at);
    if named.placed.iter().all(|(_, lane, _)| lane.is_some()) {
        return named;
    }
    let list = marks.iter().enumerate().map(|(n, mark)| format!("{}  {} at {}", n + 1, mark.name, number::time(mark.from_us)));
    let list = list.collect();
    for (n, mark) in marks.iter_mut().enumerate() {
        mark.label = (n + 1).to_string();
    }
    MarkLanes { list, ..in_lanes(marks, left, right, edge, &at) }
}

fn in_lanes(marks: Vec<Mark>, left: f64, right: f64, edge: f64, at: impl Fn(f64) -> f64) -> MarkLanes {
    let mut ends = [left - 10.0; LANES_MAX];
    let mut lanes = 0;
    let mut placed = Vec::new();
    for mark in marks {
        let x = at(mark.from_us as f64).min(right);
        let room = edge - x - 6.0;
        let width = NAME.width(&mark.label).min(room) + 14.0;
        let lane = ends.iter().rposition(|end| *end > x).map_or(0, |lane| lane + 1);
        if lane < LANES_MAX {
            ends[lane] = x + width;
            lanes = lanes.max(lane + 1);
            placed.push((mark, Some(lane), room));
        } else {
            placed.push((mark, None, room));
        }
    }
    MarkLanes { placed, lanes, list: Vec::new() }
}

impl MarkLanes {
    /// Height of all lanes in px.
    pub(super) fn height(&self) -> f64 {
        self.lanes as f64 * LANE
    }

    /// Height of the list of numbered marks in px; 0 where marks have names.
    pub(super) fn list_height(&self) -> f64 {
        if self.list.is_empty() { 0.0 } else { self.list_rows() as f64 * LIST_ROW + 18.0 }
    }

    fn list_rows(&self) -> usize {
        (self.list.len().min(LISTED_MAX) + usize::from(self.list.len() > LISTED_MAX)).div_ceil(LIST_COLUMNS)
    }

    /// What the numbers stand for, in columns from the top, below a chart of the usual width.
    pub(super) fn draw_list(&self, scene: &mut Scene, top: f64) {
        let more = self.list.len().saturating_sub(LISTED_MAX);
        let more = (more > 0).then(|| format!("and {}: see events.csv", number::counted(more as u64, "more mark")));
        let width = (WIDTH - 2.0 * MARGIN) / LIST_COLUMNS as f64;
        for (n, entry) in self.list.iter().take(LISTED_MAX).chain(&more).enumerate() {
            let (column, row) = (n / self.list_rows(), n % self.list_rows());
            let (x, y) = (MARGIN + column as f64 * width, top + 12.0 + row as f64 * LIST_ROW);
            scene.text(x, y, TextAnchor::Start, NOTE, NOTE.fit(entry, width - 12.0));
        }
    }

    /// Lines through a small panel, without labels; ticks at its top where there are many.
    pub(super) fn draw_lines(&self, scene: &mut Scene, x: &Axis, (top, bottom): (f64, f64)) {
        let bottom = if self.placed.len() > LANES_MAX { top + 5.0 } else { bottom };
        for (mark, ..) in self.placed.iter().filter(|(mark, ..)| !mark.down) {
            let at = x.at(mark.from_us as f64);
            scene.rule((at, top), (at, bottom), Ink::Fault, 0.75);
        }
    }

    /// The bands on each panel (its top and bottom), to be drawn before the data.
    pub(super) fn draw_bands(&self, scene: &mut Scene, x: &Axis, panels: &[(f64, f64)]) {
        for down in [false, true] {
            for (mark, ..) in self.placed.iter().filter(|(mark, ..)| mark.down == down) {
                let Some(until) = mark.until_us else { continue };
                let (from, to) = (x.at(mark.from_us as f64), x.at(until as f64));
                for (top, bottom) in panels {
                    scene.rect(from, *top, (to - from).max(1.5), bottom - top, if down { Ink::Down } else { Ink::Band });
                }
            }
        }
    }

    /// Labels, and lines from them through the panels, to be drawn after the data. The first lane begins at `top`, the last ends at the first panel.
    pub(super) fn draw_labels(&self, scene: &mut Scene, x: &Axis, top: f64, panels: &[(f64, f64)]) {
        for (mark, lane, room) in &self.placed {
            let at = x.at(mark.from_us as f64);
            let width = if self.list.is_empty() { 1.25 } else { 0.75 };
            let (ink, label) = if mark.down { (Ink::Muted, NOTE) } else { (Ink::Fault, NAME.in_ink(Ink::Fault)) };
            let from = top + lane.unwrap_or(self.lanes) as f64 * LANE;
            for (n, (panel, bottom)) in panels.iter().enumerate() {
                let from = if n == 0 { from.min(*panel) } else { *panel };
                // A band says by itself when the target was down; its line only leads to the label.
                scene.rule((at, from), (at, if mark.down { from.max(panels[0].0) } else { *bottom }), ink, width);
                for again in &mark.again_us {
                    let at = x.at(*again as f64);
                    scene.rule((at, *panel), (at, panel + 7.0), ink, 1.25);
                }
            }
            if lane.is_some() {
                scene.text(at + 5.0, from + 11.0, TextAnchor::Start, label, label.fit(&mark.label, *room));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(from_us: u64) -> Mark {
        let name = "a label of some length".to_string();
        Mark { from_us, until_us: None, label: name.clone(), name, down: false, again_us: Vec::new() }
    }

    #[test]
    fn marks_close_together_step_down_the_lanes_and_far_ones_start_again_at_the_top() {
        let lanes = place(vec![mark(0), mark(10), mark(20), mark(600)], 0.0, 700.0, 900.0, |us| us);
        let order: Vec<_> = lanes.placed.iter().map(|(_, lane, _)| *lane).collect();
        assert_eq!(order, [Some(0), Some(1), Some(2), Some(0)]);
    }

    #[test]
    fn where_names_do_not_fit_marks_have_numbers_and_a_list() {
        let place = |n: u64, apart: u64| place((0..n).map(|n| mark(n * apart)).collect(), 0.0, 700.0, 900.0, |us| us);
        let few = place(8, 1);
        assert!(few.list.is_empty() && few.list_height() == 0.0);
        let many = place(10, 60);
        let labels: Vec<_> = many.placed.iter().map(|(mark, lane, _)| (mark.label.as_str(), lane.is_some())).collect();
        assert_eq!(labels[..2], [("1", true), ("2", true)]);
        assert!(labels.iter().all(|(_, has_a_lane)| *has_a_lane), "{labels:?}");
        assert_eq!(many.list[9], "10  a label of some length at 540 µs");
        let mut scene = Scene { width: WIDTH, height: 600.0, title: String::new(), items: Vec::new() };
        place(100, 1).draw_list(&mut scene, 20.0);
        scene.assert_readable("list");
        assert!(scene.text_boxes().iter().any(|text| text.4 == "and 40 more marks: see events.csv"));
        assert_eq!(scene.text_boxes().len(), LISTED_MAX + 1);
    }

    #[test]
    fn target_is_down_until_it_listens_again() {
        let event = |offset_us, detail: &str| EventRow {
            offset_us,
            event: "target".to_string(),
            client: None,
            connection: None,
            fault: None,
            detail: detail.to_string(),
        };
        let events = [
            event(3_000_000, "instance=0 what=down"),
            event(5_000_000, "instance=0 what=started"),
            event(5_100_000, "instance=0 what=listening"),
            event(7_000_000, "instance=1 what=down"),
        ];
        let marks = down_times(&events, 10_000_000);
        assert_eq!(marks[0].until_us, Some(5_100_000));
        assert_eq!(marks[0].label, "target down 2.1 s");
        assert_eq!(marks[1].label, "target 1 down to the end");
    }
}
