//! Addresses in memory: who listens there, who waits in the queue, and what ends when a process dies.

use crate::plan::SynRetries;
use crate::transport::memory::{MemoryEnd, Pipe, SERVER, lock, wake};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Addresses in memory, and who listens there. Clones are the same network.
#[derive(Clone, Debug, Default)]
pub struct Network(Arc<Mutex<BTreeMap<SocketAddr, Host>>>);

/// What a process has at one address.
#[derive(Debug, Default)]
struct Host {
    door: Option<Arc<Mutex<ListenQueue>>>,
    /// Its connections, with the address from which each came.
    accepted: Vec<(IpAddr, Weak<Mutex<Pipe>>)>,
}

/// The listen queue.
#[derive(Debug)]
struct ListenQueue {
    backlog: u32,
    waiting: VecDeque<(IpAddr, MemoryEnd)>,
    acceptor: Option<Waker>,
}

/// A listening socket in memory. Dropped, it refuses, and resets what waits in its queue.
#[derive(Debug)]
pub struct MemoryListener {
    network: Network,
    address: SocketAddr,
    door: Arc<Mutex<ListenQueue>>,
}

impl Network {
    /// Listens at an address, with a queue of `backlog + 1` (Linux: `sk_acceptq_is_full`).
    ///
    /// # Errors
    /// If somebody listens there.
    pub fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<MemoryListener> {
        let mut hosts = lock(&self.0);
        let host = hosts.entry(address).or_default();
        if host.door.is_some() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let door = Arc::new(Mutex::new(ListenQueue { backlog, waiting: VecDeque::new(), acceptor: None }));
        host.door = Some(door.clone());
        Ok(MemoryListener { network: self.clone(), address, door })
    }

    /// Connects from a local address. Takes no time where there is room in the listen queue; otherwise SYNs are repeated as Linux 6.5 and newer do.
    ///
    /// # Errors
    /// ECONNREFUSED if nobody listens, ETIMEDOUT if the queue stays full.
    pub async fn connect(&self, source: IpAddr, address: SocketAddr) -> io::Result<MemoryEnd> {
        let (begun, retries) = (Instant::now(), SynRetries::Linear);
        for repeat in retries.grid_ms() {
            if let Some(end) = self.on_syn(source, address)? {
                return Ok(end);
            }
            sleep_until(begun + Duration::from_millis(*repeat)).await;
        }
        if let Some(end) = self.on_syn(source, address)? {
            return Ok(end);
        }
        sleep_until(begun + Duration::from_millis(retries.gives_up_ms())).await;
        Err(io::Error::from_raw_os_error(nix::errno::Errno::ETIMEDOUT as i32))
    }

    /// One SYN; `None`: it was dropped.
    fn on_syn(&self, source: IpAddr, address: SocketAddr) -> io::Result<Option<MemoryEnd>> {
        let door = lock(&self.0).get(&address).and_then(|host| host.door.clone());
        let door = door.ok_or_else(|| io::Error::from_raw_os_error(nix::errno::Errno::ECONNREFUSED as i32))?;
        let mut door = lock(&door);
        if door.waiting.len() > door.backlog as usize {
            return Ok(None);
        }
        let (near, far) = MemoryEnd::pair();
        door.waiting.push_back((source, far));
        let waker = door.acceptor.take();
        drop(door);
        wake([waker]);
        Ok(Some(near))
    }

    /// The process at an address dies, as by SIGKILL: its listening socket and its connections are closed, and what it still holds of them is
    /// dead. All of it happens in one moment; within it the peers hear in the order of their addresses. (A kernel goes by descriptors,
    /// which nobody can know beforehand.)
    pub fn kill(&self, address: SocketAddr) {
        let Some(mut host) = lock(&self.0).remove(&address) else { return };
        if let Some(door) = host.door {
            refuse(&door);
        }
        host.accepted.sort_by_key(|(source, _)| *source);
        for pipe in host.accepted.iter().filter_map(|(_, pipe)| pipe.upgrade()) {
            let wakers = lock(&pipe).close(SERVER);
            wake(wakers);
        }
    }

