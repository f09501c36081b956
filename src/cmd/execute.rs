//! What commands that run or simulate share: the checks before, the run itself with its progress, and printing.

use super::console;
use super::exit;
use super::progress::{Progress, ShowProgress};
use super::signals::Stop;
use crate::address::Address;
use crate::api::{self, RunPart};
use crate::cli::Format;
use crate::metrics::Results;
use crate::plan::limits::{self, is_named_here};
use crate::plan::{Plan, Target};
use crate::report;
use crate::results::record::{Summary, Verdict};
use crate::run as engine;
use crate::run::Places;
use crate::run::faults::ByHand;
use crate::scenario::PROGRAMS;
use crate::snapshots::Publisher;
use crate::template::fill_one;
use crate::text::json;
use anyhow::Context;
use core::net::IpAddr;
use std::io::{self, IsTerminal, Write};
use std::net::ToSocketAddrs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A bundled scenario may start a program of this repository, which is not here elsewhere.
pub(super) fn check_programs(plan: &Plan) -> anyhow::Result<()> {
    let Target::Command(command) = &plan.target else { return Ok(()) };
    let folder = command.workdir.as_deref().unwrap_or(Path::new(""));
    let ours = |word: &&String| word.strip_prefix("scenarios/").is_some_and(|name| PROGRAMS.iter().any(|(program, _)| *program == name));
    match command.run.iter().filter(ours).find(|word| !folder.join(word).exists()) {
        None => Ok(()),
        Some(word) => Err(exit::Usage(format!(
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
    show: ShowProgress,
    stop: Stop,
) -> anyhow::Result<(Results, Verdict)> {
    run_and_judge_watched(plan, whom, (folder, warm_up), (show, Publisher::default()), stop)
}

/// The same, whose snapshots others see, too.
///
/// # Errors
/// It could not begin.
pub(super) fn run_and_judge_watched(
    plan: &Arc<Plan>,
    whom: RunPart,
    (folder, warm_up): (&Path, Duration),
    (show, snapshots): (ShowProgress, Publisher),
    stop: Stop,
) -> anyhow::Result<(Results, Verdict)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the async runtime")?;
    let by_hand = ByHand::default();
    // Workers would not get them.
    let orders = (whom.division.workers == 1).then(|| by_hand.clone());
    let places = Places { program: Some(engine::this_program()), output: engine::output_file(folder), warm_up, by_hand };
    let progress = Progress::follow(plan, show, &snapshots, orders);
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

/// This tool can hurt: of a target on another machine it shows the plan, and refuses what is more than that gets without `--yes`. What shows only
/// while it runs is held back then. Off this machine is what the name of the host leads to, whatever it is called.
pub(super) fn check_remote_limits(plan: &Plan) -> anyhow::Result<()> {
    let Some(address) = elsewhere(plan, is_on_this_machine)? else { return Ok(()) };
    // A closed stderr is no permission: the limits hold all the same.
    let _ = writeln!(io::stderr(), "{}", plan.dry_run());
    let too_much = if plan.limits.elsewhere { plan.too_much_elsewhere() } else { Vec::new() };
    if !too_much.is_empty() {
        let url = address.to_string();
        return Err(exit::Usage(engine::RunError::TooMuch { url, too_much }.to_string()).into());
    }
    Ok(())
}

/// What a run would refuse without `--yes`, for who only checks the plan. No name is looked up, for that would already ask somebody.
pub(super) fn needs_yes(plan: &Plan) -> Option<String> {
    let host = |address: &Address| address.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let address = elsewhere(plan, |address| is_named_here(&host(address))).ok()??;
    let too_much = plan.too_much_elsewhere();
    if too_much.is_empty() {
        return None;
    }
    let is_known = host(&address).parse::<IpAddr>().is_ok();
    let why = if is_known { "it is on another machine" } else { "unless this name leads to this machine" };
    Some(format!("a run against {address} needs --yes, {why}: {}", too_much.join(", ")))
}

/// The address of a target that is not on this machine, where `is_here` says so of a host to which the scenario gives no address.
fn elsewhere(plan: &Plan, is_here: impl Fn(&Address) -> bool) -> anyhow::Result<Option<Address>> {
    let (address, here) = match &plan.target {
        Target::Embedded(_) => return Ok(None),
        Target::Command(command) => {
            let address = Address::parse(&fill_one(&command.address, "port", "80")).map_err(anyhow::Error::msg)?;
            let here = is_here(&address);
            (address, here)
        }
        Target::Url(remote) => {
            let connected = remote.connected();
            let given = remote.given(&connected.host);
            let here = if given.is_empty() { is_here(connected) } else { given.into_iter().all(limits::is_here) };
            // A proxy makes of a name what it wants.
            (remote.address.clone(), here && (remote.proxy.is_none() || is_named_here(&remote.address.host)))
        }
    };
    Ok(Some(address).filter(|_| !here))
}

/// Whether all addresses of a host are of this machine. One that cannot be found is not.
fn is_on_this_machine(address: &Address) -> bool {
    let found = (address.host.as_str(), address.port).to_socket_addrs();
    found.is_ok_and(|found| {
        let found: Vec<_> = found.collect();
        !found.is_empty() && found.iter().all(|address| limits::is_here(address.ip()))
    })
}

pub(super) fn print_summary(summary: &Summary, format: Format) -> anyhow::Result<()> {
    let text = match format {
        Format::Json => json(summary)?,
        Format::Text => {
            let terminal = io::stdout().is_terminal();
            let size = terminal_size::terminal_size().map(|(width, height)| (usize::from(width.0), usize::from(height.0)));
            // Below it stand two lines about the folder, and the shell's own.
            let height = size.filter(|_| terminal).map(|(_, height)| height.saturating_sub(3).max(21));
            report::terminal(summary, size.map_or(100, |(width, _)| width), height, terminal && console::colours_allowed())
        }
    };
    console::print(&text)
}

/// Prints the summary, and where the rest is.
///
/// # Errors
/// Stdout cannot be written.
pub(super) fn print_result(summary: &Summary, format: Format, dir: &Path) -> anyhow::Result<()> {
    print_summary(summary, format)?;
    if format == Format::Text {
        console::print(&report::where_next(summary, dir))?;
    }
    Ok(())
}
