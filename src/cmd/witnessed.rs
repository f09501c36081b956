//! What a command that real clients come to says at its end, and its run folder.

use super::console;
use super::execute::{print_result, print_summary};
use crate::api::save;
use crate::cli::Format;
use crate::metrics::Results;
use crate::plan::Plan;
use crate::results::evidence::Evidence;
use crate::results::folder::Folder;
use crate::results::manifest::{self, command_line};
use crate::results::record::{Manifest, Verdict};
use crate::results::summary::summarise;
use crate::results::usage::Baseline;
use crate::seed::Seed;
use crate::verdict::judge;
use crate::witness::{Witness, WitnessedRun};
use anyhow::Context;
use std::path::Path;

/// A folder that will have what a witness saw.
pub(super) struct WitnessedFolder {
    folder: Folder,
    manifest: Manifest,
    usage: Baseline,
}

impl WitnessedFolder {
    /// One that the user named, before the first client comes.
    ///
    /// # Errors
    /// It is there already, or cannot be made.
    pub(super) fn open(out: &Path, seed: u64) -> anyhow::Result<WitnessedFolder> {
        let manifest = manifest::collect(console::command_line(), Seed(seed));
        let folder = console::noted(Folder::open(Some(out), false, || out.to_owned())?);
        Ok(WitnessedFolder { folder, manifest, usage: Baseline::now() })
    }

    /// Writes what was seen, with charts and reports, and tells of it unless `quiet`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn save(self, witness: &Witness, run: &WitnessedRun, quiet: bool) -> anyhow::Result<()> {
        let (plan, mut results) = witness.results(run)?;
        results.usage.add(self.usage.used());
        conclude(Some(self.folder), &results, &plan, &self.manifest, quiet).map(drop)
    }

    /// Nothing was seen: it is gone again.
    pub(super) fn discard(self) {
        self.folder.discard();
    }
}

/// Writes what was seen into a folder, if there is one, and tells of it unless `quiet`. What comes of the expectations.
///
/// # Errors
/// A file or stdout cannot be written; the counts are inconsistent.
pub(super) fn conclude(
    folder: Option<Folder>,
    results: &Results,
    plan: &Plan,
    manifest: &Manifest,
    quiet: bool,
) -> anyhow::Result<Verdict> {
    let verdict = judge(&Evidence::of(results), &plan.expectations);
    match folder {
        Some(folder) => {
            let summary = save(&folder, results, None, plan, &verdict, manifest)?;
            let dir = folder.finish()?;
            if !quiet {
                print_result(&summary, Format::Text, &dir)?;
            }
        }
        None if quiet => {}
        None => print_summary(&summarise(results, None, &verdict, &command_line(manifest)), Format::Text)?,
    }
    results.check_ledger().context("the counts are inconsistent: this is a bug in closestorm, please report it with the run folder")?;
    Ok(verdict)
}
