//! The library as its user has it: a scenario on sockets, its outcome on disk, and a run that is stopped from elsewhere.

use crate::common::program;
use closestorm::api::{Error, Options, Scenario, StopHandle};
use std::time::Duration;

const SCENARIO: &str = r#"
duration = "3s"
expect = ["clients_lost count == 0", "closes{reported=1006} count > 0"]
clients.web = { count = 20, arrive = { over = "200ms" }, reconnect = { fixed = { delay = "100ms" } } }
faults = [{ at = "1s", inject = { server_crash = { down = "300ms" } } }]
"#;

fn options() -> Options {
    Options { program: Some(program().into()), ..Options::default() }
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn a_scenario_runs_on_sockets_and_its_outcome_is_written_with_charts() {
    let outcome = Scenario::parse(SCENARIO).expect("a scenario").run(options()).await.expect("a run");
    // A busy machine is late, and an outcome then says so.
    assert!(["pass", "inconclusive"].contains(&outcome.verdict().result.as_str()), "{}", outcome.text(100));
    assert_eq!(outcome.summary().reconnect.recovered, 20);
    let place = tempfile::tempdir().expect("a folder");
    let dir = outcome.write(&place.path().join("run")).expect("a run folder");
    for name in ["summary.json", "events.csv", "timeline.svg", "report.html"] {
        assert!(dir.join(name).is_file(), "{name}");
    }
    let dir = outcome.write_data(&place.path().join("data")).expect("a run folder");
    assert!(dir.join("summary.json").is_file() && !dir.join("report.html").exists());
    // It is there already: nothing is overwritten.
    assert!(outcome.write(&dir).is_err());
}

#[tokio::test]
async fn a_run_ends_where_its_handle_stops_it() {
    let stop = StopHandle::default();
    let elsewhere = stop.clone();
    let stopping = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        elsewhere.stop();
    });
    let scenario = Scenario::parse(&SCENARIO.replace("\"3s\"", "\"60s\"")).expect("a scenario");
    let outcome = scenario.run(Options { stop, ..options() }).await;
    stopping.await.expect("it stops");
    match outcome {
        // A busy machine may not have begun after a second.
        Err(Error::Stopped) => {}
        outcome => assert_eq!(outcome.expect("a run").verdict().result, "inconclusive"),
    }
    // Who is stopped before does not begin.
    let stop = StopHandle::default();
    stop.stop();
    let outcome = scenario.run(Options { stop, ..options() }).await;
    assert!(matches!(outcome, Err(Error::Stopped)), "{outcome:?}");
}

#[test]
fn what_is_wrong_is_said_by_its_kind() {
    assert!(matches!(Scenario::parse("duration = 3"), Err(Error::Scenario(_))));
    let simulated = Scenario::open("ws://127.0.0.1:9").expect("a scenario").simulate(Options::default());
    assert!(matches!(simulated, Err(Error::Refused(_))), "{simulated:?}");
}
