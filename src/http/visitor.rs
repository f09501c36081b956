//! Who may ask a server that is meant for this machine: a web page from elsewhere may not, and while the server listens on loopback nobody who was
//! led here by a foreign name.

use hyper::header::{HOST, HeaderMap, ORIGIN, USER_AGENT};
use std::net::IpAddr;

/// Whom a server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Programs only: no browser.
    Programs,
    /// Browsers too, with pages of this server.
    Browsers,
}

impl Audience {
    /// Why a request is not answered.
    pub(crate) fn refusal(self, headers: &HeaderMap, loopback: bool) -> Option<&'static str> {
        let is_browser = headers.get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"Mozilla/"));
        if self == Audience::Programs && is_browser {
            return Some("User agent not allowed");
        }
        if headers.contains_key(ORIGIN) && !(self == Audience::Browsers && is_own(headers)) {
            return Some("requests from web pages (Origin) are not allowed");
        }
        let foreign = headers.get_all(HOST).iter().any(|host| !host.to_str().is_ok_and(is_loopback));
        (loopback && foreign).then_some("the Host is not this machine's loopback")
    }
}

/// Whether a page of this server asks.
fn is_own(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
    headers.get_all(ORIGIN).iter().count() == 1 && origin.is_some() && origin == text(HOST)
}

/// Whether a `Host` names loopback: a page that has a name of its own resolved to loopback (DNS rebinding) asks for that name.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.ends_with(']') => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    #[test]
    fn pages_from_elsewhere_are_refused_and_programs_are_not() {
        let headers = |fields: &[(&'static str, &'static str)]| -> HeaderMap {
            let header = |text: &str| text.parse::<HeaderName>().expect("a name");
            fields.iter().map(|(name, value)| (header(name), HeaderValue::from_static(value))).collect()
        };
        // Refused to programs only, and to browsers too.
        for (fields, loopback, programs, browsers) in [
            (&[("host", "localhost:8474")][..], true, false, false),
            (&[("host", "127.0.0.1")], true, false, false),
            (&[("host", "[::1]:8474"), ("user-agent", "toxiproxy-cli")], true, false, false),
            (&[], true, false, false),
            (&[("host", "toxiproxy:8474")], false, false, false),
            (&[("host", "toxiproxy:8474")], true, true, true),
            (&[("host", "127.0.0.1.example.org")], true, true, true),
            (&[("host", "localhost:8474@example.org")], true, true, true),
            (&[("host", "localhost"), ("origin", "null")], true, true, true),
            (&[("host", "localhost:1"), ("origin", "http://localhost:1")], true, true, false),
            (&[("host", "localhost:1"), ("origin", "http://localhost:2")], true, true, true),
            (&[("host", "localhost:1"), ("origin", "http://localhost:1"), ("origin", "http://h")], true, true, true),
            (&[("host", "h"), ("origin", "http://h")], true, true, true),
            (&[("host", "h"), ("origin", "http://g")], false, true, true),
            (&[("host", "localhost"), ("user-agent", "Mozilla/5.0")], true, true, false),
        ] {
            for (visitors, refused) in [(Audience::Programs, programs), (Audience::Browsers, browsers)] {
                assert_eq!(visitors.refusal(&headers(fields), loopback).is_some(), refused, "{visitors:?} {fields:?}");
            }
        }
    }
}
