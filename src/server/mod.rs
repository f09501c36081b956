//! The embedded echo server: a process of its own, so that a crash is a crash; on memory wires, tasks that end as one.
//!
//! It is told what to do and reports what it sees over links; whom a fault selects among open connections is decided by its
//! parent, among attempts and new connections here, by the same rule.

pub(crate) mod admission;
pub(crate) mod evidence;
pub(crate) mod handshake_faults;
pub(crate) mod host;
pub(crate) mod in_memory;
pub(crate) mod listener;
pub(crate) mod protocol;
mod serve;

use crate::close::{Cause, MemoryLimit, NO_MEMORY};
use crate::dialogue::{Payload, Reply, ServerDialogue};
use crate::event::{ClientIndex, ConnectionNo, Outcome, Stage};
use crate::fault::{OnAttempt, OnListener, ResponseEdit, Side};
use crate::lock::lock;
use crate::panics;
use crate::plan::{Firing, Standing};
use crate::seed::{Seed, Stream};
use crate::server::admission::{Admission, Seat};
use crate::server::evidence::Reporter;
use crate::server::host::ServerHost;
use crate::server::protocol::{FromServer, ServerSpec};
use crate::transport::Transport;
use crate::transport::link::Link;
use crate::transport::record::Records;
use crate::transport::secure::Secure;
use crate::transport::socket::ByteStream;
use crate::transport::tickets::{TicketKey, Tickets};
use crate::transport::tls_error::TlsError;
use crate::ws::connection::Connection;
use crate::ws::frame_tap::Tap;
use crate::ws::handshake::own_headers::Id;
use crate::ws::handshake::server;
use crate::ws::handshake::server::Head;
use crate::ws::session::mailbox::{Control, FiredInjection, SessionCommand};
use crate::ws::session::{Session, SessionDeadlines, SessionEvent};
pub use serve::main;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::protocol::Role;

/// How long the server waits for a TLS handshake and for a request head.
const HEAD_WITHIN: Duration = Duration::from_secs(60);
/// How long the server waits for a Close frame and for a FIN.
const LIMITS: SessionDeadlines = SessionDeadlines { close: Duration::from_secs(10), fin: Duration::from_secs(2) };

/// In which a question is answered; a hit that was not granted by then is not carried out.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Why an attempt failed that was under way when a fault closed the listening socket.
const CLOSED: &str = "the listening socket was closed before the answer";

/// What is told when one of several processes is full.
const UNEVEN: &str = "one of its processes rejected an opening handshake because its own part of max_connections was used up; the \
    kernel distributes connections unevenly, so other processes may have had room";

/// Firings that are active on the listening socket, in their order.
pub(crate) type OnListeners = Vec<(Firing, OnListener)>;

/// What all connections share.
pub(crate) struct ServerShared {
    spec: ServerSpec,
    ground: ServerHost,
    reporter: Reporter,
    admission: Admission,
    tls: Option<TlsAcceptor>,
    tickets: Option<Arc<Tickets>>,
    serial: AtomicU64,
    /// Attempts of clients that are not ours.
    strangers: AtomicU32,
    state: Mutex<ConnectionState>,
    /// Faults that are active on the listening socket.
    listening: watch::Sender<OnListeners>,
    /// Number of open connections.
    open: watch::Sender<u32>,
}

#[derive(Default)]
struct ConnectionState {
    connections: BTreeMap<u64, Arc<Control>>,
    by_id: HashMap<Id, u64>,
    attempts: Vec<(Firing, OnAttempt, Standing)>,
    new: Vec<(Arc<FiredInjection>, Standing)>,
    /// Questions that wait for their answers.
    asked: HashMap<u64, oneshot::Sender<bool>>,
    /// Real clients that wait for their numbers.
    numbering: HashMap<u64, oneshot::Sender<Option<Id>>>,
    /// Set while the server shuts down gracefully: what opens now is closed at once.
    closing: Option<SessionCommand>,
}

impl ServerShared {
    /// One that has just started.
    ///
    /// Its TLS sessions are worth nothing to another, but to those that are told to [`Listen`](protocol::ToServer::Listen) with the same
    /// key.
    fn new(spec: ServerSpec, ground: ServerHost, reporter: Reporter) -> io::Result<Arc<ServerShared>> {
        let of_tls = |error| io::Error::other::<TlsError>(error);
        let tickets = if spec.settings.tls && spec.settings.resume {
            Some(Arc::new(Tickets::new(&TicketKey::generate().map_err(of_tls)?)))
        } else {
            None
        };
        let tls = match &spec.identity {
            Some(identity) => Some(TlsAcceptor::from(identity.server(tickets.clone()).map_err(of_tls)?)),
            None => None,
        };
        Ok(Arc::new(ServerShared {
            admission: Admission::start(&spec.settings),
            spec,
            ground,
            reporter,
            tls,
            tickets,
            serial: AtomicU64::new(0),
            strangers: AtomicU32::new(0),
            state: Mutex::default(),
            listening: watch::Sender::default(),
            open: watch::Sender::new(0),
        }))
    }

