//! Who follows the bytes of a connection: what passes in either direction, and who ended it how.
//!
//! Bytes are told when they are handed to the link or come from it: on a path that a fault makes slow, before they are late.

use crate::close::TcpEnd;
use crate::fault::End;
use crate::transport::link::Link;
use std::fmt;

/// What passed.
#[derive(Clone, Copy, Debug)]
pub enum WireBytes<'a> {
    /// From the peer.
    Received(&'a [u8]),
    /// To the peer.
    Sent(&'a [u8]),
    /// Written, but thrown away by a fault.
    Discarded(usize),
    /// The peer ended TCP, or the kernel gave up.
    ReceivedEnd(TcpEnd),
    /// This side ended TCP, by FIN or RST.
    SentEnd(End),
}

/// Who is told.
pub type WireFollower = Box<dyn FnMut(WireBytes<'_>) + Send>;

/// Follows one connection, once somebody wants to be told.
#[derive(Default)]
pub struct WireWatch {
    follow: Option<WireFollower>,
    received_end: bool,
    sent_end: Option<End>,
}

impl fmt::Debug for WireWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireWatch").field("follows", &self.follow.is_some()).finish_non_exhaustive()
    }
}

impl WireWatch {
    /// Tells this one from now on.
    pub fn follow(&mut self, follow: WireFollower) {
        self.follow = Some(follow);
    }

    /// Something passed.
    pub fn tell(&mut self, what: WireBytes<'_>) {
        if let Some(follow) = &mut self.follow {
            follow(what);
        }
    }

    /// Tells how either side ended TCP, as far as that is new.
    pub fn look_at_ends(&mut self, link: &Link) {
        if link.end() != TcpEnd::None && !std::mem::replace(&mut self.received_end, true) {
            self.tell(WireBytes::ReceivedEnd(link.end()));
        }
        if let Some(own) = link.own_end().filter(|own| self.sent_end != Some(*own)) {
            self.sent_end = Some(own);
            self.tell(WireBytes::SentEnd(own));
        }
    }
}
