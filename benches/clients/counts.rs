//! What the echo server saw. It counts itself, so that no figure rests on what a client says of itself.

use std::fmt;
use std::str::FromStr;

/// Counts since the server started; times on the shared clock, in nanoseconds, 0 if there was none yet.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) now_ns: u64,
    /// When it began to listen.
    pub(crate) listening_ns: u64,
    /// The first connection accepted.
    pub(crate) first_ns: u64,
    /// The last opening handshake answered.
    pub(crate) last_ns: u64,
    /// Opening handshakes answered.
    pub(crate) opened: u64,
    /// Open connections now.
    pub(crate) open: u64,
    /// Data messages echoed.
    pub(crate) echoed: u64,
}

impl Counts {
    /// Opening handshakes a second, from the first connection accepted to the last handshake answered.
    pub(crate) fn opening_rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "far below 2⁵³")]
        let rate = self.opened as f64 / (self.last_ns.saturating_sub(self.first_ns).max(1) as f64 / 1e9);
        rate
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { now_ns, listening_ns, first_ns, last_ns, opened, open, echoed } = self;
        write!(f, "{now_ns} {listening_ns} {first_ns} {last_ns} {opened} {open} {echoed}")
    }
}

impl FromStr for Counts {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let numbers: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
        let &[now_ns, listening_ns, first_ns, last_ns, opened, open, echoed] = numbers.as_slice() else {
            return Err(format!("the echo server said {line:?}"));
        };
        Ok(Counts { now_ns, listening_ns, first_ns, last_ns, opened, open, echoed })
    }
}

/// A question to the server: answered when so much has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    Opened(u64),
    Echoed(u64),
    /// All are sent away first, and then so many have opened, the earlier ones included.
    Returned(u64),
}

impl Until {
    pub(crate) fn is_reached(self, counts: &Counts) -> bool {
        match self {
            Until::Opened(wanted) | Until::Returned(wanted) => counts.opened >= wanted,
            Until::Echoed(wanted) => counts.echoed >= wanted,
        }
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Until::Opened(wanted) => write!(f, "opened {wanted}"),
            Until::Echoed(wanted) => write!(f, "echoed {wanted}"),
            Until::Returned(wanted) => write!(f, "returned {wanted}"),
        }
    }
}

impl FromStr for Until {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let (what, wanted) = line.trim().split_once(' ').ok_or("a question is a word and a number")?;
        let wanted = wanted.parse().map_err(|_| format!("not a number: {wanted}"))?;
        match what {
            "opened" => Ok(Until::Opened(wanted)),
            "echoed" => Ok(Until::Echoed(wanted)),
            "returned" => Ok(Until::Returned(wanted)),
            _ => Err(format!("unknown question: {what}")),
        }
    }
}
