//! What of a scenario is stored with a run: what goes to the target as it was written, with variables by name and secrets as `***`, and
//! everything else as it was resolved. And reading it again, where nobody has the variables.

use super::diagnostic::Sink;
use super::tree::{Node, TomlValue, parse_set};
use crate::address::userinfo;
use crate::secret::{Holder, MASK, Secrets, mask};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use toml::de::DeTable;

/// Of which kind a text is that goes to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Address,
    Proxy,
    Query,
    /// Its key is the name.
    Field,
    /// In a list.
    Subprotocol,
    CommandLine,
    /// Said by a client or a server.
    Payload,
    /// Of an HTTP request.
    Request,
    /// Names and addresses.
    Resolve,
}

/// Keys whose texts go to a target: `*` is any key or number, `**` all below.
const TO_TARGET: &[(&str, Kind)] = &[
    ("target.url.address", Kind::Address),
    ("target.url.proxy", Kind::Proxy),
    ("target.url.resolve", Kind::Resolve),
    ("target.url.resolve.*", Kind::Resolve),
    ("target.command.address", Kind::Address),
    ("target.command.run", Kind::CommandLine),
    ("target.command.env.*", Kind::Field),
    ("target.command.ready.http.path", Kind::Address),
    ("clients.*.headers.*", Kind::Field),
    ("clients.*.query", Kind::Query),
    ("clients.*.path", Kind::Address),
    ("clients.*.subprotocols.*", Kind::Subprotocol),
    ("clients.*.stay.close.reason", Kind::Payload),
    ("clients.*.first_message", Kind::Payload),
    ("clients.*.traffic.*.message", Kind::Payload),
    ("clients.*.traffic.request.reply", Kind::Payload),
    ("clients.*.traffic.request.reply.**", Kind::Payload),
    ("clients.*.traffic.request.error", Kind::Payload),
    ("clients.*.traffic.request.error.**", Kind::Payload),
    ("clients.*.dialogue.before.headers.*", Kind::Field),
    ("clients.*.dialogue.before.*.headers.*", Kind::Field),
    ("clients.*.dialogue.before.url", Kind::Request),
    ("clients.*.dialogue.before.*.url", Kind::Request),
    ("clients.*.dialogue.**", Kind::Payload),
    ("faults.*.inject.*.location", Kind::Address),
    ("faults.*.inject.*.reason", Kind::Payload),
];
/// Keys of a dialogue that say how often, how long and how, and not what.
const OF_DIALOGUE: [&str; 7] = ["rate", "within", "every", "silence", "name", "method", "protocol"];
/// Stands for the bytes of a file that is not there any more.
const NO_FILE: &str = "hex:00";
/// Lines of a payload's file that are hidden, at most.
const LINES_MAX: usize = 100;
/// Holds the place of a variable that is not there: a word, a host and a port.
const STAND_IN: &str = "0";

fn kind(path: &[String]) -> Option<Kind> {
    let fits = |pattern: &str| {
        let mut path = path.iter();
        for part in pattern.split('.') {
            match (part, path.next()) {
                ("**", Some(_)) => return true,
                ("*", Some(_)) => {}
                (part, Some(key)) if part == key => {}
                _ => return false,
            }
        }
        path.next().is_none()
    };
    let kind = TO_TARGET.iter().find(|(pattern, _)| fits(pattern)).map(|(_, kind)| *kind)?;
    // What errors and captured values are called is up to the author.
    let named = path.iter().rev().nth(1).is_some_and(|of| of == "error" || of == "capture");
    let how = path.get(2).is_some_and(|key| key == "dialogue") && path.last().is_some_and(|key| OF_DIALOGUE.contains(&key.as_str()));
    let how = how && !named;
    (kind != Kind::Payload || !how).then_some(kind)
}

/// Goes through the texts that go to a target, each with how its secrets are found.
fn each(tree: &mut Node, change: &mut dyn FnMut(Kind, Holder<'_>, &mut Node)) {
    let mut before: Option<String> = None;
    tree.each_text(&mut Vec::new(), &mut |path, node| {
        let Some(kind) = kind(path) else { return };
        let own = node.as_written();
        let first = path.last().is_some_and(|index| index == "0");
        let holder = match kind {
            Kind::Address | Kind::Proxy => Holder::Address,
            Kind::Query => Holder::Query,
            Kind::Field => Holder::Field(path.last().map_or("", String::as_str)),
            Kind::Subprotocol => Holder::Subprotocol(before.as_deref().filter(|_| !first)),
            Kind::Request => Holder::Address,
            Kind::CommandLine | Kind::Payload | Kind::Resolve => Holder::Text,
        };
        change(kind, holder, node);
        before = Some(own);
    });
}

/// As it is stored.
pub(super) fn stored(mut tree: Node) -> Node {
    tree.each_text(&mut Vec::new(), &mut |path, node| {
        if kind(path).is_none() {
            node.written = None;
        }
    });
    each(&mut tree, &mut |_, holder, node| node.written = Some(mask(holder, &node.as_written())));
    tree
}

/// Adds what must not be shown of a scenario.
pub(super) fn collect(tree: &Node, secrets: &mut Secrets) {
    each(&mut tree.clone(), &mut |kind, holder, node| {
        secrets.add(holder, &node.as_written());
        let TomlValue::Text(text) = &node.value else { return };
        for name in text.split("{env.").skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name)) {
            secrets.hide_variable(name, &format!("{{env.{name}}}"));
        }
        match kind {
            Kind::Address | Kind::Proxy | Kind::Request => secrets.add_credentials(userinfo(text)),
            Kind::Payload => {
                // Workers have no file any more, but what stood in it.
                let file = node.written.as_deref().filter(|written| written.starts_with("file:")).unwrap_or(MASK);
                let bytes = text.strip_prefix("base64:").and_then(|text| BASE64_STANDARD.decode(text).ok());
                let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
                let lines = text.iter().flat_map(|text| [text.as_str()].into_iter().chain(text.lines()));
                lines.take(LINES_MAX).for_each(|line| secrets.hide_value(line.trim(), file));
            }
            _ => {}
        }
    });
}

