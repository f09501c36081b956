//! The run folder being written: under a temporary name beside its own, renamed when it is complete.
//!
//! Nothing is written through a link, and nothing is replaced but a run folder, and that only when the user says so.
//!
//! A folder that has its own name is complete; one that ends in `.partial` is not: it is locked as long as its writer lives, and what a killed one left
//! is kept under another name by the next that writes there. The summary is written first, because it matters
//! most when the disk fills. An empty folder that is there already may be a mount, or the only place where we may write: then the
//! temporary folder is inside it, and the files move up when they are complete, the summary last.

use super::bands;
use super::claim::{Claim, ClaimError};
use super::exact;
use super::hlog::{write_log, write_table};
use super::manifest::{command_line, started_s};
use super::peaks::{PEAKS, peak_rows};
use super::record::{Manifest, Summary, Verdict};
use super::runs::{RUNS, Seeds};
use super::summary::summarise;
use super::tables::{count_rows, ending_rows, event_rows, reconnect_rows, timeline_rows};
use crate::event::Outcome;
use crate::metrics::Results;
use crate::output::{self, OutputFile};
use crate::text::json;
use serde::Serialize;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Why a run folder could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is something under its name already.
    #[error("{} already exists{}: choose another folder with --out, or remove it{}", path.display(), among(what), if *run { " (or use --force)" } else { "" })]
    Exists {
        /// The folder.
        path: PathBuf,
        /// What it is, where it is no folder.
        what: &'static str,
        /// It is a run folder.
        run: bool,
    },
    /// What is to be replaced is no run folder.
    #[error("{} is not a run folder: it has no manifest.json of a run, and --force replaces nothing else", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// Another run is writing it, or, where that cannot be told, one was killed while it did.
    #[error("{} exists: another run is writing it{}", path.display(), instead(*locked))]
    InUse {
        /// The temporary folder.
        path: PathBuf,
        /// Its writer lives.
        locked: bool,
    },
    /// It cannot be made, or nothing can be written into it.
    #[error("cannot create the run folder {}: choose another place with --out", path.display())]
    Make {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Anything else, as a full disk.
    #[error("cannot write {}{}", path.display(), kept(*summary))]
    Write {
        /// What was being written.
        path: PathBuf,
        /// `summary.json` is complete.
        summary: bool,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn among(what: &str) -> String {
    if what.is_empty() { String::new() } else { format!(" and is {what}") }
}

fn instead(locked: bool) -> &'static str {
    if locked { "; choose another folder with --out" } else { ", or a run was killed while writing it; in that case remove it" }
}

fn kept(summary: bool) -> &'static str {
    if summary { " (summary.json beside it is complete)" } else { "" }
}

/// The folder that becomes `dir` when it is complete.
fn temporary(dir: &Path) -> PathBuf {
    if is_vacant(dir) {
        return dir.join("run.partial");
    }
    beside(dir)
}

fn beside(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().map_or_else(|| "run".into(), std::ffi::OsStr::to_owned);
    name.push(".partial");
    dir.with_file_name(name)
}

/// What there is of a run folder that is not complete, or never will be.
pub fn partial_of(dir: &Path) -> Option<PathBuf> {
    let partial = if dir.is_dir() { dir.join("run.partial") } else { beside(dir) };
    Some(partial).filter(|partial| partial.is_dir())
}

/// Whether it is a folder that has nothing in it, but for what runs left that were killed.
fn is_vacant(dir: &Path) -> bool {
    let is_left = |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with("run.") && name.ends_with(".partial"));
    let has_only_those = |mut entries: fs::ReadDir| entries.all(|entry| entry.is_ok_and(|entry| is_left(&entry.file_name())));
    is_folder(dir) && fs::read_dir(dir).is_ok_and(has_only_those)
}

/// Whether it is a folder, and not a link to one.
fn is_folder(dir: &Path) -> bool {
    output::kind(dir).is_ok_and(|kind| kind.is_some_and(|kind| kind.is_dir()))
}

/// Whether a folder was made by a run, a search or a map.
fn is_run(dir: &Path) -> bool {
    let has = |name: &str| output::kind(&dir.join(name)).is_ok_and(|kind| kind.is_some_and(|kind| kind.is_file()));
    let manifest = || serde_json::from_slice::<Manifest>(&fs::read(dir.join("manifest.json")).ok()?).ok();
    is_folder(dir) && (has("manifest.json") && manifest().is_some() || has("map.json") && has("map.csv"))
}

