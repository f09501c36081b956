//! Tests of the verdict: each expectation passes, fails or cannot be told, and a run that cannot be trusted is inconclusive.

use super::*;
use crate::expect::Names;
use crate::metrics::latency::Latency;
use crate::metrics::meta::SeenFrom;
use crate::results::hlog::Distribution;
use crate::results::record::CountRow;
use crate::results::spread::Runs;

fn expectation(text: &str) -> Expectation {
    let (cohorts, faults) = (["web".to_owned(), "ios".to_owned(), "old".to_owned()], ["crash".to_owned()]);
    Expectation::parse(text, Names { cohorts: &cohorts, faults: &faults, ..Names::default() }).unwrap()
}

fn distribution(metric: &str, cohort: &str, fault: Option<&str>, samples: &[(u64, u64)]) -> Distribution {
    let mut latency = Latency::new();
    samples.iter().for_each(|(us, n)| latency.record_n(*us, *n));
    Distribution {
        metric: metric.to_owned(),
        cohort: cohort.to_owned(),
        fault: fault.map(str::to_owned),
        window: None,
        latency,
        around: Vec::new(),
    }
}

fn attempts(second: u32, outcome: &str, count: u64) -> CountRow {
    let (metric, cohort, outcome) = ("attempts".to_owned(), "web".to_owned(), Some(outcome.to_owned()));
    CountRow { second, metric, cohort, outcome, count, ..CountRow::default() }
}

fn close(side: &str, reported: u16, wire: Option<u16>, count: u64) -> CountRow {
    CountRow {
        metric: "closes".to_owned(),
        cohort: "web".to_owned(),
        fault: Some("crash".to_owned()),
        side: Some(side.to_owned()),
        reported: Some(reported),
        wire,
        cause: Some("crash".to_owned()),
        tcp_end: Some("fin".to_owned()),
        clean: Some(false),
        count,
        ..CountRow::default()
    }
}

/// Forty seconds: 950 of 1,000 outages ended within 2 s, 50 were cut by the end of the run after 30 s.
fn evidence() -> Evidence {
    Evidence {
        measured_s: 40.0,
        aborted: false,
        seeds: None,
        lost: Vec::new(),
        unreliable: Vec::new(),
        ready: Some(1_010),
        simulated: false,
        seen_from: SeenFrom::Client,
        first_version: false,
        losses: Vec::new(),
        counted: crate::expect::Metric::all_counted().into_iter().collect(),
        planned: [("web".to_owned(), 1_000), ("ios".to_owned(), 10)].into(),
        peaks: Some([("attempts".to_owned(), 1_234), ("attempts{cohort=web,outcome=rejected}".to_owned(), 0)].into()),
        counts: vec![
            attempts(3, "begun", 800),
            attempts(4, "begun", 1_200),
            attempts(4, "refused", 500),
            close("client", 1006, None, 990),
            close("client", 1001, Some(1001), 10),
        ],
        windows: Vec::new(),
        distributions: vec![
            distribution("reconnect_time", "web", Some("crash"), &[(1_000_000, 800), (2_000_000, 150)]),
            distribution("reconnect_time_censored", "web", Some("crash"), &[(30_000_000, 50)]),
            distribution("reconnect_time", "ios", Some("crash"), &[(9_000_000, 10)]),
            distribution("rtt", "web", None, &[(500, 298)]),
            distribution("reconnect_time_never", "old", Some("crash"), &[(6_000_000, 50)]),
            distribution("reconnect_time", "old", Some("crash"), &[(8_000_000, 50)]),
            distribution("opening_handshake", "web", None, &[(100_000, 400)]),
            distribution("opening_handshake_censored", "web", None, &[(2_000_000, 1)]),
            distribution("close_ack_censored", "web", None, &[(3_000_000, 400)]),
            distribution("tcp_connect", "web", None, &[(800, 400)]),
            distribution("tcp_connect_censored", "web", None, &[(1_500, 2)]),
        ],
    }
}

