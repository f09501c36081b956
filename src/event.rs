//! The event vocabulary: all that can happen in a run. The engine and the simulator emit events, `metrics` folds them.
//!
//! Every event comes with `at`, the offset since the first due arrival. Indices refer to the plan: clients are numbered 0.. over all
//! cohorts, attempts of one client 1.. in their order; the connection that attempt n opens is connection n.

use crate::close::Ending;
use crate::secret::{Holder, Secrets, mask, mask_address};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// All clients of a plan together; the engine's own limits are lower.
pub const CLIENTS_MAX: u32 = 10_000_000;

/// Number of a client, 0.. over all cohorts of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientIndex(pub u32);

/// Number of a connection of one client: that of the attempt that opened it, from 1. Attempts that do not open leave gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnectionNo(pub u32);

/// How far an attempt had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// HTTP requests before the connection.
    Before,
    /// TCP connect.
    Tcp,
    /// TLS handshake.
    Tls,
    /// Opening handshake.
    Upgrade,
}

/// How long an attempt took as far as it came: its stages that ended, and the one under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stages {
    /// TCP connect, if it ended.
    pub tcp: Option<Duration>,
    /// TLS handshake, if there was one and it ended.
    pub tls: Option<Duration>,
    /// That handshake took up an earlier session; of one that did not end: its client asked for it.
    pub resumed: bool,
    /// So far in the stage that did not end.
    pub elapsed: Duration,
}

impl Stages {
    /// How far an attempt that is at `stage` now had come some time before; `None`: it had not begun.
    pub fn before(mut self, mut stage: Stage, mut ago: Duration) -> Option<(Stage, Stages)> {
        while ago >= self.elapsed {
            ago -= self.elapsed;
            (stage, self.elapsed) = match (self.tls.take(), self.tcp) {
                (Some(tls), _) => (Stage::Tls, tls),
                (None, Some(tcp)) => {
                    self.tcp = None;
                    (Stage::Tcp, tcp)
                }
                (None, None) => return None,
            };
        }
        self.elapsed -= ago;
        Some((stage, self))
    }
}

/// Something of a client that the end of the measurement cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnderWay {
    /// An attempt.
    Attempt {
        /// How far it had come.
        stage: Stage,
        /// How long that took.
        times: Stages,
    },
    /// A closing handshake.
    Closing {
        /// From the first Close frame to the one that answers it, if that had come.
        ack: Option<Duration>,
        /// Since the first Close frame.
        elapsed: Duration,
    },
}

impl Event {
    /// A fault had no firing in the whole run.
    pub fn not_due(fault: u16) -> Event {
        Event::NotCarriedOut { fault: Some(fault), firing: 0, why: "it was due after the end of the run".to_owned() }
    }
}

impl UnderWay {
    /// The same some time before; `None`: it had not begun.
    pub fn before(self, ago: Duration) -> Option<UnderWay> {
        match self {
            UnderWay::Attempt { stage, times } => {
                let (stage, times) = times.before(stage, ago)?;
                Some(UnderWay::Attempt { stage, times })
            }
            UnderWay::Closing { ack, elapsed } => {
                let elapsed = elapsed.checked_sub(ago).filter(|elapsed| !elapsed.is_zero())?;
                Some(UnderWay::Closing { ack: ack.filter(|ack| *ack <= elapsed), elapsed })
            }
        }
    }
}

/// How an attempt that did not open ended. `abandoned` is not among them: the metrics count it at the end of the run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// ECONNREFUSED.
    Refused,
    /// The deadline of `stage` passed.
    TimedOut,
    /// An HTTP answer other than 101.
    Rejected {
        /// HTTP status.
        status: u16,
        /// `Retry-After` in whole seconds, where given so.
        retry_after: Option<Duration>,
        /// `Location`, its beginning.
        location: Option<Box<str>>,
    },
    /// All else: TLS, garbage, a connection that ended before the 101 response, no file descriptors, no ports.
    Failed {
        /// Short and of low cardinality: the cause without addresses or counters.
        why: String,
    },
    /// A client-side fault cut the attempt.
    Abandoned,
}

