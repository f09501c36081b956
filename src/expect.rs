//! Expectations: `metric{label=value,…} stat op value-with-unit`, parsed and checked against the list of metrics.
//!
//! Here are the types and the tables of metrics, stats and labels; `parse` finds everything that is wrong with a text, with byte ranges
//! in it. Evaluation is the verdict's: it has the results.

mod parse;
mod window;
mod written;

use crate::close::{TcpEnd, TlsEnd};
use crate::event;
use crate::fault::Side;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

/// One expectation.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    /// As written.
    pub text: String,
    /// What is measured.
    pub metric: Metric,
    /// Which part of it.
    pub labels: Labels,
    /// Which number of it.
    pub stat: Stat,
    /// What a [`Stat::ShareOf`] divides by: the same metric with these labels.
    pub whole: Option<Labels>,
    /// How it compares.
    pub op: Op,
    /// With what. Its unit fits `stat`: times are µs, `count` a count, `share` a share, `rate` and `peak` per second.
    pub limit: Limit,
}

/// What can be expected of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// `t_ready - t_fault` of outages; quantiles by Kaplan–Meier.
    ReconnectTime,
    /// `t_detect - t_fault` of outages.
    Detect,
    /// Sum of the waits of an outage.
    Backoff,
    /// Sum of the attempts of an outage.
    Attempt,
    /// HTTP requests before connections that were answered.
    HttpRequest,
    /// TCP connects that succeeded.
    TcpConnect,
    /// TLS handshakes that succeeded.
    Tls,
    /// Request to 101.
    OpeningHandshake,
    /// The 101 to ready, where being open is not being ready.
    TimeToReady,
    /// First Close frame to the end of TCP.
    ClosingHandshake,
    /// First Close frame to the one that answers it.
    CloseAck,
    /// Answer to the first Close frame to the end of TCP.
    FinWait,
    /// Due time of a message to its echo.
    Rtt,
    /// Sending of a message to its echo.
    RttFromSent,
    /// From the time in a received message to when it came.
    BroadcastLatency,
    /// By how much received messages came before the time in them.
    BroadcastLatencyNegative,
    /// Messages with numbers that a client missed in an outage.
    MissedPerOutage,
    /// Clients that gave up by their policy.
    ClientsLost,
    /// Attempts to connect; without `outcome` all.
    Attempts,
    /// Connections that ended.
    Closes,
    /// Messages; without `outcome` those that were due.
    Messages,
    /// Payload bytes of messages, without frame headers; without `dir` both ways.
    Bytes,
    /// HTTP requests before connections; without `status` all.
    HttpRequests,
    /// Messages of the server that say that something is wrong, and replies that do; without `name` all.
    Errors,
}

/// Which number of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stat {
    /// Least.
    Min,
    /// A percentile.
    Percentile(Percentile),
    /// Greatest.
    Max,
    /// Arithmetic mean.
    Mean,
    /// How many.
    Count,
    /// Divided by the same metric with only side, cohort, fault and window kept.
    Share,
    /// Divided by the same metric with the labels behind it, in braces.
    ShareOf,
    /// Divided by the length of the run, or of the window.
    Rate,
    /// Largest number within any second, wherever it begins.
    Peak,
}

/// A percentile in tenths: from 1, which is the 0.1th, to 999, which is the 99.9th.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percentile(u16);

impl Percentile {
    /// From tenths of a percent; `None` unless it is above 0 and below 100 %.
    pub fn of_tenths(tenths: u16) -> Option<Percentile> {
        (1..1000).contains(&tenths).then_some(Percentile(tenths))
    }

    /// `p50`, `p99.9`; `p999`, as it was written before other percentiles were taken, is `p99.9`.
    pub fn parse(text: &str) -> Option<Percentile> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.strip_prefix('p')?;
        if number == "999" {
            return Percentile::of_tenths(999);
        }
        let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
        if !digits(whole) || !digits(tenth) || tenth.len() > 1 {
            return None;
        }
        Percentile::of_tenths(whole.parse::<u16>().ok()?.checked_mul(10)?.checked_add(tenth.parse().ok()?)?)
    }

    /// As a quantile, 0 to 1.
    pub fn quantile(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

impl fmt::Display for Percentile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 10 {
            0 => write!(out, "p{}", self.0 / 10),
            tenth => write!(out, "p{}.{tenth}", self.0 / 10),
        }
    }
}

/// How observed and limit compare: `observed op limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

/// What an observed number is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// Microseconds, for times.
    Micros(f64),
    /// A number of things.
    Count(u64),
    /// The same of one of many, or on average: not below 0.
    Number(f64),
    /// 0 to 1.
    Share(f64),
    /// Per second.
    PerSecond(f64),
}

