//! Protocols that close whoever does not speak them, on the real servers of npm, and on mosquitto: clients stay, survive a crash and a graceful restart, and
//! come back ready; without the dialogue the same clients are closed.

use super::{Run, alone, home, mosquitto, node};

/// 1,000 clients for more than three ping intervals of 2 s, a SIGKILL, and a graceful restart.
fn scenario(server: &str, cohort: &str) -> String {
    format!(
        "duration = \"22s\"\n[target.command]\nrun = \"{server}\"\n\n[clients.web]\ncount = 1000\narrive = {{ over = \"2s\" }}\n\
         {cohort}\n\n[[faults]]\nat = \"9s\"\ninject = {{ server_crash = {{ down = \"500ms\" }} }}\n\n[[faults]]\nat = \"15s\"\n\
         inject = {{ server_graceful = {{ down = \"500ms\" }} }}\n"
    )
}

fn check(kind: &str, speaks: &str, silent: &str) {
    if node(kind) {
        check_on(kind, &format!("node {} {{port}} {kind}", home("tests/node/dialogues.js").display()), speaks, silent);
    }
}

fn check_on(kind: &str, server: &str, speaks: &str, silent: &str) {
    let _alone = alone();
    let run = Run::new();
    let loaded = run.load(&run.file(&scenario(server, speaks)), &[]);
    let summary = &loaded.summary;
    assert_eq!((summary.clients.planned, summary.clients.open_at_end, summary.clients.ready), (1000, 1000, Some(1000)), "{kind}");
    assert_eq!((summary.reconnect.affected, summary.reconnect.recovered), (2000, 2000), "{kind}: twice everybody came back ready");
    assert!(summary.endings.iter().all(|row| row.fault.is_some()), "{kind}: no other end: {:#?}", summary.endings);
    let messages = &summary.messages;
    assert_eq!(messages.sent, messages.answered + messages.lost + messages.unanswered, "{kind}");
    assert!(messages.answered > 5_000, "{kind}: {messages:?}");
    // Of a second before the end, on a machine that does other work, too.
    assert!(messages.unanswered < messages.sent / 20, "{kind}: {messages:?}");

    let run = Run::new();
    let loaded = run.load(&run.file(&scenario(server, silent)), &["--clients", "50", "--duration", "8s", "--set", "faults=[]"]);
    let endings = &loaded.summary.endings;
    let closed: u64 = endings.iter().filter(|row| row.cause == "remote").map(|row| row.count).sum();
    assert!(closed >= 50, "{kind}: who does not speak it is closed: {endings:#?}");
}

#[test]
fn socket_io_clients_stay_and_come_back() {
    check(
        "socket.io",
        "like = \"socket.io-client\"\nreconnect = { fixed = { delay = \"1s\" } }\n\
         dialogue = { silence = \"4s\", rate = \"1/s\", request = [{ send = '42{sequence}[\"ask\"]', reply = '43{sequence}[\"told\"]' }] }",
        "path = \"/socket.io/\"\nquery = \"EIO=4&transport=websocket\"\nreconnect = { fixed = { delay = \"1s\" } }",
    );
}

/// Says no CONNECT.
const NO_MQTT: &str = "subprotocols = [\"mqtt\"]\nreconnect = { fixed = { delay = \"1s\" } }";

/// [`MQTT`] in version 5.
fn mqtt5() -> String {
    MQTT.replace("[clients.web.dialogue]", "[clients.web.dialogue]\nprotocol = \"mqtt5\"")
}

/// MQTT 3.1.1 with QoS 1 and a subscription on aedes, which sends packets byte by byte; whoever says no CONNECT is closed.
#[test]
fn mqtt_clients_stay_and_come_back() {
    check("mqtt", MQTT, NO_MQTT);
}

/// Aedes has no version 5: it is spoken with the packets of mqtt.js, whose properties are passed over.
#[test]
fn mqtt5_clients_stay_and_come_back() {
    check("mqtt5", &mqtt5(), NO_MQTT);
}

/// Mosquitto waits long for a CONNECT: what is no MQTT it closes at once.
fn check_on_mosquitto(kind: &str, speaks: &str) {
    if mosquitto(kind) {
        let server = format!("{} {{port}}", home("tests/mosquitto.sh").display());
        let silent = format!("{NO_MQTT}\ntraffic = {{ echo = {{ rate = \"1/s\", payload = \"64B\" }} }}");
        check_on(kind, &server, speaks, &silent);
    }
}

#[test]
fn mqtt_clients_stay_on_mosquitto_and_come_back() {
    check_on_mosquitto("mqtt on mosquitto", MQTT);
}

#[test]
fn mqtt5_clients_stay_on_mosquitto_and_come_back() {
    check_on_mosquitto("mqtt5 on mosquitto", &mqtt5());
}

const MQTT: &str = r#"like = "mqtt.js"
reconnect = { fixed = { delay = "1s" } }
[clients.web.dialogue]
open = [
  { name = "connack", send = '{"type":"connect","client_id":"c{client}","keep_alive":10}', expect = { json = { "/type" = "connack" } }, check = { json = { "/code" = 0 } } },
  { name = "suback", send = '{"type":"subscribe","id":{sequence},"topics":[{"topic":"room/1","qos":1}]}', expect = { json = { "/type" = "suback" } } },
]
beat = { every = "2s", send = '{"type":"pingreq"}', expect = { json = { "/type" = "pingresp" } }, within = "4s" }
rate = "0.5/s"
request = [{ send = '{"type":"publish","topic":"said/{client}","qos":1,"id":{sequence},"payload":"on"}', reply = { json = { "/type" = "puback", "/id" = "{sequence}" } } }]"#;

#[test]
fn graphql_ws_clients_stay_and_come_back() {
    check(
        "graphql-ws",
        "like = \"graphql-ws\"\nreconnect = { fixed = { delay = \"1s\" } }\n[clients.web.dialogue]\nrate = \"1/s\"\nrequest = [{ \
         send = '{\"id\":\"{sequence}\",\"type\":\"subscribe\",\"payload\":{\"query\":\"{ told }\"}}', reply = { json = { \"/id\" = \"{sequence}\", \
         \"/type\" = \"next\", \"/payload/data/told\" = 7 } } }]",
        "subprotocols = [\"graphql-transport-ws\"]\nreconnect = { fixed = { delay = \"1s\" } }",
    );
}
