//! What requests of our own clients say to our own server: which connection this is, and what the client wants of it.

use crate::event::{ClientIndex, ConnectionNo};
use serde::{Deserialize, Serialize};

/// Request header that carries `<client>/<connection>`.
pub(crate) const ID_HEADER: &str = "Closestorm-Id";

/// Request header of clients that wait for a message of the server: what it says to them first, escaped.
pub(crate) const GREETING_HEADER: &str = "Closestorm-Greeting";

/// Request header of clients that do not want an echo.
pub(crate) const SINK_HEADER: &str = "Closestorm-Sink";

/// One connection, by the id in its opening request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Id {
    /// Whose.
    pub client: ClientIndex,
    /// Which.
    pub connection: ConnectionNo,
}

impl Id {
    /// As in the header.
    pub(crate) fn parse(text: &str) -> Option<Id> {
        let (client, connection) = text.split_once('/')?;
        Some(Id { client: ClientIndex(client.parse().ok()?), connection: ConnectionNo(connection.parse().ok()?) })
    }
}

/// A text as the value of a header: printable ASCII as it is, all else and `%` as `%` and two hexadecimal digits.
pub(crate) fn escaped(text: &str) -> String {
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
pub(crate) fn unescaped(value: &str) -> Option<String> {
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
