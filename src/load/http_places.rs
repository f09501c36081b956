//! Places other than the target that HTTP requests go to, looked up once.

use crate::address::Address;
use crate::lock::lock;
use crate::sut::endpoint::{self, Endpoint};
use crate::transport::tls::Trust;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Those that were found, by whether they speak TLS and by authority.
#[derive(Default)]
pub(crate) struct HttpPlaces(Mutex<HashMap<(bool, String), Arc<Endpoint>>>);

impl HttpPlaces {
    /// The place of an address; asks the name server once.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) async fn find(&self, address: Address, trust: Trust<'_>) -> Result<Arc<Endpoint>, String> {
        let key = (address.secure, address.authority.clone());
        let known = lock(&self.0).get(&key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let place = Arc::new(endpoint::resolve(address, trust).await.map_err(|error| error.to_string())?);
        lock(&self.0).insert(key, place.clone());
        Ok(place)
    }
}
