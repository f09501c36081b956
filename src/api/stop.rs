//! How a run is ended early.

use std::sync::Arc;
use tokio::sync::watch;

/// Ends a run or a simulation early, from another task or thread.
///
/// The outcome has what was measured so far; `status` of its summary is `aborted`. Clones are the same handle.
#[derive(Clone, Debug)]
pub struct StopHandle(Arc<watch::Sender<bool>>);

impl Default for StopHandle {
    fn default() -> Self {
        StopHandle(Arc::new(watch::Sender::new(false)))
    }
}

impl StopHandle {
    /// Stops every run that was given this handle; one that has not begun ends with [`Error::Stopped`](super::Error::Stopped). Calling it again has no effect.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Whether [`stop`](StopHandle::stop) was called.
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    pub(crate) async fn stopped(&self) {
        // The sender is ours: it cannot be gone.
        let _ = self.0.subscribe().wait_for(|stopped| *stopped).await;
    }
}
