//! A fitted model as a scenario fragment: a `[model]` table whose comments say where each value comes from, and the same as `--set` takes it.

use super::Fit;
use std::fmt::Write;

/// The fragment, as TOML.
pub fn fragment(fit: &Fit) -> String {
    let mut out = format!(
        "# The server of one run, as the simulator sees it: fitted by `closestorm calibrate` to\n#   {} (seed {})\n",
        fit.run, fit.seed
    );
    let (p50, p90) = (fit.residual_p50_us as f64 / 1e3, fit.residual_p90_us as f64 / 1e3);
    let _ = writeln!(
        out,
        "# From {} opening handshakes. Put through the fitted queue, half of them complete within {p50:.1} ms of when they did, nine of ten within {p90:.1} ms.",
        fit.handshakes
    );
    for note in &fit.notes {
        let _ = writeln!(out, "# Note: {note}.");
    }
    out += "[model]\n";
    for one in &fit.parameters {
        let error = one.error_percent.map(|error| format!(", ± {error:.1} %")).unwrap_or_default();
        let _ = writeln!(out, "# {} (n = {}{error})\n{} = {}", one.from, one.samples, one.key, one.value);
    }
    out
}

/// The keys of a `[model]` table, as overrides of a scenario.
///
/// # Errors
/// If the text is not TOML, or has no `[model]`.
pub fn overrides(text: &str) -> Result<Vec<String>, String> {
    let table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
    let Some(toml::Value::Table(model)) = table.get("model") else {
        return Err("there is no [model] table in it".to_owned());
    };
    Ok(model.iter().map(|(key, value)| format!("model.{key}={value}")).collect())
}
