//! One simulated server: its listen queue, its service queue, and what it costs to be served.
//!
//! Offsets are ns. What an opening handshake meets is decided by `plan::admission`, as in the embedded server.

use crate::fault::OnListener;
use crate::plan::{Accept, Bucket, Firing, Gone, Model, QueueOrder, Refusal, ServiceQueue, ServiceTimes};
use crate::seed::{Seed, Stream};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Share of a server's capacity that is left however many connections are open.
const LEAST_CAPACITY: f64 = 0.01;
/// An offset that is not reached.
pub(super) const NEVER: u64 = u64::MAX;

/// A client, and which of its states is meant: it may have gone on meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Who {
    pub(super) client: u32,
    /// Number of the attempt.
    pub(super) attempt: u32,
    pub(super) turn: u16,
}

/// What a SYN meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syn {
    /// Nobody listens: RST.
    Refused,
    /// The listen queue is full.
    Dropped,
    /// The handshake completes; the server looks at the request no earlier than then.
    Taken(u64),
    /// The handshake completes, and nobody accepts: it waits in the listen queue.
    Held,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestFate {
    /// The answer goes out then.
    Done(u64),
    /// The server ends it then, unanswered.
    Ended(u64),
    /// It waits; the server will say.
    Waits,
    /// Not served.
    Refused(Refusal),
}

/// A graceful stop under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exiting {
    pub(super) firing: Firing,
    /// From its exit to the start of the next process, ns.
    pub(super) down: u64,
    /// When it was asked, ns.
    pub(super) since: u64,
    /// How it closes connections, also those that open from now on.
    pub(super) ending_id: u32,
}

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    /// The process runs and listens.
    pub(super) up: bool,
    /// Firings on the listening socket that no process has carried out yet.
    pub(super) unreached: Vec<(Firing, OnListener)>,
    /// What a process that stands still does not know to be over.
    pub(super) unreverted: Vec<OnListener>,
    /// Faults that close the listening socket.
    pub(super) closed: u32,
    /// Firings that make it accept nothing, each with the length of the queue meanwhile.
    pub(super) full: Vec<u32>,
    /// It is stopped until then; 0: it runs.
    pub(super) frozen_until: u64,
    /// Since when.
    frozen_since: u64,
    /// Length of all stops so far, after each.
    pub(super) stops: Vec<u64>,
    /// Firings that have stopped it and are not over.
    pub(super) pauses: Vec<Firing>,
    /// Open connections.
    pub(super) open: u32,
    /// Connections that are open, or were let into the service queue and will be.
    pub(super) seats: u32,
    /// With a limit of connections: until when each client is served that was let in and has not opened yet; [`NEVER`]: not known yet.
    pub(super) promised: BTreeMap<Who, u64>,
    /// Attempts on their way here.
    pub(super) coming: u32,
    /// It exits when its last connection is gone: on behalf of this fault, down for so long.
    pub(super) exiting: Option<Exiting>,
    /// Completed TCP handshakes that nobody accepts.
    pub(super) held: Vec<Who>,
    /// Whom it serves and until when, where that is not known in advance; by that time, as many as it has places.
    serving: VecDeque<(u64, Who)>,
    line: ServiceQueue<Who>,
    bucket: Option<Bucket>,
    /// When those in the listen queue leave it.
    leaving: VecDeque<u64>,
    /// When the requests arrive of those who are connected and wait in the listen queue since, with [`Accept::WhenFree`].
    asking: VecDeque<u64>,
    accepts_at: u64,
    started: u64,
    random: Stream,
}

/// What all servers of a model have in common.
#[derive(Debug)]
pub(super) struct ServerKind {
    pub(super) model: Model,
    /// Messages of one open connection in a second, on average.
    pub(super) messages_per_s: f64,
    /// Who is served next is known only when it is served.
    explicit: bool,
    /// Opening handshakes cost nothing.
    free: bool,
    cost: Option<Duration>,
    /// Of the path, ns, where it is always the same.
    pub(super) rtt: Option<u64>,
    /// Late after each wait, ns, where it is always the same.
    pub(super) lag: Option<u64>,
}

