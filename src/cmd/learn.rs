//! `closestorm learn`: cuts a real client again and again, and tells how it comes back.

mod report;

use super::console::{self, print};
use super::exit::{FAILED, INCONCLUSIVE, OK, Usage};
use super::signals::Stop;
use crate::cli::{Format, Learn, RefuseChoice};
use crate::learn::rules::{Judgement, Rule, requirements};
use crate::learn::{ClientCommand, ClientSource, Findings, Questions, RefuseBy, learn, policy, words};
use crate::output;
use crate::proxy::Upstream;
use crate::results::folder::Folder;
use crate::seed::Seed;
use crate::sut::command::Guard;
use crate::text::json;
use anyhow::Context;
use jiff::Timestamp;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Asks, writes what was seen, and prints it.
///
/// # Errors
/// The client cannot be started, or the results cannot be written.
pub fn main(args: &Learn) -> anyhow::Result<u8> {
    let required = args.require.as_deref().map(requirements).transpose().map_err(Usage)?.unwrap_or_default();
    let stop = Stop::listen().context("cannot listen for signals")?;
    let folder = console::noted(Folder::open(args.out.as_deref(), false, default_folder)?);
    let found = match asked(args, &folder, &stop) {
        Ok(found) => found,
        Err(error) => {
            folder.discard();
            return Err(error);
        }
    };
    let printed = match args.format {
        Format::Text => words::text(&found),
        Format::Json => json(&words::json(&found))? + "\n",
    };
    if let Err(error) = write(&found, &client(args), folder.path()) {
        // What took so long to find must not be lost with the disk.
        print(&printed)?;
        return Err(error);
    }
    let dir = folder.finish()?;
    print(&printed)?;
    if args.format == Format::Text {
        print(&format!("  as a file: {}\n", dir.join("learned.toml").display()))?;
    }
    Ok(stop.code().unwrap_or_else(|| exit_code(&found, &required)))
}

fn default_folder() -> PathBuf {
    Path::new("results").join("learn").join(Timestamp::now().strftime("%Y-%m-%dT%H-%M-%SZ").to_string())
}

fn asked(args: &Learn, folder: &Folder, stop: &Stop) -> anyhow::Result<Findings> {
    let address = address(args)?;
    if let Some(upstream) = args.upstream.as_ref().filter(|upstream| upstream.is_secure()) {
        return Err(Usage(format!("learn does not speak TLS to an upstream, and {upstream} does: write ws://HOST:PORT")).into());
    }
    let held = args.held.unwrap_or(if args.quick { Duration::from_millis(1500) } else { Duration::from_secs(6) });
    let questions = Questions {
        outages: args.outages,
        attempts: args.attempts,
        held,
        quick: args.quick,
        refuse: match args.refuse {
            RefuseChoice::Reset => RefuseBy::Reset,
            RefuseChoice::Unavailable => RefuseBy::Unavailable,
            RefuseChoice::ClosedPort => RefuseBy::ClosedPort,
        },
        instances: if address.is_some() { 1 } else { args.instances },
        upstream: args.upstream.as_ref().map(Upstream::authority),
        seed: Seed(args.seed),
    };
    let source = match address {
        Some(address) => ClientSource::Visitor(address),
        None => ClientSource::Command(ClientCommand { argv: args.command.clone(), folder: folder.path().to_owned() }),
    };
    let quiet = args.quiet;
    let told = move |line: String| {
        if !quiet {
            eprintln!("{line}");
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let guard = Guard::launch().await?;
        let found = learn(&guard, &source, &questions, stop.clone().stopped(), &told).await;
        // What was learnt counts more than a guard that does not end.
        if let Err(error) = guard.shutdown().await {
            eprintln!("closestorm: {error}");
        }
        Ok(found?)
    })
}

/// Where to wait for a client, if it is not started: on loopback, or where `--bind` says, with a warning.
fn address(args: &Learn) -> Result<Option<SocketAddr>, Usage> {
    if let Some(address) = args.bind.filter(|address| !address.ip().is_loopback()) {
        eprintln!("warning: {address} can be reached from other machines");
    }
    if let Some(address) = args.listen.filter(|address| !address.ip().is_loopback()) {
        return Err(Usage(format!("--listen takes a loopback address, and {address} is none: use --bind")));
    }
    let address = args.bind.or(args.listen);
    match address.filter(|address| address.is_ipv6() && args.refuse == RefuseChoice::ClosedPort) {
        Some(address) => Err(Usage(format!("--refuse closed-port sees attempts over IPv4 only, and {address} is IPv6"))),
        None => Ok(address),
    }
}

/// What is looked at, in a few words.
fn client(args: &Learn) -> String {
    if args.command.is_empty() { "a client that its user starts".to_owned() } else { args.command.join(" ") }
}

fn write(found: &Findings, client: &str, dir: &Path) -> anyhow::Result<()> {
    let put = |name: &str, text: String| output::write(&dir.join(name), text.as_bytes()).with_context(|| format!("cannot write {name}"));
    put("learn.json", json(&words::json(found))? + "\n")?;
    put("waits.csv", words::csv(found))?;
    put("report.txt", words::text(found))?;
    if let Some(policy) = policy::policy(found) {
        put("learned.toml", policy::toml(&policy) + "\n")?;
    }
    report::write(found, client, dir)
}

/// What the required rules make of it.
fn exit_code(found: &Findings, required: &[(&Rule, Option<Duration>)]) -> u8 {
    let judged: Vec<Judgement> = required.iter().map(|(rule, limit)| rule.judge(found, *limit)).collect();
    match () {
        () if judged.iter().any(|judgement| matches!(judgement, Judgement::Fail(_))) => FAILED,
        () if found.cut_short.is_some() || judged.iter().any(|judgement| matches!(judgement, Judgement::NotTested(_))) => INCONCLUSIVE,
        () => OK,
    }
}
