//! The embedded server's end of its links: it never blocks the server, and what does not fit is counted and reported.
//!
//! Where worker processes have the clients, each has a link of its own: evidence of a connection goes to the worker whose client it
//! is, all else to the parent.

use crate::ipc;
use crate::ipc::{LinkEnd, Seal};
use crate::lock::lock;
use crate::number::{counted, word_of};
use crate::server::protocol::{FromServer, PROTOCOL, ServerSpec, ToServer};
use crate::ws::handshake::own_headers::Id;
use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

/// Bytes that may wait for the reader of a line; about 100,000 endings.
pub(crate) const QUEUE_MAX: usize = 32 << 20;
/// Longest wait for the readers to take the rest at exit. A reader of very many endings is busy with them for over two seconds; who waits for the exit gives
/// it five.
const FLUSH_WITHIN: Duration = Duration::from_secs(4);

/// Where evidence goes.
pub(crate) enum Reporter {
    /// The sending half of all lines.
    Lines {
        /// To the parent.
        parent: Arc<EvidenceLine>,
        /// By shard of the clients; none where the parent has them all.
        workers: Vec<Arc<EvidenceLine>>,
    },
    /// To this process: the server is tasks of it.
    Here(mpsc::UnboundedSender<FromServer>),
}

/// The sending half of one line.
pub(crate) struct EvidenceLine {
    writer: ipc::Writer,
    queue: Mutex<EvidenceQueue>,
    waiting: Notify,
    /// Whether the reader has all of it; `None`: it may still say so.
    heard: watch::Sender<Option<bool>>,
}

#[derive(Default)]
struct EvidenceQueue {
    bytes: VecDeque<u8>,
    seal: Seal,
    /// Most bytes.
    room: usize,
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
    /// Takes a link that was handed down, and learns from it what to be; the workers hear a hello before the parent says
    /// [`Listen`](ToServer::Listen). `room`: bytes that may wait for the reader of each link.
    ///
    /// # Errors
    /// What is said there first is something else.
    pub(crate) async fn take(link: LinkEnd, room: usize) -> Result<Option<(ServerSpec, Reporter, Commands)>, ipc::LinkError> {
        let (sender, commands) = mpsc::unbounded_channel();
        let (parent, mut read) = EvidenceLine::new(link, room)?;
        let (spec, count) = match read.next().await? {
            Some(ToServer::Serve { spec, workers }) => (*spec, workers),
            Some(other) => return Err(ipc::LinkError::out_of_place(&other)),
            None => return Ok(None),
        };
        let mut workers = Vec::new();
        for _ in 0..count {
            match read.next().await? {
                Some(ToServer::Worker) => {}
                Some(other) => return Err(ipc::LinkError::out_of_place(&other)),
                None => return Ok(None),
            }
            let (line, told) = EvidenceLine::new(read.file()?, room)?;
            tokio::spawn(read_commands(told, line.clone(), sender.clone(), parent.clone()));
            workers.push(line);
        }
        let (following, told) = (sender.clone(), parent.clone());
        tokio::spawn(async move {
            read_commands(read, told.clone(), following.clone(), told).await;
            // The parent is gone, and so shall we be.
            let _ = following.send(None);
        });
        Ok(Some((spec, Reporter::Lines { parent, workers }, Commands::Lines { commands, _sender: sender })))
    }

    /// Hands a line to the kernel, or queues it in order.
    pub(crate) fn send(&self, line: &FromServer) {
        let (parent, workers) = match self {
            Reporter::Lines { parent, workers } => (parent, workers),
            // Nobody reads it any more at the end of the run.
            Reporter::Here(reports) => return drop(reports.send(line.clone())),
        };
        let owner = match line {
            // Real clients come only where the parent has them all.
            FromServer::Injected { id: Some(Id { client, .. }), .. } | FromServer::Ended { id: Some(Id { client, .. }), .. } => {
                workers.get((client.0 as usize).checked_rem(workers.len()).unwrap_or(0))
            }
            _ => None,
        };
        owner.unwrap_or(parent).send(line);
    }