    fn state(&self) -> MutexGuard<'_, ConnectionState> {
        lock(&self.state)
    }

    fn report(&self, line: &FromServer) {
        self.reporter.send(line);
    }

    /// Whether a standing fault selects this client's attempt, as far as it has hits left. Returns its random stream for this attempt.
    fn selects(&self, standing: &Standing, id: Option<Id>) -> Option<Stream> {
        // A client of another program is counted, so that "every n-th" means something for them, too.
        let stranger = || Id { client: ClientIndex(self.strangers.fetch_add(1, Ordering::Relaxed)), connection: ConnectionNo(1) };
        let (seed, who) = (Seed(self.spec.seed), id.unwrap_or_else(stranger));
        let taken = standing.wants(who.client, id.is_some());
        taken.then(|| standing.random(seed, who.client, who.connection))
    }

    /// Asks whether a firing may hit one more: whoever started the servers has the budget of all.
    async fn may_hit(&self, firing: Firing) -> bool {
        let (sender, answer) = oneshot::channel();
        let ticket = self.serial.fetch_add(1, Ordering::Relaxed);
        self.state().asked.insert(ticket, sender);
        self.report(&FromServer::Ask { instance: self.spec.instance, process: self.spec.process, firing, ticket });
        match timeout(ANSWER_WITHIN, answer).await {
            Ok(answer) => answer.unwrap_or(false),
            Err(_) => {
                self.state().asked.remove(&ticket);
                false
            }
        }
    }

    /// Asks which number a real client has that has come; nothing where nobody wants to know of it.
    fn ask_number(&self) -> AttemptId {
        if !self.spec.real {
            return AttemptId::default();
        }
        let (sender, answer) = oneshot::channel();
        let ticket = self.serial.fetch_add(1, Ordering::Relaxed);
        self.state().numbering.insert(ticket, sender);
        let ServerSpec { instance, process, .. } = self.spec;
        self.report(&FromServer::Came { instance, process, ticket, at_ns: self.ground.now_ns() });
        AttemptId { id: None, asked: Some(answer) }
    }

    /// Tells what became of the attempt of a real client.
    fn not_opened(&self, id: Option<Id>, stage: Stage, outcome: Outcome, fault: Option<u16>) {
        if let Some(id) = id.filter(|_| self.spec.real) {
            self.report(&FromServer::NotOpened { id, stage, outcome, fault, at_ns: self.ground.now_ns() });
        }
    }

    /// Resolves when a fault has closed the listening socket.
    async fn closed(&self) {
        let is_closed = |active: &OnListeners| active.iter().any(|(_, on)| *on == OnListener::Closed);
        // The sender is ours: it cannot be gone.
        let _ = self.listening.subscribe().wait_for(is_closed).await;
    }
}

/// Which connection an attempt is.
#[derive(Default)]
struct AttemptId {
    id: Option<Id>,
    /// Its number was asked for, and has not come.
    asked: Option<oneshot::Receiver<Option<Id>>>,
}

impl AttemptId {
    /// It, once its number has come. Whoever asked for one waits for it, also where the attempt is over: it has been counted.
    async fn known(&mut self) -> Option<Id> {
        if let Some(asked) = &mut self.asked {
            // Whoever starts the server answers as long as it lives, and it is gone with it.
            self.id = asked.await.ok().flatten();
            self.asked = None;
        }
        self.id
    }
}

/// One TCP connection from accept to the end.
async fn attempt(server: Arc<ServerShared>, wire: ByteStream) {
    let link = Link::new(wire);
    let transport = match &server.tls {
        None => Transport::Plain(link),
        Some(tls) => match secure(&server, tls, link).await {
            Ok(transport) => transport,
            Err(why) => {
                let id = server.ask_number().known().await;
                return server.not_opened(id, Stage::Tls, Outcome::Failed { why: why.to_owned() }, None);
            }
        },
    };
    let mut tap = Tap::new(transport, Side::Server);
    let mut id = AttemptId::default();
    let shaken = tokio::select! {
        // What waits for an answer when the listening socket closes is reset, as what waits in its queue.
        biased;
        () = server.closed() => {
            tap.transport().link_mut().reset();
            drop(tap);
            return server.not_opened(id.known().await, Stage::Upgrade, Outcome::Failed { why: CLOSED.to_owned() }, None);
        }
        shaken = shake_hands(&server, &mut tap, &mut id) => shaken,
    };
    if let Some(shaken) = shaken {
        open(&server, Box::new(Connection::new(tap, Role::Server, 0)), shaken).await;
    }
}

