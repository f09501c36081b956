//! closestorm: a network fault-injection simulator and load tester for WebSocket services.
//!
//! Data flows one way: scenario text → `Scenario` → `Plan` → engine or sim → `Event` → metrics → results → verdict, charts, report.
//! The modules below are listed in reading order; a module uses only earlier ones, and no two files use each other in a circle.
//!
//! [`api`] is the library, and the only module under semantic versioning. The others are private. This repository's own tests and benches
//! switch the feature `internals` on, which makes them public: no promise of stability, any change may break who uses it.

// Without `internals` nobody else can reach what only tests and benches use.
#![cfg_attr(not(feature = "internals"), allow(dead_code, unreachable_pub, unused_imports))]

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
#[cfg(not(feature = "internals"))]
mod address;
#[cfg(feature = "internals")]
pub mod address;
#[cfg(not(feature = "internals"))]
mod close;
#[cfg(feature = "internals")]
pub mod close;
#[cfg(not(feature = "internals"))]
mod event;
#[cfg(feature = "internals")]
pub mod event;
#[cfg(not(feature = "internals"))]
mod files;
#[cfg(feature = "internals")]
pub mod files;
mod lock;
#[cfg(not(feature = "internals"))]
mod number;
#[cfg(feature = "internals")]
pub mod number;
#[cfg(not(feature = "internals"))]
mod observer;
#[cfg(feature = "internals")]
pub mod observer;
mod panics;
#[cfg(not(feature = "internals"))]
mod secret;
#[cfg(feature = "internals")]
pub mod secret;
#[cfg(not(feature = "internals"))]
mod seed;
#[cfg(feature = "internals")]
pub mod seed;
#[cfg(not(feature = "internals"))]
mod template;
#[cfg(feature = "internals")]
pub mod template;
#[cfg(not(feature = "internals"))]
mod text;
#[cfg(feature = "internals")]
pub mod text;
#[cfg(not(feature = "internals"))]
mod units;
#[cfg(feature = "internals")]
pub mod units;

// 2. pure decisions
#[cfg(not(feature = "internals"))]
mod arrival;
#[cfg(feature = "internals")]
pub mod arrival;
#[cfg(not(feature = "internals"))]
mod capacity;
#[cfg(feature = "internals")]
pub mod capacity;
#[cfg(not(feature = "internals"))]
mod dialogue;
#[cfg(feature = "internals")]
pub mod dialogue;
#[cfg(not(feature = "internals"))]
mod estimate;
#[cfg(feature = "internals")]
pub mod estimate;
#[cfg(not(feature = "internals"))]
mod fault;
#[cfg(feature = "internals")]
pub mod fault;
#[cfg(not(feature = "internals"))]
mod reconnect;
#[cfg(feature = "internals")]
pub mod reconnect;

// 3. intent
#[cfg(not(feature = "internals"))]
mod expect;
#[cfg(feature = "internals")]
pub mod expect;
#[cfg(not(feature = "internals"))]
mod plan;
#[cfg(feature = "internals")]
pub mod plan;
#[cfg(not(feature = "internals"))]
mod scenario;
#[cfg(feature = "internals")]
pub mod scenario;

// 4. numbers, made from events
#[cfg(not(feature = "internals"))]
mod metrics;
#[cfg(feature = "internals")]
pub mod metrics;

// 5. bytes, frames, and the two sides of a connection; what is served beside them; how our own processes talk to each other
mod http;
#[cfg(not(feature = "internals"))]
mod ipc;
#[cfg(feature = "internals")]
pub mod ipc;
#[cfg(not(feature = "internals"))]
mod transport;
#[cfg(feature = "internals")]
pub mod transport;
#[cfg(not(feature = "internals"))]
mod ws;
#[cfg(feature = "internals")]
pub mod ws;

// 6. worlds: a plan on sockets or in memory, and in virtual time
#[cfg(not(feature = "internals"))]
mod cluster;
#[cfg(feature = "internals")]
pub mod cluster;
#[cfg(not(feature = "internals"))]
mod learn;
#[cfg(feature = "internals")]
pub mod learn;
pub(crate) mod load;
#[cfg(not(feature = "internals"))]
mod proxy;
#[cfg(feature = "internals")]
pub mod proxy;
pub(crate) mod recorder;
#[cfg(not(feature = "internals"))]
mod run;
#[cfg(feature = "internals")]
pub mod run;
#[cfg(not(feature = "internals"))]
mod serve;
#[cfg(feature = "internals")]
pub mod serve;
#[cfg(not(feature = "internals"))]
mod server;
#[cfg(feature = "internals")]
pub mod server;
#[cfg(not(feature = "internals"))]
mod sim;
#[cfg(feature = "internals")]
pub mod sim;
#[cfg(not(feature = "internals"))]
mod snapshots;
#[cfg(feature = "internals")]
pub mod snapshots;
#[cfg(not(feature = "internals"))]
mod sut;
#[cfg(feature = "internals")]
pub mod sut;
#[cfg(not(feature = "internals"))]
mod witness;
#[cfg(feature = "internals")]
pub mod witness;

// 7. evidence, from files
#[cfg(not(feature = "internals"))]
mod calibrate;
#[cfg(feature = "internals")]
pub mod calibrate;
#[cfg(not(feature = "internals"))]
mod compare;
#[cfg(feature = "internals")]
pub mod compare;
#[cfg(not(feature = "internals"))]
mod fidelity;
#[cfg(feature = "internals")]
pub mod fidelity;
#[cfg(not(feature = "internals"))]
mod output;
#[cfg(feature = "internals")]
pub mod output;
#[cfg(not(feature = "internals"))]
mod results;
#[cfg(feature = "internals")]
pub mod results;
#[cfg(not(feature = "internals"))]
mod verdict;
#[cfg(feature = "internals")]
pub mod verdict;

// 8. presentation
#[cfg(all(feature = "charts", not(feature = "internals")))]
mod plot;
#[cfg(all(feature = "charts", feature = "internals"))]
pub mod plot;
#[cfg(not(feature = "internals"))]
mod report;
#[cfg(feature = "internals")]
pub mod report;
#[cfg(feature = "cli")]
mod web;

// what a library user writes
pub mod api;

// The page on the library, so that its examples run.
#[cfg(doctest)]
#[doc = include_str!("../docs/library.md")]
struct LibraryPage;

// the program
#[cfg(all(feature = "cli", not(feature = "internals")))]
mod cli;
#[cfg(all(feature = "cli", feature = "internals"))]
pub mod cli;
#[cfg(all(feature = "cli", not(feature = "internals")))]
mod cmd;
#[cfg(all(feature = "cli", feature = "internals"))]
pub mod cmd;

/// The program: parses the command line, carries one command out, and gives its exit code.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub fn main() -> std::process::ExitCode {
    // What is secret is not in a panic, either.
    panics::tell(secret::hide);
    let command = <cli::Cli as clap::Parser>::parse_from(cli::arguments(std::env::args_os())).command;
    // Nothing that the command has changed is looked at behind its panic.
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cmd::run_command(command)));
    done.unwrap_or(Ok(cmd::exit::COULD_NOT_RUN)).unwrap_or_else(|error| cmd::exit::report_error(&error)).into()
}
