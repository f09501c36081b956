//! What the results say of connections that passed.

use super::*;
use crate::close::TcpEnd;
use crate::fault::{Injection, Values, row};
use crate::metrics::Results;
use crate::metrics::meta::{RealClients, SeenFrom};
use crate::proxy::account::PassedClose;
use crate::results::record::{Summary, Verdict};
use crate::results::summary::summarise;
use crate::witness::tests::judged;
use crate::witness::{CONNECTIONS_MAX, WitnessedRun};
use tokio::time::advance;

/// A proxy through which connections pass, in seconds.
struct Passed {
    witness: Arc<Witness>,
    record: ProxyRecord,
    number: u64,
}

impl Passed {
    fn new(identified: bool) -> Passed {
        let witness = Arc::new(Witness::new(RealClients { seen_from: SeenFrom::Proxy, identified }));
        Passed { record: ProxyRecord::new(witness.clone(), identified), witness, number: 0 }
    }

    /// A client connects.
    fn connects(&mut self) -> ProxiedId {
        self.number += 1;
        let connection = ProxiedId { proxy: "proxy".into(), connection: self.number };
        self.record.on(&ProxyEvent::Connected { connection: connection.clone(), from: ([127, 0, 0, 1], 1).into() });
        connection
    }

    /// It is answered.
    fn answered(&self, connection: &ProxiedId, client: Option<&str>, status: u16) {
        let (connection, client) = (connection.clone(), client.map(Into::into));
        self.record.on(&ProxyEvent::Answered { connection, client, status, retry_after: None, took: Duration::ZERO });
    }

    /// Connects and is answered at once.
    fn opens(&mut self, client: Option<&str>) -> ProxiedId {
        let connection = self.connects();
        self.answered(&connection, client, 101);
        connection
    }

    /// It is over: so ended by whom, with which Close frames of client and server.
    fn ends(&self, connection: &ProxiedId, of: ConnectionAccount) {
        self.record.on(&ProxyEvent::Ended(Box::new(ConnectionAccount { connection: connection.clone(), ..of })));
    }

    fn results(&self) -> Results {
        self.record.end(&[]);
        let run = WitnessedRun { name: "proxy".to_owned(), target: "ws://127.0.0.1:9000".to_owned(), seed: 1 };
        let (_, results) = self.witness.results(&run).expect("an address");
        results.check_ledger().expect("it balances");
        results
    }

    fn summary(&self) -> Summary {
        let results = self.results();
        summarise(&results, None, &Verdict::default(), "closestorm proxy")
    }
}

fn side(bytes: u64, code: Option<u16>, end: TcpEnd, own_end: Option<End>) -> SideAccount {
    let close = code.map(|code| PassedClose { code, reason: "".into() });
    SideAccount { bytes, frames: [0; 16], close, passed_code: code, end, own_end, first: own_end.is_none(), mid_frame: false }
}

/// An open connection that `by` ended, with these codes of client and server.
fn account(by: EndedBy, codes: [Option<u16>; 2]) -> ConnectionAccount {
    let ends = |first: bool| if first { (TcpEnd::Fin, None) } else { (TcpEnd::None, Some(End::Fin)) };
    let ((near, near_own), (far, far_own)) = (ends(by == EndedBy::Client), ends(by == EndedBy::Server));
    ConnectionAccount {
        connection: ProxiedId { proxy: "proxy".into(), connection: 0 },
        from: ([127, 0, 0, 1], 1).into(),
        client: None,
        asked: true,
        status: Some(101),
        opened_after: Some(Duration::ZERO),
        lasted: Duration::ZERO,
        by,
        near: side(100, codes[0], near, near_own),
        far: side(100, codes[1], far, far_own),
    }
}

/// One that never was open.
fn unanswered(by: EndedBy, asked: bool, client: Option<&str>) -> ConnectionAccount {
    let near = side(u64::from(asked), None, TcpEnd::None, Some(End::Rst));
    ConnectionAccount { asked, status: None, opened_after: None, client: client.map(Into::into), near, ..account(by, [None; 2]) }
}

/// A fault of this name fires on one connection.
fn fired(name: &str, kind: &str) -> ProxyEvent {
    let inject = Arc::new(Injection { row: row(kind).expect("in the catalogue"), values: Values::default() });
    ProxyEvent::FaultFired { fault: name.into(), inject, new: false, firing: 0, hit: Vec::new(), hits: 1, eligible: 1 }
}

