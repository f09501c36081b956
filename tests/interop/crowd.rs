//! Ten thousand clients, ten faults at once: the books balance, and no fault reaches a connection that it did not select.
//!
//! `scripts/bench` says what the faults cost in processor time.

use super::{Run, alone, detail, ended, events};
use closestorm::results::Loaded;
use std::collections::BTreeMap;

/// Clients of each cohort: one for each fault, and one without.
const COUNT: u32 = 909;
/// More of the last cohort, so that it is ten thousand.
const CALM: u32 = 10_000 - 10 * COUNT;

/// Kinds that act as soon as they are injected: side, kind, and whether it holds.
const KINDS: [(&str, &str, bool); 10] = [
    ("client", "drop_rst", false),
    ("server", "drop_fin", false),
    ("server", "close_code", false),
    ("client", "half_close_write", false),
    ("server", "truncate_frame", false),
    ("client", "frame_bad_utf8", false),
    ("client", "freeze", true),
    ("server", "stop_reading", true),
    ("client", "blackhole", true),
    ("server", "latency", true),
];

fn scenario() -> String {
    let mut text = "duration = \"20s\"\n[target.embedded]\nbacklog = 4096\n".to_owned();
    let cohort = |name: &str, count: u32| {
        format!(
            "[clients.{name}]\ncount = {count}\narrive = {{ over = \"10s\" }}\nreconnect = \"none\"\n\
             traffic = {{ echo = {{ rate = \"0.1/s\", payload = \"100B\" }} }}\n"
        )
    };
    KINDS.iter().for_each(|(_, kind, _)| text += &cohort(kind, COUNT));
    text += &cohort("calm", CALM);
    for (side, kind, holds) in KINDS {
        // What holds is active while all the others fire.
        let time = if holds { "at = \"12s\"\nfor = \"6s\"" } else { "at = \"14s\"" };
        text += &format!(
            "[[faults]]\nname = \"{kind}\"\n{time}\nside = \"{side}\"\nselect = {{ cohort = \"{kind}\" }}\ninject = {{ {kind} = {{}} }}\n"
        );
    }
    text
}

/// Clients of a cohort, by index.
fn clients(cohort: usize) -> std::ops::Range<u32> {
    let first = cohort as u32 * COUNT;
    first..first + COUNT
}

fn balance(loaded: &Loaded) {
    let summary = &loaded.summary;
    assert_eq!(summary.surprises, [], "every code is one that the catalogue expects");
    let (attempts, connections) = (&summary.attempts.counts, &summary.connections);
    let parts = [attempts.opened, attempts.refused, attempts.timed_out, attempts.rejected, attempts.failed, attempts.abandoned];
    assert_eq!(parts.iter().sum::<u64>(), attempts.total, "{attempts:?}");
    assert_eq!(connections.opened, attempts.opened);
    assert_eq!(connections.opened, connections.closed + connections.open_at_end, "{connections:?}");
    assert_eq!(ended(summary, |_| true), connections.closed, "the endings are the closed connections");
}

#[test]
fn ten_faults_at_once_reach_only_whom_they_selected_among_ten_thousand() {
    let _alone = alone();
    let run = Run::new();
    let file = run.file(&scenario());
    let loaded = run.load(&file, &[]);
    balance(&loaded);
    let summary = &loaded.summary;
    assert_eq!(summary.attempts.counts.opened, 10_000, "{:?}", summary.attempts);
    for row in &summary.faults {
        assert_eq!((row.selected, row.injected), (u64::from(COUNT), u64::from(COUNT)), "{row:?}");
    }
    let calm = &summary.cohorts["calm"];
    assert!(calm.close_codes.is_empty() && calm.messages.lost == 0, "nobody has touched them: {calm:?}");
    // What was told of single connections, where there was room to tell it.
    let cohorts: BTreeMap<_, _> = KINDS.iter().enumerate().map(|(cohort, (_, kind, _))| (*kind, clients(cohort))).collect();
    let (injected, over): (Vec<_>, Vec<_>) = (events(&loaded, "injected").collect(), events(&loaded, "ended").collect());
    assert!(!injected.is_empty() && !over.is_empty());
    for row in over {
        let (cause, client) = (detail(row)["cause"].clone(), row.client.unwrap());
        // What the server did is remote in the client's own account.
        let own = |(side, kind, _): &(&str, &str, bool)| {
            cohorts[kind].contains(&client) && (cause == *kind || cause == "remote" && *side == "server")
        };
        assert!(KINDS.iter().any(own), "{cause} ended client {client}");
    }
    for row in injected {
        let (fault, client) = (row.fault.as_deref().unwrap(), row.client.unwrap());
        assert!(cohorts[fault].contains(&client), "{fault} leaked to client {client}");
    }
}
