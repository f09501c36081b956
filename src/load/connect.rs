//! TCP connects, with the first bytes right behind; and ways to a place that are more than that: several addresses, a Unix socket, a proxy.
//!
//! Within a machine the kernel has connected by the time the call returns: what is written then leaves at once, and a connect that failed
//! says so. No wake-up lies between, and no question after the socket's error. Elsewhere the kernel takes no bytes yet, and the runtime waits.

use crate::event::{Outcome, Stage};
use crate::load::source_address;
use crate::reconnect::NextAddress;
use crate::sut::endpoint::{Detour, Endpoint};
use crate::transport::local_limit::local_limit;
use crate::transport::memory;
use crate::transport::send_limit::SendLimit;
use crate::transport::socket::ByteStream;
use crate::ws::handshake::failure::{Failure, fail};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use nix::errno::Errno;
use socket2::{Domain, Socket, Type};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

/// Between two looks at a Unix socket whose queue is full: the kernel does not tell when there is room.
const FULL: Duration = Duration::from_millis(5);
/// Longest head of a proxy's answer, bytes.
const PROXY_HEAD_MAX: usize = 16 * 1024;

/// What is to be connected.
pub(crate) enum Dial<'a> {
    /// A socket.
    Socket(std::net::TcpStream),
    /// A connection in memory. Boxed: its timer would make every attempt larger.
    Memory(BoxFuture<'a, io::Result<memory::MemoryEnd>>),
    /// Several things, one after the other.
    Detour(BoxFuture<'a, Result<ByteStream, Failure>>),
}

/// What became of the first bytes.
#[derive(Debug)]
pub(crate) enum First {
    /// TCP is open and the kernel took so many, or said why it does not.
    Sent(io::Result<usize>),
    /// The peer has not answered yet.
    Waiting,
}

impl<'a> Dial<'a> {
    /// For a place, from `source` where there is one; `sends` limits what a proxy is asked; `first`: with which of several addresses to begin, and
    /// `library`: what the client's library does about further ones.
    ///
    /// # Errors
    /// No file descriptor, or no such address.
    pub(crate) fn new(
        place: &'a Endpoint,
        (source, sends): (Option<IpAddr>, Option<&'a Arc<SendLimit>>),
        library: NextAddress,
        first: impl FnOnce(&Detour) -> usize,
    ) -> Result<Self, Failure> {
        if let Some(detour) = place.detour(library) {
            let next = detour.next(library);
            let answered = || detour.addresses.iter().position(|address| *address == place.address).unwrap_or(0);
            let first = if next == NextAddress::Never { answered() } else { first(detour) };
            return Ok(Dial::Detour(Box::pin(around(detour, (first, next), source, sends))));
        }
        match &place.memory {
            Some(network) => Ok(Dial::Memory(Box::pin(network.connect(source.unwrap_or(place.address.ip()), place.address)))),
            None => Self::socket(place.address, source),
        }
    }

    fn socket(target: SocketAddr, source: Option<IpAddr>) -> Result<Self, Failure> {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM.nonblocking(), None).map_err(|error| failed(&error))?;
        if let Some(source) = source {
            source_address::bind(&socket, source).map_err(|error| failed(&error))?;
        }
        Ok(Dial::Socket(socket.into()))
    }

    /// Whether bytes may be there to be sent right behind the connect: in memory one waits.
    pub(crate) fn may_send(&self) -> bool {
        matches!(self, Dial::Socket(_))
    }

    /// Makes the kernel wait with its acknowledgement of the connect for the first bytes, which carry it: one packet less, and one wake-up
    /// of the server. Without bytes it goes out after 200 ms at most.
    pub(crate) fn expect_bytes(&self) {
        if let Dial::Socket(socket) = self {
            // Where it fails the acknowledgement goes out by itself.
            let _ = socket2::SockRef::from(socket).set_tcp_quickack(false);
        }
    }

    /// Begins to connect.
    ///
    /// # Errors
    /// What the kernel says at once.
    pub(crate) fn begin(&self, target: SocketAddr) -> Result<(), Failure> {
        let Dial::Socket(socket) = self else { return Ok(()) };
        match socket2::SockRef::from(socket).connect(&target.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(failed(&error)),
            _ => Ok(()),
        }
    }

    /// Sends the first bytes, if TCP is open already.
    ///
    /// # Errors
    /// Why it will never be.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<First, Failure> {
        let Dial::Socket(socket) = self else { return Ok(First::Waiting) };
        let mut socket = socket;
        match socket.write(bytes) {
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EAGAIN | Errno::ENOTCONN) => Ok(First::Waiting),
                // Only what was open can be reset: of a connect a RST makes ECONNREFUSED (tcp(7)).
                Some(Errno::ECONNRESET | Errno::EPIPE) => Ok(First::Sent(Err(error))),
                _ => Err(failed(&error)),
            },
            sent => Ok(First::Sent(sent)),
        }
    }

    /// The connection, when the first bytes were sent.
    ///
    /// # Errors
    /// The runtime does not take it.
    pub(crate) fn opened(self) -> Result<ByteStream, Failure> {
        match self {
            Dial::Socket(socket) => taken(socket).map(ByteStream::Tcp),
            Dial::Memory(_) | Dial::Detour(_) => Err(failed(&io::ErrorKind::NotConnected.into())),
        }
    }

    /// Waits until TCP is open.
    ///
    /// # Errors
    /// Why it will never be.
    pub(crate) async fn wait(self) -> Result<ByteStream, Failure> {
        let stream = match self {
            Dial::Memory(connect) => return connect.await.map(ByteStream::Memory).map_err(|error| failed(&error)),
            Dial::Detour(connect) => return connect.await,
            Dial::Socket(socket) => taken(socket)?,
        };
        // A socket becomes writable when its connect is over, either way (connect(2)).
        stream.writable().await.map_err(|error| failed(&error))?;
        match stream.take_error() {
            Ok(None) => Ok(ByteStream::Tcp(stream)),
            Ok(Some(error)) | Err(error) => Err(failed(&error)),
        }
    }
}

