//! A typed view of a table: reads keys, complains of what does not fit, and goes on, so that all errors of a file come at once.
//!
//! A method gives `None` for a key that is absent and for one that was complained of; nothing is planned once there are complaints.

use super::diagnostic::{At, Diagnostic, Sink};
use super::keys::{SECTIONS, Section};
use super::tree::{Entry, Node, TomlValue};
use crate::template::{NAMES, Template, Unknown};
use crate::units::nearest;
use crate::units::{Bytes, Rate, Ratio, UnitError, parse_duration};
use std::ops::RangeInclusive;
use std::time::Duration;

/// What other programs call what is a key here.
const ELSEWHERE: &[(&str, &str)] = &[
    ("server_name", "sni"),
    ("servername", "sni"),
    ("tls_server_name", "sni"),
    ("cacert", "ca"),
    ("follow_redirects", "redirects"),
    ("start", "after"),
];

/// A table with the section that documents its keys.
pub(super) struct Reader<'a> {
    pub(super) node: &'a Node,
    section: &'static Section,
    pub(super) sink: &'a Sink,
}

/// The only other section that has a key of this name.
fn elsewhere(key: &str) -> Option<&'static str> {
    let mut having = SECTIONS.iter().filter(|section| section.names().any(|name| name == key));
    having.next().map(|section| section.path).filter(|_| having.next().is_none())
}

impl<'a> Reader<'a> {
    /// Opens a table, and complains of keys that its section does not have.
    pub(super) fn open(node: &'a Node, section: &'static Section, sink: &'a Sink) -> Option<Reader<'a>> {
        for entry in entries(node, section.path, sink)? {
            if !section.names().any(|name| name == entry.key) {
                let title = format!("unknown key `{}`", entry.key);
                let unknown = Diagnostic::new(&entry.at, title, format!("not a key of {}", section.path));
                let ours = ELSEWHERE.iter().find(|(name, ours)| *name == entry.key && section.names().any(|name| name == *ours));
                let elsewhere = elsewhere(&entry.key).filter(|_| ours.is_none());
                let unknown = elsewhere.into_iter().fold(unknown, |unknown, path| unknown.help(format!("it is a key of {path}")));
                sink.push(unknown.allowed(ours.map_or(entry.key.as_str(), |(_, ours)| ours), section.names()));
            }
        }
        Some(Reader { node, section, sink })
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&'a Node> {
        debug_assert!(self.section.names().any(|name| name == key), "{key} is not documented in {}", self.section.path);
        self.node.get(key)
    }

    /// Keys that the section does not have.
    fn unknown(&self) -> impl Iterator<Item = &'a str> {
        let list = if let TomlValue::Table(entries) = &self.node.value { entries.as_slice() } else { &[] };
        let known = self.section;
        list.iter().map(|entry| entry.key.as_str()).filter(move |key| !known.names().any(|name| name == *key))
    }

