//! The command line: types and help. Does no work; `cmd` does.

mod newcomers;
mod watching;

pub use newcomers::{Completions, Doctor, Init, InitQuestion, Man, Schema, SchemaOf, UrlArgs};
pub use watching::WatchArgs;

use crate::plan::{LoadLimits, Shard};
use crate::proxy::{ClientKey, Upstream};
use crate::scenario::{Overrides, ScenarioTrust};
use crate::units::{Bytes, Rate, Ratio, UnitError, parse_duration};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const EXIT_CODES: &str = "\
Exit codes:
  0    ran, all expectations held
  1    could not run: target unreachable, I/O, internal error
  2    usage or scenario error
  3    inconclusive: load generator saturated, too few samples, or a worker process was lost
  99   an expectation failed, or a comparison found a regression
  129, 130, 143   stopped by SIGHUP, Ctrl-C, SIGTERM; the run folder is marked aborted

Start with: closestorm run";

/// Injects network faults into WebSocket services and measures how thousands of clients reconnect.
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
    /// Without an argument it runs the bundled scenario `default`: the embedded server crashes and 1,000 clients reconnect, in ten seconds.
    /// With a URL it makes a scenario of the options, prints it, and runs it.
    #[command(
        after_help = "Examples:\n  closestorm run crash-storm --clients 500 --duration 20s\n  closestorm run ws://127.0.0.1:8080/chat -c 200 -d 30s --rate 50/s --message '{\"a\":1}'"
    )]
    Run(Box<Run>),
    /// Simulate a scenario in virtual time, with up to millions of clients.
    ///
    /// Uses the same scenarios, reconnect strategies, result files, charts, expectations and exit codes as `run`. Every output says that it
    /// is simulated. The server is the one that `[model]` describes; without it, the settings of the embedded server are used.
    #[command(after_help = "Example: closestorm simulate crash-storm --clients 1000000 --duration 10m")]
    Simulate(Simulate),
    /// Find the capacity limit: the largest value of a parameter at which all expectations of a scenario hold, on real sockets.
    ///
    /// Doubles the value until an expectation fails, bisects, repeats the runs on both sides of the limit, and tests two lower values
    /// again. Each step is a separate run with a newly started target. With two parameters, it finds the limit of the second for several
    /// values of the first.
    #[command(after_help = "Example: closestorm capacity crash-storm --vary clients=500..16000 --duration 40s")]
    Capacity(Capacity),
    /// Fit the simulator's model of the server to a run folder, and print the model as a scenario fragment.
    ///
    /// Fits service time, parallelism, listen queue, round-trip time and process start time, and says for each how well it fits and to
    /// which data. The run must contain a crash after which many clients reconnect in a single burst and queue up. If the server was never
    /// busy, no model is written and the exit code is 3.
    #[command(after_help = "Example: closestorm calibrate results/crash-storm/2026-01-31T12-00-00Z-1 --out model.toml")]
    Calibrate(Calibrate),
    /// Find out how a real client comes back: cut it again and again.
    ///
    /// Starts COMMAND, in which {url} stands for the address of a server of our own (also in the environment variable URL). Connections are cut and
    /// refused, closed with all kinds of codes, and left alone; the answer is a card of rules, the waits, and a reconnect policy for scenarios.
    ///
    /// Exit: 0 all rules of --require are kept, 99 one is broken, 3 one could not be tested, 1 the client could not be started.
    Learn(Learn),
    /// Run a scenario on real sockets, simulate it too, and compare both.
    ///
    /// The simulator's model is fitted to a different run: --model names the output of `calibrate`, --fit a scenario to run first and fit
    /// to. Without either, the same scenario is run first with another seed. The exit code is 0 if all cohorts are within the limits, else
    /// 99.
    #[command(after_help = "Example: closestorm fidelity crash-storm --clients 1000 --fit strategies")]
    Fidelity(Fidelity),
    /// Pass connections of your own clients on to a server, byte for byte, and count what passes.
    ///
    /// Bytes, WebSocket frames, FIN and RST pass as they come, in both directions. With --api, it is a replacement for Toxiproxy: client
    /// libraries of Toxiproxy add and remove proxies and toxics. Ctrl-C or SIGTERM ends all connections and the proxy, with exit code 0.
    #[command(after_help = "Example: closestorm proxy --listen 127.0.0.1:9000 --upstream ws://127.0.0.1:8080")]
    Proxy(ProxyArgs),
    /// Regenerate the charts and reports of a run, a capacity search or a map from its result files.
    #[command(after_help = "Example: closestorm report results/default/2026-01-31T12-00-00Z-1")]
    Report(Report),
    /// Evaluate the expectations of a finished run again, from its result files.
    ///
    /// Edit `expect` in the `scenario.toml` of the run folder to test other expectations. The exit codes are those of `run`.
    #[command(after_help = "Example: closestorm check results/default/2026-01-31T12-00-00Z-1")]
    Check(Check),
    /// Compare runs before and after a change: is the new side worse, and is that more than noise?
    ///
    /// Each run gives one value for each metric that the scenario's `expect` names. A regression (exit 99) is called only if an exact
    /// Mann-Whitney test says so, adjusted for the number of metrics, and the whole interval of the change is beyond what matters. It takes at
    /// least four runs on each side; five or six are better.
    #[command(after_help = "Example: closestorm compare results/before/* -- results/after/*")]
    Compare(Compare),
    /// Merge the shards of a run that was split over several machines, and evaluate the whole run.
    #[command(after_help = "Example: closestorm merge shard-1 shard-2 --out whole")]
    Merge(Merge),
    /// Serve an echo server for tests of your own client, which misbehaves as the URL says.
    ///
    /// The path is a list of steps, carried out in order: ws://127.0.0.1:9001/message/hello/wait/2s/close/1011?reason=oops. Every kind of
    /// fault that a server can do to one connection is a step; its parameters are query keys. GET / is a page that lists all steps, with a
    /// console that shows what the browser reports beside what was on the wire. Ctrl-C ends it.
    #[command(after_help = "Example: closestorm serve --listen 127.0.0.1:9001")]
    Serve(ServeArgs),
    /// Check scenarios without running them, and print every error with file, line and column.
    #[command(after_help = "Example: closestorm validate scenarios/*.toml")]
    Validate(Validate),
    /// List the kinds of faults, or describe one.
    #[command(after_help = "Example: closestorm faults close_code --example > closing.toml && closestorm run closing.toml")]
    Faults(Faults),
    /// List the reconnect presets of real client libraries, or describe one.
    #[command(after_help = "Example: closestorm presets socket.io-client")]
    Presets(Catalogue),
    /// List the bundled scenarios with their questions, or print one.
    #[command(after_help = "Example: closestorm scenarios strategies > mine.toml")]
    Scenarios(Scenarios),
    /// Write a scenario with comments for a question, as a start for your own; without --question, list the questions.
    #[command(after_help = "Example: closestorm init deploy.toml --question deploy")]
    Init(Init),
    /// Say what this machine allows, the largest safe run, and what to change; with a scenario, whether that fits.
    #[command(after_help = "Example: closestorm doctor hundred-thousand")]
    Doctor(Doctor),
    /// Print the JSON Schema of scenarios or of summary.json (draft 2020-12).
    #[command(after_help = "Example: closestorm schema scenario > scenario.schema.json")]
    Schema(Schema),
    /// Print completions of the command line for a shell.
    #[command(after_help = "Example: closestorm completions bash > ~/.local/share/bash-completion/completions/closestorm")]
    Completions(Completions),
    /// Write man pages into a folder: closestorm.1 and one for each command.
    #[command(after_help = "Example: closestorm man ~/.local/share/man/man1")]
    Man(Man),
    /// Runs one process of the embedded server.
    #[command(name = "__server", hide = true)]
    Server,
    /// Runs the clients of one worker process.
    #[command(name = "__worker", hide = true)]
    Worker,
    /// Starts a server, and stops it when closestorm ends.
    #[command(name = "__guard", hide = true)]
    Guard,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text to read.
    #[default]
    Text,
    /// JSON for programs.
    Json,
}

