//! Faults that put frames on the wire, legal or not, on both sides: the exact bytes, what ends TCP after them, and the record of it.
//!
//! The frames are spelled here byte by byte. The observer answers them as a peer that noticed, or as one that did not mind.

use super::arms::{AT, Case, SOON, case, clients, cohorts_of, observe, server};
use super::frame::{spell, unfinished};
use super::wire::{Act, Conn, End, Script, ms};
use closestorm::fault::Side;
use closestorm::plan::Embedded;
use std::time::Duration;

/// How long the observer of a server looks.
const UNTIL: Duration = ms(1200);

/// What the observer does about the frames, and what comes of it.
#[derive(Clone, Copy)]
enum Then {
    /// It answers Close with this code, the program echoes it, both end by FIN.
    Fails(u16),
    /// It does nothing and neither does the program.
    Stays,
    /// It takes the frame for one that still goes on, and ends by FIN at its own deadline.
    GivesUp,
    /// The frames closed: it answers with the first code, the second was on the wire, both end by FIN.
    Closes(u16, u16),
    /// The program ends TCP without awaiting the answer to this code.
    Ends(u16, End),
    /// The program ends TCP so late after a Close frame with this code that the answer came.
    EndsLate(u16, End),
}

struct Row {
    inject: &'static str,
    /// Header as a server sends it, and payload.
    frames: Vec<(&'static [u8], Vec<u8>)>,
    then: Then,
}

fn row(inject: &'static str, head: &'static [u8], payload: impl Into<Vec<u8>>, then: Then) -> Row {
    Row { inject, frames: vec![(head, payload.into())], then }
}

impl Row {
    fn and(mut self, head: &'static [u8], payload: impl Into<Vec<u8>>) -> Row {
        self.frames.push((head, payload.into()));
        self
    }

    /// The masking that RFC 6455 §5.1 demands, or the opposite.
    fn masked(&self, side: Side) -> bool {
        (side == Side::Client) != self.inject.starts_with("frame_mask_violation")
    }

    /// Whether the last frame is one that never ends.
    fn lies(&self) -> bool {
        self.inject.starts_with("frame_length_lie")
    }

    /// What must be on the wire, without masking keys: the frames, and the echo of the observer's Close frame.
    fn expected(&self, side: Side) -> Vec<u8> {
        let bit = |masked: bool| if masked { 0x80 } else { 0 };
        let mut bytes = Vec::new();
        for (head, payload) in &self.frames {
            bytes.extend([head, payload.as_slice()].concat());
            let second = bytes.len() - head.len() - payload.len() + 1;
            bytes[second] |= bit(self.masked(side));
        }
        if let Then::Fails(code) = self.then {
            bytes.extend([0x88, 2 | bit(side == Side::Client)]);
            bytes.extend(code.to_be_bytes());
        }
        bytes
    }

    fn script(&self, side: Side) -> Script {
        let length = self.frames.iter().map(|(head, payload)| spell(head, payload, self.masked(side)).len()).sum();
        match self.then {
            Then::Fails(code) | Then::Closes(code, _) => Script { fails: Some((length, code)), ..Script::default() },
            Then::GivesUp => Script::default().and(ms(700), Act::Fin),
            Then::Stays | Then::Ends(..) | Then::EndsLate(..) => Script::default(),
        }
    }

    fn saw(&self, side: Side) -> impl Fn(&Conn) -> bool + 'static {
        let (expected, lies) = (self.expected(side), self.lies());
        let end = match self.then {
            Then::Stays => None,
            Then::Ends(_, end) | Then::EndsLate(_, end) => Some(end),
            _ => Some(End::Fin),
        };
        let late = if matches!(self.then, Then::EndsLate(..)) { ms(190) } else { ms(0) };
        move |conn| {
            let shown = shown(conn);
            // The echo is payload of the frame that never ends: its masking key is not its own.
            let cut = if lies && side == Side::Client { 4 } else { 0 };
            let same = if lies { shown.starts_with(&expected[..expected.len() - cut]) } else { shown == expected };
            let begun = conn.frames.first().map_or(ms(0), |frame| frame.at);
            // A client's connection is younger than its run.
            let in_time = conn.end.is_none_or(|(at, _)| at >= AT - ms(150) && at >= begun + late);
            same && conn.end_before(SOON) == end && in_time
        }
    }

