//! What heartbeats found of silent connections, from the results.

use crate::metrics::Results;
use crate::metrics::latency::Latency;
use crate::metrics::liveness::{Watched, metric};

/// What was measured of a [`Watched`].
#[derive(Clone, Debug)]
pub(super) struct LivenessMeasured {
    /// Connections of the cohort that the fault silenced.
    pub(super) silenced: u64,
    /// From the injection to the passed pong deadline, of those that this heartbeat found.
    pub(super) times: Latency,
    /// Ended otherwise: by another heartbeat, the path's RST, another fault.
    pub(super) otherwise: u64,
    /// Not ended while it lasted.
    pub(super) unnoticed: u64,
}

/// What was found.
pub(super) fn found(results: &Results, row: &Watched) -> LivenessMeasured {
    let book = &results.faults[usize::from(row.fault)];
    let silenced = book.cohorts.get(&row.cohort).copied().unwrap_or(0);
    let of = |side| results.bank.sum(metric(side), |key| key.cohort == row.cohort && key.fault == Some(row.fault));
    let times = row.heartbeat.map_or_else(Latency::new, |(side, _)| of(side));
    let ended = results.endings.iter().filter(|((_, key), _)| key.fault == Some(row.fault) && key.cohort == row.cohort);
    // Of some only the server knows that they ended.
    let alone = book.found_alone.get(&row.cohort).copied().unwrap_or(0);
    let ended = ended.map(|(_, count)| count).sum::<u64>() + alone;
    LivenessMeasured { silenced, otherwise: ended.saturating_sub(times.count()), unnoticed: silenced.saturating_sub(ended), times }
}
