//! One simulated client from its arrival to the end of the run: attempts, sessions, waits, by the rules of its cohort.

use crate::arrival::Sends;
use crate::close::{Cause, Ending};
use crate::event::{ClientIndex, ConnectionNo, Event, Outcome};
use crate::fault::Side;
use crate::load::attempt;
use crate::load::context::Shared;
use crate::load::waiting;
use crate::metrics::PENDING_MAX;
use crate::plan::{Cohort, Firing, Phase, Readiness, Stay, StayTime, Traffic};
use crate::reconnect::{Decision, History, Loss, whole_ms};
use crate::seed::Stream;
use crate::transport::tls::Sessions;
use crate::ws::handshake::failure::Failure;
use crate::ws::handshake::own_headers::Id;
use crate::ws::session::mailbox::Command;
use crate::ws::session::{Happening, Limits, Session};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::{Bytes, Message};

/// Bytes of an echo message that say whose it is: client, connection, sequence.
const STAMP: usize = 16;

/// Lives one client's life. `due` is its arrival.
pub(crate) async fn live(shared: Arc<Shared>, client: ClientIndex, due: Duration) {
    let cohort = &shared.plan.cohorts[shared.plan.cohort_of(client)];
    shared.journal.record(&Event::Arrived { client, due });
    let mut life = Life::new(&shared, cohort, client);
    let mut due = Some(due);
    while let Some(at) = due {
        due = life.once(at).await;
    }
    life.idle(None).await;
}

struct Life<'a> {
    shared: &'a Arc<Shared>,
    cohort: &'a Cohort,
    client: ClientIndex,
    random: Stream,
    /// Where lengths are drawn.
    stays: Option<Box<Stream>>,
    history: History,
    /// What it keeps of earlier TLS sessions; none where it keeps none, or the target has no TLS.
    sessions: Option<Arc<Sessions>>,
    connection: u32,
    talking: bool,
    /// It has left by itself, and has not come back.
    gone: bool,
}

impl<'a> Life<'a> {
    fn new(shared: &'a Arc<Shared>, cohort: &'a Cohort, client: ClientIndex) -> Self {
        let stream = |name: &str| shared.plan.seed.numbered("client/", client.0, name);
        let mut random = stream("/reconnect");
        let history = cohort.reconnect.start(&mut || random.unit());
        let stays = cohort.stay.as_ref().map(|_| Box::new(stream("/stay")));
        let sessions = (cohort.resume && shared.fleet.is_secure()).then(Arc::default);
        Life { shared, cohort, client, random, stays, history, sessions, connection: 0, talking: false, gone: false }
    }
}

