//! How many of those who wanted a connection got one: what `closestorm capacity` asks of each run beside its expectations.
//!
//! Without it a server that leaves most clients without an answer has the best times: those of the few that it serves.

use super::record::TimelineRow;
use crate::metrics::Results;
use crate::metrics::book::CohortCounts;

/// An attempt that was begun this shortly before the end, or in the last tenth of a shorter run, may still be under way: ms.
const LAST_MS: u64 = 1_000;

/// Those who got a connection, and those who wanted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// `attempts`, or `clients` where faults make attempts fail as they should.
    pub what: &'static str,
    /// Attempts that opened; clients that had a connection at the end, or had left by themselves.
    pub opened: u64,
    /// Attempts, without those that were begun so late that they may be under way; clients that tried.
    pub of: u64,
}

impl Opened {
    /// Of a run: by attempts where there are no faults, by clients where there are. `None` where nobody tried.
    pub fn of(results: &Results, timeline: &[TimelineRow]) -> Option<Opened> {
        let total = results.total();
        let counted = if results.meta.faults.is_empty() { attempts(&total, results, timeline) } else { clients(&total) };
        (counted.of > 0).then_some(counted)
    }

    /// 0 to 1.
    pub fn share(self) -> f64 {
        self.opened as f64 / self.of as f64
    }
}

fn attempts(total: &CohortCounts, results: &Results, timeline: &[TimelineRow]) -> Opened {
    let measured = results.measured.as_millis() as u64;
    let late = measured - LAST_MS.min(measured / 10);
    let begun_late: u64 = timeline.iter().filter(|row| row.offset_ms >= late).map(|row| row.attempts).sum();
    let under_way = total.ledger.attempts.abandoned.min(begun_late);
    Opened { what: "attempts", opened: total.ledger.attempts.opened, of: total.ledger.attempts.total - under_way }
}

fn clients(total: &CohortCounts) -> Opened {
    let without = total.never_opened + total.censored;
    // Nobody waits for those who left by plan.
    Opened { what: "clients", opened: total.started.saturating_sub(without), of: total.started.saturating_sub(total.left) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::finished;

    fn run(change: impl Fn(&mut CohortCounts)) -> Results {
        let mut results = finished();
        results.books.truncate(1);
        results.books[0] = CohortCounts::default();
        results.measured = std::time::Duration::from_secs(20);
        change(&mut results.books[0]);
        results
    }

    #[test]
    fn attempts_that_may_be_under_way_at_the_end_are_left_out() {
        let mut results = run(|book| {
            let attempts = &mut book.ledger.attempts;
            (attempts.total, attempts.opened, attempts.abandoned, attempts.timed_out) = (200, 60, 100, 40);
        });
        results.meta.faults.clear();
        let row = |offset_ms, attempts| TimelineRow { offset_ms, attempts, ..TimelineRow::default() };
        let opened = Opened::of(&results, &[row(0, 170), row(18_900, 10), row(19_000, 20)]).unwrap();
        assert_eq!(opened, Opened { what: "attempts", opened: 60, of: 180 });
        assert!((opened.share() - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn with_faults_it_is_clients_that_count_and_who_nobody_waits_for_does_not() {
        let results = run(|book| (book.started, book.never_opened, book.censored, book.ledger.attempts.total) = (100, 10, 5, 4_000));
        assert_eq!(Opened::of(&results, &[]), Some(Opened { what: "clients", opened: 85, of: 100 }));
        let left = run(|book| (book.started, book.censored, book.left, book.ledger.attempts.total) = (100, 5, 3, 4_000));
        assert_eq!(Opened::of(&left, &[]), Some(Opened { what: "clients", opened: 95, of: 97 }));
        assert_eq!(Opened::of(&run(|_| ()), &[]), None);
    }
}
