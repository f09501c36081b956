//! The server under test as processes and ports: starting, readiness, crash, pause, stop, and that nothing is left behind.
//!
//! Not here: what the embedded server does (`engine::server`), and when a fault strikes (`engine`). In reading order:
//! `protocol` is what closestorm and its guard say to each other, `guard` the guard process, `family` finds processes that left
//! their group, `handle` steers a guard, `port` and `ready` are what the name says, `process` puts it together.

mod error;
mod family;
pub mod guard;
mod handle;
pub mod port;
mod process;
mod protocol;
pub mod ready;

pub use error::{Error, How};
pub use handle::{Exit, Guard, Spec, Started};
pub use nix::sys::signal::Signal;
pub use process::{CommandTarget, Down, Recipe, Up, signal_named};
