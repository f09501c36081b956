//! Real client libraries on embedded servers that do each thing of the list to them.
//!
//! All libraries and all ways are measured at the same time: they mostly wait.

use super::library::{Heard, Library, OBSERVED, Told};
use super::table::{Line, Side, wire};
use super::ways::{Act, Peer, WAYS, Way};
use crate::embedded::{Server, effect};
use closestorm::close::Ending;
use closestorm::fault::Effect;
use closestorm::plan::{Embedded, Pick};
use closestorm::transport::tls::Identity;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// In the order of the columns.
const LIBRARIES: [&str; 4] = ["ws", "browser", "websockets", "aiohttp"];
/// Longer than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);
/// For bytes that are on their way to have come.
const SETTLE: Duration = Duration::from_millis(500);

/// A client index that says which library and which way.
fn client(library: usize, way: usize) -> u32 {
    (library * 1000 + way) as u32
}

fn id(library: usize, way: usize) -> String {
    format!("{}/1", client(library, way))
}

/// Whether the library has what the way needs.
fn can(library: usize, way: &Way) -> bool {
    way.peer != Peer::Pings || ["websockets", "aiohttp"].contains(&LIBRARIES[library])
}

/// Each way to clients, by its number in the list, with each library that can.
fn pairs() -> impl Iterator<Item = (usize, usize, &'static Way)> {
    let ways = WAYS.iter().enumerate().filter(|(_, way)| way.to_clients);
    ways.flat_map(|(number, way)| (0..LIBRARIES.len()).filter(|library| can(*library, way)).map(move |library| (library, number, way)))
}

/// What a fault asks for, if the way is one.
fn asked(way: &Way) -> Option<Effect> {
    let Act::Inject(inject) = way.act else { return None };
    Some(effect(inject))
}

/// What acts on whole processes has one of its own.
fn needs_its_own(way: &Way) -> bool {
    matches!(asked(way), None | Some(Effect::Listener { .. }))
}

/// An embedded server; with TLS a certificate that the libraries are told not to check.
async fn server(tls: bool) -> Server {
    let identity = if tls { json!(Identity::generate().expect("a certificate")) } else { Value::Null };
    Server::start_with(&Embedded { tls, ..Embedded::default() }, identity).await
}

/// Servers, libraries, and what both have said so far.
struct Stage {
    scheme: &'static str,
    /// For all ways that act on one connection or attempt.
    common: Server,
    /// By number of the way.
    own: BTreeMap<usize, Server>,
    libraries: Vec<Library>,
    said: UnboundedReceiver<(usize, Told)>,
    heard: Heard,
    versions: BTreeMap<String, String>,
    /// By client index.
    endings: BTreeMap<u32, Ending>,
    /// Fill listen queues.
    _fillers: Vec<TcpStream>,
}

/// Measures all, over ws or wss.
pub(super) async fn measure(tls: bool) -> Side {
    let mut stage = Stage::set(tls).await;
    stage.prepare().await;
    stage.open().await;
    stage.act().await;
    stage.watch(Instant::now() + OBSERVED, |_| false).await;
    stage.lines().await
}

impl Stage {
    async fn set(tls: bool) -> Stage {
        let (say, said) = unbounded_channel();
        let libraries = (0..).zip(LIBRARIES).map(|(number, name)| Library::start(name, "clients", number, &say)).collect();
        let common = server(tls).await;
        let mut own = BTreeMap::new();
        for (number, _) in WAYS.iter().enumerate().filter(|(_, way)| way.to_clients && needs_its_own(way)) {
            own.insert(number, server(tls).await);
        }
        let (heard, versions, endings, fillers) = Default::default();
        Stage { scheme: if tls { "wss" } else { "ws" }, common, own, libraries, said, heard, versions, endings, _fillers: fillers }
    }

    /// What must hold before the connections open: faults of attempts and listening sockets, and of an answer to the client's Close.
    async fn prepare(&mut self) {
        for (library, number, way) in pairs() {
            // A firing stands once: each library has its own.
            let client = client(library, number);
            let standing = json!({ "clients": [client, client + 1], "pick": Pick::All, "stream": "way", "bounded": false });
            match asked(way) {
                Some(Effect::Attempt(effect)) => {
                    self.common
                        .tell(
                            &json!({ "Attempts": { "firing": { "fault": number, "number": library }, "effect": effect, "standing": standing } }),
                        )
                        .await;
                }
                Some(Effect::Connection { gate, steps }) if way.peer == Peer::Closes => {
                    let dose = json!({ "firing": { "fault": number, "number": library }, "gate": gate, "steps": steps });
                    self.common.tell(&json!({ "InjectNew": { "dose": dose, "standing": standing } })).await;
                }
                _ => {}
            }
        }
        for (number, server) in &mut self.own {
            if let Some(Effect::Listener { on, instance }) = asked(&WAYS[*number]) {
                server.tell(&json!({ "Listener": { "firing": { "fault": 0, "number": 0 }, "on": on, "instance": instance } })).await;
                server.reported("Reached", 1).await;
                for _ in 0..2 {
                    // The kernel lets one more in than a queue of one; where nobody listens these are refused.
                    if let Ok(Ok(filler)) = timeout(SETTLE, TcpStream::connect(("127.0.0.1", server.port))).await {
                        self._fillers.push(filler);
                    }
                }
            }
        }
    }

