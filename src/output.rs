//! Files that are whole or not there, in the place that they were meant for: by temporary name and rename, and never through a link.
//!
//! A name in a folder that others can write to may be a link to a file of the user's. So nothing is opened under the name that it will have.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, FileType, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Temporary names that are tried: each is taken only by somebody who guessed it, or by a process that was killed and had the same id.
const TRIES: u32 = 100;

/// Writes a whole file, new or in place of a regular one of this name.
///
/// # Errors
/// There is something else under its name, as a link; or it could not be written to its end: then what was there is as it was.
pub fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    fill(path, |out| out.write_all(contents))
}

/// As [`write`](fn@write), by a function.
///
/// # Errors
/// As [`write`](fn@write), and those of `fill`.
pub fn fill(path: &Path, fill: impl FnOnce(&mut BufWriter<OutputFile>) -> io::Result<()>) -> io::Result<()> {
    check_replaceable(path)?;
    let (temporary, file) = open_temporary(path)?;
    let mut out = BufWriter::new(OutputFile(file));
    // A buffer that is dropped swallows a full disk.
    let written = fill(&mut out).and_then(|()| out.flush()).and_then(|()| rename(&temporary, path));
    if written.is_err() {
        // What cannot be removed stays; there is a more important error to tell.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// A file that is being written.
#[derive(Debug)]
pub struct OutputFile(File);

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = disk::takes(bytes.len())?;
        self.0.write(&bytes[..taken])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Renames a file or a folder.
///
/// # Errors
/// Those of the system.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    disk::takes(1)?;
    fs::rename(from, to)
}

/// The disk below all that is written; tests let it fail.
#[cfg(not(test))]
mod disk {
    /// How many of so many bytes it takes.
    #[expect(clippy::unnecessary_wraps, reason = "that of the tests fails")]
    pub(super) fn takes(bytes: usize) -> std::io::Result<usize> {
        Ok(bytes)
    }
}

/// A disk that fails when a test says so.
#[cfg(test)]
pub(crate) mod disk {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        static FAILS_IN: Cell<Option<Failure>> = const { Cell::new(None) };
    }

    /// How it fails.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Failure {
        /// At which operation of this thread, counted from 0: opening, writing and renaming.
        pub(crate) at: u64,
        /// The one before takes only half of its bytes.
        pub(crate) half: bool,
        /// Only that one: somebody makes room. Otherwise all that follow, too.
        pub(crate) once: bool,
    }

    /// Lets it fail; `None`: it works.
    pub(crate) fn fail(failure: Option<Failure>) {
        FAILS_IN.set(failure);
    }

    /// How many of so many bytes it takes.
    pub(super) fn takes(bytes: usize) -> io::Result<usize> {
        match FAILS_IN.get() {
            None => Ok(bytes),
            Some(Failure { at: 0, once, .. }) => {
                if once {
                    FAILS_IN.set(None);
                }
                Err(io::ErrorKind::StorageFull.into())
            }
            Some(failure) => {
                FAILS_IN.set(Some(Failure { at: failure.at - 1, ..failure }));
                Ok(if failure.half && failure.at == 1 { bytes.div_ceil(2) } else { bytes })
            }
        }
    }
}

/// As [`write`](fn@write), by somebody who opens files by their path: that is in a folder of its own and ends as `path` does. `failed`: what becomes of our
/// own errors.
///
/// # Errors
/// As [`write`](fn@write), and those of `make`.
pub fn by_path<E>(path: &Path, make: impl FnOnce(&Path) -> Result<(), E>, failed: impl Fn(io::Error) -> E) -> Result<(), E> {
    check_replaceable(path).map_err(&failed)?;
    let (folder, ()) = unused(path, |name| DirBuilder::new().mode(0o700).create(name)).map_err(&failed)?;
    let inside = folder.join(path.file_name().unwrap_or_default());
    let made = make(&inside).and_then(|()| rename(&inside, path).map_err(&failed));
    // What cannot be removed stays; there is a more important error to tell.
    let _ = fs::remove_dir_all(&folder);
    made
}

