//! What was learnt, for people: a card of rules, the waits, the policy to paste; for programs the same as JSON; and rows of all waits.

use super::findings::{Findings, HeldClose, Return, shown};
use super::policy::{jitter, policy, toml};
use super::rules::{Judgement, RULES, Rule};
use super::wire_trials::HELD_CODE;
use crate::estimate::{ParameterEstimate, PolicyFit, Quantity};
use crate::number::{counted, word_of};
use crate::units::ms;
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

/// The nearest preset is worth a name up to this distance.
const NEAR: f64 = 0.25;
/// A client that ends TCP sooner than this behind the closing handshake does not wait for the server to.
const WAITS_FOR_FIN: Duration = Duration::from_millis(100);
/// From here on it is said how long a question took.
const SLOW: Duration = Duration::from_secs(10);

/// The card, and what stands behind it.
pub fn text(found: &Findings) -> String {
    let mut out = card(found);
    for doubt in found.doubts() {
        let _ = writeln!(out, "\n{doubt}");
    }
    out.push('\n');
    out.push_str(&waits(found));
    out.push_str(&wire(found));
    out.push_str(&schedule(found));
    out.push_str(&asked(found));
    out
}

/// What has no answer, and what took long.
fn asked(found: &Findings) -> String {
    let mut out = String::new();
    let slow: Vec<String> = slow(found).map(|(words, took)| format!("{words}: {}", shown(ms(took)))).collect();
    if !slow.is_empty() {
        let _ = writeln!(out, "\nSlow questions took: {}", slow.join("; "));
    }
    if !found.not_asked.is_empty() {
        let _ = writeln!(out, "\nNot asked, or no answer: {}", found.not_asked.join("; "));
    }
    out
}

/// Questions that took long.
pub fn slow(found: &Findings) -> impl Iterator<Item = (&str, Duration)> {
    found.asked.iter().filter(|(_, took)| *took >= SLOW).map(|(words, took)| (words.as_str(), *took))
}

/// The rules, those that are broken first.
fn card(found: &Findings) -> String {
    let judged: Vec<(&Rule, Judgement)> = RULES.iter().map(|rule| (rule, rule.judge(found, None))).collect();
    let count = |wanted: fn(&Judgement) -> bool| judged.iter().filter(|(_, judgement)| wanted(judgement)).count();
    let failed = count(|judgement| matches!(judgement, Judgement::Fail(_)));
    let passed = count(|judgement| matches!(judgement, Judgement::Pass(_)));
    let mut out = format!("{} kept, {failed} broken, {} not tested\n\n", counted(passed as u64, "rule"), judged.len() - passed - failed);
    let mut of = |wanted: fn(&Judgement) -> bool| {
        for (rule, judgement) in judged.iter().filter(|(_, judgement)| wanted(judgement)) {
            let (result, seen) = judgement.parts();
            let word = match result {
                "fail" => "FAIL",
                "not tested" => "-",
                kept => kept,
            };
            let _ = writeln!(out, "{word:<5} {:<15} {seen}", rule.name);
            if matches!(judgement, Judgement::Fail(_)) {
                let _ = writeln!(out, "      {:<15} {} {}", "", rule.text, rule.why);
            }
        }
    };
    of(|judgement| matches!(judgement, Judgement::Fail(_)));
    of(|judgement| matches!(judgement, Judgement::Pass(_)));
    of(|judgement| matches!(judgement, Judgement::NotTested(_)));
    out
}

/// Waits by attempt, in a line each.
fn waits(found: &Findings) -> String {
    let mut out = format!(
        "Waits by attempt, of {}; attempts were refused by {}\n",
        counted(found.outages.len() as u64, "outage"),
        found.refuse.words()
    );
    for step in 0..found.attempts() {
        let mut waits: Vec<f64> = found.outages.iter().filter_map(|outage| outage.waits_ms.get(step).copied()).collect();
        waits.sort_by(f64::total_cmp);
        let at = |share: f64| shown(waits[(share * (waits.len() - 1) as f64).round() as usize]);
        let _ = writeln!(out, "  {:>2}  {:>9} to {:>9}, half below {:>9}  ({})", step + 1, at(0.0), at(1.0), at(0.5), waits.len());
    }
    if let Some(least) = found.gave_up.iter().map(|away| away.attempts).min() {
        let _ = writeln!(
            out,
            "  did not come back after {}, {}",
            counted(least.into(), "attempt"),
            counted(found.gave_up.len() as u64, "time")
        );
    }
    if let Some(words) = open_at_once(found) {
        let _ = writeln!(out, "  {words}");
    }
    if found.exits > 0 {
        let times = counted(found.exits.into(), "time");
        let _ = writeln!(out, "  the process ended by itself {times}: client-1.log and so on have what it printed");
    }
    out
}

