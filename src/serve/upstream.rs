//! A real server behind connections that get their steps from the host: what it says reaches the client until the steps end the connection, and
//! requests for anything but a WebSocket are its affair.
//!
//! Messages are handed on whole. Pings and pongs stay on their own side, and no extension is offered to the server.

use crate::ws::frame_tap::Tap;
use crate::ws::handshake::server::{self, Head};
use crate::ws::session::mailbox::{Control, SessionCommand};
use futures_util::{SinkExt, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// How long the server may take to answer.
const WITHIN: Duration = Duration::from_secs(10);
/// Messages that wait for either side.
const WAITING_MAX: usize = 1024;
/// Stands for the server among the faults of a connection; steps have smaller numbers.
const UPSTREAM: u16 = u16::MAX - 1;
/// What the client hears when the server is lost (RFC 6455 §7.4.1).
const INTERNAL_ERROR: u16 = 1011;

/// An open connection to the server.
pub(super) struct UpstreamConnection {
    socket: WebSocketStream<TcpStream>,
    /// The subprotocol that it chose.
    pub(super) subprotocol: Option<String>,
}

/// Why there is none: an HTTP status, and why.
pub(super) type Refused = (u16, String);

impl UpstreamConnection {
    /// Asks the server at `HOST:PORT` as the client has asked us.
    ///
    /// # Errors
    /// Its status where it refused; 502 where it cannot be reached.
    pub(super) async fn open(server: &str, head: &Head) -> Result<UpstreamConnection, Refused> {
        let opened = async {
            let mut request = format!("ws://{server}{}", head.target()).into_client_request()?;
            for (name, value) in head.fields().filter(|(name, _)| is_passed_on(name)) {
                if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value)) {
                    request.headers_mut().append(name, value);
                }
            }
            let stream = TcpStream::connect(server).await?;
            stream.set_nodelay(true)?;
            client_async(request, stream).await
        };
        match timeout(WITHIN, opened).await {
            Ok(Ok((socket, response))) => {
                let subprotocol = response.headers().get("Sec-WebSocket-Protocol").and_then(|value| value.to_str().ok()).map(str::to_owned);
                Ok(UpstreamConnection { socket, subprotocol })
            }
            Ok(Err(Error::Http(response))) => Err((response.status().as_u16(), "the server behind refused\n".to_owned())),
            Ok(Err(error)) => Err((502, format!("the server behind: {error}\n"))),
            Err(_) => Err((502, format!("the server behind did not answer within {} s\n", WITHIN.as_secs()))),
        }
    }

    /// Hands on what it says from now on; `control` is woken for it.
    pub(super) fn hand_on(self, control: Arc<Control>) -> UpstreamMessages {
        let (to, ours) = mpsc::channel(WAITING_MAX);
        let (theirs, from) = mpsc::channel(WAITING_MAX);
        let task = tokio::spawn(relay(self.socket, ours, theirs, control));
        UpstreamMessages { to, from, task }
    }
}

/// What is our own affair, or the other connection's.
fn is_passed_on(name: &str) -> bool {
    let own = ["host", "connection", "upgrade", "content-length"];
    !own.contains(&name) && (!name.starts_with("sec-websocket-") || name == "sec-websocket-protocol")
}

/// The two directions of an open connection to the server, which ends with this.
pub(super) struct UpstreamMessages {
    to: mpsc::Sender<Message>,
    from: mpsc::Receiver<Message>,
    task: JoinHandle<()>,
}

impl UpstreamMessages {
    /// Says it to the server. One that takes nothing more loses messages, as one that is dead.
    pub(super) fn say(&mut self, message: Message) {
        let _ = self.to.try_send(message);
    }

    /// What it has said since.
    pub(super) fn heard(&mut self) -> Option<Message> {
        self.from.try_recv().ok()
    }
}

impl Drop for UpstreamMessages {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(
    mut socket: WebSocketStream<TcpStream>,
    mut ours: mpsc::Receiver<Message>,
    theirs: mpsc::Sender<Message>,
    control: Arc<Control>,
) {
    let (code, reason) = loop {
        tokio::select! {
            said = ours.recv() => match said {
                Some(message) => if let Err(error) = socket.send(message).await {
                    break (INTERNAL_ERROR, error.to_string());
                },
                None => return,
            },
            heard = socket.next() => match heard {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    if theirs.send(message).await.is_err() {
                        return;
                    }
                    control.send(SessionCommand::Due(Duration::ZERO));
                }
                Some(Ok(Message::Close(Some(frame)))) => break (frame.code.into(), frame.reason.to_string()),
                Some(Ok(Message::Close(None))) | None => break (crate::close::NORMAL, String::new()),
                Some(Ok(_)) => {}
                Some(Err(error)) => break (INTERNAL_ERROR, error.to_string()),
            },
        }
    };
    // A Close frame has room for 123 bytes.
    let reason: String = reason.chars().take(30).collect();
    control.send(SessionCommand::Close { fault: UPSTREAM, code, reason: reason.into() });
}

/// Hands on a request for anything but a WebSocket, and its answer, byte for byte but for `Connection: close`.
pub(super) async fn http(server: &str, tap: &mut Tap, head: &Head) {
    let Ok(Ok(mut stream)) = timeout(WITHIN, TcpStream::connect(server)).await else {
        return super::http::text(tap, 502, "the server behind cannot be reached\n").await;
    };
    let mut request = format!("{} {} HTTP/1.1\r\nConnection: close\r\n", head.method(), head.target()).into_bytes();
    for (name, value) in head.fields().filter(|(name, _)| *name != "connection") {
        request.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    request.extend(b"\r\n");
    if stream.write_all(&request).await.is_ok() {
        let _ = copy_bidirectional(tap, &mut stream).await;
        server::finish(tap, crate::fault::End::Fin).await;
    }
}
