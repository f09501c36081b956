//! Faults of whole frames on their way: lost, doubled, overtaken, late, damaged. The rest passes untouched.
//!
//! What they ask is data, a [`Meddle`]; `ws::frame_queue` carries it out. A frame that is in the middle of the wire when the fault begins
//! passes. Close frames always pass, and push out before them what waits: `closing` has the kinds that act on those.

use super::{
    ConnectionEffects, Effect, Form, KindRow, Layer, Meddle, Meddling, Param, Side, ValueShape, Values,
    expected_codes::{self, Told},
};
use crate::close::{ABNORMAL, INVALID_PAYLOAD, PROTOCOL_ERROR};
use std::time::Duration;

const DATA: u16 = 0b111;
const PING: u16 = 1 << 9;
const PONG: u16 = 1 << 10;

fn opcodes(word: Option<&str>) -> u16 {
    match word {
        Some("text") => 0b010,
        Some("binary") => 0b100,
        Some("ping") => PING,
        Some("pong") => PONG,
        Some("all") => DATA | PING | PONG,
        _ => DATA,
    }
}

fn meddle(values: &Values, how: Meddling) -> Effect {
    let rule = vec![Meddle { chance: values.share("probability").unwrap_or(1.0), opcodes: opcodes(values.text("opcode")), how }];
    let dir = values.text("dir").unwrap_or("both");
    let frames = |here: bool| if here { rule.clone() } else { Vec::new() };
    // From the client's side; `Injection::effect` swaps the directions for the server.
    Effect::Connection {
        gate: ConnectionEffects { write_frames: frames(dir != "down"), read_frames: frames(dir != "up"), ..ConnectionEffects::default() },
        steps: Vec::new(),
    }
}

const PROBABILITY: Param =
    Param { name: "probability", shape: ValueShape::Share { min: 0.0, max: 1.0 }, default: Some("10%"), doc: "Probability per frame." };
const OPCODE: Param = Param {
    name: "opcode",
    shape: ValueShape::Choice(&["data", "text", "binary", "ping", "pong", "all"]),
    default: Some("data"),
    doc: "Which frames: data is text, binary and continuation; all adds ping and pong. A Close frame always passes.",
};
const DIR: Param = Param {
    name: "dir",
    shape: ValueShape::Choice(&["both", "up", "down"]),
    default: Some("both"),
    doc: "up: towards the server, down: towards the client.",
};

const fn row(
    kind: &'static str,
    params: &'static [Param],
    summary: &'static str,
    expect: &'static str,
    source: &'static str,
    effect: fn(&Values) -> Effect,
) -> KindRow {
    const BOTH: &[Side] = &[Side::Client, Side::Server];
    KindRow {
        kind,
        layer: Layer::Frames,
        sides: BOTH,
        form: Form::Holding,
        params,
        summary,
        expect,
        told: expected_codes::meddled,
        source,
        effect,
    }
}

/// Text that is no longer UTF-8, and what can no longer be inflated: 1007 or 1002 by whichever side receives it. A pong that no longer
/// carries what its ping did is none.
fn corrupted(_: &Values) -> Told {
    let codes = || Some(vec![INVALID_PAYLOAD, PROTOCOL_ERROR, ABNORMAL, 1011]);
    Told { own: codes(), peer: codes() }
}

pub(super) const ROWS: &[KindRow] = &[
    row(
        "frame_drop",
        &[PROBABILITY, OPCODE, DIR],
        "drops whole frames; the others pass",
        "peer: a message is missing; a lost part of a fragmented message is answered with 1002, a lost pong by a pong deadline",
        "RFC 6455 has no acknowledgement: what a proxy or a full queue drops is gone",
        |values| meddle(values, Meddling::Drop),
    ),
    row(
        "frame_duplicate",
        &[PROBABILITY, OPCODE, DIR],
        "delivers whole frames twice, one right after the other",
        "peer: the message comes twice; a doubled part of a fragmented message may be answered with 1002",
        "RFC 6455 numbers no messages: a retry above it is delivered twice",
        |values| meddle(values, Meddling::Duplicate),
    ),
    row(
        "frame_reorder",
        &[
            PROBABILITY,
            Param {
                name: "by",
                shape: ValueShape::Whole { min: 1, max: 1000 },
                default: Some("1"),
                doc: "Number of later frames that \
                overtake it.",
            },
            Param {
                name: "within",
                shape: ValueShape::Duration,
                default: Some("1s"),
                doc: "Maximum wait for those frames; after that the frame is sent in any case.",
            },
            OPCODE,
            DIR,
        ],
        "reorders frames: later ones overtake the chosen ones",
        "peer: messages in another order; parts of fragmented messages in the wrong order are answered with 1002",
        "RFC 6455 §5.4 keeps the order of parts; the order of messages is TCP's, until something above TCP queues them again",
        |values| {
            let by = values.whole("by").and_then(|by| u32::try_from(by).ok()).unwrap_or(1);
            meddle(values, Meddling::Reorder { by, within: values.duration("within").unwrap_or(Duration::from_secs(1)) })
        },
    ),
    row(
        "frame_delay",
        &[
            PROBABILITY,
            Param { name: "delay", shape: ValueShape::Duration, default: Some("500ms"), doc: "Delay of the chosen frames." },
            OPCODE,
            DIR,
        ],
        "delivers whole frames late; others overtake them",
        "peer: messages come late and in another order; a pong that is late may pass a deadline",
        "RFC 6455 §5.5.2, §5.5.3; a queue for each stream or worker behind one socket",
        |values| meddle(values, Meddling::Delay(values.duration("delay").unwrap_or_default())),
    ),
    KindRow {
        told: corrupted,
        ..row(
            "frame_corrupt",
            &[
                PROBABILITY,
                Param {
                    name: "bits",
                    shape: ValueShape::Whole { min: 1, max: 1000 },
                    default: Some("1"),
                    doc: "Number of random bits to flip in the payload of each chosen frame; frames without payload stay as they are.",
                },
                OPCODE,
                DIR,
            ],
            "flips bits in the payload of whole frames of up to 1 MiB; header and masking key stay as they were",
            "peer: 1007 in answer to text that is no UTF-8 any more, 1002 or 1007 to what cannot be inflated; else a wrong payload that \
             is not detected",
            "RFC 6455 has no checksum: what a proxy or its memory damages inside a frame arrives; §8.1 for text",
            |values| {
                let bits = values.whole("bits").and_then(|bits| u32::try_from(bits).ok()).unwrap_or(1);
                meddle(values, Meddling::Corrupt { bits })
            },
        )
    },
];
