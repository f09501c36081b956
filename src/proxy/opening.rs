//! A connection whose opening handshake faults act on: the request is read before they do, then answered in place of the upstream, or passed on
//! with what they change in it or in its answer.

use crate::event::Outcome;
use crate::fault::{End, Frame, OnAttempt, RequestEdit, ResponseEdit, Side};
use crate::proxy::connection::{DirectionCounters, ProxiedConnection, Speech};
use crate::proxy::faults::dose::AttemptDose;
use crate::proxy::frames::{FirstBytes, HEAD_MAX, StreamSide, look};
use crate::server::handshake_faults;
use crate::transport::Transport;
use crate::transport::link::Link;
use crate::transport::memory::MemoryEnd;
use crate::ws::frame::encode;
use crate::ws::frame_tap::Tap;
use crate::ws::handshake::server::send;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Whose first bytes do not come within this time is passed on as it is.
const HEAD_WAIT: Duration = Duration::from_secs(10);

/// Clients send their request with their TCP handshake, or a round trip later.
const REQUEST_WAIT: Duration = Duration::from_secs(1);

/// What became of an opening handshake.
pub(crate) enum OpeningEnd {
    /// It is over, and the connection goes on.
    Open(Box<OpenedLinks>),
    /// A fault ended the connection, the client's side like this.
    Over(Option<End>),
    /// The upstream could not be connected; the client's side, to be reset.
    NotDialled(Box<Transport>, io::Error),
}

/// Both sides behind the opening handshake, and what was read beyond it.
pub(crate) struct OpenedLinks {
    pub(crate) near: Transport,
    pub(crate) far: Transport,
    /// From the client, already passed on.
    pub(crate) asked: Vec<u8>,
    /// From the upstream, already passed on.
    pub(crate) answered: Vec<u8>,
    /// The connection is closed with this code as soon as it is open.
    pub(crate) close: Option<u16>,
}

/// Leads a connection through its opening handshake, unless its end is ordered before. `dial` connects to the upstream.
pub(crate) async fn open(
    near: Transport,
    connection: &ProxiedConnection,
    doses: Vec<AttemptDose>,
    dial: impl Future<Output = io::Result<Transport>>,
) -> OpeningEnd {
    let mut tap = Tap::new(near, Side::Server);
    tokio::select! {
        biased;
        how = connection.ended_early() => {
            end_on_drop(tap.transport(), how);
            OpeningEnd::Over(Some(how))
        }
        end = lead(&mut tap, connection, doses, dial) => end,
    }
}

/// The drop that follows is this end.
pub(crate) fn end_on_drop(link: &mut Transport, how: End) {
    if how == End::Rst {
        link.link_mut().reset();
    }
}

async fn lead(
    tap: &mut Tap,
    connection: &ProxiedConnection,
    doses: Vec<AttemptDose>,
    dial: impl Future<Output = io::Result<Transport>>,
) -> OpeningEnd {
    let mut asked = Vec::new();
    let _ = timeout(HEAD_WAIT, read_head(tap.transport(), StreamSide::Up, &mut asked)).await;
    let first = look(StreamSide::Up, &asked, Some(connection));
    let FirstBytes::Frames(head) = first else {
        let why = match first {
            FirstBytes::Tls => "it is TLS, which passes through",
            _ => "it begins with no opening handshake",
        };
        doses.iter().for_each(|dose| dose.stamp.not_carried_out(&connection.named(), why));
        return match dial.await {
            Ok(mut far) => {
                let _ = far.write_all(&asked).await;
                opened(transport_of(tap), far, asked, Vec::new(), None)
            }
            Err(error) => OpeningEnd::NotDialled(Box::new(transport_of(tap)), error),
        };
    };
    connection.set_speech(Speech::Asked);
    let (mut answer, mut asks, mut answering) = (ResponseEdit::default(), Vec::new(), Vec::new());
    for mut dose in doses {
        dose.stamp.acts(&connection.named());
        if let OnAttempt::Ask(ask) = dose.effect {
            asks.push(ask);
            continue;
        }
        match suffer(tap, connection, &mut dose).await {
            // Where nothing else was said, the drop is a FIN.
            HandshakeFate::Ended => return OpeningEnd::Over(tap.transport_ref().link().own_end().or(Some(End::Fin))),
            HandshakeFate::Answer(edit) => {
                answer = answer.and(edit);
                answering.push(dose.stamp);
            }
            HandshakeFate::Released => {}
        }
    }
    // Set when the relay reads the head again.
    connection.set_speech(Speech::Bytes);
    let mut far = match dial.await {
        Ok(far) => far,
        Err(error) => return OpeningEnd::NotDialled(Box::new(transport_of(tap)), error),
    };
    let sent = asks.iter().fold(asked[..head].to_vec(), |head, ask| request(&head, ask));
    let early = asks.iter().flat_map(|ask| &ask.early).flat_map(|frame: &Frame| encode(frame, Some([9, 27, 81, 243])));
    let mut to_far: Vec<u8> = sent.into_iter().chain(early).collect();
    to_far.extend_from_slice(&asked[head..]);
    let _ = far.write_all(&to_far).await;
    // TLS keeps what the kernel does not take.
    let _ = far.flush().await;
    let mut answered = Vec::new();
    if answer == ResponseEdit::default() {
        return opened(transport_of(tap), far, asked, answered, None);
    }
    // A client that goes away meanwhile shows when it is written to, or when this time is over.
    if timeout(HEAD_WAIT, read_head(&mut far, StreamSide::Down, &mut answered)).await.is_err() {
        let why = format!("the server did not answer within {HEAD_WAIT:?}");
        answering.iter().for_each(|stamp| stamp.not_carried_out(&connection.named(), why.as_str()));
        let mut near = transport_of(tap);
        let _ = near.write_all(&answered).await;
        return opened(near, far, asked, answered, None);
    }
    let end = answered.windows(4).position(|four| four == b"\r\n\r\n").map_or(answered.len(), |at| at + 4);
    let changed = response(&answered[..end], &answer);
    if send(tap, &changed, &answer).await.is_err() {
        return OpeningEnd::Over(tap.transport_ref().link().own_end());
    }
    let mut near = transport_of(tap);
    let _ = near.write_all(&answered[end..]).await;
    opened(near, far, asked, answered, answer.close)
}

