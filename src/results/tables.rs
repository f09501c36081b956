//! The results as rows of the CSV files.

use super::record::{CountRow, EndingRow, EventRow, ReconnectRow, TimelineRow};
use crate::close::{Ending, TcpEnd, TlsEnd};
use crate::event::{Event, Outcome, Sequenced, Stage, Stages, UnderWay};
use crate::expect::OutcomeLabel as Became;
use crate::metrics::book::Results;
use crate::metrics::carried::so_few;
use crate::metrics::ending::EndingKey;
use crate::metrics::latency::micros;
use crate::metrics::lateness::Work;
use crate::metrics::meta::RunMeta;
use crate::metrics::milestones::SampledEvent;
use crate::metrics::outage::Outage;
use crate::metrics::subject;
use crate::metrics::timeline::{AttemptKey, Tally};
use crate::text::printable;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

/// Metric of `counts.csv`: outages whose client left by plan.
pub const LEFT: &str = "left";
/// HTTP statuses that are told apart.
const STATUSES: usize = 50;

/// `timeline.csv`, by offset, then cohort in the order of the scenario.
pub fn timeline_rows(results: &Results) -> Vec<TimelineRow> {
    let rows = results.timeline.rows(micros(results.measured)).into_iter();
    rows.map(|(offset, cohort, open, cell)| TimelineRow {
        offset_ms: offset / 1000,
        cohort: results.meta.cohort(cohort),
        open,
        attempts: cell.attempts.total,
        opened: cell.attempts.opened,
        refused: cell.attempts.refused,
        timed_out: cell.attempts.timed_out,
        rejected: cell.attempts.rejected,
        failed: cell.attempts.failed,
        closed: cell.closed,
        affected: cell.affected,
        recovered: cell.recovered,
        due: cell.due,
        sent: cell.sent,
        echoed: cell.echoed,
        rtt_p50_us: cell.rtt_p50,
        rtt_p99_us: cell.rtt_p99,
        rtt_max_us: cell.rtt_max,
    })
    .collect()
}

/// `closes.csv` and `endings` of the summary, the most frequent first.
pub fn ending_rows(results: &Results) -> Vec<EndingRow> {
    let mut counts: BTreeMap<EndingKey, u64> = BTreeMap::new();
    for ((_, key), count) in &results.endings {
        // What only counts.csv tells apart is put together.
        let server = key.server.map(|side| crate::metrics::ending::ServerSide { wire_received: None, clean: false, ..side });
        *counts.entry(EndingKey { server, ..key.clone() }).or_default() += count;
    }
    let mut rows: Vec<_> = counts.into_iter().map(|(key, count)| ending_row(&results.meta, &key, count)).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.count));
    rows
}

fn ending_row(meta: &RunMeta, key: &EndingKey, count: u64) -> EndingRow {
    EndingRow {
        cohort: meta.cohort(key.cohort),
        cause: meta.cause(key.cause),
        fault: key.fault.map(|fault| meta.fault(fault)),
        initiator: key.initiator.to_string(),
        wire_received: key.wire_received,
        wire_sent: key.wire_sent,
        tcp_end: key.tcp_end.map(|end| end.to_string()),
        tls_end: key.tls_end.map(|end| end.to_string()),
        mid_frame: key.mid_frame,
        clean: key.clean,
        client_code: key.client_code,
        server_code: key.server.map(|server| server.code),
        server_tcp_end: key.server.map(|server| server.tcp_end.to_string()),
        server_tls_end: key.server.and_then(|server| server.tls_end).map(|end| end.to_string()),
        count,
    }
}

/// `reconnects.csv`, by offset of the fault, then client.
pub fn reconnect_rows(results: &Results) -> Vec<ReconnectRow> {
    let mut outages: Vec<&Outage> = results.outages.kept().iter().collect();
    outages.sort_by_key(|outage| (outage.fault_at, outage.client));
    let weight = results.outages.weight();
    outages.into_iter().map(|outage| reconnect_row(&results.meta, outage, weight)).collect()
}

