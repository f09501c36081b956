//! What a client receives by the numbers in its messages: what it missed while it was away, what came late, and what came twice.
//!
//! The numbers of a stream (a room, a topic) count up by one. What is known of a stream goes on over the client's connections: the first
//! number of a new connection tells what was missed since the last one of an earlier connection.

use crate::event::{ConnectionNo, Sequenced};
use std::time::Duration;

/// Streams that are followed of one client, at most.
pub(super) const STREAMS_MAX: usize = 64;
/// Gaps of a stream that may still be filled, at most; of more the oldest stay missed.
const GAPS_MAX: usize = 64;

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
    name: Box<str>,
    /// The highest.
    last: u64,
    /// With which the last message came.
    connection: ConnectionNo,
    missing: Vec<MissingRange>,
}

/// What a client knows of its streams.
#[derive(Clone, Debug, Default)]
pub(super) struct SequenceMemory {
    streams: Vec<StreamNumbers>,
}

impl SequenceMemory {
    /// A message with this number came on this connection at `now`. `None`: of one stream more than are followed.
    pub(super) fn take(&mut self, stream: &str, number: u64, connection: ConnectionNo, now: Duration) -> Option<Sequenced> {
        let Some(known) = self.streams.iter_mut().find(|known| *known.name == *stream) else {
            let name = stream.into();
            let room = self.streams.len() < STREAMS_MAX;
            return room.then(|| {
                self.streams.push(StreamNumbers { name, last: number, connection, missing: Vec::new() });
                Sequenced::Next
            });
        };
        let back = std::mem::replace(&mut known.connection, connection) != connection;
        if number > known.last {
            let missed = number - known.last - 1;
            if missed > 0 {
                if known.missing.len() == GAPS_MAX {
                    known.missing.remove(0);
                }
                known.missing.push(MissingRange { from: known.last + 1, to: number, found: now, away: back });
            }
            known.last = number;
            return Some(match (back, missed) {
                (true, missed) => Sequenced::Back { missed },
                (false, 0) => Sequenced::Next,
                (false, missed) => Sequenced::Gap { missed },
            });
        }
        let Some(place) = known.missing.iter().position(|gap| (gap.from..gap.to).contains(&number)) else {
            return Some(Sequenced::Duplicate { back });
        };
        let MissingRange { from, to, found, away } = known.missing[place];
        let rest = [(from, number), (number + 1, to)].into_iter().filter(|(from, to)| from < to);
        known.missing.splice(place..=place, rest.map(|(from, to)| MissingRange { from, to, found, away }));
        Some(Sequenced::Late { found, away, back })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn take(memory: &mut SequenceMemory, number: u64, connection: u32) -> Sequenced {
        memory.take("room", number, ConnectionNo(connection), Duration::from_secs(number)).expect("one stream")
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
        assert_eq!(memory.take("other", 3, ConnectionNo(5), Duration::ZERO), Some(Sequenced::Next));
    }

    #[test]
    fn streams_have_a_bound() {
        let mut memory = SequenceMemory::default();
        let mut take = |stream: usize| memory.take(&stream.to_string(), 1, ConnectionNo(1), Duration::ZERO);
        assert!((0..STREAMS_MAX).all(|stream| take(stream) == Some(Sequenced::Next)));
        assert_eq!(take(STREAMS_MAX), None);
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
