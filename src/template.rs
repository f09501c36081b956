//! Text with names in braces, as `/room/{client}`: read once, filled in for each attempt.
//!
//! `{name}` and `{name.part}` of letters, digits and `_` are names; `{{` is one brace; any other brace is text. Which file a text came
//! from, and where in it a wrong name stands, is the business of `scenario`.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// What can be filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// Index of the client in the run, from 0.
    Client,
    /// Number of the client's attempt, from 1.
    Attempt,
}

/// The names as users write them.
pub const NAMES: &[(&str, Name)] = &[("client", Name::Client), ("attempt", Name::Attempt)];

/// What stands in place of the names.
#[derive(Clone, Debug)]
pub struct TemplateValues<'a> {
    /// For `{client}`.
    pub client: Cow<'a, str>,
    /// For `{attempt}`.
    pub attempt: Cow<'a, str>,
}

/// A text that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<TemplatePart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplatePart {
    Text(String),
    Name(Name),
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
                Token::Name(name) => match NAMES.iter().find(|(known, _)| *known == name) {
                    Some((_, name)) => template.parts.push(TemplatePart::Name(*name)),
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
            [TemplatePart::Text(text)] => Cow::Borrowed(text),
            parts => Cow::Owned(parts.iter().map(|part| part.fill(values)).collect()),
        }
    }

    /// The parts that are the same for everybody.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Text(text) => Some(text.as_str()),
            TemplatePart::Name(_) => None,
        })
    }

    /// Whether it is the same for everybody.
    pub fn is_plain(&self) -> bool {
        self.texts().count() == self.parts.len()
    }

    /// With other texts between the names.
    ///
    /// # Errors
    /// The first one of `change`.
    pub fn map<E>(self, change: impl Fn(&str) -> Result<String, E>) -> Result<Template, E> {
        let part = |part| match part {
            TemplatePart::Text(text) => change(&text).map(TemplatePart::Text),
            TemplatePart::Name(name) => Ok(TemplatePart::Name(name)),
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

impl TemplatePart {
    fn fill<'a>(&'a self, values: &'a TemplateValues<'_>) -> &'a str {
        match self {
            TemplatePart::Text(text) => text,
            TemplatePart::Name(Name::Client) => &values.client,
            TemplatePart::Name(Name::Attempt) => &values.attempt,
        }
    }
}

/// As it was written, or so that it means the same.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                TemplatePart::Text(text) => f.write_str(&text.replace('{', "{{"))?,
                TemplatePart::Name(name) => {
                    let word = NAMES.iter().find(|(_, known)| known == name).map_or("", |(word, _)| word);
                    write!(f, "{{{word}}}")?;
                }
            }
        }
        Ok(())
    }
}

/// All names of a text that are neither `{client}`, `{attempt}` nor one of `more`.
pub fn unknown(text: &str, more: &[&str]) -> Vec<Unknown> {
    let known = |name| NAMES.iter().any(|(known, _)| *known == name) || more.contains(&name);
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
    let word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_');
    let (first, part) = name.split_once('.').map_or((name, None), |(first, part)| (first, Some(part)));
    (word(first) && part.is_none_or(word)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> TemplateValues<'static> {
        TemplateValues { client: "17".into(), attempt: "3".into() }
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
            ("{client} {clinet} {data.token}", vec![("clinet", 9..17), ("data.token", 18..30)]),
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
}
