//! What holds on a connection while a fault is active: data, which `transport::link`, `ws::frame_tap` and `ws::session` carry out.
//!
//! How several combine, how one turns round for the other side, and what the rest of the program asks of one stand here too: a new field
//! needs no further place.

use super::end::End;
use super::enough::{EffectLimit, HowEnough};
use super::meddle::Meddle;
use super::shape;
use serde::{Deserialize, Serialize};
use std::time::Duration;

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
pub struct ConnectionEffects {
    /// Bytes from the peer.
    pub read: Flow,
    /// Bytes to the peer.
    pub write: Flow,
    /// `SO_RCVBUF` set when the fault becomes active, so that a stopped reader shows sooner.
    pub receive_buffer: Option<u32>,
    /// What the path does to bytes from the peer.
    pub read_shape: shape::PathShape,
    /// What the path does to bytes to the peer.
    pub write_shape: shape::PathShape,
    /// What happens to whole frames from the peer.
    pub read_frames: Vec<Meddle>,
    /// What happens to whole frames to the peer.
    pub write_frames: Vec<Meddle>,
    /// What the connection has enough of.
    pub enough: Vec<EffectLimit>,
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

impl ConnectionEffects {
    /// Whether everything passes.
    pub fn is_open(&self) -> bool {
        *self == ConnectionEffects::default()
    }

    /// Whether pongs go out at another time or with another payload than the peer asked for.
    pub fn alters_pongs(&self) -> bool {
        self.wrong_pongs || !self.pong_delay.is_zero()
    }

    /// Whether it changes what passes from the moment on at which it is set, not only when something more happens.
    pub fn acts_at_once(&self) -> bool {
        let flows = self.read != Flow::Pass || self.write != Flow::Pass;
        let shapes = !self.read_shape.is_open() || !self.write_shape.is_open();
        flows || shapes || self.meddles() || !self.ping_flood.is_empty()
    }

    /// Whether something happens to whole frames.
    pub fn meddles(&self) -> bool {
        !self.read_frames.is_empty() || !self.write_frames.is_empty()
    }

    /// Whether bytes on the path may be damaged.
    pub fn damages_bytes(&self) -> bool {
        self.read_shape.corrupt_per_mb > 0.0 || self.write_shape.corrupt_per_mb > 0.0
    }

    /// Whether bytes vanish in one direction or both.
    pub fn discards(&self) -> bool {
        self.read == Flow::Discard || self.write == Flow::Discard
    }

    /// Whether bytes stand in one direction or both.
    pub fn stops(&self) -> bool {
        self.read == Flow::Stop || self.write == Flow::Stop
    }

    /// Whether the process hangs: it neither reads nor writes, and its timers stand still.
    pub fn hangs(&self) -> bool {
        self.read == Flow::Stop && self.write == Flow::Stop
    }

    /// Whether the path is dead, or becomes so when the connection has had enough.
    pub fn may_die(&self) -> bool {
        self.discards() || self.enough.iter().any(|enough| enough.how == HowEnough::Silence)
    }

    /// Whether nothing passes in one direction or both, and that is all.
    pub fn is_silence(&self) -> bool {
        let rest = ConnectionEffects { read: Flow::Pass, write: Flow::Pass, receive_buffer: None, reset_on_revert: false, ..self.clone() };
        rest.is_open() && (self.read != Flow::Pass || self.write != Flow::Pass)
    }

    /// The same seen from the other side: what came in goes out.
    pub(super) fn turned(self) -> ConnectionEffects {
        ConnectionEffects {
            read: self.write,
            write: self.read,
            read_shape: self.write_shape,
            write_shape: self.read_shape,
            read_frames: self.write_frames,
            write_frames: self.read_frames,
            ..self
        }
    }

    /// Both gates at once: delays add, the stricter of two flows holds, an ack that one drops is dropped.
    pub fn and(&self, other: &ConnectionEffects) -> ConnectionEffects {
        ConnectionEffects {
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
        let freeze = ConnectionEffects { read: Flow::Stop, write: Flow::Stop, ..ConnectionEffects::default() };
        let late = ConnectionEffects {
            close_ack: CloseAck::Delayed(Duration::from_secs(1)),
            write: Flow::Discard,
            ..ConnectionEffects::default()
        };
        let both = freeze.and(&late).and(&late);
        assert_eq!(both.read, Flow::Stop);
        assert_eq!(both.write, Flow::Discard);
        assert_eq!(both.close_ack, CloseAck::Delayed(Duration::from_secs(2)));
        assert_eq!(freeze.and(&ConnectionEffects::default()), freeze);
        let pongs = ConnectionEffects { pong_delay: Duration::from_secs(1), ..ConnectionEffects::default() };
        let wrong = ConnectionEffects { wrong_pongs: true, ping_flood: vec![Flood { per_s: 10, bytes: 4 }], ..pongs.clone() };
        let all = pongs.and(&wrong).and(&wrong);
        assert_eq!((all.pong_delay, all.wrong_pongs, all.ping_flood.len()), (Duration::from_secs(3), true, 2));
        assert!(!pongs.acts_at_once() && wrong.acts_at_once() && freeze.hangs() && !late.hangs() && late.discards());
        assert!(late.clone().turned().read == Flow::Discard && freeze.is_silence() && !late.is_silence());
        assert!(pongs.alters_pongs() && wrong.alters_pongs() && !freeze.alters_pongs());
    }
}
