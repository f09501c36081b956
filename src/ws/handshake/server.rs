//! The server's part of the opening handshake: read a request head, answer it with 101 or with a proper HTTP response.

use crate::fault::{End, ResponseEdit};
use crate::ws::frame_tap::Tap;
use crate::ws::handshake::own_headers::{ID_HEADER, Id, RunKey};
use std::future::poll_fn;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::server::{create_response, write_response};
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Request, Response, Version};

/// Longest request head.
const HEAD_MAX: usize = 16 * 1024;
/// Most header fields.
const HEADERS_MAX: usize = 64;
/// How long a refused client may take to close.
const LINGER: Duration = Duration::from_secs(2);

/// A request head.
pub(crate) struct Head {
    request: Request<()>,
}

/// Why a request cannot be answered with 101.
#[derive(Debug)]
pub(crate) enum Bad {
    /// The client ended it, or TCP broke.
    Gone,
    /// Not HTTP, or not HTTP that we read.
    Syntax(String),
    /// Longer than [`HEAD_MAX`].
    TooLong,
    /// Not whole within the server's deadline.
    Late,
}

impl Bad {
    /// HTTP status to answer with.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Bad::Gone | Bad::Syntax(_) => 400,
            Bad::TooLong => 431,
            Bad::Late => 408,
        }
    }

    /// Body to answer with.
    pub(crate) fn text(&self) -> &str {
        match self {
            Bad::Gone => "",
            Bad::Syntax(what) => what,
            Bad::TooLong => "request head too long",
            Bad::Late => "request head not complete in time",
        }
    }
}

impl Head {
    /// Reads up to the empty line.
    pub(crate) async fn read(tap: &mut Tap) -> Result<Head, Bad> {
        let mut bytes = Vec::with_capacity(512);
        loop {
            let mut chunk = [0; 1024];
            let count = tap.read(&mut chunk).await.map_err(|_| Bad::Gone)?;
            if count == 0 {
                return Err(if bytes.is_empty() { Bad::Gone } else { Bad::Syntax("request head was cut".into()) });
            }
            bytes.extend_from_slice(&chunk[..count]);
            if bytes.ends_with(b"\r\n\r\n") {
                return Head::parse(&bytes);
            }
            if bytes.len() > HEAD_MAX {
                return Err(Bad::TooLong);
            }
        }
    }

    pub(in crate::ws) fn parse(bytes: &[u8]) -> Result<Head, Bad> {
        let wrong = |error: &dyn std::fmt::Display| Bad::Syntax(error.to_string());
        let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut fields);
        parsed.parse(bytes).map_err(|error| match error {
            httparse::Error::TooManyHeaders => Bad::TooLong,
            error => wrong(&error),
        })?;
        let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
        let mut request =
            Request::builder().method(parsed.method.unwrap_or_default()).uri(parsed.path.unwrap_or_default()).version(version);
        for field in parsed.headers.iter() {
            request = request.header(field.name, field.value);
        }
        Ok(Head { request: request.body(()).map_err(|error| wrong(&error))? })
    }

    /// The value of a header; the first, where there are several.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.request.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// All header fields, names in small letters.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    /// Path and query, as the client wrote them.
    pub(crate) fn target(&self) -> &str {
        self.request.uri().path_and_query().map_or("/", |target| target.as_str())
    }

    /// As `GET`.
    pub(crate) fn method(&self) -> &str {
        self.request.method().as_str()
    }

    /// Whether it asks for a WebSocket, properly or not.
    pub(crate) fn asks_for_websocket(&self) -> bool {
        self.field("Upgrade").is_some_and(|value| value.to_ascii_lowercase().contains("websocket"))
    }

    /// Who is asking; `None` for a client of another program, whatever it says. `key`: that of the run.
    pub(crate) fn id(&self, key: Option<&RunKey>) -> Option<Id> {
        self.field(ID_HEADER).and_then(|text| Id::parse(text, key))
    }
}

/// Answers with 101, as `answer` says; the first subprotocol offered is chosen. A request that is no opening handshake gets its HTTP
/// status.
///
/// # Errors
/// If the request was refused, the answer was cut, or TCP broke.
pub(crate) async fn accept(tap: &mut Tap, head: &Head, answer: &ResponseEdit) -> io::Result<()> {
    let mut response = match create_response(&head.request) {
        Ok(response) => response,
        Err(error) => {
            let (status, text) = status_of(&error);
            refuse(tap, status, More::default(), text.len(), &text).await;
            return Err(io::Error::other(text));
        }
    };
    let offered = head.field("Sec-WebSocket-Protocol").and_then(|all| all.split(',').next()).map(str::trim);
    if let Some(first) = offered.and_then(|first| HeaderValue::from_str(first).ok()) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, first);
    }
    edit(&mut response, answer);
    let mut bytes = Vec::with_capacity(256);
    write_response(&mut bytes, &response).map_err(io::Error::other)?;
    send(tap, &bytes, answer).await
}

