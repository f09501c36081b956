//! What is fitted beside the service queue and the clients: instances, round trip, listen queue, and start of a process.

use super::observed::Observed;
use super::parameter::{Parameter, quantile, text};
use crate::number::counted;
use crate::results::Loaded;

/// Attempts with nobody else so close are alone, µs.
const APART: u64 = 2_000;
/// A TCP connect of so long has waited for a repeated SYN, µs: the first comes after a second.
pub(super) const REPEATED: u64 = 900_000;

pub(super) fn instances(observed: &Observed) -> Parameter {
    let most = observed.handshakes.iter().map(|one| one.instance).max().unwrap_or(0);
    Parameter {
        key: "instances",
        value: (u32::from(most) + 1).to_string(),
        from: "instances that opening handshakes name".to_owned(),
        samples: observed.handshakes.len() as u64,
        error_percent: None,
    }
}

/// The round trip, µs: what a connect takes when nobody else connects; refusals count as well.
pub(super) fn rtt(observed: &Observed) -> (f64, Parameter) {
    let connects = observed.handshakes.iter().map(|one| (one.started, one.tcp));
    let all: Vec<(u64, u64)> = connects.chain(observed.refused.iter().copied()).filter(|(_, length)| *length < REPEATED).collect();
    let mut alone: Vec<u64> = all.iter().filter(|(at, _)| observed.is_alone(*at, APART)).map(|(_, length)| *length).collect();
    let enough = alone.len() >= 20;
    if !enough {
        alone = all.iter().map(|(_, length)| *length).collect();
    }
    alone.sort_unstable();
    let (rtt, from) = if enough {
        (quantile(&alone, 0.5), "median of TCP connects and refusals with no other attempt within 2 ms")
    } else {
        // Those that had to wait for the generator are the slower ones.
        (quantile(&alone, 0.1), "fastest tenth of TCP connects and refusals: none were alone")
    };
    let parameter =
        Parameter { key: "rtt", value: text(rtt as f64), from: from.to_owned(), samples: alone.len() as u64, error_percent: None };
    (rtt as f64, parameter)
}

/// How the server takes connections off its listen queue, and how long that is.
pub(super) fn listen_queue(observed: &Observed, loaded: &Loaded, notes: &mut Vec<String>) -> Vec<Parameter> {
    let parameter =
        |key, value: String, from: String, samples: usize| Parameter { key, value, from, samples: samples as u64, error_percent: None };
    let mut dropped: Vec<u64> =
        observed.handshakes.iter().filter(|one| one.tcp >= REPEATED).map(|one| waiting(observed, one.instance, one.started)).collect();
    dropped.sort_unstable();
    let repeated = dropped.len();
    if repeated == 0 {
        let most = observed.handshakes.iter().map(|one| waiting(observed, one.instance, one.asked)).max().unwrap_or(0);
        let limits = loaded.manifest.as_ref().and_then(|manifest| manifest.limits.get("somaxconn")?.parse().ok());
        let backlog: u64 = limits.unwrap_or(4096);
        notes.push(format!(
            "no connect took whole seconds, so the listen queue was never full: backlog is the machine's limit, not a measurement; \
             {most} waited at most"
        ));
        let from = "no repeated SYNs";
        return vec![
            parameter("accept", "\"eager\"".to_owned(), from.to_owned(), observed.handshakes.len()),
            parameter("backlog", backlog.min(65_535).to_string(), format!("{from}; somaxconn of the machine"), 0),
        ];
    }
    let from = format!("{} waited for a repeated SYN", counted(repeated as u64, "connect"));
    vec![
        parameter("accept", "\"when_free\"".to_owned(), from.clone(), repeated),
        // One of those is being served, and a queue holds one more than its length. The median, because a burst of SYNs gets in
        // together: the kernel counts a connection only when its handshake is complete.
        parameter(
            "backlog",
            quantile(&dropped, 0.5).saturating_sub(2).min(65_535).to_string(),
            format!("{from}; connected and not yet open when their first SYN was dropped"),
            repeated,
        ),
    ]
}

/// How many were connected to an instance, or about to be, and not yet open.
fn waiting(observed: &Observed, instance: u16, at: u64) -> u64 {
    let of = observed.handshakes.iter().filter(|one| one.instance == instance && at < one.opened);
    // Of a connect that took whole seconds the last SYN counts.
    of.filter(|one| if one.tcp < REPEATED { one.started <= at } else { one.asked <= at }).count() as u64
}

/// From the start of a process to the moment it listens.
pub(super) fn start_up(observed: &Observed, notes: &mut Vec<String>) -> Option<Parameter> {
    let mut times: Vec<u64> = observed.starts.iter().map(|start| start.listening - start.started).collect();
    times.sort_unstable();
    if times.is_empty() {
        notes.push("no server was started in this run: the start time of the process is unknown and set to zero".to_owned());
        return None;
    }
    Some(Parameter {
        key: "start_up",
        value: text(quantile(&times, 0.5) as f64),
        from: "started to listening, or to the first connection that it took".to_owned(),
        samples: times.len() as u64,
        error_percent: None,
    })
}
