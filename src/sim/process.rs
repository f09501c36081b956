//! What happens to server processes: crashes, graceful stops, rolling restarts, stops; and the service of those that run.

use super::ending::account;
use super::faults::packed;
use super::row::State;
use super::server::Exiting;
use super::{Answered, Due, Failing, Farewell, What, World, nanos};
use crate::close::{Cause, Initiator, TcpEnd};
use crate::event::{ClientIndex, ConnectionNo, Event};
use crate::fault::OnProcess;
use crate::plan::{Firing, turn_in};
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
                        let why = format!("instance {server}: its turn is after the end of the run");
                        let of = Event::NotCarriedOut { fault: Some(firing.fault), firing: firing.number, why };
                        self.record(self.now, &of);
                        continue;
                    }
                    self.push(at, Due { client: packed(firing), turn: server, what: What::Roll, mark: 0 });
                }
            }
            OnProcess::Crash { instance, .. } | OnProcess::Graceful { instance, .. } | OnProcess::Pause { instance } => {
                self.named(*instance).into_iter().for_each(|server| self.one(firing, server, effect));
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
            OnProcess::Rolling { .. } => {}
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

    fn injected(&mut self, fault: u16, client: u32) {
        let connection = ConnectionNo(self.rows[client as usize].attempts);
        self.record(self.now, &Event::Injected { fault, client: ClientIndex(client), connection });
        self.rows[client as usize].fault = fault as u8 + 1;
    }

    /// SIGKILL: the kernel ends what was open.
    fn crash(&mut self, fault: u16, server: u16, down: u64, holding: &[u32]) {
        self.target(server, "down", "SIGKILL");
        holding.iter().for_each(|client| self.injected(fault, *client));
        self.die(fault, server, down);
    }

    /// The process is gone: whom it held hears of it, and a new one starts later.
    fn die(&mut self, fault: u16, server: u16, down: u64) {
        let frozen = self.servers[usize::from(server)].is_frozen(self.now);
        // What a process had not read is answered with RST.
        let tcp_end = if frozen { TcpEnd::Rst } else { TcpEnd::Fin };
        let ending = account(Cause::Fault(fault), Initiator::Server, tcp_end, (None, None));
        let farewell = self.farewell(Farewell { client: ending, server: None, closing: None });
        self.processes[usize::from(server)] = self.processes[usize::from(server)].wrapping_add(1);
        self.servers[usize::from(server)].stop();
        let turn = self.processes[usize::from(server)];
        // Before any client hears of it: who waits exactly as long as the server is down finds it there, as in the engine.
        self.push(self.now.saturating_add(down), Due { client: u32::from(server), turn, what: What::Start, mark: 0 });
        let mut told: Vec<(Duration, u32)> = Vec::new();
        for client in 0..self.rows.len() as u32 {
            let row = &self.rows[client as usize];
            if row.server != server || !(row.state.is_open() || row.state == State::Shaking) {
                continue;
            }
            let state = row.state;
            self.orphan(client, server, state);
            if state == State::Dead {
                continue;
            }
            let at = self.now.saturating_add(self.leg());
            if state == State::Shaking {
                // Nothing but the end can reach it now.
                self.turn_to(client, State::Shaking);
                let at = at.min(self.end);
                if at == self.now { self.fails(client, at, Failing::CUT) } else { self.push_for(at, client, What::Refusal, Failing::CUT) }
            } else {
                self.turn_to(client, State::Closing);
                if self.kind.model.notice_each.is_zero() {
                    let at = at.saturating_add(self.notice());
                    self.ends_at(client, at, farewell);
                } else {
                    told.push((self.rows[client as usize].history.opened_at().unwrap_or_default(), client));
                }
            }
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

    /// Takes a client off the books of its server.
    fn orphan(&mut self, client: u32, server: u16, state: State) {
        if state == State::Shaking {
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
        // In the order in which they opened, as the embedded server does.
        holding.sort_by_key(|client| (self.rows[*client as usize].history.opened_at(), *client));
        let held = std::mem::take(&mut self.servers[usize::from(server)].held);
        {
            let (now, server) = (self.now, &mut self.servers[usize::from(server)]);
            (server.up, server.exiting) = (false, Some(Exiting { firing, down, since: now }));
        }
        for who in held {
            if self.rows[who.client as usize].turn == who.turn {
                self.push_for(self.now.saturating_add(self.leg_mean()), who.client, What::Refusal, Failing::CUT);
            }
        }
        let count = holding.len() as u32;
        for (index, client) in (0..).zip(&holding) {
            self.rows[*client as usize].fault = fault as u8 + 1;
            let at = self.now.saturating_add(nanos(turn_in(Duration::from_nanos(spread), index, count)));
            if at == self.now { self.close_gracefully(*client, farewell) } else { self.push_for(at, *client, What::Close, farewell) }
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
                let why = format!("instance {server}: it had not stopped by the end of the run");
                self.record(end, &Event::NotCarriedOut { fault: Some(fault), firing: number, why });
            }
        }
    }

    /// The turn of a connection in a graceful stop.
    pub(super) fn close_gracefully(&mut self, client: u32, farewell: u8) {
        let row = &self.rows[client as usize];
        if row.state == State::Open && row.fault != 0 {
            self.injected(u16::from(row.fault - 1), client);
        }
        self.server_closes(client, farewell);
    }

    fn leg_mean(&self) -> u64 {
        nanos(self.kind.model.rtt.mean()) / 2
    }

    /// How a connection ends that its server closes with `code`.
    pub(super) fn server_farewell(&mut self, cause: Cause, fault: Option<u16>, code: Option<u16>, reason: &str) -> u8 {
        let sent = Some(code.unwrap_or(crate::close::NO_STATUS));
        let valid = code.is_none_or(crate::close::may_be_sent);
        // A healthy client answers an invalid code with 1002.
        let answer = if valid { sent } else { Some(crate::close::PROTOCOL_ERROR) };
        let mut client = account(cause, Initiator::Server, TcpEnd::Fin, (sent, answer));
        let of_server = if let Cause::Remote = cause { fault.map_or(Cause::Remote, Cause::Fault) } else { cause };
        let mut server = account(of_server, Initiator::Server, TcpEnd::Fin, (answer, sent));
        if valid {
            client.reason = reason.to_owned();
            server.reason = reason.to_owned();
        }
        self.farewell(Farewell { client, server: Some(server), closing: Some(Answered::ByClient) })
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
        self.die(fault, server, down);
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
            self.silence(firing, *client, State::Stalled, true);
        }
        let turn = self.processes[usize::from(server)];
        self.push(self.now.saturating_add(holds), Due { client: u32::from(server), turn, what: What::Resume, mark: fault as u8 });
    }

    /// A pause is over: SIGCONT, if it was the last one.
    pub(super) fn resume(&mut self, server: u16, fault: u8) {
        let pauses = &mut self.servers[usize::from(server)].pauses;
        // Those of one fault are equally long: the first begun is the first over.
        let Some(place) = pauses.iter().position(|firing| firing.fault == u16::from(fault)) else { return };
        let firing = pauses.remove(place);
        let goes_on = pauses.is_empty();
        if goes_on {
            self.target(server, "resumed", "");
        }
        self.unsilence(firing, false);
        if goes_on {
            self.go_on_accepting(server);
        }
        self.record(self.now, &Event::Reverted { fault: firing.fault, firing: firing.number });
    }

    /// What waited in the listen queue is accepted.
    pub(super) fn go_on_accepting(&mut self, server: u16) {
        for who in std::mem::take(&mut self.servers[usize::from(server)].held) {
            if self.rows[who.client as usize].turn == who.turn {
                self.request(who.client);
            }
        }
    }

    /// Lets a server with idle places take those that wait.
    pub(super) fn take_next(&mut self, server: usize) {
        loop {
            let (rows, of) = (&self.rows, &mut self.servers[server]);
            let Some(at) = of.take(&self.kind, self.now, |who| rows[who.client as usize].turn != who.turn) else { return };
            let (turn, mark) = (self.processes[server], of.stops.len() as u8);
            self.push(at, Due { client: server as u32, turn, what: What::Served, mark });
        }
    }

    /// A server has served someone, unless it stood still meanwhile.
    pub(super) fn served(&mut self, server: u16, stops: u8) {
        let of = &mut self.servers[usize::from(server)];
        let later = of.stopped_since(stops);
        if later > 0 {
            let (turn, mark) = (self.processes[usize::from(server)], of.stops.len() as u8);
            return self.push(self.now.saturating_add(later), Due { client: u32::from(server), turn, what: What::Served, mark });
        }
        if let Some(who) = of.served() {
            if self.rows[who.client as usize].turn == who.turn {
                if of.promised.contains_key(&who) {
                    of.promise(&self.kind, who, self.now);
                }
                let until = self.upgrade_until(who.client);
                self.promise(who.client, self.now, until);
            } else {
                of.vacate(who);
            }
        }
        self.take_next(usize::from(server));
    }

    /// When a client notices that no pong comes, if nothing has arrived since `since`.
    pub(super) fn no_pong_at(&self, client: u32, since: u64) -> Option<u64> {
        let row = &self.rows[client as usize];
        let beat = self.plan.cohorts[usize::from(row.cohort)].heartbeat.filter(|beat| !beat.every.is_zero())?;
        // As the engine: the first ping at a phase of its own, each further one `every` after the one before.
        let phase = beat.first(self.plan.seed, u64::from(client) << 32 | u64::from(row.attempts));
        let first = nanos(row.history.opened_at().unwrap_or_default() + phase);
        // A ping whose pong is still on its way counts as unanswered.
        let from = since.saturating_sub(nanos(self.kind.model.rtt.mean()));
        let gone = from.saturating_sub(first).div_ceil(nanos(beat.every));
        let ping = first + gone * nanos(beat.every);
        Some(ping.saturating_add(nanos(beat.timeout)).max(self.now))
    }
}
