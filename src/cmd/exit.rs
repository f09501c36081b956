//! How a command ends: its exit codes, and errors as the user reads them.

use crate::api;
use crate::scenario::Errors;
use crate::secret;
use crate::text::printable_lines;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use std::fmt;
use std::io::{self, Write};

/// Ran, all expectations held.
pub const OK: u8 = 0;
/// Could not run: target unreachable, I/O, internal error.
pub const COULD_NOT_RUN: u8 = 1;
/// Usage or scenario error.
pub const USAGE: u8 = 2;
/// Inconclusive.
pub const INCONCLUSIVE: u8 = 3;
/// An expectation failed.
pub const FAILED: u8 = 99;

/// An argument that makes no sense, found after parsing. Exit code 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Prints an error with its causes to stderr, once; gives the exit code.
pub fn report_error(error: &anyhow::Error) -> u8 {
    // A scenario's errors are whole pages already.
    let text = match error.downcast_ref::<Errors>() {
        Some(errors) => errors.to_string(),
        None => printable_lines(&shown(error)),
    };
    // There is nowhere left to say that stderr is closed.
    let _ = writeln!(io::stderr(), "{text}");
    let refused = matches!(error.downcast_ref(), Some(api::Error::Refused(_)));
    let usage = error.is::<Errors>() || error.is::<Usage>() || refused;
    if usage { USAGE } else { COULD_NOT_RUN }
}

/// An error with its causes, as a user may see it.
pub fn shown(error: &anyhow::Error) -> String {
    secret::hide(&in_words(error))
}

/// An error with its causes, and the way out where it comes of a limit of open files, wherever that was met.
fn in_words(error: &anyhow::Error) -> String {
    let mut causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    // An error that only passes another one on has its words.
    causes.dedup();
    let words = format!("closestorm: {}", causes.join(": "));
    // A cause may have become a text on the way here, with the number that the kernel gave to it.
    let is = |errno: Errno| words.contains(&format!("(os error {})", errno as i32));
    if is(Errno::EMFILE) {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, _)| format!(" of {soft}")).unwrap_or_default();
        format!(
            "{words}; the limit{limit} open files of a process is too low for this: raise it (`ulimit -n`), or run fewer clients or workers"
        )
    } else if is(Errno::ENFILE) {
        format!("{words}; all processes of this machine together have too many files open: raise the limit (`sysctl fs.file-max`)")
    } else {
        words
    }
}

/// The exit code, with `--allow-inconclusive` taken into account.
pub fn allowed(code: u8, inconclusive: bool) -> u8 {
    if inconclusive && code == INCONCLUSIVE { OK } else { code }
}
