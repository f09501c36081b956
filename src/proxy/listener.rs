//! Where clients connect: accepts, dials the upstream for each connection in a task of its own, and knows all connections.
//!
//! A dial that takes long holds up only its own client. A limit of open files refuses connections and never stops the listener.

use crate::fault::End;
use crate::lock::lock;
use crate::proxy::connection::{Order, ProxiedConnection};
use crate::proxy::event::{ProxyEvent, ProxyEvents, TlsNotice};
use crate::proxy::relay::Relay;
use crate::proxy::upstream::Upstream;
use crate::seed::Seed;
use crate::transport::local_limit::local_limit;
use futures_util::FutureExt;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Without a file descriptor, and without one in reserve, the next look at the queue is so much later.
const NO_FILES: Duration = Duration::from_millis(20);

/// A listening address with its upstream and its connections.
#[derive(Debug)]
pub struct ProxyListener {
    address: SocketAddr,
    accepts: JoinHandle<()>,
    shared: Arc<ListenerShared>,
}

/// What the accept loop and the connections share.
#[derive(Debug)]
struct ListenerShared {
    upstream: Upstream,
    dial_limit: Duration,
    seed: Seed,
    events: ProxyEvents,
    connections: Mutex<BTreeMap<u64, Arc<ProxiedConnection>>>,
    /// Connections that were accepted.
    accepted: AtomicU64,
    /// How many there are.
    open: watch::Sender<usize>,
    tls: Arc<TlsNotice>,
}

impl ProxyListener {
    /// Listens at `listen` and passes everything to `upstream`, which is to answer within `dial_limit`. Inside a runtime.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn start(listen: &str, upstream: Upstream, dial_limit: Duration, seed: Seed, events: ProxyEvents) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(ListenerShared {
            upstream,
            dial_limit,
            seed,
            tls: Arc::new(TlsNotice::new(address, events.clone())),
            events,
            connections: Mutex::default(),
            accepted: AtomicU64::new(0),
            open: watch::Sender::new(0),
        });
        let accepts = tokio::spawn(shared.clone().accept(listener));
        Ok(ProxyListener { address, accepts, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that it accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Closes the listening socket, ends all connections, and waits until they are gone.
    pub async fn stop(mut self) {
        self.accepts.abort();
        // Its socket is closed with it.
        let _ = (&mut self.accepts).await;
        let connections: Vec<_> = lock(&self.shared.connections).values().cloned().collect();
        connections.iter().for_each(|connection| connection.order(Order::End(End::Fin)));
        // The sender lives in `shared`.
        let _ = self.shared.open.subscribe().wait_for(|open| *open == 0).await;
    }
}

impl ListenerShared {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut reserve = File::open("/dev/null").ok();
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let id = self.accepted.fetch_add(1, Ordering::Relaxed) + 1;
                    let connection = Arc::new(ProxiedConnection::new(id, peer, self.tls.clone()));
                    lock(&self.connections).insert(id, connection.clone());
                    self.open.send_modify(|open| *open += 1);
                    tokio::spawn(self.clone().carry(stream, connection));
                }
                Err(error) => {
                    // Otherwise the client was gone before it was accepted.
                    let Some(limit) = local_limit(&error) else { continue };
                    self.refuse(&listener, limit, &mut reserve);
                    if reserve.is_none() {
                        sleep(NO_FILES).await;
                    }
                }
            }
        }
    }

    /// Resets the connection that waits longest: the descriptor in reserve is given up for it, and taken again.
    fn refuse(&self, listener: &TcpListener, limit: &'static str, reserve: &mut Option<File>) {
        drop(reserve.take());
        if let Some(Ok((stream, _))) = listener.accept().now_or_never() {
            reset(&stream);
            self.events.tell(ProxyEvent::Refused { limit });
        }
        *reserve = File::open("/dev/null").ok();
    }

    /// One connection, from the dial to its end.
    async fn carry(self: Arc<Self>, near: TcpStream, connection: Arc<ProxiedConnection>) {
        // Boxed, so that an open connection does not keep the room that its dial took.
        match Box::pin(self.upstream.dial(self.dial_limit)).await {
            Ok(far) => Relay::new(near, far, connection.clone(), self.seed).await,
            Err(error) => {
                reset(&near);
                self.events.tell(match local_limit(&error) {
                    Some(limit) => ProxyEvent::Refused { limit },
                    None => ProxyEvent::NotDialled { upstream: self.upstream.to_string(), why: error.to_string() },
                });
            }
        }
        lock(&self.connections).remove(&connection.id);
        self.open.send_modify(|open| *open -= 1);
    }
}

/// The drop that follows sends RST.
fn reset(stream: &TcpStream) {
    // Fails only where the client is gone.
    let _ = stream.set_zero_linger();
}
