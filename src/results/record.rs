//! The data dictionary: the types of everything on disk. `results/README.md` explains each field; a test compares the two.
//!
//! Types on disk are separate from types in memory, and columns end in their unit. Absent and "not reached" are `null`, or empty in CSV.

pub use super::rows::{CountRow, EventRow, PeakRow, ReconnectRow, TimelineRow};

use super::spread::Runs;
use crate::metrics::attempts::AttemptCounts;
use crate::metrics::latency::Times;
use crate::metrics::meta::SeenFrom;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the files below; raised when a reader could misunderstand them.
pub const SCHEMA_VERSION: u32 = 2;
/// The oldest version that is still read.
pub const OLDEST_VERSION: u32 = 1;

/// `summary.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// Its question; null where it has none.
    pub question: Option<String>,
    /// Its hypothesis; null where it has none.
    pub hypothesis: Option<String>,
    /// Command line that makes this run again.
    pub command: String,
    /// Kind of target and address: `embedded, 3 instances`, a command line, a URL.
    pub target: String,
    /// Root seed.
    pub seed: u64,
    /// Planned length, ms.
    pub duration_ms: u64,
    /// Length so far when the measurement ended, ms; less than `duration_ms` in a run that was stopped.
    pub measured_ms: u64,
    /// From the simulator.
    pub simulated: bool,
    /// `client`: clients of our own tell everything; `server` or `proxy`: the clients are real ones, and that saw their connections.
    #[serde(default)] // absent in older folders
    pub seen_from: SeenFrom,
    /// `completed`, or `aborted`: stopped before its planned length, or before all seeds asked for were done.
    pub status: String,
    /// Expectations and what came of them.
    pub verdict: Verdict,
    /// The simulated clients.
    pub clients: Clients,
    /// Attempts to connect.
    pub attempts: Attempts,
    /// The 20 most frequent answers other than 101.
    #[serde(default)] // absent in older folders
    pub answers: Vec<AnswerRow>,
    /// The 20 most frequent reasons of attempts that failed.
    #[serde(default)] // absent in older folders
    pub failures: Vec<FailureRow>,
    /// Connections that opened.
    pub connections: Connections,
    /// Reported codes by side.
    pub close_codes: CloseCodes,
    /// The 20 most frequent pairs of reported code and reason, client side.
    pub close_reasons: Vec<CloseReason>,
    /// How connections ended, all sides.
    pub endings: Vec<EndingRow>,
    /// Outages and the way back; absent where nobody can know a real client again.
    #[serde(default = "Reconnect::unseen", skip_serializing_if = "Reconnect::is_unseen")]
    pub reconnect: Reconnect,
    /// Opening handshakes: request to 101.
    pub opening_handshake_us: Times,
    /// TCP connects.
    pub tcp_connect_us: Times,
    /// HTTP requests before connections that were answered.
    #[serde(default)] // absent in older folders
    pub http_request_us: Times,
    /// HTTP requests before connections by the status of their answers; `none`: there was none.
    #[serde(default)] // absent in older folders
    pub http_requests: BTreeMap<String, u64>,
    /// The 101 to ready, of cohorts whose clients are ready by more than being open.
    #[serde(default)] // absent in older folders
    pub time_to_ready_us: Times,
    /// From the time in a received message to when it came: by two clocks, unless one machine has both ends.
    #[serde(default)] // absent in older folders
    pub broadcast_latency_us: Times,
    /// By how much received messages came before the time in them; they are not in `broadcast_latency_us`.
    #[serde(default)] // absent in older folders
    pub broadcast_latency_negative_us: Times,
    /// Errors that dialogues name: messages of the server that say that something is wrong, and replies that do.
    #[serde(default)] // absent in older folders
    pub errors: BTreeMap<String, u64>,
    /// TLS handshakes.
    pub tls_us: Times,
    /// Those of them that were full handshakes.
    #[serde(default)] // absent in older folders
    pub tls_full_us: Times,
    /// Those of them that took up an earlier session.
    #[serde(default)] // absent in older folders
    pub tls_resumed_us: Times,
    /// First Close frame to the end of TCP.
    pub closing_handshake_us: Times,
    /// First Close frame to the one that answers it.
    pub close_ack_us: Times,
    /// Answer to the first Close frame to the end of TCP.
    pub fin_wait_us: Times,
    /// Messages; absent for real clients.
    #[serde(default = "Messages::unseen", skip_serializing_if = "Messages::is_unseen")]
    pub messages: Messages,
    /// What clients missed in their outages, by cohort and fault; empty where no dialogue says where numbers stand.
    #[serde(default)] // absent in older folders
    pub losses: Vec<LossRow>,
    /// What was counted: a 0 of it is data. Empty in folders of versions that did not say; they counted no HTTP requests and no errors.
    #[serde(default)] // absent in older folders
    pub counted: Vec<String>,
    /// By cohort name, in the order of the scenario.
    pub cohorts: IndexMap<String, CohortRow>,
    /// In the order of the scenario.
    pub faults: Vec<FaultRow>,
    /// Faults that silence connections: what each heartbeat should find of them, and what it found.
    #[serde(default)] // absent in older folders
    pub liveness: Vec<LivenessRow>,
    /// Endings whose reported code the catalogue does not expect.
    #[serde(default)] // absent in older folders
    pub surprises: Vec<SurpriseRow>,
    /// How far several seeds lie apart; null for one seed.
    #[serde(default)] // absent in older folders
    pub runs: Option<Runs>,
    /// The measuring side itself.
    pub generator: Generator,
    /// What else a reader must know.
    pub notices: Vec<String>,
}

