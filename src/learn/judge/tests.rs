//! Rules before made-up findings.

use super::*;
use crate::estimate::{SeenOutage, fit, on_a_busy_machine};
use crate::learn::findings::{AfterCode, HeldClose, PingFlood, StayedAway};
use crate::seed::Seed;

fn found(outages: Vec<SeenOutage>) -> Findings {
    Findings { fit: fit(&outages, Seed(1)), outages, ..Findings::default() }
}

fn result(judge: fn(&Findings, Option<Duration>) -> Judgement, found: &Findings) -> &'static str {
    judge(found, Some(Duration::from_secs(60))).parts().0
}

/// First waits of as many outages.
fn first_waits(waits_ms: &[f64]) -> Findings {
    let one = |(client, wait_ms): (usize, &f64)| SeenOutage { client: client as u32, waits_ms: vec![*wait_ms] };
    Findings { outages: waits_ms.iter().enumerate().map(one).collect(), ..Findings::default() }
}

#[test]
fn what_a_busy_machine_does_is_no_random_first_wait() {
    for (waits_ms, expected) in [
        // As MQTT.js: always one second.
        (&[1_004.0, 1_009.0, 1_022.0, 1_041.0, 1_003.0, 1_030.0][..], "not tested"),
        (&[1_001.0, 1_002.0, 1_003.0, 1_002.0, 1_001.0, 1_004.0], "fail"),
        (&[1_001.0, 1_002.0, 1_003.0, 1_002.0, 1_001.0, 1_110.0], "not tested"),
        (&[1_001.0, 1_200.0, 1_803.0, 1_502.0, 1_951.0, 1_110.0], "pass"),
        (&[1.0, 2.0, 40.0, 3.0, 22.0, 18.0], "fail"),
        (&[15_004.0, 15_300.0, 15_009.0, 15_500.0, 15_004.0, 15_004.0], "not tested"),
    ] {
        assert_eq!(result(first_random, &first_waits(waits_ms)), expected, "{waits_ms:?}");
    }
}

#[test]
fn what_a_busy_machine_does_is_no_jitter() {
    let waits = [1_000.0, 15_000.0, 30_000.0, 60_000.0];
    assert_eq!(result(jitter, &found(vec![SeenOutage { client: 1, waits_ms: waits.to_vec() }; 6])), "fail");
    assert_ne!(result(jitter, &found(on_a_busy_machine(&waits))), "pass");
    let mut one_late = on_a_busy_machine(&waits);
    one_late[5].waits_ms[0] += 110.0;
    assert_ne!(result(jitter, &found(one_late)), "pass");
    // As reconnecting-websocket: a base for each process.
    let bases = on_a_busy_machine(&waits).into_iter().map(|mut outage| {
        outage.waits_ms.iter_mut().for_each(|wait| *wait *= 1.0 + 0.3 * f64::from(outage.client));
        outage
    });
    assert_eq!(result(jitter, &found(bases.collect())), "pass");
}

/// No data is not a pass.
#[test]
fn a_list_whose_end_was_not_seen_has_no_longest_wait() {
    let steady = |waits_ms: &[f64]| found(vec![SeenOutage { client: 1, waits_ms: waits_ms.to_vec() }; 6]);
    for (waits_ms, expected) in [
        (&[1_000.0, 2_000.0, 5_000.0, 10_000.0][..], "not tested"),
        (&[1_000.0, 2_000.0, 5_000.0, 10_000.0, 10_000.0, 10_000.0], "pass"),
        (&[3_000.0; 5], "pass"),
        (&[3_000.0], "not tested"),
        (&[1_000.0, 500.0], "not tested"),
        (&[1_000.0, 90_000.0], "fail"),
        // A minute, seen a little later.
        (&[15_000.0, 30_000.0, 60_004.0, 60_007.0, 60_005.0], "pass"),
    ] {
        let found = steady(waits_ms);
        assert_eq!(result(cap, &found), expected, "{waits_ms:?}: {:?} {:?}", cap(&found, Some(Duration::from_secs(60))), found.fit);
    }
    let mut away = steady(&[3_000.0; 5]);
    away.gave_up = vec![StayedAway { attempts: 5, within: Some(Duration::from_secs(40)) }];
    assert_eq!(result(cap, &away), "not tested", "it may have come later");
    away.gave_up[0].within = None;
    assert_eq!(result(cap, &away), "pass", "its process had ended");
}

