//! The results as `summary.json`.

use super::answer::answer;
use super::record::{
    AnswerRow, Attempts, Clients, CloseCodes, CloseReason, CohortRow, Connections, FailureRow, FaultRow, Generator, LivenessRow, LossRow,
    Messages, Reconnect, SCHEMA_VERSION, Summary, Verdict,
};
use super::runs::Seeds;
use super::spread::Runs;
use super::tables::{ending_rows, kept_statuses};
use crate::expect::Metric;
use crate::fault::liveness::Finds;
use crate::metrics::answers::RefusalAnswer;
use crate::metrics::book::{CohortCounts, FaultBook, Results};
use crate::metrics::carried::short;
use crate::metrics::distributions::DistributionKey;
use crate::metrics::latency::Times;
use crate::metrics::latency::needed;
use crate::metrics::liveness::Watched;
use crate::metrics::meta::{FaultMeta, RunMeta};
use crate::metrics::metric::TimeMetric;
use crate::metrics::timeline::{MissedOutages, Tally};
use crate::metrics::told_apart::{ALWAYS_KEPT, code_word, kept};
use crate::number;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Reasons and answers shown.
const REASONS: usize = 20;
/// Stands for statuses that are not among the most frequent.
const OTHER: &str = "other";

/// With fewer clients, what the process itself grows by is most of what each seems to take.
const CLIENTS_TOLD: u64 = 100;

/// What `summary.json` says; `seeds`: of a plan simulated with several; `command` is the command line that makes the run again.
pub fn summarise(results: &Results, seeds: Option<&Seeds>, verdict: &Verdict, command: &str) -> Summary {
    let (meta, total) = (&results.meta, results.total());
    let times = |metric| results.survival(metric).times();
    let cohorts = (0..meta.cohorts.len() as u16).map(|cohort| (meta.cohort(cohort), cohort_row(results, cohort))).collect();
    let mut summary = Summary {
        schema_version: SCHEMA_VERSION,
        scenario: meta.name.clone(),
        question: meta.question.clone(),
        hypothesis: meta.hypothesis.clone(),
        command: command.to_owned(),
        target: meta.target.clone(),
        seed: meta.seed,
        duration_ms: meta.duration.as_millis() as u64,
        measured_ms: results.measured.as_millis() as u64,
        simulated: results.simulated,
        seen_from: meta.seen_from(),
        status: results.status.name().to_owned(),
        verdict: verdict.clone(),
        clients: clients(meta, &total, meta.cohorts.iter().map(|cohort| cohort.planned).sum()),
        attempts: attempts(results, &total, None),
        answers: answers(results),
        failures: failures(results),
        connections: Connections {
            opened: total.ledger.attempts.opened,
            closed: total.ledger.closed,
            open_at_end: total.ledger.open_at_end,
        },
        close_codes: CloseCodes { client: client_codes(results, |_| true), server: server_codes(results) },
        close_reasons: close_reasons(results),
        endings: ending_rows(results),
        reconnect: reconnect(results, &total, |_| true),
        opening_handshake_us: times(TimeMetric::OpeningHandshake),
        tcp_connect_us: times(TimeMetric::TcpConnect),
        http_request_us: times(TimeMetric::HttpRequest),
        http_requests: tallies(results, |what| match what {
            Tally::Request(status) => Some(status.map_or_else(|| "none".to_owned(), |status| status.to_string())),
            _ => None,
        }),
        time_to_ready_us: times(TimeMetric::TimeToReady),
        broadcast_latency_us: times(TimeMetric::BroadcastLatency),
        broadcast_latency_negative_us: times(TimeMetric::BroadcastLatencyNegative),
        errors: tallies(results, |what| match what {
            Tally::Error(error) => Some(meta.error(error).to_owned()),
            _ => None,
        }),
        tls_us: times(TimeMetric::Tls),
        tls_full_us: times(TimeMetric::TlsFull),
        tls_resumed_us: times(TimeMetric::TlsResumed),
        closing_handshake_us: times(TimeMetric::ClosingHandshake),
        close_ack_us: times(TimeMetric::CloseAck),
        fin_wait_us: times(TimeMetric::FinWait),
        messages: messages(results, &total, |_| true),
        losses: losses(results),
        counted: counted(results),
        cohorts,
        faults: (0..meta.faults.len()).map(|fault| fault_row(results, fault)).collect(),
        liveness: liveness(results),
        surprises: super::unexpected_codes::surprises(results),
        runs: seeds.map(Runs::of),
        generator: generator(results),
        notices: notices(results),
    };
    summary.verdict.answer = answer(verdict, &summary, meta.answer.as_ref());
    summary
}

