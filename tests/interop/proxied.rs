//! Real clients and servers on both sides of `closestorm proxy`: what it does not touch is as it would be without it, and what each side reports is
//! what the proxy saw.

use super::proxy_tls::Proxy;
use super::{Peer, Run, alone, home, node};
use closestorm::results::Loaded;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// A cohort for each way to end: by codes of the client and of the server, and by faults of the client.
fn endings(target: &str) -> String {
    let mut text = format!("duration = \"3s\"\n[target.url]\naddress = \"ws://{target}\"\n");
    let cohort = |name: &str, more: &str| {
        format!(
            "[clients.{name}]\ncount = 5\narrive = {{ over = \"200ms\" }}\nreconnect = \"none\"\ntraffic = {{ echo = {{ rate = \"10/s\", payload = \"300B\" }} }}\n{more}\n"
        )
    };
    for (code, reason) in [(1000, "done"), (1001, ""), (1011, "oops"), (4001, "enough")] {
        text +=
            &cohort(&format!("client-{code}"), &format!("stay = {{ for = \"1s\", close = {{ code = {code}, reason = \"{reason}\" }} }}"));
        text += &cohort(&format!("server-{code}"), &format!("query = \"code={code}&reason={reason}&after=900\""));
    }
    for fault in ["drop_fin", "drop_rst", "half_close_write", "truncate_frame"] {
        text += &cohort(fault, "");
        text +=
            &format!("[[faults]]\nat = \"1s\"\nside = \"client\"\nselect = {{ cohort = \"{fault}\" }}\ninject = {{ {fault} = {{}} }}\n");
    }
    text
}

/// How the connections of each cohort ended, as its clients saw it.
fn ended(loaded: &Loaded) -> BTreeMap<String, BTreeSet<String>> {
    let mut rows: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for row in &loaded.summary.endings {
        let seen = format!(
            "{}: received {:?}, sent {:?}, {:?}, clean {}, reported {:?}, {}",
            row.initiator, row.wire_received, row.wire_sent, row.tcp_end, row.clean, row.client_code, row.count
        );
        rows.entry(row.cohort.clone()).or_default().insert(seen);
    }
    rows
}

#[test]
fn our_run_against_node_has_the_same_endings_with_and_without_the_idle_proxy() {
    if !node("endings through the proxy") {
        return;
    }
    let _alone = alone();
    let peer = Peer::start(&[]);
    let direct = format!("127.0.0.1:{}", peer.port);
    let proxy = Proxy::start(&direct, &[]);
    let found = [&direct, &proxy.address].map(|target| {
        let run = Run::new();
        let loaded = run.load(&run.file(&endings(target)), &[]);
        assert_eq!(loaded.summary.attempts.counts.opened, 60);
        ended(&loaded)
    });
    assert_eq!(found[0].len(), 12, "{:#?}", found[0]);
    assert_eq!(found[0], found[1]);
}

/// Asks the control API; gives the body.
fn ask(api: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(api).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").unwrap();
    let answer = std::io::read_to_string(stream).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 2"), "{request}: {answer}");
    body.to_owned()
}

