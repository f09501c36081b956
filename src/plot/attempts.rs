//! Chart: attempts by the time at which they began, stacked by what became of them; a strip for each cohort, on one scale.
//!
//! From `counts.csv`: exact, where the strips of `timeline` only estimate when an attempt began that failed later.

use super::Loaded;
use super::axis::{self, Axis};
use super::marks;
use super::scene::{Ink, NAME, NOTE, Scene, TextAnchor};
use super::sheet::{self, FOOT, MARGIN, Panel, TOP, WIDTH};
use crate::number;
use crate::results::bands::intervals_per_bin;
use crate::results::record::CountRow;

const LEFT: f64 = 76.0;
const RIGHT: f64 = WIDTH - 172.0;
const GAP: f64 = 14.0;
/// Baseline of the first line beside a strip, below its top, and the distance of lines.
const LINES: (f64, f64) = (28.0, 15.0);
/// With more cohorts than this there is one strip, of all of them: shared among many, the height would be too little for each.
const STRIPS_MAX: usize = 8;
/// What becomes of an attempt, from the bottom of a bar to its top: as `counts.csv` says it, and in words. The first is no failure.
const OUTCOMES: [(&str, &str); 6] = [
    ("opened", "opened"),
    ("refused", "refused"),
    ("timed_out", "timed out"),
    ("rejected", "rejected"),
    ("failed", "failed"),
    ("abandoned", "abandoned"),
];

/// Attempts by outcome, in the order of [`OUTCOMES`].
type Outcomes = [u64; OUTCOMES.len()];

/// Whether an attempt did not open: otherwise `timeline` shows as much.
pub(super) fn applies(loaded: &Loaded) -> bool {
    counted(loaded).any(|(_, outcome)| outcome > 0)
}

/// Draws it.
pub(super) fn scene(loaded: &Loaded) -> Scene {
    let sub = "Attempts by outcome";
    let all = counted(loaded).fold(Outcomes::default(), |mut sums, (row, outcome)| {
        sums[outcome] += row.count;
        sums
    });
    if all.iter().sum::<u64>() == 0 {
        return sheet::empty(loaded, "No attempt was recorded", sub, "counts.csv has no attempts, or is missing");
    }
    let length = length_us(loaded);
    let x = Axis::linear(0.0, length as f64, LEFT, RIGHT);
    let per_bin = seconds_per_bin(loaded, length);
    let strips = strips(loaded, per_bin, length.div_ceil(per_bin * 1_000_000) as usize);
    let lanes = marks::place(marks::of(loaded), LEFT, RIGHT, WIDTH - MARGIN, |us| x.at(us));
    let (first, high) = (TOP + 38.0 + lanes.height(), (220.0 / strips.len() as f64).clamp(66.0, 200.0));
    let panels: Vec<(f64, f64)> = (0..strips.len()).map(|n| first + n as f64 * (high + GAP)).map(|top| (top, top + high)).collect();
    let bottom = first + strips.len() as f64 * (high + GAP) - GAP;

    let mut scene = sheet::open(loaded, WIDTH, bottom + 50.0 + lanes.list_height() + FOOT, &title(&all), sub);
    let bar = per_bin * 1_000_000;
    let name = format!("Attempts per {} (count)", if per_bin == 1 { "second".to_string() } else { number::time(bar) });
    scene.text(MARGIN, TOP, TextAnchor::Start, NAME, name.as_str());
    let shown: Vec<usize> = (0..OUTCOMES.len()).filter(|n| all[*n] > 0).collect();
    let colours: Vec<_> = shown.iter().map(|n| (Ink::Series(*n), OUTCOMES[*n].1)).collect();
    sheet::key(&mut scene, MARGIN + NAME.width(&name) + 24.0, TOP, &colours);
    lanes.draw_bands(&mut scene, &x, &panels);
    let most = strips.iter().flat_map(|strip| &strip.bins).map(|bin| bin.iter().sum::<u64>()).max().unwrap_or(0);
    let ticks = axis::count_ticks(most as f64, (high / 40.0) as usize);
    for (strip, (top, bottom)) in strips.iter().zip(&panels) {
        let panel = Panel { left: LEFT, right: RIGHT, top: *top, bottom: *bottom };
        let y = Axis::linear(0.0, ticks[ticks.len() - 1], *bottom, *top);
        panel.y_axis(&mut scene, &y, &sheet::count_labels(&ticks));
        draw_bars(&mut scene, &x, &y, &strip.bins, bar);
        describe(&mut scene, strip, &panel, &shown);
    }
    lanes.draw_labels(&mut scene, &x, TOP + 14.0, &panels);
    let (ticks, unit) = axis::offset_ticks(length as f64, 10);
    let area = Panel { left: LEFT, right: RIGHT, top: first, bottom };
    area.x_axis(&mut scene, &x, &ticks, &format!("Time since the first arrival ({unit})"));
    let attempts = number::counted(all.iter().sum(), "attempt");
    lanes.draw_list(&mut scene, bottom + 58.0);
    let note = format!("n = {attempts}, by the time at which they began · one bar is {}", number::time(bar));
    sheet::close(scene, loaded, &note)
}

