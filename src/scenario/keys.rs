//! Every key of a scenario, documented in one place. Reading, error messages and `closestorm validate --keys` use these lists.
//!
//! The parameters of fault kinds are in `fault::rows()`, those of reconnect policies in `reconnect`.

/// A table of the scenario.
#[derive(Debug)]
pub struct Section {
    /// How it is written, as `[clients.NAME]`.
    pub path: &'static str,
    /// What it is for; one sentence.
    pub doc: &'static str,
    /// In the order in which they are listed.
    pub keys: &'static [TableKey],
}

/// A key of a table.
#[derive(Debug)]
pub struct TableKey {
    /// As written.
    pub name: &'static str,
    /// What its value looks like.
    pub takes: &'static str,
    /// What holds without it.
    pub default: &'static str,
    /// What it means; one sentence.
    pub doc: &'static str,
}

const fn key(name: &'static str, takes: &'static str, default: &'static str, doc: &'static str) -> TableKey {
    TableKey { name, takes, default, doc }
}

/// All sections, in the order of a scenario.
pub static SECTIONS: &[&Section] = &[
    &TOP, &ANSWER, &TARGET, &EMBEDDED, &ADMIT, &COMMAND, &READY, &HTTP, &URL, &MODEL, &TIMES, &LOGNORMAL, &COHORT, &ARRIVE, &TRAFFIC,
    &ECHO, &SEND, &HEARTBEAT, &STAY, &CLOSE, &MEAN, &DEADLINES, &READINESS, &FAULT, &SELECT,
];