/// A connection by a detour: to an address, from `first` on, that takes it, or to a Unix socket; and through a proxy where there is one.
async fn around(
    detour: &Detour,
    (first, next): (usize, NextAddress),
    source: Option<IpAddr>,
    sends: Option<&Arc<SendLimit>>,
) -> Result<ByteStream, Failure> {
    if let Some(path) = &detour.socket {
        return unix(path).await;
    }
    let count = detour.addresses.len();
    let tries = if next == NextAddress::Never { 1 } else { count };
    let connect = |step: usize| async move {
        let address = detour.addresses[(first + step) % count];
        // A local address of the other family is of no use here.
        let dial = Dial::socket(address, source.filter(|source| source.is_ipv4() == address.is_ipv4()))?;
        dial.begin(address)?;
        dial.wait().await
    };
    let mut last = failed(&io::ErrorKind::AddrNotAvailable.into());
    let (mut under_way, mut tried) = (FuturesUnordered::new(), 0);
    loop {
        if tried < tries {
            under_way.push(connect(tried));
            tried += 1;
        }
        let found = match next.after().filter(|_| tried < tries) {
            Some(after) => timeout(after, under_way.next()).await,
            None => Ok(under_way.next().await),
        };
        match found {
            Ok(Some(Ok(stream))) => {
                return match &detour.connect {
                    Some(head) => through_proxy(stream, head, sends).await,
                    None => Ok(stream),
                };
            }
            // A limit of this machine is none of the address.
            Ok(Some(Err(failure))) if failure.local.is_some() => return Err(failure),
            Ok(Some(Err(failure))) => last = failure,
            Ok(None) => return Err(last),
            Err(_) => {
                last = failed(&io::ErrorKind::TimedOut.into());
                if matches!(next, NextAddress::Abandoned(_)) {
                    under_way.clear();
                }
            }
        }
    }
}

