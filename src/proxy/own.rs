//! What the control API does to connections and faults, beyond Toxiproxy's proxies and toxics.

use crate::proxy::api::own::{ConnectionEnd, connection_json};
use crate::proxy::api::wire::ApiError;
use crate::proxy::connection::{Order, Speech};
use crate::proxy::faults::words::{self, FaultScope};
use crate::proxy::proxies::{Proxies, find};
use crate::scenario::{Source, proxied_faults};
use serde_json::Value;
use std::path::Path;

impl Proxies {
    /// All open connections, with live counters.
    pub(crate) async fn connections(&self) -> Value {
        let named = self.named.lock().await;
        let listeners = named.values().filter_map(|proxy| proxy.listener.as_ref());
        let all = listeners.flat_map(|listener| {
            listener.connections(|connection, toxics| connection_json(connection, toxics, &self.faults.names(&connection.held())))
        });
        all.collect()
    }

    /// One of them.
    pub(crate) async fn connection(&self, name: &str, id: &str) -> Result<Value, ApiError> {
        let named = self.named.lock().await;
        let listener = find(&named, name)?.listener.as_ref().ok_or_else(no_connection)?;
        let id: u64 = id.parse().map_err(|_| no_connection())?;
        let all = listener.connections(|connection, toxics| {
            (connection.id == id).then(|| connection_json(connection, toxics, &self.faults.names(&connection.held())))
        });
        all.into_iter().flatten().next().ok_or_else(no_connection)
    }

    /// Ends one; returns when that was done, or its Close frames are on their way.
    pub(crate) async fn end_connection(&self, name: &str, id: &str, how: ConnectionEnd) -> Result<(), ApiError> {
        let named = self.named.lock().await;
        let listener = find(&named, name)?.listener.as_ref().ok_or_else(no_connection)?;
        let id = id.parse().map_err(|_| no_connection())?;
        let order = match how {
            ConnectionEnd::Tcp(end) => Order::End(end),
            ConnectionEnd::Close(code, reason) => {
                let speech = listener.speech(id).ok_or_else(no_connection)?;
                if speech != Speech::WebSocket {
                    return Err(ApiError::new(
                        409,
                        "connection is no open WebSocket that the proxy can read: it can be ended by end=fin or end=rst",
                    ));
                }
                Order::Close(code, reason)
            }
        };
        if listener.order(id, order).await { Ok(()) } else { Err(no_connection()) }
    }

    /// Adds the faults of a scenario; how many. Their times count from now.
    ///
    /// # Errors
    /// What is wrong with the scenario, or why a proxy cannot carry one of them out.
    pub async fn load_faults(&self, file: &Path) -> Result<usize, String> {
        let faults = proxied_faults(&Source::File(file.to_owned())).map_err(|errors| errors.to_string())?;
        for fault in &faults {
            words::check(fault, &FaultScope::default()).map_err(|why| format!("fault {}: {why}", fault.name))?;
        }
        let count = faults.len();
        for fault in faults {
            self.faults.add(fault, FaultScope::default(), true).await.map_err(|(_, why)| why)?;
        }
        Ok(count)
    }

    /// All faults.
    pub(crate) fn faults(&self) -> Value {
        self.faults.list(None).into()
    }

    /// One of them.
    pub(crate) fn fault(&self, name: &str) -> Result<Value, ApiError> {
        self.faults.list(Some(name)).pop().ok_or_else(no_fault)
    }

    /// Adds a fault; returns when it holds, if it is due now.
    pub(crate) async fn add_fault(&self, value: Value) -> Result<Value, ApiError> {
        self.put_fault(None, value).await
    }

    /// Changes a fault: what it did is taken back, and it begins anew with the fields that are given.
    pub(crate) async fn change_fault(&self, name: &str, changes: Value) -> Result<Value, ApiError> {
        let Value::Object(changes) = changes else { return Err(ApiError::new(400, "a fault is an object")) };
        let fields = words::changed(self.faults.words(name).ok_or_else(no_fault)?, changes);
        self.put_fault(Some(name), fields.into()).await
    }

    /// Adds a fault, or puts it in the place of one.
    async fn put_fault(&self, old: Option<&str>, value: Value) -> Result<Value, ApiError> {
        let named = value.get("name").is_some_and(|name| !name.is_null());
        let (fault, scope) = words::read(value).map_err(|why| ApiError::new(400, why))?;
        if let Some(proxy) = &scope.proxy {
            find(&*self.named.lock().await, proxy)?;
        }
        let put = match old {
            None => self.faults.add(fault, scope, named).await,
            Some(old) => self.faults.replace(old, fault, scope, named).await,
        };
        let put = put.map_err(|(status, why)| ApiError::new(status, why))?;
        let name = put.get("name").and_then(Value::as_str).unwrap_or_default();
        // It may have been removed by another request meanwhile.
        self.fault(name).or(Ok(put.into()))
    }

    /// Removes a fault; returns when it holds nowhere any more.
    pub(crate) async fn delete_fault(&self, name: &str) -> Result<(), ApiError> {
        if self.faults.remove(name).await { Ok(()) } else { Err(no_fault()) }
    }
}

fn no_connection() -> ApiError {
    ApiError::new(404, "connection not found")
}

fn no_fault() -> ApiError {
    ApiError::new(404, "fault not found")
}
