//! Faults of connecting and of the opening handshake. The embedded server reads the request head before it acts, because the head
//! says whose attempt it is; on the wire that looks the same, the kernel acknowledges the bytes either way.

use super::row::{HELD, SMALL};
use super::{
    Effect, End, Form, Frame, KindRow, Layer, OnAttempt, OnListener, Param, RequestEdit, ResponseEdit, Side, TEXT, ValueShape,
    expected_codes,
};

const SERVER: &[Side] = &[Side::Server];
const INSTANCE: Param = Param {
    name: "instance",
    shape: ValueShape::Whole { min: 0, max: 999 },
    default: None,
    doc: "Only this instance, counted from 0; default: all instances.",
};
/// No HTTP message begins like this.
const GARBAGE: &[u8] = b"\x16\x03\x01\x00\xffnot HTTP\r\n\r\n";
/// Longer than any request head that servers take; the embedded one takes 16 KiB.
const OVERSIZE: u32 = 64 * 1024;

fn answer(answer: ResponseEdit) -> Effect {
    Effect::Attempt(OnAttempt::Answer(answer))
}

fn field(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), value.to_owned())]
}

/// A request head that breaks the rule named.
fn broken(what: Option<&str>) -> RequestEdit {
    let ask = RequestEdit::default();
    match what {
        Some("bad_key") => RequestEdit { with: field("Sec-WebSocket-Key", "short"), ..ask },
        Some("version") => RequestEdit { with: field("Sec-WebSocket-Version", "12"), ..ask },
        Some("method") => RequestEdit { method: Some("POST".into()), ..ask },
        Some("http10") => RequestEdit { version: Some("HTTP/1.0".into()), ..ask },
        Some("oversize_header") => RequestEdit { padding: OVERSIZE, ..ask },
        _ => RequestEdit { without: vec!["Sec-WebSocket-Key".into()], ..ask },
    }
}

