//! net

pub mod clock;
