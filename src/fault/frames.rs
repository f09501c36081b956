//! Faults of single frames.

use super::{Effect, Form, Gate, Layer, Row, Side};

pub(super) const ROWS: &[Row] = &[Row {
    kind: "pong_drop",
    layer: Layer::Frames,
    sides: &[Side::Client, Side::Server],
    form: Form::Holding,
    params: &[],
    summary: "swallows outgoing pongs; everything else goes on",
    expect: "peer: its pong deadline passes; Python `websockets` then closes with 1011",
    source: "RFC 6455 §5.5.3; measured",
    effect: |_| Effect::Connection { gate: Gate { drop_pongs: true, ..Gate::default() }, steps: Vec::new() },
}];
