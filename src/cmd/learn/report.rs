//! From findings to what a chart and a report show, and the files of them.

use crate::api::write_report;
use crate::close::{ABNORMAL, NO_STATUS};
use crate::cmd::console;
use crate::learn::findings::Return;
use crate::learn::rules::RULES;
use crate::learn::{Findings, policy, words};
use crate::number;
use crate::results::learned::{LearnedClient, LearnedRule, LearnedSchedule};
use crate::units::{ms, print_duration};
use crate::{plot, report};
use std::path::Path;
use std::time::Duration;

/// Writes `waits.svg`, `waits.png`, `report.md` and `report.html` into the folder.
///
/// # Errors
/// The chart cannot be drawn, or a file cannot be written.
pub(super) fn write(found: &Findings, client: &str, dir: &Path) -> anyhow::Result<()> {
    let learned = learned(found, client);
    plot::learned::render(&learned, dir)?;
    Ok(write_report(dir, &report::learned::markdown(&learned), &report::learned::html(&learned, &plot::learned::svg(&learned)?))?)
}

fn learned(found: &Findings, client: &str) -> LearnedClient {
    let typed = console::command_line();
    let command = shlex::try_join(typed.iter().map(String::as_str)).unwrap_or_else(|_| typed.join(" "));
    let longest = found.attempts();
    let at = |attempt: usize| found.outages.iter().filter_map(|outage| outage.waits_ms.get(attempt).copied()).collect();
    let good = found.fit.as_ref().filter(|fit| fit.goodness.is_good());
    LearnedClient {
        command,
        client: client.to_owned(),
        made: format!(
            "{} after connections of {}, attempts refused by {}{}",
            number::counted(found.outages.len() as u64, "outage"),
            print_duration(found.held),
            found.refuse.words(),
            words::open_at_once(found).map(|words| format!("; {words}")).unwrap_or_default()
        ),
        doubts: found.doubts(),
        rules: rules(found),
        waits_ms: (0..longest).map(at).collect(),
        laws: good.map(|fit| fit.laws(longest)).unwrap_or_default(),
        outages: found.outages.len(),
        schedule: schedule(found),
        answers: answers(found),
        slow: words::slow(found).map(|(what, took)| (what.to_owned(), seconds(took))).collect(),
        not_asked: found.not_asked.clone(),
    }
}

fn rules(found: &Findings) -> Vec<LearnedRule> {
    let mut rules: Vec<LearnedRule> = RULES
        .iter()
        .map(|rule| {
            let judgement = rule.judge(found, None);
            let (result, seen) = judgement.parts();
            LearnedRule { result, name: rule.name, seen: seen.to_owned(), text: rule.text, why: rule.why }
        })
        .collect();
    rules.sort_by_key(|rule| ["fail", "pass", "not tested"].iter().position(|result| *result == rule.result));
    rules
}

fn schedule(found: &Findings) -> Option<LearnedSchedule> {
    let (fit, policy) = (found.fit.as_ref()?, policy::policy(found)?);
    let numbers: Vec<[String; 4]> = fit.estimates.iter().map(words::number).collect();
    let said: Vec<String> = numbers.iter().map(|[name, value, ..]| format!("{name} {value}")).collect();
    let jitter = policy::jitter(&policy.jitter).0;
    let mut goodness = words::goodness(fit);
    goodness.extend(words::nearest(found));
    Some(LearnedSchedule {
        words: format!("{}: {}; jitter {jitter}", fit.family.growth.word(), said.join(", ")),
        fits: fit.goodness.is_good(),
        numbers,
        goodness,
        places: fit.goodness.places.clone(),
        table: policy::toml(&policy),
    })
}

fn answers(found: &Findings) -> Vec<[String; 3]> {
    let codes = found.codes.iter().map(|after| {
        let what = match after.code {
            NO_STATUS => "an empty Close frame".to_owned(),
            ABNORMAL => "FIN without a Close frame".to_owned(),
            code => format!("status code {code}"),
        };
        let answer = match after.code {
            ABNORMAL => String::new(),
            _ => after.answered.map_or_else(|| "none".to_owned(), |code| code.to_string()),
        };
        [what, came(after.back), answer]
    });
    let statuses = found.statuses.iter().map(|(status, back)| [format!("HTTP status {status}"), came(*back), String::new()]);
    let retry =
        found.retry_after.map(|(asked, back)| [format!("HTTP status 503, Retry-After: {}", asked.as_secs()), came(back), String::new()]);
    let closed = found.closed_port.map(|back| ["a closed port".to_owned(), came(back), String::new()]);
    let silence = found.silence.map(|back| ["silence".to_owned(), came(back), String::new()]);
    let unanswered = found.unanswered.map(|back| {
        let it = match back {
            Return::After(time) => format!("abandoned the attempt after {}", seconds(time)),
            Return::NotWithin(time) => format!("waited for {} and longer", seconds(time)),
        };
        ["a request that is not answered".to_owned(), it, String::new()]
    });
    let wire = words::held_close(found).into_iter().chain(words::ping_flood(found)).map(|[what, seen]| [what, seen, String::new()]);
    codes.chain(wire).chain(statuses).chain(retry).chain(closed).chain(silence).chain(unanswered).collect()
}

fn came(back: Return) -> String {
    match back {
        Return::After(wait) => format!("came back after {}", seconds(wait)),
        Return::NotWithin(time) => format!("stayed away for {}", seconds(time)),
    }
}

fn seconds(time: Duration) -> String {
    number::time((1e3 * ms(time)).round() as u64)
}
