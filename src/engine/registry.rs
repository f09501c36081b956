//! Where every client stands: what selectors choose from, and the mailbox of each.

use super::channel::{Id, Standing};
use super::control::{Command, Control, Dose};
use super::journal::Journal;
use crate::event::{ClientIndex, ConnectionNo, Stage, Stages, UnderWay};
use crate::fault::OnAttempt;
use crate::plan::{Budget, Firing, Phase, Pick, Plan, Select, Shard};
use crate::seed::{Seed, Stream};
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Whole microseconds of a stage up to 71 minutes, in four bytes; none of one that did not end.
#[derive(Clone, Copy, Debug, Default)]
struct Micros(Option<NonZeroU32>);

impl Micros {
    fn of(time: Duration) -> Micros {
        Micros(NonZeroU32::new(u32::try_from(time.as_micros()).unwrap_or(u32::MAX - 1) + 1))
    }

    fn time(self) -> Option<Duration> {
        self.0.map(|us| Duration::from_micros((us.get() - 1).into()))
    }
}

/// One client.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Its mailbox.
    pub(super) control: Control,
    standing: Mutex<Place>,
}

/// Where a client stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// `None`: no connection and no attempt.
    pub(super) phase: Option<Phase>,
    /// Since when it has been in this phase; of one that is closing, since when it has been open.
    pub(super) since: Duration,
    /// Stages of the attempt that ended, µs.
    tcp_us: Micros,
    tls_us: Micros,
    /// TLS took up an earlier session; while its handshake lasts: asked for it.
    pub(super) resumed: bool,
    /// Of the target.
    pub(super) instance: u16,
    /// Attempts so far.
    pub(super) connection: u32,
    /// What a server process suffered while this connection was open, and whether it ends connections by itself.
    pub(super) mark: Option<(Firing, bool)>,
}

impl Place {
    /// The attempt comes to its next stage at `since`, or to its end with [`Phase::Open`].
    pub(super) fn enter(&mut self, phase: Phase, since: Duration) {
        let took = Micros::of(since.saturating_sub(self.since));
        match self.phase {
            Some(Phase::Tcp) => self.tcp_us = took,
            Some(Phase::Tls) => self.tls_us = took,
            _ => {}
        }
        (self.phase, self.since) = (Some(phase), since);
    }

    /// An attempt begins.
    pub(super) fn begin(&mut self, since: Duration) {
        (self.phase, self.since, self.tcp_us, self.tls_us) = (Some(Phase::Tcp), since, Micros(None), Micros(None));
        self.resumed = false;
    }

    /// How far the attempt has come at `now`, and how long that took.
    pub(super) fn stages(&self, now: Duration) -> (Stage, Stages) {
        let stage = match self.phase {
            Some(Phase::Tls) => Stage::Tls,
            Some(Phase::Upgrade) => Stage::Upgrade,
            _ => Stage::Tcp,
        };
        let (tcp, tls, resumed) = (self.tcp_us.time(), self.tls_us.time(), self.resumed);
        (stage, Stages { tcp, tls, resumed, elapsed: now.saturating_sub(self.since) })
    }
}

impl Slot {
    /// What the end of the measurement cuts, `ago` before `now`.
    fn under_way(&self, journal: &Journal, now: Duration, ago: Duration) -> Option<UnderWay> {
        let place = self.place();
        let what = match place.phase? {
            Phase::Tcp | Phase::Tls | Phase::Upgrade => {
                let (stage, times) = place.stages(now);
                UnderWay::Attempt { stage, times }
            }
            Phase::Open | Phase::Closing => {
                let (first, second) = self.control.closing()?;
                let elapsed = now.saturating_sub(journal.offset_of(first));
                UnderWay::Closing { ack: second.map(|second| second - first), elapsed }
            }
        };
        what.before(ago)
    }

    fn lock(&self) -> MutexGuard<'_, Place> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of where it stands.
    pub(super) fn place(&self) -> Place {
        *self.lock()
    }

    /// Changes where it stands.
    pub(super) fn set(&self, change: impl FnOnce(&mut Place)) {
        change(&mut self.lock());
    }
}

/// Hits that faults have left.
#[derive(Debug)]
pub(super) struct Hits(Mutex<Budget>);

impl Hits {
    /// Those of a plan, or of a shard of it.
    pub(super) fn new(plan: &Plan, shard: Shard) -> Self {
        Hits(Mutex::new(Budget::new(&plan.faults, shard)))
    }

    /// The budget itself.
    pub(super) fn lock(&self) -> MutexGuard<'_, Budget> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A firing hits one more, if it may. Whether it does.
    pub(super) fn take_one(&self, firing: Firing) -> bool {
        self.lock().take_one(firing)
    }
}

/// All clients, and the faults that wait for new connections.
#[derive(Debug)]
pub(super) struct Registry {
    shard: Shard,
    slots: Vec<Slot>,
    seed: Seed,
    hits: Arc<Hits>,
    new: Mutex<Vec<(Arc<Dose>, Standing)>>,
    attempts: Mutex<Vec<(Firing, OnAttempt, Standing)>>,
}

impl Registry {
    /// One slot for each client of `shard` among `clients` of the plan.
    pub(super) fn new(clients: u32, shard: Shard, seed: Seed, hits: Arc<Hits>) -> Self {
        Registry {
            shard,
            hits,
            slots: shard.clients(clients).map(|_| Slot::default()).collect(),
            seed,
            new: Mutex::default(),
            attempts: Mutex::default(),
        }
    }

