//! The measurements themselves: one client program against one fresh echo server, figures from the server and from /proc.

use super::client::{Client, Who};
use super::machine::{Addresses, Cores, free_port};
use super::ours;
use super::samples::Samples;
use super::server::Server;
use super::usage::Usage;
use crate::counts::{Counts, Until};
use crate::job::{Job, Load};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

/// Attempts under way at once, for floor and bare loop: what the backlog holds.
pub(crate) const IN_FLIGHT: u32 = super::server::BACKLOG;
/// For the slowest of the peers.
const PATIENCE: Duration = Duration::from_secs(45);
/// Memory is read when the opening handshakes are over and what they needed is given back.
const SETTLE: Duration = Duration::from_millis(1200);

/// Where a measurement happens.
pub(crate) struct Bench {
    pub(crate) cores: Cores,
    pub(crate) addresses: Addresses,
    pub(crate) samples: Samples,
}

impl Bench {
    fn job(&mut self, load: Load, clients: u32, spread: u32) -> Result<Job, String> {
        let addresses: Vec<Ipv4Addr> = self.addresses.fresh(spread);
        Ok(Job { load, clients, addresses, port: free_port()?, secure: false, in_flight: IN_FLIGHT, payload: 100, seconds: 4.0 })
    }

    fn start(&self, who: &Who, job: &Job) -> Result<(Server, Client), String> {
        let server = Server::start(self.cores, job.port)?;
        Ok((server, Client::start(who, job, self.cores)?))
    }

    /// `clients` at once: handshakes a second, processor time by the last of them; with one and with many also memory, when all is quiet.
    pub(crate) fn opening(&mut self, section: &str, who: &Who, name: &str, clients: u32, spread: u32) -> Result<(), String> {
        let job = self.job(Load::Idle, clients, spread)?;
        let (mut server, mut client) = self.start(who, &job)?;
        let counts = wait(&mut server, &mut client, Until::Opened(clients.into()))?;
        let opened = client.usage();
        if matches!(section, "one" | "crowd") {
            super::pause(SETTLE);
            let settled = client.usage();
            let still = server.counts()?;
            // Artillery's arrivals come out one in a hundred too many.
            if still.open < u64::from(clients) {
                return Err(format!("{} of {clients} were still open when memory was read", still.open));
            }
            self.samples.add(section, name, "rss_kib", settled.rss_kib);
        }
        self.samples.add(section, name, "per_s", counts.opening_rate());
        self.samples.add(section, name, "cpu_us", opened.cpu_us);
        Ok(())
    }

    /// `clients` at once over wss: handshakes a second and processor time a handshake, full ones; then all are sent away and return, and
    /// resume.
    pub(crate) fn secure(&mut self, who: &Who, clients: u32) -> Result<(), String> {
        let job = Job { secure: true, ..self.job(Load::Return(Duration::from_millis(100)), clients, 1)? };
        let mut server = Server::start_secure(self.cores, job.port)?;
        let mut client = Client::start(who, &job, self.cores)?;
        // closestorm has a handshake of its own before the run.
        let before = u64::from(matches!(who, Who::Ours));
        let full = wait(&mut server, &mut client, Until::Opened(u64::from(clients) + before))?;
        let used = client.usage();
        super::pause(Duration::from_millis(500));
        let idle = client.usage();
        let resumed = wait(&mut server, &mut client, Until::Returned(2 * u64::from(clients) + before))?;
        let using = client.usage();
        if (full.echoed, resumed.echoed) != (0, clients.into()) {
            return Err(format!("{} and {} handshakes resumed, not 0 and {clients}", full.echoed, resumed.echoed));
        }
        let each = f64::from(clients);
        #[expect(clippy::cast_precision_loss, reason = "far below 2⁵³")]
        let rate = |counts: &Counts| each / ((counts.last_ns - counts.first_ns) as f64 / 1e9);
        for (section, counts, cpu_us) in [("full", &full, used.cpu_us), ("resumed", &resumed, using.cpu_us - idle.cpu_us)] {
            self.samples.add(section, who.name(), "per_s", rate(counts));
            self.samples.add(section, who.name(), "cpu_us", cpu_us / each);
        }
        Ok(())
    }