impl Format {
    /// Whether results are printed: JSON is asked for, so that `--quiet` leaves out all but that.
    pub fn is_told(self, quiet: bool) -> bool {
        self == Format::Json || !quiet
    }
}

/// Which events `events.csv` keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Events {
    /// All events except messages and pongs. If clients cause more than 100,000 events, a sample of them.
    #[default]
    Sampled,
    /// All events, including messages and pongs. Each takes about 150 bytes of memory until the run ends.
    Full,
}

/// How far a scenario is trusted.
#[derive(Clone, Debug, Default, Args)]
pub struct TrustArgs {
    /// Treat the scenario as written by a stranger: no program, no files outside its folder, no environment, no host but loopback.
    #[arg(long)]
    pub untrusted: bool,
    /// Allow an untrusted scenario the files in this folder. Can be repeated.
    #[arg(long, value_name = "DIR", requires = "untrusted")]
    pub allow_path: Vec<PathBuf>,
    /// Allow an untrusted scenario this environment variable. Can be repeated.
    #[arg(long, value_name = "NAME", requires = "untrusted")]
    pub allow_env: Vec<String>,
    /// Allow an untrusted scenario to contact this host. Can be repeated.
    #[arg(long, value_name = "NAME", requires = "untrusted")]
    pub allow_host: Vec<String>,
}

