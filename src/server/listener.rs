//! The listening socket: accepts, and carries out what faults ask of it. Whom they hit is the kernel's business.

use crate::fault::OnListener;
use crate::plan::Firing;
use crate::server::protocol::FromServer;
use crate::server::{OnListeners, ServerShared, attempt};
use crate::transport::local_limit::local_limit;
use crate::transport::socket::{ByteStream, Listener};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// Pause after a failed accept or listen.
const RETRY: Duration = Duration::from_millis(50);

/// Accepts for ever, as far as faults let it.
pub(crate) async fn accept(server: Arc<ServerShared>, mut door: ListeningSocket, mut standing: watch::Receiver<OnListeners>) {
    let mut told = Vec::new();
    let mut complained = false;
    loop {
        let active = standing.borrow_and_update().clone();
        if let Err(error) = door.apply(&server, &active) {
            server.report(&FromServer::Notice { text: format!("server {}: listener: {error}", server.spec.instance) });
            sleep(RETRY).await;
            continue;
        }
        // Several processes are one instance, for which the first speaks.
        for firing in active.iter().map(|(firing, _)| *firing).filter(|firing| server.spec.process == 0 && !told.contains(firing)) {
            server.report(&FromServer::Reached { firing, instance: server.spec.instance, at_ns: server.ground.now_ns() });
        }
        told = active.iter().map(|(firing, _)| *firing).collect();
        while !standing.has_changed().unwrap_or(false) {
            tokio::select! {
                // A fault must not wait behind a storm of connections.
                biased;
                changed = standing.changed() => {
                    standing.mark_changed();
                    if changed.is_err() {
                        return;
                    }
                }
                accepted = door.accept() => match accepted {
                    Ok(wire) => {
                        complained = false;
                        server.ground.spawn(attempt(server.clone(), wire));
                    }
                    Err(error) => {
                        // EMFILE above all: the connection stays in the queue, as in a real server. Told once for each time of trouble.
                        if !std::mem::replace(&mut complained, true) {
                            let text = format!("server {}: accept: {error}", server.spec.instance);
                            let planned = active.iter().any(|(_, on)| on.needs_process());
                            server.report(&match local_limit(&error).filter(|_| !planned) {
                                Some(limit) => FromServer::LocalLimit { what: format!("server {}: {limit}", server.spec.instance) },
                                None => FromServer::Notice { text },
                            });
                        }
                        sleep(RETRY).await;
                    }
                },
            }
        }
    }
}

/// The listening socket and what faults have made of it.
#[derive(Default)]
pub(crate) struct ListeningSocket {
    /// `None` while it is closed.
    listener: Option<Listener>,
    /// Length of the queue while nothing is accepted.
    full: Option<u32>,
    /// Files that were spare at first, and the limit of open files before.
    files: Option<(u32, u64)>,
}

impl ListeningSocket {
    /// That of a server that has just started: it listens, unless a fault that stands already keeps it from it.
    ///
    /// # Errors
    /// If the port is taken.
    pub(crate) fn open(server: &ServerShared) -> io::Result<ListeningSocket> {
        let mut door = ListeningSocket::default();
        door.apply(server, &server.listening.borrow())?;
        Ok(door)
    }

    /// Brings the socket into the state that these faults ask for; the strictest of several counts.
    fn apply(&mut self, server: &ServerShared, active: &[(Firing, OnListener)]) -> io::Result<()> {
        let spec = &server.spec;
        let part = |whole: u32| whole.div_ceil(u32::from(spec.processes));
        let closed = active.iter().any(|(_, on)| *on == OnListener::Closed);
        let full = active.iter().filter_map(|(_, on)| if let OnListener::Full(backlog) = on { Some(part(*backlog)) } else { None }).min();
        let spare = active.iter().filter_map(|(_, on)| if let OnListener::Files(spare) = on { Some(part(*spare)) } else { None }).min();
        if closed {
            // The kernel resets what waits in the queue.
            self.listener = None;
            self.full = None;
        } else {
            let backlog = full.unwrap_or(spec.settings.backlog);
            match &self.listener {
                None => self.listener = Some(server.ground.listen(spec, backlog)?),
                Some(listener) if self.full != full => listener.set_backlog(backlog)?,
                Some(_) => {}
            }
            self.full = full;
        }
        self.limit_files(spare)
    }

    fn limit_files(&mut self, spare: Option<u32>) -> io::Result<()> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        match (spare, self.files) {
            (Some(spare), Some((before, _))) if spare == before => {}
            (Some(spare), files) => {
                let normal = files.map_or(soft, |(_, normal)| normal);
                setrlimit(Resource::RLIMIT_NOFILE, limit_that_leaves(spare, &open_files()?).min(normal), hard)?;
                self.files = Some((spare, normal));
            }
            (None, Some((_, normal))) => {
                setrlimit(Resource::RLIMIT_NOFILE, normal, hard)?;
                self.files = None;
            }
            (None, None) => {}
        }
        Ok(())
    }

    async fn accept(&self) -> io::Result<ByteStream> {
        match &self.listener {
            Some(listener) if self.full.is_none() => listener.accept().await,
            _ => std::future::pending().await,
        }
    }
}

/// Numbers of the files that this process has open.
fn open_files() -> io::Result<BTreeSet<u64>> {
    let names: Vec<_> = std::fs::read_dir("/proc/self/fd")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // The directory itself was open while it was read, and is not any more.
    Ok(names.into_iter().filter(|number| std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok()).collect())
}

/// The limit of file numbers below which exactly `spare` are free: the limit is on the number, not on the count (getrlimit(2)).
fn limit_that_leaves(spare: u32, open: &BTreeSet<u64>) -> u64 {
    let mut free = (0..).filter(|number| !open.contains(number));
    // One more free number than may be used is the first that may not.
    free.nth(spare as usize).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_leaves_as_many_free_numbers_as_asked() {
        for (spare, open, limit) in [
            (0, &[0, 1, 2][..], 3),
            (2, &[0, 1, 2], 5),
            (1, &[0, 1, 4], 3), // 2 is free below the highest
            (0, &[1, 2], 0),
            (3, &[0, 2, 4], 6), // 1, 3, 5
        ] {
            assert_eq!(limit_that_leaves(spare, &open.iter().copied().collect()), limit, "{spare} beside {open:?}");
        }
    }

    #[test]
    fn open_files_are_those_of_this_process() {
        let file = std::fs::File::open("/proc/self/limits").expect("this is Linux");
        let number = u64::try_from(std::os::fd::AsRawFd::as_raw_fd(&file)).expect("a number");
        assert!(open_files().expect("this is Linux").contains(&number));
    }
}
