//! The limit of open files: raised for ourselves, left alone for the programs of others.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;
use std::sync::OnceLock;

/// The soft limit that this process was started with, where it was raised.
static INHERITED: OnceLock<u64> = OnceLock::new();

/// Raises the soft limit of open files to the hard one, which it returns.
///
/// # Errors
/// The kernel does not tell.
pub fn raise_files() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        let _ = INHERITED.set(soft);
    }
    Ok(hard)
}

/// The soft limit that a target has without closestorm: that of the user's shell. `None`: it is as it was.
pub(super) fn inherited_files() -> Option<u64> {
    INHERITED.get().copied()
}

/// Does something with another soft limit, as starting a program that inherits it. Only for a process with one thread.
pub(super) fn with_files<T>(soft: Option<u64>, what: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let Some(soft) = soft else { return what() };
    let (own, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard)?;
    let done = what();
    setrlimit(Resource::RLIMIT_NOFILE, own, hard)?;
    done
}
