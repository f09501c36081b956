//! Carries out the schedule of faults: fires, selects, reverts. What a fault does to bytes is not its business.

use super::Shared;
use super::channel::{Id, Standing, ToServer};
use super::control::{Command, Dose};
use super::registry::Place;
use crate::event::Event;
use crate::fault::{Effect, Gate, OnProcess, Side, Step};
use crate::plan::{Fault, Phase, Pick};
use crate::seed::Stream;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep_until;

/// Fires one fault through the run.
pub(super) async fn run(shared: Arc<Shared>, index: u16) {
    let plan = shared.plan.clone();
    let fault = &plan.faults[usize::from(index)];
    let mut firing = Firing {
        shared: &shared,
        fault,
        index,
        clients: clients(&shared, fault),
        random: plan.seed.stream(&format!("fault/{}/select", fault.name)),
        left: fault.schedule.first_n,
    };
    for at in fault.firings(plan.seed, plan.duration) {
        sleep_until(shared.journal.instant(at)).await;
        if firing.left == Some(0) {
            return;
        }
        firing.fire().await;
    }
}

fn clients(shared: &Shared, fault: &Fault) -> Range<u32> {
    match fault.select.cohort {
        Some(cohort) => {
            let cohort = &shared.plan.cohorts[cohort];
            cohort.first..cohort.first + cohort.count
        }
        None => 0..shared.plan.clients(),
    }
}

struct Firing<'a> {
    shared: &'a Arc<Shared>,
    fault: &'a Fault,
    index: u16,
    clients: Range<u32>,
    random: Stream,
    left: Option<u64>,
}

impl Firing<'_> {
    fn record_fired(&self, selected: usize) {
        self.shared.journal.record(&Event::Fired { fault: self.index, selected: u32::try_from(selected).unwrap_or(u32::MAX) });
    }

    async fn fire(&mut self) {
        match self.fault.inject.effect(self.fault.side) {
            Effect::Connection { gate, steps } => self.connections(Dose { fault: self.index, gate, steps, quiet: false }),
            Effect::BothEnds { client, server } => self.both_ends(client, server),
            Effect::Attempt(effect) => {
                let standing = self.standing();
                self.record_fired(0);
                if self.fault.side == Side::Client {
                    self.shared.registry.stand_attempts(self.index, effect, standing);
                } else {
                    self.shared.fleet.stand(self.index, ToServer::Attempts { fault: self.index, effect, standing });
                }
                self.revert_later(Vec::new());
            }
            Effect::Listener { on, instance } => {
                self.record_fired(self.shared.fleet.named(instance).len());
                self.shared.fleet.stand(self.index, ToServer::Listener { fault: self.index, on, instance });
                self.revert_later(Vec::new());
            }
            Effect::Process(effect) => {
                let (shared, index, holds) = (self.shared.clone(), self.index, self.fault.schedule.revert_after);
                // A task of its own: a slow restart must not delay the next firing.
                tokio::spawn(async move { process(&shared, index, &effect, holds).await });
            }
        }
    }

    fn standing(&self) -> Standing {
        let pick = self.fault.select.pick;
        let first_n = match (pick, self.left) {
            (Pick::Count(count), left) => Some(left.map_or(u64::from(count), |left| left.min(u64::from(count)))),
            (_, left) => left,
        };
        let clients = self.fault.select.cohort.map(|_| (self.clients.start, self.clients.end));
        Standing { clients, pick, stream: format!("fault/{}/attempts", self.fault.name), first_n }
    }

    /// Draws the connections of a firing, and tells of it.
    fn choose(&mut self) -> Vec<(Id, Place)> {
        let now = self.shared.journal.now();
        let chosen = self.shared.registry.select(&self.fault.select, self.clients.clone(), now, self.left, &mut self.random);
        self.left = self.left.map(|left| left - (chosen.len() as u64).min(left));
        self.record_fired(chosen.len());
        chosen
    }

    /// Gives a dose to the embedded servers that hold these connections.
    fn tell_servers(&self, dose: &Dose, chosen: &[(Id, Place)]) {
        for instance in self.shared.fleet.named(None) {
            let ids = chosen.iter().filter(|(_, place)| place.instance == instance).map(|(id, _)| *id).collect();
            self.shared.fleet.tell(instance, ToServer::Inject { dose: dose.clone(), ids });
        }
    }

    /// Both ends of each chosen connection; the client tells when the fault acts.
    fn both_ends(&mut self, client: Vec<Step>, server: Vec<Step>) {
        let chosen = self.choose();
        let dose = |steps, quiet| Dose { fault: self.index, gate: Gate::default(), steps, quiet };
        let (server, client) = (dose(server, true), Arc::new(dose(client, false)));
        self.tell_servers(&server, &chosen);
        for (id, _) in &chosen {
            self.shared.registry.slot(id.client).control.send(Command::Inject(client.clone()));
        }
        if self.fault.new {
            // Both draw the same connections: by the fault's stream and the connection's id.
            self.shared.fleet.stand(self.index, ToServer::InjectNew { dose: server, standing: self.standing() });
            self.shared.registry.stand(client, self.standing());
        }
    }

    fn connections(&mut self, dose: Dose) {
        let shared = self.shared;
        let chosen = self.choose();
        if self.fault.side == Side::Client {
            let dose = Arc::new(dose);
            for (id, _) in &chosen {
                shared.registry.slot(id.client).control.send(Command::Inject(dose.clone()));
            }
            if self.fault.new {
                shared.registry.stand(dose, self.standing());
            }
        } else {
            self.tell_servers(&dose, &chosen);
            if self.fault.new {
                shared.fleet.stand(self.index, ToServer::InjectNew { dose, standing: self.standing() });
            }
        }
        self.revert_later(chosen.into_iter().map(|(id, _)| id).collect());
    }

    /// Reverts this firing after its time, where it has one.
    fn revert_later(&self, chosen: Vec<Id>) {
        let Some(after) = self.fault.schedule.revert_after else { return };
        let (shared, index, side) = (self.shared.clone(), self.index, self.fault.side);
        let at = shared.journal.now() + after;
        tokio::spawn(async move {
            sleep_until(shared.journal.instant(at)).await;
            shared.registry.unstand(index);
            if side == Side::Client {
                // Not only the chosen: connections that opened since then may have got it by standing.
                let chosen: std::collections::HashSet<_> = chosen.iter().map(|id| id.client).collect();
                for (client, slot) in shared.registry.each() {
                    if chosen.contains(&client) || slot.place().phase == Some(Phase::Open) {
                        slot.control.send(Command::Revert(index));
                    }
                }
            } else {
                shared.fleet.revert(index);
            }
            shared.journal.record(&Event::Reverted { fault: index });
        });
    }
}