#[test]
fn each_expectation_passes_fails_or_cannot_be_told() {
    use Outcome::{Fail, Inconclusive, Pass};
    for (text, outcome, observed) in [
        ("reconnect_time{cohort=web} p50 < 2s", Pass, Some(1_000_447.0)), // upper edge of the bucket
        ("reconnect_time{cohort=web} p90 < 1s", Fail, Some(2_000_000.0)),
        ("reconnect_time{cohort=web} p99 < 10s", Fail, None), // not reached in 30 s: certainly more than 10 s
        ("reconnect_time{cohort=web} p99 < 40s", Inconclusive, None), // not reached in 30 s: may be less than 40 s
        ("reconnect_time{cohort=web} p99 > 10s", Pass, None),
        ("reconnect_time{cohort=web} max < 10s", Fail, None),
        ("reconnect_time{cohort=web} mean < 10s", Inconclusive, None),
        ("reconnect_time{cohort=ios} p99 < 10s", Inconclusive, None), // ten samples
        ("reconnect_time{cohort=ios} max < 10s", Pass, Some(9_000_000.0)),
        ("rtt p99 < 1ms", Inconclusive, None), // 298 samples, needs 299
        ("rtt p90 < 1ms", Pass, Some(500.0)),
        ("reconnect_time{cohort=old} p50 < 10s", Pass, Some(8_000_000.0)),
        ("reconnect_time{cohort=old} p90 < 10s", Fail, None), // half of them never come back
        ("reconnect_time{cohort=old} p90 < 1h", Fail, None),
        ("reconnect_time{cohort=old} max < 1h", Fail, None),
        ("opening_handshake max < 2s", Fail, None),            // one was cut at 2 s
        ("opening_handshake max < 3s", Pass, Some(100_000.0)), // it is younger than the limit, and does not decide
        ("opening_handshake max > 1s", Pass, None),
        ("opening_handshake p99 < 2s", Pass, Some(100_000.0)),
        ("close_ack max < 3s", Fail, None), // nothing came, and that for long enough
        ("close_ack p50 < 1s", Fail, None),
        ("close_ack p50 < 5s", Inconclusive, None),
        ("tcp_connect max < 1ms", Fail, None),
        ("tcp_connect max < 2ms", Pass, Some(800.0)),
        ("tcp_connect max > 2ms", Inconclusive, None),
        ("tcp_connect mean < 1s", Inconclusive, None),
        ("tls p50 < 1s", Inconclusive, None), // no data is no pass
        ("rtt{fault=crash} p50 < 1s", Inconclusive, None),
        ("clients_lost count < 100", Pass, Some(0.0)), // none is data, and of those still away no more than 50 can be lost
        ("clients_lost count == 0", Inconclusive, None),
        ("attempts count == 2000", Pass, Some(2_000.0)),
        ("attempts peak < 1000/s", Fail, Some(1_234.0)),
        ("attempts{outcome=rejected,cohort=web} peak == 0/s", Pass, Some(0.0)),
        ("attempts{outcome=opened} peak < 1000/s", Inconclusive, None), // no bins
        ("attempts{from=4s} count == 1200", Pass, Some(1_200.0)),
        ("attempts{from=3s,to=4s} count == 1200", Fail, Some(800.0)),
        ("attempts{from=30s,to=1m} rate == 0/s", Pass, Some(0.0)),
        ("attempts{from=4s,to=1m 4s} rate > 33/s", Pass, Some(1_200.0 / 36.0)), // of which 36 s were measured
        ("attempts{outcome=refused} share_of{from=40s,to=50s} < 42%", Inconclusive, None),
        ("attempts{from=4s,outcome=refused} share < 42%", Pass, Some(500.0 / 1_200.0 * 100.0)),
        ("attempts{from=40s} count == 0", Inconclusive, None), // nothing was measured of it
        ("attempts{outcome=refused} share_of{from=4s} < 42%", Pass, Some(500.0 / 1_200.0 * 100.0)),
        ("closes{reported=1001} share_of{reported=1006} < 2%", Pass, Some(10.0 / 990.0 * 100.0)),
        ("closes{reported=1001} share_of{side=server} > 1%", Inconclusive, None), // nobody told
        ("attempts{outcome=refused} share <= 25%", Pass, Some(25.0)),
        ("attempts{outcome=rejected} count == 0", Pass, Some(0.0)),
        ("attempts{cohort=ios,outcome=opened} share > 0%", Inconclusive, None),
        ("attempts rate == 50/s", Pass, Some(50.0)),
        ("closes{reported=1006} share >= 99%", Pass, Some(99.0)),
        ("closes{wire=none,fault=crash,cause=crash} count == 990", Pass, Some(990.0)),
        ("closes{wire=1001} count > 10", Fail, Some(10.0)),
        ("closes{clean=true} count == 0", Pass, Some(0.0)),
        ("closes{side=server,reported=1006} count == 0", Inconclusive, None), // nobody told
        ("messages{outcome=lost} count == 0", Inconclusive, None),            // nobody sent any
        ("messages{outcome=not_started} count == 0", Inconclusive, None),
        ("messages count == 0", Pass, Some(0.0)),
        ("http_requests{status=500} count == 0", Inconclusive, None), // there were none
        ("http_requests count == 0", Pass, Some(0.0)),
        ("closes{cohort=ios} count == 0", Inconclusive, None), // it made no attempt
        ("attempts{cohort=ios,outcome=refused} count == 0", Inconclusive, None),
        ("attempts{cohort=ios,status=503} count == 0", Inconclusive, None),
        ("clients_lost{cohort=ios} count == 0", Inconclusive, None),
    ] {
        let verdict = judge(&evidence(), &[expectation(text)]);
        let row = &verdict.expectations[0];
        assert_eq!((row.result.as_str(), row.observed), (outcome.name(), observed), "{text}: {:?}", verdict.reasons);
        assert_eq!(verdict.result, outcome.name(), "{text}");
        assert_eq!(verdict.reasons.is_empty(), outcome == Pass, "{text}");
    }
}

