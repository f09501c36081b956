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
#[ignore = "long: scripts/test"]
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

/// What a server does to the connections of a cohort, and what the client's account says of it: TCP, TLS, whether it was a cut, whether
/// it was clean; and whether the client says `close_notify`.
type Ending = (Act, &'static str, bool);

/// What a server does when a client is open.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// `close_notify` and FIN.
    Notify,
    /// FIN.
    Fin,
    /// `close_notify` and RST.
    NotifyReset,
    /// FIN inside a record.
    Cut,
    /// A record that cannot be read.
    Bad,
    /// `close_notify`, and TCP stays open until the client's FIN.
    NotifyOnly,
    /// Close frame, the answer, `close_notify`, RST.
    CloseReset,
    /// Close frame, the answer, `close_notify`, FIN.
    Close,
}

const ENDINGS: &[Ending] = &[
    (Act::Notify, "fin close_notify", true),
    (Act::Fin, "fin none", true),
    (Act::NotifyReset, "rst close_notify", false),
    (Act::Cut, "fin none cut", true),
    (Act::Bad, "local sent:bad_record_mac", false),
    (Act::NotifyOnly, "fin close_notify", true),
    (Act::CloseReset, "rst close_notify", false),
    (Act::Close, "fin close_notify clean", true),
];

type Stream = tokio_rustls::server::TlsStream<TcpStream>;

/// Answers an opening handshake; the client of ours that asked, if it was one.
async fn open(stream: &mut Stream) -> Option<usize> {
    let head = head(stream).await?;
    let field = |name: &str| {
        head.lines().find_map(|line| line.to_ascii_lowercase().starts_with(name).then(|| line[name.len()..].trim().to_owned()))
    };
    let key = field("sec-websocket-key:")?;
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let accept = base64::engine::general_purpose::STANDARD.encode(digest);
    let answer =
        format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.ok()?;
    stream.flush().await.ok()?;
    field("closestorm-id:")?.split_once('/')?.0.parse().ok()
}

