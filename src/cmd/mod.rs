//! The commands, one per file: load, call a layer, print. Here is what they share: the dispatch, the exit codes, and printing.

mod artifacts;
pub mod calibrate;
pub mod capacity;
pub mod check;
mod execute;
pub mod faults;
pub mod fidelity;
pub mod guard;
pub mod merge;
pub mod presets;
mod progress;
pub mod report;
pub mod run;
pub mod scenarios;
pub mod server;
mod signals;
pub mod simulate;
pub mod validate;
mod vary;
pub mod worker;

use crate::address::masked;
use crate::cli::{Changes, Command};
use crate::plan::Plan;
use crate::scenario::{self, Errors, Source};
use crate::text::printable_lines;
use anyhow::Context;
use std::fmt;
use std::io::{self, IsTerminal, Write};

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

/// Carries a command out; gives the exit code.
///
/// # Errors
/// What kept it from being carried out, for [`report_error`].
pub fn run_command(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Run(args) => run::main(&args),
        Command::Simulate(args) => simulate::main(&args),
        Command::Capacity(args) => capacity::main(&args),
        Command::Calibrate(args) => calibrate::main(&args),
        Command::Fidelity(args) => fidelity::main(&args),
        Command::Report(args) => report::main(&args),
        Command::Check(args) => check::main(&args),
        Command::Merge(args) => merge::main(&args),
        Command::Validate(args) => validate::main(args),
        Command::Faults(args) => faults::main(args),
        Command::Presets(args) => presets::main(args),
        Command::Scenarios(args) => scenarios::main(args),
        Command::Server(args) => Ok(server::main(&args)),
        Command::Worker(args) => Ok(worker::main(&args)),
        Command::Guard(args) => Ok(guard::main(&args)),
    }
}

/// Prints an error with its causes to stderr, once; gives the exit code.
pub fn report_error(error: &anyhow::Error) -> u8 {
    // A scenario's errors are whole pages already.
    let text = match error.downcast_ref::<Errors>() {
        Some(errors) => errors.to_string(),
        None => printable_lines(&format!("closestorm: {error:#}")),
    };
    // There is nowhere left to say that stderr is closed.
    let _ = writeln!(io::stderr(), "{text}");
    let usage = error.is::<Errors>() || error.is::<Usage>();
    if usage { USAGE } else { COULD_NOT_RUN }
}

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
fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// The command line as a user would type it again, but for the word of credentials in an address.
fn command_line() -> Vec<String> {
    let shown = |word: String| if word.contains("://") { masked(&word) } else { word };
    std::iter::once("closestorm".to_owned()).chain(std::env::args().skip(1).map(shown)).collect()
}

/// The exit code, with `--allow-inconclusive` taken into account.
pub fn allowed(code: u8, inconclusive: bool) -> u8 {
    if inconclusive && code == INCONCLUSIVE { OK } else { code }
}
