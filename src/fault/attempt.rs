//! What faults ask of opening handshakes and of listening sockets: data, carried out by `server` and `load::attempt`.

use super::{End, Frame};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What happens to a selected attempt: on the server side after the request head was read, on the client side when it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OnAttempt {
    /// No answer for this long; zero: for ever. Then the connection is closed.
    Stall(Duration),
    /// No answer; TCP ends.
    Cut {
        /// From the request to the end.
        delay: Duration,
        /// FIN or RST.
        end: End,
    },
    /// An HTTP answer other than 101.
    Reject {
        /// HTTP status.
        status: u16,
        /// `Retry-After` header, whole seconds.
        retry_after: Option<Duration>,
        /// `Location` header.
        location: Option<String>,
        /// Length of the body.
        body: u32,
    },
    /// The answer of a healthy server, sent like this.
    Answer(ResponseEdit),
    /// A share of the attempts is turned away, the others are answered late.
    Shed {
        /// From the request to any answer.
        delay: Duration,
        /// Chance of each attempt to be turned away, 0 to 1.
        share: f64,
        /// How.
        by: Shedding,
    },
    /// A client's request head, written like this.
    Ask(RequestEdit),
}

/// How an overloaded server turns a client away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shedding {
    /// An HTTP answer with this status.
    Status(u16),
    /// The opening handshake completes, then the server closes with this code.
    Close(u16),
}

/// How the answer to an opening handshake goes out. The default is that of a healthy server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResponseEdit {
    /// From the request to the answer.
    pub delay: Duration,
    /// Up to this much is added to `delay`, uniform, drawn for each attempt.
    pub jitter: Duration,
    /// In pieces of so many bytes with so much time between; `None`: in one write.
    pub pieces: Option<(u32, Duration)>,
    /// Header fields that are missing.
    pub without: Vec<String>,
    /// Header fields in place of those of that name, or added.
    pub with: Vec<(String, String)>,
    /// These bytes in place of it.
    pub instead: Option<Vec<u8>>,
    /// Only so many bytes, then TCP ends like this.
    pub cut: Option<(u32, End)>,
    /// The server closes with this code as soon as the connection is open.
    pub close: Option<u16>,
}

impl ResponseEdit {
    /// Both on the same answer; where only one can be, the later.
    #[must_use]
    pub fn and(mut self, later: ResponseEdit) -> ResponseEdit {
        self.without.extend(later.without);
        self.with.extend(later.with);
        ResponseEdit {
            delay: self.delay + later.delay,
            jitter: self.jitter + later.jitter,
            pieces: later.pieces.or(self.pieces),
            cut: later.cut.or(self.cut),
            instead: later.instead.or(self.instead),
            close: later.close.or(self.close),
            without: self.without,
            with: self.with,
        }
    }
}

/// How a client's request head goes out. The default is that of a healthy client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestEdit {
    /// In place of GET.
    pub method: Option<String>,
    /// In place of HTTP/1.1.
    pub version: Option<String>,
    /// Header fields that are missing.
    pub without: Vec<String>,
    /// Header fields in place of those of that name, or added.
    pub with: Vec<(String, String)>,
    /// Length of a further header field, in bytes; zero: none.
    pub padding: u32,
    /// Frames in the same write, before any answer.
    pub early: Vec<Frame>,
}

/// What happens to the listening socket of an embedded server while a fault is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnListener {
    /// It is closed: the port refuses, and what waits for an answer is reset.
    Closed,
    /// Nothing is accepted, and its queue is as short as this.
    Full(u32),
    /// The process may open only so many more files.
    Files(u32),
    /// The kernel drops what asks for a connection: the port does not answer. Of a proxy only.
    Unreachable,
}

impl OnListener {
    /// Whether it is about a process of the operating system, and not about the socket alone.
    pub fn needs_process(&self) -> bool {
        matches!(self, OnListener::Files(_))
    }
}