/// What became of attempts, with the place of the outcome in [`OUTCOMES`].
fn counted(loaded: &Loaded) -> impl Iterator<Item = (&CountRow, usize)> {
    let rows = loaded.counts.iter().flatten().filter(|row| row.metric == "attempts" && row.count > 0);
    rows.filter_map(|row| Some((row, OUTCOMES.iter().position(|(word, _)| row.outcome.as_deref() == Some(word))?)))
}

/// To the end of the measurement, or of the last second in which an attempt began.
fn length_us(loaded: &Loaded) -> u64 {
    let last = counted(loaded).map(|(row, _)| u64::from(row.second)).max().unwrap_or(0);
    let measured = loaded.summary.measured_ms * 1000;
    if last * 1_000_000 < measured { measured } else { (last + 1) * 1_000_000 }
}

/// Seconds in one bar: whole intervals of the counts.
fn seconds_per_bin(loaded: &Loaded, length_us: u64) -> u64 {
    let width = counted(loaded).map(|(row, _)| u64::from(row.width_s)).max().unwrap_or(1).max(1);
    intervals_per_bin(length_us.div_ceil(1_000_000)).next_multiple_of(width.next_power_of_two())
}

/// One cohort over time, or all of them.
struct Strip {
    name: String,
    bins: Vec<Outcomes>,
}

fn strips(loaded: &Loaded, seconds_per_bin: u64, bins: usize) -> Vec<Strip> {
    let cohorts = sheet::cohorts_and(loaded, counted(loaded).map(|(row, _)| row.cohort.as_str()));
    let apart = cohorts.len() <= STRIPS_MAX;
    let names = if apart { cohorts.clone() } else { vec![format!("{} cohorts", cohorts.len())] };
    let mut strips: Vec<Strip> = names.into_iter().map(|name| Strip { name, bins: vec![Outcomes::default(); bins] }).collect();
    for (row, outcome) in counted(loaded) {
        let strip = if apart { cohorts.iter().position(|name| *name == row.cohort).unwrap_or(0) } else { 0 };
        strips[strip].bins[(u64::from(row.second) / seconds_per_bin) as usize][outcome] += row.count;
    }
    strips
}

/// A bar for each bin, its parts from the bottom in the order of [`OUTCOMES`].
fn draw_bars(scene: &mut Scene, x: &Axis, y: &Axis, bins: &[Outcomes], bar_us: u64) {
    for (bin, outcomes) in bins.iter().enumerate() {
        let (from, to) = (x.at((bin as u64 * bar_us) as f64), x.at(((bin as u64 + 1) * bar_us) as f64));
        let mut below = 0;
        for (n, count) in outcomes.iter().enumerate() {
            let (bottom, top) = (y.at(below as f64), y.at((below + count) as f64));
            scene.rect(from, top, (to - from - 0.75).max(1.0), bottom - top, Ink::Series(n));
            below += count;
        }
    }
}

/// Whose strip it is and what became of its attempts: by outcome where there is room, since few among many cannot be seen in a bar.
fn describe(scene: &mut Scene, strip: &Strip, panel: &Panel, shown: &[usize]) {
    let room = WIDTH - MARGIN - RIGHT - 10.0;
    let sum = |outcome: usize| strip.bins.iter().map(|bin| bin[outcome]).sum::<u64>();
    let all: u64 = (0..OUTCOMES.len()).map(sum).sum();
    scene.text(RIGHT + 10.0, panel.top + 12.0, TextAnchor::Start, NAME, NAME.fit(&strip.name, room));
    let mut notes = vec![number::counted(all, "attempt")];
    if LINES.0 + LINES.1 * shown.len() as f64 <= panel.bottom - panel.top {
        notes.extend(shown.iter().map(|n| format!("{} {}", number::count(sum(*n)), OUTCOMES[*n].1)));
    } else if all > 0 {
        notes.push(format!("{} did not open", number::share(all - sum(0), all)));
    }
    for (line, note) in notes.iter().enumerate() {
        let baseline = panel.top + LINES.0 + line as f64 * LINES.1;
        scene.text(RIGHT + 10.0, baseline, TextAnchor::Start, NOTE, NOTE.fit(note, room));
    }
}

