//! `closestorm serve`: an echo server that misbehaves as the URL says, until Ctrl-C.

use super::console::print;
use super::exit::{OK, Usage};
use super::serve_scenario;
use super::signals::Stop;
use super::witnessed::WitnessedFolder;
use crate::cli::{Format, ServeArgs};
use crate::metrics::meta::{RealClients, SeenFrom};
use crate::seed::Seed;
use crate::serve::StepServer;
use crate::transport::tls::Identity;
use crate::witness::{Witness, WitnessedRun};
use anyhow::Context;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Without a seed of the user.
const SEED: u64 = 1;
/// The server tells; who comes again is not known.
const REAL: RealClients = RealClients { seen_from: SeenFrom::Server, identified: false };

/// Serves until a signal comes; gives its exit code.
///
/// # Errors
/// A certificate that cannot be used, an address that is taken.
pub fn main(args: &ServeArgs) -> anyhow::Result<u8> {
    let address = address(args)?;
    if let Some(scenario) = &args.scenario {
        return serve_scenario::main(args, scenario, address);
    }
    let identity = args.tls.then(|| Identity::from_files_or_made(args.cert.as_deref().zip(args.key.as_deref()))).transpose()?;
    let seed_number = args.seed.unwrap_or(SEED);
    let stop = Stop::listen().context("cannot listen for signals")?;
    let quiet = args.quiet;
    // A line that nobody reads any more is no reason to stop serving.
    let told = move |line: String| drop((!quiet).then(|| print(&format!("{line}\n"))));
    let (seed, told) = (Seed(seed_number), Box::new(told));
    let witness = args.out.as_ref().map(|_| Arc::new(Witness::new(REAL)));
    let mut server = match &witness {
        Some(witness) => StepServer::recorded(seed, identity.as_ref(), told, witness.clone())?,
        None => StepServer::new(seed, identity.as_ref(), told)?,
    };
    let in_json = args.format == Format::Json;
    if in_json {
        server = server.in_json();
    }
    let folder = args.out.as_deref().map(|out| WitnessedFolder::open(out, seed_number)).transpose()?;
    let recorded = folder.zip(witness);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen at {address}"))?;
        let address = listener.local_addr()?;
        let (ws, http) = if args.tls { ("wss", "https") } else { ("ws", "http") };
        let page = format!("{http}://{address}/");
        let fingerprint = identity.as_ref().map(Identity::fingerprint).transpose()?;
        if in_json {
            let mut json = json!({ "listening": format!("{ws}://{address}"), "page": page });
            fingerprint.into_iter().for_each(|sha256| json["certificate_sha256"] = sha256.into());
            print(&format!("{json}\n"))?;
        } else {
            let certificate = fingerprint.map_or_else(String::new, |sha256| format!("certificate SHA-256 {sha256}\n"));
            print(&format!("listening on {ws}://{address}\npage with all steps and a console: {page}\n{certificate}"))?;
        }
        server.serve(listener, stop.clone().stopped()).await;
        anyhow::Ok(format!("{ws}://{address}"))
    });
    match (served, recorded) {
        (Ok(target), Some((folder, witness))) => {
            folder.save(&witness, &WitnessedRun { name: "serve".to_owned(), target, seed: seed_number }, quiet || in_json)?;
        }
        (Ok(_), None) => {}
        (Err(error), recorded) => {
            recorded.into_iter().for_each(|(folder, _)| folder.discard());
            return Err(error);
        }
    }
    if !quiet && !in_json {
        eprintln!("stopped after {} WebSocket connections", server.begun());
    }
    Ok(stop.code().unwrap_or(OK))
}

/// Where to listen: on loopback, or where `--bind` says, with a warning.
fn address(args: &ServeArgs) -> Result<SocketAddr, Usage> {
    match args.bind {
        None if args.listen.ip().is_loopback() => Ok(args.listen),
        None => Err(Usage(format!("--listen takes a loopback address, and {} is none: use --bind", args.listen))),
        Some(address) => {
            if !address.ip().is_loopback() {
                eprintln!(
                    "warning: {address} can be reached from other machines, and whoever reaches it can make this one send what they like"
                );
            }
            Ok(address)
        }
    }
}