impl ServerKind {
    pub(super) fn new(model: &Model, messages_per_s: f64) -> ServerKind {
        let loaded = !model.open_cost.is_zero() || !model.message_cost.is_zero();
        let constant = |times: &ServiceTimes| if let ServiceTimes::Constant(time) = times { Some(*time) } else { None };
        ServerKind {
            explicit: model.queue == QueueOrder::Lifo || model.gone == Gone::Skipped || loaded,
            free: model.handshake_cost.is_zero(),
            cost: constant(&model.handshake_cost).filter(|_| !loaded && model.cold == 0.0),
            rtt: constant(&model.rtt).map(super::entry::nanos),
            lag: constant(&model.client_lag).map(super::entry::nanos),
            model: model.clone(),
            messages_per_s,
        }
    }
}

impl Server {
    /// Number `index`, which has listened since the start: of a `fresh` target since it was started for this run.
    pub(super) fn new(kind: &ServerKind, index: u16, seed: Seed, fresh: bool) -> Server {
        let mut server = Server {
            up: false,
            unreached: Vec::new(),
            unreverted: Vec::new(),
            closed: 0,
            full: Vec::new(),
            frozen_until: 0,
            frozen_since: 0,
            stops: Vec::new(),
            pauses: Vec::new(),
            open: 0,
            seats: 0,
            promised: BTreeMap::new(),
            coming: 0,
            exiting: None,
            held: Vec::new(),
            serving: VecDeque::new(),
            line: ServiceQueue::new(kind.model.queue, kind.model.parallel, None, Duration::ZERO),
            bucket: None,
            leaving: VecDeque::new(),
            asking: VecDeque::new(),
            accepts_at: 0,
            started: 0,
            random: seed.stream(&format!("server/{index}/service")),
        };
        server.start(kind, 0);
        if !fresh {
            // It started long ago: a slow start is over.
            server.line = ServiceQueue::new(kind.model.queue, kind.model.parallel, None, Duration::ZERO);
        }
        // Cold caches were fitted to restarts.
        server.started = NEVER;
        server
    }

    /// A new process.
    pub(super) fn start(&mut self, kind: &ServerKind, now: u64) {
        let at = Duration::from_nanos(now);
        self.up = true;
        self.exiting = None;
        self.line = ServiceQueue::new(kind.model.queue, kind.model.parallel, kind.model.slow_start, at);
        self.bucket = kind.model.admit.map(|admit| Bucket::new(admit, at));
        (self.accepts_at, self.started) = (now, now);
    }

    /// The process is gone, with all that it held.
    pub(super) fn stop(&mut self) {
        self.up = false;
        self.frozen_until = 0;
        self.pauses.clear();
        self.seats = 0;
        self.promised.clear();
        self.serving.clear();
        self.held.clear();
        self.leaving.clear();
        self.asking.clear();
    }

    /// Whether attempts reach it.
    pub(super) fn listens(&self) -> bool {
        self.up && self.closed == 0
    }

    /// Whether the present stop had not begun at `at`.
    pub(super) fn was_running(&self, at: u64) -> bool {
        at < self.frozen_since
    }

    pub(super) fn is_frozen(&self, now: u64) -> bool {
        now < self.frozen_until
    }