    /// A closed loop of 500 clients: round trips a second as the server counts them.
    pub(crate) fn echo(&mut self, who: &Who) -> Result<(), String> {
        let job = self.job(Load::Closed, 500, 1)?;
        let (mut server, mut client) = self.start(who, &job)?;
        wait(&mut server, &mut client, Until::Echoed(500))?;
        super::pause(Duration::from_millis(700));
        let (before, used) = (server.counts()?, client.usage());
        super::pause(Duration::from_secs(2));
        let (after, using) = (server.counts()?, client.usage());
        let (rate, cpu) = between(before, used, after, using);
        self.samples.add("echo", who.name(), "per_s", rate);
        self.samples.add("echo", who.name(), "cpu_us", cpu);
        Ok(())
    }

    /// 1,000 clients, ten messages a second each: processor time and sleeps a message from outside; latency can only be the client's own
    /// word.
    pub(crate) fn rate(&mut self, who: &Who) -> Result<(), String> {
        let job = self.job(Load::Rate(10_000.0), 1000, 1)?;
        let (mut server, mut client) = self.start(who, &job)?;
        let before = wait(&mut server, &mut client, Until::Echoed(10_000))?;
        let (used, served) = (client.usage(), server.usage());
        let after = wait(&mut server, &mut client, Until::Echoed(before.echoed + 25_000))?;
        let (using, serving) = (client.usage(), server.usage());
        let (rate, cpu) = between(before, used, after, using);
        #[expect(clippy::cast_precision_loss, reason = "far below 2⁵³")]
        let messages = (after.echoed - before.echoed) as f64;
        let folder = client.finish(Duration::from_secs(30))?;
        let (p50, p99, late) = match who {
            Who::Ours => {
                let of = |keys: &[&str]| ours::number(&folder, keys);
                let started_late = of(&["generator", "late_share_max"])? * 10_000.0;
                let late = started_late + of(&["messages", "not_started"])?;
                (of(&["messages", "rtt_us", "p50"])?, of(&["messages", "rtt_us", "p99"])?, late)
            }
            _ => own_latency(&folder)?,
        };
        let (sleeps, server_sleeps) = ((using.sleeps - used.sleeps) / messages, (serving.sleeps - served.sleeps) / messages);
        let own = [("per_s", rate), ("cpu_us", cpu), ("p50_us", p50), ("p99_us", p99), ("late", late)];
        for (figure, value) in own.into_iter().chain([("sleeps", sleeps), ("server_sleeps", server_sleeps)]) {
            self.samples.add("rate", who.name(), figure, value);
        }
        Ok(())
    }

    /// 15,000 clients lose their server and come back: from its listening again to the last opening handshake.
    pub(crate) fn herd(&mut self, who: &Who, name: &str, clients: u32, spread: u32) -> Result<(), String> {
        let job = self.job(Load::Return(Duration::from_millis(100)), clients, spread)?;
        let (mut server, mut client) = self.start(who, &job)?;
        wait(&mut server, &mut client, Until::Opened(clients.into()))?;
        super::pause(Duration::from_millis(500));
        drop(server);
        super::pause(Duration::from_millis(500));
        let mut server = Server::start(self.cores, job.port)?;
        let back = wait(&mut server, &mut client, Until::Opened(clients.into()))?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2⁵³")]
        let took = (back.last_ns - back.listening_ns) as f64 / 1e6;
        self.samples.add("herd", name, "ms", took);
        Ok(())
    }
}

/// Waits for the server, and says what became of the client where that is why it waits in vain.
pub(crate) fn wait(server: &mut Server, client: &mut Client, until: Until) -> Result<Counts, String> {
    server.wait(until, PATIENCE, || client.has_ended())
}

/// Messages a second and processor time a message, µs.
#[expect(clippy::cast_precision_loss, reason = "far below 2⁵³")]
pub(crate) fn between(before: Counts, used: Usage, after: Counts, using: Usage) -> (f64, f64) {
    let messages = (after.echoed - before.echoed) as f64;
    let seconds = (after.now_ns - before.now_ns) as f64 / 1e9;
    (messages / seconds, (using.cpu_us - used.cpu_us) / messages.max(1.0))
}

/// The line that floor and bare loop print: median, 99th percentile, messages begun late.
pub(crate) fn own_latency(folder: &Path) -> Result<(f64, f64, f64), String> {
    let text = std::fs::read_to_string(folder.join("stdout")).map_err(|error| error.to_string())?;
    let number = |name: &str| {
        let word = text.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        word.and_then(|word| word.parse().ok()).ok_or_else(|| format!("no {name} in {text:?}"))
    };
    Ok((number("p50_us")?, number("p99_us")?, number("late")?))
}
