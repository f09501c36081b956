//! closestorm: a network fault-injection simulator and load tester for WebSocket services.
//!
//! Data flows one way: scenario text → `Scenario` → `Plan` → engine or sim → `Event` → metrics → results → verdict, charts, report.
//! The modules below are listed in reading order. A module uses only its own or an earlier group.

// Under this name the random plans of `tests/` know the library, which uses them in its own tests, too.
#[cfg(test)]
extern crate self as closestorm;
#[cfg(test)]
#[path = "../tests/overlapping_plans.rs"]
mod overlapping_plans;
#[cfg(test)]
#[path = "../tests/random_plans.rs"]
mod random_plans;

// 1. vocabulary
pub mod address;
pub mod close;
pub mod event;
pub mod number;
pub mod seed;
pub mod template;
pub mod text;
pub mod units;

// 2. pure decisions
pub mod arrival;
pub mod capacity;
pub mod dialogue;
pub mod fault;
pub mod reconnect;

// 3. intent
pub mod expect;
pub mod plan;
pub mod scenario;

// 4. numbers, made from events
pub mod metrics;

// 5. bytes, frames, and the two sides of a connection
pub mod transport;
pub mod ws;

// 6. worlds: a plan on sockets or in memory, and in virtual time
pub mod cluster;
pub(crate) mod load;
pub(crate) mod recorder;
pub mod run;
pub mod server;
pub mod sim;
pub mod sut;

// 7. evidence, from files
pub mod calibrate;
pub mod fidelity;
pub mod results;
pub mod verdict;

// 8. presentation
pub mod plot;
pub mod report;

// what a library user writes
pub mod api;

// the program
pub mod cli;
pub mod cmd;
