//! What an opening handshake costs the embedded server: a connection limit, a token bucket, and one service queue.
//!
//! The queue is busy until a point in time that each handshake moves by its cost. No processor time is burnt, and a late timer does
//! not slow it down: what should have been served by now is served at once. `plan::admission` decides, this waits.

use crate::lock::lock;
use crate::plan::{Bucket, Embedded, Refusal, ServiceQueue};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

/// Decides who is served when.
pub(crate) struct Admission {
    max_connections: Option<u32>,
    /// Connections that are open, or were let into the service queue and will be.
    seats: Arc<AtomicU32>,
    bucket: Option<Mutex<Bucket>>,
    started: Instant,
    service: Option<Arc<ServiceGate>>,
    /// The task that serves.
    serving: Option<AbortHandle>,
}

impl Admission {
    /// Starts the service queue, where handshakes cost something.
    pub(crate) fn start(settings: &Embedded) -> Admission {
        let costs = !settings.handshake_cost.is_zero();
        let (service, serving) = costs.then(|| ServiceGate::start(settings)).unzip();
        Admission {
            max_connections: settings.max_connections,
            seats: Arc::default(),
            bucket: settings.admit.map(|admit| Mutex::new(Bucket::new(admit, Duration::ZERO))),
            started: Instant::now(),
            service,
            serving,
        }
    }

    /// Waits for this handshake's turn. Its seat is taken before, or all that wait at once would find room.
    ///
    /// # Errors
    /// If it is refused instead.
    pub(crate) async fn admit(&self) -> Result<Seat, Refusal> {
        let seat = self.seat().ok_or(Refusal::FULL)?;
        if let Some(bucket) = &self.bucket {
            lock(bucket).take(self.started.elapsed())?;
        }
        if let Some(service) = &self.service {
            service.turn().await;
        }
        Ok(seat)
    }

    /// The process is about to stand still, and its service with it: it is no processor time that passes meanwhile.
    pub(crate) fn stand_still(&self) {
        if let Some(service) = &self.service {
            let now = service.started.elapsed();
            service.queue().still.get_or_insert(now);
        }
    }

    /// The process goes on.
    pub(crate) fn go_on(&self) {
        if let Some(service) = &self.service {
            service.queue().go_on(service.started.elapsed(), service.cost);
            service.arrived.notify_one();
        }
    }

    fn seat(&self) -> Option<Seat> {
        let most = self.max_connections.unwrap_or(u32::MAX);
        let one_more = |taken: u32| taken.checked_add(1).filter(|taken| *taken <= most);
        self.seats.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Seat(self.seats.clone()))
    }
}

/// One of `max_connections`; free again when dropped.
pub(crate) struct Seat(Arc<AtomicU32>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        // In a process of its own the task would end with it.
        self.serving.iter().for_each(AbortHandle::abort);
    }
}

/// The service queue.
struct ServiceGate {
    queue: Mutex<WaitingRoom>,
    cost: Duration,
    started: Instant,
    arrived: Notify,
}

/// Those who wait, and those who are served.
struct WaitingRoom {
    line: ServiceQueue<oneshot::Sender<()>>,
    /// Since when the server stands still, since its start; those who are done later are not served.
    still: Option<Duration>,
    /// When each is done, since the start of the server, and whom to tell; in that order, as many as there are places.
    served: VecDeque<(Duration, oneshot::Sender<()>)>,
    places: usize,
}

impl WaitingRoom {
    /// Idle places take those that wait. Whether somebody is now done before all that were served already.
    fn take_next(&mut self, cost: Duration) -> bool {
        if self.still.is_some() {
            return false;
        }
        let first = self.first();
        while self.served.len() < self.places
            && let Some((arrived, sender)) = self.line.take_next()
        {
            let (_, done) = self.line.serve(arrived, cost);
            let place = self.served.partition_point(|(other, _)| *other <= done);
            self.served.insert(place, (done, sender));
        }
        self.first() != first
    }

    /// When the first is done.
    fn first(&self) -> Option<Duration> {
        let done = self.served.front().map(|(done, _)| *done);
        done.filter(|done| self.still.is_none_or(|still| *done <= still))
    }

    /// The server goes on at `now`: whoever was being served is done so much later.
    fn go_on(&mut self, now: Duration, cost: Duration) {
        let Some(still) = self.still.take() else { return };
        let by = now.saturating_sub(still);
        self.line.delay(still, by);
        self.served.iter_mut().filter(|(done, _)| *done > still).for_each(|(done, _)| *done = done.saturating_add(by));
        self.take_next(cost);
    }
}

