//! What was seen of a client, question by question. An empty list or `None`: it was not asked.

use super::questions::RefuseBy;
use crate::estimate::{Near, PolicyFit, SeenOutage};
use crate::units::{duration_ms, print_duration};
use std::time::Duration;

/// Whether a client came back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Return {
    /// After this wait.
    After(Duration),
    /// Not within this time.
    NotWithin(Duration),
}

/// What a client did after a status code of a Close frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AfterCode {
    /// As it was sent; 1005 is an empty Close frame, 1006 none and an end by FIN.
    pub code: u16,
    /// Whether it came back.
    pub back: Return,
    /// The status code with which it answered the Close frame; `None`: it did not.
    pub answered: Option<u16>,
}

/// What a client did about a Close frame whose sender then kept TCP open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeldClose {
    /// From the server's Close frame to the client's; `None`: there was none.
    pub answered: Option<Duration>,
    /// From there to the FIN or RST of the client, while the server kept TCP open.
    pub hung_up: Return,
    /// That was a RST.
    pub by_reset: bool,
    /// Data frames that the client sent before the server's Close frame …
    pub data_before: u32,
    /// … after it and before its own …
    pub data_unanswered: u32,
    /// … the last of which came so long after it, …
    pub last_unanswered: Option<Duration>,
    /// … and after its own.
    pub data_after: u32,
    /// From the server's Close frame to its next connection.
    pub back: Return,
    /// So long after its Close frame at the latest the server ended TCP.
    pub hold: Duration,
}

impl HeldClose {
    /// Whether the client came back while the server still kept the old connection open.
    pub fn came_first(&self) -> bool {
        self.back.wait().is_some_and(|wait| wait < self.hold)
    }
}

/// What a client did about many pings at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PingFlood {
    /// Pings that were sent at once.
    pub sent: u32,
    /// Those that it answered.
    pub answered: u32,
    /// The last of them is among those.
    pub last: bool,
    /// It answered one more ping, two seconds later.
    pub later: bool,
    /// How it ended the connection; `None`: it did not.
    pub ended: Option<String>,
    /// Data frames that it sent before them, …
    pub data_before: u32,
    /// … in so long a time, …
    pub before: Duration,
    /// … and after them, …
    pub data_after: u32,
    /// … in so long a time.
    pub after: Duration,
}

/// An outage after which the client did not come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StayedAway {
    /// After how many waits.
    pub attempts: u32,
    /// For how long it was waited for; `None`: its process had ended, so that it could not come.
    pub within: Option<Duration>,
}

/// Timers that come later than this, one in ten, are of a machine that has too much to do. On two cores it was 1 ms with 8 clients alone, and
/// 4 ms with 48 of them beside a build, where waits no longer fitted their true schedule.
const BUSY: Duration = Duration::from_millis(2);

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// How long connections were held before they were cut.
    pub held: Duration,
    /// Waits of each outage, one after the other for each process.
    pub outages: Vec<SeenOutage>,
    /// Outages after which the client did not come back.
    pub gave_up: Vec<StayedAway>,
    /// Processes that ended by themselves.
    pub exits: u32,
    /// Waits after connections that were cut right after they opened, one after the other.
    pub short_lived: Vec<SeenOutage>,
    /// After status codes.
    pub codes: Vec<AfterCode>,
    /// After HTTP statuses in place of an opening handshake.
    pub statuses: Vec<(u16, Return)>,
    /// After a port that nobody listened at for a while: from the cut to the next connection.
    pub closed_port: Option<Return>,
    /// After a closing handshake whose TCP stayed open, trial by trial.
    pub held_closes: Vec<HeldClose>,
    /// After many pings at once, trial by trial.
    pub ping_floods: Vec<PingFlood>,
    /// After a status 503 with this Retry-After.
    pub retry_after: Option<(Duration, Return)>,
    /// After the server was gone without a FIN or RST: when the next connection came.
    pub silence: Option<Return>,
    /// After a request that was never answered: when the next connection came.
    pub unanswered: Option<Return>,
    /// Connections that came while another of the same client was open and well.
    pub doubles: u32,
    /// Most connections of one client that were open at the same time, none of which was being closed or had fallen silent.
    pub most_open: u32,
    /// So late or later came one timer in ten on this machine while the client was watched.
    pub late: Duration,
    /// Connections in all.
    pub connections: u32,
    /// How attempts of outages were refused.
    pub refuse: RefuseBy,
    /// Questions beside the waits that have an answer, and how long each took.
    pub asked: Vec<(String, Duration)>,
    /// Those that were not asked, or have none: the client was not there to hear them.
    pub not_asked: Vec<String>,
    /// What explains the waits.
    pub fit: Option<PolicyFit>,
    /// Why the questions ended early.
    pub cut_short: Option<String>,
    /// The presets that wait most like it, the nearest first.
    pub near: Vec<Near>,
}

impl Findings {
    /// The longest wait that was seen.
    pub fn longest(&self) -> Duration {
        duration_ms(self.outages.iter().flat_map(|outage| &outage.waits_ms).copied().fold(0.0, f64::max))
    }

    /// The longest of all first waits.
    pub fn longest_first(&self) -> Duration {
        duration_ms(self.outages.iter().filter_map(|outage| outage.waits_ms.first().copied()).fold(0.0, f64::max))
    }

    /// Attempts of the outage that has most.
    pub fn attempts(&self) -> usize {
        self.outages.iter().map(|outage| outage.waits_ms.len()).max().unwrap_or_default()
    }

    /// Why something is missing, or may be wrong, in sentences.
    pub fn doubts(&self) -> Vec<String> {
        let early = self.cut_short.as_ref().map(|why| format!("The questions ended early: {why}"));
        let double =
            "Connections came beside an open one. They were left alone, and a client that went on with them looks as if it stayed away.";
        let busy = (self.late > BUSY).then(|| {
            format!(
                "This machine was busy: one timer in ten came {} late or more. A client on it waits longer than it means to, short waits by \
                 a larger share, and intervals, which are of chance alone, do not hold. Take fewer --instances, or a machine with nothing else \
                 to do.",
                print_duration(Duration::from_millis(self.late.as_millis() as u64))
            )
        });
        early.into_iter().chain((self.doubles > 0).then(|| double.to_owned())).chain(busy).collect()
    }

    /// What it did after a code.
    pub fn code(&self, code: u16) -> Option<&AfterCode> {
        self.codes.iter().find(|after| after.code == code)
    }
}

impl Return {
    /// The wait, if it came back.
    pub fn wait(self) -> Option<Duration> {
        match self {
            Return::After(wait) => Some(wait),
            Return::NotWithin(_) => None,
        }
    }

    /// The wait, or how long it was waited for in vain.
    pub fn time(self) -> Duration {
        match self {
            Return::After(time) | Return::NotWithin(time) => time,
        }
    }
}

/// A time in words, to the millisecond.
pub(super) fn shown(time_ms: f64) -> String {
    print_duration(Duration::from_millis(time_ms.round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_with_too_much_to_do_is_said() {
        let found = |late_ms| Findings { late: Duration::from_millis(late_ms), ..Findings::default() };
        assert_eq!(found(2).doubts(), [] as [&str; 0]);
        let doubts = found(4).doubts();
        assert!(doubts.len() == 1 && doubts[0].contains("one timer in ten came 4ms late"), "{doubts:?}");
    }
}
