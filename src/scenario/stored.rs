//! What of a scenario is stored with a run: what goes to the target as it was written, with variables by name and secrets as `***`, and
//! everything else as it was resolved. And reading it again, where nobody has the variables.

use super::diagnostic::Sink;
use super::tree::{Node, TomlValue, parse_set};
use crate::address::{Address, userinfo};
use crate::secret::{Holder, MASK, Secrets, mask};
use crate::template::fill_one;
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
    /// A name for TLS, or an address of this machine.
    Name,
}

/// Keys whose texts go to a target: `*` is any key or number, `**` all below.
const TO_TARGET: &[(&str, Kind)] = &[
    ("target.url.address", Kind::Address),
    ("target.url.proxy", Kind::Proxy),
    ("target.url.resolve", Kind::Resolve),
    ("target.url.resolve.*", Kind::Resolve),
    ("target.url.sni", Kind::Name),
    ("target.url.alpn", Kind::Name),
    ("target.url.alpn.*", Kind::Name),
    ("target.url.source", Kind::Name),
    ("target.url.source.*", Kind::Name),
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
/// Lines of a payload's file that are hidden, at most.
const LINES_MAX: usize = 100;
/// Holds the place of a variable that is not there: a word, a host and a port.
const STAND_IN: &str = "0";
/// Holds the place of a message that nobody can know any more, whether messages are texts or MQTT packets, and also where it must name what was captured.
const SAID: &str = r#"{"type":"publish","topic":"{captured.x}"}"#;

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

/// What is known of a text that goes to a target.
struct TextToTarget<'a> {
    kind: Kind,
    /// How its secrets are found.
    holder: Holder<'a>,
    /// The keys that lead to it.
    path: &'a [String],
}

/// Goes through the texts that go to a target.
fn each(tree: &mut Node, change: &mut dyn FnMut(TextToTarget<'_>, &mut Node)) {
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
            Kind::CommandLine | Kind::Payload | Kind::Resolve | Kind::Name => Holder::Text,
        };
        change(TextToTarget { kind, holder, path }, node);
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
    each(&mut tree, &mut |text, node| node.written = Some(mask(text.holder, &node.as_written())));
    tree
}