/// Expectations and what came of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// `pass`, `fail`, `inconclusive`, or `unchecked` where nothing was expected.
    pub result: String,
    /// Why.
    pub reasons: Vec<String>,
    /// What it says to the question, in words and figures; null where it cannot tell.
    #[serde(default)] // absent in older folders
    pub answer: Option<String>,
    /// In the order of the scenario.
    pub expectations: Vec<ExpectationRow>,
}

/// One expectation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectationRow {
    /// As written.
    pub text: String,
    /// Null: not reached, or no data; `note` says which.
    pub observed: Option<f64>,
    /// Why `observed` is null, or what else to know beside it.
    pub note: Option<String>,
    /// Samples, where there are too few for the percentile.
    #[serde(default)]
    pub samples: Option<u64>,
    /// How many it takes, where there are too few.
    #[serde(default)]
    pub needed: Option<u64>,
    /// Unit of `observed`: `us`, `count`, `percent`, `per_s`.
    pub unit: String,
    /// `pass`, `fail` or `inconclusive`.
    pub result: String,
}

/// The simulated clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Clients {
    /// In the plan.
    pub planned: u64,
    /// That began an attempt.
    pub started: u64,
    /// That were ready at least once; null in folders of schema version 1.
    #[serde(default)]
    pub ready: Option<u64>,
    /// That began and never opened.
    pub never_opened: u64,
    /// Most open at a time.
    pub peak_open: u64,
    /// Open when the measurement ended.
    pub open_at_end: u64,
    /// That gave up by their policy; null for real clients, whose policy is their own.
    pub lost: Option<u64>,
}

impl Reconnect {
    fn unseen() -> Reconnect {
        Reconnect { unseen: true, ..Reconnect::default() }
    }

    fn is_unseen(&self) -> bool {
        self.unseen
    }
}

impl Messages {
    fn unseen() -> Messages {
        Messages { unseen: true, ..Messages::default() }
    }

    fn is_unseen(&self) -> bool {
        self.unseen
    }
}

impl Summary {
    /// Whether its clients were real ones, whom somebody else saw.
    pub fn is_of_real(&self) -> bool {
        self.seen_from != SeenFrom::Client
    }

    /// Clients in the plan; of real ones those that came.
    pub fn population(&self) -> u64 {
        if self.is_of_real() { self.clients.started } else { self.clients.planned }
    }
}

/// Attempts: `total = opened + refused + timed_out + rejected + failed + abandoned`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attempts {
    /// By what became of them.
    #[serde(flatten)]
    pub counts: AttemptCounts,
    /// Most begun within any second, wherever it begins.
    pub peak_per_s: u64,
    /// Rejected ones by HTTP status: the 50 most frequent, all others under `other`.
    #[serde(default)] // absent in older folders
    pub by_status: BTreeMap<String, u64>,
}

