//! What our own two sides do about a peer that breaks RFC 6455: the observer breaks it, and reads Close 1002, 1007 or 1009, then a FIN.

use super::arms::{SOON, cohorts_of, observe, server_arm};
use super::frame::{CLOSE, TEXT, encode, spell};
use super::wire::{Act, Conn, End, Script, ms};
use closestorm::plan::Embedded;

/// A violation, and the answer that the RFC asks for.
struct Row {
    name: &'static str,
    /// Header as a server sends it, and payload.
    frames: Vec<(&'static [u8], Vec<u8>)>,
    /// Masked by a server, not masked by a client.
    wrong_mask: bool,
    /// Status code of the answer; `None`: the frame is legal, and nothing comes.
    answer: Option<u16>,
    /// Status code that the frame itself bore; 1005: none; `None`: it was no Close frame.
    closed: Option<u16>,
}

fn row(name: &'static str, head: &'static [u8], payload: impl Into<Vec<u8>>, answer: u16) -> Row {
    Row { name, frames: vec![(head, payload.into())], wrong_mask: false, answer: Some(answer).filter(|code| *code > 0), closed: None }
}

impl Row {
    fn and(mut self, head: &'static [u8], payload: impl Into<Vec<u8>>) -> Row {
        self.frames.push((head, payload.into()));
        self
    }

    fn closed(self, code: u16) -> Row {
        Row { closed: Some(code), ..self }
    }

    fn wrong_mask(self) -> Row {
        Row { wrong_mask: true, ..self }
    }

    /// The frames in one write, and messages behind them, to which no RST may come.
    fn script(&self, client: bool) -> Script {
        let mut bytes: Vec<u8> = self.frames.iter().flat_map(|(head, payload)| spell(head, payload, client != self.wrong_mask)).collect();
        let late = self.answer.filter(|_| !self.name.ends_with("never ends")).map(|_| encode(TEXT, b"late", client));
        bytes.extend(late.unwrap_or_default());
        Script::default().and(ms(300), Act::Raw(bytes))
    }

    fn check(&self, conn: &Conn, ours_masks: bool) {
        let what = format!("{}: {conn:?}", self.name);
        let Some(code) = self.answer else {
            assert_eq!((conn.close().is_some_and(|close| close.at < SOON), conn.end_before(SOON)), (false, None), "{what}");
            return;
        };
        let close = conn.frames.last().unwrap_or_else(|| panic!("no answer: {what}"));
        let body = if code == 1005 { Vec::new() } else { code.to_be_bytes().to_vec() };
        assert_eq!((close.first, close.masked, &close.payload), (CLOSE, ours_masks, &body), "{what}");
        assert_eq!(conn.of(CLOSE).len(), 1, "{what}");
        assert!(conn.rest.is_empty(), "{what}");
        assert_eq!(conn.end_before(SOON), Some(End::Fin), "{what}");
        assert!(close.at >= ms(300) && conn.broken.is_none(), "{what}");
    }

    /// Bytes that a client sends behind its Close frame.
    fn bytes_after(&self) -> Option<usize> {
        let behind = self.frames[1..].iter().map(|(head, payload)| spell(head, payload, true).len());
        self.closed.map(|_| behind.sum::<usize>() + encode(TEXT, b"late", true).len())
    }

