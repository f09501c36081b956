//! The server that a client meets: each of its connections gets the steps that were prepared for it, in the order in which it asks.

use crate::close::Ending;
use crate::seed::Seed;
use crate::serve::steps::PathSteps;
use crate::serve::{StepServer, Visit, VisitEvent, Visitors};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// A server for one client.
pub(super) struct LearnHost {
    address: SocketAddr,
    steps: mpsc::UnboundedSender<PathSteps>,
    visits: mpsc::UnboundedReceiver<Visit>,
    task: JoinHandle<()>,
    /// The connections that are here, and which of them are open and well.
    here: Vec<(u64, bool)>,
    /// Connections that came and were not asked for yet, and when.
    waiting: Vec<(u64, Instant)>,
    /// Connections that came.
    pub(super) came: u32,
    /// Those of them that came while another was open and well.
    pub(super) doubles: u32,
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
    /// A server at `listen`; port 0 takes a free one.
    pub(super) async fn start(listen: SocketAddr, seed: Seed) -> io::Result<LearnHost> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (steps, prepared) = mpsc::unbounded_channel();
        let (told, visits) = mpsc::unbounded_channel();
        let server = StepServer::for_visitors(seed, Visitors::new(prepared, told)).map_err(io::Error::other)?;
        let task = tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
        Ok(LearnHost { address, steps, visits, task, here: Vec::new(), waiting: Vec::new(), came: 0, doubles: 0 })
    }

    /// A server at a free port of loopback.
    pub(super) async fn on_loopback(seed: Seed) -> io::Result<LearnHost> {
        LearnHost::start((Ipv4Addr::LOCALHOST, 0).into(), seed).await
    }

    pub(super) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// The next connection that asks for a WebSocket gets these steps.
    pub(super) fn prepare(&self, path: &str) {
        let steps = path.parse().unwrap_or_else(|error| unreachable!("a path of this program: {path}: {error}"));
        // The host lives as long as this.
        let _ = self.steps.send(steps);
    }

    /// The next connection that comes, and when; `None`: none by `until`.
    pub(super) async fn next(&mut self, until: Instant) -> Option<(u64, Instant)> {
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
        match visit.event {
            VisitEvent::Came => {
                self.came += 1;
                self.doubles += u32::from(self.here.iter().any(|(_, well)| *well));
                self.here.push((visit.number, false));
                self.waiting.push((visit.number, visit.at));
            }
            VisitEvent::Opened => self.here.iter_mut().filter(|(number, _)| *number == visit.number).for_each(|(_, well)| *well = true),
            VisitEvent::Ended(_) => self.here.retain(|(number, _)| *number != visit.number),
            // It took no steps: nothing that was prepared went to it.
            VisitEvent::Passed => {}
        }
    }

    /// From now on what comes beside the open connections comes because they are not well.
    pub(super) fn unwell(&mut self) {
        while let Ok(visit) = self.visits.try_recv() {
            self.note(&visit);
        }
        self.here.iter_mut().for_each(|(_, well)| *well = false);
    }

    /// Forgets what came before, as of a process that is gone: steps that nobody took would be those of the next one.
    pub(super) async fn renew(&mut self, seed: Seed) -> io::Result<()> {
        self.task.abort();
        let (came, doubles) = (self.came, self.doubles);
        *self = LearnHost::on_loopback(seed).await?;
        (self.came, self.doubles) = (came, doubles);
        Ok(())
    }
}

impl Drop for LearnHost {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How long it was from one instant to a later one.
pub(super) fn between(from: Instant, to: Instant) -> Duration {
    to.saturating_duration_since(from)
}
