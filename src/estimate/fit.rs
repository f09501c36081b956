//! Chooses a family and its numbers for waits that were seen.

use super::explore::Swarm;
use super::family::{Family, Growth, JitterForm, ParameterEstimate, Quantity};
use super::goodness::Goodness;
use super::likelihood::{Step, Timing, log_density, log_likelihood, steps};
use super::rounding::{round, together};
use super::waits::{SeenOutage, WaitSpread, all_alike, median, spread};
use crate::reconnect::{LawPiece, Policy};
use crate::seed::{Seed, Stream};
use crate::units::duration_ms;
use std::collections::BTreeMap;

/// Fewer waits say nothing.
const WAITS_LEAST: usize = 5;
/// More waits tell hardly more, and take longer: outages are left out evenly.
const WAITS_MOST: usize = 4000;
/// Noise of a wait: at least a timer's grain, in milliseconds.
const NOISE_LEAST_MS: f64 = 0.3;
/// The same where there is no jitter and all depends on it.
const NOISE_STEADY_MS: f64 = 1.5;
/// Steps of a search until families that are far behind are left.
const SCOUTING: usize = 32;
/// Steps of a search after it.
const SEARCHING: usize = 96;
/// A family so far behind the best after scouting cannot win.
const FAR_BEHIND: f64 = 100.0;
/// Waits are seen later than they were due, by timers, processes and connections: usually so much, in milliseconds …
const LATE_USUAL_MS: f64 = 2.0;
/// … and at most so much.
const LATE_MOST_MS: f64 = 20.0;
/// What timers add beside, which no distribution knows: this share of a time …
const CLOCKS: f64 = 0.001;
/// … and whole milliseconds, rounded up or down.
const GRAIN_MS: f64 = 1.5;
/// By so much a longest delay must better the criterion.
const CAP_LEAST: f64 = 6.0;
/// Lead delays that are looked for.
const LEAD_MOST: usize = 2;

/// What was found.
#[derive(Clone, Debug)]
pub struct PolicyFit {
    /// The policy that fits best, with rounded numbers.
    pub policy: Policy,
    /// Its family.
    pub family: Family,
    /// Its numbers.
    pub estimates: Vec<ParameterEstimate>,
    /// Whether it fits at all.
    pub goodness: Goodness,
    /// By how much the criterion of the next family of another shape is worse; above 10 there is hardly a doubt. `None`: there is no other.
    pub ahead: Option<f64>,
}

/// The policy that explains `outages` best, of all that the parameter model can say but polls and redrawn delays; `None`: too few waits.
///
/// The same waits and seed give the same fit.
pub fn fit(outages: &[SeenOutage], seed: Seed) -> Option<PolicyFit> {
    let count: usize = outages.iter().map(|outage| outage.waits_ms.len()).sum();
    if count < WAITS_LEAST {
        return None;
    }
    let thinned: Vec<SeenOutage> = outages.iter().step_by(count.div_ceil(WAITS_MOST)).cloned().collect();
    let outages = &thinned[..];
    let mut stream = seed.stream("estimate/fit");
    let spread = spread(outages);
    let mut found = Vec::new();
    for lead in 0..=LEAD_MOST {
        let Some(data) = Data::of(outages, lead, spread) else { break };
        let families = match spread {
            WaitSpread::Jitter if !data.is_steady() => Family::jittered(lead),
            // A list of delays explains anything: also that the first is seen a little later than others.
            WaitSpread::Steady if data.is_constant() => vec![Family::constant(lead)],
            // Clients that differ in what is a lead delay here have no bases of their own.
            _ => Family::unjittered(lead, data.steps.len(), spread == WaitSpread::ByClient && !data.is_steady()),
        };
        found.extend(data.search(families, &mut stream).into_iter().map(|searched| (lead, searched)));
        found.sort_by(|a, b| a.1.bic.total_cmp(&b.1.bic));
        // Searching again for each lead takes as long again: only where the first waits are not of the formula.
        let (lead, best) = found.first()?;
        if spread == WaitSpread::Jitter && Data::of(outages, *lead, spread)?.first_fits(best, &mut stream) {
            break;
        }
    }
    // A longest delay that explains hardly more than none was not reached.
    let first = &found.first()?.1;
    let capless = Family { cap: None, ..first.family };
    let close = |(_, other): &(usize, Searched)| other.family == capless && other.bic < first.bic + CAP_LEAST;
    let chosen = found.iter().position(close).unwrap_or_default();
    let (lead, best) = &found[chosen];
    let ahead = found.iter().find(|(_, other)| !alike(best.family, other.family)).map(|(_, other)| other.bic - best.bic);
    Some(Data::of(outages, *lead, spread)?.finish(best, outages, ahead, &mut stream))
}

