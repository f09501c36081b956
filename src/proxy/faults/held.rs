//! What faults have left on one connection: gates, the steps to come, limits and floods. Pure but for the clock; `relay_faults` does it.

use crate::fault::{ConnectionEffects, Flow, HowEnough, InjectionStep, Meddle, Meddling, PONG, Side};
use crate::plan::Firing;
use crate::proxy::faults::dose::ProxyDose;
use crate::proxy::frame_stage::StageRules;
use crate::proxy::frames::StreamSide;
use crate::seed::{Seed, Stream};
use crate::ws::session::injected::{Flooding, Watch, WatchCounts};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A wait that no clock can tell is as long as this.
const FOREVER: Duration = Duration::from_secs(86_400 * 365);

/// Steps of one injection that are left.
#[derive(Debug)]
pub(crate) struct ProxyScript {
    pub(crate) dose: Arc<ProxyDose>,
    pub(crate) steps: VecDeque<InjectionStep>,
    /// It goes on then.
    pub(crate) until: Option<Instant>,
    /// Or when what it has put in is with the link.
    pub(crate) unless_flushed: bool,
    told: bool,
}

/// A gate that holds.
#[derive(Debug)]
struct Acting {
    dose: Arc<ProxyDose>,
    told: bool,
}

/// What faults have left on one connection.
#[derive(Debug)]
pub(crate) struct HeldFaults {
    active: Vec<Acting>,
    pub(crate) scripts: Vec<ProxyScript>,
    watches: Vec<(Watch, Arc<ProxyDose>)>,
    pub(crate) floods: Vec<(Flooding, Side)>,
    /// They wait until frames can be read.
    pub(crate) later: Vec<Arc<ProxyDose>>,
    /// By these the path is dead in both directions.
    silenced: Vec<Firing>,
    /// Of masks of frames that are put in.
    pub(crate) masks: Stream,
    origin: (Seed, Arc<str>, u64),
}

/// The direction towards whoever suffers from what `side` does.
pub(crate) fn towards(side: Side) -> StreamSide {
    match side {
        Side::Client => StreamSide::Up,
        Side::Server => StreamSide::Down,
    }
}

impl HeldFaults {
    /// None yet, on this connection of this proxy.
    pub(crate) fn new(seed: Seed, proxy: &Arc<str>, connection: u64) -> Self {
        HeldFaults {
            active: Vec::new(),
            scripts: Vec::new(),
            watches: Vec::new(),
            floods: Vec::new(),
            later: Vec::new(),
            silenced: Vec::new(),
            masks: seed.stream(&format!("proxy/{proxy}/{connection}/masks")),
            origin: (seed, proxy.clone(), connection),
        }
    }

    /// A dose comes. Whether it acts at once, so that this is to be told.
    pub(crate) fn inject(&mut self, dose: &Arc<ProxyDose>, opened: Instant, counts: WatchCounts) -> bool {
        let now = dose.acts_at_once();
        if !dose.gate.is_open() {
            self.active.push(Acting { dose: dose.clone(), told: now });
        }
        let firing = dose.stamp.firing;
        self.floods.extend(dose.gate.ping_flood.iter().map(|flood| (Flooding::new(firing, flood.clone()), dose.side)));
        let (seed, proxy, connection) = &self.origin;
        for enough in &dose.gate.enough {
            let random = seed.stream(&format!("proxy/{proxy}/{connection}/enough/{}", dose.stamp.fault));
            self.watches.push((Watch::new(firing, enough.clone(), opened, counts, random), dose.clone()));
        }
        if !dose.steps.is_empty() {
            let steps = dose.steps.iter().cloned().collect();
            self.scripts.push(ProxyScript { dose: dose.clone(), steps, until: None, unless_flushed: false, told: now });
        }
        now
    }

    /// A firing is over: what others have left stays. Whether it held here, and whether its end is that of the connection.
    pub(crate) fn revert(&mut self, firing: Firing) -> (bool, bool) {
        let own = |dose: &Arc<ProxyDose>| dose.stamp.firing == firing;
        let hit = self.held().contains(&firing);
        let resets = self.active.iter().any(|acting| own(&acting.dose) && acting.dose.gate.reset_on_revert);
        self.active.retain(|acting| !own(&acting.dose));
        self.watches.retain(|(_, dose)| !own(dose));
        self.floods.retain(|(flooding, _)| flooding.firing != firing);
        self.scripts.retain(|script| !own(&script.dose));
        self.later.retain(|dose| !own(dose));
        self.silenced.retain(|of| *of != firing);
        (hit, resets)
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.active.is_empty() && self.scripts.is_empty() && self.later.is_empty() && self.silenced.is_empty()
    }

    /// Firings that hold, or have something left to do.
    pub(crate) fn held(&self) -> Vec<Firing> {
        let active = self.active.iter().map(|acting| &acting.dose);
        let doses = active.chain(&self.later).chain(self.scripts.iter().map(|script| &script.dose));
        let mut held: Vec<_> = doses.map(|dose| dose.stamp.firing).chain(self.silenced.iter().copied()).collect();
        held.sort_unstable();
        held.dedup();
        held
    }

