//! `latency.hlog`, the interval log of all distributions, and `latency.hgrm`, the percentile table of one.
//!
//! Both are formats of the HdrHistogram project, so its viewers and its ports to other languages read them. A tag of the log is
//! `metric;cohort=<name>` or `metric;cohort=<name>;fault=<id>`, with `;from=<second>;to=<second>` where it has only what started in that
//! window, which an expectation names: such samples stand in the tag without window too. What the format does not allow in a tag is percent-encoded.
//! Adding up all lines of a tag gives the distribution over the whole run.

use crate::metrics::book::Results;
use crate::metrics::distributions::DistributionKey;
use crate::metrics::latency::Latency;
use crate::metrics::meta::RunMeta;
use crate::metrics::metric::TimeMetric;
use crate::metrics::survival::Survival;
use crate::metrics::watch::{Around, Window};
use base64::Engine as _;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Write};

/// Distributions that are read of one log; each takes 188 KB.
const MOST_TAGS: usize = 20_000;

/// The distribution of one metric, cohort and fault, as read from a run folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// Name of the metric, as `reconnect_time`.
    pub metric: String,
    /// Cohort.
    pub cohort: String,
    /// Id of the fault; `None` for none.
    pub fault: Option<String>,
    /// Only what started in it; `None` for all.
    pub window: Option<Window>,
    /// All samples of the run.
    pub latency: Latency,
    /// What lies around the limits that were expected, exactly.
    pub around: Vec<Around>,
}

impl Distribution {
    /// Adds its samples to the times of a metric, as those that ended, were cut or never end, if it has one of the three.
    pub fn add_to(&self, metric: &str, times: &mut Survival) {
        match self.metric.strip_prefix(metric) {
            Some("") => times.ended.add(&self.latency),
            Some("_censored") => times.censored.add(&self.latency),
            Some("_never") => times.never.add(&self.latency),
            _ => {}
        }
    }
}

/// Writes the interval log. `started` is the start of the run in seconds since 1970; offsets count from it.
pub fn write_log(out: &mut impl Write, results: &Results, started: f64) -> io::Result<()> {
    writeln!(out, "#[closestorm {}: {}, times in microseconds]", env!("CARGO_PKG_VERSION"), results.meta.name.replace('\n', " "))?;
    writeln!(out, "#[Histogram log format version 1.3]")?;
    writeln!(out, "#[StartTime: {started:.3} (seconds since epoch)]")?;
    writeln!(out, "#[MaxValueDivisor: 1000.000]")?;
    writeln!(out, "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"")?;
    results.bank.lines().into_iter().try_for_each(|(key, line)| write!(out, "Tag={},{line}", tag(&results.meta, key)))
}

/// All distributions of a log, each the sum of its intervals, by tag.
///
/// # Errors
/// `InvalidData` with what is wrong: the log does not parse, or an interval does not decode.
pub fn read_log(bytes: &[u8]) -> io::Result<Vec<Distribution>> {
    let mut sums: BTreeMap<String, Latency> = BTreeMap::new();
    for interval in intervals(bytes) {
        let (_, tag, latency) = interval?;
        if sums.len() == MOST_TAGS && !sums.contains_key(&tag) {
            return Err(wrong(format!("more than {MOST_TAGS} distributions")));
        }
        sums.entry(tag).or_default().add(&latency);
    }
    Ok(sums.into_iter().map(|(tag, latency)| parse_tag(&tag, latency)).collect())
}

/// The intervals of a log, each with its start in ms since that of the run, that belong to one of these metrics.
///
/// # Errors
/// As [`read_log`].
pub fn read_intervals(bytes: &[u8], metrics: &BTreeSet<String>) -> io::Result<Vec<(u64, Distribution)>> {
    let all = intervals(bytes).map(|interval| interval.map(|(start, tag, latency)| (start, parse_tag(&tag, latency))));
    all.filter(|interval| interval.as_ref().map_or(true, |(_, of)| metrics.contains(&of.metric))).collect()
}

/// Start in ms, tag and samples of each interval.
fn intervals(bytes: &[u8]) -> impl Iterator<Item = io::Result<(u64, String, Latency)>> + '_ {
    IntervalLogIterator::new(bytes).filter_map(|entry| {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Some(Err(wrong(format!("not an interval log: {error:?}")))),
        };
        let LogEntry::Interval(interval) = entry else { return None };
        let tag = interval.tag().map_or("", |tag| tag.as_str());
        let decoded = base64::engine::general_purpose::STANDARD.decode(interval.encoded_histogram());
        let decoded = decoded.map_err(|error| wrong(format!("interval of {tag}: {error}")));
        let latency = decoded.and_then(|bytes| {
            Latency::from_hdr(&bytes).ok_or_else(|| wrong(format!("interval of {tag}: not a histogram of this program")))
        });
        let start = interval.start_timestamp().as_millis() as u64;
        Some(latency.map(|latency| (start, tag.to_owned(), latency)))
    })
}

