//! Whether a client keeps a rule, by what was seen of it. What the rules are, and why: `rules`.

use super::findings::{Findings, HeldClose, Return, shown};
use crate::close::{ABNORMAL, NO_STATUS};
use crate::estimate::busy_ms;
use crate::number::counted;
use crate::reconnect::{Jitter, ScheduleKind};
use crate::units::{ms, print_duration};
use std::time::Duration;

/// What came of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is kept; what was seen.
    Pass(String),
    /// It is broken; what was seen.
    Fail(String),
    /// Why nobody knows.
    NotTested(String),
}

/// Why waits that differ a little do not show that they were drawn.
const BUSY: &str = "a busy machine does that, too";
/// A wait up to here is none: whoever comes back at once is seen a little later.
const AT_ONCE_MS: f64 = 50.0;
/// How much later than it was meant a wait may be seen, by this or by its share …
const LATE: Duration = Duration::from_millis(20);
/// … as `estimate` has it.
const LATE_SHARE: f64 = 0.01;
/// A client that sends fewer data frames on a connection, as when it only introduces itself, would send none behind a Close frame anyway.
const DATA_LEAST: u32 = 3;
/// What timers may be early by.
const TIMERS: Duration = Duration::from_millis(20);

impl Judgement {
    /// `pass`, `fail` or `not tested`; and what was seen, or why nobody knows.
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Judgement::Pass(seen) => ("pass", seen),
            Judgement::Fail(seen) => ("fail", seen),
            Judgement::NotTested(why) => ("not tested", why),
        }
    }
}

fn not_asked(option: &str) -> Judgement {
    Judgement::NotTested(format!("not asked{option}"))
}

fn judged(pass: bool, text: String) -> Judgement {
    if pass { Judgement::Pass(text) } else { Judgement::Fail(text) }
}

/// What cannot be said where nothing explains the waits.
fn no_schedule(found: &Findings) -> Option<Judgement> {
    let bad = found.fit.as_ref().is_some_and(|fit| !fit.goodness.is_good());
    bad.then(|| Judgement::NotTested("no schedule explains the waits".to_owned()))
}

fn no_second_wait() -> Judgement {
    Judgement::NotTested("no outage had a second wait".to_owned())
}

/// What cannot be said without waits.
fn no_waits(found: &Findings) -> Option<Judgement> {
    (found.outages.iter().all(|outage| outage.waits_ms.is_empty())).then(|| Judgement::NotTested("no waits were seen".to_owned()))
}

fn steps(found: &Findings, step: usize) -> Vec<f64> {
    found.outages.iter().filter_map(|outage| outage.waits_ms.get(step).copied()).collect()
}

/// Least and greatest.
fn range(waits: &[f64]) -> (f64, f64) {
    waits.iter().fold((f64::INFINITY, 0.0), |(lo, hi), wait| (wait.min(lo), wait.max(hi)))
}

/// How many waits are longer than the shortest by more than so much.
fn beyond(waits: &[f64], by_ms: f64) -> usize {
    let (lo, _) = range(waits);
    waits.iter().filter(|wait| **wait - lo > by_ms).count()
}

/// Whether waits of one attempt differ by more than a busy machine makes them; a single late one was not drawn.
fn drawn(waits: &[f64]) -> bool {
    let count = beyond(waits, busy_ms(range(waits).1));
    count > 1 && count * 10 > waits.len()
}

pub(super) fn jitter(found: &Findings, _: Option<Duration>) -> Judgement {
    let Some(fit) = &found.fit else { return no_waits(found).unwrap_or_else(|| Judgement::NotTested("too few waits".to_owned())) };
    if let Some(why) = no_schedule(found) {
        return why;
    }
    let policy = &fit.policy;
    if !(0..).map_while(|step| Some(steps(found, step).len()).filter(|count| *count > 0)).any(|count| count > 2) {
        return Judgement::NotTested("too few outages".to_owned());
    }
    let ranges = policy.lead.iter().any(|(lo, hi)| lo < hi);
    let any_drawn = |attempts: usize| (0..attempts).any(|attempt| drawn(&steps(found, attempt)));
    match (policy.jitter, &policy.base_per_client) {
        (Jitter::None, Some((lo, hi))) if any_drawn(found.attempts()) => {
            Judgement::Pass(format!("each process draws its base once, between {} and {}", print_duration(*lo), print_duration(*hi)))
        }
        (Jitter::None, None) if any_drawn(policy.lead.len()) => Judgement::Pass("in the first waits only".to_owned()),
        (Jitter::None, None) if !ranges => {
            Judgement::Fail(format!("all waits of the same attempt are alike, in {}", counted(found.outages.len() as u64, "outage")))
        }
        (Jitter::None, _) => Judgement::NotTested(format!("waits of the same attempt differ by little: {BUSY}")),
        _ => Judgement::Pass(format!("seen in {}", counted(found.outages.len() as u64, "outage"))),
    }
}

