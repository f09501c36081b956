//! One connection to a misbehaving server: its request, its opening handshake, and its steps in order, to the end.

use crate::close::Ending;
use crate::event::{Outcome, Stage};
use crate::fault::{Effect, ResponseEdit, Side};
use crate::plan::Firing;
use crate::seed::Stream;
use crate::serve::context::ServeContext;
use crate::serve::seen::SeenConnection;
use crate::serve::steps::{PathStep, PathSteps, StepAction};
use crate::serve::upstream::{self, UpstreamConnection, UpstreamMessages};
use crate::serve::visits::Visitor;
use crate::serve::wire_log::WireLog;
use crate::serve::{account, http};
use crate::server::handshake_faults;
use crate::transport::link::Link;
use crate::transport::record::Records;
use crate::transport::secure::Secure;
use crate::transport::{Transport, WatchedTransport};
use crate::ws::connection::Connection;
use crate::ws::frame_tap::Tap;
use crate::ws::handshake::server::{self, Head};
use crate::ws::session::mailbox::{Control, FiredInjection, SessionCommand};
use crate::ws::session::{Session, SessionDeadlines, SessionEvent};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

/// How long the server waits for a TLS handshake and for a request head.
const HEAD_WITHIN: Duration = Duration::from_secs(60);
/// How long the server waits for a Close frame and for a FIN: as the embedded server.
const LIMITS: SessionDeadlines = SessionDeadlines { close: Duration::from_secs(10), fin: Duration::from_secs(2) };
/// When to look again whether the bytes of a step are with the kernel, so that the next one can begin.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Stands for what was done before the connection opened; steps of an open one have greater numbers.
const BEFORE: u16 = 0;

/// Serves a connection from accept to the end.
pub(crate) async fn serve(context: Arc<ServeContext>, socket: TcpStream, from: SocketAddr) {
    let mut visitor = context.visitors.as_ref().map(|visitors| visitors.accepted());
    let Some(transport) = transport(&context, socket).await else {
        // Without TLS there is always one.
        return SeenConnection::came(context.witness.as_ref()).failed(
            Stage::Tls,
            Outcome::Failed { why: handshake_faults::NO_TLS.to_owned() },
            None,
        );
    };
    let mut tap = Tap::new(Transport::Watched(Box::new(WatchedTransport::new(transport))), Side::Server);
    let head = match timeout(HEAD_WITHIN, Head::read(&mut tap)).await.unwrap_or(Err(server::Bad::Late)) {
        Ok(head) => head,
        Err(bad) => return http::text(&mut tap, bad.status(), bad.text()).await,
    };
    if !head.asks_for_websocket() {
        return match &context.upstream {
            Some(server) => upstream::http(server, &mut tap, &head).await,
            None => http::answer(&context, &mut tap, &head).await,
        };
    }
    let steps = match &mut visitor {
        Some(visitor) => match visitor.take_steps(server::gone(&mut tap)).await {
            Some(steps) => steps,
            None => return,
        },
        None => match head.target().parse::<PathSteps>() {
            Ok(steps) => steps,
            Err(error) => {
                let outcome = Outcome::Rejected { status: 400, retry_after: None, location: None };
                SeenConnection::came(context.witness.as_ref()).failed(Stage::Upgrade, outcome, None);
                return http::text(&mut tap, 400, &error.to_string()).await;
            }
        },
    };
    let mut seen = SeenConnection::came(context.witness.as_ref());
    let (number, log) = context.begin(&steps.watch);
    let log = log.with_account(visitor.as_ref().map(Visitor::account));
    if let Transport::Watched(watched) = tap.transport() {
        watched.watch.follow(log.follower());
    }
    log.request(head.target(), &from.to_string());
    let mut chances = Chances(context.seed.stream(&format!("serve/{number}/flaky")), log.clone());
    if let Some((close, behind)) = shake_hands(&context, number, &mut tap, &head, steps.before, &mut chances, &mut seen).await {
        let control = Arc::new(Control::default());
        visitor.iter().for_each(|visitor| visitor.opened(&control));
        seen.opened();
        let ending = open((&context, number, &control), tap, (steps.open, steps.silent, close), chances, (seen, behind)).await;
        context.ended((number, from, head.target()), &log, Some(&ending));
        visitor.iter_mut().for_each(|visitor| visitor.ending = Some(ending.clone()));
    } else {
        context.ended((number, from, head.target()), &log, None);
    }
}