/// Which part of a metric; the default is all of it, on the client's side.
#[derive(Clone, Debug, PartialEq)]
pub struct Labels {
    /// Only this cohort, by name.
    pub cohort: Option<String>,
    /// Only outages and connections of this fault, by id.
    pub fault: Option<String>,
    /// Only this outcome, of attempts or messages.
    pub outcome: Option<OutcomeLabel>,
    /// Only attempts or HTTP requests that were answered with this HTTP status.
    pub status: Option<u16>,
    /// Only errors of this name.
    pub name: Option<String>,
    /// Only this direction, of bytes.
    pub dir: Option<Dir>,
    /// Only what started at this offset or later: whole seconds.
    pub from: Option<Duration>,
    /// Only what started before this offset: whole seconds.
    pub to: Option<Duration>,
    /// Only this reported code.
    pub reported: Option<u16>,
    /// Only this status code on the wire, as received by `side`.
    pub wire: Option<WireLabel>,
    /// Whose account; client unless said, never proxy.
    pub side: Side,
    /// Only this cause: a fault's id, `remote`, `stay`, `deadline:<name>`, `dialogue:<step>` or `local:<limit>`.
    pub cause: Option<String>,
    /// Only this end of TCP.
    pub tcp_end: Option<TcpEnd>,
    /// Only this end of TLS.
    pub tls_end: Option<TlsEnd>,
    /// Only TLS handshakes that took up an earlier session, or only full ones.
    pub resumed: Option<bool>,
    /// Only clean ones, or only others.
    pub clean: Option<bool>,
}

/// Which way bytes went, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dir {
    /// From the client.
    Sent,
    /// To the client.
    Received,
}

/// What a Close frame said on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireLabel {
    /// There was no Close frame; written `none`.
    Nothing,
    /// This code; 1005 is an empty Close frame.
    Code(u16),
}

/// What became of attempts and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeLabel {
    /// Attempts: 101.
    Opened,
    /// Attempts: ECONNREFUSED.
    Refused,
    /// Attempts: a deadline passed.
    TimedOut,
    /// Attempts: another HTTP answer.
    Rejected,
    /// Attempts: all else.
    Failed,
    /// Attempts: under way at the end, or cut by a fault.
    Abandoned,
    /// Messages: a schedule asked for them.
    Due,
    /// Messages: due and never sent.
    NotStarted,
    /// Messages: handed to the kernel.
    Sent,
    /// Messages: all that came.
    Received,
    /// Messages: sent, and their reply came and is no error.
    Answered,
    /// Messages: sent, and their reply says that they failed.
    Error,
    /// Messages: sent for a reply that did not come before the connection ended.
    Lost,
    /// Messages: sent for a reply that had not come when the measurement ended.
    Unanswered,
    /// Messages: received with a number, each once, and missed.
    Expected,
    /// Messages: of a stream with numbers, and they did not come.
    Missed,
    /// Messages: of the time in which the client was away, and it got them later.
    Recovered,
    /// Messages: they came again.
    Duplicated,
    /// Messages: they came after later ones.
    OutOfOrder,
}

/// The names that labels may refer to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names<'a> {
    /// Of cohorts.
    pub cohorts: &'a [String],
    /// Ids of faults.
    pub faults: &'a [String],
    /// Causes that dialogues may end connections with: `deadline:dialogue:NAME`, `dialogue:NAME`.
    pub causes: &'a [String],
    /// What dialogues call errors.
    pub errors: &'a [String],
}

/// Something wrong with the text of an expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Byte range in the text.
    pub at: Range<usize>,
    /// What was found.
    pub found: String,
    /// What is allowed, with a suggestion first where there is one.
    pub help: String,
}

impl Problem {
    /// Whether it is about the name of a cohort or fault, which depends on the rest of the scenario.
    pub fn is_name(&self) -> bool {
        ["cohort", "fault", "cause", "name of an error"].iter().any(|what| self.found.starts_with(&format!("unknown {what} ")))
    }
}

