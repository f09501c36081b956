//! A client's opening handshake written by hand, for requests that a WebSocket library would not send.

use super::attempt::{Failure, fail, retry_after};
use crate::event::{Outcome, Stage};
use crate::fault::Ask;
use crate::net::frame;
use crate::net::tap::Tap;
use crate::ws::config;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Request, Response};
use tokio_tungstenite::tungstenite::protocol::Role;

/// Longest head of an answer.
const HEAD_MAX: usize = 16 * 1024;
/// Most header fields.
const HEADERS_MAX: usize = 64;

/// Sends `request` as `ask` says and takes the answer: open after a 101, whatever was wrong with the request.
///
/// # Errors
/// Another answer, a wrong one, or none.
pub(super) async fn shake_hands(
    mut tap: Tap,
    mut request: Request<()>,
    ask: &Ask,
    mask: u32,
) -> Result<(WebSocketStream<Tap>, Response<()>), Failure> {
    edit(&mut request, ask);
    let bytes = written(&request, ask, mask);
    // A server may answer and close before it has read all: what it says counts more than a failed write.
    let sent = async { tap.write_all(&bytes).await.and(tap.flush().await) }.await;
    let head = read_head(&mut tap).await.map_err(|error| {
        let error = sent.err().unwrap_or(error);
        fail(Stage::Upgrade, &format!("cut before 101: {}", error.kind()))
    })?;
    let response = parse(&head).ok_or_else(|| fail(Stage::Upgrade, "the answer was not HTTP"))?;
    if response.status().as_u16() != 101 {
        let outcome = Outcome::Rejected { status: response.status().as_u16(), retry_after: retry_after(&response) };
        return Err(Failure { stage: Stage::Upgrade, outcome, fault: None });
    }
    let expected = request.headers().get(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let shown = response.headers().get(SEC_WEBSOCKET_ACCEPT).and_then(|accept| accept.to_str().ok());
    if expected.is_some_and(|expected| shown != Some(expected.as_str())) {
        return Err(fail(Stage::Upgrade, "opening handshake: wrong Sec-WebSocket-Accept"));
    }
    Ok((WebSocketStream::from_raw_socket(tap, Role::Client, Some(config())).await, response))
}

/// Takes header fields out and puts others in.
fn edit(request: &mut Request<()>, ask: &Ask) {
    let headers = request.headers_mut();
    for name in &ask.without {
        headers.remove(name.as_str());
    }
    for (name, value) in &ask.with {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
}

/// The request head and the frames behind it.
fn written(request: &Request<()>, ask: &Ask, mut mask: u32) -> Vec<u8> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let (method, version) = (ask.method.as_deref().unwrap_or("GET"), ask.version.as_deref().unwrap_or("HTTP/1.1"));
    let mut bytes = format!("{method} {path} {version}\r\n").into_bytes();
    for (name, value) in request.headers() {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    if ask.padding > 0 {
        bytes.extend_from_slice(b"X-Padding: ");
        bytes.resize(bytes.len() + ask.padding as usize, b'x');
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    for early in &ask.early {
        mask = mask.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend(frame::encode(early, (!early.wrong_mask).then(|| mask.to_be_bytes())));
    }
    bytes
}

/// Reads up to the empty line; what follows it stays in the tap.
async fn read_head(tap: &mut Tap) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(512);
    while !bytes.ends_with(b"\r\n\r\n") && bytes.len() < HEAD_MAX {
        let mut chunk = [0; 1024];
        match tap.read(&mut chunk).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    }
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Option<Response<()>> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut fields);
    parsed.parse(bytes).ok()?;
    let mut response = Response::builder().status(parsed.code?);
    for field in parsed.headers.iter() {
        response = response.header(field.name, field.value);
    }
    response.body(()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Frame, TEXT};
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;

    #[test]
    fn a_request_is_written_as_asked() {
        let ask = |ask: Ask| {
            let mut request = "ws://h:1/a?b=c".into_client_request().expect("a URL");
            edit(&mut request, &ask);
            written(&request, &ask, 1)
        };
        let plain = ask(Ask::default());
        assert!(plain.starts_with(b"GET /a?b=c HTTP/1.1\r\n") && plain.ends_with(b"\r\n\r\n"));
        let post = ask(Ask { method: Some("POST".into()), version: Some("HTTP/1.0".into()), padding: 9, ..Ask::default() });
        assert!(post.starts_with(b"POST /a?b=c HTTP/1.0\r\n") && post.ends_with(b"\r\nX-Padding: xxxxxxxxx\r\n\r\n"));
        let without = ask(Ask { without: vec!["Sec-WebSocket-Key".into()], ..Ask::default() });
        assert!(!String::from_utf8_lossy(&without).to_lowercase().contains("sec-websocket-key"));
        let early = ask(Ask { early: vec![Frame::new(TEXT, "hi")], ..Ask::default() });
        let frame = &early[early.len() - 8..];
        assert_eq!((frame[0], frame[1], frame[6] ^ frame[2], frame[7] ^ frame[3]), (0x81, 0x82, b'h', b'i'));
    }

    #[test]
    fn an_answer_that_is_not_http_is_none() {
        assert!(parse(b"\x16\x03not HTTP\r\n\r\n").is_none());
        assert_eq!(parse(b"HTTP/1.1 426 Upgrade Required\r\nX: y\r\n\r\n").map(|answer| answer.status().as_u16()), Some(426));
    }
}
