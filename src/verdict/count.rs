//! Counts: how many, which share, how often a second.

use super::finding::{Known, fits};
use crate::expect::{Expectation, Labels, Metric, OutcomeLabel as Became, Stat, WireLabel};
use crate::fault::Side;
use crate::metrics::meta::SeenFrom;
use crate::metrics::told_apart::{ALWAYS_KEPT, OTHER_CODE, kept};
use crate::number::word_of;
use crate::results::Evidence;
use crate::results::hlog::Distribution;
use crate::results::record::CountRow;
use crate::results::tables::LEFT;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Of attempts of real clients.
const NOT_REACHED: &str = "the clients are real ones: attempts that did not get through to whoever saw them are not known";
/// Of their connections.
const NOT_TOLD: &str = "connections died with their server, and nobody tells how";

/// Of what may have happened as often as it likes: so many that no limit is greater.
const ANY_NUMBER: f64 = f64::MAX;

/// What is known of a count.
pub(super) fn count(evidence: &Evidence, expectation: &Expectation) -> Known {
    let (metric, labels) = (expectation.metric, &expectation.labels);
    if let Some(why) = unseen(evidence, metric, labels) {
        return Known::Nothing(format!("no data: {why}"));
    }
    if labels.side == Side::Server && !tells(evidence, "server") && tells(evidence, "client") {
        return Known::Nothing(
            "no data: the server side was not recorded (server was killed, is not embedded, or did not notice)".to_owned(),
        );
    }
    if labels.fault.is_some() && !metric.is_by_fault(labels.outcome) {
        return Known::Nothing("no data: this is not counted by fault".to_owned());
    }
    let unknown = metric == Metric::Bytes || matches!(labels.outcome, Some(Became::Answered | Became::Unanswered));
    if evidence.first_version && unknown {
        return Known::Nothing("no data: a run folder with schema version 1 does not contain this".to_owned());
    }
    if let Some(row) = straddling(evidence, expectation) {
        let (from, to) = (row.second, row.second + row.width_s - 1);
        return Known::Nothing(format!(
            "no data: the run counted seconds {from} to {to} together, and the window begins or ends between them; run it again with this \
             expectation"
        ));
    }
    let seconds = window_s(evidence, labels);
    if metric == Metric::Attempts && labels.status.is_some_and(|status| !knows_status(evidence, status)) {
        return Known::Nothing(
            "no data: too many different HTTP statuses, some were counted together, and this may be one of them".to_owned(),
        );
    }
    let code = |code: u16| metric == Metric::Closes && !knows_code(evidence, code);
    let wire = |label| if let WireLabel::Code(code) = label { Some(code) } else { None };
    if labels.reported.is_some_and(code) || labels.wire.and_then(wire).is_some_and(code) {
        return Known::Nothing(
            "no data: too many different close codes, some were counted together, and this may be one of them".to_owned(),
        );
    }
    let count = total(evidence, metric, labels) as f64;
    if count == 0.0 && !evidence.has_counted(&labels.counted_as(metric)) {
        return Known::Nothing("no data: the version that made this run folder may not have counted this".to_owned());
    }
    // What never came is no pass; where something had to come, it is a failure.
    let passes = count == 0.0 && expectation.op.holds(count, expectation.limit.value());
    if let Some(why) = impossible(evidence, metric, labels).filter(|_| passes) {
        return Known::Nothing(format!("no data: {why}"));
    }
    let more = untold(evidence, metric, labels);
    let up_to = |seen: f64, most: f64| decided(evidence, expectation, seen, (seen, most));
    let share = |base: u64, more_base: f64| {
        if base == 0 {
            return Known::Nothing(format!("no data: there were no {}", metric.name()));
        }
        let base = base as f64;
        // What was not seen of a part was not seen of its whole either; a whole with other labels may have none of it.
        let grows = expectation.stat == Stat::Share && metric != Metric::ClientsLost;
        let most = (count + more) / if grows { base + more } else { base };
        decided(evidence, expectation, count / base, (count / (base + more_base), most))
    };
    let share_of = |whole: &Labels| share(total(evidence, metric, whole), untold(evidence, metric, whole));
    match expectation.stat {
        Stat::Share if metric == Metric::ClientsLost => share(planned(evidence, labels), 0.0),
        Stat::Share if evidence.first_version => share_of(&Labels { outcome: None, ..labels.whole(metric) }),
        Stat::Share => share_of(&labels.whole(metric)),
        Stat::ShareOf => match &expectation.whole {
            Some(whole) => share_of(whole),
            None => Known::Nothing("no data: the expectation does not say what the share is of".to_owned()),
        },
        Stat::Rate if seconds > 0.0 => up_to(count / seconds, (count + more) / seconds),
        Stat::Rate => Known::Nothing("no data: the run has no length".to_owned()),
        Stat::Peak if !evidence.first_version => match evidence.peaks.as_ref().map(|peaks| peaks.get(&expectation.counted())) {
            Some(Some(peak)) => up_to(*peak as f64, *peak as f64 + more),
            None => Known::Nothing("no data: peaks.csv is missing in the run folder".to_owned()),
            Some(None) => {
                Known::Nothing("no data: the run did not count this peak; add the expectation to the scenario and run it again".to_owned())
            }
        },
        Stat::Peak => {
            let mut by_second: BTreeMap<u32, u64> = BTreeMap::new();
            evidence.counts.iter().filter(|row| counts(row, metric, labels)).for_each(|row| {
                *by_second.entry(row.second).or_default() += row.count;
            });
            Known::Exactly(by_second.into_values().max().unwrap_or(0) as f64)
        }
        _ => up_to(count, count + more),
    }
}