/// So much of 100 connects and sends of `web` in the fourth second began late.
fn late(count: u64) -> Evidence {
    let mut evidence = evidence();
    let work = |outcome: &str, count| CountRow { metric: "work".to_owned(), ..attempts(4, outcome, count) };
    evidence.counts.extend([work("all", 100), work("late", count)]);
    evidence
}

#[test]
fn a_status_that_was_not_told_apart_is_not_zero() {
    let count = |statuses: &[Option<u16>], text: &str| {
        let rejected = statuses.iter().map(|status| CountRow { status: *status, ..attempts(5, "rejected", 7) });
        let evidence = Evidence { counts: evidence().counts.into_iter().chain(rejected).collect(), ..evidence() };
        judge(&evidence, &[expectation(text)]).expectations[0].observed
    };
    for (statuses, text, observed) in [
        (&[Some(429), Some(503)][..], "attempts{status=429} count == 7", Some(7.0)),
        (&[Some(429), Some(503)], "attempts{status=429} share_of{outcome=rejected} == 50%", Some(50.0)),
        (&[Some(429)], "attempts{status=503} count == 0", Some(0.0)),
        (&[Some(429), None], "attempts{status=503} count == 0", None),
        (&[Some(429), None], "attempts{status=429} count == 7", Some(7.0)),
        (&[], "attempts{status=503} count == 0", Some(0.0)),
    ] {
        assert_eq!(count(statuses, text), observed, "{statuses:?} {text}");
    }
}

/// Version 1 divided by the messages that were due, and kept no bins for peaks.
#[test]
fn shares_of_version_1_are_of_what_was_due_and_its_peaks_of_whole_seconds() {
    let message = |outcome, count| CountRow { metric: "messages".to_owned(), ..attempts(4, outcome, count) };
    let counts = vec![message("due", 100), message("sent", 80), message("lost", 8), attempts(3, "opened", 30), attempts(4, "opened", 1)];
    let second = Evidence { counts, ..evidence() };
    let first = Evidence { first_version: true, ..second.clone() };
    for (evidence, text, observed) in [
        (&first, "messages{outcome=lost} share == 8%", Some(8.0)),
        (&second, "messages{outcome=lost} share == 10%", Some(10.0)),
        (&first, "attempts{outcome=opened} peak == 30/s", Some(30.0)),
        (&second, "attempts{outcome=opened} peak == 30/s", None),
        (&first, "attempts{outcome=opened} rate == 0.775/s", Some(0.775)),
        (&Evidence { measured_s: 0.0, ..second.clone() }, "attempts{outcome=opened} rate == 0/s", None),
    ] {
        let finding = &judge(evidence, &[expectation(text)]).expectations[0];
        assert_eq!(finding.observed.map(|value| (value * 1e6).round() / 1e6), observed, "{text}: {finding:?}");
    }
}

