//! The parameters of a policy, their words, and the schedules a user can write without a preset.
//!
//! Fields bear the names of the preset file without the `_ms`. What they do together is in `delay` (one wait) and `decide` (all else).

use super::codes::Codes;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How a client comes back: all parameters resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Shape of the schedule.
    pub kind: ScheduleKind,
    /// First raw delay of fixed, linear, exponential and poll.
    pub base: Duration,
    /// Each client draws its own base once, uniform in these bounds, in place of `base`.
    pub base_per_client: Option<(Duration, Duration)>,
    /// Added per retry by linear.
    pub step: Duration,
    /// Multiplied per retry by exponential and poll; at least 1.
    pub factor: f64,
    /// Exponent of the first retry.
    pub exp0: u32,
    /// The exponent grows no further.
    pub max_exponent: Option<u32>,
    /// Raw delays of table.
    pub table: Vec<Duration>,
    /// What follows the last entry of `table`.
    pub table_end: TableEnd,
    /// Longest delay.
    pub cap: Option<Duration>,
    /// Where `cap` applies.
    pub cap_stage: CapStage,
    /// Randomness of a delay.
    pub jitter: Jitter,
    /// Draws are whole milliseconds.
    pub jitter_int: Option<WholeDraw>,
    /// The first delay has jitter too.
    pub jitter_first: bool,
    /// A delay grows from the previous jittered delay.
    pub jitter_compounds: bool,
    /// Delays are rounded down to whole milliseconds.
    pub round_down: bool,
    /// Delays of the first retries, each uniform in its bounds; always counted from the loss.
    pub lead: Vec<(Duration, Duration)>,
    /// The formula continues at k = length of `lead` instead of 0.
    pub lead_counts: bool,
    /// Entries of `lead`, then steps of the schedule, dropped when the very first connect fails; `None`: only `lead` is not used then.
    pub initial_skip: Option<u32>,
    /// From when a delay counts.
    pub anchor: Anchor,
    /// After each sleep the delay is drawn again, and the client sleeps on if the new one is longer.
    pub redraw: bool,
    /// Another schedule takes over when an outage lasts.
    pub phase2: Option<Phase2>,
    /// What sets the count of retries back to 0.
    pub reset: Reset,
    /// How long a connection must have been open for [`Reset::Uptime`] and [`ServesWhen::Uptime`].
    pub reset_uptime: Duration,
    /// When the library takes a connection for one that serves.
    pub ready: ServesWhen,
    /// Retries since the last reset before the client gives up; `None`: unlimited.
    pub max_retries: Option<u32>,
    /// A failed very first connect is retried too.
    pub retry_initial: bool,
    /// Reported status codes after which the client does not come back.
    pub stop_codes: Codes,
    /// Reported status codes after which it comes back with no delay.
    pub immediate_codes: Codes,
    /// Reported status codes after which it comes back after one second.
    pub backoff1s_codes: Codes,
    /// A failed, timed out or rejected attempt is final.
    pub stop_on_connect_error: bool,
    /// The HTTP statuses that are retried, all others are final; `None`: all are retried.
    pub retry_http_status: Option<Vec<u16>>,
    /// When an attempt is abandoned; `None`: the library has no such deadline.
    pub connect_timeout: Option<ConnectTimeout>,
    /// A connection that ends before it is ready counts as a failed attempt, which is noticed so long after it began, or at once if
    /// that is past; `None`: it counts as a lost connection.
    pub blind_until_ready: Option<Duration>,
    /// How a dead peer is noticed; `None`: not by itself.
    pub heartbeat: Option<LibraryHeartbeat>,
    /// Whether the library takes up earlier TLS sessions: browsers do, few others.
    pub resume: bool,
    /// What an attempt does about further addresses of a name.
    pub next_address: NextAddress,
}

/// When an attempt tries the next address of a name. It stays one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextAddress {
    /// Never: it has one.
    Never,
    /// When one refuses.
    Refused,
    /// When one refuses, or has not answered for so long: then it is given up.
    Abandoned(Duration),
    /// When one refuses, or has not answered for so long: it goes on beside the next one, and the first that answers is taken.
    Raced(Duration),
}

