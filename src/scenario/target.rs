//! `[target]`: who is tested. `model` reads how the simulator sees it.

use super::cohort::heartbeat;
use super::diagnostic::Diagnostic;
use super::keys;
use super::reader::{Reader, complain_of_names};
use super::target_keys;
use super::tree::{Node, TomlValue, Variables};
use crate::address::Address;
use crate::plan::limits::is_named_here;
use crate::plan::{AddressChoice, Admit, Balance, Before, Cohort, Command, Embedded, ProxyAddress, QueueOrder, Ready, Remote, Target};
use crate::secret::{Holder, mask, mask_address};
use crate::template::{fill_one, unknown_in_address};
use core::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

const BALANCES: &[(&str, Balance)] =
    &[("round_robin", Balance::RoundRobin), ("random", Balance::Random), ("sticky", Balance::Sticky), ("healthy", Balance::Healthy)];
pub(super) const QUEUES: &[(&str, QueueOrder)] = &[("fifo", QueueOrder::Fifo), ("lifo", QueueOrder::Lifo)];
const ADDRESSES: &[(&str, AddressChoice)] = &[
    ("library", AddressChoice::Library),
    ("first", AddressChoice::First),
    ("in_turn", AddressChoice::InTurn),
    ("random", AddressChoice::Random),
];
/// Signals that a program can handle.
const SIGNALS: &[(&str, ())] =
    &[("SIGTERM", ()), ("SIGINT", ()), ("SIGQUIT", ()), ("SIGHUP", ()), ("SIGUSR1", ()), ("SIGUSR2", ()), ("SIGWINCH", ())];

/// Reads `[target]`; the embedded server without it. `None`: complained.
pub(super) fn read(top: &Reader<'_>) -> Option<Target> {
    let Some(node) = top.get("target") else { return Some(Target::Embedded(Embedded::default())) };
    let target = Reader::open(node, &target_keys::TARGET, top.sink)?;
    match target.only_one()? {
        "embedded" => {
            let table = target.table("embedded", &target_keys::EMBEDDED)?;
            Some(Target::Embedded(Embedded { processes: table.short("processes", 1..=64), ..embedded(&table) }))
        }
        "command" => command(&target.table("command", &target_keys::COMMAND)?).map(Target::Command),
        _ => url(&target.table("url", &target_keys::URL)?).map(|remote| Target::Url(Box::new(remote))),
    }
}

/// Makes this the address of the server: in `[target.url]`, or in place of another target.
pub(super) fn put_address(tree: &mut Node, address: &str) {
    if tree.get("target").is_none_or(|target| target.get("url").is_none()) {
        tree.set(&["target"], TomlValue::Table(Vec::new()));
        tree.set(&["target", "url"], TomlValue::Table(Vec::new()));
    }
    tree.set(&["target", "url", "address"], TomlValue::Text(address.to_owned()));
}

fn embedded(reader: &Reader<'_>) -> Embedded {
    let default = Embedded::default();
    Embedded {
        instances: reader.short("instances", 1..=64).unwrap_or(default.instances),
        // Only where there are processes: `read` adds it.
        processes: default.processes,
        balance: reader.choice("balance", BALANCES).unwrap_or(default.balance),
        handshake_cost: reader.duration("handshake_cost").unwrap_or(default.handshake_cost),
        parallel: reader.number("parallel", 1..=1024).unwrap_or(default.parallel),
        backlog: reader.number("backlog", 1..=65535).unwrap_or(default.backlog),
        max_connections: reader.number("max_connections", 1..=u32::MAX),
        admit: reader.table("admit", &target_keys::ADMIT).and_then(|admit| admission(&admit)),
        queue: reader.choice("queue", QUEUES).unwrap_or(default.queue),
        slow_start: reader.positive("slow_start"),
        tls: reader.flag("tls").unwrap_or(default.tls),
        resume: reader.flag("resume").unwrap_or(default.resume),
        ping: reader.table("ping", &keys::HEARTBEAT).and_then(|ping| heartbeat(&ping)),
    }
}

