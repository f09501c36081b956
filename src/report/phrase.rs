//! How results are put into words: marks of verdicts, quantiles that were not reached, codes with their names.

use crate::close;
use crate::metrics::latency::Times;
use crate::metrics::latency::needed;
use crate::metrics::lateness::LATE_SHARE;
use crate::metrics::meta::SeenFrom;
use crate::number;
use crate::results::record::{AnswerRow, ExpectationRow, Generator, Messages, Reconnect, Summary};
use crate::units::{Rate, Ratio, parse_duration};

/// ✓, ✗ or ? for `pass`, `fail` and everything else; nothing for `unchecked`.
pub(super) fn mark(result: &str) -> &'static str {
    match result {
        "pass" => "✓",
        "fail" => "✗",
        "unchecked" => "",
        _ => "?",
    }
}

/// What an expectation observed, or in a few words why there is nothing: not reached is not the same as no data. The verdict's
/// reasons say more.
pub(super) fn observed(row: &ExpectationRow) -> String {
    let shown = |value| match limit(row) {
        Some(limit) => number::observed_beside(value, limit, &row.unit),
        None => number::observed(value, &row.unit),
    };
    match (row.observed, &row.note) {
        (Some(value), Some(note)) => format!("{} ({note})", shown(value)),
        (Some(value), None) => shown(value),
        (None, Some(note)) => note.split(": ").next().unwrap_or(note).to_string(),
        (None, None) => "not reached or no data".to_string(),
    }
}

/// The limit of an expectation as it was written, in the unit of its row; `None` of sizes in bytes.
fn limit(row: &ExpectationRow) -> Option<f64> {
    let written = row.text.rsplit(['<', '>', '=']).next()?.trim();
    match row.unit.as_str() {
        "us" => parse_duration(written).ok().map(|time| time.as_nanos() as f64 / 1e3),
        "percent" => written.parse::<Ratio>().ok().map(|share| share.0 * 100.0),
        "per_s" => written.parse::<Rate>().ok().map(|rate| rate.0),
        _ => written.parse().ok(),
    }
}

/// p50, p90, p99 and max of the time to reconnect; what was not reached says so, with the longest time that was observed.
pub(super) fn reconnect_quantiles(reconnect: &Reconnect, measured_ms: u64) -> [String; 4] {
    let times = &reconnect.time_us;
    // Results written by others may not say how long they looked.
    let observed_us = reconnect.observed_us.unwrap_or(measured_ms * 1000);
    let one = |value: Option<u64>, quantile: f64| match value {
        Some(us) => number::time(us),
        None if reconnect.affected == 0 => "—".to_string(),
        // Who gave up never returns.
        None if times.never as f64 > (1.0 - quantile) * reconnect.affected as f64 => "never".to_string(),
        None if (reconnect.recovered as f64) < quantile * reconnect.affected as f64 => not_reached(observed_us),
        None => lacking(quantile, reconnect.affected),
    };
    let max = if reconnect.recovered < reconnect.affected { None } else { times.max };
    [one(times.p50, 0.5), one(times.p90, 0.9), one(times.p99, 0.99), one(max, 1.0)]
}

/// The phases of an outage of which there is something to tell, in their order: of the detection also that it was not observed. Attempts
/// go on until the client is ready.
pub(super) fn phases(reconnect: &Reconnect, simulated: bool) -> impl Iterator<Item = (&'static str, &Times)> {
    let all = [("detection", &reconnect.detect_us), ("backoff", &reconnect.backoff_us), ("attempts", &reconnect.attempt_us)];
    let not_observed = move |phase: &str, times: &Times| phase == "detection" && times.count == 0 && !simulated;
    all.into_iter().filter(move |(phase, times)| is_told(times, simulated) || not_observed(phase, times))
}

/// Whether there is something to tell: samples, and of a simulated run other times than none, which only say that nothing was modelled.
pub(super) fn is_told(times: &Times, simulated: bool) -> bool {
    times.count > 0 && !(simulated && times.max == Some(0))
}

