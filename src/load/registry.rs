//! Where every client stands: what selectors choose from, and the mailbox of each.

use crate::event::{ClientIndex, ConnectionNo, Stage, Stages, UnderWay};
use crate::fault::OnAttempt;
use crate::lock::lock;
use crate::plan::{Firing, Phase, Select, Shard, Standing};
use crate::recorder::SharedRecorder;
use crate::ws::handshake::own_headers::Id;
use crate::ws::session::mailbox::{Control, FiredInjection};
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Whole microseconds of a stage up to 71 minutes, in four bytes; none of one that did not end.
#[derive(Clone, Copy, Debug, Default)]
struct StageMicros(Option<NonZeroU32>);

impl StageMicros {
    fn of(time: Duration) -> StageMicros {
        StageMicros(NonZeroU32::new(u32::try_from(time.as_micros()).unwrap_or(u32::MAX - 1) + 1))
    }

    fn time(self) -> Option<Duration> {
        self.0.map(|us| Duration::from_micros((us.get() - 1).into()))
    }
}

/// One client.
#[derive(Debug, Default)]
pub(crate) struct ClientSlot {
    /// Its mailbox.
    pub(crate) control: Control,
    standing: Mutex<ConnectionPlace>,
}

/// Where a client stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConnectionPlace {
    /// `None`: no connection and no attempt.
    pub(crate) phase: Option<Phase>,
    /// Since when it has been in this phase; of one that is closing, since when it has been open.
    pub(crate) since: Duration,
    /// Stages of the attempt that ended, µs.
    tcp_us: StageMicros,
    tls_us: StageMicros,
    /// TLS took up an earlier session; while its handshake lasts: asked for it.
    pub(crate) resumed: bool,
    /// Of the target.
    pub(crate) instance: u16,
    /// Attempts so far.
    pub(crate) connection: u32,
    /// What a server process suffered while this connection was open, and whether it ends connections by itself.
    pub(crate) mark: Option<(Firing, bool)>,
    /// The process that had the connection is gone, and the client has not noticed.
    pub(crate) orphan: bool,
}

impl ConnectionPlace {
    /// The attempt comes to its next stage at `since`, or to its end with [`Phase::Open`].
    pub(crate) fn enter(&mut self, phase: Phase, since: Duration) {
        let took = StageMicros::of(since.saturating_sub(self.since));
        match self.phase {
            Some(Phase::Tcp) => self.tcp_us = took,
            Some(Phase::Tls) => self.tls_us = took,
            _ => {}
        }
        (self.phase, self.since) = (Some(phase), since);
    }

    /// An attempt begins.
    pub(crate) fn begin(&mut self, since: Duration) {
        self.orphan = false;
        (self.phase, self.since, self.tcp_us, self.tls_us) = (Some(Phase::Tcp), since, StageMicros(None), StageMicros(None));
        self.resumed = false;
    }

    /// How far the attempt has come at `now`, and how long that took.
    pub(crate) fn stages(&self, now: Duration) -> (Stage, Stages) {
        let stage = match self.phase {
            Some(Phase::Tls) => Stage::Tls,
            Some(Phase::Upgrade) => Stage::Upgrade,
            _ => Stage::Tcp,
        };
        let (tcp, tls, resumed) = (self.tcp_us.time(), self.tls_us.time(), self.resumed);
        (stage, Stages { tcp, tls, resumed, elapsed: now.saturating_sub(self.since) })
    }
}

impl ClientSlot {
    /// What the end of the measurement cuts, `ago` before `now`.
    fn under_way(&self, journal: &SharedRecorder, now: Duration, ago: Duration) -> Option<UnderWay> {
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

    fn lock(&self) -> MutexGuard<'_, ConnectionPlace> {
        lock(&self.standing)
    }

    /// A copy of where it stands.
    pub(crate) fn place(&self) -> ConnectionPlace {
        *self.lock()
    }

    /// Changes where it stands.
    pub(crate) fn set(&self, change: impl FnOnce(&mut ConnectionPlace)) {
        change(&mut self.lock());
    }
}

/// A fault that waits for connections to open.
#[derive(Clone, Debug)]
pub(crate) struct WaitingFault {
    /// What it does at the client's end.
    pub(crate) client: Arc<FiredInjection>,
    /// And at the server's.
    pub(crate) server: Option<Arc<FiredInjection>>,
}

