//! Connections behind paths that faults of the servers' side have made dead: see `deafen`.

use crate::lock::lock;
use crate::plan::Firing;
use crate::ws::handshake::own_headers::Id;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

/// Connections whose server throws away what it sends, and the firings that make it.
#[derive(Debug, Default)]
pub(crate) struct DeadPaths(Mutex<BTreeMap<Id, BTreeSet<Firing>>>);

impl DeadPaths {
    pub(super) fn all(&self) -> MutexGuard<'_, BTreeMap<Id, BTreeSet<Firing>>> {
        lock(&self.0)
    }
}
