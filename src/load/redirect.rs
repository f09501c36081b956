//! Redirects of opening handshakes: where they lead, and whether a client may follow.

use crate::address::Address;
use crate::event::{Event, Outcome, Stage};
use crate::load::context::RunContext;
use crate::load::request_template::Redirect;
use crate::plan::Remote;
use crate::sut::endpoint::{self, Endpoint};
use crate::ws::handshake::client::LOCATION_MAX;
use crate::ws::handshake::failure::{Failure, fail};
use std::sync::Arc;
use url::Url;

/// Statuses that lead elsewhere (RFC 9110 §15.4); the method is always GET.
const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

/// Where a failed attempt was sent by a redirect; `None`: it was not. `from`: where it came from, if not from the target.
pub(crate) fn of(failure: &Failure, target: &Endpoint, from: Option<&Redirect>) -> Option<Result<Redirect, Failure>> {
    let Outcome::Rejected { status, location: Some(location), .. } = &failure.outcome else { return None };
    // What a fault answered is no word of the server.
    if !STATUSES.contains(status) || failure.fault.is_some() {
        return None;
    }
    let here = from.map_or(&target.url, |from| &from.url);
    Some(led(here, location).map(|url| Redirect { strange: url.authority != target.url.authority, url }).map_err(|why| wrong(&why)))
}

fn wrong(why: &str) -> Failure {
    fail(Stage::Upgrade, &format!("redirect: {why}"))
}

/// A `Location` as seen from an address (RFC 9110 §10.2.2). Credentials in it are left out.
fn led(from: &Address, location: &str) -> Result<Address, String> {
    if location.chars().count() >= LOCATION_MAX {
        return Err(format!("the Location has {LOCATION_MAX} characters or more"));
    }
    let base =
        Url::parse(&format!("{}://{}/", if from.secure { "wss" } else { "ws" }, from.authority)).map_err(|error| error.to_string())?;
    let mut url = base.join(location).map_err(|error| format!("the Location is not a URL: {error}"))?;
    let (_, _) = (url.set_username(""), url.set_password(None));
    // Braces are text here, and no names.
    let text = url.as_str().replace('{', "%7B").replace('}', "%7D");
    let address = Address::parse(&text.replacen("http", "ws", usize::from(text.starts_with("http")))).map_err(str::to_owned)?;
    // A server may not lead its clients to sockets of their machine.
    if address.socket.is_some() { Err("the Location is a Unix socket".to_owned()) } else { Ok(address) }
}

/// The place that a redirect leads to, if a client may go there.
///
/// # Errors
/// It may not, or there is none.
pub(crate) async fn find(shared: &RunContext, target: &Endpoint, led: &Redirect, remote: &Remote) -> Result<Arc<Endpoint>, Failure> {
    let url = &led.url;
    let place = shared.http_places.find(url.clone(), endpoint::elsewhere(&shared.plan.target, !led.strange)).await;
    let place = place.map_err(|why| wrong(&why))?;
    let known = !led.strange || place.is_here() || remote.proxy.is_none() && place.addresses().iter().all(|one| target.has_ip(one.ip()));
    // Nobody has agreed to load on that machine.
    if shared.plan.limits.elsewhere && !known {
        return Err(wrong(&format!("{} is on another machine: add --yes to allow it", url.host)));
    }
    let text = format!("followed a redirect to {}://{}", if url.secure { "wss" } else { "ws" }, url.authority);
    shared.journal.record(&Event::Notice { text });
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_seen_from_where_they_were_said() {
        let from = Address::parse("wss://example.org:444/room/7?x=1").expect("a URL");
        for (location, expected) in [
            ("/lobby?a=b", Ok("wss://example.org:444/lobby?a=b")),
            ("https://other.example/x", Ok("wss://other.example/x")),
            ("http://user:word@other.example:81/", Ok("ws://other.example:81/")),
            ("//third.example/y", Ok("wss://third.example/y")),
            ("ws://[::1]:9/{client}", Ok("ws://[::1]:9/%7Bclient%7D")),
            ("ftp://x/", Err("not a ws:// or wss:// URL")),
            ("http://", Err("not a URL")),
            ("ws+unix:/run/app.sock:/", Err("a Unix socket")),
        ] {
            let found = led(&from, location);
            match expected {
                Ok(url) => assert_eq!(found.as_ref().map(Address::as_written), Ok(url), "{location}"),
                Err(why) => assert!(found.as_ref().is_err_and(|found| found.contains(why)), "{location}: {found:?}"),
            }
        }
        assert!(led(&from, &"x".repeat(LOCATION_MAX)).is_err());
    }
}