/// An answer other than 101 to an opening handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnswerRow {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After`, where it is given in seconds; null otherwise.
    pub retry_after_s: Option<u64>,
    /// `Location`, its first 200 characters; null without.
    pub location: Option<String>,
    /// Attempts.
    pub count: u64,
}

/// Why attempts failed that no server answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailureRow {
    /// In words.
    pub why: String,
    /// Attempts.
    pub count: u64,
}

/// Connections: `opened = closed + open_at_end`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Connections {
    /// Opened.
    pub opened: u64,
    /// Ended before the measurement ended; the sum of `endings`.
    pub closed: u64,
    /// Open when the measurement ended.
    pub open_at_end: u64,
}

/// Reported codes by side; the keys are codes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CloseCodes {
    /// What the clients' users are told.
    pub client: BTreeMap<String, u64>,
    /// What the server's user is told; connections whose server was killed or is not embedded are not in it.
    pub server: BTreeMap<String, u64>,
}

/// A pair of reported code and reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CloseReason {
    /// Reported code.
    pub code: u16,
    /// Reason; may be empty.
    pub reason: String,
    /// Connections.
    pub count: u64,
}

/// Connections that ended the same way. Also a row of `closes.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EndingRow {
    /// Cohort.
    pub cohort: String,
    /// A fault's id, `remote`, `stay`, `deadline:<name>` or `local:<limit>`.
    pub cause: String,
    /// Id of the fault that last acted on the connection, whether or not it is the cause; null for none.
    pub fault: Option<String>,
    /// `client`, `server` or `none`.
    pub initiator: String,
    /// Status code that the client received, or that was sent to it where nobody saw its side; 1005: empty Close frame; null: no Close frame.
    pub wire_received: Option<u16>,
    /// Status code that the client sent; 1005: empty Close frame; null: no Close frame.
    pub wire_sent: Option<u16>,
    /// `fin`, `rst`, `timeout`, `local` or `none`, as the client saw it; null where nobody saw its side.
    pub tcp_end: Option<String>,
    /// `close_notify`, `none`, or the name of an alert, with `sent:` before it where the client sent it; null on ws.
    #[serde(default)] // absent in older folders
    pub tls_end: Option<String>,
    /// The client's received bytes were cut inside a frame or a TLS record; null where nobody saw its side.
    pub mid_frame: Option<bool>,
    /// Close frames both ways, then FIN.
    pub clean: bool,
    /// Reported to the client's user; null where nobody saw its side.
    pub client_code: Option<u16>,
    /// Reported to the server's user; null when the server was killed or is not embedded.
    pub server_code: Option<u16>,
    /// As the server saw it; null as above.
    pub server_tcp_end: Option<String>,
    /// As the server saw it; null as above, and on ws.
    #[serde(default)] // absent in older folders
    pub server_tls_end: Option<String>,
    /// Connections.
    pub count: u64,
}

/// Outages and the way back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reconnect {
    /// Not known, and not written: every number is nothing.
    #[serde(skip)]
    pub unseen: bool,
    /// Outages.
    pub affected: u64,
    /// That ended with a `t_ready`.
    pub recovered: u64,
    /// Cut by the end of the run; includes those of clients that gave up.
    pub censored: u64,
    /// Of them those whose client left by plan before the end of the run.
    #[serde(default)] // absent in older folders
    pub left: u64,
    /// Clients that gave up by their policy.
    pub gave_up: u64,
    /// Attempts per recovered outage.
    pub attempts_mean: Option<f64>,
    /// `t_ready - t_fault`; quantiles by Kaplan–Meier, null where not reached.
    pub time_us: Times,
    /// The longest time observed, returned or not: a quantile that was not reached is greater. Null without outages.
    #[serde(default)]
    pub observed_us: Option<u64>,
    /// `t_detect - t_fault`.
    pub detect_us: Times,
    /// Sum of the waits of an outage.
    pub backoff_us: Times,
    /// Sum of the attempts of an outage, the first reply included.
    pub attempt_us: Times,
}

