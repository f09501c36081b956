//! What passes in one direction, looked at and left as it is: the opening handshake, then where frames begin and end.
//!
//! Only the first request of a connection is looked at. What is no HTTP request for WebSocket is a plain stream of bytes.

use crate::fault::CLOSE;
use crate::proxy::account::{EndedBy, PassedClose};
use crate::proxy::connection::{DirectionCounters, ProxiedConnection, Speech};
use crate::ws::frame::{CloseFrame, Scanner};
use std::time::Duration;

/// Longest head that is looked at, in bytes; after a longer one the stream counts as plain bytes.
pub(crate) const HEAD_MAX: usize = 16 * 1024;
/// As much of a Close frame is kept as has its code.
const CLOSE_MAX: usize = 256;
/// First bytes of a TLS handshake record (RFC 8446 §5.1): type 22, version 3.
const TLS: [u8; 2] = [22, 3];

/// Which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamSide {
    /// From the client to the upstream.
    Up,
    /// From the upstream to the client.
    Down,
}

/// Where the stream of one direction stands.
#[derive(Debug)]
pub(crate) enum StreamWatch {
    /// Before the end of the head of a request or response, of which this has come in earlier chunks.
    Head(Vec<u8>),
    /// WebSocket frames, or what would be ones if the upstream agrees; the Close frame that has begun.
    Frames(Box<(Scanner, Vec<u8>)>),
    /// Nothing that is looked at.
    Plain,
}

impl StreamWatch {
    /// At the beginning of a connection.
    pub(crate) fn new() -> Self {
        StreamWatch::Head(Vec::new())
    }

    /// Whether the direction was cut inside a frame, if it ends here.
    pub(crate) fn mid_frame(&self) -> bool {
        matches!(self, StreamWatch::Frames(at) if at.0.mid_frame())
    }

    /// Where the stream stands; `None`: it has no frames.
    pub(crate) fn scanner(&self) -> Option<Scanner> {
        if let StreamWatch::Frames(at) = self { Some(at.0) } else { None }
    }

    /// Follows bytes that came in this direction; counts them. If frames begin in them, gives how many bytes are before those.
    pub(crate) fn follow(&mut self, side: StreamSide, connection: &ProxiedConnection, bytes: &[u8]) -> Option<usize> {
        let counters = match side {
            StreamSide::Up => &connection.up,
            StreamSide::Down => &connection.down,
        };
        DirectionCounters::add(&counters.bytes, bytes.len() as u64);
        match self {
            StreamWatch::Plain => {}
            StreamWatch::Frames(at) => {
                if side == StreamSide::Up && connection.speech() == Speech::Bytes {
                    // The upstream answered with something else.
                    *self = StreamWatch::Plain;
                    return None;
                }
                count_frames(at, side, connection, bytes);
            }
            StreamWatch::Head(_) => return self.follow_head(side, connection, bytes),
        }
        None
    }

    fn follow_head(&mut self, side: StreamSide, connection: &ProxiedConnection, bytes: &[u8]) -> Option<usize> {
        let StreamWatch::Head(before) = self else { return None };
        // Nearly every head comes in one piece.
        let whole = if before.is_empty() { None } else { Some([before, bytes].concat()) };
        let all = whole.as_deref().unwrap_or(bytes);
        match look(side, all, Some(connection)) {
            FirstBytes::More if all.len() < HEAD_MAX => *before = all.to_vec(),
            FirstBytes::Frames(at) if side == StreamSide::Up || connection.speech() == Speech::Asked => {
                connection.set_speech(if side == StreamSide::Up { Speech::Asked } else { Speech::WebSocket });
                let rest = all[at..].to_vec();
                *self = StreamWatch::Frames(Box::default());
                if let StreamWatch::Frames(at) = self {
                    count_frames(at, side, connection, &rest);
                }
                return Some(bytes.len() - rest.len());
            }
            look => {
                if look == FirstBytes::Tls && side == StreamSide::Up {
                    connection.set_speech(Speech::Tls);
                } else if connection.speech() == Speech::Asked {
                    connection.set_speech(Speech::Bytes);
                }
                *self = StreamWatch::Plain;
            }
        }
        None
    }
}

/// What the first bytes of a direction are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstBytes {
    /// Not enough to say.
    More,
    /// The head of a handshake for WebSocket; frames begin here.
    Frames(usize),
    /// TLS.
    Tls,
    /// Something else.
    Other,
}

