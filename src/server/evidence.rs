//! The embedded server's end of `channel`: it never blocks the server, and what does not fit is counted and reported.
//!
//! Where worker processes have the clients, each has a line of its own: evidence of a connection goes to the worker whose client it
//! is, all else to the parent.

use crate::server::protocol::{FromServer, ServerSpec, ToServer};
use crate::ws::handshake::own_headers::Id;
use std::collections::VecDeque;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream as StdStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

/// Bytes that may wait for the reader of a line; about 100,000 endings.
const QUEUE_MAX: usize = 32 << 20;
/// Longest wait for the readers to take the rest at exit.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// Where evidence goes.
pub(crate) enum Reporter {
    /// The sending half of all lines.
    Lines {
        /// To the parent.
        parent: Arc<Line>,
        /// By shard of the clients; none where the parent has them all.
        workers: Vec<Arc<Line>>,
    },
    /// To this process: the server is tasks of it.
    Here(mpsc::UnboundedSender<FromServer>),
}

/// The sending half of one line.
pub(crate) struct Line {
    stream: OwnedWriteHalf,
    queue: Mutex<Queue>,
    waiting: Notify,
}

#[derive(Default)]
struct Queue {
    bytes: VecDeque<u8>,
    dropped: u64,
}

/// Where commands come from.
pub(crate) enum Commands {
    /// The receiving half of all lines.
    Lines {
        /// What came.
        commands: mpsc::UnboundedReceiver<Option<ToServer>>,
        /// Holds the channel open.
        _sender: mpsc::UnboundedSender<Option<ToServer>>,
    },
    /// This process.
    Here(mpsc::UnboundedReceiver<ToServer>),
}

impl Commands {
    /// The next command; `None` when the parent is gone.
    pub(crate) async fn next(&mut self) -> Option<ToServer> {
        match self {
            Commands::Lines { commands, .. } => commands.recv().await.flatten(),
            Commands::Here(commands) => commands.recv().await,
        }
    }
}

impl Reporter {
    /// Connects and says hello: to the workers first, so that their lines are there when the parent hears of it.
    pub(crate) async fn connect(spec: &ServerSpec) -> io::Result<(Reporter, Commands)> {
        let (sender, commands) = mpsc::unbounded_channel();
        let hello =
            FromServer::Hello { instance: spec.instance, process: spec.process, token: spec.token.clone(), pid: std::process::id() };
        let mut workers = Vec::new();
        for name in &spec.workers {
            let (line, read) = Line::connect(name)?;
            line.send(&hello);
            tokio::spawn(read_commands(read, sender.clone()));
            workers.push(line);
        }
        let (parent, read) = Line::connect(&spec.report_to)?;
        parent.send(&hello);
        let following = sender.clone();
        tokio::spawn(async move {
            read_commands(read, following.clone()).await;
            // The parent is gone, and so shall we be.
            let _ = following.send(None);
        });
        Ok((Reporter::Lines { parent, workers }, Commands::Lines { commands, _sender: sender }))
    }

    /// Hands a line to the kernel, or queues it in order.
    pub(crate) fn send(&self, line: &FromServer) {
        let (parent, workers) = match self {
            Reporter::Lines { parent, workers } => (parent, workers),
            // Nobody reads it any more at the end of the run.
            Reporter::Here(reports) => return drop(reports.send(line.clone())),
        };
        let owner = match line {
            FromServer::Injected { id: Some(Id { client, .. }), .. } | FromServer::Ended { id: Some(Id { client, .. }), .. } => {
                workers.get((client.0 as usize).checked_rem(workers.len()).unwrap_or(0))
            }
            _ => None,
        };
        owner.unwrap_or(parent).send(line);
    }

    /// Waits, bounded, until everything is with its reader.
    pub(crate) async fn flush(&self) {
        let Reporter::Lines { parent, workers } = self else { return };
        let lines = workers.iter().chain([parent]);
        let _ = timeout(FLUSH_WITHIN, futures_util::future::join_all(lines.map(|line| line.flush()))).await;
    }
}

async fn read_commands(read: OwnedReadHalf, commands: mpsc::UnboundedSender<Option<ToServer>>) {
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(command) = serde_json::from_str(&line) else { return };
        let _ = commands.send(Some(command));
    }
}

impl Line {
    fn connect(name: &str) -> io::Result<(Arc<Line>, OwnedReadHalf)> {
        let stream = StdStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?;
        stream.set_nonblocking(true)?;
        let (read, write) = UnixStream::from_std(stream)?.into_split();
        let line = Arc::new(Line { stream: write, queue: Mutex::default(), waiting: Notify::new() });
        let pump = line.clone();
        tokio::spawn(async move {
            loop {
                pump.waiting.notified().await;
                while pump.drain() {
                    if pump.stream.writable().await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok((line, read))
    }

    fn send(&self, line: &FromServer) {
        let mut text = serde_json::to_vec(line).expect("the report types have no maps with odd keys");
        text.push(b'\n');
        {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if queue.bytes.len() + text.len() > QUEUE_MAX {
                queue.dropped += 1;
                return;
            }
            if queue.dropped > 0 {
                let notice =
                    FromServer::Notice { text: format!("server: {} lines of evidence did not fit", std::mem::take(&mut queue.dropped)) };
                queue.bytes.extend(serde_json::to_vec(&notice).expect("plain text"));
                queue.bytes.push_back(b'\n');
            }
            queue.bytes.extend(text);
        }
        if self.drain() {
            self.waiting.notify_one();
        }
    }

    /// Writes what the kernel takes; returns whether something is left.
    fn drain(&self) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        while !queue.bytes.is_empty() {
            match self.stream.try_write(queue.bytes.as_slices().0) {
                Ok(written) => drop(queue.bytes.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                // The reader is gone.
                Err(_) => queue.bytes.clear(),
            }
        }
        false
    }

    async fn flush(&self) {
        while self.drain() && self.stream.writable().await.is_ok() {}
    }
}
