//! When a fault acts on what it has selected.

use crate::fault::{Effect, Flow, Gate, Step};
use crate::plan::Fault;

/// When a fault acts on what it has selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acts {
    /// At once.
    AtOnce,
    /// When something more happens on the connection, as a ping or a Close frame.
    Perhaps,
    /// On attempts or connections that begin later: there may be none.
    Later,
    /// On listening sockets.
    Listener,
    /// On processes: what fails there is told by itself.
    Process,
}

impl Acts {
    /// Of a fault of a plan.
    pub fn of(fault: &Fault) -> Acts {
        match fault.inject.effect(fault.side) {
            Effect::Process(_) => Acts::Process,
            Effect::Listener { .. } => Acts::Listener,
            Effect::Attempt(_) => Acts::Later,
            _ if fault.new => Acts::Later,
            Effect::BothEnds { .. } => Acts::AtOnce,
            Effect::Connection { gate, steps } => {
                let now = !matches!(steps.first(), None | Some(Step::Wait(_))) || flows(&gate);
                if now { Acts::AtOnce } else { Acts::Perhaps }
            }
        }
    }
}

/// Whether a gate changes what passes from the moment on at which it is set.
fn flows(gate: &Gate) -> bool {
    gate.read != Flow::Pass || gate.write != Flow::Pass || !gate.read_shape.is_open() || !gate.write_shape.is_open()
}
