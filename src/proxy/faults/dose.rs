//! One firing of a fault as it reaches a connection: data, and who is told what became of it.

use crate::fault::{CloseAck, ConnectionEffects, HowEnough, InjectionStep, OnAttempt, Side};
use crate::plan::Firing;
use crate::proxy::account::ProxiedId;
use crate::proxy::event::ProxyEvent;
use crate::proxy::witnesses::ProxyEvents;
use crate::seed::Stream;
use std::sync::Arc;

/// Which firing of which fault, by name.
#[derive(Clone, Debug)]
pub(crate) struct FaultStamp {
    pub(crate) firing: Firing,
    /// Name of the fault.
    pub(crate) fault: Arc<str>,
    pub(crate) events: ProxyEvents,
}

impl FaultStamp {
    /// It acts on this connection, or is about to.
    pub(crate) fn acts(&self, connection: &ProxiedId) {
        self.events.tell(ProxyEvent::FaultActs { fault: self.fault.clone(), firing: self.firing.number, connection: connection.clone() });
    }

    /// It does not act on this connection.
    pub(crate) fn not_carried_out(&self, connection: &ProxiedId, why: impl Into<String>) {
        self.events.tell(ProxyEvent::FaultNotCarriedOut {
            fault: self.fault.clone(),
            firing: self.firing.number,
            connection: Some(connection.clone()),
            why: why.into(),
        });
    }
}

/// What a firing does to a connection.
#[derive(Clone, Debug)]
pub(crate) struct ProxyDose {
    pub(crate) stamp: FaultStamp,
    /// As whom the proxy acts: as the server it acts towards the client, as the client towards the upstream.
    pub(crate) side: Side,
    /// Holds until reverted.
    pub(crate) gate: ConnectionEffects,
    /// Carried out once.
    pub(crate) steps: Vec<InjectionStep>,
}

impl ProxyDose {
    /// Whether it can act only where frames can be read and written.
    pub(crate) fn needs_frames(&self) -> bool {
        let gate = &self.gate;
        let enough = gate.enough.iter().any(|enough| {
            enough.frames.is_some() || enough.only_messages || enough.chance > 0.0 || matches!(enough.how, HowEnough::Close(_))
        });
        let frames = gate.meddles() || gate.drop_pongs || gate.alters_pongs() || !gate.ping_flood.is_empty();
        let closing = gate.close_ack != CloseAck::Prompt || !gate.hold_tcp.is_zero();
        let steps = |step: &InjectionStep| matches!(step, InjectionStep::Close { .. } | InjectionStep::Frames(_));
        enough || frames || closing || self.steps.iter().any(steps)
    }

    /// Whether it acts as soon as it reaches a connection, and not when something more happens there.
    pub(crate) fn acts_at_once(&self) -> bool {
        InjectionStep::act_at_once(&self.steps) || self.gate.acts_at_once()
    }
}

/// What a firing does to the opening handshake of a connection.
#[derive(Clone, Debug)]
pub(crate) struct AttemptDose {
    pub(crate) stamp: FaultStamp,
    pub(crate) effect: OnAttempt,
    /// What its draws come from.
    pub(crate) random: Stream,
}