/// What these first bytes of a direction are; a whole head is noted on the connection.
pub(crate) fn look(side: StreamSide, bytes: &[u8], connection: Option<&ProxiedConnection>) -> FirstBytes {
    if bytes.starts_with(&TLS) {
        return FirstBytes::Tls;
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    match side {
        StreamSide::Up => {
            let mut request = httparse::Request::new(&mut headers);
            match request.parse(bytes) {
                Ok(httparse::Status::Complete(at)) if asks_for_websocket(request.headers) => {
                    if let Some(connection) = connection {
                        connection.asked(request.path.unwrap_or_default(), request.headers);
                    }
                    FirstBytes::Frames(at)
                }
                Ok(httparse::Status::Partial) => FirstBytes::More,
                _ => FirstBytes::Other,
            }
        }
        StreamSide::Down => {
            let mut response = httparse::Response::new(&mut headers);
            match response.parse(bytes) {
                Ok(httparse::Status::Complete(at)) => {
                    let status = response.code.unwrap_or_default();
                    if let Some(connection) = connection.filter(|connection| connection.speech() == Speech::Asked) {
                        connection.answered(status, retry_after(response.headers));
                    }
                    if status == 101 { FirstBytes::Frames(at) } else { FirstBytes::Other }
                }
                Ok(httparse::Status::Partial) => FirstBytes::More,
                _ => FirstBytes::Other,
            }
        }
    }
}

/// `Upgrade: websocket` (RFC 6455 §4.2.1).
fn asks_for_websocket(headers: &[httparse::Header<'_>]) -> bool {
    let upgrade = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("upgrade"));
    upgrade.flat_map(|header| header.value.split(|byte| *byte == b',')).any(|value| value.trim_ascii().eq_ignore_ascii_case(b"websocket"))
}

/// `Retry-After` in whole seconds (RFC 9110 §10.2.3); a date is not read.
fn retry_after(headers: &[httparse::Header<'_>]) -> Option<Duration> {
    let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case("retry-after"))?;
    str::from_utf8(header.value.trim_ascii()).ok()?.parse().ok().map(Duration::from_secs)
}

fn count_frames((scanner, close): &mut (Scanner, Vec<u8>), side: StreamSide, connection: &ProxiedConnection, bytes: &[u8]) {
    let (counters, by) = match side {
        StreamSide::Up => (&connection.up, EndedBy::Client),
        StreamSide::Down => (&connection.down, EndedBy::Server),
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        let piece = scanner.piece(rest);
        if piece.opcode == CLOSE && counters.close_code().is_none() {
            close.extend_from_slice(&rest[..piece.len.min(CLOSE_MAX.saturating_sub(close.len()))]);
            if piece.ends {
                let frame = CloseFrame::parse(close, false, side == StreamSide::Up);
                connection.ends_by(by);
                counters.closed(PassedClose { code: frame.code, reason: frame.reason.into() });
                *close = Vec::new();
            }
        }
        if piece.ends {
            DirectionCounters::add(&counters.frames[usize::from(piece.opcode)], 1);
        }
        rest = &rest[piece.len..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Frame, PING, TEXT};
    use crate::proxy::witnesses::{ListenerNotices, ProxyEvents};
    use crate::ws::frame::encode;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\r\n";
    const AGREED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

    fn connection() -> ProxiedConnection {
        let here = ([127, 0, 0, 1], 1).into();
        ProxiedConnection::new("p".into(), 1, here, Arc::new(ListenerNotices::new(here, ProxyEvents::new(None, drop))))
    }

    /// Frames by opcode, and the code of the Close frame.
    fn seen(counters: &DirectionCounters) -> (Vec<(usize, u64)>, Option<u16>) {
        let frames = counters.frames.iter().map(|count| count.load(Ordering::Relaxed)).enumerate().filter(|(_, count)| *count > 0);
        (frames.collect(), counters.close_code())
    }

    #[tokio::test]
    async fn frames_are_counted_however_the_bytes_are_cut() {
        let mask = Some([1, 2, 3, 4]);
        let up = [REQUEST, &encode(&Frame::new(TEXT, "hello"), mask), &encode(&Frame::close(Some(4001), b"bye"), mask)].concat();
        let down = [AGREED, &encode(&Frame::new(PING, "p"), None), &encode(&Frame::close(None, b""), None)].concat();
        for size in [1, 3, 1000] {
            let connection = connection();
            let (mut from_client, mut from_server) = (StreamWatch::new(), StreamWatch::new());
            up.chunks(size).for_each(|part| {
                from_client.follow(StreamSide::Up, &connection, part);
            });
            down.chunks(size).for_each(|part| {
                from_server.follow(StreamSide::Down, &connection, part);
            });
            assert_eq!(connection.speech(), Speech::WebSocket);
            assert_eq!(seen(&connection.up), (vec![(1, 1), (8, 1)], Some(4001)), "chunks of {size}");
            assert_eq!(seen(&connection.down), (vec![(8, 1), (9, 1)], Some(1005)), "chunks of {size}");
            assert_eq!(connection.up.bytes.load(Ordering::Relaxed), up.len() as u64);
        }
    }

    #[tokio::test]
    async fn what_is_not_websocket_is_bytes() {
        let other: [(&[u8], &[u8], Speech); 4] = [
            (b"PING\r\n", b"+PONG\r\n", Speech::Bytes),
            (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", Speech::Bytes),
            (REQUEST, b"HTTP/1.1 503 Busy\r\n\r\n", Speech::Bytes),
            (&[22, 3, 1, 2, 0, 1], &[22, 3, 3, 0, 122], Speech::Tls),
        ];
        for (up, down, speech) in other {
            let connection = connection();
            let (mut from_client, mut from_server) = (StreamWatch::new(), StreamWatch::new());
            from_client.follow(StreamSide::Up, &connection, up);
            from_server.follow(StreamSide::Down, &connection, down);
            from_client.follow(StreamSide::Up, &connection, &[0x81, 0x80, 0, 0, 0, 0]);
            assert_eq!((connection.speech(), seen(&connection.up)), (speech, (Vec::new(), None)));
        }
    }
}