/// Why this was not seen of real clients, in words.
fn unseen(evidence: &Evidence, metric: Metric, labels: &Labels) -> Option<&'static str> {
    let by_server = match evidence.seen_from {
        SeenFrom::Client => return None,
        SeenFrom::Server => true,
        SeenFrom::Proxy => false,
    };
    match (metric, labels.outcome) {
        (Metric::Attempts, Some(Became::Refused | Became::TimedOut | Became::Abandoned)) => Some(NOT_REACHED),
        (Metric::Closes, _) if by_server && labels.side == Side::Client => {
            Some("the clients are real ones: what they were told was not seen; side=server was")
        }
        (Metric::Attempts | Metric::Closes, _) => None,
        _ => Some("the clients are real ones: this was not seen of them"),
    }
}

/// What was seen, if the expectation comes to the same whatever happened between the least and the most that there may be.
fn decided(evidence: &Evidence, expectation: &Expectation, seen: f64, (least, most): (f64, f64)) -> Known {
    let limit = expectation.limit.value();
    let holds = |value| expectation.op.holds(value, limit);
    // Between the two only the limit itself can make a difference.
    let between = (least..=most).contains(&limit).then_some(limit);
    if [least, most].into_iter().chain(between).all(|value| holds(value) == holds(seen)) {
        return Known::Exactly(seen);
    }
    Known::Nothing(match expectation.metric {
        Metric::Attempts => format!("no data: {NOT_REACHED}"),
        // They are neither back nor given up.
        Metric::ClientsLost => {
            let (gave_up, away) = (total(evidence, Metric::ClientsLost, &expectation.labels), overdue(evidence, &expectation.labels));
            format!("{gave_up} gave up, but {}, for longer than any that came back: they may be lost", still(away))
        }
        _ => format!("no data: {NOT_TOLD}"),
    })
}

/// How many more of these there may have been than was seen, of real clients; and clients that are overdue at the end, who may be lost.
fn untold(evidence: &Evidence, metric: Metric, labels: &Labels) -> f64 {
    match (metric, labels.outcome) {
        (Metric::ClientsLost, _) => overdue(evidence, labels) as f64,
        _ if evidence.seen_from == SeenFrom::Client => 0.0,
        // What was opened or rejected had reached the server.
        (Metric::Attempts, None) if labels.status.is_some() => 0.0,
        (Metric::Attempts, None | Some(Became::Failed)) => ANY_NUMBER,
        (Metric::Closes, _) => {
            let of = |row: &&CountRow| row.metric == metric.name() && row.side.is_none() && belongs(row, labels);
            evidence.counts.iter().filter(of).filter(|row| fits(&labels.cause, row.cause.as_ref())).map(|row| row.count as f64).sum()
        }
        _ => 0.0,
    }
}

/// A row that has what started in a window of the expectation and outside of it.
fn straddling<'a>(evidence: &'a Evidence, expectation: &Expectation) -> Option<&'a CountRow> {
    let edges: Vec<u64> = expectation.windows().flat_map(|labels| [labels.from, labels.to]).flatten().map(|edge| edge.as_secs()).collect();
    let of = |row: &&CountRow| row.metric == expectation.metric.name() && edges.iter().any(|edge| row.straddles(*edge));
    evidence.counts.iter().find(of)
}