    /// How the record of it must read; `None`: nothing ended.
    fn ending(&self, index: usize, side: Side) -> Option<String> {
        let (own, peer) = if side == Side::Client { ("client", "server") } else { ("server", "client") };
        Some(match self.then {
            Then::Stays => return None,
            Then::Fails(code) => format!("f{index} by {peer} {code}>{code} fin clean told {code}"),
            Then::Closes(got, sent) => format!("f{index} by {own} {got}>{sent} fin clean told {got}"),
            Then::GivesUp => format!("f{index} by {peer} ->- fin told 1006"),
            Then::EndsLate(code, End::Fin) => format!("f{index} by {own} {code}>{code} fin clean told {code}"),
            Then::EndsLate(code, End::Rst) => format!("f{index} by {own} {code}>{code} local told {code}"),
            Then::Ends(sent, _) => format!("f{index} by {own} ->{sent} local told 1006"),
        })
    }
}

/// Headers and unmasked payloads as they came, in order, up to the end of the run.
fn shown(conn: &Conn) -> Vec<u8> {
    let frames = conn.frames.iter().filter(|frame| frame.at < SOON).flat_map(|frame| [&frame.head, &frame.payload]);
    let rest = unfinished(&conn.rest).map_or(conn.rest.clone(), |(head, payload)| [head, payload].concat());
    frames.flatten().copied().chain(rest).collect()
}

fn violations() -> Vec<Row> {
    use Then::{Fails, GivesUp, Stays};
    const GIB: &[u8] = &[0x82, 127, 0, 0, 0, 0, 0x40, 0, 0, 0];
    vec![
        row("frame_mask_violation = {}", b"\x81\x04", "mask", Fails(1002)),
        row("frame_mask_violation = {}", b"\x81\x04", "mask", Stays),
        row("frame_rsv = {}", b"\xc1\x03", "rsv", Fails(1002)),
        row("frame_rsv = { bits = 2 }", b"\xa1\x03", "rsv", Fails(1002)),
        row("frame_rsv = { bits = 7 }", b"\xf1\x03", "rsv", Fails(1002)),
        row("frame_opcode = {}", b"\x83\x06", "opcode", Fails(1002)),
        row("frame_opcode = { opcode = 15 }", b"\x8f\x06", "opcode", Fails(1002)),
        row("frame_control_fragmented = {}", b"\x09\x04", "part", Fails(1002)),
        row("frame_control_fragmented = { opcode = 10 }", b"\x0a\x04", "part", Fails(1002)),
        row("frame_control_oversize = {}", b"\x89\x7e\x00\x7e", [b'x'; 126], Fails(1002)),
        row("frame_control_oversize = { opcode = 10, size = \"200B\" }", b"\x8a\x7e\x00\xc8", [b'x'; 200], Fails(1002)),
        row("frame_bad_utf8 = {}", b"\x81\x06", b"ab\xc0\xafcd", Fails(1007)),
        row("frame_bad_utf8 = { where = \"start\" }", b"\x81\x04", b"\xffabc", Fails(1007)),
        row("frame_bad_utf8 = { where = \"split\" }", b"\x81\x05", b"abc\xe2\x82", Fails(1007)),
        row("frame_orphan_continuation = {}", b"\x80\x06", "orphan", Fails(1002)),
        row("frame_interleave = {}", b"\x01\x04", "one ", Fails(1002)).and(b"\x81\x03", "two"),
        row("frame_length_lie = {}", GIB, [b'x'; 10], Fails(1009)),
        row("frame_length_lie = { declared = \"100B\", sent = \"5B\" }", b"\x82\x64", [b'x'; 5], GivesUp),
        row("frame_nonminimal_length = {}", b"\x81\x7e\x00\x05", "short", Stays),
        row("frame_nonminimal_length = { form = \"64\" }", b"\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x05", "short", Fails(1002)),
        row("frame_oversize = { size = \"70000B\" }", b"\x82\x7f\x00\x00\x00\x00\x00\x01\x11\x70", [b'x'; 70_000], Fails(1009)),
        row("pong_unsolicited = {}", b"\x8a\x0b", "unsolicited", Stays),
    ]
}

