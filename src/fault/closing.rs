//! Faults of the closing handshake.

use super::row::{HELD, SMALL};
use super::{
    CLOSE, CloseAck, ConnectionEffects, Effect, End, Form, Frame, InjectionStep, KindRow, Layer, Param, Payload, Side, TEXT, ValueShape,
    Values,
    expected_codes::{self, Told},
};
use std::time::Duration;

const BOTH: &[Side] = &[Side::Client, Side::Server];

fn gate(gate: ConnectionEffects) -> Effect {
    Effect::Connection { gate, steps: Vec::new() }
}

pub(super) const ROWS: &[KindRow] = &[
    KindRow {
        kind: "close_code",
        layer: Layer::Closing,
        sides: BOTH,
        form: Form::Instant,
        params: &[
            Param {
                name: "code",
                shape: ValueShape::Whole { min: 0, max: 65535 },
                default: Some("1001"),
                doc: "Status code, allowed or not.",
            },
            Param { name: "reason", shape: ValueShape::Text { max: 123 }, default: Some(""), doc: "Reason, at most 123 bytes of UTF-8." },
        ],
        summary: "starts the closing handshake with a status code and reason",
        expect: "peer: that code and an echo of it; for a code that may not be sent 1006, and 1002 in answer",
        told: expected_codes::code,
        source: "RFC 6455 §5.5.1, §7.4; measured",
        effect: |values| Effect::Connection {
            gate: ConnectionEffects::default(),
            steps: vec![InjectionStep::Close {
                code: Some(values.short("code").unwrap_or(1001)),
                reason: values.text("reason").unwrap_or_default().to_owned(),
            }],
        },
    },
    KindRow {
        kind: "close_empty",
        layer: Layer::Closing,
        sides: BOTH,
        form: Form::Instant,
        params: &[],
        summary: "starts the closing handshake with an empty Close frame",
        expect: "peer: 1005, and an empty Close frame in answer",
        told: expected_codes::empty,
        source: "RFC 6455 §7.1.5; measured: aiohttp reports 1006",
        effect: |_| Effect::Connection {
            gate: ConnectionEffects::default(),
            steps: vec![InjectionStep::Close { code: None, reason: String::new() }],
        },
    },
    KindRow {
        kind: "close_ack_delay",
        layer: Layer::Closing,
        sides: BOTH,
        form: Form::Holding,
        params: &[Param {
            name: "delay",
            shape: ValueShape::Duration,
            default: Some("2s"),
            doc: "Delay from the peer's Close frame to the answer.",
        }],
        summary: "answers the peer's Close frame late",
        expect: "peer: its own code after the delay, or 1006 if its close deadline is shorter",
        told: expected_codes::anything,
        source: "RFC 6455 §5.5.1, §7.1.1; measured: deadlines of 2 s to 60 s, or none",
        effect: |values| {
            gate(ConnectionEffects {
                close_ack: CloseAck::Delayed(values.duration("delay").unwrap_or_default()),
                ..ConnectionEffects::default()
            })
        },
    },
    KindRow {
        kind: "close_ack_drop",
        layer: Layer::Closing,
        sides: BOTH,
        form: Form::Holding,
        params: &[Param {
            name: "then",
            shape: ValueShape::Choice(&["hold", "fin", "rst"]),
            default: Some("hold"),
            doc: "What happens instead of the answer: TCP stays open (hold), or ends.",
        }],
        summary: "never answers the peer's Close frame",
        expect: "peer: 1006 by its close deadline, or at once by FIN or RST",
        told: expected_codes::no_answer,
        source: "RFC 6455 §7.1.5; measured: 1006 after 10 s to 30 s, or never",
        effect: |values| {
            gate(ConnectionEffects { close_ack: CloseAck::Never(End::named(values.text("then"))), ..ConnectionEffects::default() })
        },
    },
    KindRow {
        kind: "close_hold_tcp",
        layer: Layer::Closing,
        sides: BOTH,
        form: Form::Holding,
        params: &[
            Param {
                name: "hold",
                shape: ValueShape::Duration,
                default: Some("5s"),
                doc: "Delay from the end of the closing handshake to the FIN.",
            },
            Param {
                name: "code",
                shape: ValueShape::Whole { min: 0, max: 65535 },
                default: None,
                doc: "Start the closing handshake with this code; without it, the fault waits for a closing handshake.",
            },
        ],
        summary: "completes the closing handshake and keeps TCP open",
        expect: "peer: that code; its wait for the FIN ends by its own deadline",
        told: expected_codes::anything,
        source: "RFC 6455 §7.1.1: the server closes TCP first; measured: some clients wait forever",
        effect: |values| Effect::Connection {
            gate: ConnectionEffects { hold_tcp: values.duration("hold").unwrap_or_default(), ..ConnectionEffects::default() },
            steps: values.short("code").map(|code| InjectionStep::Close { code: Some(code), reason: String::new() }).into_iter().collect(),
        },
    },
    once(
        "close_body_1",
        expected_codes::violation,
        &[],
        "sends a Close frame with a body of one byte",
        "peer: answers 1002 and reports 1006",
        "RFC 6455 §5.5.1; measured",
        |_| frames(vec![Frame::new(CLOSE, [3])]),
    ),
    once(
        "close_reason_bad_utf8",
        expected_codes::bad_text,
        &[],
        "sends a Close frame whose reason is not UTF-8",
        "peer: answers 1007 and reports 1006; Chromium answers 1002",
        "RFC 6455 §5.5.1, §8.1; measured",
        |_| frames(vec![Frame::close(Some(1000), b"bad \xff reason")]),
    ),
    once(
        "close_reason_long",
        expected_codes::violation,
        &[Param { name: "size", shape: SMALL, default: Some("124B"), doc: "Length of the reason; the limit is 123." }],
        "sends a Close frame that is longer than allowed for a control frame",
        "peer: answers 1002 and reports 1006",
        "RFC 6455 §5.5; measured",
        |values| {
            let size = usize::try_from(values.bytes("size").unwrap_or(124)).unwrap_or(124);
            frames(vec![Frame::close(Some(1000), &vec![b'r'; size])])
        },
    ),
    once(
        "close_then_fin",
        expected_codes::code_and_end,
        &[CODE, DELAY],
        "sends a Close frame and FIN without waiting for the answer",
        "peer: that code; clean, because TCP ended by FIN after a Close frame it answered",
        "RFC 6455 §7.1.1; measured",
        |values| close_then(values, End::Fin),
    ),
    once(
        "close_then_rst",
        expected_codes::code_and_end,
        &[CODE, DELAY],
        "sends a Close frame and then RST",
        "peer: that code where it read the frame before the reset, else 1006; not clean",
        "RFC 6455 §7.1.1; measured: Chromium reports wasClean false",
        |values| close_then(values, End::Rst),
    ),
    once(
        "close_twice",
        expected_codes::normal,
        &[],
        "sends two Close frames, 1000 and then 1001",
        "peer: 1000, the first one counts",
        "RFC 6455 §7.1.5; measured",
        |_| frames(vec![Frame::close(Some(1000), b""), Frame::close(Some(1001), b"")]),
    ),
    once(
        "close_then_data",
        expected_codes::normal,
        &[],
        "sends a text message after its Close frame",
        "peer: 1000, the message is ignored",
        "RFC 6455 §5.5.1; measured",
        |_| frames(vec![Frame::close(Some(1000), b""), Frame::new(TEXT, "late")]),
    ),
    once(
        "close_in_fragment",
        expected_codes::normal,
        &[],
        "sends a Close frame inside a fragmented message",
        "peer: 1000; Python `websockets` answers 1002",
        "RFC 6455 §5.4, §5.5.1; measured",
        |_| frames(vec![Frame { fin: false, ..Frame::new(TEXT, "unfinished ") }, Frame::close(Some(1000), b"")]),
    ),
    KindRow {
        kind: "close_ack_wrong_code",
        layer: Layer::Closing,
        sides: BOTH,
        form: Form::Holding,
        params: &[Param {
            name: "code",
            shape: ValueShape::Whole { min: 0, max: 65535 },
            default: Some("4000"),
            doc: "Status code of the answer.",
        }],
        summary: "answers the peer's Close frame with another status code",
        expect: "peer: that code, the first one it received",
        told: expected_codes::answer,
        source: "RFC 6455 §5.5.1, §7.1.5",
        effect: |values| {
            gate(ConnectionEffects { close_ack: CloseAck::Code(values.short("code").unwrap_or(4000)), ..ConnectionEffects::default() })
        },
    },
    KindRow {
        kind: "close_while_sending",
        layer: Layer::Closing,
        sides: &[Side::Server],
        form: Form::Instant,
        params: &[
            Param { name: "queued", shape: HELD, default: Some("1MiB"), doc: "Length of the binary message before the Close frame." },
            CODE,
        ],
        summary: "queues a binary message and a Close frame right after it",
        expect: "peer: the message and then that code; a peer that does not read the message gets neither",
        told: expected_codes::code_and_end,
        source: "RFC 6455 §5.5.1, §7.1.1",
        effect: |values| {
            let message = Payload::Filled(values.bytes("queued").unwrap_or(1 << 20));
            frames(vec![Frame { payload: message, ..Frame::new(BINARY, "") }, Frame::close(values.short("code"), b"")])
        },
    },
    KindRow {
        kind: "close_simultaneous",
        layer: Layer::Closing,
        sides: &[Side::Server],
        form: Form::Instant,
        params: &[
            Param {
                name: "skew",
                shape: ValueShape::Duration,
                default: Some("0ms"),
                doc: "How much later than the client the server sends its Close frame; it does not answer the client's Close frame before.",
            },
            Param {
                name: "code_c",
                shape: ValueShape::Whole { min: 0, max: 65535 },
                default: Some("1000"),
                doc: "Status code of the client.",
            },
            Param {
                name: "code_s",
                shape: ValueShape::Whole { min: 0, max: 65535 },
                default: Some("1001"),
                doc: "Status code of the server.",
            },
        ],
        summary: "both sides start the closing handshake at the same time, 20 ms after the firing; their Close frames cross",
        expect: "each side: the other's code, clean; neither Close frame is an echo",
        told: expected_codes::crossed,
        source: "RFC 6455 §7.1.5: the first Close frame received counts, whoever sent one before",
        effect: |values| {
            let close = |name| InjectionStep::Close { code: values.short(name), reason: String::new() };
            let skew = values.duration("skew").unwrap_or_default();
            Effect::BothEnds {
                client: vec![InjectionStep::Wait(CROSSING_LEAD), close("code_c")],
                server: vec![InjectionStep::Wait(CROSSING_LEAD + skew), close("code_s")],
            }
        },
    },
];

