//! The target as the engine sees it: where its instances are, and what can be done to their processes.

use super::RunError;
use super::channel::{FromServer, ServerSpec, ToServer};
use super::journal::Journal;
use super::target::{self, CommandTarget, Guard, Recipe, Spec, port, signal_named};
use crate::event::{ClientIndex, ConnectionNo, Event};
use crate::net::tls::{self, Identity, Trust};
use crate::plan::{self, Balance, Plan, Ready, Target};
use rustls::pki_types::ServerName;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener as StdListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpStream, UnixListener};
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::http::Uri;

/// In which an embedded server must say hello and listen.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// In which one of several addresses of a host must take a TCP connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// In which an embedded server must exit once its grace is over.
const EXIT_WITHIN: Duration = Duration::from_secs(5);

/// Where clients connect to.
pub(super) struct Place {
    /// ws:// or wss:// URL with path.
    pub(super) url: String,
    /// Resolved.
    pub(super) address: SocketAddr,
    /// For wss.
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// The target.
pub(super) struct Fleet {
    places: Vec<Place>,
    balance: Balance,
    turn: AtomicU32,
    up: Vec<AtomicBool>,
    instances: Vec<AsyncMutex<CommandTarget>>,
    controls: Arc<Controls>,
    /// Faults that wait in the embedded servers for attempts and new connections; a process that starts again is told of them.
    standing: Mutex<Vec<(u16, ToServer)>>,
    stop_signal: Option<target::Signal>,
    guard: Option<Guard>,
    seed: crate::seed::Seed,
    /// Hold the ports of embedded instances while their processes are down.
    _reserved: Vec<port::Reserved>,
}

/// The lines to the embedded server processes.
#[derive(Default)]
struct Controls {
    senders: Mutex<BTreeMap<u16, mpsc::UnboundedSender<ToServer>>>,
    pids: watch::Sender<BTreeMap<u16, u32>>,
}

impl Fleet {
    /// Starts the target and waits until it is ready. Reports of embedded servers come out of the receiver.
    ///
    /// `program` is this program, `output` the file for what the target prints.
    ///
    /// # Errors
    /// If the target cannot be started or reached.
    pub(super) async fn start(
        plan: &Plan,
        program: &Path,
        output: &Path,
    ) -> Result<(Fleet, mpsc::UnboundedReceiver<FromServer>), RunError> {
        let (sender, reports) = mpsc::unbounded_channel();
        let fleet = match &plan.target {
            Target::Embedded(settings) => Self::embedded(plan, settings, program, output, sender).await?,
            Target::Command(command) => Self::command(plan, command, program, output).await?,
            Target::Url(remote) => Self::remote(plan, remote).await?,
        };
        Ok((fleet, reports))
    }

    fn bare(plan: &Plan, places: Vec<Place>) -> Fleet {
        Fleet {
            up: places.iter().map(|_| AtomicBool::new(true)).collect(),
            places,
            balance: Balance::RoundRobin,
            turn: AtomicU32::new(0),
            instances: Vec::new(),
            controls: Arc::default(),
            standing: Mutex::default(),
            stop_signal: None,
            guard: None,
            seed: plan.seed,
            _reserved: Vec::new(),
        }
    }

    async fn remote(plan: &Plan, remote: &plan::Remote) -> Result<Fleet, RunError> {
        let place = place(&remote.address, trust(remote.insecure, remote.ca.as_deref())).await?;
        Ok(Self::bare(plan, vec![place]))
    }

    async fn command(plan: &Plan, command: &plan::Command, program: &Path, output: &Path) -> Result<Fleet, RunError> {
        let guard = Guard::launch_from(program).await?;
        let mut instance = CommandTarget::of_command(&guard, 0, command, output).await?;
        instance.start_again().await?;
        let place = place(instance.url(), trust(command.insecure, command.ca.as_deref())).await?;
        Ok(Fleet {
            instances: vec![AsyncMutex::new(instance)],
            stop_signal: Some(signal_named(&command.stop_signal)?),
            guard: Some(guard),
            ..Self::bare(plan, vec![place])
        })
    }

