//! Which message is meant: by its beginning first, then by what it contains, JSON pointer, regular expression, bytes at an offset.
//!
//! JSON is read at most once of each message, and only where the beginning fits. Where text stands before it, as in `42["a"]` of socket.io,
//! it begins with the first brace or bracket.

use super::{Outgoing, Payload};
use crate::secret::{Holder, Secrets, mask};
use crate::template::{Name, Template, TemplateValues};
use regex_lite::Regex;
use serde_json::Value;
use std::borrow::Cow;
use std::cell::OnceCell;

/// Text with names to fill in, or bytes as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A text message.
    Text(Template),
    /// A binary message.
    Bytes(Box<[u8]>),
}

impl Content {
    /// As it is now.
    pub fn fill(&self, values: &TemplateValues<'_>) -> Outgoing {
        match self {
            Content::Text(template) => Outgoing::Text(template.fill(values).into()),
            Content::Bytes(bytes) => Outgoing::Binary(bytes.to_vec()),
        }
    }

    fn bytes(&self, values: &TemplateValues<'_>) -> Cow<'_, [u8]> {
        match self {
            Content::Text(template) => match template.fill(values) {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            },
            Content::Bytes(bytes) => Cow::Borrowed(bytes),
        }
    }

    /// The names of captured values that stand in it.
    pub fn captured(&self) -> impl Iterator<Item = &str> {
        let template = if let Content::Text(template) = self { Some(template) } else { None };
        template.into_iter().flat_map(Template::names).filter_map(|name| if let Name::Captured(name) = name { Some(&**name) } else { None })
    }

    /// About so many bytes: what is filled in counts for nothing.
    pub fn size(&self) -> usize {
        match self {
            Content::Text(template) => template.texts().map(str::len).sum(),
            Content::Bytes(bytes) => bytes.len(),
        }
    }
}

/// A regular expression, equal to another of the same text.
#[derive(Clone, Debug)]
pub struct Pattern(pub Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// What a message must be: all that is said must hold; one that says nothing takes any message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matcher {
    /// It begins with this.
    pub prefix: Option<Content>,
    /// It is this.
    pub equals: Option<Content>,
    /// It contains this.
    pub contains: Option<Content>,
    /// The value at a JSON pointer is this; `None`: there is one.
    pub json: Vec<(String, Option<Template>)>,
    /// The expression matches somewhere in its text.
    pub regex: Option<Pattern>,
    /// These bytes stand at this offset.
    pub at: Option<(usize, Box<[u8]>)>,
}

/// A [`Matcher`] with all names filled in.
#[derive(Clone, Debug)]
pub(super) struct FilledMatcher<'a> {
    of: &'a Matcher,
    prefix: Option<Cow<'a, [u8]>>,
    equals: Option<Cow<'a, [u8]>>,
    contains: Option<Cow<'a, [u8]>>,
    json: Vec<Option<Cow<'a, str>>>,
}

impl Matcher {
    pub(super) fn fill(&self, values: &TemplateValues<'_>) -> FilledMatcher<'_> {
        FilledMatcher {
            of: self,
            prefix: self.prefix.as_ref().map(|content| content.bytes(values)),
            equals: self.equals.as_ref().map(|content| content.bytes(values)),
            contains: self.contains.as_ref().map(|content| content.bytes(values)),
            json: self.json.iter().map(|(_, value)| value.as_ref().map(|value| value.fill(values))).collect(),
        }
    }

    /// Whether it takes any message.
    pub fn is_any(&self) -> bool {
        *self == Matcher::default()
    }

    /// Its templates.
    pub fn templates(&mut self) -> impl Iterator<Item = &mut Template> {
        let contents = [&mut self.prefix, &mut self.equals, &mut self.contains].into_iter().flatten();
        let texts = contents.filter_map(|content| match content {
            Content::Text(template) => Some(template),
            Content::Bytes(_) => None,
        });
        texts.chain(self.json.iter_mut().filter_map(|(_, value)| value.as_mut()))
    }
}

impl FilledMatcher<'_> {
    pub(super) fn takes(&self, message: &IncomingMessage<'_>) -> bool {
        let bytes = message.payload.bytes();
        self.prefix.as_ref().is_none_or(|prefix| bytes.starts_with(prefix))
            && self.equals.as_ref().is_none_or(|equals| bytes == &**equals)
            && self.of.at.as_ref().is_none_or(|(offset, at)| bytes.get(*offset..).is_some_and(|rest| rest.starts_with(at)))
            && self.contains.as_ref().is_none_or(|part| message.contains(part))
            && self.of.regex.as_ref().is_none_or(|pattern| message.text().is_some_and(|text| pattern.0.is_match(text)))
            && self.of.json.iter().zip(&self.json).all(|((pointer, _), value)| {
                let found = message.json().and_then(|json| json.pointer(pointer));
                found.is_some_and(|found| value.as_ref().is_none_or(|value| plain(found) == *value))
            })
    }
}

