//! How a run stands at a moment: what a progress line or a live page shows, and what workers tell of their part.

use super::ledger::Ledger;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The state of a run. Counts are since its start; `open`, `ready` and `disconnected` are now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Open connections.
    pub open: u64,
    /// Clients whose open connection is ready.
    pub ready: u64,
    /// Clients that have lost a connection and are not ready again: outages under way.
    pub disconnected: u64,
    /// Outages that ended.
    pub recovered: u64,
    /// Clients that gave up.
    pub lost: u64,
    /// Attempts by outcome, and ended connections, since the start. `open_at_end` and `endings` are 0 before the end, and attempts under way have no outcome.
    pub ledger: Ledger,
    /// Messages sent.
    pub sent: u64,
    /// Messages received, greetings of the embedded server not among them.
    pub received: u64,
    /// Connections ended, by the close code that the client application sees.
    pub closes: BTreeMap<u16, u64>,
    /// Of outages that ended: the time from the fault until the client was ready again.
    pub reconnect: RoundedTimes,
    /// What each fault of the plan did, in its order.
    pub faults: Vec<FaultSoFar>,
    /// Each cohort of the plan, in its order.
    pub cohorts: Vec<CohortSoFar>,
}

/// How a cohort stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CohortSoFar {
    /// Open connections.
    pub open: u64,
    /// Attempts begun since the start.
    pub attempts: u64,
}

/// What a fault did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultSoFar {
    /// Firings.
    pub fired: u64,
    /// Connections and attempts on which it acted.
    pub injected: u64,
}

/// Times by count, each rounded up to two digits: small enough to be told several times a second, and parts of a run add up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundedTimes(BTreeMap<u64, u64>);

impl RoundedTimes {
    /// Adds `count` times of µs.
    pub fn add(&mut self, us: u64, count: u64) {
        let mut unit = 1;
        while us / unit >= 100 {
            unit *= 10;
        }
        *self.0.entry(us.div_ceil(unit) * unit).or_default() += count;
    }

    /// The time in µs within which a share `q` in 0..=1 of `all` had ended, up to a tenth too long; `None` where fewer have.
    pub fn quantile(&self, q: f64, all: u64) -> Option<u64> {
        let rank = ((q * all as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let reached = |(_, count): &(&u64, &u64)| {
            seen += **count;
            seen >= rank
        };
        self.0.iter().find(reached).map(|(us, _)| *us)
    }

    /// Upper edges in µs with the count of each, ascending.
    pub fn steps(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(us, count)| (*us, *count))
    }
}

/// Events per second, averaged over the time between two snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Attempts begun, per second.
    pub attempts: f64,
    /// Attempts that opened, per second.
    pub opened: f64,
    /// Connections ended, per second.
    pub closed: f64,
    /// Messages sent, per second.
    pub sent: f64,
    /// Messages received, per second.
    pub received: f64,
}

impl Snapshot {
    /// Attempts that ended without a connection.
    pub fn failed(&self) -> u64 {
        self.ledger.attempts.unopened()
    }

    /// Adds the clients of another part of the run.
    pub fn add(&mut self, other: &Snapshot) {
        self.open += other.open;
        self.ready += other.ready;
        self.disconnected += other.disconnected;
        self.recovered += other.recovered;
        self.lost += other.lost;
        self.ledger.add(&other.ledger);
        self.sent += other.sent;
        self.received += other.received;
        other.closes.iter().for_each(|(code, count)| *self.closes.entry(*code).or_default() += count);
        other.reconnect.steps().for_each(|(us, count)| self.reconnect.add(us, count));
        self.faults.resize(self.faults.len().max(other.faults.len()), FaultSoFar::default());
        for (fault, more) in self.faults.iter_mut().zip(&other.faults) {
            // Each part carries out each firing on its own clients.
            fault.fired = fault.fired.max(more.fired);
            fault.injected += more.injected;
        }
        self.cohorts.resize(self.cohorts.len().max(other.cohorts.len()), CohortSoFar::default());
        for (cohort, more) in self.cohorts.iter_mut().zip(&other.cohorts) {
            cohort.open += more.open;
            cohort.attempts += more.attempts;
        }
    }

    /// What happened a second since `before`, which was `over` earlier; 0 of no time.
    pub fn rates(&self, before: &Snapshot, over: Duration) -> Rates {
        let rate = |of: fn(&Snapshot) -> u64| {
            if over.is_zero() { 0.0 } else { of(self).saturating_sub(of(before)) as f64 / over.as_secs_f64() }
        };
        Rates {
            attempts: rate(|state| state.ledger.attempts.total),
            opened: rate(|state| state.ledger.attempts.opened),
            closed: rate(|state| state.ledger.closed),
            sent: rate(|state| state.sent),
            received: rate(|state| state.received),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::attempts::AttemptCounts;

    #[test]
    fn parts_add_up_and_rates_are_of_the_time_between() {
        let part = |attempts, sent, closes: &[(u16, u64)]| Snapshot {
            open: 1,
            ledger: Ledger { attempts: AttemptCounts { total: attempts, refused: 2, ..AttemptCounts::default() }, ..Ledger::default() },
            sent,
            cohorts: vec![CohortSoFar { open: 1, attempts }],
            closes: closes.iter().copied().collect(),
            ..Snapshot::default()
        };
        let mut sum = part(10, 4, &[(1000, 1)]);
        sum.add(&part(20, 6, &[(1000, 2), (1006, 3)]));
        assert_eq!((sum.open, sum.ledger.attempts.total, sum.failed(), sum.sent), (2, 30, 4, 10));
        assert_eq!(sum.closes, BTreeMap::from([(1000, 3), (1006, 3)]));
        assert_eq!(sum.cohorts, [CohortSoFar { open: 2, attempts: 30 }]);
        let rates = sum.rates(&part(20, 10, &[]), Duration::from_millis(200));
        assert_eq!((rates.attempts, rates.sent, rates.opened), (50.0, 0.0, 0.0));
        assert_eq!(sum.rates(&sum, Duration::ZERO), Rates::default());
        // As workers tell it.
        let told: Snapshot = serde_json::from_str(&serde_json::to_string(&sum).unwrap()).unwrap();
        assert_eq!(told, sum);
    }
}
