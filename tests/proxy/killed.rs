//! Of a client, a proxy and an upstream one is killed: nothing of it is left at the other two. The kernel's table of sockets is the witness.

use super::toxiproxy::ask;
use super::{Proxy, limited};
use crate::common::{LONG, program};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 50;
/// States of sockets that hold nothing of anybody: TIME_WAIT and LISTEN (include/net/tcp_states.h).
const AT_REST: [&str; 2] = ["06", "0A"];

/// A process; killed when dropped.
struct Running(Child);

impl Running {
    fn kill(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("a child");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `closestorm serve`, and where it listens.
fn server(listen: &str) -> (Running, SocketAddr) {
    let mut command = Command::new(program());
    let mut child =
        Running(command.args(["serve", "--listen", listen]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts"));
    let mut out = BufReader::new(child.0.stdout.take().expect("a pipe"));
    let mut said = String::new();
    let address = loop {
        let mut line = String::new();
        assert!(out.read_line(&mut line).expect("a pipe") > 0, "{said}");
        said += &line;
        let mut words = said.split(|c: char| c.is_whitespace() || c == ',' || c == '/').filter_map(|word| word.parse::<SocketAddr>().ok());
        if let Some(address) = words.next_back() {
            break address;
        }
    };
    // What it says further goes nowhere, and blocks it not.
    thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    (child, address)
}

/// `closestorm run` with clients that come back soon.
fn clients(folder: &Path, name: &str, proxy: SocketAddr) -> Running {
    let file = folder.join("clients.toml");
    let text = format!(
        "duration = \"5m\"\n[target.url]\naddress = \"ws://{proxy}/echo\"\nprobe = false\n[clients.some]\ncount = {CLIENTS}\n\
         arrive = {{ over = \"500ms\" }}\nreconnect = {{ fixed = {{ delay = \"300ms\" }} }}\ntraffic = {{ echo = {{ rate = \"5/s\", payload = \"100B\" }} }}\n"
    );
    fs::write(&file, text).expect("the folder can be written");
    let mut command = Command::new(program());
    command.args(["run", "--quiet", "--out"]).arg(folder.join(name)).arg(&file);
    Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"))
}

/// Sockets of this machine with this port at one of their ends that are in use.
fn in_use(port: u16) -> usize {
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux");
    let port = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| (row[1].ends_with(&port) || row[2].ends_with(&port)) && !AT_REST.contains(&row[3])).count()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LONG, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "long: scripts/test"]
fn a_kill_of_client_upstream_or_proxy_leaves_nothing_hanging() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut upstream, far) = server("127.0.0.1:0");
    let mut command = Command::new(program());
    command.args(["proxy", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--upstream", &far.to_string()]);
    let mut proxy = Proxy::start(command);
    let api = proxy.next_address();
    let near = proxy.address;
    let open = || ask(api, "GET /v1/summary", &Value::Null).json()["connections"]["open"].as_u64();
    let all_open = || open() == Some(CLIENTS as u64);

    let mut first = clients(folder.path(), "first", near);
    until("all clients are connected", all_open);
    first.kill();
    until("connections of killed clients end", || open() == Some(0) && in_use(far.port()) + in_use(near.port()) == 0);

    let _second = clients(folder.path(), "second", near);
    until("all clients are connected again", all_open);
    upstream.kill();
    until("connections to a killed upstream end", || in_use(far.port()) == 0);
    let (_upstream, again) = server(&far.to_string());
    assert_eq!(again, far);
    until("all clients come back", all_open);
    until("both sockets of each connection", || all_open() && [near.port(), far.port()].map(in_use) == [2 * CLIENTS; 2]);

    drop(proxy);
    // The clients try on, and nobody hears them.
    until("connections through a killed proxy end", || in_use(far.port()) == 0 && in_use(near.port()) <= CLIENTS);
    // And the upstream serves others.
    drop(limited(std::net::TcpStream::connect(far).expect("it listens")));
}