impl NextAddress {
    /// As settings write them.
    pub const WORDS: &'static [&'static str] = &["never", "refused", "abandon", "race"];
    /// The Connection Attempt Delay of RFC 8305 §8, which Node has, too.
    pub const AFTER: Duration = Duration::from_millis(250);

    /// Of a word.
    ///
    /// # Errors
    /// It is none of [`NextAddress::WORDS`], in words.
    pub fn read(word: &str) -> Result<NextAddress, String> {
        Ok(match word {
            "never" => NextAddress::Never,
            "refused" => NextAddress::Refused,
            "abandon" => NextAddress::Abandoned(NextAddress::AFTER),
            "race" => NextAddress::Raced(NextAddress::AFTER),
            _ => return Err(format!("expected one of {}", NextAddress::WORDS.join(", "))),
        })
    }

    /// After how long without an answer the next one is tried; `None`: not for that.
    pub fn after(self) -> Option<Duration> {
        match self {
            NextAddress::Never | NextAddress::Refused => None,
            NextAddress::Abandoned(after) | NextAddress::Raced(after) => Some(after),
        }
    }
}

/// Shape of a schedule; k counts failed attempts since the last reset, from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScheduleKind {
    /// The client does not reconnect.
    None,
    /// `base`.
    Fixed,
    /// `base + step · k`.
    Linear,
    /// `base · factor^min(k + exp0, max_exponent)`.
    Exponential,
    /// `table[k]`.
    Table,
    /// A timer that also runs while connected, as in Action Cable.
    Poll(Polling),
}

/// A poll timer: at a tick a client whose last message is stale attempts.
///
/// Interval n is `base · factor^min(n, max_exponent)` with the policy's jitter; n counts stale ticks since the last ready connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Polling {
    /// Age of the last message from which a connection is stale.
    pub stale: Duration,
    /// A tick sooner after the loss counts but does not attempt.
    pub min_disconnected: Duration,
    /// Wait when a tick finds the previous attempt still under way.
    pub reopen_delay: Duration,
    /// Upper jitter factor at n = 0.
    pub jitter_hi_n0: f64,
}

/// What follows the last entry of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableEnd {
    /// The last entry, for ever.
    Repeat,
    /// The client gives up.
    Stop,
}

/// Where the cap applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapStage {
    /// Before jitter.
    Raw,
    /// After jitter: many draws equal the cap.
    Final,
    /// Before and after.
    Both,
}

/// How a raw delay becomes random; U is uniform in `[0, 1)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Jitter {
    /// `raw`.
    None,
    /// `raw · (lo + (hi - lo) · U)`: full is (0, 1), equal is (0.5, 1), ±20 % is (0.8, 1.2).
    Mult {
        /// Least factor.
        lo: f64,
        /// Greatest factor.
        hi: f64,
    },
    /// `raw + lo + (hi - lo) · U`.
    Add {
        /// Least addition.
        lo: Duration,
        /// Greatest addition.
        hi: Duration,
    },
    /// `offset + raw · U`.
    OffsetFull {
        /// Least delay.
        offset: Duration,
    },
    /// `offset + (raw - offset) · U`.
    Between {
        /// Least delay.
        offset: Duration,
    },
    /// `raw ∓ floor(x · raw · U)` in milliseconds, minus when `floor(10 · U)` is even: half of the range never occurs (backo2).
    Comb10 {
        /// Greatest deviation, as a share of raw.
        x: f64,
    },
    /// `base + (factor · previous - base) · U`, where `previous` starts at base. Source: AWS Architecture Blog (2015), factor 3.
    Decorrelated,
}

/// How a whole number of milliseconds is drawn from a width w.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WholeDraw {
    /// `floor(U · (w + 1))`.
    Inclusive,
    /// `floor(U · w)`.
    Exclusive,
}