/// Beside these, what has a distribution has every percentile.
const TIME_STATS: &[Stat] = &[Stat::Min, Stat::Max, Stat::Mean];
const COUNT_STATS: &[Stat] = &[Stat::Count, Stat::Share, Stat::ShareOf, Stat::Rate, Stat::Peak];
/// Every metric: name, stats, labels beside `cohort`, `fault`, `from` and `to`.
const METRICS: &[(&str, Metric, &[Stat], &[&str])] = &[
    ("reconnect_time", Metric::ReconnectTime, TIME_STATS, &[]),
    ("detect", Metric::Detect, TIME_STATS, &[]),
    ("backoff", Metric::Backoff, TIME_STATS, &[]),
    ("attempt", Metric::Attempt, TIME_STATS, &[]),
    ("http_request", Metric::HttpRequest, TIME_STATS, &[]),
    ("tcp_connect", Metric::TcpConnect, TIME_STATS, &[]),
    ("tls", Metric::Tls, TIME_STATS, &["resumed"]),
    ("opening_handshake", Metric::OpeningHandshake, TIME_STATS, &[]),
    ("time_to_ready", Metric::TimeToReady, TIME_STATS, &[]),
    ("closing_handshake", Metric::ClosingHandshake, TIME_STATS, &[]),
    ("close_ack", Metric::CloseAck, TIME_STATS, &[]),
    ("fin_wait", Metric::FinWait, TIME_STATS, &[]),
    ("rtt", Metric::Rtt, TIME_STATS, &[]),
    ("rtt_from_sent", Metric::RttFromSent, TIME_STATS, &[]),
    ("broadcast_latency", Metric::BroadcastLatency, TIME_STATS, &[]),
    ("broadcast_latency_negative", Metric::BroadcastLatencyNegative, TIME_STATS, &[]),
    ("missed_per_outage", Metric::MissedPerOutage, TIME_STATS, &[]),
    ("clients_lost", Metric::ClientsLost, COUNT_STATS, &[]),
    ("attempts", Metric::Attempts, COUNT_STATS, &["outcome", "status"]),
    ("closes", Metric::Closes, COUNT_STATS, &["reported", "wire", "side", "cause", "tcp_end", "tls_end", "clean"]),
    ("messages", Metric::Messages, COUNT_STATS, &["outcome"]),
    ("bytes", Metric::Bytes, COUNT_STATS, &["dir"]),
    ("http_requests", Metric::HttpRequests, COUNT_STATS, &["status"]),
    ("errors", Metric::Errors, COUNT_STATS, &["name"]),
];
const STATS: &[(&str, Stat)] = &[
    ("min", Stat::Min),
    ("max", Stat::Max),
    ("mean", Stat::Mean),
    ("count", Stat::Count),
    ("share", Stat::Share),
    ("share_of", Stat::ShareOf),
    ("rate", Stat::Rate),
    ("peak", Stat::Peak),
];
const OPS: &[(&str, Op)] =
    &[("<=", Op::AtMost), (">=", Op::AtLeast), ("==", Op::Equal), ("!=", Op::NotEqual), ("<", Op::Less), (">", Op::Greater)];
const ATTEMPT_OUTCOMES: &[(&str, OutcomeLabel)] = &[
    ("opened", OutcomeLabel::Opened),
    (event::Outcome::REFUSED, OutcomeLabel::Refused),
    (event::Outcome::TIMED_OUT, OutcomeLabel::TimedOut),
    (event::Outcome::REJECTED, OutcomeLabel::Rejected),
    (event::Outcome::FAILED, OutcomeLabel::Failed),
    (event::Outcome::ABANDONED, OutcomeLabel::Abandoned),
];
const MESSAGE_OUTCOMES: &[(&str, OutcomeLabel)] = &[
    ("due", OutcomeLabel::Due),
    ("not_started", OutcomeLabel::NotStarted),
    ("sent", OutcomeLabel::Sent),
    ("received", OutcomeLabel::Received),
    ("answered", OutcomeLabel::Answered),
    ("error", OutcomeLabel::Error),
    ("lost", OutcomeLabel::Lost),
    ("unanswered", OutcomeLabel::Unanswered),
    ("expected", OutcomeLabel::Expected),
    ("missed", OutcomeLabel::Missed),
    ("recovered", OutcomeLabel::Recovered),
    ("duplicated", OutcomeLabel::Duplicated),
    ("out_of_order", OutcomeLabel::OutOfOrder),
];
const DIRS: &[(&str, Dir)] = &[("sent", Dir::Sent), ("received", Dir::Received)];
const TCP_ENDS: &[(&str, TcpEnd)] =
    &[("fin", TcpEnd::Fin), ("rst", TcpEnd::Rst), ("timeout", TcpEnd::Timeout), ("local", TcpEnd::Local), ("none", TcpEnd::None)];
const CAUSES: &[&str] =
    &["remote", "stay", "deadline:pong", "deadline:close", "deadline:fin", "deadline:write", "local:max_message", "local:memory"];