/// The word to close must have reached both processes before one of them does; on one machine it takes well under a millisecond.
const CROSSING_LEAD: Duration = Duration::from_millis(20);
const BINARY: u8 = 0x2;
const CODE: Param =
    Param { name: "code", shape: ValueShape::Whole { min: 0, max: 65535 }, default: Some("1001"), doc: "Status code, allowed or not." };
const DELAY: Param =
    Param { name: "delay", shape: ValueShape::Duration, default: Some("0s"), doc: "Delay from the Close frame to the end of TCP." };

fn frames(frames: Vec<Frame>) -> Effect {
    Effect::Connection { gate: ConnectionEffects::default(), steps: vec![InjectionStep::Frames(frames)] }
}

fn close_then(values: &Values, end: End) -> Effect {
    let close = InjectionStep::Frames(vec![Frame::close(values.short("code"), b"")]);
    let delay = values.duration("delay").filter(|delay| !delay.is_zero());
    let steps = [Some(close), delay.map(InjectionStep::Wait), Some(InjectionStep::End(end))];
    Effect::Connection { gate: ConnectionEffects::default(), steps: steps.into_iter().flatten().collect() }
}

/// A row of a kind that acts once; all fields that differ.
const fn once(
    kind: &'static str,
    told: fn(&Values) -> Told,
    params: &'static [Param],
    summary: &'static str,
    expect: &'static str,
    source: &'static str,
    effect: fn(&Values) -> Effect,
) -> KindRow {
    KindRow { kind, layer: Layer::Closing, sides: BOTH, form: Form::Instant, params, summary, expect, told, source, effect }
}
