//! A server that is tasks of this process, on memory wires or sockets: started and ended as one.

use crate::server::ServerShared;
use crate::server::evidence;
use crate::server::evidence::Reporter;
use crate::server::host::{Ends, ServerHost};
use crate::server::listener::ListeningSocket;
use crate::server::protocol::{FromServer, ServerSpec, ToServer};
use crate::server::serve::carry_out;
use crate::transport::clock::Clock;
use crate::transport::memory::network::Network;
use std::io;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// A server that is tasks of this process. Dropped, it dies as by SIGKILL.
pub(crate) struct InMemoryServer {
    server: Arc<ServerShared>,
    network: Option<Network>,
    living: Ends,
}

impl InMemoryServer {
    /// Starts one, which listens when this returns, unless a fault of those in `standing` keeps it from it. `clock` dates what it reports.
    ///
    /// # Errors
    /// If its address is taken, or its certificate is of no use.
    pub(crate) fn start(
        spec: ServerSpec,
        network: Option<&Network>,
        clock: Clock,
        reports: mpsc::UnboundedSender<FromServer>,
        commands: mpsc::UnboundedReceiver<ToServer>,
        standing: impl Iterator<Item = ToServer>,
    ) -> io::Result<InMemoryServer> {
        let ground = ServerHost::Tasks { network: network.cloned(), clock, tasks: Mutex::default(), still: Arc::default() };
        let server = ServerShared::new(spec, ground, Reporter::Here(reports))?;
        standing.for_each(|command| carry_out(&server, command));
        let door = ListeningSocket::open(&server)?;
        let serving = server.clone();
        let living = async move { _ = serving.live(door, evidence::Commands::Here(commands)).await };
        let living = Ends(server.ground.task(living));
        Ok(InMemoryServer { server, network: network.cloned(), living })
    }

    /// Stops all of it as SIGSTOP does, or lets it go on. What its kernel does goes on all the same: connections are taken, bytes arrive.
    pub(crate) fn stand_still(&self, still: bool) {
        if still {
            self.server.admission.stand_still();
        } else {
            self.server.admission.go_on();
        }
        self.server.ground.stand_still(still);
    }

    /// Waits until it has stopped serving because it was told to.
    pub(crate) async fn stopped(&mut self) {
        let _ = (&mut self.living.0).await;
    }
}

impl Drop for InMemoryServer {
    fn drop(&mut self) {
        // As a kernel does: what it had open ends, and nothing of it runs any more.
        self.network.iter().for_each(|network| network.kill(self.server.spec.address));
        self.server.ground.clear();
    }
}
