//! Expectations on what clients miss in an outage.
//!
//! An outage after which no message with a number came may have cost nothing, or anything: every number is judged by the least and the greatest
//! that it can be. So is one above 1,000 messages, which is known to three digits.

use super::bounds::too_many;
use super::finding::{Finding, Outcome, fits, shown};
use crate::expect::{Expectation, Metric, Op, Percentile, Stat};
use crate::metrics::latency::needed;
use crate::number::counted;
use crate::results::Evidence;
use crate::results::record::LossRow;

/// Judges an expectation on what was missed in an outage.
pub(super) fn weigh(evidence: &Evidence, expectation: &Expectation) -> Finding {
    let labels = &expectation.labels;
    let nothing = |why: &str| Finding::of(Outcome::Inconclusive, None, format!("no data: {why}"));
    if !evidence.has_counted(Metric::MissedPerOutage.name()) {
        return nothing("the version that made this run folder may not have counted this");
    }
    let kept = evidence.losses.iter().filter(|row| fits(&labels.cohort, Some(&row.cohort)) && fits(&labels.fault, row.fault.as_ref()));
    let losses = OutageLosses::of(kept);
    if losses.all() == 0.0 {
        return nothing(
            "no client that got messages with numbers had an outage; say where they stand by `sequence` of the cohort's dialogue",
        );
    }
    losses.weigh(expectation)
}

/// What is known of some outages.
#[derive(Debug, Default)]
struct OutageLosses {
    /// Least and greatest that was missed, and in how many; ascending.
    known: Vec<(f64, f64, u64)>,
    /// In how many it is not known.
    unknown: u64,
    /// In all of them.
    missed: u64,
    max: f64,
}

