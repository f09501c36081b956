//! The list of fault kinds, what they ask of a connection, an attempt or a process, and how several combine.
//!
//! A kind is one documented [`Row`] beside its siblings in the file of its mechanism. Its `effect` turns parameters into an
//! [`Effect`]: data without socket, clock or random source, which `net::link`, `net::tap`, `ws` and `engine` carry out. None of
//! those names a kind.

mod attempt;
mod closing;
mod frames;
mod handshake;
mod limits;
mod path;
mod process;
pub mod shape;
mod transport;

pub use attempt::{Answer, Ask, OnAttempt, OnListener, Shedding};

use crate::units::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Who carries a fault out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The simulated clients.
    Client,
    /// The embedded server, or the process of a target that we own.
    Server,
    /// The proxy between them.
    Proxy,
}

/// Where in the stack a fault acts; `closestorm faults` lists kinds by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// Connecting and the opening handshake.
    Handshake,
    /// The TCP connection of an open session.
    Transport,
    /// Single frames.
    Frames,
    /// The closing handshake.
    Closing,
    /// Server processes and fleets, and the machines of clients.
    Process,
}

/// How a kind relates to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Acts once at its firing; `for` is an error.
    Instant,
    /// Holds from its firing until reverted.
    Holding,
    /// Holds, and selects attempts that begin while it is active.
    Attempts,
    /// Holds on the listening sockets of embedded servers.
    Listener,
    /// Acts on server processes.
    Process {
        /// `for` reverts it.
        holds: bool,
    },
}

/// What a parameter's value looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// `"250ms"`.
    Duration,
    /// `"4KiB"`, at most this many bytes; `u64::MAX`: no bound.
    Bytes {
        /// Greatest.
        max: u64,
    },
    /// A whole number in these bounds, inclusive.
    Whole {
        /// Least.
        min: u64,
        /// Greatest.
        max: u64,
    },
    /// `"5%"`, in these bounds as shares, inclusive.
    Share {
        /// Least.
        min: f64,
        /// Greatest.
        max: f64,
    },
    /// Text of at most this many bytes.
    Text {
        /// Bound in bytes.
        max: usize,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// Bytes that a connection holds in memory before they go out: larger ones would end the process before the connection.
const HELD: Shape = Shape::Bytes { max: 256 << 20 };
/// Bytes that are small by nature: a part of an answer, a ping.
const SMALL: Shape = Shape::Bytes { max: 1 << 20 };
/// Bytes that are counted as they pass and never held.
const COUNTED: Shape = Shape::Bytes { max: 1 << 40 };
/// A number in a frame header, which may be any that fits.
const DECLARED: Shape = Shape::Bytes { max: u64::MAX };

/// A parameter of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// As written in a scenario, without unit suffix.
    pub name: &'static str,
    /// Shape and bounds.
    pub shape: Shape,
    /// As it would be written; `None`: absent unless given.
    pub default: Option<&'static str>,
    /// What it does; one sentence.
    pub doc: &'static str,
}

/// One kind of fault: all that is known about it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// As written in a scenario.
    pub kind: &'static str,
    /// Where it acts.
    pub layer: Layer,
    /// Who can carry it out today.
    pub sides: &'static [Side],
    /// How it relates to time.
    pub form: Form,
    /// In the order in which they are listed.
    pub params: &'static [Param],
    /// What it does on the wire; one line.
    pub summary: &'static str,
    /// What a healthy peer reports, and what it puts on the wire.
    pub expect: &'static str,
    /// RFC section or measurement.
    pub source: &'static str,
    /// Parameters → effect. May rely on `params` being checked and defaults filled in.
    pub effect: fn(&Values) -> Effect,
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// Of [`Shape::Duration`].
    Duration(Duration),
    /// Of [`Shape::Bytes`].
    Bytes(Bytes),
    /// Of [`Shape::Whole`].
    Whole(u64),
    /// Of [`Shape::Share`].
    Share(f64),
    /// Of [`Shape::Text`] and [`Shape::Choice`].
    Text(String),
}

/// The parameters of an injection by name, checked and with defaults filled in; a parameter without default may be absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Values(pub BTreeMap<String, Value>);

