//! What the proxy saw of a connection from its opening to its end: the account of a third witness between two sides.

use crate::close::TcpEnd;
use crate::fault::End;
use crate::metrics::latency::micros;
use serde_json::{Map, Value, json};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Status codes with which a client that leaves of its own accord closes: done, and going away (RFC 6455 §7.4.1).
const LEAVING: [u16; 2] = [1000, 1001];

/// Which connection of which proxy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProxiedId {
    /// Name of the proxy.
    pub proxy: Arc<str>,
    /// Number among the connections of all proxies that had this name, from 1, in the order in which they came.
    pub connection: u64,
}

impl fmt::Display for ProxiedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.proxy, self.connection)
    }
}

/// Whose Close frame, FIN or RST came first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndedBy {
    /// Nobody's yet.
    #[default]
    Nobody = 0,
    /// The client's.
    Client = 1,
    /// The server's.
    Server = 2,
    /// The proxy's own: a fault or a toxic, the control API, or its stop.
    Proxy = 3,
}

impl EndedBy {
    /// From its number.
    pub(crate) fn from_number(number: u8) -> EndedBy {
        match number {
            1 => EndedBy::Client,
            2 => EndedBy::Server,
            3 => EndedBy::Proxy,
            _ => EndedBy::Nobody,
        }
    }
}

/// As files and events have it.
impl fmt::Display for EndedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EndedBy::Nobody => "nobody",
            EndedBy::Client => "client",
            EndedBy::Server => "server",
            EndedBy::Proxy => "proxy",
        })
    }
}

/// A Close frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedClose {
    /// Status code; 1005 if it had none.
    pub code: u16,
    /// Reason.
    pub reason: Box<str>,
}

/// What the proxy knows of one of the two sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideAccount {
    /// Bytes that it sent.
    pub bytes: u64,
    /// WebSocket frames that it sent, by opcode.
    pub frames: [u64; 16],
    /// Its first Close frame.
    pub close: Option<PassedClose>,
    /// Code of the first Close frame that the proxy sent on to the other side: that one's, or of one that a fault or the API put in its place.
    pub passed_code: Option<u16>,
    /// How it ended TCP, as the proxy read it.
    pub end: TcpEnd,
    /// How the proxy ended TCP with it.
    pub own_end: Option<End>,
    /// Its end came before the proxy's own.
    pub first: bool,
    /// What it sent was cut inside a frame.
    pub mid_frame: bool,
}

/// A connection that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionAccount {
    /// Which.
    pub connection: ProxiedId,
    /// From where it came.
    pub from: SocketAddr,
    /// Whose it was, where that can be told.
    pub client: Option<Arc<str>>,
    /// It asked for WebSocket.
    pub asked: bool,
    /// Status of the answer to its opening handshake; `None`: it asked for no WebSocket, or got no answer.
    pub status: Option<u16>,
    /// From its accept to the 101; `None`: it was never open.
    pub opened_after: Option<Duration>,
    /// From its accept to its end.
    pub lasted: Duration,
    /// Who began to end it.
    pub by: EndedBy,
    /// The client.
    pub near: SideAccount,
    /// The server.
    pub far: SideAccount,
}

impl ConnectionAccount {
    /// How it ended, in a word: `close` by a Close frame, else `rst` or `fin`, `timeout` where the kernel gave up, and `none` where it was
    /// never connected.
    pub fn how(&self) -> &'static str {
        let closed = self.near.close.is_some() || self.far.close.is_some();
        let ends = [self.near.end, self.far.end];
        let own = [self.near.own_end, self.far.own_end];
        match () {
            () if closed => "close",
            () if ends.contains(&TcpEnd::Rst) || own.contains(&Some(End::Rst)) => "rst",
            () if ends.contains(&TcpEnd::Timeout) => "timeout",
            () if ends.contains(&TcpEnd::Fin) || own.contains(&Some(End::Fin)) => "fin",
            () => "none",
        }
    }

    /// Whether the client closed it first, and as one that leaves: it is not expected back.
    pub fn client_leaves(&self) -> bool {
        let code = self.near.close.as_ref().map(|close| close.code);
        self.by == EndedBy::Client && code.is_some_and(|code| LEAVING.contains(&code))
    }

    /// As readers of the stream of events get it.
    pub(crate) fn json(&self) -> Value {
        json!({
            "client": self.from.to_string(),
            "identity": self.client.as_deref(),
            "by": self.by.to_string(),
            "how": self.how(),
            "status": self.status,
            "opened_after_us": self.opened_after.map(micros),
            "lasted_us": micros(self.lasted),
            "client_side": self.near.json(),
            "server_side": self.far.json(),
        })
    }
}

impl SideAccount {
    fn json(&self) -> Value {
        let mut json = json!({ "sent_bytes": self.bytes, "sent_frames": frames_json(&self.frames) });
        if let Some(close) = &self.close {
            (json["close_code"], json["close_reason"]) = (close.code.into(), (*close.reason).into());
        }
        if let Some(code) = self.passed_code.filter(|code| self.close.as_ref().is_none_or(|close| close.code != *code)) {
            json["passed_close_code"] = code.into();
        } else if self.close.is_some() && self.passed_code.is_none() {
            json["close_withheld"] = true.into();
        }
        if self.end != TcpEnd::None {
            json["end"] = self.end.to_string().into();
        }
        if let Some(own) = self.own_end {
            json["proxy_end"] = if own == End::Rst { "rst" } else { "fin" }.into();
        }
        if self.mid_frame {
            json["mid_frame"] = true.into();
        }
        json
    }
}

/// Names of opcodes (RFC 6455 §11.8); others stand as numbers.
const OPCODES: [(usize, &str); 6] = [(0, "continuation"), (1, "text"), (2, "binary"), (8, "close"), (9, "ping"), (10, "pong")];

/// The name of an opcode.
pub(crate) fn opcode_name(opcode: usize) -> String {
    OPCODES.iter().find(|(of, _)| *of == opcode).map_or_else(|| opcode.to_string(), |(_, name)| (*name).to_owned())
}

/// Frames by the names of their opcodes; those that did not come are absent.
pub(crate) fn frames_json(frames: &[u64; 16]) -> Value {
    let came = frames.iter().enumerate().filter(|(_, count)| **count > 0);
    came.map(|(opcode, count)| (opcode_name(opcode), (*count).into())).collect::<Map<_, _>>().into()
}
