//! Faults of connecting and of the opening handshake. The embedded server reads the request head before it acts, because the head
//! says whose attempt it is; on the wire that looks the same, the kernel acknowledges the bytes either way.

use super::{Effect, Form, Layer, OnAttempt, Param, Row, Shape, Side, whole};

pub(super) const ROWS: &[Row] = &[
    Row {
        kind: "accept_stall",
        layer: Layer::Handshake,
        sides: &[Side::Server],
        form: Form::Attempts,
        params: &[Param {
            name: "hold",
            shape: Shape::Duration,
            default: Some("0s"),
            doc: "Silence before the connection is closed; 0: for ever.",
        }],
        summary: "accepts TCP connections and never answers the opening handshake",
        expect: "client: times out in the upgrade stage by its handshake deadline",
        source: "RFC 6455 §4.1; measured: most clients wait for ever without a deadline of their own",
        effect: |values| Effect::Attempt(OnAttempt::Stall(values.duration("hold").unwrap_or_default())),
    },
    Row {
        kind: "upgrade_status",
        layer: Layer::Handshake,
        sides: &[Side::Server],
        form: Form::Attempts,
        params: &[
            Param { name: "status", shape: Shape::Whole { min: 200, max: 599 }, default: Some("503"), doc: "HTTP status of the answer." },
            Param {
                name: "retry_after",
                shape: Shape::Duration,
                default: None,
                doc: "Retry-After header, whole seconds; no measured client acts on it.",
            },
            Param { name: "body", shape: Shape::Bytes, default: Some("0B"), doc: "Length of the body." },
        ],
        summary: "answers opening handshakes with an HTTP status other than 101",
        expect: "client: rejected with that status; a browser reports 1006",
        source: "RFC 6455 §4.1, §4.2.2; RFC 9110 §10.2.3 for Retry-After",
        effect: |values| {
            Effect::Attempt(OnAttempt::Reject {
                status: whole(values, "status").unwrap_or(503),
                retry_after: values.duration("retry_after"),
                body: values.bytes("body").and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(0),
            })
        },
    },
];