impl Life<'_> {
    fn record(&self, event: &Event) {
        self.shared.journal.record(event);
    }

    /// One attempt and, if it opens, one connection. Returns when the next attempt is due; `None`: never.
    async fn once(&mut self, due: Duration) -> Option<Duration> {
        let client = self.client;
        // Before the attempt begins: what waits here is late, and is seen to be.
        let turn = self.shared.turns.acquire().await.ok()?;
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
        let sessions = self.sessions.as_ref();
        let attempt = attempt::run(self.shared, self.cohort, (Id { client, connection }, instance), sessions, overall, turn);
        let attempted = Box::pin(attempt).await;
        let loss = match attempted {
            Ok(opened) => {
                let (ending, back) = {
                    let mut session = self.opened(opened, connection, instance);
                    // Lent: what is handed over to a future is held twice.
                    (self.open(&mut session, connection).await, session.comes_back())
                };
                self.set_phase(None, instance);
                if ending.cause == Cause::Stay {
                    return self.left().await;
                }
                if let Some(gap) = back {
                    // On another path: no loss that the policy is asked about.
                    let due = self.shared.journal.now() + gap;
                    return Some(self.wait(due).await);
                }
                Loss::Closed { code: ending.code }
            }
            Err(Failure { stage, outcome, fault, local }) => {
                let (_, times) = self.shared.registry.slot(client).place().stages(self.shared.journal.now());
                self.set_phase(None, instance);
                let loss = match &outcome {
                    Outcome::Rejected { status, .. } => Loss::Rejected { status: *status },
                    Outcome::TimedOut => Loss::TimedOut,
                    _ => Loss::Failed,
                };
                self.record(&Event::AttemptFailed { client, stage, outcome, times, fault });
                local.into_iter().for_each(|limit| self.record(&Event::LocalLimit { what: limit.to_owned() }));
                loss
            }
        };
        self.come_back(&loss).await
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
    async fn come_back(&mut self, loss: &Loss) -> Option<Duration> {
        let now = self.shared.journal.now();
        let random = &mut self.random;
        match self.cohort.reconnect.decide(&mut self.history, loss, now, &mut || random.unit()) {
            Decision::Wait(exact) => {
                let delay = whole_ms(exact);
                self.record(&Event::Waiting { client: self.client, delay });
                Some(self.wait(now + delay).await)
            }
            Decision::GiveUp(why) => {
                self.record(&Event::GaveUp { client: self.client, why });
                None
            }
        }
    }

    /// After the client's own leaving: back after a while, with a fresh history, or not at all.
    async fn left(&mut self) -> Option<Duration> {
        self.gone = true;
        match self.cohort.stay.as_ref().and_then(|stay| stay.back) {
            Some(back) => {
                let due = self.shared.journal.now() + back;
                let random = &mut self.random;
                self.history = self.cohort.reconnect.start(&mut || random.unit());
                Some(self.wait(due).await)
            }
            None => {
                self.record(&Event::Left { client: self.client });
                None
            }
        }
    }

    async fn wait(&mut self, due: Duration) -> Duration {
        let due = due.max(self.shared.fleet.rests_until(self.history.attempt(), self.shared.journal.now()));
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
                    Command::Due(due) if !self.gone => self.record(&Event::NotStarted { client: self.client, due }),
                    _ => {}
                },
            }
        }
    }

    /// An open connection, to its end.
    async fn open(&mut self, session: &mut Session, connection: ConnectionNo) -> Box<Ending> {
        let (shared, client, cohort) = (self.shared, self.client, self.cohort);
        let slot = shared.registry.slot(client);
        let leave = cohort.stay.as_ref().map(|stay| Instant::now() + self.length(stay));
        let mut talk = Talk::new(client, connection, cohort.traffic);
        let since = slot.place().since;
        self.begin_talking(since);
        if cohort.ready == Readiness::Open {
            self.ready(connection);
        }
        if matches!(cohort.traffic, Traffic::Echo { .. }) {
            self.say(&mut talk, session, Some(since));
        }
        loop {
            while session.is_ready() && talk.is_due() && self.say(&mut talk, session, None) {}
            let own = self.stable().into_iter().chain(leave).min();
            match session.next(&slot.control, own.filter(|_| session.is_open())).await {
                Happening::Message(message) => {
                    if self.hear(&mut talk, &message) && session.is_open() && !self.history.is_ready() {
                        self.ready(connection);
                    }
                }
                Happening::Pong(round_trip) => self.record(&Event::Pong { client, round_trip }),
                Happening::Due(due) => drop(self.say(&mut talk, session, Some(due))),
                Happening::Injected(fault) => self.record(&Event::Injected { fault, client, connection }),
                // Not kept over the wait: an open connection carries as little along as it can.
                Happening::Woken if session.is_open() && self.stable().is_some_and(|at| leave.is_none_or(|leave| at <= leave)) => {
                    self.ready(connection);
                }
                Happening::Woken => {
                    if let Some(stay) = &cohort.stay {
                        session.close(Cause::Stay, stay.code, &stay.reason);
                    }
                }
                Happening::Ended { mut ending, closing } => {
                    attribute(&mut ending, slot.place().mark);
                    slot.control.note_closing(None);
                    self.record(&Event::Ended { client, connection, ending: ending.clone(), closing });
                    return ending;
                }
            }
            if session.is_closing() {
                slot.set(|place| place.phase = Some(Phase::Closing));
            }
        }
    }

    /// Makes a session of an attempt that opened, and tells everybody.
    fn opened(&mut self, opened: attempt::Opened, connection: ConnectionNo, instance: u16) -> Session {
        let (shared, client, cohort) = (self.shared, self.client, self.cohort);
        let now = shared.journal.now();
        self.history.opened(now);
        shared.registry.slot(client).set(|place| place.enter(Phase::Open, now));
        let attempt::Opened { tcp, tls, resumed, upgrade, .. } = opened;
        self.record(&Event::Opened { client, connection, instance, tcp, tls, resumed, upgrade });
        waiting::opened(shared, Id { client, connection });
        let limits = Limits { close: cohort.deadlines.close, fin: cohort.deadlines.fin };
        let origin = (shared.plan.seed, u64::from(client.0) << 32 | u64::from(connection.0));
        Session::new(opened.connection, Side::Client, limits, cohort.heartbeat, origin)
    }

    fn length(&mut self, stay: &Stay) -> Duration {
        match stay.time {
            StayTime::Fixed(time) => time,
            StayTime::Exponential(mean) => mean.mul_f64(self.stays.as_mut().map_or(1.0, |stream| stream.exponential())),
        }
    }

    /// When the connection will have been open for the time that makes it ready, where that is still to come.
    fn stable(&self) -> Option<Instant> {
        let Readiness::OpenFor(time) = self.cohort.ready else { return None };
        let opened = self.history.opened_at().filter(|_| !self.history.is_ready())?;
        Some(self.shared.journal.instant(opened + time))
    }

    fn ready(&mut self, connection: ConnectionNo) {
        self.history.ready();
        self.record(&Event::Ready { client: self.client, connection });
    }

    /// The schedule of messages begins with the first connection and goes on whatever happens: an open loop.
    fn begin_talking(&mut self, now: Duration) {
        let rate = match self.cohort.traffic {
            Traffic::Echo { rate, .. } | Traffic::Send { rate, .. } if rate.0 > 0.0 => rate,
            _ => return,
        };
        if !self.talking {
            self.talking = true;
            self.shared.pacer.begin(self.client, now, Sends::of(self.client, rate, self.shared.plan.seed));
        }
    }

    /// Sends the next message, and says whether that could be done. `due`: by its schedule; `None`: now.
    fn say(&self, talk: &mut Talk, session: &mut Session, due: Option<Duration>) -> bool {
        let client = self.client;
        if let Some(due) = due.filter(|_| !session.is_ready()) {
            // Who leaves has nothing more to say.
            if !session.is_leaving() {
                self.record(&Event::NotStarted { client, due });
            }
            return false;
        }
        let message = talk.message();
        let bytes = u32::try_from(message.len()).unwrap_or(u32::MAX);
        if !session.send(message) {
            due.into_iter().for_each(|due| self.record(&Event::NotStarted { client, due }));
            return false;
        }
        let sent = self.shared.journal.now();
        let due = due.unwrap_or(sent);
        talk.sent(due, sent);
        self.shared.journal.record_at(sent, &Event::Sent { client, due, bytes });
        true
    }

    /// Counts a message; whether it is one that makes the client ready.
    fn hear(&self, talk: &mut Talk, message: &Message) -> bool {
        let (client, cohort) = (self.client, self.cohort);
        let bytes = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let answered = talk.answered(message);
        match answered {
            Some((due, sent)) => self.record(&Event::Echoed { client, bytes, due, sent }),
            // Once: a fault may double it.
            None if !talk.greeted
                && cohort.greeting().is_some_and(|text| matches!(message, Message::Text(said) if said.as_str() == text)) =>
            {
                talk.greeted = true;
                self.record(&Event::Greeted { client, bytes });
            }
            None => self.record(&Event::Received { client, bytes }),
        }
        let said = match message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
            _ => &[],
        };
        cohort.ready.comes_with(said, answered.is_some())
    }
}

