//! The opening requests of simulated clients, and how many are under way at once.

use crate::dialogue::ClientMemory;
use crate::plan::Cohort;
use crate::sut::endpoint::Endpoint;
use crate::template::TemplateValues;
use crate::ws::handshake::client::{Request, RequestTemplate, values};
use crate::ws::handshake::own_headers::{ID_HEADER, Id};
use std::time::Duration;
use tokio::sync::SemaphorePermit;

/// Attempts between their connect and their first bytes, at most. A server that is asleep is woken by the first bytes of many and not by
/// each, which costs as much as the rest of the handshake where both are on one machine; and the first do not wait for thousands.
pub(crate) const CONNECT_BURST: usize = 64;

/// Leave to connect, until the first bytes are written.
pub(crate) type Turn<'a> = SemaphorePermit<'a>;

/// The opening request of an attempt with these values. With [`Request::marks`]: what all have in common.
pub(crate) fn request<'a>(cohort: &'a Cohort, place: &'a Endpoint, values: &TemplateValues<'_>) -> Result<Request<'a>, String> {
    let mut request = Request::new(&place.url, cohort.path.as_ref(), cohort.query.as_ref(), values);
    for (name, value) in cohort.dialogue().asks() {
        request.set(name, value)?;
    }
    if !cohort.subprotocols.is_empty() {
        let all: Vec<_> = cohort.subprotocols.iter().map(|one| one.fill(values)).collect();
        request.set("Sec-WebSocket-Protocol", all.join(", "))?;
    }
    for (name, value) in &cohort.headers {
        request.set(name, value.fill(values))?;
    }
    Ok(request)
}

/// With the id that both sides of a connection are joined by.
fn identified<'a>(mut request: Request<'a>, place: &Endpoint, values: &TemplateValues<'_>) -> Result<Request<'a>, String> {
    let key = place.key.iter().map(|key| format!("/{}", key.text())).collect::<String>();
    request.set(ID_HEADER, format!("{}/{}{key}", values.client, values.attempt))?;
    Ok(request)
}

/// The opening request of an attempt, of a client that keeps something for it or does not.
pub(crate) fn whole<'a>(
    cohort: &'a Cohort,
    place: &'a Endpoint,
    id: Id,
    memory: Option<&ClientMemory>,
    now: Duration,
) -> Result<Request<'a>, String> {
    let whole = |values: &TemplateValues<'_>| identified(request(cohort, place, values)?, place, values);
    match memory {
        Some(memory) => memory.with_values(cohort.named_data(), (id.client, id.connection), now, whole),
        None => whole(&values(id)),
    }
}

/// What the opening requests of a cohort to a place have in common.
///
/// # Errors
/// What is wrong with them, in words.
pub(crate) fn form(cohort: &Cohort, place: &Endpoint) -> Result<RequestTemplate, String> {
    let marks = Request::marks();
    Ok(RequestTemplate::new(identified(request(cohort, place, &marks)?, place, &marks)?, &place.url))
}
