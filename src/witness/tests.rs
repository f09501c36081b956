//! What is known of real clients, and what is not.

use super::*;
use crate::close::{Cause, Deadline, Ending, Initiator, TcpEnd};
use crate::fault::{Values, row};
use crate::metrics::meta::SeenFrom;
use crate::results::evidence::Evidence;
use crate::results::record::{Summary, Verdict};
use crate::results::summary::summarise;
use crate::text::json;
use crate::verdict::judge;

const REAL: RealClients = RealClients { seen_from: SeenFrom::Server, identified: false };

fn run() -> WitnessedRun {
    WitnessedRun { name: "serve".to_owned(), target: "ws://127.0.0.1:9001".to_owned(), seed: 7 }
}

fn ending(cause: Cause, sent: Option<u16>, received: Option<u16>) -> Box<Ending> {
    Box::new(Ending {
        cause,
        initiator: Initiator::Server,
        wire_received: received,
        wire_sent: sent,
        tcp_end: TcpEnd::Fin,
        tls_end: None,
        mid_frame: false,
        clean: received.is_some(),
        code: crate::close::reported(received),
        reason: String::new(),
        bytes_after: 0,
    })
}

/// Three connections: one closed with 1012, one reset, one whose attempt got a 503.
async fn seen_by_server(identified: bool) -> Witness {
    let witness = Witness::new(RealClients { seen_from: SeenFrom::Server, identified });
    let injection = Injection { row: row("drop_rst").expect("in the catalogue"), values: Values::default() };
    for _ in 0..2 {
        tokio::time::advance(Duration::from_secs(1)).await;
        let id = witness.came(Some("a")).expect("room");
        witness.opened(id, 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        let fault = witness.fault(&injection);
        let ending = if id.connection.0 + id.client.0 == 1 {
            ending(Cause::Remote, Some(1012), Some(1012))
        } else {
            witness.tell(Event::Injected { fault: fault.expect("room"), client: id.client, connection: id.connection });
            ending(Cause::Fault(fault.expect("room")), None, None)
        };
        witness.tell(Event::ServerEnded { client: id.client, connection: id.connection, ending });
    }
    let id = witness.came(None).expect("room");
    witness.failed(id, Stage::Upgrade, Outcome::Rejected { status: 503, retry_after: None, location: None }, None);
    witness
}

fn summary(results: &Results) -> Summary {
    summarise(results, None, &Verdict::default(), "closestorm serve")
}

#[tokio::test(start_paused = true)]
async fn what_the_server_saw_is_there_and_what_only_clients_see_is_not() {
    let (plan, results) = seen_by_server(false).await.results(&run()).expect("a plan");
    results.check_ledger().expect("it balances");
    assert_eq!((plan.clients(), plan.faults.len(), plan.duration), (0, 1, Duration::from_secs(4)));
    let summary = summary(&results);
    let counts = summary.attempts.counts;
    assert_eq!((counts.total, counts.opened, counts.rejected, summary.connections.closed), (3, 2, 1, 2));
    assert_eq!(summary.clients.started, 3, "each connection is a client of its own");
    assert_eq!(summary.close_codes.server, [("1006".to_owned(), 1), ("1012".to_owned(), 1)].into());
    assert!(summary.close_codes.client.is_empty());
    let closed: Vec<_> = summary.endings.iter().map(|row| (row.wire_received, row.wire_sent, row.server_code, row.client_code)).collect();
    assert!(closed.contains(&(Some(1012), Some(1012), Some(1012), None)) && closed.contains(&(None, None, Some(1006), None)), "{closed:?}");
    assert!(summary.endings.iter().all(|row| row.tcp_end.is_none() && row.mid_frame.is_none()));
    assert_eq!((summary.faults[0].id.as_str(), summary.faults[0].injected), ("drop_rst", 1));
    assert_eq!((summary.opening_handshake_us.count, summary.tcp_connect_us.count), (0, 0));
    // Absent, never zero.
    let written: serde_json::Value = serde_json::from_str(&json(&summary).expect("JSON")).expect("JSON");
    assert!(written.get("messages").is_none() && written.get("reconnect").is_none() && written["clients"]["lost"].is_null(), "{written}");
    assert_eq!((&written["seen_from"], &written["generator"]["lag_p99_us"]), (&"server".into(), &serde_json::Value::Null));
    assert!(summary.notices.iter().any(|notice| notice.starts_with("clients cannot be told apart")), "{:?}", summary.notices);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_seen_is_no_pass() {
    let expected = [
        ("attempts count >= 3", "pass"),
        ("attempts rate > 0.5/s", "pass"),
        ("attempts count != 2", "pass"),
        ("attempts count < 3", "fail"),
        ("attempts count == 2", "fail"),
        ("attempts{outcome=opened} count == 2", "pass"),
        ("attempts{outcome=rejected, status=503} count == 1", "pass"),
        ("attempts{outcome=rejected} share_of{outcome=opened} == 50%", "pass"),
        ("attempts{outcome=opened} share > 70%", "fail"),
        // What did not reach the server may be any number.
        ("attempts count == 3", "inconclusive"),
        ("attempts count < 50", "inconclusive"),
        ("attempts count > 50", "inconclusive"),
        ("attempts rate < 10/s", "inconclusive"),
        ("attempts peak < 10/s", "inconclusive"),
        ("attempts{outcome=opened} share > 60%", "inconclusive"),
        ("attempts{outcome=failed} count == 0", "inconclusive"),
        ("attempts{outcome=refused} count == 0", "inconclusive"),
        ("closes{side=server, reported=1012} count == 1", "pass"),
        ("closes{side=server, cause=drop_rst} count == 2", "fail"),
        ("closes{reported=1012} count == 0", "inconclusive"),
        ("closes count < 5", "inconclusive"),
        ("clients_lost count == 0", "inconclusive"),
        ("messages{outcome=lost} count == 0", "inconclusive"),
        ("messages count == 0", "inconclusive"),
        ("bytes count == 0B", "inconclusive"),
        ("http_requests count == 0", "inconclusive"),
        ("errors count == 0", "inconclusive"),
        ("reconnect_time p50 < 100s", "inconclusive"),
        ("opening_handshake max < 100s", "inconclusive"),
        ("tcp_connect max < 100s", "inconclusive"),
    ];
    let (_, results) = seen_by_server(false).await.results(&run()).expect("a plan");
    judged(&results, &expected);
}

/// What comes of expectations, each by itself, over these results.
pub(crate) fn judged(results: &Results, expected: &[(&str, &str)]) {
    for (text, result) in expected {
        let text = format!(
            "duration = \"4s\"\nexpect = [{text:?}]\nclients.a = {{ count = 1 }}\nfaults = [{{ name = \"drop_rst\", at = \"1s\", inject = {{ drop_rst = {{}} }} }}]"
        );
        let plan = scenario::load(&Source::Text { name: "x".to_owned(), text: text.clone() }, &Overrides::default());
        let Ok(plan) = plan else { panic!("{text}: {}", plan.expect_err("an error")) };
        let evidence = Evidence { peaks: Some([("attempts".to_owned(), 3)].into()), ..Evidence::of(results) };
        let verdict = judge(&evidence, &plan.expectations);
        assert_eq!((verdict.expectations[0].result.as_str(), verdict.result.as_str()), (*result, *result), "{text}: {verdict:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_no_pass() {
    let witness = Witness::new(REAL);
    tokio::time::advance(Duration::from_secs(4)).await;
    let (plan, results) = witness.results(&run()).expect("a plan");
    judged(&results, &[("attempts count < 100", "inconclusive"), ("attempts{outcome=opened} count < 100", "inconclusive")]);
    let verdict = judge(&Evidence::of(&results), &plan.expectations);
    assert_eq!(
        (verdict.result.as_str(), &verdict.reasons[0][..]),
        ("inconclusive", "no client became ready: the clients cannot be judged")
    );
}

/// Two connections are closed with 1012, and ten die with their server.
#[tokio::test(start_paused = true)]
async fn of_connections_that_died_with_their_server_nobody_tells() {
    let witness = Witness::new(REAL);
    for n in 0..12 {
        let id = witness.came(None).expect("room");
        witness.opened(id, 0);
        witness.tell(match n {
            0..2 => {
                let ending = ending(Cause::Remote, Some(1012), Some(1012));
                Event::ServerEnded { client: id.client, connection: id.connection, ending }
            }
            _ => Event::Orphaned { client: id.client, connection: id.connection },
        });
    }
    tokio::time::advance(Duration::from_secs(4)).await;
    let (_, results) = witness.results(&run()).expect("a plan");
    let all: u64 = crate::results::tables::count_rows(&results).iter().filter(|row| row.metric == "closes").map(|row| row.count).sum();
    assert_eq!((all, summary(&results).connections.closed), (12, 12));
    judged(
        &results,
        &[
            ("closes{side=server} count == 0", "fail"),
            ("closes{side=server} count == 1", "fail"),
            ("closes{side=server, reported=1006} count == 0", "inconclusive"),
            ("closes{side=server} count < 5", "inconclusive"),
            ("closes{side=server} count == 5", "inconclusive"),
            ("closes{side=server} count > 5", "inconclusive"),
            ("closes{side=server} count < 13", "pass"),
            ("closes{side=server} count >= 2", "pass"),
            ("closes{side=server, to=1s} rate < 5/s", "inconclusive"),
            ("closes{side=server, from=1s} count == 0", "pass"),
            ("closes{side=server, cause=drop_rst} count == 0", "pass"),
            ("closes{side=server, reported=1012} share > 90%", "inconclusive"),
            ("closes{side=server, reported=1012} share > 16%", "pass"),
            ("closes{side=server, reported=1006} share < 99%", "pass"),
            ("closes{side=server, reported=1006} share < 80%", "inconclusive"),
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn a_recording_may_be_longer_than_a_scenario_and_have_any_seed() {
    let (witness, length) = (seen_by_server(false).await, Duration::from_secs(8 * 24 * 3600));
    tokio::time::advance(length).await;
    let (plan, results) = witness.results(&WitnessedRun { seed: u64::MAX, ..run() }).expect("a plan");
    assert_eq!((plan.duration, plan.seed), (length + Duration::from_secs(4), Seed(u64::MAX)));
    let summary = summary(&results);
    assert_eq!((summary.duration_ms, summary.seed, summary.attempts.counts.total), (plan.duration.as_millis() as u64, u64::MAX, 3));
    // What is stored of it can be read again.
    let stored = scenario::load(&Source::Text { name: "x".to_owned(), text: plan.resolved }, &Overrides::default());
    assert!(stored.is_ok(), "{:?}", stored.err());
}

/// The server pings each second; its client's path is dead from the third second on.
#[tokio::test(start_paused = true)]
async fn a_silent_client_is_found_by_the_heartbeat_of_the_server() {
    let text = "duration = \"10s\"\ntarget.embedded.ping = { every = \"1s\", timeout = \"1s\" }\n\
                clients.a = { count = 1, heartbeat = { every = \"1s\", timeout = \"1s\" } }\n\
                faults = [{ name = \"dark\", at = \"3s\", inject = { blackhole = {} } }]";
    let plan = scenario::load(&Source::Text { name: "x".to_owned(), text: text.to_owned() }, &Overrides::default());
    let plan = open_plan(plan.unwrap_or_else(|errors| panic!("{errors}")), REAL);
    let mut recorder = Recorder::of_real(&plan, REAL, 2);
    let (connection, second) = (ConnectionNo(1), Duration::from_secs);
    for client in [ClientIndex(0), ClientIndex(1)] {
        let (tcp, upgrade) = (Duration::ZERO, Duration::ZERO);
        for (at, event) in [
            (1, Event::Arrived { client, due: second(1) }),
            (1, Event::AttemptStarted { client, due: second(1) }),
            (1, Event::Opened { client, connection, instance: 0, tcp, tls: None, resumed: false, upgrade }),
            (1, Event::Ready { client, connection }),
            (3, Event::Injected { fault: 0, client, connection }),
        ] {
            recorder.on(second(at), &event);
        }
    }
    let ending = ending(Cause::Deadline(Deadline::Pong), None, None);
    recorder.on(second(5), &Event::ServerEnded { client: ClientIndex(0), connection, ending });
    let summary = summary(&recorder.finish(second(10), Status::Completed));
    let rows: Vec<_> = summary.liveness.iter().map(|row| (row.heartbeat.as_str(), row.silenced, row.detect_us.max)).collect();
    assert_eq!(rows, [("server", 2, Some(2_000_000))], "{:#?}", summary.liveness);
    assert_eq!((summary.liveness[0].ended_otherwise, summary.liveness[0].unnoticed), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_can_be_known_again_is_away_in_between() {
    let witness = Witness::new(RealClients { seen_from: SeenFrom::Proxy, identified: true });
    for wait in [0, 3] {
        tokio::time::advance(Duration::from_secs(wait)).await;
        let id = witness.came(Some("a")).expect("room");
        assert_eq!((id.client.0, id.connection.0), (0, if wait == 0 { 1 } else { 2 }));
        witness.opened(id, 0);
        if wait == 0 {
            let ending = ending(Cause::Remote, Some(1012), Some(1012));
            witness.tell(Event::Ended { client: id.client, connection: id.connection, ending, closing: None });
        }
    }
    let (_, results) = witness.results(&run()).expect("a plan");
    results.check_ledger().expect("it balances");
    let summary = summary(&results);
    assert_eq!((summary.clients.started, summary.reconnect.affected, summary.reconnect.recovered), (1, 1, 1));
    assert_eq!((summary.reconnect.time_us.min, summary.reconnect.time_us.max), (Some(3_000_000), Some(3_000_000)));
    // Without a name for it, it is another one.
    let (_, results) = seen_by_server(false).await.results(&run()).expect("a plan");
    assert_eq!(results.total().affected, 0);
}

#[tokio::test(start_paused = true)]
async fn the_bound_is_an_event() {
    let witness = Witness::new(REAL);
    let all = (0..CONNECTIONS_MAX + 5).filter_map(|_| witness.came(None)).count();
    assert_eq!(all, CONNECTIONS_MAX as usize);
    let (_, results) = witness.results(&run()).expect("a plan");
    assert_eq!(results.total().ledger.attempts.total, u64::from(CONNECTIONS_MAX));
    assert!(results.why_unreliable().iter().any(|why| why.contains("more than 100000 connections")), "{:?}", results.why_unreliable());
}