/// How much of the window was measured, or of the run, s.
fn window_s(evidence: &Evidence, labels: &Labels) -> f64 {
    let from = labels.from.map_or(0.0, |from| from.as_secs_f64());
    labels.to.map_or(evidence.measured_s, |to| to.as_secs_f64().min(evidence.measured_s)) - from
}

fn total(evidence: &Evidence, metric: Metric, labels: &Labels) -> u64 {
    evidence.counts.iter().filter(|row| counts(row, metric, labels)).map(|row| row.count).sum()
}

/// Why none of these could happen at all, in words: then a count of 0 says nothing. What could happen and did not is 0.
fn impossible(evidence: &Evidence, metric: Metric, labels: &Labels) -> Option<&'static str> {
    let of = |metric, outcome, (from, to): (Option<Duration>, Option<Duration>)| -> u64 {
        let labels = Labels { cohort: labels.cohort.clone(), outcome, from, to, ..Labels::default() };
        // What an interval has that the window cuts may all have been outside of it.
        let cut = |row: &CountRow| [from, to].into_iter().flatten().any(|edge| row.straddles(edge.as_secs()));
        evidence.counts.iter().filter(|row| counts(row, metric, &labels) && !cut(row)).map(|row| row.count).sum()
    };
    // What starts with it has the window of the expectation; what it only has to precede may have come earlier.
    let whole = |metric, outcome| of(metric, outcome, (labels.from, labels.to));
    let before = |metric, outcome| of(metric, outcome, (None, labels.to));
    let opened = || before(Metric::Attempts, Some(Became::Opened)) + before(Metric::Closes, None);
    let (possible, why) = match (metric, labels.outcome) {
        (Metric::Messages, _) if labels.is_of_stream() => (
            total(evidence, metric, &labels.whole(metric)),
            "no message with a number came; say where it stands by `sequence` of the cohort's dialogue",
        ),
        (Metric::Messages, Some(Became::Answered | Became::Error | Became::Lost | Became::Unanswered)) => {
            // Version 1 did not count those that were answered.
            let all = [Became::Answered, Became::Error, Became::Lost, Became::Unanswered];
            let all = if evidence.first_version { &[Became::Sent][..] } else { &all[..] };
            (all.iter().map(|outcome| whole(metric, Some(*outcome))).sum(), "no message that waits for a reply was sent")
        }
        (Metric::Messages, Some(Became::NotStarted)) => (whole(metric, None), "no message was due"),
        (Metric::Attempts, None) if labels.status.is_none() => return None,
        (Metric::Messages, _) => (opened() + whole(metric, None), "no connection opened"),
        (Metric::Closes | Metric::Errors | Metric::Bytes, _) => (opened(), "no connection opened"),
        (Metric::Attempts, _) => (whole(metric, None), "there was no attempt to connect"),
        (Metric::ClientsLost, _) => (before(Metric::Attempts, None), "there was no attempt to connect"),
        (Metric::HttpRequests, _) if labels.status.is_some() => (whole(metric, None), "there was no HTTP request before a connection"),
        (Metric::HttpRequests, _) => {
            (before(metric, None) + before(Metric::Attempts, None), "there was no attempt to connect, nor an HTTP request before one")
        }
        _ => return None,
    };
    (possible == 0).then_some(why)
}

/// The clients there are: of them the lost ones are a share.
fn planned(evidence: &Evidence, labels: &Labels) -> u64 {
    evidence.planned.iter().filter(|(cohort, _)| fits(&labels.cohort, Some(cohort))).map(|(_, clients)| clients).sum()
}

/// Lost are those that gave up. Others may be away too when the run ends, and a reader who sees none lost must not take them for back.
pub(super) fn still_away(evidence: &Evidence, labels: &Labels) -> Option<String> {
    match away_at_end(evidence, labels) {
        0 => None,
        away => Some(format!("gave up; {}", still(away).replacen(' ', " more ", 1))),
    }
}

fn still(away: u64) -> String {
    format!("{away} {} still disconnected at the end", word_of(away, "was", "were"))
}

