//! MQTT 3.1.1 and 5 over WebSocket: packets become JSON texts and JSON texts become packets, so that a dialogue says and matches them as any other
//! message. Packets are not aligned with messages (MQTT 5 §6.0.0-2): what comes is put together first.
//!
//! Source: OASIS MQTT Version 3.1.1 and Version 5.0, chapters 2, 3 and 6. QoS 0 and 1; packets of QoS 2 are read and answered by nobody. Properties of
//! version 5 are passed over when they come, and none are sent.

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

/// Puts together what comes on one connection.
#[derive(Clone, Debug)]
pub struct MqttReader {
    buffer: Vec<u8>,
    /// Version 5.
    five: bool,
}

impl MqttReader {
    /// Of version 5 or of 3.1.1; a CONNECT says itself which it is.
    pub fn new(five: bool) -> MqttReader {
        MqttReader { buffer: Vec::new(), five }
    }

    /// Whether it reads version 5.
    pub fn is_five(&self) -> bool {
        self.five
    }

    /// All packets that are whole with these bytes: the length of each, and what it says. And what is wrong with what follows them, in words: nothing
    /// can be read from then on.
    pub fn read(&mut self, bytes: &[u8]) -> (Vec<(u32, Value)>, Option<String>) {
        let mut packets = Vec::new();
        let wrong = self.read_into(bytes, &mut packets).err();
        (packets, wrong)
    }

    fn read_into(&mut self, bytes: &[u8], packets: &mut Vec<(u32, Value)>) -> Result<(), String> {
        self.buffer.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((head, length)) = header(&self.buffer[at..])? {
            let Some(body) = self.buffer.get(at + head..at + head + length) else { break };
            let first = self.buffer[at];
            let packet = decode(first, &mut Cursor(body), &mut self.five).ok_or_else(|| {
                let name = NAMES.get(usize::from(first >> 4).wrapping_sub(1)).copied().unwrap_or("unknown");
                format!("a packet of type {} ({name}) is malformed", first >> 4)
            })?;
            packets.push((u32::try_from(head + length).unwrap_or(u32::MAX), packet));
            at += head + length;
        }
        self.buffer.drain(..at);
        Ok(())
    }
}

