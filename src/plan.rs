//! What will be done: defaults filled, names resolved, no invalid state left. Made by `scenario`, carried out by the worlds.

mod admission;
mod dry_run;
mod model;
mod shard;

pub use crate::arrival::Arrive;
use crate::event::ClientIndex;
use crate::expect::Expectation;
use crate::fault::Injection;
use crate::reconnect::Policy;
use crate::seed::Seed;
use crate::units::{Bytes, Rate};
pub use admission::{Bucket, Line, Refusal};
use core::net::IpAddr;
pub use model::{Accept, Gone, Hints, Model, ModelBalance, NoModel, SynRetries, Times};
use serde::{Deserialize, Serialize};
pub use shard::Shard;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A run, complete.
#[derive(Clone, Debug)]
pub struct Plan {
    /// File stem of the scenario; names the folder below `results/`.
    pub name: String,
    /// What the run should answer.
    pub question: Option<String>,
    /// What is expected, in words.
    pub hypothesis: Option<String>,
    /// Length of the run from the first due arrival.
    pub duration: Duration,
    /// Root of all random streams.
    pub seed: Seed,
    /// Who is tested.
    pub target: Target,
    /// The server and the path as the simulator sees them, where the scenario says so.
    pub model: Option<Model>,
    /// In the order of the scenario; clients are numbered through them.
    pub cohorts: Vec<Cohort>,
    /// In the order of the scenario.
    pub faults: Vec<Fault>,
    /// In the order of the scenario.
    pub expectations: Vec<Expectation>,
    /// The scenario as resolved, TOML; stored with the run.
    pub resolved: String,
    /// What the user should know before the run, as a heartbeat that is off because the target does not ping.
    pub notices: Vec<String>,
}

impl Plan {
    /// All clients.
    pub fn clients(&self) -> u32 {
        self.cohorts.iter().map(|cohort| cohort.count).sum()
    }

    /// What to tell of clients that are due at or after the end of the run: nothing, or a line per cohort.
    pub fn late_arrivals(&self) -> Vec<String> {
        let late = |cohort: &Cohort| cohort.dues(self.seed).filter(|due| *due >= self.duration).count();
        let tell = |cohort: &Cohort| match late(cohort) {
            0 => None,
            late => Some(format!("cohort {}: {late} of {} clients are due after the end of the run", cohort.name, cohort.count)),
        };
        self.cohorts.iter().filter_map(tell).collect()
    }

    /// The cohort of a client, by index.
    pub fn cohort_of(&self, client: ClientIndex) -> usize {
        self.cohorts.partition_point(|cohort| cohort.first + cohort.count <= client.0)
    }
}

impl Cohort {
    /// Due offsets of its clients one after the other, as [`Cohort::due_times`].
    pub fn dues(&self, seed: Seed) -> Box<dyn Iterator<Item = Duration>> {
        self.arrive.dues(self.count, seed.stream(&format!("cohort/{}/arrivals", self.name)))
    }

    /// Due offsets of its clients, in the order of their index and sorted. Random shapes draw from `cohort/<name>/arrivals`.
    pub fn due_times(&self, seed: Seed) -> Vec<Duration> {
        self.dues(seed).collect()
    }
}

impl Fault {
    /// Offsets at which it fires in a run of this length, sorted: the first at `at`, all before `until` and the end of the run.
    ///
    /// Random gaps draw from the stream `fault/<name>/schedule`. A fault that ends by `first_n` does so by its hits, which are not
    /// known here.
    pub fn firings(&self, seed: Seed, duration: Duration) -> Vec<Duration> {
        let Schedule { at, repeat, until, .. } = self.schedule;
        let end = until.unwrap_or(duration).min(duration);
        let before_end = |offset: &Duration| *offset < end;
        match repeat {
            Repeat::Once => Some(at).filter(before_end).into_iter().collect(),
            Repeat::Every(gap) => {
                let gap = gap.max(Duration::from_nanos(1));
                std::iter::successors(Some(at), |offset| offset.checked_add(gap)).take_while(before_end).collect()
            }
            Repeat::Poisson(rate) => {
                let stream = seed.stream(&format!("fault/{}/schedule", self.name));
                crate::arrival::poisson(rate, stream).map(|offset| at.saturating_add(offset)).take_while(before_end).collect()
            }
        }
    }
}

