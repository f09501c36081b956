//! `shard.books`: what one shard of a run has recorded, for `closestorm merge`; and whether several belong together.
//!
//! The first line is a [`Header`] in JSON, the last four bytes are the CRC-32 of all before, in little endian; what is between is for the
//! same version of the program only (`metrics::shard`).

use super::folder::partial_of;
use super::read::read_regular;
use super::record::Manifest;
use crate::metrics::Results;
use crate::metrics::lateness::Parts;
use crate::metrics::meta::RunMeta;
use crate::metrics::shard::{decode, encode};
use crate::output;
use crate::plan::Shard;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// Name of the file in the run folder of a shard.
pub const FILE: &str = "shard.books";

/// Missing shards that a message names.
const NAMED: usize = 10;

/// What a shard is a part of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Program version.
    pub version: String,
    /// Its commit.
    pub commit: String,
    /// Which part of how many.
    pub shard: Shard,
    /// Name of the scenario.
    pub name: String,
    /// The scenario as resolved, TOML.
    pub scenario: String,
    /// When it was to start, as the user wrote it.
    pub start_at: Option<String>,
    /// When it was started, RFC 3339, UTC.
    pub started: String,
    /// What its plan says a reader must know.
    pub notices: Vec<String>,
}

/// A shard as read.
#[derive(Debug)]
pub struct ShardPart {
    /// Its run folder.
    pub dir: PathBuf,
    /// What it is a part of.
    pub header: Header,
    books: Vec<u8>,
}

/// Why shards are not added up.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// The folder is not that of a shard.
    #[error("{} has no {FILE}: it is not the run folder of a shard, as `run --shard 1/2` writes one", dir.display())]
    NoShard {
        /// The folder.
        dir: PathBuf,
    },
    /// The shard did not end.
    #[error(
        "{} does not exist, only {}: the shard is still running or was killed; wait for it, or run it again",
        dir.display(),
        partial.display()
    )]
    Unfinished {
        /// The folder.
        dir: PathBuf,
        /// The one with the temporary name.
        partial: PathBuf,
    },
    /// The file cannot be read.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// Written by another program.
    #[error("{} was written by closestorm {theirs}, and this is {ours}: merge with the version that ran the shards", dir.display())]
    Version {
        /// The folder.
        dir: PathBuf,
        /// Version and commit that wrote it.
        theirs: String,
        /// Version and commit of this program.
        ours: String,
    },
    /// Two shards of different runs.
    #[error("{} and {} are not shards of one run: {difference}", first.display(), second.display())]
    Foreign {
        /// A folder.
        first: PathBuf,
        /// Another.
        second: PathBuf,
        /// In what they differ.
        difference: String,
    },
    /// One shard twice.
    #[error("{} and {} are both shard {shard}: give each shard once", first.display(), second.display())]
    Twice {
        /// A folder.
        first: PathBuf,
        /// Another.
        second: PathBuf,
        /// Which shard.
        shard: Shard,
    },
    /// Not all are there.
    #[error("shards are missing: {missing}; the run has {of}")]
    Missing {
        /// Which.
        missing: String,
        /// How many there are.
        of: u32,
    },
}

/// Writes the file into a run folder.
///
/// # Errors
/// As writing a file has them.
pub fn write(dir: &Path, header: &Header, results: Results) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(header)?;
    bytes.push(b'\n');
    bytes.extend(encode(results));
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    output::write(&dir.join(FILE), &bytes)
}