/// Whether the client says `close_notify` in answer, or of its own.
async fn act(mut stream: Stream, act: Act) -> bool {
    let notify = async |stream: &mut Stream| {
        stream.get_mut().1.send_close_notify();
        let _ = stream.flush().await;
    };
    if matches!(act, Act::Close | Act::CloseReset) {
        let _ = stream.write_all(b"\x88\x02\x03\xe8").await;
        let _ = stream.flush().await;
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).await.expect("a Close frame");
    }
    if matches!(act, Act::Bad) {
        // A record that comes with the 101 fails the opening handshake: what is wrong is read first.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    match act {
        Act::Notify | Act::NotifyOnly | Act::NotifyReset | Act::Close | Act::CloseReset => notify(&mut stream).await,
        Act::Cut => stream.get_mut().0.write_all(&[23, 3, 3, 0, 32, 1, 2, 3]).await.expect("the client reads"),
        Act::Bad => stream.get_mut().0.write_all(&[[23, 3, 3, 0, 32].as_slice(), &[7; 32]].concat()).await.expect("the client reads"),
        Act::Fin => {}
    }
    match act {
        Act::Notify | Act::Fin | Act::Cut | Act::Close => {
            socket2::SockRef::from(stream.get_ref().0).shutdown(std::net::Shutdown::Write).expect("it is open");
        }
        Act::NotifyReset | Act::CloseReset => {
            stream.get_ref().0.set_zero_linger().expect("it is open");
            return false;
        }
        Act::Bad | Act::NotifyOnly => {}
    }
    let mut rest = [0; 256];
    let reading = async {
        loop {
            match stream.read(&mut rest).await {
                Ok(0) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    };
    timeout(LONG, reading).await.expect("the client ends it")
}

/// Serves the clients of a run with one version of TLS; what `serve` made of each connection of theirs.
async fn against<T: Send + 'static, F: Future<Output = T> + Send>(
    scenario: &str,
    version: &'static rustls::SupportedProtocolVersion,
    serve: impl Fn(usize, Stream) -> F + Clone + Send + 'static,
) -> (crate::common::Finished, Vec<(usize, T)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let made = make();
    let certificate = CertificateDer::from_pem_slice(made.certificate.as_bytes()).expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).expect("PEM");
    let builder = rustls::ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).expect("a version");
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_no_client_auth().with_single_cert(vec![certificate], key).expect("they fit")));
    let running = start(&scenario.replace("ADDRESS", &listener.local_addr().expect("a bound socket").to_string()));
    let finish = running.finish();
    tokio::pin!(finish);
    let mut serving = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            finished = &mut finish => return (finished, serving.join_all().await.into_iter().flatten().collect()),
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("connections");
                // What Nagle's algorithm holds back, a reset throws away.
                stream.set_nodelay(true).expect("it is open");
                let (acceptor, serve) = (acceptor.clone(), serve.clone());
                serving.spawn(async move {
                    let mut stream = acceptor.accept(stream).await.ok()?;
                    let client = open(&mut stream).await?;
                    Some((client, serve(client, stream).await))
                });
            }
        }
    }
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn the_end_of_tls_is_told_apart_from_that_of_tcp_and_clients_say_goodbye() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let cohorts = cohorts_of(ENDINGS.len(), "deadlines = { fin = \"10s\" }");
        let scenario = format!("duration = \"4s\"\n[target.url]\naddress = \"wss://ADDRESS/\"\ninsecure = true\n{cohorts}");
        let (run, said) = against(&scenario, version, |client, stream| act(stream, ENDINGS[client].0)).await;
        let said: BTreeMap<_, _> = said.into_iter().collect();
        for (client, (act, expected, goodbye)) in ENDINGS.iter().enumerate() {
            let cohort = format!("c{client}");
            let row = run
                .summary
                .endings
                .iter()
                .find(|row| row.cohort == cohort)
                .unwrap_or_else(|| panic!("{act:?}: no ending: {:?}", run.summary.attempts));
            let [cut, clean] = [(row.mid_frame == Some(true), " cut"), (row.clean, " clean")].map(|(is, word)| if is { word } else { "" });
            let words = format!("{} {}{cut}{clean}", row.tcp_end.as_deref().unwrap_or("-"), row.tls_end.as_deref().unwrap_or("-"));
            assert_eq!((words.as_str(), said[&client]), (*expected, *goodbye), "{version:?} {act:?} {row:?}");
        }
    }
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn a_clients_first_handshake_is_full_and_later_ones_resume_if_it_keeps_sessions() {
    const SCENARIO: &str = r#"
duration = "2s"
expect = ["tls{resumed=true} min > 0us", "tls{resumed=false} min > 0us", "tls{resumed=true,cohort=b} min > 0us"]
[target.url]
address = "wss://ADDRESS/"
insecure = true
[clients.a]
count = 3
arrive = { at_once = true }
reconnect = { fixed = { delay = "300ms" } }
[clients.b]
count = 2
arrive = { at_once = true }
reconnect = { fixed = { delay = "300ms" } }
resume = false
"#;
    use rustls::HandshakeKind::{Full, Resumed};
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let serve = async |_: usize, stream: Stream| {
            let kind = stream.get_ref().1.handshake_kind().expect("it is over");
            act(stream, Act::Notify).await;
            (tokio::time::Instant::now(), kind)
        };
        let (run, mut handshakes) = against(SCENARIO, version, serve).await;
        handshakes.sort_by_key(|(_, (at, _))| *at);
        for client in 0..5 {
            let kinds: Vec<_> = handshakes.iter().filter(|(of, _)| *of == client).map(|(_, (_, kind))| *kind).collect();
            assert!(kinds.len() >= 3, "{kinds:?}");
            let later = if client < 3 { Resumed } else { Full };
            assert_eq!(kinds, [vec![Full], vec![later; kinds.len() - 1]].concat(), "{version:?} client {client}");
        }
        let summary = &run.summary;
        let of = |wanted| handshakes.iter().filter(|(_, (_, kind))| *kind == wanted).count() as u64;
        assert_eq!((summary.tls_full_us.count, summary.tls_resumed_us.count), (of(Full), of(Resumed)), "{version:?}");
        assert_eq!(summary.tls_us.count, of(Full) + of(Resumed));
        let results: Vec<_> = summary.verdict.expectations.iter().map(|row| row.result.as_str()).collect();
        assert_eq!(results, ["pass", "pass", "inconclusive"], "nobody of b resumed");
    }
}
