//! Tests: the engine on memory wires and a paused clock beside the simulator, event by event, and beside itself.
//!
//! All plans here have arrivals, waits and service times in whole milliseconds. Where two things that meet happen in the same nanosecond (a
//! client knocks as a listening socket comes back) the two worlds may order them differently; these plans have no such moments.

use crate::event::{ClientIndex, Event};
use crate::metrics::Results;
use crate::plan::{Model, Plan, ServiceTimes};
use crate::random_plans;
use crate::random_plans::World;
use crate::results::evidence::Evidence;
use crate::results::exact;
use crate::results::{folder, manifest, tables};
use crate::run::in_memory::compare::{Trace, compare, engine, engine_unchecked, simulator};
use crate::scenario::{Overrides, Source, load_with};
use crate::sim;
use crate::verdict::judge;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A name, and changes to what all plans have in common.
type Row = (&'static str, &'static [&'static str]);

/// What all plans have in common, unless they say otherwise: forty clients, 100 ms apart.
const COMMON: [&str; 7] = [
    "expect=[]",
    "faults=[]",
    "duration=\"20s\"",
    "clients.web.count=40",
    "clients.web.arrive={over=\"4s\"}",
    "clients.web.traffic=none",
    "target.embedded.handshake_cost=\"7ms\"",
];
pub(super) const CRASH: &str = r#"faults=[{at="5s",inject={server_crash={down="2500ms"}}}]"#;
pub(super) const TWO_CRASHES: &str =
    r#"faults=[{at="5s",inject={server_crash={down="500ms"}}},{at="12s",inject={server_crash={down="1500ms"}}}]"#;
pub(super) const FIXED: &str = r#"clients.web.reconnect={fixed={delay="3s"}}"#;
pub(super) const QUICK: &str = r#"clients.web.reconnect={fixed={delay="700ms"}}"#;
pub(super) const FULL: &str = r#"clients.web.reconnect={exponential={base="1s",factor=2,cap="4s",jitter="full"}}"#;
/// Of other cohorts.
pub(super) const PHONES: &str = r#"clients.phone={count=25,arrive={over="5s"},reconnect="socket.io-client",traffic={echo={rate="2/s"}}}"#;
pub(super) const TELEVISIONS: &str = r#"clients.tv={count=20,arrive={over="4s"},reconnect={fixed={delay="2s"}}}"#;

/// Strategies.
const WAITS: &[Row] = &[
    ("fixed", &[CRASH, FIXED]),
    ("exponential", &[CRASH, r#"clients.web.reconnect={exponential={base="200ms",factor=2,cap="8s",jitter="none"}}"#]),
    ("full jitter", &[CRASH, FULL]),
    ("equal jitter", &[CRASH, r#"clients.web.reconnect={exponential={base="1s",factor=2,cap="30s",jitter="equal"}}"#]),
    ("decorrelated jitter", &[CRASH, r#"clients.web.reconnect={exponential={base="1s",factor=3,cap="30s",jitter="decorrelated"}}"#]),
    ("full jitter, two crashes", &[TWO_CRASHES, FULL]),
    ("presets", &[TWO_CRASHES, r#"clients.web.reconnect="phoenix""#, PHONES, TELEVISIONS]),
    ("giving up", &[CRASH, r#"clients.web.reconnect={preset="reconnecting-websocket",max_retries=2}"#, TELEVISIONS]),
];

/// What an opening handshake meets in the server.
const SERVICE: &[Row] = &[
    ("one at a time", &[CRASH, FIXED, "target.embedded.handshake_cost=\"30ms\""]),
    ("three at a time", &[CRASH, FIXED, "target.embedded.handshake_cost=\"25ms\"", "target.embedded.parallel=3"]),
    ("three at a time, jitter", &[TWO_CRASHES, FULL, PHONES, "target.embedded.handshake_cost=\"80ms\"", "target.embedded.parallel=3"]),
    ("the last one first", &[CRASH, FIXED, "target.embedded.handshake_cost=\"20ms\"", "target.embedded.queue=\"lifo\""]),
    (
        "the last one first, three at a time",
        &[CRASH, FIXED, "target.embedded.handshake_cost=\"50ms\"", "target.embedded.queue=\"lifo\"", "target.embedded.parallel=3"],
    ),
    ("no cost", &[CRASH, FULL, TELEVISIONS, "target.embedded.handshake_cost=\"0s\""]),
    ("admission", &[CRASH, FULL, r#"target.embedded.admit={rate="10/s",burst=5,retry_after="2s"}"#]),
    ("admission of a wave", &[CRASH, QUICK, r#"target.embedded.admit={rate="10/s",burst=5}"#]),
    ("timeouts", &[CRASH, QUICK, "target.embedded.handshake_cost=\"70ms\"", r#"clients.web.deadlines={handshake="1s"}"#]),
    ("timeouts, jitter", &[CRASH, FULL, "target.embedded.handshake_cost=\"100ms\"", r#"clients.web.deadlines={handshake="700ms"}"#]),
    ("no deadline", &[CRASH, "target.embedded.handshake_cost=\"400ms\"", r#"clients.web.reconnect="phoenix""#]),
    (
        "a deadline of the attempt that grows",
        &[CRASH, "target.embedded.handshake_cost=\"80ms\"", r#"clients.web.reconnect="subscriptions-transport-ws""#],
    ),
    (
        "a deadline of the scenario in place of the preset's",
        &[
            CRASH,
            "target.embedded.handshake_cost=\"80ms\"",
            r#"clients.web.reconnect="phoenix""#,
            r#"clients.web.deadlines={handshake="900ms"}"#,
        ],
    ),
    ("a limit", &[CRASH, FIXED, "target.embedded.max_connections=30"]),
    (
        "a limit behind the service queue",
        &[
            CRASH,
            FIXED,
            "target.embedded.max_connections=20",
            "target.embedded.handshake_cost=\"50ms\"",
            "clients.web.arrive={at_once=true}",
        ],
    ),
    (
        "a limit, and clients that give up in the service queue",
        &[
            // No moment of a client is one of the crash.
            r#"faults=[{at="5003ms",inject={server_crash={down="2500ms"}}}]"#,
            QUICK,
            "target.embedded.max_connections=20",
            "target.embedded.handshake_cost=\"70ms\"",
            r#"clients.web.deadlines={handshake="900ms"}"#,
        ],
    ),
    (
        "a limit, and the last one first",
        &[
            // No moment of a client is one of the crash.
            r#"faults=[{at="5003ms",inject={server_crash={down="2500ms"}}}]"#,
            QUICK,
            "target.embedded.max_connections=20",
            "target.embedded.handshake_cost=\"70ms\"",
            "target.embedded.queue=\"lifo\"",
            r#"clients.web.deadlines={handshake="900ms"}"#,
        ],
    ),
    ("tls", &[CRASH, FIXED, "target.embedded.tls=true", "clients.web.count=10"]),
];

/// What happens to servers.
const SERVERS: &[Row] = &[
    (
        "one of three in turn",
        &[r#"faults=[{at="5s",inject={server_crash={instance=1,down="2500ms"}}}]"#, FULL, "target.embedded.instances=3"],
    ),
    (
        "one of three, known to be down",
        &[
            r#"faults=[{at="5s",inject={server_crash={instance=1,down="2500ms"}}}]"#,
            FULL,
            "target.embedded.instances=3",
            "target.embedded.balance=\"healthy\"",
        ],
    ),
    (
        "one of three, drawn",
        &[
            r#"faults=[{at="5s",inject={server_crash={instance=1,down="2500ms"}}}]"#,
            QUICK,
            "target.embedded.instances=3",
            "target.embedded.balance=\"random\"",
        ],
    ),
    (
        "rolling crashes",
        &[
            r#"faults=[{at="5s",inject={server_restart_rolling={interval="2s",down="500ms",mode="crash"}}}]"#,
            QUICK,
            "target.embedded.instances=3",
        ],
    ),
    (
        "rolling restart",
        &[r#"faults=[{at="5s",inject={server_restart_rolling={interval="2s",down="500ms"}}}]"#, FULL, "target.embedded.instances=3"],
    ),
    (
        "graceful stop",
        &[
            // 710 ms is no multiple of the 25 ms between two closes.
            r#"faults=[{at="5s",inject={server_graceful={spread="1s",down="500ms"}}}]"#,
            r#"clients.web.reconnect={fixed={delay="710ms"}}"#,
        ],
    ),
    (
        "a fault of connections while it stops",
        &[
            r#"faults=[{at="5s",inject={server_graceful={spread="2s",down="500ms"}}},{at="5510ms",side="server",inject={drop_rst={}}}]"#,
            r#"clients.web.reconnect={fixed={delay="711ms"}}"#,
        ],
    ),
    (
        "everybody is gone before it has stopped",
        &[
            r#"faults=[{at="5s",inject={server_graceful={spread="3s",down="500ms"}}},{at="5110ms",side="client",inject={drop_fin={}}}]"#,
            r#"clients.web.reconnect={fixed={delay="311ms"}}"#,
        ],
    ),
    (
        "one of three, known to refuse",
        &[
            // One after the other: whose turn it is at one moment nobody says.
            r#"faults=[{at="1203ms",for="5s",inject={connect_refuse={instance=1}}},
                       {at="2s",every="510ms",until="6s",select={count=1},inject={drop_fin={}}}]"#,
            r#"clients.web.reconnect={fixed={delay="333ms"}}"#,
            "target.embedded.instances=3",
            "target.embedded.balance=\"healthy\"",
        ],
    ),
    (
        "refusal over a restart",
        &[r#"faults=[{at="4s",for="5s",inject={connect_refuse={}}},{at="5s",inject={server_crash={down="513ms"}}}]"#, QUICK],
    ),
    (
        "stopped while opening handshakes wait",
        &[
            r#"faults=[{at="707ms",for="1500ms",inject={server_pause={}}},{at="12s",inject={server_crash={down="513ms"}}}]"#,
            r#"clients.web.reconnect={fixed={delay="311ms"}}"#,
            "clients.web.arrive={over=\"400ms\"}",
            "target.embedded.handshake_cost=\"50ms\"",
            r#"clients.web.deadlines={handshake="2500ms"}"#,
        ],
    ),
    (
        "stopped while opening handshakes wait, three at a time",
        &[
            r#"faults=[{at="707ms",for="1500ms",inject={server_pause={}}},{at="12s",inject={server_crash={down="513ms"}}}]"#,
            r#"clients.web.reconnect={fixed={delay="311ms"}}"#,
            "clients.web.arrive={over=\"400ms\"}",
            "target.embedded.handshake_cost=\"150ms\"",
            "target.embedded.parallel=3",
            "target.embedded.queue=\"lifo\"",
            r#"clients.web.deadlines={handshake="2500ms"}"#,
        ],
    ),
    (
        "killed behind dead paths",
        &[
            r#"faults=[{at="4503ms",select={percent="50%"},inject={blackhole={}}},{at="5s",inject={server_crash={down="513ms"}}}]"#,
            QUICK,
            "clients.web.heartbeat=none",
        ],
    ),
    (
        "killed while it is stopped",
        &[r#"faults=[{at="4s",for="2s",inject={server_pause={}}},{at="5s",inject={server_crash={down="513ms"}}}]"#, QUICK],
    ),
    (
        "stopped gracefully behind dead paths",
        &[
            r#"faults=[{at="4503ms",select={percent="50%"},inject={blackhole={}}},{at="5s",inject={server_graceful={down="513ms",grace="1s"}}}]"#,
            r#"clients.web.reconnect={fixed={delay="710ms"}}"#,
            "clients.web.heartbeat=none",
        ],
    ),
    (
        "killed behind paths that are back later",
        &[
            r#"faults=[{at="4503ms",for="2500ms",inject={blackhole={on_revert="resume"}}},{at="5s",inject={server_crash={down="513ms"}}}]"#,
            QUICK,
            "clients.web.heartbeat=none",
        ],
    ),
    (
        "stopped gracefully, its clients behind dead paths",
        &[
            r#"faults=[{at="4503ms",side="client",select={percent="50%"},inject={blackhole={}}},{at="5s",inject={server_graceful={down="513ms",grace="1s"}}}]"#,
            r#"clients.web.reconnect={fixed={delay="710ms"}}"#,
            "clients.web.heartbeat=none",
        ],
    ),
    (
        "clients that end in silence",
        &[r#"faults=[{at="5003ms",side="client",select={percent="50%"},inject={client_crash={end="silent"}}}]"#, QUICK],
    ),
    (
        "killed twice, with clients that have not noticed the first time",
        &[
            r#"faults=[{at="4503ms",side="client",select={percent="30%"},inject={stop_reading={}}},
                       {at="5s",every="4003ms",until="14s",inject={server_crash={down="513ms"}}}]"#,
            QUICK,
            "clients.web.heartbeat=none",
        ],
    ),
    (
        "a full backlog over a restart",
        &[
            r#"faults=[{at="4s",for="5s",inject={backlog_full={backlog=3}}},{at="5s",inject={server_crash={down="513ms"}}}]"#,
            QUICK,
            r#"clients.web.deadlines={connect="1900ms",handshake="1700ms"}"#,
        ],
    ),
];

/// What happens to connections, attempts and listening sockets.
const CONNECTIONS: &[Row] = &[
    ("drain in batches", &[r#"faults=[{at="5s",every="2s",until="14s",select={count=12},inject={close_code={code=1012}}}]"#, FULL]),
    (
        "cuts by clients",
        &[
            r#"faults=[{at="5s",every="1s",until="14s",side="client",select={percent="20%"},inject={drop_rst={}}},
                       {at="5500ms",every="1s",until="14s",side="client",select={count=3},inject={drop_fin={}}}]"#,
            QUICK,
        ],
    ),
    (
        "cuts by the server",
        &[
            r#"faults=[{at="5s",every="1s",until="14s",select={percent="20%"},inject={drop_rst={}}},
                       {at="5500ms",every="1s",until="14s",select={count=3},inject={drop_fin={}}}]"#,
            QUICK,
        ],
    ),
    (
        "another path",
        &[r#"faults=[{at="5s",every="1s",until="14s",side="client",select={percent="20%"},inject={client_network_switch={}}}]"#, QUICK],
    ),
    (
        "crashed clients",
        &[r#"faults=[{at="5s",every="1s",until="14s",side="client",select={percent="20%"},inject={client_crash={}}}]"#, QUICK],
    ),
    ("refusal", &[r#"faults=[{at="5s",for="3500ms",inject={connect_refuse={}}},{at="6s",inject={drop_fin={}}}]"#, QUICK, TELEVISIONS]),
    (
        "a full backlog",
        &[
            r#"faults=[{at="5s",for="5s",inject={backlog_full={backlog=5}}},{at="6s",inject={drop_fin={}}}]"#,
            QUICK,
            r#"clients.web.deadlines={connect="3s",handshake="2s"}"#,
        ],
    ),
    (
        "statuses",
        &[
            r#"faults=[{at="5s",for="5s",select={percent="40%"},inject={upgrade_status={status=502}}},{at="6s",inject={drop_fin={}}}]"#,
            FULL,
        ],
    ),
    (
        "late answers",
        &[r#"faults=[{at="5s",for="5s",select={percent="40%"},inject={upgrade_delay={delay="1s"}}},{at="6s",inject={drop_fin={}}}]"#, FULL],
    ),
    (
        "firings that overlap",
        &[r#"faults=[{at="5s",every="2s",until="12s",for="5s",side="client",select={count=8},inject={blackhole={}}}]"#, QUICK],
    ),
    (
        "firings that overlap, at the server",
        &[r#"faults=[{at="5s",every="2s",until="12s",for="5s",select={count=8},inject={blackhole={}}}]"#, QUICK],
    ),
    (
        "refusals that overlap",
        &[r#"faults=[{at="5s",every="2s",until="8s",for="3500ms",inject={connect_refuse={}}},{at="6s",inject={drop_fin={}}}]"#, QUICK],
    ),
    (
        "full backlogs that overlap",
        &[
            r#"faults=[{at="5s",every="1s",until="7s",for="4s",inject={backlog_full={backlog=5}}},{at="6s",inject={drop_fin={}}}]"#,
            QUICK,
            r#"clients.web.deadlines={connect="3s",handshake="2s"}"#,
        ],
    ),
    (
        "statuses that overlap",
        &[
            r#"faults=[{at="5s",every="1s",until="9s",for="2500ms",select={percent="30%"},inject={upgrade_status={status=502}}},
                       {at="6s",inject={drop_fin={}}}]"#,
            FULL,
        ],
    ),
    (
        "the first five, over all firings",
        &[r#"faults=[{at="1s",every="3s",for="1s",first_n=5,inject={upgrade_status={status=503}}},{at="6s",inject={drop_fin={}}}]"#, QUICK],
    ),
    (
        "three of each firing, of three servers",
        &[
            r#"faults=[{at="1s",every="3s",for="1s",select={count=3},inject={upgrade_status={status=503}}},{at="6s",side="client",inject={drop_fin={}}}]"#,
            QUICK,
            "target.embedded.instances=3",
        ],
    ),
    (
        "the first seven that are cut, and new ones",
        &[r#"faults=[{at="3s",every="2s",first_n=7,select={count=3},new=true,inject={drop_rst={}}}]"#, QUICK],
    ),
    ("overload", &[r#"faults=[{at="5s",for="5s",inject={server_overload={}}},{at="6s",inject={drop_fin={}}}]"#, FULL]),
    ("stays", &[CRASH, FULL, r#"clients.web.stay={for="3s",return="1s"}"#]),
];

/// Clients that come and go in stages, and message rates that do.
const STAGES: &[Row] = &[
    ("a crash in the hold", &[STAIRS, CRASH, QUICK]),
    ("a crash that some leave in", &[WAVES, r#"faults=[{at="5003ms",inject={server_crash={down="4s"}}}]"#, FULL]),
    (
        "a crash that those who gave up leave in",
        &[WAVES, CRASH, r#"clients.web.reconnect={preset="reconnecting-websocket",max_retries=1}"#],
    ),
    (
        "stays that end before the stages do",
        &[WAVES, CRASH, QUICK, r#"clients.web.stay={for="2300ms",return="900ms",close={code=3001,reason="bye"}}"#],
    ),
    (
        "on another path when the stages send them away",
        &[
            STAIRS,
            QUICK,
            r#"faults=[{at="5s",inject={server_crash={down="2500ms"}}},
                       {at="9503ms",side="client",inject={client_network_switch={gap="3s"}}}]"#,
        ],
    ),
    (
        // Many come at the moment of the deadline: whose turn in the service queue it is nobody says.
        "closing handshakes that end when the next time has begun",
        &[LATE_LEAVERS, LATE, QUICK, r#"clients.web.deadlines={close="1500ms"}"#, "target.embedded.handshake_cost=\"0s\""],
    ),
    ("closing handshakes that end when the next time is over", &[LATE_LEAVERS, LATE, QUICK, r#"clients.web.deadlines={close="3300ms"}"#]),
    (
        "some of whom there is never room for",
        &[CRASH, QUICK, r#"clients.web.arrive={stages=[{to=40},{to=30},{hold="12s"},{to=0,over="3s"}]}"#],
    ),
    (
        "a spike on another cohort, later",
        &[
            CRASH,
            QUICK,
            r#"clients.web.after="1307ms""#,
            TELEVISIONS,
            r#"clients.tv.after="3011ms""#,
            r#"clients.tv.arrive={stages=[{to=20},{hold="3s"},{to=5},{hold="2s"},{to=0,over="1s"}]}"#,
        ],
    ),
    ("by second", &[CRASH, FULL, r#"clients.web.arrive={per_second=[10,0,20,5,0,0,5]}"#]),
    ("stays by quantiles", &[CRASH, QUICK, r#"clients.web.stay={for={quantiles=["1s","2s","9s"]},return="1s"}"#]),
    (
        "rates in stages",
        &[
            WAVES,
            CRASH,
            QUICK,
            r#"clients.web.traffic={echo={rate={stages=[{to="1/s"},{to="8/s",over="6s"},{hold="2s"},{to="0/s",over="4s"}]}}}"#,
        ],
    ),
    (
        "sends in stages, later",
        &[CRASH, QUICK, r#"clients.web.after="1s""#, r#"clients.web.traffic={send={rate={stages=[{hold="2s"},{to="5/s",over="6s"}]}}}"#],
    ),
];
const STAIRS: &str = r#"clients.web.arrive={stages=[{to=20,over="2s"},{hold="1s"},{to=40,over="2s"},{hold="3s"},{to=0,over="4s"}]}"#;
/// All leave at 4 s, come again from 5 s on for two seconds, and from 8 s on.
const LATE_LEAVERS: &str = r#"clients.web.arrive={stages=[{to=40,over="1s"},{hold="3s"},{to=0},{hold="1s"},{to=40,over="800ms"},{hold="1200ms"},{to=0},{hold="1s"},{to=40,over="800ms"},{hold="3s"}]}"#;
/// Half of them leave on a dead path, after a crash.
const LATE: &str = r#"faults=[{at="1503ms",inject={server_crash={down="500ms"}}},{at="3503ms",side="client",select={percent="50%"},inject={blackhole={}}}]"#;
const WAVES: &str = r#"clients.web.arrive={stages=[{to=40,over="3200ms"},{hold="1007ms"},{to=8,over="3200ms"},{hold="1s"},{to=40,over="1600ms"},{hold="2s"},{to=0,over="4s"}]}"#;

/// What counts as ready. Two crashes, so that what is reset by it shows, and connections that end before they are ready.
const READY: &[Row] = &[
    ("open", &[TWO_CRASHES, FULL, r#"clients.web.ready="open""#, r#"clients.web.traffic={echo={rate="1/s"}}"#]),
    ("the first message", &[TWO_CRASHES, FULL, r#"clients.web.ready="message""#]),
    ("a message that says so", &[TWO_CRASHES, FULL, r#"clients.web.ready={message="{\"login\": \"ok ü\"}"}"#]),
    ("a message, and messages sent", &[TWO_CRASHES, FULL, r#"clients.web.ready="message""#, r#"clients.web.traffic={send={rate="2/s"}}"#]),
    ("open for a time", &[TWO_CRASHES, FULL, r#"clients.web.ready={open_for="900ms"}"#, "duration=\"25s\""]),
    (
        "open for a time that few live to see",
        &[
            r#"faults=[{at="5s",every="1300ms",until="14s",select={percent="70%"},inject={close_code={code=1013}}}]"#,
            r#"clients.web.reconnect={exponential={base="100ms",factor=2,cap="2s",jitter="none"}}"#,
            r#"clients.web.ready={open_for="2s"}"#,
        ],
    ),
    ("open for a time, and stays", &[CRASH, FULL, r#"clients.web.ready={open_for="900ms"}"#, r#"clients.web.stay={for="3s",return="1s"}"#]),
    ("the preset's message", &[TWO_CRASHES, r#"clients.web.reconnect="y-websocket""#, TELEVISIONS]),
    ("the preset's time", &[CRASH, r#"clients.web.reconnect={preset="reconnecting-websocket",reset_uptime="1500ms"}"#, "duration=\"30s\""]),
    (
        "messages on a path that some find dead",
        &[
            r#"faults=[{at="5s",inject={drop_fin={}}},{at="5100ms",side="client",new=true,select={percent="50%"},inject={blackhole={}}}]"#,
            r#"clients.web.reconnect={fixed={delay="700ms"}}"#,
            r#"clients.web.ready="message""#,
        ],
    ),
    (
        "messages of a server that some do not hear",
        &[
            r#"faults=[{at="5s",inject={drop_fin={}}},{at="5100ms",new=true,select={percent="50%"},inject={blackhole={}}}]"#,
            r#"clients.web.reconnect={fixed={delay="700ms"}}"#,
            r#"clients.web.ready="message""#,
        ],
    ),
];

/// Dialogues: how they open, and what HTTP requests come before. The embedded server answers a request that is no opening handshake with 426.
const DIALOGUES: &[Row] = &[
    ("socket.io", &[TWO_CRASHES, FULL, r#"clients.chat={count=30,arrive={over="3s"},like="socket.io-client"}"#]),
    (
        "graphql-ws, and requests",
        &[
            TWO_CRASHES,
            FULL,
            r#"clients.chat={count=30,arrive={over="3s"},like="graphql-ws",dialogue={rate="2/s",request=[{send='{"id":"{sequence}","type":"subscribe"}',reply={json={"/id"="{sequence}"}}}]}}"#,
        ],
    ),
    (
        // Without a last word: the embedded server closes by itself whoever says it.
        "graphql-ws, who comes and goes",
        &[CRASH, QUICK, r#"clients.chat={count=30,arrive={over="3s"},like="graphql-ws",stay={for="3s",return="1s"}}"#],
    ),
    ("mqtt", &[CRASH, QUICK, r#"clients.chat={count=30,arrive={over="3s"},like="mqtt.js"}"#]),
    (
        "steps on paths that some find dead",
        &[
            r#"faults=[{at="5s",inject={drop_fin={}}},{at="5100ms",for="4s",side="client",new=true,select={percent="50%"},inject={blackhole={}}}]"#,
            QUICK,
            r#"clients.chat={count=30,arrive={over="3s"},reconnect={fixed={delay="700ms"}},dialogue={protocol="graphql-transport-ws",open=[{send='{"type":"connection_init"}',expect="{",within="900ms"},{send='{"type":"ping"}',expect="{",within="900ms"}]}}"#,
        ],
    ),
    (
        "a server that says nothing to some",
        &[
            r#"faults=[{at="5s",inject={drop_fin={}}},{at="5100ms",for="4s",new=true,select={percent="50%"},inject={blackhole={}}}]"#,
            QUICK,
            r#"clients.chat={count=30,arrive={over="3s"},reconnect={fixed={delay="700ms"}},dialogue={protocol="socket.io",open=[{expect="0",within="900ms"},{send="40",expect="40",within="900ms"}]}}"#,
        ],
    ),
    (
        "a login",
        &[
            TWO_CRASHES,
            FULL,
            r#"clients.chat={count=30,arrive={over="3s"},reconnect={fixed={delay="700ms"}},dialogue={before=[{url="/login",status=426},{url="/ticket",status=426}]}}"#,
        ],
    ),
    (
        "a login that is refused, and one that nobody answers",
        &[
            r#"faults=[{at="5s",inject={drop_fin={}}},{at="5003ms",for="1s",inject={connect_refuse={}}},{at="9s",inject={drop_fin={}}},{at="9003ms",for="2s",inject={backlog_full={backlog=100}}}]"#,
            QUICK,
            r#"clients.chat={count=30,arrive={over="3s"},reconnect={fixed={delay="700ms"}},dialogue={before=[{url="/login",status=426,within="900ms"}]}}"#,
        ],
    ),
    (
        "a login while the server stops",
        &[
            r#"faults=[{at="5s",inject={drop_fin={}}},{at="5103ms",for="1500ms",inject={server_pause={}}},{at="9s",inject={server_graceful={down="1s"}}}]"#,
            QUICK,
            r#"clients.chat={count=30,arrive={over="3s"},reconnect={fixed={delay="700ms"}},dialogue={before=[{url="/login",status=426,within="900ms"}]}}"#,
        ],
    ),
];

pub(super) fn plan(changes: &[&str], seed: u64) -> Plan {
    // Options change cohorts; further ones stand in the scenario.
    let (more, set): (Vec<_>, Vec<_>) =
        COMMON.iter().chain(changes).partition(|change| change.starts_with("clients.") && change.contains("={count="));
    let text = format!("extends = \"default\"\n{}\n", more.into_iter().copied().collect::<Vec<&str>>().join("\n"));
    let set = set.into_iter().map(|change| (*change).to_owned()).collect();
    let overrides = Overrides { set, seed: Some(seed), ..Overrides::default() };
    load_with(&Source::Text { name: "default".to_owned(), text }, &overrides, &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Runs each plan in both worlds, with seeds 1 to 5.
fn check(rows: &[Row]) {
    for (name, changes) in rows {
        for seed in 1..=5 {
            let plan = plan(changes, seed);
            let (results, trace) = engine(&plan);
            // Something was lost and came back: there is something to compare.
            let returned = results.outages.kept().iter().filter(|outage| outage.time().is_some()).count();
            assert!(returned >= 5, "{name}, seed {seed}: {returned} came back");
            let simulated = simulator(&plan, &plan.simulated_as().expect("embedded"));
            compare(&trace, &simulated).unwrap_or_else(|difference| panic!("{name}, seed {seed}: {difference}"));
        }
    }
}

#[test]
fn all_strategies_come_back_at_the_nanosecond_that_the_simulator_says() {
    check(WAITS);
}

#[test]
fn all_ways_of_service_take_the_nanoseconds_that_the_simulator_says() {
    check(SERVICE);
}

#[test]
fn clients_come_and_go_in_stages_at_the_nanosecond_that_the_simulator_says() {
    check(STAGES);
}

#[test]
fn who_leaves_late_comes_only_for_a_time_that_is_not_over() {
    // Closing handshakes last from 4 s until 7.3 s: of those on the dead path nobody comes for the time from 5 s to 7 s.
    let plan = plan(&[LATE_LEAVERS, LATE, QUICK, r#"clients.web.deadlines={close="3300ms"}"#], 1);
    let model = plan.simulated_as().expect("embedded");
    for (world, trace) in [("engine", engine(&plan).1), ("simulator", simulator(&plan, &model))] {
        let begun = |from: u64, to: u64| {
            let within = |at: &Duration| (from..to).contains(&(at.as_millis() as u64));
            let late = |at: &Duration, event: &Event| matches!(event, Event::AttemptStarted { due, .. } if within(at) && due != at);
            assert!(!trace.iter().any(|(at, event)| late(at, event)), "{world}");
            trace.iter().filter(|(at, event)| within(at) && matches!(event, Event::AttemptStarted { .. })).count()
        };
        assert_eq!([begun(4_000, 7_200), begun(7_200, 8_000), begun(8_000, 20_000)], [20, 0, 40], "{world}");
    }
}

#[test]
fn clients_are_ready_at_the_nanosecond_that_the_simulator_says() {
    check(READY);
}

#[test]
fn dialogues_open_at_the_nanosecond_that_the_simulator_says() {
    check(DIALOGUES);
}

#[test]
fn who_is_closed_at_once_is_never_ready_and_its_waits_grow() {
    // A server that lets everybody in and shuts the door behind them: y-websocket waits 200, 400, 800, 1,600, 2,500 ms.
    let shut = r#"faults=[{at="0s",new=true,inject={close_code={code=1013}}}]"#;
    for (preset, expected) in [("y-websocket", vec![200, 400, 800, 1600, 2500, 2500]), ("y-websocket-2", vec![100; 6])] {
        let plan = plan(&[shut, &format!("clients.web.reconnect=\"{preset}\""), "clients.web.count=4"], 1);
        let (results, trace) = engine(&plan);
        compare(&trace, &simulator(&plan, &plan.simulated_as().expect("embedded"))).unwrap_or_else(|difference| panic!("{difference}"));
        let waits = |(_, event): &(Duration, Event)| match event {
            Event::Waiting { client: ClientIndex(0), delay } => Some(delay.as_millis() as u64),
            _ => None,
        };
        assert_eq!(trace.iter().filter_map(waits).take(6).collect::<Vec<_>>(), expected, "{preset}");
        assert_eq!((results.total().ready, results.total().recovered, results.total().greetings), (0, 0, 0), "{preset}");
        assert!(results.total().affected >= 1, "{preset}: an open connection that ends is an outage, ready or not");
    }
}

#[test]
fn what_happens_to_servers_is_what_the_simulator_says_to_the_nanosecond() {
    check(SERVERS);
}

#[test]
fn what_happens_to_connections_is_what_the_simulator_says_to_the_nanosecond() {
    check(CONNECTIONS);
}

#[test]
fn a_revert_frees_the_connections_of_its_own_firing() {
    // Three firings hit ten each for 5 s: at 4, 6 and 8 s. Each second of silence shows as ten messages without answer.
    let fault =
        r#"faults=[{at="4s",every="2s",until="9s",for="5s",side="SIDE",select={count=10},inject={blackhole={on_revert="resume"}}}]"#;
    for side in ["client", "server"] {
        let fault = fault.replace("SIDE", side);
        let talk = r#"clients.web.traffic={echo={rate="10/s",payload="32B"}}"#;
        let plan = plan(&[&fault, talk, "clients.web.heartbeat=none", "clients.web.count=100", "clients.web.arrive={over=\"1s\"}"], 1);
        let reverted = |trace: &Trace| -> Vec<_> {
            let one = |(at, event): &(Duration, Event)| {
                if let Event::Reverted { firing, .. } = event { Some((at.as_secs(), *firing)) } else { None }
            };
            trace.iter().filter_map(one).collect()
        };
        let silent = |trace: &Trace, second: u64| {
            let within = |at: &Duration| at.as_secs() == second;
            let count = |which: &dyn Fn(&Event) -> bool| trace.iter().filter(|(at, event)| within(at) && which(event)).count();
            (count(&|event| matches!(event, Event::Sent { .. })) - count(&|event| matches!(event, Event::Echoed { .. }))).div_ceil(10)
        };
        let (_, engine) = engine(&plan);
        let simulator = simulator(&plan, &plan.simulated_as().expect("embedded"));
        for (world, trace) in [("engine", &engine), ("simulator", &simulator)] {
            assert_eq!(reverted(trace), [(9, 0), (11, 1), (13, 2)], "{world}, {side}");
            let seen: Vec<_> = [5, 10, 12, 15].map(|second| silent(trace, second)).into();
            // A connection that two firings hit is silent as long as either lasts.
            assert!(seen[0] == 10 && (15..=20).contains(&seen[1]) && seen[2] == 10 && seen[3] == 0, "{world}, {side}: {seen:?}");
        }
    }
}

#[test]
fn windows_and_exact_counts_are_those_of_the_simulator() {
    let expect = r#"expect=["reconnect_time{from=10s,to=15s} p50 < 700ms", "reconnect_time{to=10s} max < 1s", "opening_handshake{from=12s} max < 10s"]"#;
    let plan = plan(&[TWO_CRASHES, QUICK, expect], 1);
    let (real, simulated) = (engine(&plan).0, sim::run(&plan, &plan.simulated_as().expect("embedded")).expect("simulated").results);
    // Forty outages after each crash; a limit that some times equal would show a difference of one µs.
    let outages = |results: &Results, from: u64, to: u64| {
        let within = |at: &u64| (from * 1_000_000..to * 1_000_000).contains(at);
        results.outages.kept().iter().filter(|outage| within(&outage.fault_at)).count() as u64
    };
    for (world, results) in [("engine", &real), ("simulator", &simulated)] {
        let rows = exact::rows(results);
        let count = |from, to| {
            let of = |row: &&exact::ExactRow| row.metric == "reconnect_time" && (row.from_s, row.to_s) == (from, to);
            rows.iter().filter(of).map(|row| row.count).sum::<u64>()
        };
        assert_eq!((count(Some(10), Some(15)), count(None, Some(10))), (outages(results, 10, 15), outages(results, 0, 10)), "{world}");
        assert!(count(Some(10), Some(15)) >= 30 && count(None, Some(10)) >= 30, "{world}: {rows:?}");
    }
    let counted = |results: &Results| -> Vec<_> { exact::rows(results).into_iter().filter(|row| row.metric == "reconnect_time").collect() };
    assert_eq!(counted(&real), counted(&simulated));
    let judged = |results| judge(&Evidence::of(results), &plan.expectations).expectations;
    assert_eq!(judged(&real), judged(&simulated));
}

#[test]
fn first_n_and_count_are_exact_over_firings_servers_and_restarts() {
    let status = |more: &str| format!(r#"faults=[{{at="1s",every="3s",for="1s",{more},inject={{upgrade_status={{status=503}}}}}}CRASH]"#);
    let servers = "target.embedded.instances=3";
    let crash = r#",{at="1200ms",inject={server_crash={down="100ms"}}}"#;
    for (more, also, expected) in [
        ("first_n=5", "", vec![(1, 5)]),
        ("first_n=15", "", vec![(1, 10), (4, 5)]),
        ("select={count=3}", "", vec![(1, 3), (4, 3), (7, 3), (10, 3), (13, 3)]),
        ("select={count=3},first_n=5", "", vec![(1, 3), (4, 2)]),
        // The new process goes on with what is left.
        ("first_n=5", crash, vec![(1, 5)]),
    ] {
        let fault = status(more).replace("CRASH", also);
        let arrivals = ["clients.web.arrive={rate=\"10/s\"}", "clients.web.count=150", "clients.web.reconnect=none"];
        let plan = plan(&[&fault, servers, arrivals[0], arrivals[1], arrivals[2]], 1);
        let hits = |trace: &Trace| {
            let mut hits = BTreeMap::new();
            let of = |event: &Event| matches!(event, Event::Injected { fault: 0, .. });
            trace.iter().filter(|(_, event)| of(event)).for_each(|(at, _)| *hits.entry(at.as_secs()).or_insert(0) += 1);
            hits.into_iter().collect::<Vec<_>>()
        };
        let spent = |trace: &Trace| trace.iter().filter(|(_, event)| matches!(event, Event::Spent { .. })).count();
        let fired = |trace: &Trace| trace.iter().filter(|(_, event)| matches!(event, Event::Fired { fault: 0, .. })).count();
        let (_, engine) = engine(&plan);
        let simulator = simulator(&plan, &plan.simulated_as().expect("embedded"));
        for (world, trace) in [("engine", &engine), ("simulator", &simulator)] {
            assert_eq!(hits(trace), expected, "{world}: {more} {also}");
            assert_eq!(fired(trace) + spent(trace), 7, "{world}: each firing has its row");
        }
    }
}

#[test]
fn a_difference_of_one_nanosecond_or_of_one_client_shows() {
    let plan = plan(&[CRASH, FULL], 1);
    let (_, trace) = engine(&plan);
    let model = plan.simulated_as().expect("embedded");
    assert!(compare(&trace, &simulator(&plan, &model)).is_ok());
    let slower = Model { handshake_cost: ServiceTimes::Constant(Duration::from_millis(7) + Duration::from_nanos(1)), ..model.clone() };
    assert!(compare(&trace, &simulator(&plan, &slower)).is_err());
    let fewer = Model { max_connections: Some(39), ..model };
    assert!(compare(&trace, &simulator(&plan, &fewer)).is_err());
}

#[test]
fn what_the_servers_heartbeat_ends_is_its_own_deadline_and_belongs_to_the_last_fault() {
    let ping = r#"target.embedded.ping={every="1s",timeout="500ms"}"#;
    let silent = r#"{at="5s",for="3s",side="client",select={nth=4},inject={stop_reading={}}}"#;
    // Reverted long before another one acts, or before the server stops by itself.
    let slow = r#"{at="6s",for="1s",side="client",inject={latency={latency="5ms"}}}"#;
    let shut = r#"{at="12s",inject={drop_fin={}}}"#;
    for (faults, expected) in [
        (vec![silent], vec![("deadline:pong", Some("stop_reading-1"), "server", 10)]),
        (vec![slow], vec![]),
        (vec![shut], vec![("drop_fin-1", Some("drop_fin-1"), "server", 40)]),
        (vec![silent, slow], vec![("deadline:pong", Some("latency-2"), "server", 10)]),
        (
            vec![silent, slow, shut],
            vec![("drop_fin-3", Some("drop_fin-3"), "server", 40), ("deadline:pong", Some("latency-2"), "server", 10)],
        ),
    ] {
        let faults = format!("faults=[{}]", faults.join(","));
        let (results, _) = engine(&plan(&[&faults, ping, QUICK, "clients.web.heartbeat=none"], 1));
        let rows: Vec<_> = tables::ending_rows(&results).into_iter().map(|row| (row.cause, row.fault, row.initiator, row.count)).collect();
        let owned = |(cause, fault, initiator, count): &(&str, Option<&str>, &str, u64)| {
            ((*cause).to_owned(), fault.map(str::to_owned), (*initiator).to_owned(), *count)
        };
        assert_eq!(rows, expected.iter().map(owned).collect::<Vec<_>>(), "{faults}");
        assert_eq!(random_plans::attributed(&results), Vec::<String>::new(), "{faults}");
    }
}

/// The files of a run folder, but the manifest, which has the wall time.
fn files(results: &Results, plan: &Plan, dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut manifest = manifest::collect(vec!["closestorm".to_owned()], plan.seed);
    manifest.started = "2026-01-01T00:00:00Z".to_owned();
    let verdict = judge(&Evidence::of(results), &plan.expectations);
    folder::write(dir, results, &plan.resolved, &verdict, &manifest).expect("written");
    let entries = std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry"));
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("a file"))).collect()
}

#[test]
fn the_paused_engine_repeats_itself_byte_for_byte() {
    let place = tempfile::tempdir().expect("a folder");
    let run = |seed, name: &str| {
        let changes = [TWO_CRASHES, FULL, PHONES, TELEVISIONS, r#"clients.web.heartbeat={every="400ms",timeout="300ms"}"#];
        let plan = plan(&changes, seed);
        let (results, trace) = engine(&plan);
        (files(&results, &plan, &place.path().join(name)), format!("{trace:?}"))
    };
    let (once, again, other) = (run(1, "once"), run(1, "again"), run(2, "other"));
    assert!(once.0.contains_key("events.csv") && once.0.contains_key("summary.json"), "{:?}", once.0.keys());
    for (name, bytes) in &once.0 {
        assert!(again.0.get(name) == Some(bytes), "{name} differs");
    }
    assert!(once.1 == again.1);
    assert!(once.1 != other.1 && once.0["events.csv"] != other.0["events.csv"], "seeds differ");
}

#[test]
fn a_client_that_does_not_wait_cannot_stop_the_clock() {
    let plan = plan(&[CRASH, r#"clients.web.reconnect={fixed={delay="0s"}}"#, "clients.web.count=2"], 1);
    let refused = engine(&plan).0.total().ledger.attempts.refused;
    // Once a millisecond while the server is down.
    assert_eq!(refused, 2 * 2500);
}

#[test]
fn what_needs_processes_is_refused() {
    for (change, words) in [
        (r#"faults=[{at="5s",for="1s",inject={fd_exhaust={}}}]"#, "fd_exhaust needs processes"),
        ("target.embedded.processes=2", "`processes` needs processes"),
    ] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let refused =
            runtime.block_on(crate::run::in_memory::run_in_memory(Arc::new(plan(&[change], 1)))).expect_err("refused").to_string();
        assert!(refused.starts_with(words), "{refused}");
    }
}

#[test]
fn of_random_plans_the_books_balance_and_nothing_that_began_is_lost() {
    let (mut ran, mut wrong) = (0, Vec::new());
    for number in 0..random_plans::count(60) {
        let text = random_plans::scenario(number, World::Memory);
        let Some(plan) = random_plans::plan(&text) else { continue };
        let broken = random_plans::broken(&plan, &engine_unchecked(&plan).0);
        ran += 1;
        wrong.extend(broken.into_iter().map(|words| format!("plan {number}: {words}")));
    }
    assert!(ran > 40, "{ran} plans");
    assert!(wrong.is_empty(), "{} of {ran} plans: {wrong:#?}", wrong.len());
}

/// Messages due, not started, sent, answered, lost and unanswered.
fn outcomes(results: &Results) -> [u64; 6] {
    let total = results.total();
    [total.due, total.not_started, total.sent, total.answered, total.lost_messages, total.unanswered]
}

#[test]
fn messages_end_alike_in_both_worlds() {
    let traffic = r#"clients.web.traffic={echo={rate="10/s"}}"#;
    let dark = r#"faults=[{at="4s",side="client",select={percent="50%"},inject={blackhole={}}}]"#;
    let away = r#"clients.web.stay={for="3s"}"#;
    for (name, changes, nothing) in
        [("half of them in the dark", [traffic, dark], "lost"), ("all of them gone", [traffic, away], "not started")]
    {
        let plan = plan(&changes, 1);
        let (found, _) = engine(&plan);
        let simulated = sim::run(&plan, &plan.simulated_as().expect("simulated")).expect("simulated").results;
        simulated.check_ledger().expect("balanced");
        let (found, expected) = (outcomes(&found), outcomes(&simulated));
        let [_, not_started, sent, answered, lost, unanswered] = found;
        assert_eq!(if nothing == "lost" { lost } else { not_started }, 0, "{name}: {found:?}");
        assert!(sent > 1_000 && answered > 0 && (nothing != "lost" || unanswered > 100), "{name}: {found:?}");
        // Due times are no whole milliseconds, and the engine's timers are.
        let near = found.iter().zip(&expected).all(|(found, expected)| found.abs_diff(*expected) <= sent / 50);
        assert!(near, "{name}: engine {found:?}, simulator {expected:?}");
    }
}

#[test]
fn what_of_a_stop_or_a_rolling_restart_lies_beyond_the_end_is_told_by_both_worlds() {
    let rolling = r#"faults=[{at="5s",inject={server_restart_rolling={interval="8s",down="500ms"}}}]"#;
    let graceful = r#"faults=[{at="5s",inject={server_graceful={spread="30s",down="500ms"}}}]"#;
    for (fault, instances, words) in [
        (rolling, "target.embedded.instances=3", "instance 2: its turn comes after the end of the run"),
        (graceful, "target.embedded.instances=1", "instance 0: it had not stopped before the end of the run"),
    ] {
        let plan = plan(&[fault, QUICK, instances], 1);
        let simulated = sim::run(&plan, &plan.simulated_as().expect("embedded")).expect("simulated").results;
        for (world, results) in [("engine", engine(&plan).0), ("simulator", simulated)] {
            let whys: Vec<_> = results.unreliable.iter().filter(|why| why.contains(words)).collect();
            assert_eq!(whys.len(), 1, "{world}: {:?}", results.unreliable);
        }
    }
}