/// Adds what must not be shown of a scenario.
pub(super) fn collect(tree: &Node, secrets: &mut Secrets) {
    each(&mut tree.clone(), &mut |TextToTarget { kind, holder, .. }, node| {
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

/// As it is handed over to processes of this run, which have no files: with what stood in them, also where a variable named the file.
pub(super) fn handed_over(mut tree: Node) -> Node {
    tree.each_text(&mut Vec::new(), &mut |_, node| {
        let of_file = matches!(&node.value, TomlValue::Text(text) if text.starts_with("base64:"));
        node.written.take_if(|_| of_file);
    });
    tree
}

/// What a variable holds where a stored scenario is read again.
pub(super) fn stand_in(_: &str) -> Option<String> {
    Some(STAND_IN.to_owned())
}

/// Makes it readable where files and variables are not there any more, and where secrets are `***`: what nobody can know is replaced by what is right in
/// its place. It was right when the run began.
pub(super) fn mend(tree: &mut Node) {
    if let Some(TomlValue::Table(cohorts)) = tree.get_mut("clients").map(|clients| &mut clients.value) {
        cohorts.iter_mut().for_each(|cohort| drop(cohort.node.remove("data")));
    }
    let url = tree.get("target").and_then(|target| target.get("url"));
    let secure = url.is_some_and(|url| ["cert", "key", "sni", "alpn"].iter().any(|key| url.get(key).is_some()));
    each(tree, &mut |TextToTarget { kind, path, .. }, node| {
        let own = node.as_written();
        let TomlValue::Text(text) = &mut node.value else { return };
        let is_known = node.written.is_none() && !text.contains(MASK) && !text.starts_with("file:");
        if is_known && kind != Kind::CommandLine {
            return;
        }
        let (of, key) = (path.iter().rev().nth(1).map_or("", String::as_str), path.last().map_or("", String::as_str));
        let scheme = if secure || text.starts_with("wss") { "wss" } else { "ws" };
        match kind {
            Kind::Address if key == "location" => {}
            Kind::Address if key == "path" => *text = format!("/{STAND_IN}"),
            Kind::Address if Address::parse(&fill_one(text, "port", STAND_IN)).is_ok() => {}
            Kind::Address => *text = format!("{scheme}://{STAND_IN}/"),
            Kind::Proxy | Kind::Request => *text = format!("http://{STAND_IN}"),
            Kind::Resolve => *text = format!("{STAND_IN}=127.0.0.1"),
            Kind::Name if path.iter().any(|key| key == "source") => "127.0.0.1".clone_into(text),
            Kind::Name => "localhost".clone_into(text),
            // It has words, and the server gets its port, wherever that stood.
            Kind::CommandLine => *text = format!("{STAND_IN} {{port}}"),
            Kind::Payload if of != "capture" && key == "hex" => "00".clone_into(text),
            Kind::Payload if of != "capture" && ["send", "resume", "leave"].contains(&key) => SAID.clone_into(text),
            // A JSON pointer, an expression, and any text.
            Kind::Payload => format!("/{STAND_IN}").clone_into(text),
            Kind::Field | Kind::Query | Kind::Subprotocol => STAND_IN.clone_into(text),
        }
        node.written = Some(own);
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
    each(&mut tree, &mut |TextToTarget { kind, holder, .. }, node| {
        let written = node.as_written();
        let shown = match kind {
            Kind::Address | Kind::Proxy | Kind::Request | Kind::Resolve | Kind::CommandLine | Kind::Query | Kind::Name => {
                mask(holder, &written)
            }
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
    use std::collections::BTreeSet;

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
        assert_eq!(told(""), Ok(Vec::new()));
        let all = told("resolve = \"h.test=10.0.0.7\"\nredirects = 3\nproxy = \"proxy.test:1\"").expect("a plan").join("");
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

    /// Every key of a dialogue that there is, and of the ways to a target and of a cohort each that takes a text of its own.
    const ALL: &str = r#"
duration = "5s"
expect = ["messages{outcome=missed} share < 1%", "errors{name=json} count == 0", "errors{name=send} count == 0"]
[target.url]
address = "wss://h.test:1/p?v=1"
sni = "h.test"
alpn = ["http/1.1"]
resolve = ["h.test=127.0.0.1"]
source = ["127.0.0.1"]
proxy = "http://127.0.0.1:3128"
redirects = 1
[clients.web]
count = 2
path = "/room/{client}"
query = "a=1&token=abcdef"
headers = { Authorization = "Bearer abcdef", X-Room = "a{client}" }
subprotocols = ["chat", "v1"]
stay = { for = "1s", close = { code = 1000, reason = "bye" } }
[clients.web.dialogue]
silence = "9s"
rate = "1/s"
receive = { prefix = "a", equals = "hex:6162", contains = "b", json = { "/a" = "x", "/b" = true }, regex = "token=([a-z]+)", at = { offset = 1, hex = "2002" } }
sequence = { number = "/n", stream = { json = "/room" }, replayed = { any = true } }
timestamp = "/at"
capture = { seen = { json = "/pid", optional = true }, send = "/send", error = { regex = "id=(.)" } }
error = { json = "oops", send = { json = { "/error/0" = "x" } }, hex = "at" }
leave = "bye {captured.seen}"
reply = [{ to = "ping", send = "base64:AAEC" }]
beat = { every = "1s", send = "hex:0001", expect = { prefix = "pong" }, within = "1s" }
before = [{ name = "login", url = "http://127.0.0.1:1/login", method = "POST", headers = { X-Key = "abc" }, body = "user=u", status = 200, capture = { t = { header = "X-T" }, all = { whole = true } }, within = "1s" }]
open = [{ name = "hello", send = "hello", resume = "back {captured.seen}", expect = "welcome", check = { json = { "/ok" = true } }, capture = { id = "/id" }, within = "1s" }]
request = [{ name = "ask", send = "ask {sequence}", reply = { prefix = "re" }, error = "no", weight = 2 }, { send = "{{data.x}", reply = "any" }]
[[faults]]
at = "1s"
inject = { close_code = { code = 1001, reason = "away" } }
"#;
    /// The same of other shapes of a scenario.
    const OTHERS: [&str; 4] = [
        "[clients.web]\ncount = 1\nfirst_message = \"hi\"\ntraffic = { request = { message = \"m\", reply = { json = { \"/id\" = \"{sequence}\" } }, error = { at = { hex = \"00\" } } } }\n",
        "[clients.web]\ncount = 1\ntraffic = { send = { message = \"hex:00\" } }\n[target.url]\naddress = \"ws://h.test/\"\nresolve = \"h.test=127.0.0.1\"\nsource = \"127.0.0.1\"\nproxy = \"u:pw@127.0.0.1:1\"\n",
        "[clients.web]\ncount = 1\n[target.command]\nrun = \"server --token 'abc def' {port}\"\naddress = \"ws://127.0.0.1:{port}/\"\nenv = { PORT = \"{port}\" }\nready = { http = { path = \"/up\" } }\n",
        "[clients.web]\ncount = 1\ndialogue = { protocol = \"mqtt\", open = [{ send = '{\"type\":\"connect\",\"client_id\":\"{client}\",\"username\":\"u\",\"password\":\"longword\"}', resume = '{\"type\":\"publish\",\"topic\":\"{captured.t}\",\"payload\":\"\"}', expect = { json = { \"/type\" = \"connack\" } }, capture = { t = \"/t\" } }], \
         beat = { every = \"1s\", send = '{\"type\":\"pingreq\"}' }, leave = '{\"type\":\"disconnect\"}', request = [{ send = '{\"type\":\"publish\",\"topic\":\"a\",\"payload\":\"x\",\"qos\":0}' }] }\n",
    ];

    /// Loads a text with one variable, and what is stored of it where the variable is not set, twice.
    fn read_back(text: &str, held: &str) -> Result<(), String> {
        use crate::scenario::{Overrides, Source, load_stored, load_with};
        let source = Source::Text { name: "all".to_owned(), text: text.to_owned() };
        let plan = load_with(&source, &Overrides::default(), &|name| (name == "VAR").then(|| held.to_owned()));
        let plan = plan.map_err(|errors| format!("it does not run: {errors}"))?;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("scenario.toml");
        std::fs::write(&path, &plan.resolved).expect("it can be written");
        let stored = load_stored(&path, false).map_err(|errors| format!("damaged: {errors}\n{}", plan.resolved))?;
        let causes = |plan: &crate::plan::Plan| {
            let scripts = plan.cohorts.iter().filter_map(|cohort| cohort.script.as_deref());
            scripts
                .map(|script| (script.causes().collect::<Vec<_>>(), script.errors().map(str::to_owned).collect::<BTreeSet<_>>()))
                .collect::<Vec<_>>()
        };
        assert_eq!(causes(&stored), causes(&plan), "{text}");
        let shape = |plan: &crate::plan::Plan| (plan.cohorts[0].script.is_some(), plan.cohorts[0].traffic.rate(), plan.faults.len());
        assert_eq!(shape(&stored), shape(&plan), "{text}");
        let lines = |plan: &crate::plan::Plan| plan.resolved.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(&stored), lines(&plan), "what is stored again");
        Ok(())
    }

    #[test]
    fn a_variable_may_stand_wherever_a_text_goes_to_the_target() {
        let mut tried = 0;
        for text in [ALL].into_iter().chain(OTHERS) {
            read_back(text, "").unwrap_or_else(|why| panic!("{why}"));
            let sink = Sink::default();
            let tree = crate::scenario::tree::parse(sink.origin("all", text), text, &|_| None, &sink);
            let mut paths = Vec::new();
            tree.clone().each_text(&mut Vec::new(), &mut |path, node| {
                let TomlValue::Text(text) = &node.value else { return };
                paths.extend(kind(path).map(|_| (path.to_vec(), text.clone())));
            });
            for (path, held) in paths {
                // All of it, and its end: what is left may be no text of this key.
                let cuts = [0, held.len() / 2, held.find(':').map_or(0, |at| at + 1)];
                for cut in cuts.into_iter().filter(|cut| held.is_char_boundary(*cut)) {
                    let mut changed = tree.clone();
                    changed.each_text(&mut Vec::new(), &mut |at, node| {
                        if at == path {
                            node.written = Some(format!("{}${{VAR}}", &held[..cut]));
                        }
                    });
                    let text = toml::to_string(&changed.to_toml()).expect("TOML");
                    read_back(&text, &held[cut..]).unwrap_or_else(|why| panic!("{}: {why}", path.join(".")));
                    tried += 1;
                }
            }
        }
        assert!(tried > 150, "{tried}");
        // None is left out here.
        let has = |name: &str| ALL.contains(&format!("{name} =")) || OTHERS.iter().any(|text| text.contains(&format!("{name} =")));
        for section in crate::scenario::keys::SECTIONS
            .iter()
            .filter(|section| ["dialogue", "a match", "match.", "capture."].iter().any(|begin| section.path.starts_with(begin)))
        {
            let missing: Vec<_> = section.names().filter(|name| !has(name)).collect();
            assert_eq!(missing, ["in_flight"].into_iter().filter(|name| section.names().any(|own| own == *name)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_may_only_be_known_with_data_is_read_back_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data.csv");
        std::fs::write(&data, "topic,retain\na,true\nb,false\n").expect("it can be written");
        let packet = r#"{"type":"publish","topic":"{data.topic}","payload":"{{data.x}","qos":0,"retain":{data.retain}}"#;
        let text = format!(
            "[clients.web]\ncount = 2\ndata = \"{}\"\ndialogue = {{ protocol = \"mqtt\", request = [{{ send = '{packet}' }}] }}\n",
            data.display()
        );
        read_back(&text, "").unwrap_or_else(|why| panic!("{why}"));
        read_back(&text.replace(packet, "${VAR}"), packet).unwrap_or_else(|why| panic!("{why}"));
    }

    #[test]
    fn workers_get_what_stood_in_a_file_that_a_variable_names() {
        use crate::scenario::{Overrides, Source, load_with};
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("hello.bin");
        std::fs::write(&file, "hello").expect("it can be written");
        let text = "[clients.web]\ncount = 1\nfirst_message = \"${HELLO}\"\n".to_owned();
        let held = format!("file:{}", file.display());
        let source = Source::Text { name: "file".to_owned(), text };
        let plan = load_with(&source, &Overrides::default(), &|_| Some(held.clone())).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(plan.whole.contains("base64:aGVsbG8=") && plan.resolved.contains("${HELLO}"), "{}", plan.whole);
    }
}
