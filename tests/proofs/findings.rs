//! What a run finds out by itself: which silent connections its heartbeats found, endings that the catalogue does not expect, and
//! what the rows of listener faults count.

use super::arms::{cohorts_of, observe};
use super::wire::{Act, Script, ms};
use crate::common::start;

fn fault(name: &str, at: u64, more: &str, inject: &str) -> String {
    format!("[[faults]]\nname = \"{name}\"\nat = \"{at}ms\"\nselect = {{ cohort = \"{name}\" }}\n{more}\ninject = {{ {inject} }}\n")
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn heartbeats_find_what_theory_says_and_no_jam_shorter_than_their_timeout() {
    let cohort = |name: &str, heartbeat: &str, traffic: &str| {
        format!("[clients.{name}]\ncount = 5\narrive = {{ at_once = true }}\nreconnect = \"none\"\nheartbeat = {heartbeat}\n{traffic}\n")
    };
    let quick = "{ every = \"1s\", timeout = \"1s\" }";
    let held = "for = \"4s\"\nside = \"client\"";
    let served = "for = \"4s\"\nside = \"server\"";
    // The window of a server that does not read closes over the traffic: the pings behind it do not leave, their deadline passes all the same.
    let traffic = "traffic = { send = { rate = \"50/s\", payload = \"128KiB\" } }";
    let scenario = [
        "duration = \"6s\"\n[target.embedded]\n".to_owned(),
        cohort("freeze", quick, ""),
        cohort("hole", quick, ""),
        cohort("jam", quick, ""),
        cohort("window", quick, traffic),
        cohort("nobody", "\"none\"", ""),
        cohort("short", quick, ""),
        fault("freeze", 500, served, "freeze = {}"),
        fault("hole", 500, held, "blackhole = {}"),
        fault("jam", 500, held, "hold_release = {}"),
        fault("window", 500, served, "stop_reading = { rcvbuf = \"4KiB\" }"),
        fault("nobody", 500, held, "hold_release = {}"),
        // Reverted every 700 ms: that must not put off the deadlines of others either.
        fault("short", 500, "every = \"700ms\"\nfor = \"300ms\"\nside = \"client\"", "hold_release = {}"),
    ];
    let run = start(&scenario.concat()).finish().await;
    assert_eq!(run.summary.liveness.len(), 6);
    for row in &run.summary.liveness {
        let finds = !matches!(row.fault.as_str(), "nobody" | "short");
        let bounds = finds.then_some((1000, 2000));
        assert_eq!((row.earliest_ms.zip(row.latest_ms), row.why_none.is_none()), (bounds, finds), "{row:?}");
        let expected = if finds { 5 } else { 0 };
        assert_eq!((row.detect_us.count, row.ended_otherwise), (expected, 0), "{row:?}");
        if finds {
            // Later only by what a busy machine adds; sooner only by a round trip.
            assert!(row.detect_us.min.is_some_and(|min| min > 900_000), "{row:?}");
            assert_eq!((row.silenced, row.unnoticed), (5, 0), "{row:?}");
        }
    }
    let window = &run.summary.cohorts["window"].messages;
    assert!(window.not_started > 0, "the window was closed: {window:?}");
    assert!(run.summary.surprises.is_empty(), "{:?}", run.summary.surprises);
}

#[tokio::test]
async fn an_answer_that_the_catalogue_does_not_expect_is_a_surprise() {
    let close = "[[faults]]\nname = \"close\"\nat = \"300ms\"\nside = \"client\"\ninject = { close_code = { code = 4000 } }\n";
    // An observer that answers every Close frame with a code of its own, and one that echoes as it should.
    let surprising = Script { never_acks: true, ..Script::default() }.and(ms(700), Act::Close(4321)).and(ms(720), Act::Fin);
    let scenario = cohorts_of(1, "") + close;
    let ((_, surprised), (_, calm)) =
        tokio::join!(observe(&scenario, move |_| surprising.clone()), observe(&scenario, |_| Script::default()));
    assert_eq!(calm.summary.surprises, []);
    let [surprise] = &surprised.summary.surprises[..] else { panic!("{:?}", surprised.summary.surprises) };
    assert_eq!((surprise.fault.as_str(), surprise.side.as_str(), surprise.count), ("close", "client", 1));
    assert_eq!((&surprise.expected[..], surprise.observed), (&[4000][..], 4321));
}

#[tokio::test]
async fn rows_of_listener_faults_count_the_instances_that_they_reached() {
    let scenario = "duration = \"1500ms\"\n[target.embedded]\ninstances = 3\n[clients.web]\ncount = 3\narrive = { at_once = true }\n\
        [[faults]]\nname = \"all\"\nat = \"300ms\"\nfor = \"300ms\"\ninject = { connect_refuse = {} }\n\
        [[faults]]\nname = \"one\"\nat = \"900ms\"\nfor = \"300ms\"\ninject = { backlog_full = { backlog = 1, instance = 2 } }\n";
    let run = start(scenario).finish().await;
    for (id, instances) in [("all", 3), ("one", 1)] {
        let row = run.fault(id);
        assert_eq!((row.fired, row.selected, row.injected), (1, instances, instances), "{id}");
    }
    assert_eq!(run.endings(), Vec::<String>::new(), "what is open stays");
}
