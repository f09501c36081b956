//! All proxies by name, and what the control API does to them.

use crate::lock::lock;
use crate::proxy::api::wire::{ApiError, ProxyFields, ToxicFields, toxic_json, toxics_json};
use crate::proxy::faults::desk::FaultDesk;
use crate::proxy::listener::{ListenerSettings, ListenerTotals, ProxyListener};
use crate::proxy::overview::{self, ProxyTotals};
use crate::proxy::tls::UpstreamTrust;
use crate::proxy::toxics::Toxic;
use crate::proxy::upstream::Upstream;
use crate::proxy::witnesses::ProxyEvents;
use crate::seed::Seed;
use nix::errno::Errno;
use rustls::ServerConfig;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as SyncMutex};
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::sync::Mutex;

/// Proxies at most.
const PROXIES_MAX: usize = 4096;
/// Toxics of a proxy at most.
const TOXICS_MAX: usize = 256;

/// All proxies of this process.
#[derive(Debug)]
pub struct Proxies {
    pub(super) named: Mutex<BTreeMap<String, NamedProxy>>,
    /// Number of the last connection of proxies that were deleted, by name: connections of one that is deleted end while those of the next
    /// come. As many as there may be proxies; then all but the last begin at 1 again.
    numbered: SyncMutex<BTreeMap<String, Arc<AtomicU64>>>,
    trust: Arc<UpstreamTrust>,
    dial_limit: Duration,
    seed: Seed,
    events: ProxyEvents,
    toxics_made: AtomicU64,
    pub(super) faults: Arc<FaultDesk>,
}

/// A proxy.
#[derive(Debug)]
pub(super) struct NamedProxy {
    /// As written, or the address that was bound.
    listen: String,
    upstream: Upstream,
    /// With which it speaks TLS to clients, if it does.
    tls: Option<Arc<ServerConfig>>,
    toxics: Vec<Toxic>,
    /// `None`: it is not enabled.
    pub(super) listener: Option<ProxyListener>,
    /// Of listeners that it had before.
    past: ListenerTotals,
    /// Number of the last connection of a proxy of this name.
    numbered: Arc<AtomicU64>,
}

impl Proxies {
    /// None yet. An upstream is to answer within `dial_limit`, and to be one of these if it speaks TLS.
    pub fn new(trust: UpstreamTrust, dial_limit: Duration, seed: Seed, events: ProxyEvents) -> Self {
        let faults = FaultDesk::new(seed, events.clone());
        Proxies {
            named: Mutex::default(),
            numbered: SyncMutex::default(),
            trust: Arc::new(trust),
            dial_limit,
            seed,
            events,
            toxics_made: AtomicU64::new(0),
            faults,
        }
    }

