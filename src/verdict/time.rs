//! Expectations on times.
//!
//! The run counted exactly what lies on each side of the limit, so no bucket of a histogram decides; where it did not, because the
//! expectation is newer than the run, a limit inside the bucket that decides is inconclusive. What was cut before the limit counts on
//! neither side; what was cut at it or later, and what never ends, is beyond it.

use super::bounds::too_many;
use super::finding::{Finding, Outcome, fits, shown};
use crate::expect::{Expectation, Metric, Op, Percentile, Stat};
use crate::metrics::latency::needed;
use crate::metrics::survival::{Quantile, Split, Survival};
use crate::metrics::watch::Window;
use crate::number::{counted, word_of};
use crate::results::Evidence;
use crate::results::hlog::Distribution;
use std::cmp::Ordering;

/// Judges an expectation on times.
pub(super) fn weigh(evidence: &Evidence, expectation: &Expectation) -> Finding {
    let (labels, metric, window) = (&expectation.labels, expectation.timed(), Window::of(&expectation.labels));
    let keep = |row: &Distribution| fits(&labels.cohort, Some(&row.cohort)) && fits(&labels.fault, row.fault.as_ref());
    let times = match times(evidence, expectation) {
        Ok(times) => times,
        Err(reason) => return Finding::of(Outcome::Inconclusive, None, reason),
    };
    let judged = Judged { times: &times, expectation, limit: expectation.limit.value() };
    match expectation.stat {
        Stat::Percentile(percentile) => {
            let splits = match evidence.around(metric, window, judged.limit, keep) {
                Some([ended, cut]) => {
                    vec![Split { ended_below: ended.below, ended_equal: ended.equal, cut_below: cut.below, cut_equal: cut.equal }]
                }
                None => times.splits(judged.limit).into(),
            };
            judged.percentile(percentile, &splits)
        }
        Stat::Max => judged.greatest(),
        Stat::Mean => judged.mean(),
        _ => judged.least(),
    }
}

/// The times that an expectation is about, at least one of them.
///
/// # Errors
/// There are none, or they say nothing; why, in words.
pub(super) fn times(evidence: &Evidence, expectation: &Expectation) -> Result<Survival, String> {
    let (labels, metric) = (&expectation.labels, expectation.timed());
    let window = Window::of(labels);
    if window.is_some_and(|window| !evidence.windows.iter().any(|kept| (kept.0.as_str(), kept.1) == (metric, window))) {
        return Err(format!("no data: the run did not measure {metric} for this window; run it again with this expectation"));
    }
    let keep = |row: &Distribution| fits(&labels.cohort, Some(&row.cohort)) && fits(&labels.fault, row.fault.as_ref());
    let times = evidence.times(metric, window, keep);
    if times.count() == 0 {
        return Err(match received(evidence, expectation) {
            0 => "no data: nothing of this kind was measured".to_owned(),
            received => {
                format!("no data: {} received, none is the reply to what was sent: is this an echo server?", counted(received, "message"))
            }
        });
    }
    if evidence.simulated && takes_model(expectation.metric) && times.is_complete() && times.ended.max() == Some(0) {
        return Err("no data: the simulated server and path take no time; set `handshake_cost`, or `rtt` in [model]".to_owned());
    }
    Ok(times)
}

/// Messages that came, where round trips are asked for.
fn received(evidence: &Evidence, expectation: &Expectation) -> u64 {
    if !matches!(expectation.metric, Metric::Rtt | Metric::RttFromSent) {
        return 0;
    }
    let counted = evidence.counts.iter().filter(|row| row.metric == "messages" && row.outcome.as_deref() == Some("received"));
    counted.filter(|row| fits(&expectation.labels.cohort, Some(&row.cohort))).map(|row| row.count).sum()
}

/// Whether a simulated time is nothing but what the model says: waits are the client's own, and with them how long it is away.
fn takes_model(metric: Metric) -> bool {
    !matches!(metric, Metric::ReconnectTime | Metric::Backoff)
}

/// Times and what is expected of them.
struct Judged<'a> {
    times: &'a Survival,
    expectation: &'a Expectation,
    /// µs.
    limit: f64,
}