pub(super) const ROWS: &[KindRow] = &[
    KindRow {
        kind: "connect_refuse",
        layer: Layer::Handshake,
        sides: SERVER,
        form: Form::Listener,
        params: &[INSTANCE],
        summary: "closes the listening socket: new connections are refused, and handshakes without an answer are reset",
        expect: "client: refused (ECONNREFUSED), or reset in the upgrade stage; a browser reports 1006",
        told: expected_codes::nothing,
        source: "RFC 9293 §3.10.7.1: a segment to a closed port is answered with RST",
        effect: |values| Effect::Listener { on: OnListener::Closed, instance: values.short("instance") },
    },
    KindRow {
        kind: "accept_stall",
        layer: Layer::Handshake,
        sides: SERVER,
        form: Form::Attempts,
        params: &[Param {
            name: "hold",
            shape: ValueShape::Duration,
            default: Some("0s"),
            doc: "How long the server stays silent before it closes the connection; 0: forever.",
        }],
        summary: "accepts TCP connections and never answers the opening handshake",
        expect: "client: times out in the upgrade stage by its handshake deadline",
        told: expected_codes::nothing,
        source: "RFC 6455 §4.1; measured: most clients wait forever without a deadline of their own",
        effect: |values| Effect::Attempt(OnAttempt::Stall(values.duration("hold").unwrap_or_default())),
    },
    KindRow {
        kind: "upgrade_status",
        layer: Layer::Handshake,
        sides: SERVER,
        form: Form::Attempts,
        params: &[
            Param {
                name: "status",
                shape: ValueShape::Whole { min: 200, max: 599 },
                default: Some("503"),
                doc: "HTTP status of the answer.",
            },
            Param {
                name: "retry_after",
                shape: ValueShape::Duration,
                default: None,
                doc: "Retry-After header, whole seconds; no measured client acts on it.",
            },
            Param { name: "body", shape: HELD, default: Some("0B"), doc: "Length of the body." },
        ],
        summary: "answers opening handshakes with an HTTP status other than 101",
        expect: "client: rejected with that status; a browser reports 1006",
        told: expected_codes::nothing,
        source: "RFC 6455 §4.1, §4.2.2; RFC 9110 §10.2.3 for Retry-After",
        effect: |values| {
            Effect::Attempt(OnAttempt::Reject {
                status: values.short("status").unwrap_or(503),
                retry_after: values.duration("retry_after").map(crate::units::whole_seconds),
                location: None,
                body: values.bytes("body").and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(0),
            })
        },
    },
    KindRow {
        kind: "accept_fin",
        layer: Layer::Handshake,
        sides: SERVER,
        form: Form::Attempts,
        params: &[Param { name: "delay", shape: ValueShape::Duration, default: Some("0s"), doc: "Time from the request to the end." }],
        summary: "ends TCP by FIN in place of an answer to the opening handshake",
        expect: "client: failed in the upgrade stage by end of stream; a browser reports 1006",
        told: expected_codes::nothing,
        source: "RFC 6455 §4.1; measured: no client reports another code",
        effect: |values| Effect::Attempt(OnAttempt::Cut { delay: values.duration("delay").unwrap_or_default(), end: End::Fin }),
    },
    KindRow {
        kind: "accept_rst",
        layer: Layer::Handshake,
        sides: SERVER,
        form: Form::Attempts,
        params: &[Param { name: "delay", shape: ValueShape::Duration, default: Some("0s"), doc: "Time from the request to the end." }],
        summary: "ends TCP by RST in place of an answer to the opening handshake",
        expect: "client: failed in the upgrade stage by a reset; a browser reports 1006",
        told: expected_codes::nothing,
        source: "RFC 6455 §4.1; measured: no client reports another code",
        effect: |values| Effect::Attempt(OnAttempt::Cut { delay: values.duration("delay").unwrap_or_default(), end: End::Rst }),
    },
    KindRow {
        kind: "backlog_full",
        layer: Layer::Handshake,
        sides: SERVER,
        form: Form::Listener,
        params: &[
            Param {
                name: "backlog",
                shape: ValueShape::Whole { min: 0, max: 65_535 },
                default: Some("1"),
                doc: "Length of the queue; the kernel accepts one more connection.",
            },
            INSTANCE,
        ],
        summary: "accepts nothing and shrinks the listen queue: SYNs beyond it are dropped",
        expect: "client: connect times follow the SYN retries (1, 2, 3, 4 s, then doubling; 1, 3, 7 s on old kernels), or timed out; \
            those in the queue time out in the upgrade stage",
        told: expected_codes::nothing,
        source: "listen(2), tcp(7); measured: retries follow net.ipv4.tcp_syn_linear_timeouts",
        effect: |values| {
            let backlog = values.whole("backlog").and_then(|backlog| u32::try_from(backlog).ok()).unwrap_or(1);
            Effect::Listener { on: OnListener::Full(backlog), instance: values.short("instance") }
        },
    },
    KindRow {
        kind: "fd_exhaust",
        layer: Layer::Handshake,
        sides: SERVER,
        form: Form::Listener,
        params: &[
            Param {
                name: "spare",
                shape: ValueShape::Whole { min: 0, max: 1_000_000 },
                default: Some("0"),
                doc: "Number of files (mostly connections) that can still be opened.",
            },
            INSTANCE,
        ],
        summary: "lowers the limit of open files of the server process: accept(2) fails with EMFILE",
        expect: "client: TCP connects, the opening handshake times out; those in the queue are served when the fault ends",
        told: expected_codes::nothing,
        source: "getrlimit(2), accept(2); a failed accept leaves the connection in the queue",
        effect: |values| {
            let spare = values.whole("spare").and_then(|spare| u32::try_from(spare).ok()).unwrap_or(0);
            Effect::Listener { on: OnListener::Files(spare), instance: values.short("instance") }
        },
    },
    KindRow {
        kind: "upgrade_redirect",
        layer: Layer::Handshake,
        sides: SERVER,
        form: Form::Attempts,
        params: &[
            Param {
                name: "status",
                shape: ValueShape::Choice(&["301", "302", "307", "308"]),
                default: Some("302"),
                doc: "HTTP status of the answer.",
            },
            Param {
                name: "location",
                shape: ValueShape::Text { max: 1024 },
                default: Some("ws://127.0.0.1:9/"),
                doc: "Location header: a URL, or a path on the same server.",
            },
        ],
        summary: "answers opening handshakes with a redirect",
        expect: "client: rejected with that status; few clients follow (websockets for Python does, browsers do not)",
        told: expected_codes::nothing,
        source: "RFC 6455 §4.1; RFC 9110 §15.4",
        effect: |values| {
            Effect::Attempt(OnAttempt::Reject {
                status: values.text("status").and_then(|status| status.parse().ok()).unwrap_or(302),
                retry_after: None,
                location: values.text("location").map(str::to_owned),
                body: 0,
            })
        },
    },
    KindRow {
        kind: "upgrade_delay",
        layer: Layer::Handshake,
        sides: SERVER,
        form: Form::Attempts,
        params: &[
            Param { name: "delay", shape: ValueShape::Duration, default: Some("2s"), doc: "Time from the request to the answer." },
            Param {
                name: "jitter",
                shape: ValueShape::Duration,
                default: Some("0s"),
                doc: "Random extra delay per attempt, uniform from 0 to this.",
            },
        ],
        summary: "answers opening handshakes late",
        expect: "client: opens late, or times out in the upgrade stage",
        told: expected_codes::nothing,
        source: "RFC 6455 §4.1 sets no deadline",
        effect: |values| {
            let (delay, jitter) = (values.duration("delay").unwrap_or_default(), values.duration("jitter").unwrap_or_default());
            answer(ResponseEdit { delay, jitter, ..ResponseEdit::default() })
        },
    },
    KindRow {
        kind: "upgrade_drip",
        layer: Layer::Handshake,
        sides: SERVER,
        form: Form::Attempts,
        params: &[
            Param { name: "bytes_per_chunk", shape: SMALL, default: Some("8B"), doc: "Size of a piece." },
            Param { name: "interval", shape: ValueShape::Duration, default: Some("200ms"), doc: "Delay between two pieces." },
        ],
        summary: "sends the answer to opening handshakes in small pieces",
        expect: "client: opens slowly, or times out in the upgrade stage; tungstenite fails after 64 reads of less than 128 B on average",
        told: expected_codes::nothing,
        source: "measured: most clients wait forever; tungstenite handshake/machine.rs",
        effect: |values| {
            let bytes = values.bytes("bytes_per_chunk").and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(1).max(1);
            answer(ResponseEdit { pieces: Some((bytes, values.duration("interval").unwrap_or_default())), ..ResponseEdit::default() })
        },
    },
    KindRow {
        kind: "upgrade_truncate",
        layer: Layer::Handshake,
        sides: SERVER,
        form: Form::Attempts,
        params: &[
            Param {
                name: "bytes",
                shape: SMALL,
                default: Some("40B"),
                doc: "Bytes of the answer to send; the whole answer has about \
                130 B.",
            },
            Param {
                name: "end",
                shape: ValueShape::Choice(&["fin", "rst", "hold"]),
                default: Some("fin"),
                doc: "How TCP ends after that; hold: it stays open.",
            },
        ],
        summary: "sends the beginning of the answer to opening handshakes and ends TCP",
        expect: "client: failed in the upgrade stage by end of stream or a reset, or times out there",
        told: expected_codes::nothing,
        source: "RFC 9112 §8: an incomplete message is an error",
        effect: |values| {
            let bytes = values.bytes("bytes").and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(0);
            answer(ResponseEdit { cut: Some((bytes, End::named(values.text("end")))), ..ResponseEdit::default() })
        },
    },
    KindRow {
        kind: "upgrade_bad_accept",
        layer: Layer::Handshake,
        sides: SERVER,
        form: Form::Attempts,
        params: &[],
        summary: "answers opening handshakes with a wrong Sec-WebSocket-Accept",
        expect: "client: fails the opening handshake and ends TCP; a browser reports 1006",
        told: expected_codes::nothing,
        source: "RFC 6455 §4.1, rule 4 on the server's handshake",
        effect: |_| answer(ResponseEdit { with: field("Sec-WebSocket-Accept", "bm90IHRoZSBrZXkgeW91IHNlbnQ="), ..ResponseEdit::default() }),
    },
    KindRow {
        kind: "upgrade_no_upgrade_hdr",
        layer: Layer::Handshake,
        sides: SERVER,
        form: Form::Attempts,
        params: &[],
        summary: "answers opening handshakes with 101 and no Upgrade header",
        expect: "client: fails the opening handshake and ends TCP; a browser reports 1006; measured: ws and Node leave the socket open",
        told: expected_codes::nothing,
        source: "RFC 6455 §4.1, rule 2 on the server's handshake",
        effect: |_| answer(ResponseEdit { without: vec!["Upgrade".into()], ..ResponseEdit::default() }),
    },
    KindRow {
        kind: "upgrade_no_connection_hdr",
        layer: Layer::Handshake,
        sides: SERVER,
        form: Form::Attempts,
        params: &[],
        summary: "answers opening handshakes with 101 and no Connection header",
        expect: "client: fails the opening handshake and ends TCP; a browser reports 1006; measured: ws and Node leave the socket open",
        told: expected_codes::nothing,
        source: "RFC 6455 §4.1, rule 3 on the server's handshake",
        effect: |_| answer(ResponseEdit { without: vec!["Connection".into()], ..ResponseEdit::default() }),
    },
    KindRow {
        kind: "upgrade_bad_subprotocol",
        layer: Layer::Handshake,
        sides: SERVER,
        form: Form::Attempts,
        params: &[],
        summary: "answers opening handshakes with a subprotocol that the client did not offer",
        expect: "client: fails the opening handshake and ends TCP; a browser reports 1006; measured: aiohttp accepts it",
        told: expected_codes::nothing,
        source: "RFC 6455 §4.1, rule 6 on the server's handshake",
        effect: |_| answer(ResponseEdit { with: field("Sec-WebSocket-Protocol", "never.offered"), ..ResponseEdit::default() }),
    },
    KindRow {
        kind: "upgrade_bad_extension",
        layer: Layer::Handshake,
        sides: SERVER,
        form: Form::Attempts,
        params: &[],
        summary: "answers opening handshakes with an extension that the client did not offer",
        expect: "client: fails the opening handshake and ends TCP; a browser reports 1006; measured: aiohttp and bare tungstenite \
            accept it",
        told: expected_codes::nothing,
        source: "RFC 6455 §4.1, rule 5 on the server's handshake",
        effect: |_| answer(ResponseEdit { with: field("Sec-WebSocket-Extensions", "never-offered"), ..ResponseEdit::default() }),
    },
    KindRow {
        kind: "upgrade_garbage",
        layer: Layer::Handshake,
        sides: SERVER,
        form: Form::Attempts,
        params: &[],
        summary: "answers opening handshakes with bytes that are not HTTP, then FIN",
        expect: "client: fails the opening handshake and ends TCP; a browser reports 1006",
        told: expected_codes::nothing,
        source: "RFC 9112 §2.2: an invalid message is an error",
        effect: |_| answer(ResponseEdit { instead: Some(GARBAGE.to_vec()), cut: Some((u32::MAX, End::Fin)), ..ResponseEdit::default() }),
    },
    KindRow {
        kind: "client_bad_request",
        layer: Layer::Handshake,
        sides: &[Side::Client],
        form: Form::Attempts,
        params: &[Param {
            name: "what",
            shape: ValueShape::Choice(&["no_key", "bad_key", "version", "method", "http10", "oversize_header"]),
            default: Some("no_key"),
            doc: "Which rule the request breaks: the key is missing or invalid, the version is 12, the method is POST, the protocol is \
                HTTP/1.0, or a header field is 64 KiB long.",
        }],
        summary: "sends an opening handshake that breaks a rule",
        expect: "server: answers 400 (key), 426 (version), 405 (method), 505 (HTTP/1.0) or 431 (length) and closes, or closes without \
            an answer",
        told: expected_codes::nothing,
        source: "RFC 6455 §4.2.1, §4.4; RFC 9110 §15.5.6; RFC 6585 §5",
        effect: |values| Effect::Attempt(OnAttempt::Ask(broken(values.text("what")))),
    },
    KindRow {
        kind: "client_early_data",
        layer: Layer::Handshake,
        sides: &[Side::Client],
        form: Form::Attempts,
        params: &[Param {
            name: "frames",
            shape: ValueShape::Whole { min: 1, max: 1000 },
            default: Some("1"),
            doc: "Number of text frames after the request head; each is a message.",
        }],
        summary: "sends frames right after the request head, before the answer",
        expect: "server: takes the messages once the handshake is complete, or refuses; tungstenite alone refuses (JunkAfterRequest)",
        told: expected_codes::nothing,
        source: "RFC 6455 §4.1: a client must wait for the answer",
        effect: |values| {
            let frames = (0..values.whole("frames").unwrap_or(1)).map(|number| Frame::new(TEXT, format!("early {number}")));
            Effect::Attempt(OnAttempt::Ask(RequestEdit { early: frames.collect(), ..RequestEdit::default() }))
        },
    },
];
