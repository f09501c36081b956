//! The capacity folder: `capacity.json` and `steps.csv`, written and read back. What is in them is computed in `limit`.

use super::folder::{Folder, FolderError, put, put_csv, put_json};
use super::read::{self, ReadError};
use super::record::Manifest;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Version of the two files; raised when a reader could misunderstand them.
pub const CAPACITY_VERSION: u32 = 1;

/// `capacity.json`: what a search for the largest load found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// [`CAPACITY_VERSION`].
    pub schema_version: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// Its question; null where it has none.
    pub question: Option<String>,
    /// Command line that makes this search again.
    pub command: String,
    /// Kind of target and address.
    pub target: String,
    /// Root seed of every run.
    pub seed: u64,
    /// Planned length of each run, ms.
    pub duration_ms: u64,
    /// `completed` or `aborted`.
    pub status: String,
    /// What came of it.
    pub verdict: Conclusion,
    /// The parameter that is searched last; before it, where there are two, the one that is set to a few values.
    pub vary: Vec<VaryRow>,
    /// How hard it searched.
    pub search: SearchRow,
    /// What `throughput_per_s` counts: `opened` connections or `echoed` messages.
    pub throughput: String,
    /// What `p50_us` and its like measure, as `opening_handshake`.
    pub latency: String,
    /// What is expected of each run, as written; last what `--opened` asks for.
    pub expect: Vec<String>,
    /// The tightest limit that an expectation puts on the time to reconnect; null for none.
    pub reconnect_within_us: Option<u64>,
    /// Of whom it is: `max`, or a percentile as `p99`; null for none.
    #[serde(default)] // absent in older folders
    pub reconnect_stat: Option<String>,
    /// For how long a fault keeps the server down, the longest of them; null for none.
    pub down_us: Option<u64>,
    /// A fault kills a server process: what is expected of the way back was measured after the loss of a node.
    #[serde(default)] // absent in older folders
    pub crashes: bool,
    /// Servers of the target.
    #[serde(default)] // absent in older folders
    pub instances: Option<u64>,
    /// How many clients of one node are all back in time after it is lost, simulated; null where nothing is known of that.
    #[serde(default)] // absent in older folders
    pub lost_node: Option<LostNodeRow>,
    /// One; with two parameters one for each value of the first.
    pub limits: Vec<LimitRow>,
    /// What else a reader must know.
    pub notices: Vec<String>,
}

/// What came of a search.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conclusion {
    /// `pass`: a limit, or the whole range holds; `fail`: the expectations do not hold even at the lowest value; `inconclusive`: the
    /// generator was the limit, or nothing could be told.
    pub result: String,
    /// Why, where it is not a plain pass.
    pub reasons: Vec<String>,
}

/// The loss of a node, simulated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostNodeRow {
    /// In which all clients of the node are to be back, from the loss on.
    pub within_us: u64,
    /// From the loss to the moment at which a server takes them again; 0 where another node does so at once.
    pub down_us: u64,
    /// The most clients that are all back in time; 0 for none.
    pub clients: u64,
    /// When the slowest of them is; null for none.
    pub back_us: Option<u64>,
    /// A few more, which are not; null where none were found.
    pub more: Option<u64>,
    /// When the slowest of those is; null where some are not within three times `within_us`.
    pub more_back_us: Option<u64>,
    /// Where the model of the server comes from.
    pub model: String,
    /// How the clients come back, as in the scenario.
    pub strategies: Vec<String>,
}

/// A varied parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VaryRow {
    /// `clients`, or a key of the scenario.
    pub key: String,
    /// Of all its values: `count`, `number`, `s`, `per_s`, `percent`, `bytes`.
    pub unit: String,
    /// The lowest value.
    pub low: f64,
    /// The highest value.
    pub high: f64,
}

/// How hard it searched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchRow {
    /// Most runs for each limit.
    pub steps_max: u64,
    /// Most runs at each side of the edge.
    pub repeats: u64,
    /// Both sides of the edge are this close, in percent.
    pub precision_percent: f64,
    /// Length of the warm-up of each fresh target, ms; 0 for none.
    pub warm_up_ms: u64,
    /// The limit that was asked for: less is a failure. Null where any was good.
    #[serde(default)] // absent in older folders
    pub at_least: Option<f64>,
}

/// A limit, and the curve that led to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LimitRow {
    /// Value of the first parameter; null where there is only one.
    pub level: Option<f64>,
    /// The largest value at which all expectations held; null where there is none.
    pub limit: Option<f64>,
    /// How far the edge may be from it: the spread.
    pub plus_minus: Option<f64>,
    /// The largest value up to the limit at and below which no run failed.
    pub surely_holds: Option<f64>,
    /// The smallest value above the limit at which no run held; null where none failed.
    pub surely_fails: Option<f64>,
    /// `edge`, `top`, `generator`, `impossible`, `never` or `no_data`.
    pub ended: String,
    /// The search came to its own end, instead of using up its runs.
    pub complete: bool,
    /// Larger values that held again: the edge is not monotone.
    pub held_above: Vec<f64>,
    /// What did not hold just above the limit.
    pub broke: Option<String>,
    /// Throughput at the limit, median of its runs.
    pub throughput_per_s: Option<f64>,
    /// 99th percentile at the limit, median of its runs.
    pub p99_us: Option<u64>,
    /// Greatest throughput of any run.
    pub throughput_max_per_s: Option<f64>,
    /// Load at which throughput stops growing with it.
    pub knee: Option<f64>,
    /// Load from which the 99th percentile takes off.
    pub knee_p99: Option<f64>,
    /// Why a knee is missing; null where both are there.
    pub knee_note: Option<String>,
    /// The Universal Scalability Law, fitted.
    pub usl: Option<UslRow>,
    /// Why it is missing, or how far it can be trusted.
    pub usl_note: Option<String>,
    /// Runs.
    pub runs: u64,
}

