//! Faults of the TCP connection below an open session: ends, cuts, and four ways of being silent.

use super::row::{DECLARED, HELD};
use super::{
    ConnectionEffects, Effect, End, Flow, Form, Frame, InjectionStep, KindRow, Layer, Param, Payload, Side, TEXT, ValueShape,
    expected_codes,
};
use std::time::Duration;

const BOTH: &[Side] = &[Side::Client, Side::Server];

fn steps(steps: Vec<InjectionStep>) -> Effect {
    Effect::Connection { gate: ConnectionEffects::default(), steps }
}

fn gate(gate: ConnectionEffects) -> Effect {
    Effect::Connection { gate, steps: Vec::new() }
}

pub(super) const ROWS: &[KindRow] = &[
    KindRow {
        kind: "drop_fin",
        layer: Layer::Transport,
        sides: BOTH,
        form: Form::Instant,
        params: &[],
        summary: "ends the TCP connection with FIN and no Close frame",
        expect: "peer: 1006, TCP end fin, nothing on the wire in answer",
        told: expected_codes::abnormal,
        source: "RFC 6455 §7.1.5; measured: 1006 in every library",
        effect: |_| steps(vec![InjectionStep::End(End::Fin)]),
    },
    KindRow {
        kind: "drop_rst",
        layer: Layer::Transport,
        sides: BOTH,
        form: Form::Instant,
        params: &[],
        summary: "aborts the TCP connection with RST (zero linger at the time of injection)",
        expect: "peer: 1006, TCP end rst; unsent and unread bytes are lost",
        told: expected_codes::abnormal,
        source: "RFC 9293 §3.10.4; RFC 6455 §7.1.5",
        effect: |_| steps(vec![InjectionStep::End(End::Rst)]),
    },
    KindRow {
        kind: "truncate_frame",
        layer: Layer::Transport,
        sides: BOTH,
        form: Form::Instant,
        params: &[
            Param { name: "declared", shape: DECLARED, default: Some("100B"), doc: "Payload length in the frame header." },
            Param { name: "keep", shape: HELD, default: Some("10B"), doc: "Payload bytes that are sent before the cut." },
            Param { name: "end", shape: ValueShape::Choice(&["fin", "rst"]), default: Some("fin"), doc: "How TCP ends after that." },
        ],
        summary: "sends a text frame header and part of its payload, then ends TCP",
        expect: "peer: 1006, cut inside a frame",
        told: expected_codes::abnormal,
        source: "RFC 6455 §7.1.5; measured",
        effect: |values| {
            let declared = values.bytes("declared").unwrap_or(100);
            steps(vec![
                InjectionStep::Frames(vec![Frame {
                    declared: Some(declared),
                    payload: Payload::Filled(values.bytes("keep").unwrap_or(10).min(declared.saturating_sub(1))),
                    ..Frame::new(TEXT, "")
                }]),
                InjectionStep::End(End::named(values.text("end"))),
            ])
        },
    },
    KindRow {
        kind: "half_close_write",
        layer: Layer::Transport,
        sides: BOTH,
        form: Form::Instant,
        params: &[Param {
            name: "keep_reading",
            shape: ValueShape::Duration,
            default: Some("5s"),
            doc: "How long the side keeps reading; 0: until the peer closes.",
        }],
        summary: "sends FIN for its own direction and keeps reading",
        expect: "peer: 1006 by FIN; most libraries then close fully",
        told: expected_codes::abnormal,
        source: "RFC 9293 §3.6; measured",
        effect: |values| {
            steps(vec![InjectionStep::HalfClose { keep_reading: values.duration("keep_reading").unwrap_or(Duration::from_secs(5)) }])
        },
    },
    KindRow {
        kind: "freeze",
        layer: Layer::Transport,
        sides: BOTH,
        form: Form::Holding,
        params: &[],
        summary: "neither reads nor writes, like a process that hangs while its kernel keeps running",
        expect: "peer: nothing, until a pong deadline; its writes succeed until buffers are full",
        told: expected_codes::silent,
        source: "measured: a kernel swallowed 3.9 MB before back-pressure",
        effect: |_| gate(ConnectionEffects { read: Flow::Stop, write: Flow::Stop, ..ConnectionEffects::default() }),
    },
    KindRow {
        kind: "stop_reading",
        layer: Layer::Transport,
        sides: BOTH,
        form: Form::Holding,
        params: &[Param {
            name: "rcvbuf",
            shape: ValueShape::Bytes { max: 1 << 30 },
            default: None,
            doc: "SO_RCVBUF set at injection; smaller shows the closed window sooner.",
        }],
        summary: "stops reading but still writes: the TCP window closes when the kernel's buffers are full",
        expect: "peer: nothing until its writes block or a pong deadline passes",
        told: expected_codes::silent,
        source: "RFC 9293 §3.8.6",
        effect: |values| {
            gate(ConnectionEffects {
                read: Flow::Stop,
                receive_buffer: values.bytes("rcvbuf").and_then(|bytes| u32::try_from(bytes).ok()),
                ..ConnectionEffects::default()
            })
        },
    },
    KindRow {
        kind: "blackhole",
        layer: Layer::Transport,
        sides: BOTH,
        form: Form::Holding,
        params: &[
            Param {
                name: "dir",
                shape: ValueShape::Choice(&["both", "up", "down"]),
                default: Some("both"),
                doc: "up: towards the server, down: towards the client.",
            },
            Param {
                name: "on_revert",
                shape: ValueShape::Choice(&["close", "resume"]),
                default: Some("close"),
                doc: "What happens when the fault ends. close: reset, like a path that lost its state; resume: later bytes pass, lost \
                    bytes stay lost. On wss the next TLS record is then invalid, which ends the connection with the fault as its cause.",
            },
        ],
        summary: "discards bytes silently, FIN and RST too: a dead network path",
        expect: "peer: nothing, until a pong deadline; an idle peer never notices",
        told: expected_codes::silent,
        source: "measured; Linux gives up on unacknowledged writes after 924.6 s or more",
        effect: |values| {
            // From the client's side; `Injection::effect` swaps the directions for the server.
            let dir = values.text("dir").unwrap_or("both");
            let flow = |on: bool| if on { Flow::Discard } else { Flow::Pass };
            gate(ConnectionEffects {
                write: flow(dir != "down"),
                read: flow(dir != "up"),
                reset_on_revert: values.text("on_revert") != Some("resume"),
                ..ConnectionEffects::default()
            })
        },
    },
];
