//! An embedded server without a run around it: the test plays the parent that starts it, tells it what to do and reads its reports.

use closestorm::fault::{Effect, Side};
use closestorm::plan::Embedded;
use closestorm::scenario::{Overrides, Source, load};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

/// Longer than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// An embedded server process whose parent is the test.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) port: u16,
    #[allow(dead_code, reason = "ended when dropped; only one of the two test binaries does more")]
    child: Child,
    _reserved: socket2::Socket,
    to: UnboundedSender<String>,
    from: UnboundedReceiver<Value>,
    /// Hits left of each fault that has a bound, as the parent of servers keeps them: the server asks before each.
    budget: Arc<AtomicU32>,
    /// Lines that it has reported, without the first two.
    pub(crate) reports: Vec<Value>,
}

impl Server {
    /// Starts one and waits until it says that it listens.
    #[allow(dead_code, reason = "only one of the two test binaries does")]
    pub(crate) async fn start(settings: &Embedded) -> Server {
        Server::start_with(settings, Value::Null).await
    }

    /// [`Server::start`] with a certificate and its key.
    pub(crate) async fn start_with(settings: &Embedded, identity: Value) -> Server {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a link");
        ours.set_nonblocking(true).expect("a live socket");
        let (reserved, address) = reserve();
        let spec = json!({ "instance": 0, "process": 0, "processes": 1, "address": address, "seed": 1, "settings": settings, "identity": identity, "memory": usize::MAX });
        let child = Command::new(env!("CARGO_BIN_EXE_closestorm"))
            .arg("__server")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let (read, to) = UnixStream::from_std(ours).expect("a runtime").into_split();
        let budget = Arc::new(AtomicU32::new(0));
        let (to, from) = converse(read, to, budget.clone());
        let mut server = Server { port: address.port(), child, _reserved: reserved, to, from, budget, reports: Vec::new() };
        let hello = server.line().await.expect("a first line");
        assert_eq!(hello, json!({ "closestorm": "server", "version": 3 }));
        server.tell(&hello).await;
        server.tell(&json!({ "Serve": { "spec": spec, "workers": 0 } })).await;
        server.tell(&json!({ "Listen": { "tickets": vec![7; 32] } })).await;
        assert!(server.line().await.expect("a second line")["Listening"]["at_ns"].as_u64().is_some());
        server
    }

    /// What it reports next; `None`: it has ended.
    pub(crate) async fn line(&mut self) -> Option<Value> {
        timeout(LONG, self.from.recv()).await.expect("the server goes on")
    }

    /// Tells it something.
    pub(crate) async fn tell(&mut self, command: &Value) {
        self.to.send(command.to_string()).expect("the server reads");
    }

    /// Lets faults that have a bound hit so many times from now on.
    #[allow(dead_code, reason = "only one of the two test binaries does")]
    pub(crate) fn allow_hits(&self, hits: u32) {
        self.budget.store(hits, Ordering::Relaxed);
    }

    /// Sends it a signal.
    #[allow(dead_code, reason = "only one of the two test binaries does")]
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("it was not waited for");
        kill(Pid::from_raw(pid.cast_signed()), signal).expect("it lives");
    }

    /// Takes what it has reported until there are as many lines with this key.
    pub(crate) async fn reported(&mut self, key: &str, count: usize) -> Vec<Value> {
        loop {
            let found: Vec<_> = self.reports.iter().filter_map(|line| line.get(key)).cloned().collect();
            if found.len() >= count {
                return found;
            }
            let line = self.line().await.unwrap_or_else(|| panic!("the server ended after {:?}", self.reports));
            self.reports.push(line);
        }
    }
}

/// Carries lines both ways, and answers by itself what the server asks: a hit waits for the answer, whatever the test does meanwhile.
fn converse(read: OwnedReadHalf, mut write: OwnedWriteHalf, budget: Arc<AtomicU32>) -> (UnboundedSender<String>, UnboundedReceiver<Value>) {
    let (to, mut told) = unbounded_channel::<String>();
    let (say, from) = unbounded_channel();
    let answer = to.downgrade();
    tokio::spawn(async move {
        // The first is the hello.
        let (mut seal, mut greeted) = (closestorm::ipc::Seal::default(), false);
        while let Some(line) = told.recv().await {
            let line = if greeted { seal.close(line.into_bytes()) } else { format!("{line}\n").into_bytes() };
            greeted = true;
            if write.write_all(&line).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            // Behind the message stands a checksum, but for the hello.
            let line: Value = serde_json::Deserializer::from_str(&line).into_iter().next().expect("a message").expect("JSON");
            if let Some(ask) = line.get("Ask") {
                let granted = budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
                let words = json!({ "Answer": { "ticket": ask["ticket"], "granted": granted } });
                // The test may be over.
                let _ = answer.upgrade().map(|to| to.send(words.to_string()));
            } else if line == "Over" {
                let _ = answer.upgrade().map(|to| to.send(json!("Heard").to_string()));
            } else if say.send(line).is_err() {
                return;
            }
        }
    });
    (to, from)
}

/// A port for a server to listen on, kept free for it.
fn reserve() -> (socket2::Socket, std::net::SocketAddr) {
    let made = || -> io::Result<_> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.set_reuse_port(true)?;
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        let address = socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("no address"))?;
        Ok((socket, address))
    };
    made().expect("a free port")
}

/// What an injection on the server's side asks for; `inject` as in a scenario: `drop_fin = {}`.
pub(crate) fn effect(inject: &str) -> Effect {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("one.toml");
    let cohort = "[clients.one]\ncount = 1\n";
    let fault = format!("[[faults]]\nat = \"0s\"\nside = \"server\"\ninject = {{ {inject} }}\n");
    std::fs::write(&file, format!("duration = \"10s\"\n[target.embedded]\n{cohort}{fault}")).expect("the folder can be written");
    let plan = load(&Source::File(file), &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"));
    plan.faults[0].inject.effect(Side::Server)
}
