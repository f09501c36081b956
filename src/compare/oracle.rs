//! Values that scipy, statsmodels and lifelines gave, for tests: `tests/compare/values.py` wrote them.

use serde::{Deserialize, Deserializer};

/// `tests/compare/values.json`.
#[derive(Debug, Deserialize)]
pub(super) struct OracleValues {
    pub(super) cases: Vec<Case>,
    pub(super) holm: Vec<HolmFamily>,
    pub(super) survival: Vec<Lifetimes>,
    pub(super) log_rank: Vec<LifetimePair>,
}

/// Two sides and what is said of them.
#[derive(Debug, Deserialize)]
pub(super) struct Case {
    pub(super) name: String,
    #[serde(deserialize_with = "never")]
    pub(super) base: Vec<f64>,
    #[serde(deserialize_with = "never")]
    pub(super) new: Vec<f64>,
    pub(super) p: f64,
    pub(super) estimate: Option<f64>,
    pub(super) interval: Option<[f64; 2]>,
}

/// Several p values, and what Holm makes of them.
#[derive(Debug, Deserialize)]
pub(super) struct HolmFamily {
    pub(super) p: Vec<f64>,
    pub(super) adjusted: Vec<f64>,
}

/// Times that ended or were cut, with their mean up to a horizon.
#[derive(Debug, Deserialize)]
pub(super) struct Lifetimes {
    pub(super) ended: Vec<u64>,
    pub(super) cut: Vec<u64>,
    pub(super) horizon: u64,
    pub(super) restricted_mean: f64,
}

/// Two sides of times, and the log-rank statistic.
#[derive(Debug, Deserialize)]
pub(super) struct LifetimePair {
    pub(super) sides: [LifetimeSide; 2],
    pub(super) statistic: f64,
}

/// Times that ended or were cut.
#[derive(Debug, Deserialize)]
pub(super) struct LifetimeSide {
    pub(super) ended: Vec<u64>,
    pub(super) cut: Vec<u64>,
}

/// JSON has no ∞: null stands for it.
fn never<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    let values: Vec<Option<f64>> = Vec::deserialize(from)?;
    Ok(values.into_iter().map(|value| value.unwrap_or(f64::INFINITY)).collect())
}

pub(super) fn values() -> OracleValues {
    serde_json::from_str(include_str!("../../tests/compare/values.json")).expect("the committed values")
}
