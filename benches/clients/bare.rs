//! The bare loop: tokio and tokio-tungstenite, tuned, with a task for each client and nothing of closestorm: what the usual parts can do.
//!
//! Over wss each client has a rustls configuration with a session store of its own. One thread, a read buffer of 4 KiB, no write buffer, mimalloc. Due times by tokio's timers, which count milliseconds.

use crate::clock::now_ns;
use crate::job::{Job, Load};
use crate::latency::Latency;
use closestorm::transport::tls;
use closestorm::transport::tls::Trust;
use futures_util::{SinkExt, StreamExt};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

struct All {
    job: Job,
    /// For wss.
    secure: Option<Arc<ClientConfig>>,
    room: Semaphore,
    open: Cell<u32>,
    everybody: Notify,
    start: Cell<Option<(Instant, u64)>>,
    talking: Cell<u32>,
    finished: Notify,
    latency: RefCell<Latency>,
}

/// Does the job, as [`crate::floor::run`] does.
pub(crate) fn run(job: Job) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let room = Semaphore::new(usize::try_from(job.in_flight).unwrap_or(usize::MAX));
    let (talking, latency) = (Cell::new(job.clients), RefCell::new(Latency::new()));
    let (everybody, finished) = (Notify::new(), Notify::new());
    let secure = if job.secure { Some(tls::client(Trust::Anything).map_err(io::Error::other)?) } else { None };
    let all = Rc::new(All { job, secure, room, open: Cell::new(0), everybody, start: Cell::new(None), talking, finished, latency });
    local.block_on(&runtime, async {
        for client in 0..all.job.clients {
            let all = Rc::clone(&all);
            tokio::task::spawn_local(async move {
                if let Err(error) = live(&all, client).await {
                    eprintln!("client {client}: {error}");
                    std::process::exit(1);
                }
            });
        }
        all.finished.notified().await;
    });
    println!("{}", all.latency.borrow());
    Ok(())
}

async fn live(all: &All, client: u32) -> Result<(), Error> {
    let connector = all.secure.as_deref().map(|config| {
        let mut own = config.clone();
        own.resumption = Resumption::in_memory_sessions(8);
        TlsConnector::from(Arc::new(own))
    });
    loop {
        let lasted = match &connector {
            None => match roomy(all, open(all, client)).await {
                Ok(stream) => hold(all, client, stream).await,
                Err(error) => Err(error),
            },
            Some(connector) => match roomy(all, open_secure(all, client, connector)).await {
                Ok(stream) => hold(all, client, stream).await,
                Err(error) => Err(error),
            },
        };
        match (all.job.load, lasted) {
            (Load::Return(delay), _) => sleep(delay).await,
            (_, lasted) => return lasted,
        }
    }
}

/// As many at a time as there is room for.
async fn roomy<T>(all: &All, opening: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let _room = all.room.acquire().await.map_err(|_| Error::ConnectionClosed)?;
    opening.await
}

async fn open_secure(all: &All, client: u32, connector: &TlsConnector) -> Result<WebSocketStream<TlsStream<TcpStream>>, Error> {
    let address = all.job.address(usize::try_from(client).unwrap_or(0));
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let stream = connector.connect(ServerName::IpAddress((*address.ip()).into()), stream).await?;
    let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
    let (stream, _) = client_async_with_config(format!("wss://{address}/"), stream, Some(config)).await?;
    Ok(stream)
}

async fn open(all: &All, client: u32) -> Result<WebSocketStream<TcpStream>, Error> {
    let address = all.job.address(usize::try_from(client).unwrap_or(0));
    let stream = TcpStream::connect(address).await?;
    let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
    let (stream, _) = client_async_with_config(format!("ws://{address}/"), stream, Some(config)).await?;
    Ok(stream)
}

async fn hold<S: AsyncRead + AsyncWrite + Unpin>(all: &All, client: u32, mut stream: WebSocketStream<S>) -> Result<(), Error> {
    let message = Message::Binary(Bytes::from(vec![b'.'; all.job.payload]));
    match all.job.load {
        Load::Idle | Load::Return(_) => {
            while let Some(message) = stream.next().await {
                message?;
            }
            Ok(())
        }
        Load::Closed => loop {
            stream.send(message.clone()).await?;
            stream.next().await.ok_or(Error::ConnectionClosed)??;
        },
        Load::Rate(rate) => {
            at_rate(all, client, stream, message, rate).await?;
            all.talking.set(all.talking.get() - 1);
            if all.talking.get() == 0 {
                all.finished.notify_one();
            }
            Ok(())
        }
    }
}

/// Sends this client's share of the messages; due times as in the floor.
async fn at_rate<S: AsyncRead + AsyncWrite + Unpin>(
    all: &All,
    client: u32,
    mut stream: WebSocketStream<S>,
    message: Message,
    rate: f64,
) -> Result<(), Error> {
    let (start, start_ns) = start(all).await;
    let step = f64::from(all.job.clients) / rate;
    let due = |sent: u32| Duration::from_secs_f64(f64::from(client) / rate + f64::from(sent) * step);
    let ns = |offset: Duration| start_ns + u64::try_from(offset.as_nanos()).unwrap_or(u64::MAX);
    let mut unanswered = VecDeque::new();
    let mut sent = 0;
    let end = Duration::from_secs_f64(all.job.seconds);
    while due(sent) < end || !unanswered.is_empty() {
        let next = if due(sent) < end { due(sent) } else { end + Duration::from_secs(1) };
        tokio::select! {
            biased;
            () = sleep_until(start + next) => {
                if next > end {
                    break;
                }
                all.latency.borrow_mut().sent(ns(next), now_ns());
                stream.send(message.clone()).await?;
                unanswered.push_back(ns(next));
                sent += 1;
            }
            reply = stream.next() => {
                reply.ok_or(Error::ConnectionClosed)??;
                if let Some(due) = unanswered.pop_front() {
                    all.latency.borrow_mut().answered(due, now_ns());
                }
            }
        }
    }
    Ok(())
}

/// Waits until everybody is open; then the common start.
async fn start(all: &All) -> (Instant, u64) {
    all.open.set(all.open.get() + 1);
    if all.open.get() == all.job.clients {
        let settle = Duration::from_millis(200);
        all.start.set(Some((Instant::now() + settle, now_ns() + 200_000_000)));
        all.everybody.notify_waiters();
    }
    loop {
        if let Some(start) = all.start.get() {
            return start;
        }
        all.everybody.notified().await;
    }
}
