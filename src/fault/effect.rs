//! What a fault asks of a connection, an attempt or a process, as data, and how several faults combine.

use super::end::End;
use super::frame::Frame;
use super::shape;
use super::{Meddle, OnAttempt, OnListener};
use serde::{Deserialize, Serialize};
use std::time::Duration;

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
    /// What happens to whole frames from the peer.
    pub read_frames: Vec<Meddle>,
    /// What happens to whole frames to the peer.
    pub write_frames: Vec<Meddle>,
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
            read_frames: [&self.read_frames[..], &other.read_frames].concat(),
            write_frames: [&self.write_frames[..], &other.write_frames].concat(),
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

#[cfg(test)]
mod tests {
    use super::*;

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
