//! One attempt: TCP, TLS and opening handshake, each timed and each under its own deadline.

use super::Shared;
use super::ask;
use super::channel::{ID_HEADER, Id, SINK_HEADER};
use super::control::Command;
use super::fleet::Place;
use crate::event::{Event, Outcome, Stage};
use crate::fault::{End, OnAttempt, Side, Step};
use crate::net::Transport;
use crate::net::link::Link;
use crate::net::tap::Tap;
use crate::plan::{Cohort, Phase, Traffic};
use crate::ws::{Connection, config};
use std::io;
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::{HeaderName, HeaderValue, SEC_WEBSOCKET_EXTENSIONS};
use tokio_tungstenite::tungstenite::http::{Request, Response};
use tokio_tungstenite::tungstenite::{Error, error::ProtocolError};

/// An attempt that opened.
pub(super) struct Opened {
    pub(super) connection: Box<Connection>,
    pub(super) tcp: Duration,
    pub(super) tls: Option<Duration>,
    pub(super) upgrade: Duration,
}

/// An attempt that did not.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) stage: Stage,
    pub(super) outcome: Outcome,
    pub(super) fault: Option<u16>,
}

/// Attempts, while faults may cut it.
pub(super) async fn run(shared: &Shared, cohort: &Cohort, id: Id, instance: u16, overall: Option<Duration>) -> Result<Opened, Failure> {
    let control = &shared.registry.slot(id.client).control;
    let overall = overall.filter(|limit| !limit.is_zero()).map(|limit| Instant::now() + limit);
    let attempt = stages(shared, cohort, id, instance, overall);
    tokio::pin!(attempt);
    let mut later = Vec::new();
    let result = loop {
        tokio::select! {
            // Commands first: a fault that cuts the attempt must not lose against its success.
            biased;
            command = control.next() => match command {
                Command::Due(due) => shared.journal.record(&Event::NotStarted { client: id.client, due }),
                Command::Inject(dose) if dose.steps.iter().any(|step| matches!(step, Step::End(End::Fin | End::Rst))) => {
                    shared.journal.record(&Event::Injected { fault: dose.fault, client: id.client, connection: id.connection });
                    let stage = match shared.registry.slot(id.client).place().phase {
                        Some(Phase::Tls) => Stage::Tls,
                        Some(Phase::Upgrade) => Stage::Upgrade,
                        _ => Stage::Tcp,
                    };
                    break Err(Failure { stage, outcome: Outcome::Abandoned, fault: Some(dose.fault) });
                }
                other => later.push(other),
            },
            result = &mut attempt => break result,
        }
    };
    // What selected this attempt but cannot act on it acts on the connection.
    later.into_iter().for_each(|command| control.send(command));
    result
}

async fn stages(shared: &Shared, cohort: &Cohort, id: Id, instance: u16, overall: Option<Instant>) -> Result<Opened, Failure> {
    let slot = shared.registry.slot(id.client);
    let place = shared.fleet.place(instance);
    let begun = Instant::now();
    let wire = limited(connect(&place), Stage::Tcp, limit(begun, cohort.deadlines.connect, overall)).await?;
    let tcp = begun.elapsed();
    let link = Link::new(wire);
    let (transport, tls) = match &place.tls {
        None => (Transport::Plain(link), None),
        Some((connector, name)) => {
            slot.set(|place| place.phase = Some(Phase::Tls));
            let begun = Instant::now();
            let handshake = async { connector.connect(name.clone(), link).await.map_err(|error| fail(Stage::Tls, &tls_words(&error))) };
            let stream = limited(handshake, Stage::Tls, limit(begun, cohort.deadlines.handshake, overall)).await?;
            (Transport::TlsClient(Box::new(stream)), Some(begun.elapsed()))
        }
    };
    slot.set(|place| place.phase = Some(Phase::Upgrade));
    let begun = Instant::now();
    let request = request(cohort, &place, id).map_err(|words| fail(Stage::Upgrade, &words))?;
    let mask = (id.client.0 ^ 0x5bd1_e995).wrapping_mul(id.connection.0 | 1);
    let hit = shared.registry.attempted(id);
    if let Some((fault, _)) = &hit {
        shared.journal.record(&Event::Injected { fault: *fault, client: id.client, connection: id.connection });
    }
    let tap = Tap::new(transport, Side::Client);
    let handshake = async {
        match &hit {
            Some((_, OnAttempt::Ask(ask))) => ask::shake_hands(tap, request, ask, mask).await,
            _ => {
                let opened = tokio_tungstenite::client_async_with_config(request, tap, Some(config())).await;
                opened.map(|(stream, response)| (stream, response.map(drop))).map_err(|error| refused(&error))
            }
        }
    };
    let shaken = limited(handshake, Stage::Upgrade, limit(begun, cohort.deadlines.handshake, overall)).await;
    let (stream, response) = shaken.map_err(|failure| Failure { fault: hit.as_ref().map(|(fault, _)| *fault), ..failure })?;
    let offered = cohort.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(SEC_WEBSOCKET_EXTENSIONS.as_str()));
    if response.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS) && !offered {
        // RFC 6455 §4.1: one that was not offered fails the connection; tungstenite does not look.
        return Err(fail(Stage::Upgrade, "opening handshake: an extension that was not offered"));
    }
    Ok(Opened { connection: Box::new(Connection::client(stream, mask)), tcp, tls, upgrade: begun.elapsed() })
}