impl Judged<'_> {
    fn shown(&self, us: f64) -> String {
        shown(us, self.expectation.limit)
    }

    /// A number that is known.
    fn exactly(&self, us: f64) -> Finding {
        let outcome = if self.expectation.op.holds(us, self.limit) { Outcome::Pass } else { Outcome::Fail };
        Finding::of(outcome, Some(us), format!("observed {}", self.shown(us)))
    }

    fn mean(&self) -> Finding {
        match self.times.ended.mean().filter(|_| self.times.is_complete()) {
            Some(us) => self.exactly(us),
            None => Finding::of(Outcome::Inconclusive, None, "the mean is unknown: some did not end".to_owned()),
        }
    }

    /// The least of all that ended; what was cut may have ended earlier only if it was cut earlier, and then it does not decide.
    fn least(&self) -> Finding {
        let cut = self.times.censored.min();
        match self.times.ended.min() {
            Some(us) => Finding { note: self.apart().filter(|_| cut < Some(us)), ..self.exactly(us as f64) },
            // Nothing ended: all took at least as long as the first that was cut.
            None => self.longer(cut.map_or(f64::INFINITY, |us| us as f64)),
        }
    }

    /// The greatest of all: one that was cut at the limit or later is beyond it, as are those that never end. Those that were cut before do
    /// not decide whether a limit was kept, and are named.
    fn greatest(&self) -> Finding {
        let (ended, cut) = (self.times.ended.max().map(|us| us as f64), self.times.censored.max().map(|us| us as f64));
        let op = self.expectation.op;
        if self.times.never.count() > 0 {
            return self.longer(f64::INFINITY);
        }
        match (ended, cut) {
            (Some(us), None) => self.exactly(us),
            (_, Some(cut)) if cut > self.limit || (cut == self.limit && matches!(op, Op::Less | Op::AtLeast)) => {
                if ended >= Some(cut) {
                    self.exactly(ended.unwrap_or(cut))
                } else {
                    self.longer(cut)
                }
            }
            // Beyond the limit already, whatever becomes of those that were cut.
            (Some(us), Some(_)) if us > self.limit => Finding { note: self.apart(), ..self.exactly(us) },
            (Some(us), Some(_)) if matches!(op, Op::Less | Op::AtMost) => Finding { note: self.apart(), ..self.exactly(us) },
            (_, Some(cut)) => {
                Finding::of(Outcome::Inconclusive, None, format!("unknown: at least {}", self.shown(ended.map_or(cut, |us| us.max(cut)))))
            }
            (None, None) => self.longer(f64::INFINITY),
        }
    }

    /// The number is longer than this, or infinite.
    fn longer(&self, bound: f64) -> Finding {
        let Survival { censored, never, .. } = self.times;
        let reason = match bound.is_finite() {
            true => format!("not reached in {}: {} did not end", self.shown((bound / 1e3).floor() * 1e3), censored.count()),
            false => format!("never: {} gave up", never.count()),
        };
        let outcome = match self.expectation.op {
            Op::Less | Op::AtMost | Op::Equal if bound >= self.limit => Outcome::Fail,
            Op::Greater | Op::AtLeast | Op::NotEqual if bound >= self.limit => Outcome::Pass,
            _ => Outcome::Inconclusive,
        };
        Finding::of(outcome, None, reason)
    }

    /// Names those that were cut before the limit.
    fn apart(&self) -> Option<String> {
        let cut = &self.times.censored;
        let after = cut.max()? as f64;
        let were = word_of(cut.count(), "was", "were");
        Some(format!("not counting {} that did not end and {were} cut off after at most {}", cut.count(), self.shown(after)))
    }

    /// A percentile: the estimate from n₀ samples on, with fewer only what is beyond chance.
    fn percentile(&self, percentile: Percentile, splits: &[Split]) -> Finding {
        let (q, op) = (percentile.quantile(), self.expectation.op);
        // Of a lower limit, few samples say as little: none below p10 is as likely as none above p90.
        let least = if matches!(op, Op::Less | Op::AtMost) { needed(q) } else { needed(q).max(needed(1.0 - q)) };
        let samples = splits.iter().map(|split| self.decided(split)).min().unwrap_or(0);
        if samples < least {
            return self.few(percentile, splits, samples, least);
        }
        let states: Vec<_> = splits.iter().map(|split| self.state(split, q)).collect();
        let Some(state) = states.first().filter(|first| states.iter().all(|state| state == *first)) else {
            let reason = "the limit lies inside the deciding histogram bucket, and the run did not count exactly at this limit: run it \
                again with this expectation";
            return Finding::of(Outcome::Inconclusive, None, reason.to_owned());
        };
        let Some(side) = *state else {
            let horizon = self.times.horizon().unwrap_or(0) as f64;
            let reason = format!("not reached in {}", self.shown((horizon / 1e3).floor() * 1e3));
            return Finding::of(Outcome::Inconclusive, None, reason);
        };
        let outcome = if holds(op, side) { Outcome::Pass } else { Outcome::Fail };
        match self.times.at(q) {
            Some(Quantile::At(us)) => {
                let us = on_side(us as f64, side, self.limit);
                Finding::of(outcome, Some(us), format!("observed {}", self.shown(us)))
            }
            Some(Quantile::Never) => Finding::of(outcome, None, format!("never: {} gave up", self.times.never.count())),
            Some(Quantile::Beyond(us)) => {
                Finding::of(outcome, None, format!("not reached in {}", self.shown((us as f64 / 1e3).floor() * 1e3)))
            }
            None => Finding::of(Outcome::Inconclusive, None, "no data: nothing of this kind was measured".to_owned()),
        }
    }

    /// Samples of which it is known on which side of the limit they lie.
    fn decided(&self, split: &Split) -> u64 {
        self.times.count() - split.cut_below.min(self.times.censored.count())
    }

    /// On which side of the limit the quantile lies; `None` if nothing lasted long enough to tell.
    fn state(&self, split: &Split, q: f64) -> Option<Ordering> {
        let at = self.times.around(self.limit, split);
        match () {
            () if at.reached_before(q) => Some(Ordering::Less),
            () if at.at_risk == 0 => None,
            () if at.reached(q) => Some(Ordering::Equal),
            () => Some(Ordering::Greater),
        }
    }

    /// Fewer samples than the percentile needs: never a pass, and a fail only beyond chance.
    fn few(&self, percentile: Percentile, splits: &[Split], samples: u64, least: u64) -> Finding {
        let q = percentile.quantile();
        let Survival { ended, censored, never } = self.times;
        let counts = |split: &Split, op: Op| {
            let cut_from = self.decided(split) - ended.count() - never.count();
            let cut_above = cut_from.saturating_sub(split.cut_equal);
            let ended_from = ended.count().saturating_sub(split.ended_below);
            // Of how many how many are on the wrong side, and how likely each may be there.
            match op {
                Op::Less => (self.decided(split), ended_from + cut_from + never.count(), 1.0 - q),
                Op::AtMost => {
                    let above = ended_from.saturating_sub(split.ended_equal) + cut_above + never.count();
                    (ended.count() + cut_above + never.count(), above, 1.0 - q)
                }
                Op::Greater => (self.decided(split), split.ended_below + split.ended_equal, q),
                _ => (self.decided(split), split.ended_below, q),
            }
        };
        let sides: &[Op] = match self.expectation.op {
            Op::Equal => &[Op::AtMost, Op::AtLeast],
            Op::NotEqual => &[],
            Op::Less => &[Op::Less],
            Op::AtMost => &[Op::AtMost],
            Op::Greater => &[Op::Greater],
            Op::AtLeast => &[Op::AtLeast],
        };
        let refuted = |op: &&Op| {
            splits.iter().all(|split| {
                let (n, wrong, p) = counts(split, **op);
                too_many(n, p, wrong)
            })
        };
        if let (Some(op), Some(split)) = (sides.iter().find(refuted), splits.last()) {
            let (n, wrong, _) = counts(split, *op);
            let side = match op {
                Op::Less => "or more",
                Op::AtMost => "exceeded",
                Op::Greater => "or less",
                _ => "not reached",
            };
            let reason = format!("{wrong} of {n} samples: {} {side}, too many for {percentile} at 95 % confidence", self.shown(self.limit));
            return Finding::of(Outcome::Fail, None, reason);
        }
        let cut = censored.count() - (samples - ended.count() - never.count()).min(censored.count());
        let apart = match cut {
            0 => String::new(),
            _ => format!(" ({cut} more {} cut off before {})", word_of(cut, "was", "were"), self.shown(self.limit)),
        };
        let counted = if samples == 1 { "sample" } else { "samples" };
        let reason = format!("{samples} {counted}; {percentile} needs {least}{apart}");
        Finding { few: Some((samples, least)), ..Finding::of(Outcome::Inconclusive, None, reason) }
    }
}

/// Whether it holds that the quantile lies on this side of the limit.
fn holds(op: Op, side: Ordering) -> bool {
    match op {
        Op::Less => side.is_lt(),
        Op::AtMost => side.is_le(),
        Op::Greater => side.is_gt(),
        Op::AtLeast => side.is_ge(),
        Op::Equal => side.is_eq(),
        Op::NotEqual => side.is_ne(),
    }
}

/// The value that stands for a bucket, moved to the side of the limit on which the quantile is known to lie; whole µs.
fn on_side(us: f64, side: Ordering, limit: f64) -> f64 {
    match side {
        Ordering::Less => us.min(limit.ceil() - 1.0).max(0.0),
        Ordering::Equal => limit,
        Ordering::Greater => us.max(limit.floor() + 1.0),
    }
}

#[cfg(test)]
mod tests;
