//! The presets as one page in Markdown with two charts: `docs/presets.md`. What is in it is simulated when it is written.
//!
//! Every preset meets the same crash, on a server that is never busy: so the figures are those of the strategy alone.

use crate::metrics::Results;
use crate::metrics::attempts::AttemptStep;
use crate::metrics::metric::TimeMetric;
use crate::number;
use crate::plan::Plan;
use crate::plot::atlas::{self, AttemptTimes, GaveUp};
use crate::plot::scene::Scene;
use crate::reconnect::{self, Policy, Preset, ScheduleKind, TableEnd};
use crate::scenario::{Overrides, Source, load};
use crate::sim;
use crate::sim::seeds::in_parallel;
use anyhow::Context;
use std::fmt::Write;
use std::time::Duration;

/// Clients of each simulated run.
const CLIENTS: u64 = 1000;
/// Offset of the crash: all clients are open by then.
const CRASH_S: u64 = 6;
/// After an outage, the run goes on for so long.
const WATCHED_S: u64 = 120;
/// Offsets since the crash between which attempts are called early, and late, in bins of 100 ms.
const EARLY: std::ops::Range<usize> = 0..100;
const LATE: std::ops::Range<usize> = 300..540;
/// Lengths of outage of the table of those that give up, s.
pub const OUTAGES_S: [u64; 8] = [1, 5, 10, 30, 60, 120, 300, 900];

const HEAD: &str = "\
# The reconnect presets of closestorm

<!-- written by `UPDATE=1 cargo test --test all readme`; a test holds it equal to the program -->

How the clients of each library come back after a crash of their server. Everything here is simulated: 1,000 clients of one preset, opened \
within 5 s, a server that is killed and is never busy, a round trip of 40 ms, seed 1. So the figures show the strategy alone. What a reconnect storm does to a server that needs time for each opening handshake is a question for `closestorm simulate` with your own scenario. \
`closestorm presets NAME` prints the source of every figure of a preset.

- **first waits**: before the first attempts, at the middle of their jitter.
- **attempts in 60 s**: of each client, on average, while the server is down.
- **largest share in 100 ms**: of all clients, the most that begin an attempt within the same 100 ms: early, in the first 10 s of the outage, and late, \
from its 30th to its 54th second. A strategy that spreads its clients has small shares, and they shrink; at 100 % all clients attempt at the same time.
- **95 % are back**: after the server is, for an outage of 10 s and one of 60 s. *never* where more than 5 % have given up by then. \
A client counts as back when its library says so (`ready` in `closestorm presets NAME`): open, the first message of the server, or 5 s open.
";

const ATTRITION: &str = "
## Presets that give up

Some libraries stop trying. After an outage longer than they try, their clients stay disconnected until the user reloads the page or restarts the app. The share of clients that has given up, by the length of the outage:
";

const MEASURED: &str = "
## Measured on the real libraries

Each library of a package registry was run against a small server of its protocol on loopback, and its attempts were taken from its own sockets: after a \
loss with nobody listening, with nobody listening from the start, against a server that accepts TCP and never answers, and against one that opens \
each WebSocket and closes it at once. Random draws were fixed where U is given. Figures are milliseconds from one attempt to the next unless they say \
something else; they include the attempt itself, and the timers of a machine that had other work. `src/sim/libraries.rs` holds the simulator within 30 ms \
of them. `scripts/measure-presets` does it again for those of npm. centrifuge-go was built at its commit, pusher-js for the web ran in Chromium, \
websockets in Python. **Patience** is when an attempt that nobody answers is abandoned; without it the kernel ends a TCP connect, and nothing else.

| preset | version | patience | seen |
|---|---|---|---|
";

