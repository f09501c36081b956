//! HTTP requests before a connection: logins, tickets, negotiations. Each over a connection of its own, by the transport of all attempts.

use crate::address::Address;
use crate::dialogue::{ClientMemory, HttpRequest, Payload};
use crate::event::{ClientIndex, ConnectionNo, Event, Outcome, Stage};
use crate::load::attempt;
use crate::load::context::RunContext;
use crate::load::http_places::HttpPlaces;
use crate::plan::{Cohort, Plan};
use crate::reconnect::NextAddress;
use crate::secret::Secrets;
use crate::seed::Seed;
use crate::sut::endpoint::{self, Endpoint};
use crate::template::TemplateValues;
use crate::transport::send_limit::SendLimit;
use crate::ws::handshake::client::values;
use crate::ws::handshake::failure::{Failure, fail};
use crate::ws::handshake::own_headers::Id;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Largest body of an answer, bytes.
const BODY_MAX: usize = 1 << 20;

/// An answer.
struct HttpAnswer {
    status: u16,
    headers: hyper::HeaderMap,
    body: Bytes,
}

/// Carries out the requests of a cohort before an attempt of a client, and keeps what they capture.
///
/// # Errors
/// The first that went wrong.
pub(crate) async fn run(shared: &RunContext, cohort: &Cohort, (id, instance): (Id, u16), memory: &mut ClientMemory) -> Result<(), Failure> {
    let requests = cohort.script.iter().flat_map(|script| &script.before);
    for request in requests {
        // Each is a connection that somebody must accept, as the attempt itself.
        shared.one_more_attempt().await;
        let begun = Instant::now();
        let now = shared.journal.now();
        let place = shared.fleet.place(instance);
        let sends = shared.caps.sends.as_ref();
        let asker = Asker { who: (id.client, id.connection), now, plan: &shared.plan, places: &shared.http_places, sends };
        let work = carry_out(request, cohort, &asker, place, memory);
        let answer = timeout(request.within, work).await;
        let status = answer.as_ref().ok().and_then(|answer| answer.as_ref().ok()).map(|answer| answer.status);
        let (client, took, late) = (id.client, begun.elapsed(), answer.is_err());
        shared.journal.record(&Event::Requested { client, took, status, late });
        let answer = match answer {
            Ok(answer) => answer.map_err(|why| failed(shared, cohort, request, memory, fail(Stage::Before, &why)))?,
            Err(_) => {
                let late = Failure { stage: Stage::Before, outcome: Outcome::TimedOut, fault: None, local: None };
                return Err(failed(shared, cohort, request, memory, late));
            }
        };
        judge(request, &answer).map_err(|failure| failed(shared, cohort, request, memory, failure))?;
        capture(request, &answer, memory).map_err(|why| failed(shared, cohort, request, memory, fail(Stage::Before, &why)))?;
    }
    Ok(())
}

/// The same outside of a run, for the probe before it.
///
/// # Errors
/// What is wrong, in words.
pub(crate) async fn probe(plan: &Plan, cohort: &Cohort, place: &Endpoint, memory: &mut ClientMemory) -> Result<(), String> {
    let who = (ClientIndex(cohort.first), ConnectionNo(1));
    let asker = Asker { who, now: Duration::ZERO, plan, places: &HttpPlaces::default(), sends: None };
    for request in cohort.script.iter().flat_map(|script| &script.before) {
        let work = carry_out(request, cohort, &asker, place, memory);
        let answer = timeout(request.within, work).await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let wrong = |why: String| format!("HTTP request `{}` before the connection: {why}", request.name);
        let answer = answer.map_err(wrong)?;
        judge(request, &answer).map_err(|_| wrong(format!("it was answered with {}", answer.status)))?;
        capture(request, &answer, memory).map_err(wrong)?;
    }
    Ok(())
}

/// Tells which request it was.
fn failed(shared: &RunContext, cohort: &Cohort, request: &HttpRequest, memory: &ClientMemory, failure: Failure) -> Failure {
    let what = match &failure.outcome {
        Outcome::Rejected { status, .. } => format!("was answered with {status}"),
        Outcome::TimedOut => "was not answered in time".to_owned(),
        Outcome::Failed { why } => {
            let mut secrets = Secrets::default();
            memory.add_secrets(cohort.named_data().1, &mut secrets);
            secrets.hide(why)
        }
        _ => "failed".to_owned(),
    };
    let text = format!("cohort {}: HTTP request `{}` before the connection: {what}", cohort.name, request.name);
    shared.journal.record(&Event::Notice { text });
    failure
}

