//! The tables: on the terminal, and between two marks in docs/benchmarks.md.

use super::goals::{self, Goal, Limit};
use super::measure::Bench;
use super::samples::Samples;
use super::{dialogues, machine, ours, peers, proxies};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

const BEGIN: &str = "<!-- clients: written by scripts/bench -->";
const END: &str = "<!-- clients: end -->";

/// Puts the tables where docs/benchmarks.md has its marks.
pub(crate) fn write(bench: &Bench, goals: &[Goal]) -> Result<(), String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks.md");
    let fail = |error: std::io::Error| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(&path).map_err(fail)?;
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.ok_or_else(|| format!("{}: the marks {BEGIN} and {END} are missing", path.display()))?;
    let tables = render(bench, goals);
    std::fs::write(&path, format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", tables.trim_end())).map_err(fail)?;
    eprintln!("written: {}", path.display());
    Ok(())
}

/// All tables as Markdown.
pub(crate) fn render(bench: &Bench, goals: &[Goal]) -> String {
    let samples = &bench.samples;
    [
        about(bench),
        goal_table(goals),
        client_table(samples),
        tls_table(samples),
        rate_table(samples),
        herd_table(samples),
        cost_table(samples),
        dialogue_table(samples),
        proxy_table(samples),
        floor(samples),
        missing(samples),
    ]
    .concat()
}

