//! Faults of the closing handshake.

use super::{CloseAck, Effect, Form, Gate, Layer, Param, Row, Shape, Side, Step, end, whole};

const BOTH: &[Side] = &[Side::Client, Side::Server];

fn gate(gate: Gate) -> Effect {
    Effect::Connection { gate, steps: Vec::new() }
}

pub(super) const ROWS: &[Row] = &[
    Row {
        kind: "close_code",
        layer: Layer::Closing,
        sides: BOTH,
        form: Form::Instant,
        params: &[
            Param { name: "code", shape: Shape::Whole { min: 0, max: 65535 }, default: Some("1001"), doc: "Status code, allowed or not." },
            Param { name: "reason", shape: Shape::Text { max: 123 }, default: Some(""), doc: "Reason, at most 123 bytes of UTF-8." },
        ],
        summary: "starts the closing handshake with a status code and reason",
        expect: "peer: that code and an echo of it; for a code that may not be sent 1006, and 1002 in answer",
        source: "RFC 6455 §5.5.1, §7.4; measured",
        effect: |values| Effect::Connection {
            gate: Gate::default(),
            steps: vec![Step::Close {
                code: Some(whole(values, "code").unwrap_or(1001)),
                reason: values.text("reason").unwrap_or_default().to_owned(),
            }],
        },
    },
    Row {
        kind: "close_empty",
        layer: Layer::Closing,
        sides: BOTH,
        form: Form::Instant,
        params: &[],
        summary: "starts the closing handshake with an empty Close frame",
        expect: "peer: 1005, and an empty Close frame in answer",
        source: "RFC 6455 §7.1.5; measured: aiohttp reports 1006",
        effect: |_| Effect::Connection { gate: Gate::default(), steps: vec![Step::Close { code: None, reason: String::new() }] },
    },
    Row {
        kind: "close_ack_delay",
        layer: Layer::Closing,
        sides: BOTH,
        form: Form::Holding,
        params: &[Param { name: "delay", shape: Shape::Duration, default: Some("2s"), doc: "From the peer's Close frame to the answer." }],
        summary: "answers the peer's Close frame late",
        expect: "peer: its own code after the delay, or 1006 if its close deadline is shorter",
        source: "RFC 6455 §5.5.1, §7.1.1; measured: deadlines of 2 s to 60 s, or none",
        effect: |values| gate(Gate { close_ack: CloseAck::Delayed(values.duration("delay").unwrap_or_default()), ..Gate::default() }),
    },
    Row {
        kind: "close_ack_drop",
        layer: Layer::Closing,
        sides: BOTH,
        form: Form::Holding,
        params: &[Param {
            name: "then",
            shape: Shape::Choice(&["hold", "fin", "rst"]),
            default: Some("hold"),
            doc: "What happens instead of the answer: TCP stays open, or ends.",
        }],
        summary: "never answers the peer's Close frame",
        expect: "peer: 1006 by its close deadline, or at once by FIN or RST",
        source: "RFC 6455 §7.1.5; measured: 1006 after 10 s to 30 s, or never",
        effect: |values| gate(Gate { close_ack: CloseAck::Never(end(values.text("then"))), ..Gate::default() }),
    },
    Row {
        kind: "close_hold_tcp",
        layer: Layer::Closing,
        sides: BOTH,
        form: Form::Holding,
        params: &[
            Param { name: "hold", shape: Shape::Duration, default: Some("5s"), doc: "From the end of the closing handshake to the FIN." },
            Param {
                name: "code",
                shape: Shape::Whole { min: 0, max: 65535 },
                default: None,
                doc: "Starts the closing handshake with this code; without it the fault waits for one.",
            },
        ],
        summary: "completes the closing handshake and keeps TCP open",
        expect: "peer: the code is known, its wait for the FIN ends by its own deadline",
        source: "RFC 6455 §7.1.1: the server closes TCP first; measured: some clients wait for ever",
        effect: |values| Effect::Connection {
            gate: Gate { hold_tcp: values.duration("hold").unwrap_or_default(), ..Gate::default() },
            steps: whole(values, "code").map(|code| Step::Close { code: Some(code), reason: String::new() }).into_iter().collect(),
        },
    },
];
