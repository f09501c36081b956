//! How likely waits are under a policy, of which timers and a busy machine make something a little later.

use super::family::Family;
use super::waits::{SeenOutage, median};
use crate::reconnect::{LawPiece, Policy};
use crate::units::ms;
use std::collections::BTreeMap;

/// Share of waits that follow no law: of a process that was held up.
const STRAY: f64 = 0.005;

/// A wait, and what its law may need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub ms: f64,
    previous_ms: Option<f64>,
    /// Base of this client; not used where all have the same.
    base_ms: f64,
}

/// All waits after the same number of failed attempts since the last reset.
#[derive(Clone, Debug)]
pub(super) struct Step {
    k: u32,
    pub waits: Vec<Wait>,
}

/// The steps of a formula in `outages`, which begins after so many lead delays.
pub(super) fn steps(outages: &[SeenOutage], lead: usize) -> Vec<Step> {
    let mut firsts: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for outage in outages {
        firsts.entry(outage.client).or_default().extend(outage.waits_ms.get(lead));
    }
    let bases: BTreeMap<u32, f64> = firsts.into_iter().map(|(client, mut waits)| (client, median(&mut waits))).collect();
    let mut by_k: BTreeMap<u32, Vec<Wait>> = BTreeMap::new();
    for outage in outages {
        for (index, wait) in outage.waits_ms.iter().enumerate().skip(lead) {
            let previous_ms = (index > lead).then(|| outage.waits_ms[index - 1]);
            by_k.entry((index - lead) as u32).or_default().push(Wait { ms: *wait, previous_ms, base_ms: bases[&outage.client] });
        }
    }
    by_k.into_iter().map(|(k, waits)| Step { k, waits }).collect()
}

/// The law of each wait of `step` under a policy of `family`; `each` is called with it and the wait. All waits are seen so much too late.
pub(super) fn each_law(family: Family, policy: &Policy, step: &Step, late_ms: f64, mut each: impl FnMut(&[LawPiece], f64)) {
    let of_all = (!family.is_chained() && !family.own_base).then(|| policy.law(step.k, ms(policy.base), None).unwrap_or_default());
    for wait in &step.waits {
        match &of_all {
            Some(law) => each(law, wait.ms - late_ms),
            None => {
                let base_ms = if family.own_base { wait.base_ms - late_ms } else { ms(policy.base) };
                let previous_ms = wait.previous_ms.map(|previous| previous - late_ms);
                each(&policy.law(step.k, base_ms, previous_ms).unwrap_or_default(), wait.ms - late_ms);
            }
        }
    }
}

/// How waits are seen by a server: later than they are due, and by not always the same time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// By so much on average.
    pub late_ms: f64,
    /// Scale of what differs.
    pub noise_ms: f64,
}

/// The logarithm of the likelihood of all waits.
pub(super) fn log_likelihood(family: Family, policy: &Policy, steps: &[Step], seen: Timing, longest_ms: f64) -> f64 {
    let mut sum = 0.0;
    for step in steps {
        each_law(family, policy, step, seen.late_ms, |law, wait| sum += log_density(law, wait, seen.noise_ms, longest_ms));
    }
    sum
}

/// The logarithm of the density of one wait.
pub(super) fn log_density(law: &[LawPiece], wait: f64, noise_ms: f64, longest_ms: f64) -> f64 {
    ((1.0 - STRAY) * density(law, wait, noise_ms) + STRAY / (1.2 * longest_ms.max(1.0))).ln()
}

/// Density of a law with logistic noise: closed, and with tails for what is late.
fn density(law: &[LawPiece], wait: f64, scale: f64) -> f64 {
    let below = |bound: f64| 1.0 / (1.0 + (-(wait - bound) / scale).exp());
    law.iter()
        .map(|piece| {
            let width = piece.hi_ms - piece.lo_ms;
            if width > 0.2 * scale {
                return piece.share * (below(piece.lo_ms) - below(piece.hi_ms)) / width;
            }
            let middle = below((piece.lo_ms + piece.hi_ms) / 2.0);
            piece.share * middle * (1.0 - middle) / scale
        })
        .sum()
}
