//! Scenario text as a tree that remembers where each part came from: reading TOML, filling in `${VAR}`, laying one tree over
//! another, printing it again. Knows no key but those that hold a choice.

use super::diagnostic::{At, Diagnostic, Sink};
use crate::secret::starred;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and its position.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) value: TomlValue,
    /// A text as it stands in the file, where variables were filled in.
    pub(super) written: Option<String>,
}

/// A TOML value.
#[derive(Clone, Debug)]
pub(super) enum TomlValue {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Date(String),
    Array(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key of a table, its position and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: At,
    pub(super) node: Node,
}

/// Keys whose table names one of several choices. A choice laid over another one replaces it; other tables merge.
const CHOICES: &[(&str, &[&str])] = &[
    ("target", &["embedded", "command", "url"]),
    ("arrive", &["over", "rate", "poisson", "at_once", "stages", "per_second", "file"]),
    ("for", &["constant", "uniform", "exponential", "lognormal", "quantiles"]),
    ("traffic", &["echo", "send", "request", "listen"]),
    ("reconnect", &["preset", "fixed", "linear", "exponential", "table"]),
    ("ready", &["tcp", "http", "line"]),
];

/// Where `${VAR}` looks.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads TOML; syntax errors go to the sink, and what could be read is returned.
pub(super) fn parse(origin: usize, text: &str, variables: Variables<'_>, sink: &Sink) -> Node {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(0..text.len());
        // Of a text that nothing is known of but its form.
        let shown = starred(text);
        let found = shown.get(span.clone()).unwrap_or_default().lines().next().unwrap_or_default();
        let label = if found.trim().is_empty() { "here".to_owned() } else { format!("found `{found}`") };
        sink.push(Diagnostic::new(&At::new(origin, span), format!("not TOML: {}", error.message()), label));
    }
    let span = table.span();
    let value = TomlValue::Table(entries(origin, table.get_ref(), variables, sink));
    Node { at: At::new(origin, span), value, written: None }
}

fn entries(origin: usize, table: &DeTable<'_>, variables: Variables<'_>, sink: &Sink) -> Vec<Entry> {
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        Entry { key: name.to_string(), at: At::new(origin, key.span()), node: node(origin, value, variables, sink) }
    };
    table.iter().map(entry).collect()
}

fn node(origin: usize, value: &Spanned<DeValue<'_>>, variables: Variables<'_>, sink: &Sink) -> Node {
    let at = At::new(origin, value.span());
    let written = value.get_ref().as_str().filter(|text| text.replace("$${", "").contains("${")).map(str::to_owned);
    let value = match value.get_ref() {
        DeValue::String(text) => TomlValue::Text(fill(text, &at, variables, sink)),
        DeValue::Integer(number) => TomlValue::Integer(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or_else(|_| {
            sink.push(Diagnostic::new(&at, "this number is too large", "does not fit into 64 bits"));
            0
        })),
        DeValue::Float(number) => TomlValue::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => TomlValue::Bool(*flag),
        DeValue::Datetime(date) => TomlValue::Date(date.to_string()),
        DeValue::Array(list) => TomlValue::Array(list.iter().map(|one| node(origin, one, variables, sink)).collect()),
        DeValue::Table(table) => TomlValue::Table(entries(origin, table, variables, sink)),
    };
    Node { at, value, written }
}

/// `${VAR}` and `${VAR:-default}` filled in; `$${` stands for `${`.
fn fill(text: &str, at: &At, variables: Variables<'_>, sink: &Sink) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, after) = (&rest[..start], &rest[start + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            filled.push_str(before);
            filled.push_str("${");
            rest = after;
            continue;
        }
        filled.push_str(before);
        let Some((inside, behind)) = after.split_once('}') else {
            sink.push(Diagnostic::new(at, "unterminated variable", "`${` without `}`").help("write `$${` for a plain `${`"));
            return filled;
        };
        let (name, default) = inside.split_once(":-").map_or((inside, None), |(name, default)| (name, Some(default)));
        match variables(name).filter(|value| !value.is_empty()).or(default.map(str::to_owned)) {
            Some(value) => filled.push_str(&value),
            None => {
                let (title, help) = sink.no_variable(name);
                let help = format!("{help}, or give a default: `${{{name}:-default}}`");
                sink.push(Diagnostic::new(at, title, "needed here").help(help));
            }
        }
        rest = behind;
    }
    filled.push_str(rest);
    filled
}

