//! Carries out the schedule of faults: fires, selects, reverts.

use super::pair::{PairCommand, account, end_of};
use super::row::ClientState;
use super::server::Who;
use super::standing::{StandingFault, packed};
use super::{Due, Farewell, What, World, nanos};
use crate::close::{Cause, Initiator, TcpEnd};
use crate::event::{ClientIndex, ConnectionNo, Event, Outcome, Stage};
use crate::fault::{ConnectionEffects, Effect, End, InjectionStep, OnAttempt, OnListener, Shedding, Side};
use crate::plan::{Firing, Standing, draw_exactly};
use crate::reconnect::whole_ms;
use crate::seed::Stream;
use std::time::Duration;

impl World<'_> {
    /// A fault fires.
    pub(super) fn fire(&mut self, fault: u16) {
        let firing = Firing { fault, number: self.fired[usize::from(fault)] };
        self.fired[usize::from(fault)] += 1;
        if !self.budget.begin(firing) {
            return self.record(self.now, &Event::Spent { fault, firing: firing.number });
        }
        let planned = &self.plan.faults[usize::from(fault)];
        match planned.inject.effect(planned.side) {
            Effect::Process(effect) => self.process(firing, &effect),
            Effect::Connection { gate, steps } => {
                for client in self.select(firing) {
                    self.act(firing, client, &gate, &steps);
                }
                if planned.new {
                    self.stand(firing, None);
                }
                self.revert_later(firing);
            }
            Effect::Attempt(on) => {
                self.record(self.now, &Event::Fired { fault, firing: firing.number, selected: 0, eligible: None });
                self.stand(firing, Some(on));
                self.revert_later(firing);
            }
            Effect::Listener { on, instance } => {
                let named = self.named(instance);
                self.record(self.now, &Event::Fired { fault, firing: firing.number, selected: named.len() as u32, eligible: None });
                for server in named {
                    self.reach(server, firing, on);
                }
                self.revert_later(firing);
            }
            // `support` refuses it.
            Effect::BothEnds { .. } => {}
        }
    }

    fn revert_later(&mut self, firing: Firing) {
        if let Some(after) = self.plan.faults[usize::from(firing.fault)].schedule.revert_after {
            self.push(self.now.saturating_add(nanos(after)), Due { client: packed(firing), what: What::Revert, ..Due::default() });
        }
    }

    /// Draws the connections of a firing, and tells of it.
    fn select(&mut self, firing: Firing) -> Vec<u32> {
        let Firing { fault, number } = firing;
        let select = &self.plan.faults[usize::from(fault)].select;
        let now = Duration::from_nanos(self.now);
        let candidates = self.plan.clients_of(&self.plan.faults[usize::from(fault)]).filter(|client| {
            let row = &self.rows[*client as usize];
            select.passes(ClientIndex(*client), row.state.phase(), now.saturating_sub(row.history.opened_at().unwrap_or_default()))
        });
        let candidates: Vec<_> = candidates.collect();
        let eligible = candidates.len() as u32;
        let hits = self.budget.draw(firing, eligible.into());
        let mut chosen = draw_exactly(candidates, hits, &mut self.selections[usize::from(fault)]);
        self.record(self.now, &Event::Fired { fault, firing: number, selected: chosen.len() as u32, eligible: Some(eligible) });
        if self.plan.faults[usize::from(fault)].side != Side::Client {
            // Each server acts on its own.
            chosen.sort_by_key(|client| (self.rows[*client as usize].server, *client));
        }
        chosen
    }

    fn stand(&mut self, firing: Firing, on: Option<OnAttempt>) {
        let fault = firing.fault;
        let standing = Standing::of(self.plan, &self.plan.faults[usize::from(fault)]);
        self.standing.push(StandingFault { firing, on, standing });
    }

    /// Whether a standing fault selects this attempt, or this new connection; uses up one of its hits.
    fn stands(&mut self, place: usize, client: u32, attempt: bool) -> bool {
        let StandingFault { firing, on, standing } = &self.standing[place];
        on.is_some() == attempt && standing.wants(ClientIndex(client), true) && self.budget.take_one(*firing)
    }

    /// Faults that wait for new connections and take this one: those of the server's side, and those of the client's.
    pub(super) fn waiting_for(&mut self, client: u32) -> [Vec<Firing>; 2] {
        let mut taken = [Vec::new(), Vec::new()];
        for place in 0..self.standing.len() {
            if self.stands(place, client, false) {
                let firing = self.standing[place].firing;
                taken[usize::from(self.plan.faults[usize::from(firing.fault)].side == Side::Client)].push(firing);
            }
        }
        taken
    }

    /// Firings act on a connection.
    pub(super) fn act_all(&mut self, firings: Vec<Firing>, client: u32) {
        for firing in firings {
            let planned = &self.plan.faults[usize::from(firing.fault)];
            if let Effect::Connection { gate, steps } = planned.inject.effect(planned.side) {
                self.act(firing, client, &gate, &steps);
            }
        }
    }

    /// The fault that waits for attempts and takes this one, what it does, and its random stream for it.
    pub(super) fn taken(&mut self, who: Who) -> Option<(u16, OnAttempt, Stream)> {
        let place = (0..self.standing.len()).find(|place| self.stands(*place, who.client, true))?;
        let StandingFault { firing: Firing { fault, .. }, on, standing } = self.standing[place].clone();
        let (client, connection) = (ClientIndex(who.client), ConnectionNo(who.attempt));
        self.record(self.now, &Event::Injected { fault, client, connection });
        Some((fault, on?, standing.random(self.plan.seed, client, connection)))
    }

    /// Faults that wait for attempts reach this one. Whether they took it.
    pub(super) fn suffers(&mut self, client: u32, until: u64) -> bool {
        let Some((fault, on, mut random)) = self.taken(self.who(client)) else { return false };
        let fails = |world: &mut Self, after: Duration, outcome: Outcome| {
            let failing = world.failing(Stage::Upgrade, outcome, None);
            let at = world.now.saturating_add(nanos(after)).saturating_add(world.leg());
            world.first(client, (at, What::Refusal, failing), until);
        };
        let cut = |how: &str| Outcome::Failed { why: format!("connection ended before the 101 response: {how}") };
        match on {
            OnAttempt::Stall(hold) if hold.is_zero() => self.push_for(until, client, What::Deadline, 0),
            OnAttempt::Stall(hold) => fails(self, hold, cut("end of stream")),
            OnAttempt::Cut { delay, end: End::Rst } => fails(self, delay, cut("connection reset")),
            OnAttempt::Cut { delay, .. } => fails(self, delay, cut("end of stream")),
            OnAttempt::Reject { status, retry_after, location, .. } => {
                let location = location.map(String::into_boxed_str);
                fails(self, Duration::ZERO, Outcome::Rejected { status, retry_after, location });
            }
            OnAttempt::Shed { delay, share, by } => match by {
                _ if random.unit() >= share => self.answers_late(client, delay, until),
                Shedding::Status(status) => fails(self, delay, Outcome::Rejected { status, retry_after: None, location: None }),
                Shedding::Close(code) => {
                    self.turned_away(client, code, Some(fault));
                    self.answers_late(client, delay, until);
                }
            },
            OnAttempt::Answer(answer) => {
                if let Some(code) = answer.close {
                    self.turned_away(client, code, Some(fault));
                }
                // Of timers, which count milliseconds.
                self.answers_late(client, whole_ms(answer.delay + answer.jitter.mul_f64(random.unit())), until);
            }
            // `support` refuses it.
            _ => return false,
        }
        true
    }

    /// The server opens this connection and closes it at once.
    pub(super) fn turned_away(&mut self, client: u32, code: u16, fault: Option<u16>) {
        let farewell = self.server_farewell(Cause::Remote, fault, Some(code), "");
        self.rows[client as usize].turned_away = true;
        self.turned_away.insert(client, farewell);
    }

    /// The server begins to serve this request only later.
    fn answers_late(&mut self, client: u32, delay: Duration, until: u64) {
        if delay.is_zero() {
            return self.serve(client, until);
        }
        let at = self.now.saturating_add(nanos(delay));
        if at >= until {
            self.push_for(until, client, What::Deadline, 0);
        }
        self.go_on_at(at, self.rows[client as usize].server, self.who(client));
    }

    /// A process carries out what a firing asks of its listening socket, or the next one will, or this one when it goes on: one that stands
    /// still hears nothing.
    fn reach(&mut self, server: u16, firing: Firing, on: OnListener) {
        let of = &mut self.servers[usize::from(server)];
        if of.up && !of.is_frozen(self.now) {
            self.record(self.now, &Event::Reached { fault: firing.fault });
            self.listener(server, on);
        } else {
            of.unreached.push((firing, on));
        }
    }

    /// Firings that waited for a process reach it, and the ends of others.
    pub(super) fn reach_all(&mut self, server: u16) {
        self.forget_reverted(server);
        for (firing, on) in std::mem::take(&mut self.servers[usize::from(server)].unreached) {
            self.record(self.now, &Event::Reached { fault: firing.fault });
            self.listener(server, on);
        }
    }

    /// What was over while a process stood still is over for it now, too, or it is gone.
    pub(super) fn forget_reverted(&mut self, server: u16) {
        for on in std::mem::take(&mut self.servers[usize::from(server)].unreverted) {
            self.listens_again(server, on);
        }
    }

    fn listens_again(&mut self, server: u16, on: OnListener) {
        match on {
            OnListener::Closed => self.servers[usize::from(server)].closed -= 1,
            OnListener::Full(backlog) => self.accepts_again(server, backlog),
            // `support` refuses the others.
            _ => {}
        }
    }

    fn listener(&mut self, server: u16, on: OnListener) {
        match on {
            OnListener::Closed => {
                self.servers[usize::from(server)].closed += 1;
                // The kernel resets what waits in its queue, and the server what waits for an answer.
                let cut = self.failing(
                    Stage::Upgrade,
                    Outcome::Failed { why: "connection ended before the 101 response: connection reset".to_owned() },
                    None,
                );
                self.servers[usize::from(server)].held.clear();
                self.forget_gone(server);
                for client in 0..self.rows.len() as u32 {
                    let row = &self.rows[client as usize];
                    if row.server == server && row.state.is_with_server() {
                        let (who, state) = (self.who(client), row.state);
                        self.servers[usize::from(server)].vacate(who);
                        self.turn_to(client, state);
                        let at = self.now.saturating_add(self.leg());
                        self.cut_attempt(client, at, cut);
                    }
                }
            }
            OnListener::Full(backlog) => self.servers[usize::from(server)].full.push(backlog),
            // `support` refuses the others.
            _ => {}
        }
    }

    /// What a fault does to a connection, or to an attempt that it cuts.
    fn act(&mut self, firing: Firing, client: u32, gate: &ConnectionEffects, steps: &[InjectionStep]) {
        let fault = firing.fault;
        let side = self.plan.faults[usize::from(fault)].side;
        let (id, connection) = self.id(client);
        if !self.rows[client as usize].state.is_open() {
            if side == Side::Client && matches!(steps, [InjectionStep::End(End::Fin | End::Rst)]) {
                self.record(self.now, &Event::Injected { fault, client: id, connection });
                let stage = match self.rows[client as usize].state {
                    _ if self.is_asking(client) => Stage::Before,
                    ClientState::Knocking => Stage::Tcp,
                    _ => Stage::Upgrade,
                };
                let cut = self.failing(stage, Outcome::Abandoned, Some(fault));
                self.fails(client, self.now, cut);
            } else if side == Side::Client {
                // What cannot act on an attempt acts on its connection.
                self.later.entry(client).or_default().push(firing);
            }
            return;
        }
        let at_once = gate.is_open() && matches!(steps, [InjectionStep::End(End::Fin | End::Rst)] | [InjectionStep::Close { .. }]);
        if !at_once || self.pairs.of(client).is_some() {
            self.tell(client, end_of(side), PairCommand::Inject { firing, gate: Box::new(gate.clone()), steps: steps.to_vec() });
            return;
        }
        // What ends a connection without trouble needs no two ends.
        self.record(self.now, &Event::Injected { fault, client: id, connection });
        match (steps, side) {
            ([InjectionStep::End(end)], Side::Client) => self.client_ends(fault, client, *end),
            ([InjectionStep::End(end)], _) => self.server_ends(fault, client, *end),
            ([InjectionStep::Close { code, reason }], Side::Client) => self.client_closes(client, Cause::Fault(fault), *code, reason),
            ([InjectionStep::Close { code, reason }], _) => {
                let farewell = self.server_farewell(Cause::Remote, Some(fault), *code, reason);
                self.server_closes(client, farewell);
            }
            _ => {}
        }
    }

    fn client_ends(&mut self, fault: u16, client: u32, end: End) {
        let tcp_end = if end == End::Rst { TcpEnd::Rst } else { TcpEnd::Fin };
        let ending = account(Cause::Fault(fault), Initiator::Client, TcpEnd::Local, (None, None));
        let server = account(Cause::Remote, Initiator::Client, tcp_end, (None, None));
        let farewell = self.ending_id(Farewell { client: ending, server: Some(server), closing: None });
        self.ends(client, farewell);
    }

    fn server_ends(&mut self, fault: u16, client: u32, end: End) {
        let tcp_end = if end == End::Rst { TcpEnd::Rst } else { TcpEnd::Fin };
        let ending = account(Cause::Remote, Initiator::Server, tcp_end, (None, None));
        let server = account(Cause::Fault(fault), Initiator::Server, TcpEnd::Local, (None, None));
        let farewell = self.ending_id(Farewell { client: ending, server: Some(server), closing: None });
        self.turn_to(client, ClientState::Closing);
        let at = self.now.saturating_add(self.leg()).saturating_add(nanos(self.kind.model.notice.draw(&mut self.path)));
        self.ends_at(client, at, farewell);
    }

    /// A firing is over.
    pub(super) fn revert(&mut self, firing: Firing) {
        let Firing { fault, number } = firing;
        let planned = &self.plan.faults[usize::from(fault)];
        self.standing.retain(|standing| standing.firing != firing);
        self.budget.end(firing);
        self.later.values_mut().for_each(|firings| firings.retain(|other| *other != firing));
        match planned.inject.effect(planned.side) {
            Effect::Listener { on, instance } => {
                for server in self.named(instance) {
                    let of = &mut self.servers[usize::from(server)];
                    let waited = of.unreached.len();
                    of.unreached.retain(|(other, _)| *other != firing);
                    if of.unreached.len() < waited {
                        continue;
                    }
                    if of.is_frozen(self.now) {
                        of.unreverted.push(on);
                    } else {
                        self.listens_again(server, on);
                    }
                }
            }
            Effect::Connection { .. } => self.tell_all(firing, end_of(planned.side)),
            _ => {}
        }
        self.record(self.now, &Event::Reverted { fault, firing: number });
    }

    /// A firing that kept the server from accepting is over: the strictest of those that are left counts.
    fn accepts_again(&mut self, server: u16, backlog: u32) {
        let full = &mut self.servers[usize::from(server)].full;
        if let Some(place) = full.iter().position(|other| *other == backlog) {
            full.swap_remove(place);
        }
        if full.is_empty() {
            self.go_on_accepting(server);
        }
    }
}