/// From when a delay counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// From the detected close or failure.
    Close,
    /// From the start of the previous attempt; immediate when that is already past.
    AttemptStart,
}

/// What sets the count of retries back to 0; evaluated when the next loss comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The opening handshake was complete.
    Open,
    /// The connection was ready, as its cohort says.
    Ready,
    /// It was open for `reset_uptime`.
    Uptime,
    /// Any HTTP answer, a rejection too.
    HttpOk,
    /// Nothing: the count runs on for the life of the client.
    None,
}

/// When a library takes a connection for one that serves: that of a cohort that says nothing, and whose traffic tells nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServesWhen {
    /// When it is open.
    Open,
    /// When the server has said something: a welcome, an acknowledgement, the state of a document.
    Message,
    /// When it has been open for `reset_uptime`.
    Uptime,
}

/// A second schedule for long outages (Ably): a retry that would be pending at `after` is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase2 {
    /// From the first attempt of the outage to the change.
    pub after: Duration,
    /// From the change to the next attempt.
    pub first: Duration,
    /// From then on between a failure and the next attempt. No jitter.
    pub every: Duration,
}

/// When an attempt is abandoned: `min(cap, first · factor^n)`, n counting failed attempts since the last reset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConnectTimeout {
    /// Of the first attempt.
    pub first: Duration,
    /// Growth per failed attempt; 1 where it does not grow.
    pub factor: f64,
    /// Longest.
    pub cap: Option<Duration>,
}

/// Who sends the pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The client pings and expects an answer.
    Client,
    /// The server pings, the client watches for them.
    Server,
}

/// How the library notices a dead peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LibraryHeartbeat {
    /// Who sends the pings.
    pub by: Driver,
    /// Between pings; zero: the server's affair.
    pub interval: Duration,
    /// From a ping (client) or beyond the interval (server) to the end of the connection.
    pub timeout: Duration,
}

impl Policy {
    /// A client that does not come back.
    pub fn none() -> Policy {
        Policy { kind: ScheduleKind::None, retry_initial: false, ..Policy::plain() }
    }

    /// Always the same delay.
    pub fn fixed(delay: Duration) -> Policy {
        Policy { kind: ScheduleKind::Fixed, base: delay, ..Policy::plain() }
    }

    /// `min(cap, base + step · k)`.
    pub fn linear(base: Duration, step: Duration, cap: Option<Duration>) -> Policy {
        Policy { kind: ScheduleKind::Linear, base, step, cap, ..Policy::plain() }
    }

    /// `min(cap, base · factor^k)` with jitter.
    ///
    /// [`Jitter::Decorrelated`] grows from the previous delay instead, and its result is what the cap limits.
    pub fn exponential(base: Duration, factor: f64, cap: Option<Duration>, jitter: Jitter) -> Policy {
        Policy { kind: ScheduleKind::Exponential, base, factor, cap, jitter, ..Policy::plain() }
    }

    /// These delays in order.
    pub fn table(delays: Vec<Duration>, end: TableEnd) -> Policy {
        Policy { kind: ScheduleKind::Table, table: delays, table_end: end, ..Policy::plain() }
    }

    /// Pings of the library: who sends them, the interval and the time to an answer.
    pub fn heartbeat(&self) -> Option<(Driver, Duration, Duration)> {
        self.heartbeat.map(|heartbeat| (heartbeat.by, heartbeat.interval, heartbeat.timeout))
    }

