//! Text → [`Expectation`], or everything that is wrong with it.

mod labels;
mod words;

use super::{Expectation, Labels, Limit, METRICS, Metric, Names, OPS, Percentile, Problem, STATS, Stat};
use crate::units::{Bytes, Rate, Ratio, parse_duration};
use labels::labels;
use std::ops::Range;
use words::{MetricRow, scan, skip, word};

impl Expectation {
    /// Parses and checks a text; on failure everything that is wrong with it, in order.
    ///
    /// ```
    /// use closestorm::expect::{Expectation, Limit, Names};
    /// let names = Names { cohorts: &["web".to_owned()], ..Names::default() };
    /// let parsed = Expectation::parse("reconnect_time{cohort=web} p99 < 10s", names).unwrap();
    /// assert_eq!(parsed.limit, Limit::Micros(1e7));
    /// assert!(Expectation::parse("reconect_time p99 < 10s", names).unwrap_err()[0].help.contains("reconnect_time"));
    /// ```
    pub fn parse(text: &str, names: Names<'_>) -> Result<Expectation, Vec<Problem>> {
        Expectation::parse_as(text, names, false)
    }

    /// What is measured, as `reconnect_time{cohort=web} p99`, with or without a limit behind it. Without one it is to equal 0 of its unit.
    ///
    /// # Errors
    /// As [`parse`](Expectation::parse).
    ///
    /// ```
    /// use closestorm::expect::{Expectation, Names, Op};
    /// let parsed = Expectation::parse_measured("attempts peak", Names::default()).unwrap();
    /// assert_eq!((parsed.measured().as_str(), parsed.op), ("attempts peak", Op::Equal));
    /// assert_eq!(Expectation::parse_measured("attempts peak > 5/s", Names::default()).unwrap().op, Op::Greater);
    /// ```
    pub fn parse_measured(text: &str, names: Names<'_>) -> Result<Expectation, Vec<Problem>> {
        if OPS.iter().any(|(op, _)| text.contains(op)) {
            return Expectation::parse(text, names);
        }
        // Which unit fits, only metric and stat tell; what is wrong with them, every one of these complains of.
        let mut least: Option<Vec<Problem>> = None;
        for limit in ["0s", "0", "0%", "0/s", "0B/s"] {
            match Expectation::parse(&format!("{text} == {limit}"), names) {
                Ok(parsed) => return Ok(Expectation { text: parsed.measured(), ..parsed }),
                Err(problems) if least.as_ref().is_none_or(|least| problems.len() < least.len()) => least = Some(problems),
                Err(_) => {}
            }
        }
        Err(least.unwrap_or_default())
    }

    /// As [`parse`](Expectation::parse); `recorded`: of a run folder whose version allowed shares that say nothing.
    pub(crate) fn parse_as(text: &str, names: Names<'_>, recorded: bool) -> Result<Expectation, Vec<Problem>> {
        let mut problems = Vec::new();
        let parsed = TextParts::of(text).map_err(|problem| vec![problem])?;
        let metric =
            word(text, &parsed.metric, "metric", METRICS.iter().map(|row| (row.0, row))).map_err(|problem| problems.push(problem)).ok();
        let own = labels(text, &parsed.labels, metric, names, Labels::default(), &mut problems);
        let stat = stat(text, &parsed.stat, metric).map_err(|problem| problems.push(problem)).ok();
        let whole = parsed.whole.as_ref().map(|at| labels(text, at, metric, names, own.of_whole(), &mut problems));
        if let (Some(row), Some(stat), true) = (metric, stat, problems.is_empty() && !recorded) {
            let written = text[parsed.metric.start..parsed.stat.start].trim();
            let wrong = labels::share(written, row.1, &own, stat, whole.as_ref());
            problems.extend(wrong.map(|(found, help)| Problem { at: parsed.stat.clone(), found, help }));
            for (at, part) in std::iter::once((&parsed.labels, &own)).chain(parsed.whole.as_ref().zip(whole.as_ref())) {
                let wrong = labels::without_fault(row.1, part);
                problems.extend(wrong.map(|(found, help)| Problem { at: at.clone(), found, help }));
            }
            let wrong = labels::peak(row.1, &own, stat);
            problems.extend(wrong.map(|(found, help)| Problem { at: parsed.stat.clone(), found, help }));
        }
        let op = OPS.iter().find(|row| row.0 == &text[parsed.op.clone()]).map(|row| row.1);
        let limit =
            stat.map(|stat| limit(text, &parsed.limit, stat, metric.map(|row| row.1)).map_err(|problem| problems.push(problem)).ok());
        match (metric, stat, op, limit.flatten()) {
            (Some(row), Some(stat), Some(op), Some(limit)) if problems.is_empty() => {
                Ok(Expectation { text: text.trim().to_owned(), metric: row.1, labels: own, stat, whole, op, limit })
            }
            _ => Err(problems),
        }
    }
}

