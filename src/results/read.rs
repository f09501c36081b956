//! A run folder read back: all that `report`, `check` and the charts need.

use super::bands::Bands;
use super::exact::{self, ExactRow};
use super::hlog::{Distribution, read_log};
use super::record::{CountRow, EndingRow, EventRow, Manifest, OLDEST_VERSION, PeakRow, ReconnectRow, SCHEMA_VERSION, Summary, TimelineRow};
use crate::metrics::greatest::is_bounded;
use crate::metrics::told_apart::{MANY_CODES_AS_ZERO, OTHER_CODE};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// What `report` and `check` say of a folder of schema version 1.
pub const FIRST_VERSION: &str =
    "this folder has schema version 1, which did not record missing replies and handshakes; it is judged as that version did";

/// Files of a run folder that are read beside `summary.json`: which folders have them, and what cannot be told without.
const FILES: [(&str, Having, &str); 12] = [
    ("manifest.json", Having::All, "which version ran it on which machine is not known"),
    ("scenario.toml", Having::All, "its expectations are not known, so the run cannot be judged again"),
    ("timeline.csv", Having::All, "charts of connections over time and of round trips are left out"),
    ("closes.csv", Having::All, "how connections ended is shown from summary.json"),
    ("reconnects.csv", Having::All, "charts of the time to reconnect and its phases are left out"),
    ("events.csv", Having::All, "charts do not show when faults acted and when the target was down"),
    ("counts.csv", Having::All, "the chart of attempts is left out, and the run cannot be judged again"),
    ("peaks.csv", Having::SecondVersion, "expectations of a peak cannot be judged"),
    ("latency.hlog", Having::All, "the chart of broadcasts is left out, and the run cannot be judged again"),
    ("limits.csv", Having::SecondVersion, "the run cannot be judged again"),
    ("runs_reconnect.csv", Having::SeveralSeeds, "how far the reconnect times of the seeds lie apart is not shown"),
    ("runs_timeline.csv", Having::SeveralSeeds, "how far the connections and attempts of the seeds lie apart over time is not shown"),
];

/// Which run folders have a file.
#[derive(Clone, Copy)]
enum Having {
    All,
    SecondVersion,
    SeveralSeeds,
}

/// A run folder in memory. `summary.json` must be there; what else is missing is empty or `None`.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Where it came from.
    pub dir: PathBuf,
    /// `summary.json`.
    pub summary: Summary,
    /// `manifest.json`.
    pub manifest: Option<Manifest>,
    /// `scenario.toml`, as text.
    pub scenario: String,
    /// `timeline.csv`.
    pub timeline: Vec<TimelineRow>,
    /// `closes.csv`.
    pub closes: Vec<EndingRow>,
    /// `reconnects.csv`.
    pub reconnects: Vec<ReconnectRow>,
    /// `events.csv`.
    pub events: Vec<EventRow>,
    /// `counts.csv`; `None` where it is missing, which is not the same as no rows.
    pub counts: Option<Vec<CountRow>>,
    /// `peaks.csv`; `None` where it is missing, as in older folders.
    pub peaks: Option<Vec<PeakRow>>,
    /// `latency.hlog`, each distribution over the whole run; `None` where it is missing.
    pub distributions: Option<Vec<Distribution>>,
    /// `limits.csv`; `None` where it is missing.
    pub limits: Option<Vec<ExactRow>>,
    /// `runs_reconnect.csv` and `runs_timeline.csv`; empty of one seed.
    pub bands: Bands,
}

/// Why a run folder could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no run.
    #[error("{} is not a run folder: {why}; `closestorm run` prints the folder that it wrote", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// A file that is needed is not there.
    #[error("{} is missing: {why}", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
        /// What it is needed for.
        why: &'static str,
    },
    /// A file is not what it should be.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why, with the place.
        what: String,
    },
    /// Written by a program that says things differently.
    #[error("{} has schema version {found}, and this closestorm reads versions {OLDEST_VERSION} to {SCHEMA_VERSION}", path.display())]
    Version {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
}