/// Lengths of the fixed header and of what follows; `None`: more must come.
fn header(bytes: &[u8]) -> Result<Option<(usize, usize)>, String> {
    let mut length = 0;
    for place in 0..4 {
        let Some(byte) = bytes.get(1 + place) else { return Ok(None) };
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            if length > PACKET_MAX {
                return Err(format!("a packet of {length} bytes is longer than {PACKET_MAX}"));
            }
            return Ok(Some((2 + place, length)));
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

fn decode(first: u8, body: &mut Cursor<'_>, five: &mut bool) -> Option<Value> {
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

/// The packet that a JSON text describes, as those of [`MqttReader::read`]; `five`: in version 5.
///
/// Numbers of packets beyond 65,535 begin anew with 1.
///
/// # Errors
/// What is wrong with it, in words.
pub fn packet(text: &str, five: bool) -> Result<Vec<u8>, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("an MQTT packet is written as JSON: {error}"))?;
    let name = value["type"].as_str().ok_or("an MQTT packet needs a `type`, as {\"type\":\"pingreq\"}")?;
    let kind = NAMES.iter().position(|known| *known == name).ok_or_else(|| format!("there is no MQTT packet of type `{name}`"))? as u8 + 1;
    let text_of = |key: &str| value[key].as_str();
    let number = |key: &str, usual: u64| match &value[key] {
        Value::Null => Ok(usual),
        Value::String(digits) => digits.parse().map_err(|_| format!("`{key}` of {name} is no number")),
        other => other.as_u64().ok_or_else(|| format!("`{key}` of {name} is no whole number")),
    };
    let id = || match number("id", 0)? {
        0 => Err(format!("{name} needs an `id` above 0, as {{sequence}}")),
        id => Ok(((id - 1) % 65_535 + 1) as u16),
    };
    let byte = |key: &str, usual: u8| u8::try_from(number(key, usual.into())?).map_err(|_| format!("`{key}` of {name} is above 255"));
    let (mut flags, mut body) = (0, Vec::new());
    let no_properties: &[u8] = if five { &[0] } else { &[] };
    match kind {
        1 => {
            put(&mut body, "MQTT")?;
            body.push(if five { 5 } else { 4 });
            let clean = value["clean"].as_bool().unwrap_or(true);
            let (user, password) = (text_of("username"), text_of("password"));
            body.push(u8::from(clean) << 1 | u8::from(user.is_some()) << 7 | u8::from(password.is_some()) << 6);
            let keep_alive = u16::try_from(number("keep_alive", 60)?).map_err(|_| "`keep_alive` is above 65535".to_owned())?;
            body.extend(keep_alive.to_be_bytes());
            body.extend(no_properties);
            put(&mut body, text_of("client_id").unwrap_or_default())?;
            user.into_iter().chain(password).try_for_each(|text| put(&mut body, text))?;
        }
        2 => {
            body.extend([u8::from(value["session_present"].as_bool().unwrap_or(false)), byte("code", 0)?]);
            body.extend(no_properties);
        }
        3 => {
            let qos = byte("qos", 0)?;
            if qos > 1 {
                return Err("QoS 2 is not spoken: `qos` is 0 or 1".to_owned());
            }
            flags = qos << 1 | u8::from(value["retain"].as_bool().unwrap_or(false));
            put(&mut body, text_of("topic").ok_or("publish needs a `topic`")?)?;
            if qos > 0 {
                body.extend(id()?.to_be_bytes());
            }
            body.extend(no_properties);
            match &value["payload"] {
                Value::Null => {}
                Value::String(text) => body.extend(text.as_bytes()),
                structured => body.extend(structured.to_string().as_bytes()),
            }
        }
        4..=7 => {
            flags = u8::from(kind == 6) << 1;
            body.extend(id()?.to_be_bytes());
        }
        8 | 10 => {
            flags = 2;
            body.extend(id()?.to_be_bytes());
            body.extend(no_properties);
            let topics = value["topics"].as_array().filter(|topics| !topics.is_empty());
            for topic in topics.ok_or_else(|| format!("{name} needs `topics`, as [{{\"topic\":\"a/b\",\"qos\":1}}]"))? {
                put(&mut body, topic["topic"].as_str().or(topic.as_str()).ok_or("each of `topics` needs a `topic`")?)?;
                if kind == 8 {
                    body.push(topic["qos"].as_u64().unwrap_or(0).min(1) as u8);
                }
            }
        }
        9 | 11 => {
            body.extend(id()?.to_be_bytes());
            body.extend(no_properties);
            body.extend(value["codes"].as_array().into_iter().flatten().map(|code| code.as_u64().unwrap_or(0) as u8));
        }
        _ => {}
    }
    let mut packet = vec![kind << 4 | flags];
    let mut length = body.len();
    if length > PACKET_MAX {
        return Err(format!("an MQTT packet of {length} bytes is longer than {PACKET_MAX}"));
    }
    loop {
        let more = length >> 7 > 0;
        packet.push((length & 0x7f) as u8 | u8::from(more) << 7);
        length >>= 7;
        if !more {
            break;
        }
    }
    packet.extend(body);
    Ok(packet)
}

fn put(body: &mut Vec<u8>, text: &str) -> Result<(), String> {
    let length = u16::try_from(text.len()).map_err(|_| format!("a text of {} bytes is longer than 65,535", text.len()))?;
    body.extend(length.to_be_bytes());
    body.extend(text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
            (r#"{"type":"subscribe","id":1}"#, "needs `topics`"),
        ] {
            let why = packet(text, false).expect_err(text);
            assert!(why.contains(told), "{text}: {why}");
        }
        for bytes in [&b"\x10\x06\0\x04HTTP"[..], b"\x00\x00", b"\x30\x80\x80\x80\x80\x01", b"\x20\x01\0", b"\x30\xff\xff\xff\x7f"] {
            assert!(MqttReader::new(false).read(bytes).1.is_some(), "{bytes:?}");
        }
        // What came before is not lost with it.
        let (packets, wrong) = MqttReader::new(false).read(b"\xd0\0\x00\x00");
        assert_eq!((packets.len(), wrong.is_some()), (1, true));
    }

    proptest! {
        /// However the bytes are cut, the packets are the same; and each is read as it was written.
        #[test]
        fn packets_are_not_aligned_with_messages(which in prop::collection::vec(0..PACKETS.len(), 1..9), cut in 1_usize..40, five: bool) {
            let bytes: Vec<u8> = which.iter().flat_map(|one| packet(PACKETS[*one], five).expect("right")).collect();
            let mut reader = MqttReader::new(five);
            let mut read = Vec::new();
            for part in bytes.chunks(cut) {
                let (packets, wrong) = reader.read(part);
                prop_assert_eq!(wrong, None);
                read.extend(packets);
            }
            prop_assert_eq!(read.iter().map(|(length, _)| *length as usize).sum::<usize>(), bytes.len());
            prop_assert!(reader.buffer.is_empty());
            for ((_, packet), one) in read.iter().zip(&which) {
                let written: Value = serde_json::from_str(PACKETS[*one]).expect("JSON");
                prop_assert_eq!(&packet["type"], &written["type"]);
                if written["type"] == "publish" {
                    prop_assert_eq!((&packet["topic"], &packet["payload"]), (&written["topic"], &written["payload"]));
                    prop_assert_eq!(packet["id"].as_u64(), written["id"].as_str().map(|_| 70_000 - 65_535));
                }
            }
            prop_assert_eq!(read.len(), which.len());
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..64), five: bool) {
            drop(MqttReader::new(five).read(&bytes));
        }
    }
}
