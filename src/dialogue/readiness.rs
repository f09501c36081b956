//! When a connection counts as ready: `t_ready`, at which an outage ends and a count of retries may start anew. Engine and simulator ask the same.

use crate::reconnect::{Policy, ServesWhen};
use std::time::Duration;

/// What the embedded server says to clients that wait for any message.
const GREETING: &str = "ready";

/// When a connection of a cohort counts as ready. One that ends before goes on with the outage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// When it is open.
    Open,
    /// At the end of the opening steps of its dialogue.
    Dialogue,
    /// With the first reply to a message of its own: clients with echo traffic.
    Reply,
    /// With the first message of the server, whatever it says.
    Message,
    /// With the first message of the server that contains this text, byte for byte.
    Matches(String),
    /// When it has been open for so long; the moment is the end of that time.
    OpenFor(Duration),
}

impl Readiness {
    /// What the library of a preset waits for.
    pub fn of(policy: &Policy) -> Readiness {
        match policy.ready {
            ServesWhen::Open => Readiness::Open,
            ServesWhen::Message => Readiness::Message,
            ServesWhen::Uptime => Readiness::OpenFor(policy.reset_uptime),
        }
    }

    /// What a server of ours says right behind its 101, so that its clients become ready; `None` where they wait for no message of its own
    /// accord.
    pub fn greeting(&self) -> Option<&str> {
        match self {
            Readiness::Message => Some(GREETING),
            Readiness::Matches(text) => Some(text),
            Readiness::Open | Readiness::Dialogue | Readiness::Reply | Readiness::OpenFor(_) => None,
        }
    }

    /// Whether this message of the server makes its client ready; `reply`: it answers one of the client's.
    fn comes_with(&self, message: &[u8], reply: bool) -> bool {
        match self {
            Readiness::Open | Readiness::Dialogue | Readiness::OpenFor(_) => false,
            Readiness::Reply => reply,
            Readiness::Message => true,
            Readiness::Matches(text) => message.windows(text.len().max(1)).any(|part| part == text.as_bytes()),
        }
    }
}

/// Whether one connection is ready. Each `on_` tells what happened, and answers whether the connection becomes ready by it: that is once.
#[derive(Clone, Copy, Debug)]
pub struct ReadyTracker<'a> {
    rule: &'a Readiness,
    awaits: Awaits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaits {
    Message,
    /// This offset.
    Time(Duration),
    /// It is ready.
    Nothing,
}

impl<'a> ReadyTracker<'a> {
    /// Of a connection that opened at `at`; it may be [ready](ReadyTracker::is_ready) by that.
    pub fn opened(rule: &'a Readiness, at: Duration) -> Self {
        let awaits = match rule {
            Readiness::Open => Awaits::Nothing,
            Readiness::OpenFor(time) => Awaits::Time(at.saturating_add(*time)),
            Readiness::Dialogue | Readiness::Reply | Readiness::Message | Readiness::Matches(_) => Awaits::Message,
        };
        ReadyTracker { rule, awaits }
    }

    /// Of a connection that opened at `at`, of which is known already whether it is ready.
    pub fn resumed(rule: &'a Readiness, at: Duration, ready: bool) -> Self {
        if ready { ReadyTracker { rule, awaits: Awaits::Nothing } } else { ReadyTracker::opened(rule, at) }
    }

    /// Whether it is ready.
    pub fn is_ready(&self) -> bool {
        self.awaits == Awaits::Nothing
    }

    /// When it will be ready if it is still open then; `None`: not by time alone, or it is ready.
    pub fn wake(&self) -> Option<Duration> {
        if let Awaits::Time(at) = self.awaits { Some(at) } else { None }
    }

    /// It is open at this offset.
    pub fn on_wake(&mut self, at: Duration) -> bool {
        self.becomes(matches!(self.awaits, Awaits::Time(due) if due <= at))
    }

    /// This message of the server came while it was open; `reply`: it answers one of the client's.
    pub fn on_message(&mut self, message: &[u8], reply: bool) -> bool {
        self.becomes(self.awaits == Awaits::Message && self.rule.comes_with(message, reply))
    }