impl TrustArgs {
    fn trust(&self) -> ScenarioTrust {
        let (paths, env, hosts) = (self.allow_path.clone(), self.allow_env.clone(), self.allow_host.clone());
        ScenarioTrust { untrusted: self.untrusted, paths, env, hosts }
    }
}

/// What the command line changes in a scenario.
#[derive(Clone, Debug, Default, Args)]
pub struct Changes {
    /// Seed of all random numbers: the same seed gives the same plan.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
    /// Override a key of the scenario, for example clients.web.reconnect=phoenix. VALUE is TOML; a bare word is a string. Can be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Total number of clients; the cohorts keep their proportions.
    #[arg(long, short = 'c', value_name = "N", allow_negative_numbers = true)]
    pub clients: Option<u32>,
    /// Length of the run, for example 20s or 1m30s.
    #[arg(long, short = 'd', value_name = "TIME", allow_hyphen_values = true, value_parser = duration)]
    pub duration: Option<Duration>,
    /// How far the scenario is trusted.
    #[command(flatten)]
    pub trust: TrustArgs,
}

/// Where the results of a command go, and how they are printed.
#[derive(Clone, Debug, Default, Args)]
pub struct Output {
    /// Folder for the results [default: a new folder below results/].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Replace --out if it is the folder of an earlier run.
    #[arg(long, requires = "out")]
    pub force: bool,
    /// Output format of the summary.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// Print no progress and no summary, only errors; with --format json, only the JSON.
    #[arg(long, short)]
    pub quiet: bool,
    /// Exit with 0 instead of 3 if the verdict is inconclusive.
    #[arg(long)]
    pub allow_inconclusive: bool,
}

/// Files for CI services.
#[derive(Clone, Debug, Default, Args)]
pub struct CiArgs {
    /// Write the verdict as JUnit XML: a test case for each expectation.
    #[arg(long, value_name = "PATH")]
    pub junit: Option<PathBuf>,
    /// Folder for what CI services read: junit.xml, metrics.prom (OpenMetrics), bmf.json (Bencher), smaller-is-better.json and bigger-is-better.json (github-action-benchmark), and report.md.
    #[arg(long, value_name = "DIR")]
    pub report_dir: Option<PathBuf>,
}

/// Files for CI services that show how runs change with time.
#[derive(Clone, Debug, Default, Args)]
pub struct CiRunArgs {
    /// Files of the verdict.
    #[command(flatten)]
    pub verdict: CiArgs,
    /// Append a row for each run to this CSV file, for tools that look for a change, as Otava. A new file gets a header.
    #[arg(long, value_name = "PATH", conflicts_with = "dry_run")]
    pub history: Option<PathBuf>,
}

/// How much load a target may get.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct AllowedLoad {
    /// Allow more than 100 clients, 50 connection attempts/s, 1,000 messages/s or 1 MiB/s against a target that is not on this machine.
    #[arg(long)]
    pub yes: bool,
    /// Start at most this many connection attempts per second, as 200/s. Further attempts wait, and the run is then inconclusive.
    #[arg(long, value_name = "RATE", value_parser = max_rate)]
    pub max_rate: Option<Rate>,
}