    fn accepted(&self, address: SocketAddr, source: IpAddr, end: &MemoryEnd) {
        let mut hosts = lock(&self.0);
        let accepted = &mut hosts.entry(address).or_default().accepted;
        if accepted.len() == accepted.capacity() {
            accepted.retain(|(_, pipe)| pipe.strong_count() > 0);
        }
        accepted.push((source, Arc::downgrade(&end.pipe)));
    }
}

/// Resets what waits in a listen queue.
fn refuse(door: &Mutex<ListenQueue>) {
    let waiting = std::mem::take(&mut lock(door).waiting);
    for (_, end) in waiting {
        end.abort();
    }
}

impl MemoryListener {
    /// The next connection that waits.
    pub async fn accept(&self) -> MemoryEnd {
        let (source, end) = poll_fn(|cx| {
            let mut door = lock(&self.door);
            match door.waiting.pop_front() {
                Some(waiting) => Poll::Ready(waiting),
                None => {
                    door.acceptor = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await;
        self.network.accepted(self.address, source, &end);
        end
    }

    /// Changes the length of the queue.
    pub fn set_backlog(&self, backlog: u32) {
        lock(&self.door).backlog = backlog;
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        if let Some(host) = lock(&self.network.0).get_mut(&self.address)
            // Another may listen there meanwhile.
            && host.door.as_ref().is_some_and(|door| Arc::ptr_eq(door, &self.door))
        {
            host.door = None;
        }
        refuse(&self.door);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::memory::tests::{END, read, write};
    use std::net::Ipv4Addr;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn address() -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 1))
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_refuses_unless_somebody_listens() {
        let network = Network::default();
        let refused = async || network.connect(HERE, address()).await.map_err(|error| error.kind()).err();
        assert_eq!(refused().await, Some(io::ErrorKind::ConnectionRefused));
        let listener = network.listen(address(), 8).expect("it is free");
        assert!(network.listen(address(), 8).is_err());
        let mut waiting = network.connect(HERE, address()).await.expect("it listens");
        drop(listener);
        assert_eq!(read(&mut waiting), Poll::Ready(Err(io::ErrorKind::ConnectionReset)));
        assert_eq!(refused().await, Some(io::ErrorKind::ConnectionRefused));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_drops_the_syn_until_its_next_repeat() {
        let network = Network::default();
        let listener = network.listen(address(), 1).expect("it is free");
        let begun = Instant::now();
        let _first = network.connect(HERE, address()).await.expect("room");
        let _second = network.connect(HERE, address()).await.expect("room for one more than the backlog");
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let (third, _taken) = tokio::join!(network.connect(HERE, address()), async {
            sleep_until(begun + Duration::from_millis(1500)).await;
            listener.accept().await
        });
        third.expect("room at last");
        assert_eq!(begun.elapsed(), Duration::from_millis(SynRetries::Linear.grid_ms()[1]));
        let late = network.connect(HERE, address()).await.expect_err("nobody accepts");
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_dies_ends_what_it_accepted_and_resets_the_rest() {
        let network = Network::default();
        let listener = network.listen(address(), 8).expect("it is free");
        let mut ends = Vec::new();
        for _ in 0..3 {
            ends.push(network.connect(HERE, address()).await.expect("it listens"));
        }
        let (mut idle, mut unread) = (listener.accept().await, listener.accept().await);
        assert_eq!(write(&mut ends[1], b"x"), Poll::Ready(Ok(1)));
        network.kill(address());
        let reset = Poll::Ready(Err(io::ErrorKind::ConnectionReset));
        assert_eq!((read(&mut ends[0]), read(&mut ends[1]), read(&mut ends[2])), (END, reset.clone(), reset));
        assert_eq!((read(&mut idle), write(&mut unread, b"x")), (END, Poll::Ready(Err(io::ErrorKind::BrokenPipe))));
        // What is left of the old process does not disturb a new one.
        let _again = network.listen(address(), 8).expect("it is free");
        drop(listener);
        assert!(network.connect(HERE, address()).await.is_ok());
    }
}