/// The page and its charts.
#[derive(Debug)]
pub struct Atlas {
    /// `docs/presets.md`.
    pub page: String,
    /// Its charts by the name of their files without extension: attempts, and who gives up.
    pub charts: [(&'static str, Scene); 2],
}

/// Simulates all presets.
///
/// # Errors
/// A preset cannot be simulated.
pub fn atlas() -> anyhow::Result<Atlas> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let presets: Vec<&Preset> = reconnect::presets().collect();
    let figures = in_parallel(presets.len() as u32, threads, |index| Figures::of(presets[index as usize]))?;
    let quitters: Vec<&Preset> = presets.iter().copied().filter(|preset| can_give_up(&preset.policy)).collect();
    let gave_up = in_parallel(quitters.len() as u32, threads, |index| attrition(&quitters[index as usize].id, longest()))?;
    let mut page = HEAD.to_owned();
    page += "\n| preset | first waits | attempts in 60 s | largest share in 100 ms, early | late | 95 % back after 10 s | after 60 s |\n\
             |---|---|---:|---:|---:|---:|---:|\n";
    figures.iter().for_each(|figures| page += &figures.row());
    page += "\n![Attempts of each preset while the server is down](presets.svg)\n";
    page += ATTRITION;
    page += &attrition_table(&quitters, &gave_up);
    page += "\n![Share of clients that has given up, by the length of the outage](attrition.svg)\n";
    page += MEASURED;
    presets.iter().for_each(|preset| page += &measured_row(preset));
    let made = "clients that begin an attempt within 100 ms, the most of each 300 ms of an outage, logarithmic · simulated · seed 1";
    let counted = format!("n = {} presets with {} clients each; the server is down all the time", figures.len(), number::count(CLIENTS));
    let panels: Vec<_> = figures.iter().map(|one| AttemptTimes { name: one.id.clone(), bins: one.bins.clone() }).collect();
    let mut rows: Vec<_> =
        quitters.iter().zip(&gave_up).map(|(preset, share)| GaveUp { name: preset.id.clone(), share: steps(share) }).collect();
    // Who gives up soonest comes first; of equals, the order of the presets stays.
    let half = |one: &GaveUp| one.share.iter().find(|(_, share)| *share >= 50.0).map_or(f64::MAX, |(length, _)| *length);
    rows.sort_by(|a, b| half(a).total_cmp(&half(b)));
    let lost = format!("n = {} presets that can give up, with {} clients each", rows.len(), number::count(CLIENTS));
    let attempts = atlas::attempts(&panels, 0.1, made, &counted);
    let attrition = atlas::attrition(
        &rows,
        &number::time(longest().as_secs() * 1_000_000),
        "share of clients that has given up · simulated · seed 1",
        &lost,
    );
    Ok(Atlas { page, charts: [("presets", attempts), ("attrition", attrition)] })
}

/// What was seen of a library; nothing for a preset that stands for none.
fn measured_row(preset: &Preset) -> String {
    let facts = &preset.facts;
    let Some(seen) = &facts.measured else { return String::new() };
    let patience = preset.policy.patience().unwrap_or_else(|| "none".to_owned());
    format!("| `{}` | {} | {patience} | {seen} |\n", preset.id, facts.version)
}

fn longest() -> Duration {
    Duration::from_secs(OUTAGES_S[OUTAGES_S.len() - 1])
}

/// Whether an outage can outlast its patience. HTTP statuses and close codes that end it are another matter.
fn can_give_up(policy: &Policy) -> bool {
    let table_ends = policy.kind == ScheduleKind::Table && policy.table_end == TableEnd::Stop;
    policy.kind == ScheduleKind::None || policy.max_retries.is_some() || policy.stop_on_connect_error || table_ends
}

/// How many of the clients of a strategy have given up, in percent, by each whole second of an outage, from 0 to `longest`.
///
/// `reconnect` is what a scenario says: a preset's name, or a table.
///
/// # Errors
/// It is no strategy, or cannot be simulated.
pub fn attrition(reconnect: &str, longest: Duration) -> anyhow::Result<Vec<f64>> {
    let results = crash(reconnect, CRASH_S + longest.as_secs() + 1, 2 * longest.as_secs() + 60)?;
    let lost = |until: u64| {
        let before = results.timeline.lost.iter().filter(|((second, ..), _)| u64::from(*second) < CRASH_S + until);
        before.map(|(_, count)| count).sum::<u64>()
    };
    Ok((0..=longest.as_secs()).map(|until| lost(until) as f64 * 100.0 / CLIENTS as f64).collect())
}

/// Where the share of each second changes.
fn steps(share: &[f64]) -> Vec<(f64, f64)> {
    let mut steps: Vec<(f64, f64)> = Vec::new();
    for (second, share) in share.iter().enumerate() {
        if steps.last().is_none_or(|(_, last)| last != share) {
            steps.push((second as f64, *share));
        }
    }
    steps
}

fn attrition_table(presets: &[&Preset], gave_up: &[Vec<f64>]) -> String {
    let heads: Vec<_> = OUTAGES_S.iter().map(|second| number::time(second * 1_000_000)).collect();
    let mut table = format!("\n| preset | {} |\n|---|{}\n", heads.join(" | "), "---:|".repeat(OUTAGES_S.len()));
    for (preset, share) in presets.iter().zip(gave_up) {
        let cells: Vec<_> = OUTAGES_S.iter().map(|second| number::percent(share[*second as usize])).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| `{}` | {} |", preset.id, cells.join(" | "));
    }
    table
}

/// What the table says of a preset.
struct Figures {
    id: String,
    waits: String,
    bins: Vec<f64>,
    attempts: f64,
    back: [Result<u64, f64>; 2],
}

impl Figures {
    fn of(preset: &Preset) -> anyhow::Result<Figures> {
        // The run is a minute long, because then its intervals are 100 ms.
        let fine = crash(&preset.id, 60, 600)?;
        let minute = crash(&preset.id, CRASH_S + 60 + WATCHED_S, 60)?;
        let short = crash(&preset.id, CRASH_S + 10 + WATCHED_S, 10)?;
        let rows = fine.timeline.rows(60_000_000);
        let bins = rows.iter().skip(CRASH_S as usize * 10).map(|(.., cell)| cell.attempts.total as f64 * 100.0 / CLIENTS as f64).collect();
        let seconds = CRASH_S as u32..CRASH_S as u32 + 60;
        let begun =
            minute.timeline.attempts.iter().filter(|((second, _, _, step, _), _)| seconds.contains(second) && *step == AttemptStep::Begun);
        let summary = preset.summary();
        let waits = summary.split_once("gives up: ").map_or("", |(schedule, _)| schedule);
        Ok(Figures {
            id: preset.id.clone(),
            waits: waits.split_once(';').map_or("none", |(waits, _)| waits).to_owned(),
            bins,
            attempts: begun.map(|(_, count)| count).sum::<u64>() as f64 / CLIENTS as f64,
            back: [back(&short, 10), back(&minute, 60)],
        })
    }