pub(super) fn first_random(found: &Findings, _: Option<Duration>) -> Judgement {
    let waits = steps(found, 0);
    if waits.len() < 3 {
        return no_waits(found).unwrap_or_else(|| Judgement::NotTested("too few outages".to_owned()));
    }
    let (lo, hi) = range(&waits);
    let text = format!("first waits between {} and {}", shown(lo), shown(hi));
    match beyond(&waits, 15.0_f64.max(0.01 * hi)) {
        _ if drawn(&waits) => Judgement::Pass(text),
        late if late * 10 > waits.len() && hi > AT_ONCE_MS => Judgement::NotTested(format!("{text}: {BUSY}")),
        _ => Judgement::Fail(text),
    }
}

pub(super) fn growth(found: &Findings, _: Option<Duration>) -> Judgement {
    let Some(fit) = &found.fit else { return no_waits(found).unwrap_or_else(|| Judgement::NotTested("too few waits".to_owned())) };
    let policy = &fit.policy;
    let grows = match policy.kind {
        ScheduleKind::Exponential => policy.factor > 1.0,
        ScheduleKind::Linear => !policy.step.is_zero(),
        ScheduleKind::Table => policy.table.first() < policy.table.last(),
        _ => false,
    };
    let longest = found.attempts();
    match grows {
        _ if no_schedule(found).is_some() => Judgement::NotTested("no schedule explains the waits".to_owned()),
        _ if longest < 2 => no_second_wait(),
        _ => judged(grows, format!("over {longest} attempts: {}", fit.family.growth.word())),
    }
}

pub(super) fn cap(found: &Findings, limit: Option<Duration>) -> Judgement {
    let (Some(fit), Some(limit)) = (&found.fit, limit) else {
        return no_waits(found).unwrap_or_else(|| Judgement::NotTested("too few waits".to_owned()));
    };
    let (longest, policy) = (found.longest(), &fit.policy);
    // A list of as many delays as there were attempts may have more.
    let open = match policy.kind {
        ScheduleKind::Table => policy.lead.len() + policy.table.len() >= found.attempts(),
        ScheduleKind::Fixed => policy.lead.len() + 1 >= found.attempts(),
        ScheduleKind::Exponential | ScheduleKind::Linear => policy.cap.is_none() && growth_seen(found),
        _ => false,
    };
    match policy.cap {
        _ if longest > limit + LATE.max(limit.mul_f64(LATE_SHARE)) => Judgement::Fail(format!("a wait of {} was seen", shown(ms(longest)))),
        _ if let Some(why) = no_schedule(found) => why,
        _ if found.gave_up.iter().any(|away| away.within.is_some()) => {
            Judgement::NotTested(format!("it did not come back in time; the longest wait seen is {}", shown(ms(longest))))
        }
        _ if found.attempts() < 2 => no_second_wait(),
        Some(cap) => judged(cap <= limit, print_duration(cap)),
        None if open && growth_seen(found) => {
            Judgement::NotTested(format!("waits still grew at {}: ask for more --attempts", shown(ms(longest))))
        }
        None if open => Judgement::NotTested("the end of the list was not seen: ask for more --attempts".to_owned()),
        None => Judgement::Pass(format!("the longest is {}", shown(ms(longest)))),
    }
}

fn growth_seen(found: &Findings) -> bool {
    matches!(growth(found, None), Judgement::Pass(_))
}

pub(super) fn stable_reset(found: &Findings, _: Option<Duration>) -> Judgement {
    let series: Vec<&[f64]> = found.short_lived.iter().map(|outage| outage.waits_ms.as_slice()).filter(|waits| waits.len() > 2).collect();
    let (Some(first), true) = (series.first(), growth_seen(found)) else {
        let why = if growth_seen(found) { "no series of short-lived connections" } else { "waits do not grow" };
        return Judgement::NotTested(why.to_owned());
    };
    // Waits that only a client that counts on has; and the chance that one that does has none of them, by even distributions.
    let fresh = range(&steps(found, 0)).1;
    let beyond = fresh + 15.0_f64.max(0.02 * fresh);
    let counted: Vec<(f64, f64)> = (1..first.len()).map(|step| (first[step], range(&steps(found, step)).1)).collect();
    let longest = counted.iter().map(|(wait, _)| *wait).fold(0.0, f64::max);
    let chance: f64 = counted.iter().map(|(_, most)| (fresh / most.max(fresh)).min(1.0)).product();
    let text =
        format!("longest wait after connections of 100ms: {}; after an outage's first loss at most {}", shown(longest), shown(fresh));
    match longest > beyond {
        true => Judgement::Pass(text),
        false if chance < 0.05 => Judgement::Fail(text),
        false => Judgement::NotTested(format!("{text}: more --attempts would tell")),
    }
}

