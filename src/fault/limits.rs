//! Faults that end a connection when it has had enough: of bytes, frames, time or silence. Load balancers are made of them.

use super::row::COUNTED;
use super::{
    ConnectionEffects, Effect, EffectLimit, End, Form, HowEnough, KindRow, Layer, Param, Side, Since, ValueShape, Values,
    expected_codes::{self, Told},
};
use std::time::Duration;

const BOTH: &[Side] = &[Side::Client, Side::Server];
const END: Param =
    Param { name: "end", shape: ValueShape::Choice(&["fin", "rst", "close"]), default: Some("fin"), doc: "How the connection ends." };
const CODE: Param = Param {
    name: "code",
    shape: ValueShape::Whole { min: 0, max: 65535 },
    default: Some("1001"),
    doc: "Status code, where `end` is close.",
};

fn how(values: &Values) -> HowEnough {
    match values.text("end") {
        Some("close") => HowEnough::Close(values.short("code").unwrap_or(1001)),
        Some("silent") => HowEnough::Silence,
        other => HowEnough::End(End::named(other)),
    }
}

fn enough(enough: EffectLimit) -> Effect {
    Effect::Connection { gate: ConnectionEffects { enough: vec![enough], ..ConnectionEffects::default() }, steps: Vec::new() }
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

/// What is known of a load balancer: idle timeout and longest life, seconds; 0: none. Sources: the vendors' documents.
struct Balancer {
    name: &'static str,
    idle_s: u64,
    life_s: u64,
}

const BALANCERS: &[Balancer] = &[
    Balancer { name: "nginx", idle_s: 60, life_s: 0 },
    Balancer { name: "envoy", idle_s: 300, life_s: 0 },
    Balancer { name: "aws-alb", idle_s: 60, life_s: 0 },
    Balancer { name: "aws-nlb", idle_s: 350, life_s: 0 },
    Balancer { name: "aws-api-gateway", idle_s: 600, life_s: 7200 },
    Balancer { name: "cloudfront", idle_s: 600, life_s: 0 },
    Balancer { name: "google-alb", idle_s: 0, life_s: 30 },
    Balancer { name: "azure-front-door", idle_s: 300, life_s: 14_400 },
    Balancer { name: "azure-lb", idle_s: 240, life_s: 0 },
    Balancer { name: "cloudflare", idle_s: 100, life_s: 0 },
    Balancer { name: "heroku", idle_s: 55, life_s: 0 },
];

const NAMES: [&str; BALANCERS.len()] = {
    let mut names = [""; BALANCERS.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = BALANCERS[at].name;
        at += 1;
    }
    names
};

fn balancer(values: &Values) -> Effect {
    let known = BALANCERS.iter().find(|known| Some(known.name) == values.text("preset")).unwrap_or(&BALANCERS[0]);
    let scale = values.whole("time_scale").unwrap_or(1).max(1);
    let scaled = |seconds: u64| Duration::from_secs(seconds) / u32::try_from(scale).unwrap_or(u32::MAX);
    let watch =
        |seconds: u64, what: fn(Duration) -> EffectLimit| (seconds > 0).then(|| EffectLimit { how: how(values), ..what(scaled(seconds)) });
    let idle = watch(known.idle_s, |time| EffectLimit { idle: Some(time), ..EffectLimit::default() });
    let life = watch(known.life_s, |time| EffectLimit { time: Some(time), since: Since::Open, ..EffectLimit::default() });
    Effect::Connection {
        gate: ConnectionEffects { enough: idle.into_iter().chain(life).collect(), ..ConnectionEffects::default() },
        steps: Vec::new(),
    }
}

pub(super) const ROWS: &[KindRow] = &[
    row(
        "limit_bytes",
        expected_codes::limit,
        &[
            Param {
                name: "bytes",
                shape: COUNTED,
                default: Some("64KiB"),
                doc: "Bytes in both directions together, counted from the \
                injection.",
            },
            END,
            CODE,
        ],
        "ends the connection after a number of bytes",
        "peer: 1006, or the code; a frame may be cut",
        "toxiproxy's limit_data, on a connection that is open",
        |values| enough(EffectLimit { bytes: values.bytes("bytes"), how: how(values), ..EffectLimit::default() }),
    ),
    row(
        "limit_frames",
        expected_codes::limit,
        &[
            Param {
                name: "frames",
                shape: ValueShape::Whole { min: 1, max: u64::MAX },
                default: Some("100"),
                doc: "Frames in both directions together, counted from the injection, including pings and pongs.",
            },
            END,
            CODE,
        ],
        "ends the connection after a number of frames",
        "peer: 1006, or the code",
        "RFC 6455 §5.2",
        |values| enough(EffectLimit { frames: values.whole("frames"), how: how(values), ..EffectLimit::default() }),
    ),
    row(
        "limit_time",
        expected_codes::limit,
        &[Param { name: "time", shape: ValueShape::Duration, default: Some("5s"), doc: "Time after the injection." }, END, CODE],
        "ends the connection after a fixed time",
        "peer: 1006, or the code",
        "RFC 6455 §7.1.5",
        |values| enough(EffectLimit { time: values.duration("time"), how: how(values), ..EffectLimit::default() }),
    ),
    row(
        "idle_timeout",
        expected_codes::limit,
        &[
            Param { name: "idle", shape: ValueShape::Duration, default: Some("60s"), doc: "Time without bytes in either direction." },
            Param {
                name: "count_pings",
                shape: ValueShape::Choice(&["yes", "no"]),
                default: Some("yes"),
                doc: "Whether pings, pongs and other control frames count as activity.",
            },
            Param {
                name: "end",
                shape: ValueShape::Choice(&["fin", "rst", "silent"]),
                default: Some("fin"),
                doc: "How the connection ends; silent: from then on, bytes in both directions are discarded.",
            },
        ],
        "ends idle connections, as load balancers do",
        "peer: 1006; a ping more often than the timeout prevents it",
        "vendors' documents: 55 s to 10 min",
        |values| {
            let only_messages = values.text("count_pings") == Some("no");
            enough(EffectLimit { idle: values.duration("idle"), only_messages, how: how(values), ..EffectLimit::default() })
        },
    ),
    row(
        "max_lifetime",
        expected_codes::limit,
        &[
            Param {
                name: "life",
                shape: ValueShape::Duration,
                default: Some("30s"),
                doc: "Maximum age, from the opening of the \
                connection.",
            },
            Param {
                name: "jitter",
                shape: ValueShape::Duration,
                default: Some("0s"),
                doc: "Random extra lifetime per connection, uniform from 0 to this.",
            },
            END,
            CODE,
        ],
        "ends a connection at a maximum age, even if it is busy",
        "peer: 1006, or the code; all at once for those that opened together, unless there is jitter",
        "vendors' documents: 30 s to 4 h; uWebSockets maxLifetime",
        |values| {
            let jitter = values.duration("jitter").unwrap_or_default();
            enough(EffectLimit { time: values.duration("life"), jitter, since: Since::Open, how: how(values), ..EffectLimit::default() })
        },
    ),
    row(
        "drain",
        expected_codes::limit,
        &[
            Param {
                name: "grace",
                shape: ValueShape::Duration,
                default: Some("5s"),
                doc: "Time from the injection until the first \
                connection is ended.",
            },
            Param {
                name: "spread",
                shape: ValueShape::Duration,
                default: Some("0s"),
                doc: "Time over which the ends are spread, uniform.",
            },
            END,
            CODE,
        ],
        "ends connections after a grace period, as a load balancer that drains a node",
        "peer: 1006 in a wave, or the code",
        "vendors' documents: deregistration delay, drain time",
        |values| {
            let jitter = values.duration("spread").unwrap_or_default();
            enough(EffectLimit { time: values.duration("grace"), jitter, how: how(values), ..EffectLimit::default() })
        },
    ),
    row(
        "load_balancer",
        expected_codes::limit,
        &[
            Param {
                name: "preset",
                shape: ValueShape::Choice(&NAMES),
                default: Some("aws-alb"),
                doc: "Load balancer whose idle timeout and maximum connection age are used.",
            },
            Param {
                name: "time_scale",
                shape: ValueShape::Whole { min: 1, max: 100_000 },
                default: Some("1"),
                doc: "Times are divided by this number, so that hours become seconds.",
            },
            Param {
                name: "end",
                shape: ValueShape::Choice(&["fin", "rst", "silent"]),
                default: Some("fin"),
                doc: "How the connection ends.",
            },
        ],
        "ends connections with the idle timeout and the maximum age of a well-known load balancer",
        "peer: 1006; the time shows which of the two limits applied",
        "vendors' documents: nginx 60 s, AWS ALB 60 s, NLB 350 s, API Gateway 10 min and 2 h, Google 30 s in all, Front Door 5 min and 4 h",
        balancer,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Value;
    use crate::fault::{Values, row};

    #[test]
    fn a_time_scale_runs_hours_in_seconds() {
        let mut values = Values::default();
        values.0.insert("preset".into(), Value::Text("aws-api-gateway".into()));
        values.0.insert("time_scale".into(), Value::Whole(600));
        let Effect::Connection { gate, .. } = (row("load_balancer").expect("a row").effect)(&values) else { panic!("of a connection") };
        assert_eq!(gate.enough.len(), 2);
        assert_eq!((gate.enough[0].idle, gate.enough[1].time), (Some(Duration::from_secs(1)), Some(Duration::from_secs(12))));
    }
}