impl Values {
    /// A duration; `None` where absent.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        match self.0.get(name) {
            Some(Value::Duration(duration)) => Some(*duration),
            _ => None,
        }
    }

    /// A number of bytes; `None` where absent.
    pub fn bytes(&self, name: &str) -> Option<u64> {
        match self.0.get(name) {
            Some(Value::Bytes(bytes)) => Some(bytes.0),
            _ => None,
        }
    }

    /// A whole number; `None` where absent.
    pub fn whole(&self, name: &str) -> Option<u64> {
        match self.0.get(name) {
            Some(Value::Whole(number)) => Some(*number),
            _ => None,
        }
    }

    /// A share, 0 to 1; `None` where absent.
    pub fn share(&self, name: &str) -> Option<f64> {
        match self.0.get(name) {
            Some(Value::Share(share)) => Some(*share),
            _ => None,
        }
    }

    /// A text or word; `None` where absent.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }
}

/// A kind with its parameters.
#[derive(Clone, Debug)]
pub struct Injection {
    /// The kind's row.
    pub row: &'static Row,
    /// Checked, defaults filled in.
    pub values: Values,
}

impl Injection {
    /// What it asks of `side`. Rows speak from the client's side; a parameter `dir` turns round on the server.
    pub fn effect(&self, side: Side) -> Effect {
        match (self.row.effect)(&self.values) {
            Effect::Connection { gate, steps } if side == Side::Server && self.values.text("dir").is_some() => {
                let gate = Gate { read: gate.write, write: gate.read, read_shape: gate.write_shape, write_shape: gate.read_shape, ..gate };
                Effect::Connection { gate, steps }
            }
            effect => effect,
        }
    }
}

/// What a fault asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
// One for each fault of a plan, not one for each connection.
#[expect(clippy::large_enum_variant)]
pub enum Effect {
    /// Of a connection: a gate that holds while the fault is active, and steps carried out in order at its firing.
    Connection {
        /// Holds until reverted.
        gate: Gate,
        /// Carried out once.
        steps: Vec<Step>,
    },
    /// Of both ends of a connection: the steps of each, begun at the same time.
    BothEnds {
        /// Of the simulated client.
        client: Vec<Step>,
        /// Of the embedded server.
        server: Vec<Step>,
    },
    /// Of each selected attempt.
    Attempt(OnAttempt),
    /// Of the listening sockets of embedded servers.
    Listener {
        /// What happens to them.
        on: OnListener,
        /// Which instance; `None`: all.
        instance: Option<u16>,
    },
    /// Of server processes.
    Process(OnProcess),
}

/// What happens to bytes in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Flow {
    /// They pass.
    #[default]
    Pass,
    /// They are not read, or not written: the kernel's buffers fill.
    Stop,
    /// They vanish, and so does the peer's FIN or RST: the path is dead.
    Discard,
}

/// What holds on a connection while a fault is active. The default lets everything pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Bytes from the peer.
    pub read: Flow,
    /// Bytes to the peer.
    pub write: Flow,
    /// `SO_RCVBUF` set when the fault becomes active, so that a stopped reader shows sooner.
    pub receive_buffer: Option<u32>,
    /// What the path does to bytes from the peer.
    pub read_shape: shape::Shape,
    /// What the path does to bytes to the peer.
    pub write_shape: shape::Shape,
    /// What the connection has enough of.
    pub enough: Vec<Enough>,
    /// Outgoing pongs vanish.
    pub drop_pongs: bool,
    /// The pong comes this long after the ping.
    pub pong_delay: Duration,
    /// The pong does not carry what the ping carried.
    pub wrong_pongs: bool,
    /// Pings that nobody needs.
    pub ping_flood: Vec<Flood>,
    /// The machine is suspended: its timers stand still while the fault is active.
    pub asleep: bool,
    /// The Close frame in answer to the peer's.
    pub close_ack: CloseAck,
    /// TCP stays open this long after the closing handshake.
    pub hold_tcp: Duration,
    /// The connection is reset when the fault is reverted: a path that lost its state answers RST.
    pub reset_on_revert: bool,
}

/// Pings at a steady rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flood {
    /// So many a second, due at equal gaps from the injection on; not 0.
    pub per_s: u32,
    /// Payload of each, in bytes.
    pub bytes: u64,
}

/// When a connection has had enough, and what happens then. The first of several limits counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Enough {
    /// Bytes in both directions since the injection.
    pub bytes: Option<u64>,
    /// Frames in both directions since the injection.
    pub frames: Option<u64>,
    /// Time since `since`.
    pub time: Option<Duration>,
    /// Up to this much is added to `time`, uniform, drawn for each connection.
    pub jitter: Duration,
    /// Where `time` counts from.
    pub since: Since,
    /// Time without a byte in either direction.
    pub idle: Option<Duration>,
    /// Only messages end idleness, pings and pongs do not.
    pub only_messages: bool,
    /// Chance that a message from the peer is one too many, 0 to 1, drawn for each; such a message is not answered.
    pub chance: f64,
    /// What happens then.
    pub how: HowEnough,
}