    /// The position of a key's value, or of the whole table.
    pub(super) fn at(&self, key: &str) -> &'a At {
        self.node.get(key).map_or(&self.node.at, |node| &node.at)
    }

    /// As `value`; complains where the key is absent.
    pub(super) fn need<T>(&self, key: &str, value: Option<T>) -> Option<T> {
        // A misspelt key has been complained of, with this one as suggestion.
        let misspelt = || self.unknown().any(|name| nearest(name, self.section.names()) == Some(key));
        if self.get(key).is_none() && !misspelt() {
            let row = self.section.keys.iter().find(|row| row.name == key);
            let title = format!("{} needs `{key}`", self.section.path);
            let help = row.map_or(String::new(), |row| format!("`{key}` takes {}: {}", row.takes, row.doc));
            self.sink.push(Diagnostic::new(&self.node.at, title, format!("there is no `{key}`")).help(help));
        }
        value
    }

    /// Complains of a key.
    pub(super) fn complain(&self, key: &str, title: impl Into<String>, label: impl Into<String>, help: impl Into<String>) {
        self.sink.push(Diagnostic::new(self.at(key), title, label).help(help));
    }

    /// A table, opened.
    pub(super) fn table(&self, key: &str, section: &'static Section) -> Option<Reader<'a>> {
        Reader::open(self.get(key)?, section, self.sink)
    }

    pub(super) fn duration(&self, key: &str) -> Option<Duration> {
        duration(key, self.get(key)?, self.sink)
    }

    /// A duration above zero.
    pub(super) fn positive(&self, key: &str) -> Option<Duration> {
        let found = self.duration(key)?;
        if found.is_zero() {
            self.complain(key, format!("`{key}` must be greater than zero"), "found zero", "write at least \"1ms\"");
        }
        Some(found)
    }

    pub(super) fn bytes(&self, key: &str) -> Option<Bytes> {
        quantity(key, "a size", &["B", "KiB"], self.get(key)?, self.sink)
    }

    /// A rate above zero and at most a million a second.
    pub(super) fn rate(&self, key: &str) -> Option<Rate> {
        let rate: Rate = quantity(key, "a rate", &["/s", "/min"], self.get(key)?, self.sink)?;
        if rate.0 <= 0.0 || rate.0 > 1e6 {
            self.complain(key, format!("`{key}` is out of bounds"), format!("found {rate}"), "a rate is above 0/s and at most 1000000/s");
            return None;
        }
        Some(rate)
    }

    pub(super) fn share(&self, key: &str) -> Option<Ratio> {
        quantity(key, "a share", &["%"], self.get(key)?, self.sink)
    }

    pub(super) fn whole(&self, key: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        whole(key, self.get(key)?, bounds, self.sink)
    }

    /// A whole number that fits, by its bounds, into 32 bits.
    pub(super) fn number(&self, key: &str, bounds: RangeInclusive<u32>) -> Option<u32> {
        let bounds = u64::from(*bounds.start())..=u64::from(*bounds.end());
        self.whole(key, bounds).and_then(|number| u32::try_from(number).ok())
    }

    /// A whole number that fits, by its bounds, into 16 bits.
    pub(super) fn short(&self, key: &str, bounds: RangeInclusive<u16>) -> Option<u16> {
        let bounds = u64::from(*bounds.start())..=u64::from(*bounds.end());
        self.whole(key, bounds).and_then(|number| u16::try_from(number).ok())
    }

    /// A number, whole or with a fraction.
    pub(super) fn decimal(&self, key: &str, bounds: RangeInclusive<f64>) -> Option<f64> {
        let node = self.get(key)?;
        let allowed = || format!("a number from {} to {}", bounds.start(), bounds.end());
        let found = match node.value {
            TomlValue::Integer(number) => number as f64,
            TomlValue::Float(number) => number,
            _ => return wrong(key, &allowed(), node, self.sink),
        };
        if !bounds.contains(&found) {
            self.complain(key, format!("`{key}` is out of bounds"), node.describe(), format!("`{key}` takes {}", allowed()));
            return None;
        }
        Some(found)
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        text(key, self.get(key)?, self.sink)
    }

    /// A text as it stands in the scenario, where variables are not filled in.
    pub(super) fn written(&self, key: &str) -> Option<String> {
        self.get(key).map(Node::as_written)
    }

    /// A text in which names in braces are filled in.
    pub(super) fn template(&self, key: &str) -> Option<Template> {
        let node = self.get(key)?;
        template(text(key, node, self.sink)?, &node.at, &[], self.sink)
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        match &self.get(key)?.value {
            TomlValue::Bool(flag) => Some(*flag),
            _ => wrong(key, "true or false", self.get(key)?, self.sink),
        }
    }

    /// A key that can only be `true`; absent is false.
    pub(super) fn only_true(&self, key: &str) -> bool {
        if self.flag(key) == Some(false) {
            self.complain(key, format!("`{key}` can only be true"), "found `false`", "leave the key out instead");
        }
        self.node.get(key).is_some()
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let found = self.text(key)?;
        let value = words.iter().find(|(word, _)| *word == found).map(|(_, value)| *value);
        if value.is_none() {
            let title = format!("`{key}` cannot be \"{found}\"");
            self.sink.push(Diagnostic::new(self.at(key), title, "unknown word").allowed(found, words.iter().map(|row| row.0)));
        }
        value
    }

    /// One text or a list of them, with their positions.
    pub(super) fn one_or_more(&self, key: &str) -> Vec<(&'a str, &'a At)> {
        match self.get(key) {
            Some(Node { value: TomlValue::Text(text), at, .. }) => vec![(text, at)],
            _ => self.texts(key),
        }
    }

    /// A list of texts with their positions.
    pub(super) fn texts(&self, key: &str) -> Vec<(&'a str, &'a At)> {
        let Some(node) = self.get(key) else { return Vec::new() };
        match &node.value {
            TomlValue::Array(list) => list.iter().filter_map(|one| Some((text(key, one, self.sink)?, &one.at))).collect(),
            _ => wrong(key, "a list of texts", node, self.sink).unwrap_or_default(),
        }
    }

    /// A table whose keys are names and whose values are texts.
    pub(super) fn pairs(&self, key: &str) -> Vec<(&'a Entry, &'a str)> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let list = entries(node, key, self.sink).unwrap_or_default();
        list.iter().filter_map(|entry| Some((entry, text(&entry.key, &entry.node, self.sink)?))).collect()
    }

    /// As [`Reader::one_of`], of a section whose keys are all choices.
    pub(super) fn only_one(&self) -> Option<&'static str> {
        self.one_of(&self.section.names().collect::<Vec<_>>())
    }

    /// The only key of the section's choices that is present; complains of two, and of none.
    pub(super) fn one_of(&self, choices: &[&'static str]) -> Option<&'static str> {
        let present: Vec<_> = choices.iter().copied().filter(|choice| self.node.get(choice).is_some()).collect();
        let say = |at: &At, title: String, label: String| {
            self.sink.push(Diagnostic::new(at, title, label).help(format!("write exactly one of: {}", choices.join(", "))));
        };
        match present.as_slice() {
            [one] => return Some(one),
            [] if self.unknown().next().is_some() => {}
            [] => say(&self.node.at, format!("{} is empty", self.section.path), "none of its keys is set".to_owned()),
            [first, second, ..] => {
                say(self.at(second), format!("{} has two conflicting keys", self.section.path), format!("beside `{first}`"));
            }
        }
        None
    }
}

/// The entries of a table; complains of anything else.
pub(super) fn entries<'a>(node: &'a Node, name: &str, sink: &Sink) -> Option<&'a [Entry]> {
    match &node.value {
        TomlValue::Table(entries) => Some(entries),
        _ => wrong(name, "a table", node, sink),
    }
}