/// Suffixes that are tried for a folder that nobody named.
const SUFFIXES: u32 = 1000;
/// Beside the run folders of a scenario: leads to the last of them.
const LATEST: &str = "latest";

/// A run folder that is not complete yet.
#[derive(Debug)]
pub struct Folder {
    partial: PathBuf,
    complete: PathBuf,
    /// Folders above it that were made for it, the innermost first.
    made: Vec<PathBuf>,
    /// A run folder under the name is replaced.
    force: bool,
    /// The link beside it that will lead to it.
    latest: Option<PathBuf>,
    /// Held as long as it is written.
    _lock: Option<File>,
    /// What a killed run had left in its place.
    kept: Option<PathBuf>,
}

impl Folder {
    /// The folder that the user named, which may be there as a run folder where `force` says so; else `default`, or what is free with a number
    /// behind it, and the link `latest` beside it leads to it when it is complete.
    ///
    /// # Errors
    /// As [`create`](Folder::create).
    pub fn open(named: Option<&Path>, force: bool, default: impl FnOnce() -> PathBuf) -> Result<Folder, FolderError> {
        if let Some(dir) = named {
            return Folder::make_at(dir, force);
        }
        let first = default();
        let mut dir = first.clone();
        for number in 2..=SUFFIXES {
            match Folder::make_at(&dir, false) {
                Ok(folder) => return Ok(Folder { latest: Some(dir.with_file_name(LATEST)), ..folder }),
                Err(FolderError::Exists { .. } | FolderError::InUse { .. }) => {
                    let mut name = first.file_name().unwrap_or_default().to_owned();
                    name.push(format!("-{number}"));
                    dir = first.with_file_name(name);
                }
                Err(error) => return Err(error),
            }
        }
        Err(FolderError::InUse { path: beside(&dir), locked: false })
    }

    /// Makes the temporary folder `<dir>.partial`, with the folders above it, and tries to write into it; leaves nothing where it fails.
    ///
    /// # Errors
    /// `dir` exists and is not empty, or is a link; the temporary folder is being written, or cannot be.
    pub fn create(dir: &Path) -> Result<Folder, FolderError> {
        Folder::make_at(dir, false)
    }

    fn make_at(dir: &Path, force: bool) -> Result<Folder, FolderError> {
        // Without a slash at its end, behind which the kernel follows a link.
        let dir = &dir.components().collect::<PathBuf>();
        check_free(dir, force)?;
        let partial = temporary(dir);
        let missing = |above: &&Path| !above.as_os_str().is_empty() && !above.exists();
        let made: Vec<PathBuf> = partial.ancestors().skip(1).take_while(missing).map(Path::to_owned).collect();
        let Claim { lock, kept } = match Claim::of(&partial, &made) {
            Ok(claim) => claim,
            Err(ClaimError::InUse { locked }) => return Err(FolderError::InUse { path: partial, locked }),
            Err(ClaimError::Unmade(source)) => {
                // Of what it has not made nothing is removed.
                made.iter().for_each(|above| _ = fs::remove_dir(above));
                return Err(FolderError::Make { path: dir.to_owned(), source });
            }
        };
        let folder = Folder { partial, complete: dir.to_owned(), made, force, latest: None, _lock: lock, kept };
        // Who has the temporary folder is the only one who gives the name: but it may have been given between two looks.
        match check_free(dir, force) {
            Ok(()) => Ok(folder),
            // Ours is in it.
            Err(_) if folder.is_inside() => Ok(folder),
            Err(error) => {
                folder.discard();
                Err(error)
            }
        }
    }

    /// Where that is kept which a killed run had left under the temporary name.
    pub fn kept(&self) -> Option<&Path> {
        self.kept.as_deref()
    }

    /// Whether the temporary folder is in the one that it becomes.
    fn is_inside(&self) -> bool {
        self.partial.parent() == Some(&self.complete)
    }

    /// Removes it with all that was written, and the folders above it that were made for it and are empty.
    pub fn discard(self) {
        // What cannot be removed stays; there is a more important error to tell.
        let _ = fs::remove_dir_all(&self.partial);
        self.made.iter().for_each(|above| _ = fs::remove_dir(above));
    }