/// All clients, and the faults that wait for new connections.
#[derive(Debug)]
pub(crate) struct Registry {
    shard: Shard,
    slots: Vec<ClientSlot>,
    new: Mutex<Vec<(WaitingFault, Standing)>>,
    attempts: Mutex<Vec<(Firing, OnAttempt, Standing)>>,
}

impl Registry {
    /// One slot for each client of `shard` among `clients` of the plan.
    pub(crate) fn new(clients: u32, shard: Shard) -> Self {
        Registry {
            shard,
            slots: shard.clients(clients).map(|_| ClientSlot::default()).collect(),
            new: Mutex::default(),
            attempts: Mutex::default(),
        }
    }

    /// The slot of a client of the shard.
    pub(crate) fn slot(&self, client: ClientIndex) -> &ClientSlot {
        &self.slots[self.shard.row(client).index()]
    }

    /// All slots in the order of client indices.
    pub(crate) fn each(&self) -> impl Iterator<Item = (ClientIndex, &ClientSlot)> {
        self.shard.clients(u32::MAX).map(ClientIndex).zip(&self.slots)
    }

    /// What the end of the measurement cuts, which is now or was a moment ago.
    pub(crate) fn under_way(&self, journal: &SharedRecorder) -> Vec<(ClientIndex, UnderWay)> {
        let now = journal.now();
        let ago = now - journal.end().min(now);
        self.each().filter_map(|(client, slot)| Some((client, slot.under_way(journal, now, ago)?))).collect()
    }

    /// Connections that pass the filters of a selection now, sorted by client.
    pub(crate) fn eligible(&self, select: &Select, clients: &Range<u32>, now: Duration) -> Vec<(Id, ConnectionPlace)> {
        let candidates = self.each().filter(|(client, _)| clients.contains(&client.0));
        let eligible = candidates.filter_map(|(client, slot)| {
            let mut place = slot.place();
            if place.phase == Some(Phase::Open) && slot.control.closing().is_some() {
                // A fault has begun to close it, and nothing has happened since.
                place.phase = Some(Phase::Closing);
            }
            let id = Id { client, connection: ConnectionNo(place.connection) };
            select.passes(client, place.phase, now.saturating_sub(place.since)).then_some((id, place))
        });
        eligible.collect()
    }

    /// Makes a fault wait for connections that open from now on.
    pub(crate) fn stand(&self, waiting: WaitingFault, standing: Standing) {
        lock(&self.new).push((waiting, standing));
    }

    /// Makes a fault wait for attempts that begin from now on.
    pub(crate) fn stand_attempts(&self, firing: Firing, effect: OnAttempt, standing: Standing) {
        lock(&self.attempts).push((firing, effect, standing));
    }

    /// Whether a fault waits for attempts.
    pub(crate) fn awaits_attempts(&self) -> bool {
        !lock(&self.attempts).is_empty()
    }

    /// The faults that would select this attempt, as far as they have hits left.
    pub(crate) fn attempted(&self, client: ClientIndex) -> Vec<(Firing, OnAttempt)> {
        let attempts = lock(&self.attempts);
        let wanting = attempts.iter().filter(|(.., standing)| standing.wants(client, true));
        wanting.map(|(firing, effect, _)| (*firing, effect.clone())).collect()
    }

    /// Whether a firing waits for connections to open.
    pub(crate) fn awaits(&self, firing: Firing) -> bool {
        lock(&self.new).iter().any(|(waiting, _)| waiting.client.firing == firing)
    }

    /// Ends the wait of a firing.
    pub(crate) fn unstand(&self, firing: Firing) {
        lock(&self.attempts).retain(|(standing, ..)| *standing != firing);
        lock(&self.new).retain(|(waiting, _)| waiting.client.firing != firing);
    }

    /// The faults that wait for connections to open and would reach this one, as far as they have hits left.
    pub(crate) fn opened(&self, client: ClientIndex) -> Vec<WaitingFault> {
        let new = lock(&self.new);
        new.iter().filter(|(_, standing)| standing.wants(client, true)).map(|(waiting, _)| waiting.clone()).collect()
    }
}
