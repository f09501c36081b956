//! What an idle proxy costs: messages it passes on for each second of its processor time, memory of a connection, and what it adds to a
//! round trip; beside a forwarder of tokio's own parts and HAProxy in TCP mode on one thread.
//!
//! The proxy has a core of its own, client and server share the other. So the wall clock would say how fast those two are; what counts is
//! the processor time of the proxy.

use super::client::{Client, Who};
use super::machine::Cores;
use super::measure::{self, Bench};
use super::ours;
use super::server::{BACKLOG, Server};
use super::usage::{self, Usage};
use crate::counts::Until;
use crate::job::{Job, Load};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Between client and server, in this order.
pub(crate) const MIDDLES: [&str; 5] = ["direct", "forwarder", "haproxy", "closestorm", FAULTED];
/// Our proxy, while a fault acts on the frames of a connection that is none of the clients'.
pub(crate) const FAULTED: &str = "closestorm (a fault elsewhere)";
/// Bytes of a message, the clients of its closed loop, and the section of its figures.
const SIZES: [(usize, u32, &str); 2] = [(64, 100, "proxy-64B"), (64 << 10, 16, "proxy-64KiB")];
/// Idle connections whose memory is compared.
pub(crate) const IDLE: u32 = 5000;
/// Before figures are taken.
const SETTLE: Duration = Duration::from_millis(700);

/// All of it, one proxy after the other.
pub(crate) fn measure(bench: &mut Bench, port: u16) {
    for middle in MIDDLES {
        for (payload, clients, section) in SIZES {
            bench.attempt(section, middle, |bench| closed(bench, middle, port, payload, clients, section));
        }
        if middle != FAULTED {
            bench.attempt("proxy-rate", middle, |bench| rate(bench, middle, port));
        }
        if !["direct", FAULTED].contains(&middle) {
            bench.attempt("proxy-idle", middle, |bench| idle(bench, middle, port));
        }
    }
}

/// A server, what is in between, and where clients go.
struct Path {
    server: Server,
    middle: Option<Middle>,
    cores: Cores,
    port: u16,
    /// The connection that a fault acts on.
    _faulted: Option<TcpStream>,
}

impl Path {
    fn start(cores: Cores, named: &str, port: u16) -> Result<Path, String> {
        // Client and server share a core.
        let both = Cores { pins: cores.pins.map(|(_, client)| (client, client)) };
        let server = Server::start(both, port)?;
        let near = port + 1;
        let middle = match named {
            "direct" => None,
            other => Some(Middle::start(other, cores, near, port)?),
        };
        let _faulted = if named == FAULTED { Some(faulted(near)?) } else { None };
        let port = if middle.is_some() { near } else { port };
        Ok(Path { server, middle, cores: both, port, _faulted })
    }

    fn client(&self, load: Load, clients: u32, payload: usize) -> Result<Client, String> {
        let addresses = vec![Ipv4Addr::LOCALHOST];
        // HAProxy and the kernel get no more attempts at once than queues hold.
        let job = Job { load, clients, addresses, port: self.port, secure: false, in_flight: 256, payload, seconds: 4.0 };
        Client::start(&Who::Floor, &job, self.cores)
    }

    fn usage(&self) -> Usage {
        self.middle.as_ref().map(|middle| usage::of_tree(middle.0.id())).unwrap_or_default()
    }
}

/// A running proxy, or what keeps a processor awake. Dropping it kills it.
struct Middle(Child);

impl Middle {
    /// Takes the time that nobody else wants; `None` where it cannot be started.
    fn awake(mut command: Command) -> Option<Middle> {
        command.args(["--idle", "0", "sh", "-c", "while :; do :; done"]).spawn().ok().map(Middle)
    }

    /// Starts it and waits until it listens.
    fn start(name: &str, cores: Cores, port: u16, upstream: u16) -> Result<Middle, String> {
        let mut command = match name {
            "forwarder" => {
                let mut command = cores.server(&super::own_program()?);
                command.args(["forward", &port.to_string(), &upstream.to_string(), &BACKLOG.to_string()]);
                command
            }
            "haproxy" => {
                let file = super::work_folder().join("haproxy.cfg");
                fs::write(&file, haproxy(port, upstream)).map_err(|error| format!("{}: {error}", file.display()))?;
                let mut command = cores.server("haproxy");
                command.arg("-db").arg("-f").arg(file);
                command
            }
            _ => {
                let mut command = cores.server(&ours::program());
                command.args([
                    "proxy",
                    "--quiet",
                    "--listen",
                    &format!("127.0.0.1:{port}"),
                    "--upstream",
                    &format!("127.0.0.1:{upstream}"),
                    "--api",
                    &format!("127.0.0.1:{}", port + 1),
                ]);
                command
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut middle = Middle(command.spawn().map_err(|error| format!("{name}: {error}"))?);
        for _ in 0..100 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(middle);
            }
            if let Ok(Some(status)) = middle.0.try_wait() {
                return Err(format!("{name} ended with {status}: is it installed?"));
            }
            super::pause(Duration::from_millis(50));
        }
        Err(format!("{name} does not listen"))
    }
}

