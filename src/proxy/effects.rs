//! What faults ask of a connection through the proxy, as data: how each direction is shaped, limited and ended.

use crate::fault::shape::PathShape;
use crate::fault::{ConnectionEffects, End, Flow};
use std::time::Duration;
use tokio::time::Instant;

/// What holds for the bytes of one direction. The default lets everything pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DirectionEffects {
    /// Whether bytes pass.
    pub(crate) flow: Flow,
    /// How late, slow or cut they are.
    pub(crate) shape: PathShape,
    /// FIN waits this long.
    pub(crate) end_delay: Duration,
    /// The connection ends when this many bytes of the direction have passed, counted from its opening; `None`: no limit.
    pub(crate) limit: Option<u64>,
}

/// What holds for a connection. The default lets everything pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RelayEffects {
    /// From the client to the upstream.
    pub(crate) up: DirectionEffects,
    /// From the upstream to the client.
    pub(crate) down: DirectionEffects,
    /// When the connection ends, and how.
    pub(crate) end: Option<(Instant, End)>,
}

impl DirectionEffects {
    /// And this: delays add, the stricter of two limits holds.
    pub(crate) fn add(&mut self, other: DirectionEffects) {
        self.flow = self.flow.max(other.flow);
        self.shape = self.shape.and(&other.shape);
        self.end_delay += other.end_delay;
        self.limit = [self.limit, other.limit].into_iter().flatten().min();
    }

    /// The gate of the link on which the direction is written.
    pub(crate) fn gate(&self) -> ConnectionEffects {
        ConnectionEffects { write: self.flow, write_shape: self.shape.clone(), ..ConnectionEffects::default() }
    }
}
