//! When clients begin and when their messages are due: pure functions of shape, count and random stream.
//!
//! Offsets are exact; whoever waits for them rounds only the wake-up, so errors do not add up. `messages` has the due times of sends.

mod messages;
mod stages;

pub use messages::Sends;
pub use stages::{LoadStage, LoadStages, Presence};

use crate::seed::Stream;
use crate::units::Rate;
use std::sync::Arc;
use std::time::Duration;

/// When the clients of a cohort begin their first attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrive {
    /// Evenly over this time.
    Over(Duration),
    /// Evenly at this rate.
    Rate(Rate),
    /// A Poisson process of this rate.
    Poisson(Rate),
    /// All at the start.
    AtOnce,
    /// As many clients as these say are there at a time: they arrive and leave.
    Stages(Arc<LoadStages>),
    /// So many in each second, evenly within it; of other counts the same shape.
    PerSecond(Arc<[u32]>),
}

impl Arrive {
    /// Due offsets of `count` clients, sorted; the first is always 0, because offsets of a run count from the first due arrival.
    ///
    /// `Over(span)`: client i at `i · span / count`, so the span is never reached. `Rate(r)`: client i at `i / r`. `Poisson(r)`: gaps
    /// exponentially distributed with mean `1 / r`. A rate of 0 puts all but the first at [`Duration::MAX`], as do stages and seconds those for
    /// whom there is no room. With stages and seconds the first may come later than 0.
    pub fn due_times(&self, count: u32, stream: &Stream) -> Vec<Duration> {
        self.dues(count, stream.clone()).collect()
    }

    /// As [`Arrive::due_times`], one after the other.
    pub fn dues(&self, count: u32, stream: Stream) -> Box<dyn Iterator<Item = Duration>> {
        match self.clone() {
            Arrive::AtOnce => Box::new(std::iter::repeat_n(Duration::ZERO, count as usize)),
            Arrive::Over(span) => Box::new((0..count).map(move |i| share(span, i, count))),
            Arrive::Rate(rate) => Box::new((0..count).map(move |i| seconds(f64::from(i) / rate.0.max(f64::MIN_POSITIVE)))),
            Arrive::Poisson(rate) => Box::new(poisson(rate, stream).take(count as usize)),
            Arrive::Stages(stages) => Box::new((0..count).map(move |i| {
                let first = stages.presence(stages.place(i, count), Duration::ZERO);
                first.map_or(Duration::MAX, |presence| presence.from)
            })),
            Arrive::PerSecond(counts) => Box::new(by_second(counts, count, self.own_count().unwrap_or(0))),
        }
    }

    /// How many clients the shape has by itself; `None`: it has any number.
    pub fn own_count(&self) -> Option<u64> {
        match self {
            Arrive::Stages(stages) => Some(stages.peak() as u64),
            Arrive::PerSecond(counts) => Some(counts.iter().map(|count| u64::from(*count)).sum()),
            _ => None,
        }
    }

    /// The first time of client `i` of `count` that is not over at `after`; `None` where nobody leaves by this shape, or it does not come again.
    pub fn presence(&self, i: u32, count: u32, after: Duration) -> Option<Presence> {
        let Arrive::Stages(stages) = self else { return None };
        stages.presence(stages.place(i, count), after)
    }
}

/// Due offsets of `count` clients, shared out over seconds in proportion to `counts`.
fn by_second(counts: Arc<[u32]>, count: u32, sum: u64) -> impl Iterator<Item = Duration> {
    let (mut second, mut before) = (0_usize, 0_u64);
    (0..u64::from(count)).map(move |i| {
        // In units of 1/count of an arrival of the file, so that nothing is rounded before the end.
        let place = u128::from(i) * u128::from(sum);
        let unit = u128::from(count);
        loop {
            let Some(here) = counts.get(second) else { return Duration::MAX };
            let within = place - u128::from(before) * unit;
            let all = u128::from(*here) * unit;
            if within < all {
                let ns = within * 1_000_000_000 / all;
                return Duration::from_secs(second as u64) + Duration::from_nanos(u64::try_from(ns).unwrap_or(0));
            }
            before += u64::from(*here);
            second += 1;
        }
    })
}

