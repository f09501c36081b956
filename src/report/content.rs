//! What stands in a report and in which order: the verdict first, then what explains it.

use super::document::{Block, Table};
use super::findings;
use super::phrase;
use crate::close;
use crate::metrics::latency::Times;
use crate::metrics::meta::SeenFrom;
use crate::number;
use crate::plot::Loaded;
use crate::results::record::{Attempts, EndingRow, Messages, Summary};
use crate::results::spread::Spread;
use std::collections::BTreeSet;

/// Rows of the table of endings; the rest is in `closes.csv`.
const ENDINGS_MAX: usize = 40;

/// Heads the section on outages.
pub(super) const RECONNECT: &str = "Time to reconnect";
/// Heads the section with the timeline.
pub(super) const WHAT_HAPPENED: &str = "What happened";
/// Heads the section on faults.
pub(super) const FAULTS: &str = "Faults";

/// The title of a report.
pub(super) fn title(summary: &Summary) -> String {
    format!("{}{}", summary.scenario, if summary.simulated { " (simulated)" } else { "" })
}

/// The whole report, without its title.
pub(super) fn blocks(loaded: &Loaded) -> Vec<Block> {
    let summary = &loaded.summary;
    let mut blocks = verdict(summary);
    blocks.push(Block::Figures(figures(summary)));
    blocks.push(target(summary));
    blocks.extend([heading(WHAT_HAPPENED), Block::Chart("timeline"), Block::Table(ledger(summary))]);
    blocks.extend(turned_away(summary));
    blocks.push(Block::Chart("attempts"));
    if !summary.faults.is_empty() {
        blocks.extend([heading(FAULTS), Block::Table(faults(summary))]);
    }
    blocks.push(heading(RECONNECT));
    if summary.reconnect.unseen {
        let why = "Not known: nothing tells which client of those that came was there before.";
        blocks.push(Block::Paragraph(why.to_string()));
    } else if summary.reconnect.affected == 0 {
        blocks.push(Block::Paragraph("No outage: no open connection was lost.".to_string()));
    } else {
        blocks.extend([Block::Chart("reconnect"), Block::Table(reconnects(summary))]);
        blocks.extend([heading("Phases of the outages"), Block::Chart("phases"), Block::Table(phases(summary))]);
    }
    blocks.extend(super::runs::blocks(loaded));
    blocks.push(heading("How connections ended"));
    if summary.connections.closed == 0 && loaded.closes.is_empty() {
        blocks.extend([Block::Paragraph("No connection ended.".to_string()), Block::Chart("close-codes")]);
    } else {
        blocks.extend([Block::Chart("endings"), Block::Chart("close-codes"), Block::Table(codes(summary))]);
    }
    blocks.extend(reasons(summary));
    blocks.extend(endings(loaded));
    blocks.extend([heading("Messages and handshakes"), Block::Chart("round-trips"), Block::Chart("broadcasts"), Block::Chart("missed")]);
    blocks.extend([Block::Table(messages(summary)), Block::Table(times(summary))]);
    blocks.extend(findings::blocks(summary));
    blocks.push(heading("Load generator health"));
    blocks.push(Block::Paragraph(if summary.simulated {
        "Simulated in virtual time: nothing was sent, so the load generator cannot be late.".to_string()
    } else if summary.is_of_real() && summary.generator.unreliable.is_empty() {
        "The clients are real ones: there was no load generator.".to_string()
    } else {
        sentence(&phrase::health(&summary.generator))
    }));
    if !summary.notices.is_empty() {
        blocks.extend([heading("Notices"), Block::List(summary.notices.clone())]);
    }
    blocks.extend(repeat(loaded));
    // Nothing to draw, nothing to list: nothing stands there.
    blocks.retain(|block| match block {
        Block::Table(table) => !table.rows.is_empty(),
        Block::Chart(name) => crate::plot::applies(name, loaded),
        _ => true,
    });
    without_empty_sections(blocks)
}

