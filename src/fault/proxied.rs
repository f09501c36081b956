//! Faults that only a proxy can carry out, because it stands on the path: whoever is beyond it cannot be reached.

use super::{ConnectionEffects, Effect, Flow, Form, KindRow, Layer, OnListener, Param, Side, ValueShape, expected_codes};

const SERVER: &[Side] = &[Side::Server];

const ROWS: &[KindRow] = &[
    KindRow {
        kind: "connect_blackhole",
        layer: Layer::Handshake,
        sides: SERVER,
        form: Form::Listener,
        params: &[],
        summary: "drops the SYNs of new connections in the kernel; open connections go on",
        expect: "client: its connect times out by its own deadline; one that retries connects when the fault ends",
        told: expected_codes::nothing,
        source: "socket(7) SO_ATTACH_FILTER on a listening socket; tcp(7) tcp_syn_retries",
        effect: |_| Effect::Listener { on: OnListener::Unreachable, instance: None },
    },
    KindRow {
        kind: "partition",
        layer: Layer::Transport,
        sides: SERVER,
        form: Form::Holding,
        params: &[Param {
            name: "on_revert",
            shape: ValueShape::Choice(&["close", "resume"]),
            default: Some("close"),
            doc: "What happens to open connections when the fault ends: they are reset, or later bytes pass.",
        }],
        summary: "cuts the clients off: what they send and get vanishes, FIN and RST too, and SYNs of new connections are dropped",
        expect: "both sides: nothing, until a pong deadline; new connects time out",
        told: expected_codes::silent,
        source: "Jepsen, Chaos Mesh and turmoil call it partition; as blackhole and connect_blackhole together",
        effect: |values| Effect::Connection {
            gate: ConnectionEffects {
                read: Flow::Discard,
                write: Flow::Discard,
                reset_on_revert: values.text("on_revert") != Some("resume"),
                ..ConnectionEffects::default()
            },
            steps: Vec::new(),
        },
    },
];

/// Kinds beside those of [`rows`](super::rows), for a proxy.
pub fn proxied_rows() -> impl Iterator<Item = &'static KindRow> {
    ROWS.iter()
}

/// What a kind asks of listening sockets beside what it asks of connections.
pub fn beside(row: &KindRow) -> Option<OnListener> {
    (row.kind == "partition").then_some(OnListener::Unreachable)
}
