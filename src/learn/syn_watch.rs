//! Attempts to connect to a closed port: the kernel refuses them and tells nobody, but whoever may read raw packets sees them come.

use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read};
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// Enough of a packet: the longest header of IPv4, and flags of TCP.
const HEAD: usize = 60 + 20;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// Sees attempts to connect to one port over IPv4.
pub(super) struct SynWatch {
    socket: AsyncFd<Socket>,
    port: u16,
}

impl SynWatch {
    /// From now on.
    ///
    /// # Errors
    /// This process may not read raw packets: it needs the capability CAP_NET_RAW.
    pub(super) fn of(port: u16) -> io::Result<SynWatch> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        // As of the timer of `load/pacer.rs`: the type owns its descriptor, and the replacement is unsafe.
        #[expect(deprecated)]
        let socket = AsyncFd::new(socket)?;
        Ok(SynWatch { socket, port })
    }

    /// When the next attempt comes. Cancel-safe.
    ///
    /// # Errors
    /// Of the socket.
    pub(super) async fn next(&mut self) -> io::Result<Instant> {
        loop {
            let mut guard = self.socket.readable().await?;
            let mut packet = [0; HEAD];
            match guard.try_io(|socket| socket.get_ref().read(&mut packet)) {
                Ok(Ok(length)) if begins_connection(&packet[..length], self.port) => return Ok(Instant::now()),
                Ok(Err(error)) => return Err(error),
                Ok(Ok(_)) | Err(_) => {}
            }
        }
    }
}

/// Whether a packet of IPv4 is a SYN of a client to this port.
fn begins_connection(packet: &[u8], port: u16) -> bool {
    let Some(first) = packet.first() else { return false };
    let Some(segment) = packet.get(usize::from(first & 15) * 4..) else { return false };
    segment.get(2..4) == Some(&port.to_be_bytes()) && segment.get(13).is_some_and(|flags| flags & (SYN | ACK) == SYN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syn_to_the_port_is_told_from_all_else() {
        let packet = |header: u8, port: u16, flags: u8| {
            let mut bytes = vec![0; usize::from(header) * 4 + 20];
            bytes[0] = 0x40 | header;
            let at = usize::from(header) * 4;
            bytes[at + 2..at + 4].copy_from_slice(&port.to_be_bytes());
            bytes[at + 13] = flags;
            bytes
        };
        assert!(begins_connection(&packet(5, 8080, SYN), 8080));
        assert!(begins_connection(&packet(15, 8080, SYN), 8080), "with options of IPv4");
        for (other, why) in [
            (packet(5, 8081, SYN), "another port"),
            (packet(5, 8080, SYN | ACK), "an answer"),
            (packet(5, 8080, ACK), "of an open connection"),
            (packet(5, 8080, SYN)[..30].to_vec(), "cut"),
            (Vec::new(), "nothing"),
        ] {
            assert!(!begins_connection(&other, 8080), "{why}");
        }
    }
}
