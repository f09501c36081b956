//! Messages of many megabytes: `frame_oversize` goes out whole with nothing in the middle of it, and our own two sides refuse what is too long.

use super::arms::{Server, cohorts_of, observe_for, server_arm};
use super::frame::{BINARY, CLOSE, PONG};
use super::wire::{Act, Conn, End, Script, ms};
use crate::common::LONG;
use closestorm::fault::Effect;
use closestorm::plan::Embedded;
use serde_json::json;
use std::time::Duration;

/// What the default size asks for.
const SIZE: usize = 17 << 20;
/// Header of such a frame.
const HEAD: [u8; 10] = [0x82, 127, 0, 0, 0, 0, 1, 16, 0, 0];

fn head(masked: bool) -> Vec<u8> {
    let mut head = HEAD.to_vec();
    head[1] |= if masked { 0x80 } else { 0 };
    head
}

/// The frame came whole; time from its beginning, told by the injection, to its last byte.
fn assert_whole(conn: &Conn, masked: bool) -> Duration {
    let frames = conn.of(BINARY);
    assert_eq!(frames.len(), 1, "{conn:?}");
    assert_eq!((frames[0].masked, &frames[0].head), (masked, &head(masked)));
    assert!(frames[0].payload == vec![b'x'; SIZE], "the payload is not what was asked for");
    frames[0].at
}

/// The observer takes it for too big when the last byte came.
fn too_big(masked: bool) -> Script {
    Script { fails: Some((SIZE + head(masked).len() + if masked { 4 } else { 0 }, 1009)), ..Script::default() }
}