fn reconnect_row(meta: &RunMeta, outage: &Outage, weight: f64) -> ReconnectRow {
    ReconnectRow {
        client: outage.client,
        cohort: meta.cohort(outage.cohort),
        fault: outage.fault.map(|fault| meta.fault(fault)),
        client_code: outage.code,
        fault_offset_us: outage.fault_at,
        detect_us: outage.observed.then(|| outage.detect()),
        backoff_us: outage.backoff,
        attempt_us: outage.attempt,
        first_reply_us: outage.reply,
        reconnect_us: outage.time(),
        attempts: outage.attempts,
        result: match (outage.ready_at, outage.gave_up) {
            (Some(_), _) => "recovered",
            (None, true) => "gave_up",
            (None, false) => "censored",
        }
        .to_owned(),
        weight,
    }
}

/// `counts.csv`, by second. Work is given by interval, too, but for seconds in which some was late: lateness is judged by each of them.
pub fn count_rows(results: &Results) -> Vec<CountRow> {
    let meta = &results.meta;
    let fault = |fault: Option<u16>| fault.map(|fault| meta.fault(fault));
    let mut rows = Vec::new();
    let kept = kept_statuses(results);
    let mut attempts: BTreeMap<AttemptKey, u64> = BTreeMap::new();
    for ((second, cohort, of, step, status), count) in &results.timeline.attempts {
        *attempts.entry((*second, *cohort, *of, *step, status.filter(|status| kept.contains(status)))).or_default() += count;
    }
    for ((second, cohort, of, step, status), count) in attempts {
        let outcome = Some(step.outcome().map_or("begun", Became::name).to_owned());
        rows.push(CountRow { fault: fault(of), outcome, status, ..count_row(second, "attempts", meta.cohort(cohort), count) });
    }
    for ((second, cohort, of), count) in &results.timeline.lost {
        rows.push(CountRow { fault: fault(*of), ..count_row(*second, "clients_lost", meta.cohort(*cohort), *count) });
    }
    for ((second, cohort, of), count) in &results.timeline.left {
        rows.push(CountRow { fault: fault(*of), ..count_row(*second, LEFT, meta.cohort(*cohort), *count) });
    }
    // What was missed and came after all leaves a 0 behind.
    for ((second, cohort, of, what), count) in results.timeline.tallies.iter().filter(|(_, count)| **count > 0) {
        let row = CountRow { fault: fault(*of), ..count_row(*second, "", meta.cohort(*cohort), *count) };
        rows.push(tally_row(meta, *what, row));
    }
    for ((second, key), count) in &results.endings {
        rows.extend(close_rows(meta, *second, key, *count));
    }
    for (second, cohort, cell) in results.timeline.each_count() {
        let numbers = [
            ("messages", "due", cell.due),
            ("messages", "not_started", cell.not_started),
            ("messages", "sent", cell.sent),
            ("messages", "answered", cell.answered),
            ("messages", "error", cell.errors),
            ("messages", "lost", cell.lost),
            ("messages", "unanswered", cell.unanswered),
            ("messages", "received", cell.received),
            ("messages", "expected", cell.expected),
            ("bytes", "sent", cell.bytes_sent),
            ("bytes", "received", cell.bytes_received),
        ];
        for (metric, outcome, count) in numbers.into_iter().filter(|(_, _, count)| *count > 0) {
            rows.push(CountRow { outcome: Some(outcome.to_owned()), ..count_row(second, metric, meta.cohort(cohort), count) });
        }
    }
    let intervals = results.timeline.intervals();
    rows.iter_mut().for_each(|row| row.width_s = intervals.length(row.second));
    for ((second, cohort, width_s), work) in work_counts(results) {
        for (outcome, count) in [("all", work.all), ("late", work.late)].into_iter().filter(|(_, count)| *count > 0) {
            rows.push(CountRow { outcome: Some(outcome.to_owned()), width_s, ..count_row(second, "work", meta.cohort(cohort), count) });
        }
    }
    rows.sort_by_key(|row| row.second); // stable: within a second in the order above
    rows
}

/// Work by first second, cohort and seconds counted together. Each second with late work stands alone, with the work of all cohorts.
fn work_counts(results: &Results) -> BTreeMap<(u32, u16, u32), Work> {
    let intervals = results.timeline.intervals();
    let late: BTreeSet<u32> = results.timeline.each_work().filter(|(.., work)| work.late > 0).map(|(second, ..)| second).collect();
    let mut counts: BTreeMap<(u32, u16, u32), Work> = BTreeMap::new();
    for (second, cohort, work) in results.timeline.each_work() {
        let (_, start) = intervals.of(second);
        let (start, width) = if late.contains(&second) { (second, 1) } else { (start, intervals.length(start)) };
        let sum = counts.entry((start, cohort, width)).or_default();
        (sum.all, sum.late) = (sum.all + work.all, sum.late + work.late);
    }
    counts
}

