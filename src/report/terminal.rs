//! The summary that a person reads in ten seconds, in lines of a given width: the answer first.

use super::lines::{Page, shortened, wrapped};
use super::{findings, phrase};
use crate::metrics::latency::needed;
use crate::number;
use crate::results::record::{Attempts, CohortRow, ExpectationRow, Reconnect, Summary, Verdict};
use crate::text::printable;
use std::collections::BTreeMap;

/// Cohorts beyond this are counted.
const COHORTS_MAX: usize = 8;
/// Close codes of a side beyond this are counted.
const CODES_MAX: usize = 4;
/// Characters of a close reason that are shown.
const REASON_MAX: usize = 60;
/// Silenced cohorts beyond this are counted.
const LIVENESS_MAX: usize = 12;
/// Surprises beyond this are counted.
const SURPRISES_MAX: usize = 5;

/// The summary of a run for a terminal of `width` columns (at least 60 are used): the command, the answer, what does not hold, and then the figures.
/// Of one to four cohorts it has 21 lines at most where 80 columns are given, unless more went wrong than fits. What held is counted instead of
/// listed where `height` lines are too few for it; `None`: it is not read on a terminal.
///
/// `colour` adds ANSI colours and nothing else: without them the text is the same. Whether to colour is the caller's business.
pub fn terminal(summary: &Summary, width: usize, height: Option<usize>, colour: bool) -> String {
    let mut page = Page::new(width, colour);
    page.line(&page.bold(&printable(&summary.command)));
    let world = match summary.is_of_real() {
        true => format!(", {}", phrase::world(summary)),
        false => if summary.simulated { ", simulated" } else { "" }.to_owned(),
    };
    let length = number::time(summary.measured_ms * 1000);
    page.line(&page.dim(&printable(&format!("{} · {} · {length}{world} · seed {}", summary.scenario, summary.target, summary.seed))));
    if let Some(question) = &summary.question {
        wrapped(question, page.width).iter().for_each(|line| page.line(line));
    }
    let verdict = &summary.verdict;
    outcome(&mut page, verdict);
    let widest = widest(&page, verdict);
    let (held, open): (Vec<_>, Vec<_>) = verdict.expectations.iter().partition(|row| row.result == "pass");
    open.into_iter().for_each(|row| expectation(&mut page, row, widest));
    page.line("");
    clients(&mut page, summary);
    closes(&mut page, summary);
    reconnect(&mut page, summary);
    times(&mut page, summary);
    liveness(&mut page, summary);
    surprises(&mut page, summary);
    if !summary.simulated && (!summary.is_of_real() || !summary.generator.unreliable.is_empty()) {
        page.entry("generator", &phrase::health_in_short(&summary.generator));
    }
    for notice in &summary.notices {
        page.entry("notice", notice);
    }
    if held.is_empty() {
        return page.into_text();
    }
    // Beside what did not hold, what did is of less interest than the figures.
    let mut with_all = Page::new(width, colour);
    held.iter().for_each(|row| expectation(&mut with_all, row, widest));
    if height.is_none_or(|height| page.height() + with_all.height() <= height) || held.len() == 1 {
        page.line(with_all.into_text().trim_end_matches('\n'));
    } else {
        let others = if held.len() < verdict.expectations.len() { "other " } else { "" };
        let text = format!("{} {others}expectations hold (`closestorm check` with the folder lists them)", held.len());
        page.line(&page.verdict("pass", &format!("{} {text}", phrase::mark("pass"))));
    }
    page.into_text()
}

fn clients(page: &mut Page, summary: &Summary) {
    let c = &summary.clients;
    let mut parts = vec![
        format!("{} {}", number::count(summary.population()), if summary.is_of_real() { "came" } else { "planned" }),
        format!("{} opened", number::count(c.started.saturating_sub(c.never_opened))),
        format!("peak {} open", number::count(c.peak_open)),
        format!("{} at the end", number::count(c.open_at_end)),
    ];
    if let Some(lost) = c.lost.filter(|lost| *lost > 0) {
        parts.push(format!("{} gave up", number::count(lost)));
    }
    page.entry("clients", &parts.join(" · "));
    page.entry("attempts", &attempts(&summary.attempts));
    turned_away(page, summary);
}