/// Families that say nearly the same, so that nothing is gained by telling them apart.
fn alike(a: Family, b: Family) -> bool {
    let full = |jitter| matches!(jitter, JitterForm::Full | JitterForm::Below | JitterForm::Around | JitterForm::Equal);
    a.growth == b.growth && (a.jitter == b.jitter || full(a.jitter) && full(b.jitter)) && a.lead == b.lead
}

/// Waits, as one number of lead delays divides them.
struct Data {
    steps: Vec<Step>,
    /// Bounds of each lead delay.
    lead: Vec<(f64, f64)>,
    /// What the lead delays add to the criterion.
    lead_bic: f64,
    count: usize,
    longest_ms: f64,
    noise_ms: f64,
}

/// A family that was searched.
struct Searched {
    family: Family,
    members: Swarm,
    bic: f64,
}

impl Data {
    /// `None`: nothing is left for a formula.
    fn of(outages: &[SeenOutage], lead: usize, spread: WaitSpread) -> Option<Data> {
        let waits = |step: usize| outages.iter().filter_map(move |outage| outage.waits_ms.get(step).copied()).collect::<Vec<f64>>();
        let all: Vec<f64> = outages.iter().flat_map(|outage| outage.waits_ms.iter().copied()).collect();
        let longest_ms = all.iter().copied().fold(1.0, f64::max);
        let steps = steps(outages, lead);
        if steps.is_empty() {
            return None;
        }
        let bounds: Vec<(f64, f64)> = (0..lead).map(|step| bounds(&waits(step))).collect();
        let mut lead_bic = 0.0;
        for (step, (lo_ms, hi_ms)) in bounds.iter().enumerate() {
            let law = [LawPiece { share: 1.0, lo_ms: *lo_ms, hi_ms: *hi_ms }];
            let numbers = if lo_ms == hi_ms { 1.0 } else { 2.0 };
            lead_bic += numbers * (all.len() as f64).ln();
            lead_bic -= 2.0 * waits(step).iter().map(|wait| log_density(&law, *wait, NOISE_STEADY_MS, longest_ms)).sum::<f64>();
        }
        let mut data = Data { steps, lead: bounds, lead_bic, count: all.len(), longest_ms, noise_ms: NOISE_LEAST_MS };
        if spread != WaitSpread::Jitter || data.is_steady() {
            data.noise_ms = NOISE_STEADY_MS;
        }
        Some(data)
    }

    /// Whether the delays of the formula have no jitter.
    fn is_steady(&self) -> bool {
        self.steps.iter().all(|step| all_alike(&step.waits.iter().map(|wait| wait.ms).collect::<Vec<_>>()))
    }

    /// Whether all delays of the formula are the same.
    fn is_constant(&self) -> bool {
        all_alike(&self.steps.iter().flat_map(|step| step.waits.iter().map(|wait| wait.ms)).collect::<Vec<_>>())
    }

    /// The logarithm of the likelihood of free numbers, the last two of which are how late waits are seen, and the noise, which counts as at
    /// least `floor_ms`.
    fn value(&self, family: Family, quantities: &[Quantity], floor_ms: f64, free: &[f64]) -> f64 {
        let seen = Timing { late_ms: late(free), noise_ms: free[quantities.len() + 1].clamp(-3.0, 6.0).exp().max(floor_ms) };
        let values: Vec<f64> = quantities.iter().zip(free).map(|(one, free)| one.value(*free)).collect();
        // Nothing is known before, but numbers without any effect must not run away, and a loopback is quick.
        let prior = free.iter().map(|x| (x / 90.0).powi(2)).sum::<f64>() + seen.late_ms / LATE_USUAL_MS;
        log_likelihood(family, &family.policy(&values), &self.steps, seen, self.longest_ms) - prior
    }