    /// Waits, bounded, until everything is with its reader. Whether it is.
    pub(crate) async fn flush(&self) -> bool {
        let Reporter::Lines { parent, workers } = self else { return true };
        let lines = workers.iter().chain([parent]);
        let all = futures_util::future::join_all(lines.map(|line| line.flush()));
        timeout(FLUSH_WITHIN, all).await.is_ok_and(|heard| heard.into_iter().all(|heard| heard))
    }
}

/// Hands on what one link says, to its end. What is wrong with it is told to the parent, and printed: the parent may be the one who is
/// wrong.
async fn read_commands(
    mut read: ipc::Receiver<ToServer>,
    line: Arc<EvidenceLine>,
    commands: mpsc::UnboundedSender<Option<ToServer>>,
    parent: Arc<EvidenceLine>,
) {
    let error = loop {
        match read.next().await {
            Ok(Some(told @ (ToServer::Serve { .. } | ToServer::Worker))) => break ipc::LinkError::out_of_place(&told),
            Ok(Some(ToServer::Tell { ticket })) => line.send(&FromServer::Told { ticket }),
            Ok(Some(ToServer::Heard)) => _ = line.heard.send_replace(Some(true)),
            Ok(Some(command)) => _ = commands.send(Some(command)),
            Ok(None) => {
                line.heard.send_if_modified(|heard| heard.is_none() && heard.replace(false).is_none());
                if !Arc::ptr_eq(&line, &parent) {
                    // At the end of a run nobody minds.
                    let why = "a worker no longer reads what an embedded server tells it: endings are missing".to_owned();
                    parent.send(&FromServer::Incomplete { why });
                }
                return;
            }
            Err(error) => break error,
        }
    };
    line.heard.send_replace(Some(false));
    let text = format!("embedded server: connection to closestorm: {error}");
    // Into target.log, which may be on a full disk.
    let _ = writeln!(io::stderr(), "{text}");
    parent.send(&FromServer::Notice { text });
}

impl EvidenceQueue {
    fn add(&mut self, line: Vec<u8>) {
        self.bytes.extend(self.seal.close(line));
    }

    /// Queues, beyond the bound, how many lines did not fit: what they said is missing from the results.
    fn tell_dropped(&mut self) {
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            let records = format!("{} of connections {}", counted(dropped, "record"), word_of(dropped, "was", "were"));
            let what = format!("{records} dropped because the buffer of the embedded server was full");
            self.add(ipc::encode(&FromServer::LocalLimit { what }).unwrap_or_default());
        }
    }
}

