//! Starts that fail or are given up: the guard and what it has started are ended before anybody goes on.

use crate::sut::command::handle::Guard;
use std::io::{self, Write as _};

/// What comes of `doing`, unless it is given up first; `give_up` resolves with why.
///
/// # Errors
/// Those of `doing`, or why it was given up.
pub(crate) async fn unless<T, W, E: From<W>>(give_up: impl Future<Output = W>, doing: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    tokio::select! {
        // It may take long, and who gives it up waits.
        biased;
        why = give_up => Err(why.into()),
        done = doing => done,
    }
}

/// What comes of a start by this guard. Where there is nothing that could be ended later, the guard has ended when this returns, and so has all that it
/// started: a guard that stands still does not end by itself when its last handle is dropped.
///
/// # Errors
/// Those of `start`.
pub(crate) async fn guarded<T, E>(guard: &Guard, start: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let started = start.await;
    if started.is_err() {
        end(guard).await;
    }
    started
}

/// Ends a guard and all that it has started, and waits for it; says on stderr if it does not end.
pub(crate) async fn end(guard: &Guard) {
    if let Err(error) = guard.shutdown().await {
        // Nobody to tell where stderr is closed.
        let _ = writeln!(io::stderr(), "closestorm: {error}");
    }
}