/// A connection to a socket of this machine. One that is not there is refused: servers take their socket away when they stop.
async fn unix(path: &str) -> Result<ByteStream, Failure> {
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => {
                let socket = stream.into_std().map_err(|error| failed(&error))?;
                return taken(OwnedFd::from(socket).into()).map(ByteStream::Tcp);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(FULL).await,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Failure { stage: Stage::Tcp, outcome: Outcome::Refused, fault: None, local: None });
            }
            Err(error) => return Err(failed(&error)),
        }
    }
}

/// Asks a proxy to connect to the target. What stands behind the head of its answer is the target's, and stays in the socket.
async fn through_proxy(stream: ByteStream, head: &[u8], sends: Option<&Arc<SendLimit>>) -> Result<ByteStream, Failure> {
    const END: &[u8] = b"\r\n\r\n";
    let wrong = |why: &str| fail(Stage::Tcp, &format!("proxy: {why}"));
    let ended = |error: io::Error| wrong(&format!("it ended the connection instead of an answer: {}", error.kind()));
    let ByteStream::Tcp(mut stream) = stream else { return Err(wrong("it is not connected by TCP")) };
    if let Some(sends) = sends {
        sends.write(head.len()).await;
    }
    stream.write_all(head).await.map_err(ended)?;
    let (mut answer, mut block) = (Vec::new(), [0; 1024]);
    let mut whole = false;
    while !whole {
        if answer.len() >= PROXY_HEAD_MAX {
            let is_http = answer.starts_with(b"HTTP/");
            return Err(wrong(if is_http { "the head of its answer is longer than 16 KiB" } else { "its answer is not HTTP" }));
        }
        let length = stream.peek(&mut block).await.map_err(ended)?;
        if length == 0 {
            return Err(ended(io::ErrorKind::UnexpectedEof.into()));
        }
        let (before, begin) = (answer.len(), answer.len().saturating_sub(END.len() - 1));
        answer.extend_from_slice(&block[..length]);
        let end = answer[begin..].windows(END.len()).position(|window| window == END).map(|at| begin + at + END.len());
        whole = end.is_some();
        answer.truncate(end.unwrap_or(answer.len()));
        let used = answer.len() - before;
        stream.read_exact(&mut block[..used]).await.map_err(ended)?;
    }
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    match (response.parse(&answer), response.code) {
        (Ok(_), Some(200..300)) => Ok(ByteStream::Tcp(stream)),
        (Ok(_), Some(status)) => Err(wrong(&format!("it answered CONNECT with HTTP {status}"))),
        (Err(httparse::Error::TooManyHeaders), _) => Err(wrong("its answer has more than 64 header fields")),
        _ => Err(wrong("its answer is not HTTP")),
    }
}

/// A socket in the runtime.
fn taken(socket: std::net::TcpStream) -> Result<TcpStream, Failure> {
    TcpStream::from_std(socket).map_err(|error| failed(&error))
}