    /// The slot of a client of the shard.
    pub(super) fn slot(&self, client: ClientIndex) -> &Slot {
        &self.slots[self.shard.place(client.0)]
    }

    /// All slots in the order of client indices.
    pub(super) fn each(&self) -> impl Iterator<Item = (ClientIndex, &Slot)> {
        self.shard.clients(u32::MAX).map(ClientIndex).zip(&self.slots)
    }

    /// What the end of the measurement cuts, which is now or was a moment ago.
    pub(super) fn under_way(&self, journal: &Journal) -> Vec<(ClientIndex, UnderWay)> {
        let now = journal.now();
        let ago = now - journal.end().min(now);
        self.each().filter_map(|(client, slot)| Some((client, slot.under_way(journal, now, ago)?))).collect()
    }

    /// Connections that a firing selects now, sorted by client; at most `limit`. `turn` numbers the firings.
    pub(super) fn select(
        &self,
        select: &Select,
        clients: Range<u32>,
        now: Duration,
        limit: Option<u64>,
        turn: u64,
        random: &mut Stream,
    ) -> Vec<(Id, Place)> {
        let phase = select.phase.unwrap_or(Phase::Open);
        let candidates = self.each().filter(|(client, _)| clients.contains(&client.0)).filter_map(|(client, slot)| {
            let place = slot.place();
            let old_enough = phase != Phase::Open || now.saturating_sub(place.since) >= select.min_age;
            let id = Id { client, connection: ConnectionNo(place.connection) };
            (place.phase == Some(phase) && old_enough).then_some((id, place))
        });
        let mut picked = pick(select.pick, self.shard, turn, candidates.collect(), random);
        if let Some(limit) = limit {
            picked.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        picked
    }

    /// Makes a fault wait for connections that open from now on.
    pub(super) fn stand(&self, dose: Arc<Dose>, standing: Standing) {
        self.new.lock().unwrap_or_else(PoisonError::into_inner).push((dose, standing));
    }

    /// Makes a fault wait for attempts that begin from now on.
    pub(super) fn stand_attempts(&self, firing: Firing, effect: OnAttempt, standing: Standing) {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).push((firing, effect, standing));
    }

    /// Whether a fault waits for attempts.
    pub(super) fn awaits_attempts(&self) -> bool {
        !self.attempts.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The fault that selects this attempt, and what it does; uses up one of its hits.
    pub(super) fn attempted(&self, id: Id) -> Option<(u16, OnAttempt)> {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = attempts.iter();
        let hit = all.find(|(firing, _, standing)| standing.wants(self.seed, id, true) && self.hits.take_one(*firing))?;
        Some((hit.0.fault, hit.1.clone()))
    }

    /// Ends the wait of a firing.
    pub(super) fn unstand(&self, firing: Firing) {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).retain(|(standing, ..)| *standing != firing);
        self.new.lock().unwrap_or_else(PoisonError::into_inner).retain(|(dose, _)| dose.firing != firing);
    }

    /// A connection opened: the faults that wait for it reach it.
    pub(super) fn opened(&self, id: Id) {
        for (dose, standing) in self.new.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if standing.wants(self.seed, id, true) && self.hits.take_one(dose.firing) {
                self.slot(id.client).control.send(Command::Inject(dose.clone()));
            }
        }
    }
}

/// Draws without replacement; keeps the order. A shard takes its part of what is picked.
fn pick<T: Copy>(pick: Pick, shard: Shard, turn: u64, candidates: Vec<(Id, T)>, random: &mut Stream) -> Vec<(Id, T)> {
    pick.draw(shard, turn, candidates, |(id, _)| id.client, random)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: u32) -> Vec<(Id, ())> {
        (0..count).map(|client| (Id { client: ClientIndex(client), connection: ConnectionNo(1) }, ())).collect()
    }

    #[test]
    fn picks_are_exact_and_without_replacement() {
        let mut random = Seed(1).stream("pick");
        for (how, of, expected) in [
            (Pick::All, 10, 10),
            (Pick::Count(3), 10, 3),
            (Pick::Count(30), 10, 10), // no more than there are
            (Pick::Share(0.25), 1000, 250),
            (Pick::Share(0.05), 10, 1), // rounded
            (Pick::Nth(3), 10, 3),      // 2, 5, 8
            (Pick::Count(3), 0, 0),
        ] {
            let picked = pick(how, Shard::WHOLE, 0, ids(of), &mut random);
            assert_eq!(picked.len(), expected, "{how:?} of {of}");
            assert!(picked.windows(2).all(|pair| pair[0].0 < pair[1].0), "sorted, each once");
        }
    }

    #[test]
    fn every_candidate_has_the_same_chance() {
        let mut random = Seed(2).stream("pick");
        let mut hits = [0_u32; 10];
        for _ in 0..10_000 {
            pick(Pick::Count(3), Shard::WHOLE, 0, ids(10), &mut random).iter().for_each(|(id, ())| hits[id.client.0 as usize] += 1);
        }
        assert!(hits.iter().all(|&hits| (2_800..3_200).contains(&hits)), "{hits:?}");
    }
}