/// What was on the wire.
fn wire(found: &Findings) -> String {
    let mut out = String::new();
    for [what, seen] in held_close(found).into_iter().chain(ping_flood(found)) {
        let _ = writeln!(out, "\n{what}\n  {seen}");
    }
    out
}

/// A time, or the shortest and the longest.
fn span(times: impl Iterator<Item = Duration>) -> String {
    let mut times: Vec<Duration> = times.collect();
    times.sort();
    match (times.first(), times.last()) {
        (Some(least), Some(most)) if ms(*most - *least) >= 1.0 => format!("{} to {}", shown(ms(*least)), shown(ms(*most))),
        (Some(one), _) => shown(ms(*one)),
        _ => "nothing".to_owned(),
    }
}

fn range(numbers: impl Iterator<Item = u32> + Clone) -> String {
    match (numbers.clone().min().unwrap_or_default(), numbers.max().unwrap_or_default()) {
        (least, most) if least < most => format!("{least} to {most}"),
        (one, _) => one.to_string(),
    }
}

/// What was done around a Close frame whose sender kept TCP open, and how often it was tried: what was asked, and what was seen.
pub fn held_close(found: &Findings) -> Option<[String; 2]> {
    let trials = &found.held_closes;
    if trials.is_empty() {
        return None;
    }
    let answered: Vec<Duration> = trials.iter().filter_map(|trial| trial.answered).collect();
    let (ended, open): (Vec<Return>, Vec<Return>) = trials.iter().map(|trial| trial.hung_up).partition(|hung_up| hung_up.wait().is_some());
    let (back, away): (Vec<Return>, Vec<Return>) = trials.iter().map(|trial| trial.back).partition(|back| back.wait().is_some());
    let mut said = Vec::new();
    match answered.len() {
        0 => said.push("did not answer it".to_owned()),
        all if all == trials.len() => said.push(format!("answered it after {}", span(answered.into_iter()))),
        some => said.push(format!("answered it in {some} trials")),
    }
    let resets = trials.iter().filter(|trial| trial.by_reset).count();
    if !ended.is_empty() {
        let longest = ended.iter().map(|one| one.time()).max().unwrap_or_default();
        let waits = if longest < WAITS_FOR_FIN { ", without waiting for the server's FIN" } else { "" };
        let by = if resets > 0 { "sent RST" } else { "sent its FIN" };
        said.push(format!("{by} {} later{waits}", span(ended.iter().map(|one| one.time()))));
    }
    if !open.is_empty() {
        said.push(format!("sent neither FIN nor RST for {} and longer", span(open.iter().map(|one| one.time()))));
    }
    let [before, between, after] =
        [|trial: &HeldClose| trial.data_before, |trial: &HeldClose| trial.data_unanswered, |trial: &HeldClose| trial.data_after]
            .map(|of| range(trials.iter().map(of)));
    let late = trials.iter().filter_map(|trial| trial.last_unanswered).max();
    let late = late.map(|late| format!(" (the last {} after the server's)", shown(ms(late)))).unwrap_or_default();
    said.push(format!("data frames: {before} before the Close frames, {between} between them{late}, {after} after its own"));
    if !back.is_empty() {
        let first = trials.iter().filter(|trial| trial.came_first()).count();
        let hold = span(trials.iter().map(|trial| trial.hold));
        let who = match first {
            0 => format!("when the server had ended TCP after {hold}"),
            all if all == back.len() => "while the server still kept TCP open".to_owned(),
            some => format!("{some} times while the server still kept TCP open"),
        };
        said.push(format!("came back {} after the server's Close frame, {who}", span(back.iter().map(|one| one.time()))));
    }
    if !away.is_empty() {
        said.push(format!("stayed away for {}", span(away.iter().map(|one| one.time()))));
    }
    let what = format!("{HELD_CODE}, and TCP kept open ({})", counted(trials.len() as u64, "trial"));
    Some([what, said.join("; ")])
}