fn attempts(a: &Attempts) -> String {
    let counts = &a.counts;
    let outcomes = [
        (counts.opened, "opened"),
        (counts.refused, "refused"),
        (counts.timed_out, "timed out"),
        (counts.rejected, "rejected"),
        (counts.failed, "failed"),
        (counts.abandoned, "abandoned"),
    ];
    let counted = outcomes.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", number::count(n)));
    let mut parts = vec![number::count(counts.total)];
    parts.extend(counted);
    // One at a time is no herd.
    if a.peak_per_s > 1 {
        parts.push(format!("herd peak {}/s", number::count(a.peak_per_s)));
    }
    parts.join(" · ")
}

/// How servers answered attempts that did not open, and why others failed.
fn turned_away(page: &mut Page, summary: &Summary) {
    let answers = summary.answers.iter().map(|row| format!("{} {}", phrase::answer(row), number::count(row.count)));
    page.list("rejected", answers.collect(), "answers");
    let failures = summary.failures.iter().map(|row| format!("{} {}", row.why, number::count(row.count)));
    page.list("failed", failures.collect(), "reasons");
}

fn closes(page: &mut Page, summary: &Summary) {
    let closed = summary.connections.closed;
    if closed == 0 {
        return page.entry("closes", "none");
    }
    let codes = &summary.close_codes;
    let client = match codes.client.is_empty() {
        true => "not seen".to_string(),
        false => side(&codes.client),
    };
    page.entry("closes", &format!("{} · client {client}", number::count(closed)));
    let told: u64 = codes.server.values().sum();
    let silent = closed.saturating_sub(told);
    let mut server = if told > 0 { format!("server {}", side(&codes.server)) } else { String::new() };
    if silent > 0 {
        let comma = if told > 0 { ", " } else { "server " };
        server += &format!("{comma}{} not recorded (killed, not embedded, or not noticed)", number::count(silent));
    }
    page.entry("", &server);
    let reasons = summary.close_reasons.iter().filter(|row| !row.reason.is_empty());
    let reasons = reasons.map(|row| format!("{} \"{}\" {}", row.code, shortened(&row.reason, REASON_MAX), number::count(row.count)));
    page.list("reasons", reasons.collect(), "reasons");
}

/// The most frequent codes of a side with names and counts.
fn side(codes: &BTreeMap<String, u64>) -> String {
    let mut sorted: Vec<(&String, &u64)> = codes.iter().collect();
    sorted.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
    let one = |(code, n): &(&String, &u64)| {
        let name = code.parse().map_or_else(|_| (*code).clone(), phrase::code);
        format!("{name} {}", number::count(**n))
    };
    let mut parts: Vec<String> = sorted.iter().take(CODES_MAX).map(one).collect();
    if sorted.len() > CODES_MAX {
        let rest: u64 = sorted[CODES_MAX..].iter().map(|(_, n)| **n).sum();
        parts.push(format!("{} {}", number::counted((sorted.len() - CODES_MAX) as u64, "other code"), number::count(rest)));
    }
    if parts.is_empty() { "none".to_string() } else { parts.join(", ") }
}

fn reconnect(page: &mut Page, summary: &Summary) {
    if summary.reconnect.unseen {
        return page.entry("reconnect", "not known: clients cannot be told apart");
    }
    if summary.reconnect.affected == 0 {
        return page.entry("reconnect", "no outage");
    }
    let head = ["", "back", "p50", "p90", "p99", "max"].map(str::to_string);
    let mut rows = vec![head.to_vec()];
    let out: Vec<(&String, &CohortRow)> = summary.cohorts.iter().filter(|(_, cohort)| cohort.reconnect.affected > 0).collect();
    // Of several the report has the phases.
    let rows_each = if out.len() > 1 { 1 } else { usize::MAX };
    for (name, cohort) in out.iter().take(COHORTS_MAX) {
        rows.extend(cohort_rows(name, &cohort.reconnect, summary).into_iter().take(rows_each));
    }
    if out.is_empty() {
        rows.extend(cohort_rows("all", &summary.reconnect, summary));
    }
    let lacks = rows.iter().flatten().any(|cell| cell == "n/a");
    page.columns("reconnect", &rows);
    if lacks {
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(needed);
        page.entry("", &format!("n/a: not observed, or too few samples (p50 takes {p50}, p90 {p90}, p99 {p99})"));
    }
    if out.len() > COHORTS_MAX {
        page.entry("", &format!("{} in the report", number::counted((out.len() - COHORTS_MAX) as u64, "more cohort")));
    }
}

