//! The run folder being written: under a temporary name beside its own, renamed when it is complete.
//!
//! A folder that has its own name is complete; one that ends in `.partial` is not. The summary is written first, because it matters
//! most when the disk fills.

use super::hlog::{write_log, write_table};
use super::manifest::{command_line, started_s};
use super::record::{Manifest, Summary, Verdict};
use super::summary::summarise;
use super::tables::{count_rows, ending_rows, event_rows, reconnect_rows, timeline_rows};
use crate::metrics::Results;
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Why a run folder could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is something under its name already.
    #[error("{} exists already: name another folder with --out, or remove it", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// Another run is writing it, or one was killed while it did.
    #[error("{} exists: another run is writing it, or one was killed while it did; remove it in that case", path.display())]
    InUse {
        /// The temporary folder.
        path: PathBuf,
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

/// A run folder that is not complete yet.
#[derive(Debug)]
pub struct Folder {
    partial: PathBuf,
    complete: PathBuf,
}

impl Folder {
    /// Makes the temporary folder `<dir>.partial`, with the folders above it, and tries to write into it.
    ///
    /// # Errors
    /// `dir` exists and is not empty, the temporary folder exists, or it cannot be written.
    pub fn create(dir: &Path) -> Result<Folder, FolderError> {
        if fs::read_dir(dir).map_or_else(|_| dir.exists(), |mut entries| entries.next().is_some()) {
            return Err(FolderError::Exists { path: dir.to_owned() });
        }
        let mut name = dir.file_name().map_or_else(|| "run".into(), std::ffi::OsStr::to_owned);
        name.push(".partial");
        let partial = dir.with_file_name(name);
        let failed = |source| FolderError::Write { path: partial.clone(), summary: false, source };
        if let Some(parent) = partial.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        match fs::create_dir(&partial) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(FolderError::InUse { path: partial }),
            result => result.map_err(failed)?,
        }
        // A byte, and not only a name: a full disk still takes empty files.
        let probe = partial.join(".probe");
        fs::write(&probe, b".").and_then(|()| fs::remove_file(&probe)).map_err(failed)?;
        Ok(Folder { partial, complete: dir.to_owned() })
    }

    /// Where to write further files, as the output of the target and charts, until [`finish`](Folder::finish).
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Writes all data files, `summary.json` first. Returns the summary.
    ///
    /// # Errors
    /// The first file that could not be written; what was written before stays.
    pub fn write(&self, results: &Results, resolved: &str, verdict: &Verdict, manifest: &Manifest) -> Result<Summary, FolderError> {
        let summary = summarise(results, verdict, &command_line(manifest));
        let mut complete = false;
        let mut put = |name: &str, fill: &dyn Fn(&mut BufWriter<File>) -> io::Result<()>| {
            let path = self.partial.join(name);
            let result = put(&path, fill).map_err(|source| FolderError::Write { path, summary: complete, source });
            complete |= result.is_ok();
            result
        };
        put("summary.json", &|out| json(out, &summary))?;
        put("manifest.json", &|out| json(out, manifest))?;
        put("scenario.toml", &|out| out.write_all(resolved.as_bytes()))?;
        put("counts.csv", &|out| csv(out, count_rows(results), COUNTS))?;
        put("latency.hlog", &|out| write_log(out, results, started_s(manifest)))?;
        put("timeline.csv", &|out| csv(out, timeline_rows(results), TIMELINE))?;
        put("closes.csv", &|out| csv(out, ending_rows(results), CLOSES))?;
        put("reconnects.csv", &|out| csv(out, reconnect_rows(results), RECONNECTS))?;
        put("latency.hgrm", &|out| write_table(out, results))?;
        put("events.csv", &|out| csv(out, event_rows(results), EVENTS))?;
        Ok(summary)
    }

    /// Gives the folder its name. Returns it.
    ///
    /// # Errors
    /// Something came to stand under that name meanwhile, or the rename failed; the files stay in the temporary folder.
    pub fn finish(self) -> Result<PathBuf, FolderError> {
        match fs::rename(&self.partial, &self.complete) {
            Ok(()) => Ok(self.complete),
            Err(error) if self.complete.exists() && error.kind() != io::ErrorKind::PermissionDenied => {
                Err(FolderError::Exists { path: self.complete })
            }
            Err(source) => Err(FolderError::Write { path: self.complete, summary: false, source }),
        }
    }
}

/// Writes a whole run folder without charts: [`Folder::create`], [`Folder::write`], [`Folder::finish`].
pub fn write(dir: &Path, results: &Results, resolved: &str, verdict: &Verdict, manifest: &Manifest) -> Result<Summary, FolderError> {
    let folder = Folder::create(dir)?;
    let summary = folder.write(results, resolved, verdict, manifest)?;
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
    "refused",
    "timed_out",
    "rejected",
    "failed",
    "closed",
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
    "mid_frame",
    "clean",
    "client_code",
    "server_code",
    "server_tcp_end",
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
pub const COUNTS: &[&str] =
    &["second", "metric", "cohort", "fault", "outcome", "side", "reported", "wire", "cause", "tcp_end", "clean", "count"];

/// Fills a file and sees to it that all of it arrived: a buffer that is dropped swallows a full disk.
fn put(path: &Path, fill: &dyn Fn(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    fill(&mut out)?;
    out.flush()
}

fn json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::other)?;
    out.write_all(b"\n")
}

/// Writes a table; the header stands there even where there are no rows.
fn csv<T: Serialize>(out: &mut impl Write, rows: Vec<T>, header: &[&str]) -> io::Result<()> {
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
        assert!(matches!(Folder::create(&file.join("run")), Err(FolderError::Write { .. })));
        let run = dir.path().join("new/run");
        let first = Folder::create(&run).unwrap();
        assert!(first.path().is_dir() && !run.exists());
        assert!(matches!(Folder::create(&run), Err(FolderError::InUse { .. })));
        fs::write(first.path().join("target.log"), "output").unwrap();
        assert_eq!(first.finish().unwrap(), run);
        assert!(run.join("target.log").exists() && !run.with_file_name("run.partial").exists());
        assert!(Folder::create(&run).unwrap_err().to_string().contains("exists already"));
    }

    #[test]
    fn an_empty_folder_may_be_there_already() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Folder::create(dir.path()).and_then(Folder::finish).is_ok());
    }
}
