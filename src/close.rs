//! How connections end, in the terms of RFC 6455 and TCP: status codes, and [`Ending`], one side's account of an ended connection.
//!
//! Nothing here touches bytes: `ws::frame_tap` sees them and `ws` fills these types. `event` carries them to the metrics.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Normal closure (RFC 6455 §7.4.1).
pub const NORMAL: u16 = 1000;
/// Going away.
pub const GOING_AWAY: u16 = 1001;
/// Protocol error: what a healthy peer sends in answer to an invalid frame or status code.
pub const PROTOCOL_ERROR: u16 = 1002;
/// No status code: stands for an empty Close frame; never sent.
pub const NO_STATUS: u16 = 1005;
/// Abnormal closure: no Close frame was received; never sent.
pub const ABNORMAL: u16 = 1006;
/// Payload that is not what its type says, as text that is not UTF-8.
pub const INVALID_PAYLOAD: u16 = 1007;
/// Message too big.
pub const TOO_BIG: u16 = 1009;

/// Whether `code` may stand in a Close frame: 1000–1003, 1007–1014 (IANA registry) and 3000–4999 (RFC 6455 §7.4.2).
pub fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The IANA name of a status code, or the meaning of its range.
pub fn name(code: u16) -> &'static str {
    match code {
        1000 => "normal closure",
        1001 => "going away",
        1002 => "protocol error",
        1003 => "unsupported data",
        1005 => "no status received",
        1006 => "abnormal closure",
        1007 => "invalid frame payload data",
        1008 => "policy violation",
        1009 => "message too big",
        1010 => "mandatory extension",
        1011 => "internal error",
        1012 => "service restart",
        1013 => "try again later",
        1014 => "bad gateway",
        1015 => "TLS handshake",
        3000 => "unauthorized",
        3003 => "forbidden",
        3008 => "timeout",
        3001..=3999 => "registered",
        4000..=4999 => "private use",
        u16::MAX => "other codes",
        _ => "not allowed",
    }
}

/// What the user of a healthy library is told (RFC 6455 §7.1.5), given the code of the first Close frame received.
///
/// `None` means no Close frame: 1006. `Some(1005)` stands for an empty Close frame. A code that may not be sent is a protocol
/// error: the library fails the connection and reports 1006.
pub fn reported(wire_received: Option<u16>) -> u16 {
    match wire_received {
        Some(NO_STATUS) => NO_STATUS,
        Some(code) if may_be_sent(code) => code,
        _ => ABNORMAL,
    }
}

/// Who started the ending: whose Close frame, FIN or RST came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Initiator {
    /// The client.
    Client,
    /// The server.
    Server,
    /// Nobody: a path or a deadline.
    None,
}

/// How the TCP connection ended, seen from one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TcpEnd {
    /// The peer's FIN was read.
    Fin,
    /// The peer's RST was read.
    Rst,
    /// The kernel gave up, or the peer's FIN did not come within the deadline.
    Timeout,
    /// This side ended it before hearing anything from the peer.
    Local,
    /// It has not ended.
    None,
}

/// How the TLS stream ended, seen from one side. TCP's end is another matter: [`TcpEnd`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsEnd {
    /// The peer's TLS said nothing before TCP ended, or before this side was done.
    None,
    /// The peer's `close_notify` came (RFC 8446 §6.1).
    CloseNotify,
    /// The peer's fatal alert came, by its number.
    Alert(u8),
    /// This side could not read what came, and sent a fatal alert with this number.
    Sent(u8),
}

/// Names of alerts that do not stand for a proper end (RFC 8446 §6, RFC 5246 §7.2).
const ALERTS: &[(u8, &str)] = &[
    (10, "unexpected_message"),
    (20, "bad_record_mac"),
    (21, "decryption_failed"),
    (22, "record_overflow"),
    (30, "decompression_failure"),
    (40, "handshake_failure"),
    (42, "bad_certificate"),
    (43, "unsupported_certificate"),
    (44, "certificate_revoked"),
    (45, "certificate_expired"),
    (46, "certificate_unknown"),
    (47, "illegal_parameter"),
    (48, "unknown_ca"),
    (49, "access_denied"),
    (50, "decode_error"),
    (51, "decrypt_error"),
    (70, "protocol_version"),
    (71, "insufficient_security"),
    (80, "internal_error"),
    (86, "inappropriate_fallback"),
    (90, "user_canceled"),
    (100, "no_renegotiation"),
    (109, "missing_extension"),
    (110, "unsupported_extension"),
    (112, "unrecognized_name"),
    (113, "bad_certificate_status_response"),
    (115, "unknown_psk_identity"),
    (116, "certificate_required"),
    (120, "no_application_protocol"),
];

/// What stands before the name of an alert that this side sent.
const SENT: &str = "sent:";

/// The RFC's name of an alert.
pub fn alert_name(number: u8) -> Option<&'static str> {
    ALERTS.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

