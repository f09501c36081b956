//! Two sides of runs → is the new one worse, and is that more than noise?
//!
//! The run is the unit: each gives one value for each metric, and clients of one run are never taken for samples, because they share one
//! server and its queue. `rank` tests, `shift` says by how much, `worse` in which direction and from where on it matters, `side` reads
//! runs, `same` says whether they ran the same, `judge` decides. Printing is `report`'s.

mod bootstrap;
mod judge;
mod log_rank;
#[cfg(test)]
mod noise;
#[cfg(test)]
mod oracle;
mod rank;
mod record;
mod same;
mod shift;
mod side;
#[cfg(test)]
mod tests;
mod worse;

pub use judge::{FEWEST_RUNS, LEVEL, Thresholds, compare, pooled};
pub use log_rank::log_rank;
pub use rank::{holm, least_p, mann_whitney};
pub use record::{ComparedMetric, ComparedSide, MetricResult, RunComparison, UnknownCode};
pub use same::{Mismatch, check_same};
pub use shift::{CONFIDENCE, Shift, median};
pub use side::{ComparedRun, duplicates};
pub use worse::{ComparedQuantity, Worse, quantities};
