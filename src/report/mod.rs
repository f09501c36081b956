//! What a person reads: `report.md`, `report.html` and the summary on the terminal. From results only; decides nothing.
//!
//! `content` says what stands in a report, once, as the blocks of `document`; `markdown`, `html` and, of a run, `page` write them, that of a run under way, too. `terminal` is
//! shorter and writes itself. Each says by which command the run is made again.

pub mod capacity;
pub mod ci;
pub mod compared;
mod content;
mod document;
mod findings;
mod html;
pub mod learned;
mod lines;
pub mod map;
mod markdown;
mod next;
mod page;
mod phrase;
mod runs;
mod terminal;

pub(crate) use lines::{shortened, wrapped};
pub use markdown::markdown;
pub use next::where_next;
pub use page::html;
pub(crate) use page::live::LiveRun;
pub use runs::spread;
pub use terminal::{judgement, terminal};