impl AllowedLoad {
    /// The limits that a run keeps to.
    pub fn limits(self) -> LoadLimits {
        LoadLimits { elsewhere: !self.yes, max_rate: self.max_rate }
    }
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// A scenario file, the name of a bundled scenario, or a URL: ws://, wss://, http(s)://, or HOST:PORT.
    #[arg(value_name = "SCENARIO|URL")]
    pub scenario: Option<String>,
    /// What belongs to a URL.
    #[command(flatten)]
    pub url: UrlArgs,
    /// Changes to the scenario.
    #[command(flatten)]
    pub changes: Changes,
    /// Where results go, and how they are printed.
    #[command(flatten)]
    pub output: Output,
    /// Print the plan without running it: arrivals, times of the faults, first backoff delays of some clients.
    #[arg(long)]
    pub dry_run: bool,
    /// Print a line of progress a second, and draw nothing.
    #[arg(long)]
    pub plain: bool,
    /// Run it this often, with consecutive seeds, each into a folder of its own: --out DIR gives DIR/1, DIR/2, …
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with_all = ["shard", "start_at", "dry_run"], value_parser = clap::value_parser!(u32).range(1..=100))]
    pub repeat: u32,
    /// Compare with these runs, and exit with 99 if it is worse: a folder of runs, a ws:// or wss:// URL, or a command line.
    ///
    /// A folder is compared as it is. A URL, or the command line of another server, is run with the same scenario as often, in turns: base, new,
    /// new, base. A command line takes the place of `run` in [target.command].
    #[arg(long, value_name = "FOLDER|URL|COMMAND", conflicts_with_all = ["shard", "start_at", "dry_run"])]
    pub against: Option<String>,
    /// Keep the runs as results/baselines/NAME, if they pass, for `compare --baseline NAME`. Replaces an earlier baseline of that name.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["shard", "start_at", "dry_run"], value_parser = baseline_name)]
    pub save_baseline: Option<String>,
    /// Number of worker processes for the clients [default: as many as the limit of open files requires].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub workers: Option<u32>,
    /// Run only one part of the clients, for example 2/8 for the second of eight. Run the other parts elsewhere, then combine them with
    /// `merge`.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Start at this time (UTC), for example 2026-01-31T12:00:00Z, so that all shards start together.
    #[arg(long, value_name = "TIME")]
    pub start_at: Option<String>,
    /// Memory for messages, of all connections and processes together, for example 512MiB [default: half of the available memory].
    ///
    /// When it is used up, the connection that holds most of it is closed with 1009, and the verdict is inconclusive. It covers the buffers
    /// of messages that are being received or sent, of clients and embedded servers. It does not cover the program itself (30 MiB), 64 KiB
    /// of each connection, a message while its client reads it, TLS, results, and buffers of the kernel.
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub memory: Option<Bytes>,
    /// How much load the target may get.
    #[command(flatten)]
    pub load: AllowedLoad,
    /// Which events to write to events.csv.
    #[arg(long, value_enum, default_value_t, value_name = "WHICH")]
    pub events: Events,
    /// Watching the run from elsewhere.
    #[command(flatten)]
    pub watch: WatchArgs,
    /// Files for CI services.
    #[command(flatten)]
    pub ci: CiRunArgs,
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
    /// Vary one or two parameters (`clients`, or a key as in --set) from LOW to HIGH, and draw a map instead of simulating one run.
    ///
    /// The map shows for each value whether the clients come back in time, late, or never, and how long it takes. Examples:
    /// clients=100..20000, clients.web.deadlines.handshake=500ms..8s, target.embedded.instances=2..8. Where clients never come back,
    /// mitigations are tried: `queue`,
    /// `admit`, jitter, longer backoff.
    #[arg(long, value_name = "KEY=LOW..HIGH")]
    pub vary: Vec<String>,
    /// Number of values of each varied parameter.
    #[arg(long, value_name = "N", default_value_t = 12, requires = "vary", value_parser = clap::value_parser!(u8).range(2..=60))]
    pub levels: u8,
    /// A point recovers late if 99 % of the clients need longer than this after the fault [default: a quarter of the rest of the run].
    #[arg(long, value_name = "TIME", requires = "vary", value_parser = duration)]
    pub within: Option<Duration>,
    /// Number of threads [default: one per CPU]. The results do not depend on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Number of seeds to simulate, starting at the scenario's seed. The summary and the charts show the spread; the run folder has the
    /// first seed.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub runs: u32,
    /// Which events to write to events.csv.
    #[arg(long, value_enum, default_value_t, value_name = "WHICH")]
    pub events: Events,
    /// Where results go, and how they are printed.
    #[command(flatten)]
    pub output: Output,
    /// Print the plan without simulating it.
    #[arg(long)]
    pub dry_run: bool,
    /// Files for CI services; not of a map.
    #[command(flatten)]
    pub ci: CiRunArgs,
}

