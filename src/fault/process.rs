//! Faults of server processes and fleets, and of the machines that clients run on.

use super::{
    ConnectionEffects, Effect, EffectLimit, End, Flow, Form, HowEnough, InjectionStep, KindRow, Layer, OnAttempt, OnProcess, Param,
    Shedding, Side, ValueShape, Values, expected_codes,
};
use std::time::Duration;

const SERVER: &[Side] = &[Side::Server];
const CLIENT: &[Side] = &[Side::Client];
const INSTANCE: Param = Param {
    name: "instance",
    shape: ValueShape::Whole { min: 0, max: 999 },
    default: None,
    doc: "Only this instance, counted from 0; default: all instances.",
};
const DOWN: Param = Param {
    name: "down",
    shape: ValueShape::Duration,
    default: Some("2s"),
    doc: "Time from the end of the process to the start of the new one.",
};
const CODE: Param = Param {
    name: "code",
    shape: ValueShape::Whole { min: 1000, max: 4999 },
    default: Some("1001"),
    doc: "Status code of the Close frames: 1001, 1012 or 1013.",
};
const REASON: Param = Param { name: "reason", shape: ValueShape::Text { max: 123 }, default: Some(""), doc: "Reason of the Close frames." };
const GRACE: Param = Param {
    name: "grace",
    shape: ValueShape::Duration,
    default: Some("5s"),
    doc: "Longest wait for acknowledgements; then SIGKILL for a command.",
};
const SPREAD: Param =
    Param { name: "spread", shape: ValueShape::Duration, default: Some("0s"), doc: "Time over which the Close frames are sent." };

fn graceful(values: &Values) -> OnProcess {
    OnProcess::Graceful {
        code: values.short("code").unwrap_or(1001),
        reason: values.text("reason").unwrap_or_default().to_owned(),
        grace: values.duration("grace").unwrap_or(Duration::from_secs(5)),
        spread: values.duration("spread").unwrap_or_default(),
        down: values.duration("down").unwrap_or(Duration::from_secs(2)),
        instance: values.short("instance"),
    }
}

fn crash(values: &Values) -> OnProcess {
    OnProcess::Crash { down: values.duration("down").unwrap_or(Duration::from_secs(2)), instance: values.short("instance") }
}

