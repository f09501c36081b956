//! The ways to end a connection, or to hold it up, that real libraries are measured on.

use Act::{Graceful, Inject, Kill, Stop};
use Peer::{Closes, Pings, Waits};

/// What brings the end about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// A fault, as in a scenario.
    Inject(&'static str),
    /// SIGSTOP, a message from the client where `unread`, then SIGKILL.
    Kill { unread: bool },
    /// SIGSTOP, and nothing more.
    Stop,
    /// SIGTERM's way out: every connection is closed with this code.
    Graceful(u16),
}

/// What the library does on its connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Peer {
    /// It only reads.
    Waits,
    /// It closes with 1000 "done".
    Closes,
    /// It pings within two seconds and waits one for the pong, by its own keepalive.
    Pings,
}

/// One way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// Heading of the page that it stands under.
    pub(super) group: &'static str,
    /// In words; without [`Act::Inject`] it is the name of the way.
    pub(super) title: &'static str,
    pub(super) act: Act,
    pub(super) peer: Peer,
    /// The library is told of it by the embedded server.
    pub(super) to_clients: bool,
    /// The library is told of it by our client.
    pub(super) to_servers: bool,
}

impl Way {
    /// Our side keeps TCP open, whatever becomes of the peer's direction, and looks no further. Its kernel may: if our answer meets a
    /// socket that is closed already, its RST reaches us before or behind the FIN, and only before it does it end the connection.
    pub(super) fn holds_tcp(&self) -> bool {
        matches!(self.act, Act::Inject(inject) if inject.starts_with("close_hold_tcp"))
    }
}

const fn both(group: &'static str, title: &'static str, inject: &'static str, peer: Peer) -> Way {
    Way { group, title, act: Inject(inject), peer, to_clients: true, to_servers: true }
}

const fn to_clients(group: &'static str, title: &'static str, act: Act, peer: Peer) -> Way {
    Way { group, title, act, peer, to_clients: true, to_servers: false }
}

const fn to_servers(group: &'static str, title: &'static str, inject: &'static str, peer: Peer) -> Way {
    Way { group, title, act: Inject(inject), peer, to_clients: false, to_servers: true }
}

const OPENING: &str = "The opening handshake";
const CODES: &str = "A Close frame";
const CLOSING: &str = "A closing handshake that goes wrong";
const TCP: &str = "TCP ends without a Close frame";
const FRAMES: &str = "Frames that break the protocol";
const SILENCE: &str = "Silence";
const PROCESS: &str = "The process";

