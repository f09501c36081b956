//! What both charts of a search for the capacity are made of: edges, dots, their legend, and words.

use super::super::axis;
use super::super::scene::{Ink, NOTE, Scene, TextAnchor};
use super::super::sheet::WIDTH;
use crate::capacity::{Ended, RunOutcome};
use crate::number;
use crate::results::capacity::{LimitRow, Search, StepRow};

pub(super) const LEFT: f64 = 92.0;
pub(super) const RIGHT: f64 = WIDTH - 150.0;

/// Dots of a run.
pub(super) const DOT: f64 = 4.0;

/// A limit with its spread in words: `3,900 ± 200 a second`, `at least 20,000`, `none`.
pub fn limit_words(limit: &LimitRow, unit: &str) -> String {
    let Some(value) = limit.limit else { return "none".to_owned() };
    let bound = [Ended::Top, Ended::Generator, Ended::Impossible].iter().any(|ended| ended.name() == limit.ended);
    let spread = limit.plus_minus.filter(|spread| *spread > 0.0 && !bound);
    let of_number = |suffix: &str| match spread {
        Some(spread) => format!("{} ± {}{suffix}", number::quantity(value), number::quantity(two_digits(spread))),
        None => format!("{}{suffix}", number::quantity(value)),
    };
    let words = match (unit, spread) {
        ("per_s", _) => of_number(" a second"),
        ("percent", _) => of_number(" %"),
        ("count" | "number", _) => of_number(""),
        (_, Some(spread)) => format!("{} ± {}", number::observed(value, unit), number::observed(two_digits(spread), unit)),
        (_, None) => number::observed(value, unit),
    };
    if bound { format!("at least {words}") } else { words }
}

/// A spread is not known to more than two digits.
fn two_digits(value: f64) -> f64 {
    format!("{value:.1e}").parse().unwrap_or(value)
}

/// Line below the title.
pub(super) fn made(search: &Search, sub: &str) -> String {
    let c = &search.capacity;
    format!("{sub} · scenario {} · {} · measured on real sockets · seed {}", c.scenario, c.target, c.seed)
}

pub(super) fn counted(search: &Search) -> String {
    let of = |outcome: RunOutcome| search.steps.iter().filter(|step| step.outcome == outcome.name()).count() as u64;
    let all = [RunOutcome::Held, RunOutcome::Failed, RunOutcome::Saturated, RunOutcome::Untold, RunOutcome::Impossible];
    let parts: Vec<String> = all
        .iter()
        .filter(|outcome| of(**outcome) > 0)
        .map(|outcome| format!("{} {}", number::count(of(*outcome)), outcome.name()))
        .collect();
    let runs = number::counted(search.steps.len() as u64, "run");
    format!("n = {runs} of {} each: {}", number::time(search.capacity.duration_ms * 1000), parts.join(", "))
}

/// Ticks of an axis of a varied parameter from 0, and its end.
pub(super) fn value_ticks(high: f64, unit: &str, target: usize) -> (Vec<(f64, String)>, f64) {
    let ticks = axis::ticks(high, target);
    let end = ticks.last().copied().unwrap_or(high);
    let label = |value: f64| if value == 0.0 { "0".to_owned() } else { number::observed(value, unit) };
    (ticks.into_iter().map(|tick| (tick, label(tick))).collect(), end)
}

/// A run: filled where it held, hollow where it failed, a square where the generator was the limit. Shapes tell in grey, too.
pub(super) fn dot(scene: &mut Scene, at: (f64, f64), outcome: &str, ink: Ink, r: f64) {
    if outcome == RunOutcome::Held.name() {
        scene.dot(at.0, at.1, r, ink);
    } else if outcome == RunOutcome::Failed.name() {
        scene.dot(at.0, at.1, r + 0.5, ink);
        scene.dot(at.0, at.1, r - 1.5, Ink::Paper);
    } else {
        scene.rect(at.0 - r, at.1 - r, 2.0 * r, 2.0 * r, ink);
        scene.rect(at.0 - r + 1.5, at.1 - r + 1.5, 2.0 * r - 3.0, 2.0 * r - 3.0, Ink::Paper);
    }
}

pub(super) fn legend(scene: &mut Scene, steps: &[StepRow], x: f64, mut y: f64, ink: Ink) {
    for (outcome, name) in [
        (RunOutcome::Held, "held"),
        (RunOutcome::Failed, "failed"),
        (RunOutcome::Saturated, "saturated"),
        (RunOutcome::Untold, "undecided"),
    ] {
        if steps.iter().any(|step| step.outcome == outcome.name()) {
            dot(scene, (x + 12.0, y - 4.0), outcome.name(), ink, DOT);
            scene.text(x + 30.0, y, TextAnchor::Start, NOTE, NOTE.fit(name, WIDTH - x - 34.0));
            y += 17.0;
        }
    }
}