pub(super) const ROWS: &[KindRow] = &[
    KindRow {
        kind: "server_crash",
        layer: Layer::Process,
        sides: SERVER,
        form: Form::Process { holds: false },
        params: &[DOWN, INSTANCE],
        summary: "kills the server process with SIGKILL and starts a new one later",
        expect: "client: 1006, by FIN where the server had read everything, by RST where not; then refused",
        told: expected_codes::killed,
        source: "measured: the kernel of a killed process sends RST for unread bytes",
        effect: |values| Effect::Process(crash(values)),
    },
    KindRow {
        kind: "server_graceful",
        layer: Layer::Process,
        sides: SERVER,
        form: Form::Process { holds: false },
        params: &[CODE, REASON, GRACE, SPREAD, DOWN, INSTANCE],
        summary: "stops listening, closes every connection with a status code, exits, and starts again later",
        expect: "client: that code, clean; then refused; the herd is delayed by `spread`",
        told: expected_codes::code_and_end,
        source: "RFC 6455 §7.4.1 (1001), IANA registry (1012, 1013)",
        effect: |values| Effect::Process(graceful(values)),
    },
    KindRow {
        kind: "server_restart_rolling",
        layer: Layer::Process,
        sides: SERVER,
        form: Form::Process { holds: false },
        params: &[
            Param { name: "interval", shape: ValueShape::Duration, default: Some("5s"), doc: "Time between the starts of two restarts." },
            Param {
                name: "mode",
                shape: ValueShape::Choice(&["graceful", "crash"]),
                default: Some("graceful"),
                doc: "How each instance ends.",
            },
            CODE,
            REASON,
            GRACE,
            SPREAD,
            DOWN,
        ],
        summary: "restarts the instances one after the other",
        expect: "client: waves of that code, or of 1006, towards the remaining instances",
        told: expected_codes::restarted,
        source: "Kubernetes rolling update; RFC 6455 §7.4.1",
        effect: |values| {
            let each = if values.text("mode") == Some("crash") { crash(values) } else { graceful(values) };
            Effect::Process(OnProcess::Rolling {
                interval: values.duration("interval").unwrap_or(Duration::from_secs(5)),
                each: Box::new(each),
            })
        },
    },
    KindRow {
        kind: "server_pause",
        layer: Layer::Process,
        sides: SERVER,
        form: Form::Process { holds: true },
        params: &[INSTANCE],
        summary: "stops the server process with SIGSTOP, and continues it when reverted",
        expect: "client: nothing, until a pong or handshake deadline; connects succeed, upgrades stall",
        told: expected_codes::silent,
        source: "measured: a stopped server's kernel still completes TCP handshakes in 0.2 ms",
        effect: |values| Effect::Process(OnProcess::Pause { instance: values.short("instance") }),
    },
    KindRow {
        kind: "client_crash",
        layer: Layer::Process,
        sides: CLIENT,
        form: Form::Instant,
        params: &[Param {
            name: "end",
            shape: ValueShape::Choice(&["fin", "rst", "silent"]),
            default: Some("fin"),
            doc: "How TCP ends: FIN, RST, or silent, as in a power failure.",
        }],
        summary: "ends the client without a Close frame; it reconnects by its strategy",
        expect: "server: 1006 by FIN or RST; silent: nothing until its pong or idle deadline, half-open forever without one",
        told: expected_codes::abnormal,
        source: "RFC 6455 §7.1.5; RFC 9293 §3.5.1 (half-open connections)",
        effect: |values| Effect::Connection {
            gate: ConnectionEffects::default(),
            steps: vec![InjectionStep::End(End::named(values.text("end")))],
        },
    },
    KindRow {
        kind: "client_sleep",
        layer: Layer::Process,
        sides: CLIENT,
        form: Form::Holding,
        params: &[Param {
            name: "on_wake",
            shape: ValueShape::Choice(&["close", "resume"]),
            default: Some("close"),
            doc: "rst: the path has lost its state and answers RST; resume: the client reads what the peer sent meanwhile, and the \
                connection goes on.",
        }],
        summary: "suspends the client's machine: it neither reads nor writes, and its timers stop",
        expect: "server: nothing until its pong or idle deadline; client: 1006 at wake, or what the server did meanwhile",
        told: expected_codes::slept,
        source: "clock_gettime(2): CLOCK_MONOTONIC stands still in suspend",
        effect: |values| {
            let close = values.text("on_wake") != Some("resume");
            // What a sleeper does not read stays with the peer's kernel, or is lost with the path.
            let flow = if close { Flow::Discard } else { Flow::Stop };
            let gate = ConnectionEffects { read: flow, write: flow, asleep: true, reset_on_revert: close, ..ConnectionEffects::default() };
            Effect::Connection { gate, steps: Vec::new() }
        },
    },
    KindRow {
        kind: "client_network_switch",
        layer: Layer::Process,
        sides: CLIENT,
        form: Form::Instant,
        params: &[Param {
            name: "gap",
            shape: ValueShape::Duration,
            default: Some("500ms"),
            doc: "Time from the silence of the old path to the new attempt.",
        }],
        summary: "moves the client to another network: the old path goes silent, and the client opens a new connection regardless of \
            its strategy",
        expect: "server: two connections of one client, the old one half-open until its pong or idle deadline",
        told: expected_codes::abnormal,
        source: "RFC 9293 §3.5.1; a TCP connection is bound to its addresses (RFC 9293 §3.1)",
        effect: |values| {
            let gap = values.duration("gap").unwrap_or_default();
            Effect::Connection { gate: ConnectionEffects::default(), steps: vec![InjectionStep::Switch { gap }] }
        },
    },
    KindRow {
        kind: "server_overload",
        layer: Layer::Process,
        sides: SERVER,
        form: Form::Attempts,
        params: &[
            Param {
                name: "accept_delay",
                shape: ValueShape::Duration,
                default: Some("1s"),
                doc: "Delay of each answer, rejections included.",
            },
            Param {
                name: "shed",
                shape: ValueShape::Share { min: 0.0, max: 1.0 },
                default: Some("50%"),
                doc: "Share of the attempts to reject, decided at random for each.",
            },
            Param {
                name: "with",
                shape: ValueShape::Choice(&["503", "1013"]),
                default: Some("503"),
                doc: "HTTP status 503 in answer to the handshake, or 101 and status code 1013.",
            },
        ],
        summary: "answers opening handshakes late and rejects a share of them",
        expect: "client: rejected with 503, or opened and closed with 1013 at once; the others open late",
        told: expected_codes::shed,
        source: "RFC 9110 §15.6.4 (503); IANA registry (1013, try again later)",
        effect: |values| {
            let by = if values.text("with") == Some("1013") { Shedding::Close(1013) } else { Shedding::Status(503) };
            let delay = values.duration("accept_delay").unwrap_or_default();
            Effect::Attempt(OnAttempt::Shed { delay, share: values.share("shed").unwrap_or_default(), by })
        },
    },
    KindRow {
        kind: "server_panic_handler",
        layer: Layer::Process,
        sides: SERVER,
        form: Form::Holding,
        params: &[
            Param {
                name: "probability",
                shape: ValueShape::Share { min: 0.0, max: 1.0 },
                default: Some("1%"),
                doc: "Probability that the handler of a message fails.",
            },
            Param {
                name: "end",
                shape: ValueShape::Choice(&["1011", "drop"]),
                default: Some("1011"),
                doc: "Close with 1011, or FIN without a Close frame.",
            },
        ],
        summary: "fails on a share of the messages and ends their connections",
        expect: "client: 1011, or 1006 if the connection is dropped; the message is not answered",
        told: expected_codes::failed,
        source: "RFC 6455 §7.4.1 (1011, unexpected condition)",
        effect: |values| {
            let how = if values.text("end") == Some("drop") { HowEnough::End(End::Fin) } else { HowEnough::Close(1011) };
            let chance = values.share("probability").unwrap_or_default();
            Effect::Connection {
                gate: ConnectionEffects {
                    enough: vec![EffectLimit { chance, how, ..EffectLimit::default() }],
                    ..ConnectionEffects::default()
                },
                steps: Vec::new(),
            }
        },
    },
];