/// What is counted beside messages, over the whole run, by name.
fn tallies(results: &Results, name: impl Fn(Tally) -> Option<String>) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for ((.., what), count) in &results.timeline.tallies {
        if let Some(name) = name(*what) {
            *sums.entry(name).or_default() += count;
        }
    }
    sums
}

/// What was counted, so that a 0 of it is data.
pub(super) fn counted(results: &Results) -> Vec<String> {
    let codes: BTreeSet<u16> = results.meta.own_codes().filter(|code| !ALWAYS_KEPT.contains(code)).collect();
    // Of real clients only these are counted.
    let seen = [Metric::Attempts, Metric::Closes].map(Metric::name);
    let all = Metric::all_counted().into_iter().filter(|name| results.meta.real.is_none() || seen.contains(&name.as_str()));
    all.chain(codes.into_iter().map(kept)).collect()
}

/// What was missed in outages, by cohort and fault.
pub(super) fn losses(results: &Results) -> Vec<LossRow> {
    let mut rows: BTreeMap<(u16, Option<u16>), BTreeMap<u64, MissedOutages>> = BTreeMap::new();
    for ((cohort, fault, missed), of) in &results.timeline.missed {
        rows.entry((*cohort, *fault)).or_default().insert(*missed, *of);
    }
    for key in results.timeline.missed_unknown.keys() {
        rows.entry(*key).or_default();
    }
    let row = |((cohort, fault), all): ((u16, Option<u16>), BTreeMap<u64, MissedOutages>)| {
        let by_missed: BTreeMap<u64, u64> = all.iter().map(|(missed, of)| (*missed, of.outages)).collect();
        let outages: u64 = by_missed.values().sum();
        let quantile = |q: f64| {
            let mut below = 0;
            let reached = by_missed.iter().find(|(_, n)| {
                below += **n;
                below as f64 >= q * outages as f64
            });
            reached.map(|(missed, _)| *missed).filter(|_| outages >= needed(q))
        };
        LossRow {
            cohort: results.meta.cohort(cohort),
            fault: fault.map(|fault| results.meta.fault(fault)),
            outages,
            none_missed: by_missed.get(&0).copied().unwrap_or(0),
            missed: all.values().map(|of| of.missed).sum(),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            max: all.values().map(|of| of.most).max().unwrap_or(0),
            by_missed,
            unknown: results.timeline.missed_unknown.get(&(cohort, fault)).copied().unwrap_or(0),
        }
    };
    rows.into_iter().map(row).collect()
}

fn clients(meta: &RunMeta, book: &CohortCounts, planned: u64) -> Clients {
    Clients {
        planned,
        started: book.started,
        ready: Some(book.ready),
        never_opened: book.never_opened,
        peak_open: book.peak_open,
        open_at_end: book.ledger.open_at_end,
        lost: meta.real.is_none().then_some(book.lost),
    }
}

fn attempts(results: &Results, book: &CohortCounts, cohort: Option<u16>) -> Attempts {
    Attempts { counts: book.ledger.attempts, peak_per_s: results.peaks.attempts(cohort), by_status: by_status(results, cohort) }
}

/// `t_ready - t_fault` of the outages that pass the filter, censored ones included.
fn reconnect_times(results: &Results, keep: impl Fn(DistributionKey) -> bool) -> Times {
    results.bank.survival(TimeMetric::ReconnectTime, keep).times()
}

fn reconnect(results: &Results, book: &CohortCounts, keep: impl Fn(DistributionKey) -> bool) -> Reconnect {
    let survival = |metric| results.bank.survival(metric, &keep);
    let times = |metric| survival(metric).times();
    Reconnect {
        unseen: results.meta.real.is_some_and(|real| !real.identified),
        affected: book.affected,
        recovered: book.recovered,
        censored: book.censored,
        left: book.left,
        gave_up: book.lost,
        attempts_mean: (book.recovered > 0).then(|| book.recovery_attempts as f64 / book.recovered as f64),
        time_us: reconnect_times(results, &keep),
        observed_us: survival(TimeMetric::ReconnectTime).horizon(),
        detect_us: times(TimeMetric::Detect),
        backoff_us: times(TimeMetric::Backoff),
        attempt_us: times(TimeMetric::Attempt),
    }
}

fn messages(results: &Results, book: &CohortCounts, keep: impl Fn(DistributionKey) -> bool) -> Messages {
    let times = |metric| results.bank.survival(metric, &keep).times();
    Messages {
        unseen: results.meta.real.is_some(),
        due: book.due,
        not_started: book.not_started,
        sent: book.sent,
        received: book.received,
        greetings: book.greetings,
        dialogue_sent: book.said,
        dialogue_received: book.heard,
        answered: book.answered,
        errors: book.errors,
        expected: book.expected,
        missed: book.missed,
        recovered: book.recovered_messages,
        duplicated: book.duplicated,
        out_of_order: book.out_of_order,
        lost: book.lost_messages,
        unanswered: book.unanswered,
        rtt_us: times(TimeMetric::Rtt),
        rtt_from_sent_us: times(TimeMetric::RttFromSent),
    }
}

