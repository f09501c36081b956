//! engine

pub mod channel;
pub mod control;
pub mod server;
pub mod session;
pub mod target;