/// Arguments of `capacity`.
#[derive(Debug, Args)]
pub struct Capacity {
    /// A scenario file with expectations, or the name of a bundled scenario.
    #[arg(value_name = "SCENARIO")]
    pub scenario: String,
    /// Parameter to vary (`clients`, or a key as in --set) from LOW to HIGH. Can be given twice.
    ///
    /// Examples: clients=100..20000, clients.web.arrive.rate=50/s..5000/s, faults.cut.select.percent=5%..100%,
    /// faults.crash.inject.server_crash.down=1s..20s. With two parameters, the limit of the second is searched for several values of the
    /// first.
    #[arg(long, value_name = "KEY=LOW..HIGH", required = true)]
    pub vary: Vec<String>,
    /// Maximum number of runs for each limit.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub steps: u16,
    /// Maximum number of runs on each side of the limit; the majority decides.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=99))]
    pub repeats: u16,
    /// Precision of the limit: largest distance between the value that holds and the one that fails, as a share of the limit.
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = precision)]
    pub precision: Ratio,
    /// Share of the clients that must get a connection, in addition to the scenario's expectations; 0% turns this off.
    ///
    /// Without faults, it is the share of attempts that opened, not counting those under way in the last second. With faults, it is the
    /// share of clients connected at the end. An expectation of the scenario on attempts{outcome=opened} replaces it.
    #[arg(long, value_name = "SHARE", default_value = "99%")]
    pub opened: Ratio,
    /// Number of values of the first parameter, if there are two.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=20))]
    pub levels: u8,
    /// Fail (exit code 99) if the limit is below this value of the parameter, as 4000/s or 800; with two parameters, if any limit is.
    #[arg(long, value_name = "VALUE")]
    pub at_least: Option<String>,
    /// How long to warm up a newly started target with opening handshakes, one at a time, before each run. Not done with the embedded
    /// server.
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration)]
    pub warm_up: Duration,
    /// Changes to the scenario; --duration is the length of each run.
    #[command(flatten)]
    pub changes: Changes,
    /// Where results go, and how they are printed.
    #[command(flatten)]
    pub output: Output,
    /// Print what would be searched, and the plan for the lowest values, without running it.
    #[arg(long)]
    pub dry_run: bool,
    /// Memory for messages, of all connections and processes together, for example 512MiB [default: half of the available memory].
    ///
    /// When it is used up, the connection that holds most of it is closed with 1009, and the verdict is inconclusive. It covers the buffers
    /// of messages that are being received or sent, of clients and embedded servers. It does not cover the program itself (30 MiB), 64 KiB
    /// of each connection, a message while its client reads it, TLS, results, and buffers of the kernel.
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub memory: Option<Bytes>,
    /// How much load the target may get.
    #[command(flatten)]
    pub load: AllowedLoad,
}

/// Arguments of `learn`.
#[derive(Debug, Args)]
pub struct Learn {
    /// Number of outages. The schedule without jitter needs few, the kind of a jitter about 60.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub outages: u32,
    /// Number of attempts that are refused in each outage.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub attempts: u32,
    /// How attempts are refused: by a reset after the request, by status 503, or by a closed port, which needs CAP_NET_RAW to see attempts.
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub refuse: RefuseChoice,
    /// Wait at this address on this machine (loopback) for a client that you start, as a page, in place of a command; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["command", "instances"])]
    pub listen: Option<SocketAddr>,
    /// The same at an address which others can reach, as a phone. Prints a warning.
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["command", "instances", "listen"])]
    pub bind: Option<SocketAddr>,
    /// A server that speaks on open connections, as ws://HOST:PORT; without it messages are sent back.
    #[arg(long, value_name = "URL")]
    pub upstream: Option<Upstream>,
    /// How long connections are open before they are cut [default: 6s, with --quick 1500ms]. Some clients begin anew only after 5 s.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub held: Option<Duration>,
    /// Leave out the three slowest questions: Retry-After, silence, and requests that are never answered. Others take less time.
    #[arg(long)]
    pub quick: bool,
    /// Processes of the client, side by side.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub instances: u16,
    /// Rules that must be kept, as jitter,cap<60s.
    #[arg(long, value_name = "RULES")]
    pub require: Option<String>,
    /// Seed of the estimates.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Folder for what was learnt [default: a new folder below results/].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Output format.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// Print no progress, only the result.
    #[arg(long, short)]
    pub quiet: bool,
    /// The client and its arguments, behind --.
    #[arg(last = true, required_unless_present_any = ["listen", "bind"], value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// How `learn` refuses attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum RefuseChoice {
    /// By a reset right after the request.
    #[default]
    Reset,
    /// By status 503.
    #[value(name = "503")]
    Unavailable,
    /// Nobody listens.
    ClosedPort,
}

