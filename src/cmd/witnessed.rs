//! The run folder of a command that real clients come to.

use super::console;
use super::execute::print_result;
use crate::api::save;
use crate::cli::Format;
use crate::results::evidence::Evidence;
use crate::results::folder::Folder;
use crate::results::manifest;
use crate::results::record::Manifest;
use crate::results::usage::Baseline;
use crate::seed::Seed;
use crate::verdict::judge;
use crate::witness::{Witness, WitnessedRun};
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
        let folder = Folder::open(Some(out), false, || out.to_owned())?;
        Ok(WitnessedFolder { folder, manifest, usage: Baseline::now() })
    }

    /// Writes what was seen, with charts and reports, and tells of it unless `quiet`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn save(self, witness: &Witness, run: &WitnessedRun, quiet: bool) -> anyhow::Result<()> {
        let (plan, mut results) = witness.results(run)?;
        results.usage.add(self.usage.used());
        let verdict = judge(&Evidence::of(&results), &plan.expectations);
        let summary = save(&self.folder, &results, None, &plan, &verdict, &self.manifest)?;
        let dir = self.folder.finish()?;
        if !quiet {
            print_result(&summary, Format::Text, &dir)?;
        }
        Ok(results.check_ledger()?)
    }

    /// Nothing was seen: it is gone again.
    pub(super) fn discard(self) {
        self.folder.discard();
    }
}
