//! The signals that end a run: the first one stops it, a second one leaves at once, whatever closestorm is doing then.
//!
//! A thread of its own listens, so that they are heard while the run waits for its target, measures, and writes its files.

use std::io;
use std::thread;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// The exit code of the first signal, once there was one.
#[derive(Clone, Debug)]
pub(super) struct Stop(watch::Receiver<Option<u8>>);

impl Stop {
    /// Listens for SIGHUP, SIGINT and SIGTERM until the process ends. Also sees to it that a file that grows beyond the limit of the
    /// shell (`ulimit -f`) is an error of that write, instead of the end of the process by SIGXFSZ.
    ///
    /// # Errors
    /// The machine has no thread, pipe or handler left.
    pub(super) fn listen() -> io::Result<Stop> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (sender, receiver) = watch::channel(None);
        let mut signals = {
            let _inside = runtime.enter();
            // The handler stays when its stream is gone.
            drop(signal(SignalKind::from_raw(nix::sys::signal::Signal::SIGXFSZ as i32))?);
            Signals::new()?
        };
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                let first = signals.next().await;
                sender.send_replace(Some(first));
                let second = signals.next().await;
                super::dashboard::restore();
                // The guard ends the servers when this process is gone.
                std::process::exit(second.into());
            });
        })?;
        Ok(Stop(receiver))
    }

    /// Waits for the first signal.
    pub(super) async fn stopped(mut self) {
        if self.0.wait_for(Option::is_some).await.is_err() {
            // The listening thread is gone, and with it every signal.
            std::future::pending().await
        }
    }

    /// Exit code of the first signal: 128 and its number; `None` if there was none.
    pub(super) fn code(&self) -> Option<u8> {
        *self.0.borrow()
    }
}

struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
    /// A shell lets the stopped process go on.
    resume: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            resume: signal(SignalKind::from_raw(nix::sys::signal::Signal::SIGCONT as i32))?,
        })
    }

    /// Exit code of the next one that ends a run.
    async fn next(&mut self) -> u8 {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => return 129,
                _ = self.interrupt.recv() => return 130,
                _ = self.terminate.recv() => return 143,
                _ = self.resume.recv() => super::dashboard::resumed(),
            }
        }
    }
}
