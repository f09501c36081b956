//! The control API: the routes of Toxiproxy 2.12 and, below `/v1/`, our own; over HTTP/1.1.
//!
//! Who may ask is decided before anything is read: no browser, and while the API listens on loopback nobody who was led here by a foreign
//! name. Heads, bodies, times and connections have limits.

mod body;
pub(crate) mod own;
pub(crate) mod wire;

use crate::proxy::api::body::ApiBody;
use crate::proxy::api::wire::{ApiError, ProxyFields, ToxicFields, parse};
use crate::proxy::overview;
use crate::proxy::proxies::Proxies;
use crate::text::percent_decoded;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN, USER_AGENT};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Version of Toxiproxy whose API this is. Clients compare it: Ruby's must be able to read it.
pub(crate) const TOXIPROXY_VERSION: &str = "2.12.0";
/// Longest head of a request, bytes.
const HEAD_MAX: usize = 16 << 10;
/// Longest body of a request, bytes.
const BODY_MAX: usize = 1 << 20;
/// A head, and then a body, must come within this time.
const READ_MAX: Duration = Duration::from_secs(15);
/// A request takes no longer than this, as in Toxiproxy.
const REQUEST_MAX: Duration = Duration::from_secs(25);
/// Connections at the same time.
const CONNECTIONS_MAX: usize = 256;
/// Bytes of answers that the kernel keeps for a client that does not read them (it takes twice as many).
const SEND_BUFFER: usize = 64 << 10;
/// Without a file descriptor the next connection is taken so much later.
const NO_FILES: Duration = Duration::from_millis(100);

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
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<ApiShared>,
}

#[derive(Debug)]
struct ApiShared {
    proxies: Arc<Proxies>,
    metrics: ApiMetrics,
    loopback: bool,
    requests: AtomicU64,
}

type Answer = Response<ApiBody>;

impl ControlApi {
    /// Binds the address.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn bind(address: &str, proxies: Arc<Proxies>, metrics: ApiMetrics) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = ApiShared { proxies, metrics, loopback: address.ip().is_loopback(), requests: AtomicU64::new(0) };
        Ok(ControlApi { listener, address, shared: Arc::new(shared) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until it is dropped.
    pub async fn serve(self) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            // The semaphore is never closed.
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let Ok((stream, _)) = self.listener.accept().await else {
                sleep(NO_FILES).await;
                continue;
            };
            // Events are small and come one by one; of those that nobody reads the kernel would keep megabytes. Fails only where the client is gone.
            let _ = stream.set_nodelay(true);
            let _ = socket2::SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
            let shared = self.shared.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| answer(&shared, request));
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new()).header_read_timeout(READ_MAX).half_close(true).max_buf_size(HEAD_MAX).max_headers(64);
                // A client that does not speak HTTP, or is gone, gets no answer.
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
                drop(place);
            });
        }
    }
}

async fn answer(shared: &ApiShared, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let number = shared.requests.fetch_add(1, Ordering::Relaxed) + 1;
    let mut answer = match refusal(request.headers(), shared.loopback) {
        Some(why) => text(StatusCode::FORBIDDEN, why),
        None => timeout(REQUEST_MAX, route(shared, request)).await.unwrap_or_else(|_| text(StatusCode::SERVICE_UNAVAILABLE, "")),
    };
    if let Ok(id) = HeaderValue::from_str(&format!("{number:020x}")) {
        answer.headers_mut().insert("x-toxiproxy-request-id", id);
    }
    Ok(answer)
}

/// Why a request is not answered: it comes from a web page.
fn refusal(headers: &HeaderMap, loopback: bool) -> Option<&'static str> {
    if headers.get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"Mozilla/")) {
        return Some("User agent not allowed");
    }
    if headers.contains_key(ORIGIN) {
        return Some("requests from web pages (Origin) are not allowed");
    }
    let foreign = headers.get_all(HOST).iter().any(|host| !host.to_str().is_ok_and(is_here));
    (loopback && foreign).then_some("the Host is not this machine's loopback")
}

/// Whether a `Host` names loopback: a page that has a name of its own resolved to loopback (DNS rebinding) asks for that name.
fn is_here(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.ends_with(']') => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
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
    let mut answer = json_answer(StatusCode::OK, format!("{{\"version\": \"{TOXIPROXY_VERSION}\", \"server\": \"{server}\"}}\n"));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=utf-8"));
    answer
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
    let mut answer = text(StatusCode::OK, "");
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    *answer.body_mut() = body.into();
    answer
}

/// What happens from now on, as server-sent events.
fn events(proxies: &Proxies) -> Result<Answer, ApiError> {
    let reader = proxies.events().feed().read().ok_or_else(|| ApiError::new(429, "there are too many readers of events already"))?;
    let mut answer = Response::new(ApiBody::events(reader));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

fn json_answer(status: StatusCode, body: String) -> Answer {
    let mut answer = Response::new(ApiBody::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn nothing() -> Answer {
    let mut answer = Response::new(ApiBody::from(String::new()));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

fn text(status: StatusCode, line: &str) -> Answer {
    let line = if line.is_empty() { String::new() } else { format!("{line}\n") };
    let mut answer = Response::new(ApiBody::from(line));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn web_pages_are_refused_and_programs_are_not() {
        let headers = |fields: &[(&'static str, &'static str)]| -> HeaderMap {
            let header = |text: &str| text.parse::<hyper::header::HeaderName>().expect("a name");
            fields.iter().map(|(name, value)| (header(name), HeaderValue::from_static(value))).collect()
        };
        for (fields, loopback, refused) in [
            (&[("host", "localhost:8474")][..], true, false),
            (&[("host", "127.0.0.1")], true, false),
            (&[("host", "[::1]:8474"), ("user-agent", "toxiproxy-cli")], true, false),
            (&[], true, false),
            (&[("host", "toxiproxy:8474")], false, false),
            (&[("host", "toxiproxy:8474")], true, true),
            (&[("host", "127.0.0.1.example.org")], true, true),
            (&[("host", "localhost:8474@example.org")], true, true),
            (&[("host", "localhost"), ("origin", "null")], true, true),
            (&[("host", "h"), ("origin", "http://h")], false, true),
            (&[("host", "localhost"), ("user-agent", "Mozilla/5.0")], true, true),
        ] {
            assert_eq!(refusal(&headers(fields), loopback).is_some(), refused, "{fields:?}");
        }
    }
}
