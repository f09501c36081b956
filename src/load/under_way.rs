//! What is being done to server processes: what is not done when the run ends was not carried out, and is told.

use crate::lock::lock;
use crate::plan::Firing;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// What began later than this before the end of the run is cut by the end and not by a failure: signals and starts take a moment.
const CUT: Duration = Duration::from_secs(1);

/// A firing, and the instance.
type Which = (Firing, u16);

/// What is being done to server processes.
#[derive(Debug, Default)]
pub(crate) struct UnderWayFirings(Mutex<BTreeMap<Which, (&'static str, Duration)>>);

/// One thing being done.
pub(crate) struct Doing<'a> {
    of: &'a UnderWayFirings,
    which: Which,
}

impl UnderWayFirings {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Which, (&'static str, Duration)>> {
        lock(&self.0)
    }

    /// Something begins at `now`; `unless`: what has happened if it does not come to its end.
    pub(crate) fn begin(&self, which: Which, unless: &'static str, now: Duration) -> Doing<'_> {
        self.all().insert(which, (unless, now));
        Doing { of: self, which }
    }

    /// What is not done at the end of the run, and why.
    pub(crate) fn left(&self, end: Duration) -> Vec<(Firing, String)> {
        let all = self.all();
        let left = all.iter().filter(|(_, (_, begun))| *begun + CUT <= end);
        left.map(|((firing, instance), (unless, _))| (*firing, format!("instance {instance}: {unless}"))).collect()
    }
}

impl Doing<'_> {
    /// Does it.
    pub(crate) async fn by<T>(self, work: impl Future<Output = T>) -> T {
        let done = work.await;
        self.of.all().remove(&self.which);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_hangs_is_left_and_what_is_done_or_has_just_begun_is_not() {
        let under_way = UnderWayFirings::default();
        let (at, of) = (Duration::from_secs, |fault| Firing { fault, number: 2 });
        under_way.begin((of(0), 1), "it was not killed", at(1)).by(async {}).await;
        let hanging = under_way.begin((of(1), 3), "it was not paused", at(2)).by(std::future::pending::<()>());
        assert!(tokio::time::timeout(at(5), hanging).await.is_err());
        let _late = under_way.begin((of(2), 0), "it did not start again", at(9));
        assert_eq!(under_way.left(at(10) - Duration::from_millis(1)), [(of(1), "instance 3: it was not paused".to_owned())]);
    }
}
