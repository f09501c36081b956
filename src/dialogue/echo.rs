//! Messages whose echo is awaited, by the clock or in a closed loop: each is answered once, given up, or left unanswered.

use super::stamp::Stamps;
use super::{Outgoing, PENDING_MAX};
use std::collections::VecDeque;
use std::time::Duration;

/// The client of an echo, on one connection.
#[derive(Debug)]
pub(super) struct EchoClient {
    stamps: Stamps,
    /// A closed loop has so many under way; `None`: messages go out when they are due.
    in_flight: Option<u16>,
    /// Number, due and sent time of messages that wait, the oldest first; at most [`PENDING_MAX`].
    unanswered: VecDeque<(u64, Duration, Duration)>,
}

impl EchoClient {
    pub(super) fn new(stamps: Stamps, in_flight: Option<u16>) -> EchoClient {
        EchoClient { stamps, in_flight, unanswered: VecDeque::new() }
    }

    /// A message by the schedule.
    pub(super) fn on_due(&mut self) -> Outgoing {
        self.stamps.message()
    }

    /// A message, where a closed loop has room for one.
    pub(super) fn send_next(&mut self) -> Option<Outgoing> {
        let room = self.in_flight.is_some_and(|most| self.unanswered.len() < usize::from(most));
        room.then(|| self.stamps.message())
    }

    /// The last message given out is on its way: an echo of it is awaited from now on. The oldest is given up where that is one too many.
    pub(super) fn on_sent(&mut self, due: Duration, sent: Duration) {
        if self.unanswered.len() == PENDING_MAX as usize {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back((self.stamps.last(), due, sent));
    }

    /// Due and sent time of the message that these bytes answer: they equal it, and it has not been answered or given up.
    pub(super) fn answered(&mut self, bytes: &[u8]) -> Option<(Duration, Duration)> {
        let number = self.stamps.number_in(bytes)?;
        let index = self.unanswered.binary_search_by_key(&number, |(sent, ..)| *sent).ok()?;
        self.unanswered.remove(index).map(|(_, due, sent)| (due, sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ClientIndex, ConnectionNo};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn echo(in_flight: Option<u16>, bytes: u32) -> EchoClient {
        EchoClient::new(Stamps::new(ClientIndex(7), ConnectionNo(2), bytes), in_flight)
    }

    fn bytes(message: Outgoing) -> Vec<u8> {
        let Outgoing::Binary(bytes) = message else { panic!("an echo is binary") };
        bytes
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_reply_counts_only_if_its_bytes_equal_a_sent_message() {
        let mut client = echo(None, 32);
        let message = bytes(client.on_due());
        assert_eq!(message, *b"\0\0\0\x07\0\0\0\x02\0\0\0\0\0\0\0\x01................");
        client.on_sent(ms(1), ms(2));
        for place in 0..message.len() {
            let mut wrong = message.clone();
            wrong[place] ^= 1;
            assert_eq!(client.answered(&wrong), None, "byte {place}");
        }
        for wrong in [&message[..31], &[], b"welcome"] {
            assert_eq!(client.answered(wrong), None);
        }
        assert_eq!(client.answered(&message), Some((ms(1), ms(2))));
        assert_eq!(client.answered(&message), None, "a duplicate answers nothing");
    }

    #[test]
    fn a_message_that_could_not_be_sent_is_not_awaited() {
        let mut client = echo(Some(1), 16);
        let refused = bytes(client.send_next().expect("room"));
        assert_eq!(client.answered(&refused), None);
        assert!(client.send_next().is_some(), "its place is free");
    }

    #[test]
    fn of_too_many_the_oldest_is_given_up() {
        let mut client = echo(None, 16);
        let messages: Vec<_> = (0..=u64::from(PENDING_MAX))
            .map(|at| {
                let message = bytes(client.on_due());
                client.on_sent(ms(at), ms(at));
                message
            })
            .collect();
        assert_eq!(client.answered(&messages[0]), None, "given up");
        assert!(messages[1..].iter().all(|message| client.answered(message).is_some()));
    }

    /// What happens to a connection.
    #[derive(Clone, Debug)]
    enum Happens {
        /// A message is due or has room; the kernel takes it or not.
        Turn { taken: bool },
        /// An echo arrives of this one of all messages so far, taken or not, once more or for the first time.
        Echo(prop::sample::Index),
    }

    proptest! {
        #[test]
        fn every_message_is_answered_or_waits_and_none_is_answered_twice(
            in_flight in prop::option::of(1_u16..5),
            happens in prop::collection::vec(prop_oneof![
                any::<bool>().prop_map(|taken| Happens::Turn { taken }),
                any::<prop::sample::Index>().prop_map(Happens::Echo),
            ], 0..200),
        ) {
            let mut client = echo(in_flight, 20);
            let mut messages = Vec::new();
            // Due time of those that wait, and of those that were answered, by their place.
            let (mut waits, mut answered) = (BTreeMap::new(), BTreeMap::new());
            for (at, what) in (0..).zip(happens) {
                match what {
                    Happens::Turn { taken } => {
                        let message = if in_flight.is_some() { client.send_next() } else { Some(client.on_due()) };
                        let room = in_flight.is_none_or(|most| waits.len() < usize::from(most));
                        prop_assert_eq!(message.is_some(), room);
                        let Some(message) = message else { continue };
                        if taken {
                            client.on_sent(ms(at), ms(at + 1));
                            waits.insert(messages.len(), ms(at));
                        }
                        messages.push(bytes(message));
                    }
                    Happens::Echo(_) if messages.is_empty() => {}
                    Happens::Echo(index) => {
                        let place = index.index(messages.len());
                        let due = waits.remove(&place);
                        prop_assert_eq!(client.answered(&messages[place]), due.map(|due| (due, due + ms(1))));
                        if let Some(due) = due {
                            prop_assert_eq!(answered.insert(place, due), None, "answered twice");
                        }
                    }
                }
            }
            let left: Vec<_> = client.unanswered.iter().map(|(number, due, _)| (*number as usize - 1, *due)).collect();
            prop_assert_eq!(left, waits.into_iter().collect::<Vec<_>>());
        }
    }
}
