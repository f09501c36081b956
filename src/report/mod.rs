//! What a person reads: `report.md`, `report.html` and the summary on the terminal. From results only; decides nothing.
//!
//! `content` says what stands in a report, once, as the blocks of `document`; `markdown`, `html` and, of a run, `page` write them, that of a run under way, too. `terminal` is
//! shorter and writes itself. Each says by which command the run is made again.

mod document;
mod findings;
mod lines;
mod next;
mod phrase;
mod terminal;

// What shows charts, or is a page beside them.
#[cfg(feature = "charts")]
pub mod capacity;
#[cfg(feature = "charts")]
pub mod ci;
#[cfg(feature = "charts")]
pub mod compared;
#[cfg(feature = "charts")]
mod content;
#[cfg(feature = "charts")]
mod html;
#[cfg(feature = "charts")]
pub mod learned;
#[cfg(feature = "charts")]
pub mod map;
#[cfg(feature = "charts")]
mod markdown;
#[cfg(feature = "charts")]
mod page;
#[cfg(feature = "charts")]
mod runs;

pub(crate) use lines::{shortened, wrapped};
#[cfg(feature = "charts")]
pub use markdown::markdown;
pub use next::where_next;
#[cfg(feature = "charts")]
pub use page::html;
#[cfg(feature = "charts")]
pub(crate) use page::live::LiveRun;
#[cfg(feature = "charts")]
pub use runs::spread;
pub use terminal::{judgement, terminal};