/// What was done about many pings at once, and how often it was tried: what was asked, and what was seen.
pub fn ping_flood(found: &Findings) -> Option<[String; 2]> {
    let floods = &found.ping_floods;
    let first = floods.first()?;
    let last = if floods.iter().all(|flood| flood.last) { "the last among them" } else { "not always the last" };
    let later = match floods.iter().filter(|flood| flood.later).count() {
        all if all == floods.len() => "and one more two seconds later".to_owned(),
        some => format!("and one more two seconds later in {some} of {}", counted(floods.len() as u64, "trial")),
    };
    let mut ended: Vec<&str> = floods.iter().filter_map(|flood| flood.ended.as_deref()).collect();
    ended.sort_unstable();
    ended.dedup();
    let stayed = if ended.is_empty() { "stayed connected".to_owned() } else { format!("ended the connection by {}", ended.join(", ")) };
    let (before, after) = (range(floods.iter().map(|flood| flood.data_before)), range(floods.iter().map(|flood| flood.data_after)));
    let seen = format!(
        "answered {}, {last}, {later}; {stayed}; data frames: {before} in {} before them, {after} in {} after",
        range(floods.iter().map(|flood| flood.answered)),
        shown(ms(first.before)),
        shown(ms(first.after))
    );
    Some([format!("{} pings at once ({})", first.sent, counted(floods.len() as u64, "trial")), seen])
}

/// How many connections a client ever had open at once; `None`: none was.
pub fn open_at_once(found: &Findings) -> Option<String> {
    (found.most_open > 0)
        .then(|| format!("at most {} open at once, of {}", found.most_open, counted(found.connections.into(), "connection")))
}

/// The policy that fits.
fn schedule(found: &Findings) -> String {
    let (Some(fit), Some(policy)) = (&found.fit, policy(found)) else { return "\nToo few waits for a schedule.\n".to_owned() };
    let mut out = "\nThe schedule that explains them best\n".to_owned();
    for estimate in &fit.estimates {
        let [name, value, lo, hi] = number(estimate);
        let _ = writeln!(out, "  {name:<8} {value:>9}   95 % between {lo} and {hi}");
    }
    for words in goodness(fit).into_iter().chain(nearest(found)) {
        let _ = writeln!(out, "  {words}");
    }
    let _ = writeln!(out, "\n  {}", toml(&policy));
    out
}

/// How well a schedule fits, in sentences.
pub fn goodness(fit: &PolicyFit) -> Vec<String> {
    let good = &fit.goodness;
    let outside = (good.outside * good.waits as f64).round();
    let are = word_of(outside as u64, "is", "are");
    let mut all = match good.is_good() {
        true => vec![format!("{} waits fit, {outside} {are} outside", good.waits)],
        false => vec![format!(
            "DOES NOT FIT: of {} waits {outside} {are} outside{}. This client waits by a rule that the model cannot say.",
            good.waits,
            good.chance.map(|chance| format!(", and the others have a chance of {chance:.1e}")).unwrap_or_default()
        )],
    };
    if fit.ahead.is_some_and(|ahead| ahead < 10.0) {
        all.push("another schedule explains them nearly as well: more --outages tell them apart".to_owned());
    }
    all
}

/// The nearest preset, if it is near.
pub fn nearest(found: &Findings) -> Option<String> {
    let near = found.near.first().filter(|near| near.distance < NEAR)?;
    Some(format!("nearest preset: {} (waits differ by {:.1} % on average)", near.preset.id, 100.0 * near.distance))
}

fn name(quantity: Quantity) -> String {
    match quantity {
        Quantity::Base => "base".to_owned(),
        Quantity::Step => "step".to_owned(),
        Quantity::Factor => "factor".to_owned(),
        Quantity::Cap => "cap".to_owned(),
        Quantity::Share => "jitter".to_owned(),
        Quantity::Width => "width".to_owned(),
        Quantity::Delay(at) => format!("delay {}", at + 1),
    }
}

/// A number in words: its name, its value, and the ends of its interval.
pub fn number(estimate: &ParameterEstimate) -> [String; 4] {
    let shown = |value: f64| match estimate.quantity {
        Quantity::Factor => format!("{value:.3}"),
        Quantity::Share => format!("{:.1} %", 100.0 * value),
        _ => shown(value),
    };
    [name(estimate.quantity), shown(estimate.value), shown(estimate.lo), shown(estimate.hi)]
}

