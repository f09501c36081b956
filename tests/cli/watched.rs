//! A run that is watched from elsewhere: its page, which becomes the report, and metrics for Prometheus.

use super::ci::{home, python};
use super::{LONG, Place, Started, until};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

/// Two seconds, of which the last has an outage.
const STORM: &str = "duration = \"2s\"\nquestion = \"</script><b>?\"\n[target.embedded]\n[clients.web]\ncount = 20\n[clients.app]\ncount = 5\n\
    [[faults]]\nname = \"cut\"\nat = \"1s\"\ninject = { drop_rst = {} }\n";

/// What follows these words on stderr, once it is there.
fn told(run: &Started<'_>, words: &str) -> String {
    let line = || run.err().lines().find_map(|line| line.strip_prefix(words).map(str::to_owned));
    until("no address is printed", || line().is_some());
    line().unwrap_or_default()
}

/// Asks a server on this machine; the answer until it ends, with its head.
fn ask(url: &str, fields: &str) -> String {
    let (address, path) = url.strip_prefix("http://").and_then(|url| url.split_once('/')).expect("a URL");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(LONG)).expect("a limit");
    let host = if fields.contains("Host:") { String::new() } else { format!("Host: {address}\r\n") };
    write!(stream, "GET /{path} HTTP/1.1\r\n{host}{fields}Connection: close\r\n\r\n").expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("text");
    text
}

/// The data of the events of this name.
fn events(stream: &str, name: &str) -> Vec<Value> {
    // Chunks end in the middle of lines: their lengths stand on lines of their own, between CR and LF.
    let (_, mut rest) = stream.split_once("\r\n\r\n").expect("a head");
    let mut body = String::new();
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("a chunk");
        body += &after[..length];
        rest = &after[length + 2..];
    }
    let data = |event: &str| event.strip_prefix(&format!("event: {name}\ndata: ")).map(|json| serde_json::from_str(json).expect("JSON"));
    body.split("\n\n").filter_map(data).collect()
}

#[test]
fn the_page_of_a_run_gets_its_states_and_then_its_report() {
    let place = Place::with(STORM);
    let run = place.start(&["run", "test.toml", "--out", "run", "--plain", "--web=127.0.0.1:0"]);
    let url = told(&run, "page of the run: ");
    let page = ask(&url, "");
    assert!(page.starts_with("HTTP/1.1 200 OK") && page.contains("&lt;/script&gt;&lt;b&gt;?") && !page.contains("<b>?"), "{page}");
    assert!(page.contains("default-src 'none'") && page.contains("connect-src 'self'"), "{page}");
    for refused in ["Host: example.org\r\n", "Origin: http://example.org\r\n", "Origin: null\r\n"] {
        assert!(ask(&url, refused).starts_with("HTTP/1.1 403"), "{refused}");
    }
    assert!(ask(&format!("{url}etc"), "").starts_with("HTTP/1.1 404"));
    let stream = ask(&format!("{url}events"), "");
    let (states, end) = (events(&stream, "state"), events(&stream, "end"));
    assert!((2..=20).contains(&states.len()), "{} states", states.len());
    let last = &states[states.len() - 1];
    let cut = &last["marks"][0]["label"];
    assert_eq!((cut, &last["closes"]["codes"]), (&serde_json::json!("cut at 1 s"), &serde_json::json!(["1006"])), "{last}");
    let ended = run.end();
    ended.assert_code(0);
    assert_eq!(end.len(), 1);
    assert_eq!(end[0]["report"].as_str(), fs::read_to_string(place.path("run/report.html")).ok().as_deref(), "byte by byte");
}

#[test]
fn who_does_not_read_does_not_hold_up_the_end() {
    let place = Place::with(STORM);
    let run = place.start(&["run", "test.toml", "--out", "run", "--plain", "--web=127.0.0.1:0"]);
    let url = told(&run, "page of the run: ");
    let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut silent = TcpStream::connect(&address).expect("it listens");
    write!(silent, "GET /events HTTP/1.1\r\nHost: {address}\r\n\r\n").expect("it reads");
    // One that has said nothing yet, too.
    let _mute = TcpStream::connect(&address).expect("it listens");
    run.end().assert_code(0);
    assert!(place.path("run/report.html").exists());
}

