//! What a fitted policy allows for each attempt of an outage, to draw waits on it.

use super::fit::PolicyFit;
use crate::reconnect::LawPiece;
use crate::units::ms;

impl PolicyFit {
    /// The distribution of the wait before each of so many attempts. Of clients that draw a base of their own: of all of them. Empty where a wait
    /// depends on the one before it, so that nobody can say it beforehand.
    pub fn laws(&self, attempts: usize) -> Vec<Vec<LawPiece>> {
        if self.family.is_chained() {
            return Vec::new();
        }
        let policy = &self.policy;
        let lead = policy.lead.iter().map(|(lo, hi)| vec![LawPiece { share: 1.0, lo_ms: ms(*lo), hi_ms: ms(*hi) }]);
        let of = |k: usize| -> Vec<LawPiece> {
            let (lo, hi) = policy.base_per_client.unwrap_or((policy.base, policy.base));
            let pieces = |base| policy.law(k as u32, ms(base), None).unwrap_or_default();
            // Without jitter there is one delay for each base.
            pieces(lo).iter().zip(&pieces(hi)).map(|(low, high)| LawPiece { lo_ms: low.lo_ms, hi_ms: high.hi_ms, ..*low }).collect()
        };
        lead.chain((0..).map(of)).take(attempts).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::estimate::{SeenOutage, fit};
    use crate::seed::Seed;

    #[test]
    fn each_wait_lies_where_its_law_is() {
        let steady = |client: u32, base: f64| SeenOutage { client, waits_ms: vec![base, 2.0 * base, 4.0 * base, 8.0 * base] };
        for outages in [vec![steady(0, 100.0); 4], (0..8).map(|client| steady(client / 2, 100.0 + f64::from(client / 2) * 90.0)).collect()]
        {
            let fit = fit(&outages, Seed(1)).unwrap();
            let laws = fit.laws(4);
            assert_eq!(laws.len(), 4, "{fit:?}");
            for (attempt, law) in laws.iter().enumerate() {
                for outage in &outages {
                    let wait = outage.waits_ms[attempt];
                    assert!(law.iter().any(|piece| (piece.lo_ms - 25.0..piece.hi_ms + 25.0).contains(&wait)), "{attempt}: {wait} {law:?}");
                }
            }
        }
    }
}
