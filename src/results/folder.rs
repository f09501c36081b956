//! The run folder being written: under a temporary name beside its own, renamed when it is complete.
//!
//! A folder that has its own name is complete; one that ends in `.partial` is not. The summary is written first, because it matters
//! most when the disk fills. An empty folder that is there already may be a mount, or the only place where we may write: then the
//! temporary folder is inside it, and the files move up when they are complete, the summary last.

use super::bands;
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
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Why a run folder could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is something under its name already.
    #[error("{} already exists: choose another folder with --out, or remove it", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// Another run is writing it, or one was killed while it did.
    #[error("{} exists: another run is writing it, or a run was killed while writing it; in that case remove it", path.display())]
    InUse {
        /// The temporary folder.
        path: PathBuf,
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

fn kept(summary: bool) -> &'static str {
    if summary { " (summary.json beside it is complete)" } else { "" }
}

/// The folder that becomes `dir` when it is complete.
fn temporary(dir: &Path) -> PathBuf {
    if dir.is_dir() {
        return dir.join("run.partial");
    }
    let mut name = dir.file_name().map_or_else(|| "run".into(), std::ffi::OsStr::to_owned);
    name.push(".partial");
    dir.with_file_name(name)
}

/// What there is of a run folder that is not complete, or never will be.
pub fn partial_of(dir: &Path) -> Option<PathBuf> {
    Some(temporary(dir)).filter(|partial| partial.is_dir())
}

/// A run folder that is not complete yet.
#[derive(Debug)]
pub struct Folder {
    partial: PathBuf,
    complete: PathBuf,
    /// Folders above it that were made for it, the innermost first.
    made: Vec<PathBuf>,
}

impl Folder {
    /// Makes the temporary folder `<dir>.partial`, with the folders above it, and tries to write into it; leaves nothing where it fails.
    ///
    /// # Errors
    /// `dir` exists and is not empty, the temporary folder exists, or it cannot be written.
    pub fn create(dir: &Path) -> Result<Folder, FolderError> {
        if fs::read_dir(dir).map_or_else(|_| dir.exists(), |mut entries| entries.next().is_some()) {
            return Err(FolderError::Exists { path: dir.to_owned() });
        }
        let partial = temporary(dir);
        let missing = |above: &&Path| !above.as_os_str().is_empty() && !above.exists();
        let made = partial.ancestors().skip(1).take_while(missing).map(Path::to_owned).collect();
        let folder = Folder { partial, complete: dir.to_owned(), made };
        match folder.make() {
            Ok(()) => Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.partial.is_dir() => {
                Err(FolderError::InUse { path: folder.partial })
            }
            Err(source) => {
                folder.discard();
                Err(FolderError::Make { path: dir.to_owned(), source })
            }
        }
    }

    fn make(&self) -> io::Result<()> {
        if let Some(file) = self.partial.ancestors().skip(1).find(|above| above.exists()).filter(|above| !above.is_dir()) {
            return Err(io::Error::other(format!("{} is not a folder", file.display())));
        }
        if let Some(above) = self.made.first() {
            fs::create_dir_all(above)?;
        }
        fs::create_dir(&self.partial)?;
        // A byte, and not only a name: a full disk still takes empty files.
        let probe = self.partial.join(".probe");
        fs::write(&probe, b".")?;
        fs::remove_file(&probe)
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
        let mut put = |name: &str, fill: &dyn Fn(&mut BufWriter<File>) -> io::Result<()>| {
            let path = self.partial.join(name);
            let result = fill_file(&path, fill).map_err(|source| FolderError::Write { path, summary: complete, source });
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
        let inside = self.partial.parent() == Some(&self.complete);
        match if inside { self.move_up() } else { fs::rename(&self.partial, &self.complete) } {
            Ok(()) => Ok(self.complete),
            Err(error) if !inside && self.complete.exists() && error.kind() != io::ErrorKind::PermissionDenied => {
                Err(FolderError::Exists { path: self.complete })
            }
            Err(source) => Err(FolderError::Write { path: self.complete, summary: false, source }),
        }
    }

    fn move_up(&self) -> io::Result<()> {
        let mut files: Vec<_> = fs::read_dir(&self.partial)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
        files.sort_by_key(|name| name == "summary.json");
        files.iter().try_for_each(|name| fs::rename(self.partial.join(name), self.complete.join(name)))?;
        fs::remove_dir(&self.partial)
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
    "second", "metric", "cohort", "fault", "outcome", "status", "side", "reported", "wire", "cause", "tcp_end", "tls_end", "clean", "count",
];

/// Fills a file.
///
/// # Errors
/// It could not be written to its end.
pub(super) fn put(path: &Path, fill: &dyn Fn(&mut BufWriter<File>) -> io::Result<()>) -> Result<(), FolderError> {
    fill_file(path, fill).map_err(|source| FolderError::Write { path: path.to_owned(), summary: false, source })
}

/// Fills a file and sees to it that all of it arrived: a buffer that is dropped swallows a full disk.
fn fill_file(path: &Path, fill: &dyn Fn(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    fill(&mut out)?;
    out.flush()
}

/// Writes a document.
pub(super) fn put_json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::other)?;
    out.write_all(b"\n")
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
    fn a_discarded_folder_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("there")).unwrap();
        Folder::create(&dir.path().join("there/new/deep/run")).unwrap().discard();
        assert!(dir.path().join("there").exists() && !dir.path().join("there/new").exists());
    }
}
