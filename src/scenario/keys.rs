//! The keys of a scenario. Reading, error messages and `closestorm validate --keys` use these lists.
//!
//! Those of the target, of the model and of dialogues are in `target_keys`, `model_keys` and `dialogue_keys`.
//! The parameters of fault kinds are in `fault::rows()`, those of reconnect policies in `reconnect`.

use super::section::key;
pub use super::section::{Section, TableKey};
use super::{dialogue_keys, model_keys, target_keys};

/// All sections, in the order of a scenario.
pub static SECTIONS: &[&Section] = &[
    &TOP,
    &ANSWER,
    &target_keys::TARGET,
    &target_keys::EMBEDDED,
    &target_keys::ADMIT,
    &target_keys::COMMAND,
    &target_keys::READY,
    &target_keys::HTTP,
    &target_keys::URL,
    &model_keys::MODEL,
    &model_keys::TIMES,
    &model_keys::LOGNORMAL,
    &COHORT,
    &ARRIVE,
    &STAGE,
    &RATE,
    &TRAFFIC,
    &ECHO,
    &SEND,
    &dialogue_keys::REQUEST,
    &dialogue_keys::DIALOGUE,
    &dialogue_keys::BEFORE,
    &dialogue_keys::STEP,
    &dialogue_keys::MATCH,
    &dialogue_keys::AT,
    &dialogue_keys::SEQUENCE,
    &dialogue_keys::CAPTURED,
    &dialogue_keys::REPLY,
    &dialogue_keys::BEAT,
    &dialogue_keys::MEASURED,
    &dialogue_keys::DATA,
    &HEARTBEAT,
    &STAY,
    &CLOSE,
    &DEADLINES,
    &READINESS,
    &FAULT,
    &SELECT,
];

