//! How a side ends TCP.

use serde::{Deserialize, Serialize};

/// How a side ends TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// It does not.
    Hold,
    /// FIN, after draining what the peer sent, so that a FIN is a FIN.
    Fin,
    /// RST: zero linger, then closed.
    Rst,
    /// This side is gone and nothing on the wire tells: the socket stays open behind a dead path as long as its peer.
    Silent,
}

impl End {
    /// The end that a `then` or `end` parameter names.
    pub(super) fn named(word: Option<&str>) -> End {
        match word {
            Some("rst") => End::Rst,
            Some("silent") => End::Silent,
            Some("hold") => End::Hold,
            _ => End::Fin,
        }
    }
}
