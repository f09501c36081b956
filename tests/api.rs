//! The library as its user has it: servers of others, embedded ones with and without the program, and a proxy and a server for clients under test.

use crate::common::program;
use closestorm::api::{CohortBuilder, Error, FaultBuilder, Outcome, Proxy, Scenario, Serve};
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};

#[path = "../examples/axum.rs"]
#[allow(dead_code, reason = "its main is for those who run it")]
mod axum_server;

const SCENARIO: &str = r#"
duration = "3s"
expect = ["clients_lost count == 0", "closes{reported=1006} count > 0"]
clients.web = { count = 20, arrive = { over = "200ms" }, reconnect = { fixed = { delay = "100ms" } } }
faults = [{ at = "1s", inject = { server_crash = { down = "300ms" } } }]
"#;

/// Twenty clients, a second, and one fault.
fn short(fault: FaultBuilder, expect: &str) -> Scenario {
    let cohort = CohortBuilder::new("web", 20).arrive_over(Duration::from_millis(200));
    let cohort = cohort.set("reconnect", toml::toml! { fixed = { delay = "100ms" } });
    let fault = fault.at(Duration::from_millis(500));
    let scenario = Scenario::builder().duration(Duration::from_millis(1200)).cohort(cohort).fault(fault).expect(expect);
    scenario.expect("clients_lost count == 0").build().expect("a scenario")
}

/// A client of somebody else; the URL has a path.
async fn connect(url: &str) -> Result<WebSocketStream<TcpStream>, Box<dyn std::error::Error>> {
    let (authority, _) = url.trim_start_matches("ws://").split_once('/').ok_or("no path")?;
    let (socket, _) = client_async(url, TcpStream::connect(authority).await?).await?;
    Ok(socket)
}

