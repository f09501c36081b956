//! Chart: where outages spent their time: detection, waits, attempts, first reply; for the median and the 90th percentile outage.
//!
//! A bar shows the mean phases of the outages around that rank (5 % of all outages), so that its parts belong together and add up.
//! Medians of each phase would not.

use super::Loaded;
use super::axis::{self, Axis};
use super::scene::{Ink, LABEL, NAME, NOTE, Scene, TextAnchor};
use super::sheet::{self, FOOT, MARGIN, Panel, TOP, WIDTH};
use crate::number;
use crate::results::record::ReconnectRow;

const LEFT: f64 = 250.0;
const RIGHT: f64 = WIDTH - 100.0;
/// Heights of a bar and of a group of two.
const ROOMY: (f64, f64) = (24.0, 72.0);
/// The same where there are many groups.
const TIGHT: (f64, f64) = (15.0, 45.0);
/// More groups than this are drawn tight.
const ROOMY_MAX: usize = 8;
/// Groups beyond this are left out and counted.
const GROUPS_MAX: usize = 30;
/// Share of all outages that a bar averages.
const WINDOW: f64 = 0.05;

const PHASES: [(&str, Ink); 5] = [
    ("detection", Ink::Series(0)),
    ("backoff", Ink::Series(1)),
    ("attempts", Ink::Series(2)),
    ("first reply", Ink::Series(3)),
    ("other", Ink::Axis),
];

/// Draws it.
pub(super) fn scene(loaded: &Loaded) -> Scene {
    let (kind, mut groups) = groups(loaded);
    let sub = format!("Phases of the median and the 90th percentile outage per {kind}");
    groups.retain(|group| group.outages > 0.0);
    if groups.is_empty() {
        return sheet::empty(loaded, "Nobody had to reconnect", &sub, "No open connection was lost: there are no phases to show");
    }
    let left_out = groups.len().saturating_sub(GROUPS_MAX);
    groups.truncate(GROUPS_MAX);
    let (bar, each) = if groups.len() > ROOMY_MAX { TIGHT } else { ROOMY };
    let bottom = TOP + 34.0 + groups.len() as f64 * each;
    let mut scene = sheet::open(loaded, WIDTH, bottom + 50.0 + FOOT, &title(&groups), &sub);
    let panel = Panel { left: LEFT, right: RIGHT, top: TOP + 30.0, bottom };
    let most = groups.iter().flat_map(|group| group.bars.iter().flatten()).map(|bar| bar.iter().sum::<f64>()).fold(1.0, f64::max);
    let x = Axis::linear(0.0, axis::time_ceiling(most, 6), LEFT, RIGHT);
    let (ticks, unit) = axis::offset_ticks(axis::time_ceiling(most, 6), 6);
    for (tick, _) in &ticks {
        scene.rule((x.at(*tick), panel.top), (x.at(*tick), bottom), Ink::Grid, 1.0);
    }
    panel.x_axis(&mut scene, &x, &ticks, &format!("Time since the fault ({unit})"));
    let used = |phase: usize| groups.iter().flat_map(|group| group.bars.iter().flatten()).any(|bar| bar[phase] > 0.0);
    key(&mut scene, panel.top - 12.0, used);
    for (n, group) in groups.iter().enumerate() {
        draw_group(&mut scene, &x, group, (panel.top + 8.0 + n as f64 * each, bar));
    }
    scene.rule((LEFT, panel.top), (LEFT, bottom), Ink::Axis, 1.0);
    let total: f64 = groups.iter().map(|group| group.outages).sum();
    let more = if left_out > 0 { format!(" · {left_out} more {kind}s left out") } else { String::new() };
    let counted = format!(
        "n = {}, those that did not end rank last · a bar is the mean of the 5 % of outages around its rank{more}",
        number::counted(total.round() as u64, "outage")
    );
    sheet::close(scene, loaded, &counted)
}

struct Group {
    name: String,
    outages: f64,
    back: f64,
    /// Phases in µs at the median and at the 90th percentile; `None` where that outage did not end.
    bars: [Option<[f64; 5]>; 2],
}

/// By fault where there is one cohort and several faults made outages, otherwise by cohort.
fn groups(loaded: &Loaded) -> (&'static str, Vec<Group>) {
    let cohorts: Vec<&String> = loaded.summary.cohorts.keys().collect();
    let mut faults: Vec<Option<&str>> = loaded.summary.faults.iter().map(|fault| Some(fault.id.as_str())).collect();
    faults.push(None);
    faults.retain(|fault| loaded.reconnects.iter().any(|row| row.fault.as_deref() == *fault));
    if cohorts.len() <= 1 && faults.len() > 1 {
        let rows = |fault: Option<&str>| loaded.reconnects.iter().filter(move |row| row.fault.as_deref() == fault).collect();
        return ("fault", faults.iter().map(|fault| group(fault.unwrap_or("not by a fault"), rows(*fault))).collect());
    }
    let rows = |cohort: &str| loaded.reconnects.iter().filter(|row| row.cohort == cohort).collect();
    ("cohort", cohorts.iter().map(|cohort| group(cohort, rows(cohort))).collect())
}

fn group(name: &str, mut rows: Vec<&ReconnectRow>) -> Group {
    rows.sort_by_key(|row| row.reconnect_us.unwrap_or(u64::MAX));
    let outages: f64 = rows.iter().map(|row| row.weight).sum();
    let back = rows.iter().filter(|row| row.reconnect_us.is_some()).map(|row| row.weight).sum();
    Group { name: name.to_string(), outages, back, bars: [0.5, 0.9].map(|rank| around(&rows, outages, rank)) }
}