fn wrong(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The distributions of results, in the form in which they are read back.
pub fn distributions(results: &Results) -> Vec<Distribution> {
    let meta = &results.meta;
    let row = |(key, latency, around): (DistributionKey, &Latency, &[Around])| Distribution {
        metric: key.metric.name().to_owned(),
        cohort: meta.cohort(key.cohort),
        fault: key.fault.map(|fault| meta.fault(fault)),
        window: key.window,
        latency: latency.clone(),
        around: around.to_vec(),
    };
    results.bank.each_around().map(row).collect()
}

fn tag(meta: &RunMeta, key: DistributionKey) -> String {
    let cohort = escape(&meta.cohort(key.cohort));
    let fault = key.fault.map(|fault| format!(";fault={}", escape(&meta.fault(fault)))).unwrap_or_default();
    let edge = |name: &str, second: Option<u32>| second.map(|second| format!(";{name}={second}")).unwrap_or_default();
    let window = key.window.map(|window| edge("from", window.from) + &edge("to", window.to)).unwrap_or_default();
    format!("{};cohort={cohort}{fault}{window}", key.metric.name())
}

fn parse_tag(tag: &str, latency: Latency) -> Distribution {
    let mut parts = tag.split(';');
    let metric = match parts.next().unwrap_or_default() {
        // In folders of version 1.
        "reconnect_censored" => "reconnect_time_censored",
        metric => metric,
    };
    let mut distribution =
        Distribution { metric: metric.to_owned(), cohort: String::new(), fault: None, window: None, latency, around: Vec::new() };
    let (mut from, mut to) = (None, None);
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        match name {
            "cohort" => distribution.cohort = unescape(value),
            "fault" => distribution.fault = Some(unescape(value)),
            "from" => from = value.parse().ok(),
            "to" => to = value.parse().ok(),
            _ => {}
        }
    }
    distribution.window = from.or(to).map(|_| Window { from, to });
    distribution
}

/// Percent-encodes what a tag must not have: commas, blanks and line ends end it, semicolons and equals signs divide it.
fn escape(text: &str) -> String {
    let special = |c: char| matches!(c, ',' | ';' | '=' | '%') || c.is_whitespace() || c.is_control();
    text.chars().fold(String::new(), |mut out, c| {
        if special(c) {
            c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| {
                let _ = write!(out, "%{byte:02x}"); // writing to a String cannot fail
            });
        } else {
            out.push(c);
        }
        out
    })
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        match after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(b'%');
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Writes the percentile table of the first of round trips, reconnect times of outages that ended, and opening handshakes that has samples.
pub fn write_table(out: &mut impl Write, results: &Results) -> io::Result<()> {
    let shown = [TimeMetric::Rtt, TimeMetric::ReconnectTime, TimeMetric::OpeningHandshake];
    let (metric, latency) = shown
        .into_iter()
        .map(|metric| (metric, results.latency(metric)))
        .find(|(_, latency)| latency.count() > 0)
        .unwrap_or((TimeMetric::Rtt, Latency::new()));
    table(out, metric.name(), &latency)
}

/// The text form of HdrHistogram: value in ms, percentile as a quantile, count up to it, 1/(1 - quantile).
fn table(out: &mut impl Write, name: &str, latency: &Latency) -> io::Result<()> {
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut total = 0;
    for step in latency.histogram().iter_quantiles(5) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (step.value_iterated_to() as f64 / 1000.0, step.quantile_iterated_to());
        if quantile < 1.0 {
            writeln!(out, "{value:>12.3} {quantile:>14.12} {total:>10} {:>14.2}", 1.0 / (1.0 - quantile))?;
        } else {
            writeln!(out, "{value:>12.3} {quantile:>14.12} {total:>10}")?;
        }
    }
    let histogram = latency.histogram();
    let (mean, deviation) = (histogram.mean() / 1000.0, histogram.stdev() / 1000.0);
    writeln!(out, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]")?;
    let max = latency.max().unwrap_or(0) as f64 / 1000.0;
    writeln!(out, "#[Max     = {max:>12.3}, Total count    = {:>12}]", latency.count())?;
    writeln!(out, "#[Buckets = {:>12}, SubBuckets     = {:>12}]", histogram.buckets(), 2048)?;
    writeln!(out, "#[Metric  = {name}, in milliseconds]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_tag() {
        for name in ["web", "a, b;c=d%e", "über mich", "100%", "%zz", ""] {
            let escaped = escape(name);
            assert!(!escaped.contains([',', ' ', ';']), "{escaped}");
            assert_eq!(unescape(&escaped), name);
        }
        let parsed = parse_tag("detect;cohort=a%20b;fault=x", Latency::new());
        let windowed = |tag: &str| parse_tag(tag, Latency::new()).window;
        let window = |from, to| Some(Window { from, to });
        assert_eq!(windowed("rtt;cohort=web;from=10;to=40"), window(Some(10), Some(40)));
        assert_eq!((windowed("rtt;cohort=web;to=40"), windowed("rtt;cohort=web")), (window(None, Some(40)), None));
        assert_eq!((parsed.metric.as_str(), parsed.cohort.as_str(), parsed.fault.as_deref()), ("detect", "a b", Some("x")));
    }

    #[test]
    fn the_table_ends_at_one_and_counts_all() {
        let mut latency = Latency::new();
        (1..=1_000).for_each(|ms| latency.record(ms * 1_000));
        let mut text = Vec::new();
        table(&mut text, "rtt", &latency).unwrap();
        let text = String::from_utf8(text).unwrap();
        let last = text.lines().rfind(|line| !line.starts_with('#')).unwrap();
        assert_eq!(last.split_whitespace().skip(1).collect::<Vec<_>>(), ["1.000000000000", "1000"]);
        assert!(text.contains("#[Max     ="));
    }
}
