//! What was learnt, for people: a card of rules, the waits, the policy to paste; for programs the same as JSON; and rows of all waits.

use super::findings::{Findings, Return};
use super::rules::{Judgement, RULES, Rule};
use crate::close::{ABNORMAL, NO_STATUS};
use crate::estimate::{ParameterEstimate, PolicyFit, Quantity};
use crate::reconnect::{CapStage, Jitter, Policy, ScheduleKind};
use crate::units::{ms, print_duration};
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

/// The nearest preset is worth a name up to this distance.
const NEAR: f64 = 0.25;

/// `reconnect = { … }` of a scenario.
pub fn toml(policy: &Policy) -> String {
    let time = |time: Duration| format!("\"{}\"", print_duration(time));
    let times = |times: &[Duration]| format!("[{}]", times.iter().map(|one| time(*one)).collect::<Vec<_>>().join(", "));
    let mut inner = Vec::new();
    let mut beside = Vec::new();
    let word = match policy.kind {
        ScheduleKind::None => return "reconnect = \"none\"".to_owned(),
        ScheduleKind::Fixed | ScheduleKind::Poll(_) => {
            inner.push(format!("delay = {}", time(policy.base)));
            "fixed"
        }
        ScheduleKind::Linear => {
            inner.extend([format!("base = {}", time(policy.base)), format!("step = {}", time(policy.step))]);
            "linear"
        }
        ScheduleKind::Exponential => {
            inner.extend([format!("base = {}", time(policy.base)), format!("factor = {:?}", (policy.factor * 1e4).round() / 1e4)]);
            "exponential"
        }
        ScheduleKind::Table => {
            inner.push(format!("delays = {}", times(&policy.table)));
            "table"
        }
    };
    let cap = policy.cap.map(|cap| format!("cap = {}", time(cap)));
    if matches!(policy.kind, ScheduleKind::Linear | ScheduleKind::Exponential) {
        inner.extend(cap)
    } else {
        beside.extend(cap)
    }
    if policy.cap.is_some() && policy.cap_stage != CapStage::Raw {
        beside.push(format!("cap_stage = \"{}\"", policy.cap_stage));
    }
    let (jitter, numbers) = jitter(&policy.jitter);
    let jitter = format!("jitter = \"{jitter}\"");
    if policy.kind == ScheduleKind::Exponential {
        inner.push(jitter)
    } else {
        beside.push(jitter)
    }
    beside.extend(numbers);
    if let Some((lo, hi)) = policy.base_per_client {
        beside.push(format!("base_per_client = {}", times(&[lo, hi])));
    }
    if !policy.lead.is_empty() {
        let lead: Vec<String> = policy.lead.iter().map(|(lo, hi)| times(&[*lo, *hi])).collect();
        beside.push(format!("lead = [{}]", lead.join(", ")));
    }
    if let Some(most) = policy.max_retries {
        beside.push(format!("max_retries = {most}"));
    }
    if !policy.stop_codes.is_empty() {
        let codes: Vec<String> = policy.stop_codes.to_string().split(", ").map(|code| format!("\"{code}\"")).collect();
        beside.push(format!("stop_codes = [{}]", codes.join(", ")));
    }
    let all: Vec<String> = std::iter::once(format!("{word} = {{ {} }}", inner.join(", "))).chain(beside).collect();
    format!("reconnect = {{ {} }}", all.join(", "))
}

/// The word of a jitter, and its numbers as settings.
fn jitter(jitter: &Jitter) -> (&'static str, Vec<String>) {
    let time = |name: &str, time: &Duration| format!("{name} = \"{}\"", print_duration(*time));
    // To four digits, which is more than any interval tells, and with a point, as TOML wants it.
    let number = |name: &str, number: f64| format!("{name} = {:?}", (number * 1e4).round() / 1e4);
    match jitter {
        Jitter::None => ("none", Vec::new()),
        full if *full == Jitter::FULL => ("full", Vec::new()),
        equal if *equal == Jitter::EQUAL => ("equal", Vec::new()),
        Jitter::Mult { lo, hi } => ("mult", vec![number("jitter_lo", *lo), number("jitter_hi", *hi)]),
        Jitter::Add { lo, hi } => ("add", vec![time("jitter_lo", lo), time("jitter_hi", hi)]),
        Jitter::OffsetFull { offset } => ("offset_full", vec![time("offset", offset)]),
        Jitter::Between { offset } => ("between", vec![time("offset", offset)]),
        Jitter::Comb10 { x } => ("comb10", vec![number("jitter_x", *x)]),
        Jitter::Decorrelated => ("decorrelated", Vec::new()),
    }
}

