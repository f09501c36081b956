//! When a connection counts as ready: `t_ready`, at which an outage ends and a count of retries may start anew.

use crate::reconnect::{Policy, Service};
use std::time::Duration;

/// What the embedded server says to clients that wait for any message.
const GREETING: &str = "ready";

/// When a connection of a cohort counts as ready. One that ends before goes on with the outage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// When it is open.
    Open,
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
            Service::Open => Readiness::Open,
            Service::Message => Readiness::Message,
            Service::Uptime => Readiness::OpenFor(policy.reset_uptime),
        }
    }

    /// What a server of ours says right behind its 101, so that its clients become ready; `None` where they wait for no message of its own
    /// accord.
    pub fn greeting(&self) -> Option<&str> {
        match self {
            Readiness::Message => Some(GREETING),
            Readiness::Matches(text) => Some(text),
            Readiness::Open | Readiness::Reply | Readiness::OpenFor(_) => None,
        }
    }

    /// Whether this message of the server makes its client ready; `reply`: it answers one of the client's.
    pub fn comes_with(&self, message: &[u8], reply: bool) -> bool {
        match self {
            Readiness::Open | Readiness::OpenFor(_) => false,
            Readiness::Reply => reply,
            Readiness::Message => true,
            Readiness::Matches(text) => message.windows(text.len().max(1)).any(|part| part == text.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