/// As it is handed over to processes of this run, which have no files: with what stood in them.
pub(super) fn handed_over(mut tree: Node) -> Node {
    tree.each_text(&mut Vec::new(), &mut |_, node| {
        let of_file = matches!(&node.value, TomlValue::Text(text) if text.starts_with("base64:"));
        node.written.take_if(|written| of_file && written.starts_with("file:"));
    });
    tree
}

/// What a variable holds where a stored scenario is read again.
pub(super) fn stand_in(_: &str) -> Option<String> {
    Some(STAND_IN.to_owned())
}

/// Makes it readable where files are not there any more, and where a stand-in is too little.
pub(super) fn mend(tree: &mut Node) {
    if let Some(TomlValue::Table(cohorts)) = tree.get_mut("clients").map(|clients| &mut clients.value) {
        cohorts.iter_mut().for_each(|cohort| drop(cohort.node.remove("data")));
    }
    each(tree, &mut |kind, _, node| {
        let TomlValue::Text(text) = &mut node.value else { return };
        if kind == Kind::Payload && text.starts_with("file:") {
            NO_FILE.clone_into(text);
        }
        // Names of columns are text where there are none.
        if text.contains("{data.") {
            *text = text.replace("{data.", "{{data.");
        }
        if node.written.is_none() {
            return;
        }
        match kind {
            Kind::Address if !text.contains("://") && !text.starts_with('/') => *text = format!("ws://{STAND_IN}/"),
            Kind::Proxy => *text = format!("http://{STAND_IN}"),
            Kind::Request if !["http://", "https://", "/"].iter().any(|begin| text.starts_with(begin)) => {
                *text = format!("http://{STAND_IN}/")
            }
            Kind::Resolve => *text = format!("{STAND_IN}=127.0.0.1"),
            Kind::CommandLine if !text.contains("{port}") => text.push_str(" {port}"),
            _ => {}
        }
    });
}

/// A `key=value` of the command line as it may be shown: what goes to a target is masked.
pub fn shown_set(set: &str) -> String {
    let sink = Sink::default();
    let Some((key, _)) = set.split_once('=') else { return set.to_owned() };
    let depth = DeTable::parse(&format!("{key} = 0")).map_or(0, |table| depth(table.get_ref()));
    let Some(mut tree) = parse_set("--set", set, &sink).filter(|_| sink.is_empty() && depth > 0) else {
        return mask(Holder::Text, set);
    };
    let mut changed = false;
    each(&mut tree, &mut |kind, holder, node| {
        let written = node.as_written();
        let shown = match kind {
            Kind::Address | Kind::Proxy | Kind::Request | Kind::Resolve | Kind::CommandLine | Kind::Query => mask(holder, &written),
            // What the shell put in here nobody can tell.
            Kind::Field | Kind::Subprotocol | Kind::Payload => MASK.to_owned(),
        };
        changed |= shown != written;
        node.written = Some(shown);
    });
    let mut leaf = &tree;
    for _ in 0..depth {
        let Some(entry) = leaf.entries().first() else { return format!("{key}={MASK}") };
        leaf = &entry.node;
    }
    match &leaf.value {
        _ if !changed => set.to_owned(),
        TomlValue::Text(_) => format!("{key}={}", leaf.as_written()),
        _ => format!("{key}={}", leaf.to_toml()),
    }
}