/// Of those still away the ones that were so for twice as long as the longest outage of their cohort that ended: all, where none did. Where
/// faults go on to the end of a run, some clients are always on their way back.
fn overdue(evidence: &Evidence, labels: &Labels) -> u64 {
    let of_cohort = |cohort: &String| {
        let labels = Labels { cohort: Some(cohort.clone()), ..labels.clone() };
        let keep = |row: &Distribution| row.cohort == *cohort && fits(&labels.fault, row.fault.as_ref());
        let times = evidence.times("reconnect_time", None, keep);
        let longest = times.ended.max().unwrap_or(0);
        let long: u64 = times.censored.steps().filter(|(us, _)| *us >= 2 * longest).map(|(_, count)| count).sum();
        long.min(away_at_end(evidence, &labels))
    };
    let rows = evidence.distributions.iter().filter(|row| row.metric.starts_with("reconnect_time"));
    let cohorts: BTreeSet<&String> = rows.map(|row| &row.cohort).filter(|cohort| fits(&labels.cohort, Some(cohort))).collect();
    cohorts.into_iter().map(of_cohort).sum()
}

/// Outages that the end of the run cut, but for those of clients that left by plan.
fn away_at_end(evidence: &Evidence, labels: &Labels) -> u64 {
    // Of the whole run also where the expectation has a window: who was not lost in it may be away all the same.
    let keep = |row: &Distribution| fits(&labels.cohort, Some(&row.cohort)) && fits(&labels.fault, row.fault.as_ref());
    let cut = evidence.times("reconnect_time", None, keep).censored.count();
    let of = |row: &&CountRow| row.metric == LEFT && fits(&labels.cohort, Some(&row.cohort)) && fits(&labels.fault, row.fault.as_ref());
    let left: u64 = evidence.counts.iter().filter(of).map(|row| row.count).sum();
    cut.saturating_sub(left)
}

/// Whether attempts that were answered with this status are told apart from others, if there were any.
fn knows_status(evidence: &Evidence, status: u16) -> bool {
    let rejected = || evidence.counts.iter().filter(|row| row.metric == "attempts" && row.outcome.as_deref() == Some("rejected"));
    rejected().any(|row| row.status == Some(status)) || rejected().all(|row| row.status.is_some())
}

/// The same for connections that ended with this close code.
fn knows_code(evidence: &Evidence, code: u16) -> bool {
    let named = |code: u16| evidence.counts.iter().any(|row| row.reported == Some(code) || row.wire == Some(code));
    !named(OTHER_CODE) || code != OTHER_CODE && (named(code) || ALWAYS_KEPT.contains(&code) || evidence.counted.contains(&kept(code)))
}

/// Whether there is an account of this side at all.
fn tells(evidence: &Evidence, side: &str) -> bool {
    evidence.counts.iter().any(|row| row.side.as_deref() == Some(side))
}

/// Whether a row is of the cohort, fault and window of these labels.
fn belongs(row: &CountRow, labels: &Labels) -> bool {
    let second = u64::from(row.second);
    let in_window = labels.from.is_none_or(|from| second >= from.as_secs()) && labels.to.is_none_or(|to| second < to.as_secs());
    in_window && fits(&labels.cohort, Some(&row.cohort)) && fits(&labels.fault, row.fault.as_ref())
}

/// Whether a row counts for a metric with these labels.
fn counts(row: &CountRow, metric: Metric, labels: &Labels) -> bool {
    if row.metric != metric.name() || !belongs(row, labels) {
        return false;
    }
    let outcome = || labels.outcome.map(Became::name);
    match metric {
        Metric::Attempts => {
            let default = if labels.status.is_some() { "rejected" } else { "begun" };
            row.outcome.as_deref() == Some(outcome().unwrap_or(default)) && fits(&labels.status, row.status.as_ref())
        }
        Metric::Messages => row.outcome.as_deref() == Some(outcome().unwrap_or("due")),
        Metric::Bytes => fits(&labels.dir.map(|dir| dir.name().to_owned()), row.outcome.as_ref()),
        Metric::Closes => close_counts(row, labels),
        Metric::HttpRequests => fits(&labels.status, row.status.as_ref()),
        Metric::Errors => fits(&labels.name, row.outcome.as_ref()),
        _ => true,
    }
}

fn close_counts(row: &CountRow, labels: &Labels) -> bool {
    let side = labels.side.word();
    let wire = match labels.wire {
        None => true,
        Some(WireLabel::Nothing) => row.wire.is_none(),
        Some(WireLabel::Code(code)) => row.wire == Some(code),
    };
    row.side.as_deref() == Some(side)
        && wire
        && fits(&labels.reported, row.reported.as_ref())
        && fits(&labels.cause, row.cause.as_ref())
        && fits(&labels.tcp_end.map(|end| end.to_string()), row.tcp_end.as_ref())
        && fits(&labels.tls_end.map(|end| end.to_string()), row.tls_end.as_ref())
        && fits(&labels.clean, row.clean.as_ref())
}
