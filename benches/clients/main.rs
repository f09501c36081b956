//! Clients against each other on this machine: closestorm, a bare epoll loop, a bare tokio-tungstenite loop, other load testers.
//!
//! One program with several roles: the driver starts itself again as echo server, floor and bare loop, pins them to cores and
//! measures from outside. `scripts/bench` starts it. It measures whole programs; pieces have benches of their own.

mod bare;
mod clock;
mod counts;
mod driver;
mod echo;
mod floor;
mod forward;
mod job;
mod latency;
mod secure;
mod wire;

use job::Job;
use std::process::ExitCode;

/// The allocator with which the bare loop is at its best. Floor and echo server hardly allocate.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let done = match words.split_first() {
        Some((role, rest)) if role == "echo" => serve(rest),
        Some((role, rest)) if role == "secure" => serve_secure(rest),
        Some((role, rest)) if role == "forward" => forward(rest),
        Some((role, rest)) if role == "floor" => Job::read(rest).and_then(|job| floor::run(&job).map_err(|error| error.to_string())),
        Some((role, rest)) if role == "bare" => Job::read(rest).and_then(|job| bare::run(job).map_err(|error| error.to_string())),
        _ => {
            raise_limit();
            match driver::run(&words) {
                Ok(false) => return ExitCode::FAILURE,
                done => done.map(drop),
            }
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(words: &[String]) -> Result<(), String> {
    raise_limit();
    let [port, backlog] = words else { return Err("echo PORT BACKLOG".into()) };
    let (port, backlog) = (port.parse().map_err(|_| "PORT")?, backlog.parse().map_err(|_| "BACKLOG")?);
    echo::serve(port, backlog).map_err(|error| error.to_string())
}

fn serve_secure(words: &[String]) -> Result<(), String> {
    raise_limit();
    let [port, backlog] = words else { return Err("secure PORT BACKLOG".into()) };
    let (port, backlog) = (port.parse().map_err(|_| "PORT")?, backlog.parse().map_err(|_| "BACKLOG")?);
    secure::serve(port, backlog).map_err(|error| error.to_string())
}

fn forward(words: &[String]) -> Result<(), String> {
    raise_limit();
    let [port, upstream, backlog] = words else { return Err("forward PORT UPSTREAM BACKLOG".into()) };
    let upstream = upstream.parse().map_err(|_| "UPSTREAM")?;
    let (port, backlog) = (port.parse().map_err(|_| "PORT")?, backlog.parse().map_err(|_| "BACKLOG")?);
    forward::run(port, upstream, backlog).map_err(|error| error.to_string())
}

/// As many open files as the machine allows.
fn raise_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // If it fails, opening connections fails, and says why.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