pub(super) fn returns(found: &Findings, _: Option<Duration>) -> Judgement {
    let asked: Vec<u16> = [1001, NO_STATUS, ABNORMAL, 1011, 1012, 1013].into_iter().filter(|code| found.code(*code).is_some()).collect();
    if found.gave_up.iter().any(|away| away.attempts == 0) {
        return Judgement::Fail("stayed away after a cut".to_owned());
    }
    if let Some(Return::NotWithin(_)) = found.closed_port {
        return Judgement::Fail("stayed away after a refused connection, of a port that was closed for a while".to_owned());
    }
    let away: Vec<String> =
        asked.iter().filter(|code| found.code(**code).is_some_and(|after| after.back.wait().is_none())).map(u16::to_string).collect();
    match away.is_empty() {
        true if asked.len() < 6 || found.outages.is_empty() => Judgement::NotTested(format!("asked {} of 6 codes", asked.len())),
        true if found.closed_port.is_none() => Judgement::NotTested("no connection was refused".to_owned()),
        true => Judgement::Pass("after all of them".to_owned()),
        false => Judgement::Fail(format!("stayed away after {}", away.join(", "))),
    }
}

pub(super) fn unavailable(found: &Findings, _: Option<Duration>) -> Judgement {
    let asked: Vec<_> = found.statuses.iter().filter(|(status, _)| [429, 503].contains(status)).collect();
    if asked.is_empty() {
        return not_asked("");
    }
    let away: Vec<String> = asked.iter().filter(|(_, back)| back.wait().is_none()).map(|(status, _)| status.to_string()).collect();
    match away.is_empty() {
        true if asked.len() < 2 => Judgement::NotTested("only one of them was asked".to_owned()),
        true => Judgement::Pass("after both".to_owned()),
        false => Judgement::Fail(format!("stayed away after {}", away.join(" and "))),
    }
}

pub(super) fn retry_after(found: &Findings, _: Option<Duration>) -> Judgement {
    match found.retry_after {
        None => not_asked(" (slow: leave out --quick)"),
        Some((asked, Return::NotWithin(within))) => {
            Judgement::NotTested(format!("asked for {}, did not come back in {}", print_duration(asked), print_duration(within)))
        }
        Some((asked, Return::After(wait))) => {
            judged(wait + TIMERS >= asked, format!("asked for {}, waited {}", print_duration(asked), shown(ms(wait))))
        }
    }
}

pub(super) fn refused_stays(found: &Findings, _: Option<Duration>) -> Judgement {
    let codes = [1008, 4401].iter().filter_map(|code| found.code(*code)).map(|after| (after.code, after.back));
    let statuses = found.statuses.iter().copied().filter(|(status, _)| [401, 403].contains(status));
    let asked: Vec<(u16, Return)> = codes.chain(statuses).collect();
    if asked.is_empty() {
        return not_asked("");
    }
    let back: Vec<String> = asked.iter().filter(|(_, back)| back.wait().is_some()).map(|(code, _)| code.to_string()).collect();
    match back.is_empty() {
        true if asked.len() < 4 => Judgement::NotTested(format!("asked {} of 4", asked.len())),
        true => Judgement::Pass("after none of them".to_owned()),
        false => Judgement::Fail(format!("came back after {}", back.join(", "))),
    }
}

fn within(seen: Option<Return>, limit: Option<Duration>, what: &str) -> Judgement {
    match (seen, limit) {
        (Some(Return::After(time)), Some(limit)) => judged(time <= limit, format!("{what} after {}", shown(ms(time)))),
        (Some(Return::NotWithin(time)), Some(limit)) if time < limit => {
            Judgement::NotTested(format!("watched for {}", print_duration(time)))
        }
        (Some(Return::NotWithin(time)), _) => Judgement::Fail(format!("nothing in {}", print_duration(time))),
        _ => not_asked(" (slow: leave out --quick)"),
    }
}

