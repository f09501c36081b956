//! Where clients connect: accepts, dials the upstream for each connection in a task of its own, and knows all connections.
//!
//! A dial that takes long holds up only its own client. A limit of open files refuses connections and never stops the listener.

use crate::fault::End;
use crate::lock::lock;
use crate::plan::Phase;
use crate::proxy::account::EndedBy;
use crate::proxy::connection::{DirectionCounters, Order, OrderDone, ProxiedConnection, SideEnd, Speech};
use crate::proxy::door::{DoorState, ProxyDoor};
use crate::proxy::event::ProxyEvent;
use crate::proxy::faults::desk::{DoorOrders, FaultDesk};
use crate::proxy::faults::dose::AttemptDose;
use crate::proxy::identify::ClientLabels;
use crate::proxy::opening::{OpenedLinks, OpeningEnd, end_on_drop, hear, open};
use crate::proxy::relay::Relay;
use crate::proxy::tls::{self, UpstreamTrust};
use crate::proxy::toxics::{ActingToxics, Toxic, ToxicSubject};
use crate::proxy::upstream::Upstream;
use crate::proxy::witnesses::{ListenerNotices, ProxyEvents};
use crate::seed::Seed;
use crate::transport::Transport;
use crate::transport::link::Link;
use crate::transport::local_limit::local_limit;
use futures_util::FutureExt;
use rustls::ServerConfig;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// Without a file descriptor, and without one in reserve, the next look at the queue is so much later.
const NO_FILES: Duration = Duration::from_millis(20);

/// A listening address with its upstream and its connections.
#[derive(Debug)]
pub(crate) struct ProxyListener {
    address: SocketAddr,
    accepts: JoinHandle<()>,
    shared: Arc<ListenerShared>,
}

/// What a listener does with connections.
#[derive(Clone, Debug)]
pub(crate) struct ListenerSettings {
    /// Of the proxy; random streams have it in their names.
    pub(crate) name: Arc<str>,
    pub(crate) upstream: Upstream,
    /// Number of the last connection of a proxy of this name.
    pub(crate) numbered: Arc<AtomicU64>,
    /// Whom it trusts as an upstream that speaks TLS.
    pub(crate) trust: Arc<UpstreamTrust>,
    /// With which it speaks TLS to clients, if it does.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// How long the upstream may take to connect, and TLS at either side.
    pub(crate) dial_limit: Duration,
    pub(crate) seed: Seed,
    pub(crate) events: ProxyEvents,
    pub(crate) faults: Arc<FaultDesk>,
}

/// What the accept loop and the connections share.
#[derive(Debug)]
struct ListenerShared {
    settings: ListenerSettings,
    connections: Mutex<ListenerConnections>,
    /// Connections that were accepted.
    accepted: AtomicU64,
    /// How many there are.
    open: watch::Sender<usize>,
    notices: Arc<ListenerNotices>,
}

/// Those that there are, and what acts on them and on all that come.
#[derive(Debug, Default)]
struct ListenerConnections {
    open: BTreeMap<u64, (Arc<ProxiedConnection>, ActingToxics)>,
    toxics: Vec<Toxic>,
    past: ListenerTotals,
}

/// Counts of a listener; of two directions, up and down.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ListenerTotals {
    pub(crate) accepted: u64,
    /// Bytes that came in.
    pub(crate) received: [u64; 2],
    /// Bytes that were passed on.
    pub(crate) passed_on: [u64; 2],
    /// Whole WebSocket frames that came in, by opcode.
    pub(crate) frames: [[u64; 16]; 2],
}

impl ListenerTotals {
    /// And these.
    pub(crate) fn add(&mut self, other: &ListenerTotals) {
        self.accepted += other.accepted;
        for direction in [0, 1] {
            self.received[direction] += other.received[direction];
            self.passed_on[direction] += other.passed_on[direction];
            self.frames[direction].iter_mut().zip(other.frames[direction]).for_each(|(count, more)| *count += more);
        }
    }

    /// And those of a connection.
    fn count(&mut self, connection: &ProxiedConnection) {
        let of = |count: fn(&DirectionCounters) -> &AtomicU64| {
            [&connection.up, &connection.down].map(|side| count(side).load(Ordering::Relaxed))
        };
        let frames = [&connection.up, &connection.down].map(DirectionCounters::frames);
        self.add(&ListenerTotals { accepted: 0, received: of(|side| &side.bytes), passed_on: of(|side| &side.passed_on), frames });
    }
}

