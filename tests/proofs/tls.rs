//! Faults over wss, on both sides: what a peer behind TLS sees. A cut is a cut: an ending that the fault makes has no `close_notify`.
//!
//! The observer uses rustls directly, with a certificate of its own making.

use super::arms::{AT, RUN, Server, cohorts_of, effect};
use super::frame::spell;
use super::wire::{ms, request};
use crate::common::{LONG, start};
use base64::Engine;
use closestorm::fault::Effect;
use closestorm::plan::Embedded;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// How the TLS stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// A `close_notify` came.
    Notified,
    /// FIN without one.
    Cut,
    /// RST.
    Reset,
    /// It did not.
    Open,
}

/// An injection, the frame that it puts on the wire before the end (head as a server sends it, payload), and the end.
type Case = (&'static str, Option<(&'static [u8], &'static [u8])>, End);
/// What came after the opening handshake, and the end.
type Seen = (Vec<u8>, End);

const CASES: &[Case] = &[
    ("drop_fin = {}", None, End::Cut),
    ("drop_rst = {}", None, End::Reset),
    ("half_close_write = {}", None, End::Cut),
    ("frame_rsv = {}", Some((b"\xc1\x03", b"rsv")), End::Open),
    ("pong_unsolicited = {}", Some((b"\x8a\x0b", b"unsolicited")), End::Open),
    ("close_then_fin = { code = 4000 }", Some((b"\x88\x02", b"\x0f\xa0")), End::Cut),
];

struct Made {
    certificate: String,
    key: String,
}

fn make() -> Made {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("a certificate");
    Made { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn acceptor(made: &Made) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(made.certificate.as_bytes()).expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).expect("PEM");
    let builder = rustls::ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().expect("versions");
    TlsAcceptor::from(Arc::new(builder.with_no_client_auth().with_single_cert(vec![certificate], key).expect("they fit")))
}

fn connector(made: &Made) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(made.certificate.as_bytes()).expect("PEM")).expect("a certificate");
    let builder = rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().expect("versions");
    TlsConnector::from(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// Reads to the end, or for this long.
async fn watch(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), long: Duration) -> Seen {
    let mut bytes = Vec::new();
    let reading = async {
        loop {
            let mut chunk = [0; 1024];
            match stream.read(&mut chunk).await {
                Ok(0) => return End::Notified,
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return End::Cut,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return End::Reset,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let end = timeout(long, reading).await.unwrap_or(End::Open);
    (bytes, end)
}

/// What must have been seen: masking keys are the sender's choice, so that payloads are unmasked first.
fn expect(seen: &Seen, case: usize, by_client: bool) {
    let (inject, frame, end) = CASES[case];
    let bytes = frame.map_or(Vec::new(), |(head, payload)| spell(head, payload, by_client));
    let (plain, expected) = (unmasked(&seen.0, by_client), unmasked(&bytes, by_client));
    assert_eq!((plain, seen.1), (expected, end), "{inject} by a client: {by_client}");
}

/// A short masked frame with its key taken away.
fn unmasked(bytes: &[u8], masked: bool) -> Vec<u8> {
    match bytes {
        [first, second, a, b, c, d, payload @ ..] if masked => {
            let key = [a, b, c, d];
            [*first, *second].into_iter().chain(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ **key)).collect()
        }
        other => other.to_vec(),
    }
}

/// Accepts clients of a run over wss, by client index.
async fn observe_clients(faults: &str) -> BTreeMap<usize, Seen> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let acceptor = acceptor(&make());
    let scenario = format!(
        "duration = \"{}ms\"\n[target.url]\naddress = \"wss://{address}/\"\ninsecure = true\n{}{faults}",
        RUN.as_millis(),
        cohorts_of(CASES.len(), "")
    );
    let running = start(&scenario);
    let finish = running.finish();
    tokio::pin!(finish);
    let mut watching = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut finish => break,
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("connections");
                let acceptor = acceptor.clone();
                watching.spawn(async move {
                    // An attempt that is cut only connects.
                    let mut stream = acceptor.accept(stream).await.ok()?;
                    let head = head(&mut stream).await?;
                    let field = |name: &str| head.lines().find_map(|line| line.to_ascii_lowercase().starts_with(name).then(|| line[name.len()..].trim().to_owned()));
                    let key = field("sec-websocket-key:")?;
                    // The probe before the run has no id: it is no client's.
                    let client = field("closestorm-id:").and_then(|id| id.split_once('/').map(|(client, _)| client.to_owned()));
                    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
                    let accept = base64::engine::general_purpose::STANDARD.encode(digest);
                    let answer = format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.ok()?;
                    stream.flush().await.ok()?;
                    let seen = watch(&mut stream, ms(1000)).await;
                    // The run's end must not show on those that stayed open.
                    client.map(|client| (client.parse().expect("a number"), seen))
                });
            }
        }
    }
    timeout(LONG, watching.join_all()).await.expect("observers end").into_iter().flatten().collect()
}

