//! A run in several processes of one machine: workers that have the clients, and the process that leads them.
//!
//! ```text
//!              ┌ worker 1/3 ┐  a share of the clients each: sockets, faults on connections, results
//!  closestorm ─┼ worker 2/3 ┼─ server processes, which report each connection to the worker whose it is
//!              └ worker 3/3 ┘
//! ```
//! closestorm itself has the target, its processes and what faults do to them. All share one start, and at the end the results are
//! added up ([`crate::metrics::Results::add`]), as `merge` adds those of several machines. In reading order: `division` says how many
//! processes, `message` what they say to each other, `worker` is one of them, `crew` the leading side of the lines, `lead` the run.

pub(crate) mod coordinator;
pub(crate) mod message;
#[cfg(any(test, feature = "internals"))]
pub mod probe;
pub(crate) mod sizing;
pub mod worker;
pub(crate) mod workers;
#[cfg(test)]
mod world;

pub use crate::cluster::coordinator::{ClusterError, run};
pub use crate::cluster::sizing::{Division, Room, TooMany};
