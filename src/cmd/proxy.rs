//! `closestorm proxy`: passes connections on until it is stopped, as the command line and the control API say.

mod flags;

use super::console;
use super::exit::{self, Usage};
use super::signals::Stop;
use super::witnessed::WitnessedFolder;
use crate::cli::{Format, ProxyArgs};
use crate::lock::lock;
use crate::metrics::meta::{RealClients, SeenFrom};
use crate::number::counted;
use crate::proxy::{ApiMetrics, ClientLabels, ControlApi, Proxies, ProxyEvent, ProxyEvents, ProxyRecord, Upstream, UpstreamTrust};
use crate::seed::Seed;
use crate::sut::command::open_files::raise_files;
use crate::text::{printable, printable_lines};
use crate::transport::tls::Identity;
use crate::witness::{Witness, WitnessedRun};
use anyhow::Context;
use flags::ToxiproxyFlags;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::mem::{Discriminant, discriminant};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Of one kind of event, at most one is printed in this time.
const PRINT_EVERY: Duration = Duration::from_secs(1);

/// Name of the proxy that the command line describes.
const NAME: &str = "proxy";

/// What to do, from either way to write the command line.
struct ProxySettings<'a> {
    proxy: Option<(&'a str, &'a Upstream)>,
    api: Option<String>,
    metrics: ApiMetrics,
    config: Option<PathBuf>,
    seed: u64,
}

/// Listens until a signal comes.
///
/// # Errors
/// An address cannot be bound, the file of `--config` is wrong, or the machine has no threads, files or signals left.
pub fn main(args: &ProxyArgs) -> anyhow::Result<u8> {
    let settings = match &args.toxiproxy {
        Some(words) => {
            let flags = ToxiproxyFlags::read(words).map_err(Usage)?;
            if flags.version {
                console::print(&ToxiproxyFlags::version_line())?;
                return Ok(exit::OK);
            }
            let metrics = ApiMetrics { proxies: flags.proxy_metrics, process: flags.runtime_metrics };
            let seed = flags.seed.unwrap_or(args.seed);
            ProxySettings { proxy: None, api: Some(flags.address()), metrics, config: flags.config.map(PathBuf::from), seed }
        }
        None => ProxySettings {
            proxy: args.listen.as_deref().zip(args.upstream.as_ref()),
            api: args.api.clone(),
            metrics: ApiMetrics { proxies: true, process: true },
            config: args.config.clone(),
            seed: args.seed,
        },
    };
    if settings.proxy.is_none() && settings.api.is_none() && settings.config.is_none() {
        return Err(Usage("there is nothing to do: name --listen with --upstream, --api, or --config".to_owned()).into());
    }
    let stop = Stop::listen().context("cannot listen for signals")?;
    raise_files().context("cannot read the limit of open files")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the async runtime")?;
    let Some(out) = &args.out else { return runtime.block_on(run(settings, args, stop, None)).map(|_| exit::OK) };
    let seed = settings.seed;
    let folder = WitnessedFolder::open(out, seed)?;
    let identified = args.identify.is_some();
    let witness = Arc::new(Witness::new(RealClients { seen_from: SeenFrom::Proxy, identified }));
    let record = ProxyRecord::new(witness.clone(), identified);
    match runtime.block_on(run(settings, args, stop, Some(Arc::new(record)))) {
        Ok(target) => {
            let quiet = args.quiet || args.format == Format::Json;
            folder.save(&witness, &WitnessedRun { name: NAME.to_owned(), target, seed }, quiet)?;
            Ok(exit::OK)
        }
        Err(error) => {
            folder.discard();
            Err(error)
        }
    }
}

/// Gives the address of the proxy that the command line describes; without one, nothing.
async fn run(settings: ProxySettings<'_>, args: &ProxyArgs, stop: Stop, record: Option<Arc<ProxyRecord>>) -> anyhow::Result<String> {
    let labels = args.identify.clone().map(ClientLabels::new).transpose().map_err(anyhow::Error::msg)?;
    let trust = UpstreamTrust::new(args.insecure, args.ca.clone());
    // What is wrong with the file is known before somebody connects.
    args.ca.is_some().then(|| trust.settings()).transpose()?;
    let proxies = Arc::new(Proxies::new(trust, args.connect_timeout, Seed(settings.seed), events(labels, record.clone())));
    let (mut lines, mut target) = (String::new(), String::new());
    // The same for programs.
    let mut started_json = Map::new();
    if let Some((listen, upstream)) = settings.proxy {
        let identity = args.tls.then(|| Identity::from_files_or_made(args.cert.as_deref().zip(args.key.as_deref()))).transpose()?;
        let tls = identity.as_ref().map(|identity| identity.server(None)).transpose()?;
        let started = proxies.add(NAME, listen, upstream.clone(), tls).await;
        let address = started.with_context(|| format!("cannot listen on {}", printable(listen)))?;
        let scheme = if args.tls { "wss://" } else { "" };
        target = format!("{}://{address}", if args.tls { "wss" } else { "ws" });
        started_json.insert("listening".to_owned(), target.as_str().into());
        started_json.insert("upstream".to_owned(), upstream.to_string().into());
        lines += &format!("listening on {scheme}{address}, passing on to {}\n", printable(&upstream.to_string()));
        if let Some(identity) = &identity {
            let fingerprint = identity.fingerprint()?;
            lines += &format!("certificate SHA-256 {fingerprint}\n");
            started_json.insert("certificate_sha256".to_owned(), fingerprint.into());
        }
    }
    if let Some(file) = &settings.config {
        let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let made = proxies.load(&text).await.map_err(|why| Usage(format!("{}: {}", file.display(), printable(&why))))?;
        lines += &format!("proxies of {}: {made}\n", file.display());
    }
    if let Some(file) = &args.scenario {
        let made = proxies.load_faults(file).await.map_err(|why| Usage(printable_lines(&why)))?;
        lines += &format!("faults of {}: {made}\n", file.display());
    }
    if let Some(address) = &settings.api {
        let bound = ControlApi::bind(address, proxies.clone(), settings.metrics).await;
        let api = bound.with_context(|| format!("cannot listen on {}", printable(address)))?;
        let address = api.address();
        lines += &format!("control API on http://{address}\n");
        started_json.insert("api".to_owned(), format!("http://{address}").into());
        if !address.ip().is_loopback() {
            let _ = writeln!(io::stderr(), "warning: whoever reaches {address} controls this proxy, and what it connects to");
        }
        tokio::spawn(api.serve());
    }
    let in_json = args.format == Format::Json;
    if in_json {
        console::print(&format!("{}\n", Value::Object(started_json)))?;
    } else if !args.quiet {
        console::print(&lines)?;
    }
    stop.stopped().await;
    // What our own end does to connections is no result.
    record.iter().for_each(|record| record.end(&proxies.not_due()));
    let (accepted, summary) = (proxies.accepted().await, proxies.summary().await);
    proxies.stop().await;
    if in_json {
        console::print(&format!("{}\n", json!({ "summary": summary })))?;
    } else if !args.quiet {
        console::print(&format!("stopped after {}\n", counted(accepted, "connection")))?;
    }
    Ok(target)
}

/// Records events, if they are to be, and prints them to stderr, of each kind one a second at most.
fn events(labels: Option<ClientLabels>, record: Option<Arc<ProxyRecord>>) -> ProxyEvents {
    let printed: Mutex<Vec<(Discriminant<ProxyEvent>, Instant, u64)>> = Mutex::default();
    ProxyEvents::new(labels, move |event| {
        record.iter().for_each(|record| record.on(&event));
        if !event.is_notice() {
            return;
        }
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
