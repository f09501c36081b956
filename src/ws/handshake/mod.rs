//! The opening handshake of either role.

pub(crate) mod client;
pub(crate) mod server;
