//! What a server stands on: a process of its own, with sockets, or tasks beside its clients, with wires in memory.

use super::super::channel::ServerSpec;
use super::listener;
use crate::net::clock::Clock;
use crate::net::memory::Network;
use crate::net::wire::Listener;
use std::io;
use std::sync::{Mutex, PoisonError};
use tokio::task::{JoinHandle, JoinSet};

/// What a server stands on.
pub(super) enum Ground {
    /// A process, whose end is that of all its tasks.
    Process,
    /// Tasks of a process that has other things to do as well.
    Memory {
        /// Where it listens.
        network: Network,
        /// Dates its evidence.
        clock: Clock,
        /// All that a crash ends.
        tasks: Mutex<JoinSet<()>>,
    },
}

impl Ground {
    /// Opens the listening socket, with a queue of `backlog`.
    ///
    /// # Errors
    /// If the address is taken.
    pub(super) fn listen(&self, spec: &ServerSpec, backlog: u32) -> io::Result<Listener> {
        match self {
            Ground::Process => listener::listen(spec, backlog),
            Ground::Memory { network, .. } => network.listen(spec.address, backlog).map(Listener::Memory),
        }
    }

    /// Reading of the clock that dates evidence, ns.
    pub(super) fn now_ns(&self) -> u64 {
        match self {
            Ground::Process => Clock::Machine.now_ns(),
            Ground::Memory { clock, .. } => clock.now_ns(),
        }
    }

    /// Begins a task that ends with the server at the latest.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match self {
            Ground::Process => drop(tokio::spawn(task)),
            Ground::Memory { tasks, .. } => {
                let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
                tasks.spawn(task);
                // Those that are over leave nothing behind.
                while tasks.try_join_next().is_some() {}
            }
        }
    }

    /// Ends all tasks where they stand.
    pub(super) fn clear(&self) {
        if let Ground::Memory { tasks, .. } = self {
            tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        }
    }
}

/// A task that ends when its handle is dropped.
pub(super) struct Ends(pub(super) JoinHandle<()>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}
