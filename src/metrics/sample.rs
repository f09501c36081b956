//! A bounded, uniform, seeded sample of a stream: reservoir sampling.
//!
//! How many items are passed over until the next one is kept is drawn, not whether each is kept: of many millions few cost a draw.
//! Source: Li, "Reservoir-Sampling Algorithms of Time Complexity O(n(1 + log(N/n)))" (1994), algorithm L.

use crate::seed::{Seed, Stream};

use serde::{Deserialize, Serialize};

/// Items that are put in their places together.
const TOGETHER: usize = 128;

/// From so many items on there is room for all that will be kept, up to so many: memory that is not used yet costs nothing, and a vector
/// that doubles is copied, late in a run, and needs three times its size meanwhile.
const ROOM: std::ops::RangeInclusive<usize> = 4_096..=1 << 17;

/// No sample is larger.
const MOST_KEPT: usize = 1 << 25;

/// At most `limit` items of a stream, each equally likely.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample<T> {
    limit: usize,
    seen: u64,
    kept: Vec<T>,
    /// Items that will replace kept ones, with the place of each: many together, because each place is a wait for memory.
    #[serde(skip, default = "Vec::new")]
    fresh: Vec<(usize, T)>,
    /// Number of the item that is kept next, once there are `limit`.
    #[serde(skip)]
    next: u64,
    /// The largest of `limit` uniform numbers that the kept items may be thought to have.
    #[serde(skip)]
    largest: f64,
    #[serde(skip, default = "for_addition")]
    random: Stream,
}

/// A sample that came from elsewhere takes no more items, but may have to be thinned out.
fn for_addition() -> Stream {
    Seed(0).stream("metrics/addition")
}

impl<T> Sample<T> {
    /// An empty one; `random` is its own stream.
    pub fn new(limit: usize, random: Stream) -> Sample<T> {
        Sample { limit, seen: 0, kept: Vec::new(), fresh: Vec::new(), next: 0, largest: 1.0, random }
    }

    /// Offers the next item; `make` runs only if it is kept.
    #[inline]
    pub fn offer(&mut self, make: impl FnOnce() -> T) {
        self.seen += 1;
        if self.kept.len() < self.limit || self.seen == self.next {
            self.keep(make());
        }
    }

    #[inline(never)]
    fn keep(&mut self, item: T) {
        if self.kept.len() < self.limit {
            if self.kept.len() == *ROOM.start() && ROOM.contains(&self.limit) {
                self.kept.reserve_exact(self.limit - self.kept.len());
            }
            self.kept.push(item);
        } else {
            if self.fresh.len() == TOGETHER {
                self.settle();
            }
            let place = self.random.below(self.limit as u64) as usize;
            self.fresh.push((place, item));
        }
        if self.kept.len() == self.limit {
            self.pass_over();
        }
    }

    /// To be called before anything is read: puts items in the places that were drawn for them.
    pub fn settle(&mut self) {
        for (place, item) in self.fresh.drain(..) {
            self.kept[place] = item;
        }
    }

    /// Draws which item is kept next.
    fn pass_over(&mut self) {
        // 1 - u is in (0, 1]; its logarithm is finite.
        let mut log = || (1.0 - self.random.unit()).ln();
        self.largest *= (log() / self.limit as f64).exp();
        let over = log() / (-self.largest).ln_1p();
        self.next = self.seen.saturating_add(1).saturating_add(over as u64);
    }

    /// Items kept, in no order once the sample is not complete; [`settle`](Sample::settle) first.
    pub fn kept(&self) -> &[T] {
        debug_assert!(self.fresh.is_empty(), "not settled");
        &self.kept
    }

    /// Items offered.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether every item offered is kept, in order.
    pub fn is_complete(&self) -> bool {
        self.seen == self.kept.len() as u64
    }

    /// Whether it is bounded, keeps no more than it was offered, and only items for which `whole` holds.
    pub(super) fn fits(&self, whole: impl Fn(&T) -> bool) -> bool {
        self.kept.len() <= self.limit && self.limit <= MOST_KEPT && self.kept.len() as u64 <= self.seen && self.kept.iter().all(whole)
    }

    /// Items kept, to be amended.
    pub fn kept_mut(&mut self) -> &mut [T] {
        self.settle();
        &mut self.kept
    }

    /// How many offered items a kept one stands for: 1 as long as all are kept.
    pub fn weight(&self) -> f64 {
        if self.kept.is_empty() { 1.0 } else { self.seen as f64 / self.kept.len() as f64 }
    }
}

impl<T: Clone> Sample<T> {
    /// A complete sample without the items for which `drop` holds.
    pub fn without(&self, mut drop: impl FnMut(&T) -> bool) -> Sample<T> {
        let kept: Vec<T> = self.kept.iter().filter(|item| !drop(item)).cloned().collect();
        Sample { seen: kept.len() as u64, kept, ..Sample::new(self.limit, self.random.clone()) }
    }

    /// Adds another sample: each kept item is drawn from one of the two, as likely as that one's share of the items not yet drawn.
    pub fn add(&mut self, other: &Sample<T>) {
        let seen = self.seen + other.seen;
        self.settle();
        if self.kept.len() + other.kept.len() <= self.limit && seen == (self.kept.len() + other.kept.len()) as u64 {
            self.kept.extend_from_slice(&other.kept);
            self.seen = seen;
            return;
        }
        let (mut mine, mut theirs) = (std::mem::take(&mut self.kept), other.kept.clone());
        let (mut left_mine, mut left_theirs) = (self.seen, other.seen);
        while self.kept.len() < self.limit && !(mine.is_empty() && theirs.is_empty()) {
            let from_mine = !mine.is_empty() && (theirs.is_empty() || self.random.below(left_mine + left_theirs) < left_mine);
            let (pool, left) = if from_mine { (&mut mine, &mut left_mine) } else { (&mut theirs, &mut left_theirs) };
            let place = self.random.below(pool.len() as u64) as usize;
            self.kept.push(pool.swap_remove(place));
            *left = left.saturating_sub(1);
        }
        self.seen = seen;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_bounded_uniform_and_repeatable() {
        let draw = || {
            let mut sample = Sample::new(1_000, Seed(3).stream("sample"));
            (0..20_000_u64).for_each(|i| sample.offer(|| i));
            sample.settle();
            sample
        };
        let sample = draw();
        assert_eq!((sample.kept().len(), sample.seen(), sample.weight()), (1_000, 20_000, 20.0));
        let mean = sample.kept().iter().sum::<u64>() as f64 / 1_000.0;
        assert!((mean - 10_000.0).abs() < 600.0, "{mean}"); // 3.3 standard errors of 183
        assert_eq!(draw().kept(), sample.kept());
    }

    #[test]
    fn a_small_stream_is_kept_whole_and_sums_stay_bounded() {
        let of = |range: std::ops::Range<u64>| {
            let mut sample = Sample::new(10, Seed(3).stream("sample"));
            range.for_each(|i| sample.offer(|| i));
            sample.settle();
            sample
        };
        let mut small = of(0..4);
        small.add(&of(4..10));
        assert_eq!((small.kept(), small.weight()), (&(0..10).collect::<Vec<_>>()[..], 1.0));
        small.add(&of(10..1_000));
        assert_eq!((small.kept().len(), small.seen()), (10, 1_000));
    }
}
