//! The processes of a machine as a guard starts, sees, signals and reaps them. What it does with them is decided in `guard`; tests have a machine
//! of their own there.

use crate::ipc::LinkEnd;
use crate::sut::command::family::{self, Process};
use crate::sut::command::open_files::with_files;
use crate::sut::command::protocol::{FailedStep, MARK};
use crate::transport::clock::monotonic_ns;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::signal::unix::Signal as Arriving;

/// What a guard is to start.
pub(crate) struct Program<'a> {
    /// Program and arguments.
    pub(crate) argv: &'a [String],
    /// Added to the environment of the guard.
    pub(crate) env: &'a BTreeMap<String, String>,
    /// Value of [`MARK`] in its environment.
    pub(crate) mark: String,
    pub(crate) workdir: Option<&'a Path>,
    /// stdout and stderr are appended to this file.
    pub(crate) output: &'a Path,
    /// Its standard input: its link where it is a server or worker of ours, and empty otherwise.
    pub(crate) stdin: Option<LinkEnd>,
    /// Soft limit of open files where it is not our own; `None`: that of the guard.
    pub(crate) files: Option<u64>,
}

/// What became of the children of the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaped {
    /// One has ended.
    Ended { pid: i32, status: Option<i32>, signal: Option<i32> },
    /// None has that was not reaped, and there are some.
    Later,
    /// There is none.
    Nobody,
}

/// A machine with processes.
pub(crate) trait Machine {
    /// Starts a program as leader of a process group of its own: its process id, once exec has succeeded.
    ///
    /// # Errors
    /// What failed.
    fn start(&mut self, program: Program<'_>) -> Result<i32, (FailedStep, Errno)>;
    /// See [`family::branches`].
    fn branches(&self) -> Vec<Vec<Process>>;
    /// See [`family::marked_slot`].
    fn marked_slot(&self, pid: i32, mark: &str) -> Option<u16>;
    /// See [`family::is_loading`].
    fn is_loading(&self, pid: i32) -> bool;
    /// Signals one process; it may have ended since it was seen, and one of another user is out of reach.
    fn hit(&mut self, process: Process, signal: Signal);
    /// Signals a process group.
    ///
    /// # Errors
    /// The group is empty, or out of reach.
    fn hit_group(&mut self, leader: i32, signal: Signal) -> Result<(), Errno>;
    /// Reaps a child that has ended.
    fn reap(&mut self) -> Reaped;
    /// Resolves when a child may have ended.
    fn child_ended(&mut self) -> impl Future<Output = ()>;
    /// Waits, with all that the guard does.
    fn rest(&mut self, time: Duration);
    /// CLOCK_MONOTONIC, ns.
    fn now_ns(&self) -> u64;
}

/// This machine. SIGCHLD must arrive there.
pub(super) struct ThisMachine(pub(super) Arriving);

impl Machine for ThisMachine {
    fn start(&mut self, program: Program<'_>) -> Result<i32, (FailedStep, Errno)> {
        let (name, args) = program.argv.split_first().ok_or((FailedStep::Program, Errno::EINVAL))?;
        // What a program prints is its owner's: others of the machine do not read it, and no link leads it elsewhere.
        let file = OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits()).open(program.output);
        let out = file.map_err(|error| (FailedStep::Output, errno(&error)))?;
        let err = out.try_clone().map_err(|error| (FailedStep::Output, errno(&error)))?;
        let mut command = Command::new(name);
        command.args(args).envs(program.env).env(MARK, program.mark).process_group(0);
        let stdin = program.stdin.map(LinkEnd::into_file).transpose().map_err(|error| (FailedStep::Program, errno(&error)))?;
        command.stdin(stdin.map_or_else(Stdio::null, Stdio::from)).stdout(out).stderr(err);
        if let Some(workdir) = program.workdir {
            // Looked at first: a failed chdir and a failed exec are the same ENOENT.
            let found = workdir.metadata().map_err(|error| (FailedStep::Workdir, errno(&error)))?;
            if !found.is_dir() {
                return Err((FailedStep::Workdir, Errno::ENOTDIR));
            }
            command.current_dir(workdir);
        }
        let child = with_files(program.files, || command.spawn()).map_err(|error| (FailedStep::Program, errno(&error)))?;
        Ok(child.id() as i32)
    }

    fn branches(&self) -> Vec<Vec<Process>> {
        family::branches()
    }

    fn marked_slot(&self, pid: i32, mark: &str) -> Option<u16> {
        family::marked_slot(pid, mark)
    }

    fn is_loading(&self, pid: i32) -> bool {
        family::is_loading(pid)
    }

    fn hit(&mut self, process: Process, signal: Signal) {
        let _ = kill(Pid::from_raw(process.pid), signal);
    }

    fn hit_group(&mut self, leader: i32, signal: Signal) -> Result<(), Errno> {
        killpg(Pid::from_raw(leader), signal)
    }

    fn reap(&mut self) -> Reaped {
        loop {
            return match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, status)) => Reaped::Ended { pid: pid.as_raw(), status: Some(status), signal: None },
                Ok(WaitStatus::Signaled(pid, signal, _)) => Reaped::Ended { pid: pid.as_raw(), status: None, signal: Some(signal as i32) },
                Ok(WaitStatus::StillAlive) => Reaped::Later,
                // Nobody asked for those that stop and go on.
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(_) => Reaped::Nobody,
            };
        }
    }

    async fn child_ended(&mut self) {
        self.0.recv().await;
    }

    fn rest(&mut self, time: Duration) {
        #[expect(clippy::disallowed_methods, reason = "no client runs in the guard")]
        std::thread::sleep(time);
    }

    fn now_ns(&self) -> u64 {
        monotonic_ns()
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32))
}
