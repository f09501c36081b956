//! The server and the path as the simulator sees them: what `[model]` says, or what follows from `[target.embedded]`.
//!
//! Times that vary are [`ServiceTimes`]; what a server does with them is in `plan::admission` and `sim`.

use super::{AddressChoice, Admit, Balance, Cohort, Embedded, Plan, QueueOrder, Target};
use crate::arrival::seconds;
use crate::seed::{Seed, Stream};
use crate::units::print_duration;
use std::fmt;
use std::time::Duration;

/// Lengths of time, the same or drawn anew each time.
#[derive(Clone, Debug, PartialEq)]
pub enum ServiceTimes {
    /// Always this.
    Constant(Duration),
    /// Uniform between these.
    Uniform(Duration, Duration),
    /// Exponentially distributed with this mean.
    Exponential(Duration),
    /// Lognormal with this median and this standard deviation of the natural logarithm.
    Lognormal(Duration, f64),
    /// As measured: values at equally spaced quantiles from 0 to 1, ascending, at least two; linear between them.
    Quantiles(Vec<Duration>),
}

impl ServiceTimes {
    /// Nothing.
    pub const ZERO: ServiceTimes = ServiceTimes::Constant(Duration::ZERO);

    /// One of them. A constant draws nothing.
    pub fn draw(&self, random: &mut Stream) -> Duration {
        match self {
            ServiceTimes::Constant(time) => *time,
            ServiceTimes::Uniform(least, most) => *least + most.saturating_sub(*least).mul_f64(random.unit()),
            ServiceTimes::Exponential(mean) => seconds(mean.as_secs_f64() * random.exponential()),
            ServiceTimes::Lognormal(median, sigma) => seconds(median.as_secs_f64() * (sigma * normal(random)).exp()),
            ServiceTimes::Quantiles(values) => {
                let place = random.unit() * (values.len() - 1) as f64;
                let (below, part) = (place as usize, place.fract());
                let next = values[(below + 1).min(values.len() - 1)];
                values[below] + next.saturating_sub(values[below]).mul_f64(part)
            }
        }
    }

    /// Their mean.
    pub fn mean(&self) -> Duration {
        match self {
            ServiceTimes::Constant(time) | ServiceTimes::Exponential(time) => *time,
            ServiceTimes::Uniform(least, most) => (*least + *most) / 2,
            ServiceTimes::Lognormal(median, sigma) => seconds(median.as_secs_f64() * (sigma * sigma / 2.0).exp()),
            ServiceTimes::Quantiles(values) => {
                let inner = values.iter().sum::<Duration>() - (values[0] + values[values.len() - 1]) / 2;
                inner / (values.len() as u32 - 1)
            }
        }
    }

    /// Whether they are all nothing: then nobody waits, and no queue is needed.
    pub fn is_zero(&self) -> bool {
        *self == ServiceTimes::ZERO
    }
}

/// Standard normal, by Box and Muller.
fn normal(random: &mut Stream) -> f64 {
    let radius = (2.0 * random.exponential()).sqrt();
    radius * (std::f64::consts::TAU * random.unit()).cos()
}

impl fmt::Display for ServiceTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceTimes::Constant(time) => f.write_str(&print_duration(*time)),
            ServiceTimes::Uniform(least, most) => write!(f, "{} to {}, uniform", print_duration(*least), print_duration(*most)),
            ServiceTimes::Exponential(mean) => write!(f, "{} on average, exponential", print_duration(*mean)),
            ServiceTimes::Lognormal(median, sigma) => write!(f, "{} in the median, lognormal with sigma {sigma}", print_duration(*median)),
            ServiceTimes::Quantiles(values) => {
                write!(f, "{} to {}, by {} quantiles", print_duration(values[0]), print_duration(values[values.len() - 1]), values.len())
            }
        }
    }
}

/// Which instance an attempt goes to, in the simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelBalance {
    /// Attempts in turn.
    RoundRobin,
    /// Drawn for each attempt.
    Random,
    /// Fixed by client index.
    Sticky,
    /// Attempts in turn, over the instances that listen.
    Healthy,
    /// The instance that listens and has the fewest connections, attempts included.
    LeastConnections,
    /// Of two instances that listen, drawn for each attempt, the one with fewer connections.
    TwoChoices,
}

