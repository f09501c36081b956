//! Marks on a time axis: a line or a band with a name for each fault, and bands while the target was down.
//!
//! Labels stand in lanes above the panel so that no label covers another and no mark's line crosses a label.

use super::Loaded;
use super::axis::Axis;
use super::scene::{Ink, NAME, NOTE, Scene, TextAnchor};
use crate::number;
use crate::results::record::EventRow;
use std::collections::BTreeMap;

const LANE: f64 = 17.0;
const LANES_MAX: usize = 8;
/// With more faults than this, labels leave out the time: the axis has it.
const TIMES_MAX: usize = 6;

/// Something that happened at a time or during a time, in µs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mark {
    pub(crate) from_us: u64,
    pub(crate) until_us: Option<u64>,
    pub(crate) label: String,
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
        let label = label(&fault.id, fault.fired, from_us, loaded.summary.faults.len());
        let until_us = fault.until_ms.map(|until| until * 1000).filter(|until| *until > from_us);
        Some(Mark { from_us, until_us, label, down: false, again_us: fired(&fault.id) })
    });
    marks.collect()
}

/// What stands at the mark of a fault, one of `of`.
pub(crate) fn label(id: &str, fired: u64, from_us: u64, of: usize) -> String {
    let times = if fired > 1 { format!(" × {}", number::count(fired)) } else { String::new() };
    let at = if of > TIMES_MAX { String::new() } else { format!(" at {}", number::time(from_us)) };
    format!("{id}{times}{at}")
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
    Mark { from_us, until_us: Some(until_us), label: format!("target{which} down {long}"), down: true, again_us: Vec::new() }
}

/// Marks with a lane each, from the top.
pub(super) struct MarkLanes {
    placed: Vec<(Mark, Option<usize>, f64)>,
    lanes: usize,
}

/// Gives every mark a lane: below all labels that stand over its line, so that its line crosses none. Those beyond the last lane get no label.
pub(super) fn place(marks: Vec<Mark>, left: f64, right: f64, edge: f64, at: impl Fn(f64) -> f64) -> MarkLanes {
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
    MarkLanes { placed, lanes }
}

impl MarkLanes {
    /// Height of all lanes in px.
    pub(super) fn height(&self) -> f64 {
        self.lanes as f64 * LANE
    }

    /// Says which marks have no label; empty if all have one.
    pub(super) fn note(&self) -> String {
        let unnamed = self.placed.iter().filter(|(_, lane, _)| lane.is_none()).count();
        if unnamed == 0 {
            String::new()
        } else {
            format!(" · {unnamed} further {} drawn without a name", number::word_of(unnamed as u64, "mark is", "marks are"))
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
            let (ink, label) = if mark.down { (Ink::Muted, NOTE) } else { (Ink::Fault, NAME.in_ink(Ink::Fault)) };
            let from = top + lane.unwrap_or(self.lanes) as f64 * LANE;
            for (n, (panel, bottom)) in panels.iter().enumerate() {
                let from = if n == 0 { from.min(*panel) } else { *panel };
                // A band says by itself when the target was down; its line only leads to the label.
                scene.rule((at, from), (at, if mark.down { from.max(panels[0].0) } else { *bottom }), ink, 1.25);
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
        Mark { from_us, until_us: None, label: "a label of some length".to_string(), down: false, again_us: Vec::new() }
    }

    #[test]
    fn marks_close_together_step_down_the_lanes_and_far_ones_start_again_at_the_top() {
        let lanes = place(vec![mark(0), mark(10), mark(20), mark(600)], 0.0, 700.0, 900.0, |us| us);
        let order: Vec<_> = lanes.placed.iter().map(|(_, lane, _)| *lane).collect();
        assert_eq!(order, [Some(0), Some(1), Some(2), Some(0)]);
    }

    #[test]
    fn marks_beyond_the_last_lane_are_counted() {
        let lanes = place((0..10).map(mark).collect(), 0.0, 700.0, 900.0, |us| us);
        assert!(lanes.note().contains("2 further marks"), "{}", lanes.note());
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
