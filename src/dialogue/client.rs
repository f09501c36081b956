//! The client's part of one connection: what it says, what it makes of what comes, and when it is ready.

use super::echo::EchoClient;
use super::matcher::IncomingMessage;
use super::memory::ClientMemory;
use super::mqtt::MqttPacket;
use super::spoken::{Besides, DialogueTells, Meant, ScriptClient};
use super::stamp::Stamps;
use super::{DialogueSettings, Outgoing, Payload, ReadyTracker, Traffic};
use crate::event::{ClientIndex, ConnectionNo};
use std::time::Duration;

/// One of the dialogues. What an open connection of a client that says nothing carries along is a word; the others have a box.
#[derive(Debug)]
enum Spoken<'a> {
    Nothing,
    Echo(Box<EchoClient>),
    Sends(Box<Stamps>),
    Script(Box<ScriptClient<'a>>),
}

/// What a client says on one open connection. Offsets are from the start of the run.
#[derive(Debug)]
pub struct ClientDialogue<'a> {
    spoken: Spoken<'a>,
    ready: ReadyTracker<'a>,
    /// The server's first word, until it came.
    greeting: Option<&'a str>,
}

/// What a message was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// The reply to one of the client's own.
    Answered {
        /// When that one was due.
        due: Duration,
        /// When it was sent.
        sent: Duration,
        /// The reply says that it failed.
        error: bool,
    },
    /// The first word that our own server was asked to say.
    Greeted,
    /// Part of a dialogue: neither a reply nor what is received.
    Dialogue,
    /// Any other.
    Received,
}

/// What a client makes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What it was.
    pub what: Observed,
    /// The client becomes ready by it.
    pub ready: bool,
}

impl<'a> ClientDialogue<'a> {
    /// Of a connection that opened at `at`. `memory`: what the client keeps over its connections, where it has a dialogue.
    pub fn new(
        settings: DialogueSettings<'a>,
        client: ClientIndex,
        connection: ConnectionNo,
        at: Duration,
        memory: Option<Box<ClientMemory>>,
    ) -> Self {
        let DialogueSettings { traffic, scripted, ready, greeting, .. } = settings;
        let stamps = || Stamps::new(client, connection, traffic.message_bytes());
        let mut ready = ReadyTracker::opened(ready, at);
        let spoken = match traffic {
            Traffic::None | Traffic::Dialogue { .. } => Spoken::Nothing,
            Traffic::Echo { .. } => Spoken::Echo(Box::new(EchoClient::new(stamps(), None))),
            Traffic::EchoClosed { in_flight, .. } => Spoken::Echo(Box::new(EchoClient::new(stamps(), Some(in_flight)))),
            Traffic::Send { .. } => Spoken::Sends(Box::new(stamps())),
        };
        let spoken = match scripted.zip(memory) {
            None => spoken,
            Some((scripted, memory)) => {
                let besides = match spoken {
                    Spoken::Echo(echo) => Besides::Echo(echo),
                    Spoken::Sends(stamps) => Besides::Sends(stamps),
                    Spoken::Nothing | Spoken::Script(_) => Besides::Nothing,
                };
                let script = ScriptClient::new(scripted, (client, connection), memory, at, besides);
                if script.is_open() {
                    ready.on_dialogue();
                }
                Spoken::Script(Box::new(script))
            }
        };
        ClientDialogue { spoken, ready, greeting }
    }

    /// What the client keeps.
    pub fn into_memory(self) -> Option<Box<ClientMemory>> {
        if let Spoken::Script(script) = self.spoken { Some(script.into_memory()) } else { None }
    }

    /// Whether messages by a schedule may be due: not before the opening steps are done.
    pub fn is_open(&self) -> bool {
        if let Spoken::Script(script) = &self.spoken { script.is_open() } else { true }
    }

    /// What it has to tell of itself; to be asked until there is nothing.
    pub fn tells(&mut self) -> Option<DialogueTells> {
        if let Spoken::Script(script) = &mut self.spoken { script.tells() } else { None }
    }

    /// Whether the client is ready.
    pub fn is_ready(&self) -> bool {
        self.ready.is_ready()
    }

