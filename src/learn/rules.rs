//! Rules of good behaviour at a reconnect, each with its reason and its source, and what a client makes of them.

use super::findings::{Findings, Return};
use crate::close::{ABNORMAL, NO_STATUS};
use crate::reconnect::{Jitter, ScheduleKind};
use crate::units::{ms, parse_duration, print_duration};
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

/// A rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// As in `--require`.
    pub name: &'static str,
    /// In a sentence.
    pub text: &'static str,
    /// What happens otherwise, and where it is written.
    pub why: &'static str,
    /// Judges; the limit is of `--require NAME<TIME`, or the rule's own.
    judge: fn(&Findings, Option<Duration>) -> Judgement,
    /// The limit, where the rule has one.
    pub limit: Option<Duration>,
}

const MINUTE: Duration = Duration::from_secs(60);
/// What timers may be early by.
const TIMERS: Duration = Duration::from_millis(20);

/// All, in the order of a card.
pub const RULES: [Rule; 13] = [
    Rule {
        name: "jitter",
        text: "Waits are random.",
        why: "Clients that were cut together come back together otherwise (AWS Architecture Blog, Exponential Backoff And Jitter, 2015).",
        judge: jitter,
        limit: None,
    },
    Rule {
        name: "first-random",
        text: "The first wait is random and not zero.",
        why: "RFC 6455 §7.2.3: the first attempt after an abnormal closure is to be delayed by a random time.",
        judge: first_random,
        limit: None,
    },
    Rule {
        name: "growth",
        text: "Waits grow while the server cannot be reached.",
        why: "RFC 6455 §7.2.3: further attempts are to be delayed by longer and longer times.",
        judge: growth,
        limit: None,
    },
    Rule {
        name: "cap",
        text: "No wait is longer than a minute.",
        why: "A user who waits longer takes the application for dead.",
        judge: cap,
        limit: Some(MINUTE),
    },
    Rule {
        name: "stable-reset",
        text: "Waits begin anew only after a connection that lasted.",
        why: "A server that accepts and dies at once is hit at the shortest wait otherwise, for as long as it is ill.",
        judge: stable_reset,
        limit: None,
    },
    Rule {
        name: "returns",
        text: "It comes back after a cut, 1001, 1005, 1006, 1011, 1012 and 1013.",
        why: "Servers send these when they restart or are overloaded (IANA registry of close codes); a client that stays away needs a reload.",
        judge: returns,
        limit: None,
    },
    Rule {
        name: "unavailable",
        text: "It comes back after 429 and 503.",
        why: "Both say that it is too early, not that it is useless (RFC 6585 §4, RFC 9110 §15.6.4).",
        judge: unavailable,
        limit: None,
    },
    Rule {
        name: "retry-after",
        text: "It waits as long as Retry-After asks.",
        why: "A server under load has no other way to say when (RFC 9110 §10.2.3). Browsers do not show the header to pages.",
        judge: retry_after,
        limit: None,
    },
    Rule {
        name: "refused-stays",
        text: "It does not come back by itself after 1008, 4401, 401 and 403.",
        why: "The server has said that it does not want this client: the same attempt again gets the same answer, for ever.",
        judge: refused_stays,
        limit: None,
    },
    Rule {
        name: "silence",
        text: "It notices within a minute that the server is gone without a word.",
        why: "A cut cable sends neither FIN nor RST; without a heartbeat the application looks alive and is not.",
        judge: silence,
        limit: Some(MINUTE),
    },
    Rule {
        name: "patience",
        text: "It abandons an opening handshake that is not answered within a minute.",
        why: "A server whose queue is full accepts connections and answers none: without a time-out the client hangs there.",
        judge: patience,
        limit: Some(MINUTE),
    },
    Rule {
        name: "one-connection",
        text: "It never has two connections open.",
        why: "Two open connections of one client double its messages, and the load of a herd.",
        judge: one_connection,
        limit: None,
    },
    Rule {
        name: "close-answer",
        text: "It answers a Close frame with the same code.",
        why: "RFC 6455 §5.5.1: an endpoint that gets a Close frame sends one back, typically with the code that it got.",
        judge: close_answer,
        limit: None,
    },
];

