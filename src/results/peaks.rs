//! `peaks.csv`: what was counted for each peak, in bins of a millisecond.

use super::rows::PeakRow;
use crate::metrics::Results;
use crate::metrics::peak::{Bin, Bins};
use std::collections::BTreeMap;
use std::time::Duration;

/// Columns of `peaks.csv`.
pub const PEAKS: &[&str] = &["metric", "offset_ms", "count", "first_us", "last_us"];

/// `peaks.csv`: the herd first, then what the scenario expects a peak of; a metric of which nothing was counted has one row of 0.
pub fn peak_rows(results: &Results) -> Vec<PeakRow> {
    let rows = |(metric, bins): (&str, Bins)| {
        let row = |bin: Bin| PeakRow {
            metric: metric.to_owned(),
            offset_ms: bins.offset_ms(bin),
            count: bin.count,
            first_us: bin.first,
            last_us: bin.last,
        };
        let nothing = bins.list().is_empty().then(|| PeakRow { metric: metric.to_owned(), ..PeakRow::default() });
        bins.list().iter().copied().map(row).chain(nothing).collect::<Vec<_>>()
    };
    results.peaks.each_counted().into_iter().flat_map(rows).collect()
}

/// The largest number within any second of each metric that was counted for it.
pub fn peaks(rows: &[PeakRow], duration: Duration) -> BTreeMap<String, u64> {
    let mut by_metric: BTreeMap<&str, Bins> = BTreeMap::new();
    for row in rows {
        let bins = by_metric.entry(&row.metric).or_insert_with(|| Bins::new(duration));
        bins.count_read(row.offset_ms, (row.count, row.first_us, row.last_us));
    }
    by_metric.into_iter().map(|(metric, bins)| (metric.to_owned(), bins.peak())).collect()
}