    /// Where to write further files, as the output of the target and charts, until [`finish`](Folder::finish).
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Writes all data files, `summary.json` first; `seeds`: of a plan simulated with several, of which `results` are the first. Returns
    /// the summary.
    ///
    /// # Errors
    /// The first file that could not be written; what was written before stays.
    pub fn write(
        &self,
        results: &Results,
        seeds: Option<&Seeds>,
        resolved: &str,
        verdict: &Verdict,
        manifest: &Manifest,
    ) -> Result<Summary, FolderError> {
        let summary = summarise(results, seeds, verdict, &command_line(manifest));
        let mut complete = false;
        let mut put = |name: &str, fill: &dyn Fn(&mut BufWriter<OutputFile>) -> io::Result<()>| {
            let path = self.partial.join(name);
            let result = output::fill(&path, fill).map_err(|source| FolderError::Write { path, summary: complete, source });
            complete |= result.is_ok();
            result
        };
        put("summary.json", &|out| put_json(out, &summary))?;
        put("manifest.json", &|out| put_json(out, manifest))?;
        put("scenario.toml", &|out| out.write_all(resolved.as_bytes()))?;
        put("counts.csv", &|out| put_csv(out, count_rows(results), COUNTS))?;
        put("peaks.csv", &|out| put_csv(out, peak_rows(results), PEAKS))?;
        put("latency.hlog", &|out| write_log(out, results, started_s(manifest)))?;
        put("limits.csv", &|out| put_csv(out, exact::rows(results), exact::LIMITS))?;
        put("timeline.csv", &|out| put_csv(out, timeline_rows(results), TIMELINE))?;
        put("closes.csv", &|out| put_csv(out, ending_rows(results), CLOSES))?;
        put("reconnects.csv", &|out| put_csv(out, reconnect_rows(results), RECONNECTS))?;
        put("latency.hgrm", &|out| write_table(out, results))?;
        if let Some(seeds) = seeds {
            put("runs.csv", &|out| put_csv(out, seeds.rows.clone(), RUNS))?;
            put("runs_reconnect.csv", &|out| put_csv(out, seeds.bands.reconnect.clone(), bands::RECONNECT))?;
            put("runs_timeline.csv", &|out| put_csv(out, seeds.bands.timeline.clone(), bands::TIMELINE))?;
        }
        put("events.csv", &|out| put_csv(out, event_rows(results), EVENTS))?;
        Ok(summary)
    }

    /// Gives the folder its name. Returns it.
    ///
    /// # Errors
    /// Something came to stand under that name meanwhile, or the rename failed; the files stay in the temporary folder.
    pub fn finish(self) -> Result<PathBuf, FolderError> {
        let named = if self.is_inside() { self.move_up() } else { self.take_name() };
        match named {
            Ok(()) => {
                if let (Some(latest), Some(name)) = (&self.latest, self.complete.file_name()) {
                    // A convenience: the run is complete without it, and what else stands there is not ours.
                    let _ = output::link(latest, Path::new(name));
                }
                Ok(self.complete)
            }
            Err(error) if !self.is_inside() && error.kind() != io::ErrorKind::PermissionDenied => {
                match check_free(&self.complete, self.force) {
                    Err(taken) => Err(taken),
                    Ok(()) => Err(FolderError::Write { path: self.complete, summary: false, source: error }),
                }
            }
            Err(source) => Err(FolderError::Write { path: self.complete, summary: false, source }),
        }
    }

    /// Renames the temporary folder; a run folder that it replaces is there until then, and gone afterwards.
    fn take_name(&self) -> io::Result<()> {
        if !self.force || !is_run(&self.complete) {
            return output::rename(&self.partial, &self.complete);
        }
        let mut old = self.partial.clone().into_os_string();
        old.push(format!(".{}.old", std::process::id()));
        let old = PathBuf::from(old);
        output::rename(&self.complete, &old)?;
        if let Err(error) = output::rename(&self.partial, &self.complete) {
            // Back, so that nothing is lost.
            let _ = output::rename(&old, &self.complete);
            return Err(error);
        }
        fs::remove_dir_all(old)
    }

    fn move_up(&self) -> io::Result<()> {
        let mut files: Vec<_> = fs::read_dir(&self.partial)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
        files.sort_by_key(|name| name == "summary.json");
        files.iter().try_for_each(|name| output::rename(&self.partial.join(name), &self.complete.join(name)))?;
        fs::remove_dir(&self.partial)
    }
}

