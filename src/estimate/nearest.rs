//! Which preset waits most like a client that was seen.

use super::waits::SeenOutage;
use crate::reconnect::{Decision, Loss, Policy, Preset, presets};
use crate::seed::Seed;
use crate::units::duration_ms;
use std::collections::BTreeMap;
use std::time::Duration;

/// Outages that are drawn of each preset.
const DRAWN: usize = 400;

/// A preset, and how far it is from what was seen.
#[derive(Clone, Copy, Debug)]
pub struct Near {
    /// Which.
    pub preset: &'static Preset,
    /// Mean difference of waits of the same rank and step, as a share of the mean wait: 0 is the same, 1 is as far as the waits are long.
    pub distance: f64,
}

/// The presets by distance, the nearest first; each is given connections open for `lived`, cut, and attempts that fail at once.
pub fn nearest(outages: &[SeenOutage], lived: Duration, seed: Seed) -> Vec<Near> {
    let mut near: Vec<Near> =
        presets().filter_map(|preset| of_policy(outages, &preset.policy, lived, seed).map(|distance| Near { preset, distance })).collect();
    near.sort_by(|a, b| a.distance.total_cmp(&b.distance));
    near
}

/// How far a policy is from what was seen; `None`: one has waits where the other has none.
fn of_policy(outages: &[SeenOutage], policy: &Policy, lived: Duration, seed: Seed) -> Option<f64> {
    let longest = outages.iter().map(|outage| outage.waits_ms.len()).max().unwrap_or_default();
    let Some(bases) = policy.base_per_client else {
        let (apart, whole) = apart(outages, &drawn(policy, lived, longest, seed))?;
        return (whole > 0.0).then(|| apart / whole);
    };
    // A few processes are a few draws of the base, which says nothing against the policy: each is compared with its own.
    let mut clients: BTreeMap<u32, Vec<SeenOutage>> = BTreeMap::new();
    for outage in outages {
        clients.entry(outage.client).or_default().push(outage.clone());
    }
    let mut sum = (0.0, 0.0);
    for own in clients.values() {
        let first: Vec<f64> = own.iter().filter_map(|outage| outage.waits_ms.get(policy.lead.len()).copied()).collect();
        let mean = if first.is_empty() { 0.0 } else { first.iter().sum::<f64>() / first.len() as f64 };
        let base = duration_ms(mean).clamp(bases.0, bases.1);
        let (apart, whole) = apart(own, &drawn(&Policy { base_per_client: Some((base, base)), ..policy.clone() }, lived, longest, seed))?;
        sum = (sum.0 + apart, sum.1 + whole);
    }
    (sum.1 > 0.0).then(|| sum.0 / sum.1)
}

/// Waits of a policy by step.
fn drawn(policy: &Policy, lived: Duration, longest: usize, seed: Seed) -> Vec<Vec<f64>> {
    let mut stream = seed.stream("estimate/nearest");
    let mut steps: Vec<Vec<f64>> = vec![Vec::new(); longest];
    for _ in 0..DRAWN {
        let random = &mut || stream.unit();
        let mut history = policy.start(random);
        history.attempt_started(Duration::ZERO);
        history.opened(Duration::ZERO);
        history.ready();
        let mut now = lived;
        let mut loss = Loss::Closed { code: crate::close::ABNORMAL };
        for step in &mut steps {
            let Decision::Wait(wait) = policy.decide(&mut history, &loss, now, random) else { break };
            step.push(wait.as_secs_f64() * 1000.0);
            now += wait;
            history.attempt_started(now);
            loss = Loss::Failed;
        }
    }
    steps
}

/// Differences of waits of the same rank and step, and waits, both added up; `None`: one has waits where the other has none.
fn apart(outages: &[SeenOutage], drawn: &[Vec<f64>]) -> Option<(f64, f64)> {
    let (mut apart, mut whole) = (0.0, 0.0);
    for (step, drawn) in drawn.iter().enumerate() {
        let mut seen: Vec<f64> = outages.iter().filter_map(|outage| outage.waits_ms.get(step).copied()).collect();
        if drawn.is_empty() {
            return None;
        }
        let mut drawn = drawn.clone();
        seen.sort_by(f64::total_cmp);
        drawn.sort_by(f64::total_cmp);
        for (index, wait) in seen.iter().enumerate() {
            let rank = (index as f64 + 0.5) / seen.len() as f64;
            apart += (wait - drawn[(rank * drawn.len() as f64) as usize]).abs();
            whole += wait;
        }
    }
    Some((apart, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_that_a_process_draws_once_is_compared_with_its_own() {
        // Four processes of reconnecting-websocket, which draw their bases between one and five seconds, and four of which none can.
        let client = |(client, base): (usize, f64)| {
            let waits_ms = (0..6).map(|step| (base * 1.3_f64.powi(step)).min(10_000.0)).collect();
            SeenOutage { client: client as u32, waits_ms }
        };
        let distance = |bases: [f64; 4]| {
            let outages: Vec<SeenOutage> = bases.into_iter().enumerate().map(client).collect();
            let near = nearest(&outages, Duration::from_secs(6), Seed(1));
            near.iter().find(|near| near.preset.id == "reconnecting-websocket").unwrap().distance
        };
        assert!(distance([1_600.0, 1_700.0, 2_000.0, 4_200.0]) < 0.002);
        assert!(distance([300.0, 350.0, 400.0, 500.0]) > 0.5);
    }
}
