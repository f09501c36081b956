//! The page of a run under way over HTTP: the page itself, and the states of the run as server-sent events, of which the last is the report.

use crate::http::body::EventSource;
use crate::http::visitor::Audience;
use crate::http::{Answer, event, events, text, whole};
use crate::lock::lock;
use crate::plan::Plan;
use crate::report::LiveRun;
use crate::snapshots::Update;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, StatusCode};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// A reader gets ten updates a second at most.
const BETWEEN: Duration = Duration::from_millis(100);
/// Readers of events at the same time.
const READERS_MAX: usize = 32;

/// What readers get.
#[derive(Clone, Debug)]
enum PageState {
    /// A state of the run, as an event.
    Running(Arc<str>),
    /// The last event, and the report.
    Ended(Arc<str>, Option<Arc<str>>),
}

/// A run and who watches it.
#[derive(Debug)]
pub(super) struct LivePage {
    run: Mutex<LiveRun>,
    state: watch::Sender<PageState>,
}

impl LivePage {
    pub(super) fn of(plan: &Plan) -> Arc<LivePage> {
        let state = watch::Sender::new(PageState::Running("".into()));
        Arc::new(LivePage { run: Mutex::new(LiveRun::of(plan)), state })
    }

    /// The run stands so now.
    pub(super) fn add(&self, update: Update) {
        let mut run = lock(&self.run);
        run.add(update.at, update.state, update.rates);
        if self.state.receiver_count() > 0 {
            self.state.send_replace(PageState::Running(event(None, "state", &run.json())));
        }
    }

    /// The run has ended, with a report or without.
    pub(super) fn end(&self, report: Result<String, String>) {
        let json = match &report {
            Ok(report) => json!({ "report": report }),
            Err(why) => json!({ "failed": why }),
        };
        self.state.send_replace(PageState::Ended(event(None, "end", &json.to_string()), report.ok().map(Arc::from)));
    }

    /// Answers a request.
    pub(super) fn answer(&self, request: &Request<Incoming>, loopback: bool) -> Answer {
        let mut answer = match (Audience::Browsers.refusal(request.headers(), loopback), request.uri().path()) {
            (Some(why), _) => text(StatusCode::FORBIDDEN, why),
            _ if request.method() != Method::GET => text(StatusCode::METHOD_NOT_ALLOWED, "only GET"),
            (None, "/") => whole(StatusCode::OK, "text/html; charset=utf-8", self.page()),
            (None, "/events") => self.events(),
            // Without an icon there is nothing to complain about.
            (None, "/favicon.ico") => text(StatusCode::NO_CONTENT, ""),
            _ => text(StatusCode::NOT_FOUND, "the page of the run is at /"),
        };
        let fields = answer.headers_mut();
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        fields.insert("x-frame-options", HeaderValue::from_static("DENY"));
        fields.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
        answer
    }

    fn page(&self) -> String {
        match &*self.state.borrow() {
            PageState::Ended(_, Some(report)) => report.to_string(),
            _ => lock(&self.run).page(),
        }
    }

    fn events(&self) -> Answer {
        if self.state.receiver_count() >= READERS_MAX {
            return text(StatusCode::TOO_MANY_REQUESTS, "there are too many readers already");
        }
        let mut state = self.state.subscribe();
        // Who comes between two states waits for the next one; after the end there is none.
        if matches!(&*state.borrow(), PageState::Ended(..)) {
            state.mark_changed();
        }
        events(PageReader { state, next: Instant::now(), ended: false })
    }
}

/// Who watches.
struct PageReader {
    state: watch::Receiver<PageState>,
    /// No event before this.
    next: Instant,
    ended: bool,
}

impl EventSource for PageReader {
    async fn next(&mut self) -> Option<Arc<str>> {
        if self.ended {
            return None;
        }
        sleep_until(self.next).await;
        self.state.changed().await.ok()?;
        self.next = Instant::now() + BETWEEN;
        match &*self.state.borrow_and_update() {
            PageState::Running(event) => Some(event.clone()),
            PageState::Ended(event, _) => {
                self.ended = true;
                Some(event.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Overrides, Source, load};

    fn page() -> Arc<LivePage> {
        LivePage::of(
            &load(&Source::Text { name: "test".to_owned(), text: "[clients.web]\ncount = 3".to_owned() }, &Overrides::default()).unwrap(),
        )
    }

    fn reader(page: &LivePage) -> PageReader {
        PageReader { state: page.state.subscribe(), next: Instant::now(), ended: false }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_gets_ten_updates_a_second_and_the_report_however_slow_it_is() {
        let page = page();
        let (mut quick, mut slow) = (reader(&page), reader(&page));
        let running = page.clone();
        let run = tokio::spawn(async move {
            for n in 1..=1_000 {
                running.add(Update { at: Duration::from_millis(n), ..Update::default() });
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            running.end(Ok("<html>the report</html>".to_owned()));
        });
        let mut seen = 0;
        while let Some(event) = quick.next().await {
            seen += usize::from(event.starts_with("event: state\n"));
        }
        assert!((8..=11).contains(&seen), "{seen} in a second");
        run.await.unwrap();
        // One who read nothing all the time gets the end, and then nothing more.
        let end = slow.next().await.unwrap();
        assert_eq!(&*end, "event: end\ndata: {\"report\":\"<html>the report</html>\"}\n\n");
        assert_eq!((slow.next().await, page.page().as_str()), (None, "<html>the report</html>"));
    }

    #[test]
    fn without_a_reader_nothing_is_written() {
        let page = page();
        page.add(Update { at: Duration::from_secs(1), ..Update::default() });
        assert!(matches!(&*page.state.borrow(), PageState::Running(text) if text.is_empty()));
        assert!(page.page().contains("\"at_ms\":1000"));
    }
}