pub(super) fn admission(reader: &Reader<'_>) -> Option<Admit> {
    Some(Admit {
        burst: reader.number("burst", 1..=u32::MAX).unwrap_or(1),
        reject: reader.short("reject", 200..=599).unwrap_or(503),
        retry_after: reader.duration("retry_after"),
        rate: reader.need("rate", reader.rate("rate"))?,
    })
}

fn command(reader: &Reader<'_>) -> Option<Command> {
    let run = reader.need("run", reader.text("run"));
    let words = run.and_then(shlex::split).unwrap_or_default();
    if run.is_some() && words.is_empty() {
        reader.complain("run", "`run` is not a command line", "empty, or a quote is not closed", "as `run = \"node server.js {port}\"`");
    }
    let address = reader.text("address").unwrap_or("ws://127.0.0.1:{port}/").to_owned();
    read_address(reader, &address, &["port"]);
    if address.contains("{port}") && !words.is_empty() && !words.iter().any(|word| word.contains("{port}")) && !env_names_port(reader) {
        let help = "write {port} into `run` or `env`, or a fixed port into `address`";
        reader.complain("run", "the server does not get its port", "`address` contains {port}, but this does not", help);
    }
    let ready = reader.table("ready", &target_keys::READY);
    let (condition, within) = ready.as_ref().map_or((Ready::Tcp, None), |ready| (readiness(ready), ready.positive("within")));
    reader.choice("stop_signal", SIGNALS);
    Some(Command {
        run: words,
        shown: reader.written("run").map_or_else(String::new, |run| mask(Holder::Text, &run)),
        address,
        ready: condition,
        ready_within: within.unwrap_or(Duration::from_secs(10)),
        stop_signal: reader.text("stop_signal").unwrap_or("SIGTERM").to_owned(),
        env: reader.pairs("env").into_iter().map(|(entry, value)| (entry.key.clone(), value.to_owned())).collect(),
        workdir: reader.text("workdir").map(PathBuf::from),
        insecure: reader.flag("insecure").unwrap_or(false),
        ca: reader.text("ca").map(PathBuf::from),
        before: before(reader),
    })
}

fn before(reader: &Reader<'_>) -> Before {
    Before { probe: reader.flag("probe").unwrap_or(true), warm_up: reader.flag("warm_up").unwrap_or(true) }
}

fn env_names_port(reader: &Reader<'_>) -> bool {
    // Read raw: `pairs` is called once, so that its complaints come once.
    reader.node.get("env").is_some_and(|env| env.to_toml().to_string().contains("{port}"))
}

fn readiness(reader: &Reader<'_>) -> Ready {
    let present = ["tcp", "http", "line"].iter().filter(|choice| reader.node.get(choice).is_some()).count();
    // A deadline alone is fine: a TCP connect is the default.
    let choice = if present == 0 { None } else { reader.one_of(&["tcp", "http", "line"]) };
    match choice {
        Some("http") => reader.table("http", &target_keys::HTTP).map_or(Ready::Tcp, |http| {
            let path = http.text("path").unwrap_or("/");
            // It stands in the first line of a request: nothing may end that.
            if !path.starts_with('/') || path.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') {
                http.complain(
                    "path",
                    "this is no path of a URL",
                    "does not begin with `/`, or has spaces, `#` or control characters",
                    "write it percent-encoded, as \"/up%20there\"",
                );
            }
            Ready::Http { path: path.to_owned(), status: http.short("status", 100..=599).unwrap_or(200) }
        }),
        Some("line") => Ready::Line { text: reader.text("line").unwrap_or_default().to_owned() },
        _ => {
            reader.only_true("tcp");
            Ready::Tcp
        }
    }
}

