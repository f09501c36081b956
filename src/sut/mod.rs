//! The target as the engine sees it: where its instances are, and what can be done to them.

pub mod command;
pub(crate) mod control_links;
pub(crate) mod endpoint;
pub(crate) mod error;
pub(crate) mod in_memory;
pub(crate) mod processes;
pub(crate) mod supervisor;
pub(crate) mod target_events;

use crate::event::{ClientIndex, ConnectionNo, Event};
use crate::fault::OnListener;
use crate::lock::lock;
use crate::number::counted;
use crate::plan;
use crate::plan::{Balance, Firing, ModelBalance, Plan, Ready, Shard, Target};
use crate::recorder::SharedRecorder;
use crate::server::protocol::{ServerSpec, ToServer};
use crate::sut::command::Exit;
use crate::sut::command::guarded::{guarded, unless};
use crate::sut::command::handle::{Guard, Spec};
use crate::sut::command::output::OutputLimit;
use crate::sut::command::port;
use crate::sut::command::process::{CommandTarget, Recipe, signal_named};
use crate::sut::control_links::{ControlLinks, Member, Reports, ToWorkers};
use crate::sut::endpoint::Endpoint;
use crate::sut::error::RunError;
use crate::sut::in_memory::InMemoryServers;
use crate::sut::processes::{HELLO_WITHIN, Instances, Stopped};
use crate::sut::supervisor::Supervisor;
use crate::sut::target_events::{TargetEvent, TargetEvents};
use crate::transport::clock::Clock;
use crate::transport::memory::network::Network;
use crate::transport::tls::Identity;
use crate::ws::handshake::own_headers::RunKey;
use crate::ws::memory;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex as AsyncMutex, mpsc};

/// What an attempt takes at least in memory; tokio's timers have no less.
const LEAST_ATTEMPT: Duration = Duration::from_millis(1);

/// The target.
pub(crate) struct Fleet {
    places: Vec<Endpoint>,
    balance: Balance,
    turn: AtomicU32,
    up: Vec<AtomicBool>,
    lines: Arc<ControlLinks>,
    /// `None`: the servers are another's business.
    keeper: Option<Supervisor>,
    /// Certificate of the embedded server.
    certificate: Option<String>,
    /// Its clients are real ones.
    pub(crate) is_of_real: bool,
    crew: TargetEvents,
    seed: crate::seed::Seed,
    /// Firings that have stopped an instance and are not over.
    paused: Mutex<BTreeMap<u16, BTreeSet<Firing>>>,
    /// Firings that keep instances from listening, and which.
    refusing: Mutex<BTreeMap<Firing, Vec<u16>>>,
}

/// What a process must know to use a target that another one has started.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Routes {
    /// URL, the address that answered, and all that were resolved, by instance.
    places: Vec<(String, SocketAddr, Vec<SocketAddr>)>,
    /// Certificate of the embedded server, PEM, where it has one.
    certificate: Option<String>,
    /// By which embedded servers know the clients of the run.
    key: Option<RunKey>,
}

/// How a target is started.
pub(crate) struct TargetSetting<'a> {
    pub(crate) plan: &'a Plan,
    /// This program; `None`: embedded servers are tasks of this process, and there can be no other processes.
    pub(crate) program: Option<PathBuf>,
    /// File for what the target prints.
    pub(crate) output: PathBuf,
    /// How server processes get their links to the workers.
    pub(crate) workers: ToWorkers,
    /// Where workers hear of the target.
    pub(crate) crew: TargetEvents,
    /// Real clients come to its embedded servers.
    pub(crate) real: Option<RealPlace>,
}

/// Where real clients come to embedded servers.
#[derive(Clone, Debug)]
pub struct RealPlace {
    /// Of the first instance; the others take free ports of its IP address. Port 0 is a free one, too.
    pub listen: SocketAddr,
    /// With which certificate, where the servers speak TLS; `None`: one that is made for them.
    pub identity: Option<Identity>,
}

/// The balance of a target.
fn balance(target: &Target) -> Balance {
    if let Target::Embedded(settings) = target { settings.balance } else { Balance::RoundRobin }
}

