//! Messages between a connection, which has them as tungstenite's, and a dialogue, which knows no connection. Nothing is copied.

use crate::dialogue::{Outgoing, Payload};
use tokio_tungstenite::tungstenite::Message;

impl<'a> From<&'a Message> for Payload<'a> {
    fn from(message: &'a Message) -> Self {
        match message {
            Message::Text(text) => Payload::Text(text),
            Message::Binary(bytes) => Payload::Binary(bytes),
            // A connection hands out no others.
            _ => Payload::Binary(&[]),
        }
    }
}

impl From<Outgoing> for Message {
    fn from(message: Outgoing) -> Self {
        match message {
            Outgoing::Text(text) => Message::Text(String::from(text).into()),
            Outgoing::Binary(bytes) => Message::Binary(bytes.into()),
        }
    }
}
