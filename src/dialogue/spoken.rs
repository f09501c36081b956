//! A [`Dialogue`](super::Dialogue) on one connection: opening steps, standing answers, beats, and requests with their replies. What is made of a message
//! that came is in `heard`, and of packets in `packets`.

mod heard;
mod packets;
mod passed;

use super::echo::EchoClient;
use super::matcher::{CaptureFrom, FilledMatcher, IncomingMessage};
use super::memory::{ClientMemory, Scripted};
use super::mqtt::MqttReader;
use super::script::RequestPace;
use super::stamp::Stamps;
use super::{Outgoing, PENDING_MAX, Payload};
use crate::event::{ClientIndex, ConnectionNo, Sequenced};
use crate::secret::Secrets;
use crate::template::TemplateValues;
use passed::PassedOver;
use std::collections::VecDeque;
use std::time::Duration;

/// After which time a connection that took no message is asked again.
const AGAIN: Duration = Duration::from_millis(5);
/// Messages that wait for their turn, at most; beyond them the newest is not said.
const OUTBOX_MAX: usize = 1_000;

/// What a dialogue tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialogueTells {
    /// A fact that a reader must know.
    Counted(String),
    /// A received message has a number.
    Sequenced {
        /// What it tells.
        found: Sequenced,
        /// The server sends it once more.
        replayed: bool,
    },
    /// A received message was sent at this time by the server's clock, µs since 1970.
    Stamped(i64),
    /// A message said that something is wrong: its number among all errors of the plan.
    Error(u16),
    /// A step failed: the client closes.
    Failed {
        /// Its number in the plan.
        step: u16,
        /// Nothing that fits came in time; otherwise what came is wrong.
        late: bool,
        /// In words.
        words: String,
    },
}

/// A message whose reply is awaited.
#[derive(Debug)]
struct AwaitedReply<'a> {
    reply: FilledMatcher<'a>,
    error: Option<FilledMatcher<'a>>,
    request: usize,
    due: Duration,
    sent: Duration,
}

/// What the message was that was given out last.
#[derive(Debug)]
enum Given<'a> {
    /// Part of the dialogue.
    Said,
    /// One of [`Besides`].
    Besides,
    /// A request; `None`: nobody answers it.
    Request(Option<Box<AwaitedReply<'a>>>),
}

/// What a message was to a dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meant {
    /// An answer.
    Reply {
        /// When its request was due.
        due: Duration,
        /// When it was sent.
        sent: Duration,
        /// It says that the request failed.
        error: bool,
    },
    /// Part of the dialogue.
    Dialogue,
    /// Received.
    Received,
}

/// Messages of another kind that go out once the opening steps are done.
#[derive(Debug)]
pub(super) enum Besides {
    Nothing,
    Echo(Box<EchoClient>),
    Sends(Box<Stamps>),
}

/// The client of a dialogue, on one connection.
#[derive(Debug)]
pub(super) struct ScriptClient<'a> {
    of: Scripted<'a>,
    who: (ClientIndex, ConnectionNo),
    memory: Box<ClientMemory>,
    /// Of `open`.
    step: usize,
    step_until: Option<Duration>,
    /// The step has taken up what was before: what comes until its answer, the server sends once more.
    resumed: bool,
    /// What came instead of what the step awaits.
    instead: PassedOver,
    beat_due: Option<Duration>,
    beat_until: Option<Duration>,
    besides: Besides,
    outbox: VecDeque<Outgoing>,
    given: Given<'a>,
    awaited: VecDeque<Box<AwaitedReply<'a>>>,
    tells: VecDeque<DialogueTells>,
    failed: bool,
    now: Duration,
    /// When the last message came.
    heard: Duration,
    /// Where messages are MQTT packets.
    reader: Option<Box<MqttReader>>,
}

impl<'a> ScriptClient<'a> {
    /// Of a connection that opened at `at`.
    pub(super) fn new(
        of: Scripted<'a>,
        who: (ClientIndex, ConnectionNo),
        memory: Box<ClientMemory>,
        at: Duration,
        besides: Besides,
    ) -> Self {
        let mut client = ScriptClient {
            of,
            who,
            memory,
            step: 0,
            step_until: None,
            resumed: false,
            instead: PassedOver::default(),
            beat_due: None,
            beat_until: None,
            besides,
            outbox: VecDeque::new(),
            given: Given::Said,
            awaited: VecDeque::new(),
            tells: VecDeque::new(),
            failed: false,
            now: at,
            heard: at,
            reader: of.script.protocol.and_then(|protocol| protocol.mqtt()).map(|five| Box::new(MqttReader::new(five))),
        };
        client.begin_step();
        client
    }