impl Fleet {
    /// Starts the target and waits until it is ready. Reports of embedded servers come out of the receiver.
    ///
    /// # Errors
    /// If the target cannot be started or reached, or what `give_up` resolves with; none of its processes is left then.
    pub(crate) async fn start(
        setting: TargetSetting<'_>,
        mut give_up: Pin<&mut impl Future<Output = RunError>>,
    ) -> Result<(Fleet, Reports), RunError> {
        if let (Target::Embedded(settings), None) = (&setting.plan.target, &setting.program) {
            let (fleet, reports) = Self::of_tasks(setting.plan, settings, Clock::Machine, None).await?;
            return Ok((Fleet { crew: setting.crew, ..fleet }, reports));
        }
        let (lines, reports) = match &setting.plan.target {
            Target::Embedded(_) => ControlLinks::new(),
            // A server that is not embedded reports nothing.
            Target::Command(_) | Target::Url(_) => (Arc::default(), Reports::none()),
        };
        let fleet = match &setting.plan.target {
            Target::Embedded(settings) => {
                let guard = launch_guard(&setting, give_up.as_mut()).await?;
                guarded(&guard.clone(), unless(give_up, Box::pin(Self::embedded(&setting, settings, guard, lines)))).await?
            }
            Target::Command(command) => {
                let guard = launch_guard(&setting, give_up.as_mut()).await?;
                guarded(&guard.clone(), unless(give_up, Box::pin(Self::command(&setting, command, guard, lines)))).await?
            }
            Target::Url(remote) => {
                let resolving = endpoint::resolve(remote.address.clone(), endpoint::access(&setting.plan.target, None));
                let place = unless(give_up, resolving).await?;
                Self::bare(setting.plan, vec![place], lines)
            }
        };
        Ok((Fleet { is_of_real: setting.real.is_some(), crew: setting.crew, ..fleet }, reports))
    }

    /// The embedded servers of a plan as tasks of this process, on memory wires; they listen when this returns.
    ///
    /// # Errors
    /// If their certificate is of no use.
    pub(crate) async fn in_memory(plan: &Plan, settings: &plan::Embedded, clock: Clock) -> Result<(Fleet, Reports), RunError> {
        Self::of_tasks(plan, settings, clock, Some(Network::default())).await
    }

    /// The embedded servers of a plan as tasks of this process, on a network in memory or on sockets; they listen when this returns.
    async fn of_tasks(
        plan: &Plan,
        settings: &plan::Embedded,
        clock: Clock,
        network: Option<Network>,
    ) -> Result<(Fleet, Reports), RunError> {
        let identity = if settings.tls { Some(Identity::generate()?) } else { None };
        let trust = endpoint::trust(&plan.target, identity.as_ref().map(|identity| identity.certificate.as_str()));
        let (reports, receiver) = mpsc::unbounded_channel();
        let (mut places, mut specs, mut reserved) = (Vec::new(), Vec::new(), Vec::new());
        // On sockets there may be others, who are none of the run's clients.
        let key = if network.is_none() { Some(RunKey::generate()?) } else { None };
        for instance in 0..settings.instances {
            let address = if network.is_some() {
                // Any port will do: nobody else is there.
                SocketAddr::from((Ipv4Addr::LOCALHOST, instance.saturating_add(1)))
            } else {
                let port = port::Reserved::new(IpAddr::V4(Ipv4Addr::LOCALHOST)).map_err(RunError::Io)?;
                let address = port.addr();
                reserved.push(port);
                address
            };
            let url = format!("{}://{address}/", if settings.tls { "wss" } else { "ws" });
            places.push(Endpoint { memory: network.clone(), key: key.clone(), ..endpoint::at(endpoint::read(&url)?, address, trust)? });
            specs.push(ServerSpec {
                instance,
                process: 0,
                processes: 1,
                address,
                seed: plan.seed.0,
                settings: settings.clone(),
                identity: identity.clone(),
                memory: memory::limit(),
                key: key.clone(),
                real: false,
            });
        }
        let keeper = Supervisor::Memory(InMemoryServers::new(network, clock, reports, (specs, reserved)));
        let fleet = Fleet { keeper: Some(keeper), ..Self::bare(plan, places, Arc::default()) };
        for instance in 0..settings.instances {
            fleet.launch(instance).await?;
        }
        Ok((fleet, Reports::Here(receiver)))
    }

