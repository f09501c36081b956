//! What happens to server processes: crashes, graceful stops, rolling restarts, stops; and the service of those that run.

use super::pair::{PairCommand, SERVER, account};
use super::row::ClientState;
use super::server::{Exiting, Who};
use super::standing::packed;
use super::{Answered, Due, Failing, Farewell, What, World, nanos};
use crate::close::{Cause, Initiator, TcpEnd};
use crate::event::{ClientIndex, ConnectionNo, Event, Outcome, Stage};
use crate::fault::OnProcess;
use crate::plan::{Firing, Target, turn_in};
use std::time::Duration;

/// The server of a connection whose process is gone.
pub(super) const ORPHAN: u16 = u16::MAX;

impl World<'_> {
    /// The instances that a fault names: one, or all.
    pub(super) fn named(&self, instance: Option<u16>) -> Vec<u16> {
        (0..self.servers.len() as u16).filter(|index| instance.is_none_or(|named| named == *index)).collect()
    }

    pub(super) fn process(&mut self, firing: Firing, effect: &OnProcess) {
        match effect {
            OnProcess::Rolling { interval, .. } => {
                for server in self.named(None) {
                    let at = self.now.saturating_add(nanos(*interval).saturating_mul(u64::from(server)));
                    if at >= self.end {
                        let why = format!("instance {server}: its turn comes after the end of the run");
                        let of = Event::NotCarriedOut { fault: Some(firing.fault), firing: firing.number, why };
                        self.record(self.now, &of);
                        continue;
                    }
                    self.push(at, Due { client: packed(firing), turn: server, what: What::Roll, mark: 0 });
                }
            }
            effect => {
                self.named(effect.instance()).into_iter().for_each(|server| self.one(firing, server, effect));
            }
        }
    }

    /// The turn of one instance in a rolling restart.
    pub(super) fn roll(&mut self, firing: Firing, server: u16) {
        let planned = &self.plan.faults[usize::from(firing.fault)];
        if let crate::fault::Effect::Process(OnProcess::Rolling { each, .. }) = planned.inject.effect(planned.side) {
            self.one(firing, server, &each);
        }
    }

    fn one(&mut self, firing: Firing, server: u16, effect: &OnProcess) {
        let Firing { fault, number } = firing;
        let holding = self.clients_of(server);
        self.record(self.now, &Event::Fired { fault, firing: number, selected: holding.len() as u32, eligible: None });
        if !self.servers[usize::from(server)].up {
            let why = format!("instance {server}: the target is not running");
            return self.record(self.now, &Event::NotCarriedOut { fault: Some(fault), firing: number, why });
        }
        match effect {
            OnProcess::Crash { down, .. } => self.crash(fault, server, nanos(*down), &holding),
            OnProcess::Graceful { code, reason, grace, spread, down, .. } => {
                self.graceful(firing, server, (*code, reason), holding, (nanos(*grace), nanos(*spread), nanos(*down)));
            }
            OnProcess::Pause { .. } => self.pause(firing, server, &holding),
            // `support` refuses the others.
            _ => {}
        }
    }

    /// Clients with an open connection to a server, by index.
    fn clients_of(&self, server: u16) -> Vec<u32> {
        let open = (0..).zip(&self.rows).filter(|(_, row)| row.server == server && row.state.is_open());
        open.map(|(client, _)| client).collect()
    }

    fn target(&mut self, server: u16, what: &'static str, detail: &str) {
        self.record(self.now, &Event::Target { instance: server, what, detail: detail.to_owned() });
    }

    pub(super) fn injected(&mut self, fault: u16, client: u32) {
        let connection = ConnectionNo(self.rows[client as usize].attempts);
        self.record(self.now, &Event::Injected { fault, client: ClientIndex(client), connection });
    }

    /// SIGKILL: the kernel ends what was open.
    fn crash(&mut self, fault: u16, server: u16, down: u64, holding: &[u32]) {
        self.target(server, "down", "SIGKILL");
        holding.iter().for_each(|client| self.injected(fault, *client));
        self.die(Some(fault), server, down);
    }

    /// The process is gone, by a fault that ends connections or by itself: whom it held hears of it, and a new one starts later.
    fn die(&mut self, by: Option<u16>, server: u16, down: u64) {
        let ending = account(by.map_or(Cause::Remote, Cause::Fault), Initiator::Server, TcpEnd::Fin, (None, None));
        let farewell = self.ending_id(Farewell { client: ending, server: None, closing: None });
        self.processes[usize::from(server)] = self.processes[usize::from(server)].wrapping_add(1);
        let waiting = std::mem::take(&mut self.servers[usize::from(server)].held);
        let reset = self.reset_before_101();
        self.servers[usize::from(server)].stop();
        self.forget_reverted(server);
        let turn = self.processes[usize::from(server)];
        // Before any client hears of it: who waits exactly as long as the server is down finds it there, as in the engine.
        self.push(self.now.saturating_add(down), Due { client: u32::from(server), turn, what: What::Start, mark: 0 });
        let mut told: Vec<(Duration, u32)> = Vec::new();
        for client in 0..self.rows.len() as u32 {
            let row = &self.rows[client as usize];
            if row.server != server || !(row.state.is_open() || row.state.is_with_server()) {
                continue;
            }
            let state = row.state;
            self.orphan(client, server, state);
            if self.pairs.of(client).is_some() {
                continue;
            }
            let at = self.now.saturating_add(self.leg());
            if state.is_with_server() {
                // Nothing but the end can reach it now. Whom nobody had accepted, or had asked in vain, is reset.
                let how = if waiting.contains(&self.who(client)) { reset } else { Failing::CUT };
                self.turn_to(client, state);
                self.cut_attempt(client, at.min(self.end), how);
            } else {
                self.turn_to(client, ClientState::Closing);
                if self.kind.model.notice_each.is_zero() {
                    let at = at.saturating_add(self.notice());
                    self.ends_at(client, at, farewell);
                } else {
                    told.push((self.rows[client as usize].history.opened_at().unwrap_or_default(), client));
                }
            }
        }
        for slot in [self.pairs.at(server), self.pairs.buried_at(server)].concat() {
            let notice = self.notice();
            self.tend(slot, |pair, scene| {
                pair.mark = by;
                pair.kill(scene, notice);
            });
        }
        // As the kernel closes them, and their clients' machine takes them: one after the other.
        told.sort_unstable();
        for (before, (_, client)) in (0_u64..).zip(told) {
            let first = self.now.saturating_add(self.leg()).saturating_add(self.notice());
            let at = first.saturating_add(before.saturating_mul(nanos(self.kind.model.notice_each)));
            self.machine_free_at = self.machine_free_at.max(at);
            self.ends_at(client, at, farewell);
        }
        self.servers[usize::from(server)].open = 0;
    }

    fn reset_before_101(&mut self) -> u32 {
        self.failing(Stage::Upgrade, Outcome::Failed { why: "connection ended before the 101 response: connection reset".to_owned() }, None)
    }

    /// Removes a client from what its server counts.
    fn orphan(&mut self, client: u32, server: u16, state: ClientState) {
        if state.is_with_server() {
            self.servers[usize::from(server)].coming -= 1;
        }
        self.rows[client as usize].server = ORPHAN;
    }

    fn notice(&mut self) -> u64 {
        nanos(self.kind.model.notice.draw(&mut self.path))
    }

    /// Stops listening, closes every connection over `spread`, exits when they are gone or after `grace`.
    fn graceful(&mut self, firing: Firing, server: u16, close: (u16, &str), mut holding: Vec<u32>, times: (u64, u64, u64)) {
        let ((grace, spread, down), fault) = (times, firing.fault);
        self.target(server, "stopping", "");
        let farewell = self.server_farewell(Cause::Remote, Some(fault), Some(close.0), close.1);
        // A process that stands still goes on, or it could not obey.
        if !std::mem::take(&mut self.servers[usize::from(server)].pauses).is_empty() {
            self.servers[usize::from(server)].thaw(self.now);
            self.wake_ends(server);
        }
        let pairs = self.pairs.at(server);
        holding.retain(|client| self.pairs.of(*client).is_none());
        let held = std::mem::take(&mut self.servers[usize::from(server)].held);
        {
            let (now, server) = (self.now, &mut self.servers[usize::from(server)]);
            (server.up, server.exiting) = (false, Some(Exiting { firing, down, since: now, ending_id: farewell }));
        }
        let reset = self.reset_before_101();
        for who in held {
            if self.rows[who.client as usize].turn == who.turn {
                let at = self.now.saturating_add(self.leg_mean());
                self.cut_attempt(who.client, at, reset);
            }
        }
        let mut all: Vec<_> = holding.into_iter().map(|client| (self.opened_at(client), client, None)).collect();
        all.extend(pairs.into_iter().filter_map(|slot| self.pairs.get(slot).map(|pair| (pair.opened_at, pair.client, Some(slot)))));
        // In the order in which they opened, as the embedded server does.
        all.sort_unstable();
        let count = all.len() as u32;
        for (index, (_, client, slot)) in (0..).zip(all) {
            let at = self.now.saturating_add(nanos(turn_in(Duration::from_nanos(spread), index, count)));
            match slot {
                Some(slot) => {
                    let command = PairCommand::Close { fault, code: close.0, reason: close.1.to_owned() };
                    self.tend(slot, |pair, _| pair.ends[SERVER].shuts = Some((at, Box::new(command))));
                }
                None if at == self.now => self.close_gracefully(client, farewell),
                None => {
                    self.turns.insert((client, self.rows[client as usize].attempts), at);
                    self.push_for(at, client, What::Close, farewell);
                }
            }
        }
        let turn = self.processes[usize::from(server)];
        let at = self.now.saturating_add(spread).saturating_add(grace);
        self.push(at, Due { client: u32::from(server), turn, what: What::Grace, mark: 0 });
        self.check_exit(server);
    }

    /// Servers that were asked to stop some time ago and have not at the end, as the engine tells it: what has just begun is cut by the
    /// end, and not by a failure.
    pub(super) fn not_stopped(&mut self, end: u64) {
        for server in 0..self.servers.len() {
            let Some(Exiting { firing: Firing { fault, number }, since, .. }) = self.servers[server].exiting else { continue };
            if since.saturating_add(1_000_000_000) <= end {
                let why = format!("instance {server}: it had not stopped before the end of the run");
                // As the last thing of the run.
                self.record(end.saturating_sub(1), &Event::NotCarriedOut { fault: Some(fault), firing: number, why });
            }
        }
    }

    /// The turn of a connection in a graceful stop.
    pub(super) fn close_gracefully(&mut self, client: u32, farewell: u32) {
        self.turns.remove(&(client, self.rows[client as usize].attempts));
        let place = usize::from(self.rows[client as usize].server);
        let Some(Exiting { firing: Firing { fault, .. }, .. }) = self.servers.get(place).and_then(|server| server.exiting) else { return };
        if self.pairs.of(client).is_some() {
            let Farewell { client: account, .. } = &self.farewells[farewell as usize];
            let (code, reason) = (account.wire_received.unwrap_or(crate::close::NO_STATUS), account.reason.clone());
            self.tell(client, SERVER, PairCommand::Close { fault, code, reason });
        } else if self.rows[client as usize].state == ClientState::Open {
            self.injected(fault, client);
            self.server_closes(client, farewell);
        }
    }

    fn opened_at(&self, client: u32) -> u64 {
        self.rows[client as usize].history.opened_at().map_or(0, nanos)
    }

    pub(super) fn leg_mean(&self) -> u64 {
        nanos(self.kind.model.rtt.mean()) / 2
    }

    /// How a connection ends that its server closes with `code`.
    pub(super) fn server_farewell(&mut self, cause: Cause, fault: Option<u16>, code: Option<u16>, reason: &str) -> u32 {
        let valid = code.is_none_or(crate::close::may_be_sent);
        let wire = |code: Option<u16>| Some(code.unwrap_or(crate::close::NO_STATUS));
        // A healthy client answers an invalid code with 1002.
        let answer = if valid { code } else { Some(crate::close::PROTOCOL_ERROR) };
        let mut client = account(cause, Initiator::Server, TcpEnd::Fin, (Some(code), wire(answer)));
        let of_server = if let Cause::Remote = cause { fault.map_or(Cause::Remote, Cause::Fault) } else { cause };
        let mut server = account(of_server, Initiator::Server, TcpEnd::Fin, (Some(answer), wire(code)));
        if valid {
            client.reason = reason.to_owned();
            server.reason = reason.to_owned();
        }
        self.ending_id(Farewell { client, server: Some(server), closing: Some(Answered::ByClient) })
    }

    /// A connection of this server is gone: an exit may have waited for it.
    pub(super) fn check_exit(&mut self, server: u16) {
        let Some(of) = self.servers.get(usize::from(server)) else { return };
        if of.exiting.is_some() && of.open == 0 {
            self.exit(server);
        }
    }

    /// The end of a graceful stop; what is still open is cut.
    pub(super) fn exit(&mut self, server: u16) {
        let Some(Exiting { firing: Firing { fault, .. }, down, .. }) = self.servers[usize::from(server)].exiting.take() else { return };
        self.target(server, "down", "exit code 0");
        // The embedded server says of each connection how it ended; what is left says nothing.
        let embedded = matches!(self.plan.target, Target::Embedded(_));
        self.die((!embedded).then_some(fault), server, down);
    }

    /// A new process, which takes its time until it listens.
    pub(super) fn start(&mut self, server: u16) {
        self.target(server, "started", "");
        match nanos(self.kind.model.start_up.draw(&mut self.path)) {
            0 => self.listen(server),
            later => {
                let turn = self.processes[usize::from(server)];
                self.push(self.now.saturating_add(later), Due { client: u32::from(server), turn, what: What::Listen, mark: 0 });
            }
        }
    }

    /// It listens.
    pub(super) fn listen(&mut self, server: u16) {
        self.servers[usize::from(server)].start(&self.kind, self.now);
        self.target(server, "listening", "");
        self.reach_all(server);
    }

    /// SIGSTOP, to SIGCONT or the end of the run.
    fn pause(&mut self, firing: Firing, server: u16, holding: &[u32]) {
        let fault = firing.fault;
        self.servers[usize::from(server)].pauses.push(firing);
        self.target(server, "paused", "");
        let holds = self.plan.faults[usize::from(fault)].schedule.revert_after.map_or(self.end, nanos);
        self.servers[usize::from(server)].freeze(self.now, holds);
        for client in holding {
            self.injected(fault, *client);
        }
        holding.iter().for_each(|client| _ = self.trouble(*client));
        for slot in self.pairs.at(server) {
            self.tend(slot, |pair, _| pair.ends[SERVER].stands = true);
        }
        self.push(self.now.saturating_add(holds), Due { client: packed(firing), turn: server, what: What::Resume, mark: 0 });
    }

    /// A pause is over: SIGCONT, if it was the last one.
    pub(super) fn resume(&mut self, firing: Firing, server: u16) {
        let pauses = &mut self.servers[usize::from(server)].pauses;
        // A process that was killed, or went on to stop, is not stopped any more.
        let stood = pauses.len();
        pauses.retain(|other| *other != firing);
        let goes_on = stood > 0 && pauses.is_empty();
        if goes_on {
            self.target(server, "resumed", "");
        }
        if goes_on {
            self.reach_all(server);
            self.wake_ends(server);
            self.go_on_accepting(server);
        }
        self.record(self.now, &Event::Reverted { fault: firing.fault, firing: firing.number });
    }

    /// A process that stood still goes on with its connections.
    fn wake_ends(&mut self, server: u16) {
        for slot in self.pairs.at(server) {
            self.tend(slot, |pair, _| pair.ends[SERVER].stands = false);
        }
    }

    /// What waited in the listen queue is accepted.
    pub(super) fn go_on_accepting(&mut self, server: u16) {
        for who in std::mem::take(&mut self.servers[usize::from(server)].held) {
            if self.rows[who.client as usize].turn == who.turn {
                self.request(who.client);
            } else {
                self.request_gone(server, who);
            }
        }
    }

    /// Lets a server with idle places take those that wait.
    pub(super) fn take_next(&mut self, server: usize) {
        loop {
            let (rows, of) = (&self.rows, &mut self.servers[server]);
            let is_gone = |who: Who| rows[who.client as usize].turn != who.turn;
            let is_asking = |who: Who| !is_gone(who) && rows[who.client as usize].state == ClientState::Asking;
            let Some(at) = of.take(&self.kind, self.now, is_gone, is_asking) else { return };
            let (turn, mark) = (self.processes[server], of.stops.len() as u32);
            self.push_marked(at, Due { client: server as u32, turn, what: What::Served, mark: 0 }, mark);
        }
    }

    /// A server has served someone, unless it stood still meanwhile.
    pub(super) fn served(&mut self, server: u16, stops: u32) {
        let of = &mut self.servers[usize::from(server)];
        let later = of.stopped_since(stops);
        if later > 0 {
            let (turn, mark) = (self.processes[usize::from(server)], of.stops.len() as u32);
            let due = Due { client: u32::from(server), turn, what: What::Served, mark: 0 };
            return self.push_marked(self.now.saturating_add(later), due, mark);
        }
        if let Some(who) = of.served() {
            if self.rows[who.client as usize].turn == who.turn {
                if of.promised.contains_key(&who) {
                    of.promise(&self.kind, who, self.now);
                }
                if self.rows[who.client as usize].state == ClientState::Asking {
                    self.answers(who.client, self.now);
                } else {
                    let until = self.upgrade_until(who.client);
                    self.promise(who.client, self.now, until);
                }
            } else {
                of.vacate(who);
            }
        }
        self.take_next(usize::from(server));
    }
}
