//! The client's part of one connection: what it says, what it makes of what comes, and when it is ready.

use super::echo::EchoClient;
use super::stamp::Stamps;
use super::{DialogueSettings, Outgoing, Payload, ReadyTracker, Traffic};
use crate::event::{ClientIndex, ConnectionNo};
use std::time::Duration;

/// One of the dialogues. What an open connection of a client that says nothing carries along is a word; the others have a box.
#[derive(Debug)]
enum Spoken {
    Nothing,
    Echo(Box<EchoClient>),
    Sends(Box<Stamps>),
}

/// What a client says on one open connection. Offsets are from the start of the run.
#[derive(Debug)]
pub struct ClientDialogue<'a> {
    spoken: Spoken,
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
    },
    /// The first word that our own server was asked to say.
    Greeted,
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
    /// Of a connection that opened at `at`.
    pub fn new(settings: DialogueSettings<'a>, client: ClientIndex, connection: ConnectionNo, at: Duration) -> Self {
        let DialogueSettings { traffic, ready, greeting } = settings;
        let stamps = || Stamps::new(client, connection, traffic.message_bytes());
        let spoken = match traffic {
            Traffic::None => Spoken::Nothing,
            Traffic::Echo { .. } => Spoken::Echo(Box::new(EchoClient::new(stamps(), None))),
            Traffic::EchoClosed { in_flight, .. } => Spoken::Echo(Box::new(EchoClient::new(stamps(), Some(in_flight)))),
            Traffic::Send { .. } => Spoken::Sends(Box::new(stamps())),
        };
        ClientDialogue { spoken, ready: ReadyTracker::opened(ready, at), greeting }
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
        }
    }

    /// A message that it has to say of its own accord, whenever the connection takes one; to be asked again until there is none.
    pub fn send_next(&mut self) -> Option<Outgoing> {
        match &mut self.spoken {
            Spoken::Echo(echo) => echo.send_next(),
            Spoken::Nothing | Spoken::Sends(_) => None,
        }
    }

    /// The message given out last was due at `due`, and sent at `sent`.
    pub fn on_sent(&mut self, due: Duration, sent: Duration) {
        match &mut self.spoken {
            Spoken::Echo(echo) => echo.on_sent(due, sent),
            Spoken::Nothing | Spoken::Sends(_) => {}
        }
    }

    /// A message came; `open`: neither side has begun to close the connection.
    pub fn on_message(&mut self, message: Payload<'_>, open: bool) -> Heard {
        let answered = match (&mut self.spoken, message) {
            (Spoken::Echo(echo), Payload::Binary(bytes)) => echo.answered(bytes),
            (Spoken::Echo(_) | Spoken::Nothing | Spoken::Sends(_), _) => None,
        };
        let what = match answered {
            Some((due, sent)) => Observed::Answered { due, sent },
            // Once: a fault may double it.
            None if self.greeting.is_some_and(|text| message == Payload::Text(text)) => {
                self.greeting = None;
                Observed::Greeted
            }
            None => Observed::Received,
        };
        Heard { what, ready: open && self.ready.on_message(message.bytes(), answered.is_some()) }
    }

    /// When it wants to be woken, if nothing happens before.
    pub fn wake(&self) -> Option<Duration> {
        self.ready.wake()
    }

    /// The time of [`ClientDialogue::wake`] has come, at `at`, on an open connection. Whether the client becomes ready by it.
    pub fn on_wake(&mut self, at: Duration) -> bool {
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
        let settings = DialogueSettings { traffic, ready, greeting };
        ClientDialogue::new(settings, ClientIndex(1), ConnectionNo(1), Duration::from_secs(3))
    }

    fn bytes(message: Option<Outgoing>) -> Vec<u8> {
        let Some(Outgoing::Binary(bytes)) = message else { panic!("a binary message") };
        bytes
    }

    #[test]
    fn a_first_word_is_one_once_and_only_as_text() {
        let mut client = dialogue(Traffic::None, &Readiness::Message, Some("ready"));
        let heard = |client: &mut ClientDialogue<'_>, message| {
            let Heard { what, ready } = client.on_message(message, true);
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
        let answered = Heard { what: Observed::Answered { due: at, sent: at }, ready: false };
        assert_eq!(client.on_message(Payload::Binary(&message), false), answered);
        assert!(!client.is_ready());
    }

    #[test]
    fn who_sends_awaits_nothing_and_who_listens_says_nothing() {
        let at = Duration::from_secs(3);
        let mut sends = dialogue(SEND, &Readiness::Reply, None);
        let message = bytes(sends.on_due());
        assert_eq!((message.len(), sends.send_next()), (16, None), "room for the stamp");
        sends.on_sent(at, at);
        assert_eq!(sends.on_message(Payload::Binary(&message), true), Heard { what: Observed::Received, ready: false });
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
        assert!(client.on_message(Payload::Binary(&first), true).ready);
        assert!(client.send_next().is_some());
    }

    #[test]
    fn who_says_nothing_carries_little_along() {
        assert!(size_of::<ClientDialogue<'_>>() <= 56);
    }
}
