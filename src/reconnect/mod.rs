//! Reconnect behaviour of real client libraries as one parameter model: a pure function that engine and simulator both call.
//!
//! [`Policy`] holds the parameters, [`History`] what one client's policy remembers, [`Policy::decide`] says what the client does
//! after a [`Loss`]. Nothing here reads a clock, sleeps or owns a random source: offsets and draws are handed in. `presets` carries
//! the behaviour of named library versions with sources and test vectors.
//!
//! ```
//! use closestorm::reconnect::{Decision, Loss, Policy};
//! use std::time::Duration;
//!
//! let policy = Policy::preset("phoenix")?;
//! let mut random = || 0.5; // a client's own stream in a run
//! let mut history = policy.start(&mut random);
//! history.attempt_started(Duration::ZERO);
//! history.opened(Duration::from_millis(3));
//! let lost = Loss::Closed { code: 1006 };
//! let decision = policy.decide(&mut history, &lost, Duration::from_secs(10), &mut random);
//! assert_eq!(decision, Decision::Wait(Duration::from_millis(10)));
//! # Ok::<(), closestorm::reconnect::UnknownPreset>(())
//! ```

mod codes;
mod decide;
mod delay;
mod describe;
mod history;
mod law;
mod policy;
mod poll;
mod presets;
mod settings;

#[cfg(test)]
mod behaviour;

pub use codes::Codes;
pub use history::History;
pub use law::LawPiece;
pub use policy::{
    Anchor, CapStage, ConnectTimeout, Driver, Jitter, LibraryHeartbeat, NextAddress, Phase2, Policy, Polling, Reset, ScheduleKind,
    ServesWhen, TableEnd, WholeDraw,
};
pub use presets::{Facts, Preset, UnknownPreset, VectorFrom, Verified, find, names, preset_values, presets};
pub use settings::{SETTINGS, Setting, SettingError, SettingRow, SettingShape};

use crate::event::GiveUp;
use std::time::Duration;

/// A random source: uniform in `[0, 1)` at each call.
pub type Random<'a> = &'a mut dyn FnMut() -> f64;

/// What happened, as far as a policy cares.
#[derive(Clone, Debug, PartialEq)]
pub enum Loss {
    /// An open connection ended with this reported code.
    Closed {
        /// As reported to the client's user.
        code: u16,
    },
    /// ECONNREFUSED, reset, garbage, TLS: the attempt failed.
    Failed,
    /// A deadline of the attempt passed.
    TimedOut,
    /// An HTTP answer other than 101.
    Rejected {
        /// HTTP status.
        status: u16,
    },
}

/// What the client does now.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Wait, then attempt. Exact; callers round up to whole milliseconds with [`whole_ms`].
    Wait(Duration),
    /// Do not come back.
    GiveUp(GiveUp),
}

/// Rounds up to whole milliseconds, the grain of timers.
pub fn whole_ms(exact: Duration) -> Duration {
    // In 64 bits: a division of 128 costs more than a whole decision.
    let ms = exact.as_secs().saturating_mul(1000).saturating_add(u64::from(exact.subsec_nanos().div_ceil(1_000_000)));
    Duration::from_millis(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_milliseconds_are_rounded_up() {
        for (nanos, ms) in [(0, 0), (1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2), (4_191_200_000, 4192)] {
            assert_eq!(whole_ms(Duration::from_nanos(nanos)), Duration::from_millis(ms), "{nanos}");
        }
        assert_eq!(whole_ms(Duration::MAX), Duration::from_millis(u64::MAX));
    }
}
