//! A comparison as text: the figures that a person reads, a block for each cohort, the worst first.

use super::{Compared, Comparison, QuantilePair};
use std::fmt::Write;

/// The comparison; ends with its result.
pub fn text(comparison: &Comparison) -> String {
    let mut out = format!("{} · {} · seed {} · real against simulated\n", comparison.scenario, comparison.target, comparison.seed);
    let start_up = &comparison.start_up_ms;
    if let (Some(real), Some(simulated)) = (start_up.real, start_up.simulated) {
        let _ = writeln!(out, "server       listens {real:.0} ms after its start on real sockets, {simulated:.0} ms in the model");
    }
    let lag = &comparison.client_lag_ms;
    if let (Some(real), Some(simulated)) = (lag.real, lag.simulated) {
        let _ = writeln!(out, "clients      an attempt after a wait needs {real:.1} ms of machine time, {simulated:.1} ms in the model");
    }
    out += "\n                                KS  shift ms   KS shifted   p50       p90       p99       attempts    over time\n";
    comparison.cohorts.iter().for_each(|cohort| out += &line(cohort));
    out += "\n";
    for cohort in &comparison.cohorts {
        out += &detail(cohort);
    }
    let limits = comparison.limits;
    let _ = writeln!(
        out,
        "\nlimits       quantiles within {} %, attempts within {} %, KS distance at most {} (for strategies without jitter, after a \
         shift of at most {} ms)",
        limits.quantile_percent, limits.attempts_percent, limits.ks, limits.shift_ms
    );
    let reasons = if comparison.reasons.is_empty() { String::new() } else { format!(": {}", comparison.reasons.join("; ")) };
    let _ = writeln!(out, "{}{reasons}", comparison.result.to_uppercase());
    out
}

fn line(cohort: &Compared) -> String {
    let mark = match cohort.result {
        "pass" => "✓",
        "fail" => "✗",
        _ => "–",
    };
    let name: String = cohort.cohort.chars().take(24).collect();
    let quantiles: String = cohort.quantiles.iter().map(|quantile| format!("{:<10}", percent(quantile))).collect();
    let shifted = if cohort.jitter { "–".to_owned() } else { format!("{:.3}", cohort.ks_shifted) };
    let shift = if cohort.jitter { "–".to_owned() } else { format!("{:+.1}", cohort.shift_ms) };
    format!(
        "{mark} {name:<24} {:>8.3} {shift:>9} {shifted:>12}   {quantiles}{:<12}{:.3}\n",
        cohort.ks,
        format!("{:+.1} %", cohort.attempts_error_percent),
        cohort.attempts_ks
    )
}

fn percent(quantile: &QuantilePair) -> String {
    quantile.error_percent.map_or_else(|| "n/a".to_owned(), |error| format!("{error:+.1} %"))
}

fn detail(cohort: &Compared) -> String {
    let seconds = |us: Option<u64>| us.map_or_else(|| "not reached".to_owned(), |us| format!("{:.3} s", us as f64 / 1e6));
    let quantiles: Vec<String> = cohort
        .quantiles
        .iter()
        .map(|one| format!("p{:.0} {} / {}", one.quantile * 100.0, seconds(one.time_us.real), seconds(one.time_us.simulated)))
        .collect();
    let codes = |codes: &std::collections::BTreeMap<String, u64>| {
        let all: Vec<_> = codes.iter().map(|(code, count)| format!("{code} × {count}")).collect();
        if all.is_empty() { "none".to_owned() } else { all.join(", ") }
    };
    format!(
        "  {}: back {} of {} / {} of {} · {} · attempts {} / {} · closes {} / {}\n",
        cohort.cohort,
        cohort.recovered.real,
        cohort.outages.real,
        cohort.recovered.simulated,
        cohort.outages.simulated,
        quantiles.join(" · "),
        cohort.attempts.real,
        cohort.attempts.simulated,
        codes(&cohort.close_codes.real),
        codes(&cohort.close_codes.simulated)
    )
}
