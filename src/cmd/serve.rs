//! `closestorm serve`: an echo server that misbehaves as the URL says, until Ctrl-C.

use super::console::print;
use super::exit::{OK, Usage};
use super::signals::Stop;
use crate::cli::Serve;
use crate::files::read_regular;
use crate::seed::Seed;
use crate::serve::StepServer;
use crate::transport::tls::Identity;
use anyhow::Context;
use std::net::SocketAddr;
use std::path::Path;
use tokio::net::TcpListener;

/// Serves until a signal comes; gives its exit code.
///
/// # Errors
/// A certificate that cannot be used, an address that is taken.
pub fn main(args: &Serve) -> anyhow::Result<u8> {
    let address = address(args)?;
    let identity = identity(args)?;
    let stop = Stop::listen().context("cannot listen for signals")?;
    let quiet = args.quiet;
    // A line that nobody reads any more is no reason to stop serving.
    let told = move |line: String| drop((!quiet).then(|| print(&format!("{line}\n"))));
    let server = StepServer::new(Seed(args.seed), identity.as_ref(), Box::new(told))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen at {address}"))?;
        let address = listener.local_addr()?;
        let (ws, http) = if args.tls { ("wss", "https") } else { ("ws", "http") };
        let mut text = format!("listening on {ws}://{address}\npage with all steps and a console: {http}://{address}/\n");
        if let Some(identity) = &identity {
            text += &format!("certificate SHA-256 {}\n", identity.fingerprint()?);
        }
        print(&text)?;
        server.serve(listener, stop.clone().stopped()).await;
        anyhow::Ok(())
    })?;
    if !quiet {
        eprintln!("stopped after {} WebSocket connections", server.begun());
    }
    Ok(stop.code().unwrap_or(OK))
}

/// Where to listen: on loopback, or where `--bind` says, with a warning.
fn address(args: &Serve) -> Result<SocketAddr, Usage> {
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

/// The certificate with which to serve, if with any.
fn identity(args: &Serve) -> anyhow::Result<Option<Identity>> {
    let read = |path: &Path| -> anyhow::Result<String> {
        let bytes = read_regular(path).with_context(|| format!("cannot read {}", path.display()))?;
        String::from_utf8(bytes).with_context(|| format!("{} is not PEM", path.display()))
    };
    Ok(match (&args.cert, &args.key) {
        _ if !args.tls => None,
        (Some(cert), Some(key)) => Some(Identity { certificate: read(cert)?, key: read(key)? }),
        _ => Some(Identity::generate()?),
    })
}
