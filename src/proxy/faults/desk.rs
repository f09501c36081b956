//! All faults of the proxy: fires them by their schedules, selects connections, takes them back, and knows who has them.

use crate::event::ClientIndex;
use crate::fault::{ConnectionEffects, Effect, InjectionStep, OnAttempt, OnListener, Side, beside};
use crate::lock::lock;
use crate::plan::{Budget, Fault, Firing, Phase, Shard, draw_exactly};
use crate::proxy::account::ProxiedId;
use crate::proxy::connection::{Order, OrderDone, ProxiedConnection};
use crate::proxy::event::ProxyEvent;
use crate::proxy::faults::dose::{AttemptDose, FaultStamp, ProxyDose};
use crate::proxy::faults::words::{self, FaultScope};
use crate::proxy::witnesses::ProxyEvents;
use crate::seed::Seed;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

/// Faults at a time.
pub(crate) const FAULTS_MAX: usize = 256;
/// Firings of a fault that hold at a time; more are not carried out.
const FIRINGS_MAX: usize = 256;
/// Connections that an event names.
const NAMED_MAX: usize = 100;

/// What holds on listening sockets.
#[derive(Debug, Default)]
pub(crate) struct DoorOrders {
    /// Changes so far; a listener says which one it has followed.
    pub(crate) change: u64,
    /// Of which firing, of which proxy.
    pub(crate) list: Vec<(Firing, FaultScope, OnListener)>,
}

/// All faults.
#[derive(Debug)]
pub(crate) struct FaultDesk {
    seed: Seed,
    events: ProxyEvents,
    state: Mutex<DeskState>,
    listening: watch::Sender<DoorOrders>,
}

#[derive(Debug, Default)]
struct DeskState {
    /// By their numbers, which are used again.
    faults: BTreeMap<u16, DeskFault>,
    /// First number of a firing of those that come: none is used twice.
    fired: u32,
    connections: BTreeMap<ProxiedId, Arc<ProxiedConnection>>,
    /// Which change of [`DoorOrders`] each listener has followed.
    doors: Vec<watch::Receiver<u64>>,
}

#[derive(Debug)]
struct DeskFault {
    fault: Fault,
    name: Arc<str>,
    scope: FaultScope,
    budget: Budget,
    firings: BTreeMap<u32, LiveFiring>,
    fired: u64,
    hits: u64,
    /// It will not fire any more.
    spent: bool,
    /// Carries its schedule out.
    task: AbortHandle,
}

/// A firing that may still hold somewhere.
#[derive(Debug)]
struct LiveFiring {
    hit: BTreeSet<ProxiedId>,
    /// It is for connections that come, too.
    standing: Option<ForNew>,
    /// It holds until it is taken back.
    holds: bool,
    /// Takes it back when its time is over.
    end: Option<AbortHandle>,
}

/// What those get that come while a firing stands.
#[derive(Clone, Debug)]
enum ForNew {
    Doses(Vec<Arc<ProxyDose>>),
    Attempt(OnAttempt),
}

impl Drop for DeskFault {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drop for LiveFiring {
    fn drop(&mut self) {
        self.end.iter().for_each(AbortHandle::abort);
    }
}

impl FaultDesk {
    /// Without faults.
    pub(crate) fn new(seed: Seed, events: ProxyEvents) -> Arc<Self> {
        Arc::new(FaultDesk { seed, events, state: Mutex::default(), listening: watch::Sender::default() })
    }

    /// What holds on listening sockets, for one that says which change it has followed.
    pub(crate) fn listens(&self) -> (watch::Receiver<DoorOrders>, watch::Sender<u64>) {
        let followed = watch::Sender::new(0);
        let doors = &mut lock(&self.state).doors;
        doors.retain(|door| door.has_changed().is_ok());
        doors.push(followed.subscribe());
        (self.listening.subscribe(), followed)
    }

    /// Changes what holds on listening sockets.
    fn change_doors(&self, change: impl FnOnce(&mut Vec<(Firing, FaultScope, OnListener)>)) {
        self.listening.send_modify(|orders| {
            change(&mut orders.list);
            orders.change += 1;
        });
    }

    /// Waits until all listeners have followed what was changed so far.
    async fn doors_follow(&self) {
        let wanted = self.listening.borrow().change;
        let doors = lock(&self.state).doors.clone();
        for mut door in doors {
            // One that is gone has nothing left to follow.
            let _ = door.wait_for(|followed| *followed >= wanted).await;
        }
    }