/// Takes header fields out and puts others in.
fn edit(response: &mut Response<()>, answer: &ResponseEdit) {
    let headers = response.headers_mut();
    for name in &answer.without {
        headers.remove(name.as_str());
    }
    for (name, value) in &answer.with {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
}

/// Header fields of an answer other than 101.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct More<'a> {
    /// `Retry-After`.
    pub(crate) retry_after: Option<Duration>,
    /// `Location`.
    pub(crate) location: Option<&'a str>,
}

/// HTTP status for a request that is no opening handshake (RFC 6455 §4.2.1, §4.4).
fn status_of(error: &Error) -> (u16, String) {
    let status = match error {
        Error::Protocol(ProtocolError::WrongHttpMethod) => 405,
        Error::Protocol(ProtocolError::WrongHttpVersion) => 505,
        Error::Protocol(
            ProtocolError::MissingConnectionUpgradeHeader
            | ProtocolError::MissingUpgradeWebSocketHeader
            | ProtocolError::MissingSecWebSocketVersionHeader,
        ) => 426,
        _ => 400,
    };
    (status, error.to_string())
}

/// Answers with an HTTP status, FIN, and drains what the client still sends, so that it reads the answer and not a reset.
pub(crate) async fn refuse(tap: &mut Tap, status: u16, more: More<'_>, length: usize, text: &str) {
    let mut head = format!("HTTP/1.1 {status} {}\r\nConnection: close\r\nContent-Length: {length}\r\n", phrase(status));
    if status == 426 {
        head.push_str("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
    }
    if status == 405 {
        // RFC 9110 §15.5.6 demands it.
        head.push_str("Allow: GET\r\n");
    }
    if let Some(after) = more.retry_after {
        head.push_str(&format!("Retry-After: {}\r\n", after.as_secs()));
    }
    if let Some(location) = more.location.filter(|location| !location.contains(['\r', '\n'])) {
        head.push_str(&format!("Location: {location}\r\n"));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend(text.bytes().chain(std::iter::repeat(b'x')).take(length));
    if tap.write_all(&bytes).await.is_ok() {
        let _ = tap.shutdown().await;
        let _ = timeout(LINGER, gone(tap)).await;
    }
}

/// The reason phrase of a status.
pub(crate) fn phrase(status: u16) -> &'static str {
    use tokio_tungstenite::tungstenite::http::StatusCode;
    StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Status")
}

/// Writes the bytes of an answer as `answer` says.
///
/// # Errors
/// If the connection did not survive it.
pub(crate) async fn send(tap: &mut Tap, bytes: &[u8], answer: &ResponseEdit) -> io::Result<()> {
    let whole = answer.instead.as_deref().unwrap_or(bytes);
    let length = answer.cut.map_or(whole.len(), |(length, _)| whole.len().min(length as usize));
    let (size, interval) = answer.pieces.map_or((whole.len(), Duration::ZERO), |(size, interval)| (size.max(1) as usize, interval));
    for (index, piece) in whole[..length].chunks(size.max(1)).enumerate() {
        if index > 0 && !interval.is_zero() {
            sleep(interval).await;
        }
        tap.write_all(piece).await?;
        tap.flush().await?;
    }
    match answer.cut {
        None => Ok(()),
        Some((_, end)) => {
            finish(tap, end).await;
            Err(io::Error::other("the answer was cut"))
        }
    }
}

/// Ends TCP, or holds it until the client does.
pub(crate) async fn finish(tap: &mut Tap, end: End) {
    match end {
        End::Rst => tap.transport().link_mut().reset(),
        // No row asks for silence here.
        End::Hold | End::Silent => gone(tap).await,
        End::Fin => {
            let _ = tap.shutdown().await;
            let _ = timeout(LINGER, gone(tap)).await;
        }
    }
}

/// Waits until the client ends TCP.
pub(crate) async fn gone(tap: &mut Tap) {
    let _ = poll_fn(|cx| tap.poll_after_close(cx)).await;
}
