//! One simulated client from its arrival to the end of the run: attempts, sessions, waits, by the rules of its cohort.

use crate::close::{Cause, Deadline, Ending, MemoryLimit, NO_MEMORY};
use crate::dialogue::{ClientDialogue, ClientMemory, DialogueTells, Heard, LATE_STEP, Observed, Outgoing, Payload};
use crate::event::{ClientIndex, ConnectionNo, Event, Outcome, Stage, Stages};
use crate::fault::Side;
use crate::load::attempt::{self, KeptByClient, NEVER};
use crate::load::before;
use crate::load::context::RunContext;
use crate::load::request_template::Turn;
use crate::load::waiting;
use crate::panics;
use crate::plan::{Cohort, Firing, Phase};
use crate::reconnect::{Decision, History, Loss, whole_ms};
use crate::secret::{MASK, Secrets};
use crate::seed::Stream;
use crate::transport::tls::Sessions;
use crate::ws::handshake::cookies::CookieJar;
use crate::ws::handshake::failure::Failure;
use crate::ws::handshake::own_headers::Id;
use crate::ws::session::mailbox::SessionCommand;
use crate::ws::session::{Session, SessionDeadlines, SessionEvent};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_tungstenite::tungstenite::Message;

/// What a client closes with where what came to a step of its dialogue is wrong.
const WRONG_STEP: u16 = 1008;

/// Lives one client's life. `due` is its arrival.
pub(crate) async fn live(shared: Arc<RunContext>, client: ClientIndex, due: Duration) {
    let cohort = &shared.plan.cohorts[shared.plan.cohort_of(client)];
    shared.journal.record(&Event::Arrived { client, due });
    let mut life = ClientTask::new(&shared, cohort, client);
    let mut due = Some(due);
    while let Some(at) = due {
        due = life.once(at).await;
    }
    life.idle(None).await;
}

/// How a client leaves by itself.
struct Leaving {
    /// Where the lengths of its stays are drawn.
    random: Stream,
    /// When its stages send it away.
    until: Option<Duration>,
}

struct ClientTask<'a> {
    shared: &'a Arc<RunContext>,
    cohort: &'a Cohort,
    client: ClientIndex,
    random: Stream,
    /// Cookies that its server has set; none before that.
    jar: Option<Box<CookieJar>>,
    /// When it leaves by itself, if it does.
    leaving: Option<Box<Leaving>>,
    history: History,
    /// What it keeps of earlier TLS sessions; none where it keeps none, or the target has no TLS.
    sessions: Option<Arc<Sessions>>,
    /// What it keeps for its requests and its dialogue; none where it keeps none, or while the dialogue of a connection has it.
    memory: Option<Box<ClientMemory>>,
    connection: u32,
    talking: bool,
    /// It has left by itself, and has not come back.
    gone: bool,
}

impl<'a> ClientTask<'a> {
    fn new(shared: &'a Arc<RunContext>, cohort: &'a Cohort, client: ClientIndex) -> Self {
        panics::asked(format_args!("client {}", client.0));
        let stream = |name: &str| shared.plan.seed.numbered("client/", client.0, name);
        let mut random = stream("/reconnect");
        let history = cohort.reconnect.start(&mut || random.unit());
        let until = cohort.presence(client, Duration::ZERO).and_then(|presence| presence.until);
        let leaving = cohort.leaves().then(|| Box::new(Leaving { random: stream("/stay"), until }));
        let sessions = (cohort.resume && shared.fleet.is_secure()).then(Arc::default);
        let memory = cohort.memory(shared.plan.seed, client);
        ClientTask {
            shared,
            cohort,
            client,
            random,
            jar: None,
            leaving,
            history,
            sessions,
            memory,
            connection: 0,
            talking: false,
            gone: false,
        }
    }
}

