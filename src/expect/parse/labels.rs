//! The labels of an expectation, and whether a share of them says anything.

use super::words::{MetricRow, skip, word};
use crate::close::TlsEnd;
use crate::expect::{
    ATTEMPT_OUTCOMES, CAUSES, DIRS, Labels, MESSAGE_OUTCOMES, METRICS, Metric, Names, OutcomeLabel, Problem, Stat, TCP_ENDS, WireLabel,
};
use crate::fault::Side;
use crate::units::{parse_duration, print_duration};
use std::ops::Range;
use std::time::Duration;

/// Labels of every metric.
const COMMON: [&str; 4] = ["cohort", "fault", "from", "to"];

/// `labels` with those at `at`; adds what is wrong with them to `problems`.
pub(super) fn labels(
    text: &str,
    at: &Range<usize>,
    metric: Option<&MetricRow>,
    names: Names<'_>,
    mut labels: Labels,
    problems: &mut Vec<Problem>,
) -> Labels {
    let mut seen: Vec<&str> = Vec::new();
    let before = problems.len();
    let mut from = at.start;
    while from < at.end {
        let end = text[from..at.end].find(',').map_or(at.end, |length| from + length);
        let start = skip(text, from).min(end);
        let pair = start..start + text[start..end].trim_end().len();
        from = end + 1;
        let Some((name, _)) = text[pair.clone()].split_once('=') else {
            problems.push(Problem {
                at: pair,
                found: "not a label".to_owned(),
                help: "labels read `name=value`, separated by commas".to_owned(),
            });
            continue;
        };
        let (name_at, value_at) = (pair.start..pair.start + name.len(), pair.start + name.len() + 1..pair.end);
        let common = COMMON.into_iter().filter(|name| metric.is_none_or(|row| row.1.has_windows()) || !["from", "to"].contains(name));
        let allowed = common.chain(metric.map_or(&[][..], |row| row.3).iter().copied());
        if metric.is_none() {
            continue;
        }
        let result = word(text, &name_at, "label", allowed.map(|name| (name, name))).and_then(|name| {
            if seen.contains(&name) {
                let found = format!("label `{name}` is given twice");
                return Err(Problem { at: pair.clone(), found, help: "one value for each label".to_owned() });
            }
            seen.push(name);
            label(text, name, &value_at, metric.map(|row| row.1), names, &mut labels)
        });
        problems.extend(result.err());
    }
    if problems.len() == before {
        problems.extend(together(at, &labels));
    }
    labels
}

fn label(text: &str, name: &str, at: &Range<usize>, metric: Option<Metric>, names: Names<'_>, labels: &mut Labels) -> Result<(), Problem> {
    fn own(list: &[String]) -> impl Iterator<Item = (&str, String)> + Clone {
        list.iter().map(|name| (name.as_str(), name.clone()))
    }
    match name {
        "cohort" => labels.cohort = Some(word(text, at, "cohort", own(names.cohorts))?),
        "fault" => labels.fault = Some(word(text, at, "fault", own(names.faults))?),
        "from" => labels.from = Some(edge(text, at, "from")?),
        "to" => labels.to = Some(edge(text, at, "to")?),
        "outcome" => {
            let outcomes = if metric == Some(Metric::Messages) { MESSAGE_OUTCOMES } else { ATTEMPT_OUTCOMES };
            labels.outcome = Some(word(text, at, "outcome", outcomes.iter().copied())?);
        }
        "name" => labels.name = Some(word(text, at, "name of an error", own(names.errors))?),
        "status" => labels.status = Some(status(text, at)?),
        "dir" => labels.dir = Some(word(text, at, "direction", DIRS.iter().copied())?),
        "reported" => labels.reported = Some(code(text, at)?),
        "wire" if text[at.clone()].trim() == "none" => labels.wire = Some(WireLabel::Nothing),
        "wire" => labels.wire = Some(WireLabel::Code(code(text, at)?)),
        "side" => labels.side = word(text, at, "side", Side::WORDS.into_iter())?,
        "cause" => {
            let known = CAUSES.iter().map(|cause| (*cause, (*cause).to_owned()));
            labels.cause = Some(word(text, at, "cause", known.chain(own(names.faults)).chain(own(names.causes)))?);
        }
        "tcp_end" => labels.tcp_end = Some(word(text, at, "end of TCP", TCP_ENDS.iter().copied())?),
        "tls_end" => {
            let ends: Vec<_> = TlsEnd::named().map(|end| (end.to_string(), end)).collect();
            labels.tls_end = Some(word(text, at, "end of TLS", ends.iter().map(|(name, end)| (name.as_str(), *end)))?);
        }
        "resumed" => labels.resumed = Some(word(text, at, "value of `resumed`", [("true", true), ("false", false)].into_iter())?),
        _ => labels.clean = Some(word(text, at, "value of `clean`", [("true", true), ("false", false)].into_iter())?),
    }
    Ok(())
}

