//! Carries out the schedule of faults: fires, selects, reverts. What a fault does to bytes is not its business.

use crate::event::Event;
use crate::fault::{ConnectionEffects, Effect, InjectionStep, OnProcess, Side};
use crate::load::context::RunContext;
use crate::load::registry::{ConnectionPlace, WaitingFault};
use crate::load::waiting::tell_servers;
use crate::lock::lock;
use crate::panics;
use crate::plan::{Fault, Firing, Phase, Standing, draw_exactly};
use crate::run::real;
use crate::seed::Stream;
use crate::server::protocol::ToServer;
use crate::sut::control_links::TOLD_WITHIN;
use crate::sut::error::RunError;
use crate::sut::target_events::TargetEvent;
use crate::ws::handshake::own_headers::Id;
use crate::ws::session::mailbox::{FiredInjection, SessionCommand};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::sleep_until;

/// Where a restart hangs.
const NOT_BACK: &str = "it was not ready again before the end of the run";

/// Orders that one fault of the plan fires now, beside its schedule. Workers do not get them: only of a run whose clients are in this process.
#[derive(Clone, Debug)]
pub struct ByHand(broadcast::Sender<u16>);

impl Default for ByHand {
    fn default() -> ByHand {
        ByHand(broadcast::Sender::new(16))
    }
}

impl ByHand {
    /// Fires the fault at this place of the plan; does nothing where the run has ended.
    pub fn fire(&self, fault: u16) {
        let _ = self.0.send(fault);
    }

    pub(crate) fn orders(&self) -> broadcast::Receiver<u16> {
        self.0.subscribe()
    }
}

/// Fires one fault through the run: by its schedule, and whenever it is ordered.
pub(crate) async fn run(shared: Arc<RunContext>, index: u16, mut orders: broadcast::Receiver<u16>) {
    panics::asked(format_args!("fault {index}"));
    let plan = shared.plan.clone();
    let fault = &plan.faults[usize::from(index)];
    let mut injector = Injector {
        shared: &shared,
        fault,
        firing: Firing { fault: index, number: 0 },
        clients: plan.clients_of(fault),
        random: plan.seed.stream(&shared.shard.stream(&format!("fault/{}/select", fault.name))),
    };
    let mut schedule = fault.firings(plan.seed, plan.duration).into_iter().peekable();
    for number in 0.. {
        let due = schedule.peek().copied();
        let by_hand = tokio::select! {
            biased;
            () = until(&shared, due) => false,
            // Nobody can order any more.
            ordered = ordered(&mut orders, index) => if ordered { true } else {
                until(&shared, due).await;
                false
            },
        };
        injector.firing.number = number;
        if !by_hand {
            schedule.next();
        }
        let end = shared.journal.planned_end();
        if shared.journal.now() < end {
            if by_hand {
                let text =
                    format!("fault {} was fired by hand, beside the plan: no repetition of this run does that by itself", fault.name);
                shared.journal.record(&Event::Notice { text });
            }
            injector.fire().await;
        } else if !by_hand && injector.tells() {
            // Due so shortly before the end that the timer came behind it.
            let last = end.saturating_sub(Duration::from_nanos(1));
            let why = "the measurement ended before its delayed timer fired".to_owned();
            shared.journal.record_at(last, &not_carried_out(injector.firing, why));
        }
    }
}

/// Waits for an offset; without one for ever.
async fn until(shared: &RunContext, due: Option<Duration>) {
    match due {
        Some(at) => sleep_until(shared.journal.instant(at)).await,
        None => std::future::pending().await,
    }
}

/// Waits for an order that is about this fault; not, if there will be none.
async fn ordered(orders: &mut broadcast::Receiver<u16>, index: u16) -> bool {
    loop {
        match orders.recv().await {
            Ok(fault) if fault == index => return true,
            // Somebody else's, or too many at once.
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return false,
        }
    }
}

struct Injector<'a> {
    shared: &'a Arc<RunContext>,
    fault: &'a Fault,
    /// The present one.
    firing: Firing,
    clients: Range<u32>,
    random: Stream,
}