    /// A SYN arrives.
    pub(super) fn on_syn(&mut self, kind: &ServerKind, now: u64) -> Syn {
        if !self.listens() {
            return Syn::Refused;
        }
        // The queue holds one more than its length (Linux: sk_acceptq_is_full).
        let room = self.full.iter().copied().min().unwrap_or(kind.model.backlog) as usize + 1;
        if !self.full.is_empty() || self.is_frozen(now) {
            return if self.held.len() < room { Syn::Held } else { Syn::Dropped };
        }
        while self.leaving.front().is_some_and(|at| *at <= now) {
            self.leaving.pop_front();
        }
        while self.asking.front().is_some_and(|at| *at <= now) {
            self.asking.pop_front();
        }
        match kind.model.accept {
            Accept::WhenFree if !kind.free => {
                let waiting = self.asking.len() + if kind.explicit { self.line.len() } else { self.leaving.len() };
                if waiting < room { Syn::Taken(now) } else { Syn::Dropped }
            }
            Accept::Eager if !kind.model.accept_cost.is_zero() => {
                if self.leaving.len() >= room {
                    return Syn::Dropped;
                }
                let begin = self.accepts_at.max(now);
                self.accepts_at = begin.saturating_add(kind.model.accept_cost.as_nanos() as u64);
                self.leaving.push_back(begin);
                Syn::Taken(self.accepts_at)
            }
            _ => Syn::Taken(now),
        }
    }

    /// Whoever was taken by a server that accepts when it is free will ask at `at`, and waits in the listen queue until then: a burst
    /// fills it before the first request is there.
    pub(super) fn will_ask(&mut self, kind: &ServerKind, at: u64) {
        if kind.model.accept == Accept::WhenFree && !kind.free {
            self.asking.push_back(at);
        }
    }

    /// A request arrives.
    pub(super) fn request(&mut self, kind: &ServerKind, now: u64, who: Who) -> RequestFate {
        let at = Duration::from_nanos(now);
        if kind.model.max_connections.is_some_and(|max| self.seats >= max) {
            return RequestFate::Refused(Refusal::FULL);
        }
        if let Some(Err(refusal)) = self.bucket.as_mut().map(|bucket| bucket.take(at)) {
            return RequestFate::Refused(refusal);
        }
        // Taken before it is served, or all that wait at once would find room.
        self.seats += 1;
        if kind.free {
            self.promise(kind, who, now);
            return RequestFate::Done(now);
        }
        if kind.explicit {
            self.promise(kind, who, NEVER);
            self.line.join(at, who);
            return RequestFate::Waits;
        }
        let (begin, end) = self.serve(kind, at);
        if kind.model.accept == Accept::WhenFree && begin > at {
            self.leaving.push_back(begin.as_nanos() as u64);
        }
        let end = u64::try_from(end.as_nanos()).unwrap_or(NEVER);
        match kind.model.deadline.map(|deadline| (at + deadline).as_nanos() as u64) {
            Some(until) if until < end => {
                self.promise(kind, who, until);
                RequestFate::Ended(until)
            }
            _ => {
                self.promise(kind, who, end);
                RequestFate::Done(end)
            }
        }
    }

    /// An HTTP request arrives, and waits with the opening handshakes: when its answer leaves; `None`: not known yet.
    pub(super) fn ask(&mut self, kind: &ServerKind, now: u64, who: Who) -> Option<u64> {
        let at = Duration::from_nanos(now);
        if kind.explicit {
            self.line.join(at, who);
            return None;
        }
        let cost = self.asked_cost(kind, at);
        if cost.is_zero() {
            return Some(now);
        }
        let (begin, end) = self.line.serve(at, cost);
        if kind.model.accept == Accept::WhenFree && begin > at {
            self.leaving.push_back(super::entry::nanos(begin));
        }
        Some(super::entry::nanos(end))
    }

    fn asked_cost(&mut self, kind: &ServerKind, arrived: Duration) -> Duration {
        match &kind.model.before_cost {
            Some(cost) => cost.draw(&mut self.random),
            None => self.handshake_cost(kind, arrived),
        }
    }

    /// Somebody who was let in is served until then.
    pub(super) fn promise(&mut self, kind: &ServerKind, who: Who, until: u64) {
        if kind.model.max_connections.is_some() {
            self.promised.insert(who, until);
        }
    }

    /// Somebody who was let in will not open: the seat is free.
    pub(super) fn vacate(&mut self, who: Who) {
        if self.promised.remove(&who).is_some() {
            self.seats = self.seats.saturating_sub(1);
        }
    }