fn limit(begun: Instant, stage: Duration, overall: Option<Instant>) -> Option<Instant> {
    let own = (!stage.is_zero()).then(|| begun + stage);
    own.into_iter().chain(overall).min()
}

async fn limited<T>(work: impl Future<Output = Result<T, Failure>>, stage: Stage, until: Option<Instant>) -> Result<T, Failure> {
    match until {
        None => work.await,
        Some(until) => timeout_at(until, work).await.unwrap_or(Err(Failure { stage, outcome: Outcome::TimedOut, fault: None })),
    }
}

pub(super) fn fail(stage: Stage, why: &str) -> Failure {
    Failure { stage, outcome: Outcome::Failed { why: why.to_owned() }, fault: None }
}

async fn connect(place: &Place) -> Result<tokio::net::TcpStream, Failure> {
    let socket = if place.address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(|error| local(&error))?;
    socket.connect(place.address).await.map_err(|error| local(&error))
}

/// What the kernel said to a connect.
fn local(error: &io::Error) -> Failure {
    use nix::errno::Errno;
    let outcome = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNREFUSED) => Outcome::Refused,
        Some(Errno::ETIMEDOUT) => Outcome::TimedOut,
        Some(Errno::EMFILE | Errno::ENFILE) => Outcome::Failed { why: "no file descriptor left (EMFILE)".into() },
        Some(Errno::EADDRNOTAVAIL) => Outcome::Failed { why: "no local port left (EADDRNOTAVAIL)".into() },
        _ => Outcome::Failed { why: format!("tcp: {}", error.kind()) },
    };
    Failure { stage: Stage::Tcp, outcome, fault: None }
}

fn tls_words(error: &io::Error) -> String {
    format!("tls: {}", error.get_ref().map_or_else(|| error.kind().to_string(), ToString::to_string))
}

/// What to do about a certificate that is not trusted.
fn tls_remedy(error: &io::Error) -> &'static str {
    let refused = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match refused {
        Some(rustls::Error::InvalidCertificate(_)) => {
            "; trust it with `ca = \"FILE.pem\"`, or any certificate with `insecure = true`, in the target's table"
        }
        _ => "; check whether it speaks TLS: without, the address begins with ws://",
    }
}

/// What came in answer to the opening handshake instead of 101.
fn refused(error: &Error) -> Failure {
    let outcome = match error {
        Error::Http(response) => Outcome::Rejected { status: response.status().as_u16(), retry_after: retry_after(response) },
        Error::Io(error) => Outcome::Failed { why: format!("cut before 101: {}", error.kind()) },
        Error::Protocol(ProtocolError::HandshakeIncomplete) => Outcome::Failed { why: "cut before 101: end of stream".into() },
        Error::HttpFormat(_) | Error::Protocol(ProtocolError::HttparseError(_)) => {
            Outcome::Failed { why: "the answer was not HTTP".into() }
        }
        other => Outcome::Failed { why: format!("opening handshake: {other}") },
    };
    Failure { stage: Stage::Upgrade, outcome, fault: None }
}

