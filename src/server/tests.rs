//! What a server tells of real clients that it did not let in.

use super::*;
use crate::server::in_memory::InMemoryServer;
use crate::server::protocol::ToServer;
use crate::transport::clock::Clock;
use crate::transport::memory::network::Network;
use crate::transport::tls::Identity;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

const ASKS: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: \
                    dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A client has sent `first` to a server for real clients; the next of its reports is that it came. It is numbered at once, or when a fault has
/// closed the listening socket. How its attempt is told.
async fn told(first: &str, identity: Option<Identity>, closes: bool) -> (Stage, Outcome) {
    let (network, (reports, mut told), (command, commands)) = (Network::default(), mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let settings = crate::plan::Embedded { tls: identity.is_some(), ..crate::plan::Embedded::default() };
    let (memory, key) = (crate::ws::memory::limit(), None);
    let spec = ServerSpec { instance: 0, process: 0, processes: 1, address, seed: 1, settings, identity, memory, key, real: true };
    let _server =
        InMemoryServer::start(spec, Some(&network), Clock::Machine, reports, commands, std::iter::empty()).expect("nobody is there");
    let end = network.connect(IpAddr::V4(Ipv4Addr::LOCALHOST), address).await.expect("it listens");
    let mut client = ByteStream::from(end);
    client.write_all(first.as_bytes()).await.expect("it is open");
    let id = Id { client: ClientIndex(7), connection: ConnectionNo(1) };
    loop {
        match told.recv().await.expect("it goes on") {
            FromServer::Came { ticket, .. } => {
                if closes {
                    let firing = Firing { fault: 0, number: 0 };
                    command.send(ToServer::Listener { firing, on: OnListener::Closed, instance: None }).expect("it obeys");
                    assert!(client.read_u8().await.is_err(), "it is reset before its number has come");
                }
                command.send(ToServer::Numbered { ticket, id: Some(id) }).expect("it obeys");
            }
            FromServer::NotOpened { id: of, stage, outcome, fault: None, .. } if of == id => return (stage, outcome),
            FromServer::Listening { .. } | FromServer::Reached { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn each_real_client_that_came_and_was_not_let_in_is_told() {
    let identity = Identity::generate().expect("a certificate");
    let failed = |why: &str| Outcome::Failed { why: why.to_owned() };
    let table = [
        (told(ASKS, None, true), (Stage::Upgrade, failed(CLOSED))),
        (told("no TLS at all\r\n", Some(identity), false), (Stage::Tls, failed(handshake_faults::NO_TLS))),
    ];
    for (telling, expected) in table {
        assert_eq!(timeout(Duration::from_secs(20), telling).await.expect("it is told"), expected);
    }
}
