//! The control API: the routes of Toxiproxy 2.12 and, below `/v1/`, our own; over HTTP/1.1.
//!
//! Who may ask is decided before anything is read: programs, no browser. Bodies have limits, and `http` has those of connections.

pub(crate) mod own;
pub(crate) mod wire;

use crate::http::visitor::Audience;
use crate::http::{self, Answer, HttpServer, READ_MAX, exposition, text, whole};
use crate::proxy::api::wire::{ApiError, ProxyFields, ToxicFields, parse};
use crate::proxy::overview;
use crate::proxy::proxies::Proxies;
use crate::text::percent_decoded;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// Version of Toxiproxy whose API this is. Clients compare it: Ruby's must be able to read it.
pub(crate) const TOXIPROXY_VERSION: &str = "2.12.0";
/// Longest body of a request, bytes.
const BODY_MAX: usize = 1 << 20;
/// A request takes no longer than this, as in Toxiproxy.
const REQUEST_MAX: Duration = Duration::from_secs(25);
/// What `/metrics` shows; nothing: there is no such page.
#[derive(Clone, Copy, Debug, Default)]
pub struct ApiMetrics {
    /// Bytes of proxies.
    pub proxies: bool,
    /// Memory and files of this process.
    pub process: bool,
}

/// The control API.
#[derive(Debug)]
pub struct ControlApi {
    server: HttpServer,
    shared: Arc<ApiShared>,
}

#[derive(Debug)]
struct ApiShared {
    proxies: Arc<Proxies>,
    metrics: ApiMetrics,
    loopback: bool,
    requests: AtomicU64,
}

impl ControlApi {
    /// Binds the address.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn bind(address: &str, proxies: Arc<Proxies>, metrics: ApiMetrics) -> io::Result<Self> {
        let server = HttpServer::bind(address).await?;
        let shared = ApiShared { proxies, metrics, loopback: server.address().ip().is_loopback(), requests: AtomicU64::new(0) };
        Ok(ControlApi { server, shared: Arc::new(shared) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Answers until it is dropped.
    pub async fn serve(self) {
        let shared = self.shared;
        let answer = move |request| {
            let shared = shared.clone();
            async move { answer(&shared, request).await }
        };
        self.server.serve(answer, std::future::pending(), Duration::ZERO).await;
    }
}

async fn answer(shared: &ApiShared, request: Request<Incoming>) -> Answer {
    let number = shared.requests.fetch_add(1, Ordering::Relaxed) + 1;
    let mut answer = match Audience::Programs.refusal(request.headers(), shared.loopback) {
        Some(why) => text(StatusCode::FORBIDDEN, why),
        None => timeout(REQUEST_MAX, route(shared, request)).await.unwrap_or_else(|_| text(StatusCode::SERVICE_UNAVAILABLE, "")),
    };
    if let Ok(id) = HeaderValue::from_str(&format!("{number:020x}")) {
        answer.headers_mut().insert("x-toxiproxy-request-id", id);
    }
    answer
}

async fn route(shared: &ApiShared, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let path: Option<Vec<String>> = head.uri.path().split('/').skip(1).map(percent_decoded).collect();
    let path = path.unwrap_or_default();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let allowed: &[Method] = match path.as_slice() {
        ["proxies"] => &[Method::GET, Method::POST],
        ["populate" | "reset"] => &[Method::POST],
        ["version"] => &[Method::GET],
        ["metrics"] if shared.metrics.proxies || shared.metrics.process => &[Method::GET],
        ["v1", "connections" | "events" | "summary"] => &[Method::GET],
        ["v1", "connections", _, _] => &[Method::GET, Method::DELETE],
        ["v1", "faults"] => &[Method::GET, Method::POST],
        ["v1", "faults", _] => &[Method::GET, Method::PATCH, Method::DELETE],
        ["proxies", _] | ["proxies", _, "toxics", _] => &[Method::GET, Method::POST, Method::PATCH, Method::DELETE],
        ["proxies", _, "toxics"] => &[Method::GET, Method::POST],
        _ => return text(StatusCode::NOT_FOUND, "404 page not found"),
    };
    if !allowed.contains(&head.method) || path.iter().any(|part| part.is_empty()) {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "");
        if let Ok(allowed) = HeaderValue::from_str(&allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")) {
            answer.headers_mut().insert(ALLOW, allowed);
        }
        return answer;
    }
    match carry_out(shared, &head.method, &path, (head.uri.query().unwrap_or_default(), body)).await {
        Ok(answer) => answer,
        Err(error) => {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            json_answer(status, format!("{}\n", error.json()))
        }
    }
}

async fn carry_out(shared: &ApiShared, method: &Method, path: &[&str], (query, body): (&str, Incoming)) -> Result<Answer, ApiError> {
    let proxies = &shared.proxies;
    // A client that sends on after an answer is cut off; what is short is read, so that its connection can be used again.
    let body = read(body).await?;
    let fields = || parse(&body);
    let done = match (path, method) {
        (["proxies"], &Method::GET) => proxies.list().await,
        (["proxies"], _) => {
            let made = proxies.create(ProxyFields::read(fields()?)?).await?;
            return Ok(json_answer(StatusCode::CREATED, made.to_string()));
        }
        (["populate"], _) => {
            return Ok(populated(match fields().and_then(ProxyFields::read_list) {
                Ok(list) => proxies.populate(list).await,
                Err(error) => (Vec::new(), Some(error)),
            }));
        }
        (["reset"], _) => {
            proxies.reset().await?;
            return Ok(nothing());
        }
        (["version"], _) => return Ok(version()),
        (["metrics"], _) => return Ok(metrics(shared).await),
        (["v1", "connections"], _) => proxies.connections().await,
        (["v1", "summary"], _) => overview::summary(&proxies.totals().await, proxies.events()),
        (["v1", "events"], _) => return events(proxies),
        (["v1", "connections", name, id], &Method::GET) => proxies.connection(name, id).await?,
        (["v1", "connections", name, id], _) => {
            proxies.end_connection(name, id, own::end_of(query)?).await?;
            return Ok(nothing());
        }
        (["v1", "faults"], &Method::GET) => proxies.faults(),
        (["v1", "faults"], _) => {
            let added = proxies.add_fault(fields()?).await?;
            return Ok(json_answer(StatusCode::CREATED, added.to_string()));
        }
        (["v1", "faults", name], &Method::GET) => proxies.fault(name)?,
        (["v1", "faults", name], &Method::PATCH) => proxies.change_fault(name, fields()?).await?,
        (["v1", "faults", name], _) => {
            proxies.delete_fault(name).await?;
            return Ok(nothing());
        }
        (["proxies", name], &Method::GET) => proxies.show(name).await?,
        (["proxies", name], &Method::DELETE) => {
            proxies.delete(name).await?;
            return Ok(nothing());
        }
        (["proxies", name], _) => {
            proxies.show(name).await?;
            proxies.update(name, ProxyFields::read(fields()?)?).await?
        }
        (["proxies", name, "toxics"], &Method::GET) => proxies.toxics(name).await?,
        (["proxies", name, "toxics"], _) => {
            proxies.show(name).await?;
            proxies.add_toxic(name, ToxicFields::read(fields()?)?).await?
        }
        (["proxies", name, "toxics", toxic], &Method::GET) => proxies.toxic(name, toxic).await?,
        (["proxies", name, "toxics", toxic], &Method::DELETE) => {
            proxies.delete_toxic(name, toxic).await?;
            return Ok(nothing());
        }
        (["proxies", name, "toxics", toxic], _) => {
            proxies.toxic(name, toxic).await?;
            proxies.update_toxic(name, toxic, &ToxicFields::read(fields()?)?).await?
        }
        _ => return Ok(text(StatusCode::NOT_FOUND, "404 page not found")),
    };
    Ok(json_answer(StatusCode::OK, done.to_string()))
}

/// All of a body.
async fn read(body: Incoming) -> Result<Bytes, ApiError> {
    match timeout(READ_MAX, Limited::new(body, BODY_MAX).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(ApiError::new(413, format!("bad request body: it is longer than {BODY_MAX} bytes")))
        }
        Ok(Err(error)) => Err(ApiError::bad_body(error)),
        Err(_) => Err(ApiError::new(408, format!("bad request body: it did not come within {READ_MAX:?}"))),
    }
}