#[test]
fn the_verdict_of_several_seeds_is_the_worst_of_them() {
    let good = [expectation("clients_lost count < 100")];
    for (passed, failed, result, reasons) in [
        (20, 0, "pass", vec![]),
        (17, 1, "fail", vec!["seeds: pass in 17 of 20, fail in 1, as runs.csv has them"]),
        (19, 0, "inconclusive", vec!["seeds: pass in 19 of 20, fail in 0, as runs.csv has them"]),
    ] {
        let seeds = Some(Runs { done: 20, planned: 20, passed, failed, ..Runs::default() });
        let verdict = judge(&Evidence { seeds, ..evidence() }, &good);
        assert_eq!((verdict.result.as_str(), verdict.expectations[0].result.as_str()), (result, "pass"));
        assert_eq!(verdict.reasons, reasons);
    }
}

#[test]
fn a_run_that_cannot_be_trusted_is_inconclusive() {
    let (good, bad, unclear) = (expectation("clients_lost count < 100"), expectation("attempts count == 1"), expectation("tls p50 < 1s"));
    let (aborted, saturated) = (Evidence { aborted: true, ..evidence() }, late(12));
    let cut = Evidence { seeds: Some(Runs { done: 3, planned: 20, ..Runs::default() }), ..aborted.clone() };
    let reasons = judge(&cut, std::slice::from_ref(&good)).reasons;
    assert_eq!(reasons, ["the simulation was stopped after 3 of 20 seeds"]);
    let first = Evidence { seeds: Some(Runs { planned: 20, ..Runs::default() }), ..aborted.clone() };
    assert_eq!(judge(&first, std::slice::from_ref(&good)).reasons, ["the run was stopped before its planned length"]);
    let lost = Evidence { lost: vec!["worker 2 of 4 was lost".to_owned()], ..evidence() };
    let limited = Evidence { unreliable: vec!["no free port was left".to_owned()], ..evidence() };
    let nobody = Evidence { ready: Some(0), ..evidence() };
    let empty = Evidence { planned: [("web".to_owned(), 0)].into(), ..nobody.clone() };
    for (evidence, expectations, result, code) in [
        (evidence(), vec![], "unchecked", 0),
        (evidence(), vec![good.clone()], "pass", 0),
        (Evidence { first_version: true, ..evidence() }, vec![good.clone()], "pass", 0),
        (evidence(), vec![good.clone(), bad.clone(), unclear.clone()], "fail", 99),
        (evidence(), vec![good.clone(), unclear], "inconclusive", 3),
        (saturated.clone(), vec![bad.clone()], "inconclusive", 3),
        (limited.clone(), vec![bad.clone()], "inconclusive", 3),
        (limited, vec![], "inconclusive", 3),
        (nobody.clone(), vec![bad], "fail", 99), // with its own reason below
        (nobody.clone(), vec![good.clone()], "inconclusive", 3),
        (nobody, vec![], "inconclusive", 3),
        (empty, vec![good.clone()], "pass", 0),
        (saturated.clone(), vec![good.clone()], "inconclusive", 3),
        (saturated, vec![], "inconclusive", 3),
        (late(9), vec![good.clone()], "pass", 0),
        (late(9), vec![], "unchecked", 0),
        (late(12), vec![expectation("attempts{cohort=ios} count == 0")], "pass", 0),
        (aborted.clone(), vec![good], "inconclusive", 3),
        (aborted, vec![], "inconclusive", 3),
        (cut, vec![], "inconclusive", 3),
        (lost, vec![], "inconclusive", 3),
    ] {
        let verdict = judge(&evidence, &expectations);
        assert_eq!((verdict.result.as_str(), exit_code(&verdict)), (result, code), "{:?}", verdict.reasons);
        assert!(result == "pass" && !evidence.first_version && !expectations.is_empty() || !verdict.reasons.is_empty());
    }
}

#[test]
fn what_version_1_did_not_record_is_no_data() {
    let first = Evidence { first_version: true, ..evidence() };
    for text in [
        "messages{outcome=unanswered} count == 0",
        "messages{outcome=answered} share == 0%",
        "bytes{dir=sent} count < 1GB",
        "reconnect_time{cohort=web,from=5s,to=7s} p50 < 5s",
    ] {
        let row = &judge(&first, &[expectation(text)]).expectations[0];
        assert_eq!((row.result.as_str(), row.observed), ("inconclusive", None), "{text}: {row:?}");
    }
}

