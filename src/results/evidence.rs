//! What a verdict is judged by: the same from results and from a run folder.

use super::exact;
use super::hlog::{Distribution, distributions};
use super::peaks::peaks;
use super::read::{Loaded, ReadError};
use super::record::{CountRow, LossRow, SCHEMA_VERSION};
use super::spread::Runs;
use super::tables::count_rows;
use crate::metrics::book::{Results, Status};
use crate::metrics::meta::SeenFrom;
use crate::metrics::peak::HERD;
use crate::metrics::survival::Survival;
use crate::metrics::watch::{Around, Window};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Counts by second, distributions, and how far they can be trusted.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// Length of the run, s.
    pub measured_s: f64,
    /// It was stopped before its planned length, or before all of its seeds were done.
    pub aborted: bool,
    /// What came of the seeds, where there are several; the rest is of the first.
    pub seeds: Option<Runs>,
    /// Parts of the run that were lost, in words.
    pub lost: Vec<String>,
    /// What was planned and not carried out, and limits of this machine that were hit, in words.
    pub unreliable: Vec<String>,
    /// Clients that were ready at least once; `None` where that was not recorded.
    pub ready: Option<u64>,
    /// From the simulator.
    pub simulated: bool,
    /// Where the clients were seen from.
    pub seen_from: SeenFrom,
    /// Written in schema version 1: judged as that version did.
    pub first_version: bool,
    /// Clients in the plan, by cohort.
    pub planned: BTreeMap<String, u64>,
    /// Everything that is counted.
    pub counts: Vec<CountRow>,
    /// What was counted, as [`counted_as`](crate::expect::Labels::counted_as) has it, and close codes that were told apart in any case; empty where that is not known.
    pub counted: BTreeSet<String>,
    /// The largest number within any second, of each metric and labels that were counted for it.
    /// `None` where `peaks.csv` is missing.
    pub peaks: Option<BTreeMap<String, u64>>,
    /// What outages cost in messages with numbers.
    pub losses: Vec<LossRow>,
    /// Everything that is timed.
    pub distributions: Vec<Distribution>,
    /// Windows of starts that were kept, each with its metric, with or without samples.
    pub windows: Vec<(String, Window)>,
}

impl Evidence {
    /// From results.
    pub fn of(results: &Results) -> Evidence {
        Evidence {
            measured_s: results.measured.as_millis() as f64 / 1e3,
            aborted: results.status == Status::Aborted,
            seeds: None,
            lost: results.lost.clone(),
            unreliable: results.why_unreliable(),
            ready: Some(results.books.iter().map(|book| book.ready).sum()),
            simulated: results.simulated,
            seen_from: results.meta.seen_from(),
            first_version: false,
            planned: results.meta.cohorts.iter().map(|cohort| (cohort.name.clone(), cohort.planned)).collect(),
            counts: count_rows(results),
            counted: super::summary::counted(results).into_iter().collect(),
            peaks: Some(results.peaks.each_counted().into_iter().map(|(of, bins)| (of.to_owned(), bins.peak())).collect()),
            losses: super::summary::losses(results),
            distributions: distributions(results),
            windows: exact::windows(&exact::rows(results)),
        }
    }

    /// From a run folder.
    ///
    /// # Errors
    /// `counts.csv` or `latency.hlog` is missing or does not add up to what the summary says: a count of 0 would be no data.
    pub fn read(loaded: &Loaded) -> Result<Evidence, ReadError> {
        let why = "it is needed to judge the run";
        let missing = |name: &str| ReadError::Missing { path: loaded.dir.join(name), why };
        let summary = &loaded.summary;
        let first_version = summary.schema_version < SCHEMA_VERSION;
        let limits = match &loaded.limits {
            Some(rows) => rows.as_slice(),
            None if first_version => &[],
            None => return Err(missing("limits.csv")),
        };
        let evidence = Evidence {
            measured_s: summary.measured_ms as f64 / 1e3,
            aborted: summary.status == Status::Aborted.name(),
            seeds: summary.runs.clone(),
            lost: summary.generator.lost.clone(),
            unreliable: summary.generator.unreliable.clone(),
            ready: summary.clients.ready,
            simulated: summary.simulated,
            seen_from: summary.seen_from,
            first_version,
            planned: summary.cohorts.iter().map(|(name, row)| (name.clone(), row.clients.planned)).collect(),
            peaks: loaded.peaks.as_deref().map(|rows| peaks(rows, Duration::from_millis(summary.duration_ms))),
            counted: summary.counted.iter().cloned().collect(),
            counts: loaded.counts.clone().ok_or_else(|| missing("counts.csv"))?,
            losses: summary.losses.clone(),
            distributions: loaded.distributions.clone().ok_or_else(|| missing("latency.hlog"))?,
            windows: exact::windows(limits),
        };
        evidence.agrees_with(loaded)?;
        Ok(evidence)
    }

