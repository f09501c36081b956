//! The summary that a person reads in ten seconds: from the command to the verdict, in lines of a given width.

use super::{findings, phrase};
use crate::metrics::latency::needed;
use crate::number;
use crate::results::record::{Attempts, CohortRow, Reconnect, Summary, Verdict};
use crate::text::printable;
use std::collections::BTreeMap;
use std::path::Path;

/// Width of the names at the left.
const LABEL: usize = 13;
/// Cohorts beyond this are counted.
const COHORTS_MAX: usize = 8;
/// Close codes of a side beyond this are counted.
const CODES_MAX: usize = 4;
/// Answers, failures and close reasons beyond this are counted.
const LIST_MAX: usize = 4;
/// Characters of a close reason that are shown.
const REASON_MAX: usize = 60;
/// Silenced cohorts beyond this are counted.
const LIVENESS_MAX: usize = 12;
/// Surprises beyond this are counted.
const SURPRISES_MAX: usize = 5;

/// The summary of a run for a terminal of `width` columns (at least 60 are used), ending with the verdict and a line break.
///
/// `colour` adds ANSI colours and nothing else: without them the text is the same. Whether to colour is the caller's business.
pub fn terminal(summary: &Summary, width: usize, colour: bool) -> String {
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
    page.line("");
    clients(&mut page, summary);
    closes(&mut page, summary);
    reconnect(&mut page, summary);
    times(&mut page, summary);
    liveness(&mut page, summary);
    surprises(&mut page, summary);
    if summary.simulated {
        page.entry("simulated", "simulated in virtual time: nothing was sent, so the load generator cannot be late");
    } else if !summary.is_of_real() || !summary.generator.unreliable.is_empty() {
        page.entry("generator", &phrase::health(&summary.generator));
    }
    for notice in &summary.notices {
        page.entry("notice", notice);
    }
    verdict(&mut page, summary);
    page.out
}

/// Where the run folder is, and the next command to try; two lines.
pub fn where_next(summary: &Summary, folder: &Path) -> String {
    format!("report       {}\nnext         {}\n", folder.join("report.html").display(), next(summary, folder))
}

/// More clients after a pass and after too few samples, fewer after a failure; the same command where nothing was learnt.
fn next(summary: &Summary, folder: &Path) -> String {
    let planned = summary.clients.planned;
    let scales = summary.command.starts_with("closestorm run") && !summary.command.contains("--clients") && planned > 1;
    let again = elsewhere(&summary.command);
    let with = |clients: u64| format!("{again} --clients {clients}");
    let report = format!("closestorm report {}", folder.display());
    // A shard says nothing alone, and its start lies in the past.
    if has(&summary.command, "--shard") {
        return match summary.status.as_str() {
            "aborted" => format!("{again} --start-at TIME (all shards again)"),
            _ => format!("closestorm merge {} FOLDERS-OF-THE-OTHER-SHARDS", folder.display()),
        };
    }
    match summary.verdict.result.as_str() {
        _ if summary.status == "aborted" => again,
        "pass" | "unchecked" if scales => with(planned * 2),
        "fail" if scales => with(planned / 2),
        "inconclusive" if scales && summary.generator.saturated => with(planned / 2),
        "inconclusive" if !summary.generator.saturated => more_clients(summary).unwrap_or(report),
        _ => report,
    }
}

/// The command with as many clients as the percentiles need that had too few samples: at least twice as many. Where there were none, or
/// the run is not to be relied on, more clients would show no more.
fn more_clients(summary: &Summary) -> Option<String> {
    let runs = ["closestorm run", "closestorm simulate"].iter().any(|command| summary.command.starts_with(command));
    let rows = summary.verdict.expectations.iter().filter_map(|row| Some(row.needed?.div_ceil(row.samples.filter(|n| *n > 0)?)));
    let factor = rows.max().filter(|_| runs && summary.generator.unreliable.is_empty())?.max(2);
    let clients = summary.clients.planned.max(1).saturating_mul(factor);
    Some(format!("{} --clients {clients}", without(&summary.command, &["--out", "--start-at", "--clients"])))
}

/// The command without its `--out`, as that folder is there now, and without its `--start-at`, which is over.
fn elsewhere(command: &str) -> String {
    without(command, &["--out", "--start-at"])
}

/// Whether an option stands in the command.
fn has(command: &str, option: &str) -> bool {
    let words = shlex::split(command).unwrap_or_default();
    words.iter().any(|word| word == option || word.split_once('=').is_some_and(|(name, _)| name == option))
}