#[test]
fn the_part_of_a_window_that_was_measured_is_named() {
    let part = "only 4s to 40s was measured";
    for (text, outcome, shown) in [
        ("attempts{from=4s,to=50s} count == 1200", "pass", vec![part]),
        ("attempts{from=4s,to=50s} count == 0", "fail", vec![part]),
        ("attempts{from=4s,to=40s} count == 1200", "pass", vec![]),
        ("attempts{from=40s,to=50s} count == 0", "inconclusive", vec!["the measurement ended at 40s", "begins (40s)"]),
        ("rtt{from=45s} p50 < 1s", "inconclusive", vec!["the measurement ended at 40s"]),
    ] {
        let verdict = judge(&evidence(), &[expectation(text)]);
        let row = &verdict.expectations[0];
        assert_eq!(row.result, outcome, "{text}: {row:?}");
        let note = row.note.clone().unwrap_or_default();
        assert!(shown.iter().all(|part| note.contains(part)) && note.is_empty() == shown.is_empty(), "{text}: {note}");
        let reasons = verdict.reasons.join("; ");
        assert!(outcome == "pass" || shown.iter().all(|part| reasons.contains(part)), "{text}: {reasons}");
    }
}

#[test]
fn the_headline_of_a_run_in_which_nobody_was_ready_fits_its_outcome() {
    let nobody = Evidence { ready: Some(0), ..evidence() };
    for (expected, result, first) in [
        (vec![expectation("attempts count == 1")], "fail", "no client became ready"),
        (vec![expectation("attempts count == 2000")], "inconclusive", "no client became ready: the server cannot be judged"),
        (vec![], "inconclusive", "no client became ready: the server cannot be judged"),
    ] {
        let verdict = judge(&nobody, &expected);
        assert_eq!((verdict.result.as_str(), verdict.reasons[0].as_str()), (result, first));
    }
}

#[test]
fn none_that_gave_up_are_not_taken_for_back() {
    let mut evidence = evidence();
    evidence.counts.push(CountRow { cohort: "ios".to_owned(), ..attempts(3, "begun", 10) });
    let row = |text| judge(&evidence, &[expectation(text)]).expectations.remove(0);
    let reason = |text| judge(&evidence, &[expectation(text)]).reasons.remove(0);
    let said = "clients_lost count == 0: 0 gave up, but 50 were still disconnected at the end, for longer than any that came back: they may be lost";
    assert_eq!((row("clients_lost count == 0").result.as_str(), reason("clients_lost count == 0").as_str()), ("inconclusive", said));
    // In a cohort to which nobody came back, however long others took.
    let mut alone = evidence.clone();
    alone.distributions = vec![
        distribution("reconnect_time", "web", Some("crash"), &[(30_000_000, 10)]),
        distribution("reconnect_time_censored", "ios", Some("crash"), &[(31_000_000, 10)]),
    ];
    assert_eq!(judge(&alone, &[expectation("clients_lost count == 0")]).result, "inconclusive");
    // As long as others: on the way back.
    alone.distributions[1].cohort = "web".to_owned();
    assert_eq!(judge(&alone, &[expectation("clients_lost count == 0")]).result, "pass");
    // Whatever becomes of them.
    let few = row("clients_lost count < 51");
    assert_eq!((few.result.as_str(), few.note.as_deref()), ("pass", Some("gave up; 50 more were still disconnected at the end")));
    assert_eq!(row("clients_lost count > 50").result, "fail");
    assert_eq!(row("clients_lost share < 1%").result, "inconclusive");
    assert_eq!(row("clients_lost{cohort=ios} count == 0").note, None, "all of them are back");
}

