//! A client program under measurement: how each is started for a job, and stopped with all below it.

use super::machine::Cores;
use super::ours;
use super::peers;
use super::usage::{self, Usage};
use crate::job::Job;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Who is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Who {
    Floor,
    Bare,
    Ours,
    Peer(&'static peers::Peer),
}

impl Who {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Who::Floor => "floor",
            Who::Bare => "bare",
            Who::Ours => "closestorm",
            Who::Peer(peer) => peer.name,
        }
    }
}

/// A running client. Dropping it kills it and what it started.
pub(crate) struct Client {
    child: Child,
    who: Who,
    folder: PathBuf,
}

impl Client {
    pub(crate) fn start(who: &Who, job: &Job, cores: Cores) -> Result<Client, String> {
        let folder = super::work_folder().join(who.name());
        // Left by an earlier run, or not there.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut command = match who {
            Who::Floor | Who::Bare => {
                let mut command = cores.client(&super::own_program()?);
                command.arg(who.name()).args(job.words());
                command
            }
            Who::Ours => ours::command(job, cores, &folder)?,
            Who::Peer(peer) => peer.command(job, cores, &folder)?,
        };
        let child = start(&mut command, &folder)?;
        Ok(Client { child, who: *who, folder })
    }

    pub(crate) fn usage(&self) -> Usage {
        usage::of_tree(self.child.id())
    }

    /// Whether it ended before it was told to.
    pub(crate) fn has_ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("{} ended with {status}: {}", self.who.name(), self.last_words()))
    }

    /// Waits for its own end; where its output and results are.
    pub(crate) fn finish(&mut self, limit: Duration) -> Result<PathBuf, String> {
        let step = Duration::from_millis(20);
        for _ in 0..limit.as_millis() / step.as_millis() {
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                // closestorm: 3 is inconclusive, the figures are there all the same.
                let fine = status.success() || (matches!(self.who, Who::Ours) && status.code() == Some(3));
                return if fine { Ok(self.folder.clone()) } else { Err(format!("{status}: {}", self.last_words())) };
            }
            super::pause(step);
        }
        Err(format!("{} did not end in {} s", self.who.name(), limit.as_secs()))
    }

    /// The end of what it wrote.
    fn last_words(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        let text = [read("stdout"), read("stderr")].concat();
        let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(3)..].join(" / ")
    }
}

/// In a process group of its own, its output in files.
fn start(command: &mut Command, folder: &std::path::Path) -> Result<Child, String> {
    let file = |name: &str| File::create(folder.join(name)).map_err(|error| format!("{name}: {error}"));
    command.stdin(Stdio::null()).stdout(file("stdout")?).stderr(file("stderr")?).process_group(0);
    command.spawn().map_err(|error| format!("{}: {error}", command.get_program().display()))
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Ok(group) = i32::try_from(self.child.id()) {
            // Gone already if it ended by itself.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}