    /// The message of its schedule that is due now; one that cannot be sent now is not sent at all.
    pub fn on_due(&mut self) -> Option<Outgoing> {
        match &mut self.spoken {
            Spoken::Nothing => None,
            Spoken::Echo(echo) => Some(echo.on_due()),
            Spoken::Sends(stamps) => Some(stamps.message()),
            Spoken::Script(script) => script.on_due(),
        }
    }

    /// A message that it has to say of its own accord, whenever the connection takes one; to be asked again until there is none.
    pub fn send_next(&mut self) -> Option<Outgoing> {
        match &mut self.spoken {
            Spoken::Echo(echo) => echo.send_next(),
            Spoken::Script(script) => script.send_next(),
            Spoken::Nothing | Spoken::Sends(_) => None,
        }
    }

    /// The message given out last cannot go out now.
    pub fn take_back(&mut self, message: Outgoing) {
        if let Spoken::Script(script) = &mut self.spoken {
            script.take_back(message);
        }
    }

    /// The message given out last was due at `due`, and sent at `sent`. Whether it is one of those that are counted and measured, and not
    /// part of a dialogue.
    pub fn on_sent(&mut self, due: Duration, sent: Duration) -> bool {
        match &mut self.spoken {
            Spoken::Echo(echo) => echo.on_sent(due, sent),
            Spoken::Script(script) => return script.on_sent(due, sent),
            Spoken::Nothing | Spoken::Sends(_) => {}
        }
        true
    }

    /// Whether what comes is packets, which are not aligned with messages: see [`ClientDialogue::unpack`].
    pub fn has_packets(&self) -> bool {
        if let Spoken::Script(script) = &self.spoken { script.has_packets() } else { false }
    }

    /// Takes the next packet from the front of what came; `None`: more must come.
    pub fn unpack(&mut self, rest: &mut Payload<'_>) -> Option<MqttPacket> {
        if let Spoken::Script(script) = &mut self.spoken { script.unpack(rest) } else { None }
    }

    /// A packet came, as a message that says what it says.
    pub fn on_packet(&mut self, packet: MqttPacket, open: bool, now: impl FnOnce() -> Duration) -> Heard {
        let text = packet.says.to_string();
        self.hear(&IncomingMessage::known(&text, packet.says), open, now)
    }

    /// A message came; `open`: neither side has begun to close the connection. `now`, where somebody must know.
    pub fn on_message(&mut self, message: Payload<'_>, open: bool, now: impl FnOnce() -> Duration) -> Heard {
        self.hear(&IncomingMessage::new(message), open, now)
    }

    fn hear(&mut self, incoming: &IncomingMessage<'_>, open: bool, now: impl FnOnce() -> Duration) -> Heard {
        let message = incoming.payload;
        let what = match (&mut self.spoken, message) {
            (Spoken::Echo(echo), Payload::Binary(bytes)) => {
                echo.answered(bytes).map(|(due, sent)| Observed::Answered { due, sent, error: false })
            }
            (Spoken::Script(script), _) => {
                let was_open = script.is_open();
                let meant = script.on_message(incoming, open, now());
                if !was_open && script.is_open() {
                    return Heard { what: Observed::Dialogue, ready: self.ready.on_dialogue() };
                }
                match meant {
                    Meant::Reply { due, sent, error } => Some(Observed::Answered { due, sent, error }),
                    Meant::Dialogue => Some(Observed::Dialogue),
                    Meant::Received => None,
                }
            }
            (Spoken::Echo(_) | Spoken::Nothing | Spoken::Sends(_), _) => None,
        };
        let what = match what {
            // Once: a fault may double it.
            None | Some(Observed::Dialogue) if self.greeting.is_some_and(|text| message == Payload::Text(text)) => {
                self.greeting = None;
                Observed::Greeted
            }
            None => Observed::Received,
            Some(what) => what,
        };
        let answered = matches!(what, Observed::Answered { .. });
        Heard { what, ready: open && self.ready.on_message(message.bytes(), answered) }
    }

    /// What it says before it leaves of its own accord.
    pub fn leave(&mut self) -> Option<Outgoing> {
        if let Spoken::Script(script) = &mut self.spoken { script.leave() } else { None }
    }