/// Round trips that may stand in one line: those of all cohorts where they say the same, otherwise those of each. Empty where there are
/// none to tell.
pub(super) fn round_trips(summary: &Summary) -> Vec<(Option<&str>, &Messages)> {
    let is_told = |messages: &Messages| is_told(&messages.rtt_us, summary.simulated);
    let with: Vec<_> = summary.cohorts.iter().filter(|(_, cohort)| cohort.messages.rtt_us.count > 0).collect();
    let same = with.windows(2).all(|pair| pair[0].1.traffic == pair[1].1.traffic);
    if same {
        return Some((None, &summary.messages)).filter(|(_, messages)| is_told(messages)).into_iter().collect();
    }
    with.into_iter().filter(|(_, cohort)| is_told(&cohort.messages)).map(|(name, cohort)| (Some(name.as_str()), &cohort.messages)).collect()
}

/// The quantiles of a distribution in a line: those that its samples give, and how many there are.
pub(super) fn line(times: &Times) -> String {
    let named = ["p50", "p90", "p99", "max"].into_iter().zip(quantiles(times));
    let mut parts: Vec<String> = named.filter(|(_, text)| !text.starts_with("n/a")).map(|(name, text)| format!("{name} {text}")).collect();
    parts.push(format!("n = {}", samples(times)));
    parts.join(" · ")
}

/// `not reached in 30 s`.
fn not_reached(observed_us: u64) -> String {
    format!("not reached in {}", number::time(observed_us))
}

/// Why a quantile is not stated: `n/a (needs 299)` where there are fewer samples.
pub(super) fn lacking(quantile: f64, samples: u64) -> String {
    let needed = if quantile < 1.0 { needed(quantile) } else { 1 };
    if samples < needed { format!("n/a (needs {})", number::count(needed)) } else { "n/a".to_string() }
}

/// p50, p90, p99 and max of a distribution.
pub(super) fn quantiles(times: &Times) -> [String; 4] {
    [(times.p50, 0.5), (times.p90, 0.9), (times.p99, 0.99), (times.max, 1.0)].map(|(value, quantile)| stated(times, value, quantile))
}

/// Of a phase of outages: n/a where nothing was observed of it, as of the detection of what a server that is not embedded did.
pub(super) fn phase_quantiles(times: &Times) -> [String; 4] {
    if times.count == 0 { ["n/a"; 4].map(str::to_string) } else { quantiles(times) }
}

/// An answer other than 101: `429 (Retry-After 3 s)`.
pub(super) fn answer(row: &AnswerRow) -> String {
    let after = row.retry_after_s.map(|s| format!("Retry-After {s} s"));
    let told: Vec<String> = after.into_iter().chain(row.location.as_ref().map(|location| format!("Location {location}"))).collect();
    if told.is_empty() { row.status.to_string() } else { format!("{} ({})", row.status, told.join(", ")) }
}

/// A quantile; `> 2 s` where it was not reached.
pub(super) fn stated(times: &Times, value: Option<u64>, quantile: f64) -> String {
    match (value, times.observed) {
        (None, Some(us)) if times.censored > 0 && (quantile >= 1.0 || times.count >= needed(quantile)) => format!("> {}", number::time(us)),
        (None, _) if times.count > 0 => lacking(quantile, times.count),
        _ => dash(value),
    }
}

/// How many there were, and how many of them did not end.
pub(super) fn samples(times: &Times) -> String {
    match times.censored {
        0 => number::count(times.count),
        cut => format!("{}, {} unfinished", number::count(times.count), number::count(cut)),
    }
}

/// A time, or a dash where there is none.
pub(super) fn dash(us: Option<u64>) -> String {
    us.map_or_else(|| "—".to_string(), number::time)
}

/// `1006 abnormal closure`.
pub(super) fn code(code: u16) -> String {
    format!("{code} {}", close::name(code))
}

/// A status code on the wire: the number, `empty` for an empty Close frame, a dash for none.
pub(super) fn wire(code: Option<u16>) -> String {
    match code {
        Some(close::NO_STATUS) => "empty".to_string(),
        Some(code) => code.to_string(),
        None => "—".to_string(),
    }
}

