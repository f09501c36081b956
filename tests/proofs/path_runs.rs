//! Path faults in whole runs: two of them at once against a raw server, and the program's own clients, server and TLS together.

use super::arms::observe;
use super::frame::{BINARY, PONG};
use super::wire::{Act, End, Script, ms};
use crate::common::start;
use std::time::Duration;

/// Bytes that wait on a path which is slow or late when the client ends the connection.
#[tokio::test]
async fn an_end_never_overtakes_bytes_that_wait() {
    let shapes =
        ["latency = { latency = \"300ms\" }", "bandwidth = { bytes_per_s = \"600B\" }", "slice = { avg = \"8B\", delay = \"10ms\" }"];
    let mut text = String::new();
    for (index, shape) in shapes.iter().enumerate() {
        text += &format!(
            "[clients.c{index}]\ncount = 1\narrive = {{ at_once = true }}\nreconnect = \"none\"\ntraffic = {{ send = {{ rate = \"50/s\", payload = \"20B\" }} }}\n\
             [[faults]]\nat = \"200ms\"\nside = \"client\"\nselect = {{ cohort = \"c{index}\" }}\ninject = {{ {shape} }}\n\
             [[faults]]\nname = \"cut{index}\"\nat = \"500ms\"\nside = \"client\"\nselect = {{ cohort = \"c{index}\" }}\ninject = {{ drop_fin = {{}} }}\n"
        );
    }
    let (conns, run) = observe(&text, |_| Script::default()).await;
    for ((client, _), conn) in &conns {
        let sent = run.summary.cohorts[&format!("c{client}")].messages.sent;
        let (at, how) = conn.end.expect("an end");
        assert_eq!((how, conn.rest.len(), conn.of(BINARY).len() as u64), (End::Fin, 0, sent), "everything, and then FIN: {conn:?}");
        assert!(at >= ms(600) && conn.frames.iter().all(|frame| frame.at <= at), "{} ended at {at:?}", shapes[*client]);
    }
    let cuts: Vec<_> = (0..3).map(|index| format!("c{index}: cut{index} by client ->- local told 1006")).collect();
    assert_eq!(run.endings(), cuts);
}

/// A hold over a latency: the older fault goes on when the hold is reverted, and nothing is lost or out of order.
#[tokio::test]
async fn a_hold_on_a_late_path_is_released_alone() {
    let text = "[clients.c0]\ncount = 1\narrive = { at_once = true }\n\
         [[faults]]\nat = \"200ms\"\nside = \"client\"\ninject = { latency = { latency = \"50ms\" } }\n\
         [[faults]]\nname = \"jam\"\nat = \"400ms\"\nfor = \"300ms\"\nside = \"client\"\ninject = { hold_release = {} }\n";
    let (conns, run) = observe(text, |_| Script::pings(ms(1200))).await;
    let conn = conns.values().next().expect("a connection");
    assert_eq!((conn.lost(), conn.of(PONG).len()), (0, 59), "{conn:?}");
    assert!(conn.silence(PONG, ms(1300)) >= ms(250));
    assert_eq!((run.fault("jam").selected, run.fault("jam").injected), (1, 1));
}

/// Text in which single bits are wrong: the receiver fails the connection, and the run says over what, whichever side damages it.
#[tokio::test]
#[ignore = "long: scripts/test"]
async fn an_end_over_damage_is_the_faults() {
    for side in ["client", "server"] {
        let text = format!(
            "duration = \"2s\"\n[target.embedded]\n[clients.c0]\ncount = 20\narrive = {{ at_once = true }}\nreconnect = \"none\"\n\
             traffic = {{ echo = {{ rate = \"20/s\", payload = \"20B\" }} }}\n\
             [[faults]]\nname = \"damage\"\nat = \"300ms\"\nside = \"{side}\"\ninject = {{ corrupt_byte = {{ per_mb = 5000 }} }}\n"
        );
        let run = start(&text).finish().await;
        assert!(
            run.summary.endings.iter().any(|row| row.wire_received == Some(1002) || row.wire_sent == Some(1002)),
            "{side}: somebody noticed"
        );
        assert!(run.summary.endings.iter().all(|row| row.cause == "damage"), "{side}: {:?}", run.endings());
    }
}