/// Reads a run folder.
///
/// # Errors
/// `summary.json` is missing, a file is damaged, or the schema version is another one.
pub fn read(dir: &Path) -> Result<Loaded, ReadError> {
    let no_run = |why| ReadError::NoRun { path: dir.to_owned(), why };
    match fs::metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(no_run("it does not exist")),
        Ok(found) if !found.is_dir() => return Err(no_run("it is a file")),
        Ok(_) if fs::metadata(dir.join("summary.json")).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) => {
            return Err(no_run("it has no summary.json"));
        }
        _ => {}
    }
    let limits: Option<Vec<ExactRow>> = rows(&dir.join("limits.csv"))?;
    let mut loaded = Loaded {
        dir: dir.to_owned(),
        summary: summary(&dir.join("summary.json"))?,
        manifest: optional(&dir.join("manifest.json"))?.map(|(path, bytes)| json(&path, &bytes)).transpose()?,
        scenario: optional(&dir.join("scenario.toml"))?.map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default(),
        timeline: rows(&dir.join("timeline.csv"))?.unwrap_or_default(),
        closes: rows(&dir.join("closes.csv"))?.unwrap_or_default(),
        reconnects: rows(&dir.join("reconnects.csv"))?.unwrap_or_default(),
        events: rows(&dir.join("events.csv"))?.unwrap_or_default(),
        counts: rows(&dir.join("counts.csv"))?,
        peaks: rows(&dir.join("peaks.csv"))?,
        distributions: match optional(&dir.join("latency.hlog"))? {
            Some((path, bytes)) if !ends_with_a_line(&bytes) => return Err(cut(path)),
            Some((path, bytes)) => {
                let read = read_log(&bytes).map_err(|error| ReadError::Damaged { path, what: error.to_string() });
                let mut distributions = read?;
                exact::attach(&mut distributions, limits.as_deref().unwrap_or_default());
                Some(distributions)
            }
            None => None,
        },
        limits,
        bands: Bands {
            reconnect: rows(&dir.join("runs_reconnect.csv"))?.unwrap_or_default(),
            timeline: rows(&dir.join("runs_timeline.csv"))?.unwrap_or_default(),
        },
    };
    let missing = missing(dir, &loaded.summary);
    loaded.summary.notices.extend(missing);
    if loaded.summary.notices.iter().any(|notice| notice.starts_with(MANY_CODES_AS_ZERO)) {
        rename_others(&mut loaded);
    }
    Ok(loaded)
}

/// What a run folder should have and has not, each file with what cannot be told without it.
pub fn missing(dir: &Path, summary: &Summary) -> Vec<String> {
    let has = |having| match having {
        Having::All => true,
        Having::SecondVersion => summary.schema_version >= SCHEMA_VERSION,
        Having::SeveralSeeds => summary.runs.is_some(),
    };
    let missing = FILES.iter().filter(|(name, having, _)| has(*having) && !dir.join(name).exists());
    missing.map(|(name, _, without)| format!("{name} is missing in this folder: {without}")).collect()
}

/// In a folder of an older version 0 stands for close codes that are not told apart.
fn rename_others(loaded: &mut Loaded) {
    let rename = |code: &mut u16| *code = if *code == 0 { OTHER_CODE } else { *code };
    for row in loaded.closes.iter_mut().chain(&mut loaded.summary.endings) {
        [&mut row.client_code, &mut row.server_code, &mut row.wire_received, &mut row.wire_sent].into_iter().flatten().for_each(rename);
    }
    for row in loaded.counts.iter_mut().flatten() {
        [&mut row.reported, &mut row.wire].into_iter().flatten().for_each(rename);
    }
    loaded.reconnects.iter_mut().for_each(|row| rename(&mut row.client_code));
}

fn summary(path: &Path) -> Result<Summary, ReadError> {
    let bytes = bytes(path)?;
    let value: serde_json::Value = json(path, &bytes)?;
    let known = u64::from(OLDEST_VERSION)..=u64::from(SCHEMA_VERSION);
    match value.get("schema_version").and_then(serde_json::Value::as_u64) {
        Some(found) if !known.contains(&found) => return Err(ReadError::Version { path: path.to_owned(), found }),
        _ => {}
    }
    let mut summary: Summary = bounded(path, json(path, &bytes)?)?;
    if summary.schema_version < SCHEMA_VERSION && !summary.notices.iter().any(|notice| notice == FIRST_VERSION) {
        summary.notices.push(FIRST_VERSION.to_owned());
    }
    Ok(summary)
}

pub(super) fn json<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, ReadError> {
    serde_json::from_slice(bytes).map_err(|error| ReadError::Damaged { path: path.to_owned(), what: error.to_string() })
}

/// What was read, unless it has numbers that no run can have: sums of them would not fit.
pub(super) fn bounded<T: Serialize>(path: &Path, read: T) -> Result<T, ReadError> {
    let what = || "it has a number that no run can have".to_owned();
    if is_bounded(&read) { Ok(read) } else { Err(ReadError::Damaged { path: path.to_owned(), what: what() }) }
}

pub(super) fn rows<T: DeserializeOwned + Serialize>(path: &Path) -> Result<Option<Vec<T>>, ReadError> {
    let Some((path, bytes)) = optional(path)? else { return Ok(None) };
    if !ends_with_a_line(&bytes) {
        return Err(cut(path));
    }
    let rows: Result<Vec<T>, csv::Error> = csv::Reader::from_reader(&bytes[..]).deserialize().collect();
    let rows = rows.map_err(|error| ReadError::Damaged { path: path.clone(), what: error.to_string() })?;
    bounded(&path, rows).map(Some)
}