    async fn embedded(
        plan: &Plan,
        settings: &plan::Embedded,
        program: &Path,
        output: &Path,
        reports: mpsc::UnboundedSender<FromServer>,
    ) -> Result<Fleet, RunError> {
        let guard = Guard::launch_from(program).await?;
        let identity = if settings.tls { Some(Identity::generate()?) } else { None };
        let token = format!("{:016x}{:016x}", crate::net::clock::monotonic_ns(), std::process::id());
        let report_to = format!("closestorm-{token}");
        let controls = Arc::new(Controls::default());
        controls.clone().listen(&report_to, token.clone(), reports).map_err(RunError::Io)?;
        let (mut places, mut instances, mut reserved) = (Vec::new(), Vec::new(), Vec::new());
        for instance in 0..settings.instances {
            let port = port::Reserved::new(IpAddr::V4(Ipv4Addr::LOCALHOST)).map_err(RunError::Io)?;
            let spec = ServerSpec {
                instance,
                address: port.addr(),
                report_to: report_to.clone(),
                token: token.clone(),
                seed: plan.seed.0,
                settings: settings.clone(),
                identity: identity.clone(),
            };
            let url = format!("{}://{}/", if settings.tls { "wss" } else { "ws" }, port.addr());
            let trust = identity.as_ref().map_or(Trust::Roots(None), |identity| Trust::Only(&identity.certificate));
            places.push(place(&url, trust).await?);
            let argument = serde_json::to_string(&spec).map_err(|error| RunError::Io(error.into()))?;
            let recipe = Recipe {
                spec: Spec {
                    argv: vec![program.display().to_string(), "__server".into(), argument],
                    env: BTreeMap::new(),
                    workdir: None,
                    output: output.to_path_buf(),
                },
                url,
                addrs: vec![port.addr()],
                ready: Ready::Tcp,
                ready_within: HELLO_WITHIN,
                port_held: true,
            };
            instances.push(AsyncMutex::new(CommandTarget::new(&guard, instance, recipe)));
            reserved.push(port);
        }
        let fleet =
            Fleet { balance: settings.balance, instances, controls, guard: Some(guard), _reserved: reserved, ..Self::bare(plan, places) };
        for instance in 0..settings.instances {
            fleet.launch(instance).await?;
        }
        Ok(fleet)
    }

    /// Whether the server is not the embedded one: it gives no account of its own.
    pub(super) fn is_foreign(&self) -> bool {
        self.stop_signal.is_some()
    }

    /// Where an instance is.
    pub(super) fn place(&self, instance: u16) -> &Place {
        &self.places[usize::from(instance)]
    }

    /// The instances that a fault names: one, or all.
    pub(super) fn named(&self, instance: Option<u16>) -> Vec<u16> {
        let all = 0..u16::try_from(self.places.len()).unwrap_or(u16::MAX);
        all.filter(|index| instance.is_none_or(|named| named == *index)).collect()
    }

    /// The instance that an attempt goes to.
    pub(super) fn choose(&self, client: ClientIndex, connection: ConnectionNo) -> u16 {
        let count = u32::try_from(self.places.len()).unwrap_or(1).max(1);
        let index = match self.balance {
            Balance::RoundRobin => self.turn.fetch_add(1, Ordering::Relaxed) % count,
            Balance::Sticky => client.0 % count,
            Balance::Random => self.seed.stream(&format!("client/{}/balance/{}", client.0, connection.0)).below(u64::from(count)) as u32,
            Balance::Healthy => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                let up = |index: &u32| self.up[*index as usize].load(Ordering::Relaxed);
                (0..count).map(|step| (turn + step) % count).find(up).unwrap_or(turn % count)
            }
        };
        index as u16
    }

    /// Tells an embedded server something; nothing happens while it is down.
    pub(super) fn tell(&self, instance: u16, command: ToServer) {
        let senders = self.controls.senders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = senders.get(&instance) {
            let _ = sender.send(command);
        }
    }

