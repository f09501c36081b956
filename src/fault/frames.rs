//! Faults of single frames: violations that a healthy peer fails the connection for, and pongs that do not go out.

use super::row::{DECLARED, HELD, SMALL};
use super::{
    CONTINUATION, ConnectionEffects, Effect, Flood, Form, Frame, InjectionStep, KindRow, Layer, LengthForm, PING, Param, Payload, Side,
    TEXT, ValueShape, Values,
    expected_codes::{self, Told},
};

const BOTH: &[Side] = &[Side::Client, Side::Server];
const BINARY: u8 = 0x2;

fn send(frames: Vec<Frame>) -> Effect {
    Effect::Connection { gate: ConnectionEffects::default(), steps: vec![InjectionStep::Frames(frames)] }
}

fn hold(gate: ConnectionEffects) -> Effect {
    Effect::Connection { gate, steps: Vec::new() }
}

fn opcode(values: &Values, default: u8) -> u8 {
    values.short("opcode").map_or(default, |opcode| (opcode & 0x0f) as u8)
}

/// A row of a kind that sends frames once; all fields that differ.
const fn row(
    kind: &'static str,
    told: fn(&Values) -> Told,
    params: &'static [Param],
    summary: &'static str,
    expect: &'static str,
    source: &'static str,
    effect: fn(&Values) -> Effect,
) -> KindRow {
    KindRow { kind, layer: Layer::Frames, sides: BOTH, form: Form::Instant, params, summary, expect, told, source, effect }
}

const FAILS_1002: &str = "peer: answers 1002 and reports 1006; some libraries send nothing";
const CONTROL_OPCODE: Param = Param {
    name: "opcode",
    shape: ValueShape::Whole { min: 8, max: 15 },
    default: Some("9"),
    doc: "Opcode of the control frame: 8 close, 9 ping, 10 pong.",
};

