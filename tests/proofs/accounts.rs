//! Faults between the program's own clients and its own server: what both sides' accounts say, and that they agree.

use crate::common::start;

/// A cohort of two clients for each fault, and one without.
struct Row {
    /// Of the cohort, beside count and arrival.
    cohort: &'static str,
    side: &'static str,
    inject: &'static str,
    /// The only way in which connections of the cohort end.
    ending: &'static str,
}

const fn row(cohort: &'static str, side: &'static str, inject: &'static str, ending: &'static str) -> Row {
    Row { cohort, side, inject, ending }
}

/// The client begins the closing handshake at 600 ms, and waits for neither answer nor FIN longer than 200 ms.
const LEAVES: &str =
    "stay = { for = \"600ms\", close = { code = 1000, reason = \"\" } }\ndeadlines = { close = \"200ms\", fin = \"200ms\" }";
/// The client takes a silence of 150 ms for an end.
const PINGS: &str = "heartbeat = { every = \"100ms\", timeout = \"150ms\" }";

const ROWS: &[Row] = &[
    row("", "server", "drop_fin = {}", "ID by server ->- fin told 1006 | server told 1006 local"),
    row("", "server", "drop_rst = {}", "ID by server ->- rst told 1006 | server told 1006 local"),
    row("", "server", "truncate_frame = {}", "ID by server ->- fin cut told 1006 | server told 1006 local"),
    row("", "server", "half_close_write = {}", "ID by server ->- fin told 1006 | server told 1006 fin"),
    row("", "server", "close_code = { code = 1014 }", "ID by server 1014>1014 fin clean told 1014 | server told 1014 fin"),
    row("", "server", "close_code = { code = 999 }", "ID by server 999>1002 fin told 1006 | server told 1002 fin"),
    row("", "server", "close_empty = {}", "ID by server 1005>1005 fin clean told 1005 | server told 1005 fin"),
    row(PINGS, "server", "freeze = {}", "deadline:pong by client ->- local told 1006"),
    row(PINGS, "server", "stop_reading = {}", "deadline:pong by client ->- local told 1006"),
    row(PINGS, "server", "blackhole = {}", "deadline:pong by client ->- local told 1006"),
    row(PINGS, "server", "pong_drop = {}", "deadline:pong by client ->- local told 1006 | server told 1006 fin"),
    row(LEAVES, "server", "close_ack_delay = { delay = \"100ms\" }", "stay by client 1000>1000 fin clean told 1000 | server told 1000 fin"),
    row(LEAVES, "server", "close_ack_drop = { then = \"hold\" }", "stay by client ->1000 timeout told 1006 | server told 1000 fin"),
    row(LEAVES, "server", "close_ack_drop = { then = \"rst\" }", "stay by client ->1000 rst told 1006 | server told 1000 local"),
    row(LEAVES, "server", "close_hold_tcp = { hold = \"5s\" }", "stay by client 1000>1000 timeout told 1000"),
    row("", "client", "drop_fin = {}", "ID by client ->- local told 1006 | server told 1006 fin"),
    row("", "client", "drop_rst = {}", "ID by client ->- local told 1006 | server told 1006 rst"),
    row("", "client", "client_crash = { end = \"rst\" }", "ID by client ->- local told 1006 | server told 1006 rst"),
    row("", "client", "client_crash = { end = \"silent\" }", "ID by client ->- none told 1006"),
    row("", "server", "close_while_sending = {}", "ID by server 1001>1001 fin clean told 1001 | server told 1001 fin"),
    row("", "client", "truncate_frame = { end = \"rst\" }", "ID by client ->- local told 1006 | server told 1006 rst"),
    row("", "client", "half_close_write = {}", "ID by client ->- fin told 1006 | server told 1006 fin"),
    row("", "client", "close_code = { code = 4999 }", "ID by client 4999>4999 fin clean told 4999 | server told 4999 fin"),
    row("", "client", "close_code = { code = 999 }", "ID by client 1002>999 fin clean told 1002 | server told 1006 fin"),
    row("", "server", "frame_rsv = {}", "ID by client ->1002 local told 1006 | server told 1002 fin"),
    row("", "server", "frame_bad_utf8 = {}", "ID by client ->1007 local told 1006 | server told 1007 fin"),
    row("", "server", "frame_length_lie = {}", "ID by client ->1009 local told 1006 | server told 1009 fin"),
    row("", "server", "close_body_1 = {}", "ID by server 1005>1002 fin told 1006 | server told 1002 fin"),
    row("", "server", "close_then_fin = {}", "ID by server 1001>1001 fin clean told 1001 | server told 1006 local"),
    row("", "server", "close_then_fin = { delay = \"100ms\" }", "ID by server 1001>1001 fin clean told 1001 | server told 1001 fin"),
    row("", "server", "close_twice = {}", "ID by server 1000>1000 fin clean told 1000 | server told 1000 fin"),
    row("", "client", "frame_mask_violation = {}", "ID by server 1002>1002 fin clean told 1002 | server told 1006 local"),
    row("", "client", "frame_interleave = {}", "ID by server 1002>1002 fin clean told 1002 | server told 1006 local"),
    row("", "client", "close_reason_bad_utf8 = {}", "ID by client 1007>1000 fin clean told 1007 | server told 1006 fin"),
    row("", "client", "close_then_data = {}", "ID by client 1000>1000 fin clean told 1000 | server told 1000 fin"),
    row(LEAVES, "server", "close_ack_wrong_code = {}", "stay by client 4000>1000 fin clean told 4000 | server told 1000 fin"),
];

fn scenario(faults: bool) -> String {
    let mut text = "duration = \"1500ms\"\n[target.embedded]\n[clients.calm]\ncount = 2\narrive = { at_once = true }\n".to_owned();
    for (index, row) in (0..).zip(ROWS) {
        let Row { cohort, .. } = row;
        text += &format!("[clients.c{index:02}]\ncount = 2\narrive = {{ at_once = true }}\nreconnect = \"none\"\n{cohort}\n");
    }
    for (index, Row { side, inject, .. }) in (0..).zip(ROWS).filter(|_| faults) {
        text += &format!(
            "[[faults]]\nname = \"f{index:02}\"\nat = \"300ms\"\nside = \"{side}\"\nselect = {{ cohort = \"c{index:02}\" }}\ninject = {{ {inject} }}\n"
        );
    }
    text
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn client_and_server_give_accounts_that_agree() {
    let (with, without) = (scenario(true), scenario(false));
    let (run, control) = tokio::join!(start(&with).finish(), start(&without).finish());
    let expected: Vec<_> =
        (0..).zip(ROWS).map(|(index, row)| format!("c{index:02}: {} ×2", row.ending.replace("ID", &format!("f{index:02}")))).collect();
    assert_eq!(run.endings(), expected);
    let left: Vec<_> = (0..)
        .zip(ROWS)
        .filter(|(_, row)| row.cohort == LEAVES)
        .map(|(index, _)| format!("c{index:02}: stay by client 1000>1000 fin clean told 1000 | server told 1000 fin ×2"))
        .collect();
    assert_eq!(control.endings(), left, "without faults only those end who leave");
    for (index, row) in ROWS.iter().enumerate() {
        let fault = run.fault(&format!("f{index:02}"));
        assert_eq!((fault.selected, fault.injected, fault.side.as_str()), (2, 2, row.side), "{}", row.inject);
    }
}