/// Every file of lines that was written to its end does, and has a header at least.
fn ends_with_a_line(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\n")
}

fn cut(path: PathBuf) -> ReadError {
    ReadError::Damaged { path, what: "its end is missing".to_owned() }
}

pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, ReadError> {
    read_regular(path).map_err(|source| ReadError::File { path: path.to_owned(), source })
}

/// Largest file of a run folder that is read.
const LARGEST: u64 = 2 << 30;

/// A file of a run folder, which may come from anybody: a pipe or a device would never end.
///
/// # Errors
/// It is something else, too large, or cannot be read.
pub(crate) fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if found.len() > LARGEST {
        return Err(io::Error::other("it is larger than 2 GiB"));
    }
    let mut bytes = Vec::with_capacity(found.len() as usize);
    // It may grow meanwhile.
    fs::File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn optional(path: &Path) -> Result<Option<(PathBuf, Vec<u8>)>, ReadError> {
    match read_regular(path) {
        Ok(bytes) => Ok(Some((path.to_owned(), bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReadError::File { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_no_run_can_have_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counts.csv");
        for (count, fine) in [(1_u64 << 44, true), ((1 << 44) + 1, false), (u64::MAX, false)] {
            let mut csv = csv::Writer::from_path(&path).unwrap();
            csv.serialize(CountRow { count, ..CountRow::default() }).unwrap();
            csv.flush().unwrap();
            let read = rows::<CountRow>(&path);
            assert!(
                if fine { read.unwrap().unwrap().len() == 1 } else { read.unwrap_err().to_string().contains("no run can have") },
                "{count}"
            );
        }
    }

    /// A million clients that took 18 s each, and a server that asks for a wait of ages.
    #[test]
    fn numbers_that_a_large_run_has_are_none() {
        let row = ExactRow {
            count: 1_000_000,
            min_us: Some(17_000_000),
            max_us: Some(19_000_000),
            sum_us: Some(18_000_000_000_000),
            ..ExactRow::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("limits.csv");
        let read = |row: &ExactRow| {
            let mut csv = csv::Writer::from_path(&path).unwrap();
            csv.serialize(row).unwrap();
            csv.flush().unwrap();
            rows::<ExactRow>(&path)
        };
        assert_eq!(read(&row).unwrap(), Some(vec![row.clone()]));
        assert!(read(&ExactRow { max_us: row.sum_us, ..row }).is_err());
        let mut summary = crate::results::summary::summarise(&crate::metrics::tests::finished(), None, &Default::default(), "");
        summary.answers.push(super::super::record::AnswerRow { retry_after_s: Some(u64::MAX), ..Default::default() });
        summary.generator.late_after_us = Some(u64::MAX / 1_000);
        assert!(bounded(&path, &summary).is_ok());
        summary.messages.sent = u64::MAX / 1_000;
        assert!(bounded(&path, &summary).is_err());
    }

    #[test]
    fn in_a_folder_that_counted_rare_codes_as_0_they_are_the_others() {
        let results = crate::metrics::tests::finished();
        for (notice, expected) in [("", 0), (MANY_CODES_AS_ZERO, OTHER_CODE)] {
            let folder = tempfile::tempdir().unwrap();
            let dir = folder.path();
            let mut summary = crate::results::summary::summarise(&results, None, &Default::default(), "");
            summary.endings.iter_mut().for_each(|row| (row.client_code, row.server_code, row.wire_sent) = (Some(0), Some(0), Some(1000)));
            summary.notices.extend(Some(notice).filter(|notice| !notice.is_empty()).map(str::to_owned));
            fs::write(dir.join("summary.json"), serde_json::to_vec(&summary).unwrap()).unwrap();
            let counts = CountRow { reported: Some(0), wire: Some(1001), count: 1, width_s: 1, ..CountRow::default() };
            let mut csv = csv::Writer::from_path(dir.join("counts.csv")).unwrap();
            csv.serialize(counts).unwrap();
            csv.flush().unwrap();
            let loaded = read(dir).unwrap();
            assert!(!loaded.summary.endings.is_empty());
            for row in &loaded.summary.endings {
                assert_eq!((row.client_code, row.server_code, row.wire_sent), (Some(expected), Some(expected), Some(1000)));
            }
            assert_eq!(
                loaded.counts.unwrap().iter().map(|row| (row.reported, row.wire)).collect::<Vec<_>>(),
                [(Some(expected), Some(1001))]
            );
        }
    }

    #[test]
    fn only_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("summary.json");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let device = folder.path().join("device");
        std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
        for path in [&pipe, &device] {
            assert!(read_regular(path).unwrap_err().to_string().contains("not a regular file"));
        }
        let huge = folder.path().join("huge");
        fs::File::create(&huge).unwrap().set_len(LARGEST + 1).unwrap();
        assert!(read_regular(&huge).unwrap_err().to_string().contains("2 GiB"));
    }
}
