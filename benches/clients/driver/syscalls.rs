//! How many system calls the floor needs for a connection, counted by strace.

use super::machine::free_port;
use super::measure::{Bench, IN_FLIGHT};
use super::server::Server;
use crate::counts::Until;
use crate::job::{Job, Load};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::{Command, Stdio};
use std::time::Duration;

const CLIENTS: u32 = 5000;

/// Opens connections under strace, which slows the floor down; only numbers of calls are taken.
pub(crate) fn measure(bench: &mut Bench) -> Result<(), String> {
    let job = Job {
        secure: false,
        load: Load::Idle,
        clients: CLIENTS,
        addresses: bench.addresses.fresh(1),
        port: free_port()?,
        in_flight: IN_FLIGHT,
        payload: 0,
        seconds: 0.0,
    };
    let mut server = Server::start(bench.cores, job.port)?;
    let out = super::work_folder().join("strace");
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-o"]).arg(&out).arg(super::own_program()?).arg("floor").args(job.words());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|error| format!("strace: {error}"))?;
    let opened = server.wait(Until::Opened(CLIENTS.into()), Duration::from_secs(30), || None);
    super::pause(Duration::from_millis(200));
    // strace passes nothing on; the floor itself ends when the server does, and strace then writes its count.
    drop(server);
    super::pause(Duration::from_millis(500));
    if child.try_wait().map_err(|error| error.to_string())?.is_none() {
        let pid = i32::try_from(child.id()).map_err(|error| error.to_string())?;
        kill(Pid::from_raw(pid), Signal::SIGTERM).map_err(|error| error.to_string())?;
    }
    child.wait().map_err(|error| error.to_string())?;
    opened?;
    let text = std::fs::read_to_string(&out).map_err(|error| error.to_string())?;
    let each: Vec<_> = calls(&text).map(|(name, calls)| (name, calls / f64::from(CLIENTS))).filter(|(_, each)| *each >= 0.005).collect();
    for (name, each) in &each {
        bench.samples.add("syscalls", "floor", name, *each);
    }
    bench.samples.add("syscalls", "floor", "together", each.iter().map(|(_, each)| each).sum());
    Ok(())
}

/// Name and number of calls of each line of `strace -c`: `% time, seconds, usecs/call, calls, [errors,] name`.
fn calls(text: &str) -> impl Iterator<Item = (&str, f64)> {
    text.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let (calls, name) = (words.get(3)?.parse().ok()?, *words.last()?);
        // Its end closes what it opened, and is no part of a connection.
        (name != "close" && name != "total").then_some((name, calls))
    })
}
