//! Ports for servers that come and go: refused while the server is down, and never taken by somebody else meanwhile.
//!
//! Two dangers while nobody listens: a client's connect may be given that very port as its source and so connect to itself
//! (simultaneous open), or another process may take it. The first is excluded by ports outside the ephemeral range, the second,
//! for servers that can share a port, by a socket that holds it.

use crate::transport::clock::monotonic_ns;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lowest port handed out: below are those of well-known services.
const LOWEST: u16 = 10_000;
/// What Linux has unless told otherwise (ip(7)).
const EPHEMERAL_DEFAULT: RangeInclusive<u16> = 32_768..=60_999;

/// A port that refuses connections and is kept for whoever binds it with SO_REUSEPORT (same user).
///
/// Holds a bound socket that never listens. Dropping it gives the port back.
#[derive(Debug)]
pub struct Reserved {
    addr: SocketAddr,
    _held: Socket,
}

impl Reserved {
    /// Reserves a free port of this address, outside the ephemeral range where that leaves any.
    ///
    /// Errors: `AddrNotAvailable` if `ip` is not of this machine, `AddrInUse` if no port is free.
    pub fn new(ip: IpAddr) -> io::Result<Self> {
        first_free(|port| {
            let addr = SocketAddr::new(ip, port);
            let socket = bind_alone(addr)?;
            // Shared only now: bound with SO_REUSEPORT from the start, a second closestorm of this user would get the same port.
            socket.set_reuse_port(true)?;
            // The dead server's last connections linger on the port (FIN_WAIT, TIME_WAIT) and must not keep its successor away.
            socket.set_reuse_address(true)?;
            Ok(Self { addr, _held: socket })
        })
    }

    /// Reserves this address; port 0 is any free one, as of [`Reserved::new`].
    ///
    /// Errors: `AddrInUse` if somebody else listens there.
    pub fn at(addr: SocketAddr) -> io::Result<Self> {
        if addr.port() == 0 {
            return Self::new(addr.ip());
        }
        let socket = bind_alone(addr)?;
        socket.set_reuse_port(true)?;
        socket.set_reuse_address(true)?;
        Ok(Self { addr, _held: socket })
    }

    /// Where the server is to listen.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// A port that nobody uses, on any address, outside the ephemeral range: no client of this machine is ever given it.
///
/// Nothing holds it, so another process may take it before the server binds; successive calls give different ports.
/// Where the ephemeral range leaves no port from 10,000 on, the port is from within. Errors: `AddrInUse` if no port is free.
pub fn free_port() -> io::Result<u16> {
    first_free(|port| {
        let _v4 = bind_alone((Ipv4Addr::UNSPECIFIED, port).into())?;
        match bind_alone((Ipv6Addr::UNSPECIFIED, port).into()) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => Err(error),
            _ => Ok(port), // free, or a machine without IPv6
        }
    })
}

/// Whether a server could listen there now; `true` also where this cannot be known (an address of another machine, a privileged port).
pub fn is_free(addr: SocketAddr) -> bool {
    let bound = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP)).and_then(|socket| {
        // As servers do, so that lingering connections of the server before do not count. No listen: clients that come back
        // meanwhile must stay refused.
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())
    });
    !bound.is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
}

/// The ports that the kernel gives to clients.
pub fn ephemeral_range() -> RangeInclusive<u16> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    parse_range(&text).unwrap_or(EPHEMERAL_DEFAULT)
}

fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (low, high) = text.trim().split_once(char::is_whitespace)?;
    Some(low.parse().ok()?..=high.trim().parse().ok()?)
}

/// Tries ports until one is not in use.
fn first_free<T>(take: impl Fn(u16) -> io::Result<T>) -> io::Result<T> {
    let candidates = candidates(&ephemeral_range());
    let begin = start(candidates.len());
    for step in 0..candidates.len() {
        match take(candidates[(begin + step) % candidates.len()]) {
            Err(error) if matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied) => {}
            outcome => return outcome,
        }
    }
    Err(io::Error::new(ErrorKind::AddrInUse, "all ports from 10000 on are in use"))
}

