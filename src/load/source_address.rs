//! Which local address a client connects from, so that a crowd does not run out of ports.
//!
//! A connection is told apart by both addresses and both ports: one local address has 28,232 ephemeral ports for one target, and from about
//! 14,000 on the kernel searches long for a free one (measured: 3,000 connects a second where there were 30,000).

use crate::event::ClientIndex;
use crate::plan::{Plan, Target};
use crate::sut::error::RunError;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::Socket;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// From so many clients on addresses are spread on loopback.
const MANY: u32 = 10_000;
/// Clients of one address then: a herd that comes back while its old ports are still in TIME_WAIT fits.
const EACH: u32 = 5_000;

/// Local addresses, in turn by client index; `None`, and none at all: the kernel chooses.
#[derive(Debug)]
pub(crate) struct Sources(Vec<Option<IpAddr>>);

impl Sources {
    /// Those that the plan gives, or those of loopback for a crowd that goes to `target` there.
    ///
    /// # Errors
    /// If a given address is not one of this machine, or not of the target's family.
    pub(crate) fn of(plan: &Plan, target: SocketAddr) -> Result<Self, RunError> {
        let given = match &plan.target {
            Target::Url(remote) => remote.source.as_slice(),
            _ => &[],
        };
        for source in given {
            let wrong = |cause: String| RunError::Source { source_address: *source, cause };
            if source.is_ipv4() != target.is_ipv4() {
                return Err(wrong(format!("the target is {}", target.ip())));
            }
            std::net::UdpSocket::bind((*source, 0)).map_err(|error| wrong(error.to_string()))?;
        }
        Ok(Sources(if given.is_empty() { spread(plan.clients(), target.ip()) } else { given.iter().copied().map(Some).collect() }))
    }

    /// One of its own for each of `clients` in memory, where the kernel has no part in it: there they tell who is who.
    pub(crate) fn one_each(clients: u32) -> Self {
        Sources((0..clients).map(|client| Some(Ipv6Addr::from(1 << 64 | u128::from(client)).into())).collect())
    }

    /// The address of a client.
    pub(crate) fn at(&self, client: ClientIndex) -> Option<IpAddr> {
        self.0.get(client.0 as usize % self.0.len().max(1)).copied().flatten()
    }
}

/// The kernel's choice, which is 127.0.0.1 and spares two system calls, and addresses of 127.100.0.0/16 for `clients` that go to `target`;
/// none where the kernel's choice does.
fn spread(clients: u32, target: IpAddr) -> Vec<Option<IpAddr>> {
    let IpAddr::V4(target) = target else { return Vec::new() };
    if clients <= MANY || !target.is_loopback() {
        return Vec::new();
    }
    let all = (0..=u16::MAX).map(|number| Ipv4Addr::from(0x7f64_0000 | u32::from(number)));
    // No .0 and .255, which look like mistakes in logs; never the target's own, or a socket could connect to itself.
    let usable = all.filter(|address| (1..255).contains(&address.octets()[3]) && *address != target);
    let bound = usable.take(clients.div_ceil(EACH) as usize - 1).map(|address| Some(IpAddr::V4(address)));
    std::iter::once(None).chain(bound).collect()
}

/// Binds a socket to a local address; its port is chosen when it connects, so that all targets can use the same ones.
///
/// # Errors
/// What the kernel says.
pub(crate) fn bind(socket: &Socket, source: IpAddr) -> io::Result<()> {
    setsockopt(socket, sockopt::IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddr::new(source, 0).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_on_loopback_is_spread_and_nobody_else() {
        let loopback = IpAddr::from([127, 0, 0, 1]);
        for (clients, target, expected) in [
            (10_000, loopback, 0),
            (10_001, loopback, 3),
            (100_000, loopback, 20),
            (100_000, IpAddr::from([10, 0, 0, 1]), 0),
            (100_000, "::1".parse().expect("an address"), 0),
            (100_000, IpAddr::from([127, 100, 0, 1]), 20), // without the target's own
        ] {
            let sources = spread(clients, target);
            assert_eq!(sources.len(), expected, "{clients} to {target}");
            let bound: Vec<_> = sources.iter().flatten().collect();
            assert!(!bound.contains(&&target) && bound.iter().all(|address| address.is_loopback()));
            assert_eq!(bound.len(), expected.max(1) - 1, "the kernel chooses one of them");
        }
    }

    #[test]
    fn clients_take_addresses_in_turn() {
        let sources = Sources(spread(15_000, IpAddr::from([127, 0, 0, 1])));
        let last = |client| sources.at(ClientIndex(client)).map(|address| address.to_string());
        assert_eq!(last(0), None);
        assert_eq!(last(1).as_deref(), Some("127.100.0.1"));
        assert_eq!(last(4), last(1));
        assert_eq!(Sources(Vec::new()).at(ClientIndex(7)), None);
    }
}
