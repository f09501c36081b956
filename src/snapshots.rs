//! The stream of a run's state: a snapshot each interval, to whoever subscribes.
//!
//! Nobody who reads it can slow the run down. The stream keeps the last few snapshots (`KEPT`); a reader that has fallen further behind loses those
//! in between, and is told how many. Without a reader nothing is computed.

use crate::metrics::{Rates, Snapshot};
use std::time::Duration;
use tokio::sync::broadcast::{self, error::RecvError};

/// Snapshots that a reader may be behind without losing one.
const KEPT: usize = 16;

/// A snapshot of a running scenario, as a [`Subscription`] delivers it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update {
    /// Time since the start of the run.
    pub at: Duration,
    /// State of the run at that time.
    pub state: Snapshot,
    /// Mean rates since the previous snapshot, even if this reader missed that one.
    pub rates: Rates,
    /// Number of snapshots that this reader missed just before this one; 0 for a fast reader.
    pub missed: u64,
}

/// Publishes live snapshots of a run. Subscriptions end when it is dropped, which is when the run has ended.
#[derive(Debug)]
pub struct Publisher {
    updates: broadcast::Sender<Update>,
    last: (Duration, Snapshot),
}

/// Subscribes to a [`Publisher`] from elsewhere, and does not keep it alive.
#[derive(Clone, Debug)]
pub struct Subscriber(broadcast::WeakSender<Update>);

/// Receives snapshots, from the first one published after subscribing.
#[derive(Debug)]
pub struct Subscription(broadcast::Receiver<Update>);

impl Default for Publisher {
    fn default() -> Publisher {
        Publisher { updates: broadcast::Sender::new(KEPT), last: Default::default() }
    }
}

impl Publisher {
    /// Adds a subscriber; it receives all snapshots published from now on.
    pub fn subscribe(&self) -> Subscription {
        Subscription(self.updates.subscribe())
    }

    /// What subscribes from elsewhere.
    pub fn subscriber(&self) -> Subscriber {
        Subscriber(self.updates.downgrade())
    }

    /// Publishes the state at offset `at`; it is not asked for where nobody reads.
    pub fn publish(&mut self, at: Duration, state: impl FnOnce() -> Snapshot) {
        if self.updates.receiver_count() == 0 {
            return;
        }
        let state = state();
        let (before_at, before) = &self.last;
        let rates = state.rates(before, at.saturating_sub(*before_at));
        self.last = (at, state.clone());
        // A reader that has gone in this moment misses nothing.
        let _ = self.updates.send(Update { at, state, rates, missed: 0 });
    }
}

impl Subscriber {
    /// Adds a subscriber; it receives all snapshots published from now on, and none after the end of the run.
    pub fn subscribe(&self) -> Subscription {
        let over = || broadcast::Sender::new(1).subscribe();
        Subscription(self.0.upgrade().map_or_else(over, |updates| updates.subscribe()))
    }
}

impl Subscription {
    /// Waits for the next snapshot; `None` after the last one.
    pub async fn next(&mut self) -> Option<Update> {
        let mut missed = 0;
        loop {
            match self.0.recv().await {
                Ok(update) => return Some(Update { missed, ..update }),
                Err(RecvError::Lagged(more)) => missed += more,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Like [`Subscription::next`], but blocks the thread.
    ///
    /// # Panics
    /// Within a runtime.
    pub fn wait(&mut self) -> Option<Update> {
        let mut missed = 0;
        loop {
            match self.0.blocking_recv() {
                Ok(update) => return Some(Update { missed, ..update }),
                Err(RecvError::Lagged(more)) => missed += more,
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(publisher: &mut Publisher, seconds: std::ops::Range<u64>) {
        for second in seconds {
            publisher.publish(Duration::from_secs(second), || Snapshot { sent: second * 10, ..Snapshot::default() });
        }
    }

    #[test]
    fn a_slow_reader_loses_what_is_in_between_and_knows_how_much() {
        let mut publisher = Publisher::default();
        let (mut quick, mut slow) = (publisher.subscribe(), publisher.subscribe());
        publish(&mut publisher, 0..1);
        for second in 1..100 {
            assert_eq!(quick.wait().map(|update| (update.at.as_secs(), update.missed)), Some((second - 1, 0)));
            publish(&mut publisher, second..second + 1);
        }
        drop(publisher);
        let updates: Vec<_> = std::iter::from_fn(|| slow.wait()).collect();
        assert_eq!(updates.len(), KEPT, "the newest");
        assert_eq!(updates.iter().map(|update| update.missed).collect::<Vec<_>>(), [&[100 - KEPT as u64][..], &[0; KEPT - 1]].concat());
        let last = &updates[KEPT - 1];
        assert_eq!((last.at.as_secs(), last.state.sent, last.rates.sent), (99, 990, 10.0));
        assert_eq!((quick.wait().map(|update| update.missed), quick.wait()), (Some(0), None), "and then the end");
    }

    #[tokio::test]
    async fn readers_come_and_go_and_without_one_nothing_is_asked() {
        let mut publisher = Publisher::default();
        publisher.publish(Duration::ZERO, || panic!("nobody reads"));
        let mut first = publisher.subscribe();
        publish(&mut publisher, 1..2);
        let mut second = publisher.subscribe();
        publish(&mut publisher, 2..3);
        assert_eq!(first.next().await.map(|update| update.at.as_secs()), Some(1));
        assert_eq!(second.next().await.map(|update| update.at.as_secs()), Some(2), "from the next one on");
        drop((first, second));
        publisher.publish(Duration::from_secs(3), || panic!("nobody reads"));
    }
}
