//! Doors for fuzzing: what servers send, thrown at matches and at the reader of MQTT.

use super::matcher::IncomingMessage;
use super::mqtt::MqttReader;
use super::{CaptureFrom, Content, Matcher, Pattern, Payload};
use crate::secret::Secrets;
use crate::template::{Template, TemplateValues};

/// Reads bytes as MQTT, in pieces of `size` at least 1: the packets as text, and whether something was wrong.
pub fn mqtt(bytes: &[u8], five: bool, size: usize) -> (Vec<String>, bool) {
    let (mut reader, mut read) = (MqttReader::new(five), Vec::new());
    for mut piece in bytes.chunks(size.max(1)) {
        loop {
            match reader.next(&mut piece) {
                Ok(Some(packet)) => read.push(packet.says.to_string()),
                Ok(None) => break,
                Err(_) => return (read, true),
            }
        }
    }
    (read, false)
}

/// Holds a message against a match of every sort, and captures from it. What each said.
pub fn matches(bytes: &[u8]) -> Vec<bool> {
    let values = TemplateValues { client: "7".into(), attempt: "2".into(), own: None };
    let text = |text: &str| Template::parse(text).ok().map(Content::Text);
    let pattern = regex_lite::Regex::new("\"id\":([0-9]+)").ok().map(Pattern);
    let json = vec![("/1/id".to_owned(), Template::parse("{client}").ok()), ("/0".to_owned(), None)];
    let any = Matcher::default;
    let matchers = [
        Matcher { prefix: text("42{client}["), ..any() },
        Matcher { equals: text("2"), ..any() },
        Matcher { contains: text("\"id\":{client}"), ..any() },
        Matcher { json, ..any() },
        Matcher { regex: pattern.clone(), ..any() },
        Matcher { at: Some((3, Box::new([0x22]))), ..any() },
    ];
    // Text where it is some.
    let payload = std::str::from_utf8(bytes).map_or(Payload::Binary(bytes), Payload::Text);
    let message = IncomingMessage::new(payload);
    let mut found: Vec<bool> = matchers.iter().map(|matcher| matcher.fill(&values).takes(&message)).collect();
    let captures = [Some(CaptureFrom::Json("/1/id".to_owned())), Some(CaptureFrom::Whole), pattern.map(CaptureFrom::Regex)];
    found.extend(captures.into_iter().flatten().map(|from| from.find(payload, &|_| None).is_some()));
    found.push(message.shown(&Secrets::default()).is_empty());
    found
}
