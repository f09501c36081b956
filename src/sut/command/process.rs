//! A server that we start, crash, stop, pause and start again, with exact times of each.
//!
//! For `[target.command]` and for an embedded instance alike: both are a command line under the guard. It decides nothing and
//! emits nothing: the engine calls it when a fault says so and makes events of what it returns.

use crate::address::Address;
use crate::ipc::LinkEnd;
use crate::plan;
use crate::secret::mask_address;
use crate::sut::command::error::Error;
use crate::sut::command::handle::{Exit, Guard, Spec, Started};
use crate::sut::command::{port, ready};
use crate::sut::endpoint;
use crate::template::fill_one;
use crate::transport::clock::monotonic_ns;
use nix::sys::signal::Signal;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

/// In which a killed process must be gone.
const KILL_WITHIN: Duration = Duration::from_secs(10);

/// How to start a server, and how to know that it is ready.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// What to run, with everything filled in.
    pub spec: Spec,
    /// Where clients connect to.
    pub url: String,
    /// Where it listens; readiness is asked there. At least one, unless `ready` is a line of output.
    pub addrs: Vec<SocketAddr>,
    /// When it is ready.
    pub ready: plan::Ready,
    /// In which time it must be.
    pub ready_within: Duration,
    /// The port is held by `port::Reserved` and need not be looked at before a start.
    pub port_held: bool,
}

/// A server is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Up {
    /// Process id of the leader.
    pub pid: u32,
    /// When it was started, in ns of CLOCK_MONOTONIC.
    pub started_at: u64,
    /// When it was seen ready, in ns of CLOCK_MONOTONIC.
    pub ready_at: u64,
}

/// A server is down, with all its descendants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Down {
    /// When the first signal was delivered, in ns of CLOCK_MONOTONIC.
    pub signalled_at: u64,
    /// How the leader ended.
    pub exit: Exit,
    /// When nobody was left, in ns of CLOCK_MONOTONIC: its ports are free.
    pub gone_at: u64,
    /// The grace of `stop` was not enough and SIGKILL followed.
    pub forced: bool,
}

/// A server process in a slot of a guard.
///
/// Dropping it does not stop the server: the guard does that at the end.
#[derive(Debug)]
pub struct CommandTarget {
    guard: Guard,
    slot: u16,
    recipe: Recipe,
    started: Option<Started>,
    /// Length of the output when the latest process was started.
    output_from: u64,
    paused: bool,
}

impl CommandTarget {
    /// The last lines that the latest process has printed.
    pub fn printed(&self) -> String {
        ready::tail(&self.recipe.spec.output, self.output_from)
    }

    /// A target of this recipe, not yet started.
    pub fn new(guard: &Guard, slot: u16, recipe: Recipe) -> Self {
        Self { guard: guard.clone(), slot, recipe, started: None, output_from: 0, paused: false }
    }

    /// A target of `[target.command]`, not yet started: `{port}` becomes a free port in `run`, `env` and `address`.
    ///
    /// Errors: `Address`, `Ports`, `ReadyOverTls`.
    pub async fn of_command(guard: &Guard, slot: u16, command: &plan::Command, output: &Path) -> Result<Self, Error> {
        let port = port::free_port().map_err(Error::Ports)?.to_string();
        let filled = |text: &str| text.replace("{port}", &port);
        let url = fill_one(&command.address, "port", &port);
        let (addrs, tls) = resolve(&url).await?;
        if tls && matches!(command.ready, plan::Ready::Http { .. }) {
            return Err(Error::ReadyOverTls);
        }
        let spec = Spec {
            argv: command.run.iter().map(|word| filled(word)).collect(),
            env: command.env.iter().map(|(name, value)| (name.clone(), filled(value))).collect(),
            workdir: command.workdir.clone(),
            output: output.to_path_buf(),
        };
        let recipe = Recipe { spec, url, addrs, ready: command.ready.clone(), ready_within: command.ready_within, port_held: false };
        Ok(Self::new(guard, slot, recipe))
    }

    /// Where clients connect to: `address` with the port filled in.
    pub fn url(&self) -> &str {
        &self.recipe.url
    }

