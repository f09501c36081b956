//! What came of a run.

use crate::api::cohort_outcome::CohortOutcome;
use crate::api::error::Error;
#[cfg(feature = "charts")]
use crate::api::written::save;
use crate::metrics::Results;
use crate::plan::Plan;
use crate::report;
use crate::results::evidence::Evidence;
use crate::results::folder::Folder;
use crate::results::manifest;
use crate::results::record::{Manifest, Summary, Verdict};
use crate::results::summary::summarise;
use crate::verdict::{self, judge};
use crate::witness::{Witness, WitnessedRun};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Columns of a verdict that a failed assertion prints.
const WIDTH: usize = 100;

/// The result of a run or a simulation: verdict and figures.
#[derive(Clone, Debug)]
pub struct Outcome {
    plan: Arc<Plan>,
    results: Results,
    verdict: Verdict,
    manifest: Manifest,
}

impl Outcome {
    pub(crate) fn of(plan: Arc<Plan>, results: Results, verdict: Verdict, manifest: Manifest) -> Result<Outcome, Error> {
        results.check_ledger().map_err(Error::failed)?;
        Ok(Outcome { plan, results, verdict, manifest })
    }

    /// Of what was seen of real clients, until now.
    pub(crate) fn witnessed(witness: &Witness, run: &WitnessedRun) -> Result<Outcome, Error> {
        let (plan, results) = witness.results(run)?;
        let verdict = judge(&Evidence::of(&results), &plan.expectations);
        let manifest = manifest::of(vec!["closestorm".to_owned(), run.name.clone()], &plan);
        Outcome::of(Arc::new(plan), results, verdict, manifest)
    }

    /// The verdict: `result` is `pass`, `fail`, `inconclusive` or `unchecked` (no expectations); with reasons, and a row for each
    /// expectation.
    ///
    /// An expectation without data never passes.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Holds that all expectations hold, and that there are some.
    ///
    /// # Panics
    /// With the printed summary, if an expectation failed, there was too little data to tell, or nothing was expected.
    #[track_caller]
    pub fn assert(&self) {
        assert!(self.verdict.result == "pass", "\n{}", self.text(WIDTH));
    }

    /// What the clients of a cohort went through.
    ///
    /// # Panics
    /// If the scenario has no cohort of this name.
    #[track_caller]
    pub fn cohort(&self, name: &str) -> CohortOutcome {
        let mut cohorts = self.summary().cohorts;
        let names = || cohorts.keys().cloned().collect::<Vec<_>>().join(", ");
        assert!(cohorts.contains_key(name), "there is no cohort {name:?}; the scenario has {}", names());
        CohortOutcome::of(cohorts.swap_remove(name).unwrap_or_default())
    }

    /// Exit code of `closestorm run` for this verdict: 0 pass or unchecked, 99 fail, 3 inconclusive.
    pub fn exit_code(&self) -> u8 {
        verdict::exit_code(&self.verdict)
    }

    /// All figures, as in `summary.json`. It is computed anew by each call.
    pub fn summary(&self) -> Summary {
        summarise(&self.results, None, &self.verdict, &manifest::command_line(&self.manifest))
    }

    /// The summary as text, as `closestorm run` prints it: lines of at most `width` columns where words allow it, without colours.
    pub fn text(&self, width: usize) -> String {
        report::terminal(&self.summary(), width, None, false)
    }

    /// Writes a run folder with data, charts and reports to `dir`, which must not exist or must be empty. Returns its path. Needs the feature `charts`.
    ///
    /// # Errors
    /// [`Error::NotWritten`] or [`Error::Failed`]. An incomplete folder is left at `<dir>.partial`.
    #[cfg(feature = "charts")]
    pub fn write(&self, dir: &Path) -> Result<PathBuf, Error> {
        let folder = Folder::create(dir).map_err(Error::failed)?;
        save(&folder, &self.results, None, &self.plan, &self.verdict, &self.manifest)?;
        folder.finish().map_err(Error::failed)
    }

    /// Like [`write`](Outcome::write), but without charts and reports; `closestorm report` can add them later.
    ///
    /// # Errors
    /// As [`write`](Outcome::write).
    pub fn write_data(&self, dir: &Path) -> Result<PathBuf, Error> {
        let folder = Folder::create(dir).map_err(Error::failed)?;
        folder.write(&self.results, None, &self.plan.resolved, &self.verdict, &self.manifest).map_err(Error::failed)?;
        folder.finish().map_err(Error::failed)
    }
}