impl ProxyListener {
    /// Listens at `listen`, with these toxics on every connection. Inside a runtime.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub(crate) async fn start(listen: &str, settings: ListenerSettings, toxics: &[Toxic]) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(ListenerShared {
            notices: Arc::new(ListenerNotices::new(address, settings.events.clone())),
            settings,
            connections: Mutex::new(ListenerConnections { toxics: toxics.to_vec(), ..ListenerConnections::default() }),
            accepted: AtomicU64::new(0),
            open: watch::Sender::new(0),
        });
        let accepts = tokio::spawn(shared.clone().accept(ProxyDoor::new(listener, address)));
        Ok(ProxyListener { address, accepts, shared })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was counted so far, with the open connections.
    pub(crate) fn totals(&self) -> ListenerTotals {
        let connections = lock(&self.shared.connections);
        let mut totals = connections.past;
        totals.accepted = self.shared.accepted.load(Ordering::Relaxed);
        connections.open.values().for_each(|(connection, _)| totals.count(connection));
        totals
    }

    /// Something of each open connection and of the names of the toxics that act on it, in the order in which they were accepted.
    pub(crate) fn connections<T>(&self, of: impl Fn(&ProxiedConnection, &[&str]) -> T) -> Vec<T> {
        let connections = lock(&self.shared.connections);
        let one = |(connection, acting): &(Arc<ProxiedConnection>, ActingToxics)| {
            let names: Vec<&str> = connections.toxics.iter().filter(|toxic| acting.has(toxic)).map(|toxic| toxic.name.as_str()).collect();
            of(connection, &names)
        };
        connections.open.values().map(one).collect()
    }

    /// Orders something of a connection; whether there is one of this number. Returns when that was begun.
    pub(crate) async fn order(&self, id: u64, order: Order) -> bool {
        let Some(connection) = self.connection(id) else { return false };
        let (done, mut is_done) = mpsc::channel(1);
        connection.order(order, &Some(done));
        let _ = is_done.recv().await;
        true
    }

    /// What speaks on a connection; `None`: there is none of this number.
    pub(crate) fn speech(&self, id: u64) -> Option<Speech> {
        self.connection(id).map(|connection| connection.speech())
    }

    fn connection(&self, id: u64) -> Option<Arc<ProxiedConnection>> {
        lock(&self.shared.connections).open.get(&id).map(|(connection, _)| connection.clone())
    }

    /// These act from now on, on all connections; returns when they do.
    pub(crate) async fn set_toxics(&self, toxics: &[Toxic]) {
        let (done, mut all_done) = mpsc::channel(1);
        {
            let mut connections = lock(&self.shared.connections);
            toxics.clone_into(&mut connections.toxics);
            let done = Some(done);
            for (connection, acting) in connections.open.values_mut() {
                self.shared.change(connection, acting, toxics, &done);
            }
        }
        // Nobody sends: it ends when the last connection has dropped its sender.
        let _ = all_done.recv().await;
    }

    /// Closes the listening socket and ends all connections; returns when they have their FIN.
    pub(crate) async fn end_all(&mut self) {
        self.accepts.abort();
        // Its socket is closed with it.
        let _ = (&mut self.accepts).await;
        let (done, mut all_done) = mpsc::channel(1);
        let connections: Vec<_> = lock(&self.shared.connections).open.values().map(|(connection, _)| connection.clone()).collect();
        let done = Some(done);
        connections.iter().for_each(|connection| connection.order(Order::End(End::Fin), &done));
        drop(done);
        let _ = all_done.recv().await;
    }

    /// As [`ProxyListener::end_all`], and waits until all connections are gone.
    pub(crate) async fn stop(mut self) {
        self.end_all().await;
        // The sender lives in `shared`.
        let _ = self.shared.open.subscribe().wait_for(|open| *open == 0).await;
    }
}