    fn row(&self) -> String {
        let most = |bins: std::ops::Range<usize>| self.bins[bins].iter().copied().fold(0.0, f64::max);
        let back = self.back.map(|back| match back {
            Ok(us) => number::time(us),
            Err(gave_up) if gave_up > 5.0 => format!("never: {} gave up", number::percent(gave_up)),
            Err(_) => format!("> {}", number::time(WATCHED_S * 1_000_000)),
        });
        format!(
            "| `{}` | {} | {} | {} | {} | {} | {} |\n",
            self.id,
            self.waits,
            number::quantity(self.attempts),
            number::percent(most(EARLY)),
            number::percent(most(LATE)),
            back[0],
            back[1]
        )
    }
}

/// From the return of the server to that of 95 % of the clients, µs; else the share that gave up, in percent.
fn back(results: &Results, outage_s: u64) -> Result<u64, f64> {
    let us = results.survival(TimeMetric::ReconnectTime).quantile(0.95).map(|us| us.saturating_sub(outage_s * 1_000_000));
    us.ok_or_else(|| results.total().lost as f64 * 100.0 / CLIENTS as f64)
}

/// A crash in a run of `length` s, with the server down for `down` s.
fn crash(reconnect: &str, length: u64, down: u64) -> anyhow::Result<Results> {
    let reconnect = if reconnect.starts_with('{') { reconnect.to_owned() } else { format!("\"{reconnect}\"") };
    let text = format!(
        "duration = \"{length}s\"\n[target.embedded]\nbacklog = 65535\n[model]\nrtt = \"40ms\"\n[clients.web]\ncount = {CLIENTS}\n\
         arrive = {{ over = \"5s\" }}\nreconnect = {reconnect}\n[[faults]]\nat = \"{CRASH_S}s\"\ninject = {{ server_crash = {{ down = \"{down}s\" }} }}\n"
    );
    let plan: Plan = load(&Source::Text { name: "atlas".to_owned(), text }, &Overrides::default())?;
    let model = plan.simulated_as()?;
    Ok(sim::run(&plan, &model).with_context(|| format!("reconnect = {reconnect}"))?.results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signalr_gives_up_after_42_seconds_and_graphql_ws_at_the_first_refused_connect() {
        let longest = Duration::from_secs(60);
        let signalr = attrition("signalr", longest).unwrap();
        assert_eq!((signalr[41], signalr[43]), (0.0, 100.0));
        let graphql = attrition("graphql-ws", longest).unwrap();
        assert!(graphql[1] < 1.0 && graphql[5] == 100.0, "{:?}", &graphql[..6]);
        let fixed = attrition("{ fixed = { delay = \"3s\" }, max_retries = 3 }", longest).unwrap();
        assert_eq!((fixed[8], fixed[10]), (0.0, 100.0), "refused at 3, 6 and 9 s");
    }

    #[test]
    fn a_herd_is_seen_as_one() {
        let figures = Figures::of(reconnect::find("fixed-3s").unwrap()).unwrap();
        let most = figures.bins.iter().copied().fold(0.0, f64::max);
        assert!(most > 99.0, "{most}");
        assert!((19.0..=20.0).contains(&figures.attempts), "{}", figures.attempts);
        // The server is back 10 s after the crash: the next attempt is the one after 12 s and a few round trips.
        assert!(figures.back[0].is_ok_and(|us| (2_000_000..2_400_000).contains(&us)), "{:?}", figures.back);
    }
}
