//! The runtime of an embedded server: a process of its own, or tasks beside its clients, with sockets or with wires in memory.

use crate::lock::lock;
use crate::server::protocol::ServerSpec;
use crate::transport::clock::Clock;
use crate::transport::memory::network::Network;
use crate::transport::socket::Listener;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use tokio::net::TcpSocket;
use tokio::task::{JoinHandle, JoinSet};

/// What a server stands on.
pub(crate) enum ServerHost {
    /// A process, whose end is that of all its tasks.
    Process,
    /// Tasks of a process that has other things to do as well.
    Tasks {
        /// Where it listens; `None`: on a socket.
        network: Option<Network>,
        /// Dates its evidence.
        clock: Clock,
        /// All that a crash ends.
        tasks: Mutex<JoinSet<()>>,
        /// Whether it is stopped.
        still: Arc<Still>,
    },
}

/// Whether the tasks of a server stand still, as those of a process after SIGSTOP.
#[derive(Debug, Default)]
pub(crate) struct Still(Mutex<(bool, Vec<Waker>)>);

impl Still {
    fn lock(&self) -> MutexGuard<'_, (bool, Vec<Waker>)> {
        lock(&self.0)
    }

    /// Does this work unless it stands still: what comes meanwhile is seen when it goes on, in the order in which it came.
    fn stoppable(self: Arc<Self>, work: impl Future<Output = ()> + Send + 'static) -> impl Future<Output = ()> + Send + 'static {
        let mut work = Box::pin(work);
        poll_fn(move |cx| {
            let mut still = self.lock();
            if still.0 {
                still.1.push(cx.waker().clone());
                return Poll::Pending;
            }
            drop(still);
            work.as_mut().poll(cx)
        })
    }
}

impl ServerHost {
    /// Opens the listening socket, with a queue of `backlog`.
    ///
    /// # Errors
    /// If the address is taken.
    pub(crate) fn listen(&self, spec: &ServerSpec, backlog: u32) -> io::Result<Listener> {
        match self {
            ServerHost::Process | ServerHost::Tasks { network: None, .. } => listen(spec, backlog),
            ServerHost::Tasks { network: Some(network), .. } => network.listen(spec.address, backlog).map(Listener::Memory),
        }
    }

    /// Reading of the clock that dates evidence, ns.
    pub(crate) fn now_ns(&self) -> u64 {
        match self {
            ServerHost::Process => Clock::Machine.now_ns(),
            ServerHost::Tasks { clock, .. } => clock.now_ns(),
        }
    }

    /// Begins a task that ends with the server at the latest.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match self {
            ServerHost::Process => drop(tokio::spawn(task)),
            ServerHost::Tasks { tasks, still, .. } => {
                let mut tasks = lock(tasks);
                tasks.spawn(still.clone().stoppable(task));
                // Those that are over leave nothing behind.
                while tasks.try_join_next().is_some() {}
            }
        }
    }

    /// Begins a task that ends when its owner says so.
    pub(crate) fn task(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        match self {
            ServerHost::Process => tokio::spawn(task),
            ServerHost::Tasks { still, .. } => tokio::spawn(still.clone().stoppable(task)),
        }
    }

    /// Stops all tasks, or lets them go on; a process is stopped by others.
    pub(crate) fn stand_still(&self, stands: bool) {
        if let ServerHost::Tasks { still, .. } = self {
            let mut still = still.lock();
            still.0 = stands;
            let woken = if stands { Vec::new() } else { std::mem::take(&mut still.1) };
            drop(still);
            woken.into_iter().for_each(Waker::wake);
        }
    }

    /// Ends all tasks where they stand.
    pub(crate) fn clear(&self) {
        if let ServerHost::Tasks { tasks, .. } = self {
            lock(tasks).abort_all();
        }
    }
}

/// Binds the port of a server, which its parent holds meanwhile.
///
/// # Errors
/// If the port is taken.
fn bind(spec: &ServerSpec) -> io::Result<TcpSocket> {
    let socket = if spec.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // The parent holds the port with the same option, so that it stays ours while we are down.
    socket.set_reuseport(true)?;
    socket.bind(spec.address)?;
    Ok(socket)
}

/// Listens at the address of a server, with a queue of `backlog`.
///
/// # Errors
/// If the port is taken.
fn listen(spec: &ServerSpec, backlog: u32) -> io::Result<Listener> {
    bind(spec)?.listen(backlog).map(Listener::Tcp)
}

/// A task that ends when its handle is dropped.
pub(crate) struct Ends(pub(crate) JoinHandle<()>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}