    /// When it wants to be woken, if nothing happens before.
    pub fn wake(&self) -> Option<Duration> {
        let script = if let Spoken::Script(script) = &self.spoken { script.wake() } else { None };
        self.ready.wake().into_iter().chain(script).min()
    }

    /// The time of [`ClientDialogue::wake`] has come, at `at`, on an open connection. Whether the client becomes ready by it.
    pub fn on_wake(&mut self, at: Duration) -> bool {
        if let Spoken::Script(script) = &mut self.spoken {
            script.on_wake(at);
        }
        self.ready.on_wake(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialogue::Readiness;
    use crate::units::{Bytes, Rate};

    const ECHO: Traffic = Traffic::Echo { rate: Rate(1.0), payload: Bytes(32) };
    const SEND: Traffic = Traffic::Send { rate: Rate(1.0), payload: Bytes(0) };
    const CLOSED: Traffic = Traffic::EchoClosed { in_flight: 2, payload: Bytes(16) };

    fn dialogue<'a>(traffic: Traffic, ready: &'a Readiness, greeting: Option<&'a str>) -> ClientDialogue<'a> {
        let settings = DialogueSettings { traffic, scripted: None, ready, greeting, embedded: true };
        ClientDialogue::new(settings, ClientIndex(1), ConnectionNo(1), Duration::from_secs(3), None)
    }

    fn bytes(message: Option<Outgoing>) -> Vec<u8> {
        let Some(Outgoing::Binary(bytes)) = message else { panic!("a binary message") };
        bytes
    }

    #[test]
    fn a_first_word_is_one_once_and_only_as_text() {
        let mut client = dialogue(Traffic::None, &Readiness::Message, Some("ready"));
        let heard = |client: &mut ClientDialogue<'_>, message| {
            let Heard { what, ready } = client.on_message(message, true, || Duration::ZERO);
            (what, ready)
        };
        assert_eq!(heard(&mut client, Payload::Binary(b"ready")), (Observed::Received, true));
        assert_eq!(heard(&mut client, Payload::Text("ready")), (Observed::Greeted, false), "it was ready before");
        assert_eq!(heard(&mut client, Payload::Text("ready")), (Observed::Received, false));
    }

    #[test]
    fn what_comes_while_the_connection_closes_is_counted_and_makes_nobody_ready() {
        let at = Duration::from_secs(3);
        let mut client = dialogue(ECHO, &Readiness::Reply, None);
        let message = bytes(client.on_due());
        client.on_sent(at, at);
        let answered = Heard { what: Observed::Answered { due: at, sent: at, error: false }, ready: false };
        assert_eq!(client.on_message(Payload::Binary(&message), false, || Duration::ZERO), answered);
        assert!(!client.is_ready());
    }

    #[test]
    fn who_sends_awaits_nothing_and_who_listens_says_nothing() {
        let at = Duration::from_secs(3);
        let mut sends = dialogue(SEND, &Readiness::Reply, None);
        let message = bytes(sends.on_due());
        assert_eq!((message.len(), sends.send_next()), (16, None), "room for the stamp");
        sends.on_sent(at, at);
        assert_eq!(sends.on_message(Payload::Binary(&message), true, || Duration::ZERO), Heard { what: Observed::Received, ready: false });
        let mut listens = dialogue(Traffic::None, &Readiness::Open, None);
        assert_eq!((listens.on_due(), listens.send_next(), listens.is_ready()), (None, None, true));
    }

    #[test]
    fn a_closed_loop_goes_on_with_each_reply() {
        let at = Duration::from_secs(3);
        let mut client = dialogue(CLOSED, &Readiness::Reply, None);
        let first = bytes(client.send_next());
        client.on_sent(at, at);
        assert!(client.send_next().is_some());
        client.on_sent(at, at);
        assert_eq!(client.send_next(), None, "two are under way");
        assert!(client.on_message(Payload::Binary(&first), true, || Duration::ZERO).ready);
        assert!(client.send_next().is_some());
    }

    #[test]
    fn who_says_nothing_carries_little_along() {
        assert!(size_of::<ClientDialogue<'_>>() <= 56);
    }
}
