//! What is known of real clients, and what is not.

use super::*;
use crate::close::{Cause, Ending, Initiator, TcpEnd};
use crate::fault::{Values, row};
use crate::metrics::meta::SeenFrom;
use crate::results::evidence::Evidence;
use crate::results::record::{Summary, Verdict};
use crate::results::summary::summarise;
use crate::text::json;
use crate::verdict::judge;

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
        ("attempts count == 3", "pass"),
        ("attempts{outcome=rejected, status=503} count == 1", "pass"),
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
    for (text, result) in expected {
        let text = format!(
            "duration = \"4s\"\nexpect = [{text:?}]\nclients.a = {{ count = 1 }}\nfaults = [{{ name = \"drop_rst\", at = \"1s\", inject = {{ drop_rst = {{}} }} }}]"
        );
        let plan = scenario::load(&Source::Text { name: "x".to_owned(), text: text.clone() }, &Overrides::default());
        let Ok(plan) = plan else { panic!("{text}: {}", plan.expect_err("an error")) };
        let verdict = judge(&Evidence::of(&results), &plan.expectations);
        assert_eq!(verdict.expectations[0].result, result, "{text}: {verdict:?}");
    }
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
    let witness = Witness::new(RealClients { seen_from: SeenFrom::Server, identified: false });
    let all = (0..CONNECTIONS_MAX + 5).filter_map(|_| witness.came(None)).count();
    assert_eq!(all as u64, CONNECTIONS_MAX);
    let (_, results) = witness.results(&run()).expect("a plan");
    assert_eq!(results.total().ledger.attempts.total, CONNECTIONS_MAX);
    assert!(results.why_unreliable().iter().any(|why| why.contains("more than 100000 connections")), "{:?}", results.why_unreliable());
}
