//! Chart: how long clients were gone, by percentile on a logarithmic axis (as HDR plots have it), a line per cohort.
//!
//! Kaplan–Meier estimates from `reconnects.csv`: outages that did not end are in them, and a line ends where it was not reached. Where
//! there are several seeds, the line is the first, and a band from `runs_reconnect.csv` is around it. Many cohorts have a panel each. Limits of
//! expectations stand where they decide.

use super::Loaded;
use super::curves::{self, CohortCurve, CohortCurves, place};
use super::limits;
use super::multiples::PANELS_MAX;
use super::scene::Scene;
use super::sheet::{self, WIDTH};
use super::survival::{self, PlottedOutage};
use crate::metrics::latency::needed;
use crate::number;
use crate::results::bands::ReconnectBand;
use crate::results::record::ReconnectRow;

/// Draws it.
pub(super) fn scene(loaded: &Loaded) -> Scene {
    let sub = "Time to reconnect (t_ready − t_fault), Kaplan–Meier";
    let (lines, left_out) = lines(loaded);
    let outages: f64 = lines.iter().map(|line| line.distribution.outages).sum();
    if outages <= 0.0 {
        return sheet::empty(loaded, "Nobody had to reconnect", sub, "No open connection was lost: there are no outages to show");
    }
    let decades = curves::decades(&lines);
    let of_seeds = lines.iter().map(|line| of_seeds(loaded, &line.cohort, decades)).collect();
    let all = survival::estimate(loaded.reconnects.iter().map(|row| outage(row, loaded.summary.measured_ms * 1000)).collect());
    let curves = CohortCurves { what: "Time to reconnect", of: "outages", all, of_seeds, limits: limits::of(loaded), lines: &lines };
    let mut scene = sheet::open(loaded, WIDTH, curves.height(), &title(&lines), sub);
    curves.draw(&mut scene);
    let back: f64 = lines.iter().map(|line| line.distribution.back).sum();
    let more = if left_out > 0 { format!(" · {} left out", number::counted(left_out as u64, "more cohort")) } else { String::new() };
    let counted = format!(
        "n = {}, {} of them ended{more} · thin: percentiles that need more samples (p99 takes {}) · ✗ where a line ends short of all",
        number::counted(outages.round() as u64, "outage"),
        number::count(back.round() as u64),
        needed(0.99)
    );
    sheet::close(scene, loaded, &counted)
}

/// How far the seeds of a cohort lie apart, by percentile up to the end of the axis; nothing where there is one seed.
fn of_seeds<'a>(loaded: &'a Loaded, cohort: &str, decades: f64) -> Vec<&'a ReconnectBand> {
    let bands = loaded.bands.reconnect.iter().filter(|band| band.cohort == cohort && band.seeds > 1);
    bands.filter(|band| place(band.percentile / 100.0) <= decades + 1e-6).collect()
}

/// The lines, and how many cohorts have none because there are too many.
fn lines(loaded: &Loaded) -> (Vec<CohortCurve>, usize) {
    let end_us = loaded.summary.measured_ms * 1000;
    let lines = loaded.summary.cohorts.iter().map(|(cohort, row)| {
        let rows = loaded.reconnects.iter().filter(|row| row.cohort == *cohort);
        let outages = rows.map(|row| outage(row, end_us)).collect();
        CohortCurve { cohort: cohort.clone(), strategy: row.strategy.clone(), distribution: survival::estimate(outages) }
    });
    let mut lines: Vec<CohortCurve> = lines.filter(|line| line.distribution.outages > 0.0).collect();
    let left_out = lines.len().saturating_sub(PANELS_MAX);
    lines.truncate(PANELS_MAX);
    (lines, left_out)
}

/// An outage that did not end was out until the measurement ended, whether or not the client had given up.
pub(crate) fn outage(row: &ReconnectRow, end_us: u64) -> PlottedOutage {
    let time_us = row.reconnect_us.unwrap_or_else(|| end_us.saturating_sub(row.fault_offset_us));
    PlottedOutage { time_us, ended: row.reconnect_us.is_some(), weight: row.weight }
}