fn cohort_row(results: &Results, cohort: u16) -> CohortRow {
    let (book, meta) = (&results.books[usize::from(cohort)], &results.meta.cohorts[usize::from(cohort)]);
    CohortRow {
        strategy: meta.strategy.clone(),
        traffic: meta.traffic.clone(),
        clients: clients(&results.meta, book, meta.planned),
        attempts: attempts(results, book, Some(cohort)),
        reconnect: reconnect(results, book, |key| key.cohort == cohort),
        close_codes: client_codes(results, |of| of == cohort),
        messages: messages(results, book, |key| key.cohort == cohort),
    }
}

fn fault_row(results: &Results, fault: usize) -> FaultRow {
    let (book, meta) = (&results.faults[fault], &results.meta.faults[fault]);
    FaultRow {
        id: meta.id.clone(),
        kind: meta.kind.to_owned(),
        side: meta.side.to_owned(),
        at_ms: book.first.map(|at| at / 1000),
        until_ms: until(book, meta, results.measured.as_millis() as u64),
        fired: book.firings.len() as u64,
        // Attempts, and connections that open later, are selected as the fault acts on them, not at its firing.
        selected: book.selected.max(book.injected),
        injected: book.injected,
        recovered: book.recovered,
        reconnect_us: reconnect_times(results, |key| key.fault == Some(fault as u16)),
    }
}

/// What each heartbeat should find of silent connections, and what it found.
fn liveness(results: &Results) -> Vec<LivenessRow> {
    let ms = |time: Duration| time.as_millis() as u64;
    let row = |watched: &Watched| {
        let (meta, found) = (&results.meta, super::liveness::found(results, watched));
        let (share, bounds, why) = match watched.finds {
            Finds::Some { share, earliest, latest } => (share, Some((earliest, latest)), None),
            Finds::None(why) => (0.0, None, Some(why.to_owned())),
        };
        LivenessRow {
            fault: meta.fault(watched.fault),
            kind: meta.faults[usize::from(watched.fault)].kind.to_owned(),
            cohort: meta.cohort(watched.cohort),
            heartbeat: match watched.heartbeat {
                Some((side, _)) => side.word(),
                None => "none",
            }
            .to_owned(),
            every_ms: watched.heartbeat.map(|(_, beat)| ms(beat.every)),
            timeout_ms: watched.heartbeat.map(|(_, beat)| ms(beat.timeout)),
            finds_share: share,
            earliest_ms: bounds.map(|(earliest, _)| ms(earliest)),
            latest_ms: bounds.map(|(_, latest)| ms(latest)),
            why_none: why,
            reset_ms: watched.reset.map(ms),
            silenced: found.silenced,
            detect_us: found.times.times(),
            ended_otherwise: found.otherwise,
            unnoticed: found.unnoticed,
        }
    };
    results.meta.watched.iter().map(row).collect()
}

/// When a fault that holds stopped holding: its last revert, or the end of the run if a firing was not reverted.
fn until(book: &FaultBook, meta: &FaultMeta, end_ms: u64) -> Option<u64> {
    book.first.filter(|_| meta.holds)?;
    Some(if book.reverts >= book.fired { book.reverted.map_or(end_ms, |at| at / 1000) } else { end_ms })
}

fn client_codes(results: &Results, keep: impl Fn(u16) -> bool) -> BTreeMap<String, u64> {
    let mut codes = BTreeMap::new();
    for ((_, key), count) in results.endings.iter().filter(|((_, key), _)| keep(key.cohort)) {
        if let Some(code) = key.client_code {
            *codes.entry(code_word(code)).or_default() += count;
        }
    }
    codes
}

fn server_codes(results: &Results) -> BTreeMap<String, u64> {
    let mut codes = BTreeMap::new();
    for ((_, key), count) in &results.endings {
        if let Some(server) = key.server {
            *codes.entry(code_word(server.code)).or_default() += count;
        }
    }
    codes
}

fn by_status(results: &Results, cohort: Option<u16>) -> BTreeMap<String, u64> {
    let kept = kept_statuses(results);
    let mut named = BTreeMap::new();
    for (status, count) in results.answers.by_status(cohort) {
        let name = if kept.contains(&status) { status.to_string() } else { OTHER.to_owned() };
        *named.entry(name).or_default() += count;
    }
    named
}

