//! What is said on an open connection, by both roles: pure state machines without sockets, tasks or clocks.
//!
//! A client of `load` and a connection of `server` each own one machine, [`ClientDialogue`] and [`ServerDialogue`]. They tell it what
//! happened (it has opened, a message came, one is due, the time it asked for has come) with offsets from the start of the run, and do what
//! it answers: send these bytes, wake me then, this message answers that one, the client is ready now. The simulator has no bytes; it asks
//! the same [`Traffic`] how often and how much is said, and the same [`ReadyTracker`] when a client is ready.
//!
//! # Adding a dialogue
//!
//! Say `graphql`, in which the client says hello, waits for the answer, and is ready with it. Nothing in `load`, `ws`, `run`, `metrics` or
//! `plan` changes; `server` only if the embedded server is to answer otherwise than by an echo: a variant of [`Reply`] and its arm.
//!
//! 1. `dialogue/graphql.rs`: the machine of the client. It keeps what one connection must remember and nothing else; an open connection
//!    that does not talk costs a word, so whatever is larger is boxed once, when the connection opens. See `echo.rs`.
//! 2. This file: `mod graphql;`, and a variant of [`Traffic`] with what a scenario says of it. The compiler asks for the facts that all
//!    others need: does it send by the clock, how large is a message, are replies awaited, how is it called in tables.
//! 3. `dialogue/client.rs`: a variant of `Spoken` and an arm in each `match`.
//! 4. `dialogue/server.rs`, if the embedded server takes part: what the client asks of it (a request header), and what it then does.
//! 5. `scenario/keys.rs` and `scenario/cohort.rs`: the keys, and how they become the variant.
//!
//! A dialogue that a scenario describes needs none of that: `script.rs` has what it can say, `matcher.rs` which message is meant, and
//! `spoken.rs` carries it out. What is to be said of all connections of a client, as captured values, is its [`ClientMemory`].
//!
//! A machine never waits; only what a template asks for is drawn, from the client's own stream. What it wants to say by itself, it gives out
//! by `send_next`, as often as it is asked; what comes by a schedule, by `on_due`: that is never sent late, so what cannot be sent is counted
//! as not started. A new way to be ready is a variant of [`Readiness`], and its keys stand in `scenario/readiness.rs`.

mod client;
mod echo;
mod matcher;
mod memory;
pub mod mqtt;
pub mod probe;
mod readiness;
mod role;
mod script;
mod sequence;
mod server;
mod spoken;
mod stamp;
mod timestamp;

pub use client::{ClientDialogue, Heard, Observed};
pub use matcher::{CaptureFrom, Content, Matcher, Pattern};
pub use memory::{ClientMemory, Scripted};
pub use readiness::{Readiness, ReadyTracker};
pub use role::Reply;
pub use script::{
    ClientData, DataOrder, Dialogue, DialogueBeat, DialogueProtocol, DialogueRequest, DialogueStep, ExpectedMessage, FollowedSequence,
    HttpRequest, RequestPace, StandingReply,
};
pub use server::ServerDialogue;
pub use spoken::DialogueTells;
pub use stamp::STAMP;

use crate::units::{Bytes, Rate};
use std::fmt;

/// Messages of one connection whose replies are awaited, at most; beyond them the oldest is given up.
pub const PENDING_MAX: u32 = 10_000;

/// What a client closes with where a step of its dialogue was not met in time.
pub const LATE_STEP: u16 = 3008;

/// What the clients of a cohort say while open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Traffic {
    /// Nothing; what arrives is counted.
    None,
    /// Messages whose echo is awaited; the first is due when the connection opens.
    Echo {
        /// Per client.
        rate: Rate,
        /// Size of a message.
        payload: Bytes,
    },
    /// Messages whose echo is awaited before the next goes out: a closed loop.
    EchoClosed {
        /// Messages of a client under way at a time.
        in_flight: u16,
        /// Size of a message.
        payload: Bytes,
    },
    /// Messages that nobody answers.
    Send {
        /// Per client.
        rate: Rate,
        /// Size of a message.
        payload: Bytes,
    },
    /// What the cohort's [`Dialogue`] says; these are the facts that others ask for.
    Dialogue {
        /// When its requests are due.
        pace: RequestPace,
        /// They are answered.
        replies: bool,
        /// About the size of one.
        payload: Bytes,
    },
}

