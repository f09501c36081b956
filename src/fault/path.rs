//! Faults of the path between two healthy ends: late, slow, in pieces, stalled, held, damaged.

use super::row::{COUNTED, SMALL};
use super::shape::{JitterKind, PathShape as Path};
use super::{
    ConnectionEffects, Effect, Form, KindRow, Layer, Param, Side, ValueShape, Values,
    expected_codes::{self, Told},
};
use std::time::Duration;

const BOTH: &[Side] = &[Side::Client, Side::Server];
const DIR: Param = Param {
    name: "dir",
    shape: ValueShape::Choice(&["both", "up", "down"]),
    default: Some("both"),
    doc: "up: towards the server, down: towards the client.",
};

/// The gate of a path that is like this in the direction that `dir` names, seen from the client.
fn path(values: &Values, path: Path) -> Effect {
    let dir = values.text("dir").unwrap_or("both");
    let shape = |here: bool| if here { path.clone() } else { Path::default() };
    Effect::Connection {
        gate: ConnectionEffects { write_shape: shape(dir != "down"), read_shape: shape(dir != "up"), ..ConnectionEffects::default() },
        steps: Vec::new(),
    }
}

fn time(values: &Values, name: &str) -> Duration {
    values.duration(name).unwrap_or_default()
}

const fn row(
    kind: &'static str,
    told: fn(&Values) -> Told,
    params: &'static [Param],
    summary: &'static str,
    expect: &'static str,
    source: &'static str,
    effect: fn(&Values) -> Effect,
) -> KindRow {
    KindRow { kind, layer: Layer::Transport, sides: BOTH, form: Form::Holding, params, summary, expect, told, source, effect }
}

pub(super) const ROWS: &[KindRow] = &[
    row(
        "latency",
        expected_codes::nothing,
        &[
            Param {
                name: "latency",
                shape: ValueShape::Duration,
                default: Some("100ms"),
                doc: "Delay in each direction that `dir` names.",
            },
            Param { name: "jitter", shape: ValueShape::Duration, default: Some("0s"), doc: "Jitter around the delay." },
            Param {
                name: "dist",
                shape: ValueShape::Choice(&["uniform", "normal", "pareto"]),
                default: Some("uniform"),
                doc: "Distribution of the jitter: uniform ± jitter, normal with jitter as standard deviation, or a heavy tail with \
                    jitter as mean excess.",
            },
            DIR,
        ],
        "delays bytes, without reordering them",
        "peer: nothing; round trips are longer by the latency of both directions",
        "tc-netem(8) delay; timers have a resolution of one millisecond",
        |values| {
            let distribution = match values.text("dist") {
                Some("normal") => JitterKind::Normal,
                Some("pareto") => JitterKind::Pareto,
                _ => JitterKind::Uniform,
            };
            path(values, Path { latency: time(values, "latency"), jitter: time(values, "jitter"), distribution, ..Path::default() })
        },
    ),
    row(
        "bandwidth",
        expected_codes::nothing,
        &[
            Param { name: "bytes_per_s", shape: COUNTED, default: Some("64KiB"), doc: "Bytes per second." },
            Param { name: "burst", shape: COUNTED, default: Some("0B"), doc: "Bytes that pass at once before the rate limit applies." },
            DIR,
        ],
        "limits the rate of bytes",
        "peer: nothing; throughput is capped, round trips grow with the queue",
        "token bucket, tc-tbf(8)",
        |values| {
            path(
                values,
                Path {
                    rate: values.bytes("bytes_per_s").map(|rate| rate.max(1)),
                    burst: values.bytes("burst").unwrap_or(0),
                    ..Path::default()
                },
            )
        },
    ),
    row(
        "slice",
        expected_codes::nothing,
        &[
            Param { name: "avg", shape: SMALL, default: Some("16B"), doc: "Size of a piece." },
            Param { name: "variation", shape: SMALL, default: Some("8B"), doc: "Random variation of the size of a piece, up to this." },
            Param { name: "delay", shape: ValueShape::Duration, default: Some("1ms"), doc: "Delay between two pieces." },
            DIR,
        ],
        "splits the stream into small pieces that arrive one by one",
        "peer: nothing, if its parser is correct",
        "toxiproxy slicer",
        |values| {
            let slice = values.bytes("avg").unwrap_or(16).max(1);
            path(
                values,
                Path {
                    slice,
                    slice_variation: values.bytes("variation").unwrap_or(8),
                    slice_gap: time(values, "delay"),
                    ..Path::default()
                },
            )
        },
    ),
    row(
        "coalesce",
        expected_codes::nothing,
        &[
            Param {
                name: "window",
                shape: ValueShape::Duration,
                default: Some("100ms"),
                doc: "Interval of the batches: bytes wait for \
                the next multiple of this.",
            },
            DIR,
        ],
        "collects bytes and delivers them in batches",
        "peer: nothing; messages come in bursts",
        "interrupt coalescing, radio scheduling",
        |values| path(values, Path { window: time(values, "window"), ..Path::default() }),
    ),
    row(
        "bursty_stall",
        expected_codes::nothing,
        &[
            Param {
                name: "p_bad",
                shape: ValueShape::Share { min: 0.0, max: 1.0 },
                default: Some("1%"),
                doc: "Probability that the path turns bad, per chunk.",
            },
            Param {
                name: "p_good",
                shape: ValueShape::Share { min: 0.0, max: 1.0 },
                default: Some("30%"),
                doc: "Probability that a bad path turns good, per chunk.",
            },
            Param {
                name: "stall",
                shape: ValueShape::Duration,
                default: Some("200ms"),
                doc: "Delay of a chunk on a bad path, like that of a retransmission.",
            },
            DIR,
        ],
        "delays chunks in bursts, as packet loss looks like above TCP",
        "peer: nothing; the slowest round trips get longer",
        "Gilbert–Elliott; Linux's least retransmission timeout is 200 ms",
        |values| {
            let (to_bad, to_good) = (values.share("p_bad").unwrap_or(0.01), values.share("p_good").unwrap_or(0.3));
            path(values, Path { to_bad, to_good, stall: time(values, "stall"), ..Path::default() })
        },
    ),
    row(
        "hold_release",
        expected_codes::silent,
        &[DIR],
        "holds bytes back and delivers all of them when the fault ends: a delay, not a loss",
        "peer: silence, then a burst of old messages; a pong deadline may pass meanwhile",
        "Antithesis calls it `jammed`, turmoil `hold`",
        |values| path(values, Path { hold: true, ..Path::default() }),
    ),
    row(
        "corrupt_byte",
        expected_codes::violation,
        &[
            Param {
                name: "per_mb",
                shape: ValueShape::Whole { min: 1, max: 1_000_000 },
                default: Some("100"),
                doc: "Damaged bytes per million; one bit of each is flipped.",
            },
            DIR,
        ],
        "flips single bits in the stream",
        "peer: 1002 or 1007 if framing or text is damaged, else a wrong payload that is not detected",
        "RFC 6455 has no checksum; TLS ends with a fatal alert",
        |values| path(values, Path { corrupt_per_mb: values.whole("per_mb").unwrap_or(100) as f64, ..Path::default() }),
    ),
];
