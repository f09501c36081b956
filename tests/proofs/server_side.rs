//! Faults of the embedded server's connections, seen by a client.

use super::arms::{AT, Case, Served, case, server};
use super::frame::{CLOSE, PONG, TEXT, cut};
use super::wire::{Act, Conn, End, Script, ms};
use closestorm::plan::Embedded;
use std::time::Duration;

/// How long the observer looks.
const UNTIL: Duration = ms(1100);
/// How long faults hold, and what that must show at least.
const HOLD: Duration = ms(500);
const HELD: Duration = ms(440);

async fn prove(cases: &[Case]) -> Served {
    server(&Embedded::default(), UNTIL, cases).await
}

fn assert_endings(proof: &Served, expected: &[(usize, &str)]) {
    let endings: Vec<_> = proof.endings.iter().map(|(client, words)| (*client, words.as_str())).collect();
    assert_eq!(endings, expected);
}

/// TCP ended at the time of the injection, this way.
fn ended(conn: &Conn, how: End) -> bool {
    conn.end.is_some_and(|(at, end)| end == how && at >= AT && at < AT + ms(300))
}

fn silent(conn: &Conn) -> bool {
    conn.frames.is_empty() && conn.rest.is_empty()
}

#[tokio::test]
async fn drop_fin_is_a_fin_and_not_a_byte() {
    let proof = prove(&[case("drop_fin = {}", |conn| ended(conn, End::Fin) && silent(conn))]).await;
    assert_endings(&proof, &[(1, "f1 by server ->- local told 1006")]);
}

#[tokio::test]
async fn drop_rst_is_a_reset_and_not_a_byte() {
    let proof = prove(&[case("drop_rst = {}", |conn| ended(conn, End::Rst) && silent(conn))]).await;
    assert_endings(&proof, &[(1, "f1 by server ->- local told 1006")]);
}

#[tokio::test]
async fn truncate_frame_cuts_inside_a_payload() {
    let saw = |end: End, declared: u8, kept: usize| {
        move |conn: &Conn| ended(conn, end) && conn.frames.is_empty() && cut(&conn.rest) == Some((TEXT, false, declared, vec![b'x'; kept]))
    };
    let cases = [
        case("truncate_frame = {}", saw(End::Fin, 100, 10)),
        case("truncate_frame = { declared = \"90B\", keep = \"0B\", end = \"rst\" }", saw(End::Rst, 90, 0)),
    ];
    let proof = prove(&cases).await;
    assert_endings(&proof, &[(1, "f1 by server ->- local told 1006"), (2, "f2 by server ->- local told 1006")]);
}

#[tokio::test]
async fn half_close_write_ends_one_direction_and_reads_on() {
    let half = |conn: &Conn| ended(conn, End::Fin) && silent(conn);
    let writes =
        || (0..5).fold(Script { keeps_writing: true, ..Script::default() }, |script, turn| script.and(ms(650 + turn * 20), Act::Text));
    let cases = [
        case("half_close_write = { keep_reading = \"0s\" }", half).script(writes().and(ms(900), Act::Fin)),
        case("half_close_write = { keep_reading = \"600ms\" }", half).script(writes()),
        case("half_close_write = { keep_reading = \"100ms\" }", half).script(writes()),
    ];
    let proof = prove(&cases).await;
    assert!(proof.conns.iter().all(|conn| conn.broken.is_none()), "a write failed: {:?}", proof.conns);
    // Five messages of nine bytes; the neighbour's observer ends by FIN as the first case's does.
    assert_endings(
        &proof,
        &[
            (0, "remote by client ->- fin told 1006"),
            (1, "f1 by server ->- fin told 1006 and 45 B after"),
            (2, "f2 by server ->- local told 1006 and 45 B after"),
            (3, "f3 by server ->- local told 1006"),
        ],
    );
}