fn url(reader: &Reader<'_>) -> Option<Remote> {
    let address = reader.need("address", reader.text("address"))?;
    let address = read_address(reader, address, &[])?.shown_as(&reader.written("address").unwrap_or_default());
    if address.socket.is_some() {
        for key in ["source", "resolve", "addresses", "proxy"] {
            // The environment's proxy is none of a scenario's.
            if reader.get(key).is_some_and(|node| node.written.is_none() || key != "proxy") {
                reader.complain(key, format!("a Unix socket has no `{key}`"), "found here", "leave it out");
            }
        }
    }
    if !address.secure {
        for key in ["cert", "key", "sni", "alpn"] {
            if reader.get(key).is_some() {
                reader.complain(key, format!("`{key}` without TLS"), "the address begins with ws", "write wss:// in the address");
            }
        }
    }
    let certificate = match (reader.text("cert"), reader.text("key")) {
        (Some(cert), Some(key)) => Some((PathBuf::from(cert), PathBuf::from(key))),
        (None, None) => None,
        (cert, _) => {
            let (there, missing) = if cert.is_some() { ("cert", "key") } else { ("key", "cert") };
            reader.complain(
                there,
                format!("`{there}` without `{missing}`"),
                "found here",
                "name both files: the certificate and its private key",
            );
            None
        }
    };
    let sni = reader.text("sni");
    if sni.is_some_and(|name| rustls::pki_types::ServerName::try_from(name).is_err()) {
        reader.complain("sni", "this is not a host name", "found here", "as \"app.example.org\"");
    }
    Some(Remote {
        insecure: reader.flag("insecure").unwrap_or(false),
        ca: reader.text("ca").map(PathBuf::from),
        before: before(reader),
        source: source(reader),
        must_be_here: false,
        resolve: resolve(reader),
        addresses: reader.choice("addresses", ADDRESSES).unwrap_or(AddressChoice::Library),
        certificate,
        alpn: reader.one_or_more("alpn").into_iter().map(|(name, _)| name.to_owned()).collect(),
        sni: sni.map(str::to_owned),
        proxy: proxy(reader).filter(|_| address.socket.is_none()),
        redirects: reader.short("redirects", 0..=20).unwrap_or(0),
        address,
    })
}

/// `resolve`: names and addresses.
fn resolve(reader: &Reader<'_>) -> Vec<(String, IpAddr)> {
    let mut found = Vec::new();
    for (text, at) in reader.one_or_more("resolve") {
        let pair = text.split_once('=').map(|(name, address)| (name.trim(), address.trim().trim_matches(['[', ']'])));
        match pair.and_then(|(name, address)| Some((name.to_owned(), address.parse().ok()?))) {
            Some(pair) if !pair.0.is_empty() => found.push(pair),
            _ => {
                let diagnostic = Diagnostic::new(at, "this is not a name and its address", format!("found \"{text}\""));
                reader.sink.push(diagnostic.help("as \"app.example.org=10.0.0.7\""));
            }
        }
    }
    found
}

/// `proxy`: an http:// URL, also without its scheme, as variables have it; or "none".
fn proxy(reader: &Reader<'_>) -> Option<ProxyAddress> {
    let text = reader.text("proxy").filter(|text| *text != "none")?;
    let rest = text.strip_prefix("http://").or((!text.contains("://")).then_some(text));
    let parsed = rest.ok_or("only http:// proxies can be used").and_then(|rest| Address::parse(&format!("ws://{rest}")));
    match parsed {
        Ok(address) => Some(ProxyAddress { address: address.shown_as(&reader.written("proxy").unwrap_or_default()) }),
        Err(why) => {
            reader.complain("proxy", format!("this proxy cannot be used: {why}"), "found here", "as \"http://proxy.example.org:3128\"");
            None
        }
    }
}

