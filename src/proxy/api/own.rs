//! What the control API has beyond Toxiproxy's, below `/v1/`: connections as they are now.

use crate::close::may_be_sent;
use crate::fault::End;
use crate::proxy::account::frames_json;
use crate::proxy::api::wire::ApiError;
use crate::proxy::connection::{DirectionCounters, ProxiedConnection, Speech};
use crate::text::percent_decoded;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// A connection, with the names of the toxics and faults that act on it.
pub(crate) fn connection_json(connection: &ProxiedConnection, toxics: &[&str], faults: &[String]) -> Value {
    let speaks = match connection.speech() {
        Speech::Bytes | Speech::Asked => "bytes",
        Speech::WebSocket => "websocket",
        Speech::Tls => "tls",
    };
    json!({
        "proxy": &*connection.proxy,
        "id": connection.id,
        "client": connection.peer.to_string(),
        "identity": connection.client().as_deref(),
        "age_ms": u64::try_from(connection.opened.elapsed().as_millis()).unwrap_or(u64::MAX),
        "speaks": speaks,
        "up": direction_json(&connection.up),
        "down": direction_json(&connection.down),
        "toxics": toxics,
        "faults": faults,
    })
}

fn direction_json(counters: &DirectionCounters) -> Value {
    json!({
        "received_bytes": counters.bytes.load(Ordering::Relaxed),
        "sent_bytes": counters.passed_on.load(Ordering::Relaxed),
        "frames": frames_json(&counters.frames()),
        "close_code": counters.close_code(),
    })
}

/// How a connection is to be ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ConnectionEnd {
    /// TCP ends.
    Tcp(End),
    /// Both peers get a Close frame with this code and reason first.
    Close(u16, String),
}

/// How a query asks for a connection to be ended: `end=fin`, which is the default, `end=rst`, or `code=CODE&reason=TEXT`.
pub(crate) fn end_of(query: &str) -> Result<ConnectionEnd, ApiError> {
    let wrong = |why: &str| ApiError::new(400, why);
    let (mut end, mut code, mut reason) = (None, None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decoded(&value.replace('+', " ")).ok_or_else(|| wrong("the query is not UTF-8 in percent encoding"))?;
        match key {
            "end" => end = Some(value),
            "code" => code = Some(value),
            "reason" => reason = Some(value),
            _ => return Err(wrong("the query is end=fin, end=rst, or code=CODE&reason=TEXT")),
        }
    }
    match (end.as_deref(), code, reason) {
        (None | Some("fin"), None, None) => Ok(ConnectionEnd::Tcp(End::Fin)),
        (Some("rst"), None, None) => Ok(ConnectionEnd::Tcp(End::Rst)),
        (None, Some(code), reason) => {
            let code = code.parse().ok().filter(|code| may_be_sent(*code));
            let code = code.ok_or_else(|| wrong("code is a status code that may be sent: 1000 to 1003, 1007 to 1014, or 3000 to 4999"))?;
            let reason = reason.unwrap_or_default();
            if reason.len() > 123 {
                return Err(wrong("reason is longer than 123 bytes"));
            }
            Ok(ConnectionEnd::Close(code, reason))
        }
        _ => Err(wrong("the query is end=fin, end=rst, or code=CODE&reason=TEXT")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_how_a_connection_ends() {
        for (query, end) in [
            ("", ConnectionEnd::Tcp(End::Fin)),
            ("end=fin", ConnectionEnd::Tcp(End::Fin)),
            ("end=rst", ConnectionEnd::Tcp(End::Rst)),
            ("code=1012", ConnectionEnd::Close(1012, String::new())),
            ("code=4000&reason=so+long%2C%20bye", ConnectionEnd::Close(4000, "so long, bye".to_owned())),
        ] {
            assert_eq!(end_of(query), Ok(end), "{query}");
        }
        let long = format!("code=1000&reason={}", "x".repeat(124));
        for query in
            ["end=hold", "code=1006", "code=x", "code=70000", "reason=x", "end=rst&code=1000", "x=y", "code=1000&reason=%ff", &long]
        {
            assert_eq!(end_of(query).map_err(|error| error.status), Err(400), "{query}");
        }
    }
}