impl ModelBalance {
    /// The instance of `count`, at least 1, that the client's attempt goes to. `turn`: attempts before it, of all clients. `listens` and
    /// `load`: of each instance, the latter its connections and attempts.
    pub fn choose(
        self,
        (count, turn): (u32, u32),
        (client, attempt): (u32, u32),
        seed: Seed,
        listens: impl Fn(u32) -> bool,
        load: impl Fn(u32) -> u32,
    ) -> u32 {
        let random = || seed.stream(&format!("client/{client}/balance/{attempt}"));
        let from_turn = || (0..count).map(|step| turn.wrapping_add(step) % count).filter(|instance| listens(*instance));
        let chosen = match self {
            ModelBalance::RoundRobin => None,
            ModelBalance::Sticky => Some(client % count),
            ModelBalance::Random => Some(random().below(u64::from(count)) as u32),
            ModelBalance::Healthy => from_turn().next(),
            // Equals in turn.
            ModelBalance::LeastConnections => from_turn().min_by_key(|instance| load(*instance)),
            ModelBalance::TwoChoices => {
                let listening: Vec<_> = (0..count).filter(|instance| listens(*instance)).collect();
                let mut random = random();
                let mut one = || listening.get(random.below(listening.len() as u64) as usize).copied();
                let (first, second) = (one(), one());
                first.zip(second).map(|(first, second)| if load(second) < load(first) { second } else { first })
            }
        };
        chosen.unwrap_or(turn % count)
    }
}

impl From<Balance> for ModelBalance {
    fn from(balance: Balance) -> Self {
        match balance {
            Balance::RoundRobin => ModelBalance::RoundRobin,
            Balance::Random => ModelBalance::Random,
            Balance::Sticky => ModelBalance::Sticky,
            Balance::Healthy => ModelBalance::Healthy,
        }
    }
}

/// When a server takes a connection off its listen queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// As soon as it can; opening handshakes wait inside it. So do servers with an event loop, as the embedded one.
    Eager,
    /// When an opening handshake can be served: until then it waits in the listen queue. So do servers with a fixed number of workers.
    WhenFree,
}

/// What a server does with the opening handshake of a client that has given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It serves it all the same: it notices only when it writes the answer.
    Served,
    /// It notices, and goes on with the next.
    Skipped,
}

/// When a client's kernel repeats a SYN that nobody answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SynRetries {
    /// Linux 6.5 and newer: after about 1, 2, 3, 4, 5, 7 and 11 s.
    Linear,
    /// Before: after 1, 3, 7, 15, 31 and 63 s.
    Doubling,
}

impl SynRetries {
    /// Offsets from the first SYN, ms. After the last one the kernel waits [`SynRetries::gives_up_ms`] in all.
    pub fn grid_ms(self) -> &'static [u64] {
        match self {
            // Measured on Linux 6.18 with tcp_syn_linear_timeouts = 4 and tcp_syn_retries = 6: gaps of 1.02 to 1.03 s instead of 1 s,
            // the grain of the kernel's timer wheel. The last three continue the doubling.
            SynRetries::Linear => &[1024, 2048, 3072, 4096, 5120, 7136, 11_232, 19_424, 35_808, 68_576],
            SynRetries::Doubling => &[1000, 3000, 7000, 15_000, 31_000, 63_000],
        }
    }

    /// When the kernel gives up with ETIMEDOUT, ms after the first SYN.
    pub fn gives_up_ms(self) -> u64 {
        match self {
            SynRetries::Linear => 134_112,
            SynRetries::Doubling => 127_000,
        }
    }
}

/// Hints of the server that clients honour although their library does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// `Retry-After` of a rejected opening handshake: the wait is at least so long.
    pub retry_after: bool,
    /// Status codes 1012 and 1013: the wait is at least 5 to 30 s, drawn, as the registry of 1012 asks.
    pub restart_codes: bool,
}