async fn transport(context: &ServeContext, socket: TcpStream) -> Option<Transport> {
    let link = Link::new(socket);
    let Some(tls) = &context.tls else { return Some(Transport::Plain(link)) };
    let stream = timeout(HEAD_WITHIN, tls.accept(Records::new(link))).await.ok()?.ok()?;
    Some(Transport::Secure(Box::new(Secure::new(stream))))
}

/// Draws which steps are left out, and tells.
struct Chances(Stream, WireLog);

impl Chances {
    fn takes(&mut self, step: &PathStep) -> bool {
        // Only what is left to chance takes a number from the stream.
        let drawn = step.share >= 1.0 || self.0.unit() < step.share;
        self.1.step(step, drawn);
        drawn
    }
}

/// Answers the opening handshake. `Some`: it is open, and is to be closed at once with the code, if there is one; and the server behind, if there
/// is one.
async fn shake_hands(
    context: &ServeContext,
    number: u64,
    tap: &mut Tap,
    head: &Head,
    steps: Vec<PathStep>,
    chances: &mut Chances,
    seen: &mut SeenConnection,
) -> Option<(Option<u16>, Option<UpstreamConnection>)> {
    let mut random = context.seed.stream(&format!("serve/{number}/handshake"));
    let mut answer = ResponseEdit::default();
    for step in steps {
        if !chances.takes(&step) {
            continue;
        }
        match step.does {
            StepAction::Wait(time) => sleep(time).await,
            StepAction::Subprotocol(Some(name)) => answer.with.push(("Sec-WebSocket-Protocol".into(), name)),
            StepAction::Subprotocol(None) => answer.without.push("Sec-WebSocket-Protocol".into()),
            StepAction::Fault { injection, .. } => {
                if let Effect::Attempt(effect) = injection.effect(Side::Server) {
                    let outcome = handshake_faults::outcome(&effect);
                    seen.does(BEFORE, &injection);
                    seen.acts(BEFORE);
                    let Some(edit) = handshake_faults::suffer(tap, effect, &mut random).await else {
                        seen.failed(Stage::Upgrade, outcome, Some(BEFORE));
                        return None;
                    };
                    answer = answer.and(edit);
                }
            }
            // Of open connections.
            StepAction::Echo | StepAction::Message(_) | StepAction::Repeat { .. } | StepAction::Pings(_) => {}
        }
    }
    let mut behind = None;
    if let Some(server) = &context.upstream {
        let opened = match UpstreamConnection::open(server, head).await {
            Ok(opened) => opened,
            Err((status, why)) => {
                http::text(tap, status, &why).await;
                return None;
            }
        };
        match &opened.subprotocol {
            Some(name) => answer.with.push(("Sec-WebSocket-Protocol".into(), name.clone())),
            None => answer.without.push("Sec-WebSocket-Protocol".into()),
        }
        behind = Some(opened);
    }
    if server::accept(tap, head, &answer).await.is_err() {
        seen.failed(Stage::Upgrade, Outcome::Failed { why: handshake_faults::GONE.to_owned() }, Some(BEFORE));
        return None;
    }
    Some((answer.close, behind))
}

/// What is left to do on an open connection.
struct StepsLeft {
    steps: VecDeque<PathStep>,
    chances: Chances,
    /// What the run folder learns.
    seen: SeenConnection,
    /// How many steps have begun.
    begun: u16,
    /// The next step begins then.
    waits: Option<Instant>,
    /// Messages that are sent again and again, and when the next one is due.
    repeats: Vec<(String, Duration, Instant)>,
    /// How many pings steps have sent.
    pings: u32,
    /// When steps that hold are over.
    reverts: Vec<(Instant, Firing)>,
}

