//! What can go wrong with a target, each with its cause and what to do about it.
//!
//! What a target does by itself while it runs (it died, it refuses) is no error but an event; see `Guard::exits`.

use crate::text::barred_lines;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Why a target could not be started, stopped or signalled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `run` names a program that is not there.
    #[error("program `{program}` not found: check `run`; it is looked up in PATH, or below `workdir` if it has a slash")]
    ProgramNotFound {
        /// As in `run`.
        program: String,
    },
    /// The program is there and cannot be run.
    #[error("program `{program}` cannot be started: check that it is executable")]
    Program {
        /// As in `run`.
        program: String,
        /// What exec answered.
        source: io::Error,
    },
    /// The working directory is not there.
    #[error("working directory {} cannot be used: check `workdir`", path.display())]
    Workdir {
        /// As given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file for the target's output cannot be written.
    #[error("the target's output cannot be written to {}", path.display())]
    Output {
        /// As given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `address` is not a URL of a WebSocket server.
    #[error("target address `{address}` is not usable: {why}; write it like `ws://127.0.0.1:{{port}}/path`")]
    Address {
        /// As given, `{port}` filled in.
        address: String,
        /// What is wrong.
        why: String,
    },
    /// Somebody else has the port.
    #[error("{address} is in use by another process: stop that one, or write `{{port}}` in `run` and `address` to get a free port")]
    PortInUse {
        /// Where the target should listen.
        address: SocketAddr,
    },
    /// No port could be found or held.
    #[error("no free port")]
    Ports(#[source] io::Error),
    /// The program ended before it was ready.
    #[error("the target ended before it was ready: {how}{}; it must listen and stay in the foreground{}", seconds(*after), quoted(output))]
    ExitedEarly {
        /// How it ended.
        how: How,
        /// Since it was started.
        after: Duration,
        /// Last lines of its output.
        output: String,
    },
    /// The program runs and is not ready in time.
    #[error("the target was not ready within {within:?}: {awaited}; check `address` and `ready`, or increase `within`{}", quoted(output))]
    NotReady {
        /// The deadline.
        within: Duration,
        /// What was awaited and what the last try saw.
        awaited: String,
        /// Last lines of its output.
        output: String,
    },
    /// `ready` cannot be checked on this target.
    #[error("`ready` by HTTP status is plain HTTP, and the target speaks TLS: use `ready` by TCP connect or by a line of output")]
    ReadyOverTls,
    /// The process is not running, so there is nothing to signal or to wait for.
    #[error("the target is not running")]
    NotRunning,
    /// The process still runs, so it cannot be started again.
    #[error("the target still runs")]
    StillRunning,
    /// A killed process did not disappear.
    #[error("the target was killed and did not end within {within:?}: it may run as another user or hang in the kernel (state D in ps)")]
    Stuck {
        /// How long was waited.
        within: Duration,
    },
    /// Not the name of a signal.
    #[error("`{name}` is not a signal: write it like SIGTERM")]
    SignalName {
        /// As given.
        name: String,
    },
    /// The kernel refused to deliver a signal.
    #[error("the target cannot be signalled")]
    Signal(#[source] io::Error),
    /// The guard process could not be started or did not answer.
    #[error("the guard process could not be started")]
    Launch(#[source] io::Error),
    /// The guard process ended, and with it the targets.
    #[error("the guard process ended unexpectedly: it was killed, or this is a bug in closestorm")]
    GuardLost,
}

fn seconds(after: Duration) -> String {
    format!(" after {:.1} s", after.as_secs_f64())
}

fn quoted(output: &str) -> String {
    if output.is_empty() { "; it printed nothing".into() } else { format!("; its last output:\n{}", barred_lines(output)) }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Status(status) => write!(f, "exit status {status}"),
            Self::Signal(number) => match Signal::try_from(number) {
                Ok(signal) => write!(f, "killed by {signal}"),
                Err(_) => write!(f, "killed by signal {number}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_cause_and_fix() {
        let table = [
            (Error::ProgramNotFound { program: "nodee".into() }, ["`nodee`", "check `run`"]),
            (Error::PortInUse { address: "127.0.0.1:9000".parse().unwrap() }, ["127.0.0.1:9000 is in use", "write `{port}` in `run`"]),
            (
                Error::ExitedEarly { how: How::Status(1), after: Duration::from_millis(320), output: "Error: no such module".into() },
                ["exit status 1 after 0.3 s", "\n  | Error: no such module"],
            ),
            (
                Error::NotReady { within: Duration::from_secs(10), awaited: "no answer".into(), output: String::new() },
                ["not ready within 10s: no answer", "it printed nothing"],
            ),
            (Error::Address { address: "ws:x".into(), why: "no host".into() }, ["`ws:x`", "ws://127.0.0.1:{port}/path"]),
        ];
        for (error, parts) in table {
            let text = error.to_string();
            parts.iter().for_each(|part| assert!(text.contains(part), "{text:?} lacks {part:?}"));
            assert!(!text.ends_with('.') && !text.starts_with(char::is_uppercase), "{text:?}");
        }
    }
}
