//! Curves of several seeds as bands: `runs_reconnect.csv` and `runs_timeline.csv`. Of each seed only its curves are kept, on a fixed grid.
//!
//! A band is made point by point: at each percentile, or in each bin of the timeline, the values of the seeds are put in order. So its
//! edge is not the curve of one seed, and a seed may be near the edge here and in the middle there.

use super::spread::Spread;
use crate::metrics::Results;
use crate::metrics::latency::micros;
use crate::metrics::metric::TimeMetric;
use serde::{Deserialize, Serialize};

/// Most bins of a timeline that is drawn, and of its bands: a bar of the chart takes three pixels.
pub const BINS_MAX: u64 = 237;
/// Most memory that the curves of all seeds take together; seeds beyond it have none.
const MEMORY_BYTES: usize = 64 << 20;
/// Hundred percent, in the unit of the grid.
const WHOLE: u32 = 1_000_000;
/// Not reached. Greater than any time, as an hour in µs, which is the longest, goes into 32 bits.
const NEVER: u32 = u32::MAX;

/// A row of `runs_reconnect.csv`: by when a share of a cohort's outages was over, over the seeds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReconnectBand {
    /// Cohort.
    pub cohort: String,
    /// The share, 0 to 100.
    pub percentile: f64,
    /// Seeds in which the cohort had outages.
    pub seeds: u64,
    /// The least of their times; empty where none of them reached it.
    pub least_us: Option<u64>,
    /// A tenth of the seeds have no more; empty where it is one that did not reach it.
    pub p10_us: Option<u64>,
    /// The middle one, of an even number the upper one; empty as above.
    pub median_us: Option<u64>,
    /// Nine tenths of the seeds have no more; empty as above.
    pub p90_us: Option<u64>,
    /// The greatest; empty where a seed did not reach it.
    pub most_us: Option<u64>,
}

/// A row of `runs_timeline.csv`: one bin of one cohort, over the seeds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineBand {
    /// Start of the bin.
    pub offset_ms: u64,
    /// Cohort.
    pub cohort: String,
    /// Seeds.
    pub seeds: u64,
    /// Open connections at the end of the bin: the least.
    pub open_least: u64,
    /// A tenth of the seeds have no more.
    pub open_p10: u64,
    /// The middle one, of an even number the upper one.
    pub open_median: u64,
    /// Nine tenths of the seeds have no more.
    pub open_p90: u64,
    /// The greatest.
    pub open_most: u64,
    /// Attempts begun in the bin: the least.
    pub attempts_least: u64,
    /// A tenth of the seeds have no more.
    pub attempts_p10: u64,
    /// The middle one, of an even number the upper one.
    pub attempts_median: u64,
    /// Nine tenths of the seeds have no more.
    pub attempts_p90: u64,
    /// The greatest.
    pub attempts_most: u64,
}

/// Columns of `runs_reconnect.csv`.
pub const RECONNECT: &[&str] = &["cohort", "percentile", "seeds", "least_us", "p10_us", "median_us", "p90_us", "most_us"];
/// Columns of `runs_timeline.csv`.
pub const TIMELINE: &[&str] = &[
    "offset_ms",
    "cohort",
    "seeds",
    "open_least",
    "open_p10",
    "open_median",
    "open_p90",
    "open_most",
    "attempts_least",
    "attempts_p10",
    "attempts_median",
    "attempts_p90",
    "attempts_most",
];

/// Intervals of the timeline in one bin: as few as keep the bins to [`BINS_MAX`].
pub fn intervals_per_bin(intervals: u64) -> u64 {
    intervals.div_ceil(BINS_MAX).max(1)
}

/// Of so many cohorts, the seeds whose curves go into the memory that they may take; two at least.
pub fn seeds_kept(cohorts: usize) -> u32 {
    let each = cohorts.max(1) * (grid().count() + 2 * BINS_MAX as usize) * size_of::<u32>();
    (MEMORY_BYTES / each).max(2) as u32
}

/// The percentiles of the grid, in units of 0.0001 %: each from 0 to 90 %, then tenths to 99 %, hundredths to 99.9 % and so on.
fn grid() -> impl Iterator<Item = u32> {
    let decade = |decade: u32| {
        let step = 10_000 / 10_u32.pow(decade);
        (1..=90).map(move |n| WHOLE - 100 * step + n * step)
    };
    std::iter::once(0).chain((0..5).flat_map(decade))
}

/// Whether the outages of a cohort reach this far: to the share that one of them is, and to 90 % in any case, as the axis does.
fn carried(percentile: u32, outages: u64) -> bool {
    percentile <= WHOLE / 10 * 9 || u64::from(WHOLE - percentile) * outages >= u64::from(WHOLE)
}

