//! Expectations as they stand while a run is under way, as far as its snapshots tell: the verdict is the end's.

use crate::expect::{Expectation, Labels, Metric, Op, OutcomeLabel, Stat};
use crate::metrics::Snapshot;
use crate::number;

/// How one stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SoFar {
    /// It holds so far, with this value.
    Holds(String),
    /// It does not, with this value.
    Fails(String),
    /// Nothing is known yet, or too little.
    Open,
    /// Snapshots do not have it.
    AtTheEnd,
}

impl SoFar {
    /// Of an expectation, `outages` among them those under way. `only` is the name of the only cohort, if there is one.
    pub(super) fn of(expectation: &Expectation, state: &Snapshot, outages: u64, only: Option<&str>) -> SoFar {
        let mut labels = expectation.labels.clone();
        labels.cohort = labels.cohort.filter(|cohort| Some(cohort.as_str()) != only);
        let (reported, outcome) = (labels.reported.take(), labels.outcome.take());
        if labels != Labels::default() {
            return SoFar::AtTheEnd;
        }
        let count = |value: u64| (value as f64, value as f64, number::count(value));
        let known = match (expectation.metric, expectation.stat) {
            (Metric::ReconnectTime, Stat::Percentile(_) | Stat::Max) => {
                let share = if let Stat::Percentile(percentile) = expectation.stat { percentile.quantile() } else { 1.0 };
                if outages == 0 {
                    return SoFar::Open;
                }
                // Snapshots have times up to a tenth too long.
                state.reconnect.quantile(share, outages).map(|us| (us as f64 / 1.1, us as f64, number::time(us)))
            }
            (Metric::ClientsLost, Stat::Count) => Some(count(state.lost)),
            (Metric::Attempts, Stat::Count) => {
                let n = state.ledger.attempts;
                let counted = match outcome {
                    None => n.total,
                    Some(OutcomeLabel::Opened) => n.opened,
                    Some(OutcomeLabel::Refused) => n.refused,
                    Some(OutcomeLabel::TimedOut) => n.timed_out,
                    Some(OutcomeLabel::Rejected) => n.rejected,
                    Some(OutcomeLabel::Failed) => n.failed,
                    Some(_) => return SoFar::AtTheEnd,
                };
                Some(count(counted))
            }
            (Metric::Closes, Stat::Count) => Some(count(reported.map_or(state.ledger.closed, |code| of_code(state, code)))),
            (Metric::Closes, Stat::Share) => {
                let share =
                    reported.filter(|_| state.ledger.closed > 0).map(|code| of_code(state, code) as f64 / state.ledger.closed as f64);
                share.map(|share| (share, share, number::percent(share * 100.0)))
            }
            _ => return SoFar::AtTheEnd,
        };
        let Some((low, high, said)) = known else { return SoFar::Open };
        let limit = expectation.limit.value();
        // A count may still come to what is asked for.
        if expectation.stat == Stat::Count && !expectation.op.holds(high, limit) && high <= limit && expectation.op != Op::Less {
            return SoFar::Open;
        }
        match [low, high].map(|value| expectation.op.holds(value, limit)) {
            [true, true] => SoFar::Holds(said),
            [false, false] => SoFar::Fails(said),
            _ => SoFar::Open,
        }
    }
}

fn of_code(state: &Snapshot, code: u16) -> u64 {
    state.closes.get(&code).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect::Names;

    #[test]
    fn expectations_stand_as_snapshots_tell() {
        let mut state = Snapshot { lost: 1, ..Snapshot::default() };
        state.closes = [(1006, 99), (1000, 1)].into();
        state.ledger.closed = 100;
        state.reconnect.add(2_000_000, 90);
        let cohorts = ["web".to_owned()];
        for (text, expected) in [
            ("clients_lost count == 0", SoFar::Fails("1".to_owned())),
            ("closes{reported=1006} share > 98%", SoFar::Holds("99 %".to_owned())),
            ("closes{reported=1001} count == 0", SoFar::Holds("0".to_owned())),
            ("attempts{outcome=refused} count > 0", SoFar::Open),
            ("closes{reported=1006} count == 100", SoFar::Open),
            ("closes{reported=1006} count < 99", SoFar::Fails("99".to_owned())),
            ("reconnect_time p50 < 3s", SoFar::Holds("2 s".to_owned())),
            ("reconnect_time{cohort=web} p50 < 1s", SoFar::Fails("2 s".to_owned())),
            ("reconnect_time p50 < 1900ms", SoFar::Open),
            ("reconnect_time p99 < 3s", SoFar::Open),
            ("reconnect_time{from=3s} p50 < 3s", SoFar::AtTheEnd),
            ("opening_handshake p99 < 1s", SoFar::AtTheEnd),
        ] {
            let expectation = Expectation::parse(text, Names { cohorts: &cohorts, ..Names::default() }).unwrap();
            assert_eq!(SoFar::of(&expectation, &state, 100, Some("web")), expected, "{text}");
        }
        let share = Expectation::parse("closes{reported=1006} share > 98%", Names::default()).unwrap();
        assert_eq!(SoFar::of(&share, &Snapshot::default(), 0, None), SoFar::Open, "no data is not a pass");
        assert_eq!(SoFar::of(&share, &state, 0, None), SoFar::Holds("99 %".to_owned()));
    }
}