fn closings() -> Vec<Row> {
    use Then::{Closes, Ends, EndsLate};
    let long = |size: usize| [&[3, 232][..], &vec![b'r'; size]].concat();
    vec![
        row("close_body_1 = {}", b"\x88\x01", [3], Closes(1002, 1005)),
        row("close_reason_bad_utf8 = {}", b"\x88\x0e", b"\x03\xe8bad \xff reason", Closes(1007, 1000)),
        row("close_reason_long = {}", b"\x88\x7e\x00\x7e", long(124), Closes(1002, 1000)),
        row("close_reason_long = { size = \"300B\" }", b"\x88\x7e\x01\x2e", long(300), Closes(1002, 1000)),
        row("close_then_fin = {}", b"\x88\x02", [3, 233], Ends(1001, End::Fin)),
        row("close_then_fin = { code = 4000 }", b"\x88\x02", [15, 160], Ends(4000, End::Fin)),
        row("close_then_rst = {}", b"\x88\x02", [3, 233], Ends(1001, End::Rst)),
        row("close_then_fin = { delay = \"200ms\" }", b"\x88\x02", [3, 233], EndsLate(1001, End::Fin)),
        row("close_then_rst = { delay = \"200ms\" }", b"\x88\x02", [3, 233], EndsLate(1001, End::Rst)),
        row("close_twice = {}", b"\x88\x02", [3, 232], Closes(1000, 1000)).and(b"\x88\x02", [3, 233]),
        row("close_then_data = {}", b"\x88\x02", [3, 232], Closes(1000, 1000)).and(b"\x81\x04", "late"),
        row("close_in_fragment = {}", b"\x01\x0b", "unfinished ", Closes(1000, 1000)).and(b"\x88\x02", [3, 232]),
        row("frame_control_fragmented = { opcode = 8 }", b"\x08\x04", "part", Closes(1002, 0x7061)),
    ]
}

fn cases(rows: &[Row], side: Side) -> Vec<Case> {
    rows.iter().map(|row| case(row.inject, row.saw(side)).script(row.script(side))).collect()
}

/// Without the injector nothing came, and only those ended whose observer gave up.
fn assert_calm(rows: &[Row], calm: &[Conn]) {
    assert_eq!(shown(&calm[0]), [0; 0]);
    for (row, conn) in rows.iter().zip(&calm[1..]) {
        let end = if matches!(row.then, Then::GivesUp) { Some(End::Fin) } else { None };
        assert_eq!((shown(conn), conn.end_before(SOON)), (Vec::new(), end), "{}", row.inject);
    }
}

async fn prove_clients(rows: &[Row]) {
    let proof = clients("", &cases(rows, Side::Client)).await;
    assert_calm(rows, &proof.calm);
    let endings = (1..).zip(rows).filter_map(|(index, row)| Some(format!("c{index}: {}", row.ending(index, Side::Client)?)));
    let mut endings: Vec<_> = endings.collect();
    endings.sort();
    assert_eq!(proof.run.endings(), endings);
    let gave_up = (1..).zip(rows).filter(|(_, row)| matches!(row.then, Then::GivesUp));
    let gave_up: Vec<_> = gave_up.map(|(index, _)| format!("c{index}: remote by server ->- fin told 1006")).collect();
    assert_eq!(proof.control.endings(), gave_up);
    for (index, row) in (1..).zip(rows) {
        let client = index.to_string();
        let recorded = proof.run.offset("injected", &client).saturating_sub(proof.run.offset("opened", &client));
        let first = proof.conns[index].frames.first().map(|frame| frame.at);
        // A frame that never ends is dated by nothing but the end.
        assert!(row.lies() || first.expect("a frame").abs_diff(recorded) < ms(250), "{}: {first:?}, recorded {recorded:?}", row.inject);
    }
}

