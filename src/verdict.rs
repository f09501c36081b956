//! The verdict: expectations × evidence → pass, fail or inconclusive, each with its reasons.
//!
//! No data is never a pass. A count of something that could have happened and did not is 0, and that is data. The evidence comes
//! from results or from a run folder alike, so `check` finds what `run` found.

mod bounds;
mod count;
mod finding;
mod first;
mod losses;
mod observe;
mod time;
mod window;

use crate::expect::{Expectation, Limit, Metric};
use crate::metrics::lateness::{self, Feed, Work};
use crate::metrics::meta::SeenFrom;
use crate::results::Evidence;
use crate::results::read::FIRST_VERSION;
use crate::results::record::{ExpectationRow, Verdict};
pub use finding::Outcome;
pub(crate) use finding::fits;
use finding::{Finding, Known, shown};
pub use observe::{RunNumber, observe};
use window::Measured;

/// What a verdict says where nothing was expected.
pub const UNCHECKED: &str = "no expectations: nothing was checked";

/// How a reason begins that is about several seeds, and leaves what was seen of the first as it is.
pub const OF_SEEDS: &str = "seeds: ";

/// Exit code of the program for a verdict: 0 pass or unchecked, 99 fail, 3 inconclusive.
pub fn exit_code(verdict: &Verdict) -> u8 {
    Outcome::parse(&verdict.result).exit_code()
}

/// Judges a run.
///
/// Inconclusive if the run was stopped early, a part of it was lost, something planned was not carried out, a local limit was hit or the
/// generator was saturated; else fail if an expectation failed, in any of several seeds; else inconclusive if one could not be told or no
/// client was ever ready; else pass, or unchecked without expectations.
pub fn judge(evidence: &Evidence, expectations: &[Expectation]) -> Verdict {
    let judged: Vec<_> = expectations.iter().map(|expectation| (expectation, weigh(evidence, expectation))).collect();
    let any = |outcome| judged.iter().any(|(_, finding)| finding.outcome == outcome);
    let mut reasons = distrust(evidence, expectations);
    let broken = !reasons.is_empty();
    let (nobody, real) = (nobody_was_ready(evidence), is_real(evidence));
    // What is known of the other seeds is their verdict.
    let seeds = evidence.seeds.as_ref().filter(|seeds| seeds.done > 1 && !expectations.is_empty());
    let (failed, passed) = seeds.map_or((false, true), |seeds| (seeds.failed > 0, seeds.passed == seeds.done));
    let outcome = match () {
        () if broken => Outcome::Inconclusive,
        () if any(Outcome::Fail) || failed => Outcome::Fail,
        () if nobody || any(Outcome::Inconclusive) || !passed => Outcome::Inconclusive,
        () if expectations.is_empty() => Outcome::Unchecked,
        () => Outcome::Pass,
    };
    if nobody {
        // An expectation may fail all the same, as of handshakes that were pending for too long: then there is something to judge by.
        let rest = match outcome {
            Outcome::Fail => "",
            _ if real => ": the clients cannot be judged",
            _ => ": the server cannot be judged",
        };
        reasons.push(format!("no client became ready{rest}"));
    }
    for (expectation, finding) in judged.iter().filter(|(_, finding)| finding.outcome != Outcome::Pass) {
        reasons.push(format!("{}: {}", expectation.text, finding.reason));
    }
    if let Some(seeds) = seeds.filter(|_| !passed && !broken) {
        reasons.push(format!("{OF_SEEDS}pass in {} of {}, fail in {}, as runs.csv has them", seeds.passed, seeds.done, seeds.failed));
    }
    if evidence.first_version {
        reasons.push(FIRST_VERSION.to_owned());
    }
    if expectations.is_empty() {
        reasons.push(UNCHECKED.to_owned());
    }
    Verdict {
        result: outcome.name().to_owned(),
        reasons,
        answer: None,
        expectations: judged.into_iter().map(|(e, finding)| row(e, finding)).collect(),
    }
}

/// Whether clients were to become ready and none did: then the server cannot be judged by what did not happen.
pub fn nobody_was_ready(evidence: &Evidence) -> bool {
    // Nobody plans real clients, and they are waited for all the same.
    let expected = is_real(evidence) || evidence.planned.values().any(|clients| *clients > 0);
    evidence.ready == Some(0) && expected
}

