//! `closestorm serve --scenario`: faults by schedule, for real clients.

use super::console::{self, print};
use super::exit::{self, Usage};
use super::signals::Stop;
use super::witnessed::conclude;
use crate::api::{Scratch, check_instances};
use crate::cli::{Format, ServeArgs};
use crate::metrics::Status;
use crate::plan::{Plan, Target};
use crate::results::folder::Folder;
use crate::results::manifest;
use crate::results::usage::Baseline;
use crate::run::faults::ByHand;
use crate::run::open::{for_real, impossible, run_real};
use crate::run::{Places, output_file, raise_files, this_program};
use crate::scenario::Overrides;
use crate::sut::RealPlace;
use crate::sut::error::RunError;
use crate::transport::tls::Identity;
use crate::verdict::exit_code;
use anyhow::Context;
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Serves to the end of the scenario or until a signal comes; gives the exit code of the verdict, or of the signal.
///
/// # Errors
/// The scenario is wrong or says what real clients cannot be asked; the servers cannot be started; results could not be written.
pub(super) fn main(args: &ServeArgs, scenario: &str, listen: SocketAddr) -> anyhow::Result<u8> {
    let overrides = Overrides { seed: args.seed, ..Overrides::default() };
    let plan = console::load_changed(Some(scenario), &overrides)?;
    let wrong = impossible(&plan);
    if !wrong.is_empty() {
        return Err(Usage(format!("{scenario} cannot be served to real clients: {}", wrong.join("; "))).into());
    }
    check_instances(&plan)?;
    let (plan, identity) = with_tls(for_real(plan), args)?;
    raise_files().context("cannot read the limit of open files")?;
    let stop = Stop::listen().context("cannot listen for signals")?;
    let manifest = manifest::of(console::command_line(), &plan);
    let folder = args.out.as_deref().map(|out| Folder::open(Some(out), false, || out.to_owned())).transpose()?.map(console::noted);
    let scratch = Scratch::new()?;
    let output = output_file(folder.as_ref().map_or(scratch.0.as_path(), Folder::path));
    let places = Places { program: Some(this_program()), output, warm_up: Duration::ZERO, by_hand: ByHand::default() };
    let (plan, usage) = (Arc::new(plan), Baseline::now());
    let in_json = args.format == Format::Json;
    let tell = |urls: &[String]| listening(urls, &plan, identity.as_ref(), in_json);
    let place = RealPlace { listen, identity: identity.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let results = runtime.block_on(run_real(plan.clone(), place, &places, stop.clone().stopped(), tell));
    let mut results = match results {
        Ok(results) => results,
        Err(error) => {
            folder.into_iter().for_each(Folder::discard);
            return match stop.code().filter(|_| matches!(error, RunError::Stopped)) {
                Some(code) => Ok(code),
                None => Err(error.into()),
            };
        }
    };
    results.usage.add(usage.used());
    let verdict = conclude(folder, &results, &plan, &manifest, args.quiet || in_json)?;
    if in_json {
        print(&format!("{}\n", json!({ "verdict": verdict })))?;
    }
    let signalled = stop.code().filter(|_| results.status == Status::Aborted);
    Ok(signalled.unwrap_or_else(|| if plan.expectations.is_empty() { exit::OK } else { exit_code(&verdict) }))
}

/// The plan with TLS as the command line asks for it, and its certificate.
fn with_tls(mut plan: Plan, args: &ServeArgs) -> anyhow::Result<(Plan, Option<Identity>)> {
    let tls = match &mut plan.target {
        Target::Embedded(settings) => {
            settings.tls |= args.tls;
            settings.tls
        }
        Target::Command(_) | Target::Url(_) => false,
    };
    let identity = tls.then(|| Identity::from_files_or_made(args.cert.as_deref().zip(args.key.as_deref()))).transpose()?;
    if let Some(identity) = &identity {
        // Before a process is started with it.
        identity.server(None)?;
    }
    Ok((plan, identity))
}

/// Says where the servers are and what will happen to them.
fn listening(urls: &[String], plan: &Plan, identity: Option<&Identity>, in_json: bool) -> io::Result<()> {
    let fingerprint = identity.map(Identity::fingerprint).transpose().map_err(io::Error::other)?;
    if in_json {
        let urls: Vec<&str> = urls.iter().map(|url| url.trim_end_matches('/')).collect();
        let mut json =
            json!({ "listening": urls.first(), "instances": urls, "scenario": plan.name, "duration_ms": plan.duration.as_millis() as u64 });
        fingerprint.into_iter().for_each(|sha256| json["certificate_sha256"] = sha256.into());
        return print(&format!("{json}\n")).map_err(io::Error::other);
    }
    let mut text: String = urls.iter().map(|url| format!("listening on {}\n", url.trim_end_matches('/'))).collect();
    let length = crate::units::print_duration(plan.duration);
    text += &format!("{} for {length}, with {}\n", plan.name, crate::number::counted(plan.faults.len() as u64, "fault"));
    text += &fingerprint.map_or_else(String::new, |sha256| format!("certificate SHA-256 {sha256}\n"));
    print(&text).map_err(io::Error::other)
}
