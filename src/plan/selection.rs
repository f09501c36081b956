//! Whom a fault selects: decisions that clients, embedded servers and the simulator share.

use super::{Fault, Phase, Pick, Plan, Select};
use crate::event::{ClientIndex, ConnectionNo};
use crate::seed::{Seed, Stream};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::time::Duration;

/// Which attempts and new connections a fault that is active selects.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// Only clients with first ≤ index < end; `None`: everybody, also clients that are not ours.
    pub clients: Option<(u32, u32)>,
    /// Which of them; a share or a count is a matter of the budget of hits.
    pub pick: Pick,
    /// Name of the random streams of what it does.
    pub stream: String,
    /// Whoever has the budget of hits must be asked.
    pub bounded: bool,
}

impl Standing {
    /// Of a fault of a plan.
    pub fn of(plan: &Plan, fault: &Fault) -> Standing {
        let clients = fault.select.cohort.map(|_| plan.clients_of(fault)).map(|clients| (clients.start, clients.end));
        let stream = format!("fault/{}/attempts", fault.name);
        Standing { clients, pick: fault.select.pick, stream, bounded: fault.is_bounded() }
    }

    /// Whether this attempt or connection is selected, as far as hits are left. `ours`: a client of this run, and not one that is only
    /// counted.
    pub fn wants(&self, client: ClientIndex, ours: bool) -> bool {
        let among = self.clients.is_none_or(|(first, end)| ours && (first..end).contains(&client.0));
        among && self.pick.may_take(client)
    }

    /// What random draws of the effect on this attempt come from.
    pub fn random(&self, seed: Seed, client: ClientIndex, connection: ConnectionNo) -> Stream {
        seed.stream(&format!("{}/answer/{}/{}", self.stream, client.0, connection.0))
    }
}

impl Plan {
    /// The clients that a fault is about, by index.
    pub fn clients_of(&self, fault: &Fault) -> Range<u32> {
        match fault.select.cohort {
            Some(cohort) => {
                let cohort = &self.cohorts[cohort];
                cohort.first..cohort.first + cohort.count
            }
            None => 0..self.clients(),
        }
    }
}

impl Select {
    /// Whether a client's connection passes the filters: it is in `phase`, since `age`. Its cohort is for [`Plan::clients_of`].
    pub fn passes(&self, client: ClientIndex, phase: Option<Phase>, age: Duration) -> bool {
        let wanted = self.phase.unwrap_or(Phase::Open);
        phase == Some(wanted) && self.pick.may_take(client) && (wanted != Phase::Open || age >= self.min_age)
    }
}