    /// Embedded servers whose guard and processes tests play, without TLS. What one listens on is of no matter.
    #[cfg(test)]
    pub(crate) async fn played(
        setting: TargetSetting<'_>,
        settings: &plan::Embedded,
        guard: Guard,
        give_up: Pin<&mut impl Future<Output = RunError>>,
    ) -> Result<(Fleet, Reports), RunError> {
        let (lines, reports) = ControlLinks::new();
        let fleet = guarded(&guard.clone(), unless(give_up, Box::pin(Self::played_by(guard, &setting, settings, lines)))).await?;
        Ok((Fleet { crew: setting.crew, ..fleet }, reports))
    }

    #[cfg(test)]
    async fn played_by(
        guard: Guard,
        setting: &TargetSetting<'_>,
        settings: &plan::Embedded,
        lines: Arc<ControlLinks>,
    ) -> Result<Fleet, RunError> {
        let processes = settings.processes.unwrap_or(1);
        let (mut places, mut instances) = (Vec::new(), Instances::new(guard, OutputLimit::none()));
        instances.workers = setting.workers.clone();
        for instance in 0..settings.instances {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, instance.saturating_add(1)));
            let url = format!("ws://{address}/");
            places.push(endpoint::at(endpoint::read(&url)?, address, endpoint::trust(&setting.plan.target, None))?);
            let member = |process| {
                let (settings, seed) = (settings.share(process, processes), setting.plan.seed.0);
                let spec = ServerSpec {
                    instance,
                    process,
                    processes,
                    address,
                    seed,
                    settings,
                    identity: None,
                    memory: memory::limit(),
                    key: None,
                    real: false,
                };
                let target = CommandTarget::new(&instances.guard, instance * processes + process, recipe(setting, &spec, url.clone()));
                (AsyncMutex::new(target), spec)
            };
            let (members, specs) = (0..processes).map(member).unzip();
            instances.members.push(members);
            instances.specs.push(specs);
        }
        let fleet = Fleet { keeper: Some(Supervisor::Processes(instances)), ..Self::bare(setting.plan, places, lines) };
        for instance in 0..settings.instances {
            fleet.launch(instance).await?;
        }
        Ok(fleet)
    }

    /// A target that another process has started. `lines`: where its server processes report to this one.
    ///
    /// # Errors
    /// If its certificate is of no use.
    pub(crate) fn attach(plan: &Plan, shard: Shard, routes: &Routes, lines: Arc<ControlLinks>) -> Result<Fleet, RunError> {
        let access = endpoint::access(&plan.target, routes.certificate.as_deref());
        let place = |(url, answered, addresses): &(String, SocketAddr, Vec<SocketAddr>)| {
            let place = endpoint::at_any(endpoint::read(url)?, addresses.clone(), access)?;
            Ok::<_, RunError>(Endpoint { key: routes.key.clone(), address: *answered, ..place })
        };
        let places = routes.places.iter().map(place).collect::<Result<_, _>>()?;
        let fleet = Self::bare(plan, places, lines);
        // Turns of several processes begin at different places.
        fleet.turn.store(shard.index, Ordering::Relaxed);
        Ok(fleet)
    }

    /// What another process must know to use this target.
    pub(crate) fn routes(&self) -> Routes {
        let route = |place: &Endpoint| (place.url.as_written().to_owned(), place.address, place.addresses().to_vec());
        let places = self.places.iter().map(route).collect();
        let key = self.places.first().and_then(|place| place.key.clone());
        Routes { places, certificate: self.certificate.clone(), key }
    }

    fn bare(plan: &Plan, places: Vec<Endpoint>, lines: Arc<ControlLinks>) -> Fleet {
        Fleet {
            up: places.iter().map(|_| AtomicBool::new(true)).collect(),
            places,
            balance: balance(&plan.target),
            turn: AtomicU32::new(0),
            lines,
            keeper: None,
            certificate: None,
            is_of_real: false,
            crew: TargetEvents::default(),
            seed: plan.seed,
            paused: Mutex::default(),
            refusing: Mutex::default(),
        }
    }

    async fn command(
        setting: &TargetSetting<'_>,
        command: &plan::Command,
        guard: Guard,
        lines: Arc<ControlLinks>,
    ) -> Result<Fleet, RunError> {
        let output = OutputLimit::of(setting.output.clone());
        let mut instance = CommandTarget::of_command(&guard, 0, command, &setting.output).await?;
        instance.start_again().await?;
        let place = endpoint::resolve(endpoint::read(instance.url())?, endpoint::trust(&setting.plan.target, None)).await?;
        let mut instances = Instances::new(guard, output);
        instances.members = vec![vec![AsyncMutex::new(instance)]];
        instances.stop_signal = Some(signal_named(&command.stop_signal)?);
        Ok(Fleet { keeper: Some(Supervisor::Processes(instances)), ..Self::bare(setting.plan, vec![place], lines) })
    }

    async fn embedded(
        setting: &TargetSetting<'_>,
        settings: &plan::Embedded,
        guard: Guard,
        lines: Arc<ControlLinks>,
    ) -> Result<Fleet, RunError> {
        let own = setting.real.as_ref().and_then(|real| real.identity.clone());
        let identity = match own {
            None if settings.tls => Some(Identity::generate()?),
            own => own,
        };
        let processes = settings.processes.unwrap_or(1);
        let key = RunKey::generate()?;
        let (mut places, mut instances) = (Vec::new(), Instances::new(guard, OutputLimit::of(setting.output.clone())));
        instances.workers = setting.workers.clone();
        let trust = endpoint::trust(&setting.plan.target, identity.as_ref().map(|identity| identity.certificate.as_str()));
        for instance in 0..settings.instances {
            let port = match &setting.real {
                Some(real) if instance == 0 => port::Reserved::at(real.listen)
                    .map_err(|error| std::io::Error::new(error.kind(), format!("cannot listen at {}: {error}", real.listen))),
                Some(real) => port::Reserved::new(real.listen.ip()),
                None => port::Reserved::new(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            };
            let port = port.map_err(RunError::Io)?;
            let url = format!("{}://{}/", if settings.tls { "wss" } else { "ws" }, port.addr());
            places.push(Endpoint { key: Some(key.clone()), ..endpoint::at(endpoint::read(&url)?, port.addr(), trust)? });
            let member = |process| {
                let spec = ServerSpec {
                    instance,
                    process,
                    processes,
                    address: port.addr(),
                    seed: setting.plan.seed.0,
                    settings: settings.share(process, processes),
                    identity: identity.clone(),
                    memory: memory::limit(),
                    key: Some(key.clone()),
                    real: setting.real.is_some(),
                };
                let target = CommandTarget::new(&instances.guard, instance * processes + process, recipe(setting, &spec, url.clone()));
                (AsyncMutex::new(target), spec)
            };
            let (members, specs) = (0..processes).map(member).unzip();
            instances.members.push(members);
            instances.specs.push(specs);
            instances.reserved.push(port);
        }
        let certificate = identity.map(|identity| identity.certificate);
        let fleet = Fleet { keeper: Some(Supervisor::Processes(instances)), certificate, ..Self::bare(setting.plan, places, lines) };
        for instance in 0..settings.instances {
            fleet.launch(instance).await?;
        }
        Ok(fleet)
    }

    /// Whether the server is not the embedded one: it gives no account of its own.
    pub(crate) fn is_foreign(&self) -> bool {
        self.keeper.as_ref().is_some_and(Supervisor::is_foreign)
    }

    /// Whether nothing of it is a process or a socket.
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(&self.keeper, Some(Supervisor::Memory(houses)) if houses.is_in_memory())
    }

    /// When a client whose last attempt began at `begun` may try again at the earliest. In memory nothing takes time, and one that does not
    /// wait would try for ever in the same moment.
    pub(crate) fn rests_until(&self, begun: Option<Duration>, now: Duration) -> Duration {
        if self.is_in_memory() && begun == Some(now) { now + LEAST_ATTEMPT } else { Duration::ZERO }
    }

    /// Where an instance is.
    pub(crate) fn place(&self, instance: u16) -> &Endpoint {
        &self.places[usize::from(instance)]
    }

    /// Whether all its addresses are on this machine, as those in memory are.
    pub(crate) fn is_here(&self) -> bool {
        self.places.iter().all(Endpoint::is_here)
    }

    /// Whether clients talk TLS to it.
    pub(crate) fn is_secure(&self) -> bool {
        self.places.iter().any(|place| place.tls.is_some())
    }

    /// The instances that a fault names: one, or all.
    pub(crate) fn named(&self, instance: Option<u16>) -> Vec<u16> {
        let all = 0..u16::try_from(self.places.len()).unwrap_or(u16::MAX);
        all.filter(|index| instance.is_none_or(|named| named == *index)).collect()
    }

    /// The instance that an attempt goes to.
    pub(crate) fn choose(&self, client: ClientIndex, connection: ConnectionNo) -> u16 {
        let count = u32::try_from(self.places.len()).unwrap_or(1).max(1);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let refuses = |index: u32| self.refusing().values().flatten().any(|refusing| u32::from(*refusing) == index);
        let listens = |index: u32| self.up[index as usize].load(Ordering::Relaxed) && !refuses(index);
        // By their load an engine that shares its clients with others cannot tell instances apart.
        let index = ModelBalance::from(self.balance).choose((count, turn), (client.0, connection.0), self.seed, listens, |_| 0);
        index as u16
    }

    /// Tells an embedded server something; nothing happens while it is down.
    pub(crate) fn tell(&self, instance: u16, command: &ToServer) {
        self.lines.tell(instance, command);
    }

    /// The links to embedded server processes.
    pub(crate) fn lines(&self) -> &ControlLinks {
        &self.lines
    }

    /// Answers what a server process has asked.
    pub(crate) fn answer(&self, member: Member, command: ToServer) {
        self.lines.tell_one(member, command);
    }

    /// Tells all embedded servers of a fault that waits for attempts or new connections, also those that start later. The process
    /// that has the servers does so, once for all clients.
    pub(crate) fn stand(&self, firing: Firing, command: ToServer) {
        if let ToServer::Listener { on: OnListener::Closed, instance, .. } = command {
            // Whoever chooses among instances knows it, as of those that are down.
            self.refusing().insert(firing, self.named(instance));
        }
        let Some(keeper) = &self.keeper else { return };
        self.named(None).into_iter().for_each(|instance| self.tell(instance, &command));
        keeper.standing().push((firing, command));
    }

    /// Tells all embedded servers that a firing is over.
    pub(crate) fn revert(&self, firing: Firing) {
        self.refusing().remove(&firing);
        let Some(keeper) = &self.keeper else { return };
        keeper.standing().retain(|(standing, _)| *standing != firing);
        self.named(None).into_iter().for_each(|instance| self.tell(instance, &ToServer::Revert { firing }));
    }

    fn keeper(&self) -> Result<&Supervisor, RunError> {
        self.keeper.as_ref().ok_or(RunError::Target(crate::sut::command::error::Error::NotRunning))
    }

    async fn launch(&self, instance: u16) -> Result<(u64, u64), RunError> {
        let up = self.keeper()?.launch(instance, &self.lines).await?;
        self.set_up(instance, true);
        // Workers may hear of it a little later.
        drop(self.crew.tell(TargetEvent::Up { instance, up: true }));
        Ok((up.first, up.last))
    }

    fn refusing(&self) -> MutexGuard<'_, BTreeMap<Firing, Vec<u16>>> {
        lock(&self.refusing)
    }

    fn paused(&self) -> MutexGuard<'_, BTreeMap<u16, BTreeSet<Firing>>> {
        lock(&self.paused)
    }

    /// An instance is to go down, or is gone.
    fn down(&self, instance: u16) {
        self.set_up(instance, false);
        drop(self.crew.tell(TargetEvent::Up { instance, up: false }));
    }

    /// Whether an instance takes connections, or stands still; not one that is gone or about to go.
    pub(crate) fn is_up(&self, instance: u16) -> bool {
        self.up.get(usize::from(instance)).is_some_and(|up| up.load(Ordering::Relaxed))
    }

    /// Notes whether an instance takes connections.
    pub(crate) fn set_up(&self, instance: u16, up: bool) {
        if let Some(state) = self.up.get(usize::from(instance)) {
            state.store(up, Ordering::Relaxed);
        }
    }

    /// SIGKILL; returns when it was delivered.
    ///
    /// # Errors
    /// If there is no process to kill.
    pub(crate) async fn crash(&self, instance: u16, journal: &SharedRecorder) -> Result<Duration, RunError> {
        self.down(instance);
        self.paused().remove(&instance);
        let at = journal.offset(self.keeper()?.crash(instance).await?);
        journal.record_at(at, &happened(instance, "down", "SIGKILL"));
        Ok(at)
    }

    /// Starts an instance again, and says so.
    ///
    /// # Errors
    /// If it does not start, or is not ready in its time.
    pub(crate) async fn start_again(&self, instance: u16, journal: &SharedRecorder) -> Result<(), RunError> {
        match self.launch(instance).await {
            Ok((started, ready)) => {
                journal.record_at(journal.offset(started), &happened(instance, "started", ""));
                journal.record_at(journal.offset(ready), &happened(instance, "listening", ""));
                Ok(())
            }
            Err(error) => {
                journal.record(&happened(instance, "exited", &format!("did not restart: {error}")));
                Err(RunError::NotBack(error.to_string()))
            }
        }
    }

    /// Asks an instance to end by itself, and waits until it has.
    ///
    /// # Errors
    /// If there is no process to stop.
    pub(crate) async fn stop(&self, instance: u16, graceful: ToServer, grace: Duration, journal: &SharedRecorder) -> Result<(), RunError> {
        if !self.is_up(instance) {
            return Err(RunError::Target(crate::sut::command::error::Error::NotRunning));
        }
        self.down(instance);
        self.paused().remove(&instance);
        journal.record(&happened(instance, "stopping", ""));
        let Stopped { gone_at, how, well } = self.keeper()?.stop(instance, &graceful, grace, &self.lines).await?;
        let at = journal.offset(gone_at);
        journal.record_at(at, &happened(instance, "down", &how));
        if !self.is_foreign() && !well {
            journal.record_at(
                at,
                &unplanned(format!("server {instance} stopped before all that it told was read ({how}): endings may be missing")),
            );
        }
        Ok(())
    }

    /// SIGSTOP; returns when it was delivered.
    ///
    /// # Errors
    /// If there is no process.
    pub(crate) async fn pause(&self, firing: Firing, instance: u16, journal: &SharedRecorder) -> Result<Duration, RunError> {
        // One that stands still already has nothing to say, and is not asked.
        let asked = self.paused().get(&instance).is_none_or(BTreeSet::is_empty).then_some(&*self.lines);
        let at = journal.offset(self.keeper()?.pause(instance, asked).await?);
        self.paused().entry(instance).or_default().insert(firing);
        journal.record_at(at, &happened(instance, "paused", ""));
        Ok(at)
    }

    /// SIGCONT, when the last firing that has stopped the instance is over; nothing if the plan has ended that process meanwhile.
    ///
    /// # Errors
    /// If a process that was paused is gone.
    pub(crate) async fn resume(&self, firing: Firing, instance: u16, journal: &SharedRecorder) -> Result<(), RunError> {
        let goes_on = match self.paused().get_mut(&instance) {
            Some(firings) => firings.remove(&firing) && firings.is_empty(),
            None => false,
        };
        if !goes_on {
            return Ok(());
        }
        let at = self.keeper()?.resume(instance, &self.lines).await?;
        journal.record_at(journal.offset(at), &happened(instance, "resumed", ""));
        Ok(())
    }

    /// Follows process ends that nobody asked for.
    pub(crate) fn watch(self: &Arc<Self>, journal: Arc<SharedRecorder>) {
        let Some(Supervisor::Processes(instances)) = &self.keeper else { return };
        let (mut exits, fleet) = (instances.guard.exits(), self.clone());
        let (guard, told) = (instances.guard.clone(), journal.clone());
        tokio::spawn(async move {
            loop {
                let exit = match heard(exits.recv().await) {
                    Some(Ok(exit)) => exit,
                    Some(Err(missed)) => {
                        journal.record(&missed);
                        continue;
                    }
                    None => return,
                };
                let Some(Supervisor::Processes(instances)) = fleet.keeper.as_ref().filter(|_| !exit.asked) else { continue };
                let instance = instances.instance_of(exit.slot);
                fleet.down(instance);
                let at = journal.offset(exit.at);
                journal.record_at(at, &happened(instance, "exited", &format!("by itself: {}", exit.how)));
                let told = format!("the target ended by itself: {}", exit.how);
                // The embedded server is ours: nothing but the plan may end it. How somebody's own server does is what a run measures.
                let event = if instances.stop_signal.is_some() { Event::Notice { text: told } } else { unplanned(told) };
                journal.record_at(at, &event);
            }
        });
        tokio::spawn(async move {
            guard.gone().await;
            // At the end of a run the measurement has ended before.
            told.record(&unplanned(
                "another program killed the process that starts and stops the target, and the target ended with it".to_owned(),
            ));
        });
    }

    /// Ends all processes and waits for them.
    pub(crate) async fn shut_down(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.shut_down().await;
        }
    }
}