    /// Adds a fault; its times count from now. Returns when a first firing that is due now has reached its connections.
    ///
    /// # Errors
    /// There are as many faults as may be, or one of its name.
    pub(crate) async fn add(self: &Arc<Self>, fault: Fault, scope: FaultScope, named: bool) -> Result<Map<String, Value>, (u16, String)> {
        self.put(None, fault, scope, named).await
    }

    /// Puts a fault in the place of the one with the name `old`: what that did is taken back first. Returns as [`FaultDesk::add`] does.
    ///
    /// # Errors
    /// There is none of that name, or another one has the new name; then nothing has changed.
    pub(crate) async fn replace(
        self: &Arc<Self>,
        old: &str,
        fault: Fault,
        scope: FaultScope,
        named: bool,
    ) -> Result<Map<String, Value>, (u16, String)> {
        self.put(Some(old), fault, scope, named).await
    }

    async fn put(
        self: &Arc<Self>,
        old: Option<&str>,
        mut fault: Fault,
        scope: FaultScope,
        named: bool,
    ) -> Result<Map<String, Value>, (u16, String)> {
        let (done, all_done) = mpsc::channel(1);
        let (has_fired, fired) = oneshot::channel::<Infallible>();
        let json = {
            // The schedule waits until all of them are dropped.
            let done = Some(done);
            let mut state = lock(&self.state);
            let DeskState { faults, connections, .. } = &mut *state;
            let old = match old {
                None if faults.len() >= FAULTS_MAX => return Err((400, format!("there are {FAULTS_MAX} faults already"))),
                None => None,
                Some(old) => Some(number_of(faults, old).ok_or_else(|| (404, "fault not found".to_owned()))?),
            };
            let taken = |name: &str| number_of(faults, name).is_some_and(|number| Some(number) != old);
            if !named {
                let name = |number: usize| format!("{}-{number}", fault.inject.row.kind);
                fault.name = (1..).map(name).find(|name| !taken(name)).unwrap_or_default();
            }
            if taken(&fault.name) {
                return Err((409, format!("there is a fault with the name \"{}\" already", fault.name)));
            }
            if let Some((number, of)) = old.and_then(|number| faults.remove_entry(&number)) {
                self.take_all_back(number, &of, connections, &done);
            }
            let id = (0..).find(|id| !faults.contains_key(id)).unwrap_or_default();
            let budget = Budget::new(std::slice::from_ref(&fault), self.seed, Shard::WHOLE);
            let (name, json) = (Arc::from(fault.name.as_str()), words::json(&fault, &scope));
            let schedule = FaultSchedule { id, offsets: fault.offsets(self.seed), holds: fault.schedule.revert_after };
            let task = tokio::spawn(schedule.carry_out(Arc::downgrade(self), all_done, has_fired)).abort_handle();
            faults.insert(id, DeskFault { fault, name, scope, budget, firings: BTreeMap::new(), fired: 0, hits: 0, spent: false, task });
            json
        };
        // Nobody sends: it ends when the sender is dropped.
        let _ = fired.await;
        Ok(json)
    }

    fn next_number(&self) -> Option<u32> {
        let mut state = lock(&self.state);
        let number = state.fired;
        state.fired = number.checked_add(1)?;
        Some(number)
    }

    fn revert_later(self: &Arc<Self>, firing: Firing, begun: Instant, holds: Option<Duration>) {
        let Some(until) = holds.and_then(|holds| begun.checked_add(holds)) else { return };
        let mut state = lock(&self.state);
        // One that did not begin, or is gone already, has no end.
        let Some(live) = state.faults.get_mut(&firing.fault).and_then(|of| of.firings.get_mut(&firing.number)) else { return };
        let desk = Arc::downgrade(self);
        let end = tokio::spawn(async move {
            sleep_until(until).await;
            if let Some(desk) = desk.upgrade() {
                desk.revert(firing).await;
            }
        });
        live.end = Some(end.abort_handle());
    }

    /// Fires. Returns when it has reached the connections that it hits.
    async fn fire(&self, firing: Firing) {
        let (done, mut all_done) = mpsc::channel(1);
        self.fire_now(firing, &Some(done));
        // Nobody sends: it ends when the last connection has dropped its sender.
        let _: Option<Infallible> = all_done.recv().await;
        self.doors_follow().await;
    }

    /// Whether a fault has used up its hits, or is gone.
    fn is_used_up(&self, id: u16) -> bool {
        lock(&self.state).faults.get(&id).is_none_or(|of| of.budget.is_used_up(0))
    }

