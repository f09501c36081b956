//! What commands that run or simulate share: the checks before, the run itself with its progress, and printing.

use super::progress::Progress;
use super::signals::Stop;
use crate::address::Address;
use crate::api::{self, RunPart};
use crate::cli::Format;
use crate::metrics::Results;
use crate::plan::{Plan, Target};
use crate::report;
use crate::results::record::{Summary, Verdict};
use crate::run as engine;
use crate::run::Places;
use crate::scenario::PROGRAMS;
use crate::snapshots::Publisher;
use crate::template::fill_one;
use anyhow::Context;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// More clients than this against somebody else's machine need `--yes`.
const CLIENTS_ALLOWED: u32 = 100;
/// More attempts in a second than this against somebody else's machine need `--yes`.
const ATTEMPTS_ALLOWED: usize = 50;

/// A bundled scenario may start a program of this repository, which is not here elsewhere.
pub(super) fn check_programs(plan: &Plan) -> anyhow::Result<()> {
    let Target::Command(command) = &plan.target else { return Ok(()) };
    let folder = command.workdir.as_deref().unwrap_or(Path::new(""));
    let ours = |word: &&String| word.strip_prefix("scenarios/").is_some_and(|name| PROGRAMS.iter().any(|(program, _)| *program == name));
    match command.run.iter().filter(ours).find(|word| !folder.join(word).exists()) {
        None => Ok(()),
        Some(word) => Err(super::Usage(format!(
            "{word} does not exist in this folder, and this scenario starts it as the server: run `closestorm scenarios --files .` to \
             write it, and `npm ci --prefix scenarios/node` to install its dependencies"
        ))
        .into()),
    }
}

/// Runs and judges a plan, after a warm-up of its target. Writes nothing but the target's output.
///
/// # Errors
/// It could not begin.
pub(super) fn run_and_judge(
    plan: &Arc<Plan>,
    whom: RunPart,
    folder: &Path,
    warm_up: Duration,
    quiet: bool,
    stop: Stop,
) -> anyhow::Result<(Results, Verdict)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the async runtime")?;
    let places = Places { program: engine::this_program(), output: engine::output_file(folder), warm_up };
    let snapshots = Publisher::default();
    let progress = Progress::follow(plan, quiet, &snapshots);
    let outcome = runtime.block_on(api::measured(plan, whom, (&places, folder), stop.stopped(), snapshots));
    progress.finish();
    // Clients that are still at it need not be unwound one by one.
    runtime.shutdown_background();
    Ok(outcome?)
}

/// Whether a signal came before the run began.
pub(super) fn was_stopped(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(api::Error::Stopped))
}

/// This tool can hurt: off this machine it shows its plan, and asks.
pub(super) fn check_remote_limits(plan: &Plan, yes: bool) -> anyhow::Result<()> {
    let address = match &plan.target {
        Target::Embedded(_) => return Ok(()),
        Target::Command(command) => Address::parse(&fill_one(&command.address, "port", "80")).map_err(anyhow::Error::msg)?,
        Target::Url(remote) => remote.address.clone(),
    };
    if address.is_loopback() {
        return Ok(());
    }
    // A closed stderr is no permission: the limits hold all the same.
    let _ = writeln!(io::stderr(), "{}", plan.dry_run());
    let peak = engine::arrivals_peak(plan);
    if !yes && (plan.clients() > CLIENTS_ALLOWED || peak > ATTEMPTS_ALLOWED) {
        return Err(super::Usage(format!(
            "{address} is on another machine: add --yes to allow {} clients and up to {peak} first attempts a second (without it, at \
             most {CLIENTS_ALLOWED} and {ATTEMPTS_ALLOWED})",
            plan.clients()
        ))
        .into());
    }
    Ok(())
}

pub(super) fn print_summary(summary: &Summary, format: Format) -> anyhow::Result<()> {
    let text = match format {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(summary)?),
        Format::Text => {
            let terminal = io::stdout().is_terminal();
            let width = terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0));
            report::terminal(summary, width, terminal && super::colours_allowed())
        }
    };
    super::print(&text)
}

/// Prints the summary, and where the rest is.
///
/// # Errors
/// Stdout cannot be written.
pub(super) fn print_result(summary: &Summary, format: Format, dir: &Path) -> anyhow::Result<()> {
    print_summary(summary, format)?;
    if format == Format::Text {
        super::print(&report::where_next(summary, dir))?;
    }
    Ok(())
}