fn count_row(second: u32, metric: &str, cohort: String, count: u64) -> CountRow {
    CountRow { second, metric: metric.to_owned(), cohort, count, ..CountRow::default() }
}

/// A row as it says what it counts.
fn tally_row(meta: &RunMeta, what: Tally, row: CountRow) -> CountRow {
    let (metric, outcome, status) = match what {
        Tally::Error(error) => ("errors", Some(meta.error(error).to_owned()), None),
        Tally::Request(status) => ("http_requests", None, status),
        what => ("messages", what.outcome().map(|outcome| outcome.name().to_owned()), None),
    };
    CountRow { metric: metric.to_owned(), outcome, status, ..row }
}

/// An ending by the client's account and, where it is known, by the server's; where nobody tells of it, without a side.
fn close_rows(meta: &RunMeta, second: u32, key: &EndingKey, count: u64) -> impl Iterator<Item = CountRow> {
    let untold = CountRow {
        fault: key.fault.map(|fault| meta.fault(fault)),
        cause: Some(meta.cause(key.cause)),
        ..count_row(second, "closes", meta.cohort(key.cohort), count)
    };
    let row = |side: &str, reported, wire, (tcp_end, tls_end): (TcpEnd, Option<TlsEnd>), clean| CountRow {
        side: Some(side.to_owned()),
        reported: Some(reported),
        wire,
        tcp_end: Some(tcp_end.to_string()),
        tls_end: tls_end.map(|end| end.to_string()),
        clean: Some(clean),
        ..untold.clone()
    };
    let client = key.client_code.zip(key.tcp_end);
    let client = client.map(|(code, end)| row("client", code, key.wire_received, (end, key.tls_end), key.clean));
    let server = |of: crate::metrics::ending::ServerSide| row("server", of.code, of.wire_received, (of.tcp_end, of.tls_end), of.clean);
    let server = key.server.map(server);
    let nobody = (client.is_none() && server.is_none()).then_some(untold);
    [client, server, nobody].into_iter().flatten()
}

/// HTTP statuses that are told apart: the most frequent.
pub(super) fn kept_statuses(results: &Results) -> BTreeSet<u16> {
    let mut statuses: Vec<(u16, u64)> = results.answers.by_status(None).into_iter().collect();
    statuses.sort_by_key(|(_, count)| std::cmp::Reverse(*count)); // stable: equal counts by status
    statuses.into_iter().take(STATUSES).map(|(status, _)| status).collect()
}

/// `events.csv`, by offset, then in the order in which they were recorded.
pub fn event_rows(results: &Results) -> Vec<EventRow> {
    let mut kept: Vec<&SampledEvent> = results.events.kept().iter().chain(results.milestones.kept()).collect();
    kept.sort_by_key(|(at, number, _)| (*at, *number));
    kept.into_iter().map(|(at, _, event)| event_row(&results.meta, *at, event)).collect()
}

fn event_row(meta: &RunMeta, offset_us: u64, event: &Event) -> EventRow {
    let (client, fault) = subject(event);
    let (name, connection, detail) = describe(meta, event);
    let connection = connection.map(|connection: crate::event::ConnectionNo| connection.0);
    let fault = fault.map(|fault| meta.fault(fault));
    EventRow { offset_us, event: name.to_owned(), client: client.map(|client| client.0), connection, fault, detail }
}