/// Arguments of `calibrate`.
#[derive(Debug, Args)]
pub struct Calibrate {
    /// Run folder of a run on real sockets.
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Also write the scenario fragment to this file.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Output format: a scenario fragment with comments, or JSON.
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
    /// Changes to the scenario, for the run and the simulation.
    #[command(flatten)]
    pub changes: Changes,
    /// Scenario fragment with the model, as written by `calibrate`.
    #[arg(long, value_name = "FILE", conflicts_with = "fit")]
    pub model: Option<PathBuf>,
    /// Run this scenario first, and fit the model to that run.
    #[arg(long, value_name = "SCENARIO")]
    pub fit: Option<String>,
    /// Compare with this run folder instead of running the scenario; its seed is used.
    #[arg(long, value_name = "RUN")]
    pub run: Option<PathBuf>,
    /// Where results go, and how they are printed.
    #[command(flatten)]
    pub output: Output,
    /// How much load the target may get.
    #[command(flatten)]
    pub load: AllowedLoad,
}

/// Arguments of `proxy`.
#[derive(Debug, Args)]
pub struct ProxyArgs {
    /// Address where clients connect; port 0 is any free port, which is printed.
    #[arg(long, value_name = "HOST:PORT", requires = "upstream")]
    pub listen: Option<String>,
    /// Server to which connections are passed on: ws://HOST:PORT, wss://HOST:PORT, tcp://HOST:PORT, or HOST:PORT.
    #[arg(long, value_name = "SERVER", requires = "listen")]
    pub upstream: Option<Upstream>,
    /// Speak TLS to the clients of --listen, with a certificate that is made for localhost, 127.0.0.1 and ::1; its fingerprint is printed.
    #[arg(long, requires = "listen")]
    pub tls: bool,
    /// Certificate chain for --tls, a PEM file.
    #[arg(long, value_name = "FILE", requires = "key", requires = "tls")]
    pub cert: Option<PathBuf>,
    /// Private key of the certificate, a PEM file.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Trust the certificates of this PEM file, too, where the server speaks TLS (wss://).
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Accept any certificate of the server.
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,
    /// What tells clients apart: header:NAME, cookie:NAME, query:NAME, or address. Then it counts how soon they come back.
    ///
    /// Values that may be credentials are shown as hashes.
    #[arg(long, value_name = "KEY")]
    pub identify: Option<ClientKey>,
    /// Address of the control API, which is that of Toxiproxy 2.12, for example 127.0.0.1:8474. The proxy of --listen is named `proxy` there.
    #[arg(long, value_name = "HOST:PORT")]
    pub api: Option<String>,
    /// File with proxies, and their toxics, in the format of Toxiproxy: a JSON array of objects with name, listen, upstream, enabled, toxics.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Scenario whose faults act on connections, by their schedules from the start of the proxy. Nothing else of it is used.
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// Seed of all random numbers: the same seed, proxy and number of a connection give the same toxics.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Write a run folder of what passed into this folder when the proxy is stopped.
    #[arg(long, value_name = "DIR", requires = "listen")]
    pub out: Option<PathBuf>,
    /// How long a connection to the server may take to open, and a TLS handshake with server or client. Then the client's connection is reset.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub connect_timeout: Duration,
    /// Read the rest of the command line as flags of toxiproxy-server, for example --toxiproxy -host=0.0.0.0 -config=proxies.json.
    ///
    /// The same happens if closestorm is started by the name toxiproxy-server or toxiproxy.
    #[arg(long, value_name = "FLAG", num_args = 0.., allow_hyphen_values = true, conflicts_with_all = ["listen", "upstream", "api", "config", "scenario", "seed"])]
    pub toxiproxy: Option<Vec<String>>,
    /// Output format: `json` prints a line with the addresses, and at the end what was counted, for tests in any language.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
    /// Print nothing but errors, and what --format json asks for.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct Report {
    /// Folder of a run, a capacity search or a map.
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Folder for the reports and charts [default: RUN].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Do not print the names of the written files.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The run folder.
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Output format of the verdict.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// Print nothing; the exit code has the verdict.
    #[arg(long, short)]
    pub quiet: bool,
    /// Exit with 0 instead of 3 if the verdict is inconclusive.
    #[arg(long)]
    pub allow_inconclusive: bool,
    /// Files for CI services.
    #[command(flatten)]
    pub ci: CiArgs,
}

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct Compare {
    /// Run folders before the change. A folder that has run folders in it stands for all of them.
    #[arg(value_name = "BASE", required_unless_present = "baseline")]
    pub base: Vec<PathBuf>,
    /// Run folders after the change, behind --.
    #[arg(last = true, required = true, value_name = "NEW")]
    pub new: Vec<PathBuf>,
    /// Compare with the runs in results/baselines/NAME.
    #[arg(long, value_name = "NAME", conflicts_with = "base", value_parser = baseline_name)]
    pub baseline: Option<String>,
    /// Compare this metric in place of those that `expect` names, for example "reconnect_time p99". Can be repeated.
    #[arg(long, value_name = "METRIC")]
    pub metric: Vec<String>,
    /// Changes up to this share of the median of BASE do not matter.
    #[arg(long, value_name = "PERCENT", default_value = "5%")]
    pub min_effect: Ratio,
    /// Folder for comparison.json, comparison.md and a chart of both sides' reconnects.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Compare runs of different scenarios, too, and say where they differ.
    #[arg(long)]
    pub allow_different: bool,
    /// Output format.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: CompareFormat,
    /// Print nothing; the exit code has the result.
    #[arg(long, short)]
    pub quiet: bool,
    /// Exit with 0 instead of 3 if the result is inconclusive.
    #[arg(long)]
    pub allow_inconclusive: bool,
    /// Files for CI services.
    #[command(flatten)]
    pub ci: CiArgs,
}

