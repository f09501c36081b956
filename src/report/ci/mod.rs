//! What CI services read of runs and comparisons: every text from one list of cases. Decides nothing, writes no file.
//!
//! `cases` makes the list; `junit` and `github` write it, `page` is the Markdown beside it, `openmetrics`, `bmf`, `benchmark` and `history` have the numbers.

mod benchmark;
mod bmf;
mod cases;
mod github;
mod history;
mod junit;
mod openmetrics;
mod page;
mod record;

pub use benchmark::benchmarks;
pub use bmf::bmf;
pub use cases::{CaseResult, CiCase, CiSuite, suites};
pub use github::{MOST_SUMMARY_BYTES, annotations, cut};
pub use history::{HISTORY_COLUMNS, HistoryError, check_history, history_header, history_row};
pub use junit::junit;
pub use openmetrics::openmetrics;
pub use page::page;
pub use record::{CiError, CiReport, CiRun};

#[cfg(test)]
mod tests;
