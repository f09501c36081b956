//! `closestorm proxy`: passes connections on until it is stopped.

use super::console;
use super::exit;
use super::signals::Stop;
use crate::cli::Proxy;
use crate::lock::lock;
use crate::proxy::{ProxyEvent, ProxyEvents, ProxyListener};
use crate::seed::Seed;
use crate::sut::command::open_files::raise_files;
use crate::text::printable;
use anyhow::Context;
use std::io::{self, Write};
use std::mem::{Discriminant, discriminant};
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// Of one kind of event, at most one is printed in this time.
const PRINT_EVERY: Duration = Duration::from_secs(1);

/// Listens until a signal comes.
///
/// # Errors
/// The address cannot be bound, or the machine has no threads, files or signals left.
pub fn main(args: &Proxy) -> anyhow::Result<u8> {
    let stop = Stop::listen().context("cannot listen for signals")?;
    raise_files().context("cannot read the limit of open files")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the async runtime")?;
    runtime.block_on(run(args, stop))
}

async fn run(args: &Proxy, stop: Stop) -> anyhow::Result<u8> {
    let events = printed_events();
    let started = ProxyListener::start(&args.listen, args.upstream.clone(), args.connect_timeout, Seed(0), events).await;
    let listener = started.with_context(|| format!("cannot listen on {}", printable(&args.listen)))?;
    if !args.quiet {
        console::print(&format!("listening on {}, passing on to {}\n", listener.address(), printable(&args.upstream.to_string())))?;
    }
    stop.stopped().await;
    let accepted = listener.accepted();
    listener.stop().await;
    if !args.quiet {
        let word = if accepted == 1 { "connection" } else { "connections" };
        console::print(&format!("stopped after {accepted} {word}\n"))?;
    }
    Ok(exit::OK)
}

/// Prints events to stderr, of each kind one a second at most.
fn printed_events() -> ProxyEvents {
    let printed: Mutex<Vec<(Discriminant<ProxyEvent>, Instant, u64)>> = Mutex::default();
    ProxyEvents::new(move |event| {
        let mut printed = lock(&printed);
        let (kind, now) = (discriminant(&event), Instant::now());
        let mut more = 0;
        match printed.iter_mut().find(|(of, ..)| *of == kind) {
            Some((_, at, left_out)) if now.duration_since(*at) < PRINT_EVERY => {
                *left_out += 1;
                return;
            }
            Some((_, at, left_out)) => (*at, more) = (now, std::mem::take(left_out)),
            None => printed.push((kind, now, 0)),
        }
        let more = if more > 0 { format!(" ({more} more since the last such line)") } else { String::new() };
        // There is nowhere left to say that stderr is closed.
        let _ = writeln!(io::stderr(), "{}{more}", printable(&event.to_string()));
    })
}