/// What a server process suffered explains the end of its connections.
fn attribute(ending: &mut Ending, mark: Option<(Firing, bool)>) {
    if let Some((Firing { fault, .. }, true)) = mark
        && ending.cause == Cause::Remote
    {
        ending.cause = Cause::Fault(fault);
    }
}

/// The messages of one connection.
struct Talk {
    traffic: Traffic,
    template: Vec<u8>,
    sequence: u64,
    unanswered: VecDeque<(u64, Duration, Duration)>,
    /// The embedded server's greeting came.
    greeted: bool,
}

impl Talk {
    fn new(client: ClientIndex, connection: ConnectionNo, traffic: Traffic) -> Self {
        let size = match traffic {
            Traffic::Echo { payload, .. } | Traffic::EchoClosed { payload, .. } | Traffic::Send { payload, .. } => {
                usize::try_from(payload.0).unwrap_or(STAMP).max(STAMP)
            }
            Traffic::None => 0,
        };
        let mut template = vec![b'.'; size];
        if size >= STAMP {
            template[..4].copy_from_slice(&client.0.to_be_bytes());
            template[4..8].copy_from_slice(&connection.0.to_be_bytes());
        }
        Talk { traffic, template, sequence: 0, unanswered: VecDeque::new(), greeted: false }
    }