/// Messages of `web` have numbers and wait for replies, those of `ios` do not.
#[test]
fn what_could_not_happen_in_a_cohort_or_window_is_no_data() {
    let message = |second, outcome: &str, count| CountRow { metric: "messages".to_owned(), ..attempts(second, outcome, count) };
    let ios = |outcome: &str, count| CountRow { cohort: "ios".to_owned(), ..message(4, outcome, count) };
    let rows =
        [message(4, "due", 9), message(4, "sent", 9), message(4, "answered", 9), message(4, "expected", 80), message(9, "missed", 1)];
    let counts: Vec<_> = evidence().counts.into_iter().chain(rows).chain([ios("due", 5), ios("sent", 5), ios("received", 7)]).collect();
    let evidence = Evidence { counts, ..evidence() };
    for (text, observed) in [
        ("messages{cohort=ios,outcome=missed} count == 0", None),
        ("messages{cohort=ios,outcome=missed} rate == 0/s", None),
        ("messages{cohort=ios,outcome=duplicated} count == 0", None),
        ("messages{cohort=ios,outcome=missed} share == 0%", None),
        ("messages{cohort=ios,outcome=lost} count == 0", None),
        ("messages{cohort=ios,outcome=error} count == 0", None),
        ("messages{cohort=ios,outcome=not_started} count == 0", Some(0.0)),
        ("messages{cohort=web,outcome=missed} count == 1", Some(1.0)),
        ("messages{cohort=web,outcome=duplicated} count == 0", Some(0.0)),
        ("messages{cohort=web,outcome=missed,fault=crash} count == 0", Some(0.0)),
        ("messages{cohort=web,outcome=missed,from=5s,to=8s} count == 0", None), // none came then
        ("messages{cohort=web,outcome=missed,from=9s} count == 1", Some(1.0)),
        ("messages{outcome=duplicated} count == 0", Some(0.0)),
        ("messages{cohort=web,outcome=error} count == 0", Some(0.0)),
        ("messages{cohort=web,outcome=lost} count == 0", Some(0.0)),
        ("messages{cohort=web,outcome=error,from=4s,to=5s} count == 0", Some(0.0)),
        ("messages{cohort=web,outcome=error,from=5s,to=8s} count == 0", None), // none was sent then
        ("messages{cohort=web,outcome=not_started,from=5s,to=8s} count == 0", None),
        ("attempts{cohort=web,outcome=refused,from=30s,to=31s} count == 0", None),
    ] {
        let row = judge(&evidence, &[expectation(text)]).expectations.remove(0);
        assert_eq!(row.observed, observed, "{text}: {row:?}");
        assert_eq!(row.result == "inconclusive", observed.is_none(), "{text}: {row:?}");
    }
    // Where something had to come, its absence is a failure.
    for text in [
        "messages{cohort=web,outcome=expected,from=5s,to=8s} rate > 10/s",
        "messages{cohort=ios,outcome=answered} count >= 100",
        "http_requests{status=200} count > 0",
        "attempts{cohort=ios,outcome=opened} count > 0",
    ] {
        let row = judge(&evidence, &[expectation(text)]).expectations.remove(0);
        assert_eq!((row.observed, &*row.result), (Some(0.0), "fail"), "{text}: {row:?}");
    }
}

#[test]
fn nothing_ends_or_goes_wrong_where_no_connection_opened() {
    let refused = |second| CountRow { cohort: "ios".to_owned(), ..attempts(second, "refused", 9) };
    let begun = CountRow { outcome: Some("begun".to_owned()), ..refused(1) };
    let counts = evidence().counts.into_iter().chain([refused(1), begun]).collect();
    let evidence = Evidence { counts, ..evidence() };
    for (text, result) in [
        ("closes{cohort=ios,reported=1006} count == 0", "inconclusive"),
        ("errors{cohort=ios} count == 0", "inconclusive"),
        ("closes{cohort=ios,reported=1006} count > 0", "fail"),
        ("errors{cohort=web} count == 0", "pass"),
        ("bytes{cohort=ios} count == 0B", "inconclusive"),
        ("bytes{cohort=ios,dir=sent} count == 0B", "inconclusive"),
        ("bytes{cohort=web} count == 0B", "pass"),
        ("messages{cohort=ios} count == 0", "inconclusive"),
        ("messages{cohort=ios,outcome=received} count == 0", "inconclusive"),
        ("messages{cohort=web} count == 0", "pass"),
        ("http_requests{cohort=ios} count == 0", "pass"), // it tried to connect
        ("http_requests{cohort=old} count == 0", "inconclusive"),
        ("http_requests{to=1s} count == 0", "inconclusive"), // nobody had tried by then
        ("clients_lost{cohort=ios,to=1s} count == 0", "inconclusive"),
        ("clients_lost{cohort=ios,to=2s} count == 0", "pass"),
        ("errors{cohort=web,from=30s} count == 0", "pass"),
    ] {
        assert_eq!(judge(&evidence, &[expectation(text)]).expectations[0].result, result, "{text}");
    }
}

