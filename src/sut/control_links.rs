//! The lines to the embedded server processes: a socket that they connect to, what they are told, what they report.

use crate::server::protocol::{FromServer, ToServer};
use std::collections::BTreeMap;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener as StdListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// A server process: instance, and which of its processes.
pub(crate) type Member = (u16, u16);

/// The lines to the embedded server processes.
#[derive(Default)]
pub(crate) struct Lines {
    senders: Mutex<BTreeMap<Member, mpsc::UnboundedSender<ToServer>>>,
    pids: watch::Sender<BTreeMap<Member, u32>>,
    /// Processes that listen, and since when, in ns of CLOCK_MONOTONIC.
    listening: watch::Sender<BTreeMap<Member, (u32, u64)>>,
    /// The last ticket of processes that stand still.
    still: watch::Sender<BTreeMap<Member, u64>>,
}

impl Lines {
    /// Takes the reports of server processes, of whichever incarnation, at the abstract name `name`. Within a runtime.
    ///
    /// # Errors
    /// If the machine has no socket for us.
    pub(crate) fn listen(name: &str, token: String) -> io::Result<(Arc<Lines>, mpsc::UnboundedReceiver<FromServer>)> {
        let listener = StdListener::bind_addr(&UnixAddr::from_abstract_name(name)?)?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let (reports, receiver) = mpsc::unbounded_channel();
        let lines = Arc::new(Lines::default());
        let listening = lines.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(listening.clone().follow(stream, token.clone(), reports.clone()));
            }
        });
        Ok((lines, receiver))
    }

    fn senders(&self) -> MutexGuard<'_, BTreeMap<Member, mpsc::UnboundedSender<ToServer>>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A server that is tasks of this process takes what it is told from the receiver.
    pub(crate) fn lay(&self, member: Member) -> mpsc::UnboundedReceiver<ToServer> {
        let (sender, commands) = mpsc::unbounded_channel();
        self.senders().insert(member, sender);
        commands
    }

    /// Tells all processes of an instance something; nothing happens while they are down.
    pub(crate) fn tell(&self, instance: u16, command: &ToServer) {
        for sender in self.senders().range((instance, 0)..=(instance, u16::MAX)).map(|(_, sender)| sender) {
            let _ = sender.send(command.clone());
        }
    }

    /// Tells one process something.
    pub(crate) fn tell_one(&self, member: Member, command: ToServer) {
        if let Some(sender) = self.senders().get(&member) {
            let _ = sender.send(command);
        }
    }

    /// Waits until the process `pid` has said hello. Whether it did in time.
    pub(crate) async fn hello(&self, member: Member, pid: u32, within: Duration) -> bool {
        let mut pids = self.pids.subscribe();
        timeout(within, pids.wait_for(|pids| pids.get(&member) == Some(&pid))).await.is_ok()
    }

    /// Waits until the process `pid` says that it listens: since when, in ns of CLOCK_MONOTONIC. `None`: not in time.
    pub(crate) async fn listens(&self, member: Member, pid: u32, within: Duration) -> Option<u64> {
        let mut listening = self.listening.subscribe();
        let of = |(listens, _): &(u32, u64)| *listens == pid;
        let told = timeout(within, listening.wait_for(|listening| listening.get(&member).is_some_and(of))).await.ok()?.ok()?;
        told.get(&member).map(|(_, at)| *at)
    }

    /// Waits until all processes of an instance say that they stand still, as they were told with this ticket, or `within` is over.
    pub(crate) async fn stand_still(&self, instance: u16, ticket: u64, within: Duration) {
        let members: Vec<_> = self.senders().range((instance, 0)..=(instance, u16::MAX)).map(|(member, _)| *member).collect();
        self.tell(instance, &ToServer::StandStill { ticket });
        let mut still = self.still.subscribe();
        let all = |told: &BTreeMap<Member, u64>| members.iter().all(|member| told.get(member) == Some(&ticket));
        let _ = timeout(within, still.wait_for(all)).await;
    }

    async fn follow(self: Arc<Self>, stream: UnixStream, token: String, reports: mpsc::UnboundedSender<FromServer>) {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::with_capacity(64 * 1024, read).lines();
        let hello = lines.next_line().await.ok().flatten().and_then(|line| serde_json::from_str(&line).ok());
        let Some(FromServer::Hello { instance, process, token: shown, pid }) = hello else { return };
        if shown != token {
            return;
        }
        let (sender, mut commands) = mpsc::unbounded_channel();
        self.senders().insert((instance, process), sender);
        self.pids.send_modify(|pids| _ = pids.insert((instance, process), pid));
        let writing = tokio::spawn(async move {
            while let Some(command) = commands.recv().await {
                let Ok(mut line) = serde_json::to_vec(&command) else { continue };
                line.push(b'\n');
                if write.write_all(&line).await.is_err() {
                    return;
                }
            }
        });
        while let Ok(Some(line)) = lines.next_line().await {
            match serde_json::from_str(&line) {
                Ok(FromServer::Listening { at_ns }) => self.listening.send_modify(|all| _ = all.insert((instance, process), (pid, at_ns))),
                Ok(FromServer::Still { ticket }) => self.still.send_modify(|all| _ = all.insert((instance, process), ticket)),
                Ok(line) => drop(reports.send(line)),
                Err(_) => {}
            }
        }
        writing.abort();
    }
}
