//! Keys of `[model]`, the server and the network path of the simulator.

use super::section::{Section, key};

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
        key(
            "before_cost",
            "duration or times",
            "handshake_cost",
            "Time that an HTTP request of `before` takes in the service queue, in which it waits with the opening handshakes.",
        ),
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