/// The TLS handshake; why there was none, in words.
async fn secure(server: &ServerShared, tls: &TlsAcceptor, link: Link) -> Result<Transport, &'static str> {
    let mut accepting = tls.accept(Records::new(link));
    let accepted = tokio::select! {
        biased;
        () = server.closed() => {
            accepting.get_mut().into_iter().for_each(|records| records.link_mut().reset());
            return Err(CLOSED);
        }
        accepted = timeout(HEAD_WITHIN, &mut accepting) => accepted,
    };
    match accepted {
        Ok(accepted) => accepted.map(|stream| Transport::Secure(Box::new(Secure::new(stream)))).map_err(|_| handshake_faults::NO_TLS),
        Err(_) => {
            let (instance, within) = (server.spec.instance, HEAD_WITHIN.as_secs());
            let text = format!("instance {instance}: closed a connection because its TLS handshake took longer than {within} s");
            server.report(&FromServer::Notice { text });
            Err(handshake_faults::NO_TLS)
        }
    }
}

/// An opening handshake that was answered with 101.
struct Shaken {
    id: Option<Id>,
    /// As the client asked.
    dialogue: ServerDialogue,
    /// The server closes at once with this code, on behalf of this fault.
    close: Option<(u16, u16)>,
    /// Among `max_connections`, to the end of the connection.
    _seat: Seat,
}

/// Reads the request and answers it. `None`: not with a 101.
async fn shake_hands(server: &ServerShared, tap: &mut Tap, which: &mut AttemptId) -> Option<Shaken> {
    // RFC 9110 §15.5.9: whoever was too slow hears that it was the server that did not wait.
    let head = match timeout(HEAD_WITHIN, Head::read(tap)).await.unwrap_or(Err(server::Bad::Late)) {
        Ok(head) => head,
        Err(bad) => {
            server::refuse(tap, bad.status(), server::More::default(), bad.text().len(), bad.text()).await;
            return None;
        }
    };
    *which = match head.id(server.spec.key.as_ref()) {
        None if head.asks_for_websocket() => server.ask_number(),
        id => AttemptId { id, asked: None },
    };
    let id = which.known().await;
    let (mut answer, mut close, mut suffered) = (ResponseEdit::default(), None, None);
    if let Some((fault, effect, mut random)) = selected(server, id).await {
        server.report(&FromServer::Injected { fault, id, at_ns: server.ground.now_ns(), dead_by: Vec::new() });
        let outcome = handshake_faults::outcome(&effect);
        let Some(edit) = handshake_faults::suffer(tap, effect, &mut random).await else {
            server.not_opened(id, Stage::Upgrade, outcome, Some(fault));
            return None;
        };
        answer = edit;
        close = answer.close.map(|code| (fault, code));
        suffered = Some(fault);
    }
    let seat = match server.admission.admit().await {
        Ok(seat) => seat,
        Err(refusal) => {
            if refusal.full && server.spec.processes > 1 {
                let text = format!("instance {}: {UNEVEN}", server.spec.instance);
                server.report(&FromServer::Notice { text });
            }
            let (status, retry_after) = (refusal.status, refusal.retry_after);
            server.not_opened(id, Stage::Upgrade, Outcome::Rejected { status, retry_after, location: None }, suffered);
            let more = server::More { retry_after: refusal.retry_after, location: None };
            server::refuse(tap, refusal.status, more, 0, "").await;
            return None;
        }
    };
    if server::accept(tap, &head, &answer).await.is_err() {
        server.not_opened(id, Stage::Upgrade, Outcome::Failed { why: handshake_faults::GONE.to_owned() }, suffered);
        return None;
    }
    Some(Shaken { id, dialogue: ServerDialogue::asked(|name| head.field(name)), close, _seat: seat })
}

/// The first fault that selects this attempt.
async fn selected(server: &ServerShared, id: Option<Id>) -> Option<(u16, OnAttempt, Stream)> {
    let candidates: Vec<_> = {
        let state = server.state();
        let wanting = |(firing, effect, standing): &(Firing, OnAttempt, Standing)| {
            Some((*firing, effect.clone(), standing.bounded, server.selects(standing, id)?))
        };
        state.attempts.iter().filter_map(wanting).collect()
    };
    for (firing, effect, bounded, random) in candidates {
        if !bounded || server.may_hit(firing).await {
            return Some((firing.fault, effect, random));
        }
    }
    None
}

