//! Text with names in braces, as `/room/{client}`: read once, filled in for each attempt or message.
//!
//! `{name}` and `{name.part}` of letters, digits and `_` are names, and so is `{random.part:more}`; `{{` is one brace; any other brace is text. Which file a text came
//! from, and where in it a wrong name stands, is the business of `scenario`.

mod name;
mod values;

pub use name::{NAMES, Name};
pub use values::{DataTable, OwnValues, TemplateValues};

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// A text that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<TemplatePart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplatePart {
    Text(String),
    Name(Name),
    /// A name whose value is the same in the whole run. It may be a secret: it is shown as its name.
    Known(Name, String),
}

/// A name that nothing is known of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Without its braces.
    pub name: String,
    /// Where it stands in the text, braces included, in bytes.
    pub at: Range<usize>,
}

impl Template {
    /// Reads a text.
    ///
    /// # Errors
    /// Its first unknown name; [`unknown`] tells all of them.
    pub fn parse(text: &str) -> Result<Template, Unknown> {
        let mut template = Template::default();
        for (at, token) in tokens(text) {
            match token {
                Token::Text(text) => template.push(text),
                Token::Brace => template.push("{"),
                Token::Name(name) => match Name::read(name) {
                    Some(name) => template.parts.push(TemplatePart::Name(name)),
                    None => return Err(Unknown { name: name.to_owned(), at }),
                },
            }
        }
        Ok(template)
    }

    /// A text in which braces mean nothing.
    pub fn plain(text: &str) -> Template {
        let mut template = Template::default();
        template.push(text);
        template
    }

    /// As it is for one attempt.
    pub fn fill(&self, values: &TemplateValues<'_>) -> Cow<'_, str> {
        match self.parts.as_slice() {
            [] => Cow::Borrowed(""),
            [TemplatePart::Text(text) | TemplatePart::Known(_, text)] => Cow::Borrowed(text),
            parts => {
                let mut filled = String::new();
                for part in parts {
                    match part {
                        TemplatePart::Text(text) | TemplatePart::Known(_, text) => filled.push_str(text),
                        TemplatePart::Name(name) => values.put(name, &mut filled),
                    }
                }
                Cow::Owned(filled)
            }
        }
    }

    /// Fills in what is the same in the whole run.
    pub fn know(&mut self, known: &mut dyn FnMut(&Name) -> Option<String>) {
        for part in &mut self.parts {
            if let TemplatePart::Name(name) = part
                && let Some(value) = known(name)
            {
                *part = TemplatePart::Known(name.clone(), value);
            }
        }
    }

    /// The names that stand in it.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Text(_) => None,
            TemplatePart::Name(name) | TemplatePart::Known(name, _) => Some(name),
        })
    }

    /// Whether an attempt's number and its client's are all that it takes.
    pub fn is_simple(&self) -> bool {
        self.parts.iter().all(|part| !matches!(part, TemplatePart::Name(name) if !name.is_simple()))
    }

    /// The parts that are the same for everybody.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Text(text) => Some(text.as_str()),
            TemplatePart::Name(_) | TemplatePart::Known(..) => None,
        })
    }

    /// The text before its first name.
    pub fn begins_with(&self) -> &str {
        if let Some(TemplatePart::Text(text)) = self.parts.first() { text } else { "" }
    }

    /// Whether it is the same for everybody.
    pub fn is_plain(&self) -> bool {
        !self.parts.iter().any(|part| matches!(part, TemplatePart::Name(_)))
    }

    /// With other texts between the names.
    ///
    /// # Errors
    /// The first one of `change`.
    pub fn map<E>(self, change: impl Fn(&str) -> Result<String, E>) -> Result<Template, E> {
        let part = |part| match part {
            TemplatePart::Text(text) => change(&text).map(TemplatePart::Text),
            other => Ok(other),
        };
        Ok(Template { parts: self.parts.into_iter().map(part).collect::<Result<_, E>>()? })
    }

    fn push(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(TemplatePart::Text(last)) => last.push_str(text),
            _ => self.parts.push(TemplatePart::Text(text.to_owned())),
        }
    }
}

/// As it was written, or so that it means the same.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                TemplatePart::Text(text) => f.write_str(&text.replace('{', "{{"))?,
                TemplatePart::Name(name) | TemplatePart::Known(name, _) => write!(f, "{{{name}}}")?,
            }
        }
        Ok(())
    }
}

/// All names of a text that mean nothing and are none of `more`.
pub fn unknown(text: &str, more: &[&str]) -> Vec<Unknown> {
    unknown_but(text, |name| Name::read(name).is_some() || more.contains(&name))
}

/// All names of an address that are neither `{client}`, `{attempt}` nor one of `more`.
pub fn unknown_in_address(text: &str, more: &[&str]) -> Vec<Unknown> {
    unknown_but(text, |name| Name::read(name).is_some_and(|name| name.is_simple()) || more.contains(&name))
}

fn unknown_but(text: &str, known: impl Fn(&str) -> bool) -> Vec<Unknown> {
    let found = tokens(text).filter_map(|(at, token)| match token {
        Token::Name(name) if !known(name) => Some(Unknown { name: name.to_owned(), at }),
        _ => None,
    });
    found.collect()
}

