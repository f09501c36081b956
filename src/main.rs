//! closestorm: parses arguments, calls one command, maps its outcome to an exit code.

use clap::Parser;
use closestorm::cli::Cli;
use closestorm::cmd;
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = cmd::run_command(Cli::parse().command);
    ExitCode::from(outcome.unwrap_or_else(|error| cmd::report_error(&error)))
}