    /// What `side` does to its peer, all in one.
    pub(crate) fn gate(&self, side: Side) -> ConnectionEffects {
        let own = self.active.iter().filter(|acting| acting.dose.side == side);
        let gate = own.fold(ConnectionEffects::default(), |all, acting| all.and(&acting.dose.gate));
        if self.silenced.is_empty() {
            return gate;
        }
        gate.and(&ConnectionEffects { read: Flow::Discard, write: Flow::Discard, ..ConnectionEffects::default() })
    }

    /// What acts on the frames of a direction.
    pub(crate) fn rules(&self, direction: StreamSide) -> StageRules {
        let mut rules = StageRules { masks: direction == StreamSide::Up, ..StageRules::default() };
        for side in [Side::Client, Side::Server] {
            let gate = self.gate(side);
            if towards(side) == direction {
                rules.meddle.extend(gate.write_frames);
                let pongs = |how| Meddle { chance: 1.0, opcodes: 1 << PONG, how };
                rules.meddle.extend(gate.drop_pongs.then(|| pongs(Meddling::Drop)));
                rules.meddle.extend(gate.wrong_pongs.then(|| pongs(Meddling::Invert)));
                rules.meddle.extend((!gate.pong_delay.is_zero()).then(|| pongs(Meddling::Delay(gate.pong_delay))));
                rules.ack = gate.close_ack;
            } else {
                rules.meddle.extend(gate.read_frames);
                rules.own_pongs.extend(gate.ping_flood.iter().map(|flood| flood.bytes));
                rules.asks |= self.watches.iter().any(|(watch, dose)| dose.side == side && watch.enough.chance > 0.0);
            }
        }
        rules
    }

    /// Draws whether a message that comes in this direction is one too many.
    pub(crate) fn one_too_many(&mut self, direction: StreamSide) -> Option<(HowEnough, Arc<ProxyDose>)> {
        let index = self.watches.iter_mut().position(|(watch, dose)| {
            towards(dose.side) != direction && watch.enough.chance > 0.0 && watch.random.unit() < watch.enough.chance
        })?;
        let (watch, dose) = self.watches.swap_remove(index);
        Some((watch.enough.how, dose))
    }

    /// What the connection has had enough of.
    pub(crate) fn enough(&mut self, counts: WatchCounts, now: Instant) -> Option<(HowEnough, Arc<ProxyDose>)> {
        let index = self.watches.iter_mut().position(|(watch, _)| watch.is_enough(counts, now))?;
        let (watch, dose) = self.watches.swap_remove(index);
        Some((watch.enough.how, dose))
    }

    /// The path dies in both directions, by this one.
    pub(crate) fn silence(&mut self, dose: &ProxyDose) {
        self.silenced.push(dose.stamp.firing);
    }

    /// No more bytes than this may pass.
    pub(crate) fn byte_cap(&self) -> u64 {
        self.watches.iter().filter_map(|(watch, _)| Some(watch.bytes.saturating_add(watch.enough.bytes?))).min().unwrap_or(u64::MAX)
    }

    /// Gates that act when something happens and were not told of; those towards `direction`.
    pub(crate) fn acted(&mut self, direction: StreamSide) -> Vec<Arc<ProxyDose>> {
        let mut told = Vec::new();
        for acting in self.active.iter_mut().filter(|acting| !acting.told && towards(acting.dose.side) == direction) {
            acting.told = true;
            told.push(acting.dose.clone());
        }
        told
    }

    /// One gate has ended a connection: whether that is news.
    pub(crate) fn is_news(&mut self, of: &Arc<ProxyDose>) -> bool {
        let acting = self.active.iter_mut().find(|acting| Arc::ptr_eq(&acting.dose, of));
        acting.is_none_or(|acting| !std::mem::replace(&mut acting.told, true))
    }

    /// The next step that is due, and whether its fault acts only now. `flushed`: what the script has put in is with the link.
    pub(crate) fn step(&mut self, now: Instant, flushed: impl Fn(Side) -> bool) -> Option<(Arc<ProxyDose>, InjectionStep, bool)> {
        let mut index = 0;
        while let Some(script) = self.scripts.get_mut(index) {
            let over = script.until.is_none_or(|until| until <= now || script.unless_flushed && flushed(script.dose.side));
            if !over {
                index += 1;
                continue;
            }
            (script.until, script.unless_flushed) = (None, false);
            match script.steps.pop_front() {
                None => drop(self.scripts.remove(index)),
                Some(InjectionStep::Wait(time)) => script.until = Some(now.checked_add(time).unwrap_or(now + FOREVER)),
                Some(step) => {
                    let news = !std::mem::replace(&mut script.told, true);
                    return Some((script.dose.clone(), step, news));
                }
            }
        }
        None
    }

    /// The script of this dose goes on then, or as soon as what it has put in is with the link.
    pub(crate) fn pause(&mut self, dose: &Arc<ProxyDose>, until: Instant) {
        if let Some(script) = self.scripts.iter_mut().find(|script| Arc::ptr_eq(&script.dose, dose)) {
            (script.until, script.unless_flushed) = (Some(until), true);
        }
    }

    /// When something is to be done, if nothing happens before. Floods are not in it: they wait until their link takes more.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let scripts = self.scripts.iter().filter_map(|script| script.until);
        let watches = self.watches.iter().filter_map(|(watch, _)| watch.deadline());
        scripts.chain(watches).min()
    }
}