    /// Tells all embedded servers of a fault that waits for attempts or new connections, also those that start later.
    pub(super) fn stand(&self, fault: u16, command: ToServer) {
        self.named(None).into_iter().for_each(|instance| self.tell(instance, command.clone()));
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).push((fault, command));
    }

    /// Tells all embedded servers that a fault is over.
    pub(super) fn revert(&self, fault: u16) {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).retain(|(standing, _)| *standing != fault);
        self.named(None).into_iter().for_each(|instance| self.tell(instance, ToServer::Revert { fault }));
    }

    async fn launch(&self, instance: u16) -> Result<(u64, u64), RunError> {
        let mut target = self.instances[usize::from(instance)].lock().await;
        let up = target.start_again().await?;
        if self.stop_signal.is_none() {
            let mut pids = self.controls.pids.subscribe();
            let hello = pids.wait_for(|pids| pids.get(&instance) == Some(&up.pid));
            timeout(HELLO_WITHIN, hello).await.map_err(|_| RunError::NoHello { instance }).map(drop)?;
            let standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone();
            standing.into_iter().for_each(|(_, command)| self.tell(instance, command));
        }
        self.up[usize::from(instance)].store(true, Ordering::Relaxed);
        Ok((up.started_at, up.ready_at))
    }

    fn down(&self, instance: u16) {
        self.up[usize::from(instance)].store(false, Ordering::Relaxed);
    }

    /// SIGKILL; returns when it was delivered.
    ///
    /// # Errors
    /// If there is no process to kill.
    pub(super) async fn crash(&self, instance: u16, journal: &Journal) -> Result<Duration, RunError> {
        self.down(instance);
        let down = self.instances[usize::from(instance)].lock().await.crash().await?;
        let at = journal.offset(down.signalled_at);
        journal.record_at(at, &happened(instance, "down", "SIGKILL"));
        Ok(at)
    }

    /// Starts an instance again, and says so.
    pub(super) async fn start_again(&self, instance: u16, journal: &Journal) {
        match self.launch(instance).await {
            Ok((started, ready)) => {
                journal.record_at(journal.offset(started), &happened(instance, "started", ""));
                journal.record_at(journal.offset(ready), &happened(instance, "listening", ""));
            }
            Err(error) => journal.record(&happened(instance, "exited", &format!("did not start again: {error}"))),
        }
    }

    /// Asks an instance to end by itself, and waits until it has.
    ///
    /// # Errors
    /// If there is no process to stop.
    pub(super) async fn stop(&self, instance: u16, graceful: ToServer, grace: Duration, journal: &Journal) -> Result<(), RunError> {
        self.down(instance);
        let mut target = self.instances[usize::from(instance)].lock().await;
        journal.record(&happened(instance, "stopping", ""));
        let down = match self.stop_signal {
            Some(signal) => target.stop(signal, grace).await?,
            // The server keeps the grace itself; the margin is for its exit.
            None => target.stop_by(|| self.tell(instance, graceful), grace + EXIT_WITHIN).await?,
        };
        let detail = if down.forced { "grace was over: SIGKILL".to_owned() } else { down.exit.how.to_string() };
        journal.record_at(journal.offset(down.gone_at), &happened(instance, "down", &detail));
        Ok(())
    }

    /// SIGSTOP; returns when it was delivered.
    ///
    /// # Errors
    /// If there is no process.
    pub(super) async fn pause(&self, instance: u16, journal: &Journal) -> Result<Duration, RunError> {
        let at = journal.offset(self.instances[usize::from(instance)].lock().await.pause().await?);
        journal.record_at(at, &happened(instance, "paused", ""));
        Ok(at)
    }

    /// SIGCONT, if the process that was paused is still there.
    pub(super) async fn resume(&self, instance: u16, journal: &Journal) {
        let mut target = self.instances[usize::from(instance)].lock().await;
        if target.is_paused()
            && let Ok(at) = target.resume().await
        {
            journal.record_at(journal.offset(at), &happened(instance, "resumed", ""));
        }
    }

    /// Follows process ends that nobody asked for.
    pub(super) fn watch(self: &Arc<Self>, journal: Arc<Journal>) {
        let Some(guard) = &self.guard else { return };
        let (mut exits, fleet) = (guard.exits(), self.clone());
        tokio::spawn(async move {
            while let Ok(exit) = exits.recv().await {
                if !exit.asked {
                    fleet.down(exit.slot);
                    journal.record_at(journal.offset(exit.at), &happened(exit.slot, "exited", &format!("by itself: {}", exit.how)));
                    journal.notice(format!("the target ended by itself: {}", exit.how));
                }
            }
        });
    }

    /// Ends all processes and waits for them.
    pub(super) async fn shut_down(&self) {
        if let Some(guard) = &self.guard
            && let Err(error) = guard.shutdown().await
        {
            // Nobody to tell where stderr is closed.
            let _ = writeln!(io::stderr(), "closestorm: {error}");
        }
    }
}