/// A process that is ended when this is dropped.
pub(super) struct Ended(pub(super) Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ends each second connection.
fn cut_half(api: &str, how: &str) -> usize {
    let all: Vec<Value> = serde_json::from_str(&ask(api, "GET /v1/connections")).unwrap();
    let half: Vec<_> = all.iter().step_by(2).map(|connection| connection["id"].as_u64().unwrap()).collect();
    half.iter().for_each(|id| drop(ask(api, &format!("DELETE /v1/connections/proxy/{id}?end={how}"))));
    half.len()
}

/// The chat server's log says what clients missed whose connections the proxy cuts, and what was sent again to them.
#[test]
fn what_clients_of_a_chat_miss_behind_the_proxy_is_what_its_server_logged() {
    if !node("a chat server behind the proxy") {
        return;
    }
    let _alone = alone();
    let (run, port) = (Run::new(), closestorm::sut::command::port::free_port().unwrap().to_string());
    let log = run.file("").replace("test.toml", "log.jsonl");
    let server = Command::new("node").arg(home("tests/node/chat.js")).args([&port, &log, "10"]).spawn().unwrap();
    let server = Ended(server);
    super::until("the chat server listens", || TcpStream::connect(format!("127.0.0.1:{port}")).ok());
    let proxy = Proxy::start(&format!("127.0.0.1:{port}"), &["--identify", "query:client"]);
    let file = run.file(&super::chat::scenario(&format!("[target.url]\naddress = \"ws://{}\"", proxy.address), ""));
    super::chat::write_rooms(&file);
    let mut running = run.command(&file, &[]).spawn().unwrap();
    let api = proxy.api.clone();
    super::until("clients are open", || (ask(&api, "GET /v1/connections").matches("\"speaks\":\"websocket\"").count() == 40).then_some(()));
    let mut cut = 0;
    for how in ["rst", "fin", "rst"] {
        // Long enough for most to be back, and to hear something before they are cut again.
        std::thread::park_timeout(std::time::Duration::from_millis(2000));
        cut += cut_half(&api, how);
    }
    let stderr = running.stderr.take().unwrap();
    // A saturated generator is no failure here.
    assert!(matches!(running.wait().unwrap().code(), Some(0 | 3)), "{}", std::io::read_to_string(stderr).unwrap());
    drop(server);
    let summary = run.read().summary;
    let logged = super::chat::logged(&super::chat::joined(&std::fs::read_to_string(&log).unwrap()));
    assert_eq!((summary.messages.missed, summary.messages.recovered), logged, "{:?}", summary.messages);
    assert!(logged.0 > 0 && logged.1 > 0, "{logged:?}");
    assert_eq!(summary.reconnect.recovered, cut as u64);
    // The third witness has the same number of outages, and the same waits; and one between the look at the target before the run, which is client 0's, and
    // its first connection.
    let seen: Value = serde_json::from_str(&ask(&api, "GET /v1/summary")).unwrap();
    let clients = &seen["clients"];
    assert_eq!((&clients["known"], &clients["reconnect_us"]["count"]), (&40.into(), &(cut as u64 + 1).into()), "{seen}");
    let wait = clients["wait_us"]["p50"].as_u64().unwrap();
    assert!((690_000..1_200_000).contains(&wait), "its clients wait 700 ms: {wait} µs");
}

/// What a library told when it was cut, and how the proxy saw it.
#[derive(Debug, serde::Deserialize)]
struct Cut {
    name: String,
    way: String,
    told: String,
    by: String,
    how: String,
    client: Option<u16>,
    server: Option<u16>,
}

#[test]
fn what_client_libraries_report_is_what_the_proxy_saw() {
    if !node("client libraries through the proxy") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut proxy = Proxy::start("127.0.0.1:9", &["--identify", "query:user", "--out", out.to_str().unwrap()]);
    let mut client = Command::new("node");
    let mut client = client.arg("proxied.js").arg(&proxy.api).current_dir(home("tests/node")).stdout(Stdio::piped()).spawn().unwrap();
    let lines: Vec<_> = BufReader::new(client.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
    assert!(client.wait().unwrap().success() && lines.last().is_some_and(|line| line == "ok"), "{lines:#?}");
    let cuts: Vec<Cut> = lines[..lines.len() - 1].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(cuts.len(), 5 * 4, "{cuts:#?}");
    for cut in &cuts {
        let told = &*cut.told;
        let abnormal = told.starts_with("1006") || told.starts_with("transport close") || told.starts_with("transport error");
        let fits = match &*cut.way {
            "fin" | "rst" => (&*cut.by, &*cut.how, cut.server) == ("proxy", &*cut.way, None) && abnormal,
            "code" => {
                let code = told.contains("4001") || told.starts_with("transport close");
                (&*cut.by, &*cut.how, cut.server, cut.client) == ("server", "close", Some(4001), Some(4001)) && code
            }
            // Those that look for silence have ended it by then, or their server has, and it depends on the time who is first.
            _ if ["graphql-ws", "socket.io", "phoenix"].contains(&&*cut.name) => !told.contains("4001"),
            _ => (&*cut.by, &*cut.how, cut.server) == ("proxy", "rst", None) && abnormal,
        };
        assert!(fits, "{cut:#?}");
    }
    let seen: Value = serde_json::from_str(&ask(&proxy.api, "GET /v1/summary")).unwrap();
    assert_eq!((&seen["clients"]["known"], &seen["closes"]["from_server"]["4001"]["count"]), (&5.into(), &5.into()), "{seen}");
    assert!(seen["clients"]["reconnect_us"]["count"].as_u64() >= Some(20), "each came back each time: {seen}");
    proxy.stop();
    let summary = closestorm::results::read(&out).unwrap().summary;
    // The folder has the endings that the libraries told of, and one of each that came with the end of their process.
    let mut codes = BTreeMap::from([("1006".to_owned(), 5)]);
    cuts.iter().for_each(|cut| *codes.entry(if cut.told.contains("4001") { "4001" } else { "1006" }.to_owned()).or_default() += 1);
    assert_eq!(summary.close_codes.client, codes, "{:#?}", summary.endings);
    for cut in cuts.iter().filter(|cut| cut.way == "silence") {
        let fault = format!("silence-{}", cut.name);
        let of_fault = super::ended(&summary, |row| row.fault.as_ref() == Some(&fault) && row.tcp_end.as_deref() == Some("rst"));
        assert_eq!(of_fault, 1, "{fault}: {:#?}", summary.endings);
    }
    let reconnect = &summary.reconnect;
    assert_eq!((reconnect.affected, reconnect.recovered, reconnect.censored), (25, 20, 5), "{reconnect:?}");
    assert_eq!(summary.attempts.counts.opened, 25, "{:?}", summary.attempts);
}
