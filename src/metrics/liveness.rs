//! Silent connections: what each heartbeat setting should find of them, from the plan.

use super::metric::TimeMetric;
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
pub fn metric(side: Side) -> TimeMetric {
    if side == Side::Server { TimeMetric::PongDeadlineServer } else { TimeMetric::PongDeadlineClient }
}