#[tokio::test]
async fn freeze_neither_reads_nor_writes_and_loses_nothing() {
    let still = |conn: &Conn| conn.silence(PONG, UNTIL) >= HELD && conn.silence(TEXT, UNTIL) >= HELD;
    // The server's own Close frame waits for the revert.
    let mute = |conn: &Conn| conn.close().is_some_and(|close| close.at >= AT + HOLD);
    let cases = [
        case("freeze = {}", still).script(Script::pings(ms(1000)).texts(ms(1000))).hold(HOLD),
        case("freeze = {}", mute).server_closes().hold(HOLD),
    ];
    let proof = prove(&cases).await;
    let conn = &proof.conns[1];
    assert_eq!((conn.lost(), conn.of(PONG).len(), conn.of(TEXT).len()), (0, 49, 49), "everything is answered after all: {conn:?}");
    assert_endings(&proof, &[(2, "closer by server 1000>1000 fin clean told 1000")]);
}

#[tokio::test]
async fn stop_reading_goes_on_writing() {
    let deaf = |conn: &Conn| conn.silence(PONG, UNTIL) >= HELD;
    // The server's Close frame comes at once; the observer's answer is read after the revert.
    let half_deaf = |conn: &Conn| conn.close().is_some_and(|close| close.at < AT + HOLD) && conn.end.is_some_and(|(at, _)| at >= AT + HOLD);
    let bulk =
        (0..32).fold(Script { send_buffer: Some(64 * 1024), ..Script::default() }, |script, _| script.and(ms(450), Act::Bulk(65_536)));
    let stalled = |conn: &Conn| conn.accepted.last().is_some_and(|(_, total)| *total < 1 << 20);
    let cases = [
        case("stop_reading = {}", deaf).script(Script::pings(ms(1000))).hold(HOLD),
        case("stop_reading = {}", half_deaf).server_closes().hold(HOLD),
        case("stop_reading = { rcvbuf = \"4KiB\" }", stalled).script(bulk),
    ];
    let proof = prove(&cases).await;
    assert_eq!((proof.conns[1].lost(), proof.conns[1].of(PONG).len()), (0, 49), "every ping is answered after all");
    assert_endings(&proof, &[(2, "closer by server 1000>1000 fin clean told 1000")]);
}

#[tokio::test]
async fn blackhole_swallows_bytes_and_fins_in_its_direction() {
    let hole = |conn: &Conn| conn.lost() >= 12;
    let heard = |conn: &Conn| conn.close().is_some();
    let cases = [
        // The path that lost its state answers RST when it comes back; the observer's FIN is not answered before.
        case("blackhole = {}", |conn| conn.end.is_some_and(|(at, end)| end == End::Rst && at >= AT + HOLD))
            .script(Script::default().and(ms(500), Act::Fin))
            .hold(HOLD),
        // Towards the server: what it sends comes, what it is sent does not.
        case("blackhole = { dir = \"up\", on_revert = \"resume\" }", hole).script(Script::pings(ms(1000))).hold(HOLD),
        case("blackhole = { dir = \"up\", on_revert = \"resume\" }", move |conn| heard(conn) && conn.end.is_none()).server_closes(),
        // Towards the client: the other way round.
        case("blackhole = { dir = \"down\", on_revert = \"resume\" }", hole).script(Script::pings(ms(1000))).hold(HOLD),
        case("blackhole = { dir = \"down\" }", move |conn| !heard(conn) && conn.end.is_none())
            .script(Script::default().and(ms(700), Act::Fin))
            .server_closes(),
    ];
    let proof = prove(&cases).await;
    assert_endings(
        &proof,
        &[
            (0, "remote by client ->- fin told 1006"),
            (1, "f1 by server ->- local told 1006"),
            // It read the observer's FIN, and its own Close frame was never on the wire.
            (5, "closer by server ->- fin told 1006"),
        ],
    );
}

