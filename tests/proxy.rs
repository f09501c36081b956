//! `closestorm proxy` from both of its sides: plain sockets of the kernel as client and as upstream, and the program between them.

#![expect(clippy::disallowed_methods, reason = "real processes in real time, on threads that carry nobody")]

mod faults;
mod fuzz;
mod killed;
mod recorded;
mod toxiproxy;
mod transparent;
mod witness;

use crate::common::{LONG, program};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::thread::{self, JoinHandle};

/// The proxy, running; killed when dropped.
struct Proxy {
    child: Child,
    out: BufReader<ChildStdout>,
    err: Option<ChildStderr>,
    /// Where it listens: the proxy of the command line, or the control API.
    address: SocketAddr,
}

/// A line that says where it listens.
fn listening(line: &str) -> Option<SocketAddr> {
    let said = line.strip_prefix("listening on ").or_else(|| line.strip_prefix("control API on http://"))?;
    said.split(',').next()?.trim().parse().ok()
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    /// Passes on to `upstream`.
    fn to(upstream: &TcpListener, more: &[&str]) -> Proxy {
        let upstream = upstream.local_addr().expect("it is bound").to_string();
        let mut command = Command::new(program());
        command.args(["proxy", "--listen", "127.0.0.1:0", "--upstream", &upstream]).args(more);
        Proxy::start(command)
    }

    fn start(mut command: Command) -> Proxy {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let err = child.stderr.take();
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(out.read_line(&mut line).expect("a pipe") > 0, "it did not say where it listens");
            if let Some(address) = listening(&line) {
                break address;
            }
        };
        Proxy { child, out, err, address }
    }

    /// Where the next thing listens that it tells of.
    fn next_address(&mut self) -> SocketAddr {
        let mut line = String::new();
        assert!(self.out.read_line(&mut line).expect("a pipe") > 0, "it did not say where it listens");
        listening(&line).unwrap_or_else(|| panic!("no address: {line}"))
    }

    fn connect(&self) -> TcpStream {
        limited(TcpStream::connect(self.address).expect("it listens"))
    }

    /// A connection, and its other end at the upstream.
    fn pair(&self, upstream: &TcpListener) -> (TcpStream, TcpStream) {
        let near = self.connect();
        (near, limited(upstream.accept().expect("the proxy connects").0))
    }

    /// Sends a signal; gives the exit code and what was printed.
    fn stop(mut self, signal: Signal) -> (Option<i32>, String, String) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("it runs");
        let (mut out, mut err) = (String::new(), String::new());
        self.out.read_to_string(&mut out).expect("text");
        self.err.take().expect("taken once").read_to_string(&mut err).expect("text");
        (self.child.wait().expect("a child").code(), out, err)
    }
}

/// Does not wait for ever.
fn limited(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(LONG)).expect("a live socket");
    stream.set_write_timeout(Some(LONG)).expect("a live socket");
    stream
}

fn upstream() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

/// How the other side ended: `Ok` with what came before its FIN, or the error of the kernel.
fn to_end(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).map(|_| all)
}

fn is_reset(ended: &std::io::Result<Vec<u8>>) -> bool {
    ended.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

/// The drop that follows sends RST.
fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).expect("a live socket");
}

/// A stream of bytes that says at each place where it is, from a start of its own.
#[derive(Clone)]
struct Numbers(u64);

impl Numbers {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

/// Writes so many bytes in chunks of these sizes, in turn, and a FIN.
fn send(stream: &TcpStream, seed: u64, total: usize, sizes: &'static [usize]) -> JoinHandle<()> {
    let mut stream = stream.try_clone().expect("a descriptor");
    stream.set_nodelay(true).expect("a live socket");
    thread::spawn(move || {
        let (mut numbers, mut left, mut chunk) = (Numbers(seed), total, vec![0; 1 << 16]);
        for size in sizes.iter().cycle() {
            let part = &mut chunk[..left.min(*size)];
            numbers.fill(part);
            stream.write_all(part).expect("the other side reads");
            left -= part.len();
            if left == 0 {
                break;
            }
        }
        stream.shutdown(Shutdown::Write).expect("a live socket");
    })
}

/// Reads to the FIN; what came must be what [`send`] wrote.
fn receive(mut stream: TcpStream, seed: u64, total: usize) -> JoinHandle<()> {
    thread::spawn(move || {
        let (mut numbers, mut count, mut chunk, mut expected) = (Numbers(seed), 0, vec![0; 1 << 16], vec![0; 1 << 16]);
        loop {
            let length = stream.read(&mut chunk).expect("bytes or a FIN");
            if length == 0 {
                break;
            }
            numbers.fill(&mut expected[..length]);
            assert!(chunk[..length] == expected[..length], "behind byte {count}");
            count += length;
        }
        assert_eq!(count, total);
    })
}
