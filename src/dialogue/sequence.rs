//! What a client receives by the numbers in its messages: what it missed while it was away, what came late, and what came twice.
//!
//! The numbers of a stream (a room, a topic) count up by one. What is known of a stream goes on over the client's connections: the first
//! number of a new connection tells what was missed since the last one of an earlier connection.
//!
//! What a server can make a client keep has a bound: [`STREAMS_MAX`] streams without their names, and [`GAPS_MAX`] gaps of each.

use crate::event::{ConnectionNo, Sequenced};
use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// Streams that are followed of one client, at most.
const STREAMS_MAX: usize = 64;
/// Gaps of a stream that may still be filled, at most; of more the oldest stay missed.
const GAPS_MAX: usize = 64;
/// Numbers further apart than this belong to two countings: nobody misses so many messages of a stream in an outage, and ids made of the time
/// (2^22 a millisecond) are further apart after 3 ms. Sums of what was missed cannot wrap: they would need 2^40 messages.
const JUMP_MAX: u64 = 10_000_000;

/// Numbers that did not come.
#[derive(Clone, Debug)]
struct MissingRange {
    from: u64,
    /// Not among them.
    to: u64,
    found: Duration,
    /// The client was away when they should have come.
    away: bool,
}

#[derive(Clone, Debug)]
struct StreamNumbers {
    /// Of its name: a server may give it any length.
    hash: u64,
    /// The highest.
    last: u64,
    /// With which the last message came.
    connection: ConnectionNo,
    /// In order.
    missing: VecDeque<MissingRange>,
}

/// What cannot be told from a number, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SequenceDoubt {
    /// Of one stream more than are followed.
    Streams,
    /// One gap more than are kept: the oldest is forgotten.
    Gaps,
    /// Too far from the last one.
    Jump,
}

impl fmt::Display for SequenceDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SequenceDoubt::Streams => {
                write!(f, "more than {STREAMS_MAX} streams of a client: numbers of further ones are not followed")
            }
            SequenceDoubt::Gaps => {
                write!(f, "more than {GAPS_MAX} gaps in a stream: the oldest stay missed, and messages that fill them count as duplicated")
            }
            SequenceDoubt::Jump => {
                write!(
                    f,
                    "the numbers of a stream jumped by more than {JUMP_MAX}: counting begins anew, and nothing counts as missed there"
                )
            }
        }
    }
}

/// What a client knows of its streams.
#[derive(Clone, Debug, Default)]
pub(super) struct SequenceMemory {
    streams: Vec<StreamNumbers>,
    /// What was told of the client already.
    told: Vec<SequenceDoubt>,
}

impl SequenceMemory {
    /// Whether this was not told of the client before; from now on it was. A server may give cause for it with each message.
    pub(super) fn is_new(&mut self, doubt: SequenceDoubt) -> bool {
        let is_new = !self.told.contains(&doubt);
        if is_new {
            self.told.push(doubt);
        }
        is_new
    }

    /// A message with this number came on this connection at `now`: how it stands to earlier ones, `None` where it is not followed, and what is
    /// not known by that.
    pub(super) fn take(
        &mut self,
        stream: &str,
        number: u64,
        connection: ConnectionNo,
        now: Duration,
    ) -> (Option<Sequenced>, Option<SequenceDoubt>) {
        let mut hasher = DefaultHasher::new();
        stream.hash(&mut hasher);
        let hash = hasher.finish();
        let Some(known) = self.streams.iter_mut().find(|known| known.hash == hash) else {
            if self.streams.len() == STREAMS_MAX {
                return (None, Some(SequenceDoubt::Streams));
            }
            self.streams.push(StreamNumbers { hash, last: number, connection, missing: VecDeque::new() });
            return (Some(Sequenced::Next), None);
        };
        if number.abs_diff(known.last) > JUMP_MAX {
            *known = StreamNumbers { hash, last: number, connection, missing: VecDeque::new() };
            return (Some(Sequenced::Next), Some(SequenceDoubt::Jump));
        }
        let found = known.take(number, connection, now);
        let forgets = known.missing.len() > GAPS_MAX;
        if forgets {
            known.missing.pop_front();
        }
        (Some(found), forgets.then_some(SequenceDoubt::Gaps))
    }
}

