//! What is served without a WebSocket: the page, and the log of the wire as a stream of events (SSE).

use crate::fault::End;
use crate::serve::context::ServeContext;
use crate::serve::page;
use crate::serve::steps::{PathSteps, WATCH};
use crate::ws::frame_tap::Tap;
use crate::ws::handshake::server::{self, Head};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use url::form_urlencoded;

/// How often a stream without news shows that it is there.
const ALIVE: Duration = Duration::from_secs(15);
/// What a page from here may do: nothing with other servers, but open WebSockets.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self' ws: wss:";

/// Answers with a text.
pub(super) async fn text(tap: &mut Tap, status: u16, text: &str) {
    respond(tap, status, "text/plain; charset=utf-8", text).await;
}

/// Answers a request for anything but a WebSocket.
pub(super) async fn answer(context: &ServeContext, tap: &mut Tap, head: &Head) {
    let (path, query) = head.target().split_once('?').unwrap_or((head.target(), ""));
    if head.method() != "GET" {
        return text(tap, 405, "only GET").await;
    }
    match path {
        "/" => respond(tap, 200, "text/html; charset=utf-8", &page::page()).await,
        "/events" => {
            let watch = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == WATCH).map(|(_, value)| value.into_owned());
            let seen = head.field("Last-Event-ID").and_then(|number| number.parse().ok());
            stream(context, tap, &watch.unwrap_or_default(), seen).await;
        }
        "/favicon.ico" => text(tap, 404, "no icon").await,
        _ => match head.target().parse::<PathSteps>() {
            Ok(_) => {
                text(tap, 426, "this URL is for WebSocket clients: open it as ws:// or wss://, or in the console of the page /\n").await
            }
            Err(error) => text(tap, 400, &error.to_string()).await,
        },
    }
}

async fn respond(tap: &mut Tap, status: u16, kind: &str, body: &str) {
    let more = match status {
        405 => "Allow: GET\r\n",
        426 => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        _ => "",
    };
    let head = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\
         Content-Security-Policy: {POLICY}\r\nX-Content-Type-Options: nosniff\r\n{more}\r\n",
        server::phrase(status),
        body.len()
    );
    if tap.write_all(head.as_bytes()).await.is_ok() && tap.write_all(body.as_bytes()).await.is_ok() && tap.flush().await.is_ok() {
        server::finish(tap, End::Fin).await;
    }
}

/// Streams the lines of the wire with this `watch`, those that are kept first, or without it all from now on, until the client is gone. A
/// browser that comes back has `seen` those before that number.
async fn stream(context: &ServeContext, tap: &mut Tap, watch: &str, seen: Option<u64>) {
    let hub = &context.hub;
    let mut count = hub.count();
    let now = *count.borrow_and_update();
    let mut next = seen.unwrap_or(if watch.is_empty() { now } else { 0 });
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n: watching\n\n";
    let mut text = head.to_owned();
    loop {
        if tap.write_all(text.as_bytes()).await.is_err() || tap.flush().await.is_err() {
            return;
        }
        text.clear();
        count.mark_unchanged();
        let (lines, lost, after) = hub.read(next, watch);
        // Of what is gone before anybody watched nobody needs to know.
        if lost > 0 && next > 0 {
            text.push_str(&format!("data: {{\"what\":\"lost\",\"lines\":{lost}}}\n\n"));
        }
        lines.iter().for_each(|line| text.push_str(&format!("id: {after}\ndata: {line}\n\n")));
        next = after;
        if text.is_empty() {
            tokio::select! {
                biased;
                () = server::gone(tap) => return,
                changed = timeout(ALIVE, count.changed()) => match changed {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return,
                    Err(_) => text.push_str(": alive\n\n"),
                },
            }
        }
    }
}