pub(super) static TOP: Section = Section {
    path: "the scenario",
    doc: "One experiment.",
    keys: &[
        key("question", "text", "none", "What the run should answer."),
        key("hypothesis", "text", "none", "What is expected, in words."),
        key("answer", "table", "figures alone", "What the verdict says to the question."),
        key("extends", "path", "none", "A scenario that this one is laid over: tables merge, lists replace; one level."),
        key("duration", r#""40s""#, r#""10s""#, "Length of the run from the first due arrival."),
        key("seed", "whole number", "1", "Root of all random streams."),
        key("expect", "list of expectations", "none", "What must hold, as \"reconnect_time p99 < 10s\"."),
        key("target", "table", "embedded", "The server under test."),
        key("model", "table", "as target.embedded", "The server as the simulator sees it."),
        key("clients", "tables", "required", "One table per cohort."),
        key("faults", "list of tables", "none", "What goes wrong, and when."),
    ],
};

pub(super) static ANSWER: Section = Section {
    path: "answer",
    doc: "What the verdict says to the question; figures of the run follow it: `No` becomes \"No: 798 of 1,000 never came back\".",
    keys: &[key("pass", "text", "required", "Where all expectations held."), key("fail", "text", "required", "Where one did not hold.")],
};

pub(super) static TARGET: Section = Section {
    path: "[target]",
    doc: "The server under test; one of its tables.",
    keys: &[
        key("embedded", "table", "the default", "Our own echo server, a child process for each instance."),
        key("command", "table", "-", "A server that is started, stopped and killed."),
        key("url", "table", "-", "A server that is only talked to."),
    ],
};

pub(super) static EMBEDDED: Section = Section {
    path: "[target.embedded]",
    doc: "Our own echo server.",
    keys: &[
        key("instances", "1 to 64", "1", "Servers, each on its own port."),
        key("processes", "1 to 64", "as many as its connections need", "Processes of an instance, which share its port."),
        key("balance", "round_robin, random, sticky or healthy", "round_robin", "Which instance an attempt goes to."),
        key("handshake_cost", r#""500us""#, r#""0s""#, "Time of the service queue that each opening handshake reserves."),
        key("parallel", "1 to 1024", "1", "Opening handshakes served at a time."),
        key("backlog", "1 to 65535", "1024", "Length of the listen queue; the kernel's own limit holds too."),
        key("max_connections", "whole number", "no limit", "More connections are rejected with 503."),
        key("admit", "table", "none", "Token bucket before the service queue."),
        key("queue", "fifo or lifo", "fifo", "Order of the service queue."),
        key("slow_start", r#""10s""#, "none", "After a start the cost begins tenfold and falls to its value in this time."),
        key("tls", "true or false", "false", "wss, with a self-made certificate."),
        key("resume", "true or false", "true", "Takes up earlier TLS sessions of a client; a restart makes them worthless."),
        key("ping", "table", "none", "Server-driven heartbeat."),
    ],
};

pub(super) static ADMIT: Section = Section {
    path: "admit",
    doc: "Token bucket of opening handshakes.",
    keys: &[
        key("rate", r#""500/s""#, "required", "Tokens per second."),
        key("burst", "whole number", "1", "Size of the bucket."),
        key("reject", "HTTP status", "503", "Answer to those without token."),
        key("retry_after", r#""5s""#, "none", "Retry-After header of that answer, whole seconds."),
    ],
};

const PROBE: TableKey = key(
    "probe",
    "true or false",
    "true",
    "One opening handshake before the run, with the values of the first client, to see that this is a WebSocket server.",
);
const WARM_UP: TableKey =
    key("warm_up", "true or false", "true", "`closestorm capacity` may ask for opening handshakes before each run (--warm-up).");

pub(super) static COMMAND: Section = Section {
    path: "[target.command]",
    doc: "A server that is started, stopped and killed.",
    keys: &[
        key("run", "command line", "required", "Split like a shell does, but not run by one; {port} is a free port."),
        key(
            "address",
            "URL",
            r#""ws://127.0.0.1:{port}/""#,
            "Where it listens; {client} and {attempt} are filled in, user:word@ is sent as Authorization.",
        ),
        key("ready", "table", "tcp, within 10s", "When it counts as started."),
        key("stop_signal", "name", "SIGTERM", "Signal of a graceful stop."),
        key("env", "table of texts", "none", "Added to the environment."),
        key("workdir", "path", "the current one", "Working directory."),
        key("insecure", "true or false", "false", "Accept any certificate."),
        key("ca", "path", "none", "PEM file of extra roots."),
        PROBE,
        WARM_UP,
    ],
};

pub(super) static READY: Section = Section {
    path: "ready",
    doc: "When a command counts as started: one of tcp, http and line, and a deadline.",
    keys: &[
        key("tcp", "true", "the default", "A TCP connect succeeds."),
        key("http", "table", "-", "A GET is answered with a status."),
        key("line", "text", "-", "A line of its standard output contains this."),
        key("within", r#""10s""#, r#""10s""#, "Longest time until then."),
    ],
};

pub(super) static HTTP: Section = Section {
    path: "ready.http",
    doc: "A GET that is answered with a status.",
    keys: &[key("path", "path and query", "/", "What is asked for."), key("status", "HTTP status", "200", "The answer that counts.")],
};

pub(super) static URL: Section = Section {
    path: "[target.url]",
    doc: "A server that is only talked to.",
    keys: &[
        key(
            "address",
            "ws:// or wss:// URL",
            "required",
            "Where it listens; {client} and {attempt} are filled in, user:word@ is sent as Authorization.",
        ),
        key("insecure", "true or false", "false", "Accept any certificate."),
        key("ca", "path", "none", "PEM file of extra roots."),
        PROBE,
        WARM_UP,
        key(
            "source",
            "list of IP addresses",
            "the kernel's choice",
            "Local addresses that clients connect from, in turn: each has 28,000 ports for one target. On loopback 127.100.0.1 and on without being asked, from 10,001 clients.",
        ),
    ],
};

pub(super) static MODEL: Section = Section {
    path: "[model]",
    doc: "The server and the path as the simulator sees them, not used by `run`; what it does not say is as in [target.embedded].",
    keys: &[
        key("instances", "1 to 10000", "as there", "Servers."),
        key(
            "balance",
            "round_robin, random, sticky, healthy, least_connections or two_choices",
            "as there",
            "Which instance an attempt goes to; the last three know who listens.",
        ),
        key("handshake_cost", "duration or times", "as there", "Time of the service queue that each opening handshake takes."),
        key("parallel", "1 to 65536", "as there", "Opening handshakes served at a time, by each instance."),
        key("backlog", "0 to 65535", "as there", "Length of the listen queue, which holds one more; beyond it SYNs are dropped."),
        key("accept", "eager or when_free", "eager", "Whether opening handshakes wait inside the server or in its listen queue."),
        key("accept_cost", r#""20us""#, r#""0s""#, "Time that accepting a connection takes, one at a time, with `eager`."),
        key("max_connections", "whole number", "as there", "More connections are rejected with 503."),
        key("admit", "table", "as there", "Token bucket before the service queue."),
        key("admit_close", "status code", "the HTTP status", "Those without token are opened and closed with this code, as 1013."),
        key("queue", "fifo or lifo", "as there", "Order of the service queue."),
        key("deadline", r#""10s""#, "none", "The server ends an opening handshake that has waited so long."),
        key("gone", "served or skipped", "served", "What becomes of the opening handshake of a client that has given up."),
        key("start_up", "duration or times", r#""0s""#, "From the start of a process to the moment it listens."),
        key("slow_start", r#""10s""#, "as there", "After a start the cost begins tenfold and falls linearly to its value in this time."),
        key("cold", "0 to 1000", "0", "Cold caches: after a start the cost is greater by this multiple of itself, decaying."),
        key("cold_half_life", r#""5s""#, r#""1s""#, "Time in which the excess of `cold` halves."),
        key("open_cost", r#""10us""#, r#""0s""#, "Work of each open connection in each second, taken from opening handshakes."),
        key("message_cost", r#""20us""#, r#""0s""#, "Work of each message of the clients, taken from opening handshakes."),
        key("tls", "true or false", "as there", "wss: one more round trip, whether a session is resumed or not."),
        key("resume", "true or false", "as there", "As in [target.embedded]: which TLS handshakes count as resumed."),
        key("ping", "table", "as there", "As in [target.embedded]; pings of a simulated server are not modelled."),
        key("rtt", "duration or times", r#""0s""#, "Round trip of the path."),
        key("loss", r#""1%""#, r#""0%""#, "Share of SYNs lost; the client's kernel repeats them."),
        key(
            "syn_retries",
            "linear or doubling",
            "linear",
            "When SYNs are repeated: about 1, 2, 3, 4, 5, 7 s (Linux 6.5 and newer) or 1, 3, 7 s.",
        ),
        key("notice", "duration or times", r#""0s""#, "From the end of a connection to its client noticing, besides half a round trip."),
        key("notice_each", r#""10us""#, r#""0s""#, "How much later each further connection of a server that died is noticed."),
        key("client_lag", "duration or times", r#""0s""#, "What a client's machine adds to each attempt after a wait, as by late timers."),
        key(
            "client_tick",
            r#""1ms""#,
            r#""0s""#,
            "Timers of clients end at multiples of this, those of one tick with the same `client_lag`.",
        ),
        key("client_cost", r#""30us""#, r#""0s""#, "Time that each attempt takes the machine that all clients run on, one at a time."),
        key("clock_spread", r#""0.1%""#, r#""0%""#, "Clocks of clients run faster or slower by up to this share."),
        key("honour_retry_after", "true or false", "false", "Clients wait at least as long as Retry-After says; no real preset does."),
        key("honour_restart_codes", "true or false", "false", "Clients wait 5 to 30 s after 1012 and 1013; no real preset does."),
    ],
};

pub(super) static TIMES: Section = Section {
    path: "times",
    doc: "How times of [model] are drawn; one of these.",
    keys: &[
        key("constant", r#""500us""#, "-", "Always this, as the duration alone."),
        key("uniform", r#"["1ms", "3ms"]"#, "-", "Uniform between two."),
        key("exponential", r#""500us""#, "-", "Exponentially distributed with this mean."),
        key("lognormal", "table", "-", "Lognormal, by two of its quantiles."),
        key(
            "quantiles",
            r#"["1ms", "2ms", "9ms"]"#,
            "-",
            "As measured: equally spaced quantiles from the least to the greatest, linear between.",
        ),
    ],
};

pub(super) static LOGNORMAL: Section = Section {
    path: "times.lognormal",
    doc: "A lognormal distribution.",
    keys: &[key("median", r#""400us""#, "required", "Half are below."), key("p99", r#""3ms""#, "required", "99 % are below.")],
};

pub(super) static COHORT: Section = Section {
    path: "[clients.NAME]",
    doc: "A cohort: clients that behave alike.",
    keys: &[
        key("count", "1 to 10000000", "required", "How many."),
        key("arrive", "table", "over a tenth of the run", "When they begin."),
        key("reconnect", "preset name, \"none\" or table", "full jitter, 1s to 30s", "How they come back."),
        key("traffic", "table or \"none\"", "none", "What they say."),
        key("heartbeat", "table or \"none\"", "the preset's", "Pings of the client, and the time in which a pong must come."),
        key(
            "max_message",
            r#""64KiB", 1KiB to 1GiB"#,
            "1MiB, or the payload where that is larger",
            "Longest message that a client accepts; a longer one ends the connection with 1009.",
        ),
        key("resume", "true or false", "the preset's, else true", "Whether a client takes up its earlier TLS sessions, as browsers do."),
        key("stay", "table", "to the end", "When they leave by themselves."),
        key("deadlines", "table", "the preset's; else 10s, 10s; 10s, 2s", "How long they wait for what."),
        key(
            "ready",
            r#""open", "message" or table"#,
            "with echo traffic the first reply; the preset's; else open",
            "When a connection counts as back: open, or with the first message of the server.",
        ),
        key("headers", "table of texts", "none", "Sent with the opening handshake; {client} and {attempt} are filled in."),
        key("subprotocols", "list of texts", "none", "Offered in this order; {client} and {attempt} are filled in."),
        key("path", "text", "that of the address", "Path of the request; {client} and {attempt} are filled in."),
        key(
            "query",
            "text",
            "none",
            "Query of the request, without `?`, behind that of the address; {client} and {attempt} are filled in.",
        ),
    ],
};

pub(super) static ARRIVE: Section = Section {
    path: "arrive",
    doc: "When the clients of a cohort begin; one of these.",
    keys: &[
        key("over", r#""5s""#, "a tenth of the run", "Evenly over this time."),
        key("rate", r#""500/s""#, "-", "Evenly at this rate."),
        key("poisson", r#""200/s""#, "-", "A Poisson process of this rate."),
        key("at_once", "true", "-", "All at the start."),
    ],
};

pub(super) static TRAFFIC: Section = Section {
    path: "traffic",
    doc: "What the clients of a cohort say; one of these.",
    keys: &[
        key("echo", "table", "-", "Messages whose echo is awaited: round trips."),
        key("send", "table", "-", "Messages that nobody answers."),
        key("listen", "true", "-", "Nothing; what arrives is counted."),
    ],
};

pub(super) static ECHO: Section = Section {
    path: "echo",
    doc: "Messages of one client whose echo is awaited, by the clock (`rate`) or each when a reply came (`in_flight`).",
    keys: &[
        key("rate", r#""1/s""#, r#""1/s""#, "Open loop: messages of each client, whether replies come or not."),
        key(
            "in_flight",
            "1 to 1000",
            "none",
            "Closed loop: messages under way; the next is due when a reply came. One that is lost is not replaced.",
        ),
        key("payload", r#""100B""#, r#""100B""#, "Size of a message; at least 16B, which carry its number."),
    ],
};

pub(super) static SEND: Section = Section {
    path: "send",
    doc: "Messages of one client that nobody answers.",
    keys: &[
        key("rate", r#""1/s""#, r#""1/s""#, "Messages of each client."),
        key("payload", r#""100B""#, r#""100B""#, "Size of a message."),
    ],
};

pub(super) static HEARTBEAT: Section = Section {
    path: "a heartbeat",
    doc: "Pings of `heartbeat` and `ping`, and the time in which a pong must come.",
    keys: &[
        key("every", r#""25s""#, "required", "Between two pings."),
        key("timeout", r#""20s""#, "as every", "From a ping to its pong; then the connection is given up."),
    ],
};

pub(super) static STAY: Section = Section {
    path: "stay",
    doc: "When a client leaves by itself, and how.",
    keys: &[
        key("for", r#""30s" or { exponential = "30s" }"#, "required", "From the open connection to the Close frame."),
        key("close", "table", "{ code = 1000 }", "The Close frame; `{}` sends an empty one."),
        key("return", r#""2s""#, "does not come back", "From the end of the connection to the next attempt."),
    ],
};

pub(super) static CLOSE: Section = Section {
    path: "stay.close",
    doc: "The Close frame of a client that leaves.",
    keys: &[
        key("code", "status code that may be sent", "an empty frame", "Status code."),
        key("reason", "text of at most 123 bytes", "empty", "Reason."),
    ],
};

pub(super) static MEAN: Section = Section {
    path: "stay.for",
    doc: "A length of stay that differs between clients.",
    keys: &[key("exponential", r#""30s""#, "required", "Exponentially distributed with this mean.")],
};

pub(super) static DEADLINES: Section = Section {
    path: "deadlines",
    doc: "How long a client waits; \"0s\" is for ever: then only the kernel ends a TCP connect, after about 134 s.",
    keys: &[
        key("connect", r#""10s""#, "the preset's for the whole attempt, else 10s", "TCP connect."),
        key("handshake", r#""10s""#, "the preset's for the whole attempt, else 10s", "TLS and opening handshake, each."),
        key("close", r#""10s""#, r#""10s""#, "The peer's Close frame in answer to ours."),
        key("fin", r#""2s""#, r#""2s""#, "The peer's FIN after the closing handshake."),
    ],
};

pub(super) static READINESS: Section = Section {
    path: "ready",
    doc: "When a connection counts as ready, and its client as back; one of these. One that ends before goes on with the outage.",
    keys: &[
        key("message", "text of at most 1024 bytes", "-", "With the first message of the server that contains this text, byte for byte."),
        key("open_for", r#""5s""#, "-", "When it has been open for this time."),
    ],
};

pub(super) static FAULT: Section = Section {
    path: "[[faults]]",
    doc: "One fault: what, when and whom.",
    keys: &[
        key("name", "text", "<kind>-<number>", "Its id in all results."),
        key("inject", "{ kind = { parameters } }", "required", "What happens; `closestorm faults` lists the kinds."),
        key("side", "client or server", "server where it can, else client", "Who carries it out."),
        key("dir", "up, down or both", "both", "Direction, for the kinds that have one; up is towards the server."),
        key("at", r#""10s""#, "required", "First firing, offset in the run."),
        key("every", r#""1s""#, "once", "Fires again and again at this gap."),
        key("rate", r#""2/s""#, "once", "Fires again and again as a Poisson process."),
        key("until", r#""35s""#, "the end", "No firing at or after this offset."),
        key("for", r#""5s""#, "to the end", "Reverted this long after each firing."),
        key("first_n", "whole number", "no limit", "Ends after this many hits."),
        key("select", "table", "all that are open", "Whom it hits."),
        key("new", "true or false", "false", "Applies to connections that open later, too."),
    ],
};

pub(super) static SELECT: Section = Section {
    path: "select",
    doc: "Whom a firing hits: filters, then one of all, count, percent and nth.",
    keys: &[
        key("cohort", "name", "all cohorts", "Only this cohort."),
        key("phase", "tcp, tls, upgrade, open or closing", "open", "Only connections in this phase."),
        key("min_age", r#""5s""#, r#""0s""#, "Only connections open for at least this long."),
        key("all", "true", "the default", "Each of those."),
        key("count", "whole number", "-", "This many of those, drawn."),
        key("percent", r#""5%""#, "-", "This share of those, drawn; of attempts and new connections that of all so far."),
        key("nth", "whole number", "-", "Every n-th client."),
    ],
};

impl Section {
    /// The names of its keys, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + Clone {
        self.keys.iter().map(|key| key.name)
    }
}
