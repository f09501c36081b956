//! What stands in the queue, and the endings and failures that entries name by number.

use crate::close::Ending;
use crate::event::{Outcome, Stage};
use indexmap::IndexSet;
use std::time::Duration;

/// What an entry of the queue is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum What {
    /// The next client of a cohort arrives; `client` is the cohort.
    #[default]
    Arrive,
    /// An entry whose mark does not fit a byte: `client` is its place among `marked`.
    Marked,
    /// A client's wait is over.
    Wake,
    /// Its machine gets to its attempt.
    Attempt,
    /// A client's kernel repeats a SYN.
    Syn,
    /// A request arrives at its server.
    Request,
    /// A 101 arrives; `mark`: stops of the server when it was promised.
    Answer,
    /// Another answer, or the end of the connection, arrives; `mark`: which outcome.
    Refusal,
    /// A server that a fault held back goes on with a request: `client` is the place among `leavers`, `turn` the process.
    Late,
    /// A deadline of the attempt.
    Deadline,
    /// An open connection has ended; `mark`: which ending.
    End,
    /// The client's own stay is over.
    Leave,
    /// Its stages send it away while it has no connection.
    Away,
    /// It has been open for as long as its cohort asks for.
    Stable,
    /// An HTTP request before its attempt is over; `mark`: how.
    Asked,
    /// The time of a step of its dialogue is over; `mark`: the step.
    StepLate,
    /// Something is due for one of the pairs: `client` is its number, `turn` its epoch.
    Pair,
    /// A message is due.
    Message,
    /// An answer arrives; `client` is its message's place among those on their way.
    Echo,
    /// A server's process begins: `client` is the server, `turn` its process.
    Start,
    /// A process that has started listens: as `Start`.
    Listen,
    /// A server has served someone: as `Start`.
    Served,
    /// A server is done with someone who is gone: `client` is the place among `leavers`, `turn` the process.
    Vacate,
    /// A graceful stop is over: as `Start`.
    Grace,
    /// A server runs on; `client` is the firing that stopped it, packed, `turn` the server.
    Resume,
    /// A server closes a connection; `mark`: which ending.
    Close,
    /// A fault fires; `client` is the fault.
    Fire,
    /// A firing of a fault is reverted; `client` is the firing, packed.
    Revert,
    /// One instance of a rolling restart; `client` is the firing, packed, `turn` the server.
    Roll,
}

/// An entry of the queue: eight bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Due {
    pub(super) client: u32,
    /// It counts only while the client is still in this of its states.
    pub(super) turn: u16,
    pub(super) what: What,
    pub(super) mark: u8,
}

/// An ending that may befall many clients.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Farewell {
    pub(super) client: Ending,
    /// The server's account, where it gives one.
    pub(super) server: Option<Ending>,
    /// There was a closing handshake: answered at once, or not at all.
    pub(super) closing: Option<Answered>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Answered {
    /// By the client; the server then ended TCP.
    ByClient,
    /// By the server.
    ByServer,
}

/// How an attempt fails.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Failing {
    pub(super) stage: Stage,
    pub(super) outcome: Outcome,
    pub(super) fault: Option<u16>,
}

impl Failing {
    /// Numbers of those that come by the million.
    pub(super) const REFUSED: u32 = 0;
    pub(super) const LATE_TCP: u32 = 1;
    pub(super) const LATE_UPGRADE: u32 = 2;
    pub(super) const CUT: u32 = 3;

    /// Those, in this order.
    pub(super) fn usual() -> IndexSet<Failing> {
        let of = |stage, outcome| Failing { stage, outcome, fault: None };
        let cut = Outcome::Failed { why: "connection ended before the 101 response: end of stream".to_owned() };
        IndexSet::from([
            of(Stage::Tcp, Outcome::Refused),
            of(Stage::Tcp, Outcome::TimedOut),
            of(Stage::Upgrade, Outcome::TimedOut),
            of(Stage::Upgrade, cut),
        ])
    }
}

/// Whole nanoseconds; what does not fit is never.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