/// The command without these options and their values.
fn without(command: &str, options: &[&str]) -> String {
    let words = shlex::split(command).unwrap_or_default();
    let mut kept = Vec::new();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            _ if options.contains(&word) => _ = words.next(),
            _ if word.split_once('=').is_some_and(|(option, _)| options.contains(&option)) => {}
            _ => kept.push(word),
        }
    }
    shlex::try_join(kept).unwrap_or_else(|_| command.to_owned())
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
        parts.push(format!("herd peak {} in one second", number::count(a.peak_per_s)));
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
        let comma = if told > 0 { ", " } else { "server side: " };
        server += &format!("{comma}{} not recorded (server was killed, is not embedded, or did not notice)", number::count(silent));
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
    for (name, cohort) in out.iter().take(COHORTS_MAX) {
        rows.extend(cohort_rows(name, &cohort.reconnect, summary));
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
        let [due, not_started, lost, unanswered] = [m.due, m.not_started, m.lost, m.unanswered].map(number::count);
        let errors = if m.errors > 0 { format!(" · {} answered with an error", number::count(m.errors)) } else { String::new() };
        let line =
            format!("{due} due · {not_started} not started (offline) · {lost} lost (connection ended) · {unanswered} unanswered{errors}");
        page.entry("messages", &line);
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
    judged(&mut page, verdict);
    page.out
}

fn verdict(page: &mut Page, summary: &Summary) {
    page.line("");
    judged(page, &summary.verdict);
}

fn judged(page: &mut Page, verdict: &Verdict) {
    let expectations = &verdict.expectations;
    let widest = expectations.iter().map(|row| row.text.chars().count()).max().unwrap_or(0).min(page.width.saturating_sub(28));
    for row in expectations {
        let text = shortened(&row.text, widest);
        let mark = page.verdict(&row.result, phrase::mark(&row.result));
        // A note beside the number may be longer than the line.
        let beside = widest + 4;
        for (n, part) in wrapped(&phrase::observed(row), page.width - beside).iter().enumerate() {
            page.line(&if n == 0 { format!("{mark} {text:widest$}  {part}") } else { format!("{:beside$}{part}", "") });
        }
    }
    let width = page.width;
    for line in verdict.answer.iter().flat_map(|answer| wrapped(answer, width)) {
        page.line(&page.verdict(&verdict.result, &line));
    }
    let reasons = match verdict.reasons.len() {
        0 => String::new(),
        _ => format!(": {}", verdict.reasons.join("; ")),
    };
    let text = match verdict.result.as_str() {
        // Nothing was judged: neither a mark nor a colour.
        "unchecked" => verdict.reasons.join("; "),
        result => format!("{} {}{reasons}", phrase::mark(result), result.to_uppercase()),
    };
    for line in wrapped(&text, page.width) {
        page.line(&page.verdict(&verdict.result, &line));
    }
}

/// Lines that are being written.
pub(super) struct Page {
    out: String,
    width: usize,
    colour: bool,
}

impl Page {
    /// An empty one of `width` columns, at least 60.
    pub(super) fn new(width: usize, colour: bool) -> Page {
        Page { out: String::new(), width: width.max(60), colour }
    }

    /// What was written.
    pub(super) fn into_text(self) -> String {
        self.out
    }

    pub(super) fn line(&mut self, text: &str) {
        self.out += text;
        self.out.push('\n');
    }

    /// A name at the left and a text beside it, wrapped.
    pub(super) fn entry(&mut self, name: &str, text: &str) {
        for (n, part) in wrapped(text, self.width - LABEL).iter().enumerate() {
            let name = if n == 0 { name } else { "" };
            self.line(&format!("{}{part}", self.dim(&format!("{name:LABEL$}"))));
        }
    }

    /// A name at the left and the first few of a list beside it; nothing of an empty one.
    fn list(&mut self, name: &str, mut items: Vec<String>, what: &str) {
        if items.is_empty() {
            return;
        }
        let more = items.len().saturating_sub(LIST_MAX);
        items.truncate(LIST_MAX);
        if more > 0 {
            items.push(format!("{more} more {what} in the report"));
        }
        self.entry(name, &items.join(" · "));
    }