fn is_real(evidence: &Evidence) -> bool {
    evidence.seen_from != SeenFrom::Client
}

/// Why the figures of a run decide nothing of these expectations, in words: stopped early, a part lost, not carried out as planned, or the
/// generator was saturated.
pub fn distrust(evidence: &Evidence, expectations: &[Expectation]) -> Vec<String> {
    let mut reasons = [evidence.lost.clone(), evidence.unreliable.clone()].concat();
    if evidence.aborted {
        reasons.push(match &evidence.seeds {
            Some(seeds) if seeds.done > 0 => format!("the simulation was stopped after {} of {} seeds", seeds.done, seeds.planned),
            _ => "the run was stopped before its planned length".to_owned(),
        });
    }
    reasons.extend(saturation(evidence, expectations));
    reasons
}

/// Whether the generator was too late for what the expectations look at, in words.
fn saturation(evidence: &Evidence, expectations: &[Expectation]) -> Option<String> {
    // Where seconds are counted together, those with late work stand apart.
    let work = evidence.counts.iter().filter(|row| row.metric == "work" && row.width_s <= 1).map(|row| {
        let late = row.outcome.as_deref() == Some("late");
        (row.second, row.cohort.as_str(), if late { Work { all: 0, late: row.count } } else { Work { all: row.count, late: 0 } })
    });
    lateness::in_words(&lateness::saturated(work, &Feed::of(expectations)))
}

/// The unit of what is observed of an expectation with such a limit, and how many of it are in one of the limit's.
pub fn unit(limit: Limit) -> (&'static str, f64) {
    match limit {
        Limit::Micros(_) => ("us", 1.0),
        Limit::Count(_) => ("count", 1.0),
        Limit::Number(_) => ("messages", 1.0),
        Limit::Share(_) => ("percent", 100.0),
        Limit::PerSecond(_) => ("per_s", 1.0),
    }
}

fn row(expectation: &Expectation, finding: Finding) -> ExpectationRow {
    let (unit, factor) = unit(expectation.limit);
    ExpectationRow {
        text: expectation.text.clone(),
        observed: finding.observed.map(|observed| observed * factor),
        note: if finding.observed.is_none() { Some(finding.reason) } else { finding.note },
        samples: finding.few.map(|(samples, _)| samples),
        needed: finding.few.map(|(_, needed)| needed),
        unit: unit.to_owned(),
        result: finding.outcome.name().to_owned(),
    }
}

fn weigh(evidence: &Evidence, expectation: &Expectation) -> Finding {
    match window::measured(expectation, evidence.measured_s) {
        Measured::All => weighed(evidence, expectation),
        Measured::Nothing(why) => Finding::of(Outcome::Inconclusive, None, why),
        Measured::Part(which) => {
            let found = weighed(evidence, expectation);
            let note = found.note.map_or_else(|| which.clone(), |note| format!("{note}; {which}"));
            Finding { reason: format!("{}; {which}", found.reason), note: Some(note), ..found }
        }
    }
}

/// What an expectation comes to by what was measured of its window.
fn weighed(evidence: &Evidence, expectation: &Expectation) -> Finding {
    if expectation.metric.is_time() {
        return if evidence.first_version { first::weigh(evidence, expectation) } else { time::weigh(evidence, expectation) };
    }
    if expectation.metric == Metric::MissedPerOutage {
        return losses::weigh(evidence, expectation);
    }
    match count::count(evidence, expectation) {
        Known::Exactly(observed) => {
            let outcome = if expectation.op.holds(observed, expectation.limit.value()) { Outcome::Pass } else { Outcome::Fail };
            let note = (expectation.metric == Metric::ClientsLost).then(|| count::still_away(evidence, &expectation.labels)).flatten();
            let apart = note.as_ref().map_or_else(String::new, |note| format!(" ({note})"));
            Finding { note, ..Finding::of(outcome, Some(observed), format!("observed {}{apart}", shown(observed, expectation.limit))) }
        }
        Known::Nothing(reason) => Finding::of(Outcome::Inconclusive, None, reason),
    }
}

#[cfg(test)]
mod tests;
