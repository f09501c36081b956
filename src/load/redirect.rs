//! Redirects of opening handshakes: where they lead, and whether a client may follow.

use crate::address::Address;
use crate::event::{Event, Outcome, Stage};
use crate::load::context::RunContext;
use crate::load::request_template::Redirect;
use crate::sut::endpoint::{self, Endpoint};
use crate::ws::handshake::client::LOCATION_MAX;
use crate::ws::handshake::failure::{Failure, fail};
use std::sync::Arc;
use url::Url;

/// Statuses that lead elsewhere (RFC 9110 §15.4); the method is always GET.
const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

/// The `Location` of an answer that is a redirect.
pub(crate) fn location(failure: &Failure) -> Option<&str> {
    match &failure.outcome {
        // What a fault answered is no word of the server.
        Outcome::Rejected { status, location: Some(location), .. } if STATUSES.contains(status) && failure.fault.is_none() => {
            Some(location)
        }
        _ => None,
    }
}

/// Where a failed attempt was sent by a redirect; `None`: it was not. `from`: where it came from, if not from the target.
pub(crate) fn of(failure: &Failure, target: &Endpoint, from: Option<&Redirect>) -> Option<Result<Redirect, Failure>> {
    let here = from.map_or(&target.url, |from| &from.url);
    let url = led(here, location(failure)?);
    Some(url.map(|url| Redirect { strange: is_strange(&url, &target.url), url }).map_err(|why| wrong(&why)))
}

/// Whether what is said to the target only must not be said there: it is another host, or the words would go out in the clear.
fn is_strange(url: &Address, target: &Address) -> bool {
    url.authority != target.authority || url.socket != target.socket || target.secure && !url.secure
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
    let mut address = Address::parse(&text.replacen("http", "ws", usize::from(text.starts_with("http")))).map_err(str::to_owned)?;
    match &from.socket {
        // A server may not lead its clients to other sockets of their machine.
        _ if address.socket.is_some() => return Err("the Location is a Unix socket".to_owned()),
        // Its own has no name that a URL could have.
        Some(socket) if address.authority == from.authority => address.socket = Some(socket.clone()),
        _ => {}
    }
    Ok(address)
}

/// The place that a redirect leads to, if a client may go there; `None`: it is the target's.
///
/// # Errors
/// It may not, or there is none.
pub(crate) async fn find(shared: &RunContext, target: &Endpoint, led: &Redirect) -> Result<Option<Arc<Endpoint>>, Failure> {
    let url = &led.url;
    let place = if !led.strange && url.secure == target.url.secure {
        None
    } else {
        let access = endpoint::elsewhere(&shared.plan.target, target, !led.strange, shared.plan.limits.elsewhere);
        Some(shared.http_places.find(url.clone(), access).await.map_err(|why| wrong(&why))?)
    };
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

    #[test]
    fn a_socket_of_this_machine_stays_itself_and_words_for_the_target_do_not_go_out_in_the_clear() {
        let address = |text: &str| Address::parse(text).expect("a URL");
        let socket = address("ws+unix:/run/app.sock:/chat");
        for (location, expected) in
            [("/lobby", Some("/run/app.sock")), ("http://localhost/", Some("/run/app.sock")), ("http://other/", None)]
        {
            let found = led(&socket, location).expect("a URL");
            assert_eq!((found.socket.as_deref(), is_strange(&found, &socket)), (expected, expected.is_none()), "{location}");
        }
        for (from, to, strange) in [
            ("wss://h/", "wss://h/x", false),
            ("ws://h/", "ws://h:80/x", false),
            ("ws://h/", "wss://h/x", false),
            ("wss://h/", "ws://h/x", true), // not encrypted
            ("wss://h/", "wss://h:444/x", true),
            ("wss://h/", "wss://g/x", true),
        ] {
            assert_eq!(is_strange(&address(to), &address(from)), strange, "{from} {to}");
        }
    }
}
