//! What clients do: arrive, attempt, open, lose, wait. The policies decide; here is what follows. How an attempt gets to its answer is
//! in `opening`, how a connection ends in `ending`.

use super::before::ASKED_IN_VAIN;
use super::pair::CLIENT;
use super::row::{ClientRow, ClientState};
use super::server::Exiting;
use super::{Failing, What, World, nanos};
use crate::event::{ClientIndex, Event, Outcome, Stage, Stages, UnderWay};
use crate::plan::ServiceTimes;
use crate::reconnect::{Decision, Loss, whole_ms};
use std::time::Duration;

/// What a refused attempt takes on loopback at least, ns (assumed; connects there take some 50 µs).
const LEAST_ATTEMPT: u64 = 50_000;

impl World<'_> {
    /// Moves a client to another state: what is in the queue for it does not count any more.
    pub(super) fn turn_to(&mut self, client: u32, state: ClientState) {
        let row = &mut self.rows[client as usize];
        row.state = state;
        row.turn = row.turn.wrapping_add(1);
    }

    pub(super) fn arrive(&mut self, cohort: usize) {
        let client = self.plan.cohorts[cohort].first + self.arrived[cohort];
        self.arrived[cohort] += 1;
        self.next_arrival();
        if let Some(presence) = self.plan.cohorts[cohort].presence(ClientIndex(client), Duration::ZERO) {
            self.untils.insert(client, presence.until.map_or(u64::MAX, nanos));
        }
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
        row.turned_away = false;
        self.leaving.remove(&client);
        let server = self.choose(client);
        self.rows[client as usize].server = server;
        self.servers[usize::from(server)].coming += 1;
        // Of the attempt before.
        self.asking.remove(&client);
        self.record(self.now, &Event::AttemptStarted { client: ClientIndex(client), due: now });
        self.dials(client);
    }

    /// An attempt ends without a connection at `at`, which may lie a round trip ahead.
    pub(super) fn fails(&mut self, client: u32, at: u64, failing: u32) {
        let (loss, hint) = self.attempt_failed(client, at, failing);
        self.come_back(client, at, &loss, hint);
    }

    /// The same without asking the policy: what it is to it, and the server's hint.
    pub(super) fn attempt_failed(&mut self, client: u32, at: u64, failing: u32) -> (Loss, Option<Duration>) {
        let Failing { stage, outcome, fault } = self.failings[failing as usize].clone();
        let (_, times) = self.stages(client, at);
        if matches!(outcome, Outcome::Rejected { .. }) {
            self.hear_tls(client);
        }
        let (place, who) = (self.rows[client as usize].server, self.who(client));
        if let Some(server) = self.servers.get_mut(usize::from(place)) {
            server.coming -= 1;
        }
        self.vacate_later(place, who);
        self.turn_to(client, ClientState::Away);
        if !self.later.is_empty() {
            self.later.remove(&client);
        }
        let (loss, hint) = match &outcome {
            Outcome::Rejected { status, retry_after, .. } => {
                (Loss::Rejected { status: *status }, retry_after.filter(|_| self.kind.model.hints.retry_after))
            }
            Outcome::TimedOut => (Loss::TimedOut, None),
            _ => (Loss::Failed, None),
        };
        self.record(at, &Event::AttemptFailed { client: ClientIndex(client), stage, outcome, times, fault });
        (loss, hint)
    }

    /// Nothing but its end can reach an attempt, at `at`.
    pub(super) fn cut_attempt(&mut self, client: u32, at: u64, how: u32) {
        let asking = self.rows[client as usize].state == ClientState::Asking;
        match asking {
            true if at == self.now => self.asked(client, ASKED_IN_VAIN),
            true => self.push_for(at, client, What::Asked, ASKED_IN_VAIN),
            false if at == self.now => self.fails(client, at, how),
            false => self.push_for(at, client, What::Refusal, how),
        }
    }

    /// How far the attempt under way has come at `at`, and how long that took.
    fn stages(&self, client: u32, at: u64) -> (Stage, Stages) {
        let row = &self.rows[client as usize];
        let since = Duration::from_nanos(at.saturating_sub(self.begun(client)));
        let tcp = Duration::from_micros(row.tcp_us.into());
        let Some(rest) = since.checked_sub(tcp).filter(|_| row.state == ClientState::Shaking) else {
            let stage = if self.is_asking(client) { Stage::Before } else { Stage::Tcp };
            return (stage, Stages { elapsed: since, ..Stages::default() });
        };
        let session = self.session(client);
        match self.tls() {
            Some(tls) if rest < tls => (Stage::Tls, Stages { tcp: Some(tcp), tls: None, resumed: session.asked, elapsed: rest }),
            tls => {
                let elapsed = rest.saturating_sub(tls.unwrap_or_default());
                (Stage::Upgrade, Stages { tcp: Some(tcp), tls, resumed: session.resumed, elapsed })
            }
        }
    }

    /// What TLS takes; `None` on ws.
    fn tls(&self) -> Option<Duration> {
        self.kind.model.tls.then(|| self.kind.model.rtt.mean())
    }

    /// What the end of the measurement at `end` cuts of a client.
    pub(super) fn under_way(&self, client: u32, end: u64) -> Option<UnderWay> {
        match self.rows[client as usize].state {
            ClientState::Asking | ClientState::Knocking | ClientState::Shaking => {
                let (stage, times) = self.stages(client, end);
                Some(UnderWay::Attempt { stage, times })
            }
            ClientState::Closing => {
                let pair = self.pairs.of(client).and_then(|slot| self.pairs.get(slot)).map(|pair| &pair.ends[CLIENT]);
                let of_pair = pair.and_then(|end| {
                    Some((end.first?, end.second.map(|second| Duration::from_nanos(second - end.first.unwrap_or(second)))))
                });
                let (since, ack) = of_pair.or_else(|| self.closing_since.get(&client).copied())?;
                // An aborted run may end before the Close frame is with the client.
                let elapsed = Duration::from_nanos(end.checked_sub(since)?);
                Some(UnderWay::Closing { ack, elapsed })
            }
            _ => None,
        }
    }

    /// Asks the policy.
    pub(super) fn come_back(&mut self, client: u32, at: u64, loss: &Loss, hint: Option<Duration>) {
        let pinned = self.pinned;
        let ClientRow { history, random, cohort, .. } = &mut self.rows[client as usize];
        let policy = &self.plan.cohorts[usize::from(*cohort)].reconnect;
        match policy.decide(history, loss, Duration::from_nanos(at), &mut || pinned.unwrap_or_else(|| random.unit())) {
            Decision::Wait(exact) => {
                let delay = self.by_own_clock(client, whole_ms(exact.max(hint.unwrap_or_default())));
                self.record(at, &Event::Waiting { client: ClientIndex(client), delay });
                self.waits(client, at, delay);
            }
            Decision::GiveUp(why) => self.record(at, &Event::GaveUp { client: ClientIndex(client), why }),
        }
    }

    /// Waits so long from `at` on for its next attempt, unless the stages of its cohort send it away before.
    pub(super) fn waits(&mut self, client: u32, at: u64, delay: Duration) {
        // On a path that takes no time, a client that does not wait would try for ever at the same moment.
        let least = if self.begun(client) == at { LEAST_ATTEMPT } else { 0 };
        let due = at.saturating_add(nanos(delay).max(least));
        if let Some(until) = self.leaves_at(client).filter(|until| *until <= due) {
            return self.push_for(until.max(at), client, What::Away, 0);
        }
        let wakes = match nanos(self.kind.model.client_tick) {
            0 => due.saturating_add(self.kind.lag.unwrap_or_else(|| nanos(self.kind.model.client_lag.draw(&mut self.path)))),
            tick => due.div_ceil(tick).saturating_mul(tick),
        };
        self.push_for(wakes, client, What::Wake, 0);
    }

    /// A server is done with someone who is gone.
    pub(super) fn vacate(&mut self, leaver: u32, process: u16) {
        let Some((server, who)) = self.leavers.take(leaver) else { return };
        if self.processes.get(usize::from(server)) == Some(&process) {
            self.servers[usize::from(server)].vacate(who);
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
        let turned_away = row.state == ClientState::Shaking && row.turned_away;
        let who = self.who(client);
        let of = &mut self.servers[usize::from(server)];
        of.promised.remove(&who);
        of.coming -= 1;
        of.open += 1;
        self.turn_to(client, ClientState::Open);
        let (id, connection) = self.id(client);
        let rest = Duration::from_nanos(now - begun).saturating_sub(tcp);
        let tls = self.tls();
        let upgrade = rest.saturating_sub(tls.unwrap_or_default());
        let resumed = self.session(client).resumed;
        self.record(now, &Event::Opened { client: id, connection, instance: server, tcp, tls, resumed, upgrade });
        self.hear_tls(client);
        let until = self.leaves_at(client);
        let stay = cohort.stay.as_ref().map(|stay| {
            let stream = || self.plan.seed.numbered("client/", client, "/stay");
            now.saturating_add(nanos(match stay.time {
                // Most are: nothing is kept for them.
                ServiceTimes::Constant(time) => time,
                _ => stay.draw(self.stays.entry(client).or_insert_with(stream)),
            }))
        });
        if let Some(at) = stay.into_iter().chain(until).min() {
            self.push_for(at.max(now), client, What::Leave, 0);
        }
        let farewell = self.closes_at_once(client, turned_away);
        self.begin_talking(client);
        if let Some(farewell) = farewell {
            self.later.remove(&client);
            self.first_word(client, true);
            return self.server_closes(client, farewell);
        }
        if self.standing.is_empty() && self.later.is_empty() {
            self.greet(client);
            self.begin_steps(client);
            return self.first_word(client, false);
        }
        let [by_server, by_client] = self.waiting_for(client);
        let by_client = [self.later.remove(&client).unwrap_or_default(), by_client].concat();
        let hit = !by_server.is_empty() || !by_client.is_empty();
        if hit {
            // What the server does comes before the client's first word, and what its own side does before it reads.
            self.deafen(client, true);
        }
        self.act_all(by_server, client);
        self.greet(client);
        self.begin_steps(client);
        self.first_word(client, false);
        self.act_all(by_client, client);
        if hit {
            self.deafen(client, false);
        }
    }

    /// How a server closes a connection that has just opened, if it does: because it turns this one away, or is about to stop.
    fn closes_at_once(&mut self, client: u32, turned_away: bool) -> Option<u32> {
        let row = &mut self.rows[client as usize];
        if turned_away {
            row.turned_away = false;
            return self.turned_away.remove(&client);
        }
        let Exiting { firing, ending_id: farewell, .. } = self.servers[usize::from(row.server)].exiting?;
        self.injected(firing.fault, client);
        Some(farewell)
    }

    /// After its own leaving: back after a while, with a fresh history, or not at all.
    pub(super) fn left(&mut self, client: u32) {
        if self.leaves_at(client).is_some_and(|until| until <= self.now) {
            return self.away(client);
        }
        let cohort = &self.plan.cohorts[usize::from(self.rows[client as usize].cohort)];
        match cohort.stay.as_ref().and_then(|stay| stay.back) {
            Some(back) => {
                self.begin_anew(client);
                self.waits(client, self.now, back);
            }
            None => self.record(self.now, &Event::Left { client: ClientIndex(client) }),
        }
    }

    /// When the stages of its cohort send a client away; never for most.
    pub(super) fn leaves_at(&self, client: u32) -> Option<u64> {
        // Without such cohorts nothing is looked up.
        if self.untils.is_empty() { None } else { self.untils.get(&client).copied() }
    }

    /// The stages of its cohort have sent a client away: it comes again when they say so, with a fresh history, or not at all.
    pub(super) fn away(&mut self, client: u32) {
        self.leaving.insert(client);
        self.record(self.now, &Event::Left { client: ClientIndex(client) });
        self.untils.remove(&client);
        let cohort = &self.plan.cohorts[usize::from(self.rows[client as usize].cohort)];
        // Its closing handshake may have taken longer than the time in which it was to be away.
        if let Some(next) = cohort.presence(ClientIndex(client), Duration::from_nanos(self.now)) {
            self.untils.insert(client, next.until.map_or(u64::MAX, nanos));
            self.begin_anew(client);
            self.push_for(nanos(next.from).max(self.now), client, What::Wake, 0);
        }
    }

    fn begin_anew(&mut self, client: u32) {
        let row = &mut self.rows[client as usize];
        row.history = self.plan.cohorts[usize::from(row.cohort)].reconnect.start(&mut || row.random.unit());
    }
}
