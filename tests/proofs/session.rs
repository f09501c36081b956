//! Faults that last over a part of a connection's life: pongs and floods, closing handshakes that cross, clients that vanish.

use super::arms::{AT, Case, RUN, SOON, Server, case, clients, effect, observe, server};
use super::frame::{BINARY, CLOSE, Frame, PING, PONG, TEXT, number};
use super::wire::{Act, Conn, End, Script, ms};
use crate::common::{LONG, start};
use closestorm::fault::Effect;
use closestorm::plan::Embedded;
use serde_json::json;
use std::time::Duration;

/// How long an observer of the server looks.
const UNTIL: Duration = ms(1100);
/// How long faults hold, and what that must show at least.
const HOLD: Duration = ms(400);
const HELD: Duration = ms(340);

/// Age at which the ping with this number was sent by [`Script::pings`].
fn pinged(pong: &Frame) -> Duration {
    ms(20) * (number(&pong.payload) + 1)
}

/// Pongs that came at least this late.
fn late(conn: &Conn, delay: Duration) -> usize {
    conn.of(PONG).iter().filter(|pong| pong.at.saturating_sub(pinged(pong)) >= delay).count()
}

/// Each ping has one pong, with its payload.
fn all_answered(conn: &Conn) -> bool {
    let mut numbers: Vec<_> = conn.of(PONG).iter().map(|pong| number(&pong.payload)).collect();
    numbers.sort_unstable();
    let pings = conn.sent.iter().filter(|(_, first)| *first == PING).count() as u32;
    numbers == (0..pings).collect::<Vec<_>>()
}

fn pong_delay() -> Case {
    case("pong_delay = { delay = \"150ms\" }", |conn| late(conn, ms(150)) >= 12).script(Script::pings(ms(900)).texts(ms(900))).hold(HOLD)
}

/// Pongs whose payload is that of a ping, inverted.
fn wrong(conn: &Conn) -> usize {
    conn.of(PONG).iter().filter(|pong| pong.payload.len() == 4 && number(&pong.payload) >= u32::MAX - 100).count()
}

fn pong_wrong_payload() -> Case {
    case("pong_wrong_payload = {}", |conn| wrong(conn) >= 12).script(Script::pings(ms(900))).hold(HOLD)
}

fn assert_wrong_pongs(conn: &Conn) {
    let pongs = conn.of(PONG);
    assert_eq!(pongs.len(), 44, "each ping has a pong: {conn:?}");
    for (index, pong) in (0_u32..).zip(&pongs) {
        assert!([index, !index].contains(&number(&pong.payload)), "right or inverted: {conn:?}");
    }
    assert_eq!(number(&pongs[43].payload), 43, "right again after the revert");
}

/// 200 pings a second for [`HOLD`]: 81 with the first at once.
fn ping_flood() -> Case {
    case("ping_flood = { per_s = 200, bytes = \"9B\" }", |conn| conn.of(PING).len() >= 50).hold(HOLD)
}

fn assert_flood(conn: &Conn) {
    let pings = conn.of(PING);
    // The times of injection and revert are the parent's, and each may come late on a busy machine.
    assert!((60..=120).contains(&pings.len()), "{} pings", pings.len());
    assert!(pings.iter().all(|ping| ping.payload == b"xxxxxxxxx"));
    let (first, last) = (pings[0].at, pings[pings.len() - 1].at);
    assert!(
        first + ms(60) >= AT && first < AT + ms(250) && last - first >= ms(290) && last - first < HOLD + ms(300),
        "{first:?} to {last:?}"
    );
    // Due times do not drift: the n-th ping comes n · 5 ms after the first, or as late as a wake-up on a busy machine is.
    for (turn, ping) in (0_u32..).zip(&pings) {
        let due = first + ms(5) * turn;
        assert!(ping.at + ms(100) >= due && ping.at < due + ms(250), "ping {turn} at {:?}, due at {due:?}", ping.at);
    }
}

mod client_side {
    use super::*;