pub(super) fn silence(found: &Findings, limit: Option<Duration>) -> Judgement {
    within(found.silence, limit, "a new connection")
}

pub(super) fn patience(found: &Findings, limit: Option<Duration>) -> Judgement {
    within(found.unanswered, limit, "abandoned")
}

pub(super) fn close_end(found: &Findings, limit: Option<Duration>) -> Judgement {
    let trials = &found.held_closes;
    let (Some(limit), Some(hold)) = (limit, trials.iter().map(|trial| trial.hold).max()) else { return not_asked("") };
    let waited = trials.iter().any(|trial| trial.back.wait().is_some() && !trial.came_first());
    let longest = trials.iter().filter_map(|trial| trial.back.wait()).max();
    let count = counted(trials.len() as u64, "trial");
    match longest {
        None => Judgement::NotTested("it did not come back".to_owned()),
        Some(_) if waited && hold < limit => {
            Judgement::NotTested(format!("it came back only when the server had ended TCP, after {}", shown(ms(hold))))
        }
        Some(_) if waited => Judgement::Fail(format!("it came back only when the server had ended TCP, after {}", shown(ms(hold)))),
        Some(longest) => judged(longest <= limit, format!("came back after {} at most, in {count}", shown(ms(longest)))),
    }
}

pub(super) fn quiet_after_close(found: &Findings, _: Option<Duration>) -> Judgement {
    let answered: Vec<_> = found.held_closes.iter().filter(|trial| trial.answered.is_some()).collect();
    let sum = |of: fn(&HeldClose) -> u32| answered.iter().map(|trial| of(trial)).sum::<u32>();
    let (before, after) = (sum(|trial| trial.data_before), sum(|trial| trial.data_after));
    let trials = counted(answered.len() as u64, "trial");
    match () {
        () if found.held_closes.is_empty() => not_asked(""),
        () if answered.is_empty() => Judgement::NotTested("it answered no Close frame".to_owned()),
        () if after > 0 => Judgement::Fail(format!("{} behind its Close frame, in {trials}", counted(after.into(), "data frame"))),
        () if before < DATA_LEAST * answered.len() as u32 => {
            Judgement::NotTested(format!("it hardly sent data before either: {}, in {trials}", counted(before.into(), "data frame")))
        }
        () => Judgement::Pass(format!("none in {trials}, which had {} before", counted(before.into(), "data frame"))),
    }
}

pub(super) fn pings(found: &Findings, _: Option<Duration>) -> Judgement {
    let floods = &found.ping_floods;
    let (Some(sent), Some(least)) = (floods.first().map(|flood| flood.sent), floods.iter().map(|flood| flood.answered).min()) else {
        return not_asked("");
    };
    let trials = counted(floods.len() as u64, "trial");
    if let Some(ended) = floods.iter().find_map(|flood| flood.ended.as_ref()) {
        return Judgement::Fail(format!("ended the connection by {ended}"));
    }
    let text = format!("answered {least} of {sent} at once or more, in {trials}");
    match floods.iter().all(|flood| flood.last) {
        true => Judgement::Pass(text),
        false => Judgement::Fail(format!("{text}, and not the last one")),
    }
}

pub(super) fn one_connection(found: &Findings, _: Option<Duration>) -> Judgement {
    match (found.connections, found.doubles) {
        (0, _) => Judgement::NotTested("no connections".to_owned()),
        (all, 0) => Judgement::Pass(format!("{}, one at a time", counted(all.into(), "connection"))),
        (all, doubles) => Judgement::Fail(format!(
            "{doubles} of {} came beside an open one; at most {} at once",
            counted(all.into(), "connection"),
            found.most_open
        )),
    }
}

pub(super) fn close_answer(found: &Findings, _: Option<Duration>) -> Judgement {
    let asked: Vec<_> = found.codes.iter().filter(|after| after.code != ABNORMAL).collect();
    if asked.is_empty() {
        return not_asked("");
    }
    let wrong: Vec<String> = asked
        .iter()
        .filter(|after| after.answered != Some(after.code))
        .map(|after| format!("{} by {}", after.code, after.answered.map_or_else(|| "nothing".to_owned(), |code| code.to_string())))
        .collect();
    match wrong.is_empty() {
        true => Judgement::Pass(counted(asked.len() as u64, "code")),
        false => Judgement::Fail(format!("answered {}", wrong.join(", "))),
    }
}

#[cfg(test)]
mod tests;
