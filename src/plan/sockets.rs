//! Sockets that outlive their sessions: behind a dead path even the kernel's FIN must not come out, so they stay open until nobody is left
//! who could see it: to the end of the run, or, as `ws::session` has it, until some time after the other end is gone.

use super::{Cohort, Fault, Pick, Plan, Shard, Target};
use crate::fault::{Effect, Leaves, OnProcess, Side};
use std::time::Duration;

/// How long a socket behind a dead path is kept after the peer's FIN or RST has come: as long as Linux keeps a connection whose program is
/// gone (`net.ipv4.tcp_fin_timeout`, 60 s), so that only a peer that has half-closed and waits longer would see it go.
pub const KEPT_AFTER_PEER: Duration = Duration::from_secs(60);
/// How often it is looked at whether the peer is gone.
pub const PEER_CHECK: Duration = Duration::from_secs(10);

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
    /// Sockets that faults may leave open at a time beside those of clients that are connected, for the clients of a shard; of servers for
    /// all clients. Each firing counts with as many connections as it can select at most: more than there will be, as a connection is
    /// left but once. Where all embedded servers end again and again, what is left open of earlier connections goes with them.
    pub fn left_open(&self, shard: Shard) -> LeftOpen {
        let renewals = self.renewals();
        let mut all = LeftOpen::default();
        for fault in &self.faults {
            let (clients, servers) = leaves(fault, &self.cohorts);
            if !clients && !servers {
                continue;
            }
            let firings = self.standing_firings(fault, &renewals);
            let most = |shard| {
                let each = firings.saturating_mul(selected(self, fault, shard));
                fault.schedule.first_n.map_or(each, |hits| each.min(hits))
            };
            all.clients = all.clients.saturating_add(if clients { most(shard) } else { 0 });
            all.servers = all.servers.saturating_add(if servers { most(Shard::WHOLE) } else { 0 });
        }
        all
    }

    /// When all instances of the embedded server end: from when on connections are new ones, and when the last earlier one is gone.
    fn renewals(&self) -> Vec<(Duration, Duration)> {
        let Target::Embedded(settings) = &self.target else { return Vec::new() };
        let mut all = Vec::new();
        for fault in &self.faults {
            let Effect::Process(on) = fault.inject.effect(fault.side) else { continue };
            if let Some(lasts) = ends_all(&on, settings.instances) {
                all.extend(fault.firings(self.seed, self.duration).into_iter().map(|at| (at, at.saturating_add(lasts))));
            }
        }
        all.sort();
        all
    }

    /// Of a fault's firings the most whose sockets may be open at one time.
    fn standing_firings(&self, fault: &Fault, renewals: &[(Duration, Duration)]) -> u64 {
        let firings = fault.firings(self.seed, self.duration);
        let Some(noticed) = longest_notice(fault, &self.cohorts).filter(|_| !renewals.is_empty()) else { return firings.len() as u64 };
        let gone = |at: &Duration| {
            let next = renewals.partition_point(|(from, _)| from < at);
            let until = renewals[next..].iter().map(|(_, until)| *until).min().unwrap_or(Duration::MAX);
            until.max(at.saturating_add(noticed)).saturating_add(KEPT_AFTER_PEER + PEER_CHECK)
        };
        let mut ends: Vec<_> = firings.iter().map(gone).collect();
        ends.sort();
        (0..).zip(&firings).map(|(before, at): (u64, _)| before + 1 - ends.partition_point(|end| end < at) as u64).max().unwrap_or(0)
    }
}

/// How long it takes until every instance has ended once; `None`: not every one does.
fn ends_all(on: &OnProcess, instances: u16) -> Option<Duration> {
    match on {
        OnProcess::Crash { instance: None, .. } => Some(Duration::ZERO),
        OnProcess::Graceful { instance: None, grace, spread, .. } => Some(grace.saturating_add(*spread)),
        OnProcess::Rolling { interval, each } => {
            let turns = interval.saturating_mul(u32::from(instances.saturating_sub(1)));
            Some(turns.saturating_add(ends_all(each, 1)?))
        }
        OnProcess::Crash { .. } | OnProcess::Graceful { .. } | OnProcess::Pause { .. } => None,
    }
}