    /// Where it listens, resolved.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.recipe.addrs
    }

    /// Its slot in the guard; `Exit::slot` of what the guard reports.
    pub fn slot(&self) -> u16 {
        self.slot
    }

    /// Whether it is stopped by `pause`.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Starts it and waits until it is ready; also again, after it went down in whatever way.
    ///
    /// What a predecessor left running is killed first. Errors: those of `launch` and `wait_ready`.
    pub async fn start_again(&mut self) -> Result<Up, Error> {
        let started = self.launch().await?;
        let ready_at = self.wait_ready().await?;
        Ok(Up { pid: started.pid, started_at: started.at, ready_at })
    }

    /// Starts it without waiting for readiness; the first half of `start_again`.
    ///
    /// Errors: `StillRunning`, `PortInUse`, and those of `Guard::start`.
    pub async fn launch(&mut self) -> Result<Started, Error> {
        self.launch_with(None).await
    }

    /// As [`launch`](Self::launch), with the end of a link as its standard input.
    pub(crate) async fn launch_with(&mut self, stdin: Option<LinkEnd>) -> Result<Started, Error> {
        self.sweep().await?;
        if let Some(&address) = self.recipe.addrs.iter().find(|&&addr| !self.recipe.port_held && !port::is_free(addr)) {
            return Err(Error::PortInUse { address });
        }
        self.output_from = self.recipe.spec.output.metadata().map_or(0, |output| output.len());
        self.paused = false;
        let started = self.guard.start_with(self.slot, self.recipe.spec.clone(), stdin).await?;
        self.started = Some(started);
        Ok(started)
    }

    /// Waits until the launched process is ready; returns when that was seen, in ns of CLOCK_MONOTONIC.
    ///
    /// If it fails, the process is killed. Errors: `ExitedEarly`, `NotReady`, `NotRunning`, `GuardLost`.
    pub async fn wait_ready(&mut self) -> Result<u64, Error> {
        let started = self.started.ok_or(Error::NotRunning)?;
        let host = Address::parse(&self.recipe.url).map(|url| url.authority).unwrap_or_default();
        let probe = ready::Probe {
            ready: &self.recipe.ready,
            addrs: &self.recipe.addrs,
            host: &host,
            output: &self.recipe.spec.output,
            output_from: self.output_from,
        };
        self.unless_it_ends(started, ready::wait(&probe, self.recipe.ready_within)).await
    }

    /// As `wait_ready`, by its own word: `told` says when it is ready; `None`: it did not say so in time.
    ///
    /// Errors: those of `wait_ready`.
    pub async fn wait_told(&mut self, told: impl Future<Output = Option<u64>>) -> Result<u64, Error> {
        let started = self.started.ok_or(Error::NotRunning)?;
        let (within, output, from) = (self.recipe.ready_within, self.recipe.spec.output.clone(), self.output_from);
        let silent =
            || Error::NotReady { within, awaited: "waited for its message that it listens".to_owned(), output: ready::tail(&output, from) };
        self.unless_it_ends(started, async { told.await.ok_or_else(silent) }).await
    }

    /// What comes of a wait for readiness; a process that does not become ready is killed.
    async fn unless_it_ends(&self, started: Started, ready: impl Future<Output = Result<u64, Error>>) -> Result<u64, Error> {
        let outcome = tokio::select! {
            biased; // a process that ended is not ready, whoever answers on its port
            exit = self.guard.wait_exit(self.slot) => Err(self.ended_early(exit?, started)),
            outcome = ready => outcome,
        };
        if outcome.is_err() {
            self.kill_rest().await?;
        }
        outcome
    }

    /// SIGKILL to the whole process group and all descendants; returns when nobody is left.
    ///
    /// Errors: `NotRunning` if it had ended before, `Stuck`, `GuardLost`.
    pub async fn crash(&mut self) -> Result<Down, Error> {
        self.running()?;
        let signalled_at = self.guard.signal(self.slot, Signal::SIGKILL).await?;
        self.down(signalled_at, false).await
    }

    /// Asks it to end by a signal to the process group, and sends SIGKILL to whoever is left after `grace`.
    ///
    /// A paused target is resumed, or it could not obey. Errors as `crash`.
    pub async fn stop(&mut self, signal: Signal, grace: Duration) -> Result<Down, Error> {
        self.running()?;
        self.guard.expect_exit(self.slot);
        let signalled_at = self.guard.signal(self.slot, signal).await?;
        self.obey(signalled_at, grace).await
    }

    /// Asks it to end in a way of its own, which `ask` knows, and sends SIGKILL to whoever is left after `grace`.
    ///
    /// A paused target is resumed, or it could not obey. Errors as `crash`.
    pub async fn stop_by(&mut self, ask: impl FnOnce(), grace: Duration) -> Result<Down, Error> {
        self.running()?;
        self.guard.expect_exit(self.slot);
        let asked_at = monotonic_ns();
        ask();
        self.obey(asked_at, grace).await
    }

    /// Lets it end.
    async fn obey(&mut self, asked_at: u64, grace: Duration) -> Result<Down, Error> {
        if self.paused {
            match self.resume().await {
                Ok(_) | Err(Error::NotRunning) => {} // SIGKILL as the stop signal needs no resuming
                Err(error) => return Err(error),
            }
        }
        let in_time = tokio::time::timeout(grace, self.guard.wait_gone(self.slot)).await;
        if in_time.is_err() {
            self.kill_rest().await?;
        }
        self.down(asked_at, in_time.is_err()).await
    }

    /// SIGSTOP to all its processes; returns when it was delivered, in ns of CLOCK_MONOTONIC.
    ///
    /// Errors: `NotRunning`, `GuardLost`.
    pub async fn pause(&mut self) -> Result<u64, Error> {
        self.running()?;
        let at = self.guard.signal(self.slot, Signal::SIGSTOP).await?;
        self.paused = true;
        Ok(at)
    }

    /// SIGCONT to all its processes; returns when it was delivered, in ns of CLOCK_MONOTONIC.
    ///
    /// Errors: `NotRunning` if it was killed while paused, `GuardLost`.
    pub async fn resume(&mut self) -> Result<u64, Error> {
        self.running()?;
        let at = self.guard.signal(self.slot, Signal::SIGCONT).await?;
        self.paused = false;
        Ok(at)
    }

    /// Fails unless the leader runs.
    fn running(&self) -> Result<(), Error> {
        match self.guard.exited(self.slot) {
            Some(false) => Ok(()),
            _ => Err(Error::NotRunning),
        }
    }

    /// Makes room for a new process: nothing to do after `crash` or `stop`, otherwise descendants may have outlived the leader.
    async fn sweep(&self) -> Result<(), Error> {
        match self.guard.exited(self.slot) {
            None => Ok(()),
            Some(false) => Err(Error::StillRunning),
            Some(true) => self.kill_rest().await,
        }
    }

    async fn kill_rest(&self) -> Result<(), Error> {
        match self.guard.signal(self.slot, Signal::SIGKILL).await {
            Ok(_) | Err(Error::NotRunning) => self.gone().await.map(drop),
            Err(error) => Err(error),
        }
    }

    async fn gone(&self) -> Result<u64, Error> {
        let gone = tokio::time::timeout(KILL_WITHIN, self.guard.wait_gone(self.slot)).await;
        gone.unwrap_or(Err(Error::Stuck { within: KILL_WITHIN }))
    }

    async fn down(&mut self, signalled_at: u64, forced: bool) -> Result<Down, Error> {
        let gone_at = self.gone().await?;
        let exit = self.guard.wait_exit(self.slot).await?;
        self.paused = false;
        Ok(Down { signalled_at, exit, gone_at, forced })
    }

    fn ended_early(&self, exit: Exit, started: Started) -> Error {
        let after = Duration::from_nanos(exit.at.min(monotonic_ns()).saturating_sub(started.at));
        Error::ExitedEarly { how: exit.how, after, output: self.printed() }
    }
}

/// A signal by its name, as `SIGTERM`, `TERM` or `term`.
///
/// Errors: `SignalName`.
pub fn signal_named(name: &str) -> Result<Signal, Error> {
    let upper = name.trim().to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    Signal::from_str(&full).map_err(|_| Error::SignalName { name: name.into() })
}

/// The addresses behind a ws or wss URL, and whether it is wss.
async fn resolve(url: &str) -> Result<(Vec<SocketAddr>, bool), Error> {
    let wrong = |why: String| Error::Address { address: mask_address(url), why };
    let address = Address::parse(url).map_err(|why| wrong(why.to_owned()))?;
    Ok((endpoint::lookup(&address).await.map_err(wrong)?, address.secure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_name() {
        let table = [("SIGTERM", Some(Signal::SIGTERM)), ("int", Some(Signal::SIGINT)), ("Usr2", Some(Signal::SIGUSR2)), ("15", None)];
        for (name, expected) in table {
            assert_eq!(signal_named(name).ok(), expected, "{name}");
        }
        assert!(signal_named("SIGFOO").unwrap_err().to_string().contains("`SIGFOO` is not a signal"));
    }
}
