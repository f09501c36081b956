//! What a comparison came to, as `--format json` prints it. `docs/commands/compare.md` explains each field.

use serde::{Serialize, Serializer};

/// Two sides of runs, compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunComparison {
    /// Version of this format.
    pub schema_version: u32,
    /// `regression`, `no_regression` or `inconclusive`.
    pub result: String,
    /// The exit code of that.
    pub exit_code: u8,
    /// In one sentence.
    pub answer: String,
    /// Why it is inconclusive, and what else decided.
    pub reasons: Vec<String>,
    /// One to three runs on a side: such a comparison never finds a regression.
    pub weak: bool,
    /// Runs before.
    pub base: ComparedSide,
    /// Runs after.
    pub new: ComparedSide,
    /// Where scenarios, machines or programs of both sides differ.
    pub differences: Vec<String>,
    /// In the order of the scenario.
    pub metrics: Vec<ComparedMetric>,
    /// Log-rank χ² of the times to reconnect, all clients of a side together: a description that decides nothing. Null: no outages.
    pub log_rank_reconnect: Option<f64>,
    /// Close codes that no run of base had. They are not tested.
    pub new_close_codes: Vec<UnknownCode>,
}

/// Runs of one side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedSide {
    /// How many.
    pub runs: u64,
    /// Their folders.
    pub folders: Vec<String>,
}

/// One metric of both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedMetric {
    /// Metric, labels and stat, as in `expect`.
    pub metric: String,
    /// Of all numbers here but p values: `us`, `count`, `messages`, `percent`, `per_s`.
    pub unit: String,
    /// Which way it gets worse: `higher`, `lower`, `neither`.
    pub worse: String,
    /// What became of it.
    pub result: MetricResult,
    /// One value a run, in the order of the folders; null is "not reached".
    #[serde(serialize_with = "finite_each")]
    pub base: Vec<f64>,
    /// The same.
    #[serde(serialize_with = "finite_each")]
    pub new: Vec<f64>,
    /// Null: not reached in half of the runs or more, or no data.
    #[serde(serialize_with = "finite")]
    pub base_median: Option<f64>,
    /// The same.
    #[serde(serialize_with = "finite")]
    pub new_median: Option<f64>,
    /// Hodges–Lehmann shift, new minus base. Null: infinite, or no data.
    #[serde(serialize_with = "finite")]
    pub shift: Option<f64>,
    /// Lower end of its 95 % interval; null: none.
    #[serde(serialize_with = "finite")]
    pub shift_low: Option<f64>,
    /// Upper end; null: none.
    #[serde(serialize_with = "finite")]
    pub shift_high: Option<f64>,
    /// Few runs on a side: lower end of an interval of the difference by block bootstrap, which is weaker evidence; null: none.
    #[serde(serialize_with = "finite")]
    pub bootstrap_low: Option<f64>,
    /// Its upper end; null: none.
    #[serde(serialize_with = "finite")]
    pub bootstrap_high: Option<f64>,
    /// A smaller shift does not matter.
    pub least_change: Option<f64>,
    /// Exact two-sided p of Mann and Whitney's test; null without data.
    pub p: Option<f64>,
    /// The same, adjusted by Holm for the number of metrics.
    pub p_holm: Option<f64>,
    /// What else to know: why there is no data, or what was compared in its place.
    pub note: Option<String>,
}

/// What became of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricResult {
    /// Beyond chance and beyond the least change.
    Worse,
    /// The estimate is beyond the least change, and this may be chance.
    PerhapsWorse,
    /// Nothing is said of it.
    Same,
    /// As [`PerhapsWorse`](MetricResult::PerhapsWorse), the other way.
    PerhapsBetter,
    /// As [`Worse`](MetricResult::Worse), the other way.
    Better,
    /// Beyond chance and beyond the least change, where neither way is worse.
    Changed,
    /// A run did not tell.
    NoData,
}

/// A close code that was not seen before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnknownCode {
    /// Whose user was told: `client` or `server`.
    pub side: String,
    /// The code, or `other`.
    pub code: String,
    /// Connections of all new runs together.
    pub count: u64,
    /// In how many of the new runs.
    pub runs: u64,
}

fn finite<S: Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
    value.filter(|value| value.is_finite()).serialize(to)
}

fn finite_each<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(values.iter().map(|value| Some(*value).filter(|value| value.is_finite())))
}
