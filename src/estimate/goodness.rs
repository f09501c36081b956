//! Whether waits can be what a policy draws.

use super::family::Family;
use super::likelihood::{Step, each_law};
use crate::reconnect::{LawPiece, Policy};
use crate::seed::Stream;

/// Waits this far outside of what a law allows are outside: what timers and connecting take, in milliseconds …
const LATE_MS: f64 = 20.0;
/// … and as a share of the wait.
const LATE: f64 = 0.01;

/// How well a policy fits.
#[derive(Clone, Debug, PartialEq)]
pub struct Goodness {
    /// Waits that were looked at.
    pub waits: usize,
    /// Share of waits that the policy never draws, 0 to 1.
    pub outside: f64,
    /// Chance of waits that differ so much from the policy's distribution if it is the right one (Kolmogorov and Smirnov), 0 to 1. The same
    /// waits chose the policy, so it is rather too large. `None`: there is no jitter.
    pub chance: Option<f64>,
    /// For each wait that has jitter the share of waits that the policy makes shorter, 0 to 1, in order: evenly spread if it is the right one.
    pub places: Vec<f64>,
}

impl Goodness {
    /// Whether there is no reason to doubt.
    pub fn is_good(&self) -> bool {
        self.outside <= 0.02 && self.chance.is_none_or(|chance| chance >= 0.001)
    }

    pub(super) fn of(family: Family, policy: &Policy, steps: &[Step], late_ms: f64, stream: &mut Stream) -> Goodness {
        let (mut waits, mut outside, mut places) = (0_usize, 0_usize, Vec::new());
        for step in steps {
            each_law(family, policy, step, late_ms, |law, wait| {
                let late = LATE_MS.max(LATE * wait);
                waits += 1;
                outside += usize::from(!law.iter().any(|piece| (piece.lo_ms - late..=piece.hi_ms + late).contains(&wait)));
                places.extend(place(law, wait, late, stream.unit()));
            });
        }
        places.sort_by(f64::total_cmp);
        Goodness { waits, outside: outside as f64 / waits.max(1) as f64, chance: chance(&places), places }
    }
}

/// The share of a law below a wait, which is uniform if the law is right; within single delays any part of their share. `None`: a law of single
/// delays only.
fn place(law: &[LawPiece], wait: f64, late: f64, unit: f64) -> Option<f64> {
    let wide = |piece: &LawPiece| piece.hi_ms - piece.lo_ms > late;
    if !law.iter().any(wide) {
        return None;
    }
    let part = |piece: &LawPiece| match wide(piece) {
        true => ((wait - piece.lo_ms) / (piece.hi_ms - piece.lo_ms)).clamp(0.0, 1.0),
        false if (wait - piece.lo_ms).abs() <= late => unit,
        false => f64::from(u8::from(wait > piece.lo_ms)),
    };
    Some(law.iter().map(|piece| piece.share * part(piece)).sum())
}

/// The chance of a greatest distance from the uniform distribution as that of `places`, which are in order. Source: Stephens (1970), as in Numerical Recipes 14.3.
fn chance(places: &[f64]) -> Option<f64> {
    if places.len() < 5 {
        return None;
    }
    let n = places.len() as f64;
    let off = |(index, place): (usize, &f64)| (place - index as f64 / n).abs().max(((index + 1) as f64 / n - place).abs());
    let distance = places.iter().enumerate().map(off).fold(0.0, f64::max);
    let lambda = (n.sqrt() + 0.12 + 0.11 / n.sqrt()) * distance;
    let term = |j: i32| 2.0 * if j % 2 == 1 { 1.0 } else { -1.0 } * (-2.0 * f64::from(j * j) * lambda * lambda).exp();
    Some(if lambda < 0.2 { 1.0 } else { (1..=100).map(term).sum::<f64>().clamp(0.0, 1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chance_of_a_distance_is_that_of_tables() {
        // 1.36 / sqrt(n) is the 5 % point for large n, 1.63 / sqrt(n) the 1 % point.
        for (factor, expected) in [(1.358, 0.05), (1.628, 0.01)] {
            let n = 10_000;
            let shift = factor / f64::from(n).sqrt();
            let places: Vec<f64> = (0..n).map(|i| (f64::from(i) / f64::from(n) + shift).min(1.0)).collect();
            let chance = chance(&places).unwrap();
            assert!((chance / expected - 1.0).abs() < 0.1, "{factor}: {chance}");
        }
        assert_eq!(chance(&[0.5; 4]), None);
    }
}