/// The quantiles of a cohort and those of its phases.
fn cohort_rows(name: &str, r: &Reconnect, summary: &Summary) -> Vec<Vec<String>> {
    let bare = |text: String| if text.starts_with("n/a") { "n/a".to_string() } else { text.replace("not reached in ", "> ") };
    let back = format!("{} of {}", number::count(r.recovered), number::count(r.affected));
    let mut first = vec![shortened(name, 22), back];
    first.extend(phrase::reconnect_quantiles(r, summary.measured_ms).map(bare));
    let mut rows = vec![first];
    for (phase, times) in phrase::phases(r, summary.simulated) {
        let mut row = vec![format!("  {phase}"), String::new()];
        row.extend(phrase::phase_quantiles(times).map(bare));
        rows.push(row);
    }
    rows
}

/// How many silent connections each heartbeat found, and when; the report says what it should.
fn liveness(page: &mut Page, summary: &Summary) {
    let rows: Vec<_> = summary.liveness.iter().filter(|row| row.silenced > 0).collect();
    if rows.is_empty() {
        return;
    }
    let mut columns = vec![["silent", "found", "min", "p50", "max", "should by"].map(str::to_string).to_vec()];
    for row in rows.iter().take(LIVENESS_MAX) {
        let times = &row.detect_us;
        let mut cells = vec![shortened(&format!("{} · {}", row.fault, row.cohort), 34)];
        cells.push(format!("{} of {}", number::count(times.count), number::count(row.silenced)));
        cells.extend([times.min, times.p50, times.max].map(phrase::dash));
        cells.push(row.latest_ms.map_or_else(|| "never".to_string(), |ms| number::time(ms * 1000)));
        columns.push(cells);
    }
    page.columns("heartbeats", &columns);
    if rows.len() > LIVENESS_MAX {
        page.entry("", &format!("{} more in the report", rows.len() - LIVENESS_MAX));
    }
}

fn surprises(page: &mut Page, summary: &Summary) {
    for row in summary.surprises.iter().take(SURPRISES_MAX) {
        page.entry("unexpected", &findings::surprise(row));
    }
    if summary.surprises.len() > SURPRISES_MAX {
        page.entry("", &format!("{} more in the report", summary.surprises.len() - SURPRISES_MAX));
    }
}

fn times(page: &mut Page, summary: &Summary) {
    let round_trips = phrase::round_trips(summary);
    for (n, (cohort, messages)) in round_trips.iter().take(COHORTS_MAX).enumerate() {
        // Cohorts that say different things are not mixed.
        let whose = cohort.map_or_else(String::new, |name| format!("{}: ", shortened(name, 22)));
        page.entry(if n == 0 { "round trips" } else { "" }, &format!("{whose}{}", phrase::line(&messages.rtt_us)));
    }
    if round_trips.len() > COHORTS_MAX {
        page.entry("", &format!("{} in the report", number::counted((round_trips.len() - COHORTS_MAX) as u64, "more cohort")));
    }
    if phrase::is_told(&summary.opening_handshake_us, summary.simulated) {
        page.entry("handshakes", &phrase::line(&summary.opening_handshake_us));
    }
    for (name, times) in [("tls full", &summary.tls_full_us), ("tls resumed", &summary.tls_resumed_us)] {
        if times.count > 0 && phrase::is_told(times, summary.simulated) {
            page.entry(name, &phrase::line(times));
        }
    }
    let m = &summary.messages;
    if m.lost + m.not_started + m.unanswered + m.errors > 0 {
        let parts =
            [(m.not_started, "not sent (offline)"), (m.lost, "lost"), (m.unanswered, "unanswered"), (m.errors, "answered with an error")];
        let parts = parts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(" · {} {what}", number::count(n)));
        page.entry("messages", &format!("{} due{}", number::count(m.due), parts.collect::<String>()));
    } else if m.due == 0 && m.expected == 0 && m.received > 0 {
        // Of clients that only listen.
        page.entry("messages", &format!("{} received", number::count(m.received)));
    }
    if m.expected > 0 {
        let counts = [(m.recovered, "recovered"), (m.duplicated, "duplicated"), (m.out_of_order, "out of order")];
        let counts = counts.map(|(count, what)| format!(" · {} {what}", number::count(count))).concat();
        let (missed, expected) = (number::count(m.missed), number::count(m.expected));
        page.entry("missed", &format!("{missed} of {expected} messages ({}){counts}", number::share(m.missed, m.expected)));
        for row in &summary.losses {
            let whose = row.fault.as_deref().unwrap_or("no fault");
            let typical = row.p50.map(|p50| format!("p50 {}, ", number::count(p50))).unwrap_or_default();
            let outages = number::counted(row.outages, "outage");
            let unknown = if row.unknown > 0 { format!(" · {} more: not known", number::count(row.unknown)) } else { String::new() };
            page.entry(
                "",
                &format!("{}, {whose}: {outages}, {typical}most {}{unknown}", shortened(&row.cohort, 22), number::count(row.max)),
            );
        }
    }
    let (late, early) = (&summary.broadcast_latency_us, &summary.broadcast_latency_negative_us);
    if late.count > 0 {
        page.entry("broadcasts", &format!("{} after their timestamp; needs one clock", phrase::line(late)));
    }
    if early.count > 0 {
        let count = number::counted(early.count, "broadcast");
        let most = phrase::dash(early.max);
        page.entry("", &format!("{count} up to {most} before their timestamp: the clocks differ, and no latency is known of these"));
    }
    for (name, counts) in [("http requests", &summary.http_requests), ("errors", &summary.errors)] {
        if !counts.is_empty() {
            let words: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {}", number::count(*count))).collect();
            page.entry(name, &words.join(" · "));
        }
    }
}