/// How many keys lead to the only value.
fn depth(table: &DeTable<'_>) -> usize {
    let inner = table.values().next().and_then(|value| value.get_ref().as_table());
    1 + inner.map_or(0, depth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden_however_their_address_is_written() {
        use crate::scenario::{Overrides, Source, load_with};
        let held = |name: &str| (name == "PROXY").then(|| "user:longword@proxy.test:8080".to_owned());
        let url = |more: &str| format!("[clients.web]\ncount = 1\n[target.url]\naddress = \"ws://h.test/\"\n{more}");
        let location = |to: &str| {
            format!("[clients.web]\ncount = 1\n[[faults]]\nat = \"1s\"\ninject = {{ upgrade_redirect = {{ location = \"{to}\" }} }}\n")
        };
        for text in [
            url("proxy = \"user:longword@proxy.test:8080\""),
            url("proxy = \"http://user:longword@proxy.test:8080\""),
            url("proxy = \"${PROXY}\""),
            url("").replace("h.test", "user:longword@h.test"),
            location("https://user:longword@h.test/"),
            location("//user:longword@h.test/"),
        ] {
            let plan = load_with(&Source::Text { name: "ways".to_owned(), text: text.clone() }, &Overrides::default(), &held);
            let plan = plan.unwrap_or_else(|errors| panic!("{text}: {errors}"));
            assert!(!plan.resolved.contains("longword"), "{}", plan.resolved);
            let said = plan.secrets.hide("no Basic dXNlcjpsb25nd29yZA==, nor user:longword, nor longword");
            assert!(!said.contains("longword") && !said.contains("dXNl"), "{text}: {said}");
        }
    }

    #[test]
    fn an_error_may_have_any_name_and_its_words_are_not_stored() {
        use crate::scenario::{Overrides, Source, load_with};
        let text = "[target.url]\naddress = \"ws://h.test/\"\n[clients.web]\ncount = 1\n[clients.web.dialogue]\nsend = \"hi\"\n"
            .replace("send = \"hi\"", "open = [{ name = \"hello\", send = \"hi\" }]\nerror = { rate = \"too many for ${API_KEY}\" }");
        let plan = load_with(&Source::Text { name: "named".to_owned(), text }, &Overrides::default(), &|_| Some("longword".to_owned()));
        let plan = plan.unwrap_or_else(|errors| panic!("{errors}"));
        assert!(plan.resolved.contains("${API_KEY}") && !plan.resolved.contains("longword"), "{}", plan.resolved);
    }

    #[test]
    fn ways_to_a_target_are_told_where_they_are_not_simulated() {
        use crate::scenario::{Overrides, Source, load_with};
        let plan = |more: &str| {
            let text = format!("[clients.web]\ncount = 1\n[target.url]\naddress = \"wss://h.test/\"\n{more}\n");
            load_with(&Source::Text { name: "ways".to_owned(), text }, &Overrides::default(), &|_| None)
                .map_err(|errors| errors.to_string())
        };
        let told = |more: &str| plan(more).map(|plan| plan.not_simulated());
        assert_eq!(told(""), Ok(None));
        let all = told("resolve = \"h.test=10.0.0.7\"\nredirects = 3\nproxy = \"proxy.test:1\"").expect("a plan").expect("a notice");
        assert!(all.starts_with("not simulated: `resolve`, `proxy` and `redirects` of [target.url]"), "{all}");
        let one = plan("resolve = \"h.test=10.0.0.7\"").expect("one text");
        let list = plan("resolve = [\"h.test=10.0.0.7\"]").expect("a list");
        assert_eq!(format!("{:?}", one.target), format!("{:?}", list.target));
        let said = plan("server_name = \"h.test\"").expect_err("not ours");
        assert!(said.contains("unknown key `server_name`") && said.contains("did you mean `sni`?"), "{said}");
        let said = plan("after = \"6s\"").expect_err("not there");
        assert!(said.contains("unknown key `after`") && said.contains("it is a key of [clients.NAME]"), "{said}");
        // An address for a name that nobody connects to.
        let noted = |more: &str| plan(more).expect("a plan").notices.join(" ");
        assert_eq!(
            noted("resolve = \"app.test=10.0.0.7\""),
            "`resolve` has an address for app.test, and nothing connects to it: the host of the connections is h.test"
        );
        for used in ["resolve = \"H.test=10.0.0.7\"", "resolve = \"app.test=10.0.0.7\"\nredirects = 1"] {
            assert_eq!(noted(used), "", "{used}");
        }
        assert_eq!(noted("resolve = \"app.test=10.0.0.7\"\nproxy = \"app.test:1\""), "");
    }

    #[test]
    fn what_is_set_is_shown_without_secrets() {
        for (set, shown) in [
            ("duration=10s", "duration=10s"),
            ("clients.web.count=5", "clients.web.count=5"),
            ("clients.web.headers.X-Any=abc", "clients.web.headers.X-Any=***"),
            ("clients.web.headers={ A = \"b\" }", "clients.web.headers={ A = \"***\" }"),
            ("clients.web.query=jwt=abc&v=1", "clients.web.query=jwt=***&v=1"),
            ("clients.web.subprotocols=[\"a\",\"b\"]", "clients.web.subprotocols=[\"***\", \"***\"]"),
            ("target.url.address=ws://u:p@h/?token=x", "target.url.address=ws://***@h/?token=***"),
            ("target.url.address=ws://h/", "target.url.address=ws://h/"),
            ("target={url={address=\"ws://u:p@h/\"}}", "target={ url = { address = \"ws://***@h/\" } }"),
            ("target.command.env.PLAIN=x", "target.command.env.PLAIN=***"),
            ("target.command.run=server --token abc", "target.command.run=server --token ***"),
            ("no equals sign", "no equals sign"),
        ] {
            assert_eq!(shown_set(set), shown, "{set}");
        }
    }
}