impl Outcome {
    /// Its word in files and expectations.
    pub const REFUSED: &'static str = "refused";
    /// Its word in files and expectations.
    pub const TIMED_OUT: &'static str = "timed_out";
    /// Its word in files and expectations.
    pub const REJECTED: &'static str = "rejected";
    /// Its word in files and expectations.
    pub const FAILED: &'static str = "failed";
    /// Its word in files and expectations.
    pub const ABANDONED: &'static str = "abandoned";

    /// Its word in files and expectations.
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Refused => Outcome::REFUSED,
            Outcome::TimedOut => Outcome::TIMED_OUT,
            Outcome::Rejected { .. } => Outcome::REJECTED,
            Outcome::Failed { .. } => Outcome::FAILED,
            Outcome::Abandoned => Outcome::ABANDONED,
        }
    }
}

/// Times of a closing handshake, as the client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// From the first Close frame to the one that answers it, whoever sent which; `None`: there was no answer.
    pub ack: Option<Duration>,
    /// From the first Close frame to the end of TCP.
    pub total: Duration,
}

/// Why a client does not come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GiveUp {
    /// The policy's `max_retries` were used up.
    Retries,
    /// The policy does not reconnect at all.
    NoReconnect,
    /// The status code, HTTP status or kind of failure is final for this policy.
    Final {
        /// What it was, as `status code 1000`.
        what: String,
    },
}

/// What happened to a target, in one word.
pub type Word = &'static str;

/// Reads one of the words of [`Event::Target`].
fn word<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Word, D::Error> {
    const WORDS: [Word; 7] = ["down", "started", "listening", "paused", "resumed", "exited", "stopping"];
    let found = String::deserialize(from)?;
    WORDS.into_iter().find(|word| *word == found).ok_or_else(|| serde::de::Error::custom(format!("unknown event of a target: {found}")))
}