impl OutageLosses {
    fn of<'a>(rows: impl Iterator<Item = &'a LossRow>) -> OutageLosses {
        let mut losses = OutageLosses::default();
        for row in rows {
            losses.unknown += row.unknown;
            losses.missed += row.missed;
            losses.max = losses.max.max(row.max as f64);
            for (missed, outages) in &row.by_missed {
                let step = 10_u64.pow(missed.checked_ilog10().unwrap_or(0).saturating_sub(2));
                losses.known.push((*missed as f64, (missed + step - 1).min(row.max) as f64, *outages));
            }
        }
        losses.known.sort_by(|one, next| one.0.total_cmp(&next.0).then(one.1.total_cmp(&next.1)));
        losses
    }

    fn weigh(&self, expectation: &Expectation) -> Finding {
        let range = match expectation.stat {
            Stat::Percentile(percentile) => match self.few(percentile, expectation) {
                Some(few) => return few,
                None => self.quantile(percentile.quantile()),
            },
            Stat::Max => (self.max, if self.unknown > 0 { f64::INFINITY } else { self.max }),
            Stat::Mean => self.mean(),
            _ => self.least(),
        };
        self.judge(range, expectation)
    }

    fn samples(&self) -> u64 {
        self.known.iter().map(|(.., n)| n).sum()
    }

    fn all(&self) -> f64 {
        (self.samples() + self.unknown) as f64
    }

    /// The first number that so many of all are not above: the least that it can be, if nothing was missed where that is not known, and the
    /// greatest, if more than any was.
    fn quantile(&self, q: f64) -> (f64, f64) {
        let reached = |before: u64, bound: &dyn Fn(&(f64, f64, u64)) -> f64| {
            let (mut below, wanted) = (before, q * self.all());
            if below as f64 >= wanted {
                return Some(0.0);
            }
            self.known.iter().find_map(|one| {
                below += one.2;
                (below as f64 >= wanted).then(|| bound(one))
            })
        };
        (reached(self.unknown, &|one| one.0).unwrap_or(0.0), reached(0, &|one| one.1).unwrap_or(f64::INFINITY))
    }

    fn least(&self) -> (f64, f64) {
        let first = self.known.first();
        let least = first.filter(|_| self.unknown == 0).map_or(0.0, |first| first.0);
        (least, first.map_or(f64::INFINITY, |first| first.1))
    }

    fn mean(&self) -> (f64, f64) {
        let mean = self.missed as f64 / self.all();
        (mean, if self.unknown > 0 { f64::INFINITY } else { mean })
    }

    /// A number that lies between these, both included.
    fn judge(&self, (least, most): (f64, f64), expectation: &Expectation) -> Finding {
        let (op, limit) = (expectation.op, expectation.limit.value());
        let inside = least <= limit && limit <= most;
        let (holds, fails) = match op {
            Op::Less | Op::AtMost => (op.holds(most, limit), !op.holds(least, limit)),
            Op::Greater | Op::AtLeast => (op.holds(least, limit), !op.holds(most, limit)),
            Op::Equal => (inside && least == most, !inside),
            Op::NotEqual => (!inside, inside && least == most),
        };
        let outcome = match () {
            () if holds => Outcome::Pass,
            () if fails => Outcome::Fail,
            () => Outcome::Inconclusive,
        };
        let shown = |number: f64| shown(number, expectation.limit);
        if least == most {
            return Finding::of(outcome, Some(least), format!("observed {}", shown(least)));
        }
        let range = if most.is_finite() { format!("{} to {}", shown(least), shown(most)) } else { format!("at least {}", shown(least)) };
        let why = match self.unknown {
            0 => "above 1,000 messages a run counts to three digits".to_owned(),
            unknown => {
                let all = counted(self.all() as u64, "outage");
                format!("no message with a number came after {unknown} of {all}: what was missed in them is not known")
            }
        };
        Finding::of(outcome, None, format!("{range}: {why}"))
    }

    /// Fewer samples than the percentile needs: never a pass, and a fail only beyond chance. `None`: there are enough.
    fn few(&self, percentile: Percentile, expectation: &Expectation) -> Option<Finding> {
        let (q, limit, samples) = (percentile.quantile(), expectation.limit.value(), self.samples());
        // Of a lower limit, few samples say as little: none below p10 is as likely as none above p90.
        let below = matches!(expectation.op, Op::Less | Op::AtMost);
        let least = if below { needed(q) } else { needed(q).max(needed(1.0 - q)) };
        if samples >= least {
            return None;
        }
        let wrong = |op: Op| -> u64 {
            let is_wrong = |one: &&(f64, f64, u64)| !op.holds(one.0, limit) && !op.holds(one.1, limit);
            self.known.iter().filter(is_wrong).map(|(.., n)| n).sum()
        };
        let sides: &[Op] = match expectation.op {
            Op::Equal => &[Op::AtMost, Op::AtLeast],
            Op::NotEqual => &[],
            Op::Less => &[Op::Less],
            Op::AtMost => &[Op::AtMost],
            Op::Greater => &[Op::Greater],
            Op::AtLeast => &[Op::AtLeast],
        };
        let chance = |op: Op| if matches!(op, Op::Less | Op::AtMost) { 1.0 - q } else { q };
        if let Some(op) = sides.iter().find(|op| too_many(samples, chance(**op), wrong(**op))) {
            let reason = format!(
                "{} of {samples} outages: not {} {}, too many for {percentile} at 95 % confidence",
                wrong(*op),
                op.symbol(),
                shown(limit, expectation.limit)
            );
            return Some(Finding::of(Outcome::Fail, None, reason));
        }
        let more = if self.unknown > 0 { format!(" (of {} more it is not known what was missed)", self.unknown) } else { String::new() };
        let reason = format!("{}; {percentile} needs {least}{more}", counted(samples, "outage"));
        Some(Finding { few: Some((samples, least)), ..Finding::of(Outcome::Inconclusive, None, reason) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome::{self, Fail, Inconclusive, Pass};
    use super::*;
    use crate::expect::Names;

    fn row(cohort: &str, fault: Option<&str>, by_missed: &[(u64, u64)], max: u64, unknown: u64) -> LossRow {
        LossRow {
            cohort: cohort.to_owned(),
            fault: fault.map(str::to_owned),
            outages: by_missed.iter().map(|(_, n)| n).sum(),
            missed: by_missed.iter().map(|(missed, n)| missed * n).sum(),
            max,
            by_missed: by_missed.iter().copied().collect(),
            unknown,
            ..LossRow::default()
        }
    }

    fn judged(rows: &[LossRow], text: &str) -> (Outcome, Option<f64>, String) {
        let (cohorts, faults) = (["web".to_owned(), "ios".to_owned()], ["crash".to_owned()]);
        let names = Names { cohorts: &cohorts, faults: &faults, ..Names::default() };
        let expectation = Expectation::parse(text, names).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
        let losses = OutageLosses::of(
            rows.iter()
                .filter(|row| fits(&expectation.labels.cohort, Some(&row.cohort)) && fits(&expectation.labels.fault, row.fault.as_ref())),
        );
        let finding = losses.weigh(&expectation);
        (finding.outcome, finding.observed, finding.reason)
    }

    #[test]
    fn where_all_is_known_each_number_is_exact() {
        let rows = [row("web", Some("crash"), &[(0, 300), (2, 90), (9, 9), (40, 1)], 40, 0), row("ios", None, &[(7, 400)], 7, 0)];
        for (text, outcome, observed) in [
            ("missed_per_outage{cohort=web} p50 == 0", Pass, 0.0),
            ("missed_per_outage{cohort=web} p75 <= 0", Pass, 0.0),
            ("missed_per_outage{cohort=web} p76 < 2", Fail, 2.0),
            ("missed_per_outage{fault=crash} p99 < 10", Pass, 9.0),
            ("missed_per_outage{fault=crash} p99 < 9", Fail, 9.0),
            ("missed_per_outage{fault=crash} max < 41", Pass, 40.0),
            ("missed_per_outage{fault=crash} max < 40", Fail, 40.0),
            ("missed_per_outage{fault=crash} mean <= 0.7525", Pass, 0.7525),
            ("missed_per_outage{cohort=ios} min >= 7", Pass, 7.0),
            ("missed_per_outage min != 0", Fail, 0.0),
            ("missed_per_outage p95 <= 7", Pass, 7.0),
        ] {
            let (found, number, reason) = judged(&rows, text);
            assert_eq!(found, outcome, "{text}: {reason}");
            assert_eq!(number, Some(observed), "{text}");
        }
    }

    #[test]
    fn an_outage_of_which_nothing_is_known_may_have_cost_anything() {
        let rows = [row("web", Some("crash"), &[(0, 396)], 0, 4)];
        for (text, outcome) in [
            ("missed_per_outage p99 < 1", Pass),
            ("missed_per_outage p99.5 < 1", Inconclusive),
            ("missed_per_outage max < 1000000", Inconclusive),
            ("missed_per_outage max >= 0", Pass),
            ("missed_per_outage mean < 1", Inconclusive),
            ("missed_per_outage min == 0", Pass),
        ] {
            let (found, _, reason) = judged(&rows, text);
            assert_eq!(found, outcome, "{text}: {reason}");
        }
        let (_, number, reason) = judged(&rows, "missed_per_outage max < 10");
        assert_eq!(
            (number, reason.as_str()),
            (None, "at least 0: no message with a number came after 4 of 400 outages: what was missed in them is not known")
        );
        // What is known is enough to fail, and to see that much was missed.
        let rows = [row("web", None, &[(0, 10), (50, 390)], 50, 100)];
        for (text, outcome) in [
            ("missed_per_outage p90 < 50", Fail),
            ("missed_per_outage max <= 49", Fail),
            ("missed_per_outage max > 49", Pass),
            ("missed_per_outage mean < 39", Fail),
            ("missed_per_outage max == 50", Inconclusive),
            ("missed_per_outage max == 49", Fail),
            ("missed_per_outage max != 49", Pass),
        ] {
            let (found, _, reason) = judged(&rows, text);
            assert_eq!(found, outcome, "{text}: {reason}");
        }
        let rows = [row("web", None, &[], 0, 300)];
        assert_eq!(judged(&rows, "missed_per_outage p50 < 1").0, Inconclusive);
        assert_eq!(judged(&rows, "missed_per_outage max < 1").0, Inconclusive);
    }

    #[test]
    fn few_samples_are_never_a_pass_and_fail_beyond_chance() {
        let few = [row("web", None, &[(0, 20)], 0, 3)];
        let (outcome, _, reason) = judged(&few, "missed_per_outage p99 < 10");
        assert_eq!(outcome, Inconclusive);
        assert!(
            reason.starts_with("20 outages; p99 needs ") && reason.ends_with("(of 3 more it is not known what was missed)"),
            "{reason}"
        );
        let wrong = [row("web", None, &[(0, 17), (30, 3)], 30, 0)];
        let (outcome, _, reason) = judged(&wrong, "missed_per_outage p99 < 10");
        assert_eq!((outcome, reason.as_str()), (Fail, "3 of 20 outages: not < 10, too many for p99 at 95 % confidence"));
        assert_eq!(judged(&wrong, "missed_per_outage p99 > 10").0, Inconclusive);
    }

    #[test]
    fn above_a_thousand_three_digits_decide_where_they_can() {
        let rows = [row("web", None, &[(1_230, 400)], 1_238, 0)];
        for (text, outcome) in [
            ("missed_per_outage p50 < 1240", Pass),
            ("missed_per_outage p50 < 1239", Pass),
            ("missed_per_outage p50 < 1235", Inconclusive),
            ("missed_per_outage p50 < 1230", Fail),
            ("missed_per_outage max == 1238", Pass),
        ] {
            let (found, _, reason) = judged(&rows, text);
            assert_eq!(found, outcome, "{text}: {reason}");
        }
    }
}
