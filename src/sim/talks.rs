//! The messages of simulated clients that are under way, and how many there may be.

use crate::arrival::Sends;
use crate::plan::{Cohort, Plan};
use std::time::Duration;

/// The messages of one client.
#[derive(Clone, Debug)]
pub(super) struct Talk {
    /// Since its first connection.
    pub(super) schedule: Option<(Sends, Duration)>,
    pub(super) sent: u64,
}

/// The step of a dialogue at which a client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpenStep {
    /// Of this connection, by the number of its attempt.
    pub(super) attempt: u32,
    pub(super) step: u16,
}

/// A message whose answer is on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) client: u32,
    pub(super) attempts: u32,
    pub(super) sent: u64,
    /// The step of a dialogue that it is; `None`: an echo is awaited.
    pub(super) step: Option<u16>,
}

/// The messages of all clients; nothing for cohorts that do not talk.
#[derive(Debug)]
pub(super) struct Talks {
    /// By cohort: first client, and a row for each.
    pub(super) cohorts: Vec<(u32, Vec<Talk>)>,
    pub(super) flights: Vec<Flight>,
    pub(super) landed: Vec<u32>,
}

impl Talks {
    pub(super) fn new(plan: &Plan) -> Talks {
        let talk = Talk { schedule: None, sent: 0 };
        let of = |cohort: &crate::plan::Cohort| {
            let talks = if cohort.traffic.rate().is_some() { cohort.count as usize } else { 0 };
            (cohort.first, vec![talk.clone(); talks])
        };
        Talks { cohorts: plan.cohorts.iter().map(of).collect(), flights: Vec::new(), landed: Vec::new() }
    }

    pub(super) fn of(&mut self, client: u32) -> Option<&mut Talk> {
        let cohort = self.cohorts.partition_point(|(first, _)| *first <= client) - 1;
        let (first, talks) = &mut self.cohorts[cohort];
        talks.get_mut((client - *first) as usize)
    }
}

/// Messages of an open connection in a second, over all cohorts and the whole run on average.
pub(super) fn rate(plan: &Plan) -> f64 {
    let of = |cohort: &Cohort| {
        let share = cohort.rate_stages.as_ref().map_or(1.0, |stages| stages.full_rate_until(plan.duration) / plan.duration.as_secs_f64());
        f64::from(cohort.count) * cohort.traffic.rate().map_or(0.0, |rate| rate.0 * share)
    };
    let messages: f64 = plan.cohorts.iter().map(of).sum();
    messages / f64::from(plan.clients().max(1))
}