    #[tokio::test]
    async fn pong_delay_answers_every_ping_late() {
        let proof = clients("", &[pong_delay()]).await;
        assert!(all_answered(&proof.conns[1]), "{:?}", proof.conns[1]);
        assert_eq!(proof.run.endings(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn pong_wrong_payload_inverts_it() {
        let proof = clients("", &[pong_wrong_payload()]).await;
        assert_wrong_pongs(&proof.conns[1]);
        assert_eq!(proof.run.endings(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn ping_flood_keeps_its_rate_until_reverted() {
        let proof = clients("", &[ping_flood()]).await;
        assert_flood(&proof.conns[1]);
        assert!(proof.conns[1].of(PING).iter().all(|ping| ping.masked));
        assert_eq!(proof.run.endings(), Vec::<String>::new());
    }

    /// A run of one client that comes back after 200 ms, against an observer; connections by number.
    async fn one_client(fault: &str) -> (Vec<Conn>, crate::common::Finished) {
        let scenario = format!(
            "[clients.c]\ncount = 1\narrive = {{ at_once = true }}\nreconnect = {{ fixed = {{ delay = \"200ms\" }} }}\n\
             traffic = {{ send = {{ rate = \"50/s\", payload = \"20B\" }} }}\n{fault}"
        );
        let (seen, run) = observe(&scenario, |_| Script::pings(ms(1200))).await;
        (seen.into_values().collect(), run)
    }

    fn fault(inject: &str) -> String {
        format!("[[faults]]\nname = \"f\"\nat = \"{}ms\"\nside = \"client\"\ninject = {{ {inject} }}\n", AT.as_millis())
    }

    /// Nothing more came after the injection, and TCP did not end before the run did.
    fn went_silent(conn: &Conn) -> bool {
        conn.frames.iter().all(|frame| frame.at < AT + ms(250)) && conn.rest.is_empty() && conn.end_before(ms(1000)).is_none()
    }

    #[tokio::test]
    #[ignore = "long: scripts/test"]
    async fn client_crash_tells_by_fin_or_rst_or_not_at_all() {
        let [fin, rst, silent] = ["fin", "rst", "silent"].map(|end| fault(&format!("client_crash = {{ end = \"{end}\" }}")));
        let (fin, rst, silent, calm) = tokio::join!(one_client(&fin), one_client(&rst), one_client(&silent), one_client(""));
        assert_eq!((calm.0.len(), calm.0[0].end_before(ms(1300))), (1, None));
        assert!(!went_silent(&calm.0[0]));
        for ((conns, run), end) in [(&fin, Some(End::Fin)), (&rst, Some(End::Rst)), (&silent, None)] {
            assert_eq!((conns.len(), conns[0].end_before(ms(1000))), (2, end), "{conns:?}");
            assert!(conns[0].close().is_none() && end.is_some() != went_silent(&conns[0]), "{conns:?}");
            // It comes back by its policy.
            let away = run.offsets("opened", "0")[1] - run.offset("ended", "0");
            assert!(away >= ms(200) && away < ms(700), "{away:?}");
            let seen = conns[1].opened() - conns[0].opened();
            assert!(seen >= AT + ms(100) && seen < AT + ms(900), "{seen:?}");
            assert_eq!(run.endings(), [format!("c: f by client ->- {} told 1006", if end.is_some() { "local" } else { "none" })]);
            let row = run.fault("f");
            assert_eq!((row.selected, row.injected, row.recovered), (1, 1, 1));
            assert!(run.offset("ended", "0") - run.offset("injected", "0") < ms(2), "known at once to itself");
        }
    }

    #[tokio::test]
    #[ignore = "long: scripts/test"]
    async fn client_network_switch_leaves_the_old_path_and_opens_another() {
        let switch = fault("client_network_switch = { gap = \"350ms\" }").replace("inject", "first_n = 1\ninject");
        let ((conns, run), (calm, _)) = tokio::join!(one_client(&switch), one_client(""));
        assert_eq!(calm.len(), 1);
        assert!(conns.len() == 2 && went_silent(&conns[0]) && !went_silent(&calm[0]), "{conns:?}");
        // After the gap, not by the policy.
        let away = run.offsets("opened", "0")[1] - run.offset("injected", "0");
        assert!(away >= ms(350) && away < ms(900), "{away:?}");
        let seen = conns[1].opened() - conns[0].opened();
        assert!(seen >= AT + ms(250) && seen < AT + ms(1000), "{seen:?}");
        assert_eq!(run.fault("f").recovered, 1);
        assert_eq!(run.endings(), ["c: f by client ->- none told 1006"]);
    }

    #[tokio::test]
    #[ignore = "long: scripts/test"]
    async fn client_sleep_stops_everything_and_finds_out_at_wake() {
        let still = |conn: &Conn| conn.silence(PONG, SOON) >= HELD && conn.silence(BINARY, SOON) >= HELD;
        let reset = |conn: &Conn| conn.end.is_some_and(|(at, end)| end == End::Rst && at >= AT + HELD && at < AT + HOLD + ms(350));
        let cases = [
            case("client_sleep = { on_wake = \"resume\" }", still).script(Script::pings(ms(1200))).hold(HOLD),
            case("client_sleep = {}", reset).script(Script::pings(ms(600))).hold(HOLD),
            // The observer's FIN waits in the sleeper's kernel.
            case("client_sleep = { on_wake = \"resume\" }", |conn| conn.end.is_some_and(|(at, _)| at >= AT + HELD))
                .script(Script::default().and(ms(500), Act::Fin))
                .hold(HOLD),
        ];
        // A heartbeat whose deadline would pass in the sleep, if its timers went on.
        let traffic = "traffic = { send = { rate = \"50/s\", payload = \"20B\" } }\nheartbeat = { every = \"100ms\", timeout = \"200ms\" }";
        let proof = clients(traffic, &cases).await;
        let conn = &proof.conns[1];
        assert!(conn.lost() == 0 && conn.of(PONG).len() == 59, "nothing is lost that was sent to a sleeper: {conn:?}");
        assert!(conn.silence(PING, SOON) >= HELD, "no heartbeat");
        assert_eq!(proof.run.endings(), ["c2: f2 by client ->- local told 1006", "c3: remote by server ->- fin told 1006"],);
        assert!(proof.run.offset("ended", "2") - proof.run.offset("injected", "2") >= HOLD, "it finds out at wake");
    }
}

mod server_side {
    use super::*;

    async fn prove(cases: &[Case]) -> super::super::arms::Served {
        server(&Embedded::default(), UNTIL, cases).await
    }

    #[tokio::test]
    async fn pong_delay_answers_every_ping_late() {
        let proof = prove(&[pong_delay()]).await;
        let conn = &proof.conns[1];
        assert!(all_answered(conn), "{conn:?}");
        assert_eq!(conn.of(TEXT).len(), 44, "messages are answered as ever");
        assert!(conn.silence(TEXT, ms(850)) < ms(150), "and at once: {conn:?}");
        assert!(proof.endings.is_empty());
    }

    #[tokio::test]
    async fn pong_wrong_payload_inverts_it() {
        let proof = prove(&[pong_wrong_payload()]).await;
        assert_wrong_pongs(&proof.conns[1]);
        assert!(proof.endings.is_empty());
    }

    #[tokio::test]
    async fn ping_flood_keeps_its_rate_until_reverted() {
        let proof = prove(&[ping_flood()]).await;
        assert_flood(&proof.conns[1]);
        assert!(proof.conns[1].of(PING).iter().all(|ping| !ping.masked));
        assert!(proof.endings.is_empty());
    }

    #[tokio::test]
    async fn a_step_that_waits_stops_neither_reading_nor_answering() {
        let held = |conn: &Conn| {
            let (Some(close), Some((end, End::Fin))) = (conn.close(), conn.end) else { return false };
            end >= close.at + ms(280) && end < close.at + ms(500)
        };
        let cases = [
            case("close_then_fin = { delay = \"300ms\" }", held).script(Script { never_acks: true, ..Script::pings(ms(1000)) }),
            case("close_then_fin = { delay = \"300ms\" }", held),
        ];
        let proof = prove(&cases).await;
        let conn = &proof.conns[1];
        let close = conn.close().expect("a Close frame").at;
        let meanwhile = conn.of(PONG).iter().filter(|pong| pong.at > close && pong.at < close + ms(280)).count();
        assert!(meanwhile >= 8, "{meanwhile} pongs between Close frame and FIN: {conn:?}");
        assert_eq!(proof.endings[&1], "f1 by server ->1001 local told 1006");
        assert!(proof.endings[&2].starts_with("f2 by server 1001>1001 "), "the answer was read: {}", proof.endings[&2]);
    }

    #[tokio::test]
    async fn close_while_sending_puts_the_close_frame_right_behind_the_message() {
        let saw = |conn: &Conn| {
            let [message, close] = &conn.frames[..] else { return false };
            message.first == BINARY && message.payload.len() == 3 << 20 && close.first == CLOSE && close.payload == [3, 233]
        };
        let proof = prove(&[case("close_while_sending = { queued = \"3MiB\" }", saw)]).await;
        assert_eq!(proof.endings[&1], "f1 by server 1001>1001 fin clean told 1001");
    }

    /// What a server puts on the wire that was told to close at the same time as its client does.
    async fn crossing(inject: bool) -> (Conn, serde_json::Value) {
        let text = "close_simultaneous = { skew = \"200ms\", code_c = 4001, code_s = 4002 }";
        let Effect::BothEnds { client, server: steps } = effect(text) else { panic!("not of both ends") };
        assert_eq!(client.len(), 2);
        let mut server = Server::start(&Embedded::default()).await;
        let mut conn = Conn::open(server.port, Some("0/1")).await;
        let gate = closestorm::fault::ConnectionEffects::default();
        let dose =
            json!({ "firing": { "fault": 0, "number": 0 }, "gate": gate, "steps": if inject { steps } else { Vec::new() }, "quiet": true });
        server.tell(&json!({ "Inject": { "dose": dose, "ids": [{ "client": 0, "connection": 1 }] } })).await;
        conn.play(&Script::default().and(ms(60), Act::Close(4001)), LONG).await;
        (conn, server.reported("Ended", 1).await.remove(0))
    }

    #[tokio::test]
    async fn close_simultaneous_crosses_on_the_wire() {
        let ((conn, ended), (echo, control)) = tokio::join!(crossing(true), crossing(false));
        let code = |conn: &Conn| conn.close().map(|close| close.payload.clone());
        assert_eq!((code(&conn), code(&echo)), (Some(4002_u16.to_be_bytes().to_vec()), Some(4001_u16.to_be_bytes().to_vec())));
        // Not in answer: the frame keeps its own time.
        let after = |conn: &Conn| conn.close().expect("a Close frame").at - conn.closed_at();
        assert!(after(&conn) >= ms(100) && after(&echo) < ms(100), "{:?} {:?}", after(&conn), after(&echo));
        assert_eq!(conn.end.map(|end| end.1), Some(End::Fin));
        let account = |ended: &serde_json::Value| (ended["ending"]["code"].clone(), ended["ending"]["wire_sent"].clone());
        assert_eq!((account(&ended), account(&control)), ((json!(4001), json!(4002)), (json!(4001), json!(4001))));
    }

    #[tokio::test]
    async fn close_simultaneous_tells_each_side_the_code_of_the_other() {
        let scenario = |fault: &str| {
            format!(
                "duration = \"{}ms\"\n[target.embedded]\n[clients.c]\ncount = 20\narrive = {{ at_once = true }}\nreconnect = \"none\"\n{fault}",
                RUN.as_millis()
            )
        };
        let fault = "[[faults]]\nname = \"f\"\nat = \"300ms\"\ninject = { close_simultaneous = { code_c = 4001, code_s = 4002 } }\n";
        let (with, without) = (scenario(fault), scenario(""));
        let (run, control) = tokio::join!(start(&with).finish(), start(&without).finish());
        // Who was first may differ from connection to connection; what each is told may not.
        for line in run.endings() {
            assert!(line.starts_with("c: f by ") && line.contains(" 4002>4001 fin clean told 4002 | server told 4001 fin"), "{line}");
        }
        let row = run.fault("f");
        assert_eq!((row.selected, row.injected, row.side.as_str()), (20, 20, "server"));
        assert_eq!((run.summary.connections.open_at_end, control.endings().len()), (0, 0));
    }
}
