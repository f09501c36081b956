//! Which preset waits most like a client that was seen.

use super::waits::SeenOutage;
use crate::reconnect::{Decision, Loss, Policy, Preset, presets};
use crate::seed::Seed;
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
    let longest = outages.iter().map(|outage| outage.waits_ms.len()).max().unwrap_or_default();
    let mut near: Vec<Near> = presets()
        .filter_map(|preset| distance(outages, &drawn(&preset.policy, lived, longest, seed)).map(|distance| Near { preset, distance }))
        .collect();
    near.sort_by(|a, b| a.distance.total_cmp(&b.distance));
    near
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

/// `None`: one has waits where the other has none.
fn distance(outages: &[SeenOutage], drawn: &[Vec<f64>]) -> Option<f64> {
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
    (whole > 0.0).then(|| apart / whole)
}
