//! Places other than the target that HTTP requests go to, looked up once.

use crate::address::Address;
use crate::lock::lock;
use crate::sut::endpoint::{self, Access, Endpoint};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Those that were found, by whether they speak TLS, whether they are the target's own host, and by authority. Path and query of their URLs are those that were asked for first.
#[derive(Default)]
pub(crate) struct HttpPlaces(Mutex<HashMap<(bool, bool, String), Arc<Endpoint>>>);

impl HttpPlaces {
    /// The place of an address; asks the name server once.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) async fn find(&self, address: Address, access: Access<'_>) -> Result<Arc<Endpoint>, String> {
        let key = (address.secure, access.own, address.authority.clone());
        let known = lock(&self.0).get(&key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let place = Arc::new(endpoint::resolve(address, access).await.map_err(|error| error.to_string())?);
        lock(&self.0).insert(key, place.clone());
        Ok(place)
    }
}
