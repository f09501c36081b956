//! When a connection has had enough, and what happens then: data, which `ws::session` watches.

use super::end::End;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When a connection has had enough, and what happens then. The first of several limits counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EffectLimit {
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