/// How a received message with a number stands to those of its stream that came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sequenced {
    /// It is the next, or the first of its stream.
    Next,
    /// It is the first on this connection, after others on earlier ones: so many between them did not come.
    Back {
        /// Numbers between the last one and this.
        missed: u64,
    },
    /// So many before it did not come, on one connection.
    Gap {
        /// Numbers between the last one and this.
        missed: u64,
    },
    /// It was counted as missed before.
    Late {
        /// When it was.
        found: Duration,
        /// Its client was away when it should have come.
        away: bool,
        /// It is the first on this connection.
        back: bool,
    },
    /// It came before.
    Duplicate {
        /// It is the first on this connection.
        back: bool,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A client that was due began its first attempt. `at - due` is the generator's lateness.
    Arrived {
        /// Who.
        client: ClientIndex,
        /// When it should have begun.
        due: Duration,
    },
    /// An attempt began.
    AttemptStarted {
        /// Who.
        client: ClientIndex,
        /// When it should have begun: the arrival, or the end of the wait.
        due: Duration,
    },
    /// An attempt ended without a connection.
    AttemptFailed {
        /// Who.
        client: ClientIndex,
        /// How far it had come.
        stage: Stage,
        /// How it ended.
        outcome: Outcome,
        /// How long it took.
        times: Stages,
        /// The fault that acted on it, by index in the plan.
        fault: Option<u16>,
    },
    /// The opening handshake is complete: `t_open`.
    Opened {
        /// Who.
        client: ClientIndex,
        /// Which: the number of its attempt.
        connection: ConnectionNo,
        /// Instance of the target, 0 where there is one.
        instance: u16,
        /// TCP connect.
        tcp: Duration,
        /// TLS handshake; `None` on ws.
        tls: Option<Duration>,
        /// It took up an earlier session.
        resumed: bool,
        /// From the request's first byte to the 101.
        upgrade: Duration,
    },
    /// `t_ready`: what the cohort counts as ready, see `dialogue::Readiness`.
    Ready {
        /// Who.
        client: ClientIndex,
        /// Which.
        connection: ConnectionNo,
    },
    /// A fault acted on a connection: `t_fault` of what follows.
    Injected {
        /// Fault, by index in the plan.
        fault: u16,
        /// Who.
        client: ClientIndex,
        /// Which.
        connection: ConnectionNo,
    },
    /// The client's connection ended: `t_detect`.
    Ended {
        /// Who.
        client: ClientIndex,
        /// Which.
        connection: ConnectionNo,
        /// The client's account.
        ending: Box<Ending>,
        /// Times of the closing handshake, where there was one.
        closing: Option<Closing>,
    },
    /// What the embedded server saw of the end of the same connection. May come before or after the client's `Ended`, or never.
    ServerEnded {
        /// Who, from the id in the opening request.
        client: ClientIndex,
        /// Which.
        connection: ConnectionNo,
        /// The server's account.
        ending: Box<Ending>,
    },
    /// The server process that had an open connection of a real client is gone: nobody tells how the connection ended.
    Orphaned {
        /// Who.
        client: ClientIndex,
        /// Which.
        connection: ConnectionNo,
    },
    /// The end of the measurement cuts this; comes last.
    Cut {
        /// Who.
        client: ClientIndex,
        /// What.
        what: UnderWay,
    },
    /// The policy chose a wait before the next attempt.
    Waiting {
        /// Who.
        client: ClientIndex,
        /// How long.
        delay: Duration,
    },
    /// The policy gave up: the client is lost, and stays in the risk set.
    GaveUp {
        /// Who.
        client: ClientIndex,
        /// Why.
        why: GiveUp,
    },
    /// The client left by its own `stay` for good, or its stages sent it away: what it had lost is not waited for any more.
    Left {
        /// Who.
        client: ClientIndex,
    },
    /// A message was handed to the kernel; `at` is when.
    Sent {
        /// Who.
        client: ClientIndex,
        /// When it was due.
        due: Duration,
        /// On the wire, payload only.
        bytes: u32,
    },
    /// A message that was due was not sent: no open connection, or the previous one was still blocked.
    NotStarted {
        /// Who.
        client: ClientIndex,
        /// When it was due.
        due: Duration,
    },
    /// The echo of a message came back.
    Echoed {
        /// Who.
        client: ClientIndex,
        /// Payload bytes.
        bytes: u32,
        /// When the message was due.
        due: Duration,
        /// When it was sent.
        sent: Duration,
        /// The reply says that the request failed.
        error: bool,
    },
    /// A message that answers nothing.
    Received {
        /// Who.
        client: ClientIndex,
        /// Payload bytes.
        bytes: u32,
    },
    /// The message came by which the embedded server greets clients that wait for one; it is no message of the scenario.
    Greeted {
        /// Who.
        client: ClientIndex,
        /// Payload bytes.
        bytes: u32,
    },
    /// An HTTP request before a connection is over.
    Requested {
        /// Who.
        client: ClientIndex,
        /// From its connect to the end of its answer, or until it was given up.
        took: Duration,
        /// That of its answer; `None`: there was none.
        status: Option<u16>,
        /// It was given up because it took too long.
        late: bool,
    },
    /// A received message has a number; comes beside [`Event::Received`].
    Sequenced {
        /// Who.
        client: ClientIndex,
        /// What its number tells.
        found: Sequenced,
        /// The server sends it once more to somebody who was away.
        replayed: bool,
    },
    /// A received message says when it was sent; comes beside [`Event::Received`].
    Broadcast {
        /// Who.
        client: ClientIndex,
        /// From then, by the server's clock, to now, by this machine's.
        took: Duration,
        /// It came before it was sent: the clocks differ by that at least.
        negative: bool,
    },
    /// A message of the server said that something is wrong.
    ErrorHeard {
        /// Who.
        client: ClientIndex,
        /// What it is called, by its number in the plan.
        error: u16,
    },
    /// A message of a dialogue was handed to the kernel that is not one of its requests.
    Said {
        /// Who.
        client: ClientIndex,
        /// Payload bytes.
        bytes: u32,
    },
    /// A message of a dialogue came that is neither a reply nor one of those that are received.
    Heard {
        /// Who.
        client: ClientIndex,
        /// Payload bytes.
        bytes: u32,
    },
    /// A pong answered a heartbeat ping.
    Pong {
        /// Who.
        client: ClientIndex,
        /// Round trip.
        round_trip: Duration,
    },
    /// A fault fired and chose its connections.
    Fired {
        /// Fault, by index in the plan.
        fault: u16,
        /// Which of its firings, from 0 in the order of their due times.
        firing: u32,
        /// Connections (or instances, or attempts) selected.
        selected: u32,
        /// Connections that passed its filters; `None`: it does not choose among connections.
        eligible: Option<u32>,
    },
    /// A firing was due after its fault had used up its `first_n` hits: nothing is done, as planned.
    Spent {
        /// Fault, by index in the plan.
        fault: u16,
        /// Which of its firings, from 0.
        firing: u32,
    },
    /// What the plan says was not done, or not to its end: the results are not those of the plan.
    NotCarriedOut {
        /// Fault, by index in the plan; `None`: of the target itself, as a server that was killed by somebody else.
        fault: Option<u16>,
        /// Which of its firings, from 0.
        firing: u32,
        /// As shown; low cardinality.
        why: String,
    },
    /// The measuring side met a limit of its own machine: open files, local ports, buffers. Never a property of the target.
    LocalLimit {
        /// As shown; low cardinality.
        what: String,
    },
    /// Something waited because the user allows no more load: the results are not those of the plan.
    LoadLimit {
        /// As shown; low cardinality.
        what: String,
    },
    /// A fault acted on the listening socket of an instance.
    Reached {
        /// Fault, by index in the plan.
        fault: u16,
    },
    /// A firing of a fault was reverted.
    Reverted {
        /// Fault, by index in the plan.
        fault: u16,
        /// Which of its firings, from 0.
        firing: u32,
    },
    /// Something happened to the target: `down`, `started`, `listening`, `paused`, `resumed`, `exited`.
    Target {
        /// Which instance.
        instance: u16,
        /// What, one of the words above.
        #[serde(deserialize_with = "word")]
        what: Word,
        /// Exit status, error text; may be empty.
        detail: String,
    },
    /// A limit was hit or something else that a reader of the results must know. Low cardinality, counted.
    Notice {
        /// As shown.
        text: String,
    },
}