#[test]
fn a_port_that_is_taken_ends_it_before_the_run_with_the_way_out() {
    let place = Place::with(STORM);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for (option, words) in
        [(format!("--web={address}"), "give --web another address"), (format!("--metrics={address}"), "give --metrics another")]
    {
        let ended = place.run(&["run", "test.toml", "--out", "run", &option]);
        ended.assert_code(1);
        assert!(ended.err.contains(&address) && ended.err.contains("in use") && ended.err.contains(words), "{}", ended.err);
        assert!(!place.path("run").exists() && !place.path("run.partial").exists());
    }
    place.run(&["run", "test.toml", "--web=5665"]).assert_code(2);
    place.run(&["run", "test.toml", "--web", "--repeat", "2"]).assert_code(2);
}

/// Names of metrics in an expression: words with our prefix.
fn metrics_of(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("closestorm_"))
}

/// All expressions of a dashboard, wherever they stand.
fn expressions(json: &Value, found: &mut Vec<String>) {
    match json {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| match value {
            Value::String(text) if ["expr", "query", "definition"].contains(&key.as_str()) && text.contains('(') || key == "expr" => {
                found.push(text.clone());
            }
            value => expressions(value, found),
        }),
        Value::Array(list) => list.iter().for_each(|one| expressions(one, found)),
        _ => {}
    }
}

#[test]
fn prometheus_reads_the_metrics_and_the_dashboard_asks_for_those_that_exist() {
    let Some(python) = python("Prometheus's parser") else { return };
    let place = Place::with(STORM);
    let run = place.start(&["run", "test.toml", "--out", "run", "--plain", "--metrics", "127.0.0.1:0"]);
    let url = told(&run, "metrics of the run: ");
    // Until the fault has closed connections: each metric has a sample then.
    let text = RefCell::new(String::new());
    until("the fault is never told", || {
        text.replace(ask(&url, ""));
        text.borrow().contains("closestorm_closes_total{code=\"1006\"} 25")
    });
    let text = text.into_inner();
    assert!(text.contains("content-type: text/plain; version=0.0.4"), "{text}");
    assert!(ask(&url, "Host: example.org\r\n").starts_with("HTTP/1.1 403"));
    run.end().assert_code(0);
    let mut reader =
        Command::new(python).arg(home("tests/python/metrics.py")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python");
    let (_, body) = text.split_once("\r\n\r\n").expect("a body");
    reader.stdin.take().expect("a pipe").write_all(body.as_bytes()).expect("it reads");
    let out = reader.wait_with_output().expect("it ends");
    assert!(out.status.success(), "{body}");
    let read: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    for (name, value) in [("closestorm_clients_planned", 25.0), ("closestorm_run_duration_seconds", 2.0)] {
        assert_eq!(read["values"][name], value, "{name}");
    }
    let there: BTreeSet<&str> = read["names"].as_object().expect("names").keys().map(String::as_str).collect();
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(home("docs/grafana.json")).expect("it is there")).expect("JSON");
    let mut asked = Vec::new();
    expressions(&dashboard, &mut asked);
    assert!(asked.len() >= 15, "{asked:?}");
    for expression in &asked {
        let names: Vec<&str> = metrics_of(expression).collect();
        assert!(!names.is_empty() && names.iter().all(|name| there.contains(name)), "{expression}: {there:?}");
    }
    // And the table of the document has each of them.
    let page = fs::read_to_string(home("docs/commands/run.md")).expect("it is there");
    for name in there {
        let family =
            name.strip_suffix("_bucket").or_else(|| name.strip_suffix("_sum")).or_else(|| name.strip_suffix("_count")).unwrap_or(name);
        assert!(page.contains(&format!("`{family}")), "docs/commands/run.md lacks {family}");
    }
}
