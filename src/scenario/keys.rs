//! Every key of a scenario, documented in one place. Reading, error messages and `closestorm validate --keys` use these lists.
//!
//! The parameters of fault kinds are in `fault::rows()`, those of reconnect policies in `reconnect`.

use super::section::key;
pub use super::section::{Section, TableKey};

/// All sections, in the order of a scenario.
pub static SECTIONS: &[&Section] = &[
    &TOP,
    &ANSWER,
    &TARGET,
    &EMBEDDED,
    &ADMIT,
    &COMMAND,
    &READY,
    &HTTP,
    &URL,
    &MODEL,
    &TIMES,
    &LOGNORMAL,
    &COHORT,
    &ARRIVE,
    &STAGE,
    &RATE,
    &TRAFFIC,
    &ECHO,
    &SEND,
    &super::dialogue_keys::REQUEST,
    &super::dialogue_keys::DIALOGUE,
    &super::dialogue_keys::BEFORE,
    &super::dialogue_keys::STEP,
    &super::dialogue_keys::MATCH,
    &super::dialogue_keys::AT,
    &super::dialogue_keys::CAPTURED,
    &super::dialogue_keys::REPLY,
    &super::dialogue_keys::BEAT,
    &super::dialogue_keys::MEASURED,
    &super::dialogue_keys::DATA,
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

pub(super) static TARGET: Section = Section {
    path: "[target]",
    doc: "The server under test: one of these tables.",
    keys: &[
        key("embedded", "table", "the default", "closestorm's own echo server, one or more child processes per instance."),
        key("command", "table", "-", "A server program that closestorm starts, stops and kills."),
        key("url", "table", "-", "A running server that closestorm connects to."),
    ],
};

pub(super) static EMBEDDED: Section = Section {
    path: "[target.embedded]",
    doc: "closestorm's own echo server.",
    keys: &[
        key("instances", "1 to 64", "1", "Number of servers, each on its own port."),
        key("processes", "1 to 64", "as many as its connections need", "Number of processes per instance; they share its port."),
        key("balance", "round_robin, random, sticky or healthy", "round_robin", "Which instance an attempt goes to."),
        key("handshake_cost", r#""500us""#, r#""0s""#, "Service time of each opening handshake in the service queue."),
        key("parallel", "1 to 1024", "1", "Number of opening handshakes served at the same time."),
        key("backlog", "1 to 65535", "1024", "Length of the listen queue; the kernel may limit it further (net.core.somaxconn)."),
        key("max_connections", "whole number", "no limit", "Limit of open connections; further ones are rejected with 503."),
        key("admit", "table", "none", "Token bucket before the service queue."),
        key("queue", "fifo or lifo", "fifo", "Order of the service queue."),
        key(
            "slow_start",
            r#""10s""#,
            "none",
            "After a start, handshake_cost begins at ten times its value and falls to it within this \
            time.",
        ),
        key("tls", "true or false", "false", "Use wss, with a self-signed certificate."),
        key("resume", "true or false", "true", "Allow TLS session resumption; after a restart, earlier sessions cannot be resumed."),
        key("ping", "table", "none", "Heartbeat: pings sent by the server."),
    ],
};

pub(super) static ADMIT: Section = Section {
    path: "admit",
    doc: "Token bucket of opening handshakes.",
    keys: &[
        key("rate", r#""500/s""#, "required", "Tokens per second."),
        key("burst", "whole number", "1", "Size of the bucket."),
        key("reject", "HTTP status", "503", "HTTP status of rejected handshakes."),
        key("retry_after", r#""5s""#, "none", "Retry-After header of the rejection, in whole seconds."),
    ],
};

const PROBE: TableKey = key(
    "probe",
    "true or false",
    "true",
    "Before the run, make one opening handshake with the values of the first client, to check that the target is a WebSocket server.",
);
const WARM_UP: TableKey = key(
    "warm_up",
    "true or false",
    "true",
    "Whether `closestorm capacity` warms the target up with opening handshakes before each run \
        (--warm-up).",
);

pub(super) static COMMAND: Section = Section {
    path: "[target.command]",
    doc: "A server program that closestorm starts, stops and kills.",
    keys: &[
        key(
            "run",
            "command line",
            "required",
            "Command line of the server: split as a shell does, but not run in a shell. {port} is \
            replaced by a free port.",
        ),
        key(
            "address",
            "URL",
            r#""ws://127.0.0.1:{port}/""#,
            "URL where the server listens. {client} and {attempt} are replaced; user:password@ is sent as Authorization.",
        ),
        key("ready", "table", "tcp, within 10s", "Condition under which the server counts as started."),
        key("stop_signal", "name", "SIGTERM", "Signal for a graceful stop."),
        key("env", "table of texts", "none", "Environment variables for the server."),
        key("workdir", "path", "the current one", "Working directory."),
        key("insecure", "true or false", "false", "Accept any certificate."),
        key("ca", "path", "none", "PEM file with additional root certificates."),
        PROBE,
        WARM_UP,
    ],
};

pub(super) static READY: Section = Section {
    path: "ready",
    doc: "When the server counts as started: one of tcp, http and line, and a deadline.",
    keys: &[
        key("tcp", "true", "the default", "A TCP connect succeeds."),
        key("http", "table", "-", "A GET is answered with a status."),
        key("line", "text", "-", "A line of its standard output contains this."),
        key("within", r#""10s""#, r#""10s""#, "Deadline for this condition."),
    ],
};

pub(super) static HTTP: Section = Section {
    path: "ready.http",
    doc: "A GET that is answered with a status.",
    keys: &[
        key("path", "path and query", "/", "Path of the GET request."),
        key(
            "status",
            "HTTP status",
            "200",
            "Expected status of the \
        answer.",
        ),
    ],
};

pub(super) static URL: Section = Section {
    path: "[target.url]",
    doc: "A running server that closestorm connects to.",
    keys: &[
        key(
            "address",
            "ws:// or wss:// URL",
            "required",
            "URL where the server listens. {client} and {attempt} are replaced; user:password@ is sent as Authorization.",
        ),
        key("insecure", "true or false", "false", "Accept any certificate."),
        key("ca", "path", "none", "PEM file with additional root certificates."),
        PROBE,
        WARM_UP,
        key(
            "source",
            "list of IP addresses",
            "the kernel's choice",
            "Local addresses that clients connect from, in turn. Each has about 28,000 ports for one target. On loopback, from 10,001 \
             clients on, addresses from 127.100.0.1 are used without this key.",
        ),
    ],
};

pub(super) static MODEL: Section = Section {
    path: "[model]",
    doc: "Model of the server and the network path for the simulator; not used by `run`. Keys that are not set are as in \
        [target.embedded].",
    keys: &[
        key("instances", "1 to 10000", "as there", "Servers."),
        key(
            "balance",
            "round_robin, random, sticky, healthy, least_connections or two_choices",
            "as there",
            "Which instance an attempt goes to. The last three skip instances that do not listen.",
        ),
        key("handshake_cost", "duration or times", "as there", "Service time of each opening handshake in the service queue."),
        key("parallel", "1 to 65536", "as there", "Number of opening handshakes that each instance serves at the same time."),
        key("backlog", "0 to 65535", "as there", "Length of the listen queue. It holds one more connection; SYNs beyond that are dropped."),
        key("accept", "eager or when_free", "eager", "Whether opening handshakes wait inside the server or in its listen queue."),
        key("accept_cost", r#""20us""#, r#""0s""#, "With `eager`: time to accept a connection; connections are accepted one at a time."),
        key("max_connections", "whole number", "as there", "Limit of open connections; further ones are rejected with 503."),
        key("admit", "table", "as there", "Token bucket before the service queue."),
        key(
            "admit_close",
            "status code",
            "the HTTP status",
            "Instead of being rejected, connections are opened and closed with this \
            status code, such as 1013.",
        ),
        key("queue", "fifo or lifo", "as there", "Order of the service queue."),
        key("deadline", r#""10s""#, "none", "The server aborts an opening handshake after this waiting time."),
        key("gone", "served or skipped", "served", "Whether the server still serves the opening handshake of a client that has given up."),
        key("start_up", "duration or times", r#""0s""#, "Time from the start of a process until it listens."),
        key(
            "slow_start",
            r#""10s""#,
            "as there",
            "After a start, handshake_cost begins at ten times its value and falls linearly to it \
            within this time.",
        ),
        key(
            "cold",
            "0 to 1000",
            "0",
            "Cold caches: extra handshake_cost after a start, as a multiple of handshake_cost; it decays \
            exponentially.",
        ),
        key("cold_half_life", r#""5s""#, r#""1s""#, "Half-life of the extra cost of `cold`."),
        key(
            "open_cost",
            r#""10us""#,
            r#""0s""#,
            "CPU time per second for each open connection; it reduces the time left for opening \
            handshakes.",
        ),
        key("message_cost", r#""20us""#, r#""0s""#, "CPU time for each client message; it reduces the time left for opening handshakes."),
        key("tls", "true or false", "as there", "Use wss: one more round trip, with or without session resumption."),
        key("resume", "true or false", "as there", "As in [target.embedded]: which TLS handshakes count as resumed."),
        key("ping", "table", "as there", "As in [target.embedded]; pings of a simulated server are not modelled."),
        key("rtt", "duration or times", r#""0s""#, "Round-trip time of the path."),
        key("loss", r#""1%""#, r#""0%""#, "Share of SYNs that are lost; the client's kernel sends them again."),
        key(
            "syn_retries",
            "linear or doubling",
            "linear",
            "When SYNs are sent again: after about 1, 2, 3, 4, 5, 7 s (Linux 6.5 and newer) or 1, 3, 7 s.",
        ),
        key(
            "notice",
            "duration or times",
            r#""0s""#,
            "Time until a client notices the end of its connection, in addition to half a \
            round trip.",
        ),
        key("notice_each", r#""10us""#, r#""0s""#, "Additional delay for each further connection of a server that died."),
        key(
            "client_lag",
            "duration or times",
            r#""0s""#,
            "Delay that the client's machine adds to each attempt after a wait, for \
            example by late timers.",
        ),
        key(
            "client_tick",
            r#""1ms""#,
            r#""0s""#,
            "Timer resolution of clients: timers expire at multiples of this, and those of the same tick have the same `client_lag`.",
        ),
        key(
            "client_cost",
            r#""30us""#,
            r#""0s""#,
            "CPU time of each attempt on the machine that runs all clients; attempts are \
            processed one at a time.",
        ),
        key("clock_spread", r#""0.1%""#, r#""0%""#, "Clock drift: clocks of clients run faster or slower by up to this share."),
        key(
            "honour_retry_after",
            "true or false",
            "false",
            "Clients wait at least as long as Retry-After says. No preset of a real \
            library does.",
        ),
        key(
            "honour_restart_codes",
            "true or false",
            "false",
            "Clients wait 5 to 30 s after 1012 and 1013. No preset of a real library \
            does.",
        ),
    ],
};

pub(super) static TIMES: Section = Section {
    path: "times",
    doc: "Distribution of a time in [model], or of a stay: one of these.",
    keys: &[
        key("constant", r#""500us""#, "-", "Constant; the same as the duration alone."),
        key("uniform", r#"["1ms", "3ms"]"#, "-", "Uniform between two durations."),
        key("exponential", r#""500us""#, "-", "Exponentially distributed with this mean."),
        key("lognormal", "table", "-", "Lognormal, given by two quantiles."),
        key(
            "quantiles",
            r#"["1ms", "2ms", "9ms"]"#,
            "-",
            "Measured distribution: equally spaced quantiles from minimum to maximum, linearly interpolated.",
        ),
    ],
};

pub(super) static LOGNORMAL: Section = Section {
    path: "times.lognormal",
    doc: "A lognormal distribution.",
    keys: &[key("median", r#""400us""#, "required", "Median."), key("p99", r#""3ms""#, "required", "99th percentile.")],
};

pub(super) static COHORT: Section = Section {
    path: "[clients.NAME]",
    doc: "A cohort: clients that behave alike.",
    keys: &[
        key(
            "count",
            "1 to 10000000",
            "required; the shape's",
            "Number of clients. Shapes with numbers of their own (`stages`, `per_second`, `file`) do without it, and keep their form with another \
            number.",
        ),
        key("arrive", "table", "over a tenth of the run", "When the clients connect first."),
        key(
            "after",
            r#""30s""#,
            r#""0s""#,
            "Time from the start of the run to the start of `arrive`, and of the stages of a message rate.",
        ),
        key("reconnect", "preset name, \"none\" or table", "full jitter, 1s to 30s", "Reconnect strategy."),
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
            "graphql-ws or socket.io-client",
            "none",
            "A client library: sets `dialogue`, `reconnect` and `heartbeat` together; keys of the cohort override it.",
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
