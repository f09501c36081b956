//! Connections that are more than a word of their client's row: see `pair`. Made when something lasting happens to one, given back when it
//! is as any other, gone when both sides know that it is over.

use super::pair::{CLIENT, NEVER, Pair, PairCommand, PairEnd, PairEvent, PairHeartbeat, PairItem, PairPhase, PairScene, SERVER};
use super::row::ClientState;
use super::server::Exiting;
use super::{Due, What, World, nanos};
use crate::close::{Cause, Ending};
use crate::event::{ClientIndex, Closing, ConnectionNo, Event};
use crate::plan::{Firing, Heartbeat, Target};
use std::time::Duration;

/// How long the server waits for a Close frame and for a FIN, ns; as the embedded one.
const SERVER_LIMITS: (u64, u64) = (10_000_000_000, 2_000_000_000);
/// Sets the streams of servers apart from those of clients.
const OF_SERVER: u64 = 1 << 63;

impl World<'_> {
    /// The two ends of a client's connection, made if need be; `None` where it has none, or one that is being closed without trouble.
    pub(super) fn trouble(&mut self, client: u32) -> Option<u32> {
        if let Some(slot) = self.pairs.of(client) {
            return Some(slot);
        }
        let row = &self.rows[client as usize];
        if row.state != ClientState::Open {
            return None;
        }
        let cohort = &self.plan.cohorts[usize::from(row.cohort)];
        let (connection, place, opened_at) = (row.attempts, row.server, row.history.opened_at().map_or(0, nanos));
        let limits = (nanos(cohort.deadlines.close), nanos(cohort.deadlines.fin));
        let number = u64::from(client) << 32 | u64::from(connection);
        let known = self.pairs.pings.remove(&(client, connection));
        let ping = if let Target::Embedded(settings) = &self.plan.target { settings.ping } else { None };
        let beat =
            |beat: Option<Heartbeat>, number: u64, end: usize| self.heartbeat(beat?, (number, opened_at), known.map(|next| next[end]));
        let mut ends = [
            PairEnd::open(limits, beat(cohort.heartbeat, number, CLIENT)),
            PairEnd::open(SERVER_LIMITS, beat(ping, OF_SERVER | number, SERVER)),
        ];
        let server = self.servers.get(usize::from(place));
        ends[SERVER].stands = server.is_some_and(|server| server.is_frozen(self.now));
        let echoes = cohort.traffic.awaits_replies();
        let mut pair = Pair::new(client, connection, (place, opened_at), echoes, ends);
        pair.begun = self.now;
        for end in [CLIENT, SERVER] {
            self.ping_under_way(&mut pair, end);
        }
        let exiting = self.servers.get(usize::from(place)).and_then(|server| server.exiting);
        if let (Some(at), Some(Exiting { firing, ending_id: farewell, .. })) = (self.turns.remove(&(client, connection)), exiting) {
            // The server comes to it, whatever its client does meanwhile.
            let account = &self.farewells[farewell as usize].client;
            let (code, reason) = (account.wire_received.unwrap_or(crate::close::NO_STATUS), account.reason.clone());
            pair.ends[SERVER].shuts = Some((at, Box::new(PairCommand::Close { fault: firing.fault, code, reason })));
        }
        self.rows[client as usize].state = ClientState::Troubled;
        Some(self.pairs.put(pair))
    }

    /// As the engine: the first ping at a phase of its own, each further one `every` after the one before.
    fn heartbeat(&self, beat: Heartbeat, (number, opened_at): (u64, u64), known: Option<u64>) -> Option<PairHeartbeat> {
        let (every, timeout) = (nanos(beat.every), nanos(beat.timeout));
        if every == 0 {
            return None;
        }
        let first = known.unwrap_or_else(|| opened_at.saturating_add(nanos(beat.first(self.plan.seed, number))));
        let gone = self.now.saturating_sub(first).div_ceil(every);
        Some(PairHeartbeat { every, timeout, next: first.saturating_add(gone.saturating_mul(every)), count: gone, awaited: None })
    }

    /// A ping whose pong is still on its way.
    fn ping_under_way(&self, pair: &mut Pair, end: usize) {
        let rtt = nanos(self.kind.model.rtt.mean());
        let Some(beat) = pair.ends[end].beat.as_mut().filter(|beat| beat.count > 0 && rtt > 0) else { return };
        let (sent, number) = (beat.next.saturating_sub(beat.every), beat.count);
        if sent.saturating_add(rtt) <= self.now {
            return;
        }
        beat.awaited = Some(sent);
        let there = sent.saturating_add(rtt / 2);
        if there > self.now {
            pair.will_come(1 - end, there, PairItem::Ping(number))
        } else {
            pair.will_come(end, sent + rtt, PairItem::Pong(number))
        }
    }

    /// Does something to a pair, lets happen what follows at once, and tells of it.
    pub(super) fn tend(&mut self, slot: u32, act: impl FnOnce(&mut Pair, &mut PairScene<'_>)) {
        let Some(mut pair) = self.pairs.slots[slot as usize].take() else { return };
        let mut happened = Vec::new();
        let World { kind, path, now, .. } = self;
        let mut leg = || kind.rtt.unwrap_or_else(|| nanos(kind.model.rtt.draw(path))) / 2;
        let mut scene = PairScene { now: *now, leg: &mut leg, happened: &mut happened };
        act(&mut pair, &mut scene);
        pair.run(&mut scene);
        let (client, connection) = (pair.client, pair.connection);
        let (closing, mark, server) = (pair.ends[CLIENT].phase != PairPhase::Open, pair.mark, pair.server);
        self.pairs.slots[slot as usize] = Some(pair);
        if closing && self.pairs.of(client) == Some(slot) && self.rows[client as usize].state == ClientState::Troubled {
            self.turn_to(client, ClientState::Closing);
        }
        let id = (ClientIndex(client), ConnectionNo(connection));
        for (end, what) in happened {
            match what {
                PairEvent::Injected(fault) => self.record(self.now, &Event::Injected { fault, client: id.0, connection: id.1 }),
                PairEvent::Echoed { due, sent } => self.hears(client, (due, sent), !closing),
                PairEvent::Greeted => self.greeted(client, !closing),
                PairEvent::StepMet(step) if !closing => self.met(client, step),
                PairEvent::StepMet(_) => {}
                PairEvent::Ended { ending, .. } if end == SERVER => {
                    self.record(self.now, &Event::ServerEnded { client: id.0, connection: id.1, ending });
                    if let Some(of) = self.servers.get_mut(usize::from(server)) {
                        of.open = of.open.saturating_sub(1);
                        of.seats = of.seats.saturating_sub(1);
                    }
                    self.check_exit(server);
                }
                PairEvent::Ended { mut ending, closing, back } => {
                    if let Some(fault) = mark.filter(|_| ending.cause == Cause::Remote) {
                        ending.cause = Cause::Fault(fault);
                    }
                    self.over(client, ending, closing, back);
                }
            }
        }
        self.arm(slot);
    }

    /// The client's session is over.
    fn over(&mut self, client: u32, ending: Box<Ending>, closing: Option<Closing>, back: Option<Duration>) {
        self.pairs.of.remove(&client);
        self.turn_to(client, ClientState::Away);
        let ((id, connection), cause, code) = (self.id(client), ending.cause, ending.code);
        // Its server may find out later.
        self.recorder.await_server(true);
        self.record(self.now, &Event::Ended { client: id, connection, ending, closing });
        self.recorder.await_server(false);
        match back {
            _ if cause == Cause::Stay => self.left(client),
            // On another path: no loss that the policy is asked about.
            Some(gap) => self.waits(client, self.now, gap),
            None => self.lost(client, code),
        }
    }

    /// Looks at a pair again when something is due, or lets it go.
    fn arm(&mut self, slot: u32) {
        let Some(pair) = self.pairs.get(slot) else { return };
        let (client, connection, due) = (pair.client, pair.connection, pair.due());
        let well = pair.is_well() && self.rows[client as usize].state == ClientState::Troubled;
        let (over, pings) = (pair.is_over(), pair.ends.iter().map(|end| end.beat.map_or(NEVER, |beat| beat.next)).collect::<Vec<_>>());
        let epoch = &mut self.pairs.epochs[slot as usize];
        *epoch = epoch.wrapping_add(1);
        let turn = *epoch;
        if over || well {
            self.pairs.drop(slot);
            if well {
                self.rows[client as usize].state = ClientState::Open;
                if pings.iter().any(|next| *next != NEVER) {
                    self.pairs.pings.insert((client, connection), [pings[CLIENT], pings[SERVER]]);
                }
            }
        } else if due != NEVER {
            self.push(due.max(self.now), Due { client: slot, turn, what: What::Pair, mark: 0 });
        }
    }

    /// Something is due for a pair.
    pub(super) fn look(&mut self, slot: u32, turn: u16) {
        if self.pairs.epochs[slot as usize] == turn {
            self.tend(slot, |_, _| ());
        }
    }

    /// Tells one end of a client's connection something, which makes it a pair. Whether there was one.
    pub(super) fn tell(&mut self, client: u32, end: usize, command: PairCommand) -> bool {
        let Some(slot) = self.trouble(client) else { return false };
        self.tend(slot, |pair, scene| pair.tell(scene, end, command));
        true
    }

    /// A firing is over: tells all ends of this side.
    pub(super) fn tell_all(&mut self, firing: Firing, end: usize) {
        let mut slots: Vec<_> =
            self.pairs.all().map(|(slot, pair)| (if end == SERVER { pair.opened_at } else { 0 }, pair.client, slot)).collect();
        slots.sort_unstable();
        for (.., slot) in slots {
            self.tend(slot, |pair, scene| pair.tell(scene, end, PairCommand::Revert(firing)));
        }
    }

    /// A client reads nothing for the moment, or reads again what came meanwhile.
    pub(super) fn deafen(&mut self, client: u32, deaf: bool) {
        let slot = if deaf { self.trouble(client) } else { self.pairs.of(client) };
        if let Some(slot) = slot {
            self.tend(slot, |pair, _| pair.ends[CLIENT].stands = deaf);
        }
    }

    /// A message of a time without trouble, or its echo, was under way when it began.
    pub(super) fn comes_late(&mut self, slot: u32, sent: u64, item: PairItem) {
        let (now, Some(pair)) = (self.now, self.pairs.get(slot)) else { return };
        // Half of the way is that of the message.
        let answered = pair.begun >= sent.midpoint(now);
        self.tend(slot, |pair, scene| {
            if answered {
                pair.comes(scene, CLIENT, item.answer());
            } else {
                pair.comes(scene, SERVER, item);
            }
        });
    }

    /// An echo arrives at a client.
    pub(super) fn hears(&mut self, client: u32, (due, sent): (u64, u64), open: bool) {
        let cohort = &self.plan.cohorts[usize::from(self.rows[client as usize].cohort)];
        let (due, sent) = (Duration::from_nanos(due), Duration::from_nanos(sent));
        self.record(
            self.now,
            &Event::Echoed { client: ClientIndex(client), bytes: cohort.traffic.message_bytes(), due, sent, error: false },
        );
        // An echo is of the client's own bytes: no text that it waits for.
        if open && self.tracker(client).on_message(&[], true) {
            self.ready(client);
        }
    }
}
