//! Faults of simulated clients, seen by a server.

use super::arms::{AT, Clients, RUN, SOON, case, clients};
use super::frame::{BINARY, CLOSE, PONG, TEXT, cut, number};
use super::wire::{Act, Conn, End, Script, ms};
use crate::common::Finished;
use std::time::Duration;

/// Messages that clients send by themselves.
const SENDS: &str = "traffic = { send = { rate = \"50/s\", payload = \"20B\" } }";
/// What a hold of `HOLD` must show at least, and an undisturbed connection must not.
const HOLD: Duration = ms(600);
const HELD: Duration = ms(540);

/// The fault's own end came at the time that the run recorded.
fn timely(proof: &Clients, client: usize) {
    let conn = &proof.conns[client];
    let index = client.to_string();
    let (opened, injected) = (proof.run.offset("opened", &index), proof.run.offset("injected", &index));
    let (seen, recorded) = (conn.end.expect("an end").0, injected - opened);
    assert!(injected >= AT && injected < AT + ms(300), "injected at {injected:?}");
    assert!(seen.abs_diff(recorded) < ms(250), "seen at {seen:?}, recorded at {recorded:?} of the connection's life");
}

fn assert_endings(run: &Finished, expected: &[&str]) {
    assert_eq!(run.endings(), expected);
}

#[tokio::test]
async fn drop_fin_is_a_fin_and_not_a_byte() {
    let saw = |conn: &Conn| conn.end_before(SOON) == Some(End::Fin) && conn.frames.is_empty() && conn.rest.is_empty();
    let proof = clients("", &[case("drop_fin = {}", saw)]).await;
    timely(&proof, 1);
    assert_endings(&proof.run, &["c1: f1 by client ->- local told 1006"]);
    assert_endings(&proof.control, &[]);
}

#[tokio::test]
async fn drop_rst_is_a_reset_and_not_a_byte() {
    let saw = |conn: &Conn| conn.end_before(SOON) == Some(End::Rst) && conn.frames.is_empty() && conn.rest.is_empty();
    let proof = clients("", &[case("drop_rst = {}", saw)]).await;
    timely(&proof, 1);
    assert_endings(&proof.run, &["c1: f1 by client ->- local told 1006"]);
    assert_endings(&proof.control, &[]);
}

#[tokio::test]
async fn truncate_frame_cuts_inside_a_payload() {
    let saw = |end: End, declared: u8, kept: usize| {
        move |conn: &Conn| {
            conn.end_before(SOON) == Some(end)
                && conn.frames.is_empty()
                && cut(&conn.rest) == Some((TEXT, true, declared, vec![b'x'; kept]))
        }
    };
    let cases = [
        case("truncate_frame = {}", saw(End::Fin, 100, 10)),
        case("truncate_frame = { declared = \"90B\", keep = \"33B\", end = \"rst\" }", saw(End::Rst, 90, 33)),
    ];
    let proof = clients("", &cases).await;
    timely(&proof, 1);
    timely(&proof, 2);
    assert_endings(&proof.run, &["c1: f1 by client ->- local told 1006", "c2: f2 by client ->- local told 1006"]);
    assert_endings(&proof.control, &[]);
}