/// Reads the file of a run folder; `manifest` says which program this is.
///
/// # Errors
/// It is not there, damaged, or of another program.
pub fn read(dir: &Path, manifest: &Manifest) -> Result<ShardPart, ShardError> {
    let path = dir.join(FILE);
    let bytes = read_regular(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => match partial_of(dir) {
            Some(partial) => ShardError::Unfinished { dir: dir.to_owned(), partial },
            None => ShardError::NoShard { dir: dir.to_owned() },
        },
        _ => ShardError::Damaged { path: path.clone(), what: error.to_string() },
    })?;
    let damaged = |what: &str| ShardError::Damaged { path: path.clone(), what: what.to_owned() };
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(|| damaged("its first line is missing"))?;
    let header: Header = serde_json::from_slice(&bytes[..end]).map_err(|error| damaged(&error.to_string()))?;
    if (&header.version, &header.commit) != (&manifest.version, &manifest.commit) {
        let shown = |version: &str, commit: &str| format!("{version} {commit}").trim_end().to_owned();
        let (theirs, ours) = (shown(&header.version, &header.commit), shown(&manifest.version, &manifest.commit));
        return Err(ShardError::Version { dir: dir.to_owned(), theirs, ours });
    }
    let (content, sum) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("it is too short"))?;
    if crc32fast::hash(content) != u32::from_le_bytes(*sum) {
        return Err(damaged("its checksum does not match its content: it was changed or is incomplete; run the shard again"));
    }
    let books = content.get(end + 1..).ok_or_else(|| damaged("it ends in its first line"))?;
    Ok(ShardPart { dir: dir.to_owned(), header, books: books.to_vec() })
}

/// Whether these are all shards of one run, each once.
///
/// # Errors
/// What is wrong with the first that does not fit.
pub fn check(parts: &[ShardPart]) -> Result<(), ShardError> {
    let Some(first) = parts.first() else { return Ok(()) };
    for (number, part) in parts.iter().enumerate() {
        if let Some(difference) = differ(&first.header, &part.header) {
            return Err(ShardError::Foreign { first: first.dir.clone(), second: part.dir.clone(), difference });
        }
        if let Some(same) = parts[..number].iter().find(|other| other.header.shard == part.header.shard) {
            return Err(ShardError::Twice { first: same.dir.clone(), second: part.dir.clone(), shard: part.header.shard });
        }
    }
    let of = first.header.shard.of;
    let there = |index: &u32| parts.iter().any(|part| part.header.shard.index == *index);
    // As many are named as anybody reads, whatever the number that stands in the file.
    let mut missing: Vec<_> = (0..of).filter(|index| !there(index)).map(|index| Shard { index, of }.to_string()).take(NAMED + 1).collect();
    if missing.len() > NAMED {
        "more".clone_into(&mut missing[NAMED]);
    }
    if missing.is_empty() { Ok(()) } else { Err(ShardError::Missing { missing: missing.join(", "), of }) }
}

fn differ(one: &Header, other: &Header) -> Option<String> {
    if one.shard.of != other.shard.of {
        return Some(format!("one is shard {}, the other {}", one.shard, other.shard));
    }
    if one.scenario == other.scenario {
        return None;
    }
    let lines = one.scenario.lines().zip(other.scenario.lines()).find(|(one, other)| one != other);
    Some(match lines {
        Some((one, other)) => format!("one scenario has `{}`, the other `{}`", one.trim(), other.trim()),
        None => "one scenario is longer than the other".to_owned(),
    })
}

