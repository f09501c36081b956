//! The data dictionary of the CSV files: a type for each row. `record` has that of the JSON files, and speaks for both.

use serde::{Deserialize, Serialize};

/// A row of `timeline.csv`: one interval of one cohort.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TimelineRow {
    /// Start of the interval.
    pub offset_ms: u64,
    /// Cohort.
    pub cohort: String,
    /// Open connections at the end of the interval.
    pub open: u64,
    /// Attempts begun.
    pub attempts: u64,
    /// Attempts that opened.
    pub opened: u64,
    /// Attempts refused.
    pub refused: u64,
    /// Attempts timed out.
    pub timed_out: u64,
    /// Attempts rejected.
    pub rejected: u64,
    /// Attempts failed otherwise.
    pub failed: u64,
    /// Connections ended.
    pub closed: u64,
    /// Outages that began; 0 where a folder of an earlier version has no such column.
    #[serde(default)]
    pub affected: u64,
    /// Outages that ended.
    pub recovered: u64,
    /// Messages due.
    pub due: u64,
    /// Messages sent.
    pub sent: u64,
    /// Echoes received.
    pub echoed: u64,
    /// Round trip from due, median of the interval; empty without echoes.
    pub rtt_p50_us: Option<u64>,
    /// Round trip from due, 99th percentile of the interval as far as its samples go; empty without echoes.
    pub rtt_p99_us: Option<u64>,
    /// Round trip from due, largest of the interval; empty without echoes.
    pub rtt_max_us: Option<u64>,
}

/// A row of `counts.csv`: how often something happened that started in one interval: an aligned second, or in a run of more than an hour several.
/// What `closestorm check` counts expectations by.
///
/// A connection that ended stands in it twice where both sides are known: once with `side` client, once with `side` server; where neither is, once
/// without.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CountRow {
    /// Number of the aligned second, from 0, in which it started: an attempt began, a message was due, a connection ended; of several
    /// seconds the first.
    pub second: u32,
    /// Seconds that are counted together, from that one on.
    #[serde(default = "one_second")] // absent in older folders
    pub width_s: u32,
    /// `attempts`, `closes`, `clients_lost`, `messages`, `bytes`, `http_requests`, `errors`, `left` or `work`.
    pub metric: String,
    /// Cohort.
    pub cohort: String,
    /// Id of the fault it belongs to; empty for none.
    pub fault: Option<String>,
    /// Of attempts: `begun`, and what became of them; of messages: `due`, `not_started`, `sent`, `answered`, `error`,
    /// `lost`, `unanswered`, `received`, and of those with numbers `expected`, `missed`, `recovered`, `duplicated`, `out_of_order`; of bytes
    /// (payload): `sent`, `received`; of errors: their names; of work (due connects and sends that were begun): `all`, and `late`.
    pub outcome: Option<String>,
    /// Of attempts that were rejected, and of HTTP requests: the HTTP status; empty for those beyond the 50 most frequent.
    #[serde(default)] // absent in older folders
    pub status: Option<u16>,
    /// Of closes: whose account, `client` or `server`; empty where nobody tells, as of a real client's connection whose server was killed.
    pub side: Option<String>,
    /// Of closes: reported to that side's user.
    pub reported: Option<u16>,
    /// Of closes: status code that this side received; 1005: empty Close frame; empty: no Close frame.
    pub wire: Option<u16>,
    /// Of closes: a fault's id, `remote`, `stay`, `deadline:<name>` or `local:<limit>`.
    pub cause: Option<String>,
    /// Of closes: as this side saw it.
    pub tcp_end: Option<String>,
    /// Of closes: as this side saw it; empty on ws.
    #[serde(default)] // absent in older folders
    pub tls_end: Option<String>,
    /// Of closes: as this side saw it.
    pub clean: Option<bool>,
    /// How often.
    pub count: u64,
}

fn one_second() -> u32 {
    1
}

impl CountRow {
    /// Whether it has what started on both sides of a second, so that nobody knows what started before it.
    pub fn straddles(&self, second: u64) -> bool {
        let start = u64::from(self.second);
        start < second && second < start + u64::from(self.width_s)
    }
}

/// A row of `reconnects.csv`: one outage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReconnectRow {
    /// Client index.
    pub client: u32,
    /// Cohort.
    pub cohort: String,
    /// The fault it belongs to; empty for none.
    pub fault: Option<String>,
    /// Reported code of the connection that ended.
    pub client_code: u16,
    /// Offset at which the injector acted, or of the detection.
    pub fault_offset_us: u64,
    /// `t_detect - t_fault`; empty where it is unknown when the fault acted, as with a server of yours that closed by itself.
    pub detect_us: Option<u64>,
    /// Sum of waits.
    pub backoff_us: u64,
    /// Sum of attempts.
    pub attempt_us: u64,
    /// `t_ready - t_open`.
    pub first_reply_us: Option<u64>,
    /// `t_ready - t_fault`; empty if it did not end.
    pub reconnect_us: Option<u64>,
    /// Attempts made.
    pub attempts: u32,
    /// `recovered`, `censored` or `gave_up`.
    pub result: String,
    /// One row stands for this many outages: 1, or more in a sample.
    pub weight: f64,
}

/// A row of `events.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRow {
    /// Offset in the run.
    pub offset_us: u64,
    /// Name of the event, as `opened`.
    pub event: String,
    /// Client index; empty for events of the run.
    pub client: Option<u32>,
    /// Connection number of that client.
    pub connection: Option<u32>,
    /// Fault id.
    pub fault: Option<String>,
    /// Everything else, as `key=value` pairs separated by spaces.
    pub detail: String,
}

/// A row of `peaks.csv`: how much of something that a peak is about fell into one bin: a millisecond, ten in runs of more than an hour, fifty beyond ten hours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeakRow {
    /// Metric and labels, as `attempts{cohort=web}`; `attempts` is the herd.
    pub metric: String,
    /// Start of the bin.
    pub offset_ms: u64,
    /// How much.
    pub count: u32,
    /// From the start of the bin to the first.
    pub first_us: u16,
    /// From the start of the bin to the last.
    pub last_us: u16,
}
