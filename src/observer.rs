//! Who watches a run: whatever takes its events one by one, as they happen.
//!
//! The recorder of `metrics` is the first observer of every run. Which ones there are is known when the program is compiled, so an event costs a
//! call for each and nothing more. Who needs a look at the run now and then, and not each event, subscribes to the stream in `snapshots`.

use crate::event::Event;
use std::time::Duration;

/// Takes the events of a run.
pub trait Observer {
    /// Takes an event that happened at offset `at`. Events of one client come in their order; evidence of a server may be late.
    fn on(&mut self, at: Duration, event: &Event);
}

/// Nobody.
impl Observer for () {
    #[inline(always)]
    fn on(&mut self, _: Duration, _: &Event) {}
}

/// Both, the first one first.
impl<A: Observer, B: Observer> Observer for (A, B) {
    #[inline(always)]
    fn on(&mut self, at: Duration, event: &Event) {
        self.0.on(at, event);
        self.1.on(at, event);
    }
}

/// Nobody where there is `None`.
impl<O: Observer> Observer for Option<O> {
    #[inline(always)]
    fn on(&mut self, at: Duration, event: &Event) {
        if let Some(observer) = self {
            observer.on(at, event);
        }
    }
}

/// All events, in the order in which they came.
impl Observer for Vec<(Duration, Event)> {
    fn on(&mut self, at: Duration, event: &Event) {
        self.push((at, event.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_observer_takes_each_event_once() {
        let mut all = ((), (Some(Vec::new()), (None::<Vec<(Duration, Event)>>, Vec::new())));
        let events: Vec<_> = ["a", "b"].map(|text| Event::Notice { text: text.to_owned() }).into();
        for (at, event) in (0..).map(Duration::from_secs).zip(&events) {
            all.on(at, event);
        }
        let expected: Vec<_> = (0..).map(Duration::from_secs).zip(events).collect();
        assert_eq!((all.1.0, all.1.1), (Some(expected.clone()), (None, expected)));
    }

    #[test]
    fn watching_by_nobody_takes_no_room() {
        assert_eq!(size_of::<(u64, ())>(), size_of::<u64>());
    }
}
