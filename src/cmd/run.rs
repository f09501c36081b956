//! `closestorm run`: a scenario on real sockets, from the plan to the verdict.

use super::progress::Progress;
use super::signals::Stop;
use crate::cli::{Format, Run};
use crate::engine::{self, Places, RunError};
use crate::metrics::{Results, Status};
use crate::plan::{Plan, Target};
use crate::report;
use crate::results::evidence::Evidence;
use crate::results::folder::Folder;
use crate::results::record::{Manifest, Summary, Verdict};
use crate::results::summary::summarise;
use crate::results::usage::Baseline;
use crate::results::{manifest, read};
use crate::verdict::{exit_code, judge};
use anyhow::Context;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

/// More clients than this against somebody else's machine need `--yes`.
const CLIENTS_ALLOWED: u32 = 100;
/// More attempts in a second than this against somebody else's machine need `--yes`.
const ATTEMPTS_ALLOWED: usize = 50;

/// Runs a scenario, or prints its plan with `--dry-run`.
///
/// # Errors
/// The scenario is wrong, the run could not begin, or its results could not be written.
pub fn main(args: &Run) -> anyhow::Result<u8> {
    let plan = super::load(args.scenario.as_deref(), &args.changes)?;
    if args.dry_run {
        super::print(&plan.dry_run())?;
        return Ok(super::OK);
    }
    permit(&plan, args.yes)?;
    let stop = Stop::listen().context("cannot listen for signals")?;
    let manifest = manifest::collect(command_line(), plan.seed);
    let dir = args.out.clone().unwrap_or_else(|| manifest::default_folder(&plan.name, &manifest));
    let folder = Folder::create(&dir)?;
    let usage = Baseline::now();
    let plan = Arc::new(plan);
    let mut results = match on_sockets(&plan, folder.path(), args.quiet, stop.clone()) {
        Ok(results) => results,
        Err(error) => {
            // Nothing was measured; what the target printed is in the message.
            folder.discard();
            return match (stop.code(), error.downcast_ref()) {
                (Some(code), Some(RunError::Stopped)) => {
                    super::report_error(&error);
                    Ok(code)
                }
                _ => Err(error),
            };
        }
    };
    let signalled = stop.code().filter(|_| results.status == Status::Aborted);
    results.usage = usage.used();
    let verdict = judge(&Evidence::of(&results), &plan.expectations);
    let summary = match save(&folder, &results, &plan, &verdict, &manifest) {
        Ok(summary) => summary,
        Err(error) => {
            // The figures must not be lost with the disk, not even where nobody asked for them.
            let summary = summarise(&results, &verdict, &manifest::command_line(&manifest));
            return Err(match print_summary(&summary, args.format) {
                Ok(()) => error,
                Err(unprinted) => error.context(format!("{unprinted:#}")),
            });
        }
    };
    let dir = folder.finish()?;
    if !args.quiet {
        print_summary(&summary, args.format)?;
        if args.format == Format::Text {
            super::print(&report::where_next(&summary, &dir))?;
        }
    }
    results.check_ledger().context("the books do not balance: this is a bug in closestorm, please report it with the run folder")?;
    Ok(signalled.unwrap_or_else(|| super::allowed(exit_code(&verdict), args.allow_inconclusive)))
}

/// Writes data, charts and reports.
pub(super) fn save(folder: &Folder, results: &Results, plan: &Plan, verdict: &Verdict, manifest: &Manifest) -> anyhow::Result<Summary> {
    let place = folder.path();
    let summary = folder
        .write(results, &plan.resolved, verdict, manifest)
        .with_context(|| format!("the run was measured, as the summary says, but its data is incomplete in {}", place.display()))?;
    read::read(place).map_err(anyhow::Error::from).and_then(|loaded| super::report::write(&loaded, place)).with_context(|| {
        let place = place.display();
        format!("the data of the run is complete in {place}, its charts are not; draw them with `closestorm report {place} --out DIR`")
    })?;
    Ok(summary)
}

/// The run itself.
pub(super) fn on_sockets(plan: &Arc<Plan>, folder: &Path, quiet: bool, stop: Stop) -> anyhow::Result<Results> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let places = Places { program: engine::this_program(), output: engine::output_file(folder) };
    let mut progress = Progress::new(plan, quiet);
    let outcome = runtime.block_on(engine::run(plan.clone(), &places, stop.stopped(), |at, live| progress.show(at, live)));
    progress.finish();
    // Clients that are still at it need not be unwound one by one.
    runtime.shutdown_background();
    Ok(outcome?)
}

/// This tool can hurt: off this machine it shows its plan, and asks.
pub(super) fn permit(plan: &Plan, yes: bool) -> anyhow::Result<()> {
    let address = match &plan.target {
        Target::Embedded(_) => return Ok(()),
        Target::Command(command) => command.address.replace("{port}", "80"),
        Target::Url(remote) => remote.address.clone(),
    };
    if on_this_machine(&address) {
        return Ok(());
    }
    // A closed stderr is no permission: the limits hold all the same.
    let _ = writeln!(io::stderr(), "{}", plan.dry_run());
    let peak = engine::arrivals_peak(plan);
    if !yes && (plan.clients() > CLIENTS_ALLOWED || peak > ATTEMPTS_ALLOWED) {
        return Err(super::Usage(format!(
            "{address} is not on this machine: {} clients and up to {peak} first attempts a second need --yes (without it at most {CLIENTS_ALLOWED} and {ATTEMPTS_ALLOWED})",
            plan.clients()
        ))
        .into());
    }
    Ok(())
}

fn on_this_machine(address: &str) -> bool {
    let Ok(uri) = address.parse::<tokio_tungstenite::tungstenite::http::Uri>() else { return false };
    let Some(host) = uri.host().map(|host| host.trim_matches(['[', ']'])) else { return false };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The command line as a user would type it again.
pub(super) fn command_line() -> Vec<String> {
    std::iter::once("closestorm".to_owned()).chain(std::env::args().skip(1)).collect()
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