fn title(lines: &[CohortCurve]) -> String {
    let p = |line: &CohortCurve| {
        let quantile = if line.distribution.supported() >= 0.99 { (0.99, "99 %") } else { (0.5, "half") };
        (line.distribution.quantile(quantile.0), quantile.1)
    };
    if let [line] = lines {
        let longest = line.distribution.quantile(1.0);
        // Of a handful no share is known, the longest is.
        if let Some(longest) = longest.filter(|_| line.distribution.supported() < 0.5) {
            let n = line.distribution.outages.round() as u64;
            return format!(
                "{} over within {}",
                if n == 1 { "The outage was".to_string() } else { format!("All {n} outages were") },
                number::time(longest)
            );
        }
        return match p(line) {
            (Some(time), "half") => format!("Half of outages were over within {}", number::time(time)),
            (Some(time), share) => format!("{share} of outages were over within {}", number::time(time)),
            (None, share) => format!("Fewer than {share} of the outages ended: {}", number::percent(line.distribution.reached() * 100.0)),
        };
    }
    let median = |line: &CohortCurve| line.distribution.quantile(0.5).unwrap_or(u64::MAX);
    let (Some(fast), Some(slow)) = (lines.iter().min_by_key(|line| median(line)), lines.iter().max_by_key(|line| median(line))) else {
        return String::new();
    };
    let said = |line: &CohortCurve| line.distribution.quantile(0.5).map_or_else(|| "not reached".to_string(), number::time);
    if median(slow) == u64::MAX && median(fast) < u64::MAX {
        return format!("Half are back within {} ({}), and never half of {}", said(fast), fast.cohort, slow.cohort);
    }
    format!("Half are back within {} ({}) to {} ({})", said(fast), fast.cohort, said(slow), slow.cohort)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_gave_up_is_out_to_the_end() {
        let row = ReconnectRow {
            client: 0,
            cohort: "web".to_string(),
            fault: None,
            client_code: 1006,
            fault_offset_us: 3_000_000,
            detect_us: Some(0),
            backoff_us: 0,
            attempt_us: 0,
            first_reply_us: None,
            reconnect_us: None,
            attempts: 5,
            result: "gave_up".to_string(),
            weight: 2.0,
        };
        assert_eq!(outage(&row, 10_000_000), PlottedOutage { time_us: 7_000_000, ended: false, weight: 2.0 });
    }

    #[test]
    fn several_seeds_are_a_band_around_the_line_of_each_cohort() {
        use super::super::bands::fixture::{fifty_seeds, two_seeds};
        use super::super::scene::{Ink, Item};
        let areas = |loaded: &Loaded, n: usize| {
            let of_line = |item: &Item| match item {
                Item::Area { points, ink, .. } if *ink == Ink::Series(n) && points.len() > 2 => Some(points.clone()),
                _ => None,
            };
            scene(loaded).items.iter().filter_map(of_line).collect::<Vec<_>>()
        };
        assert!(areas(&super::super::fixture::crash_storm(), 0).is_empty());
        let few = two_seeds();
        let [band] = &areas(&few, 0)[..] else { panic!("one band") };
        assert!(band.iter().all(|(_, top, bottom)| top <= bottom) && band.is_sorted_by(|a, b| a.0 < b.0), "{band:?}");
        assert!(band.last().is_some_and(|end| end.1 < 110.0 && end.2 > 120.0), "to the top, where one seed lost some: {band:?}");
        let many = fifty_seeds();
        for cohort in 0..3 {
            assert_eq!(areas(&many, cohort).len(), 2, "{cohort}");
        }
        let said = |loaded: &Loaded, words: &str| scene(loaded).text_boxes().iter().any(|(.., text)| text.contains(words));
        assert!(said(&few, "least to most of 2 seeds") && said(&many, "p10 to p90 of 50 seeds"));
        assert!(said(&few, "not reached by some"));
    }
}
