//! What was learnt, for people: a card of rules, the waits, the policy to paste; for programs the same as JSON; and rows of all waits.

use super::findings::{Findings, Return, shown};
use super::policy::{jitter, policy, toml};
use super::rules::{Judgement, RULES, Rule};
use crate::estimate::{ParameterEstimate, PolicyFit, Quantity};
use crate::number::{counted, word_of};
use crate::units::ms;
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

/// The nearest preset is worth a name up to this distance.
const NEAR: f64 = 0.25;
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
    if found.exits > 0 {
        let times = counted(found.exits.into(), "time");
        let _ = writeln!(out, "  the process ended by itself {times}: client-1.log and so on have what it printed");
    }
    out
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