fn describe(meta: &RunMeta, event: &Event) -> (&'static str, Option<crate::event::ConnectionNo>, String) {
    match event {
        Event::Arrived { due, .. } => ("arrived", None, format!("due_us={}", micros(*due))),
        Event::AttemptStarted { .. } if meta.real.is_some() => ("attempt_started", None, String::new()),
        Event::AttemptStarted { due, .. } => ("attempt_started", None, format!("due_us={}", micros(*due))),
        Event::AttemptFailed { stage, outcome, .. } if meta.real.is_some() => ("attempt_failed", None, attempt_detail(*stage, outcome)),
        Event::AttemptFailed { stage, outcome, times, .. } => {
            ("attempt_failed", None, format!("{}{}", attempt_detail(*stage, outcome), stages_detail(times)))
        }
        Event::Cut { what: UnderWay::Attempt { stage, times }, .. } => {
            ("cut", None, format!("stage={}{}", stage_name(*stage), stages_detail(times)))
        }
        Event::Cut { what: UnderWay::Closing { ack, elapsed }, .. } => {
            let ack = ack.map(|ack| format!(" close_ack_us={}", micros(ack))).unwrap_or_default();
            ("cut", None, format!("closing_us={}{ack}", micros(*elapsed)))
        }
        Event::Opened { connection, instance, .. } if meta.real.is_some() => ("opened", Some(*connection), format!("instance={instance}")),
        Event::Opened { connection, instance, tcp, tls, resumed, upgrade, .. } => {
            let tls = tls.map(|tls| format!(" tls_us={} tls_resumed={resumed}", micros(tls))).unwrap_or_default();
            let detail = format!("instance={instance} tcp_us={}{tls} upgrade_us={}", micros(*tcp), micros(*upgrade));
            ("opened", Some(*connection), detail)
        }
        Event::Ready { connection, .. } => ("ready", Some(*connection), String::new()),
        Event::Injected { connection, .. } => ("injected", Some(*connection), String::new()),
        Event::Ended { connection, ending, closing, .. } => {
            let mut detail = ending_detail(meta, ending);
            if let Some(closing) = closing {
                let _ = write!(detail, " closing_us={}", micros(closing.total)); // writing to a String cannot fail
                if let Some(ack) = closing.ack {
                    let _ = write!(detail, " close_ack_us={}", micros(ack));
                }
            }
            ("ended", Some(*connection), detail)
        }
        Event::ServerEnded { connection, ending, .. } => ("server_ended", Some(*connection), ending_detail(meta, ending)),
        Event::Orphaned { connection, .. } => ("orphaned", Some(*connection), String::new()),
        Event::Waiting { delay, .. } => ("waiting", None, format!("delay_us={}", micros(*delay))),
        Event::GaveUp { why, .. } => ("gave_up", None, format!("why={}", quoted(&give_up(why)))),
        Event::Left { .. } => ("left", None, String::new()),
        Event::Fired { fault, firing, selected, eligible } => {
            let of = eligible.map(|eligible| format!(" eligible={eligible}")).unwrap_or_default();
            let few = meta.faults.get(usize::from(*fault)).and_then(|fault| so_few(fault, *selected, *eligible));
            let why = few.map(|why| format!(" why={}", quoted(&why))).unwrap_or_default();
            ("fired", None, format!("firing={firing} selected={selected}{of}{why}"))
        }
        Event::Spent { firing, .. } => ("spent", None, format!("firing={firing}")),
        Event::NotCarriedOut { firing, why, .. } => ("not_carried_out", None, format!("firing={firing} why={}", quoted(why))),
        Event::LocalLimit { what } => ("local_limit", None, format!("what={}", quoted(what))),
        Event::LoadLimit { what } => ("load_limit", None, format!("what={}", quoted(what))),
        Event::Reached { .. } => ("reached", None, String::new()),
        Event::Reverted { firing, .. } => ("reverted", None, format!("firing={firing}")),
        Event::Target { instance, what, detail } => {
            let detail = if detail.is_empty() { String::new() } else { format!(" detail={}", quoted(detail)) };
            ("target", None, format!("instance={instance} what={what}{detail}"))
        }
        Event::Notice { text } => ("notice", None, format!("text={}", quoted(text))),
        // Those of messages are kept one by one only where the user asks for all events.
        Event::Sent { due, bytes, .. } => ("sent", None, format!("due_us={} bytes={bytes}", micros(*due))),
        Event::NotStarted { due, .. } => ("not_started", None, format!("due_us={}", micros(*due))),
        Event::Echoed { bytes, due, sent, error, .. } => {
            let error = if *error { " error=true" } else { "" };
            ("echoed", None, format!("due_us={} sent_us={} bytes={bytes}{error}", micros(*due), micros(*sent)))
        }
        Event::Greeted { bytes, .. } => ("greeted", None, format!("bytes={bytes}")),
        Event::Requested { took, status, .. } => {
            let status = status.map(|status| format!(" status={status}")).unwrap_or_default();
            ("requested", None, format!("took_us={}{status}", micros(*took)))
        }
        Event::Sequenced { found, replayed, .. } => {
            let (what, missed) = match found {
                Sequenced::Next => ("next", 0),
                Sequenced::Back { missed } => ("back", *missed),
                Sequenced::Gap { missed } => ("gap", *missed),
                Sequenced::Late { .. } => ("late", 0),
                Sequenced::Duplicate { .. } => ("duplicate", 0),
            };
            ("sequenced", None, format!("what={what} missed={missed} replayed={replayed}"))
        }
        Event::Broadcast { took, negative, .. } => {
            ("broadcast", None, format!("latency_us={}{}", if *negative { "-" } else { "" }, micros(*took)))
        }
        Event::ErrorHeard { error, .. } => ("error_heard", None, format!("name={}", quoted(meta.error(*error)))),
        Event::Said { bytes, .. } => ("said", None, format!("bytes={bytes}")),
        Event::Heard { bytes, .. } => ("heard", None, format!("bytes={bytes}")),
        Event::Received { bytes, .. } => ("received", None, format!("bytes={bytes}")),
        Event::Pong { round_trip, .. } => ("pong", None, format!("round_trip_us={}", micros(*round_trip))),
    }
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Before => "before",
        Stage::Tcp => "tcp",
        Stage::Tls => "tls",
        Stage::Upgrade => "upgrade",
    }
}

