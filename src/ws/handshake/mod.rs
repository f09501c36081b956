//! The opening handshake of either role.

pub(crate) mod client;
pub(crate) mod cookies;
pub(crate) mod failure;
pub(crate) mod own_headers;
pub(crate) mod server;