    /// Makes one that listens; with `tls` it speaks TLS to clients.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn add(&self, name: &str, listen: &str, upstream: Upstream, tls: Option<Arc<ServerConfig>>) -> io::Result<SocketAddr> {
        let mut proxy = NamedProxy { tls, ..NamedProxy::new(listen.to_owned(), upstream) };
        let address = self.start(name, &mut proxy).await?;
        self.named.lock().await.insert(name.to_owned(), proxy);
        Ok(address)
    }

    /// Makes those of a file, which is like the body of `POST /populate`; how many.
    ///
    /// # Errors
    /// Why it, or the first proxy that cannot be made, is wrong.
    pub async fn load(&self, text: &[u8]) -> Result<usize, String> {
        let (made, error) = match super::api::wire::parse(text).and_then(ProxyFields::read_list) {
            Ok(list) => self.populate(list).await,
            Err(error) => (Vec::new(), Some(error)),
        };
        error.map_or(Ok(made.len()), |error| Err(error.message))
    }

    /// Names of faults that have not fired.
    pub fn not_due(&self) -> Vec<Arc<str>> {
        self.faults.not_due()
    }

    /// Connections that were accepted by all of them.
    pub async fn accepted(&self) -> u64 {
        self.named.lock().await.values().map(|proxy| proxy.totals().accepted).sum()
    }

    /// All that was counted so far, as `/v1/summary` of the control API has it.
    pub async fn summary(&self) -> Value {
        overview::summary(&self.totals().await, &self.events)
    }

    /// Ends all connections and waits until they are gone.
    pub async fn stop(&self) {
        let mut named = self.named.lock().await;
        let listeners: Vec<_> = named.values_mut().filter_map(|proxy| proxy.listener.take()).collect();
        futures_util::future::join_all(listeners.into_iter().map(ProxyListener::stop)).await;
    }

    pub(crate) async fn list(&self) -> Value {
        let named = self.named.lock().await;
        let all: Map<String, Value> = named.iter().map(|(name, proxy)| (name.clone(), proxy.json(name))).collect();
        all.into()
    }

    pub(crate) async fn show(&self, name: &str) -> Result<Value, ApiError> {
        let named = self.named.lock().await;
        Ok(find(&named, name)?.json(name))
    }

    pub(crate) async fn create(&self, fields: ProxyFields) -> Result<Value, ApiError> {
        let name = fields.name.filter(|name| !name.is_empty()).ok_or_else(|| ApiError::missing("name"))?;
        let upstream = fields.upstream.filter(|text| !text.is_empty()).ok_or_else(|| ApiError::missing("upstream"))?;
        let mut proxy = NamedProxy::new(fields.listen.unwrap_or_default(), read_upstream(&upstream)?);
        let mut named = self.named.lock().await;
        if named.contains_key(&name) {
            return Err(ApiError::new(409, "proxy already exists"));
        }
        room(named.len(), PROXIES_MAX, "proxies")?;
        proxy.numbered = self.numbered(&name);
        if fields.enabled.unwrap_or(true) {
            self.started(&name, &mut proxy).await?;
        }
        let json = proxy.json(&name);
        named.insert(name, proxy);
        Ok(json)
    }

    /// Those that were made or found, and what kept it from going on.
    pub(crate) async fn populate(&self, list: Vec<ProxyFields>) -> (Vec<Value>, Option<ApiError>) {
        let mut made = Vec::new();
        for fields in list {
            match self.populate_one(fields).await {
                Ok(proxy) => made.push(proxy),
                Err(error) => return (made, Some(error)),
            }
        }
        (made, None)
    }

    async fn populate_one(&self, mut fields: ProxyFields) -> Result<Value, ApiError> {
        let toxics: Result<Vec<Toxic>, ApiError> = fields.toxics()?.into_iter().map(|of| of.toxic(self.next_toxic())).collect();
        let (name, text) = (fields.name.unwrap_or_default(), fields.upstream.unwrap_or_default());
        let listen = fields.listen.unwrap_or_default();
        let mut proxy = NamedProxy::new(listen, read_upstream(&text)?);
        for toxic in toxics? {
            proxy.take_toxic(toxic)?;
        }
        let mut named = self.named.lock().await;
        if let Some(old) = named.get_mut(&name) {
            if old.upstream.to_string() == text && is_same(&old.listen, &proxy.listen).await {
                return Ok(old.json(&name));
            }
            // A proxy of the same name at another place takes over, without what acts on the old one.
            old.halt().await;
            (proxy.past, proxy.tls, proxy.numbered) = (old.past, old.tls.clone(), old.numbered.clone());
        } else {
            room(named.len(), PROXIES_MAX, "proxies")?;
            proxy.numbered = self.numbered(&name);
        }
        if fields.enabled.unwrap_or(true) {
            self.started(&name, &mut proxy).await?;
        }
        let json = proxy.json(&name);
        named.insert(name, proxy);
        Ok(json)
    }

    pub(crate) async fn update(&self, name: &str, fields: ProxyFields) -> Result<Value, ApiError> {
        let mut named = self.named.lock().await;
        let proxy = find_mut(&mut named, name)?;
        let enabled = fields.enabled.unwrap_or(proxy.listener.is_some());
        let listen = fields.listen.unwrap_or_else(|| proxy.listen.clone());
        let upstream = fields.upstream.unwrap_or_else(|| proxy.upstream.to_string());
        if upstream != proxy.upstream.to_string() || !is_same(&proxy.listen, &listen).await {
            let upstream = read_upstream(&upstream)?;
            proxy.halt().await;
            (proxy.listen, proxy.upstream) = (listen, upstream);
        }
        match (enabled, proxy.listener.is_some()) {
            (true, false) => self.started(name, proxy).await?,
            (false, true) => proxy.halt().await,
            _ => {}
        }
        Ok(proxy.json(name))
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<(), ApiError> {
        let mut removed = {
            let mut named = self.named.lock().await;
            let removed = named.remove(name).ok_or_else(no_proxy)?;
            self.forget(name, &removed);
            removed
        };
        removed.halt().await;
        Ok(())
    }

    /// A proxy is gone; one of its name that comes goes on with its numbers.
    fn forget(&self, name: &str, gone: &NamedProxy) {
        let mut numbered = lock(&self.numbered);
        if numbered.len() >= PROXIES_MAX {
            numbered.clear();
        }
        numbered.insert(name.to_owned(), gone.numbered.clone());
    }

    /// Number of the last connection of a proxy of this name that is new.
    fn numbered(&self, name: &str) -> Arc<AtomicU64> {
        lock(&self.numbered).get(name).cloned().unwrap_or_default()
    }

    /// Starts those that are not enabled and removes all toxics; connections stay.
    pub(crate) async fn reset(&self) -> Result<(), ApiError> {
        for (name, proxy) in self.named.lock().await.iter_mut() {
            proxy.toxics.clear();
            proxy.apply().await;
            if proxy.listener.is_none() {
                self.started(name, proxy).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn toxics(&self, name: &str) -> Result<Value, ApiError> {
        let named = self.named.lock().await;
        Ok(toxics_json(&find(&named, name)?.toxics))
    }

    pub(crate) async fn toxic(&self, name: &str, toxic: &str) -> Result<Value, ApiError> {
        let named = self.named.lock().await;
        let toxic = find(&named, name)?.toxics.iter().find(|of| of.name == toxic);
        toxic.map(toxic_json).ok_or_else(no_toxic)
    }

    pub(crate) async fn add_toxic(&self, name: &str, fields: ToxicFields) -> Result<Value, ApiError> {
        let mut named = self.named.lock().await;
        let proxy = find_mut(&mut named, name)?;
        let toxic = fields.toxic(self.next_toxic())?;
        let json = toxic_json(&toxic);
        proxy.take_toxic(toxic)?;
        proxy.apply().await;
        Ok(json)
    }

    pub(crate) async fn update_toxic(&self, name: &str, toxic: &str, fields: &ToxicFields) -> Result<Value, ApiError> {
        let mut named = self.named.lock().await;
        let proxy = find_mut(&mut named, name)?;
        let toxic = proxy.toxics.iter_mut().find(|of| of.name == toxic).ok_or_else(no_toxic)?;
        *toxic = fields.change(toxic)?;
        let json = toxic_json(toxic);
        proxy.apply().await;
        Ok(json)
    }

    pub(crate) async fn delete_toxic(&self, name: &str, toxic: &str) -> Result<(), ApiError> {
        let mut named = self.named.lock().await;
        let proxy = find_mut(&mut named, name)?;
        let index = proxy.toxics.iter().position(|of| of.name == toxic).ok_or_else(no_toxic)?;
        proxy.toxics.remove(index);
        proxy.apply().await;
        Ok(())
    }

    /// What happens in all of them.
    pub(crate) fn events(&self) -> &ProxyEvents {
        &self.events
    }

    /// Counters of each, with its name, address and upstream; open connections are in them.
    pub(crate) async fn totals(&self) -> Vec<ProxyTotals> {
        let of = |(name, proxy): (&String, &NamedProxy)| ProxyTotals {
            name: name.clone(),
            listen: proxy.listen.clone(),
            upstream: proxy.upstream.to_string(),
            totals: proxy.totals(),
        };
        self.named.lock().await.iter().map(of).collect()
    }

    fn next_toxic(&self) -> u64 {
        self.toxics_made.fetch_add(1, Ordering::Relaxed)
    }

    async fn started(&self, name: &str, proxy: &mut NamedProxy) -> Result<(), ApiError> {
        let failed = |error: io::Error, listen: &str| {
            let why = error.raw_os_error().map_or_else(|| error.to_string(), |code| Errno::from_raw(code).desc().to_ascii_lowercase());
            ApiError::new(500, format!("listen tcp {listen}: bind: {why}"))
        };
        self.start(name, proxy).await.map(drop).map_err(|error| failed(error, &proxy.listen))
    }

    async fn start(&self, name: &str, proxy: &mut NamedProxy) -> io::Result<SocketAddr> {
        let settings = ListenerSettings {
            name: name.into(),
            upstream: proxy.upstream.clone(),
            numbered: proxy.numbered.clone(),
            trust: self.trust.clone(),
            tls: proxy.tls.clone(),
            dial_limit: self.dial_limit,
            seed: self.seed,
            events: self.events.clone(),
            faults: self.faults.clone(),
        };
        let listener = ProxyListener::start(&bindable(&proxy.listen), settings, &proxy.toxics).await?;
        let address = listener.address();
        proxy.listen = address.to_string();
        proxy.listener = Some(listener);
        Ok(address)
    }
}

impl NamedProxy {
    fn new(listen: String, upstream: Upstream) -> Self {
        let (toxics, past, numbered) = (Vec::new(), ListenerTotals::default(), Arc::default());
        NamedProxy { listen, upstream, tls: None, toxics, listener: None, past, numbered }
    }

    fn take_toxic(&mut self, toxic: Toxic) -> Result<(), ApiError> {
        if self.toxics.iter().any(|of| of.name == toxic.name) {
            return Err(ApiError::new(409, "toxic already exists"));
        }
        room(self.toxics.len(), TOXICS_MAX, "toxics of this proxy")?;
        self.toxics.push(toxic);
        Ok(())
    }

    /// Waits until its toxics act as they are now on all connections.
    async fn apply(&self) {
        if let Some(listener) = &self.listener {
            listener.set_toxics(&self.toxics).await;
        }
    }

    /// No longer listens; all connections get a FIN, or a reset where a toxic says so.
    async fn halt(&mut self) {
        if let Some(mut listener) = self.listener.take() {
            listener.end_all().await;
            self.past.add(&listener.totals());
        }
    }

    fn totals(&self) -> ListenerTotals {
        let mut totals = self.past;
        self.listener.iter().for_each(|listener| totals.add(&listener.totals()));
        totals
    }

    fn json(&self, name: &str) -> Value {
        json!({
            "name": name,
            "listen": self.listen,
            "upstream": self.upstream.to_string(),
            "enabled": self.listener.is_some(),
            "toxics": toxics_json(&self.toxics),
        })
    }
}

/// The proxy of this name.
pub(super) fn find<'a>(named: &'a BTreeMap<String, NamedProxy>, name: &str) -> Result<&'a NamedProxy, ApiError> {
    named.get(name).ok_or_else(no_proxy)
}

fn find_mut<'a>(named: &'a mut BTreeMap<String, NamedProxy>, name: &str) -> Result<&'a mut NamedProxy, ApiError> {
    named.get_mut(name).ok_or_else(no_proxy)
}

fn no_proxy() -> ApiError {
    ApiError::new(404, "proxy not found")
}

fn no_toxic() -> ApiError {
    ApiError::new(404, "toxic not found")
}

fn room(there: usize, max: usize, what: &str) -> Result<(), ApiError> {
    if there < max { Ok(()) } else { Err(ApiError::new(400, format!("there are {max} {what} already"))) }
}

fn read_upstream(text: &str) -> Result<Upstream, ApiError> {
    text.parse().map_err(ApiError::bad_body)
}

/// Go binds `:80` on all addresses. Without any address, only this machine may connect.
fn bindable(listen: &str) -> String {
    match listen {
        "" => "127.0.0.1:0".to_owned(),
        port if port.starts_with(':') => format!("0.0.0.0{port}"),
        other => other.to_owned(),
    }
}

/// Whether an address that was bound is the one that is wanted.
async fn is_same(bound: &str, wanted: &str) -> bool {
    if bound == wanted {
        return true;
    }
    let Ok(mut addresses) = lookup_host(bindable(wanted)).await else { return false };
    bound.parse::<SocketAddr>().is_ok_and(|bound| bound.port() != 0 && addresses.any(|address| address == bound))
}