/// Byte ranges of the parts of a text.
struct TextParts {
    metric: Range<usize>,
    /// Between the braces, without them; empty where there are none.
    labels: Range<usize>,
    stat: Range<usize>,
    /// Between the braces behind `share_of`, without them; `None` behind any other stat.
    whole: Option<Range<usize>>,
    op: Range<usize>,
    limit: Range<usize>,
}

impl TextParts {
    fn of(text: &str) -> Result<TextParts, Problem> {
        let shape = |at: Range<usize>, found: &str| Problem {
            at,
            found: found.to_owned(),
            help: r#"an expectation reads `metric{label=value} stat op value`, as "reconnect_time{cohort=web} p99 < 10s""#.to_owned(),
        };
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let start = text.len() - text.trim_start().len();
        let metric = start..scan(text, start, is_name);
        if metric.is_empty() {
            return Err(shape(start..text.len(), "there is no metric"));
        }
        let mut next = metric.end;
        let braces = |from: usize| {
            let open = skip(text, from);
            if !text[open..].starts_with('{') {
                return Ok(None);
            }
            let length = text[open..].find('}').ok_or_else(|| shape(open..text.len(), "the brace is not closed"))?;
            Ok(Some(open + 1..open + length))
        };
        let mut labels = next..next;
        if let Some(inside) = braces(next)? {
            next = inside.end + 1;
            labels = inside;
        }
        let from = skip(text, next);
        let stat = from..scan(text, from, |c| is_name(c) || c == '.');
        if stat.is_empty() {
            return Err(shape(next.min(text.len())..text.len(), "there is no stat here"));
        }
        next = stat.end;
        let mut whole = None;
        if &text[stat.clone()] == "share_of" {
            let inside = braces(next)?.ok_or_else(|| Problem {
                at: stat.clone(),
                found: "`share_of` does not say of what".to_owned(),
                help: "write the labels of the whole in braces, as `share_of{}` for all of the same cohort and side".to_owned(),
            })?;
            next = inside.end + 1;
            whole = Some(inside);
        }
        let from = skip(text, next);
        let op = from..scan(text, from, |c| "<>=!".contains(c));
        if !OPS.iter().any(|row| row.0 == &text[op.clone()]) {
            let at = if op.is_empty() { from..text.len() } else { op };
            return Err(Problem { at, found: "there is no comparison here".to_owned(), help: "write < <= > >= == or !=".to_owned() });
        }
        let limit = skip(text, op.end)..text.trim_end().len();
        if limit.is_empty() {
            return Err(shape(op, "there is no value behind the comparison"));
        }
        Ok(TextParts { metric, labels, stat, whole, op, limit })
    }
}

fn stat(text: &str, at: &Range<usize>, metric: Option<&MetricRow>) -> Result<Stat, Problem> {
    // With an unknown metric every stat is allowed, so that only the metric is complained of.
    let fits = |stat: &Stat| metric.is_none_or(|row| row.2.contains(stat));
    let percentiles = metric.is_none_or(|row| row.1.is_distribution());
    if let Some(percentile) = Percentile::parse(&text[at.clone()]).filter(|_| percentiles) {
        return Ok(Stat::Percentile(percentile));
    }
    word(text, at, "stat", STATS.iter().filter(|row| fits(&row.1)).copied()).map_err(|mut problem| {
        if percentiles {
            problem.help += ", or a percentile above 0 and below 100, as p50, p95, p99.9";
        }
        problem
    })
}

