//! How a client comes back, from waits that were seen: which schedule, which numbers, how sure, and whether it fits at all.
//!
//! [`fit()`] compares families of the parameter model of `reconnect` by the Bayesian information criterion. Intervals are of the posterior, which
//! is right at edges of uniform distributions too, where the usual ± two deviations are not.

mod explore;
mod family;
mod fit;
mod goodness;
mod laws;
mod likelihood;
mod nearest;
mod rounding;
mod waits;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::on_a_busy_machine;

pub use family::{Family, Growth, JitterForm, ParameterEstimate, Quantity};
pub use fit::{PolicyFit, fit};
pub use goodness::Goodness;
pub use nearest::{Near, nearest};
pub use waits::SeenOutage;
pub(crate) use waits::busy_ms;
