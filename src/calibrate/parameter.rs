//! A fitted key of `[model]`, and values as TOML writes them.

use serde::Serialize;

/// One key of `[model]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parameter {
    /// The key.
    pub key: &'static str,
    /// Its value, as TOML.
    pub value: String,
    /// What it was fitted from.
    pub from: String,
    /// Samples.
    pub samples: u64,
    /// Standard error as a share of the value, in percent; null where there is none.
    pub error_percent: Option<f64>,
}

/// The least value with at least this share of the sorted values at or below it; 0 of nothing.
pub(super) fn quantile(sorted: &[u64], share: f64) -> u64 {
    let place = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(place.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

/// A time as TOML, in whole µs or finer where it is short.
pub(super) fn text(us: f64) -> String {
    let us = us.max(0.0);
    if us >= 10_000.0 { format!("\"{:.3}ms\"", us / 1e3) } else { format!("\"{:.1}us\"", us) }
}

/// Measured times as TOML: equally spaced quantiles.
pub(super) fn quantiles(sorted: &[u64], count: usize) -> String {
    let at = |n: usize| sorted[n * (sorted.len() - 1) / (count - 1)] as f64;
    format!("{{ quantiles = [{}] }}", (0..count).map(|n| text(at(n))).collect::<Vec<_>>().join(", "))
}