/// The verdict alone, an expectation a line, for a terminal of `width` columns.
pub fn judgement(verdict: &Verdict, width: usize, colour: bool) -> String {
    let mut page = Page::new(width, colour);
    let widest = widest(&page, verdict);
    verdict.expectations.iter().for_each(|row| expectation(&mut page, row, widest));
    outcome(&mut page, verdict);
    page.into_text()
}

/// Columns of the longest expectation, where numbers have room beside it.
fn widest(page: &Page, verdict: &Verdict) -> usize {
    verdict.expectations.iter().map(|row| row.text.chars().count()).max().unwrap_or(0).min(page.width.saturating_sub(28))
}

/// An expectation with what was observed. One that is too long is told whole, with that below it.
fn expectation(page: &mut Page, row: &ExpectationRow, widest: usize) {
    let mark = page.verdict(&row.result, phrase::mark(&row.result));
    let beside = widest + 4;
    let mut text = wrapped(&row.text, page.width - 2);
    let last = text.pop().unwrap_or_default();
    for (n, part) in text.iter().enumerate() {
        page.line(&if n == 0 { format!("{mark} {part}") } else { format!("  {part}") });
    }
    let lead = if text.is_empty() { mark.as_str() } else { " " };
    if last.chars().count() > widest {
        page.line(&format!("{lead} {last}"));
    }
    // A note beside the number may be longer than the line.
    for (n, part) in wrapped(&phrase::observed(row), page.width - beside).iter().enumerate() {
        page.line(&if n == 0 && last.chars().count() <= widest {
            format!("{lead} {last:widest$}  {part}")
        } else {
            format!("{:beside$}{part}", "")
        });
    }
}