    /// What a strategy has that says nothing else: unlimited retries, also of the first connect; no jitter; reset when ready.
    fn plain() -> Policy {
        Policy {
            kind: ScheduleKind::Fixed,
            base: Duration::ZERO,
            base_per_client: None,
            step: Duration::ZERO,
            factor: 1.0,
            exp0: 0,
            max_exponent: None,
            table: Vec::new(),
            table_end: TableEnd::Repeat,
            cap: None,
            cap_stage: CapStage::Raw,
            jitter: Jitter::None,
            jitter_int: None,
            jitter_first: true,
            jitter_compounds: false,
            round_down: false,
            lead: Vec::new(),
            lead_counts: false,
            initial_skip: None,
            anchor: Anchor::Close,
            redraw: false,
            phase2: None,
            reset: Reset::Ready,
            reset_uptime: Duration::ZERO,
            ready: ServesWhen::Open,
            max_retries: None,
            retry_initial: true,
            stop_codes: Codes::default(),
            immediate_codes: Codes::default(),
            backoff1s_codes: Codes::default(),
            stop_on_connect_error: false,
            retry_http_status: None,
            connect_timeout: None,
            blind_until_ready: None,
            heartbeat: None,
            resume: true,
            next_address: NextAddress::Never,
        }
    }
}

impl Default for Policy {
    /// Full jitter from 1 s to 30 s, doubling.
    fn default() -> Policy {
        Policy::exponential(Duration::from_secs(1), 2.0, Some(Duration::from_secs(30)), Jitter::FULL)
    }
}

impl Jitter {
    /// Uniform from 0 to raw.
    pub const FULL: Jitter = Jitter::Mult { lo: 0.0, hi: 1.0 };
    /// Uniform from half of raw to raw.
    pub const EQUAL: Jitter = Jitter::Mult { lo: 0.5, hi: 1.0 };
    /// What [`Jitter::from_str`] understands.
    pub const WORDS: &[&str] = &["none", "full", "equal", "decorrelated", "mult", "add", "offset_full", "between", "comb10"];
}

impl FromStr for Jitter {
    type Err = String;

    /// `mult` and `add` begin with no width, `offset_full` and `between` with no offset, `comb10` with x = 0.5.
    fn from_str(word: &str) -> Result<Jitter, String> {
        Ok(match word {
            "none" => Jitter::None,
            "full" => Jitter::FULL,
            "equal" => Jitter::EQUAL,
            "decorrelated" => Jitter::Decorrelated,
            "mult" => Jitter::Mult { lo: 1.0, hi: 1.0 },
            "add" => Jitter::Add { lo: Duration::ZERO, hi: Duration::ZERO },
            "offset_full" => Jitter::OffsetFull { offset: Duration::ZERO },
            "between" => Jitter::Between { offset: Duration::ZERO },
            "comb10" => Jitter::Comb10 { x: 0.5 },
            _ => return Err(one_of(Jitter::WORDS)),
        })
    }
}

/// Words of an enum without data, and their parser.
macro_rules! words {
    ($type:ident { $($word:literal => $variant:ident),+ $(,)? }) => {
        impl $type {
            /// What `from_str` understands.
            pub const WORDS: &[&str] = &[$($word),+];
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(word: &str) -> Result<$type, String> {
                match word {
                    $($word => Ok($type::$variant),)+
                    _ => Err(one_of($type::WORDS)),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($type::$variant => $word),+ })
            }
        }
    };
}

words!(TableEnd { "repeat" => Repeat, "stop" => Stop });
words!(CapStage { "raw" => Raw, "final" => Final, "both" => Both });
words!(WholeDraw { "inclusive" => Inclusive, "exclusive" => Exclusive });
words!(Anchor { "close" => Close, "attempt_start" => AttemptStart });
words!(Reset { "open" => Open, "ready" => Ready, "uptime" => Uptime, "http_ok" => HttpOk, "none" => None });
words!(ServesWhen { "open" => Open, "message" => Message, "uptime" => Uptime });
words!(Driver { "client" => Client, "server" => Server });

fn one_of(words: &[&str]) -> String {
    format!("expected one of {}", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_word_parses_back() {
        Jitter::WORDS.iter().for_each(|word| assert!(word.parse::<Jitter>().is_ok(), "{word}"));
        Reset::WORDS.iter().for_each(|word| assert_eq!(word.parse::<Reset>().map(|reset| reset.to_string()).as_deref(), Ok(*word)));
        assert_eq!("half".parse::<CapStage>(), Err("expected one of raw, final, both".to_owned()));
    }
}