/// The curves of one seed, a cohort after the other: what is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Curves {
    bin_ms: u64,
    cohorts: Vec<Curve>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Curve {
    outages: u64,
    /// By percentile of the grid, µs; empty without outages.
    back: Vec<u32>,
    /// By bin, at its end.
    open: Vec<u32>,
    /// By bin.
    attempts: Vec<u32>,
}

impl Curves {
    /// What is kept of a seed.
    pub fn of(results: &Results) -> Curves {
        let mut cohorts: Vec<Curve> = (0..results.books.len()).map(|cohort| back(results, cohort as u16)).collect();
        let rows = results.timeline.rows(micros(results.measured));
        let intervals = rows.len() / cohorts.len().max(1);
        let per_bin = intervals_per_bin(intervals as u64);
        for (offset, cohort, open, cell) in rows {
            let curve = &mut cohorts[usize::from(cohort)];
            let bin = (offset / results.timeline.length_us() / per_bin) as usize;
            curve.open.resize(bin + 1, 0);
            curve.attempts.resize(bin + 1, 0);
            // The last interval of a bin is its end.
            curve.open[bin] = small(open);
            curve.attempts[bin] = curve.attempts[bin].saturating_add(small(cell.attempts.total));
        }
        Curves { bin_ms: results.timeline.length_us() / 1000 * per_bin, cohorts }
    }
}

fn back(results: &Results, cohort: u16) -> Curve {
    let times = results.bank.survival(TimeMetric::ReconnectTime, |key| key.cohort == cohort);
    let outages = times.count();
    let shares = grid().filter(|_| outages > 0).map(|percentile| f64::from(percentile) / f64::from(WHOLE));
    let back = times.quantiles(shares).into_iter().map(|us| us.map_or(NEVER, small)).collect();
    Curve { outages, back, ..Curve::default() }
}

/// In 32 bits, which the plan's numbers of clients and the greatest time fit.
fn small(value: u64) -> u32 {
    value.min(u64::from(NEVER - 1)) as u32
}

/// The bands of several seeds; empty of one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bands {
    /// By cohort in the order of the plan, then percentile.
    pub reconnect: Vec<ReconnectBand>,
    /// By offset, then cohort in the order of the plan.
    pub timeline: Vec<TimelineBand>,
}

impl Bands {
    /// Of these seeds; `names` of the cohorts in the order of the plan.
    pub fn of(names: &[String], seeds: &[Curves]) -> Bands {
        let Some(first) = seeds.first() else { return Bands::default() };
        let cohorts = || names.iter().enumerate();
        let bins = first.cohorts.first().map_or(0, |curve| curve.open.len());
        let bin = |bin| cohorts().map(move |(cohort, name)| timeline_band(name, cohort, bin, first.bin_ms, seeds));
        Bands {
            reconnect: cohorts().flat_map(|(cohort, name)| reconnect_bands(name, cohort, seeds)).collect(),
            timeline: (0..bins).flat_map(bin).collect(),
        }
    }
}

fn reconnect_bands(name: &str, cohort: usize, seeds: &[Curves]) -> Vec<ReconnectBand> {
    let curves: Vec<&Curve> = seeds.iter().map(|seed| &seed.cohorts[cohort]).filter(|curve| curve.outages > 0).collect();
    let Some(outages) = curves.iter().map(|curve| curve.outages).max() else { return Vec::new() };
    let band = |(place, percentile): (usize, u32)| {
        let times = curves.iter().map(|curve| Some(curve.back[place]).filter(|us| *us < NEVER).map(u64::from));
        let Spread { least, p10, median, p90, most } = Spread::of(times);
        ReconnectBand {
            cohort: name.to_owned(),
            percentile: f64::from(percentile) / 10_000.0,
            seeds: curves.len() as u64,
            least_us: least,
            p10_us: p10,
            median_us: median,
            p90_us: p90,
            most_us: most,
        }
    };
    grid().enumerate().take_while(|(_, percentile)| carried(*percentile, outages)).map(band).collect()
}