/// Messages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Messages {
    /// Not known, and not written: every number is nothing.
    #[serde(skip)]
    pub unseen: bool,
    /// That a schedule asked for.
    pub due: u64,
    /// Due, but there was no open connection or it was blocked.
    pub not_started: u64,
    /// Handed to the kernel.
    pub sent: u64,
    /// Sent, and the echo came.
    #[serde(default)]
    pub answered: u64,
    /// Sent, and the reply says that it failed; not among `answered`.
    #[serde(default)]
    pub errors: u64,
    /// Of streams whose messages have numbers: those that came, each once, and those that were missed.
    #[serde(default)]
    pub expected: u64,
    /// Of them those that did not come.
    #[serde(default)]
    pub missed: u64,
    /// Of the time in which the client was away, and it got them later.
    #[serde(default)]
    pub recovered: u64,
    /// Came again.
    #[serde(default)]
    pub duplicated: u64,
    /// Came after later ones of their stream.
    #[serde(default)]
    pub out_of_order: u64,
    /// Sent, and the connection ended before the echo came.
    pub lost: u64,
    /// Sent, and the echo had not come when the measurement ended.
    #[serde(default)]
    pub unanswered: u64,
    /// All messages received.
    pub received: u64,
    /// Greetings by which the embedded server makes clients ready that wait for a message of it; not among `received`.
    #[serde(default)]
    pub greetings: u64,
    /// Messages of dialogues sent that are not requests: opening steps, standing replies, beats; not among `sent`.
    #[serde(default)]
    pub dialogue_sent: u64,
    /// Messages of dialogues that came and are neither answers nor among `received`.
    #[serde(default)]
    pub dialogue_received: u64,
    /// Due time to echo.
    pub rtt_us: Times,
    /// Sent to echo.
    pub rtt_from_sent_us: Times,
}

/// What the outages of one cohort and fault cost its clients in messages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LossRow {
    /// Cohort.
    pub cohort: String,
    /// Id of the fault; null where none acted.
    pub fault: Option<String>,
    /// Outages after which a message with a number came.
    pub outages: u64,
    /// Of them those in which nothing was missed.
    pub none_missed: u64,
    /// Messages missed in all of them.
    pub missed: u64,
    /// Median of an outage; as the percentiles below to three digits above 1,000 messages.
    pub p50: Option<u64>,
    /// 90th percentile, as far as the samples go.
    pub p90: Option<u64>,
    /// 99th percentile, as far as the samples go.
    pub p99: Option<u64>,
    /// Most in an outage, exactly.
    pub max: u64,
    /// Outages by what was missed in them; above 1,000 messages to three digits.
    pub by_missed: BTreeMap<u64, u64>,
    /// Outages after which no message with a number came: what was missed in them is not known, and they are not among `outages`.
    #[serde(default)] // absent in older folders
    pub unknown: u64,
}

/// One cohort.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CohortRow {
    /// The strategy as the user wrote it.
    pub strategy: String,
    /// What its clients say; round trips of cohorts with different traffic are not comparable.
    #[serde(default)] // absent in older folders
    pub traffic: String,
    /// As above, for this cohort.
    pub clients: Clients,
    /// As above, for this cohort.
    pub attempts: Attempts,
    /// As above, for this cohort.
    #[serde(default = "Reconnect::unseen", skip_serializing_if = "Reconnect::is_unseen")]
    pub reconnect: Reconnect,
    /// Reported to its clients' users.
    pub close_codes: BTreeMap<String, u64>,
    /// As above, for this cohort.
    #[serde(default = "Messages::unseen", skip_serializing_if = "Messages::is_unseen")]
    pub messages: Messages,
}

/// One fault.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FaultRow {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// `client` or `server`.
    pub side: String,
    /// First firing; null if it never fired.
    pub at_ms: Option<u64>,
    /// Last revert or end of the run; null if instantaneous.
    pub until_ms: Option<u64>,
    /// Firings.
    pub fired: u64,
    /// Connections or attempts selected over all firings; instances of a listener fault, connections of the processes of a process fault.
    pub selected: u64,
    /// Connections, attempts or instances on which it acted.
    pub injected: u64,
    /// Outages of this fault that ended.
    pub recovered: u64,
    /// Outages of this fault: time to come back.
    pub reconnect_us: Times,
}

