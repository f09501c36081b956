//! Tests of expectations on times: few samples, edges of buckets, what was cut, windows, and folders of version 1.

use super::super::{Outcome, judge};
use super::*;
use crate::expect::Names;
use crate::metrics::latency::Latency;
use crate::metrics::watch::Around;
use crate::results::hlog::Distribution;
use Outcome::{Fail, Inconclusive, Pass};

/// Samples: time in µs, and how many.
type Samples<'a> = &'a [(u64, u64)];

fn evidence(distributions: Vec<Distribution>) -> Evidence {
    Evidence {
        measured_s: 60.0,
        aborted: false,
        seeds: None,
        lost: Vec::new(),
        unreliable: Vec::new(),
        ready: Some(1),
        simulated: false,
        seen_from: crate::metrics::meta::SeenFrom::Client,
        first_version: false,
        counted: crate::expect::Metric::all_counted().into_iter().collect(),
        planned: [("web".to_owned(), 1)].into(),
        peaks: Default::default(),
        losses: Vec::new(),
        counts: Vec::new(),
        windows: Vec::new(),
        distributions,
    }
}

#[test]
fn a_simulated_time_that_nothing_was_modelled_of_is_no_data() {
    let expectation = |metric: &str| self::expectation(&format!("{metric} p50 < 1s"));
    let run = |metric: &str, simulated, us| {
        let mut latency = Latency::new();
        latency.record_n(us, 50);
        let row =
            Distribution { metric: metric.to_owned(), cohort: "web".to_owned(), fault: None, window: None, latency, around: Vec::new() };
        weigh(&Evidence { simulated, ..evidence(vec![row]) }, &expectation(metric)).outcome
    };
    for metric in ["rtt", "rtt_from_sent", "opening_handshake", "tcp_connect", "tls", "detect", "attempt", "close_ack"] {
        assert_eq!((run(metric, true, 0), run(metric, true, 1), run(metric, false, 0)), (Inconclusive, Pass, Pass), "{metric}");
    }
    // A client may come back at once.
    assert_eq!((run("reconnect_time", true, 0), run("backoff", true, 0)), (Pass, Pass));
}

fn expectation(text: &str) -> Expectation {
    Expectation::parse(text, Names { cohorts: &["web".to_owned()], ..Names::default() }).unwrap()
}

