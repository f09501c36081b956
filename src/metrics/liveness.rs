//! Silent connections: what each heartbeat setting should find of them, from the plan, and what it found, from the books.

use super::bank::Metric;
use super::book::Results;
use super::latency::Latency;
use crate::fault::Side;
use crate::fault::liveness::{Finds, Silence};
use crate::plan::{Cohort, Heartbeat, Plan, Target};
use std::time::Duration;

/// A fault that silences connections, a cohort that it may hit, and one heartbeat over their connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Watched {
    /// By index in the plan.
    pub fault: u16,
    /// By index in the plan.
    pub cohort: u16,
    /// Who pings, how often, and how long the pong may take; `None`: nobody.
    pub heartbeat: Option<(Side, Heartbeat)>,
    /// What the heartbeat finds.
    pub finds: Finds,
    /// When TCP is reset, for those that nobody found before.
    pub reset: Option<Duration>,
}

/// What was measured of a [`Watched`].
#[derive(Clone, Debug)]
pub struct Found {
    /// Connections of the cohort that the fault silenced.
    pub silenced: u64,
    /// From the injection to the passed pong deadline, of those that this heartbeat found.
    pub times: Latency,
    /// Ended otherwise: by another heartbeat, the path's RST, another fault.
    pub otherwise: u64,
    /// Not ended while it lasted.
    pub unnoticed: u64,
}

/// All of a plan, by fault, then cohort.
pub fn watched(plan: &Plan) -> Vec<Watched> {
    let server = match &plan.target {
        Target::Embedded(embedded) => embedded.ping,
        _ => None,
    };
    let mut rows = Vec::new();
    for (fault, of) in (0_u16..).zip(&plan.faults) {
        let Some(silence) = Silence::of(&of.inject, of.side, of.schedule.revert_after) else { continue };
        let hit = |cohort: &usize| of.select.cohort.is_none_or(|only| only == *cohort);
        for cohort in (0..plan.cohorts.len()).filter(hit) {
            let reset = silence.lasts.filter(|_| silence.resets);
            let row = |heartbeat: Option<(Side, Heartbeat)>| {
                let (driver, beat) = heartbeat.unwrap_or((Side::Client, Heartbeat { every: Duration::ZERO, timeout: Duration::ZERO }));
                let finds = silence.found_by(driver, beat.every, beat.timeout);
                Watched { fault, cohort: cohort as u16, heartbeat, finds, reset }
            };
            let beats: Vec<_> = heartbeats(&plan.cohorts[cohort], server).map(|beat| row(Some(beat))).collect();
            rows.extend(if beats.is_empty() { vec![row(None)] } else { beats });
        }
    }
    rows
}

fn heartbeats(cohort: &Cohort, server: Option<Heartbeat>) -> impl Iterator<Item = (Side, Heartbeat)> {
    let client = cohort.heartbeat.map(|beat| (Side::Client, beat));
    let both = [client, server.map(|beat| (Side::Server, beat))];
    both.into_iter().flatten().filter(|(_, beat)| !beat.every.is_zero())
}

/// The metric of pong deadlines of a side.
pub fn metric(side: Side) -> Metric {
    if side == Side::Server { Metric::PongDeadlineServer } else { Metric::PongDeadlineClient }
}

/// What was found.
pub fn found(results: &Results, row: &Watched) -> Found {
    let book = &results.faults[usize::from(row.fault)];
    let silenced = book.cohorts.get(&row.cohort).copied().unwrap_or(0);
    let of = |side| results.bank.sum(metric(side), |key| key.cohort == row.cohort && key.fault == Some(row.fault));
    let times = row.heartbeat.map_or_else(Latency::new, |(side, _)| of(side));
    let ended = results.endings.iter().filter(|((_, key), _)| key.fault == Some(row.fault) && key.cohort == row.cohort);
    // Of some only the server knows that they ended.
    let alone = book.found_alone.get(&row.cohort).copied().unwrap_or(0);
    let ended = ended.map(|(_, count)| count).sum::<u64>() + alone;
    Found { silenced, otherwise: ended.saturating_sub(times.count()), unnoticed: silenced.saturating_sub(ended), times }
}