#[test]
fn whether_it_returns_is_known_after_all_codes_and_a_refused_connection() {
    let back = Return::After(Duration::from_secs(1));
    let codes = [1001, NO_STATUS, ABNORMAL, 1011, 1012, 1013].map(|code| AfterCode { code, back, answered: None });
    let mut found = Findings { codes: codes.to_vec(), ..first_waits(&[1_000.0]) };
    assert_eq!(result(returns, &found), "not tested");
    found.closed_port = Some(back);
    assert_eq!(result(returns, &found), "pass");
    found.closed_port = Some(Return::NotWithin(Duration::from_secs(40)));
    assert_eq!(result(returns, &found), "fail");
    found.closed_port = Some(back);
    found.codes.pop();
    assert_eq!(result(returns, &found), "not tested");
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_comes_behind_a_close_frame_is_judged_where_something_came_before_it() {
    let trial = |answered, data_before, data_after| HeldClose {
        answered,
        hung_up: Return::After(30 * SECOND),
        by_reset: false,
        data_before,
        data_unanswered: 0,
        last_unanswered: None,
        data_after,
        back: Return::After(33 * SECOND),
        hold: 62 * SECOND,
    };
    let judged = |trials: &[HeldClose]| result(quiet_after_close, &Findings { held_closes: trials.to_vec(), ..Findings::default() });
    assert_eq!(judged(&[]), "not tested");
    assert_eq!(judged(&[trial(Some(SECOND), 2, 0)]), "not tested", "it sends nothing anyway");
    assert_eq!(judged(&[trial(None, 5, 0)]), "not tested", "it sent no Close frame");
    assert_eq!(judged(&[trial(Some(SECOND), 5, 0), trial(Some(SECOND), 1, 0)]), "pass");
    assert_eq!(judged(&[trial(Some(SECOND), 5, 0), trial(Some(SECOND), 0, 1)]), "fail");
}

#[test]
fn tcp_that_the_server_kept_open_for_less_than_the_limit_says_nothing() {
    let judged = |trials: &[(u32, u32)]| {
        let trial = |(back, hold): &(u32, u32)| HeldClose {
            answered: Some(Duration::ZERO),
            hung_up: Return::After(Duration::ZERO),
            by_reset: false,
            data_before: 0,
            data_unanswered: 0,
            last_unanswered: None,
            data_after: 0,
            back: Return::After(SECOND * *back),
            hold: SECOND * *hold,
        };
        result(close_end, &Findings { held_closes: trials.iter().map(trial).collect(), ..Findings::default() })
    };
    assert_eq!(judged(&[]), "not tested");
    assert_eq!(judged(&[(1, 3), (4, 3)]), "not tested");
    assert_eq!(judged(&[(1, 3), (2, 3)]), "pass");
    assert_eq!(judged(&[(1, 62), (63, 62)]), "fail");
    assert_eq!(judged(&[(33, 62), (34, 62)]), "pass");
}

#[test]
fn a_client_may_answer_the_last_ping_alone_but_must_stay() {
    let flood = |answered, last, ended: Option<&str>| PingFlood {
        sent: 3000,
        answered,
        last,
        later: true,
        ended: ended.map(str::to_owned),
        data_before: 0,
        before: SECOND,
        data_after: 0,
        after: SECOND,
    };
    let judged = |floods: &[PingFlood]| result(pings, &Findings { ping_floods: floods.to_vec(), ..Findings::default() });
    assert_eq!(judged(&[]), "not tested");
    assert_eq!(judged(&[flood(3000, true, None), flood(1, true, None)]), "pass");
    assert_eq!(judged(&[flood(3000, true, None), flood(2999, false, None)]), "fail");
    assert_eq!(judged(&[flood(0, false, None)]), "fail");
    assert_eq!(judged(&[flood(3000, true, Some("a Close frame with 1008"))]), "fail");
}
