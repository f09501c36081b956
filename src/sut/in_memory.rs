//! Embedded servers as tasks of this process: they start and die at once. On memory wires they wait for nothing but tokio's clock; on sockets they
//! are what a library has without the program.
//!
//! What a process can suffer and tasks cannot, a limit of files, is refused before the run.

use crate::lock::lock;
use crate::plan::{Firing, Plan, Target};
use crate::server::in_memory::InMemoryServer;
use crate::server::protocol::{FromServer, ServerSpec, ToServer};
use crate::sut::command;
use crate::sut::command::port::Reserved;
use crate::sut::control_links::ControlLinks;
use crate::sut::error::RunError;
use crate::sut::processes::{EXIT_WITHIN, SeenTimes, Stopped};
use crate::transport::clock::Clock;
use crate::transport::memory::network::Network;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The servers of a run that are tasks.
pub(crate) struct InMemoryServers {
    network: Option<Network>,
    clock: Clock,
    reports: mpsc::UnboundedSender<FromServer>,
    /// By instance.
    specs: Vec<ServerSpec>,
    /// Their ports, where they listen on sockets: nobody else gets one while its server is down.
    _reserved: Vec<Reserved>,
    /// By instance; `None`: down.
    members: Vec<Mutex<Option<InMemoryServer>>>,
    /// Faults that wait in the servers for attempts and new connections; one that starts again is told of them.
    standing: Mutex<Vec<(Firing, ToServer)>>,
}

/// What of a plan needs processes; `None`: nothing.
pub(crate) fn obstacle(plan: &Plan) -> Option<&str> {
    let Target::Embedded(settings) = &plan.target else { return Some("a target that is not the embedded server") };
    if settings.processes.is_some_and(|processes| processes > 1) {
        return Some("`processes`");
    }
    plan.faults.iter().find(|fault| fault.inject.effect(fault.side).needs_process()).map(|fault| fault.inject.row.kind)
}

impl InMemoryServers {
    /// Builds them; none runs yet.
    pub(crate) fn new(
        network: Option<Network>,
        clock: Clock,
        reports: mpsc::UnboundedSender<FromServer>,
        (specs, reserved): (Vec<ServerSpec>, Vec<Reserved>),
    ) -> InMemoryServers {
        let members = specs.iter().map(|_| Mutex::default()).collect();
        InMemoryServers { network, clock, reports, specs, _reserved: reserved, members, standing: Mutex::default() }
    }

    /// Whether there are no sockets.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.network.is_some()
    }

    /// Faults that wait in the servers.
    pub(crate) fn standing(&self) -> MutexGuard<'_, Vec<(Firing, ToServer)>> {
        lock(&self.standing)
    }

    fn member(&self, instance: u16) -> MutexGuard<'_, Option<InMemoryServer>> {
        lock(&self.members[usize::from(instance)])
    }

    fn take(&self, instance: u16) -> Result<InMemoryServer, RunError> {
        self.member(instance).take().ok_or(RunError::Target(command::Error::NotRunning))
    }

    /// Starts an instance; it listens when this returns.
    pub(crate) fn launch(&self, instance: u16, lines: &ControlLinks) -> Result<SeenTimes, RunError> {
        let mut member = self.member(instance);
        if member.is_some() {
            return Err(RunError::Target(command::Error::StillRunning));
        }
        let commands = lines.lay((instance, 0));
        let spec = self.specs[usize::from(instance)].clone();
        let standing = self.standing().clone().into_iter().map(|(_, command)| command);
        *member = Some(InMemoryServer::start(spec, self.network.as_ref(), self.clock, self.reports.clone(), commands, standing)?);
        let now = self.clock.now_ns();
        Ok(SeenTimes { first: now, last: now })
    }

    /// Ends an instance as SIGKILL does; when, by the clock of the run.
    pub(crate) fn crash(&self, instance: u16) -> Result<u64, RunError> {
        drop(self.take(instance)?);
        Ok(self.clock.now_ns())
    }

    fn still(&self, instance: u16, still: bool) -> Result<u64, RunError> {
        let member = self.member(instance);
        member.as_ref().ok_or(RunError::Target(command::Error::NotRunning))?.stand_still(still);
        Ok(self.clock.now_ns())
    }

    /// Stops an instance as SIGSTOP does; when, by the clock of the run.
    pub(crate) fn pause(&self, instance: u16) -> Result<u64, RunError> {
        self.still(instance, true)
    }

    /// Lets an instance go on as SIGCONT does; when, by the clock of the run.
    pub(crate) fn resume(&self, instance: u16) -> Result<u64, RunError> {
        self.still(instance, false)
    }

    /// Asks an instance to end by itself, and waits until it has: when, and how.
    pub(crate) async fn stop(
        &self,
        instance: u16,
        graceful: &ToServer,
        grace: Duration,
        lines: &ControlLinks,
    ) -> Result<Stopped, RunError> {
        let mut house = self.take(instance)?;
        lines.tell(instance, graceful);
        // Or it could not obey.
        house.stand_still(false);
        let in_time = timeout(grace + EXIT_WITHIN, house.stopped()).await.is_ok();
        drop(house);
        let how = if in_time { "exit code 0" } else { "grace was over: SIGKILL" }.to_owned();
        Ok(Stopped { gone_at: self.clock.now_ns(), how, well: true })
    }

    /// Ends all.
    pub(crate) fn shut_down(&self) {
        (0..self.specs.len()).for_each(|instance| drop(self.member(instance as u16).take()));
    }
}