impl ClientTask<'_> {
    fn record(&self, event: &Event) {
        self.shared.journal.record(event);
    }

    /// Records what may have texts that a peer wrote: without what only this client knows.
    fn record_told(&self, event: &Event) {
        let mut secrets = Secrets::default();
        self.memory.iter().for_each(|memory| memory.add_secrets(self.cohort.named_data().1, &mut secrets));
        self.jar.iter().flat_map(|jar| jar.values()).for_each(|value| secrets.hide_value(value, MASK));
        let changed = if secrets.is_empty() { None } else { event.without(&secrets) };
        self.record(changed.as_ref().unwrap_or(event));
    }

    /// One attempt and, if it opens, one connection. Returns when the next attempt is due; `None`: never.
    async fn once(&mut self, due: Duration) -> Option<Duration> {
        let client = self.client;
        // Boxed: most runs have no such limit, and no client carries it along.
        let due = if self.shared.caps.holds_attempts() { Box::pin(self.allowed(due)).await } else { due };
        // Before the attempt begins: what waits here is late, and is seen to be.
        let mut turn = self.shared.connect_permits.acquire().await.ok()?;
        self.gone = false;
        self.connection += 1;
        let connection = ConnectionNo(self.connection);
        let now = self.shared.journal.now();
        self.history.attempt_started(now);
        let instance = self.shared.fleet.choose(client, connection);
        self.set_phase(None, instance);
        self.shared.registry.slot(client).set(|place| place.begin(now));
        self.record(&Event::AttemptStarted { client, due });
        let overall = self.cohort.reconnect.connect_timeout(&self.history);
        // Boxed: the handshake's state is ten times that of an open connection, which must not carry it along.
        if self.cohort.script.as_ref().is_some_and(|script| !script.before.is_empty()) {
            // Others connect meanwhile.
            drop(turn);
            if let Err(loss) = Box::pin(self.before(Id { client, connection }, instance)).await {
                return match self.until().filter(|until| *until <= self.shared.journal.now()) {
                    Some(until) => Box::pin(self.after_stages(until)).await,
                    None => self.schedule_reconnect(&loss).await,
                };
            }
            turn = self.shared.connect_permits.acquire().await.ok()?;
            self.shared.registry.slot(client).set(|place| place.begin(self.shared.journal.now()));
        }
        let attempted = Box::pin(self.attempt(Id { client, connection }, instance, overall, turn)).await;
        let loss = match attempted {
            Ok(opened) => {
                let (ending, back) = {
                    let mut session = self.opened(opened, connection, instance);
                    // Lent: what is handed over to a future is held twice.
                    (self.open(&mut session, connection).await, session.comes_back())
                };
                self.set_phase(None, instance);
                if ending.cause == Cause::Stay {
                    return self.after_leave().await;
                }
                if let Some(gap) = back {
                    // On another path: no loss that the policy is asked about.
                    let due = self.shared.journal.now() + gap;
                    return self.wait(due).await;
                }
                Loss::Closed { code: ending.code }
            }
            Err(failure) => {
                let (_, times) = self.shared.registry.slot(client).place().stages(self.shared.journal.now());
                self.failed(failure, times, instance)
            }
        };
        self.schedule_reconnect(&loss).await
    }

    /// Waits until the user's limit lets another attempt begin. When it is due then: one that waited is not late, but the run says that it waited.
    async fn allowed(&self, due: Duration) -> Duration {
        let now = || self.shared.journal.now();
        let asked = now();
        let why = tokio::select! {
            // Messages that fall due meanwhile are not started.
            biased;
            why = self.shared.caps.attempt(now) => why,
            () = self.idle(None) => None,
        };
        why.into_iter().for_each(|why| self.record(&Event::LoadLimit { what: why.to_owned() }));
        due + now().saturating_sub(asked)
    }

    /// The HTTP requests before an attempt.
    ///
    /// # Errors
    /// One of them failed, and with it the attempt.
    async fn before(&mut self, id: Id, instance: u16) -> Result<(), Loss> {
        let Some(mut memory) = self.memory.take() else { return Ok(()) };
        let begun = self.shared.journal.now();
        // A fault may cut it, and stages may send the client away: it may wait for long.
        let leaves = self.until().map_or_else(|| Instant::now() + NEVER, |until| self.shared.journal.instant(until));
        let asked = {
            let asking = pin!(before::run(self.shared, self.cohort, (id, instance), &mut memory));
            timeout_at(leaves, attempt::unless_cut(self.shared, id, asking)).await
        };
        let left = Failure { stage: Stage::Before, outcome: Outcome::Abandoned, fault: None, local: None };
        self.memory = Some(memory);
        asked.unwrap_or(Err(left)).map_err(|failure| {
            let elapsed = self.shared.journal.now().saturating_sub(begun);
            self.failed(Failure { stage: Stage::Before, ..failure }, Stages { elapsed, ..Stages::default() }, instance)
        })
    }

    /// The attempt itself, with what the client keeps. Cookies that its server sets are kept, too.
    async fn attempt(
        &mut self,
        id: Id,
        instance: u16,
        overall: Option<Duration>,
        turn: Turn<'_>,
    ) -> Result<attempt::OpenedAttempt, Failure> {
        let kept = KeptByClient { sessions: self.sessions.as_ref(), memory: self.memory.as_deref(), jar: self.jar.as_deref() };
        let (opened, cookies) = attempt::run(self.shared, self.cohort, (id, instance), kept, overall, turn).await?;
        if let Some(cookies) = cookies {
            self.jar = CookieJar::after(self.jar.take(), &cookies, self.shared.journal.now());
            if let Some(memory) = &mut self.memory {
                memory.know_cookies(self.jar.iter().flat_map(|jar| jar.values()).cloned().collect());
            }
        }
        Ok(opened)
    }

    /// An attempt that did not open: what it is to the strategy.
    fn failed(&self, failure: Failure, times: Stages, instance: u16) -> Loss {
        let Failure { stage, outcome, fault, local } = failure;
        self.set_phase(None, instance);
        let loss = match &outcome {
            Outcome::Rejected { status, .. } => Loss::Rejected { status: *status },
            Outcome::TimedOut => Loss::TimedOut,
            _ => Loss::Failed,
        };
        self.record_told(&Event::AttemptFailed { client: self.client, stage, outcome, times, fault });
        local.into_iter().for_each(|limit| self.record(&Event::LocalLimit { what: limit.to_owned() }));
        loss
    }

    fn set_phase(&self, phase: Option<Phase>, instance: u16) {
        let connection = self.connection;
        self.shared.registry.slot(self.client).set(|place| {
            place.phase = phase;
            place.instance = instance;
            if place.connection != connection {
                place.connection = connection;
                place.mark = None;
            }
        });
    }

    /// Asks the policy, and waits as it says.
    async fn schedule_reconnect(&mut self, loss: &Loss) -> Option<Duration> {
        let now = self.shared.journal.now();
        let random = &mut self.random;
        match self.cohort.reconnect.decide(&mut self.history, loss, now, &mut || random.unit()) {
            Decision::Wait(exact) => {
                let delay = whole_ms(exact);
                self.record(&Event::Waiting { client: self.client, delay });
                self.wait(now + delay).await
            }
            Decision::GiveUp(why) => {
                self.record(&Event::GaveUp { client: self.client, why });
                None
            }
        }
    }

    /// After the client's own leaving: back after a while, with a fresh history, or not at all.
    async fn after_leave(&mut self) -> Option<Duration> {
        self.gone = true;
        if let Some(memory) = &mut self.memory {
            memory.forget_streams();
        }
        let now = self.shared.journal.now();
        if let Some(until) = self.until().filter(|until| *until <= now) {
            return self.after_stages(until).await;
        }
        match self.cohort.stay.as_ref().and_then(|stay| stay.back) {
            Some(back) => {
                self.begin_anew();
                self.wait(now + back).await
            }
            None => {
                self.record(&Event::Left { client: self.client });
                None
            }
        }
    }

    /// When its stages send it away.
    fn until(&self) -> Option<Duration> {
        self.leaving.as_ref()?.until
    }

    /// Its stages have sent it away at `until`: it comes again when they say so, with a fresh history, or not at all.
    async fn after_stages(&mut self, until: Duration) -> Option<Duration> {
        self.gone = true;
        if let Some(memory) = &mut self.memory {
            memory.forget_streams();
        }
        self.record(&Event::Left { client: self.client });
        // Its closing handshake may have taken longer than the time in which it was to be away.
        let now = self.shared.journal.now();
        let next = self.cohort.presence(self.client, until.max(now))?;
        self.leaving.iter_mut().for_each(|leaving| leaving.until = next.until);
        self.begin_anew();
        Some(self.rest(next.from.max(now)).await)
    }

    fn begin_anew(&mut self) {
        let random = &mut self.random;
        self.history = self.cohort.reconnect.start(&mut || random.unit());
    }

    /// Waits for its next attempt, which is due then, unless its stages send it away before.
    async fn wait(&mut self, due: Duration) -> Option<Duration> {
        let due = due.max(self.shared.fleet.rests_until(self.history.attempt(), self.shared.journal.now()));
        match self.until().filter(|until| *until <= due) {
            None => Some(self.rest(due).await),
            Some(until) => {
                self.rest(until).await;
                // Boxed: a client whose cohort has no stages does not carry it along.
                Box::pin(self.after_stages(until)).await
            }
        }
    }

    async fn rest(&self, due: Duration) -> Duration {
        // A timer asked for nothing takes a millisecond all the same.
        if due > self.shared.journal.now() {
            self.idle(Some(self.shared.journal.instant(due))).await;
        }
        due
    }

    /// Without connection: messages that fall due are not started. `None`: to the end of the run.
    async fn idle(&self, until: Option<Instant>) {
        let control = &self.shared.registry.slot(self.client).control;
        // One timer for the whole wait: one that was set anew with each message would come behind those of others for the same moment.
        let over = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(over);
        loop {
            tokio::select! {
                // The wait decides: a flood of due messages must not lengthen it.
                biased;
                () = &mut over => return,
                command = control.next() => match command {
                    // Of one that has left by itself nothing is due.
                    SessionCommand::Due(due) if !self.gone => self.record(&Event::NotStarted { client: self.client, due }),
                    _ => {}
                },
            }
        }
    }

    /// An open connection, to its end.
    async fn open(&mut self, session: &mut Session, connection: ConnectionNo) -> Box<Ending> {
        let (shared, client, cohort) = (self.shared, self.client, self.cohort);
        let slot = shared.registry.slot(client);
        let leave = self.leave_at();
        let since = slot.place().since;
        // A cohort without a dialogue has it for its opening requests only.
        let lent = self.memory.take_if(|_| cohort.script.is_some());
        let mut dialogue = ClientDialogue::new(cohort.dialogue(), client, connection, since, lent);
        if dialogue.is_open() {
            self.begin_talking(since);
        }
        if dialogue.is_ready() {
            self.ready(connection);
        }
        // What a dialogue says first comes before all that is due.
        let _ = self.send_all(&mut dialogue, session);
        if cohort.traffic.speaks_first() && dialogue.is_open() {
            match shared.may_send(client) {
                Ok(()) => drop(self.send(&mut dialogue, session, Some(since))),
                Err(_) => self.record(&Event::NotStarted { client, due: since }),
            }
        }
        loop {
            let held = self.send_all(&mut dialogue, session);
            let own = self.wake(&dialogue).into_iter().chain(leave).chain(held).min();
            let was_open = dialogue.is_open();
            match session.next(&slot.control, own.filter(|_| session.is_open())).await {
                SessionEvent::Message(message) => {
                    self.hear(&mut dialogue, &message, session, connection);
                    if !was_open && dialogue.is_open() {
                        self.begin_talking(shared.journal.now());
                    }
                }
                SessionEvent::Pong(round_trip) => self.record(&Event::Pong { client, round_trip }),
                SessionEvent::Due(due) => drop(self.send(&mut dialogue, session, Some(due))),
                SessionEvent::Injected(fault) => self.record(&Event::Injected { fault, client, connection }),
                // Not kept over the wait: an open connection carries as little along as it can.
                SessionEvent::Woken
                    if session.is_open()
                        && self.wake(&dialogue).is_some_and(|at| at <= Instant::now() && leave.is_none_or(|leave| at <= leave)) =>
                {
                    if dialogue.wake().is_some_and(|at| dialogue.on_wake(at)) {
                        self.ready(connection);
                    }
                }
                SessionEvent::Woken => {
                    // Else it was woken to send what the user's limit had stopped.
                    if leave.is_some_and(|leave| leave <= Instant::now()) {
                        if let Some(message) = dialogue.leave().filter(|_| session.is_ready()) {
                            self.say(message, session);
                        }
                        let (code, reason) = cohort.farewell();
                        session.close(Cause::Stay, code, reason);
                    }
                }
                SessionEvent::Ended { mut ending, closing } => {
                    attribute(&mut ending, slot.place().mark);
                    if ending.cause == Cause::Limit(MemoryLimit::Memory) {
                        self.record(&Event::LocalLimit { what: NO_MEMORY.to_owned() });
                    }
                    slot.control.note_closing(None);
                    self.shared.path_over(Id { client, connection });
                    self.memory = dialogue.into_memory().or(self.memory.take());
                    let ended = Event::Ended { client, connection, ending: ending.clone(), closing };
                    if ending.reason.is_empty() {
                        self.record(&ended)
                    } else {
                        self.record_told(&ended)
                    }
                    return ending;
                }
            }
            self.told(&mut dialogue, session);
            if session.is_closing() {
                slot.set(|place| place.phase = Some(Phase::Closing));
            }
        }
    }

    /// Makes a session of an attempt that opened, and tells everybody.
    fn opened(&mut self, opened: attempt::OpenedAttempt, connection: ConnectionNo, instance: u16) -> Session {
        let (shared, client, cohort) = (self.shared, self.client, self.cohort);
        let now = shared.journal.now();
        self.history.opened(now);
        shared.registry.slot(client).set(|place| place.enter(Phase::Open, now));
        let attempt::OpenedAttempt { tcp, tls, resumed, upgrade, .. } = opened;
        self.record(&Event::Opened { client, connection, instance, tcp, tls, resumed, upgrade });
        waiting::opened(shared, Id { client, connection });
        let limits = SessionDeadlines { close: cohort.deadlines.close, fin: cohort.deadlines.fin };
        let origin = (shared.plan.seed, u64::from(client.0) << 32 | u64::from(connection.0));
        Session::new(opened.connection, Side::Client, limits, cohort.heartbeat, origin)
    }

    /// When a connection that opens now is left by its client.
    fn leave_at(&mut self) -> Option<Instant> {
        let leaving = self.leaving.as_deref_mut()?;
        let stay = self.cohort.stay.as_ref().and_then(|stay| Instant::now().checked_add(stay.draw(&mut leaving.random)));
        stay.into_iter().chain(leaving.until.map(|until| self.shared.journal.instant(until))).min()
    }

    /// When the dialogue wants to be woken.
    fn wake(&self, dialogue: &ClientDialogue<'_>) -> Option<Instant> {
        dialogue.wake().map(|at| self.shared.journal.instant(at))
    }

    fn ready(&mut self, connection: ConnectionNo) {
        self.history.ready();
        self.record(&Event::Ready { client: self.client, connection });
    }

    /// Carries out all that a dialogue has to tell of itself.
    fn told(&self, dialogue: &mut ClientDialogue<'_>, session: &mut Session) {
        while let Some(tells) = dialogue.tells() {
            self.carry_out(tells, session);
        }
    }

    fn carry_out(&self, tells: DialogueTells, session: &mut Session) {
        match tells {
            DialogueTells::Counted(text) => self.record(&Event::Notice { text }),
            DialogueTells::Sequenced { found, replayed } => self.record(&Event::Sequenced { client: self.client, found, replayed }),
            DialogueTells::Stamped(sent) => self.broadcast(sent),
            DialogueTells::Error(error) => self.record(&Event::ErrorHeard { client: self.client, error }),
            DialogueTells::Failed { step, late, words } => {
                self.record(&Event::Notice { text: words });
                let (cause, code) = match late {
                    true => (Cause::Deadline(Deadline::Dialogue(step)), LATE_STEP),
                    false => (Cause::Dialogue(step), WRONG_STEP),
                };
                session.close(cause, Some(code), "");
            }
        }
    }

    /// A message came that was sent at this time by the server's clock, µs since 1970.
    fn broadcast(&self, sent: i64) {
        let now = self.shared.journal.now();
        let wall = self.shared.start_wall_us.saturating_add(i64::try_from(now.as_micros()).unwrap_or(i64::MAX));
        let (took, negative) = (Duration::from_micros(wall.abs_diff(sent)), wall < sent);
        self.record(&Event::Broadcast { client: self.client, took, negative });
    }

    /// Sends a message that is part of a dialogue, and whether that was done.
    fn say(&self, message: Outgoing, session: &mut Session) -> bool {
        let message = Message::from(message);
        let bytes = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let sent = session.send(message);
        if sent {
            self.record(&Event::Said { client: self.client, bytes });
        }
        sent
    }

    /// The schedule of messages begins with the first connection and goes on whatever happens: an open loop.
    fn begin_talking(&mut self, now: Duration) {
        if self.talking {
            return;
        }
        if let Some(sends) = self.cohort.sends(self.client, self.shared.plan.seed) {
            self.talking = true;
            self.shared.pacer.begin(self.client, now, sends);
        }
    }

    /// Sends what it has to say by itself. When it may go on, where the user's limit stopped it.
    fn send_all(&self, dialogue: &mut ClientDialogue<'_>, session: &mut Session) -> Option<Instant> {
        while session.is_ready() {
            match self.send(dialogue, session, None) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(later) => return Some(self.shared.journal.instant(later)),
            }
        }
        None
    }

    /// Sends the next message, if there is one, and says whether that was done. `due`: by its schedule, when the user's limit
    /// had room; `None`: now.
    ///
    /// # Errors
    /// The user's limit lets none out before this offset.
    fn send(&self, dialogue: &mut ClientDialogue<'_>, session: &mut Session, due: Option<Duration>) -> Result<bool, Duration> {
        let client = self.client;
        if let Some(due) = due.filter(|_| !session.is_ready()) {
            // Who leaves has nothing more to say.
            if !session.is_leaving() {
                self.record(&Event::NotStarted { client, due });
            }
            return Ok(false);
        }
        let message = if due.is_some() { dialogue.on_due() } else { dialogue.send_next() };
        let Some(message) = message else {
            // Its opening steps are not done.
            due.into_iter().for_each(|due| self.record(&Event::NotStarted { client, due }));
            return Ok(false);
        };
        if due.is_none()
            && let Err(later) = self.shared.may_send(client)
        {
            dialogue.take_back(message);
            return Err(later);
        }
        let message = Message::from(message);
        let bytes = u32::try_from(message.len()).unwrap_or(u32::MAX);
        if !session.send(message) {
            due.into_iter().for_each(|due| self.record(&Event::NotStarted { client, due }));
            return Ok(false);
        }
        let sent = self.shared.journal.now();
        let due = due.unwrap_or(sent);
        let event = match dialogue.on_sent(due, sent) {
            true => Event::Sent { client, due, bytes },
            false => Event::Said { client, bytes },
        };
        self.shared.journal.record_at(sent, &event);
        Ok(true)
    }

    /// Counts a message, or the packets in it. What makes the client ready does so before anything else is told of it.
    fn hear(&mut self, dialogue: &mut ClientDialogue<'_>, message: &Message, session: &mut Session, connection: ConnectionNo) {
        let (mut payload, shared) = (Payload::from(message), self.shared);
        let now = || shared.journal.now();
        if !dialogue.has_packets() {
            let heard = dialogue.on_message(payload, session.is_open(), now);
            return self.heard(heard, u32::try_from(message.len()).unwrap_or(u32::MAX), connection);
        }
        // One by one, with all that follows from each: there can be half a million in a message.
        while let Some(packet) = dialogue.unpack(&mut payload) {
            let bytes = packet.bytes;
            let heard = dialogue.on_packet(packet, session.is_open(), now);
            self.heard(heard, bytes, connection);
            self.told(dialogue, session);
            let _ = self.send_all(dialogue, session);
        }
    }

    /// Counts what was heard in so many bytes.
    fn heard(&mut self, Heard { what, ready }: Heard, bytes: u32, connection: ConnectionNo) {
        let client = self.client;
        self.record(&match what {
            Observed::Answered { due, sent, error } => Event::Echoed { client, bytes, due, sent, error },
            Observed::Greeted => Event::Greeted { client, bytes },
            Observed::Dialogue => Event::Heard { client, bytes },
            Observed::Received => Event::Received { client, bytes },
        });
        if ready {
            self.ready(connection);
        }
    }
}

/// What a server process suffered explains the end of its connections.
fn attribute(ending: &mut Ending, mark: Option<(Firing, bool)>) {
    if let Some((Firing { fault, .. }, true)) = mark
        && ending.cause.is_of_peer()
    {
        ending.cause = Cause::Fault(fault);
    }
}
