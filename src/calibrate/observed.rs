//! What a run folder tells of each opening handshake, each refusal and each process; offsets and lengths in µs.

use crate::event::Outcome;
use crate::results::Loaded;
use crate::results::record::EventRow;
use std::collections::{BTreeMap, BTreeSet};

/// An opening handshake that was answered with 101.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handshake {
    /// When the attempt began.
    pub(super) started: u64,
    /// When its request went out.
    pub(super) asked: u64,
    /// When the 101 was there.
    pub(super) opened: u64,
    /// Length of the TCP connect.
    pub(super) tcp: u64,
    /// Number of the instance's process, from 0.
    pub(super) life: u32,
    pub(super) instance: u16,
}

/// A process that was started in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProcessStart {
    pub(super) instance: u16,
    pub(super) started: u64,
    /// When it took connections: the first one that it took, where that was before the engine saw it listen.
    pub(super) listening: u64,
}

/// An attempt after a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retry {
    /// When its wait was over.
    pub(super) due: u64,
    /// When it began.
    pub(super) began: u64,
    /// Length of its connect or refusal.
    pub(super) connect: u64,
    pub(super) refused: bool,
}

impl Retry {
    /// How late it was connected or refused beyond a round trip.
    pub(super) fn late(&self, rtt: f64) -> u64 {
        (self.began.saturating_sub(self.due) + self.connect).saturating_sub(rtt as u64)
    }
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Observed {
    /// By `opened`.
    pub(super) handshakes: Vec<Handshake>,
    /// Start and length of attempts that were refused.
    pub(super) refused: Vec<(u64, u64)>,
    pub(super) starts: Vec<ProcessStart>,
    /// Attempts after a wait that were connected or refused.
    pub(super) retries: Vec<Retry>,
    /// When attempts began, sorted.
    pub(super) attempts: Vec<u64>,
    /// Clients whose connection ended by FIN or RST without a Close frame, and when.
    pub(super) cut: BTreeSet<(u32, u64)>,
    /// One event stands for this many.
    pub(super) weight: f64,
}

/// The value of `key=` in an event's detail, as far as the next space.
fn field<'a>(row: &'a EventRow, key: &str) -> Option<&'a str> {
    row.detail.split(' ').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
}

fn number(row: &EventRow, key: &str) -> Option<u64> {
    field(row, key)?.parse().ok()
}

impl Observed {
    pub(super) fn of(loaded: &Loaded) -> Observed {
        let mut observed = Observed::default();
        // Offset of the attempt under way, and when its wait was over; the first one of a client was not waited for.
        let mut begun: BTreeMap<u32, (u64, Option<u64>)> = BTreeMap::new();
        let mut waits: BTreeMap<u32, u64> = BTreeMap::new();
        let mut started: BTreeMap<u16, u64> = BTreeMap::new();
        let mut lives: BTreeMap<u16, u32> = BTreeMap::new();
        for row in &loaded.events {
            let at = row.offset_us;
            match (row.event.as_str(), row.client) {
                ("waiting", Some(client)) => waits.extend(number(row, "delay_us").map(|delay| (client, at + delay))),
                ("attempt_started", Some(client)) => {
                    begun.insert(client, (at, waits.remove(&client)));
                    observed.attempts.push(at);
                }
                ("attempt_failed", Some(client)) if field(row, "outcome") == Some(Outcome::REFUSED) => {
                    if let Some((began, due)) = begun.get(&client).copied() {
                        let connect = at.saturating_sub(began);
                        observed.refused.push((began, connect));
                        observed.retries.extend(due.map(|due| Retry { due, began, connect, refused: true }));
                    }
                }
                ("opened", Some(client)) => {
                    if let (Some((began, Some(due))), Some(connect)) = (begun.get(&client).copied(), number(row, "tcp_us")) {
                        observed.retries.push(Retry { due, began, connect, refused: false });
                    }
                    observed.opened(row, &lives);
                }
                ("ended", Some(client))
                    if field(row, "wire_received") == Some("none") && matches!(field(row, "tcp_end"), Some("fin" | "rst")) =>
                {
                    observed.cut.insert((client, at));
                }
                ("target", _) => {
                    let instance = number(row, "instance").unwrap_or(0) as u16;
                    match field(row, "what") {
                        Some("down" | "exited") => *lives.entry(instance).or_default() += 1,
                        Some("started") => _ = started.insert(instance, at),
                        Some("listening") => observed.starts.extend(started.remove(&instance).map(|started| ProcessStart {
                            instance,
                            started,
                            listening: at,
                        })),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        observed.handshakes.sort_by_key(|handshake| handshake.opened);
        observed.attempts.sort_unstable();
        observed.listening_by_connections();
        let kept = observed.handshakes.len().max(1) as f64;
        observed.weight = (loaded.summary.attempts.counts.opened as f64 / kept).max(1.0);
        observed
    }

    fn opened(&mut self, row: &EventRow, lives: &BTreeMap<u16, u32>) {
        let (Some(tcp), Some(upgrade)) = (number(row, "tcp_us"), number(row, "upgrade_us")) else { return };
        let instance = number(row, "instance").unwrap_or(0) as u16;
        let opened = row.offset_us;
        let asked = opened.saturating_sub(upgrade);
        let started = asked.saturating_sub(number(row, "tls_us").unwrap_or(0)).saturating_sub(tcp);
        let life = lives.get(&instance).copied().unwrap_or(0);
        self.handshakes.push(Handshake { started, asked, opened, tcp, life, instance });
    }

    /// The engine looks now and then whether a server listens; whoever got through before knows better.
    fn listening_by_connections(&mut self) {
        for start in &mut self.starts {
            let through = self.handshakes.iter().filter(|one| one.instance == start.instance && one.started >= start.started);
            if let Some(first) = through.map(|one| one.started + one.tcp).min() {
                start.listening = start.listening.min(first).max(start.started);
            }
        }
    }

    /// Whether nobody else began an attempt within `apart` of this offset.
    pub(super) fn is_alone(&self, at: u64, apart: u64) -> bool {
        let from = self.attempts.partition_point(|begun| *begun + apart < at);
        let to = self.attempts.partition_point(|begun| *begun <= at + apart);
        to - from <= 1
    }
}
