//! Tickets of the embedded server: its sessions, sealed with a key that all processes of an instance have until the instance restarts.
//!
//! rustls seals tickets too, but each of its makers has a key of its own; an instance of several processes would then take up one
//! session in so many.

use crate::transport::tls_error::TlsError;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::crypto::ring::default_provider;
use rustls::server::ProducesTickets;
use serde::{Deserialize, Serialize};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// How long a client may keep a ticket, seconds: longer than any run.
const LIFETIME: u32 = 12 * 60 * 60;

/// The key of an instance, from its start to its end.
#[derive(Clone, Serialize, Deserialize)]
pub struct TicketKey([u8; 32]);

impl std::fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketKey")
    }
}

impl TicketKey {
    /// A new one.
    ///
    /// # Errors
    /// If the machine has no random numbers.
    pub fn generate() -> Result<TicketKey, TlsError> {
        let mut key = [0; 32];
        default_provider().secure_random.fill(&mut key).map_err(|_| TlsError::Refused("no random numbers".to_owned()))?;
        Ok(TicketKey(key))
    }

    fn ready(&self) -> LessSafeKey {
        // The algorithm wants 32 bytes, and has them.
        LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &self.0).expect("a key of its length"))
    }
}

/// Seals and opens tickets with one key.
#[derive(Debug)]
pub struct Tickets {
    key: RwLock<LessSafeKey>,
}

impl Tickets {
    /// With this key.
    pub fn new(key: &TicketKey) -> Tickets {
        Tickets { key: RwLock::new(key.ready()) }
    }

    /// With another key from now on.
    pub fn change(&self, key: &TicketKey) {
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = key.ready();
    }

    fn key(&self) -> RwLockReadGuard<'_, LessSafeKey> {
        self.key.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        default_provider().secure_random.fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        self.key().seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed).ok()?;
        Some([&nonce[..], &sealed].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = cipher.split_at_checked(NONCE_LEN)?;
        let mut sealed = sealed.to_vec();
        let plain = self.key().open_in_place(Nonce::try_assume_unique_for_key(nonce).ok()?, Aad::empty(), &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_opens_a_ticket() {
        let key = TicketKey::generate().unwrap();
        let sealed = Tickets::new(&key).encrypt(b"a session").unwrap();
        assert_eq!(Tickets::new(&key).decrypt(&sealed).as_deref(), Some(&b"a session"[..]));
        assert_eq!(Tickets::new(&TicketKey::generate().unwrap()).decrypt(&sealed), None);
        assert_eq!(Tickets::new(&key).decrypt(&sealed[..NONCE_LEN - 1]), None);
    }
}