/// Whether the status is right.
fn judge(request: &HttpRequest, answer: &HttpAnswer) -> Result<(), Failure> {
    let right = request.status.map_or((200..300).contains(&answer.status), |status| status == answer.status);
    if right {
        return Ok(());
    }
    let text = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
    let retry_after = text("retry-after").and_then(|value| value.trim().parse().ok()).map(Duration::from_secs);
    let location = text("location").map(|value| value.chars().take(200).collect());
    let outcome = Outcome::Rejected { status: answer.status, retry_after, location };
    Err(Failure { stage: Stage::Before, outcome, fault: None, local: None })
}

fn capture(request: &HttpRequest, answer: &HttpAnswer, memory: &mut ClientMemory) -> Result<(), String> {
    for (name, from) in &request.capture {
        let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let found = from.find(Payload::Binary(&answer.body), &header);
        memory.capture(name, found.ok_or_else(|| format!("there is no `{name}` in its answer"))?)?;
    }
    Ok(())
}

/// Who asks, and when.
struct Asker<'a> {
    who: (ClientIndex, ConnectionNo),
    now: Duration,
    plan: &'a Plan,
    /// What was looked up.
    places: &'a HttpPlaces,
    /// What limits what is sent.
    sends: Option<&'a Arc<SendLimit>>,
}

async fn carry_out(
    request: &HttpRequest,
    cohort: &Cohort,
    &Asker { who, now, plan, places, sends }: &Asker<'_>,
    target: &Endpoint,
    memory: &ClientMemory,
) -> Result<HttpAnswer, String> {
    let filled = |values: &TemplateValues<'_>| {
        let headers: Vec<_> = request.headers.iter().map(|(name, value)| (name.clone(), value.fill(values).into_owned())).collect();
        (request.url.fill(values).into_owned(), headers, request.body.fill(values).into_owned())
    };
    let (url, mut headers, body) = memory.with_values(cohort.named_data(), who, now, filled);
    let (found, path);
    let place = if url.starts_with('/') {
        path = url;
        target
    } else {
        let address = Address::parse(&url.replacen("http", "ws", 1)).map_err(str::to_owned)?;
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        path = rest.find(['/', '?']).map_or_else(
            || "/".to_owned(),
            |at| if rest[at..].starts_with('?') { format!("/{}", &rest[at..]) } else { rest[at..].to_owned() },
        );
        let credentials = address.authorization(&values(Id { client: who.0, connection: who.1 }));
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            headers.extend(credentials.map(|credentials| ("Authorization".to_owned(), credentials)));
        }
        let own = address.authority == target.url.authority;
        found = places.find(address, endpoint::elsewhere(&plan.target, target, own, plan.limits.elsewhere)).await?;
        &*found
    };
    let mut asked = hyper::Request::builder().method(&*request.method).uri(path).header("host", &*place.url.authority);
    for (name, value) in headers {
        asked = asked.header(name, value);
    }
    let asked = asked.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
    exchange((place, cohort.reconnect.next_address), (who, plan.seed), sends, asked).await
}

/// One request on a connection of its own.
async fn exchange(
    (place, library): (&Endpoint, NextAddress),
    (who, seed): ((ClientIndex, ConnectionNo), Seed),
    sends: Option<&Arc<SendLimit>>,
    request: hyper::Request<Full<Bytes>>,
) -> Result<HttpAnswer, String> {
    let transport = attempt::connected(place, library, who, seed, sends).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(transport)).await.map_err(|error| error.to_string())?;
    let mut asking = pin!(async move {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, BODY_MAX).collect().await.map_err(|error| error.to_string())?;
        Ok(HttpAnswer { status: parts.status.as_u16(), headers: parts.headers, body: body.to_bytes() })
    });
    let mut connection = pin!(connection);
    tokio::select! {
        // The answer decides: its connection may end with it.
        biased;
        answer = &mut asking => return answer,
        _ = &mut connection => {}
    }
    asking.await
}
