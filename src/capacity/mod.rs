//! How much is enough: what `closestorm capacity` decides and computes, without a run, a socket or a file.
//!
//! `vary` is the parameter that is varied, `search` picks the next value from what was observed so far, `knee` and `usl` read the
//! curve that comes of it. The doing is in `cmd`, what is written in `results::capacity`.

pub mod knee;
pub mod search;
pub mod usl;
pub mod vary;

pub use search::{Ended, Next, Observation, Range, RunOutcome, SearchFound, Settings, Why};
pub use vary::{Unit, Vary};
