//! The bundled scenarios keep what they promise: each expectation holds in a real run. Those with Node are in `node_server`.

use super::{Run, alone};

/// Light enough to run at the same time: they mostly wait.
const LIGHT: [&str; 13] = [
    "default",
    "aborts",
    "client-closes",
    "close-acks",
    "half-close",
    "graphql-ws",
    "half-open",
    "mqtt",
    "load-balancer",
    "rolling-restart",
    "server-closes",
    "slow-network",
    "socket-io",
];

#[test]
fn light_scenarios_keep_their_promises() {
    let _alone = alone();
    std::thread::scope(|scope| {
        let running: Vec<_> = LIGHT.iter().map(|name| (name, scope.spawn(|| Run::new().load(name, &[])))).collect();
        for (name, running) in running {
            let loaded = running.join().unwrap_or_else(|_| panic!("{name}"));
            assert_eq!(loaded.summary.clients.never_opened, 0, "{name}");
        }
    });
}

#[test]
fn five_thousand_clients_survive_a_crash() {
    let _alone = alone();
    let summary = Run::new().load("crash-storm", &[]).summary;
    assert_eq!((summary.clients.planned, summary.clients.peak_open, summary.clients.open_at_end), (5000, 5000, 5000));
    assert_eq!((summary.reconnect.affected, summary.reconnect.recovered, summary.clients.lost), (5000, 5000, Some(0)));
    // The ledger, from its file.
    let attempts = &summary.attempts.counts;
    let ends = [attempts.opened, attempts.refused, attempts.timed_out, attempts.rejected, attempts.failed, attempts.abandoned];
    assert_eq!(attempts.total, ends.iter().sum::<u64>());
    assert_eq!(summary.connections.opened, summary.connections.closed + summary.connections.open_at_end);
    assert_eq!(summary.endings.iter().map(|row| row.count).sum::<u64>(), summary.connections.closed);
}

#[test]
fn three_strategies_differ_as_their_policies_predict() {
    let _alone = alone();
    // A quarter of the clients and of the server: the same times, and a quarter of the counts, so that the test can share its machine.
    let expect = concat!(
        "expect=[\"attempts{cohort=fixed} peak > 475/s\", \"reconnect_time{cohort=fixed} min > 2900ms\", ",
        "\"reconnect_time{cohort=fixed} p99 < 5s\", \"attempts{cohort=exponential} peak > 475/s\", ",
        "\"attempts{cohort=exponential, outcome=refused} count > 475\", \"reconnect_time{cohort=exponential} min > 5900ms\", ",
        "\"reconnect_time{cohort=exponential} p99 < 8s\", \"attempts{cohort=full-jitter} peak < 475/s\"]"
    );
    let loaded = Run::new().load("strategies", &["--clients", "1500", "--set", "target.embedded.handshake_cost=2ms", "--set", expect]);
    // In the timeline: the herd of the other two comes within half a second, and full jitter spreads it.
    let busiest = |cohort: &str| {
        let rows = loaded.timeline.iter().filter(|row| row.cohort == cohort && row.offset_ms >= 8_000);
        let attempts: Vec<_> = rows.map(|row| row.attempts).collect();
        attempts.windows(5).map(|window| window.iter().sum::<u64>()).max().unwrap()
    };
    let (fixed, exponential, jitter) = (busiest("fixed"), busiest("exponential"), busiest("full-jitter"));
    assert!(fixed > 450 && exponential > 450 && jitter < 300, "most attempts in 500 ms: {fixed}, {exponential}, {jitter}");
}
