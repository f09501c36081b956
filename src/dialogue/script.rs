//! A dialogue as a scenario says it: what is sent and awaited when a connection opens, standing answers, beats, and measured requests.
//!
//! These are the facts; `spoken.rs` carries them out on one connection.

use super::matcher::{CaptureFrom, Content, IncomingMessage, Matcher};
use crate::template::{DataTable, Template};
use crate::units::{Bytes, Rate};
use std::sync::Arc;
use std::time::Duration;

/// A protocol whose part the embedded server plays, and how its messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialogueProtocol {
    /// socket.io 4 over Engine.IO 4.
    SocketIo,
    /// graphql-transport-ws.
    GraphqlTransportWs,
    /// MQTT 3.1.1: packets are said and matched as JSON.
    Mqtt,
    /// MQTT 5, likewise.
    Mqtt5,
}

impl DialogueProtocol {
    /// All, as scenarios write them.
    pub const WORDS: [(&'static str, DialogueProtocol); 4] = [
        ("socket.io", DialogueProtocol::SocketIo),
        ("graphql-transport-ws", DialogueProtocol::GraphqlTransportWs),
        ("mqtt", DialogueProtocol::Mqtt),
        ("mqtt5", DialogueProtocol::Mqtt5),
    ];

    /// As scenarios write it.
    pub fn word(self) -> &'static str {
        DialogueProtocol::WORDS.iter().find(|(_, protocol)| *protocol == self).map_or("", |(word, _)| word)
    }

    /// Whether its messages are MQTT packets, and whether of version 5.
    pub fn mqtt(self) -> Option<bool> {
        match self {
            DialogueProtocol::Mqtt => Some(false),
            DialogueProtocol::Mqtt5 => Some(true),
            DialogueProtocol::SocketIo | DialogueProtocol::GraphqlTransportWs => None,
        }
    }
}

/// What the clients of a cohort say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dialogue {
    /// The protocol that it speaks, where it is one of these.
    pub protocol: Option<DialogueProtocol>,
    /// HTTP requests before each connection, one after the other.
    pub before: Vec<HttpRequest>,
    /// From the 101 on, one after the other. At their end the dialogue is open.
    pub open: Vec<DialogueStep>,
    /// Standing answers, the first that fits.
    pub reply: Vec<StandingReply>,
    /// Messages by the clock from then on, with their answers.
    pub beat: Option<DialogueBeat>,
    /// The client closes when nothing came for so long.
    pub silence: Option<Duration>,
    /// One of these is drawn by weight each time a message is due.
    pub request: Vec<DialogueRequest>,
    /// When messages of `request` are due.
    pub pace: RequestPace,
    /// What counts as received; `None`: all that belongs to nothing else.
    pub receive: Option<Matcher>,
    /// Where received messages have their numbers.
    pub sequence: Option<FollowedSequence>,
    /// Where received messages say when they were sent.
    pub timestamp: Option<CaptureFrom>,
    /// What is kept of each received message.
    pub capture: Vec<(Box<str>, CaptureFrom)>,
    /// Messages that say that something is wrong, and what each is called.
    pub error: Vec<(Box<str>, Matcher)>,
    /// Said before the client's own Close frame.
    pub leave: Option<Content>,
    /// Number of its first step among all of the plan.
    pub first_step: u16,
    /// Number of its first error among all of the plan.
    pub first_error: u16,
}

/// When requests are due.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RequestPace {
    /// Never.
    #[default]
    None,
    /// By the clock, for each client.
    Rate(Rate),
    /// So many of a client are under way.
    InFlight(u16),
}

/// A step of `open`: sends, then waits, as far as it says so.
#[derive(Clone, Debug, PartialEq)]
pub struct DialogueStep {
    /// As in results.
    pub name: Box<str>,
    /// What is sent.
    pub send: Option<Content>,
    /// What is sent instead, once everything that it names as captured has been.
    pub resume: Option<Content>,
    /// What is awaited.
    pub expect: Option<ExpectedMessage>,
}

