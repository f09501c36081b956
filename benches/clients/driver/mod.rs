//! The driver: goes through the measurements round by round, one client program after the other, and writes the tables.
//!
//! All are measured in every round, so that a machine that becomes slower slows down all. Figures are medians over the rounds, and what
//! counts are their ratios. Next: `measure.rs` for what is measured, `goals.rs` for what is asked of the figures.

mod client;
mod dialogues;
mod faults;
mod goals;
mod machine;
mod measure;
mod ours;
mod peers;
mod proxies;
mod samples;
mod server;
mod syscalls;
mod table;
mod usage;

use clap::{Parser, ValueEnum};
use client::Who;
use machine::{Addresses, Cores};
use measure::Bench;
use samples::Samples;
use std::path::PathBuf;
use std::time::Duration;

/// Many clients at once.
const CROWD: u32 = 15_000;
/// Clients at once over wss.
const SECURE: u32 = 2_000;
/// As many addresses as keep the kernel's search for a free port short.
const SPREAD: u32 = 3;

/// Compare closestorm with a bare epoll loop, a bare tokio-tungstenite loop and other load testers on this machine.
#[derive(Debug, Parser)]
#[command(name = "scripts/bench", help_expected = true, after_help = "Example: scripts/bench quick --only open --only crowd")]
struct Options {
    /// quick: one round without peers and faults, about a minute, and nothing is written to docs. table: only write the tables again.
    mode: Option<Mode>,
    /// Rounds; every client program is measured once in each.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Only this; may be given several times.
    #[arg(long, value_enum, value_name = "WHAT")]
    only: Vec<Section>,
    /// Only this client program: floor, bare, closestorm or a peer's name; may be given several times.
    #[arg(long, value_name = "NAME")]
    who: Vec<String>,
    /// Add to the figures of earlier runs instead of beginning anew.
    #[arg(long)]
    keep: bool,
    /// Leave out other load testers that are installed.
    #[arg(long)]
    no_peers: bool,
    /// Exit with 1 if a goal is not reached.
    #[arg(long)]
    check: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Quick,
    Table,
}

/// What is measured, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    /// 5,000 clients at once.
    Open,
    /// One, 1,000 and 15,000 clients: opening, memory, processor time a handshake.
    Crowd,
    /// 2,000 clients at once over wss: full handshakes, then resumed ones.
    Tls,
    /// 500 clients in a closed loop.
    Echo,
    /// 1,000 clients, ten messages a second each.
    Rate,
    /// 15,000 clients lose their server and come back.
    Herd,
    /// Faults on some connections, cost for the others.
    Faults,
    /// Dialogues beside an echo: memory of a client, round trips a second of processor time.
    Dialogue,
    /// An idle proxy beside a forwarder and HAProxy: processor time of a message, memory of a connection, round trips.
    Proxy,
    /// System calls of the floor.
    Syscalls,
}

/// Measures and writes the tables. Whether all went well: with `--check`, whether every goal was reached.
pub(crate) fn run(words: &[String]) -> Result<bool, String> {
    let options = Options::parse_from(std::iter::once("scripts/bench").chain(words.iter().map(String::as_str)));
    let quick = options.mode == Some(Mode::Quick);
    std::fs::create_dir_all(work_folder()).map_err(|error| error.to_string())?;
    let file = work_folder().join(if quick { "quick.csv" } else { "samples.csv" });
    let keep = options.keep || options.mode == Some(Mode::Table);
    let samples = if keep { Samples::load(&file) } else { Samples::default() };
    let mut bench = Bench { cores: Cores::find(), addresses: Addresses::new(), samples };
    if options.mode != Some(Mode::Table) {
        measure(&mut bench, &options, quick)?;
        bench.samples.save(&file)?;
    }
    let goals = goals::judge(&bench.samples);
    print!("{}", table::render(&bench, &goals));
    // Of a part alone the tables would lose all other figures.
    if !quick && (keep || options.only.is_empty()) {
        table::write(&bench, &goals)?;
    }
    Ok(!options.check || goals.iter().all(goals::Goal::is_reached))
}