impl ServiceGate {
    fn start(settings: &Embedded) -> (Arc<ServiceGate>, AbortHandle) {
        let line = ServiceQueue::new(settings.queue, settings.parallel, settings.slow_start, Duration::ZERO);
        let (cost, started) = (settings.handshake_cost, Instant::now());
        let service = Arc::new(ServiceGate {
            queue: Mutex::new(WaitingRoom { line, still: None, served: VecDeque::new(), places: settings.parallel.max(1) as usize }),
            cost,
            started,
            arrived: Notify::new(),
        });
        let serving = service.clone();
        let task = tokio::spawn(async move { serving.run().await });
        (service, task.abort_handle())
    }

    fn queue(&self) -> MutexGuard<'_, WaitingRoom> {
        lock(&self.queue)
    }

    async fn turn(&self) {
        let (sender, receiver) = oneshot::channel();
        let sooner = {
            let mut queue = self.queue();
            queue.line.join(self.started.elapsed(), sender);
            // At once, and not when the serving task runs: others may have come by then, and the last one would be first in `lifo`.
            queue.take_next(self.cost)
        };
        if sooner {
            self.arrived.notify_one();
        }
        // The service never drops a sender without sending.
        let _ = receiver.await;
    }

    async fn run(&self) {
        loop {
            let done = self.queue().first().map(|done| self.started + done);
            match done {
                None => self.arrived.notified().await,
                // Either way the next look is at who is first then.
                Some(done) if done > Instant::now() => drop(timeout_at(done, self.arrived.notified()).await),
                Some(_) => {
                    let mut queue = self.queue();
                    let served = queue.served.pop_front();
                    queue.take_next(self.cost);
                    drop(queue);
                    // A client that is gone was served all the same.
                    served.map(|(_, sender)| sender.send(()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Balance, Embedded, QueueOrder};

    fn settings(cost: Duration) -> Embedded {
        Embedded {
            resume: true,
            instances: 1,
            processes: None,
            balance: Balance::RoundRobin,
            handshake_cost: cost,
            parallel: 1,
            backlog: 16,
            max_connections: None,
            admit: None,
            queue: QueueOrder::Fifo,
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
                    async move { admission.admit().await.map(drop) }
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
    async fn places_are_filled_as_soon_as_they_are_free_in_either_order() {
        const MS: fn(u64) -> Duration = Duration::from_millis;
        for (queue, expected) in [(QueueOrder::Fifo, [55, 65, 75, 110, 120, 130]), (QueueOrder::Lifo, [55, 65, 75, 130, 120, 110])] {
            let admission = Arc::new(Admission::start(&Embedded { parallel: 3, queue, ..settings(MS(55)) }));
            let begun = Instant::now();
            let tasks: Vec<_> = (0..6)
                .map(|number| {
                    let admission = admission.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(MS(10 * number)).await;
                        admission.admit().await.expect("admitted");
                        begun.elapsed()
                    })
                })
                .collect();
            for (task, expected) in tasks.into_iter().zip(expected) {
                assert_eq!(task.await.expect("no panic"), MS(expected), "{queue:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stands_still_serves_nobody_meanwhile() {
        const MS: fn(u64) -> Duration = Duration::from_millis;
        let admission = Arc::new(Admission::start(&settings(MS(50))));
        let begun = Instant::now();
        // The third is there while it stands still, from 70 to 1,070 ms.
        let tasks: Vec<_> = [0, 10, 500]
            .map(|arrives| {
                let admission = admission.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(MS(arrives)).await;
                    admission.admit().await.expect("admitted");
                    begun.elapsed()
                })
            })
            .into();
        tokio::time::sleep(MS(70)).await;
        admission.stand_still();
        tokio::time::sleep(MS(1000)).await;
        admission.go_on();
        for (task, expected) in tasks.into_iter().zip([50, 1100, 1150]) {
            assert_eq!(task.await.expect("no panic"), MS(expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_of_connections_counts_those_that_wait_to_be_served() {
        let settings = Embedded { max_connections: Some(2), ..settings(Duration::from_millis(10)) };
        let admission = Admission::start(&settings);
        let together = futures_util::future::join_all((0..5).map(|_| admission.admit())).await;
        assert_eq!(together.iter().filter(|admitted| admitted.is_ok()).count(), 2);
        assert_eq!(admission.admit().await.err(), Some(Refusal::FULL));
        drop(together);
        assert!(admission.admit().await.is_ok(), "their seats are free again");
    }
}