pub(super) const WAYS: &[Way] = &[
    to_clients(OPENING, "nobody listens", Inject("connect_refuse = {}"), Waits),
    to_clients(OPENING, "the listen queue is full", Inject("backlog_full = { backlog = 1 }"), Waits),
    to_clients(OPENING, "the server has no file descriptors left", Inject("fd_exhaust = {}"), Waits),
    to_clients(OPENING, "no answer", Inject("accept_stall = {}"), Waits),
    to_clients(OPENING, "FIN in place of an answer", Inject("accept_fin = {}"), Waits),
    to_clients(OPENING, "RST in place of an answer", Inject("accept_rst = {}"), Waits),
    to_clients(OPENING, "HTTP 401", Inject("upgrade_status = { status = 401 }"), Waits),
    to_clients(OPENING, "HTTP 404", Inject("upgrade_status = { status = 404 }"), Waits),
    to_clients(OPENING, "HTTP 503", Inject("upgrade_status = { status = 503 }"), Waits),
    to_clients(OPENING, "a redirect to a port where nobody listens", Inject("upgrade_redirect = {}"), Waits),
    to_clients(OPENING, "the answer is 1 s late", Inject("upgrade_delay = { delay = \"1s\" }"), Waits),
    to_clients(OPENING, "the answer comes in pieces", Inject("upgrade_drip = { bytes_per_chunk = \"16B\", interval = \"50ms\" }"), Waits),
    to_clients(OPENING, "40 bytes of the answer, then FIN", Inject("upgrade_truncate = { end = \"fin\" }"), Waits),
    to_clients(OPENING, "40 bytes of the answer, then RST", Inject("upgrade_truncate = { end = \"rst\" }"), Waits),
    to_clients(OPENING, "40 bytes of the answer, then nothing", Inject("upgrade_truncate = { end = \"hold\" }"), Waits),
    to_clients(OPENING, "a wrong Sec-WebSocket-Accept", Inject("upgrade_bad_accept = {}"), Waits),
    to_clients(OPENING, "101 without Upgrade", Inject("upgrade_no_upgrade_hdr = {}"), Waits),
    to_clients(OPENING, "101 without Connection", Inject("upgrade_no_connection_hdr = {}"), Waits),
    to_clients(OPENING, "a subprotocol that nobody offered", Inject("upgrade_bad_subprotocol = {}"), Waits),
    to_clients(OPENING, "an extension that nobody offered", Inject("upgrade_bad_extension = {}"), Waits),
    to_clients(OPENING, "bytes that are not HTTP", Inject("upgrade_garbage = {}"), Waits),
    to_clients(
        OPENING,
        "an overloaded server closes with 1013 as soon as it is open",
        Inject("server_overload = { accept_delay = \"0s\", shed = \"100%\", with = \"1013\" }"),
        Waits,
    ),
    to_servers(OPENING, "no Sec-WebSocket-Key", "client_bad_request = { what = \"no_key\" }", Waits),
    to_servers(OPENING, "a Sec-WebSocket-Key that is none", "client_bad_request = { what = \"bad_key\" }", Waits),
    to_servers(OPENING, "version 12", "client_bad_request = { what = \"version\" }", Waits),
    to_servers(OPENING, "POST", "client_bad_request = { what = \"method\" }", Waits),
    to_servers(OPENING, "HTTP/1.0", "client_bad_request = { what = \"http10\" }", Waits),
    to_servers(OPENING, "a header field of 64 KiB", "client_bad_request = { what = \"oversize_header\" }", Waits),
    to_servers(OPENING, "a message right behind the request, then 1000", "client_early_data = {}", Waits),
    both(CODES, "empty", "close_empty = {}", Waits),
    both(CODES, "0", "close_code = { code = 0 }", Waits),
    both(CODES, "999", "close_code = { code = 999 }", Waits),
    both(CODES, "1000", "close_code = { code = 1000, reason = \"Normal closure\" }", Waits),
    both(CODES, "1001", "close_code = { code = 1001, reason = \"Going away\" }", Waits),
    both(CODES, "1002", "close_code = { code = 1002, reason = \"Protocol error\" }", Waits),
    both(CODES, "1003", "close_code = { code = 1003, reason = \"Unsupported data\" }", Waits),
    both(CODES, "1004 (reserved)", "close_code = { code = 1004 }", Waits),
    both(CODES, "1005 (never sent)", "close_code = { code = 1005 }", Waits),
    both(CODES, "1006 (never sent)", "close_code = { code = 1006 }", Waits),
    both(CODES, "1007", "close_code = { code = 1007 }", Waits),
    both(CODES, "1008", "close_code = { code = 1008 }", Waits),
    both(CODES, "1009", "close_code = { code = 1009 }", Waits),
    both(CODES, "1010", "close_code = { code = 1010 }", Waits),
    both(CODES, "1011", "close_code = { code = 1011, reason = \"Server error\" }", Waits),
    both(CODES, "1012", "close_code = { code = 1012 }", Waits),
    both(CODES, "1013", "close_code = { code = 1013 }", Waits),
    both(CODES, "1014", "close_code = { code = 1014 }", Waits),
    both(CODES, "1015 (never sent)", "close_code = { code = 1015 }", Waits),
    both(CODES, "2000", "close_code = { code = 2000 }", Waits),
    both(CODES, "3000", "close_code = { code = 3000, reason = \"session expired\" }", Waits),
    both(CODES, "4999", "close_code = { code = 4999, reason = \"häßlich ✂\" }", Waits),
    both(CODES, "5000", "close_code = { code = 5000 }", Waits),
    both(CODES, "65535", "close_code = { code = 65535 }", Waits),
    both(
        CODES,
        "4000 and the longest reason, 123 bytes",
        "close_code = { code = 4000, reason = \"123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 \
         123456789 123456789 123456789 123456789 123\" }",
        Waits,
    ),
    both(CLOSING, "a body of one byte", "close_body_1 = {}", Waits),
    both(CLOSING, "a reason that is not UTF-8", "close_reason_bad_utf8 = {}", Waits),
    both(CLOSING, "a reason of 124 bytes", "close_reason_long = {}", Waits),
    both(CLOSING, "1001, then FIN at once", "close_then_fin = {}", Waits),
    both(CLOSING, "1001, then RST 200 ms later", "close_then_rst = { delay = \"200ms\" }", Waits),
    both(CLOSING, "1000, then 1001", "close_twice = {}", Waits),
    both(CLOSING, "1000, then a message", "close_then_data = {}", Waits),
    both(CLOSING, "1000 inside a fragmented message", "close_in_fragment = {}", Waits),
    to_clients(CLOSING, "1 MiB and 1001 right behind it", Inject("close_while_sending = {}"), Waits),
    both(CLOSING, "1001; TCP stays open", "close_hold_tcp = { code = 1001, hold = \"60s\" }", Waits),
    both(CLOSING, "the library closes; answered 1 s later", "close_ack_delay = { delay = \"1s\" }", Closes),
    both(CLOSING, "the library closes; never answered", "close_ack_drop = { then = \"hold\" }", Closes),
    both(CLOSING, "the library closes; FIN in place of the answer", "close_ack_drop = { then = \"fin\" }", Closes),
    both(CLOSING, "the library closes; RST in place of the answer", "close_ack_drop = { then = \"rst\" }", Closes),
    both(CLOSING, "the library closes; answered with 4000", "close_ack_wrong_code = { code = 4000 }", Closes),
    both(CLOSING, "the library closes; answered, TCP stays open", "close_hold_tcp = { hold = \"60s\" }", Closes),
    both(TCP, "FIN", "drop_fin = {}", Waits),
    both(TCP, "RST", "drop_rst = {}", Waits),
    both(TCP, "FIN inside a frame", "truncate_frame = { end = \"fin\" }", Waits),
    both(TCP, "RST inside a frame", "truncate_frame = { end = \"rst\" }", Waits),
    both(TCP, "FIN for one direction, the other is still read", "half_close_write = { keep_reading = \"60s\" }", Waits),
    both(TCP, "an idle timeout of 1 s", "idle_timeout = { idle = \"1s\" }", Waits),
    both(TCP, "a greatest age, by RST", "max_lifetime = { life = \"1s\", end = \"rst\" }", Waits),
    both(FRAMES, "the wrong masking", "frame_mask_violation = {}", Waits),
    both(FRAMES, "RSV1", "frame_rsv = { bits = 4 }", Waits),
    both(FRAMES, "RSV3", "frame_rsv = { bits = 1 }", Waits),
    both(FRAMES, "opcode 3", "frame_opcode = { opcode = 3 }", Waits),
    both(FRAMES, "opcode 11", "frame_opcode = { opcode = 11 }", Waits),
    both(FRAMES, "a ping in parts", "frame_control_fragmented = {}", Waits),
    both(FRAMES, "a ping of 126 bytes", "frame_control_oversize = {}", Waits),
    both(FRAMES, "text that is not UTF-8", "frame_bad_utf8 = { where = \"middle\" }", Waits),
    both(FRAMES, "text that ends inside a code point", "frame_bad_utf8 = { where = \"split\" }", Waits),
    both(FRAMES, "a continuation of nothing", "frame_orphan_continuation = {}", Waits),
    both(FRAMES, "a new message inside a fragmented one", "frame_interleave = {}", Waits),
    both(FRAMES, "1 GiB promised, 10 bytes sent", "frame_length_lie = {}", Waits),
    both(FRAMES, "a short length in 16 bits", "frame_nonminimal_length = { form = \"16\" }", Waits),
    both(FRAMES, "a short length in 64 bits", "frame_nonminimal_length = { form = \"64\" }", Waits),
    both(FRAMES, "a message of 2 MiB", "frame_oversize = { size = \"2MiB\" }", Waits),
    both(FRAMES, "a message of 5 MiB", "frame_oversize = { size = \"5MiB\" }", Waits),
    both(FRAMES, "an unsolicited pong", "pong_unsolicited = {}", Waits),
    // Not more: `ws` ends TCP without a word when too many of its pongs wait for the kernel, and how many do is up to the machine.
    both(FRAMES, "20 pings a second", "ping_flood = { per_s = 20 }", Waits),
    both(SILENCE, "frozen: neither reads nor writes", "freeze = {}", Waits),
    both(SILENCE, "frozen, with keepalive", "freeze = {}", Pings),
    both(SILENCE, "a blackhole in both directions", "blackhole = {}", Waits),
    both(SILENCE, "a blackhole, with keepalive", "blackhole = {}", Pings),
    both(SILENCE, "bytes are held back", "hold_release = {}", Waits),
    both(SILENCE, "bytes are held back, with keepalive", "hold_release = {}", Pings),
    both(SILENCE, "reading has stopped", "stop_reading = {}", Waits),
    both(SILENCE, "reading has stopped, with keepalive", "stop_reading = {}", Pings),
    both(SILENCE, "no pongs, with keepalive", "pong_drop = {}", Pings),
    both(SILENCE, "pongs with another payload, with keepalive", "pong_wrong_payload = {}", Pings),
    both(SILENCE, "every pong 20 s late, with keepalive", "pong_delay = { delay = \"20s\" }", Pings),
    to_servers(SILENCE, "the client's machine sleeps", "client_sleep = {}", Waits),
    to_servers(SILENCE, "the client's machine sleeps, with keepalive", "client_sleep = {}", Pings),
    to_clients(PROCESS, "SIGKILL", Kill { unread: false }, Waits),
    to_clients(PROCESS, "SIGKILL with a message unread", Kill { unread: true }, Waits),
    to_clients(PROCESS, "SIGSTOP", Stop, Waits),
    to_clients(PROCESS, "SIGSTOP, with keepalive", Stop, Pings),
    to_clients(PROCESS, "a graceful stop with 1001", Graceful(1001), Waits),
    to_clients(PROCESS, "a graceful stop with 1012", Graceful(1012), Waits),
    to_servers(PROCESS, "the client crashes: FIN", "client_crash = { end = \"fin\" }", Waits),
    to_servers(PROCESS, "the client crashes: RST", "client_crash = { end = \"rst\" }", Waits),
    to_servers(PROCESS, "the client loses power", "client_crash = { end = \"silent\" }", Waits),
];
