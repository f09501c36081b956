//! Due times of the messages of a client. Open loop: they do not depend on when earlier ones were sent or answered.

use super::LoadStages;
use crate::event::ClientIndex;
use crate::seed::Seed;
use crate::units::Rate;
use std::sync::Arc;
use std::time::Duration;

/// The schedule of one client's messages: a phase of its own, then one message each `1 / rate`.
///
/// Without the phase all clients that opened together would send together for the whole run.
#[derive(Clone, Debug, PartialEq)]
pub struct Sends {
    /// Seconds from the start to the first message, uniform in `0..1/rate`.
    phase: f64,
    /// Seconds between two messages.
    gap: f64,
    /// How the rate changes; `rate` is then the highest.
    stages: Option<Arc<LoadStages>>,
}

impl Sends {
    /// The schedule of a client; its phase comes from the stream `client/<k>/traffic`.
    pub fn of(client: ClientIndex, rate: Rate, seed: Seed) -> Sends {
        let gap = 1.0 / rate.0.max(f64::MIN_POSITIVE);
        Sends { phase: seed.stream(&format!("client/{}/traffic", client.0)).unit() * gap, gap, stages: None }
    }

    /// The same with a rate that changes over the run, and of which its rate is the highest.
    pub fn in_stages(self, stages: Option<Arc<LoadStages>>) -> Sends {
        Sends { stages, ..self }
    }

    /// Due offset of message `n`, from 0, of a client that began to talk at `start`: `start + phase + n / rate`, or where as much as that has
    /// been sent by the changing rate.
    ///
    /// Computed from `n` and not from the message before, so errors do not add up.
    pub fn due(&self, start: Duration, n: u64) -> Duration {
        let after = self.phase + n as f64 * self.gap;
        match &self.stages {
            None => start.saturating_add(super::seconds(after)),
            Some(stages) => stages.when(stages.full_rate_until(start) + after).max(start),
        }
    }

    /// How many messages are due in the half-open time from `start` to `end`.
    pub fn count(&self, start: Duration, end: Duration) -> u64 {
        let full = |at| self.stages.as_ref().map_or_else(|| Duration::as_secs_f64(&at), |stages| stages.full_rate_until(at));
        let span = full(end.max(start)) - full(start) - self.phase;
        let guess = if span <= 0.0 { 0 } else { (span / self.gap).ceil() as u64 };
        // Division and multiplication round differently: settle by the definition.
        let near = guess.saturating_sub(1)..=guess.saturating_add(1);
        near.rev().find(|n| *n == 0 || self.due(start, n - 1) < end).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_gap_and_their_phase() {
        let start = Duration::from_secs(3);
        let sends = Sends::of(ClientIndex(17), Rate(4.0), Seed(7));
        let first = sends.due(start, 0);
        assert!(first >= start && first < start + Duration::from_millis(250));
        for n in 0..1000 {
            let expected = first + Duration::from_millis(250) * n;
            assert!(sends.due(start, u64::from(n)).abs_diff(expected) <= Duration::from_nanos(1), "{n}");
        }
        assert_ne!(first, Sends::of(ClientIndex(18), Rate(4.0), Seed(7)).due(start, 0), "two clients do not send together");
        assert_eq!(first, Sends::of(ClientIndex(17), Rate(4.0), Seed(7)).due(start, 0));
    }

    #[test]
    fn a_rate_in_stages_sends_as_much_as_it_says() {
        use crate::arrival::LoadStage;
        let second = Duration::from_secs(1);
        let list = [(0.0, 2), (8.0, 4), (8.0, 2), (0.0, 4)].map(|(to, over)| LoadStage { to, over: second * over });
        let stages = Arc::new(LoadStages::new(list.to_vec()));
        let sends = |client| Sends::of(ClientIndex(client), Rate(8.0), Seed(3)).in_stages(Some(stages.clone()));
        // 16 in the ramp, 16 in the hold, 16 in the fall, of each of 100 clients.
        let sum = |from: u32, to: u32| (0..100).map(|client| sends(client).count(second * from, second * to)).sum::<u64>();
        assert_eq!((sum(0, 2), sum(0, 30)), (0, 4_800));
        assert!((1_550..=1_650).contains(&(sum(0, 6))) && (3_150..=3_250).contains(&sum(0, 8)), "{} {}", sum(0, 6), sum(0, 8));
        let one = sends(7);
        let due: Vec<_> = (0..48).map(|n| one.due(second, n)).collect();
        assert!(due.is_sorted() && due[47] < second * 12 && one.due(second, 48) == Duration::MAX);
        // Half of the fall's messages come in the first 2 - sqrt(2) parts of it.
        assert!((due[32].as_secs_f64() - 8.0).abs() < 0.2 && (due[40].as_secs_f64() - 9.17).abs() < 0.2, "{due:?}");
    }

    #[test]
    fn count_agrees_with_the_due_times() {
        for (client, rate, ms) in [(0, 1.0, 10_000), (1, 3.0, 10_000), (2, 0.1, 5_000), (3, 1000.0, 777), (4, 1.0, 0)] {
            let sends = Sends::of(ClientIndex(client), Rate(rate), Seed(1));
            let (start, end) = (Duration::from_millis(40), Duration::from_millis(40 + ms));
            let counted = (0..).take_while(|n| sends.due(start, *n) < end).count() as u64;
            assert_eq!(sends.count(start, end), counted, "{client}");
        }
    }
}