pub(super) const ROWS: &[KindRow] = &[
    row(
        "frame_mask_violation",
        expected_codes::violation,
        &[],
        "sends a text frame that is masked by a server, or not masked by a client",
        "peer: answers 1002 and reports 1006; aiohttp and coder accept it from a server",
        "RFC 6455 §5.1; measured",
        |_| send(vec![Frame { wrong_mask: true, ..Frame::new(TEXT, "mask") }]),
    ),
    row(
        "frame_rsv",
        expected_codes::violation,
        &[Param {
            name: "bits",
            shape: ValueShape::Whole { min: 1, max: 7 },
            default: Some("4"),
            doc: "RSV1, RSV2, RSV3 as a number: 4, 2, 1.",
        }],
        "sends a text frame with reserved bits set",
        FAILS_1002,
        "RFC 6455 §5.2; measured",
        |values| send(vec![Frame { rsv: (values.whole("bits").unwrap_or(4) & 7) as u8, ..Frame::new(TEXT, "rsv") }]),
    ),
    row(
        "frame_opcode",
        expected_codes::violation,
        &[Param {
            name: "opcode",
            shape: ValueShape::Whole { min: 0, max: 15 },
            default: Some("3"),
            doc: "3 to 7 and 11 to 15 are reserved.",
        }],
        "sends a frame with a reserved opcode",
        FAILS_1002,
        "RFC 6455 §5.2, §11.8; measured",
        |values| send(vec![Frame::new(opcode(values, 3), "opcode")]),
    ),
    row(
        "frame_control_fragmented",
        expected_codes::violation,
        &[CONTROL_OPCODE],
        "sends a control frame without the FIN bit",
        FAILS_1002,
        "RFC 6455 §5.4; measured",
        |values| send(vec![Frame { fin: false, ..Frame::new(opcode(values, PING), "part") }]),
    ),
    row(
        "frame_control_oversize",
        expected_codes::violation,
        &[CONTROL_OPCODE, Param { name: "size", shape: HELD, default: Some("126B"), doc: "Payload; the limit is 125." }],
        "sends a control frame with more than 125 bytes of payload",
        FAILS_1002,
        "RFC 6455 §5.5; measured",
        |values| {
            let payload = Payload::Filled(values.bytes("size").unwrap_or(126));
            send(vec![Frame { payload, ..Frame::new(opcode(values, PING), "") }])
        },
    ),
    row(
        "frame_bad_utf8",
        expected_codes::bad_text,
        &[Param {
            name: "where",
            shape: ValueShape::Choice(&["start", "middle", "split"]),
            default: Some("middle"),
            doc: "Position of the invalid byte: the first byte, in the middle, or a code point that is cut off by the end of the message.",
        }],
        "sends a text message that is not UTF-8",
        "peer: answers 1007 and reports 1006; Chromium answers 1002, gorilla accepts it",
        "RFC 6455 §8.1; measured",
        |values| {
            send(vec![Frame::new(
                TEXT,
                match values.text("where") {
                    Some("start") => b"\xffabc".to_vec(),
                    Some("split") => b"abc\xe2\x82".to_vec(),
                    _ => b"ab\xc0\xafcd".to_vec(),
                },
            )])
        },
    ),
    row(
        "frame_orphan_continuation",
        expected_codes::violation,
        &[],
        "sends a continuation frame without a message to continue",
        FAILS_1002,
        "RFC 6455 §5.4; measured",
        |_| send(vec![Frame::new(CONTINUATION, "orphan")]),
    ),
    row(
        "frame_interleave",
        expected_codes::violation,
        &[],
        "starts a new text message inside a fragmented one",
        FAILS_1002,
        "RFC 6455 §5.4; measured",
        |_| send(vec![Frame { fin: false, ..Frame::new(TEXT, "one ") }, Frame::new(TEXT, "two")]),
    ),
    row(
        "frame_length_lie",
        expected_codes::too_big,
        &[
            Param { name: "declared", shape: DECLARED, default: Some("1GiB"), doc: "Payload length in the frame header." },
            Param {
                name: "sent",
                shape: HELD,
                default: Some("10B"),
                doc: "Payload bytes to send. Whatever is sent later is read as the rest of them.",
            },
        ],
        "announces more payload than it sends, and keeps the connection open",
        "peer: answers 1009 if the announced length is over its limit, else reads later frames as payload and waits for its own deadline",
        "RFC 6455 §7.4.1; measured",
        |values| {
            let payload = Payload::Filled(values.bytes("sent").unwrap_or(10));
            send(vec![Frame { declared: values.bytes("declared").or(Some(1 << 30)), payload, ..Frame::new(BINARY, "") }])
        },
    ),
    row(
        "frame_nonminimal_length",
        expected_codes::violation,
        &[Param {
            name: "form",
            shape: ValueShape::Choice(&["16", "64"]),
            default: Some("16"),
            doc: "Number of bits of the length field for a short frame.",
        }],
        "writes a short payload length in the long form",
        "peer: most accept it; OpenJDK fails the connection",
        "RFC 6455 §5.2; measured",
        |values| {
            let length = if values.text("form") == Some("64") { LengthForm::Eight } else { LengthForm::Two };
            send(vec![Frame { length, ..Frame::new(TEXT, "short") }])
        },
    ),
    row(
        "frame_oversize",
        expected_codes::too_big,
        &[Param {
            name: "size",
            shape: HELD,
            default: Some("17MiB"),
            doc: "Payload size; the embedded server accepts 16 MiB, a client its `max_message`.",
        }],
        "sends one message that is larger than the peer takes",
        "peer: answers 1009 and reports 1006",
        "RFC 6455 §7.4.1; measured",
        |values| send(vec![Frame { payload: Payload::Filled(values.bytes("size").unwrap_or(17 << 20)), ..Frame::new(BINARY, "") }]),
    ),
    KindRow {
        kind: "pong_drop",
        layer: Layer::Frames,
        sides: BOTH,
        form: Form::Holding,
        params: &[],
        summary: "drops outgoing pongs; everything else continues",
        expect: "peer: its pong deadline passes; Python `websockets` then closes with 1011",
        told: expected_codes::silent,
        source: "RFC 6455 §5.5.3; measured",
        effect: |_| hold(ConnectionEffects { drop_pongs: true, ..ConnectionEffects::default() }),
    },
    KindRow {
        kind: "pong_delay",
        layer: Layer::Frames,
        sides: BOTH,
        form: Form::Holding,
        params: &[Param {
            name: "delay",
            shape: ValueShape::Duration,
            default: Some("10s"),
            doc: "Delay from the peer's ping to the pong.",
        }],
        summary: "answers pings late; everything else continues",
        expect: "peer: longer round trips; 1006 or 1011 if its pong deadline is shorter than the delay, else nothing more",
        told: expected_codes::silent,
        source: "RFC 6455 §5.5.2: as soon as is practical",
        effect: |values| {
            hold(ConnectionEffects { pong_delay: values.duration("delay").unwrap_or_default(), ..ConnectionEffects::default() })
        },
    },
    KindRow {
        kind: "pong_wrong_payload",
        layer: Layer::Frames,
        sides: BOTH,
        form: Form::Holding,
        params: &[],
        summary: "answers pings with pongs that do not carry the ping's payload: every byte inverted, one byte where it was empty",
        expect: "peer: takes it for an unsolicited pong; its pong deadline passes where it compares payloads",
        told: expected_codes::silent,
        source: "RFC 6455 §5.5.3: identical application data",
        effect: |_| hold(ConnectionEffects { wrong_pongs: true, ..ConnectionEffects::default() }),
    },
    KindRow {
        kind: "ping_flood",
        layer: Layer::Frames,
        sides: BOTH,
        form: Form::Holding,
        params: &[
            Param {
                name: "per_s",
                shape: ValueShape::Whole { min: 1, max: 100_000 },
                default: Some("1000"),
                doc: "Pings a second on each connection.",
            },
            Param { name: "bytes", shape: SMALL, default: Some("4B"), doc: "Payload size of each ping; more than 125 is not valid." },
        ],
        summary: "sends pings at a steady rate",
        expect: "peer: a pong for each, or at least for the last one; some servers close with 1008",
        told: expected_codes::flood,
        source: "RFC 6455 §5.5.2, §5.5.3; CVE-2019-9512 is the same in HTTP/2",
        effect: |values| {
            let per_s = values.whole("per_s").and_then(|rate| u32::try_from(rate).ok()).unwrap_or(1000).max(1);
            hold(ConnectionEffects {
                ping_flood: vec![Flood { per_s, bytes: values.bytes("bytes").unwrap_or(4) }],
                ..ConnectionEffects::default()
            })
        },
    },
    row(
        "pong_unsolicited",
        expected_codes::nothing,
        &[],
        "sends an unsolicited pong",
        "peer: nothing; it is a valid one-way heartbeat",
        "RFC 6455 §5.5.3",
        |_| send(vec![Frame::new(0xA, "unsolicited")]),
    ),
];
