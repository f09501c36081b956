//! What the connections of a misbehaving server share: the seed, the log of the wire, and who is open.

use crate::close::Ending;
use crate::lock::lock;
use crate::seed::Seed;
use crate::serve::visits::Visitors;
use crate::serve::wire_log::{WireHub, WireLog, account};
use crate::transport::tls::Identity;
use crate::transport::tls_error::TlsError;
use crate::witness::Witness;
use crate::ws::session::mailbox::{Control, SessionCommand};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// How long connections have at the end to answer a Close frame.
const GOODBYE: Duration = Duration::from_secs(1);
/// Stands for the end of the server among the faults of a connection; steps have smaller numbers.
const STOPPED: u16 = u16::MAX;

/// Who is told, a line for each connection that ended and for each trouble.
pub type Told = Box<dyn Fn(String) + Send + Sync>;

/// What connections share.
pub(super) struct ServeContext {
    pub(super) seed: Seed,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) hub: Arc<WireHub>,
    told: Told,
    /// What is told are JSON objects.
    pub(super) in_json: bool,
    /// Who gives connections their steps, in place of their URLs.
    pub(super) visitors: Option<Arc<Visitors>>,
    /// Who records connections for a run folder.
    pub(super) witness: Option<Arc<Witness>>,
    /// `HOST:PORT` of the server that speaks to visitors; `None`: they get an echo.
    pub(super) upstream: Option<String>,
    /// Connections that asked for a WebSocket, so far.
    begun: AtomicU64,
    open: Mutex<BTreeMap<u64, Arc<Control>>>,
    open_count: watch::Sender<usize>,
}

/// An open connection that is known as long as this lives.
pub(super) struct Registered<'a>(&'a ServeContext, u64);

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let count = {
            let mut open = lock(&self.0.open);
            open.remove(&self.1);
            open.len()
        };
        self.0.open_count.send_replace(count);
    }
}

impl ServeContext {
    pub(super) fn new(seed: Seed, identity: Option<&Identity>, told: Told) -> Result<ServeContext, TlsError> {
        let tls = identity.map(|identity| identity.server(None).map(TlsAcceptor::from)).transpose()?;
        let (hub, begun, open, open_count) = (WireHub::new(), AtomicU64::new(0), Mutex::default(), watch::Sender::new(0));
        Ok(ServeContext { seed, tls, hub, told, in_json: false, visitors: None, witness: None, upstream: None, begun, open, open_count })
    }

    /// A connection asks for a WebSocket: its number, from 1, and who tells of it.
    pub(super) fn begin(&self, watch: &str) -> (u64, WireLog) {
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        (number, WireLog::new(self.hub.clone(), number, watch))
    }

    /// How many connections asked for a WebSocket so far.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// A connection is open.
    pub(super) fn register(&self, number: u64, control: &Arc<Control>) -> Registered<'_> {
        let count = {
            let mut open = lock(&self.open);
            open.insert(number, control.clone());
            open.len()
        };
        self.open_count.send_replace(count);
        Registered(self, number)
    }

    /// A connection has ended, of this number, with this client, which asked for this path; without an ending there was no open one.
    pub(super) fn ended(&self, (number, from, path): (u64, SocketAddr, &str), log: &WireLog, ending: Option<&Ending>) {
        log.ended(ending);
        if self.in_json {
            let mut line = json!({ "connection": number, "from": from.to_string(), "path": path, "opened": ending.is_some() });
            if let (Some(line), Some(Value::Object(mut account))) = (line.as_object_mut(), ending.map(account)) {
                line.append(&mut account);
            }
            return (self.told)(line.to_string());
        }
        let code = |code: Option<u16>| code.map_or("none".to_owned(), |code| code.to_string());
        let what = ending.map_or_else(
            || "no open connection".to_owned(),
            |ending| {
                let clean = if ending.clean { "clean" } else { "not clean" };
                format!("Close sent {}, received {}; {clean}", code(ending.wire_sent), code(ending.wire_received))
            },
        );
        (self.told)(format!("#{number} {from} {path}: {what}"));
    }

    /// Tells of trouble.
    pub(super) fn trouble(&self, what: String) {
        (self.told)(if self.in_json { json!({ "trouble": what }).to_string() } else { what });
    }

    /// Closes all connections with 1001, and waits for their clients, bounded.
    pub(super) async fn close_all(&self) {
        for control in lock(&self.open).values() {
            let reason = "closestorm serve ends".into();
            control.send(SessionCommand::Close { fault: STOPPED, code: crate::close::GOING_AWAY, reason });
        }
        // A client that does not answer is left behind.
        let _ = timeout(GOODBYE, self.open_count.subscribe().wait_for(|open| *open == 0)).await;
    }
}
