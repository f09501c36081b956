//! The command line: types and help. Does no work; `cmd` does.

use crate::plan::Shard;
use crate::scenario::Overrides;
use crate::units::{Ratio, UnitError, parse_duration};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

const EXIT_CODES: &str = "\
Exit codes:
  0    ran, all expectations held
  1    could not run: target unreachable, I/O, internal error
  2    usage or scenario error
  3    inconclusive: generator saturated, too few samples, a worker lost
  99   an expectation failed, or a comparison found a regression
  129, 130, 143   stopped by SIGHUP, Ctrl-C, SIGTERM; the run folder is marked aborted

Start with: closestorm run";

/// Injects network faults into WebSocket services, and measures how thousands of clients come back.
#[derive(Debug, Parser)]
#[command(name = "closestorm", version, help_expected = true, after_help = EXIT_CODES, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a scenario on real sockets and write a run folder with results, charts and a verdict.
    ///
    /// Without argument a bundled ten-second crash storm on closestorm's own server.
    #[command(after_help = "Example: closestorm run crash-storm --clients 500 --duration 20s")]
    Run(Run),
    /// Simulate a scenario in virtual time, with up to millions of clients; every output says that it is simulated.
    ///
    /// The same scenario, strategies, results, charts, expectations and exit codes as `run`. The server is that of `[model]`, or the
    /// embedded one by its settings.
    #[command(after_help = "Example: closestorm simulate crash-storm --clients 1000000 --duration 10m")]
    Simulate(Simulate),
    /// Find how much is enough: the largest value of a parameter at which all expectations of a scenario hold, on real sockets.
    ///
    /// Doubles the value until an expectation fails, bisects, repeats both sides of the edge, and tries two values below it again. Each
    /// step is a run of its own with a fresh target. With two parameters the limit of the second is found for a few values of the first.
    #[command(after_help = "Example: closestorm capacity crash-storm --vary clients=500..16000 --duration 40s")]
    Capacity(Capacity),
    /// Fit the simulator's model of the server to a run, from its folder alone, and print it as a scenario fragment.
    ///
    /// Service time, parallelism, listen queue, round trip, start of a process: each with what it was fitted from and how well. It takes a
    /// run in which many clients come back after a crash in a single burst and have to wait for each other; where the server was never busy,
    /// no model is written, and the exit code is 3.
    #[command(after_help = "Example: closestorm calibrate results/crash-storm/2026-01-31T12-00-00Z-1 --out model.toml")]
    Calibrate(Calibrate),
    /// Run a scenario on real sockets and simulate it, and lay both over one another.
    ///
    /// The simulator's model is fitted to another run: --model names a fragment of `calibrate`, --fit a scenario to fit to; without
    /// them the same scenario is run with another seed. Exit code 0 where all cohorts are within the limits, 99 where one is not.
    #[command(after_help = "Example: closestorm fidelity crash-storm --clients 1000 --fit strategies")]
    Fidelity(Fidelity),
    /// Write charts and reports of a run, a search or a map again, from its files.
    #[command(after_help = "Example: closestorm report results/default/2026-01-31T12-00-00Z-1")]
    Report(Report),
    /// Judge a run again, from its files.
    ///
    /// The exit code says what came of it, as after the run.
    #[command(after_help = "Example: closestorm check results/default/2026-01-31T12-00-00Z-1")]
    Check(Check),
    /// Add up the shards of a run that several machines carried out, and judge the whole.
    #[command(after_help = "Example: closestorm merge shard-1 shard-2 --out whole")]
    Merge(Merge),
    /// Check scenarios without running them: every error with its place, or one line each that is fine.
    #[command(after_help = "Example: closestorm validate scenarios/*.toml")]
    Validate(Validate),
    /// List the kinds of faults, or tell all about one.
    #[command(after_help = "Example: closestorm faults close_code --example > closing.toml && closestorm run closing.toml")]
    Faults(Faults),
    /// List the reconnect strategies of real client libraries, or tell all about one.
    #[command(after_help = "Example: closestorm presets socket.io-client")]
    Presets(Catalogue),
    /// List the bundled scenarios by their question, or print one.
    #[command(after_help = "Example: closestorm scenarios strategies > mine.toml")]
    Scenarios(Scenarios),
    /// One instance of the embedded server.
    #[command(name = "__server", hide = true)]
    Server,
    /// The clients of one worker.
    #[command(name = "__worker", hide = true)]
    Worker,
    /// Starts a server, and ends it when closestorm ends.
    #[command(name = "__guard", hide = true)]
    Guard,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Which events `events.csv` keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Events {
    /// All but messages and pongs; of those of clients a sample where there are more than 100,000.
    #[default]
    Sampled,
    /// Every one, messages and pongs too: about 150 bytes of memory each until the run is over.
    Full,
}