async fn prove_server(rows: &[Row]) {
    let proof = server(&Embedded::default(), UNTIL, &cases(rows, Side::Server)).await;
    assert_calm(rows, &proof.calm);
    let endings: Vec<_> = (1..).zip(rows).filter_map(|(index, row)| Some((index, row.ending(index, Side::Server)?))).collect();
    assert_eq!(proof.endings.into_iter().collect::<Vec<_>>(), endings);
}

#[tokio::test]
async fn clients_put_violations_on_the_wire_as_they_are_and_end_as_the_peer_answers() {
    prove_clients(&violations()).await;
}

#[tokio::test]
async fn a_server_puts_violations_on_the_wire_as_they_are_and_ends_as_the_peer_answers() {
    prove_server(&violations()).await;
}

#[tokio::test]
async fn clients_close_in_every_wrong_way() {
    prove_clients(&closings()).await;
}

#[tokio::test]
async fn a_server_closes_in_every_wrong_way() {
    prove_server(&closings()).await;
}

/// The observer begins the closing handshake and gets this code in answer.
fn answered(code: u16) -> impl Fn(&Conn) -> bool {
    move |conn| conn.close().is_some_and(|close| close.payload == code.to_be_bytes()) && conn.end_before(SOON) == Some(End::Fin)
}

fn wrong_answers() -> [Case; 2] {
    let script = || Script::default().and(ms(450), Act::Close(1000));
    [
        case("close_ack_wrong_code = {}", answered(4000)).script(script()),
        case("close_ack_wrong_code = { code = 1005 }", answered(1005)).script(script()),
    ]
}

#[tokio::test]
async fn clients_answer_a_close_frame_with_another_code() {
    let proof = clients("", &wrong_answers()).await;
    let ending = |index: usize, code: u16| format!("c{index}: remote by server 1000>{code} fin clean told 1000");
    assert_eq!(proof.run.endings(), [ending(0, 1000), ending(1, 4000), ending(2, 1005)]);
    assert_eq!(proof.control.endings(), [ending(0, 1000), ending(1, 1000), ending(2, 1000)]);
    assert!(proof.conns.iter().all(|conn| conn.frames.len() == 1 && conn.frames[0].masked), "one masked Close frame each");
}

#[tokio::test]
async fn a_server_answers_a_close_frame_with_another_code() {
    let proof = server(&Embedded::default(), UNTIL, &wrong_answers()).await;
    let ending = |index: usize, code: u16| (index, format!("remote by client 1000>{code} fin clean told 1000"));
    assert_eq!(proof.endings.into_iter().collect::<Vec<_>>(), [ending(0, 1000), ending(1, 4000), ending(2, 1005)]);
    assert!(proof.conns.iter().all(|conn| conn.frames.len() == 1 && !conn.frames[0].masked), "one bare Close frame each");
}

#[tokio::test]
async fn a_frame_sent_by_a_client_that_hangs_comes_when_the_hanging_is_over() {
    let fault = |name: &str, at: u64, inject: &str| {
        format!("[[faults]]\nname = \"{name}\"\nat = \"{at}ms\"\nside = \"client\"\ninject = {{ {inject} }}\n")
    };
    let hangs = fault("hangs", 300, "freeze = {}") + "for = \"300ms\"\n";
    let scenario = cohorts_of(1, "") + &hangs + &fault("pong", 400, "pong_unsolicited = {}");
    let (seen, run) = observe(&scenario, |_| Script::default()).await;
    let conn = &seen[&(0, 1)];
    assert_eq!(shown(conn), [&[0x8a, 0x8b][..], b"unsolicited"].concat());
    let came = conn.frames[0].at + run.offset("opened", "0");
    assert!(came.abs_diff(run.offset("reverted", "")) < ms(250), "it came at {came:?}");
}
