//! The server that a client meets: each of its connections gets the steps that were prepared for it, in the order in which it asks. One beside
//! another that is open and well gets none.

use crate::close::Ending;
use crate::seed::Seed;
use crate::serve::account::WireAccount;
use crate::serve::steps::PathSteps;
use crate::serve::{StepServer, Visit, VisitEvent, Visitors};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// What servers of one question have in common.
#[derive(Clone, Debug)]
pub(super) struct HostSettings {
    pub(super) seed: Seed,
    /// Where it always listens; `None`: at free ports of loopback, so that a process that is gone is not mixed up with the next.
    pub(super) listen: Option<SocketAddr>,
    /// `HOST:PORT` of the server that speaks on open connections; `None`: messages are sent back.
    pub(super) upstream: Option<String>,
}

/// A server for one client.
pub(super) struct LearnHost {
    settings: HostSettings,
    address: SocketAddr,
    server: Arc<StepServer>,
    visitors: Arc<Visitors>,
    steps: mpsc::UnboundedSender<PathSteps>,
    visits: mpsc::UnboundedReceiver<Visit>,
    /// Accepts; `None`: the port is closed.
    task: Option<JoinHandle<()>>,
    /// Connections that came and were not asked for yet.
    waiting: Vec<Arrival>,
    pub(super) counts: ConnectionCounts,
}

/// A connection that came for steps.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) number: u64,
    pub(super) at: Instant,
    /// What is on its wire.
    pub(super) wire: watch::Receiver<WireAccount>,
}

/// Connections of a client, counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ConnectionCounts {
    /// Those that came.
    pub(super) came: u32,
    /// Those of them that came while another was open and well.
    pub(super) doubles: u32,
    /// Most that were open and well at the same time.
    pub(super) most: u32,
}

/// A connection that ended.
#[derive(Clone, Debug)]
pub(super) struct VisitEnd {
    /// When.
    pub at: Instant,
    /// The server's account; `None`: it never opened.
    pub ending: Option<Box<Ending>>,
}

impl LearnHost {
    /// A server as the settings say.
    pub(super) async fn start(settings: HostSettings) -> io::Result<LearnHost> {
        let listener = TcpListener::bind(settings.listen.unwrap_or((Ipv4Addr::LOCALHOST, 0).into())).await?;
        let address = listener.local_addr()?;
        let (steps, prepared) = mpsc::unbounded_channel();
        let (told, visits) = mpsc::unbounded_channel();
        let visitors = Arc::new(Visitors::new(prepared, told));
        let server =
            Arc::new(StepServer::for_visitors(settings.seed, visitors.clone(), settings.upstream.clone()).map_err(io::Error::other)?);
        let (waiting, counts) = (Vec::new(), ConnectionCounts::default());
        let mut host = LearnHost { settings, address, server, visitors, steps, visits, task: None, waiting, counts };
        host.accept(listener);
        Ok(host)
    }

    fn accept(&mut self, listener: TcpListener) {
        let server = self.server.clone();
        self.task = Some(tokio::spawn(async move { server.serve(listener, std::future::pending()).await }));
    }

    pub(super) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on the kernel refuses connections; those that are here stay.
    pub(super) async fn close_port(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // The socket is closed when the task is gone.
            let _ = task.await;
        }
    }

    /// Takes connections again, at the same port.
    pub(super) async fn open_port(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        self.accept(listener);
        Ok(())
    }

    /// The next connection that asks for a WebSocket gets these steps.
    pub(super) fn prepare(&self, path: &str) {
        let steps = path.parse().unwrap_or_else(|error| unreachable!("a path of this program: {path}: {error}"));
        // The host lives as long as this.
        let _ = self.steps.send(steps);
    }

    /// The next connection that comes; `None`: none by `until`.
    pub(super) async fn next(&mut self, until: Instant) -> Option<Arrival> {
        loop {
            if !self.waiting.is_empty() {
                return Some(self.waiting.remove(0));
            }
            let visit = timeout_at(until, self.visits.recv()).await.ok()??;
            self.note(&visit);
        }
    }

    /// The end of a connection; `None`: it is still there at `until`.
    pub(super) async fn end(&mut self, number: u64, until: Instant) -> Option<VisitEnd> {
        loop {
            let visit = timeout_at(until, self.visits.recv()).await.ok()??;
            self.note(&visit);
            match visit.event {
                VisitEvent::Ended(ending) if visit.number == number => return Some(VisitEnd { at: visit.at, ending }),
                _ => {}
            }
        }
    }

    fn note(&mut self, visit: &Visit) {
        match &visit.event {
            VisitEvent::Came(wire) => {
                self.counts.came += 1;
                self.waiting.push(Arrival { number: visit.number, at: visit.at, wire: wire.clone() });
            }
            VisitEvent::Beside => {
                self.counts.came += 1;
                self.counts.doubles += 1;
            }
            VisitEvent::Opened(at_once) => self.counts.most = self.counts.most.max(*at_once),
            // One that took no steps is no affair of a question.
            VisitEvent::Ended(_) | VisitEvent::Passed => {}
        }
    }

    /// From now on what comes beside the open connections comes because they are not well.
    pub(super) fn unwell(&self) {
        self.visitors.unwell();
    }

    /// Forgets what came before, as of a client that is gone: steps that nobody took would be those of the next one.
    pub(super) async fn renew(&mut self) -> io::Result<()> {
        self.close_port().await;
        let counts = self.counts;
        let listen = self.settings.listen.map(|_| self.address);
        *self = LearnHost::start(HostSettings { listen, ..self.settings.clone() }).await?;
        self.counts = counts;
        Ok(())
    }
}

impl Drop for LearnHost {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// How long it was from one instant to a later one.
pub(super) fn between(from: Instant, to: Instant) -> Duration {
    to.saturating_duration_since(from)
}