/// What the command line changes in a scenario.
#[derive(Clone, Debug, Default, Args)]
pub struct Changes {
    /// Root of all random streams: the same seed gives the same plan.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
    /// Change a key: a TOML value, or a bare word, which is a string. May be given again. As clients.web.reconnect=phoenix.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// All clients together; cohorts keep their proportion.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub clients: Option<u32>,
    /// Length of the run, as 20s or 1m30s.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = duration)]
    pub duration: Option<Duration>,
}

/// Where the results of a command go, and how they are told.
#[derive(Clone, Debug, Default, Args)]
pub struct Output {
    /// The folder of the results itself; without it a new folder under results/.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How the summary is printed.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// No progress and no summary; errors and the exit code remain.
    #[arg(long, short)]
    pub quiet: bool,
    /// Exit with 0 instead of 3 where the verdict is inconclusive.
    #[arg(long)]
    pub allow_inconclusive: bool,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// A scenario file, the name of a bundled scenario, or a ws:// or wss:// address.
    #[arg(value_name = "SCENARIO|URL")]
    pub scenario: Option<String>,
    /// Changes to the scenario.
    #[command(flatten)]
    pub changes: Changes,
    /// Where results go, and how they are told.
    #[command(flatten)]
    pub output: Output,
    /// Print the plan and stop: arrivals, firings of faults, waits of the first clients.
    #[arg(long)]
    pub dry_run: bool,
    /// Worker processes for the clients; without it one process, or as many as its limit of open files asks for.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub workers: Option<u32>,
    /// Only one share of the clients, as 2/8: the second of eight. The others run elsewhere; `merge` adds them up.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Begin at this time, UTC as 2026-01-31T12:00:00Z: all shards at one moment.
    #[arg(long, value_name = "TIME")]
    pub start_at: Option<String>,
    /// Go on with more than 100 clients or 50 attempts a second against a target that is not on this machine.
    #[arg(long)]
    pub yes: bool,
    /// Which events events.csv keeps.
    #[arg(long, value_enum, default_value_t, value_name = "WHICH")]
    pub events: Events,
}