/// It acts.
fn acts(name: &str, on: &ProxiedId) -> ProxyEvent {
    ProxyEvent::FaultActs { fault: name.into(), firing: 0, connection: on.clone() }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_client_that_is_cut_and_comes_back_was_away_from_end_to_open() {
    let mut passed = Passed::new(true);
    let first = passed.opens(Some("anna"));
    advance(SECOND).await;
    passed.ends(&first, account(EndedBy::Server, [Some(1012), Some(1012)]));
    advance(SECOND).await;
    // Not answered; then turned away; then the server takes it.
    let failing = passed.connects();
    passed.ends(&failing, unanswered(EndedBy::Proxy, true, Some("anna")));
    let rejected = passed.connects();
    passed.answered(&rejected, Some("anna"), 503);
    passed.ends(&rejected, ConnectionAccount { status: Some(503), ..unanswered(EndedBy::Server, true, Some("anna")) });
    advance(SECOND).await;
    let opening = passed.connects();
    advance(SECOND).await;
    passed.answered(&opening, Some("anna"), 101);
    advance(SECOND).await;
    let summary = passed.summary();
    assert_eq!(summary.seen_from, SeenFrom::Proxy);
    let attempts = &summary.attempts.counts;
    assert_eq!((attempts.total, attempts.opened, attempts.failed, attempts.rejected), (4, 2, 1, 1));
    assert_eq!((summary.reconnect.affected, summary.reconnect.recovered), (1, 1));
    assert_eq!(summary.reconnect.time_us.p50, None, "one sample");
    assert!((2_990_000..3_010_000).contains(&summary.reconnect.time_us.max.expect("it came back")), "{:?}", summary.reconnect.time_us);
    assert_eq!(summary.close_codes.client["1012"], 1);
    assert_eq!(summary.close_codes.server["1012"], 1);
    assert_eq!(summary.connections.closed, 1);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_or_is_connected_elsewhere_or_is_not_known_is_not_away() {
    let mut passed = Passed::new(true);
    // Leaves, with a Close frame of its own.
    let leaving = passed.opens(Some("anna"));
    // Connected twice, and one of the two is cut.
    let (one, _other) = (passed.opens(Some("bert")), passed.opens(Some("bert")));
    // Without what tells clients apart.
    let unknown = passed.opens(None);
    advance(SECOND).await;
    passed.ends(&leaving, account(EndedBy::Client, [Some(1000), Some(1000)]));
    passed.ends(&one, account(EndedBy::Server, [None, None]));
    passed.ends(&unknown, account(EndedBy::Server, [None, None]));
    advance(SECOND).await;
    let summary = passed.summary();
    assert_eq!((summary.connections.closed, summary.reconnect.affected), (3, 0));
    assert!(summary.notices[0].starts_with("1 connection came while its client had another one open"), "{:?}", summary.notices);
    assert_eq!(summary.attempts.counts.opened, 4);
}

#[tokio::test(start_paused = true)]
async fn what_faults_do_stands_at_the_endings_and_attempts_that_they_hit() {
    let mut passed = Passed::new(true);
    let open = passed.opens(Some("anna"));
    advance(SECOND).await;
    passed.record.on(&fired("cut", "drop_rst"));
    passed.record.on(&acts("cut", &open));
    passed.ends(&open, account(EndedBy::Proxy, [None, None]));
    passed.record.on(&fired("busy", "upgrade_status"));
    let rejected = passed.connects();
    passed.record.on(&acts("busy", &rejected));
    passed.answered(&rejected, Some("anna"), 503);
    passed.ends(&rejected, ConnectionAccount { status: Some(503), ..unanswered(EndedBy::Proxy, true, Some("anna")) });
    advance(SECOND).await;
    let _back = passed.opens(Some("anna"));
    let summary = passed.summary();
    let faults: Vec<_> = summary.faults.iter().map(|fault| (fault.id.as_str(), fault.fired, fault.injected)).collect();
    assert_eq!(faults, [("cut", 1, 1), ("busy", 1, 1)]);
    assert_eq!((summary.reconnect.affected, summary.reconnect.recovered), (1, 1));
    assert_eq!(summary.attempts.counts.rejected, 1);
}

#[tokio::test(start_paused = true)]
async fn attempts_of_nobody_knows_whom_are_said_and_in_no_figure() {
    for (identified, attempts, notices) in [(true, 1, 1), (false, 2, 1)] {
        let mut passed = Passed::new(identified);
        let cut = passed.connects();
        passed.ends(&cut, unanswered(EndedBy::Proxy, false, None));
        let _open = passed.opens(Some("anna"));
        // A look at the port, and another protocol.
        let looked = passed.connects();
        passed.ends(&looked, unanswered(EndedBy::Client, false, None));
        let other = passed.connects();
        let near = side(10, None, TcpEnd::Fin, None);
        passed.ends(&other, ConnectionAccount { near, ..unanswered(EndedBy::Server, false, None) });
        let summary = passed.summary();
        assert_eq!(summary.attempts.counts.total, attempts, "{identified}");
        assert_eq!(summary.notices.len(), notices, "{:?}", summary.notices);
        assert!(summary.notices[0].starts_with(if identified {
            "1 attempt ended before the request was read"
        } else {
            "clients cannot be told"
        }));
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_began_before_its_clients_connection_ended_is_later_than_that() {
    let mut passed = Passed::new(true);
    let first = passed.opens(Some("anna"));
    advance(SECOND).await;
    let second = passed.connects();
    advance(SECOND).await;
    passed.ends(&first, account(EndedBy::Client, [None, None]));
    advance(SECOND).await;
    passed.answered(&second, Some("anna"), 101);
    let summary = passed.summary();
    assert_eq!((summary.reconnect.affected, summary.reconnect.recovered), (1, 1));
    assert_eq!(summary.attempts.counts.total, 2);
}

#[tokio::test(start_paused = true)]
async fn clients_beyond_those_that_are_recorded_take_no_memory() {
    let mut passed = Passed::new(true);
    for number in 0..CONNECTIONS_MAX + 10 {
        let name = number.to_string();
        let connection = passed.opens(Some(&name));
        passed.ends(&connection, account(EndedBy::Client, [Some(1000), Some(1000)]));
    }
    assert_eq!(lock(&passed.record.passing).clients.len(), CONNECTIONS_MAX as usize);
    assert!(lock(&passed.record.passing).connections.is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_a_client_that_was_cut_twice_the_one_that_was_last_is_back_first() {
    let mut passed = Passed::new(true);
    let both = [passed.opens(Some("bert")), passed.opens(Some("bert"))];
    for connection in &both {
        advance(SECOND).await;
        passed.ends(connection, account(EndedBy::Server, [None, None]));
    }
    advance(SECOND).await;
    let _back = passed.opens(Some("bert"));
    advance(9 * SECOND).await;
    let summary = passed.summary();
    assert_eq!((summary.reconnect.affected, summary.reconnect.recovered), (1, 1));
    assert!(summary.reconnect.time_us.max.expect("it came back") < 1_010_000, "{:?}", summary.reconnect.time_us);
}

#[tokio::test(start_paused = true)]
async fn what_a_proxy_does_not_see_is_said_and_no_pass() {
    let mut passed = Passed::new(false);
    let cut = passed.opens(None);
    passed.ends(&cut, account(EndedBy::Server, [None, None]));
    let _waiting = passed.connects();
    passed.record.on(&ProxyEvent::ClientNotSecured { why: "no".to_owned() });
    let results = passed.results();
    let expected = [
        ("attempts{outcome=refused} count == 0", "inconclusive"),
        ("attempts{outcome=timed_out} share < 1%", "inconclusive"),
        ("attempts{outcome=abandoned} count == 0", "inconclusive"),
        ("attempts count < 9", "inconclusive"),
        ("attempts count >= 1", "pass"),
        ("closes{cause=remote} count == 0", "fail"),
        ("reconnect_time p50 < 9s", "inconclusive"),
    ];
    judged(&results, &expected);
    let summary = passed.summary();
    for part in ["1 connection had not become", "1 connection failed in TLS"] {
        assert!(summary.notices.iter().any(|notice| notice.starts_with(part)), "{:?}", summary.notices);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_beside_a_connection_that_was_silenced_was_away() {
    let mut passed = Passed::new(true);
    // One client is cut off; the other one is only slow, and opens a second tab.
    let (dead, slow) = (passed.opens(Some("anna")), passed.opens(Some("bert")));
    advance(SECOND).await;
    passed.record.on(&fired("blackhole", "blackhole"));
    passed.record.on(&acts("blackhole", &dead));
    passed.record.on(&fired("latency", "latency"));
    passed.record.on(&acts("latency", &slow));
    advance(5 * SECOND).await;
    let rejected = passed.connects();
    passed.answered(&rejected, Some("anna"), 503);
    passed.ends(&rejected, ConnectionAccount { status: Some(503), ..unanswered(EndedBy::Server, true, Some("anna")) });
    advance(SECOND).await;
    let (_back, _tab) = (passed.opens(Some("anna")), passed.opens(Some("bert")));
    advance(SECOND).await;
    // The server gives up long after, which is no second end.
    passed.ends(&dead, account(EndedBy::Server, [None, Some(1011)]));
    passed.ends(&slow, account(EndedBy::Server, [None, Some(1012)]));
    let summary = passed.summary();
    assert_eq!((summary.reconnect.affected, summary.reconnect.recovered), (1, 1));
    // From the fault.
    assert!((5_990_000..6_010_000).contains(&summary.reconnect.time_us.max.expect("it came back")), "{:?}", summary.reconnect.time_us);
    assert_eq!((summary.connections.closed, summary.close_codes.client["1006"], summary.close_codes.client["1012"]), (2, 1, 1));
}

#[tokio::test]
async fn an_attempt_of_a_client_stands_behind_the_end_that_it_follows_on_a_real_clock() {
    let mut passed = Passed::new(true);
    let cut = [passed.opens(Some("anna")), passed.opens(Some("bert"))];
    passed.record.on(&fired("cut", "blackhole"));
    passed.record.on(&acts("cut", &cut[1]));
    // Both have begun their next one when the ends are seen.
    let next = [passed.connects(), passed.connects()];
    passed.ends(&cut[0], account(EndedBy::Server, [None, None]));
    passed.answered(&next[0], Some("anna"), 101);
    passed.answered(&next[1], Some("bert"), 101);
    let reconnect = passed.summary().reconnect;
    assert_eq!((reconnect.affected, reconnect.recovered), (2, 2));
    assert_eq!(reconnect.attempts_mean, Some(1.0), "one attempt for each outage");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_what_a_fault_silenced_does_not_leave() {
    let mut passed = Passed::new(true);
    let dead = passed.opens(Some("anna"));
    advance(SECOND).await;
    passed.record.on(&fired("blackhole", "blackhole"));
    passed.record.on(&acts("blackhole", &dead));
    advance(SECOND).await;
    // Phoenix's client does so where no answer comes to its heartbeat.
    passed.ends(&dead, account(EndedBy::Client, [Some(1000), None]));
    advance(SECOND).await;
    let _back = passed.opens(Some("anna"));
    let reconnect = passed.summary().reconnect;
    assert_eq!((reconnect.affected, reconnect.recovered), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_silence_that_is_over_or_came_after_the_attempt_is_no_end() {
    let mut passed = Passed::new(true);
    let first = [passed.opens(Some("anna")), passed.opens(Some("bert"))];
    advance(SECOND).await;
    // A second connection that began before the fault.
    let early = passed.connects();
    advance(SECOND).await;
    for (client, name) in ["a", "b"].into_iter().enumerate() {
        passed.record.on(&fired(name, "blackhole"));
        passed.record.on(&acts(name, &first[client]));
    }
    advance(SECOND).await;
    passed.answered(&early, Some("bert"), 101);
    passed.record.on(&ProxyEvent::FaultReverted { fault: "a".into(), firing: 0 });
    advance(SECOND).await;
    let _tab = passed.opens(Some("anna"));
    advance(SECOND).await;
    let summary = passed.summary();
    assert_eq!((summary.connections.closed, summary.connections.open_at_end, summary.reconnect.affected), (0, 4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_could_act_on_nobody_is_said() {
    for (how_often, reliable) in [(1, false), (2, true)] {
        let mut passed = Passed::new(true);
        passed.record.on(&fired("agree", "upgrade_bad_accept"));
        for number in 0..how_often {
            let connection = passed.connects();
            passed.record.on(&acts("agree", &connection));
            if number == 0 {
                let (connection, why) = (Some(connection.clone()), "the server did not answer".to_owned());
                passed.record.on(&ProxyEvent::FaultNotCarriedOut { fault: "agree".into(), firing: 0, connection, why });
            }
            passed.answered(&connection, Some("anna"), 101);
        }
        let results = passed.results();
        assert_eq!(results.why_unreliable().is_empty(), reliable, "{:?}", results.why_unreliable());
        assert_eq!(results.faults[0].injected, how_often - 1);
    }
}
