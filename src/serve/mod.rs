//! An echo server that misbehaves as the path of a URL says, for tests of one's own clients.
//!
//! The second host of what the embedded server is made of: links, taps, handshakes, sessions and faults are the same. `steps` reads a URL,
//! `connection` does what it says, `wire_log` tells what was on the wire, `http` serves the page and that log,
//! `account` has what a host wants to know of the wire.

pub mod account;
pub mod catalogue;
mod connection;
mod context;
mod http;
mod page;
mod seen;
pub mod steps;
mod upstream;
mod visits;
mod wire_log;

pub use self::context::Told;
pub use self::visits::{Visit, VisitEvent, Visitors};
use crate::event::Event;
use crate::seed::Seed;
use crate::serve::context::ServeContext;
use crate::transport::local_limit::local_limit;
use crate::transport::tls::Identity;
use crate::transport::tls_error::TlsError;
use crate::witness::Witness;
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
        Ok(StepServer::of(ServeContext::new(seed, identity, told)?))
    }

    fn of(context: ServeContext) -> StepServer {
        StepServer { context: Arc::new(context), served: Arc::default() }
    }

    /// The same, whose connections are recorded for a run folder.
    pub fn recorded(seed: Seed, identity: Option<&Identity>, told: Told, witness: Arc<Witness>) -> Result<StepServer, TlsError> {
        let mut context = ServeContext::new(seed, identity, told)?;
        context.witness = Some(witness);
        Ok(StepServer::of(context))
    }

    /// The same before it serves, which tells JSON objects in place of words: of each connection that ended `connection`, `from`, `path`, `opened`, and what the
    /// server knows of its end; of trouble `trouble`.
    pub fn in_json(mut self) -> StepServer {
        // Nobody else has it yet.
        if let Some(context) = Arc::get_mut(&mut self.context) {
            context.in_json = true;
        }
        self
    }

    /// One whose connections get their steps from `visitors`, whatever their URLs say. What is said on open ones is the affair of the server at
    /// `upstream`, `HOST:PORT`, if there is one; otherwise messages are sent back.
    ///
    /// # Errors
    /// None without a certificate, which this has not.
    pub fn for_visitors(seed: Seed, visitors: Arc<Visitors>, upstream: Option<String>) -> Result<StepServer, TlsError> {
        let mut context = ServeContext::new(seed, None, Box::new(drop))?;
        (context.visitors, context.upstream) = (Some(visitors), upstream);
        Ok(StepServer::of(context))
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
        // What the end of the server does to connections is no result.
        self.context.witness.iter().for_each(|witness| witness.end());
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
                        let why = local_limit(&error).map_or_else(|| error.to_string(), str::to_owned);
                        self.limit(format!("cannot accept connections: {why}"));
                    }
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// Tells of a limit of this machine or of ours.
    fn limit(&self, what: String) {
        self.context.witness.iter().for_each(|witness| witness.tell(Event::LocalLimit { what: what.clone() }));
        self.context.trouble(what);
    }

    fn take(&self, socket: TcpStream, from: SocketAddr) {
        let served = Served::one_more(&self.served);
        if self.served.load(Ordering::Relaxed) > CONNECTIONS_MAX {
            return self.limit(format!("connections beyond {CONNECTIONS_MAX} at a time were closed at once"));
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
