//! A runtime on a thread of its own, for servers that live beside a test in any runtime, or in none.

use crate::api::error::Error;
use std::sync::mpsc;
use std::thread::JoinHandle;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The thread; dropped, it ends with all its tasks.
#[derive(Debug)]
pub(crate) struct Background {
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    pub(crate) fn start(name: &str) -> Result<Background, Error> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::failed)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let serve = move || drop(runtime.block_on(stopped));
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(serve).map_err(Error::failed)?;
        Ok(Background { runtime: handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Does this on that thread, and waits for it: for what takes a moment.
    pub(crate) fn wait_for<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, Error> {
        let (tell, done) = mpsc::channel();
        self.runtime.spawn(async move { tell.send(work.await) });
        done.recv().map_err(Error::failed)
    }

    /// Begins this on that thread.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // The thread waits for nothing else, and its end is that of its sockets.
        drop(self.stop.take());
        self.thread.take().map(JoinHandle::join);
    }
}
