//! The opening requests of simulated clients, and how many are under way at once.

use crate::address::Address;
use crate::dialogue::ClientMemory;
use crate::plan::Cohort;
use crate::sut::endpoint::Endpoint;
use crate::template::TemplateValues;
use crate::ws::handshake::client::{Request, RequestTemplate, values};
use crate::ws::handshake::cookies::CookieJar;
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

/// What an attempt has of its own for its opening request.
#[derive(Clone, Copy, Default)]
pub(crate) struct OwnParts<'a> {
    /// What the client keeps for its dialogue.
    pub(crate) memory: Option<&'a ClientMemory>,
    /// The cookies that it keeps.
    pub(crate) jar: Option<&'a CookieJar>,
    /// Where a redirect led.
    pub(crate) redirect: Option<&'a Redirect>,
}

/// Where a redirect led.
pub(crate) struct Redirect {
    /// Path and query are those of the request.
    pub(crate) url: Address,
    /// Another host than the target's: it is not told what is the target's own.
    pub(crate) strange: bool,
}

impl OwnParts<'_> {
    /// Whether [`form`] has all of the request.
    pub(crate) fn are_in_form(&self, cohort: &Cohort) -> bool {
        self.redirect.is_none() && self.jar.is_none() && (cohort.is_simple() || self.memory.is_none())
    }
}

/// The opening request of an attempt. `place`: the target.
pub(crate) fn whole<'a>(cohort: &'a Cohort, place: &'a Endpoint, id: Id, own: OwnParts<'a>, now: Duration) -> Result<Request<'a>, String> {
    let whole = |values: &TemplateValues<'_>| {
        let mut request = identified(request(cohort, place, values)?, place, values)?;
        if let Some(redirect) = own.redirect {
            request.redirect(&redirect.url, values);
        }
        if let Some(jar) = own.jar {
            let secure = own.redirect.map_or(place.url.secure, |redirect| redirect.url.secure);
            request.add_cookies(jar, secure, now);
        }
        if let Some(redirect) = own.redirect.filter(|redirect| redirect.strange) {
            request.withhold(&redirect.url.authority);
        }
        Ok(request)
    };
    match own.memory {
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
