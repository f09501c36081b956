//! The server under test as processes and ports: starting, readiness, crash, pause, stop, and that nothing is left behind.
//!
//! Not here: what the embedded server does (`server`), and when a fault strikes (`run`). In reading order:
//! `protocol` is what closestorm and its guard say to each other, `guard` the guard process, `machine` what it does to processes, `family` finds processes that left
//! their group, `handle` steers a guard, `guarded` ends it where a start fails, `port` and `ready` are what the name says, `process` puts it together.

pub(crate) mod error;
pub(crate) mod family;
pub mod guard;
pub(crate) mod guarded;
pub(crate) mod handle;
pub(crate) mod machine;
pub(crate) mod open_files;
pub(crate) mod output;
pub mod port;
pub(crate) mod process;
pub(crate) mod protocol;
pub mod ready;

pub use crate::sut::command::error::{Error, How};
pub use crate::sut::command::handle::{Exit, Guard, Spec, Started};
pub use crate::sut::command::process::{CommandTarget, Down, Recipe, Up, signal_named};
pub use nix::sys::signal::Signal;