    /// A name at the left and columns beside it: the first flush left, the others flush right. Names are cut where the page is narrow.
    fn columns(&mut self, name: &str, rows: &[Vec<String>]) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(widest).collect();
        let numbers: usize = widths.iter().skip(1).map(|w| w + 2).sum();
        let first = widths.first().copied().unwrap_or(0).min(self.width.saturating_sub(LABEL + numbers)).max(6);
        for (n, row) in rows.iter().enumerate() {
            let mut line = format!("{:first$}", shortened(row.first().map_or("", String::as_str), first));
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                line += &format!("  {cell:>width$}");
            }
            let label = self.dim(&format!("{:LABEL$}", if n == 0 { name } else { "" }));
            let faint = n == 0 || row.first().is_some_and(|cell| cell.starts_with("  "));
            let line = line.trim_end();
            let line = if faint { self.dim(line) } else { line.to_string() };
            self.line(format!("{label}{line}").trim_end());
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour && !text.trim().is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    pub(super) fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(super) fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(super) fn verdict(&self, result: &str, text: &str) -> String {
        let code = match result {
            "pass" => "1;32",
            "fail" => "1;31",
            "unchecked" => return text.to_owned(),
            _ => "1;33",
        };
        self.paint(code, text)
    }
}

/// The text in lines of at most `width` characters, broken at spaces; a longer word stands alone.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    // A separator stays with what it ends: no line begins with one.
    let text = printable(text).replace(" · ", "\u{a0}· ");
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let word = &word.replace('\u{a0}', " ");
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_string());
        }
    }
    lines
}

