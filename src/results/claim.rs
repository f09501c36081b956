//! Who writes a temporary folder: its writer has locked it, so that of a folder whose writer was killed another run can be sure that nobody writes it.
//!
//! The lock is the kernel's (`flock`) and on the folder itself: it ends with the process, however that ends, and leaves no file behind.

use crate::output;
use nix::fcntl::OFlag;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Names that are tried for what a killed run left.
const NAMES: u32 = 1000;

/// A temporary folder that is ours.
#[derive(Debug)]
pub(super) struct Claim {
    /// To be held as long as it is written. `None` where the file system has no locks.
    pub(super) lock: Option<File>,
    /// Where that is now which a killed run had left in its place.
    pub(super) kept: Option<PathBuf>,
}

/// Why a temporary folder is not ours.
#[derive(Debug)]
pub(super) enum ClaimError {
    /// Somebody may be writing it.
    InUse {
        /// Somebody is.
        locked: bool,
    },
    /// It cannot be made, or not be written.
    Unmade(io::Error),
}

impl From<io::Error> for ClaimError {
    fn from(error: io::Error) -> ClaimError {
        ClaimError::Unmade(error)
    }
}

impl Claim {
    /// Makes a temporary folder, with those above it that are missing, and locks it. What nobody writes any more is kept under another name.
    pub(super) fn of(partial: &Path, missing: &[PathBuf]) -> Result<Claim, ClaimError> {
        if let Some(file) = partial.ancestors().skip(1).find(|above| above.exists()).filter(|above| !above.is_dir()) {
            return Err(io::Error::other(format!("{} is not a folder", file.display())).into());
        }
        if let Some(above) = missing.first() {
            fs::create_dir_all(above)?;
        }
        let kept = match fs::create_dir(partial) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => replace(partial)?,
            made => made.map(|()| None)?,
        };
        let lock = match hold(partial) {
            Held::Ours(lock) => Some(lock),
            Held::Others => return Err(ClaimError::InUse { locked: true }),
            Held::Unknown => None,
        };
        // A byte, and not only a name: a full disk still takes empty files.
        let probe = partial.join(".probe");
        let probed = output::write(&probe, b".").and_then(|()| fs::remove_file(&probe));
        probed.inspect_err(|_| _ = fs::remove_dir(partial))?;
        Ok(Claim { lock, kept })
    }
}

/// Makes a folder anew where there is one that nobody writes; where that is kept, unless it was empty.
fn replace(partial: &Path) -> Result<Option<PathBuf>, ClaimError> {
    // Held until it has its other name.
    let _left = match hold(partial) {
        Held::Ours(lock) => lock,
        Held::Others => return Err(ClaimError::InUse { locked: true }),
        Held::Unknown => return Err(ClaimError::InUse { locked: false }),
    };
    let mut kept = None;
    if fs::remove_dir(partial).is_err() {
        let mut names = (1..=NAMES).map(|number| aside(partial, number));
        kept = names.find(|name| !name.exists() && output::rename(partial, name).is_ok());
    }
    match fs::create_dir(partial) {
        // Another run was as quick.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(ClaimError::InUse { locked: true }),
        made => Ok(made.map(|()| kept)?),
    }
}

/// The name under which what a killed run left is kept: `run.1.partial` for `run.partial`.
fn aside(partial: &Path, number: u32) -> PathBuf {
    partial.with_extension(format!("{number}.partial"))
}

/// Who writes a temporary folder.
enum Held {
    /// Nobody did; now we.
    Ours(File),
    /// A process that lives.
    Others,
    /// Nobody can tell: it is no folder, or its file system has no locks.
    Unknown,
}

/// Locks a temporary folder. It is ours only if it has its name still: a quicker run may have moved it away meanwhile.
fn hold(partial: &Path) -> Held {
    let no_link = (OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits();
    let lock = match File::options().read(true).custom_flags(no_link).open(partial) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Held::Others,
        Err(_) => return Held::Unknown,
    };
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Held::Others,
        Err(TryLockError::Error(_)) => return Held::Unknown,
    }
    let same = |held: fs::Metadata, named: fs::Metadata| (held.dev(), held.ino()) == (named.dev(), named.ino());
    let is_named = lock.metadata().and_then(|held| Ok(same(held, fs::symlink_metadata(partial)?))).unwrap_or(false);
    if is_named { Held::Ours(lock) } else { Held::Others }
}