impl ListenerShared {
    /// Says to a connection what these toxics ask of it.
    fn change(&self, connection: &ProxiedConnection, acting: &mut ActingToxics, toxics: &[Toxic], done: &OrderDone) {
        let passed = [&connection.up, &connection.down].map(|side| side.bytes.load(Ordering::Relaxed));
        let ListenerSettings { name, seed, .. } = &self.settings;
        let subject = ToxicSubject { seed: *seed, proxy: name, connection: connection.id, now: Instant::now(), passed };
        let before = acting.is_empty();
        let effects = acting.change(toxics, &subject);
        if before && acting.is_empty() {
            return;
        }
        connection.order(effects.map_or(Order::End(End::Fin), |effects| Order::Effects(Box::new(effects))), done);
    }

    async fn accept(self: Arc<Self>, mut door: ProxyDoor) {
        let mut reserve = File::open("/dev/null").ok();
        let (mut standing, followed) = self.settings.faults.listens();
        let mut fails = false;
        loop {
            let (state, change) = {
                let orders = standing.borrow_and_update();
                (self.door_state(&orders), orders.change)
            };
            if state.is_closed() {
                self.end_handshakes();
            }
            let applied = door.apply(state).await;
            if let Err(error) = &applied {
                // Told once, however long it takes.
                if !fails {
                    self.settings.events.tell(ProxyEvent::NotListening { listen: door.address(), why: error.to_string() });
                }
                sleep(NO_FILES).await;
                standing.mark_changed();
            }
            fails = applied.is_err();
            followed.send_replace(change);
            while !standing.has_changed().unwrap_or(false) {
                tokio::select! {
                    // A fault must not wait behind a storm of connections.
                    biased;
                    changed = standing.changed() => match changed {
                        Ok(()) => standing.mark_changed(),
                        Err(_) => return,
                    },
                    accepted = door.accept() => match accepted {
                        Ok((stream, peer)) => self.take(stream, peer),
                        Err(error) => {
                            // Otherwise the client was gone before it was accepted.
                            let Some(limit) = local_limit(&error) else { continue };
                            if let Some(listener) = door.listener() {
                                self.refuse(listener, limit, &mut reserve);
                            }
                            if reserve.is_none() {
                                sleep(NO_FILES).await;
                            }
                        }
                    },
                }
            }
        }
    }

    /// What faults make of the listening socket.
    fn door_state(&self, orders: &DoorOrders) -> DoorState {
        let own = orders.list.iter().filter(|(_, scope, _)| scope.proxy.as_deref().is_none_or(|proxy| proxy == &*self.settings.name));
        DoorState::of(own.map(|(.., on)| *on))
    }

    /// Handshakes without an answer are reset when the port begins to refuse.
    fn end_handshakes(&self) {
        let connections = lock(&self.connections);
        let before_answer = connections.open.values().filter(|(connection, _)| matches!(connection.phase(), Phase::Tcp | Phase::Upgrade));
        before_answer.for_each(|(connection, _)| connection.order(Order::End(End::Rst), &None));
    }

    fn take(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let id = self.settings.numbered.fetch_add(1, Ordering::Relaxed) + 1;
        let connection = Arc::new(ProxiedConnection::new(self.settings.name.clone(), id, peer, self.notices.clone()));
        self.settings.events.tell(ProxyEvent::Connected { connection: connection.named(), from: peer });
        let attempts = {
            let mut connections = lock(&self.connections);
            let mut acting = ActingToxics::default();
            self.change(&connection, &mut acting, &connections.toxics, &None);
            connections.open.insert(id, (connection.clone(), acting));
            self.settings.faults.comes(&connection)
        };
        self.open.send_modify(|open| *open += 1);
        tokio::spawn(self.clone().carry(stream, connection, attempts));
    }

    /// Resets the connection that waits longest: the descriptor in reserve is given up for it, and taken again.
    fn refuse(&self, listener: &TcpListener, limit: &'static str, reserve: &mut Option<File>) {
        drop(reserve.take());
        if let Some(Ok((stream, _))) = listener.accept().now_or_never() {
            reset(&stream);
            self.settings.events.tell(ProxyEvent::Refused { limit });
        }
        *reserve = File::open("/dev/null").ok();
    }

