//! What counts as ready, on sockets: the greeting of the embedded server, a stable time, and a server that never speaks.

use crate::common::start;
use closestorm::results::record::Summary;
use std::time::Duration;

/// Ten clients of each readiness, cut once each by their server.
fn scenario(more: &str) -> String {
    let cohort = |name: &str, ready: &str| {
        format!(
            "[clients.{name}]\ncount = 10\narrive = {{ over = \"500ms\" }}\nreconnect = {{ fixed = {{ delay = \"300ms\" }} }}\n{ready}\n"
        )
    };
    let all = [
        cohort("open", "ready = \"open\""),
        cohort("message", "ready = \"message\""),
        cohort("says", "ready = { message = \"log\\\"in: ok – 100 %\" }\ntraffic = { send = { rate = \"5/s\" } }"),
        cohort("stable", "ready = { open_for = \"700ms\" }"),
        cohort("echo", "traffic = { echo = { rate = \"5/s\" } }"),
    ];
    format!(
        "duration = \"5s\"\nexpect = []\n[target.embedded]\n{more}\n{}[[faults]]\nname = \"cut\"\nat = \"2s\"\ninject = {{ drop_rst = {{}} }}\n",
        all.concat()
    )
}

fn of<'a>(summary: &'a Summary, cohort: &str) -> &'a closestorm::results::record::CohortRow {
    &summary.cohorts[cohort]
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn everybody_is_back_when_its_cohort_says_so() {
    for tls in ["", "tls = true"] {
        let run = start(&scenario(tls)).finish().await;
        for cohort in ["open", "message", "says", "stable", "echo"] {
            let row = of(&run.summary, cohort);
            assert_eq!((row.reconnect.affected, row.reconnect.recovered), (10, 10), "{cohort} {tls}");
            let least = if cohort == "stable" { 1_000_000 } else { 300_000 };
            let times = &row.reconnect.time_us;
            assert!(times.min.is_some_and(|min| min + 10_000 >= least), "{cohort} {tls}: {times:?}");
            let greeted = if ["message", "says"].contains(&cohort) { 20 } else { 0 };
            assert_eq!(row.messages.greetings, greeted, "{cohort} {tls}");
            if cohort != "echo" {
                assert_eq!(row.messages.received, 0, "{cohort} {tls}: a greeting is no message");
            }
        }
    }
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn whom_the_server_shuts_out_at_once_is_never_back() {
    let shut = "[[faults]]\nname = \"shut\"\nat = \"1s\"\nnew = true\ninject = { close_code = { code = 1013 } }\n";
    let text = format!(
        "duration = \"5s\"\nexpect = []\n[target.embedded]\n[clients.web]\ncount = 5\narrive = {{ over = \"500ms\" }}\nreconnect = \"y-websocket\"\n\
         heartbeat = \"none\"\n{shut}"
    );
    let run = start(&text).finish().await;
    let row = of(&run.summary, "web");
    assert_eq!((row.reconnect.affected, row.reconnect.recovered), (5, 0));
    assert_eq!((row.messages.greetings, run.summary.clients.ready), (5, Some(5)), "each was ready once, before the door shut");
    // 200, 400, 800, 1,600 ms.
    let opened = run.offsets("opened", "0");
    let gaps: Vec<_> = opened.windows(2).skip(1).map(|pair| pair[1] - pair[0]).collect();
    for (gap, expected) in gaps.iter().zip([400, 800, 1600]) {
        let expected = Duration::from_millis(expected);
        assert!(*gap >= expected && *gap < expected + Duration::from_millis(250), "{gaps:?}");
    }
    assert!(gaps.len() >= 3, "{gaps:?}");
}
