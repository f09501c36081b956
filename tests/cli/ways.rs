//! Ways to a target, each against a real server: rows of data over processes, shards and reconnects.

use super::Place;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::StatusCode;

/// What a server was asked: path, and fields by name in small letters.
type Heads = Arc<Mutex<Vec<(String, BTreeMap<String, String>)>>>;
/// What a server adds to its answers, by the request.
type Answer = fn(&Request, &mut Response) -> Option<(u16, String)>;

/// One connection: echoes what it is sent, and closes after `messages`.
#[allow(clippy::result_large_err, reason = "the library gives the answer its type")]
fn serve(stream: impl Read + Write, heads: &Heads, answer: Answer, messages: usize) {
    let judge = |request: &Request, mut response: Response| {
        let fields = request.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("-").to_owned()));
        heads.lock().expect("nobody panics with it").push((request.uri().to_string(), fields.collect()));
        let Some((status, location)) = answer(request, &mut response) else { return Ok(response) };
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = StatusCode::from_u16(status).expect("a status");
        refusal.headers_mut().insert("Location", HeaderValue::from_str(&location).expect("a field"));
        Err(refusal)
    };
    let Ok(mut socket) = tungstenite::accept_hdr(stream, judge) else { return };
    for _ in 0..messages {
        let Ok(message) = socket.read() else { return };
        if message.is_text() || message.is_binary() {
            _ = socket.send(message);
        }
    }
    _ = socket.close(None);
    while socket.read().is_ok() {}
}

fn listen(listener: TcpListener, answer: Answer, messages: usize) -> Heads {
    let heads = Heads::default();
    let all = heads.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let all = all.clone();
            thread::spawn(move || serve(stream, &all, answer, messages));
        }
    });
    heads
}

fn websocket(answer: Answer, messages: usize) -> (SocketAddr, Heads) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    (listener.local_addr().expect("it is bound"), listen(listener, answer, messages))
}

/// Ten clients of a target with these keys, and their own.
fn scenario(target: &str, clients: &str) -> String {
    format!(
        "duration = \"2s\"\nexpect = [\"attempts{{outcome=failed}} count == 0\", \"attempts{{outcome=rejected}} count == 0\"]\n[target.url]\n{target}\n\
         [clients.web]\ncount = 10\narrive = {{ over = \"300ms\" }}\nreconnect = {{ fixed = {{ delay = \"200ms\" }} }}\n{clients}\n"
    )
}

fn taken(heads: &Heads) -> Vec<(String, BTreeMap<String, String>)> {
    std::mem::take(&mut *heads.lock().expect("nobody panics with it"))
}

/// Takes the subprotocol that it is offered.
fn chooses(request: &Request, response: &mut Response) -> Option<(u16, String)> {
    let offered = request.headers().get("sec-websocket-protocol").cloned();
    offered.into_iter().for_each(|offered| _ = response.headers_mut().insert("Sec-WebSocket-Protocol", offered));
    None
}

#[test]
fn row_k_belongs_to_client_k_over_processes_shards_and_reconnects() {
    let (address, heads) = websocket(chooses, 2);
    let mut rows = "user,room,agent\n".to_owned();
    (0..10).for_each(|k| writeln!(rows, "u{k},r{k},agent {k}").expect("a String"));
    let clients = "data = \"users.csv\"\ntraffic = { echo = { rate = \"10/s\" } }\npath = \"/{data.room}\"\nquery = \"u={data.user}&c={client}\"\n\
                   headers = { Origin = \"https://{data.user}.test\", Cookie = \"u={data.user}\", \
                   Authorization = \"Bearer {data.user}\", X-Agent = \"{data.agent}\" }\nsubprotocols = [\"p.{data.user}\"]";
    for args in [&[][..], &["--workers", "3"], &["--shard", "2/2"]] {
        let place = Place::with(&scenario(&format!("address = \"ws://{address}/\"\nprobe = false"), clients));
        place.write("users.csv", &rows);
        let ended = place.run(&[&["run", "test.toml", "--out", "run"], args].concat());
        assert!(matches!(ended.code, Some(0 | 3)), "{ended:?}");
        let mut connections = BTreeMap::<String, usize>::new();
        for (path, fields) in taken(&heads) {
            let k =
                path.strip_prefix("/r").and_then(|rest| rest.split('?').next()).unwrap_or_else(|| panic!("{path} {fields:?}")).to_owned();
            assert_eq!(path, format!("/r{k}?u=u{k}&c={k}"));
            let expected =
                [("origin", format!("https://u{k}.test")), ("cookie", format!("u=u{k}")), ("sec-websocket-protocol", format!("p.u{k}"))];
            expected.iter().for_each(|(name, value)| assert_eq!(fields[*name], *value));
            assert_eq!((&*fields["authorization"], &*fields["x-agent"]), (&*format!("Bearer u{k}"), &*format!("agent {k}")));
            *connections.entry(k).or_default() += 1;
        }
        let shard = args.first() == Some(&"--shard");
        let expected: BTreeSet<_> = (0..10).filter(|k| !shard || k % 2 == 1).map(|k| k.to_string()).collect();
        assert_eq!(connections.keys().cloned().collect::<BTreeSet<_>>(), expected, "{args:?}");
        assert!(connections.values().all(|times| *times >= 2), "they came back: {connections:?}");
    }
    let place = Place::with(&scenario(&format!("address = \"ws://{address}/\""), clients).replace("count = 10", "count = 13"));
    place.write("users.csv", &rows);
    place.assert_refuses(&["validate", "test.toml"], 2, &["10 rows for 13 clients: 3 are missing"]);
}
