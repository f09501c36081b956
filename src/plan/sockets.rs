//! Sockets that outlive their sessions: behind a dead path even the kernel's FIN must not come out, so they stay open to the end of the run.

use super::{Cohort, Fault, Pick, Plan, Shard};
use crate::fault::{Leaves, Side};

/// How far the part of a share that falls to one of several workers may be above its mean, in standard deviations.
const DEVIATIONS: f64 = 6.0;

/// Sockets that faults may leave open, at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOpen {
    /// Of clients.
    pub clients: u64,
    /// Of servers, all instances together.
    pub servers: u64,
}

impl Plan {
    /// Sockets that faults may leave open by the end of the run beside those of clients that are connected, for the clients of a shard; of
    /// servers for all clients. Each firing counts with as many connections as it can select at most: more than there will be, as a
    /// connection is left but once.
    pub fn left_open(&self, shard: Shard) -> LeftOpen {
        let mut all = LeftOpen::default();
        for fault in &self.faults {
            let (clients, servers) = leaves(fault, &self.cohorts);
            if !clients && !servers {
                continue;
            }
            let firings = fault.firings(self.seed, self.duration).len() as u64;
            let most = |shard| {
                let each = firings.saturating_mul(selected(self, fault, shard));
                fault.schedule.first_n.map_or(each, |hits| each.min(hits))
            };
            all.clients = all.clients.saturating_add(if clients { most(shard) } else { 0 });
            all.servers = all.servers.saturating_add(if servers { most(Shard::WHOLE) } else { 0 });
        }
        all
    }
}

/// Connections of a shard that one firing selects, at most.
fn selected(plan: &Plan, fault: &Fault, shard: Shard) -> u64 {
    let there = match fault.select.cohort {
        // Which clients of a cohort are a shard's depends on where it begins: one more at most.
        Some(cohort) => plan.cohorts[cohort].count.div_ceil(shard.of),
        None => shard.count(plan.clients()),
    };
    let there = u64::from(there);
    match fault.select.pick {
        Pick::All => there,
        // Of several workers each has its part of what is drawn from all, more or less.
        Pick::Count(count) => there.min(count.into()),
        Pick::Share(share) => {
            let deviation = if shard.is_whole() { 0.0 } else { (there as f64 * share * (1.0 - share)).sqrt() };
            ((there as f64 * share + DEVIATIONS * deviation).ceil() as u64).min(there)
        }
        Pick::Nth(n) => there.min(u64::from(plan.clients()).div_ceil(u64::from(n.max(1)))),
    }
}

/// Whether a fault may leave sockets open at the clients, and at the servers.
fn leaves(fault: &Fault, cohorts: &[Cohort]) -> (bool, bool) {
    let Leaves { gone, dead, stopped } = fault.inject.effect(fault.side).leaves();
    // A path that is dead is left by whoever notices, or wants to leave.
    let hit = |index: usize| fault.select.cohort.is_none_or(|only| only == index);
    let notices = cohorts.iter().enumerate().any(|(index, cohort)| hit(index) && (cohort.heartbeat.is_some() || cohort.stay.is_some()));
    match fault.side {
        Side::Client => (gone || dead && notices, gone || dead && notices),
        _ => (false, gone || dead || stopped && notices),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Overrides, Source, load};

    fn plan(changes: &[&str]) -> Plan {
        let common = ["duration=\"20s\"", "clients.web.count=200", "clients.web.heartbeat=\"none\""];
        let set = common.iter().chain(changes).map(|change| (*change).to_owned()).collect();
        load(&Source::Bundled("default".to_owned()), &Overrides { set, ..Overrides::default() }).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn sockets_that_outlive_their_sessions_are_counted_by_firing() {
        const BEAT: &str = "clients.web.heartbeat={every=\"1s\",timeout=\"1s\"}";
        const SWITCH: &str = r#"inject={client_network_switch={}}"#;
        const DEAD: &str = r#"side="client",inject={blackhole={}}"#;
        for (fault, more, clients, servers) in [
            (r#"inject={drop_rst={}}"#, BEAT, 0, 0),
            (SWITCH, "seed=1", 600, 600), // at 2, 3 and 4 s
            (r#"select={count=10},inject={client_network_switch={}}"#, "seed=1", 30, 30),
            (r#"select={percent="1%"},inject={client_network_switch={}}"#, "seed=1", 6, 6),
            (r#"first_n=5,inject={client_network_switch={}}"#, "seed=1", 5, 5),
            (DEAD, "seed=1", 0, 0), // nobody notices: it is the same socket all the time
            (DEAD, BEAT, 600, 600),
            (r#"side="server",inject={blackhole={}}"#, BEAT, 0, 600),
        ] {
            let fault = format!("faults=[{{at=\"2s\",every=\"1s\",until=\"5s\",{fault}}}]");
            let left = plan(&[&fault, more]).left_open(Shard::WHOLE);
            assert_eq!(left, LeftOpen { clients, servers }, "{fault} {more}");
        }
        let fault = format!("faults=[{{at=\"2s\",{SWITCH}}}]");
        assert_eq!(plan(&[&fault]).left_open("2/3".parse().unwrap()), LeftOpen { clients: 67, servers: 200 });
    }
}
