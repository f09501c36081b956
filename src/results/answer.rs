//! What a verdict says to the question of its scenario: the author's words, and the figures that a reader came for.
//!
//! `No` and the figures of the run become "No: 798 of 1,000 never came back, p50 not reached in 20 s". Without the author's words the
//! figures stand alone, as only the author knows whether what was expected is a yes: ✓ may mean that something bad happened as it should.
//! Of several seeds the figures are medians. Nothing is computed here that `summary.json` does not hold.

use super::record::{ExpectationRow, Summary, Verdict};
use super::spread::{Runs, Spread};
use crate::metrics::latency::Times;
use crate::number;
use crate::plan::{AuthorAnswer, SENTENCE_ENDS};

/// Expectations that failed and are named.
const FAILED_SHOWN: usize = 2;
/// Share of the messages sent beyond which missing answers are a headline.
const MISSING: f64 = 0.01;

/// The answer of a verdict on the run of a summary; `None` where the verdict cannot tell, or nobody was there to tell of.
///
/// The figures follow the author's words after a colon, or after a semicolon where the words have a colon of their own.
pub fn answer(verdict: &Verdict, summary: &Summary, words: Option<&AuthorAnswer>) -> Option<String> {
    let judged = !verdict.expectations.is_empty();
    let words = match verdict.result.as_str() {
        // A plain yes, while some were still away, would be more than was seen.
        "pass" if judged => {
            words.map(|words| &words.pass).filter(|words| cut(summary) == 0 || words.trim_end_matches(SENTENCE_ENDS) != "Yes")
        }
        "fail" => words.map(|words| &words.fail),
        "pass" | "unchecked" => None,
        _ => return None,
    };
    let seeds = summary.runs.as_ref().filter(|runs| runs.done > 1);
    let figures = seeds.and_then(over_seeds).or_else(|| figures(verdict, summary));
    let Some(words) = words else { return figures.map(|figures| capital(&figures)) };
    let words = words.trim().trim_end_matches(SENTENCE_ENDS).to_owned() + &seeds.map_or_else(String::new, |runs| in_seeds(verdict, runs));
    let join = if words.contains(": ") { "; " } else { ": " };
    Some(figures.map_or_else(|| words.clone(), |figures| format!("{words}{join}{figures}")))
}

/// In how many seeds it is so.
fn in_seeds(verdict: &Verdict, runs: &Runs) -> String {
    match if verdict.result == "fail" { runs.failed } else { runs.passed } {
        all if all == runs.done => format!(" in all {all} seeds"),
        some => format!(" in {some} of {} seeds", runs.done),
    }
}

/// What came of outages in the seeds; nothing where there were none.
fn over_seeds(runs: &Runs) -> Option<String> {
    let (away, gave_up) = (runs.away_at_end, runs.gave_up);
    let who = match (away.most, gave_up.most) {
        (Some(0), Some(0)) if runs.reconnect_p50_us.median.is_none() => return None,
        (Some(0), Some(0)) => "all back".to_owned(),
        _ => [(away, "still disconnected at the end"), (gave_up, "gave up")]
            .into_iter()
            .filter(|(spread, _)| spread.most != Some(0))
            .map(|(spread, what)| format!("{} {what}", between(spread, number::count)))
            .collect::<Vec<_>>()
            .join(", "),
    };
    let times = [("p99", runs.reconnect_p99_us), ("p90", runs.reconnect_p90_us), ("p50", runs.reconnect_p50_us)];
    let soon = times.into_iter().find(|(_, spread)| spread.median.is_some());
    let soon = soon.map_or_else(String::new, |(what, spread)| format!(", {what} {}", between(spread, number::time)));
    Some(who + &soon)
}

/// The median, and from the least to the most where they differ.
fn between(spread: Spread, show: fn(u64) -> String) -> String {
    let say = |value: Option<u64>| value.map_or_else(|| "not reached".to_owned(), show);
    let (least, median, most) = (say(spread.least), say(spread.median), say(spread.most));
    if least == most { median } else { format!("{median} ({least} to {most})") }
}