/// Opens a connection through our proxy at this port, and has a fault act on its frames for as long as it is held.
fn faulted(port: u16) -> Result<TcpStream, String> {
    let ask = |port: u16, request: &str| -> Result<(TcpStream, String), String> {
        let told = |error: std::io::Error| format!("127.0.0.1:{port}: {error}");
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(told)?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(told)?;
        stream.write_all(request.as_bytes()).map_err(told)?;
        let mut answer = vec![0; 64];
        let length = stream.read(&mut answer).map_err(told)?;
        Ok((stream, String::from_utf8_lossy(&answer[..length]).into_owned()))
    };
    let upgrade = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let (held, answer) = ask(port, upgrade)?;
    if !answer.starts_with("HTTP/1.1 101") {
        return Err(format!("the proxy answers {answer:?}"));
    }
    // The first connection was the look whether it listens.
    let fault = r#"{"inject": {"pong_drop": {}}, "proxy": "proxy", "connection": 2}"#;
    let post = format!("POST /v1/faults HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: {}\r\n\r\n{fault}", port + 1, fault.len());
    let (_, answer) = ask(port + 1, &post)?;
    if !answer.starts_with("HTTP/1.1 2") {
        return Err(format!("the fault is answered with {answer:?}"));
    }
    Ok(held)
}

impl Drop for Middle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn haproxy(port: u16, upstream: u16) -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 9000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
         listen it\n  bind 127.0.0.1:{port} backlog {BACKLOG}\n  server upstream 127.0.0.1:{upstream}\n"
    )
}

/// A closed loop: messages a second, and processor time of the proxy for each, µs.
fn closed(bench: &mut Bench, middle: &str, port: u16, payload: usize, clients: u32, section: &str) -> Result<(), String> {
    let mut path = Path::start(bench.cores, middle, port)?;
    let mut client = path.client(Load::Closed, clients, payload)?;
    measure::wait(&mut path.server, &mut client, Until::Echoed(u64::from(clients)))?;
    super::pause(SETTLE);
    let (before, used) = (path.server.counts()?, path.usage());
    super::pause(Duration::from_secs(3));
    let (after, using) = (path.server.counts()?, path.usage());
    let (per_s, cpu_us) = measure::between(before, used, after, using);
    bench.samples.add(section, middle, "per_s", per_s);
    if path.middle.is_some() {
        bench.samples.add(section, middle, "per_cpu_s", 1e6 / cpu_us);
    }
    Ok(())
}

/// 1,000 messages a second of 100 clients: round trips as the client sees them, µs. What only waits keeps both processors awake: to wake a
/// virtual one that stands still takes longer than what is measured.
fn rate(bench: &mut Bench, middle: &str, port: u16) -> Result<(), String> {
    let mut path = Path::start(bench.cores, middle, port)?;
    let _awake = [Middle::awake(bench.cores.server("chrt")), Middle::awake(bench.cores.client("chrt"))];
    let mut client = path.client(Load::Rate(1000.0), 100, 64)?;
    measure::wait(&mut path.server, &mut client, Until::Echoed(1000))?;
    let folder = client.finish(Duration::from_secs(30))?;
    let (p50, p99, late) = measure::own_latency(&folder)?;
    for (figure, value) in [("p50_us", p50), ("p99_us", p99), ("late", late)] {
        bench.samples.add("proxy-rate", middle, figure, value);
    }
    Ok(())
}

/// Resident memory of an idle connection, B: with 5,000 against with one.
fn idle(bench: &mut Bench, middle: &str, port: u16) -> Result<(), String> {
    let mut resident = [0.0; 2];
    for (resident, clients) in resident.iter_mut().zip([1, IDLE]) {
        let mut path = Path::start(bench.cores, middle, port)?;
        let mut client = path.client(Load::Idle, clients, 64)?;
        let counts = measure::wait(&mut path.server, &mut client, Until::Opened(clients.into()))?;
        super::pause(SETTLE);
        if counts.open < u64::from(clients) {
            return Err(format!("{} of {clients} are open", counts.open));
        }
        *resident = path.usage().rss_kib;
    }
    bench.samples.add("proxy-idle", middle, "bytes", (resident[1] - resident[0]) * 1024.0 / f64::from(IDLE - 1));
    Ok(())
}
