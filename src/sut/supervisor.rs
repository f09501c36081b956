//! Who keeps the servers of a target that is ours: a guard that has processes, or this process, on memory wires.

use crate::plan::Firing;
use crate::server::protocol::ToServer;
use crate::sut::control_links::ControlLinks;
use crate::sut::error::RunError;
use crate::sut::in_memory::InMemoryServers;
use crate::sut::processes::{Instances, SeenTimes, Stopped};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

/// The servers of a target that is ours.
pub(crate) enum Supervisor {
    /// Processes.
    Processes(Instances),
    /// Tasks of this process.
    Memory(InMemoryServers),
}

impl Supervisor {
    /// Faults that wait in the embedded servers.
    pub(crate) fn standing(&self) -> MutexGuard<'_, Vec<(Firing, ToServer)>> {
        match self {
            Supervisor::Processes(instances) => instances.standing(),
            Supervisor::Memory(houses) => houses.standing(),
        }
    }

    /// Whether the server is not the embedded one.
    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self, Supervisor::Processes(instances) if instances.stop_signal.is_some())
    }

    /// Starts an instance: when it was started, and when it was ready.
    pub(crate) async fn launch(&self, instance: u16, lines: &Arc<ControlLinks>) -> Result<SeenTimes, RunError> {
        match self {
            Supervisor::Processes(instances) => instances.launch(instance, lines).await,
            Supervisor::Memory(houses) => houses.launch(instance, lines),
        }
    }

    /// SIGKILL: when it hit.
    pub(crate) async fn crash(&self, instance: u16) -> Result<u64, RunError> {
        match self {
            Supervisor::Processes(instances) => instances.crash(instance).await,
            Supervisor::Memory(houses) => houses.crash(instance),
        }
    }

    /// Asks an instance to end by itself, and waits until it has.
    pub(crate) async fn stop(&self, instance: u16, by: &ToServer, grace: Duration, lines: &Arc<ControlLinks>) -> Result<Stopped, RunError> {
        match self {
            Supervisor::Processes(instances) => instances.stop(instance, by, grace, lines).await,
            Supervisor::Memory(houses) => houses.stop(instance, by, grace, lines).await,
        }
    }

    /// SIGSTOP: when it hit. `lines`: those on which it is asked first how far it has come.
    pub(crate) async fn pause(&self, instance: u16, lines: Option<&ControlLinks>) -> Result<u64, RunError> {
        match self {
            Supervisor::Processes(instances) => instances.pause(instance, lines).await,
            Supervisor::Memory(houses) => houses.pause(instance),
        }
    }

    /// SIGCONT: when it hit.
    pub(crate) async fn resume(&self, instance: u16, lines: &ControlLinks) -> Result<u64, RunError> {
        match self {
            Supervisor::Processes(instances) => instances.resume(instance, lines).await,
            Supervisor::Memory(houses) => houses.resume(instance),
        }
    }

    /// Ends all and waits for them.
    pub(crate) async fn shut_down(&self) {
        match self {
            Supervisor::Processes(instances) => instances.shut_down().await,
            Supervisor::Memory(houses) => houses.shut_down(),
        }
    }
}