/// Arguments of `simulate`.
#[derive(Debug, Args)]
pub struct Simulate {
    /// A scenario file, or the name of a bundled scenario.
    #[arg(value_name = "SCENARIO")]
    pub scenario: String,
    /// Changes to the scenario.
    #[command(flatten)]
    pub changes: Changes,
    /// Vary a parameter, or two: clients, or a key as --set takes it, with its lowest and highest value. Makes a map in place of one run.
    ///
    /// At each value: do the clients come back, late, or never, and how soon. As clients=100..20000,
    /// clients.web.deadlines.handshake=500ms..8s, target.embedded.instances=2..8. Where they never come back, changes are tried that may
    /// get them out: `queue`, `admit`, jitter, longer waits.
    #[arg(long, value_name = "KEY=LOW..HIGH")]
    pub vary: Vec<String>,
    /// Values of each varied parameter.
    #[arg(long, value_name = "N", default_value_t = 12, requires = "vary", value_parser = clap::value_parser!(u8).range(2..=60))]
    pub levels: u8,
    /// A point where 99 % take longer than this from the fault recovers late; without it a quarter of what is left of the run.
    #[arg(long, value_name = "TIME", requires = "vary", value_parser = duration)]
    pub within: Option<Duration>,
    /// Threads; without it one for each processor. The results do not depend on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// So many seeds in parallel, from the scenario's on: prints what varies between them, and the charts have bands. The run folder is that of the first.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub runs: u32,
    /// Which events events.csv keeps.
    #[arg(long, value_enum, default_value_t, value_name = "WHICH")]
    pub events: Events,
    /// Where results go, and how they are told.
    #[command(flatten)]
    pub output: Output,
    /// Print the plan and stop.
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `capacity`.
#[derive(Debug, Args)]
pub struct Capacity {
    /// A scenario file with expectations, or the name of a bundled scenario.
    #[arg(value_name = "SCENARIO")]
    pub scenario: String,
    /// What is varied: clients, or a key as --set takes it, with its lowest and highest value. May be given twice.
    ///
    /// As clients=100..20000, clients.web.arrive.rate=50/s..5000/s, faults.cut.select.percent=5%..100%,
    /// faults.crash.inject.server_crash.down=1s..20s. With two, the second is searched for a few values of the first.
    #[arg(long, value_name = "KEY=LOW..HIGH", required = true)]
    pub vary: Vec<String>,
    /// Most runs for each limit.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub steps: u16,
    /// Most runs at each side of the edge; the majority counts.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=99))]
    pub repeats: u16,
    /// How close both sides of the edge must be, as a share of the limit.
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = precision)]
    pub precision: Ratio,
    /// Share of those who want a connection that must get one, beside what the scenario expects; 0% asks for none.
    ///
    /// Without faults the attempts that opened, of all but those under way in the last second; with faults the clients connected at
    /// the end. An expectation of the scenario on attempts{outcome=opened} takes its place.
    #[arg(long, value_name = "SHARE", default_value = "99%")]
    pub opened: Ratio,
    /// Values of the first of two parameters.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=20))]
    pub levels: u8,
    /// For how long a fresh target answers opening handshakes, one after another, before each run; the embedded server needs none.
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration)]
    pub warm_up: Duration,
    /// Changes to the scenario; --duration is the length of each run.
    #[command(flatten)]
    pub changes: Changes,
    /// Where results go, and how they are told.
    #[command(flatten)]
    pub output: Output,
    /// Print what would be searched and the plan of the lowest values, and stop.
    #[arg(long)]
    pub dry_run: bool,
    /// Go on with more than 100 clients or 50 attempts a second against a target that is not on this machine.
    #[arg(long)]
    pub yes: bool,
}