/// The text, cut with `…` beyond `max` characters.
fn shortened(text: &str, max: usize) -> String {
    let text = printable(text);
    if text.chars().count() <= max {
        return text;
    }
    text.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::latency::Times;
    use crate::plot::fixture;

    #[test]
    fn colour_changes_nothing_but_the_colour() {
        for (run, loaded) in fixture::all() {
            let plain = terminal(&loaded.summary, 100, false);
            let mut coloured = terminal(&loaded.summary, 100, true);
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
                for line in terminal(&loaded.summary, width, false).lines() {
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
        let text = terminal(&summary, 60, false);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()) && !text.contains('\u{202e}'), "{text:?}");
        assert!(text.contains("\\u{1b}[31mred\\u{7} \\u{202e}txt"), "{text}");
        assert!(text.lines().all(|line| !line.trim_start().starts_with('·')), "{text}");
        let mut loaded = fixture::crash_storm();
        loaded.summary = summary;
        let pages = [crate::report::markdown(&loaded), crate::report::html(&loaded, &[])];
        assert!(pages.iter().all(|page| page.chars().all(|c| c == '\n' || !c.is_control())));
    }

    #[test]
    fn the_verdict_is_last_and_expectations_show_what_was_observed() {
        let text = terminal(&fixture::crash_storm().summary, 100, false);
        if std::env::var_os("CLOSESTORM_CHARTS").is_some() {
            println!("{text}\n{}", terminal(&fixture::strategies().summary, 80, false));
        }
        assert!(text.starts_with("closestorm run scenarios/crash-storm.toml --seed 7\n"));
        assert!(text.trim_end().lines().last().is_some_and(|line| line.starts_with("✗ FAIL: 1 of 4")), "{text}");
        for part in ["herd peak ", "1006 abnormal closure 1,000", "✓ reconnect_time p99 < 10s", "4.31 s", "too few samples", "98.2 %"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn no_number_stands_for_nobody_and_different_traffic_is_not_mixed() {
        let mut summary = fixture::crash_storm().summary;
        let plain = terminal(&summary, 100, false);
        assert_eq!(plain.lines().filter(|line| line.contains("round trips  p50")).count(), 1, "{plain}");
        // A second cohort that says something else.
        let (mut web, times) = (summary.cohorts["web"].clone(), summary.messages.rtt_us.clone());
        (web.messages.rtt_us, web.traffic) = (times.clone(), "echo 1/s of 100B".to_string());
        let closed = CohortRow { traffic: "echo, 1 in flight, of 100B".to_string(), ..web.clone() };
        summary.cohorts.extend([("web".to_string(), web), ("closed".to_string(), closed)]);
        let text = terminal(&summary, 100, false);
        assert!(text.contains("round trips  web: p50") && text.contains("\n             closed: p50"), "{text}");
        // Of a handful only the greatest is told.
        summary.opening_handshake_us = Times { count: 2, max: Some(629), ..Times::default() };
        assert!(terminal(&summary, 100, false).contains("handshakes   max 629 µs · n = 2\n"));
        // Handshakes that resumed a session cost less: they are not mixed with full ones.
        summary.tls_full_us = Times { count: 3, max: Some(9_100), ..Times::default() };
        summary.tls_resumed_us = Times { count: 2, max: Some(1_200), ..Times::default() };
        let text = terminal(&summary, 100, false);
        assert!(text.contains("tls full     max 9.1 ms · n = 3\ntls resumed  max 1.2 ms · n = 2\n"), "{text}");
        // Nothing was modelled that takes time.
        summary.simulated = true;
        summary.opening_handshake_us = Times { count: 50, p50: Some(0), max: Some(0), ..Times::default() };
        summary.cohorts.values_mut().for_each(|cohort| cohort.messages.rtt_us = Times { count: 50, max: Some(0), ..Times::default() });
        let text = terminal(&summary, 100, false);
        assert!(!text.contains("handshakes") && !text.contains("round trips") && !text.contains(" 0 µs"), "{text}");
    }

    #[test]
    fn the_next_command_does_not_write_into_the_same_folder() {
        for (command, next) in [
            ("closestorm run 'a b.toml' --out x --seed 7", "closestorm run 'a b.toml' --seed 7"),
            ("closestorm run --out=x", "closestorm run"),
            ("closestorm run x.toml --start-at 2026-01-31T12:00:00Z --out x", "closestorm run x.toml"),
            ("closestorm run", "closestorm run"),
        ] {
            assert_eq!(elsewhere(command), next);
        }
    }

    #[test]
    fn too_few_samples_ask_for_more_clients() {
        for (samples, needed, command, next) in [
            (23, 299, "closestorm run x.toml --seed 7", "closestorm run x.toml --seed 7 --clients 13000"),
            (298, 299, "closestorm run x.toml --clients=5 --out a", "closestorm run x.toml --clients 2000"),
            (0, 5, "closestorm simulate x.toml --clients 10", "closestorm report results/x"),
        ] {
            let mut summary = fixture::crash_storm().summary;
            summary.verdict.result = "inconclusive".to_string();
            (summary.command, summary.generator.saturated) = (command.to_string(), false);
            let row = &mut summary.verdict.expectations[0];
            (row.samples, row.needed) = (Some(samples), Some(needed));
            let text = where_next(&summary, Path::new("results/x"));
            assert!(text.ends_with(&format!("{next}\n")), "{text}");
            summary.generator.unreliable = vec!["the target ended by itself".to_string()];
            assert!(where_next(&summary, Path::new("results/x")).ends_with("closestorm report results/x\n"));
        }
    }

    #[test]
    fn after_a_shard_comes_the_merge_and_never_its_start_again() {
        let mut summary = fixture::crash_storm().summary;
        summary.command = "closestorm run x.toml --shard 1/2 --start-at=2026-01-31T12:00:00Z --out one".to_string();
        for result in ["unchecked", "inconclusive", "pass"] {
            summary.verdict.result = result.to_string();
            let text = where_next(&summary, Path::new("one"));
            assert!(text.ends_with("next         closestorm merge one FOLDERS-OF-THE-OTHER-SHARDS\n"), "{text}");
        }
        summary.status = "aborted".to_string();
        let text = where_next(&summary, Path::new("one"));
        assert!(text.ends_with("next         closestorm run x.toml --shard 1/2 --start-at TIME (all shards again)\n"), "{text}");
    }

    #[test]
    fn the_next_command_depends_on_the_verdict() {
        let folder = Path::new("results/crash-storm/1");
        for (result, status, next) in [
            ("pass", "completed", "closestorm run scenarios/crash-storm.toml --seed 7 --clients 2000"),
            ("unchecked", "completed", "closestorm run scenarios/crash-storm.toml --seed 7 --clients 2000"),
            ("fail", "completed", "closestorm run scenarios/crash-storm.toml --seed 7 --clients 500"),
            ("inconclusive", "aborted", "closestorm run scenarios/crash-storm.toml --seed 7"),
            ("inconclusive", "completed", "closestorm report results/crash-storm/1"),
        ] {
            let mut summary = fixture::crash_storm().summary;
            (summary.verdict.result, summary.status) = (result.to_string(), status.to_string());
            let text = where_next(&summary, folder);
            assert!(text.ends_with(&format!("{next}\n")), "{text}");
            assert!(text.contains("results/crash-storm/1/report.html"));
        }
    }
}