/// Mean phases of the outages whose rank is within half a window of `rank`; `None` if the outage at the rank did not end.
fn around(rows: &[&ReconnectRow], outages: f64, rank: f64) -> Option<[f64; 5]> {
    let (low, high) = ((rank - WINDOW / 2.0) * outages, (rank + WINDOW / 2.0) * outages);
    let (mut below, mut weight, mut sums, mut reached) = (0.0, 0.0, [0.0; 5], false);
    for row in rows {
        let above = below + row.weight;
        if row.reconnect_us.is_some() && above >= low && below <= high {
            weight += row.weight;
            for (sum, phase) in sums.iter_mut().zip(phases(row)) {
                *sum += phase * row.weight;
            }
        }
        reached |= row.reconnect_us.is_some() && above >= rank * outages - 1e-9;
        below = above;
    }
    (reached && weight > 0.0).then(|| sums.map(|sum| sum / weight))
}

/// The phases of an outage that ended, in µs; `other` is what the rest leaves of its time.
fn phases(row: &ReconnectRow) -> [f64; 5] {
    let known = [row.detect_us.unwrap_or(0), row.backoff_us, row.attempt_us, row.first_reply_us.unwrap_or(0)].map(|us| us as f64);
    let other = (row.reconnect_us.unwrap_or(0) as f64 - known.iter().sum::<f64>()).max(0.0);
    [known[0], known[1], known[2], known[3], other]
}

fn title(groups: &[Group]) -> String {
    let longest = groups.iter().filter_map(|group| group.bars[0].map(|bar| (group, bar)));
    let Some((group, bar)) = longest.max_by(|a, b| a.1.iter().sum::<f64>().total_cmp(&b.1.iter().sum())) else {
        return "Not half of the outages ended".to_string();
    };
    let total: f64 = bar.iter().sum();
    let (phase, part) = PHASES.iter().zip(bar).max_by(|a, b| a.1.total_cmp(&b.1)).map_or(("", 0.0), |((name, _), part)| (*name, part));
    let whose = if groups.len() > 1 { format!(" of {}", group.name) } else { String::new() };
    let share = number::percent(part * 100.0 / total.max(1.0));
    // How long it is says the table beside it, to the microsecond; a bar is a mean.
    format!("{share} of the median outage{whose} is {phase}")
}

fn key(scene: &mut Scene, baseline: f64, used: impl Fn(usize) -> bool) {
    let mut left = LEFT;
    for (_, (name, ink)) in PHASES.iter().enumerate().filter(|(phase, _)| used(*phase)) {
        scene.rect(left, baseline - 9.0, 10.0, 10.0, *ink);
        scene.text(left + 15.0, baseline, TextAnchor::Start, NOTE, *name);
        left += 15.0 + NOTE.width(name) + 22.0;
    }
}

fn draw_group(scene: &mut Scene, x: &Axis, group: &Group, (top, height): (f64, f64)) {
    let baseline = height / 2.0 + 4.5;
    scene.text(MARGIN, top + baseline, TextAnchor::Start, NAME, NAME.fit(&group.name, LEFT - MARGIN - 70.0));
    let count = |n: f64| number::count(n.round() as u64);
    let note = format!("n = {}, {} back", count(group.outages), count(group.back));
    scene.text(MARGIN, top + baseline + height.min(17.0), TextAnchor::Start, NOTE, NOTE.fit(&note, LEFT - MARGIN - 70.0));
    for (n, (name, bar)) in ["median", "p90"].into_iter().zip(group.bars).enumerate() {
        let y = top + n as f64 * (height + 4.0);
        scene.text(LEFT - 10.0, y + baseline, TextAnchor::End, NOTE, name);
        let Some(bar) = bar else {
            scene.text(LEFT + 8.0, y + baseline, TextAnchor::Start, LABEL.in_ink(Ink::Muted), "did not end in this run");
            continue;
        };
        let mut at = 0.0;
        for ((_, ink), part) in PHASES.iter().zip(bar) {
            let (from, to) = (x.at(at), x.at(at + part));
            scene.rect(from, y, to - from, height, *ink);
            scene.rule((to, y), (to, y + height), Ink::Paper, 1.0);
            at += part;
            let text = number::time(part.round() as u64);
            if to - from > NOTE.width(&text) + 10.0 {
                let ink = if matches!(ink, Ink::Series(0 | 2)) { Ink::Paper } else { Ink::OnPale };
                scene.text((from + to) / 2.0, y + baseline, TextAnchor::Middle, NOTE.in_ink(ink), text);
            }
        }
        scene.text(x.at(at) + 7.0, y + baseline, TextAnchor::Start, NAME, number::time(at.round() as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(reconnect_us: Option<u64>) -> ReconnectRow {
        ReconnectRow {
            client: 0,
            cohort: "web".to_string(),
            fault: None,
            client_code: 1006,
            fault_offset_us: 0,
            detect_us: Some(10),
            backoff_us: 50,
            attempt_us: 30,
            first_reply_us: Some(20),
            reconnect_us,
            attempts: 1,
            result: "recovered".to_string(),
            weight: 1.0,
        }
    }

    #[test]
    fn phases_add_up_to_the_outage() {
        assert_eq!(phases(&row(Some(115))), [10.0, 50.0, 30.0, 20.0, 5.0]);
    }

    #[test]
    fn an_outage_that_did_not_end_ranks_last() {
        let rows = [row(Some(95)), row(Some(95)), row(None)];
        let rows: Vec<&ReconnectRow> = rows.iter().collect();
        assert!(around(&rows, 3.0, 0.5).is_some());
        assert!(around(&rows, 3.0, 0.9).is_none());
    }
}
