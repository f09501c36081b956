//! What clients do: arrive, attempt, open, end, wait. The policies decide; here is what follows.

use super::row::State;
use super::server::{Service, Syn};
use super::{Answered, Failing, Farewell, What, World, nanos};
use crate::close::{Cause, Deadline, Ending, Initiator, TcpEnd, may_be_sent, reported};
use crate::event::{ClientIndex, Closing, Event, Outcome, Stage};
use crate::fault::{Form, Side};
use crate::plan::{ModelBalance, Refusal, StayTime};
use crate::reconnect::{Decision, Loss, whole_ms};
use std::time::Duration;

/// Bounds of the wait after 1012 and 1013, as the registry of 1012 asks, s.
const RESTART_WAIT: (f64, f64) = (5.0, 30.0);
/// What a refused attempt takes on loopback at least, ns (assumed; connects there take some 50 µs).
const LEAST_ATTEMPT: u64 = 50_000;
/// Codes that ask to come back later.
const RESTART_CODES: [u16; 2] = [1012, 1013];

impl World<'_> {
    /// Moves a client to another state: what is in the queue for it does not count any more.
    pub(super) fn turn_to(&mut self, client: u32, state: State) {
        let row = &mut self.rows[client as usize];
        row.state = state;
        row.turn = row.turn.wrapping_add(1);
    }

    pub(super) fn arrive(&mut self, cohort: usize) {
        let client = self.plan.cohorts[cohort].first + self.arrived[cohort];
        self.arrived[cohort] += 1;
        self.next_arrival();
        self.record(self.now, &Event::Arrived { client: ClientIndex(client), due: Duration::from_nanos(self.now) });
        self.takes_turn(client, self.now);
    }

    /// A client's timer has ended; those that end in one tick are late together.
    pub(super) fn wake(&mut self, client: u32) {
        if !self.kind.model.client_tick.is_zero() && self.ticked_at != self.now {
            let late = nanos(self.kind.model.client_lag.draw(&mut self.path));
            (self.ticked_at, self.tick_seen_at) = (self.now, self.now.saturating_add(late));
        }
        let seen_at = if self.ticked_at == self.now { self.tick_seen_at } else { self.now };
        self.takes_turn(client, seen_at);
    }

    /// The machine that all clients run on makes one attempt after the other; this one not before `at`.
    fn takes_turn(&mut self, client: u32, at: u64) {
        let begin = self.machine_free_at.max(at);
        self.machine_free_at = begin.saturating_add(nanos(self.kind.model.client_cost));
        if begin == self.now { self.attempt(client) } else { self.push_for(begin, client, What::Attempt, 0) }
    }

    pub(super) fn attempt(&mut self, client: u32) {
        let now = Duration::from_nanos(self.now);
        let row = &mut self.rows[client as usize];
        row.attempts += 1;
        row.history.attempt_started(now);
        row.fault = 0;
        let server = self.choose(client);
        self.rows[client as usize].server = server;
        self.servers[usize::from(server)].coming += 1;
        self.turn_to(client, State::Knocking);
        self.record(self.now, &Event::AttemptStarted { client: ClientIndex(client), due: now });
        self.knock(client);
    }

    /// The instance that an attempt goes to.
    fn choose(&mut self, client: u32) -> u16 {
        let count = self.servers.len() as u32;
        if count == 1 {
            return 0;
        }
        let healthy = |server: u32| self.servers[server as usize].listens();
        let load = |server: u32| self.servers[server as usize].open + self.servers[server as usize].coming;
        let attempt = self.rows[client as usize].attempts;
        let stream = || self.plan.seed.stream(&format!("client/{client}/balance/{attempt}"));
        let turn = self.turn;
        let chosen = match self.kind.model.balance {
            ModelBalance::RoundRobin => turn % count,
            ModelBalance::Sticky => client % count,
            ModelBalance::Random => stream().below(u64::from(count)) as u32,
            ModelBalance::Healthy => {
                (0..count).map(|step| (turn.wrapping_add(step)) % count).find(|server| healthy(*server)).unwrap_or(turn % count)
            }
            ModelBalance::LeastConnections => {
                // Equals in turn.
                let listening = (0..count).map(|step| turn.wrapping_add(step) % count).filter(|server| healthy(*server));
                listening.min_by_key(|server| load(*server)).unwrap_or(turn % count)
            }
            ModelBalance::TwoChoices => {
                let listening: Vec<_> = (0..count).filter(|server| healthy(*server)).collect();
                let mut random = stream();
                let mut one = || listening.get(random.below(listening.len() as u64) as usize).copied();
                let (first, second) = (one(), one());
                first.zip(second).map_or(turn % count, |(first, second)| if load(second) < load(first) { second } else { first })
            }
        };
        self.turn = turn.wrapping_add(1);
        chosen as u16
    }

    /// Until when the attempt waits in a stage that began at `begun` and has `own` time; zero is for ever.
    fn until(&self, client: u32, begun: u64, own: Duration) -> u64 {
        let row = &self.rows[client as usize];
        let cohort = &self.plan.cohorts[usize::from(row.cohort)];
        let own = if own.is_zero() { u64::MAX } else { begun.saturating_add(nanos(own)) };
        match cohort.reconnect.connect_timeout(&row.history).filter(|limit| !limit.is_zero()) {
            Some(overall) => own.min(self.begun(client).saturating_add(nanos(overall))),
            None => own,
        }
    }

    /// When the attempt under way began.
    fn begun(&self, client: u32) -> u64 {
        self.rows[client as usize].history.attempt().map_or(0, nanos)
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
    pub(super) fn knock(&mut self, client: u32) {
        let now = self.now;
        let (begun, until) = (self.begun(client), self.tcp_until(client));
        let server = usize::from(self.rows[client as usize].server);
        let lost = self.kind.model.loss > 0.0 && self.path.unit() < self.kind.model.loss;
        let syn = if lost { Syn::Dropped } else { self.servers[server].knock(&self.kind, now) };
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
                let refused = self.failing(Stage::Tcp, Outcome::Refused, None);
                self.fails(client, answered, refused);
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

    fn established(&mut self, client: u32, tcp: u64) {
        self.rows[client as usize].tcp_us = u32::try_from(tcp / 1000).unwrap_or(u32::MAX);
        self.turn_to(client, State::Shaking);
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
        let (now, until) = (self.now, self.upgrade_until(client));
        if now > until {
            return self.push_for(until, client, What::Deadline, 0);
        }
        let place = usize::from(self.rows[client as usize].server);
        let who = self.who(client);
        if self.servers[place].is_frozen(now) || self.servers[place].full.is_some() {
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
            Service::Done(at) => self.promise(client, at, until),
            Service::Ended(at) => {
                let cut = self.cut();
                let at = at.saturating_add(self.leg());
                self.first(client, (at, What::Refusal, cut), until);
            }
            Service::Waits => {
                self.push_for(until, client, What::Deadline, 0);
                if let Some(deadline) = self.kind.model.deadline {
                    let cut = self.cut();
                    let at = now.saturating_add(nanos(deadline)).saturating_add(self.leg());
                    self.push_for(at, client, What::Refusal, cut);
                }
                self.take_next(place);
            }
            Service::Refused(refusal) => self.refuse(client, refusal, until),
        }
    }

    /// The server answers 101 at `at`.
    pub(super) fn promise(&mut self, client: u32, at: u64, until: u64) {
        let arrives = at.saturating_add(self.leg());
        if arrives == self.now && until > arrives {
            return self.opened(client);
        }
        let stops = self.servers[usize::from(self.rows[client as usize].server)].stops.len() as u8;
        self.first(client, (arrives, What::Answer, stops), until);
    }

    /// Whatever comes first: this, or the client's deadline.
    pub(super) fn first(&mut self, client: u32, (at, what, mark): (u64, What, u8), until: u64) {
        if at < until { self.push_for(at, client, what, mark) } else { self.push_for(until, client, What::Deadline, 0) }
    }

    fn refuse(&mut self, client: u32, refusal: Refusal, until: u64) {
        if let Some(code) = self.kind.model.admit_close {
            // Opened, and closed at once.
            self.rows[client as usize].fault = 0;
            self.turned_away(client, code, None);
            return self.promise(client, self.now, until);
        }
        let outcome = Outcome::Rejected { status: refusal.status, retry_after: refusal.retry_after };
        let rejected = self.failing(Stage::Upgrade, outcome, None);
        let at = self.now.saturating_add(self.leg());
        self.first(client, (at, What::Refusal, rejected), until);
    }

    pub(super) fn cut(&mut self) -> u8 {
        self.failing(Stage::Upgrade, Outcome::Failed { why: "cut before 101: end of stream".to_owned() }, None)
    }

    /// A 101 arrives, unless the server stood still meanwhile: then it comes so much later.
    pub(super) fn answer(&mut self, client: u32, stops: u8) {
        let server = &self.servers[usize::from(self.rows[client as usize].server)];
        let (later, now_stops) = (server.stopped_since(stops), server.stops.len() as u8);
        if later > 0 {
            let until = self.upgrade_until(client);
            return self.first(client, (self.now.saturating_add(later), What::Answer, now_stops), until);
        }
        self.opened(client);
    }

    pub(super) fn deadline(&mut self, client: u32) {
        let stage = if self.rows[client as usize].state == State::Knocking { Stage::Tcp } else { Stage::Upgrade };
        let late = self.failing(stage, Outcome::TimedOut, None);
        self.fails(client, self.now, late);
    }

    /// An attempt ends without a connection at `at`, which may lie a round trip ahead.
    pub(super) fn fails(&mut self, client: u32, at: u64, failing: u8) {
        let Failing { stage, outcome, fault } = self.failings[usize::from(failing)].clone();
        let server = usize::from(self.rows[client as usize].server);
        if let Some(server) = self.servers.get_mut(server) {
            server.coming -= 1;
        }
        self.turn_to(client, State::Away);
        let (loss, hint) = match &outcome {
            Outcome::Rejected { status, retry_after } => {
                (Loss::Rejected { status: *status }, retry_after.filter(|_| self.kind.model.hints.retry_after))
            }
            Outcome::TimedOut => (Loss::TimedOut, None),
            _ => (Loss::Failed, None),
        };
        self.record(at, &Event::AttemptFailed { client: ClientIndex(client), stage, outcome, fault });
        self.come_back(client, at, &loss, hint);
    }

    /// Asks the policy.
    fn come_back(&mut self, client: u32, at: u64, loss: &Loss, hint: Option<Duration>) {
        let pinned = self.pinned;
        let row = &mut self.rows[client as usize];
        let random = &mut row.random;
        let policy = &self.plan.cohorts[usize::from(row.cohort)].reconnect;
        match policy.decide(&mut row.history, loss, Duration::from_nanos(at), &mut || pinned.unwrap_or_else(|| random.unit())) {
            Decision::Wait(exact) => {
                let delay = self.by_own_clock(client, whole_ms(exact.max(hint.unwrap_or_default())));
                self.record(at, &Event::Waiting { client: ClientIndex(client), delay });
                // On a path that takes no time, a client that does not wait would try for ever at the same moment.
                let least = if self.begun(client) == at { LEAST_ATTEMPT } else { 0 };
                let due = at.saturating_add(nanos(delay).max(least));
                let wakes = match nanos(self.kind.model.client_tick) {
                    0 => due.saturating_add(nanos(self.kind.model.client_lag.draw(&mut self.path))),
                    tick => due.div_ceil(tick).saturating_mul(tick),
                };
                self.push_for(wakes, client, What::Wake, 0);
            }
            Decision::GiveUp(why) => self.record(at, &Event::GaveUp { client: ClientIndex(client), why }),
        }
    }

    fn by_own_clock(&self, client: u32, delay: Duration) -> Duration {
        let spread = self.kind.model.clock_spread;
        if spread == 0.0 {
            return delay;
        }
        let unit = self.plan.seed.numbered("client/", client, "/clock").unit();
        delay.mul_f64(1.0 + spread * (2.0 * unit - 1.0))
    }

    /// `t_open`.
    pub(super) fn opened(&mut self, client: u32) {
        let (now, begun) = (self.now, self.begun(client));
        let at = Duration::from_nanos(now);
        let row = &mut self.rows[client as usize];
        row.history.opened(at);
        let (server, tcp) = (row.server, Duration::from_micros(u64::from(row.tcp_us)));
        let cohort = &self.plan.cohorts[usize::from(row.cohort)];
        let turned_away = row.state == State::Shaking && row.fault != 0;
        self.servers[usize::from(server)].coming -= 1;
        self.servers[usize::from(server)].open += 1;
        self.turn_to(client, State::Open);
        let (id, connection) = self.id(client);
        let rest = Duration::from_nanos(now - begun).saturating_sub(tcp);
        let tls = if self.kind.model.tls { Some(self.kind.model.rtt.mean()) } else { None };
        let upgrade = rest.saturating_sub(tls.unwrap_or_default());
        self.record(now, &Event::Opened { client: id, connection, instance: server, tcp, tls, upgrade });
        if let Some(stay) = &cohort.stay {
            let time = match stay.time {
                StayTime::Fixed(time) => time,
                StayTime::Exponential(mean) => {
                    let stream = || self.plan.seed.numbered("client/", client, "/stay");
                    mean.mul_f64(self.stays.entry(client).or_insert_with(stream).exponential())
                }
            };
            self.push_for(now.saturating_add(nanos(time)), client, What::Leave, 0);
        }
        self.begin_talking(client);
        if turned_away {
            let farewell = self.rows[client as usize].fault - 1;
            self.rows[client as usize].fault = 0;
            return self.server_closes(client, farewell);
        }
        self.stand_for(client);
    }

    /// An open connection ends, as its client sees it.
    pub(super) fn ends(&mut self, client: u32, farewell: u8) {
        let Farewell { client: mut ending, server, closing } = self.farewells[usize::from(farewell)].clone();
        let (id, connection) = self.id(client);
        if let Some(account) = server {
            // Before the client's, so that both are joined at once.
            self.record(self.now, &Event::ServerEnded { client: id, connection, ending: Box::new(account) });
        }
        ending.fault = ending.fault.or_else(|| self.told_of(client));
        let closing = match closing {
            None => None,
            Some(Answered::ByClient) => Some(Closing { ack: Some(Duration::ZERO), total: self.kind.model.rtt.mean() }),
            Some(Answered::ByServer) => Some(Closing { ack: Some(self.kind.model.rtt.mean()), total: self.kind.model.rtt.mean() }),
            Some(Answered::Never(total)) => Some(Closing { ack: None, total }),
        };
        self.ended(client, Box::new(ending), closing);
    }

    /// The fault that acted on a connection, where its client knows of it: it did so itself, or the process of its server suffered it.
    fn told_of(&self, client: u32) -> Option<u16> {
        let fault = u16::from(self.rows[client as usize].fault.checked_sub(1)?);
        let planned = &self.plan.faults[usize::from(fault)];
        (planned.side == Side::Client || matches!(planned.inject.row.form, Form::Process { .. })).then_some(fault)
    }

    /// An open connection is over.
    fn finish(&mut self, client: u32, ending: Box<Ending>, closing: Option<Closing>) -> u16 {
        let place = self.rows[client as usize].server;
        // The books of a process that is gone are closed.
        if let Some(server) = self.servers.get_mut(usize::from(place)) {
            server.open -= 1;
        }
        self.turn_to(client, State::Away);
        let (id, connection) = self.id(client);
        let unanswered = self.talks.forget(client);
        self.record(self.now, &Event::Ended { client: id, connection, ending, closing, unanswered });
        place
    }

    fn ended(&mut self, client: u32, ending: Box<Ending>, closing: Option<Closing>) {
        let (cause, code) = (ending.cause, ending.code);
        let place = self.finish(client, ending, closing);
        if cause == Cause::Stay {
            self.left(client);
        } else {
            let hint = (self.kind.model.hints.restart_codes && RESTART_CODES.contains(&code)).then(|| {
                let (least, most) = RESTART_WAIT;
                Duration::from_secs_f64(least + (most - least) * self.hints.unit())
            });
            self.come_back(client, self.now, &Loss::Closed { code }, hint);
        }
        self.check_exit(place);
    }

    /// An open connection is left behind for another path: no loss that the policy is asked about.
    pub(super) fn switched(&mut self, client: u32, farewell: u8, gap: Duration) {
        let ending = self.farewells[usize::from(farewell)].client.clone();
        self.finish(client, Box::new(ending), None);
        self.push_for(self.now.saturating_add(nanos(gap)), client, What::Wake, 0);
    }

    /// After its own leaving: back after a while, with a fresh history, or not at all.
    fn left(&mut self, client: u32) {
        let row = &mut self.rows[client as usize];
        let cohort = &self.plan.cohorts[usize::from(row.cohort)];
        match cohort.stay.as_ref().and_then(|stay| stay.back) {
            Some(back) => {
                let random = &mut row.random;
                row.history = cohort.reconnect.start(&mut || random.unit());
                self.push_for(self.now.saturating_add(nanos(back)), client, What::Wake, 0);
            }
            None => self.record(self.now, &Event::Left { client: ClientIndex(client) }),
        }
    }

    /// The client's own stay is over: it starts the closing handshake.
    pub(super) fn leave(&mut self, client: u32) {
        let Some(stay) = &self.plan.cohorts[usize::from(self.rows[client as usize].cohort)].stay else { return };
        let (code, reason) = (stay.code, stay.reason.clone());
        self.client_closes(client, Cause::Stay, code, &reason);
    }

    /// A client sends a Close frame.
    pub(super) fn client_closes(&mut self, client: u32, cause: Cause, code: Option<u16>, reason: &str) {
        let row = &self.rows[client as usize];
        let (state, close) = (row.state, self.plan.cohorts[usize::from(row.cohort)].deadlines.close);
        let fault = if let Cause::Fault(fault) = cause { Some(fault) } else { None };
        let sent = Some(code.unwrap_or(crate::close::NO_STATUS));
        if state != State::Open {
            // Nobody answers; without a deadline it waits for ever.
            let mut client_side = account(cause, fault, Initiator::Client, TcpEnd::Timeout, (None, sent));
            client_side.reason = String::new();
            let farewell = self.farewell(Farewell { client: client_side, server: None, closing: Some(Answered::Never(close)) });
            self.turn_to(client, State::Closing);
            if !close.is_zero() {
                self.push_for(self.now.saturating_add(nanos(close)), client, What::End, farewell);
            }
            return;
        }
        let valid = code.is_none_or(may_be_sent);
        // A healthy server answers an invalid code with 1002 (RFC 6455 §7.4.2).
        let answer = if valid { sent } else { Some(crate::close::PROTOCOL_ERROR) };
        let mut client_side = account(cause, fault, Initiator::Client, TcpEnd::Fin, (answer, sent));
        let mut server_side = account(Cause::Remote, None, Initiator::Client, TcpEnd::Fin, (sent, answer));
        if valid {
            client_side.reason = reason.to_owned();
            server_side.reason = reason.to_owned();
        }
        let farewell = self.farewell(Farewell { client: client_side, server: Some(server_side), closing: Some(Answered::ByServer) });
        self.turn_to(client, State::Closing);
        let at = self.now.saturating_add(self.rtt());
        self.ends_at(client, at, farewell);
    }

    /// A server sends a Close frame: the client answers, the server ends TCP.
    pub(super) fn server_closes(&mut self, client: u32, farewell: u8) {
        if self.rows[client as usize].state != State::Open {
            return;
        }
        self.turn_to(client, State::Closing);
        let at = self.now.saturating_add(self.rtt()).saturating_add(self.leg());
        self.ends_at(client, at, farewell);
    }

    /// The end reaches the client then.
    pub(super) fn ends_at(&mut self, client: u32, at: u64, farewell: u8) {
        if at <= self.now { self.ends(client, farewell) } else { self.push_for(at, client, What::End, farewell) }
    }

    /// No pong came within the heartbeat's timeout.
    pub(super) fn no_pong(&mut self, client: u32) {
        let row = &self.rows[client as usize];
        let since = self.silent_since.get(&client).copied().unwrap_or(u64::MAX);
        if !matches!(row.state, State::Dead | State::Stalled) || self.no_pong_at(client, since) != Some(self.now) {
            // It has heard something since this was put down.
            return;
        }
        let ending = account(Cause::Deadline(Deadline::Pong), None, Initiator::Client, TcpEnd::Local, (None, None));
        let farewell = self.farewell(Farewell { client: ending, server: None, closing: None });
        self.ends(client, farewell);
    }
}

/// One side's account of an ending; `frames`: the codes received and sent.
pub(super) fn account(
    cause: Cause,
    fault: Option<u16>,
    initiator: Initiator,
    tcp_end: TcpEnd,
    frames: (Option<u16>, Option<u16>),
) -> Ending {
    let (wire_received, wire_sent) = frames;
    let code = reported(wire_received);
    let valid = wire_received.is_some_and(|received| received == crate::close::NO_STATUS || may_be_sent(received));
    Ending {
        cause,
        fault,
        initiator,
        wire_received,
        wire_sent,
        tcp_end,
        mid_frame: false,
        clean: valid && wire_sent.is_some() && tcp_end == TcpEnd::Fin,
        code,
        reason: String::new(),
        bytes_after: 0,
    }
}
