//! What a person reads: `report.md`, `report.html` and the summary on the terminal. From results only; decides nothing.
//!
//! `content` says what stands in a report, once, as the blocks of `document`; `markdown` and `html` write them. `terminal` is shorter
//! and writes itself. Each begins with the command that makes the run again.

pub mod capacity;
pub mod ci;
pub mod compared;
mod content;
mod document;
mod findings;
mod html;
pub mod learned;
pub mod map;
mod markdown;
mod next;
mod page;
mod phrase;
mod runs;
mod terminal;

pub use html::html;
pub use markdown::markdown;
pub use next::where_next;
pub(crate) use page::wrapped;
pub use runs::spread;
pub use terminal::{judgement, terminal};
