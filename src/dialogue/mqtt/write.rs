//! MQTT packets as scenarios write them, in JSON. What cannot be written is an error that names the key: nothing is left out, and nothing replaced.

use super::{NAMES, PACKET_MAX};
use serde_json::{Map, Value};

/// The packet that a JSON text describes, as those of [`super::MqttReader`]; `five`: in version 5.
///
/// Numbers of packets beyond 65,535 begin anew with 1. Numbers may be written as text, and true and false as 1 and 0: so names can stand for them.
///
/// # Errors
/// What is wrong with it, in words.
pub fn packet(text: &str, five: bool) -> Result<Vec<u8>, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("an MQTT packet is written as JSON: {error}"))?;
    let name = value["type"].as_str().ok_or("an MQTT packet needs a `type`, as {\"type\":\"pingreq\"}")?;
    let kind = NAMES.iter().position(|known| *known == name).ok_or_else(|| format!("there is no MQTT packet of type `{name}`"))? as u8 + 1;
    // It has a `type`.
    let no_keys = Map::new();
    let says = Packet { name, says: value.as_object().unwrap_or(&no_keys) };
    says.has_only(match kind {
        1 => &["client_id", "clean", "keep_alive", "username", "password"],
        2 => &["code", "session_present"],
        3 => &["topic", "qos", "id", "retain", "payload"],
        4..=7 => &["id", "code"],
        8 | 10 => &["id", "topics"],
        9 | 11 => &["id", "codes"],
        14 | 15 => &["code"],
        _ => &[],
    })?;
    let (mut flags, mut body) = (0, Vec::new());
    let no_properties: &[u8] = if five { &[0] } else { &[] };
    match kind {
        1 => {
            put(&mut body, "MQTT")?;
            body.push(if five { 5 } else { 4 });
            let (user, password) = (says.text("username")?, says.text("password")?);
            if password.is_some() && user.is_none() {
                return Err("`password` needs a `username`".to_owned());
            }
            let clean = says.flag("clean", true)?;
            body.push(u8::from(clean) << 1 | u8::from(user.is_some()) << 7 | u8::from(password.is_some()) << 6);
            body.extend((says.number("keep_alive", 60, u16::MAX.into())? as u16).to_be_bytes());
            body.extend(no_properties);
            put(&mut body, says.text("client_id")?.unwrap_or_default())?;
            user.into_iter().chain(password).try_for_each(|text| put(&mut body, text))?;
        }
        2 => {
            body.extend([u8::from(says.flag("session_present", false)?), says.byte("code")?]);
            body.extend(no_properties);
        }
        3 => {
            let qos = qos(says.number("qos", 0, u64::MAX)?)?;
            flags = qos << 1 | u8::from(says.flag("retain", false)?);
            put(&mut body, says.text("topic")?.ok_or("publish needs a `topic`")?)?;
            if qos > 0 {
                body.extend(says.id()?);
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
            body.extend(says.id()?);
            body.extend(says.reason(five)?);
        }
        8 | 10 => {
            flags = 2;
            body.extend(says.id()?);
            body.extend(no_properties);
            let topics = value["topics"].as_array().filter(|topics| !topics.is_empty());
            for topic in topics.ok_or_else(|| format!("{name} needs `topics`, as [{{\"topic\":\"a/b\",\"qos\":1}}]"))? {
                let one = Packet { name: "`topics`", says: topic.as_object().unwrap_or(&no_keys) };
                one.has_only(if kind == 8 { &["topic", "qos"] } else { &["topic"] })?;
                put(
                    &mut body,
                    topic.as_str().map_or_else(|| one.text("topic"), |topic| Ok(Some(topic)))?.ok_or("each of `topics` needs a `topic`")?,
                )?;
                if kind == 8 {
                    body.push(qos(one.number("qos", 0, u64::MAX)?)?);
                }
            }
        }
        9 | 11 => {
            body.extend(says.id()?);
            body.extend(no_properties);
            let code = |code: &Value| code.as_u64().and_then(|code| u8::try_from(code).ok());
            let codes = says.says.get("codes").map_or(Some(Vec::new()), |codes| codes.as_array()?.iter().map(code).collect());
            body.extend(codes.ok_or_else(|| format!("`codes` of {name} is no list of whole numbers of 0 to 255"))?);
        }
        14 | 15 => body.extend(says.reason(five)?),
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

/// The keys of a packet, or of a part of it.
struct Packet<'a> {
    name: &'a str,
    says: &'a Map<String, Value>,
}

impl<'a> Packet<'a> {
    fn has_only(&self, keys: &[&str]) -> Result<(), String> {
        let unknown = self.says.keys().find(|key| *key != "type" && !keys.contains(&key.as_str()));
        let allowed = if keys.is_empty() { "it has none".to_owned() } else { format!("allowed are {}", keys.join(", ")) };
        unknown.map_or(Ok(()), |key| Err(format!("`{key}` is no key of {}; {allowed}", self.name)))
    }

    fn wrong(&self, key: &str, is: &str, found: &Value) -> String {
        format!("`{key}` of {} is {is}: {found}", self.name)
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, String> {
        self.says.get(key).map(|found| found.as_str().ok_or_else(|| self.wrong(key, "no text", found))).transpose()
    }

    fn flag(&self, key: &str, usual: bool) -> Result<bool, String> {
        match self.says.get(key) {
            None => Ok(usual),
            Some(Value::Bool(found)) => Ok(*found),
            Some(found) => match found.as_u64() {
                Some(bit @ 0..=1) => Ok(bit == 1),
                _ => Err(self.wrong(key, "neither true nor false", found)),
            },
        }
    }

    fn number(&self, key: &str, usual: u64, most: u64) -> Result<u64, String> {
        let Some(found) = self.says.get(key) else { return Ok(usual) };
        let number = found.as_u64().or_else(|| found.as_str()?.parse().ok()).filter(|number| *number <= most);
        let range = if most == u64::MAX { String::new() } else { format!(" of 0 to {most}") };
        number.ok_or_else(|| self.wrong(key, &format!("no whole number{range}"), found))
    }

    fn byte(&self, key: &str) -> Result<u8, String> {
        self.number(key, 0, u8::MAX.into()).map(|number| number as u8)
    }

    fn id(&self) -> Result<[u8; 2], String> {
        match self.number("id", 0, u64::MAX)? {
            0 => Err(format!("{} needs an `id` above 0, as {{sequence}}", self.name)),
            id => Ok((((id - 1) % 65_535 + 1) as u16).to_be_bytes()),
        }
    }

    /// A reason code, where there is one: packets of 3.1.1 have none.
    fn reason(&self, five: bool) -> Result<Option<u8>, String> {
        match self.byte("code")? {
            0 => Ok(None),
            code if five => Ok(Some(code)),
            _ => Err(format!("`code` of {} is of version 5", self.name)),
        }
    }
}

fn qos(qos: u64) -> Result<u8, String> {
    match qos {
        0 => Ok(0),
        1 => Ok(1),
        _ => Err("QoS 2 is not spoken: `qos` is 0 or 1".to_owned()),
    }
}

fn put(body: &mut Vec<u8>, text: &str) -> Result<(), String> {
    let length = u16::try_from(text.len()).map_err(|_| format!("a text of {} bytes is longer than 65,535", text.len()))?;
    body.extend(length.to_be_bytes());
    body.extend(text.as_bytes());
    Ok(())
}