/// A peer that sends 16 MiB into a jam: what the program takes in is bounded, and all of it is read after the revert.
#[tokio::test]
async fn a_jam_presses_back() {
    const MIB: u64 = 1 << 20;
    let text = "[clients.c0]\ncount = 1\narrive = { at_once = true }\n\
         [[faults]]\nname = \"jam\"\nat = \"200ms\"\nfor = \"600ms\"\nside = \"client\"\ninject = { hold_release = { dir = \"down\" } }\n";
    let bulk =
        || (0..256).fold(Script { send_buffer: Some(64 << 10), ..Script::default() }, |script, _| script.and(ms(300), Act::Bulk(64 << 10)));
    let (conns, run) = observe(text, move |_| bulk()).await;
    let conn = conns.values().next().expect("a connection");
    let before = conn.accepted.iter().take_while(|(at, _)| *at < ms(650)).last().map_or(0, |(_, total)| *total);
    // 4 MiB in the program, and what the kernel's receive buffer grows to.
    assert!((4 * MIB..13 * MIB).contains(&before), "taken: {before} B");
    assert!(conn.accepted.last().is_some_and(|(_, total)| *total > 16 * MIB), "{conn:?}");
    assert_eq!(run.summary.messages.received, 256);
}

struct Row {
    inject: &'static str,
    /// Bounds of the median round trip.
    least: Duration,
    most: Duration,
}

const ROWS: &[Row] = &[
    Row { inject: "latency = { latency = \"0s\" }", least: ms(0), most: ms(30) },
    Row { inject: "latency = { latency = \"100ms\" }", least: ms(200), most: ms(260) },
    Row { inject: "latency = { latency = \"100ms\", dir = \"up\" }", least: ms(100), most: ms(150) },
    Row { inject: "latency = { latency = \"100ms\", dir = \"down\" }", least: ms(100), most: ms(150) },
    Row { inject: "bandwidth = { bytes_per_s = \"20KiB\" }", least: ms(8), most: ms(80) },
    Row { inject: "slice = { avg = \"40B\", variation = \"20B\", delay = \"3ms\" }", least: ms(12), most: ms(90) },
    Row { inject: "coalesce = { window = \"60ms\" }", least: ms(30), most: ms(150) },
    Row { inject: "bursty_stall = { p_bad = \"100%\", p_good = \"0%\", stall = \"50ms\" }", least: ms(100), most: ms(150) },
];

/// On wss and ws, on either side: round trips grow by what the path adds, every message comes back, and nothing ends.
#[tokio::test]
#[ignore = "long: scripts/test"]
async fn round_trips_grow_by_the_path_and_tls_bears_it() {
    for (tls, side) in [(true, "client"), (true, "server"), (false, "client"), (false, "server")] {
        let mut text = format!("duration = \"2s\"\n[target.embedded]\ntls = {tls}\n");
        for (index, row) in ROWS.iter().enumerate() {
            text += &format!(
                "[clients.c{index}]\ncount = 2\narrive = {{ at_once = true }}\ntraffic = {{ echo = {{ rate = \"5/s\", payload = \"100B\" }} }}\n\
                 [[faults]]\nname = \"f{index}\"\nat = \"100ms\"\nside = \"{side}\"\nselect = {{ cohort = \"c{index}\" }}\ninject = {{ {} }}\n",
                row.inject
            );
        }
        let run = start(&text).finish().await;
        assert_eq!(run.endings(), [""; 0], "tls {tls}, {side}");
        for (index, row) in ROWS.iter().enumerate() {
            let messages = &run.summary.cohorts[&format!("c{index}")].messages;
            let median = Duration::from_micros(messages.rtt_from_sent_us.p50.expect("round trips"));
            assert!(median >= row.least && median < row.most, "tls {tls}, {side}, {}: {median:?}", row.inject);
            assert!(messages.sent - messages.received <= 4 && messages.lost == 0, "{messages:?}");
        }
    }
}

/// TLS notices what WebSocket does not: a damaged record ends the connection, whichever side damages it.
#[tokio::test]
#[ignore = "long: scripts/test"]
async fn tls_ends_over_a_damaged_byte() {
    for side in ["client", "server"] {
        let cohort =
            "count = 2\narrive = { at_once = true }\nreconnect = \"none\"\ntraffic = { echo = { rate = \"20/s\", payload = \"200B\" } }\n";
        let text = format!(
            "duration = \"1500ms\"\n[target.embedded]\ntls = true\n[clients.c0]\n{cohort}[clients.c1]\n{cohort}\
             [[faults]]\nname = \"damage\"\nat = \"300ms\"\nside = \"{side}\"\nselect = {{ cohort = \"c1\" }}\ninject = {{ corrupt_byte = {{ per_mb = 20000 }} }}\n"
        );
        let run = start(&text).finish().await;
        let endings = run.endings();
        assert!(
            !endings.is_empty() && endings.iter().all(|line| line.starts_with("c1: damage by ") && line.contains("told 1006")),
            "{side}: {endings:?}"
        );
        let closed: u64 = run.summary.endings.iter().map(|row| row.count).sum();
        assert_eq!((closed, run.fault("damage").injected), (2, 2), "{side}: {endings:?}");
    }
}