impl Event {
    /// Without secrets where it has texts that a peer, a target or the machine may have written; `None` where it has none. What a peer wrote
    /// may be cut, and may have secrets that only their form tells.
    pub fn without(&self, secrets: &Secrets) -> Option<Event> {
        let mut event = match self {
            Event::Ended { ending, .. } | Event::ServerEnded { ending, .. } if !ending.reason.is_empty() => self.clone(),
            Event::AttemptFailed { outcome: Outcome::Rejected { location: Some(_), .. } | Outcome::Failed { .. }, .. }
            | Event::GaveUp { why: GiveUp::Final { .. }, .. }
            | Event::NotCarriedOut { .. }
            | Event::LocalLimit { .. }
            | Event::Target { .. }
            | Event::Notice { .. } => self.clone(),
            _ => return None,
        };
        let text = match &mut event {
            Event::Ended { ending, .. } | Event::ServerEnded { ending, .. } => {
                ending.reason = mask(Holder::Text, &secrets.hide_cut(&ending.reason));
                return Some(event);
            }
            Event::AttemptFailed { outcome: Outcome::Rejected { location: Some(location), .. }, .. } => {
                *location = mask_address(&secrets.hide_cut(location)).into();
                return Some(event);
            }
            Event::AttemptFailed { outcome: Outcome::Failed { why: text }, .. }
            | Event::GaveUp { why: GiveUp::Final { what: text }, .. }
            | Event::NotCarriedOut { why: text, .. }
            | Event::LocalLimit { what: text }
            | Event::Target { detail: text, .. }
            | Event::Notice { text } => text,
            _ => return None,
        };
        *text = secrets.hide(text);
        Some(event)
    }
}
