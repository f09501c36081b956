//! Baselines: runs that later ones are compared with, in a folder that a CI system can keep.

use super::exit;
use crate::output;
use crate::results::read::read_regular;
use crate::text::printable;
use anyhow::Context;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Each baseline is a folder of run folders in it.
const BASELINES: &str = "results/baselines";
/// What `compare` reads of a run. Charts, reports, and tables of single events are left out, so that a cache of baselines stays small.
const KEPT: [&str; 7] = ["manifest.json", "scenario.toml", "counts.csv", "peaks.csv", "limits.csv", "latency.hlog", "summary.json"];

/// The folder of a baseline that is there.
///
/// # Errors
/// There is none of that name.
pub(super) fn folder(name: &str) -> anyhow::Result<PathBuf> {
    let folder = Path::new(BASELINES).join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    let names = fs::read_dir(BASELINES).into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut known: Vec<String> = names.filter(|name| !name.ends_with(".partial")).collect();
    known.sort();
    let known = if known.is_empty() { "there are no baselines".to_owned() } else { format!("the baselines are {}", known.join(", ")) };
    Err(exit::Usage(format!("{} does not exist; {known}; `closestorm run --save-baseline NAME` writes one", folder.display())).into())
}

/// Refuses to put a baseline in place of what is none, before runs take their time.
///
/// # Errors
/// A link, a file, or a folder with other things in it has this name.
pub(super) fn check_replaceable(name: &str) -> anyhow::Result<()> {
    let place = Path::new(BASELINES).join(name);
    let is_run = |name: &str| name.len() >= 3 && name.bytes().all(|byte| byte.is_ascii_digit());
    let what = match output::kind(&place).with_context(|| format!("cannot write {}", place.display()))? {
        None => return Ok(()),
        Some(kind) if kind.is_symlink() => "it is a symbolic link, and nothing is written through one".to_owned(),
        Some(kind) if !kind.is_dir() => "it is not a folder".to_owned(),
        Some(_) => {
            let within = fs::read_dir(&place).with_context(|| format!("cannot read {}", place.display()))?;
            let mut names = within.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
            match names.find(|name| !is_run(name)) {
                None => return Ok(()),
                Some(other) => format!("it is no baseline: it has {} in it", printable(&other)),
            }
        }
    };
    Err(exit::Usage(format!("cannot write {}: {what}; give the baseline another name", place.display())).into())
}

/// Keeps these runs as a baseline, in place of an earlier one of that name; gives its folder.
///
/// # Errors
/// A file cannot be read or written. Then the earlier baseline is left, and nothing else.
pub(super) fn save(name: &str, runs: &[PathBuf]) -> anyhow::Result<PathBuf> {
    let partial = Path::new(BASELINES).join(format!("{name}.partial"));
    // What cannot be removed stays; there is a more important error to tell.
    save_by(name, runs, &partial).inspect_err(|_| _ = remove(&partial))
}

fn save_by(name: &str, runs: &[PathBuf], partial: &Path) -> anyhow::Result<PathBuf> {
    let place = Path::new(BASELINES).join(name);
    remove(partial).with_context(|| format!("cannot remove {}", partial.display()))?;
    for (at, run) in runs.iter().enumerate() {
        let to = partial.join(format!("{:03}", at + 1));
        fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
        for file in KEPT {
            let bytes = read_regular(&run.join(file)).with_context(|| format!("cannot read {}", run.join(file).display()))?;
            output::write(&to.join(file), &bytes).with_context(|| format!("cannot write {}", to.join(file).display()))?;
        }
    }
    // The earlier one goes when the new one has its name.
    let earlier = Path::new(BASELINES).join(format!("{name}.earlier.partial"));
    remove(&earlier).with_context(|| format!("cannot remove {}", earlier.display()))?;
    if place.exists() {
        output::rename(&place, &earlier).with_context(|| format!("cannot move {}", place.display()))?;
    }
    let renamed = output::rename(partial, &place).inspect_err(|_| _ = fs::rename(&earlier, &place));
    renamed.with_context(|| format!("cannot write {}", place.display()))?;
    remove(&earlier).with_context(|| format!("cannot remove {}", earlier.display()))?;
    Ok(place)
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