/// What a fault made of a handshake before its answer.
enum HandshakeFate {
    /// It has ended the connection.
    Ended,
    /// The answer goes out like this.
    Answer(ResponseEdit),
    /// The fault was taken back while it held the handshake up: that goes on.
    Released,
}

async fn suffer(tap: &mut Tap, connection: &ProxiedConnection, dose: &mut AttemptDose) -> HandshakeFate {
    let passed = tap.transport_ref().link().passed();
    tokio::select! {
        biased;
        () = connection.reverted_early(dose.stamp.firing) => {
            // What the client said behind its request was thrown away: it cannot go on.
            return if tap.transport_ref().link().passed() == passed { HandshakeFate::Released } else { HandshakeFate::Ended };
        }
        () = handshake_faults::hold(tap, &mut dose.effect, &mut dose.random) => {}
    }
    match handshake_faults::answer(tap, dose.effect.clone(), &mut dose.random).await {
        None => {
            if let Outcome::Rejected { status, retry_after, .. } = handshake_faults::outcome(&dose.effect) {
                connection.answered(status, retry_after);
            }
            HandshakeFate::Ended
        }
        Some(edit) => HandshakeFate::Answer(edit),
    }
}

fn opened(near: Transport, far: Transport, asked: Vec<u8>, answered: Vec<u8>, close: Option<u16>) -> OpeningEnd {
    OpeningEnd::Open(Box::new(OpenedLinks { near, far, asked, answered, close }))
}

/// What is below the tap, which has nothing there any more.
fn transport_of(tap: &mut Tap) -> Transport {
    std::mem::replace(tap.transport(), Transport::Plain(Link::new(MemoryEnd::pair().0)))
}

/// Hears whose connection it is that the upstream will not have: its request is read, if it comes at once, or nearly.
pub(crate) async fn hear(near: &mut Transport, connection: &ProxiedConnection) {
    let mut asked = Vec::new();
    let _ = timeout(REQUEST_WAIT, read_head(near, StreamSide::Up, &mut asked)).await;
    // Half of a head says nothing: it is as if nothing had come.
    if look(StreamSide::Up, &asked, Some(connection)) != FirstBytes::More {
        DirectionCounters::add(&connection.up.bytes, asked.len() as u64);
    }
}

/// Reads until the first bytes say what they are, or are a whole head.
async fn read_head(link: &mut Transport, side: StreamSide, bytes: &mut Vec<u8>) {
    let mut chunk = [0; 4096];
    while bytes.len() < HEAD_MAX && look(side, bytes, None) == FirstBytes::More {
        match link.read(&mut chunk).await {
            Ok(count) if count > 0 => bytes.extend_from_slice(&chunk[..count]),
            _ => return,
        }
    }
}

/// The head of a request as a fault wants it.
fn request(head: &[u8], ask: &RequestEdit) -> Vec<u8> {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
    let mut first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    if let (Some(method), [old, ..]) = (&ask.method, &mut first[..]) {
        *old = method;
    }
    if let (Some(version), [.., old]) = (&ask.version, &mut first[..]) {
        *old = version;
    }
    let mut fields = edited(lines, &ask.without, &ask.with);
    if ask.padding > 0 {
        fields.push(format!("X-Padding: {}", "x".repeat(ask.padding as usize)));
    }
    format!("{}\r\n{}\r\n\r\n", first.join(" "), fields.join("\r\n")).into_bytes()
}

/// The head of an answer as a fault wants it.
fn response(head: &[u8], answer: &ResponseEdit) -> Vec<u8> {
    if answer.without.is_empty() && answer.with.is_empty() {
        return head.to_vec();
    }
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    format!("{first}\r\n{}\r\n\r\n", edited(lines, &answer.without, &answer.with).join("\r\n")).into_bytes()
}

/// Header fields without some, and with others in place of those of their names, or added.
fn edited<'a>(lines: impl Iterator<Item = &'a str>, without: &[String], with: &[(String, String)]) -> Vec<String> {
    let name = |line: &str| line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
    let goes = |line: &&str| without.iter().chain(with.iter().map(|(name, _)| name)).any(|gone| gone.eq_ignore_ascii_case(&name(line)));
    let kept = lines.filter(|line| !goes(line)).map(str::to_owned);
    kept.chain(with.iter().map(|(name, value)| format!("{name}: {value}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_changed_where_a_fault_says_so_and_nowhere_else() {
        let head = b"GET /x HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\nUpgrade: websocket\r\n\r\n";
        assert_eq!(request(head, &RequestEdit::default()), head);
        let ask = RequestEdit {
            method: Some("POST".to_owned()),
            version: Some("HTTP/1.0".to_owned()),
            without: vec!["sec-websocket-key".to_owned()],
            with: vec![("Host".to_owned(), "b".to_owned())],
            ..RequestEdit::default()
        };
        assert_eq!(request(head, &ask), b"POST /x HTTP/1.0\r\nUpgrade: websocket\r\nHost: b\r\n\r\n");
        let answer = ResponseEdit { without: vec!["Upgrade".to_owned()], ..ResponseEdit::default() };
        let head = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        assert_eq!(response(head, &answer), b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n");
        assert_eq!(response(head, &ResponseEdit::default()), head);
    }
}