/// How a comparison is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CompareFormat {
    /// Text to read.
    #[default]
    Text,
    /// JSON for programs.
    Json,
    /// Markdown, for pull requests.
    Markdown,
}

/// Arguments of `merge`.
#[derive(Debug, Args)]
pub struct Merge {
    /// Run folders of all shards, in any order.
    #[arg(value_name = "SHARD", required = true)]
    pub shards: Vec<PathBuf>,
    /// Where results go, and how they are printed.
    #[command(flatten)]
    pub output: Output,
    /// Files for CI services.
    #[command(flatten)]
    pub ci: CiArgs,
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
    /// Do not print the names of valid scenarios.
    #[arg(long, short)]
    pub quiet: bool,
    /// List every key of the scenario format with its type, default and meaning.
    #[arg(long, conflicts_with = "scenarios")]
    pub keys: bool,
    /// Say where each value comes from: file and line, base of `extends`, option, preset, or default.
    #[arg(long, conflicts_with_all = ["keys", "quiet"])]
    pub explain: bool,
}

/// Arguments of `faults`.
#[derive(Debug, Args)]
pub struct Faults {
    /// Kind of fault to describe; without it, all kinds are listed.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Print an example scenario for this kind, ready to run.
    #[arg(long, requires = "name")]
    pub example: bool,
    /// Output format.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// Arguments of a catalogue.
#[derive(Debug, Args)]
pub struct Catalogue {
    /// Entry to print; without it, all are listed.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Output format.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// Arguments of `scenarios`.
#[derive(Debug, Args)]
pub struct Scenarios {
    /// Which scenario, and the output format.
    #[command(flatten)]
    pub catalogue: Catalogue,
    /// Write all scenarios to DIR/scenarios, with the server programs that they start. Existing files are kept.
    #[arg(long, value_name = "DIR", conflicts_with = "name")]
    pub files: Option<PathBuf>,
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address on this machine (loopback) to listen at; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9001")]
    pub listen: SocketAddr,
    /// Listen at this address instead, which others can reach. Prints a warning.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "listen")]
    pub bind: Option<SocketAddr>,
    /// Scenario file, or the name of a bundled scenario: serve with its embedded server, and carry its faults out at their times.
    ///
    /// The path of a URL says nothing then. The server ends with the scenario's `duration`. Simulated clients of the scenario do not come.
    #[arg(long, value_name = "SCENARIO")]
    pub scenario: Option<String>,
    /// Seed of all random numbers: the same seed decides `flaky` alike for the same connections in order [default: that of the scenario, or 1].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Serve wss:// and https:// with a certificate made for localhost, and print its SHA-256 fingerprint.
    #[arg(long)]
    pub tls: bool,
    /// Certificate chain for --tls, a PEM file.
    #[arg(long, value_name = "FILE", requires = "key", requires = "tls")]
    pub cert: Option<PathBuf>,
    /// Private key of the certificate, a PEM file.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Folder for what the server saw: a run folder, with charts and a report, written when the server is stopped.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Output format: `json` prints a line with the address, and one for each connection that ended, for tests in any language.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
    /// Print only the address and errors, no line for each connection.
    #[arg(long, short)]
    pub quiet: bool,
}

impl Run {
    /// Whether more than one run folder comes of it, or is kept.
    pub fn is_series(&self) -> bool {
        self.repeat > 1 || self.against.is_some() || self.save_baseline.is_some()
    }
}

impl Simulate {
    /// Number of threads to use: `--threads`, or one per CPU; at least 1.
    pub fn threads(&self) -> usize {
        self.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from)
    }
}

impl Changes {
    /// The same changes in the form that the scenario reader takes.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            target: None,
            set: self.set.clone(),
            clients: self.clients,
            duration: self.duration,
            seed: self.seed,
            recorded: false,
            trust: self.trust.trust(),
        }
    }
}

