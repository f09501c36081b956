//! From the SYN of an attempt to its 101, or to the end of its client's patience: path, listen queue, request, answer.

use super::row::ClientState;
use super::server::{RequestFate, Syn};
use super::tls;
use super::{Failing, What, World, nanos};
use crate::event::{Outcome, Stage};
use crate::plan::{Patience, Refusal};

impl World<'_> {
    /// The instance that an attempt goes to.
    pub(super) fn choose(&mut self, client: u32) -> u16 {
        let count = self.servers.len() as u32;
        if count == 1 {
            return 0;
        }
        let server = |index: u32| &self.servers[index as usize];
        let (turn, attempt) = (self.turn, self.rows[client as usize].attempts);
        let (listens, load) = (|index| server(index).listens(), |index| server(index).open + server(index).coming);
        let chosen = self.kind.model.balance.choose((count, turn), (client, attempt), self.plan.seed, listens, load);
        self.turn = turn.wrapping_add(1);
        chosen as u16
    }

    /// Until when the attempt waits in a stage that began at `begun`.
    fn until(&self, client: u32, begun: u64, patience: Patience) -> u64 {
        let row = &self.rows[client as usize];
        let (since, own) = match patience {
            Patience::Own(own) => (begun, Some(own)),
            Patience::Strategy => (self.begun(client), self.plan.cohorts[usize::from(row.cohort)].reconnect.connect_timeout(&row.history)),
        };
        own.filter(|own| !own.is_zero()).map_or(u64::MAX, |own| since.saturating_add(nanos(own)))
    }

    /// When the attempt under way began.
    pub(super) fn begun(&self, client: u32) -> u64 {
        self.dialled(client).or_else(|| self.rows[client as usize].history.attempt().map(nanos)).unwrap_or(0)
    }

    /// Until when the attempt waits for TCP.
    fn tcp_until(&self, client: u32) -> u64 {
        let deadlines = self.plan.cohorts[usize::from(self.rows[client as usize].cohort)].deadlines;
        self.until(client, self.begun(client), deadlines.connect)
    }

    /// Until when the attempt waits for its 101.
    pub(super) fn upgrade_until(&self, client: u32) -> u64 {
        let row = &self.rows[client as usize];
        let established = self.begun(client) + u64::from(row.tcp_us) * 1000;
        self.until(client, established, self.plan.cohorts[usize::from(row.cohort)].deadlines.handshake)
    }

    /// A SYN goes out. What it meets is judged as it goes, not half a round trip later.
    pub(super) fn on_syn(&mut self, client: u32) {
        if self.rows[client as usize].state == ClientState::Asking {
            return self.ask_syn(client);
        }
        let now = self.now;
        let (begun, until) = (self.begun(client), self.tcp_until(client));
        let server = usize::from(self.rows[client as usize].server);
        let syn = self.knocks(server);
        let answered = match syn {
            Syn::Dropped => return self.repeat_syn(client, begun, until),
            // The answer is there after a round trip, and seen when the machine has made the attempts that it has to make.
            _ => now.saturating_add(self.rtt()).max(self.machine_free_at),
        };
        if answered > until {
            return self.push_for(until, client, What::Deadline, 0);
        }
        match syn {
            Syn::Refused if answered < self.end => {
                // Nothing can come between: no entry of the queue is needed.
                self.fails(client, answered, Failing::REFUSED);
            }
            Syn::Refused | Syn::Dropped => {}
            Syn::Held => {
                self.established(client, answered - begun);
                let who = self.who(client);
                self.servers[server].held.push(who);
                self.push_for(self.upgrade_until(client), client, What::Deadline, 0);
            }
            Syn::Taken(looks) => {
                self.established(client, answered - begun);
                let tls = if self.kind.model.tls { self.rtt() } else { 0 };
                let arrives = looks.max(answered + tls + self.leg());
                if arrives == now {
                    self.request(client);
                } else {
                    self.servers[server].will_ask(&self.kind, arrives);
                    self.push_for(arrives, client, What::Request, 0);
                }
            }
        }
    }

    /// What a SYN meets, if the path does not lose it.
    pub(super) fn knocks(&mut self, server: usize) -> Syn {
        let lost = self.kind.model.loss > 0.0 && self.path.unit() < self.kind.model.loss;
        if lost { Syn::Dropped } else { self.servers[server].on_syn(&self.kind, self.now) }
    }

    fn established(&mut self, client: u32, tcp: u64) {
        self.rows[client as usize].tcp_us = u32::try_from(tcp / 1000).unwrap_or(u32::MAX);
        self.turn_to(client, ClientState::Shaking);
        self.begin_tls(client);
    }

    /// The next SYN on the kernel's grid, or the end of the client's patience.
    fn repeat_syn(&mut self, client: u32, begun: u64, until: u64) {
        let retries = self.kind.model.syn_retries;
        let at = |ms: u64| begun.saturating_add(ms * 1_000_000);
        let next = retries.grid_ms().iter().map(|ms| at(*ms)).find(|at| *at > self.now);
        match next.filter(|at| *at < until) {
            Some(next) => self.push_for(next, client, What::Syn, 0),
            None => self.push_for(until.min(at(retries.gives_up_ms())), client, What::Deadline, 0),
        }
    }

    /// The request is with its server.
    pub(super) fn request(&mut self, client: u32) {
        if self.rows[client as usize].state == ClientState::Asking {
            return self.ask_arrives(client);
        }
        let (now, until) = (self.now, self.upgrade_until(client));
        if now > until {
            return self.push_for(until, client, What::Deadline, 0);
        }
        let place = usize::from(self.rows[client as usize].server);
        let who = self.who(client);
        if self.servers[place].is_frozen(now) || !self.servers[place].full.is_empty() {
            self.servers[place].held.push(who);
            return self.push_for(until, client, What::Deadline, 0);
        }
        if self.suffers(client, until) {
            return;
        }
        self.serve(client, until);
    }

    /// The server's limits and its service queue.
    pub(super) fn serve(&mut self, client: u32, until: u64) {
        let now = self.now;
        let (place, who) = (usize::from(self.rows[client as usize].server), self.who(client));
        match self.servers[place].request(&self.kind, now, who) {
            RequestFate::Done(at) => self.promise(client, at, until),
            RequestFate::Ended(at) => {
                let at = at.saturating_add(self.leg());
                self.first(client, (at, What::Refusal, Failing::CUT), until);
            }
            RequestFate::Waits => {
                self.push_for(until, client, What::Deadline, 0);
                if let Some(deadline) = self.kind.model.deadline {
                    let at = now.saturating_add(nanos(deadline)).saturating_add(self.leg());
                    self.push_for(at, client, What::Refusal, Failing::CUT);
                }
                self.take_next(place);
            }
            RequestFate::Refused(refusal) => self.refuse(client, refusal, until),
        }
    }

    /// The server answers 101 at `at`.
    pub(super) fn promise(&mut self, client: u32, at: u64, until: u64) {
        let arrives = at.saturating_add(self.leg());
        if arrives == self.now && until > arrives {
            return self.opened(client);
        }
        let stops = self.servers[usize::from(self.rows[client as usize].server)].stops.len() as u32;
        self.first(client, (arrives, What::Answer, stops), until);
    }

    /// Whatever comes first: this, or the client's deadline.
    pub(super) fn first(&mut self, client: u32, (at, what, mark): (u64, What, u32), until: u64) {
        if at < until { self.push_for(at, client, what, mark) } else { self.push_for(until, client, What::Deadline, 0) }
    }

    fn refuse(&mut self, client: u32, refusal: Refusal, until: u64) {
        if let Some(code) = self.kind.model.admit_close {
            // Opened, and closed at once: it has a seat until then.
            self.servers[usize::from(self.rows[client as usize].server)].seats += 1;
            self.rows[client as usize].turned_away = false;
            self.turned_away(client, code, None);
            return self.promise(client, self.now, until);
        }
        let outcome = Outcome::Rejected { status: refusal.status, retry_after: refusal.retry_after, location: None };
        let rejected = self.failing(Stage::Upgrade, outcome, None);
        let at = self.now.saturating_add(self.leg());
        self.first(client, (at, What::Refusal, rejected), until);
    }

    /// A 101 arrives, unless the server stood still meanwhile: then it comes so much later.
    pub(super) fn answer(&mut self, client: u32, stops: u32) {
        let server = &self.servers[usize::from(self.rows[client as usize].server)];
        let (later, now_stops) = (server.stopped_since(stops), server.stops.len() as u32);
        if later > 0 {
            let until = self.upgrade_until(client);
            return self.first(client, (self.now.saturating_add(later), What::Answer, now_stops), until);
        }
        self.opened(client);
    }

    /// The server ends an attempt, unless it stands still: then it does so when it goes on.
    pub(super) fn refused(&mut self, client: u32, failing: u32) {
        match self.servers.get(usize::from(self.rows[client as usize].server)) {
            Some(server) if server.is_frozen(self.now) && !server.was_running(self.now.saturating_sub(self.leg_mean())) => {
                let at = server.frozen_until.saturating_add(self.leg_mean());
                self.first(client, (at, What::Refusal, failing), self.upgrade_until(client));
            }
            _ => self.fails(client, self.now, failing),
        }
    }

    pub(super) fn deadline(&mut self, client: u32) {
        let knocking = self.rows[client as usize].state == ClientState::Knocking;
        self.fails(client, self.now, if knocking { Failing::LATE_TCP } else { Failing::LATE_UPGRADE });
    }
}

impl World<'_> {
    /// A client begins TLS: it uses up a ticket.
    pub(super) fn begin_tls(&mut self, client: u32) {
        let server = self.rows[client as usize].server;
        let process = self.processes[usize::from(server)];
        let Some(session) = self.sessions.get_mut(client as usize) else { return };
        session.asked = session.tickets > 0;
        session.resumed = session.asked && session.of == (server, process);
        session.tickets = session.tickets.saturating_sub(1);
    }

    /// The server has said something over TLS: tickets came with it.
    pub(super) fn hear_tls(&mut self, client: u32) {
        let row = &self.rows[client as usize];
        let (server, resume) = (row.server, self.kind.model.resume && self.plan.cohorts[usize::from(row.cohort)].resume);
        let process = self.processes[usize::from(server)];
        if let Some(session) = self.sessions.get_mut(client as usize).filter(|_| resume) {
            (session.of, session.tickets) = ((server, process), tls::TICKETS);
        }
    }

    /// How the session of a client stands.
    pub(super) fn session(&self, client: u32) -> tls::TlsSession {
        self.sessions.get(client as usize).copied().unwrap_or_default()
    }
}
