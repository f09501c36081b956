//! What the charts of the page are drawn from, made from the records of a run folder. Deciding is here; the script only draws.
//!
//! Everything has a bound, so that the page stays small however long the run and however many its clients: points of the timeline are several
//! intervals where there are too many, and a curve has its exact steps at a grid of percentiles.

use crate::metrics::told_apart::code_word;
use crate::plot::{self, CurveLimit, Loaded, SurvivalCurve};
use crate::results::record::TimelineRow;
use serde::Serialize;
use std::collections::BTreeMap;

/// Most points of a series of the timeline.
const POINTS_MAX: u64 = 600;
/// Most numbers in all series of the timeline; with many cohorts each has fewer points.
const NUMBERS_MAX: u64 = 60_000;
/// Most points of all reconnect curves together.
const CURVE_POINTS_MAX: usize = 9_000;
/// Most bars of the chart of closes.
const BARS_MAX: u64 = 240;
/// Codes beyond this are one series.
const CODES_MAX: usize = 7;
/// Most counts of closes that are told apart by cohort.
const CLOSES_MAX: usize = 12_000;
/// Cohorts beyond this are put together.
const COHORTS_MAX: usize = 100;
/// Firings of a fault after its first that are marked.
pub(super) const AGAIN_MAX: usize = 100;
/// Faults beyond this have no mark.
const MARKS_MAX: usize = 200;

/// The data of a page.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct PageData {
    /// What offset 0 is, in words.
    pub(super) since: &'static str,
    /// End of the time axis.
    pub(super) end_ms: u64,
    /// Length of a point of the timeline.
    pub(super) step_ms: u64,
    /// Intervals of `timeline.csv` in a point: with more than one, `open` is the last, and `low` the lowest.
    pub(super) merged: u64,
    /// In the order of the scenario.
    pub(super) cohorts: Vec<PageCohort>,
    /// Closes over time.
    pub(super) closes: PageCloses,
    /// Faults and down times.
    pub(super) marks: Vec<PageMark>,
    /// Time to reconnect: of all cohorts first where there are several, then of each that had outages.
    pub(super) curves: Vec<PageCurve>,
    /// Limits of expectations on these curves.
    pub(super) limits: Vec<CurveLimit>,
    /// Of a run under way: how it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) live: Option<PageLive>,
}

/// What the page of a run under way says beside its charts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct PageLive {
    pub(super) at_ms: u64,
    /// A sentence.
    pub(super) status: String,
    /// What, and its value.
    pub(super) figures: Vec<(&'static str, String)>,
    /// What each fault of the plan did, in its order.
    pub(super) faults: Vec<String>,
}

/// One cohort over time; its series have a number for each point.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct PageCohort {
    pub(super) name: String,
    pub(super) strategy: String,
    /// Open clients at the end of each point.
    pub(super) open: Vec<u64>,
    /// Least open clients at the end of an interval of each point; empty where a point is one interval.
    pub(super) low: Vec<u64>,
    /// Attempts begun.
    pub(super) attempts: Vec<u64>,
    /// Round trips in µs: p50, p99 and max; null without echoes, largest of the intervals where a point has several. Empty without any.
    pub(super) rtt_us: Vec<[Option<u64>; 3]>,
}

/// Connections that ended, by the code that the client app sees; by that of the server app where nobody saw the clients' side.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct PageCloses {
    /// `client` or `server`.
    pub(super) side: &'static str,
    /// Length of a bar.
    pub(super) step_ms: u64,
    /// Names of the codes: the most frequent, and `other`.
    pub(super) codes: Vec<String>,
    /// Bar, cohort (null: all of them together), place in `codes`, connections.
    pub(super) cells: Vec<(u64, Option<usize>, usize, u64)>,
}

/// A fault, or a time in which the target was down.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct PageMark {
    pub(super) label: String,
    pub(super) from_ms: f64,
    /// Null where it is over at once.
    pub(super) until_ms: Option<f64>,
    pub(super) down: bool,
    /// When the fault fired again.
    pub(super) again_ms: Vec<f64>,
}

/// A Kaplan–Meier curve: the share of outages that was over by a time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct PageCurve {
    /// Place in `cohorts`; null: all of them.
    pub(super) cohort: Option<usize>,
    pub(super) outages: u64,
    pub(super) back: u64,
    /// Highest share that so many outages support.
    pub(super) supported: f64,
    /// The longest time that an outage was watched.
    pub(super) until_us: u64,
    /// Time in µs and share, both increasing.
    pub(super) steps: Vec<(u64, f64)>,
}