/// The command line, with what the name of the program stands for: `toxiproxy-server …` is `closestorm proxy --toxiproxy …`; and with the
/// options of `compare` where they are taken for options.
pub fn arguments(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words = words.peekable();
    let name = words.peek().and_then(|program| Path::new(program).file_name()?.to_str().map(str::to_owned));
    if matches!(name.as_deref(), Some("toxiproxy-server" | "toxiproxy")) {
        let command = ["closestorm", "proxy", "--toxiproxy"].map(OsString::from);
        return command.into_iter().chain(words.skip(1)).collect();
    }
    options_before_new(words.collect())
}

/// Puts the options of `compare BASE -- NEW --metric METRIC` before `--`: behind it, clap takes every word for a folder.
fn options_before_new(mut words: Vec<OsString>) -> Vec<OsString> {
    let is_compare = words.get(1).is_some_and(|word| word == "compare");
    let Some(at) = words.iter().position(|word| word == "--").filter(|_| is_compare) else { return words };
    let command = <Cli as clap::CommandFactory>::command();
    let mut behind = words.split_off(at).into_iter();
    let mut new: Vec<OsString> = behind.next().into_iter().collect();
    while let Some(word) = behind.next() {
        let text = word.to_string_lossy().into_owned();
        if text == "--" || text == "-" || !text.starts_with('-') {
            new.push(word);
            continue;
        }
        words.push(word);
        if command.find_subcommand("compare").is_some_and(|compare| takes_value(compare, &text)) {
            words.extend(behind.next());
        }
    }
    words.append(&mut new);
    words
}

/// Whether the word behind this option is its value.
fn takes_value(command: &clap::Command, option: &str) -> bool {
    let is_it = |arg: &&clap::Arg| arg.get_long().is_some_and(|name| option.strip_prefix("--") == Some(name));
    command.get_arguments().find(is_it).is_some_and(|arg| arg.get_action().takes_values())
}

/// It becomes the name of a folder.
fn baseline_name(text: &str) -> Result<String, String> {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.starts_with(['.', '-']) || !text.chars().all(safe) || text.len() > 100 {
        return Err("a name has letters, digits, `-`, `_` and `.`, and begins with a letter or digit".to_owned());
    }
    Ok(text.to_owned())
}

fn precision(text: &str) -> Result<Ratio, UnitError> {
    let share: Ratio = text.parse()?;
    if (0.001..=0.5).contains(&share.0) {
        return Ok(share);
    }
    Err(UnitError { found: format!("\"{text}\" is out of bounds"), fix: "it is from \"0.1%\" to \"50%\"".to_owned() })
}

/// Less than a megabyte would not hold one message.
fn memory(text: &str) -> Result<Bytes, UnitError> {
    let bytes: Bytes = text.parse()?;
    if bytes < Bytes(1 << 20) {
        return Err(UnitError { found: format!("\"{text}\" is out of bounds"), fix: "it is \"1MiB\" or more".to_owned() });
    }
    Ok(bytes)
}

fn max_rate(text: &str) -> Result<Rate, UnitError> {
    let rate: Rate = text.parse()?;
    if (0.01..=10_000_000.0).contains(&rate.0) {
        return Ok(rate);
    }
    Err(UnitError { found: format!("\"{text}\" is out of bounds"), fix: "it is from \"0.01/s\" to \"10000000/s\"".to_owned() })
}

fn duration(text: &str) -> Result<Duration, UnitError> {
    parse_duration(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn options_of_compare_may_stand_behind_the_new_side() {
        let line = "closestorm compare a b -- c --metric M d --min-effect=3% -q e --out o";
        let words = arguments(line.split(' ').map(OsString::from));
        let Command::Compare(args) = Cli::try_parse_from(words).expect("a command line").command else { panic!("compare") };
        let folders = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!((args.base, args.new), (folders(&["a", "b"]), folders(&["c", "d", "e"])));
        assert_eq!((args.metric, args.min_effect, args.quiet), (vec!["M".to_owned()], Ratio(0.03), true));
        assert_eq!(args.out, Some(PathBuf::from("o")));
        // Programs have options of their own.
        let learn: Vec<_> = "closestorm learn -- node compare -- --quiet".split(' ').map(OsString::from).collect();
        assert_eq!(arguments(learn.clone().into_iter()), learn);
    }

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