fn timeline_band(name: &str, cohort: usize, bin: usize, bin_ms: u64, seeds: &[Curves]) -> TimelineBand {
    let of = |values: fn(&Curve) -> &[u32]| {
        let values = seeds.iter().map(|seed| Some(values(&seed.cohorts[cohort]).get(bin).copied().map_or(0, u64::from)));
        let Spread { least, p10, median, p90, most } = Spread::of(values);
        // Every seed has a number of each bin.
        [least, p10, median, p90, most].map(Option::unwrap_or_default)
    };
    let [open_least, open_p10, open_median, open_p90, open_most] = of(|curve| &curve.open);
    let [attempts_least, attempts_p10, attempts_median, attempts_p90, attempts_most] = of(|curve| &curve.attempts);
    TimelineBand {
        offset_ms: bin as u64 * bin_ms,
        cohort: name.to_owned(),
        seeds: seeds.len() as u64,
        open_least,
        open_p10,
        open_median,
        open_p90,
        open_most,
        attempts_least,
        attempts_p10,
        attempts_median,
        attempts_p90,
        attempts_most,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::finished;

    #[test]
    fn the_grid_ascends_with_ninety_places_for_each_nine() {
        let grid: Vec<u32> = grid().collect();
        assert!(grid.is_sorted_by(|a, b| a < b));
        assert_eq!((grid.len(), grid[50], grid[90], grid[91], grid[180], grid[450]), (451, 500_000, 900_000, 901_000, 990_000, 999_990));
        for (percentile, outages, expected) in [
            (900_000, 1, true),   // the axis is never shorter
            (990_000, 99, false), // one of 99 is more than one percent
            (990_000, 100, true),
            (999_000, 1_000, true),
            (999_010, 1_000, false),
        ] {
            assert_eq!(carried(percentile, outages), expected, "{percentile} of {outages}");
        }
    }

    #[test]
    fn a_curve_is_that_of_the_results_and_a_band_holds_all_of_its_curves() {
        let results = finished();
        let curves = Curves::of(&results);
        let names: Vec<String> = results.meta.cohorts.iter().map(|cohort| cohort.name.clone()).collect();
        let one = Bands::of(&names, std::slice::from_ref(&curves));
        let rows = results.timeline.rows(micros(results.measured));
        let attempts: u64 = one.timeline.iter().map(|band| band.attempts_median).sum();
        assert_eq!(attempts, rows.iter().map(|row| row.3.attempts.total).sum::<u64>());
        assert!(attempts > 0 && one.timeline.iter().all(|band| band.seeds == 1 && band.open_least == band.open_most));
        assert!(one.timeline.len() / names.len() <= BINS_MAX as usize);
        let last: u64 = one.timeline[one.timeline.len() - names.len()..].iter().map(|band| band.open_median).sum();
        assert_eq!(last, results.total().ledger.open_at_end);
        for band in &one.reconnect {
            let cohort = names.iter().position(|name| *name == band.cohort).unwrap() as u16;
            let times = results.bank.survival(TimeMetric::ReconnectTime, |key| key.cohort == cohort);
            let time = times.quantile(band.percentile / 100.0);
            assert_eq!((band.least_us, band.most_us), (time, time), "{} {}", band.cohort, band.percentile);
        }
        assert!(one.reconnect.len() > 90);

        let mut slower = curves.clone();
        slower.cohorts.iter_mut().flat_map(|curve| &mut curve.back).for_each(|us| *us = us.saturating_mul(2));
        let both = Bands::of(&names, &[slower, curves]);
        for (band, one) in both.reconnect.iter().zip(&one.reconnect) {
            assert_eq!((band.seeds, band.least_us, band.most_us), (2, one.least_us, one.least_us.map(|us| us * 2)), "{}", band.percentile);
        }
    }

    #[test]
    fn a_cohort_without_outages_has_no_band_of_them_and_a_seed_without_does_not_count() {
        let curve = |outages, us: u32| Curve {
            outages,
            back: if outages > 0 { vec![us; 451] } else { Vec::new() },
            open: vec![1],
            attempts: vec![1],
        };
        let seed = |first, us| Curves { bin_ms: 100, cohorts: vec![curve(first, us), curve(0, 0)] };
        let bands = Bands::of(&["web".to_owned(), "idle".to_owned()], &[seed(2, 500), seed(0, 0), seed(20, NEVER)]);
        assert!(bands.reconnect.iter().all(|band| (band.cohort.as_str(), band.seeds) == ("web", 2)));
        assert!(bands.reconnect.iter().all(|band| (band.least_us, band.most_us) == (Some(500), None)), "not reached is longer");
        assert_eq!(bands.reconnect.last().map(|band| band.percentile), Some(95.0), "one of twenty");
        assert_eq!((bands.timeline.len(), bands.timeline[1].seeds), (2, 3));
    }

    #[test]
    fn the_curves_of_all_seeds_stay_within_their_memory() {
        for cohorts in [1, 5, 40, 1_000] {
            let each = cohorts * 4 * (451 + 2 * 237);
            assert!(seeds_kept(cohorts) as usize * each <= MEMORY_BYTES && seeds_kept(cohorts) >= 2, "{cohorts}");
        }
        assert!(seeds_kept(1) > 10_000);
    }
}
