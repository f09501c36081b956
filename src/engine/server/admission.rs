//! What an opening handshake costs the embedded server: a connection limit, a token bucket, and one service queue.
//!
//! The queue is busy until a point in time that each handshake moves by its cost. No processor time is burnt, and a late timer does
//! not slow it down: what should have been served by now is served at once. `plan::admission` decides, this waits.

use crate::plan::{Bucket, Embedded, Line, Refusal};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

/// Decides who is served when.
pub(super) struct Admission {
    max_connections: Option<u32>,
    bucket: Option<Mutex<Bucket>>,
    started: Instant,
    service: Option<Arc<Service>>,
}

impl Admission {
    /// Starts the service queue, where handshakes cost something.
    pub(super) fn start(settings: &Embedded) -> Admission {
        let costs = !settings.handshake_cost.is_zero();
        Admission {
            max_connections: settings.max_connections,
            bucket: settings.admit.map(|admit| Mutex::new(Bucket::new(admit, Duration::ZERO))),
            started: Instant::now(),
            service: costs.then(|| Service::start(settings)),
        }
    }

    /// Waits for this handshake's turn.
    ///
    /// # Errors
    /// If it is refused instead.
    pub(super) async fn admit(&self, open: u32) -> Result<(), Refusal> {
        if self.max_connections.is_some_and(|max| open >= max) {
            return Err(Refusal { status: 503, retry_after: None });
        }
        if let Some(bucket) = &self.bucket {
            bucket.lock().unwrap_or_else(PoisonError::into_inner).take(self.started.elapsed())?;
        }
        if let Some(service) = &self.service {
            service.turn().await;
        }
        Ok(())
    }
}

/// The service queue.
struct Service {
    line: Mutex<Line<oneshot::Sender<()>>>,
    cost: Duration,
    started: Instant,
    arrived: Notify,
}

impl Service {
    fn start(settings: &Embedded) -> Arc<Service> {
        let line = Line::new(settings.queue, settings.parallel, settings.slow_start, Duration::ZERO);
        let (cost, started) = (settings.handshake_cost, Instant::now());
        let service = Arc::new(Service { line: Mutex::new(line), cost, started, arrived: Notify::new() });
        let serving = service.clone();
        tokio::spawn(async move { serving.run().await });
        service
    }

    fn line(&self) -> MutexGuard<'_, Line<oneshot::Sender<()>>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn turn(&self) {
        let (sender, receiver) = oneshot::channel();
        self.line().join(self.started.elapsed(), sender);
        self.arrived.notify_one();
        // The service never drops a sender without sending.
        let _ = receiver.await;
    }

    /// Takes the next one: when it is done, and whom to tell.
    fn serve(&self) -> Option<(Instant, oneshot::Sender<()>)> {
        let mut line = self.line();
        let (arrived, sender) = line.take_next()?;
        let (_, done) = line.serve(arrived, self.cost);
        Some((self.started + done, sender))
    }

    async fn run(&self) {
        loop {
            let Some((done, sender)) = self.serve() else {
                self.arrived.notified().await;
                continue;
            };
            if done > Instant::now() {
                sleep_until(done).await;
            }
            // A client that is gone was served all the same.
            let _ = sender.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Balance, Embedded, Queue};

    fn settings(cost: Duration) -> Embedded {
        Embedded {
            instances: 1,
            balance: Balance::RoundRobin,
            handshake_cost: cost,
            parallel: 1,
            backlog: 16,
            max_connections: None,
            admit: None,
            queue: Queue::Fifo,
            slow_start: None,
            tls: false,
            ping: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn late_timers_do_not_slow_the_service_queue() {
        let admission = Arc::new(Admission::start(&settings(Duration::from_micros(500))));
        let begun = Instant::now();
        let tasks: Vec<_> = (0..1000)
            .map(|_| {
                tokio::spawn({
                    let admission = admission.clone();
                    async move { admission.admit(0).await }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic").expect("admitted");
        }
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(500) && took <= Duration::from_millis(502), "{took:?}");
    }

    #[tokio::test]
    async fn connections_over_the_limit_are_refused() {
        let admission = Admission::start(&Embedded { max_connections: Some(2), ..settings(Duration::ZERO) });
        assert!(admission.admit(1).await.is_ok());
        assert_eq!(admission.admit(2).await.map_err(|refusal| refusal.status), Err(503));
    }
}