/// The whole of all parts; `meta` is that of their plan.
///
/// # Errors
/// A part cannot be read.
pub fn add_up(parts: &[ShardPart], meta: &RunMeta) -> Result<Results, ShardError> {
    let read = |part: &ShardPart| {
        let damaged = |error: crate::metrics::shard::Unreadable| ShardError::Damaged { path: part.dir.join(FILE), what: error.to_string() };
        decode(meta.clone(), &part.books).map_err(damaged)
    };
    let Some((first, others)) = parts.split_first() else {
        return Err(ShardError::Missing { missing: "all are".to_owned(), of: 0 });
    };
    let name = |part: &ShardPart| format!("shard {}", part.header.shard);
    let mut sum = read(first)?;
    if !others.is_empty() {
        sum.parts = Parts::default();
        sum.note_lateness(&name(first), &read(first)?);
    }
    for part in others {
        let other = read(part)?;
        sum.note_lateness(&name(part), &other);
        sum.add(&other);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn part(dir: &str, shard: &str, scenario: &str) -> ShardPart {
        let header = Header {
            version: "1".to_owned(),
            commit: String::new(),
            shard: shard.parse().unwrap(),
            name: "told".to_owned(),
            scenario: scenario.to_owned(),
            start_at: None,
            started: String::new(),
            notices: Vec::new(),
        };
        ShardPart { dir: dir.into(), header, books: Vec::new() }
    }

    #[test]
    fn shards_that_do_not_belong_together_are_named() {
        let (a, b, c) = (("a", "1/3", "x = 1\ny"), ("b", "2/3", "x = 1\ny"), ("c", "3/3", "x = 1\ny"));
        for (parts, wrong) in [
            (vec![a, b, c], None),
            (vec![c, a, b], None),
            (vec![a, c], Some("shards are missing: 2/3; the run has 3")),
            (vec![("a", "1/65536", "")], Some("11/65536, more; the run has 65536")),
            (vec![c], Some("shards are missing: 1/3, 2/3")),
            (vec![a, b, ("d", "2/3", "x = 1\ny")], Some("b and d are both shard 2/3")),
            (vec![a, ("d", "2/2", "x = 1\ny")], Some("a and d are not shards of one run: one is shard 1/3, the other 2/2")),
            (vec![a, ("d", "2/3", "x = 2\ny")], Some("one scenario has `x = 1`, the other `x = 2`")),
            (vec![a, ("d", "2/3", "x = 1")], Some("one scenario is longer")),
        ] {
            let parts: Vec<_> = parts.into_iter().map(|(dir, shard, scenario)| part(dir, shard, scenario)).collect();
            match (check(&parts), wrong) {
                (Ok(()), None) => {}
                (Err(error), Some(wrong)) => assert!(error.to_string().contains(wrong), "{error}"),
                (found, wrong) => panic!("{found:?} {wrong:?}"),
            }
        }
    }

    #[test]
    fn a_file_is_read_back_and_of_another_program_refused() {
        let dir = tempfile::tempdir().unwrap();
        let results = crate::metrics::tests::finished();
        let meta = results.meta.clone();
        let attempts = results.total().ledger.attempts.total;
        let mut manifest = super::super::manifest::collect(Vec::new(), crate::seed::Seed(7));
        let header = Header { version: manifest.version.clone(), commit: manifest.commit.clone(), ..part("a", "1/1", "x").header };
        write(dir.path(), &header, results).unwrap();
        let read_back = read(dir.path(), &manifest).unwrap();
        assert_eq!(read_back.header, header);
        assert_eq!(add_up(&[read_back], &meta).unwrap().total().ledger.attempts.total, attempts);
        manifest.version = "0.0.9".to_owned();
        assert!(read(dir.path(), &manifest).unwrap_err().to_string().contains("this is 0.0.9"));
        assert!(matches!(read(&dir.path().join("no"), &manifest), Err(ShardError::NoShard { .. })));
        manifest.version.clone_from(&header.version);
        let whole = fs::read(dir.path().join(FILE)).unwrap();
        for place in [0, 30, whole.len() / 2, whole.len() - 5, whole.len() - 1] {
            let mut wrong = whole.clone();
            wrong[place] ^= 1;
            fs::write(dir.path().join(FILE), wrong).unwrap();
            assert!(read(dir.path(), &manifest).is_err(), "byte {place}");
        }
        let mut wrong = whole.clone();
        wrong[whole.len() / 2] ^= 1;
        fs::write(dir.path().join(FILE), wrong).unwrap();
        assert!(read(dir.path(), &manifest).unwrap_err().to_string().contains("checksum"));
        fs::write(dir.path().join(FILE), "{}").unwrap();
        assert!(matches!(read(dir.path(), &manifest), Err(ShardError::Damaged { .. })));
    }
}
