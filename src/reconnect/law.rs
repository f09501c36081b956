//! Which delays a step may have, and how likely each is: the distribution that `delay` draws from.

use super::delay::{DelayInput, raw};
use super::policy::{CapStage, Jitter, Policy, ScheduleKind};
use crate::units::ms;

/// Delays between two bounds, uniformly distributed; equal bounds are a single delay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LawPiece {
    /// Share of all delays of the step, 0 to 1.
    pub share: f64,
    /// Shortest, in milliseconds.
    pub lo_ms: f64,
    /// Longest, in milliseconds.
    pub hi_ms: f64,
}

impl Policy {
    /// The distribution of the delay after `k` failed attempts since the last reset, without lead delays: pieces whose shares add up to 1.
    /// `base_ms` is the client's own base, `previous_ms` its previous delay of the formula.
    ///
    /// Whole milliseconds (`jitter_int`, `round`) are left out: they move a delay by less than one. `None`: a table has ended, or the
    /// schedule is a poll timer or one with redrawn delays, whose delays depend on more than this.
    pub fn law(&self, k: u32, base_ms: f64, previous_ms: Option<f64>) -> Option<Vec<LawPiece>> {
        if matches!(self.kind, ScheduleKind::Poll(_)) || self.redraw {
            return None;
        }
        let step = DelayInput { k, skip: 0, base_ms, previous_ms };
        let capped = |value: f64, stages: [CapStage; 2]| match self.cap {
            Some(cap) if stages.contains(&self.cap_stage) => value.min(ms(cap)),
            _ => value,
        };
        let raw = capped(raw(self, &step)?, [CapStage::Raw, CapStage::Both]);
        let jitter = if self.jitter_first || k > 0 { self.jitter } else { Jitter::None };
        let last = match (jitter, self.cap) {
            (Jitter::Decorrelated, Some(cap)) => ms(cap),
            (_, Some(cap)) if self.cap_stage != CapStage::Raw => ms(cap),
            _ => f64::INFINITY,
        };
        let piece = |lo_ms, hi_ms| LawPiece { share: 1.0, lo_ms, hi_ms };
        let pieces = match jitter {
            Jitter::None => vec![piece(raw, raw)],
            Jitter::Mult { lo, hi } => vec![piece(raw * lo, raw * hi)],
            Jitter::Add { lo, hi } => vec![piece(raw + ms(lo), raw + ms(hi))],
            Jitter::OffsetFull { offset } => vec![piece(ms(offset), ms(offset) + raw)],
            Jitter::Between { offset } => vec![piece(ms(offset).min(raw), ms(offset).max(raw))],
            Jitter::Comb10 { x } => (0..10).map(|band| comb(raw, x, band)).collect(),
            Jitter::Decorrelated => vec![piece(base_ms, self.factor * previous_ms.unwrap_or(base_ms))],
        };
        Some(pieces.into_iter().flat_map(|piece| cut(piece, last)).flatten().collect())
    }
}

/// Band `n` of ten of a comb jitter: below raw when even, above when odd.
fn comb(raw: f64, x: f64, n: u32) -> LawPiece {
    let (near, far) = (x * raw * f64::from(n) / 10.0, x * raw * f64::from(n + 1) / 10.0);
    let (lo_ms, hi_ms) = if n.is_multiple_of(2) { (raw - far, raw - near) } else { (raw + near, raw + far) };
    LawPiece { share: 0.1, lo_ms, hi_ms }
}

/// A piece below a cap, and what the cap makes of the rest.
fn cut(piece: LawPiece, cap: f64) -> [Option<LawPiece>; 2] {
    let LawPiece { share, lo_ms, hi_ms } = piece;
    if hi_ms <= cap {
        return [Some(piece), None];
    }
    let at_cap = |share| Some(LawPiece { share, lo_ms: cap, hi_ms: cap });
    if lo_ms >= cap {
        return [at_cap(share), None];
    }
    let below = (cap - lo_ms) / (hi_ms - lo_ms);
    [Some(LawPiece { share: share * below, lo_ms, hi_ms: cap }), at_cap(share * (1.0 - below))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconnect::{delay, presets};
    use crate::seed::Seed;

    /// Share of delays up to `at`, in milliseconds.
    fn below(law: &[LawPiece], at: f64) -> f64 {
        law.iter().map(|piece| piece.share * ((at - piece.lo_ms) / (piece.hi_ms - piece.lo_ms).max(1e-9)).clamp(0.0, 1.0)).sum()
    }

    #[test]
    fn each_preset_draws_its_delays_from_its_law() {
        let mut seen = 0;
        for preset in presets() {
            let policy = &preset.policy;
            for k in [0, 1, 2, 5, 9] {
                let (base_ms, previous_ms) = (ms(policy.base), (k > 0).then(|| 1.7 * ms(policy.base)));
                let Some(law) = policy.law(k, base_ms, previous_ms) else { continue };
                assert!((law.iter().map(|piece| piece.share).sum::<f64>() - 1.0).abs() < 1e-9, "{}: {law:?}", preset.id);
                let mut stream = Seed(1).stream(&preset.id);
                let step = DelayInput { k, skip: 0, base_ms, previous_ms };
                let drawn: Vec<f64> = (0..4000).filter_map(|_| delay::delay(policy, &step, &mut || stream.unit())).collect();
                // Whole milliseconds: within one.
                for tenth in 0..10 {
                    let at = law.iter().map(|piece| piece.lo_ms).fold(f64::INFINITY, f64::min) * 0.99
                        + f64::from(tenth) / 10.0 * law.iter().map(|piece| piece.hi_ms).fold(0.0, f64::max);
                    let share = drawn.iter().filter(|delay| **delay <= at).count() as f64 / drawn.len() as f64;
                    let (low, high) = (below(&law, at - 1.0), below(&law, at + 1.0));
                    assert!((low - 0.03..=high + 0.03).contains(&share), "{} {k} at {at}: {share}, {low} to {high}", preset.id);
                }
                seen += 1;
            }
        }
        assert!(seen > 150, "{seen}");
    }
}
