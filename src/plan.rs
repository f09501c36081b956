//! What will be done: defaults filled, names resolved, no invalid state left. Made by `scenario`, carried out by the worlds.

mod admission;
mod budget;
mod dry_run;
mod fault;
pub mod limits;
mod model;
mod selection;
mod shard;
mod sockets;
mod target;

use crate::arrival::Sends;
pub use crate::arrival::{Arrive, LoadStage, LoadStages, Presence};
pub use crate::dialogue::{ClientData, Dialogue, Readiness, Traffic};
use crate::dialogue::{ClientMemory, DialogueSettings, Scripted};
use crate::event::ClientIndex;
use crate::expect::Expectation;
use crate::number::{noun_of, word_of};
use crate::reconnect::{Policy, whole_ms};
use crate::secret::Secrets;
use crate::seed::{Seed, Stream};
use crate::template::{DataTable, Template};
use crate::units::Bytes;
pub use admission::{Bucket, Refusal, ServiceQueue};
pub use budget::Budget;
pub use fault::{FAULTS_MAX, FIRINGS_MAX, Fault, Firing, Phase, Pick, Repeat, Schedule, Select, draw_exactly};
pub use limits::LoadLimits;
pub use model::{Accept, Gone, Hints, Model, ModelBalance, NoModel, ServiceTimes, SynRetries};
pub use selection::Standing;
use serde::{Deserialize, Serialize};
pub use shard::{LocalRow, Shard};
pub use sockets::{KEPT_AFTER_PEER, LeftOpen, PEER_CHECK};
use std::sync::Arc;
use std::time::Duration;
pub use target::{AddressChoice, Admit, Balance, Before, Command, Embedded, ProxyAddress, QueueOrder, Ready, Remote, Target};

/// What is left out at the end of an [`AuthorAnswer`] where figures follow.
pub const SENTENCE_ENDS: [char; 4] = ['.', ':', ';', ','];

/// What the author of a scenario lets a verdict say to the question; figures of the run follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorAnswer {
    /// Where all that is expected was seen: `"Yes"`, or `"No, as it should be"`.
    pub pass: String,
    /// Where something was seen not to hold.
    pub fail: String,
}

/// A line of a file that a scenario was read from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScenarioPlace {
    /// As the user named it.
    pub file: String,
    /// From 1.
    pub line: usize,
}

/// A run, complete.
#[derive(Clone, Debug)]
pub struct Plan {
    /// File stem of the scenario; names the folder below `results/`.
    pub name: String,
    /// What the run should answer.
    pub question: Option<String>,
    /// What is expected, in words.
    pub hypothesis: Option<String>,
    /// What a verdict says to the question.
    pub answer: Option<AuthorAnswer>,
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
    /// Where each of them stands; `None` where that is in no file, as in a bundled scenario or behind `--set`.
    pub expected_at: Vec<Option<ScenarioPlace>>,
    /// The scenario as resolved, TOML; stored with the run, so without secrets.
    pub resolved: String,
    /// The same with secrets, and with variables by name: for processes of this run, which are told what these hold.
    pub whole: String,
    /// What variables hold, and what must not be shown.
    pub secrets: Secrets,
    /// What the user should know before the run, as a heartbeat that is off because the target does not ping.
    pub notices: Vec<String>,
    /// `events.csv` keeps every event, messages and pongs too; otherwise a sample without them.
    pub all_events: bool,
    /// How much load the user allows; by default as much as the plan wants.
    pub limits: LoadLimits,
}

impl Plan {
    /// The dialogues of its cohorts, in their order.
    pub fn scripts(&self) -> impl Iterator<Item = &Dialogue> {
        self.cohorts.iter().filter_map(|cohort| cohort.script.as_deref())
    }

    /// All clients.
    pub fn clients(&self) -> u32 {
        self.cohorts.iter().map(|cohort| cohort.count).sum()
    }

    /// What to tell of clients that are due at or after the end of the run: nothing, or a line per cohort.
    pub fn late_arrivals(&self) -> Vec<String> {
        let late = |cohort: &Cohort| cohort.dues(self.seed).filter(|due| *due >= self.duration).count();
        let tell = |cohort: &Cohort| match late(cohort) {
            0 => None,
            late => {
                let (of, are) = (noun_of(cohort.count.into(), "client"), word_of(late as u64, "is", "are"));
                Some(format!("cohort {}: {late} of {} {of} {are} due after the end of the run", cohort.name, cohort.count))
            }
        };
        self.cohorts.iter().filter_map(tell).collect()
    }

