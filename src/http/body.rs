//! Bodies of answers: a text that is there, or events as they come.

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Without an event the reader hears something after this time: so one that is gone is noticed.
const ALIVE_EVERY: Duration = Duration::from_secs(15);
/// What keeps a stream of events alive: a comment (WHATWG HTML §9.2.6).
const ALIVE: &[u8] = b":\n\n";

/// Where one reader of a stream gets its events from.
pub(crate) trait EventSource: Send + 'static {
    /// The next server-sent event, whole; `None`: there will be no more. Dropped before it is ready, it loses none.
    fn next(&mut self) -> impl Future<Output = Option<Arc<str>>> + Send;
}

/// A body.
#[derive(Debug)]
pub(crate) enum HttpBody {
    /// All of it.
    Whole(Full<Bytes>),
    /// As they come.
    Events(mpsc::Receiver<Bytes>),
}

impl HttpBody {
    /// Events as this reader gets them, until there are no more or it goes away. One event waits beside what the kernel takes; what a reader is
    /// behind more is the business of the source.
    pub(crate) fn events(mut source: impl EventSource) -> HttpBody {
        let (events, body) = mpsc::channel(1);
        tokio::spawn(async move {
            // The first bytes tell the reader that it misses nothing from here on.
            let mut next = Some(Bytes::from_static(ALIVE));
            while let Some(bytes) = next {
                if events.send(bytes).await.is_err() {
                    return;
                }
                next = match timeout(ALIVE_EVERY, source.next()).await {
                    Ok(event) => event.map(|event| Bytes::copy_from_slice(event.as_bytes())),
                    Err(_) => Some(Bytes::from_static(ALIVE)),
                };
            }
        });
        HttpBody::Events(body)
    }
}

impl From<String> for HttpBody {
    fn from(text: String) -> HttpBody {
        HttpBody::Whole(Full::new(text.into()))
    }
}

impl Body for HttpBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            HttpBody::Whole(body) => Pin::new(body).poll_frame(cx),
            HttpBody::Events(events) => events.poll_recv(cx).map(|event| event.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, HttpBody::Whole(body) if body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            HttpBody::Whole(body) => body.size_hint(),
            HttpBody::Events(_) => SizeHint::default(),
        }
    }
}