#[tokio::test]
async fn clients_end_tls_as_a_cut_and_put_frames_inside_it() {
    let fault = |(index, (inject, ..)): (usize, &Case)| {
        let (at, cohort) = (AT.as_millis(), format!("select = {{ cohort = \"c{index}\" }}"));
        format!("[[faults]]\nname = \"f{index}\"\nat = \"{at}ms\"\nside = \"client\"\n{cohort}\ninject = {{ {inject} }}\n")
    };
    let faults: String = CASES.iter().enumerate().map(fault).collect();
    let (with, without) = tokio::join!(observe_clients(&faults), observe_clients(""));
    assert_eq!((with.len(), without.len()), (CASES.len(), CASES.len()));
    with.iter().for_each(|(client, seen)| expect(seen, *client, true));
    assert!(without.values().all(|seen| *seen == (Vec::new(), End::Open)), "{without:?}");
}

#[tokio::test]
async fn a_server_ends_tls_as_a_cut_and_puts_frames_inside_it() {
    let observe = async |inject: bool| {
        let made = make();
        let settings = Embedded { tls: true, ..Embedded::default() };
        let identity = json!({ "certificate": made.certificate, "key": made.key });
        let mut server = Server::start_with(&settings, identity).await;
        let connector = connector(&made);
        let mut watching = tokio::task::JoinSet::new();
        for client in 0..CASES.len() {
            let stream = TcpStream::connect(("127.0.0.1", server.port)).await.expect("the server listens");
            let name = ServerName::try_from("localhost").expect("a name");
            let mut stream = connector.connect(name, stream).await.expect("TLS");
            stream.write_all(request(Some(&format!("{client}/1"))).as_bytes()).await.expect("the server reads");
            stream.flush().await.expect("the server reads");
            assert!(head(&mut stream).await.expect("an answer").starts_with("HTTP/1.1 101 "));
            watching.spawn(async move { (client, watch(&mut stream, ms(1000)).await) });
        }
        sleep(ms(200)).await;
        for (client, (text, ..)) in CASES.iter().enumerate().filter(|_| inject) {
            let Effect::Connection { gate, steps } = effect(text) else { panic!("{text} is of a connection") };
            let dose = json!({ "firing": { "fault": client, "number": 0 }, "gate": gate, "steps": steps });
            server.tell(&json!({ "Inject": { "dose": dose, "ids": [{ "client": client, "connection": 1 }] } })).await;
        }
        watching.join_all().await.into_iter().collect::<BTreeMap<_, _>>()
    };
    let (with, without) = tokio::join!(observe(true), observe(false));
    with.iter().for_each(|(client, seen)| expect(seen, *client, false));
    assert!(without.values().all(|seen| *seen == (Vec::new(), End::Open)), "{without:?}");
}
