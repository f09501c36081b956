//! engine

pub mod target;