    /// Opens all connections, and waits for those that do open.
    async fn open(&mut self) {
        for (library, number, way) in pairs() {
            let port = self.own.get(&number).unwrap_or(&self.common).port;
            let keepalive = way.peer == Peer::Pings;
            let line =
                json!({ "open": id(library, number), "url": format!("{}://127.0.0.1:{port}/", self.scheme), "keepalive": keepalive });
            self.libraries[library].tell(&line).await;
        }
        let opening: Vec<_> = pairs().filter(|(.., way)| opens(way)).map(|(library, number, _)| id(library, number)).collect();
        self.watch(Instant::now() + LONG, |stage| opening.iter().all(|id| stage.heard.has(id, "open"))).await;
        let missing: Vec<_> = opening.iter().filter(|id| !self.heard.has(id, "open")).collect();
        assert!(missing.is_empty(), "not opened: {missing:?}");
    }

    /// Has everything happen.
    async fn act(&mut self) {
        let mut on_common = Vec::new();
        for (library, number, way) in pairs() {
            if way.peer == Peer::Closes {
                self.libraries[library].tell(&json!({ "close": id(library, number) })).await;
            } else if let Some(Effect::Connection { gate, steps }) = asked(way) {
                let ids = [json!({ "client": client(library, number), "connection": 1 })];
                on_common.push(json!({ "Inject": { "dose": { "firing": { "fault": number, "number": 0 }, "gate": gate, "steps": steps }, "ids": ids } }));
            }
        }
        for command in on_common {
            self.common.tell(&command).await;
        }
        let processes: Vec<_> = self.own.keys().copied().collect();
        for number in &processes {
            if let Act::Kill { unread: true } | Act::Stop = WAYS[*number].act {
                self.own[number].signal(Signal::SIGSTOP);
            }
        }
        for (library, number, way) in pairs() {
            if let Act::Kill { unread: true } = way.act {
                self.libraries[library].tell(&json!({ "send": id(library, number) })).await;
            }
        }
        let sent = |stage: &Stage| {
            pairs().all(|(library, number, way)| {
                !matches!(way.act, Act::Kill { unread: true }) || stage.heard.has(&id(library, number), "sent")
            })
        };
        self.watch(Instant::now() + LONG, sent).await;
        sleep(SETTLE).await;
        for number in processes {
            let server = self.own.get_mut(&number).unwrap();
            match WAYS[number].act {
                Act::Kill { .. } => server.signal(Signal::SIGKILL),
                Act::Graceful(code) => {
                    let second = json!({ "secs": 1, "nanos": 0 });
                    let none = json!({ "secs": 0, "nanos": 0 });
                    let graceful = json!({ "fault": 0, "code": code, "reason": "restart", "grace": second, "spread": none });
                    server.tell(&json!({ "Graceful": graceful })).await;
                }
                _ => {}
            }
        }
    }

    /// Hears what is said until then, or until it is enough.
    async fn watch(&mut self, until: Instant, enough: impl Fn(&Stage) -> bool) {
        while !enough(self) {
            let said = tokio::select! {
                said = timeout_at(until, self.said.recv()) => said,
                line = self.common.line() => {
                    self.note(&line.expect("the server goes on"));
                    continue;
                }
            };
            let Ok(said) = said else { return };
            let (_, told) = said.expect("the libraries go on");
            if let Some(versions) = &told.versions {
                self.versions.extend(versions.clone());
            }
            self.heard.push(told);
        }
    }

    fn note(&mut self, line: &Value) {
        if let Some(line) = line.get("Ended") {
            let client = line["id"]["client"].as_u64().expect("each request bore an id") as u32;
            self.endings.insert(client, serde_json::from_value(line["ending"].clone()).expect("an ending"));
        }
    }

    async fn lines(self) -> Side {
        let mut lines: Vec<Line> = WAYS.iter().filter(|way| way.to_clients).map(Line::new).collect();
        let order: Vec<_> = WAYS.iter().enumerate().filter(|(_, way)| way.to_clients).map(|(number, _)| number).collect();
        for (library, number, way) in pairs() {
            let common = !self.own.contains_key(&number);
            let ended = self.endings.get(&client(library, number)).filter(|_| !way.holds_tcp());
            let id = id(library, number);
            let silent = common && self.heard.has(&id, "open");
            let wire =
                ended.map(|ended| wire(ended.wire_received, &ended.tcp_end.to_string())).or_else(|| silent.then(|| "nothing".to_owned()));
            let mut cell = self.heard.cell(&id, None, wire);
            if opens(way) {
                // It is the same in all cells.
                cell.told.retain(|told| told != "open");
            }
            cell.told.retain(|told| told != "sent");
            let line = order.iter().position(|of| *of == number).unwrap();
            lines[line].cells.insert(LIBRARIES[library].to_owned(), cell);
        }
        for library in self.libraries {
            library.end().await;
        }
        Side { versions: self.versions, lines }
    }
}

/// Whether the connection opens before something happens to it.
fn opens(way: &Way) -> bool {
    !matches!(asked(way), Some(Effect::Attempt(_) | Effect::Listener { .. }))
}
