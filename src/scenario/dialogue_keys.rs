//! The keys of dialogues, documented as in `keys`.

use super::section::{Section, TableKey, key};

const WITHIN: TableKey = key("within", r#""5s""#, r#""10s""#, "How long it may take; then the client closes.");
const CAPTURE: TableKey =
    key("capture", "table of JSON pointers or tables", "none", "What is kept of the message, for `{captured.NAME}` in later ones.");

/// Sections of dialogues, in the order of a scenario.
pub(super) static REQUEST: Section = Section {
    path: "request",
    doc: "Messages of one client and their replies: round trips.",
    keys: &[
        key("message", "text", "required", "What is sent; names in braces are filled in. hex:, base64: and file: send binary."),
        key("reply", "\"any\" or match", "\"any\"", "Which message is the reply: any, in order, or the one that fits the request."),
        key("error", "match", "none", "Replies that say that it failed; they are counted apart."),
        key("rate", r#""1/s""#, r#""1/s""#, "Open loop: requests of each client, whether replies come or not."),
        key("in_flight", "1 to 1000", "none", "Closed loop: requests under way; the next is due when a reply came."),
    ],
};

pub(super) static DIALOGUE: Section = Section {
    path: "dialogue",
    doc: "What is said on each connection, again after each reconnect; in the cohort, or in a file of its own.",
    keys: &[
        key(
            "protocol",
            "socket.io, graphql-transport-ws, mqtt or mqtt5",
            "none",
            "Whose server's part the embedded server plays; MQTT packets are written as JSON.",
        ),
        key("before", "list of tables", "none", "HTTP requests before each connection, one after the other."),
        key("open", "list of tables", "none", "Steps from the 101 on, one after the other; at their end the client is ready."),
        key("reply", "list of tables", "none", "Standing answers, as to a ping of the server."),
        key("beat", "table", "none", "A message by the clock, and its answer."),
        key("silence", r#""45s""#, "none", "The client closes when nothing came for so long."),
        key("request", "list of tables", "none", "Messages that are measured; one is drawn by weight each time."),
        key("rate", r#""1/s""#, r#""1/s""#, "Open loop: requests of each client."),
        key("in_flight", "1 to 1000", "none", "Closed loop: requests of a client under way."),
        key("receive", "match", "all that is nothing else", "Which messages count as received."),
        key(
            "sequence",
            "JSON pointer or table",
            "none",
            "Where received messages have a number that counts up: what was missed is counted.",
        ),
        key(
            "timestamp",
            "JSON pointer or table",
            "none",
            "Where received messages say when they were sent, for `broadcast_latency`; needs one clock for server and clients.",
        ),
        CAPTURE,
        key("error", "table of matches", "none", "Messages that say that something is wrong, counted by the name of each."),
        key("leave", "text", "none", "Said before the client's own Close frame, at the end of its `stay`."),
    ],
};

pub(super) static STEP: Section = Section {
    path: "dialogue.open",
    doc: "A step: sends, then waits, as far as it says so.",
    keys: &[
        key("name", "text", "its number", "Its name in results, as `deadline:dialogue:NAME`."),
        key("send", "text", "nothing", "What is sent."),
        key(
            "resume",
            "text",
            "nothing",
            "Sent instead of `send` once all that it names in `{captured.NAME}` has been captured; numbered messages that come before its answer are recovered.",
        ),
        key("expect", "match", "nothing", "Which message is awaited; others before it are passed over."),
        key("check", "match", "none", "What that message must be, to be right."),
        CAPTURE,
        WITHIN,
    ],
};

pub(super) static MATCH: Section = Section {
    path: "a match",
    doc: "Which message is meant: a text it begins with, or a table in which everything must hold.",
    keys: &[
        key("prefix", "text", "-", "It begins with this."),
        key("equals", "text", "-", "It is this."),
        key("contains", "text", "-", "It contains this."),
        key("json", "table", "-", "JSON pointers and the values there; `true`: any value. JSON begins with the first { or [."),
        key("regex", "text", "-", "The expression matches somewhere in it."),
        key("at", "table", "-", "Bytes at an offset."),
        key("any", "true", "-", "Any message."),
    ],
};

pub(super) static SEQUENCE: Section = Section {
    path: "dialogue.sequence",
    doc: "Numbers of received messages; they count up by one.",
    keys: &[
        key("number", "JSON pointer or table", "required", "Where the number stands, as in `capture`."),
        key("stream", "JSON pointer or table", "one stream", "Where the name of the room or topic stands that has numbers of its own."),
        key("replayed", "match", "none", "Messages that the server sends once more to a client that was away."),
    ],
};

pub(super) static AT: Section = Section {
    path: "match.at",
    doc: "Bytes at an offset.",
    keys: &[key("offset", "whole number", "0", "From the beginning."), key("hex", r#""2002""#, "required", "The bytes.")],
};

pub(super) static REPLY: Section = Section {
    path: "dialogue.reply",
    doc: "A standing answer.",
    keys: &[key("to", "match", "required", "Messages that are answered."), key("send", "text", "required", "The answer.")],
};

pub(super) static BEAT: Section = Section {
    path: "dialogue.beat",
    doc: "A message by the clock.",
    keys: &[
        key("every", r#""25s""#, "required", "Between two; the first comes so long after the opening steps."),
        key("send", "text", "required", "What is sent."),
        key("expect", "match", "none", "The message that answers it."),
        WITHIN,
    ],
};

pub(super) static MEASURED: Section = Section {
    path: "dialogue.request",
    doc: "A message that is measured.",
    keys: &[
        key("name", "text", "its number", "Its name in results."),
        key("send", "text", "required", "What is sent; {sequence} is its number."),
        key("reply", "\"any\" or match", "nobody answers", "Which message is its reply."),
        key("error", "match", "none", "Replies that say that it failed; they are counted apart."),
        key("weight", "number", "1", "How often it is drawn, in relation to the others."),
    ],
};

pub(super) static BEFORE: Section = Section {
    path: "dialogue.before",
    doc: "An HTTP request before each connection.",
    keys: &[
        key("name", "text", "its number", "Its name in results."),
        key("url", "URL", "required", "http:// or https://, or a path on the target itself; names in braces are filled in."),
        key("method", "text", "POST with a body, else GET", "Its method."),
        key("headers", "table of texts", "none", "Its header fields."),
        key("body", "text", "none", "What is sent with it."),
        key("status", "HTTP status", "200 to 299", "The only status that is right."),
        CAPTURE,
        WITHIN,
    ],
};

pub(super) static CAPTURED: Section = Section {
    path: "capture.NAME",
    doc: "Where a value is found; a text is a JSON pointer.",
    keys: &[
        key("json", "JSON pointer", "-", "As \"/user/id\"."),
        key("regex", "text", "-", "The first group of the expression."),
        key("header", "text", "-", "A header field of an HTTP answer."),
        key("whole", "true", "-", "All of it."),
        key(
            "optional",
            "true",
            "-",
            "Where it is not there, the value is empty, also if there was one before; without this, a step fails then.",
        ),
    ],
};

pub(super) static DATA: Section = Section {
    path: "data",
    doc: "A file with values for each client.",
    keys: &[
        key("file", "path", "required", "CSV with a header, or JSON lines (.jsonl, .ndjson); beside the scenario."),
        key("order", "in_order, cycled or drawn", "in_order", "Client k of the cohort has row k; again from the first; one drawn."),
    ],
};
