//! A [`Dialogue`] on one connection: opening steps, standing answers, beats, and requests with their replies.

use super::echo::EchoClient;
use super::matcher::{CaptureFrom, FilledMatcher, IncomingMessage, Matcher};
use super::mqtt::{self, MqttPacket, MqttReader};
use super::script::{Dialogue, RequestPace, StandingReply};
use super::sequence::SequenceMemory;
use super::stamp::Stamps;
use super::timestamp::micros_since_1970;
use super::{Outgoing, PENDING_MAX, Payload};
use crate::event::{ClientIndex, ConnectionNo, Sequenced};
use crate::lock::lock;
use crate::secret::{MASK, Secrets};
use crate::seed::{Seed, Stream};
use crate::template::{DataTable, OwnValues, TemplateValues};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

/// After which time a connection that took no message is asked again.
const AGAIN: Duration = Duration::from_millis(5);
/// Messages that wait for their turn, at most; beyond them the newest is not said.
const OUTBOX_MAX: usize = 1_000;

/// Longest value that a client keeps, bytes: a server chooses it, and it may stand in each of the client's messages.
const CAPTURED_MAX: usize = 64 << 10;

/// A dialogue and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Scripted<'a> {
    /// What is said.
    pub script: &'a Dialogue,
    /// Name of the cohort.
    pub cohort: &'a str,
    /// Its data file.
    pub data: Option<&'a DataTable>,
}

/// What a client keeps over its connections.
#[derive(Debug)]
pub struct ClientMemory {
    random: Mutex<Stream>,
    sequence: u64,
    row: usize,
    captured: Vec<(Box<str>, String)>,
    /// Cookies, which its dialogue must not show.
    cookies: Box<[String]>,
    /// Boxed: few dialogues follow numbers.
    streams: Option<Box<SequenceMemory>>,
}

impl ClientMemory {
    /// Of a client with this row of its cohort's data file. Draws from `client/<k>/messages`.
    pub fn new(seed: Seed, client: ClientIndex, row: usize) -> ClientMemory {
        let random = Mutex::new(seed.numbered("client/", client.0, "/messages"));
        ClientMemory { random, sequence: 0, row, captured: Vec::new(), cookies: Box::default(), streams: None }
    }

    /// The client has left by itself: what it does not get until it comes back, it does not miss.
    pub fn forget_streams(&mut self) {
        self.streams = None;
    }

    /// Whether it has a value for each of these names.
    fn knows<'n>(&self, mut names: impl Iterator<Item = &'n str>) -> bool {
        names.all(|name| self.captured.iter().any(|(known, _)| **known == *name))
    }

    /// Keeps a value; an earlier one of that name is replaced. An empty one is as none.
    ///
    /// # Errors
    /// It is too long, in words: then there is none.
    pub fn capture(&mut self, name: &str, value: String) -> Result<(), String> {
        self.captured.retain(|(known, _)| **known != *name);
        if value.len() > CAPTURED_MAX {
            return Err(format!("`{name}` is longer than {CAPTURED_MAX} bytes"));
        }
        if !value.is_empty() {
            self.captured.push((name.into(), value));
        }
        Ok(())
    }

    /// Knows the values of the client's cookies, as something that must not be shown.
    pub fn know_cookies(&mut self, cookies: Box<[String]>) {
        self.cookies = cookies;
    }

    /// Adds what must not be shown: the client's row of its data, what it captured, and its cookies.
    pub fn add_secrets(&self, data: Option<&DataTable>, secrets: &mut Secrets) {
        let row = data.and_then(|data| Some((&data.columns, data.rows.get(self.row)?)));
        for (column, value) in row.into_iter().flat_map(|(columns, row)| columns.iter().zip(row)) {
            secrets.hide_value(value, &format!("{{data.{column}}}"));
        }
        self.captured.iter().for_each(|(name, value)| secrets.hide_value(value, &format!("{{captured.{name}}}")));
        self.cookies.iter().for_each(|value| secrets.hide_value(value, MASK));
    }

    /// Does something with the values of this moment.
    pub fn with_values<T>(
        &self,
        (cohort, data): (&str, Option<&DataTable>),
        (client, connection): (ClientIndex, ConnectionNo),
        time: Duration,
        what: impl FnOnce(&TemplateValues<'_>) -> T,
    ) -> T {
        let row = data.map(|data| (data, self.row));
        let own = OwnValues { cohort, sequence: self.sequence, time, random: &self.random, row, captured: &self.captured };
        what(&TemplateValues { client: client.0.to_string().into(), attempt: connection.0.to_string().into(), own: Some(&own) })
    }
}

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

