//! WebSocket (RFC 6455) over any byte stream, for either role: frames, the opening handshake, an open connection, and a session with its closing
//! handshake. Nothing here knows a plan, a server or a crowd of clients.

pub(crate) mod codec;
pub(crate) mod connection;
pub(crate) mod frame;
pub(crate) mod frame_queue;
pub(crate) mod frame_tap;
pub(crate) mod handshake;
pub(crate) mod memory;
pub(crate) mod payload;
#[cfg(any(test, feature = "internals"))]
pub mod probe;
pub(crate) mod session;