    pub(super) fn into_memory(self) -> Box<ClientMemory> {
        self.memory
    }

    /// Whether all opening steps are done.
    pub(super) fn is_open(&self) -> bool {
        self.step >= self.of.script.open.len()
    }

    /// Begins the step that is next, and goes on where it awaits nothing.
    fn begin_step(&mut self) {
        self.step_until = None;
        self.instead = PassedOver::default();
        self.resumed = false;
        while let Some(step) = self.of.script.open.get(self.step) {
            let resume = step.resume.as_ref().filter(|resume| self.memory.knows(resume.captured()));
            if let Some(send) = resume.or(step.send.as_ref()) {
                self.memory.count();
                let message = self.values(|values| send.fill(values));
                self.say(message);
            }
            if let Some(expect) = &step.expect {
                self.resumed = resume.is_some();
                self.step_until = Some(self.now.saturating_add(expect.within));
                return;
            }
            self.step += 1;
        }
        self.beat_due = self.of.script.beat.as_ref().map(|beat| self.now.saturating_add(beat.every));
    }

    fn values<T>(&self, what: impl FnOnce(&TemplateValues<'_>) -> T) -> T {
        self.memory.with_values((self.of.cohort, self.of.data), self.who, self.now, what)
    }

    fn say(&mut self, message: Outgoing) {
        if self.failed {
            return;
        }
        let Some(message) = self.packed(message) else { return };
        if self.outbox.len() < OUTBOX_MAX {
            self.outbox.push_back(message);
        } else {
            self.tells.push_back(DialogueTells::Counted(format!(
                "more than {OUTBOX_MAX} messages of a client wait to be sent: further ones are not"
            )));
        }
    }

    /// A request by the schedule; none before the dialogue is open.
    pub(super) fn on_due(&mut self) -> Option<Outgoing> {
        if !self.is_open() || self.failed {
            return None;
        }
        self.given = Given::Besides;
        match &mut self.besides {
            Besides::Nothing => self.request(),
            Besides::Echo(echo) => Some(echo.on_due()),
            Besides::Sends(stamps) => Some(stamps.message()),
        }
    }

    /// What it has to say of its own accord.
    pub(super) fn send_next(&mut self) -> Option<Outgoing> {
        if self.failed {
            return None;
        }
        if let Some(message) = self.outbox.pop_front() {
            self.given = Given::Said;
            return Some(message);
        }
        if let Besides::Echo(echo) = &mut self.besides
            && self.step >= self.of.script.open.len()
        {
            self.given = Given::Besides;
            return echo.send_next();
        }
        let RequestPace::InFlight(most) = self.of.script.pace else { return None };
        (self.is_open() && self.awaited.len() < usize::from(most)).then(|| self.request()).flatten()
    }

    fn request(&mut self) -> Option<Outgoing> {
        let requests = &self.of.script.request;
        let index = match requests.len() {
            0 => return None,
            1 => 0,
            _ => {
                let all: f64 = requests.iter().map(|request| request.weight).sum();
                let mut left = self.memory.unit() * all;
                let under = |request: &super::script::DialogueRequest| {
                    left -= request.weight;
                    left < 0.0
                };
                requests.iter().position(under).unwrap_or(requests.len() - 1)
            }
        };
        let request = &requests[index];
        self.memory.count();
        let (message, awaited) = self.values(|values| {
            let error = || request.error.as_ref().map(|error| error.fill(values));
            let reply = request.reply.as_ref().map(|reply| (reply.fill(values), error()));
            (request.send.fill(values), reply)
        });
        let none = Duration::ZERO;
        let awaited = awaited.map(|(reply, error)| Box::new(AwaitedReply { reply, error, request: index, due: none, sent: none }));
        self.given = Given::Request(awaited);
        self.packed(message)
    }

    /// The message given out last cannot go out now: what is part of the dialogue is kept, and a request is drawn anew.
    pub(super) fn take_back(&mut self, message: Outgoing) {
        if matches!(self.given, Given::Said) {
            self.outbox.push_front(message);
        }
    }

    /// The message given out last is on its way. Whether it is one of the requests.
    pub(super) fn on_sent(&mut self, due: Duration, sent: Duration) -> bool {
        match std::mem::replace(&mut self.given, Given::Said) {
            Given::Said => false,
            Given::Request(None) => true,
            Given::Besides => {
                if let Besides::Echo(echo) = &mut self.besides {
                    echo.on_sent(due, sent);
                }
                true
            }
            Given::Request(Some(mut awaited)) => {
                if self.awaited.len() == PENDING_MAX as usize {
                    self.awaited.pop_front();
                }
                (awaited.due, awaited.sent) = (due, sent);
                self.awaited.push_back(awaited);
                true
            }
        }
    }

    /// A message as it may be shown: without what the client knows or would capture of it.
    fn shown(&self, incoming: &IncomingMessage<'_>) -> String {
        let script = self.of.script;
        let mut secrets = Secrets::default();
        self.memory.add_secrets(self.of.data, &mut secrets);
        let steps = script.open.iter().filter_map(|step| step.expect.as_ref()).flat_map(|expect| &expect.capture);
        for (name, from) in steps.chain(&script.capture) {
            let found = if *from == CaptureFrom::Whole { None } else { from.find_in(incoming, &|_| None) };
            found.into_iter().for_each(|value| secrets.hide_value(&value, &format!("{{captured.{name}}}")));
        }
        incoming.shown(&secrets)
    }

    fn fail(&mut self, step: usize, late: bool, words: &str) {
        self.failed = true;
        let script = self.of.script;
        let name = script.steps().nth(step).unwrap_or_default();
        let words = format!("cohort {}: step `{name}` of the dialogue: {words}", self.of.cohort);
        let step = script.first_step.saturating_add(u16::try_from(step).unwrap_or(u16::MAX));
        self.tells.push_back(DialogueTells::Failed { step, late, words });
    }

    /// What it has to tell; to be asked until there is nothing.
    pub(super) fn tells(&mut self) -> Option<DialogueTells> {
        self.tells.pop_front()
    }

    /// What is said before the client leaves.
    pub(super) fn leave(&mut self) -> Option<Outgoing> {
        self.memory.count();
        let leave = self.of.script.leave.as_ref().map(|leave| self.values(|values| leave.fill(values)))?;
        self.packed(leave)
    }

    /// When it wants to be woken.
    pub(super) fn wake(&self) -> Option<Duration> {
        if self.failed {
            return None;
        }
        let silent = self.of.script.silence.map(|silence| self.heard.saturating_add(silence));
        let again = (!self.outbox.is_empty()).then(|| self.now.saturating_add(AGAIN));
        [self.step_until, self.beat_due, self.beat_until, silent, again].into_iter().flatten().min()
    }

    /// That time has come.
    pub(super) fn on_wake(&mut self, at: Duration) {
        self.now = self.now.max(at);
        if self.failed {
            return;
        }
        let is_over = |until: Option<Duration>| until.is_some_and(|until| until <= at);
        if is_over(self.step_until) {
            let last = match self.instead.text() {
                Some(text) => self.shown(&IncomingMessage::new(Payload::Text(text))),
                None => format!("{} bytes", self.instead.bytes()),
            };
            let words = match self.instead.count() {
                0 => "nothing came in time".to_owned(),
                1 => format!("not in time; {last} came instead"),
                // Low cardinality: their number is left out.
                _ => format!("not in time; other messages came instead, the last {last}"),
            };
            return self.fail(self.step, true, &words);
        }
        if self.of.script.silence.is_some_and(|silence| is_over(Some(self.heard.saturating_add(silence)))) {
            return self.fail(self.of.script.open.len() + 1, true, "nothing came for so long");
        }
        let Some(beat) = &self.of.script.beat else { return };
        if is_over(self.beat_until) {
            return self.fail(self.of.script.open.len(), true, "no answer in time");
        }
        if is_over(self.beat_due) {
            self.memory.count();
            let message = self.values(|values| beat.send.fill(values));
            self.say(message);
            if let (Some((_, within)), None) = (&beat.expect, self.beat_until) {
                self.beat_until = Some(at.saturating_add(*within));
            }
            self.beat_due = self.beat_due.map(|due| (due + beat.every).max(at));
        }
    }
}

#[cfg(test)]
#[path = "spoken_tests.rs"]
mod tests;