    /// The first fault that names an instance which a fleet of so many does not have, and which one.
    pub fn beyond(&self, instances: u16) -> Option<(&Fault, u64)> {
        let named = self.faults.iter().filter_map(|fault| Some((fault, fault.inject.values.whole("instance")?)));
        named.into_iter().find(|(_, instance)| *instance >= u64::from(instances))
    }

    /// The cohort of a client, by index.
    pub fn cohort_of(&self, client: ClientIndex) -> usize {
        self.cohorts.partition_point(|cohort| cohort.first + cohort.count <= client.0)
    }
}

impl Cohort {
    /// What its clients say on an open connection, and what they wait for. The embedded server greets them right behind its 101, where that is
    /// the target and they wait for it.
    pub fn dialogue(&self) -> DialogueSettings<'_> {
        let (cohort, data) = self.named_data();
        let scripted = self.script.as_ref().map(|script| Scripted { script, cohort, data });
        let greeting = self.ready.greeting().filter(|_| self.greeted);
        DialogueSettings { traffic: self.traffic, scripted, ready: &self.ready, embedded: self.greeted, greeting }
    }

    /// What a client of the cohort keeps over its connections; `None`: nothing that has to be kept.
    pub fn memory(&self, seed: Seed, client: ClientIndex) -> Option<Box<ClientMemory>> {
        let drawn = |below| seed.numbered("client/", client.0, "/data").below(below);
        let row = || self.data.as_ref().map_or(0, |data| data.row(client.0 - self.first, drawn));
        (self.script.is_some() || !self.is_simple()).then(|| Box::new(ClientMemory::new(seed, client, row())))
    }

    /// Its name and data file, as dialogues take them.
    pub fn named_data(&self) -> (&str, Option<&DataTable>) {
        (&self.name, self.data.as_ref().map(|data| &*data.table))
    }

    /// Whether its opening requests differ by the numbers of client and attempt alone.
    pub fn is_simple(&self) -> bool {
        let headers = self.headers.iter().map(|(_, value)| value);
        headers.chain(&self.subprotocols).chain(&self.path).chain(&self.query).all(Template::is_simple)
    }

    /// All its templates.
    pub fn templates(&mut self, each: &mut dyn FnMut(&mut Template)) {
        let headers = self.headers.iter_mut().map(|(_, value)| value);
        headers.chain(&mut self.subprotocols).chain(&mut self.path).chain(&mut self.query).for_each(&mut *each);
        self.script.iter_mut().for_each(|script| script.templates(each));
    }

    /// Due offsets of its clients one after the other, as [`Cohort::due_times`].
    pub fn dues(&self, seed: Seed) -> Box<dyn Iterator<Item = Duration>> {
        let after = self.after;
        let dues = self.arrive.dues(self.count, seed.stream(&format!("cohort/{}/arrivals", self.name)));
        Box::new(dues.map(move |due| due.saturating_add(after)))
    }

    /// When a client is there by the stages of its cohort: the first time that is not over at offset `at`. `None`: it does not leave by them, or
    /// does not come again.
    pub fn presence(&self, client: ClientIndex, at: Duration) -> Option<Presence> {
        let Presence { from, until } = self.arrive.presence(client.0 - self.first, self.count, at.saturating_sub(self.after))?;
        Some(Presence { from: from + self.after, until: until.map(|until| until + self.after) })
    }

    /// When its clients leave by themselves: after a stay, or by stages.
    pub fn leaves(&self) -> bool {
        self.stay.is_some() || matches!(self.arrive, Arrive::Stages(_))
    }

    /// The Close frame of a client that leaves: code, or an empty one, and reason.
    pub fn farewell(&self) -> (Option<u16>, &str) {
        self.stay.as_ref().map_or((Some(crate::close::NORMAL), ""), |stay| (stay.code, &stay.reason))
    }

    /// When a client's messages are due, if they are by the clock.
    pub fn sends(&self, client: ClientIndex, seed: Seed) -> Option<Sends> {
        let rate = self.traffic.rate()?;
        Some(Sends::of(client, rate, seed).in_stages(self.rate_stages.clone()))
    }

    /// Due offsets of its clients, in the order of their index and sorted. Random shapes draw from `cohort/<name>/arrivals`.
    pub fn due_times(&self, seed: Seed) -> Vec<Duration> {
        self.dues(seed).collect()
    }
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
    /// So long after the start of the run its arrivals and stages begin.
    pub after: Duration,
    /// How they come back.
    pub reconnect: Policy,
    /// The strategy as the user wrote it, for tables and charts.
    pub reconnect_label: String,
    /// What they say.
    pub traffic: Traffic,
    /// How the rate of its messages changes over the run; that of `traffic` is the highest.
    pub rate_stages: Option<Arc<LoadStages>>,
    /// The dialogue, where `traffic` says that there is one.
    pub script: Option<Box<Dialogue>>,
    /// Values for each client, from a file.
    pub data: Option<ClientData>,
    /// Client-driven heartbeat.
    pub heartbeat: Option<Heartbeat>,
    /// When they leave by themselves.
    pub stay: Option<Stay>,
    /// How long they wait for what.
    pub deadlines: Deadlines,
    /// They keep TLS sessions of their own and take them up: all handshakes but the first are short where the server agrees.
    pub resume: bool,
    /// When a connection of theirs counts as ready.
    pub ready: Readiness,
    /// The target is our own server, which greets whom waits for a message of it.
    pub greeted: bool,
    /// Longest message that a client accepts, 1 KiB to 1 GiB.
    pub max_message: Bytes,
    /// Its clients keep the cookies that their server sets, and send them again.
    pub cookies: bool,
    /// Extra request headers.
    pub headers: Vec<(String, Template)>,
    /// `Sec-WebSocket-Protocol`, in order of preference.
    pub subprotocols: Vec<Template>,
    /// Path of the request in place of the address's; begins with `/`.
    pub path: Option<Template>,
    /// Query of the request, without `?`; added to that of the address.
    pub query: Option<Template>,
}