    /// Whether this was counted, so that a 0 is data. Versions that did not say what they counted did not know some of it.
    pub fn has_counted(&self, what: &str) -> bool {
        const NEWER: [&str; 4] = ["http_requests", "errors", "messages{outcome=error}", "missed_per_outage"];
        if self.counted.is_empty() { !NEWER.contains(&what) } else { self.counted.contains(what) }
    }

    /// The times of a metric and window in all distributions that are kept, with those that were cut and those that never end.
    pub fn times(&self, metric: &str, window: Option<Window>, keep: impl Fn(&Distribution) -> bool) -> Survival {
        let mut times = Survival::default();
        let kept = self.distributions.iter().filter(|row| row.window == window && keep(row));
        kept.for_each(|row| row.add_to(metric, &mut times));
        times
    }

    /// How the same lie around a limit in µs: those that ended and those that were cut. `None` where that was not counted.
    pub fn around(&self, metric: &str, window: Option<Window>, limit: f64, keep: impl Fn(&Distribution) -> bool) -> Option<[Around; 2]> {
        let mut sums = [Around::new(limit); 2];
        for row in self.distributions.iter().filter(|row| row.window == window && keep(row)) {
            let sum = match row.metric.strip_prefix(metric) {
                Some("") => &mut sums[0],
                Some("_censored") => &mut sums[1],
                _ => continue,
            };
            sum.add(row.around.iter().find(|around| around.limit == limit)?);
        }
        Some(sums)
    }

    /// A table that was cut between two lines is still a table: only the summary tells.
    fn agrees_with(&self, loaded: &Loaded) -> Result<(), ReadError> {
        let summary = &loaded.summary;
        let counted = |holds: &dyn Fn(&CountRow) -> bool| self.counts.iter().filter(|row| holds(row)).map(|row| row.count).sum::<u64>();
        let all = |metric| self.times(metric, None, |_| true);
        let begun = counted(&|row| row.metric == "attempts" && row.outcome.as_deref() == Some("begun"));
        // Seen by a server only, each connection has one row: its account, or, where it was killed, that nobody tells.
        let by_server = summary.seen_from == SeenFrom::Server;
        let closed = counted(&|row| row.metric == "closes" && (by_server || row.side.as_deref() == Some("client")));
        let sent = counted(&|row| row.metric == "messages" && row.outcome.as_deref() == Some("sent"));
        let binned = loaded.peaks.iter().flatten().filter(|row| row.metric == HERD).map(|row| u64::from(row.count)).sum();
        let (reconnect, messages) = (&summary.reconnect, &summary.messages);
        for (file, what, found, told) in [
            ("counts.csv", "attempts", begun, summary.attempts.counts.total),
            (
                "peaks.csv",
                "attempts",
                loaded.peaks.as_ref().map_or(summary.attempts.counts.total, |_| binned),
                summary.attempts.counts.total,
            ),
            ("counts.csv", "closes", closed, summary.connections.closed),
            ("counts.csv", "sent messages", sent, messages.sent),
            ("latency.hlog", "opening handshakes", all("opening_handshake").count(), summary.opening_handshake_us.count),
            ("latency.hlog", "reconnects", all("reconnect_time").ended.count(), reconnect.recovered),
            ("latency.hlog", "round trips", all("rtt").count(), messages.rtt_us.count),
        ] {
            if found != told {
                let what = format!("it has {found} {what}, the summary says {told}");
                return Err(ReadError::Damaged { path: loaded.dir.join(file), what });
            }
        }
        Ok(())
    }
}
