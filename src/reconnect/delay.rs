//! One delay: raw value, jitter, cap, rounding. All in milliseconds as `f64`, like the libraries; the anchor is applied by `decide`.

use super::Random;
use super::policy::{CapStage, Jitter, Policy, ScheduleKind, TableEnd, WholeDraw};
use crate::units::{NEVER_MS, ms};
use std::time::Duration;

/// Uniform in the bounds.
pub(super) fn uniform((lo, hi): (Duration, Duration), random: Random<'_>) -> f64 {
    ms(lo) + (ms(hi) - ms(lo)) * random()
}

/// What a delay depends on besides the policy.
pub(super) struct DelayInput {
    /// Failed attempts since the last reset, as the formula counts them.
    pub k: u32,
    /// Steps of the formula, or entries of the table, that this client has no use for.
    pub skip: u32,
    /// The client's base.
    pub base_ms: f64,
    /// The previous delay of the formula since the last reset.
    pub previous_ms: Option<f64>,
}

/// The delay of a step in milliseconds; `None`: the table has ended.
///
/// Order: raw value, cap where its stage is raw or both, jitter, cap where its stage is final or both, rounding.
pub(super) fn delay(policy: &Policy, step: &DelayInput, random: Random<'_>) -> Option<f64> {
    let cap = |value: f64, stages: [CapStage; 2]| match policy.cap {
        Some(cap) if stages.contains(&policy.cap_stage) => value.min(ms(cap)),
        _ => value,
    };
    let raw = cap(raw(policy, step)?, [CapStage::Raw, CapStage::Both]);
    let jittered = if policy.jitter_first || step.k > 0 { jitter(policy, step, raw, random) } else { raw };
    // decorrelated has no raw value, so a cap before it would have no effect at all
    let jittered = match policy.jitter {
        Jitter::Decorrelated => policy.cap.map_or(jittered, |cap| jittered.min(ms(cap))),
        _ => cap(jittered, [CapStage::Final, CapStage::Both]),
    };
    Some(if policy.round_down { jittered.floor() } else { jittered }.clamp(0.0, NEVER_MS))
}

pub(super) fn raw(policy: &Policy, step: &DelayInput) -> Option<f64> {
    let k = step.k.saturating_add(step.skip);
    Some(match policy.kind {
        ScheduleKind::None => return None,
        ScheduleKind::Fixed => step.base_ms,
        ScheduleKind::Linear => step.base_ms + ms(policy.step) * f64::from(k),
        ScheduleKind::Exponential | ScheduleKind::Poll(_) => match step.previous_ms {
            Some(previous) if policy.jitter_compounds => previous * policy.factor,
            _ => step.base_ms * power(policy.factor, exponent(policy, k)),
        },
        ScheduleKind::Table => match policy.table.get(k as usize) {
            Some(entry) => ms(*entry),
            None if policy.table_end == TableEnd::Repeat => ms(*policy.table.last()?),
            None => return None,
        },
    })
}

fn exponent(policy: &Policy, k: u32) -> u32 {
    let exponent = k.saturating_add(policy.exp0);
    policy.max_exponent.map_or(exponent, |max| exponent.min(max))
}

/// `factorⁿ`; powers of two, the usual ones, are exact either way and cost nothing so.
fn power(factor: f64, n: u32) -> f64 {
    if factor == 2.0 && n < 64 { (1_u64 << n) as f64 } else { factor.powf(f64::from(n)) }
}

fn jitter(policy: &Policy, step: &DelayInput, raw: f64, random: Random<'_>) -> f64 {
    let part = |width: f64, random: Random<'_>| match policy.jitter_int {
        None => width * random(),
        Some(WholeDraw::Inclusive) => (random() * (width + 1.0)).floor(),
        Some(WholeDraw::Exclusive) => (random() * width).floor(),
    };
    match policy.jitter {
        Jitter::None => raw,
        Jitter::Mult { lo, hi } => match policy.kind {
            ScheduleKind::Poll(polling) if step.k == 0 => raw * (lo + (polling.jitter_hi_n0 - lo) * random()),
            _ => raw * (lo + (hi - lo) * random()),
        },
        Jitter::Add { lo, hi } => raw + ms(lo) + part(ms(hi) - ms(lo), random),
        Jitter::OffsetFull { offset } => ms(offset) + part(raw, random),
        Jitter::Between { offset } => ms(offset) + part(raw - ms(offset), random),
        Jitter::Comb10 { x } => {
            let u = random();
            let deviation = (u * x * raw).floor();
            if (u * 10.0).floor() % 2.0 == 0.0 { raw - deviation } else { raw + deviation }
        }
        Jitter::Decorrelated => {
            let previous = step.previous_ms.unwrap_or(step.base_ms);
            step.base_ms + (policy.factor * previous - step.base_ms) * random()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::duration_ms;

    fn delays(policy: &Policy, k: u32, random: Random<'_>) -> f64 {
        delay(policy, &DelayInput { k, skip: 0, base_ms: ms(policy.base), previous_ms: None }, random).unwrap()
    }

    #[test]
    fn comb_jitter_has_ten_bands_and_ten_gaps() {
        let policy = Policy { jitter: Jitter::Comb10 { x: 0.5 }, ..Policy::fixed(Duration::from_secs(1)) };
        for (u, expected) in [(0.0, 1000.0), (0.09, 955.0), (0.15, 1075.0), (0.37, 1185.0), (0.85, 575.0), (0.999, 1499.0)] {
            assert_eq!(delays(&policy, 0, &mut || u), expected, "{u}");
        }
    }

    #[test]
    fn growth_without_cap_stays_finite() {
        let policy = Policy::exponential(Duration::from_secs(1), 10.0, None, Jitter::None);
        assert_eq!(delays(&policy, u32::MAX, &mut || 0.5), NEVER_MS);
        assert_eq!(duration_ms(f64::INFINITY), duration_ms(NEVER_MS));
    }

    #[test]
    fn a_cap_after_jitter_takes_most_draws() {
        // centrifuge-go: 61 percent of draws at n = 8 and 90 percent at n = 10 equal the cap
        let policy = Policy::preset("centrifuge-go").unwrap();
        for (k, share) in [(7, 0.61), (9, 0.90)] {
            let capped = (0..1000).filter(|i| delays(&policy, k, &mut || f64::from(*i) / 1000.0) == 20_000.0).count();
            assert!((capped as f64 / 1000.0 - share).abs() < 0.01, "{k}: {capped}");
        }
    }
    #[test]
    fn powers_of_two_are_exact_beyond_what_a_word_holds() {
        for n in [0, 1, 52, 63, 64, 65, 200] {
            assert_eq!(power(2.0, n), 2_f64.powi(n as i32), "{n}");
        }
        assert_eq!(power(1.5, 2), 2.25);
    }
}
