//! What an opening handshake costs the embedded server: a connection limit, a token bucket, and one service queue.
//!
//! The queue is busy until a point in time that each handshake moves by its cost. No processor time is burnt, and a late timer does
//! not slow it down: what should have been served by now is served at once.

use crate::plan::{Admit, Embedded, Queue};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

/// How much slower the first handshakes after a start are, with `slow_start`.
const SLOW_START_FACTOR: f64 = 10.0;

/// An opening handshake that is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// HTTP status.
    pub(super) status: u16,
    /// `Retry-After`.
    pub(super) retry_after: Option<Duration>,
}

/// Decides who is served when.
pub(super) struct Admission {
    max_connections: Option<u32>,
    bucket: Option<Mutex<Bucket>>,
    service: Option<Arc<Service>>,
}

impl Admission {
    /// Starts the service queue, where handshakes cost something.
    pub(super) fn start(settings: &Embedded) -> Admission {
        let costs = !settings.handshake_cost.is_zero();
        Admission {
            max_connections: settings.max_connections,
            bucket: settings.admit.map(|admit| Mutex::new(Bucket::new(admit, Instant::now()))),
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
            bucket.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())?;
        }
        if let Some(service) = &self.service {
            service.turn().await;
        }
        Ok(())
    }
}

/// Token bucket.
struct Bucket {
    admit: Admit,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn new(admit: Admit, now: Instant) -> Bucket {
        Bucket { admit, tokens: f64::from(admit.burst), at: now }
    }

    fn take(&mut self, now: Instant) -> Result<(), Refusal> {
        let gained = (now - self.at).as_secs_f64() * self.admit.rate.0;
        self.tokens = (self.tokens + gained).min(f64::from(self.admit.burst));
        self.at = now;
        if self.tokens < 1.0 {
            return Err(Refusal { status: self.admit.reject, retry_after: self.admit.retry_after });
        }
        self.tokens -= 1.0;
        Ok(())
    }
}

/// The service queue.
struct Service {
    waiting: Mutex<VecDeque<(Instant, oneshot::Sender<()>)>>,
    arrived: Notify,
}

impl Service {
    fn start(settings: &Embedded) -> Arc<Service> {
        let service = Arc::new(Service { waiting: Mutex::default(), arrived: Notify::new() });
        let (serving, cost) = (service.clone(), Cost { steady: settings.handshake_cost, slow: settings.slow_start, start: Instant::now() });
        let (servers, order) = (settings.parallel.max(1), settings.queue);
        tokio::spawn(async move { serving.run(cost, servers as usize, order).await });
        service
    }

    async fn turn(&self) {
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back((Instant::now(), sender));
        self.arrived.notify_one();
        // The service never drops a sender without sending.
        let _ = receiver.await;
    }

    fn take(&self, order: Queue) -> Option<(Instant, oneshot::Sender<()>)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match order {
            Queue::Fifo => waiting.pop_front(),
            Queue::Lifo => waiting.pop_back(),
        }
    }

    async fn run(&self, cost: Cost, servers: usize, order: Queue) {
        let mut free = vec![Instant::now(); servers];
        loop {
            let Some((arrived, sender)) = self.take(order) else {
                self.arrived.notified().await;
                continue;
            };
            let next = (0..servers).min_by_key(|server| free[*server]).unwrap_or(0);
            let begin = free[next].max(arrived);
            free[next] = begin + cost.at(begin);
            if free[next] > Instant::now() {
                sleep_until(free[next]).await;
            }
            // A client that is gone was served all the same.
            let _ = sender.send(());
        }
    }
}

struct Cost {
    steady: Duration,
    slow: Option<Duration>,
    start: Instant,
}

impl Cost {
    fn at(&self, now: Instant) -> Duration {
        let age = now.saturating_duration_since(self.start);
        match self.slow {
            Some(slow) if age < slow => {
                let done = age.as_secs_f64() / slow.as_secs_f64();
                self.steady.mul_f64(SLOW_START_FACTOR - (SLOW_START_FACTOR - 1.0) * done)
            }
            _ => self.steady,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Balance, Embedded};
    use crate::units::Rate;

    fn settings(cost: Duration) -> Embedded {
        Embedded {
            instances: 1,
            processes: None,
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

    #[tokio::test(start_paused = true)]
    async fn the_bucket_refuses_with_its_status_and_refills() {
        let admit = Admit { rate: Rate(10.0), burst: 2, reject: 429, retry_after: Some(Duration::from_secs(3)) };
        let mut bucket = Bucket::new(admit, Instant::now());
        let now = Instant::now();
        assert!(bucket.take(now).is_ok() && bucket.take(now).is_ok());
        assert_eq!(bucket.take(now), Err(Refusal { status: 429, retry_after: Some(Duration::from_secs(3)) }));
        assert!(bucket.take(now + Duration::from_millis(100)).is_ok());
    }

    #[tokio::test]
    async fn connections_over_the_limit_are_refused() {
        let admission = Admission::start(&Embedded { max_connections: Some(2), ..settings(Duration::ZERO) });
        assert!(admission.admit(1).await.is_ok());
        assert_eq!(admission.admit(2).await.map_err(|refusal| refusal.status), Err(503));
    }
}