impl StreamNumbers {
    /// Adds one gap at most.
    fn take(&mut self, number: u64, connection: ConnectionNo, now: Duration) -> Sequenced {
        let back = std::mem::replace(&mut self.connection, connection) != connection;
        if number > self.last {
            let missed = number - self.last - 1;
            if missed > 0 {
                self.missing.push_back(MissingRange { from: self.last + 1, to: number, found: now, away: back });
            }
            self.last = number;
            return match (back, missed) {
                (true, missed) => Sequenced::Back { missed },
                (false, 0) => Sequenced::Next,
                (false, missed) => Sequenced::Gap { missed },
            };
        }
        let Some(place) = self.missing.iter().position(|gap| (gap.from..gap.to).contains(&number)) else {
            return Sequenced::Duplicate { back };
        };
        let gap = &mut self.missing[place];
        let MissingRange { from, to, found, away } = *gap;
        // What is left before it and behind it.
        match (from < number, number + 1 < to) {
            (true, true) => {
                gap.to = number;
                self.missing.insert(place + 1, MissingRange { from: number + 1, to, found, away });
            }
            (true, false) => gap.to = number,
            (false, true) => gap.from = number + 1,
            (false, false) => drop(self.missing.remove(place)),
        }
        Sequenced::Late { found, away, back }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn take(memory: &mut SequenceMemory, number: u64, connection: u32) -> Sequenced {
        memory.take("room", number, ConnectionNo(connection), Duration::from_secs(number)).0.expect("one stream")
    }

    #[test]
    fn what_was_missed_shows_with_the_first_message_of_the_next_connection() {
        let mut memory = SequenceMemory::default();
        assert_eq!(take(&mut memory, 7, 1), Sequenced::Next, "what came before the client did is not missed");
        assert_eq!(take(&mut memory, 8, 1), Sequenced::Next);
        assert_eq!(take(&mut memory, 12, 2), Sequenced::Back { missed: 3 });
        assert_eq!(take(&mut memory, 13, 2), Sequenced::Next);
        let late = |back| Sequenced::Late { found: Duration::from_secs(12), away: true, back };
        assert_eq!(take(&mut memory, 10, 2), late(false), "the server sends it again");
        assert_eq!(take(&mut memory, 10, 2), Sequenced::Duplicate { back: false });
        assert_eq!(take(&mut memory, 9, 3), late(true));
        assert_eq!(take(&mut memory, 15, 3), Sequenced::Gap { missed: 1 }, "this connection has had one");
        assert_eq!(take(&mut memory, 14, 3), Sequenced::Late { found: Duration::from_secs(15), away: false, back: false });
        assert_eq!(take(&mut memory, 16, 5), Sequenced::Back { missed: 0 }, "nothing was missed, and that is known");
        assert_eq!(memory.take("other", 3, ConnectionNo(5), Duration::ZERO), (Some(Sequenced::Next), None));
    }

    #[test]
    fn streams_have_a_bound() {
        let mut memory = SequenceMemory::default();
        let mut take = |stream: usize| memory.take(&stream.to_string(), 1, ConnectionNo(1), Duration::ZERO);
        assert!((0..STREAMS_MAX).all(|stream| take(stream) == (Some(Sequenced::Next), None)));
        assert_eq!(take(STREAMS_MAX), (None, Some(SequenceDoubt::Streams)));
        assert_eq!(take(7), (Some(Sequenced::Duplicate { back: false }), None), "known ones go on");
    }

    /// Whatever its numbers are, a server makes a client keep no more gaps than this.
    #[test]
    fn gaps_have_a_bound_whether_they_come_apart_or_are_split() {
        let one = |memory: &mut SequenceMemory, number| memory.take("room", number, ConnectionNo(1), Duration::ZERO);
        let mut apart = SequenceMemory::default();
        let doubts = (0..200).filter(|n| one(&mut apart, 1 + n * 2).1 == Some(SequenceDoubt::Gaps)).count();
        assert_eq!((apart.streams[0].missing.len(), doubts), (GAPS_MAX, 199 - GAPS_MAX));
        assert!(apart.is_new(SequenceDoubt::Gaps) && !apart.is_new(SequenceDoubt::Gaps) && apart.is_new(SequenceDoubt::Jump));
        let late = |memory: &mut SequenceMemory, number| matches!(one(memory, number).0, Some(Sequenced::Late { .. }));
        assert!(!late(&mut apart, 2) && late(&mut apart, 398), "the oldest are forgotten");

        let mut split = SequenceMemory::default();
        one(&mut split, 1);
        let far = 1 + JUMP_MAX;
        assert_eq!(one(&mut split, far), (Some(Sequenced::Gap { missed: JUMP_MAX - 1 }), None));
        for number in (3..100_000).step_by(2) {
            one(&mut split, number);
            assert!(split.streams[0].missing.len() <= GAPS_MAX, "{number}");
        }
        assert!(late(&mut split, JUMP_MAX / 2), "the rest is the newest");
        // Both in turn.
        for number in 1..1_000 {
            one(&mut split, far + number * 10);
            one(&mut split, far + number * 10 - 5);
            assert!(split.streams[0].missing.len() <= GAPS_MAX, "{number}");
        }
    }

    #[test]
    fn numbers_that_no_stream_reaches_are_a_new_beginning() {
        let mut memory = SequenceMemory::default();
        let mut take = |number, connection| memory.take("room", number, ConnectionNo(connection), Duration::ZERO);
        let (next, anew) = ((Some(Sequenced::Next), None), (Some(Sequenced::Next), Some(SequenceDoubt::Jump)));
        assert_eq!((take(1, 1), take(u64::MAX, 1), take(2, 1), take(3, 1)), (next, anew, anew, next));
        assert_eq!(take(4 + JUMP_MAX, 2), anew, "while away, too");
        assert_eq!(take(5 + JUMP_MAX * 2, 2), anew);
        assert_eq!(take(6 + JUMP_MAX * 2, 2), next);
        assert_eq!(take(6 + JUMP_MAX * 3, 2), (Some(Sequenced::Gap { missed: JUMP_MAX - 1 }), None));
        // Ids made of the time, 10 ms apart.
        assert!((1..20).all(|n| take((n * 10) << 22, 2) == anew));
    }

    proptest! {
        /// In whatever order they come: each number is new once, and what is missed in the end are those between the first and the highest
        /// that never came.
        #[test]
        fn each_number_comes_once_or_is_missed(numbers in prop::collection::vec((1_u64..60, 0_u32..2), 1..150)) {
            let mut memory = SequenceMemory::default();
            let (mut connection, mut seen, mut missed) = (1, BTreeSet::new(), 0_u64);
            let first = numbers[0].0;
            for (number, more) in numbers {
                connection += more;
                let found = take(&mut memory, number, connection);
                match found {
                    Sequenced::Next => {}
                    Sequenced::Back { missed: more } | Sequenced::Gap { missed: more } => missed += more,
                    Sequenced::Late { .. } => missed -= 1,
                    Sequenced::Duplicate { .. } => prop_assert!(seen.contains(&number) || number < first),
                }
                if number >= first && !matches!(found, Sequenced::Duplicate { .. }) {
                    prop_assert!(seen.insert(number), "{} is new twice", number);
                }
            }
            let highest = seen.iter().next_back().copied().unwrap_or(first);
            prop_assert_eq!(missed, (first..=highest).filter(|number| !seen.contains(number)).count() as u64);
        }
    }
}
