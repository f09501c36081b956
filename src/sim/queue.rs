//! What is due, in the order (time, sequence): a calendar of buckets of about seventeen milliseconds, each sorted when it is reached.
//!
//! A binary heap did 1.5 million entries a second at a million pending ones where this does more than ten: `cargo bench --bench
//! simulate` lays them side by side. No sequence number is stored: entries of one bucket keep the order in which they came.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};

/// Width of a bucket: 2²⁴ ns. So few buckets have entries that the ends of all of them stay in a processor's cache.
const SHIFT: u32 = 24;
/// Buckets of a turn of the wheel, 69 s; what lies beyond waits in a list for each turn.
const SLOTS: usize = 1 << 12;
/// Entries of a chunk, so that it fills eight cache lines.
const CHUNK: usize = 31;
/// Entries told of together.
const AHEAD: usize = 32;
const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
#[repr(align(64))]
struct Chunk<T> {
    items: [(u64, T); CHUNK],
    next: u32,
}

/// The chunks of a bucket.
#[derive(Clone, Copy, Debug)]
struct BucketSlot {
    first: u32,
    last: u32,
    /// Entries in the last chunk; here, so that an entry costs one line of that chunk and not two.
    len: u32,
}

impl BucketSlot {
    const EMPTY: BucketSlot = BucketSlot { first: NONE, last: NONE, len: CHUNK as u32 };
}

/// Entries by time in ns. `T` should have eight bytes.
#[derive(Debug)]
pub struct Calendar<T> {
    /// The buckets of this turn.
    slots: Vec<BucketSlot>,
    chunks: Vec<Chunk<T>>,
    free: u32,
    /// Number of the bucket that is being emptied, since time 0.
    current: u64,
    /// Entries in `slots`.
    on_wheel: usize,
    /// Entries of the current bucket, sorted; those before `next` are gone.
    ready: Vec<(u64, T)>,
    next: usize,
    /// How many of `ready` have been told of by `ahead`.
    told: usize,
    /// What came for the current bucket after it was reached.
    soon: BinaryHeap<Reverse<Soon<T>>>,
    sequence: u64,
    /// What lies beyond this turn, by turn.
    later: BTreeMap<u64, Vec<(u64, T)>>,
    len: usize,
}

#[derive(Debug)]
struct Soon<T> {
    at: u64,
    sequence: u64,
    what: T,
}

impl<T> PartialEq for Soon<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Soon<T> {}

impl<T> PartialOrd for Soon<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Soon<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl<T: Copy + Default> Default for Calendar<T> {
    fn default() -> Self {
        Calendar::new()
    }
}

impl<T: Copy + Default> Calendar<T> {
    /// An empty one at time 0.
    pub fn new() -> Calendar<T> {
        Calendar {
            slots: vec![BucketSlot::EMPTY; SLOTS],
            chunks: Vec::new(),
            free: NONE,
            current: 0,
            on_wheel: 0,
            ready: Vec::new(),
            next: 0,
            told: 0,
            soon: BinaryHeap::new(),
            sequence: 0,
            later: BTreeMap::new(),
            len: 0,
        }
    }

    /// Entries pending.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an entry. One before the last entry taken comes at once.
    pub fn push(&mut self, at: u64, what: T) {
        self.len += 1;
        let bucket = at >> SHIFT;
        if bucket <= self.current {
            self.sequence += 1;
            self.soon.push(Reverse(Soon { at, sequence: self.sequence, what }));
        } else if bucket / SLOTS as u64 == self.current / SLOTS as u64 {
            self.put(bucket as usize % SLOTS, (at, what));
        } else {
            self.later.entry(bucket / SLOTS as u64).or_default().push((at, what));
        }
    }

    /// Takes the entry that is due first; among equals the one that came first.
    pub fn pop(&mut self) -> Option<(u64, T)> {
        loop {
            let entry = match (self.ready.get(self.next), self.soon.peek()) {
                // At the same time the one in `soon` came later.
                (Some(ready), Some(Reverse(soon))) if soon.at < ready.0 => None,
                (Some(ready), _) => Some(*ready),
                (None, Some(_)) => None,
                (None, None) => {
                    if !self.advance() {
                        return None;
                    }
                    continue;
                }
            };
            self.len -= 1;
            if entry.is_some() {
                self.next += 1;
                return entry;
            }
            return self.soon.pop().map(|Reverse(soon)| (soon.at, soon.what));
        }
    }

