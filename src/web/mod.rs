//! What is served of a run under way: its page, which becomes the report, and metrics for Prometheus.
//!
//! It lives on a thread of its own and reads the stream of snapshots: nobody who asks, and nobody who reads slowly, holds up the run. A reader
//! who is behind gets the newest state and not those in between.

mod metrics;
mod page;

use self::page::LivePage;
use crate::http::{HttpServer, exposition, text, whole};
use crate::plan::Plan;
use crate::snapshots::{Subscription, Update};
use hyper::StatusCode;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;

/// How long pages that are open have to take the report after the end.
const TAKEN_WITHIN: Duration = Duration::from_secs(2);

/// Where something is served, if it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct WebAddresses {
    /// The page of the run.
    pub(crate) page: Option<String>,
    /// Metrics.
    pub(crate) metrics: Option<String>,
}

/// Why an address cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve the {what} at {address}: {source}; give --{option} another address, or port 0 for one that is free")]
pub(crate) struct WebError {
    what: &'static str,
    option: &'static str,
    address: String,
    source: io::Error,
}

/// Ports that are taken for a run that has not begun.
#[derive(Debug)]
pub(crate) struct WebServer {
    runtime: Runtime,
    page: Option<HttpServer>,
    metrics: Option<HttpServer>,
}

/// A run that is served.
#[derive(Debug)]
pub(crate) struct ServedRun {
    end: Option<oneshot::Sender<Result<String, String>>>,
    over: Option<Receiver<()>>,
}

impl WebServer {
    /// Takes the ports; `None` where nothing is to be served.
    ///
    /// # Errors
    /// An address is taken, or is none of this machine.
    pub(crate) fn bind(addresses: &WebAddresses) -> Result<Option<WebServer>, WebError> {
        if addresses.page.is_none() && addresses.metrics.is_none() {
            return Ok(None);
        }
        let failed = |(what, option): (&'static str, &'static str), address: &str, source: io::Error| WebError {
            what,
            option,
            address: address.to_owned(),
            source,
        };
        let page = ("page of the run", "web");
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(page, addresses.page.as_deref().unwrap_or_default(), error))?;
        let bind = |of, address: &Option<String>| {
            let bound =
                address.as_ref().map(|address| runtime.block_on(HttpServer::bind(address)).map_err(|error| failed(of, address, error)));
            bound.transpose()
        };
        let (page, metrics) = (bind(page, &addresses.page)?, bind(("metrics", "metrics"), &addresses.metrics)?);
        Ok(Some(WebServer { runtime, page, metrics }))
    }

    /// URL of the page.
    pub(crate) fn page_url(&self) -> Option<String> {
        self.page.as_ref().map(|page| format!("http://{}/", page.address()))
    }

    /// URL of the metrics.
    pub(crate) fn metrics_url(&self) -> Option<String> {
        self.metrics.as_ref().map(|metrics| format!("http://{}/metrics", metrics.address()))
    }

    /// The addresses that others can reach.
    pub(crate) fn open_to_others(&self) -> impl Iterator<Item = SocketAddr> {
        let addresses = [&self.page, &self.metrics].into_iter().flatten().map(HttpServer::address);
        addresses.filter(|address| !address.ip().is_loopback()).collect::<Vec<_>>().into_iter()
    }

    /// Serves what is published of this run.
    pub(crate) fn serve(self, plan: &Plan, updates: Subscription) -> ServedRun {
        let (end, ended) = oneshot::channel();
        let (say_over, over) = mpsc::channel::<()>();
        let WebServer { runtime, page, metrics } = self;
        let run = LivePage::of(plan);
        let names = metrics::MetricLabels::of(plan);
        let serve = move || {
            let _say_over = say_over;
            runtime.block_on(served(run, names, (page, metrics), updates, ended));
        };
        // A machine that has no thread for it has other worries, and the run goes on.
        let over = thread::Builder::new().name("web".to_owned()).spawn(serve).ok().map(|_| over);
        ServedRun { end: Some(end), over }
    }
}

impl ServedRun {
    /// Gives the pages that are open the report of the run, or why there is none, and waits a while until they have it.
    pub(crate) fn finish(mut self, report: Result<String, String>) {
        self.end(report);
    }

    fn end(&mut self, report: Result<String, String>) {
        if let Some(end) = self.end.take() {
            // Where the thread is gone nobody waits for it.
            let _ = end.send(report);
            self.over.take().map(|over| over.recv_timeout(TAKEN_WITHIN + Duration::from_secs(1)));
        }
    }
}

impl Drop for ServedRun {
    fn drop(&mut self) {
        self.end(Err("The run has ended without a report: its messages on the terminal say why.".to_owned()));
    }
}

/// Serves until the report has gone to the pages that are open.
async fn served(
    run: Arc<LivePage>,
    labels: metrics::MetricLabels,
    (page, metrics): (Option<HttpServer>, Option<HttpServer>),
    mut updates: Subscription,
    ended: oneshot::Receiver<Result<String, String>>,
) {
    let latest = Arc::new(Mutex::new(Update::default()));
    let (stop, stopped) = tokio::sync::watch::channel(());
    let end = |mut stopped: tokio::sync::watch::Receiver<()>| async move { drop(stopped.changed().await) };
    let (for_page, for_metrics) = (run.clone(), latest.clone());
    let page_end = end(stopped.clone());
    let pages = async move {
        let Some(server) = page else { return };
        let loopback = server.address().ip().is_loopback();
        let answer = move |request| {
            let answer = for_page.answer(&request, loopback);
            async move { answer }
        };
        server.serve(answer, page_end, TAKEN_WITHIN).await;
    };
    let metrics_end = end(stopped);
    let metrics = async move {
        let Some(server) = metrics else { return };
        let loopback = server.address().ip().is_loopback();
        let answer = move |request: hyper::Request<hyper::body::Incoming>| {
            let refused = crate::http::visitor::Audience::Browsers.refusal(request.headers(), loopback);
            let answer = match (refused, request.uri().path()) {
                (Some(why), _) => text(StatusCode::FORBIDDEN, why),
                (None, "/metrics") => whole(StatusCode::OK, exposition::TYPE, labels.text(&crate::lock::lock(&for_metrics))),
                (None, _) => text(StatusCode::NOT_FOUND, "the metrics are at /metrics"),
            };
            async move { answer }
        };
        server.serve(answer, metrics_end, TAKEN_WITHIN).await;
    };
    let following = async move {
        while let Some(update) = updates.next().await {
            *crate::lock::lock(&latest) = update.clone();
            run.add(update);
        }
        let report = ended.await.unwrap_or_else(|_| Err("The run has ended.".to_owned()));
        run.end(report);
        drop(stop);
    };
    tokio::join!(pages, metrics, following);
}
