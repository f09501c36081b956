//! What an injection does on a connection once, step by step: data, which `ws::session` carries out.

use super::end::End;
use super::frame::Frame;
use crate::units::print_duration;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One step of an injection on a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum InjectionStep {
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

impl InjectionStep {
    /// Whether the first of several acts at the firing, and not after a wait.
    pub fn act_at_once(steps: &[InjectionStep]) -> bool {
        !matches!(steps.first(), None | Some(InjectionStep::Wait(_)))
    }

    /// Whether it ends the connection, or begins to.
    pub fn ends(&self) -> bool {
        match self {
            InjectionStep::Close { .. } | InjectionStep::HalfClose { .. } | InjectionStep::End(_) | InjectionStep::Switch { .. } => true,
            InjectionStep::Frames(_) | InjectionStep::Wait(_) => false,
        }
    }

    /// Whether the socket stays open behind it, with nobody at it.
    pub fn leaves_socket(&self) -> bool {
        matches!(self, InjectionStep::Switch { .. } | InjectionStep::End(End::Silent))
    }

    /// Whether it ends TCP so that the peer learns of it.
    pub fn cuts(&self) -> bool {
        matches!(self, InjectionStep::End(End::Fin | End::Rst))
    }

    /// What it puts on the wire: frames, or what there is in their place, in words.
    pub fn on_the_wire(&self) -> Result<Vec<Frame>, String> {
        match self {
            InjectionStep::Close { code, reason } => Ok(vec![Frame::close(*code, reason.as_bytes())]),
            InjectionStep::Frames(frames) => Ok(frames.clone()),
            InjectionStep::Wait(time) => Err(format!("nothing for {}", print_duration(*time))),
            InjectionStep::HalfClose { .. } => Err("FIN for its own direction".to_owned()),
            InjectionStep::End(End::Fin) => Err("FIN".to_owned()),
            InjectionStep::End(End::Rst) => Err("RST".to_owned()),
            InjectionStep::End(End::Hold | End::Silent) | InjectionStep::Switch { .. } => Err("nothing more".to_owned()),
        }
    }
}