/// A JSON value as text: strings without their quotes.
fn plain(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// A message that came, with its JSON once somebody asked for it.
#[derive(Debug)]
pub(super) struct IncomingMessage<'m> {
    pub(super) payload: Payload<'m>,
    json: OnceCell<Option<Value>>,
}

impl<'m> IncomingMessage<'m> {
    pub(super) fn new(payload: Payload<'m>) -> Self {
        IncomingMessage { payload, json: OnceCell::new() }
    }

    /// One whose JSON is known.
    pub(super) fn known(text: &'m str, json: Value) -> Self {
        IncomingMessage { payload: Payload::Text(text), json: OnceCell::from(Some(json)) }
    }

    pub(super) fn text(&self) -> Option<&'m str> {
        match self.payload {
            Payload::Text(text) => Some(text),
            Payload::Binary(bytes) => std::str::from_utf8(bytes).ok(),
        }
    }

    /// In a text, in time that grows with it alone: part of what is looked for may be captured.
    fn contains(&self, part: &[u8]) -> bool {
        match (self.text(), std::str::from_utf8(part)) {
            (Some(text), Ok(part)) => text.contains(part),
            _ => part.is_empty() || self.payload.bytes().windows(part.len()).any(|window| window == part),
        }
    }

    fn json(&self) -> Option<&Value> {
        self.json.get_or_init(|| self.text().and_then(json_in)).as_ref()
    }

    /// Its beginning, to be shown without secrets.
    pub(super) fn shown(&self, secrets: &Secrets) -> String {
        const SHOWN: usize = 60;
        match self.text() {
            Some(text) => {
                let text = mask(Holder::Text, &secrets.hide(text));
                let shown: String = text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
                format!("\"{shown}{}\"", if shown.len() < text.len() { "…" } else { "" })
            }
            None => format!("{} bytes", self.payload.bytes().len()),
        }
    }
}

/// The first JSON value in a text: from its beginning, or from the first brace or bracket.
fn json_in(text: &str) -> Option<Value> {
    let read = |text: &str| serde_json::Deserializer::from_str(text).into_iter().next()?.ok();
    match text.find(['{', '[']) {
        Some(from) => read(&text[from..]),
        None => read(text),
    }
}

/// Where in a message a value is found.
#[derive(Clone, Debug, PartialEq)]
pub enum CaptureFrom {
    /// The value at a JSON pointer.
    Json(String),
    /// The first group of the expression, or all of it.
    Regex(Pattern),
    /// A header field of an HTTP answer.
    Header(String),
    /// All of it.
    Whole,
    /// What is found there, or nothing at all.
    OrNothing(Box<CaptureFrom>),
}

impl CaptureFrom {
    /// The value; `headers` are those of an HTTP answer.
    pub fn find(&self, message: Payload<'_>, headers: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        self.find_in(&IncomingMessage::new(message), headers)
    }