/// Attempts of a long run are counted by ten seconds; the interval from 10 s on says nothing about what came before 15 s.
#[test]
fn an_interval_that_the_window_cuts_does_not_make_a_count_possible() {
    let wide = |second, outcome: &str| CountRow { width_s: 10, ..attempts(second, outcome, 9) };
    let both = |second| ["begun", "opened"].map(|outcome| wide(second, outcome));
    for (seconds, text, result) in [
        (10, "closes{to=15s} count == 0", "inconclusive"), // they may have begun at 19 s
        (10, "closes{to=20s} count == 0", "pass"),
        (10, "errors{from=12s,to=15s} count == 0", "inconclusive"),
        (10, "http_requests{to=15s} count == 0", "inconclusive"),
        (10, "clients_lost{to=15s} count == 0", "inconclusive"),
        (10, "messages{to=15s} count == 0", "inconclusive"),
        (0, "closes{to=15s} count == 0", "pass"), // those of the first ten seconds had all begun
        (0, "closes{from=5s,to=15s} count == 0", "pass"),
    ] {
        let evidence = Evidence { counts: both(seconds).to_vec(), ..evidence() };
        let row = judge(&evidence, &[expectation(text)]).expectations.remove(0);
        assert_eq!(row.result, result, "{text}: {row:?}");
    }
}

#[test]
fn what_the_version_of_a_folder_did_not_count_is_no_data() {
    let old = Evidence { counted: Default::default(), ..evidence() };
    let request = CountRow { metric: "http_requests".to_owned(), ..attempts(1, "answered", 3) };
    let requested = Evidence { counts: vec![request], ..old.clone() };
    let partly = Evidence { counted: ["attempts".to_owned()].into(), ..evidence() };
    for (evidence, text, result) in [
        (&old, "http_requests count == 0", "inconclusive"),
        (&old, "errors count == 0", "inconclusive"),
        (&old, "messages{outcome=error} count == 0", "inconclusive"),
        (&old, "messages{outcome=error} share == 0%", "inconclusive"),
        (&old, "messages count == 0", "pass"),
        (&requested, "http_requests count == 3", "pass"),
        (&evidence(), "errors count == 0", "pass"),
        (&evidence(), "http_requests count == 0", "pass"),
        (&partly, "attempts{outcome=rejected} count == 0", "pass"),
        (&partly, "messages count == 0", "inconclusive"),
    ] {
        assert_eq!(judge(evidence, &[expectation(text)]).expectations[0].result, result, "{text}");
    }
}

#[test]
fn a_fault_of_what_is_not_counted_by_fault_is_no_data() {
    let (cohorts, faults) = (["web".to_owned()], ["crash".to_owned()]);
    let names = Names { cohorts: &cohorts, faults: &faults, ..Names::default() };
    for text in
        ["bytes{fault=crash} count == 0B", "http_requests{fault=crash} count == 0", "messages{fault=crash,outcome=received} count == 0"]
    {
        let recorded = Expectation::parse_as(text, names, true).unwrap();
        assert_eq!(judge(&evidence(), &[recorded]).expectations[0].result, "inconclusive", "{text}");
    }
}

#[test]
fn a_code_that_was_not_told_apart_is_not_zero() {
    use crate::metrics::told_apart::{OTHER_CODE, kept};
    let count = |codes: &[u16], text: &str| {
        let closes = codes.iter().map(|code| close("client", *code, Some(*code), 7));
        let counted = evidence().counted.into_iter().chain([kept(4001)]).collect();
        let evidence = Evidence { counts: evidence().counts.into_iter().chain(closes).collect(), counted, ..evidence() };
        judge(&evidence, &[expectation(text)]).expectations[0].observed
    };
    for (codes, text, observed) in [
        (&[0][..], "closes{wire=0} count == 7", Some(7.0)),
        (&[], "closes{wire=0} count == 0", Some(0.0)),
        (&[OTHER_CODE], "closes{wire=0} count == 0", None),
        (&[0, OTHER_CODE], "closes{reported=0} count == 7", Some(7.0)),
        (&[OTHER_CODE], "closes{reported=4001} count == 0", Some(0.0)), // the scenario names it
        (&[OTHER_CODE], "closes{reported=4002} count == 0", None),
        (&[OTHER_CODE], "closes{reported=1009} count == 0", Some(0.0)),
        (&[OTHER_CODE], "closes{reported=65535} count == 0", None),
        (&[], "closes{reported=65535} count == 0", Some(0.0)),
    ] {
        assert_eq!(count(codes, text), observed, "{codes:?} {text}");
    }
}