/// A first frame that is a bare Close frame with this payload, and the server's FIN after the observer's answer.
fn closes(payload: Vec<u8>) -> impl Fn(&Conn) -> bool {
    move |conn| {
        let first = conn.frames.first();
        first.is_some_and(|frame| frame.first == CLOSE && !frame.masked && frame.payload == payload) && ended(conn, End::Fin)
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
    let proof = prove(&cases).await;
    assert_endings(
        &proof,
        &[
            (1, "f1 by server 1001>1001 fin clean told 1001"),
            (2, "f2 by server 1014>1014 fin clean told 1014"),
            (3, "f3 by server 4999>4999 fin clean told 4999"),
            (4, "f4 by server 1002>999 fin clean told 1002"),
        ],
    );
}

#[tokio::test]
async fn close_empty_is_a_close_frame_without_a_code() {
    let proof = prove(&[case("close_empty = {}", closes(Vec::new()))]).await;
    assert_endings(&proof, &[(1, "f1 by server 1005>1005 fin clean told 1005")]);
}

/// The observer begins the closing handshake.
fn observer_closes() -> Script {
    Script::default().and(ms(450), Act::Close(1000))
}

#[tokio::test]
async fn close_ack_delay_answers_late() {
    let late = |conn: &Conn| {
        let delay = conn.close().map(|frame| frame.at - conn.closed_at());
        delay.is_some_and(|delay| delay >= ms(300) && delay < ms(550))
    };
    let proof = prove(&[case("close_ack_delay = { delay = \"300ms\" }", late).script(observer_closes())]).await;
    assert_eq!(proof.conns[1].close().map(|frame| frame.payload.clone()), Some(vec![3, 232]));
    let clean = "remote by client 1000>1000 fin clean told 1000";
    assert_endings(&proof, &[(0, clean), (1, clean)]);
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
    let proof = prove(&cases).await;
    assert_eq!(proof.conns[3].end_before(UNTIL), Some(End::Fin), "after the observer's FIN: {:?}", proof.conns[3]);
    assert_endings(
        &proof,
        &[
            (0, "remote by client 1000>1000 fin clean told 1000"),
            (1, "f1 by client 1000>- local told 1000"),
            (2, "f2 by client 1000>- local told 1000"),
            (3, "remote by client 1000>- fin told 1000"),
        ],
    );
}

#[tokio::test]
async fn close_hold_tcp_completes_the_handshake_and_keeps_its_fin() {
    let held = |conn: &Conn| {
        let (Some(answer), Some((end, how))) = (conn.close(), conn.end) else { return false };
        answer.at.saturating_sub(conn.closed_at()) < ms(250) && end >= conn.closed_at() + ms(400) && how == End::Fin
    };
    let cases = [
        case("close_hold_tcp = { hold = \"400ms\" }", held).script(observer_closes()),
        // The observer's FIN comes first; the server keeps its own all the same.
        case("close_hold_tcp = { hold = \"400ms\" }", held).script(observer_closes().and(ms(600), Act::Fin)),
        // It begins the closing handshake itself.
        case("close_hold_tcp = { hold = \"400ms\", code = 1001 }", held),
    ];
    let proof = prove(&cases).await;
    let clean = "remote by client 1000>1000 fin clean told 1000";
    assert_endings(&proof, &[(0, clean), (1, clean), (2, clean), (3, "f3 by server 1001>1001 fin clean told 1001")]);
}

#[tokio::test]
async fn pong_drop_swallows_pongs_and_nothing_else() {
    let saw = |conn: &Conn| conn.lost() >= 16 && conn.silence(PONG, UNTIL) >= HELD && conn.of(TEXT).len() == 49;
    let proof = prove(&[case("pong_drop = {}", saw).script(Script::pings(ms(1000)).texts(ms(1000))).hold(HOLD)]).await;
    let conn = &proof.conns[1];
    assert!(conn.silence(TEXT, ms(1000)) < HELD, "echoes go on: {conn:?}");
    assert_eq!(conn.of(PONG).len() as u32 + conn.lost(), 49, "pongs come again after the revert: {conn:?}");
    assert_endings(&proof, &[]);
}