/// Who takes a message.
#[derive(Clone, Copy, Debug)]
enum Taker<'a> {
    /// A standing answer.
    Standing(&'a StandingReply),
    /// The step that waits for it; whether it is right.
    Step { right: bool },
    /// A step waits, for another one.
    NoStep,
    /// The beat.
    Beat,
    /// An echo that is awaited.
    Echo { due: Duration, sent: Duration },
    /// The request at this place of those that wait; whether it says that it failed.
    Request { index: usize, error: bool },
    /// An error of this number.
    Error(usize),
    /// What is received.
    Nobody,
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
    /// What came instead of what the step awaits: how many, and the last.
    instead: (u32, String),
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
            instead: (0, String::new()),
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
        self.instead = (0, String::new());
        self.resumed = false;
        while let Some(step) = self.of.script.open.get(self.step) {
            let resume = step.resume.as_ref().filter(|resume| self.memory.knows(resume.captured()));
            if let Some(send) = resume.or(step.send.as_ref()) {
                self.memory.sequence += 1;
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

    /// A message as it goes out; `None`: it cannot be written as a packet, and the client closes.
    fn packed(&mut self, message: Outgoing) -> Option<Outgoing> {
        match (&self.reader, message) {
            (Some(reader), Outgoing::Text(text)) => match mqtt::packet(&text, reader.is_five()) {
                Ok(bytes) => Some(Outgoing::Binary(bytes)),
                Err(why) => {
                    self.fail(self.of.script.open.len() + 2, false, &why);
                    None
                }
            },
            (_, message) => Some(message),
        }
    }

    /// Whether its messages are packets.
    pub(super) fn has_packets(&self) -> bool {
        self.reader.is_some()
    }

    /// Takes the next packet from the front of what came; `None`: more must come. One of QoS 1 is acknowledged.
    pub(super) fn unpack(&mut self, rest: &mut Payload<'_>) -> Option<MqttPacket> {
        let next = match (self.reader.as_mut()?, &mut *rest) {
            (reader, Payload::Binary(bytes)) => reader.next(bytes),
            (_, Payload::Text(_)) => {
                *rest = Payload::Binary(&[]);
                Err("a text message came, and MQTT is binary".to_owned())
            }
        };
        match next {
            Ok(packet) => {
                if let Some(MqttPacket { says, .. }) =
                    packet.as_ref().filter(|packet| packet.says["type"] == "publish" && packet.says["qos"] == 1)
                {
                    self.say(Outgoing::Text(format!("{{\"type\":\"puback\",\"id\":{}}}", says["id"]).into()));
                }
                packet
            }
            Err(why) => {
                if !self.failed {
                    self.fail(self.of.script.open.len() + 2, false, &why);
                }
                None
            }
        }
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
                let mut left = lock(&self.memory.random).unit() * all;
                let under = |request: &super::script::DialogueRequest| {
                    left -= request.weight;
                    left < 0.0
                };
                requests.iter().position(under).unwrap_or(requests.len() - 1)
            }
        };
        let request = &requests[index];
        self.memory.sequence += 1;
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

    /// A message came; `open`: neither side has begun to close the connection.
    pub(super) fn on_message(&mut self, incoming: &IncomingMessage<'_>, open: bool, now: Duration) -> Meant {
        self.now = self.now.max(now);
        self.heard = self.now;
        let script = self.of.script;
        let receives = script.receive.as_ref().map(|matcher| self.takes(matcher, incoming));
        let taker = self.taker(incoming, receives == Some(true), open);
        // Its number counts whoever takes it. It is captured once it is known who does, and before that one answers.
        let numbered = || script.sequence.as_ref().is_some_and(|sequence| sequence.number_in(incoming).is_some());
        if receives.unwrap_or_else(|| matches!(taker, Taker::Nobody) || numbered()) {
            self.received(incoming, self.resumed && !matches!(taker, Taker::Step { .. }));
        }
        match taker {
            Taker::Standing(reply) => {
                self.memory.sequence += 1;
                let answer = self.values(|values| reply.send.fill(values));
                self.say(answer);
                Meant::Dialogue
            }
            Taker::Step { right } => {
                self.on_step(incoming, right);
                Meant::Dialogue
            }
            Taker::NoStep if receives == Some(true) && (self.resumed || script.sequence.is_some()) => Meant::Received,
            Taker::NoStep => {
                self.instead = (self.instead.0.saturating_add(1), self.shown(incoming));
                Meant::Dialogue
            }
            Taker::Beat => {
                self.beat_until = None;
                Meant::Dialogue
            }
            Taker::Echo { due, sent } => Meant::Reply { due, sent, error: false },
            Taker::Request { index, error } => {
                // It has just been found there.
                let Some(AwaitedReply { request, due, sent, .. }) = self.awaited.remove(index).map(|awaited| *awaited) else {
                    return Meant::Dialogue;
                };
                if error {
                    self.tell_error(script.error.len() + request);
                }
                Meant::Reply { due, sent, error }
            }
            Taker::Error(number) => {
                self.tell_error(number);
                Meant::Dialogue
            }
            Taker::Nobody if receives == Some(false) => Meant::Dialogue,
            Taker::Nobody => Meant::Received,
        }
    }

    fn takes(&self, matcher: &Matcher, incoming: &IncomingMessage<'_>) -> bool {
        self.values(|values| matcher.fill(values).takes(incoming))
    }

    /// Who takes a message, by what was captured before it. `receives`: it is one of those that everybody gets.
    fn taker(&mut self, incoming: &IncomingMessage<'_>, receives: bool, open: bool) -> Taker<'a> {
        let script = self.of.script;
        if open && !self.failed {
            if let Some(reply) = script.reply.iter().find(|reply| self.takes(&reply.to, incoming)) {
                return Taker::Standing(reply);
            }
            if let Some(step) = script.open.get(self.step) {
                let meant = step.expect.as_ref().filter(|expect| self.takes(&expect.meant, incoming));
                return meant.map_or(Taker::NoStep, |expect| Taker::Step { right: self.takes(&expect.check, incoming) });
            }
            let beat = script.beat.as_ref().and_then(|beat| beat.expect.as_ref()).filter(|_| self.beat_until.is_some());
            if beat.is_some_and(|(matcher, _)| self.takes(matcher, incoming)) {
                return Taker::Beat;
            }
        }
        if let (Besides::Echo(echo), Payload::Binary(bytes)) = (&mut self.besides, incoming.payload)
            && let Some((due, sent)) = echo.answered(bytes)
        {
            return Taker::Echo { due, sent };
        }
        let request = self.answered(incoming, receives);
        let error = || script.error.iter().position(|(_, matcher)| self.takes(matcher, incoming)).map(Taker::Error);
        request.or_else(error).unwrap_or(Taker::Nobody)
    }

    /// Keeps of a received message what later ones need, tells when it was sent, and follows its number. `resumed`: it came as an answer to a `resume`.
    fn received(&mut self, incoming: &IncomingMessage<'_>, resumed: bool) {
        let script = self.of.script;
        for (name, from) in &script.capture {
            let kept = from.find_in(incoming, &|_| None).map_or(Ok(()), |value| self.memory.capture(name, value));
            if let Err(why) = kept {
                self.tells.push_back(DialogueTells::Counted(format!("cohort {}: a captured value {why}: it is not kept", self.of.cohort)));
            }
        }
        if let Some(timestamp) = &script.timestamp {
            let sent = timestamp.find_in(incoming, &|_| None).and_then(|text| micros_since_1970(&text));
            self.tells.push_back(sent.map_or_else(
                || DialogueTells::Counted(format!("cohort {}: a received message has no time where `timestamp` says", self.of.cohort)),
                DialogueTells::Stamped,
            ));
        }
        let Some(sequence) = &script.sequence else { return };
        let Some(number) = sequence.number_in(incoming) else {
            let text = format!("cohort {}: a received message has no whole number where `sequence` says", self.of.cohort);
            self.tells.push_back(DialogueTells::Counted(text));
            return;
        };
        let stream = sequence.stream.as_ref().and_then(|stream| stream.find_in(incoming, &|_| None)).unwrap_or_default();
        let replayed = sequence.replayed.as_ref();
        let replayed = resumed || replayed.is_some_and(|matcher| self.values(|values| matcher.fill(values).takes(incoming)));
        let streams = self.memory.streams.get_or_insert_default();
        let (found, doubt) = streams.take(&stream, number, self.who.1, self.now);
        self.tells.extend(found.map(|found| DialogueTells::Sequenced { found, replayed }));
        self.tells.extend(doubt.map(|doubt| DialogueTells::Counted(format!("cohort {}: {doubt}", self.of.cohort))));
    }

    /// The oldest request that a message answers. `receives` as in [`ScriptClient::taker`].
    fn answered(&self, incoming: &IncomingMessage<'_>, receives: bool) -> Option<Taker<'a>> {
        let requests = &self.of.script.request;
        let any = |request: usize| requests[request].reply.as_ref().is_some_and(Matcher::is_any);
        self.awaited.iter().enumerate().find_map(|(index, awaited)| {
            let error = awaited.error.as_ref().is_some_and(|error| error.takes(incoming));
            let answers = error || (!(receives && any(awaited.request)) && awaited.reply.takes(incoming));
            answers.then_some(Taker::Request { index, error })
        })
    }

    /// The message that a step waits for.
    fn on_step(&mut self, incoming: &IncomingMessage<'_>, right: bool) {
        let Some(expect) = self.of.script.open.get(self.step).and_then(|step| step.expect.as_ref()) else { return };
        if !right {
            return self.fail(self.step, false, &format!("what came is wrong: {}", self.shown(incoming)));
        }
        for (name, from) in &expect.capture {
            let found = from.find_in(incoming, &|_| None).ok_or_else(|| format!("there is no `{name}`"));
            if let Err(why) = found.and_then(|value| self.memory.capture(name, value)) {
                return self.fail(self.step, false, &format!("{why} in {}", self.shown(incoming)));
            }
        }
        self.step += 1;
        self.begin_step();
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

    /// Error number `number` of those of the dialogue was heard.
    fn tell_error(&mut self, number: usize) {
        let number = self.of.script.first_error.saturating_add(u16::try_from(number).unwrap_or(u16::MAX));
        self.tells.push_back(DialogueTells::Error(number));
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
        self.memory.sequence += 1;
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
            let words = match &self.instead {
                (0, _) => "nothing came in time".to_owned(),
                (1, last) => format!("not in time; {last} came instead"),
                // Low cardinality: their number is left out.
                (_, last) => format!("not in time; other messages came instead, the last {last}"),
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
            self.memory.sequence += 1;
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
