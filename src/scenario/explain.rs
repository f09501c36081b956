//! Where each value of a scenario comes from: file and line, the base of `extends`, an option, a library, a preset, or the default.

use super::diagnostic::{At, Sink};
use super::keys::{ARRIVE, READINESS, TOP, TRAFFIC};
use super::model_keys::TIMES;
use super::schema::table_at;
use super::section::Section;
use super::target_keys::TARGET;
use super::tree::{Node, TomlValue};
use crate::fault;
use crate::reconnect::preset_values;

/// Sections of which one key is written, and the others are no defaults.
const ALTERNATIVES: [&Section; 5] = [&TARGET, &ARRIVE, &TRAFFIC, &READINESS, &TIMES];
/// Longest value that is shown, characters.
const SHOWN: usize = 60;

/// A value, and who set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedValue {
    /// As in `--set`: `clients.web.count`.
    pub key: String,
    /// TOML on one line, secrets left out; of a default its words.
    pub value: String,
    /// Where it was set.
    pub from: String,
}

/// Goes through a tree.
struct Explainer<'a> {
    sink: &'a Sink,
    /// The name of the scenario's own text.
    own: String,
    /// `--clients`.
    clients: Option<u32>,
    found: Vec<ExplainedValue>,
}

/// All values of a tree, in its order; those of each table before its defaults. `tree` is as it is stored, without secrets; `own` is the name of the
/// scenario's own text.
pub(super) fn explain(tree: &Node, own: String, clients: Option<u32>, sink: &Sink) -> Vec<ExplainedValue> {
    let mut explainer = Explainer { sink, own, clients, found: Vec::new() };
    explainer.table(tree, Some(&TOP), "");
    explainer.found
}

impl Explainer<'_> {
    /// A table of a section, or one whose keys have the names that their author gave.
    fn table(&mut self, node: &Node, section: Option<&'static Section>, path: &str) {
        for entry in node.entries() {
            let below = section.and_then(|section| table_at(section, &entry.key));
            let is_map = section.is_some_and(|section| section.path == TOP.path) && entry.key == "clients";
            let path = join(path, &entry.key);
            if is_map {
                for cohort in entry.node.entries() {
                    self.table(&cohort.node, below, &join(&path, &cohort.key));
                }
                continue;
            }
            self.value(&entry.node, &node.at, below, &path);
        }
        self.defaults(node, section, path);
    }

    fn value(&mut self, node: &Node, parent: &At, section: Option<&'static Section>, path: &str) {
        match &node.value {
            TomlValue::Table(_) if path.ends_with(".inject") => self.inject(node, path),
            TomlValue::Table(entries) if !entries.is_empty() || section.is_some() => {
                self.table(node, section, path);
                if let (true, Some(preset)) = (path.ends_with(".reconnect"), node.get("preset")) {
                    self.preset(preset, Some(node), path);
                }
            }
            TomlValue::Array(list) if list.iter().any(|one| matches!(one.value, TomlValue::Table(_))) => {
                let ids = if path == "faults" { node.ids() } else { Vec::new() };
                for (index, one) in list.iter().enumerate() {
                    let name = ids.get(index).filter(|id| !id.is_empty()).cloned().unwrap_or_else(|| index.to_string());
                    self.value(one, &node.at, section, &join(path, &name));
                }
            }
            _ => {
                let from = if node.at == *parent { self.by_program(path) } else { self.place(&node.at) };
                self.put(path, shown(node), self.with_clients(path, from));
                if path.ends_with(".reconnect") {
                    self.preset(node, None, path);
                }
            }
        }
    }

    /// A kind of fault, and the parameters that are not written.
    fn inject(&mut self, node: &Node, path: &str) {
        for kind in node.entries() {
            let path = join(path, &kind.key);
            self.put(&path, "{ … }".to_owned(), self.place(&kind.at));
            for param in kind.node.entries() {
                self.value(&param.node, &kind.node.at, None, &join(&path, &param.key));
            }
            let Some(row) = fault::row(&kind.key) else { continue };
            for param in row.params.iter().filter(|param| kind.node.get(param.name).is_none()) {
                if let Some(default) = param.default {
                    self.put(&join(&path, param.name), default.to_owned(), format!("default of {}", kind.key));
                }
            }
        }
    }

    /// What a preset sets beside what is written.
    fn preset(&mut self, name: &Node, beside: Option<&Node>, path: &str) {
        let TomlValue::Text(name) = &name.value else { return };
        for (key, value) in preset_values(name) {
            if beside.is_none_or(|beside| beside.get(&key).is_none()) {
                self.put(&join(path, &key), value, format!("preset {name}"));
            }
        }
    }

    /// Keys that are not written and mean something all the same.
    fn defaults(&mut self, node: &Node, section: Option<&'static Section>, path: &str) {
        let Some(section) = section.filter(|section| !ALTERNATIVES.iter().any(|one| one.path == section.path)) else { return };
        for key in section.keys.iter().filter(|key| node.get(key.name).is_none()) {
            let says_nothing = ["-", "none", "required"].contains(&key.default) || key.default.starts_with("required");
            // Messages are sent by the clock or after replies, not both.
            let replaced = key.name == "rate" && node.get("in_flight").is_some();
            if !says_nothing && !replaced {
                self.put(&join(path, key.name), key.default.to_owned(), "default".to_owned());
            }
        }
    }

    fn put(&mut self, key: &str, value: String, from: String) {
        self.found.push(ExplainedValue { key: key.to_owned(), value, from });
    }

    /// `--clients` scales what is written.
    fn with_clients(&self, path: &str, from: String) -> String {
        match self.clients {
            Some(clients) if path.starts_with("clients.") && path.ends_with(".count") => {
                format!("--clients {clients}, in proportion to {from}")
            }
            _ => from,
        }
    }

    /// Set by the program itself.
    fn by_program(&self, path: &str) -> String {
        let proxy = path == "target.url.proxy";
        (if proxy { "a variable of the environment for proxies" } else { "the program" }).to_owned()
    }

    fn place(&self, at: &At) -> String {
        let (name, line) = self.sink.line(at);
        if name.starts_with("--") {
            name
        } else if let Some(library) = name.strip_prefix("like ") {
            format!("like {library}")
        } else if name == self.own {
            format!("{name}:{line}")
        } else {
            format!("{name}:{line}, which the scenario names")
        }
    }
}

fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let key = if bare { key.to_owned() } else { toml::Value::String(key.to_owned()).to_string() };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn shown(node: &Node) -> String {
    let text = node.to_toml().to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() > SHOWN { text.chars().take(SHOWN).chain(['…']).collect() } else { text }
}

#[cfg(test)]
mod tests {
    use crate::scenario::{Overrides, Source, explain as explain_scenario};

    fn explained(text: &str, overrides: &Overrides) -> Vec<(String, String, String)> {
        let source = Source::Text { name: "test.toml".to_owned(), text: text.to_owned() };
        let all = explain_scenario(&source, overrides).unwrap_or_else(|errors| panic!("{errors}"));
        all.into_iter().map(|one| (one.key, one.value, one.from)).collect()
    }

    #[test]
    fn each_value_has_its_origin() {
        let text = "extends = \"crash-storm\"\nduration = \"30s\"\n[clients.web]\ncount = 10\nreconnect = \"phoenix\"\n\
                    headers = { Authorization = \"Bearer abcdefgh\" }\n[clients.web.traffic.echo]\npayload = \"20B\"\n";
        let overrides =
            Overrides { set: vec!["clients.web.after=1s".to_owned()], seed: Some(7), clients: Some(20), ..Overrides::default() };
        let all = explained(text, &overrides);
        for (key, value, from) in [
            ("duration", "\"30s\"", "test.toml:2"),
            ("seed", "7", "--seed"),
            ("clients.web.count", "10", "--clients 20, in proportion to test.toml:4"),
            ("clients.web.after", "\"1s\"", "--set"),
            ("clients.web.reconnect", "\"phoenix\"", "test.toml:5"),
            ("clients.web.headers.Authorization", "\"Bearer ***\"", "test.toml:6"),
            ("clients.web.traffic.echo.payload", "\"20B\"", "test.toml:8"),
            ("clients.web.resume", "the preset's, else true", "default"),
            ("target.embedded.handshake_cost", "\"500us\"", "scenarios/crash-storm.toml:21, which the scenario names"),
            ("target.embedded.tls", "false", "default"),
            ("faults.crash.inject.server_crash.down", "\"3s\"", "scenarios/crash-storm.toml:33, which the scenario names"),
        ] {
            let found = all.iter().find(|one| one.0 == key).unwrap_or_else(|| panic!("{key} is not in {all:#?}"));
            assert_eq!((found.1.as_str(), found.2.as_str()), (value, from), "{key}");
        }
        let of_preset: Vec<_> = all.iter().filter(|one| one.2 == "preset phoenix").collect();
        assert!(of_preset.len() > 2 && of_preset.iter().all(|one| one.0.starts_with("clients.web.reconnect.")), "{of_preset:#?}");
        assert!(!all.iter().any(|one| one.1.contains("abcdefgh")));
        let mut keys: Vec<_> = all.iter().map(|one| &one.0).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), all.len(), "a key is told once");
    }

    #[test]
    fn parameters_beside_a_preset_are_not_its_own() {
        let text = "[clients.web]\ncount = 1\nreconnect = { preset = \"phoenix\", max_retries = 5 }\n[[faults]]\nat = \"1s\"\ninject = { drop_rst = {} }\n";
        let all = explained(text, &Overrides::default());
        let retries: Vec<_> = all.iter().filter(|one| one.0 == "clients.web.reconnect.max_retries").collect();
        assert_eq!(retries.len(), 1);
        assert_eq!(retries[0].2, "test.toml:3");
        assert!(all.iter().any(|one| one.0 == "faults.drop_rst-1.at" && one.2 == "test.toml:5"), "{all:#?}");
    }

    #[test]
    fn every_bundled_scenario_is_explained() {
        for bundled in crate::scenario::BUNDLED {
            let all = explain_scenario(&Source::Bundled(bundled.name.to_owned()), &Overrides::default());
            let all = all.unwrap_or_else(|errors| panic!("{errors}"));
            assert!(all.iter().any(|one| one.key == "seed") && all.iter().all(|one| !one.value.is_empty()), "{}", bundled.name);
        }
    }
}