fn measure(bench: &mut Bench, options: &Options, quick: bool) -> Result<(), String> {
    let wanted = |who: &Who| options.who.is_empty() || options.who.iter().any(|name| name == who.name());
    // A quick look leaves them out, but for those that are asked for by name.
    let with_peers = !options.no_peers && (!quick || !options.who.is_empty());
    let peers = peers::PEERS.iter().filter(|peer| with_peers && peer.find().is_some()).map(Who::Peer);
    let everybody: Vec<Who> = [Who::Floor, Who::Bare, Who::Ours].into_iter().chain(peers).filter(wanted).collect();
    let rounds = if quick { 1 } else { options.rounds };
    for round in 1..=rounds {
        for section in Section::value_variants() {
            // A quick look has no time for what takes a quarter of a minute a round.
            let wanted = if options.only.is_empty() {
                !quick || !matches!(section, Section::Faults | Section::Dialogue | Section::Proxy)
            } else {
                options.only.contains(section)
            };
            if wanted {
                eprintln!("round {round} of {rounds}: {section:?}");
                one(bench, *section, &everybody, round == 1);
            }
        }
    }
    Ok(())
}

/// One section for everybody it is for. A failure is noted with its reason and is no reason to stop.
fn one(bench: &mut Bench, section: Section, everybody: &[Who], first_round: bool) {
    let ours_and_loops = everybody.iter().filter(|who| !matches!(who, Who::Peer(_)));
    match section {
        Section::Open => everybody.iter().for_each(|who| bench.try_opening("open", who, who.name(), 5000, 1)),
        Section::Crowd => everybody.iter().for_each(|who| crowd(bench, who)),
        Section::Tls => ours_and_loops.filter(|who| !matches!(who, Who::Floor)).for_each(|who| {
            bench.attempt("full", who.name(), |bench| bench.secure(who, SECURE));
        }),
        Section::Echo => everybody.iter().for_each(|who| bench.attempt("echo", who.name(), |bench| bench.echo(who))),
        Section::Rate => ours_and_loops.for_each(|who| bench.attempt("rate", who.name(), |bench| bench.rate(who))),
        Section::Herd => ours_and_loops.filter(|who| !matches!(who, Who::Bare)).for_each(|who| {
            bench.attempt("herd", who.name(), |bench| bench.herd(who, who.name(), CROWD, 1));
            if matches!(who, Who::Floor) {
                bench.attempt("herd", "floor-spread", |bench| bench.herd(who, "floor-spread", CROWD, SPREAD));
            }
        }),
        Section::Faults if everybody.iter().any(|who| matches!(who, Who::Ours)) => {
            bench.attempt("faults", "closestorm", |bench| faults::measure(&mut bench.samples));
        }
        Section::Dialogue if everybody.iter().any(|who| matches!(who, Who::Ours)) => {
            bench.attempt("dialogue", "closestorm", |bench| dialogues::measure(&mut bench.samples));
        }
        Section::Proxy if everybody.iter().any(|who| matches!(who, Who::Ours)) => match machine::free_port() {
            Ok(port) => proxies::measure(bench, port),
            Err(why) => bench.samples.failed("proxy-64B", "closestorm", &why),
        },
        Section::Syscalls if first_round && everybody.iter().any(|who| matches!(who, Who::Floor)) => {
            bench.attempt("syscalls", "floor", syscalls::measure);
        }
        Section::Faults | Section::Dialogue | Section::Proxy | Section::Syscalls => {}
    }
}

fn crowd(bench: &mut Bench, who: &Who) {
    bench.try_opening("one", who, who.name(), 1, 1);
    if !matches!(who, Who::Peer(_)) {
        bench.try_opening("thousand", who, who.name(), 1000, 1);
    }
    bench.try_opening("crowd", who, who.name(), CROWD, 1);
    match who {
        Who::Floor => bench.try_opening("crowd", who, "floor-spread", CROWD, SPREAD),
        Who::Bare => bench.try_opening("crowd", who, "bare-spread", CROWD, SPREAD),
        _ => {}
    }
}

impl Bench {
    fn attempt(&mut self, section: &str, name: &str, measure: impl FnOnce(&mut Bench) -> Result<(), String>) {
        eprintln!("  {section}, {name}");
        if let Err(why) = measure(self) {
            eprintln!("    not measured: {why}");
            self.samples.failed(section, name, &why);
        }
    }

    fn try_opening(&mut self, section: &str, who: &Who, name: &str, clients: u32, spread: u32) {
        self.attempt(section, name, |bench| bench.opening(section, who, name, clients, spread));
    }
}

/// This program, to be started again in another role.
fn own_program() -> Result<String, String> {
    let path = std::env::current_exe().map_err(|error| error.to_string())?;
    path.to_str().map(str::to_owned).ok_or_else(|| "a path that is not UTF-8".to_owned())
}

/// Scripts, run folders and figures of the benchmark, below the build folder.
fn work_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench")
}

#[expect(clippy::disallowed_methods, reason = "the driver measures from outside, in a thread of its own, and carries no clients")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