/// What the kernel said to a connect.
fn failed(error: &io::Error) -> Failure {
    let local = local_limit(error);
    let outcome = match (local, error.raw_os_error().map(Errno::from_raw)) {
        (Some(limit), _) => Outcome::Failed { why: limit.to_owned() },
        (_, Some(Errno::ECONNREFUSED)) => Outcome::Refused,
        (_, Some(Errno::ETIMEDOUT)) => Outcome::TimedOut,
        (_, None) if error.kind() == io::ErrorKind::TimedOut => Outcome::TimedOut,
        _ => Outcome::Failed { why: format!("tcp: {}", error.kind()) },
    };
    Failure { stage: Stage::Tcp, outcome, fault: None, local }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{Ipv4Addr, TcpListener};

    fn listener(backlog: i32) -> (TcpListener, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
        socket.listen(backlog).expect("it is bound");
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().expect("it is bound");
        (listener, address)
    }

    fn dial(address: SocketAddr) -> Dial<'static> {
        let dial = Dial::socket(address, None).expect("a socket");
        dial.begin(address).expect("under way");
        dial
    }

    #[test]
    fn what_is_sent_right_behind_the_connect_arrives() {
        let (listener, address) = listener(8);
        let dial = dial(address);
        assert!(matches!(dial.send(b"GET"), Ok(First::Sent(Ok(3)))));
        let mut bytes = [0; 3];
        listener.accept().expect("it is there").0.read_exact(&mut bytes).expect("three bytes");
        assert_eq!(&bytes, b"GET");
    }

    #[test]
    fn a_refused_connect_is_told_by_the_first_bytes() {
        let (closed, address) = listener(8);
        drop(closed);
        let failure = dial(address).send(b"GET").expect_err("nobody listens");
        assert_eq!((failure.stage, failure.outcome), (Stage::Tcp, Outcome::Refused));
    }

    #[test]
    fn a_connection_that_was_reset_had_been_open() {
        let (listener, address) = listener(8);
        let dial = dial(address);
        let accepted = Socket::from(listener.accept().expect("it is there").0);
        accepted.set_linger(Some(std::time::Duration::ZERO)).expect("a live socket");
        drop(accepted);
        match dial.send(b"GET") {
            Ok(First::Sent(Err(error))) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
            other => panic!("{other:?}"),
        }
    }

    /// Through a proxy that answers with these pieces; what is read from it behind its head.
    async fn through(pieces: &'static [&'static [u8]]) -> Result<Vec<u8>, Failure> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let proxy = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("it is there");
            stream.set_nodelay(true).expect("a live socket");
            stream.read_exact(&mut [0; 7]).await.expect("a head");
            for piece in pieces {
                stream.write_all(piece).await.expect("it reads");
                sleep(Duration::from_millis(5)).await;
            }
        });
        let stream = ByteStream::Tcp(TcpStream::connect(address).await.expect("it listens"));
        let behind = match through_proxy(stream, b"CONNECT", None).await {
            Ok(ByteStream::Tcp(mut stream)) => {
                let mut behind = Vec::new();
                stream.read_to_end(&mut behind).await.map(|_| behind).map_err(|error| failed(&error))
            }
            Ok(_) => panic!("by TCP"),
            Err(failure) => Err(failure),
        };
        proxy.await.expect("it answers");
        behind
    }

    #[tokio::test]
    async fn what_stands_behind_a_proxys_head_is_the_targets() {
        const OK: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
        for pieces in [
            &[b"HTTP/1.1 200 OK\r\nVia: p\r\n\r\nbehind" as &[u8]] as &[_],
            &[b"HTTP/1.1 200 OK\r" as &[u8], b"\n\r", b"\nbe", b"hind"],
            &[OK, b"behind"],
            &[b"H" as &[u8], b"TTP/1.1 200 OK\r\n\r\nbehind"],
        ] {
            assert_eq!(through(pieces).await.ok().as_deref(), Some(&b"behind"[..]), "{pieces:?}");
        }
        let why = |failure: Failure| format!("{:?}", failure.outcome);
        assert!(through(&[b"HTTP/1.1 200 OK\r\n"]).await.is_err_and(|failure| why(failure).contains("instead of an answer")));
        assert!(through(&[b"HTTP/1.1 403 No\r\n\r\n"]).await.is_err_and(|failure| why(failure).contains("HTTP 403")));
        assert!(through(&[&[b'x'; 20_000]]).await.is_err_and(|failure| why(failure).contains("not HTTP")));
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(20_000)).leak();
        assert!(through(vec![endless.as_bytes()].leak()).await.is_err_and(|failure| why(failure).contains("longer than 16 KiB")));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(65)).leak();
        assert!(through(vec![many.as_bytes()].leak()).await.is_err_and(|failure| why(failure).contains("more than 64 header fields")));
    }

    #[test]
    fn a_connect_that_nobody_answers_waits() {
        // A queue that is full drops SYNs (net.ipv4.tcp_abort_on_overflow is 0).
        let (_listener, address) = listener(0);
        let mut open = Vec::new();
        let waiting = (0..8).any(|_| {
            open.push(dial(address));
            matches!(open[open.len() - 1].send(b"GET"), Ok(First::Waiting))
        });
        assert!(waiting, "{} connections fit into a queue of none", open.len());
    }
}