pub(super) fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let seconds = response.headers().get("Retry-After")?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn request(cohort: &Cohort, place: &Place, id: Id) -> Result<Request<()>, String> {
    let fill = |text: &str| text.replace("{client}", &id.client.0.to_string()).replace("{attempt}", &id.connection.0.to_string());
    let url = match &cohort.query {
        Some(query) => format!("{}{}{}", place.url, if place.url.contains('?') { '&' } else { '?' }, fill(query)),
        None => place.url.clone(),
    };
    let mut request = url.into_client_request().map_err(|error| error.to_string())?;
    let headers = request.headers_mut();
    let mut add = |name: &str, value: &str| -> Result<(), String> {
        let name: HeaderName = name.parse().map_err(|_| format!("header name {name}"))?;
        headers.append(name, HeaderValue::from_str(value).map_err(|_| format!("header value {value}"))?);
        Ok(())
    };
    add(ID_HEADER, &format!("{}/{}", id.client.0, id.connection.0))?;
    if matches!(cohort.traffic, Traffic::Send { .. }) {
        add(SINK_HEADER, "1")?;
    }
    if !cohort.subprotocols.is_empty() {
        add("Sec-WebSocket-Protocol", &cohort.subprotocols.join(", "))?;
    }
    for (name, value) in &cohort.headers {
        add(name, &fill(value))?;
    }
    Ok(request)
}

/// One opening handshake before the run, so that a wrong target is one clear message and not a failed run.
///
/// # Errors
/// What is wrong, in words.
pub(super) async fn probe(place: &Place, cohort: &Cohort, within: Duration) -> Result<(), String> {
    let work = async {
        let id = Id { client: crate::event::ClientIndex(u32::MAX), connection: crate::event::ConnectionNo(0) };
        let mut connection = open(place, request(cohort, place, id)?).await?;
        connection.queue_close(Some(crate::close::NORMAL), "");
        let closed = async {
            let _ = std::future::poll_fn(|cx| connection.poll_flush(cx)).await;
            while !matches!(std::future::poll_fn(|cx| connection.poll_io(cx)).await, crate::ws::Incoming::End) {}
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), closed).await;
        Ok(())
    };
    timeout_at(Instant::now() + within, work).await.unwrap_or_else(|_| Err(format!(
            "no answer to the opening handshake within {within:?}: it takes connections and says nothing; check that this is a WebSocket server, and whether it speaks TLS (wss://)"
        )))
}

/// Asks for opening handshakes one after another for as long as `time`, and closes each. A target that stops answering is left alone: the
/// run will show it.
pub(super) async fn warm_up(place: &Place, cohort: &Cohort, time: Duration) {
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || probe(place, cohort, left).await.is_err() {
            return;
        }
    }
}

/// A connection that belongs to no client of a run, without deadlines.
///
/// # Errors
/// What is wrong, in words.
pub(super) async fn open(place: &Place, request: Request<()>) -> Result<Connection, String> {
    let wire = connect(place).await.map_err(|failure| words(&failure))?;
    let link = Link::new(wire);
    let transport = match &place.tls {
        None => Transport::Plain(link),
        Some((connector, name)) => {
            let shaken = connector.connect(name.clone(), link).await;
            Transport::TlsClient(Box::new(shaken.map_err(|error| format!("{}{}", tls_words(&error), tls_remedy(&error)))?))
        }
    };
    let opened = tokio_tungstenite::client_async_with_config(request, Tap::new(transport, Side::Client), Some(config())).await;
    let (stream, _) = opened.map_err(|error| words(&refused(&error)))?;
    Ok(Connection::client(stream, 1))
}

fn words(failure: &Failure) -> String {
    match &failure.outcome {
        Outcome::Refused => "connection refused: nothing listens there; start the server, or check host and port".into(),
        Outcome::TimedOut => "connecting timed out: check host, port and firewall".into(),
        Outcome::Rejected { status, .. } => format!(
            "it answered the opening handshake with HTTP {status}, not 101; check the path, what it wants in `headers`, and that this is a WebSocket server"
        ),
        Outcome::Failed { why } => {
            format!("{why}; check that this is a WebSocket server, and whether it speaks TLS (wss://)")
        }
        Outcome::Abandoned => "abandoned".into(),
    }
}
