//! What the control API has beyond Toxiproxy's, below `/v1/`: connections as they are now.

use crate::fault::End;
use crate::proxy::account::frames_json;
use crate::proxy::api::wire::ApiError;
use crate::proxy::connection::{DirectionCounters, ProxiedConnection, Speech};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// A connection, with the names of the toxics that act on it.
pub(crate) fn connection_json(proxy: &str, connection: &ProxiedConnection, toxics: &[&str]) -> Value {
    let speaks = match connection.speech() {
        Speech::Bytes | Speech::Asked => "bytes",
        Speech::WebSocket => "websocket",
        Speech::Tls => "tls",
    };
    json!({
        "proxy": proxy,
        "id": connection.id,
        "client": connection.peer.to_string(),
        "identity": connection.client().as_deref(),
        "age_ms": u64::try_from(connection.opened.elapsed().as_millis()).unwrap_or(u64::MAX),
        "speaks": speaks,
        "up": direction_json(&connection.up),
        "down": direction_json(&connection.down),
        "toxics": toxics,
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

/// How a query asks for a connection to be ended: `end=fin`, which is the default, or `end=rst`.
pub(crate) fn end_of(query: &str) -> Result<End, ApiError> {
    match query {
        "" | "end=fin" => Ok(End::Fin),
        "end=rst" => Ok(End::Rst),
        _ => Err(ApiError::new(400, "the query is end=fin or end=rst")),
    }
}
