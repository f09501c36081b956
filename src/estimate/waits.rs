//! Waits as they were seen, and what can be said of them without any model.

use std::collections::BTreeMap;

/// One outage of one client: how long it waited before each attempt, in milliseconds. The first wait is the one after a connection was lost, the
/// others come after attempts that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenOutage {
    /// Which process or page it was: what is drawn once is drawn again by each.
    pub client: u32,
    /// Waits in order.
    pub waits_ms: Vec<f64>,
}

/// Waits of the same step closer together than this share of their median, or than [`STEADY_MS`], have no jitter.
const STEADY: f64 = 0.015;
/// See [`STEADY`]: what timers, a busy process and a connection take, in milliseconds.
const STEADY_MS: f64 = 25.0;
/// Clients whose usual waits of a step are closer together than this share of them, or than [`ALIKE_MS`], are alike: one may run on a busier processor.
const ALIKE: f64 = 0.05;
/// See [`ALIKE`], in milliseconds.
const ALIKE_MS: f64 = 60.0;

/// How far waits of this size may be apart, in milliseconds, where nothing but a busy machine takes them apart.
pub(crate) fn busy_ms(wait_ms: f64) -> f64 {
    (ALIKE * wait_ms).max(ALIKE_MS)
}

/// What differs: nothing, clients, or each wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitSpread {
    /// All waits of a step are alike.
    Steady,
    /// Those of each client are, but clients are not.
    ByClient,
    /// Waits of a client differ.
    Jitter,
}

/// What differs in `outages`.
pub(super) fn spread(outages: &[SeenOutage]) -> WaitSpread {
    let mut cells: BTreeMap<(u32, usize), Vec<f64>> = BTreeMap::new();
    for outage in outages {
        for (step, wait) in outage.waits_ms.iter().enumerate() {
            cells.entry((outage.client, step)).or_default().push(*wait);
        }
    }
    let (mut waits, mut stray) = (0, 0);
    let mut medians: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for ((_, step), mut values) in cells {
        let middle = median(&mut values);
        medians.entry(step).or_default().push(middle);
        // One wait alone says nothing of what differs within a client.
        if values.len() > 1 {
            waits += values.len();
            stray += values.iter().filter(|wait| !is_steady(**wait, middle)).count();
        }
    }
    // One in ten may be late.
    if stray * 10 > waits {
        return WaitSpread::Jitter;
    }
    let alike = |medians: &mut Vec<f64>| {
        let middle = median(medians);
        medians.iter().all(|one| (one - middle).abs() <= busy_ms(middle))
    };
    match medians.values_mut().all(alike) {
        true => WaitSpread::Steady,
        false if waits == 0 => WaitSpread::Jitter,
        false => WaitSpread::ByClient,
    }
}

fn is_steady(wait: f64, middle: f64) -> bool {
    (wait - middle).abs() <= (STEADY * middle).max(STEADY_MS)
}

/// Whether all of `values` are alike.
pub(super) fn all_alike(values: &[f64]) -> bool {
    let middle = median(&mut values.to_vec());
    values.iter().filter(|one| !is_steady(**one, middle)).count() * 10 <= values.len()
}

/// The middle value; 0 of none.
pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
