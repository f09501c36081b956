//! The embedded server's end of `channel`: it never blocks the server, and what does not fit is counted and reported.

use super::super::channel::{FromServer, ServerSpec, ToServer};
use std::collections::VecDeque;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream as StdStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::time::timeout;

/// Bytes that may wait for the parent; about 100,000 endings.
const QUEUE_MAX: usize = 32 << 20;
/// Longest wait for the parent to take the rest at exit.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// The sending half.
pub(super) struct Reporter {
    stream: OwnedWriteHalf,
    queue: Mutex<Queue>,
    waiting: Notify,
}

#[derive(Default)]
struct Queue {
    bytes: VecDeque<u8>,
    dropped: u64,
}

/// The receiving half.
pub(super) struct Commands(Lines<BufReader<OwnedReadHalf>>);

impl Commands {
    /// The next command; `None` when the parent is gone.
    pub(super) async fn next(&mut self) -> Option<ToServer> {
        let line = self.0.next_line().await.ok().flatten()?;
        serde_json::from_str(&line).ok()
    }
}

impl Reporter {
    /// Connects and says hello.
    pub(super) async fn connect(spec: &ServerSpec) -> io::Result<(Arc<Reporter>, Commands)> {
        let stream = StdStream::connect_addr(&SocketAddr::from_abstract_name(&spec.report_to)?)?;
        stream.set_nonblocking(true)?;
        let (read, write) = UnixStream::from_std(stream)?.into_split();
        let reporter = Arc::new(Reporter { stream: write, queue: Mutex::default(), waiting: Notify::new() });
        reporter.send(&FromServer::Hello { instance: spec.instance, token: spec.token.clone(), pid: std::process::id() });
        let pump = reporter.clone();
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
        Ok((reporter, Commands(BufReader::new(read).lines())))
    }

    /// Hands a line to the kernel, or queues it in order.
    pub(super) fn send(&self, line: &FromServer) {
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
                // The parent is gone, and so shall we be.
                Err(_) => queue.bytes.clear(),
            }
        }
        false
    }

    /// Waits, bounded, until everything is with the parent.
    pub(super) async fn flush(&self) {
        let _ = timeout(FLUSH_WITHIN, async { while self.drain() && self.stream.writable().await.is_ok() {} }).await;
    }
}