/// Where a time counts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Since {
    /// The injection.
    #[default]
    Injection,
    /// The opening of the connection.
    Open,
}

/// What happens to a connection that has had enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HowEnough {
    /// TCP ends.
    End(End),
    /// The closing handshake starts with this code.
    Close(u16),
    /// Both directions become a dead path.
    Silence,
}

impl Default for HowEnough {
    fn default() -> Self {
        HowEnough::End(End::Fin)
    }
}

/// What happens to the Close frame in answer to the peer's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CloseAck {
    /// Sent at once.
    #[default]
    Prompt,
    /// Sent after this time.
    Delayed(Duration),
    /// Sent at once with this code.
    Code(u16),
    /// Never sent.
    Never(End),
}

/// How a side ends TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// It does not.
    Hold,
    /// FIN, after draining what the peer sent, so that a FIN is a FIN.
    Fin,
    /// RST: zero linger, then closed.
    Rst,
    /// This side is gone and nothing on the wire tells: the socket stays open behind a dead path to the end of the run.
    Silent,
}

/// One step of an injection on a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// A Close frame, then the rest of the closing handshake under the usual deadlines. `None`: empty body.
    Close {
        /// Any number, allowed or not.
        code: Option<u16>,
        /// Bytes after the code.
        reason: String,
    },
    /// Frames, legal or not, in one write. One with the Close opcode starts the closing handshake.
    Frames(Vec<Frame>),
    /// Nothing for this long.
    Wait(Duration),
    /// FIN for our direction; reading goes on this long, zero: until the peer ends it.
    HalfClose {
        /// Then the rest is closed.
        keep_reading: Duration,
    },
    /// TCP ends.
    End(End),
    /// The path goes silent, and this client opens a new connection so much later, whatever its policy says.
    Switch {
        /// From the silence to the new attempt.
        gap: Duration,
    },
}

/// A frame as it goes on the wire, whether RFC 6455 allows it or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// FIN bit.
    pub fin: bool,
    /// RSV1 to RSV3, the highest first: 0 to 7.
    pub rsv: u8,
    /// 0 to 15.
    pub opcode: u8,
    /// Masked although the sender is a server, unmasked although it is a client (RFC 6455 §5.1).
    pub wrong_mask: bool,
    /// How the length is written.
    pub length: LengthForm,
    /// Length in the header; `None`: that of the payload.
    pub declared: Option<u64>,
    /// What is on the wire after the header.
    pub payload: Payload,
}

/// How a payload length is written in a frame header (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LengthForm {
    /// In the fewest bytes, as the RFC demands.
    #[default]
    Shortest,
    /// In 16 bits.
    Two,
    /// In 64 bits.
    Eight,
}

/// Payload of a [`Frame`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many bytes of `x`.
    Filled(u64),
}

impl Frame {
    /// A legal final frame.
    pub fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Frame {
        let payload = Payload::Bytes(payload.into());
        Frame { fin: true, rsv: 0, opcode, wrong_mask: false, length: LengthForm::Shortest, declared: None, payload }
    }

    /// A legal Close frame with any code; `None`: empty body.
    pub fn close(code: Option<u16>, reason: &[u8]) -> Frame {
        Frame::new(CLOSE, code.map(|code| [&code.to_be_bytes(), reason].concat()).unwrap_or_default())
    }

    /// Status code in the body; `None` for an empty body or a body of one byte.
    pub fn close_code(&self) -> Option<u16> {
        match &self.payload {
            Payload::Bytes(bytes) => Some(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?])),
            Payload::Filled(_) => None,
        }
    }
}

/// Opcodes (RFC 6455 §11.8).
pub const CONTINUATION: u8 = 0x0;
/// Text frame.
pub const TEXT: u8 = 0x1;
/// Close frame.
pub const CLOSE: u8 = 0x8;
/// Ping frame.
pub const PING: u8 = 0x9;
/// Pong frame.
pub const PONG: u8 = 0xa;

/// What happens to server processes. `instance`: only this one; `None`: all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OnProcess {
    /// SIGKILL; the new process starts `down` later.
    Crash {
        /// From SIGKILL to the new process being started.
        down: Duration,
        /// Which.
        instance: Option<u16>,
    },
    /// The embedded server closes each connection with `code` over `spread`, waits up to `grace`, exits; a command gets its stop
    /// signal and, after `grace`, SIGKILL.
    Graceful {
        /// Status code of the Close frames.
        code: u16,
        /// Reason of the Close frames.
        reason: String,
        /// Longest wait for acknowledgements.
        grace: Duration,
        /// Time over which the Close frames are sent.
        spread: Duration,
        /// From the exit to the new process being started.
        down: Duration,
        /// Which.
        instance: Option<u16>,
    },
    /// Each instance in turn, `interval` apart.
    Rolling {
        /// Between the starts of two restarts.
        interval: Duration,
        /// What happens to each.
        each: Box<OnProcess>,
    },
    /// SIGSTOP, and SIGCONT when reverted.
    Pause {
        /// Which.
        instance: Option<u16>,
    },
}