/// What happens to processes.
async fn process(shared: &Arc<Shared>, fault: u16, effect: &OnProcess, holds: Option<Duration>) {
    match effect {
        OnProcess::Rolling { interval, each } => {
            let begun = shared.journal.now();
            let mut tasks = Vec::new();
            for (turn, instance) in (0_u32..).zip(shared.fleet.named(None)) {
                sleep_until(shared.journal.instant(begun + *interval * turn)).await;
                let (shared, each) = (shared.clone(), each.clone());
                tasks.push(tokio::spawn(async move { one(&shared, fault, instance, &each, None).await }));
            }
            for task in tasks {
                let _ = task.await;
            }
        }
        OnProcess::Crash { instance, .. } | OnProcess::Graceful { instance, .. } | OnProcess::Pause { instance } => {
            let instances = shared.fleet.named(*instance);
            futures_util::future::join_all(instances.into_iter().map(|instance| one(shared, fault, instance, effect, holds))).await;
        }
    }
}

/// What happens to one process. The connections it holds are marked first, so that their ends have their cause.
async fn one(shared: &Arc<Shared>, fault: u16, instance: u16, effect: &OnProcess, holds: Option<Duration>) {
    let ends = !matches!(effect, OnProcess::Pause { .. });
    let marked = mark(shared, fault, instance, ends);
    shared.journal.record(&Event::Fired { fault, selected: u32::try_from(marked.len()).unwrap_or(u32::MAX) });
    let done = match effect {
        OnProcess::Crash { down, .. } => match shared.fleet.crash(instance, &shared.journal).await {
            Ok(at) => {
                injected(shared, fault, at, &marked);
                sleep_until(shared.journal.instant(at + *down)).await;
                shared.fleet.start_again(instance, &shared.journal).await;
                Ok(())
            }
            Err(error) => Err(error),
        },
        OnProcess::Graceful { code, reason, grace, spread, down, .. } => {
            let command = ToServer::Graceful { fault, code: *code, reason: reason.clone(), grace: *grace, spread: *spread };
            if shared.fleet.is_foreign() {
                injected(shared, fault, shared.journal.now(), &marked);
            }
            let stopped = shared.fleet.stop(instance, command, *grace + *spread, &shared.journal).await;
            if stopped.is_ok() {
                sleep_until(shared.journal.instant(shared.journal.now() + *down)).await;
                shared.fleet.start_again(instance, &shared.journal).await;
            }
            stopped
        }
        OnProcess::Pause { .. } => match shared.fleet.pause(instance, &shared.journal).await {
            Ok(at) => {
                injected(shared, fault, at, &marked);
                if let Some(holds) = holds {
                    sleep_until(shared.journal.instant(at + holds)).await;
                    shared.fleet.resume(instance, &shared.journal).await;
                    unmark(shared, fault);
                    shared.journal.record(&Event::Reverted { fault });
                }
                Ok(())
            }
            Err(error) => Err(error),
        },
        OnProcess::Rolling { .. } => Ok(()),
    };
    if let Err(error) = done {
        shared.journal.notice(format!("{}: {error}", shared.plan.faults[usize::from(fault)].name));
    }
}

fn mark(shared: &Shared, fault: u16, instance: u16, ends: bool) -> Vec<Id> {
    let mut marked = Vec::new();
    for (client, slot) in shared.registry.each() {
        slot.set(|place| {
            let open = matches!(place.phase, Some(Phase::Open | Phase::Closing));
            if open && place.instance == instance {
                // An end by itself outweighs a pause.
                if !place.mark.is_some_and(|(_, ends_already)| ends_already && !ends) {
                    place.mark = Some((fault, ends));
                }
                marked.push(Id { client, connection: crate::event::ConnectionNo(place.connection) });
            }
        });
    }
    marked
}

/// What ends these connections later has another reason.
fn unmark(shared: &Shared, fault: u16) {
    for (_, slot) in shared.registry.each() {
        slot.set(|place| place.mark = place.mark.filter(|mark| *mark != (fault, false)));
    }
}

fn injected(shared: &Shared, fault: u16, at: Duration, marked: &[Id]) {
    for id in marked {
        shared.journal.record_at(at, &Event::Injected { fault, client: id.client, connection: id.connection });
    }
}
