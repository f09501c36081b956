//! Faults of whole frames on their way: what of numbered pings and pongs comes, how often, and in which order.
//!
//! `OUT` and `IN` as in `path`. The observer pings every 20 ms to 900 ms; the fault begins at 300 ms and stays.

use super::arms::AT;
use super::frame::{BINARY, PONG, TEXT, number};
use super::path::{Carrier, both};
use super::wire::{Act, Conn, Script, ms};
use std::time::Duration;

/// Pings of an observer.
const PINGS: u32 = 44;
/// Number of the first ping that is surely sent after the injection.
const SURE: u32 = 25;

fn pings() -> Script {
    Script::pings(ms(900))
}

fn numbers(conn: &Conn) -> Vec<u32> {
    conn.of(PONG).iter().map(|frame| number(&frame.payload)).collect()
}

/// Every pong came, whatever the order.
fn complete(conn: &Conn) -> bool {
    let mut all = numbers(conn);
    all.sort_unstable();
    all == (0..PINGS).collect::<Vec<_>>()
}

/// Pongs that came behind one with a higher number.
fn overtaken(conn: &Conn) -> usize {
    numbers(conn).windows(2).filter(|pair| pair[1] < pair[0]).count()
}

/// None of those that were sent after the injection came, all from before did.
fn lost(conn: &Conn) -> bool {
    let numbers = numbers(conn);
    numbers.iter().all(|number| *number < SURE) && numbers == (0..numbers.len() as u32).collect::<Vec<_>>() && numbers.len() > 5
}

/// Some came, some did not, in order.
fn thinned(conn: &Conn) -> bool {
    let late = numbers(conn).iter().filter(|number| **number >= SURE).count();
    overtaken(conn) == 0 && (1..(PINGS - SURE) as usize).contains(&late)
}

fn doubled(conn: &Conn) -> bool {
    let all = numbers(conn);
    let twice = (SURE..PINGS).all(|of| all.iter().filter(|number| **number == of).count() == 2);
    twice && overtaken(conn) == 0 && (0..PINGS).all(|of| all.contains(&of))
}

fn no_end(conn: &Conn) -> bool {
    conn.end_before(super::arms::SOON).is_none()
}

#[tokio::test]
async fn frame_drop_loses_whole_frames_and_nothing_else() {
    let cases = |carrier: Carrier| {
        vec![
            carrier.case("frame_drop = { probability = \"100%\", opcode = \"pong\", dir = \"OUT\" }", pings(), |conn| {
                lost(conn) && no_end(conn)
            }),
            carrier.case("frame_drop = { probability = \"100%\", opcode = \"ping\", dir = \"IN\" }", pings(), |conn| {
                lost(conn) && no_end(conn)
            }),
            carrier.case("frame_drop = { probability = \"50%\", opcode = \"all\" }", pings(), |conn| thinned(conn) && no_end(conn)),
        ]
    };
    let proof = both(cases).await;
    assert_eq!(proof.clients.run.endings(), [""; 0]);
    assert!(proof.server.endings.is_empty(), "{:?}", proof.server.endings);
    assert!(proof.clients.conns[0].of(PONG).len() == PINGS as usize, "the neighbour lost nothing");
}

#[tokio::test]
async fn frame_duplicate_delivers_whole_frames_twice() {
    let cases = |carrier: Carrier| {
        vec![
            carrier.case("frame_duplicate = { probability = \"100%\", opcode = \"pong\", dir = \"OUT\" }", pings(), doubled),
            carrier.case("frame_duplicate = { probability = \"100%\", opcode = \"ping\", dir = \"IN\" }", pings(), doubled),
        ]
    };
    let proof = both(cases).await;
    assert_eq!(proof.clients.run.endings(), [""; 0]);
    assert!(proof.server.endings.is_empty(), "{:?}", proof.server.endings);
}

#[tokio::test]
async fn frame_reorder_lets_frames_overtake_and_loses_none() {
    let reordered = |conn: &Conn| complete(conn) && overtaken(conn) >= 5;
    let cases = |carrier: Carrier| {
        vec![
            carrier.case(
                "frame_reorder = { probability = \"100%\", opcode = \"pong\", dir = \"OUT\", within = \"200ms\" }",
                pings(),
                reordered,
            ),
            carrier.case(
                "frame_reorder = { probability = \"100%\", opcode = \"ping\", dir = \"IN\", by = 2, within = \"200ms\" }",
                pings(),
                reordered,
            ),
        ]
    };
    let proof = both(cases).await;
    assert_eq!(proof.clients.run.endings(), [""; 0]);
    // By two: a pong comes behind the two that follow it.
    for conn in [&proof.clients.conns[2], &proof.server.conns[2]] {
        let all = numbers(conn);
        let by_two = all.windows(3).filter(|three| three[2] + 2 == three[1] && three[2] + 1 == three[0]).count();
        assert!(by_two >= 3, "{all:?}");
    }
}