/// Makes a link under a name, new or in place of a link.
///
/// # Errors
/// There is something else under this name, or it cannot be made.
pub fn link(path: &Path, to: &Path) -> io::Result<()> {
    if kind(path)?.is_some_and(|kind| !kind.is_symlink()) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is something else under this name"));
    }
    let (temporary, ()) = unused(path, |name| symlink(to, name))?;
    rename(&temporary, path).inspect_err(|_| _ = fs::remove_file(&temporary))
}

/// What stands under a name; a link is a link, wherever it leads.
///
/// # Errors
/// That cannot be told.
pub fn kind(path: &Path) -> io::Result<Option<FileType>> {
    match path.symlink_metadata() {
        Ok(found) => Ok(Some(found.file_type())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a file may be written under this name. Rename puts a file in place of a link, too; but who planned to write to where it leads
/// should know.
///
/// # Errors
/// There is something else under its name, as a link or a folder.
pub fn check_replaceable(path: &Path) -> io::Result<()> {
    let what = match kind(path)? {
        None => return Ok(()),
        Some(kind) if kind.is_file() => return Ok(()),
        Some(kind) if kind.is_symlink() => "it is a symbolic link, and nothing is written through one",
        Some(kind) if kind.is_dir() => "it is a folder",
        Some(_) => "it is not a regular file",
    };
    Err(io::Error::other(what))
}

fn open_temporary(path: &Path) -> io::Result<(PathBuf, File)> {
    // A new file, whatever stands under this name: O_EXCL follows no link.
    unused(path, |name| OpenOptions::new().write(true).create_new(true).open(name))
}

/// Makes something under a name beside `path` that nobody has.
fn unused<T>(path: &Path, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(PathBuf, T)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let file = path.file_name().ok_or_else(|| io::Error::other("this is not the name of a file"))?;
    let mut taken = io::Error::from(io::ErrorKind::AlreadyExists);
    disk::takes(1)?;
    for _ in 0..TRIES {
        let mut name = OsString::from(".");
        name.push(file);
        // The end of a name says what a file is.
        name.push(format!(".{}-{}.partial", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        let name = path.with_file_name(name);
        match make(&name) {
            Ok(made) => return Ok((name, made)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = error,
            Err(error) => return Err(error),
        }
    }
    Err(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_or_as_it_was_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let (file, victim) = (dir.path().join("a.csv"), dir.path().join("victim"));
        write(&file, b"one").unwrap();
        let failed = fill(&file, |out| out.write_all(b"two").and(Err(io::Error::other("no"))));
        assert_eq!(failed.unwrap_err().to_string(), "no");
        assert_eq!(fs::read(&file).unwrap(), b"one");
        write(&file, b"three").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"three");
        fs::write(&victim, "mine").unwrap();
        for (name, to) in [("to-a-file", &victim), ("dangling", &dir.path().join("nothing")), ("to-a-folder", &dir.path().to_owned())] {
            let name = dir.path().join(name);
            symlink(to, &name).unwrap();
            assert!(write(&name, b"x").unwrap_err().to_string().contains("symbolic link"), "{name:?}");
            fs::remove_file(name).unwrap();
        }
        assert!(write(dir.path(), b"x").unwrap_err().to_string().contains("folder"));
        assert_eq!((fs::read(&victim).unwrap(), dir.path().join("nothing").exists()), (b"mine".to_vec(), false));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_link_is_replaced_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let latest = dir.path().join("latest");
        for to in ["a", "b"] {
            link(&latest, Path::new(to)).unwrap();
            assert_eq!(fs::read_link(&latest).unwrap(), Path::new(to));
        }
        fs::remove_file(&latest).unwrap();
        fs::create_dir(&latest).unwrap();
        assert!(link(&latest, Path::new("c")).is_err() && latest.is_dir());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