    fn fire_now(&self, firing: Firing, done: &OrderDone) {
        let mut state = lock(&self.state);
        let DeskState { faults, connections, .. } = &mut *state;
        let Some(of) = faults.get_mut(&firing.fault) else { return };
        of.forget_spent(connections);
        let stamp = FaultStamp { firing, fault: of.name.clone(), events: self.events.clone() };
        let budgeted = Firing { fault: 0, number: firing.number };
        if of.firings.len() >= FIRINGS_MAX {
            let why = format!("{FIRINGS_MAX} of its firings hold already");
            let (fault, firing) = (of.name.clone(), firing.number);
            return self.events.tell(ProxyEvent::FaultNotCarriedOut { fault, firing, connection: None, why });
        }
        if !of.budget.begin(budgeted) {
            return;
        }
        of.fired += 1;
        let side = of.fault.side;
        let dose = |side: Side, gate: ConnectionEffects, steps: Vec<InjectionStep>| {
            Arc::new(ProxyDose { stamp: stamp.clone(), side, gate, steps })
        };
        let mut live = LiveFiring { hit: BTreeSet::new(), standing: None, holds: true, end: None };
        let (mut eligible, mut hit) = (Vec::new(), Vec::new());
        let doses = match of.fault.inject.effect(side) {
            Effect::Connection { gate, steps } => {
                live.holds = !gate.is_open();
                vec![dose(side, gate, steps)]
            }
            Effect::BothEnds { client, server } => {
                live.holds = false;
                let open = ConnectionEffects::default;
                vec![dose(Side::Client, open(), client), dose(Side::Server, open(), server)]
            }
            Effect::Attempt(effect) => {
                (live.standing, live.holds) = (Some(ForNew::Attempt(effect)), false);
                Vec::new()
            }
            Effect::Listener { on, .. } => {
                let scope = of.scope.clone();
                self.change_doors(|all| all.push((firing, scope, on)));
                Vec::new()
            }
            Effect::Process(_) => Vec::new(),
        };
        if let Some(on) = beside(of.fault.inject.row) {
            let scope = of.scope.clone();
            self.change_doors(|all| all.push((firing, scope, on)));
        }
        if !doses.is_empty() {
            eligible.extend(connections.values().filter(|connection| of.may_hit(connection)));
            let hits = of.budget.draw(budgeted, eligible.len() as u64);
            let mut random = self.seed.stream(&format!("fault/{}/{}", of.name, of.fired));
            hit = draw_exactly(eligible.clone(), hits, &mut random);
            live.hit.extend(hit.iter().map(|connection| connection.named()));
            of.hits += live.hit.len() as u64;
        }
        // Told before a connection can tell that it acts there.
        let (fault, hits, eligible) = (of.name.clone(), hit.len(), eligible.len());
        let named = live.hit.iter().take(NAMED_MAX).cloned().collect();
        let (inject, new) = (Arc::new(of.fault.inject.clone()), of.fault.new);
        self.events.tell(ProxyEvent::FaultFired { fault, inject, new, firing: firing.number, hit: named, hits, eligible });
        for connection in hit {
            doses.iter().for_each(|dose| connection.order(Order::Inject(dose.clone()), done));
        }
        if of.fault.new && !doses.is_empty() {
            live.standing = Some(ForNew::Doses(doses));
        }
        of.firings.insert(firing.number, live);
    }

    /// A firing is over. Returns when it holds nowhere any more.
    async fn revert(&self, firing: Firing) {
        let (done, mut all_done) = mpsc::channel(1);
        {
            let mut state = lock(&self.state);
            let DeskState { faults, connections, .. } = &mut *state;
            let Some(of) = faults.get_mut(&firing.fault) else { return };
            let Some(mut live) = of.firings.remove(&firing.number) else { return };
            // This is what its end does.
            live.end = None;
            of.budget.end(Firing { fault: 0, number: firing.number });
            self.take_back(firing, &live, connections, &Some(done));
            self.events.tell(ProxyEvent::FaultReverted { fault: of.name.clone(), firing: firing.number });
        }
        let _: Option<Infallible> = all_done.recv().await;
        self.doors_follow().await;
    }

    /// Takes back what a fault has done that is gone.
    fn take_all_back(&self, id: u16, of: &DeskFault, connections: &BTreeMap<ProxiedId, Arc<ProxiedConnection>>, done: &OrderDone) {
        for (number, live) in &of.firings {
            self.take_back(Firing { fault: id, number: *number }, live, connections, done);
            if live.holds || live.standing.is_some() {
                self.events.tell(ProxyEvent::FaultReverted { fault: of.name.clone(), firing: *number });
            }
        }
    }