/// A message that is awaited.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedMessage {
    /// Which one is meant.
    pub meant: Matcher,
    /// What it must be, to be right.
    pub check: Matcher,
    /// What is kept of it.
    pub capture: Vec<(Box<str>, CaptureFrom)>,
    /// From the step's beginning.
    pub within: Duration,
}

/// An answer that is always given.
#[derive(Clone, Debug, PartialEq)]
pub struct StandingReply {
    /// To what.
    pub to: Matcher,
    /// The answer.
    pub send: Content,
}

/// Numbers that count up by one in the received messages of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct FollowedSequence {
    /// Where the number stands.
    pub number: CaptureFrom,
    /// Where the name of the stream stands; `None`: all are one stream.
    pub stream: Option<CaptureFrom>,
    /// Messages that the server sends once more to somebody who was away.
    pub replayed: Option<Matcher>,
}

impl FollowedSequence {
    /// The number of a message; `None`: no whole number stands there.
    pub(super) fn number_in(&self, incoming: &IncomingMessage<'_>) -> Option<u64> {
        self.number.find_in(incoming, &|_| None)?.parse().ok()
    }
}

/// Messages by the clock.
#[derive(Clone, Debug, PartialEq)]
pub struct DialogueBeat {
    /// Between two of them; the first comes so long after the dialogue has opened.
    pub every: Duration,
    /// What is sent.
    pub send: Content,
    /// What must come in answer, within which time.
    pub expect: Option<(Matcher, Duration)>,
}

/// A message that is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct DialogueRequest {
    /// As in results.
    pub name: Box<str>,
    /// What is sent.
    pub send: Content,
    /// Which message answers it; `None`: nobody does.
    pub reply: Option<Matcher>,
    /// Answers that say that it failed.
    pub error: Option<Matcher>,
    /// How often it is drawn, in relation to others; above zero.
    pub weight: f64,
}

/// An HTTP request before a connection.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRequest {
    /// As in results.
    pub name: Box<str>,
    /// As `POST`.
    pub method: Box<str>,
    /// Absolute, http or https.
    pub url: Template,
    /// Header fields.
    pub headers: Vec<(String, Template)>,
    /// Empty where there is none.
    pub body: Template,
    /// The status that is right; `None`: any of 200 to 299.
    pub status: Option<u16>,
    /// What is kept of the answer.
    pub capture: Vec<(Box<str>, CaptureFrom)>,
    /// How long it may take.
    pub within: Duration,
}

/// Rows of a data file for the clients of a cohort.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientData {
    /// The file's rows.
    pub table: Arc<DataTable>,
    /// Which row a client has.
    pub order: DataOrder,
}

/// Which row of a data file a client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataOrder {
    /// Client k of the cohort has row k.
    InOrder,
    /// The same, and from the first row on again.
    Cycled,
    /// Drawn by each client, once.
    Drawn,
}

impl Dialogue {
    /// Steps that can fail, by the names of results: those of `open`, the beat, silence, and what comes in packets.
    pub fn steps(&self) -> impl Iterator<Item = &str> {
        self.open.iter().map(|step| &*step.name).chain(["beat", "silence", "packets"])
    }

    /// Causes with which these steps may end a connection, as in results.
    pub fn causes(&self) -> impl Iterator<Item = String> {
        self.steps().flat_map(|step| [format!("deadline:dialogue:{step}"), format!("dialogue:{step}")])
    }

    /// What is counted as an error, by the names of results: messages of `error`, then requests whose answers may say so.
    pub fn errors(&self) -> impl Iterator<Item = &str> {
        let requests = self.request.iter().map(|request| &*request.name);
        self.error.iter().map(|(name, _)| &**name).chain(requests)
    }

    /// Whether its requests are answered.
    pub fn awaits_replies(&self) -> bool {
        self.request.iter().any(|request| request.reply.is_some())
    }

    /// About the size of its requests: of the largest.
    pub fn payload(&self) -> Bytes {
        Bytes(self.request.iter().map(|request| request.send.size()).max().unwrap_or_default() as u64)
    }

