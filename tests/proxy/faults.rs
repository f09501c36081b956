//! Faults over the control API: what is said of them, what is left of them, and whom they let go.

use super::toxiproxy::{Answer, ask};
use super::witness::{AGREED, Witness};
use super::{is_reset, limited, to_end};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n";

impl Witness {
    fn ask(&self, request: &str, body: Value) -> Answer {
        ask(self.api, request, &body)
    }

    /// Adds a fault; what is said of it then.
    fn fault(&self, fault: Value) -> Value {
        let made = self.ask("POST /v1/faults", fault);
        assert_eq!(made.status, 201, "{made:?}");
        made.json()
    }

    fn shown(&self, name: &str) -> Value {
        self.ask(&format!("GET /v1/faults/{name}"), Value::Null).json()
    }
}

#[test]
fn events_of_faults_come_in_their_order_and_name_a_bounded_number_of_connections() {
    const COUNT: u64 = 120;
    let witness = Witness::start(&[]);
    let pairs: Vec<_> = (0..COUNT).map(|_| witness.asked("/", "", AGREED)).collect();
    let mut events = witness.events();
    let made = witness.fault(json!({ "name": "slow", "inject": { "latency": { "latency": "1ms" } } }));
    assert_eq!((&made["hits"], &made["state"]), (&json!(COUNT), &json!("active")));
    let fired = events.expect("fault_fired");
    assert_eq!((&fired["fault"], &fired["hits"], &fired["eligible"]), (&json!("slow"), &json!(COUNT), &json!(COUNT)), "{fired}");
    assert_eq!(fired["hit"].as_array().map(Vec::len), Some(100), "{fired}");
    assert_eq!(fired["hit"][0], json!({ "proxy": "proxy", "connection": 1 }));
    let mut acted: Vec<_> = (0..COUNT).map(|_| events.expect("fault_acts")["connection"].as_u64().expect("a number")).collect();
    acted.sort_unstable();
    assert_eq!(acted, (1..=COUNT).collect::<Vec<_>>());
    assert_eq!(witness.ask("DELETE /v1/faults/slow", Value::Null).status, 204);
    assert_eq!(events.expect("fault_reverted")["fault"], json!("slow"));
    drop(pairs);
}

#[test]
fn a_change_that_is_wrong_leaves_the_fault_as_it_is() {
    let witness = Witness::start(&[]);
    let (_near, _far) = witness.asked("/", "", AGREED);
    witness.fault(json!({ "name": "other", "inject": { "pong_drop": {} } }));
    witness.fault(json!({ "name": "slow", "inject": { "latency": { "latency": "1ms" } } }));
    let before = witness.shown("slow");
    for (change, status) in [
        (json!({ "proxy": "nobody" }), 404),
        (json!({ "name": "other" }), 409),
        (json!({ "for": "soon" }), 400),
        (json!({ "select": { "phase": "tls" } }), 400),
    ] {
        let answer = witness.ask("PATCH /v1/faults/slow", change.clone());
        assert_eq!(answer.status, status, "{change}: {answer:?}");
        assert_eq!(witness.shown("slow"), before, "{change}");
    }
    assert_eq!(witness.ask("PATCH /v1/faults/none", json!({ "for": "1s" })).status, 404);
    // A direction takes the place of the one before, and of the side.
    let answer = witness.ask("PATCH /v1/faults/slow", json!({ "dir": "up" }));
    assert_eq!((answer.status, &answer.json()["inject"]["latency"]["dir"]), (200, &json!("up")), "{answer:?}");
    let answer = witness.ask("PATCH /v1/faults/other", json!({ "dir": "up", "name": "pongs" }));
    assert_eq!((answer.status, &answer.json()["side"], &answer.json()["hits"]), (200, &json!("client"), &json!(1)), "{answer:?}");
    assert_eq!(witness.ask("GET /v1/faults/other", Value::Null).status, 404);
}

#[test]
fn a_fault_is_over_when_it_may_hit_nobody_any_more() {
    let witness = Witness::start(&[]);
    let (mut near, _far) = witness.asked("/", "", AGREED);
    let once = witness.fault(json!({ "inject": { "drop_rst": {} }, "every": "1h", "first_n": 1 }));
    assert!(is_reset(&to_end(&mut near)));
    assert_eq!((&once["state"], &once["hits"]), (&json!("over"), &json!(1)), "{once}");
    let standing = witness.fault(json!({ "name": "next", "inject": { "drop_rst": {} }, "new": true, "first_n": 1 }));
    assert_eq!((&standing["state"], &standing["hits"]), (&json!("active"), &json!(0)), "{standing}");
    let (mut near, _far) = witness.proxy.pair(&witness.upstream);
    assert!(is_reset(&to_end(&mut near)));
    let over = witness.shown("next");
    assert_eq!((&over["state"], &over["hits"]), (&json!("over"), &json!(1)), "{over}");
    let many = witness.fault(json!({ "name": "many", "inject": { "accept_rst": {} }, "first_n": 1 }));
    assert_eq!(many["state"], json!("active"), "{many}");
    let mut near = witness.proxy.connect();
    near.write_all(REQUEST).expect("open");
    assert!(is_reset(&to_end(&mut near)));
    assert_eq!(witness.shown("many")["state"], json!("over"));
}

