//! A proxy in front of a server, for tests of clients.

use crate::address;
use crate::api::background::Background;
use crate::api::builder::FaultBuilder;
use crate::api::error::Error;
use crate::api::outcome::Outcome;
use crate::metrics::meta::{RealClients, SeenFrom};
use crate::proxy::{Proxies, ProxyEvents, ProxyRecord, Upstream, UpstreamTrust};
use crate::seed::Seed;
use crate::witness::{Witness, WitnessedRun};
use std::sync::Arc;
use std::time::Duration;

/// Name of the one proxy.
const NAME: &str = "proxy";
/// Seed of what faults draw.
const SEED: u64 = 1;
/// In which an upstream must accept.
const DIAL_WITHIN: Duration = Duration::from_secs(10);

/// A proxy on a free port of this machine, as `closestorm proxy`: it passes connections on to a server byte for byte, as far as faults let it. It runs
/// on a thread of its own, and is gone when this is dropped.
///
/// Its methods wait until what they say is so, which takes a moment.
#[derive(Debug)]
pub struct Proxy {
    proxies: Arc<Proxies>,
    record: Arc<ProxyRecord>,
    witness: Arc<Witness>,
    url: String,
    background: Background,
}

/// A fault that a [`Proxy`] has; see [`Proxy::remove`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyFault {
    name: String,
}

impl ProxyFault {
    /// Its name in all results.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Proxy {
    /// Starts one in front of a server: `ws://HOST:PORT` or `wss://HOST:PORT`, or the same with http or https.
    ///
    /// # Errors
    /// [`Error::Refused`]: that is no server; [`Error::Failed`]: this machine has no port or thread left.
    pub fn start(upstream: &str) -> Result<Proxy, Error> {
        let upstream = address::of_word(upstream).unwrap_or_else(|| upstream.to_owned());
        let upstream: Upstream = upstream.parse().map_err(Error::Refused)?;
        let witness = Arc::new(Witness::new(RealClients { seen_from: SeenFrom::Proxy, identified: false }));
        let record = Arc::new(ProxyRecord::new(witness.clone(), false));
        let recording = record.clone();
        let events = ProxyEvents::new(None, move |event| recording.on(&event));
        let proxies = Arc::new(Proxies::new(UpstreamTrust::default(), DIAL_WITHIN, Seed(SEED), events));
        let background = Background::start("closestorm-proxy")?;
        let starting = proxies.clone();
        let address =
            background.wait_for(async move { starting.add(NAME, "127.0.0.1:0", upstream, None).await })?.map_err(Error::failed)?;
        Ok(Proxy { proxies, record, witness, url: format!("ws://{address}"), background })
    }

    /// Where clients connect, `ws://127.0.0.1:PORT` without a path: that of the server is added behind it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Adds a fault, which may be due later.
    ///
    /// # Errors
    /// [`Error::Refused`]: what is wrong with it, or why a proxy cannot carry it out.
    pub fn add(&self, fault: FaultBuilder) -> Result<ProxyFault, Error> {
        let fields = serde_json::to_value(fault.into_table()?).map_err(Error::failed)?;
        let proxies = self.proxies.clone();
        let added = self.background.wait_for(async move { proxies.add_fault(fields).await })?;
        let added = added.map_err(|error| Error::Refused(error.message))?;
        Ok(ProxyFault { name: added.get("name").and_then(|name| name.as_str()).unwrap_or_default().to_owned() })
    }

    /// Removes a fault, and takes back what it does. Nothing happens if it is gone.
    ///
    /// # Errors
    /// [`Error::Failed`]: the proxy is broken.
    pub fn remove(&self, fault: &ProxyFault) -> Result<(), Error> {
        let (proxies, name) = (self.proxies.clone(), fault.name.clone());
        self.background.wait_for(async move { drop(proxies.delete_fault(&name).await) })
    }

    /// Number of connections that it accepted so far.
    ///
    /// # Errors
    /// [`Error::Failed`]: the proxy is broken.
    pub fn accepted(&self) -> Result<u64, Error> {
        let proxies = self.proxies.clone();
        self.background.wait_for(async move { proxies.accepted().await })
    }

    /// Number of connections that are open on either side now. At 0 their endings are known, and [`Proxy::stop`] has their codes.
    ///
    /// # Errors
    /// [`Error::Failed`]: the proxy is broken.
    pub fn open(&self) -> Result<usize, Error> {
        let proxies = self.proxies.clone();
        self.background.wait_for(async move { proxies.connections().await.as_array().map_or(0, Vec::len) })
    }

    /// Ends it and all its connections: what it saw, without expectations. The clients are the cohort `real`.
    ///
    /// # Errors
    /// [`Error::Failed`]: what was counted is inconsistent.
    pub fn stop(self) -> Result<Outcome, Error> {
        // What our own end does to connections is no result.
        self.record.end(&self.proxies.not_due());
        let proxies = self.proxies.clone();
        self.background.wait_for(async move { proxies.stop().await })?;
        Outcome::witnessed(&self.witness, &WitnessedRun { name: NAME.to_owned(), target: self.url, seed: SEED })
    }
}