/// `[model]`: the server and the path as the simulator sees them.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Servers; at least 1.
    pub instances: u16,
    /// Which of them an attempt goes to.
    pub balance: ModelBalance,
    /// Time of the service queue that each opening handshake takes.
    pub handshake_cost: ServiceTimes,
    /// Opening handshakes served at a time, by each instance; at least 1.
    pub parallel: u32,
    /// Length of the listen queue; it holds one more, as in Linux.
    pub backlog: u32,
    /// When a connection leaves the listen queue.
    pub accept: Accept,
    /// Time that accepting takes, one at a time, with [`Accept::Eager`].
    pub accept_cost: Duration,
    /// More connections are rejected with 503.
    pub max_connections: Option<u32>,
    /// Token bucket before the service queue.
    pub admit: Option<Admit>,
    /// Those without token are closed with this code after a completed opening handshake, in place of the HTTP status.
    pub admit_close: Option<u16>,
    /// Order of the service queue.
    pub queue: QueueOrder,
    /// The server ends an opening handshake that has waited so long.
    pub deadline: Option<Duration>,
    /// What it does for those who have given up.
    pub gone: Gone,
    /// From the start of a process to the moment it listens.
    pub start_up: ServiceTimes,
    /// After a start, the cost begins tenfold and falls linearly to its value in this time.
    pub slow_start: Option<Duration>,
    /// Cold caches: after a start the cost is this much greater, as a multiple of itself, and the excess halves every `cold_half_life`.
    pub cold: f64,
    /// Half-life of the excess of `cold`.
    pub cold_half_life: Duration,
    /// Work of each open connection in each second, taken from the opening handshakes.
    pub open_cost: Duration,
    /// Work of each message, taken from the opening handshakes.
    pub message_cost: Duration,
    /// Time of the service queue that an HTTP request before a connection takes; `None`: as an opening handshake.
    pub before_cost: Option<ServiceTimes>,
    /// wss: one more round trip (TLS 1.3), for a full handshake and for a resumed one.
    pub tls: bool,
    /// The server takes up earlier TLS sessions.
    pub resume: bool,
    /// Round trip of the path.
    pub rtt: ServiceTimes,
    /// Share of SYNs lost, 0 to 1.
    pub loss: f64,
    /// Repetition of SYNs.
    pub syn_retries: SynRetries,
    /// From the end of a connection on the wire to the client noticing, besides half a round trip.
    pub notice: ServiceTimes,
    /// How much later each further connection of a server that died is noticed, in the order in which they opened.
    pub notice_each: Duration,
    /// What a client's own machine adds to each attempt after a wait: its timer is late, and its connect waits for its turn.
    pub client_lag: ServiceTimes,
    /// Timers of clients end at whole multiples of this, and `client_lag` is the same for all that end together; nothing: each by itself.
    pub client_tick: Duration,
    /// What each attempt takes the machine that all clients run on, one at a time.
    pub client_cost: Duration,
    /// Clocks of clients run faster or slower by up to this share, 0 to 1.
    pub clock_spread: f64,
    /// Hints that clients honour.
    pub hints: Hints,
}

impl Model {
    /// What is known of an embedded server without calibration: its own settings, and a path that takes no time.
    pub fn of_embedded(embedded: &Embedded) -> Model {
        Model {
            instances: embedded.instances,
            balance: embedded.balance.into(),
            handshake_cost: ServiceTimes::Constant(embedded.handshake_cost),
            parallel: embedded.parallel,
            backlog: embedded.backlog,
            accept: Accept::Eager,
            accept_cost: Duration::ZERO,
            max_connections: embedded.max_connections,
            admit: embedded.admit,
            admit_close: None,
            queue: embedded.queue,
            deadline: None,
            gone: Gone::Served,
            start_up: ServiceTimes::ZERO,
            slow_start: embedded.slow_start,
            cold: 0.0,
            cold_half_life: Duration::from_secs(1),
            open_cost: Duration::ZERO,
            message_cost: Duration::ZERO,
            before_cost: None,
            tls: embedded.tls,
            resume: embedded.resume,
            rtt: ServiceTimes::ZERO,
            loss: 0.0,
            syn_retries: SynRetries::Linear,
            notice: ServiceTimes::ZERO,
            notice_each: Duration::ZERO,
            client_lag: ServiceTimes::ZERO,
            client_tick: Duration::ZERO,
            client_cost: Duration::ZERO,
            clock_spread: 0.0,
            hints: Hints::default(),
        }
    }
}