/// Whether a name can become that of a run folder. `force`: also where a run folder has it.
fn check_free(dir: &Path, force: bool) -> Result<(), FolderError> {
    let exists = |what, run| Err(FolderError::Exists { path: dir.to_owned(), what, run });
    match output::kind(dir) {
        Ok(Some(kind)) if kind.is_symlink() => exists("a symbolic link, and nothing is written through one", false),
        Ok(Some(kind)) if !kind.is_dir() => exists("not a folder", false),
        Ok(Some(_)) if is_vacant(dir) => Ok(()),
        Ok(Some(_)) if force && is_run(dir) => Ok(()),
        Ok(Some(_)) if force => Err(FolderError::Foreign { path: dir.to_owned() }),
        Ok(Some(_)) => exists("", is_run(dir)),
        // What cannot be looked at is found out when the folder is made.
        Ok(None) | Err(_) => Ok(()),
    }
}

/// Writes a whole run folder without charts: [`Folder::create`], [`Folder::write`], [`Folder::finish`].
pub fn write(dir: &Path, results: &Results, resolved: &str, verdict: &Verdict, manifest: &Manifest) -> Result<Summary, FolderError> {
    let folder = Folder::create(dir)?;
    let summary = folder.write(results, None, resolved, verdict, manifest)?;
    folder.finish()?;
    Ok(summary)
}

/// Columns of `timeline.csv`.
pub const TIMELINE: &[&str] = &[
    "offset_ms",
    "cohort",
    "open",
    "attempts",
    "opened",
    Outcome::REFUSED,
    Outcome::TIMED_OUT,
    Outcome::REJECTED,
    Outcome::FAILED,
    "closed",
    "affected",
    "recovered",
    "due",
    "sent",
    "echoed",
    "rtt_p50_us",
    "rtt_p99_us",
    "rtt_max_us",
];
/// Columns of `closes.csv`.
pub const CLOSES: &[&str] = &[
    "cohort",
    "cause",
    "fault",
    "initiator",
    "wire_received",
    "wire_sent",
    "tcp_end",
    "tls_end",
    "mid_frame",
    "clean",
    "client_code",
    "server_code",
    "server_tcp_end",
    "server_tls_end",
    "count",
];
/// Columns of `reconnects.csv`.
pub const RECONNECTS: &[&str] = &[
    "client",
    "cohort",
    "fault",
    "client_code",
    "fault_offset_us",
    "detect_us",
    "backoff_us",
    "attempt_us",
    "first_reply_us",
    "reconnect_us",
    "attempts",
    "result",
    "weight",
];
/// Columns of `events.csv`.
pub const EVENTS: &[&str] = &["offset_us", "event", "client", "connection", "fault", "detail"];
/// Columns of `counts.csv`.
pub const COUNTS: &[&str] = &[
    "second", "width_s", "metric", "cohort", "fault", "outcome", "status", "side", "reported", "wire", "cause", "tcp_end", "tls_end",
    "clean", "count",
];

/// Fills a file.
///
/// # Errors
/// It could not be written to its end.
pub(super) fn put(path: &Path, fill: &dyn Fn(&mut BufWriter<OutputFile>) -> io::Result<()>) -> Result<(), FolderError> {
    output::fill(path, fill).map_err(|source| FolderError::Write { path: path.to_owned(), summary: false, source })
}

/// Writes a document.
pub(super) fn put_json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    out.write_all(json(value).map_err(io::Error::other)?.as_bytes())
}

