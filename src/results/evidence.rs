//! What a verdict is judged by: the same from closed books and from a run folder.

use super::hlog::{Distribution, distributions};
use super::read::{Loaded, ReadError};
use super::record::CountRow;
use super::tables::count_rows;
use crate::metrics::book::{Results, Status};
use std::collections::BTreeMap;
use std::io;

/// Counts by second, distributions, and how far they can be trusted.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// Length of the run, s.
    pub measured_s: f64,
    /// It was stopped before its planned length.
    pub aborted: bool,
    /// The generator was too late.
    pub saturated: bool,
    /// Largest share of late work in a second, 0 to 1.
    pub late_share_max: f64,
    /// Clients in the plan, by cohort.
    pub planned: BTreeMap<String, u64>,
    /// Everything that is counted.
    pub counts: Vec<CountRow>,
    /// Everything that is timed.
    pub distributions: Vec<Distribution>,
}

impl Evidence {
    /// From closed books.
    pub fn of(results: &Results) -> Evidence {
        Evidence {
            measured_s: results.measured.as_millis() as f64 / 1e3,
            aborted: results.status == Status::Aborted,
            saturated: results.saturated(),
            late_share_max: results.timeline.late_share_max(),
            planned: results.meta.cohorts.iter().map(|cohort| (cohort.name.clone(), cohort.planned)).collect(),
            counts: count_rows(results),
            distributions: distributions(results),
        }
    }

    /// From a run folder.
    ///
    /// # Errors
    /// `counts.csv` or `latency.hlog` is missing: without them a count of 0 would be no data.
    pub fn read(loaded: &Loaded) -> Result<Evidence, ReadError> {
        let missing = |name: &str| ReadError::File { path: loaded.dir.join(name), source: io::ErrorKind::NotFound.into() };
        let summary = &loaded.summary;
        Ok(Evidence {
            measured_s: summary.measured_ms as f64 / 1e3,
            aborted: summary.status == Status::Aborted.name(),
            saturated: summary.generator.saturated,
            late_share_max: summary.generator.late_share_max,
            planned: summary.cohorts.iter().map(|(name, row)| (name.clone(), row.clients.planned)).collect(),
            counts: loaded.counts.clone().ok_or_else(|| missing("counts.csv"))?,
            distributions: loaded.distributions.clone().ok_or_else(|| missing("latency.hlog"))?,
        })
    }
}
