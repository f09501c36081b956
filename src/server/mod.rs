//! The embedded echo server: a process of its own, so that a crash is a crash; on memory wires, tasks that end as one.
//!
//! It is told what to do and reports what it sees over `channel`; whom a fault selects among open connections is decided by its
//! parent, among attempts and new connections here, by the same rule.

pub(crate) mod admission;
pub(crate) mod evidence;
pub(crate) mod handshake_faults;
pub(crate) mod host;
pub(crate) mod in_memory;
pub(crate) mod listener;
pub(crate) mod protocol;

use crate::event::{ClientIndex, ConnectionNo};
use crate::fault::{Answer, OnAttempt, OnListener, Side};
use crate::plan::{Firing, turn_in};
use crate::seed::{Seed, Stream};
use crate::server::admission::{Admission, Seat};
use crate::server::evidence::Reporter;
use crate::server::host::{Ends, Ground};
use crate::server::listener::Door;
use crate::server::protocol::{FromServer, ServerSpec, Standing, ToServer};
use crate::transport::Transport;
use crate::transport::link::Link;
use crate::transport::record::Records;
use crate::transport::secure::Secure;
use crate::transport::socket::Wire;
use crate::transport::tickets::{TicketKey, Tickets};
use crate::transport::tls_error::TlsError;
use crate::units::parse_duration;
use crate::ws::connection::Connection;
use crate::ws::frame_tap::Tap;
use crate::ws::handshake::own_headers::Id;
use crate::ws::handshake::server;
use crate::ws::handshake::server::Head;
use crate::ws::session::mailbox::{Command, Control, Dose};
use crate::ws::session::{Happening, Limits, Session};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::protocol::Role;

/// How long the server waits for a TLS handshake and for a request head.
const HEAD_WITHIN: Duration = Duration::from_secs(60);
/// How long the server waits for a Close frame and for a FIN.
const LIMITS: Limits = Limits { close: Duration::from_secs(10), fin: Duration::from_secs(2) };

/// In which a question is answered; a hit that was not granted by then is not carried out.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// What is told when one of several processes is full.
const UNEVEN: &str = "one of its processes refused an opening handshake because its own part of max_connections was used up; the kernel spreads \
                      connections unevenly, so others may have had room";

/// A hook for tests: a variable of the environment with a duration in place of the scenario's `handshake_cost`. Only this process reads it,
/// so that a search for the limit of a server cannot know the answer.
const HIDDEN_COST: &str = "CLOSESTORM_HANDSHAKE_COST";

/// Runs an embedded server process until it is told to stop, or its parent is gone. `argument` is a `ServerSpec` in JSON.
///
/// Returns the exit code.
pub fn main(argument: &str) -> u8 {
    let mut spec: ServerSpec = match serde_json::from_str(argument) {
        Ok(spec) => spec,
        Err(error) => {
            eprintln!("embedded server: bad argument: {error}");
            return 2;
        }
    };
    if let Some(cost) = hidden_cost(std::env::var(HIDDEN_COST).ok().as_deref()) {
        eprintln!("embedded server: {HIDDEN_COST} sets the cost of an opening handshake");
        spec.settings.handshake_cost = cost;
    }
    // Its parent raised the limit of open files already; a child inherits it.
    let served = tokio::runtime::Builder::new_current_thread().enable_all().build().and_then(|runtime| runtime.block_on(serve(spec)));
    match served {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("embedded server: {error}");
            1
        }
    }
}

/// The cost that a test hides from whoever searches for it; `None` where there is none, or it is not a duration.
fn hidden_cost(variable: Option<&str>) -> Option<Duration> {
    parse_duration(variable?).ok()
}

/// What all connections share.
pub(crate) struct Server {
    spec: ServerSpec,
    ground: Ground,
    reporter: Reporter,
    admission: Admission,
    tls: Option<TlsAcceptor>,
    tickets: Option<Arc<Tickets>>,
    serial: AtomicU64,
    /// Attempts of clients that are not ours.
    strangers: AtomicU32,
    state: Mutex<State>,
    /// Faults that are active on the listening socket.
    listening: watch::Sender<listener::Standing>,
    /// Number of open connections.
    open: watch::Sender<u32>,
}

