//! Between a command and its user: the scenario that an argument names, what goes to stdout, and whether it has colours.

use crate::cli::Changes;
use crate::plan::Plan;
use crate::results::folder::Folder;
use crate::results::read::{self, Loaded};
use crate::scenario::{self, Errors, Overrides, Source};
use crate::secret::{Holder, MASK, mask};
use anyhow::Context;
use std::collections::BTreeMap;
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
    load_source(&Source::of(argument), overrides, &BTreeMap::new())
}

/// As [`load_changed`], from any source; variables that are given hold in place of those of the environment.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_source(source: &Source, overrides: &Overrides, given: &BTreeMap<String, String>) -> Result<Plan, Errors> {
    let variables = |name: &str| given.get(name).cloned().or_else(|| std::env::var(name).ok());
    let plan = scenario::load_with(source, overrides, &variables).map_err(|errors| errors.coloured(colour()))?;
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
        let before = shown.last().map_or("", String::as_str);
        let joined = OPTIONS.iter().find_map(|(option, what)| {
            let value = word.strip_prefix(option)?;
            let value = if option.len() == 2 { value } else { value.strip_prefix('=')? };
            (!value.is_empty()).then(|| format!("{}{}", &word[..word.len() - value.len()], what.shown(value)))
        });
        let apart = || OPTIONS.iter().find(|(option, _)| *option == before).map(|(_, what)| what.shown(&word));
        let next = joined.or_else(apart).unwrap_or_else(|| mask(Holder::Text, &word));
        shown.push(next);
    }
    shown
}

/// Options whose values go to a target.
const OPTIONS: &[(&str, OptionText)] = &[
    ("--set", OptionText::Set),
    ("--header", OptionText::Header),
    ("-H", OptionText::Header),
    ("--message", OptionText::Message),
    ("--subprotocol", OptionText::Subprotocol),
];

/// What the value of an option is.
#[derive(Clone, Copy, Debug)]
enum OptionText {
    Set,
    Header,
    Message,
    Subprotocol,
}

impl OptionText {
    /// As it may be shown. What the shell put into it nobody can tell.
    fn shown(self, value: &str) -> String {
        match self {
            OptionText::Set => scenario::shown_set(value),
            OptionText::Header => value.split_once(':').map_or_else(|| MASK.to_owned(), |(name, _)| format!("{name}: {MASK}")),
            OptionText::Message => MASK.to_owned(),
            // Browsers send a token as the name of another one.
            OptionText::Subprotocol if value.len() > SUBPROTOCOL_NAME => MASK.to_owned(),
            OptionText::Subprotocol => mask(Holder::Subprotocol(None), value),
        }
    }
}

/// Longest name of a subprotocol that is shown; a longer one may be a token.
const SUBPROTOCOL_NAME: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_shown_without_what_goes_to_a_target() {
        for (typed, shown) in [
            (&["-H", "X-Any: abcdefgh"][..], &["-H", "X-Any: ***"][..]),
            (&["-HX-Any: abcdefgh"], &["-HX-Any: ***"]),
            (&["--header=X-Any:abcdefgh"], &["--header=X-Any: ***"]),
            (&["--message", "abcdefgh"], &["--message", "***"]),
            (&["--message=abcdefgh", "-c", "5"], &["--message=***", "-c", "5"]),
            (&["--message-rate", "5/s"], &["--message-rate", "5/s"]),
            (&["--subprotocol", "graphql-ws"], &["--subprotocol", "graphql-ws"]),
            (&["--subprotocol", "auth-abcdefgh"], &["--subprotocol", "auth-***"]),
            (&["ws://joe:abcdefgh@h.test/"], &["ws://***@h.test/"]),
        ] {
            let words = shown_words(typed.iter().map(|word| (*word).to_owned()));
            assert_eq!(words[1..], *shown, "{typed:?}");
        }
    }
}