impl TlsEnd {
    /// Whether an alert broke the stream off.
    pub fn is_fatal(self) -> bool {
        matches!(self, TlsEnd::Alert(_) | TlsEnd::Sent(_))
    }

    /// All that have a name, as written in files and expectations.
    pub fn named() -> impl Iterator<Item = TlsEnd> {
        let alerts = || ALERTS.iter().map(|(number, _)| *number);
        [TlsEnd::None, TlsEnd::CloseNotify].into_iter().chain(alerts().map(TlsEnd::Alert)).chain(alerts().map(TlsEnd::Sent))
    }
}

impl fmt::Display for TlsEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, number) = match self {
            TlsEnd::None => return f.write_str("none"),
            TlsEnd::CloseNotify => return f.write_str("close_notify"),
            TlsEnd::Alert(number) => ("", *number),
            TlsEnd::Sent(number) => (SENT, *number),
        };
        match alert_name(number) {
            Some(name) => write!(f, "{before}{name}"),
            None => write!(f, "{before}alert_{number}"),
        }
    }
}

/// A deadline that ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deadline {
    /// No pong within the heartbeat's timeout.
    Pong,
    /// A step of the dialogue was not met in its time; its number among all of the plan.
    Dialogue(u16),
}

/// A limit of memory that ended a connection, with status code 1009 from this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryLimit {
    /// A message was longer than `max_message`.
    MaxMessage,
    /// The memory for the messages of all connections was used up, and this one held most of it.
    Memory,
}

/// What [`MemoryLimit::Memory`] says of the run.
pub const NO_MEMORY: &str = "the memory for messages was used up, and the connection that held most of it was closed with 1009 (--memory)";

/// Why a connection ended: the first thing that made it end, as far as this side knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// An injected fault, by its index in the plan.
    Fault(u16),
    /// The peer, or the path.
    Remote,
    /// The client's own `stay` ran out.
    Stay,
    /// One of this side's deadlines.
    Deadline(Deadline),
    /// One of this side's limits of memory.
    Limit(MemoryLimit),
    /// What came for a step of the dialogue was wrong; its number among all of the plan.
    Dialogue(u16),
}

impl Cause {
    /// Whether the other side may know more of it: what it sent is the reason, and why it did is not known here.
    pub fn is_of_peer(self) -> bool {
        matches!(self, Cause::Remote | Cause::Limit(MemoryLimit::MaxMessage))
    }
}

/// One side's account of how its connection ended. Which fault it belongs to is not for one side to say: `metrics` does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ending {
    /// What made it end.
    pub cause: Cause,
    /// Who started it.
    pub initiator: Initiator,
    /// Status code of the first Close frame received as it stood on the wire; 1005 for an empty one, `None` for none.
    pub wire_received: Option<u16>,
    /// Status code of the Close frame sent as it stood on the wire; 1005 for an empty one, `None` for none.
    pub wire_sent: Option<u16>,
    /// How TCP ended.
    pub tcp_end: TcpEnd,
    /// How TLS ended; `None` on ws.
    #[serde(default)]
    pub tls_end: Option<TlsEnd>,
    /// The stream of received bytes was cut inside a frame, or inside a TLS record.
    pub mid_frame: bool,
    /// Close frames went both ways and then TCP was closed by FIN (RFC 6455 §7.1.4).
    pub clean: bool,
    /// What the user of this side's library is told.
    pub code: u16,
    /// Reason text that goes with `code`; empty where there is none.
    pub reason: String,
    /// Payload bytes received after the FIN of this side or after the first Close frame.
    pub bytes_after: u64,
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deadline::Pong => f.write_str("pong"),
            Deadline::Dialogue(step) => write!(f, "dialogue:{step}"),
        }
    }
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MemoryLimit::MaxMessage => "max_message",
            MemoryLimit::Memory => "memory",
        })
    }
}

impl fmt::Display for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Initiator::Client => "client",
            Initiator::Server => "server",
            Initiator::None => "none",
        })
    }
}

impl fmt::Display for TcpEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TcpEnd::Fin => "fin",
            TcpEnd::Rst => "rst",
            TcpEnd::Timeout => "timeout",
            TcpEnd::Local => "local",
            TcpEnd::None => "none",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reported_code_follows_the_rfc() {
        for (wire, told) in [
            (None, 1006),       // no Close frame
            (Some(1005), 1005), // empty Close frame
            (Some(1000), 1000),
            (Some(1014), 1014), // in the IANA registry, refused by some libraries
            (Some(4999), 4999),
            (Some(999), 1006), // not allowed: protocol error
            (Some(1006), 1006),
            (Some(1015), 1006),
            (Some(2999), 1006),
            (Some(5000), 1006),
        ] {
            assert_eq!(reported(wire), told, "{wire:?}");
        }
    }
}