/// The server under test.
#[derive(Clone, Debug)]
pub enum Target {
    /// Our own echo server, a child process for each instance.
    Embedded(Embedded),
    /// A server that we start, stop and kill.
    Command(Command),
    /// A server that is not ours.
    Url(Remote),
}

/// `[target.embedded]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Embedded {
    /// Instances, each on its own port; at least 1.
    pub instances: u16,
    /// Processes of each instance, which share its port; `None`: as many as its connections need.
    pub processes: Option<u16>,
    /// Which instance a client connects to.
    pub balance: Balance,
    /// Time of the service queue that each opening handshake reserves.
    pub handshake_cost: Duration,
    /// Opening handshakes served at a time; at least 1.
    pub parallel: u32,
    /// Length of the listen queue.
    pub backlog: u32,
    /// More connections are rejected with 503.
    pub max_connections: Option<u32>,
    /// Token bucket before the service queue.
    pub admit: Option<Admit>,
    /// Order of the service queue.
    pub queue: Queue,
    /// After a start, `handshake_cost` begins tenfold and falls linearly to its value in this time.
    pub slow_start: Option<Duration>,
    /// wss with a self-made certificate.
    pub tls: bool,
    /// Server-driven heartbeat.
    pub ping: Option<Heartbeat>,
}

impl Default for Embedded {
    /// One instance without limits of its own: no handshake cost, a listen queue of 1,024, no TLS, no pings.
    fn default() -> Embedded {
        Embedded {
            instances: 1,
            processes: None,
            balance: Balance::RoundRobin,
            handshake_cost: Duration::ZERO,
            parallel: 1,
            backlog: 1024,
            max_connections: None,
            admit: None,
            queue: Queue::Fifo,
            slow_start: None,
            tls: false,
            ping: None,
        }
    }
}

/// Which instance an attempt goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Attempts in turn.
    RoundRobin,
    /// Drawn for each attempt.
    Random,
    /// Fixed by client index.
    Sticky,
    /// Attempts in turn, over the instances that listen.
    Healthy,
}

/// Token bucket of opening handshakes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Admit {
    /// Tokens per second.
    pub rate: Rate,
    /// Size of the bucket.
    pub burst: u32,
    /// HTTP status of those without token.
    pub reject: u16,
    /// `Retry-After` of those without token, whole seconds.
    pub retry_after: Option<Duration>,
}

/// Order in which waiting handshakes are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Queue {
    /// Oldest first.
    Fifo,
    /// Newest first.
    Lifo,
}

/// `[target.command]`.
#[derive(Clone, Debug)]
pub struct Command {
    /// Program and arguments; `{port}` stands for the port.
    pub run: Vec<String>,
    /// URL with `{port}`, as `ws://127.0.0.1:{port}/`.
    pub address: String,
    /// When it counts as started.
    pub ready: Ready,
    /// Longest time until then.
    pub ready_within: Duration,
    /// Signal of a graceful stop, as `SIGTERM`.
    pub stop_signal: String,
    /// Added to the environment.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub workdir: Option<PathBuf>,
    /// Accept any certificate.
    pub insecure: bool,
    /// PEM file of extra roots.
    pub ca: Option<PathBuf>,
}

/// When a command target counts as started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// A TCP connect to the address succeeds.
    Tcp,
    /// A GET on the path answers with the status.
    Http {
        /// Path and query.
        path: String,
        /// Expected status.
        status: u16,
    },
    /// A line of its standard output contains the text.
    Line {
        /// What to look for.
        text: String,
    },
}

/// `[target.url]`.
#[derive(Clone, Debug)]
pub struct Remote {
    /// ws:// or wss:// URL.
    pub address: String,
    /// Accept any certificate.
    pub insecure: bool,
    /// PEM file of extra roots.
    pub ca: Option<PathBuf>,
    /// Local addresses that clients connect from, in turn; empty: the kernel chooses.
    pub source: Vec<IpAddr>,
}