/// The simulator knows nothing of the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{target} cannot be simulated without a model: write a `[model]` table (`closestorm validate --keys` lists its keys), or measure a \
     run (`closestorm run`) and fit a model to it (`closestorm calibrate RUN`)"
)]
pub struct NoModel {
    /// The target in words.
    pub target: &'static str,
}

impl Plan {
    /// What the simulator works with: `[model]`, else the settings of the embedded server.
    ///
    /// # Errors
    /// If the target is a command or a URL and there is no `[model]`.
    pub fn simulated_as(&self) -> Result<Model, NoModel> {
        match (&self.model, &self.target) {
            (Some(model), _) => Ok(model.clone()),
            (None, Target::Embedded(embedded)) => Ok(Model::of_embedded(embedded)),
            (None, Target::Command(_)) => Err(NoModel { target: "the server of [target.command]" }),
            (None, Target::Url(_)) => Err(NoModel { target: "the server of [target.url]" }),
        }
    }
}

impl Plan {
    /// What of the plan a simulation leaves out, in words: ways to the target, and what only a real server says.
    pub fn not_simulated(&self) -> Vec<String> {
        self.ways_not_simulated().into_iter().chain(self.cohorts.iter().filter_map(Cohort::not_simulated)).collect()
    }

    fn ways_not_simulated(&self) -> Option<String> {
        let Target::Url(remote) = &self.target else { return None };
        let keys = [
            ("resolve", !remote.resolve.is_empty()),
            ("addresses", matches!(remote.addresses, AddressChoice::InTurn | AddressChoice::Random)),
            ("source", !remote.source.is_empty()),
            ("proxy", remote.proxy.is_some()),
            ("redirects", remote.redirects > 0),
        ];
        let all = listed(keys.into_iter().filter(|(_, used)| *used).map(|(key, _)| key))?;
        Some(format!("not simulated: {all} of [target.url]; the simulated clients reach the server of [model] directly"))
    }
}

impl Cohort {
    fn not_simulated(&self) -> Option<String> {
        let script = self.script.as_ref()?;
        let steps = script.awaits_steps() || !script.before.is_empty();
        let steps = if steps { "the simulated server answers each step of `open`, and each request of `before`, as it should" } else { "" };
        let idle = listed(script.idle_in_calm())
            .map(|keys| format!("it says nothing by itself: {keys} of the dialogue do nothing, and are not counted"));
        let said: Vec<_> = [steps.to_owned(), idle.unwrap_or_default()].into_iter().filter(|text| !text.is_empty()).collect();
        (!said.is_empty()).then(|| format!("cohort {}: not simulated is what a server says: {}", self.name, said.join("; ")))
    }
}

/// Keys as a list in words; `None`: there are none.
fn listed(keys: impl Iterator<Item = &'static str>) -> Option<String> {
    let all: Vec<_> = keys.map(|key| format!("`{key}`")).collect();
    let last = all.last()?;
    Some(if all.len() > 1 { format!("{} and {last}", all[..all.len() - 1].join(", ")) } else { last.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn drawn_times_have_their_mean() {
        let ms = Duration::from_millis;
        for times in [
            ServiceTimes::Constant(ms(7)),
            ServiceTimes::Uniform(ms(2), ms(10)),
            ServiceTimes::Exponential(ms(5)),
            ServiceTimes::Lognormal(ms(5), 0.5),
            ServiceTimes::Quantiles(vec![ms(1), ms(2), ms(9)]),
        ] {
            let mut random = Seed(3).stream("times");
            let mean = (0..40_000).map(|_| times.draw(&mut random).as_secs_f64()).sum::<f64>() / 40_000.0;
            let expected = times.mean().as_secs_f64();
            // Standard errors are at most 0.5 % of the mean here; this allows four.
            assert!((mean / expected - 1.0).abs() < 0.02, "{times}: {mean} instead of {expected}");
        }
    }
}