/// Where the clients were, and where they are real ones, who saw them.
pub(super) fn world(summary: &Summary) -> &'static str {
    match summary.seen_from {
        _ if summary.simulated => "simulated",
        SeenFrom::Client => "measured on real sockets",
        SeenFrom::Server => "real clients, as the server saw them",
        SeenFrom::Proxy => "real clients, as the proxy saw them",
    }
}

/// Yes or a dash.
pub(super) fn yes(value: bool) -> String {
    if value { "yes" } else { "—" }.to_string()
}

/// The same in a few words where there is nothing to heed.
pub(super) fn health_in_short(generator: &Generator) -> String {
    if generator.saturated || generator.late_share_max > LATE_SHARE {
        return health(generator);
    }
    let p99 = generator.lag_p99_us.filter(|us| *us > 0).map_or_else(String::new, |us| format!(" (p99 {} late)", number::time(us)));
    let memory = generator.bytes_per_client.map_or_else(String::new, |bytes| format!(" · {} a client", number::bytes(bytes)));
    format!("on time{p99} · {} s CPU · {}{memory}", number::quantity(generator.cpu_s), number::bytes(generator.rss_peak_bytes))
}

/// What the generator says of itself in one line.
pub(super) fn health(generator: &Generator) -> String {
    // What is judged comes first: a p99 of 388 ms is no lateness where the limits are tens of seconds.
    let after = generator.late_after_us.map_or_else(String::new, |us| format!(" by more than {}", number::time(us)));
    let worst = format!("worst second {} late{after}", number::percent(generator.late_share_max * 100.0));
    let p99 = generator.lag_p99_us.filter(|us| *us > 0).map_or_else(String::new, |us| format!(" (p99 {})", number::time(us)));
    let state = match (generator.saturated, generator.late_share_max > LATE_SHARE) {
        (true, _) => "saturated: the results are not reliable",
        (false, true) => "on time for the time limits in `expect`",
        (false, false) => "on time",
    };
    let mut parts = vec![format!("{state}: {worst}{p99}"), format!("{} s CPU", number::quantity(generator.cpu_s))];
    parts.push(format!("{} at the peak", number::bytes(generator.rss_peak_bytes)));
    if let Some(bytes) = generator.bytes_per_client {
        parts.push(format!("{} per client", number::bytes(bytes)));
    }
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_that_was_not_reached_is_never_a_number() {
        let mut reconnect = Reconnect { affected: 1000, recovered: 940, censored: 60, ..Reconnect::default() };
        reconnect.time_us = Times { p50: Some(2_310_000), p90: Some(9_000_000), max: Some(29_000_000), ..Times::default() };
        let expected = ["2.31 s", "9 s", "not reached in 30 s", "not reached in 30 s"];
        assert_eq!(reconnect_quantiles(&reconnect, 30_000), expected);
        // The last crash was 12 s before the end: nobody can have been away for longer.
        reconnect.observed_us = Some(12_000_000);
        assert_eq!(reconnect_quantiles(&reconnect, 30_000)[2], "not reached in 12 s");
        reconnect.time_us.never = 11;
        assert_eq!(reconnect_quantiles(&reconnect, 30_000)[1..3], ["9 s", "never"]);
        let times = Times { count: 1_000, censored: 12, observed: Some(2_000_000), p50: Some(10), p90: Some(20), ..Times::default() };
        assert_eq!(quantiles(&times), ["10 µs", "20 µs", "> 2 s", "> 2 s"]);
    }

    #[test]
    fn too_few_samples_are_told_from_not_reached() {
        let mut reconnect = Reconnect { affected: 10, recovered: 10, ..Reconnect::default() };
        reconnect.time_us = Times { p50: Some(10), max: Some(30), ..Times::default() };
        assert_eq!(reconnect_quantiles(&reconnect, 30_000), ["10 µs", "n/a (needs 29)", "n/a (needs 299)", "30 µs"]);
        assert_eq!(reconnect_quantiles(&Reconnect::default(), 30_000), ["—"; 4]);
    }

    #[test]
    fn wire_codes_tell_empty_from_none() {
        for (code, text) in [(Some(1000), "1000"), (Some(1005), "empty"), (None, "—")] {
            assert_eq!(wire(code), text);
        }
    }
}