    /// All families by their criterion, the best first.
    fn search(&self, families: Vec<Family>, stream: &mut Stream) -> Vec<Searched> {
        // Wide noise at first: an edge that is a little wrong is no cliff then.
        let wide = (0.03 * self.longest_ms).max(4.0 * self.noise_ms);
        let narrower = wide / 4.0;
        let mut all: Vec<Searched> = families
            .into_iter()
            .map(|family| {
                let mut from = self.start(family);
                from.extend([LATE_USUAL_MS.ln(), 0.0]);
                let value = |free: &[f64]| self.value(family, &family.quantities(), wide, free);
                let members = Swarm::around(&from, 0.4, &value, stream);
                let mut searched = Searched { family, members, bic: f64::INFINITY };
                self.climb(&mut searched, SCOUTING, (wide, narrower), stream);
                searched
            })
            .collect();
        let best = all.iter().map(|one| one.bic).fold(f64::INFINITY, f64::min);
        all.retain(|one| one.bic < best + FAR_BEHIND);
        all.iter_mut().for_each(|one| self.climb(one, SEARCHING, (narrower, self.noise_ms), stream));
        all.iter_mut().for_each(|one| self.climb(one, SCOUTING, (self.noise_ms, self.noise_ms), stream));
        all.sort_by(|a, b| a.bic.total_cmp(&b.bic));
        all
    }

    /// Steps of one family, in which the noise that is allowed falls from the first floor to the second.
    fn climb(&self, searched: &mut Searched, steps: usize, floors: (f64, f64), stream: &mut Stream) {
        let quantities = searched.family.quantities();
        for round in 0..steps {
            let floor = floors.0 * (floors.1 / floors.0).powf((round + 1) as f64 / steps as f64);
            let value = |free: &[f64]| self.value(searched.family, &quantities, floor, free);
            searched.members.value_again(&value);
            searched.members.step(&value, stream);
            if round % 8 == 7 {
                searched.members.select(&value, stream);
            }
        }
        let numbers = quantities.len() as f64 + 2.0;
        searched.bic = numbers * (self.count as f64).ln() - 2.0 * searched.members.best().value + self.lead_bic;
    }

    /// Whether the first waits are those of the formula.
    fn first_fits(&self, searched: &Searched, stream: &mut Stream) -> bool {
        let best = &searched.members.best().at;
        let policy = searched.family.policy(&values(searched.family, best));
        let good = |step: &Step| Goodness::of(searched.family, &policy, std::slice::from_ref(step), late(best), stream).is_good();
        self.steps.iter().take(LEAD_MOST).all(good)
    }

    /// Where a search begins: what medians and edges say.
    fn start(&self, family: Family) -> Vec<f64> {
        let waits = |step: &Step| step.waits.iter().map(|wait| wait.ms).collect::<Vec<f64>>();
        let medians: Vec<f64> = self.steps.iter().map(|step| median(&mut waits(step))).collect();
        let highest = |step: &Step| waits(step).into_iter().fold(0.0, f64::max);
        let lowest = |step: &Step| waits(step).into_iter().fold(f64::INFINITY, f64::min);
        let (first, last) = (&self.steps[0], &self.steps[self.steps.len() - 1]);
        let pairs = || medians.windows(2);
        let ratios: Vec<f64> = pairs().map(|pair| pair[1] / pair[0].max(0.1)).filter(|ratio| *ratio > 1.05).collect();
        let differences: Vec<f64> = pairs().map(|pair| pair[1] - pair[0]).filter(|difference| *difference > 0.5).collect();
        let base = match family.jitter {
            JitterForm::None | JitterForm::Around | JitterForm::Comb => medians[0],
            JitterForm::Decorrelated | JitterForm::Add => lowest(first),
            _ => highest(first),
        };
        let value = |quantity: &Quantity| match quantity {
            Quantity::Base => base,
            Quantity::Delay(at) => medians[*at],
            Quantity::Step if differences.is_empty() => 0.1 * base,
            Quantity::Step => median(&mut differences.clone()),
            Quantity::Factor if family.is_chained() => 3.0,
            Quantity::Factor if ratios.is_empty() => 1.2,
            Quantity::Factor => median(&mut ratios.clone()),
            Quantity::Cap if family.jitter == JitterForm::None => medians[medians.len() - 1],
            Quantity::Cap => highest(last),
            Quantity::Share => ((highest(first) - lowest(first)) / (highest(first) + lowest(first)).max(1.0)).clamp(0.05, 0.95),
            Quantity::Width if family.jitter == JitterForm::Add => (highest(first) - lowest(first)).max(1.0),
            Quantity::Width => lowest(first).max(1.0),
        };
        family.quantities().iter().map(|quantity| quantity.free(value(quantity))).collect()
    }

