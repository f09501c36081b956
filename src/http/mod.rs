//! A small HTTP/1.1 server for people and programs beside a run or a proxy: heads, times, connections and what the kernel keeps have limits.
//!
//! What is served is not decided here: `visitor` says who may ask, `body` has what an answer is made of, `exposition` writes metrics.

pub(crate) mod body;
pub(crate) mod exposition;
pub(crate) mod visitor;

use self::body::HttpBody;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

/// Longest head of a request, bytes.
const HEAD_MAX: usize = 16 << 10;
/// A head must come within this time.
pub(crate) const READ_MAX: Duration = Duration::from_secs(15);
/// Connections at the same time.
const CONNECTIONS_MAX: u32 = 256;
/// Bytes of answers that the kernel keeps for a client that does not read them (it takes twice as many).
const SEND_BUFFER: usize = 64 << 10;
/// Without a file descriptor the next connection is taken so much later.
const NO_FILES: Duration = Duration::from_millis(100);

/// An answer.
pub(crate) type Answer = Response<HttpBody>;

/// A server that listens.
#[derive(Debug)]
pub(crate) struct HttpServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl HttpServer {
    /// Binds the address.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) async fn bind(address: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(HttpServer { listener, address })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `end`. Then answers that are under way are sent to their end, which takes no longer than `within`.
    pub(crate) async fn serve<F>(
        self,
        answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        end: impl Future<Output = ()>,
        within: Duration,
    ) where
        F: Future<Output = Answer> + Send + 'static,
    {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
        let ending = watch::Sender::new(());
        tokio::select! {
            biased;
            () = end => {}
            () = self.accept(Arc::new(answer), &places, &ending) => {}
        }
        drop(self.listener);
        ending.send_replace(());
        // Each connection gives its place back when it is over. Who does not read is left.
        let _ = timeout(within, places.acquire_many(CONNECTIONS_MAX)).await;
    }

    /// Takes connections for ever.
    async fn accept<F>(
        &self,
        answer: Arc<impl Fn(Request<Incoming>) -> F + Send + Sync + 'static>,
        places: &Arc<Semaphore>,
        ending: &watch::Sender<()>,
    ) where
        F: Future<Output = Answer> + Send + 'static,
    {
        loop {
            // The semaphore is never closed.
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let Ok((stream, _)) = self.listener.accept().await else {
                sleep(NO_FILES).await;
                continue;
            };
            // Events are small and come one by one; of those that nobody reads the kernel would keep megabytes. Fails only where the client is gone.
            let _ = stream.set_nodelay(true);
            let _ = socket2::SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
            let (answer, mut ending) = (answer.clone(), ending.subscribe());
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let answering = answer(request);
                    async move { Ok::<_, Infallible>(answering.await) }
                });
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new()).header_read_timeout(READ_MAX).half_close(true).max_buf_size(HEAD_MAX).max_headers(64);
                let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
                // A client that does not speak HTTP, or is gone, gets no answer.
                tokio::select! {
                    biased;
                    _ = connection.as_mut() => {}
                    _ = ending.changed() => {
                        connection.as_mut().graceful_shutdown();
                        let _ = connection.await;
                    }
                }
                drop(place);
            });
        }
    }
}

/// An answer of this type.
pub(crate) fn whole(status: StatusCode, kind: &'static str, body: impl Into<HttpBody>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// A line of text, or none.
pub(crate) fn text(status: StatusCode, line: &str) -> Answer {
    let line = if line.is_empty() { String::new() } else { format!("{line}\n") };
    whole(status, "text/plain; charset=utf-8", line)
}

/// Server-sent events.
pub(crate) fn events(source: impl body::EventSource) -> Answer {
    let mut answer = whole(StatusCode::OK, "text/event-stream", HttpBody::events(source));
    answer.headers_mut().insert(hyper::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// A server-sent event (WHATWG HTML §9.2.6). JSON has no line breaks of its own.
pub(crate) fn event(number: Option<u64>, name: &str, json: &str) -> Arc<str> {
    let id = number.map_or(String::new(), |number| format!("id: {number}\n"));
    format!("{id}event: {name}\ndata: {json}\n\n").into()
}
