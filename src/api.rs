//! The public API: run or simulate a [`Scenario`], and get an [`Outcome`]; or put a [`Proxy`] or a [`Serve`] in front of a client under test. Only
//! this module follows semantic versioning.
//!
//! - [`Scenario`] reads and checks a scenario in TOML, whose keys are in `docs/scenario.md`; [`Scenario::builder`] makes one in code.
//! - [`Scenario::simulate`] needs no sockets. [`Scenario::run`] opens real connections, on a thread of its own: in any async runtime, or without one,
//!   and several at a time.
//! - [`Outcome`] has the verdict and all figures ([`Summary`], documented in `results/README.md`), and writes run folders.
//!
//! In code, times are [`Duration`](std::time::Duration)s. In [`record`] the names of fields end in their unit (`_us` is microseconds, `_ms` milliseconds).
//!
//! ```
//! use closestorm::api::Scenario;
//! use std::time::Duration;
//!
//! let scenario = Scenario::from_toml(
//!     r#"
//!     duration = "20s"
//!     expect = ["clients_lost count == 0", "reconnect_time max < 10s"]
//!     clients.web = { count = 50, arrive = { over = "1s" }, reconnect = "socket.io-client" }
//!     faults = [{ at = "5s", inject = { drop_rst = {} } }]
//!     "#,
//! )?;
//! let outcome = scenario.simulate()?;
//! outcome.assert();
//! assert!(outcome.cohort("web").reconnect().max().is_some_and(|time| time < Duration::from_secs(10)));
//! # Ok::<(), closestorm::api::Error>(())
//! ```

mod background;
mod builder;
mod cohort_outcome;
mod engine;
mod error;
mod outcome;
mod proxy;
mod running;
mod scenario;
mod serve;
mod stop;
#[cfg(feature = "charts")]
mod written;

pub use crate::metrics::{Rates, Snapshot};
pub use crate::results::record::{self, Summary, Verdict};
pub use crate::scenario::Errors;
pub use crate::snapshots::{Subscription, Update};
pub use builder::{CohortBuilder, FaultBuilder, ScenarioBuilder};
pub use cohort_outcome::{CohortOutcome, Percentiles};
pub use error::Error;
pub use outcome::Outcome;
pub use proxy::{Proxy, ProxyFault};
pub use running::Running;
pub use scenario::Scenario;
pub use serve::Serve;
pub use stop::StopHandle;

pub(crate) use engine::{RunPart, Scratch, check_instances, divide, measured, model, room, simulated};
#[cfg(feature = "charts")]
pub(crate) use written::{draw, save, write_report};
