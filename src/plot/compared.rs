//! Chart of a comparison of runs: the share of outages that are not over yet, by time, of both sides.
//!
//! Not one of the charts of a run: it takes several. The line of a side is the Kaplan–Meier estimate of all its outages; the band around it goes
//! from the least to the most of its runs. An interval by Greenwood's formula would take clients for independent, and be too narrow.

use super::axis::{self, Axis};
use super::scene::{Ink, LABEL, NAME, Scene, TextAnchor, dash};
use super::sheet::{self, FOOT, MARGIN, Panel, TOP, WIDTH};
use crate::compare::{ComparedRun, RunComparison, pooled};
use crate::metrics::survival::Survival;
use crate::number;

/// Name of its files, without extension.
pub const NAME_OF_FILES: &str = "compare-reconnect";
const HEIGHT: f64 = 480.0;
/// Places at which a band is drawn.
const PLACES: u32 = 200;

/// One side.
struct SideCurve {
    name: &'static str,
    all: Survival,
    runs: Vec<Survival>,
}

/// Draws it; `None` where nobody had to reconnect. `command` is what makes it again.
pub fn scene(base: &[ComparedRun], new: &[ComparedRun], comparison: &RunComparison, command: &str) -> Option<Scene> {
    let side = |name, runs: &[ComparedRun]| SideCurve { name, all: pooled(runs), runs: runs.iter().map(ComparedRun::reconnects).collect() };
    let sides = [side("base", base), side("new", new)];
    let longest = sides.iter().filter_map(|side| side.all.horizon()).max()?;
    let sub = "Share of outages that are not over yet, Kaplan–Meier · band: least to most of the runs";
    let mut scene = sheet::titled(WIDTH, HEIGHT, &title(&sides), sub);
    let panel = Panel { left: 76.0, right: WIDTH - MARGIN - 12.0, top: TOP + 30.0, bottom: HEIGHT - FOOT - 50.0 };
    let x = Axis::linear(0.0, axis::time_ceiling(longest as f64, 8), panel.left, panel.right);
    let y = Axis::linear(0.0, 1.0, panel.bottom, panel.top);
    let percents = [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| (share, format!("{:.0}", share * 100.0)));
    panel.y_axis(&mut scene, &y, &percents);
    let above = "Not yet reconnected (% of outages)";
    scene.text(MARGIN, panel.top - 14.0, TextAnchor::Start, NAME, above);
    let (ticks, unit) = axis::offset_ticks(axis::time_ceiling(longest as f64, 8), 8);
    panel.x_axis(&mut scene, &x, &ticks, &format!("Time since the fault ({unit})"));
    for (n, side) in sides.iter().enumerate() {
        scene.area(band(side, longest, &x, &y), Ink::Series(n), 0.22);
    }
    let mut left = MARGIN + NAME.width(above) + 40.0;
    for (n, side) in sides.iter().enumerate() {
        scene.line(stairs(&side.all, &x, &y), Ink::Series(n), 2.4, dash(n));
        scene.line(vec![(left, panel.top - 18.0), (left + 34.0, panel.top - 18.0)], Ink::Series(n), 2.4, dash(n));
        let runs = format!("{}: {}", side.name, number::counted(side.runs.len() as u64, "run"));
        scene.text(left + 42.0, panel.top - 14.0, TextAnchor::Start, LABEL, runs.as_str());
        left += 42.0 + LABEL.width(&runs) + 24.0;
    }
    let outages = |side: &SideCurve| number::counted(side.all.count(), "outage");
    let log_rank = comparison.log_rank_reconnect.map_or_else(String::new, |chi| {
        format!(" · log-rank χ² {}, a description: clients of one run depend on each other", number::trimmed(chi, 1))
    });
    let counted = format!("n = {} (base) and {} (new){log_rank}", outages(&sides[0]), outages(&sides[1]));
    Some(sheet::footed(scene, &counted, command))
}

fn title(sides: &[SideCurve; 2]) -> String {
    let half = |side: &SideCurve| side.all.quantile(0.5);
    match [half(&sides[0]), half(&sides[1])] {
        [Some(base), Some(new)] => format!("Half are back within {} (base) and {} (new)", number::time(base), number::time(new)),
        [Some(base), None] => format!("Half were back within {} (base), and now never are", number::time(base)),
        [None, Some(new)] => format!("Half are back within {} (new), and never were before", number::time(new)),
        [None, None] => "Fewer than half come back on either side".to_owned(),
    }
}

/// The curve as stairs, to the last time that was observed.
fn stairs(of: &Survival, x: &Axis, y: &Axis) -> Vec<(f64, f64)> {
    let mut points = vec![(x.at(0.0), y.at(1.0))];
    let mut left = 1.0;
    for (time, share) in of.curve() {
        let at = x.at(time as f64);
        // Less than a third of a pixel further is not seen.
        if points.last().is_some_and(|last| at - last.0 >= 0.3) {
            points.push((at, y.at(left)));
        }
        points.push((at, y.at(share)));
        left = share;
    }
    points.extend(of.horizon().map(|end| (x.at(end as f64), y.at(left))));
    points
}

/// From the least to the most of the runs, up to the time that all of them observed.
fn band(side: &SideCurve, longest: u64, x: &Axis, y: &Axis) -> Vec<(f64, f64, f64)> {
    let common = side.runs.iter().filter_map(Survival::horizon).min().unwrap_or(0);
    let curves: Vec<Vec<(u64, f64)>> = side.runs.iter().map(|run| run.curve().collect()).collect();
    let places = (0..=PLACES).map(|place| longest * u64::from(place) / u64::from(PLACES)).take_while(|time| *time <= common);
    let at = |curve: &Vec<(u64, f64)>, time: u64| match curve.partition_point(|step| step.0 <= time) {
        0 => 1.0,
        after => curve[after - 1].1,
    };
    places
        .map(|time| {
            let shares = || curves.iter().map(|curve| at(curve, time));
            let (least, most) = (shares().fold(1.0, f64::min), shares().fold(0.0, f64::max));
            (x.at(time as f64), y.at(most), y.at(least))
        })
        .collect()
}
