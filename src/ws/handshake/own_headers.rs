//! What requests of our own clients say to our own server: which connection this is. What they want of it is the dialogue's.

use crate::event::{ClientIndex, ConnectionNo};
use serde::{Deserialize, Serialize};

/// Request header that carries `<client>/<connection>`.
pub(crate) const ID_HEADER: &str = "Closestorm-Id";

/// One connection, by the id in its opening request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Id {
    /// Whose.
    pub client: ClientIndex,
    /// Which.
    pub connection: ConnectionNo,
}

impl Id {
    /// As in the header.
    pub(crate) fn parse(text: &str) -> Option<Id> {
        let (client, connection) = text.split_once('/')?;
        Some(Id { client: ClientIndex(client.parse().ok()?), connection: ConnectionNo(connection.parse().ok()?) })
    }
}