#[tokio::test]
async fn half_close_write_ends_one_direction_and_reads_on() {
    let half = |conn: &Conn| conn.end_before(ms(650)) == Some(End::Fin) && conn.frames.is_empty();
    // The observer goes on: five messages after the FIN, and in the first case a FIN of its own after them.
    let writes = || {
        (0..5)
            .fold(Script { keeps_writing: true, ..Script::default() }, |script, turn| script.and(ms(700 + turn * 20), Act::Text))
            .and(ms(1600), Act::Fin)
    };
    let cases = [
        case("half_close_write = { keep_reading = \"0s\" }", half).script(writes().and(ms(900), Act::Fin)),
        case("half_close_write = { keep_reading = \"600ms\" }", half).script(writes()),
        case("half_close_write = { keep_reading = \"100ms\" }", half).script(writes()),
    ];
    let proof = clients("", &cases).await;
    timely(&proof, 1);
    assert!(proof.conns.iter().all(|conn| conn.broken.is_none()), "a write failed: {:?}", proof.conns);
    let received = |cohort: &str| proof.run.summary.cohorts[cohort].messages.received;
    assert_eq!((received("c1"), received("c2"), received("c3")), (5, 5, 0), "messages read after the own FIN");
    let read_on = |client: &str| proof.run.offset("ended", client) - proof.run.offset("injected", client);
    assert!(read_on("2") >= ms(600) && read_on("2") < ms(900), "{:?}", read_on("2"));
    assert!(read_on("3") >= ms(100) && read_on("3") < ms(400), "{:?}", read_on("3"));
    assert_endings(
        &proof.run,
        &[
            "c0: remote by server ->- fin told 1006",
            "c1: f1 by client ->- fin told 1006",
            "c2: f2 by client ->- local told 1006",
            "c3: f3 by client ->- local told 1006",
        ],
    );
}

#[tokio::test]
async fn freeze_neither_reads_nor_writes_and_loses_nothing() {
    // The fault has acted for a while before `from`, and is over before `RUN`.
    let saw = |conn: &Conn| conn.silence(PONG, SOON) >= HELD && conn.silence(BINARY, SOON) >= HELD;
    let proof = clients(SENDS, &[case("freeze = {}", saw).script(Script::pings(ms(1200))).hold(HOLD)]).await;
    let conn = &proof.conns[1];
    assert_eq!((conn.lost(), conn.of(PONG).len()), (0, 59), "every ping is answered after all");
    assert_eq!(lost_messages(conn), 0);
    assert_endings(&proof.run, &[]);
    assert_eq!(proof.run.summary.connections.open_at_end, 2, "a freeze that was reverted ends nothing");
    let messages = |cohort: &str| proof.run.summary.cohorts[cohort].messages.clone();
    // The last one may have come after the books were closed.
    assert!((conn.of(BINARY).len() as u64).abs_diff(messages("c1").sent) <= 1, "sent is what came");
    assert!(messages("c1").not_started >= 25 && messages("c0").not_started == 0, "{:?}", messages("c1"));
}

