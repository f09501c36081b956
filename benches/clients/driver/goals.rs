//! What is asked of the figures, each as one number against one limit, all within the same run.

use super::proxies;
use super::samples::Samples;

/// A goal, its limit and what came of it.
pub(crate) struct Goal {
    pub(crate) text: &'static str,
    pub(crate) limit: Limit,
    pub(crate) unit: &'static str,
    /// `None`: not measured.
    pub(crate) figure: Option<f64>,
}

/// Which side of a number is good.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    /// Whether the figure is there and on the right side.
    pub(crate) fn is_reached(&self) -> bool {
        match (self.limit, self.figure) {
            (_, None) => false,
            (Limit::AtLeast(limit), Some(figure)) => figure >= limit,
            (Limit::AtMost(limit), Some(figure)) => figure <= limit,
        }
    }
}

/// KiB a client holds: the whole process at 15,000 minus its size with one.
pub(crate) fn kib_per_client(samples: &Samples, who: &str) -> Option<f64> {
    let base = who.trim_end_matches("-spread");
    Some((samples.median("crowd", who, "rss_kib")? - samples.median("one", base, "rss_kib")?) / f64::from(super::CROWD - 1))
}

/// Processor time a handshake, µs: the whole process by the last one minus what it takes with one client.
pub(crate) fn cpu_per_handshake(samples: &Samples, section: &str, who: &str) -> Option<f64> {
    let clients = if section == "crowd" { super::CROWD } else { 1000 };
    let base = who.trim_end_matches("-spread");
    Some((samples.median(section, who, "cpu_us")? - samples.median("one", base, "cpu_us")?) / f64::from(clients - 1))
}

/// How much more a handshake costs at 15,000 than at 1,000.
pub(crate) fn growth(samples: &Samples, who: &str) -> Option<f64> {
    let base = who.trim_end_matches("-spread");
    Some(cpu_per_handshake(samples, "crowd", who)? / cpu_per_handshake(samples, "thousand", base)?)
}

/// Bytes that a client of a dialogue holds beyond one that sends echoes.
pub(crate) fn beyond_echo(samples: &Samples, kind: &str) -> Option<f64> {
    let of = |kind| samples.median("dialogue", kind, "pss_kib");
    Some((of(kind)? - of("echo")?) * 1024.0 / f64::from(super::dialogues::CLIENTS))
}

/// All goals with their figures.
pub(crate) fn judge(samples: &Samples) -> Vec<Goal> {
    use Limit::{AtLeast, AtMost};
    let of = |section: &str, who: &str, figure: &str| samples.median(section, who, figure);
    let ratio = |section: &str, figure: &str, above: &str, below: &str| Some(of(section, above, figure)? / of(section, below, figure)?);
    let goal = |text, limit, unit, figure| Goal { text, limit, unit, figure };
    let memory = kib_per_client(samples, "closestorm").map(|kib| kib * 1024.0);
    let grown = || Some(growth(samples, "closestorm")? / growth(samples, "floor-spread")?.max(1.0));
    let passed = |section: &str, other: &str| ratio(section, "per_cpu_s", "closestorm", other);
    let added = || Some(of("proxy-rate", "closestorm", "p99_us")? - of("proxy-rate", "direct", "p99_us")?);
    vec![
        goal("5,000 at once, of the floor", AtLeast(0.6), "", ratio("open", "per_s", "closestorm", "floor")),
        goal(
            "15,000 at once, of the floor spread over addresses",
            AtLeast(0.57),
            "",
            ratio("crowd", "per_s", "closestorm", "floor-spread"),
        ),
        goal("the same, what is tried for", AtLeast(0.8), "", ratio("crowd", "per_s", "closestorm", "floor-spread")),
        goal("15,000 at once, of the floor to one address", AtLeast(1.0), "", ratio("crowd", "per_s", "closestorm", "floor")),
        goal("resident memory of an idle client at 15,000", AtMost(4500.0), "B", memory),
        goal("the same, what is tried for", AtMost(2500.0), "B", memory),
        goal("2,000 at once over wss, full handshakes, of the bare loop", AtLeast(0.8), "", ratio("full", "per_s", "closestorm", "bare")),
        goal("the same, resumed handshakes", AtLeast(0.8), "", ratio("resumed", "per_s", "closestorm", "bare")),
        goal("closed loop of 500 clients, of the bare loop", AtLeast(0.8), "", ratio("echo", "per_s", "closestorm", "bare")),
        goal("10,000 messages/s: sent late", AtMost(0.0), "", of("rate", "closestorm", "late")),
        goal("10,000 messages/s: p50 from the due time", AtMost(300.0), "us", of("rate", "closestorm", "p50_us")),
        goal("the same, of the floor", AtMost(2.5), "", ratio("rate", "p50_us", "closestorm", "floor")),
        goal("10,000 messages/s: p99 from the due time", AtMost(2000.0), "us", of("rate", "closestorm", "p99_us")),
        goal("the same, of the floor", AtMost(2.86), "", ratio("rate", "p99_us", "closestorm", "floor")),
        goal("10,000 messages/s: processor time, of the bare loop", AtMost(1.3), "", ratio("rate", "cpu_us", "closestorm", "bare")),
        goal("herd of 15,000: time until all are back, of the floor", AtMost(1.5), "", ratio("herd", "ms", "closestorm", "floor")),
        goal("the same, of the floor spread over addresses", AtMost(1.5), "", ratio("herd", "ms", "closestorm", "floor-spread")),
        goal("processor time a handshake, 15,000 against 1,000, beyond the floor's", AtMost(1.3), "", grown()),
        goal("ten faults on other connections, processor time a message", AtMost(1.2), "", ratio("faults", "all_us", "with", "without")),
        goal("the same, generator alone", AtMost(1.2), "", ratio("faults", "own_us", "with", "without")),
        goal("memory of a socket.io client beyond an echo client's", AtMost(600.0), "B", beyond_echo(samples, "socket.io")),
        goal("idle proxy, messages of 64 B/s of processor time, of the forwarder", AtLeast(0.9), "", passed("proxy-64B", "forwarder")),
        goal("the same, of HAProxy", AtLeast(1.0), "", passed("proxy-64B", "haproxy")),
        goal("idle proxy, messages of 64 KiB/s of processor time, of the forwarder", AtLeast(0.9), "", passed("proxy-64KiB", "forwarder")),
        goal(
            "the proxy's messages of 64 B/s of processor time while a fault acts on another connection's frames, of the idle proxy's",
            AtLeast(0.97),
            "",
            ratio("proxy-64B", "per_cpu_s", proxies::FAULTED, "closestorm"),
        ),
        goal("memory of an idle connection through the proxy", AtMost(8192.0), "B", of("proxy-idle", "closestorm", "bytes")),
        goal("what the idle proxy adds to the p99 of round trips", AtMost(100.0), "us", added()),
        goal("socket.io round trips/s of processor time", AtLeast(50_000.0), "", of("dialogue", "socket.io", "per_cpu_s")),
    ]
}