impl Injector<'_> {
    fn record_fired(&self, selected: usize, eligible: Option<usize>) {
        self.record(&fired(self.firing, selected, eligible));
    }

    /// Records an event of the present firing, where this process is one of those that tell of it.
    fn record(&self, event: &Event) {
        if self.tells() {
            self.shared.journal.record(event);
        }
    }

    /// Whether this process tells of firings: all that have clients where those are selected, else the one that has the servers. Any other
    /// would tell of firings for which the hits were used up already.
    fn tells(&self) -> bool {
        match self.fault.inject.effect(self.fault.side) {
            Effect::Connection { .. } | Effect::BothEnds { .. } => !self.shared.leads,
            Effect::Attempt(_) if self.fault.side == Side::Client => !self.shared.leads,
            Effect::Attempt(_) | Effect::Listener { .. } | Effect::Process(_) => !self.shared.follows,
        }
    }

    async fn fire(&mut self) {
        if !self.shared.hits.begin(self.firing).await {
            return self.record(&Event::Spent { fault: self.firing.fault, firing: self.firing.number });
        }
        match self.fault.inject.effect(self.fault.side) {
            Effect::Connection { gate, steps } => self.connections(FiredInjection { firing: self.firing, gate, steps, quiet: false }).await,
            Effect::BothEnds { client, server } => self.both_ends(client, server).await,
            Effect::Attempt(effect) => {
                let standing = self.standing();
                self.record_fired(0, None);
                if self.fault.side == Side::Client {
                    self.shared.registry.stand_attempts(self.firing, effect, standing);
                } else {
                    self.shared.fleet.stand(self.firing, ToServer::Attempts { firing: self.firing, effect, standing });
                }
                self.revert_later(Vec::new());
            }
            Effect::Listener { on, instance } => {
                let named = self.shared.fleet.named(instance).len();
                self.record_fired(named, None);
                if named == 0 {
                    self.record(&not_carried_out(self.firing, no_instance(instance)));
                }
                self.shared.fleet.stand(self.firing, ToServer::Listener { firing: self.firing, on, instance });
                self.revert_later(Vec::new());
            }
            // The process that has the servers does it, and tells of it: see `obey`.
            Effect::Process(_) if self.shared.follows => {}
            Effect::Process(effect) => {
                let (shared, of, holds) = (self.shared.clone(), self.firing, self.fault.schedule.revert_after);
                // A task of its own: a slow restart must not delay the next firing.
                tokio::spawn(async move { process(&shared, of, &effect, holds).await });
            }
        }
    }

    fn standing(&self) -> Standing {
        Standing::of(&self.shared.plan, self.fault)
    }

    /// Draws the connections of a firing, and tells of it.
    async fn choose(&mut self) -> Vec<(Id, ConnectionPlace)> {
        let (shared, firing) = (self.shared, self.firing);
        let eligible = || shared.registry.eligible(&self.fault.select, &self.clients, shared.journal.now());
        let mut candidates = eligible();
        let hits = shared.hits.draw(firing, candidates.len()).await;
        if shared.hits.are_elsewhere() {
            // The answer took a moment, in which some may have gone and others come.
            candidates = eligible();
            let short = hits.saturating_sub(candidates.len() as u64);
            if short > 0 {
                shared.hits.give_back(firing, short).await;
            }
        }
        let eligible = candidates.len();
        let chosen = draw_exactly(candidates, hits, &mut self.random);
        self.record_fired(chosen.len(), Some(eligible));
        chosen
    }

    /// Both ends of each chosen connection; the client tells when the fault acts.
    async fn both_ends(&mut self, client: Vec<InjectionStep>, server: Vec<InjectionStep>) {
        let chosen = self.choose().await;
        let dose = |steps, quiet| FiredInjection { firing: self.firing, gate: ConnectionEffects::default(), steps, quiet };
        let (server, client) = (dose(server, true), Arc::new(dose(client, false)));
        tell_servers(self.shared, &server, &chosen);
        for (id, _) in &chosen {
            self.shared.registry.slot(id.client).control.send(SessionCommand::Inject(client.clone()));
        }
        if self.fault.new {
            // The client's end decides for both.
            self.shared.registry.stand(WaitingFault { client, server: Some(Arc::new(server)) }, self.standing());
        }
    }

    async fn connections(&mut self, dose: FiredInjection) {
        let shared = self.shared;
        let chosen = self.choose().await;
        if self.fault.side == Side::Client {
            let dose = Arc::new(dose);
            for (id, _) in &chosen {
                shared.registry.slot(id.client).control.send(SessionCommand::Inject(dose.clone()));
            }
            if self.fault.new {
                shared.registry.stand(WaitingFault { client: dose, server: None }, self.standing());
            }
        } else {
            tell_servers(shared, &dose, &chosen);
            if self.fault.new {
                shared.fleet.stand(self.firing, ToServer::InjectNew { dose, standing: self.standing() });
            }
        }
        self.revert_later(chosen.into_iter().map(|(id, _)| id).collect());
    }

    /// Reverts this firing after its time, where it has one.
    fn revert_later(&self, chosen: Vec<Id>) {
        let Some(after) = self.fault.schedule.revert_after else { return };
        let (shared, firing, side, tells) = (self.shared.clone(), self.firing, self.fault.side, self.tells());
        let at = shared.journal.now() + after;
        tokio::spawn(async move {
            sleep_until(shared.journal.instant(at)).await;
            shared.hits.end(firing);
            shared.registry.unstand(firing);
            if side == Side::Client {
                // Not only the chosen: connections that opened since then may have got it by standing.
                let chosen: std::collections::HashSet<_> = chosen.iter().map(|id| id.client).collect();
                for (client, slot) in shared.registry.each() {
                    if chosen.contains(&client) || matches!(slot.place().phase, Some(Phase::Open | Phase::Closing)) {
                        slot.control.send(SessionCommand::Revert(firing));
                    }
                }
            } else {
                shared.paths_revive(firing);
                shared.fleet.revert(firing);
            }
            if tells {
                shared.journal.record(&Event::Reverted { fault: firing.fault, firing: firing.number });
            }
        });
    }
}