impl PageData {
    /// Of a run.
    pub(super) fn of(loaded: &Loaded) -> PageData {
        let names = names(loaded);
        let interval = interval_ms(&loaded.timeline);
        let last = loaded.timeline.iter().map(|row| row.offset_ms + interval).max().unwrap_or(0);
        let end_ms = last.max(loaded.summary.measured_ms);
        let merged = merged(interval, end_ms, names.len());
        PageData {
            since: if loaded.summary.is_of_real() { "clients were watched" } else { "the first arrival" },
            end_ms,
            step_ms: interval * merged,
            merged,
            cohorts: cohorts(loaded, &names, (interval, merged, end_ms)),
            closes: closes(loaded, &names, end_ms),
            marks: marks(plot::marks_of(loaded)),
            curves: curves(loaded, &names),
            limits: plot::limits_of(loaded),
            live: None,
        }
    }

    /// As it stands in the page: nothing in it can end the element that holds it.
    pub(super) fn json(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned());
        // In JSON these can only stand in strings.
        let escaped = [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")];
        escaped.into_iter().fold(text, |text, (found, instead)| text.replace(found, instead))
    }
}

/// The cohorts that are told apart; what the last of so many is called says that it is several.
fn names(loaded: &Loaded) -> Vec<String> {
    let mut names: Vec<String> = loaded.summary.cohorts.keys().cloned().collect();
    for row in &loaded.timeline {
        // Rows of a cohort follow each other within an interval: as good as sorted.
        if names.len() <= COHORTS_MAX && !names.contains(&row.cohort) {
            names.push(row.cohort.clone());
        }
    }
    told_apart(names)
}

/// So many of them as a page shows.
pub(super) fn told_apart(mut names: Vec<String>) -> Vec<String> {
    if names.len() > COHORTS_MAX {
        let rest = names.len() - (COHORTS_MAX - 1);
        names.truncate(COHORTS_MAX - 1);
        names.push(format!("{rest} other cohorts"));
    }
    names
}

/// How many intervals are a point of the timeline.
pub(super) fn merged(interval_ms: u64, end_ms: u64, cohorts: usize) -> u64 {
    let most = POINTS_MAX.min(NUMBERS_MAX / (6 * cohorts.max(1) as u64)).max(60);
    end_ms.div_ceil(interval_ms).div_ceil(most).max(1)
}

/// The place of a cohort, or of the others.
fn places(names: &[String]) -> impl Fn(&str) -> usize {
    let places: BTreeMap<&str, usize> = names.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    move |name| places.get(name).copied().unwrap_or(names.len().saturating_sub(1))
}

fn interval_ms(rows: &[TimelineRow]) -> u64 {
    plot::interval_ms(rows)
}

fn cohorts(loaded: &Loaded, names: &[String], (interval, merged, end_ms): (u64, u64, u64)) -> Vec<PageCohort> {
    let points = if loaded.timeline.is_empty() { 0 } else { end_ms.div_ceil(interval * merged) as usize };
    let empty = |name: &String| PageCohort {
        name: name.clone(),
        strategy: loaded.summary.cohorts.get(name).map_or_else(String::new, |cohort| cohort.strategy.clone()),
        open: vec![0; points],
        attempts: vec![0; points],
        ..PageCohort::default()
    };
    let mut cohorts: Vec<PageCohort> = names.iter().map(empty).collect();
    // Open clients by interval: several cohorts may be one here, whose lowest is that of the sum.
    let mut open: Vec<BTreeMap<u64, u64>> = vec![BTreeMap::new(); names.len()];
    let place = places(names);
    for row in &loaded.timeline {
        let (at, interval) = (place(&row.cohort), row.offset_ms / interval);
        let (cohort, point) = (&mut cohorts[at], ((interval / merged) as usize).min(points - 1));
        cohort.attempts[point] += row.attempts;
        *open[at].entry(interval).or_default() += row.open;
        if row.rtt_max_us.is_some_and(|us| us > 0 || !loaded.summary.simulated) {
            cohort.rtt_us.resize(points, [None; 3]);
            for (most, us) in cohort.rtt_us[point].iter_mut().zip([row.rtt_p50_us, row.rtt_p99_us, row.rtt_max_us]) {
                *most = (*most).max(us);
            }
        }
    }
    for (cohort, open) in cohorts.iter_mut().zip(open) {
        if merged > 1 {
            cohort.low = vec![u64::MAX; points];
        }
        for (interval, open) in open {
            let point = ((interval / merged) as usize).min(points - 1);
            cohort.open[point] = open;
            if let Some(low) = cohort.low.get_mut(point) {
                *low = (*low).min(open);
            }
        }
        for (low, open) in cohort.low.iter_mut().zip(&cohort.open) {
            *low = (*low).min(*open);
        }
    }
    cohorts
}