/// One name filled in, and everything else as it was, to be read again.
pub fn fill_one(text: &str, name: &str, value: &str) -> String {
    tokens(text).map(|(at, token)| if token == Token::Name(name) { value } else { &text[at] }).collect()
}

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Text(&'a str),
    /// `{{`.
    Brace,
    /// Without its braces.
    Name(&'a str),
}

/// The pieces of a text and where they stand; together they are all of it.
fn tokens(text: &str) -> impl Iterator<Item = (Range<usize>, Token<'_>)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let rest = &text[from..];
        let (len, token) = if rest.starts_with("{{") {
            (2, Token::Brace)
        } else if let Some(name) = name(rest) {
            (name.len() + 2, Token::Name(name))
        } else {
            // A brace that is text, and all that follows it up to the next one.
            let first = rest.chars().next()?.len_utf8();
            let len = rest[first..].find('{').map_or(rest.len(), |next| first + next);
            (len, Token::Text(&rest[..len]))
        };
        let at = from..from + len;
        from += len;
        Some((at, token))
    })
}

/// The name in braces that a text begins with.
fn name(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix('{')?.split_once('}')?;
    if name.strip_prefix("random.").is_some_and(|part| part.contains(':')) {
        return Some(name);
    }
    let word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_');
    let (first, part) = name.split_once('.').map_or((name, None), |(first, part)| (first, Some(part)));
    (word(first) && part.is_none_or(word)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> TemplateValues<'static> {
        TemplateValues { client: "17".into(), attempt: "3".into(), own: None }
    }

    #[test]
    fn names_are_filled_in_and_other_braces_are_text() {
        for (text, expected) in [
            ("", "".to_owned()),
            ("plain", "plain".to_owned()),
            ("{client}", "17".to_owned()),
            ("/room/{client}/{attempt}", "/room/17/3".to_owned()),
            ("{client}{client}", "1717".to_owned()),
            // One brace, and what follows is text.
            ("{{client}", "{client}".to_owned()),
            ("{{{client}}", "{17}".to_owned()),
            ("{{{{", "{{".to_owned()),
            // No names: nothing in them, or what a name does not have.
            ("{} { client} {a-b} {csv:token} {.a} {a.} {a.b.c}", "{} { client} {a-b} {csv:token} {.a} {a.} {a.b.c}".to_owned()),
            (r#"{"id":{client}}"#, r#"{"id":17}"#.to_owned()),
            ("} {client", "} {client".to_owned()),
            ("ä{client}ö", "ä17ö".to_owned()),
        ] {
            let template = Template::parse(text).unwrap_or_else(|unknown| panic!("{text}: {unknown:?}"));
            assert_eq!(template.fill(&values()), expected, "{text}");
            assert_eq!(Template::parse(&template.to_string()).as_ref(), Ok(&template), "{text}");
        }
    }

    #[test]
    fn unknown_names_have_their_place() {
        for (text, names) in [
            ("{client} {clinet} {dat.token}", vec![("clinet", 9..17), ("dat.token", 18..29)]),
            ("{port}", vec![]),
            ("{1}", vec![("1", 0..3)]),
            ("{{clinet}", vec![]),
        ] {
            let found: Vec<_> = unknown(text, &["port"]).into_iter().map(|unknown| (unknown.name, unknown.at)).collect();
            let names: Vec<_> = names.into_iter().map(|(name, at)| (name.to_owned(), at)).collect();
            assert_eq!(found, names, "{text}");
        }
        assert_eq!(Template::parse("a{b}"), Err(Unknown { name: "b".to_owned(), at: 1..4 }));
    }

    #[test]
    fn one_name_can_be_filled_in_before_the_others() {
        assert_eq!(fill_one("ws://h:{port}/{{port}/{client}?{x", "port", "80"), "ws://h:80/{{port}/{client}?{x");
    }

    #[test]
    fn what_a_client_has_of_its_own_is_filled_in() {
        let data = DataTable { columns: vec!["token".to_owned()], rows: vec![vec!["t0".to_owned()], vec!["t1".to_owned()]] };
        let random = std::sync::Mutex::new(crate::seed::Seed(1).stream("client/17/messages"));
        let captured = [("id".into(), "old".to_owned()), ("id".into(), "new".to_owned())];
        let own = OwnValues {
            cohort: "web",
            sequence: 9,
            time: std::time::Duration::from_millis(1500),
            random: &random,
            row: Some((&data, 1)),
            captured: &captured,
        };
        let values = TemplateValues { own: Some(&own), ..values() };
        let fill = |text: &str| Template::parse(text).expect("names").fill(&values).into_owned();
        assert_eq!(
            fill("{client} {cohort} {attempt} {connection} {sequence} {time} {data.token} {captured.id}"),
            "17 web 3 3 9 1500 t1 new"
        );
        assert_eq!(fill("{data.other}{captured.other}"), "");
        let hex = fill("{random.hex:8}");
        assert!(hex.len() == 8 && hex.bytes().all(|digit| digit.is_ascii_hexdigit()), "{hex}");
        let uuid = fill("{random.uuid}");
        let uuid: Vec<_> = uuid.split('-').collect();
        assert_eq!(uuid.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(uuid[2].starts_with('4') && "89ab".contains(&uuid[3][..1]), "{uuid:?}");
        for _ in 0..100 {
            assert!(["3", "4", "5"].contains(&fill("{random.number:3-5}").as_str()));
            assert!(["a", "b c"].contains(&fill("{random.choice:a,b c}").as_str()));
        }
        for wrong in ["{random.hex:0}", "{random.number:5-3}", "{random.number:x}", "{random.what:1}", "{random}", "{data}", "{env}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_known_before_the_run_is_filled_in_and_not_shown() {
        let mut template = Template::parse("{env.TOKEN}/{client}").expect("names");
        template.know(&mut |name| matches!(name, Name::Env(_)).then(|| "secret".to_owned()));
        assert_eq!((template.fill(&values()).as_ref(), template.to_string().as_str()), ("secret/17", "{env.TOKEN}/{client}"));
        assert!(template.is_simple() && !template.is_plain());
    }
}
