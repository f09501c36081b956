//! Messages of simulated clients: an open loop by the schedules of `arrival`, echoed after a round trip while the path lives.

use super::pair::{CLIENT, Pair, PairItem};
use super::row::ClientState;
use super::talks::Flight;
use super::{Due, What, World, nanos};
use crate::dialogue::ReadyTracker;
use crate::event::{ClientIndex, Event};
use std::time::Duration;

impl World<'_> {
    /// The client is open: it may be ready, and its messages are due from the first time on.
    pub(super) fn begin_talking(&mut self, client: u32) {
        let (now, awaits) = (Duration::from_nanos(self.now), self.awaits_steps(client));
        if !awaits {
            self.begin_schedule(client);
        }
        let rule = &self.plan.cohorts[usize::from(self.rows[client as usize].cohort)].ready;
        let mut tracker = ReadyTracker::opened(rule, now);
        if !awaits {
            tracker.on_dialogue();
        }
        if tracker.is_ready() {
            self.ready(client);
        } else if let Some(at) = tracker.wake() {
            self.push_for(nanos(at), client, What::Stable, 0);
        }
    }

    /// Messages by the clock begin with a client's first connection.
    pub(super) fn begin_schedule(&mut self, client: u32) {
        let cohort = &self.plan.cohorts[usize::from(self.rows[client as usize].cohort)];
        let (now, seed) = (Duration::from_nanos(self.now), self.plan.seed);
        if let Some(talk) = self.talks.of(client)
            && talk.schedule.is_none()
        {
            talk.schedule = cohort.sends(ClientIndex(client), seed).map(|sends| (sends, now));
            self.next_message(client);
        }
    }

    /// The message whose echo makes a client ready. A server that closes at once echoes nothing.
    pub(super) fn first_word(&mut self, client: u32, closes_at_once: bool) {
        let cohort = &self.plan.cohorts[usize::from(self.rows[client as usize].cohort)];
        if cohort.traffic.speaks_first() && !self.is_at_step(client) {
            self.say(client, !closes_at_once);
        }
    }

    /// A server greets whom waits for a message of it, right behind its 101; not one that closes at once, or that a fault has silenced. What
    /// silences a client's own side comes too late: the greeting is there with the 101.
    pub(super) fn greet(&mut self, client: u32) {
        let row = &self.rows[client as usize];
        if self.plan.cohorts[usize::from(row.cohort)].ready.greeting().is_none() || !row.state.is_open() {
            return;
        }
        match self.pairs.of(client) {
            Some(slot) => self.tend(slot, Pair::greet),
            None if row.state == ClientState::Open => self.greeted(client, true),
            None => {}
        }
    }

    /// The server's first word arrives.
    pub(super) fn greeted(&mut self, client: u32, open: bool) {
        let Some(text) = self.plan.cohorts[usize::from(self.rows[client as usize].cohort)].ready.greeting() else { return };
        let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.record(self.now, &Event::Greeted { client: ClientIndex(client), bytes });
        if open && self.tracker(client).on_message(text.as_bytes(), false) {
            self.ready(client);
        }
    }

    /// It has been open for the time that its cohort asks for.
    pub(super) fn stable(&mut self, client: u32) {
        let open = matches!(self.rows[client as usize].state, ClientState::Open | ClientState::Troubled);
        if open && self.tracker(client).on_wake(Duration::from_nanos(self.now)) {
            self.ready(client);
        }
    }

    /// Whether a client's connection is ready: what the policy knows of it already, in no memory of its own.
    pub(super) fn tracker(&self, client: u32) -> ReadyTracker<'_> {
        let row = &self.rows[client as usize];
        let rule = &self.plan.cohorts[usize::from(row.cohort)].ready;
        ReadyTracker::resumed(rule, row.history.opened_at().unwrap_or_default(), row.history.is_ready())
    }

    pub(super) fn ready(&mut self, client: u32) {
        self.rows[client as usize].history.ready();
        let (id, connection) = self.id(client);
        self.record(self.now, &Event::Ready { client: id, connection });
    }

    fn next_message(&mut self, client: u32) {
        let Some(talk) = self.talks.of(client) else { return };
        let Some((sends, start)) = &talk.schedule else { return };
        let due = sends.due(*start, talk.sent);
        talk.sent += 1;
        self.push(nanos(due), Due { client, what: What::Message, ..Due::default() });
    }

    /// A message is due.
    pub(super) fn message(&mut self, client: u32) {
        self.next_message(client);
        self.say(client, true);
    }

    fn say(&mut self, client: u32, heard: bool) {
        let (state, now) = (self.rows[client as usize].state, self.now);
        let (id, due) = (ClientIndex(client), Duration::from_nanos(now));
        let slot = self.pairs.of(client);
        let end = slot.and_then(|slot| self.pairs.get(slot)).map(|pair| &pair.ends[CLIENT]);
        if self.is_at_step(client) || !end.map_or(state == ClientState::Open, |end| end.is_ready() && !end.is_broken()) {
            // Of one that leaves, or has left by itself, nothing is due.
            if !self.leaving.contains(&client) {
                self.record(now, &Event::NotStarted { client: id, due });
            }
            return;
        }
        let traffic = self.plan.cohorts[usize::from(self.rows[client as usize].cohort)].traffic;
        self.record(now, &Event::Sent { client: id, due, bytes: traffic.message_bytes() });
        if let Some(slot) = slot {
            return self.tend(slot, |pair, scene| pair.say(scene, CLIENT, PairItem::Message { due: now, sent: now }));
        }
        if heard && traffic.awaits_replies() {
            self.fly(client, None);
        }
    }

    /// Something is said on a connection without trouble: its answer comes after a round trip.
    pub(super) fn fly(&mut self, client: u32, step: Option<u16>) {
        let (now, at) = (self.now, self.now.saturating_add(self.rtt()));
        let flight = Flight { client, attempts: self.rows[client as usize].attempts, sent: now, step };
        let place = match self.talks.landed.pop() {
            Some(place) => {
                self.talks.flights[place as usize] = flight;
                place
            }
            None => {
                self.talks.flights.push(flight);
                self.talks.flights.len() as u32 - 1
            }
        };
        if at == now { self.echo(place) } else { self.push(at, Due { client: place, what: What::Echo, ..Due::default() }) }
    }

    /// An answer arrives, if its connection still lives.
    pub(super) fn echo(&mut self, place: u32) {
        let Flight { client, attempts, sent, step } = self.talks.flights[place as usize];
        self.talks.landed.push(place);
        let row = &self.rows[client as usize];
        if row.attempts != attempts {
            return;
        }
        match (self.pairs.of(client), step) {
            (Some(slot), step) => {
                let item = step.map_or(PairItem::Message { due: sent, sent }, PairItem::Step);
                self.comes_late(slot, sent, item);
            }
            (None, _) if row.state != ClientState::Open => {}
            (None, Some(step)) => self.met(client, step),
            (None, None) => self.hears(client, (sent, sent), true),
        }
    }
}
