//! The listening socket of a proxy, and what faults make of it. Whom they hit is the kernel's business.

use crate::fault::OnListener;
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};

/// Length of the listen queue, as the runtime has it.
const BACKLOG: i32 = 1024;

/// The filter that takes no byte of any packet: BPF's `ret #0`.
const DROP_ALL: socket2::SockFilter = socket2::SockFilter::new(0x06, 0, 0, 0);

/// What holds on a listening socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DoorState {
    /// It is closed.
    closed: bool,
    /// Nothing is accepted, and the queue is as long as this.
    full: Option<u32>,
    /// The kernel drops what asks for a connection.
    unreachable: bool,
}

impl DoorState {
    /// The strictest of several.
    pub(crate) fn of(all: impl Iterator<Item = OnListener>) -> Self {
        let mut state = DoorState::default();
        for on in all {
            match on {
                OnListener::Closed => state.closed = true,
                OnListener::Full(backlog) => state.full = Some(state.full.unwrap_or(backlog).min(backlog)),
                OnListener::Unreachable => state.unreachable = true,
                // Refused before it came here.
                OnListener::Files(_) => {}
            }
        }
        state
    }

    /// Whether the port refuses.
    pub(crate) fn is_closed(self) -> bool {
        self.closed
    }
}

/// A listening socket.
#[derive(Debug)]
pub(crate) struct ProxyDoor {
    address: SocketAddr,
    /// `None` while it is closed.
    listener: Option<TcpListener>,
    state: DoorState,
}

impl ProxyDoor {
    /// One that listens.
    pub(crate) fn new(listener: TcpListener, address: SocketAddr) -> Self {
        ProxyDoor { address, listener: Some(listener), state: DoorState::default() }
    }

    /// Where it listens, or is to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket; `None` while it is closed.
    pub(crate) fn listener(&self) -> Option<&TcpListener> {
        self.listener.as_ref()
    }

    /// Brings it into this state.
    ///
    /// # Errors
    /// The port was taken meanwhile, or the kernel refuses.
    pub(crate) async fn apply(&mut self, state: DoorState) -> io::Result<()> {
        if state.closed {
            // The kernel resets what waits in the queue.
            self.listener = None;
        } else {
            if self.listener.is_none() {
                self.listener = Some(TcpListener::bind(self.address).await?);
                self.state = DoorState::default();
            }
            if let Some(listener) = self.listener.as_ref().filter(|_| self.state.full != state.full) {
                // listen(2) on a socket that listens changes the length of its queue.
                let backlog = state.full.map_or(BACKLOG, |backlog| i32::try_from(backlog).unwrap_or(i32::MAX));
                socket2::SockRef::from(listener).listen(backlog)?;
            }
            if let Some(listener) = self.listener.as_ref().filter(|_| self.state.unreachable != state.unreachable) {
                let socket = socket2::SockRef::from(listener);
                // A filter of a listening socket acts on what asks for a connection, not on connections that are open.
                if state.unreachable { socket.attach_filter(&[DROP_ALL])? } else { socket.detach_filter()? }
            }
        }
        self.state = state;
        Ok(())
    }

    /// The next connection that waits; never, while a fault keeps it from being taken.
    ///
    /// # Errors
    /// What the kernel says, EMFILE above all.
    pub(crate) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match &self.listener {
            Some(listener) if self.state.full.is_none() => listener.accept().await,
            _ => std::future::pending().await,
        }
    }
}
