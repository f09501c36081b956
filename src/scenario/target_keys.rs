//! Keys of `[target]`: the embedded server, a command, a URL.

use super::section::{Section, TableKey, key};

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
            "URL where the server listens. {client} and {attempt} are replaced; user:password@ is sent as Authorization. \
             `ws+unix:/run/app.sock:/path` is a socket of this machine.",
        ),
        key("insecure", "true or false", "false", "Accept any certificate."),
        key("ca", "path", "none", "PEM file with additional root certificates."),
        key("cert", "path", "none", "PEM file with a certificate that the clients show to the server, and its chain."),
        key("key", "path", "required with cert", "PEM file with the private key of `cert`."),
        key("sni", "host name", "the host", "Name that the clients ask for in TLS, and that the server's certificate must have."),
        key("alpn", "text or list of texts", "none offered", "Protocols to offer in TLS, as \"http/1.1\"."),
        key(
            "resolve",
            "text or list of texts",
            "the name server",
            "Addresses of names, as \"app.example.org=10.0.0.7\"; a name may stand several times. Only the address: Host and SNI stay.",
        ),
        key(
            "addresses",
            "library, first, in_turn or random",
            "library",
            "Which of several addresses of the host an attempt begins with. With `library`, the first, and on to the next as the library of the \
             preset does (`closestorm presets NAME`). With `first`, all clients use the one that answered before the run, as strategies without a \
             library do. Otherwise the next one is tried if an address refuses, or does not answer within 250 ms.",
        ),
        key(
            "proxy",
            "http:// URL or \"none\"",
            "HTTP_PROXY, HTTPS_PROXY",
            "HTTP proxy that all connections go through (CONNECT). Without this key, HTTPS_PROXY for wss:// or HTTP_PROXY for ws:// holds, \
             except for loopback and the hosts in NO_PROXY.",
        ),
        key("redirects", "0 to 20", "0", "Redirects (301, 302, 303, 307, 308) that each attempt follows."),
        PROBE,
        WARM_UP,
        key(
            "source",
            "IP address or list of them",
            "the kernel's choice",
            "Local addresses that clients connect from, in turn. Each has about 28,000 ports for one target. On loopback, from 10,001 \
             clients on, addresses from 127.100.0.1 are used without this key.",
        ),
    ],
};