    /// The client of an attempt is gone at `now`. The server works for it all the same: when its seat is free, where that is known and later.
    pub(super) fn abandoned(&mut self, who: Who, now: u64) -> Option<u64> {
        let until = *self.promised.get(&who)?;
        if until <= now {
            self.vacate(who);
        }
        Some(until).filter(|until| *until > now && *until != NEVER)
    }

    /// Serves the next one that waits, if the server has a place: until when.
    /// `is_asking`: it is an HTTP request.
    pub(super) fn take(
        &mut self,
        kind: &ServerKind,
        now: u64,
        is_gone: impl Fn(Who) -> bool,
        is_asking: impl Fn(Who) -> bool,
    ) -> Option<u64> {
        if self.serving.len() >= kind.model.parallel as usize {
            return None;
        }
        loop {
            let (arrived, who) = self.line.take_next()?;
            if kind.model.gone == Gone::Skipped && is_gone(who) {
                self.vacate(who);
                continue;
            }
            let cost = if is_asking(who) { self.asked_cost(kind, arrived) } else { self.handshake_cost(kind, arrived) };
            let (_, end) = self.line.serve(arrived, cost);
            let end = u64::try_from(end.as_nanos()).unwrap_or(NEVER).max(now);
            let place = self.serving.partition_point(|(other, _)| *other <= end);
            self.serving.insert(place, (end, who));
            return Some(end);
        }
    }

    /// Whom it has served: of those under way, the one that was to be done first.
    pub(super) fn served(&mut self) -> Option<Who> {
        // A stop delays all alike: their order stays.
        self.serving.pop_front().map(|(_, who)| who)
    }

    /// It stands still for so long, and everything with it; one that stands still already does so for as much longer as that takes.
    pub(super) fn freeze(&mut self, now: u64, length: u64) {
        if !self.is_frozen(now) {
            self.frozen_since = now;
        }
        let (until, already) = (now.saturating_add(length), self.frozen_until.max(now));
        let length = until.saturating_sub(already);
        if length == 0 {
            return;
        }
        self.frozen_until = until;
        self.stops.push(self.stops.last().copied().unwrap_or(0).saturating_add(length));
        self.line.delay(Duration::from_nanos(now), Duration::from_nanos(length));
        self.accepts_at = self.accepts_at.max(now).saturating_add(length);
        self.leaving.iter_mut().for_each(|at| *at = at.saturating_add(length));
    }

    /// It goes on before its time.
    pub(super) fn thaw(&mut self, now: u64) {
        self.frozen_until = now;
    }

    /// How long it has stood still since its stop number `stops`.
    pub(super) fn stopped_since(&self, stops: u32) -> u64 {
        let before = stops.checked_sub(1).map_or(0, |last| self.stops[last as usize]);
        self.stops.last().copied().unwrap_or(0) - before
    }

    fn serve(&mut self, kind: &ServerKind, arrived: Duration) -> (Duration, Duration) {
        let cost = self.handshake_cost(kind, arrived);
        self.line.serve(arrived, cost)
    }

    fn handshake_cost(&mut self, kind: &ServerKind, arrived: Duration) -> Duration {
        match kind.cost {
            Some(cost) => cost,
            None => self.cost(kind, arrived),
        }
    }

    /// What this opening handshake costs, before a slow start.
    fn cost(&mut self, kind: &ServerKind, arrived: Duration) -> Duration {
        let model = &kind.model;
        let mut cost = model.handshake_cost.draw(&mut self.random);
        if model.cold > 0.0 && self.started != NEVER {
            let age = arrived.max(self.line.free_at()).saturating_sub(Duration::from_nanos(self.started));
            let excess = model.cold * 0.5_f64.powf(age.as_secs_f64() / model.cold_half_life.as_secs_f64());
            cost = cost.mul_f64(1.0 + excess);
        }
        let per_connection = model.open_cost.as_secs_f64() + model.message_cost.as_secs_f64() * kind.messages_per_s;
        let load = f64::from(self.open) * per_connection / f64::from(model.parallel);
        if load > 0.0 { cost.div_f64((1.0 - load).max(LEAST_CAPACITY)) } else { cost }
    }
}
