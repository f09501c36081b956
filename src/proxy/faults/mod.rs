//! Faults of closestorm's own catalogue on connections through the proxy.
//!
//! `desk` has all faults, fires them by their schedules and selects connections; `words` reads and writes them; `dose` is what reaches a
//! connection, and `held` what it leaves there, which `relay_faults` carries out. Those of opening handshakes are in `proxy::opening`, those of
//! listening sockets in `proxy::listener`.

pub(crate) mod desk;
pub(crate) mod dose;
pub(crate) mod held;
pub(crate) mod words;

use crate::fault::{Effect, Injection, OnListener, Side};

/// Why a proxy cannot carry a kind out; `None`: it can.
pub(crate) fn why_not(injection: &Injection, side: Side) -> Option<&'static str> {
    match injection.effect(side) {
        Effect::Process(_) => Some("it acts on processes of the server, and the proxy has none of them: it only sees connections"),
        Effect::Listener { on: OnListener::Files(_), .. } => {
            Some("it would lower the limit of open files of the proxy itself, for all its listeners and its control API")
        }
        Effect::Connection { .. } | Effect::BothEnds { .. } | Effect::Attempt(_) | Effect::Listener { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Layer, proxied_rows, rows};

    /// Each kind is carried out, or refused with a reason, and only those are that need the process of the server.
    #[test]
    fn every_kind_is_carried_out_or_refused_with_its_reason() {
        let mut refused = Vec::new();
        for row in rows().chain(proxied_rows()) {
            for side in row.sides {
                let injection = Injection { row, values: row.defaults() };
                if let Some(why) = why_not(&injection, *side) {
                    assert!(!why.is_empty() && matches!(row.layer, Layer::Process | Layer::Handshake), "{}", row.kind);
                    refused.push(row.kind);
                }
            }
        }
        assert_eq!(refused, ["fd_exhaust", "server_crash", "server_graceful", "server_restart_rolling", "server_pause"]);
    }
}