/// Puts the proxy that the environment names into the tree, under the name of its variable: HTTPS_PROXY for wss, HTTP_PROXY for ws, in either
/// case. Loopback and hosts of NO_PROXY have none, nor has a scenario that says so itself, or that is not the user's own.
pub(super) fn proxy_of_environment(tree: &mut Node, variables: Variables<'_>) {
    let url = tree.get("target").and_then(|target| target.get("url")).filter(|url| url.get("proxy").is_none());
    let Some(Node { value: TomlValue::Text(address), .. }) = url.and_then(|url| url.get("address")) else { return };
    let Ok(address) = Address::parse(address) else { return };
    let host = address.host.to_ascii_lowercase();
    if address.socket.is_some() || is_named_here(&host) {
        return;
    }
    let excepted = ["NO_PROXY", "no_proxy"].into_iter().filter_map(variables).any(|list| {
        list.split(',').map(|name| name.trim().trim_start_matches('.').to_ascii_lowercase()).any(|name| {
            let name = name.strip_suffix(&format!(":{}", address.port)).unwrap_or(&name);
            name == "*" || name == host || !name.is_empty() && host.strip_suffix(name).is_some_and(|before| before.ends_with('.'))
        })
    });
    let names = if address.secure { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
    let Some((name, proxy)) = names.into_iter().filter_map(|name| Some((name, variables(name)?))).next().filter(|_| !excepted) else {
        return;
    };
    tree.set(&["target", "url", "proxy"], TomlValue::Text(proxy));
    let node = ["target", "url", "proxy"].iter().try_fold(tree, |node, key| node.get_mut(key));
    if let Some(node) = node {
        node.written = Some(format!("${{{name}}}"));
    }
}

/// What a run should say of its proxy, where the environment named it.
pub(super) fn proxy_notice(target: &Target) -> Option<String> {
    let Target::Url(remote) = target else { return None };
    let shown = remote.proxy.as_ref()?.address.to_string();
    let variable = shown.strip_prefix("${")?.strip_suffix('}')?.to_owned();
    Some(format!("all connections go through the proxy of {variable}; `proxy = \"none\"` in [target.url] turns it off"))
}

/// What a run should say of names that `resolve` has and nobody connects to.
pub(super) fn resolved_for_nobody(target: &Target, cohorts: &[Cohort]) -> Option<String> {
    let Target::Url(remote) = target else { return None };
    let before = cohorts.iter().filter_map(|cohort| cohort.script.as_ref()).any(|script| !script.before.is_empty());
    // Where redirects and requests lead is seen in the run.
    if before || remote.redirects > 0 {
        return None;
    }
    let asked = remote.proxy.as_ref().map_or(&remote.address, |proxy| &proxy.address);
    let (name, _) = remote.resolve.iter().find(|(name, _)| !name.eq_ignore_ascii_case(&asked.host))?;
    let host = &asked.host;
    Some(format!("`resolve` has an address for {name}, and nothing connects to it: the host of the connections is {host}"))
}

fn source(reader: &Reader<'_>) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for (text, at) in reader.one_or_more("source") {
        match text.parse() {
            Ok(address) => found.push(address),
            Err(_) => {
                let help = "an address of this machine, as \"10.0.0.5\" (`ip addr` lists them)";
                reader.sink.push(Diagnostic::new(at, "this is not an IP address", format!("found \"{text}\"")).help(help));
            }
        }
    }
    found
}

/// Reads `address`; complains of one that is not a ws:// or wss:// URL with a host, and of unknown names in braces. `more`: names that
/// are filled in when the server is started.
fn read_address(reader: &Reader<'_>, address: &str, more: &[&str]) -> Option<Address> {
    let at = reader.at("address");
    let plain = more.iter().fold(address.to_owned(), |address, name| fill_one(&address, name, "1"));
    let unknown = unknown_in_address(address, more);
    if !unknown.is_empty() {
        complain_of_names(address, at, unknown, &[&["client", "attempt"], more].concat(), reader.sink);
        return None;
    }
    let complain = |title| {
        let mended = address.replacen("http", "ws", 1);
        let help = if address.starts_with("http") { format!("write \"{mended}\"") } else { "as \"ws://127.0.0.1:9000/path\"".to_owned() };
        reader.sink.push(Diagnostic::new(at, title, format!("found \"{}\"", mask_address(address))).help(help));
    };
    Address::parse(&plain).map_err(complain).ok()
}
