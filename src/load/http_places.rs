//! Places other than the target that HTTP requests go to, looked up once.

use crate::address::Address;
use crate::lock::lock;
use crate::sut::endpoint::{self, Access, Endpoint};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::OnceCell;

/// Different places, at most: servers that lead their clients to ever new ones do not fill memory.
const PLACES_MAX: usize = 1_000;

/// Whether it speaks TLS, whether it is the target's own host, and its authority.
type Key = (bool, bool, String);

/// Those that were found. Path and query of their URLs are those that were asked for first.
#[derive(Default)]
pub(crate) struct HttpPlaces(Mutex<HashMap<Key, Arc<OnceCell<Arc<Endpoint>>>>>);

impl HttpPlaces {
    /// The place of an address. Of many who ask at one moment one asks the name server, and what it finds is kept.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) async fn find(&self, address: Address, access: Access<'_>) -> Result<Arc<Endpoint>, String> {
        let key = (address.secure, access.own, address.authority.clone());
        let place = {
            let mut places = lock(&self.0);
            if places.len() >= PLACES_MAX && !places.contains_key(&key) {
                return Err(format!("{} is one place more than the {PLACES_MAX} that a run may be led to", address.authority));
            }
            places.entry(key.clone()).or_default().clone()
        };
        let found = async { endpoint::resolve(address, access).await.map(Arc::new).map_err(|error| error.to_string()) };
        let found = place.get_or_try_init(|| found).await.cloned();
        // What is not found takes no place.
        if found.is_err() {
            lock(&self.0).retain(|of, kept| *of != key || kept.initialized());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_are_kept_and_bounded() {
        let places = HttpPlaces::default();
        let find = async |port: usize| {
            let address = Address::parse(&format!("ws://127.0.0.1:{port}/")).expect("a URL");
            places.find(address, crate::transport::tls::Trust::Roots(None).into()).await
        };
        let first = find(1).await.expect("a place");
        // What is not found takes no place.
        for n in 0..3 {
            let address = Address::parse(&format!("ws://not-there-{n}.invalid:1/")).expect("a URL");
            assert!(places.find(address, crate::transport::tls::Trust::Roots(None).into()).await.is_err());
        }
        for port in 2..=PLACES_MAX {
            find(port).await.expect("a place");
        }
        let why = find(PLACES_MAX + 1).await.err().expect("one too many");
        assert_eq!(why, "127.0.0.1:1001 is one place more than the 1000 that a run may be led to");
        assert!(Arc::ptr_eq(&first, &find(1).await.expect("known")));
    }
}