/// An event at 0, then one after each exponentially distributed gap with mean `1 / rate`: without end, sorted.
pub fn poisson(rate: Rate, mut stream: Stream) -> impl Iterator<Item = Duration> {
    // Summed in seconds: the error of 2⁻⁵³ per step stays below a nanosecond for a million arrivals.
    let mut at = 0.0_f64;
    std::iter::once(Duration::ZERO).chain(std::iter::from_fn(move || {
        at += stream.exponential() / rate.0.max(f64::MIN_POSITIVE);
        Some(seconds(at))
    }))
}

/// Seconds as a duration; what does not fit is [`Duration::MAX`].
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// `i · span / n`, exact to the nanosecond.
fn share(span: Duration, i: u32, n: u32) -> Duration {
    let ns = span.as_nanos() * u128::from(i) / u128::from(n.max(1));
    u64::try_from(ns).map_or(Duration::MAX, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    fn due(arrive: &Arrive, count: u32) -> Vec<u128> {
        arrive.due_times(count, &Seed(7).stream("cohort/web/arrivals")).iter().map(Duration::as_micros).collect()
    }

    #[test]
    fn even_shapes_are_exact() {
        let second = Duration::from_secs(1);
        for (arrive, count, expected) in [
            (Arrive::Over(second), 4, vec![0, 250_000, 500_000, 750_000]),
            (Arrive::Over(second), 3, vec![0, 333_333, 666_666]),
            (Arrive::Over(Duration::ZERO), 2, vec![0, 0]),
            (Arrive::Rate(Rate(2.0)), 3, vec![0, 500_000, 1_000_000]),
            (Arrive::AtOnce, 2, vec![0, 0]),
            (Arrive::AtOnce, 0, vec![]),
        ] {
            assert_eq!(due(&arrive, count), expected, "{arrive:?}");
        }
    }

    #[test]
    fn poisson_arrivals_are_sorted_repeatable_and_have_the_rate() {
        let times = due(&Arrive::Poisson(Rate(100.0)), 10_000);
        assert_eq!(times, due(&Arrive::Poisson(Rate(100.0)), 10_000));
        assert!(times.is_sorted() && times[0] == 0);
        // Mean of the sum of 9,999 gaps is 99.99 s, its standard deviation 1 s.
        assert!((95_000_000..105_000_000).contains(times.last().unwrap()), "{:?}", times.last());
        let short = times.windows(2).filter(|pair| pair[1] - pair[0] < 10_000).count();
        assert!((6000..6650).contains(&short), "1 - 1/e of the gaps are below the mean: {short}");
    }

    #[test]
    fn seconds_of_a_file_are_kept_for_any_number_of_clients() {
        let counts: Arc<[u32]> = [2, 0, 4].into();
        let per_second = Arrive::PerSecond(counts);
        assert_eq!(due(&per_second, 6), [0, 500_000, 2_000_000, 2_250_000, 2_500_000, 2_750_000]);
        assert_eq!(due(&per_second, 3), [0, 2_000_000, 2_500_000]);
        let twice = due(&per_second, 12);
        assert_eq!((twice.iter().filter(|at| **at < 1_000_000).count(), twice.len(), twice[4]), (4, 12, 2_000_000));
        assert_eq!(due(&Arrive::PerSecond([0, 0].into()), 1), [Duration::MAX.as_micros()], "nobody comes");
    }

    proptest::proptest! {
        #[test]
        fn over_is_sorted_and_below_its_span(ms in 1_u64..100_000, count in 1_u32..500) {
            let span = Duration::from_millis(ms);
            let times = Arrive::Over(span).due_times(count, &Seed(1).stream("x"));
            proptest::prop_assert!(times.is_sorted() && times.iter().all(|time| *time < span) && times.len() == count as usize);
        }
    }
}