/// The policy that was found, with what only the questions say: after which codes it stays away, and when it gives up.
pub fn policy(found: &Findings) -> Option<Policy> {
    let mut policy = found.fit.as_ref()?.policy.clone();
    let away: Vec<String> = found
        .codes
        .iter()
        .filter(|after| after.back.wait().is_none() && ![NO_STATUS, ABNORMAL].contains(&after.code))
        .map(|after| after.code.to_string())
        .collect();
    policy.stop_codes = crate::reconnect::Codes::parse(&away).unwrap_or_default();
    // A process that died early is none that gave up.
    let most = found.outages.iter().map(|outage| outage.waits_ms.len()).max().unwrap_or_default();
    policy.max_retries = found.gave_up.iter().min().copied().filter(|least| *least as usize == most);
    Some(policy)
}

/// The card, and what stands behind it.
pub fn text(found: &Findings) -> String {
    let mut out = card(found);
    if let Some(why) = &found.cut_short {
        let _ = writeln!(out, "\nThe questions ended early: {why}");
    }
    out.push('\n');
    out.push_str(&waits(found));
    out.push_str(&schedule(found));
    out
}

/// The rules, those that are broken first.
fn card(found: &Findings) -> String {
    let judged: Vec<(&Rule, Judgement)> = RULES.iter().map(|rule| (rule, rule.judge(found, None))).collect();
    let count = |wanted: fn(&Judgement) -> bool| judged.iter().filter(|(_, judgement)| wanted(judgement)).count();
    let failed = count(|judgement| matches!(judgement, Judgement::Fail(_)));
    let passed = count(|judgement| matches!(judgement, Judgement::Pass(_)));
    let mut out = format!("{passed} rules kept, {failed} broken, {} not tested\n\n", judged.len() - passed - failed);
    let mut of = |wanted: fn(&Judgement) -> bool| {
        for (rule, judgement) in judged.iter().filter(|(_, judgement)| wanted(judgement)) {
            let (word, seen) = match judgement {
                Judgement::Pass(seen) => ("pass", seen),
                Judgement::Fail(seen) => ("FAIL", seen),
                Judgement::NotTested(why) => ("-", why),
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
    let longest = found.outages.iter().map(|outage| outage.waits_ms.len()).max().unwrap_or_default();
    let mut out = format!("Waits by attempt, of {} outages\n", found.outages.len());
    for step in 0..longest {
        let mut waits: Vec<f64> = found.outages.iter().filter_map(|outage| outage.waits_ms.get(step).copied()).collect();
        waits.sort_by(f64::total_cmp);
        let at = |share: f64| shown(waits[(share * (waits.len() - 1) as f64).round() as usize]);
        let _ = writeln!(out, "  {:>2}  {:>9} to {:>9}, half below {:>9}  ({})", step + 1, at(0.0), at(1.0), at(0.5), waits.len());
    }
    if let Some(least) = found.gave_up.iter().min() {
        let _ = writeln!(out, "  gave up after {least} attempts, {} times", found.gave_up.len());
    }
    if found.exits > 0 {
        let _ = writeln!(out, "  the process ended by itself {} times: client.log has what it printed", found.exits);
    }
    out
}

/// The policy that fits.
fn schedule(found: &Findings) -> String {
    let (Some(fit), Some(policy)) = (&found.fit, policy(found)) else { return "\nToo few waits for a schedule.\n".to_owned() };
    let mut out = "\nThe schedule that explains them best\n".to_owned();
    for estimate in &fit.estimates {
        let (value, lo, hi) = numbers(estimate);
        let _ = writeln!(out, "  {:<8} {value:>9}   95 % between {lo} and {hi}", name(estimate.quantity));
    }
    let good = &fit.goodness;
    let outside = (good.outside * good.waits as f64).round();
    match good.is_good() {
        true => out.push_str(&format!("  {} waits fit, {outside} are outside\n", good.waits)),
        false => out.push_str(&format!(
            "  DOES NOT FIT: of {} waits {outside} are outside{}. This client waits by a rule that the model cannot say.\n",
            good.waits,
            good.chance.map(|chance| format!(", and the others have a chance of {chance:.1e}")).unwrap_or_default()
        )),
    }
    if fit.ahead.is_some_and(|ahead| ahead < 10.0) {
        out.push_str("  another schedule explains them nearly as well: more --outages tell them apart\n");
    }
    if let Some(near) = found.near.first().filter(|near| near.distance < NEAR) {
        let _ = writeln!(out, "  nearest preset: {} (waits differ by {:.1} % on average)", near.preset.id, 100.0 * near.distance);
    }
    let _ = writeln!(out, "\n  {}", toml(&policy));
    out
}

fn shown(time_ms: f64) -> String {
    print_duration(Duration::from_millis(time_ms.round() as u64))
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

fn numbers(estimate: &ParameterEstimate) -> (String, String, String) {
    let shown = |value: f64| match estimate.quantity {
        Quantity::Factor => format!("{value:.3}"),
        Quantity::Share => format!("{:.1} %", 100.0 * value),
        _ => shown(value),
    };
    (shown(estimate.value), shown(estimate.lo), shown(estimate.hi))
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
            let (result, seen) = match rule.judge(found, None) {
                Judgement::Pass(seen) => ("pass", seen),
                Judgement::Fail(seen) => ("fail", seen),
                Judgement::NotTested(seen) => ("not tested", seen),
            };
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
        "gave_up_after": found.gave_up,
        "exits": found.exits,
        "codes": codes,
        "statuses": statuses,
        "retry_after": found.retry_after.map(|(asked, result)| json!({ "asked_ms": ms(asked), "result": back(result) })),
        "silence": found.silence.map(back),
        "unanswered": found.unanswered.map(back),
        "cut_short": found.cut_short,
        "connections": found.connections,
        "beside_an_open_one": found.doubles,
        "schedule": found.fit.as_ref().map(schedule_json),
        "reconnect": policy(found).map(|policy| toml(&policy)),
        "nearest": found.near.iter().take(3).map(|near| json!({ "preset": near.preset.id, "distance": near.distance })).collect::<Vec<_>>(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconnect::{Codes, presets};

    /// What is printed is what a scenario reads.
    #[test]
    fn a_printed_policy_is_read_back() {
        let own = Policy {
            lead: vec![(Duration::ZERO, Duration::from_secs(5))],
            stop_codes: Codes::parse(&["1008", "4400"]).unwrap(),
            max_retries: Some(5),
            ..Policy::exponential(
                Duration::from_millis(130),
                1.7,
                Some(Duration::from_secs(2)),
                Jitter::Mult { lo: 0.6699999999, hi: 1.33 },
            )
        };
        let simple = presets()
            .map(|preset| preset.policy.clone())
            .filter(|policy| !matches!(policy.kind, ScheduleKind::Poll(_) | ScheduleKind::None));
        for policy in simple.chain([own]) {
            let text = format!("duration = \"5s\"\n[target.embedded]\n[clients.web]\ncount = 1\n{}\n", toml(&policy));
            let plan = crate::scenario::load(
                &crate::scenario::Source::Text { name: "learned".to_owned(), text: text.clone() },
                &crate::scenario::Overrides::default(),
            )
            .unwrap_or_else(|errors| panic!("{errors}\n{text}"));
            let read = &plan.cohorts[0].reconnect;
            assert_eq!(
                (
                    read.kind,
                    read.base,
                    read.step,
                    &read.table,
                    read.cap,
                    read.cap_stage,
                    &read.lead,
                    read.base_per_client,
                    read.max_retries
                ),
                (
                    policy.kind,
                    policy.base,
                    policy.step,
                    &policy.table,
                    policy.cap,
                    policy.cap_stage,
                    &policy.lead,
                    policy.base_per_client,
                    policy.max_retries
                ),
                "{text}"
            );
            assert!((read.factor - policy.factor).abs() < 1e-3, "{text}");
            assert_eq!(std::mem::discriminant(&read.jitter), std::mem::discriminant(&policy.jitter), "{text}");
            assert_eq!(read.stop_codes, policy.stop_codes, "{text}");
        }
    }
}
