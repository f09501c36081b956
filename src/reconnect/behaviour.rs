//! Tests: the surprises of real libraries, as their users meet them.

use super::{Decision, History, Loss, Policy};
use crate::event::GiveUp;
use crate::seed::Seed;
use std::time::Duration;

const CUT: Loss = Loss::Closed { code: 1006 };

fn s(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn preset(name: &str) -> Policy {
    Policy::preset(name).unwrap()
}

/// A client whose first connection opened and was ready at 0; draws are 0.37.
fn connected(policy: &Policy) -> History {
    let mut history = policy.start(&mut || 0.37);
    history.attempt_started(s(0.0));
    history.opened(s(0.0));
    history.ready();
    history
}

fn decide(policy: &Policy, history: &mut History, loss: Loss, now: f64) -> Decision {
    policy.decide(history, &loss, s(now), &mut || 0.37)
}

fn wait(seconds: f64) -> Decision {
    Decision::Wait(s(seconds))
}

fn final_by(what: &str) -> Decision {
    Decision::GiveUp(GiveUp::Final { what: what.to_owned() })
}

#[test]
fn the_first_loss_is_judged_as_the_library_does() {
    let code = |code| Loss::Closed { code };
    for (name, loss, expected) in [
        ("graphql-ws", code(1006), wait(2.299)),
        ("graphql-ws", code(1000), wait(0.0)), // a polite shutdown brings everybody back at once
        ("graphql-ws", code(1011), final_by("status code 1011")),
        ("graphql-ws", code(4403), wait(2.299)), // not among its fatal codes
        ("phoenix", code(1000), wait(0.01)),
        ("phoenix-1.7", code(1000), final_by("status code 1000")),
        ("y-websocket", code(4499), final_by("status code 4499")),
        ("pusher-js", code(4100), wait(1.0)),
        ("pusher-js", code(4200), wait(0.0)),
        ("pusher-js", code(4001), final_by("status code 4001")),
        ("sockjs-client", code(1006), Decision::GiveUp(GiveUp::NoReconnect)),
    ] {
        let policy = preset(name);
        assert_eq!(decide(&policy, &mut connected(&policy), loss.clone(), 60.0), expected, "{name} {loss:?}");
    }
}

#[test]
fn a_failed_attempt_is_judged_as_the_library_does() {
    for (name, loss, expected) in [
        ("graphql-ws", Loss::Failed, final_by("failed connect")),
        ("graphql-ws", Loss::TimedOut, final_by("timed out connect")),
        ("graphql-ws", Loss::Rejected { status: 503 }, final_by("HTTP status 503")),
        ("graphql-ws-retry-all", Loss::Failed, wait(3.299)),
        ("python-websockets", Loss::Rejected { status: 429 }, final_by("HTTP status 429")),
        ("python-websockets", Loss::Rejected { status: 503 }, wait(1.85)),
        ("python-websockets", Loss::TimedOut, wait(1.85)),
        ("slack-socket-mode", Loss::Failed, wait(5.0)), // each HTTP answer, of another server, sets its count back
        ("slack-socket-mode", Loss::Rejected { status: 503 }, wait(5.0)),
    ] {
        let policy = preset(name);
        let mut history = connected(&policy);
        decide(&policy, &mut history, CUT, 60.0);
        history.attempt_started(s(70.0));
        assert_eq!(decide(&policy, &mut history, loss.clone(), 70.0), expected, "{name} {loss:?}");
    }
}

#[test]
fn a_failed_very_first_connect_is_judged_as_the_library_does() {
    for (name, expected) in [
        ("signalr", final_by("first attempt: failed connect")),
        ("nats", final_by("first attempt: failed connect")),
        ("python-websockets", wait(1.85)), // skips the immediate retry
        ("robust-websocket", wait(3.0)),   // skips the first entry of its table
        ("trpc-wslink", wait(0.0)),        // its lead, too
        ("y-websocket-2", wait(0.2)),      // an attempt that never opened is counted
        ("ably", wait(15.0 * 0.874)),      // no lead, k = 0
        ("pusher-js", wait(15.0 - 2.0)),   // from the start of the attempt
    ] {
        let policy = preset(name);
        let mut history = policy.start(&mut || 0.37);
        history.attempt_started(s(8.0));
        assert_eq!(decide(&policy, &mut history, Loss::Failed, 10.0), expected, "{name}");
    }
}

#[test]
fn nats_does_not_see_that_a_connection_ends_before_its_first_message() {
    let policy = preset("nats");
    let mut history = connected(&policy);
    assert_eq!(decide(&policy, &mut history, CUT, 60.0), wait(0.0));
    // Nine dials of 20 s each; each is the next attempt's, because 2 s from its start are past.
    for dial in 0..9 {
        let start = 60.0 + 20.0 * f64::from(dial);
        history.attempt_started(s(start));
        history.opened(s(start + 0.25));
        assert_eq!(decide(&policy, &mut history, Loss::Closed { code: 1013 }, start + 0.5), wait(19.5), "{dial}");
    }
    history.attempt_started(s(240.0));
    assert_eq!(decide(&policy, &mut history, CUT, 240.5), Decision::GiveUp(GiveUp::Retries));
    // A client that was never ready gives up with its first dial.
    let mut history = policy.start(&mut || 0.37);
    history.attempt_started(s(0.0));
    history.opened(s(0.5));
    assert_eq!(decide(&policy, &mut history, CUT, 1.0), final_by("first attempt: timed out connect"));
}

#[test]
fn reconnecting_websocket_is_reset_only_by_five_seconds_open() {
    let policy = preset("reconnecting-websocket");
    for (lived, expected) in [(4.9, 3.224), (5.0, 2.48)] {
        let mut history = connected(&policy);
        assert_eq!(decide(&policy, &mut history, CUT, 60.0), wait(2.48));
        history.attempt_started(s(62.48));
        history.opened(s(62.5));
        assert_eq!(decide(&policy, &mut history, CUT, 62.5 + lived), wait(expected), "{lived}");
    }
}

#[test]
fn signalr_gives_up_after_four() {
    let policy = preset("signalr");
    let mut history = connected(&policy);
    let mut loss = CUT;
    for (index, expected) in [0.0, 2.0, 10.0, 30.0].into_iter().enumerate() {
        assert_eq!(decide(&policy, &mut history, loss, 60.0 + index as f64), wait(expected));
        history.attempt_started(s(60.0 + index as f64));
        loss = Loss::Failed;
    }
    assert_eq!(decide(&policy, &mut history, loss, 70.0), Decision::GiveUp(GiveUp::Retries));
}

#[test]
fn delays_from_the_attempt_start_shrink_by_its_length() {
    let policy = preset("pusher-js");
    let mut history = connected(&policy);
    assert_eq!(decide(&policy, &mut history, CUT, 100.0), wait(1.0));
    history.attempt_started(s(101.0));
    assert_eq!(policy.connect_timeout(&history), Some(s(15.0)));
    assert_eq!(decide(&policy, &mut history, Loss::Failed, 105.0), wait(11.0));
    history.attempt_started(s(116.0));
    assert_eq!(policy.connect_timeout(&history), Some(s(30.0)));
    assert_eq!(decide(&policy, &mut history, Loss::TimedOut, 146.0), wait(0.0)); // past: at once
    history.attempt_started(s(146.0));
    assert_eq!(policy.connect_timeout(&history), Some(s(60.0)));
}

#[test]
fn a_code_with_its_own_delay_stands_for_the_lead() {
    let policy = preset("pusher-js");
    let mut history = policy.start(&mut || 0.37);
    history.attempt_started(s(0.0));
    assert_eq!(decide(&policy, &mut history, Loss::Failed, 0.0), wait(15.0)); // no lead for a first connect
    for code in [4200, 4100, 1006] {
        history.attempt_started(s(15.0));
        history.opened(s(15.0));
        history.ready();
        decide(&policy, &mut history, Loss::Closed { code }, 60.0);
        history.attempt_started(s(61.0));
        assert_eq!(decide(&policy, &mut history, Loss::Failed, 61.0), wait(15.0), "{code}");
    }
}

#[test]
fn the_connect_timeout_grows_with_failed_attempts_only() {
    let policy = preset("subscriptions-transport-ws");
    let mut history = connected(&policy);
    decide(&policy, &mut history, CUT, 60.0);
    assert_eq!(policy.connect_timeout(&history), Some(s(1.0)));
    for expected in [1.2, 1.44] {
        decide(&policy, &mut history, Loss::TimedOut, 61.0);
        assert_eq!(policy.connect_timeout(&history), Some(s(expected)));
    }
    (0..50).for_each(|_| drop(decide(&policy, &mut history, Loss::TimedOut, 61.0)));
    assert_eq!(policy.connect_timeout(&history), Some(s(30.0)));
}

#[test]
fn nats_sleeps_on_while_a_new_draw_is_longer() {
    let policy = preset("nats");
    let mut history = connected(&policy);
    assert_eq!(decide(&policy, &mut history, CUT, 60.0), wait(0.0));
    history.attempt_started(s(60.0));
    // draws 20, 50, 90, 10 of 100 ms: sleeps to 90
    let mut draws = [0.2, 0.5, 0.9, 0.1].into_iter();
    let waited = policy.decide(&mut history, &Loss::Failed, s(60.5), &mut || draws.next().unwrap());
    assert_eq!(waited, wait(2.090 - 0.5));

    let mut stream = Seed(3).stream("nats");
    let mean = (0..20_000).map(|_| {
        let mut fresh = connected(&policy);
        match policy.decide(&mut fresh, &CUT, s(0.0), &mut || stream.unit()) {
            Decision::Wait(wait) => wait.as_secs_f64() * 1000.0 - 2000.0,
            Decision::GiveUp(why) => panic!("{why:?}"),
        }
    });
    let mean = mean.sum::<f64>() / 20_000.0;
    assert!((mean - 71.8).abs() < 1.0, "{mean}"); // e - 2 of 100 ms
}

#[test]
fn ably_clients_attempt_together_after_two_minutes() {
    let policy = preset("ably");
    for u in [0.0, 0.37, 0.99] {
        let mut history = connected(&policy);
        let mut now = s(1000.0);
        let mut attempts = Vec::new();
        let mut loss = CUT;
        while now < s(1200.0) {
            match policy.decide(&mut history, &loss, now, &mut || u) {
                Decision::Wait(wait) => now += wait,
                Decision::GiveUp(why) => panic!("{why:?}"),
            }
            history.attempt_started(now);
            attempts.push((now - s(1000.0)).as_secs_f64());
            loss = Loss::Failed;
        }
        attempts.retain(|at| *at > 120.0);
        assert_eq!(attempts, [150.0, 180.0, 210.0], "{u}");
    }
}
