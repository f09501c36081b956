//! What is compared: which direction is worse, and how large a change must be to matter.

use crate::expect::{Expectation, Limit, Metric, Op, OutcomeLabel, Stat, WireLabel};
use std::collections::BTreeSet;

/// Which way a metric gets worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worse {
    /// More of it is worse.
    Higher,
    /// Less of it is worse.
    Lower,
    /// Neither: a change is said and decides nothing.
    Neither,
}

impl Worse {
    /// As in files.
    pub fn name(self) -> &'static str {
        match self {
            Worse::Higher => "higher",
            Worse::Lower => "lower",
            Worse::Neither => "neither",
        }
    }
}

/// One quantity that runs are compared by.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparedQuantity {
    /// What is measured; its limit plays no part.
    pub of: Expectation,
    /// Which way it gets worse.
    pub worse: Worse,
}

/// What these expectations measure, each once, in their order.
///
/// The comparison of an expectation says which side is bad: `<` and `<=` that more is worse, `>` and `>=` that less is. Where it says neither,
/// as `==`, or where two contradict each other, the metric decides.
pub fn quantities(expectations: &[Expectation]) -> Vec<ComparedQuantity> {
    let mut seen = BTreeSet::new();
    let once = expectations.iter().filter(|one| seen.insert(one.measured()));
    let of = |one: &Expectation| {
        let measured = one.measured();
        let told: BTreeSet<Worse> =
            expectations.iter().filter(|other| other.measured() == measured).filter_map(|other| by_op(other.op)).collect();
        let worse = match told.len() {
            1 => told.into_iter().next().unwrap_or(Worse::Neither),
            _ => by_metric(one),
        };
        ComparedQuantity { of: one.clone(), worse }
    };
    once.map(of).collect()
}

fn by_op(op: Op) -> Option<Worse> {
    match op {
        Op::Less | Op::AtMost => Some(Worse::Higher),
        Op::Greater | Op::AtLeast => Some(Worse::Lower),
        Op::Equal | Op::NotEqual => None,
    }
}

/// Where no expectation says it.
fn by_metric(of: &Expectation) -> Worse {
    use OutcomeLabel::{Answered, Due, Expected, Opened, Received, Recovered, Sent};
    let labels = &of.labels;
    match (of.metric, labels.outcome) {
        (Metric::Bytes, _) | (Metric::Messages, None | Some(Due | Expected)) => Worse::Neither,
        (Metric::Messages, Some(Sent | Received | Answered | Recovered)) | (Metric::Attempts, Some(Opened)) => Worse::Lower,
        (Metric::Closes, _) => {
            let normal = |code: u16| matches!(code, 1000 | 1001);
            let wire = matches!(labels.wire, Some(WireLabel::Code(code)) if normal(code));
            if labels.clean == Some(true) || labels.reported.is_some_and(normal) || wire { Worse::Lower } else { Worse::Higher }
        }
        _ => Worse::Higher,
    }
}

impl ComparedQuantity {
    /// The least change that matters beside the relative one, in the unit of the values: µs, a count, a share, or per second.
    ///
    /// Assumed, not measured: what a scheduler's timers alone make of a time, any whole thing of a count, a point of a share.
    pub fn least_change(&self) -> f64 {
        const MS: f64 = 1_000.0;
        let bytes = self.of.metric == Metric::Bytes;
        match (self.of.limit, self.of.metric) {
            (Limit::Micros(_), Metric::ReconnectTime | Metric::Detect | Metric::Backoff | Metric::Attempt) => 10.0 * MS,
            (Limit::Micros(_), Metric::ClosingHandshake | Metric::CloseAck | Metric::FinWait | Metric::TimeToReady) => MS,
            (Limit::Micros(_), _) => 0.2 * MS,
            (Limit::Share(_), _) => 0.01,
            (Limit::Count(_) | Limit::PerSecond(_), _) if bytes => 1024.0,
            // A peak is a whole number within a second.
            (Limit::PerSecond(_), _) if self.of.stat != Stat::Peak => 0.1,
            (Limit::Count(_) | Limit::Number(_) | Limit::PerSecond(_), _) => 0.5,
        }
    }

    /// Whether a relative change says anything: 5 % of a share that is near 0 or near 100 % does not.
    pub fn is_relative(&self) -> bool {
        !matches!(self.of.limit, Limit::Share(_))
    }

    /// Unit of its values in files, and by how much a value is multiplied for it.
    pub fn unit(&self) -> (&'static str, f64) {
        match self.of.limit {
            Limit::Micros(_) => ("us", 1.0),
            Limit::Count(_) => ("count", 1.0),
            Limit::Number(_) => ("messages", 1.0),
            Limit::Share(_) => ("percent", 100.0),
            Limit::PerSecond(_) => ("per_s", 1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect::Names;

    fn worse(texts: &[&str]) -> Vec<(String, Worse)> {
        let parse =
            |text: &&str| Expectation::parse_measured(text, Names::default()).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
        let expectations: Vec<Expectation> = texts.iter().map(parse).collect();
        quantities(&expectations).into_iter().map(|one| (one.of.measured(), one.worse)).collect()
    }

    #[test]
    fn an_expectation_says_what_is_worse() {
        for (text, expected) in [
            ("reconnect_time p99 < 5s", Worse::Higher),
            ("reconnect_time p99", Worse::Higher),
            ("reconnect_time min > 1s", Worse::Lower),
            ("closes{reported=1006} share > 99%", Worse::Lower),
            ("closes{reported=1006} share", Worse::Higher),
            ("closes{reported=1000} share", Worse::Lower),
            ("closes{clean=true} count", Worse::Lower),
            ("clients_lost count == 0", Worse::Higher),
            ("attempts peak", Worse::Higher),
            ("attempts{outcome=opened} count == 500", Worse::Lower),
            ("messages{outcome=lost} share_of{outcome=due}", Worse::Higher),
            ("messages{outcome=answered} rate", Worse::Lower),
            ("messages count", Worse::Neither),
            ("bytes{dir=sent} rate", Worse::Neither),
            ("bytes{dir=sent} rate < 1MiB/s", Worse::Higher),
            ("missed_per_outage mean", Worse::Higher),
        ] {
            assert_eq!(worse(&[text])[0].1, expected, "{text}");
        }
    }

    #[test]
    fn what_is_expected_twice_is_compared_once() {
        let both = worse(&["rtt p50 < 5ms", "clients_lost count == 0", "rtt p50 > 1ms", "rtt p50 < 9ms"]);
        assert_eq!(both, [("rtt p50".to_owned(), Worse::Higher), ("clients_lost count".to_owned(), Worse::Higher)]);
        assert_eq!(worse(&["bytes count < 1MB", "bytes count > 1kB"])[0].1, Worse::Neither);
    }
}
