//! An echo server that misbehaves as the path of a URL says, for tests of one's own clients.
//!
//! The second host of what the embedded server is made of: links, taps, handshakes, sessions and faults are the same. `steps` reads a URL,
//! `connection` does what it says, `wire_log` tells what was on the wire, `http` serves the page and that log.

pub mod catalogue;
mod connection;
mod context;
mod http;
mod page;
pub mod steps;
mod upstream;
mod visits;
mod wire_log;

pub use self::context::Told;
pub use self::visits::{Visit, VisitEvent, Visitors};
use crate::seed::Seed;
use crate::serve::context::ServeContext;
use crate::transport::tls::Identity;
use crate::transport::tls_error::TlsError;
use crate::ws::memory;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// Most connections at a time; more are closed at once.
const CONNECTIONS_MAX: usize = 10_000;
/// Memory for the messages of all connections together.
const MEMORY: usize = 512 << 20;
/// Pause after a failed accept.
const RETRY: Duration = Duration::from_millis(50);

/// A server that misbehaves as URLs say.
pub struct StepServer {
    context: Arc<ServeContext>,
    /// Sockets that are served now.
    served: Arc<AtomicUsize>,
}

impl StepServer {
    /// One whose chances come from this seed; with a certificate it speaks TLS.
    ///
    /// # Errors
    /// If certificate and key do not fit together.
    pub fn new(seed: Seed, identity: Option<&Identity>, told: Told) -> Result<StepServer, TlsError> {
        Ok(StepServer { context: Arc::new(ServeContext::new(seed, identity, told, None, None)?), served: Arc::default() })
    }

    /// One whose connections get their steps from `visitors`, whatever their URLs say. What is said on open ones is the affair of the server at
    /// `upstream`, `HOST:PORT`, if there is one; otherwise messages are sent back.
    ///
    /// # Errors
    /// None without a certificate, which this has not.
    pub fn for_visitors(seed: Seed, visitors: Visitors, upstream: Option<String>) -> Result<StepServer, TlsError> {
        let context = ServeContext::new(seed, None, Box::new(drop), Some(visitors), upstream)?;
        Ok(StepServer { context: Arc::new(context), served: Arc::default() })
    }

    /// How many connections asked for a WebSocket so far.
    pub fn begun(&self) -> u64 {
        self.context.begun()
    }

    /// Serves until `stop`, then closes all connections with 1001.
    pub async fn serve(&self, listener: TcpListener, stop: impl Future<Output = ()>) {
        memory::set_limit(MEMORY);
        tokio::select! {
            biased;
            () = stop => {}
            () = self.accept(&listener) => {}
        }
        drop(listener);
        self.context.close_all().await;
    }

    /// Accepts for ever.
    async fn accept(&self, listener: &TcpListener) {
        let mut complained = false;
        loop {
            match listener.accept().await {
                Ok((socket, from)) => {
                    complained = false;
                    self.take(socket, from);
                }
                Err(error) => {
                    // EMFILE above all: the connection waits in the queue. Told once for each time of trouble.
                    if !std::mem::replace(&mut complained, true) {
                        (self.context.told)(format!("cannot accept connections: {error}"));
                    }
                    sleep(RETRY).await;
                }
            }
        }
    }

    fn take(&self, socket: TcpStream, from: SocketAddr) {
        let served = Served::one_more(&self.served);
        if self.served.load(Ordering::Relaxed) > CONNECTIONS_MAX {
            return (self.context.told)(format!("{from}: closed, there are {CONNECTIONS_MAX} connections already"));
        }
        let context = self.context.clone();
        tokio::spawn(async move {
            let _served = served;
            connection::serve(context, socket, from).await;
        });
    }
}

/// One of the sockets that are served, as long as it lives: a task that panics gives its place back, too.
struct Served(Arc<AtomicUsize>);

impl Served {
    fn one_more(all: &Arc<AtomicUsize>) -> Served {
        all.fetch_add(1, Ordering::Relaxed);
        Served(all.clone())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