pub(super) fn duration(key: &str, node: &Node, sink: &Sink) -> Option<Duration> {
    unit(key, "a duration", &["s", "ms"], parse_duration, node, sink)
}

pub(super) fn quantity<T>(key: &str, what: &str, units: &[&str], node: &Node, sink: &Sink) -> Option<T>
where
    T: std::str::FromStr<Err = UnitError>,
{
    unit(key, what, units, str::parse, node, sink)
}

pub(super) fn whole(key: &str, node: &Node, bounds: RangeInclusive<u64>, sink: &Sink) -> Option<u64> {
    let allowed = || match *bounds.end() {
        u64::MAX => format!("a whole number, at least {}", bounds.start()),
        end => format!("a whole number from {} to {end}", bounds.start()),
    };
    let TomlValue::Integer(number) = node.value else {
        return wrong(key, &allowed(), node, sink);
    };
    let found = u64::try_from(number).ok().filter(|number| bounds.contains(number));
    if found.is_none() {
        let label = format!("found the number {number}");
        sink.push(Diagnostic::new(&node.at, format!("`{key}` is out of bounds"), label).help(format!("`{key}` takes {}", allowed())));
    }
    found
}

pub(super) fn text<'a>(key: &str, node: &'a Node, sink: &Sink) -> Option<&'a str> {
    match &node.value {
        TomlValue::Text(text) => Some(text),
        _ => wrong(key, "text", node, sink),
    }
}

/// A text in which names in braces are filled in; complains of each unknown one. `more`: what else is filled in, by somebody else.
pub(super) fn template(text: &str, at: &At, more: &[&str], sink: &Sink) -> Option<Template> {
    complain_of_names(text, at, crate::template::unknown(text, more), &[NAMES, more].concat(), sink);
    Template::parse(text).ok()
}

/// Complains of unknown names in braces; `known` are those that there are.
pub(super) fn complain_of_names(text: &str, at: &At, unknown: Vec<Unknown>, known: &[&str], sink: &Sink) {
    for unknown in unknown {
        let place = sink.inside(at, text, &unknown.at);
        let title = format!("unknown placeholder `{{{}}}`", unknown.name);
        let diagnostic = Diagnostic::new(&place, title, "not a known placeholder").suggest(&unknown.name, known.iter().copied(), "names");
        sink.push(diagnostic.help("write `{{` for a literal brace"));
    }
}

/// Complains of a value of the wrong type.
pub(super) fn wrong<T>(key: &str, takes: &str, node: &Node, sink: &Sink) -> Option<T> {
    sink.push(Diagnostic::new(&node.at, format!("`{key}` takes {takes}"), node.describe()));
    None
}

fn unit<T>(key: &str, what: &str, units: &[&str], parse: fn(&str) -> Result<T, UnitError>, node: &Node, sink: &Sink) -> Option<T> {
    let bare = match &node.value {
        TomlValue::Text(text) => match parse(text) {
            Ok(value) => return Some(value),
            Err(error) => {
                sink.push(Diagnostic::new(&node.at, format!("`{key}` takes {what}: {}", error.found), "found here").help(error.fix));
                return None;
            }
        },
        TomlValue::Integer(number) => number.to_string(),
        TomlValue::Float(number) => number.to_string(),
        _ => return wrong(key, what, node, sink),
    };
    let fixes: Vec<_> = units.iter().map(|unit| format!("\"{bare}{unit}\"")).collect();
    let title = format!("`{key}` takes {what} with its unit, as text");
    sink.push(Diagnostic::new(&node.at, title, node.describe()).help(format!("write {}", fixes.join(" or "))));
    None
}