#[tokio::test]
async fn stop_reading_goes_on_writing() {
    let deaf = |conn: &Conn| conn.silence(PONG, SOON) >= HELD && conn.silence(BINARY, SOON) < HELD;
    // 2 MiB into buffers that hold a small part of it.
    let bulk =
        (0..32).fold(Script { send_buffer: Some(64 * 1024), ..Script::default() }, |script, _| script.and(ms(450), Act::Bulk(65_536)));
    let taken = |conn: &Conn, age: Duration| conn.accepted.iter().take_while(|(at, _)| *at < age).last().map_or(0, |(_, total)| *total);
    let stalled = move |conn: &Conn| taken(conn, ms(850)) < 1 << 20;
    let cases = [
        case("stop_reading = {}", deaf).script(Script::pings(ms(1200))).hold(HOLD),
        case("stop_reading = { rcvbuf = \"128KiB\" }", stalled).script(bulk).hold(HOLD),
    ];
    let proof = clients(SENDS, &cases).await;
    assert_eq!((proof.conns[1].lost(), proof.conns[1].of(PONG).len()), (0, 59), "every ping is answered after all");
    let (stopped, went_on) = (taken(&proof.conns[2], ms(850)), taken(&proof.conns[2], RUN));
    assert!(went_on > stopped + (1 << 18), "reading goes on after the revert: {stopped} B, then {went_on} B");
    assert_endings(&proof.run, &[]);
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn blackhole_swallows_bytes_and_fins_in_its_direction() {
    let hole = |conn: &Conn| conn.lost() >= 15;
    let texts = || Script::pings(ms(1200)).texts(ms(1200));
    let cases = [
        // The observer's FIN in the middle is not answered; the path that lost its state answers RST when it comes back.
        case("blackhole = {}", |conn| conn.end_before(SOON) == Some(End::Rst) && conn.silence(BINARY, AT + HOLD - ms(50)) >= ms(500))
            .script(Script::pings(ms(500)).and(ms(500), Act::Fin))
            .hold(HOLD),
        case("blackhole = { dir = \"up\", on_revert = \"resume\" }", move |conn| hole(conn) && lost_messages(conn) >= 15)
            .script(texts())
            .hold(HOLD),
        case("blackhole = { dir = \"down\", on_revert = \"resume\" }", move |conn| hole(conn) && lost_messages(conn) == 0)
            .script(texts())
            .hold(HOLD),
    ];
    let proof = clients(SENDS, &cases).await;
    let ended = proof.conns[1].end.expect("an end").0 + proof.run.offset("opened", "1");
    assert!(ended.abs_diff(proof.run.offset("reverted", "")) < ms(250), "the reset comes with the revert: {ended:?}");
    let received = |cohort: &str| proof.run.summary.cohorts[cohort].messages.received;
    assert_eq!(received("c2"), 59, "the way down was open");
    assert!(received("c3") <= 59 - 15, "the way down was closed: {}", received("c3"));
    assert_endings(&proof.run, &["c0: remote by server ->- fin told 1006", "c1: f1 by client ->- local told 1006"]);
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn a_client_behind_a_dead_way_up_ends_without_a_fin() {
    let mute = |conn: &Conn| conn.end_before(SOON).is_none();
    let proof = clients("", &[case("blackhole = { dir = \"up\" }", mute).script(Script::default().and(ms(500), Act::Fin))]).await;
    assert_endings(&proof.run, &["c0: remote by server ->- fin told 1006", "c1: remote by server ->- fin told 1006"]);
}

/// Stamped messages that did not come although a later one did.
fn lost_messages(conn: &Conn) -> u64 {
    let sequence = |payload: &[u8]| payload.get(8..16).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let came: Vec<_> = conn.of(BINARY).iter().map(|frame| sequence(&frame.payload)).collect();
    came.last().map_or(0, |last| last - came.len() as u64)
}

/// A first frame that is a masked Close frame with this payload, and a FIN after the observer's answer.
fn closes(payload: Vec<u8>) -> impl Fn(&Conn) -> bool {
    move |conn| {
        let first = conn.frames.first();
        first.is_some_and(|frame| frame.first == CLOSE && frame.masked && frame.payload == payload)
            && conn.end_before(SOON) == Some(End::Fin)
    }
}

#[tokio::test]
async fn close_code_puts_any_code_on_the_wire() {
    let payload = |code: u16, reason: &str| [&code.to_be_bytes(), reason.as_bytes()].concat();
    let cases = [
        case("close_code = { code = 1001, reason = \"going away\" }", closes(payload(1001, "going away"))),
        case("close_code = { code = 1014 }", closes(payload(1014, ""))),
        case("close_code = { code = 4999 }", closes(payload(4999, ""))),
        case("close_code = { code = 999 }", closes(payload(999, ""))),
    ];
    let proof = clients("", &cases).await;
    (1..=4).for_each(|client| timely(&proof, client));
    assert_endings(
        &proof.run,
        &[
            "c1: f1 by client 1001>1001 fin clean told 1001",
            "c2: f2 by client 1014>1014 fin clean told 1014",
            "c3: f3 by client 4999>4999 fin clean told 4999",
            "c4: f4 by client 1002>999 fin clean told 1002",
        ],
    );
    assert_endings(&proof.control, &[]);
}

#[tokio::test]
async fn close_empty_is_a_close_frame_without_a_code() {
    let proof = clients("", &[case("close_empty = {}", closes(Vec::new()))]).await;
    timely(&proof, 1);
    assert_endings(&proof.run, &["c1: f1 by client 1005>1005 fin clean told 1005"]);
}

/// The observer begins the closing handshake.
fn observer_closes() -> Script {
    Script::default().and(ms(450), Act::Close(1000))
}

/// Time from the observer's Close frame to the answer.
fn answered(conn: &Conn) -> Option<Duration> {
    conn.close().map(|frame| frame.at - conn.closed_at())
}

#[tokio::test]
async fn close_ack_delay_answers_late() {
    let late = |conn: &Conn| answered(conn).is_some_and(|delay| delay >= ms(400) && delay < ms(700));
    let proof = clients("", &[case("close_ack_delay = { delay = \"400ms\" }", late).script(observer_closes())]).await;
    assert_eq!(proof.conns[1].close().map(|frame| frame.payload.clone()), Some(vec![3, 232]));
    assert_endings(
        &proof.run,
        &["c0: remote by server 1000>1000 fin clean told 1000", "c1: remote by server 1000>1000 fin clean told 1000"],
    );
}

#[tokio::test]
async fn close_ack_drop_never_answers() {
    let ends = |end: Option<End>| move |conn: &Conn| conn.frames.is_empty() && conn.end_before(ms(750)) == end;
    let cases = [
        case("close_ack_drop = { then = \"fin\" }", ends(Some(End::Fin))).script(observer_closes()),
        case("close_ack_drop = { then = \"rst\" }", ends(Some(End::Rst))).script(observer_closes()),
        // The observer gives up at its own deadline.
        case("close_ack_drop = { then = \"hold\" }", ends(None)).script(observer_closes().and(ms(800), Act::Fin)),
    ];
    let proof = clients("", &cases).await;
    assert_eq!(proof.conns[3].end_before(SOON), Some(End::Fin), "after the observer's FIN: {:?}", proof.conns[3]);
    assert_endings(
        &proof.run,
        &[
            "c0: remote by server 1000>1000 fin clean told 1000",
            "c1: f1 by server 1000>- local told 1000",
            "c2: f2 by server 1000>- local told 1000",
            "c3: remote by server 1000>- fin told 1000",
        ],
    );
}

#[tokio::test]
async fn close_hold_tcp_completes_the_handshake_and_keeps_its_fin() {
    let held = |conn: &Conn| {
        let (Some(answer), Some((end, how))) = (conn.close(), conn.end) else { return false };
        answer.at.saturating_sub(conn.closed_at()) < ms(300)
            && end >= conn.closed_at() + ms(500)
            && end < conn.closed_at() + ms(800)
            && how == End::Fin
    };
    let cases = [
        case("close_hold_tcp = { hold = \"500ms\" }", held).script(observer_closes()),
        // It begins the closing handshake itself: the observer's answer is the first Close frame that the observer sends.
        case("close_hold_tcp = { hold = \"500ms\", code = 1000 }", held),
    ];
    let proof = clients("", &cases).await;
    assert_endings(
        &proof.run,
        &[
            "c0: remote by server 1000>1000 fin clean told 1000",
            "c1: remote by server 1000>1000 fin clean told 1000",
            "c2: f2 by client 1000>1000 fin clean told 1000",
        ],
    );
}

#[tokio::test]
async fn pong_drop_swallows_pongs_and_nothing_else() {
    let saw = |conn: &Conn| conn.lost() >= 20 && conn.silence(PONG, SOON) >= HELD && lost_messages(conn) == 0;
    let proof = clients(SENDS, &[case("pong_drop = {}", saw).script(Script::pings(ms(1200))).hold(HOLD)]).await;
    let conn = &proof.conns[1];
    assert!(conn.silence(BINARY, SOON) < HELD, "messages go on: {conn:?}");
    let last = conn.of(PONG).last().map(|frame| number(&frame.payload));
    assert_eq!(last, Some(58), "pongs come again after the revert");
    assert_endings(&proof.run, &[]);
}
