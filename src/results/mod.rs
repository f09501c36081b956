//! What is on disk: the run folder. `record` is the data dictionary, `README.md` in `results/` its text.
//!
//! [`Folder`] writes a run under a temporary name and renames it when complete; [`read()`] takes it back, so that verdict, charts and
//! report can be redone from files alone.

pub mod answer;
pub mod bands;
pub mod capacity;
pub mod capacity_limit;
mod claim;
pub mod evidence;
pub mod exact;
pub mod folder;
pub mod hlog;
pub mod learned;
mod liveness;
pub mod manifest;
pub mod map;
pub mod opened;
pub mod peaks;
pub mod read;
pub mod record;
mod rows;
pub mod runs;
pub mod schema;
pub mod shard;
pub mod spread;
pub mod summary;
pub mod tables;
mod unexpected_codes;
pub mod usage;

pub use evidence::Evidence;
pub use folder::{Folder, FolderError, write};
pub use read::{Loaded, read};

#[cfg(test)]
mod dictionary;
#[cfg(test)]
pub(crate) mod fixture;