/// `[clients.NAME]`.
#[derive(Clone, Debug)]
pub struct Cohort {
    /// As in the scenario.
    pub name: String,
    /// Index of its first client.
    pub first: u32,
    /// Clients; at least 1.
    pub count: u32,
    /// When they arrive.
    pub arrive: Arrive,
    /// How they come back.
    pub reconnect: Policy,
    /// The strategy as the user wrote it, for tables and charts.
    pub reconnect_label: String,
    /// What they say.
    pub traffic: Traffic,
    /// Client-driven heartbeat.
    pub heartbeat: Option<Heartbeat>,
    /// When they leave by themselves.
    pub stay: Option<Stay>,
    /// How long they wait for what.
    pub deadlines: Deadlines,
    /// Extra request headers; `{client}` and `{attempt}` are filled in.
    pub headers: Vec<(String, String)>,
    /// `Sec-WebSocket-Protocol`, in order of preference.
    pub subprotocols: Vec<String>,
    /// Query of the request, without `?`; `{client}` and `{attempt}` are filled in.
    pub query: Option<String>,
}

/// What the clients of a cohort say while open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Traffic {
    /// Nothing; what arrives is counted.
    None,
    /// Messages whose echo is awaited.
    Echo {
        /// Per client.
        rate: Rate,
        /// Size of a message.
        payload: Bytes,
    },
    /// Messages whose echo is awaited before the next goes out: a closed loop.
    EchoClosed {
        /// Messages of a client under way at a time.
        in_flight: u16,
        /// Size of a message.
        payload: Bytes,
    },
    /// Messages that nobody answers.
    Send {
        /// Per client.
        rate: Rate,
        /// Size of a message.
        payload: Bytes,
    },
}

/// Pings and the time in which a pong must come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Between pings.
    pub every: Duration,
    /// From a ping to its pong.
    pub timeout: Duration,
}

/// How long a client stays, and how it leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Stay {
    /// From `t_open`.
    pub time: StayTime,
    /// Status code of its Close frame; `None` sends an empty one.
    pub code: Option<u16>,
    /// Reason of its Close frame, at most 123 bytes.
    pub reason: String,
    /// It comes back after this time; `None`: it does not.
    pub back: Option<Duration>,
}

/// Length of a stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StayTime {
    /// Always the same.
    Fixed(Duration),
    /// Exponentially distributed with this mean.
    Exponential(Duration),
}

/// How long a client waits; zero means that it does not give up by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// TCP connect.
    pub connect: Duration,
    /// TLS and opening handshake, each.
    pub handshake: Duration,
    /// The peer's Close frame in answer to ours.
    pub close: Duration,
    /// The peer's FIN after the closing handshake.
    pub fin: Duration,
}

/// `[[faults]]`.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The id in all results.
    pub name: String,
    /// Kind and parameters.
    pub inject: Injection,
    /// Who carries it out.
    pub side: crate::fault::Side,
    /// When.
    pub schedule: Schedule,
    /// Whom.
    pub select: Select,
    /// Applies to connections that open later, too.
    pub new: bool,
}

/// When a fault fires.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// First firing, offset in the run.
    pub at: Duration,
    /// Further firings.
    pub repeat: Repeat,
    /// No firing at or after this offset.
    pub until: Option<Duration>,
    /// Reverted this long after each firing; `None`: stays to the end of the run.
    pub revert_after: Option<Duration>,
    /// Ends after this many hits.
    pub first_n: Option<u64>,
}

/// Further firings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Repeat {
    /// None.
    Once,
    /// At fixed gaps.
    Every(Duration),
    /// A Poisson process.
    Poisson(Rate),
}

/// Whom a firing hits: filters, then a pick.
#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    /// Only this cohort, by index.
    pub cohort: Option<usize>,
    /// Only connections in this phase; `None` means open.
    pub phase: Option<Phase>,
    /// Only connections open for at least this long.
    pub min_age: Duration,
    /// Which of those.
    pub pick: Pick,
}

/// Phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// TCP connect under way.
    Tcp,
    /// TLS handshake under way.
    Tls,
    /// Opening handshake under way.
    Upgrade,
    /// Open.
    Open,
    /// Closing handshake under way.
    Closing,
}