    fn take_back(&self, firing: Firing, live: &LiveFiring, connections: &BTreeMap<ProxiedId, Arc<ProxiedConnection>>, done: &OrderDone) {
        if self.listening.borrow().list.iter().any(|(of, ..)| *of == firing) {
            self.change_doors(|all| all.retain(|(of, ..)| *of != firing));
        }
        let hit = live.hit.iter().filter_map(|id| connections.get(id));
        hit.for_each(|connection| connection.order(Order::Revert(firing), done));
    }

    /// Removes a fault, and takes back what it has done; whether there was one. Returns when it holds nowhere any more.
    pub(crate) async fn remove(&self, name: &str) -> bool {
        let (done, mut all_done) = mpsc::channel(1);
        {
            let mut state = lock(&self.state);
            let DeskState { faults, connections, .. } = &mut *state;
            let Some((id, of)) = number_of(faults, name).and_then(|id| faults.remove_entry(&id)) else { return false };
            self.take_all_back(id, &of, connections, &Some(done));
        }
        let _: Option<Infallible> = all_done.recv().await;
        self.doors_follow().await;
        true
    }

    /// A connection was accepted: what stands acts on it from its beginning. Gives what acts on its opening handshake.
    pub(crate) fn comes(&self, connection: &Arc<ProxiedConnection>) -> Vec<AttemptDose> {
        let mut state = lock(&self.state);
        let id = connection.named();
        state.connections.insert(id.clone(), connection.clone());
        let mut attempts = Vec::new();
        for (fault, of) in &mut state.faults {
            let (name, events) = (of.name.clone(), &self.events);
            let DeskFault { firings, budget, scope, fault: plan, hits, .. } = of;
            if !scope.has(connection) || !plan.select.pick.may_take(index(connection)) {
                continue;
            }
            for (number, live) in firings.iter_mut() {
                let Some(standing) = &live.standing else { continue };
                if !budget.take_one(Firing { fault: 0, number: *number }) {
                    continue;
                }
                live.hit.insert(id.clone());
                *hits += 1;
                let firing = Firing { fault: *fault, number: *number };
                match standing {
                    ForNew::Doses(doses) => doses.iter().for_each(|dose| connection.order(Order::Inject(dose.clone()), &None)),
                    ForNew::Attempt(effect) => {
                        let random = self.seed.stream(&format!("fault/{name}/answer/{}/{}", connection.proxy, connection.id));
                        let stamp = FaultStamp { firing, fault: name.clone(), events: events.clone() };
                        attempts.push(AttemptDose { stamp, effect: effect.clone(), random });
                    }
                }
            }
        }
        attempts
    }

    /// Names of faults that have not fired.
    pub(crate) fn not_due(&self) -> Vec<Arc<str>> {
        lock(&self.state).faults.values().filter(|of| of.fired == 0).map(|of| of.name.clone()).collect()
    }

    /// A connection is gone.
    pub(crate) fn goes(&self, connection: &ProxiedConnection) {
        let mut state = lock(&self.state);
        let id = connection.named();
        // A number is given again only when more names were used than are remembered.
        if state.connections.get(&id).is_none_or(|known| !std::ptr::eq(Arc::as_ptr(known), connection)) {
            return;
        }
        state.connections.remove(&id);
        for live in state.faults.values_mut().flat_map(|of| of.firings.values_mut()) {
            live.hit.remove(&id);
        }
    }

    /// Names of the faults of which one of these firings is.
    pub(crate) fn names(&self, firings: &[Firing]) -> Vec<String> {
        let state = lock(&self.state);
        let mut names: Vec<_> = firings.iter().filter_map(|firing| Some(state.faults.get(&firing.fault)?.name.to_string())).collect();
        names.dedup();
        names
    }

    /// A fault in the words in which it can be sent.
    pub(crate) fn words(&self, name: &str) -> Option<Map<String, Value>> {
        lock(&self.state).faults.values().find(|of| *of.name == *name).map(|of| words::json(&of.fault, &of.scope))
    }

