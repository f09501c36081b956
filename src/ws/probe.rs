//! What either side makes of the bytes of a stranger, from one call, for tests that have many such bytes.

use super::connection::{Connection, Incoming};
use super::frame_tap::Tap;
use super::handshake::client::{self, Request};
use super::handshake::server::Head;
use crate::address::Address;
use crate::event::{ClientIndex, ConnectionNo};
use crate::fault::Side;
use crate::transport::Transport;
use crate::transport::link::Link;
use crate::transport::memory::MemoryEnd;
use std::task::{Context, Poll, Waker};
use tokio_tungstenite::tungstenite::protocol::Role;

/// Whether these bytes are the head of a request.
pub fn is_request(bytes: &[u8]) -> bool {
    Head::parse(bytes).is_ok_and(|head| head.id(None).is_some() || head.field("host").is_some())
}

/// Whether these bytes open the connection of a client that offered two subprotocols; `None`: they are not complete.
///
/// # Panics
/// Never: its address is one.
pub fn opens(bytes: &[u8]) -> Option<bool> {
    let address = Address::parse("ws://h/").expect("a URL");
    let id = super::handshake::own_headers::Id { client: ClientIndex(1), connection: ConnectionNo(1) };
    let mut request = Request::new(&address, None, None, &client::values(id));
    request.set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==").ok()?;
    request.set("Sec-WebSocket-Protocol", "one, two").ok()?;
    request.expects(false).judge(bytes).map(|judged| judged.is_ok())
}

/// Messages and control frames that a client, or else a server, takes from these bytes, which come `step` at a time, before it ends.
pub fn messages(bytes: &[u8], of_client: bool, step: usize) -> usize {
    let (near, mut far) = MemoryEnd::pair();
    let (side, role) = if of_client { (Side::Client, Role::Client) } else { (Side::Server, Role::Server) };
    let mut connection = Connection::new(Tap::new(Transport::Plain(Link::new(near)), side), role, 1);
    let mut cx = Context::from_waker(Waker::noop());
    let mut taken = 0;
    let mut ended = false;
    let mut poll = |cx: &mut Context<'_>| {
        while !ended && let Poll::Ready(incoming) = connection.poll_io(cx) {
            taken += 1;
            ended = matches!(incoming, Incoming::End | Incoming::Violation(_) | Incoming::Close);
        }
        ended
    };
    for mut part in bytes.chunks(step.max(1)) {
        while !part.is_empty() {
            match far.poll_write(&mut cx, part) {
                Poll::Ready(Ok(written)) => part = &part[written..],
                Poll::Ready(Err(_)) => break,
                Poll::Pending => {}
            }
            if poll(&mut cx) {
                return taken;
            }
        }
    }
    // It fails only where the other side has reset.
    let _ = far.finish();
    poll(&mut cx);
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_takes_what_is_right_and_nothing_else() {
        let text = |masked: &[u8]| [&[0x81, masked.len() as u8 / 4 * 0x80 + 2][..], masked, b"hi"].concat();
        let (plain, masked) = (text(&[]), text(&[0; 4]));
        assert_eq!((messages(&plain, true, 1), messages(&masked, false, 3)), (2, 2), "a message and the end");
        assert_eq!((messages(&masked, true, 9), messages(&plain, false, 9)), (1, 1), "a violation");
        assert!(is_request(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n") && !is_request(b"GET\r\n\r\n"));
        assert_eq!((opens(b"HTTP/1.1 101"), opens(b"HTTP/1.1 200 OK\r\n\r\n")), (None, Some(false)));
    }
}