impl Traffic {
    /// Of a dialogue.
    pub fn of(dialogue: &Dialogue) -> Traffic {
        Traffic::Dialogue { pace: dialogue.pace, replies: dialogue.awaits_replies(), payload: dialogue.payload() }
    }

    /// Messages by the clock, from the first opening of a client to the end of the run; `None` where there are none.
    pub fn rate(&self) -> Option<Rate> {
        match self {
            Traffic::Echo { rate, .. } | Traffic::Send { rate, .. } | Traffic::Dialogue { pace: RequestPace::Rate(rate), .. } => {
                Some(*rate).filter(|rate| rate.0 > 0.0)
            }
            Traffic::None | Traffic::EchoClosed { .. } | Traffic::Dialogue { .. } => None,
        }
    }

    /// Whether a message is due as soon as a connection is open.
    pub fn speaks_first(&self) -> bool {
        matches!(self, Traffic::Echo { .. })
    }

    /// Whether it sends when replies come, and not by the clock: how much depends on how fast they come.
    pub fn is_closed_loop(&self) -> bool {
        matches!(self, Traffic::EchoClosed { .. } | Traffic::Dialogue { pace: RequestPace::InFlight(_), .. })
    }

    /// Whether its messages are answered one by one.
    pub fn awaits_replies(&self) -> bool {
        matches!(self, Traffic::Echo { .. } | Traffic::EchoClosed { .. } | Traffic::Dialogue { replies: true, .. })
    }

    /// Payload of each message, at least [`STAMP`] where it says whose it is; nothing where there are no messages.
    pub fn message_bytes(&self) -> u32 {
        let payload = match self {
            Traffic::Echo { payload, .. } | Traffic::EchoClosed { payload, .. } | Traffic::Send { payload, .. } => {
                payload.0.max(STAMP as u64)
            }
            Traffic::Dialogue { payload, .. } => payload.0,
            Traffic::None => 0,
        };
        u32::try_from(payload).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Traffic::None => f.write_str("none"),
            Traffic::Echo { rate, payload } => write!(f, "echo {rate} of {payload}"),
            Traffic::EchoClosed { in_flight, payload } => write!(f, "echo, {in_flight} in flight, of {payload}"),
            Traffic::Send { rate, payload } => write!(f, "send {rate} of {payload}"),
            Traffic::Dialogue { pace, replies, .. } => {
                let what = if *replies { "requests" } else { "messages" };
                match pace {
                    RequestPace::None => f.write_str("dialogue"),
                    RequestPace::Rate(rate) => write!(f, "dialogue, {what} {rate}"),
                    RequestPace::InFlight(most) => write!(f, "dialogue, {most} {what} in flight"),
                }
            }
        }
    }
}

/// What a cohort's clients say and wait for, as far as a dialogue must know.
#[derive(Clone, Copy, Debug)]
pub struct DialogueSettings<'a> {
    /// What they say.
    pub traffic: Traffic,
    /// The dialogue of [`Traffic::Dialogue`].
    pub scripted: Option<Scripted<'a>>,
    /// When they are ready.
    pub ready: &'a Readiness,
    /// The server is the embedded one: it plays the server's part of a protocol, where it is asked to.
    pub embedded: bool,
    /// What the server is asked to say first; `None` where it is not embedded, or nobody waits for it.
    pub greeting: Option<&'a str>,
}

/// A message that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Text.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

impl<'a> Payload<'a> {
    /// Its bytes.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Payload::Text(text) => text.as_bytes(),
            Payload::Binary(bytes) => bytes,
        }
    }
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// Text.
    Text(Box<str>),
    /// Bytes.
    Binary(Vec<u8>),
}
