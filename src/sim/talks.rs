//! The messages of simulated clients that are under way, and how many there may be.

use crate::arrival::Sends;
use crate::plan::{Plan, Traffic};
use crate::units::Rate;
use std::time::Duration;

/// Least size of an echo message, which says whose it is.
const STAMP: u64 = 16;

/// The messages of one client.
#[derive(Clone, Debug)]
pub(super) struct Talk {
    /// Since its first connection.
    pub(super) schedule: Option<(Sends, Duration)>,
    pub(super) sent: u64,
}

/// A message whose echo is on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) client: u32,
    pub(super) attempts: u32,
    pub(super) sent: u64,
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
            let talks = if rate_of(cohort.traffic).is_some() { cohort.count as usize } else { 0 };
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

/// Messages of an open connection in a second, over all cohorts on average.
pub(super) fn rate(plan: &Plan) -> f64 {
    let messages: f64 =
        plan.cohorts.iter().map(|cohort| f64::from(cohort.count) * rate_of(cohort.traffic).map_or(0.0, |rate| rate.0)).sum();
    messages / f64::from(plan.clients().max(1))
}

/// Payload of a message.
pub(super) fn bytes_of(traffic: Traffic) -> u32 {
    let payload = match traffic {
        Traffic::Echo { payload, .. } | Traffic::EchoClosed { payload, .. } | Traffic::Send { payload, .. } => payload.0.max(STAMP),
        Traffic::None => 0,
    };
    u32::try_from(payload).unwrap_or(u32::MAX)
}

pub(super) fn rate_of(traffic: Traffic) -> Option<Rate> {
    match traffic {
        Traffic::Echo { rate, .. } | Traffic::Send { rate, .. } if rate.0 > 0.0 => Some(rate),
        _ => None,
    }
}