/// Reads one `key=value` of the command line: a TOML value, or a bare word, which is a string.
pub(super) fn parse_set(option: &str, set: &str, sink: &Sink) -> Option<Node> {
    let Some((path, value)) = set.split_once('=') else {
        let origin = sink.origin(option, set);
        let at = At::new(origin, 0..set.len());
        sink.push(Diagnostic::new(&at, "not `key=value`", "there is no `=`").help("as `--set clients.web.count=500`"));
        return None;
    };
    let toml = format!("{path} = {value}");
    let text = if DeTable::parse(&toml).is_ok() { toml } else { format!("{path} = {}", toml::Value::String(value.to_owned())) };
    let origin = sink.origin(option, text.clone());
    // Variables belong to files: the shell has already filled in those of the command line.
    let mut node = parse(origin, &text, &|name| Some(format!("${{{name}}}")), sink);
    node.each_text(&mut Vec::new(), &mut |_, node| node.written = None);
    Some(node)
}

impl Node {
    /// What it is, for messages: `the number 10`.
    pub(super) fn describe(&self) -> String {
        match &self.value {
            TomlValue::Text(text) => format!("found the text \"{text}\""),
            TomlValue::Integer(number) => format!("found the number {number}"),
            TomlValue::Float(number) => format!("found the number {number}"),
            TomlValue::Bool(flag) => format!("found `{flag}`"),
            TomlValue::Date(date) => format!("found the date {date}"),
            TomlValue::Array(_) => "found a list".to_owned(),
            TomlValue::Table(_) => "found a table".to_owned(),
        }
    }