#[tokio::test]
async fn frame_delay_delivers_frames_late_and_others_overtake_them() {
    let late = |conn: &Conn, least: Duration| {
        let sent: Vec<_> = conn.sent.iter().map(|(at, _)| *at).collect();
        let late = conn.of(PONG).into_iter().filter(|pong| pong.at - sent[number(&pong.payload) as usize] >= least);
        late.filter(|pong| pong.at > AT).count()
    };
    let all_late = move |conn: &Conn| complete(conn) && late(conn, ms(150)) >= (PINGS - SURE) as usize;
    let some_late = move |conn: &Conn| complete(conn) && overtaken(conn) >= 2 && late(conn, ms(150)) >= 2;
    let cases = |carrier: Carrier| {
        vec![
            carrier.case(
                "frame_delay = { probability = \"100%\", delay = \"150ms\", opcode = \"pong\", dir = \"OUT\" }",
                pings(),
                all_late,
            ),
            carrier.case("frame_delay = { probability = \"50%\", delay = \"150ms\", opcode = \"ping\", dir = \"IN\" }", pings(), some_late),
        ]
    };
    let proof = both(cases).await;
    assert_eq!(proof.clients.run.endings(), [""; 0]);
    assert!(proof.server.endings.is_empty(), "{:?}", proof.server.endings);
}

/// Bits in which two payloads of one length differ.
fn flipped(a: &[u8], b: &[u8]) -> u32 {
    if a.len() == b.len() { a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum() } else { u32::MAX }
}

#[tokio::test]
async fn frame_corrupt_flips_bits_of_the_payload_and_none_of_the_header() {
    // A pong comes for each ping, in order, with its header; those from after the injection differ in as many bits as asked.
    let pongs = |bits: u32| {
        move |conn: &Conn| {
            let pongs = conn.of(PONG);
            let by = |from: u32, to: u32| (from..to).map(|of| flipped(&pongs[of as usize].payload, &of.to_be_bytes()));
            pongs.len() == PINGS as usize && by(SURE, PINGS).all(|flips| flips == bits) && by(0, 10).all(|flips| flips == 0)
        }
    };
    // Text with every bit flipped is no UTF-8: whoever reads it answers 1007.
    let refused = |conn: &Conn| conn.close().is_some_and(|close| close.payload == [3, 239]);
    let cases = |carrier: Carrier| {
        let mut cases = vec![
            carrier.case("frame_corrupt = { probability = \"100%\", bits = 3, opcode = \"pong\", dir = \"OUT\" }", pings(), pongs(3)),
            carrier.case("frame_corrupt = { probability = \"100%\", opcode = \"ping\", dir = \"IN\" }", pings(), pongs(1)),
            carrier.case(
                "frame_corrupt = { probability = \"100%\", bits = 72, opcode = \"text\", dir = \"IN\" }",
                Script::default().texts(ms(900)),
                refused,
            ),
        ];
        if carrier == Carrier::Server {
            // It echoes. Binary messages come back, each bit of them that is wrong is one that was flipped; so does text, if only that is spoilt.
            let echoed = |first: u8, sent: &'static [u8], bits: u32| {
                move |conn: &Conn| {
                    let late: Vec<_> = conn.of(first).into_iter().filter(|echo| echo.at > AT + ms(50)).collect();
                    late.len() > 5 && late.iter().all(|echo| flipped(&echo.payload, sent) == bits) && no_end(conn)
                }
            };
            let bulk = || (20..40).fold(Script::default(), |script, turn| script.and(ms(turn * 20), Act::Bulk(300)));
            let dots: &'static [u8] = &[b'.'; 300];
            for dir in ["OUT", "IN"] {
                let text = format!("frame_corrupt = {{ probability = \"100%\", bits = 7, opcode = \"binary\", dir = \"{dir}\" }}");
                cases.push(carrier.case(&text, bulk(), echoed(BINARY, dots, 7)));
            }
            let text = "frame_corrupt = { probability = \"100%\", bits = 72, opcode = \"text\", dir = \"OUT\" }";
            cases.push(carrier.case(text, Script::default().texts(ms(900)), echoed(TEXT, b"a message", 72)));
            // Who gets the spoilt echoes is the other end here, and it says what it found.
            let spoilt = |conn: &Conn| conn.of(TEXT).last().is_some_and(|echo| flipped(&echo.payload, b"a message") == 72);
            let told = Script::default().texts(ms(800)).and(ms(850), Act::Close(1007));
            cases.push(carrier.case(text, told, move |conn| refused(conn) && spoilt(conn)));
        }
        cases
    };
    let proof = both(cases).await;
    let endings = proof.clients.run.endings();
    assert!(endings.len() == 1 && endings[0].starts_with("c3: f3 by client"), "{endings:?}");
    // In both, the end is that of the fault, whoever reads the spoilt text.
    let by = |case: usize, words: &str| proof.server.endings.get(&case).is_some_and(|ending| ending.starts_with(words));
    let expected = proof.server.endings.len() == 2 && by(3, "f3 by server") && by(7, "f7 by client");
    assert!(expected, "{:?}", proof.server.endings);
}

#[tokio::test]
async fn messages_are_chosen_by_default_and_pongs_pass() {
    // The embedded server echoes text: the echoes are missing from the injection on, the pongs are not.
    let script = || Script::pings(ms(900)).texts(ms(900));
    let muted = |conn: &Conn| {
        let echoes = conn.of(TEXT);
        conn.of(PONG).len() == PINGS as usize && echoes.len() > 5 && echoes.iter().all(|echo| echo.at < ms(550))
    };
    let cases = [super::arms::case("frame_drop = { probability = \"100%\", dir = \"down\" }", muted).script(script())];
    let proof = super::arms::server(&closestorm::plan::Embedded::default(), ms(1400), &cases).await;
    assert!(proof.endings.is_empty(), "{:?}", proof.endings);
}