/// An open connection, to its end.
async fn open(
    (context, number, control): (&ServeContext, u64, &Arc<Control>),
    tap: Tap,
    (steps, silent, close): (Vec<PathStep>, bool, Option<u16>),
    chances: Chances,
    (seen, behind): (SeenConnection, Option<UpstreamConnection>),
) -> Box<Ending> {
    let _registered = context.register(number, control);
    if let Some(code) = close {
        control.send(SessionCommand::Close { fault: BEFORE, code, reason: "".into() });
    }
    let mut behind: Option<UpstreamMessages> = behind.map(|behind| behind.hand_on(control.clone()));
    let connection = Box::new(Connection::new(tap, Role::Server, 0));
    let mut session = Session::new(connection, Side::Server, LIMITS, None, (context.seed, number));
    let mut script =
        StepsLeft { steps: steps.into(), chances, seen, begun: BEFORE, waits: None, repeats: Vec::new(), pings: 0, reverts: Vec::new() };
    loop {
        let wake = match script.go_on(&mut session) {
            Ok(wake) => wake,
            Err(ended) => return ended,
        };
        match (session.next(control, wake).await, &mut behind) {
            (SessionEvent::Message(message), Some(behind)) => behind.say(message),
            (SessionEvent::Due(_), Some(behind)) => {
                while let Some(message) = behind.heard() {
                    if session.is_open() {
                        session.send(message);
                    }
                }
            }
            (SessionEvent::Message(message), None) if session.is_open() && !silent => drop(session.send(message)),
            (event, _) => {
                if let Some(ended) = script.take(event) {
                    return ended;
                }
            }
        }
    }
}

impl StepsLeft {
    /// Tells what happened; the account of a connection that this ends.
    fn take(&self, event: SessionEvent) -> Option<Box<Ending>> {
        match event {
            SessionEvent::Ended { ending, .. } => {
                self.seen.ended(&ending);
                Some(ending)
            }
            SessionEvent::Injected(number) => {
                self.seen.acts(number);
                None
            }
            _ => None,
        }
    }

    /// Gives a command to the session, and lets it begin what it asks for.
    fn carry(&self, session: &mut Session, command: SessionCommand) -> Result<(), Box<Ending>> {
        let mut event = session.command(command);
        loop {
            if let Some(ended) = event.and_then(|event| self.take(event)) {
                return Err(ended);
            }
            event = session.carry_out();
            if event.is_none() {
                return Ok(());
            }
        }
    }

    /// Does what is due. Returns when something is due next.
    ///
    /// # Errors
    /// The account of the connection, if a step ended it.
    fn go_on(&mut self, session: &mut Session) -> Result<Option<Instant>, Box<Ending>> {
        let now = Instant::now();
        if self.waits.is_some_and(|until| until <= now) {
            self.waits = None;
        }
        while let Some(index) = self.reverts.iter().position(|(until, _)| *until <= now) {
            let (_, firing) = self.reverts.swap_remove(index);
            self.carry(session, SessionCommand::Revert(firing))?;
        }
        for (text, every, next) in self.repeats.iter_mut().filter(|(_, _, next)| *next <= now) {
            // What a slow or stopped connection has not taken is not piled up.
            if session.is_ready() {
                session.send(Message::text(text.clone()));
            }
            *next = (*next + *every).max(now);
        }
        let mut pending = session.will(|_| true);
        while self.waits.is_none() && !pending {
            let Some(step) = self.steps.pop_front() else { break };
            self.step(step, session, now)?;
            pending = session.will(|_| true);
        }
        let look = (pending && !self.steps.is_empty()).then_some(now + LOOK_AGAIN);
        let repeats = self.repeats.iter().map(|(_, _, next)| *next);
        Ok(repeats.chain(self.reverts.iter().map(|(until, _)| *until)).chain(self.waits).chain(look).min())
    }

    /// Begins a step.
    fn step(&mut self, step: PathStep, session: &mut Session, now: Instant) -> Result<(), Box<Ending>> {
        self.begun += 1;
        if !self.chances.takes(&step) {
            return Ok(());
        }
        match step.does {
            StepAction::Echo | StepAction::Subprotocol(_) => {}
            StepAction::Message(text) => {
                if session.is_open() {
                    session.send(Message::text(text));
                }
            }
            StepAction::Repeat { text, every } => self.repeats.push((text, every, now)),
            StepAction::Wait(time) => self.waits = Some(now + time),
            StepAction::Pings(count) => {
                let numbers = self.pings..self.pings + count;
                if session.is_open() {
                    self.pings = numbers.end;
                    session.ping(numbers.map(account::ping));
                }
            }
            StepAction::Fault { injection, holds } => {
                let firing = Firing { fault: self.begun, number: 0 };
                if let Effect::Connection { gate, steps } = injection.effect(Side::Server) {
                    self.reverts.extend(holds.map(|time| (now + time, firing)));
                    self.seen.does(self.begun, &injection);
                    self.carry(session, SessionCommand::Inject(Arc::new(FiredInjection { firing, gate, steps, quiet: false })))?;
                }
            }
        }
        Ok(())
    }
}