/// What is wrong with labels that are right one by one.
fn together(at: &Range<usize>, labels: &Labels) -> Option<Problem> {
    let problem = |found: &str, help: &str| Some(Problem { at: at.clone(), found: found.to_owned(), help: help.to_owned() });
    if labels.from.zip(labels.to).is_some_and(|(from, to)| to <= from) {
        return problem("the window ends before it begins", "`to` is an offset in the run after `from`");
    }
    if labels.status.is_some() && labels.outcome.is_some_and(|outcome| outcome != OutcomeLabel::Rejected) {
        return problem("an attempt with this outcome has no HTTP status", "leave `outcome` out, or write `outcome=rejected`");
    }
    None
}

/// An edge of a window.
fn edge(text: &str, at: &Range<usize>, name: &str) -> Result<Duration, Problem> {
    let found = parse_duration(&text[at.clone()]).map_err(|error| Problem { at: at.clone(), found: error.found, help: error.fix })?;
    if found.subsec_nanos() == 0 {
        return Ok(found);
    }
    let next = print_duration(Duration::from_secs(found.as_secs() + 1));
    let help = format!("a window begins and ends on whole seconds, as `{name}={next}`");
    Err(Problem { at: at.clone(), found: format!("`{}` is not on a whole second", text[at.clone()].trim()), help })
}

fn status(text: &str, at: &Range<usize>) -> Result<u16, Problem> {
    let found = text[at.clone()].trim();
    found.parse().ok().filter(|status| (100..1000).contains(status)).ok_or_else(|| Problem {
        at: at.clone(),
        found: format!("`{found}` is not an HTTP status"),
        help: "a number of three digits, as `status=429`".to_owned(),
    })
}

fn code(text: &str, at: &Range<usize>) -> Result<u16, Problem> {
    let found = text[at.clone()].trim();
    found.parse().map_err(|_| Problem {
        at: at.clone(),
        found: format!("`{found}` is not a status code"),
        help: "a number from 0 to 65535; on the wire also `none`, for no Close frame".to_owned(),
    })
}

/// What is wrong with a fault of what is never counted by fault: it would always be 0.
pub(super) fn without_fault(metric: Metric, part: &Labels) -> Option<(String, String)> {
    if part.fault.is_none() || metric.is_by_fault(part.outcome) {
        return None;
    }
    let help = match metric {
        Metric::Messages => "leave `fault` out; of messages only outcome=missed and recovered are counted by fault".to_owned(),
        _ => {
            let own = METRICS.iter().filter(|row| row.1 == metric).flat_map(|row| row.3);
            let allowed: Vec<&str> = COMMON.iter().chain(own).copied().filter(|name| *name != "fault").collect();
            format!("leave `fault` out; its labels are {}", allowed.join(", "))
        }
    };
    let found = match metric {
        Metric::Messages => format!("messages with outcome={} are not counted by fault", part.outcome.unwrap_or(OutcomeLabel::Due).name()),
        _ => format!("{} are not counted by fault", metric.name()),
    };
    Some((found, help))
}

/// What is wrong with a peak: what is missed at one moment may come later, and is then not counted any more; a peak cannot be taken back.
pub(super) fn peak(metric: Metric, part: &Labels, stat: Stat) -> Option<(String, String)> {
    let missed = (metric, stat, part.outcome) == (Metric::Messages, Stat::Peak, Some(OutcomeLabel::Missed));
    let found = "a message that is missed in one second may still come later, so there is no peak of them";
    missed.then(|| (found.to_owned(), "use `count` or `rate`, with `from` and `to` for a part of the run".to_owned()))
}

/// What is wrong with a share: a part that is its own whole, or none of it. `own` is the metric with its labels as written.
pub(super) fn share(own: &str, metric: Metric, part: &Labels, stat: Stat, whole: Option<&Labels>) -> Option<(String, String)> {
    let say = |found: &str, help: String| Some((found.to_owned(), help));
    let always = "this share would always be 100 %";
    let finer = format!("`{}{{{}=…}} {}`", metric.name(), first_label(metric), if stat == Stat::ShareOf { "share_of" } else { "share" });
    match (stat, whole) {
        (Stat::Share, _) if metric == Metric::Messages && part.outcome == Some(OutcomeLabel::Expected) => {
            say("messages expected are the whole of those missed", format!("write `{own} count`, or the share of `outcome=missed`"))
        }
        (Stat::Share, _) if metric == Metric::Messages && part.outcome == Some(OutcomeLabel::Received) => say(
            "messages received are not a part of those that were due",
            format!("name what to divide by, as `{own} share_of{{outcome=sent}}`"),
        ),
        (Stat::Share, _) if metric != Metric::ClientsLost && *part == part.whole(metric) => match part.fault {
            Some(_) => say(always, format!("to divide by those of all faults and of none write `{own} share_of{{}}`")),
            None => say(always, format!("say of what the share is, as {finer}")),
        },
        (Stat::ShareOf, Some(whole)) if part == whole => {
            say(always, format!("the part and the whole have the same labels; add one, as {finer}"))
        }
        _ => None,
    }
}

/// A label that makes a part of all.
fn first_label(metric: Metric) -> &'static str {
    match metric {
        Metric::Closes => "reported",
        Metric::Bytes => "dir",
        Metric::ClientsLost => "fault",
        Metric::HttpRequests => "status",
        Metric::Errors => "name",
        _ => "outcome",
    }
}
