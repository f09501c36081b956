//! The embedded server's part of one connection, and how a client asks for it: by headers of its opening request, which other servers ignore.

use super::role::{ProtocolServer, Reply};
use super::{DialogueProtocol, DialogueSettings, Outgoing, Payload, Traffic};
use std::time::Duration;

/// Request header of clients that wait for a message of the server: what it says to them first, escaped.
const GREETING_HEADER: &str = "Closestorm-Greeting";
/// Request header of clients that speak a protocol, whose server's part is wanted.
const PROTOCOL_HEADER: &str = "Closestorm-Protocol";
/// Request header of clients that do not want an echo.
const SINK_HEADER: &str = "Closestorm-Sink";

impl DialogueSettings<'_> {
    /// Headers of the opening request, name and value, by which [`ServerDialogue::asked`] knows what to do.
    pub fn asks(&self) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let silent = matches!(self.traffic, Traffic::Send { .. } | Traffic::Dialogue { replies: false, .. });
        let sink = silent.then(|| (SINK_HEADER, "1".to_owned()));
        let greeting = self.greeting.map(|text| (GREETING_HEADER, escaped(text)));
        let protocol = self.scripted.and_then(|scripted| scripted.script.protocol);
        let protocol = protocol.filter(|_| self.embedded).map(|protocol| (PROTOCOL_HEADER, protocol.word().to_owned()));
        sink.into_iter().chain(greeting).chain(protocol)
    }
}

/// What the embedded server says on one open connection.
#[derive(Clone, Debug)]
pub struct ServerDialogue {
    echoes: bool,
    /// Boxed: most servers echo.
    role: Option<Box<ProtocolServer>>,
    /// What it says first, until it has been said.
    greeting: Option<Box<str>>,
}

impl ServerDialogue {
    /// As the opening request asks, by the value of its header of a name. Clients that ask for nothing get an echo.
    pub fn asked<'a>(header: impl Fn(&str) -> Option<&'a str>) -> ServerDialogue {
        let greeting = header(GREETING_HEADER).and_then(unescaped).map(String::into_boxed_str);
        let named = header(PROTOCOL_HEADER);
        let protocol = DialogueProtocol::WORDS.into_iter().find(|(word, _)| Some(*word) == named);
        let role = protocol.map(|(_, protocol)| Box::new(ProtocolServer::new(protocol)));
        let greeting = role.as_ref().and_then(|role| role.greeting()).or(greeting);
        ServerDialogue { echoes: header(SINK_HEADER).is_none(), role, greeting }
    }

    /// Whether a message is due as soon as the connection is open.
    pub fn speaks_first(&self) -> bool {
        self.greeting.is_some()
    }

    /// The message that is due.
    pub fn on_due(&mut self) -> Option<Outgoing> {
        self.greeting.take().map(Outgoing::Text)
    }

    /// When it wants to be woken; offset from the 101.
    pub fn wake(&self) -> Option<Duration> {
        self.role.as_ref().and_then(|role| role.wake())
    }

    /// That time has come.
    pub fn on_wake(&mut self, now: Duration) -> Reply {
        self.role.as_mut().map_or(Reply::Nothing, |role| role.on_wake(now))
    }

    /// A message came on an open connection, `now` after the 101.
    pub fn on_message(&mut self, message: Payload<'_>, now: impl FnOnce() -> Duration) -> Reply {
        if let Some(role) = &mut self.role {
            return role.on_message(message, now);
        }
        if self.echoes { Reply::Same } else { Reply::Nothing }
    }
}

/// A text as the value of a header: printable ASCII as it is, all else and `%` as `%` and two hexadecimal digits.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| (byte == b' ' || byte.is_ascii_graphic()) && byte != b'%';
    // A value has no blanks at its ends.
    let edge = |place: usize| place == 0 || place + 1 == text.len();
    let bytes = text.bytes().enumerate();
    bytes
        .map(
            |(place, byte)| {
                if plain(byte) && !(byte == b' ' && edge(place)) { char::from(byte).to_string() } else { format!("%{byte:02x}") }
            },
        )
        .collect()
}

/// The text of [`escaped`]; `None` where it is none.
fn unescaped(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialogue::Readiness;
    use crate::units::{Bytes, Rate};
    use std::collections::HashMap;

    #[test]
    fn a_server_does_what_its_client_asks() {
        let send = Traffic::Send { rate: Rate(1.0), payload: Bytes(16) };
        for (traffic, greeting, reply) in [
            (Traffic::None, None, Reply::Same),
            (send, None, Reply::Nothing),
            (send, Some("welcome ü"), Reply::Nothing),
            (Traffic::EchoClosed { in_flight: 1, payload: Bytes(16) }, Some(" "), Reply::Same),
        ] {
            let settings = DialogueSettings { traffic, scripted: None, ready: &Readiness::Message, greeting, embedded: true };
            let headers: HashMap<_, _> = settings.asks().collect();
            let mut server = ServerDialogue::asked(|name| headers.get(name).map(String::as_str));
            assert_eq!(server.on_message(Payload::Text("x"), || Duration::ZERO), reply);
            assert_eq!((server.speaks_first(), server.on_due()), (greeting.is_some(), greeting.map(|text| Outgoing::Text(text.into()))));
            assert_eq!((server.speaks_first(), server.on_due()), (false, None), "said once");
        }
    }

    #[test]
    fn a_greeting_survives_the_header_that_carries_it() {
        for text in ["ready", " \t{\"ok\":true} ", "100 % – ü\r\nX: y", "%41", ""] {
            let value = escaped(text);
            assert!(value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) && value.trim() == value, "{value:?}");
            assert_eq!(unescaped(&value).as_deref(), Some(text));
        }
        for wrong in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(unescaped(wrong), None, "{wrong}");
        }
    }
}