/// What a run with these samples kept, which counted around the limit or did not know of it.
fn kept(limit: Option<f64>, [ended, cut, never]: [Samples<'_>; 3]) -> Evidence {
    let distribution = |(suffix, samples): (&str, Samples<'_>)| {
        let (mut latency, mut around) = (Latency::new(), limit.map(Around::new));
        for (us, n) in samples {
            latency.record_n(*us, *n);
            around.iter_mut().for_each(|around| around.count(*us, *n));
        }
        let (metric, around) = (format!("reconnect_time{suffix}"), around.into_iter().collect());
        Distribution { metric, cohort: "web".to_owned(), fault: None, window: None, latency, around }
    };
    let kinds = [("", ended), ("_censored", cut), ("_never", never)];
    evidence(kinds.into_iter().filter(|(_, samples)| !samples.is_empty()).map(distribution).collect())
}

#[track_caller]
fn check(stat: &str, samples: [Samples<'_>; 3], expected: Outcome) -> Finding {
    let expectation = expectation(&format!("reconnect_time {stat}"));
    let finding = weigh(&kept(Some(expectation.limit.value()), samples), &expectation);
    assert_eq!(finding.outcome, expected, "{stat} {samples:?}: {} {:?}", finding.reason, finding.note);
    finding
}

#[test]
fn the_edge_of_a_bucket_does_not_decide() {
    // One bucket holds 9.994 s to 10.002 s.
    let all: Samples<'_> = &[(9_996_000, 50)];
    let exact: Samples<'_> = &[(10_000_000, 50)];
    for (stat, samples, expected) in [
        ("max < 10s", all, Pass),
        ("min >= 10s", all, Fail),
        ("p50 < 10s", all, Pass),
        ("p50 >= 10s", all, Fail),
        ("max < 10s", exact, Fail),
        ("max <= 10s", exact, Pass),
        ("min >= 10s", exact, Pass),
        ("min > 10s", exact, Fail),
        ("p50 < 10s", exact, Fail),
        ("p50 <= 10s", exact, Pass),
        ("p50 >= 10s", exact, Pass),
        ("p50 > 10s", exact, Fail),
        ("p50 == 10s", exact, Pass),
        ("p50 != 10s", exact, Fail),
        ("p50 == 10s", all, Fail),
        ("p50 < 10s", &[(9_996_000, 25), (10_001_000, 25)], Pass), // 25 of 50 are below
        ("p50 < 10s", &[(9_996_000, 24), (10_001_000, 26)], Fail),
        ("p50 > 10s", &[(9_996_000, 24), (10_001_000, 26)], Pass),
        ("max < 10s", &[(9_996_000, 49), (10_001_000, 1)], Fail),
        ("mean < 10s", &[(9_996_000, 49), (10_001_000, 1)], Pass),
    ] {
        check(stat, [samples, &[], &[]], expected);
    }
    assert_eq!(check("p50 < 10s", [&[(9_996_000, 25), (10_001_000, 25)], &[], &[]], Pass).observed, Some(9_999_999.0));
    assert_eq!(check("p50 > 10s", [&[(9_996_000, 24), (10_001_000, 26)], &[], &[]], Pass).observed, Some(10_001_000.0));
}

#[test]
fn a_limit_of_which_the_run_did_not_know_is_inconclusive_in_its_bucket_only() {
    let samples: [Samples<'_>; 3] = [&[(9_996_000, 25), (10_001_000, 25)], &[], &[]];
    for (stat, expected) in [
        ("p50 < 10s", Inconclusive), // 9.994 s to 10.002 s is one bucket
        ("p50 == 10s", Inconclusive),
        ("p50 < 10003ms", Pass),
        ("p50 < 9990ms", Fail),
        ("p50 > 9990ms", Pass),
        ("max < 10s", Fail), // the extremes are exact
        ("max < 10002ms", Pass),
        ("min >= 9996ms", Pass),
    ] {
        let expectation = expectation(&format!("reconnect_time {stat}"));
        let finding = weigh(&kept(None, samples), &expectation);
        assert_eq!(finding.outcome, expected, "{stat}: {}", finding.reason);
        assert!(finding.outcome != Inconclusive || finding.reason.contains("did not count exactly at this limit"), "{}", finding.reason);
    }
}

#[test]
fn few_samples_never_pass_and_fail_only_beyond_chance() {
    for (stat, samples, expected, reason) in [
        ("p99 < 1s", [&[(1_000, 298)][..], &[], &[]], Inconclusive, "298 samples; p99 needs 299"),
        ("p99 < 1s", [&[(1_000, 299)], &[], &[]], Pass, "observed 1ms"),
        ("p95 < 1s", [&[(1_000, 58)], &[], &[]], Inconclusive, "58 samples; p95 needs 59"),
        ("p95 < 1s", [&[(1_000, 59)], &[], &[]], Pass, "observed"),
        ("p50 < 1s", [&[(1_000, 4)], &[], &[]], Inconclusive, "4 samples; p50 needs 5"),
        ("p50 < 1s", [&[(1_000, 1)], &[], &[]], Inconclusive, "1 sample; p50 needs 5"),
        ("p50 < 1s", [&[(1_000, 5)], &[], &[]], Pass, "observed"),
        ("p99.9 < 1s", [&[(1_000, 2_994)], &[], &[]], Inconclusive, "2994 samples; p99.9 needs 2995"),
        ("p999 < 1s", [&[(1_000, 2_995)], &[], &[]], Pass, "observed"),
        ("p99 < 1s", [&[(1_000, 47), (2_000_000, 3)], &[], &[]], Fail, "3 of 50 samples: 1s or more, too many for p99 at 95 % confidence"),
        ("p99 < 1s", [&[(1_000, 48), (2_000_000, 2)], &[], &[]], Inconclusive, "50 samples; p99 needs 299"),
        ("p99 < 1s", [&[(1_000, 47), (1_000_000, 3)], &[], &[]], Fail, "3 of 50"), // at the limit is not below it
        ("p99 <= 1s", [&[(1_000, 47), (1_000_000, 3)], &[], &[]], Inconclusive, "50 samples"), // but it is at most the limit
        ("p99 <= 1s", [&[(1_000, 47), (1_000_001, 3)], &[], &[]], Fail, "3 of 50 samples: 1s exceeded"),
        ("p99 < 1s", [&[(1_000, 47)], &[(1_000_000, 2), (2_000_000, 1)], &[]], Fail, "3 of 50"), // cut at the limit or later
        ("p99 < 1s", [&[(1_000, 47)], &[(5_000_000, 1)], &[(10, 2)]], Fail, "3 of 50"),          // who gave up never returns
        // What was cut before the limit counts on neither side: neither as one of those beyond it, nor as one of how many.
        ("p99 < 1s", [&[(1_000, 47), (2_000_000, 3)], &[(500_000, 200)], &[]], Fail, "3 of 50"),
        (
            "p99 < 1s",
            [&[(1_000, 48), (2_000_000, 2)], &[(500_000, 900)], &[]],
            Inconclusive,
            "50 samples; p99 needs 299 (900 more were cut off before 1s)",
        ),
        ("p99 < 1s", [&[], &[(500_000, 9)], &[]], Inconclusive, "0 samples; p99 needs 299 (9 more"),
        ("p99 < 1s", [&[], &[(1_000_000, 1)], &[]], Fail, "1 of 1"), // nothing came, and that for long enough
        // Lower limits: none below p10 says as little as none above p90.
        ("p10 > 1s", [&[(2_000_000, 28)], &[], &[]], Inconclusive, "28 samples; p10 needs 29"),
        ("p10 > 1s", [&[(2_000_000, 29)], &[], &[]], Pass, "observed"),
        ("p10 > 1s", [&[(2_000_000, 22), (1_000, 6)], &[], &[]], Inconclusive, "28 samples"),
        ("p10 > 1s", [&[(2_000_000, 21), (1_000, 7)], &[], &[]], Fail, "7 of 28 samples: 1s or less, too many for p10"),
        ("p10 > 1s", [&[(2_000_000, 21), (1_000_000, 7)], &[], &[]], Fail, "7 of 28"),
        ("p10 >= 1s", [&[(2_000_000, 21), (1_000_000, 7)], &[], &[]], Inconclusive, "28 samples"),
        ("p1 >= 1s", [&[(2_000_000, 47), (1_000, 3)], &[], &[]], Fail, "3 of 50 samples: 1s not reached"),
        ("p99 > 1s", [&[(2_000_000, 50)], &[], &[]], Inconclusive, "50 samples; p99 needs 299"),
        ("p90 == 1s", [&[(2_000_000, 28)], &[], &[]], Fail, "28 of 28"),
        ("p90 != 1s", [&[(2_000_000, 28)], &[], &[]], Inconclusive, "28 samples"),
        // The extremes always decide.
        ("max < 1s", [&[(1_000, 1)], &[], &[]], Pass, "observed"),
        ("max < 1s", [&[(1_000, 1), (1_000_000, 1)], &[], &[]], Fail, "observed 1s"),
        ("min > 1s", [&[(1_000, 1)], &[], &[]], Fail, "observed"),
    ] {
        let finding = check(stat, samples, expected);
        assert!(finding.reason.starts_with(reason), "{stat}: {}", finding.reason);
        assert_eq!(finding.few.is_some(), expected == Inconclusive, "{stat}");
    }
}

#[test]
fn what_was_cut_at_the_limit_or_later_is_beyond_it_and_what_was_cut_before_does_not_decide() {
    for (stat, samples, expected, words) in [
        ("max < 2s", [&[(100_000, 9)][..], &[(2_000_000, 1)], &[]], Fail, "not reached in 2s: 1 did not end"),
        ("max <= 2s", [&[(100_000, 9)], &[(2_000_000, 1)], &[]], Pass, "not counting 1 that did not end and was cut off after at most 2s"),
        ("max < 2s", [&[(100_000, 9)], &[(1_999_999, 3)], &[]], Pass, "not counting 3 that did not end"),
        ("max < 2s", [&[(3_000_000, 1)], &[(1_000_000, 3)], &[]], Fail, "not counting 3"),
        ("max < 2s", [&[], &[(2_500_000, 3)], &[]], Fail, "not reached in 2.5s: 3 did not end"), // nothing was answered
        ("max < 2s", [&[], &[(1_500_000, 3)], &[]], Inconclusive, "unknown: at least 1.5s"),
        ("max < 1h", [&[(100_000, 9)], &[], &[(5, 2)]], Fail, "never: 2 gave up"),
        ("max > 2s", [&[(100_000, 9)], &[(2_500_000, 1)], &[]], Pass, "not reached in 2.5s"),
        ("max > 2s", [&[(100_000, 9)], &[(1_500_000, 1)], &[]], Inconclusive, "unknown: at least 1.5s"),
        ("max > 2s", [&[(3_000_000, 9)], &[(1_500_000, 1)], &[]], Pass, "not counting 1"),
        ("max < 2h", [&[(10_800_000_000, 1)], &[], &[]], Fail, "observed 3h"), // more than the histogram holds
        ("min < 2s", [&[(1_000_000, 1)], &[(500_000, 4)], &[]], Pass, "not counting 4"),
        ("min >= 2s", [&[], &[(2_500_000, 4)], &[]], Pass, "not reached in 2.5s"),
        ("min < 2s", [&[], &[(2_500_000, 4)], &[]], Fail, "not reached in 2.5s"),
        ("mean < 2s", [&[(1_000_000, 1)], &[(500_000, 4)], &[]], Inconclusive, "the mean is unknown"),
        // 50 of 100 gave up, the others took 8 s: half are back, and never more.
        ("p50 < 10s", [&[(8_000_000, 50)], &[], &[(16_000_000, 50)]], Pass, "observed 8s"),
        ("p90 < 10s", [&[(8_000_000, 50)], &[], &[(16_000_000, 50)]], Fail, "never: 50 gave up"),
        ("p90 < 40s", [&[(1_000_000, 50)], &[(30_000_000, 50)], &[]], Inconclusive, "not reached in 30s"), // of the others nothing is known at 40 s
        ("p50 < 40s", [&[(1_000_000, 40)], &[(30_000_000, 60)], &[]], Inconclusive, "not reached in 30s"),
        ("p50 < 30s", [&[(1_000_000, 40)], &[(30_000_000, 60)], &[]], Fail, "not reached in 30s"),
    ] {
        let finding = check(stat, samples, expected);
        let said = format!("{} | {}", finding.reason, finding.note.unwrap_or_default());
        assert!(said.contains(words), "{stat}: {said}");
    }
}

#[test]
fn a_window_that_the_run_did_not_keep_is_inconclusive() {
    let windowed = expectation("reconnect_time{from=10s,to=40s} p50 < 1s");
    let window = Window { from: Some(10), to: Some(40) };
    let mut evidence = kept(Some(1e6), [&[(1_000, 9)], &[], &[]]);
    let finding = weigh(&evidence, &windowed);
    assert_eq!((finding.outcome, finding.reason.contains("run it again")), (Inconclusive, true), "{}", finding.reason);
    evidence.windows.push(("reconnect_time".to_owned(), window));
    assert_eq!(weigh(&evidence, &windowed).reason, "no data: nothing of this kind was measured");
    evidence.distributions[0].window = Some(window);
    assert_eq!(weigh(&evidence, &windowed).outcome, Pass);
    assert_eq!(weigh(&evidence, &expectation("reconnect_time p50 < 1s")).outcome, Inconclusive, "all is another distribution");
}

#[test]
fn a_folder_of_version_1_is_judged_as_before_and_says_so() {
    let first = |samples: [Samples<'_>; 3]| Evidence { first_version: true, ..kept(None, samples) };
    for (stat, samples, expected) in [
        ("p50 < 1s", [&[(1_000, 1)][..], &[], &[]], Pass),
        ("p99 < 1s", [&[(1_000, 298)], &[], &[]], Inconclusive),
        ("p50 < 10s", [&[(1_000, 50)], &[(30_000_000, 60)], &[]], Fail),
        ("max < 40s", [&[(1_000, 50)], &[(30_000_000, 60)], &[]], Inconclusive),
    ] {
        let verdict = judge(&first(samples), &[expectation(&format!("reconnect_time {stat}"))]);
        assert_eq!(verdict.result, expected.name(), "{stat}: {:?}", verdict.reasons);
        assert!(verdict.reasons.iter().any(|reason| reason.contains("schema version 1")), "{:?}", verdict.reasons);
    }
}