    /// Intervals, rounded numbers, and how well they fit.
    fn finish(&self, searched: &Searched, outages: &[SeenOutage], ahead: Option<f64>, stream: &mut Stream) -> PolicyFit {
        let family = searched.family;
        let quantities = family.quantities();
        let value = |free: &[f64]| self.value(family, &quantities, self.noise_ms, free);
        let best = &searched.members.best().at;
        // From the summit outwards: a population that has seen only this one.
        let mut members = Swarm::around(best, 0.002, &value, stream);
        let mut drawn: Vec<Vec<f64>> = vec![Vec::new(); quantities.len()];
        for round in 0..600 {
            members.step(&value, stream);
            for member in members.members().iter().filter(|_| round >= 300) {
                for ((drawn, one), free) in drawn.iter_mut().zip(&quantities).zip(&member.at) {
                    drawn.push(one.value(*free));
                }
            }
        }
        let exact = values(family, best);
        let mut estimates: Vec<ParameterEstimate> =
            quantities.iter().zip(&mut drawn).zip(&exact).map(|((one, drawn), value)| estimate(*one, *value, drawn)).collect();
        together(&mut estimates, &exact, self.steps.len());
        let rounded: Vec<f64> = estimates.iter().map(|estimate| estimate.value).collect();
        let mut policy = family.policy(&rounded);
        let goodness = Goodness::of(family, &policy, &self.steps, late(best), stream);
        let earlier = |bound: f64| duration_ms(round((bound - LATE_MOST_MS / 2.0).max(0.0), bound - LATE_MOST_MS, bound));
        let span = |(lo, hi): &(f64, f64)| (earlier(*lo), earlier(*hi));
        policy.lead = self.lead.iter().map(span).collect();
        if family.own_base {
            policy.base_per_client = Some(bases(outages, family.lead));
        }
        PolicyFit { policy, family, estimates, goodness, ahead }
    }
}

fn values(family: Family, free: &[f64]) -> Vec<f64> {
    family.quantities().iter().zip(free).map(|(one, free)| one.value(*free)).collect()
}

/// Bounds of a lead delay: one value where all are alike.
fn bounds(waits: &[f64]) -> (f64, f64) {
    if all_alike(waits) {
        let middle = median(&mut waits.to_vec());
        return (middle, middle);
    }
    (waits.iter().copied().fold(f64::INFINITY, f64::min), waits.iter().copied().fold(0.0, f64::max))
}

/// Bounds of the bases of clients. The range of n uniform draws is (n - 1)/(n + 1) of the whole on average.
fn bases(outages: &[SeenOutage], lead: usize) -> (std::time::Duration, std::time::Duration) {
    let mut by_client: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for outage in outages {
        by_client.entry(outage.client).or_default().extend(outage.waits_ms.get(lead));
    }
    let bases: Vec<f64> = by_client.into_values().filter(|waits| !waits.is_empty()).map(|mut waits| median(&mut waits)).collect();
    let (lo, hi) = bases.iter().fold((f64::INFINITY, 0.0_f64), |(lo, hi), base| (lo.min(*base), hi.max(*base)));
    let beyond = (hi - lo) / (bases.len() as f64 - 1.0).max(1.0);
    (duration_ms(round((lo - beyond).max(0.0), lo - 2.0 * beyond, lo)), duration_ms(round(hi + beyond, hi, hi + 2.0 * beyond)))
}

/// How late waits are seen, of free numbers that end with it and the noise.
fn late(free: &[f64]) -> f64 {
    free[free.len() - 2].exp().min(LATE_MOST_MS)
}

fn estimate(quantity: Quantity, value: f64, drawn: &mut [f64]) -> ParameterEstimate {
    drawn.sort_by(f64::total_cmp);
    let at = |share: f64| drawn[(share * (drawn.len() - 1) as f64) as usize];
    let (mut lo, mut hi) = (at(0.025).min(value), at(0.975).max(value));
    match quantity {
        Quantity::Factor => (lo, hi) = ((lo * (1.0 - CLOCKS)).max(1.0), hi * (1.0 + CLOCKS)),
        Quantity::Share => (lo, hi) = ((lo - 2.0 * CLOCKS).max(0.0), (hi + 2.0 * CLOCKS).min(1.0)),
        _ => (lo, hi) = ((lo * (1.0 - CLOCKS) - GRAIN_MS).max(0.0), hi * (1.0 + CLOCKS) + GRAIN_MS),
    }
    ParameterEstimate { quantity, value: round(value, lo, hi), lo, hi }
}

impl Growth {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Growth::Fixed => "fixed",
            Growth::Linear => "linear",
            Growth::Exponential => "exponential",
            Growth::Table(_) => "table",
        }
    }
}
