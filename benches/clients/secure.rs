//! The server of openings over wss: one thread of tokio and rustls, a certificate of its own, tickets. It answers opening handshakes, and
//! on a question closes all connections at once, so that whoever returns resumes.
//!
//! As the echo server it counts itself; `echoed` are its resumed handshakes. It reads no frames.

use crate::clock::now_ns;
use crate::counts::{Counts, Until};
use closestorm::transport::tls::Identity;
use rustls::HandshakeKind;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

struct All {
    counts: RefCell<Counts>,
    changed: Notify,
    /// Connections of an earlier turn are closed.
    turn: watch::Sender<u32>,
    asked: Cell<Option<Until>>,
}

/// Serves until its standard input ends.
pub(crate) fn serve(port: u16, backlog: u32) -> io::Result<()> {
    let acceptor = acceptor()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
        let listener = socket.listen(backlog)?;
        let counts = RefCell::new(Counts { listening_ns: now_ns(), ..Counts::default() });
        let all = Rc::new(All { counts, changed: Notify::new(), turn: watch::Sender::new(0), asked: Cell::new(None) });
        tokio::task::spawn_local(answer(Rc::clone(&all)));
        let accepting = Rc::clone(&all);
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut counts = accepting.counts.borrow_mut();
                if counts.first_ns == 0 {
                    counts.first_ns = now_ns();
                }
                drop(counts);
                let (all, acceptor) = (Rc::clone(&accepting), acceptor.clone());
                tokio::task::spawn_local(async move { drop(attend(&all, &acceptor, stream).await) });
            }
        });
        let (sender, mut questions) = mpsc::unbounded_channel();
        std::thread::spawn(move || io::stdin().lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        while let Some(line) = questions.recv().await {
            let until: Until = line.parse().map_err(io::Error::other)?;
            if let Until::Returned(_) = until {
                all.counts.borrow_mut().first_ns = 0;
                all.turn.send_modify(|turn| *turn += 1);
            }
            all.asked.set(Some(until));
            all.changed.notify_one();
        }
        Ok(())
    })
}

fn acceptor() -> io::Result<TlsAcceptor> {
    let made = Identity::generate().map_err(io::Error::other)?;
    let certificate = CertificateDer::from_pem_slice(made.certificate.as_bytes()).map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).map_err(io::Error::other)?;
    let builder = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let mut config = builder.with_no_client_auth().with_single_cert(vec![certificate], key).map_err(io::Error::other)?;
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(io::Error::other)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Answers the question that is asked, when it is reached.
async fn answer(all: Rc<All>) {
    loop {
        all.changed.notified().await;
        let reached = all.asked.get().filter(|until| until.is_reached(&all.counts.borrow()));
        if reached.is_some() {
            all.asked.set(None);
            all.counts.borrow_mut().now_ns = now_ns();
            println!("{}", all.counts.borrow());
        }
    }
}

async fn attend(all: &All, acceptor: &TlsAcceptor, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut turn = all.turn.subscribe();
    let mut stream = acceptor.accept(stream).await?;
    let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
    let mut head = Vec::with_capacity(512);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&head);
    let key = text.lines().find_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key")));
    let accept = derive_accept_key(key.map_or("", |(_, key)| key).as_bytes());
    let answer =
        format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n");
    stream.write_all(answer.as_bytes()).await?;
    stream.flush().await?;
    {
        let mut counts = all.counts.borrow_mut();
        counts.opened += 1;
        counts.open += 1;
        counts.echoed += u64::from(resumed);
        counts.last_ns = now_ns();
    }
    all.changed.notify_one();
    let mut scratch = [0; 256];
    tokio::select! {
        _ = turn.changed() => drop(stream.shutdown().await),
        _ = stream.read(&mut scratch) => {}
    }
    all.counts.borrow_mut().open -= 1;
    Ok(())
}
