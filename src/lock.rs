//! The one way in which this program takes a lock.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits for the lock of `mutex`. Do not hold it across an `await`.
///
/// A thread that panicked with the lock held does not make the value unusable: each change under a lock leaves a whole value behind, the
/// panic itself is counted and shown, and the other clients of a run go on.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