fn fired(firing: Firing, selected: usize, eligible: Option<usize>) -> Event {
    let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
    Event::Fired { fault: firing.fault, firing: firing.number, selected: number(selected), eligible: eligible.map(number) }
}

/// The plan was not carried out here, and why.
fn not_carried_out(firing: Firing, why: String) -> Event {
    Event::NotCarriedOut { fault: Some(firing.fault), firing: firing.number, why }
}

/// Of a rolling restart.
fn after_the_end(instance: u16) -> String {
    format!("instance {instance}: its turn comes after the end of the run")
}

fn no_instance(named: Option<u16>) -> String {
    named.map_or_else(|| "the target has no instance that can be reached".to_owned(), |named| format!("there is no instance {named}"))
}

/// What happens to processes.
async fn process(shared: &Arc<RunContext>, firing: Firing, effect: &OnProcess, holds: Option<Duration>) {
    let nobody = |named| {
        shared.journal.record(&fired(firing, 0, None));
        shared.journal.record(&not_carried_out(firing, no_instance(named)));
    };
    match effect {
        OnProcess::Rolling { interval, each } => {
            let begun = shared.journal.now();
            let mut tasks = Vec::new();
            let turns = (0_u32..).zip(shared.fleet.named(None));
            let (in_time, late): (Vec<_>, Vec<_>) = turns.partition(|(turn, _)| begun + *interval * *turn < shared.journal.planned_end());
            late.iter().for_each(|(_, instance)| shared.journal.record(&not_carried_out(firing, after_the_end(*instance))));
            for (turn, instance) in in_time {
                sleep_until(shared.journal.instant(begun + *interval * turn)).await;
                let (shared, each) = (shared.clone(), each.clone());
                tasks.push(tokio::spawn(async move { one(&shared, firing, instance, &each, None).await }));
            }
            for task in tasks {
                let _ = task.await;
            }
        }
        effect => {
            let instances = shared.fleet.named(effect.instance());
            if instances.is_empty() {
                return nobody(effect.instance());
            }
            let all = instances.into_iter().map(|instance| one(shared, firing, instance, effect, holds));
            futures_util::future::join_all(all).await;
        }
    }
}

/// What happens to one process. The connections it holds are marked first, so that their ends have their cause.
async fn one(shared: &Arc<RunContext>, firing: Firing, instance: u16, effect: &OnProcess, holds: Option<Duration>) {
    let ends = match effect {
        OnProcess::Pause { .. } => false,
        // The embedded server says of each connection how it ended: another fault may have been first.
        OnProcess::Graceful { .. } => shared.fleet.is_foreign(),
        OnProcess::Crash { .. } | OnProcess::Rolling { .. } => true,
    };
    tell(shared, TargetEvent::Mark { firing, instance, ends }).await;
    let (fleet, journal) = (&shared.fleet, &shared.journal);
    let begin = |what| shared.under_way.begin((firing, instance), what, journal.now());
    let done = match effect {
        OnProcess::Crash { down, .. } => {
            let killed = begin("it was not killed before the end of the run").by(fleet.crash(instance, journal));
            match act_or_spare(shared, (firing, instance), killed).await {
                Ok(at) => {
                    tell(shared, TargetEvent::Struck { firing, instance, at }).await;
                    gone(shared, instance).await;
                    sleep_until(journal.instant(at + *down)).await;
                    begin(NOT_BACK).by(fleet.start_again(instance, journal)).await
                }
                Err(error) => Err(error),
            }
        }
        OnProcess::Graceful { code, reason, grace, spread, down, .. } => {
            let command = ToServer::Graceful { fault: firing.fault, code: *code, reason: reason.clone(), grace: *grace, spread: *spread };
            if fleet.is_foreign() {
                tell(shared, TargetEvent::Struck { firing, instance, at: journal.now() }).await;
            }
            let stopping = fleet.stop(instance, command, *grace + *spread, journal);
            let stopped = begin("it had not stopped before the end of the run").by(stopping);
            match act_or_spare(shared, (firing, instance), stopped).await {
                Ok(()) => {
                    let at = journal.now();
                    gone(shared, instance).await;
                    sleep_until(journal.instant(at + *down)).await;
                    begin(NOT_BACK).by(fleet.start_again(instance, journal)).await
                }
                Err(error) => Err(error),
            }
        }
        OnProcess::Pause { .. } => {
            let paused = begin("it was not paused before the end of the run").by(fleet.pause(firing, instance, journal));
            match act_or_spare(shared, (firing, instance), paused).await {
                Ok(at) => {
                    tell(shared, TargetEvent::Struck { firing, instance, at }).await;
                    match holds {
                        Some(holds) => {
                            sleep_until(journal.instant(at + holds)).await;
                            let resumed =
                                begin("it was not continued before the end of the run").by(fleet.resume(firing, instance, journal)).await;
                            tell(shared, TargetEvent::Unmark { firing }).await;
                            resumed
                        }
                        None => Ok(()),
                    }
                }
                Err(error) => Err(error),
            }
        }
        OnProcess::Rolling { .. } => Ok(()),
    };
    if let Err(error) = done {
        journal.record(&not_carried_out(firing, format!("instance {instance}: {error}")));
    }
}

