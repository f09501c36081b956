//! The Node server of the page about closing connections, as a target: its own closes, and its death.

use super::{Run, alone, detail, ended, events, node};
use closestorm::results::Loaded;
use std::collections::{BTreeMap, BTreeSet};

/// Offset and details of the first event of this name of each client, in µs.
fn firsts(loaded: &Loaded, name: &str) -> BTreeMap<u32, (u64, BTreeMap<String, String>)> {
    let mut found = BTreeMap::new();
    for row in events(loaded, name) {
        found.entry(row.client.unwrap()).or_insert_with(|| (row.offset_us, detail(row)));
    }
    found
}

#[test]
fn the_page_server_closes_2000_clients_and_they_come_back_after_its_3_s() {
    if !node("2,000 clients on the page's server") {
        return;
    }
    let _alone = alone();
    let run = Run::new();
    let loaded = run.load("node-server", &[]);
    let summary = &loaded.summary;
    assert_eq!((summary.clients.planned, summary.clients.peak_open, summary.clients.lost), (2000, 2000, Some(0)));
    let first = firsts(&loaded, "ended");
    assert_eq!(first.len(), 2000, "every first connection ended");
    let accounts: BTreeSet<_> =
        first.values().map(|(_, pairs)| ["code", "reason", "clean", "tcp_end", "initiator"].map(|key| pairs[key].as_str())).collect();
    assert_eq!(accounts, BTreeSet::from([["1000", "Normal closure", "true", "fin", "server"]]));
    // The server's five seconds begin after the attempt does (Node's timers may be a millisecond early); how much later both sides get to it depends on the machine.
    let begun = firsts(&loaded, "attempt_started");
    let lives: Vec<_> = first.iter().map(|(client, (at, _))| at - begun[client].0).collect();
    assert!(
        lives.iter().all(|us| (4_950_000..9_000_000).contains(us)),
        "closed by the server's 5 s: {:?} to {:?} µs",
        lives.iter().min(),
        lives.iter().max()
    );
    let waits: BTreeSet<_> = events(&loaded, "waiting").map(|row| detail(row)["delay_us"].clone()).collect();
    assert_eq!(waits, BTreeSet::from(["3000000".to_owned()]));
    let again = events(&loaded, "opened").filter(|row| row.connection == Some(2)).count();
    assert_eq!(again, 2000, "everybody is back");
    assert!(summary.reconnect.time_us.min >= Some(3_000_000), "{:?}", summary.reconnect.time_us);
    let log = run.log();
    assert!(log.matches("Client disconnected").count() >= 2000, "the server's own words");
}

#[test]
fn the_page_server_dies_by_fin_for_idle_clients_and_by_rst_for_senders() {
    if !node("SIGKILL of the page's server") {
        return;
    }
    let _alone = alone();
    let run = Run::new();
    let loaded = run.load("node-crash", &["--clients", "400"]);
    let summary = &loaded.summary;
    let of_kill = |cohort: &str, tcp_end: &str| {
        ended(summary, |row| {
            row.fault.as_deref() == Some("kill")
                && row.client_code == Some(1006)
                && row.cohort == cohort
                && row.tcp_end.as_deref() == Some(tcp_end)
        })
    };
    assert_eq!((of_kill("idle", "fin"), of_kill("idle", "rst")), (200, 0), "nothing was unread");
    assert!(of_kill("senders", "rst") > 0, "something was unread: {:#?}", summary.endings);
    assert_eq!(of_kill("senders", "fin") + of_kill("senders", "rst"), 200);
    assert!(summary.attempts.counts.refused > 0);
    let kill = summary.faults.iter().find(|fault| fault.id == "kill").unwrap();
    assert_eq!((kill.injected, kill.recovered), (400, 400), "everybody recovered: {kill:?}");
}
