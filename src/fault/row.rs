//! What is known about a kind of fault: its documented row, its parameters, and their values in an injection.

use super::expected_codes::Told;
use super::{Effect, Value, Values};
use crate::units::{Bytes, Ratio, parse_duration};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Who carries a fault out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The simulated clients.
    Client,
    /// The embedded server, or the process of a target that we own.
    Server,
}

impl Side {
    /// Both, with their words in scenarios, expectations and files.
    pub const WORDS: [(&str, Side); 2] = [("client", Side::Client), ("server", Side::Server)];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Side::Client => Side::WORDS[0].0,
            Side::Server => Side::WORDS[1].0,
        }
    }
}

/// Where in the stack a fault acts; `closestorm faults` lists kinds by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// Connecting and the opening handshake.
    Handshake,
    /// The TCP connection of an open session.
    Transport,
    /// Single frames.
    Frames,
    /// The closing handshake.
    Closing,
    /// Server processes and fleets, and the machines of clients.
    Process,
}

/// How a kind relates to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Acts once at its firing; `for` is an error.
    Instant,
    /// Holds from its firing until reverted.
    Holding,
    /// Holds, and selects attempts that begin while it is active.
    Attempts,
    /// Holds on the listening sockets of embedded servers.
    Listener,
    /// Acts on server processes.
    Process {
        /// `for` reverts it.
        holds: bool,
    },
}

/// What a parameter's value looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueShape {
    /// `"250ms"`.
    Duration,
    /// `"4KiB"`, at most this many bytes; `u64::MAX`: no bound.
    Bytes {
        /// Greatest.
        max: u64,
    },
    /// A whole number in these bounds, inclusive.
    Whole {
        /// Least.
        min: u64,
        /// Greatest.
        max: u64,
    },
    /// `"5%"`, in these bounds as shares, inclusive.
    Share {
        /// Least.
        min: f64,
        /// Greatest.
        max: f64,
    },
    /// Text of at most this many bytes.
    Text {
        /// Bound in bytes.
        max: usize,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// Bytes that a connection holds in memory before they go out: larger ones would end the process before the connection.
pub(super) const HELD: ValueShape = ValueShape::Bytes { max: 256 << 20 };
/// Bytes that are small by nature: a part of an answer, a ping.
pub(super) const SMALL: ValueShape = ValueShape::Bytes { max: 1 << 20 };
/// Bytes that are counted as they pass and never held.
pub(super) const COUNTED: ValueShape = ValueShape::Bytes { max: 1 << 40 };
/// A number in a frame header, which may be any that fits.
pub(super) const DECLARED: ValueShape = ValueShape::Bytes { max: u64::MAX };

/// A parameter of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// As written in a scenario, without unit suffix.
    pub name: &'static str,
    /// Shape and bounds.
    pub shape: ValueShape,
    /// As it would be written; `None`: absent unless given.
    pub default: Option<&'static str>,
    /// What it does; one sentence.
    pub doc: &'static str,
}

impl Param {
    /// The value that `text` says, as it is written in a scenario, without its quotes.
    ///
    /// # Errors
    /// What was found and what is allowed, where it has another shape or is out of bounds.
    pub fn read(&self, text: &str) -> Result<Value, String> {
        let within = |fits: bool, found: &dyn fmt::Display, allowed: String| {
            if fits { Ok(()) } else { Err(format!("{found} is out of bounds: {allowed}")) }
        };
        match self.shape {
            ValueShape::Duration => parse_duration(text).map(Value::Duration).map_err(|error| error.to_string()),
            ValueShape::Bytes { max } => {
                let size: Bytes = text.parse().map_err(|error: crate::units::UnitError| error.to_string())?;
                within(size.0 <= max, &size, format!("at most {}", Bytes(max)))?;
                Ok(Value::Bytes(size))
            }
            ValueShape::Whole { min, max } => {
                let number: u64 = text.parse().map_err(|_| format!("\"{text}\" is not a whole number"))?;
                within((min..=max).contains(&number), &number, format!("{min} to {max}"))?;
                Ok(Value::Whole(number))
            }
            ValueShape::Share { min, max } => {
                let share: Ratio = text.parse().map_err(|error: crate::units::UnitError| error.to_string())?;
                within((min..=max).contains(&share.0), &share, format!("{} to {}", Ratio(min), Ratio(max)))?;
                Ok(Value::Share(share.0))
            }
            ValueShape::Text { max } => {
                within(text.len() <= max, &format_args!("a text of {} bytes", text.len()), format!("at most {max} bytes"))?;
                Ok(Value::Text(text.to_owned()))
            }
            ValueShape::Choice(words) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
            ValueShape::Choice(words) => Err(format!("\"{text}\" is not one of {}", words.join(", "))),
        }
    }
}

/// One kind of fault: all that is known about it.
#[derive(Clone, Copy, Debug)]
pub struct KindRow {
    /// As written in a scenario.
    pub kind: &'static str,
    /// Where it acts.
    pub layer: Layer,
    /// Who can carry it out today.
    pub sides: &'static [Side],
    /// How it relates to time.
    pub form: Form,
    /// In the order in which they are listed.
    pub params: &'static [Param],
    /// What it does on the wire; one line.
    pub summary: &'static str,
    /// What a healthy peer reports, and what it puts on the wire.
    pub expect: &'static str,
    /// The same in codes, for what closed as expected and what is a surprise.
    pub told: fn(&Values) -> Told,
    /// RFC section or measurement.
    pub source: &'static str,
    /// Parameters → effect. May rely on `params` being checked and defaults filled in.
    pub effect: fn(&Values) -> Effect,
}

impl KindRow {
    /// The parameters of a kind that has been given none.
    pub fn defaults(&self) -> Values {
        let default = |param: &Param| Some((param.name.to_owned(), param.read(param.default?).ok()?));
        Values(self.params.iter().filter_map(default).collect())
    }
}

/// A kind with its parameters.
#[derive(Clone, Debug)]
pub struct Injection {
    /// The kind's row.
    pub row: &'static KindRow,
    /// Checked, defaults filled in.
    pub values: Values,
}

/// The same kind with the same parameters.
impl PartialEq for Injection {
    fn eq(&self, other: &Injection) -> bool {
        self.row.kind == other.row.kind && self.values == other.values
    }
}

impl Injection {
    /// What it asks of `side`. Rows speak from the client's side; a parameter `dir` turns round on the server.
    pub fn effect(&self, side: Side) -> Effect {
        let effect = (self.row.effect)(&self.values);
        if side == Side::Server && self.values.text("dir").is_some() { effect.turned() } else { effect }
    }
}