    /// One connection, from the dial to its end.
    async fn carry(self: Arc<Self>, near: TcpStream, connection: Arc<ProxiedConnection>, attempts: Vec<AttemptDose>) {
        // Boxed, so that an open connection does not keep the room that its dial took.
        let (near, far) = match Box::pin(self.both_ends(near, &connection, attempts)).await {
            Ok(relay) => relay.await,
            Err((by, own_end)) => {
                connection.ends_by(by);
                (SideEnd::unused(own_end), SideEnd::unused(None))
            }
        };
        connection.gone();
        self.settings.events.tell(ProxyEvent::Ended(Box::new(connection.account(near, far))));
        {
            let mut connections = lock(&self.connections);
            connections.open.remove(&connection.id);
            connections.past.count(&connection);
        }
        self.settings.faults.goes(&connection);
        self.open.send_modify(|open| *open -= 1);
    }
}

impl ListenerShared {
    /// The client and the upstream, ready to talk; `attempts` act on the opening handshake.
    ///
    /// # Errors
    /// Who is not to be had, or has ended it, and how the client is told so.
    async fn both_ends(
        &self,
        near: TcpStream,
        connection: &Arc<ProxiedConnection>,
        attempts: Vec<AttemptDose>,
    ) -> Result<Relay, (EndedBy, Option<End>)> {
        let ListenerSettings { upstream, trust, tls, dial_limit, seed, events, .. } = &self.settings;
        // Whoever does not get through here is no load on the upstream.
        let mut near = match tls {
            None => Transport::Plain(Link::new(near)),
            Some(settings) => tokio::select! {
                biased;
                // Whoever shakes hands has the socket: the drop is its FIN.
                _ = connection.ended_early() => return Err((EndedBy::Proxy, Some(End::Fin))),
                shaken = tls::accept(settings, near, *dial_limit) => match shaken {
                    Ok(near) => near,
                    Err(why) => {
                        events.tell(ProxyEvent::ClientNotSecured { why });
                        return Err((EndedBy::Client, Some(End::Fin)));
                    }
                },
            },
        };
        let dial = upstream.connect(trust, *dial_limit);
        if attempts.is_empty() {
            return tokio::select! {
                biased;
                how = connection.ended_early() => {
                    end_on_drop(&mut near, how);
                    Err((EndedBy::Proxy, Some(how)))
                }
                dialled = dial => match dialled {
                    Ok(far) => Ok(Relay::new(near, far, connection.clone(), *seed)),
                    Err(error) => {
                        // A descriptor that is wanted elsewhere is not kept for it.
                        if local_limit(&error).is_none() && events.labels().is_some_and(ClientLabels::are_asked) {
                            let ordered = tokio::select! {
                                how = connection.ended_early() => Some(how),
                                () = hear(&mut near, connection) => None,
                            };
                            if let Some(how) = ordered {
                                end_on_drop(&mut near, how);
                                return Err((EndedBy::Proxy, Some(how)));
                            }
                        }
                        Err(self.not_dialled(near, &error))
                    }
                },
            };
        }
        match Box::pin(open(near, connection, attempts, dial)).await {
            OpeningEnd::Open(links) => Ok(self.resume(*links, connection)),
            OpeningEnd::Over(own_end) => Err((EndedBy::Proxy, own_end)),
            OpeningEnd::NotDialled(near, error) => Err(self.not_dialled(*near, &error)),
        }
    }

    /// The client is reset.
    fn not_dialled(&self, mut near: Transport, error: &io::Error) -> (EndedBy, Option<End>) {
        near.link_mut().reset();
        let upstream = self.settings.upstream.to_string();
        self.settings.events.tell(match local_limit(error) {
            Some(limit) => ProxyEvent::Refused { limit },
            None => ProxyEvent::NotDialled { upstream, why: error.to_string() },
        });
        (EndedBy::Server, Some(End::Rst))
    }

    /// Goes on behind an opening handshake on which faults have acted.
    fn resume(&self, links: OpenedLinks, connection: &Arc<ProxiedConnection>) -> Relay {
        let mut relay = Relay::new(links.near, links.far, connection.clone(), self.settings.seed);
        relay.parts.passed(&links.asked, &links.answered);
        if let Some(code) = links.close {
            connection.order(Order::Close(code, String::new()), &None);
        }
        relay
    }
}

/// The drop that follows sends RST.
fn reset(stream: &TcpStream) {
    // Fails only where the client is gone.
    let _ = stream.set_zero_linger();
}