/// Drops headings below which nothing stands.
fn without_empty_sections(blocks: Vec<Block>) -> Vec<Block> {
    let is_heading = |block: Option<&Block>| matches!(block, Some(Block::Heading(_)) | None);
    let empty: Vec<bool> = (0..blocks.len()).map(|n| matches!(blocks[n], Block::Heading(_)) && is_heading(blocks.get(n + 1))).collect();
    blocks.into_iter().zip(empty).filter(|(_, empty)| !empty).map(|(block, _)| block).collect()
}

fn heading(text: &str) -> Block {
    Block::Heading(text.to_string())
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), chars.as_str()))
}

fn target(summary: &Summary) -> Block {
    let length = match summary.measured_ms < summary.duration_ms {
        true => format!("{} of {}", number::time(summary.measured_ms * 1000), number::time(summary.duration_ms * 1000)),
        false => number::time(summary.duration_ms * 1000),
    };
    let world = phrase::world(summary);
    Block::Paragraph(format!("Target: {} · seed {} · {length} · {world} · {}", summary.target, summary.seed, summary.status))
}

/// The machine, and how to make the run again; nothing that differs from one time to the next.
fn repeat(loaded: &Loaded) -> Vec<Block> {
    let mut blocks = Vec::new();
    if let Some(manifest) = &loaded.manifest {
        let mut table = Table::new(2, &["Machine", "Value"]);
        let size = |text: &String| text.parse().map_or_else(|_| text.clone(), number::bytes);
        let facts = manifest.machine.iter().map(|(name, value)| (name.trim_end_matches("_bytes"), value, name.ends_with("_bytes")));
        let limits = manifest.limits.iter().map(|(name, value)| (name.as_str(), value, false));
        for (name, value, is_size) in facts.chain(limits) {
            table.rows.push(vec![name.replace('_', " "), if is_size { size(value) } else { value.clone() }]);
        }
        blocks.extend([heading("The machine"), Block::Table(table)]);
    }
    blocks.extend([heading("How to repeat"), Block::Command(loaded.summary.command.clone())]);
    if let Some(manifest) = &loaded.manifest {
        let commit = if manifest.commit.is_empty() { String::new() } else { format!(" (commit {})", manifest.commit) };
        let text = format!("closestorm {}{commit} · seed {}", manifest.version, manifest.seed);
        blocks.push(Block::Paragraph(text));
    }
    blocks
}

/// The question, its answer, and what was expected beside what was observed.
fn verdict(summary: &Summary) -> Vec<Block> {
    let verdict = &summary.verdict;
    let text = match verdict.result.as_str() {
        "unchecked" => verdict.reasons.join("; "),
        result if verdict.reasons.is_empty() => result.to_owned(),
        result => format!("{result}: {}", verdict.reasons.join("; ")),
    };
    let result = verdict.result.clone();
    let mut blocks: Vec<Block> = summary.question.iter().map(|question| Block::Lead(question.clone())).collect();
    match &verdict.answer {
        Some(answer) => blocks.extend([Block::Verdict { result, text: answer.clone() }, Block::Paragraph(sentence(&text))]),
        None => blocks.push(Block::Verdict { result, text }),
    }
    blocks.extend(summary.hypothesis.iter().map(|text| Block::Paragraph(format!("Hypothesis: {text}"))));
    if !verdict.expectations.is_empty() {
        let mut table = Table::new(2, &["", "Expectation", "Observed"]);
        for row in &verdict.expectations {
            table.rows.push(vec![phrase::mark(&row.result).to_string(), row.text.clone(), phrase::observed(row)]);
        }
        blocks.push(Block::Table(table));
    }
    blocks
}

