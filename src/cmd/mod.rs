//! The commands, one per file: load, call a layer, print. Here is the dispatch.

mod artifacts;
mod baseline;
pub mod calibrate;
pub mod capacity;
pub mod check;
mod ci;
pub mod compare;
pub mod completions;
pub mod console;
mod dashboard;
pub mod doctor;
mod execute;
pub mod exit;
pub mod faults;
pub mod fidelity;
pub mod guard;
pub mod init;
pub mod learn;
pub mod merge;
pub mod presets;
mod progress;
pub mod proxy;
pub mod report;
pub mod run;
pub mod scenarios;
pub mod schema;
pub mod serve;
mod serve_scenario;
pub mod server;
mod signals;
pub mod simulate;
pub mod validate;
mod vary;
mod watch;
mod witnessed;
pub mod worker;

use crate::cli::Command;

/// Carries a command out; gives the exit code.
///
/// # Errors
/// What kept it from being carried out, for [`exit::report_error`].
pub fn run_command(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Run(args) => run::main(&args),
        Command::Simulate(args) => simulate::main(&args),
        Command::Capacity(args) => capacity::main(&args),
        Command::Calibrate(args) => calibrate::main(&args),
        Command::Learn(args) => learn::main(&args),
        Command::Fidelity(args) => fidelity::main(&args),
        Command::Proxy(args) => proxy::main(&args),
        Command::Report(args) => report::main(&args),
        Command::Check(args) => check::main(&args),
        Command::Compare(args) => compare::main(&args),
        Command::Merge(args) => merge::main(&args),
        Command::Validate(args) => validate::main(args),
        Command::Faults(args) => faults::main(args),
        Command::Presets(args) => presets::main(args),
        Command::Scenarios(args) => scenarios::main(args),
        Command::Serve(args) => serve::main(&args),
        Command::Init(args) => init::main(&args),
        Command::Doctor(args) => doctor::main(&args),
        Command::Schema(args) => schema::main(&args),
        Command::Completions(args) => completions::main(&args),
        Command::Man(args) => completions::man(&args),
        Command::Server => Ok(server::main()),
        Command::Worker => Ok(worker::main()),
        Command::Guard => Ok(guard::main()),
    }
}
