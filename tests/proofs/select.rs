//! Whom a fault selects and when it fires, on real sockets: the observer's connections against the run's own count.

use super::arms::{SOON, observe};
use super::frame::{PONG, number};
use super::wire::{Conn, End, Script, ms};
use std::collections::{BTreeMap, BTreeSet};

/// Cohorts by name with the index of their first client, which is their order.
const COHORTS: &str = r#"
[clients.count]
count = 6
arrive = { at_once = true }
reconnect = "none"
[clients.percent]
count = 8
arrive = { at_once = true }
reconnect = "none"
[clients.nth]
count = 9
arrive = { at_once = true }
reconnect = "none"
[clients.age]
count = 2
arrive = { over = "500ms" }
reconnect = "none"
[clients.every]
count = 1
arrive = { at_once = true }
reconnect = { fixed = { delay = "30ms" } }
[clients.first]
count = 1
arrive = { at_once = true }
reconnect = { fixed = { delay = "30ms" } }
[clients.reverted]
count = 1
arrive = { at_once = true }
reconnect = "none"
"#;

const FAULTS: &str = r#"
[[faults]]
name = "f-count"
at = "600ms"
side = "client"
select = { cohort = "count", count = 2 }
inject = { drop_fin = {} }
[[faults]]
name = "f-percent"
at = "600ms"
side = "client"
select = { cohort = "percent", percent = "25%" }
inject = { drop_fin = {} }
[[faults]]
name = "f-nth"
at = "600ms"
side = "client"
select = { cohort = "nth", nth = 4 }
inject = { drop_fin = {} }
[[faults]]
name = "f-age"
at = "700ms"
side = "client"
select = { cohort = "age", min_age = "575ms" }
inject = { drop_fin = {} }
[[faults]]
name = "f-every"
at = "200ms"
every = "200ms"
until = "800ms"
side = "client"
select = { cohort = "every" }
inject = { drop_fin = {} }
[[faults]]
name = "f-first"
at = "200ms"
every = "200ms"
first_n = 2
side = "client"
select = { cohort = "first" }
inject = { drop_fin = {} }
[[faults]]
name = "f-reverted"
at = "300ms"
for = "400ms"
side = "client"
select = { cohort = "reverted" }
inject = { pong_drop = {} }
"#;

/// The only client of the cohort `reverted`.
const REVERTED: usize = 27;

fn script(client: usize) -> Script {
    if client == REVERTED { Script::pings(ms(1200)) } else { Script::default() }
}

/// How many connections a FIN ended before the end of the run did, by client.
fn dropped(seen: &BTreeMap<(usize, u32), Conn>) -> BTreeMap<usize, u64> {
    let begun = seen.values().map(Conn::opened).min().expect("connections");
    let mut dropped = BTreeMap::new();
    for ((client, _), conn) in seen {
        let late = conn.opened() - begun;
        if conn.end_before(SOON.saturating_sub(late)) == Some(End::Fin) && conn.frames.is_empty() {
            *dropped.entry(*client).or_insert(0) += 1;
        }
    }
    dropped
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn selectors_and_schedules_hit_whom_and_when_they_say() {
    let with = format!("{COHORTS}{FAULTS}");
    let ((seen, run), (calm, control)) = tokio::join!(observe(&with, script), observe(COHORTS, script));
    assert_eq!(dropped(&calm), BTreeMap::new(), "without faults nothing is dropped");
    assert_eq!(control.endings(), Vec::<String>::new());
    let dropped = dropped(&seen);
    let clients = |from: usize, count: usize| dropped.range(from..from + count).map(|(client, _)| *client).collect::<BTreeSet<_>>();
    let hits = |from: usize, count: usize| dropped.range(from..from + count).map(|(_, hits)| *hits).sum::<u64>();
    assert_eq!(clients(0, 6).len(), 2, "count: {dropped:?}");
    assert_eq!(clients(6, 8).len(), 2, "percent is exact: {dropped:?}");
    assert_eq!(clients(14, 9), BTreeSet::from([15, 19]), "every fourth client index");
    assert_eq!(clients(23, 2), BTreeSet::from([23]), "the other is younger");
    assert_eq!((hits(25, 1), hits(26, 1)), (3, 2), "every and first_n: {dropped:?}");
    let pongs = &seen[&(REVERTED, 1)];
    assert!(pongs.lost() >= 12 && pongs.lost() < 28, "for: {pongs:?}");
    assert_eq!(pongs.of(PONG).last().map(|frame| number(&frame.payload)), Some(58), "it ends");
    assert_eq!(calm[&(REVERTED, 1)].lost(), 0);
    // What the run recorded is what was seen.
    for (name, from, count) in [("count", 0, 6), ("percent", 6, 8), ("nth", 14, 9), ("age", 23, 2), ("every", 25, 1), ("first", 26, 1)] {
        let row = run.fault(&format!("f-{name}"));
        assert_eq!((row.selected, row.injected), (hits(from, count), hits(from, count)), "{name}");
        let closed: u64 = run.summary.endings.iter().filter(|ending| ending.cohort == name).map(|ending| ending.count).sum();
        assert_eq!(closed, hits(from, count), "{name}");
    }
    let row = run.fault("f-reverted");
    assert_eq!((row.selected, row.injected), (1, 1));
}