fn scenario(cohort: &str, fault: bool) -> String {
    let fault =
        "[[faults]]\nname = \"f\"\nat = \"300ms\"\nside = \"client\"\ninject = { frame_oversize = {} }\n".repeat(usize::from(fault));
    cohorts_of(1, cohort) + &fault
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn a_client_sends_seventeen_megabytes_masked() {
    let arm = |fault| {
        let scenario = scenario("", fault);
        async move { observe_for(ms(6000), &scenario, |_| too_big(true)).await }
    };
    let ((seen, run), (calm, control)) = tokio::join!(arm(true), arm(false));
    let conn = &seen[&(0, 1)];
    let took = assert_whole(conn, true).saturating_sub(run.offset("injected", "0") - run.offset("opened", "0"));
    assert!(took < ms(4000), "{took:?} from the injection to the last byte");
    assert_eq!(conn.end_before(ms(5800)), Some(End::Fin));
    assert_eq!(run.endings(), ["c0: f by server 1009>1009 fin clean told 1009"]);
    assert_eq!((run.fault("f").selected, run.fault("f").injected), (1, 1));
    assert_eq!((calm[&(0, 1)].of(BINARY).len(), calm[&(0, 1)].end_before(ms(5800)), control.endings().len()), (0, None, 0));
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn a_peer_that_does_not_read_for_a_while_gets_the_frame_whole_and_a_pong_behind_it() {
    // It stops reading before the frame comes and reads on long after a step may wait for a kernel that takes nothing.
    let script = (0..20).fold(Script::default().and(ms(200), Act::Deaf(true)).and(ms(3000), Act::Deaf(false)), |script, turn| {
        script.and(ms(1600 + turn * 50), Act::Ping)
    });
    let beats = "heartbeat = { every = \"500ms\", timeout = \"10s\" }";
    let (seen, run) = observe_for(ms(6000), &scenario(beats, true), move |_| script.clone()).await;
    let conn = &seen[&(0, 1)];
    assert!(assert_whole(conn, true) >= ms(3000), "it came before it was read");
    // RFC 6455 §5.5.3: of pings that wait, the last may be answered alone.
    let answered = conn.of(PONG).len();
    assert!(answered > 0 && answered as u32 + conn.lost() == 20, "the last ping is answered after all: {conn:?}");
    assert_eq!(run.endings(), [""; 0]);
}

#[tokio::test]
async fn a_server_sends_seventeen_megabytes_bare() {
    let mut server = Server::start(&Embedded::default()).await;
    let mut conn = Conn::open(server.port, Some("0/1")).await;
    let Effect::Connection { gate, steps } = super::arms::effect("frame_oversize = {}") else { panic!("not of a connection") };
    let dose = json!({ "firing": { "fault": 0, "number": 0 }, "gate": gate, "steps": steps });
    server.tell(&json!({ "Inject": { "dose": dose, "ids": [{ "client": 0, "connection": 1 }] } })).await;
    conn.play(&too_big(false), LONG).await;
    assert!(assert_whole(&conn, false) < ms(4000), "{conn:?}");
    assert_eq!(conn.end.map(|(_, end)| end), Some(End::Fin));
    let ended = server.reported("Ended", 1).await;
    assert_eq!(ended[0]["ending"]["wire_sent"], json!(1009), "{ended:?}");
}

/// More than both sides take, in one frame and in fragments of a megabyte.
fn too_long() -> [Vec<u8>; 2] {
    let fragment = |first: u8| [vec![first, 127, 0, 0, 0, 0, 0, 16, 0, 0], vec![b'x'; 1 << 20]].concat();
    let fragments = [fragment(0x02), fragment(0x00).repeat(16)].concat();
    [[&HEAD[..], &vec![b'x'; SIZE]].concat(), fragments]
}

/// Masked with a key of zeros, which changes nothing (RFC 6455 §5.3 does not forbid it).
fn masked(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::with_capacity(bytes.len() + 128), 0);
    while at < bytes.len() {
        let length = usize::try_from(u64::from_be_bytes(*bytes[at + 2..].first_chunk().expect("a header"))).expect("a length");
        out.extend([bytes[at], bytes[at + 1] | 0x80]);
        out.extend(&bytes[at + 2..at + 10]);
        out.extend([0; 4]);
        out.extend(&bytes[at + 10..at + 10 + length]);
        at += 10 + length;
    }
    out
}

/// A Close frame with 1009 and a FIN, and every byte was taken: no RST although the sender went on.
fn assert_refused(conn: &Conn, ours_masks: bool, sent: usize) {
    let close = conn.frames.last().unwrap_or_else(|| panic!("no answer: {conn:?}"));
    assert_eq!((close.first, close.masked, close.payload.as_slice()), (CLOSE, ours_masks, &1009_u16.to_be_bytes()[..]), "{conn:?}");
    assert_eq!((conn.frames.len(), conn.broken, conn.end.map(|(_, end)| end)), (1, None, Some(End::Fin)), "{conn:?}");
    let taken = conn.accepted.last().map_or(0, |(_, total)| *total);
    assert!(taken >= sent as u64, "{taken} B of {sent} B were taken");
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn a_client_answers_a_message_that_is_too_long_with_1009_and_a_fin() {
    let script = |client: usize| Script::default().and(ms(300), Act::Raw(too_long()[client].clone()));
    let (seen, run) = observe_for(ms(5000), &cohorts_of(2, ""), script).await;
    for (bytes, conn) in too_long().iter().zip(seen.values()) {
        assert_refused(conn, true, bytes.len());
    }
    let ending = |index: usize| format!("c{index}: local:max_message by client ->1009 local told 1006");
    assert_eq!(run.endings(), [ending(0), ending(1)]);
}

#[tokio::test]
async fn a_server_answers_a_message_that_is_too_long_with_1009_and_a_fin() {
    let scripts = too_long().map(|bytes| Script::default().and(ms(300), Act::Raw(masked(&bytes))));
    let served = server_arm(&Embedded::default(), ms(5000), scripts.to_vec(), Vec::new()).await;
    for (bytes, conn) in too_long().iter().zip(&served.conns) {
        assert_refused(conn, false, bytes.len());
    }
    let ending = "local:max_message by server ->1009 local told 1006".to_owned();
    assert_eq!(served.endings.into_iter().collect::<Vec<_>>(), [(0, ending.clone()), (1, ending)]);
}