/// Neither has answered the proxy's FIN: it waits for theirs.
#[test]
fn a_connection_that_is_ending_is_not_hit() {
    let witness = Witness::start(&[]);
    let (_near, _far) = witness.asked("/", "", AGREED);
    assert_eq!(witness.ask("DELETE /v1/connections/proxy/1", Value::Null).status, 204);
    let made = witness.fault(json!({ "inject": { "drop_rst": {} } }));
    assert_eq!((&made["hits"], &made["state"]), (&json!(0), &json!("over")), "{made}");
}

#[test]
fn numbers_of_connections_go_on_when_a_proxy_starts_again() {
    let witness = Witness::start(&[]);
    let mut events = witness.events();
    let mut number = |witness: &Witness, at: SocketAddr| {
        let _pair = (limited(TcpStream::connect(at).expect("it listens")), witness.upstream.accept().expect("it connects"));
        let (_, connected) = std::iter::repeat_with(|| events.next()).find(|(name, _)| name == "connected").expect("an event");
        connected["connection"].as_u64()
    };
    let at = witness.proxy.address;
    assert_eq!(number(&witness, at), Some(1));
    for enabled in [false, true] {
        assert_eq!(witness.ask("POST /proxies/proxy", json!({ "enabled": enabled })).status, 200);
    }
    assert_eq!(number(&witness, at), Some(2));
    assert_eq!(witness.ask("DELETE /proxies/proxy", Value::Null).status, 204);
    let upstream = witness.upstream.local_addr().expect("bound").to_string();
    let made = witness.ask("POST /proxies", json!({ "name": "proxy", "listen": "127.0.0.1:0", "upstream": upstream })).json();
    let at = made["listen"].as_str().and_then(|at| at.parse().ok()).expect("an address");
    assert_eq!(number(&witness, at), Some(3));
}

/// Sends an opening request that `fault` holds up; on which connection.
fn held(witness: &Witness, events: &mut super::witness::Events, fault: Value) -> (TcpStream, u64) {
    witness.fault(fault);
    events.expect("fault_fired");
    let mut near = witness.proxy.connect();
    near.write_all(REQUEST).expect("open");
    let connected = events.expect("connected");
    events.expect("fault_acts");
    (near, connected["connection"].as_u64().expect("a number"))
}

#[test]
fn a_handshake_that_is_held_up_goes_on_when_the_fault_is_removed() {
    let witness = Witness::start(&[]);
    let mut events = witness.events();
    let stall = json!({ "name": "stall", "inject": { "accept_stall": {} } });
    let late = json!({ "name": "late", "inject": { "upgrade_delay": { "delay": "1h" } } });
    for (name, fault) in [("stall", stall), ("late", late)] {
        let (mut near, _) = held(&witness, &mut events, fault);
        assert_eq!(witness.ask(&format!("DELETE /v1/faults/{name}"), Value::Null).status, 204);
        let mut far = limited(witness.upstream.accept().expect("the proxy connects").0);
        far.read_exact(&mut [0; REQUEST.len()]).expect("the request");
        far.write_all(AGREED.as_bytes()).expect("open");
        near.read_exact(&mut vec![0; AGREED.len()]).expect("the answer");
        assert_eq!(events.expect("fault_reverted")["fault"], json!(name));
        events.expect("opened");
        drop((near, far));
        events.expect("closed");
    }
}

#[test]
fn a_connection_that_is_not_open_yet_ends_as_it_is_asked_to() {
    let witness = Witness::start(&[]);
    let mut events = witness.events();
    for (name, query, end) in [("first", "?end=rst", "rst"), ("second", "", "fin")] {
        let (mut near, id) = held(&witness, &mut events, json!({ "name": name, "inject": { "accept_stall": {} } }));
        assert_eq!(witness.ask(&format!("DELETE /v1/connections/proxy/{id}{query}"), Value::Null).status, 204);
        let ended = to_end(&mut near);
        assert_eq!((is_reset(&ended), ended.is_ok()), (end == "rst", end == "fin"), "{ended:?}");
        let closed = events.expect("closed");
        assert_eq!((&closed["by"], &closed["how"], &closed["client_side"]["proxy_end"]), (&json!("proxy"), &json!(end), &json!(end)));
        assert_eq!(witness.ask(&format!("DELETE /v1/faults/{name}"), Value::Null).status, 204);
        events.expect("fault_reverted");
    }
}

/// Somebody else took the port while it refused.
#[test]
fn a_port_that_was_taken_meanwhile_is_said_once_and_opened_when_it_is_free() {
    let witness = Witness::start(&[]);
    let mut events = witness.events();
    witness.fault(json!({ "name": "refuse", "inject": { "connect_refuse": {} } }));
    events.expect("fault_fired");
    let at = witness.proxy.address;
    let taken = TcpListener::bind(at).expect("it is free");
    assert_eq!(witness.ask("DELETE /v1/faults/refuse", Value::Null).status, 204);
    let told = [events.next(), events.next()];
    let found = told.iter().find(|(name, _)| name == "not_listening").map(|(_, data)| &data["listen"]);
    assert_eq!(found, Some(&json!(at.to_string())), "{told:?}");
    drop(taken);
    let connected = std::iter::repeat_with(|| TcpStream::connect(at)).find(Result::is_ok);
    assert!(connected.is_some());
    // Nothing was told between, and nobody was refused for a limit of this machine.
    events.expect("connected");
    let summary = witness.ask("GET /v1/summary", Value::Null).json();
    assert_eq!(summary["connections"]["refused"], json!(0), "{summary}");
}
