//! What is on disk: the run folder. `record` is the data dictionary.

pub mod record;