/// The stages that ended, and the time in the one that did not.
fn stages_detail(times: &Stages) -> String {
    let one = |name: &str, time: Option<Duration>| time.map(|time| format!(" {name}_us={}", micros(time))).unwrap_or_default();
    format!("{}{}{}", one("tcp", times.tcp), one("tls", times.tls), one("elapsed", Some(times.elapsed)))
}

fn attempt_detail(stage: Stage, outcome: &Outcome) -> String {
    let stage = stage_name(stage);
    let more = match outcome {
        Outcome::Rejected { status, retry_after, location } => {
            let after = retry_after.map(|after| format!(" retry_after_s={}", after.as_secs())).unwrap_or_default();
            let location = location.as_ref().map(|location| format!(" location={}", quoted(location))).unwrap_or_default();
            format!(" status={status}{after}{location}")
        }
        Outcome::Failed { why } => format!(" why={}", quoted(why)),
        Outcome::Refused | Outcome::TimedOut | Outcome::Abandoned => String::new(),
    };
    format!("stage={stage} outcome={}{more}", outcome.word())
}

fn give_up(why: &crate::event::GiveUp) -> String {
    match why {
        crate::event::GiveUp::Retries => "retries used up".to_owned(),
        crate::event::GiveUp::NoReconnect => "does not reconnect".to_owned(),
        crate::event::GiveUp::Final { what } => what.clone(),
    }
}

fn ending_detail(meta: &RunMeta, ending: &Ending) -> String {
    let code = |code: Option<u16>| code.map_or("none".to_owned(), |code| code.to_string());
    let mut detail = format!(
        "cause={} initiator={} code={} wire_received={} wire_sent={} tcp_end={}{} mid_frame={} clean={}",
        meta.cause(ending.cause),
        ending.initiator,
        ending.code,
        code(ending.wire_received),
        code(ending.wire_sent),
        ending.tcp_end,
        ending.tls_end.map(|end| format!(" tls_end={end}")).unwrap_or_default(),
        ending.mid_frame,
        ending.clean
    );
    if !ending.reason.is_empty() {
        let _ = write!(detail, " reason={}", quoted(&ending.reason)); // writing to a String cannot fail
    }
    if ending.bytes_after > 0 {
        let _ = write!(detail, " bytes_after={}", ending.bytes_after);
    }
    detail
}

/// As it is, or in quotes with escapes where it has spaces, quotes, equals signs or control characters.
fn quoted(text: &str) -> String {
    let plain = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '"' || c == '=') && printable(text) == text;
    if plain { text.to_owned() } else { printable(&format!("{text:?}")) }
}
