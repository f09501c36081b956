//! What a fault asks of a connection, an attempt or a process, as data, and what the rest of the program needs to know of it.
//!
//! Only whoever carries an effect out looks into it. Selection, accounts, limits and texts ask the questions below, which are answered by
//! the parts of the effect, each in its file.

use super::attempt::{OnAttempt, OnListener};
use super::gate::ConnectionEffects;
use super::on_process::OnProcess;
use super::step::InjectionStep;
use serde::{Deserialize, Serialize};

/// What a fault asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
// One for each fault of a plan, not one for each connection.
#[expect(clippy::large_enum_variant)]
pub enum Effect {
    /// Of a connection: a gate that holds while the fault is active, and steps carried out in order at its firing.
    Connection {
        /// Holds until reverted.
        gate: ConnectionEffects,
        /// Carried out once.
        steps: Vec<InjectionStep>,
    },
    /// Of both ends of a connection: the steps of each, begun at the same time.
    BothEnds {
        /// Of the simulated client.
        client: Vec<InjectionStep>,
        /// Of the embedded server.
        server: Vec<InjectionStep>,
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

/// When an effect acts on what was selected.
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

/// What may be left of a connection that its session has given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leaves {
    /// The side that carries it out leaves its socket open, in any case.
    pub gone: bool,
    /// The path is dead: whoever notices leaves a socket.
    pub dead: bool,
    /// The side that carries it out no longer reads, or no longer writes.
    pub stopped: bool,
}

impl Effect {
    /// When it acts on those that are there when it fires.
    pub fn acts(&self) -> Acts {
        match self {
            Effect::Process(_) => Acts::Process,
            Effect::Listener { .. } => Acts::Listener,
            Effect::Attempt(_) => Acts::Later,
            Effect::BothEnds { .. } => Acts::AtOnce,
            Effect::Connection { gate, steps } if InjectionStep::act_at_once(steps) || gate.acts_at_once() => Acts::AtOnce,
            Effect::Connection { .. } => Acts::Perhaps,
        }
    }

    /// Whether it ends connections by what it does once; a gate may silence them or end them later.
    pub fn ends(&self) -> bool {
        match self {
            Effect::Process(_) | Effect::BothEnds { .. } => true,
            Effect::Connection { steps, .. } => steps.iter().any(InjectionStep::ends),
            Effect::Attempt(_) | Effect::Listener { .. } => false,
        }
    }

    /// What it may leave of connections.
    pub fn leaves(&self) -> Leaves {
        let Effect::Connection { gate, steps } = self else { return Leaves::default() };
        Leaves { gone: steps.iter().any(InjectionStep::leaves_socket), dead: gate.may_die(), stopped: gate.stops() }
    }

    /// Whether it is about a process of the operating system, so that a server in memory cannot carry it out.
    pub fn needs_process(&self) -> bool {
        matches!(self, Effect::Listener { on, .. } if on.needs_process())
    }

    /// Whether it asks a process to stop by itself, which a program that is not embedded does as it likes.
    pub fn asks_to_stop(&self) -> bool {
        matches!(self, Effect::Process(on) if on.asks_to_stop())
    }

    /// Whether it kills server processes, without a word of theirs.
    pub fn crashes(&self) -> bool {
        matches!(self, Effect::Process(on) if on.crashes())
    }

    /// The same on the other side of the connection: what came in goes out.
    pub(super) fn turned(self) -> Effect {
        match self {
            Effect::Connection { gate, steps } => Effect::Connection { gate: gate.turned(), steps },
            other => other,
        }
    }
}
