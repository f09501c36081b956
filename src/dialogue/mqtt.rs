//! MQTT 3.1.1 and 5 over WebSocket: packets become JSON texts and JSON texts become packets, so that a dialogue says and matches them as any other
//! message. Packets are not aligned with messages (MQTT 5 §6.0.0-2): what comes is put together first.
//!
//! Source: OASIS MQTT Version 3.1.1 and Version 5.0, chapters 2, 3 and 6. QoS 0 and 1; packets of QoS 2 are read and answered by nobody. Properties of
//! version 5 are passed over when they come, and none are sent.

mod write;

pub use write::packet;

use serde_json::{Value, json};
use std::fmt::Write;

/// Longest packet that is put together, bytes.
const PACKET_MAX: usize = 1 << 20;
/// Names of packets by their type, from 1.
const NAMES: [&str; 15] = [
    "connect",
    "connack",
    "publish",
    "puback",
    "pubrec",
    "pubrel",
    "pubcomp",
    "subscribe",
    "suback",
    "unsubscribe",
    "unsuback",
    "pingreq",
    "pingresp",
    "disconnect",
    "auth",
];

/// A packet that came.
#[derive(Clone, Debug, PartialEq)]
pub struct MqttPacket {
    /// Its length, bytes.
    pub bytes: u32,
    /// What it says.
    pub says: Value,
}

/// Puts together what comes on one connection.
#[derive(Clone, Debug)]
pub struct MqttReader {
    /// The beginning of a packet that is not whole: at most one.
    begun: Vec<u8>,
    /// Version 5.
    five: bool,
    /// Nothing can be read any more.
    broken: bool,
}

impl MqttReader {
    /// Of version 5 or of 3.1.1; a CONNECT says itself which it is.
    pub fn new(five: bool) -> MqttReader {
        MqttReader { begun: Vec::new(), five, broken: false }
    }

    /// Whether it reads version 5.
    pub fn is_five(&self) -> bool {
        self.five
    }

    /// Takes the next packet from the front of what came; `None`: more must come.
    ///
    /// # Errors
    /// What is wrong, in words. Nothing can be read from then on.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<MqttPacket>, String> {
        if self.broken {
            *bytes = &[];
            return Ok(None);
        }
        let next = self.next_of(bytes);
        if next.is_err() {
            (self.broken, self.begun, *bytes) = (true, Vec::new(), &[]);
        }
        next
    }

    fn next_of(&mut self, bytes: &mut &[u8]) -> Result<Option<MqttPacket>, String> {
        if self.begun.is_empty()
            && let Some(length) = length(bytes)?
            && let Some((packet, rest)) = bytes.split_at_checked(length)
        {
            *bytes = rest;
            return decode(packet, &mut self.five).map(Some);
        }
        loop {
            let missing = length(&self.begun)?.map_or(1, |length| length - self.begun.len());
            if missing == 0 {
                return decode(&std::mem::take(&mut self.begun), &mut self.five).map(Some);
            }
            let (more, rest) = bytes.split_at(missing.min(bytes.len()));
            if more.is_empty() {
                return Ok(None);
            }
            self.begun.extend_from_slice(more);
            *bytes = rest;
        }
    }
}

/// Length of the packet that begins with these bytes; `None`: more must come before it is known.
fn length(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut length = 0;
    for place in 0..4 {
        let Some(byte) = bytes.get(1 + place) else { return Ok(None) };
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            if length > PACKET_MAX {
                return Err(format!("a packet of {length} bytes is longer than {PACKET_MAX}"));
            }
            return Ok(Some(2 + place + length));
        }
    }
    Err("the length of a packet has more than four bytes".to_owned())
}

/// Takes bytes from the front.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.number()?;
        std::str::from_utf8(self.take(length.into())?).ok()
    }

    /// Passes over the properties of version 5.
    fn properties(&mut self, five: bool) -> Option<()> {
        if !five || self.0.is_empty() {
            return Some(());
        }
        let mut length = 0_usize;
        for place in 0..4 {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return self.take(length).map(drop);
            }
        }
        None
    }
}