/// Writes a table; the header stands there even where there are no rows.
pub(super) fn put_csv<T: Serialize>(out: &mut impl Write, rows: Vec<T>, header: &[&str]) -> io::Result<()> {
    let failed = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    };
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(out);
    writer.write_record(header).map_err(failed)?;
    rows.into_iter().try_for_each(|row| writer.serialize(row)).map_err(failed)?;
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_made_is_known_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(matches!(Folder::create(&file), Err(FolderError::Exists { .. })));
        assert!(matches!(Folder::create(&file.join("run")), Err(FolderError::Make { .. })));
        let run = dir.path().join("new/run");
        let first = Folder::create(&run).unwrap();
        assert!(first.path().is_dir() && !run.exists());
        assert!(matches!(Folder::create(&run), Err(FolderError::InUse { .. })));
        fs::write(first.path().join("target.log"), "output").unwrap();
        assert_eq!(first.finish().unwrap(), run);
        assert!(run.join("target.log").exists() && !run.with_file_name("run.partial").exists());
        assert!(Folder::create(&run).unwrap_err().to_string().contains("already exists"));
    }

    #[test]
    fn an_empty_folder_may_be_there_already_and_stays_the_same_one() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let before = dir.path().metadata().unwrap().ino();
        let folder = Folder::create(dir.path()).unwrap();
        fs::write(folder.path().join("summary.json"), "{}").unwrap();
        assert_eq!(folder.finish().unwrap(), dir.path());
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["summary.json"]);
        assert_eq!(dir.path().metadata().unwrap().ino(), before, "a mount cannot be replaced");
    }

    #[test]
    fn a_folder_that_nobody_named_is_the_next_that_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let first = dir.path().join("results/run");
        let open = || {
            let folder = Folder::open(None, false, || first.clone()).unwrap();
            fs::write(folder.path().join("summary.json"), "{}").unwrap();
            folder
        };
        let (one, two) = (open(), open());
        assert_eq!(two.finish().unwrap(), dir.path().join("results/run-2"));
        assert_eq!(one.finish().unwrap(), first);
        assert_eq!(fs::read_link(dir.path().join("results/latest")).unwrap(), Path::new("run"));
        assert_eq!(open().finish().unwrap(), dir.path().join("results/run-3"));
    }

    #[test]
    fn what_came_under_the_name_meanwhile_stays() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        let folder = Folder::create(&run).unwrap();
        std::os::unix::fs::symlink("nowhere", &run).unwrap();
        assert!(matches!(folder.finish(), Err(FolderError::Exists { .. })));
        assert!(run.is_symlink() && dir.path().join("run.partial").is_dir());
    }

    #[test]
    fn what_a_killed_run_left_is_kept_and_what_is_being_written_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (run, inside) = (dir.path().join("run"), dir.path().join("mount"));
        fs::create_dir(&inside).unwrap();
        for (run, partial) in [(&run, dir.path().join("run.partial")), (&inside, inside.join("run.partial"))] {
            for (number, kept) in [(1, "run.1.partial"), (2, "run.2.partial")] {
                // The kernel lets go of the lock of a process that is killed, as of a file that is closed.
                let killed = Folder::create(run).unwrap();
                fs::write(killed.path().join("target.log"), number.to_string()).unwrap();
                let error = Folder::create(run).unwrap_err();
                assert!(matches!(error, FolderError::InUse { locked: true, .. }), "{error}");
                drop(killed);
                let next = Folder::create(run).unwrap();
                let kept = partial.with_file_name(kept);
                assert_eq!(next.kept(), Some(&*kept));
                assert_eq!(fs::read_to_string(kept.join("target.log")).unwrap(), number.to_string());
                assert!(next.path() == partial && fs::read_dir(&partial).unwrap().next().is_none());
            }
            // Of an empty one there is nothing to keep.
            let last = Folder::create(run).unwrap();
            assert_eq!(last.kept(), None);
            fs::write(last.path().join("summary.json"), "{}").unwrap();
            assert_eq!(&last.finish().unwrap(), run);
            assert!(matches!(Folder::create(run), Err(FolderError::Exists { .. })));
        }
    }

    #[test]
    fn of_many_that_want_one_name_at_one_moment_one_gets_it_and_without_a_name_all_get_one() {
        let dir = tempfile::tempdir().unwrap();
        for turn in 0..50 {
            let run = dir.path().join(format!("{turn}/run"));
            // Even ones find what a killed run left.
            if turn % 2 == 0 {
                fs::create_dir_all(run.with_file_name("run.partial/steps")).unwrap();
            }
            let at_once = |open: &(dyn Fn() -> Result<Folder, FolderError> + Sync)| {
                std::thread::scope(|scope| {
                    let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
                    threads.into_iter().filter_map(|thread| thread.join().unwrap().ok()).collect::<Vec<_>>()
                })
            };
            let named = at_once(&|| Folder::open(Some(&run), false, || unreachable!("it has a name")));
            assert!(named.len() <= 1, "{named:?}");
            let unnamed = at_once(&|| Folder::open(None, false, || run.with_file_name("default")));
            let places: std::collections::BTreeSet<_> = unnamed.iter().map(Folder::path).collect();
            assert_eq!(places.len(), 4, "{unnamed:?}");
        }
    }

    #[test]
    fn a_discarded_folder_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("there")).unwrap();
        Folder::create(&dir.path().join("there/new/deep/run")).unwrap().discard();
        assert!(dir.path().join("there").exists() && !dir.path().join("there/new").exists());
    }
}
