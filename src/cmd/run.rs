//! `closestorm run`: a scenario on real sockets, from the plan to the verdict.

use crate::cli::{Format, Run};
use crate::engine::{self, Places};
use crate::metrics::Live;
use crate::plan::{Plan, Target};
use crate::report;
use crate::results::evidence::Evidence;
use crate::results::folder::Folder;
use crate::results::record::Summary;
use crate::results::summary::summarise;
use crate::results::usage::Baseline;
use crate::results::{manifest, read};
use crate::verdict::{exit_code, judge};
use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// More clients than this against somebody else's machine need `--yes`.
const CLIENTS_ALLOWED: u32 = 100;
/// More attempts in a second than this against somebody else's machine need `--yes`.
const ATTEMPTS_ALLOWED: usize = 50;
/// Between two lines of progress where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(1);

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
    let manifest = manifest::collect(command_line(), plan.seed);
    let dir = args.out.clone().unwrap_or_else(|| manifest::default_folder(&plan.name, &manifest));
    let folder = Folder::create(&dir)?;
    let usage = Baseline::now();
    let plan = Arc::new(plan);
    let (outcome, signalled) = on_sockets(&plan, folder.path(), args.quiet)?;
    let mut results = match outcome {
        Ok(results) => results,
        Err(error) => {
            // Nothing was measured; what the target printed is in the message.
            let _ = std::fs::remove_dir_all(folder.path());
            if let (engine::RunError::Stopped, Some(code)) = (&error, signalled) {
                return Ok(code);
            }
            return Err(error.into());
        }
    };
    results.usage = usage.used();
    let verdict = judge(&Evidence::of(&results), &plan.expectations);
    let summary = match save(&folder, &results, &plan, &verdict, &manifest) {
        Ok(summary) => summary,
        Err(error) => {
            // The figures must not be lost with the disk.
            print_summary(&summarise(&results, &verdict, &manifest::command_line(&manifest)), args)?;
            return Err(error);
        }
    };
    let dir = folder.finish()?;
    print_summary(&summary, args)?;
    if !args.quiet && args.format == Format::Text {
        super::print(&report::where_next(&summary, &dir))?;
    }
    results.check_ledger().context("the books do not balance: this is a bug in closestorm, please report it with the run folder")?;
    Ok(signalled.unwrap_or_else(|| super::allowed(exit_code(&verdict), args.allow_inconclusive)))
}

/// Writes data, charts and reports.
fn save(
    folder: &Folder,
    results: &crate::metrics::Results,
    plan: &Plan,
    verdict: &crate::results::record::Verdict,
    manifest: &crate::results::record::Manifest,
) -> anyhow::Result<Summary> {
    let summary = folder.write(results, &plan.resolved, verdict, manifest)?;
    super::report::write(&read::read(folder.path())?, folder.path())?;
    Ok(summary)
}

/// The run itself, and the exit code of the signal that ended it early.
fn on_sockets(
    plan: &Arc<Plan>,
    folder: &Path,
    quiet: bool,
) -> anyhow::Result<(Result<crate::metrics::Results, engine::RunError>, Option<u8>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let places = Places { program: engine::this_program(), output: engine::output_file(folder) };
    let mut progress = Progress::new(plan, quiet);
    let signalled = Rc::new(Cell::new(None));
    let outcome = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let heard = signalled.clone();
        let stop = async move {
            heard.set(Some(signals.next().await));
            // The first one stops and writes, a second one leaves at once; the guard ends the servers.
            tokio::spawn(async move { std::process::exit(signals.next().await.into()) });
        };
        anyhow::Ok(engine::run(plan.clone(), &places, stop, |at, live| progress.show(at, live)).await)
    })?;
    progress.finish();
    // Clients that are still at it need not be unwound one by one.
    runtime.shutdown_background();
    Ok((outcome, signalled.get()))
}

/// This tool can hurt: off this machine it shows its plan, and asks.
fn permit(plan: &Plan, yes: bool) -> anyhow::Result<()> {
    let address = match &plan.target {
        Target::Embedded(_) => return Ok(()),
        Target::Command(command) => command.address.replace("{port}", "80"),
        Target::Url(remote) => remote.address.clone(),
    };
    if on_this_machine(&address) {
        return Ok(());
    }
    writeln!(io::stderr(), "{}", plan.dry_run())?;
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
fn command_line() -> Vec<String> {
    std::iter::once("closestorm".to_owned()).chain(std::env::args().skip(1)).collect()
}

fn print_summary(summary: &Summary, args: &Run) -> anyhow::Result<()> {
    if args.format == Format::Json {
        super::print(&format!("{}\n", serde_json::to_string_pretty(summary)?))?;
    } else if !args.quiet {
        let terminal = io::stdout().is_terminal();
        let width = terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0));
        super::print(&report::terminal(summary, width, terminal && super::colours_allowed()))?;
    }
    Ok(())
}

/// A live line on a terminal, plain lines elsewhere, both on stderr.
struct Progress {
    bar: Option<ProgressBar>,
    duration: Duration,
    clients: u32,
    next: Duration,
    quiet: bool,
}

impl Progress {
    fn new(plan: &Plan, quiet: bool) -> Self {
        let terminal = io::stderr().is_terminal() && std::env::var_os("CI").is_none();
        let bar = (terminal && !quiet).then(|| {
            let bar = ProgressBar::new(u64::try_from(plan.duration.as_millis()).unwrap_or(u64::MAX));
            if let Ok(style) = ProgressStyle::with_template("{bar:20} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Progress { bar, duration: plan.duration, clients: plan.clients(), next: LINE_EVERY, quiet }
    }

    fn show(&mut self, at: Duration, live: Live) {
        if let Some(bar) = &self.bar {
            bar.set_position(u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
            bar.set_message(self.line(at, live));
        } else if !self.quiet && at >= self.next {
            self.next += LINE_EVERY * u32::try_from(((at - self.next).as_secs_f64() / LINE_EVERY.as_secs_f64()) as u64 + 1).unwrap_or(1);
            // Nobody to tell where stderr is closed.
            let _ = writeln!(io::stderr(), "{}", self.line(at, live));
        }
    }

    fn line(&self, at: Duration, live: Live) -> String {
        format!(
            "{:5.1}s/{:.0}s  open {}/{}  attempts {} ({} failed)  closes {}  away {}{}",
            at.as_secs_f64(),
            self.duration.as_secs_f64(),
            live.open,
            self.clients,
            live.attempts,
            live.failed,
            live.closes,
            live.away,
            if live.lost > 0 { format!("  lost {}", live.lost) } else { String::new() },
        )
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The signals that stop a run.
struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Exit code of the next one: 128 and its number.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.hangup.recv() => 129,
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}