    fn waits_for_echo(&self) -> bool {
        matches!(self.traffic, Traffic::Echo { .. } | Traffic::EchoClosed { .. })
    }

    /// Whether a closed loop has room for a message.
    fn is_due(&self) -> bool {
        matches!(self.traffic, Traffic::EchoClosed { in_flight, .. } if self.unanswered.len() < usize::from(in_flight))
    }

    /// The next message.
    fn message(&mut self) -> Message {
        self.sequence += 1;
        self.template[8..STAMP].copy_from_slice(&self.sequence.to_be_bytes());
        Message::Binary(Bytes::copy_from_slice(&self.template))
    }

    fn sent(&mut self, due: Duration, sent: Duration) {
        if self.waits_for_echo() {
            if self.unanswered.len() == PENDING_MAX as usize {
                self.unanswered.pop_front();
            }
            self.unanswered.push_back((self.sequence, due, sent));
        }
    }

    /// Due and sent time of the message that this one answers: its bytes equal it.
    fn answered(&mut self, message: &Message) -> Option<(Duration, Duration)> {
        let Message::Binary(bytes) = message else { return None };
        if !self.waits_for_echo() || bytes.len() != self.template.len() {
            return None;
        }
        if bytes[..8] != self.template[..8] || bytes[STAMP..] != self.template[STAMP..] {
            return None;
        }
        let sequence = u64::from_be_bytes(bytes[8..STAMP].try_into().ok()?);
        let index = self.unanswered.iter().position(|(sent, ..)| *sent == sequence)?;
        self.unanswered.remove(index).map(|(_, due, sent)| (due, sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Bytes as Size, Rate};

    #[test]
    fn a_reply_counts_only_if_its_bytes_equal_a_sent_message() {
        let mut talk = Talk::new(ClientIndex(7), ConnectionNo(2), Traffic::Echo { rate: Rate(1.0), payload: Size(32) });
        let message = talk.message();
        talk.sent(Duration::from_millis(1), Duration::from_millis(2));
        let Message::Binary(bytes) = &message else { panic!("binary") };
        let mut wrong = bytes.to_vec();
        wrong[31] ^= 1;
        assert_eq!(talk.answered(&Message::Binary(wrong.into())), None);
        assert_eq!(talk.answered(&Message::Text("welcome".into())), None);
        assert_eq!(talk.answered(&message), Some((Duration::from_millis(1), Duration::from_millis(2))));
        assert_eq!(talk.answered(&message), None, "a duplicate answers nothing");
    }
}
