//! The echo server as the driver sees it: start, ask, kill.

use super::machine::Cores;
use super::usage::{self, Usage};
use crate::counts::{Counts, Until};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// As long a queue of accepted connections as the kernel allows here.
pub(crate) const BACKLOG: u32 = 4096;

/// A running echo server. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    questions: ChildStdin,
    answers: Receiver<String>,
}

impl Server {
    /// Starts it and waits until it listens.
    pub(crate) fn start(cores: Cores, port: u16) -> Result<Server, String> {
        Server::start_as("echo", cores, port)
    }

    /// The same of the one for wss.
    pub(crate) fn start_secure(cores: Cores, port: u16) -> Result<Server, String> {
        Server::start_as("secure", cores, port)
    }

    fn start_as(role: &str, cores: Cores, port: u16) -> Result<Server, String> {
        let program = super::own_program()?;
        let mut command = cores.server(&program);
        command.args([role, &port.to_string(), &BACKLOG.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
        let (Some(questions), Some(out)) = (child.stdin.take(), child.stdout.take()) else { return Err("no pipes".into()) };
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut server = Server { child, questions, answers };
        server.counts()?;
        Ok(server)
    }

    pub(crate) fn usage(&self) -> Usage {
        usage::of_tree(self.child.id())
    }

    pub(crate) fn counts(&mut self) -> Result<Counts, String> {
        self.wait(Until::Opened(0), Duration::from_secs(5), || None)
    }

    /// The counts once so much has happened; an error says what had happened by then, or what `ended` has to say before.
    pub(crate) fn wait(&mut self, until: Until, limit: Duration, mut ended: impl FnMut() -> Option<String>) -> Result<Counts, String> {
        self.ask(until)?;
        let step = Duration::from_millis(250);
        for _ in 0..limit.as_millis().div_ceil(step.as_millis()) {
            if let Ok(line) = self.answers.recv_timeout(step) {
                return line.parse();
            }
            if let Some(why) = ended() {
                return Err(why);
            }
        }
        self.ask(Until::Opened(0))?;
        let line = self.answers.recv_timeout(Duration::from_secs(5)).map_err(|_| "the echo server does not answer")?;
        let counts: Counts = line.parse()?;
        Err(format!("{until} not reached in {} s: {} opened, {} echoed", limit.as_secs(), counts.opened, counts.echoed))
    }

    fn ask(&mut self, until: Until) -> Result<(), String> {
        // In one piece: the server reads a question at a time.
        self.questions.write_all(format!("{until}\n").as_bytes()).map_err(|error| format!("the echo server ended: {error}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGKILL: a crash is what the herd is measured with.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