fn limit(text: &str, at: &Range<usize>, stat: Stat, metric: Option<Metric>) -> Result<Limit, Problem> {
    let value = &text[at.clone()];
    let bytes = metric == Some(Metric::Bytes);
    let size = |text: &str| text.trim().parse::<Bytes>().map(|size| size.0).map_err(|error| (error.found, error.fix));
    let parsed = match stat {
        _ if metric == Some(Metric::MissedPerOutage) => match value.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(Limit::Number(number)),
            _ => Err((format!("`{value}` is not a number of messages"), "it has no unit, as `missed_per_outage p99 < 10`".to_owned())),
        },
        Stat::Count if bytes => size(value).map(Limit::Count),
        Stat::Rate | Stat::Peak if bytes => match value.split_once('/') {
            Some((amount, "s")) => size(amount).map(|size| Limit::PerSecond(size as f64)),
            _ => Err((format!("`{value}` is not a rate of bytes"), "write a size per second, as \"64KiB/s\"".to_owned())),
        },
        Stat::Count => value
            .parse()
            .map(Limit::Count)
            .map_err(|_| (format!("`{value}` is not a whole number"), "a count has no unit, as `count == 0`".to_owned())),
        Stat::Share | Stat::ShareOf => value.parse::<Ratio>().map(|share| Limit::Share(share.0)).map_err(|error| (error.found, error.fix)),
        Stat::Rate | Stat::Peak => value.parse::<Rate>().map(|rate| Limit::PerSecond(rate.0)).map_err(|error| (error.found, error.fix)),
        _ => parse_duration(value).map(|time| Limit::Micros(time.as_nanos() as f64 / 1e3)).map_err(|error| (error.found, error.fix)),
    };
    parsed.map_err(|(found, help)| Problem { at: at.clone(), found, help })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::close::TcpEnd;
    use crate::expect::{Dir, Op, OutcomeLabel, WireLabel};
    use crate::fault::Side;
    use std::time::Duration;

    fn parse(text: &str) -> Result<Expectation, Vec<Problem>> {
        let (cohorts, faults) = (["web".to_owned()], ["server_crash-1".to_owned()]);
        Expectation::parse(text, Names { cohorts: &cohorts, faults: &faults, ..Names::default() })
    }

    #[test]
    fn expectations_of_the_contract_parse() {
        let plain = Labels::default();
        let stat = |text| Stat::Percentile(Percentile::parse(text).unwrap());
        for (text, metric, labels, stat, op, limit) in [
            (
                "reconnect_time{from=10s,to=1m 40s} p99 < 5s",
                Metric::ReconnectTime,
                Labels { from: Some(Duration::from_secs(10)), to: Some(Duration::from_secs(100)), ..plain.clone() },
                stat("p99"),
                Op::Less,
                Limit::Micros(5e6),
            ),
            (
                "attempts{status=429} rate < 5/s",
                Metric::Attempts,
                Labels { status: Some(429), ..plain.clone() },
                Stat::Rate,
                Op::Less,
                Limit::PerSecond(5.0),
            ),
            (
                "bytes{dir=sent} rate < 64KiB/s",
                Metric::Bytes,
                Labels { dir: Some(Dir::Sent), ..plain.clone() },
                Stat::Rate,
                Op::Less,
                Limit::PerSecond(65_536.0),
            ),
            ("bytes count > 1MB", Metric::Bytes, plain.clone(), Stat::Count, Op::Greater, Limit::Count(1_000_000)),
            ("reconnect_time p99 < 10s", Metric::ReconnectTime, plain.clone(), stat("p99"), Op::Less, Limit::Micros(1e7)),
            ("clients_lost count == 0", Metric::ClientsLost, plain.clone(), Stat::Count, Op::Equal, Limit::Count(0)),
            ("missed_per_outage p99 < 10", Metric::MissedPerOutage, plain.clone(), stat("p99"), Op::Less, Limit::Number(10.0)),
            (
                "missed_per_outage{cohort=web,fault=server_crash-1} mean <= 0.5",
                Metric::MissedPerOutage,
                Labels { cohort: Some("web".to_owned()), fault: Some("server_crash-1".to_owned()), ..plain.clone() },
                Stat::Mean,
                Op::AtMost,
                Limit::Number(0.5),
            ),
            (
                "closes{reported=1006} share > 99%",
                Metric::Closes,
                Labels { reported: Some(1006), ..plain.clone() },
                Stat::Share,
                Op::Greater,
                Limit::Share(0.99),
            ),
            ("attempts peak < 2500/s", Metric::Attempts, plain.clone(), Stat::Peak, Op::Less, Limit::PerSecond(2500.0)),
            (
                " closes { side=server, wire=none ,tcp_end=rst,clean=false,cause=deadline:pong} count>=1 ",
                Metric::Closes,
                Labels {
                    side: Side::Server,
                    wire: Some(WireLabel::Nothing),
                    tcp_end: Some(TcpEnd::Rst),
                    clean: Some(false),
                    cause: Some("deadline:pong".to_owned()),
                    ..plain.clone()
                },
                Stat::Count,
                Op::AtLeast,
                Limit::Count(1),
            ),
            (
                "messages{outcome=missed,cohort=web,fault=server_crash-1} rate != 30/min",
                Metric::Messages,
                Labels {
                    outcome: Some(OutcomeLabel::Missed),
                    cohort: Some("web".to_owned()),
                    fault: Some("server_crash-1".to_owned()),
                    ..plain.clone()
                },
                Stat::Rate,
                Op::NotEqual,
                Limit::PerSecond(0.5),
            ),
        ] {
            let expected = Expectation { text: text.trim().to_owned(), metric, labels, stat, whole: None, op, limit };
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn any_percentile_is_a_stat() {
        let table =
            [("p50", 0.5, "p50"), ("p95", 0.95, "p95"), ("p99.9", 0.999, "p99.9"), ("p999", 0.999, "p99.9"), ("p0.1", 0.001, "p0.1")];
        for (text, quantile, shown) in table.into_iter().chain([("p90.0", 0.9, "p90"), ("p099", 0.99, "p99")]) {
            let parsed = Percentile::parse(text).unwrap();
            assert_eq!((parsed.quantile(), parsed.to_string().as_str()), (quantile, shown), "{text}");
        }
        for text in ["p", "p0", "p0.0", "p100", "p100.0", "p.5", "p5.", "p5.55", "p+5", "p998", "p6553.9", "p99999999", "50", "px"] {
            assert_eq!(Percentile::parse(text), None, "{text}");
        }
    }

    #[test]
    fn problems_say_where_and_what_is_allowed() {
        for (text, part, found, help) in [
            ("reconect_time p99 < 10s", "reconect_time", "unknown metric", "did you mean `reconnect_time`?"),
            ("reconnect_time p95.55 < 10s", "p95.55", "unknown stat", "p99.9"),
            ("reconnect_time p0 < 10s", "p0", "unknown stat", "above 0 and below 100"),
            ("reconnect_time p100 < 10s", "p100", "unknown stat", "above 0 and below 100"),
            ("reconnect_time p9O < 10s", "p9O", "unknown stat", "above 0 and below 100"),
            ("reconnect_time count < 10", "count", "unknown stat", "one of: min"),
            ("attempts p99 < 1s", "p99", "unknown stat", "one of: count, share"),
            ("reconnect_time p99 < 10", "10", "10 has no unit", "\"10s\""),
            ("attempts peak < 2500", "2500", "no unit", "\"2500/s\""),
            ("missed_per_outage p99 < 10s", "10s", "not a number of messages", "no unit"),
            ("missed_per_outage max < -1", "-1", "not a number of messages", "no unit"),
            ("missed_per_outage count < 1", "count", "unknown stat", "p99.9"),
            ("missed_per_outage{from=1s} max < 1", "from", "unknown label", "one of: cohort, fault"),
            ("closes{reported=1006} share > 0.99", "0.99", "no unit", "\"0.99%\""),
            ("clients_lost count == 0s", "0s", "not a whole number", "has no unit"),
            ("attempts{reported=1006} count > 1", "reported", "unknown label", "one of: cohort, fault, from, to, outcome, status"),
            ("attempts{cohort=wep} count > 1", "wep", "unknown cohort", "did you mean `web`?"),
            ("closes{fault=server_crash} count > 1", "server_crash", "unknown fault", "server_crash-1"),
            ("closes{cause=pong} count > 1", "pong", "unknown cause", "deadline:pong"),
            ("closes{reported=abc} count > 1", "abc", "not a status code", "65535"),
            ("closes{clean} count > 1", "clean", "not a label", "name=value"),
            ("closes{clean=true,clean=true} count > 1", "clean=true", "given twice", "one value"),
            ("closes{clean=true count > 1", "{clean=true count > 1", "not closed", "metric{label=value}"),
            ("attempts{from=1500ms} count > 1", "1500ms", "not on a whole second", "from=2s"),
            ("attempts{from=20s,to=20s} count > 1", "from=20s,to=20s", "ends before it begins", "after `from`"),
            ("attempts{from=soon} count > 1", "soon", "not a duration", "1m 30s"),
            ("attempts{status=99} count > 1", "99", "not an HTTP status", "429"),
            ("attempts{status=429,outcome=refused} count > 1", "status=429,outcome=refused", "no HTTP status", "outcome=rejected"),
            ("bytes{dir=up} count > 1B", "up", "unknown direction", "sent, received"),
            ("bytes rate < 5/s", "5/s", "has no unit", "KiB"),
            ("bytes rate < 5KiB", "5KiB", "not a rate of bytes", "64KiB/s"),
            ("closes{fault=server_crash-1} share > 40%", "share", "always be 100 %", "`closes{fault=server_crash-1} share_of{}`"),
            ("closes share > 40%", "share", "always be 100 %", "of what the share is, as `closes{reported=…} share`"),
            ("attempts{cohort=web,from=2s} share > 40%", "share", "always be 100 %", "`attempts{outcome=…} share`"),
            ("messages{outcome=due} share > 40%", "share", "always be 100 %", "messages{outcome=…} share"),
            ("messages{outcome=received} share > 4%", "share", "not a part of those that were due", "share_of{outcome=sent}"),
            ("attempts{cohort=web} share_of{} > 40%", "share_of", "always be 100 %", "`attempts{outcome=…} share_of`"),
            ("bytes{fault=server_crash-1} count < 1B", "fault=server_crash-1", "not counted by fault", "cohort, from, to, dir"),
            ("http_requests{fault=server_crash-1} count == 0", "fault=server_crash-1", "not counted by fault", "cohort, from, to, status"),
            ("errors{fault=server_crash-1} count == 0", "fault=server_crash-1", "not counted by fault", "cohort, from, to, name"),
            ("messages{fault=server_crash-1} count == 0", "fault=server_crash-1", "outcome=due are not counted by fault", "outcome=missed"),
            (
                "messages{outcome=duplicated,fault=server_crash-1} count == 0",
                "outcome=duplicated,fault=server_crash-1",
                "not counted by fault",
                "outcome=missed",
            ),
            (
                "messages{outcome=missed} share_of{outcome=sent,fault=server_crash-1} < 1%",
                "outcome=sent,fault=server_crash-1",
                "not counted by fault",
                "outcome=missed",
            ),
            ("messages{outcome=missed} peak < 5/s", "peak", "may still come", "`count` or `rate`"),
            ("attempts share_of > 40%", "share_of", "does not say of what", "share_of{}"),
            ("attempts share_of{p=1} > 40%", "p", "unknown label", "outcome"),
            ("attempts peak 2500/s", "2500/s", "no comparison", "<="),
            ("attempts peak <", "<", "no value", "metric{label"),
        ] {
            let problems = parse(text).expect_err(text);
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert_eq!(&text[problems[0].at.clone()], part, "{text}");
            assert!(problems[0].found.contains(found), "{text}: {}", problems[0].found);
            assert!(problems[0].help.contains(help), "{text}: {}", problems[0].help);
        }
        assert_eq!(parse("closes{side=proxy,tcp_end=x} rate < 5").unwrap_err().len(), 3, "all problems of a text at once");
        assert_eq!(parse("").unwrap_err().len(), 1);
    }

    #[test]
    fn another_whole_keeps_cohort_side_and_window_unless_it_says_so() {
        let whole = |text: &str| parse(text).unwrap().whole.unwrap();
        let of_cohort =
            Labels { cohort: Some("web".to_owned()), side: Side::Server, from: Some(Duration::from_secs(1)), ..Labels::default() };
        assert_eq!(whole("closes{cohort=web,fault=server_crash-1,side=server,from=1s,reported=1006} share_of{} > 40%"), of_cohort);
        let rejected = Labels { outcome: Some(OutcomeLabel::Rejected), ..Labels::default() };
        assert_eq!(whole("attempts{status=429} share_of { outcome=rejected } > 4%"), rejected);
        assert_eq!(parse("attempts{cohort=web} share > 4%").unwrap_err()[0].at, 21..26);
        assert!(parse("clients_lost share < 4%").is_ok(), "of the clients in the plan");
        for outcome in ["missed", "recovered"] {
            assert!(parse(&format!("messages{{outcome={outcome},fault=server_crash-1}} count == 0")).is_ok(), "{outcome}");
        }
        let names = Names::default();
        assert!(Expectation::parse_as("closes share > 4%", names, true).is_ok(), "an older folder is judged as before");
        let bytes = "bytes{fault=server_crash-1} count < 1B";
        assert!(Expectation::parse_as(bytes, Names { faults: &["server_crash-1".to_owned()], ..names }, true).is_ok());
    }
}