fn answers(results: &Results) -> Vec<AnswerRow> {
    let row = |(answer, count): (RefusalAnswer, u64)| AnswerRow {
        status: answer.status,
        retry_after_s: answer.retry_after_s,
        location: answer.location,
        count,
    };
    results.answers.top(REASONS).into_iter().map(row).collect()
}

fn failures(results: &Results) -> Vec<FailureRow> {
    let row = |(why, count): (&str, u64)| FailureRow { why: why.to_owned(), count };
    results.answers.top_failures(REASONS).into_iter().map(row).collect()
}

fn close_reasons(results: &Results) -> Vec<CloseReason> {
    let row = |(code, reason, count): (u16, &str, u64)| CloseReason { code, reason: reason.to_owned(), count };
    results.reasons.top(REASONS).into_iter().map(row).collect()
}

fn generator(results: &Results) -> Generator {
    let (lag, usage) = (results.latency(TimeMetric::Lag), results.usage);
    let grown = usage.rss_peak_bytes.saturating_sub(usage.rss_base_bytes);
    Generator {
        lag_p99_us: lag.quantile(0.99).filter(|_| lag.count() >= needed(0.99)),
        late_share_max: results.late_share_max(),
        late_after_us: Some(results.meta.tolerance_us),
        cpu_s: usage.cpu_s,
        rss_peak_bytes: usage.rss_peak_bytes,
        bytes_per_client: (usage.rss_base_bytes > 0 && results.peak_open >= CLIENTS_TOLD)
            .then(|| grown.checked_div(results.peak_open))
            .flatten(),
        saturated: results.saturated(),
        saturated_seconds: results.saturated_seconds(),
        workers: results.workers,
        lost: results.lost.clone(),
        unreliable: results.why_unreliable(),
        uncounted_openings: usage.uncounted_openings,
    }
}

/// What the tool itself asked the target for, where that is anything.
pub fn uncounted(openings: u64) -> Option<String> {
    let what = match openings {
        0 => return None,
        1 => "1 opening handshake before the run (readiness probe, with the values of client 0) is".to_owned(),
        many => format!("{many} opening handshakes before the run (readiness probes and warm-up, with the values of client 0) are"),
    };
    Some(format!("{what} not counted"))
}

/// Replies that came, of which none is one to what was sent.
fn unmatched(results: &Results) -> impl Iterator<Item = String> {
    let cohorts = results.meta.cohorts.iter().zip(&results.books).filter(|(meta, book)| meta.echoes && book.sent > 0 && book.answered == 0);
    cohorts.filter(|(_, book)| book.received + book.heard > 0).map(|(meta, book)| {
        let why = match meta.traffic.starts_with("echo") {
            true => "none equal to what was sent: is this an echo server? For other replies there is `traffic = { request = { message = \"…\" } }`",
            false => "none fits the `reply` of a request",
        };
        format!("cohort {}: {} received, {why}", meta.name, number::counted(book.received + book.heard, "message"))
    })
}

/// What the plan says, what happened, and what of the files is a sample; each once, with its count where more than one.
fn notices(results: &Results) -> Vec<String> {
    let mut notices = results.meta.notices.clone();
    notices.extend(short(results));
    notices.extend(unmatched(results));
    let counted = |(text, count): (&String, &u64)| if *count > 1 { format!("{text} ({count} times)") } else { text.clone() };
    notices.extend(results.notices.iter().map(counted));
    notices.extend(results.timeline.bursts.told().map(|burst| {
        let (attempts, took) = (number::count(burst.attempts), number::time(burst.took));
        format!("{attempts} attempts that were due at the same instant took {took} to start, one after the other")
    }));
    notices.extend(uncounted(results.usage.uncounted_openings));
    let sampled = |file: &str, what: &str, seen: u64, kept: usize| {
        (seen > kept as u64).then(|| format!("{file} has a sample: {kept} of {seen} {what}"))
    };
    notices.extend(sampled("reconnects.csv", "outages", results.outages.seen(), results.outages.kept().len()));
    let (events, milestones) = (&results.events, &results.milestones);
    notices.extend(sampled("events.csv", "events of clients", events.seen(), events.kept().len()));
    notices.extend(sampled("events.csv", "events of the run", milestones.seen(), milestones.kept().len()));
    let clamped: u64 = results.bank.each().filter(|(key, _)| key.window.is_none()).map(|(_, latency)| latency.clamped()).sum();
    if clamped > 0 {
        let are = number::word_of(clamped, "is", "are");
        notices.push(format!("{} longer than an hour {are} recorded as one hour", number::counted(clamped, "time")));
    }
    notices
}