/// What a whole packet says.
fn decode(packet: &[u8], five: &mut bool) -> Result<MqttPacket, String> {
    let kind = packet.first().map_or(0, |first| first >> 4);
    let says = says(packet, five).ok_or_else(|| {
        let name = NAMES.get(usize::from(kind).wrapping_sub(1)).copied().unwrap_or("unknown");
        format!("a packet of type {kind} ({name}) is malformed")
    })?;
    Ok(MqttPacket { bytes: u32::try_from(packet.len()).unwrap_or(u32::MAX), says })
}

fn says(packet: &[u8], five: &mut bool) -> Option<Value> {
    let body = &mut Cursor(packet);
    let first = body.byte()?;
    while body.byte()? & 0x80 != 0 {}
    let (kind, flags) = (first >> 4, first & 0x0f);
    let name = *NAMES.get(usize::from(kind).checked_sub(1)?)?;
    Some(match kind {
        1 => {
            if body.text()? != "MQTT" {
                return None;
            }
            let level = body.byte()?;
            *five = level == 5;
            let (flags, keep_alive) = (body.byte()?, body.number()?);
            body.properties(*five)?;
            let client_id = body.text()?;
            json!({ "type": name, "version": level, "clean": flags & 2 != 0, "keep_alive": keep_alive, "client_id": client_id })
        }
        2 => json!({ "type": name, "session_present": body.byte()? & 1 != 0, "code": body.byte()? }),
        3 => {
            let (topic, qos) = (body.text()?, flags >> 1 & 3);
            let id = if qos > 0 { Some(body.number()?) } else { None };
            body.properties(*five)?;
            let payload = payload(body.0);
            json!({ "type": name, "topic": topic, "qos": qos, "retain": flags & 1 != 0, "dup": flags & 8 != 0, "id": id, "payload": payload })
        }
        4..=7 => {
            let (id, code) = (body.number()?, body.byte().unwrap_or(0));
            json!({ "type": name, "id": id, "code": code })
        }
        8 | 10 => {
            let id = body.number()?;
            body.properties(*five)?;
            let mut topics = Vec::new();
            while !body.0.is_empty() {
                let topic = body.text()?;
                let qos = if kind == 8 { body.byte()? & 3 } else { 0 };
                topics.push(json!({ "topic": topic, "qos": qos }));
            }
            json!({ "type": name, "id": id, "topics": topics })
        }
        9 | 11 => {
            let id = body.number()?;
            body.properties(*five)?;
            json!({ "type": name, "id": id, "codes": body.0 })
        }
        12 | 13 => json!({ "type": name }),
        _ => json!({ "type": name, "code": body.byte().unwrap_or(0) }),
    })
}