fn about(bench: &Bench) -> String {
    let version = |mut command: Command| {
        let output = command.output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        output.unwrap_or_default()
    };
    let ours = bench.samples.rounds("closestorm").max(bench.samples.rounds("floor"));
    let of_peers: BTreeSet<usize> = peers::PEERS.iter().map(|peer| bench.samples.rounds(peer.name)).filter(|rounds| *rounds > 0).collect();
    let peers = match of_peers.first() {
        Some(fewest) if *fewest < ours => format!(", of {fewest} for other tools"),
        _ => String::new(),
    };
    let program = version({
        let mut command = Command::new(ours::program());
        command.arg("--version");
        command
    });
    let mut commit = Command::new("git");
    commit.args(["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "--short", "HEAD"]);
    format!(
        "Machine: {}; {}. Medians of {} rounds{peers}. {program}, commit {}.\n\n",
        machine::describe(),
        bench.cores.describe(),
        ours,
        version(commit)
    )
}

fn goal_table(goals: &[Goal]) -> String {
    let mut out = String::from("### Goals\n\n| goal | asked | figure | |\n|---|---:|---:|---|\n");
    for goal in goals {
        let asked = match goal.limit {
            Limit::AtLeast(limit) => format!("≥ {}", number(limit)),
            Limit::AtMost(limit) => format!("≤ {}", number(limit)),
        };
        let (figure, word) = match goal.figure {
            None => ("–".to_owned(), "not measured"),
            Some(figure) => (with_unit(&number(figure), goal.unit), if goal.is_reached() { "reached" } else { "not reached" }),
        };
        let _ = writeln!(out, "| {} | {} | {figure} | {word} |", goal.text, with_unit(&asked, goal.unit));
    }
    out + "\n"
}

fn client_table(samples: &Samples) -> String {
    let mut out = String::from(
        "### Clients\n\n| client | opening handshakes/s, 5,000 at once | 15,000 at once | resident KiB per idle client | round trips/s, 500 clients |\n\
         |---|---:|---:|---:|---:|\n",
    );
    let mut rows = vec![
        ("floor", "bare epoll loop (the floor)".to_owned()),
        ("floor-spread", "the floor over three addresses".to_owned()),
        ("bare", "tokio-tungstenite, tuned".to_owned()),
        ("bare-spread", "the same over three addresses".to_owned()),
        ("closestorm", "**closestorm**".to_owned()),
    ];
    rows.extend(peers::PEERS.iter().map(|peer| (peer.name, format!("{} {}", peer.title, peer.version()))));
    for (who, title) in rows.into_iter().filter(|(who, _)| samples.has(who)) {
        let rate = |section: &str| cell(samples.median(section, who, "per_s"));
        let memory = goals::kib_per_client(samples, who).map_or("–".to_owned(), |kib| format!("{:.1}", kib.max(0.0)));
        let _ = writeln!(out, "| {title} | {} | {} | {memory} | {} |", rate("open"), rate("crowd"), rate("echo"));
    }
    out + "\n"
}

fn tls_table(samples: &Samples) -> String {
    let mut out = String::from(
        "### 2,000 clients at once over wss\n\n| client | full handshakes/s | processor time, us | resumed handshakes/s | processor time, us |\n\
         |---|---:|---:|---:|---:|\n",
    );
    for who in ["bare", "closestorm"] {
        let of = |section: &str, figure: &str| cell(samples.median(section, who, figure));
        let [full, resumed] = ["full", "resumed"].map(|section| (of(section, "per_s"), of(section, "cpu_us")));
        let _ = writeln!(out, "| {who} | {} | {} | {} | {} |", full.0, full.1, resumed.0, resumed.1);
    }
    out + "\n"
}

fn rate_table(samples: &Samples) -> String {
    let mut out = String::from(
        "### 1,000 clients, ten messages a second each\n\n| client | p50 from due, us | p99 from due, us | sent late | processor time a message, us | \
         sleeps a message | the server's |\n|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for who in ["floor", "bare", "closestorm"] {
        let of = |figure: &str| cell(samples.median("rate", who, figure));
        let sleeps = |figure: &str| samples.median("rate", who, figure).map_or("–".to_owned(), |sleeps| format!("{sleeps:.2}"));
        let (own, server) = (sleeps("sleeps"), sleeps("server_sleeps"));
        let _ = writeln!(out, "| {who} | {} | {} | {} | {} | {own} | {server} |", of("p50_us"), of("p99_us"), of("late"), of("cpu_us"));
    }
    out + "\n"
}

fn herd_table(samples: &Samples) -> String {
    let mut out =
        String::from("### The herd: 15,000 clients lose their server and return\n\n| client | all back after, ms |\n|---|---:|\n");
    for (who, title) in [("floor", "floor, one address"), ("floor-spread", "floor, three addresses"), ("closestorm", "closestorm")] {
        let _ = writeln!(out, "| {title} | {} |", cell(samples.median("herd", who, "ms")));
    }
    out + "\n"
}

fn cost_table(samples: &Samples) -> String {
    let mut out =
        String::from("### Processor time a handshake\n\n| client | at 1,000, us | at 15,000, us | ratio |\n|---|---:|---:|---:|\n");
    for who in ["floor", "floor-spread", "bare", "bare-spread", "closestorm"] {
        let few = goals::cpu_per_handshake(samples, "thousand", who.trim_end_matches("-spread"));
        let many = goals::cpu_per_handshake(samples, "crowd", who);
        let _ = writeln!(out, "| {who} | {} | {} | {} |", cell(few), cell(many), cell(goals::growth(samples, who)));
    }
    out += "\n### Ten faults on other connections\n\n| | all processes, us a message | generator alone, us |\n|---|---:|---:|\n";
    for who in ["without", "with"] {
        let of = |figure: &str| cell(samples.median("faults", who, figure));
        let _ = writeln!(out, "| {who} faults | {} | {} |", of("all_us"), of("own_us"));
    }
    out + "\n"
}

fn dialogue_table(samples: &Samples) -> String {
    let mut out = String::from(
        "### Dialogues beside an echo\n\n| client | memory of one beyond an echo client's, B | round trips/s of processor time | of an echo's |\n|---|---:|---:|---:|\n",
    );
    let of = |kind: &str| samples.median("dialogue", kind, "per_cpu_s");
    for (kind, _) in dialogues::KINDS {
        let ratio = of(kind).zip(of("echo")).map(|(own, echo)| own / echo);
        let _ = writeln!(out, "| {kind} | {} | {} | {} |", cell(goals::beyond_echo(samples, kind)), cell(of(kind)), cell(ratio));
    }
    out + "\n"
}

fn proxy_table(samples: &Samples) -> String {
    let mut out = String::from(
        "### An idle proxy\n\n| between client and server | messages of 64 B/s | of its processor time | messages of 64 KiB/s | of its processor time | \
         B an idle connection | p50, us | p99, us |\n|---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for who in proxies::MIDDLES {
        let of = |section: &str, figure: &str| cell(samples.median(section, who, figure));
        let [small, large] = ["proxy-64B", "proxy-64KiB"].map(|section| (of(section, "per_s"), of(section, "per_cpu_s")));
        let (bytes, p50, p99) = (of("proxy-idle", "bytes"), of("proxy-rate", "p50_us"), of("proxy-rate", "p99_us"));
        let _ = writeln!(out, "| {who} | {} | {} | {} | {} | {bytes} | {p50} | {p99} |", small.0, small.1, large.0, large.1);
    }
    out + "\n"
}

fn floor(samples: &Samples) -> String {
    let calls: Vec<_> = samples.figures("syscalls", "floor").map(|(name, calls)| format!("{name} {calls:.2}")).collect();
    let calls = if calls.is_empty() { "not counted (needs strace)".to_owned() } else { calls.join(", ") };
    let rate = cell(samples.median("open", "floor", "per_s"));
    format!("### The floor\n\nSystem calls a connection: {calls}. With 5,000 at once {rate} opening handshakes/s.\n\n")
}

/// What was not measured, and why.
fn missing(samples: &Samples) -> String {
    let mut out = String::new();
    for peer in &peers::PEERS {
        let failed = samples.failures().any(|(_, who, _)| who == peer.name);
        if !samples.has(peer.name) && !failed {
            let why = if peer.find().is_some() { "left out" } else { "not installed" };
            let _ = writeln!(out, "- {}: not measured ({why}; {})", peer.name, peer.source);
        }
    }
    for (section, who, why) in samples.failures() {
        let _ = writeln!(out, "- {who}, {section}: not measured ({why})");
    }
    if out.is_empty() { out } else { format!("### Not measured\n\n{out}") }
}

fn cell(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), number)
}

fn with_unit(number: &str, unit: &str) -> String {
    if unit.is_empty() { number.to_owned() } else { format!("{number} {unit}") }
}

/// Three digits that count, thousands apart.
fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if value.abs() < 10.0 {
        return format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    if value.abs() < 100.0 {
        return format!("{value:.1}").trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let step = if value.abs() < 10_000.0 { 1.0 } else { 100.0 };
    let digits = format!("{:.0}", (value / step).round() * step);
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
