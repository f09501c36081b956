//! What our own peers answer to a peer that breaks the protocol: a Close frame with the RFC's code, and FIN, though bytes are on
//! their way to them (RFC 6455 §7.1.7). The breaker is a plain socket.

use super::arms::Server;
use super::frame::{BINARY, CLOSE, PING, TEXT};
use super::wire::{End, head, request, upgrade};
use crate::common::LONG;
use closestorm::plan::Embedded;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// More than both kernels' buffers hold, so that an answer that does not drain becomes an RST.
const MORE: usize = 8 << 20;

/// What the breaker sends: first byte, declared length where it is not the payload's, payload; and the code that answers it.
struct Break {
    first: u8,
    declared: Option<u64>,
    payload: Vec<u8>,
    wrong_mask: bool,
    code: u16,
}

fn breaks() -> Vec<Break> {
    let broken = |first, payload: &[u8], code| Break { first, declared: None, payload: payload.to_vec(), wrong_mask: false, code };
    vec![
        broken(TEXT | 0x40, b"a reserved bit", 1002),
        broken(0x83, b"a reserved opcode", 1002),
        broken(PING & 0x7f, b"a fragmented ping", 1002),
        broken(PING, &[b'x'; 126], 1002),
        broken(0x80, b"nothing to continue", 1002),
        Break { wrong_mask: true, ..broken(TEXT, b"mask", 1002) },
        broken(CLOSE, &[3], 1002),
        broken(CLOSE, &999_u16.to_be_bytes(), 1002),
        Break { wrong_mask: true, ..broken(CLOSE, &1000_u16.to_be_bytes(), 1002) },
        broken(TEXT, &[b'a', 0xc0, 0xaf], 1007),
        broken(CLOSE, &[3, 232, 0xff], 1007),
        Break { declared: Some(65 << 20), ..broken(BINARY, &vec![0; MORE], 1009) },
    ]
}

impl Break {
    /// Its bytes, sent by a client or a server. The masking key is zero, so that payloads read the same.
    fn bytes(&self, client: bool) -> Vec<u8> {
        let mask = client != self.wrong_mask;
        let bit = if mask { 0x80 } else { 0 };
        let mut bytes = vec![self.first];
        match self.declared.unwrap_or(self.payload.len() as u64) {
            short @ 0..=125 => bytes.push(bit | short as u8),
            middle @ 126..=0xffff => {
                bytes.push(bit | 126);
                bytes.extend((middle as u16).to_be_bytes());
            }
            long => {
                bytes.push(bit | 127);
                bytes.extend(long.to_be_bytes());
            }
        }
        bytes.extend(if mask { &[0; 4][..] } else { &[] });
        bytes.extend(&self.payload);
        bytes
    }
}

/// Sends the bytes, and reads to the end of TCP. Returns the status code of the one frame that came, and the end.
async fn provoke(mut stream: TcpStream, broken: &Break, client: bool) -> (Option<u16>, End) {
    let (mut read, mut write) = stream.split();
    let sending = async {
        // Fails where an RST came; reading tells.
        let _ = write.write_all(&broken.bytes(client)).await;
        if broken.first == CLOSE && !client {
            // Behind Close frames a server ends TCP first.
            let _ = write.shutdown().await;
        }
    };
    let reading = async {
        let mut seen = Vec::new();
        let end = match read.read_to_end(&mut seen).await {
            Ok(_) => End::Fin,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => End::Rst,
            Err(error) => panic!("{error}"),
        };
        (seen, end)
    };
    let ((), (seen, end)) = timeout(LONG, async { tokio::join!(sending, reading) }).await.expect("the peer ends TCP");
    let code = match (&seen[..], client) {
        ([CLOSE, 2, high, low], true) => Some([*high, *low]),
        ([CLOSE, 0x82, a, b, _, _, high, low], false) => Some([high ^ a, low ^ b]),
        _ => None,
    };
    (code.map(u16::from_be_bytes), end)
}

#[tokio::test]
async fn the_embedded_server_answers_a_broken_protocol_with_its_code_and_a_fin() {
    let server = Server::start(&Embedded::default()).await;
    for broken in breaks() {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).await.expect("the server listens");
        stream.write_all(request(None).as_bytes()).await.expect("the server reads");
        head(&mut stream).await.expect("an answer");
        let seen = provoke(stream, &broken, true).await;
        assert_eq!(seen, (Some(broken.code), End::Fin), "{:02x} {} B", broken.first, broken.payload.len());
    }
}

#[tokio::test]
async fn our_client_answers_a_broken_protocol_with_its_code_and_a_fin() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("ws://{}/", listener.local_addr().expect("a bound socket"));
    for broken in breaks() {
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("the client connects");
            upgrade(&mut stream).await.expect("an opening handshake");
            provoke(stream, &broken, false).await
        };
        let (seen, told) = tokio::join!(server, closestorm::run::echo(&url));
        let ending = told.expect("a connection").ending;
        let what = format!("{:02x} {} B", broken.first, broken.payload.len());
        assert_eq!(seen, (Some(broken.code), End::Fin), "{what}");
        assert_eq!((ending.code, ending.wire_sent, ending.clean), (1006, Some(broken.code), false), "{what}");
    }
}