    /// All faults, or the one of this name, with what became of them so far.
    pub(crate) fn list(&self, name: Option<&str>) -> Vec<Value> {
        let state = lock(&self.state);
        let held: Vec<Vec<Firing>> = state.connections.values().map(|connection| connection.held()).collect();
        let wanted = state.faults.iter().filter(|(_, of)| name.is_none_or(|name| *of.name == *name));
        let one = |(id, of): (&u16, &DeskFault)| {
            let having = held.iter().filter(|held| held.iter().any(|firing| firing.fault == *id)).count();
            let mut fields = words::json(&of.fault, &of.scope);
            let used_up = of.budget.is_used_up(0);
            let holds = of.firings.values().any(|live| live.holds || live.standing.is_some() && !used_up) || having > 0;
            let state = if holds {
                "active"
            } else if of.spent || used_up {
                "over"
            } else {
                "waiting"
            };
            fields.insert("state".to_owned(), state.into());
            fields.insert("fired".to_owned(), of.fired.into());
            fields.insert("hits".to_owned(), of.hits.into());
            fields.insert("connections".to_owned(), having.into());
            fields.into()
        };
        wanted.map(one).collect()
    }
}

impl FaultScope {
    /// Whether a connection is one of those meant.
    pub(crate) fn has(&self, connection: &ProxiedConnection) -> bool {
        self.proxy.as_deref().is_none_or(|proxy| proxy == &*connection.proxy) && self.connection.is_none_or(|id| id == connection.id)
    }
}

impl DeskFault {
    fn may_hit(&self, connection: &ProxiedConnection) -> bool {
        // What cuts a listener off cuts off handshakes, too.
        let any = beside(self.fault.inject.row).is_some() && self.fault.select.phase.is_none();
        let phase = if any { Phase::Open } else { connection.phase() };
        !connection.is_over()
            && self.scope.has(connection)
            && self.fault.select.passes(index(connection), Some(phase), connection.opened.elapsed())
    }

    /// Firings that acted once and have nothing left to do anywhere need no more thought.
    fn forget_spent(&mut self, connections: &BTreeMap<ProxiedId, Arc<ProxiedConnection>>) {
        let newest = self.firings.keys().next_back().copied();
        let DeskFault { firings, budget, .. } = self;
        firings.retain(|number, live| {
            let left = |id: &ProxiedId| {
                connections.get(id).is_some_and(|connection| connection.held().iter().any(|firing| firing.number == *number))
            };
            let keeps = Some(*number) == newest || live.holds || live.standing.is_some() || live.hit.iter().any(left);
            if !keeps {
                budget.end(Firing { fault: 0, number: *number });
            }
            keeps
        });
    }
}

/// The number of the fault of this name.
fn number_of(faults: &BTreeMap<u16, DeskFault>, name: &str) -> Option<u16> {
    faults.iter().find(|(_, of)| *of.name == *name).map(|(number, _)| *number)
}

/// When a fault fires, and how long each firing holds.
struct FaultSchedule<I> {
    id: u16,
    offsets: I,
    holds: Option<Duration>,
}

impl<I: Iterator<Item = Duration>> FaultSchedule<I> {
    /// Fires when it is due, from when `taken_back` says that nothing is left of what was there before; `has_fired` is dropped when what is due
    /// at once has reached its connections.
    async fn carry_out(self, desk: Weak<FaultDesk>, mut taken_back: mpsc::Receiver<Infallible>, has_fired: oneshot::Sender<Infallible>) {
        let FaultSchedule { id, offsets, holds } = self;
        let _: Option<Infallible> = taken_back.recv().await;
        if let Some(desk) = desk.upgrade() {
            desk.doors_follow().await;
        }
        let (begun, mut has_fired) = (Instant::now(), Some(has_fired));
        for offset in offsets {
            let Some(at) = begun.checked_add(offset) else { break };
            if !offset.is_zero() {
                has_fired = None;
                sleep_until(at).await;
            }
            let Some(desk) = desk.upgrade() else { return };
            let Some(number) = desk.next_number() else { return };
            let firing = Firing { fault: id, number };
            desk.fire(firing).await;
            desk.revert_later(firing, at, holds);
            if desk.is_used_up(id) {
                break;
            }
        }
        drop(has_fired);
        if let Some(desk) = desk.upgrade() {
            lock(&desk.state).faults.get_mut(&id).into_iter().for_each(|of| of.spent = true);
        }
    }
}

/// Connections are numbered by their arrival, from 1; clients of a plan from 0.
fn index(connection: &ProxiedConnection) -> ClientIndex {
    ClientIndex(u32::try_from(connection.id.saturating_sub(1)).unwrap_or(u32::MAX))
}
