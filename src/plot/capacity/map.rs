//! The map of two parameters: the limit of the second for each value of the first, with its spread and all runs.

use super::super::axis::Axis;
use super::super::scene::{Ink, NAME, NOTE, Scene, TextAnchor};
use super::super::sheet::{self, FOOT, MARGIN, Panel, TOP, WIDTH};
use super::parts::{DOT, LEFT, RIGHT, counted, dot, legend, limit_words, made, value_ticks};
use crate::number;
use crate::results::capacity::Search;

const HEIGHT: f64 = 320.0;
/// Half the width of the bar at the ends of a spread.
const CAP: f64 = 6.0;

/// Draws it.
pub(super) fn scene(search: &Search) -> Scene {
    let (first, second) = (&search.capacity.vary[0], search.searched());
    let top = TOP + 22.0;
    let panel = Panel { left: LEFT, right: RIGHT, top, bottom: top + HEIGHT };
    let highest = search.steps.iter().map(|step| step.value).fold(0.0, f64::max);
    let (levels, end) = value_ticks(first.high, &first.unit, 8);
    let x = Axis::linear(0.0, end, LEFT, RIGHT);
    let (values, end) = value_ticks(highest, &second.unit, 6);
    let y = Axis::linear(0.0, end, panel.bottom, panel.top);
    let sub = format!("{} at which all expectations hold, against {}", second.key, first.key);
    let mut scene = sheet::titled(WIDTH, panel.bottom + 50.0 + FOOT, &title(search), &made(search, &sub));
    panel.y_axis(&mut scene, &y, &values);
    scene.text(MARGIN, TOP, TextAnchor::Start, NAME, NAME.fit(&second.key, RIGHT - MARGIN));
    for step in &search.steps {
        let level = step.level.unwrap_or_default();
        dot(&mut scene, (x.at(level), y.at(step.value)), &step.outcome, Ink::Series(5), DOT - 1.0);
    }
    let mut line = Vec::new();
    for limit in &search.capacity.limits {
        let at = x.at(limit.level.unwrap_or_default());
        let Some(value) = limit.limit else {
            scene.text(at, panel.top + 14.0, TextAnchor::Middle, NOTE, "none holds");
            continue;
        };
        let (low, high) = (y.at(limit.surely_holds.unwrap_or(value)), y.at(limit.surely_fails.unwrap_or(value)));
        scene.rule((at, low), (at, high), Ink::Strong, 1.6);
        for end in [low, high] {
            scene.rule((at - CAP, end), (at + CAP, end), Ink::Strong, 1.6);
        }
        line.push((at, y.at(value)));
    }
    scene.line(line.clone(), Ink::Series(0), 2.4, &[]);
    line.iter().for_each(|(at, value)| scene.dot(*at, *value, DOT + 1.0, Ink::Series(0)));
    panel.x_axis(&mut scene, &x, &levels, &first.key);
    scene.line(vec![(RIGHT + 8.0, panel.top), (RIGHT + 32.0, panel.top)], Ink::Series(0), 2.4, &[]);
    scene.text(RIGHT + 38.0, panel.top + 4.0, TextAnchor::Start, NOTE, "limit, spread");
    legend(&mut scene, &search.steps, RIGHT + 8.0, panel.top + 24.0, Ink::Series(5));
    sheet::footed(scene, &counted(search), &search.capacity.command)
}

fn title(search: &Search) -> String {
    let (first, second) = (&search.capacity.vary[0], search.searched());
    let (Some(low), Some(high)) = (search.capacity.limits.first(), search.capacity.limits.last()) else { return second.key.clone() };
    let of = |value: Option<f64>| number::observed(value.unwrap_or_default(), &first.unit);
    format!(
        "The limit is {} at {}, and {} at {}",
        limit_words(low, &second.unit),
        of(low.level),
        limit_words(high, &second.unit),
        of(high.level)
    )
}