/// How long after a firing a client may at most leave its socket; `None`: nobody knows.
fn longest_notice(fault: &Fault, cohorts: &[Cohort]) -> Option<Duration> {
    // It goes on to act on whoever connects.
    if fault.new {
        return None;
    }
    if fault.inject.effect(fault.side).leaves().gone {
        return Some(Duration::ZERO);
    }
    let hit = cohorts.iter().zip(0..).filter(|(_, index)| fault.select.cohort.is_none_or(|only| only == *index));
    hit.filter(|(cohort, _)| may_leave_dead_path(cohort))
        .map(|(cohort, _)| cohort.heartbeat.as_ref().map(|beat| beat.every.saturating_add(beat.timeout)))
        .try_fold(Duration::ZERO, |longest, next| Some(longest.max(next?)))
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

/// Whether clients notice that a path is dead, or leave before.
fn may_leave_dead_path(cohort: &Cohort) -> bool {
    // A dialogue notices by answers that do not come.
    cohort.heartbeat.is_some() || cohort.leaves() || cohort.script.is_some()
}

/// Whether a fault may leave sockets open at the clients, and at the servers.
fn leaves(fault: &Fault, cohorts: &[Cohort]) -> (bool, bool) {
    let Leaves { gone, dead, stopped } = fault.inject.effect(fault.side).leaves();
    // A path that is dead is left by whoever notices, or wants to leave.
    let hit = |index: usize| fault.select.cohort.is_none_or(|only| only == index);
    let notices = cohorts.iter().enumerate().any(|(index, cohort)| hit(index) && may_leave_dead_path(cohort));
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
            // whoever leaves by plan gives up the socket behind a dead path, too
            (DEAD, r#"clients.web.arrive={stages=[{to=200},{hold="5s"},{to=0,over="10s"}]}"#, 600, 600),
        ] {
            let fault = format!("faults=[{{at=\"2s\",every=\"1s\",until=\"5s\",{fault}}}]");
            let left = plan(&[&fault, more]).left_open(Shard::WHOLE);
            assert_eq!(left, LeftOpen { clients, servers }, "{fault} {more}");
        }
        let fault = format!("faults=[{{at=\"2s\",{SWITCH}}}]");
        assert_eq!(plan(&[&fault]).left_open("2/3".parse().unwrap()), LeftOpen { clients: 67, servers: 200 });
    }

    #[test]
    fn what_is_left_open_goes_where_all_servers_end_again_and_again() {
        const SWITCH: &str = r#"{at="12s",every="60s",select={count=10},inject={client_network_switch={}}}"#;
        const DEAD: &str = r#"{at="12s",every="60s",side="client",select={count=10},inject={blackhole={}}}"#;
        for (fault, renewal, more, expected) in [
            (SWITCH, r#"{at="45s",every="60s",inject={server_crash={}}}"#, "seed=1", 20), // at 12 s, until 45 s + 70 s
            (SWITCH, r#"{at="45s",every="60s",inject={server_restart_rolling={interval="30s"}}}"#, "seed=1", 30), // until 45 s + 35 s + 70 s
            (SWITCH, r#"{at="45s",every="60s",inject={server_crash={instance=0}}}"#, "seed=1", 10_000),           // the others stay
            (SWITCH, r#"{at="45s",every="60s",inject={server_pause={}},for="1s"}"#, "seed=1", 10_000),            // connections survive
            (SWITCH, r#"{at="45s",inject={server_crash={}}}"#, "seed=1", 9_990), // what was left before goes, no more
            (DEAD, r#"{at="45s",every="60s",inject={server_crash={}}}"#, r#"clients.web.heartbeat={every="5s",timeout="3s"}"#, 20),
            (DEAD, r#"{at="45s",every="60s",inject={server_crash={}}}"#, r#"clients.web.stay={for="1h"}"#, 10_000), // noticed who knows when
            // it goes on to act on whoever connects, who then notices
            (
                r#"{at="12s",every="60s",side="client",select={count=10},new=true,inject={blackhole={}}}"#,
                r#"{at="45s",every="60s",inject={server_crash={}}}"#,
                r#"clients.web.heartbeat={every="5s",timeout="3s"}"#,
                10_000,
            ),
        ] {
            let faults = format!("faults=[{fault},{renewal}]");
            let left = plan(&["duration=\"60000s\"", "target.embedded.instances=2", &faults, more]).left_open(Shard::WHOLE);
            assert_eq!(left.clients, expected, "{faults} {more}");
        }
    }
}