    /// The opening steps of its dialogue are done.
    pub fn on_dialogue(&mut self) -> bool {
        self.becomes(self.awaits == Awaits::Message && *self.rule == Readiness::Dialogue)
    }

    fn becomes(&mut self, ready: bool) -> bool {
        if ready {
            self.awaits = Awaits::Nothing;
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_makes_ready_whom_it_should() {
        let login = Readiness::Matches("\"ok\"".to_owned());
        for (readiness, message, reply, expected) in [
            (&Readiness::Open, "x", true, false),
            (&Readiness::OpenFor(Duration::from_secs(1)), "x", true, false),
            (&Readiness::Reply, "x", true, true),
            (&Readiness::Reply, "x", false, false),
            (&Readiness::Message, "", false, true),
            (&login, "{\"login\":\"ok\"}", false, true),
            (&login, "{\"login\":\"OK\"}", true, false),
            (&login, "", false, false),
        ] {
            assert_eq!(readiness.comes_with(message.as_bytes(), reply), expected, "{readiness:?} {message}");
        }
        for readiness in [Readiness::Message, login] {
            let greeting = readiness.greeting().expect("it waits for one");
            assert!(readiness.comes_with(greeting.as_bytes(), false));
        }
    }

    #[test]
    fn time_makes_ready_whoever_is_open_then() {
        let (rule, at, second) = (Readiness::OpenFor(Duration::from_secs(5)), Duration::from_secs(2), Duration::from_secs);
        let mut tracker = ReadyTracker::opened(&rule, at);
        assert_eq!((tracker.wake(), tracker.is_ready()), (Some(second(7)), false));
        assert!(!tracker.on_message(b"x", true) && !tracker.on_wake(second(6)), "too early");
        assert!(tracker.on_wake(second(7)));
        assert_eq!((tracker.wake(), tracker.on_wake(second(8))), (None, false), "once");
        assert_eq!(ReadyTracker::resumed(&rule, at, true).wake(), None);
        assert_eq!(ReadyTracker::resumed(&rule, at, false).wake(), Some(second(7)));
        assert!(ReadyTracker::opened(&Readiness::Open, at).is_ready());
    }

    fn rule() -> impl Strategy<Value = Readiness> {
        let open_for = (0_u64..10).prop_map(|second| Readiness::OpenFor(Duration::from_secs(second)));
        let text = "[ab]{1,2}".prop_map(Readiness::Matches);
        prop_oneof![Just(Readiness::Open), Just(Readiness::Reply), Just(Readiness::Message), text, open_for]
    }

    proptest! {
        /// Said again in one expression over all that happened, without a state.
        #[test]
        fn it_becomes_ready_once_and_with_the_first_that_makes_it(
            rule in rule(),
            happens in prop::collection::vec((0_u64..3, prop::option::of(("[ab]{0,3}", any::<bool>()))), 0..20),
        ) {
            let opened = Duration::from_secs(1);
            let mut tracker = ReadyTracker::opened(&rule, opened);
            let (mut now, mut became, mut first) = (opened, u32::from(tracker.is_ready()), rule == Readiness::Open);
            for (later, message) in happens {
                now += Duration::from_secs(later);
                let makes = match (&rule, &message) {
                    (Readiness::OpenFor(time), None) => now >= opened + *time,
                    (Readiness::Reply, Some((_, reply))) => *reply,
                    (Readiness::Message, Some(_)) => true,
                    (Readiness::Matches(text), Some((message, _))) => message.contains(text.as_str()),
                    _ => false,
                };
                let becomes = match &message {
                    Some((message, reply)) => tracker.on_message(message.as_bytes(), *reply),
                    None => tracker.on_wake(now),
                };
                prop_assert_eq!(becomes, makes && !first);
                (became, first) = (became + u32::from(becomes), first || makes);
                prop_assert_eq!(tracker.is_ready(), first);
                prop_assert!(tracker.wake().is_none() || !first);
            }
            prop_assert!(became <= 1);
        }
    }
}