fn figures(summary: &Summary) -> Vec<(String, String)> {
    let clients = &summary.clients;
    let [p50, _, p99, max] = phrase::reconnect_quantiles(&summary.reconnect, summary.measured_ms);
    let mut figures = vec![
        (if summary.is_of_real() { "clients that came" } else { "clients planned" }.to_string(), number::count(summary.population())),
        ("open at the peak".to_string(), number::count(clients.peak_open)),
        ("open at the end".to_string(), number::count(clients.open_at_end)),
    ];
    if let Some(lost) = clients.lost.filter(|lost| *lost > 0) {
        figures.push(("gave up".to_string(), number::count(lost)));
    }
    let seeds = summary.runs.as_ref().filter(|runs| runs.done > 1);
    // Of several seeds the middle one counts, which need not be the first.
    let of = seeds.map_or_else(String::new, |runs| format!(", median of {} seeds", runs.done));
    let peak = seeds.and_then(|runs| runs.attempts_peak_per_s.median).unwrap_or(summary.attempts.peak_per_s);
    if peak > 1 {
        figures.push((format!("most attempts within a second{of}"), number::count(peak)));
    }
    if clients.never_opened > 0 {
        figures.push(("never opened".to_string(), number::count(clients.never_opened)));
    }
    if let Some(runs) = seeds.filter(|_| summary.reconnect.affected > 0) {
        let times = [("median time to reconnect", runs.reconnect_p50_us), ("p99 time to reconnect", runs.reconnect_p99_us)];
        let said = |(what, spread): (&str, Spread)| Some((format!("{what}{of}"), number::time(spread.median?)));
        figures.extend(times.into_iter().filter_map(said));
    } else if summary.reconnect.affected > 0 {
        let times = [("median time to reconnect", p50), ("p99 time to reconnect", p99), ("longest time to reconnect", max)];
        figures.extend(times.into_iter().filter(|(_, text)| !text.starts_with("n/a")).map(|(what, text)| (what.to_string(), text)));
    }
    // Of cohorts that say different things there is no one median.
    if let [(None, messages)] = phrase::round_trips(summary)[..]
        && let Some(us) = messages.rtt_us.p50
    {
        figures.push(("median round trip".to_string(), number::time(us)));
    }
    figures
}

fn ledger(summary: &Summary) -> Table {
    let head = ["Attempts", "All", "Opened", "Refused", "Timed out", "Rejected", "Failed", "Abandoned", "Peak per second"];
    let mut table = Table::new(1, &head);
    let row = |name: &str, a: &Attempts| {
        let n = &a.counts;
        let (mut row, unseen) = (vec![name.to_string()], summary.is_of_real());
        row.extend([n.total, n.opened].map(number::count));
        row.extend([n.refused, n.timed_out].map(|count| if unseen { phrase::dash(None) } else { number::count(count) }));
        row.extend([n.rejected, n.failed, n.abandoned, a.peak_per_s].map(number::count));
        row
    };
    for (name, cohort) in summary.cohorts.iter().filter(|(_, cohort)| cohort.attempts.counts.total > 0) {
        table.rows.push(row(name, &cohort.attempts));
    }
    if table.rows.len() > 1 {
        table.rows.push(row("all", &summary.attempts));
    }
    table
}

/// How servers answered attempts that did not open, and why others failed.
fn turned_away(summary: &Summary) -> Vec<Block> {
    let mut answers = Table::new(3, &["HTTP status", "Retry-After", "Location", "Attempts"]);
    for row in &summary.answers {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "—".to_string());
        let after = or_dash(row.retry_after_s.map(|s| format!("{s} s")));
        answers.rows.push(vec![row.status.to_string(), after, or_dash(row.location.clone()), number::count(row.count)]);
    }
    let mut failures = Table::new(1, &["Why attempts failed", "Attempts"]);
    failures.rows.extend(summary.failures.iter().map(|row| vec![row.why.clone(), number::count(row.count)]));
    [answers, failures].into_iter().filter(|table| !table.rows.is_empty()).map(Block::Table).collect()
}

