//! What requests of our own clients say to our own server: which connection this is, and the key of the run, without which anybody who finds
//! the port could say the same. What they want of it is the dialogue's.

use crate::event::{ClientIndex, ConnectionNo};
use crate::transport::tls_error::TlsError;
use rustls::crypto::ring::default_provider;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Request header that carries `<client>/<connection>`, to an embedded server with `/<key>` behind it.
pub(crate) const ID_HEADER: &str = "Closestorm-Id";

/// One connection, by the id in its opening request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Id {
    /// Whose.
    pub client: ClientIndex,
    /// Which.
    pub connection: ConnectionNo,
}

/// What the processes of a run know and nobody else: drawn for each run, told over links only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunKey(String);

impl RunKey {
    /// A new one.
    ///
    /// # Errors
    /// If the machine has no random numbers.
    pub(crate) fn generate() -> Result<RunKey, TlsError> {
        let mut key = [0; 16];
        default_provider().secure_random.fill(&mut key).map_err(|_| TlsError::Refused("no random numbers".to_owned()))?;
        Ok(RunKey(key.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// As in the header.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// Whether this is it. Takes as long for a wrong text as for another one of its length: who can measure is not told how much was right.
    fn is(&self, text: &str) -> bool {
        let differs = self.0.bytes().zip(text.bytes()).fold(0, |differs, (one, other)| differs | one ^ other);
        self.0.len() == text.len() && differs == 0
    }
}

impl fmt::Debug for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunKey")
    }
}

impl Id {
    /// As in the header. `key`: what must be behind it; `None` in memory, where nobody else is.
    pub(crate) fn parse(text: &str, key: Option<&RunKey>) -> Option<Id> {
        let text = match key {
            Some(key) => text.rsplit_once('/').filter(|(_, told)| key.is(told))?.0,
            None => text,
        };
        let (client, connection) = text.split_once('/')?;
        Some(Id { client: ClientIndex(client.parse().ok()?), connection: ConnectionNo(connection.parse().ok()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_the_key_says_who_it_is() {
        let (key, other) = (RunKey::generate().unwrap(), RunKey::generate().unwrap());
        assert_ne!(key, other);
        let id = Some(Id { client: ClientIndex(7), connection: ConnectionNo(2) });
        let (right, wrong) = (format!("7/2/{}", key.text()), format!("7/2/{}", other.text()));
        for (text, expected) in [
            (right.as_str(), id),
            (wrong.as_str(), None),
            ("7/2", None),
            ("7/2/", None),
            (&right[..right.len() - 1], None),
            (&format!("{right}0"), None),
            (key.text(), None),
            ("", None),
        ] {
            assert_eq!(Id::parse(text, Some(&key)), expected, "{text}");
        }
        assert_eq!((Id::parse("7/2", None), Id::parse(&right, None)), (id, None));
        assert_eq!(format!("{key:?}"), "RunKey");
    }
}