/// A fault that silences connections without ending them, a cohort, and one heartbeat over their connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LivenessRow {
    /// Id of the fault.
    pub fault: String,
    /// Its kind.
    pub kind: String,
    /// Cohort.
    pub cohort: String,
    /// Who pings: `client`, `server`, or `none`.
    pub heartbeat: String,
    /// Between pings; null without heartbeat.
    pub every_ms: Option<u64>,
    /// From a ping to its pong; null without heartbeat.
    pub timeout_ms: Option<u64>,
    /// Share of the connections that it should find, 0 to 1.
    pub finds_share: f64,
    /// Soonest after the injection, less a round trip; null where it finds none.
    pub earliest_ms: Option<u64>,
    /// Latest after the injection; null where it finds none.
    pub latest_ms: Option<u64>,
    /// Why it finds none; null where it does.
    pub why_none: Option<String>,
    /// When the path answers RST to those not found before; null if it does not.
    pub reset_ms: Option<u64>,
    /// Connections that the fault silenced.
    pub silenced: u64,
    /// Those that this heartbeat found: from the injection to the passed pong deadline.
    pub detect_us: Times,
    /// Those that ended otherwise.
    pub ended_otherwise: u64,
    /// Those that did not end while it lasted.
    pub unnoticed: u64,
}

/// Endings whose reported code the catalogue does not expect of the fault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SurpriseRow {
    /// Id of the fault.
    pub fault: String,
    /// Its kind.
    pub kind: String,
    /// Whose user: `client` or `server`.
    pub side: String,
    /// Codes that the catalogue expects; empty: no ending.
    pub expected: Vec<u16>,
    /// Code that was reported.
    pub observed: u16,
    /// Connections.
    pub count: u64,
}

/// The measuring side itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Generator {
    /// Lateness of due connects and sends.
    pub lag_p99_us: Option<u64>,
    /// Largest share of late work in a second, 0 to 1.
    pub late_share_max: f64,
    /// How much later than due is late.
    #[serde(default)]
    pub late_after_us: Option<u64>,
    /// Processor time of closestorm and its workers; servers do not count.
    pub cpu_s: f64,
    /// Largest resident size of closestorm and its workers, each at its own peak.
    pub rss_peak_bytes: u64,
    /// Growth of the resident size per client at the peak.
    pub bytes_per_client: Option<u64>,
    /// Too late to be trusted.
    pub saturated: bool,
    /// Seconds of the run in which it was.
    #[serde(default)]
    pub saturated_seconds: Vec<u32>,
    /// Processes that had the clients.
    #[serde(default)]
    pub workers: u32,
    /// Parts of the run that were lost, in words; any makes the verdict inconclusive.
    #[serde(default)]
    pub lost: Vec<String>,
    /// What was planned and not carried out, and limits of this machine that were hit, in words; any makes the verdict inconclusive.
    #[serde(default)]
    pub unreliable: Vec<String>,
    /// Opening handshakes that the target was asked for before offset 0 by the readiness probe and the warm-up; they are in no count.
    #[serde(default)]
    pub uncounted_openings: u64,
}

/// `manifest.json`: what was run, where, by which program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Command line, without secrets.
    pub command: Vec<String>,
    /// Names of the variables of the environment that the scenario asked for: they must be set to make the run again.
    #[serde(default)] // absent in older folders
    pub variables: Vec<String>,
    /// Program version.
    pub version: String,
    /// Commit of the program; empty where it was not built from a checkout.
    pub commit: String,
    /// Root seed.
    pub seed: u64,
    /// Start, RFC 3339 UTC.
    pub started: String,
    /// Kernel, CPU and memory.
    pub machine: BTreeMap<String, String>,
    /// Limits that shape a run: open files, ephemeral ports, listen queue.
    pub limits: BTreeMap<String, String>,
}