fn reconnects(summary: &Summary) -> Table {
    let head = ["Cohort", "Strategy", "Outages", "Back", "Gave up", "Attempts each", "p50", "p90", "p99", "max"];
    let mut table = Table::new(2, &head);
    for (name, cohort) in summary.cohorts.iter().filter(|(_, cohort)| cohort.reconnect.affected > 0) {
        let r = &cohort.reconnect;
        let mut row = vec![name.clone(), cohort.strategy.clone()];
        row.extend([r.affected, r.recovered, r.gave_up].map(number::count));
        row.push(r.attempts_mean.map_or_else(|| "—".to_string(), number::quantity));
        row.extend(phrase::reconnect_quantiles(r, summary.measured_ms));
        table.rows.push(row);
    }
    table
}

fn phases(summary: &Summary) -> Table {
    let mut table = Table::new(2, &["Cohort", "Phase of the outage", "Samples", "p50", "p90", "p99", "max"]);
    for (name, cohort) in summary.cohorts.iter().filter(|(_, cohort)| cohort.reconnect.affected > 0) {
        let r = &cohort.reconnect;
        for (phase, times) in phrase::phases(r, summary.simulated) {
            let mut row = vec![name.clone(), phase.to_string(), number::count(times.count)];
            row.extend(phrase::phase_quantiles(times));
            table.rows.push(row);
        }
    }
    table
}

fn codes(summary: &Summary) -> Table {
    let mut table = Table::new(2, &["Code", "Name", "Client app sees", "Share", "Server app sees", "Share"]);
    let sides = [&summary.close_codes.client, &summary.close_codes.server];
    let all: BTreeSet<&String> = sides.iter().flat_map(|side| side.keys()).collect();
    for code in all {
        let name = code.parse().map_or("", close::name);
        let mut row = vec![code.clone(), name.to_string()];
        for side in sides {
            // A side of which nothing is known has no zeros.
            if side.is_empty() {
                row.extend(["—".to_string(), "—".to_string()]);
                continue;
            }
            let n = side.get(code).copied().unwrap_or(0);
            row.extend([number::count(n), number::share(n, side.values().sum())]);
        }
        table.rows.push(row);
    }
    table
}

fn reasons(summary: &Summary) -> Option<Block> {
    let whose = if summary.seen_from == SeenFrom::Server { "Reason that the server received" } else { "Reason that clients received" };
    let mut table = Table::new(2, &["Code", whose, "Connections"]);
    for row in summary.close_reasons.iter().filter(|row| !row.reason.is_empty()) {
        table.rows.push(vec![row.code.to_string(), row.reason.clone(), number::count(row.count)]);
    }
    (!table.rows.is_empty()).then_some(Block::Table(table))
}

fn endings(loaded: &Loaded) -> Vec<Block> {
    let mut rows: Vec<&EndingRow> = if loaded.closes.is_empty() { &loaded.summary.endings } else { &loaded.closes }.iter().collect();
    rows.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.cause.cmp(&b.cause)));
    let head = [
        "Cohort",
        "Cause",
        "Started by",
        "Received",
        "Sent",
        "TCP",
        "TLS",
        "Cut",
        "Clean",
        "Client app sees",
        "Server app sees",
        "Server's TCP",
        "Connections",
    ];
    let mut table = Table::new(12, &head);
    for row in rows.iter().take(ENDINGS_MAX) {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "—".to_string());
        table.rows.push(vec![
            row.cohort.clone(),
            row.cause.clone(),
            row.initiator.clone(),
            phrase::wire(row.wire_received),
            phrase::wire(row.wire_sent),
            or_dash(row.tcp_end.clone()),
            or_dash(row.tls_end.clone()),
            row.mid_frame.map_or_else(|| "—".to_string(), phrase::yes),
            phrase::yes(row.clean),
            or_dash(row.client_code.map(|code| code.to_string())),
            or_dash(row.server_code.map(|code| code.to_string())),
            or_dash(row.server_tcp_end.clone()),
            number::count(row.count),
        ]);
    }
    if rows.is_empty() {
        return Vec::new();
    }
    let mut note =
        "Each row shows the cause, the status codes on the wire (— means no Close frame; empty means a Close frame without a code), how \
         TCP ended, and the code that the app on each side sees (— means not recorded: the server was killed, is not embedded, or did \
         not notice)."
            .to_string();
    if loaded.summary.seen_from == SeenFrom::Server {
        note += " The clients are real ones: what they received is what the server sent to them, and what they were told was not seen.";
    }
    if rows.len() > ENDINGS_MAX {
        note += &format!(" The {} most frequent of {}; all are in closes.csv.", ENDINGS_MAX, rows.len());
    }
    vec![Block::Paragraph(note), Block::Table(table)]
}