fn figures(verdict: &Verdict, summary: &Summary) -> Option<String> {
    let mut parts: Vec<String> = [connected(summary), back(summary), echoed(summary)].into_iter().flatten().collect();
    // Round trips and opening handshakes matter where nothing broke.
    if parts.is_empty() && summary.clients.started > 0 {
        parts.push(calm(summary));
    }
    let failed = verdict.expectations.iter().filter(|row| row.result == "fail").filter(|row| !is_about_returning(row));
    parts.extend(failed.filter_map(observed).take(FAILED_SHOWN));
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Those who never had a connection.
fn connected(summary: &Summary) -> Option<String> {
    let clients = &summary.clients;
    match (clients.started, clients.never_opened) {
        (0, _) if clients.planned > 0 => Some("no client tried to connect".to_owned()),
        (_, 0) => None,
        (started, never) if never == started => Some(format!("none of {} ever connected", number::counted(started, "client"))),
        (started, never) => Some(format!("{} of {} never connected", number::count(never), number::counted(started, "client"))),
    }
}

/// Outages that the end of the run cut: who was still away might have been back a moment later. Who left by plan was not away.
fn cut(summary: &Summary) -> u64 {
    summary.reconnect.time_us.censored.saturating_sub(summary.reconnect.left)
}

/// Outages: clients, where each had at most one.
fn back(summary: &Summary) -> Option<String> {
    let r = &summary.reconnect;
    let all = r.affected.saturating_sub(r.left);
    let away = all.saturating_sub(r.recovered);
    if all == 0 {
        return None;
    }
    let who = match (away, all > summary.clients.planned) {
        (0, false) if all == 1 => "the client is back".to_owned(),
        (0, false) => format!("all {} back", number::count(all)),
        (0, true) => format!("all {} over", number::counted(all, "outage")),
        (1, false) if all == 1 => "the client never came back".to_owned(),
        (away, false) if away == all => format!("none of {} came back", number::count(all)),
        (away, false) if cut(summary) == away => {
            let were = number::word_of(away, "was", "were");
            format!("{} of {} {were} still disconnected at the end", number::count(away), number::count(all))
        }
        (away, false) => match cut(summary) {
            0 => format!("{} of {} never came back", number::count(away), number::count(all)),
            cut => {
                let were = number::word_of(away, "was", "were");
                format!(
                    "{} of {} {were} not back at the end, {} gave up",
                    number::count(away),
                    number::count(all),
                    number::count(away - cut)
                )
            }
        },
        (away, true) => format!("{} of {} did not end", number::count(away), number::counted(all, "outage")),
    };
    Some(format!("{who}{}", how_soon(summary, away == 0)))
}

/// The slow end of the times to reconnect, as far as the samples tell of it; by cohort where there are several.
fn how_soon(summary: &Summary, complete: bool) -> String {
    let r = &summary.reconnect;
    // No time is told of those for whom there is none.
    if r.recovered == 0 && r.time_us.never == r.affected {
        return ", because all gave up".to_owned();
    }
    let greatest = if r.affected == 1 { "after" } else { "slowest" };
    let slow = |times: &Times| times.p99.map(|us| ("p99", us)).or_else(|| Some((greatest, times.max.filter(|_| complete)?)));
    let mut cohorts: Vec<(&str, &str, u64)> = summary
        .cohorts
        .iter()
        .filter_map(|(name, cohort)| slow(&cohort.reconnect.time_us).map(|(what, us)| (name.as_str(), what, us)))
        .collect();
    cohorts.sort_by_key(|(_, _, us)| *us);
    let out = summary.cohorts.values().filter(|cohort| cohort.reconnect.affected > 0).count();
    if let [(first, what, soon), .., (last, other, late)] = cohorts[..]
        && cohorts.len() == out
        && what == other
        && late > soon
    {
        return format!(", {what} from {} ({first}) to {} ({last})", number::time(soon), number::time(late));
    }
    let times = &summary.reconnect.time_us;
    let observed = summary.reconnect.observed_us.unwrap_or(summary.measured_ms * 1000);
    match (slow(times), times.p50) {
        (Some((what, us)), _) => format!(", {what} {}", number::time(us)),
        (None, Some(us)) => format!(", p50 {}", number::time(us)),
        (None, None) if !complete => format!(", p50 not reached in {}", number::time(observed)),
        (None, None) => String::new(),
    }
}

/// Messages whose answer is missing, where they are more than the few that an outage or the end of the run cuts.
fn echoed(summary: &Summary) -> Option<String> {
    let m = &summary.messages;
    let missing = m.lost + m.unanswered;
    let many = missing as f64 > MISSING * m.sent as f64;
    many.then(|| format!("{} of {} got no answer", number::count(missing), number::counted(m.sent, "message")))
}

/// A run in which everybody connected, nothing ended and nothing was lost.
fn calm(summary: &Summary) -> String {
    let all = match summary.clients.started {
        1 => "the client connected".to_owned(),
        started => format!("all {} clients connected", number::count(started)),
    };
    let mut traffic = summary.cohorts.values().filter(|cohort| cohort.messages.rtt_us.count > 0).map(|cohort| &cohort.traffic);
    let first = traffic.next();
    let alike = traffic.all(|other| Some(other) == first);
    let rtt = alike.then_some(("round trips", &summary.messages.rtt_us));
    let times = rtt.into_iter().chain([("opening handshakes", &summary.opening_handshake_us)]);
    let time = times.into_iter().find(|(_, times)| times.count > 0);
    let slow = time.and_then(|(what, times)| Some(format!("; {what} p99 {}", number::time(times.p99.filter(|us| *us > 0)?))));
    all + &slow.unwrap_or_default()
}

/// What failed about returning is told already.
fn is_about_returning(row: &ExpectationRow) -> bool {
    ["reconnect_time", "clients_lost"].iter().any(|metric| row.text.trim_start().starts_with(metric))
}

/// `attempts peak < 2500/s: 4,120/s`; nothing where there is no figure.
fn observed(row: &ExpectationRow) -> Option<String> {
    Some(format!("{}: {}", row.text, number::observed(row.observed?, &row.unit)))
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::fixture;
    use crate::results::record::Reconnect;

    fn words(pass: &str, fail: &str) -> AuthorAnswer {
        AuthorAnswer { pass: pass.to_owned(), fail: fail.to_owned() }
    }

    /// A summary with that many clients, all connected, and nothing else.
    fn calm_run(clients: u64) -> Summary {
        let mut summary = fixture::crash_storm().summary;
        summary.clients = crate::results::record::Clients { planned: clients, started: clients, ..Default::default() };
        (summary.reconnect, summary.messages) = Default::default();
        summary.cohorts.clear();
        summary.verdict = Verdict { result: "unchecked".to_owned(), ..Verdict::default() };
        summary
    }

    fn judged(mut summary: Summary, result: &str, rows: &[(&str, Option<f64>, &str, &str)]) -> Summary {
        let row = |(text, observed, unit, result): &(&str, Option<f64>, &str, &str)| ExpectationRow {
            text: (*text).to_owned(),
            observed: *observed,
            samples: None,
            needed: None,
            note: None,
            unit: (*unit).to_owned(),
            result: (*result).to_owned(),
        };
        result.clone_into(&mut summary.verdict.result);
        summary.verdict.expectations = rows.iter().map(row).collect();
        summary
    }

    fn outages(affected: u64, recovered: u64, p50: Option<u64>, p99: Option<u64>, max: Option<u64>) -> Summary {
        let mut summary = calm_run(1_000);
        let time_us = Times { count: affected, p50, p99, max, ..Times::default() };
        summary.reconnect = Reconnect { affected, recovered, time_us, observed_us: Some(20_000_000), ..Reconnect::default() };
        summary
    }

    fn told(summary: &Summary, words: Option<&AuthorAnswer>) -> Option<String> {
        answer(&summary.verdict, summary, words)
    }

    #[test]
    fn the_figures_follow_the_words_of_the_author() {
        let yes_no = words("Yes", "No.");
        let run = judged(outages(1_000, 202, None, None, None), "fail", &[("reconnect_time p99 < 10s", None, "us", "fail")]);
        assert_eq!(told(&run, Some(&yes_no)).unwrap(), "No: 798 of 1,000 never came back, p50 not reached in 20 s");
        let held = &[("reconnect_time p99 < 10s", Some(2_900_000.0), "us", "pass")];
        let run = judged(outages(1_000, 1_000, Some(2_000_000), Some(2_900_000), Some(3_100_000)), "pass", held);
        assert_eq!(told(&run, Some(&yes_no)).unwrap(), "Yes: all 1,000 back, p99 2.9 s");
        let long = words("As expected: the herd kills it", "No");
        assert_eq!(told(&run, Some(&long)).unwrap(), "As expected: the herd kills it; all 1,000 back, p99 2.9 s");
        // A verdict that cannot tell answers nothing, and without the author's words nobody knows what is a yes.
        assert_eq!(told(&judged(run.clone(), "inconclusive", held), Some(&yes_no)), None);
        assert_eq!(told(&run, None).unwrap(), "All 1,000 back, p99 2.9 s");
        // Nothing was checked: neither yes nor no, in the old spelling and in the new one.
        for result in ["pass", "unchecked"] {
            assert_eq!(told(&judged(run.clone(), result, &[]), Some(&yes_no)).unwrap(), "All 1,000 back, p99 2.9 s");
        }
    }

    #[test]
    fn of_several_seeds_the_figures_are_medians_and_the_words_say_in_how_many() {
        let held = &[("reconnect_time p99 < 10s", Some(2_900_000.0), "us", "pass")];
        let mut run = judged(outages(1_000, 1_000, Some(2_000_000), Some(2_900_000), Some(3_100_000)), "pass", held);
        let counts = |most| Spread { least: Some(0), p10: Some(0), median: Some(0), p90: Some(most), most: Some(most) };
        let p99 = Spread { least: Some(2_900_000), median: Some(3_500_000), most: Some(4_000_000), ..Spread::default() };
        let none = counts(0);
        let runs = Runs {
            planned: 5,
            done: 5,
            passed: 5,
            reconnect_p50_us: p99,
            reconnect_p99_us: p99,
            away_at_end: none,
            gave_up: none,
            ..Runs::default()
        };
        run.runs = Some(runs.clone());
        assert_eq!(told(&run, Some(&words("Yes.", "No"))).unwrap(), "Yes in all 5 seeds: all back, p99 3.5 s (2.9 s to 4 s)");
        run.runs = Some(Runs { passed: 3, failed: 2, away_at_end: counts(7), ..runs });
        run.verdict.result = "fail".to_owned();
        let expected = "No in 2 of 5 seeds: 0 (0 to 7) still disconnected at the end, p99 3.5 s (2.9 s to 4 s)";
        assert_eq!(told(&run, Some(&words("Yes", "No"))).unwrap(), expected);
    }

    #[test]
    fn who_was_still_away_at_the_end_did_not_never_come_back_and_a_yes_would_be_too_much() {
        let held = &[("reconnect_time p99 < 10s", Some(2_900_000.0), "us", "pass")];
        let mut run = judged(outages(1_000, 995, Some(2_000_000), Some(2_900_000), None), "pass", held);
        run.reconnect.time_us.censored = 5;
        assert_eq!(told(&run, Some(&words("Yes", "No"))).unwrap(), "5 of 1,000 were still disconnected at the end, p99 2.9 s");
        let herd = words("As expected: some are slow", "No");
        assert_eq!(
            told(&run, Some(&herd)).unwrap(),
            "As expected: some are slow; 5 of 1,000 were still disconnected at the end, p99 \
            2.9 s"
        );
        let mut left = run.clone();
        left.reconnect.left = 2;
        assert_eq!(told(&left, Some(&words("Yes", "No"))).unwrap(), "3 of 998 were still disconnected at the end, p99 2.9 s");
        left.reconnect.left = 4;
        assert_eq!(told(&left, Some(&words("Yes", "No"))).unwrap(), "1 of 996 was still disconnected at the end, p99 2.9 s");
        (run.reconnect.recovered, run.reconnect.time_us.never) = (900, 95);
        assert_eq!(told(&run, None).unwrap(), "100 of 1,000 were not back at the end, 95 gave up, p99 2.9 s");
    }

    #[test]
    fn what_failed_otherwise_is_told_with_what_was_observed() {
        let rows = [("attempts peak < 2500/s", Some(4_120.0), "per_s", "fail"), ("rtt p99 < 1s", None, "us", "fail")];
        let run = judged(outages(40, 40, Some(1_000_000), None, Some(2_500_000)), "fail", &rows);
        assert_eq!(
            told(&run, Some(&words("Yes", "No"))).unwrap(),
            "No: all 40 back, slowest 2.5 s; attempts peak < 2500/s: 4,120/s",
            "a percentile of 40 is not known, their greatest is; what has no figure is left to the reasons"
        );
    }

    #[test]
    fn several_outages_of_a_client_are_outages_and_cohorts_are_compared() {
        let run = outages(2_400, 2_310, Some(1_000_000), None, None);
        assert_eq!(told(&run, None).unwrap(), "90 of 2,400 outages did not end, p50 1 s");
        let mut run = outages(900, 900, Some(1_000_000), Some(11_000_000), Some(11_000_000));
        for (name, p99) in [("fixed", 11_000_000), ("full-jitter", 2_900_000)] {
            let time_us = Times { p99: Some(p99), ..Times::default() };
            let reconnect = Reconnect { affected: 450, recovered: 450, time_us, ..Default::default() };
            let row = crate::results::record::CohortRow { reconnect, ..Default::default() };
            run.cohorts.insert(name.to_owned(), row);
        }
        assert_eq!(told(&run, None).unwrap(), "All 900 back, p99 from 2.9 s (full-jitter) to 11 s (fixed)");
    }

    #[test]
    fn one_client_is_told_of_as_one_and_who_gave_up_has_no_time() {
        let run = outages(1, 1, None, None, Some(1_010_000));
        assert_eq!(told(&run, None).unwrap(), "The client is back, after 1.01 s");
        let mut run = outages(100, 0, None, None, None);
        run.reconnect.time_us.never = 100;
        assert_eq!(told(&run, None).unwrap(), "None of 100 came back, because all gave up");
    }

    #[test]
    fn clients_that_never_connected_and_messages_without_an_answer_come_first() {
        let mut run = calm_run(2_000);
        run.clients.never_opened = 1_940;
        assert_eq!(told(&run, None).unwrap(), "1,940 of 2,000 clients never connected");
        run.clients.never_opened = 2_000;
        assert_eq!(told(&run, None).unwrap(), "None of 2,000 clients ever connected");
        let mut run = calm_run(10);
        (run.messages.sent, run.messages.lost) = (999, 700);
        assert_eq!(told(&run, None).unwrap(), "700 of 999 messages got no answer");
        let mut run = calm_run(1);
        run.opening_handshake_us = Times::default();
        assert_eq!(told(&run, None).unwrap(), "The client connected");
        run.clients.started = 0;
        assert_eq!(told(&run, None).unwrap(), "No client tried to connect");
    }
}
