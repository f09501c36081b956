//! Between a command and its user: the scenario that an argument names, what goes to stdout, and whether it has colours.

use crate::address::masked;
use crate::cli::Changes;
use crate::plan::Plan;
use crate::scenario::{self, Errors, Source};
use anyhow::Context;
use std::io::{self, IsTerminal, Write};

/// Writes to stdout as it is. A reader that has gone away, as `head`, is not an error.
///
/// # Errors
/// Any other failure to write, as a full disk.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to stdout"),
    }
}

/// Loads the scenario that an argument names, as [`Source::of`] understands it.
///
/// # Errors
/// Everything that is wrong with it, coloured where stderr is a terminal.
pub fn load(argument: Option<&str>, changes: &Changes) -> Result<Plan, Errors> {
    scenario::load(&Source::of(argument), &changes.overrides()).map_err(|errors| errors.coloured(colour()))
}

/// Whether stderr takes colours: it is a terminal, and `NO_COLOR` is not set.
pub fn colour() -> bool {
    io::stderr().is_terminal() && colours_allowed()
}

/// Whether `NO_COLOR` leaves colours alone, and the terminal can do more than print.
pub fn colours_allowed() -> bool {
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether a variable of the environment is there and not empty.
pub(crate) fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// The command line as a user would type it again, but for the word of credentials in an address.
pub(crate) fn command_line() -> Vec<String> {
    let shown = |word: String| if word.contains("://") { masked(&word) } else { word };
    std::iter::once("closestorm".to_owned()).chain(std::env::args().skip(1).map(shown)).collect()
}