/// An open connection, to its end.
async fn open(server: &Arc<ServerShared>, connection: Box<Connection>, shaken: Shaken) {
    let Shaken { id, mut dialogue, close, _seat } = shaken;
    let control = Arc::new(Control::default());
    let serial = server.serial.fetch_add(1, Ordering::Relaxed);
    panics::asked(format_args!("server connection {serial}"));
    if let Some(id) = id.filter(|_| server.spec.real) {
        server.report(&FromServer::Opened { id, at_ns: server.ground.now_ns() });
    }
    register(server, serial, (id, connection.link().peer_has_ended()), &control).await;
    if let Some((fault, code)) = close {
        control.send(SessionCommand::Close { fault, code, reason: "".into() });
    }
    // Behind all that a fault or a shutdown has put there: whoever is closed at once hears no greeting.
    if dialogue.speaks_first() {
        control.send(SessionCommand::Due(Duration::ZERO));
    }
    let origin = (Seed(server.spec.seed), stream_of(&server.spec, id, serial));
    let mut session = Session::new(connection, Side::Server, LIMITS, server.spec.settings.ping, origin);
    let opened = Instant::now();
    loop {
        let wake = dialogue.wake().filter(|_| session.is_open()).map(|at| opened + at);
        match session.next(&control, wake).await {
            SessionEvent::Message(message) if session.is_open() => {
                match dialogue.on_message(Payload::from(&message), || opened.elapsed()) {
                    Reply::Same => drop(session.send(message)),
                    reply => say(reply, &mut session),
                }
            }
            SessionEvent::Woken if session.is_open() => say(dialogue.on_wake(opened.elapsed()), &mut session),
            SessionEvent::Due(_) if session.is_open() => {
                if let Some(message) = dialogue.on_due() {
                    session.send(message.into());
                }
            }
            // Told already when it selected the attempt.
            SessionEvent::Injected(fault) if close.is_some_and(|(closing, _)| closing == fault) => {}
            SessionEvent::Injected(fault) => {
                server.report(&FromServer::Injected { fault, id, at_ns: server.ground.now_ns(), dead_by: session.dead_by() });
            }
            SessionEvent::Ended { ending, .. } => {
                if ending.cause == Cause::Limit(MemoryLimit::Memory) {
                    server.report(&FromServer::LocalLimit { what: format!("server {}: {NO_MEMORY}", server.spec.instance) });
                }
                server.report(&FromServer::Ended { id, ending, at_ns: server.ground.now_ns() });
                break;
            }
            _ => {}
        }
    }
    let mut state = server.state();
    state.connections.remove(&serial);
    if let Some(id) = id {
        state.by_id.remove(&id);
    }
    drop(state);
    server.open.send_modify(|open| *open -= 1);
}

/// What a dialogue wants said or done.
fn say(reply: Reply, session: &mut Session) {
    match reply {
        Reply::Nothing | Reply::Same => {}
        Reply::Say(messages) => {
            for message in messages {
                session.send(message.into());
            }
        }
        // The client broke the rules of its protocol: that is no fault of the plan.
        Reply::Close(code) => session.close(Cause::Remote, Some(code), ""),
    }
}

/// The number of a connection's random streams. Bit 63 keeps those of servers apart from the clients': a client of ours has the same at any
/// server, others have one by their order, with bit 62.
fn stream_of(spec: &ServerSpec, id: Option<Id>, serial: u64) -> u64 {
    match id {
        Some(Id { client, connection }) => 1 << 63 | u64::from(client.0) << 32 | u64::from(connection.0),
        None => 3 << 62 | u64::from(spec.process) << 56 | u64::from(spec.instance) << 40 | serial,
    }
}

/// Makes an open connection known, and lets the faults that wait for it reach it, before anything is said on it; `gone`: its client is, and
/// there is nothing that a fault could act on.
async fn register(server: &Arc<ServerShared>, serial: u64, (id, gone): (Option<Id>, bool), control: &Arc<Control>) {
    let waiting: Vec<_> = {
        let mut state = server.state();
        state.connections.insert(serial, control.clone());
        if let Some(id) = id {
            state.by_id.insert(id, serial);
        }
        if let Some(closing) = &state.closing {
            control.send(closing.clone());
        }
        let wanting = state.new.iter().filter(|(_, standing)| !gone && server.selects(standing, id).is_some());
        wanting.map(|(dose, standing)| (dose.clone(), standing.bounded)).collect()
    };
    server.open.send_modify(|open| *open += 1);
    for (dose, bounded) in waiting {
        let granted = !bounded || server.may_hit(dose.firing).await;
        // Reverted while it was asked, it acts on nobody any more.
        let state = server.state();
        if granted && state.new.iter().any(|(standing, _)| standing.firing == dose.firing) {
            control.send(SessionCommand::Inject(dose));
        }
    }
}

#[cfg(test)]
mod tests;