/// The processes of an instance are gone, and with them what clients think open.
async fn gone(shared: &RunContext, instance: u16) {
    if shared.real {
        // What a server told before it was killed is how it was: only of the rest nobody tells.
        shared.fleet.lines().last_words(instance, TOLD_WITHIN).await;
    }
    tell(shared, TargetEvent::Gone { instance }).await;
}

/// Does something to a process. Where that fails, nothing has happened to the connections that were marked for it.
async fn act_or_spare<T>(
    shared: &RunContext,
    (firing, instance): (Firing, u16),
    act: impl Future<Output = Result<T, RunError>>,
) -> Result<T, RunError> {
    let done = act.await;
    if done.is_err() {
        tell(shared, TargetEvent::Spared { firing, instance }).await;
    }
    done
}

/// Carries an order out, here and in all workers.
async fn tell(shared: &RunContext, order: TargetEvent) {
    obey(shared, &order);
    let (TargetEvent::Mark { firing, .. } | TargetEvent::Struck { firing, .. } | TargetEvent::Unmark { firing }) = order else {
        return drop(shared.crew.tell(order).await);
    };
    for worker in shared.crew.tell(order).await {
        let why = format!("worker {} did not answer in time: endings of its clients may not be attributed to the fault", worker + 1);
        shared.journal.record(&not_carried_out(firing, why));
    }
}

/// Carries an order out on the clients of this process.
pub(crate) fn obey(shared: &RunContext, order: &TargetEvent) {
    let marked = || lock(&shared.marked);
    match *order {
        TargetEvent::Mark { firing, instance, ends } => {
            let ids = mark(shared, firing, instance, ends);
            shared.deafen_clients_of(instance);
            shared.journal.record(&fired(firing, ids.len(), None));
            marked().insert((firing, instance), ids);
        }
        TargetEvent::Struck { firing, instance, at } => {
            for id in marked().remove(&(firing, instance)).unwrap_or_default() {
                shared.journal.record_at(at, &Event::Injected { fault: firing.fault, client: id.client, connection: id.connection });
            }
        }
        TargetEvent::Gone { instance } if shared.real => real::gone(shared, instance),
        TargetEvent::Gone { instance } => {
            for (_, slot) in shared.registry.each() {
                slot.set(|place| place.orphan |= place.instance == instance && matches!(place.phase, Some(Phase::Open | Phase::Closing)));
            }
        }
        TargetEvent::Spared { firing, instance } => {
            marked().remove(&(firing, instance));
            for (_, slot) in shared.registry.each() {
                slot.set(|place| place.mark = place.mark.filter(|(of, _)| *of != firing || place.instance != instance));
            }
        }
        TargetEvent::Unmark { firing } => {
            unmark(shared, firing);
            shared.journal.record(&Event::Reverted { fault: firing.fault, firing: firing.number });
        }
        TargetEvent::Up { instance, up } => shared.fleet.set_up(instance, up),
    }
}

fn mark(shared: &RunContext, firing: Firing, instance: u16, ends: bool) -> Vec<Id> {
    let mut marked = Vec::new();
    for (client, slot) in shared.registry.each() {
        slot.set(|place| {
            let open = matches!(place.phase, Some(Phase::Open | Phase::Closing));
            if open && place.instance == instance && !place.orphan {
                // An end by itself outweighs a pause.
                if !place.mark.is_some_and(|(_, ends_already)| ends_already && !ends) {
                    place.mark = Some((firing, ends));
                }
                marked.push(Id { client, connection: crate::event::ConnectionNo(place.connection) });
            }
        });
    }
    marked
}

/// What ends these connections later has another reason.
fn unmark(shared: &RunContext, firing: Firing) {
    for (_, slot) in shared.registry.each() {
        slot.set(|place| place.mark = place.mark.filter(|mark| *mark != (firing, false)));
    }
}