    /// Whether messages by the clock wait for an answer to its opening steps.
    pub fn awaits_steps(&self) -> bool {
        self.open.iter().any(|step| step.expect.is_some())
    }

    /// Keys that only somebody can carry out who has the messages of a real server.
    pub fn needs_messages(&self) -> Option<&'static str> {
        match self {
            _ if self.sequence.is_some() => Some("sequence"),
            _ if self.timestamp.is_some() => Some("timestamp"),
            _ => None,
        }
    }

    /// Keys that close a connection on which nothing comes.
    pub fn notices_silence(&self) -> Option<&'static str> {
        match self {
            _ if self.silence.is_some() => Some("silence"),
            _ if self.beat.as_ref().is_some_and(|beat| beat.expect.is_some()) => Some("beat"),
            _ => None,
        }
    }

    /// Keys that do nothing where the server says nothing by itself, and answers all that it should.
    pub fn idle_in_calm(&self) -> impl Iterator<Item = &'static str> {
        let keys = [
            ("protocol", self.protocol.is_some()),
            ("reply", !self.reply.is_empty()),
            ("beat", self.beat.is_some()),
            ("silence", self.silence.is_some()),
            ("receive", self.receive.is_some()),
            ("capture", !self.capture.is_empty()),
            ("error", !self.error.is_empty()),
        ];
        keys.into_iter().filter(|(_, used)| *used).map(|(key, _)| key)
    }

    /// All its templates.
    pub fn templates(&mut self, each: &mut dyn FnMut(&mut Template)) {
        let content = |content: &mut Content, each: &mut dyn FnMut(&mut Template)| {
            if let Content::Text(template) = content {
                each(template);
            }
        };
        for request in &mut self.before {
            each(&mut request.url);
            each(&mut request.body);
            request.headers.iter_mut().for_each(|(_, value)| each(value));
        }
        for step in &mut self.open {
            step.send.iter_mut().chain(&mut step.resume).for_each(|send| content(send, each));
            if let Some(expect) = &mut step.expect {
                expect.meant.templates().chain(expect.check.templates()).for_each(&mut *each);
            }
        }
        for reply in &mut self.reply {
            content(&mut reply.send, each);
            reply.to.templates().for_each(&mut *each);
        }
        if let Some(beat) = &mut self.beat {
            content(&mut beat.send, each);
            beat.expect.iter_mut().for_each(|(matcher, _)| matcher.templates().for_each(&mut *each));
        }
        for request in &mut self.request {
            content(&mut request.send, each);
            request.reply.iter_mut().chain(&mut request.error).for_each(|matcher| matcher.templates().for_each(&mut *each));
        }
        self.receive.iter_mut().for_each(|matcher| matcher.templates().for_each(&mut *each));
        let replayed = self.sequence.iter_mut().filter_map(|sequence| sequence.replayed.as_mut());
        replayed.for_each(|matcher| matcher.templates().for_each(&mut *each));
        self.error.iter_mut().for_each(|(_, matcher)| matcher.templates().for_each(&mut *each));
        self.leave.iter_mut().for_each(|leave| content(leave, each));
    }
}

impl HttpRequest {
    /// Whether it goes to somebody else than the target, whose host and port are `own` where they are known; then, whether by https.
    pub fn elsewhere(&self, own: Option<&str>) -> Option<bool> {
        let url = self.url.begins_with();
        let host = url.split_once("://").map(|(_, rest)| rest.split(['/', '?']).next().unwrap_or_default());
        let to_target = url.starts_with('/') || (host.is_some() && host == own);
        (!to_target).then(|| url.starts_with("https"))
    }
}

impl ClientData {
    /// The row of client number `client` of the cohort, from 0; `drawn` draws a number below another.
    pub fn row(&self, client: u32, drawn: impl FnOnce(u64) -> u64) -> usize {
        let rows = self.table.rows.len().max(1);
        match self.order {
            DataOrder::InOrder => client as usize,
            DataOrder::Cycled => client as usize % rows,
            DataOrder::Drawn => drawn(rows as u64) as usize,
        }
    }
}
