//! Who keeps the servers of a target that is ours: a guard that has processes, or this process, on memory wires.

use crate::plan::Firing;
use crate::server::protocol::ToServer;
use crate::sut::control_links::Lines;
use crate::sut::error::RunError;
use crate::sut::in_memory::Houses;
use crate::sut::processes::{Instances, Times};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

/// The servers of a target that is ours.
pub(crate) enum Keeper {
    /// Processes.
    Processes(Instances),
    /// Tasks of this process.
    Memory(Houses),
}

impl Keeper {
    /// Faults that wait in the embedded servers.
    pub(crate) fn standing(&self) -> MutexGuard<'_, Vec<(Firing, ToServer)>> {
        match self {
            Keeper::Processes(instances) => instances.standing(),
            Keeper::Memory(houses) => houses.standing(),
        }
    }

    /// Whether the server is not the embedded one.
    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self, Keeper::Processes(instances) if instances.stop_signal.is_some())
    }

    /// Starts an instance: when it was started, and when it was ready.
    pub(crate) async fn launch(&self, instance: u16, lines: &Arc<Lines>) -> Result<Times, RunError> {
        match self {
            Keeper::Processes(instances) => instances.launch(instance, lines).await,
            Keeper::Memory(houses) => houses.launch(instance, lines),
        }
    }

    /// SIGKILL: when it hit.
    pub(crate) async fn crash(&self, instance: u16) -> Result<u64, RunError> {
        match self {
            Keeper::Processes(instances) => instances.crash(instance).await,
            Keeper::Memory(houses) => houses.crash(instance),
        }
    }

    /// Asks an instance to end by itself, and waits until it has: when it was gone, and how it ended.
    pub(crate) async fn stop(&self, instance: u16, by: &ToServer, grace: Duration, lines: &Arc<Lines>) -> Result<(u64, String), RunError> {
        match self {
            Keeper::Processes(instances) => instances.stop(instance, by, grace, lines).await,
            Keeper::Memory(houses) => houses.stop(instance, by, grace, lines).await,
        }
    }

    /// SIGSTOP: when it hit. `lines`: those on which it is asked first how far it has come.
    pub(crate) async fn pause(&self, instance: u16, lines: Option<&Lines>) -> Result<u64, RunError> {
        match self {
            Keeper::Processes(instances) => instances.pause(instance, lines).await,
            Keeper::Memory(houses) => houses.pause(instance),
        }
    }

    /// SIGCONT: when it hit.
    pub(crate) async fn resume(&self, instance: u16, lines: &Lines) -> Result<u64, RunError> {
        match self {
            Keeper::Processes(instances) => instances.resume(instance, lines).await,
            Keeper::Memory(houses) => houses.resume(instance),
        }
    }

    /// Ends all and waits for them.
    pub(crate) async fn shut_down(&self) {
        match self {
            Keeper::Processes(instances) => instances.shut_down().await,
            Keeper::Memory(houses) => houses.shut_down(),
        }
    }
}