fn happened(instance: u16, what: &'static str, detail: &str) -> Event {
    Event::Target { instance, what, detail: detail.to_owned() }
}

impl Controls {
    /// Takes the reports of server processes, of whichever incarnation.
    fn listen(self: Arc<Self>, name: &str, token: String, reports: mpsc::UnboundedSender<FromServer>) -> io::Result<()> {
        let listener = StdListener::bind_addr(&UnixAddr::from_abstract_name(name)?)?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(self.clone().follow(stream, token.clone(), reports.clone()));
            }
        });
        Ok(())
    }

    async fn follow(self: Arc<Self>, stream: tokio::net::UnixStream, token: String, reports: mpsc::UnboundedSender<FromServer>) {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::with_capacity(64 * 1024, read).lines();
        let hello = lines.next_line().await.ok().flatten().and_then(|line| serde_json::from_str(&line).ok());
        let Some(FromServer::Hello { instance, token: shown, pid }) = hello else { return };
        if shown != token {
            return;
        }
        let (sender, mut commands) = mpsc::unbounded_channel();
        self.senders.lock().unwrap_or_else(PoisonError::into_inner).insert(instance, sender);
        self.pids.send_modify(|pids| _ = pids.insert(instance, pid));
        let writing = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            while let Some(command) = commands.recv().await {
                let Ok(mut line) = serde_json::to_vec(&command) else { continue };
                line.push(b'\n');
                if write.write_all(&line).await.is_err() {
                    return;
                }
            }
        });
        while let Ok(Some(line)) = lines.next_line().await {
            if let Ok(line) = serde_json::from_str(&line) {
                let _ = reports.send(line);
            }
        }
        writing.abort();
    }
}

fn trust(insecure: bool, ca: Option<&Path>) -> Trust<'_> {
    if insecure { Trust::Anything } else { Trust::Roots(ca) }
}

/// Resolves a URL.
pub(super) async fn place(url: &str, trust: Trust<'_>) -> Result<Place, RunError> {
    let wrong = |cause: String| RunError::Address { url: url.to_owned(), cause };
    let uri: Uri = url.parse().map_err(|error| wrong(format!("{error}")))?;
    let host = uri.host().ok_or_else(|| wrong("no host".into()))?.trim_matches(['[', ']']).to_owned();
    let secure = match uri.scheme_str() {
        Some("ws") => false,
        Some("wss") => true,
        _ => return Err(wrong("the scheme must be ws:// or wss://".into())),
    };
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let found = tokio::net::lookup_host((host.as_str(), port)).await;
    let found = found.map_err(|error| wrong(format!("cannot resolve {host}: {error}; check the name of the host")))?;
    let address = answering(&found.collect::<Vec<_>>()).await.ok_or_else(|| wrong(format!("{host} has no address")))?;
    let tls = if secure {
        let name = ServerName::try_from(host.clone()).map_err(|error| wrong(error.to_string()))?;
        Some((TlsConnector::from(tls::client(trust)?), name))
    } else {
        None
    };
    Ok(Place { url: url.to_owned(), address, tls })
}

/// The first address that takes a TCP connect, or the first where none does: `localhost` is often ::1 and 127.0.0.1, and only one of
/// them served.
async fn answering(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    if addresses.len() > 1 {
        for address in addresses {
            if matches!(timeout(CONNECT_WITHIN, TcpStream::connect(address)).await, Ok(Ok(_))) {
                return Some(*address);
            }
        }
    }
    addresses.first().copied()
}

/// This program, for server processes and the guard: the binary that runs, not a file that may have been rebuilt.
pub fn this_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}