/// The answer and the verdict.
fn outcome(page: &mut Page, verdict: &Verdict) {
    let mut text = match verdict.result.as_str() {
        // Nothing was judged: neither a mark nor a colour.
        "unchecked" => String::new(),
        result => format!("{} {}", phrase::mark(result), result.to_uppercase()),
    };
    if !verdict.reasons.is_empty() {
        text += &format!("{}{}", if text.is_empty() { "" } else { ": " }, verdict.reasons.join("; "));
    }
    // Beside the answer where both have room in a line.
    let mut lines: Vec<String> = verdict.answer.iter().map(|answer| format!("{text} · {answer}")).collect();
    if lines.iter().any(|line| line.chars().count() > page.width) || text.is_empty() || lines.is_empty() {
        lines = verdict.answer.iter().cloned().chain(Some(text)).filter(|line| !line.is_empty()).collect();
    }
    for line in lines.iter().flat_map(|line| wrapped(line, page.width)).collect::<Vec<_>>() {
        page.line(&page.verdict(&verdict.result, &line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::latency::Times;
    use crate::plot::fixture;

    #[test]
    fn colour_changes_nothing_but_the_colour() {
        for (run, loaded) in fixture::all() {
            let plain = terminal(&loaded.summary, 100, None, false);
            let mut coloured = terminal(&loaded.summary, 100, None, true);
            for code in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[1;32m", "\x1b[1;31m", "\x1b[1;33m"] {
                coloured = coloured.replace(code, "");
            }
            let trimmed = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
            assert_eq!(trimmed(&plain), trimmed(&coloured), "{run}");
            assert!(!plain.contains('\x1b'));
        }
    }

    #[test]
    fn lines_fit_the_terminal() {
        for (run, loaded) in fixture::all() {
            for width in [80, 120] {
                for line in terminal(&loaded.summary, width, None, false).lines() {
                    assert!(line.chars().count() <= width, "{run} at {width}: {line}");
                }
            }
        }
    }

    #[test]
    fn what_a_peer_wrote_cannot_steer_the_terminal_and_no_line_begins_with_a_separator() {
        let mut summary = fixture::crash_storm().summary;
        summary.close_reasons[0].reason = "\u{1b}[31mred\u{7}\n\u{202e}txt".to_string();
        summary.notices.push("\u{1b}]0;title\u{7}".to_string());
        let text = terminal(&summary, 60, None, false);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()) && !text.contains('\u{202e}'), "{text:?}");
        assert!(text.contains("\\u{1b}[31mred\\u{7} \\u{202e}txt"), "{text}");
        assert!(text.lines().all(|line| !line.trim_start().starts_with('·')), "{text}");
        let mut loaded = fixture::crash_storm();
        loaded.summary = summary;
        let pages = [crate::report::markdown(&loaded), crate::report::html(&loaded, &[])];
        assert!(pages.iter().all(|page| page.chars().all(|c| c == '\n' || !c.is_control())));
    }

    #[test]
    fn the_answer_is_first_and_expectations_show_what_was_observed() {
        let text = terminal(&fixture::crash_storm().summary, 100, None, false);
        if std::env::var_os("CLOSESTORM_CHARTS").is_some() {
            println!("{text}\n{}", terminal(&fixture::strategies().summary, 80, None, false));
        }
        assert!(text.starts_with("closestorm run scenarios/crash-storm.toml --seed 7\n"));
        let place =
            |part: &str| text.lines().position(|line| line.contains(part)).unwrap_or_else(|| panic!("{part} is missing in\n{text}"));
        assert!(
            place("✗ FAIL: 1 of 4") < 6 && place("98.2 %") < place("clients  ") && place("clients  ") < place("✓ reconnect_time p99 < 10s"),
            "{text}"
        );
        for part in ["herd peak ", "1006 abnormal closure 1,000", "4.31 s", "too few samples", "98.2 %"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        // Where there is no room, what holds is counted.
        let lines = text.lines().count();
        assert_eq!(terminal(&fixture::crash_storm().summary, 100, Some(lines), false), text);
        let short = terminal(&fixture::crash_storm().summary, 100, Some(lines - 1), false);
        assert!(short.contains("\n✓ 2 other expectations hold") && !short.contains("✓ reconnect_time p99 < 10s"), "{short}");
    }

    #[test]
    fn no_number_stands_for_nobody_and_different_traffic_is_not_mixed() {
        let mut summary = fixture::crash_storm().summary;
        let plain = terminal(&summary, 100, None, false);
        assert_eq!(plain.lines().filter(|line| line.contains("round trips  p50")).count(), 1, "{plain}");
        // A second cohort that says something else.
        let (mut web, times) = (summary.cohorts["web"].clone(), summary.messages.rtt_us.clone());
        (web.messages.rtt_us, web.traffic) = (times.clone(), "echo 1/s of 100B".to_string());
        let closed = CohortRow { traffic: "echo, 1 in flight, of 100B".to_string(), ..web.clone() };
        summary.cohorts.extend([("web".to_string(), web), ("closed".to_string(), closed)]);
        let text = terminal(&summary, 100, None, false);
        assert!(text.contains("round trips  web: p50") && text.contains("\n             closed: p50"), "{text}");
        // Of a handful only the greatest is told.
        summary.opening_handshake_us = Times { count: 2, max: Some(629), ..Times::default() };
        assert!(terminal(&summary, 100, None, false).contains("handshakes   max 629 µs · n = 2\n"));
        // Handshakes that resumed a session cost less: they are not mixed with full ones.
        summary.tls_full_us = Times { count: 3, max: Some(9_100), ..Times::default() };
        summary.tls_resumed_us = Times { count: 2, max: Some(1_200), ..Times::default() };
        let text = terminal(&summary, 100, None, false);
        assert!(text.contains("tls full     max 9.1 ms · n = 3\ntls resumed  max 1.2 ms · n = 2\n"), "{text}");
        // Nothing was modelled that takes time.
        summary.simulated = true;
        summary.opening_handshake_us = Times { count: 50, p50: Some(0), max: Some(0), ..Times::default() };
        summary.cohorts.values_mut().for_each(|cohort| cohort.messages.rtt_us = Times { count: 50, max: Some(0), ..Times::default() });
        let text = terminal(&summary, 100, None, false);
        assert!(!text.contains("handshakes") && !text.contains("round trips") && !text.contains(" 0 µs"), "{text}");
    }
}
