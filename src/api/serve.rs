//! A server that misbehaves as URLs say, for tests of clients.

use crate::api::background::Background;
use crate::api::error::Error;
use crate::api::outcome::Outcome;
use crate::metrics::meta::{RealClients, SeenFrom};
use crate::seed::Seed;
use crate::serve::StepServer;
use crate::witness::{Witness, WitnessedRun};
use std::fmt;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Seed of the chances that URLs ask for.
const SEED: u64 = 1;

/// An echo server on a free port of this machine that misbehaves as the path of a URL says, as `closestorm serve`: the page `docs/serve.md` has all
/// steps. It runs on a thread of its own, and is gone when this is dropped.
pub struct Serve {
    server: Arc<StepServer>,
    witness: Arc<Witness>,
    url: String,
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
    background: Background,
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Serve {
    /// Starts one.
    ///
    /// # Errors
    /// [`Error::Failed`]: this machine has no port or thread left.
    pub fn start() -> Result<Serve, Error> {
        let witness = Arc::new(Witness::new(RealClients { seen_from: SeenFrom::Server, identified: false }));
        let server = StepServer::recorded(Seed(SEED), None, Box::new(drop), witness.clone()).map_err(Error::failed)?;
        let (server, background) = (Arc::new(server), Background::start("closestorm-serve")?);
        let listener = background.wait_for(TcpListener::bind("127.0.0.1:0"))?.map_err(Error::failed)?;
        let address = listener.local_addr().map_err(Error::failed)?;
        let ((stop, stopping), (tell, stopped)) = (oneshot::channel(), oneshot::channel());
        let serving = server.clone();
        background.spawn(async move {
            serving.serve(listener, async { drop(stopping.await) }).await;
            // Nobody may wait for it.
            let _ = tell.send(());
        });
        Ok(Serve { server, witness, url: format!("ws://{address}"), stop, stopped, background })
    }

    /// Where clients connect, `ws://127.0.0.1:PORT` without a path: what it does to a connection is the path, as `/close/1011`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Number of connections that asked for a WebSocket so far.
    pub fn begun(&self) -> u64 {
        self.server.begun()
    }

    /// Closes all connections with 1001, waits up to 1 s for their clients, and ends: what it saw, without expectations. The clients are the cohort
    /// `real`.
    ///
    /// # Errors
    /// [`Error::Failed`]: what was counted is inconsistent.
    pub fn stop(self) -> Result<Outcome, Error> {
        // It may have ended by an error of its own.
        let _ = self.stop.send(());
        self.background.wait_for(async { drop(self.stopped.await) })?;
        Outcome::witnessed(&self.witness, &WitnessedRun { name: "serve".to_owned(), target: self.url, seed: SEED })
    }
}