/// The Universal Scalability Law; each parameter with the ends of its 95 % interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UslRow {
    /// Throughput of one, per second.
    pub lambda: [f64; 3],
    /// Contention.
    pub sigma: [f64; 3],
    /// Coherency.
    pub kappa: [f64; 3],
    /// Share of the variance of the throughput that is explained.
    pub r_squared: f64,
    /// Load of the greatest throughput; null where it never falls.
    pub peak: Option<f64>,
    /// Throughput there.
    pub peak_throughput_per_s: Option<f64>,
}

/// A row of `steps.csv`: one run of the search.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepRow {
    /// From 1; its summary is `steps/<step>.json`.
    pub step: u32,
    /// Value of the first parameter; empty where there is only one.
    pub level: Option<f64>,
    /// Value of the parameter that is searched, in the unit of `capacity.json`.
    pub value: f64,
    /// The same as a scenario takes it.
    pub setting: String,
    /// `climb`, `bisect`, `repeat` or `below`.
    pub why: String,
    /// `held`, `failed`, `saturated`, `untold` or `impossible`.
    pub outcome: String,
    /// Throughput; empty where nothing came through.
    pub throughput_per_s: Option<f64>,
    /// Median; empty without samples.
    pub p50_us: Option<u64>,
    /// 99th percentile; empty below 299 samples.
    pub p99_us: Option<u64>,
    /// Greatest; empty without samples.
    pub max_us: Option<u64>,
    /// Largest share of late work of the generator in a second, 0 to 1.
    pub late_share_max: Option<f64>,
    /// Share of those who wanted a connection that got one, 0 to 1; empty where nobody wanted one.
    #[serde(default)] // absent in older folders
    pub opened_share: Option<f64>,
    /// Reasons of the verdict; empty where it held.
    pub reason: Option<String>,
}

/// Columns of `steps.csv`.
pub const STEPS: &[&str] = &[
    "step",
    "level",
    "value",
    "setting",
    "why",
    "outcome",
    "throughput_per_s",
    "p50_us",
    "p99_us",
    "max_us",
    "late_share_max",
    "opened_share",
    "reason",
];

/// A capacity folder in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// `capacity.json`.
    pub capacity: Capacity,
    /// `steps.csv`.
    pub steps: Vec<StepRow>,
}

impl Search {
    /// The steps of a limit.
    pub fn steps_of(&self, limit: &LimitRow) -> impl Iterator<Item = &StepRow> {
        let level = limit.level;
        self.steps.iter().filter(move |step| step.level == level)
    }

    /// The parameter that is searched.
    pub fn searched(&self) -> &VaryRow {
        // There is always one: `cmd` and `read` see to it.
        &self.capacity.vary[self.capacity.vary.len() - 1]
    }
}

/// Writes the data of a capacity folder, `capacity.json` first.
///
/// # Errors
/// The first file that could not be written.
pub fn write(folder: &Folder, search: &Search, manifest: &Manifest, resolved: &str) -> Result<(), FolderError> {
    let at = |name: &str| folder.path().join(name);
    put(&at("capacity.json"), &|out| put_json(out, &search.capacity))?;
    put(&at("manifest.json"), &|out| put_json(out, manifest))?;
    put(&at("scenario.toml"), &|out| std::io::Write::write_all(out, resolved.as_bytes()))?;
    put(&at("steps.csv"), &|out| put_csv(out, search.steps.clone(), STEPS))
}

/// Whether a folder holds a search rather than a run.
pub fn is_search(dir: &Path) -> bool {
    dir.join("capacity.json").is_file()
}

/// Reads a capacity folder.
///
/// # Errors
/// A file is missing or damaged, or the schema version is another one.
pub fn read(dir: &Path) -> Result<Search, ReadError> {
    let path = dir.join("capacity.json");
    let value: serde_json::Value = read::json(&path, &read::bytes(&path)?)?;
    if let Some(found) = value.get("schema_version").and_then(serde_json::Value::as_u64)
        && found != u64::from(CAPACITY_VERSION)
    {
        return Err(ReadError::Version { path, found });
    }
    let damaged = |what: String| ReadError::Damaged { path: path.clone(), what };
    let capacity: Capacity = read::bounded(&path, serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?)?;
    if capacity.vary.is_empty() || capacity.limits.is_empty() {
        return Err(damaged("it has no parameter or no limit".to_owned()));
    }
    let why = "it is needed to draw the curve";
    let steps = read::rows(&dir.join("steps.csv"))?.ok_or_else(|| ReadError::Missing { path: dir.join("steps.csv"), why })?;
    Ok(Search { capacity, steps })
}