    /// The record of it, on a side called `own`.
    fn ending(&self, own: &str, peer: &str) -> Option<String> {
        let answer = self.answer?;
        Some(match self.closed {
            // A limit of our own, not what the other side broke.
            None if answer == 1009 => format!("local:max_message by {own} ->{answer} local told 1006"),
            None => format!("remote by {own} ->{answer} local told 1006"),
            Some(code) if code == answer => format!("remote by {peer} {code}>{code} fin clean told {code}"),
            Some(code) => format!("remote by {peer} {code}>{answer} fin told 1006"),
        })
    }
}

fn rows() -> Vec<Row> {
    const LIE: &[u8] = &[0x82, 127, 0, 0, 0, 0, 0x40, 0, 0, 0];
    const TOP_BIT: &[u8] = &[0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let long = |size: usize| [&[3, 232][..], &vec![b'r'; size]].concat();
    vec![
        row("the wrong masking", b"\x81\x04", "mask", 1002).wrong_mask(),
        row("RSV1", b"\xc1\x03", "rsv", 1002),
        row("RSV2", b"\xa1\x03", "rsv", 1002),
        row("RSV3", b"\x91\x03", "rsv", 1002),
        row("a reserved data opcode", b"\x83\x02", "op", 1002),
        row("a reserved control opcode", b"\x8b\x02", "op", 1002),
        row("a fragmented ping", b"\x09\x04", "part", 1002),
        row("a fragmented pong", b"\x0a\x04", "part", 1002),
        row("a ping of 126 bytes", b"\x89\x7e\x00\x7e", [b'x'; 126], 1002),
        row("text that is not UTF-8", b"\x81\x06", b"ab\xc0\xafcd", 1007),
        row("text that begins with no UTF-8", b"\x81\x04", b"\xffabc", 1007),
        row("text that ends inside a code point", b"\x81\x05", b"abc\xe2\x82", 1007),
        row("text that is not UTF-8 over two frames", b"\x01\x02", b"a\xe2", 1007).and(b"\x80\x02", b"\x28b"),
        row("a continuation of nothing", b"\x80\x06", "orphan", 1002),
        row("a message inside a message", b"\x01\x04", "one ", 1002).and(b"\x81\x03", "two"),
        row("a frame of a GiB, which never ends", LIE, [b'x'; 10], 1009),
        row("a length with its top bit set, which never ends", TOP_BIT, [b'x'; 10], 1002),
        row("a short frame with a long length", b"\x81\x7e\x00\x05", "short", 0),
        row("a pong that nobody asked for", b"\x8a\x0b", "unsolicited", 0),
        row("a ping inside a message", b"\x01\x01", "a", 0).and(b"\x89\x00", "").and(b"\x80\x01", "b"),
        row("a Close frame with the wrong masking", b"\x88\x02", [3, 232], 1002).wrong_mask().closed(1000),
        row("a Close frame of one byte", b"\x88\x01", [3], 1002).closed(1005),
        row("a Close frame whose reason is not UTF-8", b"\x88\x04", b"\x03\xe8\xffa", 1007).closed(1000),
        row("a Close frame of 126 bytes", b"\x88\x7e\x00\x7e", long(124), 1002).closed(1000),
        row("a Close frame of 302 bytes", b"\x88\x7e\x01\x2e", long(300), 1002).closed(1000),
        row("a fragmented Close frame", b"\x08\x02", [3, 232], 1002).closed(1000),
        row("a Close frame with RSV1", b"\xc8\x02", [3, 232], 1002).closed(1000),
        row("a Close frame with the code 1005", b"\x88\x02", [3, 237], 1002).closed(1005),
        row("a Close frame with the code 2999", b"\x88\x02", [11, 183], 1002).closed(2999),
        row("a Close frame with a code of its own, then a violation", b"\x88\x02", [15, 160], 4000).and(b"\xc1\x03", "rsv").closed(4000),
        row("a violation, then a Close frame", b"\xc1\x03", "rsv", 1002).and(b"\x88\x02", [3, 232]),
    ]
}

#[tokio::test]
async fn a_client_answers_violations_with_the_code_of_the_rfc_and_a_fin() {
    let (conns, run) = observe(&cohorts_of(rows().len(), ""), |client| rows()[client].script(false)).await;
    assert_eq!(conns.len(), rows().len());
    for (row, conn) in rows().iter().zip(conns.values()) {
        row.check(conn, true);
    }
    let endings = rows().into_iter().enumerate().filter_map(|(index, row)| Some(format!("c{index}: {}", row.ending("client", "server")?)));
    let mut endings: Vec<_> = endings.collect();
    endings.sort();
    assert_eq!(run.endings(), endings);
}

#[tokio::test]
async fn a_server_answers_violations_with_the_code_of_the_rfc_and_a_fin() {
    let scripts = rows().iter().map(|row| row.script(true)).collect();
    let served = server_arm(&Embedded::default(), ms(1200), scripts, Vec::new()).await;
    for (row, conn) in rows().iter().zip(&served.conns) {
        row.check(conn, false);
    }
    // What came behind a Close frame is counted, and nothing else is done about it.
    let after = |row: &Row| row.bytes_after().map_or(String::new(), |bytes| format!(" and {bytes} B after"));
    let ending = |(index, row): (usize, &Row)| Some((index, row.ending("server", "client")? + &after(row)));
    let endings: Vec<_> = rows().iter().enumerate().filter_map(ending).collect();
    assert_eq!(served.endings.into_iter().collect::<Vec<_>>(), endings);
}