    /// The same in a message whose JSON may have been read.
    pub(super) fn find_in(&self, incoming: &IncomingMessage<'_>, headers: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        match self {
            CaptureFrom::Json(pointer) => incoming.json()?.pointer(pointer).map(|value| plain(value).into_owned()),
            CaptureFrom::Regex(Pattern(regex)) => {
                let found = regex.captures(incoming.text()?)?;
                found.get(1).or_else(|| found.get(0)).map(|found| found.as_str().to_owned())
            }
            CaptureFrom::Header(name) => headers(name),
            CaptureFrom::Whole => incoming.text().map(str::to_owned),
            CaptureFrom::OrNothing(from) => Some(from.find_in(incoming, headers).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: TemplateValues<'static> = TemplateValues { client: Cow::Borrowed("7"), attempt: Cow::Borrowed("2"), own: None };

    fn text(text: &str) -> Option<Content> {
        Some(Content::Text(Template::parse(text).expect("names")))
    }

    #[test]
    fn all_that_is_said_must_hold() {
        let json =
            |pointer: &str, value: Option<&str>| vec![(pointer.to_owned(), value.map(|value| Template::parse(value).expect("names")))];
        let regex = |text: &str| Some(Pattern(Regex::new(text).expect("an expression")));
        let any = Matcher::default();
        for (matcher, message, expected) in [
            (any.clone(), "", true),
            (Matcher { prefix: text("43{client}["), ..any.clone() }, "437[\"ok\"]", true),
            (Matcher { prefix: text("43{client}["), ..any.clone() }, "4371[\"ok\"]", false),
            (Matcher { equals: text("2"), ..any.clone() }, "2", true),
            (Matcher { equals: text("2"), ..any.clone() }, "2probe", false),
            (Matcher { contains: text("\"id\":{client},"), ..any.clone() }, r#"{"id":7,"ok":1}"#, true),
            (Matcher { contains: text("\"id\":{client},"), ..any.clone() }, r#"{"id":77,"ok":1}"#, false),
            (Matcher { json: json("/id", Some("{client}")), ..any.clone() }, r#"{"a":1,"id": 7}"#, true),
            (Matcher { json: json("/id", Some("{client}")), ..any.clone() }, r#"{"a":1,"id":"7"}"#, true),
            (Matcher { json: json("/id", Some("{client}")), ..any.clone() }, r#"{"a":1,"id":8}"#, false),
            (Matcher { json: json("/payload/errors", None), ..any.clone() }, r#"{"payload":{"errors":[1]}}"#, true),
            (Matcher { json: json("/payload/errors", None), ..any.clone() }, "not JSON", false),
            (Matcher { json: json("/0", Some("ack")), ..any.clone() }, r#"42["ack",1]"#, true),
            // Several records in one message: the first.
            (Matcher { json: json("/type", Some("3")), ..any.clone() }, "{\"type\":3}\u{1e}{\"type\":6}\u{1e}", true),
            (Matcher { regex: regex("^ok [0-9]+$"), ..any.clone() }, "ok 17", true),
            (Matcher { regex: regex("^ok [0-9]+$"), ..any.clone() }, "ok x", false),
            (Matcher { at: Some((1, Box::new([0x62]))), ..any.clone() }, "abc", true),
            (Matcher { at: Some((3, Box::new([0x62]))), ..any.clone() }, "abc", false),
            (Matcher { prefix: text("{\"type\""), json: json("/type", Some("x")), ..any.clone() }, r#"{"type":"y"}"#, false),
        ] {
            let found = matcher.fill(&VALUES).takes(&IncomingMessage::new(Payload::Text(message)));
            assert_eq!(found, expected, "{matcher:?} {message}");
        }
    }

    #[test]
    fn values_are_captured() {
        let none = |_: &str| None;
        let message = Payload::Text(r#"0{"sid":"abc","pingInterval":25000}"#);
        let json = |pointer: &str| CaptureFrom::Json(pointer.to_owned()).find(message, &none);
        assert_eq!(json("/sid").as_deref(), Some("abc"));
        assert_eq!(json("/pingInterval").as_deref(), Some("25000"));
        assert_eq!(json("/other"), None);
        let regex = CaptureFrom::Regex(Pattern(Regex::new("\"sid\":\"([a-z]+)\"").expect("an expression")));
        assert_eq!(regex.find(message, &none).as_deref(), Some("abc"));
        assert_eq!(CaptureFrom::Whole.find(Payload::Binary(&[0xff]), &none), None);
        let header = CaptureFrom::Header("location".to_owned()).find(message, &|name| Some(format!("<{name}>")));
        assert_eq!(header.as_deref(), Some("<location>"));
    }

    #[test]
    fn what_is_shown_is_short_and_has_no_control_characters() {
        assert_eq!(IncomingMessage::new(Payload::Text("a\u{1b}[2J")).shown(&Secrets::default()), "\"a [2J\"");
        assert_eq!(IncomingMessage::new(Payload::Binary(&[0xff, 0])).shown(&Secrets::default()), "2 bytes");
        assert!(IncomingMessage::new(Payload::Text(&"x".repeat(100))).shown(&Secrets::default()).ends_with("x…\""));
    }
}