/// All of it, for programs. Times in milliseconds.
pub fn json(found: &Findings) -> Value {
    let back = |back: Return| match back {
        Return::After(wait) => json!({ "back": true, "after_ms": ms(wait) }),
        Return::NotWithin(time) => json!({ "back": false, "within_ms": ms(time) }),
    };
    let rules: Vec<Value> = RULES
        .iter()
        .map(|rule| {
            let judgement = rule.judge(found, None);
            let (result, seen) = judgement.parts();
            json!({ "rule": rule.name, "result": result, "seen": seen, "text": rule.text, "why": rule.why })
        })
        .collect();
    let codes: Vec<Value> =
        found.codes.iter().map(|after| json!({ "code": after.code, "answered": after.answered, "result": back(after.back) })).collect();
    let statuses: Vec<Value> = found.statuses.iter().map(|(status, result)| json!({ "status": status, "result": back(*result) })).collect();
    json!({
        "schema_version": 1,
        "rules": rules,
        "outages": found.outages.iter().map(|outage| json!({ "client": outage.client, "waits_ms": outage.waits_ms })).collect::<Vec<_>>(),
        "short_lived": found.short_lived.iter().map(|outage| &outage.waits_ms).collect::<Vec<_>>(),
        "gave_up_after": found.gave_up.iter().map(|away| away.attempts).collect::<Vec<_>>(),
        "exits": found.exits,
        "codes": codes,
        "statuses": statuses,
        "held_closes": found.held_closes.iter().map(|trial| json!({
            "code": HELD_CODE, "answered_after_ms": trial.answered.map(ms), "ended_tcp": trial.hung_up.wait().is_some(),
            "tcp_ms": ms(trial.hung_up.time()), "by_reset": trial.by_reset, "hold_ms": ms(trial.hold), "data_before": trial.data_before,
            "data_between": trial.data_unanswered, "last_between_ms": trial.last_unanswered.map(ms), "data_after": trial.data_after,
            "result": back(trial.back),
        })).collect::<Vec<_>>(),
        "ping_floods": found.ping_floods.iter().map(|flood| json!({
            "sent": flood.sent, "answered": flood.answered, "answered_last": flood.last, "answered_later": flood.later, "ended": flood.ended,
            "data_before": flood.data_before, "before_ms": ms(flood.before), "data_after": flood.data_after, "after_ms": ms(flood.after),
        })).collect::<Vec<_>>(),
        "retry_after": found.retry_after.map(|(asked, result)| json!({ "asked_ms": ms(asked), "result": back(result) })),
        "refused_by": found.refuse.words(),
        "closed_port": found.closed_port.map(back),
        "asked": found.asked.iter().map(|(words, took)| json!({ "question": words, "took_ms": ms(*took) })).collect::<Vec<_>>(),
        "not_asked": found.not_asked,
        "silence": found.silence.map(back),
        "unanswered": found.unanswered.map(back),
        "cut_short": found.cut_short,
        "timers_late_p90_ms": ms(found.late),
        "connections": found.connections,
        "beside_an_open_one": found.doubles,
        "open_at_once_most": found.most_open,
        "schedule": found.fit.as_ref().map(schedule_json),
        "reconnect": policy(found).map(|policy| toml(&policy)),
        "nearest": found.near.iter().map(|near| json!({ "preset": near.preset.id, "distance": near.distance })).collect::<Vec<_>>(),
    })
}

fn schedule_json(fit: &PolicyFit) -> Value {
    let numbers: Vec<Value> =
        fit.estimates.iter().map(|one| json!({ "name": name(one.quantity), "value": one.value, "low": one.lo, "high": one.hi })).collect();
    json!({
        "growth": fit.family.growth.word(), "jitter": jitter(&fit.policy.jitter).0, "numbers": numbers, "fits": fit.goodness.is_good(),
        "waits": fit.goodness.waits, "outside": fit.goodness.outside, "chance": fit.goodness.chance, "ahead": fit.ahead,
    })
}

/// A row for each wait.
pub fn csv(found: &Findings) -> String {
    let mut out = "outage,client,attempt,wait_ms\n".to_owned();
    for (number, outage) in found.outages.iter().enumerate() {
        for (attempt, wait) in outage.waits_ms.iter().enumerate() {
            let _ = writeln!(out, "{},{},{},{wait:.3}", number + 1, outage.client, attempt + 1);
        }
    }
    out
}