/// Pings and the time in which a pong must come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Between pings.
    pub every: Duration,
    /// From a ping to its pong.
    pub timeout: Duration,
}

impl Heartbeat {
    /// From the opening of a connection to its first ping: drawn, so that a herd's pings do not fall together, in whole milliseconds, the
    /// grain of timers. `end`: a number that no other end of a connection has.
    pub fn first(&self, seed: Seed, end: u64) -> Duration {
        whole_ms(self.every.mul_f64(seed.stream(&format!("connection/{end}/ping")).unit()))
    }
}

/// When the connection number `index` of `count`, from 0, is closed in a graceful stop: from its beginning, in whole milliseconds, the grain
/// of timers.
pub fn turn_in(spread: Duration, index: u32, count: u32) -> Duration {
    whole_ms(spread.mul_f64(f64::from(index) / f64::from(count.max(1))))
}

/// How long a client stays, and how it leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Stay {
    /// From `t_open`, drawn anew for each connection from the client's own stream.
    pub time: ServiceTimes,
    /// Status code of its Close frame; `None` sends an empty one.
    pub code: Option<u16>,
    /// Reason of its Close frame, at most 123 bytes.
    pub reason: String,
    /// It comes back after this time; `None`: it does not.
    pub back: Option<Duration>,
}

impl Stay {
    /// The length of one stay; what is drawn is in whole milliseconds, the grain of timers.
    pub fn draw(&self, random: &mut Stream) -> Duration {
        match &self.time {
            ServiceTimes::Constant(time) => *time,
            drawn => whole_ms(drawn.draw(random)),
        }
    }
}

/// How long a client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// TCP connect.
    pub connect: Patience,
    /// TLS and opening handshake, each.
    pub handshake: Patience,
    /// The peer's Close frame in answer to ours; zero: for ever.
    pub close: Duration,
    /// The peer's FIN after the closing handshake; zero: for ever.
    pub fin: Duration,
}

impl Default for Deadlines {
    /// Of clients whose strategy says nothing: 10 s, 10 s, 10 s, 2 s.
    fn default() -> Deadlines {
        let ten = Duration::from_secs(10);
        Deadlines { connect: Patience::Own(ten), handshake: Patience::Own(ten), close: ten, fin: Duration::from_secs(2) }
    }
}

/// When a client abandons a stage of an attempt. A TCP connect that nobody answers is ended by the kernel all the same, see [`SynRetries`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// With the whole attempt, when its strategy says so: [`Policy::connect_timeout`]. Never where the strategy has none.
    Strategy,
    /// This long after the stage began, whatever the strategy says; zero: never.
    Own(Duration),
}