/// Go writes a list that has nothing as null.
fn populated((made, error): (Vec<Value>, Option<ApiError>)) -> Answer {
    let list = if made.is_empty() { Value::Null } else { made.into() };
    match error {
        None => json_answer(StatusCode::CREATED, json!({ "proxies": list }).to_string()),
        Some(error) => {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            json_answer(status, json!({ "error": error.message, "status": error.status, "proxies": list }).to_string())
        }
    }
}

fn version() -> Answer {
    let server = format!("closestorm {}", env!("CARGO_PKG_VERSION"));
    let version = format!("{{\"version\": \"{TOXIPROXY_VERSION}\", \"server\": \"{server}\"}}\n");
    whole(StatusCode::OK, "application/json;charset=utf-8", version)
}

async fn metrics(shared: &ApiShared) -> Answer {
    let mut body =
        if shared.metrics.proxies { overview::metrics(&shared.proxies.totals().await, shared.proxies.events()) } else { String::new() };
    if shared.metrics.process {
        let files = std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count().saturating_sub(1));
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        body += &format!("# TYPE process_open_fds gauge\nprocess_open_fds {files}\n");
        body += &kib.map_or(String::new(), |kib| {
            format!("# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {}\n", kib * 1024)
        });
    }
    whole(StatusCode::OK, exposition::TYPE, body)
}

/// What happens from now on, as server-sent events.
fn events(proxies: &Proxies) -> Result<Answer, ApiError> {
    let reader = proxies.events().feed().read().ok_or_else(|| ApiError::new(429, "there are too many readers of events already"))?;
    Ok(http::events(reader))
}

fn json_answer(status: StatusCode, body: String) -> Answer {
    whole(status, "application/json", body)
}

fn nothing() -> Answer {
    let mut answer = hyper::Response::new(String::new().into());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}