impl EvidenceLine {
    fn new(link: LinkEnd, room: usize) -> io::Result<(Arc<EvidenceLine>, ipc::Receiver<ToServer>)> {
        let (writer, read) = ipc::split(link, PROTOCOL)?;
        let queue = EvidenceQueue { bytes: ipc::hello(PROTOCOL).into(), room, ..EvidenceQueue::default() };
        let line = Arc::new(EvidenceLine { writer, queue: Mutex::new(queue), waiting: Notify::new(), heard: watch::Sender::default() });
        line.waiting.notify_one();
        let pump = line.clone();
        tokio::spawn(async move {
            loop {
                pump.waiting.notified().await;
                while pump.drain() {
                    if pump.writer.writable().await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok((line, read))
    }

    fn send(&self, line: &FromServer) {
        let text = ipc::encode(line);
        {
            let mut queue = lock(&self.queue);
            let Some(text) = text.ok().filter(|text| queue.bytes.len() + text.len() <= queue.room) else {
                queue.dropped += 1;
                return;
            };
            queue.tell_dropped();
            queue.add(text);
        }
        if self.drain() {
            self.waiting.notify_one();
        }
    }

    /// Writes what the kernel takes; returns whether something is left.
    fn drain(&self) -> bool {
        let mut queue = lock(&self.queue);
        while !queue.bytes.is_empty() {
            match self.writer.try_write(queue.bytes.as_slices().0) {
                Ok(written) => drop(queue.bytes.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                // The reader is gone.
                Err(_) => queue.bytes.clear(),
            }
        }
        false
    }

    /// Whether the reader has all of it.
    async fn flush(&self) -> bool {
        {
            let mut queue = lock(&self.queue);
            // After the last line nothing else would say so.
            queue.tell_dropped();
            queue.add(ipc::encode(&FromServer::Over).unwrap_or_default());
        }
        while self.drain() && self.writer.writable().await.is_ok() {}
        // A kernel that has it is no reader.
        let mut heard = self.heard.subscribe();
        heard.wait_for(Option::is_some).await.is_ok_and(|heard| *heard == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::memory;

    /// Takes from a link all that the server says, and says that it has: notices, and lines that were dropped, together so many.
    async fn heard(link: LinkEnd, lines: u64) -> (u64, u64) {
        let (orders, mut read, _) = ipc::open::<ToServer, FromServer>(link, PROTOCOL).expect("a link");
        let (mut notices, mut dropped) = (0, 0);
        loop {
            match read.next().await.expect("a link").expect("more comes") {
                FromServer::Notice { .. } => notices += 1,
                FromServer::LocalLimit { what } => {
                    dropped += what.split(' ').next().and_then(|count| count.parse::<u64>().ok()).expect("a number");
                }
                FromServer::Over => {
                    orders.send(&ToServer::Heard).expect("short enough");
                    assert_eq!(notices + dropped, lines);
                    return (notices, dropped);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_ends_waits_for_a_reader_who_is_busy_for_three_seconds() {
        for (busy, whole) in [(Duration::from_secs(3), true), (Duration::from_secs(5), false)] {
            memory::set(Some(memory::Weather::calm(memory::LinkOwner::new(1))));
            let (ours, theirs) = ipc::pair().expect("a link");
            let (commands, _obeyed) = mpsc::unbounded_channel();
            let (line, read) = EvidenceLine::new(ours, QUEUE_MAX).expect("a link");
            line.send(&FromServer::Notice { text: "the last one".to_owned() });
            let reader = tokio::spawn(async move {
                tokio::time::sleep(busy).await;
                heard(theirs, 1).await
            });
            let reading = tokio::spawn(read_commands(read, line.clone(), commands.clone(), line.clone()));
            let reporter = Reporter::Lines { parent: line, workers: Vec::new() };
            assert_eq!(reporter.flush().await, whole, "{busy:?}");
            reading.abort();
            reader.abort();
            memory::set(None);
        }
    }

    #[tokio::test]
    async fn lines_that_do_not_fit_are_counted_the_last_ones_too() {
        let text = "x".repeat(1 << 20);
        let (fitting, too_long) = (FromServer::Notice { text }, FromServer::Notice { text: "x".repeat(9 << 20) });
        let (commands, _obeyed) = mpsc::unbounded_channel();
        // Until it is full and beyond; and one that fits nowhere, which is the last.
        for (lines, last) in [(60, &fitting), (3, &too_long)] {
            let (ours, theirs) = ipc::pair().expect("a link");
            let (line, read) = EvidenceLine::new(ours, QUEUE_MAX).expect("a link");
            (0..lines).for_each(|_| line.send(&fitting));
            line.send(last);
            let reader = tokio::spawn(heard(theirs, lines + 1));
            let reading = tokio::spawn(read_commands(read, line.clone(), commands.clone(), line.clone()));
            assert_eq!(timeout(Duration::from_secs(20), line.flush()).await, Ok(true));
            reading.abort();
            drop(line);
            let (notices, dropped) = timeout(Duration::from_secs(20), reader).await.expect("none is missing").expect("it reads");
            assert!(notices + dropped == lines + 1 && dropped > 0, "{notices} and {dropped}");
        }
    }
}