/// Arguments of `calibrate`.
#[derive(Debug, Args)]
pub struct Calibrate {
    /// The run folder, of a run on real sockets.
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Write the scenario fragment to this file, too.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// As a scenario fragment with comments, or as JSON.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// Print nothing.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Arguments of `fidelity`.
#[derive(Debug, Args)]
pub struct Fidelity {
    /// A scenario file, or the name of a bundled scenario.
    #[arg(value_name = "SCENARIO")]
    pub scenario: String,
    /// Changes to the scenario, in both worlds.
    #[command(flatten)]
    pub changes: Changes,
    /// A scenario fragment with the model, as `calibrate` writes it.
    #[arg(long, value_name = "FILE", conflicts_with = "fit")]
    pub model: Option<PathBuf>,
    /// Run this scenario first, and fit the model to it.
    #[arg(long, value_name = "SCENARIO")]
    pub fit: Option<String>,
    /// Compare with this run of the scenario instead of running it; its seed is taken.
    #[arg(long, value_name = "RUN")]
    pub run: Option<PathBuf>,
    /// Where results go, and how they are told.
    #[command(flatten)]
    pub output: Output,
    /// Go on with more than 100 clients or 50 attempts a second against a target that is not on this machine.
    #[arg(long)]
    pub yes: bool,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct Report {
    /// The folder of a run, a search or a map.
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Where reports and charts go; without it into the run folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Do not print what was written.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The run folder.
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// How the verdict is printed.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// Print nothing; the exit code remains.
    #[arg(long, short)]
    pub quiet: bool,
    /// Exit with 0 instead of 3 where the verdict is inconclusive.
    #[arg(long)]
    pub allow_inconclusive: bool,
}

/// Arguments of `merge`.
#[derive(Debug, Args)]
pub struct Merge {
    /// The run folders of all shards, in any order.
    #[arg(value_name = "SHARD", required = true)]
    pub shards: Vec<PathBuf>,
    /// Where results go, and how they are told.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `validate`.
#[derive(Debug, Args)]
pub struct Validate {
    /// Scenario files, or names of bundled scenarios.
    #[arg(value_name = "SCENARIO", required_unless_present = "keys")]
    pub scenarios: Vec<String>,
    /// Changes to the scenarios.
    #[command(flatten)]
    pub changes: Changes,
    /// Do not print the scenarios that are fine.
    #[arg(long, short)]
    pub quiet: bool,
    /// List every key of a scenario with its value, default and meaning.
    #[arg(long, conflicts_with = "scenarios")]
    pub keys: bool,
}

/// Arguments of `faults`.
#[derive(Debug, Args)]
pub struct Faults {
    /// A kind of fault; without it all are listed.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Print only a scenario that shows the kind, ready to run.
    #[arg(long, requires = "name")]
    pub example: bool,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// Arguments of a catalogue.
#[derive(Debug, Args)]
pub struct Catalogue {
    /// An entry; without it all are listed.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// Arguments of `scenarios`.
#[derive(Debug, Args)]
pub struct Scenarios {
    /// Which, and how it is printed.
    #[command(flatten)]
    pub catalogue: Catalogue,
    /// Write all of them below DIR/scenarios, with the programs of the servers that they start; files that are there already stay.
    #[arg(long, value_name = "DIR", conflicts_with = "name")]
    pub files: Option<PathBuf>,
}

impl Simulate {
    /// As many threads as asked for, or one for each processor.
    pub fn threads(&self) -> usize {
        self.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from)
    }
}

impl Changes {
    /// As the scenario reader takes them.
    pub fn overrides(&self) -> Overrides {
        Overrides { set: self.set.clone(), clients: self.clients, duration: self.duration, seed: self.seed, recorded: false }
    }
}

fn precision(text: &str) -> Result<Ratio, UnitError> {
    let share: Ratio = text.parse()?;
    if (0.001..=0.5).contains(&share.0) {
        return Ok(share);
    }
    Err(UnitError { found: format!("\"{text}\" is out of bounds"), fix: "it is from \"0.1%\" to \"50%\"".to_owned() })
}

fn duration(text: &str) -> Result<Duration, UnitError> {
    parse_duration(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_every_argument_has_help() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_become_overrides() {
        let cli =
            Cli::try_parse_from(["closestorm", "run", "x.toml", "--set", "a=1", "--set", "b=c", "--duration", "1m 30s", "--seed", "7"]);
        let Ok(Cli { command: Command::Run(run) }) = cli else { panic!("{cli:?}") };
        let overrides = run.changes.overrides();
        assert_eq!(overrides.set, ["a=1", "b=c"]);
        assert_eq!((overrides.duration, overrides.seed, overrides.clients), (Some(Duration::from_secs(90)), Some(7), None));
        let bare = Cli::try_parse_from(["closestorm", "run", "--duration", "90"]).unwrap_err().to_string();
        assert!(bare.contains("\"90s\""), "{bare}");
    }
}