    /// The next entries of this bucket, each told of once, some time before it is taken: so that what they are about can be fetched
    /// from memory together.
    pub fn ahead(&mut self) -> &[(u64, T)] {
        let from = self.told;
        if self.next + AHEAD / 2 >= from {
            self.told = (from + AHEAD).min(self.ready.len());
        }
        &self.ready[from..self.told]
    }

    /// Goes to the next bucket that has entries.
    fn advance(&mut self) -> bool {
        if self.on_wheel == 0 {
            let Some((turn, entries)) = self.later.pop_first() else { return false };
            self.current = turn * SLOTS as u64;
            for entry in entries {
                self.put((entry.0 >> SHIFT) as usize % SLOTS, entry);
            }
        } else {
            self.current += 1;
        }
        // The wheel has entries, none of them behind: this ends within the turn.
        while self.slots[self.current as usize % SLOTS].first == NONE {
            self.current += 1;
        }
        self.collect();
        true
    }

    /// Sorts the current bucket into `ready`, and gives its chunks back.
    fn collect(&mut self) {
        self.ready.clear();
        (self.next, self.told) = (0, 0);
        let slot = self.current as usize % SLOTS;
        let BucketSlot { first, last, len } = std::mem::replace(&mut self.slots[slot], BucketSlot::EMPTY);
        let mut at = first;
        while at != NONE {
            let chunk = &self.chunks[at as usize];
            let filled = if at == last { len as usize } else { CHUNK };
            self.ready.extend_from_slice(&chunk.items[..filled]);
            at = chunk.next;
        }
        self.chunks[last as usize].next = self.free;
        self.free = first;
        self.on_wheel -= self.ready.len();
        // A stable sort keeps the sequence.
        self.ready.sort_by_key(|entry| entry.0);
    }

    fn put(&mut self, slot: usize, entry: (u64, T)) {
        self.on_wheel += 1;
        let BucketSlot { last, len, .. } = self.slots[slot];
        if (len as usize) < CHUNK {
            self.chunks[last as usize].items[len as usize] = entry;
            self.slots[slot].len += 1;
            return;
        }
        let fresh = self.chunk(entry);
        if last == NONE {
            self.slots[slot].first = fresh;
        } else {
            self.chunks[last as usize].next = fresh;
        }
        (self.slots[slot].last, self.slots[slot].len) = (fresh, 1);
    }

    /// An unused chunk with one entry.
    fn chunk(&mut self, entry: (u64, T)) -> u32 {
        let place = self.free;
        if place == NONE {
            self.chunks.push(Chunk { items: [entry; CHUNK], next: NONE });
            return (self.chunks.len() - 1) as u32;
        }
        let chunk = &mut self.chunks[place as usize];
        self.free = chunk.next;
        (chunk.items[0], chunk.next) = (entry, NONE);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn entries_come_in_the_order_of_a_heap_by_time_and_sequence() {
        let mut random = Seed(5).stream("queue");
        let (mut calendar, mut heap) = (Calendar::new(), BinaryHeap::new());
        let mut number = 0_u64;
        let mut push = |calendar: &mut Calendar<u64>, heap: &mut BinaryHeap<Reverse<(u64, u64)>>, at: u64| {
            number += 1;
            calendar.push(at, number);
            heap.push(Reverse((at, number)));
        };
        // Grains from a nanosecond to minutes, many ties, some in the current bucket and some beyond a turn of the wheel.
        let grains = [1, 100_000, 1_000_000, 1_000_000_000, 90_000_000_000];
        (0..500).for_each(|i| push(&mut calendar, &mut heap, i % 7 * 400_000));
        for step in 0..20_000 {
            let Some(Reverse(expected)) = heap.pop() else { break };
            assert_eq!(calendar.pop(), Some(expected), "{step}");
            let more = if step < 15_000 { random.below(3) } else { 0 };
            for _ in 0..more.min(2) {
                let grain = grains[random.below(5) as usize];
                push(&mut calendar, &mut heap, expected.0 + random.below(4) * grain);
            }
        }
        assert_eq!(calendar.len(), heap.len());
        while let Some(Reverse(expected)) = heap.pop() {
            assert_eq!(calendar.pop(), Some(expected));
        }
        assert!(calendar.pop().is_none() && calendar.is_empty());
    }

    #[test]
    fn chunks_are_used_again() {
        let mut calendar = Calendar::new();
        for turn in 0..1000_u64 {
            (0..100).for_each(|i| calendar.push((turn << 22) + (1 << 21) + i, i));
            (0..100).for_each(|_| assert!(calendar.pop().is_some()));
        }
        assert!(calendar.chunks.len() <= 8, "{}", calendar.chunks.len());
    }
}
