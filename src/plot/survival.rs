//! The distribution of reconnect times from rows of outages, those that did not end included: the Kaplan–Meier estimate.
//!
//! Source: Kaplan, Meier, "Nonparametric Estimation from Incomplete Observations" (1958). The summary has the same from histograms;
//! charts are redrawn from `reconnects.csv` alone and estimate here.

use crate::metrics::latency::supported;

/// One outage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlottedOutage {
    /// Until the client was back, or until the measurement ended; µs.
    pub time_us: u64,
    /// It came back.
    pub ended: bool,
    /// It stands for this many.
    pub weight: f64,
}

/// The estimated distribution function: its steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SurvivalCurve {
    /// Time in µs and the share of outages that ended by then, both increasing.
    pub steps: Vec<(u64, f64)>,
    /// Outages, weights counted.
    pub outages: f64,
    /// Of them back.
    pub back: f64,
}

/// Estimates the distribution: at each time, the share still out is multiplied by `1 − ended / at risk`.
pub fn estimate(mut outages: Vec<PlottedOutage>) -> SurvivalCurve {
    outages.sort_by_key(|outage| (outage.time_us, !outage.ended));
    let total: f64 = outages.iter().map(|outage| outage.weight).sum();
    let mut distribution = SurvivalCurve { outages: total, ..SurvivalCurve::default() };
    let (mut at_risk, mut out) = (total, 1.0);
    for same_time in outages.chunk_by(|a, b| a.time_us == b.time_us) {
        let ended: f64 = same_time.iter().filter(|outage| outage.ended).map(|outage| outage.weight).sum();
        if ended > 0.0 {
            // Rounding must not leave a trace of the last one at risk.
            out = if at_risk - ended < 1e-9 { 0.0 } else { out * (1.0 - ended / at_risk) };
            distribution.steps.push((same_time[0].time_us, 1.0 - out));
            distribution.back += ended;
        }
        at_risk -= same_time.iter().map(|outage| outage.weight).sum::<f64>();
    }
    distribution
}

impl SurvivalCurve {
    /// The least time by which a share of at least `quantile` (0 to 1) was back; `None` if that was not reached.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        let at = self.steps.partition_point(|(_, share)| *share < quantile - 1e-12);
        self.steps.get(at).map(|(time, _)| *time)
    }

    /// The share that was back in the end.
    pub fn reached(&self) -> f64 {
        self.steps.last().map_or(0.0, |(_, share)| *share)
    }

    /// The highest quantile that this many outages support with 95 % confidence.
    pub fn supported(&self) -> f64 {
        supported(self.outages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outage(time_us: u64, ended: bool) -> PlottedOutage {
        PlottedOutage { time_us, ended, weight: 1.0 }
    }

    #[test]
    fn without_censoring_it_is_the_empirical_distribution() {
        let d = estimate((1..=4).map(|t| outage(t * 10, true)).collect());
        assert_eq!(d.quantile(0.5), Some(20));
        assert_eq!(d.quantile(1.0), Some(40));
        assert_eq!(d.reached(), 1.0);
    }

    #[test]
    fn who_did_not_come_back_stays_in_the_risk_set() {
        // Two of four return; the others are out to the end: the 90th percentile is not reached.
        let d = estimate(vec![outage(10, true), outage(20, true), outage(100, false), outage(100, false)]);
        assert_eq!(d.quantile(0.5), Some(20));
        assert_eq!(d.quantile(0.9), None);
        assert!((d.reached() - 0.5).abs() < 1e-9);
    }

    #[test]
    fn early_censoring_redistributes_to_the_right() {
        // Textbook: 10, 20+, 30 gives 1/3 at 10 and all at 30, because one of one at risk ended.
        let d = estimate(vec![outage(10, true), outage(20, false), outage(30, true)]);
        assert!((d.steps[0].1 - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(d.steps[1], (30, 1.0));
    }

    #[test]
    fn a_row_of_weight_two_counts_as_two_rows() {
        let twice = estimate(vec![outage(10, true), outage(10, true), outage(20, false)]);
        let weighted = estimate(vec![PlottedOutage { weight: 2.0, ..outage(10, true) }, outage(20, false)]);
        assert_eq!(twice, weighted);
    }

    #[test]
    fn p99_is_supported_from_299_samples_on() {
        let supported = |n| SurvivalCurve { outages: n, ..SurvivalCurve::default() }.supported();
        assert!(supported(298.0) < 0.99 && supported(299.0) >= 0.99);
    }
}