    /// The value of a key; `None` for what is not a table, too.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            TomlValue::Table(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node),
            _ => None,
        }
    }

    /// As [`Node::get`], to be changed.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.value {
            TomlValue::Table(entries) => entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node),
            _ => None,
        }
    }

    /// The keys of a table; none of what is not a table.
    pub(super) fn entries(&self) -> &[Entry] {
        if let TomlValue::Table(entries) = &self.value { entries } else { &[] }
    }

    /// The ids of the faults in a list: the `name` of each, or its kind and its number from 1.
    pub(super) fn ids(&self) -> Vec<String> {
        let TomlValue::Array(list) = &self.value else { return Vec::new() };
        let id = |(index, node): (usize, &Node)| match node.get("name") {
            Some(Node { value: TomlValue::Text(name), .. }) => name.clone(),
            _ => {
                let kind = node.get("inject").and_then(|inject| inject.entries().first());
                kind.map_or_else(String::new, |kind| format!("{}-{}", kind.key, index + 1))
            }
        };
        list.iter().enumerate().map(id).collect()
    }

    /// Takes a key out of a table.
    pub(super) fn remove(&mut self, key: &str) -> Option<Entry> {
        match &mut self.value {
            TomlValue::Table(entries) => entries.iter().position(|entry| entry.key == key).map(|index| entries.remove(index)),
            _ => None,
        }
    }

    /// Sets a value, at `path` from here; tables on the way must exist.
    pub(super) fn set(&mut self, path: &[&str], value: TomlValue) {
        let TomlValue::Table(entries) = &mut self.value else { return };
        let at = self.at.clone();
        match (path, path.first().and_then(|key| entries.iter().position(|entry| entry.key == *key))) {
            ([_], Some(index)) => (entries[index].node.value, entries[index].node.written) = (value, None),
            ([key], None) => entries.push(Entry { key: (*key).to_owned(), at: at.clone(), node: Node { at, value, written: None } }),
            ([_, rest @ ..], Some(index)) => entries[index].node.set(rest, value),
            _ => {}
        }
    }

    /// Lays another tree over this one: tables merge, everything else is replaced. A table over a list changes its elements by number,
    /// from 0, or by their id.
    pub(super) fn merge(&mut self, over: Node, sink: &Sink) {
        let ids = self.ids();
        match (&mut self.value, over) {
            (TomlValue::Table(entries), Node { value: TomlValue::Table(new), .. }) => {
                new.into_iter().for_each(|entry| lay(entries, entry, sink));
            }
            (TomlValue::Array(list), Node { value: TomlValue::Table(new), .. }) => {
                new.into_iter().for_each(|entry| lay_element(list, &ids, entry, sink));
            }
            (_, over) => *self = over,
        }
    }

    /// A text as a file has it, variables included; empty for what is no text.
    pub(super) fn as_written(&self) -> String {
        match (&self.written, &self.value) {
            (Some(written), _) => written.clone(),
            (None, TomlValue::Text(text)) => text.replace("${", "$${"),
            _ => String::new(),
        }
    }

    /// Goes through all texts, each with the keys that lead to it; those of a list are its numbers.
    pub(super) fn each_text(&mut self, path: &mut Vec<String>, each: &mut dyn FnMut(&[String], &mut Node)) {
        match &mut self.value {
            TomlValue::Text(_) => each(path, self),
            TomlValue::Table(entries) => {
                for entry in entries {
                    path.push(entry.key.clone());
                    entry.node.each_text(path, each);
                    path.pop();
                }
            }
            TomlValue::Array(list) => {
                for (index, node) in list.iter_mut().enumerate() {
                    path.push(index.to_string());
                    node.each_text(path, each);
                    path.pop();
                }
            }
            TomlValue::Integer(_) | TomlValue::Float(_) | TomlValue::Bool(_) | TomlValue::Date(_) => {}
        }
    }

    /// As TOML, with variables where there were some; the comments of the original are lost.
    pub(super) fn to_toml(&self) -> toml::Value {
        match &self.value {
            TomlValue::Text(_) => toml::Value::String(self.as_written()),
            TomlValue::Integer(number) => toml::Value::Integer(*number),
            TomlValue::Float(number) => toml::Value::Float(*number),
            TomlValue::Bool(flag) => toml::Value::Boolean(*flag),
            TomlValue::Date(date) => date.parse().map_or_else(|_| toml::Value::String(date.clone()), toml::Value::Datetime),
            TomlValue::Array(list) => toml::Value::Array(list.iter().map(Node::to_toml).collect()),
            TomlValue::Table(entries) => {
                toml::Value::Table(entries.iter().map(|entry| (entry.key.clone(), entry.node.to_toml())).collect())
            }
        }
    }
}

fn lay(entries: &mut Vec<Entry>, new: Entry, sink: &Sink) {
    let Some(old) = entries.iter_mut().find(|entry| entry.key == new.key) else {
        entries.push(new);
        return;
    };
    let tags = CHOICES.iter().find(|(key, _)| *key == new.key).map_or(&[][..], |(_, tags)| tags);
    let tag = |node: &Node| match &node.value {
        // The choice of a fault is its kind, which is its only key.
        TomlValue::Table(entries) if new.key == "inject" => entries.first().map(|entry| entry.key.clone()),
        _ => tags.iter().find(|tag| node.get(tag).is_some()).map(|tag| (*tag).to_owned()),
    };
    // `reconnect = "phoenix"` is short for `{ preset = "phoenix" }`, and a further parameter keeps it.
    if let (TomlValue::Text(preset), TomlValue::Table(_), "reconnect", None) =
        (&old.node.value, &new.node.value, new.key.as_str(), tag(&new.node))
    {
        let node = Node { at: old.node.at.clone(), value: TomlValue::Text(preset.clone()), written: old.node.written.take() };
        old.node.value = TomlValue::Table(vec![Entry { key: "preset".to_owned(), at: node.at.clone(), node }]);
    }
    if tag(&new.node).is_some() && tag(&new.node) != tag(&old.node) {
        *old = new;
    } else {
        old.node.merge(new.node, sink);
    }
}