impl Rule {
    /// What a client makes of it, with another limit if one is given.
    pub fn judge(&self, found: &Findings, limit: Option<Duration>) -> Judgement {
        (self.judge)(found, limit.or(self.limit))
    }
}

/// Reads `jitter,cap<60s`.
///
/// # Errors
/// A name that is no rule, a limit where the rule has none, a time that is none.
pub fn requirements(text: &str) -> Result<Vec<(&'static Rule, Option<Duration>)>, String> {
    text.split(',').map(|one| requirement(one.trim())).collect()
}

fn requirement(text: &str) -> Result<(&'static Rule, Option<Duration>), String> {
    let (name, limit) = text.split_once('<').map_or((text, None), |(name, limit)| (name.trim(), Some(limit.trim())));
    let names = || RULES.iter().map(|rule| rule.name);
    let rule = RULES.iter().find(|rule| rule.name == name).ok_or_else(|| {
        let near = crate::units::nearest(name, names()).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        format!("unknown rule \"{name}\"{near} Rules: {}", names().collect::<Vec<_>>().join(", "))
    })?;
    let limit = limit.map(|limit| match rule.limit {
        Some(_) => parse_duration(limit).map_err(|error| format!("limit of {name}: {error}")),
        None => Err(format!("{name} has no limit")),
    });
    Ok((rule, limit.transpose()?))
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

fn shown(time_ms: f64) -> String {
    print_duration(Duration::from_millis(time_ms.round() as u64))
}

fn jitter(found: &Findings, _: Option<Duration>) -> Judgement {
    let Some(fit) = &found.fit else { return no_waits(found).unwrap_or_else(|| Judgement::NotTested("too few waits".to_owned())) };
    if let Some(why) = no_schedule(found) {
        return why;
    }
    let policy = &fit.policy;
    if !(0..).map_while(|step| Some(steps(found, step).len()).filter(|count| *count > 0)).any(|count| count > 2) {
        return Judgement::NotTested("too few outages".to_owned());
    }
    let ranges = policy.lead.iter().any(|(lo, hi)| lo < hi);
    match (policy.jitter, &policy.base_per_client) {
        (Jitter::None, Some((lo, hi))) => {
            Judgement::Pass(format!("each process draws its base once, between {} and {}", print_duration(*lo), print_duration(*hi)))
        }
        (Jitter::None, None) if ranges => Judgement::Pass("in the first waits only".to_owned()),
        (Jitter::None, None) => Judgement::Fail(format!("all waits of the same attempt are alike, in {} outages", found.outages.len())),
        _ => Judgement::Pass(format!("seen in {} outages", found.outages.len())),
    }
}

fn first_random(found: &Findings, _: Option<Duration>) -> Judgement {
    let waits = steps(found, 0);
    if waits.len() < 3 {
        return no_waits(found).unwrap_or_else(|| Judgement::NotTested("too few outages".to_owned()));
    }
    let (lo, hi) = range(&waits);
    let late = |wait: &&f64| **wait - lo > 15.0_f64.max(0.01 * hi);
    let random = waits.iter().filter(late).count() * 10 > waits.len();
    judged(random && hi > 50.0, format!("first waits between {} and {}", shown(lo), shown(hi)))
}

fn growth(found: &Findings, _: Option<Duration>) -> Judgement {
    let Some(fit) = &found.fit else { return no_waits(found).unwrap_or_else(|| Judgement::NotTested("too few waits".to_owned())) };
    let policy = &fit.policy;
    let grows = match policy.kind {
        ScheduleKind::Exponential => policy.factor > 1.0,
        ScheduleKind::Linear => !policy.step.is_zero(),
        ScheduleKind::Table => policy.table.first() < policy.table.last(),
        _ => false,
    };
    let longest = found.outages.iter().map(|outage| outage.waits_ms.len()).max().unwrap_or_default();
    match grows {
        _ if no_schedule(found).is_some() => Judgement::NotTested("no schedule explains the waits".to_owned()),
        _ if longest < 2 => Judgement::NotTested("no outage had a second wait".to_owned()),
        _ => judged(grows, format!("over {longest} attempts: {}", fit.family.growth.word())),
    }
}

fn cap(found: &Findings, limit: Option<Duration>) -> Judgement {
    let (Some(fit), Some(limit)) = (&found.fit, limit) else {
        return no_waits(found).unwrap_or_else(|| Judgement::NotTested("too few waits".to_owned()));
    };
    let (longest, policy) = (found.longest(), &fit.policy);
    let grows = policy.cap.is_none() && matches!(policy.kind, ScheduleKind::Exponential | ScheduleKind::Linear) && growth_seen(found);
    match policy.cap {
        _ if longest > limit => Judgement::Fail(format!("a wait of {} was seen", shown(ms(longest)))),
        _ if let Some(why) = no_schedule(found) => why,
        _ if found.gave_up.len() > found.exits as usize => {
            Judgement::NotTested(format!("it did not come back in time; the longest wait seen is {}", shown(ms(longest))))
        }
        Some(cap) => judged(cap <= limit, print_duration(cap)),
        None if grows => Judgement::NotTested(format!("waits still grew at {}: ask for more --attempts", shown(ms(longest)))),
        None => Judgement::Pass(format!("the longest of the list is {}", shown(ms(longest)))),
    }
}

fn growth_seen(found: &Findings) -> bool {
    matches!(growth(found, None), Judgement::Pass(_))
}

fn stable_reset(found: &Findings, _: Option<Duration>) -> Judgement {
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

fn returns(found: &Findings, _: Option<Duration>) -> Judgement {
    let asked: Vec<u16> = [1001, NO_STATUS, ABNORMAL, 1011, 1012, 1013].into_iter().filter(|code| found.code(*code).is_some()).collect();
    if found.gave_up.contains(&0) {
        return Judgement::Fail("stayed away after a cut".to_owned());
    }
    if let Some(Return::NotWithin(_)) = found.closed_port {
        return Judgement::Fail("stayed away after a refused connection, of a port that was closed for a while".to_owned());
    }
    let away: Vec<String> =
        asked.iter().filter(|code| found.code(**code).is_some_and(|after| after.back.wait().is_none())).map(u16::to_string).collect();
    match away.is_empty() {
        true if asked.len() < 6 || found.outages.is_empty() => Judgement::NotTested(format!("asked {} of 6 codes", asked.len())),
        true => Judgement::Pass("after all of them".to_owned()),
        false => Judgement::Fail(format!("stayed away after {}", away.join(", "))),
    }
}

fn unavailable(found: &Findings, _: Option<Duration>) -> Judgement {
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

fn retry_after(found: &Findings, _: Option<Duration>) -> Judgement {
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

fn refused_stays(found: &Findings, _: Option<Duration>) -> Judgement {
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

fn silence(found: &Findings, limit: Option<Duration>) -> Judgement {
    within(found.silence, limit, "a new connection")
}

fn patience(found: &Findings, limit: Option<Duration>) -> Judgement {
    within(found.unanswered, limit, "abandoned")
}

fn one_connection(found: &Findings, _: Option<Duration>) -> Judgement {
    match (found.connections, found.doubles) {
        (0, _) => Judgement::NotTested("no connections".to_owned()),
        (all, 0) => Judgement::Pass(format!("{all} connections, one at a time")),
        (all, doubles) => Judgement::Fail(format!("{doubles} of {all} connections came beside an open one")),
    }
}

fn close_answer(found: &Findings, _: Option<Duration>) -> Judgement {
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
        true => Judgement::Pass(format!("{} codes", asked.len())),
        false => Judgement::Fail(format!("answered {}", wrong.join(", "))),
    }
}