pub(super) static TOP: Section = Section {
    path: "the scenario",
    doc: "One experiment.",
    keys: &[
        key("question", "text", "none", "The question that the run answers."),
        key("hypothesis", "text", "none", "The expected answer, in words."),
        key("answer", "table", "only figures", "How the verdict answers the question."),
        key(
            "extends",
            "path",
            "none",
            "Base scenario: this file is merged over it (tables are merged, lists are replaced). One level \
            only.",
        ),
        key("duration", r#""40s""#, r#""10s""#, "Length of the run, from the first planned arrival."),
        key("seed", "whole number", "1", "Seed of all random numbers."),
        key("expect", "list of expectations", "none", "Conditions that must hold, such as \"reconnect_time p99 < 10s\"."),
        key("target", "table", "embedded", "The server under test."),
        key("model", "table", "as target.embedded", "The server model of the simulator."),
        key("clients", "tables", "required", "One table per cohort."),
        key("faults", "list of tables", "none", "What goes wrong, and when."),
    ],
};

pub(super) static ANSWER: Section = Section {
    path: "answer",
    doc: "How the verdict answers the question. Figures of the run are added: `No` becomes \"No: 798 of 1,000 never came back\".",
    keys: &[
        key("pass", "text", "required", "Answer if all expectations hold."),
        key(
            "fail",
            "text",
            "required",
            "Answer if an \
        expectation fails.",
        ),
    ],
};

pub(super) static COHORT: Section = Section {
    path: "[clients.NAME]",
    doc: "A cohort: clients that behave alike.",
    keys: &[
        key(
            "count",
            "1 to 10000000",
            "required; the shape's",
            "Number of clients. Shapes with numbers of their own (`stages`, `per_second`, `file`) do without it.",
        ),
        key("scaled", "true", "-", "With another `count` than the shape's: it keeps its form, and all its levels change in proportion."),
        key("arrive", "table", "over a tenth of the run", "When the clients connect first."),
        key(
            "after",
            r#""30s""#,
            r#""0s""#,
            "Time from the start of the run to the start of `arrive`, and of the stages of a message rate.",
        ),
        key(
            "reconnect",
            "preset name, \"none\" or table",
            "full jitter, 1s to 30s",
            "Reconnect strategy; `{ file = \"learned.toml\" }` takes that of a file.",
        ),
        key("traffic", "table or \"none\"", "none", "Messages that the clients send."),
        key(
            "first_message",
            "text",
            "none",
            "Sent as soon as a connection is open; placeholders are replaced. hex:, base64: and file: send binary.",
        ),
        key("dialogue", "table or path", "none", "Steps of your own protocol on each connection, in place of `traffic`."),
        key(
            "like",
            "graphql-ws, mqtt.js or socket.io-client",
            "none",
            "A client library: sets `dialogue`, `reconnect`, `heartbeat`, `subprotocols`, `path` and `query`; keys of the cohort override it.",
        ),
        key("data", "path or table", "none", "A file with values for each client, for {data.COLUMN}."),
        key("heartbeat", "table or \"none\"", "the preset's", "Pings of the client, and the deadline for each pong."),
        key(
            "max_message",
            r#""64KiB", 1KiB to 1GiB"#,
            "1MiB, or the payload where that is larger",
            "Longest message that a client accepts; a longer one ends the connection with 1009.",
        ),
        key("resume", "true or false", "the preset's, else true", "Whether clients resume their earlier TLS sessions, as browsers do."),
        key("stay", "table", "to the end", "When clients close their connection by themselves."),
        key("deadlines", "table", "the preset's; else 10s, 10s; 10s, 2s", "Deadlines of the clients."),
        key(
            "ready",
            r#""open", "message" or table"#,
            "with echo traffic the first reply; the preset's; else open",
            "When a client counts as ready: connection open, or first message of the server received.",
        ),
        key(
            "cookies",
            "true or false",
            "true",
            "Whether each client keeps the cookies that the 101 response sets, and sends them again, as browsers do for sticky sessions.",
        ),
        key("headers", "table of texts", "none", "Headers of the opening handshake; placeholders are replaced."),
        key("subprotocols", "list of texts", "none", "Subprotocols to offer, in this order; placeholders are replaced."),
        key("path", "text", "that of the address", "Path of the request; placeholders are replaced."),
        key("query", "text", "none", "Query of the request, without `?`, appended to that of the address; placeholders are replaced."),
    ],
};

pub(super) static ARRIVE: Section = Section {
    path: "arrive",
    doc: "When the clients of a cohort connect first: one of these.",
    keys: &[
        key("over", r#""5s""#, "a tenth of the run", "Evenly over this time."),
        key("rate", r#""500/s""#, "-", "Evenly at this rate."),
        key("poisson", r#""200/s""#, "-", "A Poisson process of this rate."),
        key("at_once", "true", "-", "All at the start."),
        key("stages", "list of tables", "-", "Number of clients over time: they arrive and leave. Who came last leaves first."),
        key("per_second", "list of whole numbers", "-", "Arrivals in each second of the run."),
        key("file", r#""arrivals.csv""#, "-", "The same from a CSV file with a header: arrivals, or seconds and arrivals."),
    ],
};

pub(super) static STAGE: Section = Section {
    path: "a stage",
    doc: "One stage: `to` with `over`, or `hold`. The first stage begins at 0.",
    keys: &[
        key("to", r#"500, or "10/s" of a rate"#, "-", "Level at the end of the stage: clients, or messages per client and time."),
        key("over", r#""1m""#, r#""0s""#, "Length of the stage; without it the level changes at once."),
        key("hold", r#""5m""#, "-", "The level stays as it is for this time."),
    ],
};

pub(super) static RATE: Section = Section {
    path: "a rate in stages",
    doc: "A message rate that changes over the run, in place of a fixed `rate`.",
    keys: &[key(
        "stages",
        "list of tables",
        "required",
        "Stages of the rate, from the start of the run; after the last one it stays as it is.",
    )],
};

pub(super) static TRAFFIC: Section = Section {
    path: "traffic",
    doc: "Messages of the clients of a cohort: one of these.",
    keys: &[
        key("echo", "table", "-", "Messages that the server echoes; round trips are measured."),
        key("send", "table", "-", "Messages without an answer."),
        key("request", "table", "-", "Messages of your own and their replies; round trips are measured."),
        key("listen", "true", "-", "No messages; received messages are counted."),
    ],
};

pub(super) static ECHO: Section = Section {
    path: "echo",
    doc: "Messages of each client that the server echoes: sent at a fixed rate (`rate`), or each after a reply (`in_flight`).",
    keys: &[
        key("rate", r#""1/s""#, r#""1/s""#, "Open loop: messages per client and time, whether or not replies arrive."),
        key(
            "in_flight",
            "1 to 1000",
            "none",
            "Closed loop: number of messages in flight; the next is due when a reply arrives. A lost message is not replaced.",
        ),
        key("payload", r#""100B""#, r#""100B""#, "Payload size of a message; at least 16B, because it carries the message number."),
    ],
};

pub(super) static SEND: Section = Section {
    path: "send",
    doc: "Messages of each client without an answer.",
    keys: &[
        key("rate", r#""1/s""#, r#""1/s""#, "Messages per client and time."),
        key("payload", r#""100B""#, r#""100B""#, "Size of a message."),
        key("message", "text", "dots", "What is sent; names in braces are filled in. hex:, base64: and file: send binary."),
    ],
};

pub(super) static HEARTBEAT: Section = Section {
    path: "a heartbeat",
    doc: "Pings of `heartbeat` and `ping`, and the deadline for each pong.",
    keys: &[
        key("every", r#""25s""#, "required", "Interval between two pings."),
        key("timeout", r#""20s""#, "as every", "Deadline for the pong; after it, the connection counts as dead."),
    ],
};

pub(super) static STAY: Section = Section {
    path: "stay",
    doc: "When and how a client closes its connection by itself.",
    keys: &[
        key("for", "duration or times", "required", "Time from the opening of the connection to the Close frame."),
        key("close", "table", "{ code = 1000 }", "Close frame to send; `{}` sends an empty one."),
        key("return", r#""2s""#, "does not come back", "Time from the end of the connection to the next attempt."),
    ],
};

pub(super) static CLOSE: Section = Section {
    path: "stay.close",
    doc: "Close frame of a client that closes its connection.",
    keys: &[
        key("code", "status code that may be sent", "an empty frame", "Status code."),
        key("reason", "text of at most 123 bytes", "empty", "Reason."),
    ],
};

pub(super) static DEADLINES: Section = Section {
    path: "deadlines",
    doc: "Deadlines of a client. \"0s\" means no deadline: then only the kernel aborts a TCP connect, after about 134 s.",
    keys: &[
        key("connect", r#""10s""#, "the preset's for the whole attempt, else 10s", "Deadline for the TCP connect."),
        key(
            "handshake",
            r#""10s""#,
            "the preset's for the whole attempt, else 10s",
            "Deadline for the TLS handshake and for the \
            opening handshake, each.",
        ),
        key("close", r#""10s""#, r#""10s""#, "Deadline for the peer's Close frame in answer to the client's."),
        key("fin", r#""2s""#, r#""2s""#, "Deadline for the peer's FIN after the closing handshake."),
    ],
};

pub(super) static READINESS: Section = Section {
    path: "ready",
    doc: "When a connection counts as ready and its client as back: one of these. If the connection ends before, the outage continues.",
    keys: &[
        key("message", "text of at most 1024 bytes", "-", "When a message of the server contains this text, byte for byte."),
        key("open_for", r#""5s""#, "-", "When the connection has been open for this time."),
    ],
};

pub(super) static FAULT: Section = Section {
    path: "[[faults]]",
    doc: "A fault: what happens, when, and to which connections.",
    keys: &[
        key("name", "text", "<kind>-<number>", "Name of the fault in all results."),
        key(
            "inject",
            "{ kind = { parameters } }",
            "required",
            "Kind of the fault and its parameters; `closestorm faults` lists the \
            kinds.",
        ),
        key("side", "client or server", "server where it can, else client", "Side that carries out the fault."),
        key("dir", "up, down or both", "both", "Direction, for kinds that have one; up is towards the server."),
        key("at", r#""10s""#, "required", "Time of the first firing, from the start of the run."),
        key("every", r#""1s""#, "once", "Fire repeatedly, at this interval."),
        key("rate", r#""2/s""#, "once", "Fire repeatedly, at random times with this mean rate (Poisson process)."),
        key("until", r#""35s""#, "the end", "No firing at or after this time of the run."),
        key("for", r#""5s""#, "to the end", "How long the fault lasts after each firing."),
        key("first_n", "whole number", "no limit", "The fault ends after this number of hits."),
        key("select", "table", "all that are open", "Which connections it hits."),
        key("new", "true or false", "false", "Whether it also applies to connections that open later."),
    ],
};

pub(super) static SELECT: Section = Section {
    path: "select",
    doc: "Which connections a firing hits: filters, then one of all, count, percent and nth.",
    keys: &[
        key("cohort", "name", "all cohorts", "Only this cohort."),
        key("phase", "tcp, tls, upgrade, open or closing", "open", "Only connections in this phase."),
        key("min_age", r#""5s""#, r#""0s""#, "Only connections open for at least this long."),
        key("all", "true", "the default", "All matching connections."),
        key("count", "whole number", "-", "This number of matching connections, chosen at random."),
        key(
            "percent",
            r#""5%""#,
            "-",
            "This share of matching connections, chosen at random; for attempts and new connections, the \
            share of all so far.",
        ),
        key("nth", "whole number", "-", "Every n-th client, by client number."),
    ],
};