fn candidates(ephemeral: &RangeInclusive<u16>) -> Vec<u16> {
    let outside: Vec<u16> = (LOWEST..=u16::MAX).filter(|port| !ephemeral.contains(port)).collect();
    // `1024 65535` is a common setting on load generators.
    if outside.is_empty() { (LOWEST..=u16::MAX).collect() } else { outside }
}

/// Where to begin: elsewhere in each process and at each call, so that runs side by side seldom try the same port.
/// Which port it is has no influence on a run, so this is not one of its random streams.
fn start(len: usize) -> usize {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let calls = CALLS.fetch_add(1, Ordering::Relaxed);
    let mixed = (monotonic_ns() ^ u64::from(std::process::id()).rotate_left(32)).wrapping_add(calls).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 32) as usize % len
}

/// Binds without any sharing, so that it fails if anybody has the port, listening or not.
fn bind_alone(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn listen_shared(addr: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_port(true)?;
        socket.bind(&addr.into())?;
        socket.listen(16)?;
        Ok(socket)
    }

    fn connect_error(addr: SocketAddr) -> Option<ErrorKind> {
        TcpStream::connect(addr).err().map(|error| error.kind())
    }

    #[test]
    fn a_reserved_port_refuses_serves_and_refuses_again() {
        let reserved = Reserved::new(LOOPBACK).unwrap();
        assert_eq!(connect_error(reserved.addr()), Some(ErrorKind::ConnectionRefused));
        for _ in 0..3 {
            let server = listen_shared(reserved.addr()).unwrap();
            let client = TcpStream::connect(reserved.addr()).unwrap();
            let (accepted, _) = server.accept().unwrap();
            drop(accepted); // the server closes first: FIN_WAIT and TIME_WAIT stay on the port
            drop(server);
            assert_eq!(connect_error(reserved.addr()), Some(ErrorKind::ConnectionRefused));
            drop(client);
        }
    }

    #[test]
    fn a_reserved_port_is_nobody_elses() {
        let reserved = Reserved::new(LOOPBACK).unwrap();
        assert_eq!(bind_alone(reserved.addr()).unwrap_err().kind(), ErrorKind::AddrInUse);
        let others: Vec<Reserved> = (0..50).map(|_| Reserved::new(LOOPBACK).unwrap()).collect();
        assert!(others.iter().all(|other| other.addr() != reserved.addr()));
    }

    #[test]
    fn a_reservation_of_a_foreign_address_fails() {
        let foreign = "192.0.2.1".parse().unwrap(); // RFC 5737: documentation
        assert_eq!(Reserved::new(foreign).unwrap_err().kind(), ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn free_ports_are_outside_the_ephemeral_range_and_can_be_bound() {
        let ephemeral = ephemeral_range();
        for _ in 0..20 {
            let port = free_port().unwrap();
            assert!(!ephemeral.contains(&port) || candidates(&ephemeral).contains(&port));
            TcpListener::bind((LOOPBACK, port)).unwrap();
        }
    }

    #[test]
    fn candidates_avoid_the_ephemeral_range_where_they_can() {
        let table = [
            (32_768..=60_999, 10_000, 65_535, 27_304), // Linux
            (49_152..=65_535, 10_000, 49_151, 39_152), // RFC 6335
            (1_024..=65_535, 10_000, 65_535, 55_536),  // nothing is left outside: taken from within
        ];
        for (ephemeral, first, last, count) in table {
            let found = candidates(&ephemeral);
            assert_eq!((found[0], found[found.len() - 1], found.len()), (first, last, count), "{ephemeral:?}");
        }
    }

    #[test]
    fn the_kernels_range_is_read() {
        assert_eq!(parse_range("32768\t60999\n"), Some(32_768..=60_999));
        assert_eq!(parse_range(""), None);
    }

    #[test]
    fn a_listening_server_takes_its_port() {
        let server = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let addr = server.local_addr().unwrap();
        assert!(!is_free(addr));
        drop(server);
        assert!(is_free(addr));
        assert!(is_free("192.0.2.1:80".parse().unwrap()), "an address of another machine cannot be judged");
    }
}