fn closes(loaded: &Loaded, names: &[String], end_ms: u64) -> PageCloses {
    let rows = || loaded.counts.iter().flatten().filter(|row| row.metric == "closes" && row.count > 0 && row.reported.is_some());
    let of_clients = rows().any(|row| row.side.as_deref() == Some("client"));
    let side = if of_clients { "client" } else { "server" };
    let rows = || rows().filter(|row| row.side.as_deref() == Some(side));
    let mut frequent: BTreeMap<u16, u64> = BTreeMap::new();
    rows().for_each(|row| *frequent.entry(row.reported.unwrap_or(0)).or_default() += row.count);
    let (codes, others) = most_frequent(frequent);
    let width_s = rows().map(|row| u64::from(row.width_s)).max().unwrap_or(1).max(1);
    let step_s = bar_s(end_ms).next_multiple_of(width_s);
    let place = places(names);
    let mut cells: BTreeMap<(u64, Option<usize>, usize), u64> = BTreeMap::new();
    for row in rows() {
        let code = codes.iter().position(|code| row.reported == Some(*code)).unwrap_or(codes.len());
        *cells.entry((u64::from(row.second) / step_s, Some(place(&row.cohort)), code)).or_default() += row.count;
    }
    if cells.len() > CLOSES_MAX {
        let apart = std::mem::take(&mut cells);
        apart.into_iter().for_each(|((bar, _, code), count)| *cells.entry((bar, None, code)).or_default() += count);
    }
    let cells = cells.into_iter().map(|((bar, cohort, code), count)| (bar, cohort, code, count)).collect();
    PageCloses { side, step_ms: step_s * 1000, codes: code_words(codes, others), cells }
}

/// Length of a bar of closes in seconds.
pub(super) fn bar_s(end_ms: u64) -> u64 {
    end_ms.div_ceil(1000).div_ceil(BARS_MAX).max(1)
}

/// The codes that are told apart, sorted, and whether there are others.
pub(super) fn most_frequent(counts: impl IntoIterator<Item = (u16, u64)>) -> (Vec<u16>, bool) {
    let mut kept: Vec<(u16, u64)> = counts.into_iter().collect();
    kept.sort_by_key(|(code, count)| (std::cmp::Reverse(*count), *code));
    let others = kept.len() > CODES_MAX + 1;
    kept.truncate(if others { CODES_MAX } else { CODES_MAX + 1 });
    kept.sort_unstable();
    (kept.into_iter().map(|(code, _)| code).collect(), others)
}

/// Their names, and one for the others.
pub(super) fn code_words(codes: Vec<u16>, others: bool) -> Vec<String> {
    codes.into_iter().map(code_word).chain(others.then(|| "other".to_owned())).collect()
}

pub(super) fn marks(marks: Vec<plot::Mark>) -> Vec<PageMark> {
    let ms = |us: u64| us as f64 / 1e3;
    let mark = |mark: plot::Mark| PageMark {
        label: mark.label,
        from_ms: ms(mark.from_us),
        until_ms: mark.until_us.map(ms),
        down: mark.down,
        again_ms: mark.again_us.into_iter().take(AGAIN_MAX).map(ms).collect(),
    };
    marks.into_iter().take(MARKS_MAX).map(mark).collect()
}

fn curves(loaded: &Loaded, names: &[String]) -> Vec<PageCurve> {
    let end_us = loaded.summary.measured_ms * 1000;
    let place = places(names);
    let mut of: Vec<Vec<plot::PlottedOutage>> = vec![Vec::new(); names.len()];
    for row in &loaded.reconnects {
        if let Some(outages) = of.get_mut(place(&row.cohort)) {
            outages.push(plot::outage(row, end_us));
        }
    }
    let with = of.iter().filter(|outages| !outages.is_empty()).count();
    let points = CURVE_POINTS_MAX / (with + 1);
    let all = (with > 1).then(|| (None, of.concat()));
    let each = of.into_iter().enumerate().map(|(cohort, outages)| (Some(cohort), outages)).filter(|(_, outages)| !outages.is_empty());
    all.into_iter().chain(each).map(|(cohort, outages)| curve(cohort, outages, points)).collect()
}

fn curve(cohort: Option<usize>, outages: Vec<plot::PlottedOutage>, points: usize) -> PageCurve {
    let until_us = outages.iter().map(|outage| outage.time_us).max().unwrap_or(0);
    let curve = plot::estimate(outages);
    PageCurve {
        cohort,
        outages: curve.outages.round() as u64,
        back: curve.back.round() as u64,
        supported: curve.supported(),
        until_us,
        steps: thinned(&curve, points),
    }
}