/// All kinds, by layer, in the order of the catalogue.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    [handshake::ROWS, transport::ROWS, path::ROWS, limits::ROWS, frames::ROWS, closing::ROWS, process::ROWS].into_iter().flatten()
}

/// The row of a kind.
pub fn row(kind: &str) -> Option<&'static Row> {
    rows().find(|row| row.kind == kind)
}

impl Gate {
    /// Whether everything passes.
    pub fn is_open(&self) -> bool {
        *self == Gate::default()
    }

    /// Whether pongs go out at another time or with another payload than the peer asked for.
    pub fn alters_pongs(&self) -> bool {
        self.wrong_pongs || !self.pong_delay.is_zero()
    }

    /// Both gates at once: delays add, the stricter of two flows holds, an ack that one drops is dropped.
    pub fn and(&self, other: &Gate) -> Gate {
        Gate {
            read: self.read.max(other.read),
            write: self.write.max(other.write),
            receive_buffer: match (self.receive_buffer, other.receive_buffer) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
            read_shape: self.read_shape.and(&other.read_shape),
            write_shape: self.write_shape.and(&other.write_shape),
            enough: self.enough.iter().chain(&other.enough).cloned().collect(),
            drop_pongs: self.drop_pongs || other.drop_pongs,
            pong_delay: self.pong_delay + other.pong_delay,
            wrong_pongs: self.wrong_pongs || other.wrong_pongs,
            ping_flood: self.ping_flood.iter().chain(&other.ping_flood).cloned().collect(),
            asleep: self.asleep || other.asleep,
            close_ack: match (self.close_ack, other.close_ack) {
                (never @ CloseAck::Never(_), _) | (_, never @ CloseAck::Never(_)) => never,
                (CloseAck::Delayed(a), CloseAck::Delayed(b)) => CloseAck::Delayed(a + b),
                (CloseAck::Prompt, ack) | (ack, CloseAck::Prompt) => ack,
                // The first in scenario order wins.
                (first, _) => first,
            },
            hold_tcp: self.hold_tcp + other.hold_tcp,
            reset_on_revert: self.reset_on_revert || other.reset_on_revert,
        }
    }
}

/// The end that a `then` or `end` parameter names.
fn end(word: Option<&str>) -> End {
    match word {
        Some("rst") => End::Rst,
        Some("silent") => End::Silent,
        Some("hold") => End::Hold,
        _ => End::Fin,
    }
}

fn whole(values: &Values, name: &str) -> Option<u16> {
    values.whole(name).and_then(|number| u16::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_unique_and_documented() {
        let mut kinds: Vec<_> = rows().map(|row| row.kind).collect();
        kinds.sort_unstable();
        kinds.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1]));
        for row in rows() {
            assert!(!row.sides.is_empty() && !row.summary.is_empty() && !row.expect.is_empty() && !row.source.is_empty(), "{}", row.kind);
        }
    }

    #[test]
    fn delays_add_and_the_stricter_flow_holds() {
        let freeze = Gate { read: Flow::Stop, write: Flow::Stop, ..Gate::default() };
        let late = Gate { close_ack: CloseAck::Delayed(Duration::from_secs(1)), write: Flow::Discard, ..Gate::default() };
        let both = freeze.and(&late).and(&late);
        assert_eq!(both.read, Flow::Stop);
        assert_eq!(both.write, Flow::Discard);
        assert_eq!(both.close_ack, CloseAck::Delayed(Duration::from_secs(2)));
        assert_eq!(freeze.and(&Gate::default()), freeze);
        let pongs = Gate { pong_delay: Duration::from_secs(1), ..Gate::default() };
        let wrong = Gate { wrong_pongs: true, ping_flood: vec![Flood { per_s: 10, bytes: 4 }], ..pongs.clone() };
        let all = pongs.and(&wrong).and(&wrong);
        assert_eq!((all.pong_delay, all.wrong_pongs, all.ping_flood.len()), (Duration::from_secs(3), true, 2));
        assert!(pongs.alters_pongs() && wrong.alters_pongs() && !freeze.alters_pongs());
    }
}