#[derive(Default)]
struct State {
    connections: BTreeMap<u64, Arc<Control>>,
    by_id: HashMap<Id, u64>,
    attempts: Vec<(Firing, OnAttempt, Standing)>,
    new: Vec<(Arc<Dose>, Standing)>,
    /// Questions that wait for their answers.
    asked: HashMap<u64, oneshot::Sender<bool>>,
    /// Set while the server shuts down gracefully: what opens now is closed at once.
    closing: Option<Command>,
}

impl Server {
    /// One that has just started.
    ///
    /// Its TLS sessions are worth nothing to another, but to those that are told to [`Listen`](ToServer::Listen) with the same key.
    fn new(spec: ServerSpec, ground: Ground, reporter: Reporter) -> io::Result<Arc<Server>> {
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
        Ok(Arc::new(Server {
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

    /// Serves until it is told to stop, or its parent is gone.
    async fn live(self: &Arc<Server>, door: Door, mut commands: evidence::Commands) {
        self.report(&FromServer::Listening { at_ns: self.ground.now_ns() });
        let mut accepting = Ends(self.ground.task(listener::accept(self.clone(), door, self.listening.subscribe())));
        let graceful = obey(self, &mut commands).await;
        accepting.0.abort();
        // The listener closes when the task is gone: only then may the Close frames go out.
        let _ = (&mut accepting.0).await;
        if let Some(ToServer::Graceful { fault, code, reason, grace, spread }) = graceful {
            tokio::select! {
                // Who is gone suffers nothing more.
                biased;
                () = shut_down(self, fault, code, &reason, grace, spread) => {}
                // Faults act on what is still open; a server stops but once.
                () = async { while obey(self, &mut commands).await.is_some() {} } => {}
            }
        }
        self.reporter.flush().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, line: &FromServer) {
        self.reporter.send(line);
    }

    /// Whether a standing fault selects this client's attempt, as far as it has hits left. Returns its random stream for this attempt.
    fn selects(&self, standing: &Standing, id: Option<Id>) -> Option<Stream> {
        // A client that is not ours is counted, so that "every n-th" means something for them, too.
        let stranger = || Id { client: ClientIndex(self.strangers.fetch_add(1, Ordering::Relaxed)), connection: ConnectionNo(1) };
        let (seed, who) = (Seed(self.spec.seed), id.unwrap_or_else(stranger));
        let taken = standing.wants(who.client, id.is_some());
        taken.then(|| seed.stream(&format!("{}/answer/{}/{}", standing.stream, who.client.0, who.connection.0)))
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

    /// Resolves when a fault has closed the listening socket.
    async fn closed(&self) {
        let is_closed = |active: &listener::Standing| active.iter().any(|(_, on)| *on == OnListener::Closed);
        // The sender is ours: it cannot be gone.
        let _ = self.listening.subscribe().wait_for(is_closed).await;
    }
}

async fn serve(spec: ServerSpec) -> io::Result<()> {
    let (reporter, mut commands) = Reporter::connect(&spec).await?;
    let server = Server::new(spec, Ground::Process, reporter)?;
    // What stands already is told first: it holds from the first SYN on.
    while let Some(command) = commands.next().await {
        match command {
            listen @ ToServer::Listen { .. } => {
                carry_out(&server, listen);
                break;
            }
            command => carry_out(&server, command),
        }
    }
    let door = Door::open(&server)?;
    // Into target.log: where other clients than ours find it.
    println!("listening on {}://{}", if server.tls.is_some() { "wss" } else { "ws" }, server.spec.address);
    server.live(door, commands).await;
    Ok(())
}

/// Carries out what the parent and its workers say, until the parent says stop or is gone.
async fn obey(server: &Server, commands: &mut evidence::Commands) -> Option<ToServer> {
    while let Some(command) = commands.next().await {
        match command {
            graceful @ ToServer::Graceful { .. } => return Some(graceful),
            command => carry_out(server, command),
        }
    }
    None
}

/// Carries out one command of those that do not end it.
fn carry_out(server: &Server, command: ToServer) {
    let mut state = server.state();
    match command {
        ToServer::Listen { tickets: key } => server.tickets.iter().for_each(|tickets| tickets.change(&key)),
        ToServer::Graceful { .. } => {}
        ToServer::StandStill { ticket } => {
            server.admission.stand_still();
            server.report(&FromServer::Still { ticket });
        }
        ToServer::GoOn => server.admission.go_on(),
        ToServer::Answer { ticket, granted } => drop(state.asked.remove(&ticket).map(|asking| asking.send(granted))),
        ToServer::Inject { dose, ids } => {
            let dose = Arc::new(dose);
            for id in ids {
                if let Some(control) = state.by_id.get(&id).and_then(|serial| state.connections.get(serial)) {
                    control.send(Command::Inject(dose.clone()));
                }
            }
        }
        // A fault that fires while a server starts is told twice.
        ToServer::InjectNew { dose, standing } => {
            if state.new.iter().all(|(other, _)| other.firing != dose.firing) {
                state.new.push((Arc::new(dose), standing));
            }
        }
        ToServer::Attempts { firing, effect, standing } => {
            if state.attempts.iter().all(|(other, ..)| *other != firing) {
                state.attempts.push((firing, effect, standing));
            }
        }
        ToServer::Listener { firing, on, instance } => {
            if instance.is_none_or(|instance| instance == server.spec.instance) {
                server.listening.send_modify(|active| active.push((firing, on)));
            }
        }
        ToServer::Revert { firing } => {
            server.listening.send_if_modified(|active| {
                let before = active.len();
                active.retain(|(standing, _)| *standing != firing);
                active.len() < before
            });
            state.new.retain(|(dose, _)| dose.firing != firing);
            state.attempts.retain(|(active, ..)| *active != firing);
            state.connections.values().for_each(|control| control.send(Command::Revert(firing)));
        }
    }
}

/// Closes every connection over `spread` and waits up to `grace` for the closing handshakes; over as soon as nobody is left.
async fn shut_down(server: &Server, fault: u16, code: u16, reason: &str, grace: Duration, spread: Duration) {
    let reason: Arc<str> = reason.into();
    let controls: Vec<_> = {
        let mut state = server.state();
        state.closing = Some(Command::Close { fault, code, reason: reason.clone() });
        state.connections.values().cloned().collect()
    };
    let begun = Instant::now();
    let count = u32::try_from(controls.len()).unwrap_or(u32::MAX).max(1);
    let patience = async {
        for (index, control) in (0_u32..).zip(controls) {
            let due = begun + turn_in(spread, index, count);
            if due > Instant::now() {
                sleep_until(due).await;
            }
            control.send(Command::Close { fault, code, reason: reason.clone() });
        }
        sleep_until(begun + spread + grace).await;
    };
    let mut open = server.open.subscribe();
    tokio::select! {
        // Whoever is left at the end of the patience, or nobody before it.
        biased;
        _ = open.wait_for(|open| *open == 0) => {}
        () = patience => {}
    }
}

/// One TCP connection from accept to the end.
async fn attempt(server: Arc<Server>, wire: Wire) {
    let link = Link::new(wire);
    let transport = match &server.tls {
        None => Transport::Plain(link),
        Some(tls) => {
            let mut accepting = tls.accept(Records::new(link));
            let accepted = tokio::select! {
                biased;
                () = server.closed() => {
                    accepting.get_mut().into_iter().for_each(|records| records.link_mut().reset());
                    return;
                }
                accepted = timeout(HEAD_WITHIN, &mut accepting) => accepted,
            };
            match accepted {
                Ok(Ok(stream)) => Transport::Secure(Box::new(Secure::new(stream))),
                _ => return,
            }
        }
    };
    let mut tap = Tap::new(transport, Side::Server);
    let shaken = tokio::select! {
        // What waits for an answer when the listening socket closes is reset, as what waits in its queue.
        biased;
        () = server.closed() => return tap.transport().link_mut().reset(),
        shaken = shake_hands(&server, &mut tap) => shaken,
    };
    if let Some(shaken) = shaken {
        open(&server, Box::new(Connection::new(tap, Role::Server, 0)), shaken).await;
    }
}

/// An opening handshake that was answered with 101.
struct Shaken {
    id: Option<Id>,
    echo: bool,
    /// The client waits to hear this first.
    greeting: Option<String>,
    /// The server closes at once with this code, on behalf of this fault.
    close: Option<(u16, u16)>,
    /// Among `max_connections`, to the end of the connection.
    _seat: Seat,
}

/// Reads the request and answers it. `None`: not with a 101.
async fn shake_hands(server: &Server, tap: &mut Tap) -> Option<Shaken> {
    // RFC 9110 §15.5.9: whoever was too slow hears that it was the server that did not wait.
    let head = match timeout(HEAD_WITHIN, Head::read(tap)).await.unwrap_or(Err(server::Bad::Late)) {
        Ok(head) => head,
        Err(bad) => {
            server::refuse(tap, bad.status(), server::More::default(), bad.text().len(), bad.text()).await;
            return None;
        }
    };
    let id = head.id();
    let (mut answer, mut close) = (Answer::default(), None);
    if let Some((fault, effect, mut random)) = selected(server, id).await {
        server.report(&FromServer::Injected { fault, id, at_ns: server.ground.now_ns(), dead_by: Vec::new() });
        answer = handshake_faults::suffer(tap, effect, &mut random).await?;
        close = answer.close.map(|code| (fault, code));
    }
    let seat = match server.admission.admit().await {
        Ok(seat) => seat,
        Err(refusal) => {
            if refusal.full && server.spec.processes > 1 {
                let text = format!("instance {}: {UNEVEN}", server.spec.instance);
                server.report(&FromServer::Notice { text });
            }
            let more = server::More { retry_after: refusal.retry_after, location: None };
            server::refuse(tap, refusal.status, more, 0, "").await;
            return None;
        }
    };
    server::accept(tap, &head, &answer).await.ok()?;
    Some(Shaken { id, echo: head.wants_echo(), greeting: head.greeting(), close, _seat: seat })
}

/// The first fault that selects this attempt.
async fn selected(server: &Server, id: Option<Id>) -> Option<(u16, OnAttempt, Stream)> {
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
async fn open(server: &Arc<Server>, connection: Box<Connection>, shaken: Shaken) {
    let Shaken { id, echo, greeting, close, _seat } = shaken;
    let control = Arc::new(Control::default());
    let serial = server.serial.fetch_add(1, Ordering::Relaxed);
    register(server, serial, id, &control).await;
    if let Some((fault, code)) = close {
        control.send(Command::Close { fault, code, reason: "".into() });
    }
    // Behind all that a fault or a shutdown has put there: whoever is closed at once hears no greeting.
    if let Some(text) = greeting {
        control.send(Command::Greet(text.into()));
    }
    let origin = (Seed(server.spec.seed), stream_of(&server.spec, id, serial));
    let mut session = Session::new(connection, Side::Server, LIMITS, server.spec.settings.ping, origin);
    loop {
        match session.next(&control, None).await {
            Happening::Message(message) if echo && session.is_open() => drop(session.send(message)),
            // Told already when it selected the attempt.
            Happening::Injected(fault) if close.is_some_and(|(closing, _)| closing == fault) => {}
            Happening::Injected(fault) => {
                server.report(&FromServer::Injected { fault, id, at_ns: server.ground.now_ns(), dead_by: session.dead_by() });
            }
            Happening::Ended { ending, .. } => {
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

/// The number of a connection's random streams. Bit 63 keeps those of servers apart from the clients': a client of ours has the same at any server,
/// others have one by their order, with bit 62.
fn stream_of(spec: &ServerSpec, id: Option<Id>, serial: u64) -> u64 {
    match id {
        Some(Id { client, connection }) => 1 << 63 | u64::from(client.0) << 32 | u64::from(connection.0),
        None => 3 << 62 | u64::from(spec.process) << 56 | u64::from(spec.instance) << 40 | serial,
    }
}

/// Makes an open connection known, and lets the faults that wait for it reach it, before anything is said on it.
async fn register(server: &Arc<Server>, serial: u64, id: Option<Id>, control: &Arc<Control>) {
    let waiting: Vec<_> = {
        let mut state = server.state();
        state.connections.insert(serial, control.clone());
        if let Some(id) = id {
            state.by_id.insert(id, serial);
        }
        if let Some(closing) = &state.closing {
            control.send(closing.clone());
        }
        let wanting = state.new.iter().filter(|(_, standing)| server.selects(standing, id).is_some());
        wanting.map(|(dose, standing)| (dose.clone(), standing.bounded)).collect()
    };
    server.open.send_modify(|open| *open += 1);
    for (dose, bounded) in waiting {
        let granted = !bounded || server.may_hit(dose.firing).await;
        // Reverted while it was asked, it acts on nobody any more.
        let state = server.state();
        if granted && state.new.iter().any(|(standing, _)| standing.firing == dose.firing) {
            control.send(Command::Inject(dose));
        }
    }
}