/// At most so many steps of the curve, each of them exact: those at which it reaches the next percentile of a grid, fine at its end.
fn thinned(curve: &SurvivalCurve, points: usize) -> Vec<(u64, f64)> {
    let rounded = |(time, share): &(u64, f64)| (*time, (share * 1e6).round() / 1e6);
    let points = points.clamp(60, 600) - 40;
    if curve.steps.len() <= points {
        return curve.steps.iter().map(rounded).collect();
    }
    let coarse = (1..=points).map(|n| n as f64 / points as f64);
    let fine = (1..=9).flat_map(|n| [0.99, 0.999, 0.9999].map(|from: f64| from + f64::from(n) * (1.0 - from) / 10.0));
    let mut grid: Vec<f64> = coarse.chain(fine).chain([0.99, 0.999, 0.9999]).collect();
    grid.sort_by(f64::total_cmp);
    let mut places: Vec<usize> =
        grid.into_iter().map(|quantile| curve.steps.partition_point(|(_, share)| *share < quantile - 1e-12)).collect();
    places.retain(|place| *place < curve.steps.len());
    places.insert(0, 0);
    places.push(curve.steps.len() - 1);
    places.dedup();
    places.into_iter().map(|place| rounded(&curve.steps[place])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::fixture;
    use crate::results::record::CountRow;

    /// The timeline of a cohort over so many intervals of 100 ms: ten attempts each, ten open clients, and none at 555.
    fn long(loaded: &mut Loaded, cohort: &str, intervals: u64) {
        let row = |n: u64| TimelineRow {
            offset_ms: n * 100,
            cohort: cohort.to_owned(),
            open: if n == 555 { 0 } else { 10 },
            attempts: 10,
            rtt_p50_us: Some(n),
            rtt_max_us: Some(2 * n),
            ..TimelineRow::default()
        };
        loaded.timeline.extend((0..intervals).map(row));
    }

    #[test]
    fn a_long_timeline_is_put_together_without_losing_a_count_or_a_dip() {
        let mut loaded = fixture::nothing();
        long(&mut loaded, "web", 5_990);
        let data = PageData::of(&loaded);
        let cohort = &data.cohorts[0];
        assert_eq!((data.merged, data.step_ms, cohort.open.len()), (10, 1_000, 599));
        assert_eq!(cohort.attempts.iter().sum::<u64>(), 59_900);
        assert_eq!((cohort.open[55], cohort.low[55], cohort.low[56]), (10, 0, 10), "the dip is in point 55");
        // The worst interval of each point: percentiles cannot be added.
        assert_eq!(cohort.rtt_us[1], [Some(19), None, Some(38)]);
        // A short one is as it is.
        let mut loaded = fixture::nothing();
        long(&mut loaded, "web", 100);
        assert!(PageData::of(&loaded).cohorts[0].low.is_empty() && PageData::of(&loaded).merged == 1);
    }

    #[test]
    fn many_cohorts_and_long_runs_stay_within_bounds() {
        let mut loaded = fixture::nothing();
        let row = loaded.summary.cohorts.shift_remove("web").unwrap();
        for n in 0..130 {
            loaded.summary.cohorts.insert(format!("cohort-{n}"), row.clone());
            long(&mut loaded, &format!("cohort-{n}"), 600);
        }
        let close = |second: u32| CountRow {
            second,
            width_s: 1,
            metric: "closes".to_owned(),
            cohort: format!("cohort-{}", second % 130),
            side: Some("client".to_owned()),
            reported: Some(4000 + (second % 20) as u16),
            count: 3,
            ..CountRow::default()
        };
        loaded.counts = Some((0..60).map(close).collect());
        let data = PageData::of(&loaded);
        assert_eq!((data.cohorts.len(), data.cohorts[99].name.as_str()), (COHORTS_MAX, "31 other cohorts"));
        assert_eq!(data.cohorts.iter().flat_map(|cohort| &cohort.attempts).sum::<u64>(), 130 * 6_000);
        assert_eq!((data.cohorts[99].open[0], data.closes.codes.len()), (310, CODES_MAX + 1));
        assert_eq!(data.closes.codes.last().map(String::as_str), Some("other"));
        assert_eq!(data.closes.cells.iter().map(|cell| cell.3).sum::<u64>(), 180);
        assert!(data.json().len() < 400_000, "{}", data.json().len());
    }

    #[test]
    fn a_thinned_curve_has_exact_steps_and_both_ends() {
        let outage = |n: u64| plot::PlottedOutage { time_us: n * 7, ended: n < 9_900, weight: 1.0 };
        let whole = plot::estimate((0..10_000).map(outage).collect());
        let thin = curve(Some(0), (0..10_000).map(outage).collect(), 300);
        assert!(thin.steps.len() <= 300, "{}", thin.steps.len());
        assert_eq!((thin.outages, thin.back, thin.until_us), (10_000, 9_900, 9_999 * 7));
        assert_eq!((thin.steps[0].0, thin.steps.last().unwrap().0), (0, 9_899 * 7));
        for (time, share) in &thin.steps {
            let exact = whole.steps.iter().find(|step| step.0 == *time).unwrap().1;
            assert!((exact - share).abs() < 1e-6);
        }
    }
}