fn lay_element(list: &mut [Node], ids: &[String], new: Entry, sink: &Sink) {
    let index = new.key.parse().ok().filter(|index| *index < list.len()).or_else(|| ids.iter().position(|id| *id == new.key));
    match index {
        Some(index) => list[index].merge(new.node, sink),
        None => {
            let label = format!("the list has {} elements, counted from 0", list.len());
            sink.push(
                Diagnostic::new(&new.at, format!("there is no element `{}`", new.key), label).help("give a number or the `name` of one"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> (Node, Sink) {
        let sink = Sink::default();
        let origin = sink.origin("test.toml", text);
        let node = parse(origin, text, &|name| (name == "HOST").then(|| "example.org".to_owned()), &sink);
        (node, sink)
    }

    #[test]
    fn variables_are_filled_in_inside_strings() {
        for (text, expected) in [
            ("a = 'ws://${HOST}/'", Some("ws://example.org/")),
            ("a = '${PORT:-80}'", Some("80")),
            ("a = '${HOST:-x}${PORT:-}'", Some("example.org")),
            ("a = '$${HOST} costs $5'", Some("${HOST} costs $5")),
            ("a = '${PORT}'", None),
            ("a = '${HOST'", None),
        ] {
            let (node, sink) = tree(text);
            let found = matches!(node.get("a"), Some(Node { value: TomlValue::Text(found), .. }) if Some(found.as_str()) == expected);
            assert_eq!(found, expected.is_some(), "{text}: {node:?}");
            assert_eq!(sink.is_empty(), expected.is_some(), "{text}");
        }
    }

    #[test]
    fn overrides_merge_tables_and_replace_the_rest() {
        for (base, set, expected) in [
            ("a = { b = 1, c = 2 }", "a.b=3", "a = { b = 3, c = 2 }"),
            ("a = [1, 2]", "a=[3]", "a = [3]"),
            ("a = 1", "b=word", "a = 1\nb = 'word'"),
            ("a = 1", "a=10s", "a = '10s'"),
            ("a = 1", "a=x = y", "a = 'x = y'"),
            ("reconnect = 'phoenix'", "reconnect.max_retries=5", "reconnect = { preset = 'phoenix', max_retries = 5 }"),
            ("reconnect = { preset = 'phoenix', max_retries = 5 }", "reconnect={ fixed = {} }", "reconnect = { fixed = {} }"),
            ("arrive = { over = '1s' }", "arrive.rate=5/s", "arrive = { rate = '5/s' }"),
            ("[[faults]]\nat = '1s'\n[[faults]]\nname = 'x'", "faults.x.at=2s", "[[faults]]\nat = '1s'\n[[faults]]\nname = 'x'\nat = '2s'"),
            ("inject = { a = { x = 1, y = 2 } }", "inject.a.x=3", "inject = { a = { x = 3, y = 2 } }"),
            ("inject = { a = { x = 1, y = 2 } }", "inject.b.x=3", "inject = { b = { x = 3 } }"),
            ("[[faults]]\nat = '1s'", "faults.0.at=2s", "[[faults]]\nat = '2s'"),
            ("[[faults]]\ninject.drop_fin = {}", "faults.drop_fin-1.at=2s", "[[faults]]\ninject.drop_fin = {}\nat = '2s'"),
        ] {
            let (mut node, sink) = tree(base);
            node.merge(parse_set("--set", set, &sink).unwrap(), &sink);
            assert_eq!(node.to_toml(), tree(expected).0.to_toml(), "{base} + {set}");
            assert!(sink.is_empty(), "{base} + {set}");
        }
    }

    #[test]
    fn an_override_of_nothing_is_an_error() {
        let (mut node, sink) = tree("faults = []");
        node.merge(parse_set("--set", "faults.3.at=2s", &sink).unwrap(), &sink);
        assert!(parse_set("--set", "seed", &sink).is_none());
        assert_eq!(sink.into_errors(crate::secret::Secrets::default()).count(), 2);
    }
}