fn faults(summary: &Summary) -> Table {
    let head = ["Fault", "Kind", "Side", "From", "Until", "Fired", "Selected", "Injected", "Outages over", "p50", "p99"];
    let mut table = Table::new(3, &head);
    for fault in &summary.faults {
        let at = |ms: Option<u64>| phrase::dash(ms.map(|ms| ms * 1000));
        let mut row = vec![fault.id.clone(), fault.kind.clone(), fault.side.clone(), at(fault.at_ms), at(fault.until_ms)];
        row.extend([fault.fired, fault.selected, fault.injected].map(number::count));
        row.push(if summary.seen_from == SeenFrom::Server { phrase::dash(None) } else { number::count(fault.recovered) });
        row.extend([phrase::dash(fault.reconnect_us.p50), phrase::dash(fault.reconnect_us.p99)]);
        table.rows.push(row);
    }
    table
}

fn messages(summary: &Summary) -> Table {
    let mut table = Table::new(1, &["Messages", "Due", "Not started", "Sent", "Answered", "Lost", "Unanswered", "Received"]);
    let mut rows: Vec<(&str, &Messages)> = summary.cohorts.iter().map(|(name, cohort)| (name.as_str(), &cohort.messages)).collect();
    if rows.len() == 1 {
        rows[0].1 = &summary.messages;
    }
    rows.retain(|(_, m)| m.due + m.sent + m.received > 0);
    if rows.len() > 1 {
        rows.push(("all", &summary.messages));
    }
    for (name, m) in rows {
        let counts = [m.due, m.not_started, m.sent, m.answered, m.lost, m.unanswered, m.received].map(number::count);
        table.rows.push(std::iter::once(name.to_string()).chain(counts).collect());
    }
    table
}

fn times(summary: &Summary) -> Table {
    let mut table = Table::new(1, &["Time", "Samples", "min", "p50", "p90", "p99", "p99.9", "max"]);
    let mut rows: Vec<(String, &Times)> = [
        ("TCP connect", &summary.tcp_connect_us),
        ("TLS handshake", &summary.tls_us),
        ("full handshakes", &summary.tls_full_us),
        ("resumed sessions", &summary.tls_resumed_us),
        ("Opening handshake", &summary.opening_handshake_us),
        ("Open to ready", &summary.time_to_ready_us),
        ("HTTP request before a connection", &summary.http_request_us),
        ("Closing handshake", &summary.closing_handshake_us),
        ("part: wait for the answering Close frame", &summary.close_ack_us),
        ("part: wait for the end of TCP", &summary.fin_wait_us),
        ("Broadcast, by its timestamp (needs one clock)", &summary.broadcast_latency_us),
        ("Broadcast, before its timestamp (clocks differ)", &summary.broadcast_latency_negative_us),
    ]
    .map(|(name, times)| (name.to_string(), times))
    .to_vec();
    for (cohort, messages) in phrase::round_trips(summary) {
        let whose = cohort.map_or_else(String::new, |name| format!(" of {name}"));
        rows.push((format!("Round trip{whose}, from due"), &messages.rtt_us));
        rows.push((format!("Round trip{whose}, from sent"), &messages.rtt_from_sent_us));
    }
    for (name, times) in rows.into_iter().filter(|(_, times)| phrase::is_told(times, summary.simulated)) {
        let [p50, p90, p99, max] = phrase::quantiles(times);
        let p999 = phrase::stated(times, times.p999, 0.999);
        table.rows.push(vec![name, phrase::samples(times), phrase::dash(times.min), p50, p90, p99, p999, max]);
    }
    table
}