/// Which of the connections that passed the filters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Pick {
    /// Each.
    All,
    /// This many, drawn without replacement.
    Count(u32),
    /// This share in 0..=1, rounded to the nearest count, drawn without replacement.
    Share(f64),
    /// Every n-th client index: those with index mod n = n - 1.
    Nth(u32),
}

impl Pick {
    /// Draws from candidates that are sorted by client index, without replacement; keeps the order. A shard that has only its own
    /// candidates takes its part of what is picked; `turn` counts the firings, see [`Shard::quota`].
    pub fn draw<T>(
        self,
        shard: Shard,
        turn: u64,
        candidates: Vec<T>,
        client: impl Fn(&T) -> ClientIndex,
        random: &mut crate::seed::Stream,
    ) -> Vec<T> {
        let count = match self {
            Pick::All => return candidates,
            Pick::Nth(n) => return candidates.into_iter().filter(|one| client(one).0 % n.max(1) == n.max(1) - 1).collect(),
            Pick::Count(count) => usize::try_from(shard.quota(u64::from(count), turn)).unwrap_or(usize::MAX),
            Pick::Share(share) => shard.portion(share, candidates.len()),
        };
        // Selection sampling (Knuth, TAOCP vol. 2, algorithm S): exact, one pass, sorted.
        let (mut left, mut wanted) = (candidates.len(), count.min(candidates.len()));
        let mut candidates = candidates;
        candidates.retain(|_| {
            let taken = random.below(left as u64) < wanted as u64;
            left -= 1;
            wanted -= usize::from(taken);
            taken
        });
        candidates
    }

    /// Whether it takes a connection that is looked at alone, as each attempt that begins while a fault is active: a share is a
    /// probability there, drawn from `stream` for this client and connection; a count is bounded by the caller.
    pub fn takes_alone(self, seed: Seed, stream: &str, client: ClientIndex, connection: crate::event::ConnectionNo) -> bool {
        match self {
            Pick::All | Pick::Count(_) => true,
            Pick::Share(share) => seed.stream(&format!("{stream}/{}/{}", client.0, connection.0)).unit() < share,
            Pick::Nth(n) => client.0 % n.max(1) == n.max(1) - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Side, Values, row};

    fn firings(at: u64, repeat: Repeat, until: Option<u64>, name: &str) -> Vec<u64> {
        let seconds = Duration::from_secs;
        let schedule = Schedule { at: seconds(at), repeat, until: until.map(seconds), revert_after: None, first_n: None };
        let inject = Injection { row: row("drop_rst").expect("in the catalogue"), values: Values::default() };
        let select = Select { cohort: None, phase: None, min_age: Duration::ZERO, pick: Pick::All };
        let fault = Fault { name: name.to_owned(), inject, side: Side::Client, schedule, select, new: false };
        fault.firings(Seed(7), seconds(10)).iter().map(|offset| offset.as_millis() as u64).collect()
    }

    #[test]
    fn a_fault_fires_from_at_to_before_until_and_the_end() {
        let every = Repeat::Every(Duration::from_secs(2));
        for (at, repeat, until, expected) in [
            (3, Repeat::Once, None, vec![3000]),
            (10, Repeat::Once, None, vec![]), // at the end of the run
            (3, every, None, vec![3000, 5000, 7000, 9000]),
            (3, every, Some(7), vec![3000, 5000]),
            (4, every, Some(99), vec![4000, 6000, 8000]),
        ] {
            assert_eq!(firings(at, repeat, until, "x"), expected, "{at} {repeat:?} {until:?}");
        }
    }

    #[test]
    fn random_firings_depend_on_the_name_only_and_have_the_rate() {
        let poisson = |rate, name| firings(1, Repeat::Poisson(Rate(rate)), Some(9), name);
        let times = poisson(100.0, "x");
        assert!(times.is_sorted() && times[0] == 1000 && times.last().is_some_and(|last| *last < 9000));
        // 800 expected, standard deviation 28.
        assert!((690..910).contains(&times.len()), "{}", times.len());
        assert_eq!(times, poisson(100.0, "x"));
        assert_ne!(times, poisson(100.0, "y"));
    }
}