/// JSON where it is a table or a list of it, else text, else `hex:` and its digits.
fn payload(bytes: &[u8]) -> Value {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return bytes
            .iter()
            .fold("hex:".to_owned(), |mut text, byte| {
                // Writing to a string does not fail.
                let _ = write!(text, "{byte:02x}");
                text
            })
            .into();
    };
    let structured = serde_json::from_str::<Value>(text).ok().filter(|value| value.is_object() || value.is_array());
    structured.unwrap_or_else(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All packets that are whole with these bytes, and what is wrong with what follows.
    fn read(reader: &mut MqttReader, mut bytes: &[u8]) -> (Vec<MqttPacket>, Option<String>) {
        let mut packets = Vec::new();
        loop {
            match reader.next(&mut bytes) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => return (packets, None),
                Err(why) => return (packets, Some(why)),
            }
        }
    }

    /// However many there are in a message, one is held at a time.
    #[test]
    fn packets_are_read_one_by_one() {
        let bytes = [0xd0, 0].repeat(1 << 19);
        let (mut reader, mut left) = (MqttReader::new(false), &bytes[..]);
        for read in 1..=1_usize << 19 {
            let packet = reader.next(&mut left).expect("right").expect("whole");
            assert_eq!((packet.bytes, left.len(), reader.begun.capacity()), (2, bytes.len() - read * 2, 0));
        }
        assert_eq!((reader.next(&mut left), left.len()), (Ok(None), 0));
        // Of a message that is longer than any packet, the end of it waits.
        let mut left = &[&bytes[..], &[0x30, 9, 0, 1]].concat()[..];
        while reader.next(&mut left).expect("right").is_some() {}
        assert_eq!((left.len(), reader.begun.len()), (0, 4));
    }

    const PACKETS: [&str; 12] = [
        r#"{"type":"connect","client_id":"c7","keep_alive":2,"clean":true,"username":"u","password":"p"}"#,
        r#"{"type":"connack","code":0}"#,
        r#"{"type":"publish","topic":"room/1","payload":{"seq":3}}"#,
        r#"{"type":"publish","topic":"room/1","qos":1,"id":"70000","payload":"plain"}"#,
        r#"{"type":"puback","id":9}"#,
        r#"{"type":"subscribe","id":1,"topics":[{"topic":"room/+","qos":1},"b"]}"#,
        r#"{"type":"suback","id":1,"codes":[1,0]}"#,
        r#"{"type":"unsubscribe","id":2,"topics":["b"]}"#,
        r#"{"type":"unsuback","id":2}"#,
        r#"{"type":"pingreq"}"#,
        r#"{"type":"pingresp"}"#,
        r#"{"type":"disconnect"}"#,
    ];

    /// Bytes of OASIS MQTT 3.1.1: figure 3.6 (CONNECT), 3.8 (CONNACK), 3.23 (SUBSCRIBE), and by hand.
    #[test]
    fn packets_are_those_of_the_specification() {
        for (text, five, bytes) in [
            (r#"{"type":"connect","client_id":"a","keep_alive":10}"#, false, &b"\x10\x0d\0\x04MQTT\x04\x02\0\x0a\0\x01a"[..]),
            (r#"{"type":"connect","client_id":"a","keep_alive":10}"#, true, b"\x10\x0e\0\x04MQTT\x05\x02\0\x0a\0\0\x01a"),
            (r#"{"type":"connack"}"#, false, b"\x20\x02\0\0"),
            (
                r#"{"type":"subscribe","id":10,"topics":[{"topic":"a/b","qos":1},{"topic":"c/d"}]}"#,
                false,
                b"\x82\x0e\0\x0a\0\x03a/b\x01\0\x03c/d\0",
            ),
            (r#"{"type":"publish","topic":"a/b","qos":1,"id":10,"payload":"hi"}"#, false, b"\x32\x09\0\x03a/b\0\x0ahi"),
            (r#"{"type":"publish","topic":"a/b","payload":"hi"}"#, true, b"\x30\x08\0\x03a/b\0hi"),
            (r#"{"type":"puback","id":10}"#, false, b"\x40\x02\0\x0a"),
            (r#"{"type":"pingreq"}"#, false, b"\xc0\0"),
            (r#"{"type":"disconnect"}"#, false, b"\xe0\0"),
            (r#"{"type":"disconnect","code":4}"#, true, b"\xe0\x01\x04"),
            (r#"{"type":"puback","id":10,"code":"16"}"#, true, b"\x40\x03\0\x0a\x10"),
            // What is filled in may be a number.
            (r#"{"type":"publish","topic":"a","retain":1}"#, false, b"\x31\x03\0\x01a"),
        ] {
            assert_eq!(packet(text, five).as_deref(), Ok(bytes), "{text} {five}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, told) in [
            ("pingreq", "written as JSON"),
            ("{}", "needs a `type`"),
            (r#"{"type":"pong"}"#, "no MQTT packet of type `pong`"),
            (r#"{"type":"publish"}"#, "needs a `topic`"),
            (r#"{"type":"publish","topic":"a","qos":2}"#, "QoS 2"),
            (r#"{"type":"publish","topic":"a","qos":1}"#, "needs an `id`"),
            (r#"{"type":"publish","topic":7}"#, "`topic` of publish is no text: 7"),
            (r#"{"type":"publish","topic":"a","retain":"yes"}"#, "`retain` of publish is neither true nor false: \"yes\""),
            (
                r#"{"type":"publish","topic":"a","message":"x"}"#,
                "`message` is no key of publish; allowed are topic, qos, id, retain, payload",
            ),
            (r#"{"type":"connect","client_id":5}"#, "`client_id` of connect is no text: 5"),
            (r#"{"type":"connect","clean":null}"#, "`clean` of connect is neither true nor false: null"),
            (r#"{"type":"connect","keepalive":5}"#, "`keepalive` is no key of connect; allowed are client_id, clean, keep_alive"),
            (r#"{"type":"connect","keep_alive":65536}"#, "`keep_alive` of connect is no whole number of 0 to 65535: 65536"),
            (r#"{"type":"connect","keep_alive":-1}"#, "no whole number"),
            (r#"{"type":"connect","username":["u"]}"#, "`username` of connect is no text: [\"u\"]"),
            (r#"{"type":"connect","password":"p"}"#, "`password` needs a `username`"),
            (r#"{"type":"subscribe","id":1}"#, "needs `topics`"),
            (r#"{"type":"subscribe","id":1,"topics":"a"}"#, "needs `topics`"),
            (r#"{"type":"subscribe","id":1,"topics":[{"topic":"a","qos":2}]}"#, "QoS 2"),
            (r#"{"type":"subscribe","id":1,"topics":[{"topic":"a","qso":1}]}"#, "`qso` is no key of `topics`; allowed are topic, qos"),
            (r#"{"type":"subscribe","id":1,"topics":[7]}"#, "needs a `topic`"),
            (r#"{"type":"unsubscribe","id":1,"topics":[{"topic":"a","qos":1}]}"#, "`qos` is no key of `topics`; allowed are topic"),
            (r#"{"type":"suback","id":1,"codes":["0x80"]}"#, "`codes` of suback is no list of whole numbers of 0 to 255"),
            (r#"{"type":"suback","id":1,"codes":[256]}"#, "`codes` of suback"),
            (r#"{"type":"suback","id":1,"codes":1}"#, "`codes` of suback"),
            (r#"{"type":"connack","code":"no"}"#, "`code` of connack is no whole number of 0 to 255: \"no\""),
            (r#"{"type":"puback","id":1,"code":16}"#, "`code` of puback is of version 5"),
            (r#"{"type":"pingreq","id":1}"#, "`id` is no key of pingreq; it has none"),
            (r#"[{"type":"pingreq"}]"#, "needs a `type`"),
        ] {
            let why = packet(text, false).expect_err(text);
            assert!(why.contains(told), "{text}: {why}");
        }
        for bytes in [&b"\x10\x06\0\x04HTTP"[..], b"\x00\x00", b"\x30\x80\x80\x80\x80\x01", b"\x20\x01\0", b"\x30\xff\xff\xff\x7f"] {
            assert!(read(&mut MqttReader::new(false), bytes).1.is_some(), "{bytes:?}");
        }
        // What came before is not lost with it.
        let mut reader = MqttReader::new(false);
        let (packets, wrong) = read(&mut reader, b"\xd0\0\x00\x00");
        assert_eq!((packets.len(), wrong.is_some()), (1, true));
        // It is said once, and nothing is kept of what follows.
        assert_eq!((read(&mut reader, &[0xd0; 5_000]), reader.begun.len()), ((Vec::new(), None), 0));
    }

    proptest! {
        /// However the bytes are cut, the packets are the same; and each is read as it was written.
        #[test]
        fn packets_are_not_aligned_with_messages(which in prop::collection::vec(0..PACKETS.len(), 1..9), cut in 1_usize..40, five: bool) {
            let bytes: Vec<u8> = which.iter().flat_map(|one| packet(PACKETS[*one], five).expect("right")).collect();
            let mut reader = MqttReader::new(five);
            let mut all = Vec::new();
            for part in bytes.chunks(cut) {
                let (packets, wrong) = read(&mut reader, part);
                prop_assert_eq!(wrong, None);
                all.extend(packets);
            }
            prop_assert_eq!(all.iter().map(|packet| packet.bytes as usize).sum::<usize>(), bytes.len());
            prop_assert!(reader.begun.is_empty());
            for (packet, one) in all.iter().map(|packet| &packet.says).zip(&which) {
                let written: Value = serde_json::from_str(PACKETS[*one]).expect("JSON");
                prop_assert_eq!(&packet["type"], &written["type"]);
                if written["type"] == "publish" {
                    prop_assert_eq!((&packet["topic"], &packet["payload"]), (&written["topic"], &written["payload"]));
                    prop_assert_eq!(packet["id"].as_u64(), written["id"].as_str().map(|_| 70_000 - 65_535));
                }
            }
            prop_assert_eq!(all.len(), which.len());
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..64), five: bool) {
            drop(read(&mut MqttReader::new(five), &bytes));
        }
    }
}