async fn launch_guard(setting: &TargetSetting<'_>, give_up: Pin<&mut impl Future<Output = RunError>>) -> Result<Guard, RunError> {
    let program = setting.program.as_deref().ok_or_else(|| RunError::NeedsProcesses { what: "this target".to_owned() })?;
    unless(give_up, async { Guard::launch_from(program).await.map_err(RunError::Target) }).await
}

/// What a server process is to be, it hears over its link.
fn recipe(setting: &TargetSetting<'_>, spec: &ServerSpec, url: String) -> Recipe {
    Recipe {
        spec: Spec {
            argv: vec![setting.program.clone().unwrap_or_default().display().to_string(), "__server".into()],
            env: BTreeMap::new(),
            workdir: None,
            output: setting.output.clone(),
        },
        url,
        addrs: vec![spec.address],
        ready: Ready::Tcp,
        ready_within: HELLO_WITHIN,
        port_held: true,
    }
}

/// The end of a process; where some came faster than they were taken, what is recorded in their place; `None`: no more come.
fn heard(exit: Result<Exit, RecvError>) -> Option<Result<Exit, Event>> {
    match exit {
        Ok(exit) => Some(Ok(exit)),
        Err(RecvError::Lagged(missed)) => {
            let ends = counted(missed, "end");
            Some(Err(unplanned(format!("{ends} of target processes came faster than they could be recorded"))))
        }
        Err(RecvError::Closed) => None,
    }
}

/// Something that the plan does not say.
fn unplanned(why: String) -> Event {
    Event::NotCarriedOut { fault: None, firing: 0, why }
}

fn happened(instance: u16, what: &'static str, detail: &str) -> Event {
    Event::Target { instance, what, detail: detail.to_owned() }
}

/// This program, for server processes and the guard: the binary that runs, not a file that may have been rebuilt.
pub fn this_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sut::command::error::How;

    #[tokio::test]
    async fn ends_that_nobody_took_in_time_are_an_event_with_their_number() {
        let exits = tokio::sync::broadcast::Sender::new(2);
        let mut reader = exits.subscribe();
        for slot in 0..5 {
            exits.send(Exit { slot, pid: 1, how: How::Status(0), asked: false, at: 0 }).expect("there is a reader");
        }
        drop(exits);
        let Some(Err(Event::NotCarriedOut { why, .. })) = heard(reader.recv().await) else { panic!("it lagged") };
        assert_eq!(why, "3 ends of target processes came faster than they could be recorded");
        for slot in 3..5 {
            assert!(matches!(heard(reader.recv().await), Some(Ok(exit)) if exit.slot == slot));
        }
        assert!(heard(reader.recv().await).is_none());
    }
}
