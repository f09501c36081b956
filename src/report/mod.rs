//! What a person reads: `report.md`, `report.html` and the summary on the terminal. From results only; decides nothing.
//!
//! `content` says what stands in a report, once, as the blocks of `document`; `markdown`, `html` and, of a run, `page` write them. `terminal` is
//! shorter and writes itself. Each says by which command the run is made again.

pub mod capacity;
pub mod compared;
mod content;
mod document;
mod findings;
mod html;
pub mod learned;
pub mod map;
mod markdown;
mod page;
mod phrase;
mod runs;
mod terminal;

pub use markdown::markdown;
pub use page::html;
pub use runs::spread;
pub use terminal::{judgement, terminal, where_next};
