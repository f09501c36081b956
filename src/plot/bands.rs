//! Bands of several seeds behind or over the curve of the first: what the reconnect chart and the timeline share.
//!
//! Pale from the least to the most of the seeds, darker from p10 to p90. With fewer than ten seeds these are the same, and there is one band.

use super::scene::{Ink, NOTE, Scene, TextAnchor};

/// Seeds from which p10 and p90 are not the least and the most: nine tenths of nine are all of them.
const TWO_BANDS: u64 = 10;

/// A band at one place, in px.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct BandPlace {
    /// Where.
    pub(super) x: f64,
    /// The heights of least, p10, p90 and most.
    pub(super) y: [f64; 4],
}

/// How the bands of a panel look: paler where several lie over one another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Opacity from the least to the most; where there is one band, as from p10 to p90.
    outer: f64,
    /// Opacity from p10 to p90, on top of the wider band.
    inner: Option<f64>,
}

impl Look {
    /// Of so many seeds, in a panel with so many lines.
    pub(super) fn of(seeds: u64, lines: usize) -> Look {
        let (outer, inner) = if lines > 2 { (0.11, 0.25) } else { (0.17, 0.30) };
        if seeds < TWO_BANDS { Look { outer: inner, inner: None } } else { Look { outer, inner: Some(inner) } }
    }
}

/// Draws the band of a curve, from left to right.
pub(super) fn draw(scene: &mut Scene, places: &[BandPlace], ink: Ink, look: Look) {
    scene.area(places.iter().map(|BandPlace { x, y }| (*x, y[3], y[0])).collect(), ink, look.outer);
    if let Some(inner) = look.inner {
        scene.area(places.iter().map(|BandPlace { x, y }| (*x, y[2], y[1])).collect(), ink, inner);
    }
}

/// Says what the bands are, from `left` on; `more` stands after it.
pub(super) fn key(scene: &mut Scene, (mut left, baseline): (f64, f64), seeds: u64, lines: usize, more: &str) {
    let ink = if lines == 1 { Ink::Series(0) } else { Ink::Muted };
    let Look { outer, inner } = Look::of(seeds, lines);
    if let Some(inner) = inner {
        left = entry(scene, left, baseline, (ink, &[outer, inner]), &format!("p10 to p90 of {seeds} seeds"));
        left = entry(scene, left, baseline, (ink, &[outer]), "least to most");
    } else {
        left = entry(scene, left, baseline, (ink, &[outer]), &format!("least to most of {seeds} seeds"));
    }
    scene.text(left, baseline, TextAnchor::Start, NOTE, more);
}

/// Refers from `left` on to what was said elsewhere of bands in another ink.
pub(super) fn sign(scene: &mut Scene, left: f64, baseline: f64, ink: Ink, text: &str) {
    entry(scene, left, baseline, (ink, &[Look::of(1, 1).outer]), text);
}

/// A piece of a band with its meaning. Returns where the next may stand.
fn entry(scene: &mut Scene, left: f64, baseline: f64, (ink, opacities): (Ink, &[f64]), text: &str) -> f64 {
    let (top, bottom) = (baseline - 9.0, baseline + 1.0);
    for opacity in opacities {
        scene.area(vec![(left, top, bottom), (left + 16.0, top, bottom)], ink, *opacity);
    }
    scene.text(left + 21.0, baseline, TextAnchor::Start, NOTE, text);
    left + 21.0 + NOTE.width(text) + 18.0
}

/// Made-up bands around the curves of made-up results.
#[cfg(test)]
pub(crate) mod fixture {
    use super::super::fixture::{crash_storm, strategies};
    use super::super::{Loaded, reconnect, survival};
    use crate::results::bands::{Bands, ReconnectBand, TimelineBand};
    use crate::results::spread::{Runs, Spread};

    /// One cohort over two seeds.
    pub(crate) fn two_seeds() -> Loaded {
        with_bands(crash_storm(), 2)
    }

    /// Three strategies over fifty.
    pub(crate) fn fifty_seeds() -> Loaded {
        with_bands(strategies(), 50)
    }

    fn with_bands(mut loaded: Loaded, seeds: u64) -> Loaded {
        let (mut reconnect, end_us) = (Vec::new(), loaded.summary.measured_ms * 1000);
        for cohort in loaded.summary.cohorts.keys() {
            let rows = loaded.reconnects.iter().filter(|row| row.cohort == *cohort);
            let curve = survival::estimate(rows.map(|row| reconnect::outage(row, end_us)).collect());
            let band = |percentile: f64| {
                let around = |factor: f64| curve.quantile(percentile / 100.0).map(|us| (us as f64 * factor) as u64);
                ReconnectBand {
                    cohort: cohort.clone(),
                    percentile,
                    seeds,
                    least_us: around(0.85),
                    p10_us: around(0.92),
                    median_us: around(1.01),
                    p90_us: around(1.08),
                    // One of the seeds lost some.
                    most_us: around(1.2).filter(|_| percentile < 95.0),
                }
            };
            reconnect.extend((0..=99).map(f64::from).map(band));
        }
        let timeline = loaded.timeline.iter().map(|row| TimelineBand {
            offset_ms: row.offset_ms,
            cohort: row.cohort.clone(),
            seeds,
            open_least: row.open * 8 / 10,
            open_p10: row.open * 9 / 10,
            open_median: row.open,
            open_p90: row.open * 21 / 20,
            open_most: row.open * 11 / 10,
            attempts_least: row.attempts * 7 / 10,
            attempts_p10: row.attempts * 8 / 10,
            attempts_median: row.attempts,
            attempts_p90: row.attempts * 12 / 10 + 2,
            attempts_most: row.attempts * 14 / 10 + 4,
        });
        let mut timeline: Vec<TimelineBand> = timeline.collect();
        // As many as the chart has room for.
        let per_bin = crate::results::bands::intervals_per_bin(loaded.summary.measured_ms / 100) * 100;
        timeline.retain(|row| row.offset_ms.is_multiple_of(per_bin));
        timeline.sort_by_key(|row| row.offset_ms);
        loaded.bands = Bands { reconnect, timeline };
        let spread = Spread { least: Some(900_000), p10: Some(950_000), median: Some(1_000_000), p90: Some(1_050_000), most: None };
        loaded.summary.runs =
            Some(Runs { planned: seeds, done: seeds, passed: 1, reconnect_p50_us: spread, attempts: spread, ..Runs::default() });
        loaded
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::Item;
    use super::*;

    #[test]
    fn few_seeds_have_one_band_and_many_have_two() {
        for (seeds, bands, words) in
            [(2, 1, "least to most of 2 seeds"), (9, 1, "least to most of 9 seeds"), (10, 2, "p10 to p90 of 10 seeds")]
        {
            let mut scene = Scene { width: 900.0, height: 100.0, title: String::new(), items: Vec::new() };
            let places = [0.0, 10.0].map(|x| BandPlace { x, y: [40.0, 30.0, 20.0, 10.0] });
            draw(&mut scene, &places, Ink::Series(0), Look::of(seeds, 1));
            assert_eq!(scene.items.len(), bands, "{seeds}");
            let Item::Area { points, .. } = &scene.items[0] else { panic!("an area") };
            assert_eq!(points[0], (0.0, 10.0, 40.0));
            key(&mut scene, (0.0, 50.0), seeds, 1, "");
            assert_eq!(scene.text_boxes()[0].4, words);
        }
    }
}