impl Metric {
    /// As written.
    pub fn name(self) -> &'static str {
        METRICS.iter().find(|row| row.1 == self).map_or("", |row| row.0)
    }

    /// Everything that is counted, as [`Labels::counted_as`] has it.
    pub fn all_counted() -> Vec<String> {
        let labels = |outcome| Labels { outcome: Some(outcome), ..Labels::default() };
        let messages = MESSAGE_OUTCOMES.iter().map(|(_, outcome)| labels(*outcome).counted_as(Metric::Messages));
        let others = METRICS.iter().map(|row| row.1).filter(|metric| !metric.is_time() && *metric != Metric::Messages);
        others.map(|metric| metric.name().to_owned()).chain(messages).collect()
    }

    /// Whether what is counted of it, with this outcome, is counted by fault: a count of one fault is always 0 otherwise.
    pub fn is_by_fault(self, outcome: Option<OutcomeLabel>) -> bool {
        use OutcomeLabel::{Missed, Recovered};
        match self {
            Metric::Messages => matches!(outcome, Some(Missed | Recovered)),
            Metric::Bytes | Metric::HttpRequests | Metric::Errors => false,
            _ => true,
        }
    }

    /// Whether it has percentiles.
    pub fn is_distribution(self) -> bool {
        METRICS.iter().any(|row| row.1 == self && row.2[0] == Stat::Min)
    }

    /// Whether its stats are times; otherwise it counts.
    pub fn is_time(self) -> bool {
        self.is_distribution() && self != Metric::MissedPerOutage
    }

    /// Whether what started in a window can be told apart.
    pub fn has_windows(self) -> bool {
        self != Metric::MissedPerOutage
    }
}

impl OutcomeLabel {
    /// As written.
    pub fn name(self) -> &'static str {
        ATTEMPT_OUTCOMES.iter().chain(MESSAGE_OUTCOMES).find(|row| row.1 == self).map_or("", |row| row.0)
    }
}

impl Dir {
    /// As written.
    pub fn name(self) -> &'static str {
        DIRS.iter().find(|row| row.1 == self).map_or("", |row| row.0)
    }
}

impl Op {
    /// As written.
    pub fn symbol(self) -> &'static str {
        OPS.iter().find(|row| row.1 == self).map_or("", |row| row.0)
    }

    /// Whether `observed op limit` holds.
    pub fn holds(self, observed: f64, limit: f64) -> bool {
        match self {
            Op::Less => observed < limit,
            Op::AtMost => observed <= limit,
            Op::Greater => observed > limit,
            Op::AtLeast => observed >= limit,
            Op::Equal => observed == limit,
            Op::NotEqual => observed != limit,
        }
    }
}

impl Limit {
    /// The number in its own unit: µs, a count, 0 to 1, per second.
    pub fn value(self) -> f64 {
        match self {
            Limit::Count(count) => count as f64,
            Limit::Number(number) | Limit::Micros(number) | Limit::Share(number) | Limit::PerSecond(number) => number,
        }
    }
}

impl Labels {
    /// What a [`Stat::Share`] of the part with these labels divides by.
    pub fn whole(&self, metric: Metric) -> Labels {
        if self.is_of_stream() {
            // Most of the others came in no outage, and so after no fault.
            return Labels { outcome: Some(OutcomeLabel::Expected), ..self.of_whole() };
        }
        let outcome = match self.outcome {
            Some(OutcomeLabel::Answered | OutcomeLabel::Error | OutcomeLabel::Lost | OutcomeLabel::Unanswered)
                if metric == Metric::Messages =>
            {
                Some(OutcomeLabel::Sent)
            }
            Some(_) if metric == Metric::Messages => Some(OutcomeLabel::Due),
            _ => None,
        };
        Labels { fault: self.fault.clone(), outcome, ..self.of_whole() }
    }

    /// What is counted, without whose: a metric, and of messages what became of them.
    pub fn counted_as(&self, metric: Metric) -> String {
        match metric {
            Metric::Messages => format!("messages{{outcome={}}}", self.outcome.unwrap_or(OutcomeLabel::Due).name()),
            _ => metric.name().to_owned(),
        }
    }

    /// Whether it is about messages that have numbers.
    pub fn is_of_stream(&self) -> bool {
        use OutcomeLabel::{Duplicated, Expected, Missed, OutOfOrder, Recovered};
        matches!(self.outcome, Some(Expected | Missed | Recovered | Duplicated | OutOfOrder))
    }

    /// The close codes that it names.
    pub fn codes(&self) -> impl Iterator<Item = u16> {
        let wire = if let Some(WireLabel::Code(code)) = self.wire { Some(code) } else { None };
        self.reported.into_iter().chain(wire)
    }

    /// What another whole takes over, unless it says otherwise: cohort, side and window.
    fn of_whole(&self) -> Labels {
        Labels { cohort: self.cohort.clone(), side: self.side, from: self.from, to: self.to, ..Labels::default() }
    }
}

impl Default for Labels {
    fn default() -> Self {
        Labels {
            cohort: None,
            fault: None,
            outcome: None,
            status: None,
            name: None,
            dir: None,
            from: None,
            to: None,
            reported: None,
            wire: None,
            side: Side::Client,
            cause: None,
            tcp_end: None,
            tls_end: None,
            resumed: None,
            clean: None,
        }
    }
}
