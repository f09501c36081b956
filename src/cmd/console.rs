//! Between a command and its user: the scenario that an argument names, what goes to stdout, and whether it has colours.

use crate::cli::Changes;
use crate::plan::Plan;
use crate::results::folder::Folder;
use crate::results::read::{self, Loaded};
use crate::scenario::{self, Errors, Overrides, Source};
use crate::secret::{Holder, mask};
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

/// Says of a run folder, on stderr, which files are missing and what cannot be told without them.
pub fn note_missing(loaded: &Loaded) {
    for missing in read::missing(&loaded.dir, &loaded.summary) {
        // A closed stderr keeps nobody from what can be told.
        let _ = writeln!(io::stderr(), "note: {missing}");
    }
}

/// A run folder that was opened; says on stderr where that is which a killed run had left in its place.
pub fn noted(folder: Folder) -> Folder {
    if let Some(kept) = folder.kept() {
        // A closed stderr keeps nobody from the run.
        let _ = writeln!(
            io::stderr(),
            "note: a run was killed while writing {}; what it wrote is now {}",
            folder.path().display(),
            kept.display()
        );
    }
    folder
}

/// Loads the scenario that an argument names, as [`Source::of`] understands it.
///
/// # Errors
/// Everything that is wrong with it, coloured where stderr is a terminal.
pub fn load(argument: Option<&str>, changes: &Changes) -> Result<Plan, Errors> {
    load_changed(argument, &changes.overrides())
}

/// As [`load`], with changes of any origin. What is secret of it is from now on left out of errors.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_changed(argument: Option<&str>, overrides: &Overrides) -> Result<Plan, Errors> {
    let plan = scenario::load(&Source::of(argument), overrides).map_err(|errors| errors.coloured(colour()))?;
    plan.secrets.keep();
    Ok(plan)
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

/// The command line as a user would type it again, but for secrets in it.
pub(crate) fn command_line() -> Vec<String> {
    shown_words(std::env::args().skip(1))
}

fn shown_words(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut shown = vec!["closestorm".to_owned()];
    for word in words {
        shown.push(match word.strip_prefix("--set=") {
            Some(set) => format!("--set={}", scenario::shown_set(set)),
            None if shown.last().is_some_and(|before| before == "--set") => scenario::shown_set(&word),
            None => mask(Holder::Text, &word),
        });
    }
    shown
}