/// How many did not open, and the two outcomes that most of them had.
fn title(all: &Outcomes) -> String {
    let attempts = number::counted(all.iter().sum(), "attempt");
    let mut others: Vec<(u64, &str)> = (1..OUTCOMES.len()).filter(|n| all[*n] > 0).map(|n| (all[n], OUTCOMES[n].1)).collect();
    let not: u64 = others.iter().map(|(count, _)| count).sum();
    let why = match others[..] {
        [] => return format!("Of {attempts} all opened"),
        [(_, outcome)] => format!("all {outcome}"),
        _ => {
            others.sort_by_key(|(count, _)| std::cmp::Reverse(*count)); // stable: equal counts in the order of the bars
            let rest: u64 = others.iter().skip(2).map(|(count, _)| count).sum();
            let mut parts: Vec<String> =
                others.iter().take(2).map(|(count, outcome)| format!("{} {outcome}", number::count(*count))).collect();
            parts.extend((rest > 0).then(|| number::counted(rest, "other")));
            parts.join(", ")
        }
    };
    format!("{} of {attempts} did not open: {why}", number::count(not))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::super::scene::Item;
    use super::*;

    #[test]
    fn bars_are_stacked_in_the_second_in_which_attempts_began() {
        let mut loaded = fixture::crash_storm();
        let row = |second, outcome: &str, count| CountRow {
            second,
            metric: "attempts".to_string(),
            cohort: "web".to_string(),
            outcome: Some(outcome.to_string()),
            count,
            ..CountRow::default()
        };
        // `begun` is the sum of the others; what an attempt does not do is not counted.
        let mut rows =
            vec![row(3, "begun", 100), row(3, "opened", 40), row(3, "timed_out", 60), row(9, "begun", 20), row(9, "refused", 20)];
        rows.push(CountRow { metric: "messages".to_string(), ..row(3, "opened", 999) });
        loaded.counts = Some(rows);
        let scene = scene(&loaded);
        assert_eq!(scene.title, "80 of 120 attempts did not open: 60 timed out, 20 refused");
        let bars: Vec<_> = scene
            .items
            .iter()
            .filter_map(|item| match item {
                Item::Rect { x, y, w, h, ink: ink @ Ink::Series(_) } if *x >= LEFT && *w > 10.0 && *y > TOP => Some((*x, *y, *h, *ink)),
                _ => None,
            })
            .collect();
        let second = (RIGHT - LEFT) / 10.0;
        let [opened, late, refused] = bars[..] else { panic!("{bars:?}") };
        assert_eq!((opened.3, late.3, refused.3), (Ink::Series(0), Ink::Series(2), Ink::Series(1)));
        for (bar, at) in [(opened, 3.0), (late, 3.0), (refused, 9.0)] {
            assert!((bar.0 - LEFT - at * second).abs() < 0.01, "{bar:?}");
        }
        assert!((late.1 + late.2 - opened.1).abs() < 0.01, "one stands on the other");
        assert!(scene.text_boxes().iter().any(|text| text.4 == "60 timed out"), "beside the strip");
        assert!((late.2 / opened.2 - 1.5).abs() < 0.01 && (opened.2 / refused.2 - 2.0).abs() < 0.01, "heights are counts");
    }

    #[test]
    fn where_all_opened_or_nothing_is_known_there_is_no_chart() {
        let mut loaded = fixture::crash_storm();
        assert!(applies(&loaded));
        loaded.counts.iter_mut().flatten().for_each(|row| row.count = if row.outcome.as_deref() == Some("opened") { 5 } else { 0 });
        assert!(!applies(&loaded) && scene(&loaded).title.ends_with(" all opened"));
        loaded.counts = None;
        assert!(!applies(&loaded));
    }

    #[test]
    fn each_cohort_has_a_strip_and_many_have_one() {
        for (loaded, names) in
            [(fixture::strategies(), vec!["fixed-3s", "exponential", "full-jitter"]), (fixture::many_cohorts(), vec!["24 cohorts"])]
        {
            let strips = strips(&loaded, 1, 30);
            assert_eq!(strips.iter().map(|strip| strip.name.as_str()).collect::<Vec<_>>(), names);
            let drawn: u64 = strips.iter().flat_map(|strip| &strip.bins).flatten().sum();
            assert_eq!(drawn, loaded.summary.attempts.counts.total);
        }
    }

    #[test]
    fn a_day_has_bars_that_can_be_seen_and_the_title_names_two_outcomes() {
        let mut loaded = fixture::crash_storm();
        loaded.summary.measured_ms = 86_400_000;
        let rows = loaded.counts.as_mut().unwrap();
        rows[0].second = 86_399;
        let bins = strips(&loaded, intervals_per_bin(86_400), 86_400_u64.div_ceil(intervals_per_bin(86_400)) as usize);
        assert!((100..1_000).contains(&bins[0].bins.len()), "{}", bins[0].bins.len());
        assert_eq!(title(&[5, 0, 0, 7, 0, 0]), "7 of 12 attempts did not open: all rejected");
        assert_eq!(title(&[5, 1, 2, 3, 1, 1]), "8 of 13 attempts did not open: 3 rejected, 2 timed out, 3 others");
    }
}
