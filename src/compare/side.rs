//! A run as one of a side: what it gives for each metric, and what must be the same of all.

use super::bootstrap::IntervalTimes;
use super::worse::ComparedQuantity;
use crate::expect::Expectation;
use crate::metrics::survival::Survival;
use crate::metrics::watch::Window;
use crate::results::Evidence;
use crate::results::hlog::{Distribution, read_intervals};
use crate::results::read::{Loaded, ReadError};
use crate::results::record::{Manifest, Summary};
use crate::verdict::{RunNumber, distrust, fits, nobody_was_ready, observe};
use std::collections::{BTreeMap, BTreeSet};

/// One run of a side.
#[derive(Clone, Debug)]
pub struct ComparedRun {
    /// Its folder, as a user reads it.
    pub name: String,
    /// Its scenario as it was stored, TOML.
    pub scenario: String,
    /// Its figures.
    pub summary: Summary,
    /// By which program and on which machine; `None` where the folder does not say.
    pub manifest: Option<Manifest>,
    evidence: Evidence,
    /// Distributions of each interval with its start in ms; empty where they were not read.
    intervals: Vec<(u64, Distribution)>,
}

impl ComparedRun {
    /// From a run folder.
    ///
    /// # Errors
    /// A file that has the figures is missing or damaged.
    pub fn read(loaded: Loaded) -> Result<ComparedRun, ReadError> {
        let evidence = Evidence::read(&loaded)?;
        let Loaded { dir, summary, manifest, scenario, .. } = loaded;
        Ok(ComparedRun { name: dir.display().to_string(), scenario, summary, manifest, evidence, intervals: Vec::new() })
    }

    /// With the intervals of these metrics, from its `latency.hlog`: for the weaker evidence of few runs.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn with_intervals(self, log: &[u8], by: &[ComparedQuantity]) -> std::io::Result<ComparedRun> {
        let kinds = |of: &str| ["", "_censored", "_never"].map(|kind| format!("{of}{kind}"));
        let metrics: BTreeSet<String> = by.iter().filter(|one| one.of.metric.is_time()).flat_map(|one| kinds(one.of.timed())).collect();
        Ok(ComparedRun { intervals: read_intervals(log, &metrics)?, ..self })
    }

    /// The times of each interval that an expectation is about, in order.
    pub(super) fn interval_times(&self, of: &Expectation) -> IntervalTimes {
        let (labels, window) = (&of.labels, Window::of(&of.labels));
        let mut times: BTreeMap<u64, Survival> = BTreeMap::new();
        for (start, row) in &self.intervals {
            if row.window != window || !fits(&labels.cohort, Some(&row.cohort)) || !fits(&labels.fault, row.fault.as_ref()) {
                continue;
            }
            if row.metric.starts_with(of.timed()) {
                row.add_to(of.timed(), times.entry(*start).or_default());
            }
        }
        times.into_values().collect()
    }

    /// Of a run that was not written.
    #[cfg(test)]
    pub(super) fn of(name: &str, scenario: &str, summary: Summary, evidence: Evidence) -> ComparedRun {
        ComparedRun { name: name.to_owned(), scenario: scenario.to_owned(), summary, manifest: None, evidence, intervals: Vec::new() }
    }

    /// The number that this run gives, and of a time also all times that it is of.
    pub(super) fn number(&self, of: &Expectation) -> (RunNumber, Option<Survival>) {
        observe(&self.evidence, of)
    }

    /// Its outages, those that did not end included.
    pub fn reconnects(&self) -> Survival {
        self.evidence.times("reconnect_time", None, |_| true)
    }

    /// Why its numbers decide nothing, in words.
    pub(super) fn distrust(&self, expectations: &[Expectation]) -> Vec<String> {
        let mut why = distrust(&self.evidence, expectations);
        why.extend(nobody_was_ready(&self.evidence).then(|| "no client became ready".to_owned()));
        why
    }

    /// Close codes that users were told, by side: `client` and `server`.
    pub(super) fn codes(&self) -> [(&'static str, &BTreeMap<String, u64>); 2] {
        let codes = &self.summary.close_codes;
        [("client", &codes.client), ("server", &codes.server)]
    }
}

/// Two runs of one side that are the same one: a copy, or a simulation with the same seed. Each would count twice.
pub fn duplicates(side: &[ComparedRun]) -> Option<(&ComparedRun, &ComparedRun)> {
    // A simulation is the same however it was called and wherever it ran.
    let measured = |run: &ComparedRun| Summary { command: String::new(), generator: Default::default(), ..run.summary.clone() };
    let same = |one: &ComparedRun, other: &ComparedRun| {
        one.summary.seed == other.summary.seed
            && (one.summary.simulated || started(one) == started(other))
            && measured(one) == measured(other)
    };
    side.iter().enumerate().find_map(|(at, one)| side[at + 1..].iter().find(|other| same(one, other)).map(|other| (one, other)))
}

fn started(run: &ComparedRun) -> Option<&str> {
    run.manifest.as_ref().map(|manifest| manifest.started.as_str())
}
