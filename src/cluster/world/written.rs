//! What the leading process of a world writes, on a disk that fails at one of its writes, or from one on.

use super::World;
use crate::metrics::Results;
use crate::output::disk;
use crate::plan::Shard;
use crate::results::{Evidence, Folder, FolderError, manifest, shard};
use crate::seed::Seed;
use crate::verdict::judge;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the disk may fail at: all that is written of one run, and the file of a shard.
const OPERATIONS: u64 = 160;

/// Files with their contents, by name.
fn files_in(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).unwrap_or_default())).collect()
}

/// Writes a folder as a run and as a shard do: which, or which file could not be written, and why.
fn write(
    world: &World,
    results: &Results,
    dir: &Path,
    manifest: &crate::results::record::Manifest,
) -> Result<PathBuf, (PathBuf, io::Error)> {
    let named = |error: FolderError| match error {
        FolderError::Write { path, source, .. } | FolderError::Make { path, source } => (path, source),
        other => (PathBuf::new(), io::Error::other(other.to_string())),
    };
    let folder = Folder::create(dir).map_err(named)?;
    let header = shard::Header {
        version: String::new(),
        commit: String::new(),
        shard: Shard::WHOLE,
        name: "world".to_owned(),
        scenario: world.plan.whole.clone(),
        start_at: None,
        started: String::new(),
        notices: Vec::new(),
    };
    let at = folder.path().join(shard::FILE);
    shard::write(folder.path(), &header, results.clone()).map_err(|error| (at, error))?;
    let verdict = judge(&Evidence::of(results), &world.plan.expectations);
    folder.write(results, None, &world.plan.whole, &verdict, manifest).map_err(named)?;
    folder.finish().map_err(named)
}

/// What must hold of the files of a world, and does not.
pub(super) fn check(world: &World, results: &Results) -> Vec<String> {
    let mut random = Seed(world.seed).stream("world/disk");
    if random.below(3) != 0 {
        return Vec::new();
    }
    let place = tempfile::tempdir().expect("a place for files");
    let manifest = manifest::collect(vec!["closestorm".to_owned(), "run".to_owned()], Seed(world.seed));
    let whole = match write(world, results, &place.path().join("whole"), &manifest) {
        Ok(whole) => files_in(&whole),
        Err((path, error)) => return vec![format!("the disk works, and {} was not written: {error}", path.display())],
    };
    let (at, half, once) = (random.below(OPERATIONS), random.below(2) == 0, random.below(2) == 0);
    let run = place.path().join("run");
    disk::fail(Some(disk::Failure { at, half, once }));
    let ended = write(world, results, &run, &manifest);
    disk::fail(None);
    let mut wrong = Vec::new();
    let left = match &ended {
        Ok(run) => files_in(run),
        Err((path, error)) => {
            if error.kind() != io::ErrorKind::StorageFull || path.as_os_str().is_empty() {
                wrong.push(format!("operation {at}: {} was not written: {error}, {:?}", path.display(), error.source()));
            }
            if run.exists() {
                wrong.push(format!("operation {at}: {} failed, and the folder has its name", path.display()));
            }
            files_in(&run.with_file_name("run.partial"))
        }
    };
    for (name, contents) in &left {
        if whole.get(name) != Some(contents) {
            wrong.push(format!("operation {at}, half: {half}: {name} is not whole"));
        }
    }
    if ended.is_ok() && left.len() != whole.len() {
        wrong.push(format!("operation {at}: {} of {} files", left.len(), whole.len()));
    }
    wrong
}