/// A busy machine is late, and an outcome then says so.
fn passed(outcome: &Outcome) {
    assert!(["pass", "inconclusive"].contains(&outcome.verdict().result.as_str()), "{}", outcome.text(100));
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn a_scenario_runs_on_sockets_and_its_outcome_is_written_with_charts() {
    let outcome = Scenario::from_toml(SCENARIO).expect("a scenario").program(program()).run().await.expect("a run");
    passed(&outcome);
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

/// The same test of the same server passes, and fails where its graceful shutdown forgets the Close frame.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: scripts/test"]
async fn a_server_that_forgets_the_close_frame_fails_the_test_of_its_deploys() {
    let (right, wrong) = tokio::join!(axum_server::test_deploys(true), axum_server::test_deploys(false));
    let (right, mut wrong) = (right.expect("a run"), wrong.expect("a run"));
    passed(&right);
    // A busy machine is late, and then nothing is decided.
    for _ in 0..5 {
        if wrong.summary().generator.saturated {
            wrong = axum_server::test_deploys(false).await.expect("a run");
        }
    }
    let (web, summary) = (right.cohort("web"), right.summary());
    // A client may reach the old version once more while that stops.
    assert!(web.closes(1001) >= 400 && summary.reconnect.recovered >= 400, "{}", right.text(100));
    assert_eq!(web.closes(1006), 0, "{}", right.text(100));
    assert!(web.reconnect().p99().is_some_and(|time| time < Duration::from_secs(5)), "{}", right.text(100));
    assert!(wrong.cohort("web").closes(1001) == 0 && wrong.cohort("web").closes(1006) >= 400, "{}", wrong.text(100));
    assert_eq!(wrong.verdict().result, "fail");
    let panic = std::panic::catch_unwind(|| wrong.assert()).expect_err("it fails");
    let said = panic.downcast_ref::<String>().expect("words");
    assert!(said.contains("FAIL") && said.contains("closes{reported=1006} count == 0"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_runs_at_once_have_embedded_servers_of_their_own_in_this_process() {
    let close = |code: u16| short(FaultBuilder::new("close_code").with("code", code), &format!("closes{{reported={code}}} count == 20"));
    let shutdown = FaultBuilder::new("server_graceful").with("down", "100ms");
    let scenarios = [close(1012), close(1013), short(shutdown, "closes{reported=1001} count == 20")];
    let runs: Vec<_> = scenarios.iter().map(|scenario| tokio::spawn(scenario.run())).collect();
    for (run, code) in runs.into_iter().zip([1012, 1013, 1001]) {
        let outcome = run.await.expect("no panic").expect("a run");
        passed(&outcome);
        assert_eq!(outcome.cohort("web").closes(code), 20, "{}", outcome.text(100));
        assert_eq!(outcome.summary().close_codes.server.values().sum::<u64>(), 20, "{}", outcome.text(100));
    }
}

#[test]
fn what_this_process_cannot_do_needs_the_program() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    // No runtime of a certain kind is needed: this one has neither sockets nor timers.
    let run = |scenario: &Scenario| runtime.block_on(scenario.run());
    for fault in ["server_crash", "server_pause", "fd_exhaust"] {
        let outcome = run(&short(FaultBuilder::new(fault), "clients_lost count == 0"));
        assert!(matches!(&outcome, Err(Error::NeedsProgram { what }) if what.contains(fault)), "{outcome:?}");
    }
    let command = Scenario::from_toml("target.command = { run = \"nobody {port}\" }\nclients.web = { count = 1 }").expect("a scenario");
    assert!(matches!(run(&command), Err(Error::NeedsProgram { .. })));
}

#[tokio::test]
async fn a_run_ends_where_its_handle_stops_it() {
    let scenario = Scenario::from_toml(SCENARIO).expect("a scenario").duration(Duration::from_secs(60)).program(program());
    let run = scenario.run();
    let (stop, mut live) = (run.stop_handle(), run.subscribe());
    let stopping = tokio::spawn(async move {
        // Figures come while it runs, and end with it.
        assert!(live.next().await.is_some());
        stop.stop();
        while live.next().await.is_some() {}
    });
    assert_eq!(run.await.expect("a run").verdict().result, "inconclusive");
    stopping.await.expect("it stops");
    // Who is stopped before does not begin.
    let run = scenario.run();
    run.stop_handle().stop();
    let outcome = run.await;
    assert!(matches!(outcome, Err(Error::Stopped)), "{outcome:?}");
}

#[test]
fn what_is_wrong_is_said_by_its_kind() {
    assert!(matches!(Scenario::from_toml("duration = 3"), Err(Error::Scenario(_))));
    let simulated = Scenario::open("ws://127.0.0.1:9").expect("a scenario").simulate();
    assert!(matches!(simulated, Err(Error::Refused(_))), "{simulated:?}");
    let scenario = Scenario::from_toml(SCENARIO).expect("a scenario");
    // A server of somebody else has no process here.
    let crashed = scenario.clone().target_url("http://127.0.0.1:9/").check();
    assert!(matches!(&crashed, Err(Error::Scenario(_))), "{crashed:?}");
    let slip = scenario.clone().clients("wbe", 3).check();
    assert!(matches!(&slip, Err(Error::Scenario(errors)) if errors.to_string().contains("did you mean `web`")), "{slip:?}");
    let built = Scenario::builder().set("seed", f64::NAN).cohort(CohortBuilder::new("web", 0)).build();
    assert!(matches!(&built, Err(Error::Scenario(errors)) if errors.to_string().contains("count")), "{built:?}");
    let unwritable = Scenario::builder().cohort(CohortBuilder::new("web", 1).set("count", ())).build();
    assert!(matches!(&unwritable, Err(Error::Refused(why)) if why.contains("count")), "{unwritable:?}");
    // Nothing was expected, and nothing is no pass.
    let outcome = scenario.set("expect", [""; 0]).clients("web", 2).simulate().expect("a simulation");
    assert_eq!(outcome.verdict().result, "unchecked");
    assert!(std::panic::catch_unwind(|| outcome.assert()).is_err());
    assert!(outcome.cohort("web").reconnect().p99().is_none(), "two samples are too few");
}

#[tokio::test]
async fn a_client_is_tested_behind_a_proxy_whose_faults_come_and_go() {
    let server = Serve::start().expect("a server");
    let proxy = Proxy::start(server.url()).expect("a proxy");
    let url = format!("{}/echo", proxy.url());
    let mut first = connect(&url).await.expect("nothing is in the way");
    let refusing = proxy.add(FaultBuilder::new("connect_refuse").named("closed")).expect("a fault");
    assert_eq!(refusing.name(), "closed");
    assert!(connect(&url).await.is_err(), "it refuses");
    proxy.remove(&refusing).expect("it was there");
    let mut second = connect(&url).await.expect("it is over");
    second.send(Message::text("hello")).await.expect("open");
    assert_eq!(second.next().await.expect("an echo").expect("a message"), Message::text("hello"));
    let wrong = proxy.add(FaultBuilder::new("server_crash"));
    assert!(matches!(&wrong, Err(Error::Refused(why)) if why.contains("process")), "{wrong:?}");
    proxy.add(FaultBuilder::new("close_code").with("code", 1012)).expect("a fault");
    for socket in [&mut first, &mut second] {
        let Some(Ok(Message::Close(Some(close)))) = socket.next().await else { panic!("a Close frame") };
        assert_eq!(close.code, CloseCode::Restart);
        while socket.next().await.is_some() {}
    }
    // The server's side of a connection may end a little later than the client's.
    while proxy.open().expect("a number") > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let seen = proxy.stop().expect("its figures");
    assert_eq!((seen.summary().connections.opened, seen.summary().close_codes.client.get("1012")), (2, Some(&2)), "{}", seen.text(100));
    let seen = server.stop().expect("its figures");
    assert_eq!(seen.summary().connections.opened, 2, "{}", seen.text(100));
}

#[tokio::test]
async fn a_server_misbehaves_as_its_url_says_and_is_gone_with_its_handle() {
    let server = Serve::start().expect("a server");
    let url = server.url().to_owned();
    let mut socket = connect(&format!("{url}/close/1011")).await.expect("it is open");
    let Some(Ok(Message::Close(Some(close)))) = socket.next().await else { panic!("a Close frame") };
    assert_eq!((close.code, server.begun()), (CloseCode::Error, 1));
    drop(server);
    assert!(connect(&format!("{url}/echo")).await.is_err());
}
